// Owned file descriptors. What is read and written through them: Transfer.swift; what the kernel knows of a file: FileStatus.swift.

/// An open file description of the kernel's, closed when its owner goes.
struct Descriptor: ~Copyable {
    /// The kernel's number, at least 0.
    let number: Int32

    /// Takes over a descriptor that the process already has.
    init(owning number: Int32) { self.number = number }

    deinit { _ = try? SystemCall.make(.close, Int(number)) }

    /// Opens a descriptor's file once more, without waiting (O_NONBLOCK), which changes nothing for others that have the same
    /// file open; nil where that cannot be, as for sockets.
    /// - Parameter mode: `.readOnlyNow` or `.writeOnlyNow`.
    static func neverWaiting(_ number: Int32, _ mode: OpenMode) -> Descriptor? {
        guard let opened = neverWaitingNumber(number, mode) else { return nil }
        return Descriptor(owning: opened)
    }

    /// The same, as a number that the caller has to close.
    static func neverWaitingNumber(_ number: Int32, _ mode: OpenMode) -> Int32? {
        try? openNumber("/proc/self/fd/\(number)", mode)
    }

    /// Closes a number that no `Descriptor` owns.
    static func closeNumber(_ number: Int32) { _ = try? SystemCall.make(.close, Int(number)) }

    /// True if it was opened for nothing but writing. Source: fcntl(2), F_GETFL.
    static func isWriteOnly(_ number: Int32) -> Bool {
        guard let flags = try? SystemCall.make(.fileControl, Int(number), 3) else { return false }
        return flags & 3 == 1
    }

    /// Lets a pipe hold more, if it is one and the kernel allows that. Source: fcntl(2), F_SETPIPE_SZ.
    static func widenPipe(_ number: Int32, to bytes: Int) {
        guard let now = try? SystemCall.make(.fileControl, Int(number), getPipeSize), now < bytes
        else { return }
        _ = try? SystemCall.make(.fileControl, Int(number), setPipeSize, bytes)
    }
    static let setPipeSize = 1031
    static let getPipeSize = 1032

    /// How a file is opened. Source: asm-generic/fcntl.h.
    struct OpenMode: RawRepresentable {
        let rawValue: Int
        // With O_LARGEFILE for files of 2 GiB and more on i386; all but one with O_CLOEXEC.
        static let readOnly = OpenMode(rawValue: 0o2100000)
        static let readWrite = OpenMode(rawValue: 0o2100002)
        /// For writing what is there already.
        static let writeOnly = OpenMode(rawValue: 0o2100001)
        /// For writing, from nothing: O_WRONLY | O_CREAT | O_TRUNC.
        static let create = OpenMode(rawValue: 0o2101101)
        // O_NONBLOCK
        static let readWriteWithoutWaiting = OpenMode(rawValue: 0o2104002)
        // O_APPEND
        static let readAppend = OpenMode(rawValue: 0o2102002)
        /// O_APPEND | O_CREAT; a file that is made here is its owner's alone.
        static let createAppend = OpenMode(rawValue: 0o2102102, permissions: 0o600)
        /// For writing after what is there, or from nothing: O_WRONLY | O_APPEND | O_CREAT.
        static let writeAppend = OpenMode(rawValue: 0o2102101)
        /// For writing, a file that was not there: O_WRONLY | O_CREAT | O_EXCL.
        static let createNew = OpenMode(rawValue: 0o2100301)
        /// The same, its owner's alone at first.
        static let createOwn = OpenMode(rawValue: 0o2100301, permissions: 0o600)
        /// The same for reading as well.
        static let createBoth = OpenMode(rawValue: 0o2100302, permissions: 0o600)
        /// To list what is in it: O_DIRECTORY.
        static let directory = OpenMode(rawValue: 0o2300000)
        /// A console for this process and the programs that it executes, which does not become its
        /// controlling terminal: O_RDWR | O_NOCTTY, without O_CLOEXEC.
        static let console = OpenMode(rawValue: 0o0100402)
        /// The same for reading alone, and for writing alone: some whom a file is passed to look at that.
        static let consoleInput = OpenMode(rawValue: 0o0100400)
        static let consoleOutput = OpenMode(rawValue: 0o0100401)
        /// Whatever it is, not for its bytes: O_PATH.
        static let path = OpenMode(rawValue: 0o12000000)
        /// A folder, never through a symbolic link: O_DIRECTORY | O_NOFOLLOW.
        static let ownDirectory = OpenMode(rawValue: 0o2700000)
        /// For writing, never waiting: O_WRONLY | O_NONBLOCK | O_NOCTTY.
        static let writeOnlyNow = OpenMode(rawValue: 0o2104401)
        /// The same for reading.
        static let readOnlyNow = OpenMode(rawValue: 0o2104400)
        /// The same for reading, and for writing after what is there.
        static let readAppendNow = OpenMode(rawValue: 0o2106402)
        /// For writing in place of what is there, never waiting: O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOCTTY.
        static let rewriteNow = OpenMode(rawValue: 0o2105401)

