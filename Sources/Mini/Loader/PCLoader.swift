// From a kernel's file to a PC that only has to run: unpacks the kernel, or leaves that to the image's own unpacker, lays kernel and initrd
// into memory, writes what the kernel reads first, and says how it is entered.
//
//     bzImage ── unpacked ELF ──┬─ 64-bit: long mode at its entry, rsi = boot parameters
//                               └─ 32-bit: protected mode at its entry, esi = boot parameters
//     bzImage that is not unpacked here: its own 64-bit (0x200 in) or 32-bit entry, the same registers; old 64-bit kernels
//         have no other than the latter
//     unified kernel image ── its .linux as a bzImage, its .initrd as any
//     vmlinux ── as the ELF inside; with a PVH note and no Linux banner: 32-bit at the note's, ebx = start_info
//
// Source: docs/abi/pc.md §2.

/// A PC ready to run.
final class LoadedPC {
    let memory: GuestMemory
    let layout: PCLayout
    let start: ProcessorStart
    /// The first byte that the kernel does not need while it starts.
    let kernelEnd: UInt64
    let description: [Text]
    /// The kernel's release, if it tells.
    let version: LinuxVersion?
    /// It is Linux, and unpacks itself.
    let isPacked: Bool

    init(
        memory: GuestMemory, layout: PCLayout, start: ProcessorStart, kernelEnd: UInt64,
        description: [Text], version: LinuxVersion?, isPacked: Bool
    ) {
        self.memory = memory
        self.layout = layout
        self.start = start
        self.kernelEnd = kernelEnd
        self.description = description
        self.version = version
        self.isPacked = isPacked
    }
}

enum PCLoader {
    /// What a kernel needs, known before there is memory.
    struct Demand {
        /// The first byte that the kernel does not need while it starts.
        let kernelEnd: UInt64
        let initrd: (name: Text, size: UInt64)?

        var usualMebibytes: UInt32 { PCLayout.usual(kernelEnd, initrd?.size ?? 0) }
    }

    /// - Parameter initrd: the user's, which goes before the image's own.
    static func demand(
        _ kernel: StockKernel, initrd: NamedFile?
    ) throws(LoaderError) -> Demand {
        let own = kernel.unified?.initrd.map { (name: ".initrd" as Text, size: UInt64($0.count)) }
        return Demand(kernelEnd: kernel.end, initrd: try GuestLoader.size(initrd) ?? own)
    }

    /// Bytes of a kernel's command line, without its end.
    static func commandLineLimit(_ kernel: StockKernel) -> Int {
        // Kernels from 2.6.21 on have more room for it; without a header only their release tells.
        let isOld = kernel.version.map { !$0.isAtLeast(2, 6, 21) } ?? false
        let usual = isOld ? SetupHeader.oldCommandLineLimit : SetupHeader.usualCommandLineLimit
        return Int(min(kernel.header?.commandLineLimit ?? usual, PCLayout.commandLineLimit - 1))
    }

    /// Where memory ends by words `mem=64M`, of which each takes something away.
    static func memoryEnd(_ commandLine: Text) -> UInt64 {
        var end = UInt64.max
        for word in commandLine.bytes[...].split(separator: UInt8(ascii: " ")) {
            guard let size = Text(bytes: Array(word)).dropping(prefix: "mem=") else { continue }
            let shift =
                switch (size.bytes.last ?? 0) | 0x20 {
                case UInt8(ascii: "k"): 10
                case UInt8(ascii: "m"): 20
                case UInt8(ascii: "g"): 30
                default: 0
                }
            // What has an address after it, or anything else, is no such size.
            let number = size.prefix(size.bytes.count - (shift == 0 ? 0 : 1)).number ?? .max
            if number <= end >> UInt64(shift) { end = number << UInt64(shift) }
        }
        return end
    }

    /// - Parameters:
    ///   - file: what the kernel was made of.
    ///   - initrd: as for `demand`.
    ///   - memory: fresh (all zero), of a whole number of MiB.
    ///   - screen: whether it finds a screen.
    ///   - commandLine: what the kernel gets to read.
    static func load(
        _ kernel: StockKernel, name: Text, _ file: ByteView, into memory: GuestMemory,
        demand: Demand, initrd: NamedFile?, screen: Bool = false, commandLine: Text
    ) throws(LoaderError) -> LoadedPC {
        let limit = commandLineLimit(kernel)
        guard commandLine.bytes.count <= limit else {
            throw .commandLineTooLong(length: commandLine.bytes.count + 1, limit: limit + 1)
        }
        let layout = try PCLayout(
            memory.extent, name: name, kernelEnd: demand.kernelEnd,
            initrdLimit: kernel.initrdLimit, wordsEnd: memoryEnd(commandLine),
            initrd: demand.initrd)
        let entry: Entry
        let image = kernel.bytes(of: file)
        do throws(ImageError) { entry = try put(kernel, image, into: memory) } catch {
            throw .image(name: name, error)
        }
        if let initrd {
            try map(initrd, layout, into: memory)
        } else if let part = kernel.unified?.initrd?.bytes(of: file) {
            copy(part, layout, into: memory)
        }
        PCParameters.write(commandLine: commandLine, to: memory)
        if entry.isPVH {
            PCParameters.writeStartInfo(layout, to: memory)
        } else {
            PCParameters.write(
                layout, image: kernel.header == nil ? nil : image, start: entry.base, to: memory)
            // A PVH entry's map of memory lies there, and it has no words for a screen.
            if screen { PCParameters.writeScreen(to: memory) }
        }
        let mode = PCParameters.writeTables(for: entry.mode, to: memory)
        let start = ProcessorStart(
            mode: mode, entry: entry.address, stack: UInt64(PCLayout.stack),
            parameters: entry.isPVH ? 0 : UInt64(PCLayout.bootParameters),
            startInfo: entry.isPVH ? UInt64(PCLayout.startInfo) : 0,
            globalTable: UInt64(PCLayout.globalTable), globalTableLimit: PCParameters.tableLimit)
        return LoadedPC(
            memory: memory, layout: layout, start: start, kernelEnd: demand.kernelEnd,
            description: describe(kernel, name, entry, layout, commandLine),
            version: kernel.version,
            isPacked: kernel.vmlinux == nil && kernel.version != nil)
    }

