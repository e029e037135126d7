// What a program of the boot table finds open: how that is written, and what process 1 does for it. With real programs:
// Tests/system/init.sh.

import Synchronization
import Testing

@testable import Mini

private func read(_ file: String) -> BootTableReader {
    var reader = BootTableReader(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
    reader.read(file: Text(stringLiteral: file), name: "t")
    reader.finish()
    return reader
}

private func errors(_ file: String) -> [String] { read(file).errors.map { string($0.text) } }

private let noDescriptors = "a program: only run, start, respawn and vital take descriptors"
private let targets =
    "a file, &NUMBER, console:NAME, socket:FILE, pipe:NAME, vchan:client:DOMAIN:PATH or vchan:server:DOMAIN:PATH"

/// The descriptors of a process by their numbers, and no other part of a kernel.
private final class FakeDescriptors: Sendable {
    struct State {
        var open = [0: "console", 1: "console", 2: "console"]

        mutating func add(_ what: String, from lowest: Int = 0) -> Int {
            var number = lowest
            while open[number] != nil { number += 1 }
            open[number] = what
            return number
        }

        mutating func answer(_ call: SystemCall) -> Int? {
            let (first, second, third, _, _, _) = call.arguments
            switch call.number {
            case .map, .unmap: return nil
            case .open:
                return add(String(cString: UnsafePointer<CChar>(bitPattern: first)!))
            case .pipeWithFlags:
                let ends = (Int32(add("reading end")), Int32(add("writing end")))
                UnsafeMutableRawPointer(bitPattern: first)!.storeBytes(
                    of: ends, as: (Int32, Int32).self)
                return 0
            case .fileControl:
                // F_DUPFD_CLOEXEC
                guard second == 1030, let what = open[first] else { return -22 }
                return add(what, from: third)
            case .duplicate:
                guard let what = open[first] else { return -9 }
                open[second] = what
                return second
            case .close: return open.removeValue(forKey: first) == nil ? -9 : 0
            default: return -38
            }
        }
    }
    private let state = Mutex(State())

    var open: [Int: String] { state.withLock { $0.open } }

    func play<Value>(_ body: () -> Value) -> Value {
        SystemCall.hooked({ call in self.state.withLock { $0.answer(call) } }, body)
    }
}

@Suite struct ProgramDescriptorsTests {
    @Test("a program has its numbers, whichever of them pipes have in process 1")
    func numbersOfPipes() {
        let statement = read("start 3</in 4>/out >pipe:log 2>&1 5>/more p\nrun <pipe:log q")
        guard case .program(_, _, let front) = statement.table.statements[0].request else {
            Issue.record("no program")
            return
        }
        let kernel = FakeDescriptors()
        let isDone = kernel.play { () -> Bool in
            var pipes = InitPipes()
            do throws(InitError) {
                // So that there are two pipes, with the numbers 3 to 6.
                _ = try pipes.named("other")
                let prepared = try PreparedDescriptors(front.descriptors, &pipes)
                try prepared.apply(&pipes)
                return true
            } catch { return false }
        }
        #expect(isDone)
        #expect(
            kernel.open == [
                0: "console", 1: "writing end", 2: "writing end", 3: "/in", 4: "/out", 5: "/more",
            ])
    }

    @Test("descriptors stand in front of the program, as a shell has them")
    func written() throws {
        let reader = read(
            "start 3</dev/a 4<>console:hvc1 >>/log 2>&1 5<>vchan:server:0:data/v q 6</x\nrun <socket:/s p"
        )
        #expect(reader.errors == [])
        func descriptor(
            _ number: Int32, _ direction: ProgramDescriptor.Direction,
            _ target: ProgramDescriptor.Target
        ) -> String { "\(number) \(direction) \(target)" }
        guard case .program(let words, .start, let front) = reader.table.statements[0].request
        else {
            Issue.record("no program")
            return
        }
        #expect(words == ["q", "6</x"])
        let domain = try #require(DomainID(0))
        let vchan = ProgramDescriptor.Target.vchan(.server, domain, try StorePath("data/v"))
        #expect(
            front.descriptors.map { descriptor($0.number, $0.direction, $0.target) } == [
                descriptor(3, .input, .file("/dev/a")), descriptor(4, .both, .console("hvc1")),
                descriptor(1, .append, .file("/log")), descriptor(2, .output, .same(1)),
                descriptor(5, .both, vchan),
            ])
        #expect(front.descriptors.map { $0.column } == [7, 16, 32, 39, 44])
        guard case .program(_, _, let input) = reader.table.statements[1].request else { return }
        #expect(input.descriptors[0].number == 0 && input.descriptors[0].target == .socket("/s"))
    }

    @Test("variables stand in front of a program as well, wherever one is named")
    func variablesWritten() {
        let many = (0..<64).map { "A\($0)=1" }.joined(separator: " ")
        let table = """
            run A=b 3</x _c1='d e' >y E= p Q=r
            respawn 1A=b
            vital ./A=b
            start =b
            shell A=b
            shell A=b p c=d
            launch A=b k
            run U=@{u} p
            run \(many) p
            try switch-root /r A=b p c
            exec A=b p c=d
            """
        let reader = read(table)
        #expect(reader.errors == [])
        let requests = reader.table.statements.map { $0.request }
        guard case .program(let words, .run, let front) = requests[0] else {
            Issue.record("no program")
            return
        }
        #expect(words == ["p", "Q=r"] && front.variables == ["A=b", "_c1=d e", "E="])
        #expect(front.descriptors.map { $0.number } == [3, 1])
        let one = ProgramFront(variables: ["A=b"])
        #expect(
            requests[1...6] == [
                .program(["1A=b"], .respawn), .program(["./A=b"], .vital),
                .program(["=b"], .start), .program([], .interactive, one),
                .program(["p", "c=d"], .interactive, one),
                .program(["mini-launch", "k"], .run, one),
            ])
        #expect(
            requests[9...] == [
                .replace(["p", "c"], root: "/r", variables: ["A=b"]),
                .replace(["p", "c=d"], root: nil, variables: ["A=b"]),
            ])
        #expect(
            errors("run A=b")
                == [
                    "t:1:1: the program is missing; usage: run [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]"
                ])
        #expect(
            errors("run B=1 \(many) p")
                == ["t:1:\(9 + many.count - 5): \"A63=1\" is not one of at most 64 variables"])
        #expect(errors("start A=b >pipe:x p\nrun A=@{b} <pipe:x A=b p") == [])
    }

    @Test("a program that process 1 becomes has its variables, and process 1 has them not")
    func variablesOfExec() {
        let boot = FakeBoot("try exec MINI_TEST_A=1 MINI_TEST_B=x=y MINI_TEST_A=2 /x\ntry exec /y")
        boot.boot()
        let own = boot.now.environments.map { $0.filter { $0.hasPrefix("MINI_TEST_") } }
        #expect(own == [["MINI_TEST_B=x=y", "MINI_TEST_A=2"], []])
    }

    @Test(
        "what is wrong with a descriptor is told where it stands",
        arguments: [
            ("run 3</a  3>/b p", "t:1:11: descriptor 3 is used twice"),
            ("run </a 0</b p", "t:1:9: descriptor 0 is used twice"),
            ("run 64</a p", "t:1:5: \"64\" is not a descriptor's number from 0 to 63"),
            (
                "run 99999999999999999999</a p",
                "t:1:5: \"99999999999999999999\" is not a descriptor's number from 0 to 63"
            ),
            ("run 3<</a p", "t:1:5: \"<<\" is not <, >, >> or <>"),
            ("run 3< p", "t:1:5: \"\" is not \(targets)"),
            ("run 3</a/../b p", "t:1:5: \"/a/../b\" is not a path without .. in it"),
            ("run 3<console:../sda p", "t:1:5: \"console:../sda\" is not \(targets)"),
            ("run 3<>vchan:server:x:y p", "t:1:5: \"vchan:server:x:y\" is not \(targets)"),
            (
                "run 3<>vchan:server:0:a//b p",
                "t:1:5: \"a//b\" is not a path in the store: names of letters, digits, -, _ and @ with a / between them"
            ),
            ("run 3<>pipe:x p", "t:1:5: \"3<>pipe:x\" is not < or > for such a target"),
            (
                "run 3</a",
                "t:1:1: the program is missing; usage: run [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]"
            ),
            ("start >pipe:x p", "t:1:7: the pipe \"x\" is written, but never read"),
            ("wait line x y", "t:1:11: the pipe \"x\" is read, but never written"),
            (
                "start >pipe:x p\nstart >pipe:x p\nrun <pipe:x p",
                "t:2:7: the pipe \"x\" is written twice"
            ),
            (
                "start >pipe:x p\nwait line x y\nwait line x z",
                "t:3:11: the pipe \"x\" is read twice"
            ),
            ("wait line x ''", "t:1:13: \"\" is not a text to wait for"),
            ("send /s >pipe:x m", "t:1:9: \">pipe:x\" is not a file, console:NAME or socket:FILE"),
            (
                "send /s",
                "t:1:1: the message is missing; usage: send SOCKET [DESCRIPTOR...] MESSAGE [expect=TEXT] [deadline=TIME]"
            ),
            ("exec >x y", "t:1:6: \">x\" is not \(noDescriptors)"),
            ("exec A=b 3</x y", "t:1:10: \"3</x\" is not \(noDescriptors)"),
            ("shell >x y", "t:1:7: \">x\" is not \(noDescriptors)"),
            ("switch-root /r 2>&1 y", "t:1:16: \"2>&1\" is not \(noDescriptors)"),
            ("launch >pipe:x k", "t:1:8: \">pipe:x\" is not \(noDescriptors)"),
            ("send /s m expect=", "t:1:11: \"\" is not an option with a value"),
        ])
    func wrong(table: String, wanted: String) { #expect(errors(table) == [wanted]) }

    @Test(
        "every statement whose program can find files open is looked at for pipes, and no other takes them"
    )
    func statements() {
        for form in StatementForm.all {
            let name = "\(form.name)"
            let usage = "\(form.usage.text)"
            let opens = form.traits.contains(.opens)
            #expect(usage.contains("[DESCRIPTOR...] PROGRAM") == opens, "\(name)")
            #expect(!form.traits.contains(.waits) || opens, "\(name)")
            guard opens else { continue }
            #expect(noDescriptors.contains(name), "\(name)")
            #expect(
                errors("\(name) >pipe:x p")
                    == ["t:1:\(name.count + 2): the pipe \"x\" is written, but never read"])
            let isEarly = errors("\(name) <pipe:x p\nstart >pipe:x q").count == 1
            #expect(isEarly == form.traits.contains(.waits), "\(name)")
        }
    }

    @Test("a statement that starts an applet which this build lacks is an error of the table")
    func missingApplets() {
        func errors(_ table: String, without applet: Text) -> [String] {
            let programs = InnerPrograms(
                run: { _ in nil }, complaint: { _ in nil }, has: { $0 != applet })
            var reader = BootTableReader(programs)
            reader.read(file: Text(stringLiteral: table), name: "t")
            reader.finish()
            return reader.errors.map { string($0.text) }
        }
        let table = "launch k\ntry launch @{a}\nrun mini-launch k"
        #expect(
            errors(table, without: "mini-launch") == [
                "t:1:1: this build of mini has no mini-launch",
                "t:2:5: this build of mini has no mini-launch",
            ])
        #expect(errors(table, without: "mini-grant") == [])
        let vchans = "start 3<>vchan:client:0:data/v p\nstart 3<>vchan:server:0:@{a} p @{b}"
        #expect(
            errors(vchans, without: "mini-grant") == [
                "t:1:1: this build of mini has no mini-grant",
                "t:2:1: this build of mini has no mini-grant",
            ])
        #expect(errors(vchans, without: "mini-launch") == [])
        for applet in Applet.table { #expect(InitCommand.programs.has("\(applet.name)")) }
        #expect(!InitCommand.programs.has("mini-other"))
    }

    @Test("a pipe may have other ends on each way through a condition")
    func branches() {
        #expect(
            errors("if file /x\nstart >pipe:p a\nelse\nstart >pipe:p b\nend\nwait line p t") == [])
        #expect(
            errors("if file /x\nstart >pipe:p a\nend\nstart >pipe:p b\nwait line p t").count == 1)
    }

    @Test("the ends of a pipe are on one way through a condition, and who waits has the second one")
    func order() {
        #expect(
            errors("if file /x\nstart >pipe:p a\nelse\nwait line p t\nend") == [
                "t:2:7: the pipe \"p\" is written, but never read",
                "t:4:11: the pipe \"p\" is read, but never written",
            ])
        #expect(errors("if file /x\nstart >pipe:p a\nend\nif file /y\nwait line p t\nend") == [])
        let early = "by a statement that waits, before anything can"
        #expect(
            errors("run <pipe:a p\nstart >pipe:a q")
                == ["t:1:5: the pipe \"a\" is read \(early) write it"])
        #expect(
            errors("wait line a t\nvital >pipe:a q")
                == ["t:1:11: the pipe \"a\" is read \(early) write it"])
        // A pipe holds some.
        #expect(errors("run >pipe:a p\nrespawn <pipe:a q") == [])
        #expect(errors("start <pipe:a p\nrun >pipe:a q") == [])
        #expect(errors("start >pipe:a 3<pipe:b p\nstart <pipe:a >pipe:b q") == [])
        // What is only behind it on another way does not help.
        #expect(
            errors("if file /x\nstart >pipe:a p\nelse\nrun <pipe:a p\nstart >pipe:a q\nend").count
                == 2)
    }

    @Test("process 1 keeps no end of a pipe that no statement takes any more")
    func lostEnds() {
        let fails = FakeBoot.Life.ends(1 << 8)
        let (goesOn, ends) = (FakeBoot.Life.untilTerminated, FakeBoot.Life.ends(0))
        // How the children end, and how many ends there are whenever one is waited for.
        for (table, lives, wanted) in [
            // What is looked up is not there, for who writes and for who reads.
            ("try start >pipe:x a @{file:/n}\nrun <pipe:x b", [fails, ends], [0, 0]),
            (
                "start >pipe:x a\ntry run <pipe:x b @{file:/n}\nrun c", [goesOn, fails, ends],
                [1, 0]
            ),
            ("start >pipe:x a\ntry run <pipe:x b @{file:/n}", [goesOn, fails], [1, 0]),
            // It is skipped.
            ("if file /n\nstart >pipe:x a\nend\nrun <pipe:x b", [fails, ends], [0, 0]),
            ("if file /n\nstart @{d} a\nend\nrun <pipe:x b", [fails, ends], [0, 0]),
            (
                "start <pipe:x b\nif file /n\nrun c\nelse\nstart @{d} a\nend",
                [goesOn, ends, ends], [1, 0]
            ),
            // It is not what is looked up.
            ("start <pipe:x b\nstart @{d} a\nrun c", [goesOn, ends, goesOn, ends], [1, 0]),
            // It has them again whenever it is started.
            ("respawn >pipe:x a\nrun <pipe:x b", [goesOn, ends], [1, 1]),
        ] as [(String, [FakeBoot.Life], [Int])] {
            let boot = FakeBoot(table) {
                $0.lives = lives
                $0.signalAfter = (lives.count, 12)
                // The words that a child hands over.
                $0.files["/"] = "2\0start\0" + "14\0a\0"
            }
            boot.boot()
            #expect(boot.now.ends.prefix(wanted.count) == wanted[...], "\(table)")
            #expect(boot.now.made.count == lives.count, "\(table)")
        }
        // What nobody is to read any more is shown.
        let unread = FakeBoot("start >pipe:x a\ntry run <pipe:x b @{file:/n}\nrun c") {
            $0.lives = [goesOn, fails, ends]
            $0.signalAfter = (3, 12)
            $0.files["a pipe"] = "no disk\n"
        }
        unread.boot()
        #expect(unread.console == "no disk\nmini-init: powering off\n")
    }

    @Test("lookups keep no pipe from being looked at but those that they may bring")
    func lookups() {
        let open = "is written, but never read"
        #expect(
            errors("set /proc/x @{a}\nstart >pipe:log p") == ["t:2:7: the pipe \"log\" \(open)"])
        #expect(
            errors("start 3<@{a}/b >pipe:log p @{c}")
                == ["t:1:16: the pipe \"log\" \(open)"])
        #expect(
            errors("wait line log @{a}") == ["t:1:11: the pipe \"log\" is read, but never written"])
        for other in [
            "run <pipe:@{a} q", "run <@{a} q", "run 4</x@{b} 3<@{a} q", "wait line @{a} t",
            "run <pipe:log q @{a}", "wait line log @{a}",
        ] { #expect(errors("start >pipe:log p @{b}\n\(other)") == [], "\(other)") }
        #expect(errors("start >pipe:log p\nrun <x@{a} q") == ["t:1:7: the pipe \"log\" \(open)"])
    }

    @Test("process 1 keeps no end of a pipe that a program has got, and no connection of a vchan")
    func ends() {
        let boot = FakeBoot("start >pipe:x a\nrun <pipe:x b")
        boot.boot()
        #expect(boot.console == "mini-init: powering off\n" && boot.now.made.count == 2)
        #expect(boot.now.open.values.filter { $0.path == "a pipe" }.isEmpty)
        let waiting = FakeBoot("start >pipe:x a\nwait line x ready\nrun b") {
            $0.lives = [.untilTerminated, .untilTerminated, .ends(0), .ends(0)]
            $0.signalAfter = (4, 12)
        }
        waiting.boot()
        #expect(waiting.console == "mini-init: powering off\n" && waiting.now.made.count == 4)
        #expect(waiting.now.open.values.filter { $0.path == "a pipe" }.isEmpty)
        let late = FakeBoot("on-error halt\nstart >pipe:x a\nwait line x ready\nrun b") {
            $0.lives = [.untilTerminated, .untilTerminated, .ends(1 << 8)]
        }
        late.boot()
        #expect(late.console == "mini-init: halting\n" && late.now.made.count == 3)
    }

    @Test("a console is opened for what its sign says, as whoever gets it may look at that")
    func consoleModes() {
        for (word, mode) in [("3<console:c", 0), ("3>console:c", 1), ("3<>console:c", 2)] {
            let request = read("run \(word) p").table.statements[0].request
            guard case .program(_, _, let front) = request else {
                Issue.record("no program")
                continue
            }
            let modes = Mutex<[Int]>([])
            let hook: @Sendable (SystemCall) -> Int? = { call in
                if call.number == .map || call.number == .unmap { return nil }
                if call.number == .open { modes.withLock { $0.append(call.arguments.1) } }
                // There is no such file.
                return -2
            }
            let number = SystemCall.hooked(hook) { () -> Int32? in try? front.descriptors[0].open()
            }
            #expect(number == nil)
            // O_ACCMODE, and O_NOCTTY.
            #expect(modes.withLock { $0 }.map { $0 & 0o403 } == [mode | 0o400], "\(word)")
        }
    }

    @Test("a connection that a program gets is made when there is room for it, and its calls wait")
    func connections() {
        let request = read("run 3<socket:/s p").table.statements[0].request
        guard case .program(_, _, let front) = request else {
            Issue.record("no program")
            return
        }
        let switches = Mutex<[Int32]>([])
        let tries = Mutex(0)
        let hook: @Sendable (SystemCall) -> Int? = { call in
            let (_, second, third, _, _, _) = call.arguments
            switch call.number {
            // FIONBIO
            case .ioctl where second == 0x5421:
                let value = UnsafePointer<Int32>(bitPattern: third)!.pointee
                switches.withLock { $0.append(value) }
                return 0
            case .fileControl: return 77
            case .close, .poll: return 0
            case SystemCall.Number(rawValue: SocketCall.socket.direct): return 70
            case SystemCall.Number(rawValue: SocketCall.connect.direct):
                return tries.withLock {
                    $0 += 1
                    return $0 < 3 ? -11 : 0
                }
            default: return nil
            }
        }
        let number = SystemCall.hooked(hook) { () -> Int32? in try? front.descriptors[0].open() }
        #expect(number == 77 && tries.withLock { $0 } == 3)
        #expect(switches.withLock { $0 } == [1, 1, 1, 0])
    }

    @Test("a quoted word is the message that is sent, whatever sign it begins with")
    func messages() {
        let table = "send /s \"<6>boot\" expect=a\nsend /s <\"/a b\" '3<x'\nsend /s '>' deadline=1"
        let reader = read(table)
        #expect(reader.errors == [])
        let sent = reader.table.statements.map { statement -> String in
            guard case .send(let request) = statement.request else { return "?" }
            return "\(request.files.count) \(string(request.message))"
        }
        #expect(sent == ["0 <6>boot", "1 3<x", "0 >"])
        #expect(errors("send /s '<@{a}>'\nsend /s \"<@{a}>\"") == [])
        #expect(errors("send /s \"</a b\" m") == ["t:1:17: unknown option \"m\""])
    }

    @Test("a program without one of its carriers is ended, and has failed to start")
    func carriers() {
        let vchans = "3<>vchan:client:0:data/v 4<>vchan:client:0:data/w a"
        let failure =
            "mini-init: /etc/mini.table:2:1: cannot start a process: out of memory (ENOMEM)"
        // Of the program, of the first carrier, of the second one.
        for made in 0...2 {
            let killed = (0..<made).map { "kill \(100 + $0) 9" }
            let boot = FakeBoot("on-error halt\nrun \(vchans)\nrun b") {
                $0.lives = [.idle, .idle, .idle]
                $0.forkFailsBehind = made
            }
            boot.boot()
            #expect(boot.console == "\(failure)\nmini-init: halting\n")
            #expect(boot.now.made.count == made)
            #expect(boot.now.deeds.filter { $0.hasSuffix(" 9") } == killed)
            #expect(boot.now.open.values.filter { $0.path == "a pipe" }.isEmpty)
            // The next one is alone.
            let service = FakeBoot("on-error halt\nrespawn \(vchans)") {
                $0.lives = (0..<made + 3).map { $0 < made ? .deaf : .untilTerminated }
                $0.forkFailsBehind = made
                $0.signalAfter = (made + 3, 12)
            }
            service.boot()
            #expect(service.console == "\(failure)\nmini-init: powering off\n")
            #expect(service.now.made.count == made + 3)
            #expect(service.now.deeds.filter { $0.hasSuffix(" 9") } == killed)
            let reaped = service.now.deeds.filter { $0.hasPrefix("reap") }.prefix(made)
            #expect(reaped == (0..<made).map { "reap \(100 + $0)" }[...])
        }
    }

    @Test("a text is found wherever it stands in a line, however long that is, and in no two lines")
    func longLines() {
        func isFound(_ text: String, in line: String) -> Bool {
            let bytes = Array(line.utf8)
            let state = Mutex((at: 0, tells: 0))
            let hook: @Sendable (SystemCall) -> Int? = { call in
                switch call.number {
                case .map, .unmap: return nil
                case .read:
                    return state.withLock { state in
                        let part = Array(bytes.dropFirst(state.at).prefix(call.arguments.2))
                        UnsafeMutableRawPointer(bitPattern: call.arguments.1)!.copyMemory(
                            from: part, byteCount: part.count)
                        state.at += part.count
                        return part.count
                    }
                case .write:
                    if call.arguments.0 == 77 { state.withLock { $0.tells += 1 } }
                    return call.arguments.2
                default: return 0
                }
            }
            SystemCall.hooked(hook) {
                PipeCopy.run(70, until: Text(stringLiteral: text), telling: 77)
            }
            return state.withLock { $0.tells } == 1
        }
        for count in [0, 4080, 4090, 4091, 4092, 4093, 4095, 4096, 8185, 8190, 20_000] {
            let line = String(repeating: "y", count: count)
            #expect(isFound("ready", in: line + "ready"), "\(count)")
            #expect(!isFound("ready", in: line + "rea\ndy"), "\(count)")
        }
        let long = String(repeating: "z", count: 5000) + "!"
        #expect(isFound(long, in: "z" + long) && !isFound(long, in: String(long.dropFirst())))
    }

    @Test("what a lost program wrote into a pipe that nobody reads is shown, the last of it")
    func lastWords() {
        let early = "on-error halt\nvital >pipe:log a\nwait socket /s\nrun <pipe:log b"
        for (words, shown) in [
            ("no disk", "no disk\n"), ("a\nb\n", "a\nb\n"), ("", ""),
            (String(repeating: "x", count: 30_000), String(repeating: "x", count: 4096) + "\n"),
        ] {
            let boot = FakeBoot(early) {
                $0.lives = [.idle, .untilTerminated]
                $0.happenings = [.end(0, 9)]
                $0.files["a pipe"] = words
            }
            boot.boot()
            #expect(
                boot.console
                    == "mini-init: /etc/mini.table:2:1: \"a\" was ended by signal 9\n\(shown)mini-init: halting\n"
            )
            #expect(boot.now.open.values.filter { $0.path == "a pipe" }.isEmpty)
        }
        // Before the shell of whoever is to find out why.
        let shell = FakeBoot("vital >pipe:log a\nrun b\nrun <pipe:log c") {
            $0.lives = [.idle, .untilTerminated]
            $0.happenings = [.end(0, 9)]
            $0.files["a pipe"] = "no disk\n"
        }
        shell.boot()
        #expect(shell.console.contains("by signal 9\nno disk\nmini-init: there is no shell\n"))
    }

    @Test("what a program reads is its own until none is left")
    func readPipes() {
        let read = FakeBoot("start >pipe:log a\nrun <pipe:log b") { $0.files["a pipe"] = "x\n" }
        read.boot()
        #expect(read.console == "mini-init: powering off\n")
        let again = FakeBoot("grace 100ms\nrespawn <pipe:log b\nrespawn >pipe:log a\nrun c") {
            $0.lives = [.deaf, .untilTerminated, .idle]
            $0.happenings = [.signal(12)]
            $0.files["a pipe"] = "x\n"
        }
        let actions = again.boot()
        #expect(actions.last == .end(.powerOff))
        #expect(again.console == "x\nmini-init: powering off\n")
    }

    @Test(
        "the machine ends with a vital program: as at-end says, or as on-error if it did not end well"
    )
    func vital() {
        for (status, end) in [(0, "rebooting"), (1, "halting"), (9, "halting")] as [(Int32, String)]
        {
            let boot = FakeBoot("on-error halt\nat-end reboot\nvital a\nrun b\nrun c") {
                $0.lives = [.idle, .untilTerminated]
                $0.happenings = [.end(0, status == 1 ? 1 << 8 : status)]
            }
            boot.boot()
            #expect(boot.console.hasSuffix("mini-init: \(end)\n") && boot.now.made.count == 2)
        }
        let shell = FakeBoot("vital a\nrun b") {
            $0.lives = [.idle, .idle, .idle]
            $0.files["/bin/sh"] = ""
            // The vital program, then what was awaited, then the shell.
            $0.happenings = [.end(0, 9), .end(1, 0), .end(2, 0)]
        }
        let actions = shell.boot()
        #expect(actions.contains(.startShell) && shell.now.happenings.isEmpty)
        // It ends while a shell is there already, whose end is the machine's all the same.
        for status: Int32 in [9, 0] {
            let late = FakeBoot("vital a\nrun b") {
                $0.lives = [.idle, .idle, .idle]
                $0.files["/bin/sh"] = ""
                $0.happenings = [.end(1, 1 << 8), .end(0, status), .end(2, 0)]
            }
            #expect(late.boot().last == .end(.powerOff) && late.now.happenings.isEmpty)
        }
    }

    @Test("a program that forks away is known by a process of process 1's that nobody has started")
    func orphans() {
        func orphan(
            _ stat: String, besides others: [Int32] = [], isMarked: Bool = false
        ) -> String? {
            InitOrphans.orphan(
                Text(stringLiteral: stat), of: ProcessID(rawValue: 50),
                besides: others.map { ProcessID(rawValue: $0) }, isMarked: { isMarked }
            ).map { "\($0.id.rawValue) \(string($0.name))" }
        }
        #expect(orphan("51 (a) b) S 1 50 50 0 -1") == "51 a) b")
        #expect(orphan("49 (d) S 1 50 50 0") == "49 d")
        // A younger session, or an older one where numbers have begun anew, can be anybody's.
        for session in [49, 51, 60] {
            #expect(orphan("51 (d) S 1 \(session) \(session) 0") == nil)
            #expect(orphan("51 (d) S 1 \(session) \(session) 0", isMarked: true) == "51 d")
        }
        for isMarked in [false, true] {
            #expect(orphan("51 (d) S 7 50 50 0", isMarked: isMarked) == nil)
            #expect(orphan("51 (d) Z 1 50 50 0", isMarked: isMarked) == nil)
            #expect(orphan("50 (d) S 1 50 50 0", isMarked: isMarked) == nil)
            #expect(orphan("60 (d) S 1 60 60 0", besides: [60], isMarked: isMarked) == nil)
            #expect(orphan("61 (d) S 1 60 60 0", besides: [60], isMarked: isMarked) == nil)
            for torn in [
                "", "51", "(", ")(", "51 (d)", "51 (d) ", "x (d) S 1 50 50", "51 (d) S 1 50",
            ] { #expect(orphan(torn, isMarked: isMarked) == nil) }
        }
    }

    @Test(
        "whose a process is that was left to process 1, as /proc shows it, and whether there is any"
    )
    func leftProcesses() {
        func boot(_ name: String) -> FakeBoot {
            FakeBoot {
                $0.listsFolders = true
                $0.files["/proc/51/stat"] = "51 (\(name)) S 1 51 51 0"
                $0.files["/proc/51/environ"] = "A=b\0MINI_INIT_PROGRAM=7\0C=d\0"
                $0.files["/proc/60/stat"] = "60 (mini) S 1 60 60 0"
                $0.files["/proc/61/stat"] = "61 (sh) S 60 60 60 0"
            }
        }
        let daemon = boot("d")
        func find(_ number: UInt64?) -> Int32? {
            daemon.play { () -> Int32? in
                InitOrphans.find(
                    of: ProcessID(rawValue: 50), marked: number.map { InitOrphans.mark($0) },
                    besides: [])?.id.rawValue
            }
        }
        #expect(find(7) == 51)
        for other in [0, 1, 70, 77, nil] as [UInt64?] { #expect(find(other) == nil) }
        func areAlone(_ boot: FakeBoot, _ keepers: [Int32]) -> Bool {
            boot.play { () -> Bool in
                InitOrphans.areAlone(keepers.map { ProcessID(rawValue: $0) })
            }
        }
        #expect(!areAlone(daemon, [60]))
        #expect(areAlone(daemon, [51, 60]))
        // It waits for the end of the machine itself.
        #expect(areAlone(boot("mini-dead-ports"), [60]))
        // One that has ended may have left behind what is not seen yet.
        let dead = boot("d")
        dead.state.withLock { $0.files["/proc/51/stat"] = "51 (d) Z 1 51 51 0" }
        #expect(!areAlone(dead, [60]))
        // Nothing is guessed; and where nobody keeps anything the kernel says that nobody is left.
        #expect(!areAlone(FakeBoot(), [60]))
        let empty = FakeBoot { $0.listsFolders = true }
        #expect(areAlone(empty, [60]) && !areAlone(empty, []))
    }

    @Test(
        "a service that fails is started again, whatever it leaves behind; one that forks away is not"
    )
    func helpers() {
        for (status, starts) in [(0, 2), (9, 3), (1 << 8, 3)] as [(Int32, Int)] {
            let boot = FakeBoot("respawn a\nrun b") {
                $0.lives = [.idle, .idle, .untilTerminated]
                $0.happenings = [.end(0, status)]
                $0.signalAfter = (starts, 12)
                $0.listsFolders = true
                $0.files["/proc/300/stat"] = "300 (h) S 1 100 100 0"
            }
            boot.boot()
            #expect(boot.now.made.count == starts, "\(status)")
            #expect(
                boot.console.contains("\"a\" has forked away: process 300 (h)") == (starts == 2))
        }
    }

    @Test("a variable stands in place of one of the same name, and of no other")
    func variables() {
        let names = ["MINI_A", "MINI_AB"]
        let words = Process.environment(adding: ["MINI_A=1", "MINI_AB=2", "MINI_A=3=4"])
        let own = words.map { string($0) }.filter { word in
            names.contains { word.hasPrefix($0 + "=") }
        }
        #expect(own == ["MINI_AB=2", "MINI_A=3=4"])
        #expect(words.count == Process.environment().count + 2)
    }
}
