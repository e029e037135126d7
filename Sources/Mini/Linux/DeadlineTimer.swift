// A timer that ends a system call of this thread's at a moment: it sends a signal that is held back, and only the
// call that is to be ended lets it through. So no handler runs, and a signal that comes just before the call
// still ends it. The timer itself goes with the process: inside a sandbox there is no call to remove it.
// Sources: timer_create(2), timer_settime(2).

import CShim

/// A timer on the monotonic clock with a signal of its own.
final class DeadlineTimer {
    /// A real-time signal that nothing else here uses.
    static let signal = Signal(rawValue: 40)

    private let number: Int32
    private let queue: SignalQueue
    private(set) var armed: Nanoseconds?

    /// What the sandbox is to leave.
    var descriptor: Int32 { queue.descriptor }

    init() throws(Errno) {
        queue = try SignalQueue(awaited: [Self.signal], silenced: [])
        // struct sigevent: a value as wide as a pointer, the signal, SIGEV_SIGNAL; 64 bytes in all.
        var event = (
            UInt(0), Self.signal.rawValue, Int32(0),
            (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        )
        var number: Int32 = -1
        _ = try withKernel(&event) { (address) throws(Errno) in
            try withKernel(&number) { (place) throws(Errno) in
                try SystemCall.make(.makeTimer, 1, address, place)
            }
        }
        self.number = number
    }

    deinit {
        // Its signal is let through as soon as the queue goes.
        try? set(mini_timespec())
        take()
    }

    /// Lets it go off at a moment, or before if it is set to go off before.
    func arm(_ moment: Nanoseconds) throws(Errno) {
        if let armed, armed <= moment { return }
        try set(mini_timespec(max(moment, Nanoseconds(count: 1))))
        armed = moment
    }

    /// - Parameter time: 0 for no moment at all.
    private func set(_ time: mini_timespec) throws(Errno) {
        // struct itimerspec: the interval, and the moment.
        var times = (mini_timespec(), time)
        let absolute = 1  // TIMER_ABSTIME
        _ = try withKernel(&times) { (address) throws(Errno) in
            try SystemCall.make(.setTimer, Int(number), absolute, address)
        }
    }

    /// Takes the timer's signal, if it came.
    /// - Returns: true if it did.
    @discardableResult
    func take() -> Bool {
        guard let signal = try? queue.next(), signal == Self.signal else { return false }
        armed = nil
        return true
    }
}
