// The life of one end of an event channel, from when its port is bound. The driver (EventChannel.swift) does
// what the machine says and tells it how that went.
//
//   bound -- arrived --> pending -- acknowledged --> bound
//   bound -- overflowed --> overflowed -- reset --> pending
//   bound, pending, overflowed -- finished --> unbound
//
// The kernel masks a port when it delivers an event, and no second one comes until the port is
// written back. When its ring has overflowed, it is unknown which ports it lost: resetting it
// empties it, and the port must be taken for one of them.
//
// Source: docs/abi/xen-grants.md §6. The same as a page: docs/event-machine.md.

/// Says what the driver of an event channel has to do next.
struct EventMachine {
    private enum State { case bound, pending, overflowed, unbound }
    private var state = State.bound

    enum Event: Equatable {
        /// The port was read from the device.
        case arrived
        case acknowledged
        /// The device says that its ring had no room.
        case overflowed
        case reset
        /// The channel is not needed any more.
        case finished
    }

    enum Action: Equatable {
        /// The channel can be used: an event can come, or be sent.
        case use
        /// Lets the next event through; then the one that came is told.
        case acknowledge
        case reset
        /// Nothing is held any more, or the device's end takes it along.
        case end
    }

    /// Takes the result of the last action.
    /// - Returns: the next action; nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.bound, .arrived): enter(.pending, .acknowledge)
        case (.pending, .acknowledged): enter(.bound, .use)
        case (.bound, .overflowed): enter(.overflowed, .reset)
        case (.overflowed, .reset): enter(.pending, .acknowledge)
        case (.bound, .finished), (.pending, .finished), (.overflowed, .finished):
            enter(.unbound, .end)
        default: nil
        }
    }

    /// What is to be done before the channel can be used again, after something failed.
    var unfinished: Action? {
        switch state {
        case .pending: .acknowledge
        case .overflowed: .reset
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
        case .bound: "bound"
        case .pending: "pending"
        case .overflowed: "overflowed"
        case .unbound: "unbound"
        }
    }
}
