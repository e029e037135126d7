import Testing

@testable import Mini

/// A kernel that ticks, as Linux does with a timer of single shots: each wake-up sets the next tick, those that have passed
/// in between are made up for.
private final class TickingKernel {
    private var lazy = LazyTick()
    let period: UInt64
    var now = Nanoseconds.milliseconds(5000)
    /// What it has set the timer for.
    private(set) var event = Nanoseconds(count: 0)
    /// By how much the wake-ups were later than that.
    private(set) var late: [UInt64] = []

    init(period: UInt64) { self.period = period }

    var stateName: String { "\(lazy.stateName)" }

    /// It handles what has woken it, waits again, and is woken.
    /// - Parameter shot: how long after its tick it sets the timer, if not for the next one.
    func wait(isQuiet: Bool = true, shot: UInt64? = nil) {
        // The timer is set a little later than the clock was read, each time by something else.
        let delay = 3000 + UInt64(late.count % 7) * 1500
        event = Nanoseconds(count: (now.count / period + 1) * period + delay)
        if let shot { event = Nanoseconds(count: now.count / period * period + shot) }
        now = now + Nanoseconds(count: 100_000)
        waitAgain(isQuiet: isQuiet)
        // The host's timers are late as well.
        now = now + Nanoseconds(count: 60_000)
    }

    /// It waits for the same as before.
    func waitAgain(isQuiet: Bool = true) {
        let moment = lazy.waits(for: event, at: now, isQuiet: isQuiet)
        late.append((moment - event).count)
        now = moment
    }

    func wait(for time: Nanoseconds) {
        let end = now + time
        while now < end { wait() }
    }

    /// Until ticks are late.
    func settle() {
        wait(isQuiet: false)
        wait(for: .milliseconds(1100))
    }
}

@Suite struct LazyTickTests {
    @Test(
        "a guest that only ticks is woken for each tick for a second, and then for some at once",
        arguments: [1_000_000, 3_333_333, 4_000_000, 10_000_000] as [UInt64])
    func ticks(period: UInt64) {
        let kernel = TickingKernel(period: period)
        kernel.wait(isQuiet: false)
        let start = kernel.late.count
        kernel.wait(for: .milliseconds(990))
        #expect(kernel.late.count - start >= Int(980_000_000 / period))
        #expect(kernel.late.allSatisfy { $0 == 0 })
        kernel.wait(for: .milliseconds(100))
        let settled = kernel.late.count
        kernel.wait(for: .milliseconds(10_000))
        #expect(kernel.late.count - settled <= 620)
        let bound = LazyTick.longest.count + period / 15
        #expect(kernel.late.allSatisfy { $0 <= bound })
        #expect(kernel.late[settled...].filter { $0 == 0 }.count <= 6)
    }

    @Test("whatever else it does ends that at once, for a second")
    func busy() {
        let kernel = TickingKernel(period: 4_000_000)
        kernel.settle()
        kernel.wait()
        #expect(kernel.late.last != 0)
        // Something wakes it in the middle, and the tick is to come still.
        kernel.now = kernel.event - Nanoseconds(count: 1_000_000)
        kernel.waitAgain(isQuiet: false)
        #expect(kernel.late.last == 0 && kernel.stateName == "busy")
        let count = kernel.late.count
        kernel.wait(for: .milliseconds(500))
        kernel.wait(isQuiet: false)
        kernel.wait(for: .milliseconds(990))
        #expect(kernel.late[count...].allSatisfy { $0 == 0 })
        kernel.wait(for: .milliseconds(100))
        #expect(kernel.late.last != 0 && kernel.stateName == "quiet")
    }

    @Test("who looks meanwhile, and does nothing for the guest, changes nothing")
    func looks() {
        let kernel = TickingKernel(period: 4_000_000)
        kernel.settle()
        kernel.wait()
        let late = kernel.late.last
        kernel.now = kernel.event + Nanoseconds(count: 500_000)
        kernel.waitAgain()
        #expect(late != 0 && kernel.late.last == late)
    }

    @Test("a host that wakes it too late has let ticks pass, and the next is one still")
    func lateHost() {
        let kernel = TickingKernel(period: 4_000_000)
        kernel.settle()
        for time in [3, 5, 9, 50] as [UInt64] {
            kernel.now = kernel.now + .milliseconds(time)
            kernel.wait()
            #expect(kernel.late.last != 0, "\(time)")
        }
    }

    @Test("what is no tick is on time, as is the tick behind it; ticks are late again soon")
    func otherTimers() {
        let kernel = TickingKernel(period: 4_000_000)
        kernel.settle()
        kernel.wait()
        #expect(kernel.late.last != 0)
        for shot in [1_300_000, 3_000_000] as [UInt64] {
            kernel.wait(shot: shot)
            kernel.wait()
            #expect(kernel.late.suffix(2) == [0, 0])
            for _ in 0..<3 { kernel.wait() }
            #expect(kernel.late.last != 0, "\(shot)")
        }
    }

    @Test("a kernel that stops its tick waits for as long as its timer can: that is on time")
    func noTick() {
        let kernel = TickingKernel(period: 27_462_000)
        kernel.wait(isQuiet: false)
        kernel.wait(for: .milliseconds(10_000))
        #expect(kernel.stateName == "quiet" && kernel.late.allSatisfy { $0 == 0 })
    }

    @Test("no moments do harm", arguments: 0..<4 as Range<UInt64>)
    func hostile(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var lazy = LazyTick()
        var event = Nanoseconds(count: 0)
        for _ in 0..<100_000 {
            let word = random.next()
            if word & 3 != 0 { event = event + Nanoseconds(count: random.next() >> (word >> 58)) }
            let now = Nanoseconds(count: random.next())
            _ = lazy.waits(for: event, at: now, isQuiet: word & 4 != 0)
        }
    }

    @Test("its page shows the transitions that it takes")
    func page() throws {
        let walk = Walk(
            from: [LazyTick()],
            [("nothing but ticks for a second", true), ("anything else", false)],
            name: { "\($0.stateName)" },
            step: { (lazy: LazyTick, isQuiet: Bool) in
                var next = lazy
                let (start, end) = (Nanoseconds.milliseconds(1000), Nanoseconds.milliseconds(2000))
                _ = next.waits(for: end, at: start, isQuiet: false)
                if isQuiet { _ = next.waits(for: end, at: end, isQuiet: true) }
                return "\(next.stateName)" == "\(lazy.stateName)" ? [] : [next]
            })
        #expect(try transitionsOfPage("lazy-tick-machine.md") == walk.transitions)
    }
}
