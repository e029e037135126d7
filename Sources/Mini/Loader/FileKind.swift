// Says what a file is that is no kernel, from its first bytes, so that the refusal helps.
// Sources: the formats' published signatures.

enum FileKind {
    /// - Returns: as "a shell script"; "data of an unknown kind" if nothing is recognised.
    static func describe(_ file: ByteView) -> Text {
        if let kind = signature(file) { return kind }
        if file.has("#!") { return script(file) }
        if file.has("ustar", at: 257) { return "a tar archive" }
        if file.half(510) == 0xAA55 { return "a boot sector or disk image" }
        if file.half(0x438) == 0xEF53 { return "an ext2 file system" }
        if file.has("CD001", at: 0x8001) { return "a CD image" }
        if isText(file) { return "a text file" }
        if isZero(file) { return "nothing but zeros" }
        return "data of an unknown kind"
    }

    /// Why a file is refused that begins as no kernel does.
    /// - Returns: `.unified` if what is inside may be started as a PC's kernel.
    static func refusal(_ file: ByteView) -> ImageError {
        let image: UnifiedImage?
        do throws(ImageError) { image = try UnifiedImage(file) } catch { return error }
        if let inside = image.flatMap({ $0.kernel.bytes(of: file) }) {
            if SetupHeader(inside) != nil { return .unified }
            if ElfImage.isElf(inside) {
                do throws(ImageError) { _ = try Vmlinux(inside) } catch { return error }
                return .unified
            }
            if let kind = foreignKernel(inside) { return .foreignKernel(kind) }
            return .notAKernel("a unified kernel image with \(describe(inside)) as its .linux")
        }
        if let kind = foreignKernel(file) { return .foreignKernel(kind) }
        return .notAKernel(describe(file))
    }

    /// A kernel that no PC starts: as "an arm64 Image". docs/abi/pc.md §1.2.
    static func foreignKernel(_ file: ByteView) -> Text? {
        if file.has("ARM\u{64}", at: 0x38) { return "an arm64 Image" }
        if file.has("RISCV", at: 0x30) { return "a RISC-V Image" }
        if file.word(0x24) == 0x016F_2818 { return "an Arm zImage" }
        guard file.has("MZ"), file.has("zimg", at: 4) else { return nil }
        let method = file.line(at: 0x18, limit: 8)
        guard let header = UnifiedImage.header(file), let machine = file.half(header + 4) else {
            return "an EFI zboot image compressed with \(visible: method)"
        }
        return "an EFI zboot image for \(self.machine(machine)), compressed with \(visible: method)"
    }

    /// Source: Microsoft's PE format.
    static func machine(_ number: UInt16) -> Text {
        switch number {
        case 0x014C: "i386"
        case 0x8664: "x86-64"
        case 0xAA64: "AArch64"
        case 0x01C2: "Arm"
        case 0x5064: "RISC-V"
        case 0x6264: "LoongArch"
        default: "machine \(hex: number)"
        }
    }

    private static func signature(_ file: ByteView) -> Text? {
        if file.has([0x1F, 0x8B], at: 0) { return "a gzip file (unpack it first)" }
        if file.has([0x1F, 0x9D], at: 0) { return "a compress (.Z) file" }
        if file.has(Xz.signature, at: 0) { return "an xz file" }
        if file.has("BZh") { return "a bzip2 file" }
        if file.word(0) == UInt32(Zstd.signature) { return "a zstd file" }
        if file.has([0x04, 0x22, 0x4D, 0x18], at: 0) { return "an lz4 file" }
        if file.word(0) == UInt32(Lz4.signature) { return "an lz4 file" }
        if file.has([0x5D, 0, 0], at: 0) { return "an lzma file" }
        if file.has("070701") || file.has("070702") || file.has("070707")
            || file.has([0xC7, 0x71], at: 0)
        {
            return "a cpio archive (an initrd?)"
        }
        if file.has("MZ") {
            return UnifiedImage.header(file) == nil
                ? "a DOS or Windows program" : "a DOS, Windows or EFI program"
        }
        if file.has("hsqs") { return "a squashfs file system" }
        if file.has([0x45, 0x3D, 0xCD, 0x28], at: 0) { return "a cramfs file system" }
        if file.has("-rom1fs-") { return "a romfs file system" }
        if file.has("QFI") && file.byte(3) == 0xFB { return "a qcow disk image" }
        if file.has("!<arch>\n") { return "an ar archive or Debian package" }
        if file.has("PK") && file.half(2) == 0x0403 { return "a zip archive" }
        if file.has([0xCA, 0xFE, 0xBA, 0xBE], at: 0) { return "a Java class or Mach-O file" }
        if file.has([0xCF, 0xFA, 0xED, 0xFE], at: 0) { return "a Mach-O program" }
        if file.has([0x27, 0x05, 0x19, 0x56], at: 0) { return "a U-Boot image" }
        return nil
    }

    private static func script(_ file: ByteView) -> Text {
        let line = file.line(at: 2, limit: 80)
        return Text(bytes: Array(line.bytes.suffix(2))) == "sh" ? "a shell script" : "a script"
    }

    private static func isText(_ file: ByteView) -> Bool {
        for offset in 0..<min(file.count, 512) {
            switch file[offset] {
            case 0x09, 0x0A, 0x0C, 0x0D, 0x1B, 0x20...0x7E, 0x80...0xFF: continue
            default: return false
            }
        }
        return true
    }

    private static func isZero(_ file: ByteView) -> Bool {
        for offset in 0..<min(file.count, 4096) where file[offset] != 0 { return false }
        return true
    }
}
