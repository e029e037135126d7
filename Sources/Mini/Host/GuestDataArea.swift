// The page of shared words, `lguest_data`, through which guest and host talk without traps.
// Its address is checked once, at INIT; then every field is inside guest memory for good.
// Source: docs/abi/lguest.md §3.3, §3.4.

/// A hypercall's number and arguments, from registers or from the ring.
struct Hypercall: Equatable {
    var number: UInt32
    var first: UInt32 = 0
    var second: UInt32 = 0
    var third: UInt32 = 0
    /// Of eras in which a call can have so many; else anything.
    var fourth: UInt32 = 0
}

/// The `lguest_data` of one guest.
struct GuestDataArea {
    private let memory: GuestMemory
    private let abi: GuestABI
    private let fields: GuestABI.Data
    private let start: UInt32
    /// The slot of the ring that the host looks at next.
    private var cursor: UInt32 = 0

    /// - Parameter range: a checked range of `abi.data.count` bytes.
    init(_ memory: GuestMemory, _ range: GuestRange, _ abi: GuestABI) {
        precondition(range.count >= abi.data.count)
        self.memory = memory
        self.abi = abi
        fields = abi.data
        start = range.start
    }

    private func load(_ field: UInt32) -> UInt32 { memory.load32(start + field) ?? 0 }
    private func store(_ field: UInt32, _ value: UInt32) { memory.store32(start + field, value) }

    /// Bit 9 means enabled; the guest's iret stores all of eflags.
    var interruptsEnabled: Bool { load(fields.interruptsEnabled) & Self.interruptFlag != 0 }

    /// Stores what the guest itself would: 0x200 or 0.
    func setInterruptsEnabled(_ enabled: Bool) {
        store(fields.interruptsEnabled, enabled ? Self.interruptFlag : 0)
    }

    static let interruptFlag: UInt32 = 0x200

    /// Tells the guest whether it has to call when it enables interrupts.
    func setInterruptPending(_ isPending: Bool) {
        if let field = fields.interruptPending { store(field, isPending ? Self.interruptFlag : 0) }
    }

    /// Interrupt lines that the guest masks, a bit each.
    var blockedInterrupts: UInt32 { load(fields.blockedInterrupts) }

    /// Where the last page fault was.
    func setFaultAddress(_ address: UInt32) { store(fields.faultAddress, address) }

    /// Seconds wrap as the guest's 32-bit words do.
    func setTime(_ time: Nanoseconds) {
        let (seconds, nanoseconds) = time.count.quotientAndRemainder(
            dividingBy: Nanoseconds.perSecond)
        store(fields.seconds, UInt32(truncatingIfNeeded: seconds))
        store(fields.nanoseconds, UInt32(nanoseconds))
    }

    // MARK: - INIT

    /// Code addresses between which the guest is in the middle of an iret.
    var quietCode: (start: UInt32, end: UInt32) {
        let start = load(fields.quietStart)
        return (start, fields.quietEnd.map { load($0) } ?? start &+ 1)
    }
    func setReservedTop(_ bytes: UInt32) { store(fields.reservedTop, bytes) }
    func setTimeStampRate(kilohertz: UInt32) { store(fields.timeStampKilohertz, kilohertz) }

    /// Era 0: a number for its network address.
    func setGuestIdentity(_ identity: UInt16) {
        guard let field = fields.guestIdentity, let range = memory.range(start + field, 2) else {
            return
        }
        let bytes = unsafe memory.writable(range)
        unsafe bytes.storeBytes(of: identity.littleEndian, as: UInt16.self)
    }

    /// From era 1c on: the table it was started on, to copy entries from.
    func setPageDirectory(_ address: UInt32) {
        if let field = fields.pageDirectory { store(field, address) }
    }
    var kernelAddress: UInt32? { fields.kernelAddress.map { load($0) } }
    var systemCallVector: UInt32? { fields.systemCallVector.map { load($0) } }

    // MARK: - The asynchronous ring

    private static let done: UInt8 = 0xFF

    /// The record at the cursor, if the guest filed one. The cursor moves on.
    mutating func nextCall() -> (call: Hypercall, slot: UInt32)? {
        let slot = cursor
        guard status(slot) != Self.done else { return nil }
        cursor = (slot + 1) % GuestABI.ringSlots
        let record = fields.ringRecords + slot * fields.ringRecordSize
        let order = abi.ringOrder
        let call = Hypercall(
            number: load(record + 4 * order.number), first: load(record + 4 * order.first),
            second: load(record + 4 * order.second), third: load(record + 4 * order.third),
            fourth: load(record + 16))
        return (call, slot)
    }

    /// Hands the slot back to the guest.
    func finishCall(_ slot: UInt32) {
        guard let range = memory.range(start + fields.ringStatus + slot, 1) else { return }
        let bytes = unsafe memory.writable(range)
        unsafe bytes[0] = Self.done
    }

    private func status(_ slot: UInt32) -> UInt8 {
        guard let range = memory.range(start + fields.ringStatus + slot, 1) else {
            return Self.done
        }
        return unsafe memory.readable(range)[0]
    }
}
