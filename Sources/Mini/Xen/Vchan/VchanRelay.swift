// Moves the bytes of a pipe between this side's streams and a vchan: the driver beside VchanMachine.
// Everything that it waits for, it waits for in one place. It asks the other end for an event just
// when it can do nothing without one, and looks once more before it sleeps.

/// This side's streams: standard input and output, or a socket.
final class LocalStreams {
    let input: Int32
    private(set) var output: Int32
    let inputName: Text
    let outputName: Text
    /// Whether reading and writing never wait: what cannot be done at once is EAGAIN.
    let inputNeverWaits: Bool
    let outputNeverWaits: Bool
    /// A pipe whose writer is somewhere: it ends when that does.
    let isInputPipe: Bool
    let socket: StreamSocket?
    /// One socket is standard input and output: closing one of the numbers does not end the connection.
    let isOneSocket: Bool
    private var ownInput: Descriptor?
    private var ownOutput: Descriptor?
    /// /dev/null, in place of an output that has ended.
    private let nothing: Int32
    private let keepsOutput: Bool

    /// The most bytes that one write is given, so that it does not wait when the output is ready.
    var most: Int { outputNeverWaits ? .max : Transfer.pipeRoom }

    /// Standard input and output.
    /// - Parameter keepsOutput: it stays open for the next peer.
    static func standard(keepsOutput: Bool) -> LocalStreams {
        LocalStreams(keepsOutput: keepsOutput)
    }

    private init(keepsOutput: Bool) {
        self.keepsOutput = keepsOutput
        let output: Int32 = 1
        // A file does not wait, and opened once more would begin at its start; a terminal's other end would be another's.
        let isFile = Self.kind(of: output) == .regular
        ownOutput =
            isFile || Terminal.isController(output)
            ? nil : Descriptor.neverWaiting(output, .writeOnlyNow)
        let own = ownOutput?.number
        outputNeverWaits = isFile || own != nil
        self.output = own ?? output
        let inputKind = Self.kind(of: 0)
        // Others may read the same terminal: what was there a moment ago is theirs, and no signal ends a wait for more.
        let canOpen =
            inputKind == .pipe || Terminal.isTerminal(0) && !Terminal.isController(0)
        ownInput = canOpen ? Descriptor.neverWaiting(0, .readOnlyNow) : nil
        let ownIn = ownInput?.number
        inputNeverWaits = inputKind == .regular || ownIn != nil
        isInputPipe = inputKind == .pipe
        isOneSocket =
            inputKind == .socket
            && Self.status(of: 0)?.identity == Self.status(of: output)?.identity
        input = ownIn ?? 0
        let opened = keepsOutput ? nil : try? Descriptor.openNumber("/dev/null", .writeOnly)
        nothing = opened ?? -1
        socket = nil
        inputName = "standard input"
        outputName = "standard output"
    }

    private static func status(of number: Int32) -> FileStatus? { try? FileStatus.of(number) }
    private static func kind(of number: Int32) -> FileStatus.Kind? { status(of: number)?.kind }

    init(_ socket: StreamSocket, name: Text) {
        input = socket.number
        output = socket.number
        inputName = name
        outputName = name
        inputNeverWaits = true
        outputNeverWaits = true
        isInputPipe = false
        keepsOutput = false
        isOneSocket = false
        ownInput = nil
        nothing = -1
        self.socket = socket
    }

    deinit { if nothing >= 0 { Descriptor.closeNumber(nothing) } }

    /// What it keeps open.
    func keep(_ have: inout GrantDescriptors) {
        if let socket {
            have.sockets.append(socket.number)
        } else {
            (have.input, have.output) = (input, output)
            have.nothing = nothing
        }
    }

    /// True if input and output are the two directions of a socket.
    var isSocket: Bool { socket != nil || isOneSocket }

    /// True if the next peer is going to get what this one has not been sent.
    var isForNextPeer: Bool { keepsOutput }

    /// Lets pipes hold as much as the rings, so that one read or write can move so much.
    func widen(input: Int, output: Int) {
        if ownInput != nil { Descriptor.widenPipe(self.input, to: input) }
        if ownOutput != nil { Descriptor.widenPipe(self.output, to: output) }
    }

    /// Lets the reader of the output see its end.
    func endOutput() {
        if socket != nil {
            try? socket?.endWriting()
        } else if keepsOutput {
            return
        } else if isOneSocket {
            try? StreamSocket.endWriting(output)
        } else {
            ownOutput = nil
            Process.endStandardOutput(nothing)
        }
        output = -1
    }
}

/// How bytes go through a vchan until the pipe ends.
struct VchanRelay {
    let vchan: Vchan
    /// The other end's domain.
    let peer: PeerDomain
    let local: LocalStreams
    let signals: PipeSignals
    /// When our input has ended and the other end has taken it: after how long a silence nothing more
    /// is awaited from there. Nil for what is usual.
    let linger: Nanoseconds?
    /// How many bytes are to come, if that was given (--expect).
    let expected: UInt64?

