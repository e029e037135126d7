// `mini-grant pipe` as a whole, on the model, with a domain 3 at the other end that the test plays.

import Foundation
import Synchronization
import Testing

@testable import Mini

private func done(_ output: String = "") -> Ended { Ended(code: 0, output: output, errors: "") }
private func failed(_ code: Int32, _ line: String, output: String = "") -> Ended {
    Ended(code: code, output: output, errors: "mini-grant: \(line)\n")
}

extension VchanView {
    /// Clears in the page what libxenvchan does not know.
    func forgetFinishing(_ page: SharedMemory) {
        for offset in [22, 23] { _ = page.clear8(offset, 0xC0) }
    }
}

/// Domain 3 and its end of a vchan. What it does, it does while `pipe` waits.
final class Peer: @unchecked Sendable {
    let xen: FakeXen
    var view: VchanView?
    var received: [UInt8] = []
    /// What was published each time that it came by `comes`.
    private(set) var places: [String] = []

    init(_ change: (inout FakeXen.State) -> Void = { _ in }) throws {
        xen = try FakeXen {
            $0.store = FakeStore()
            $0.remotePorts = [key(3, 7)]
            change(&$0)
        }
    }

    /// Offers a vchan at /v, for `pipe --client`.
    func offer(_ layout: VchanLayout = VchanLayout(left: 10, right: 11)!) {
        let references = (0..<UInt32(1 + layout.left.pages + layout.right.pages)).map { 100 + $0 }
        xen.grant(references, of: 3)
        let first = xen.page(100, of: 3)
        let rings = UnsafeMutableRawBufferPointer(
            start: first.baseAddress! + 4096, count: 4096 * (references.count - 1))
        view = VchanView(
            serverOn: SharedMemory(first), rings: SharedMemory(rings), layout,
            references: references.dropFirst().map { GrantReference(rawValue: $0) }[...])
        xen.change { self.publish(&$0) }
    }

    /// Makes the page of `offer` anew.
    func offerAgain() {
        let page = SharedMemory(xen.memory[0])
        view = VchanView(
            serverOn: page, rings: page, VchanLayout(left: 10, right: 11)!, references: [])
    }

    func publish(_ state: inout FakeXen.State) {
        state.store!.set("/v/ring-ref", Array("100".utf8))
        state.store!.set("/v/event-channel", Array("7".utf8))
    }

    /// Comes to what `pipe --server` has published.
    func come(_ state: inout FakeXen.State) {
        let reference = UInt32(state.store!.value("/v/ring-ref")!)!
        func memory(_ reference: UInt32) -> UnsafeMutableRawBufferPointer {
            xen.memory[state.grants[key(0, reference)]!.page]
        }
        let page = SharedMemory(memory(reference))
        let layout = VchanView.layout(of: page)!
        let references = VchanView.references(of: page, layout)
        func pages(_ references: [GrantReference]) -> SharedMemory {
            guard let first = references.first?.rawValue else { return page }
            return SharedMemory(
                UnsafeMutableRawBufferPointer(
                    start: memory(first).baseAddress!, count: 4096 * references.count))
        }
        view = VchanView(
            clientOn: page, left: pages(references.left), right: pages(references.right), layout)
        ring(&state)
    }

    /// That it comes, noted in `places`.
    var comes: FakeXen.Happening {
        .act { state in
            self.places.append(state.store!.value("/v/ring-ref")!)
            self.come(&state)
        }
    }

    /// The shared page of what `pipe --server` has published.
    func page(_ state: inout FakeXen.State) -> UnsafeMutableRawBufferPointer {
        xen.memory[state.grants[key(0, UInt32(state.store!.value("/v/ring-ref")!)!)]!.page]
    }

    /// An event for `pipe`: it has one port.
    func ring(_ state: inout FakeXen.State) {
        for port in state.ports.keys { state.deliver(port) }
    }

    func send(_ text: String) { send(Array(text.utf8)[...]) }

    func send(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes {
            view!.room(view!.space!).store8(0, byte)
            _ = view!.send(1)
        }
    }

