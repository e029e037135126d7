// A network card as a virtio driver sees it, whose cable leads to a tap or a shared network: a queue of frames for the guest
// and one of frames from it. In front of each frame is a header, of ten bytes as a rule, by which one side leaves checksums, and the cutting of
// long frames into segments, to the other. A tap that has the same headers gets and gives them as they are, and the host's
// kernel checks what a guest wrote there; without, nothing is offered and all headers are 0. Frames for which the guest
// has lent no buffer stay in the tap, with the host's kernel.
// When the tap is read is decided by NetworkInput, the same as for lguest's card; its alarms are not needed here, as
// a driver rings when it lends buffers.
// That frames have gone out is worth an interrupt only when there are many, or the guest waits for it: each costs the guest more
// than a frame does, and while the driver has not heard of a frame, a kernel collects what is written meanwhile into one of the next.
// Source: docs/abi/pc.md §4.6; Virtual I/O Device specification 1.2, chapter 5.1.

/// The virtio device of a network card.
final class VirtioNetwork: VirtioDevice {
    private static let input = 0
    private static let output = 1
    private static let queueSize: UInt16 = 256
    /// The most pieces of a frame; more than one call takes would be several frames.
    private static let mostPieces = 64
    /// The longest frame that can be one: a packet of 64 KiB after Ethernet's header.
    private static let longest: UInt32 = 65_535 + 18

    private enum Feature {
        // What the guest may leave to us, and what we may leave to the guest.
        static let checksums: UInt32 = 1 << 0
        static let segments4: UInt32 = 1 << 11
        static let segments6: UInt32 = 1 << 12
        static let guestChecksums: UInt32 = 1 << 1
        static let guestSegments4: UInt32 = 1 << 7
        static let guestSegments6: UInt32 = 1 << 8
        static let guestSegments = guestSegments4 | guestSegments6
        static let offloads = checksums | segments4 | segments6 | guestChecksums | guestSegments
        static let address: UInt32 = 1 << 5
        static let status: UInt32 = 1 << 16
    }

    let backend: any NetworkBackend
    let features: UInt32
    /// The guest's own, and the one that its driver has chosen instead, until it begins anew.
    private let ownAddress: HardwareAddress
    private var address: HardwareAddress
    /// A driver takes frames.
    private var isUp = false
    /// What the driver took, and what the cable knows of it.
    private var agreement: OffloadAgreement
    /// The most frames that wait in a tap.
    private static let mostOld = 1000
    private var machine = NetworkInput()
    private var pieces = IOVector(pieces: mostPieces)
    private var chain = VirtqueueChain()
    private var failure: Errno?
    /// Answers come in several frames, as far as is known; a look took one and did not ask for a second.
    private var areMany = false
    private var isUnsure = false
    /// Frames that have gone out since the driver heard of any, and when that began to be put off.
    private var untold = 0
    private var untoldSince = Nanoseconds(count: 0)
    /// So many are told at once.
    private static let mostUntold = 64
    /// They are told after this time.
    static let longestUntold = Nanoseconds.milliseconds(1)
    private let clock: () -> Nanoseconds
    /// A frame has gone out, or come in.
    private(set) var isUsed = false
    /// There is something to watch again, because of what the guest did.
    private(set) var hasNewWatch = false

    /// - Parameters:
    ///   - address: the guest's, not the tap's.
    ///   - takesSegments: false for a driver that is lost with the long buffers that it would lend for them.
    init(
        _ backend: any NetworkBackend, address: HardwareAddress, takesSegments: Bool = true,
        clock: @escaping () -> Nanoseconds = Clock.monotonic
    ) {
        self.backend = backend
        features =
            Feature.address | Feature.status
            | (backend.hasHeaders
                ? Feature.offloads & ~(takesSegments ? 0 : Feature.guestSegments) : 0)
        agreement = OffloadAgreement(told: backend.offloads)
        self.clock = clock
        ownAddress = address
        self.address = address
    }

