// What the verbs of `mini-grant store` do.

extension GrantStore {
    /// Writes to standard output.
    /// - Returns: the exit code.
    private static func write(_ text: Text) throws(GrantError) -> Int32 {
        do throws(Errno) { try Transfer.write(1, text) } catch {
            if error == .brokenPipe { return ExitCode.signal(.brokenPipe) }
            throw .host("write to", name: "standard output", error)
        }
        return ExitCode.success
    }

    static func get(
        _ store: XenStore, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) -> Int32 {
        var text = Text()
        for word in words {
            let value = try store.read(try StorePath(named: word))
            if choices.showsPaths { text += "\(word): " }
            text += printed(value, choices)
        }
        return try write(text)
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
            throw .use("value \(quoted: word) has a \\ that is not of \\n \\r \\t \\\\ \\xNN")
        }
        return bytes
    }

    static func set(
        _ store: XenStore, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) {
        guard words.count % 2 == 0 else { throw .use("store set needs a VALUE for each PATH") }
        let transaction = try StoreTransaction(store)
        repeat {
            for index in stride(from: 0, to: words.count, by: 2) {
                let path = try StorePath(named: words[index])
                let value = try bytes(words[index + 1], choices)
                try store.write(path, value, in: transaction.number)
                if let permissions = choices.permissions {
                    try store.setPermissions(of: path, permissions, in: transaction.number)
                }
            }
        } while try !transaction.commit()
    }

    static func chmod(_ store: XenStore, _ words: [Text]) throws(GrantError) -> Int32 {
        let path = try StorePath(named: words[0])
        guard words.count > 1 else {
            return try write(lines(try store.permissions(of: path).words))
        }
        let modes = Array(words.dropFirst())
        guard let permissions = StorePermissions(modes) else {
            throw .use("the modes are not n, r, w or b with the number of a domain")
        }
        try store.setPermissions(of: path, permissions)
        return ExitCode.success
    }

    private static func lines(_ words: [Text]) -> Text {
        var text = Text()
        for word in words { text += "\(visible: word)\n" }
        return text
    }

    // MARK: Lists

    static func list(
        _ store: XenStore, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) -> Int32 {
        try refuseMore(words)
        let path = try StorePath(named: words.first ?? "/")
        guard choices.isTree || choices.isFull else {
            return try write(lines(try store.list(path)))
        }
        var text = Text()
        try addTree(store, path, choices.isFull ? nil : 0, to: &text)
        return try write(text)
    }

    private static func refuseMore(_ words: [Text]) throws(GrantError) {
        guard words.count > 1 else { return }
        throw .use("unexpected word \(quoted: words[1])")
    }

    /// All that is below a path, each entry above what is below it. As deep as a path can be.
    /// - Parameter depth: how far names are indented; nil for whole paths.
    private static func addTree(
        _ store: XenStore, _ path: StorePath, _ depth: Int?, to text: inout Text
    ) throws(GrantError) {
        for name in try store.list(path) {
            guard let child = try? path.child(name) else { throw XenStore.broken }
            do throws(GrantError) {
                let value = try store.read(child)
                for _ in 0..<(depth ?? 0) { text.append(0x20) }
                text += "\(visible: depth == nil ? child.text : name) = "
                text += "\"\(StoreValue.printable(value))\"\n"
                try addTree(store, child, depth.map { $0 + 1 }, to: &text)
            } catch {
                // Gone since its name was read, or not for us to see.
                switch error {
                case .store(_, _, .noSuchFile), .store(_, _, .accessDenied): continue
                default: throw error
                }
            }
        }
    }

    // MARK: Waiting

    static func watch(
        _ store: XenStore, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) -> Int32 {
        for word in words { try store.watch(try StorePath(named: word), token: word) }
        for _ in 0..<choices.count {
            guard let path = try store.nextEvent(until: store.deadline) else {
                throw .deadline("no more changes came in time")
            }
            let code = try write("\(visible: path)\n")
            if code != ExitCode.success { return code }
        }
        return ExitCode.success
    }

    static func wait(
        _ store: XenStore, _ choices: StoreChoices, _ words: [Text]
    ) throws(GrantError) -> Int32 {
        try refuseMore(words)
        let path = try StorePath(named: words[0])
        let wanted = try choices.value.map { (word) throws(GrantError) in
            try bytes(word, choices)
        }
        let value = try store.wait(for: path) { value in
            if choices.awaitsAbsence { return value == nil }
            guard let value else { return false }
            return wanted == nil || value == wanted
        }
        guard let value else { return ExitCode.success }
        return try write(printed(value, choices))
    }
}
