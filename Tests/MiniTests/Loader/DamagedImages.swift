// Files that no loader takes, each named after what is wrong with it.

import Testing

@testable import Mini

/// A file that must be refused: named after what is wrong with it.
struct DamagedImage: CustomTestStringConvertible, Sendable {
    let name: String
    let bytes: [UInt8]
    /// What the refusal says after `cannot start "kernel": `.
    let refusal: String
    var testDescription: String { name }

    init(_ name: String, _ bytes: [UInt8], _ refusal: String) {
        self.name = name
        self.bytes = bytes
        self.refusal = refusal
    }

    static let elf: [DamagedImage] = [
        elf("header cut off", "a damaged ELF file: its header is cut off at byte 40") {
            $0.removeLast($0.count - 40)
        },
        elf("big endian", "an ELF file for a big-endian machine") { $0[5] = 2 },
        elf("neither byte order", "a damaged ELF file: neither 32-bit nor 64-bit little-endian") {
            $0[5] = 3
        },
        elf("ARM", "an ELF file for another machine (ARM)") { $0.put(UInt16(40), at: 18) },
        elf("machine without a name", "an ELF file for another machine (number 7777)") {
            $0.put(UInt16(7777), at: 18)
        },
        elf("object file", "an ELF object file or kernel module, not a linked kernel") {
            $0.put(UInt16(1), at: 16)
        },
        elf(
            "shared object",
            "an ELF shared object or position-independent program, not a kernel"
        ) { $0.put(UInt16(3), at: 16) },
        elf("core dump", "an ELF core dump, not a kernel") { $0.put(UInt16(4), at: 16) },
        elf("unknown type", "an ELF file of unknown type 99") { $0.put(UInt16(99), at: 16) },
        elf("x32 program", "not a kernel: a 32-bit ELF program for user space") {
            $0.put(UInt16(62), at: 18)
        },
        elf(
            "program headers of 40 bytes",
            "a damaged ELF file: its program headers have 40 bytes each, not 32"
        ) { $0.put(UInt16(40), at: 42) },
        elf("no program headers", "a damaged ELF file: it has no program headers") {
            $0.put(UInt16(0), at: 44)
        },
        elf(
            "too many program headers",
            "a damaged ELF file: it has 65535 program headers, at most 2048 make sense"
        ) { $0.put(UInt16(65535), at: 44) },
        elf(
            "program headers beyond the end",
            "a damaged ELF file: program header 0 lies beyond the end of the file"
        ) { $0.put(UInt32(0xFFFF_FFF0), at: 28) },
        elf(
            "last program header half in the file",
            "a damaged ELF file: program header 1 lies beyond the end of the file"
        ) { $0.put(UInt32($0.count - 48), at: 28) },
        elf("interpreter", "not a kernel: a 32-bit ELF program for user space") {
            $0.put(UInt32(3), at: 52)
        },
        elf("nothing to load", "a damaged ELF file: it has nothing to load") {
            $0.put(UInt32(4), at: 52)
            $0.put(UInt32(4), at: 84)
        },
    ]

