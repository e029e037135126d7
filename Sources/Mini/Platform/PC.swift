// A PC at work: its processor and everything behind IN and OUT. Runs the guest until there is something to do that is not the
// PC's own: output for the console, a time in which nothing happens, a look at what others want, the end.
//
//     running ── OUT, IN ──> platform ──> running         running ── HLT, IF = 1 ──> halted
//     running ── INTR ──> INTA, vector injected           halted ── INTR ──> running
//     running ── HLT with IF = 0, triple fault, reset port, exit port ──> ended
//     halted ── no INTR can come any more ──> ended
//
// Source: docs/abi/pc.md §5, §6; Intel SDM volume 3, chapter 6.

final class PC {
    /// How a guest ends.
    enum End: Equatable {
        /// Halted for good.
        case poweredOff
        /// By a reset port or a triple fault, which is how kernels restart.
        case reset
        /// A program in it ended the machine with a code of its choice.
        case exit(UInt8)
        /// The processor cannot go on, for a reason of its own.
        case failed(UInt32)
    }

    /// Why `run` came back.
    enum Stop: Equatable {
        /// There is output to take.
        case output
        /// Nothing happens until then, or until a device does something; nil for no time.
        case idle(until: Nanoseconds?)
        /// The moment to look has come.
        case look
        /// A signal waits.
        case signal
        case ended(End)
    }

    let platform: PCPlatform
    private let processor: any GuestProcessor
    private let clock: () -> Nanoseconds
    private var isHalted = false
    /// A program ran, which nobody has asked for since.
    private var hasRun = false
    private var end: End?
    /// When the guest was to go on, if there is such a moment.
    private var due: Nanoseconds?
    /// A run that goes on so much later was stopped in between: by a write that waits, a disk, job control.
    private static let stop = Nanoseconds.milliseconds(1000)

    init(
        _ processor: any GuestProcessor, _ platform: PCPlatform,
        clock: @escaping () -> Nanoseconds = Clock.monotonic
    ) {
        self.processor = processor
        self.platform = platform
        self.clock = clock
    }

    /// What its processor does not have and was wanted last.
    var missing: MissingInstruction? { processor.missing }

    /// It runs a program now, as far as its processor tells that.
    var isInProgram: Bool { processor.privilege == 3 }

    /// Whether a program ran since this was asked before; nil if its processor does not tell.
    func ranProgram() -> Bool? {
        defer { hasRun = false }
        return processor.ranProgram().map { $0 || hasRun }
    }

    /// How long it should run without a look at the devices.
    var longestStretch: Nanoseconds { processor.longestStretch }

    /// Time passed in which the guest did not run.
    func resume() { processor.resume(at: clock()) }

    /// The guest has done next to nothing for a while.
    func rest() throws(Errno) { try processor.rest() }

    /// Runs the guest.
    /// - Parameter look: when to come back at the latest.
    func run(until look: Nanoseconds) -> Stop {
        var now = clock()
        while true {
            if let end { return .ended(end) }
            // What was said before the end is worth more than the end.
            if platform.serial.isOutputDue { return .output }
            if let due, now - due > Self.stop { processor.tellStop() }
            due = now
            platform.advance(to: now)
            deliverInterrupt()
            if isHalted {
                if !platform.serial.output.isEmpty { return .output }
                // Linux masks all when it is to power off; where reboot(2) did not ask for that, it idles then.
                if platform.isDeaf {
                    end = .poweredOff
                    continue
                }
                // One that does not tell is never late.
                let ran = processor.ranProgram() ?? true
                hasRun = hasRun || ran
                due = platform.wakeTime(at: now, ranProgram: ran)
                return .idle(until: due)
            }
            if now >= look { return platform.serial.output.isEmpty ? .look : .output }
            let event = platform.nextEvent
            let exit = processor.run(until: event.map { min($0, look) } ?? look, atMost: nil)
            // Once for each exit: it is a system call.
            now = clock()
            if let stop = handle(exit, at: now) { return stop }
            if let ended = platform.end {
                end =
                    switch ended {
                    case .reset: .reset
                    case .exit(let code): .exit(code)
                    }
            }
            if end != nil && !platform.serial.output.isEmpty { return .output }
        }
    }

    private func deliverInterrupt() {
        let isRequested = platform.isInterruptRequested
        if isRequested && processor.canInject {
            processor.inject(platform.acknowledgeInterrupt(), errorCode: 0)
            isHalted = false
            processor.awaitsInterruptWindow = platform.isInterruptRequested
        } else {
            processor.awaitsInterruptWindow = isRequested
        }
    }

    /// - Returns: nil to go on.
    private func handle(_ exit: ProcessorExit, at now: Nanoseconds) -> Stop? {
        switch exit {
        case .portInput(let access):
            processor.answer(UInt64(platform.input(access, at: now)))
        case .portOutput(let access, let value): platform.output(access, value, at: now)
        // Where no memory is, reads give ones.
        case .memoryRead: processor.answer(.max)
        case .memoryWrite: break
        case .halt(interruptsEnabled: true): isHalted = true
        case .halt(interruptsEnabled: false): end = .poweredOff
        case .shutdown: end = .reset
        case .signal: return .signal
        case .failed(let code): end = .failed(code)
        case .interruptWindow, .deadline, .stretchEnded: break
        // A PC's processor has no page rules and no traps of a host's.
        case .trap, .refusedDirectoryEntry, .refusedMiddleEntry, .refusedTableEntry:
            end = .failed(.max)
        }
        return nil
    }
}

extension SerialPort {
    /// Enough output for a write, or a line.
    fileprivate var isOutputDue: Bool { output.count >= 256 || output.last == 0x0A }
}
