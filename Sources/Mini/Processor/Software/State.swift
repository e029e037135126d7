// All of the processor's state that an instruction touches, in one struct at a fixed place.
// `Core` is the handle to it that the rest of this folder extends: one pointer, copied
// freely, no reference counting. Registers lie first, so that a decoded operation names any
// of them, whole or in part, by its byte offset: eax is 0, ah is 1, ecx 4; behind them come
// a register that is always zero (for an absent base or index), a temporary one and the
// segment bases, so that an address is a sum of four loads without a branch.
//
// Such an offset has 8 bits and is not checked where it is used. So nothing that our own safety
// rests on (no pointer, no key, no count) lies where 8 bits can reach: see `State.moat`.

/// The state struct. Order and size of the first fields are used by decoded operations.
@safe struct State {
    var eax: UInt32 = 0
    var ecx: UInt32 = 0
    var edx: UInt32 = 0
    var ebx: UInt32 = 0
    var esp: UInt32 = 0
    var ebp: UInt32 = 0
    var esi: UInt32 = 0
    var edi: UInt32 = 0
    /// Always 0: the base or index of an operand that has none. At `Slot.zero`.
    var zero: UInt32 = 0
    /// A 16-bit effective address on its way to the operation behind it. At `Slot.temporary`.
    var temporary: UInt32 = 0
    /// Bases of es, cs, ss, ds, fs, gs. At `Slot.segmentBases`.
    var esBase: UInt32 = 0
    var csBase: UInt32 = 0
    var ssBase: UInt32 = 0
    var dsBase: UInt32 = 0
    var fsBase: UInt32 = 0
    var gsBase: UInt32 = 0

    /// Lazy flags, see Flags.swift: the sign-extended result and the carries out of its bits.
    var result: UInt32 = 1
    var carries: UInt32 = 0
    /// The other flags that a guest can set: TF, DF, NT, RF, AC, ID; of a guest with ring 0, IF and IOPL as well.
    var otherFlags: UInt32 = 0

    /// Instruction pointer, valid whenever the execution loop is left.
    var eip: UInt32 = 0
    /// Instruction pointer of the running block's first instruction.
    var blockStart: UInt32 = 0

    /// Nothing. Up to here everything is the guest's; what follows is ours, and lies further
    /// from the start than a record's 8-bit offset reaches with an operand of 32 bits.
    var moat = InlineArray<44, UInt32>(repeating: 0)

    /// Generation and mode in the upper half: what a link or a jump cache entry must carry to
    /// be taken; see Blocks.swift.
    var key: UInt64 = 0
    var mode: UInt32 = 0
    /// The block whose branch found no link and is to get one. Cleared when the arena is emptied.
    var linkSource: UnsafeMutablePointer<Block>?
    /// Whether the branch that found no link was taken.
    var isTaken = false
    /// Set when decoded code was invalidated: the running block must end.
    var codeChanged = false
    /// The instruction before loaded ss or entered a gate: no single-step trap after it.
    var suppressesStep = false
    /// The instruction before left the loop: its single-step trap comes when it goes on.
    var owesStep = false
    /// Only a guest with ring 0 sets any.
    var debug = DebugRegisters()
    /// What the loop has to see to between two blocks: see `Attention`.
    var attention: UInt8 = 0
    /// What a guest with ring 0 has beside all this; nil for one without.
    var system: UnsafeMutablePointer<SystemState>?

    /// Current privilege level.
    var privilege: UInt32
    /// Bit per segment (1 << number): writable data or readable code, limit 4 GiB - 1,
    /// expanding upwards; an access needs no check.
    var openSegments: UInt32 = 0
    var taskSwitched = false

    /// Instructions left in this slice, and what a long instruction costs beyond its one.
    var budget = 0
    var charge = 0

    /// The active TLB: the user's at privilege 3, the supervisor's otherwise.
    var tlb: UnsafeMutablePointer<TLBEntry>
    var userTLB: UnsafeMutablePointer<TLBEntry>
    var supervisorTLB: UnsafeMutablePointer<TLBEntry>
    var blocks: BlockCache

