// The kernel's clocks. Source: clock_gettime(2).

import CShim

/// A length of time or a moment on the monotonic clock, in nanoseconds.
struct Nanoseconds: Equatable, Comparable {
    var count: UInt64
    static let perSecond: UInt64 = 1_000_000_000
    static func milliseconds(_ count: UInt64) -> Nanoseconds { .init(count: count * 1_000_000) }
    static func < (left: Self, right: Self) -> Bool { left.count < right.count }
    static func + (left: Self, right: Self) -> Self { .init(count: left.count &+ right.count) }
    /// The time from `right` to `left`; nothing if that is in the past.
    static func - (left: Self, right: Self) -> Self {
        .init(count: left.count > right.count ? left.count - right.count : 0)
    }
}

extension mini_timespec {
    /// The kernel's form of a time; one that it has no room for is the longest that it has.
    init(_ time: Nanoseconds) {
        self.init()
        seconds = Int(clamping: time.count / Nanoseconds.perSecond)
        nanoseconds = Int(time.count % Nanoseconds.perSecond)
    }
}

extension Nanoseconds? {
    /// Makes a wait, which has no end if it is nil, no longer than another.
    mutating func shorten(to other: Nanoseconds?) {
        if let other { self = self.map { min($0, other) } ?? other }
    }
}

/// The monotonic clock, the time of day and the processor time of the calling thread.
enum Clock {
    /// Lets time pass; a signal ends it early.
    static func sleep(_ time: Nanoseconds) { _ = try? Poll.wait([], timeout: time) }

    /// Time since some moment before the program; never runs backwards.
    static func monotonic() -> Nanoseconds { Nanoseconds(count: read(1)) }

    /// Time since the start of 1970, UTC.
    static func realTime() -> Nanoseconds { Nanoseconds(count: read(0)) }

    /// Processor time that the calling thread has taken, its system calls among it: what a guest of the kernel's takes.
    static func spent() -> Nanoseconds { Nanoseconds(count: read(3)) }

    private static func read(_ clock: Int) -> UInt64 {
        var time = mini_timespec()
        do throws(Errno) {
            try withKernel(&time) { (address) throws(Errno) -> Void in
                try SystemCall.make(.clockTime, clock, address)
            }
        } catch {
            // The clock exists and the structure is ours. A test's kernel may lack the call.
            #if hasFeature(Embedded) && !MINI_FUZZ
            end(error)
            #endif
        }
        return UInt64(UInt(bitPattern: time.seconds)) * Nanoseconds.perSecond
            + UInt64(UInt(bitPattern: time.nanoseconds))
    }

    #if hasFeature(Embedded) && !MINI_FUZZ
    /// Without a clock every wait would be for ever.
    @inline(never)
    private static func end(_ errno: Errno) -> Never {
        #if arch(i386)
        let hint: StaticString = "; a 32-bit program needs CONFIG_COMPAT_32BIT_TIME"
        #else
        let hint: StaticString = ""
        #endif
        try? Transfer.write(2, "mini: cannot read the clock: \(errno)\(hint)\n")
        Process.exit(1)
    }
    #endif
}
