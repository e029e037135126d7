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

    @Test("a program for EFI firmware is told from one for DOS")
    func programs() {
        var file = [UInt8](repeating: 0, count: 0x400)
        func said() -> Text { ByteView.of(file) { FileKind.refusal($0).text } }
        file.put(Array("MZ".utf8), at: 0)
        #expect(said() == "not a kernel: a DOS or Windows program")
        file.put(UInt32(0x80), at: 0x3C)
        file.put(Array("PE\0\0".utf8), at: 0x80)
        file.put(UInt16(2), at: 0x86)
        file.put(UInt16(0x70), at: 0x94)
        file.put(Array(".osrel".utf8), at: 0x108)
        #expect(said() == "not a kernel: a DOS, Windows or EFI program")
        file.put(Array(".linuxes".utf8), at: 0x108 + 40)
        #expect(said() == "not a kernel: a DOS, Windows or EFI program")
        // Sections that are not there.
        file.put(UInt16.max, at: 0x86)
        file.put(UInt16.max, at: 0x94)
        #expect(said() == "not a kernel: a DOS, Windows or EFI program")
        file.put(UInt32.max, at: 0x3C)
        #expect(said() == "not a kernel: a DOS or Windows program")
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
