// `UUID=` and `LABEL=` in the place of a device: the block devices are looked through for the file
// system that has it. What these file systems have at fixed places is told here, and nothing else
// of them is read. Sources: the kernel's fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h,
// include/uapi/linux/btrfs_tree.h; the FAT specification; ECMA-119.

/// What a block device holds, as far as it can be looked for.
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
                return
            }
            if Self.has(start, ("FAT1" as Text).bytes, at: 0x36) {
                self.init("vfat", start, 0x27, 4, label: 0x2B, 11)
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
        var name = Array(bytes[label..<label + room].prefix { $0 != 0 })
        while name.last == UInt8(ascii: " ") { name.removeLast() }
        self.label = Text(bytes: name)
    }

    private static func has(_ bytes: [UInt8], _ pattern: [UInt8], at offset: Int) -> Bool {
        Array(bytes[offset..<offset + pattern.count]) == pattern
    }
}

/// A name for a file system that holds whatever its device is called.
enum FileSystemTag: Equatable {
    /// As digits: lower case, no dashes.
    case identifier(Text)
    case label(Text)
    /// A partition's name in its table.
    case partitionLabel(Text)
    /// One that is not looked for here.
    case foreign

    /// nil for what is no such name.
    init?(_ source: Text) {
        if let word = source.dropping(prefix: "UUID=") {
            var digits = Text()
            for byte in word.bytes where byte != UInt8(ascii: "-") {
                digits.append(
                    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte)
            }
            self = .identifier(digits)
        } else if let word = source.dropping(prefix: "LABEL=") {
            self = .label(word)
        } else if let word = source.dropping(prefix: "PARTLABEL=") {
            self = .partitionLabel(word)
        } else if source.dropping(prefix: "PARTUUID=") != nil
            || source.dropping(prefix: "ID=") != nil
        {
            self = .foreign
        } else {
            return nil
        }
    }

    static let wanted: StaticText =
        "a name that is looked for: UUID= with hexadecimal digits, LABEL= or PARTLABEL= with a label"

    /// False for what no file system is called, and for what is not looked for here.
    var isPossible: Bool {
        switch self {
        case .identifier(let digits):
            return !digits.bytes.isEmpty
                && digits.bytes.allSatisfy {
                    $0 >= 48 && $0 <= 57 || $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f")
                }
        case .label(let label), .partitionLabel(let label): return !label.bytes.isEmpty
        case .foreign: return false
        }
    }

    // MARK: Looking

    private static let devices: Text = "/sys/class/block"

    /// The device that has it; nil if there is none now.
    func device() -> Text? {
        guard let names = try? Files.names(in: Self.devices) else { return nil }
        for name in names where isWanted(name) { return Self.node(name) }
        return nil
    }

    /// - Parameter name: the device's in sysfs.
    private func isWanted(_ name: Text) -> Bool {
        let folder: Text = "\(Self.devices)/\(name)"
        // A part of a volume, as of a RAID, has what the volume has.
        if let holders = try? Files.names(in: "\(folder)/holders"), !holders.isEmpty {
            return false
        }
        switch self {
        case .partitionLabel(let label): return Self.partitionName(folder) == label
        case .identifier(let digits):
            guard let found = Self.look(at: Self.node(name)) else { return false }
            return !digits.bytes.isEmpty && found.identifier == digits
        case .label(let label):
            guard let found = Self.look(at: Self.node(name)) else { return false }
            return !label.bytes.isEmpty && found.label == label
        case .foreign: return false
        }
    }

    private static func partitionName(_ folder: Text) -> Text? {
        guard let text = try? SmallFile.read("\(folder)/uevent") else { return nil }
        for line in text.bytes.split(separator: 10) {
            if let name = Text(bytes: Array(line)).dropping(prefix: "PARTNAME=") { return name }
        }
        return nil
    }

    /// A `!` in sysfs stands for a `/` under /dev.
    private static func node(_ name: Text) -> Text {
        "/dev/\(Text(bytes: name.bytes.map { $0 == UInt8(ascii: "!") ? UInt8(ascii: "/") : $0 }))"
    }

    /// What a device holds; nil if it cannot be read or that is not known.
    static func look(at device: Text) -> FoundFileSystem? {
        guard let file = try? Descriptor.open(device, .readOnlyNow) else { return nil }
        let number = file.number
        return FoundFileSystem { (offset, count) in
            var bytes = [UInt8](repeating: 0, count: count)
            guard (try? Descriptor.seek(number, to: offset)) != nil,
                let count = try? Transfer.read(number, into: &bytes)
            else { return [] }
            return Array(bytes[..<count])
        }
    }
}
