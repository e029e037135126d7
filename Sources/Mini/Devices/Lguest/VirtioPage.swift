// The page that tells a guest of eras 2 to 4 its virtio devices, right above its memory: descriptors one after the
// other, of which each names the rings of its device; these are on the pages that follow. Each queue has an
// interrupt of its own.
//
//     counted    type, queues, bytes of features, bytes of own registers, status;
//                {size (2), line (2), page (4)} for each queue; features offered; features taken; own registers
//     fields     type, bytes of fields, status; then fields of {kind (1), bytes (1), data}:
//                2 a queue, 40 features, from 41 on what the device has of its own
//
// What a guest writes there is memory, and is not believed before it is looked at. A guest that begins anew says so with
// the descriptor's address; its rings must be zero then, as at the start. From 2.6.26 on its status is 0 by then; 2.6.25
// notifies nothing else, and leaves that to us.
// Source: docs/abi/lguest.md §5.3, §5.4.

/// The descriptors, filled from the start of the page on.
final class VirtioPage {
    let memory: GuestMemory
    private let kind: GuestABI.Devices
    /// Where the next descriptor goes, and the end of the page.
    private var next: UInt32
    private let limit: UInt32
    /// The next interrupt; 0 is the clock's.
    private var line: UInt32 = 1
    /// The first address above the rings.
    private(set) var end: UInt32
    private(set) var devices: [VirtioDescriptor] = []

    /// - Parameter address: guest-physical address of the page, which is still all zero.
    init(at address: UInt32, _ kind: GuestABI.Devices, in memory: GuestMemory) {
        self.memory = memory
        self.kind = kind
        next = address
        limit = address + Page.size
        end = limit
    }

    /// Fills the next descriptor with a device.
    /// - Returns: nil if there is no room for it, or no interrupt.
    func add(_ device: any VirtioDevice) -> VirtioDescriptor? {
        let sizes = device.queueSizes
        guard line + UInt32(sizes.count) <= InterruptLine.count else { return nil }
        var queues: [Queue] = []
        var bottom = end
        for (index, size) in sizes.enumerated() {
            let count = Virtqueue.bytes(size: size)
            guard let ring = memory.range(bottom, count) else { return nil }
            queues.append(
                Queue(
                    ring: ring, size: size,
                    line: InterruptLine(rawValue: line + UInt32(index))))
            bottom += count
        }
        let (bytes, places) =
            kind == .fields ? Self.fields(device, queues) : Self.counted(device, queues)
        guard UInt32(bytes.count) <= limit - next,
            let range = memory.range(next, UInt32(bytes.count))
        else { return nil }
        unsafe memory.writable(range).copyBytes(from: bytes)
        let descriptor = VirtioDescriptor(
            device, at: next, places, queues, isFirst: kind == .fields, memory: memory)
        next += UInt32(bytes.count)
        end = bottom
        line += UInt32(sizes.count)
        devices.append(descriptor)
        return descriptor
    }

    /// A queue as it is told to the guest.
    struct Queue {
        let ring: GuestRange
        let size: UInt16
        let line: InterruptLine

        var bytes: [UInt8] {
            LittleEndian.bytes(UInt32(size) | line.rawValue << 16, 4)
                + LittleEndian.bytes(ring.start >> Page.shift, 4)
        }
    }

    /// Where a guest writes in a descriptor, from its start.
    struct Places {
        let status: UInt32
        /// The features that it takes; nil where there are none.
        let taken: UInt32?
    }

    private static func own(_ device: any VirtioDevice, _ range: Range<UInt16>) -> [UInt8] {
        range.map { device.configuration($0) }
    }

    private static func counted(
        _ device: any VirtioDevice, _ queues: [Queue]
    ) -> ([UInt8], Places) {
        let features = LittleEndian.bytes(device.features, 4)
        let own = own(device, 0..<device.configurationCount)
        var bytes: [UInt8] = [
            UInt8(device.kind.rawValue), UInt8(queues.count), UInt8(features.count),
            UInt8(own.count), 0,
        ]
        for queue in queues { bytes += queue.bytes }
        let taken = UInt32(bytes.count + features.count)
        bytes += features + [UInt8](repeating: 0, count: features.count) + own
        return (bytes, Places(status: 4, taken: taken))
    }

    /// Of what a device offers, the drivers of that time know nothing that it cannot do without.
    private static func fields(
        _ device: any VirtioDevice, _ queues: [Queue]
    ) -> ([UInt8], Places) {
        var fields: [UInt8] = []
        func add(_ kind: UInt8, _ data: [UInt8]) { fields += [kind, UInt8(data.count)] + data }
        for queue in queues { add(2, queue.bytes) }
        let own = device.kind.row.fields
        if !own.0.isEmpty { add(0x41, Self.own(device, own.0)) }
        if !own.1.isEmpty { add(0x43, Self.own(device, own.1)) }
        return (
            [UInt8(device.kind.rawValue), UInt8(fields.count), 0] + fields,
            Places(status: 2, taken: nil)
        )
    }
}

/// A device as the guest sees it.
final class VirtioDescriptor: VirtioTransport {
    private let address: UInt32
    private let places: VirtioPage.Places
    private let rings: [VirtioPage.Queue]
    private let isFirst: Bool
    /// Interrupts the guest; set once there is one.
    var interruptLine: (InterruptLine) -> Void = { _ in }
    private var taken: UInt32 = 0
    /// The driver has told of a status since it began.
    private var isTold = false

    fileprivate init(
        _ device: any VirtioDevice, at address: UInt32, _ places: VirtioPage.Places,
        _ rings: [VirtioPage.Queue], isFirst: Bool, memory: GuestMemory
    ) {
        self.address = address
        self.places = places
        self.rings = rings
        self.isFirst = isFirst
        super.init(
            device, memory: memory, frameHeader: isFirst ? 8 : 10,
            requestHeader: isFirst ? 24 : 16)
        placeQueues()
    }

    private var status: UInt8 {
        UInt8(truncatingIfNeeded: memory.load32(address + places.status) ?? 0)
    }

    /// The first drivers say nothing of themselves before they ring.
    override var isDriven: Bool { !DriverStatus.isFailed(status) }
    override var ringsEarly: Bool { isFirst }
    override func raise(_ queue: Int) { interruptLine(rings[queue].line) }

    /// The guest notified a device.
    /// - Returns: false if it was not this device.
    func notified(_ place: UInt32) -> Bool {
        if place == address {
            // A driver that reports its status at all reports one before that of being ready.
            if status == 0 || !isTold && DriverStatus.isReady(status) {
                reset()
            } else {
                isTold = true
                takeFeatures()
            }
            return true
        }
        for (index, queue) in rings.enumerated() where queue.ring.start == place {
            takeFeatures()
            if isDriven { device.serve(index, of: self) }
            return true
        }
        return false
    }

    /// What was never offered is not taken.
    private func takeFeatures() {
        guard let place = places.taken else { return }
        let features = (memory.load32(address + place) ?? 0) & device.features
        guard features != taken else { return }
        taken = features
        device.take(features)
    }

    private func reset() {
        if let place = memory.range(address + places.status, 1) {
            unsafe memory.writable(place)[0] = 0
        }
        if let place = places.taken { memory.store32(address + place, 0) }
        for queue in rings {
            unsafe memory.writable(queue.ring).initializeMemory(as: UInt8.self, repeating: 0)
        }
        placeQueues()
        taken = 0
        isTold = false
        device.reset(self)
    }

    private func placeQueues() {
        for index in rings.indices {
            queues[index].place(rings[index].ring.start >> Page.shift, in: memory)
        }
    }
}
