// Partitions by what the tables of their disks say of them, on made-up disks.

import Foundation
import Testing

@testable import Mini

/// A disk with a table, its bytes in memory.
private struct TableDisk {
    var bytes: [UInt8]
    let block: Int

    /// A GPT of 8 entries at block 2, the third of which is a partition; and a second one at the end.
    init(gpt block: Int, name: String = "root") {
        self.block = block
        bytes = [UInt8](repeating: 0, count: 16 * block)
        bytes.put([0x55, 0xAA], at: 510)
        bytes[0x1BE + 4] = 0xEE
        for (place, table) in [(1, 2), (15, 13)] {
            let header = place * block
            bytes.put("EFI PART", at: header)
            bytes.put(UInt32(0x1_0000), at: header + 8)
            bytes.put(UInt32(92), at: header + 12)
            bytes.put(UInt64(place), at: header + 24)
            bytes.put(UInt64(table), at: header + 72)
            bytes.put(UInt32(8), at: header + 80)
            bytes.put(UInt32(128), at: header + 84)
            let entry = table * block + 2 * 128
            bytes.put([UInt8](repeating: 7, count: 16), at: entry)
            bytes.put((0xA0..<0xB0).map { UInt8($0) }, at: entry + 16)
            bytes.put(UInt64(5), at: entry + 32)
            bytes.put(UInt64(8), at: entry + 40)
            for (index, unit) in name.utf16.prefix(36).enumerated() {
                bytes.put(unit, at: entry + 56 + 2 * index)
            }
        }
    }

    /// The partition as the kernel would tell it.
    var known: KnownPartition {
        KnownPartition(
            number: 3, start: UInt64(5 * block / 512), size: UInt64(bytes.count / 512),
            block: UInt64(block))
    }

    func entry(_ known: KnownPartition) -> PartitionEntry? {
        let bytes = self.bytes
        return PartitionEntry(known) { (offset, count) in
            // The kernel takes no greater one, either.
            guard count <= 512, offset <= UInt64(bytes.count) else { return [] }
            return Array(bytes.dropFirst(Int(offset)).prefix(count))
        }
    }
}

private let identifier: Text = "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf"

@Suite struct PartitionEntryTests {
    @Test("a partition of a GPT has its entry's identifier and name", arguments: [512, 4096])
    func gpt(block: Int) throws {
        let disk = TableDisk(gpt: block)
        let entry = try #require(disk.entry(disk.known))
        #expect(entry.identifier == identifier)
        #expect(entry.name == "root")
    }

    @Test(
        "a name of other characters is UTF-8, and has 36 units at most",
        arguments: [
            ("", ""), ("Größe €", "Größe €"), ("a😀b", "a😀b"),
            (String(repeating: "x", count: 36), String(repeating: "x", count: 36)),
        ])
    func names(_ name: String, _ wanted: String) throws {
        let disk = TableDisk(gpt: 512, name: name)
        let entry = try #require(disk.entry(disk.known))
        #expect(entry.name.bytes == Array(wanted.utf8))
    }

    @Test("halves of pairs are no trap, wherever they stand in a name")
    func halves() throws {
        for unit in [0xD83D, 0xDE00] as [UInt16] {
            var disk = TableDisk(gpt: 512)
            for index in 0..<36 { disk.bytes.put(unit, at: 2 * 512 + 2 * 128 + 56 + 2 * index) }
            let entry = try #require(disk.entry(disk.known))
            #expect(entry.name.bytes.count == 3 * 36)
        }
    }

    @Test("where the first table is damaged or of another partition, the one at the end counts")
    func second() throws {
        for (offset, value) in [
            (512, 0), (512 + 24, 2), (512 + 79, 0xFF), (512 + 80, 2), (512 + 84, 0),
            (2 * 512 + 2 * 128 + 32, 6),
        ] as [(Int, UInt8)] {
            var disk = TableDisk(gpt: 512)
            disk.bytes[offset] = value
            // It tells them apart.
            disk.bytes[13 * 512 + 2 * 128 + 31] = 0x11
            let entry = try #require(disk.entry(disk.known), "\(offset)")
            #expect(entry.identifier == "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae11", "\(offset)")
            disk.bytes[15 * 512] = 0
            #expect(disk.entry(disk.known) == nil, "\(offset)")
        }
    }

