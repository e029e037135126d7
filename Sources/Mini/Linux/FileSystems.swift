// Files and file systems by name: making, mounting, moving, removing. Each call once, with the
// kernel's own results. Sources: mount(2), umount2(2), mkdir(2), mknod(2), getdents64(2),
// statfs(2), memfd_create(2), linux/mount.h, linux/magic.h.

import CShim

extension Text {
    /// Hands the kernel this as a C string.
    @inline(never)
    func withCString(_ call: (Int) throws(Errno) -> Int) throws(Errno) -> Int {
        let name = try terminated
        return unsafe try name.withUnsafeBufferPointer { (name) throws(Errno) in
            try call(Int(bitPattern: name.baseAddress))
        }
    }

    private var terminated: [UInt8] {
        @inline(never) get throws(Errno) {
            guard !bytes.contains(0) else { throw .noSuchFile }
            var name = bytes
            name.append(0)
            return name
        }
    }
}

/// How a file system is mounted: mount(2)'s flags.
struct MountFlags: OptionSet, Equatable {
    let rawValue: UInt
    static let readOnly = MountFlags(rawValue: 1)
    static let noSetUserID = MountFlags(rawValue: 2)
    static let noDevices = MountFlags(rawValue: 4)
    static let noExecution = MountFlags(rawValue: 8)
    static let synchronous = MountFlags(rawValue: 16)
    static let remount = MountFlags(rawValue: 32)
    static let mandatoryLocks = MountFlags(rawValue: 64)
    static let synchronousFolders = MountFlags(rawValue: 128)
    static let noSymbolicLinks = MountFlags(rawValue: 256)
    static let noAccessTimes = MountFlags(rawValue: 1024)
    static let noFolderAccessTimes = MountFlags(rawValue: 2048)
    static let recursive = MountFlags(rawValue: 16384)
    static let silent = MountFlags(rawValue: 32768)
    static let relativeAccessTimes = MountFlags(rawValue: 1 << 21)
    static let versions = MountFlags(rawValue: 1 << 23)
    static let strictAccessTimes = MountFlags(rawValue: 1 << 24)
    static let lazyTimes = MountFlags(rawValue: 1 << 25)
    static let bind = MountFlags(rawValue: 4096)
    static let move = MountFlags(rawValue: 8192)
    // Whether mounts below it appear elsewhere, and others here: one of them, in a call of its own.
    static let unbindable = MountFlags(rawValue: 1 << 17)
    static let own = MountFlags(rawValue: 1 << 18)  // MS_PRIVATE
    static let slave = MountFlags(rawValue: 1 << 19)
    static let shared = MountFlags(rawValue: 1 << 20)
    /// What can be so at one folder and not at another where the same file system is mounted.
    static let ofFolder: MountFlags = [
        .readOnly, .noSetUserID, .noDevices, .noExecution, .noSymbolicLinks, .noAccessTimes,
        .noFolderAccessTimes, .relativeAccessTimes, .strictAccessTimes,
    ]
}

/// The calls, each with the kernel's errno.
enum FileSystem {
    @inline(never)
    static func mount(
        _ source: Text, on target: Text, type: Text, _ flags: MountFlags = [], data: Text = ""
    ) throws(Errno) {
        _ = try source.withCString { (source) throws(Errno) in
            try target.withCString { (target) throws(Errno) in
                try type.withCString { (type) throws(Errno) in
                    try data.withCString { (data) throws(Errno) in
                        try SystemCall.make(
                            .mount, source, target, type, Int(bitPattern: flags.rawValue), data)
                    }
                }
            }
        }
    }

    static func unmount(_ target: Text) throws(Errno) {
        _ = try target.withCString { (target) throws(Errno) in
            try SystemCall.make(.unmount, target, 0)
        }
    }

    /// Swaps nothing out to a file or disk any more, which so is not in use any more. Source: swapoff(2).
    static func endSwap(_ name: Text) throws(Errno) {
        _ = try name.withCString { (name) throws(Errno) in try SystemCall.make(.endSwap, name) }
    }

    /// Makes a folder, and those above it that are missing.
    static func makeDirectories(_ path: Text) throws(Errno) {
        var name = Text()
        for byte in path.bytes {
            if byte == UInt8(ascii: "/") && !name.bytes.isEmpty { try makeDirectory(name) }
            name.append(byte)
        }
        try makeDirectory(name)
    }

    private static func makeDirectory(_ path: Text) throws(Errno) {
        do throws(Errno) {
            _ = try path.withCString { (path) throws(Errno) in
                try SystemCall.make(.makeDirectory, path, 0o755)
            }
        } catch { if error != .exists { throw error } }
    }

