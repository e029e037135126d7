// When a network reads frames from its tap. A frame that the guest has no buffer for stays in
// the tap's queue, with the host's kernel, which drops what is too much; as long as the guest's
// interface is down frames are read and dropped, so that none of them is an hour old when it
// comes up. Nothing spins: while there is no buffer, the machine looks again when the guest ran
// up to some request, or an alarm goes off, ever more seldom. A driver that lends buffers before it takes interrupts
// would miss that a frame came while it rang: its frame comes at the look after the next, when the guest has run.
//
//   watching -- readable --> seeking -- buffer --> reading -- received --> seeking
//                             ^ |  \                   | | |
//            alarm, guest ran | |   +-- down --> dropping | +-- failed --> ended
//                             | | no buffer           | +-- empty, enough --> watching
//                             | v                     |
//                           waiting                   +-- (as reading)
//                             |
//                             +-- lent --> lending -- readable --> watching
//
// Source: docs/abi/lguest.md §1.4 (buffers), §5.2 (net).
// The same as a page: docs/network-input-machine.md.

/// Decides when to read a tap.
struct NetworkInput {
    private enum State {
        case watching
        /// The next wait lasts so many milliseconds; an alarm may still be set.
        case seeking(wait: UInt64, alarmSet: Bool)
        case reading, dropping
        case waiting(UInt64)
        /// A driver that has just lent buffers may miss the interrupt for one that is filled now.
        case lending
        case ended
    }
    private var state = State.watching
    /// The state in which something came that cannot come there: a defect of mini.
    private(set) var defect: StaticString?

    enum Event: CaseIterable {
        /// The tap has a frame, or failed.
        case readable
        /// The guest lent a free buffer, or has none, or its interface is down.
        case buffer, noBuffer, down
        /// A frame was read; it was the last for this turn.
        case received, enough
        /// The tap had none.
        case empty
        /// The tap is gone.
        case failed
        /// The guest ran up to some request of its own.
        case guestRan
        /// That request was to lend buffers, and nothing is to come of it yet.
        case lent
        case alarm
    }

    enum Action: Equatable {
        case none
        case seekBuffer
        /// One frame into the guest's buffer.
        case read
        /// One frame into nothing.
        case drop
        case setAlarm(Nanoseconds)
    }

    private static let shortestWait: UInt64 = 1
    private static let longestWait: UInt64 = 128

    /// True while a frame is to be looked for.
    var isWatching: Bool {
        switch state {
        case .watching, .lending: true
        default: false
        }
    }
    /// True while a frame waits for the guest.
    var isWaiting: Bool { if case .waiting = state { true } else { false } }

    /// Takes an event. One that does not belong to the state changes nothing; an answer that was not asked for, or anything
    /// but an answer where one is awaited, cannot come. What the guest does comes in every other state.
    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.watching, .readable), (.reading, .received), (.dropping, .received):
            return seek(wait: Self.shortestWait, alarmSet: false)
        case (.waiting(let wait), .alarm):
            return seek(wait: min(2 * wait, Self.longestWait), alarmSet: false)
        case (.waiting(let wait), .guestRan):
            return seek(wait: wait, alarmSet: true)
        case (.seeking, .buffer):
            state = .reading
            return .read
        case (.seeking, .down):
            state = .dropping
            return .drop
        case (.seeking(let wait, let alarmSet), .noBuffer):
            state = .waiting(wait)
            return alarmSet ? .none : .setAlarm(.milliseconds(wait))
        case (.waiting, .lent):
            state = .lending
            return .none
        case (.reading, .empty), (.reading, .enough), (.dropping, .empty), (.dropping, .enough),
            (.lending, .readable):
            state = .watching
            return .none
        case (.reading, .failed), (.dropping, .failed):
            state = .ended
            return .none
        case (.seeking, _), (.reading, _), (.dropping, _): defect = stateName
        default:
            switch event {
            case .readable, .guestRan, .lent, .alarm: break
            default: defect = stateName
            }
        }
        return .none
    }

    /// The most frames that are taken in one turn.
    private static let turn = 64

    /// Takes what became of a frame. Most come alone: whether there is more is asked before a buffer is.
    /// - Parameter number: of the frame in this turn, from 1 on.
    mutating func handle(
        _ event: Event, frame number: Int, hasMore: @autoclosure () -> Bool
    ) -> Action {
        let isLast = event == .received && (number == Self.turn || number == 1 && !hasMore())
        return handle(isLast ? .enough : event)
    }

    /// What it means that a frame could not be read.
    static func event(of error: Errno) -> Event {
        switch error {
        case .again: .empty
        // The frame is gone, as on a bad cable.
        case .badAddress: .received
        default: .failed
        }
    }

    private mutating func seek(wait: UInt64, alarmSet: Bool) -> Action {
        state = .seeking(wait: wait, alarmSet: alarmSet)
        return .seekBuffer
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .watching: "watching"
        case .seeking: "seeking"
        case .reading: "reading"
        case .dropping: "dropping"
        case .waiting: "waiting"
        case .lending: "lending"
        case .ended: "ended"
        }
    }
}
