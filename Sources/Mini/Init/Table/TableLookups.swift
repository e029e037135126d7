// What a word of the table looks up when its statement is carried out: `@{PATH}` stands for an entry of the
// store, `@{file:NAME}` for a file's contents, `@{PATH/*}` for all entries below a path, a word each.
// A path can have lookups in it. What others have put there is checked here, once: no zero bytes, no
// `..` in a path, no list with a hole, no argument that is empty unawares. Grammar: docs/boot-table.md.

/// A word as pieces that stand for themselves and pieces that are looked up.
struct TableTemplate: Equatable {
    indirect enum Piece: Equatable {
        case plain(Text)
        case lookup(TableLookup)
    }
    var pieces: [Piece] = []

    /// A lookup in a lookup in a lookup is more than a person reads.
    private static let deepest = 4

    /// What is wrong with a word.
    struct Flaw: Error {
        var reason: TableError.Reason
    }

    init(_ word: TableWord) throws(Flaw) {
        var rest = word.text.bytes[...]
        pieces = try Self.pieces(&rest, word.marks, depth: 0)
        for case .lookup(let lookup) in pieces where lookup.isList && pieces.count > 1 {
            throw Flaw(reason: .notA("a list, which is a word of its own", word.text))
        }
    }

    /// - Parameter marks: where `@{` begins a lookup.
    private static func pieces(
        _ rest: inout ArraySlice<UInt8>, _ marks: [Int], depth: Int
    ) throws(Flaw) -> [Piece] {
        var pieces: [Piece] = []
        var plain = Text()
        while let byte = rest.first {
            if depth > 0, byte == UInt8(ascii: "}") || isFallback(rest) { break }
            if marks.contains(rest.startIndex) {
                if !plain.bytes.isEmpty { pieces.append(.plain(plain)) }
                plain = Text()
                pieces.append(.lookup(try lookup(&rest, marks, depth: depth + 1)))
            } else {
                plain.append(byte)
                rest = rest.dropFirst()
            }
        }
        if !plain.bytes.isEmpty { pieces.append(.plain(plain)) }
        return pieces
    }

    private static func isFallback(_ rest: ArraySlice<UInt8>) -> Bool {
        rest.starts(with: [UInt8(ascii: ":"), UInt8(ascii: "-")])
    }

    private static func lookup(
        _ rest: inout ArraySlice<UInt8>, _ marks: [Int], depth: Int
    ) throws(Flaw) -> TableLookup {
        let whole = Text(bytes: Array(rest))
        guard depth <= deepest else {
            throw Flaw(reason: .notA("a lookup in at most three others", whole))
        }
        rest = rest.dropFirst(2)
        var lookup = TableLookup(path: try pieces(&rest, marks, depth: depth))
        if isFallback(rest) {
            let bytes = rest.dropFirst(2).prefix { $0 != UInt8(ascii: "}") }
            lookup.fallback = Text(bytes: Array(bytes))
            if marks.contains(where: { bytes.indices.contains($0) }) {
                throw Flaw(reason: .notA("a default that stands for itself", whole))
            }
            rest = rest.dropFirst(2 + bytes.count)
        }
        guard rest.first != nil else { throw Flaw(reason: .unclosedLookup) }
        rest = rest.dropFirst()
        try lookup.sort()
        return lookup
    }

    /// The word with a number where a lookup stands, which would do for most.
    var sample: Text {
        var text = Text()
        for piece in pieces {
            if case .plain(let part) = piece { text += part } else { text += "1" }
        }
        return text
    }

    var list: TableLookup? {
        if case .lookup(let lookup)? = pieces.first, lookup.isList { lookup } else { nil }
    }
}

/// One lookup.
struct TableLookup: Equatable {
    enum Source: Equatable { case store, file }
    var source = Source.store
    /// Where it stands.
    var path: [TableTemplate.Piece]
    /// All entries below the path.
    var isList = false
    /// What stands for what is not there, or empty.
    var fallback: Text?

    fileprivate init(path: [TableTemplate.Piece]) { self.path = path }

    /// Tells files from entries, and lists from single ones.
    fileprivate mutating func sort() throws(TableTemplate.Flaw) {
        if case .plain(let text)? = path.first, let name = text.dropping(prefix: "file:") {
            source = .file
            path[0] = .plain(name)
            if name.bytes.isEmpty { path.removeFirst() }
        }
        if source == .store, case .plain(let text)? = path.last,
            let folder = text.dropping(suffix: "/*")
        {
            isList = true
            path[path.count - 1] = .plain(folder)
            if folder.bytes.isEmpty { path.removeLast() }
        }
        // What is known already is looked at before anything is started.
        var known = Text()
        for piece in path {
            if case .plain(let text) = piece { known += text } else { known += "x" }
        }
        if let flaw = Self.flaw(of: known, source) { throw .init(reason: flaw) }
    }

