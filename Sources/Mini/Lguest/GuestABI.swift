// The eras of lguest's guest interface, a row each: where the words of `lguest_data` lie, in which registers a hypercall is
// made, in which order it stands in the ring, what kind of devices the guest has, and what else differs between eras.
// Recognition compares an image with the rows (Loader/Recognition.swift); host, devices and the kernel's device look the
// facts up here, and ask for a fact, never for the era.
//
// A new era is a name in `Era`; a row here, with a new set of traits if no old one fits; a row in `LaterEra`, by which it
// is recognised; a place in a row of `DeviceEra`; a line of Tests/Guests/Eras/eras.table. Nothing asks which of two eras is
// the older.
// Source: docs/abi/lguest.md §0, §1.1, §2.5, §3, §4, §5.

/// The facts of one era of the guest interface.
struct GuestABI: Equatable {
    /// The stages that the interface went through. Up to 1c devices are DMA devices, then virtio's.
    /// Eras 0b and 1a differ from each other only for the launcher of a real device.
    enum Era: UInt8, Equatable, CaseIterable {
        case era0, era0b, era1a, era1, era1b, era1c
        case era2, era3a, era3b, era3c, era4a, era4b, era4c, era4d, era5
    }

    let era: Era
    /// As people write it: `0`, `1a`.
    let name: StaticString
    let data: Data
    let callRegisters: CallRegisters
    let ringOrder: RingOrder
    let devices: Devices
    let traits: Traits
    /// True if the guest's page tables are those of PAE: it was built so, where its era may be. §2.5, §4.7.
    var hasWideTables = false

    /// All rows, the oldest first.
    static var all: [GuestABI] { Era.allCases.map { GuestABI(era: $0) } }

    /// What a guest is taken for that fills in its structure only when it runs: the common interface.
    static let usual = Era.era1

    /// The rows.
    init(era: Era) {
        // What came and went, from one to the next.
        let of0: Traits = [
            .namesPageDirectory, .namesPageOffset, .hasBreak, .hasFewGates, .refusesWriteThrough,
            .saysLguestInit, .saysDataPage,
        ]
        let of1a = of0.union([.hasBase, .saysPageLimit]).subtracting(.saysDataPage)
        let of1b = of1a.union(.hasVectorBehind).subtracting([.hasFewGates, .saysLguestInit])
        let of1c = of1b.union(.startsLow).subtracting([.namesPageOffset, .hasVectorBehind])
        let of2 = of1c.union([.notifies, .bootsByHeader, .reservesMore, .saysCount])
            .subtracting(.saysPageLimit)
        let of3a = of2.union([.hasShutdown, .keepsGatePrivilege, .hasRandomNumbers])
            .subtracting(.refusesWriteThrough)
        let of3b = of3a.union(.saysNull).subtracting(.namesPageDirectory)
        let of3c = of3b.union([.loadsGDTByEntry, .callsByVmcall])
        let of4a = of3c.union([.sendsInterrupts, .mayHaveWideTables]).subtracting(.hasBreak)
        let of4b = of4a.union(.skipsCLI)
        let of4c = of4b.subtracting(.callsByVmcall)
        let of4d = of4c.union(.namesSwitcherPages)
        let of5 = of4d.union([.namesDeviceLimit, .reflectsSystemCalls]).subtracting(.notifies)

        let (old, new, lengths) = (
            CallRegisters.dataFirst, CallRegisters.baseFirst, Devices.dma(.lengthsFirst)
        )
        switch era {
        case .era0: self.init(era, "0", .withIdentity, old, .straight, .dma(.addressesFirst), of0)
        case .era0b: self.init(era, "0b", .withIdentity, old, .straight, lengths, of0)
        case .era1a: self.init(era, "1a", .withIdentity, old, .straight, lengths, of1a)
        case .era1: self.init(era, "1", .plain, old, .straight, lengths, of1a)
        case .era1b: self.init(era, "1b", .plain, old, .turned, lengths, of1b)
        case .era1c: self.init(era, "1c", .withTables, old, .turned, lengths, of1c)
        case .era2: self.init(era, "2", .withTables, old, .turned, .fields, of2)
        case .era3a: self.init(era, "3a", .withTables, old, .turned, .counted, of3a)
        case .era3b: self.init(era, "3b", .withTables, old, .turned, .counted, of3b)
        case .era3c: self.init(era, "3c", .withTables, new, .straight, .counted, of3c)
        case .era4a: self.init(era, "4a", .withPending, new, .straight, .counted, of4a)
        case .era4b: self.init(era, "4b", .withPending, new, .straight, .counted, of4b)
        case .era4c: self.init(era, "4c", .withoutTables, new, .straight, .counted, of4c)
        case .era4d: self.init(era, "4d", .withoutTables, new, .straight, .counted, of4d)
        case .era5: self.init(era, "5", .withReturn, new, .straight, .bus, of5)
        }
    }

