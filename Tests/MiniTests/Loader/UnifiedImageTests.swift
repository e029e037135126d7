import Testing

@testable import Mini

/// A unified kernel image around a kernel's file.
struct UnifiedSpec {
    struct Section {
        var name: String
        var bytes: [UInt8]
        /// What its header says, less what is so.
        var offsetChange: Int = 0
        var size: UInt32?
        var memorySize: UInt32?
    }
    var machine: UInt16 = 0x8664
    var width: UInt16 = 0x20B
    var count: UInt16?
    var sections: [Section]

    init(
        _ kernel: [UInt8] = StockSpec(.zstd).bytes(), initrd: [UInt8]? = nil, words: String? = nil
    ) {
        sections = [
            Section(name: ".text", bytes: [0x90]),
            Section(name: ".osrel", bytes: Array("ID=x\nPRETTY_NAME=\"Some System 1\"\n".utf8)),
            Section(name: ".uname", bytes: Array("6.1.0\n".utf8)),
        ]
        if let words { sections.append(Section(name: ".cmdline", bytes: Array(words.utf8))) }
        if let initrd { sections.append(Section(name: ".initrd", bytes: initrd)) }
        sections.append(Section(name: ".linux", bytes: kernel))
    }

    subscript(name: String) -> Section {
        get { sections.first { $0.name == name }! }
        set { sections[sections.firstIndex { $0.name == name }!] = newValue }
    }

    static let headers = 0x40 + 24 + 0x70

    /// Where the bytes of a section begin in the file.
    func offset(_ name: String) -> Int {
        var offset = 0x400
        for section in sections {
            if section.name == name { break }
            offset += (section.bytes.count + 511) & ~511
        }
        return offset
    }

    func bytes() -> [UInt8] {
        var file = [UInt8](repeating: 0, count: 0x400)
        file.put("MZ", at: 0)
        file.put(UInt32(0x40), at: 0x3C)
        file.put("PE", at: 0x40)
        file.put(machine, at: 0x44)
        file.put(count ?? UInt16(sections.count), at: 0x46)
        file.put(UInt16(0x70), at: 0x54)
        file.put(width, at: 0x58)
        for (index, section) in sections.enumerated() {
            let at = Self.headers + 40 * index
            let size = (section.bytes.count + 511) & ~511
            file.put(section.name, at: at)
            file.put(section.memorySize ?? UInt32(section.bytes.count), at: at + 8)
            file.put(section.size ?? UInt32(size), at: at + 16)
            file.put(UInt32(truncatingIfNeeded: file.count + section.offsetChange), at: at + 20)
            file += section.bytes + [UInt8](repeating: 0, count: size - section.bytes.count)
        }
        return file
    }
}

private func image(_ spec: UnifiedSpec) throws -> UnifiedImage? {
    try ByteView.of(spec.bytes()) { try UnifiedImage($0) }
}

