// What a guest kernel of each lguest era expects of its host: where the words of
// `lguest_data` lie, in which order it files hypercalls in the ring, how it lays out a DMA
// record, and where it wants memory mapped when it starts. The launcher recognises the era
// from the image (Launcher/Recognition.swift); host and devices look the facts up here.
// Source: docs/abi/lguest.md §0, §2.5, §3.3, §3.4, §5.1.

/// The facts of one era of the guest interface.
struct GuestABI: Equatable {
    /// The stages that the interface went through while its devices were DMA devices.
    /// Eras 0b and 1a differ from each other only for the launcher of a real device.
    enum Era: UInt8, Equatable {
        case era0, era0b, era1a, era1, era1b, era1c
    }

    let era: Era

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
    }

    static let ringSlots: UInt32 = 64
    static let ringRecordSize: UInt32 = 16

    var data: Data {
        switch era {
        case .era0, .era0b, .era1a:
            Data(
                guestIdentity: 1112, timeStampKilohertz: 1116, pageDirectory: nil,
                quietStart: 1120, quietEnd: 1124, kernelAddress: nil, systemCallVector: nil,
                count: 1128)
        case .era1, .era1b:
            Data(
                guestIdentity: nil, timeStampKilohertz: 1112, pageDirectory: nil,
                quietStart: 1116, quietEnd: 1120, kernelAddress: nil, systemCallVector: nil,
                count: 1124)
        case .era1c:
            Data(
                guestIdentity: nil, timeStampKilohertz: 1112, pageDirectory: 1116,
                quietStart: 1120, quietEnd: 1124, kernelAddress: 1128, systemCallVector: 1132,
                count: 1136)
        }
    }

    /// Which word of a ring record holds the number and the first, second and third argument.
    struct RingOrder: Equatable {
        let number: UInt32
        let first: UInt32
        let second: UInt32
        let third: UInt32
    }

    /// §3.3.
    var ringOrder: RingOrder {
        switch era {
        case .era0, .era0b, .era1a, .era1: RingOrder(number: 0, first: 1, second: 2, third: 3)
        case .era1b, .era1c: RingOrder(number: 0, first: 3, second: 1, third: 2)
        }
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

    var dma: DMALayout { era == .era0 ? .addressesFirst : .lengthsFirst }

    /// True if the guest starts at physical = virtual addresses; before, it starts in its
    /// high mapping and has no other. §2.5.
    var startsLow: Bool { era == .era1c }

    /// True if the host's argument check of the INIT call covers `systemCallVector` and
    /// `kernelAddress`, and its texts say "INIT" instead of "LGUEST_INIT" (the latter holds
    /// from era 1b). §3.5.
    var checksKernelAddress: Bool { era == .era1c }
}

extension GuestABI.Era {
    /// As people write it: `0`, `1a`.
    var name: StaticString {
        switch self {
        case .era0: "0"
        case .era0b: "0b"
        case .era1a: "1a"
        case .era1: "1"
        case .era1b: "1b"
        case .era1c: "1c"
        }
    }
}
