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

    @Test("no length of any beginning is too short to look at")
    func short() {
        for length in 0..<600 {
            ByteView.of([UInt8](repeating: 0x1F, count: length)) { view in
                #expect(!FileKind.describe(view).bytes.isEmpty)
            }
        }
    }
}
