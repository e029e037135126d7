// The state of the x86-64 processor in software, laid out as State.swift's is: registers first, named by decoded
// operations by their byte offset; behind them a register that is always zero, a temporary one, the segments' bases,
// and where the running block begins, so that an address is a sum of three loads without a branch: relative to rip, to fs
// or to gs as well. What 8 bits of offset can reach is the guest's own.
//
// In 64-bit code segments are flat but for the bases of fs and gs. In compatibility mode they are what their descriptors
// say: LongCompatible.swift tells how, without a cost for 64-bit code.
//
// Sources: AMD64 Architecture Programmer's Manual volume 2, chapters 1, 4, 5; Intel SDM volume 3, chapters 2, 4, 5.

import CShim

/// Order and size of the first fields are used by decoded operations.
@safe struct LongState {
    typealias Table = LongTable

    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    var registers = InlineArray<16, UInt64>(repeating: 0)
    /// Always 0. At `LongSlot.zero`.
    var zero: UInt64 = 0
    /// An address on its way to the operation behind it. At `LongSlot.temporary`.
    var temporary: UInt64 = 0
    /// Of es, cs, ss, ds, fs, gs. At `LongSlot.bases`.
    var bases = InlineArray<6, UInt64>(repeating: 0)
    /// Linear address of the running block's first instruction. At `LongSlot.blockStart`.
    var blockStart: UInt64 = 0

    /// Lazy flags, as in Flags.swift with 64 bits.
    var result: UInt64 = 1
    var carries: UInt64 = 0
    /// TF, IF, DF, IOPL, NT, RF, AC, ID.
    var otherFlags: UInt64 = 0
    /// Valid whenever the execution loop is left.
    var rip: UInt64 = 0

    /// xmm0 to xmm15, two words each.
    var vectors = InlineArray<32, UInt64>(repeating: 0)
    var vectorControl: UInt32 = 0x1F80

    // From here on it is ours, and out of the reach of a record's 8 bits.

    /// Generation and mode, in the upper 16 bits: added to an address it makes the key of a link.
    var key: UInt64 = 0
    var mode: UInt32 = 0
    var linkSource: UnsafeMutablePointer<Block>?
    var isTaken = false
    var codeChanged = false
    var suppressesStep = false
    var owesStep = false
    var attention: UInt8 = 0
    /// Current privilege level.
    var privilege: UInt32 = 0
    /// The rings but 0 that code was entered in, one over the other, since a user of the processor asked.
    var outerRings: UInt32 = 0
    /// Code of 64 bits: cs.L, in long mode.
    var isLong = true
    /// What remains of a linear address, and of a stack pointer where it is used.
    var linearMask: UInt64 = ~0
    var stackMask: UInt64 = ~0
    /// Of compatibility mode: added to a place on the stack, and to rip where code is fetched.
    var stackBase: UInt64 = 0
    var codeBase: UInt64 = 0
    /// The last compatibility mode's.
    var compatibleMode: UInt32 = 0
    var compatibleCode: UInt64 = 0
    /// The TLBs that know only addresses below 4 GiB: bit 0 the supervisor's, bit 1 the user's.
    var narrowTLBs: UInt8 = 0

    var budget = 0
    var charge = 0

    var tlb: UnsafeMutablePointer<LongTLBEntry>
    var userTLB: UnsafeMutablePointer<LongTLBEntry>
    var supervisorTLB: UnsafeMutablePointer<LongTLBEntry>
    var blocks: BlockCache
    /// Slots filled with what a load of CR3 forgets; too many to note are all.
    var filled: UnsafeMutablePointer<UInt16>
    var filledCount = 0
    /// Something was translated by a page of 2 MiB since the TLB was empty.
    var hasLargePages = false
    /// Code of the inner rings was fetched through a page that is not global.
    var hasFetchedLocally = false

    /// Guest-physical 0.
    var memory: UnsafeMutableRawPointer
    /// What of the addresses from there on is memory.
    var extent: MemoryExtent

    // Control registers; CR2 is `faultAddress`.
    var control0: UInt64 = 0x8000_0033
    var faultAddress: UInt64 = 0
    var control3: UInt64 = 0
    var control4: UInt64 = 0x20
    var control8: UInt64 = 0
    /// EFER: SCE, LME, LMA, NXE.
    var features: UInt64 = LongFeature.long | LongFeature.active
    var debug = DebugRegisters()

    /// es, cs, ss, ds, fs, gs, less their bases.
    var segments = InlineArray<6, SegmentRegister>(repeating: SegmentRegister())
    var globalTable = Table()
    var interruptTable = Table()
    var localTable = LongSystemSegment()
    var task = LongSystemSegment()

    // Model-specific registers.
    var kernelBase: UInt64 = 0
    var star: UInt64 = 0
    var longEntry: UInt64 = 0
    var compatibleEntry: UInt64 = 0
    var entryMask: UInt64 = 0
    var entryRegisters = InlineArray<3, UInt64>(repeating: 0)
    var attributeTable: UInt64 = 0x0007_0406_0007_0406
    var timeStampOffset: UInt64 = 0
    var clockPage: UInt64 = 0
    var wallClock: UInt64 = 0
    var clockVersion: UInt32 = 0

    /// A port string's element that waits for its input.
    var inputAddress: UInt64 = 0
    var hasInputAddress = false

    var fault = Fault.none
    /// The last that was wanted.
    var missing: MissingInstruction?
    /// The fault is for an address that is not canonical.
    var isOutside = false
    var exit: ProcessorExit?

