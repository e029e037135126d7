import Foundation
import Testing

@testable import Mini

private func kernel(_ file: [UInt8]) -> StockKernel? {
    ByteView.of(file) { try? StockKernel($0) }
}

private func lines(_ file: [UInt8]) -> [String] {
    (kernel(file)?.description ?? []).map { String(decoding: $0.bytes, as: UTF8.self) }
}

@Suite struct StockKernelTests {
    @Test(
        "where a file is cut off before its version, that is not told, and there is no empty line")
    func withoutVersion() {
        let file = StockSpec(.gzip).bytes()
        #expect(lines(file).contains("version      6.1.0 (somebody@somewhere) #1"))
        #expect(lines(Array(file.prefix(600))).contains("version      not told by the image"))
    }

    @Test(
        "a bzImage is unpacked whatever it is packed with, and the ELF file inside is looked at",
        arguments: [Compression.gzip, .xz, .zstd, .lz4])
    func bzImage(_ compression: Compression) {
        let spec = StockSpec(compression)
        let size = VmlinuxSpec().bytes().count
        #expect(
            lines(spec.bytes()) == [
                "format       bzImage, \(spec.bytes().count) bytes, boot protocol 2.15",
                "version      6.1.0 (somebody@somewhere) #1",
                "compressed   \(compression), \(spec.payloadEnd - spec.payloadOffset) bytes at byte 1600, unpacked \(size)",
                "kernel       64-bit ELF",
                "segment 0    0x01000000-0x01001000 rwx 4096 bytes, 2048 of them at byte 4096",
                "segment 1    0x01001000-0x01235567 rwx 2311527 bytes, 256 of them at byte 6144",
                "entries      16-bit, 32-bit, 64-bit, ELF at 0x01000000 (64-bit)",
                "place        0x01000000, or elsewhere at a multiple of 0x200000; needs 4194304 bytes from there on",
                "limits       2047 bytes of command line, initrd up to 0x7fffffff",
                "memory       20 MiB at least to be loaded, some 36 MiB to work in, without an initrd",
            ])
        #expect(kernel(spec.bytes())?.damage == nil)
    }

    @Test("a vmlinux of either width is described", arguments: [true, false])
    func vmlinux(_ isWide: Bool) {
        let file = VmlinuxSpec(isWide: isWide).bytes()
        let found = lines(file)
        #expect(found[0] == "format       ELF vmlinux, \(file.count) bytes")
        #expect(found[1] == "version      Linux version 6.1.0 (somebody@somewhere) #1")
        #expect(found[2] == "kernel       \(isWide ? 64 : 32)-bit ELF")
        #expect(found[5] == "entries      ELF at 0x01000000 (\(isWide ? 64 : 32)-bit)")
        #expect(
            found[6]
                == "memory       19 MiB at least to be loaded, some 35 MiB to work in, without an initrd"
        )
    }

    @Test("an image that cannot be moved runs where its header says, not where its file goes")
    func cannotBeMoved() {
        var file = StockSpec(.lzma).bytes()
        file[0x234] = 0
        #expect(kernel(file)?.end == 0x140_0000)
        #expect(lines(file).contains("place        0x01000000; needs 4194304 bytes from there on"))
        #expect(
            lines(file).contains(
                "memory       20 MiB at least to be loaded, some 36 MiB to work in, without an initrd"
            ))
        // A place at the end of all addresses is no reason to end.
        file.put(UInt64.max - 5, at: 0x258)
        #expect(kernel(file)?.end == .max)
        #expect(kernel(file)?.mebibytes?.least == 1 << 44)
    }

    @Test(
        "what mini does not unpack is told by name", arguments: [Compression.lzma, .lzo, .bzip2])
    func others(_ compression: Compression) {
        let spec = StockSpec(compression)
        let line =
            "compressed   \(compression), which mini does not unpack: enters the image's own unpacker"
        #expect(lines(spec.bytes()).contains(line))
        #expect(kernel(spec.bytes())?.damage == nil)
    }

    @Test("the fields of a header count from the version that brought them")
    func versions() throws {
        func header(_ version: UInt16) throws -> SetupHeader {
            var spec = StockSpec(.lz4)
            spec.protocolVersion = version
            return try #require(ByteView.of(spec.bytes()) { SetupHeader($0) })
        }
        let old = try header(0x202)
        #expect(old.initrdLimit == 0x37FF_FFFF && old.commandLineLimit == 255)
        #expect(!old.isRelocatable && old.alignment == nil && old.payload == nil)
        #expect(try header(0x203).initrdLimit == 0x7FFF_FFFF)
        #expect(try header(0x204).alignment == nil)
        #expect(try header(0x205).isRelocatable && header(0x205).alignment == 0x20_0000)
        #expect(try header(0x205).commandLineLimit == 255)
        #expect(try header(0x206).commandLineLimit == 2047)
        #expect(try header(0x207).payload == nil)
        #expect(try header(0x208).payload?.offset == 1600)
        #expect(try header(0x209).initSize == nil && header(0x209).preferredAddress == nil)
        #expect(try header(0x20A).initSize == 0x40_0000)
        #expect(try header(0x20A).preferredAddress == 0x100_0000)
        #expect(try !header(0x20B).is64Bit && header(0x20C).is64Bit)
    }

    @Test("a header that says 0 setup sectors has four")
    func noSectors() {
        var spec = StockSpec(.lz4)
        spec.setupSectors = 0
        #expect(kernel(spec.bytes())?.payload?.offset == 5 * 512 + 0x40)
        #expect(kernel(spec.bytes())?.vmlinux != nil)
    }

    @Test("before 2.08 the compressed kernel is searched for")
    func search() throws {
        var spec = StockSpec(.gzip)
        spec.protocolVersion = 0x204
        #expect(kernel(spec.bytes())?.payload?.offset == 1600)
        #expect(kernel(spec.bytes())?.vmlinux != nil)
        // Bare code, as before 2.6.26.
        spec = StockSpec(
            .gzip, Array("Linux version 2.6.20 (x)\n".utf8) + [UInt8](repeating: 7, count: 99))
        spec.protocolVersion = 0x204
        #expect(try #require(kernel(spec.bytes())).damage == nil)
        spec = StockSpec(.zstd)
        spec.protocolVersion = 0x204
        #expect(kernel(spec.bytes())?.damage == .noCompressedKernel(version: "6.1.0"))
    }

    @Test("the PVH entry is Xen's note 18, wherever it stands among notes")
    func notes() throws {
        func entry(_ notes: [UInt8], align: UInt64 = 4, isWide: Bool = true) throws -> UInt32? {
            var spec = VmlinuxSpec(isWide: isWide)
            spec.addNotes(notes, align: align)
            return try ByteView.of(spec.bytes()) { try Vmlinux($0) }.pvhEntry
        }
        let wanted: [UInt8] = [0x50, 8, 0, 1]
        let note = VmlinuxSpec.note(18, wanted)
        #expect(try entry(note) == 0x100_0850)
        #expect(try entry(note, isWide: false) == 0x100_0850)
        #expect(try entry(VmlinuxSpec.note(18, wanted + [0, 0, 0, 0])) == 0x100_0850)
        let others =
            VmlinuxSpec.note(19, [UInt8](repeating: 9, count: 12))
            + VmlinuxSpec.note(18, [1, 2, 3, 4], name: "GNU\0")
            + VmlinuxSpec.note(6, Array("linux".utf8))
        #expect(try entry(others + note) == 0x100_0850)
        #expect(try entry(others) == nil)
        #expect(
            try entry(
                VmlinuxSpec.note(1, [1], name: "x\0", align: 8)
                    + VmlinuxSpec.note(18, wanted, align: 8), align: 8) == 0x100_0850)
        // Sizes that lead out of the segment, or nowhere.
        #expect(try entry(VmlinuxSpec.note(1, []).changed(7) { _ in 0xFF } + note) == nil)
        #expect(try entry(Array(note.dropLast(4))) == nil)
        #expect(try entry(VmlinuxSpec.note(18, [1, 2])) == nil)
    }

    /// Linked where it lies in memory.
    private func low(isWide: Bool, note: Bool, interpreter: Bool = false) -> [UInt8] {
        var spec = VmlinuxSpec(isWide: isWide)
        spec.banner = "some other kernel"
        for index in spec.parts.indices { spec.parts[index].virtual = spec.parts[index].address }
        if interpreter {
            spec.parts.append(
                .init(
                    kind: 3, address: 0, virtual: 0, offset: 0x1000, fileSize: 16, memorySize: 16))
        }
        if note { spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1])) }
        return spec.bytes()
    }

    @Test(
        "a kernel with a PVH note may be linked where it lies, and is nothing for lguest",
        arguments: [true, false])
    func lowPVH(_ isWide: Bool) throws {
        for interpreter in [false, true] {
            let file = low(isWide: isWide, note: true, interpreter: interpreter)
            let found = try #require(kernel(file))
            #expect(found.pvhEntry == 0x100_0050)
            #expect(found.mode == (isWide ? .protectedToLong : .protected32))
            #expect(found.vmlinux?.isHigh == false)
            // The engines of lguest leave it to a PC.
            let error = #expect(throws: LoaderError.self) { _ = try loadKernel(file) }
            #expect(error == .image(name: "kernel", .noLguestEntry))
        }
        #expect(ImageError.noLguestEntry.mayBePC)
    }

    @Test("such a kernel is entered by its note whatever texts are in it")
    func lowBanner() throws {
        var spec = VmlinuxSpec()
        for index in spec.parts.indices { spec.parts[index].virtual = spec.parts[index].address }
        spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1]))
        let found = try #require(kernel(spec.bytes()))
        #expect(found.banner != nil && found.pvhEntry == 0x100_0050)
    }

    @Test(
        "without the note it is a program, or a kernel for somebody else, whoever looks at it",
        arguments: [true, false])
    func lowWithout(_ isWide: Bool) throws {
        let bits = isWide ? 64 : 32
        for (interpreter, wanted) in [
            (false, ImageError.otherLoader(bits: bits)), (true, .userProgram(bits: bits)),
        ] {
            let bytes = low(isWide: isWide, note: false, interpreter: interpreter)
            #expect(kernel(bytes) == nil)
            let file = try memoryFile(bytes)
            let expected = LoaderError.image(name: "k", wanted)
            #expect(throws: expected) {
                _ = try StockImage(file.number, name: "k", status: nil)
            }
            #expect(throws: expected) { _ = try KernelImage.examine(file.number, name: "k") }
            #expect(!wanted.mayBePC)
        }
    }

    @Test(
        "a kernel for a Multiboot loader is told to be one, if it has no PVH note as well",
        arguments: [true, false])
    func multiboot(_ isWide: Bool) throws {
        for words: [UInt32] in [
            [0x1BAD_B002, 7, 0xE452_4FF7], [0xE852_50D6, 0, 24, 0x17AD_AF12],
        ] {
            var spec = VmlinuxSpec(isWide: isWide)
            spec.entry = isWide ? 0x100_0000 : 0xC100_0000
            func file(_ last: UInt32) -> [UInt8] {
                var file = spec.bytes()
                for (index, word) in (words.dropLast() + [last]).enumerated() {
                    file.put(word, at: 0x1008 + 4 * index)
                }
                return file
            }
            let bytes = file(words[words.count - 1])
            #expect(kernel(bytes) == nil)
            // One whose sum is not 0 is none.
            #expect(kernel(file(words[words.count - 1] + 1)) != nil)
            let open = try memoryFile(bytes)
            let expected = LoaderError.image(name: "k", .multiboot)
            #expect(throws: expected) {
                _ = try StockImage(open.number, name: "k", status: nil)
            }
            #expect(throws: expected) { _ = try KernelImage.examine(open.number, name: "k") }
            spec.banner = "some other kernel"
            spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1]))
            #expect(kernel(file(words[words.count - 1]))?.pvhEntry == 0x100_0050)
        }
    }

    @Test("a 32-bit kernel that is not for lguest may lie as it likes")
    func scattered() throws {
        var spec = VmlinuxSpec(isWide: false)
        spec.parts[1].virtual += 0x1000
        let file = try memoryFile(spec.bytes())
        #expect(kernel(spec.bytes()) != nil)
        let error = #expect(throws: LoaderError.self) {
            _ = try KernelImage.examine(file.number, name: "k")
        }
        #expect(error == .image(name: "k", .withoutLguest(version: "6.1.0")))
    }

    @Test(
        "what a bzImage holds that is not for lguest is not unpacked again for a PC, unless the file has another size by now"
    )
    func unpackedOnce() throws {
        var spec = VmlinuxSpec(isWide: false)
        spec.banner = "Linux version 2.6.32 (somebody@somewhere) #1"
        var image = StockSpec(.gzip, spec.bytes())
        image.longFlags = 0
        var bytes = image.bytes()
        bytes.put("2.6.32 (", at: 0x400)
        let file = try memoryFile(bytes)
        let inside = UnpackedImage()
        let memory = try GuestLayout.makeMemory(mebibytes: 32)
        let error = #expect(throws: LoaderError.self) {
            let image = try KernelImage.examine(file.number, name: "k", inside: inside)
            _ = try image.load(into: memory, mebibytes: 32)
        }
        #expect(error == .image(name: "k", .lguestGuestOff(version: "2.6.32")))
        let unpacked = try #require(inside.kernel?.image)
        let stock = try StockImage(file.number, name: "k", status: nil, inside: inside)
        #expect(stock.kernel.image === unpacked)
        #expect(inside.kernel == nil)
        inside.kernel = stock.kernel
        try [UInt8(0)].withUnsafeBytes { try Transfer.writeAll(file.number, $0) }
        let other = try StockImage(file.number, name: "k", status: nil, inside: inside)
        #expect(other.kernel.image != nil && other.kernel.image !== unpacked)
        #expect(inside.kernel == nil)
    }

    /// A kernel with something wrong, and what is said of it.
    private static let damages: [(String, [UInt8], String)] = {
        func bzImage(_ change: (inout StockSpec) -> Void) -> [UInt8] {
            var spec = StockSpec(.zstd)
            change(&spec)
            return spec.bytes()
        }
        func inside(_ change: (inout VmlinuxSpec) -> Void) -> [UInt8] {
            var spec = VmlinuxSpec()
            change(&spec)
            return StockSpec(.lz4, spec.bytes()).bytes()
        }
        let whole = StockSpec(.zstd)
        let cut = Array(whole.bytes()[..<(whole.payloadEnd - 9)])
        let size = VmlinuxSpec().bytes().count
        return [
            (
                "cut off", cut,
                "a bzImage cut off at byte \(cut.count) of \(whole.bytes().count)"
            ),
            (
                "size too small", bzImage { $0.sizeWord = UInt32(size - 1) },
                "corrupt zstd data: wrong length at byte \(whole.payloadEnd - 4)"
            ),
            (
                "size too large", bzImage { $0.sizeWord = UInt32(size + 1) },
                "corrupt zstd data: wrong length at byte \(whole.payloadEnd - 4)"
            ),
            (
                "size immense", bzImage { $0.sizeWord = .max },
                "corrupt zstd data: wrong length at byte \(whole.payloadEnd - 4)"
            ),
            (
                "a byte of the stream", bzImage { $0.payload[5] = 0xFF },
                "corrupt zstd data: wrong length at byte \(whole.payloadEnd - 4)"
            ),
            (
                "a frame of unknown kind", bzImage { $0.payload[4] |= 8 },
                "corrupt zstd data at byte 1604: a frame of unknown kind"
            ),
            (
                "payload cut off", bzImage { $0.payloadLengthChange = -1000 },
                "corrupt zstd data: wrong length at byte \(whole.payloadEnd - 1004)"
            ),
            (
                "stream cut off", bzImage { $0.payload.removeLast(100) },
                "zstd data that ends early at byte \(whole.payloadEnd - 104)"
            ),
            (
                "no compression", bzImage { $0.payload[0] = 0 },
                "a bzImage without a gzip-compressed kernel (Linux 6.1.0)"
            ),
            (
                "segment beyond the file", inside { $0.parts[1].offset = 0x1A00 },
                "an ELF file cut off at byte 6656: segment 1 ends at byte 6912"
            ),
            (
                "segment of impossible size", inside { $0.parts[0].fileSize = .max },
                "a damaged ELF file: segment 0 has an impossible size"
            ),
            (
                "segment at an impossible place", inside { $0.parts[0].address = .max },
                "a damaged ELF file: segment 0 reaches beyond 1 TiB"
            ),
            (
                "segments overlap", inside { $0.parts[1].address = 0x100_0FFF },
                "a damaged ELF file: segments 0 and 1 overlap"
            ),
            (
                "more in the file", inside { $0.parts[0].memorySize = 1 },
                "a damaged ELF file: segment 0 has more bytes in the file than in memory"
            ),
            (
                "a program", inside { $0.parts[0].virtual = 0x40_0000 },
                "a 64-bit ELF program, or a kernel for another loader"
            ),
            (
                "nothing to load",
                inside {
                    $0.parts[0].fileSize = 0; $0.parts[1].fileSize = 0
                }, "a damaged ELF file: it has nothing to load"
            ),
        ]
    }()

    @Test("damage in a kernel is told by what is wrong with it", arguments: damages.indices)
    func damage(_ index: Int) throws {
        let (_, file, text) = Self.damages[index]
        let damage = try #require(kernel(file)?.damage)
        #expect(String(decoding: damage.text.bytes, as: UTF8.self) == text)
    }

    @Test(
        "a header that leads out of a whole file is no reason to refuse it: it unpacks itself",
        arguments: [1 << 20, Int(UInt32.max) - 100_000])
    func leadsNowhere(_ change: Int) throws {
        var spec = StockSpec(.zstd)
        spec.payloadLengthChange = change
        let damage = try #require(kernel(spec.bytes())?.damage)
        #expect(damage == .noCompressedKernel(version: "6.1.0") && damage.isForTheGuest)
    }

    @Test(
        "what is packed in an unknown way unpacks itself, whatever its header's age",
        arguments: [0x200, 0x203, 0x207, 0x208, 0x20B, 0x20F] as [UInt16])
    func unknownPacker(_ version: UInt16) throws {
        var spec = StockSpec(.zstd)
        spec.protocolVersion = version
        spec.longFlags = 0
        spec.payload = Array("a packer of somebody's".utf8)
        let bytes = spec.bytes()
        #expect(kernel(bytes)?.damage == .noCompressedKernel(version: "6.1.0"))
        // As old a kernel as the launcher of lguest's looks inside.
        var old = bytes
        old.put("3.16.0 ", at: 0x400)
        let error = #expect(throws: LoaderError.self) { _ = try loadKernel(old) }
        let why = ImageError.noCompressedKernel(version: "3.16.0")
        #expect(error == .image(name: "kernel", why))
        #expect(why.mayBePC && why.isForTheGuest)
    }

    @Test("what is packed so and is no Linux by its own word, or calls a BIOS, is no PC's kernel")
    func realMode() throws {
        var spec = StockSpec(.zstd)
        spec.protocolVersion = 0x207
        spec.longFlags = 0
        spec.payload = Array("a loader of somebody's".utf8)
        func refusal(_ change: (inout [UInt8]) -> Void) throws -> ImageError? {
            var bytes = spec.bytes()
            bytes.put("3.16.0 ", at: 0x400)
            change(&bytes)
            let error = #expect(throws: LoaderError.self) { _ = try loadKernel(bytes) }
            guard case .image(_, let why)? = error else { return nil }
            #expect(kernel(bytes)?.damage == why)
            return why
        }
        // No text at all, and one that is not a release's number, as of memdisk.
        let nameless = ImageError.noCompressedKernel(version: nil)
        #expect(try refusal { $0.put(UInt16(0), at: 0x20E) } == nameless)
        #expect(try refusal { $0.put("MEMDISK 6.04 20200816\0", at: 0x400) } == nameless)
        #expect(!nameless.mayBePC && nameless.isForTheGuest)
        // As of iPXE, which has a number.
        let ipxe = try refusal {
            $0.put("1.0.0+git-20190125", at: 0x400)
            $0.put(UInt32(0), at: 0x214)
        }
        #expect(ipxe == .realModeOnly)
        #expect(!ImageError.realModeOnly.mayBePC && !ImageError.realModeOnly.isForTheGuest)
        let cut = Array(spec.bytes().dropLast(60))
        #expect(
            kernel(cut)?.damage
                == .bzImageCutOff(
                    size: UInt64(cut.count), expected: UInt64(spec.bytes().count + 15) / 16 * 16))
    }

    @Test("kernels of other machines are told by name")
    func foreign() throws {
        func text(_ change: (inout [UInt8]) -> Void) throws -> String {
            var file = [UInt8](repeating: 0, count: 0x400)
            change(&file)
            do { _ = try loadKernel(file) } catch let error as LoaderError {
                #expect(error.exitCode == 3)
                return String(decoding: error.text.bytes, as: UTF8.self)
            }
            return ""
        }
        let start = "cannot start \"kernel\": a kernel for another machine: "
        #expect(
            try text {
                $0.put("MZ", at: 0)
                $0.put("ARMd", at: 0x38)
            } == start + "an arm64 Image")
        #expect(try text { $0.put("RISCV", at: 0x30) } == start + "a RISC-V Image")
        #expect(try text { $0.put(UInt32(0x016F_2818), at: 0x24) } == start + "an Arm zImage")
        func zboot(_ file: inout [UInt8]) {
            file.put("MZ", at: 0)
            file.put("zimg", at: 4)
            file.put("zstd", at: 0x18)
        }
        #expect(try text(zboot) == start + "an EFI zboot image compressed with zstd")
        #expect(
            try text {
                zboot(&$0)
                $0.put(UInt32(0x40), at: 0x3C)
                $0.put("PE", at: 0x40)
                $0.put(UInt16(0xAA64), at: 0x44)
            } == start + "an EFI zboot image for AArch64, compressed with zstd")
        // Where the header would be is nowhere.
        #expect(
            try text {
                zboot(&$0)
                $0.put(UInt32.max, at: 0x3C)
            } == start + "an EFI zboot image compressed with zstd")
    }

    @Test("what is no kernel of a PC is none here")
    func none() {
        #expect(kernel([]) == nil)
        #expect(kernel([0x7F, 0x45, 0x4C, 0x46]) == nil)
        var arm = VmlinuxSpec().bytes()
        arm.put(UInt16(183), at: 18)
        #expect(kernel(arm) == nil)
    }

    @Test(
        "mutants of headers and kernels are looked at without harm",
        arguments: [Compression.gzip, .xz, .zstd, .lz4])
    func mutants(_ compression: Compression) {
        var random = SeededGenerator(seed: 21)
        let hurtful: [UInt32] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, .max]
        var spec = VmlinuxSpec(isWide: compression != .gzip)
        spec.addNotes(VmlinuxSpec.note(18, [1, 2, 3, 4]))
        var whole = 0
        for _ in 0..<100 {
            var inner = spec.bytes()
            if Bool.random(using: &random) {
                inner.put(
                    hurtful.randomElement(using: &random)!,
                    at: Int.random(in: 4..<0x100, using: &random))
            }
            var file = StockSpec(compression, inner).bytes()
            if Bool.random(using: &random) {
                file.put(
                    hurtful.randomElement(using: &random)!,
                    at: Int.random(in: 0x1F0..<0x268, using: &random))
            }
            guard let kernel = kernel(file) else { continue }
            whole += kernel.damage == nil ? 1 : 0
            for line in kernel.description { #expect(!line.bytes.contains(10)) }
            for segment in kernel.vmlinux?.segments ?? [] {
                #expect(
                    segment.fileSize == 0
                        || segment.fileOffset + segment.fileSize <= UInt64(inner.count))
            }
        }
        #expect(whole > 15)
    }
}

