// The applets that live in the one binary: chosen by the name that it was called by, or, when
// that is `mini`, by the first word.

/// One of the commands.
struct Applet {
    let name: StaticString
    /// As `./build.sh --parts` calls it.
    let part: StaticString
    let summary: StaticString
    /// - Parameter: the words after the name; the result is the exit code.
    let run: (ArraySlice<Text>) -> Int32

    static let version: StaticString = "0.1"

    /// Those that this build has.
    static var table: [Applet] {
        var table: [Applet] = []
        #if !MINI_WITHOUT_LAUNCH
        table.append(
            Applet(
                name: LaunchCommand.name, part: "launch", summary: "start a Linux guest",
                run: {
                    Process.remember()
                    return LaunchCommand.run($0)
                }))
        #endif
        #if !MINI_WITHOUT_GRANT
        table.append(
            Applet(
                name: GrantCommand.name, part: "grant",
                summary: "map, share and copy pages between Xen domains",
                run: {
                    Process.remember()
                    return GrantCommand.run($0)
                }))
        #endif
        #if !MINI_WITHOUT_PACK
        table.append(
            Applet(
                name: PackCommand.name, part: "pack", summary: "make an initramfs of files",
                run: { PackCommand.run($0) }))
        #endif
        #if !MINI_WITHOUT_INIT
        table.append(
            Applet(
                name: InitCommand.name, part: "init", summary: "process 1 of an initramfs",
                run: { InitCommand.run($0) }))
        #endif
        return table
    }

    /// What the whole file is, with the parts that are in.
    private static var versionLine: Text {
        var text: Text = "mini \(version) ("
        for (index, applet) in table.enumerated() {
            text += "\(index > 0 ? ", " : "")\(applet.part)"
        }
        return "\(text))\n"
    }

    /// Runs the applet that a command line asks for.
    /// - Parameter words: the whole command line.
    /// - Returns: the exit code.
    static func run(_ words: [Text]) -> Int32 {
        let called = Files.lastName(of: words.first ?? "mini")
        let rest = words.dropFirst()
        if let code = run(called, rest) { return code }
        #if !MINI_WITHOUT_INIT
        if isBoot(called, rest) { return InitCommand.run(rest) }
        // As the kernel calls what it asks for the end, through links.
        if InitCommand.ends.contains(where: { called == $0 }) {
            var words = words
            words[0] = called
            return InitCommand.run(words[...])
        }
        #endif
        guard let first = rest.first, !(first == "--help" || first == "-h") else {
            return Message.print("mini", help)
        }
        if first == "--version" || first == "-V" { return Message.print("mini", versionLine) }
        if let code = run(first, rest.dropFirst()) { return code }
        let isOption = first.bytes.first == UInt8(ascii: "-")
        let error: CommandError = isOption ? .unknownOption(first) : .unknownApplet(first)
        Message.error("mini", error.text)
        return ExitCode.wrongUse
    }

    /// - Returns: nil if no applet has that name.
    private static func run(_ name: Text, _ rest: ArraySlice<Text>) -> Int32? {
        if let applet = table.first(where: { name == $0.name }) { return applet.run(rest) }
        return nil
    }

    /// True for the process that the kernel made of the only file that it had: whatever that is
    /// called, and whatever the kernel's command line has left for it.
    private static func isBoot(_ called: Text, _ rest: ArraySlice<Text>) -> Bool {
        guard Process.id == 1 else { return false }
        guard let first = rest.first, !(called == "init") else { return true }
        return !table.contains { first == $0.name }
    }

    private static var help: Text {
        var text: Text = "Usage: mini APPLET [ARGUMENTS...]\n"
        // Of a smaller build its applets tell enough.
        #if !MINI_WITHOUT_LAUNCH && !MINI_WITHOUT_GRANT && !MINI_WITHOUT_PACK && !MINI_WITHOUT_INIT
        text += """
            Starts Linux guests, shares pages between domains of Xen, makes an initramfs
            and boots it.

            """
        #endif
        text += """

            Applets, each also a command of its own; APPLET --help tells more:

            """
        for applet in table { text += Help.line("\(applet.name)", applet.summary) }
        return text
    }
}

/// What a command says.
enum Message {
    /// One line on standard error, with the command's name in front.
    static func error(_ name: StaticString, _ text: Text) {
        let line: Text = "\(name): \(text)\n"
        // A reader that does not read must not keep a process that was told to end.
        let errors = Poll.Interest(2, .writable)
        if unsafe SignalQueue.hasLeftOne,
            (try? Poll.wait([errors], timeout: .milliseconds(50)))?[0] != true
        {
            return
        }
        try? Transfer.write(2, line)
    }

    /// A text on standard output.
    /// - Parameter name: the command's, for what keeps it from being written.
    /// - Returns: the exit code.
    @inline(never)
    static func print(_ name: StaticString, _ text: Text) -> Int32 {
        do throws(Errno) { try Transfer.write(1, text) } catch {
            // A reader that has closed the pipe does not want a message either.
            if error == .brokenPipe { return ExitCode.signal(.brokenPipe) }
            Self.error(name, "cannot write to standard output: \(error)")
            return ExitCode.hostFailure
        }
        return ExitCode.success
    }
}
