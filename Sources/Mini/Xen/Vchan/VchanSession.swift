// A pipe from its beginning to its end, and from one peer to the next: offers a vchan or looks for one,
// opens this side's streams when the other end is there, relays, and gives everything back.

/// What a pipe is to connect.
struct PipePlan {
    /// How this side's bytes come and go.
    enum Local: Equatable {
        case standard
        case connect(Text)
        case listen(Text)
    }
    var role: VchanRole
    var domain: DomainID
    var path: StorePath
    var local: Local
    /// The least size of each ring, for a server.
    var ringBytes: Int
    /// How long to wait for a peer; nil for as long as it takes.
    var patience: Nanoseconds?
    var linger: Nanoseconds?
    /// How many bytes are to come; nil if that was not given.
    var expected: UInt64?
    /// After one peer, wait for the next.
    var reconnects: Bool
    /// The byte that a client sends first, and that tells a server of a new client in the old one's rings.
    var marker: UInt8?
    /// Where the store is told that the pipe runs.
    var statePath: StorePath?
    /// Told now and then how many bytes have come and gone.
    var progress: ((UInt64) -> Void)?
    var sandbox = SandboxChoice.off
    /// What messages are written to.
    var errors: [Int32] = []
    /// What messages take in a sandbox.
    var messageFeatures: [GrantFeature] = []

    /// Whether this side's streams are opened once more for another peer.
    fileprivate var hasFurtherPeers: Bool { reconnects || marker != nil && role == .server }
}

/// Carries out a plan.
final class VchanSession {
    /// What a server's clients come to.
    private struct Offer {
        let vchan: Vchan
        let address: VchanAddress
        /// The path was made for it.
        let isNew: Bool
        /// A client has used it before.
        var isUsed = false
    }
    private let plan: PipePlan
    private let signals: PipeSignals
    private let peer: PeerDomain
    private let report: ((Text) -> Void)?
    /// Told what is wrong with one peer, when there will be a next one.
    private let complain: (Text) -> Void
    private var listener: StreamSocket?
    private var offer: Offer?
    // Kept from one peer to the next: in a sandbox nothing can be opened.
    private var store: XenStore?
    private var devices: Result<VchanDevices, GrantError>?
    private var standard: LocalStreams?
    /// Removes the socket's name.
    private var keeper: Assistant?
    private var isConfined = false
    /// Set when a signal ended a wait, which throws then.
    private var stopped: Signal?
    private var hasToldState = false
    /// When the other domain is looked after, whatever else happens.
    private var nextLook = Deadline.after(PeerDomain.pause)

    init(
        _ plan: PipePlan, report: ((Text) -> Void)?, complain: @escaping (Text) -> Void
    ) throws(GrantError) {
        self.plan = plan
        self.complain = complain
        self.report = report
        signals = try PipeSignals()
        peer = PeerDomain(plan.domain, Deadline.never.orSignal(at: signals.descriptor))
        guard case .listen(let name) = plan.local else { return }
        do throws(Errno) { listener = try StreamSocket.listening(at: name) } catch {
            throw .host("listen on", name: name, error)
        }
    }

    deinit { if keeper == nil { stopListening() } }

    /// Accepts no further connections.
    private func stopListening() {
        guard case .listen(let name) = plan.local, listener != nil else { return }
        listener = nil
        try? Files.remove(name)
    }

    /// Runs until the pipe has ended; if it reconnects, until a signal.
    func run() throws(GrantError) -> VchanOutcome {
        while true {
            let outcome: VchanOutcome
            do throws(GrantError) {
                outcome = plan.role == .server ? try serve() : try connect()
            } catch {
                // It may be the signal that ended what failed.
                if stopped == nil, error.mayBeSignal { stopped = try signals.next() }
                if let stopped { return .stopped(stopped) }
                // The server of the socket may be there for the next peer.
                guard plan.reconnects, case .host("connect to", _, _) = error else { throw error }
                complain(error.text)
                _ = try? wait(for: -1, until: .after(Self.retryPause))
                if let stopped { return .stopped(stopped) }
                continue
            }
            report?(outcome.words)
            switch outcome {
            case .stopped: return outcome
            case .outputClosed where plan.local == .standard: return outcome
            default: if !plan.reconnects { return outcome }
            }
            if outcome.isLoss && report == nil { complain(outcome.words) }
        }
    }

