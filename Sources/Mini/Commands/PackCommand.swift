// `mini-pack [options] ARCHIVE FILE[=PATH]…`: makes an initramfs of files. The same words and files
// give the same bytes, independent of user, time and machine.

/// What a command line of mini-pack asks for.
struct PackSettings {
    var archive = Text()
    /// `FILE[=PATH][,MODE]`, as they were given.
    var files: ArraySlice<Text> = []
    /// What is no file of this machine's.
    var contents = ArchiveContents()
    var wantsHelp = false
    var wantsVersion = false

    static var table: [Option<PackSettings>] {
        [
            Option(
                name: "--dir", argument: "PATH", help: "a directory; ,MODE may stand behind PATH",
                repeats: true,
                apply: { (settings, word) throws(CommandError) in try settings.addDirectory(word) }),
            Option(
                name: "--link", argument: "PATH=TARGET", help: "a symbolic link", repeats: true,
                apply: { (settings, word) throws(CommandError) in try settings.addLink(word) }),
            Option(
                name: "--node", argument: "PATH=KIND",
                help: "KIND is c:MAJOR:MINOR, b:MAJOR:MINOR or p, a pipe", repeats: true,
                apply: { (settings, word) throws(CommandError) in try settings.addNode(word) }),
            Option(
                name: "--help", shortName: "-h", argument: nil, help: "print this",
                apply: { (settings, _) throws(CommandError) in settings.wantsHelp = true }),
            Option(
                name: "--version", shortName: "-V", argument: nil, help: "print the version",
                apply: { (settings, _) throws(CommandError) in settings.wantsVersion = true }),
        ]
    }

    /// - Parameter words: without the applet's name.
    init(_ words: ArraySlice<Text>) throws(CommandError) {
        let rest = try Options.readAll(words, Self.table, into: &self)
        if wantsHelp || wantsVersion { return }
        guard let first = rest.first, !first.bytes.isEmpty else { throw .noArchive }
        archive = first
        files = rest.dropFirst()
        for word in files { try Self.checkMode(word) }
        if files.isEmpty && contents.members.isEmpty { throw .nothingToPack }
    }

    // MARK: Members

    /// Finds what a word for a file asks for, and adds it. The last `=` of the word counts: one in a
    /// file's name wants a path after it.
    static func add(_ word: Text, to gathering: inout Gathering) throws(ArchiveError) {
        let (place, permissions) = withoutMode(word)
        let (name, path) = split(place, at: place.lastIndex(of: equals)) ?? (place, place)
        guard !name.bytes.isEmpty else { throw .noFile(word) }
        try gathering.add(
            name, at: try ArchivePath(path), isFolder: path.namesFolder,
            permissions: permissions, isNamed: true)
    }

    @inline(never)
    private mutating func make(
        _ path: Text, mode: UInt32, _ number: DeviceNumber = DeviceNumber(),
        _ body: ArchiveMember.Body = .none, hasOwnMode: Bool = false
    ) throws(CommandError) {
        do throws(ArchiveError) {
            if mode & FileMode.type != FileMode.directory && path.namesFolder {
                throw .slashBehind(path)
            }
            try contents.add(
                ArchiveMember(path: try ArchivePath(path), mode: mode, number: number, body: body),
                hasOwnMode: hasOwnMode)
        } catch { throw .archive(error) }
    }

    private mutating func addDirectory(_ word: Text) throws(CommandError) {
        try Self.checkMode(word)
        let (path, permissions) = Self.withoutMode(word)
        try make(
            path, mode: FileMode.directory | (permissions ?? 0o755),
            hasOwnMode: permissions != nil)
    }

    /// The first `=` counts: a target may have one.
    private mutating func addLink(_ word: Text) throws(CommandError) {
        guard let (path, target) = Self.split(word, at: word.firstIndex(of: Self.equals)),
            !target.bytes.isEmpty, target.bytes.count <= ArchivePath.longest
        else { throw .badArgument(option: "--link", word, why: "is not PATH=TARGET") }
        try make(path, mode: FileMode.link | 0o777, DeviceNumber(), .target(target))
    }

    private mutating func addNode(_ word: Text) throws(CommandError) {
        guard let (place, kind) = Self.split(word, at: word.lastIndex(of: Self.equals)),
            let (type, number) = Self.node(kind)
        else {
            throw .badArgument(option: "--node", word, why: "is not PATH=c:MAJOR:MINOR, b:… or p")
        }
        try Self.checkMode(place)
        let (path, permissions) = Self.withoutMode(place)
        try make(path, mode: type | (permissions ?? 0o600), number)
    }

    // MARK: Words

    private static let equals = UInt8(ascii: "=")

    @inline(never)
    private static func split(_ word: Text, at index: Int?) -> (Text, Text)? {
        index.map { (word.prefix($0), word.dropping($0 + 1)) }
    }

