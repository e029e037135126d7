// The words of one statement, taken one by one by the statement's reader.

struct StatementWords {
    /// Where the statement begins.
    let position: TablePosition
    let name: Text
    let usage: StaticText
    /// False where process 1 opens nothing for a program.
    private let opens: Bool
    /// Those that are not taken yet.
    private(set) var rest: ArraySlice<TableWord>

    init(_ words: [TableWord], at position: TablePosition, usage: StaticText, opens: Bool = false) {
        self.position = position
        self.usage = usage
        self.opens = opens
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

    /// The name of a file or folder, or a path in the store, that leads nowhere else.
    @inline(never)
    mutating func path(_ what: StaticText) throws(TableError) -> Text {
        let first = rest.first
        let word = try next(what)
        if word.hasParent { throw error(.notA(.pathWithoutParents, word), at: first) }
        if !word.isFileName { throw error(.notA(.fileName, word), at: first) }
        return word
    }

    /// The file of a socket.
    mutating func socket() throws(TableError) -> Text {
        let first = rest.first
        let name = try path("the socket's file")
        if name.bytes.count > StreamSocket.longestName {
            throw error(.notA(.socketName, name), at: first)
        }
        return name
    }

    /// A path in the store.
    mutating func entry(_ what: StaticText) throws(TableError) -> Text {
        let first = rest.first
        let word = try next(what)
        if let flaw = TableLookup.flaw(of: word, .store) { throw error(flaw, at: first) }
        return word
    }

    /// A word that is not empty.
    mutating func some(_ what: StaticText) throws(TableError) -> Text {
        let first = rest.first
        let word = try next(what)
        if word.bytes.isEmpty { throw error(.notA("a word with something in it", word), at: first) }
        return word
    }

    /// A program and its arguments: all that are left.
    mutating func program() throws(TableError) -> [Text] {
        let first = rest.first
        let program = try path("the program")
        if program.namesFolder {
            throw error(.notA("a program: it is a folder", program), at: first)
        }
        defer { rest = [] }
        return [program] + rest.map { $0.text }
    }

    /// The name of a network device.
    mutating func interface() throws(TableError) -> InterfaceName {
        let first = rest.first
        let word = try next("the device")
        guard let name = InterfaceName(word) else {
            throw error(.notA(.interfaceName, word), at: first)
        }
        return name
    }

    /// The path of a word that says where in the store it stands: a good one. Nil for a word that says it itself.
    @inline(never)
    private func entry(_ word: Text, at place: TableWord?) throws(TableError) -> Text? {
        guard let path = word.storePath else { return nil }
        if let flaw = TableLookup.flaw(of: path, .store) { throw error(flaw, at: place) }
        return path
    }

    /// What a word stands for; nil for one that is neither an entry nor what `read` takes.
    func meaning<Value: Equatable>(
        _ word: Text, at place: TableWord?, _ read: (Text) -> Value?
    ) throws(TableError) -> ValueOrEntry<Value>? {
        if let path = try entry(word, at: place) { return .entry(path) }
        return read(word).map { .value($0) }
    }

    mutating func domain() throws(TableError) -> ValueOrEntry<DomainID> {
        let first = rest.first
        let word = try next("the domain")
        guard let domain = try meaning(word, at: first, DomainID.init(word:)) else {
            throw error(.notA("a domain: 0 to 32751, or @PATH", word), at: first)
        }
        return domain
    }

    mutating func references() throws(TableError) -> ValueOrEntry<[GrantReference]> {
        let first = rest.first
        guard first != nil else { throw error(.missing("the grant references", usage: usage)) }
        let word = try next("the grant references")
        guard let references = try meaning(word, at: first, GrantList.references) else {
            throw error(.notA("a list of grants as 8,12-15, or @PATH", word), at: first)
        }
        return references
    }

    mutating func port() throws(TableError) -> ValueOrEntry<EventPort> {
        let first = rest.first
        let word = try next("the port")
        guard let port = try meaning(word, at: first, EventPort.init(word:)) else {
            throw error(.notA(.eventPort, word), at: first)
        }
        return port
    }

    /// What stands in front of a program, as a shell has it: what is open, as `3</dev/x`, and variables, as `NAME=VALUE`.
    @inline(never)
    mutating func front() throws(TableError) -> ProgramFront {
        var front = ProgramFront()
        while let word = rest.first {
            if word.text.isVariable {
                if front.variables.count == Self.mostVariables {
                    throw error(.notA("one of at most 64 variables", word.text), at: word)
                }
                front.variables.append(word.text)
            } else if let next = try ProgramDescriptor(word, of: self) {
                if !opens {
                    throw error(
                        .notA(
                            "a program: only run, start, respawn and vital take descriptors",
                            word.text), at: word)
                }
                if front.descriptors.contains(where: { $0.number == next.number }) {
                    throw error(.twice("descriptor \(next.number)"), at: word)
                }
                // Others that are open there are process 1's own.
                if case .same(let other) = next.target, other > 2,
                    !front.descriptors.contains(where: { $0.number == other })
                {
                    throw error(
                        .notA(
                            "0, 1, 2 or a descriptor that stands before it",
                            "\(other)"), at: word)
                }
                front.descriptors.append(next)
            } else {
                break
            }
            rest = rest.dropFirst()
        }
        return front
    }
    /// More are none that a person wrote.
    private static let mostVariables = 64

    /// Files that are sent, written as descriptors; a quoted word is the message.
    mutating func files() throws(TableError) -> [ProgramDescriptor] {
        var files: [ProgramDescriptor] = []
        while let word = rest.first, !word.isQuoted,
            let next = try ProgramDescriptor(word, of: self)
        {
            rest = rest.dropFirst()
            if files.count == Self.mostSent { throw error(.unexpectedWord(word.text), at: word) }
            if !next.target.isSendable {
                throw error(.notA("a file, console:NAME or socket:FILE", word.text), at: word)
            }
            files.append(next)
        }
        return files
    }
    /// More go through no socket of programs that people have.
    private static let mostSent = 16

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
        var seen: [Text] = []
        while let word = rest.first {
            rest = rest.dropFirst()
            let option = TableOption(word, of: self)
            if try !take(option) { throw error(.unknownOption(option.name), at: word) }
            // A device can have several addresses; of other things the last would count, unseen.
            if seen.contains(option.name) && !(option.name == "address") {
                throw error(.twice("option \(option.name)"), at: word)
            }
            seen.append(option.name)
        }
    }
}

