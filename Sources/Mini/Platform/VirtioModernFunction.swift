// A virtio device on a PCI bus, by the transport of virtio 1.0: its registers in one I/O BAR, whose parts a list of
// capabilities names. What a function of memory would have at the same offsets, this one has in ports, so that no access has to
// be decoded. The interrupt goes to a line of the function's own.
//
//     00 features: choice, offered, choice, taken    10 no MSI-X    12 queues    14 status    16 queue: choice, size,
//     no MSI-X, enabled, doorbell's place            20 queue's descriptors, available ring, used ring
//     38 doorbell    3A interrupts        3C the device's own
//
// The capability at 84 is a window on the BAR through the configuration space: a guest that has no driver yet writes its
// console's emergency register there.
// Source: docs/abi/lguest.md §5.6; Virtual I/O Device specification 1.2, chapter 4.1.4.

final class VirtioModernFunction: VirtioTransport, PCIFunction {
    private var offeredChoice: UInt32 = 0
    private var takenChoice: UInt32 = 0
    private var taken: UInt32 = 0
    private var takesVersion = false
    private var chosen: UInt16 = 0
    /// Where the driver wants the parts of each queue: descriptors, available, used.
    private var places: [(UInt64, UInt64, UInt64)] = []
    private var status = DriverStatus()
    private var interrupts: UInt8 = 0
    /// The window's offset and length.
    private var window: (offset: UInt32, count: UInt32) = (0, 0)
    /// Of its pin.
    let line: UInt8
    /// Raises that line; set once there is a guest.
    var raiseLine: () -> Void = {}

    /// In the status: the driver and the device agree on features.
    private static let featuresTaken: UInt8 = 8
    private enum Register {
        static let offeredChoice: UInt16 = 0x00
        static let offered: UInt16 = 0x04
        static let takenChoice: UInt16 = 0x08
        static let taken: UInt16 = 0x0C
        static let vector: UInt16 = 0x10
        static let queueCount: UInt16 = 0x12
        static let status: UInt16 = 0x14
        static let choice: UInt16 = 0x16
        static let size: UInt16 = 0x18
        static let queueVector: UInt16 = 0x1A
        static let enabled: UInt16 = 0x1C
        /// Where the chosen queue's three parts are, 8 bytes each.
        static var parts: ClosedRange<UInt16> { 0x20...0x34 }
        static let available: UInt16 = 0x28
        static let used: UInt16 = 0x30
        static let doorbell: UInt16 = 0x38
        static let interrupts: UInt16 = 0x3A
        static let own: UInt16 = 0x3C
    }
    private enum Capability {
        static let common: UInt8 = 0x40
        static let doorbell: UInt8 = 0x50
        static let interrupts: UInt8 = 0x64
        static let own: UInt8 = 0x74
        static let window: UInt8 = 0x84
        static let end: UInt8 = 0x98
    }
    /// Of the features' second word: virtio 1.0.
    private static let version: UInt32 = 1
    private static let noVector: UInt32 = 0xFFFF

    init(_ device: any VirtioDevice, line: UInt8, memory: GuestMemory) {
        self.line = line
        super.init(device, memory: memory, frameHeader: 12)
        places = queues.map { _ in (0, 0, 0) }
    }

    override var isDriven: Bool { status.isDriven && isMaster }
    override func raise(_ queue: Int) {
        interrupts |= 1
        raiseLine()
    }

    private var features: UInt32 {
        let row = device.kind.row
        return device.features & ~row.notModern | row.modern
    }
    private var ownCount: UInt16 { device.kind.row.modernCount ?? device.configurationCount }

    // MARK: PCI's side

    var identity: PCIIdentity {
        PCIIdentity(
            vendor: VirtioKind.vendor, device: 0x1040 + device.kind.rawValue,
            classCode: device.kind.row.classCode, subsystemVendor: VirtioKind.vendor,
            subsystem: 0x40, revision: 1)
    }
    var portCount: UInt16 { 128 }
    var interruptLevel: Bool { interrupts != 0 }
    var hasCapabilities: Bool { true }

    func readCapability(_ place: UInt8, _ size: UInt8) -> UInt32 {
        if place & 0xFC == Capability.window + 16 {
            return window.count == UInt32(size) ? readPort(windowPlace, size) : 0
        }
        var value: UInt32 = 0
        for index in 0..<size {
            value |= UInt32(capability(place &+ index)) << (8 * UInt32(index))
        }
        return value
    }

    private var windowPlace: UInt16 { UInt16(exactly: window.offset) ?? .max }

    /// A byte of the list.
    private func capability(_ place: UInt8) -> UInt8 {
        let (start, next, kind, offset, count): (UInt8, UInt8, UInt8, UInt32, UInt32)
        switch place {
        case Capability.common..<Capability.doorbell:
            (start, next, kind, offset, count) = (
                Capability.common, Capability.doorbell, 1, 0, UInt32(Register.doorbell)
            )
        case Capability.doorbell..<Capability.interrupts:
            (start, next, kind, offset, count) = (
                Capability.doorbell, Capability.interrupts, 2, UInt32(Register.doorbell), 2
            )
        case Capability.interrupts..<Capability.own:
            (start, next, kind, offset, count) = (
                Capability.interrupts, Capability.window, 3, UInt32(Register.interrupts), 1
            )
        case Capability.own..<Capability.window:
            guard ownCount > 0 else { return 0 }
            (start, next, kind, offset, count) = (
                Capability.own, 0, 4, UInt32(Register.own), UInt32(ownCount)
            )
        case Capability.window..<Capability.end:
            (start, next, kind, offset, count) = (
                Capability.window, ownCount > 0 ? Capability.own : 0, 5, window.offset, window.count
            )
        default: return 0
        }
        let length: UInt8 = kind == 2 || kind == 5 ? 20 : 16
        func byte(_ word: UInt32) -> UInt8 {
            UInt8(truncatingIfNeeded: word >> (8 * UInt32(place & 3)))
        }
        return switch place - start {
        case 0: 9  // a vendor's own
        case 1: next
        case 2: length
        case 3: kind
        case 8..<12: byte(offset)
        case 12..<16: byte(count)
        default: 0
        }
    }

