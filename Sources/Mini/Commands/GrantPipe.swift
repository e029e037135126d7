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
            GrantSettings.flag("--server", "offer the vchan, and wait for the client") {
                $0.pipe.role = .server
            },
            GrantSettings.flag("--client", "wait for the server, and connect to it") {
                $0.pipe.role = .client
            },
            GrantSettings.word(
                "--socket", "FILE",
                "a socket, not standard input and output: a server connects, a client listens"
            ) { $0.pipe.socket = $1 },
            GrantSettings.flag("--listen", "listen on the socket") { $0.pipe.listens = true },
            GrantSettings.flag("--connect", "connect to the socket") { $0.pipe.listens = false },
            GrantSettings.flag("--reconnect", "after one peer wait for the next") {
                $0.pipe.reconnects = true
            },
            GrantSettings.time(
                "--linger", "how long a silence ends it when the input has ended and was taken"
            ) { $0.pipe.linger = $1 },
            Choice(
                name: "--ring", argument: "BYTES", help: "the least size of each ring (131072)",
                apply: { (settings, word) throws(CommandError) in
                    guard let bytes = word.number, bytes > 0, bytes <= 1 << 20 else {
                        throw .badArgument(
                            option: "--ring", word, why: "is no number from 1 to 1048576")
                    }
                    settings.pipe.ringBytes = Int(bytes)
                }),
            GrantSettings.time("--deadline", "how long to wait for a peer") {
                $0.pipe.patience = $1
            },
            GrantSettings.flag("--verbose", "say on standard error what is done") {
                $0.pipe.isVerbose = true
            },
            GrantSettings.forHelp,
        ]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        if settings.wantsHelp { return Message.print(help) }
        let plan = try plan(settings)
        let complain: (Text) -> Void = { Message.error(GrantCommand.name, $0) }
        let report = settings.pipe.isVerbose ? complain : nil
        let outcome = try GrantCommand.onXen { () throws(GrantError) in
            try VchanSession(plan, report: report, complain: complain).run()
        }
        switch outcome {
        case .done, .left(untaken: 0): return ExitCode.success
        case .left, .broken: throw .grant(.refused(outcome.words))
        case .outputClosed: return ExitCode.signal(.brokenPipe)
        case .stopped(let signal): return ExitCode.signal(signal)
        }
    }

    private static func plan(_ settings: GrantSettings) throws(CommandError) -> PipePlan {
        let pipe = settings.pipe
        guard let role = pipe.role else { throw .missingOption("--server or --client") }
        let domain = try settings.namedDomain()
        guard let path = pipe.path else { throw .missingOption("--path") }
        var local = PipePlan.Local.standard
        if let socket = pipe.socket {
            let listens = pipe.listens ?? (role == .client)
            local = listens ? .listen(socket) : .connect(socket)
        } else if pipe.listens != nil {
            throw .missingOption("--socket")
        }
        return PipePlan(
            role: role, domain: domain,
            path: try GrantCommand.onXen { () throws(GrantError) in try StorePath(named: path) },
            local: local, ringBytes: pipe.ringBytes,
            patience: pipe.patience, linger: pipe.linger, reconnects: pipe.reconnects)
    }

    private static var help: Text {
        GrantCommand.help(
            """
            pipe --server|--client --domain D --path P [OPTIONS]
            Carries bytes both ways between standard input and output, or a local socket, and
            another domain, through a vchan. Ends when both directions have ended, or when the
            other end leaves.

            """, table)
    }
}
