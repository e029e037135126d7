// Owned file descriptors, and reading and writing through them.

import CShim

/// An open file description of the kernel's, closed when its owner goes.
struct Descriptor: ~Copyable {
    /// The kernel's number, at least 0.
    let number: Int32

    /// Takes over a descriptor that the process already has.
    init(owning number: Int32) { self.number = number }

    deinit { _ = try? SystemCall.make(.close, Int(number)) }

    /// Waits for nothing in what it writes, whoever else has the same file open; nil where that
    /// cannot be, as for sockets.
    static func neverWaiting(_ number: Int32) -> Descriptor? {
        try? open("/proc/self/fd/\(number)", .writeOnlyNow)
    }

    /// How a file is opened. Source: asm-generic/fcntl.h.
    struct OpenMode: RawRepresentable {
        let rawValue: Int
        static let readOnly = OpenMode(rawValue: 0o2000000)  // O_RDONLY | O_CLOEXEC
        static let readWrite = OpenMode(rawValue: 0o2000002)  // O_RDWR | O_CLOEXEC
        /// O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC.
        static let writeOnlyNow = OpenMode(rawValue: 0o2004401)
        /// For writing, from nothing: O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC.
        static let create = OpenMode(rawValue: 0o2001101)
    }

    /// What anybody may do with a file that is made here, as far as the user's mask lets.
    private static let permissions = 0o666

    /// Opens a file by its name.
    static func open(_ path: Text, _ mode: OpenMode) throws(Errno) -> Descriptor {
        guard !path.bytes.contains(0) else { throw .noSuchFile }
        var name = path.bytes
        name.append(0)
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe name.withUnsafeBufferPointer { buffer in
            do throws(Errno) {
                result = .success(
                    try SystemCall.retrying(
                        .open, Int(bitPattern: buffer.baseAddress), mode.rawValue,
                        permissions))
            } catch { result = .failure(error) }
        }
        return Descriptor(owning: Int32(try result.get()))
    }

    /// What `fstat` says of the file.
    func status() throws(Errno) -> FileStatus { try FileStatus.of(number) }
}

/// Kind and size of an open file.
struct FileStatus: Equatable {
    enum Kind { case regular, directory, block, other }
    let kind: Kind
    /// Size in bytes; 0 for what has none.
    let size: UInt64

    /// Asks the kernel about an open descriptor.
    static func of(_ descriptor: Int32) throws(Errno) -> FileStatus {
        var status = mini_stat()
        _ = try withKernel(&status) { (address) throws(Errno) in
            try SystemCall.make(.fileStatus, Int(descriptor), address)
        }
        let kind: Kind =
            switch status.mode & 0o170000 {
            case 0o100000: .regular
            case 0o040000: .directory
            case 0o060000: .block
            default: .other
            }
        return FileStatus(kind: kind, size: UInt64(max(0, status.size)))
    }
}

/// Hands the address of a structure to the kernel for the length of one call.
func withKernel<Structure, Value>(
    _ structure: inout Structure, _ call: (Int) throws(Errno) -> Value
) throws(Errno) -> Value {
    try unsafe withUnsafeMutablePointer(to: &structure) { (pointer) throws(Errno) -> Value in
        try call(Int(bitPattern: pointer))
    }
}

/// Reading and writing through a descriptor that somebody else owns.
enum Transfer {
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
                    .write, Int(descriptor), Int(bitPattern: buffer.baseAddress) + done,
                    buffer.count - done)
            } catch {
                // Somebody made our output non-blocking: wait until it takes more.
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