    /// Makes the node of a character device that only its owner may use.
    /// - Parameter number: of 8 bits each.
    static func makeNode(_ path: Text, _ number: DeviceNumber) throws(Errno) {
        do throws(Errno) {
            _ = try path.withCString { (path) throws(Errno) in
                try SystemCall.make(
                    .makeNode, path, 0o020600, Int(number.major << 8 | number.minor))
            }
        } catch { if error != .exists { throw error } }
    }

    /// Makes a symbolic link.
    static func makeLink(_ path: Text, to target: Text) throws(Errno) {
        _ = try target.withCString { (target) throws(Errno) in
            try path.withCString { (path) throws(Errno) in
                try SystemCall.make(.makeLink, target, path)
            }
        }
    }

    /// Removes an empty folder.
    static func removeDirectory(_ path: Text) throws(Errno) {
        _ = try path.withCString { (path) throws(Errno) in
            try SystemCall.make(.removeDirectory, path)
        }
    }

    static func changeDirectory(_ path: Text) throws(Errno) {
        _ = try path.withCString { (path) throws(Errno) in
            try SystemCall.make(.changeDirectory, path)
        }
    }

    /// Makes a folder the root of this process; its working directory stays.
    static func changeRoot(_ path: Text) throws(Errno) {
        _ = try path.withCString { (path) throws(Errno) in try SystemCall.make(.changeRoot, path) }
    }

    /// True for a file system that is only memory: ramfs or tmpfs, as the kernel unpacks an
    /// initramfs into.
    static func isMemory(_ path: Text) throws(Errno) -> Bool {
        let type = UInt32(truncatingIfNeeded: try status(of: path).type)
        return type == 0x8584_58F6 || type == 0x0102_1994
    }

    /// How a folder's file system is mounted there, as to what it keeps programs from, and whether it writes at once.
    static func restrictions(of path: Text) throws(Errno) -> MountFlags {
        let flags = UInt(bitPattern: try status(of: path).flags)
        // ST_VALID: kernels before 2.6.36 do not tell, and those before 2.6.26 would change the file system as a whole.
        guard flags & 0x20 != 0 else { throw .notImplemented }
        // ST_NOSYMFOLLOW has another place than mount(2)'s flag; the others have the same, to ST_MANDLOCK.
        return MountFlags(rawValue: flags & 0x5F | flags >> 5 & 256)
    }

    private static func status(of path: Text) throws(Errno) -> (type: Int, flags: Int) {
        // Begins with the type: struct statfs of 120 bytes on x86_64, struct statfs64 of 84 on i386.
        var words = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        _ = try path.withCString { (path) throws(Errno) in
            try withKernel(&words) { (address) throws(Errno) in
                #if arch(i386)
                try SystemCall.make(.fileSystemStatus, path, 84, address)
                #else
                try SystemCall.make(.fileSystemStatus, path, address)
                #endif
            }
        }
        #if arch(i386)
        return (words.0, words.16)
        #else
        return (words.0, words.10)
        #endif
    }

    /// Writes everything to the disks.
    static func synchronize() { _ = try? SystemCall.make(.synchronizeAll) }

    /// A file without a name that is only memory, and closed for programs that are executed.
    /// - Parameter name: what /proc calls it.
    static func memoryFile(_ name: Text) throws(Errno) -> Descriptor {
        do throws(Errno) {
            let number = try name.withCString { (name) throws(Errno) in
                try SystemCall.make(.memoryFile, name, 1)  // MFD_CLOEXEC
            }
            return Descriptor(owning: Int32(number))
        } catch {
            // Before 3.17 one that loses its name at once.
            guard error == .notImplemented else { throw error }
            let path: Text = "/run/\(name).\(Process.id)"
            let file = try Descriptor.open(path, .createBoth)
            try Files.remove(path)
            return file
        }
    }

    /// The names in an open folder, in no order, without `.` and `..`.
    static func names(in directory: borrowing Descriptor) throws(Errno) -> [Text] {
        let memory = try Mapping.anonymous(count: 1 << 15)
        var names: [Text] = []
        while true {
            let count = try SystemCall.make(
                .directoryEntries, Int(directory.number), Int(bitPattern: unsafe memory.start),
                memory.count)
            if count == 0 { return names }
            // struct linux_dirent64: inode, offset, length of the record at 16, type, name at 19.
            var at = 0
            while at < count {
                let name = unsafe Text(cString: memory.start + at + 19)
                if !(name == ".") && !(name == "..") { names.append(name) }
                at += Int(unsafe memory.start.load(fromByteOffset: at + 16, as: UInt16.self))
            }
        }
    }
}
