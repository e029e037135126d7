// Signals as input. The ones that a program may receive are held back (blocked) and read
// from a descriptor, so that nothing ever happens between two of our own steps and no handler
// needs to be careful. Only a fault of our own has a handler: see Terminal.swift.
// Sources: signal(7), signalfd(2), fcntl(2), rt_sigaction(2), asm/signal.h.

import CShim

/// A signal's number, 1…64.
struct Signal: RawRepresentable, Equatable {
    let rawValue: Int32

    static let hangUp = Signal(rawValue: 1)
    static let interrupt = Signal(rawValue: 2)
    static let quit = Signal(rawValue: 3)
    static let illegalInstruction = Signal(rawValue: 4)
    static let busError = Signal(rawValue: 7)
    static let arithmetic = Signal(rawValue: 8)
    static let user1 = Signal(rawValue: 10)
    static let segmentationFault = Signal(rawValue: 11)
    static let user2 = Signal(rawValue: 12)
    static let brokenPipe = Signal(rawValue: 13)
    static let kill = Signal(rawValue: 9)
    static let alarm = Signal(rawValue: 14)
    static let terminate = Signal(rawValue: 15)
    static let childEnded = Signal(rawValue: 17)  // SIGCHLD
    static let proceed = Signal(rawValue: 18)  // SIGCONT
    static let halt = Signal(rawValue: 19)  // SIGSTOP
    static let stop = Signal(rawValue: 20)  // SIGTSTP
    static let backgroundRead = Signal(rawValue: 21)  // SIGTTIN
    static let backgroundWrite = Signal(rawValue: 22)  // SIGTTOU
    static let urgent = Signal(rawValue: 23)  // SIGURG
    static let fileSize = Signal(rawValue: 25)  // SIGXFSZ
    static let windowSize = Signal(rawValue: 28)  // SIGWINCH
    static let powerFailure = Signal(rawValue: 30)  // SIGPWR

    /// Sends the signal to this process.
    func raise() throws(Errno) {
        try SystemCall.make(.kill, Process.identity, Int(rawValue))
    }

    /// True if this signal was ignored when we were started, as by `nohup`.
    var isIgnored: Bool {
        var action = mini_sigaction()
        let asked: Int? = try? withKernel(&action) { (address) throws(Errno) in
            try SystemCall.make(.signalAction, Int(rawValue), 0, address, SignalSet.size)
        }
        let handler = unsafe unsafeBitCast(action.handler, to: Int.self)
        return asked != nil && handler == 1  // SIG_IGN
    }
}

extension Signal {
    /// What stops a process. The last two come to a whole job when one of it touches the terminal in the background. A launch's own
    /// calls raise none while these are blocked: one that comes was raised by another process of the job, which stops, and expects
    /// us to stop as well.
    static let stopping: [Signal] = [.stop, .backgroundRead, .backgroundWrite]

    /// SA_RESTORER and SA_SIGINFO: a handler brings its own way back into the program, which is
    /// rt_sigreturn; for a handler without SA_SIGINFO i386 would want another.
    static let returnsByItself: UInt = 0x0400_0000 | 0x4
    /// SA_ONSTACK: a handler runs on the stack that sigaltstack(2) has set.
    static let onOwnStack: UInt = 0x0800_0000

    /// Sets what happens when it comes.
    /// - Returns: what happened before.
    @discardableResult
    func set(_ action: mini_sigaction) throws(Errno) -> mini_sigaction {
        var actions = (new: action, old: mini_sigaction())
        try withKernel(&actions) { (address) throws(Errno) -> Void in
            try SystemCall.make(
                .signalAction, Int(rawValue), address,
                address &+ MemoryLayout<mini_sigaction>.stride, SignalSet.size)
        }
        return actions.old
    }

    /// From then on what happens when it comes is the kernel's usual.
    func reset() { _ = try? set(mini_sigaction()) }

    /// From then on it only ends calls. A process in a sandbox cannot say that.
    func quiet() {
        var quiet = mini_sigaction()
        quiet.handler = mini_ignore_signal
        quiet.flags = Self.returnsByItself
        quiet.restorer = mini_signal_return
        _ = try? set(quiet)
    }
}

