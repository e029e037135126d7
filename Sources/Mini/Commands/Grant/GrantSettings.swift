// The options that map, copy and share take from one table each, and the words in them that name
// domains, pages and ports.

/// What a command line of mini-grant asks for.
struct GrantSettings {
    var domain: Text?
    var references: Text?
    var output: Text?
    var input: Text?
    /// In bytes from the start of the first page.
    var offset = 0
    /// In bytes; nil for all that is there.
    var length: Int?
    var isWritable = false
    var isHexdump = false
    var isHolding = false
    var executes = false
    var notifiedByte: Int?
    var notifiedPort: EventPort?
    /// How many pages to share; nil for as many as the input fills.
    var pages: PageCount?
    /// Where in the store the references are to be found.
    var publication: Text?
    /// How long to wait for others.
    var patience = Nanoseconds.milliseconds(10_000)
    /// Nil if the command line says nothing of it.
    var sandbox: SandboxChoice?
    var store = StoreChoices()
    var event = EventChoices()
    var pipe = PipeChoices()
    var wantsHelp = false

    // MARK: Options

    typealias Choice = Option<GrantSettings>

    /// What an option does to the settings, with its argument. None keeps a value of its own, so that the compiler
    /// can make tables of them, and code that fills them is short.
    typealias Effect = (inout GrantSettings, Text) throws(CommandError) -> Void

    /// An option without an argument.
    @inline(__always)
    static func flag(
        _ name: StaticString, _ help: StaticString, excludes: StaticString? = nil,
        short: StaticString? = nil, _ effect: @escaping Effect
    ) -> Choice {
        Choice(
            name: name, shortName: short, argument: nil, help: help, excludes: excludes,
            apply: effect)
    }
    /// An option with one.
    @inline(__always)
    static func word(
        _ name: StaticString, _ argument: StaticString, _ help: StaticString,
        excludes: StaticString? = nil, _ effect: @escaping Effect
    ) -> Choice {
        Choice(name: name, argument: argument, help: help, excludes: excludes, apply: effect)
    }
    /// An option whose argument is in seconds.
    @inline(__always)
    static func time(
        _ name: StaticString, _ help: StaticString, _ effect: @escaping Effect
    ) -> Choice {
        word(name, "SECONDS", help, effect)
    }

