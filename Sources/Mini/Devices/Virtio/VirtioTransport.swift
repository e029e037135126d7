// What a virtio device works on: its queues, and a way to interrupt the driver. How the driver finds them, and what it
// says of itself, is a transport's own: a function of a PCI bus (VirtioLegacyFunction.swift, VirtioModernFunction.swift), a
// descriptor on the device page of lguest (VirtioPage.swift).
// Source: Virtual I/O Device specification 1.2, chapter 2; docs/abi/lguest.md §5.3.

/// What a device is, by its number.
enum VirtioKind: UInt16 {
    case network = 1
    case block = 2
    case console = 3
    case random = 4

    /// A disk's feature that legacy transports alone have.
    static let barriers: UInt32 = 1 << 0
    /// A console's that virtio 1.0 alone has: characters by a register, before there is a driver.
    private static let emergencyWrite: UInt32 = 1 << 2

    /// What the transports say of a kind, beside what its device says of itself.
    struct Row {
        /// Its number on a PCI bus by the legacy transport, and its class there by any.
        let legacyDevice: UInt16
        let classCode: UInt32
        /// Which of its registers guests of era 2 find in fields 0x41 and 0x43.
        var fields: (Range<UInt16>, Range<UInt16>) = (0..<0, 0..<0)
        /// Features that a transport of virtio 1.0 adds, and that it leaves out.
        var modern: UInt32 = 0
        var notModern: UInt32 = 0
        /// How many registers it has there; nil for as many as anywhere.
        var modernCount: UInt16?
    }

    var row: Row {
        switch self {
        case .network: Row(legacyDevice: 0x1000, classCode: 0x02_0000, fields: (0..<6, 0..<0))
        case .block:
            Row(
                legacyDevice: 0x1001, classCode: 0x01_8000, fields: (0..<8, 12..<16),
                notModern: Self.barriers)
        case .console:
            Row(
                legacyDevice: 0x1003, classCode: 0x07_8000, modern: Self.emergencyWrite,
                modernCount: 12)
        case .random: Row(legacyDevice: 0x1005, classCode: 0xFF_0000)
        }
    }
}

/// A device behind the transport. It works on the queues when it is told that the driver has something for one.
protocol VirtioDevice: AnyObject {
    var kind: VirtioKind { get }
    /// What it offers: bits of the first 32.
    var features: UInt32 { get }
    /// Sizes of its queues, powers of two.
    var queueSizes: [UInt16] { get }
    /// A byte of its own registers.
    func configuration(_ offset: UInt16) -> UInt8
    /// How many there are.
    var configurationCount: UInt16 { get }
    /// The driver writes there; the device has to check whether it may.
    func setConfiguration(_ offset: UInt16, _ value: UInt32)
    /// The driver has rung for this queue.
    func serve(_ queue: Int, of transport: VirtioTransport)
    /// The driver takes these of the features.
    func take(_ features: UInt32)
    /// The driver begins anew: its queues are gone.
    func reset(_ transport: VirtioTransport)
}

/// The queues and the interrupt of one device; its subclasses are the ways in which a driver finds them.
class VirtioTransport {
    let device: any VirtioDevice
    let memory: GuestMemory
    /// How long the headers are that a driver puts in front of a frame and of a disk's request.
    let frameHeader: UInt32
    let requestHeader: Int
    var queues: [Virtqueue] = []

    init(
        _ device: any VirtioDevice, memory: GuestMemory, frameHeader: UInt32 = 10,
        requestHeader: Int = 16
    ) {
        self.device = device
        self.memory = memory
        self.frameHeader = frameHeader
        self.requestHeader = requestHeader
        for size in device.queueSizes { queues.append(Virtqueue(size: size)) }
    }

    /// To be told of a frame is dear: who has sent some looks at once whether the answer is there.
    var looksForAnswers = false

    /// False for a function of a bus that is to leave memory alone: what the driver has put there may not be its any more. A kernel
    /// that starts another one in its place says no more than that.
    var isMaster = true

    /// True while there is a driver that is heard.
    var isDriven: Bool { true }
    /// True if it may put something off: the run loop then calls `VirtioNetwork.settle` every few milliseconds, and before
    /// it waits.
    var mayPutOff: Bool { false }
    /// True for drivers that ring for the buffers they have lent before they take interrupts, and that never hear of
    /// one that came so soon.
    var ringsEarly: Bool { false }
    /// Interrupts the driver because of a queue.
    func raise(_ queue: Int) {}

    /// The device's own registers from a byte on, of those that it has.
    @inline(never)
    func configuration(_ offset: UInt16, _ size: UInt8, of count: UInt16 = .max) -> UInt32 {
        var value: UInt32 = 0
        for index in 0..<UInt16(size) where offset + index < count {
            value |= UInt32(device.configuration(offset + index)) << (8 * UInt32(index))
        }
        return value
    }

    /// True while a driver has this queue.
    func isReady(_ queue: Int) -> Bool { isDriven && queues[queue].isReady }

    func hasMore(_ queue: Int) -> Bool { isDriven && queues[queue].hasMore(in: memory) }

    /// Takes the next chain of a queue. What a chain is filled with may lie over the ring and make another one available:
    /// a device takes no more in one turn than the ring has entries. No more can wait than that, so that nothing is left over
    /// but what such a driver has added meanwhile, which waits for its next ring.
    /// - Returns: false if there is none.
    func next(_ queue: Int, _ chain: inout VirtqueueChain) -> Bool {
        isDriven && queues[queue].next(&chain, in: memory)
    }

    /// Gives a chain back; the driver hears of it by `interrupt`.
    func give(_ queue: Int, _ chain: VirtqueueChain, written: UInt32) {
        queues[queue].give(chain, written: written, in: memory)
    }

    /// Puts back the chain that was taken last.
    func untake(_ queue: Int) { queues[queue].untake() }

    /// Tells the driver that chains were given back, if it wants to hear that.
    func interrupt(_ queue: Int) {
        if isMaster, queues[queue].wantsInterrupt(in: memory) { raise(queue) }
    }

    /// The rule that the driver broke, and with it a queue, if it did.
    var violation: Virtqueue.Violation? {
        for queue in queues { if let violation = queue.violation { return violation } }
        return nil
    }
}

extension VirtioDevice {
    func setConfiguration(_ offset: UInt16, _ value: UInt32) {}
    func take(_ features: UInt32) {}
    func reset(_ transport: VirtioTransport) {}
}
