// The console's other side: standard input and output, the terminal behind them if there is
// one, and the signals of this process. It lasts from the guest's first instruction to the end,
// through restarts too, and leaves the terminal as it found it.
//
// Nothing here waits without looking at the signals and the keys as well: a guest that writes to a stopped
// terminal or into a full pipe can still be ended, by both.
//
// With a pipe as output there may be a pager, which wants the terminal for itself: whoever of the two
// looked at the settings second would take the other's for the user's, and leave them behind. So a
// terminal is then taken a moment later, when a pager has had it; never from somebody who has it; and
// what others set is not overwritten. If the guest ends while a pager shows what it wrote, the terminal
// is put right when the pager has gone. Sources: docs/abi/lguest.md §5.2 (console), termios(3) (job
// control), signal(7).

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
    private static let inputNumber: Int32 = 0
    private static let outputNumber: Int32 = 1
    /// Ahead of a guest that does not listen, no more than this is read from a terminal.
    private static let readAheadLimit = 65536
    /// POSIX promises that a pipe which takes anything takes this much without waiting.
    private static let writeLimit = 4096
    /// A terminal can say that it is ready and take nothing: then it is asked again after this time.
    private static let retryTime = Nanoseconds.milliseconds(10)
    /// A pager has looked at the terminal's settings by then.
    private static let pagerTime = Nanoseconds.milliseconds(250)

    /// Present while the terminal is in raw mode.
    private var rawMode: RawMode?
    private let signals: SignalQueue
    private let input: StandardStream
    private var output: StandardStream?
    private let isTerminal: Bool
    /// The output is a pipe, so that others may use the terminal.
    private let isPiped: Bool
    /// What writing waits for: signals, output, keys.
    private var awaited: PollSet
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
        let input = StandardStream(Self.inputNumber, .readOnlyNow)
        let output = StandardStream(Self.outputNumber, .writeOnlyNow)
        isTerminal = input.isTerminal
        isPiped = output.isPipe
        self.awaited = PollSet([
            Poll.Interest(signals.descriptor), Poll.Interest(-1), Poll.Interest(-1),
        ])
        self.input = input
        self.output = output
        unsafe FileFaults.isAlarmAwaited = true
        if isTerminal {
            do throws(Errno) { try RawMode.prepare() } catch {
                throw .system("set the terminal", error)
            }
        }
        if isTerminal && isPiped {
            _ = machine.handle(.lost)
            try setAlarm(Self.pagerTime)
        } else {
            try lookAtTerminal()
        }
    }

    /// True once after the alarm went off.
    func takeAlarm() -> Bool {
        defer { hasRung = false }
        return hasRung
    }

    /// What the sandbox is to leave.
    var signalDescriptor: Int32 { signals.descriptor }
    var hasTerminal: Bool { isTerminal }
    var hasOutputTerminal: Bool { output?.isTerminal ?? false }
    var inputDescriptor: Int32 { input.descriptor }
    var outputDescriptor: Int32 { output?.descriptor ?? Self.outputNumber }

    /// Gives everything back. Nothing may be served afterwards.
    func close(after outcome: LaunchOutcome? = nil) {
        unsafe FileFaults.isAlarmAwaited = false
        if isAlarmUsed { Alarm.cancel() }
        isAlarmUsed = false
        if let outcome, isPiped { awaitPager(outcome) }
        rawMode = nil
        // Who leaves by ^C does not want to be kept by a ^S from before.
        if outcome == .escaped, output?.isTerminal ?? false { Terminal.proceed(Self.outputNumber) }
    }

    /// While somebody has the terminal who took our settings for the user's, he will put those back at his
    /// end: stays until then, to put back what was before. A signal to us ends that; those of
    /// its keys are for the other.
    private func awaitPager(_ outcome: LaunchOutcome) {
        switch outcome {
        case .signal(.brokenPipe), .signal(.interrupt), .signal(.quit): break
        case .signal, .escaped: return
        default: break
        }
        guard rawMode?.holder == .others else { return }
        output = nil
        Descriptor.closeNumber(Self.outputNumber)
        while rawMode?.holder == .others && Terminal.isForeground(Self.inputNumber) {
            let signal: Signal?
            do throws(Errno) {
                _ = try Poll.wait([Poll.Interest(signals.descriptor)], timeout: Self.retryTime)
                signal = try signals.next()
                if signal == .stop { try signals.stop() }
            } catch { return }
            switch signal {
            case nil, .alarm?, .proceed?, .stop?, .interrupt?, .quit?: break
            default: return
            }
        }
    }

    deinit { close() }

    /// The descriptors whose readability must end a run of the guest.
    var watched: [Int32] {
        var numbers = [signals.descriptor]
        if isReadingInput { numbers.append(Self.inputNumber) }
        // Of a pipe that is only written, nothing is ever ready but its end.
        if isPiped { numbers.append(Self.outputNumber) }
        return numbers
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
            var isRefused = false
            while rest.count > 0 {
                if let outcome = try waitForOutput(wasRefused: isRefused) { return outcome }
                let part = rest.prefix(UInt32(Self.writeLimit))
                do throws(Errno) {
                    let count = try unsafe output?.write(memory.readable(part)) ?? 0
                    rest = rest.dropping(UInt32(count))
                    isRefused = count == 0
                } catch {
                    switch error {
                    case .again: isRefused = true
                    case .brokenPipe: return .signal(.brokenPipe)
                    default: throw .system("write the guest's output", error)
                    }
                }
                if output?.way == .timed { try renewAlarm() }
            }
        }
        return nil
    }

    /// - Parameter wasRefused: nothing was taken although the output was ready.
    private func waitForOutput(wasRefused: Bool) throws(LauncherError) -> LaunchOutcome? {
        let output = Poll.Interest(wasRefused ? -1 : Self.outputNumber, .writable)
        while true {
            if let outcome = try wait(
                for: output, timeout: wasRefused ? Self.retryTime : nil)
            {
                return outcome
            }
            if wasRefused || awaited.isReady(1) { return nil }
        }
    }

    /// Lets time pass before the guest begins again.
    /// - Returns: nil, or how it ends because of what happened meanwhile.
    func pause(_ time: Nanoseconds) throws(LauncherError) -> LaunchOutcome? {
        let deadline = Deadline.after(time)
        while !deadline.isOver {
            let output = Poll.Interest(isPiped ? Self.outputNumber : -1, .closed)
            if let outcome = try wait(for: output, timeout: deadline.remaining) { return outcome }
            if awaited.isReady(1) { return .signal(.brokenPipe) }
        }
        return nil
    }

    /// Waits for the output, for signals and, as long as the output keeps us, for the user's three ^C.
    private func wait(
        for output: Poll.Interest, timeout: Nanoseconds?
    ) throws(LauncherError) -> LaunchOutcome? {
        awaited.change(1, to: output)
        awaited.change(2, to: Poll.Interest(canReadAhead ? Self.inputNumber : -1))
        do throws(Errno) { try awaited.wait(timeout: timeout) } catch {
            throw .system("wait for the output", error)
        }
        if awaited.isReady(0), let outcome = try takeSignals() { return outcome }
        if awaited.isReady(2), !awaited.isReady(1) { return try readAhead() }
        return nil
    }

    /// True if keys may be read that the guest has not asked for.
    private var canReadAhead: Bool {
        rawMode != nil && !machine.isAway && !machine.isEnded && !isAheadEnded
            && pending.count < Self.readAheadLimit
    }

    private func readAhead() throws(LauncherError) -> LaunchOutcome? {
        let (event, outcome) = read(Self.writeLimit)
        switch event {
        case .endOfInput?: isAheadEnded = true
        case .lost?: try perform(machine.handle(.lost))
        default: break
        }
        if input.way == .timed { try renewAlarm() }
        return outcome
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
        if isPiped && ready.isReady(descriptor: Self.outputNumber) {
            return .signal(.brokenPipe)
        }
        // A signal can have taken the terminal away meanwhile.
        guard isReadingInput && ready.isReady(descriptor: Self.inputNumber) else { return nil }
        return try handle(.readable, guest)
    }

    /// The guest spoke: perhaps it has room for input by now.
    func guestRan(_ guest: any ConsoleGuest) throws(LauncherError) -> LaunchOutcome? {
        isAlarmDue = false
        // What was read while the output kept us has no other herald.
        if machine.isWatching && !pending.isEmpty { return try handle(.readable, guest) }
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
        guard Terminal.isForeground(Self.inputNumber), !isOthers else {
            try perform(machine.handle(.lost))
            return
        }
        do throws(Errno) {
            if rawMode == nil {
                rawMode = try RawMode(Self.inputNumber, isShared: isPiped)
            } else {
                try rawMode?.enter()
            }
        } catch { throw .system("set the terminal", error) }
        _ = machine.handle(.gained)
    }

    /// True while a pager has the terminal.
    private var isOthers: Bool {
        guard isPiped else { return false }
        return rawMode == nil ? !RawMode.isFree(Self.inputNumber) : rawMode?.holder == .others
    }

    /// Looks whether the terminal is still as we have set it, before keys are read from it.
    /// - Returns: false if the keys are for somebody else.
    private func keepTerminal() -> Bool {
        switch rawMode?.holder {
        case .others?: return !isPiped
        // Another guest on this terminal has ended, perhaps.
        case .nobody? where Terminal.isForeground(Self.inputNumber): try? rawMode?.enter()
        default: break
        }
        return true
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

    /// Sets the alarm again where a call has used it.
    private func renewAlarm() throws(LauncherError) {
        guard let time = alarmTime else { return }
        alarmTime = nil
        try setAlarm(max(time - Clock.monotonic(), Nanoseconds(count: 1000)))
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
                    if input.way == .timed { try renewAlarm() }
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
            case .readAhead: return try readAhead()
            }
        }
    }

    private func give(_ loan: Console.Loan, _ guest: any ConsoleGuest) {
        pending.removeFirst(guest.fill(loan, with: pending[...]))
    }

    /// Reads what there is, at most so much, behind what is pending.
    /// - Returns: an event if nothing was read; the outcome if the user left by it.
    private func read(_ count: Int) -> (ConsoleInput.Event?, LaunchOutcome?) {
        if rawMode != nil && !keepTerminal() { return (.lost, nil) }
        var failure: Errno?
        var bytes = [UInt8](repeating: 0, count: count)
        var taken = 0
        unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(Errno) { taken = try unsafe input.read(into: buffer) } catch {
                failure = error
            }
        }
        bytes.removeLast(count - taken)
        if bytes.isEmpty {
            switch failure {
            case .again?: return (.received, nil)
            case .inputOutput? where isTerminal && !Terminal.isForeground(Self.inputNumber):
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
