// `mini-init`: process 1, and for everybody else a way to look at a boot table before it is
// packed, and to ask process 1 for the machine's end.

enum InitCommand {
    static let name: StaticString = "mini-init"

    /// Runs the applet.
    /// - Parameter words: the command line without the applet's name; process 1 gets what is the
    ///   kernel's on it and does not look.
    /// - Returns: the exit code; process 1 does not return.
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        if Process.id == 1 { Init(programs).run() }
        guard let first = words.first, !(first == "--help") else { return Message.print(help) }
        if first == "--version" { return Message.print("\(name) \(Applet.version)\n") }
        return ExitCode.wrongUse
    }

    static var programs: InnerPrograms {
        InnerPrograms(
            run: { (words) in
                applet(words)?.run(words.dropFirst())
            },
            complaint: { (words) in
                guard let word = words.first, word == LaunchCommand.name else { return nil }
                do throws(CommandError) { _ = try LaunchSettings(words.dropFirst()) } catch {
                    return error.text
                }
                return nil
            },
            has: { (word) in applet([word]) != nil })
    }

    private static func applet(_ words: [Text]) -> Applet? {
        guard let word = words.first else { return nil }
        return Applet.table.first { word == $0.name }
    }

    private static var help: Text {
        """
        Usage: \(name) --check [FILE]
               \(name) poweroff | reboot | halt
        As process 1, which the kernel makes of /init, it needs no words: it carries out
        /etc/mini.table and the mini.* words of the kernel's command line.

        """
    }
}
