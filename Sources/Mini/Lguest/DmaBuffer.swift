// One receive buffer of a guest driver, on its way through the launcher and back. All that
// the two sides share of this state is one word in guest memory, used_len; the machine says
// what to write there and when to interrupt. docs/dma-machine.md has the diagram.
//
//     free → lent (used_len = line) → filled (used_len = bytes) → raised → free (by the guest)
//
// Source: docs/abi/lguest.md §1.4, §5.1.

/// State of one `lguest_dma` record that a guest bound.
struct DmaBuffer: Equatable {
    private enum State: Equatable {
        case free
        /// The launcher has it; the interrupt line stands in used_len.
        case lent(line: UInt32)
        /// The data and their length are in place, the guest does not know yet.
        case filled(line: UInt32)
        /// The guest was told; it clears used_len when it has read everything.
        case raised
    }
    private var state: State

    /// The state's name, as the page in docs/ has it.
    enum Phase: String { case free, lent, filled, raised }

    var phase: Phase {
        switch state {
        case .free: .free
        case .lent: .lent
        case .filled: .filled
        case .raised: .raised
        }
    }

    /// What the owner of the machine does to guest memory or to the guest.
    enum Action: Equatable {
        case none
        case setUsedLength(UInt32)
        case interrupt(line: UInt32)
    }

    /// As found in guest memory: 0 marks a free buffer, anything else one in use.
    init(usedLength: UInt32) { state = usedLength == 0 ? .free : .raised }

    /// As GETDMA handed it out.
    init(lentWith line: UInt32) { state = .lent(line: line) }

    /// GETDMA finds the buffer.
    /// - Returns: none if it is in use: look at the next one.
    mutating func lend(line: UInt32) -> Action {
        guard case .free = state else { return .none }
        state = .lent(line: line)
        return .setUsedLength(line)
    }

    /// The launcher has put data in. A length of 0 tells the guest that there are none.
    mutating func fill(count: UInt32) -> Action {
        guard case .lent(let line) = state else { return .none }
        state = .filled(line: line)
        return .setUsedLength(count)
    }

    /// The launcher gives the buffer back.
    mutating func raise() -> Action {
        guard case .filled(let line) = state else { return .none }
        state = .raised
        return .interrupt(line: line)
    }

    /// The guest has read everything and cleared used_len.
    mutating func consumed() {
        if case .raised = state { state = .free }
    }
}