    static var forDomain: Choice {
        word("--domain", "D", "the other domain: a number, or @PATH in the store") {
            $0.domain = $1
        }
    }
    static var forReferences: Choice {
        word(
            "--ref", "R[,R...]", "its grant references in order, as 8,12-15, or @PATH"
        ) { $0.references = $1 }
    }
    static var forOutput: Choice {
        word(
            "--out", "FILE", "write the bytes to FILE; - is standard output", excludes: "--exec"
        ) { $0.output = $1 }
    }
    static var forInput: Choice {
        word(
            "--in", "FILE", "fill the bytes from FILE; - is standard input", excludes: "--exec"
        ) { $0.input = $1 }
    }
    static var forOffset: Choice {
        word("--offset", "N", "start at this byte (0)", excludes: "--exec") {
            (settings, word) throws(CommandError) in settings.offset = try count("--offset", word)
        }
    }
    static var forLength: Choice {
        word(
            "--length", "N", "this many bytes (to the end of the pages)", excludes: "--exec"
        ) { (settings, word) throws(CommandError) in settings.length = try count("--length", word) }
    }
    static var forHexdump: Choice {
        flag("--hexdump", "write them for people to read", excludes: "--exec") {
            settings, _ in settings.isHexdump = true
        }
    }
    static var forWriting: Choice {
        flag("--write", "map for writing") { settings, _ in settings.isWritable = true }
    }
    static var forHolding: Choice {
        flag("--hold", "keep them until a signal", excludes: "--exec") { settings, _ in
            settings.isHolding = true
        }
    }
    static var forNotifiedByte: Choice {
        word(
            "--notify-byte", "N", "when they go, by whatever end, this byte becomes 0",
            excludes: "--exec"
        ) { (settings, word) throws(CommandError) in
            settings.notifiedByte = try count("--notify-byte", word)
        }
    }
    static var forNotifiedPort: Choice {
        Choice(
            name: "--notify-port", argument: "P",
            help: "and this port of the other domain gets an event", excludes: "--exec",
            apply: { (settings, word) throws(CommandError) in
                guard let port = word.number.flatMap({ EventPort($0) }) else {
                    throw .badArgument(option: "--notify-port", word, why: "is no event port")
                }
                settings.notifiedPort = port
            })
    }
    static var forExecution: Choice {
        flag("--exec", "run the words that follow, which map the pages") { settings, _ in
            settings.executes = true
        }
    }
    static var forPages: Choice {
        Choice(
            name: "--pages", argument: "N", help: "how many pages (what --in fills, or 1)",
            apply: { (settings, word) throws(CommandError) in
                let count = try count("--pages", word)
                guard count > 0, count <= GrantList.most.count else {
                    throw .badArgument(
                        option: "--pages", word, why: "is not from 1 to \(GrantList.most.count)")
                }
                settings.pages = PageCount(count)
            })
    }
    static var forWritableShare: Choice {
        flag("--writable", "D may write to them") { settings, _ in settings.isWritable = true }
    }
    static var forPublication: Choice {
        word("--publish", "PATH", "write the references to the store, for D to read") {
            $0.publication = $1
        }
    }
    static var forPatience: Choice {
        time("--deadline", "how long to wait for the other side (10)") {
            (settings, word) throws(CommandError) in
            settings.patience = try seconds("--deadline", word)
        }
    }
    static var forSandbox: [Choice] {
        [
            Choice(
                name: "--sandbox", argument: "WORD",
                help: "on, or require: refuse where the kernel has no seccomp (on)",
                excludes: "--no-sandbox",
                apply: { (settings, word) throws(CommandError) in
                    settings.sandbox = try Options.sandbox(word)
                }),
            flag("--no-sandbox", "keep all rights and system calls") { settings, _ in
                settings.sandbox = .off
            },
        ]
    }
    static var forHelp: Choice {
        flag("--help", "print this", short: "-h") { settings, _ in settings.wantsHelp = true }
    }

    /// A time in seconds, of which there may be a fraction: 30, 0.5.
    static func seconds(_ option: Text, _ word: Text) throws(CommandError) -> Nanoseconds {
        guard let point = word.firstIndex(of: UInt8(ascii: ".")) else {
            return .milliseconds(UInt64(try count(option, word)) * 1000)
        }
        let whole = point == 0 ? "0" : word.prefix(point)
        let digits = word.dropping(point + 1).bytes
        var nanoseconds: UInt64 = 0
        for index in 0..<9 {
            let digit = index < digits.count ? digits[index] &- UInt8(ascii: "0") : 0
            guard digit < 10 else { throw .badArgument(option: option, word, why: notSeconds) }
            nanoseconds = nanoseconds * 10 + UInt64(digit)
        }
        guard !digits.isEmpty, digits.count <= 9, let seconds = whole.number,
            seconds <= UInt64(Int32.max)
        else { throw .badArgument(option: option, word, why: notSeconds) }
        return Nanoseconds(count: seconds * Nanoseconds.perSecond + nanoseconds)
    }
    private static var notSeconds: Text { "is no number of seconds, as 30 or 0.5" }

    static func count(_ option: Text, _ word: Text) throws(CommandError) -> Int {
        guard let number = word.number.flatMap({ Int32(exactly: $0) }) else {
            throw .badArgument(
                option: option, word, why: "is no number from 0 to \(Int32.max), decimal or 0x")
        }
        return Int(number)
    }

    // MARK: What the words mean

