// The host's idea of time: the guest's clock event and the next look at what the launcher watches, as one
// deadline for the processor; the clock is read when that has passed, not in every turn of the run loop.
// Source: docs/abi/lguest.md §4.4 "Timer", §7.2.

/// One guest's clock event, and until when its code may run before the host looks up.
struct HostClock {
    /// Time-stamp counter of the virtual processor, in thousands of ticks a second: one tick
    /// is a nanosecond.
    static let timeStampKilohertz: UInt32 = 1_000_000

    /// When the guest was made: its time-stamp counter starts there.
    private let origin: Nanoseconds
    /// The monotonic clock as last read.
    private(set) var now: Nanoseconds
    private var event: Nanoseconds?
    private var nextLook: Nanoseconds

    /// Between two looks at the watched descriptors.
    private static let betweenLooks = Nanoseconds.milliseconds(1)

    init() {
        origin = Clock.monotonic()
        now = origin
        nextLook = origin + Self.betweenLooks
    }

    /// The processor's RDTSC.
    var timeStamp: () -> UInt64 {
        let origin = origin
        return { (Clock.monotonic() - origin).count }
    }

    /// Reads the clock.
    mutating func refresh() { now = Clock.monotonic() }

    /// Until when the guest's code may run.
    var deadline: Nanoseconds { event.map { min($0, nextLook) } ?? nextLook }

    /// True once per millisecond: time to look at the watched descriptors.
    mutating func isTimeToLook() -> Bool {
        guard now >= nextLook else { return false }
        nextLook = now + Self.betweenLooks
        return true
    }

    // MARK: - The guest's clock event

    /// SET_CLOCKEVENT: one shot, this many nanoseconds from now; replaces an earlier one.
    mutating func setEvent(after delay: UInt32) {
        refresh()
        event = now + Nanoseconds(count: UInt64(delay))
    }

    mutating func cancelEvent() { event = nil }

    var isEventDue: Bool { event.map { $0 <= now } ?? false }

    /// True once, when the event's time has come.
    mutating func takeEvent() -> Bool {
        guard isEventDue else { return false }
        event = nil
        return true
    }

    /// How long a sleeping guest sleeps; nil for ever.
    var untilEvent: Nanoseconds? { event.map { $0 - now } }
}
