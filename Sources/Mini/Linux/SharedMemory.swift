// Memory that another process, which is not trusted, reads and writes at the same time. Every
// access is one access: what was loaded and checked is in a variable of ours and cannot change any
// more. Bytes move between it and files without a stop in our own memory.

import CShim

/// A range of shared memory. It does not own it: the mapping has to be kept as long as this is used.
@safe struct SharedMemory {
    private let bytes: UnsafeMutableRawBufferPointer
    var count: Int { unsafe bytes.count }

    init(_ bytes: UnsafeMutableRawBufferPointer) { unsafe self.bytes = unsafe bytes }

    /// A part of it.
    subscript(range: Range<Int>) -> SharedMemory {
        unsafe SharedMemory(UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
    }

    private func place(_ offset: Int, _ size: Int) -> UnsafeMutableRawPointer {
        precondition(offset >= 0 && offset + size <= count && offset % size == 0)
        return unsafe bytes.baseAddress.unsafelyUnwrapped + offset
    }

    // No later access moves before a load, no earlier one after a store (acquire and release).
    func load32(_ offset: Int) -> UInt32 { unsafe mini_load32(place(offset, 4)) }
    func store32(_ offset: Int, _ value: UInt32) { unsafe mini_store32(place(offset, 4), value) }
    func load16(_ offset: Int) -> UInt16 { unsafe mini_load16(place(offset, 2)) }
    func load8(_ offset: Int) -> UInt8 { unsafe mini_load8(place(offset, 1)) }
    func store8(_ offset: Int, _ value: UInt8) { unsafe mini_store8(place(offset, 1), value) }

    /// Sets bits of a byte. No access, earlier or later, crosses it.
    func set8(_ offset: Int, _ bits: UInt8) { _ = unsafe mini_or8(place(offset, 1), bits) }

    /// Clears bits of a byte. No access, earlier or later, crosses it.
    /// - Returns: the byte before.
    func clear8(_ offset: Int, _ bits: UInt8) -> UInt8 {
        unsafe mini_and8(place(offset, 1), ~bits)
    }

    /// Writes a word in place of the old one. No access, earlier or later, crosses it.
    /// - Returns: false, and no change, if it is not the old one any more.
    func replace32(_ offset: Int, _ old: UInt32, by value: UInt32) -> Bool {
        unsafe mini_replace32(place(offset, 4), old, value) != 0
    }

    func store16(_ offset: Int, _ value: UInt16) {
        store8(offset, UInt8(truncatingIfNeeded: value))
        store8(offset + 1, UInt8(truncatingIfNeeded: value >> 8))
    }

    /// Where a byte is, the last time.
    func lastIndex(of byte: UInt8) -> Int? { (0..<count).last { load8($0) == byte } }

    /// Sets every byte to 0.
    func clear() { for offset in 0..<count { store8(offset, 0) } }

    /// Copies bytes to its start, as many as it has room for.
    func copy(_ source: UnsafeRawBufferPointer) {
        unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: source.prefix(count)))
    }

    fileprivate func append(to vector: inout IOVector) {
        unsafe vector.append(UnsafeRawBufferPointer(bytes))
    }
    fileprivate func fill(from descriptor: Int32) throws(Errno) -> Int {
        try unsafe Transfer.read(descriptor, into: bytes)
    }
    fileprivate func write(to descriptor: Int32) throws(Errno) -> Int {
        try unsafe Transfer.write(descriptor, some: UnsafeRawBufferPointer(bytes))
    }
}

/// Two parts of shared memory that are one run of bytes: what a ring has up to its end, and what goes on at
/// its start.
struct SharedRun {
    let first: SharedMemory
    let second: SharedMemory
    var count: Int { first.count + second.count }

    /// Its first bytes, at most all.
    func prefix(_ most: Int) -> SharedRun {
        let inFirst = min(most, first.count)
        return SharedRun(
            first: first[0..<inFirst], second: second[0..<min(most - inFirst, second.count)])
    }

    /// Fills it from a file with what one read gives.
    /// - Returns: how many bytes that was; 0 at the end of the file.
    func fill(from descriptor: Int32) throws(Errno) -> Int {
        if second.count == 0 { return try first.fill(from: descriptor) }
        return try vector.transfer(.read, descriptor)
    }

    /// Writes it to a file, as far as one write goes.
    /// - Returns: how many bytes that was.
    func write(to descriptor: Int32) throws(Errno) -> Int {
        if second.count == 0 { return try first.write(to: descriptor) }
        return try vector.transfer(.write, descriptor)
    }

    /// Copies bytes into it.
    /// - Returns: how many; it may have room for fewer.
    func copy(_ source: UnsafeRawBufferPointer) -> Int {
        unsafe first.copy(source)
        unsafe second.copy(UnsafeRawBufferPointer(rebasing: source.dropFirst(first.count)))
        return min(source.count, count)
    }

    /// Where a byte is, the last time.
    func lastIndex(of byte: UInt8) -> Int? {
        second.lastIndex(of: byte).map { first.count + $0 } ?? first.lastIndex(of: byte)
    }

    private var vector: IOVector {
        var vector = IOVector()
        first.append(to: &vector)
        second.append(to: &vector)
        return vector
    }
}
