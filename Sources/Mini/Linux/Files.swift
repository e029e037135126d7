// Files by their names: what is in a directory, where a link points, and taking a name away or
// putting one file in another's place. Sources: getdents64(2), readlink(2), rename(2), unlink(2).

enum Files {
    /// A path's longest, its end included. Source: linux/limits.h, PATH_MAX.
    static let longestPath = 4096

    /// The names in a directory, in no order, without `.` and `..`.
    static func names(in directory: Text) throws(Errno) -> [Text] {
        try FileSystem.names(in: try Descriptor.open(directory, .directory))
    }

    /// What a symbolic link holds.
    static func target(ofLink path: Text) throws(Errno) -> Text {
        var buffer = [UInt8](repeating: 0, count: longestPath)
        let count = try fill(&buffer) { (address, size) throws(Errno) in
            try path.withCString { (name) throws(Errno) in
                try SystemCall.make(.readLink, name, address, size)
            }
        }
        return Text(bytes: Array(buffer[..<count]))
    }

    /// Gives a file another name, in the place of whatever has that.
    static func rename(_ path: Text, to other: Text) throws(Errno) {
        _ = try path.withCString { (from) throws(Errno) in
            try other.withCString { (to) throws(Errno) in try SystemCall.make(.rename, from, to) }
        }
    }

    /// Takes a name away that is no directory's.
    static func remove(_ path: Text) throws(Errno) {
        _ = try path.withCString { (name) throws(Errno) in try SystemCall.make(.removeName, name) }
    }

    private static func fill(
        _ buffer: inout [UInt8], _ call: (_ address: Int, _ size: Int) throws(Errno) -> Int
    ) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe buffer.withUnsafeMutableBytes { bytes in
            do throws(Errno) {
                result = .success(try call(Int(bitPattern: bytes.baseAddress), bytes.count))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }
}