    /// Why something is no path to look up.
    static func flaw(of path: Text, _ source: Source) -> TableError.Reason? {
        if path.hasParent { return .notA(StaticText.pathWithoutParents, path) }
        if source == .file {
            if path.bytes.isEmpty { return .notA("a file's name", path) }
            return path.isFileName ? nil : .notA(.fileName, path)
        }
        do throws(StorePath.Flaw) {
            _ = try StorePath(written: path)
            return nil
        } catch { return .notA(.storePath, path) }
    }
}

extension StaticText {
    static var pathWithoutParents: StaticText { "a path without .. in it" }
    static var storePath: StaticText {
        "a path in the store: names of letters, digits, -, _ and @ with a / between them"
    }
    static var socketName: StaticText { "a socket's name: at most 107 bytes" }
    static var fileName: StaticText {
        "a file's name that the kernel takes: some bytes, 255 between slashes and 4095 in all at most"
    }
}

extension Text {
    /// True for what can be the name of a file. Source: linux/limits.h, NAME_MAX and PATH_MAX.
    var isFileName: Bool {
        guard !bytes.isEmpty, bytes.count < Files.longestPath else { return false }
        return bytes[...].split(separator: UInt8(ascii: "/")).allSatisfy { $0.count <= 255 }
    }

    /// True if a part of this path is `..`, by which a looked-up value would lead elsewhere.
    var hasParent: Bool {
        for part in bytes[...].split(separator: UInt8(ascii: "/"))
        where part.elementsEqual([46, 46]) {
            return true
        }
        return false
    }
}

// MARK: Looking up, in a child

/// Looks up what the words of a statement stand for.
struct TableLookups {
    private let deadline = Deadline.after(XenStore.patience)
    /// Connections to the store: one, or several that are asked at the same time.
    private var stores: [XenStore] = []

    /// The most that the words of a statement come to.
    static let mostBytes = 65536
    private static let mostWords = 1024
    /// As long as a value of the store, which messages of 4096 bytes bring.
    private static let longestFile = 4096

    /// What is wrong, as a sentence.
    struct Complaint: Error {
        var column: Int
        var words: Text
    }

    /// The words that a statement's words stand for.
    mutating func expand(_ words: [TableWord]) throws(Complaint) -> [TableWord] {
        var expanded: [TableWord] = []
        var size = 0
        try lookAhead(words)
        for word in words {
            for text in try expand(word) {
                expanded.append(
                    TableWord(text: text, column: word.column, isQuoted: word.isQuoted))
                size += text.bytes.count + 1
            }
            if expanded.count > Self.mostWords || size > Self.mostBytes {
                throw Complaint(
                    column: word.column,
                    words:
                        "the statement comes to more than \(Self.mostWords) words or \(Self.mostBytes) bytes"
                )
            }
        }
        return expanded
    }

    private mutating func expand(_ word: TableWord) throws(Complaint) -> [Text] {
        if word.marks.isEmpty { return [word.text] }
        let template: TableTemplate
        do throws(TableTemplate.Flaw) { template = try TableTemplate(word) } catch {
            throw Complaint(column: word.column, words: error.reason.words)
        }
        if let list = template.list { return try expand(list: list, word.column) }
        let text = try expand(template.pieces, word.column)
        guard text.bytes.isEmpty else { return [text] }
        // A single lookup that says itself that it may be empty is no word at all then.
        if case .lookup(let lookup)? = template.pieces.first, lookup.fallback != nil { return [] }
        throw Complaint(column: word.column, words: "\(quoted: word.text) is empty")
    }

    private mutating func expand(
        _ pieces: [TableTemplate.Piece], _ column: Int
    ) throws(Complaint) -> Text {
        var text = Text()
        for piece in pieces {
            switch piece {
            case .plain(let part): text += part
            case .lookup(let lookup): text += try value(of: lookup, column)
            }
        }
        return text
    }

    /// The path of a lookup, which others may have had a hand in.
    private mutating func path(of lookup: TableLookup, _ column: Int) throws(Complaint) -> Text {
        let path = try expand(lookup.path, column)
        if let flaw = TableLookup.flaw(of: path, lookup.source) {
            throw Complaint(column: column, words: flaw.words)
        }
        return path
    }

