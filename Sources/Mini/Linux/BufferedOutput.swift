// A file that is written from its front to its end: small pieces are gathered, so that a
// system call writes many of them, and what comes from other files passes through the same memory.

struct BufferedOutput: ~Copyable {
    private let descriptor: Int32
    private var buffer: [UInt8]
    private var used = 0
    /// How many bytes were put in so far.
    private(set) var position: UInt64 = 0

    private static let size = 1 << 16

    /// - Parameter descriptor: stays its owner's.
    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        buffer = [UInt8](repeating: 0, count: Self.size)
    }

    var isFull: Bool { used == buffer.count }

    /// Puts in a text.
    mutating func write(_ text: Text) throws(Errno) {
        for byte in text.bytes {
            if isFull { try flush() }
            buffer[used] = byte
            used += 1
        }
        position += UInt64(text.bytes.count)
    }

    /// Puts in what one read of a file gives, at most `limit` bytes, if there is room.
    /// - Returns: how many bytes that were; 0 at the end of the file.
    mutating func take(from file: Int32, limit: UInt64) throws(Errno) -> Int {
        let room = Int(min(limit, UInt64(buffer.count - used)))
        let start = used
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe buffer.withUnsafeMutableBytes { bytes in
            let part = unsafe UnsafeMutableRawBufferPointer(
                rebasing: bytes[start..<(start + room)])
            do throws(Errno) {
                result = .success(try unsafe Transfer.read(file, into: part))
            } catch { result = .failure(error) }
        }
        let count = try result.get()
        used += count
        position += UInt64(count)
        return count
    }

    /// Writes what was gathered.
    mutating func flush() throws(Errno) {
        var failure: Errno?
        let count = used
        used = 0
        unsafe buffer.withUnsafeBytes { bytes in
            let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<count])
            do throws(Errno) { try unsafe Transfer.writeAll(descriptor, part) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}
