// `mini-pack [options] ARCHIVE FILE[=PATH]…`: makes an initramfs of files. The same words and files
// give the same bytes, whoever packs them, when and where.

/// What a command line of mini-pack asks for.
struct PackSettings {
    /// A file of this machine's for a place in the archive.
    struct File: Equatable {
        var name: Text
        var path: ArchivePath
        var permissions: UInt32?
    }

    var archive = Text()
    var files: [File] = []
    /// Those that are no files of this machine's.
    var made: [ArchiveMember] = []
    var wantsHelp = false
    var wantsVersion = false

    static var table: [Option<PackSettings>] {
        [
            Option(
                name: "--dir", argument: "PATH[,MODE]", help: "a directory (755)",
                apply: { (settings, word) throws(CommandError) in try settings.addDirectory(word) }),
            Option(
                name: "--link", argument: "PATH=TARGET", help: "a symbolic link",
                apply: { (settings, word) throws(CommandError) in try settings.addLink(word) }),
            Option(
                name: "--node", argument: "PATH[,MODE]=c:MAJOR:MINOR",
                help: "a device, c or b; p alone is a pipe (600)",
                apply: { (settings, word) throws(CommandError) in try settings.addNode(word) }),
            Option(
                name: "--help", argument: nil, help: "print this",
                apply: { (settings, _) throws(CommandError) in settings.wantsHelp = true }),
            Option(
                name: "--version", argument: nil, help: "print the version",
                apply: { (settings, _) throws(CommandError) in settings.wantsVersion = true }),
        ]
    }

    /// - Parameter words: without the applet's name.
    init(_ words: ArraySlice<Text>) throws(CommandError) {
        let rest = try Options.read(words, Self.table, into: &self)
        if wantsHelp || wantsVersion { return }
        guard let first = rest.first, !first.bytes.isEmpty else { throw .noArchive }
        archive = first
        for word in rest.dropFirst() { try addFile(word) }
        if files.isEmpty && made.isEmpty { throw .nothingToPack }
    }

    // MARK: Members

    /// `FILE[=PATH][,MODE]`. The last `=` counts: one in a file's name wants a path behind it.
    private mutating func addFile(_ word: Text) throws(CommandError) {
        let (place, permissions) = Self.withoutMode(word)
        var name = place
        var path = place
        if let (before, behind) = Self.split(place, at: place.bytes.lastIndex(of: Self.equals)) {
            (name, path) = (before, behind)
        }
        guard !name.bytes.isEmpty else {
            throw .badArgument(option: "FILE", word, why: "names no file")
        }
        files.append(File(name: name, path: try Self.path(path), permissions: permissions))
    }

    private mutating func addDirectory(_ word: Text) throws(CommandError) {
        let (place, permissions) = Self.withoutMode(word)
        made.append(
            ArchiveMember(
                path: try Self.path(place), mode: FileMode.directory | (permissions ?? 0o755)))
    }

    /// The first `=` counts: a target may have one.
    private mutating func addLink(_ word: Text) throws(CommandError) {
        guard let (place, target) = Self.split(word, at: word.bytes.firstIndex(of: Self.equals)),
            !target.bytes.isEmpty, target.bytes.count <= ArchivePath.longest
        else { throw .badArgument(option: "--link", word, why: "is not PATH=TARGET") }
        made.append(
            ArchiveMember(
                path: try Self.path(place), mode: FileMode.link | 0o777, body: .target(target)))
    }

    private mutating func addNode(_ word: Text) throws(CommandError) {
        guard let (place, kind) = Self.split(word, at: word.bytes.lastIndex(of: Self.equals)),
            let (type, number) = Self.node(kind)
        else {
            throw .badArgument(option: "--node", word, why: "is not PATH=c:MAJOR:MINOR, b:… or p")
        }
        let (path, permissions) = Self.withoutMode(place)
        made.append(
            ArchiveMember(
                path: try Self.path(path), mode: type | (permissions ?? 0o600), number: number))
    }

