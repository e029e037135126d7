// The statements of the boot table: a name, how it is written, and who reads its words. What is a
// setting is read in BootTableReader.swift. Grammar and meaning: docs/boot-table.md.

/// What else than its own reader has to know of a statement.
struct StatementTraits: OptionSet {
    let rawValue: UInt8
    /// Its program can find files open, and so pipes.
    static let opens = StatementTraits(rawValue: 1)
    /// Nothing after it is started before its program is over.
    static let waits = StatementTraits(rawValue: 2)
    /// A lookup may stand for a list of its words.
    static let takesList = StatementTraits(rawValue: 4)
    /// Nothing after it is carried out.
    static let ends = StatementTraits(rawValue: 8)
    /// It cannot fail once its words are known.
    static let succeeds = StatementTraits(rawValue: 16)
}

struct StatementForm {
    let name: StaticString
    let usage: StaticText
    var traits: StatementTraits = []
    let read: (inout StatementWords) throws(TableError) -> BootRequest

    static var all: [StatementForm] {
        [
            StatementForm(
                name: "load", usage: "load FILE [PARAMETER...]", traits: [.takesList], read: load),
            StatementForm(name: "set", usage: "set FILE VALUE", traits: [.takesList], read: set),
            StatementForm(
                name: "mount", usage: "mount SOURCE FOLDER TYPE [OPTION,...]", read: mount),
            StatementForm(
                name: "grant",
                usage: """
                    grant NAME DOMAIN REFERENCES [write] [hold] [to=FILE] [from=FILE] [offset=N] \
                    [length=N] [notify-byte=N] [notify-port=PORT] [deadline=TIME]
                    """, read: grant),
            StatementForm(name: "notify", usage: "notify DOMAIN PORT", read: notify),
            StatementForm(
                name: "wait",
                usage: """
                    wait file FILE | socket FILE | store PATH [value=V] | event DOMAIN PORT | \
                    line PIPE TEXT [deadline=TIME]
                    """,
                read: wait),
            StatementForm(
                name: "launch", usage: "launch [OPTIONS] [MEMORY] KERNEL [ARGUMENT...]",
                traits: [.takesList], read: launch),
            StatementForm(
                name: "run",
                usage: "run [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]",
                traits: [.opens, .waits, .takesList],
                read: { (words) throws(TableError) in try program(&words, .run) }),
            StatementForm(
                name: "start",
                usage: "start [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]",
                traits: [.opens, .takesList],
                read: { (words) throws(TableError) in try program(&words, .start) }),
            StatementForm(
                name: "respawn",
                usage: "respawn [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]",
                traits: [.opens, .takesList],
                read: { (words) throws(TableError) in try program(&words, .respawn) }),
            StatementForm(
                name: "vital",
                usage: "vital [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]",
                traits: [.opens, .takesList],
                read: { (words) throws(TableError) in try program(&words, .vital) }),
            StatementForm(
                name: "send",
                usage: "send SOCKET [DESCRIPTOR...] MESSAGE [expect=TEXT] [deadline=TIME]",
                read: send),
            StatementForm(
                name: "shell", usage: "shell [NAME=VALUE...] [PROGRAM [ARGUMENT...]]",
                traits: [.takesList], read: shell),
            StatementForm(
                name: "exec", usage: "exec [NAME=VALUE...] PROGRAM [ARGUMENT...]",
                traits: [.takesList, .ends], read: exec),
            StatementForm(
                name: "switch-root",
                usage: "switch-root FOLDER [NAME=VALUE...] PROGRAM [ARGUMENT...]",
                traits: [.takesList, .ends], read: switchRoot),
            StatementForm(
                name: "exit", usage: "exit [CODE]", traits: [.ends, .succeeds], read: exit),
            StatementForm(name: "bridge", usage: "bridge NAME", read: bridge),
            StatementForm(
                name: "link",
                usage: """
                    link NAME [mac=MAC] [bridge=NAME] [flush] [address=ADDRESS...] [up] [down] \
                    [keep] [deadline=TIME]
                    """, read: link),
            StatementForm(
                name: "route", usage: "route default | NETWORK [via=ADDRESS] [dev=NAME]",
                read: route),
            StatementForm(
                name: "if", usage: "if exists PATH | file FILE | store PATH = VALUE",
                read: condition),
        ]
    }

