// Says from when on a guest whose console is a screen is given keys. A kernel throws away what is typed before a program has
// its screen open, as the first program has it from its start. Where the launcher cannot see that a program runs, a guest counts
// as waiting for keys when it prints nothing for a second and uses next to no processor time in it: silence alone does not tell,
// since a kernel that starts on a busy machine can be silent for as long.
//
//   starting -- a program runs, it rests for a second --> delivering
//
// Output of the guest, and every second in which it does not rest, begin that second anew.
// The same as a page: docs/key-delivery-machine.md.

struct KeyDelivery {
    private enum State {
        /// The beginning of its rest, if it is one.
        case starting(since: CPUSample)
        case delivering
    }
    private var state = State.starting(
        since: CPUSample(time: Nanoseconds(count: 0), spent: Nanoseconds(count: 0)))

    private static let rest = Nanoseconds.milliseconds(1000)
    /// One that rests takes less of the processor in that time.
    private static let work = Nanoseconds.milliseconds(100)

    /// True for good once it is given its keys.
    var isDelivering: Bool {
        if case .delivering = state { return true }
        return false
    }

    /// The guest wrote to its screen.
    mutating func wrote(_ now: CPUSample) {
        if !isDelivering { state = .starting(since: now) }
    }

    /// It runs a program.
    mutating func run() { state = .delivering }

    /// There are keys for it: looks at what it does.
    /// - Parameter isIdle: whether it does nothing now.
    mutating func look(_ now: CPUSample, isIdle: Bool) {
        guard case .starting(let since) = state, since.time + Self.rest < now.time else { return }
        state =
            isIdle && now.spent < since.spent + Self.work ? .delivering : .starting(since: now)
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .starting: "starting"
        case .delivering: "delivering"
        }
    }
}