    /// For ends that cannot say that they have finished. Others are listened to until they do.
    static let usualLinger = Nanoseconds.milliseconds(2000)

    private var machine: VchanMachine
    private var outcome: VchanOutcome?
    /// When a silence has lasted long enough; nil while there is none.
    private var silence: Deadline?
    /// Why nothing more can come from the other domain, although its end of the vchan does not say so.
    private(set) var breach: PeerDomain.Breach?
    /// How many bytes have come after the reader of the output was gone.
    private(set) var thrownAway: UInt64 = 0
    /// Whether bytes came from the input.
    private var hasRead = false
    /// What a client sends first and a server's peers are told apart by; nil once a client has sent it.
    private var marker: UInt8?
    /// Nothing has come yet: a marker belongs there.
    private var isAtStart = true
    /// Told how many bytes have come and gone.
    private let progress: ((UInt64) -> Void)?
    /// What an end that has left had sent, as far as it is not written yet.
    private var rest: UInt32?
    /// The reader of the output is gone: what comes is thrown away.
    private var discards = false
    /// Nil with a ring that takes all that one read gives.
    private var ahead: VchanReadAhead?
    /// What the last wait said, or reading and writing since. What might wait is asked about each time.
    private var isInputReady = false
    private var isOutputReady = false
    /// How often bytes were moved since the last wait: signals want to be seen, too.
    private var moves = 0
    private static let mostMoves = 16
    /// When the other domain is looked after, whatever comes from our input: unless it was heard meanwhile.
    private var nextLook = Deadline.after(PeerDomain.pause)
    private var isHeard = false
    /// An event, a signal, input, output.
    private var awaited: PollSet

    init(
        _ vchan: Vchan, with peer: PeerDomain, _ local: LocalStreams, _ signals: PipeSignals,
        _ plan: PipePlan
    ) throws(GrantError) {
        self.peer = peer
        expected = plan.expected
        marker = plan.marker
        progress = plan.progress
        self.vchan = vchan
        self.local = local
        self.signals = signals
        linger = plan.linger
        machine = VchanMachine(vchan.role)
        let (sending, receiving) = vchan.ringSizes
        local.widen(input: sending, output: receiving)
        ahead = sending < VchanReadAhead.size ? try VchanReadAhead() : nil
        awaited = PollSet([
            Poll.Interest(vchan.descriptor), Poll.Interest(signals.descriptor),
            Poll.Interest(-1), Poll.Interest(-1),
        ])
    }

    /// How many bytes are to be written: of an end that has left, those that it had sent, and none of the next one's.
    private var ready: UInt32? { vchan.ready.map { min($0, rest ?? $0) } }

