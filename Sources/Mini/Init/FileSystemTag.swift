// `UUID=`, `LABEL=`, `PARTUUID=` and `PARTLABEL=` in the place of a device: the block devices are looked through for
// the file system or the partition that has it (PartitionEntry.swift). What these file systems have at fixed places is told here, and nothing else
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

/// A name for a file system that holds whatever its device is called.
enum FileSystemTag: Equatable {
    /// As digits: lower case, no dashes.
    case identifier(Text)
    case label(Text)
    /// A partition's in its disk's table, as it is written there: in lower case, with dashes.
    case partitionIdentifier(Text)
    /// A partition's name in its table.
    case partitionLabel(Text)
    /// One that is not looked for here.
    case foreign

    /// nil for what is no such name.
    init?(_ source: Text) {
        if let word = source.dropping(prefix: "UUID=") {
            let digits = Self.lowered(word).bytes.filter { $0 != UInt8(ascii: "-") }
            self = .identifier(Text(bytes: digits))
        } else if let word = source.dropping(prefix: "LABEL=") {
            self = .label(word)
        } else if let word = source.dropping(prefix: "PARTLABEL=") {
            self = .partitionLabel(word)
        } else if let word = source.dropping(prefix: "PARTUUID=") {
            self = .partitionIdentifier(Self.lowered(word))
        } else if source.dropping(prefix: "ID=") != nil {
            self = .foreign
        } else {
            return nil
        }
    }

    private static func lowered(_ word: Text) -> Text {
        Text(
            bytes: word.bytes.map {
                $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0
            })
    }

    static let wanted: StaticText = """
        a name that is looked for: UUID= with hexadecimal digits, LABEL= or PARTLABEL= with a label, \
        PARTUUID= with 8-4-4-4-12 or 8-2 hexadecimal digits
        """

    /// False for what no file system is called, and for what is not looked for here.
    var isPossible: Bool {
        switch self {
        case .identifier(let digits):
            return !digits.bytes.isEmpty && digits.bytes.allSatisfy(Self.isDigit)
        case .partitionIdentifier(let word):
            // Of a GPT, or of an MBR.
            let isLong = word.bytes.count == 36
            guard isLong || word.bytes.count == 11 else { return false }
            return word.bytes.indices.allSatisfy { index in
                let isDash =
                    index == 8 || isLong && (index == 13 || index == 18 || index == 23)
                let byte = word.bytes[index]
                return isDash ? byte == UInt8(ascii: "-") : Self.isDigit(byte)
            }
        case .label(let label), .partitionLabel(let label): return !label.bytes.isEmpty
        case .foreign: return false
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= 48 && byte <= 57 || byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f")
    }

    // MARK: Looking

    /// The device that has it; nil if there is none now.
    /// - Parameters:
    ///   - devices: the folder of sysfs that has them.
    ///   - nodes: the folder of their nodes. Tests have others.
    func device(in devices: Text = "/sys/class/block", nodes: Text = "/dev") -> Text? {
        guard let names = try? Files.names(in: devices) else { return nil }
        for name in names {
            let node = Self.node(name, nodes)
            if isWanted("\(devices)/\(name)", node, nodes) { return node }
        }
        return nil
    }

    /// - Parameter folder: the device's in sysfs.
    private func isWanted(_ folder: Text, _ node: Text, _ nodes: Text) -> Bool {
        // A part of a volume, as of a RAID, has what the volume has.
        if let holders = try? Files.names(in: "\(folder)/holders"), !holders.isEmpty {
            return false
        }
        switch self {
        case .partitionLabel(let label):
            if Self.event("PARTNAME=", folder) == label { return true }
            // Of other characters than ASCII's the kernel makes exclamation marks.
            return label.bytes.contains { $0 >= 0x80 }
                && Self.entry(folder, nodes)?.name == label
        case .partitionIdentifier(let word): return Self.entry(folder, nodes)?.identifier == word
        case .identifier(let digits):
            guard let found = Self.look(at: node) else { return false }
            return !digits.bytes.isEmpty && found.identifier == digits
        case .label(let label):
            guard let found = Self.look(at: node) else { return false }
            return !label.bytes.isEmpty && found.label == label
        case .foreign: return false
        }
    }

    /// What the kernel says of a device to those who hear of it.
    private static func event(_ word: StaticString, _ folder: Text) -> Text? {
        guard let text = try? SmallFile.read("\(folder)/uevent") else { return nil }
        for line in text.bytes[...].split(separator: 10) {
            if let value = Text(bytes: Array(line)).dropping(prefix: word) { return value }
        }
        return nil
    }

    /// What a partition's disk says of it; nil for what is no partition.
    private static func entry(_ folder: Text, _ nodes: Text) -> PartitionEntry? {
        // Its folder is in that of the disk, whichever link leads there.
        let disk: Text = "\(folder)/.."
        guard let number = SmallFile.line("\(folder)/partition")?.number,
            let start = SmallFile.line("\(folder)/start")?.number,
            let size = SmallFile.line("\(disk)/size")?.number,
            let block = SmallFile.line("\(disk)/queue/logical_block_size")?.number,
            let name = event("DEVNAME=", disk),
            let file = try? Descriptor.open("\(nodes)/\(name)", .readOnlyNow)
        else { return nil }
        let handle = file.number
        let partition = KnownPartition(number: number, start: start, size: size, block: block)
        return PartitionEntry(partition) { read(handle, $0, $1) }
    }

    /// A `!` in sysfs stands for a `/` under /dev.
    private static func node(_ name: Text, _ nodes: Text) -> Text {
        let name = name.bytes.map { $0 == UInt8(ascii: "!") ? UInt8(ascii: "/") : $0 }
        return "\(nodes)/\(Text(bytes: name))"
    }

    /// What a device holds; nil if it cannot be read or that is not known.
    static func look(at device: Text) -> FoundFileSystem? {
        guard let file = try? Descriptor.open(device, .readOnlyNow) else { return nil }
        let number = file.number
        return FoundFileSystem { read(number, $0, $1) }
    }

    private static func read(_ number: Int32, _ offset: UInt64, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard (try? Descriptor.seek(number, to: offset)) != nil,
            let count = try? Transfer.read(number, into: &bytes)
        else { return [] }
        return Array(bytes[..<count])
    }
}