    /// Takes off a comma with three or four octal digits after it.
    @inline(never)
    private static func withoutMode(_ word: Text) -> (Text, UInt32?) {
        guard let comma = word.lastIndex(of: UInt8(ascii: ",")),
            let mode = octal(word.bytes[(comma + 1)...])
        else { return (word, nil) }
        return (word.prefix(comma), mode)
    }

    /// Digits after the last comma are meant as permissions, and are no part of a name.
    @inline(never)
    private static func checkMode(_ word: Text) throws(CommandError) {
        guard let comma = word.lastIndex(of: UInt8(ascii: ",")) else { return }
        let mode = word.bytes[(comma + 1)...]
        let isNumber = !mode.isEmpty && mode.allSatisfy { $0 &- UInt8(ascii: "0") < 10 }
        if isNumber && octal(mode) == nil { throw .archive(.badMode(word)) }
    }

    /// `c:5:1`, `b:8:0` or `p`, with the kernel's limits.
    private static func node(_ word: Text) -> (type: UInt32, DeviceNumber)? {
        if word == "p" { return (FileMode.pipe, DeviceNumber()) }
        let type: UInt32
        let rest: Text
        if let numbers = word.dropping(prefix: "c:") {
            (type, rest) = (FileMode.characters, numbers)
        } else if let numbers = word.dropping(prefix: "b:") {
            (type, rest) = (FileMode.blocks, numbers)
        } else {
            return nil
        }
        guard let (first, second) = split(rest, at: rest.firstIndex(of: UInt8(ascii: ":"))),
            let major = first.number, let minor = second.number, major < 1 << 12, minor < 1 << 20
        else { return nil }
        return (type, DeviceNumber(major: UInt32(major), minor: UInt32(minor)))
    }

    /// Three or four octal digits and nothing else.
    private static func octal(_ digits: ArraySlice<UInt8>) -> UInt32? {
        guard digits.count == 3 || digits.count == 4 else { return nil }
        var value: UInt32 = 0
        for byte in digits {
            let digit = UInt32(byte &- UInt8(ascii: "0"))
            guard digit < 8 else { return nil }
            value = value << 3 | digit
        }
        return value
    }
}

enum PackCommand {
    static let name: StaticString = "mini-pack"

    /// Exit codes and meanings, for help.
    static var exitCodes: [(code: StaticString, meaning: StaticString)] {
        [
            ("0", "done"),
            ("1", "the host failed: a system call, a file"),
            ("2", "wrong use: an option, an argument, a place in the archive"),
            ("3", "a file cannot be packed"),
            ("128+n", "ended by signal n"),
        ]
    }

    /// Runs the applet.
    /// - Parameter words: the command line without the applet's name.
    /// - Returns: the exit code.
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        do throws(CommandError) {
            let settings = try PackSettings(words)
            if settings.wantsHelp { return Message.print(name, help) }
            if settings.wantsVersion { return Message.print(name, "\(name) \(Applet.version)\n") }
            try pack(settings, time: try time(Process.environment("SOURCE_DATE_EPOCH")))
            return ExitCode.success
        } catch {
            let line = error.text
            if !line.bytes.isEmpty { Message.error(name, line) }
            return error.exitCode
        }
    }

    #if !MINI_WITHOUT_INIT
    /// What is wrong with words that a boot table will run, as far as that can be known without the files.
    static func complaint(_ words: ArraySlice<Text>) -> Text? {
        do throws(CommandError) { _ = try PackSettings(words) } catch { return error.text }
        return nil
    }
    #endif

    /// The time that members get. Source: reproducible-builds.org, SOURCE_DATE_EPOCH.
    static func time(_ epoch: Text?) throws(CommandError) -> UInt32 {
        guard let epoch else { return 0 }
        guard let time = epoch.number.flatMap({ UInt32(exactly: $0) }) else {
            throw .badTime(epoch)
        }
        return time
    }

    private static func pack(_ settings: PackSettings, time: UInt32) throws(CommandError) {
        do throws(ArchiveError) {
            let destination = try ArchiveDestination(settings.archive)
            var gathering = Gathering(settings.contents, archive: destination.identity)
            for word in settings.files { try PackSettings.add(word, to: &gathering) }
            for name in gathering.leftOut {
                Message.error(self.name, "left out \(quoted: name): it is the archive")
            }
            try Packer.write(gathering.contents, time: time, to: destination, settings.archive)
        } catch { throw .archive(error) }
    }

    static var help: Text {
        var text: Text = """
            Usage: \(name) [OPTIONS] ARCHIVE [FILE[=PATH][,MODE]...]
            Makes an initramfs (a cpio archive, newc) of files, with all that is in them if
            they are directories. PATH is a file's place in it, FILE itself without PATH;
            / is the root. Everything belongs to root. ARCHIVE - is standard output.

            Options, each as often as it is wanted:

            """
        text += Options.help(PackSettings.table)
        text += "\nExit codes:\n"
        for (code, meaning) in exitCodes { text += Help.line("\(code)", meaning) }
        return text
    }
}