    /// Guest-physical 0 and size in bytes.
    var memory: UnsafeMutableRawPointer
    var memoryCount: UInt32

    var pageDirectory: UInt32 = 0
    var pageRules = PageRules(limit: 0)
    var portRules = PortRules()
    /// Linear address of the last page fault.
    var faultAddress: UInt32 = 0
    /// What ended the execution loop: a fault; or, if that is not nil, another exit.
    var fault = Fault.none
    var exit: ProcessorExit?
    /// esp and ss of the kernel's ring in the task state segment.
    var ringStackPointer: UInt32 = 0
    var ringStackSelector: UInt16 = 0

    var segments: UnsafeMutablePointer<SegmentRegister>
    var descriptors: UnsafeMutablePointer<UInt64>
    var gates: UnsafeMutablePointer<GateEntry>

    /// For the operand of an x87 instruction (128 bytes), an instruction on two pages, and the
    /// values of a stack frame.
    var scratch: UnsafeMutableRawPointer
    var floatingPoint = FloatingPointUnit()
    var timeStamp: () -> UInt64 = { 0 }
    /// What the user of the processor decided of it.
    var profile: ProcessorProfile
    /// The rings but 0 that code was entered in, one over the other, since a user of the processor asked.
    var outerRings: UInt32 = 0

    /// The first byte that no operation record can name.
    static let reach = Int(UInt8.max) + MemoryLayout<UInt32>.size

    /// True if all of ours lies beyond a record's reach. Compilers know the answer.
    static func isOutOfReach(_ state: UnsafeMutablePointer<State>) -> Bool {
        let ours = unsafe withUnsafePointer(to: &state.pointee.key) { UInt(bitPattern: $0) }
        return ours &- UInt(bitPattern: state) >= UInt(reach)
    }
}

/// Byte offsets in `State` that are not registers.
enum Slot {
    static let zero: UInt8 = 32
    static let temporary: UInt8 = 36
    static let segmentBases: UInt8 = 40
    /// After the last of what a record may name.
    static let end: UInt8 = 64
}

/// An instruction's operand: 8, 16 or 32 bits.
protocol Operand: FixedWidthInteger & UnsignedInteger {
    /// Sign-extended to 32 bits.
    var extended: UInt32 { get }
}

extension UInt8: Operand {
    @inline(__always) var extended: UInt32 { UInt32(bitPattern: Int32(Int8(bitPattern: self))) }
}
extension UInt16: Operand {
    @inline(__always) var extended: UInt32 { UInt32(bitPattern: Int32(Int16(bitPattern: self))) }
}
extension UInt32: Operand {
    @inline(__always) var extended: UInt32 { self }
}

/// The handle to the processor's state. Valid as long as the `SoftwareProcessor` that made it.
@safe struct Core {
    private let pointer: UnsafeMutablePointer<State>

    init(_ pointer: UnsafeMutablePointer<State>) { unsafe self.pointer = unsafe pointer }

    var state: State {
        @inline(__always) _read { yield unsafe pointer.pointee }
        @inline(__always) nonmutating _modify { yield unsafe &pointer.pointee }
    }

    /// A register, or a part of one, by its byte offset.
    @inline(__always) func get<Width: Operand>(_ offset: UInt8, as: Width.Type = Width.self)
        -> Width
    {
        Self.checkOffset(offset, Width.bitWidth)
        return unsafe UnsafeRawPointer(pointer).load(fromByteOffset: Int(offset), as: Width.self)
    }

    @inline(__always) func set<Width: Operand>(_ offset: UInt8, _ value: Width) {
        Self.checkOffset(offset, Width.bitWidth)
        unsafe UnsafeMutableRawPointer(pointer).storeBytes(
            of: value, toByteOffset: Int(offset), as: Width.self)
    }

    /// The base of segment 0...5 (es, cs, ss, ds, fs, gs).
    @inline(__always) func base(_ segment: Int) -> UInt32 {
        get(Slot.segmentBases &+ UInt8(truncatingIfNeeded: segment &<< 2))
    }
}