    private mutating func value(of lookup: TableLookup, _ column: Int) throws(Complaint) -> Text {
        let path = try path(of: lookup, column)
        var value: Text?
        switch lookup.source {
        case .file: value = try contents(of: path, column, mayBeAbsent: lookup.fallback != nil)
        case .store:
            let answer = try answer(for: path, column)
            if lookup.fallback != nil, case .failure(.store(_, _, let refusal)) = answer,
                // The store says this of what is missing below another domain's folder.
                refusal == .noSuchFile || refusal == .accessDenied
            {
                break
            }
            value = Text(bytes: try Self.known(answer, column))
        }
        if let fallback = lookup.fallback, value?.bytes.isEmpty ?? true { return fallback }
        return try whole(value ?? Text(), from: path, column)
    }

    /// A value that can be a program's argument.
    private func whole(_ value: Text, from path: Text, _ column: Int) throws(Complaint) -> Text {
        if value.bytes.contains(0) {
            throw Complaint(column: column, words: "\(quoted: path) has a zero byte in it")
        }
        return value
    }

    /// A file's bytes without the line ends after them.
    private func contents(
        of path: Text, _ column: Int, mayBeAbsent: Bool
    ) throws(Complaint) -> Text? {
        let text: Text
        do throws(Errno) { text = try SmallFile.read(path, limit: Self.longestFile + 1) } catch {
            if mayBeAbsent, error == .noSuchFile || error == .notDirectory { return nil }
            throw Complaint(column: column, words: "cannot read \(quoted: path): \(error)")
        }
        guard text.bytes.count <= Self.longestFile else {
            throw Complaint(
                column: column,
                words: "\(quoted: path) has more than \(Self.longestFile) bytes, too many for words"
            )
        }
        var bytes = text.bytes
        while bytes.last == 10 || bytes.last == 13 { bytes.removeLast() }
        return Text(bytes: bytes)
    }

    // MARK: Lists

    private mutating func expand(list: TableLookup, _ column: Int) throws(Complaint) -> [Text] {
        let path = try path(of: list, column)
        let names = try ask(column) { (store) throws(GrantError) -> [Text] in
            let path = try StorePath(named: path)
            if list.fallback != nil, try store.valueIfLegible(path) == nil { return [] }
            return try store.list(path)
        }
        guard !names.isEmpty else {
            if let fallback = list.fallback { return fallback.bytes.isEmpty ? [] : [fallback] }
            throw Complaint(column: column, words: "there is nothing below \(quoted: path)")
        }
        var words: [Text] = []
        let entries = try Self.ordered(names, path, column).map { "\(path)/\($0)" as Text }
        var paths: [StorePath] = []
        for entry in entries {
            do throws(GrantError) { paths.append(try StorePath(named: entry)) } catch {
                throw Complaint(column: column, words: error.text)
            }
        }
        let values = try read(paths, column)
        for (entry, result) in zip(entries, values) {
            let value = Text(bytes: try Self.known(result, column))
            if value.bytes.isEmpty {
                throw Complaint(
                    column: column, words: "\(quoted: entry), which would be an argument, is empty")
            }
            words.append(try whole(value, from: entry, column))
        }
        return words
    }

    /// The names of a list's entries, which are numbers from 0 or 1 without a hole, in their order.
    static func ordered(
        _ names: [Text], _ path: Text, _ column: Int
    ) throws(Complaint) -> [Text] {
        guard names.count <= mostWords else {
            throw Complaint(
                column: column,
                words:
                    "there are \(names.count) entries below \(quoted: path), more than \(mostWords)"
            )
        }
        let zero = UInt8(ascii: "0")
        var slots = [Text?](repeating: nil, count: names.count + 1)
        for name in names {
            guard name.bytes.allSatisfy({ $0 >= zero && $0 < zero + 10 }), let number = name.number
            else {
                throw Complaint(
                    column: column,
                    words: "\(quoted: name) below \(quoted: path) is no number, so it has no place")
            }
            guard number <= UInt64(names.count) else {
                throw hole(in: names, path, column)
            }
            if let other = slots[Int(number)] {
                throw Complaint(
                    column: column,
                    words:
                        "\(quoted: other) and \(quoted: name) below \(quoted: path) are the same number"
                )
            }
            slots[Int(number)] = name
        }
        // As many numbers as names, with room for one more: the first or the last is free.
        guard slots[0] == nil || slots[names.count] == nil else {
            throw hole(in: names, path, column)
        }
        return slots.compactMap { $0 }
    }

