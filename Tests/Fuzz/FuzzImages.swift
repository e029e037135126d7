// Kernel files, sound ones of each era with a few places changed, and parts of them, and unified kernel images: what the
// launcher looks at and unpacks before a guest runs. A case's first byte says what it is taken for.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzImages {
    /// A whole file; deflate data; a kernel as it lies in memory; a unified kernel image.
    private static let kinds: UInt8 = 4
    private static let mebibytes: UInt32 = 2
    private static let kernelSize = 0x1800

    /// Made once: an ELF file and a bzImage of each era.
    nonisolated(unsafe) private static var originals: [[UInt8]] = []
    nonisolated(unsafe) private static var kernels: [[UInt8]] = []
    nonisolated(unsafe) private static var output: [UInt8] = []

    // MARK: Making

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        prepare()
        let kind = random.once(in: 4) ? 0 : 1 + UInt8(random.below(3))
        input.append(kind)
        switch kind {
        case 0:
            input.append(unsafe originals[random.below(originals.count)])
            if random.once(in: 16) { return }
            input.mutate(&random, span: random.once(in: 2) ? 0x80 : 0x260)
            input[0] = 0
        case 1: makeDeflated(&random, input)
        case 3: makeUnified(&random, input)
        default:
            input.append(random.hurtful())
            input.append(unsafe kernels[random.below(kernels.count)])
            input.mutate(&random, span: 0x1000)
            input[0] = 2
        }
    }

    /// Room for the output, then a gzip member whose blocks are of all kinds, their codes made of chance.
    private static func makeDeflated(_ random: inout FuzzRandom, _ input: FuzzInput) {
        input.append(random.once(in: 4) ? random.hurtful() : UInt32(random.below(40_000)))
        input.append([
            0x1F, 0x8B, 8, random.once(in: 4) ? random.byte() & 0x1F : 0, 1, 2, 3, 4, 2, 3,
        ])
        let start = input.count
        switch random.below(4) {
        case 0:
            // A stored block that is honest about its length, or almost.
            let size = random.below(300)
            input.append(UInt8(random.below(2)))
            let length = UInt16(size)
            for word in [length, random.once(in: 4) ? length : ~length] {
                input.append(UInt8(truncatingIfNeeded: word))
                input.append(UInt8(truncatingIfNeeded: word >> 8))
            }
            for _ in 0..<size { input.append(random.byte()) }
        default:
            for _ in 0..<16 + random.below(300) { input.append(random.byte()) }
            // Fixed codes more often than chance would have it, dynamic ones just as often.
            input[start] =
                input[start] & 0xF8 | (random.once(in: 2) ? 3 : 5) &- UInt8(random.below(2))
            if random.once(in: 2) {
                // Few lengths of codes: more of the sets are complete.
                for index in 1..<12 { input[start + index] &= 0x49 }
            }
        }
        for _ in 0..<8 { input.append(random.byte()) }
        if random.once(in: 3) { input.mutate(&random, span: 32) }
        input[0] = 1
    }

    private static let unifiedHeaders = 0x200
    private static let sections: [StaticString] = [
        ".linux", ".initrd", ".cmdline", ".osrel", ".uname", ".profile", ".sbat",
    ]

    /// A program for EFI firmware with a kernel of today, and some of the other sections, in any order.
    static func makeUnified(_ random: inout FuzzRandom, _ input: FuzzInput) {
        var header = [UInt8](repeating: 0, count: unifiedHeaders)
        let isWide = !random.once(in: 4)
        put("MZ", at: 0, in: &header)
        put(0x40, at: 0x3C, in: &header)
        put("PE", at: 0x40, in: &header)
        put(isWide ? 0x8664 : 0x14C, at: 0x44, in: &header)
        header[0x54] = 0x10
        put(isWide ? 0x20B : 0x10B, at: 0x58, in: &header)
        if input.count == 0 { input.append(3 as UInt8) }
        let start = input.count
        input.append(header)
        let count = 2 + random.below(8)
        let place = random.below(count)
        for index in 0..<count {
            let at = start + 0x68 + 40 * index
            let name = index == place ? sections[0] : sections[1 + random.below(6)]
            for offset in 0..<name.utf8CodeUnitCount {
                input[at + offset] = unsafe name.utf8Start[offset]
            }
            let begin = input.count - start
            if index == place {
                FuzzPacked.kernel(&random, input)
            } else {
                if random.once(in: 4) { input.append("PRETTY_NAME=\"x\"") }
                for _ in 0..<random.below(64) { input.append(random.byte()) }
            }
            let size = UInt32(input.count - start - begin)
            input.put(random.once(in: 8) ? random.hurtful() : size, at: at + 8)
            input.put((size + 511) & ~511, at: at + 16)
            input.put(UInt32(begin), at: at + 20)
            while (input.count - start) & 511 != 0 { input.append(0 as UInt8) }
        }
        input[start + 0x46] = UInt8(count)
        if random.once(in: 3) { return }
        input.mutate(&random, span: random.once(in: 4) ? 0x800 : unifiedHeaders)
        input[0] = 3
    }

    private static func prepare() {
        guard unsafe originals.isEmpty else { return }
        for era in [GuestABI.Era.era0, .era1, .era1b, .era1c] {
            let kernel = kernel(era)
            unsafe kernels.append(kernel)
            unsafe originals.append(elf(kernel))
            unsafe originals.append(bzImage(kernel))
        }
    }

    private static func put(_ word: UInt32, at offset: Int, in bytes: inout [UInt8]) {
        for index in 0..<4 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: word >> UInt32(8 * index))
        }
    }

    private static func put(_ text: StaticString, at offset: Int, in bytes: inout [UInt8]) {
        for index in 0..<text.utf8CodeUnitCount {
            bytes[offset + index] = unsafe text.utf8Start[index]
        }
    }

    /// What a kernel has at 1 MiB, as far as anybody looks: code that loads from its own addresses, a banner,
    /// `lguest_data` as the era initialises it, the mark and the first instructions behind it.
    private static func kernel(_ era: GuestABI.Era) -> [UInt8] {
        var bytes = [UInt8](repeating: 0x46, count: kernelSize)
        let high: UInt32 = 0xC010_0000
        for index in 0..<6 {
            bytes[64 * index] = 0xA1
            put(high + UInt32(64 * index), at: 64 * index + 1, in: &bytes)
        }
        put("Linux version 2.6.23 (user@host) #1 Mon\n", at: 0x300, in: &bytes)
        let data = 0x800
        for index in data..<data + 1200 { bytes[index] = 0 }
        put(1, at: data + 4, in: &bytes)
        for index in 0..<64 { bytes[data + 20 + index] = 0xFF }
        let abi = GuestABI(era: era)
        put(high + 0x40, at: data + Int(abi.data.quietStart), in: &bytes)
        put(high + 0x45, at: data + Int(abi.data.quietEnd ?? 0), in: &bytes)
        if let offset = abi.data.kernelAddress {
            put(0xC000_0000, at: data + Int(offset), in: &bytes)
        }
        if let offset = abi.data.systemCallVector { put(0x80, at: data + Int(offset), in: &bytes) }
        if era == .era1b { put(0x80, at: data + 1124, in: &bytes) }
        let mark = 0x1000
        put("GenuineLguest", at: mark, in: &bytes)
        let entry = mark + 13
        if era == .era1c {
            put(1, at: entry + 1, in: &bytes)
            bytes[entry] = 0xB8
            bytes[entry + 5] = 0xBA
            put(0x10_0000 + UInt32(data), at: entry + 6, in: &bytes)
            bytes[entry + 10] = 0xCD
            bytes[entry + 11] = 0x1F
        } else {
            bytes[entry] = 0xBC
            put(high + 0x1000, at: entry + 1, in: &bytes)
        }
        return bytes
    }

    private static func elf(_ kernel: [UInt8]) -> [UInt8] {
        var file = [UInt8](repeating: 0, count: 0x1000)
        for (index, byte) in ([0x7F, 0x45, 0x4C, 0x46, 1, 1, 1] as [UInt8]).enumerated() {
            file[index] = byte
        }
        put(0x0003_0002, at: 16, in: &file)
        put(1, at: 20, in: &file)
        put(0x10_0000, at: 24, in: &file)
        put(52, at: 28, in: &file)
        put(0x0020_0034, at: 40, in: &file)
        put(2, at: 44, in: &file)
        // The first page of the file as it is, the rest and some more behind it.
        let size = UInt32(kernel.count)
        let parts: [(offset: UInt32, size: UInt32, room: UInt32)] = [
            (0, 0x1000, 0x1000), (0x1000, size - 0x1000, size),
        ]
        for (index, part) in parts.enumerated() {
            let address = 0x10_0000 + part.offset
            let words: [UInt32] = [
                1, 0x1000 + part.offset, address + 0xC000_0000, address, part.size, part.room, 7,
                4096,
            ]
            for (word, value) in words.enumerated() {
                put(value, at: 52 + 32 * index + 4 * word, in: &file)
            }
        }
        return file + kernel
    }

    private static func bzImage(_ kernel: [UInt8]) -> [UInt8] {
        var setup = [UInt8](repeating: 0, count: 0x400)
        setup[0x1F1] = 1
        put(UInt32(kernel.count / 16 + 2), at: 0x1F4, in: &setup)
        setup[0x1FE] = 0x55
        setup[0x1FF] = 0xAA
        put("HdrS", at: 0x202, in: &setup)
        put(0x0206, at: 0x206, in: &setup)
        setup[0x20F] = 1
        setup[0x211] = 1
        put("2.6.23 (user@host) #1 Mon", at: 0x300, in: &setup)
        let size = UInt16(kernel.count)
        var member: [UInt8] = [0x1F, 0x8B, 8, 0, 1, 2, 3, 4, 2, 3, 1]
        for word in [size, ~size] {
            member.append(UInt8(word & 0xFF))
            member.append(UInt8(word >> 8))
        }
        member += kernel
        let checksum = unsafe kernel.withUnsafeBytes { unsafe CRC32.of($0) }
        member += [UInt8](repeating: 0, count: 8)
        put(checksum, at: member.count - 8, in: &member)
        put(UInt32(kernel.count), at: member.count - 4, in: &member)
        return setup + member
    }

    // MARK: Taking

    static func take(_ input: FuzzInput) {
        switch input[0] % kinds {
        case 0: takeFile(input)
        case 1: takeDeflated(input)
        case 3: _ = takeUnified(input)
        default: takeKernel(input)
        }
    }

    /// The whole way from a file to a guest that could start.
    private static func takeFile(_ input: FuzzInput) {
        guard input.count > 1, let memory = try? GuestLayout.makeMemory(mebibytes: mebibytes),
            let file = written(input)
        else { return }
        let limit = mebibytes << 20
        do throws(LoaderError) {
            let image = try KernelImage.examine(file.number, name: "k")
            let kernel = try image.load(into: memory, mebibytes: mebibytes)
            for segment in kernel.segments {
                let end = UInt64(segment.address) + UInt64(segment.memorySize)
                Fuzz.require(end <= UInt64(limit), "a segment ends behind memory")
                Fuzz.require(segment.address >= 0x2000, "a segment lies on the boot parameters")
            }
            let entry = kernel.abi.startsLow ? kernel.entry : kernel.entry &- kernel.pageOffset
            Fuzz.require(
                kernel.segments.contains {
                    entry >= $0.address && entry - $0.address < $0.memorySize
                },
                "the entry is in no segment")
            let layout = try GuestLayout(mebibytes: mebibytes, kernel: kernel)
            Fuzz.require(layout.pageTables >= kernel.end, "the page tables lie on the kernel")
            BootPageTables.write(layout, kernel, to: memory)
            BootParameters.write(layout, kernel.abi, try CommandLine(["quiet"]), to: memory)
        } catch {
            Fuzz.require(error.exitCode == 3, "a file is refused with the wrong code")
            Fuzz.require(!error.text.bytes.contains(10), "an error of two lines")
        }
        Fuzz.require(memory.load32(limit) == 0, "something was written behind memory")
    }

    /// The case without its first byte, in a file of its own: what an earlier one has mapped stays whole.
    private static func written(_ input: FuzzInput) -> Descriptor? {
        guard let file = try? FileSystem.memoryFile("k") else { return nil }
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst())
        do throws(Errno) { try unsafe Transfer.writeAll(file.number, bytes) } catch { return nil }
        return file
    }

    private static let margin = 64

    /// Unpacks between margins, which stay as they are.
    private static func takeDeflated(_ input: FuzzInput) {
        var reader = FuzzReader(input)
        _ = reader.byte()
        let room = Int(reader.word() % 50_000)
        let most = 50_000 + 2 * margin
        if unsafe output.isEmpty { unsafe output = [UInt8](repeating: 0xC5, count: most) }
        let view = unsafe ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(5)))
        unsafe output.withUnsafeMutableBytes { output in
            let target = unsafe UnsafeMutableRawBufferPointer(
                rebasing: output[margin..<margin + room])
            let outcome = unsafe Gzip.unpack(view, at: 0, to: target)
            Fuzz.require(
                outcome.produced >= 0 && outcome.produced <= room, "more than there is room")
            Fuzz.require(
                outcome.position >= 0 && outcome.position <= view.count, "read behind the end")
            for index in 0..<margin {
                let isIntact =
                    unsafe output[index] == 0xC5 && output[margin + room + index] == 0xC5
                Fuzz.require(isIntact, "written beside the output")
            }
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<outcome.produced])
                .initializeMemory(as: UInt8.self, repeating: 0xC5)
        }
        _ = Gzip.candidate(view, from: 1)
    }

    /// What is inside is started as any kernel of today is.
    /// - Returns: whether it is such an image.
    static func takeUnified(_ input: FuzzInput) -> Bool {
        let view = unsafe ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst()))
        let image: UnifiedImage?
        do throws(ImageError) { image = try UnifiedImage(view) } catch {
            Fuzz.require(!error.text.bytes.contains(10), "an error of two lines")
            Fuzz.require(!error.mayBePC, "a damaged image is taken for a sound one")
            image = nil
        }
        FuzzPacked.takeKernel(input)
        let refusal = FileKind.refusal(view)
        Fuzz.require(!refusal.text.bytes.contains(10), "an error of two lines")
        guard let image else {
            Fuzz.require(refusal != .unified, "no image is taken for one")
            return false
        }
        Fuzz.require(
            view.contains(image.kernel.offset, image.kernel.count), "a kernel outside the file")
        if let initrd = image.initrd {
            Fuzz.require(view.contains(initrd.offset, initrd.count), "an initrd outside the file")
            let isApart =
                initrd.offset >= image.kernel.offset + image.kernel.count
                || image.kernel.offset >= initrd.offset + initrd.count
            Fuzz.require(isApart, "kernel and initrd overlap")
        }
        for word in image.commandLine {
            for byte in word.bytes {
                Fuzz.require(byte > 0x20, "a control character on the command line")
            }
        }
        return true
    }

    /// A kernel that is somewhere in guest memory, wherever that is.
    private static func takeKernel(_ input: FuzzInput) {
        var reader = FuzzReader(input)
        _ = reader.byte()
        let origin = reader.word()
        let view = unsafe ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(5)))
        let recognition = Recognition(image: view, origin: origin)
        switch recognition.dialect {
        case .dma(_, let entry, let data):
            Fuzz.require(entry <= view.count, "the entry is behind the image")
            if let data { Fuzz.require(data >= 0 && data <= view.count, "data behind the image") }
        case .virtio(_, let data, _):
            if let data { Fuzz.require(data >= 0 && data <= view.count, "data behind the image") }
        case .none: break
        }
        _ = BzImage.pageOffset(view)
        _ = FileKind.describe(view)
        if let image = BzImage(view) { do throws(ImageError) { try image.check(view) } catch {} }
        do throws(ImageError) { _ = try ElfImage(view) } catch {}
    }
}