    private init(
        _ era: Era, _ name: StaticString, _ data: Data, _ callRegisters: CallRegisters,
        _ ringOrder: RingOrder, _ devices: Devices, _ traits: Traits
    ) {
        self.era = era
        self.name = name
        self.data = data
        self.callRegisters = callRegisters
        self.ringOrder = ringOrder
        self.devices = devices
        self.traits = traits
    }

    /// No two rows are of one era.
    static func == (left: GuestABI, right: GuestABI) -> Bool {
        left.era == right.era && left.hasWideTables == right.hasWideTables
    }

    /// Bytes of INITIALIZE's arguments: what its write() returns. §1.1.
    var initializeCount: Int {
        let optional = [hasBase, namesPageDirectory, namesPageOffset, namesDeviceLimit]
        return 8 + 4 * optional.filter { $0 }.count
    }

    /// How a DMA record is laid out, in an era that has them.
    var dma: DMALayout? { if case .dma(let layout) = devices { layout } else { nil } }

    // MARK: - What the columns hold

    /// What kind of devices the guest finds, and how it is told of them.
    enum Devices: Equatable {
        /// DMA records, a page of descriptors. §5.2.
        case dma(DMALayout)
        /// Virtio, with a header's fields in front of it: 2.6.24. §5.4.
        case fields
        /// Virtio, with the number of queues in the descriptor. §5.4.
        case counted
        /// Virtio on a PCI bus. §5.6.
        case bus

        /// What a device's read() ends with, and how many bytes that is. §1.6.
        enum Record: Int {
            /// The address of a DMA record, and the key.
            case dma = 8
            /// What the guest notified.
            case address = 4
            /// A trap with its instruction.
            case trap = 12
        }
        var record: Record {
            switch self {
            case .dma: .dma
            case .fields, .counted: .address
            case .bus: .trap
            }
        }
    }

    /// Offsets of the words of `lguest_data` from its start, in bytes; nil for a word that
    /// the era does not have. §3.4.
    struct Data: Equatable {
        /// 0x200 or 0, but an `iret` stores the whole of eflags: test bit 9.
        let interruptsEnabled: UInt32 = 0
        /// A bit for each interrupt line, set where the guest masks it.
        let blockedInterrupts: UInt32 = 4
        let faultAddress: UInt32 = 8
        let seconds: UInt32 = 12
        let nanoseconds: UInt32 = 16
        /// 0x200 while an interrupt waits for the guest to take it.
        let interruptPending: UInt32?
        /// 64 bytes, 0xFF for free or done, 0 for waiting.
        let ringStatus: UInt32
        /// 64 records of `ringRecordSize`.
        let ringRecords: UInt32
        let ringRecordSize: UInt32
        let reservedTop: UInt32
        /// A 16-bit number that the host gives the guest.
        let guestIdentity: UInt32?
        let timeStampKilohertz: UInt32
        /// Where the host leaves the page directory that it was started with.
        let pageDirectory: UInt32?
        /// First and last code address between which no interrupt may be delivered; without the last it is one
        /// instruction.
        let quietStart: UInt32
        let quietEnd: UInt32?
        let kernelAddress: UInt32?
        let systemCallVector: UInt32?
        /// Length of the whole structure.
        let count: UInt32

        /// - Parameters:
        ///   - identity, tables: whether it has the guest's number, the first page directory.
        ///   - kernel: whether it has the kernel's address and the system call's vector.
        ///   - returns: whether one instruction, the return from interrupts, is all that must be left alone.
        private init(
            pending: Bool = false, identity: Bool = false, tables: Bool = false,
            kernel: Bool = false, returns: Bool = false
        ) {
            interruptPending = pending ? 20 : nil
            ringStatus = pending ? 24 : 20
            ringRecords = ringStatus + GuestABI.ringSlots
            ringRecordSize = pending ? 20 : 16
            reservedTop = ringRecords + GuestABI.ringSlots * ringRecordSize
            guestIdentity = identity ? reservedTop + 4 : nil
            timeStampKilohertz = reservedTop + (identity ? 8 : 4)
            pageDirectory = tables ? timeStampKilohertz + 4 : nil
            quietStart = timeStampKilohertz + (tables ? 8 : 4)
            quietEnd = returns ? nil : quietStart + 4
            let next = quietStart + (returns ? 4 : 8)
            kernelAddress = kernel ? next : nil
            systemCallVector = kernel ? next + 4 : nil
            count = next + (kernel ? 8 : 0)
        }