    var kind: VirtioKind { .network }
    var queueSizes: [UInt16] { [Self.queueSize, Self.queueSize] }

    var configurationCount: UInt16 { 8 }
    func configuration(_ offset: UInt16) -> UInt8 {
        switch offset {
        case 0..<UInt16(HardwareAddress.count): address.bytes[Int(offset)]
        // The cable is in.
        case 6: 1
        default: 0
        }
    }

    func setConfiguration(_ offset: UInt16, _ value: UInt32) {
        guard offset < UInt16(HardwareAddress.count) else { return }
        var bytes = address.bytes
        bytes[Int(offset)] = UInt8(truncatingIfNeeded: value)
        address = HardwareAddress(bytes)
        if isUp { backend.setUp(address) }
    }

    func take(_ features: UInt32) {
        guard backend.hasHeaders else { return }
        var offloads: Tap.Offloads = []
        if features & Feature.guestChecksums != 0 {
            offloads.insert(.checksums)
            if features & Feature.guestSegments4 != 0 { offloads.insert(.segments4) }
            if features & Feature.guestSegments6 != 0 { offloads.insert(.segments6) }
        }
        _ = agreement.handle(.taken(offloads))
    }

    /// Has the cable give what the driver took.
    /// - Returns: false if a frame may be more than that.
    private func agree() -> Bool {
        guard !agreement.isReached else { return true }
        switch agreement.handle(.frames(at: clock())) {
        case .goOn: return true
        case .drop: return false
        case .tell(let offloads, let dropsWaiting):
            backend.setOffloads(offloads)
            var frames = dropsWaiting ? Self.mostOld : 0
            while frames > 0, backend.hasFrame, (try? backend.drop()) != nil { frames -= 1 }
            return true
        }
    }

    /// What waited for buffers is old by the time that there are some.
    func reset(_ transport: VirtioTransport) {
        _ = agreement.handle(.taken([]))
        untold = 0
        address = ownAddress
        isUp = false
        backend.setUp(nil)
        take(.guestRan, of: transport)
    }

    func serve(_ queue: Int, of transport: VirtioTransport) {
        isUp = transport.isReady(Self.input)
        if isUp { _ = agree() }
        backend.setUp(isUp ? address : nil)
        if queue == Self.output {
            send(transport)
            // Most answers are one frame. Whether there are more costs a call, to be told of them costs more.
            if transport.looksForAnswers, machine.isWatching {
                handle(.readable, of: transport, asks: areMany)
            }
        } else {
            take(transport.ringsEarly ? .lent : .guestRan, of: transport)
        }
    }

    /// What the guest did.
    private func take(_ event: NetworkInput.Event, of transport: VirtioTransport) {
        let wasWatching = machine.isWatching
        handle(event, of: transport)
        if machine.isWatching, !wasWatching { hasNewWatch = true }
    }

    // MARK: From the guest

    private func send(_ transport: VirtioTransport) {
        let before = untold
        for _ in 0..<Self.queueSize {
            guard backend.mayGoOn(), transport.next(Self.output, &chain) else { break }
            send(chain, transport)
            transport.give(Self.output, chain, written: 0)
            untold += 1
        }
        guard untold > before else { return }
        isUsed = true
        if !transport.mayPutOff || untold >= Self.mostUntold {
            tell(transport)
        } else if before == 0 {
            untoldSince = clock()
        }
    }

    private func tell(_ transport: VirtioTransport) {
        untold = 0
        transport.interrupt(Self.output)
    }

    /// Tells the driver of frames that have gone out, if that was put off: long ago, or, as the guest `waits`, at any time.
    /// - Returns: true if it was told.
    func settle(_ transport: VirtioTransport, waits: Bool) -> Bool {
        guard untold > 0, waits || clock() >= untoldSince + Self.longestUntold else {
            return false
        }
        tell(transport)
        return true
    }

