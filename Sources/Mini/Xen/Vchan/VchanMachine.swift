// Two streams through a vchan: from our input to the other end, and from there to our output. Each
// stops on its own; when both have, or the other end is gone, the pipe ends. A vchan knows only
// whole ends, which come and leave; that one direction has finished is told by a bit of our own
// (VchanView), so with a peer on libxenvchan only leaving ends what it sends.
//
//   offered -- peer came --> relaying
//   relaying -- input ended --> receiving, -- peer finished --> sending
//   receiving -- peer finished, patience over --> finishing
//   sending -- input ended --> finishing
//   finishing -- taken --> ended
//   offered, relaying, receiving, sending, finishing -- peer left --> draining
//   draining -- drained --> ended
//   relaying, receiving, sending, finishing -- peer replaced --> ended
//   every state but ended -- output closed, stopped, broken --> ended
//
// Source: docs/abi/xen-grants.md §8. The same as a page: docs/vchan-machine.md.

/// What is known of both directions when the other end has left.
struct VchanDeparture: Equatable {
    /// What the other end said of the bytes that it had to send.
    enum Word { case sentAll, nothing, cannotSay }
    var word: Word
    /// How many bytes of ours it did not take.
    var untaken: UInt32
    /// Our input was not at its end: the rest of it is not sent.
    var leavesInput: Bool

    /// True if bytes of either direction are known not to have arrived.
    var isLoss: Bool { word == .nothing || untaken > 0 || leavesInput }
}

/// How a pipe ended.
enum VchanOutcome: Equatable {
    /// Both directions finished, and the other end took all.
    case done
    /// The other end left.
    case left(VchanDeparture)
    /// Another program has taken the other end's place in the same rings, and says so.
    case replaced
    /// Our output has no reader any more.
    case outputClosed
    case stopped(Signal)
    /// The other end's indices are impossible.
    case broken
}

/// Says what a pipe's driver has to do.
struct VchanMachine {
    private enum State {
        case offered, relaying, receiving, sending, finishing
        case draining(VchanDeparture)
        case ended
    }
    private var state: State

    enum Event: Equatable {
        case peerCame
        case inputEnded
        /// The other end sends nothing more, and what it sent is written.
        case peerFinished
        case peerLeft(VchanDeparture)
        /// It left, and the next one came, between two looks.
        case peerReplaced
        /// What the other end had sent is written.
        case drained
        /// What we sent was taken.
        case taken
        /// Enough waiting for what the other end might still send.
        case patienceOver
        case outputClosed
        case stopped(Signal)
        case broken
    }

    enum Action: Equatable {
        case relay
        /// Tell the other end that we send nothing more.
        case finishSending
        /// The reader of our output may see its end.
        case endOutput
        case end(VchanOutcome)
    }

    /// A client finds its server there; a server waits for its client.
    init(_ role: VchanRole) { state = role == .client ? .relaying : .offered }

    /// True while the input is read.
    var readsInput: Bool {
        switch state {
        case .relaying, .sending: true
        default: false
        }
    }
    /// True while it is not known that the input has ended.
    var awaitsInput: Bool { if case .offered = state { true } else { readsInput } }
    /// True while what comes is written.
    var writesOutput: Bool {
        switch state {
        case .relaying, .receiving, .draining: true
        default: false
        }
    }
    var isReceiving: Bool { if case .receiving = state { true } else { false } }
    var isFinishing: Bool { if case .finishing = state { true } else { false } }
    var isDraining: Bool { if case .draining = state { true } else { false } }

    /// - Returns: nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.ended, _): return nil
        case (_, .outputClosed): return end(.outputClosed)
        case (_, .stopped(let signal)): return end(.stopped(signal))
        case (_, .broken): return end(.broken)
        case (.offered, .peerCame): return enter(.relaying, .relay)
        case (.relaying, .inputEnded): return enter(.receiving, .finishSending)
        case (.relaying, .peerFinished): return enter(.sending, .endOutput)
        case (.receiving, .peerFinished): return enter(.finishing, .endOutput)
        case (.receiving, .patienceOver): return enter(.finishing, .relay)
        case (.sending, .inputEnded): return enter(.finishing, .finishSending)
        case (.finishing, .taken): return end(.done)
        case (.draining(let departure), .drained): return end(.left(departure))
        case (.draining, _), (.offered, .peerReplaced): return nil
        case (_, .peerReplaced): return end(.replaced)
        case (_, .peerLeft(let departure)): return enter(.draining(departure), .relay)
        default: return nil
        }
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    private mutating func end(_ outcome: VchanOutcome) -> Action {
        state = .ended
        return .end(outcome)
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .offered: "offered"
        case .relaying: "relaying"
        case .receiving: "receiving"
        case .sending: "sending"
        case .finishing: "finishing"
        case .draining: "draining"
        case .ended: "ended"
        }
    }
}