        /// The same with O_NONBLOCK.
        var withoutWaiting: OpenMode {
            OpenMode(rawValue: rawValue | 0o4000, permissions: permissions)
        }

        /// The same for a block device: for writing, only while no file system and no other device has it: O_EXCL,
        /// of which pipes and the like take no notice.
        var ofDevice: OpenMode {
            let access = rawValue & 3 == 0 ? 0 : 0o200
            return OpenMode(rawValue: rawValue | access, permissions: permissions)
        }

        /// What may be done with a file that is made here, as far as the user's mask lets.
        private(set) var permissions = 0o666
        private init(rawValue: Int, permissions: Int) {
            self.rawValue = rawValue
            self.permissions = permissions
        }
        init(rawValue: Int) { self.rawValue = rawValue }
    }

    /// Opens a file by its name.
    static func open(_ path: Text, _ mode: OpenMode) throws(Errno) -> Descriptor {
        Descriptor(owning: try openNumber(path, mode))
    }

    /// The same, as a number that the caller has to close.
    static func openNumber(_ path: Text, _ mode: OpenMode) throws(Errno) -> Int32 {
        let number = try path.withCString { (name) throws(Errno) in
            try SystemCall.retrying(.open, name, mode.rawValue, mode.permissions)
        }
        return Int32(number)
    }

    /// What `fstat` says of the file.
    func status() throws(Errno) -> FileStatus { try FileStatus.of(number) }

    /// Moves the position at which it is read and written, in bytes from the start.
    func seek(to offset: UInt64) throws(Errno) { try Self.seek(number, to: offset) }

    /// The same for a number with another owner.
    static func seek(_ number: Int32, to offset: UInt64) throws(Errno) {
        try move(number, offset, 0)  // SEEK_SET
    }

    /// Moves the position to the end.
    /// - Returns: bytes from the start.
    static func seekEnd(_ number: Int32) throws(Errno) -> UInt64 {
        try move(number, 0, 2)  // SEEK_END
    }

    @discardableResult
    private static func move(
        _ number: Int32, _ offset: UInt64, _ whence: Int
    ) throws(Errno) -> UInt64 {
        #if arch(x86_64)
        return UInt64(
            try SystemCall.make(.seek, Int(number), Int(truncatingIfNeeded: offset), whence))
        #else
        var result: UInt64 = 0
        _ = try withKernel(&result) { (address) throws(Errno) in
            try SystemCall.make(
                .seek, Int(number), Int(truncatingIfNeeded: offset >> 32),
                Int(truncatingIfNeeded: offset), address, whence)
        }
        return result
        #endif
    }

