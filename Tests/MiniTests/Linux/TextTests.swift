import Testing

@testable import Mini

@Suite struct TextTests {
    @Test("numbers print in decimal and hexadecimal, padded where asked")
    func numbers() {
        #expect(("\(0) \(-12) \(hex: UInt32(255), width: 4)" as Text) == ("0 -12 0x00ff" as Text))
    }

    @Test("control characters of a file name are made visible")
    func quoting() {
        #expect(("\(quoted: "a\u{1B}b")" as Text) == ("\"a\\x1bb\"" as Text))
    }

    @Test("an errno prints as words and name")
    func errno() {
        #expect(("\(Errno.noSuchFile)" as Text) == ("no such file (ENOENT)" as Text))
        #expect(("\(Errno(rawValue: 4000))" as Text) == ("error (errno 4000)" as Text))
    }
}
