// The host's idea of time: it reads the kernel's clock once per slice of guest instructions
// and chooses the slices so that this happens twice a millisecond or more, sooner if the
// guest's clock event is nearer. Source: docs/abi/lguest.md §4.4 "Timer", §7.2.

/// One guest's clock event, and how long its code may run before the host looks up.
struct HostClock {
    /// Time-stamp counter of the virtual processor, in thousands of ticks a second: one tick
    /// is a nanosecond.
    static let timeStampKilohertz: UInt32 = 1_000_000

    /// When the guest was made: its time-stamp counter starts there.
    private let origin: Nanoseconds
    /// The monotonic clock as last read.
    private var now: Nanoseconds
    private var event: Nanoseconds?
    private var lastLook: Nanoseconds

    /// Instructions until the clock is read again.
    private var remaining = 0
    /// Measured speed, in instructions per millisecond, and the measurement under way.
    private var speed: UInt64 = 20_000
    private var spent: UInt64 = 0
    private var measuredFrom: Nanoseconds

    init() {
        origin = Clock.monotonic()
        now = origin
        lastLook = origin
        measuredFrom = origin
    }

    /// The processor's RDTSC.
    var timeStamp: () -> UInt64 {
        let origin = origin
        return { (Clock.monotonic() - origin).count }
    }

    /// Reads the clock and begins a slice.
    mutating func refresh() {
        now = Clock.monotonic()
        let elapsed = (now - measuredFrom).count
        if elapsed >= Self.shortestMeasurement {
            let measured = spent &* 1_000_000 / elapsed
            speed = min(max((speed * 3 + measured) / 4, 2_000), 1_000_000)
            startMeasurement()
        }
        chooseSlice()
    }

    /// As `refresh`, after time in which no guest code ran.
    mutating func resume() {
        now = Clock.monotonic()
        startMeasurement()
        chooseSlice()
    }

    /// What the guest may execute before the clock is read.
    var slice: Int { max(remaining, Self.shortest) }

    /// Charges the slice; an exit counts as some instructions, so that a guest which exits
    /// all the time has its clock read, too.
    mutating func spend(_ instructions: UInt64) {
        spent &+= instructions
        remaining -= Int(truncatingIfNeeded: min(instructions, 1 << 24)) + Self.exitCost
        if remaining <= 0 { refresh() }
    }

    /// Shortest slice: reading the clock must cost little beside it.
    private static let shortest = 500
    /// Longest slice. A guest may have been fast until now and take a microsecond or more for every
    /// instruction from here on (by changing its own code, say): the clock must be read all the same.
    private static let longest: UInt64 = 16_384
    /// An exit may be 64 calls of a ring.
    private static let exitCost = 100
    private static let shortestMeasurement: UInt64 = 200_000

    private mutating func startMeasurement() {
        measuredFrom = now
        spent = 0
    }

    private mutating func chooseSlice() {
        var length = min(speed / 2, Self.longest)
        if let event {
            length = min(length, min(event - now, .milliseconds(1)).count * speed / 1_000_000)
        }
        remaining = max(Int(truncatingIfNeeded: length), Self.shortest)
    }

    /// True once per millisecond: time to look at the watched descriptors.
    mutating func isTimeToLook() -> Bool {
        guard now - lastLook >= .milliseconds(1) else { return false }
        lastLook = now
        return true
    }

    // MARK: - The guest's clock event

    /// SET_CLOCKEVENT: one shot, this many nanoseconds from now; replaces an earlier one.
    mutating func setEvent(after delay: UInt32) {
        refresh()
        event = now + Nanoseconds(count: UInt64(delay))
        chooseSlice()
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
