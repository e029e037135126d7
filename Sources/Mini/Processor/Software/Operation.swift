// A decoded instruction: a record of fixed size that names registers by their byte offset in
// `State`. The execution loop switches over `Code`; what is common in 32-bit code has a code
// of its own there, everything else is `.slowPath` with a number of its own in `aux`.

/// What the execution loop switches over. `32`, `16`, `8` are operand sizes; `r` a register,
/// `m` memory, `i` an immediate, the destination first.
enum Code: UInt8 {
    // The order of these forty is `Arithmetic` x `Form`; the decoder counts on it.
    case add32rr, add32rm, add32mr, add32ri, add32mi
    case or32rr, or32rm, or32mr, or32ri, or32mi
    case adc32rr, adc32rm, adc32mr, adc32ri, adc32mi
    case sbb32rr, sbb32rm, sbb32mr, sbb32ri, sbb32mi
    case and32rr, and32rm, and32mr, and32ri, and32mi
    case sub32rr, sub32rm, sub32mr, sub32ri, sub32mi
    case xor32rr, xor32rm, xor32mr, xor32ri, xor32mi
    case cmp32rr, cmp32rm, cmp32mr, cmp32ri, cmp32mi
    case add8rr, add8rm, add8mr, add8ri, add8mi
    case or8rr, or8rm, or8mr, or8ri, or8mi
    case adc8rr, adc8rm, adc8mr, adc8ri, adc8mi
    case sbb8rr, sbb8rm, sbb8mr, sbb8ri, sbb8mi
    case and8rr, and8rm, and8mr, and8ri, and8mi
    case sub8rr, sub8rm, sub8mr, sub8ri, sub8mi
    case xor8rr, xor8rm, xor8mr, xor8ri, xor8mi
    case cmp8rr, cmp8rm, cmp8mr, cmp8ri, cmp8mi
    // Conditional jumps in the order of their condition numbers, alone and fused with the
    // comparison in front of them.
    case jo, jno, jb, jae, je, jne, jbe, ja, js, jns, jp, jnp, jl, jge, jle, jg
    case cmp32rrJo, cmp32rrJno, cmp32rrJb, cmp32rrJae, cmp32rrJe, cmp32rrJne, cmp32rrJbe
    case cmp32rrJa, cmp32rrJs, cmp32rrJns, cmp32rrJp, cmp32rrJnp, cmp32rrJl, cmp32rrJge
    case cmp32rrJle, cmp32rrJg
    case cmp32riJo, cmp32riJno, cmp32riJb, cmp32riJae, cmp32riJe, cmp32riJne, cmp32riJbe
    case cmp32riJa, cmp32riJs, cmp32riJns, cmp32riJp, cmp32riJnp, cmp32riJl, cmp32riJge
    case cmp32riJle, cmp32riJg
    case test32rrJo, test32rrJno, test32rrJb, test32rrJae, test32rrJe, test32rrJne
    case test32rrJbe, test32rrJa, test32rrJs, test32rrJns, test32rrJp, test32rrJnp
    case test32rrJl, test32rrJge, test32rrJle, test32rrJg
    case test32rr, test32ri, test32mr, test32mi, test8rr, test8ri, test8mr, test8mi
    case move32rr, move32ri, load32, store32, store32i
    case move8rr, move8ri, load8, store8, store8i
    case move16rr, load16, store16
    case zero8r, zero8m, sign8r, sign8m, zero16r, zero16m, sign16r, sign16m
    case lea, lea0
    case inc32r, dec32r, inc32m, dec32m, not32r, neg32r
    case shl32i, shr32i, sar32i, shl32c, shr32c, sar32c, rol32i, ror32i
    case multiply32r, multiply32m, multiply32ri, multiply32mi
    case push32r, push32i, push32m, pop32r, leave32
    case loop, jecxz
    case callNear, callRegister, callMemory, returnNear, returnPopping
    case jump, jumpRegister, jumpMemory
    // String instructions that are not repeated, upwards or downwards, through open segments.
    case loadString8, loadString32, storeString8, storeString32, moveString8, moveString32
    case scanString8
    case set8r, move32rrIf, load32If, exchange32rr, swap, doubleWord
    /// The end of a block that runs on into the next.
    case next
    /// In front of a memory operation: an address of 16 bits into `Slot.temporary`.
    case address16
    /// In front of a memory operation: limit, type and null check of its segment.
    case check
    /// `SlowPath(rawValue: aux)`.
    case slowPath

    /// A record that belongs to the instruction of the record behind it.
    var isPrefix: Bool { self == .address16 || self == .check || self == .next }
    /// A record of two instructions.
    var isFused: Bool {
        rawValue >= Code.cmp32rrJo.rawValue && rawValue <= Code.test32rrJg.rawValue
    }
}

/// The eight two-operand operations, in the order of their opcodes.
enum Arithmetic: UInt8 { case add, or, adc, sbb, and, sub, xor, cmp }

/// Operand forms, in the order of `Code`.
enum Form: UInt8 { case rr, rm, mr, ri, mi }

