// Bytes of somebody else's making, looked at without trust: every access says where, and gets
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

    /// Where `pattern` (at most 255 bytes) first stands at or after `from`. Looks at every
    /// pattern-length-th byte only, as far as it can (Horspool's search).
    func find(_ pattern: StaticString, from: Int = 0) -> Int? {
        let length = pattern.utf8CodeUnitCount
        precondition(length > 0 && length < 256)
        guard from >= 0, contains(from, length), let start = unsafe start else { return nil }
        var skips = [UInt8](repeating: UInt8(length), count: 256)
        for index in 0..<(length - 1) {
            skips[Int(unsafe pattern.utf8Start[index])] = UInt8(length - 1 - index)
        }
        var at = from
        let last = count - length
        while at <= last {
            let final = unsafe start.load(fromByteOffset: at + length - 1, as: UInt8.self)
            if unsafe final == pattern.utf8Start[length - 1] && has(pattern, at: at) { return at }
            at += Int(skips[Int(final)])
        }
        return nil
    }

    /// The text from `offset` to the next byte that ends or spoils a line, `limit` at most.
    func line(at offset: Int, limit: Int) -> Text {
        var text = Text()
        var at = offset
        while at < min(count, offset + limit), self[at] >= 0x20, self[at] < 0x7F {
            text.append(self[at])
            at += 1
        }
        return text
    }
}