        static var withIdentity: Data { Data(identity: true) }
        static var plain: Data { Data() }
        static var withTables: Data { Data(tables: true, kernel: true) }
        static var withPending: Data { Data(pending: true, tables: true, kernel: true) }
        static var withoutTables: Data { Data(pending: true, kernel: true) }
        static var withReturn: Data { Data(pending: true, kernel: true, returns: true) }
    }

    /// The registers of a hypercall's number and arguments. §3.1.
    struct CallRegisters: Equatable {
        let number = ProcessorRegister.eax
        let first: ProcessorRegister
        let second: ProcessorRegister
        let third: ProcessorRegister

        static var dataFirst: CallRegisters { .init(first: .edx, second: .ebx, third: .ecx) }
        static var baseFirst: CallRegisters { .init(first: .ebx, second: .ecx, third: .edx) }
    }

    static let systemCallVector: UInt32 = 0x80
    static let ringSlots: UInt32 = 64

    /// Which word of a ring record holds the number and the first, second and third argument. §3.3.
    struct RingOrder: Equatable {
        let number: UInt32 = 0
        let first: UInt32
        let second: UInt32
        let third: UInt32

        static var straight: RingOrder { RingOrder(first: 1, second: 2, third: 3) }
        static var turned: RingOrder { RingOrder(first: 3, second: 1, third: 2) }
    }

    /// Offsets in a 100-byte `lguest_dma` record; §5.1.
    struct DMALayout: Equatable {
        /// Bytes moved so far, a word; 0 marks a buffer that may be filled.
        let usedLength: UInt32 = 0
        /// Guest-physical addresses of 16 sections, a word each.
        let addresses: UInt32
        /// Lengths of 16 sections, two bytes each; the first 0 ends the list.
        let lengths: UInt32

        static let addressesFirst = DMALayout(addresses: 4, lengths: 68)
        static let lengthsFirst = DMALayout(addresses: 36, lengths: 4)
    }

    static let dmaSections: UInt32 = 16
    static let dmaRecordSize: UInt32 = 100
}

// MARK: - What not every era has or does

extension GuestABI {
    /// One by one below, by the same names.
    struct Traits: OptionSet {
        let rawValue: UInt32
        static let hasBase = Traits(rawValue: 1 << 0)
        static let namesPageDirectory = Traits(rawValue: 1 << 1)
        static let namesPageOffset = Traits(rawValue: 1 << 2)
        static let namesDeviceLimit = Traits(rawValue: 1 << 3)
        static let hasBreak = Traits(rawValue: 1 << 4)
        static let startsLow = Traits(rawValue: 1 << 5)
        static let bootsByHeader = Traits(rawValue: 1 << 6)
        static let reservesMore = Traits(rawValue: 1 << 7)
        static let hasVectorBehind = Traits(rawValue: 1 << 8)
        static let hasRandomNumbers = Traits(rawValue: 1 << 9)
        static let mayHaveWideTables = Traits(rawValue: 1 << 10)
        static let notifies = Traits(rawValue: 1 << 11)
        static let hasShutdown = Traits(rawValue: 1 << 12)
        static let loadsGDTByEntry = Traits(rawValue: 1 << 13)
        static let sendsInterrupts = Traits(rawValue: 1 << 14)
        static let callsByVmcall = Traits(rawValue: 1 << 15)
        static let hasFewGates = Traits(rawValue: 1 << 16)
        static let keepsGatePrivilege = Traits(rawValue: 1 << 17)
        static let reflectsSystemCalls = Traits(rawValue: 1 << 18)
        static let refusesWriteThrough = Traits(rawValue: 1 << 19)
        static let skipsCLI = Traits(rawValue: 1 << 20)
        static let namesSwitcherPages = Traits(rawValue: 1 << 21)
        static let saysLguestInit = Traits(rawValue: 1 << 22)
        static let saysDataPage = Traits(rawValue: 1 << 23)
        static let saysNull = Traits(rawValue: 1 << 24)
        static let saysPageLimit = Traits(rawValue: 1 << 25)
        static let saysCount = Traits(rawValue: 1 << 26)
    }