    /// How many bytes of ours the other end has not taken.
    private var untaken: UInt32 { vchan.untaken + UInt32(ahead?.count ?? 0) }

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
            try vchan.finish()
        case .endOutput: local.endOutput()
        case .end(let outcome): self.outcome = outcome
        }
    }

    /// What the memory says by itself. What the other end says of itself is looked at before what it has
    /// sent: so nothing that it sent before is overlooked.
    private mutating func look() throws(GrantError) {
        let presence = breach != nil ? .gone : vchan.presence
        let isFinished = vchan.isOtherFinished
        guard let ready = ready, vchan.space != nil else { return try handle(.broken) }
        switch presence {
        case .notYet: break
        case .here: try handle(.peerCame)
        case .gone:
            if !machine.isDraining {
                rest = ready
                try handle(.peerLeft(departure(isFinished)))
            }
        }
        if ready == 0 {
            if machine.isDraining { try handle(.drained) }
            if isFinished { try handle(.peerFinished) }
        }
        if !machine.isReceiving || ready > 0 || vchan.untaken > 0 {
            silence = nil
        } else if silence == nil {
            silence = mostSilence.map { Deadline.after($0) } ?? .never
        }
        let isEnough = expected.map { vchan.received >= $0 } ?? false
        if machine.isReceiving && isEnough && vchan.untaken == 0 { try handle(.patienceOver) }
        if silence?.isOver ?? false { try handle(.patienceOver) }
        if machine.isFinishing && vchan.untaken == 0 { try handle(.taken) }
    }

    private var mostSilence: Nanoseconds? {
        if discards { return Nanoseconds(count: 0) }
        // With --expect the end is known, and a silence is none.
        if expected != nil { return linger }
        return linger ?? (vchan.willOtherFinish ? nil : Self.usualLinger)
    }

    /// What is known when the other end is gone.
    private func departure(_ isFinished: Bool) throws(GrantError) -> VchanDeparture {
        VchanDeparture(
            word: isFinished ? .sentAll : vchan.willOtherFinish ? .nothing : .cannotSay,
            untaken: untaken, leavesInput: machine.awaitsInput ? try isInputLeft() : false)
    }

    /// Whether the input has more for a peer that is gone. What is idle has nothing, but for a pipe from which
    /// bytes came: its writer has not finished.
    private func isInputLeft() throws(GrantError) -> Bool {
        if local.isForNextPeer { return false }
        let isIdle = local.isInputPipe && hasRead
        guard try PipeSignals.wait([Poll.Interest(local.input)], Nanoseconds(count: 0))[0] else {
            return isIdle
        }
        let count = try Vchan.transfer("read", local.inputName) { () throws(Errno) in
            var byte: [UInt8] = [0]
            return try Transfer.read(local.input, into: &byte)
        }
        return count.map { $0 > 0 } ?? isIdle
    }

    /// Does what can be done, or waits until something can.
    private mutating func step() throws(GrantError) {
        guard let ready = ready, let space = vchan.space else { return try handle(.broken) }
        let sends = machine.readsInput && space > 0
        let receives = machine.writesOutput && ready > 0
        let canReceive = receives && (isOutputReady || discards)
        let isPending = (ahead?.count ?? 0) > 0 || (marker != nil && vchan.role == .client)
        let canSend = sends && (isInputReady || isPending)
        if (canReceive || canSend) && moves < Self.mostMoves {
            moves += 1
            if canReceive { try receiveCounted(ready) }
            if canSend { try send(space) }
            progress?(vchan.received + vchan.sent)
            return
        }
        if !receives { vchan.ask(for: .written) }
        if !sends { vchan.ask(for: .read) }
        // It may have happened while we asked; and may so each time, with a peer that does nothing else.
        if moves < Self.mostMoves,
            !receives && vchan.ready != ready || !sends && vchan.space != space
        {
            moves += 1
            return
        }
        try wait(sends: sends, receives: receives, isBusy: canReceive || canSend)
    }

    /// Receives, and takes that off what a peer that is gone had left in the ring.
    private mutating func receiveCounted(_ ready: UInt32) throws(GrantError) {
        let before = vchan.received
        try receive(ready)
        rest = rest.map { $0 &- UInt32(truncatingIfNeeded: vchan.received &- before) }
    }

    /// Waits until something can be done; only looks, if something can be already.
    /// - Parameters:
    ///   - sends: whether bytes from the input are wanted now.
    ///   - receives: whether there are bytes for the output.
    private mutating func wait(sends: Bool, receives: Bool, isBusy: Bool) throws(GrantError) {
        awaited.change(2, to: Poll.Interest(sends ? local.input : -1))
        awaited.change(
            3, to: Poll.Interest(discards ? -1 : local.output, receives ? .writable : .closed))
        var idle = Nanoseconds(count: 0)
        if !isBusy && moves < Self.mostMoves {
            idle = nextLook.remaining ?? PeerDomain.pause
            if idle.count == 0 { return lookAfterPeer() }
            idle = min(idle, silence?.remaining ?? idle)
        }
        do throws(Errno) { try awaited.wait(timeout: idle) } catch { throw .system("wait", error) }
        moves = 0
        if awaited.isReady(0) {
            isHeard = true
            try vchan.takeEvent()
        }
        if awaited.isReady(1), let signal = try signals.next() {
            return try handle(.stopped(signal))
        }
        if awaited.isReady(2) { isInputReady = true }
        if awaited.isReady(3) {
            // Ready although there is nothing to write: it was closed.
            guard receives else { return try outputClosed() }
            isOutputReady = true
        }
    }

    /// Nothing came from the other domain for a while. Its kernel, and ours, may have been able to say nothing.
    private mutating func lookAfterPeer() {
        if !isHeard { breach = peer.look() }
        isHeard = false
        nextLook = .after(PeerDomain.pause)
    }

    /// The reader of our output is gone. One that has closed a socket may have written to it before: that is still read.
    private mutating func outputClosed() throws(GrantError) {
        if !local.isSocket { return try handle(.outputClosed) }
        discards = true
    }

    private mutating func send(_ space: UInt32) throws(GrantError) {
        if let marker, vchan.role == .client {
            self.marker = nil
            try vchan.send(marker)
            return
        }
        if let ahead, ahead.count > 0 { return try ahead.send(to: vchan, space: space) }
        let (input, name) = (local.input, local.inputName)
        let count =
            ahead == nil
            ? try vchan.send(from: input, name: name, space: space)
            : try ahead?.fill(from: input, name: name)
        isInputReady = local.inputNeverWaits && count != nil
        if count ?? 0 > 0 { hasRead = true }
        if count == 0 { try handle(.inputEnded) }
    }

    private mutating func receive(_ ready: UInt32) throws(GrantError) {
        if let marker, vchan.role == .server,
            let index = vchan.lastIndex(of: marker, ready: ready)
        {
            // What was before it was the last peer's, of whom nothing more is to be reported.
            try vchan.discard(ready: UInt32(index + 1))
            if !isAtStart || index > 0 { try handle(.peerReplaced) }
            isAtStart = false
            return
        }
        isAtStart = false
        if discards {
            thrownAway += UInt64(ready)
            return try vchan.discard(ready: ready)
        }
        let result = try vchan.receive(
            to: local.output, name: local.outputName, ready: ready, most: local.most)
        isOutputReady = local.outputNeverWaits && result == .moved
        if result == .closed { try outputClosed() }
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
