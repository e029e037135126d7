// The console's other side: standard input and output, the terminal behind them if there is
// one, and the signals of this process. It lasts from the guest's first instruction to the end,
// through restarts too, and leaves the terminal as it found it.
//
// Nothing here waits without looking at the signals as well: a guest that writes to a stopped
// terminal or into a full pipe can still be ended. Sources: docs/abi/lguest.md §5.2 (console),
// termios(3) (job control), signal(7).

/// What the console's input needs from the guest and its host.
protocol ConsoleGuest: AnyObject {
    /// A free buffer of the guest's, if it has one.
    func borrow() -> Console.Loan?
    /// Fills it and raises its interrupt.
    /// - Returns: how many bytes went in.
    func fill(_ loan: Console.Loan, with bytes: ArraySlice<UInt8>) -> Int
}

/// Standard input and output in the service of a guest's console.
final class ConsoleSession {
    private static let input: Int32 = 0
    private static let output: Int32 = 1
    /// Ahead of a guest that does not listen, no more than this is read from a terminal.
    private static let readAheadLimit = 65536
    /// POSIX promises that a pipe which takes anything takes this much without waiting.
    private static let writeLimit = 4096

    /// Present while the terminal is in raw mode.
    private var rawMode: RawMode?
    private let signals: SignalQueue
    private let isTerminal: Bool
    private var machine = ConsoleInput()
    private var escape = ConsoleEscape()
    /// Read and not yet taken by the guest.
    private var pending: [UInt8] = []
    private var isAheadEnded = false
    /// The alarm went off while the guest could take no input.
    private var isAlarmDue = false
    private var isAlarmUsed = false
    /// When the alarm goes off, if it is set.
    private var alarmTime: Nanoseconds?
    /// It went off since somebody asked.
    private var hasRung = false

    /// Ends the guest: the ones that would end us.
    private static let ending: [Signal] = [
        .hangUp, .interrupt, .quit, .user1, .user2, .brokenPipe, .terminate, .processorTime,
        .fileSize, .virtualAlarm, .profiling,
    ]

    /// Takes the terminal, if standard input is one and it is ours to take.
    init() throws(LauncherError) {
        var awaited: SignalSet = [.alarm, .stop, .proceed]
        for signal in Self.ending where !signal.isIgnored { awaited.insert(signal) }
        if Signal.stop.isIgnored { awaited.remove(.stop) }
        do throws(Errno) {
            signals = try SignalQueue(
                awaited: awaited,
                silenced: [.brokenPipe, .backgroundRead, .backgroundWrite])
        } catch { throw .system("wait for signals", error) }
        isTerminal = Terminal.isTerminal(Self.input)
        try lookAtTerminal()
    }

    /// True once after the alarm went off.
    func takeAlarm() -> Bool {
        defer { hasRung = false }
        return hasRung
    }

    /// Gives everything back. Nothing may be served afterwards.
    func close() {
        rawMode = nil
        if isAlarmUsed { Alarm.cancel() }
        isAlarmUsed = false
    }

    deinit { close() }

    /// The descriptors whose readability must end a run of the guest.
    var watched: [Int32] {
        isReadingInput ? [signals.descriptor, Self.input] : [signals.descriptor]
    }

    /// True while standard input is among them.
    var isReadingInput: Bool {
        machine.isWatching
            || (machine.isWaiting && isTerminal && !isAheadEnded
                && pending.count < Self.readAheadLimit)
    }

    // MARK: Output

    /// Writes bytes of guest memory to standard output, at once and all of them.
    /// - Returns: nil, or how the guest ends because of what happened meanwhile.
    func write(
        _ sections: [GuestRange], of memory: GuestMemory
    ) throws(LauncherError) -> LaunchOutcome? {
        for section in sections {
            var rest = section
            while rest.count > 0 {
                if let outcome = try waitForOutput() { return outcome }
                let part = rest.prefix(UInt32(Self.writeLimit))
                do throws(Errno) {
                    rest = rest.dropping(
                        UInt32(
                            try unsafe Transfer.write(
                                Self.output, some: memory.readable(part))))
                } catch {
                    switch error {
                    case .again: break
                    case .brokenPipe: return .signal(.brokenPipe)
                    default: throw .system("write the guest's output", error)
                    }
                }
            }
        }
        return nil
    }

    private func waitForOutput() throws(LauncherError) -> LaunchOutcome? {
        while true {
            let ready: [Bool]
            do throws(Errno) {
                ready = try Poll.wait(
                    [Poll.Interest(signals.descriptor), Poll.Interest(Self.output, .writable)],
                    timeout: nil)
            } catch { throw .system("wait for the output", error) }
            if ready[0], let outcome = try takeSignals() { return outcome }
            if ready[1] { return nil }
        }
    }

    // MARK: Input and signals

