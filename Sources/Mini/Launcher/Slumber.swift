// How much of the processor a guest takes: one that waits takes next to none, one that computes takes what there is.

/// A moment, and the processor time that had been spent on the guest until then.
struct CPUSample {
    let time: Nanoseconds
    let spent: Nanoseconds

    static var now: CPUSample { CPUSample(time: Clock.monotonic(), spent: Clock.spent()) }
}

/// Finds out that a guest has done next to nothing for a while. How often it waited does not tell: one that does nothing wakes up for
/// its clock all the time.
struct Slumber {
    static let period = Nanoseconds.milliseconds(3000)
    /// What it may have run of that is less than one part in so many.
    static let parts: UInt64 = 8
    private var last: CPUSample?

    /// The guest waits.
    /// - Parameters:
    ///   - now: the moment.
    ///   - spent: the processor's time that was used until now; asked for once a period.
    /// - Returns: true if a period has passed, or more, and it ran next to never; not again before the next has.
    mutating func waits(at now: Nanoseconds, _ spent: @autoclosure () -> Nanoseconds) -> Bool {
        if let last, now < last.time + Self.period { return false }
        let sample = CPUSample(time: now, spent: spent())
        let before = last
        last = sample
        guard let before else { return false }
        return (sample.spent - before.spent).count < (now - before.time).count / Self.parts
    }
}