    // MARK: Words

    private static let equals = UInt8(ascii: "=")

    private static func path(_ word: Text) throws(CommandError) -> ArchivePath {
        do throws(ArchiveError) { return try ArchivePath(word) } catch { throw .archive(error) }
    }

    private static func split(_ word: Text, at index: Int?) -> (Text, Text)? {
        guard let index else { return nil }
        return (
            Text(bytes: Array(word.bytes[..<index])), Text(bytes: Array(word.bytes[(index + 1)...]))
        )
    }

    /// Takes off a comma with three or four octal digits behind it.
    private static func withoutMode(_ word: Text) -> (Text, UInt32?) {
        guard let comma = word.bytes.lastIndex(of: UInt8(ascii: ",")) else { return (word, nil) }
        let digits = word.bytes[(comma + 1)...]
        guard digits.count == 3 || digits.count == 4, let mode = octal(digits) else {
            return (word, nil)
        }
        return (Text(bytes: Array(word.bytes[..<comma])), mode)
    }

    /// `c:5:1`, `b:8:0` or `p`, with the kernel's limits.
    private static func node(_ word: Text) -> (type: UInt32, DeviceNumber)? {
        if word == "p" { return (FileMode.pipe, DeviceNumber()) }
        let parts = word.bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].count == 1,
            let major = Text(bytes: Array(parts[1])).number,
            let minor = Text(bytes: Array(parts[2])).number, major < 1 << 12, minor < 1 << 20
        else { return nil }
        let device = DeviceNumber(major: UInt32(major), minor: UInt32(minor))
        switch parts[0].first {
        case UInt8(ascii: "c"): return (FileMode.characters, device)
        case UInt8(ascii: "b"): return (FileMode.blocks, device)
        default: return nil
        }
    }

    /// Octal digits and nothing else.
    private static func octal(_ digits: ArraySlice<UInt8>) -> UInt32? {
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
            if settings.wantsHelp { return Message.print(help) }
            if settings.wantsVersion { return Message.print("\(name) \(Applet.version)\n") }
            let time = try time(Process.environment("SOURCE_DATE_EPOCH"))
            do throws(ArchiveError) { try pack(settings, time) } catch { throw .archive(error) }
            return ExitCode.success
        } catch {
            let line = error.text
            if !line.bytes.isEmpty { Message.error(name, line) }
            return error.exitCode
        }
    }

    /// The time that members get. Source: reproducible-builds.org, SOURCE_DATE_EPOCH.
    static func time(_ epoch: Text?) throws(CommandError) -> UInt32 {
        guard let epoch else { return 0 }
        guard let time = epoch.number.flatMap({ UInt32(exactly: $0) }) else {
            throw .badTime(epoch)
        }
        return time
    }

    private static func pack(_ settings: PackSettings, _ time: UInt32) throws(ArchiveError) {
        let isOutput = settings.archive == "-"
        let existing =
            isOutput ? nil : try? FileStatus.of(settings.archive, followsLink: true)
        var gathering = Gathering(archive: existing)
        for file in settings.files {
            try gathering.add(file.name, at: file.path, permissions: file.permissions)
        }
        for member in settings.made { try gathering.add(member) }
        if isOutput {
            try Packer.writeToOutput(gathering.contents, time: time)
        } else {
            try Packer.write(
                gathering.contents, time: time, to: settings.archive, existing: existing)
        }
    }

    static var help: Text {
        var text: Text = """
            Usage: \(name) [OPTIONS] ARCHIVE [FILE[=PATH][,MODE]...]
            Makes an initramfs (a cpio archive, newc) of files, with all that is in them if they
            are directories. PATH is a file's place in it, FILE itself without PATH; / is the
            root. Everything belongs to root. ARCHIVE - is standard output.

            Options, each as often as it is wanted:

            """
        text += Options.help(PackSettings.table)
        text += "\nExit codes:\n"
        for (code, meaning) in exitCodes { text += Help.line("\(code)", meaning) }
        return text
    }
}