    /// Whether to enter a sandbox. Without one a line says so.
    var sandboxChoice: SandboxChoice {
        if sandbox == .off {
            Message.error(GrantCommand.name, "no sandbox: it runs with all our rights")
        }
        return sandbox ?? .on
    }

    /// The grants that --domain and --ref name.
    func grants() throws(CommandError) -> GrantList {
        let domain = try namedDomain()
        guard let word = references else { throw .missingOption("--ref") }
        let list = try StoreWord.read(word)
        guard let references = GrantList.references(list) else {
            throw StoreWord.complaint("--ref", word, list, "is no list of grant references")
        }
        return try GrantCommand.onXen { () throws(GrantError) in
            try GrantList(references, of: domain)
        }
    }

    /// The domain that --domain names.
    func namedDomain() throws(CommandError) -> DomainID {
        guard let word = domain else { throw .missingOption("--domain") }
        return try Self.domain(word)
    }

    static func domain(_ word: Text) throws(CommandError) -> DomainID {
        let number = try StoreWord.read(word)
        guard let domain = number.number.flatMap({ DomainID($0) }) else {
            throw StoreWord.complaint(
                "--domain", word, number, "is no domain: 0 to \(DomainID.reserved - 1)")
        }
        return domain
    }

    /// What is wrong with the words for the domain, for a command that looks nothing up in the store.
    func checkDomain() throws(CommandError) {
        if !(domain?.isStorePath ?? false) { _ = try namedDomain() }
    }

    /// The same of those for its grants, and for bytes of their pages.
    func checkGrants() throws(CommandError) {
        try checkDomain()
        guard let references else { throw .missingOption("--ref") }
        if references.isStorePath || domain?.isStorePath ?? false { return }
        let pages = try grants().pages
        _ = try range(of: pages)
        _ = try notification(in: pages)
    }

    /// What the other side is to see at the end, without the port, which is yet to be bound.
    func notification(in pages: PageCount) throws(CommandError) -> UnmapNotification {
        guard let byte = notifiedByte else { return UnmapNotification() }
        guard byte < pages.bytes else {
            throw .badArgument(
                option: "--notify-byte", "\(byte)",
                why: "lies outside the pages: they have \(pages.bytes) bytes")
        }
        return UnmapNotification(clearedByte: byte)
    }

    /// The path that --publish names.
    func published() throws(CommandError) -> StorePath? {
        try publication.map { (path) throws(CommandError) in
            try GrantCommand.onXen { () throws(GrantError) in try PublishedEntry.path(path) }
        }
    }

    /// The channel for --notify-port.
    func channel(to domain: DomainID) throws(GrantError) -> EventChannel? {
        guard let port = notifiedPort else { return nil }
        return try EventChannel(.interdomain(domain, port))
    }

    /// The bytes that --offset and --length choose.
    func range(of pages: PageCount) throws(CommandError) -> Range<Int> {
        guard offset < pages.bytes else {
            throw .badArgument(
                option: "--offset", "\(offset)",
                why: "lies outside the pages: they have \(pages.bytes) bytes")
        }
        let length = length ?? pages.bytes - offset
        guard length > 0, length <= pages.bytes - offset else {
            throw .badArgument(
                option: "--length", "\(length)",
                why: length == 0
                    ? "is nothing to do" : "leads outside the pages: they have \(pages.bytes) bytes"
            )
        }
        return offset..<offset + length
    }
}

/// A word that is meant as it stands, or that says where in the store the word is: `@PATH`.
enum StoreWord {
    static func read(_ word: Text) throws(CommandError) -> Text {
        try GrantCommand.onXen { () throws(GrantError) in try word.fromStore() }
    }

    /// What is wrong with a word: one of the command line, or of the store.
    static func complaint(_ option: Text, _ word: Text, _ value: Text, _ why: Text) -> CommandError
    {
        guard let path = word.storePath else { return .badArgument(option: option, word, why: why) }
        return .grant(.refused("\(quoted: value), which the store has at \(quoted: path), \(why)"))
    }
}
