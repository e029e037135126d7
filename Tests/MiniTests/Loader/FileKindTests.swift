import Testing

@testable import Mini

@Suite struct FileKindTests {
    @Test(
        "what has its mark further in is known as well",
        arguments: [
            (257, Array("ustar".utf8), "a tar archive"),
            (510, [0x55, 0xAA], "a boot sector or disk image"),
            (0x438, [0x53, 0xEF], "an ext2 file system"),
            (0x8001, Array("CD001".utf8), "a CD image"),
        ] as [(Int, [UInt8], String)])
    func marks(_ offset: Int, _ mark: [UInt8], _ kind: String) {
        var file = [UInt8](repeating: 0, count: 0x9000)
        file.put(mark, at: offset)
        ByteView.of(file) { #expect(FileKind.describe($0) == Text(stringLiteral: kind)) }
    }

    @Test("a program for EFI firmware is told from one that holds a kernel")
    func unified() {
        var file = [UInt8](repeating: 0, count: 0x400)
        file.put(Array("MZ".utf8), at: 0)
        file.put(UInt32(0x80), at: 0x3C)
        file.put(Array("PE\0\0".utf8), at: 0x80)
        file.put(UInt16(2), at: 0x86)
        file.put(UInt16(0x70), at: 0x94)
        file.put(Array(".osrel".utf8), at: 0x108)
        ByteView.of(file) { #expect(FileKind.describe($0) == "a DOS, Windows or EFI program") }
        file.put(Array(".linux".utf8), at: 0x108 + 40)
        let unified: Text =
            "a unified kernel image (objcopy -O binary -j .linux takes the kernel out of it)"
        ByteView.of(file) { #expect(FileKind.describe($0) == unified) }
        // Behind the sections that are there, and where the file ends.
        file.put(UInt16(1), at: 0x86)
        ByteView.of(file) { #expect(FileKind.describe($0) == "a DOS, Windows or EFI program") }
        file.put(UInt16.max, at: 0x86)
        file.put(UInt16.max, at: 0x94)
        ByteView.of(file) { #expect(FileKind.describe($0) == "a DOS, Windows or EFI program") }
    }

    @Test("no length of any beginning is too short to look at")
    func short() {
        for length in 0..<600 {
            ByteView.of([UInt8](repeating: 0x1F, count: length)) { view in
                #expect(!FileKind.describe(view).bytes.isEmpty)
            }
        }
    }
}
