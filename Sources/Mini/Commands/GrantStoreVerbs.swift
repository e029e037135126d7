// What the verbs of `mini-grant store` do.

extension GrantStore {
    static func get(
        _ store: XenStore, _ settings: StoreSettings, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        var text = Text()
        for word in words {
            let path = try StoreSettings.path(word)
            let value = try GrantCommand.onXen { () throws(GrantError) in try store.read(path) }
            if settings.showsPaths { text += "\(word): " }
            text += printed(value, settings)
        }
        return Message.print(text)
    }

    private static func printed(_ value: [UInt8], _ settings: StoreSettings) -> Text {
        settings.isRaw ? Text(bytes: value) : "\(StoreValue.printable(value))\n"
    }

    static func set(
        _ store: XenStore, _ settings: StoreSettings, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        guard words.count % 2 == 0 else {
            throw .missingWords("store set", "a VALUE for each PATH")
        }
        var changes: [(path: StorePath, value: [UInt8])] = []
        for index in stride(from: 0, to: words.count, by: 2) {
            changes.append(
                (try StoreSettings.path(words[index]), try settings.bytes(words[index + 1])))
        }
        try GrantCommand.onXen { () throws(GrantError) in
            try store.transaction { (transaction) throws(GrantError) in
                for change in changes {
                    try store.write(change.path, change.value, in: transaction)
                    guard !settings.permissions.isEmpty else { continue }
                    try store.setPermissions(
                        of: change.path, settings.permissions, in: transaction)
                }
            }
        }
        return ExitCode.success
    }

    /// Does the same for each path, one after the other.
    static func each(
        _ words: [Text], _ body: (StorePath) throws(GrantError) -> Void
    ) throws(CommandError) -> Int32 {
        for word in words {
            let path = try StoreSettings.path(word)
            try GrantCommand.onXen { () throws(GrantError) in try body(path) }
        }
        return ExitCode.success
    }

    static func chmod(_ store: XenStore, _ words: [Text]) throws(CommandError) -> Int32 {
        let path = try StoreSettings.path(words[0])
        let permissions = try StoreSettings.permissions(Array(words.dropFirst()))
        guard permissions.isEmpty else {
            try GrantCommand.onXen { () throws(GrantError) in
                try store.setPermissions(of: path, permissions)
            }
            return ExitCode.success
        }
        var text = Text()
        for permission in try GrantCommand.onXen({ () throws(GrantError) in
            try store.permissions(of: path)
        }) {
            text += "\(permission.text)\n"
        }
        return Message.print(text)
    }

    // MARK: Lists

    static func list(
        _ store: XenStore, _ settings: StoreSettings, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        guard words.count <= 1 else { throw .unwantedWord(words[1]) }
        let path = try StoreSettings.path(words.first ?? "/")
        return Message.print(
            try GrantCommand.onXen { () throws(GrantError) in
                settings.isTree
                    ? try tree(store, path, isFull: settings.isFull)
                    : try names(store, path)
            })
    }

    private static func names(_ store: XenStore, _ path: StorePath) throws(GrantError) -> Text {
        var text = Text()
        for name in try store.list(path) { text += "\(visible: name)\n" }
        return text
    }

    /// All that is below a path, each entry above what is below it.
    private static func tree(
        _ store: XenStore, _ top: StorePath, isFull: Bool
    ) throws(GrantError) -> Text {
        var text = Text()
        /// What is still to be printed, the next one last.
        var rest = try children(store, top, depth: 0)
        while let entry = rest.popLast() {
            do throws(GrantError) {
                let value = try store.read(entry.path)
                let below = try children(store, entry.path, depth: entry.depth + 1)
                if !isFull { for _ in 0..<entry.depth { text.append(0x20) } }
                text += "\(visible: isFull ? entry.path.text : entry.name) = "
                text += "\"\(StoreValue.printable(value))\"\n"
                rest += below
            } catch {
                // Gone since its name was read; or not for us to see.
                switch error {
                case .store(_, _, .noSuchFile), .store(_, _, .accessDenied): continue
                default: throw error
                }
            }
        }
        return text
    }

    private struct Entry {
        var path: StorePath
        var name: Text
        var depth: Int
    }

    /// The entries right below one, the last one first.
    private static func children(
        _ store: XenStore, _ path: StorePath, depth: Int
    ) throws(GrantError) -> [Entry] {
        var entries: [Entry] = []
        for name in try store.list(path).reversed() {
            guard let child = try? path.child(name) else { throw XenStore.broken }
            entries.append(Entry(path: child, name: name, depth: depth))
        }
        return entries
    }

    // MARK: Waiting

    static func watch(
        _ store: XenStore, _ settings: StoreSettings, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        var rest = settings.count ?? .max
        _ = try each(words) { (path) throws(GrantError) in try store.watch(path, token: path.text) }
        while rest > 0 {
            let event = try GrantCommand.onXen { () throws(GrantError) in
                try store.nextEvent(until: store.deadline)
            }
            guard let event else { throw .grant(.deadline("no more changes came in time")) }
            let code = Message.print("\(visible: event.path)\n")
            if code != ExitCode.success { return code }
            rest -= 1
        }
        return ExitCode.success
    }

    static func wait(
        _ store: XenStore, _ settings: StoreSettings, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        guard words.count == 1 else { throw .unwantedWord(words[1]) }
        let path = try StoreSettings.path(words[0])
        let wanted = try settings.value.map { (word) throws(CommandError) in
            try settings.bytes(word)
        }
        let value = try GrantCommand.onXen { () throws(GrantError) in
            try store.wait(for: path) { value in
                if settings.awaitsAbsence { return value == nil }
                guard let value else { return false }
                return wanted == nil || value == wanted
            }
        }
        return value.map { Message.print(printed($0, settings)) } ?? ExitCode.success
    }
}
