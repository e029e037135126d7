// The sandbox of the commands that keep pages for long: the calls of its page against the code, and against
// what the commands do on the played Xen. FakeXen runs the filter in every test; here each feature is used once.

import Foundation
import Testing

@testable import Mini

private func have() -> GrantDescriptors {
    var have = GrantDescriptors()
    (have.signals, have.input, have.output, have.errors) = (3, 4, 5, [6])
    (have.file, have.stores, have.gntdev, have.gntalloc) = (7, [8, 9], 10, 11)
    (have.evtchn, have.listener, have.sockets, have.nothing) = (12, 13, [14, 15], 16)
    return have
}

/// The page's table: the calls of each feature.
private func sandboxPage() throws -> [String: [String]] {
    let text = try projectText("docs/sandbox.md")
    let table = try #require(text.split(separator: "<!-- grant -->").last)
        .split(separator: "<!-- end -->")[0]
    var rows: [String: [String]] = [:]
    for line in table.split(separator: "\n").dropFirst(2) {
        let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        // A row's name may have backquotes.
        rows[cells[0]] = cells[1].matches(of: #/`([^`]*)`/#).map { String($0.1) }
    }
    return rows
}

/// What has no system call of its own on the model: memory is the test's, and a process goes on.
private let unseen: Set<String> = [
    "mmap(no PROT_EXEC, no file)", "munmap()", "exit_group()", "rt_sigreturn()",
]

/// What was seen is what the page has for these features, no more and no less.
func expectSandbox(
    _ seen: Set<String>, _ features: GrantFeature..., at line: SourceLocation = #_sourceLocation
) throws {
    let rows = try sandboxPage()
    let wanted = Set(features.flatMap { rows["\($0.name)"] ?? [] })
    #expect(
        seen.subtracting(unseen).subtracting(wanted) == [], "not on the page", sourceLocation: line)
    #expect(
        wanted.subtracting(unseen).subtracting(seen) == [], "never made", sourceLocation: line)
}

@Suite struct GrantSandboxTests {
    @Test("the page has the same calls for each feature as the code, in the same order")
    func pageIsCode() throws {
        let rows = try sandboxPage()
        #expect(rows.count == GrantFeature.allCases.count)
        for feature in GrantFeature.allCases {
            let calls = feature.rules(have()).map { string($0.text) }
            #expect(rows["\(feature.name)"] == calls, "\(feature.name)")
        }
    }

    @Test("with everything switched on 25 calls are left, or fewer")
    func count() {
        let plan = SandboxPlan(GrantFeature.allCases, have())
        #expect(SystemCallFilter(plan.rules!).count <= 25)
    }

