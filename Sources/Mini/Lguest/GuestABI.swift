// The eras of lguest's guest interface, a row each: where the words of `lguest_data` lie, which registers a
// hypercall is made in and in which order it stands in the ring, which calls there are, what kind of devices the
// guest has, what INITIALIZE takes, where memory is mapped at the start, what the host says. Recognition compares
// an image with the rows (Loader/Recognition.swift); host, devices and the kernel's device look the facts up here, and ask
// for a fact, never for the era. An era more is a row more, and a name in `Era`; until then it is one of
// `LaterEra`. Source: docs/abi/lguest.md §0, §1.1, §2.5, §3, §5.

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
    /// True if INITIALIZE names the base of guest memory.
    var hasBase = true
    /// True if INITIALIZE has a page directory: the launcher makes the first page tables.
    var namesPageDirectory = true
    /// True if INITIALIZE says where devices' memory ends.
    var namesDeviceLimit = false
    /// True if INITIALIZE has a page_offset; the host then knows the guest's linear map.
    var namesPageOffset = false
    /// True if the guest starts at physical = virtual addresses; before, it starts in its high mapping and
    /// has no other. §2.5.
    var startsLow = true
    /// True for hosts that keep 64 gates and the system call's, and take no notice of the others.
    var hasFewGates = false
    /// What the host's texts call the first call. §3.5.
    var firstCall: StaticString = "INIT"
    /// True if some images of the era initialise a word behind `data` with the system call's vector,
    /// which no host of it reads.
    var hasVectorBehind = false
    /// The calls that came and went. §3.2.
    var calls = Calls()
    /// True if a call can also be VMCALL, which no processor below a host has: it arrives as an invalid opcode. §3.1.
    var callsByVmcall = false
    /// True for hosts that let a program raise what the guest's own gate lets it. §4.3.
    var keepsGatePrivilege = false
    /// True for hosts to which a page without a write-back cache is an error. §4.7.
    var refusesWriteThrough = true
    /// True for hosts that enter the guest where a system call's gate is not one that the processor may take.
    var reflectsSystemCalls = false
    /// True for hosts that skip CLI. §4.5.
    var skipsCLI = false
    /// True for hosts whose printf has a word for no pointer. §3.5.
    var printsNull = false
    /// True for hosts to which the top of an address space is the Switcher's by that name: only who changes what is mapped
    /// there is ended. §3.5, §4.7.
    var namesSwitcherPages = false
    /// True if a device of the era has BREAK, which ends a run of the guest. §1.5.
    var hasBreak = true
    /// True if the guest's page tables are those of PAE: it was built so, whatever its era. From 4a on there
    /// are such guests. §2.5, §4.7.
    var hasWideTables = false

    /// All rows, the oldest first.
    static var all: [GuestABI] { Era.allCases.map { GuestABI(era: $0) } }

    /// What a guest is taken for that fills in its structure only when it runs: the common interface.
    static let usual = Era.era1

    /// The rows.
    init(era: Era) {
        switch era {
        case .era0: self.init(era, "0", .withIdentity, .addressesFirst, hasBase: false)
        case .era0b: self.init(era, "0b", .withIdentity, .lengthsFirst, hasBase: false)
        case .era1a: self.init(era, "1a", .withIdentity, .lengthsFirst)
        case .era1: self.init(era, "1", .plain, .lengthsFirst)
        case .era1b:
            self.init(era, "1b", .plain, .dataFirst, .turned, .dma(.lengthsFirst))
            namesPageOffset = true
            startsLow = false
            hasVectorBehind = true
        case .era1c: self.init(era, "1c", .withTables, .dataFirst, .turned, .dma(.lengthsFirst))
        case .era2: self.init(era, "2", .withTables, .dataFirst, .turned, .fields)
        case .era3a: self.init(era, "3a", .withTables, .dataFirst, .turned, .counted)
        case .era3b: self.init(era, "3b", .withTables, .dataFirst, .turned, .counted)
        case .era3c: self.init(era, "3c", .withTables, .baseFirst, .straight, .counted)
        case .era4a: self.init(era, "4a", .withPending, .baseFirst, .straight, .counted)
        case .era4b: self.init(era, "4b", .withPending, .baseFirst, .straight, .counted)
        case .era4c: self.init(era, "4c", .withoutTables, .baseFirst, .straight, .counted)
        case .era4d: self.init(era, "4d", .withoutTables, .baseFirst, .straight, .counted)
        case .era5: self.init(era, "5", .withReturn, .baseFirst, .straight, .bus)
        }
        calls.notify = era >= .era2 && era < .era5
        namesDeviceLimit = era >= .era5
        reflectsSystemCalls = era >= .era5
        if era >= .era3a {
            calls.hasShutdown = true
            keepsGatePrivilege = true
            refusesWriteThrough = false
        }
        namesPageDirectory = era < .era3b
        printsNull = era >= .era3b
        namesSwitcherPages = era >= .era4d
        if era >= .era3c { calls.loadsGDTByEntry = true }
        callsByVmcall = era >= .era3c && era < .era4c
        calls.sendsInterrupts = era >= .era4a
        skipsCLI = era >= .era4b
        hasBreak = era < .era4a
    }

    private init(
        _ era: Era, _ name: StaticString, _ data: Data, _ callRegisters: CallRegisters,
        _ ringOrder: RingOrder, _ devices: Devices
    ) {
        self.era = era
        self.name = name
        self.data = data
        self.callRegisters = callRegisters
        self.ringOrder = ringOrder
        self.devices = devices
    }

    /// Up to era 1: in the high mapping, with few gates.
    private init(
        _ era: Era, _ name: StaticString, _ data: Data, _ dma: DMALayout, hasBase: Bool = true
    ) {
        self.init(era, name, data, .dataFirst, .straight, .dma(dma))
        self.hasBase = hasBase
        namesPageOffset = true
        startsLow = false
        hasFewGates = true
        firstCall = "LGUEST_INIT"
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

    /// Calls that not every era has. §3.2.
    struct Calls: Equatable {
        var notify = false
        /// The call that ends the guest says whether it wants to begin again.
        var hasShutdown = false
        var loadsGDTByEntry = false
        var sendsInterrupts = false
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

extension GuestABI.Era: Comparable {
    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// As people write it: `0`, `1a`.
    var name: StaticString { GuestABI(era: self).name }
}
