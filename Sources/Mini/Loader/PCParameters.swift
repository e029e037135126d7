// What a PC's kernel reads before anything else: the boot parameters with the image's setup header, or a
// start_info for a PVH entry, both with a map of memory; the command line; GDT and page tables of its first moments.
// Source: docs/abi/pc.md §2.

enum PCParameters {
    private enum Field {
        static let mapEntries: UInt32 = 0x1E8
        static let header: UInt32 = 0x1F1
        static let bootFlag: UInt32 = 0x1FE
        static let jump: UInt32 = 0x200
        static let magic: UInt32 = 0x202
        static let version: UInt32 = 0x206
        static let typeOfLoader: UInt32 = 0x210
        static let loadFlags: UInt32 = 0x211
        static let codeStart: UInt32 = 0x214
        static let ramdiskAddress: UInt32 = 0x218
        static let ramdiskSize: UInt32 = 0x21C
        static let commandLine: UInt32 = 0x228
        static let initrdLimit: UInt32 = 0x22C
        static let commandLineLimit: UInt32 = 0x238
        static let map: UInt32 = 0x2D0
        /// KiB after the first MiB, in 16 and in 32 bits: of the BIOS's calls that came before the map.
        static let shortMemory: UInt32 = 0x02
        static let videoMode: UInt32 = 0x06
        static let columns: UInt32 = 0x07
        static let rows: UInt32 = 0x0E
        static let isVGA: UInt32 = 0x0F
        /// Of a row.
        static let lines: UInt32 = 0x10
        static let memory: UInt32 = 0x1E0
    }
    private static let unknownLoader: UInt8 = 0xFF
    private static let loadedHigh: UInt8 = 1
    private static let headerMagic: UInt32 = 0x5372_6448  // "HdrS"
    private static let startMagic: UInt32 = 0x336E_C578

    private struct MapEntry {
        let start: UInt64
        let size: UInt64
        /// 1 for RAM, 2 for reserved.
        let kind: UInt32
    }

    private static func map(_ layout: PCLayout) -> [MapEntry] {
        var entries = [
            entry(0, to: UInt64(PCLayout.lowEnd), kind: 1),
            entry(UInt64(PCLayout.lowEnd), to: UInt64(PCLayout.highStart), kind: 2),
            entry(UInt64(PCLayout.highStart), to: UInt64(layout.memory), kind: 1),
        ]
        if layout.extent.high > 0 {
            entries.append(entry(MemoryExtent.highStart, to: layout.extent.end, kind: 1))
        }
        return entries
    }

    private static func entry(_ start: UInt64, to end: UInt64, kind: UInt32) -> MapEntry {
        MapEntry(start: start, size: end - start, kind: kind)
    }

    /// Writes the boot parameters.
    /// - Parameters:
    ///   - image: the file that begins with boot code and a setup header, if it does.
    ///   - start: where the protected-mode part was put.
    static func write(
        _ layout: PCLayout, image: ByteView?, start: UInt32, to memory: GuestMemory
    ) {
        let zero = PCLayout.bootParameters
        func byte(_ offset: UInt32, _ value: UInt8) { store(value, at: zero + offset, memory) }
        if let image {
            let end = 0x202 + UInt32(image.byte(0x201) ?? 0)
            for offset in Field.header..<max(end, Field.header) {
                byte(offset, image.byte(Int(offset)) ?? 0)
            }
        } else {
            // What a kernel asks of its header that came without one.
            byte(Field.bootFlag, 0x55)
            byte(Field.bootFlag + 1, 0xAA)
            memory.store32(zero + Field.magic, headerMagic)
            byte(Field.version, 0x0F)
            byte(Field.version + 1, 2)
            byte(Field.loadFlags, loadedHigh)
            memory.store32(zero + Field.initrdLimit, 0x7FFF_FFFF)
            memory.store32(zero + Field.commandLineLimit, 2047)
        }
        byte(Field.typeOfLoader, unknownLoader)
        memory.store32(zero + Field.codeStart, start)
        memory.store32(zero + Field.commandLine, PCLayout.commandLine)
        if layout.initrdSize > 0 {
            memory.store32(zero + Field.ramdiskAddress, layout.initrd)
            memory.store32(zero + Field.ramdiskSize, layout.initrdSize)
        }
        // The unpackers of 2.4 look there, and nowhere else.
        let kibibytes = (layout.memory - PCLayout.highStart) >> 10
        memory.store32(zero + Field.memory, kibibytes)
        let short = min(kibibytes, UInt32(UInt16.max))
        byte(Field.shortMemory, UInt8(truncatingIfNeeded: short))
        byte(Field.shortMemory + 1, UInt8(truncatingIfNeeded: short >> 8))
        let entries = map(layout)
        byte(Field.mapEntries, UInt8(entries.count))
        for (index, entry) in entries.enumerated() {
            let at = zero + Field.map + UInt32(index) * 20
            store64(entry.start, at: at, memory)
            store64(entry.size, at: at + 8, memory)
            memory.store32(at + 16, entry.kind)
        }
    }

