// Notices that a kernel before 3.10 has stopped for good. Later ones halt with interrupts off, which is the end of a PC. Some
// before 3.10 halt with interrupts on, after a last line that says so. Programs can print that line as well: so it counts only
// if nothing is printed after it, and next to no processor time is used for three seconds.
//
//   listening -- its last line --> halting -- waits, for long --> off
//   halting -- other words --> listening
//
// Source: docs/abi/pc.md §6; the lines are kernel/sys.c's, of kernel_halt and, before 2.6.13, of sys_reboot. The same as a page:
// docs/kernel-halt-machine.md.

struct KernelHalt {
    private enum State {
        case listening
        /// How much it has done since its last line.
        case halting(Slumber)
        case off
    }
    private var state = State.listening

    enum Action: Equatable {
        /// Serve it.
        case goOn
        /// The same, and look again after so long, if it still does nothing.
        case lookAgain(after: Nanoseconds)
        case powerOff
    }

    /// - Parameter version: nil if the kernel does not name one.
    /// - Returns: nil for a kernel that is seen to halt.
    init?(of version: LinuxVersion?) {
        guard let version, !version.isAtLeast(3, 10) else { return nil }
    }

    /// True for good once it has stopped.
    var isOff: Bool {
        if case .off = state { return true }
        return false
    }

    /// The guest said something.
    /// - Parameter isHalt: whether that ends with the line that tells its halt.
    mutating func hear(isHalt: Bool) {
        if !isOff { state = isHalt ? .halting(Slumber()) : .listening }
    }

    /// It waits for an interrupt.
    /// - Parameters: those of `Slumber.waits`.
    mutating func waits(at now: Nanoseconds, _ spent: @autoclosure () -> Nanoseconds) -> Action {
        switch state {
        case .listening: return .goOn
        case .off: return .powerOff
        case .halting(var slumber):
            let isLong = slumber.waits(at: now, spent())
            state = isLong ? .off : .halting(slumber)
            return isLong ? .powerOff : .lookAgain(after: Slumber.period)
        }
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .listening: "listening"
        case .halting: "halting"
        case .off: "off"
        }
    }
}