    static let segments: [DamagedImage] = [
        segment("linked like a program", "a 32-bit ELF program, or a kernel for another loader") {
            $0[0].virtual = $0[0].physical
            $0[1].virtual = $0[1].physical
        },
        segment(
            "segments that disagree on the page offset",
            "a damaged ELF file: segment 1 has another page offset than the first"
        ) { $0[1].virtual += 0x1000 },
        segment(
            "more bytes in the file than in memory",
            "a damaged ELF file: segment 0 has more bytes in the file than in memory"
        ) { $0[0].memorySize = 0x1FFF },
        segment("overlap", "a damaged ELF file: segments 0 and 1 overlap") {
            $0[0].memorySize += 1
        },
        segment(
            "over the boot parameters",
            "a damaged ELF file: segment 0 lies over the boot parameters"
        ) {
            $0[0].physical = 0x1000
            $0[0].virtual = 0xC000_1000
        },
        segment(
            "offset plus size beyond 4 GiB",
            "an ELF file cut off at byte 16384: segment 0 ends at byte 4294975487"
        ) { $0[0].offset = 0xFFFF_FFFF },
        segment(
            "address plus size beyond 4 GiB",
            "a damaged ELF file: segment 1 reaches beyond 4 GiB"
        ) {
            $0[1].physical = 0xFFFF_F000
            $0[1].virtual = 0xBFFF_F000
        },
        segment(
            "virtual address plus size beyond 4 GiB",
            "a damaged ELF file: segment 1 reaches beyond 4 GiB"
        ) { $0[1].virtual = 0xFFFF_F000 },
        segment("segment outside memory", "it needs 3842 MiB of memory, the guest has 4 MiB") {
            $0[1].physical = 0xF010_0000
            $0[1].virtual = 0xB010_0000
        },
        segment("bss outside memory", "it needs 5 MiB of memory, the guest has 4 MiB") {
            $0[1].memorySize = 0x30_0000
        },
        segment("odd page offset", "a kernel whose page offset cannot be told") {
            $0[0].virtual += 0x1000
            $0[1].virtual += 0x1000
        },
        segment("low page offset", "a kernel whose page offset cannot be told") {
            $0[0].virtual -= 0xA000_0000
            $0[1].virtual -= 0xA000_0000
        },
    ]

    static let kernels: [DamagedImage] = [
        .init(
            "file ends in a segment", Array(ElfSpec.kernel().dropLast(0x1801)),
            "an ELF file cut off at byte 10239: segment 0 ends at byte 12288"),
        .init(
            "file ends after the headers", Array(ElfSpec.kernel().prefix(4096)),
            "an ELF file cut off at byte 4096: segment 0 ends at byte 12288"),
        kernel("lguest off", "Linux 2.6.23 without lguest support (CONFIG_LGUEST_GUEST is off)") {
            $0.hasMagic = false
        },
        kernel(
            "no banner, no mark",
            "not a kernel for lguest: it has no lguest entry and no Linux banner"
        ) {
            $0.hasMagic = false
            $0.banner = nil
        },
        kernel("4.19", "Linux 4.19.0-21-686, which no longer speaks lguest") {
            $0.hasMagic = false
            $0.banner = "Linux version 4.19.0-21-686 (a@b)"
        },
        large("4.19 beyond memory", "Linux 4.19.0-21-686, which no longer speaks lguest") {
            $0.banner = "Linux version 4.19.0-21-686 (a@b)"
        },
        large(
            "3.16 beyond memory",
            "Linux 3.16.0 without lguest support (CONFIG_LGUEST_GUEST is off)"
        ) { $0.banner = "Linux version 3.16.0 (a@b)" },
        large(
            "another system beyond memory",
            "not a kernel for lguest: it has no lguest entry and no Linux banner"
        ) {
            $0.hasMagic = false
            $0.banner = nil
        },
        large("lguest's beyond memory", "it needs 5 MiB of memory, the guest has 4 MiB") { _ in },
        .init(
            "mark at the end of a segment", markAtEnd(),
            "a damaged kernel: its entry 0x103000 is in no segment"),
        .init(
            "64-bit kernel", elf64(address: 0xFFFF_FFFF_8100_0000),
            "a 64-bit kernel (Linux 6.1.0-13-amd64)"),
        .init(
            "64-bit program", elf64(address: 0x40_0000),
            "a 64-bit ELF program, or a kernel for another loader"),
        .init(
            "64-bit program with an interpreter", elf64(address: 0x40_0000, kind: 3),
            "not a kernel: a 64-bit ELF program for user space"),
        .init(
            "64-bit header cut off", Array(elf64(address: 0).prefix(60)),
            "a damaged ELF file: its 64-bit header is cut off"),
    ]

