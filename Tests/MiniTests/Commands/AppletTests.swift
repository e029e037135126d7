import Foundation
import Testing

@testable import Mini

/// Runs a command line at a pretended terminal.
private func run(_ line: String) -> (code: Int32, output: String, errors: String) {
    let terminal = FakeTerminal()
    let words = line.split(separator: " ").map { Text(stringLiteral: String($0)) }
    let code = terminal.play { Applet.run(words) }
    return (code, string(terminal.now.output), string(terminal.now.errors))
}

private func manual(_ page: String) throws -> String {
    try projectText("docs/\(page)")
}

@Suite struct AppletTests {
    @Test("called by an applet's name, in whatever folder, it is that applet")
    func byName() {
        for name in ["mini-launch", "./mini-launch", "/usr/bin/mini-launch"] {
            #expect(run("\(name) --version").output == "mini-launch \(Applet.version)\n")
        }
    }

    @Test("called by any other name, the first word is the applet")
    func byFirstWord() {
        #expect(run("mini mini-launch --version").output == "mini-launch \(Applet.version)\n")
        #expect(
            run("/opt/mini.new mini-launch --version").output == "mini-launch \(Applet.version)\n")
    }

    @Test(
        "help and versions that cannot be written are told and fail; a reader that has gone is not",
        arguments: [
            "mini", "mini --version", "mini-launch --help", "mini-launch --version",
            "mini-pack --help", "mini-pack -V", "mini-init --help", "mini-grant --help",
            "mini-grant map --help", "mini-grant event wait --help", "mini-grant store --help",
            "mini-grant store get --help", "mini-grant store set a b --and get --help",
        ])
    func unwritten(line: String) {
        let words = line.split(separator: " ").map { Text(stringLiteral: String($0)) }
        let full = FakeTerminal { $0.outputErrno = .noSpace }
        #expect(full.play { Applet.run(words) } == 1)
        let name = string(words[0])
        #expect(
            string(full.now.errors)
                == "\(name): cannot write to standard output: no space left on device (ENOSPC)\n")
        let gone = FakeTerminal { $0.outputErrno = .brokenPipe }
        #expect(gone.play { Applet.run(words) } == 141)
        #expect(gone.now.errors.isEmpty)
    }

    @Test("alone or with --help it lists its applets")
    func list() {
        for line in ["mini", "mini --help"] {
            let (code, output, errors) = run(line)
            #expect(code == 0)
            #expect(errors == "")
            for name in ["mini-launch", "mini-grant", "mini-pack", "mini-init"] {
                #expect(output.contains("  \(name) "))
            }
            #expect(output.matches(of: /\n  mini-/).count == Applet.table.count)
            #expect(
                output.hasPrefix(
                    """
                    Usage: mini APPLET [ARGUMENTS...]
                    Starts Linux guests, shares pages between domains of Xen, makes an initramfs
                    and boots it.

                    Applets, each also a command of its own; APPLET --help tells more:

                    """))
        }
    }

    @Test(
        "and for every subcommand; who asks mini-init for help has not asked for the machine's end")
    func subcommands() {
        var all = ["mini-grant store read", "mini-grant store write"]
        for subcommand in GrantCommand.table {
            let command = "mini-grant \(subcommand.name)"
            all.append(command)
            let verbs = run("\(command) --help").output.matches(of: #/\n  ([a-z]+) /#)
            #expect(verbs.isEmpty == !subcommand.hasVerbs, "\(command)")
            all += verbs.map { "\(command) \($0.1)" }
        }
        #expect(all.count == 2 + 7 + 3 + 10)
        for command in all {
            #expect(run("\(command) -h").output.hasPrefix("Usage: mini-grant "), "\(command)")
            #expect(run("\(command) -h") == run("\(command) --help"), "\(command)")
            for word in ["-V", "--version"] {
                #expect(
                    run("\(command) \(word)") == (0, "mini-grant \(Applet.version)\n", ""),
                    "\(command)")
            }
        }
        for word in ["poweroff", "reboot", "halt", "--check"] {
            #expect(run("mini-init \(word) -h") == run("mini-init --help"))
            #expect(run("mini-init \(word) -V") == (0, "mini-init \(Applet.version)\n", ""))
        }
    }

    @Test(
        "called by a word for the machine's end, as the kernel does, it is mini-init with that word"
    )
    func ends() {
        for name in ["reboot", "/sbin/poweroff", "/usr/sbin/halt"] {
            #expect(run("\(name) --help") == run("mini-init --help"))
            let (code, output, errors) = run("\(name) now")
            #expect(code == 2 && output == "")
            #expect(errors.hasPrefix("mini-init: "))
        }
        #expect(
            run("mini reboot").errors == "mini: there is no applet \"reboot\"; --help lists them\n")
    }

    @Test(
        "completion knows which subcommands have verbs",
        arguments: ["_mini", "mini.bash", "mini.fish"])
    func completion(file: String) throws {
        let text = try projectText("contrib/completion/\(file)")
        for subcommand in GrantCommand.table {
            let isThere = text.contains(try Regex("\\b\(subcommand.name)\\b"))
            #expect(isThere == subcommand.hasVerbs, "\(subcommand.name)")
        }
    }

    @Test("-h is --help and -V is --version, for every applet")
    func shortOptions() {
        for name in ["mini", "mini-launch", "mini-grant", "mini-pack", "mini-init"] {
            #expect(run("\(name) -h") == run("\(name) --help"))
            #expect(run("\(name) -h").output.hasPrefix("Usage: \(name) "))
            let parts = name == "mini" ? " (launch, grant, pack, init)" : ""
            #expect(run("\(name) -V") == (0, "\(name) \(Applet.version)\(parts)\n", ""))
        }
    }

    @Test("--version tells the version and what is in")
    func version() {
        let words = "mini \(Applet.version) (launch, grant, pack, init)\n"
        #expect(run("mini --version") == (0, words, ""))
    }

    @Test("the manual pages, and the packages that the README names, are of this version")
    func versionOfPages() throws {
        for page in ["mini.1", "mini-launch.1", "mini-grant.1", "mini-pack.1", "mini-init.8"] {
            let title = try #require(try manual(page).split(separator: "\n").first)
            #expect(
                title.hasPrefix(".TH ") && title.contains(" \"mini \(Applet.version)\" "), "\(page)"
            )
        }
        let readme = try projectText("README.md")
        for match in readme.matches(of: #/mini_([0-9.]+)_(?:amd64|i386)\.deb/#) {
            #expect(match.1 == "\(Applet.version)", "\(match.0)")
        }
        #expect(readme.contains("mini_\(Applet.version)_amd64.deb"))
    }

    @Test("an unknown applet or option is refused")
    func unknown() {
        #expect(run("mini foo").errors == "mini: there is no applet \"foo\"; --help lists them\n")
        #expect(run("mini --foo").errors == "mini: unknown option \"--foo\"; --help lists them\n")
        #expect(run("mini foo").code == 2)
        #expect(run("mini-init foo") == (2, "", "mini-init: unexpected word \"foo\"\n"))
        #expect(
            run("mini-init --foo")
                == (2, "", "mini-init: unknown option \"--foo\"; --help lists them\n"))
    }

    @Test("mini-init names the word that is wrong, and --check counts wherever it stands")
    func initWords() {
        let check = "--check may be meant, --help lists them"
        for (words, line) in [
            ("--chek t", "unknown option \"--chek\"; \(check)"),
            ("t --chek", "unknown option \"--chek\"; \(check)"),
            ("--check a b", "unexpected word \"b\""),
            ("powerof now", "unexpected word \"powerof\""),
            ("poweroff now", "unexpected word \"now\""),
            ("poweroff -f", "unknown option \"-f\"; --help lists them"),
            ("poweroff -- --help", "unexpected word \"--help\""),
            ("--check=a b", "unexpected word \"b\""),
        ] {
            #expect(run("mini-init \(words)") == (2, "", "mini-init: \(line)\n"), "\(words)")
        }
        for (words, name) in [
            ("--check /nowhere/t", "/nowhere/t"),
            ("/nowhere/t --check", "/nowhere/t"), ("--check=/nowhere/t", "/nowhere/t"),
            ("--check -- -nowhere", "-nowhere"), ("-- --check", nil),
        ] as [(String, String?)] {
            let line =
                name.map { "cannot read \"\($0)\": no such file (ENOENT)" }
                ?? "unexpected word \"--check\""
            #expect(run("mini-init \(words)").errors == "mini-init: \(line)\n", "\(words)")
        }
        #expect(run("mini-init --").output == run("mini-init --help").output)
    }

    @Test("the manual page has the options and exit codes of help, word for word")
    func manualPage() throws {
        let page = try manual("mini-launch.1").replacing("\\-", with: "-")
        for option in LaunchSettings.table {
            #expect(
                page.contains("\n.B \(option.name)\n") || page.contains("\n.BI \(option.name) "))
        }
        for entry in ExitCode.table {
            #expect(page.contains("\n.TP\n.B \(entry.code)\n\(entry.meaning)\n"), "\(entry.code)")
        }
    }

    @Test("the exit codes of README are those of the helps")
    func readme() throws {
        let readme = try projectText("README.md")
        for (code, meaning) in ExitCode.table + GrantCommand.exitCodes {
            #expect(readme.contains("\n| \(code) | \(meaning) |\n"), "\(code)")
        }
    }

    @Test("the manual page of mini names the applets")
    func overview() throws {
        let page = try manual("mini.1").replacing("\\-", with: "-")
        for applet in Applet.table {
            #expect(page.matches(of: try Regex("\\.BR \(applet.name) \\([18]\\)")).count >= 2)
        }
    }
}
