// `mini-init`: process 1, and for everybody else a way to look at a boot table before it is
// packed, and to ask process 1 for the machine's end.

enum InitCommand {
    static let name = Init.name
    /// The words that ask for the machine's end; a file that is called so asks by itself.
    static var ends: [StaticString] { ["poweroff", "reboot", "halt"] }

    /// Runs the applet.
    /// - Parameter words: the command line without the applet's name. What process 1 finds there
    ///   is the rest of the kernel's, and it does not look.
    /// - Returns: the exit code; process 1 does not return.
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        if Process.id == 1 { Init(programs).run() }
        do throws(CommandError) {
            var rest = words
            var left: [Text] = []
            var checks = false
            // Not a table of Options: --check may have a word after it.
            while let word = rest.popFirst() {
                if word == "--" {
                    left += rest
                    break
                }
                guard Options.isOption(word) else {
                    left.append(word)
                    continue
                }
                switch word {
                // After `poweroff` and the like, too: a user who asks for help there does not want to end the machine.
                case "--help", "-h": return Message.print(name, help)
                case "--version", "-V": return Message.print(name, "\(name) \(Applet.version)\n")
                case "--check": checks = true
                default:
                    guard let file = word.dropping(prefix: "--check=") else {
                        throw .unknownOption(
                            word,
                            nearest: Options.nearest(word, ["--check", "--help", "--version"])
                        )
                    }
                    checks = true
                    left.append(file)
                }
            }
            return try carryOut(left, checks: checks)
        } catch {
            Message.error(name, error.text)
            return error.exitCode
        }
    }

    /// - Parameters:
    ///   - words: those that are no options.
    ///   - checks: whether they name a table to look at.
    private static func carryOut(_ words: [Text], checks: Bool) throws(CommandError) -> Int32 {
        guard let first = words.first else {
            return checks ? check(BootTable.usualFile) : Message.print(name, help)
        }
        var signal = Signal.terminate
        switch first {
        // A table may be called anything.
        case _ where checks, "reboot": break
        case "poweroff": signal = .user2
        case "halt": signal = .user1
        case let word: throw .unwantedWord(word)
        }
        if words.count > 1 { throw .unwantedWord(words[1]) }
        return checks ? check(first) : ask(signal)
    }

    /// The applets as process 1 starts them.
    static var programs: InnerPrograms {
        InnerPrograms(
            run: { (words) in applet(words)?.run(words.dropFirst()) },
            complaint: { (words) in
                guard let word = words.first else { return nil }
                #if !MINI_WITHOUT_LAUNCH
                if word == LaunchCommand.name {
                    return LaunchCommand.complaint(words.dropFirst())
                }
                #endif
                #if !MINI_WITHOUT_GRANT
                if word == GrantCommand.name { return GrantCommand.complaint(words.dropFirst()) }
                #endif
                #if !MINI_WITHOUT_PACK
                if word == PackCommand.name { return PackCommand.complaint(words.dropFirst()) }
                #endif
                return nil
            },
            has: { (word) in applet([word]) != nil })
    }

    private static func applet(_ words: [Text]) -> Applet? {
        guard let word = words.first else { return nil }
        return Applet.table.first { word == $0.name }
    }

    // MARK: For others than process 1

    /// Reads a table as process 1 would, and says what is wrong with it.
    private static func check(_ file: Text) -> Int32 {
        var reader = BootTableReader(programs)
        do throws(Errno) {
            reader.read(
                file: try SmallFile.read(file, limit: BootTableReader.limit + 1), name: file)
        } catch {
            Message.error(name, "cannot read \(quoted: file): \(error)")
            return ExitCode.hostFailure
        }
        reader.finish()
        for error in reader.errors { Message.error(name, error.text) }
        return reader.errors.isEmpty ? ExitCode.success : ExitCode.wrongUse
    }

    /// Another process 1 would not know what the signal means, or take it for something else.
    private static func ask(_ signal: Signal) -> Int32 {
        guard let first = SmallFile.line("/proc/1/comm") else {
            Message.error(name, "cannot tell what process 1 is: /proc/1/comm cannot be read")
            return ExitCode.hostFailure
        }
        guard first == name else {
            Message.error(
                name, "process 1 is \(quoted: first), not \(name): it was asked for nothing")
            return ExitCode.hostFailure
        }
        do throws(Errno) { try Process.signal(ProcessID(rawValue: 1), signal) } catch {
            Message.error(name, "cannot signal process 1: \(error)")
            return ExitCode.hostFailure
        }
        return ExitCode.success
    }

    private static var help: Text {
        """
        Usage: \(name) --check [FILE]
               \(name) poweroff | reboot | halt
        As process 1, which the kernel makes of /init or of what rdinit= names, it needs
        no words: it carries out /etc/mini.table and the mini.* words of the kernel's
        command line. Others use it to check a table before it is packed, or to ask
        process 1 for the end of the machine: so does a link to it that is called
        poweroff, reboot or halt.

        """
    }
}