    static func named(_ name: Text) -> StatementForm? { all.first { name == $0.name } }

    /// What a statement's words ask for.
    static func request(
        _ words: [TableWord], at place: TablePosition, _ programs: InnerPrograms
    ) throws(TableError) -> BootRequest {
        guard let name = words.first, let form = named(name.text) else {
            throw TableError(
                position: place, reason: .unknownStatement(words.first?.text ?? Text()))
        }
        if words.allSatisfy({ $0.marks.isEmpty }) {
            return try form.request(words, at: place, programs)
        }
        return try form.template(words, at: place, programs)
    }

    private func request(
        _ words: [TableWord], at place: TablePosition, _ programs: InnerPrograms
    ) throws(TableError) -> BootRequest {
        var statement = StatementWords(
            words, at: place, usage: usage, opens: traits.contains(.opens))
        let request = try read(&statement)
        guard case .program(let program, _, let front) = request else { return request }
        // A program that is named may be a file; what a statement starts of its own is an applet.
        if statement.name == "launch" && !programs.has(InnerPrograms.launch) {
            throw statement.error(.missingApplet(InnerPrograms.launch))
        }
        if front.hasVchan && !programs.has(InnerPrograms.grant) {
            throw statement.error(.missingApplet(InnerPrograms.grant))
        }
        if let complaint = programs.complaint(program) {
            throw statement.error(.applet(program[0], complaint))
        }
        return request
    }

    /// Looks at a statement whose words are not all known yet: how its lookups are written, and what is wrong
    /// with the words that stand for themselves.
    private func template(
        _ words: [TableWord], at place: TablePosition, _ programs: InnerPrograms
    ) throws(TableError) -> BootRequest {
        let statement = StatementWords(words, at: place, usage: usage)
        var known = words
        var hasList = false
        for (index, word) in words.enumerated() where !word.marks.isEmpty {
            let template: TableTemplate
            do throws(TableTemplate.Flaw) { template = try TableTemplate(word) } catch {
                throw statement.error(error.reason, at: word)
            }
            hasList = hasList || template.list != nil
            known[index].text = template.sample
            known[index].marks = []
        }
        let request: BootRequest
        do throws(TableError) {
            request = try self.request(known, at: place, programs)
        } catch {
            switch error.reason {
            case .applet, .misfit: return .lookup
            // That is in a part of the word that stands for itself.
            case .notA(let wanted, _) where wanted == .pathWithoutParents || wanted == .storePath:
                let word = words.first { $0.column == error.position.column }
                throw statement.error(.notA(wanted, word?.text ?? Text()), at: word)
            default: break
            }
            let isKnown = words.contains { $0.column == error.position.column && $0.marks.isEmpty }
            if isKnown { throw error }
            return .lookup
        }
        if hasList, !traits.contains(.takesList),
            let word = words.first(where: { (try? TableTemplate($0))?.list != nil })
        {
            throw statement.error(.listNotHere(word.text), at: word)
        }
        if case .condition = request { return request }
        return .lookup
    }

    // MARK: Conditions

    private static func condition(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let kind = words.rest.first
        let condition: BootCondition
        switch try words.next("what to ask") {
        case "exists": condition = .entry(try words.entry("the path"))
        case "file": condition = .file(try words.path("the file's name"))
        case "store":
            let path = try words.entry("the path")
            let sign = words.rest.first
            let word = try words.next("the sign =")
            if !(word == "=") { throw words.error(.notA("the sign =", word), at: sign) }
            condition = .value(path, try words.next("the value"))
        case let word: throw words.error(.notA("exists, file or store", word), at: kind)
        }
        try words.end()
        return .condition(condition)
    }

    // MARK: The machine

    private static func load(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let file = try words.path("the module's file")
        return .load(file: file, parameters: words.joined())
    }

    private static func set(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let file = try words.path("the file's name")
        if words.rest.isEmpty { throw words.error(.missing("the value", usage: words.usage)) }
        return .set(file: file, value: words.joined())
    }

