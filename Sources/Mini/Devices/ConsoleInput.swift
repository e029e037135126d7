// When the console reads from its input. Keys are never lost: they stay with the kernel until
// the guest lends a free buffer. Nothing spins either: while there is no buffer the machine
// looks again when the guest says something or an alarm goes off, ever more seldom. Only from a
// terminal it reads ahead meanwhile, so that ^C is seen when the guest does not listen. A
// terminal that job control has given to others is left alone.
//
//   watching -- readable --> seeking -- buffer --> reading -- received --> watching
//                             ^ |  ^                 | | |
//            alarm, guest ran | |  +---- leftover ---+ | +-- end of input --> ended
//                             | | no buffer            |
//              +-- readable   | v                      |
//              +----------> waiting          watching, waiting, reading -- lost --> away
//                                                             away -- gained --> watching
//
// Source: docs/abi/lguest.md §1.4 (buffers), termios(3) (job control).
// The same as a page: docs/console-input-machine.md.

/// Decides when to read the console's input.
struct ConsoleInput {
    private enum State {
        case watching
        case seeking(after: UInt64)
        case reading
        /// Looks again after so many milliseconds.
        case waiting(UInt64)
        case away
        case ended
    }
    private var state = State.watching
    /// The state in which something came that cannot come there: a defect of mini.
    private(set) var defect: StaticString?

    enum Event: CaseIterable {
        /// The input has something, or ended.
        case readable
        /// The guest lent a free buffer, or has none.
        case buffer, noBuffer
        case received, endOfInput
        /// The guest's buffer took only a part of what there is.
        case leftover
        /// The guest ran up to some request of its own.
        case guestRan
        case alarm
        /// The terminal was given to others, or is ours.
        case lost, gained
    }

    enum Action: Equatable {
        case none
        case seekBuffer
        case read
        /// Keep what there is until the guest takes it.
        case readAhead
        case setAlarm(Nanoseconds)
    }

    private static let longestWait: UInt64 = 128
    /// How often to look whether the terminal is ours again, in milliseconds.
    private static let awayInterval: UInt64 = 500

    /// True while the next key is for the guest at once.
    var isWatching: Bool { if case .watching = state { true } else { false } }
    /// True while the input waits for the guest.
    var isWaiting: Bool { if case .waiting = state { true } else { false } }
    var isAway: Bool { if case .away = state { true } else { false } }
    var isEnded: Bool { if case .ended = state { true } else { false } }

    /// Takes an event. One that does not belong to the state changes nothing; an answer that was not asked for, or anything
    /// but an answer where one is awaited, cannot come. What a terminal does comes at any time.
    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.watching, .readable):
            state = .seeking(after: 0)
            return .seekBuffer
        case (.waiting(let delay), .alarm), (.waiting(let delay), .guestRan):
            state = .seeking(after: delay)
            return .seekBuffer
        case (.seeking, .buffer):
            state = .reading
            return .read
        case (.seeking(let delay), .noBuffer):
            let next = delay == 0 ? 1 : min(2 * delay, Self.longestWait)
            state = .waiting(next)
            return .setAlarm(.milliseconds(next))
        case (.waiting, .readable):
            return .readAhead
        case (.reading, .leftover):
            state = .seeking(after: 0)
            return .seekBuffer
        case (.reading, .received):
            state = .watching
            return .none
        case (.reading, .endOfInput):
            state = .ended
            return .none
        case (.watching, .lost), (.reading, .lost), (.waiting, .lost), (.away, .lost),
            (.away, .alarm):
            state = .away
            return .setAlarm(.milliseconds(Self.awayInterval))
        case (.away, .gained):
            state = .watching
            return .none
        case (_, .lost), (_, .gained), (_, .alarm),
            (.watching, .guestRan), (.away, .guestRan), (.ended, .guestRan),
            (.away, .readable), (.ended, .readable):
            return .none
        default:
            defect = stateName
            return .none
        }
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .watching: "watching"
        case .seeking: "seeking"
        case .reading: "reading"
        case .waiting: "waiting"
        case .away: "away"
        case .ended: "ended"
        }
    }
}
