import Testing

@testable import Mini

@Suite struct EndingLinesTests {
    private func reason(_ pieces: [String]) -> Text? {
        var lines = EndingLines()
        for piece in pieces { lines.look(at: Array(piece.utf8)) }
        return lines.reason
    }

    @Test("the line of a panic is found, wherever pieces of output end, and the first one counts")
    func found() {
        #expect(
            reason([
                "[ 1.0] Kernel pan", "ic - not syncing: VFS: no root\r",
                "\nKernel panic - not syncing: b\n",
            ]) == "Kernel panic - not syncing: VFS: no root")
        #expect(reason(["Kernel panic - not syncing: no end of the line"]) == nil)
        #expect(reason(["all is well\n"]) == nil)
    }

    @Test("the words of a kernel's own unpacker are found, if nothing is behind them")
    func unpacker() {
        func error(_ text: String) -> Text? {
            var lines = EndingLines()
            for byte in text.utf8 { lines.look(at: [byte]) }
            return lines.unpackerError
        }
        let words = "\r\n\r\nLZMA data is corrupt\r\n\r\n -- System halted"
        #expect(error("early console\r\n" + words) == "LZMA data is corrupt")
        for text in [
            "", "\n -- System halt", words + "\n", words + "!", "a line\nit -- System halted",
        ] {
            #expect(error(text) == nil, "\(text)")
        }
    }

    @Test("words of a panic that others say do not count")
    func others() {
        let words = "Kernel panic - not syncing: x"
        let text = Text(stringLiteral: words)
        for mark in ["", "[    1.234567] ", "[    1.234567][    T1] ", "<0>", "login: [ 1.0] "] {
            #expect(reason(["\(mark)\(words)\n"]) == text, "\(mark)")
        }
        for mark in ["kern.log: ", "host kernel: ", "\"", "---[ end "] {
            #expect(reason(["\(mark)\(words)\n"]) == nil, "\(mark)")
        }
    }

    @Test("an old kernel's last words are that it stops, until anything else is said")
    func halted() {
        func endsWithHalt(_ text: String) -> Bool {
            var lines = EndingLines()
            for byte in text.utf8 { lines.look(at: [byte]) }
            return lines.endWithHalt
        }
        for text in [
            "System halted.\r\n", "[    9.1] System halted.\n", "a\n<0>System halted.\n\n",
        ] {
            #expect(endsWithHalt(text), "\(text)")
        }
        for text in [
            "System halted.", "System halted. Or not\n", "the System halted.\n",
            "System halted.\n#", "System halted.\nx\n",
        ] {
            #expect(!endsWithHalt(text), "\(text)")
        }
        var lines = EndingLines()
        for _ in 0..<10_000 { lines.look(at: Array("a line of a kernel that starts\n".utf8)) }
        lines.look(at: Array("System halted.\n".utf8))
        #expect(lines.endWithHalt)
    }

    @Test("before 2.6.13 a kernel that is to power off says so and stops, too")
    func powersDown() {
        for (version, isEnd) in [
            ("2.4.37.11", true), ("2.6.9-55.0.9.EL", true), ("2.6.12-9-386", true),
            ("2.6.13", false), ("2.6.32", false), ("3.2.0", false),
        ] {
            var lines = EndingLines(of: LinuxVersion(Text(stringLiteral: version)))
            lines.look(at: Array("<0>Power down.\r\n".utf8))
            #expect(lines.endWithHalt == isEnd, "\(version)")
            lines.look(at: Array("Power down. Or not\n".utf8))
            #expect(!lines.endWithHalt, "\(version)")
            lines.look(at: Array("System halted.\n".utf8))
            #expect(lines.endWithHalt, "\(version)")
        }
        var lines = EndingLines()
        lines.look(at: Array("Power down.\n".utf8))
        #expect(!lines.endWithHalt)
    }

    @Test("before 2.6.13 a panic may be told without a word of syncing")
    func oldPanics() {
        for (version, isPanic) in [
            ("2.4.37.11", true), ("2.6.12", true), ("2.6.13", false), ("6.1.0", false),
        ] {
            var lines = EndingLines(of: LinuxVersion(Text(stringLiteral: version)))
            lines.look(at: Array("a Kernel panic: x\n<0>Kernel panic: VFS: no root\r\n".utf8))
            #expect((lines.reason == "Kernel panic: VFS: no root") == isPanic, "\(version)")
            #expect((lines.reason == nil) != isPanic, "\(version)")
            lines = EndingLines(of: LinuxVersion(Text(stringLiteral: version)))
            lines.look(at: Array("Power down.\nKernel panic: Attempted to kill init!\n".utf8))
            #expect(lines.isStopped == isPanic, "\(version)")
        }
    }

    @Test(
        "a kernel that misses process 1 right behind its halt was stopped by that, and by no other panic"
    )
    func stopped() {
        func isStopped(_ text: String, isFromKernel: Bool = true, _ version: String = "2.6.9")
            -> Bool
        {
            var lines = EndingLines(of: LinuxVersion(Text(stringLiteral: version)))
            for byte in text.utf8 { lines.look(at: [byte], isFromKernel: isFromKernel) }
            #expect(!isFromKernel || lines.reason != nil, "\(text)")
            return lines.isStopped
        }
        let panic = "<0>Kernel panic - not syncing: Attempted to kill init!\n"
        #expect(isStopped("Power down.\r\n" + panic))
        #expect(isStopped("[    9.1] System halted.\n \r\n" + panic) == false)
        #expect(isStopped("[    9.1] System halted.\n\n" + panic, "2.6.27.7"))
        #expect(!isStopped("Power down.\n" + panic, "2.6.17"))
        for text in [
            panic, "System halted.\nx\n" + panic, "the System halted.\n" + panic,
            "System halted.\n<0>Kernel panic - not syncing: Attempted to kill init! Or not\n",
            "System halted.\n<0>Kernel panic - not syncing: VFS: no root\n",
            panic + "System halted.\n" + panic,
        ] {
            #expect(!isStopped(text), "\(text)")
        }
        #expect(!isStopped("System halted.\n" + panic, isFromKernel: false))
        // Of a program that only looks so the processor tells that it ran in between.
        var lines = EndingLines()
        lines.look(at: Array("System halted.\n".utf8))
        #expect(lines.isHaltLast)
        lines.look(at: Array(panic.utf8))
        #expect(lines.isStopped && !lines.isHaltLast)
        lines.forgetStop()
        #expect(!lines.isStopped && lines.reason != nil)
        // Nor did that stop a kernel that has waited for something since.
        lines = EndingLines()
        lines.look(at: Array("System halted.\n".utf8))
        lines.forgetPanic()
        #expect(lines.endWithHalt)
        lines.look(at: Array(panic.utf8))
        #expect(!lines.isStopped && lines.reason != nil)
    }

    @Test("a line of which a part may be a program's counts for nothing, and the next one does")
    func ofPrograms() {
        let line = "Kernel panic - not syncing: sync\nSystem halted.\n"
        var lines = EndingLines()
        lines.look(at: Array(line.utf8), isFromKernel: false)
        #expect(lines.reason == nil && !lines.endWithHalt)
        lines.look(at: Array("Kernel panic - ".utf8))
        lines.look(at: Array("not syncing: ".utf8), isFromKernel: false)
        lines.look(at: Array("sync\n".utf8))
        #expect(lines.reason == nil)
        lines.look(at: Array("# reboot\r\n".utf8), isFromKernel: false)
        lines.look(at: Array(line.utf8))
        #expect(lines.reason == "Kernel panic - not syncing: sync" && lines.endWithHalt)
        lines.forgetPanic()
        #expect(lines.reason == nil && lines.endWithHalt)
    }

    @Test("a kernel that tells its restart has not panicked: a program has shown such words")
    func restarts() {
        let panic = "Kernel panic - not syncing: x\n"
        for line in [
            "[    9.123456] reboot: Restarting system\r\n", "Restarting system.\n",
            "<0>Restarting system with command 'now'.\n",
        ] {
            #expect(reason([panic, "# reboot -f\n", line]) == nil, "\(line)")
            #expect(reason([panic, line, panic]) == "Kernel panic - not syncing: x", "\(line)")
            #expect(reason([line, panic]) == "Kernel panic - not syncing: x", "\(line)")
            var lines = EndingLines()
            lines.look(at: Array(panic.utf8))
            lines.look(at: Array(line.utf8), isFromKernel: false)
            #expect(lines.reason == nil, "\(line)")
        }
        #expect(reason([panic, "Rebooting in 1 seconds..\n"]) == "Kernel panic - not syncing: x")
    }

    @Test("a guest that says much behind the words goes on; it may still say why it ends")
    func goesOn() {
        let panic = "Kernel panic - not syncing: x\n"
        let lines = [String](repeating: String(repeating: "y", count: 99) + "\n", count: 2700)
        #expect(reason([panic] + lines.prefix(60)) == "Kernel panic - not syncing: x")
        #expect(reason([panic] + lines) == nil)
        #expect(
            reason([panic] + lines + ["[ 9.0] Kernel panic - not syncing: z\n"])
                == "Kernel panic - not syncing: z")
    }

    @Test("a line without an end costs no more than it may")
    func bounded() {
        let long = String(repeating: "x", count: 100_000)
        #expect(reason([long, "Kernel panic - not syncing: too late\n"]) == nil)
        #expect(
            reason([long, "\n", "Kernel panic - not syncing: y\n"])
                == "Kernel panic - not syncing: y")
    }

    @Test("its page shows the transitions that it takes")
    func page() throws {
        let (halt, panic) = ("System halted.\n", "Kernel panic - not syncing: VFS: no root\n")
        let missed = "Kernel panic - not syncing: Attempted to kill init!\n"
        /// - Parameter event: a line, or what happens without one.
        func after(_ event: String, _ lines: EndingLines) -> EndingLines {
            var next = lines
            switch event {
            case "it goes on": next.forgetPanic()
            case "a program ran": next.forgetStop()
            default: next.look(at: Array(event.utf8))
            }
            return next
        }
        // A line of a halt behind a panic is no step from state to state, but where the panic's end leads to.
        let panicked = after(halt, after(panic, EndingLines()))
        let stopped = after(halt, after(missed, after(halt, EndingLines())))
        let walk = Walk(
            from: [EndingLines(), panicked, stopped],
            [
                ("a halt", halt), ("a panic", panic), ("process 1 is missed", missed),
                ("a restart", "Restarting system.\n"), ("another line", "x\n"),
                ("it goes on", "it goes on"), ("a program ran", "a program ran"),
                ("much output", String(repeating: "\n", count: 262_145)),
            ],
            name: { "\($0.stateName)" }, key: { "\($0.stateName) \($0.isHaltLast)" },
            step: { (lines: EndingLines, event: String) in
                let next = after(event, lines)
                return next.stateName.description == lines.stateName.description ? [] : [next]
            })
        #expect(try transitionsOfPage("ending-lines-machine.md") == walk.transitions)
    }
}