    private static func mount(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let source = words.rest.first
        if let source, source.text.hasParent {
            throw words.error(.notA(.pathWithoutParents, source.text), at: source)
        }
        if let source, source.text.bytes.count > 1, source.text.bytes[0] == UInt8(ascii: "-") {
            throw words.error(.missing("the source", usage: words.usage), at: source)
        }
        var request = MountRequest(
            source: try words.some("the source").withoutEscapes,
            target: try words.path("the folder").withoutEscapes, type: Text())
        let type = words.rest.first
        request.type = try words.some("the type")
        // What stands in another order, and fstab's lines that are no mounts.
        if request.type == "swap" || request.type.firstIndex(of: UInt8(ascii: "/")) != nil {
            throw words.error(.notA("a type of file system", request.type), at: type)
        }
        if let options = words.rest.first {
            _ = try words.next("the options")
            if let option = request.take(options.text.withoutEscapes), !request.isLeftOut {
                throw words.error(
                    .notA("an option here: mini-init sets up no loop devices", option), at: options)
            }
            // Of more it would mount with what is left, without a word.
            if request.data.bytes.count >= Int(Page.size), !request.isLeftOut {
                throw words.error(
                    .misfit(
                        "options of \(request.data.bytes.count) bytes for the file system: the kernel takes 4095"
                    ),
                    at: options)
            }
        }
        // What people mount may have a name that only their mount(8) looks for.
        if let tag = FileSystemTag(request.source), !tag.isPossible,
            !request.isLeftOut || tag != .foreign
        {
            throw words.error(.notA(FileSystemTag.wanted, request.source), at: source)
        }
        // fstab's last two columns, which are about dump and fsck.
        for _ in 0..<2 where words.rest.first?.text.number != nil {
            _ = try words.next("a number")
        }
        try words.end()
        return .mount(request)
    }

    // MARK: Other domains

    private static func grant(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let name = try words.next("a name")
        let domain = try words.domain()
        var request = GrantRequest(
            name: name, domain: domain, references: try words.references())
        try words.options { (option) throws(TableError) in
            switch option.name {
            case "write": request.isWritable = try option.flag()
            case "hold": request.isHeld = try option.flag()
            case "to": request.output = try option.path()
            case "from": request.input = try option.path()
            case "offset": request.offset = try option.count()
            case "length":
                request.length = try option.count()
                if request.length == 0 { throw option.error("a length: at least one byte") }
            case "notify-byte": request.notifiedByte = try option.count()
            case "notify-port": request.notifiedPort = try option.port()
            case "deadline": request.patience = try option.time()
            default: return false
            }
            return true
        }
        if !request.isHeld && (request.notifiedByte != nil || request.notifiedPort != nil) {
            throw words.error(.missing("hold", usage: words.usage))
        }
        if let complaint = InitGrants.complaint(request) { throw words.error(.misfit(complaint)) }
        return .grant(request)
    }

    private static func notify(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let domain = try words.domain()
        let port = try words.port()
        try words.end()
        return .notify(domain: domain, port: port)
    }

    private static func wait(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let kind = words.rest.first
        var request = WaitRequest(kind: .file, subject: Text())
        switch try words.next("what to wait for") {
        case "file":
            let word = words.rest.first
            request.subject = try words.path("the file's name")
            if let tag = FileSystemTag(request.subject), !tag.isPossible {
                throw words.error(.notA(FileSystemTag.wanted, request.subject), at: word)
            }
        case "store":
            request.kind = .store
            request.subject = try words.entry("the path")
        case "socket":
            let name = try words.socket()
            return .waitSocket(name, patience: try patience(&words))
        case "line":
            let pipe = try words.next("the pipe")
            let word = words.rest.first
            let text = try words.next("the text")
            if text.bytes.isEmpty { throw words.error(.notA("a text to wait for", text), at: word) }
            return .waitLine(
                LineRequest(pipe: pipe, text: text, patience: try patience(&words)))
        case "event":
            request.kind = .event(try words.domain(), try words.port())
        case let word:
            throw words.error(.notA("file, socket, store, event or line", word), at: kind)
        }
        try words.options { (option) throws(TableError) in
            if option.name == "deadline" {
                request.patience = try option.time()
            } else if option.name == "value" && request.kind == .store {
                request.detail = try option.text()
            } else {
                return false
            }
            return true
        }
        return .wait(request)
    }

