// When an idle guest is left alone, and how often others are looked at.

import Testing

@testable import Mini

@Suite struct SlumberTests {
    @Test("a guest that ran next to never for some seconds slumbers, no other one")
    func slumber() {
        func milliseconds(_ count: UInt64) -> Nanoseconds { .milliseconds(count) }
        var slumber = Slumber()
        var asked = 0
        func waits(_ now: UInt64, spent: UInt64) -> Bool {
            slumber.waits(
                at: .milliseconds(now),
                {
                    asked += 1
                    return milliseconds(spent)
                }())
        }
        // Nobody knows what was before.
        var seen = [waits(10_000, spent: 9000)]
        for moment in stride(from: 10_010, through: 12_999, by: 10) as StrideThrough<UInt64> {
            seen.append(waits(moment, spent: 9000))
        }
        #expect(!seen.contains(true))
        #expect(asked == 1)
        seen = [waits(13_000, spent: 9374), waits(13_001, spent: 9374)]
        #expect(seen == [true, false])
        // An eighth of the time.
        seen = [waits(16_000, spent: 9749), waits(19_000, spent: 9749)]
        #expect(seen == [false, true])
        // It ran all the time, and then waited once.
        seen = [waits(40_000, spent: 30_000), waits(42_999, spent: 30_000)]
        #expect(seen == [false, false])
    }
}

@Suite struct LookPaceTests {
    @Test("others are looked at often while they have something, and ever more seldom when not")
    func pace() {
        var pace = LookPace(longest: .milliseconds(2))
        #expect(pace.pause == .milliseconds(2))
        pace.looked(found: true)
        #expect(pace.pause == Nanoseconds(count: 100_000))
        var pauses: [UInt64] = []
        for _ in 0..<6 {
            pace.looked(found: false)
            pauses.append(UInt64(pace.pause.count) / 1000)
        }
        #expect(pauses == [200, 400, 800, 1600, 2000, 2000])
        pace.looked(found: true)
        #expect(pace.pause == Nanoseconds(count: 100_000))
    }
}
