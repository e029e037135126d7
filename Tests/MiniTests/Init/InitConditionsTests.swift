// The conditions of the boot table: what is written, which statements are carried out, and what is said.

import Testing

@testable import Mini

/// The programs that a boot starts, when each child, a condition's too, ends with one of these codes.
private func boot(_ table: String, _ codes: [Int32]) -> (verbose: [String], console: String) {
    let boot = FakeBoot("verbose\n" + table) { $0.lives = codes.map { .ends($0 << 8) } }
    boot.boot()
    let said = boot.console.split(separator: "\n").filter { $0.contains(": run ") }
    return (said.map { String($0.split(separator: " ").last!) }, boot.console)
}

@Suite struct InitConditionsTests: BootTableReading {
    var programs: InnerPrograms { InnerPrograms(run: { _ in nil }, complaint: { _ in nil }) }

    @Test("the statements up to else or end are carried out as the condition comes out")
    func branches() {
        let table = "if exists a/b\nrun a\nelse\nrun b\nend\nrun c"
        #expect(boot(table, [0]).verbose == ["a", "c"])
        #expect(boot(table, [1]).verbose == ["b", "c"])
        #expect(boot("if file /x\nelse\nrun b\nend\nrun c", [0]).verbose == ["c"])
        let nested = "if file /x\nif file /y\nrun a\nelse\nrun b\nend\nelse\nrun c\nend\nrun d"
        #expect(boot(nested, [0, 0]).verbose == ["a", "d"])
        #expect(boot(nested, [0, 1]).verbose == ["b", "d"])
        // What is not reached is not asked: the second child is `run c`.
        #expect(boot(nested, [1, 0]).verbose == ["c", "d"])
    }

    @Test("a condition whose child is killed is false, and that is said")
    func killed() {
        let played = FakeBoot("if exists a\nrun b\nend\nrun c") { $0.lives = [.ends(9)] }
        played.boot()
        #expect(
            played.console
                == "mini-init: /etc/mini.table:1:1: \"if\" was ended by signal 9\nmini-init: powering off\n"
        )
        #expect(played.now.made.count == 2)
    }

    @Test("a process that cannot be started makes a condition false")
    func noProcess() {
        let played = FakeBoot("if exists a\nexec b\nend\nat-end halt")
        played.state.withLock { $0.refused[SystemCall.Number.fork.rawValue] = .again }
        played.boot()
        #expect(played.console.hasPrefix("mini-init: /etc/mini.table:1:1: cannot start a process"))
        #expect(played.console.hasSuffix("mini-init: halting\n"))
    }

    /// How a condition comes out in its child, or what it says.
    private func outcome(
        _ condition: BootCondition, _ change: (inout FakeXen.State) -> Void = { _ in }
    )
        throws -> String
    {
        let xen = try FakeXen {
            $0.store = FakeStore.with(["/a": "v", "/empty": ""])
            change(&$0)
        }
        let said = xen.play { () -> String in
            do throws(InitError) { return "\(try InitConditions.holds(condition))" } catch {
                return string(error.text)
            }
        }
        #expect(xen.now.left == [])
        return said
    }

    @Test("an entry that is there, one that has a value, a file; what cannot be read says why")
    func conditions() throws {
        #expect(try outcome(.entry("/a")) == "true" && outcome(.entry("/empty")) == "true")
        #expect(try outcome(.entry("/b")) == "false")
        #expect(try outcome(.value("/a", "v")) == "true" && outcome(.value("/a", "w")) == "false")
        #expect(
            try outcome(.value("/b", "v")) == "cannot read \"/b\": no such entry (ENOENT)")
        #expect(
            try outcome(.entry("/a")) { $0.store!.refusals[2] = "EACCES" }.hasPrefix(
                "cannot read \"/a\": "))
        #expect(
            try outcome(.entry("/a")) { $0.store!.isMute = true }
                == "the store did not answer in time")
        #expect(try outcome(.file("/")) == "true" && outcome(.file("/none/x")) == "false")
        #expect(try outcome(.file("/dev/null/x")) == "false")
    }

    // MARK: What is written

    @Test(
        "what is wrong with a condition is told where it stands",
        arguments: [
            ("if exists x", ["t:1:1: this if is not closed by an end"]),
            ("end", ["t:1:1: this end has no if"]),
            ("run a\n  else", ["t:2:3: this else has no if"]),
            (
                "if file /x\nelse\nelse\nend",
                ["t:3:1: this else has no if"]
            ), ("if file /x\nend x", ["t:2:5: unexpected word \"x\""]),
            (
                "if file /x\non-error halt\nrun a\nend",
                ["t:2:1: on-error holds for the whole table: it cannot stand inside an if"]
            ),
            (
                "if\nrun a\nend",
                [
                    "t:1:1: what to ask is missing; usage: if exists PATH | file FILE | store PATH = VALUE"
                ]
            ), ("if fil /x\nend", ["t:1:4: \"fil\" is not exists, file or store"]),
            ("if store a v\nend", ["t:1:12: \"v\" is not the sign ="]),
            ("if file /a/../b\nend", ["t:1:9: \"/a/../b\" is not a path without .. in it"]),
            (
                "try if file /x\nend",
                ["t:1:5: there is no statement \"try if\""]
            ),
            (
                "if store a = @{b/*}\nend",
                ["t:1:14: \"@{b/*}\": a list can only be a program's arguments"]
            ),
        ] as [(String, [String])])
    func wrong(table: String, wanted: [String]) { #expect(errors(table) == wanted) }

    @Test("the command line has conditions of its own, which do not reach into the file")
    func commandLine() {
        #expect(errors("", "mini.if=\"exists a\" mini.run=b mini.else mini.run=c mini.end") == [])
        #expect(
            errors("if file /x\nrun a", "mini.end") == [
                "t:1:1: this if is not closed by an end",
                "/proc/cmdline:1:1: this end has no if",
            ])
    }

    @Test("what is behind an exec that is conditional can be reached")
    func reachable() {
        #expect(errors("if file /x\nexec a\nend\nrun b") == [])
    }

    @Test("words that are looked up come from the child, and the statement is read anew with them")
    func lookups() {
        let played = FakeBoot("verbose\non-error halt\nrun @{a} @{b/*}\nrun z") {
            // What the child has written.
            $0.files["/"] = "2\0run\u{0}10\0x\u{0}20\0y y\u{0}"
        }
        played.boot()
        #expect(
            played.console == """
                mini-init: /etc/mini.table:3:1: run x y y
                mini-init: /etc/mini.table:4:1: run z
                mini-init: powering off

                """)
        #expect(played.now.made.count == 3)
        let wrong = FakeBoot("on-error halt\nnotify @{a} 1") {
            $0.files["/"] = "2\0notify\u{0}16\0x\u{0}26\u{0}1\u{0}"
        }
        wrong.boot()
        #expect(
            wrong.console
                == "mini-init: /etc/mini.table:2:8: \"x\" is not a domain: 0 to 32751, or @PATH\nmini-init: halting\n"
        )
        let failed = FakeBoot("on-error halt\nrun @{a}") { $0.lives = [.ends(1 << 8)] }
        failed.boot()
        #expect(failed.console == "mini-init: halting\n" && failed.now.made.count == 1)
        let torn = FakeBoot("on-error halt\ntry run @{a}\nrun b") { $0.files["/"] = "1\0run\u{0}5" }
        torn.boot()
        #expect(torn.console.contains("table:2:5: cannot take the words over: "))
        #expect(torn.console.hasSuffix("powering off\n"))
    }
}
