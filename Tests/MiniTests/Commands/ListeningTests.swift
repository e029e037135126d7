// Whoever keeps mini-grant busy does not keep it from its deadline or from a signal: a store whose entries
// change all the time, one that says nothing, one that sends byte by byte; a domain that rings all the time;
// a granter whose pages never come; an input that gives nothing. The model ends after so many calls what
// would never end.

import Testing

@testable import Mini

private let terminated = Ended(code: 143, output: "", errors: "")

private func model(_ change: (inout FakeXen.State) -> Void) throws -> FakeXen {
    try FakeXen {
        $0.store = FakeStore()
        $0.mostCalls = 100_000
        // A thousandth of a second for each look at the clock: no test needs more looks than calls.
        $0.tick = 1_000_000
        change(&$0)
    }
}

@Suite struct ListeningTests {
    private static let pipe = "pipe --client --domain 3 --path /x/v"

    @Test("pipe --client: an entry that changes all the time does not keep it from its deadline")
    func restlessDeadline() throws {
        let xen = try model { $0.store!.isRestless = true }
        #expect(
            grant("\(Self.pipe) --deadline 1", on: xen)
                == failed(5, "nobody offered a vchan at \"/x/v\" in time"))
        #expect(xen.now.left == [])
    }

    @Test(
        "pipe --client: such an entry does not keep it from a signal, with a deadline and without",
        arguments: ["", " --deadline 9"])
    func restlessSignal(words: String) throws {
        let xen = try model {
            $0.store!.isRestless = true
            $0.signalAtCall = (call: 2000, signal: 15)
        }
        #expect(grant(Self.pipe + words, on: xen) == terminated)
        #expect(xen.now.calls.count < 2100)
        #expect(xen.now.left == [])
    }

    @Test(
        "a store that says nothing does not keep it from a signal",
        arguments: ["--client", "--server"])
    func mute(words: String) throws {
        let xen = try model {
            $0.store!.isMute = true
            $0.happenings = [.signal(15)]
        }
        let before = xen.now.clock
        #expect(grant("pipe \(words) --domain 3 --path /x/v", on: xen) == terminated)
        // A server tries to take its entries back, for a second at the most.
        #expect(xen.now.clock - before < 1_500_000_000)
        #expect(xen.now.left == [])
    }

    @Test(
        "nor does it take longer than the deadline of the pipe",
        arguments: ["--client", "--server"])
    func muteDeadline(words: String) throws {
        let xen = try model { $0.store!.isMute = true }
        let before = xen.now.clock
        let ended = grant("pipe \(words) --domain 3 --path /x/v --deadline 2", on: xen)
        #expect(ended == failed(5, "the store did not answer in time"))
        #expect(xen.now.clock - before < 3_500_000_000)
    }

    @Test("pipe --server: events without an end, and no client, do not keep it from its deadline")
    func ringing() throws {
        let xen = try model { $0.ringsAll = true }
        #expect(
            grant("pipe --server --domain 3 --path /x/v --deadline 1", on: xen)
                == failed(5, "domain 3 did not connect in time"))
        #expect(xen.now.left == [])
    }

    @Test("a reply that comes byte by byte ends with the deadline")
    func trickle() throws {
        let xen = try model {
            $0.store!.set("/a", [UInt8](repeating: 0x61, count: 4000))
            $0.store!.most = 1
        }
        #expect(
            grant("store get --deadline 1 /a", on: xen)
                == failed(5, "the store did not answer in time"))
        xen.change { $0.errors = [] }
        #expect(grant("store get --deadline 60 /a", on: xen).code == 0)
    }

    @Test("store wait: an entry that changes all the time ends with the deadline")
    func restlessWait() throws {
        let xen = try model { $0.store!.isRestless = true }
        #expect(grant("store wait --deadline 1 /a", on: xen).code == 5)
    }

    @Test("share --hold: a store that says nothing does not hide a signal")
    func share() throws {
        let xen = try model {
            $0.store!.isMute = true
            $0.happenings = [.signal(15)]
        }
        #expect(grant("share --domain 3 --hold --publish /p", on: xen) == terminated)
        #expect(xen.now.left == [])
    }

    @Test("map --hold: pages that never come and an input that gives nothing do not hide a signal")
    func map() throws {
        var xen = try model { $0.signalAtCall = (call: 500, signal: 15) }
        xen.grant([17], of: 3)
        xen.changeGrant(17, of: 3) { $0.absences = .max }
        #expect(grant("map --domain 3 --ref 17 --hold --deadline 1000", on: xen) == terminated)
        #expect(xen.now.left == [])
        xen = try model {
            $0.isInputSilent = true
            $0.happenings = [.signal(15)]
        }
        xen.grant([17], of: 3)
        #expect(grant("map --domain 3 --ref 17 --hold --write --in -", on: xen) == terminated)
        #expect(xen.now.left == [])
    }
}
