// One receive buffer of a guest driver, as its host and launcher have it. All that the two sides
// share of this state is one word in guest memory, used_len; the machine says what to write there.
// docs/dma-machine.md has the diagram.
//
//     free → lent (used_len = line) → filled (used_len = bytes); the guest frees it
//
// Source: docs/abi/lguest.md §1.4, §5.1.

/// State of one `lguest_dma` record that a guest bound.
struct DmaBuffer: Equatable {
    private enum State: String {
        case free
        /// The launcher has it; the interrupt line stands in used_len.
        case lent
        /// Data and their length are in place. The guest clears used_len when it has read everything.
        case filled
    }
    private var state: State

    /// As found in guest memory: 0 marks a free buffer, anything else one in use.
    init(usedLength: UInt32) { state = usedLength == 0 ? .free : .filled }

    private init(_ state: State) { self.state = state }

    /// As GETDMA handed it out.
    static var lent: DmaBuffer { DmaBuffer(.lent) }

    var isFree: Bool { state == .free }

    /// The state's name in the diagram.
    var stateName: String { state.rawValue }

    /// GETDMA finds the buffer.
    /// - Returns: the word for used_len; nil if the buffer is in use: look at the next one.
    mutating func lend(line: InterruptLine) -> UInt32? {
        guard state == .free else { return nil }
        state = .lent
        return line.rawValue
    }

    /// The launcher has put data in. A length of 0 tells the guest that there are none.
    /// - Returns: the word for used_len; nil if the buffer was not lent.
    mutating func fill(count: UInt32) -> UInt32? {
        guard state == .lent else { return nil }
        state = .filled
        return count
    }
}
