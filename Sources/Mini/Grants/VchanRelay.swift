// Moves the bytes of a pipe between this side's streams and a vchan: the driver beside VchanMachine.
// Everything that it waits for, it waits for in one place. It asks the other end for an event just
// when it can do nothing without one, and looks once more before it sleeps.

/// This side's streams: standard input and output, or a socket.
final class LocalStreams {
    let input: Int32
    private(set) var output: Int32
    let inputName: Text
    let outputName: Text
    /// The most bytes that one write is given, so that it never waits.
    let most: Int
    private let socket: StreamSocket?
    private var ownOutput: Descriptor?
    private let keepsOutput: Bool

    /// POSIX promises that a pipe which takes anything takes this much without waiting.
    private static let least = 4096

    /// Standard input and output.
    /// - Parameter keepsOutput: somebody will need it again.
    static func standard(keepsOutput: Bool) -> LocalStreams {
        LocalStreams(keepsOutput: keepsOutput)
    }

    private init(keepsOutput: Bool) {
        self.keepsOutput = keepsOutput
        let output: Int32 = 1
        let isRegular = (try? FileStatus.of(output))?.kind == .regular
        // A file does not wait, and opened once more would begin at its start.
        ownOutput = isRegular ? nil : Descriptor.neverWaiting(output)
        let own = ownOutput?.number
        most = isRegular || own != nil ? .max : Self.least
        self.output = own ?? output
        input = 0
        socket = nil
        inputName = "standard input"
        outputName = "standard output"
    }

    init(_ socket: StreamSocket, name: Text) {
        input = socket.number
        output = socket.number
        inputName = name
        outputName = name
        most = .max
        keepsOutput = false
        self.socket = socket
    }

    /// Lets whoever reads the output see its end.
    func endOutput() {
        if socket != nil {
            try? socket?.endWriting()
        } else if !keepsOutput {
            ownOutput = nil
            Process.endStandardOutput()
            output = -1
        }
    }
}

/// How bytes go through a vchan until the pipe ends.
struct VchanRelay {
    let vchan: Vchan
    let local: LocalStreams
    let signals: PipeSignals
    /// How long to wait for what the other end may still send once our input has ended.
    let linger: Nanoseconds?

    private var machine: VchanMachine
    private var outcome: VchanOutcome?
    private var patience = Deadline.never

    init(_ vchan: Vchan, _ local: LocalStreams, _ signals: PipeSignals, linger: Nanoseconds?) {
        self.vchan = vchan
        self.local = local
        self.signals = signals
        self.linger = linger
        machine = VchanMachine(vchan.role)
    }

    /// Moves bytes until the pipe ends.
    mutating func run() throws(GrantError) -> VchanOutcome {
        while true {
            try look()
            if let outcome { return outcome }
            try step()
            if let outcome { return outcome }
        }
    }

    private mutating func handle(_ event: VchanMachine.Event) throws(GrantError) {
        switch machine.handle(event) {
        case nil, .relay: break
        case .finishSending:
            if let linger { patience = .after(linger) }
            try vchan.finish()
        case .endOutput: local.endOutput()
        case .end(let outcome): self.outcome = outcome
        }
    }

    /// What the memory says by itself. What the other end says of itself is looked at before what it has
    /// sent: so nothing that it sent before is overlooked.
    private mutating func look() throws(GrantError) {
        let presence = vchan.presence
        let isFinished = vchan.isOtherFinished
        guard let ready = vchan.ready, vchan.space != nil else { return try handle(.broken) }
        switch presence {
        case .notYet: break
        case .here: try handle(.peerCame)
        case .gone: try handle(.peerLeft(untaken: vchan.untaken))
        }
        if ready == 0 {
            if machine.isDraining { try handle(.drained) }
            if isFinished { try handle(.peerFinished) }
        }
        if patience.isOver {
            // Once: a limit that has passed would keep us from sleeping.
            patience = .never
            try handle(.patienceOver)
        }
        if machine.isFinishing && vchan.untaken == 0 { try handle(.taken) }
    }

    /// Waits until something can be done, and does it.
    private mutating func step() throws(GrantError) {
        guard let ready = vchan.ready, let space = vchan.space else { return try handle(.broken) }
        let sends = machine.readsInput && space > 0
        let receives = machine.writesOutput && ready > 0
        if !receives { vchan.ask(for: .written) }
        if !sends { vchan.ask(for: .read) }
        // It may have happened while we asked.
        if !receives && vchan.ready != ready || !sends && vchan.space != space { return }

        let isReady = try PipeSignals.wait(
            [
                Poll.Interest(vchan.descriptor), Poll.Interest(signals.descriptor),
                Poll.Interest(sends ? local.input : -1),
                Poll.Interest(local.output, receives ? .writable : .closed),
            ], patience.remaining)
        if isReady[0] { try vchan.takeEvent() }
        if isReady[1], let signal = try signals.next() { return try handle(.stopped(signal)) }
        if isReady[3] { try receive(receives ? ready : 0) }
        if isReady[2] { try send(space) }
    }

    private mutating func send(_ space: UInt32) throws(GrantError) {
        let count = try vchan.send(from: local.input, name: local.inputName, space: space)
        if count == 0 { try handle(.inputEnded) }
    }

    private mutating func receive(_ ready: UInt32) throws(GrantError) {
        // Ready although there is nothing to write: it was closed.
        guard ready > 0 else { return try handle(.outputClosed) }
        let isOpen = try vchan.receive(
            to: local.output, name: local.outputName, ready: ready, most: local.most)
        if !isOpen { try handle(.outputClosed) }
    }
}

/// The signals that end a pipe.
final class PipeSignals {
    private let queue: SignalQueue
    private static let ending: [Signal] = [
        .hangUp, .interrupt, .quit, .user1, .user2, .terminate,
    ]

    init() throws(GrantError) {
        var awaited: SignalSet = []
        for signal in Self.ending where !signal.isIgnored { awaited.insert(signal) }
        do throws(Errno) {
            queue = try SignalQueue(awaited: awaited, silenced: [.brokenPipe])
        } catch { throw .system("wait for signals", error) }
    }

    var descriptor: Int32 { queue.descriptor }

    func next() throws(GrantError) -> Signal? {
        do throws(Errno) { return try queue.next() } catch {
            throw .system("take a signal", error)
        }
    }

    static func wait(
        _ interests: [Poll.Interest], _ time: Nanoseconds?
    ) throws(GrantError) -> [Bool] {
        do throws(Errno) { return try Poll.wait(interests, timeout: time) } catch {
            throw .system("wait", error)
        }
    }
}
