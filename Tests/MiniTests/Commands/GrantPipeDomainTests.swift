// `mini-grant pipe` whose domain, or its own, ends, is another one, or is restored.

import Foundation
import Testing

@testable import Mini

@Suite struct GrantPipeDomainTests {
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
}
