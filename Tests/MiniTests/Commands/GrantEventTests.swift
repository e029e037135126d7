// `mini-grant event` as a whole, on the model.

import Testing

@testable import Mini

private func xen(_ change: (inout FakeXen.State) -> Void = { _ in }) throws -> FakeXen {
    try FakeXen {
        $0.store = FakeStore()
        $0.remotePorts = [key(3, 7)]
        $0.ringsWhenBound = true
        change(&$0)
    }
}

private func run(_ line: String, on xen: FakeXen) -> Ended {
    let ended = grant("event \(line)", on: xen)
    if !xen.now.failsHopelessly { #expect(xen.now.left == []) }
    return ended
}

@Suite struct GrantEventTests {
    @Test("notify rings the other domain's port, whose number the store may have")
    func notify() throws {
        let rung = try xen()
        #expect(run("notify --domain 3 --port 7", on: rung) == done())
        #expect(rung.now.notified == [7])
        let stored = try xen { $0.store = FakeStore.with(["/p": "7"]) }
        #expect(run("notify --domain 3 --port @/p", on: stored) == done())
        #expect(stored.now.notified == [7])
    }

    @Test("bind makes a port, publishes it for the domain, and ends with its event")
    func bind() throws {
        let bound = try xen {
            $0.happenings = [
                .act { state in
                    #expect(
                        state.store!.entries["/p"]
                            == FakeStore.Entry(value: [49], permissions: ["n0", "r3"]))
                    state.deliver(1)
                }
            ]
        }
        #expect(run("bind --domain 3 --publish /p", on: bound) == done("1\n"))
        #expect(bound.now.store!.entries.count == 1)
        let three = try xen { $0.happenings = [.event(1), .event(1), .event(1)] }
        #expect(run("bind --domain 3 --count 3", on: three) == done("1\n"))
        #expect(three.now.happenings.isEmpty)
    }

    @Test("wait does not take the ring of binding for an event")
    func wait() throws {
        let waiting = try xen { $0.happenings = [.event(1)] }
        #expect(run("wait --domain 3 --port 7", on: waiting) == done())
        #expect(waiting.now.happenings.isEmpty)
        #expect(
            try run("wait --domain 3 --port 7 --deadline 1.5", on: xen())
                == failed(5, "no event of domain 3 came in time"))
    }

    @Test("the deadline ends it while events come, and counts from the beginning")
    func deadlines() throws {
        let second = FakeXen.Happening.act {
            $0.clock += 1_000_000_000
            $0.deliver(1)
        }
        let seconds = Array(repeating: second, count: 20)
        for words in ["--count 0", "--count 9"] {
            let flooded = try xen { $0.happenings = seconds + [.signal(15)] }
            #expect(
                run("bind --domain 3 \(words) --deadline 4.5", on: flooded)
                    == failed(5, "only 5 events of domain 3 came in time", output: "1\n"))
        }
        // Without a ring of Xen's there is nothing to take first.
        let quiet = try xen { $0.ringsWhenBound = false }
        let before = quiet.now.clock
        #expect(
            run("wait --domain 3 --port 7 --deadline 0.5", on: quiet)
                == failed(5, "no event of domain 3 came in time"))
        #expect(quiet.now.clock - before < 700_000_000)
        // One that comes with the last moment is one.
        let last = try xen { $0.happenings = Array(repeating: second, count: 5) }
        #expect(run("bind --domain 3 --count 5 --deadline 4.5", on: last) == done("1\n"))
        let stopped = try xen {
            $0.ringsWhenBound = false
            $0.happenings = [.signal(15)]
        }
        #expect(run("wait --domain 3 --port 7", on: stopped).code == 143)
    }

    @Test("a signal, the end of the domain, and a port that is not there end it")
    func ends() throws {
        let stopped = try xen { $0.happenings = [.signal(15)] }
        #expect(
            run("bind --domain 3 --publish /p", on: stopped)
                == Ended(code: 143, output: "1\n", errors: ""))
        #expect(stopped.now.store!.entries.count == 1)
        let gone = try xen { $0.happenings = [.act { $0.store!.ended = ["3"] }] }
        #expect(run("bind --domain 3", on: gone) == failed(4, "domain 3 has ended", output: "1\n"))
        #expect(
            try run("notify --domain 3 --port 8", on: xen())
                == failed(
                    4,
                    "Xen does not bind event port 8 of domain 3: invalid argument (EINVAL)"))
    }

    @Test("the help of bind tells that it is the port that is published")
    func help() throws {
        let help = try run("bind --help", on: xen())
        #expect(help.code == 0 && help.output.contains(" --publish PATH    write the port to"))
        #expect(!help.output.contains("references"))
    }

    @Test(
        "wrong words are told",
        arguments: [
            ("", "no subcommand is named; --help lists them"),
            ("ring", "there is no subcommand \"event ring\"; --help lists them"),
            ("notify --port 7", "option --domain is missing"),
            ("notify --domain 3", "option --port is missing"),
            ("wait --domain 3 --port 0", "--port of \"0\" is no event port"),
            ("bind --domain 3 --publish /", "\"/\" is the whole store: name an entry in it"),
            ("bind --domain 3 --port 7", "unknown option \"--port\"; --help lists them"),
        ])
    func words(words: String, line: String) throws {
        #expect(try run(words, on: xen()) == failed(2, line))
    }

    @Test(
        "every call that fails gives one line and leaves nothing",
        arguments: [
            "notify --domain 3 --port 7", "wait --domain 3 --port 7",
            "bind --domain 3 --publish /p",
        ])
    func everyCall(line: String) throws {
        func model(_ failing: (Int, Errno)?) throws -> FakeXen {
            try xen {
                $0.happenings = [.event(1), .signal(15), .signal(15)]
                $0.failing = failing.map { (call: $0.0, errno: $0.1) }
            }
        }
        let whole = try model(nil)
        #expect(run(line, on: whole).code == 0)
        for call in 1...whole.now.calls.count {
            let ended = run(line, on: try model((call, .inputOutput)))
            let lines = ended.errors.split(separator: "\n").count
            #expect(
                [0, 143].contains(ended.code) ? lines == 0 : lines == 1,
                "\(line), \(call), \(ended)")
            #expect([0, 1, 3, 4, 143].contains(ended.code), "\(line), \(call), \(ended)")
        }
    }
}
