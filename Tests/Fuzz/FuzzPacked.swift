// Data of xz, zstd and lz4 with a few places changed, alone and in a bzImage around a kernel of today: what is unpacked and looked
// at before anything starts, and what is laid into memory then. A case's first byte says what it is taken for.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzPacked {
    private static let most = 4096
    private static let margin = 64
    nonisolated(unsafe) private static var output: [UInt8] = []

    // MARK: Making

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let kind: UInt8 = random.once(in: 3) ? 1 : 0
        input.append(kind)
        if kind == 0 {
            input.append(random.once(in: 3) ? UInt32(random.below(most)) : 300)
            let start = input.count
            input.append(seeds[random.below(seeds.count)])
            if random.once(in: 8) { input.append(seeds[random.below(seeds.count)]) }
            // Where a header is, or a code's description, or the data.
            input.mutate(&random, span: start + 16 << random.below(5))
            // Most of an xz stream is never seen behind a wrong checksum.
            if !random.once(in: 4) { repair(input, start) }
        } else {
            kernel(&random, input)
            input.mutate(&random, span: random.once(in: 2) ? 0x270 : 0x300)
        }
        input[0] = kind
    }

    /// Puts the right checksum behind the headers of an xz stream and its first block.
    private static func repair(_ input: FuzzInput, _ start: Int) {
        guard input[start] == 0xFD, input.count >= start + 16 else { return }
        func sum(_ from: Int, _ count: Int) -> UInt32 {
            guard count > 0, from + count + 4 <= input.count else { return 0 }
            return unsafe CRC32.of(
                UnsafeRawBufferPointer(rebasing: input.bytes[from..<from + count]))
        }
        input.put(sum(start + 6, 2), at: start + 8)
        let size = Int(input[start + 12]) * 4
        input.put(sum(start + 12, size), at: start + 12 + size)
    }

    /// A bzImage whose payload is an lz4 frame of literals: an ELF file with two segments and a note.
    static func kernel(_ random: inout FuzzRandom, _ input: FuzzInput) {
        var setup = [UInt8](repeating: 0, count: 0x400)
        func put(_ value: UInt64, _ count: Int, at offset: Int, in bytes: inout [UInt8]) {
            for index in 0..<count {
                bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            }
        }
        let isWide = random.once(in: 2)
        var elf = [UInt8](repeating: 0x66, count: 0x180)
        for index in 0..<0x120 { elf[index] = 0 }
        put(0x464C_457F, 4, at: 0, in: &elf)
        put(isWide ? 0x1_0102 : 0x1_0101, 3, at: 4, in: &elf)
        put(isWide ? 0x3E_0002 : 0x03_0002, 4, at: 16, in: &elf)
        put(0x100_0000, 4, at: 24, in: &elf)
        let start = isWide ? 64 : 52
        let size = isWide ? 56 : 32
        put(UInt64(start), 4, at: isWide ? 32 : 28, in: &elf)
        put(UInt64(size), 2, at: isWide ? 54 : 42, in: &elf)
        put(3, 2, at: isWide ? 56 : 44, in: &elf)
        for index in 0..<3 {
            let at = start + size * index
            let isNote = index == 2
            let address = 0x100_0000 + UInt64(index) * 0x1000
            let virtual: UInt64 = (isWide ? 0xFFFF_FFFF_8000_0000 : 0xC000_0000) + address
            var words: [UInt64] = [0x140, virtual, address, 0x20, 0x800, 4]
            if isNote { (words[0], words[3], words[4]) = (0x120, 20, 20) }
            put(isNote ? 4 : 1, 4, at: at, in: &elf)
            for (place, word) in words.enumerated() {
                // The flags of a 32-bit one stand between.
                let narrow = place == 5 ? 7 : place + 1
                let offset = isWide ? 8 + 8 * place : 4 * narrow
                put(word, isWide ? 8 : 4, at: at + offset, in: &elf)
            }
        }
        put(0x4_0000_0004, 8, at: 0x120, in: &elf)
        put(18, 4, at: 0x128, in: &elf)
        put(0x6E_6558, 4, at: 0x12C, in: &elf)
        put(0x100_0850, 4, at: 0x130, in: &elf)
        setup[0x1F1] = 1
        put(0xAA55, 2, at: 0x1FE, in: &setup)
        put(0x5372_6448, 4, at: 0x202, in: &setup)
        put(0x20F, 2, at: 0x206, in: &setup)
        setup[0x234] = 1
        put(0x100_0000, 4, at: 0x258, in: &setup)
        put(0x40_0000, 4, at: 0x260, in: &setup)
        // At the beginning of the protected-mode part there is nothing: offset 0 would mean that nobody knows.
        put(1, 4, at: 0x248, in: &setup)
        let rest = elf.count - 15
        var block: [UInt8] = [0xF0]
        for _ in 0..<rest / 255 { block.append(255) }
        block.append(UInt8(rest % 255))
        block += elf
        var payload = [UInt8](repeating: 0, count: 8)
        put(Lz4.signature, 4, at: 0, in: &payload)
        put(UInt64(block.count), 4, at: 4, in: &payload)
        payload += block
        payload += [UInt8](repeating: 0, count: 4)
        put(UInt64(elf.count), 4, at: payload.count - 4, in: &payload)
        put(UInt64(payload.count), 4, at: 0x24C, in: &setup)
        input.append(setup)
        input.append(0 as UInt8)
        input.append(payload)
    }

    // MARK: Taking

    static func take(_ input: FuzzInput) {
        if input[0] & 1 == 0 { takePacked(input) } else { takeKernel(input) }
    }

    /// Unpacks between margins, which stay as they are.
    private static func takePacked(_ input: FuzzInput) {
        guard input.count > 5 else { return }
        var reader = FuzzReader(input)
        _ = reader.byte()
        let room = Int(reader.word() % UInt32(most))
        if unsafe output.isEmpty {
            unsafe output = [UInt8](repeating: 0xC5, count: most + 2 * margin)
        }
        let view = unsafe ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(5)))
        guard let compression = Compression(view, at: 0) else { return }
        unsafe output.withUnsafeMutableBytes { output in
            let target = unsafe UnsafeMutableRawBufferPointer(
                rebasing: output[margin..<margin + room])
            let outcome = unsafe compression.unpack(view, at: 0, end: view.count, to: target)
            Fuzz.require(
                outcome.produced >= 0 && outcome.produced <= room, "more than there is room")
            Fuzz.require(
                outcome.position >= 0 && outcome.position <= view.count, "read behind the end")
            for index in 0..<margin {
                let isIntact =
                    unsafe output[index] == 0xC5 && output[margin + room + index] == 0xC5
                Fuzz.require(isIntact, "written beside the output")
            }
            unsafe target.initializeMemory(as: UInt8.self, repeating: 0xC5)
        }
    }

    /// The case without its first byte, as a kernel's file.
    static func takeKernel(_ input: FuzzInput) {
        guard input.count > 1 else { return }
        let view = unsafe ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(1)))
        guard let kernel = try? StockKernel(view) else { return }
        for line in kernel.description {
            Fuzz.require(!line.bytes.contains(10), "a description of two lines in one")
        }
        if let damage = kernel.damage {
            Fuzz.require(!damage.text.bytes.contains(10), "an error of two lines")
        }
        start(kernel, view)
        guard let vmlinux = kernel.vmlinux else { return }
        let size = kernel.payload.map { UInt64($0.unpackedSize) } ?? UInt64(view.count)
        for segment in vmlinux.segments {
            Fuzz.require(
                segment.fileSize == 0 || segment.fileOffset + segment.fileSize <= size,
                "a segment that is not in the file")
            Fuzz.require(segment.fileSize <= segment.memorySize, "a segment larger than its memory")
        }
    }

    /// Lays it into a PC's memory, in which nothing else is, as a launch would.
    private static func start(_ kernel: StockKernel, _ view: ByteView) {
        if unsafe memory == nil { unsafe memory = try? GuestMemory(count: 64 << 20) }
        guard let memory = unsafe memory, kernel.damage == nil,
            let demand = try? PCLoader.demand(kernel, initrd: nil),
            let loaded = try? PCLoader.load(
                kernel, name: "kernel", view, into: memory, demand: demand, initrd: nil,
                commandLine: "console=ttyS0")
        else { return }
        Fuzz.require(
            loaded.start.entry < UInt64(memory.count) || kernel.vmlinux != nil,
            "an entry outside memory")
        for line in loaded.description {
            Fuzz.require(!line.bytes.contains(10), "a description of two lines in one")
        }
    }
    nonisolated(unsafe) private static var memory: GuestMemory?

    // MARK: Seeds

    /// What the tools make of 300 bytes.
    static let seeds: [[UInt8]] = [
        bytes(xz), bytes(xzUnchecked), bytes(zstdLetters), bytes(zstdSequences), bytes(lz4),
    ]

    /// Of hexadecimal digits.
    private static func bytes(_ text: StaticString) -> [UInt8] {
        var bytes: [UInt8] = []
        for index in 0..<text.utf8CodeUnitCount / 2 {
            var value: UInt8 = 0
            for place in 0..<2 {
                let digit = unsafe text.utf8Start[2 * index + place]
                value = value << 4 | (digit < 0x3A ? digit - 0x30 : digit - 0x57)
            }
            bytes.append(value)
        }
        return bytes
    }

    /// Xz with the x86 filter and a checksum of 32 bits.
    private static let xz: StaticString =
        """
        fd377a585a0000016922de360201040021011c00876edae5e0012b00745d00369bcb2e2140e60170b9b9\
        750d09f3b9ca512d6b19efdb2d5078137e75a2e96e55d7e24aa4b0aa91902a5bbb6b1e1fc1c4194833dd\
        6c3e892f23e147e0d502c26899ad6fc06197021ec0f998336008e68518da841cab1234b7e67abb655f25\
        823bba069b4be557139fd6334738b8ead6e4f81300000e84457200018c01ac0200001d5b7e933e300d8b\
        020000000001595a
        """

    /// Xz without a check.
    private static let xzUnchecked: StaticString =
        """
        fd377a585a000000ff12d9410200210110000000a8708e86e0012b00759a00369bcac201294ff612c041\
        5c04a4af508416530a11b3f1054f46c1e583a5097f2750734cd95b5013c473f10d0248eeb8c8909e05fa\
        2a91f21a850416ac6ceadc0460d8cf104e03f295808047ccdd0033cd5ad343b8fa49d191271a4f1e8798\
        6325ac918c20c5ec3909eebbf25816882c861b3e33820000000000018901ac020000aecab3c3a8000afc\
        020000000000595a
        """

    /// Zstd: four streams of literals.
    private static let zstdLetters: StaticString =
        """
        28b52ffd0068ed0500c6522e14a0b70d0066fffffdd44424b237b7e4fffffff71a2800280027006a508f\
        010b77455a4ee2838a84d6aabb3d5d19f5e0015592975636a898732f669bd190e9641d29074791a22ea1\
        29a7b6a57384bf624596067adb626b8add4b5d027da9717fa679ced72dcb2ddb74c101c765b8b6dec4ab\
        99abae7866f762180b7697b5e992a2835b198d822407b8c5124e12d6113a56d3fa62b678b2f9a2c47009\
        d8192391dc0d81a1a957fd45caa0dec76c38ef5c34cd8d0ed9d66a1f3500
        """

    /// Zstd: sequences.
    private static let zstdSequences: StaticString =
        """
        28b52ffd0468dd030054056d6f7620256561782c0063616c6c20e8e9008900e8e900d2e9ab230000e9a6\
        0300e8e90051004c696e75782076657273696f6e20e8e9001400e96013007265740ada8d209761e8e9ff\
        7600e8e9008c00e8e9ff18700e001893c009d8d13c702a002f402c815c4606c01f370303807ca292c4a2\
        c15305020112ab59d8e7
        """

    /// Lz4.
    private static let lz4: StaticString =
        """
        02214c1884000000af6d6f7620256561782c00010005a563616c6c20e8e90089002c000509004ae8e900\
        d22e009ee9ab230000e9a603002e000f630005f003e8e90051004c696e75782076657273696f6e6f006f\
        1400e960130001001b01ab00417265740a09009fda8d209761e8e9ff76300006002b000c8b00628c00e8\
        e9ff184b0006950050696f6e2070
        """
}