    /// How long to wait, where that is all that can still be said.
    private static func patience(_ words: inout StatementWords) throws(TableError) -> Nanoseconds {
        var patience = WaitRequest.usualPatience
        try words.options { (option) throws(TableError) in
            guard option.name == "deadline" else { return false }
            patience = try option.time()
            return true
        }
        return patience
    }

    // MARK: The network

    private static func bridge(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let name = try words.interface()
        try words.end()
        return .bridge(name)
    }

    private static func link(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        var request = LinkRequest(name: try words.interface())
        try words.options { (option) throws(TableError) in
            switch option.name {
            case "mac": request.hardware = try option.hardwareAddress()
            case "bridge": request.bridge = try option.interface()
            case "flush": request.isFlushed = try option.flag()
            case "address": request.addresses.append(try option.network())
            case "up", "down":
                let state: LinkRequest.State = option.name == "up" ? .up : .down
                if try !option.flag() || request.state.map({ $0 != state }) ?? false {
                    throw option.error("what goes with up or down that stands before it")
                }
                request.state = state
            case "keep": request.stays = try option.flag()
            case "deadline": request.patience = try option.time()
            default: return false
            }
            return true
        }
        return .link(request)
    }

    private static func route(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        var request = RouteRequest()
        let first = words.rest.first
        let word = try words.next("the destination")
        if !(word == "default") {
            guard let network = InternetNetwork(word) else {
                throw words.error(.notA("default or a network as 10.0.0.0/24", word), at: first)
            }
            guard network.isNetwork else {
                throw words.error(
                    .notA("a network: bits behind its prefix are not zero", word), at: first)
            }
            request.destination = network
        }
        try words.options { (option) throws(TableError) in
            switch option.name {
            case "via":
                let gateway = try option.network()
                if let network = request.destination, network.family != gateway.family {
                    throw option.error("an address of the network's kind")
                }
                request.gateway = gateway
            case "dev": request.device = try option.interface()
            default: return false
            }
            return true
        }
        if request.gateway == nil && request.device == nil {
            throw words.error(.missing("via or dev", usage: words.usage))
        }
        return .route(request)
    }

    // MARK: Programs

    private static func launch(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let front = try words.front()
        return .program([InnerPrograms.launch] + (try words.all("the kernel")), .run, front)
    }

    private static func program(
        _ words: inout StatementWords, _ mode: ProgramMode
    ) throws(TableError) -> BootRequest {
        let front = try words.front()
        return .program(try words.program(), mode, front)
    }

    private static func send(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        var request = SendRequest(socket: try words.socket(), message: Text())
        request.files = try words.files()
        request.message = try words.next("the message")
        try words.options { (option) throws(TableError) in
            switch option.name {
            case "expect": request.expected = try option.text()
            case "deadline": request.patience = try option.time()
            default: return false
            }
            return true
        }
        return .send(request)
    }

    private static func shell(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let front = try words.front()
        return .program(words.rest.isEmpty ? [] : try words.program(), .interactive, front)
    }

    private static func exec(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let front = try words.front()
        return .replace(try words.program(), root: nil, variables: front.variables)
    }

    private static func exit(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        guard let first = words.rest.first else { return .exit(nil) }
        let word = try words.next("the code")
        guard let number = word.number, number <= UInt8.max else {
            throw words.error(.notA("a code from 0 to 255", word), at: first)
        }
        try words.end()
        return .exit(UInt8(number))
    }

    private static func switchRoot(_ words: inout StatementWords) throws(TableError) -> BootRequest
    {
        let first = words.rest.first
        let root = try words.path("the new root")
        if root.bytes.allSatisfy({ $0 == UInt8(ascii: "/") }) {
            throw words.error(.notA("a new root: it is the one that there is", root), at: first)
        }
        let front = try words.front()
        return .replace(try words.program(), root: root, variables: front.variables)
    }
}

