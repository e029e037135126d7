// One request to the store at a time, on a connection that also carries watch events whenever it
// likes. A reply is known by its kind and number; older kernels answer WATCH and UNWATCH
// with the number 0. A reply that came too late is awaited before anything else is asked, and dropped. A
// connection on which a reply to no request comes is not used again: it could not be told what the next message
// belongs to.
//
//   idle -- asked --> awaiting -- reply, refusal --> idle
//   idle, awaiting, overdue -- watch event --> (the same)
//   awaiting -- late --> overdue -- reply, refusal --> idle
//   idle, awaiting, overdue -- stray, ended --> lost
//
// Source: docs/abi/xen-grants.md §7. The same as a page: docs/xenstore-request-machine.md.

/// Matches what arrives with what was asked.
struct StoreRequestMachine {
    private enum State {
        case idle
        case awaiting(StoreMessageType, number: UInt32, transaction: UInt32)
        /// The reply is not waited for any more.
        case overdue(StoreMessageType, number: UInt32)
        case lost
    }
    private var state = State.idle
    /// The last request's number. 0 is never used: watch events have it.
    private var number: UInt32 = 0

    enum Event: Equatable {
        case asked(StoreRequest, transaction: UInt32)
        case received(StoreMessage)
        /// The deadline passed.
        case late
        /// The connection ended or failed, or what arrived is no message.
        case ended
    }

    enum Action: Equatable {
        case send(StoreMessage)
        case deliver(StoreMessage)
        /// The store says no.
        case refuse(StoreRefusal)
        /// Something at this path or below changed; or nothing did, and the watch is new.
        case note(path: Text)
        /// The reply is still to come.
        case remember
        /// The late reply has come: drop it.
        case forget
        /// Give up the connection.
        case giveUp
    }

    /// - Returns: nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.idle, .asked(let request, let transaction)):
            number = number &+ 1 == 0 ? 1 : number &+ 1
            state = .awaiting(request.type, number: number, transaction: transaction)
            return .send(
                StoreMessage(
                    type: request.type.rawValue, request: number, transaction: transaction,
                    payload: request.payload))
        case (.lost, _): return nil
        case (_, .received(let message))
        where message.type == StoreMessageType.watchEvent.rawValue:
            let strings = message.strings
            guard strings.count >= 2 else { return giveUp() }
            return .note(path: strings[0])
        case (.awaiting(let type, let number, _), .received(let message)):
            guard Self.answers(message, type, number) else { return giveUp() }
            state = .idle
            guard message.type == StoreMessageType.error.rawValue else {
                return .deliver(message)
            }
            return .refuse(StoreRefusal(name: message.strings.first ?? Text()))
        case (.awaiting(let type, let number, _), .late):
            state = .overdue(type, number: number)
            return .remember
        case (.overdue(let type, let number), .received(let message)):
            guard Self.answers(message, type, number) else { return giveUp() }
            state = .idle
            return .forget
        case (_, .ended), (.idle, .received): return giveUp()
        case (.awaiting, .asked), (.overdue, .asked), (.idle, .late), (.overdue, .late): return nil
        }
    }

    private static func answers(
        _ message: StoreMessage, _ type: StoreMessageType, _ number: UInt32
    ) -> Bool {
        let isOfKernel = (type == .watch || type == .unwatch) && message.request == 0
        return (message.request == number || isOfKernel)
            && (message.type == type.rawValue
                || message.type == StoreMessageType.error.rawValue)
    }

    private mutating func giveUp() -> Action {
        state = .lost
        return .giveUp
    }

    /// Whether a reply came too late, and has not come yet.
    var isOverdue: Bool { if case .overdue = state { true } else { false } }
    var isLost: Bool { if case .lost = state { true } else { false } }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .idle: "idle"
        case .awaiting: "awaiting"
        case .overdue: "overdue"
        case .lost: "lost"
        }
    }
}