    /// What the host does not take is lost, as on a cable.
    private func send(_ chain: VirtqueueChain, _ transport: VirtioTransport) {
        let header = transport.frameHeader
        guard chain.readableCount > header, chain.readableCount - header <= Self.longest,
            chain.readable.count <= Self.mostPieces
        else { return }
        pieces.clear()
        var skipped = backend.hasHeaders ? 0 : header
        for range in chain.readable {
            let part = range.dropping(skipped)
            skipped -= range.count - part.count
            unsafe pieces.append(transport.memory.readable(part))
        }
        backend.send(pieces)
    }

    // MARK: To the guest

    /// What tells of frames, while one must end a run of the guest.
    var watched: [Int32] { machine.isWatching ? backend.watched : [] }
    /// The launcher has put `watched` into its poll set.
    func begin() { hasNewWatch = false }
    /// When to look at the latest.
    var pause: Nanoseconds? { machine.isWatching ? backend.pause : nil }

    /// The tap can be read, or the guest has lent buffers.
    /// - Parameter asks: false to take one frame without asking for more.
    func handle(
        _ event: NetworkInput.Event, of transport: VirtioTransport, asks: Bool = true
    ) {
        var action = machine.handle(event)
        var isServed = false
        var frames = 0
        loop: while true {
            switch action {
            // There is no alarm: the driver rings.
            case .none, .setAlarm: break loop
            case .seekBuffer:
                action = machine.handle(
                    !transport.isReady(Self.input) || !agree()
                        ? .down : transport.next(Self.input, &chain) ? .buffer : .noBuffer)
            case .read, .drop:
                frames += 1
                let event = action == .read ? receive(transport, &isServed) : drop()
                action = machine.handle(event, frame: frames, hasMore: asks && backend.hasFrame)
            }
        }
        if isServed {
            isUsed = true
            if asks { areMany = isUnsure || frames > 1 }
            isUnsure = !asks
            transport.interrupt(Self.input)
            // The driver looks at both queues then.
            if untold > 0 { tell(transport) }
        }
    }

    /// The state of ours, or of the cable's, in which something came that cannot come there.
    var defect: StaticString? { machine.defect ?? backend.defect }

    /// Once after the tap was taken away: what is wrong with it.
    func takeFailure() -> Errno? {
        defer { failure = nil }
        return failure
    }

    private func drop() -> NetworkInput.Event {
        do throws(Errno) {
            try backend.drop()
            return .received
        } catch { return event(of: error) }
    }

    /// Reads one frame into the chain.
    private func receive(
        _ transport: VirtioTransport, _ isServed: inout Bool
    ) -> NetworkInput.Event {
        let memory = transport.memory
        let header = transport.frameHeader
        guard chain.writableCount > header, chain.writable.count <= Self.mostPieces else {
            // No buffer for frames: it goes back as it came.
            transport.give(Self.input, chain, written: 0)
            isServed = true
            return drop()
        }
        var written: UInt32 = 0
        if !backend.hasHeaders {
            let zeros: (UInt64, UInt64) = (0, 0)
            unsafe withUnsafeBytes(of: zeros) {
                let none = unsafe UnsafeRawBufferPointer(rebasing: $0.prefix(Int(header)))
                written = UInt32(unsafe chain.put(none, into: memory))
            }
        }
        pieces.clear()
        for range in chain.writable {
            unsafe pieces.append(UnsafeRawBufferPointer(memory.writable(range)))
        }
        do throws(Errno) {
            written += try backend.receive(into: pieces)
            transport.give(Self.input, chain, written: written)
            isServed = true
            return .received
        } catch {
            transport.untake(Self.input)
            return event(of: error)
        }
    }

    private func event(of error: Errno) -> NetworkInput.Event {
        let event = NetworkInput.event(of: error)
        if event == .failed { failure = error }
        return event
    }
}
