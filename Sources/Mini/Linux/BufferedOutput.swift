// A file that is written from its front to its end: small pieces are gathered, so that a
// system call writes many of them, and what comes from other files passes through the same memory.

/// Gathers what is written to a descriptor. What was not flushed is lost.
struct BufferedOutput: ~Copyable {
    private let descriptor: Int32
    private let memory: Mapping
    private var used = 0
    /// How many bytes were put in so far.
    private(set) var position: UInt64 = 0

    private static let size = 1 << 16

    /// - Parameter descriptor: stays its owner's.
    init(_ descriptor: Int32) throws(Errno) {
        self.descriptor = descriptor
        memory = try Mapping.anonymous(count: Self.size)
    }

    /// Puts in a text of at most 64 KiB.
    mutating func write(_ text: Text) throws(Errno) {
        let count = text.bytes.count
        precondition(count <= Self.size)
        if used + count > Self.size { try flush() }
        for index in text.bytes.indices {
            unsafe memory.start.storeBytes(
                of: text.bytes[index], toByteOffset: used + index, as: UInt8.self)
        }
        used += count
        position += UInt64(count)
    }

    /// Puts in what one read of a file gives, at most `limit` bytes and what there is room for.
    /// - Returns: how many bytes that were; 0 at the end of the file.
    mutating func take(from file: Int32, limit: UInt64) throws(Errno) -> Int {
        let room = Int(min(limit, UInt64(Self.size - used)))
        let count = try unsafe Transfer.read(
            file, into: UnsafeMutableRawBufferPointer(start: memory.start + used, count: room))
        used += count
        position += UInt64(count)
        return count
    }

    /// True when nothing can be taken before a flush.
    var isFull: Bool { used == Self.size }

    /// Writes what was gathered.
    mutating func flush() throws(Errno) {
        let count = used
        used = 0
        try unsafe Transfer.writeAll(
            descriptor, UnsafeRawBufferPointer(start: memory.start, count: count))
    }
}
