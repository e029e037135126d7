// Bytes from outside, read without trust: every access says where, and gets
// nothing if that lies outside. All words are little-endian.

/// A view of bytes that are owned, and kept alive, elsewhere.
@safe struct ByteView {
    private let start: UnsafeRawPointer?
    /// Length in bytes.
    let count: Int

    init(_ buffer: UnsafeRawBufferPointer) {
        unsafe start = buffer.baseAddress
        count = buffer.count
    }

    /// The byte at an offset that is known to be inside; a trap if it is not.
    subscript(offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < count)
        return unsafe start.unsafelyUnwrapped.load(fromByteOffset: offset, as: UInt8.self)
    }

    func byte(_ offset: Int) -> UInt8? { load(offset) }
    func half(_ offset: Int) -> UInt16? { load(offset) }
    func word(_ offset: Int) -> UInt32? { load(offset) }
    func double(_ offset: Int) -> UInt64? { load(offset) }

    private func load<Word: FixedWidthInteger & BitwiseCopyable>(_ offset: Int) -> Word? {
        guard contains(offset, MemoryLayout<Word>.size) else { return nil }
        return unsafe Word(
            littleEndian: start.unsafelyUnwrapped.loadUnaligned(
                fromByteOffset: offset, as: Word.self))
    }

    /// True if `length` bytes from `offset` on are inside.
    func contains(_ offset: Int, _ length: Int) -> Bool {
        offset >= 0 && length >= 0 && offset <= count && length <= count - offset
    }

    /// A part of the view, if it is inside.
    func slice(_ offset: Int, _ length: Int) -> ByteView? {
        guard contains(offset, length), let start = unsafe start else { return nil }
        return unsafe ByteView(UnsafeRawBufferPointer(start: start + offset, count: length))
    }

    /// For the copy into guest memory.
    var buffer: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: start, count: count)
    }

    /// True if the bytes of `pattern` stand at `offset`.
    func has(_ pattern: StaticString, at offset: Int = 0) -> Bool {
        let length = pattern.utf8CodeUnitCount
        guard contains(offset, length) else { return false }
        for index in 0..<length where unsafe self[offset + index] != pattern.utf8Start[index] {
            return false
        }
        return true
    }

    /// True if these bytes stand at `offset`; nil stands for any byte.
    func has(_ pattern: [UInt8?], at offset: Int) -> Bool {
        guard contains(offset, pattern.count) else { return false }
        for index in pattern.indices {
            if let wanted = pattern[index], self[offset + index] != wanted { return false }
        }
        return true
    }

    /// Where `pattern` (4 to 255 bytes) first stands at or after `from`.
    ///
    /// Looks at four bytes in every `pattern.count - 3`: an occurrence, wherever it is, has
    /// exactly one of these groups inside. The few that could be in the pattern, by a hash,
    /// are looked at closely. This is as fast as memory for kernels of a few MB.
    func find(_ pattern: StaticString, from: Int = 0) -> Int? {
        let length = pattern.utf8CodeUnitCount
        precondition(length >= 4 && length < 256)
        guard from >= 0, contains(from, length), let start = unsafe start else { return nil }
        let stride = length - 3
        return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) {
            marks -> Int? in
            unsafe marks.initialize(repeating: 0)
            for index in 0..<stride {
                let group = unsafe UnsafeRawPointer(pattern.utf8Start).loadUnaligned(
                    fromByteOffset: index, as: UInt32.self)
                unsafe marks[Self.hash(group)] = 1
            }
            var probe = from + length - 4
            while probe <= count - 4 {
                let group = unsafe start.loadUnaligned(fromByteOffset: probe, as: UInt32.self)
                if unsafe marks[Self.hash(group)] != 0 {
                    // The earliest place first.
                    for index in (0..<stride).reversed() where has(pattern, at: probe - index) {
                        return probe - index
                    }
                }
                probe &+= stride
            }
            return nil
        }
    }

    @inline(__always)
    private static func hash(_ group: UInt32) -> Int {
        Int(truncatingIfNeeded: (group &* 0x9E37_79B1) >> 24)
    }

    /// The text from `offset` to the next control character, `limit` bytes at most.
    func line(at offset: Int, limit: Int) -> Text {
        var text = Text()
        var at = offset
        while at < min(count, offset + limit), self[at] >= 0x20, self[at] != 0x7F {
            text.append(self[at])
            at += 1
        }
        return text
    }
}
