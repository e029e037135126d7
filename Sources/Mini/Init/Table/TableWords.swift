// The bytes of a boot table cut into words, each with the column where it begins.
//
// A line of the file: words with blanks between; '…' and "…" keep blanks in a word; # where a word
// would begin starts a comment. A word of the kernel's command line is cut as the kernel cuts it,
// where "…" keeps blanks and is itself dropped; what is behind `mini.NAME=` is then a line
// in which '…' keeps blanks. Source: docs/boot-table.md, kernel-parameters of the kernel's manual.

/// A byte and the column where it stands, from 1.
struct TableByte {
    var byte: UInt8
    var column: Int
}

enum TableWords {
    private static let single = UInt8(ascii: "'")
    private static let double = UInt8(ascii: "\"")

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
                if word == nil { word = TableWord(text: Text(), column: entry.column) }
                if byte == single || byte == double {
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
        for (index, byte) in line.enumerated() {
            if byte == double {
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

    /// A no-break space, a space of no width or a byte order mark, in UTF-8.
    private static func isInvisible(_ bytes: ArraySlice<TableByte>) -> Bool {
        let start = Text(bytes: bytes.prefix(3).map { $0.byte })
        return start.dropping(prefix: "\u{A0}") != nil || start == "\u{200B}" || start == "\u{FEFF}"
            || start == "\u{202F}"
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