    /// For operands of x87 and SSE instructions, and an instruction on two pages.
    var scratch: UnsafeMutableRawPointer
    var floatingPoint = FloatingPointUnit()
    /// What LongLevel2.swift has is there.
    let hasLevel2 = mini_has_level2() != 0
    /// Whose state this is, and who lives longer: it knows what RDTSC reads.
    unowned(unsafe) var owner: LongProcessor
}

/// What LGDT and LIDT load.
struct LongTable {
    var base: UInt64 = 0
    var limit: UInt16 = 0
}

/// The LDT's or the task's register.
struct LongSystemSegment {
    var selector: UInt16 = 0
    var base: UInt64 = 0
    var limit: UInt32 = 0
}

/// Bits of EFER.
enum LongFeature {
    static let systemCall: UInt64 = 1 << 0
    static let long: UInt64 = 1 << 8
    static let active: UInt64 = 1 << 10
    static let noExecute: UInt64 = 1 << 11
}

/// Byte offsets in `LongState` that are not registers.
enum LongSlot {
    static let zero: UInt8 = 128
    static let temporary: UInt8 = 136
    static let bases: UInt8 = 144
    static let blockStart: UInt8 = 192
    /// Not within a record's reach: named by number.
    static let vectors = 232
}

/// An operand of 8, 16, 32 or 64 bits.
protocol LongOperand: FixedWidthInteger & UnsignedInteger {
    /// Sign-extended to 64 bits.
    var extended64: UInt64 { get }
}

extension UInt8: LongOperand {
    @inline(__always) var extended64: UInt64 { UInt64(bitPattern: Int64(Int8(bitPattern: self))) }
}
extension UInt16: LongOperand {
    @inline(__always) var extended64: UInt64 { UInt64(bitPattern: Int64(Int16(bitPattern: self))) }
}
extension UInt32: LongOperand {
    @inline(__always) var extended64: UInt64 { UInt64(bitPattern: Int64(Int32(bitPattern: self))) }
}
extension UInt64: LongOperand {
    @inline(__always) var extended64: UInt64 { self }
}

/// The handle to the processor's state. Valid as long as the `LongProcessor` that made it.
@safe struct LongCore {
    private let pointer: UnsafeMutablePointer<LongState>

    init(_ pointer: UnsafeMutablePointer<LongState>) { unsafe self.pointer = unsafe pointer }

    var state: LongState {
        @inline(__always) _read { yield unsafe pointer.pointee }
        @inline(__always) nonmutating _modify { yield unsafe &pointer.pointee }
    }

    /// A register, or a part of one, by its byte offset.
    @inline(__always) func get<Width: LongOperand>(_ offset: UInt8, as: Width.Type = Width.self)
        -> Width
    {
        Self.checkOffset(offset, Width.bitWidth)
        return unsafe UnsafeRawPointer(pointer).load(fromByteOffset: Int(offset), as: Width.self)
    }

    /// What is written with 32 bits clears the others.
    @inline(__always) func set<Width: LongOperand>(_ offset: UInt8, _ value: Width) {
        Self.checkOffset(offset, max(Width.bitWidth, 8))
        if Width.bitWidth == 32 {
            unsafe UnsafeMutableRawPointer(pointer).storeBytes(
                of: UInt64(truncatingIfNeeded: value), toByteOffset: Int(offset), as: UInt64.self)
        } else {
            unsafe UnsafeMutableRawPointer(pointer).storeBytes(
                of: value, toByteOffset: Int(offset), as: Width.self)
        }
    }

    @inline(__always) var rax: UInt64 {
        get { get(0) }
        nonmutating set { set(0, newValue) }
    }
    @inline(__always) var rcx: UInt64 {
        get { get(8) }
        nonmutating set { set(8, newValue) }
    }
    @inline(__always) var rdx: UInt64 {
        get { get(16) }
        nonmutating set { set(16, newValue) }
    }
    @inline(__always) var rbx: UInt64 {
        get { get(24) }
        nonmutating set { set(24, newValue) }
    }
    @inline(__always) var rsp: UInt64 {
        get { get(32) }
        nonmutating set { set(32, newValue) }
    }
    @inline(__always) var rbp: UInt64 {
        get { get(40) }
        nonmutating set { set(40, newValue) }
    }
    @inline(__always) var rsi: UInt64 {
        get { get(48) }
        nonmutating set { set(48, newValue) }
    }
    @inline(__always) var rdi: UInt64 {
        get { get(56) }
        nonmutating set { set(56, newValue) }
    }

    /// Register 0...15 with a size of 1 << shift bytes, zero-extended.
    @inline(__always) func part(_ offset: UInt8, _ size: UInt8) -> UInt64 {
        let all: UInt64
        if offset & 7 == 1 && offset < 32 {
            all = get(offset &- 1) &>> 8
        } else {
            all = get(offset)
        }
        return all & Self.mask(size)
    }

    func setPart(_ offset: UInt8, _ size: UInt8, _ value: UInt64) {
        switch size {
        case 0: set(offset, UInt8(truncatingIfNeeded: value))
        case 1: set(offset, UInt16(truncatingIfNeeded: value))
        case 2: set(offset, UInt32(truncatingIfNeeded: value))
        default: set(offset, value)
        }
    }

    /// The bits of an operand of 1 << shift bytes.
    @inline(__always) static func mask(_ size: UInt8) -> UInt64 {
        ~0 &>> (64 &- 8 &<< UInt64(size))
    }

    static func extend(_ value: UInt64, _ size: UInt8) -> UInt64 {
        let shift = 64 &- 8 &<< Int64(size)
        return UInt64(bitPattern: (Int64(bitPattern: value) &<< shift) &>> shift)
    }

    func vector(_ number: UInt8) -> UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(pointer) + LongSlot.vectors + Int(number & 15) * 16
    }
}
