import Testing

@testable import Mini

@Suite struct OffloadAgreementTests {
    private let all: Tap.Offloads = [.checksums, .segments4, .segments6]

    @Test("its page shows the transitions that it takes")
    func page() throws {
        /// After the driver has taken other than what was told, or just that.
        func taking(_ isSame: Bool, _ agreement: OffloadAgreement) -> OffloadAgreement {
            var next = agreement
            for offloads in [[], Tap.Offloads.checksums] where next.isReached != isSame {
                _ = next.handle(.taken(offloads))
            }
            return next
        }
        let walk = Walk(
            from: [OffloadAgreement(told: [])],
            [
                ("the driver takes other", 0), ("the driver takes what was told", 1),
                ("frames can come", 2), ("frames come too soon", 3),
            ],
            name: { "\($0.stateName)" },
            step: { (agreement: OffloadAgreement, event: Int) in
                var next = agreement
                switch event {
                case 0: next = taking(false, agreement)
                case 1: next = taking(true, agreement)
                case 2: _ = next.handle(.frames(at: .milliseconds(1000)))
                default:
                    // It is told, and the driver takes other at once.
                    _ = next.handle(.frames(at: .milliseconds(1000)))
                    next = taking(agreement.isReached, next)
                    _ = next.handle(.frames(at: .milliseconds(1000)))
                }
                return "\(next.stateName)" == "\(agreement.stateName)" ? [] : [next]
            })
        #expect(walk.machines.count == 2)
        #expect(try transitionsOfPage("offload-agreement-machine.md") == walk.transitions)
    }

    @Test(
        "the tap is told when frames can come, once, and what waits is dropped if it may be too much"
    )
    func told() {
        var agreement = OffloadAgreement(told: [])
        #expect(agreement.isReached)
        let steps: [(OffloadAgreement.Event, OffloadAgreement.Action)] = [
            (.frames(at: .milliseconds(0)), .goOn), (.taken(all), .goOn),
            (.frames(at: .milliseconds(0)), .tell(all, dropsWaiting: false)),
            (.frames(at: .milliseconds(0)), .goOn), (.taken([]), .goOn), (.taken(all), .goOn),
            (.frames(at: .milliseconds(500)), .goOn), (.taken(.checksums), .goOn),
            (.frames(at: .milliseconds(500)), .tell(.checksums, dropsWaiting: true)),
            // Neither more nor less: what waits may be what is not taken.
            (.taken(.segments4), .goOn),
            (.frames(at: .milliseconds(600)), .tell(.segments4, dropsWaiting: true)),
        ]
        for (index, (event, action)) in steps.enumerated() {
            let given = agreement.handle(event)
            #expect(given == action, "step \(index)")
        }
        #expect(agreement.isReached)
    }

    @Test(
        "within a tenth of a second it is not told again: what may be too much is dropped, less is as good"
    )
    func tooSoon() {
        var agreement = OffloadAgreement(told: [])
        let steps: [(OffloadAgreement.Event, OffloadAgreement.Action)] = [
            (.taken(.checksums), .goOn),
            (.frames(at: .milliseconds(1000)), .tell(.checksums, dropsWaiting: false)),
            (.taken(all), .goOn), (.frames(at: .milliseconds(1001)), .goOn),
            (.taken([]), .goOn), (.frames(at: .milliseconds(1002)), .drop),
            (.frames(at: Nanoseconds(count: 1_099_999_999)), .drop),
            (.frames(at: .milliseconds(1100)), .tell([], dropsWaiting: true)),
        ]
        for (index, (event, action)) in steps.enumerated() {
            let given = agreement.handle(event)
            #expect(given == action, "step \(index)")
        }
    }

    @Test(
        "what a guest before took is taken back for one that takes nothing, and kept for one that takes the same"
    )
    func restarted() {
        var agreement = OffloadAgreement(told: all)
        #expect(!agreement.isReached)
        let given = agreement.handle(.frames(at: .milliseconds(0)))
        #expect(given == .tell([], dropsWaiting: true))
        var same = OffloadAgreement(told: all)
        _ = same.handle(.taken(all))
        #expect(same.isReached)
    }
}