    // The launcher's side. §1, §2.

    /// True if INITIALIZE names the base of guest memory.
    var hasBase: Bool { traits.contains(.hasBase) }
    /// True if INITIALIZE has a page directory: the launcher makes the first page tables.
    var namesPageDirectory: Bool { traits.contains(.namesPageDirectory) }
    /// True if INITIALIZE has a page_offset; the host then knows the guest's linear map.
    var namesPageOffset: Bool { traits.contains(.namesPageOffset) }
    /// True if INITIALIZE says where devices' memory ends.
    var namesDeviceLimit: Bool { traits.contains(.namesDeviceLimit) }
    /// True if a device of the era has BREAK, which ends a run of the guest.
    var hasBreak: Bool { traits.contains(.hasBreak) }
    /// True if the guest starts at physical = virtual addresses; before, it starts in its high mapping and
    /// has no other.
    var startsLow: Bool { traits.contains(.startsLow) }
    /// True if the guest begins as every kernel does, and finds out in the boot parameters what it is on.
    var bootsByHeader: Bool { traits.contains(.bootsByHeader) }
    /// True if the memory that the guest's kernel maps for good may end up to 5 MiB lower than before.
    var reservesMore: Bool { traits.contains(.reservesMore) }
    /// True if some images of the era initialise a word after `data` with the system call's vector,
    /// which no host of it reads.
    var hasVectorBehind: Bool { traits.contains(.hasVectorBehind) }
    /// True if the guest has a driver of virtio's source of random numbers.
    var hasRandomNumbers: Bool { traits.contains(.hasRandomNumbers) }
    /// True if there are guests whose page tables are those of PAE.
    var mayHaveWideTables: Bool { traits.contains(.mayHaveWideTables) }

    // Calls that came and went. §3.1, §3.2.

    /// NOTIFY, and with it text that is printed by its address.
    var notifies: Bool { traits.contains(.notifies) }
    /// The call that ends the guest says whether it wants to begin again.
    var hasShutdown: Bool { traits.contains(.hasShutdown) }
    var loadsGDTByEntry: Bool { traits.contains(.loadsGDTByEntry) }
    var sendsInterrupts: Bool { traits.contains(.sendsInterrupts) }
    /// True if a call can also be VMCALL, which no processor below a host has: it arrives as an invalid opcode.
    var callsByVmcall: Bool { traits.contains(.callsByVmcall) }

    // The host. §4.

    /// True for hosts that keep 64 gates and the system call's, and take no notice of the others.
    var hasFewGates: Bool { traits.contains(.hasFewGates) }
    /// True for hosts that let a program raise what the guest's own gate lets it.
    var keepsGatePrivilege: Bool { traits.contains(.keepsGatePrivilege) }
    /// True for hosts that enter the guest where a system call's gate is not one that the processor may take.
    var reflectsSystemCalls: Bool { traits.contains(.reflectsSystemCalls) }
    /// True for hosts to which a page without a write-back cache is an error.
    var refusesWriteThrough: Bool { traits.contains(.refusesWriteThrough) }
    /// True for hosts that skip CLI.
    var skipsCLI: Bool { traits.contains(.skipsCLI) }
    /// True for hosts to which the top of an address space is the Switcher's by that name: only who changes what is mapped
    /// there is ended.
    var namesSwitcherPages: Bool { traits.contains(.namesSwitcherPages) }

    // What the host says of a guest's death. §3.5.

    /// What the first call is called.
    var firstCall: StaticString { traits.contains(.saysLguestInit) ? "LGUEST_INIT" : "INIT" }
    /// Where a structure was to be that is outside memory.
    var saysDataPage: Bool { traits.contains(.saysDataPage) }
    /// A pointer that is none by a word, and not by its digits.
    var saysNull: Bool { traits.contains(.saysNull) }
    /// Where memory ends, of an address outside.
    var saysPageLimit: Bool { traits.contains(.saysPageLimit) }
    /// How many bytes were to be read there.
    var saysCount: Bool { traits.contains(.saysCount) }
}

extension GuestABI.Era {
    /// As people write it: `0`, `1a`.
    var name: StaticString { GuestABI(era: self).name }
}