    /// After a peer that could not be served.
    private static let retryPause = Nanoseconds.milliseconds(1000)

    private var deadline: Deadline {
        (plan.patience.map { Deadline.after($0) } ?? .never).orSignal(at: signals.descriptor)
    }

    /// For what is taken back at the end, which a signal must not leave undone.
    private static let closingPatience = Nanoseconds.milliseconds(1000)

    // MARK: Server

    private func serve() throws(GrantError) -> VchanOutcome {
        let deadline = deadline
        let offer: Offer
        if let kept = self.offer { offer = kept } else { offer = try makeOffer(deadline) }
        self.offer = nil
        let vchan = offer.vchan
        var isKept = false
        defer {
            if !isKept {
                // The entries first, so that no client comes to a vchan that is going away.
                try? openStore(.after(Self.closingPatience))
                    .withdraw(offer.address, at: plan.path, isNew: offer.isNew)
                vchan.close()
            }
        }
        peer.entries = try XenStore.entries(of: offer.address, at: plan.path)
        defer { peer.entries = [] }
        try tellState()
        if plan.local == .standard || plan.hasFurtherPeers { try confine(with: nil) }
        report?("offered to domain \(plan.domain.rawValue) at \(quoted: plan.path.text)")
        // A second client may have come, written and left between two looks.
        while offer.isUsed
            ? vchan.presence == .gone && vchan.ready == 0 : vchan.presence == .notYet
        {
            // An event need not mean that a client came: the other domain may send them all the time. Nor does each client send
            // one: those on libxenvchan before 4.14 do with the first byte that they write.
            guard !deadline.isOver else {
                throw .deadline("domain \(plan.domain.rawValue) did not connect in time")
            }
            if try wait(for: vchan.descriptor, until: deadline.within(PeerDomain.pause)) {
                try vchan.takeEvent()
            }
        }
        peer.entries = []
        while true {
            let local = try streams(until: deadline)
            try confine(with: local)
            let outcome = try relay(vchan, local)
            guard outcome == .replaced else {
                isKept = try keep(offer, after: outcome)
                return outcome
            }
            report?(outcome.words)
        }
    }

    private func makeOffer(_ deadline: Deadline) throws(GrantError) -> Offer {
        guard let layout = VchanLayout(leastLeft: plan.ringBytes, leastRight: plan.ringBytes)
        else { throw .use("a ring of \(plan.ringBytes) bytes is too large") }
        let (vchan, address) = try Vchan.offered(
            to: plan.domain, layout, on: try openDevices())
        let isNew = try openStore(deadline.within(XenStore.patience))
            .publish(address, at: plan.path, for: plan.domain)
        return Offer(vchan: vchan, address: address, isNew: isNew)
    }

    /// Keeps the rings for the next client, as libxenvchan's servers do: it may have found them already, and would be
    /// thrown off with the last one.
    /// - Returns: false for those that are to go.
    private func keep(_ offer: Offer, after outcome: VchanOutcome) throws(GrantError) -> Bool {
        guard plan.reconnects else { return false }
        let vchan = offer.vchan
        switch outcome {
        case .left: break
        case .done:
            // A peer that knows the bit for "finished" sees that we have, and leaves by itself.
            guard vchan.isOtherFinished || vchan.presence == .gone else { return false }
            let deadline = Deadline.after(Self.closingPatience)
            while vchan.presence == .here && vchan.isOtherFinished {
                guard !deadline.isOver, try wait(for: vchan.descriptor, until: deadline) else {
                    return false
                }
                try vchan.takeEvent()
            }
        default: return false
        }
        // The domain may have ended, and others may have changed the entries.
        guard vchan.presence == .gone || !vchan.isOtherFinished,
            let address = try? openStore(.after(Self.closingPatience)).find(plan.path),
            address == offer.address, vchan.renew()
        else { return false }
        self.offer = offer
        self.offer?.isUsed = true
        return true
    }

    // MARK: Client

    private func connect() throws(GrantError) -> VchanOutcome {
        try tellState()
        // The server is not connected to before there is something to connect with it.
        var local: LocalStreams?
        if case .listen = plan.local { local = try streams(until: .never) }
        if local != nil || plan.local == .standard || plan.hasFurtherPeers {
            try confine(with: local)
        }
        let deadline = deadline
        let vchan = try find(until: deadline)
        defer { vchan.close() }
        report?("connected to domain \(plan.domain.rawValue) at \(quoted: plan.path.text)")
        if let local { return try relay(vchan, local) }
        let streams = try streams(until: deadline)
        try confine(with: streams)
        return try relay(vchan, streams)
    }