    func take(most: Int = .max) {
        var count = 0
        while let ready = view!.ready, ready > 0, count < most {
            received.append(view!.arrived(ready).load8(0))
            _ = view!.consume(1)
            count += 1
        }
    }

    /// Something that the peer does, and an event.
    func does(_ body: @escaping @Sendable (Peer) -> Void) -> FakeXen.Happening {
        .act { state in
            body(self)
            self.ring(&state)
        }
    }

    func run(_ words: String, _ happenings: [FakeXen.Happening]) -> Ended {
        xen.change { $0.happenings = happenings }
        let ended = grant("pipe --domain 3 --path /v \(words)", on: xen)
        // What did not happen any more holds this peer, which holds them.
        xen.change { $0.happenings = [] }
        if !xen.now.failsHopelessly { #expect(xen.now.left == [], "\(words)") }
        return ended
    }
}

/// Whoever is at the other end of a local socket. Its calls are not those of the model.
final class Local: @unchecked Sendable {
    let path: String
    private var listener: Int32 = -1
    private var socket: Int32 = -1
    var received: [UInt8] = []
    var isEnded = false

    init(listens: Bool) throws {
        path = "/tmp/\(UUID().uuidString)"
        guard listens else { return }
        listener = Self.make()
        #expect(named { bind(listener, $0, $1) } == 0)
        #expect(listen(listener, 5) == 0)
    }

    deinit {
        close()
        if listener >= 0 {
            Foundation.close(listener)
            unlink(path)
        }
    }

    private static func make() -> Int32 {
        // Not waiting: a pipe that does not connect shall fail a test, not stop it.
        Foundation.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    }

