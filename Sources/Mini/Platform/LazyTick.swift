// When a guest that waits is woken for its timer. A kernel without NO_HZ sets the timer anew for each of its ticks, hundreds of
// times a second, and most of what it costs while it is idle is to wake up for them. So a guest that has done nothing but tick
// for a second is woken for some ticks at once: its kernel asks its clock, which this does not touch, and makes up for those
// that have passed. The timer knows nothing of it: whatever wakes the guest before that finds the tick due, and delivers it.
//
//   busy -- nothing but ticks for a second --> quiet
//   quiet -- anything else --> busy            (in busy the second begins anew)
//
// Late is only what looks like a tick: it is the next that comes a whole number of periods after the one before. What else the
// timer is set for is on time; but what would be set by a tick that is late is late with it.
// Source: Linux, kernel/time/tick-sched.c, tick_sched_timer. The same as a page: docs/lazy-tick-machine.md.

struct LazyTick {
    private enum State {
        /// It did something else less than a second before this moment.
        case busy(until: Nanoseconds)
        case quiet
    }
    private var state = State.busy(until: Nanoseconds(count: .max))

    /// By how much a tick is late at most, but for a sixteenth of a period: five ticks of 250 a second, with room for what is
    /// measured of them.
    static let longest = Nanoseconds(count: 20_500_000)
    static let second = Nanoseconds.milliseconds(1000)

    /// What it waits for, as the timer has it.
    private var event = Nanoseconds(count: 0)
    /// The tick for which it is woken: that one, or a later one that the kernel would have come to.
    private var tick = Nanoseconds(count: 0)
    /// From one to the next, in nanoseconds.
    private var period: UInt64 = 1

    /// The guest waits.
    /// - Parameters:
    ///   - event: the moment of the timer's interrupt.
    ///   - isQuiet: false if it has done something else since it waited before.
    /// - Returns: when to wake it.
    mutating func waits(for event: Nanoseconds, at now: Nanoseconds, isQuiet: Bool) -> Nanoseconds {
        if !isQuiet { state = .busy(until: now + Self.second) }
        if case .busy(let end) = state, now >= end { state = .quiet }
        if event != self.event {
            self.event = event
            let step = (event - tick).count
            tick = event
            // Kernels set a timer by their clock, with some delay; and a host that was late has let ticks pass.
            let slack = period / 8
            let (count, rest) = (step &+ slack).quotientAndRemainder(dividingBy: period)
            let isTick =
                count > 0 && rest < 2 * slack && (event - now).count < period &+ slack
            if !isTick { period = max(step, 1) }
            if case .quiet = state, isTick {
                tick.count &+= Self.longest.count / period * period
            }
        } else if case .busy = state {
            tick = event
        }
        // Woken just before a tick it would wait for that, too.
        return tick == event ? event : tick + Nanoseconds(count: period / 16)
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .busy: "busy"
        case .quiet: "quiet"
        }
    }
}
