// What the table of a disk says of one of its partitions: `PARTUUID=`, and names that the kernel tells only in part.
// Which partitions there are is the kernel's word; only the entry of one of them is looked up. Sources: the UEFI
// specification, chapter 5 (GPT); the kernel's block/partitions/efi.c and msdos.c.

/// A partition and its disk, as the kernel tells them.
struct KnownPartition {
    /// From 1; its entry's in the table.
    var number: UInt64
    /// In sectors of 512 bytes from the disk's start, as `size`.
    var start: UInt64
    /// The disk's.
    var size: UInt64
    /// Bytes of the disk's logical block.
    var block: UInt64
}

struct PartitionEntry {
    /// As the kernel and blkid(8) write it, in lower case.
    let identifier: Text
    /// Nothing where a table has no names.
    let name: Text

    /// - Parameter read: gives bytes of the disk from an offset on, as many as it has.
    init?(_ partition: KnownPartition, read: (_ offset: UInt64, _ count: Int) -> [UInt8]) {
        let first = read(0, 512)
        guard first.count == 512, first[510] == 0x55, first[511] == 0xAA else { return nil }
        // One entry of this type says that the table is a GPT.
        if (0..<4).contains(where: { first[0x1BE + 16 * $0 + 4] == 0xEE }) {
            guard let entry = Self.entry(partition, read) else { return nil }
            identifier = Self.identifier(entry)
            name = Self.name(entry)
            return
        }
        // The disk's own number, and which partition it is.
        guard partition.number >= 1, partition.number <= 255 else { return nil }
        identifier =
            "\(bareHex: Self.number(first, 0x1B8, 4), width: 8)-\(bareHex: partition.number, width: 2)"
        name = Text()
    }

    // MARK: GPT

    private static let size: UInt64 = 128

    /// The partition's 128 bytes in the first table, or in the one at the disk's end that stands in for it.
    private static func entry(
        _ partition: KnownPartition, _ read: (_ offset: UInt64, _ count: Int) -> [UInt8]
    ) -> [UInt8]? {
        let sectors = partition.block / 512
        guard sectors > 0, sectors <= 128, partition.number >= 1,
            partition.start % sectors == 0
        else { return nil }
        let blocks = partition.size / sectors
        for place in [1, blocks &- 1] {
            // Products of what is inside the disk are as well.
            let header = read(place &* partition.block, 92)
            guard header.count == 92, Text(bytes: Array(header[..<8])) == "EFI PART",
                number(header, 24, 8) == place
            else { continue }
            let table = number(header, 72, 8)
            guard table < blocks, partition.number <= number(header, 80, 4),
                number(header, 84, 4) == size
            else { continue }
            let entry = read(
                table &* partition.block &+ (partition.number - 1) &* size, Int(size))
            // An entry of another partition, as in a table that was changed since, is not meant.
            if entry.count == Int(size), number(entry, 32, 8) == partition.start / sectors {
                return entry
            }
        }
        return nil
    }

    /// Of its five parts the first three are numbers, the lowest byte first.
    private static func identifier(_ entry: [UInt8]) -> Text {
        var text = Text()
        for (index, byte) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 {
                text.append(UInt8(ascii: "-"))
            }
            text += "\(bareHex: entry[16 + byte], width: 2)"
        }
        return text
    }

    /// 36 units of UTF-16, or fewer and a zero, as UTF-8.
    private static func name(_ entry: [UInt8]) -> Text {
        var name = Text()
        var index = 56
        while index < Int(size) {
            var unit = number(entry, index, 2)
            index += 2
            if unit == 0 { break }
            if unit >> 10 == 0x36, index < Int(size) {
                let low = number(entry, index, 2)
                if low >> 10 == 0x37 {
                    unit = 0x10000 + (unit & 0x3FF) << 10 + low & 0x3FF
                    index += 2
                }
            }
            if unit < 0x80 {
                name.append(UInt8(unit))
                continue
            }
            let more: UInt64 = unit < 0x800 ? 1 : unit < 0x1_0000 ? 2 : 3
            name.append(UInt8(truncatingIfNeeded: 0xFF00 >> (more + 1) | unit >> (6 * more)))
            for left in (0..<more).reversed() {
                name.append(UInt8(truncatingIfNeeded: 0x80 | unit >> (6 * left) & 0x3F))
            }
        }
        return name
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        LittleEndian.number(bytes[...], at: offset, count)
    }
}
