// The eras of lguest's guest interface, a row each: where the words of `lguest_data` lie, which registers a
// hypercall is made in and in which order it stands in the ring, how a DMA record is laid out, what INITIALIZE
// takes, where memory is mapped at the start, what the host says. Recognition compares an image with the rows
// (Loader/Recognition.swift); host, devices and the kernel's device look the facts up here, and ask
// for a fact, never for the era. An era more is a row more, and a name in `Era`; until then it is one of
// `LaterEra`. Source: docs/abi/lguest.md §0, §1.1, §2.5, §3.1, §3.3, §3.4, §5.1.

/// The facts of one era of the guest interface.
struct GuestABI: Equatable {
    /// The stages that the interface went through while its devices were DMA devices.
    /// Eras 0b and 1a differ from each other only for the launcher of a real device.
    enum Era: UInt8, Equatable, CaseIterable {
        case era0, era0b, era1a, era1, era1b, era1c
    }

    let era: Era
    /// As people write it: `0`, `1a`.
    let name: StaticString
    let data: Data
    let callRegisters: CallRegisters
    let ringOrder: RingOrder
    let dma: DMALayout
    /// True if INITIALIZE names the base of guest memory.
    let hasBase: Bool
    /// True if INITIALIZE has a page_offset; the host then knows the guest's linear map.
    let namesPageOffset: Bool
    /// True if the guest starts at physical = virtual addresses; before, it starts in its high mapping and
    /// has no other. §2.5.
    let startsLow: Bool
    /// True for hosts that keep 64 gates and the system call's, and take no notice of the others.
    let hasFewGates: Bool
    /// What the host's texts call the first call. §3.5.
    let firstCall: StaticString
    /// True if some images of the era initialise a word behind `data` with the system call's vector,
    /// which no host of it reads.
    let hasVectorBehind: Bool

    /// All rows, the oldest first.
    static var all: [GuestABI] { Era.allCases.map { GuestABI(era: $0) } }

    /// What a guest is taken for that fills in its structure only when it runs: the common interface.
    static let usual = Era.era1

    /// The rows.
    init(era: Era) {
        self =
            switch era {
            case .era0: .init(era, "0", .withIdentity, .straight, .addressesFirst, hasBase: false)
            case .era0b: .init(era, "0b", .withIdentity, .straight, .lengthsFirst, hasBase: false)
            case .era1a: .init(era, "1a", .withIdentity, .straight, .lengthsFirst)
            case .era1: .init(era, "1", .plain, .straight, .lengthsFirst)
            case .era1b:
                .init(
                    era, "1b", .plain, .turned, .lengthsFirst, hasFewGates: false,
                    firstCall: "INIT", hasVectorBehind: true)
            case .era1c:
                .init(
                    era, "1c", .withTables, .turned, .lengthsFirst, namesPageOffset: false,
                    startsLow: true, hasFewGates: false, firstCall: "INIT")
            }
    }

    private init(
        _ era: Era, _ name: StaticString, _ data: Data, _ ringOrder: RingOrder, _ dma: DMALayout,
        hasBase: Bool = true, namesPageOffset: Bool = true, startsLow: Bool = false,
        hasFewGates: Bool = true, firstCall: StaticString = "LGUEST_INIT",
        hasVectorBehind: Bool = false, callRegisters: CallRegisters = .dataFirst
    ) {
        self.era = era
        self.name = name
        self.data = data
        self.ringOrder = ringOrder
        self.dma = dma
        self.hasBase = hasBase
        self.namesPageOffset = namesPageOffset
        self.startsLow = startsLow
        self.hasFewGates = hasFewGates
        self.firstCall = firstCall
        self.hasVectorBehind = hasVectorBehind
        self.callRegisters = callRegisters
    }

    /// No two rows are of one era.
    static func == (left: GuestABI, right: GuestABI) -> Bool { left.era == right.era }

    /// Bytes of INITIALIZE's arguments: what its write() returns. §1.1.
    var initializeCount: Int { 12 + (hasBase ? 4 : 0) + (namesPageOffset ? 4 : 0) }

    // MARK: - What the columns hold

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
        /// 64 bytes, 0xFF for free or done, 0 for waiting.
        let ringStatus: UInt32 = 20
        /// 64 records of four words.
        let ringRecords: UInt32 = 84
        let reservedTop: UInt32 = 1108
        /// A 16-bit number that the host gives the guest.
        let guestIdentity: UInt32?
        let timeStampKilohertz: UInt32
        /// Where the host leaves the page directory that it was started with.
        let pageDirectory: UInt32?
        /// First and last code address between which no interrupt may be delivered.
        let quietStart: UInt32
        let quietEnd: UInt32
        let kernelAddress: UInt32?
        let systemCallVector: UInt32?
        /// Length of the whole structure.
        let count: UInt32

        static var withIdentity: Data {
            Data(
                guestIdentity: 1112, timeStampKilohertz: 1116, pageDirectory: nil,
                quietStart: 1120, quietEnd: 1124, kernelAddress: nil, systemCallVector: nil,
                count: 1128)
        }
        static var plain: Data {
            Data(
                guestIdentity: nil, timeStampKilohertz: 1112, pageDirectory: nil,
                quietStart: 1116, quietEnd: 1120, kernelAddress: nil, systemCallVector: nil,
                count: 1124)
        }
        static var withTables: Data {
            Data(
                guestIdentity: nil, timeStampKilohertz: 1112, pageDirectory: 1116,
                quietStart: 1120, quietEnd: 1124, kernelAddress: 1128, systemCallVector: 1132,
                count: 1136)
        }
    }

    /// The registers of a hypercall's number and arguments. §3.1.
    struct CallRegisters: Equatable {
        let number = ProcessorRegister.eax
        let first: ProcessorRegister
        let second: ProcessorRegister
        let third: ProcessorRegister

        static var dataFirst: CallRegisters { .init(first: .edx, second: .ebx, third: .ecx) }
    }

    static let systemCallVector: UInt32 = 0x80
    static let ringSlots: UInt32 = 64
    static let ringRecordSize: UInt32 = 16

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

extension GuestABI.Era {
    /// As people write it: `0`, `1a`.
    var name: StaticString { GuestABI(era: self).name }
}
