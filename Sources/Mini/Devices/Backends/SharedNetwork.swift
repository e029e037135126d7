// A card of ours on the Ethernet of guests that share a file. lguest's own drivers find each other in the page that they
// share, and send to each other by themselves. A PC's guest knows nothing of that, so this does it for its card: it writes the
// card's hardware address into the slot's entry while a driver takes frames, sends each frame to the slots whose entries match
// its destination, and receives what others send to the slot. Others can write any nonsense into the page at any time: frames
// are then lost, and nothing else happens.
// Source: docs/abi/lguest.md §5.1, §5.2 (shared net).

/// A virtio card's way to a shared network: a back end that sends and receives frames.
final class SharedNetwork: NetworkBackend {
    private let page: SharedPage
    private let mapping: Mapping
    private let inlet: PeerInlet
    /// What the driver that takes frames has as its address; nil without one.
    private var current: HardwareAddress?
    /// The same as it stands in a frame.
    private var source: UInt64 = 0
    /// The guest sends under other addresses as well: a bridge, or one that it has chosen without telling. So it wants all frames.
    private var wantsAll = false
    /// What ends a wait for a receiver: the launch is perhaps to end.
    var signals: Poll.Interest?
    /// Waits for the network's file, which is always ready.
    var wait: Poll.Patience?
    /// How often a frame was brought to a slot since the last look at signals, and how often it may be.
    private var tries = 0
    static let mostTries = 256
    private static let entrySize = Int(NetworkPage.entrySize)
    /// The card's own, different from those of the guest's other cards and of others in this file.
    let address: HardwareAddress
    private(set) var defect: StaticString?

    /// - Parameters: the file's descriptor, open for reading and writing as long as this is used; the slot whose byte is ours;
    ///   the card's place among the guest's devices, 15 at the most; the slot's socket, if it is there already.
    /// - Throws: EADDRINUSE if the slot's address is taken.
    init(
        _ descriptor: Int32, slot: UInt32, identity: FileIdentity, index: Int = 0,
        listener: consuming Descriptor? = nil
    ) throws(Errno) {
        page = SharedPage(start: 0, file: identity, descriptor: descriptor, slot: slot)
        mapping = try Mapping.shared(
            descriptor, offset: 0, count: Int(Page.size), isWritable: true)
        inlet = try PeerInlet(page, listener: listener)
        guard inlet.open() else { throw .addressInUse }
        let bytes = [
            UInt8(truncatingIfNeeded: identity.inode),
            UInt8(truncatingIfNeeded: index << 4) | UInt8(slot >> 8), UInt8(slot & 0xFF),
        ]
        address = HardwareAddress([0x52, 0x54, 0x00] + bytes)
        put()
    }

    deinit {
        current = nil
        wantsAll = false
        put()
    }

    /// Writes our entry.
    private func put() {
        var bytes = current?.bytes ?? [0, 0, 0, 0, 0, 0]
        let flag = NetworkPage.promiscuous
        bytes[0] = bytes[0] & ~flag | (wantsAll ? flag : 0)
        let start = Int(page.slot) * Self.entrySize
        for index in 0..<Self.entrySize { unsafe mapping.bytes[start + index] = bytes[index] }
    }

    /// Whether the page is there, which may have been cut off.
    func has(_ address: UInt) -> Bool {
        address &- UInt(bitPattern: unsafe mapping.start) < UInt(Page.size)
    }

    func setUp(_ address: HardwareAddress?) {
        guard address != current else { return }
        current = address
        wantsAll = false
        source = 0
        for byte in (address?.bytes ?? []).reversed() { source = source << 8 | UInt64(byte) }
        put()
    }

    // MARK: From the card

    func send(_ frame: IOVector) {
        guard frame.count >= NetworkPage.entrySize else { return }
        if !wantsAll, current != nil, frame.count >= 2 * NetworkPage.entrySize,
            frame.start(of: Self.entrySize, from: Self.entrySize) != source
        {
            wantsAll = true
            put()
        }
        let destination = frame.start(of: Self.entrySize)
        // Read once for a frame, and only if it is asked for.
        var moment: Nanoseconds?
        for slot in 0..<UInt32(SharedPage.slots) where slot != page.slot {
            guard NetworkPage.wants(entry(slot), destination) else { continue }
            let outcome = inlet.outlets.outlet(to: slot, of: page).carry(
                { frame }, watched: signals.map { [$0] } ?? [],
                at: {
                    let now = moment ?? Clock.monotonic()
                    moment = now
                    return now
                })
            switch outcome {
            case .skipped: continue
            case .defect(let state): defect = state
            case .taken, .lost: break
            }
            tries += 1
        }
    }

    func mayGoOn() -> Bool {
        guard tries >= Self.mostTries, let wait else { return true }
        tries = 0
        return wait(Poll.Interest(page.descriptor))
    }

    /// What stands in a slot's entry now.
    private func entry(_ slot: UInt32) -> UInt64 {
        var entry: UInt64 = 0
        for index in 0..<Self.entrySize {
            let byte = unsafe mapping.bytes[Int(slot) * Self.entrySize + index]
            entry |= UInt64(byte) << UInt64(8 * index)
        }
        return entry
    }

    // MARK: To the card

    func receive(into room: IOVector) throws(Errno) -> UInt32 {
        inlet.accept()
        guard let count = inlet.receive(into: room) else { throw .again }
        return count
    }

    func drop() throws(Errno) { _ = try receive(into: IOVector()) }

    var watched: [Int32] { inlet.watched }
    /// Its descriptors beside the file's, while it has no connections.
    var listeners: [Int32] { inlet.descriptor.map { [$0] } ?? [] }
    var pause: Nanoseconds? { inlet.restLeft }
}