    /// The first number that is missing.
    private static func hole(in names: [Text], _ path: Text, _ column: Int) -> Complaint {
        var missing: UInt64 = 1
        while names.contains(where: { $0.number == missing }) { missing += 1 }
        return Complaint(
            column: column,
            words: "the list below \(quoted: path) has a hole: there is no \(missing)")
    }

    // MARK: The store

    /// The values of the entries that the words name as they stand, all asked for at once.
    private var known: [(path: Text, value: Result<[UInt8], GrantError>)] = []

    /// More would only be memory: their values come one by one.
    private static let mostAhead = 64

    /// Asks for what does not depend on another answer.
    private mutating func lookAhead(_ words: [TableWord]) throws(Complaint) {
        var paths: [StorePath] = []
        var column = 0
        for word in words where !word.marks.isEmpty {
            if column == 0 { column = word.column }
            guard let template = try? TableTemplate(word) else { return }
            Self.collect(template.pieces, &paths)
        }
        guard paths.count > 1 else { return }
        let values = try read(paths, column)
        known = zip(paths, values).map { ($0.text, $1) }
    }

    private static func collect(_ pieces: [TableTemplate.Piece], _ paths: inout [StorePath]) {
        for case .lookup(let lookup) in pieces {
            guard lookup.source == .store, !lookup.isList, lookup.path.count == 1,
                case .plain(let path) = lookup.path[0]
            else {
                collect(lookup.path, &paths)
                continue
            }
            let isOld = paths.contains { $0.text == path }
            if isOld || paths.count == mostAhead { continue }
            if let path = try? StorePath(named: path) { paths.append(path) }
        }
    }

    /// What the store says of an entry.
    private mutating func answer(
        for path: Text, _ column: Int
    ) throws(Complaint) -> Result<[UInt8], GrantError> {
        if let known = known.first(where: { $0.path == path }) { return known.value }
        let checked: StorePath
        do throws(GrantError) { checked = try StorePath(named: path) } catch {
            throw Complaint(column: column, words: error.text)
        }
        return try read([checked], column)[0]
    }

    private static func known(
        _ result: Result<[UInt8], GrantError>, _ column: Int
    ) throws(Complaint) -> [UInt8] {
        do throws(GrantError) { return try result.get() } catch {
            throw Complaint(column: column, words: error.text)
        }
    }

    /// Reads entries by several connections, as each way to the store and back is two changes of the domain that runs.
    /// One alone would not do: the kernel's device keeps the last request of each only until the next is written, whether
    /// the store has it or not (docs/abi/xen-grants.md §7).
    /// - Returns: each value, or why the store does not give it.
    private mutating func read(
        _ paths: [StorePath], _ column: Int
    ) throws(Complaint) -> [Result<[UInt8], GrantError>] {
        do throws(GrantError) {
            if stores.isEmpty { stores = [try XenStore(deadline: deadline)] }
            while stores.count < min(paths.count, mostConnections) {
                // xenstored lets few wait at its socket: those that there are do as well.
                guard let store = try? XenStore(deadline: .after(.milliseconds(0))) else {
                    mostConnections = stores.count
                    break
                }
                store.deadline = deadline
                stores.append(store)
            }
            var values: [Result<[UInt8], GrantError>] = []
            var asked = 0
            while values.count < paths.count {
                while asked < paths.count, asked - values.count < stores.count {
                    try stores[asked % stores.count].begin(.read(paths[asked]))
                    asked += 1
                }
                let index = values.count
                do throws(GrantError) {
                    let reply = try stores[index % stores.count].reply(to: .read(paths[index]))
                    values.append(.success(reply.payload))
                } catch {
                    guard case .store = error else { throw error }
                    values.append(.failure(error))
                }
            }
            return values
        } catch {
            // Replies to requests that are still open would be taken for others.
            stores = []
            throw Complaint(column: column, words: error.text)
        }
    }
    private var mostConnections = 8

    /// Asks the store, which is connected to once for a statement.
    private mutating func ask<Value>(
        _ column: Int, _ body: (XenStore) throws(GrantError) -> Value
    ) throws(Complaint) -> Value {
        do throws(GrantError) {
            if let store = stores.first { return try body(store) }
            let store = try XenStore(deadline: deadline)
            stores = [store]
            return try body(store)
        } catch { throw Complaint(column: column, words: error.text) }
    }
}