extension Text {
    /// True for `NAME=VALUE` with a name as a shell's variables have it.
    var isVariable: Bool {
        guard let equals = firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return false }
        for (index, byte) in bytes[..<equals].enumerated() {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "_"):
                continue
            case UInt8(ascii: "0")...UInt8(ascii: "9") where index > 0: continue
            default: return false
            }
        }
        return true
    }
}

extension StaticText {
    fileprivate static var interfaceName: StaticText { "a network device's name: 1 to 15 bytes" }
    fileprivate static var eventPort: StaticText { "an event port, or @PATH" }
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
    func error(_ wanted: StaticText) -> TableError {
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

    /// The name of a file that leads nowhere else.
    func path() throws(TableError) -> Text {
        let text = try text()
        if text.hasParent { throw error(.pathWithoutParents) }
        if !text.isFileName { throw error(.fileName) }
        return text
    }

    func interface() throws(TableError) -> InterfaceName {
        guard let name = InterfaceName(try text()) else {
            throw error(.interfaceName)
        }
        return name
    }

    func hardwareAddress() throws(TableError) -> HardwareAddress {
        guard let address = HardwareAddress(try text()) else {
            throw error("an Ethernet address as 02:00:00:00:00:01")
        }
        // The kernel gives no interface the address of a group, or none.
        if address.bytes[0] & 1 != 0 || address.bytes.allSatisfy({ $0 == 0 }) {
            throw error("the Ethernet address of one station")
        }
        return address
    }

    func network() throws(TableError) -> InternetNetwork {
        guard let network = InternetNetwork(try text()) else {
            throw error("an address as 10.0.0.1/24 or fd00::1/64")
        }
        return network
    }

    @inline(never)
    func count() throws(TableError) -> Int {
        guard let number = try text().number, let count = Int32(exactly: number) else {
            throw error("a number from 0 to 2147483647, decimal or 0x")
        }
        return Int(count)
    }

    func port() throws(TableError) -> ValueOrEntry<EventPort> {
        guard let port = try statement.meaning(try text(), at: word, EventPort.init(word:)) else {
            throw error(.eventPort)
        }
        return port
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