/// A set of signals, as the kernel's 64-bit mask.
struct SignalSet: Equatable, ExpressibleByArrayLiteral {
    var mask: UInt64 = 0

    /// The size of a mask in bytes, which the calls want to hear.
    static let size = 8

    init(arrayLiteral signals: Signal...) { for signal in signals { insert(signal) } }

    /// What a fault of our own raises, or a file that becomes shorter while it is mapped.
    static var faults: SignalSet {
        [.illegalInstruction, .busError, .arithmetic, .segmentationFault]
    }

    /// All that would end us: not those of faults, nor what C libraries and this program use, nor those that were
    /// ignored when we were started.
    static var ending: SignalSet {
        let others: SignalSet = [
            .illegalInstruction, .busError, .arithmetic, .kill, .segmentationFault, .childEnded,
            .proceed, .halt, .stop, .backgroundRead, .backgroundWrite, .urgent, .windowSize,
            Signal(rawValue: 32), Signal(rawValue: 33), DeadlineTimer.signal,
        ]
        var ending = SignalSet()
        for number in 1...64 as ClosedRange<Int32> {
            let signal = Signal(rawValue: number)
            if !others.contains(signal) && !signal.isIgnored { ending.insert(signal) }
        }
        return ending
    }

    /// All that a launch looks at: what ends it, its alarm, and job control's that are not ignored.
    static var ofLaunch: SignalSet {
        var signals = ending
        for signal in [.alarm, .proceed] + Signal.stopping.filter({ !$0.isIgnored }) {
            signals.insert(signal)
        }
        return signals
    }

    func contains(_ signal: Signal) -> Bool { mask & Self.bit(signal) != 0 }
    mutating func insert(_ signal: Signal) { mask |= Self.bit(signal) }
    mutating func remove(_ signal: Signal) { mask &= ~Self.bit(signal) }

    private static func bit(_ signal: Signal) -> UInt64 { 1 << UInt64(signal.rawValue - 1) }

    /// How a set changes the signals that this thread holds back.
    enum Change: Int { case block, unblock, replace }

    /// Changes which signals are held back.
    /// - Returns: those that were before.
    @discardableResult
    func apply(_ change: Change) throws(Errno) -> SignalSet {
        var masks = (new: mask, old: UInt64(0))
        try withKernel(&masks) { (address) throws(Errno) -> Void in
            try SystemCall.make(
                .signalMask, change.rawValue, address, address &+ Self.size, Self.size)
        }
        var before = SignalSet()
        before.mask = masks.old
        return before
    }
}

/// Signals held back and handed out one after the other; let through again when it goes.
struct SignalQueue: ~Copyable {
    private let source: Descriptor
    private let before: SignalSet

    /// Readable when a signal waits.
    var descriptor: Int32 { source.number }

    /// - Parameters:
    ///   - awaited: the signals that `next` returns.
    ///   - silenced: further ones that are held back and never seen.
    init(awaited: SignalSet, silenced: SignalSet) throws(Errno) {
        var held = awaited
        held.mask |= silenced.mask
        let before = try held.apply(.block)
        let number: Int
        do throws(Errno) {
            var mask = awaited.mask
            // The call of 2.6.22, which has no flags.
            number = try withKernel(&mask) { (address) throws(Errno) in
                try SystemCall.make(.signalDescriptor, -1, address, SignalSet.size)
            }
        } catch {
            _ = try? before.apply(.replace)
            throw error
        }
        source = Descriptor(owning: Int32(number))
        // F_SETFL, O_NONBLOCK: a signal that the kernel takes back is readable, and then not there.
        _ = try? SystemCall.make(.fileControl, number, 4, 0o4000)
        self.before = before
    }

    /// One came too late to be answered: the process is about to end, and must not wait for anything any more.
    nonisolated(unsafe) private(set) static var hasLeftOne = false

    deinit {
        // What still waits is too late.
        while (try? next()) != nil { unsafe Self.hasLeftOne = true }
        _ = try? before.apply(.replace)
    }

