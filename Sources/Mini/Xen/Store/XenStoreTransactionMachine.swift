// A transaction: requests of which the store takes all or none. When another client changed what
// they touched, the store answers the end with EAGAIN and everything begins again, until the
// deadline. When one of the requests fails, the transaction is abandoned before that is told.
//
//   starting -- started --> open -- performed --> committing -- committed --> ended
//   committing -- conflict --> starting
//   committing -- conflict, late --> ended
//   starting, open, committing -- failed --> ended
//
// Source: docs/abi/xen-grants.md §7. The same as a page: docs/xenstore-transaction-machine.md.

/// Says what a transaction's driver has to do next.
struct StoreTransactionMachine {
    private enum State {
        case starting
        case open(UInt32)
        case committing(UInt32)
        case ended
    }
    private var state = State.starting

    enum Event: Equatable {
        /// The store gave the transaction this number.
        case started(UInt32)
        /// All of its requests were done, or one was not.
        case performed, failed
        case committed
        /// The store cannot take the changes: another client was first.
        case conflict(isLate: Bool)
    }

    enum Action: Equatable {
        case start
        case perform(UInt32)
        /// End it with its changes.
        case commit(UInt32)
        /// End it without them, whatever becomes of that.
        case abandon(UInt32)
        /// The store has nothing of it any more.
        case finish
    }

    /// - Returns: nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.starting, .started(let number)): enter(.open(number), .perform(number))
        case (.open(let number), .performed): enter(.committing(number), .commit(number))
        case (.open(let number), .failed): enter(.ended, .abandon(number))
        case (.committing, .conflict(isLate: false)): enter(.starting, .start)
        case (.committing, .committed), (.committing, .conflict), (.committing, .failed),
            (.starting, .failed):
            enter(.ended, .finish)
        default: nil
        }
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .starting: "starting"
        case .open: "open"
        case .committing: "committing"
        case .ended: "ended"
        }
    }
}
