// How a software processor keeps a deadline without reading the clock all the time: it measures its own speed,
// chooses how many instructions to run until it reads the clock again, twice a millisecond or more and sooner
// if the deadline is nearer, and charges what was run. Makes no call: it is told what the clock says.

struct TimeSlice {
    /// The clock as last read.
    private(set) var now = Nanoseconds(count: 0)
    /// Instructions until the clock is to be read again.
    private var remaining = 0
    /// The deadline for which that was chosen.
    private var planned: Nanoseconds?

    /// Measured speed, in instructions per millisecond, and the measurement under way.
    private var speed: UInt64 = 20_000
    private var spent: UInt64 = 0
    private var measuredFrom = Nanoseconds(count: 0)

    /// Shortest slice: reading the clock must cost little beside it.
    private static let shortest = 500
    /// Longest slice. A guest may have been fast until now and take a microsecond or more for every
    /// instruction from here on (by changing its own code, say): the clock must be read all the same.
    private static let longest: UInt64 = 16_384
    /// An exit counts as some instructions, so that a guest which exits all the time has the clock read, too.
    private static let exitCost = 100
    private static let shortestMeasurement: UInt64 = 200_000

    /// After time in which no guest code ran.
    mutating func resume(at now: Nanoseconds) {
        self.now = now
        startMeasurement()
        remaining = 0
    }

    /// True if the clock must be read before more is run.
    func isOver(before deadline: Nanoseconds?) -> Bool {
        if remaining <= 0 { return true }
        guard let deadline else { return false }
        return planned.map { deadline < $0 } ?? true
    }

    /// Begins a slice.
    mutating func begin(at now: Nanoseconds, until deadline: Nanoseconds?) {
        self.now = now
        let elapsed = (now - measuredFrom).count
        if elapsed >= Self.shortestMeasurement {
            let measured = spent &* 1_000_000 / elapsed
            speed = min(max((speed * 3 + measured) / 4, 2_000), 1_000_000)
            startMeasurement()
        }
        planned = deadline
        var length = min(speed / 2, Self.longest)
        if let deadline {
            length = min(
                length, min(deadline - now, .milliseconds(1)).count * speed / 1_000_000)
        }
        remaining = max(Int(truncatingIfNeeded: length), Self.shortest)
    }

    /// Instructions of the slice that are left.
    var budget: Int { max(remaining, Self.shortest) }

    /// So many instructions for some time, by the measured speed.
    func instructions(for time: Nanoseconds) -> Int {
        let count = min(time, .milliseconds(1)).count * speed / 1_000_000
        return max(Int(truncatingIfNeeded: count), Self.shortest)
    }

    mutating func spend(_ instructions: UInt64) {
        spent &+= instructions
        remaining -= Int(truncatingIfNeeded: min(instructions, 1 << 24))
    }

    mutating func spendExit() { remaining -= Self.exitCost }

    private mutating func startMeasurement() {
        measuredFrom = now
        spent = 0
    }
}
