// The statements of the boot table: a name, how it is written, and who reads its words. What is a
// setting is read in BootTableReader.swift. Grammar and meaning: docs/boot-table.md.

struct StatementForm {
    let name: StaticString
    let usage: StaticText
    let read: (inout StatementWords) throws(TableError) -> BootRequest

    static var all: [StatementForm] {
        [
            StatementForm(name: "load", usage: "load FILE [PARAMETER...]", read: load),
            StatementForm(name: "set", usage: "set FILE VALUE", read: set),
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
                usage: "wait file FILE | store PATH [value=V] | event DOMAIN PORT [deadline=TIME]",
                read: wait),
            StatementForm(
                name: "launch", usage: "launch [OPTIONS] [MEMORY] KERNEL [ARGUMENT...]",
                read: launch),
            StatementForm(
                name: "run", usage: "run PROGRAM [ARGUMENT...]",
                read: { (words) throws(TableError) in try program(&words, .run) }),
            StatementForm(
                name: "start", usage: "start PROGRAM [ARGUMENT...]",
                read: { (words) throws(TableError) in try program(&words, .start) }),
            StatementForm(
                name: "respawn", usage: "respawn PROGRAM [ARGUMENT...]",
                read: { (words) throws(TableError) in try program(&words, .respawn) }),
            StatementForm(name: "shell", usage: "shell [PROGRAM [ARGUMENT...]]", read: shell),
            StatementForm(name: "exec", usage: "exec PROGRAM [ARGUMENT...]", read: exec),
            StatementForm(
                name: "switch-root", usage: "switch-root FOLDER PROGRAM [ARGUMENT...]",
                read: switchRoot),
        ]
    }

    // MARK: The machine

    private static func load(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let file = try words.next("the module's file")
        return .load(file: file, parameters: words.joined())
    }

    private static func set(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let file = try words.next("the file's name")
        if words.rest.isEmpty { throw words.error(.missing("the value", usage: words.usage)) }
        return .set(file: file, value: words.joined())
    }

    private static func mount(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        var request = MountRequest(
            source: try words.next("the source"), target: try words.next("the folder"),
            type: try words.next("the type"))
        if let options = words.rest.first {
            _ = try words.next("the options")
            request.take(options.text)
        }
        try words.end()
        return .mount(request)
    }

    // MARK: Other domains

    private static func grant(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        let name = try words.next("a name")
        let domain = try words.domain()
        guard let list = words.rest.first else {
            throw words.error(.missing("the grant references", usage: words.usage))
        }
        let references = try words.next("the grant references")
        guard references.isStorePath || GrantList.references(references) != nil else {
            throw words.error(.notA("a list of grants as 8,12-15, or @PATH", references), at: list)
        }
        var request = GrantRequest(name: name, domain: domain, references: references)
        try words.options { (option) throws(TableError) in
            switch option.name {
            case "write": request.isWritable = try option.flag()
            case "hold": request.isHeld = try option.flag()
            case "to": request.output = try option.text()
            case "from": request.input = try option.text()
            case "offset": request.offset = try option.count()
            case "length": request.length = try option.count()
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
        case "file": request.subject = try words.next("the file's name")
        case "store":
            request.kind = .store
            request.subject = try words.next("the path")
        case "event":
            request.kind = .event
            request.subject = try words.domain()
            request.detail = try words.port()
        case let word: throw words.error(.notA("file, store or event", word), at: kind)
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

    // MARK: Programs

    private static func launch(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        .program(["mini-launch"] + (try words.all("the kernel")), .run)
    }

    private static func program(
        _ words: inout StatementWords, _ mode: ProgramMode
    ) throws(TableError) -> BootRequest {
        .program(try words.all("the program"), mode)
    }

    private static func shell(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        if words.rest.isEmpty { return .program([], .interactive) }
        return .program(try words.all("the program"), .interactive)
    }

    private static func exec(_ words: inout StatementWords) throws(TableError) -> BootRequest {
        .replace(try words.all("the program"), root: nil)
    }

    private static func switchRoot(_ words: inout StatementWords) throws(TableError) -> BootRequest
    {
        let root = try words.next("the new root")
        return .replace(try words.all("the program"), root: root)
    }
}

extension MountRequest {
    /// Sorts options into the kernel's flags and what the file system is told.
    mutating func take(_ options: Text) {
        for part in options.bytes.split(separator: UInt8(ascii: ",")) {
            let option = Text(bytes: Array(part))
            if let flag = Self.flag(option) {
                flags.formUnion(flag)
            } else {
                if !data.bytes.isEmpty { data.append(UInt8(ascii: ",")) }
                data += option
            }
        }
    }

    private static func flag(_ option: Text) -> MountFlags? {
        switch option {
        case "rw", "defaults": []
        case "ro": .readOnly
        case "nosuid": .noSetUserID
        case "nodev": .noDevices
        case "noexec": .noExecution
        case "sync": .synchronous
        case "remount": .remount
        case "noatime": .noAccessTimes
        case "bind": .bind
        case "move": .move
        default: nil
        }
    }
}
