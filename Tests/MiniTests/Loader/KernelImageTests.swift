import Testing

@testable import Mini

extension BzImageSpec {
    var expectedBytes: Int {
        bodyOffset + (unpacker.count + payload.count + trailer.count + 15) / 16 * 16
    }
    var trailerOffset: Int { memberOffset + payload.count - 8 }
}

private let eras: [GuestABI.Era] = [.era0, .era1, .era1b, .era1c]

@Suite struct KernelImageTests {
    @Test(
        "a damaged or foreign file is refused with a line that says what it is",
        arguments: DamagedImage.all)
    func refusal(_ image: DamagedImage) throws {
        do {
            _ = try loadKernel(image.bytes)
            Issue.record("\(image.name) was loaded")
        } catch let error as LoaderError {
            #expect(
                String(decoding: error.text.bytes, as: UTF8.self)
                    == "cannot start \"kernel\": \(image.refusal)")
            #expect(error.exitCode == 3)
        }
    }

    @Test("a vmlinux of each era is loaded whole and described", arguments: eras)
    func vmlinux(_ era: GuestABI.Era) throws {
        var spec = KernelSpec()
        spec.era = era
        let (kernel, memory) = try loadKernel(ElfSpec.kernel(spec))
        let entry = 0x10_0000 + UInt32(spec.entryOffset)
        #expect(kernel.era == era)
        #expect(kernel.entry == (era == .era1c ? entry : entry + 0xC000_0000))
        #expect(kernel.pageOffset == 0xC000_0000)
        #expect(kernel.data == spec.dataAddress)
        #expect(kernel.end == 0x10_3800)
        #expect(kernel.format == .elf)
        #expect(kernel.banner == "Linux version 2.6.23 (user@host) (gcc version 4.1.2) #1 Mon")
        #expect(bytes(of: memory, 0x10_0000, 0x3000) == spec.bytes())
    }

    @Test("a bzImage of each era unpacks to what the vmlinux holds", arguments: eras)
    func bzImage(_ era: GuestABI.Era) throws {
        var spec = KernelSpec()
        spec.era = era
        let (kernel, memory) = try loadKernel(BzImageSpec(spec.bytes()).bytes())
        let (vmlinux, _) = try loadKernel(ElfSpec.kernel(spec))
        #expect(kernel.era == era)
        #expect(kernel.entry == vmlinux.entry)
        #expect(kernel.pageOffset == vmlinux.pageOffset)
        #expect(kernel.banner == vmlinux.banner)
        #expect(kernel.data == vmlinux.data)
        #expect(kernel.format == .bzImage(member: BzImageSpec().memberOffset))
        #expect(bytes(of: memory, 0x10_0000, 0x3000) == spec.bytes())
        // Nothing is left of the false candidate before the real one.
        #expect(bytes(of: memory, 0x10_3000, 0x1000) == [UInt8](repeating: 0, count: 0x1000))
    }

    /// A bzImage of a time when the packed kernel was no ELF file, linked for some address.
    private func rawImage(
        at origin: UInt32, _ era: GuestABI.Era = .era2, _ change: (inout [UInt8]) -> Void = { _ in }
    ) -> (bzImage: [UInt8], kernel: [UInt8]) {
        var spec = KernelSpec(era: era)
        spec.banner = "Linux version \(era == .era2 ? "2.6.24" : "2.6.25") (user@host)"
        spec.origin = origin
        var kernel = spec.bytes()
        change(&kernel)
        return (BzImageSpec(kernel).bytes(), kernel)
    }

    @Test(
        "a raw image from 2.6.24 on is put where it is linked for, and nothing is left elsewhere",
        arguments: [0x10_0000, 0x10_1000, 0x20_0000, 0x3F_D000, 0x2000, 0xF_F000] as [UInt32])
    func linkedElsewhere(_ origin: UInt32) throws {
        for era in [GuestABI.Era.era2, .era3a] {
            let raw = rawImage(at: origin, era)
            let (kernel, memory) = try loadKernel(raw.bzImage)
            #expect(kernel.era == era && kernel.entry == origin)
            #expect(kernel.data == origin + UInt32(KernelSpec.dataOffset))
            #expect(kernel.end == origin + 0x3000 && kernel.pageOffset == 0xC000_0000)
            var expected = [UInt8](repeating: 0, count: Int(memory.count))
            expected.put(raw.kernel, at: Int(origin))
            #expect(bytes(of: memory, 0, memory.count) == expected)
        }
    }

    @Test("a raw image is refused where it has no room, or does not say where it is linked for")
    func linkedNowhere() throws {
        let outside = ImageError.needsMemory(needed: 5, available: 4)
        #expect(throws: LoaderError.image(name: "kernel", outside)) {
            _ = try loadKernel(rawImage(at: 0x3F_E000).bzImage)
        }
        #expect(throws: LoaderError.image(name: "kernel", .addressUnknown)) {
            _ = try loadKernel(rawImage(at: 0x1000).bzImage)
        }
        #expect(throws: LoaderError.image(name: "kernel", .addressUnknown)) {
            _ = try loadKernel(
                rawImage(at: 0x20_0000) { $0[KernelSpec.dataOffset + 40] = 0 }.bzImage)
        }
    }

    /// What a header may say of where the compressed kernel is: offset, length and version of the protocol.
    private static let leads: [(offset: UInt32, length: UInt32, version: UInt16)] = [
        (16, 1, 0x208), (16, 8, 0x209), (16, 500, 0x208), (16, 0x7FFF_FFFF, 0x208),
        (16, .max, 0x208),
        (1, 1000, 0x209), (17, 1000, 0x209), (16, 0, 0x20F),
        (0x3FFF_FFFF, 1000, 0x209), (0x4000_0000, 1000, 0x209), (.max, .max, 0x209),
        (16, 1000, 0x207), (16, 1000, 0x206),
    ]

    @Test(
        "an ELF file in a bzImage is found whether the header leads to it or not",
        arguments: leads.indices)
    func leading(_ index: Int) throws {
        let lead = Self.leads[index]
        var inside = KernelSpec(era: .era3b)
        inside.banner = "Linux version 2.6.29 (user@host)"
        var spec = BzImageSpec(ElfSpec.kernel(inside))
        spec.protocolVersion = 0x209
        #expect(spec.unpacker.count == 16)
        let (right, expected) = try loadKernel(spec.bytes())
        var file = spec.bytes()
        file.put(lead.version, at: 0x206)
        file.put(lead.offset, at: 0x248)
        file.put(lead.length, at: 0x24C)
        let (kernel, memory) = try loadKernel(file)
        #expect(kernel.format == .bzImage(member: spec.memberOffset))
        #expect(kernel.entry == right.entry && kernel.era == .era3b && kernel.end == right.end)
        #expect(kernel.segments == right.segments)
        #expect(bytes(of: memory, 0, memory.count) == bytes(of: expected, 0, expected.count))
    }

    @Test(
        "a packed kernel that cannot be unpacked is told as that, not as one that mini does not unpack"
    )
    func packedDamage() throws {
        var spec = BzImageSpec()
        spec.protocolVersion = 0x20F
        spec.version = "3.2.0 (x)"
        spec.payload = [0x28, 0xB5, 0x2F, 0xFD] + [UInt8](repeating: 0xFF, count: 500)
        do {
            _ = try loadKernel(spec.bytes())
            Issue.record("it was loaded")
        } catch let error as LoaderError {
            #expect(string(error.text).contains("zstd data"), "\(string(error.text))")
        }
    }

    @Test("a kernel is unpacked whatever system packed it, in one member or in several")
    func oddMembers() throws {
        let kernel = KernelSpec().bytes()
        let half = kernel.count / 2
        var otherSystem = Packer.gzip(kernel)
        otherSystem[9] = 255
        let several = Packer.gzip(Array(kernel[..<half])) + Packer.gzip(Array(kernel[half...]))
        let extras: [UInt8] = [3, 0, 1, 2, 3] + Array("name\0comment\0".utf8) + [0x12, 0x34]
        let fields = Packer.gzip(kernel, flags: 4 | 8 | 16 | 2, extras: extras)
        let garbage = Packer.gzip(kernel) + [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0xFF, 0xFF]
        for payload in [otherSystem, several, fields, garbage] {
            var spec = BzImageSpec()
            spec.payload = payload
            let (loaded, memory) = try loadKernel(spec.bytes())
            #expect(loaded.end == 0x10_0000 + UInt32(kernel.count))
            #expect(bytes(of: memory, 0x10_0000, UInt32(kernel.count)) == kernel)
            #expect(memory.load32(loaded.end) == 0)
        }
    }

    @Test(
        "other splits of the address space are found in vmlinux and bzImage",
        arguments: [
            0x4000_0000, 0x7800_0000, 0x8000_0000, 0xB000_0000,
        ] as [UInt32])
    func pageOffset(_ offset: UInt32) throws {
        var spec = KernelSpec()
        spec.pageOffset = offset
        #expect(try loadKernel(ElfSpec.kernel(spec)).kernel.pageOffset == offset)
        #expect(try loadKernel(BzImageSpec(spec.bytes()).bytes()).kernel.pageOffset == offset)
    }

    @Test("a guest of our own without Linux's banner and structure is taken for era 1")
    func minimal() throws {
        var bytes = [UInt8](repeating: 0x90, count: 0x3000)
        bytes.put("GenuineLguest", at: 0)
        var elf = ElfSpec()
        elf.contents = [(0x1000, bytes)]
        let (kernel, _) = try loadKernel(elf.bytes())
        #expect(kernel.era == .era1)
        #expect(kernel.entry == 0xC010_000D)
        #expect(kernel.banner == nil)
        #expect(kernel.data == nil)
    }

    @Test("a directory, a device and a pipe are refused by name")
    func notFiles() throws {
        let directory = try Descriptor.open("/", .readOnly)
        #expect(throws: LoaderError.image(name: "d", .directory)) {
            _ = try KernelImage.examine(directory.number, name: "d")
        }
        let device = try Descriptor.open("/dev/null", .readOnly)
        #expect(throws: LoaderError.image(name: "n", .notAFile)) {
            _ = try KernelImage.examine(device.number, name: "n")
        }
    }

    @Test("a file that can only be read is told so, and is not the host's fault")
    func notMapped() throws {
        let file = try memoryFile(ElfSpec.kernel())
        let descriptor = file.number
        for errno in [5, 13, 19] {
            #expect(throws: LoaderError.notMapped(name: "k")) {
                try SystemCall.hooked({ $0.number == .map ? -errno : nil }) {
                    _ = try KernelImage.examine(descriptor, name: "k")
                }
            }
        }
        let error = LoaderError.notMapped(name: "k")
        #expect(error.exitCode == 3)
        #expect(
            string(error.text)
                == "\"k\" cannot be mapped, as files of /proc and /sys: copy it first")
    }

    @Test("what the kernel refuses is the host's fault, with its errno")
    func systemCalls() throws {
        let file = try memoryFile(ElfSpec.kernel())
        let descriptor = file.number
        #expect(throws: LoaderError.host("read", name: "k", .inputOutput)) {
            try SystemCall.hooked({ $0.number == .fileStatus ? -5 : nil }) {
                _ = try KernelImage.examine(descriptor, name: "k")
            }
        }
        #expect(throws: LoaderError.host("map", name: "k", .noMemory)) {
            try SystemCall.hooked({ $0.number == .map ? -12 : nil }) {
                _ = try KernelImage.examine(descriptor, name: "k")
            }
        }
        #expect(throws: LoaderError.host("map", name: "k", .noSuchDevice)) {
            let image = try KernelImage.examine(descriptor, name: "k")
            let memory = try GuestLayout.makeMemory(mebibytes: 4)
            try SystemCall.hooked({ $0.number == .map ? -6 : nil }) {
                _ = try image.load(into: memory, mebibytes: 4)
            }
        }
    }
}