    /// Looks after everything that can have ended a run.
    /// - Parameter ready: says which of the watched descriptors are.
    /// - Returns: nil, or how the guest ends because of it.
    func serve(
        _ guest: any ConsoleGuest, _ ready: PollSet
    ) throws(LauncherError) -> LaunchOutcome? {
        if ready.isReady(descriptor: signals.descriptor), let outcome = try takeSignals() {
            return outcome
        }
        if isAlarmDue {
            isAlarmDue = false
            if let outcome = try handle(.alarm, guest) { return outcome }
        }
        // A signal can have taken the terminal away meanwhile.
        guard isReadingInput && ready.isReady(descriptor: Self.input) else { return nil }
        return try handle(.readable, guest)
    }

    /// The guest spoke: perhaps it has room for input by now.
    func guestRan(_ guest: any ConsoleGuest) throws(LauncherError) -> LaunchOutcome? {
        isAlarmDue = false
        return machine.isWaiting ? try handle(.guestRan, guest) : nil
    }

    private func takeSignals() throws(LauncherError) -> LaunchOutcome? {
        while true {
            let signal: Signal?
            do throws(Errno) { signal = try signals.next() } catch {
                throw .system("read signals", error)
            }
            switch signal {
            case nil: return nil
            case .alarm?:
                alarmTime = nil
                hasRung = true
                if machine.isAway { try lookAtTerminal() } else { isAlarmDue = true }
            case .proceed?: try lookAtTerminal()
            case .stop?:
                rawMode?.leave()
                do throws(Errno) { try signals.stop() } catch { throw .system("stop", error) }
                try lookAtTerminal()
            case let signal?: return .signal(signal)
            }
        }
    }

    /// Takes the terminal if job control lets us have it, else leaves it alone.
    private func lookAtTerminal() throws(LauncherError) {
        guard isTerminal else { return }
        guard Terminal.isForeground(Self.input) else {
            try perform(machine.handle(.lost))
            return
        }
        do throws(Errno) {
            if rawMode == nil {
                rawMode = try RawMode(Self.input)
            } else {
                try rawMode?.enter()
            }
        } catch { throw .system("set the terminal", error) }
        _ = machine.handle(.gained)
    }

    /// Performs an action that needs no guest.
    private func perform(_ action: ConsoleInput.Action) throws(LauncherError) {
        if case .setAlarm(let time) = action { try setAlarm(time) }
    }

    /// Ends a run of the guest after this time, or sooner: there is one alarm for all who
    /// want one, and whoever does not find what he waits for sets it again.
    func setAlarm(_ time: Nanoseconds) throws(LauncherError) {
        let wanted = Clock.monotonic() + time
        if let alarmTime, alarmTime <= wanted { return }
        alarmTime = wanted
        isAlarmUsed = true
        do throws(Errno) { try Alarm.set(after: time) } catch {
            throw .system("set an alarm", error)
        }
    }

    private func handle(
        _ event: ConsoleInput.Event, _ guest: any ConsoleGuest
    ) throws(LauncherError) -> LaunchOutcome? {
        var action = machine.handle(event)
        var loan: Console.Loan?
        while true {
            switch action {
            case .none: return nil
            case .setAlarm:
                try perform(action)
                return nil
            case .seekBuffer:
                loan = guest.borrow()
                action = machine.handle(loan == nil ? .noBuffer : .buffer)
            case .read:
                guard let lent = loan else { return nil }
                if pending.isEmpty {
                    let (event, outcome) = read(min(lent.count, Self.writeLimit))
                    if let event {
                        action = machine.handle(event)
                        continue
                    }
                    give(lent, guest)
                    if let outcome { return outcome }
                } else {
                    give(lent, guest)
                }
                action = machine.handle(pending.isEmpty ? .received : .leftover)
            case .readAhead:
                let (event, outcome) = read(Self.writeLimit)
                switch event {
                case .endOfInput?: isAheadEnded = true
                case .lost?: try perform(machine.handle(.lost))
                default: break
                }
                return outcome
            }
        }
    }

    private func give(_ loan: Console.Loan, _ guest: any ConsoleGuest) {
        pending.removeFirst(guest.fill(loan, with: pending[...]))
    }

    /// Reads what there is, at most so much, behind what is pending.
    /// - Returns: an event if nothing was read; the outcome if the user left by it.
    private func read(_ count: Int) -> (ConsoleInput.Event?, LaunchOutcome?) {
        var failure: Errno?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(Errno) {
                filled = try unsafe Transfer.read(
                    Self.input, into: UnsafeMutableRawBufferPointer(buffer))
            } catch { failure = error }
        }
        if bytes.isEmpty {
            switch failure {
            case .again?: return (.received, nil)
            case .inputOutput? where isTerminal && !Terminal.isForeground(Self.input):
                return (.lost, nil)
            default: return (.endOfInput, nil)
            }
        }
        pending.append(contentsOf: bytes)
        guard rawMode != nil else { return (nil, nil) }
        let now = Clock.monotonic()
        for byte in bytes where escape.press(byte, at: now) == .leave { return (nil, .escaped) }
        return (nil, nil)
    }
}
