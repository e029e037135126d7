// A transaction: requests of which the store takes all or none. When somebody else changed what
// they touched, the store answers the end with EAGAIN and everything begins again, until the
// deadline. When one of the requests fails, the transaction is abandoned before that is told.
//
//   starting -- started --> open -- performed --> committing -- committed --> ended(done)
//   committing -- conflict --> starting
//   committing -- conflict, late --> ended(late)
//   open -- failed --> abandoning -- abandoned, failed --> ended(failed)
//   starting, committing -- failed --> ended(failed)
//
// Source: docs/abi/xen-grants.md §7. The same as a page: docs/xenstore-transaction-machine.md.

/// Says what a transaction's driver has to do next.
struct StoreTransactionMachine {
    private enum State {
        case starting
        case open(UInt32)
        case committing(UInt32)
        case abandoning
        case ended
    }
    private var state = State.starting

    enum Event: Equatable {
        /// The store gave the transaction this number.
        case started(UInt32)
        /// All of its requests were done, or one was not.
        case performed, failed
        case committed
        /// The store cannot take the changes: somebody else was there before.
        case conflict(isLate: Bool)
        case abandoned
    }

    enum Action: Equatable {
        case start
        case perform(UInt32)
        /// End it, with its changes or without.
        case commit(UInt32)
        case abandon(UInt32)
        case finish(Outcome)
    }

    enum Outcome: Equatable { case done, late, failed }

    /// What comes first.
    static let beginning = Action.start

    /// - Returns: nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.starting, .started(let number)): enter(.open(number), .perform(number))
        case (.open(let number), .performed): enter(.committing(number), .commit(number))
        case (.open(let number), .failed): enter(.abandoning, .abandon(number))
        case (.committing, .committed): end(.done)
        case (.committing, .conflict(let isLate)):
            isLate ? end(.late) : enter(.starting, .start)
        case (.abandoning, .abandoned), (.abandoning, .failed), (.starting, .failed),
            (.committing, .failed):
            end(.failed)
        default: nil
        }
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    private mutating func end(_ outcome: Outcome) -> Action {
        state = .ended
        return .finish(outcome)
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .starting: "starting"
        case .open: "open"
        case .committing: "committing"
        case .abandoning: "abandoning"
        case .ended: "ended"
        }
    }
}
