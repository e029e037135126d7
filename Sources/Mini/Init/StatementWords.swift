// The words of one statement, taken one by one by whoever reads it.

struct StatementWords {
    /// Where the statement begins.
    let position: TablePosition
    let name: Text
    let usage: StaticText
    /// Those that are not taken yet.
    private(set) var rest: ArraySlice<TableWord>

    init(_ words: [TableWord], at position: TablePosition, usage: StaticText) {
        self.position = position
        self.usage = usage
        name = words.first?.text ?? Text()
        rest = words.dropFirst()
    }

    @inline(never)
    func error(_ reason: TableError.Reason, at word: TableWord? = nil) -> TableError {
        var place = position
        if let word { place.column = word.column }
        return TableError(position: place, reason: reason)
    }

    /// - Parameter what: the word's meaning, as "the file's name".
    @inline(never)
    mutating func next(_ what: StaticText) throws(TableError) -> Text {
        guard let word = rest.first else { throw error(.missing(what, usage: usage)) }
        rest = rest.dropFirst()
        return word.text
    }

    /// A domain's number, or where in the store it stands.
    mutating func domain() throws(TableError) -> Text {
        let first = rest.first
        let word = try next("the domain")
        guard word.isStorePath || word.number.flatMap({ DomainID($0) }) != nil else {
            throw error(.notA("a domain: 0 to 32751, or @PATH", word), at: first)
        }
        return word
    }

    /// An event port's number, or where in the store it stands.
    mutating func port() throws(TableError) -> Text {
        let first = rest.first
        let word = try next("the port")
        guard word.isStorePath || word.number.flatMap({ EventPort($0) }) != nil else {
            throw error(.notA("an event port, or @PATH", word), at: first)
        }
        return word
    }

    /// All that are left, at least one.
    @inline(never)
    mutating func all(_ what: StaticText) throws(TableError) -> [Text] {
        if rest.isEmpty { throw error(.missing(what, usage: usage)) }
        defer { rest = [] }
        return rest.map { $0.text }
    }

    /// All that are left as one text, blanks between them.
    mutating func joined() -> Text {
        var text = Text()
        for word in rest {
            if !text.bytes.isEmpty { text.append(UInt8(ascii: " ")) }
            text += word.text
        }
        rest = []
        return text
    }

    @inline(never)
    func end() throws(TableError) {
        if let word = rest.first { throw error(.unexpectedWord(word.text), at: word) }
    }

    // MARK: Options

    /// Reads the rest as options: NAME, or NAME=VALUE.
    /// - Parameter take: puts one into its place; false if it has no such option.
    mutating func options(
        _ take: (TableOption) throws(TableError) -> Bool
    ) throws(TableError) {
        while let word = rest.first {
            rest = rest.dropFirst()
            let option = TableOption(word, of: self)
            if try !take(option) { throw error(.unknownOption(option.name), at: word) }
        }
    }
}

/// `NAME` or `NAME=VALUE`.
struct TableOption {
    let name: Text
    private let value: Text?
    private let word: TableWord
    private let statement: StatementWords

    init(_ word: TableWord, of statement: StatementWords) {
        self.word = word
        self.statement = statement
        let bytes = word.text.bytes
        if let equals = bytes.firstIndex(of: UInt8(ascii: "=")) {
            name = Text(bytes: Array(bytes[..<equals]))
            value = Text(bytes: Array(bytes[(equals + 1)...]))
        } else {
            name = word.text
            value = nil
        }
    }

    @inline(never)
    private func error(_ wanted: StaticText) -> TableError {
        statement.error(.notA(wanted, value ?? name), at: word)
    }

    /// An option without a value.
    @inline(never)
    func flag() throws(TableError) -> Bool {
        if value != nil { throw statement.error(.unexpectedWord(word.text), at: word) }
        return true
    }

    @inline(never)
    func text() throws(TableError) -> Text {
        guard let value, !value.bytes.isEmpty else { throw error("an option with a value") }
        return value
    }

    @inline(never)
    func count() throws(TableError) -> Int {
        guard let number = try text().number, let count = Int32(exactly: number) else {
            throw error("a number from 0 to 2147483647, decimal or 0x")
        }
        return Int(count)
    }

    /// An event port's number, or where in the store it stands.
    func port() throws(TableError) -> Text {
        let word = try text()
        guard word.isStorePath || word.number.flatMap({ EventPort($0) }) != nil else {
            throw error("an event port, or @PATH")
        }
        return word
    }

    @inline(never)
    func time() throws(TableError) -> Nanoseconds {
        guard let time = TableTime.read(try text()) else { throw error(TableTime.wanted) }
        return time
    }
}

/// A length of time as the table writes it: `5`, `5s`, `250ms`.
enum TableTime {
    static let wanted: StaticText = "a time: seconds, or milliseconds as 250ms"
    private static let longest: UInt64 = 1 << 31

    static func read(_ word: Text) -> Nanoseconds? {
        if let milliseconds = word.dropping(suffix: "ms") {
            return milliseconds.number.flatMap {
                $0 > longest ? nil : .milliseconds($0)
            }
        }
        return (word.dropping(suffix: "s") ?? word).number.flatMap {
            $0 > longest ? nil : .milliseconds($0 * 1000)
        }
    }
}
