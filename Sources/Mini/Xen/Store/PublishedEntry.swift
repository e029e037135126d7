// A list of grant references in the store, for one domain to read. References that follow one another are a
// range. What is more than an entry holds stands in parts below it: PATH is then `parts N`, and
// PATH/0 to PATH/N-1 are the list, one after the other. A reader of @PATH gets the whole list either way.
//
// An entry holds less than a message: xenstored and oxenstored let a domain that is not privileged write 2048
// bytes, names of what is below and permissions counted. Source: docs/abi/xen-grants.md §7.

extension GrantList {
    /// References as a person writes them, in parts of at most so many bytes.
    static func parts(_ references: [GrantReference], most: Int) -> [Text] {
        var parts: [Text] = []
        var part = Text()
        var index = 0
        while index < references.count {
            let first = references[index].rawValue
            var last = first
            index += 1
            while index < references.count, last < UInt32.max,
                references[index].rawValue == last + 1
            {
                last += 1
                index += 1
            }
            let piece: Text = first == last ? "\(first)" : "\(first)-\(last)"
            if part.bytes.isEmpty {
                part = piece
            } else if part.bytes.count + 1 + piece.bytes.count <= most {
                part += ",\(piece)"
            } else {
                parts.append(part)
                part = piece
            }
        }
        parts.append(part)
        return parts
    }
}

/// References, or another value, that are in the store as long as this is.
final class PublishedEntry {
    private let store: XenStore
    var descriptor: Int32 { store.descriptor }
    private let path: StorePath
    /// The value of the entry, and those of the parts below it.
    private let value: Text
    private let parts: [Text]
    /// The entry was there before, with nothing in it.
    private var wasFolder = false
    private var isThere = false

    /// What one entry is given.
    static let mostBytes = 1900
    /// More parts than any list of grants has.
    static let mostParts: UInt64 = 1024
    static let heading: StaticString = "parts "

    /// - Throws: an error of use for what is no path of an entry.
    static func path(_ word: Text) throws(GrantError) -> StorePath {
        if word == "/" { throw .use("\"/\" is the whole store: name an entry in it") }
        return try StorePath(named: word)
    }

    /// - Parameter parts: what is to be there, in pieces that an entry holds.
    init(
        _ parts: [Text], at path: StorePath, for domain: DomainID, _ deadline: Deadline = .never
    ) throws(GrantError) {
        self.path = path
        value = parts.count == 1 ? parts[0] : "\(Self.heading)\(parts.count)"
        self.parts = parts.count == 1 ? [] : parts
        store = try XenStore(deadline: deadline.within(XenStore.patience))
        isThere = true
        let transaction = try StoreTransaction(store)
        repeat {
            try publish(for: domain, in: transaction.number)
        } while try !transaction.commit()
    }

    private func publish(for domain: DomainID, in transaction: UInt32) throws(GrantError) {
        let before = try store.valueIfAny(path, in: transaction)
        wasFolder = before?.isEmpty ?? false
        try store.publish(value, at: path, for: domain, in: transaction)
        for (index, part) in parts.enumerated() {
            try store.publish(part, at: child(index), for: domain, in: transaction)
        }
        // What a share has left that was killed.
        let old = before.flatMap { Self.count(Text(bytes: $0)) } ?? 0
        for index in parts.count..<max(old, parts.count) {
            let path = try child(index)
            if try store.valueIfAny(path, in: transaction) != nil {
                try store.remove(path, in: transaction)
            }
        }
    }

    private func child(_ index: Int) throws(GrantError) -> StorePath {
        try StorePath(named: "\(path.text)/\(index)")
    }

    /// How many parts a list has, as its entry says; nil for one that stands there whole.
    fileprivate static func count(_ value: Text) -> Int? {
        guard let number = value.dropping(prefix: heading)?.number, number > 0,
            number <= mostParts
        else { return nil }
        return Int(number)
    }

    private static let closingPatience = Nanoseconds.milliseconds(1000)

    /// Takes the references back: they mean nothing any more. What others have put there since stays.
    func withdraw() throws(GrantError) {
        guard isThere else { return }
        isThere = false
        // A signal has come already, and no other must leave the entry there; but a store that does not answer
        // is not waited for as long as at the beginning.
        store.deadline = .after(Self.closingPatience)
        let transaction = try StoreTransaction(store)
        repeat {
            try withdraw(in: transaction.number)
        } while try !transaction.commit()
    }

    private func withdraw(in transaction: UInt32) throws(GrantError) {
        let heading = try text(path, in: transaction)
        var ours: [StorePath] = []
        var hasOthers = false
        for (index, part) in parts.enumerated() {
            let path = try child(index)
            guard let now = try text(path, in: transaction) else { continue }
            if now == part { ours.append(path) } else { hasOthers = true }
        }
        // Another list in as many parts has the same heading.
        if let heading, Self.count(heading) != nil, hasOthers || heading != value { return }
        for path in ours { try store.remove(path, in: transaction) }
        guard heading == value else { return }
        let others = try store.list(path, in: transaction)
        if wasFolder || !others.isEmpty {
            try store.write(path, [], in: transaction)
        } else {
            try store.remove(path, in: transaction)
        }
    }

    private func text(_ path: StorePath, in transaction: UInt32) throws(GrantError) -> Text? {
        try store.valueIfAny(path, in: transaction).map { Text(bytes: $0) }
    }

    deinit { try? withdraw() }
}

extension XenStore {
    /// Reads an entry, or the parts of a list of which the entry says that it is in parts.
    func readWhole(_ path: StorePath) throws(GrantError) -> Text {
        let value = Text(bytes: try read(path))
        guard PublishedEntry.count(value) != nil else { return value }
        // Another list may take its place in between.
        let transaction = try StoreTransaction(self)
        var whole = Text()
        repeat {
            whole = try readWhole(path, in: transaction.number)
        } while try !transaction.commit()
        return whole
    }

    private func readWhole(_ path: StorePath, in transaction: UInt32) throws(GrantError) -> Text {
        let value = Text(bytes: try read(path, in: transaction))
        guard let count = PublishedEntry.count(value) else { return value }
        var whole = Text()
        for index in 0..<count {
            if index > 0 { whole += "," }
            let part = try StorePath(named: "\(path.text)/\(index)")
            whole += Text(bytes: try read(part, in: transaction))
        }
        return whole
    }
}
