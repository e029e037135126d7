// The console's other side: standard input and output, and the terminal behind them if there is one. It lasts
// from the guest's first instruction to the end, through restarts too, and leaves the terminal as it found it.
//
// Nothing here waits without looking at the signals and the keys as well: a guest that writes to a stopped
// terminal or into a full pipe can still be ended, by both.
//
// With a pipe as output there may be a pager, which wants the terminal for itself: of the two the one that
// reads the settings second would take the other's for the user's, and leave them at its end. So a
// terminal is then taken a moment later, when a pager has taken it; it is never taken from another
// program; and what others set is not overwritten. If the guest ends while a pager shows what it wrote, the terminal
// is put right when the pager has gone. Sources: docs/abi/lguest.md §5.2 (console), termios(3) (job
// control), signal(7).

/// What the console's input needs from the guest and its host.
protocol ConsoleGuest: AnyObject {
    /// Room for input, in bytes; nil if the guest takes none now.
    func room() -> Int?
    /// Puts bytes there and raises its interrupt.
    /// - Returns: how many bytes went in.
    func fill(with bytes: ArraySlice<UInt8>) -> Int
}

/// How a guest has used its console so far.
struct ConsoleUse {
    var hasSent = false
    var hasTaken = false

    var uses: [Timeline.Use] { (hasSent ? [.output] : []) + (hasTaken ? [.input] : []) }
}

/// Standard input and output in the service of a guest's console.
final class ConsoleSession: TerminalHolder {
    private static let inputNumber: Int32 = 0
    private static let outputNumber: Int32 = 1
    /// Ahead of a guest that does not listen, no more than this is read from a terminal.
    private static let readAheadLimit = 65536
    /// The most that is read or written at once.
    private static let piece = Transfer.pipeRoom
    /// A terminal can say that it is ready and take nothing: then it is asked again after this time.
    private static let retryTime = Nanoseconds.milliseconds(10)
    /// A pager has looked at the terminal's settings by then.
    private static let pagerTime = Nanoseconds.milliseconds(250)

    /// Present while the terminal is in raw mode.
    private var rawMode: RawMode?
    private let loop: EventLoop
    private let input: StandardStream
    private var output: StandardStream?
    private let isTerminal: Bool
    /// The output is a pipe, so that others may use the terminal.
    private let isPiped: Bool
    /// What to watch of the output, to notice that its reader is gone; nil for a terminal, a file or a device.
    private let outputEnd: Int32?
    private var machine = ConsoleInput()
    private var escape = ConsoleEscape()
    /// Read and not yet taken by the guest.
    private var pending: [UInt8] = []
    private var isAheadEnded = false
    /// The alarm went off while the guest could take no input.
    private var isAlarmDue = false
    /// Hears what the guest writes.
    var signs: GuestSigns?
    /// Takes a line that a person should read.
    var remark: ((Text) -> Void)?
    /// What of the alarm was seen.
    private var rings: UInt64 = 0

    /// Enter is a carriage return for the guest, as on a serial line.
    private let passesReturns: Bool

    /// Takes the terminal, if standard input is one and it is ours to take.
    init(_ loop: EventLoop, passesReturns: Bool) throws(LauncherError) {
        self.loop = loop
        self.passesReturns = passesReturns
        let input = StandardStream(Self.inputNumber, .readOnlyNow)
        let output = StandardStream(Self.outputNumber, .writeOnlyNow)
        isTerminal = input.isTerminal
        isPiped = output.isPipe
        // Of a pipe that is only written, nothing is ever ready but its end; a socket is read, too.
        outputEnd =
            output.isPipe
            ? Self.outputNumber
            : output.isSocket ? Poll.Interest.end(of: Self.outputNumber) : nil
        self.input = input
        self.output = output
        if isTerminal {
            do throws(Errno) { try RawMode.prepare() } catch {
                throw .system("set the terminal", error)
            }
        }
        if isTerminal && isPiped {
            _ = machine.handle(.lost)
            try loop.setAlarm(Self.pagerTime)
        } else {
            try lookAtTerminal()
        }
    }

    /// What the sandbox is to leave.
    var hasTerminal: Bool { isTerminal }
    var hasOutputTerminal: Bool { output?.isTerminal ?? false }
    var inputDescriptor: Int32 { input.descriptor }
    var outputDescriptor: Int32 { output?.descriptor ?? Self.outputNumber }

    /// Gives everything back. Nothing may be served afterwards.
    func close(after outcome: LaunchOutcome? = nil) {
        loop.close()
        if let outcome, isPiped { awaitPager(outcome) }
        rawMode = nil
        // Three ^C leave also after a ^S, which would keep the last lines from the terminal.
        if outcome == .escaped, output?.isTerminal ?? false { Terminal.proceed(Self.outputNumber) }
    }

