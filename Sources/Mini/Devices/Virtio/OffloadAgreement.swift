// Whether a tap gives frames as the guest's driver takes them: without checksums, or longer than any frame. A driver says
// that when it begins; the tap is told when frames can come, and not all the time: that costs all the host's networks
// something, and drivers may change their minds as often as they like.
//
//   agreed -- takes other -----------------------> apart
//     ^                                            | | |
//     +-- takes the same, frames can come (tell) --+ | +-- too soon (drop, if they may be more than the driver takes)
//                                                    +---- takes other
//
// Source: docs/abi/pc.md §4.6. The same as a page: docs/offload-agreement-machine.md.

struct OffloadAgreement {
    private enum State {
        /// The tap gives what the driver takes.
        case agreed(Tap.Offloads)
        case apart(told: Tap.Offloads, taken: Tap.Offloads)

        init(told: Tap.Offloads, taken: Tap.Offloads) {
            self = told == taken ? .agreed(told) : .apart(told: told, taken: taken)
        }
    }
    private var state: State
    /// When the tap was told last, and how long it is not told again.
    private var last: Nanoseconds?
    static let shortest = Nanoseconds.milliseconds(100)

    enum Event {
        /// The driver takes these, or begins anew and takes none.
        case taken(Tap.Offloads)
        /// The guest has buffers, or the tap has frames.
        case frames(at: Nanoseconds)
    }

    enum Action: Equatable {
        case goOn
        /// What comes may be more than the driver takes.
        case drop
        /// And drop what waits in the tap, if that is still more.
        case tell(Tap.Offloads, dropsWaiting: Bool)
    }

    /// - Parameter told: what the tap was told for a guest before.
    init(told: Tap.Offloads) { state = State(told: told, taken: []) }

    var isReached: Bool { if case .agreed = state { true } else { false } }

    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.agreed(let told), .taken(let taken)), (.apart(let told, _), .taken(let taken)):
            state = State(told: told, taken: taken)
            return .goOn
        case (.agreed, .frames): return .goOn
        case (.apart(let told, let taken), .frames(let now)):
            let isLess = !told.isSubset(of: taken)
            if let last, now < last + Self.shortest { return isLess ? .drop : .goOn }
            last = now
            state = .agreed(taken)
            return .tell(taken, dropsWaiting: isLess)
        }
    }

    /// The state's name in the diagram.
    var stateName: StaticString { isReached ? "agreed" : "apart" }
}
