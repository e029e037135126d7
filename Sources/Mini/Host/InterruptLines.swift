// The 32 interrupt lines of a guest: which are pending, and which may be delivered now.
// There is no controller to acknowledge: the guest masks a line itself and unmasks it.
// Source: docs/abi/lguest.md §4.4, "Interrupt delivery".

/// Pending interrupts and the rule of their delivery.
struct InterruptLines {
    /// Line n arrives as this vector plus n.
    static let firstVector: UInt32 = 0x20

    private var pending: UInt32 = 0

    /// - Parameter line: one that exists.
    mutating func raise(_ line: InterruptLine) { pending |= 1 &<< line.rawValue }
    mutating func acknowledge(_ line: InterruptLine) { pending &= ~(1 &<< line.rawValue) }
    var isQuiet: Bool { pending == 0 }
    func isPending(_ line: InterruptLine) -> Bool { pending & (1 &<< line.rawValue) != 0 }

    /// What the guest's words and registers say.
    struct Conditions {
        /// Masked lines, a bit each.
        var blocked: UInt32
        var enabled: Bool
        var asleep: Bool
        var instruction: UInt32
        var quietCode: (start: UInt32, end: UInt32)
    }

    enum Decision: Equatable {
        /// Nothing is pending.
        case none
        /// Only masked lines are pending.
        case blocked
        /// A line is pending, but the guest has interrupts off or is inside its iret.
        case notNow
        case deliver(line: InterruptLine)
    }

    /// The lowest pending line that is not masked, if the guest can take it at this moment.
    /// The iret range is looked at before sleep: a sleeper inside it stays asleep.
    func decide(_ conditions: Conditions) -> Decision {
        guard pending != 0 else { return .none }
        let candidates = pending & ~conditions.blocked
        guard candidates != 0 else { return .blocked }
        let quiet = conditions.quietCode
        if conditions.instruction >= quiet.start && conditions.instruction < quiet.end {
            return .notNow
        }
        guard conditions.asleep || conditions.enabled else { return .notNow }
        return .deliver(line: InterruptLine(rawValue: UInt32(candidates.trailingZeroBitCount)))
    }
}