    /// Says that there is a screen of VGA's, in text mode 3, with 25 rows of 16 lines; the cursor is at its start.
    static func writeScreen(to memory: GuestMemory) {
        store(3, at: PCLayout.bootParameters + Field.videoMode, memory)
        store(UInt8(TextScreen.columns), at: PCLayout.bootParameters + Field.columns, memory)
        store(UInt8(TextScreen.rows), at: PCLayout.bootParameters + Field.rows, memory)
        store(1, at: PCLayout.bootParameters + Field.isVGA, memory)
        store(16, at: PCLayout.bootParameters + Field.lines, memory)
    }

    /// Writes what a PVH entry reads.
    static func writeStartInfo(_ layout: PCLayout, to memory: GuestMemory) {
        let zero = PCLayout.startInfo
        memory.store32(zero, startMagic)
        memory.store32(zero + 4, 1)
        if layout.initrdSize > 0 {
            memory.store32(zero + 12, 1)
            memory.store32(zero + 16, PCLayout.module)
            memory.store32(PCLayout.module, layout.initrd)
            memory.store32(PCLayout.module + 8, layout.initrdSize)
        }
        memory.store32(zero + 24, PCLayout.commandLine)
        memory.store32(zero + 40, PCLayout.pvhMap)
        let entries = map(layout)
        memory.store32(zero + 48, UInt32(entries.count))
        for (index, entry) in entries.enumerated() {
            let at = PCLayout.pvhMap + UInt32(index) * 24
            store64(entry.start, at: at, memory)
            store64(entry.size, at: at + 8, memory)
            memory.store32(at + 16, entry.kind)
        }
    }

    static func write(commandLine: Text, to memory: GuestMemory) {
        let bytes = commandLine.bytes
        guard let range = memory.range(PCLayout.commandLine, UInt32(bytes.count)) else { return }
        let target = unsafe memory.writable(range)
        for index in bytes.indices { unsafe target[index] = bytes[index] }
    }

    /// Writes GDT and page tables.
    /// - Returns: the mode, with what was written.
    static func writeTables(
        for mode: ProcessorStart.Mode, to memory: GuestMemory
    ) -> ProcessorStart.Mode {
        let isLong = mode.isLong
        let code: UInt64 = isLong ? 0x00AF_9B00_0000_FFFF : 0x00CF_9B00_0000_FFFF
        let descriptors: [UInt64] = [0, 0, code, 0x00CF_9300_0000_FFFF, 0x0080_8B00_0000_0067]
        for (index, descriptor) in descriptors.enumerated() {
            store64(descriptor, at: PCLayout.globalTable + UInt32(index) * 8, memory)
        }
        guard isLong else { return mode }
        // The first 4 GiB, in pages of 2 MiB: present, writable; and large.
        let top = PCLayout.pageTables
        let directories = top + 2 * Page.size
        store64(UInt64(top + Page.size) | 3, at: top, memory)
        for index in 0..<UInt32(4) {
            store64(
                UInt64(directories + index * Page.size) | 3, at: top + Page.size + index * 8,
                memory)
        }
        for index in 0..<UInt32(2048) {
            store64(UInt64(index) << 21 | 0x83, at: directories + index * 8, memory)
        }
        return .long64(pageTable: UInt64(top))
    }

    static let tableLimit: UInt16 = 5 * 8 - 1

    private static func store64(_ value: UInt64, at address: UInt32, _ memory: GuestMemory) {
        memory.store32(address, UInt32(truncatingIfNeeded: value))
        memory.store32(address + 4, UInt32(truncatingIfNeeded: value >> 32))
    }

    private static func store(_ value: UInt8, at address: UInt32, _ memory: GuestMemory) {
        guard let range = memory.range(address, 1) else { return }
        unsafe memory.writable(range).storeBytes(of: value, as: UInt8.self)
    }
}
