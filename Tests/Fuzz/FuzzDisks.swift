// Block devices that are looked through for a file system or a partition by its name: the root folders of FATs, the tables
// of partitions, and the whole look, for which it plays the kernel's folder of block devices. A case is one entry point, and a
// device in pieces, each with its place.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzDisks {
    enum EntryPoint: UInt8, CaseIterable { case folder, table, look }

    private static let room = 0x1_2000
    /// More than one look reads of anything.
    private static let mostRead = 16384

    // MARK: Making

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let entryPoint = EntryPoint.allCases[random.below(EntryPoint.allCases.count)]
        input.append(entryPoint.rawValue)
        // On a disk of 16 blocks.
        let block: UInt64 = random.once(in: 3) ? 4096 : 512
        let partition = KnownPartition(
            number: UInt64(1 + random.below(8)), start: 5 * block / 512, size: 16 * block / 512,
            block: block)
        switch entryPoint {
        case .folder: makeFAT(&random, input)
        case .table:
            for value in [partition.number, partition.start, partition.size, partition.block] {
                input.append(random.once(in: 24) ? random.hurtful() : UInt32(value))
                input.append(random.once(in: 24) ? random.hurtful() : 0)
            }
            makeTable(partition, &random, input)
        case .look: makeLook(partition, &random, input)
        }
        if random.once(in: 2) {
            input.mutate(&random, span: 80)
            input[0] = entryPoint.rawValue
        }
    }

    /// How much of the device there is.
    private static func makeSize(_ random: inout FuzzRandom, _ input: FuzzInput) {
        input.append(random.once(in: 6) ? UInt32(random.below(room)) : UInt32(room))
    }

    private static func piece(_ place: Int, _ bytes: [UInt8], _ input: FuzzInput) {
        input.append(UInt32(truncatingIfNeeded: place))
        input.append(UInt8(truncatingIfNeeded: bytes.count))
        input.append(bytes)
    }

    /// A number of the device, the lowest byte first; once in a while another one.
    private static func number(
        _ value: Int, _ count: Int, _ random: inout FuzzRandom
    ) -> [UInt8] {
        let isOther = random.once(in: 32)
        return LittleEndian.bytes(isOther ? random.hurtful() : UInt32(value), count)
    }

    private static func bytes(_ text: StaticString) -> [UInt8] { ("\(text)" as Text).bytes }

    /// Its fields, and a root folder where they say that it is.
    private static func makeFAT(_ random: inout FuzzRandom, _ input: FuzzInput) {
        makeSize(&random, input)
        let isLarge = random.once(in: 2)
        let sector = 512 << random.below(3)
        let (reserved, tables, length) = (
            1 + random.below(8), 1 + random.below(2), 1 + random.below(4)
        )
        let (cluster, first) = (1 << random.below(3), 2 + random.below(3))
        var fields = number(sector, 2, &random) + number(cluster, 1, &random)
        fields += number(reserved, 2, &random) + number(tables, 1, &random)
        fields += number(isLarge ? 0 : 512, 2, &random)
        piece(11, fields, input)
        piece(22, number(isLarge ? 0 : length, 2, &random), input)
        if isLarge {
            piece(36, number(length, 4, &random), input)
            piece(44, number(first, 4, &random), input)
        }
        piece(isLarge ? 0x43 : 0x27, [0xCD, 0xAB, 0x34, 0x12], input)
        piece(
            isLarge ? 0x47 : 0x2B, bytes(random.once(in: 2) ? "NO NAME    " : "BEFORE     "), input)
        piece(isLarge ? 0x52 : 0x36, bytes(isLarge ? "FAT32   " : "FAT16   "), input)
        let root = (reserved + tables * length + (isLarge ? (first - 2) * cluster : 0)) * sector
        for index in 0..<random.below(9) {
            var entry = bytes(random.once(in: 2) ? "STICK      " : "A FOLDER   ")
            let kinds: InlineArray<5, UInt8> = [0x08, 0x28, 0x0F, 0x10, 0x20]
            entry.append(random.once(in: 8) ? random.byte() : kinds[random.below(5)])
            if random.once(in: 4) { entry[random.below(11)] = random.byte() }
            if random.once(in: 6) { entry[0] = random.once(in: 4) ? 0 : 0xE5 }
            piece(root + 32 * index, entry, input)
        }
    }

    /// The disk's first sector, and a GPT at its beginning and at its end.
    private static func makeTable(
        _ partition: KnownPartition, _ random: inout FuzzRandom, _ input: FuzzInput
    ) {
        makeSize(&random, input)
        let block = Int(partition.block)
        piece(510, [0x55, 0xAA], input)
        piece(0x1B8, [0x3D, 0x2C, 0xB1, 0x0A], input)
        piece(0x1BE + 16 * random.below(4) + 4, [random.once(in: 4) ? 0x83 : 0xEE], input)
        for (place, table) in [(1, 2), (15, 13)] {
            let header = place * block
            piece(header, bytes("EFI PART"), input)
            piece(header + 24, number(place, 4, &random), input)
            piece(header + 72, number(table, 4, &random), input)
            piece(header + 80, number(8, 4, &random) + number(128, 4, &random), input)
            let entry = table * block + 128 * (Int(partition.number) - 1)
            piece(entry + 16, (0xA0..<0xB0).map { UInt8($0) }, input)
            piece(entry + 32, number(5, 4, &random), input)
            var name: [UInt8] = []
            let letters: InlineArray<4, UInt32> = [0x67, 0x72, 0xFC, 0x6E]
            for index in 0..<random.below(37) {
                // Halves of pairs among them.
                let unit: UInt32 =
                    random.once(in: 24) ? 0xD800 | random.word() & 0x7FF : letters[index & 3]
                name += LittleEndian.bytes(unit, 2)
            }
            piece(entry + 56, name, input)
            // Behind most names there are zeros.
            if random.once(in: 2) { piece(entry + 64, [0, 0], input) }
        }
    }

    /// A name, what the kernel says of a partition and its disk, and what both of them hold.
    private static func makeLook(
        _ partition: KnownPartition, _ random: inout FuzzRandom, _ input: FuzzInput
    ) {
        let isTable = random.once(in: 2)
        let names: [Text] =
            isTable
            ? [
                "PARTUUID=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf", "PARTUUID=0AB12C3D-01",
                "PARTLABEL=gr\u{FC}n", "PARTLABEL=root",
            ] : ["LABEL=STICK", "LABEL=BEFORE", "UUID=1234-ABCD", "ID=x"]
        let lines: [Text] = [
            names[random.below(names.count)], random.once(in: 12) ? "dm-0" : "",
            "\(partition.number)\n", "\(partition.start)\n", "\(partition.size)\n",
            "\(partition.block)\n",
            random.once(in: 2) ? "DEVNAME=sda1\nPARTNAME=root\n" : "DEVNAME=sda1\n",
            "MAJOR=8\nDEVNAME=sda\n",
        ]
        for line in lines {
            input.append(UInt8(truncatingIfNeeded: line.bytes.count))
            input.append(line.bytes)
        }
        if isTable { makeTable(partition, &random, input) } else { makeFAT(&random, input) }
    }

    // MARK: Taking

    static func take(_ input: FuzzInput) { _ = outcome(input) }

    /// - Returns: the entry point, and whether it found something.
    static func outcome(_ input: FuzzInput) -> (entryPoint: EntryPoint, isFound: Bool) {
        var reader = FuzzReader(input)
        let entryPoint = EntryPoint.allCases[Int(reader.byte()) % EntryPoint.allCases.count]
        switch entryPoint {
        case .folder: return (entryPoint, takeFolder(&reader))
        case .table: return (entryPoint, takeTable(&reader))
        case .look: return (entryPoint, takeLook(&reader))
        }
    }

    private struct Device {
        private var bytes = [UInt8](repeating: 0, count: room)
        private let size: Int

        init(_ reader: inout FuzzReader) {
            size = min(room, Int(reader.word() & 0x7FFF_FFFF))
            while !reader.isAtEnd {
                let place = Int(reader.word() % UInt32(room))
                for (index, byte) in reader.bytes(Int(reader.byte())).enumerated()
                where place + index < room { bytes[place + index] = byte }
            }
        }

        func read(_ offset: UInt64, _ count: Int) -> [UInt8] {
            Fuzz.require(count >= 0 && count <= mostRead, "more is read than anybody needs")
            guard offset < UInt64(size) else { return [] }
            let start = Int(offset)
            return Array(bytes[start..<min(size, start + count)])
        }
    }

    private static func takeFolder(_ reader: inout FuzzReader) -> Bool {
        let device = Device(&reader)
        guard let found = FoundFileSystem(read: { device.read($0, $1) }) else { return false }
        Fuzz.require(
            found.identifier.bytes.count <= 32 && found.label.bytes.count <= 256,
            "a name of more bytes than there are")
        guard found.type == "vfat" else { return false }
        Fuzz.require(
            found.identifier.bytes.count == 8 && found.label.bytes.count <= 11,
            "a name that no FAT has")
        return found.label == "STICK"
    }

    private static func takeTable(_ reader: inout FuzzReader) -> Bool {
        var words: [UInt64] = []
        for _ in 0..<4 {
            let low = UInt64(reader.word())
            words.append(low | UInt64(reader.word()) << 32)
        }
        let partition = KnownPartition(
            number: words[0], start: words[1], size: words[2], block: words[3])
        let device = Device(&reader)
        guard let entry = PartitionEntry(partition, read: { device.read($0, $1) }) else {
            return false
        }
        let tag = FileSystemTag("PARTUUID=\(entry.identifier)")
        Fuzz.require(
            tag == .partitionIdentifier(entry.identifier) && tag?.isPossible ?? false,
            "an identifier that nobody can look for")
        // Each of 36 units has three bytes at most; two that are a pair have four.
        Fuzz.require(
            entry.name.bytes.count <= 3 * 36 && !entry.name.bytes.contains(0),
            "a name that no entry has")
        return entry.identifier.bytes.count == 36
    }

    // MARK: The whole look

    private enum File { case devices, holders, line(Int), device }

    private final class Devices {
        let lines: [[UInt8]]
        let device: Device
        /// Those that are open, and where they are read next; nil for those that were closed.
        var files: [(file: File, at: UInt64)?] = []
        var calls = 0

        init(_ lines: [[UInt8]], _ device: Device) {
            self.lines = lines
            self.device = device
        }
    }
    nonisolated(unsafe) private static var devices: Devices?
    private static let firstNumber = 900

    private static func takeLook(_ reader: inout FuzzReader) -> Bool {
        var lines: [[UInt8]] = []
        for _ in 0..<8 { lines.append(reader.bytes(Int(reader.byte()))) }
        guard let tag = FileSystemTag(Text(bytes: lines[0])) else { return false }
        let played = Devices(lines, Device(&reader))
        unsafe devices = played
        var found: Text?
        Fuzz.playing({ (call) in answer(call) }) { found = tag.device() }
        unsafe devices = nil
        Fuzz.require(played.files.allSatisfy { $0 == nil }, "a file stays open")
        guard let found else { return false }
        Fuzz.require(found == "/dev/sda" || found == "/dev/sda1", "a device that nobody has")
        return true
    }

    private static func file(_ path: Text) -> File? {
        if path == "/sys/class/block" { return .devices }
        if path == "/dev/sda" || path == "/dev/sda1" { return .device }
        if let name = path.dropping(prefix: "/sys/class/block/sda1/") {
            let names: [StaticString] = [
                "partition", "start", "../size", "../queue/logical_block_size", "uevent",
                "../uevent",
            ]
            if name == "holders" { return .holders }
            return names.firstIndex { name == $0 }.map { .line(2 + $0) }
        }
        guard let name = path.dropping(prefix: "/sys/class/block/sda/") else { return nil }
        return name == "holders" ? .holders : name == "uevent" ? .line(7) : nil
    }

    private static func answer(_ call: SystemCall) -> Int? {
        guard let devices = unsafe devices else { return nil }
        devices.calls += 1
        Fuzz.require(devices.calls < 1000, "a look does not end")
        let (first, second, third, fourth, _, _) = call.arguments
        if call.number == .map || call.number == .unmap { return nil }
        if call.number == .open {
            guard let start = unsafe UnsafeRawPointer(bitPattern: first),
                let file = file(unsafe Text(cString: start))
            else { return -2 }
            devices.files.append((file, 0))
            return firstNumber + devices.files.count - 1
        }
        let index = first - firstNumber
        guard devices.files.indices.contains(index), let (file, at) = devices.files[index] else {
            Fuzz.require(false, "a file that is not open")
            return -9
        }
        switch call.number {
        case .close:
            devices.files[index] = nil
            return 0
        case .seek:
            #if arch(x86_64)
            let offset = UInt64(bitPattern: Int64(second))
            #else
            let low = UInt64(UInt32(truncatingIfNeeded: third))
            let offset = UInt64(UInt32(truncatingIfNeeded: second)) << 32 | low
            #endif
            guard offset <= UInt64(Int64.max) else { return -22 }
            devices.files[index]?.at = offset
            #if arch(x86_64)
            return Int(offset)
            #else
            unsafe UnsafeMutablePointer<UInt64>(bitPattern: fourth)?.pointee = offset
            return 0
            #endif
        case .read, .directoryEntries:
            let bytes = content(file, from: at, third, devices)
            Fuzz.require(bytes.count <= third, "the kernel gives more than it is asked for")
            devices.files[index]?.at = at + UInt64(bytes.count)
            for (place, byte) in bytes.enumerated() {
                unsafe UnsafeMutablePointer<UInt8>(bitPattern: second)?[place] = byte
            }
            return bytes.count
        default: return -38
        }
    }

    /// What a file has from a place on.
    private static func content(
        _ file: File, from at: UInt64, _ most: Int, _ devices: Devices
    ) -> [UInt8] {
        var all: [UInt8] = []
        switch file {
        case .device: return devices.device.read(at, most)
        case .line(let index): all = devices.lines[index]
        case .devices: all = record("sda") + record("sda1")
        case .holders: if !devices.lines[1].isEmpty { all = record("dm-0") }
        }
        guard at < UInt64(all.count) else { return [] }
        return Array(all.dropFirst(Int(at)).prefix(most))
    }

    /// Of getdents64: its size stands at 16, the name from 19 on.
    private static func record(_ name: StaticString) -> [UInt8] {
        var record = [UInt8](repeating: 0, count: 16) + [32, 0, 0] + bytes(name)
        while record.count < 32 { record.append(0) }
        return record
    }
}
