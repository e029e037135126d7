// A network between the guest and a tap, as the guest sees it: a page with the hardware
// addresses of all who are on it. The launcher is in slot 0 and wants every frame; the guest is
// in slot 1. A slot's DMA key is the page's address plus four times its number: what the guest
// sends to ours goes out through the tap, what comes in there goes to buffers bound to its own.
// Source: docs/abi/lguest.md §5.2 (net), §1.4 (buffers).

extension NetworkPage {
    /// Puts a network that guests share on the device page: its page is the file's, and the
    /// guests send to each other without the launcher.
    /// - Parameters:
    ///   - descriptor: of the file, open for reading and writing.
    ///   - slot: the guest's own; what a guest before it left there is cleared.
    static func share(
        _ descriptor: Int32, slot: UInt32, identity: FileIdentity? = nil,
        on devices: inout DevicePage, in memory: GuestMemory
    ) throws(Errno) {
        let features = DeviceFeatures.withoutChecksums.union(.ownSlot(slot))
        guard let place = devices.add(.network, features: features, pages: 1, in: memory),
            let page = memory.range(place.page, Page.size)
        else { return }
        try memory.share(page, file: descriptor, slot: slot, identity: identity)
        clear(in: memory)
    }

    /// Takes the guest's entries out of the pages that it shares.
    static func clear(in memory: GuestMemory) {
        for page in memory.sharedPages {
            let start = page.start + entrySize * page.slot
            guard let entry = memory.range(start, entrySize) else { continue }
            for index in 0..<Int(entrySize) { unsafe memory.writable(entry)[index] = 0 }
        }
    }
}

/// One tap in the service of a guest.
final class NetworkDevice {
    private static let ownSlot: UInt32 = 0
    private static let guestSlot: UInt32 = 1

    private let memory: GuestMemory
    private let layout: GuestABI.DMALayout
    private let page: UInt32
    let tap: Tap
    private var input = NetworkInput()
    /// Why the tap cannot be read any more.
    private var failure: Errno?
    /// A frame has gone out, or come in.
    private(set) var isUsed = false
    private var busy: [(record: DmaRecord, count: UInt32)] = []
    /// The frame's at hand.
    private var pieces = IOVector(pieces: Int(GuestABI.dmaSections))

    /// The most buffers that are remembered until the guest has read them; Linux binds 8.
    private static let mostBusy = 64

    /// Takes its slot on the device page.
    /// - Parameter address: the tap's own.
    /// - Returns: nil if there is none left.
    init?(
        _ tap: Tap, address: HardwareAddress, on devices: inout DevicePage,
        in memory: GuestMemory, layout: GuestABI.DMALayout
    ) {
        let features = DeviceFeatures.randomness.union(.ownSlot(Self.guestSlot))
        guard let slot = devices.add(.network, features: features, pages: 1, in: memory) else {
            return nil
        }
        self.tap = tap
        self.memory = memory
        self.layout = layout
        page = slot.page
        guard let entry = memory.range(page, NetworkPage.entrySize) else { return nil }
        let bytes = unsafe memory.writable(entry)
        unsafe bytes.copyBytes(from: address.bytes)
        unsafe bytes[0] |= NetworkPage.promiscuous
    }

    /// The DMA key of what the guest sends.
    var key: DMAKey { NetworkPage.key(Self.ownSlot, of: page) }
    /// The DMA key of the buffers that it lends.
    var inputKey: DMAKey { NetworkPage.key(Self.guestSlot, of: page) }

    /// The tap, while a frame in it must end a run of the guest.
    var watched: Int32? { input.isWatching ? tap.descriptor : nil }
    /// True while a frame waits for a buffer.
    var isWaiting: Bool { input.isWaiting }

    // MARK: From the guest

    /// Sends a frame of the guest's out. What the host does not take is lost, and the guest
    /// told so.
    /// - Parameter address: of the DMA record.
    /// - Returns: false if the record points outside guest memory.
    func send(_ address: GuestAddress) -> Bool {
        guard let record = DmaRecord(at: address, in: memory, layout: layout) else {
            return false
        }
        pieces.clear()
        for section in record.sections { unsafe pieces.append(memory.readable(section)) }
        let count = try? pieces.transfer(.write, tap.descriptor)
        record.setUsedLength(UInt32(count ?? 0), in: memory)
        isUsed = true
        return true
    }

    // MARK: To the guest

    /// Takes an event of the outside, and everything that follows from it.
    /// - Returns: when to look again at the latest, if the guest has no buffer.
    func handle(_ event: NetworkInput.Event, on device: any LguestDevice) -> Nanoseconds? {
        var action = input.handle(event)
        var loan: Loan?
        var raised: InterruptLine?
        var frames = 0
        var alarm: Nanoseconds?
        while action != .none && alarm == nil {
            switch action {
            case .none: break
            case .setAlarm(let time): alarm = time
            case .seekBuffer:
                loan = isUp ? borrow(from: device) : nil
                action = input.handle(isUp ? loan == nil ? .noBuffer : .buffer : .down)
            case .read, .drop:
                frames += 1
                let event = receive(loan)
                if event == .received, let line = loan?.line, line != raised {
                    if let raised { try? device.interrupt(raised) }
                    raised = line
                }
                action = input.handle(event, frame: frames, hasMore: tap.hasFrame)
            }
        }
        // Once for all frames: the guest looks at every buffer.
        if let raised { try? device.interrupt(raised) }
        return alarm
    }

    /// The state of ours in which something came that cannot come there.
    var defect: StaticString? { input.defect }

    /// Once after the tap was taken away: what is wrong with it.
    func takeFailure() -> Errno? {
        defer { failure = nil }
        return failure
    }

    /// The guest's driver has put its address into the page.
    private var isUp: Bool {
        let entry = page + NetworkPage.entrySize * Self.guestSlot
        return (memory.load32(entry) ?? 0) & 0xFF != 0
    }

    /// A buffer of the guest's, and the interrupt that tells it of the frame.
    private struct Loan {
        let record: DmaRecord
        let line: InterruptLine
    }

    /// Asks for a free buffer. Without one, a kernel's lguest hands out one that the guest has
    /// not read yet, and overwrites its length: the guest does not run meanwhile, so that is put back.
    private func borrow(from device: any LguestDevice) -> Loan? {
        for index in busy.indices.reversed()
        where busy[index].record.isFree(in: memory) {
            busy.remove(at: index)
        }
        // No buffer, or the guest is dead: the next run tells which.
        guard let address = try? device.dmaBuffer(inputKey) else { return nil }
        if let used = busy.first(where: { $0.record.address == address }) {
            used.record.setUsedLength(used.count, in: memory)
            return nil
        }
        guard let record = DmaRecord(at: address, in: memory, layout: layout), record.count > 0
        else { return nil }
        return Loan(record: record, line: record.take(in: memory))
    }

    /// Reads one frame, into the guest's buffer if there is one.
    private func receive(_ loan: Loan?) -> NetworkInput.Event {
        do throws(Errno) {
            guard let loan else {
                try tap.drop()
                return .received
            }
            pieces.clear()
            for section in loan.record.sections {
                unsafe pieces.append(UnsafeRawBufferPointer(memory.writable(section)))
            }
            let count = UInt32(try pieces.transfer(.read, tap.descriptor))
            isUsed = true
            loan.record.setUsedLength(count, in: memory)
            if busy.count == Self.mostBusy { busy.removeFirst() }
            busy.append((loan.record, count))
            return .received
        } catch {
            let event = NetworkInput.event(of: error)
            if event == .failed { failure = error }
            return event
        }
    }
}