    /// Connects to what the domain offers, as soon as it offers something.
    private func find(until deadline: Deadline) throws(GrantError) -> Vchan {
        let store = try openStore(deadline.within(XenStore.patience))
        try store.watch(plan.path, token: "vchan")
        defer {
            // Later events of its entries are of no use, and would fill the connection.
            store.deadline = .after(Self.closingPatience)
            try? store.unwatch(plan.path, token: "vchan")
        }
        var failure: GrantError?
        repeat {
            while try store.nextEvent(until: .after(Nanoseconds(count: 0))) != nil {
                store.deadline = deadline.within(XenStore.patience)
                if let address = try store.find(plan.path) {
                    do throws(GrantError) {
                        return try Vchan.connected(
                            to: plan.domain, address, on: try openDevices(), deadline)
                    } catch {
                        // What a server left that has ended. The next one will write over it: perhaps the
                        // same numbers, which is an event all the same.
                        guard error.exitCode == 4, plan.reconnects || plan.patience != nil else {
                            throw error
                        }
                        failure = error
                    }
                }
                // The entry may change all the time.
                if deadline.isOver { break }
            }
            if deadline.isOver { break }
        } while try wait(for: store.descriptor, until: deadline)
        // Whatever was wrong before is not why this ends.
        if let signal = try signals.next() {
            stopped = signal
            throw .system("wait", .interrupted)
        }
        throw failure ?? .deadline("nobody offered a vchan at \(quoted: plan.path.text) in time")
    }

    // MARK: Both

    /// Says once that the pipe runs, as vchan-socket-proxy does: the other side may come now.
    private func tellState() throws(GrantError) {
        guard let path = plan.statePath, !hasToldState else { return }
        hasToldState = true
        try openStore(deadline.within(XenStore.patience)).write(path, ("running" as Text).bytes)
    }

    private func openStore(_ deadline: Deadline) throws(GrantError) -> XenStore {
        if let store, store.isUsable || isConfined {
            store.deadline = deadline
            return store
        }
        let opened = try XenStore(deadline: deadline)
        store = opened
        return opened
    }

    private func openDevices() throws(GrantError) -> VchanDevices {
        let opened: Result<VchanDevices, GrantError>
        if let devices {
            opened = devices
        } else {
            do throws(GrantError) { opened = .success(try VchanDevices(plan.role)) } catch {
                opened = .failure(error)
            }
        }
        devices = opened
        return try opened.get()
    }

    /// Enters the sandbox, once: everything is open that will be needed.
    /// - Parameter local: this side's socket, where it is there already.
    private func confine(with local: LocalStreams?) throws(GrantError) {
        guard plan.sandbox != .off, !isConfined else { return }
        isConfined = true
        var have = GrantDescriptors()
        var features: [GrantFeature] = [.always, .pipe]
        features += plan.messageFeatures
        have.errors = plan.errors
        have.signals = signals.descriptor
        have.stores = [try openStore(deadline.within(XenStore.patience)).descriptor]
        if let number = peer.confine() { have.stores.append(number) }
        // Where there are none, that is told when there is a peer to connect to.
        if let devices = try? openDevices() { devices.keep(&have) }
        switch plan.role {
        case .server: features += plan.hasFurtherPeers ? [.server, .nextClients] : [.server]
        case .client: features.append(.client)
        }
        if plan.local == .standard {
            let streams = try streams(until: deadline)
            streams.keep(&have)
            features.append(.standard)
            if streams.isOneSocket { features.append(.oneSocket) }
        } else {
            features.append(.socket)
            have.listener = listener?.number ?? -1
            local?.keep(&have)
            if plan.hasFurtherPeers {
                if case .listen(let name) = plan.local {
                    do throws(Errno) { keeper = try Assistant(removing: name) } catch {
                        throw .host("keep", name: name, error)
                    }
                    have.keeper = keeper?.descriptors ?? []
                }
                // One may still be open when the next one is.
                have.sockets += have.free(2)
                if case .listen = plan.local { features.append(.listening) }
                if case .connect = plan.local { features.append(.connecting) }
            }
        }
        try GrantSandbox.enter(
            plan.sandbox, features, have, note: complain, report: report)
    }

