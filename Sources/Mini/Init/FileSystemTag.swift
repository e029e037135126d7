// `UUID=`, `LABEL=`, `PARTUUID=` and `PARTLABEL=` in the place of a device: the block devices are looked through for
// the file system (FoundFileSystem.swift) or the partition (PartitionEntry.swift) that has it. Source: sysfs(5).

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
