// The format of an initramfs: cpio's "newc". A member is a header of 110 characters, its path and a NUL,
// zeros up to a multiple of four, its bytes, zeros up to a multiple of four; a member of a certain
// name ends the archive. The kernel takes several archives one after the other, and zeros
// between them. Source: Documentation/driver-api/early-userspace/buffer-format.rst.

enum Cpio {
    /// The path of the last member.
    static let trailer: StaticString = "TRAILER!!!"
    /// An archive's length is a multiple of this, as other programs make it, so that
    /// whatever is put after it starts where the kernel looks.
    static let block: UInt64 = 512
    /// Bytes up to which a number of bytes is filled.
    static let alignment: UInt64 = 4
    static let largestFile = UInt64(UInt32.max)

    /// Header and path of a member, filled up.
    /// - Parameters:
    ///   - inode: its number in the archive, of which the kernel reads only that files differ.
    ///   - links: how many members are names of this file. They have one inode, and all but the
    ///     last one no bytes.
    ///   - time: its last change, in seconds since 1970.
    ///   - size: of a file, if it is not what it was when the file was found.
    static func header(
        _ member: ArchiveMember, inode: UInt32, links: UInt32 = 1, time: UInt32, size: UInt32? = nil
    ) -> Text {
        let known: UInt32 =
            switch member.body {
            case .none: 0
            case .target(let target): UInt32(target.bytes.count)
            case .file(_, let size): size
            }
        return header(
            [
                inode, member.mode, 0, 0, member.isDirectory ? 2 : links, time, size ?? known, 0, 0,
                member.number.major, member.number.minor,
            ], path: member.path.text)
    }

    static func header(
        _ member: ArchiveMember, _ place: HardLinks.Place, time: UInt32, size: UInt32? = nil
    ) -> Text {
        header(member, inode: place.inode, links: place.links, time: time, size: size)
    }

    /// The member that ends an archive.
    static var end: Text {
        header([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], path: "\(trailer)")
    }

    /// - Parameter fields: inode, mode, owner, group, links, time, size, device (two), number (two).
    private static func header(_ fields: [UInt32], path: Text) -> Text {
        var text: Text = "070701"
        for field in fields { text += "\(bareHex: field, width: 8)" }
        // The path's length with its NUL, and a checksum that this format does not use.
        text += "\(bareHex: UInt32(path.bytes.count + 1), width: 8)00000000\(path)"
        text.append(0)
        text += zeros(to: alignment, from: UInt64(text.bytes.count))
        return text
    }

    /// - Returns: what is missing to the next multiple.
    static func zeros(to multiple: UInt64, from count: UInt64) -> Text {
        Text(bytes: [UInt8](repeating: 0, count: Int((multiple - count % multiple) % multiple)))
    }
}
