import Testing

@testable import Mini

@Suite struct CpioTests {
    @Test(
        "a header has the format's fields, 8 hexadecimal digits each, then the path, filled up to four"
    )
    func header() throws {
        let member = ArchiveMember(
            path: try ArchivePath("dev/sda"), mode: FileMode.blocks | 0o640,
            number: DeviceNumber(major: 8, minor: 0x12345))
        let text = string(Cpio.header(member, inode: 0x1F, time: 0xFFFF_FFFF))
        let fields = [
            "070701", "0000001f", "000061a0", "00000000", "00000000", "00000001", "ffffffff",
            "00000000", "00000000", "00000000", "00000008", "00012345", "00000008", "00000000",
        ]
        #expect(text == fields.joined() + "dev/sda\0" + "\0\0")
        #expect(text.utf8.count % 4 == 0)
    }

    @Test("the size is a file's or a target's, and a directory has two links")
    func sizes() throws {
        let path = try ArchivePath("abc")
        func field(_ index: Int, _ mode: UInt32, _ body: ArchiveMember.Body) -> String {
            let member = ArchiveMember(path: path, mode: mode, body: body)
            return String(
                string(Cpio.header(member, inode: 1, time: 0)).dropFirst(6 + 8 * index).prefix(8))
        }
        #expect(field(6, FileMode.regular, .file("x", size: 0xFFFF_FFFF)) == "ffffffff")
        #expect(field(6, FileMode.link, .target("../etc")) == "00000006")
        #expect(field(6, FileMode.directory, .none) == "00000000")
        #expect(field(4, FileMode.directory, .none) == "00000002")
        #expect(field(4, FileMode.regular, .file("x", size: 0)) == "00000001")
    }

    @Test("the last member has the name that ends an archive")
    func end() {
        #expect(string(Cpio.end).hasSuffix("0000000b00000000TRAILER!!!\0\0\0\0"))
        #expect(Cpio.end.bytes.count == 124)
    }

    @Test(
        "what is missing to the next multiple", arguments: [(0, 0), (1, 511), (512, 0), (513, 511)])
    func zeros(count: UInt64, missing: Int) {
        #expect(Cpio.zeros(to: 512, from: count).bytes == [UInt8](repeating: 0, count: missing))
    }
}
