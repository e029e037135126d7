// What the verbs of `mini-grant store` do. What they print is printed when all of them have succeeded.

/// Carries out the operations of a command line.
final class StoreOperations {
    private let store: XenStore
    /// The transaction that requests belong to; 0 for none.
    private var transaction: UInt32 = 0
    private var output = Text()
    /// The first entry of a list that is not for us to see.
    private var firstDenied: GrantError?

    typealias Operation = GrantStore.Operation

    init(_ store: XenStore) { self.store = store }

    /// - Throws: an error of use for what cannot be a part of one transaction, has not the words that it needs, or words
    ///   that are no path, value or mode.
    static func check(_ operations: [Operation]) throws(GrantError) {
        for operation in operations {
            let waits = operation.verb == .watch || operation.verb == .wait
            if waits && operations.count > 1 {
                throw .use("watch and wait do not go with --and")
            }
            try check(operation)
        }
    }

    /// Does everything, and prints what is to be printed. What changes something, and more than one entry
    /// or operation, is one transaction.
    /// - Returns: the exit code.
    func perform(_ operations: [Operation]) throws(GrantError) -> Int32 {
        if operations.count == 1 && !Self.isTransaction(operations[0]) {
            guard try perform(operations[0]) else { return Self.isAbsent }
            let code = try Self.write(output)
            if let firstDenied, code == ExitCode.success { throw firstDenied }
            return code
        }
        let transaction = try StoreTransaction(store)
        repeat {
            self.transaction = transaction.number
            output = Text()
            firstDenied = nil
            for operation in operations {
                // Nothing happens then: the transaction is abandoned.
                guard try perform(operation) else { return Self.isAbsent }
                if let firstDenied { throw firstDenied }
            }
        } while try !transaction.commit()
        return try Self.write(output)
    }

    /// Whether an operation by itself is to happen as a whole, or to see one state of the store.
    private static func isTransaction(_ operation: Operation) -> Bool {
        switch operation.verb {
        case .set: true
        // One request of the store's is a whole; and a transaction can touch less.
        case .rm: operation.words.count > 1 || operation.choices.isTidy
        case .mkdir, .chmod, .get, .exists: operation.words.count > 1
        // A whole store changes all the time: it could never be read in a transaction.
        case .list, .ls, .watch, .wait: false
        }
    }

    private static func check(_ operation: Operation) throws(GrantError) {
        let (choices, words) = (operation.choices, operation.words)
        var step = 1
        switch operation.verb {
        case .set:
            step = 2
            guard words.count % 2 == 0 else {
                throw .use("store set needs a VALUE for each PATH")
            }
        case .wait: try refuseMore(words)
        case .chmod: step = words.count
        default: break
        }
        for index in stride(from: 0, to: words.count, by: step) {
            let path = try named(words[index])
            if operation.verb == .rm, let path { _ = try PublishedEntry.path(path.text) }
            if operation.verb == .set { _ = try bytes(words[index + 1], choices) }
        }
        if operation.verb == .chmod && words.count > 1 { _ = try permissions(words) }
        if let value = choices.value { _ = try bytes(value, choices) }
    }

    /// What `exists` ends with for an entry that is not there, as xenstore-exists does.
    private static let isAbsent: Int32 = 1

    /// - Returns: false for an entry that is not there, where that is the question.
    private func perform(_ operation: Operation) throws(GrantError) -> Bool {
        let (choices, words) = (operation.choices, operation.words)
        switch operation.verb {
        case .get: try get(choices, words)
        case .set: try set(choices, words)
        case .list, .ls: try list(operation.verb == .ls, choices, words)
        case .exists:
            for word in words where try store.valueIfLegible(path(word), in: transaction) == nil {
                return false
            }
        case .mkdir:
            for word in words { try store.makeDirectory(path(word), in: transaction) }
        case .rm: for word in words { try remove(path(word), choices) }
        case .chmod: try chmod(choices, words)
        case .watch, .wait: break
        }
        return true
    }

    // MARK: Words

    /// The path that a word names. This domain's own folder, which has no relative path, is `.`.
    private func path(_ word: Text) throws(GrantError) -> StorePath {
        if let path = try Self.named(word) { return path }
        let number = Text(bytes: try store.read(StorePath(named: "domid"), in: transaction))
        return try StorePath(named: "/local/domain/\(number)")
    }

