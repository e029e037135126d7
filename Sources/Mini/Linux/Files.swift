// Files by their names: what is in a directory, where a link points, and taking a name away or
// putting one file in another's place. Sources: getdents64(2), readlink(2), rename(2), unlink(2).

/// The calls, each with the kernel's errno.
enum Files {
    /// A path's longest, its end included. Source: linux/limits.h, PATH_MAX.
    static let longestPath = 4096
    /// What names are looked up from that begin without a slash, where a call asks for a folder.
    static let workingDirectory = -100  // AT_FDCWD

    /// The names in a directory, in no order, without `.` and `..`.
    static func names(in directory: Text) throws(Errno) -> [Text] {
        try FileSystem.names(in: try Descriptor.open(directory, .directory))
    }

    /// What a symbolic link holds.
    static func target(ofLink path: Text) throws(Errno) -> Text {
        // Zeros at first, and longer than any target.
        let memory = try Mapping.anonymous(count: 2 * longestPath)
        _ = try path.withCString { (name) throws(Errno) in
            try SystemCall.make(
                .readLink, name, Int(bitPattern: unsafe memory.start), longestPath)
        }
        return unsafe Text(cString: memory.start)
    }

    /// True if the kernel would not let us run a file, as on a file system that is mounted noexec.
    static func isForbidden(_ path: Text) -> Bool {
        do throws(Errno) {
            _ = try path.withCString { (name) throws(Errno) in
                try SystemCall.make(.mayAccess, workingDirectory, name, 1)  // X_OK
            }
            return false
        } catch { return error == .accessDenied }
    }

    /// The part of a path up to its last slash, with it; nothing if there is none.
    static func folder(of path: Text) -> Text {
        path.lastIndex(of: UInt8(ascii: "/")).map { path.prefix($0 + 1) } ?? Text()
    }

    /// What stands after a path's last slash.
    static func lastName(of path: Text) -> Text { path.dropping(folder(of: path).bytes.count) }

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
}