extension Text {
    /// With the bytes that \040, \011, \012 and \134 stand for in fstab. Source: fstab(5).
    fileprivate var withoutEscapes: Text {
        var (plain, at) = (Text(), 0)
        while at < bytes.count {
            let escape = bytes[at...].prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let byte: UInt8? =
                switch escape {
                case 0x5C30_3430: 0x20
                case 0x5C30_3131: 9
                case 0x5C30_3132: 10
                case 0x5C31_3334: 0x5C
                default: nil
                }
            plain.append(byte ?? bytes[at])
            at += byte == nil ? 1 : 4
        }
        return plain
    }
}

extension MountRequest {
    /// Sorts options into the kernel's flags, what the file system is told, and the words of fstab that
    /// mean neither. Source: mount(8), fstab(5).
    /// - Returns: an option that would take a loop device.
    @discardableResult
    mutating func take(_ options: Text) -> Text? {
        var loop: Text?
        for part in options.bytes[...].split(separator: UInt8(ascii: ",")) {
            let option = Text(bytes: Array(part))
            if let flag = Self.flag(option) {
                flags.formUnion(flag)
                denied.subtract(flag)
            } else if let flag = Self.denial(option) {
                flags.subtract(flag)
                denied.formUnion(flag)
            } else if let flag = Self.propagation(option) {
                propagation.append(flag)
            } else if Self.isLoop(option) {
                loop = option
            } else if option == "nofail" {
                mayFail = true
            } else if option == "noauto" {
                isLeftOut = true
            } else if !Self.isForOthers(option) {
                if !data.bytes.isEmpty { data.append(UInt8(ascii: ",")) }
                data += option
            }
        }
        return loop
    }

    private static func flag(_ option: Text) -> MountFlags? {
        switch option {
        case "ro": .readOnly
        case "nosuid": .noSetUserID
        case "nodev": .noDevices
        case "noexec": .noExecution
        case "sync": .synchronous
        case "dirsync": .synchronousFolders
        case "mand": .mandatoryLocks
        case "remount": .remount
        case "noatime": .noAccessTimes
        case "nodiratime": .noFolderAccessTimes
        case "relatime": .relativeAccessTimes
        case "strictatime": .strictAccessTimes
        case "lazytime": .lazyTimes
        case "nosymfollow": .noSymbolicLinks
        case "iversion": .versions
        case "silent": .silent
        case "bind": .bind
        case "rbind": [.bind, .recursive]
        case "move": .move
        case "user", "users": [.noSetUserID, .noDevices, .noExecution]
        case "owner", "group": [.noSetUserID, .noDevices]
        default: nil
        }
    }

    /// What takes an option back that stands before it.
    private static func denial(_ option: Text) -> MountFlags? {
        switch option {
        case "rw": .readOnly
        case "suid": .noSetUserID
        case "dev": .noDevices
        case "exec": .noExecution
        case "async": .synchronous
        case "nomand": .mandatoryLocks
        case "atime": .noAccessTimes
        case "diratime": .noFolderAccessTimes
        case "norelatime": .relativeAccessTimes
        case "nostrictatime": .strictAccessTimes
        case "nolazytime": .lazyTimes
        case "symfollow": .noSymbolicLinks
        case "noiversion": .versions
        case "loud": .silent
        case "defaults": []
        default: nil
        }
    }

    /// With `r` in front for the file systems below as well.
    private static func propagation(_ option: Text) -> MountFlags? {
        let rest = option.dropping(prefix: "r")
        let flag: MountFlags
        switch rest ?? option {
        case "shared": flag = .shared
        case "slave": flag = .slave
        case "private": flag = .own
        case "unbindable": flag = .unbindable
        default: return nil
        }
        return rest == nil ? flag : flag.union(.recursive)
    }

    private static func isLoop(_ option: Text) -> Bool {
        option == "loop" || option.dropping(prefix: "loop=") != nil
            || option.dropping(prefix: "offset=") != nil
            || option.dropping(prefix: "sizelimit=") != nil
    }

    /// Words that tell other programs something.
    private static func isForOthers(_ option: Text) -> Bool {
        switch option {
        case "auto", "nouser", "_netdev", "nogroup", "noowner": true
        default:
            option.dropping(prefix: "x-") != nil || option.dropping(prefix: "X-") != nil
                || option.dropping(prefix: "comment=") != nil
        }
    }
}
