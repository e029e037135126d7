// What a block device holds, as far as it can be looked for. What these file systems have at fixed places is told here, and
// nothing else of them is read. Sources: the kernel's fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h,
// include/uapi/linux/btrfs_tree.h; the FAT specification; ECMA-119.

struct FoundFileSystem: Equatable {
    var type: StaticText
    /// As digits: lower case, no dashes.
    var identifier: Text
    var label: Text

    /// - Parameter read: gives bytes from an offset on, as many as it has.
    init?(read: (_ offset: UInt64, _ count: Int) -> [UInt8]) {
        let start = read(0, 4096)
        if start.count == 4096 {
            if Self.has(start, [0x53, 0xEF], at: 1024 + 56) {
                // Of ext2, ext3 and ext4 the kernel's ext4 mounts each.
                self.init("ext4", start, 1024 + 104, 16, label: 1024 + 120, 16)
                return
            }
            if Self.has(start, ("XFSB" as Text).bytes, at: 0) {
                self.init("xfs", start, 32, 16, label: 108, 12)
                return
            }
            if Self.has(start, ("FAT32   " as Text).bytes, at: 0x52) {
                self.init("vfat", start, 0x43, 4, label: 0x47, 11)
                takeLabel(ofFAT: start, isLarge: true, read)
                return
            }
            if Self.has(start, ("FAT1" as Text).bytes, at: 0x36) {
                self.init("vfat", start, 0x27, 4, label: 0x2B, 11)
                takeLabel(ofFAT: start, isLarge: false, read)
                return
            }
        }
        let volume = read(0x8000, 2048)
        if volume.count == 2048, Self.has(volume, ("\u{1}CD001" as Text).bytes, at: 0) {
            self.init("iso9660", volume, 0, 0, label: 40, 32)
            return
        }
        let far = read(0x1_0000, 4096)
        guard far.count == 4096, Self.has(far, ("_BHRfS_M" as Text).bytes, at: 64) else {
            return nil
        }
        self.init("btrfs", far, 32, 16, label: 299, 256)
    }

    private init(
        _ type: StaticText, _ bytes: [UInt8], _ identifier: Int, _ count: Int, label: Int,
        _ room: Int
    ) {
        self.type = type
        self.identifier = Text()
        // FAT's is a number, its last byte first.
        let isNumber = count == 4
        for index in 0..<count {
            let byte = bytes[identifier + (isNumber ? count - 1 - index : index)]
            self.identifier += "\(bareHex: byte, width: 2)"
        }
        self.label = Self.name(bytes[label..<label + room])
    }

    private static func name(_ bytes: ArraySlice<UInt8>) -> Text {
        var name = Array(bytes.prefix { $0 != 0 })
        while name.last == UInt8(ascii: " ") { name.removeLast() }
        return Text(bytes: name)
    }

    /// The label that counts is an entry of the root folder, near its beginning; the copy at the start is not
    /// always written with it.
    /// - Parameter isLarge: a FAT32, whose root folder is where its data are.
    private mutating func takeLabel(
        ofFAT start: [UInt8], isLarge: Bool, _ read: (_ offset: UInt64, _ count: Int) -> [UInt8]
    ) {
        func number(_ offset: Int, _ count: Int) -> UInt64 {
            LittleEndian.number(start[...], at: offset, count)
        }
        if label == "NO NAME" { label = Text() }
        // Sectors: no sum or product of such fields has more than 58 bits.
        var root = number(14, 2) + number(16, 1) * (isLarge ? number(36, 4) : number(22, 2))
        var count = 32 * number(17, 2)
        if isLarge {
            guard number(44, 4) >= 2 else { return }
            root += (number(44, 4) - 2) * number(13, 1)
            count = number(13, 1) * number(11, 2)
        }
        var entries = read(root * number(11, 2), Int(min(count, 16384)))[...]
        if !entries.isEmpty { label = Text() }
        while entries.count >= 32, let first = entries.first, first != 0 {
            let entry = Array(entries.prefix(32))
            entries = entries.dropFirst(32)
            // Not one that was removed, or a part of a long name.
            if first != 0xE5, entry[11] & 0x18 == 8, entry[11] & 0x3F != 0x0F {
                label = Self.name(entry[..<11])
                return
            }
        }
    }

    private static func has(_ bytes: [UInt8], _ pattern: [UInt8], at offset: Int) -> Bool {
        Array(bytes[offset..<offset + pattern.count]) == pattern
    }
}
