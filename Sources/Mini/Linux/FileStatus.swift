// What the kernel knows of a file: which one it is, of what kind, its size, owner and permissions. Sources: stat(2), linux/kdev_t.h.

import CShim

/// Which file it is, whatever its name: the same for every process.
struct FileIdentity: Equatable {
    let device: UInt64
    let inode: UInt64
}

/// Types and permissions of files. Source: inode(7).
enum FileMode {
    static let type: UInt32 = 0o170000
    static let permissions: UInt32 = 0o7777
    static let pipe: UInt32 = 0o010000
    static let characters: UInt32 = 0o020000
    static let directory: UInt32 = 0o040000
    static let blocks: UInt32 = 0o060000
    static let regular: UInt32 = 0o100000
    static let link: UInt32 = 0o120000
    static let socket: UInt32 = 0o140000
}

/// What the kernel knows of a file.
struct FileStatus: Equatable {
    enum Kind { case regular, directory, block, pipe, socket, other }
    let kind: Kind
    /// Size in bytes; 0 for what has none.
    private(set) var size: UInt64
    let identity: FileIdentity
    /// Type and permissions, as in `st_mode`.
    let mode: UInt32
    /// How many names it has.
    let links: UInt64
    /// Its owner's number and its group's.
    let user: UInt32
    let group: UInt32
    /// Of a device file; zeros for others.
    let number: DeviceNumber

    /// Asks the kernel about an open descriptor.
    static func of(_ descriptor: Int32) throws(Errno) -> FileStatus {
        var status = mini_stat()
        _ = try withKernel(&status) { (address) throws(Errno) in
            try SystemCall.make(.fileStatus, Int(descriptor), address)
        }
        return FileStatus(status)
    }

    /// The same of a regular file, with the size that it has now; its position moves to its end. A process
    /// in a sandbox can ask that.
    func renewed(_ descriptor: Int32) throws(Errno) -> FileStatus {
        var status = self
        status.size = try Descriptor.seekEnd(descriptor)
        return status
    }

    /// Asks the kernel about a file by its name.
    /// - Parameter followsLink: about what a symbolic link points at, rather than the link.
    static func of(_ path: Text, followsLink: Bool) throws(Errno) -> FileStatus {
        var status = mini_stat()
        _ = try withKernel(&status) { (address) throws(Errno) in
            try path.withCString { (name) throws(Errno) in
                let flags = followsLink ? 0 : 0x100  // AT_SYMLINK_NOFOLLOW
                return try SystemCall.make(
                    .fileStatusAt, Files.workingDirectory, name, address, flags)
            }
        }
        return FileStatus(status)
    }

    private init(_ status: mini_stat) {
        kind =
            switch status.mode & FileMode.type {
            case FileMode.regular: .regular
            case FileMode.directory: .directory
            case FileMode.blocks: .block
            case FileMode.pipe: .pipe
            case FileMode.socket: .socket
            default: .other
            }
        size = UInt64(max(0, status.size))
        mode = status.mode
        links = UInt64(status.links)
        user = status.user
        group = status.group
        number =
            kind == .block || mode & FileMode.type == FileMode.characters
            ? DeviceNumber(packed: status.special) : DeviceNumber()
        identity = FileIdentity(device: UInt64(status.device), inode: UInt64(status.inode))
    }
}

/// Which device a device file stands for.
struct DeviceNumber: Equatable {
    /// At most 12 bits.
    var major: UInt32 = 0
    /// At most 20 bits.
    var minor: UInt32 = 0

    /// Source: Documentation/admin-guide/devices.txt.
    static let null = DeviceNumber(major: 1, minor: 3)
    static let console = DeviceNumber(major: 5, minor: 1)
    static let memoryMajor: UInt32 = 1
    static let loopMajor: UInt32 = 7
}

extension DeviceNumber {
    /// - Parameter packed: as the kernel hands it out. Source: linux/kdev_t.h.
    init(packed: UInt64) {
        let low = UInt32(truncatingIfNeeded: packed)
        major = low >> 8 & 0xFFF
        minor = low & 0xFF | low >> 12 & 0xFFF00
    }
}