    /// The same without the store; nil for this domain's own folder.
    private static func named(_ word: Text) throws(GrantError) -> StorePath? {
        word == "." ? nil : try StorePath(named: word.dropping(prefix: "./") ?? word)
    }

    /// Writes to standard output.
    /// - Returns: the exit code.
    private static func write(_ text: Text) throws(GrantError) -> Int32 {
        do throws(Errno) { try Transfer.write(1, text) } catch {
            if error == .brokenPipe { return ExitCode.signal(.brokenPipe) }
            throw .host("write to", name: "standard output", error)
        }
        return ExitCode.success
    }

    private static func printed(_ value: [UInt8], _ choices: StoreChoices) -> Text {
        choices.isRaw ? Text(bytes: value) : "\(StoreValue.printable(value))\n"
    }

    /// What a word stands for as a value.
    private static func bytes(
        _ word: Text, _ choices: StoreChoices
    ) throws(GrantError) -> [UInt8] {
        if choices.isRaw { return word.bytes }
        guard let bytes = StoreValue.bytes(word) else {
            throw .use("value \(quoted: word) ends with a \\ that stands for nothing: write \\\\")
        }
        return bytes
    }

    /// What the words after a path stand for as modes.
    private static func permissions(_ words: [Text]) throws(GrantError) -> StorePermissions {
        do throws(CommandError) {
            return try GrantSettings.permissions(Array(words.dropFirst()))
        } catch { throw .use(error.text) }
    }

    private static func refuseMore(_ words: [Text]) throws(GrantError) {
        guard words.count > 1 else { return }
        throw .use("unexpected word \(quoted: words[1])")
    }

    // MARK: Entries

    private func get(_ choices: StoreChoices, _ words: [Text]) throws(GrantError) {
        for word in words {
            let value = try store.read(path(word), in: transaction)
            if choices.showsPaths { output += "\(word): " }
            output += Self.printed(value, choices)
        }
    }

    private func set(_ choices: StoreChoices, _ words: [Text]) throws(GrantError) {
        for index in stride(from: 0, to: words.count, by: 2) {
            let path = try path(words[index])
            let value = try Self.bytes(words[index + 1], choices)
            try store.write(path, value, in: transaction)
            if let permissions = choices.permissions {
                try store.setPermissions(of: path, permissions, in: transaction)
            }
        }
    }

    private func remove(_ path: StorePath, _ choices: StoreChoices) throws(GrantError) {
        try store.remove(path, in: transaction)
        var above = choices.isTidy ? path.parent : nil
        while let path = above, try removeEmpty(path) { above = path.parent }
    }

    /// Removes an entry that has neither a value nor anything below it.
    /// - Returns: false if it stays: it has, or is not for us to see or to remove.
    private func removeEmpty(_ path: StorePath) throws(GrantError) -> Bool {
        do throws(GrantError) {
            guard try store.list(path, in: transaction).isEmpty,
                try store.read(path, in: transaction).isEmpty
            else { return false }
            try store.remove(path, in: transaction)
            return true
        } catch {
            guard case .store = error else { throw error }
            return false
        }
    }

    private func chmod(_ choices: StoreChoices, _ words: [Text]) throws(GrantError) {
        let path = try path(words[0])
        guard words.count > 1 else {
            for word in try store.permissions(of: path, in: transaction).words {
                output += "\(visible: word)\n"
            }
            return
        }
        let permissions = try Self.permissions(words)
        try store.setPermissions(of: path, permissions, in: transaction)
        if choices.isDownward { try setBelow(path, permissions) }
        var above = choices.isUpward ? path.parent : nil
        while let path = above {
            try store.setPermissions(of: path, permissions, in: transaction)
            above = path.parent
        }
    }

    private func setBelow(
        _ path: StorePath, _ permissions: StorePermissions
    ) throws(GrantError) {
        for name in try store.list(path, in: transaction) {
            guard let child = try? path.child(name) else { throw XenStore.broken }
            if store.deadline.isOver { throw Self.late }
            try store.setPermissions(of: child, permissions, in: transaction)
            try setBelow(child, permissions)
        }
    }

    private static let late = GrantError.deadline("the store did not tell all in time")

    // MARK: Lists