    /// A pager that took our settings for the user's puts those back when it ends: waits for that, to put back what was
    /// before. A signal to us ends the wait; signals of the terminal's keys are for the pager.
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
                signal = try loop.lastSignal(within: Self.retryTime)
            } catch { return }
            switch signal {
            case nil, .alarm?, .proceed?, .stop?, .interrupt?, .quit?: break
            default: return
            }
        }
    }

    deinit { close() }

    /// Adds what must end a run of the guest.
    func watch(_ descriptors: inout [Int32]) {
        if isReadingInput { descriptors.append(Self.inputNumber) }
        if let outputEnd { descriptors.append(outputEnd) }
    }

    /// True while standard input is among them.
    private var isReadingInput: Bool {
        machine.isWatching
            || (machine.isWaiting && isTerminal && !isAheadEnded
                && pending.count < Self.readAheadLimit)
    }

    // MARK: Output

    /// Writes bytes of guest memory to standard output, at once and all of them, unless the guest ends
    /// because of what happens meanwhile.
    func write(_ sections: [GuestRange], of memory: GuestMemory) throws(LauncherError) {
        for section in sections {
            try unsafe write(memory.readable(section))
            if loop.outcome != nil { return }
        }
    }

    /// The same for bytes of ours.
    func write(_ bytes: [UInt8]) throws(LauncherError) {
        var failure: LauncherError?
        unsafe bytes.withUnsafeBytes { buffer in
            do throws(LauncherError) { try unsafe write(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(LauncherError) {
        unsafe signs?.hear(bytes)
        var done = 0
        var isRefused = false
        while done < bytes.count {
            try waitForOutput(wasRefused: isRefused)
            if loop.outcome != nil { return }
            let end = done + min(bytes.count - done, Self.piece)
            do throws(Errno) {
                let count =
                    try unsafe output?.write(
                        UnsafeRawBufferPointer(rebasing: bytes[done..<end])) ?? 0
                done += count
                isRefused = count == 0
            } catch {
                switch error {
                case .again: isRefused = true
                case .brokenPipe: return loop.leave(.signal(.brokenPipe))
                default: throw .system("write the guest's output", error)
                }
            }
            if output?.way == .timed { try loop.renewAlarm() }
        }
    }

    /// - Parameter wasRefused: nothing was taken although the output was ready.
    private func waitForOutput(wasRefused: Bool) throws(LauncherError) {
        let output = Poll.Interest(wasRefused ? -1 : Self.outputNumber, .writable)
        repeat {
            try wait(for: output, timeout: wasRefused ? Self.retryTime : nil)
        } while loop.outcome == nil && !wasRefused && !loop.isFirstReady
    }

    /// Lets time pass before the guest begins again.
    /// - Returns: nil, or how it ends because of what happened meanwhile.
    func pause(_ time: Nanoseconds) throws(LauncherError) -> LaunchOutcome? {
        let deadline = Deadline.after(time)
        while loop.outcome == nil && !deadline.isOver {
            let output = Poll.Interest(outputEnd == nil ? -1 : Self.outputNumber, .closed)
            try wait(for: output, timeout: deadline.remaining)
            if loop.isFirstReady { loop.leave(.signal(.brokenPipe)) }
        }
        return loop.outcome
    }

    /// Waits for something else.
    /// - Returns: false if something ends the launch before that is ready.
    func wait(for other: Poll.Interest) -> Bool {
        while loop.outcome == nil {
            do throws(LauncherError) { try wait(for: other, timeout: nil) } catch { return true }
            if loop.isFirstReady { return true }
        }
        return false
    }

    /// Waits for the output, for signals and, as long as the output keeps us, for the user's three ^C.
    private func wait(
        for output: Poll.Interest, timeout: Nanoseconds?
    ) throws(LauncherError) {
        let keys = Poll.Interest(canReadAhead ? Self.inputNumber : -1)
        try loop.wait(for: output, keys, timeout: timeout, self)
        try lookAtAlarm()
        if loop.outcome == nil, loop.isSecondReady, !loop.isFirstReady { try readAhead() }
    }

    /// True if keys may be read that the guest has not asked for.
    private var canReadAhead: Bool {
        rawMode != nil && !machine.isAway && !machine.isEnded && !isAheadEnded
            && pending.count < Self.readAheadLimit
    }

    private func readAhead() throws(LauncherError) {
        switch read(Self.piece) {
        case .endOfInput?: isAheadEnded = true
        case .lost?: try perform(machine.handle(.lost))
        default: break
        }
        if input.way == .timed { try loop.renewAlarm() }
    }

    // MARK: Input

    /// Looks after everything that can have ended a run.
    /// - Parameter ready: says which of the watched descriptors are.
    func serve(_ guest: any ConsoleGuest, _ ready: PollSet) throws(LauncherError) {
        try lookAtAlarm()
        if isAlarmDue {
            isAlarmDue = false
            try handle(.alarm, guest)
            if loop.outcome != nil { return }
        }
        if outputEnd != nil && ready.isReady(descriptor: Self.outputNumber) {
            return loop.leave(.signal(.brokenPipe))
        }
        // A signal can have taken the terminal away meanwhile.
        guard isReadingInput && ready.isReady(descriptor: Self.inputNumber) else { return }
        try handle(.readable, guest)
    }

    /// The guest spoke: perhaps it has room for input by now.
    func guestRan(_ guest: any ConsoleGuest) throws(LauncherError) {
        isAlarmDue = false
        // What was read while the output kept us has no other herald.
        if machine.isWatching && !pending.isEmpty { return try handle(.readable, guest) }
        if machine.isWaiting { try handle(.guestRan, guest) }
    }

    /// Takes up that the alarm went off.
    private func lookAtAlarm() throws(LauncherError) {
        guard rings != loop.rings else { return }
        rings = loop.rings
        if machine.isAway { try lookAtTerminal() } else { isAlarmDue = true }
    }

    func letGo() { rawMode?.leave() }
    func lookAgain() throws(LauncherError) { try lookAtTerminal() }

    /// Takes the terminal if job control lets us have it, else leaves it alone.
    private func lookAtTerminal() throws(LauncherError) {
        guard isTerminal else { return }
        guard Terminal.isForeground(Self.inputNumber), !isOthers else {
            try perform(machine.handle(.lost))
            return
        }
        do throws(Errno) {
            if rawMode == nil {
                rawMode = try RawMode(
                    Self.inputNumber, isShared: isPiped, passesReturns: passesReturns)
            } else {
                try rawMode?.enter()
            }
        } catch {
            // It was hung up, and nobody is at it any more: reading it finds its end.
            if error == .inputOutput { return }
            throw .system("set the terminal", error)
        }
        _ = machine.handle(.gained)
    }

    /// True while a pager has the terminal.
    private var isOthers: Bool {
        guard isPiped else { return false }
        return rawMode == nil ? !RawMode.isFree(Self.inputNumber) : rawMode?.holder == .others
    }

    /// Looks whether the terminal is still as we have set it, before keys are read from it.
    /// - Returns: false if the keys are for another program.
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
        if case .setAlarm(let time) = action { try loop.setAlarm(time) }
    }

    private func handle(
        _ event: ConsoleInput.Event, _ guest: any ConsoleGuest
    ) throws(LauncherError) {
        var action = machine.handle(event)
        var room: Int?
        while true {
            switch action {
            case .none:
                if let state = machine.defect { throw .defect(state: "\(state)") }
                return
            case .setAlarm: return try perform(action)
            case .seekBuffer:
                room = guest.room()
                action = machine.handle(room == nil ? .noBuffer : .buffer)
            case .read:
                guard let room else { return }
                if pending.isEmpty {
                    let event = read(min(room, Self.piece))
                    if input.way == .timed { try loop.renewAlarm() }
                    if let event {
                        action = machine.handle(event)
                        continue
                    }
                }
                give(guest)
                if loop.outcome != nil { return }
                action = machine.handle(pending.isEmpty ? .received : .leftover)
            case .readAhead: return try readAhead()
            }
        }
    }

    private func give(_ guest: any ConsoleGuest) {
        pending.removeFirst(guest.fill(with: pending[...]))
    }

    /// Reads what there is, at most so much, after what is pending. The user can leave by it.
    /// - Returns: an event if nothing was read.
    private func read(_ count: Int) -> ConsoleInput.Event? {
        if rawMode != nil && !keepTerminal() { return .lost }
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
            case .again?: return .received
            case .inputOutput? where isTerminal && !Terminal.isForeground(Self.inputNumber):
                return .lost
            default:
                // One that was closed ends, and so does a terminal that nobody is at any more.
                if let failure, failure != .badDescriptor, !isTerminal {
                    remark?("cannot read standard input: \(failure)")
                }
                return .endOfInput
            }
        }
        pending.append(contentsOf: bytes)
        guard rawMode != nil else { return nil }
        let now = Clock.monotonic()
        for byte in bytes where escape.press(byte, at: now) == .leave {
            loop.leave(.escaped)
            return nil
        }
        return nil
    }
}
