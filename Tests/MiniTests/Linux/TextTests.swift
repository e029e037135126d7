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

    @Test("so are those of two bytes, and what is no UTF-8; other letters stay as they are")
    func longControls() {
        func visible(_ bytes: [UInt8]) -> Text { "\(visible: Text(bytes: bytes))" }
        #expect(
            visible([0x61, 0xC2, 0x80, 0x62, 0xC2, 0x9B, 0xC2, 0x9F])
                == ("a\\xc2\\x80b\\xc2\\x9b\\xc2\\x9f" as Text))
        for bytes in [
            [], [0x61], [0xC2, 0xA0], [0xC3, 0x9B], [0xE2, 0x82, 0xAC], [0xF0, 0x9F, 0x90, 0xA7],
            [0x61, 0xC3, 0x9B, 0x62],
        ] as [[UInt8]] {
            #expect(visible(bytes).bytes == bytes)
        }
        for (bytes, text) in [
            // What a terminal of eight bits takes for the beginning of a control sequence.
            ([0x9B, 0x61], "\\x9ba"), ([0xC2], "\\xc2"), ([0xC2, 0xC2, 0xA9], "\\xc2\u{A9}"),
            ([0xE9, 0x74], "\\xe9t"), ([0xE2, 0x82], "\\xe2\\x82"), ([0xFF], "\\xff"),
            // The same, said too long.
            ([0xE0, 0x82, 0x9B], "\\xe0\\x82\\x9b"),
        ] as [([UInt8], String)] {
            #expect(visible(bytes) == Text(stringLiteral: text))
        }
    }

    @Test("an errno prints as words and name")
    func errno() {
        #expect(("\(Errno.noSuchFile)" as Text) == ("no such file (ENOENT)" as Text))
        #expect(("\(Errno(rawValue: 4000))" as Text) == ("error (errno 4000)" as Text))
        // What mounts, values, routes and sockets of a boot table get as a rule, and files on a network's file systems.
        for number: Int32 in [15, 18, 34, 37, 74, 84, 91, 113, 116, 117, 122] {
            #expect(Errno(rawValue: number).words.name.description.hasPrefix("E"), "\(number)")
        }
    }
}
