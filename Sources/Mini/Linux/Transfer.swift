// Reading and writing through a descriptor, by its number. Sources: read(2), write(2).

enum Transfer {
    /// POSIX promises that a pipe which takes anything takes this much without waiting.
    static let pipeRoom = 4096  // PIPE_BUF

    /// Reads up to `buffer.count` bytes; 0 is the end of the file.
    static func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        try SystemCall.retrying(
            .read, Int(descriptor), Int(bitPattern: buffer.baseAddress), buffer.count)
    }

    /// Reads up to `bytes.count` bytes to the start of an array; 0 is the end of the file.
    static func read(_ descriptor: Int32, into bytes: inout [UInt8]) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(Errno) {
                result = .success(try unsafe read(descriptor, into: buffer))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }

    /// One read of a device's record: a signal ends it, nothing is repeated.
    /// - Returns: the device's count.
    static func readRecord(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        try SystemCall.make(
            .read, Int(descriptor), Int(bitPattern: buffer.baseAddress), buffer.count)
    }

    /// One read of a record that is a 32-bit word.
    static func readWord(_ descriptor: Int32) throws(Errno) -> UInt32 {
        var word: UInt32 = 0
        try withKernel(&word) { (address) throws(Errno) -> Void in
            try SystemCall.retrying(.read, Int(descriptor), address, MemoryLayout<UInt32>.size)
        }
        return word
    }

    /// One write of a device's request.
    /// - Returns: the device's answer, which need not be a count.
    static func writeRecord(_ descriptor: Int32, _ words: [UInt32]) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe words.withUnsafeBytes { buffer in
            do throws(Errno) {
                result = .success(
                    try SystemCall.make(
                        .write, Int(descriptor), Int(bitPattern: buffer.baseAddress),
                        buffer.count))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }

    /// The same for a request of two words.
    static func writeRecord(
        _ descriptor: Int32, _ first: UInt32, _ second: UInt32
    ) throws(Errno) -> Int {
        var words = (first, second)
        return try withKernel(&words) { (address) throws(Errno) in
            try SystemCall.make(
                .write, Int(descriptor), address, MemoryLayout<(UInt32, UInt32)>.size)
        }
    }

    /// The same for one of three.
    static func writeRecord(
        _ descriptor: Int32, _ first: UInt32, _ second: UInt32, _ third: UInt32
    ) throws(Errno) {
        var words = (first, second, third)
        try withKernel(&words) { (address) throws(Errno) -> Void in
            try SystemCall.make(
                .write, Int(descriptor), address, MemoryLayout<(UInt32, UInt32, UInt32)>.size)
        }
    }

    /// Writes what the file takes now.
    /// - Returns: how many bytes that were.
    static func write(
        _ descriptor: Int32, some bytes: UnsafeRawBufferPointer
    ) throws(Errno) -> Int {
        try SystemCall.retrying(
            .write, Int(descriptor), Int(bitPattern: bytes.baseAddress), bytes.count)
    }

    /// Writes every byte, however many calls that takes.
    static func writeAll(
        _ descriptor: Int32, _ buffer: UnsafeRawBufferPointer
    ) throws(Errno) {
        var done = 0
        while done < buffer.count {
            do throws(Errno) {
                done += try SystemCall.retrying(
                    .write, Int(descriptor), Int(bitPattern: buffer.baseAddress) &+ done,
                    buffer.count - done)
            } catch {
                // Another process has made our output non-blocking: wait until it takes more.
                if error != .again { throw error }
                _ = try Poll.wait([Poll.Interest(descriptor, .writable)], timeout: nil)
            }
        }
    }

    /// Writes a text as it stands.
    static func write(_ descriptor: Int32, _ text: Text) throws(Errno) {
        var failure: Errno?
        unsafe text.bytes.withUnsafeBytes { buffer in
            do throws(Errno) { try unsafe writeAll(descriptor, buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