    private func named(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    func connect() {
        socket = Self.make()
        #expect(named { Foundation.connect(socket, $0, $1) } == 0)
    }
    func accept() { socket = Foundation.accept(listener, nil, nil) }
    func send(_ text: String) { _ = write(socket, text, text.utf8.count) }
    func endWriting() { shutdown(socket, Int32(SHUT_WR)) }
    func close() {
        if socket >= 0 { Foundation.close(socket) }
        socket = -1
    }

    /// Takes what is there.
    func receive() {
        var room = [UInt8](repeating: 0, count: 1000)
        while true {
            let count = recv(socket, &room, room.count, Int32(MSG_DONTWAIT))
            isEnded = count == 0
            if count <= 0 { return }
            received += room.prefix(count)
        }
    }
}

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
        let ended = peer.run(
            "--client",
            [
                peer.does {
                    $0.send("last words")
                    $0.view!.finish()
                    $0.view!.leave()
                }
            ])
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
                    peer.view!.finish()
                    peer.view!.leave()
                }
            ])
        #expect(ended == Self.gone(" before the input had ended"))
    }

    @Test("input on which nothing is, and of which nothing was, has lost nothing")
    func idleInput() throws {
        let peer = try Peer { $0.isInputIdle = true }
        peer.offer()
        let ended = peer.run(
            "--client",
            [
                peer.does {
                    $0.send("all")
                    $0.view!.finish()
                    $0.view!.leave()
                }
            ])
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

    @Test("a server that waits ends when its domain does, or is another one, or this one is")
    func breaches() throws {
        func waiting(
            _ values: [String: String], _ change: @escaping @Sendable (inout FakeStore) -> Void
        ) throws -> Ended {
            let peer = try Peer { $0.store = FakeStore.with(values) }
            return peer.run(
                "--server --deadline 60", [.act { change(&$0.store!) }])
        }
        #expect(try waiting([:]) { $0.ended = ["3"] } == failed(4, "domain 3 has ended"))
        #expect(
            try waiting(["/local/domain/3/vm": "/vm/a"]) {
                $0.set("/local/domain/3/vm", Array("/vm/b".utf8))
            } == failed(4, "domain 3 is not the same domain any more"))
        #expect(
            try waiting(["/local/domain/0/domid": "0"]) {
                $0.set("/local/domain/0/domid", Array("5".utf8))
            }
                == failed(
                    4, "this domain was restored as domain 5: nobody has its pages any more"))
        #expect(
            try waiting([:]) { $0.set("/v/ring-ref", nil) }
                == failed(4, "others have changed \"/v/ring-ref\", so nobody can come"))
        // The toolstack removes all that a domain has in the store before it removes the domain.
        for isFirst in [true, false] {
            #expect(
                try waiting(["/local/domain/3/vm": "/vm/a"]) {
                    $0.set("/local/domain/3/vm", nil)
                    if isFirst { $0.set("/v/ring-ref", nil) }
                } == failed(4, "domain 3 has ended"))
        }
    }

    @Test("a domain that has not come yet has not ended: its server waits")
    func notYet() throws {
        let peer = try Peer { $0.store!.ended = ["3"] }
        #expect(
            peer.run("--server --deadline 30", [])
                == failed(5, "domain 3 did not connect in time"))
    }

    @Test("a connected end notices that its own domain was restored")
    func restored() throws {
        let peer = try Peer { $0.store = FakeStore.with(["/local/domain/0/domid": "0"]) }
        peer.offer()
        let ended = peer.run(
            "--client",
            [
                peer.does { $0.send("half") },
                .act { $0.store!.set("/local/domain/0/domid", Array("5".utf8)) },
            ])
        #expect(
            ended
                == failed(
                    4,
                    "this domain was restored as domain 5: nobody has its pages any more, and left 0 bytes untaken",
                    output: "half"))
    }

    @Test("input that trickles does not hide that this domain was restored")
    func restoredWithInput() throws {
        let peer = try Peer {
            $0.store = FakeStore.with(["/local/domain/0/domid": "0"])
            $0.isInputIdle = true
        }
        peer.offer()
        let second = FakeXen.Happening.act {
            $0.clock += 1_000_000_000
            $0.input = [7]
        }
        let ended = peer.run(
            "--client",
            [.act { $0.store!.set("/local/domain/0/domid", Array("5".utf8)) }]
                + Array(repeating: second, count: 20) + [.signal(15)])
        #expect(ended.code == 4)
        #expect(ended.errors.hasPrefix("mini-grant: this domain was restored as domain 5: "))
    }

    @Test("changes in the folder of a server do not hide that its domain has ended")
    func endedWithChanges() throws {
        let peer = try Peer()
        let second = FakeXen.Happening.act {
            $0.clock += 1_000_000_000
            $0.store!.set("/v/other", [1])
        }
        let ended = peer.run(
            "--client",
            [.act { $0.store!.ended = ["3"] }] + Array(repeating: second, count: 20) + [.signal(15)]
        )
        #expect(ended == failed(4, "domain 3 has ended"))
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

    @Test("a domain that is destroyed in the middle, and can say nothing, is missed after a while")
    func destroyed() throws {
        for (words, untaken) in [("--client", 3), ("--server --ring 1000", 3)] {
            let peer = try Peer { $0.input = Array("hello".utf8) }
            let isClient = words == "--client"
            if isClient { peer.offer() }
            let ended = peer.run(
                words,
                (isClient ? [] : [peer.comes]) + [
                    peer.does {
                        $0.take(most: 2)
                        $0.send("half a s")
                    },
                    .act { $0.store!.ended = ["3"] },
                ])
            #expect(
                ended
                    == failed(
                        4, "domain 3 has ended, and left \(untaken) bytes untaken",
                        output: "half a s"))
        }
    }

    @Test("a store that cannot tell whether a domain is there ends nothing")
    func silentStore() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        let ended = peer.run(
            "--client",
            [
                .act { $0.store!.ended = ["33"] }, peer.does { $0.take() },
                peer.does { $0.view!.finish() },
            ])
        #expect(ended == done())
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

    @Test("--reconnect serves one peer after the other, until a signal")
    func reconnects() throws {
        let peer = try Peer()
        let ended = peer.run(
            "--server --reconnect",
            [
                peer.comes,
                peer.does {
                    $0.send("one ")
                    $0.view!.finish()
                    $0.view!.leave()
                },
                peer.comes,
                peer.does {
                    $0.send("two")
                    $0.view!.finish()
                },
                peer.comes, .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "one two", errors: ""))
        #expect(!peer.xen.now.isOutputClosed)
        #expect(peer.xen.now.store!.entries.count == 1)
    }

    @Test("--reconnect: a server's rings stay for the next client, who may have found them already")
    func keptRings() throws {
        let peer = try Peer { $0.isInputIdle = true }
        let ended = peer.run(
            "--server --reconnect",
            [
                peer.comes,
                peer.does {
                    $0.send("one ")
                    $0.view!.finish()
                    $0.view!.leave()
                },
                peer.comes,
                peer.does {
                    $0.send("two ")
                    $0.view!.finish()
                    $0.view!.leave()
                },
                // Gone again before anybody looked.
                .act { state in
                    peer.come(&state)
                    peer.send("three")
                    peer.view!.finish()
                    peer.view!.leave()
                },
                peer.comes, .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "one two three", errors: ""))
        #expect(peer.places.count == 3 && Set(peer.places).count == 1)
        #expect(peer.xen.now.store!.entries.count == 1)
    }

    @Test("--reconnect: what a client did not take is not the next one's, who finds other rings")
    func untakenRings() throws {
        let peer = try Peer {
            $0.input = Array("to one".utf8)
            $0.isInputIdle = true
        }
        let ended = peer.run(
            "--server --reconnect",
            [
                peer.comes,
                peer.does {
                    $0.take(most: 2)
                    $0.view!.finish()
                    $0.view!.leave()
                },
                peer.comes, peer.does { $0.take() }, .signal(15),
            ])
        let line = "mini-grant: the other domain has closed the vchan and left 4 bytes untaken\n"
        #expect(ended == Ended(code: 143, output: "", errors: line))
        #expect(string(peer.received) == "to")
        #expect(peer.places.count == 2 && Set(peer.places).count == 2)
    }

    @Test("--reconnect: a client that cannot see that a server has finished is told by its leaving")
    func leavesOldClient() throws {
        let peer = try Peer()
        let isGone = Mutex(false)
        let second = FakeXen.Happening.act { state in
            state.clock += 1_000_000_000
            peer.ring(&state)
        }
        let ended = peer.run(
            "--server --reconnect",
            [
                .act { state in
                    peer.come(&state)
                    peer.view!.forgetFinishing(SharedMemory(peer.page(&state)))
                },
                peer.does { $0.send("answer") }, second, second, second,
                .act { _ in
                    let presence = peer.view!.presence
                    isGone.withLock { $0 = presence == .gone }
                },
                .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "answer", errors: ""))
        #expect(isGone.withLock { $0 })
    }

    @Test("a socket: bytes go both ways, and each way ends by itself", arguments: [false, true])
    func socket(connects: Bool) throws {
        let peer = try Peer()
        let local = try Local(listens: connects)
        peer.offer()
        let ended = peer.run(
            "--client --deadline 9 --socket \(local.path)\(connects ? " --connect" : "")",
            [
                .act { _ in
                    connects ? local.accept() : local.connect()
                    local.send("question")
                    local.endWriting()
                },
                peer.does {
                    $0.take()
                    $0.send("answer")
                },
                .act { _ in local.receive() },
                peer.does { $0.view!.finish() },
            ])
        #expect(ended == done())
        #expect(string(peer.received) == "question")
        local.receive()
        #expect(string(local.received) == "answer" && local.isEnded)
        #expect(FileManager.default.fileExists(atPath: local.path) == connects)
    }

    @Test("what a socket's peer wrote before it closed still arrives", arguments: [false, true])
    func socketClosed(hasUnread: Bool) throws {
        let peer = try Peer()
        let local = try Local(listens: false)
        peer.offer()
        let ended = peer.run(
            "--client --deadline 9 --socket \(local.path)",
            [
                .act { _ in local.connect() },
                peer.does { $0.send("unread") },
                .act { _ in
                    local.send("last words")
                    if !hasUnread { local.receive() }
                    local.close()
                },
                // The way back goes nowhere, and must not stand still.
                peer.does {
                    $0.send(String(repeating: "x", count: 500))
                    $0.take()
                },
                peer.does { $0.send(String(repeating: "x", count: 500)) },
                .signal(15),
            ])
        #expect(ended.code == 0 && ended.errors.hasSuffix(" bytes were thrown away\n"))
        #expect(string(peer.received) == "last words")
    }

    @Test("--reconnect with a socket: for each peer somebody new at the socket")
    func socketReconnects() throws {
        let peer = try Peer()
        let local = try Local(listens: true)
        let ended = peer.run(
            "--server --reconnect --socket \(local.path)",
            [
                peer.comes,
                .act { _ in
                    local.accept()
                    local.send("to one")
                },
                peer.does {
                    $0.take()
                    $0.send("from one")
                    $0.view!.finish()
                    $0.view!.leave()
                },
                .act { state in
                    local.receive()
                    #expect(local.isEnded)
                    local.close()
                    peer.come(&state)
                },
                .act { _ in
                    local.accept()
                    local.send(" to two")
                },
                peer.does {
                    $0.take()
                    $0.send(" from two")
                },
                .act { _ in local.receive() },
                .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "", errors: ""))
        #expect(string(peer.received) == "to one to two")
        #expect(string(local.received) == "from one from two")
    }

    @Test("--reconnect goes on when nobody is at the socket; without it that is an error")
    func nobodyAtSocket() throws {
        let file = try TemporaryFile()
        let path = file.path
        let line = "mini-grant: cannot connect to \"\(path)\": no such file (ENOENT)\n"
        for words in ["", " --reconnect"] {
            let peer = try Peer()
            let ended = peer.run(
                "--server --socket \(path)\(words)",
                [
                    peer.comes, .signal(15),
                ])
            #expect(ended.code == (words == "" ? 1 : 143))
            #expect(ended.errors == line)
        }
    }

    @Test("--reconnect, client: a server that comes back with the same numbers is found")
    func sameNumbers() throws {
        let peer = try Peer()
        peer.offer()
        peer.view!.leave()
        let ended = peer.run(
            "--client --reconnect",
            [
                .act { state in
                    // As another process of that domain that was given the same page and port.
                    peer.offerAgain()
                    peer.publish(&state)
                },
                peer.does {
                    $0.send("here again")
                    $0.view!.finish()
                    $0.view!.leave()
                },
                .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "here again", errors: ""))
    }

    @Test("1,000 peers that are killed at random moments: nothing is lost without a word")
    func randomKills() throws {
        var random = SystemRandomNumberGenerator()
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

    @Test("--reconnect-marker: a client's first byte, which its input comes behind")
    func markerOfClient() throws {
        let peer = try Peer { $0.input = Array("hello".utf8) }
        peer.offer()
        let ended = peer.run(
            "--client --reconnect-marker 1",
            [
                peer.does { $0.take() }, peer.does { $0.take() },
                peer.does {
                    $0.take()
                    $0.view!.finish()
                },
            ])
        #expect(ended == done())
        #expect(peer.received == [1] + Array("hello".utf8))
    }

    @Test("--reconnect-marker: a server drops the old client's bytes and connects its socket again")
    func markerOfServer() throws {
        let peer = try Peer()
        let local = try Local(listens: true)
        let first = Mutex("")
        let ended = peer.run(
            "--server --reconnect-marker 1 --socket \(local.path)",
            [
                peer.comes,
                .act { state in
                    local.accept()
                    peer.send("\u{1}one")
                    peer.ring(&state)
                },
                .act { _ in
                    local.receive()
                    first.withLock { $0 = string(local.received) }
                },
                // Gone and there again before anybody looked.
                peer.does { $0.send("half a command\u{1}two") },
                .act { _ in
                    local.close()
                    local.accept()
                },
                peer.does { $0.send(", three") },
                .act { _ in local.receive() }, .signal(15),
            ])
        #expect(ended.code == 143)
        #expect(first.withLock { $0 } == "one")
        #expect(string(local.received) == "onetwo, three")
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