@Suite struct UnifiedImageTests {
    @Test("its parts are told with their places, and then what is told of any kernel")
    func description() throws {
        let kernel = StockSpec(.zstd).bytes()
        let spec = UnifiedSpec(
            kernel, initrd: [UInt8](repeating: 7, count: 1000), words: "root=/dev/vda quiet\n")
        let file = spec.bytes()
        let found = try #require(try ByteView.of(file) { try StockKernel($0) })
        let lines = found.description.map { String(decoding: $0.bytes, as: UTF8.self) }
        #expect(
            lines.prefix(7) == [
                "format       unified kernel image for x86-64, \(file.count) bytes",
                ".linux       \(kernel.count) bytes at byte \(spec.offset(".linux"))",
                ".initrd      1000 bytes at byte \(spec.offset(".initrd"))",
                ".cmdline     root=/dev/vda quiet",
                ".osrel       Some System 1",
                ".uname       6.1.0",
                "format       bzImage, \(kernel.count) bytes, boot protocol 2.15",
            ])
        #expect(
            lines.last
                == "memory       21 MiB at least to be loaded, some 38 MiB to work in, with its initrd"
        )
        #expect(found.damage == nil && found.vmlinux != nil)
    }

    @Test("its kernel and initrd are laid into memory as they would be from files of their own")
    func loaded() throws {
        let kernel = StockSpec(.zstd).bytes()
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
        func load(_ other: [UInt8]?) throws -> LoadedPC {
            let memory = try GuestMemory(count: 64 << 20)
            let descriptor = try memoryFile(other ?? [])
            let named = other.map { _ in NamedFile(name: "i", descriptor: descriptor.number) }
            return try ByteView.of(UnifiedSpec(kernel, initrd: initrd).bytes()) { view in
                let found = try #require(try StockKernel(view))
                return try PCLoader.load(
                    found, name: "x.efi", view, into: memory,
                    demand: PCLoader.demand(found, initrd: named), initrd: named,
                    commandLine: "quiet")
            }
        }
        let loaded = try load(nil)
        #expect(loaded.start.mode == .long64(pageTable: 0x9000))
        #expect(
            bytes(of: loaded.memory, 0x100_0000, 0x800)
                == Array(VmlinuxSpec().bytes()[0x1000..<0x1800]))
        #expect(bytes(of: loaded.memory, 0x71F1, 1) == [kernel[0x1F1]])
        #expect(loaded.layout.initrdSize == 5000)
        #expect(bytes(of: loaded.memory, loaded.layout.initrd, 5000) == initrd)
        #expect(
            bytes(of: loaded.memory, loaded.layout.initrd + 5000, 3192)
                == [UInt8](repeating: 0, count: 3192))
        // The user's goes before it.
        let own = [UInt8](repeating: 0x5A, count: 100)
        let second = try load(own)
        #expect(second.layout.initrdSize == 100)
        #expect(bytes(of: second.memory, second.layout.initrd, 100) == own)
    }

    @Test("an initrd that has no room is told by its section's name")
    func noRoom() throws {
        let spec = UnifiedSpec(initrd: [UInt8](repeating: 7, count: 30 << 20))
        let memory = try GuestMemory(count: 40 << 20)
        let wanted = LoaderError.initrdTooLarge(
            name: ".initrd", size: 30 << 20, room: (20 << 20), mebibytes: 40)
        ByteView.of(spec.bytes()) { view in
            #expect(throws: wanted) {
                let found = try #require(try StockKernel(view))
                _ = try PCLoader.load(
                    found, name: "x.efi", view, into: memory,
                    demand: PCLoader.demand(found, initrd: nil), initrd: nil, commandLine: "")
            }
        }
    }

    @Test(
        "a command line ends with its last word or a NUL; its blanks stay, and control characters are blanks",
        arguments: [
            ("quiet", "quiet"), ("root=/dev/vda  a=\"x  y\" \n", "root=/dev/vda  a=\"x  y\""),
            ("a\tb\n\nc\n", "a b  c"), (" \n a\0b", "a"), ("", ""), ("\n \n", ""), ("\0quiet", ""),
        ] as [(String, Text)])
    func words(_ section: String, _ words: Text) throws {
        let found = try #require(try image(UnifiedSpec(words: section)))
        #expect(CommandLine.joined(found.commandLine) == words)
        #expect(found.commandLine.first != "" && found.commandLine.last != "")
    }

    @Test("a section without a byte is none")
    func empty() throws {
        let found = try #require(try image(UnifiedSpec(initrd: [], words: "")))
        #expect(found.initrd == nil && found.commandLine.isEmpty)
        // More in memory than in the file, as of a kernel that has a .bss; and more in the file, which is padding.
        var spec = UnifiedSpec(initrd: [1, 2, 3])
        spec[".linux"].memorySize = 1 << 30
        #expect(try image(spec)?.initrd?.count == 3)
        #expect(try image(spec)?.kernel.count == (spec[".linux"].bytes.count + 511) & ~511)
        spec[".initrd"].memorySize = 0
        #expect(try image(spec)?.initrd == nil)
    }

    @Test("of profiles the first one counts, in front of what all have")
    func profiles() throws {
        var spec = UnifiedSpec(words: "all")
        spec.sections += [
            .init(name: ".profile", bytes: Array("ID=one\n".utf8)),
            .init(name: ".cmdline", bytes: Array("first".utf8)),
            .init(name: ".profile", bytes: Array("ID=two\n".utf8)),
            .init(name: ".cmdline", bytes: Array("second".utf8)),
            .init(name: ".initrd", bytes: [1]),
        ]
        let found = try #require(try image(spec))
        #expect(found.commandLine == ["first"] && found.initrd == nil)
        spec.sections.insert(.init(name: ".cmdline", bytes: [0x61]), at: spec.sections.count - 3)
        #expect(throws: ImageError.damagedUnified("it has .cmdline twice")) { try image(spec) }
    }

    @Test("a 32-bit one is an image, too; a program for the firmware alone is none")
    func others() throws {
        var spec = UnifiedSpec(StockSpec(.lz4, VmlinuxSpec(isWide: false).bytes()).bytes())
        (spec.machine, spec.width) = (0x14C, 0x10B)
        #expect(try image(spec)?.machine == "i386")
        #expect(try ByteView.of(spec.bytes()) { try StockKernel($0) }?.mode == .protected32)
        spec.sections.removeLast()
        spec.sections.removeAll { $0.name == ".osrel" || $0.name == ".uname" }
        #expect(try image(spec) == nil)
        // A kernel is a program for the firmware itself.
        var kernel = StockSpec(.zstd).bytes()
        kernel.put("MZ", at: 0)
        kernel.put(UInt32(0x40), at: 0x3C)
        kernel.put("PE", at: 0x40)
        #expect(try ByteView.of(kernel) { try UnifiedImage($0) } == nil)
    }

    /// What lies, and the line that comes of it.
    private static let lies: [(String, String, @Sendable (inout UnifiedSpec) -> Void)] = [
        (
            "for another machine",
            "a kernel for another machine: a unified kernel image for AArch64",
            { $0.machine = 0xAA64 }
        ),
        (
            "of a width that is not its machine's",
            "a damaged unified kernel image: its optional header is of kind 0x10b, not 0x20b",
            { $0.width = 0x10B }
        ),
        (
            "without a kernel", "not a kernel: an EFI program without .linux",
            { $0.sections.removeLast() }
        ),
        (
            "with an empty kernel", "a damaged unified kernel image: its .linux is empty",
            { $0[".linux"].memorySize = 0 }
        ),
        (
            "with two kernels", "a damaged unified kernel image: it has .linux twice",
            { $0.sections.append($0[".linux"]) }
        ),
        (
            "with two initrds", "a damaged unified kernel image: it has .initrd twice",
            { $0.sections.insert($0[".initrd"], at: 0) }
        ),
        (
            "that overlaps itself", "a damaged unified kernel image: .linux and .initrd overlap",
            { $0[".linux"].offsetChange = -512 }
        ),
        (
            "on its own headers", "a damaged unified kernel image: its .initrd lies on its headers",
            { $0[".initrd"].offsetChange = -$0.offset(".initrd") + 64 }
        ),
        (
            "with headers that are not there",
            "a damaged unified kernel image: its section headers lie beyond the end of the file",
            { $0.count = .max }
        ),
        (
            "of a program",
            "not a kernel: a unified kernel image with a gzip file (unpack it first) as its .linux",
            {
                $0[".linux"].bytes.put([0x1F, 0x8B], at: 0); $0[".linux"].bytes[0x202] = 0
            }
        ),
        (
            "with an arm64 kernel inside", "a kernel for another machine: an arm64 Image",
            { $0[".linux"].bytes = UnifiedImageTests.foreign("ARMd", at: 0x38) }
        ),
        (
            "with a RISC-V kernel inside", "a kernel for another machine: a RISC-V Image",
            { $0[".linux"].bytes = UnifiedImageTests.foreign("RISCV", at: 0x30) }
        ),
        (
            "with itself inside",
            "not a kernel: a unified kernel image with a DOS, Windows or EFI program as its .linux",
            { $0[".linux"].bytes = UnifiedSpec().bytes() }
        ),
        (
            "around a program", "a 64-bit ELF program, or a kernel for another loader",
            {
                var program = VmlinuxSpec()
                program.parts[0].virtual = 0x40_0000
                $0[".linux"].bytes = program.bytes()
            }
        ),
    ]

    private static func foreign(_ mark: String, at offset: Int) -> [UInt8] {
        var file = [UInt8](repeating: 0, count: 0x400)
        file.put("MZ", at: 0)
        file.put(mark, at: offset)
        return file
    }

    @Test("an image that lies is refused with one line and code 3", arguments: lies.indices)
    func lie(_ index: Int) throws {
        var spec = UnifiedSpec(initrd: [UInt8](repeating: 7, count: 600))
        Self.lies[index].2(&spec)
        let wanted = "cannot start \"x.efi\": \(Self.lies[index].1)"
        let file = try memoryFile(spec.bytes())
        func check(_ body: () throws -> Void) {
            do {
                try body()
                Issue.record("it is taken")
            } catch let error as LoaderError {
                #expect(String(decoding: error.text.bytes, as: UTF8.self) == wanted)
                #expect(error.exitCode == 3)
            } catch { Issue.record(error) }
        }
        // By whoever looks whether it speaks lguest, and by whoever starts PCs.
        check { _ = try KernelImage.examine(file.number, name: "x.efi") }
        check { _ = try StockImage(file.number, name: "x.efi", status: nil) }
    }

    @Test("sections beyond the file and huge ones are told as a file that is cut off")
    func cutOff() throws {
        let whole = UnifiedSpec(initrd: [UInt8](repeating: 7, count: 600))
        var spec = whole
        spec[".initrd"].size = .max
        spec[".initrd"].memorySize = .max
        let size = UInt64(spec.bytes().count)
        let end = UInt64(whole.offset(".initrd")) + UInt64(UInt32.max)
        #expect(
            throws: ImageError.unifiedCutOff(section: ".initrd", end: end, size: size)
        ) { try image(spec) }
        let cut = Array(whole.bytes().dropLast(512))
        let error = #expect(throws: ImageError.self) {
            try ByteView.of(cut) { try UnifiedImage($0) }
        }
        #expect(
            error?.text.bytes.starts(
                with: Array("a unified kernel image cut off at byte \(cut.count): its .linux".utf8))
                == true)
    }

    @Test("a sound one is nothing for lguest, and is started as a PC's")
    func sound() throws {
        let file = try memoryFile(UnifiedSpec().bytes())
        let error = #expect(throws: LoaderError.self) {
            _ = try KernelImage.examine(file.number, name: "x.efi")
        }
        #expect(error == .image(name: "x.efi", .unified))
        #expect(ImageError.unified.mayBePC)
        #expect(try StockImage(file.number, name: "x.efi", status: nil).kernel.damage == nil)
    }
}
