// `mini-grant store VERB …`: XenStore for scripts, in the words of the xenstore-* tools. What the verbs
// do is in GrantStoreVerbs.swift.

/// What a command line of `store` asks for.
struct StoreChoices {
    /// Values as they are, not as a terminal may see them.
    var isRaw = false
    var showsPaths = false
    var isTree = false
    var isFull = false
    /// What to wait for; nil for any value.
    var value: Text?
    var awaitsAbsence = false
    var permissions: StorePermissions?
    var count = Int.max
    var patience: Nanoseconds?
}

extension GrantSettings {
    fileprivate static var forRawValues: Choice {
        flag("--raw", "values as they are, without \\n, \\xNN") { $0.store.isRaw = true }
    }
    fileprivate static var forPaths: Choice {
        flag("--paths", "each value behind its path") { $0.store.showsPaths = true }
    }
    fileprivate static var forTree: Choice {
        flag("--tree", "all that is below, with values") { $0.store.isTree = true }
    }
    fileprivate static var forFullPaths: Choice {
        flag("--full", "the same with whole paths") { $0.store.isFull = true }
    }
    fileprivate static var forValue: Choice {
        word("--value", "V", "until the value is V, not just any") { $0.store.value = $1 }
    }
    fileprivate static var forAbsence: Choice {
        flag("--gone", "until the entry is not there") { $0.store.awaitsAbsence = true }
    }
    fileprivate static var forMode: Choice {
        Choice(
            name: "--mode", argument: "M[,M...]",
            help: "who may use the entries: the owner and others, then domains (n0,r3)",
            apply: { (settings, word) throws(CommandError) in
                settings.store.permissions = try permissions(
                    word.bytes.split(
                        separator: UInt8(ascii: ","), omittingEmptySubsequences: false
                    ).map { Text(bytes: Array($0)) })
            })
    }
    fileprivate static var forCount: Choice {
        number("--count", "N", "end after N changes") { $0.store.count = $1 }
    }
    fileprivate static var forStorePatience: Choice {
        time("--deadline", "how long it may take") { $0.store.patience = $1 }
    }

    static func permissions(_ words: [Text]) throws(CommandError) -> StorePermissions {
        guard let permissions = StorePermissions(words) else {
            throw .badArgument(
                option: "mode", words.first ?? Text(),
                why: "is not a list of n, r, w or b with the number of a domain")
        }
        return permissions
    }
}

enum GrantStore {
    private enum Verb { case get, set, list, watch, wait, mkdir, rm, chmod }

    private static var verbs: [Verb] { [.get, .set, .list, .watch, .wait, .mkdir, .rm, .chmod] }

    /// Name, words, and meaning; how many words it needs.
    private static func description(
        _ verb: Verb
    ) -> (name: StaticString, words: StaticString, meaning: StaticString, needed: Int) {
        switch verb {
        case .get: ("get", "PATH...", "print the values of entries", 1)
        case .set: ("set", "PATH VALUE...", "write entries, all or none", 2)
        case .list: ("list", "[PATH]", "print the names of what is below an entry", 0)
        case .watch: ("watch", "PATH...", "print the path of what changes, line by line", 1)
        case .wait: ("wait", "PATH", "wait until an entry is there, print its value", 1)
        case .mkdir: ("mkdir", "PATH...", "make entries without a value", 1)
        case .rm: ("rm", "PATH...", "remove entries and all that is below them", 1)
        case .chmod: ("chmod", "PATH [MODE...]", "print or set who may use an entry (n0 r3)", 1)
        }
    }

    private static func table(_ verb: Verb) -> [GrantSettings.Choice] {
        var table = [GrantSettings.forStorePatience, GrantSettings.forHelp]
        switch verb {
        case .get: table += [GrantSettings.forRawValues, GrantSettings.forPaths]
        case .set: table += [GrantSettings.forRawValues, GrantSettings.forMode]
        case .list: table += [GrantSettings.forTree, GrantSettings.forFullPaths]
        case .watch: table += [GrantSettings.forCount]
        case .wait:
            table += [
                GrantSettings.forValue, GrantSettings.forAbsence, GrantSettings.forRawValues,
            ]
        case .mkdir, .rm, .chmod: break
        }
        return table
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        guard let first = words.first else { throw .noSubcommand }
        if first == "--help" { return Message.print(help) }
        guard let verb = verbs.first(where: { first == description($0).name }) else {
            throw .unknownSubcommand("store \(first)")
        }
        var settings = GrantSettings()
        let table = table(verb)
        let rest = try Options.read(words.dropFirst(), table, into: &settings)
        let (name, needs, meaning, needed) = description(verb)
        if settings.wantsHelp {
            var text: Text = "Usage: \(GrantCommand.name) store \(name) [OPTIONS] \(needs)\n"
            text += "To \(meaning).\nOptions:\n"
            text += Options.help(table)
            return Message.print(text)
        }
        guard rest.count >= needed else { throw .missingWords("store \(name)", "\(needs)") }
        return try run(verb, settings.store, Array(rest))
    }

    private static func run(
        _ verb: Verb, _ choices: StoreChoices, _ words: [Text]
    ) throws(CommandError) -> Int32 {
        var patience = choices.patience
        switch verb {
        case .watch, .wait: break
        default: patience = patience ?? XenStore.patience
        }
        do throws(GrantError) {
            let store = try XenStore(deadline: patience.map { Deadline.after($0) } ?? .never)
            switch verb {
            case .get: return try get(store, choices, words)
            case .set: try set(store, choices, words)
            case .list: return try list(store, choices, words)
            case .watch: return try watch(store, choices, words)
            case .wait: return try wait(store, choices, words)
            case .mkdir: for word in words { try store.makeDirectory(StorePath(named: word)) }
            case .rm: for word in words { try store.remove(StorePath(named: word)) }
            case .chmod: return try chmod(store, words)
            }
            return ExitCode.success
        } catch { throw .grant(error) }
    }

    private static var help: Text {
        var text: Text = """
            Usage: \(GrantCommand.name) store VERB [OPTIONS] WORDS
            Reads, changes and watches the small tree of values that the domains of a machine
            share. Paths are absolute, or relative to this domain's own folder.

            Verbs; VERB --help tells more:

            """
        for verb in verbs {
            let (name, words, meaning, _) = description(verb)
            text += Help.columns("  \(name) \(words)", "\(meaning)", 22)
        }
        return text
    }
}
