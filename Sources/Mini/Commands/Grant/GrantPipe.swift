// `mini-grant pipe`: a vchan between standard input and output, or a local socket, and another domain.

/// What a command line of `pipe` asks for, beside the domain.
struct PipeChoices {
    var role: VchanRole?
    var path: Text?
    var socket: Text?
    /// Whether to listen on the socket or to connect to it; nil for what is usual for the role.
    var listens: Bool?
    var ringBytes = 131072
    var patience: Nanoseconds?
    var linger: Nanoseconds?
    var expected: UInt64?
    var marker: UInt8?
    var statePath: Text?
    var reconnects = false
    var isVerbose = false
}

enum GrantPipe {
    private typealias Choice = GrantSettings.Choice

    private static var table: [Choice] {
        [
            GrantSettings.forDomain,
            GrantSettings.word("--path", "P", "where in the store the ends find each other") {
                $0.pipe.path = $1
            },
            GrantSettings.flag(
                "--server", "offer the vchan, and wait for the client", excludes: "--client"
            ) { settings, _ in settings.pipe.role = .server },
            GrantSettings.flag("--client", "wait for the server, and connect to it") {
                settings, _ in settings.pipe.role = .client
            },
            GrantSettings.word(
                "--socket", "FILE",
                "a socket instead: a server connects, a client listens"
            ) { $0.pipe.socket = $1 },
            GrantSettings.flag("--listen", "listen on the socket", excludes: "--connect") {
                settings, _ in settings.pipe.listens = true
            },
            GrantSettings.flag("--connect", "connect to the socket") { settings, _ in
                settings.pipe.listens = false
            },
            GrantSettings.flag("--reconnect", "after one peer wait for the next") {
                settings, _ in settings.pipe.reconnects = true
            },
            Choice(
                name: "--reconnect-marker", argument: "BYTE",
                help: "a client sends it first; a new one is known by it",
                apply: { (settings, word) throws(CommandError) in
                    guard let byte = word.number.flatMap({ UInt8(exactly: $0) }) else {
                        throw .badArgument(
                            option: "--reconnect-marker", word, why: "is no number from 0 to 255")
                    }
                    settings.pipe.marker = byte
                }),
            GrantSettings.word(
                "--state-path", "PATH", "write running there in the store when a peer may come"
            ) { $0.pipe.statePath = $1 },
            GrantSettings.time(
                "--linger", "how long a silence ends it behind the end of the input"
            ) { (settings, word) throws(CommandError) in
                settings.pipe.linger = try GrantSettings.seconds("--linger", word)
            },
            Choice(
                name: "--expect", argument: "BYTES",
                help: "just so many are to come; fewer or more are an error",
                excludes: "--reconnect",
                apply: { (settings, word) throws(CommandError) in
                    guard let bytes = word.number else {
                        throw .badArgument(option: "--expect", word, why: "is no number of bytes")
                    }
                    settings.pipe.expected = bytes
                }),
            Choice(
                name: "--ring", argument: "BYTES", help: "the least size of each ring (131072)",
                excludes: "--client",
                apply: { (settings, word) throws(CommandError) in
                    guard let bytes = word.number, bytes > 0, bytes <= 1 << 20 else {
                        throw .badArgument(
                            option: "--ring", word, why: "is no number from 1 to 1048576")
                    }
                    settings.pipe.ringBytes = Int(bytes)
                }),
            GrantSettings.time("--deadline", "how long to wait for a peer") {
                (settings, word) throws(CommandError) in
                settings.pipe.patience = try GrantSettings.seconds("--deadline", word)
            },
            GrantSettings.flag("--verbose", "say on standard error what is done") {
                settings, _ in settings.pipe.isVerbose = true
            },
            GrantSettings.forHelp,
        ] + GrantSettings.forSandbox
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        if settings.wantsHelp { return Message.print(GrantCommand.name, help) }
        // Writing a message never waits: a signal could not end that.
        let messages = MessageOutput()
        let plan = try plan(settings, messages)
        let complain: (Text) -> Void = { messages.write("\(GrantCommand.name): \($0)\n") }
        let report = settings.pipe.isVerbose ? complain : nil
        let outcome = try GrantCommand.onXen { () throws(GrantError) in
            try VchanSession(plan, report: report, complain: complain).run()
        }
        switch outcome {
        case .done: return ExitCode.success
        case .left(let departure) where !departure.isLoss: return ExitCode.success
        case .left, .replaced, .broken: throw .grant(.refused(outcome.words))
        case .outputClosed: return ExitCode.signal(.brokenPipe)
        case .stopped(let signal): return ExitCode.signal(signal)
        }
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        if !settings.wantsHelp { _ = try ends(settings) }
    }

    /// The two ends, and the paths in the store.
    private static func ends(
        _ settings: GrantSettings
    ) throws(CommandError) -> (
        role: VchanRole, local: PipePlan.Local, path: StorePath, statePath: StorePath?
    ) {
        let pipe = settings.pipe
        guard let role = pipe.role else { throw .missingOption("--server or --client") }
        try settings.checkDomain()
        guard let path = pipe.path else { throw .missingOption("--path") }
        var local = PipePlan.Local.standard
        if let socket = pipe.socket {
            let listens = pipe.listens ?? (role == .client)
            local = listens ? .listen(socket) : .connect(socket)
        } else if pipe.listens != nil {
            throw .missingOption("--socket")
        }
        return try GrantCommand.onXen { () throws(GrantError) in
            let statePath = try pipe.statePath.map { (path) throws(GrantError) in
                try PublishedEntry.path(path)
            }
            return (role, local, try PublishedEntry.path(path), statePath)
        }
    }

    private static func plan(
        _ settings: GrantSettings, _ messages: MessageOutput
    ) throws(CommandError) -> PipePlan {
        let pipe = settings.pipe
        let (role, local, path, statePath) = try ends(settings)
        let domain = try settings.namedDomain()
        var plan = PipePlan(
            role: role, domain: domain, path: path, local: local, ringBytes: pipe.ringBytes,
            patience: pipe.patience, linger: pipe.linger, expected: pipe.expected,
            reconnects: pipe.reconnects, marker: pipe.marker, statePath: statePath,
            progress: progress(local, messages))
        plan.sandbox = settings.sandboxChoice
        plan.errors = [messages.descriptor]
        plan.messageFeatures = GrantFeature.of(messages)
        return plan
    }

    /// A terminal that is one of the pipe's own ends is not written over.
    private static func progress(
        _ local: PipePlan.Local, _ messages: MessageOutput
    ) -> ((UInt64) -> Void)? {
        guard Terminal.isTerminal(2),
            local != .standard || !(Terminal.isTerminal(0) || Terminal.isTerminal(1))
        else { return nil }
        let progress = Progress(of: nil, messages)
        return { progress.update($0) }
    }

    private static var help: Text {
        GrantCommand.help(
            """
            pipe --server|--client --domain D --path P [OPTIONS]
            Carries bytes both ways between standard input and output, or a local socket,
            and another domain, through a vchan. Ends when both directions have ended, or
            when the other end leaves.

            """, table)
    }
}
