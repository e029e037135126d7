// The way of a frame from one guest to another: the sender's end of the connection between
// their hosts. It is made when there is a frame to send, and made anew once if the other end
// was restarted. A receiver that does not read makes its sender wait for a short while once, and not
// again before it has read: a guest that hangs must not slow down the others.
//
//   apart -- frame --> connecting -- connected --> sending -- sent --> clear -- frame --> sending
//     ^                 |      ^                    |   | |
//   heard               |      +------ gone --------+   | +-- full --> waiting
//     |                 |                               |               |   |
//   resting <- refused -+                            (again)   room ----+   +-- time out --> clogged
//     -- frame, later --> connecting
//   clogged -- frame, waiting -- room --> retrying -- sent --> clear
//                                         retrying -- full --> clogged
//   connecting -- full --> apart
//
// Where a connection is gone that was made for this frame, the link rests as well: there is no receiver. One that is older
// leaves nothing but apart, and is made anew while the frame has not waited.
//
// Source: docs/abi/lguest.md §5.1 (SEND_DMA with a shared key).
// The same as a page: docs/peer-link-machine.md.

/// Decides what becomes of a frame for another guest.
struct PeerLink {
    /// `fresh`: the connection was made for this frame.
    private enum State {
        case apart
        /// There was no receiver.
        case resting(until: Nanoseconds)
        case connecting
        case sending(fresh: Bool)
        case waiting(fresh: Bool)
        case retrying(fresh: Bool)
        case clear
        case clogged
    }
    private var state = State.apart

    /// How long frames are dropped without a try after one found no receiver: anybody on the network can write that he has
    /// every slot, and a try takes several calls.
    static let pause = Nanoseconds.milliseconds(50)

    enum Event: CaseIterable {
        /// The guest has a frame.
        case frame
        case connected, refused
        case sent
        /// The other end has too much unread; or its queue of connections is full.
        case full
        /// The other end is not there any more.
        case gone
        /// The other end has read, or has not for as long as we wait.
        case room, timeOut
        /// There is no frame after all: the guest is dead.
        case givenUp
        /// The other end has come to us or sent something, so it is there.
        case heard
    }

    enum Action: Equatable {
        case connect
        case send
        case waitForRoom
        /// The frame has arrived, or is lost.
        case finish(delivered: Bool)
        /// The frame is lost, without a try.
        case skip
        /// Nothing before the next frame.
        case forget
    }

    /// Takes an event.
    /// - Parameter now: the clock's moment, read where it matters.
    /// - Returns: the next action; nil, and no change, if the event does not belong to the state.
    mutating func handle(_ event: Event, at now: @autoclosure () -> Nanoseconds) -> Action? {
        switch (state, event) {
        case (.apart, .frame): return go(.connecting, .connect)
        case (.resting(let moment), .frame):
            return now() < moment ? .skip : go(.connecting, .connect)
        case (.resting, .heard): return go(.apart, .forget)
        case (.connecting, .connected): return go(.sending(fresh: true), .send)
        case (.connecting, .refused): return lose(since: now())
        // It is there: a process that fills its queue of connections must not keep others away for longer than a frame.
        case (.connecting, .full): return go(.apart, .finish(delivered: false))
        case (.clear, .frame): return go(.sending(fresh: false), .send)
        case (.clogged, .frame): return go(.retrying(fresh: false), .send)
        case (.sending, .sent), (.retrying, .sent): return go(.clear, .finish(delivered: true))
        case (.sending(let fresh), .full): return go(.waiting(fresh: fresh), .waitForRoom)
        case (.waiting(let fresh), .room): return go(.retrying(fresh: fresh), .send)
        case (.waiting, .timeOut), (.retrying, .full), (.retrying, .givenUp):
            return go(.clogged, .finish(delivered: false))
        case (.sending, .givenUp): return go(.clear, .finish(delivered: false))
        case (.sending(fresh: false), .gone): return go(.connecting, .connect)
        case (.retrying(fresh: false), .gone): return go(.apart, .finish(delivered: false))
        case (.sending, .gone), (.retrying, .gone): return lose(since: now())
        default: return nil
        }
    }

    private mutating func lose(since now: Nanoseconds) -> Action {
        go(.resting(until: now + Self.pause), .finish(delivered: false))
    }

    private mutating func go(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .apart: "apart"
        case .resting: "resting"
        case .connecting: "connecting"
        case .sending: "sending"
        case .waiting: "waiting"
        case .retrying: "retrying"
        case .clear: "clear"
        case .clogged: "clogged"
        }
    }
}
