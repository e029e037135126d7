// Bits that are read from their end to their beginning, as zstd has them: the last byte's highest bit that is
// set marks where they begin. Source: docs/abi/pc.md §1.3; RFC 8878 §4.1.

@safe struct BackwardBits {
    private var word: UInt64
    /// Bits of `word` that were read, from the top; more than 64 when more were read than there are.
    private var used: Int
    private let start: UnsafeRawPointer
    private var at: UnsafeRawPointer

    /// - Returns: nil where there is no mark.
    @inline(never)
    init?(_ start: UnsafeRawPointer, _ count: Int) {
        guard count > 0 else { return nil }
        let last = unsafe start.load(fromByteOffset: count - 1, as: UInt8.self)
        guard last != 0 else { return nil }
        unsafe self.start = unsafe start
        if count >= 8 {
            unsafe at = start + (count - 8)
            word = unsafe UInt64(littleEndian: at.loadUnaligned(as: UInt64.self))
            used = last.leadingZeroBitCount + 1
        } else {
            unsafe at = start
            word = 0
            for index in (0..<count).reversed() {
                word = word << 8 | UInt64(unsafe start.load(fromByteOffset: index, as: UInt8.self))
            }
            used = last.leadingZeroBitCount + 1 + (8 - count) * 8
        }
    }

    /// More was read than there is.
    var isOver: Bool { used > 64 }
    /// All of it was read, and no more.
    var isFinished: Bool { unsafe used == 64 && at == start }

    /// Makes 57 bits at least, or all that are left, ready to be read.
    @inline(__always)
    mutating func refill() {
        let left = unsafe at - start
        if used > 64 { return }
        let bytes = left >= 8 ? used >> 3 : min(used >> 3, left)
        if bytes == 0 { return }
        unsafe at -= bytes
        used &-= bytes &<< 3
        word = unsafe UInt64(littleEndian: at.loadUnaligned(as: UInt64.self))
    }

    /// The next `count` bits, 56 at most; anything once all are read.
    @inline(__always)
    func peek(_ count: Int) -> Int {
        // In two steps, so that none is a step of 64.
        let bits = (word &<< UInt64(truncatingIfNeeded: used)) &>> 1
        return Int(truncatingIfNeeded: bits &>> UInt64(truncatingIfNeeded: 63 &- count))
    }

    @inline(__always)
    mutating func skip(_ count: Int) { used &+= count }

    @inline(__always)
    mutating func take(_ count: Int) -> Int {
        defer { skip(count) }
        return peek(count)
    }

    /// The same where speed does not count; zeros once all are read.
    mutating func slowly(_ count: Int) -> Int {
        refill()
        if used < 64 { return take(count) }
        skip(count)
        return 0
    }
}