// MARK: Kernels of distributions

private let kernels = ProcessInfo.processInfo.environment["MINI_KERNELS"].map { $0 + "/stock" }
private let stock =
    kernels.flatMap { try? FileManager.default.contentsOfDirectory(atPath: $0) }?.sorted() ?? []

@Suite struct DistributionKernelTests {
    @Test(
        "a distribution's kernel gives the same ELF file as the tool that packed it",
        .enabled(if: !stock.isEmpty, "MINI_KERNELS does not name a folder with stock/vmlinuz…"),
        arguments: stock)
    func same(_ name: String) throws {
        let file = Array(try Data(contentsOf: URL(fileURLWithPath: "\(kernels!)/\(name)")))
        let found = try #require(kernel(file))
        #expect(found.damage == nil && found.vmlinux != nil)
        let payload = try #require(found.payload)
        let end = payload.offset + payload.length - (payload.compression == .gzip ? 0 : 4)
        let (outcome, bytes) = unpack(
            file, at: payload.offset, end: end, room: Int(payload.unpackedSize))
        #expect(outcome.failure == nil)
        let words =
            payload.compression == .xz
            ? ["xz", "-dc", "--single-stream"] : ["\(payload.compression)", "-dc"]
        let theirs = try runTool(words, Array(file[payload.offset..<end]))
        #expect(bytes == theirs)
    }
}
