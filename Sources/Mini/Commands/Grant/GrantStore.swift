// `mini-grant store VERB …`: XenStore for scripts, in the words of the xenstore-* tools. What the verbs
// do is in GrantStoreVerbs.swift.

/// What a command line of `store` asks for.
struct StoreChoices {
    /// Values as they are, not as a terminal may see them.
    var isRaw = false
    var showsPaths = false
    var isTree = false
    var isFull = false
    var showsPermissions = false
    /// Everything below as well; or everything above.
    var isDownward = false
    var isUpward = false
    /// Whether what was left empty goes, too.
    var isTidy = false
    /// What to wait for; nil for any value.
    var value: Text?
    var awaitsAbsence = false
    var permissions: StorePermissions?
    var count = Int.max
    var patience: Nanoseconds?
}

extension GrantSettings {
    /// An option of the store's verbs, with the name that those of xenstore-* have for it.
    private static func anywhere(_ choice: Choice, _ short: StaticString? = nil) -> Choice {
        var choice = choice
        choice.shortName = short
        return choice
    }

    fileprivate static var forRawValues: Choice {
        anywhere(
            flag("--raw", "values as they are, without \\n, \\xNN") { settings, _ in
                settings.store.isRaw = true
            }, "-R")
    }
    fileprivate static var forPaths: Choice {
        anywhere(
            flag("--paths", "each one behind its path") { settings, _ in
                settings.store.showsPaths = true
            }, "-p")
    }
    fileprivate static var forTree: Choice {
        anywhere(
            flag("--tree", "all that is below, with values") { settings, _ in
                settings.store.isTree = true
            })
    }
    fileprivate static var forFullPaths: Choice {
        anywhere(
            flag("--full", "the same with whole paths") { settings, _ in
                settings.store.isFull = true
            }, "-f")
    }
    fileprivate static func forShownPermissions(_ short: StaticString?) -> Choice {
        anywhere(
            flag("--perms", "and who may use them, as (n0,r3)") {
                settings, _ in settings.store.showsPermissions = true
            }, short)
    }
    fileprivate static var forRecursion: Choice {
        anywhere(
            flag("--recurse", "all that is below as well") { settings, _ in
                settings.store.isDownward = true
            }, "-r")
    }
    fileprivate static var forParents: Choice {
        anywhere(
            flag("--upto", "all that is above as well") { settings, _ in
                settings.store.isUpward = true
            }, "-u")
    }
    fileprivate static var forTidiness: Choice {
        anywhere(
            flag("--tidy", "and what is above, if that leaves it empty") { settings, _ in
                settings.store.isTidy = true
            },
            "-t")
    }
    fileprivate static var forValue: Choice {
        anywhere(
            word("--value", "V", "until the value is V, not just any", excludes: "--gone") {
                $0.store.value = $1
            })
    }
    fileprivate static var forAbsence: Choice {
        anywhere(
            flag("--gone", "until the entry is not there") { settings, _ in
                settings.store.awaitsAbsence = true
            })
    }
    fileprivate static var forMode: Choice {
        anywhere(
            Choice(
                name: "--mode", argument: "M[,M...]",
                help: "who may use them: owner and others, then domains (n0,r3)",
                apply: { (settings, word) throws(CommandError) in
                    let modes = word.bytes[...].split(
                        separator: UInt8(ascii: ","), omittingEmptySubsequences: false
                    ).map { Text(bytes: Array($0)) }
                    settings.store.permissions = try permissions(modes)
                }))
    }
    fileprivate static var forCount: Choice {
        anywhere(
            word("--count", "N", "end after N changes") { (settings, word) throws(CommandError) in
                settings.store.count = try count("--count", word)
            }, "-n")
    }
    fileprivate static var forStorePatience: Choice {
        anywhere(
            time("--deadline", "how long it may take") { (settings, word) throws(CommandError) in
                settings.store.patience = try seconds("--deadline", word)
            })
    }
    /// What xenstore-* need to be told for domain 0's socket. Here the way to the store is found.
    fileprivate static var forSocket: Choice {
        anywhere(flag("--socket", "as without: the way to the store is found") { _, _ in }, "-s")
    }
    fileprivate static var forStoreHelp: Choice { anywhere(forHelp, "-h") }

    /// - Parameter words: at least one.
    static func permissions(_ words: [Text]) throws(CommandError) -> StorePermissions {
        guard let permissions = StorePermissions(words) else {
            throw .badArgument(
                option: "mode", words.first { !StorePermissions.isMode($0) } ?? Text(),
                why: "is not n, r, w or b with the number of a domain")
        }
        return permissions
    }
}

