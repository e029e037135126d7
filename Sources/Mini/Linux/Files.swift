// Files by their names: what is in a directory, where a link points, and taking a name away or
// putting one file in another's place. Sources: getdents64(2), readlink(2), rename(2), unlink(2).

enum Files {
    /// A path's longest, its end included. Source: linux/limits.h, PATH_MAX.
    static let longestPath = 4096

    /// The names in a directory, in no order, without `.` and `..`.
    static func names(in directory: Text) throws(Errno) -> [Text] {
        let file = try Descriptor.open(directory, .directory)
        var names: [Text] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 15)
        while true {
            let count = try fill(&buffer) { (address, size) throws(Errno) in
                try SystemCall.make(.directoryEntries, Int(file.number), address, size)
            }
            if count == 0 { return names }
            var start = 0
            // A record: inode and offset of 8 bytes, its own length, a type, the name and a NUL.
            while start + 19 < count {
                let length = Int(buffer[start + 16]) | Int(buffer[start + 17]) << 8
                var name = Text()
                while start + 19 + name.bytes.count < count,
                    buffer[start + 19 + name.bytes.count] != 0
                { name.append(buffer[start + 19 + name.bytes.count]) }
                if !(name == ".") && !(name == "..") { names.append(name) }
                guard length > 19 else { throw .inputOutput }
                start += length
            }
        }
    }

    /// What a symbolic link holds.
    static func target(ofLink path: Text) throws(Errno) -> Text {
        var buffer = [UInt8](repeating: 0, count: longestPath)
        let count = try fill(&buffer) { (address, size) throws(Errno) in
            try withName(path) { (name) throws(Errno) in
                try SystemCall.make(.readLink, name, address, size)
            }
        }
        return Text(bytes: Array(buffer[..<count]))
    }

    /// Gives a file another name, in the place of whatever has that.
    static func rename(_ path: Text, to other: Text) throws(Errno) {
        try withName(path) { (from) throws(Errno) in
            _ = try withName(other) { (to) throws(Errno) in try SystemCall.make(.rename, from, to) }
        }
    }

    /// Takes a name away that is no directory's.
    static func remove(_ path: Text) throws(Errno) {
        _ = try withName(path) { (name) throws(Errno) in try SystemCall.make(.unlink, name) }
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
