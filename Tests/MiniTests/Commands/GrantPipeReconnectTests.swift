// `mini-grant pipe` at a local socket, and one peer after the other: --reconnect and --reconnect-marker.

import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct GrantPipeReconnectTests {
    @Test("--reconnect serves one peer after the other, until a signal")
    func reconnects() throws {
        let peer = try Peer()
        let ended = peer.run(
            "--server --reconnect",
            [
                peer.comes, peer.parts(saying: "one "),
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
                peer.comes, peer.parts(saying: "one "),
                peer.comes,
                peer.parts(saying: "two "),
                // Gone again before anybody looked.
                .act { state in
                    peer.come(&state)
                    peer.send("three")
                    peer.part()
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
                    $0.part()
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
                    $0.part()
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
                peer.parts(saying: "here again"), .signal(15),
            ])
        #expect(ended == Ended(code: 143, output: "here again", errors: ""))
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
}
