// The life of one launch, from nothing to the guest's end. The driver (Launcher.swift) does
// what the machine says and tells it how that went; the machine makes no system call.
//
//   empty -- memory mapped --> memory -- image loaded --> loaded -- initialized -->
//   initialized -- session opened --> running
//
//   running -- broken out --> servingInput -- input served --> running
//   running -- died --> dying -- reason --> ended(powered off or died)
//   running -- reason, restart --> ended
//   running, servingInput -- left --> ended(escaped, signal, powered off, exited)
//   every state but ended -- failed --> ended(failed)
//
// Source: docs/abi/lguest.md §1.6 (what run returns), §2.6 (the order of things).
// The same as a page: docs/launch-machine.md.

/// How a launch ended. Errors are large, and actions and events are copied at every event of the guest's:
/// therefore `indirect`, here and below.
enum LaunchOutcome: Equatable {
    case poweredOff
    /// A program in the guest ended it with this code.
    case exited(UInt8)
    /// The host's reason, as "unhandled trap 6 at 0xc0100000 (0x0)".
    case died(Text)
    case restart
    case escaped
    case signal(Signal)
    indirect case failed(LauncherError)
}

/// Says what the launcher has to do next. Each state holds what the launch has by then: fresh memory, an image
/// in memory, a guest that was made, one that runs. What they are is the driver's business; where all of them are
/// classes, a state is a word beside its name, and one piece of code serves all drivers.
struct LaunchMachine<Memory, Image, Made, Running> {
    private enum State {
        case empty
        case memory(Memory)
        case loaded(Image)
        case initialized(Made)
        case running(Running)
        case servingInput(Running)
        case dying(Running)
        case ended
    }
    private var state = State.empty

    enum Event {
        case memoryMapped(Memory)
        case imageLoaded(Image)
        case deviceInitialized(Made)
        case sessionOpened(Running)
        /// Something else than the guest wants attention: input, a signal, a device.
        case brokenOut
        case inputServed
        /// The guest died; its reason comes with the next run.
        case died
        case reason(Text)
        /// The guest asked for a reboot.
        case restart
        /// The user, a signal or the guest itself ended it.
        indirect case left(LaunchOutcome)
        indirect case failed(LauncherError)
    }

    enum Action {
        case mapMemory
        case loadImage(Memory)
        case initializeDevice(Image)
        case openSession(Made)
        /// Runs the guest, and serves what it notifies, until something else is to be done.
        case run(Running)
        case serveInput(Running)
        indirect case finish(LaunchOutcome)
    }

    /// What comes first.
    static var beginning: Action { .mapMemory }

    /// Takes the result of the last action.
    /// - Returns: the next action; nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.empty, .memoryMapped(let memory)): enter(.memory(memory), .loadImage(memory))
        case (.memory, .imageLoaded(let image)): enter(.loaded(image), .initializeDevice(image))
        case (.loaded, .deviceInitialized(let made)): enter(.initialized(made), .openSession(made))
        case (.initialized, .sessionOpened(let guest)): enter(.running(guest), .run(guest))
        case (.running(let guest), .brokenOut): enter(.servingInput(guest), .serveInput(guest))
        case (.servingInput(let guest), .inputServed): enter(.running(guest), .run(guest))
        case (.running(let guest), .died): enter(.dying(guest), .run(guest))
        case (.running, .reason(let reason)), (.dying, .reason(let reason)):
            end(Self.outcome(of: reason))
        case (.running, .restart): end(.restart)
        case (.running, .left(let outcome)), (.servingInput, .left(let outcome)):
            end(outcome)
        case (.ended, _): nil
        case (_, .failed(let error)): end(.failed(error))
        default: nil
        }
    }

    /// A guest of lguest's tells its power-off as it tells a panic: by a text.
    private static func outcome(of reason: Text) -> LaunchOutcome {
        reason == "CRASH: Power down" ? .poweredOff : .died(reason)
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    private mutating func end(_ outcome: LaunchOutcome) -> Action {
        state = .ended
        return .finish(outcome)
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .empty: "empty"
        case .memory: "memory"
        case .loaded: "loaded"
        case .initialized: "initialized"
        case .running: "running"
        case .servingInput: "servingInput"
        case .dying: "dying"
        case .ended: "ended"
        }
    }
}

extension LaunchMachine.Action: Equatable
where Memory: Equatable, Image: Equatable, Made: Equatable, Running: Equatable {}
