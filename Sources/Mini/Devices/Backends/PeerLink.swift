// The way of a frame from one guest to another: the sender's end of the connection between
// their hosts. It is made when there is a frame to send, and made anew once if the other end
// was restarted. A receiver that does not read makes its sender wait for a short while once, and not
// again before it has read: a guest that hangs must not slow down the others.
//
//   apart -- frame --> connecting -- connected --> sending -- sent --> clear -- frame --> sending
//     ^                 |      ^                    |   | |
//     +---- refused ----+      +------ gone --------+   | +-- full --> waiting
//     (a second gone in a row goes there, too)          |               |   |
//                                                   (again)   room -----+   +-- time out --> clogged
//   clogged -- frame, waiting -- room --> retrying -- sent --> clear
//                                         retrying -- full --> clogged
//
// Source: docs/abi/lguest.md §5.1 (SEND_DMA with a shared key).
// The same as a page: docs/peer-link-machine.md.

/// Decides what becomes of a frame for another guest.
struct PeerLink {
    private enum State {
        case apart
        case connecting
        /// `fresh`: the connection was made for this frame.
        case sending(fresh: Bool)
        case waiting
        case retrying
        case clear
        case clogged
    }
    private var state = State.apart

    enum Event: CaseIterable {
        /// The guest has a frame.
        case frame
        case connected, refused
        case sent
        /// The other end has too much unread.
        case full
        /// The other end is not there any more.
        case gone
        /// The other end has read, or has not for as long as we wait.
        case room, timeOut
    }

    enum Action: Equatable {
        case none
        case connect
        case send
        case waitForRoom
        /// The frame has arrived, or is lost.
        case finish(delivered: Bool)
    }

    /// Takes an event. One that does not belong to the state changes nothing.
    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.apart, .frame): return go(.connecting, .connect)
        case (.connecting, .connected): return go(.sending(fresh: true), .send)
        case (.connecting, .refused): return go(.apart, .finish(delivered: false))
        case (.clear, .frame): return go(.sending(fresh: false), .send)
        case (.clogged, .frame): return go(.retrying, .send)
        case (.sending, .sent), (.retrying, .sent): return go(.clear, .finish(delivered: true))
        case (.sending, .full): return go(.waiting, .waitForRoom)
        case (.waiting, .room): return go(.retrying, .send)
        case (.waiting, .timeOut), (.retrying, .full):
            return go(.clogged, .finish(delivered: false))
        case (.sending(fresh: false), .gone): return go(.connecting, .connect)
        case (.sending, .gone), (.retrying, .gone):
            return go(.apart, .finish(delivered: false))
        default: return .none
        }
    }

    private mutating func go(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    var isApart: Bool {
        if case .apart = state { true } else { false }
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .apart: "apart"
        case .connecting: "connecting"
        case .sending: "sending"
        case .waiting: "waiting"
        case .retrying: "retrying"
        case .clear: "clear"
        case .clogged: "clogged"
        }
    }
}