enum GrantStore {
    enum Verb: CaseIterable { case get, set, list, ls, watch, wait, exists, mkdir, rm, chmod }

    /// Between operations of which the store takes all or none.
    private static let conjunction: StaticString = "--and"

    /// Names, the second one as xenstore-* has it; words, meaning, and how many words it needs.
    private static func description(
        _ verb: Verb
    ) -> (
        name: StaticString, alias: StaticString, words: StaticString, meaning: StaticString,
        needed: Int
    ) {
        switch verb {
        case .get: ("get", "read", "PATH...", "print the values of entries", 1)
        case .set: ("set", "write", "PATH VALUE...", "write entries, all or none", 2)
        case .list: ("list", "list", "[PATH...]", "print the names of what is below an entry", 0)
        case .ls: ("ls", "ls", "[PATH...]", "print all that is below an entry, with values", 0)
        case .watch:
            ("watch", "watch", "PATH...", "print the path of what changes, line by line", 1)
        case .wait: ("wait", "wait", "PATH", "wait until an entry is there, print its value", 1)
        case .exists:
            ("exists", "exists", "PATH...", "end with 0 if entries are there, with 1 if not", 1)
        case .mkdir: ("mkdir", "mkdir", "PATH...", "make entries without a value", 1)
        case .rm: ("rm", "rm", "PATH...", "remove entries and all that is below them", 1)
        case .chmod:
            ("chmod", "chmod", "PATH [MODE...]", "print or set who may use an entry (n0 r3)", 1)
        }
    }

    private static func table(_ verb: Verb) -> [GrantSettings.Choice] {
        var table = [
            GrantSettings.forStorePatience, GrantSettings.forSocket, GrantSettings.forStoreHelp,
        ]
        switch verb {
        case .get: table += [GrantSettings.forRawValues, GrantSettings.forPaths]
        case .set: table += [GrantSettings.forRawValues, GrantSettings.forMode]
        case .list:
            table += [
                GrantSettings.forTree, GrantSettings.forFullPaths,
                GrantSettings.forShownPermissions(nil), GrantSettings.forPaths,
            ]
        case .ls: table += [GrantSettings.forFullPaths, GrantSettings.forShownPermissions("-p")]
        case .watch: table += [GrantSettings.forCount]
        case .wait:
            table += [
                GrantSettings.forValue, GrantSettings.forAbsence, GrantSettings.forRawValues,
            ]
        case .rm: table += [GrantSettings.forTidiness]
        case .chmod: table += [GrantSettings.forRecursion, GrantSettings.forParents]
        case .mkdir, .exists: break
        }
        return table
    }

    /// One of the things that a command line asks for.
    struct Operation {
        let verb: Verb
        let choices: StoreChoices
        let words: [Text]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        switch try readAll(words) {
        case .help(let text): return Message.print(GrantCommand.name, text)
        case .operations(let operations): return try run(operations)
        }
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) { _ = try readAll(words) }

    private static func readAll(_ words: ArraySlice<Text>) throws(CommandError) -> Request {
        guard let first = words.first else { throw .noSubcommand }
        if first == "--help" || first == "-h" { return .help(help) }
        var operations: [Operation] = []
        var rest = words
        while true {
            let end = rest.firstIndex { $0 == conjunction } ?? rest.endIndex
            if end == rest.startIndex { throw .missingWords("\(conjunction)", "a verb") }
            switch try read(rest[..<end]) {
            case .help(let text): return .help(text)
            case .operations(let more): operations += more
            }
            if end == rest.endIndex { break }
            rest = rest[(end + 1)...]
        }
        try GrantCommand.onXen { () throws(GrantError) in try StoreOperations.check(operations) }
        return .operations(operations)
    }

    /// Long names of options that xenstore-* have, and ours.
    private static var otherNames: [(theirs: StaticString, ours: StaticString)] {
        [("--prefix", "--paths"), ("--flat", "--full"), ("--number", "--count")]
    }

    /// Our name of an option in place of that of xenstore-*, with what stands after a `=`.
    private static func renamed(_ word: Text, _ table: [GrantSettings.Choice]) -> Text {
        for (theirs, ours) in otherNames {
            guard let rest = word.dropping(prefix: theirs),
                rest.bytes.first ?? equals == equals,
                table.contains(where: { "\(ours)" as Text == $0.name })
            else { continue }
            return "\(ours)\(rest)"
        }
        return word
    }
    private static let equals = UInt8(ascii: "=")