    static let bzImages: [DamagedImage] = [
        bzImage("zImage", "a zImage, not a bzImage (Linux 2.6.23)") { $0.loadFlags = 0 },
        bzImage("64-bit", "a 64-bit kernel (Linux 6.1.0-13-amd64)") {
            $0.protocolVersion = 0x20C
            $0.longFlags = 1
            $0.version = "6.1.0-13-amd64 (debian)"
        },
        bzImage("4.19", "Linux 4.19, which no longer speaks lguest") { $0.version = "4.19 (x)" },
        packed(
            "xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0, 0],
            damage: "corrupt xz data: wrong checksum at byte 2584"),
        packed("bzip2", Array("BZh91AY".utf8)),
        packed("lzma", [0x5D, 0, 0, 0, 1]),
        packed("lzo", [0x89, 0x4C, 0x5A, 0x4F, 0]),
        packed(
            "lz4", [0x02, 0x21, 0x4C, 0x18, 0],
            damage: "corrupt lz4 data at byte 2580: a block of doubtful length"),
        packed(
            "zstd", [0x28, 0xB5, 0x2F, 0xFD, 0],
            damage: "corrupt zstd data at byte 2582: a block of doubtful length"),
        bzImage(
            "4.19 and xz",
            "Linux 4.19.0-21-686, which no longer speaks lguest (a bzImage compressed with xz)"
        ) {
            $0.protocolVersion = 0x20F
            $0.version = "4.19.0-21-686 (x)"
            $0.payload = [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0, 0]
        },
        bzImage("no packed kernel", "a bzImage without a gzip-compressed kernel (Linux 2.6.23)") {
            $0.unpacker = []
            $0.payload = []
        },
        .init(
            "cut off before the packed kernel", Array(BzImageSpec().bytes().prefix(2570)),
            "a bzImage cut off at byte 2570 of \(BzImageSpec().expectedBytes)"),
        .init(
            "cut off in the packed kernel", Array(BzImageSpec().bytes().prefix(2700)),
            "gzip data that ends early at byte 2700"),
        .init(
            "cut off in the checksum",
            Array(BzImageSpec().bytes().prefix(BzImageSpec().trailerOffset + 3)),
            "gzip data that ends early at byte \(BzImageSpec().trailerOffset + 3)"),
        bzImage(
            "wrong checksum",
            "corrupt gzip data: wrong checksum at byte \(BzImageSpec().trailerOffset)"
        ) { $0.payload[$0.payload.count - 8] ^= 1 },
        bzImage(
            "wrong length",
            "corrupt gzip data: wrong length at byte \(BzImageSpec().trailerOffset + 4)"
        ) { $0.payload[$0.payload.count - 4] ^= 1 },
        bzImage("block of unknown kind", "corrupt gzip data at byte 2587: a block of unknown kind")
        {
            $0.payload[10] |= 6
        },
        bzImage("kernel larger than memory", "it needs 5 MiB of memory, the guest has 4 MiB") {
            $0.payload = Packer.gzip([UInt8](repeating: 0, count: 3 << 20 | 1))
        },
        bzImage("64-bit kernel without saying so", "a 64-bit kernel (Linux 6.1.0-13-amd64)") {
            $0.payload = Packer.gzip(elf64(address: 0xFFFF_FFFF_8100_0000))
        },
        bzImage(
            "too few loads to tell the page offset", "a kernel whose page offset cannot be told"
        ) {
            var kernel = KernelSpec().bytes()
            for index in 3..<6 { kernel[64 * index] = 0 }
            $0.payload = Packer.gzip(kernel)
        },
    ]

    /// The same in bzImages.
    static let largeBzImages: [DamagedImage] = [
        bzImage(
            "3.16 beyond memory",
            "Linux 3.16.0 without lguest support (CONFIG_LGUEST_GUEST is off)"
        ) {
            $0.protocolVersion = 0x20C
            $0.version = "3.16.0 (x)"
            $0.payload = Packer.gzip(largeElf { $0.banner = "Linux version 3.16.0 (a@b)" })
        },
        bzImage("lguest's beyond memory", "it needs 5 MiB of memory, the guest has 4 MiB") {
            $0.protocolVersion = 0x20C
            $0.version = "3.16.0 (x)"
            $0.payload = Packer.gzip(
                largeElf {
                    $0.era = .era4d
                    $0.banner = "Linux version 3.16.0 (a@b)"
                })
        },
    ]