    // MARK: The kernel

    private struct Entry {
        let address: UInt64
        let mode: ProcessorStart.Mode
        var isPVH = false
        /// Where the kernel begins.
        let base: UInt32
        let words: Text
    }

    private static func put(
        _ kernel: StockKernel, _ file: ByteView, into memory: GuestMemory
    ) throws(ImageError) -> Entry {
        if let vmlinux = kernel.vmlinux {
            if let image = kernel.image {
                try place(vmlinux, unsafe ByteView(image.bytes), memory)
            } else {
                try place(vmlinux, file, memory)
            }
            if let entry = kernel.pvhEntry {
                return Entry(
                    address: UInt64(entry), mode: kernel.mode, isPVH: true,
                    base: UInt32(truncatingIfNeeded: vmlinux.lowest), words: "by its PVH note")
            }
            let isInside = vmlinux.segments.contains {
                vmlinux.entry >= $0.address && vmlinux.entry - $0.address < $0.fileSize
            }
            guard isInside else {
                throw vmlinux.isEnteredHigh && vmlinux.width == .bits32
                    ? .virtualEntry
                    : .entryOutside(address: UInt32(truncatingIfNeeded: vmlinux.entry))
            }
            return Entry(
                address: vmlinux.entry, mode: kernel.mode,
                base: UInt32(truncatingIfNeeded: vmlinux.lowest),
                words: kernel.mode.isLong ? "in 64-bit mode" : "in 32-bit mode")
        }
        guard let header = kernel.header else { throw .noLguestEntry }
        guard header.isLoadedHigh else { throw .zImage(version: header.version?.name) }
        // The image's own unpacker runs in the guest.
        let base = kernel.imageStart
        guard base >= PCLayout.highStart else { throw .realModeOnly }
        guard let body = file.slice(header.body, file.count - min(header.body, file.count)),
            let range = memory.range(base, UInt32(clamping: body.count))
        else { throw .bzImageCutOff(size: UInt64(file.count), expected: header.expectedSize) }
        unsafe memory.writable(range).copyMemory(from: body.buffer)
        let isLong = kernel.mode.isLong
        return Entry(
            address: UInt64(base) + (isLong ? 0x200 : 0), mode: kernel.mode, base: base,
            words: isLong ? "in 64-bit mode, packed" : "in 32-bit mode, packed")
    }

    private static func place(
        _ vmlinux: Vmlinux, _ image: ByteView, _ memory: GuestMemory
    ) throws(ImageError) {
        for segment in vmlinux.segments where segment.fileSize > 0 {
            guard segment.address >= UInt64(PCLayout.highStart) else {
                throw .damagedElf("a segment lies below 1 MiB, at \(hex: segment.address)")
            }
            guard segment.end <= UInt64(memory.count),
                let range = memory.range(UInt32(segment.address), UInt32(segment.fileSize)),
                let bytes = image.slice(Int(segment.fileOffset), Int(segment.fileSize))
            else {
                throw .needsMemory(
                    needed: UInt32(clamping: vmlinux.highest >> 20 + 1),
                    available: memory.count >> 20)
            }
            unsafe memory.writable(range).copyMemory(from: bytes.buffer)
        }
    }

    /// All of the initrd's pages; what the last one has beyond the file's end is zero.
    private static func map(
        _ initrd: NamedFile, _ layout: PCLayout, into memory: GuestMemory
    ) throws(LoaderError) {
        do throws(Errno) {
            let size = (layout.initrdSize + Page.offset) & Page.number
            guard let range = memory.range(layout.initrd, size) else { throw .badAddress }
            try memory.map(range, file: initrd.descriptor, fileOffset: 0)
        } catch { throw .map(initrd.name, error) }
    }

    /// An initrd that begins at no page of its file, and so cannot be mapped.
    private static func copy(_ initrd: ByteView, _ layout: PCLayout, into memory: GuestMemory) {
        guard let range = memory.range(layout.initrd, layout.initrdSize),
            Int(range.count) == initrd.count
        else { return }
        unsafe memory.writable(range).copyMemory(from: initrd.buffer)
    }

    // MARK: In words

    private static func describe(
        _ kernel: StockKernel, _ name: Text, _ entry: Entry, _ layout: PCLayout,
        _ commandLine: Text
    ) -> [Text] {
        var lines: [Text] = [
            "\(quoted: name) is \(visible: kernel.banner ?? "a kernel that does not tell its version")",
            "entry \(hex: entry.address, width: 8) \(entry.words), memory of \(layout.extent.mebibytes) MiB",
        ]
        if layout.initrdSize > 0 {
            lines.append("initrd at \(hex: layout.initrd, width: 8), \(layout.initrdSize) bytes")
        }
        lines.append("command line: \(visible: commandLine)")
        return lines
    }
}
