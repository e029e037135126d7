// The receive buffers that a guest bound to keys. A key is a guest-physical address that
// stands for a device; the launcher asks by key for a buffer to fill.
// Source: docs/abi/lguest.md §1.4, §5.1.

/// Up to 32 bindings of one guest.
struct DmaBindings {
    /// An array of buffers under one key.
    struct Binding: Equatable {
        var key: DMAKey
        /// Guest-physical address of `count` records; looked at when a buffer is wanted.
        var buffers: UInt32
        var count: UInt16
        /// Interrupt line, 1…31.
        var line: InterruptLine
    }

    static let limit = 32

    /// Newest first: that is the order in which a key is looked up.
    private var bindings: [Binding] = []

    /// BIND_DMA. Line 0 takes the binding of this key and array away.
    /// - Parameter code: number of buffers (16 bits) and, in the low byte, the line.
    /// - Returns: whether the guest is told 1.
    mutating func bind(key: DMAKey, buffers: UInt32, code: UInt32) -> Bool {
        let line = code & 0xFF
        if line == 0 {
            // The original goes through its slots, where the oldest comes first.
            let found = bindings.lastIndex { $0.key == key && $0.buffers == buffers }
            guard let found else { return false }
            bindings.remove(at: found)
            return true
        }
        guard bindings.count < Self.limit else { return false }
        bindings.insert(
            Binding(
                key: key, buffers: buffers, count: UInt16(truncatingIfNeeded: code >> 8),
                line: InterruptLine(rawValue: line)), at: 0)
        return true
    }

    /// True if the line of a BIND_DMA code exists; asked before the key is looked at.
    static func hasLine(_ code: UInt32) -> Bool {
        InterruptLine(rawValue: code & 0xFF).exists
    }

    /// The newest binding of a key.
    subscript(key: DMAKey) -> Binding? { bindings.first { $0.key == key } }
}
