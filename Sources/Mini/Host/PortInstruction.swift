// The few instructions that the host carries out for a guest kernel: port input and output,
// which probing drivers do. Nothing is there: input reads all ones. The odd treatment of the
// prefix is the original's. Source: docs/abi/lguest.md §4.5.
//
// One output is heard: a guest of these eras has no call that asks for a reboot, its kernel
// pulls the reset line of a PC's keyboard controller. The original ignores that, too, and the
// guest tries again for ever. Source: the kernels' mach_reboot(), 2.6.23.

/// A decoded `in` or `out`.
struct PortInstruction: Equatable {
    /// Length in bytes, prefix included.
    let count: UInt32
    private let isInput: Bool
    private let isWide: Bool
    private let hasPrefix: Bool
    /// The port, where the instruction itself names it.
    private let immediate: UInt8?

    /// - Parameter byte: reads the n-th byte of the instruction; nil if it is not mapped.
    /// - Returns: nil for any other instruction.
    init?(_ byte: (UInt32) -> UInt8?) {
        guard let first = byte(0) else { return nil }
        hasPrefix = first == 0x66
        guard let opcode = hasPrefix ? byte(1) : first else { return nil }
        let length: UInt32
        switch opcode & 0xFE {
        case 0xE4: (length, isInput) = (2, true)
        case 0xEC: (length, isInput) = (1, true)
        case 0xE6: (length, isInput) = (2, false)
        case 0xEE: (length, isInput) = (1, false)
        default: return nil
        }
        isWide = opcode & 1 != 0
        count = length + (hasPrefix ? 1 : 0)
        immediate = length == 2 ? byte(count - 1) : nil
    }

    /// True if this pulls the reset line: command 0xFE to port 0x64.
    func isReset(eax: UInt32, edx: UInt32) -> Bool {
        let port = immediate.map { UInt16($0) } ?? UInt16(truncatingIfNeeded: edx)
        return !isInput && !isWide && port == 0x64 && UInt8(truncatingIfNeeded: eax) == 0xFE
    }

    /// What the instruction leaves in eax.
    func result(_ eax: UInt32) -> UInt32 {
        if !isInput { return eax }
        if isWide { return 0xFFFF_FFFF }
        return eax | (hasPrefix ? 0xFFFF_0000 : 0x0000_FFFF)
    }
}
