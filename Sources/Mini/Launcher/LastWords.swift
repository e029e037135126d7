// Notices that a guest waits for a restart. A kernel before 2.6.25 has no call that asks for one: it writes its last words
// to the console, pulls the reset line of a keyboard controller, and computes for ever. The built-in host sees the
// reset; the kernel's device ignores it and reports nothing. There the words tell, and the processor time that the guest takes
// from then on without output and without using a device: a guest that waits takes next to none.
//
//   listening -- last words --> said -- looked --> computing -- looked, for long --> restarting
//   said, computing -- other words, a device --> listening
//
// Source: docs/abi/lguest.md §3.2 (no SHUTDOWN before era 3a). The same as a page: docs/last-words-machine.md.

struct LastWords {
    private enum State {
        /// So many bytes of the words came, one after the other.
        case listening(Int)
        /// All of them; the rest of their line may follow.
        case said(isLineOver: Bool)
        /// What the last look found, and the processor time that the guest has taken since its words, without a pause.
        case computing(CPUSample, Nanoseconds)
        case restarting
    }
    private var state = State.listening(0)

    /// The start of `Restarting system.` and of `Restarting system with command '…'`. The first byte is not in it again.
    private static let words: StaticString = "Restarting system"
    private static let lineEnd: UInt8 = 0x0A
    private static let carriageReturn: UInt8 = 0x0D
    /// After so much processor time without anything else the guest is taken to restart.
    static let patience = Nanoseconds.milliseconds(2000)
    /// One that waits takes less of the time; one that computes gets more, on a busy machine, too.
    private static let share: UInt64 = 8

    /// True once it has said its last words, until the first look.
    var isNew: Bool {
        if case .said(isLineOver: true) = state { return true }
        return false
    }
    /// True from its last words on, as long as nothing else has come: `look` has to be called.
    var isWaiting: Bool {
        switch state {
        case .said(let isLineOver): isLineOver
        case .computing: true
        case .listening, .restarting: false
        }
    }
    /// True for good once that is what it does.
    var isRestarting: Bool {
        if case .restarting = state { return true }
        return false
    }

    /// The guest wrote to its console.
    mutating func hear(_ bytes: UnsafeRawBufferPointer) {
        for index in bytes.indices { unsafe hear(bytes[index]) }
    }

    mutating func hear(_ byte: UInt8) {
        switch state {
        case .restarting: return
        case .said(isLineOver: false):
            state = .said(isLineOver: byte == Self.lineEnd)
            return
        case .said, .computing:
            if byte == Self.carriageReturn || byte == Self.lineEnd { return }
            state = .listening(0)
        case .listening: break
        }
        guard case .listening(let count) = state else { return }
        let words = unsafe UnsafeBufferPointer(
            start: Self.words.utf8Start, count: Self.words.utf8CodeUnitCount)
        let next = unsafe byte == words[count] ? count + 1 : byte == words[0] ? 1 : 0
        state = next == words.count ? .said(isLineOver: false) : .listening(next)
    }

    /// It used another device.
    mutating func use() {
        if !isRestarting { state = .listening(0) }
    }

    /// Takes a sample of its processor time.
    mutating func look(_ now: CPUSample) {
        switch state {
        case .listening, .restarting, .said(isLineOver: false): return
        case .said: state = .computing(now, Nanoseconds(count: 0))
        case .computing(let last, let sum):
            let spent = now.spent - last.spent
            let isBusy = spent.count.multipliedReportingOverflow(by: Self.share)
            let total =
                isBusy.overflow || isBusy.partialValue >= (now.time - last.time).count
                ? sum + spent : Nanoseconds(count: 0)
            state = total < Self.patience ? .computing(now, total) : .restarting
        }
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .listening: "listening"
        case .said: "said"
        case .computing: "computing"
        case .restarting: "restarting"
        }
    }
}
