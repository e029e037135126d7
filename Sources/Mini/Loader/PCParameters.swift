// What a PC's kernel reads before anything else: the boot parameters with the image's setup header, or a
// start_info for a PVH entry, both with a map of memory; the command line; GDT and page tables of its first moments.
// Source: docs/abi/pc.md §2.

enum PCParameters {
    private static let startMagic: UInt32 = 0x336E_C578

    private struct MapEntry {
        let start: UInt64
        let size: UInt64
        /// As a PVH entry has them, too.
        let kind: UInt32
    }

    private static func map(_ layout: PCLayout) -> [MapEntry] {
        var entries = [
            entry(0, to: UInt64(PCLayout.lowEnd), kind: BootField.usable),
            entry(
                UInt64(PCLayout.lowEnd), to: UInt64(PCLayout.highStart), kind: BootField.reserved),
            entry(UInt64(PCLayout.highStart), to: UInt64(layout.memory), kind: BootField.usable),
        ]
        if layout.extent.high > 0 {
            entries.append(
                entry(MemoryExtent.highStart, to: layout.extent.end, kind: BootField.usable))
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
            let jump = image.byte(Int(BootField.headerLength)) ?? 0
            let end = BootField.magic + UInt32(jump)
            for offset in BootField.setupSectors..<max(end, BootField.setupSectors) {
                byte(offset, image.byte(Int(offset)) ?? 0)
            }
        } else {
            // What a kernel asks of its header that came without one.
            byte(BootField.bootFlag, UInt8(truncatingIfNeeded: BootField.bootSign))
            byte(BootField.bootFlag + 1, UInt8(BootField.bootSign >> 8))
            memory.store32(zero + BootField.magic, BootField.headerSign)
            byte(BootField.version, 0x0F)
            byte(BootField.version + 1, 2)
            byte(BootField.loadFlags, BootField.loadedHigh)
            memory.store32(zero + BootField.initrdLimit, SetupHeader.usualInitrdLimit)
            memory.store32(
                zero + BootField.commandLineLimit, SetupHeader.usualCommandLineLimit)
        }
        byte(BootField.typeOfLoader, BootField.unknownLoader)
        memory.store32(zero + BootField.codeStart, start)
        memory.store32(zero + BootField.commandLine, PCLayout.commandLine)
        if layout.initrdSize > 0 {
            memory.store32(zero + BootField.ramdiskAddress, layout.initrd)
            memory.store32(zero + BootField.ramdiskSize, layout.initrdSize)
        }
        // The unpackers of 2.4 look there, and nowhere else.
        let kibibytes = (layout.memory - PCLayout.highStart) >> 10
        memory.store32(zero + BootField.memory, kibibytes)
        let short = min(kibibytes, UInt32(UInt16.max))
        byte(BootField.shortMemory, UInt8(truncatingIfNeeded: short))
        byte(BootField.shortMemory + 1, UInt8(truncatingIfNeeded: short >> 8))
        let entries = map(layout)
        byte(BootField.mapEntries, UInt8(entries.count))
        for (index, entry) in entries.enumerated() {
            let at = zero + BootField.map + UInt32(index) * BootField.mapEntrySize
            store64(entry.start, at: at, memory)
            store64(entry.size, at: at + 8, memory)
            memory.store32(at + 16, entry.kind)
        }
    }

    /// Says that there is a screen of VGA's, in text mode 3, with 25 rows of 16 lines; the cursor is at its start.
    static func writeScreen(to memory: GuestMemory) {
        store(3, at: PCLayout.bootParameters + BootField.videoMode, memory)
        store(UInt8(TextScreen.columns), at: PCLayout.bootParameters + BootField.columns, memory)
        store(UInt8(TextScreen.rows), at: PCLayout.bootParameters + BootField.rows, memory)
        store(1, at: PCLayout.bootParameters + BootField.isVGA, memory)
        store(16, at: PCLayout.bootParameters + BootField.lines, memory)
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
