// `mini-grant SUBCOMMAND …`: picks the subcommand. Each is a file of its own and one row of the
// table here; it reads its words, does its work and returns a code, or throws the line that
// ends it. Its choices have a place in GrantSettings.swift; one that keeps pages for long has its
// system calls in Xen/GrantSandbox.swift; contrib/completion has to know which have verbs.

/// One of the things that mini-grant does.
struct GrantSubcommand {
    let name: StaticString
    let summary: StaticString
    /// True if its first word says what it is to do.
    var hasVerbs = false
    /// - Parameter: the words after the name; the result is the exit code.
    let run: (ArraySlice<Text>) throws(CommandError) -> Int32
    /// Reads the same words and does nothing: what is wrong with them wherever they are run.
    let check: (ArraySlice<Text>) throws(CommandError) -> Void
}

enum GrantCommand {
    static let name: StaticString = "mini-grant"

    static var table: [GrantSubcommand] {
        [
            GrantSubcommand(
                name: "map", summary: "map pages of another domain",
                run: { (words) throws(CommandError) in try GrantMap.run(words) },
                check: { (words) throws(CommandError) in try GrantMap.check(words) }),
            GrantSubcommand(
                name: "copy", summary: "copy to or from them without mapping",
                run: { (words) throws(CommandError) in try GrantCopyCommand.run(words) },
                check: { (words) throws(CommandError) in try GrantCopyCommand.check(words) }),
            GrantSubcommand(
                name: "share", summary: "grant pages of this domain to another one",
                run: { (words) throws(CommandError) in try GrantShare.run(words) },
                check: { (words) throws(CommandError) in try GrantShare.check(words) }),
            GrantSubcommand(
                name: "probe", summary: "say what this machine has of Xen",
                run: { (words) throws(CommandError) in try GrantProbe.run(words) },
                check: { (words) throws(CommandError) in try GrantProbe.check(words) }),
            GrantSubcommand(
                name: "pipe", summary: "carry bytes to and from another domain",
                run: { (words) throws(CommandError) in try GrantPipe.run(words) },
                check: { (words) throws(CommandError) in try GrantPipe.check(words) }),
            GrantSubcommand(
                name: "event", summary: "send an event to another domain, or wait for one",
                hasVerbs: true,
                run: { (words) throws(CommandError) in try GrantEvent.run(words) },
                check: { (words) throws(CommandError) in try GrantEvent.check(words) }),
            GrantSubcommand(
                name: "store", summary: "read, change, watch XenStore", hasVerbs: true,
                run: { (words) throws(CommandError) in try GrantStore.run(words) },
                check: { (words) throws(CommandError) in try GrantStore.check(words) }),
        ]
    }

    /// Exit codes and meanings, for help.
    static var exitCodes: [(code: StaticString, meaning: StaticString)] {
        [
            ("0", "done"),
            ("1", "the host failed: a system call, memory, a file"),
            ("2", "wrong use: an option, an argument"),
            ("3", "not on Xen, or a device or one of its calls is missing"),
            ("4", "refused by the other side, or it is gone"),
            ("5", "a deadline has passed"),
        ]
    }

    /// Runs the applet.
    /// - Parameter words: the command line without the applet's name.
    /// - Returns: the exit code.
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        do throws(CommandError) { return try pick(words) } catch {
            Message.error(name, error.text)
            return error.exitCode
        }
    }

    private static func pick(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        guard let first = words.first else { throw .noSubcommand }
        if first == "--help" || first == "-h" { return Message.print(name, help) }
        if first == "--version" || first == "-V" {
            return Message.print(name, "\(name) \(Applet.version)\n")
        }
        if let command = table.first(where: { first == $0.name }) {
            if wantsVersion(words, of: command) {
                return Message.print(name, "\(name) \(Applet.version)\n")
            }
            return try command.run(words.dropFirst())
        }
        if first.bytes.first == UInt8(ascii: "-") { throw .unknownOption(first) }
        throw .unknownSubcommand(first)
    }

    /// True if a subcommand is asked for the version, or one of its verbs, where it has some.
    private static func wantsVersion(
        _ words: ArraySlice<Text>, of command: GrantSubcommand
    ) -> Bool {
        words.dropFirst().prefix(command.hasVerbs ? 2 : 1).contains {
            $0 == "--version" || $0 == "-V"
        }
    }

    /// What is wrong with words that a boot table will run, as far as that can be known before.
    static func complaint(_ words: ArraySlice<Text>) -> Text? {
        guard let first = words.first else { return CommandError.noSubcommand.text }
        if first.bytes.first == UInt8(ascii: "-") {
            let isKnown = ["--help", "-h", "--version", "-V"].contains { first == $0 }
            return isKnown ? nil : CommandError.unknownOption(first).text
        }
        guard let command = table.first(where: { first == $0.name }) else {
            return CommandError.unknownSubcommand(first).text
        }
        if wantsVersion(words, of: command) { return nil }
        do throws(CommandError) { try command.check(words.dropFirst()) } catch { return error.text }
        return nil
    }

    // MARK: What the subcommands share

    /// Reads the options of a subcommand that takes nothing else.
    static func read<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) {
        if let word = try Options.readAll(words, table, into: &settings).first {
            throw .unwantedWord(word)
        }
    }

    /// Does something with Xen; what is wrong with it ends the command.
    static func onXen<Value: ~Copyable>(
        _ body: () throws(GrantError) -> Value
    ) throws(CommandError) -> Value {
        do throws(GrantError) { return try body() } catch { throw .grant(error) }
    }

    // MARK: Help

    /// The help of a subcommand.
    /// - Parameter usage: name and words, then what it does, a paragraph that ends a line.
    static func help<Settings>(_ usage: StaticString, _ table: [Option<Settings>]) -> Text {
        var text: Text = "Usage: \(name) \(usage)\nOptions:\n"
        text += Options.help(table)
        return text
    }

    private static var help: Text {
        var text: Text = """
            Usage: \(name) SUBCOMMAND [OPTIONS]
            Pages, events and the store that a domain of Xen shares with others.

            Subcommands; SUBCOMMAND --help tells more:

            """
        for command in table { text += Help.line("\(command.name)", command.summary) }
        text += "\nExit codes:\n"
        for (code, meaning) in exitCodes { text += Help.line("\(code)", meaning) }
        return text
    }
}