    /// The next signal that came, or nil.
    func next() throws(Errno) -> Signal? {
        var sender: UInt32?
        return try next(&sender)
    }

    /// - Parameter sender: gets the number of the process that has sent it; nil if the kernel has.
    func next(_ sender: inout UInt32?) throws(Errno) -> Signal? {
        guard try Poll.wait([Poll.Interest(descriptor)], timeout: .milliseconds(0))[0] else {
            return nil
        }
        var record = mini_signalfd_siginfo()
        let count: Int
        do throws(Errno) {
            count = try withKernel(&record) { (address) throws(Errno) in
                try SystemCall.retrying(
                    .read, Int(descriptor), address, MemoryLayout<mini_signalfd_siginfo>.size)
            }
        } catch {
            // Kernels from 6.13 on take back a timer's signal when the timer is set again.
            if error == .again { return nil }
            throw error
        }
        // SI_USER and the like are not above 0.
        sender = record.code <= 0 ? record.process : nil
        return count == MemoryLayout<mini_signalfd_siginfo>.size
            ? Signal(rawValue: Int32(record.number)) : nil
    }

    /// Sleeps until one of the signals has come.
    func wait() throws(Errno) -> Signal {
        while true {
            _ = try Poll.wait([Poll.Interest(descriptor)], timeout: nil)
            if let signal = try next() { return signal }
        }
    }

    /// Lets the process be stopped, here and now, as job control wants; returns when it goes on.
    func stop() throws(Errno) {
        let stop: SignalSet = [.stop]
        try Signal.stop.raise()
        try stop.apply(.unblock)
        try stop.apply(.block)
    }
}

/// The process's alarm, which raises SIGALRM.
enum Alarm {
    /// Sets it to go off once, in place of one that was set before.
    static func set(after time: Nanoseconds) throws(Errno) {
        try set(after: time, every: Nanoseconds(count: 0))
    }

    /// Makes a call that may wait, and does not let it wait longer than a moment: the alarm's signal
    /// ends the wait. It comes again and again, so one that arrives just before the call does no
    /// harm. An alarm that was set before is unset.
    /// - Throws: EAGAIN if the call had to wait, and did nothing.
    static func limiting(_ call: () throws(Errno) -> Int) throws(Errno) -> Int {
        let alarm: SignalSet = [.alarm]
        let before = try alarm.apply(.unblock)
        let result: Result<Int, Errno>
        do throws(Errno) {
            try set(after: moment, every: moment)
            result = .success(try call())
        } catch { result = .failure(error == .interrupted ? .again : error) }
        cancel()
        _ = try before.apply(.replace)
        return try result.get()
    }

    /// Once, before `limiting`: from then on the signal only ends calls. A process in a sandbox cannot say that.
    static func prepare() { Signal.alarm.quiet() }
    private static let moment = Nanoseconds.milliseconds(10)

    private static func set(
        after time: Nanoseconds, every interval: Nanoseconds
    ) throws(Errno) {
        // struct itimerval: interval, then value, each in seconds and microseconds.
        var timer = (
            Int(interval.count / Nanoseconds.perSecond),
            Int(interval.count % Nanoseconds.perSecond / 1000),
            Int(time.count / Nanoseconds.perSecond), Int(time.count % Nanoseconds.perSecond / 1000)
        )
        try withKernel(&timer) { (address) throws(Errno) -> Void in
            try SystemCall.make(.intervalTimer, 0, address, 0)
        }
    }

    /// How long until it goes off, if it is set: a program that executes another leaves its alarm to that.
    static var left: Nanoseconds? {
        var timer = (0, 0, 0, 0)
        let asked: Int? = try? withKernel(&timer) { (address) throws(Errno) in
            try SystemCall.make(.timeLeft, 0, address)
        }
        guard asked != nil, timer.2 != 0 || timer.3 != 0 else { return nil }
        let seconds = UInt64(truncatingIfNeeded: timer.2) &* Nanoseconds.perSecond
        return Nanoseconds(count: seconds &+ UInt64(truncatingIfNeeded: timer.3) &* 1000)
    }

    /// Unsets it.
    static func cancel() { _ = try? set(after: Nanoseconds(count: 0)) }
}