    @Test("no feature lets through what opens, starts, removes, traces, makes memory executable")
    func never() {
        let words = SystemCallFilter(SandboxPlan(GrantFeature.allCases, have()).rules!).words
        func answer(_ number: UInt32, _ arguments: [UInt64]) -> UInt32? {
            runFilter(
                words, number: number, architecture: SystemCallFilter.architecture, arguments)
        }
        // open, openat, execve, execveat, fork, vfork, clone, clone3, ptrace, mprotect, unlink, unlinkat, kill,
        // bind, listen, io_uring_setup, mremap
        for number in [
            2, 257, 59, 322, 57, 58, 56, 435, 101, 10, 87, 263, 62, 49, 50, 425, 25,
        ] as [UInt32] {
            for value in [0, 1, 3, 4, .max] as [UInt64] {
                #expect(
                    answer(number, [UInt64](repeating: value, count: 6)) == SystemCallFilter.kill,
                    "call \(number)")
            }
        }
        #expect(answer(9, [0, 4096, 5, 0x22, .max, 0]) == SystemCallFilter.kill)
        #expect(answer(9, [0, 4096, 3, 1, 77, 0]) == SystemCallFilter.kill)
        // A socket of the network; typing into a terminal; another device's request.
        #expect(answer(41, [2, 1, 0, 0, 0, 0]) == SystemCallFilter.kill)
        #expect(answer(16, [1, 0x5412, 0, 0, 0, 0]) == SystemCallFilter.kill)
        #expect(
            answer(16, [12, UInt64(GntDev.Request.map.rawValue), 0, 0, 0, 0])
                == SystemCallFilter.kill)
    }

    // MARK: What is made

    @Test("map --hold makes the calls of its rows, and no others")
    func map() throws {
        let file = try TemporaryFile()
        var seen: Set<String> = []
        for words in ["", " --out \(file.path)", " --hexdump --out \(file.path)"] {
            let xen = try threePages {
                $0.happenings = [.signal(15)]
                $0.remotePorts = [key(3, 40)]
            }
            let ended = grant(
                "map --domain 3 --ref 17,18 --write --hold --notify-port 40\(words)", on: xen)
            #expect(ended.code == 0 && xen.now.left == [])
            #expect(xen.now.sandbox.filter != nil)
            seen.formUnion(xen.now.sandbox.seen)
        }
        // Something to say.
        let xen = try threePages { $0.outputErrno = .noSpace }
        #expect(grant("map --domain 3 --ref 17 --hold", on: xen).code == 1)
        seen.formUnion(xen.now.sandbox.seen)
        try expectSandbox(seen, .always, .timed, .mapping, .file, .port)
    }

    @Test("share --hold makes the calls of its rows, and no others")
    func share() throws {
        var seen: Set<String> = []
        for words in ["", " --publish /a"] {
            let xen = try FakeXen {
                $0.store = FakeStore()
                $0.happenings = [.act { _ in }, .signal(15)]
                $0.remotePorts = [key(3, 40)]
            }
            let ended = grant(
                "share --domain 3 --pages 2 --hold --notify-port 40\(words)", on: xen)
            #expect(ended.code == 0 && xen.now.left == [], "\(ended)")
            seen.formUnion(xen.now.sandbox.seen)
        }
        let xen = try FakeXen { $0.outputErrno = .noSpace }
        #expect(grant("share --domain 3 --hold", on: xen).code == 1)
        seen.formUnion(xen.now.sandbox.seen)
        try expectSandbox(seen, .always, .timed, .sharing, .port)
    }

    @Test("a share whose references nobody reads takes back what it has published")
    func unread() throws {
        let xen = try FakeXen {
            $0.store = FakeStore()
            $0.outputErrno = .brokenPipe
        }
        #expect(grant("share --domain 3 --hold --publish /a", on: xen).code == 1)
        #expect(!xen.now.hasEndedByPipe && xen.now.left == [])
        #expect(xen.now.store?.entries["/a"] == nil)
    }

    /// What the model cannot show of a pipe: standard input and output are no pipes that could be made larger.
    private static let unseenOfPipes: Set<String> = [
        "fcntl(input, F_GETPIPE_SZ)", "fcntl(input, F_SETPIPE_SZ)",
        "fcntl(output, F_GETPIPE_SZ)", "fcntl(output, F_SETPIPE_SZ)",
    ]

    @Test("pipe --client makes the calls of its rows, and no others")
    func client() throws {
        let peer = try Peer {
            $0.input = [UInt8](repeating: 1, count: 70_000)
            $0.isInputIdle = true
        }
        peer.offer(VchanLayout(left: 17, right: 10)!)
        let ended = peer.run(
            "--client --verbose",
            [
                peer.does { $0.take() },
                // Behind the end of the ring, both ways.
                .act { $0.input = [UInt8](repeating: 2, count: 100_000) },
                peer.does { $0.take() },
                peer.does { $0.send(String(repeating: "x", count: 700)) },
                peer.does { $0.send(String(repeating: "y", count: 700)) },
                peer.does { $0.view!.finish() }, .act { $0.isInputIdle = false },
                peer.does { $0.take() },
            ])
        #expect(ended.code == 0 && ended.output.count == 1400 && peer.received.count == 170_000)
        var seen = peer.xen.now.sandbox.seen
        // What a server left that has ended.
        let late = try Peer { $0.store!.set("/v/ring-ref", Array("99".utf8)) }
        late.xen.change { $0.store!.set("/v/event-channel", Array("7".utf8)) }
        #expect(late.run("--client", []).code == 4)
        seen.formUnion(late.xen.now.sandbox.seen)
        #expect(try signalled("--client") { $0.offer() } == 143)
        seen.insert("read(signals)")
        try expectSandbox(seen.union(Self.unseenOfPipes), .always, .pipe, .standard, .client)
    }

    /// What becomes of a pipe that gets a signal in its sandbox.
    private func signalled(_ words: String, _ prepare: (Peer) -> Void = { _ in }) throws -> Int32 {
        let peer = try Peer()
        prepare(peer)
        let code = peer.run(words, [.signal(15)]).code
        #expect(peer.xen.now.sandbox.seen.contains("read(signals)"))
        return code
    }

    @Test("pipe --server makes the calls of its rows, and no others", arguments: [false, true])
    func server(reconnects: Bool) throws {
        var seen: Set<String> = []
        let peer = try Peer { $0.input = Array("to both".utf8) }
        let round: [FakeXen.Happening] = [
            peer.comes, peer.does { $0.take() },
            peer.does { $0.send(String(repeating: "x", count: 700)) },
            peer.does { $0.send(String(repeating: "y", count: 700)) },
            peer.does { $0.view!.finish() }, peer.does { $0.view!.leave() },
        ]
        // Rings that are not kept: who comes next finds others.
        let impossible: [FakeXen.Happening] = [
            peer.comes,
            .act { state in
                SharedMemory(peer.page(&state)).store32(4, 0x8000_0000)
                peer.ring(&state)
            },
        ]
        let ended = peer.run(
            "--server --verbose --ring 1000\(reconnects ? " --reconnect" : "")",
            round + (reconnects ? impossible + round + [.signal(15)] : []))
        #expect(ended.code == (reconnects ? 143 : 0) && !ended.output.isEmpty)
        #expect(try signalled("--server") == 143)
        seen.insert("read(signals)")
        seen.formUnion(peer.xen.now.sandbox.seen)
        // Its output does not end, and a ring as small is not read into with two pieces.
        seen.formUnion(["dup2(nothing, output)", "readv(input)"])
        seen.formUnion(Self.unseenOfPipes)
        if reconnects {
            try expectSandbox(seen, .always, .pipe, .standard, .server, .nextClients)
        } else {
            try expectSandbox(seen, .always, .pipe, .standard, .server)
        }
    }

    @Test("pipe --socket makes the calls of its rows, and no others", arguments: [false, true])
    func socket(listens: Bool) throws {
        let peer = try Peer()
        let local = try Local(listens: !listens)
        peer.offer(VchanLayout(left: 17, right: 10)!)
        let join: @Sendable () -> Void = { listens ? local.connect() : local.accept() }
        let ended = peer.run(
            "--client --reconnect --verbose --socket \(local.path)\(listens ? "" : " --connect")",
            [
                .act { _ in
                    join()
                    local.send(String(repeating: "a", count: 70_000))
                },
                peer.does { $0.take() },
                .act { _ in local.send(String(repeating: "b", count: 100_000)) },
                peer.does { $0.take() },
                peer.does { $0.send(String(repeating: "x", count: 700)) },
                peer.does { $0.send(String(repeating: "y", count: 700)) },
                peer.does { $0.view!.finish() }, .act { _ in local.receive() },
                peer.does { $0.view!.leave() },
                // The next one, who finds what the server has left.
                .act { _ in
                    local.close()
                    if listens { local.connect() }
                },
                .signal(15),
            ])
        #expect(ended.code == 143, "\(ended)")
        #expect(peer.received.count == 170_000 && local.received.count == 1400 && local.isEnded)
        var seen = peer.xen.now.sandbox.seen
        seen.insert("ioctl(gntdev, GRANT_COPY)")
        try expectSandbox(
            seen, .always, .pipe, .socket, .client, listens ? .listening : .connecting)
        if listens { unlink(local.path) }
    }

    @Test("with one peer nothing is listened to or connected to behind the filter")
    func oneSocket() throws {
        for listens in [false, true] {
            let peer = try Peer()
            let local = try Local(listens: !listens)
            let ended = peer.run(
                "--server --socket \(local.path)\(listens ? " --listen" : "")",
                [
                    peer.comes,
                    .act { _ in
                        listens ? local.connect() : local.accept()
                        local.send("x")
                        local.endWriting()
                    },
                    peer.does {
                        $0.take()
                        $0.view!.finish()
                    },
                ])
            #expect(ended.code == 0 && string(peer.received) == "x", "\(ended)")
            #expect(peer.xen.now.sandbox.filter != nil)
            #expect(!peer.xen.now.sandbox.seen.contains("connect()"))
            #expect(!peer.xen.now.sandbox.seen.contains("accept(listener)"))
            #expect(!FileManager.default.fileExists(atPath: local.path) || !listens)
        }
    }

    // MARK: What is said

    @Test("without a sandbox a line says so, and nothing is given up")
    func off() throws {
        let line = "mini-grant: no sandbox: it runs with all our rights\n"
        let xen = try threePages { $0.happenings = [.signal(15)] }
        let ended = grant("map --domain 3 --ref 17 --hold --no-sandbox", on: xen)
        #expect(ended.code == 0 && ended.errors == line)
        #expect(xen.now.sandbox.filter == nil && xen.now.sandbox.closed.isEmpty)
    }

    @Test("a kernel without filters costs a line; --sandbox=require refuses it, and gives all back")
    func noFilter() throws {
        let line = "mini-grant: this kernel does not filter system calls (seccomp): "
        for command in ["map --ref 17", "share", "pipe --server --path /v"] {
            for (words, code) in [("", 0), (" --sandbox=on", 0), (" --sandbox=require", 1)] {
                let xen = try threePages {
                    $0.store = FakeStore()
                    $0.sandbox.isMissing = true
                    $0.happenings = [.signal(15)]
                }
                let hold = command.hasPrefix("pipe") ? "" : " --hold"
                let ended = grant("\(command) --domain 3\(hold)\(words)", on: xen)
                #expect(
                    ended.code == (code == 0 && hold.isEmpty ? 143 : code), "\(command)\(words)")
                #expect(ended.errors.hasPrefix(line), "\(command)\(words): \(ended.errors)")
                #expect(ended.errors.hasSuffix("require asks for\n") == (code == 1))
                #expect(xen.now.left == [])
            }
        }
    }

    @Test("the options go with --hold alone, and know their words")
    func words() throws {
        #expect(
            try grant("map --domain 3 --ref 17 --no-sandbox --out -", on: threePages())
                == Ended(code: 2, output: "", errors: "mini-grant: option --hold is missing\n"))
        #expect(
            try grant("share --domain 3 --hold --sandbox=none", on: threePages()).errors
                == "mini-grant: unknown sandbox \"none\": it is on or require\n")
    }
}