    @Test("a partition that its table does not have has no entry")
    func others() {
        let disk = TableDisk(gpt: 512)
        for number in [0, 1, 2, 4, 8, 9, .max] as [UInt64] {
            var known = disk.known
            known.number = number
            #expect(disk.entry(known) == nil, "\(number)")
        }
        for start in [0, 4, 6, .max] as [UInt64] {
            var known = disk.known
            known.start = start
            #expect(disk.entry(known) == nil, "\(start)")
        }
        for block in [0, 1, 511, 1 << 17, .max] as [UInt64] {
            var known = disk.known
            known.block = block
            #expect(disk.entry(known) == nil, "\(block)")
        }
        for size in [0, 1, 2, .max] as [UInt64] {
            var known = disk.known
            known.size = size
            // The first table of a disk that is said to be too small is outside.
            #expect((disk.entry(known) == nil) == (size < .max), "\(size)")
        }
    }

    @Test("of an MBR it is the disk's number and the partition's, logical ones as well")
    func mbr() throws {
        var disk = TableDisk(gpt: 512)
        disk.bytes[0x1BE + 4] = 0x83
        disk.bytes.put(UInt32(0x0AB1_2C3D), at: 0x1B8)
        for (number, wanted) in [
            (1, "0ab12c3d-01"), (5, "0ab12c3d-05"), (17, "0ab12c3d-11"), (255, "0ab12c3d-ff"),
        ] as [(UInt64, Text)] {
            var known = disk.known
            known.number = number
            let entry = try #require(disk.entry(known))
            #expect(entry.identifier == wanted && entry.name.bytes.isEmpty)
        }
        for number in [0, 256, .max] as [UInt64] {
            var known = disk.known
            known.number = number
            #expect(disk.entry(known) == nil)
        }
        disk.bytes[511] = 0
        #expect(disk.entry(disk.known) == nil)
    }

    @Test("disks of random bytes and cut off ones have an entry or none, and nothing else happens")
    func mutants() {
        var generator = SplitMix(seed: 11)
        for _ in 0..<2000 {
            var disk = TableDisk(gpt: 512)
            for _ in 0..<Int.random(in: 1..<8, using: &generator) {
                // Most of them where the headers and the entry are.
                let area = [0, 512, 512, 1024, 15 * 512].randomElement(using: &generator)!
                let offset = area + Int.random(in: 0..<512, using: &generator)
                disk.bytes[offset] = UInt8.random(in: .min ... .max, using: &generator)
            }
            disk.bytes.put([0x55, 0xAA], at: 510)
            if Bool.random(using: &generator) {
                disk.bytes = Array(
                    disk.bytes.prefix(Int.random(in: 0...disk.bytes.count, using: &generator)))
            }
            var known = disk.known
            known.size = 16
            if let entry = disk.entry(known) {
                #expect(entry.identifier.bytes.count == 36 || entry.identifier.bytes.count == 11)
                #expect(entry.name.bytes.count <= 3 * 36)
            }
        }
    }

    @Test("the device that has it is found through the kernel's folders")
    func device() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/mini-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let disk = TableDisk(gpt: 512, name: "Größe")
        for name in ["class", "nodes/d", "sys/d!a/queue", "sys/d!a/d!a3", "sys/loop0"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        for (name, link) in [
            ("d!a", "d!a"), ("d!a3", "d!a/d!a3"), ("loop0", "loop0"),
        ] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/class/\(name)", withDestinationPath: "../sys/\(link)")
        }
        for (name, text) in [
            ("d!a/size", "16\n"), ("d!a/queue/logical_block_size", "512\n"),
            ("d!a/uevent", "MAJOR=7\nDEVNAME=d/a\n"), ("d!a/d!a3/partition", "3\n"),
            ("d!a/d!a3/start", "5\n"), ("d!a/d!a3/uevent", "PARTN=3\nPARTNAME=Gr!!e\n"),
        ] {
            try Data(text.utf8).write(to: URL(filePath: "\(folder)/sys/\(name)"))
        }
        try Data(disk.bytes).write(to: URL(filePath: "\(folder)/nodes/d/a"))
        func found(_ word: Text) -> String? {
            let nodes = "\(folder)/nodes"
            return FileSystemTag(word)?.device(
                in: Text(stringLiteral: "\(folder)/class"), nodes: Text(stringLiteral: nodes)
            ).map { String(string($0).dropFirst(nodes.count)) }
        }
        #expect(found("PARTUUID=A3A2A1A0-a5a4-a7a6-a8a9-aaabacadaeaf") == "/d/a3")
        #expect(found("PARTUUID=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeae") == nil)
        #expect(found("PARTUUID=") == nil)
        #expect(found("PARTLABEL=Größe") == "/d/a3")
        #expect(found("PARTLABEL=Gr!!e") == "/d/a3")
        #expect(found("PARTLABEL=Größen") == nil)
        try FileManager.default.removeItem(atPath: "\(folder)/sys/d!a/queue/logical_block_size")
        #expect(found("PARTUUID=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf") == nil)
    }
}
