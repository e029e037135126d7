// The kernel's clocks. Source: clock_gettime(2).

import CShim

/// A length of time or a moment on the monotonic clock, in nanoseconds.
struct Nanoseconds: Equatable, Comparable {
    var count: UInt64
    static func milliseconds(_ count: UInt64) -> Nanoseconds { .init(count: count * 1_000_000) }
    static func < (left: Self, right: Self) -> Bool { left.count < right.count }
    static func + (left: Self, right: Self) -> Self { .init(count: left.count &+ right.count) }
    /// The time from `right` to `left`; nothing if that is in the past.
    static func - (left: Self, right: Self) -> Self {
        .init(count: left.count > right.count ? left.count - right.count : 0)
    }
}

/// The moment until which something may take its time, on the monotonic clock.
struct Deadline: Equatable {
    private let moment: Nanoseconds?

    /// No limit at all.
    static let never = Deadline(moment: nil)

    static func after(_ time: Nanoseconds) -> Deadline {
        let (end, isFar) = Clock.monotonic().count.addingReportingOverflow(time.count)
        return isFar ? never : Deadline(moment: Nanoseconds(count: end))
    }

    /// What is left: nil without a limit, 0 when it has passed.
    var remaining: Nanoseconds? {
        guard let moment else { return nil }
        return moment - Clock.monotonic()
    }

    var isOver: Bool { remaining.map { $0.count == 0 } ?? false }
}

enum Clock {
    /// Lets time pass; a signal ends it early.
    static func sleep(_ time: Nanoseconds) { _ = try? Poll.wait([], timeout: time) }

    /// Time since some moment before the program; never runs backwards.
    static func monotonic() -> Nanoseconds { Nanoseconds(count: read(1)) }

    /// Time since the start of 1970, UTC.
    static func realTime() -> Nanoseconds { Nanoseconds(count: read(0)) }

    private static func read(_ clock: Int) -> UInt64 {
        var time = mini_timespec()
        // Cannot fail: the clock exists and the structure is ours.
        _ = try? withKernel(&time) { (address) throws(Errno) in
            try SystemCall.make(.clockTime, clock, address)
        }
        return UInt64(UInt(bitPattern: time.seconds)) * 1_000_000_000
            + UInt64(UInt(bitPattern: time.nanoseconds))
    }
}
