// `mini-grant event VERB …`: a bell between two domains, for scripts. One side makes a port, the other side
// binds itself to it; either can ring. Source: docs/abi/xen-grants.md §6.

/// What a command line of `event` asks for, beside the domain.
struct EventChoices {
    /// A port of the other domain, or `@PATH` where the store has its number.
    var port: Text?
    var count = 1
    var patience: Nanoseconds?
}

enum GrantEvent {
    private enum Verb: CaseIterable { case bind, notify, wait }

    private static func description(_ verb: Verb) -> (name: StaticString, meaning: StaticString) {
        switch verb {
        case .bind: ("bind", "make a port for domain D, print it, and wait for its events")
        case .notify: ("notify", "send an event to a port of domain D")
        case .wait: ("wait", "bind a port of domain D, and wait for its events")
        }
    }

    private static var forPort: GrantSettings.Choice {
        GrantSettings.word("--port", "P", "the port that D has made: a number, or @PATH") {
            $0.event.port = $1
        }
    }
    private static var forPublication: GrantSettings.Choice {
        GrantSettings.word("--publish", "PATH", "write the port to the store, for D to read") {
            $0.publication = $1
        }
    }
    private static var forCount: GrantSettings.Choice {
        GrantSettings.word("--count", "N", "end after N events (1); 0 for no end") {
            (settings, word) throws(CommandError) in
            settings.event.count = try GrantSettings.count("--count", word)
        }
    }
    private static var forPatience: GrantSettings.Choice {
        GrantSettings.time("--deadline", "how long to wait for an event") {
            (settings, word) throws(CommandError) in
            settings.event.patience = try GrantSettings.seconds("--deadline", word)
        }
    }

    private static func table(_ verb: Verb) -> [GrantSettings.Choice] {
        var table = [GrantSettings.forDomain]
        switch verb {
        case .bind: table += [forPublication, forCount, forPatience]
        case .notify: table += [forPort]
        case .wait: table += [forPort, forCount, forPatience]
        }
        return table + [GrantSettings.forHelp]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        guard let (verb, settings) = try read(words) else {
            return Message.print(GrantCommand.name, help)
        }
        if settings.wantsHelp {
            let (name, meaning) = description(verb)
            var text: Text = "Usage: \(GrantCommand.name) event \(name) --domain D [OPTIONS]\n"
            text += "To \(meaning).\nOptions:\n"
            text += Options.help(table(verb))
            return Message.print(GrantCommand.name, text)
        }
        let domain = try settings.namedDomain()
        switch verb {
        case .bind:
            return try GrantCommand.onXen { () throws(GrantError) in
                try bind(domain, settings.event, settings.publication)
            }
        case .notify:
            let port = try port(settings.event)
            try GrantCommand.onXen { () throws(GrantError) in
                let channel = try EventChannel(.interdomain(domain, port))
                try channel.notify()
                try channel.unbind()
            }
            return ExitCode.success
        case .wait:
            let port = try port(settings.event)
            return try GrantCommand.onXen { () throws(GrantError) in
                try wait(domain, port, settings.event)
            }
        }
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        guard let (verb, settings) = try read(words), !settings.wantsHelp else { return }
        try settings.checkDomain()
        if case .bind = verb {
            _ = try settings.published()
        } else if !(settings.event.port?.isStorePath ?? false) {
            _ = try port(settings.event)
        }
    }

    /// - Returns: nil if help of all verbs is wanted.
    private static func read(
        _ words: ArraySlice<Text>
    ) throws(CommandError) -> (Verb, GrantSettings)? {
        guard let first = words.first else { throw .noSubcommand }
        if first == "--help" || first == "-h" { return nil }
        guard let verb = Verb.allCases.first(where: { first == description($0).name }) else {
            throw .unknownSubcommand("event \(first)")
        }
        var settings = GrantSettings()
        try GrantCommand.read(words.dropFirst(), table(verb), into: &settings)
        return (verb, settings)
    }