    func writeCapability(_ place: UInt8, _ size: UInt8, _ value: UInt32) {
        switch (place, size) {
        case (Capability.window + 8, 4): window.offset = value
        case (Capability.window + 12, 4): window.count = value
        case (Capability.window + 16, _) where window.count == UInt32(size):
            writePort(windowPlace, size, value)
        default: break
        }
    }

    // MARK: Registers

    func readPort(_ offset: UInt16, _ size: UInt8) -> UInt32 {
        if offset >= Register.own {
            guard offset < portCount else { return .max }
            return configuration(offset - Register.own, size, of: ownCount)
        }
        return switch (offset, size) {
        case (Register.offeredChoice, 4): offeredChoice
        case (Register.offered, 4):
            offeredChoice == 0 ? features : offeredChoice == 1 ? Self.version : 0
        case (Register.takenChoice, 4): takenChoice
        case (Register.taken, 4):
            takenChoice == 0 ? taken : takenChoice == 1 && takesVersion ? Self.version : 0
        case (Register.vector, 2), (Register.queueVector, 2): Self.noVector
        case (Register.queueCount, 2): UInt32(queues.count)
        case (Register.status, 1): UInt32(status.byte)
        case (Register.choice, 2): UInt32(chosen)
        case (Register.size, 2): queue.map { UInt32(queues[$0].size) } ?? 0
        case (Register.enabled, 2):
            queue.map { queues[$0].isReady || queues[$0].violation != nil ? 1 : 0 } ?? 0
        case (Register.parts, 4) where offset & 3 == 0: queuePart(offset)
        case (Register.interrupts, 1): UInt32(takeInterrupts())
        default: 0
        }
    }

    func writePort(_ offset: UInt16, _ size: UInt8, _ value: UInt32) {
        switch (offset, size) {
        case (Register.offeredChoice, 4): offeredChoice = value
        case (Register.takenChoice, 4): takenChoice = value
        case (Register.taken, 4):
            if takenChoice == 0 { taken = value & features }
            if takenChoice == 1 { takesVersion = value & Self.version != 0 }
        case (Register.status, 1): setStatus(UInt8(truncatingIfNeeded: value))
        case (Register.choice, 2): chosen = UInt16(truncatingIfNeeded: value)
        case (Register.size, 2): setSize(UInt16(truncatingIfNeeded: value))
        case (Register.enabled, 2):
            guard let queue, value == 1 else { return }
            let place = places[queue]
            queues[queue].place(
                descriptors: place.0, available: place.1, used: place.2, in: memory)
        case (Register.parts, 4) where offset & 3 == 0: setQueuePart(offset, value)
        case (Register.doorbell, 2):
            if isDriven, value < UInt32(queues.count) { device.serve(Int(value), of: self) }
        case (Register.own..., _):
            if offset - Register.own < ownCount {
                device.setConfiguration(offset - Register.own, value)
            }
        default: break
        }
    }

    private var queue: Int? { Int(chosen) < queues.count ? Int(chosen) : nil }

    private func queuePart(_ offset: UInt16) -> UInt32 {
        guard let queue else { return 0 }
        let place = places[queue]
        let part =
            offset < Register.available ? place.0 : offset < Register.used ? place.1 : place.2
        return UInt32(truncatingIfNeeded: offset & 4 == 0 ? part : part >> 32)
    }

    private func setQueuePart(_ offset: UInt16, _ value: UInt32) {
        guard let queue else { return }
        func changed(_ part: UInt64) -> UInt64 {
            offset & 4 == 0
                ? part & ~0xFFFF_FFFF | UInt64(value) : part & 0xFFFF_FFFF | UInt64(value) << 32
        }
        switch offset {
        case ..<Register.available: places[queue].0 = changed(places[queue].0)
        case ..<Register.used: places[queue].1 = changed(places[queue].1)
        default: places[queue].2 = changed(places[queue].2)
        }
    }

    /// A driver may want fewer descriptors, before it has the queue.
    private func setSize(_ size: UInt16) {
        guard let queue, !queues[queue].isReady, size > 0, size & (size - 1) == 0,
            size <= device.queueSizes[queue]
        else { return }
        queues[queue] = Virtqueue(size: size)
    }

    private func takeInterrupts() -> UInt8 {
        defer { interrupts = 0 }
        return interrupts
    }

    private func setStatus(_ value: UInt8) {
        var value = value
        if !status.hasFailed, value & ~status.byte & Self.featuresTaken != 0 {
            // A driver that does not take virtio 1.0 cannot be served here.
            if takesVersion { device.take(taken) } else { value &= ~Self.featuresTaken }
        }
        if status.write(value) { reset() }
    }

    private func reset() {
        for index in queues.indices {
            queues[index] = Virtqueue(size: device.queueSizes[index])
            places[index] = (0, 0, 0)
        }
        chosen = 0
        taken = 0
        takesVersion = false
        interrupts = 0
        device.reset(self)
    }
}
