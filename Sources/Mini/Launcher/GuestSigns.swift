// What is concluded from a guest's behaviour where no event tells: that it waits for a restart which its host does not carry
// out (LastWords.swift); with --verbose, that it has printed nothing for long (Silence.swift); and whether it got anywhere before
// it died.

final class GuestSigns {
    private var words: LastWords?
    private var silence: Silence?
    private let report: ((Text) -> Void)?
    /// Alarms that were seen.
    private var rings: UInt64?
    private let start = Clock.monotonic()
    private var isHeard = false
    /// Between two looks at a guest that may wait for its restart.
    private static let pause = Nanoseconds.milliseconds(500)
    /// A kernel that its host does not suit dies of that in less.
    private static let early = Nanoseconds.milliseconds(5000)

    /// - Parameters:
    ///   - asksForRestart: false if only its last words tell its restart.
    ///   - report: takes the line of `silence`; nil without --verbose.
    init(asksForRestart: Bool = true, _ silence: Silence, _ report: ((Text) -> Void)?) {
        words = asksForRestart ? nil : LastWords()
        self.silence = report == nil ? nil : silence
        self.report = report
    }

    /// It wrote to its console.
    func hear(_ bytes: UnsafeRawBufferPointer) {
        isHeard = true
        unsafe words?.hear(bytes)
        unsafe silence?.hear(bytes)
    }

    /// Whether a guest of lguest that dies now has come nowhere: it said nothing, or did not live long and has not
    /// said why it ends.
    /// - Parameter reason: its host's, or the guest's own.
    func isEarly(_ reason: Text) -> Bool {
        !isHeard
            || reason.dropping(prefix: "CRASH: ") == nil && Clock.monotonic() - start < Self.early
    }

    /// It notified another device.
    func notifies() { words?.use() }

    /// It is to begin again.
    var isRestarting: Bool { words?.isRestarting ?? false }

    /// True if an alarm went off, or the guest has said its last words.
    func isDue(_ loop: EventLoop) -> Bool { rings != loop.rings || words?.isNew ?? false }

    /// Looks after both.
    /// - Parameter usesDevices: whether the guest has used one beside its console.
    @inline(never)
    func look(_ loop: EventLoop, usesDevices: Bool) throws(LauncherError) {
        rings = loop.rings
        let now = Clock.monotonic()
        if usesDevices { silence = nil }
        if silence != nil {
            if let line = silence?.look(now) {
                report?(line)
                silence = nil
            } else {
                try loop.setAlarm(Silence.pause)
            }
        }
        guard words?.isWaiting ?? false else { return }
        words?.look(CPUSample(time: now, spent: Clock.spent()))
        try loop.setAlarm(Self.pause)
    }
}