    private static func port(_ choices: EventChoices) throws(CommandError) -> EventPort {
        guard let word = choices.port else { throw .missingOption("--port") }
        let number = try StoreWord.read(word)
        guard let port = number.number.flatMap({ EventPort($0) }) else {
            throw StoreWord.complaint("--port", word, number, "is no event port")
        }
        return port
    }

    // MARK: Waiting

    private static func bind(
        _ domain: DomainID, _ choices: EventChoices, _ publication: Text?
    ) throws(GrantError) -> Int32 {
        let path = try publication.map { (path) throws(GrantError) in
            try PublishedEntry.path(path)
        }
        let hold = try Hold()
        return try hold.answering { () throws(GrantError) in
            try bind(domain, choices, path, hold)
        }
    }

    private static func bind(
        _ domain: DomainID, _ choices: EventChoices, _ path: StorePath?, _ hold: Hold
    ) throws(GrantError) -> Int32 {
        let deadline = deadline(choices, hold)
        let channel = try EventChannel(.unbound(for: domain))
        let published = try path.map { (path) throws(GrantError) in
            try PublishedEntry(
                ["\(channel.port.rawValue)"], at: path, for: domain, deadline)
        }
        try GrantFiles.say("\(channel.port.rawValue)\n", hold.deadline)
        let code = try awaitEvents(channel, of: domain, hold, choices.count, deadline)
        try published?.withdraw()
        try channel.unbind()
        return code
    }

    private static func wait(
        _ domain: DomainID, _ port: EventPort, _ choices: EventChoices
    ) throws(GrantError) -> Int32 {
        let hold = try Hold()
        return try hold.answering { () throws(GrantError) in
            let deadline = deadline(choices, hold)
            let channel = try EventChannel(.interdomain(domain, port))
            // Xen rings a port as soon as it is bound to another domain's: that event has no sender.
            _ = try channel.wait(deadline.within(.milliseconds(1000)))
            let code = try awaitEvents(channel, of: domain, hold, choices.count, deadline)
            try channel.unbind()
            return code
        }
    }

    /// For all that comes before the last event, and over when a signal has come.
    private static func deadline(_ choices: EventChoices, _ hold: Hold) -> Deadline {
        choices.patience.map { hold.deadline.within($0) } ?? hold.deadline
    }

    /// - Parameter wanted: how many; 0 for no end.
    private static func awaitEvents(
        _ channel: EventChannel, of domain: DomainID, _ hold: Hold, _ wanted: Int,
        _ deadline: Deadline
    ) throws(GrantError) -> Int32 {
        let peer = PeerDomain(domain, deadline)
        let wanted = UInt64(wanted)
        var count: UInt64 = 0
        while true {
            let pause = min(PeerDomain.pause, deadline.remaining ?? PeerDomain.pause)
            switch try hold.wait(for: channel.descriptor, atMost: pause) {
            case .ready:
                try channel.take()
                count += 1
                if count == wanted { return ExitCode.success }
            case .signal(let signal): return ExitCode.signal(signal)
            case .nothing:
                if let breach = deadline.isOver ? nil : peer.look() { throw .refused(breach.words) }
            }
            // The other domain may ring all the time.
            if deadline.isOver {
                let events: Text =
                    count == 0 ? "no event" : "only \(count) event\(count == 1 ? "" : "s")"
                throw .deadline("\(events) of domain \(domain.rawValue) came in time")
            }
        }
    }

    private static var help: Text {
        var text: Text = """
            Usage: \(GrantCommand.name) event VERB --domain D [OPTIONS]
            Sends events to another domain, and waits for them.

            Verbs; VERB --help tells more:

            """
        for verb in Verb.allCases {
            let (name, meaning) = description(verb)
            text += Help.line("\(name)", meaning)
        }
        return text
    }
}