    /// Letters that are options stand for themselves when they stand together: `-fp` is `-f -p`, `-n2` is `-n 2`.
    private static func apart(
        _ words: ArraySlice<Text>, _ table: [GrantSettings.Choice]
    ) -> ArraySlice<Text> {
        var apart: [Text] = []
        var isBehindDashes = false
        for word in words {
            isBehindDashes = isBehindDashes || word == "--"
            if !isBehindDashes, word.bytes.count > 2,
                table.contains(where: { option in
                    option.argument != nil
                        && (option.shortName.map { word.prefix(2) == $0 } ?? false)
                })
            {
                apart += [word.prefix(2), word.dropping(2)]
                continue
            }
            let letters = word.bytes.dropFirst().map { letter -> Text in "-\(letter, character: ())"
            }
            let areOptions = letters.allSatisfy { letter in
                table.contains { option in
                    option.argument == nil && (option.shortName.map { letter == $0 } ?? false)
                }
            }
            let isBundle = word.bytes.first == UInt8(ascii: "-") && letters.count > 1
            if isBehindDashes {
                apart.append(word)
            } else {
                apart += isBundle && areOptions ? letters : [renamed(word, table)]
            }
        }
        return apart[...]
    }

    private enum Request {
        case help(Text)
        case operations([Operation])
    }

    /// - Parameter words: at least one.
    private static func read(_ words: ArraySlice<Text>) throws(CommandError) -> Request {
        let first = words[words.startIndex]
        guard
            let verb = Verb.allCases.first(where: {
                first == description($0).name || first == description($0).alias
            })
        else { throw .unknownSubcommand("store \(first)") }
        var settings = GrantSettings()
        let table = table(verb)
        let words = apart(words, table)
        var left = words.dropFirst()
        var given = GivenOptions()
        try Options.readFront(&left, table, into: &settings, &given)
        if !Options.takeDashes(&left) {
            // A value with a dash in front is no option, but what is one counts after the words, too.
            var unknown: [Text] = []
            left = try Options.readBehind(left, table, into: &settings, &given, unknown: &unknown)
        }
        var rest = Array(left)
        let dashes = words.firstIndex { $0 == "--" }
        // In front of the words it is not among them any more.
        if let dashes, let place = rest.firstIndex(where: { $0 == "--" }),
            rest.count - place == words.endIndex - dashes
        {
            rest.remove(at: place)
        }
        let (name, _, needs, meaning, needed) = description(verb)
        if settings.wantsHelp {
            var text: Text = "Usage: \(GrantCommand.name) store \(name) [OPTIONS] \(needs)\n"
            text += "To \(meaning).\nOptions:\n"
            text += Options.help(table)
            return .help(text)
        }
        if dashes == nil {
            // A value may begin with a dash. A path that does, stands after `--`.
            for (index, word) in rest.enumerated()
            where (verb != .set || index % 2 == 0) && word.bytes.first == UInt8(ascii: "-") {
                throw .unknownOption(word)
            }
        }
        guard rest.count >= needed else { throw .missingWords("store \(name)", "\(needs)") }
        return .operations([Operation(verb: verb, choices: settings.store, words: rest)])
    }

    private static func run(_ operations: [Operation]) throws(CommandError) -> Int32 {
        var patience = operations.compactMap { $0.choices.patience }.min()
        let first = operations[0]
        let waits = first.verb == .watch || first.verb == .wait
        if !waits { patience = patience ?? XenStore.patience }
        // A store that ends is told in a line. Of standard output we say the same as the signal.
        Signal.brokenPipe.quiet()
        do throws(GrantError) {
            let store = try XenStore(deadline: patience.map { Deadline.after($0) } ?? .never)
            let work = StoreOperations(store)
            if waits { return try work.wait(first) }
            return try work.perform(operations)
        } catch { throw .grant(error) }
    }

    private static var help: Text {
        var text: Text = """
            Usage: \(GrantCommand.name) store VERB [OPTIONS] WORDS [--and VERB WORDS]...
            Reads, changes and watches the small tree of values that the domains of a
            machine share. Paths are absolute, or relative to this domain's own folder,
            which is `.`.
            What --and joins happens as a whole or not at all.

            Verbs; VERB --help tells more (read and write are get and set):

            """
        for verb in Verb.allCases {
            let (name, _, words, meaning, _) = description(verb)
            text += Help.columns("  \(name) \(words)", "\(meaning)", 22)
        }
        return text
    }
}