    static let strangers: [DamagedImage] = [
        .init("empty", [], "an empty file"),
        stranger("shell script", "#!/bin/sh\necho\n", "a shell script"),
        stranger("bash script", "#! /usr/bin/env bash\n", "a shell script"),
        stranger("script", "#!/usr/bin/python3\n", "a script"),
        stranger("text", "hello\nworld\n", "a text file"),
        stranger("cpio archive", "070701000000", "a cpio archive (an initrd?)"),
        .init("gzip file", Packer.gzip([1, 2, 3]), "not a kernel: a gzip file (unpack it first)"),
        stranger("Windows program", "MZ\0\0PE", "a DOS or Windows program"),
        .init("zeros", [UInt8](repeating: 0, count: 5000), "not a kernel: nothing but zeros"),
        .init(
            "noise", (0..<999).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 3) },
            "not a kernel: data of an unknown kind"),
        .init("one byte", [0x7F], "not a kernel: data of an unknown kind"),
    ]

    static let all = elf + segments + kernels + bzImages + largeBzImages + strangers

    // MARK: How they are made

    private static func elf(
        _ name: String, _ refusal: String, _ damage: (inout [UInt8]) -> Void
    ) -> DamagedImage {
        var bytes = ElfSpec.kernel()
        damage(&bytes)
        return .init(name, bytes, refusal)
    }

    private static func segment(
        _ name: String, _ refusal: String, _ damage: (inout [ElfSpec.Header]) -> Void
    ) -> DamagedImage {
        var spec = ElfSpec()
        damage(&spec.headers)
        return .init(name, spec.bytes(), refusal)
    }

    private static func kernel(
        _ name: String, _ refusal: String, _ damage: (inout KernelSpec) -> Void
    ) -> DamagedImage {
        var spec = KernelSpec()
        damage(&spec)
        return .init(name, ElfSpec.kernel(spec), refusal)
    }

    /// A kernel that ends behind 4 MiB.
    private static func large(
        _ name: String, _ refusal: String, _ change: (inout KernelSpec) -> Void
    ) -> DamagedImage {
        .init(name, largeElf(change), refusal)
    }

    private static func largeElf(_ change: (inout KernelSpec) -> Void) -> [UInt8] {
        var spec = KernelSpec()
        change(&spec)
        var elf = ElfSpec(spec)
        elf.headers[1].memorySize = 0x30_0000
        return elf.bytes()
    }

    private static func bzImage(
        _ name: String, _ refusal: String, _ damage: (inout BzImageSpec) -> Void
    ) -> DamagedImage {
        var spec = BzImageSpec()
        damage(&spec)
        return .init("bzImage: \(name)", spec.bytes(), refusal)
    }

    /// - Parameter damage: of one that mini unpacks: what it finds.
    private static func packed(
        _ method: String, _ signature: [UInt8], damage: String? = nil
    ) -> DamagedImage {
        bzImage(
            method,
            damage
                ?? "a bzImage compressed with \(method) (Linux 3.2.0), which mini does not unpack"
        ) {
            $0.protocolVersion = 0x20F
            $0.version = "3.2.0 (x)"
            $0.payload = signature + [UInt8](repeating: 7, count: 500)
        }
    }

    private static func stranger(_ name: String, _ text: String, _ kind: String) -> DamagedImage {
        .init(name, Array(text.utf8), "not a kernel: \(kind)")
    }

    private static func markAtEnd() -> [UInt8] {
        var spec = KernelSpec()
        spec.hasMagic = false
        var bytes = spec.bytes()
        bytes.put("GenuineLguest", at: bytes.count - 13)
        var elf = ElfSpec(spec)
        elf.contents = [(0x1000, bytes)]
        return elf.bytes()
    }

    private static func elf64(address: UInt64, kind: UInt32 = 1) -> [UInt8] {
        var file = [UInt8](repeating: 0, count: 512)
        file.put([0x7F, 0x45, 0x4C, 0x46, 2, 1, 1], at: 0)
        file.put(UInt16(2), at: 16)
        file.put(UInt16(62), at: 18)
        file.put(UInt64(64), at: 32)
        file.put(UInt16(56), at: 54)
        file.put(UInt16(1), at: 56)
        file.put(kind, at: 64)
        file.put(address, at: 80)
        file.put("Linux version 6.1.0-13-amd64 (debian)\n", at: 200)
        return file
    }
}
