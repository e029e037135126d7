// What a launch waits for, in one place: signals, an alarm, and the descriptors that its devices watch. While the
// guest runs its host waits for them (`watch`); while a write waits for its reader, `wait` does. A signal
// that ends the launch is kept as its outcome, which everybody looks at after each step.
// Sources: signal(7), signalfd(2), setitimer(2), ppoll(2).

/// A user of a terminal that job control may take away.
protocol TerminalHolder: AnyObject {
    /// Gives it back, because this process is about to be stopped.
    func letGo()
    /// Takes it again, if it is to be had.
    func lookAgain() throws(LauncherError)
}

/// Signals, alarm and poll set of a launch, through restarts.
final class EventLoop {
    private let signals: SignalQueue
    /// What ends a run of the guest, and which of it has come; made anew when it changes.
    private var attention = PollSet()
    private var watched: [Int32]?
    /// Signals, and up to two more.
    private var awaited: PollSet
    /// When the alarm goes off, if it is set.
    private var alarmTime: Nanoseconds?
    private var isAlarmUsed = false
    /// SIGALRM was ignored when we were started, and then does not end us.
    private let isAlarmIgnored: Bool
    /// When an alarm that was set before we were started is to end us.
    private let lastAlarm: Nanoseconds?
    /// How often it went off: a user of the alarm compares it with the count that it saw last.
    private(set) var rings: UInt64 = 0
    /// How the guest ends because of what happened.
    private(set) var outcome: LaunchOutcome?

    init() throws(LauncherError) {
        isAlarmIgnored = Signal.alarm.isIgnored
        lastAlarm = isAlarmIgnored ? nil : Alarm.left.map { Clock.monotonic() + $0 }
        alarmTime = lastAlarm
        do throws(Errno) {
            signals = try SignalQueue(awaited: .ofLaunch, silenced: [.brokenPipe])
        } catch { throw .system("wait for signals", error) }
        self.awaited = PollSet([
            Poll.Interest(signals.descriptor), Poll.Interest(-1), Poll.Interest(-1),
        ])
        unsafe FileFaults.isAlarmAwaited = true
    }

    /// Nothing goes off any more.
    func close() {
        unsafe FileFaults.isAlarmAwaited = false
        if isAlarmUsed { Alarm.cancel() }
        isAlarmUsed = false
    }

    deinit { close() }

    /// What the sandbox is to leave.
    var descriptor: Int32 { signals.descriptor }

    /// Sets the outcome, unless there is one already.
    func leave(_ outcome: LaunchOutcome) { if self.outcome == nil { self.outcome = outcome } }

    // MARK: While the guest runs

    /// Another guest's host knows nothing of what is watched.
    func forget() { watched = nil }

    /// Lets runs of the guest end when one of these (see `Poll.Interest(watching:)`) is ready, or a signal came.
    /// - Returns: all that is watched, if that is something else than before.
    func watch(_ descriptors: [Int32]) -> [Int32]? {
        guard descriptors != watched else { return nil }
        watched = descriptors
        let all = [signals.descriptor] + descriptors
        attention = PollSet(all.map { Poll.Interest(watching: $0) })
        return all
    }

    /// Looks what has ended a run, and takes the signals among it.
    /// - Parameter timeout: how long to wait for that; nil for as long as it takes.
    /// - Returns: says which of the watched descriptors are ready.
    func look(
        _ holder: any TerminalHolder, timeout: Nanoseconds? = Nanoseconds(count: 0)
    ) throws(LauncherError) -> PollSet {
        do throws(Errno) { try attention.wait(timeout: timeout) } catch {
            throw .system("look at the guest's input", error)
        }
        if attention.isReady(0) { try takeSignals(holder) }
        return attention
    }

    // MARK: While something else does

    /// Waits for one of two, or a signal, or the end of a time. Which came `isReady` says.
    func wait(
        for first: Poll.Interest, _ second: Poll.Interest, timeout: Nanoseconds?,
        _ holder: any TerminalHolder
    ) throws(LauncherError) {
        awaited.change(1, to: first)
        awaited.change(2, to: second)
        do throws(Errno) { try awaited.wait(timeout: timeout) } catch {
            throw .system("wait for the output", error)
        }
        if awaited.isReady(0) { try takeSignals(holder) }
    }

    var isFirstReady: Bool { awaited.isReady(1) }
    var isSecondReady: Bool { awaited.isReady(2) }

    private func takeSignals(_ holder: any TerminalHolder) throws(LauncherError) {
        while outcome == nil {
            let signal: Signal?
            var sender: UInt32?
            do throws(Errno) { signal = try signals.next(&sender) } catch {
                throw .system("read signals", error)
            }
            switch signal {
            case nil: return
            case .alarm? where isAlarmIgnored || isOurs(sender):
                alarmTime = nil
                rings &+= 1
                guard let lastAlarm else { continue }
                let rest = lastAlarm - Clock.monotonic()
                if rest.count == 0 { leave(.signal(.alarm)) } else { try setAlarm(rest) }
            // A write of ours beyond the limit of files' sizes, which has failed as well.
            case .fileSize? where isOurs(sender): continue
            case .proceed?: try holder.lookAgain()
            case let signal? where Signal.stopping.contains(signal):
                holder.letGo()
                do throws(Errno) { try signals.stop() } catch { throw .system("stop", error) }
                try holder.lookAgain()
            case let signal?: leave(.signal(signal))
            }
        }
    }

    /// A signal of the kernel's, which comes in our name at times, or ours for a file that was cut short; others mean us to end.
    private func isOurs(_ sender: UInt32?) -> Bool {
        sender.map { $0 == UInt32(truncatingIfNeeded: Process.identity) } ?? true
    }

    /// The next signal within this time, when the guest has ended; stops with the process if it is such a one.
    func lastSignal(within time: Nanoseconds) throws(Errno) -> Signal? {
        _ = try Poll.wait([Poll.Interest(signals.descriptor)], timeout: time)
        let signal = try signals.next()
        guard let signal, Signal.stopping.contains(signal) else { return signal }
        try signals.stop()
        return .stop
    }

    // MARK: The alarm

    /// Ends a run of the guest after this time, or sooner: there is one alarm for all users, and one that finds it was too
    /// early sets it again.
    func setAlarm(_ time: Nanoseconds) throws(LauncherError) {
        let wanted = Clock.monotonic() + time
        if let alarmTime, alarmTime <= wanted { return }
        alarmTime = wanted
        isAlarmUsed = true
        let time = max(time, Nanoseconds(count: 1000))
        do throws(Errno) { try Alarm.set(after: time) } catch {
            throw .system("set an alarm", error)
        }
    }

    /// Sets the alarm again where a call has used it.
    func renewAlarm() throws(LauncherError) {
        guard let time = alarmTime else { return }
        alarmTime = nil
        try setAlarm(time - Clock.monotonic())
    }
}
