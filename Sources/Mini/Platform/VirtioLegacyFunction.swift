// A virtio device on the PCI bus, by the legacy transport: its registers in one I/O BAR, its interrupt by the
// function's pin. What it does with requests is the device's (VirtioBlock and others).
//
//     00 features offered   04 features taken   08 queue's page   0C queue's size   0E queue chosen
//     10 doorbell           12 status           13 interrupts     14 the device's own
//
// Which drivers are heard says DriverStatus. Reading 13 drops the interrupt.
// Source: docs/abi/pc.md §4.2; Virtual I/O Device specification 1.2, chapter 4.1.4.10.

final class VirtioLegacyFunction: VirtioTransport, PCIFunction {
    private var chosen: UInt16 = 0
    private var taken: UInt32 = 0
    /// ISR.
    private var interrupts: UInt8 = 0

    private var status = DriverStatus()

    private enum Register {
        static let offered: UInt16 = 0x00
        static let taken: UInt16 = 0x04
        static let page: UInt16 = 0x08
        static let size: UInt16 = 0x0C
        static let choice: UInt16 = 0x0E
        static let doorbell: UInt16 = 0x10
        static let status: UInt16 = 0x12
        static let interrupts: UInt16 = 0x13
        static let own: UInt16 = 0x14
    }
    private enum Interrupt {
        static let queue: UInt8 = 1
        static let configuration: UInt8 = 2
    }

    override var isDriven: Bool { status.isDriven && isMaster }
    override var mayPutOff: Bool { true }
    override func raise(_ queue: Int) { interrupts |= Interrupt.queue }

    // MARK: PCI's side

    var identity: PCIIdentity { device.kind.identity }
    var portCount: UInt16 { 64 }
    var interruptLevel: Bool { interrupts != 0 }

    func readPort(_ offset: UInt16, _ size: UInt8) -> UInt32 {
        if offset >= Register.own { return configuration(offset - Register.own, size) }
        return switch (offset, size) {
        case (Register.offered, 4): device.features
        case (Register.taken, 4): taken
        case (Register.page, 4): chosenQueue?.page ?? 0
        case (Register.size, 2): UInt32(chosenQueue?.size ?? 0)
        case (Register.choice, 2): UInt32(chosen)
        case (Register.status, 1): UInt32(status.byte)
        case (Register.interrupts, 1): UInt32(takeInterrupts())
        default: 0
        }
    }

    func writePort(_ offset: UInt16, _ size: UInt8, _ value: UInt32) {
        switch (offset, size) {
        case (Register.taken, 4):
            taken = value & device.features
            device.take(taken)
        case (Register.page, 4):
            if chosenQueue != nil { queues[Int(chosen)].place(value, in: memory) }
        case (Register.choice, 2): chosen = UInt16(truncatingIfNeeded: value)
        case (Register.doorbell, 2):
            if isDriven, value < UInt32(queues.count) { device.serve(Int(value), of: self) }
        case (Register.status, 1):
            let value = UInt8(truncatingIfNeeded: value)
            // Drivers before 2.6.34 do not say that it may use memory, which is off when it had another before them.
            if DriverStatus.isKnown(value) { isMaster = true }
            if status.write(value) { reset() }
        case (Register.own..., _):
            let first = offset - Register.own
            for index in 0..<UInt16(size) where first + index < device.configurationCount {
                let byte = value >> (8 * UInt32(index)) & 0xFF
                device.setConfiguration(first + index, byte)
            }
        default: break
        }
    }

    private var chosenQueue: Virtqueue? {
        Int(chosen) < queues.count ? queues[Int(chosen)] : nil
    }

    private func takeInterrupts() -> UInt8 {
        defer { interrupts = 0 }
        return interrupts
    }

    private func reset() {
        for index in queues.indices { queues[index].place(0, in: memory) }
        chosen = 0
        taken = 0
        interrupts = 0
        device.reset(self)
    }
}

extension VirtioKind {
    /// PCI's number of the vendor of all virtio devices.
    static let vendor: UInt16 = 0x1AF4

    var identity: PCIIdentity {
        PCIIdentity(
            vendor: Self.vendor, device: row.legacyDevice, classCode: row.classCode,
            subsystemVendor: Self.vendor, subsystem: rawValue)
    }
}
