// The life of a guest as /dev/lguest shows it: which verb is allowed when, with which
// errno, and how a call of run() goes on and ends. docs/guest-machine.md has the diagram.
//
//     new → stopped ⇄ running ⇄ halted      running → notifying(record) → running
//               ⇅         (sleeping)         any → dead(reason) → closed
//           brokenOut ⇄ draining             (draining: run() under a break serves calls only)
//
// Source: docs/abi/lguest.md §1.2 (order of checks), §1.3, §1.5, §1.6. The rule that only
// the initialising thread may call is not here: a built-in guest has one thread.

/// State and rules of one guest; makes no system call and runs no guest code.
struct GuestMachine: Equatable {
    private enum State: Equatable {
        case new
        /// Initialised, the launcher has control; `asleep`: the guest waits for an interrupt.
        case stopped(asleep: Bool)
        /// As stopped, with the break level on: run() ends before any guest code.
        case brokenOut(asleep: Bool)
        /// Inside run() with the break level on.
        case draining(asleep: Bool)
        /// Inside run(), guest code may run.
        case running
        /// Inside run(), waiting for an interrupt.
        case halted
        /// A record is with the launcher, until it calls run() again.
        case notifying(DMANotification, asleep: Bool, brokenOut: Bool)
        case dead(DeathReason, whileDraining: Bool)
        case closed
    }
    private var state = State.new
    /// The state in which something came that cannot come there, whatever the guest does: a defect of mini.
    private(set) var defect: Phase?

    /// The state's name, as the page in docs/ has it.
    enum Phase: String {
        case new, stopped, brokenOut, draining, running, halted, notifying, dead, closed

        /// The same as a word of the program's own.
        var name: StaticString {
            switch self {
            case .new: "new"
            case .stopped: "stopped"
            case .brokenOut: "brokenOut"
            case .draining: "draining"
            case .running: "running"
            case .halted: "halted"
            case .notifying: "notifying"
            case .dead: "dead"
            case .closed: "closed"
            }
        }
    }

    var phase: Phase {
        switch state {
        case .new: .new
        case .stopped: .stopped
        case .brokenOut: .brokenOut
        case .draining: .draining
        case .running: .running
        case .halted: .halted
        case .notifying: .notifying
        case .dead: .dead
        case .closed: .closed
        }
    }

    // MARK: - Verbs of the launcher

    /// INITIALIZE. A dead guest answers first, then a second INITIALIZE is refused; only
    /// then are the arguments looked at.
    /// - Parameter acceptable: whether page_offset lies below the reserved top.
    /// - Returns: nil if the guest now exists.
    mutating func initialize(acceptable: Bool) -> Errno? {
        switch state {
        case .new where acceptable:
            state = .stopped(asleep: false)
            return nil
        case .new: return .invalid
        case .dead: return .noSuchFile
        case .closed: return .badDescriptor
        default: return .busy
        }
    }

    /// GETDMA or IRQ: what the state has to say before the request is looked at.
    func request() -> Errno? {
        switch state {
        case .new: .invalid
        case .dead: .noSuchFile
        case .closed: .badDescriptor
        default: nil
        }
    }

    /// BREAK: a level. While it is on, run() serves hypercalls and answers EAGAIN.
    mutating func breakOut(_ on: Bool) -> Errno? {
        switch state {
        case .stopped(let asleep) where on: state = .brokenOut(asleep: asleep)
        case .running where on: state = .draining(asleep: false)
        case .halted where on: state = .draining(asleep: true)
        case .brokenOut(let asleep) where !on: state = .stopped(asleep: asleep)
        case .draining(let asleep) where !on: state = asleep ? .halted : .running
        case .notifying(let record, let asleep, _):
            state = .notifying(record, asleep: asleep, brokenOut: on)
        default: break
        }
        return request()
    }

    /// What run() does first.
    enum Entry: Equatable {
        case proceed
        case fail(Errno)
        case tell(DeathReason)
    }

    /// run() (the device's read()) begins. A record that was pending counts as served.
    mutating func enter() -> Entry {
        switch state {
        case .new: return .fail(.invalid)
        case .stopped(let asleep), .notifying(_, let asleep, false):
            state = asleep ? .halted : .running
        case .brokenOut(let asleep), .notifying(_, let asleep, true):
            state = .draining(asleep: asleep)
        case .draining, .running, .halted: return .fail(.busy)
        case .dead(.restart, _): return .fail(.restart)
        case .dead(let reason, _): return .tell(reason)
        case .closed: return .fail(.badDescriptor)
        }
        return .proceed
    }

    /// The last reference is gone.
    mutating func close() { state = .closed }

    // MARK: - What hypercalls, traps and the world do to a guest inside run()

    /// SEND_DMA with a key in the guest's own memory.
    mutating func send(_ record: DMANotification) {
        switch state {
        case .running: state = .notifying(record, asleep: false, brokenOut: false)
        case .halted: state = .notifying(record, asleep: true, brokenOut: false)
        case .draining(let asleep): state = .notifying(record, asleep: asleep, brokenOut: true)
        default: defect = phase
        }
    }

    /// HALT, which may be in the ring more than once.
    mutating func halt() {
        switch state {
        case .running, .halted: state = .halted
        case .draining: state = .draining(asleep: true)
        default: defect = phase
        }
    }

    /// An interrupt reaches a sleeping guest.
    mutating func wake() {
        if case .halted = state { state = .running } else { defect = phase }
    }

    /// The guest did what is not allowed, or asked to end. The first reason stays.
    mutating func kill(_ reason: DeathReason) {
        switch state {
        case .dead: break
        case .new, .closed: defect = phase
        case .draining: state = .dead(reason, whileDraining: true)
        default: state = .dead(reason, whileDraining: false)
        }
    }

    /// A watched descriptor is ready, or waiting failed: run() ends, nothing is lost. A guest that has died in this turn is
    /// told at the next run().
    mutating func pause() {
        switch state {
        case .running: state = .stopped(asleep: false)
        case .halted: state = .stopped(asleep: true)
        case .dead: break
        default: defect = phase
        }
    }

    // MARK: - The two places where a turn of the run loop may end

    enum Step: Equatable {
        /// Go on with interrupts.
        case proceed
        /// Run guest code.
        case execute
        /// Wait for an interrupt.
        case sleep
        /// Leave run() with the record.
        case deliver(DMANotification)
        /// Leave run() with this errno.
        case fail(Errno)
        /// Leave run(): what came cannot come in this state.
        case tellDefect(Phase)
    }

    /// The hypercalls of this turn are done. The break level comes before death: a guest
    /// that died of a call under it is told at the next run().
    mutating func afterCalls() -> Step {
        switch state {
        case .notifying(let record, _, _): return .deliver(record)
        case .draining(let asleep):
            state = .brokenOut(asleep: asleep)
            return .fail(.again)
        case .dead(let reason, whileDraining: true):
            state = .dead(reason, whileDraining: false)
            return .fail(.again)
        default: return .proceed
        }
    }

    /// An interrupt was delivered, or none could be.
    func beforeEntry() -> Step {
        if let defect { return .tellDefect(defect) }
        return switch state {
        case .running: .execute
        case .halted: .sleep
        case .dead(.restart, _): .fail(.restart)
        case .dead: .fail(.noSuchFile)
        default: .tellDefect(phase)
        }
    }
}