/// A decoded instruction, or a part of one.
struct Operation {
    var code = Code.slowPath
    /// Destination register and source register, as byte offsets.
    var a: UInt8 = 0
    var b: UInt8 = 0
    /// Memory operand: registers as byte offsets (`Slot.zero` if absent), scale as a shift,
    /// and where the segment's base is.
    var base: UInt8 = Slot.zero
    var index: UInt8 = Slot.zero
    var scale: UInt8 = 0
    var segment: UInt8 = Slot.segmentBases + 12
    /// Condition, number of the slow path, or size and access of a check.
    var aux: UInt8 = 0
    /// Immediate; for jumps the target relative to the block's start.
    var immediate: UInt32 = 0
    var displacement: UInt32 = 0
    /// The instruction's start, relative to the block's.
    var offset: UInt16 = 0
    /// The instruction's length; of both, if two are fused.
    var length: UInt8 = 0
    /// How an operation of the slow path is meant: see `Shape`.
    var shape = Shape()

    /// Segment number 0...5 of the memory operand.
    var segmentNumber: Int { Int((segment &- Slot.segmentBases) &>> 2) }
}

/// Size and prefixes of an operation of the slow path.
struct Shape {
    var bits: UInt8 = 0

    /// Operand size as a shift: 0 is 8 bits, 1 is 16, 2 is 32.
    var size: UInt8 {
        get { bits & 3 }
        set { bits = bits & ~3 | newValue }
    }
    var isMemory: Bool {
        get { bits & 4 != 0 }
        set { bits = bits & ~4 | (newValue ? 4 : 0) }
    }
    /// The register is the destination, the register-or-memory operand the source.
    var isToRegister: Bool {
        get { bits & 8 != 0 }
        set { bits = bits & ~8 | (newValue ? 8 : 0) }
    }
    /// 16-bit addresses: si, di, cx instead of esi, edi, ecx.
    var isAddress16: Bool {
        get { bits & 16 != 0 }
        set { bits = bits & ~16 | (newValue ? 16 : 0) }
    }
    /// 0 none, 1 repne (F2), 2 rep (F3).
    var repeating: UInt8 {
        get { bits &>> 5 & 3 }
        set { bits = bits & ~0x60 | newValue &<< 5 }
    }
    /// The count of a shift, the offset of a bit, or the number of a port is in a register (cl, b, dx).
    var isCountInRegister: Bool {
        get { bits & 128 != 0 }
        set { bits = bits & ~128 | (newValue ? 128 : 0) }
    }
}

/// Everything that is not worth a code of its own.
enum SlowPath: UInt8 {
    // Two-operand arithmetic, in the order of `Arithmetic`: with a register, an immediate.
    case addRegister, orRegister, adcRegister, sbbRegister
    case andRegister, subRegister, xorRegister, cmpRegister
    case addImmediate, orImmediate, adcImmediate, sbbImmediate
    case andImmediate, subImmediate, xorImmediate, cmpImmediate
    // In the order of opcode group 2.
    case rol, ror, rcl, rcr, shl, shr, sal, sar
    // In the order of opcode group 3.
    case testImmediate, testImmediate2, not, neg, multiply, multiplySigned, divide, divideSigned
    case testRegister, moveImmediate, inc, dec
    case multiplyRegister, multiplyImmediate
    case shld, shrd
    case bt, bts, btr, btc
    case bsf, bsr, bswap, exchange, compareExchange, compareExchange8, exchangeAdd
    case moveIf, setIf, zero8, sign8, zero16, sign16, lea
    case extendAccumulator, extendToDx
    case pushRegister, pushImmediate, pushMemory, popRegister, popMemory
    case pushSegment, popSegment, pushAll, popAll, pushFlags, popFlags, enter, leave
    case callNear, callIndirect, returnNear, jumpNear, jumpIndirect, jumpIf, loop, loopIfZero
    case loopIfNotZero, jumpIfCountZero
    case callFar, callFarMemory, jumpFar, jumpFarMemory, returnFar
    case interrupt, breakpoint, overflowTrap, interruptReturn
    case moves, compare, store, load, scan
    case daa, das, aaa, aas, aam, aad, xlat, lahf, sahf, salc
    case complementCarry, clearCarry, setCarry, clearDirection, setDirection
    case moveFromSegment, moveToSegment, loadFarPointer
    case bound, arpl, verr, verw, lar, lsl
    case storeGdt, storeIdt, storeLdt, storeTask, storeMachineStatus
    case cpuid, timeStamp
    case portInput, portOutput
    /// Raises vector `immediate` with error code 0 if it is one that has one.
    case raise
    case floatingPoint, floatingPointWait
    /// MMX, SSE and SSE2: `VectorCode(bits: immediate)`.
    case vector
    /// Only for guests with ring 0: `SystemOperation(rawValue: immediate)`; ins and outs.
    case system, portInputString, portOutputString
}

/// What asks for ring 0, or has a meaning only where there is one.
enum SystemOperation: UInt8 {
    case clearInterrupt, setInterrupt, halt, clearTaskSwitched, flushCaches
    case readModelRegister, writeModelRegister, enterSystem, exitSystem
    case loadLocalTable, loadTask, loadMachineStatus, loadGlobalTable, loadInterruptTable
    case forgetPage, readControl, writeControl, readDebug, writeDebug
    case saveFloatingPoint, restoreFloatingPoint, loadControlStatus, storeControlStatus
    case callHypervisor
}
