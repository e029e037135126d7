// `mini-grant store VERB …`: XenStore for scripts, in the words of the xenstore-* tools. Each verb is
// a line of the table here and a function in GrantStoreVerbs.swift.

/// What a command line of `store` asks for.
struct StoreSettings {
    /// Values as they are, not as a terminal may see them.
    var isRaw = false
    var showsPaths = false
    var isTree = false
    var isFull = false
    /// What to wait for; nil for any.
    var value: Text?
    var awaitsAbsence = false
    var permissions: [StorePermission] = []
    var count: Int?
    var patience: Nanoseconds?
    var wantsHelp = false

    typealias Choice = Option<StoreSettings>

    static var forRawValues: Choice {
        Choice(
            name: "--raw", argument: nil, help: "values as they are, without \\n, \\xNN",
            apply: { (settings, _) throws(CommandError) in settings.isRaw = true })
    }
    static var forPaths: Choice {
        Choice(
            name: "--paths", argument: nil, help: "each value behind its path",
            apply: { (settings, _) throws(CommandError) in settings.showsPaths = true })
    }
    static var forTree: Choice {
        Choice(
            name: "--tree", argument: nil, help: "all that is below, with values",
            apply: { (settings, _) throws(CommandError) in settings.isTree = true })
    }
    static var forFullPaths: Choice {
        Choice(
            name: "--full", argument: nil, help: "the same with whole paths",
            apply: { (settings, _) throws(CommandError) in
                settings.isTree = true
                settings.isFull = true
            })
    }
    static var forValue: Choice {
        Choice(
            name: "--value", argument: "V", help: "until the value is V, not just any",
            apply: { (settings, word) throws(CommandError) in settings.value = word })
    }
    static var forAbsence: Choice {
        Choice(
            name: "--gone", argument: nil, help: "until the entry is not there",
            apply: { (settings, _) throws(CommandError) in settings.awaitsAbsence = true })
    }
    static var forPermissions: Choice {
        Choice(
            name: "--mode", argument: "M[,M...]",
            help: "who may use the entries: owner and others, then domains (n0,r3)",
            apply: { (settings, word) throws(CommandError) in
                settings.permissions = try permissions(
                    word.bytes.split(
                        separator: UInt8(ascii: ","), omittingEmptySubsequences: false
                    ).map { Text(bytes: Array($0)) })
            })
    }
    static var forCount: Choice {
        Choice(
            name: "--count", argument: "N", help: "end after N events",
            apply: { (settings, word) throws(CommandError) in
                guard let count = word.number.flatMap({ Int32(exactly: $0) }), count > 0 else {
                    throw .badArgument(option: "--count", word, why: "is no number from 1 on")
                }
                settings.count = Int(count)
            })
    }
    static var forPatience: Choice {
        Choice(
            name: "--deadline", argument: "SECONDS", help: "how long it may take",
            apply: { (settings, word) throws(CommandError) in
                guard let seconds = word.number.flatMap({ Int32(exactly: $0) }) else {
                    throw .badArgument(option: "--deadline", word, why: "is no number of seconds")
                }
                settings.patience = .milliseconds(UInt64(seconds) * 1000)
            })
    }
    static var forHelp: Choice {
        Choice(
            name: "--help", argument: nil, help: "print this",
            apply: { (settings, _) throws(CommandError) in settings.wantsHelp = true })
    }

    static func permissions(_ words: [Text]) throws(CommandError) -> [StorePermission] {
        try words.map { (word) throws(CommandError) in
            guard let permission = StorePermission(word) else {
                throw .badArgument(
                    option: "mode", word, why: "is not n, r, w or b and the number of a domain")
            }
            return permission
        }
    }

    static func path(_ word: Text) throws(CommandError) -> StorePath {
        do throws(StorePath.Flaw) { return try StorePath(word) } catch {
            throw .badArgument(option: "the path", word, why: "\(error.words)")
        }
    }

    /// What a word stands for as a value.
    func bytes(_ word: Text) throws(CommandError) -> [UInt8] {
        if isRaw { return word.bytes }
        guard let bytes = StoreValue.bytes(word) else {
            throw .badArgument(
                option: "the value", word, why: "has a \\ that is not of \\n \\r \\t \\\\ \\xNN")
        }
        return bytes
    }
}