    private func list(
        _ isTree: Bool, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) {
        let isTree = isTree || choices.isTree || choices.isFull
        for word in words {
            let top = try path(word)
            try list(isTree, choices, top, store.list(top, in: transaction))
        }
        guard words.isEmpty else { return }
        var top = try path("/")
        let names: [Text]
        do throws(GrantError) { names = try store.list(top, in: transaction) } catch {
            // A domain may not see the root, so it means its own folder.
            guard case .store(_, _, .accessDenied) = error else { throw error }
            top = try path(".")
            names = try store.list(top, in: transaction)
        }
        try list(isTree, choices, top, names)
    }

    private func list(
        _ isTree: Bool, _ choices: StoreChoices, _ top: StorePath, _ names: [Text]
    ) throws(GrantError) {
        if isTree { return try addTree(top, names, choices, choices.isFull ? nil : 0) }
        for name in names {
            guard let child = try? top.child(name) else { throw XenStore.broken }
            var line: Text = "\(visible: choices.showsPaths ? child.text : name)"
            try unlessGone { () throws(GrantError) in
                if choices.showsPermissions { line += try permissions(child) }
                output += "\(line)\n"
            }
        }
    }

    /// Does something with an entry of a list, which may have gone since its name was read.
    private func unlessGone(_ body: () throws(GrantError) -> Void) throws(GrantError) {
        do throws(GrantError) { try body() } catch {
            guard case .store(_, _, .noSuchFile) = error else { throw error }
        }
    }

    /// All that is below a path, each entry above what is below it. As deep as a path can be.
    /// - Parameter depth: how far names are indented; nil for whole paths.
    private func addTree(
        _ path: StorePath, _ names: [Text], _ choices: StoreChoices, _ depth: Int?
    ) throws(GrantError) {
        for name in names {
            guard let child = try? path.child(name) else { throw XenStore.broken }
            // Reading a whole store can take very long.
            if store.deadline.isOver { throw Self.late }
            var line = Text()
            for _ in 0..<(depth ?? 0) { line.append(0x20) }
            line += "\(visible: depth == nil ? child.text : name)"
            try unlessGone { () throws(GrantError) in try addEntry(child, line, choices, depth) }
        }
    }

    /// An entry and all that is below it; of one that is not for us to see, the name alone, as xenstore-ls has it.
    private func addEntry(
        _ path: StorePath, _ line: Text, _ choices: StoreChoices, _ depth: Int?
    ) throws(GrantError) {
        let below: [Text]
        do throws(GrantError) {
            var value: Text = "\"\(StoreValue.printable(try store.read(path, in: transaction)))\""
            if choices.showsPermissions { value += try permissions(path) }
            below = try store.list(path, in: transaction)
            output += "\(line) = \(value)\n"
        } catch {
            guard case .store(_, _, .accessDenied) = error else { throw error }
            if firstDenied == nil { firstDenied = error }
            output += "\(line):\n"
            return
        }
        try addTree(path, below, choices, depth.map { $0 + 1 })
    }

    /// Who may use an entry, as it stands after its value.
    private func permissions(_ path: StorePath) throws(GrantError) -> Text {
        var list = Text()
        for word in try store.permissions(of: path, in: transaction).words {
            if !list.bytes.isEmpty { list += "," }
            list += word
        }
        return "  (\(visible: list))"
    }

    // MARK: Waiting

    /// `watch` or `wait`.
    func wait(_ operation: Operation) throws(GrantError) -> Int32 {
        operation.verb == .watch
            ? try watch(operation.choices, operation.words)
            : try waitForValue(operation.choices, operation.words)
    }

    private func watch(_ choices: StoreChoices, _ words: [Text]) throws(GrantError) -> Int32 {
        for word in words { try store.watch(try path(word), token: word) }
        if store.hasDroppedEvents { throw .refused("more changes came than there is room for") }
        for _ in 0..<choices.count {
            guard let path = try store.nextEvent(until: store.deadline), !store.deadline.isOver
            else { throw .deadline("no more changes came in time") }
            let code = try Self.write("\(visible: path)\n")
            if code != ExitCode.success { return code }
        }
        return ExitCode.success
    }

    private func waitForValue(_ choices: StoreChoices, _ words: [Text]) throws(GrantError) -> Int32
    {
        let path = try path(words[0])
        let wanted = try choices.value.map { (word) throws(GrantError) in
            try Self.bytes(word, choices)
        }
        let value = try store.wait(for: path) { value in
            if choices.awaitsAbsence { return value == nil }
            guard let value else { return false }
            return wanted == nil || value == wanted
        }
        guard let value else { return ExitCode.success }
        return try Self.write(Self.printed(value, choices))
    }
}