    /// How often a socket is tried at which too many wait.
    private static let pause = Nanoseconds.milliseconds(50)

    private func relay(_ vchan: Vchan, _ local: LocalStreams) throws(GrantError) -> VchanOutcome {
        var relay = try VchanRelay(
            vchan, with: peer, local, signals, plan)
        let outcome = try relay.run()
        if relay.thrownAway > 0 {
            complain(
                "nobody reads \(quoted: local.outputName) any more: \(relay.thrownAway) bytes were thrown away"
            )
        }
        if case .left(let departure) = outcome {
            if let breach = relay.breach, departure.isLoss || departure.word != .sentAll {
                throw .refused("\(breach.words), and left \(departure.untaken) bytes untaken")
            }
            if departure.word == .cannotSay, plan.expected == nil, !plan.reconnects,
                vchan.received > 0, !departure.isLoss
            {
                complain(
                    "the other domain has closed the vchan after \(vchan.received) bytes; its program cannot say whether that was all"
                )
            }
        }
        if let expected = plan.expected, outcome.isOfPeer, vchan.received != expected {
            throw .refused("\(vchan.received) bytes came, and \(expected) were expected")
        }
        return outcome
    }

    /// Opens this side's streams.
    private func streams(until deadline: Deadline) throws(GrantError) -> LocalStreams {
        switch plan.local {
        case .standard:
            if let standard { return standard }
            let opened = LocalStreams.standard(keepsOutput: plan.reconnects)
            standard = opened
            return opened
        case .connect(let name):
            while true {
                do throws(Errno) {
                    return LocalStreams(try StreamSocket.connected(to: name), name: name)
                } catch {
                    guard error == .again, !deadline.isOver else {
                        throw .host("connect to", name: name, error)
                    }
                }
                _ = try wait(for: -1, until: .after(Self.pause))
            }
        case .listen(let name):
            while try wait(for: listener?.number ?? -1, until: deadline) {
                do throws(Errno) {
                    // The program that connected may have gone before it was accepted.
                    if let socket = try listener?.accept() {
                        if !plan.hasFurtherPeers { stopListening() }
                        return LocalStreams(socket, name: name)
                    }
                } catch { throw .host("accept at", name: name, error) }
                if deadline.isOver { break }
            }
            throw .deadline("nobody connected to \(quoted: name) in time")
        }
    }

    /// - Returns: false when the deadline has passed.
    /// - Throws: `.refused` when the other domain has ended; anything, with `stopped` set, when a signal came.
    private func wait(for descriptor: Int32, until deadline: Deadline) throws(GrantError) -> Bool {
        while true {
            let pause = nextLook.remaining ?? PeerDomain.pause
            let isReady = try PipeSignals.wait(
                [Poll.Interest(descriptor), Poll.Interest(signals.descriptor)],
                min(pause, deadline.remaining ?? pause))
            if isReady[1], let signal = try signals.next() {
                stopped = signal
                throw .system("wait", .interrupted)
            }
            if !isReady[0] && deadline.isOver { return false }
            if nextLook.isOver {
                nextLook = .after(PeerDomain.pause)
                if let breach = peer.look() { throw .refused(breach.words) }
            }
            if isReady[0] { return true }
        }
    }
}

extension VchanOutcome {
    /// True if bytes are known not to have arrived.
    var isLoss: Bool {
        switch self {
        case .left(let departure): departure.isLoss
        case .broken: true
        case .done, .replaced, .outputClosed, .stopped: false
        }
    }

    /// True if the other end ended it.
    var isOfPeer: Bool {
        switch self {
        case .done, .left: true
        case .replaced, .broken, .outputClosed, .stopped: false
        }
    }

    /// One line for people.
    var words: Text {
        switch self {
        case .done: "both directions have ended"
        case .left(let departure): departure.words
        case .replaced: "another program has come in place of the other end"
        case .outputClosed: "nobody reads the output any more"
        case .stopped(let signal): "ended by signal \(signal.rawValue)"
        case .broken: "the other domain's indices are impossible"
        }
    }
}

extension VchanDeparture {
    /// What is lost, in one line.
    fileprivate var words: Text {
        var line: Text = "the other domain has closed the vchan"
        if word == .nothing { line += " and has not said that it had sent all" }
        if untaken > 0 { line += " and left \(untaken) bytes untaken" }
        if leavesInput { line += " before the input had ended" }
        return line
    }
}
