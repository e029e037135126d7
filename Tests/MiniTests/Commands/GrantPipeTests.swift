// `mini-grant pipe` as a whole, on the model, with a domain 3 at the other end that the test plays.

import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct GrantPipeTests {
    @Test("a client sends its input and writes what comes, until both have finished")
    func client() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        let ended = peer.run(
            "--client",
            [
                peer.does { $0.take() }, peer.does { $0.send("answer") },
                peer.does { $0.view!.finish() },
            ])
        #expect(ended == done("answer"))
        #expect(string(peer.received) == "hello")
        #expect(peer.view!.isOtherFinished && peer.view!.presence == .gone)
        #expect(peer.xen.now.isOutputClosed)
    }

    @Test("a server offers, waits for its client, and takes the entries back")
    func server() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        let ended = peer.run(
            "--server --ring 1000",
            [
                peer.comes, peer.does { $0.take() },
                peer.does {
                    $0.send("answer")
                    $0.view!.finish()
                },
            ])
        #expect(ended == done("answer"))
        #expect(string(peer.received) == "hello")
        #expect(peer.view!.presence == .gone)
        #expect(peer.xen.now.store!.entries.count == 1)
    }

    @Test(
        "a server sees a client that sends no event when it comes", arguments: ["", " --reconnect"])
    func silentClient(words: String) throws {
        let peer = try Peer()
        let comes = FakeXen.Happening.act { state in
            peer.comeSilently(&state)
            peer.send("late")
            peer.part()
        }
        let ended = peer.run("--server --deadline 30\(words)", [comes])
        // Nobody comes after it.
        let nobody = "mini-grant: domain 3 did not connect in time\n"
        let isLast = words.isEmpty
        #expect(
            ended == Ended(code: isLast ? 0 : 5, output: "late", errors: isLast ? "" : nobody))
    }

    @Test(
        "rings in pages of their own do as well", arguments: ["--client", "--server --ring 5000"])
    func pages(words: String) throws {
        let text = String(repeating: "0123456789abcdef", count: 1000)
        let peer = try Peer { $0.input = Array(text.utf8) }
        let isClient = words == "--client"
        if isClient { peer.offer(VchanLayout(left: 12, right: 13)!) }
        let taking = Array(repeating: peer.does { $0.take() }, count: 30)
        let ended = peer.run(
            words,
            (isClient ? [] : [peer.comes]) + taking + [peer.does { $0.view!.finish() }]
        )
        #expect(ended == done())
        #expect(string(peer.received) == text)
    }

    @Test("what a peer sent before it left is written, and the pipe ends")
    func left() throws {
        let peer = try Peer()
        peer.offer()
        peer.xen.change { $0.input = [] }
        let ended = peer.run("--client", [peer.parts(saying: "last words")])
        #expect(ended == done("last words"))
    }

    /// What the other end's departure is told as.
    private static func gone(_ rest: String, output: String = "") -> Ended {
        failed(4, "the other domain has closed the vchan\(rest)", output: output)
    }
    private static let unsaid = " and has not said that it had sent all"

    @Test(
        "a sender that is killed is no clean end: what came is written, a line says so, and the code is 4",
        arguments: ["--client", "--server --ring 1000"])
    func killedSender(words: String) throws {
        let peer = try Peer()
        if words == "--client" { peer.offer() }
        let ended = peer.run(
            words,
            (words == "--client" ? [] : [peer.comes]) + [
                peer.does {
                    $0.send("82 of 1000")
                    // All that the kernel does for it.
                    $0.view!.leave()
                }
            ])
        #expect(ended == Self.gone(Self.unsaid, output: "82 of 1000"))
    }

    @Test("input that could not be handed over is an error, even if all of the ring was taken")
    func inputLeft() throws {
        for (isOld, words) in [(true, ""), (false, Self.unsaid)] {
            let peer = try Peer {
                $0.input = Array("hello".utf8)
                ($0.isInputIdle, $0.isInputPipe) = (true, true)
            }
            peer.offer()
            if isOld { Self.old(peer) }
            let ended = peer.run(
                "--client", [peer.does { $0.take() }, peer.does { $0.view!.leave() }])
            #expect(ended == Self.gone("\(words) before the input had ended"))
            #expect(string(peer.received) == "hello")
        }
    }

    @Test("a peer that says that it has sent all, and leaves, still has not taken the input")
    func inputLeftByFinished() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        let ended = peer.run(
            "--server",
            [
                .act {
                    peer.come(&$0)
                    peer.part()
                }
            ])
        #expect(ended == Self.gone(" before the input had ended"))
    }

    @Test("input on which nothing is, and of which nothing was, has lost nothing")
    func idleInput() throws {
        let peer = try Peer { $0.isInputIdle = true }
        peer.offer()
        let ended = peer.run("--client", [peer.parts(saying: "all")])
        #expect(ended == done("all"))
    }

    @Test("of a peer that cannot say whether it has sent all, a line says so; --expect knows")
    func expects() throws {
        func run(_ words: String, _ text: String = "12345", leaves: Bool = true) throws -> Ended {
            let peer = try Peer()
            peer.offer()
            Self.old(peer)
            return peer.run(
                "--client \(words)",
                [
                    peer.does {
                        $0.send(text)
                        if leaves { $0.view!.leave() }
                    }
                ])
        }
        let line =
            "mini-grant: the other domain has closed the vchan after 5 bytes; its program cannot say whether that was all\n"
        #expect(try run("") == Ended(code: 0, output: "12345", errors: line))
        #expect(try run("--expect 5") == done("12345"))
        // The last byte is the end: nothing is waited for.
        #expect(try run("--expect 5", leaves: false) == done("12345"))
        for wanted in [4, 6] {
            #expect(
                try run("--expect \(wanted)")
                    == failed(4, "5 bytes came, and \(wanted) were expected", output: "12345"))
        }
        #expect(
            try grant("pipe --client --domain 3 --path /v --expect 5 --reconnect", on: FakeXen())
                == failed(2, "--expect does not go with --reconnect"))
        #expect(
            try grant("pipe --client --domain 3 --path /v --expect x", on: FakeXen())
                == failed(2, "--expect of \"x\" is no number of bytes"))
    }

    @Test("bytes that the peer did not take are an error")
    func untaken() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        let ended = peer.run(
            "--client",
            [
                peer.does {
                    $0.take(most: 2)
                    $0.view!.leave()
                }
            ])
        #expect(ended == Self.gone("\(Self.unsaid) and left 3 bytes untaken"))
    }

    @Test("--linger 0 ends when all is taken, and does not wait for more")
    func linger() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        #expect(peer.run("--client --linger 0", [peer.does { $0.take() }]) == done())
        #expect(string(peer.received) == "hello")
    }

    @Test("--linger waits so long for what still comes")
    func lingers() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        let ended = peer.run(
            "--client --linger 5", [peer.does { $0.take() }, peer.does { $0.send("more") }])
        #expect(ended == done("more"))
    }

    /// As libxenvchan is: it sees no finishing, and says none.
    private static func old(_ peer: Peer) {
        peer.view!.forgetFinishing(SharedMemory(peer.xen.memory[0]))
    }

    @Test(
        "a peer that cannot say that it has finished is listened to until it is silent for 2 seconds"
    )
    func silence() throws {
        let peer = try Peer { $0.input = Array("question".utf8) }
        peer.offer()
        Self.old(peer)
        let before = peer.xen.now.clock
        let ended = peer.run(
            "--client",
            [
                peer.does { $0.take() }, peer.does { $0.send("ans") }, peer.does { $0.send("wer") },
            ])
        #expect(ended == done("answer"))
        #expect(string(peer.received) == "question")
        let seconds = Double(peer.xen.now.clock - before) / 1e9
        #expect(seconds >= 2 && seconds < 2.5)
    }

    @Test("silence is none before such a peer has taken what was sent, however long that lasts")
    func slowTaker() throws {
        let peer = try Peer { $0.input = Array("question".utf8) }
        peer.offer()
        Self.old(peer)
        // A wait with a limit would have ended before what happens in it.
        let ended = peer.run(
            "--client --linger 0",
            [
                peer.does { $0.take(most: 3) }, peer.does { $0.send("a") },
                peer.does { $0.send("b") }, peer.does { $0.take() },
            ])
        #expect(ended == done("ab"))
        #expect(string(peer.received) == "question")
    }

    @Test(
        "through a small ring bytes go in small pieces, and are read from the input in large ones")
    func readsAhead() throws {
        let text = String(repeating: "0123456789abcdef", count: 1000)
        let peer = try Peer { $0.input = Array(text.utf8) }
        peer.offer()
        let taking = Array(repeating: peer.does { $0.take() }, count: 40)
        let ended = peer.run("--client", taking + [peer.does { $0.view!.finish() }])
        #expect(ended == done())
        #expect(string(peer.received) == text)
        #expect(peer.xen.now.inputReads == 2)
    }

    @Test("what was read ahead and had no room yet counts as untaken")
    func aheadUntaken() throws {
        let peer = try Peer { $0.input = Array(repeating: 7, count: 3000) }
        peer.offer()
        let ended = peer.run("--client", [peer.does { $0.view!.leave() }])
        #expect(
            ended
                == Self.gone(
                    "\(Self.unsaid) and left 3000 bytes untaken"))
    }

    @Test("a client waits for its server")
    func waits() throws {
        let peer = try Peer()
        peer.offer()
        peer.xen.change { $0.store = FakeStore() }
        let ended = peer.run(
            "--client",
            [.act { peer.publish(&$0) }, peer.does { $0.view!.finish() }])
        #expect(ended == done())
    }

    @Test(
        "nobody at the other end in time is code 5",
        arguments: [
            ("--client", "nobody offered a vchan at \"/v\" in time"),
            ("--server", "domain 3 did not connect in time"),
        ])
    func late(words: String, line: String) throws {
        let peer = try Peer()
        #expect(peer.run("\(words) --deadline 3", []) == failed(5, line))
        #expect(peer.xen.now.store!.entries.count == 1)
    }

    @Test("what a dead server left is refused at once, or waited out")
    func stale() throws {
        let peer = try Peer()
        peer.offer()
        peer.view!.leave()
        let line = "domain 3 has left the vchan that it offers"
        #expect(peer.run("--client", []) == failed(4, line))
        let waiting = try Peer()
        waiting.offer()
        waiting.view!.leave()
        #expect(waiting.run("--client --deadline 3", []) == failed(4, line))
    }

    @Test("a signal ends it, and the other end sees that", arguments: [15, 1, 2] as [Int32])
    func signals(number: Int32) throws {
        for isConnected in [true, false] {
            let peer = try Peer { $0.input = Array("hello".utf8) }
            if isConnected { peer.offer() }
            let words = isConnected ? "--client" : "--server"
            #expect(peer.run(words, [.signal(number)]).code == 128 + number)
            if isConnected { #expect(peer.view!.presence == .gone) }
            if !isConnected { #expect(peer.xen.now.store!.entries.count == 1) }
        }
    }

    @Test("a peer with impossible indices ends it")
    func broken() throws {
        for offset in [0, 12] {
            let peer = try Peer { $0.input = Array("hello".utf8) }
            peer.offer()
            let ended = peer.run(
                "--client",
                [
                    peer.does {
                        SharedMemory($0.xen.memory[0]).store32(offset, 0x8000_0000)
                    }
                ])
            #expect(ended == failed(4, "the other domain's indices are impossible"))
        }
    }

    @Test("1,000 peers that are killed at random moments: nothing is lost without a word")
    func randomKills() throws {
        var random = SplitMix(seed: 11)
        var (clean, broken) = (0, 0)
        for round in 0..<1000 {
            let size = Int.random(in: 0...6000, using: &random)
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8 ^ round) }
            let (sends, isOld) = (round % 2 == 0, round % 4 >= 2)
            let peer = try Peer { if !sends { $0.input = bytes } }
            let isClient = Bool.random(using: &random)
            if isClient { peer.offer() }
            // Which of its steps is its last; for some that is behind the end.
            let steps = 30
            let last = Int.random(in: 0..<2 * steps, using: &random)
            let moved = Mutex((sent: 0, hasFinished: false))
            var happenings: [FakeXen.Happening] = isClient ? [] : [peer.comes]
            if isOld {
                happenings.append(
                    .act { state in
                        let page = isClient ? peer.xen.memory[0] : peer.page(&state)
                        peer.view!.forgetFinishing(SharedMemory(page))
                    })
            }
            for step in 0..<min(last, steps) {
                let most = step == steps - 1 ? 6000 : Int.random(in: 1...900, using: &random)
                happenings.append(
                    peer.does { peer in
                        peer.take(most: most)
                        moved.withLock { moved in
                            guard sends else { return }
                            let count = min(most, size - moved.sent, Int(peer.view!.space!))
                            peer.send(bytes[moved.sent..<moved.sent + count])
                            moved.sent += count
                        }
                    })
            }
            happenings.append(
                peer.does { peer in
                    moved.withLock { moved in
                        moved.hasFinished =
                            !isOld && last >= steps && moved.sent == (sends ? size : 0)
                        if moved.hasFinished { peer.view!.finish() }
                    }
                    if last < steps || isOld { peer.view!.leave() }
                })
            if last >= steps && !isOld {
                // It takes what it has not taken yet, as long as it is there.
                happenings += Array(repeating: peer.does { $0.take() }, count: 8)
                happenings.append(peer.does { $0.view!.leave() })
            }
            let ended = peer.run(isClient ? "--client" : "--server", happenings)
            let (sent, hasFinished) = moved.withLock { $0 }
            let isWhole = sends ? hasFinished : peer.received == bytes
            // All that the peer had sent arrives, however it ended.
            #expect(peer.xen.now.output == Array(bytes.prefix(sends ? sent : 0)))
            if ended.code == 0 {
                clean += 1
                // Who cannot say that it has sent all, is said to have sent so much.
                let isSaid = ended.errors.isEmpty == (sent == 0)
                #expect(isWhole || (isOld && sends && isSaid), "\(round): \(ended.errors)")
            } else {
                broken += 1
                #expect(ended.code == 4 && ended.errors.filter { $0 == "\n" }.count == 1)
                #expect(!(hasFinished && isWhole), "\(round): \(ended.errors)")
            }
        }
        #expect(clean > 100 && broken > 100)
    }

    @Test("--state-path says that a peer may come", arguments: ["--client", "--server"])
    func statePath(words: String) throws {
        let peer = try Peer()
        let ended = peer.run(
            "\(words) --state-path /state --deadline 2",
            [.act { #expect($0.store!.value("/state") == "running") }])
        #expect(ended.code == 5)
        #expect(peer.xen.now.store!.value("/state") == "running")
    }

    @Test("an output that nobody reads ends it as SIGPIPE does")
    func outputClosed() throws {
        let peer = try Peer { $0.outputErrno = .brokenPipe }
        peer.offer()
        let ended = peer.run("--client", [peer.does { $0.send("x") }])
        #expect(ended == Ended(code: 141, output: "", errors: ""))
        #expect(peer.view!.presence == .gone)
    }

    @Test(
        "wrong words are told",
        arguments: [
            ("--path /v --client", "option --domain is missing"),
            ("--domain 3 --client", "option --path is missing"),
            ("--domain 3 --path /v", "option --server or --client is missing"),
            ("--domain 3 --path /v --client --listen", "option --socket is missing"),
            ("--domain 3 --path /v --client --server", "--server does not go with --client"),
            (
                "--server --domain 3 --path /v --client --server",
                "--server does not go with --client"
            ),
            (
                "--server --domain 3 --path /v --socket s --connect --listen",
                "--listen does not go with --connect"
            ),
            ("--domain 3 --path v/ --client", "\"v/\" has an empty name in it"),
            ("--domain 3 --path / --client", "\"/\" is the whole store: name an entry in it"),
            (
                "--domain 3 --path /v --client --reconnect-marker 256",
                "--reconnect-marker of \"256\" is no number from 0 to 255"
            ),
            (
                "--domain 3 --path /v --client --deadline 0.x",
                "--deadline of \"0.x\" is no number of seconds, as 30 or 0.5"
            ),
            (
                "--domain 32752 --path /v --client",
                "--domain of \"32752\" is no domain: 0 to 32751"
            ),
            (
                "--domain 3 --path /v --server --ring 1048577",
                "--ring of \"1048577\" is no number from 1 to 1048576"
            ),
        ])
    func words(words: String, line: String) throws {
        #expect(try grant("pipe \(words)", on: FakeXen()) == failed(2, line))
    }

    @Test(
        "every call that fails gives one line and leaves nothing",
        arguments: ["--client", "--server"])
    func everyCall(words: String) throws {
        func run(_ failing: (Int, Errno)?) throws -> (Peer, Ended) {
            let peer = try Peer {
                $0.input = Array("hello".utf8)
                $0.failing = failing.map { (call: $0.0, errno: $0.1) }
            }
            if words == "--client" { peer.offer() }
            let come: [FakeXen.Happening] =
                words == "--server"
                ? [
                    .act { state in
                        // With nothing published there is nobody to come.
                        if state.store!.value("/v/ring-ref") != nil { peer.come(&state) }
                    }
                ] : []
            let rest: [FakeXen.Happening] = [
                peer.does { if $0.view != nil { $0.take() } },
                peer.does {
                    guard $0.view != nil else { return }
                    $0.take()
                    $0.view!.finish()
                },
                // Whatever has become of it all ends with this.
                .signal(15), .signal(15), .signal(15),
            ]
            return (peer, peer.run("\(words) --deadline 9", come + rest))
        }
        let (whole, good) = try run(nil)
        #expect(good == done())
        for call in 1...whole.xen.now.calls.count {
            for errno in [Errno.inputOutput, .noMemory] {
                let ended = try run((call, errno)).1
                let lines = ended.errors.split(separator: "\n").count
                #expect(lines == ([0, 143].contains(ended.code) ? 0 : 1), "\(call): \(ended)")
                #expect([0, 1, 3, 4, 5, 143].contains(ended.code), "\(call): \(ended)")
            }
        }
    }
}
