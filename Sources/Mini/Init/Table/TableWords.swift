// The bytes of a boot table cut into words, each with the column where it begins.
//
// A line of the file: words with blanks between; '…' and "…" keep blanks in a word; # where a word
// would begin starts a comment. A word of the kernel's command line is cut as the kernel cuts it,
// where "…" keeps blanks and is itself dropped; what is after `mini.NAME=` is then a line
// in which '…' keeps blanks. Source: docs/boot-table.md, kernel-parameters of the kernel's manual,
// GRUB's grub-core/lib/cmdline.c.

/// A byte and the column where it stands, from 1.
struct TableByte {
    var byte: UInt8
    var column: Int
}

enum TableWords {
    private static let single = UInt8(ascii: "'")
    private static let double = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")

    /// What keeps a line from being words: the column and why.
    struct Failure: Error {
        var column: Int
        var reason: TableError.Reason
    }

    /// Cuts a line of the file.
    static func cut(line: ArraySlice<UInt8>) throws(Failure) -> [TableWord] {
        var located: [TableByte] = []
        located.reserveCapacity(line.count)
        for (index, byte) in line.enumerated() {
            located.append(TableByte(byte: byte, column: index + 1))
        }
        return try cut(located, hasComments: true)
    }

    /// Cuts bytes into words.
    static func cut(_ line: [TableByte], hasComments: Bool) throws(Failure) -> [TableWord] {
        var words: [TableWord] = []
        var word: TableWord?
        var quote: TableByte?
        for (index, entry) in line.enumerated() {
            let byte = entry.byte
            if quote == nil && byte >= 0xC2 && isInvisible(line[index...]) {
                throw Failure(column: entry.column, reason: .invisible)
            }
            if byte == 0x7F || (byte < 0x20 && !isBlank(byte)) {
                throw Failure(column: entry.column, reason: .badByte(byte))
            }
            if let open = quote {
                if byte == open.byte {
                    quote = nil
                } else if open.byte == double {
                    word?.append(byte)
                } else {
                    word?.text.append(byte)
                }
            } else if isBlank(byte) {
                if let word { words.append(word) }
                word = nil
            } else if hasComments, word == nil, byte == UInt8(ascii: "#") {
                return words
            } else {
                let isQuote = byte == single || byte == double
                if word == nil {
                    word = TableWord(text: Text(), column: entry.column, isQuoted: isQuote)
                }
                if isQuote {
                    quote = entry
                } else {
                    word?.append(byte)
                }
            }
        }
        if let quote { throw Failure(column: quote.column, reason: .unclosedQuote) }
        if let word { words.append(word) }
        return words
    }

    /// Cuts the kernel's command line into its parameters. A quotation mark that is not closed is
    /// closed by the end, as for the kernel.
    static func parameters(of line: [UInt8]) -> [[TableByte]] {
        var parameters: [[TableByte]] = []
        var parameter: [TableByte] = []
        var isQuoted = false
        let hasEscapes = isEscaped(line)
        var isEscape = false
        for (index, byte) in line.enumerated() {
            if hasEscapes && !isEscape && byte == backslash {
                isEscape = true
                continue
            }
            defer { isEscape = false }
            if byte == double && !isEscape {
                isQuoted.toggle()
            } else if isBlank(byte) && !isQuoted {
                if !parameter.isEmpty { parameters.append(parameter) }
                parameter = []
            } else {
                parameter.append(TableByte(byte: byte, column: index + 1))
            }
        }
        if !parameter.isEmpty { parameters.append(parameter) }
        return parameters
    }

    /// True if a boot loader, as GRUB does, has put a backslash before each quotation mark and backslash of the
    /// parameters: a single mark has none without, and no backslash is before anything else. A line that a
    /// person has written is so only if it was meant so.
    private static func isEscaped(_ line: [UInt8]) -> Bool {
        var isEscaped = false
        var isEscape = false
        for byte in line {
            let isMark = byte == single || byte == double
            if isEscape {
                if !isMark && byte != backslash { return false }
                isEscaped = isEscaped || isMark
            } else if byte == single {
                return false
            }
            isEscape = !isEscape && byte == backslash
        }
        return isEscaped && !isEscape
    }

    /// True for UTF-8 of a character that cannot be seen: another blank, a mark of no width, an order to turn the line
    /// round. Source: Unicode's DerivedCoreProperties.txt (Default_Ignorable_Code_Point), PropList.txt
    /// (White_Space); controls from 0x80, marks of annotations and the empty Braille pattern besides.
    private static func isInvisible(_ bytes: ArraySlice<TableByte>) -> Bool {
        guard let lead = bytes.first?.byte else { return false }
        let count = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3
        let rest = bytes.dropFirst().prefix(count)
        // Else it is text of another encoding.
        guard rest.count == count, rest.allSatisfy({ $0.byte & 0xC0 == 0x80 }) else { return false }
        let first = UInt32(lead & 0x3F >> count)
        return switch rest.reduce(first, { $0 << 6 | UInt32($1.byte & 0x3F) }) {
        case 0x80...0xA0, 0xAD, 0x34F, 0x61C, 0x115F...0x1160, 0x1680, 0x17B4...0x17B5,
            0x180B...0x180F, 0x2000...0x200F, 0x2028...0x202F, 0x205F...0x206F, 0x2800, 0x3000,
            0x3164, 0xFE00...0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0...0xFFFB, 0x1_BCA0...0x1_BCA3,
            0x1_D173...0x1_D17A, 0xE_0000...0xE_0FFF:
            true
        default: false
        }
    }

    /// Blanks, and the ends of lines that come from elsewhere.
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == 9 || byte == 10 || byte == 13
    }
}

extension TableWord {
    /// Appends a byte that single quotation marks do not protect.
    fileprivate mutating func append(_ byte: UInt8) {
        if byte == UInt8(ascii: "{"), text.bytes.last == UInt8(ascii: "@") {
            marks.append(text.bytes.count - 1)
        }
        text.append(byte)
    }
}