/// One of the things that can be done with the store.
struct StoreVerb {
    let name: StaticString
    /// Words and meaning, for help.
    let usage: StaticString
    let table: [StoreSettings.Choice]
    /// How many words it needs.
    let needed: Int
    /// The moment it takes without --deadline; nil for one that waits as long as it takes.
    let patience: Nanoseconds?
    let run: (XenStore, StoreSettings, [Text]) throws(CommandError) -> Int32
}

enum GrantStore {
    private static var verbs: [StoreVerb] {
        [
            StoreVerb(
                name: "get", usage: "PATH...: print the values of entries",
                table: [StoreSettings.forRawValues, StoreSettings.forPaths], needed: 1,
                patience: XenStore.patience,
                run: { (store, settings, words) throws(CommandError) in
                    try get(store, settings, words)
                }),
            StoreVerb(
                name: "set", usage: "PATH VALUE [PATH VALUE]...: write entries, all or none",
                table: [StoreSettings.forRawValues, StoreSettings.forPermissions], needed: 2,
                patience: XenStore.patience,
                run: { (store, settings, words) throws(CommandError) in
                    try set(store, settings, words)
                }),
            StoreVerb(
                name: "list", usage: "[PATH]: print the names of what is below an entry",
                table: [StoreSettings.forTree, StoreSettings.forFullPaths], needed: 0,
                patience: XenStore.patience,
                run: { (store, settings, words) throws(CommandError) in
                    try list(store, settings, words)
                }),
            StoreVerb(
                name: "watch", usage: "PATH...: print the path of what changes, line by line",
                table: [StoreSettings.forCount], needed: 1, patience: nil,
                run: { (store, settings, words) throws(CommandError) in
                    try watch(store, settings, words)
                }),
            StoreVerb(
                name: "wait", usage: "PATH: wait until an entry is there, print its value",
                table: [
                    StoreSettings.forValue, StoreSettings.forAbsence, StoreSettings.forRawValues,
                ], needed: 1, patience: nil,
                run: { (store, settings, words) throws(CommandError) in
                    try wait(store, settings, words)
                }),
            StoreVerb(
                name: "mkdir", usage: "PATH...: make entries without a value", table: [],
                needed: 1, patience: XenStore.patience,
                run: { (store, _, words) throws(CommandError) in
                    try each(words) { (path) throws(GrantError) in try store.makeDirectory(path) }
                }),
            StoreVerb(
                name: "rm", usage: "PATH...: remove entries and all that is below them",
                table: [], needed: 1, patience: XenStore.patience,
                run: { (store, _, words) throws(CommandError) in
                    try each(words) { (path) throws(GrantError) in try store.remove(path) }
                }),
            StoreVerb(
                name: "chmod", usage: "PATH [MODE...]: print or set who may use an entry (n0 r3)",
                table: [], needed: 1, patience: XenStore.patience,
                run: { (store, _, words) throws(CommandError) in try chmod(store, words) }),
        ]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        guard let first = words.first else { throw .noSubcommand }
        if first == "--help" { return Message.print(help) }
        guard let verb = verbs.first(where: { first == $0.name }) else {
            throw .unknownSubcommand("store \(first)")
        }
        var settings = StoreSettings()
        let table = verb.table + [StoreSettings.forPatience, StoreSettings.forHelp]
        let rest = try Options.read(words.dropFirst(), table, into: &settings)
        if settings.wantsHelp {
            var text: Text =
                "Usage: \(GrantCommand.name) store \(verb.name) [OPTIONS] \(verb.usage)\n"
            text += Options.help(table)
            return Message.print(text)
        }
        guard rest.count >= verb.needed else {
            throw .missingWords("store \(verb.name)", "\(verb.usage)")
        }
        let deadline = (settings.patience ?? verb.patience).map { Deadline.after($0) } ?? .never
        let store = try GrantCommand.onXen { () throws(GrantError) in
            try XenStore(deadline: deadline)
        }
        return try verb.run(store, settings, Array(rest))
    }

    private static var help: Text {
        var text: Text = """
            Usage: \(GrantCommand.name) store VERB [OPTIONS] WORDS
            Reads, changes and watches the small tree of values that the domains of a machine
            share. Paths are absolute, or relative to this domain's own folder.


            """
        for verb in verbs { text += "  \(verb.name) \(verb.usage)\n" }
        return text
    }
}