    /// Gives the file this owner, this group and these permissions, and the access control list of the one that
    /// has them, as far as that is allowed.
    /// - Parameter path: of the one that has them.
    func take(ownerAndPermissionsOf other: FileStatus, at path: Text) {
        var mode = Int(other.mode & 0o7777)
        if let own = try? status(), own.user != other.user || own.group != other.group,
            (try? SystemCall.make(
                .changeOwner, Int(number), Int(truncatingIfNeeded: other.user),
                Int(truncatingIfNeeded: other.group))) == nil
        {
            // Without this, set-user-ID and set-group-ID would lend the rights of another owner.
            mode &= 0o1777
        }
        // With a list, the group's bits are its mask, the most that any entry gives; without it they would be the group's rights.
        if (try? takeList(of: path)) == nil { mode &= ~0o070 }
        // After the owner: a change of that takes the bits that lend rights.
        _ = try? SystemCall.make(.changePermissions, Int(number), mode)
    }

    /// Gives the file the access control list of another one, or none where that has none.
    /// Source: acl(5), linux/posix_acl_xattr.h.
    private func takeList(of path: Text) throws(Errno) {
        let memory = try Mapping.anonymous(count: 1 << 16)
        let list = Int(bitPattern: unsafe memory.start)
        let attribute: Text = "system.posix_acl_access"
        _ = try attribute.withCString { (attribute) throws(Errno) in
            let count = try? path.withCString { (path) throws(Errno) in
                try SystemCall.make(.attribute, path, attribute, list, memory.count)
            }
            if let count {
                return try SystemCall.make(.setAttribute, Int(number), attribute, list, count)
            }
            // Its folder may have given the new one a list: a version and nothing after it stands for none.
            unsafe memory.start.storeBytes(of: 2, as: UInt32.self)
            _ = try? SystemCall.make(.setAttribute, Int(number), attribute, list, 4)
            return 0
        }
    }

    /// Whether it begins so; its position moves after that.
    func begins(with start: StaticString) throws(Errno) -> Bool {
        var bytes = [UInt8](repeating: 0, count: start.utf8CodeUnitCount)
        let count = try Transfer.read(number, into: &bytes)
        return count == bytes.count && Text(bytes: bytes) == start
    }

    /// Empties a file.
    func truncate() throws(Errno) { try SystemCall.retrying(.truncate, Int(number), 0) }

    /// Waits until what was written is on the disk. No signal ends that: a process that waits for signals leaves it to an
    /// `Assistant`.
    func synchronizeData() throws(Errno) {
        try SystemCall.retrying(.synchronizeData, Int(number))
    }

    /// The same, with what is known of the file, its times too.
    static func synchronizeNumber(_ number: Int32) throws(Errno) {
        try SystemCall.retrying(.synchronize, Int(number))
    }

    /// Takes the file for this open description, until that is closed. Others that ask for a lock
    /// are kept away, those that do not ask are not. Source: flock(2).
    /// - Parameter shared: true to let others in that ask for a share, too.
    /// - Throws: EAGAIN if it is locked.
    func lock(shared: Bool) throws(Errno) {
        // LOCK_SH or LOCK_EX, with LOCK_NB.
        try SystemCall.retrying(.lock, Int(number), (shared ? 1 : 2) | 4)
    }

    /// True for a block device that takes no writes. Source: linux/fs.h, BLKROGET.
    var isReadOnlyDevice: Bool {
        guard (try? status())?.kind == .block else { return false }
        var isReadOnly: Int32 = 0
        let asked: Int? = try? withKernel(&isReadOnly) { (address) throws(Errno) in
            try SystemCall.make(.ioctl, Int(number), 0x125E, address)
        }
        return asked != nil && isReadOnly != 0
    }

    /// Size in bytes of a block device. Source: linux/fs.h, BLKGETSIZE64.
    func deviceSize() throws(Errno) -> UInt64 {
        var size: UInt64 = 0
        let request = UInt(0x8000_1272) | UInt(MemoryLayout<Int>.size) << 16
        _ = try withKernel(&size) { (address) throws(Errno) in
            try SystemCall.make(.ioctl, Int(number), Int(bitPattern: request), address)
        }
        return size
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
