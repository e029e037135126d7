// The moment until which something may take its time, on the monotonic clock; and a signal that may
// end it before. A loop whose turns others can cause looks at `isOver` in every turn.

/// A moment on the monotonic clock; none counts as never.
struct Deadline: Equatable {
    private let moment: Nanoseconds?
    /// Readable when a signal has come; -1 where those end the process by themselves.
    private let signals: Int32

    private init(moment: Nanoseconds?, signals: Int32 = -1) {
        self.moment = moment
        self.signals = signals
    }

    /// No limit at all.
    static let never = Deadline(moment: nil)

    /// So long from now.
    static func after(_ time: Nanoseconds) -> Deadline {
        let (end, isFar) = Clock.monotonic().count.addingReportingOverflow(time.count)
        return isFar ? never : Deadline(moment: Nanoseconds(count: end))
    }

    /// The same, but over as soon as a descriptor can be read: that of the signals which are held back.
    func orSignal(at descriptor: Int32) -> Deadline {
        Deadline(moment: moment, signals: descriptor)
    }

    /// The same, but no later than after some time from now.
    func within(_ time: Nanoseconds) -> Deadline {
        let end = Deadline.after(time).moment
        guard let moment, let end else { return Deadline(moment: moment ?? end, signals: signals) }
        return Deadline(moment: min(moment, end), signals: signals)
    }

    /// What is left: nil without a limit, 0 when it has passed.
    var remaining: Nanoseconds? {
        guard let moment else { return nil }
        return moment - Clock.monotonic()
    }

    var isOver: Bool { remaining.map { $0.count == 0 } ?? false || hasSignal }

    /// True once a signal has come that ends it.
    private var hasSignal: Bool {
        guard signals >= 0 else { return false }
        return (try? Poll.wait([Poll.Interest(signals)], timeout: Nanoseconds(count: 0)))?[0]
            ?? false
    }

    /// Sleeps until a descriptor is ready, or it is over.
    /// - Returns: false if it is over because of a signal, whatever else is ready, or of the time.
    func wait(for interest: Poll.Interest) throws(Errno) -> Bool {
        while true {
            let isReady = try Poll.wait([interest, Poll.Interest(signals)], timeout: remaining)
            if isReady[1] { return false }
            if isReady[0] { return true }
            if let remaining, remaining.count == 0 { return false }
        }
    }

    /// Lets some time pass, at most until it is over.
    func sleep(atMost time: Nanoseconds) {
        _ = try? Poll.wait([Poll.Interest(signals)], timeout: min(time, remaining ?? time))
    }
}
