// A decoded instruction of long mode: a record of 20 bytes, as Operation.swift's is. What the loop has no code for is
// `.slowPath`, where operands of every size are 64-bit numbers.

/// What the execution loop switches over: `r` a register, `m` memory, `i` an immediate, the destination first.
enum LongCode: UInt8 {
    // The order of these eighty is size x `Arithmetic` x `Form`; the decoder counts on it.
    case add64rr, add64rm, add64mr, add64ri, add64mi
    case or64rr, or64rm, or64mr, or64ri, or64mi
    case adc64rr, adc64rm, adc64mr, adc64ri, adc64mi
    case sbb64rr, sbb64rm, sbb64mr, sbb64ri, sbb64mi
    case and64rr, and64rm, and64mr, and64ri, and64mi
    case sub64rr, sub64rm, sub64mr, sub64ri, sub64mi
    case xor64rr, xor64rm, xor64mr, xor64ri, xor64mi
    case cmp64rr, cmp64rm, cmp64mr, cmp64ri, cmp64mi
    case add32rr, add32rm, add32mr, add32ri, add32mi
    case or32rr, or32rm, or32mr, or32ri, or32mi
    case adc32rr, adc32rm, adc32mr, adc32ri, adc32mi
    case sbb32rr, sbb32rm, sbb32mr, sbb32ri, sbb32mi
    case and32rr, and32rm, and32mr, and32ri, and32mi
    case sub32rr, sub32rm, sub32mr, sub32ri, sub32mi
    case xor32rr, xor32rm, xor32mr, xor32ri, xor32mi
    case cmp32rr, cmp32rm, cmp32mr, cmp32ri, cmp32mi
    case cmp8rr, cmp8rm, cmp8mr, cmp8ri, cmp8mi
    case jo, jno, jb, jae, je, jne, jbe, ja, js, jns, jp, jnp, jl, jge, jle, jg
    case test64rr, test64ri, test64mi
    case test32rr, test32ri, test32mi
    case test8rr, test8ri, test8mi
    case move64rr, move64ri, move64i, load64, store64, store64i
    case move32rr, move32ri, load32, store32, store32i
    case move8rr, move8ri, load8, store8, store8i
    case load16, store16
    case zero8r, zero8m, zero16r, zero16m
    case sign8r32, sign8m32, sign8r64, sign8m64, sign16r32, sign16m32, sign16r64, sign16m64
    case sign32r64, sign32m64
    case lea64, lea32
    case inc64r, dec64r, inc32r, dec32r, not64r, neg64r, not32r, neg32r
    case shl64i, shr64i, sar64i, rol64i, ror64i
    case shl32i, shr32i, sar32i, rol32i, ror32i
    case multiply64r, multiply64ri, multiply32r, multiply32ri
    case push64r, push64i, pop64r, leave64
    case callNear, callRegister, callMemory, returnNear
    case jump, jumpRegister, jumpMemory
    // A comparison and the branch behind it, in one record.
    case cmp64rrJe, cmp64rrJne, cmp64riJe, cmp64riJne
    case cmp32rrJe, cmp32rrJne, cmp32riJe, cmp32riJne, cmp8riJe, cmp8riJne
    case test64rrJe, test64rrJne, test32rrJe, test32rrJne, test8rrJe, test8rrJne
    case set8r, move64rrIf, move32rrIf, exchange64rr
    case swap32, swap64, doubleWord, quadWord
    case loadVector, storeVector, moveVector
    /// PALIGNR of registers, by which C libraries copy; also a record of the slow path.
    case alignVector
    /// The end of a block that runs on into the next.
    case next
    /// In front of a memory operation: an address into `LongSlot.temporary`.
    case address
    /// `LongSlow(rawValue: aux)`.
    case slowPath

    /// A record that belongs to the instruction of the record behind it.
    var isPrefix: Bool { self == .address || self == .next }
    /// A record of two instructions.
    var isFused: Bool {
        rawValue >= LongCode.cmp64rrJe.rawValue && rawValue <= LongCode.test8rrJne.rawValue
    }
    /// A comparison and a branch if it finds equality, where there is such a record.
    var fused: LongCode? {
        switch self {
        case .cmp64rr: .cmp64rrJe
        case .cmp64ri: .cmp64riJe
        case .cmp32rr: .cmp32rrJe
        case .cmp32ri: .cmp32riJe
        case .cmp8ri: .cmp8riJe
        case .test64rr: .test64rrJe
        case .test32rr: .test32rrJe
        case .test8rr: .test8rrJe
        default: nil
        }
    }
}

/// A decoded instruction, or a part of one.
struct LongOperation {
    var code = LongCode.slowPath
    /// Destination register and source register, as byte offsets.
    var a: UInt8 = 0
    var b: UInt8 = 0
    /// Memory operand: registers as byte offsets, scale as a shift. Of strings and their like `base` is that of the source's
    /// segment, `scale` the address' size as a shift, and `which` the segment's tag (LongCompatible.swift).
    var base: UInt8 = LongSlot.zero
    var index: UInt8 = LongSlot.zero
    var scale: UInt8 = 0
    /// Condition, or number of the slow path.
    var aux: UInt8 = 0
    var shape = LongShape()
    /// Of a jump the target, relative to the instruction's end.
    var displacement: Int32 = 0
    var immediate: Int32 = 0
    /// After the instruction, relative to the block's start.
    var end: UInt16 = 0
    var length: UInt8 = 0
    /// Which of a group the slow path is to do; an opcode.
    var which: UInt8 = 0
}

/// Size and prefixes of an operation of the slow path.
struct LongShape {
    var bits: UInt8 = 0

    /// Operand size as a shift: 0 is 8 bits, 3 is 64.
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
    /// 0 none, 1 repne (F2), 2 rep (F3).
    var repeating: UInt8 {
        get { bits &>> 5 & 3 }
        set { bits = bits & ~0x60 | newValue &<< 5 }
    }
    /// The second operand is `immediate`, and not a register.
    var isImmediate: Bool {
        get { bits & 128 != 0 }
        set { bits = bits & ~128 | (newValue ? 128 : 0) }
    }
}

/// How `.address` computes one.
enum LongAddress: UInt8 {
    /// The sum; its lower 32 bits; displacement and immediate as two halves. Then the segment's base is added.
    case quad, double, halves
    /// Of compatibility mode: of 16 and of 32 bits.
    case compatible16, compatible32
}

/// A near branch that the loop has no code for.
enum LongTransfer: UInt8 {
    // After the sixteen conditions of jcc.
    case jump = 16
    case call, jumpOperand, callOperand
}

/// Everything that is not worth a code of its own.
enum LongSlow: UInt8 {
    case arithmetic, test, shift, not, neg, multiply, multiplySigned, divide, divideSigned, inc, dec
    case multiplyRegister, doubleShift, bitTest, bitScan, exchange, compareExchange
    case compareExchangePair, exchangeAdd, move, moveIf, setIf, extend, lea
    case extendAccumulator, extendToDx
    case push, pop, pushFlags, popFlags, enter, leave
    case returnFar, jumpFar, callFar, loop, interrupt, interruptReturn
    case moves, compare, store, load, scan, inputString, outputString
    case xlat, lahf, sahf, carryFlag, directionFlag
    case moveFromSegment, moveToSegment, pushSegment, popSegment, loadFarPointer, verify, descriptor
    case storeTable, loadTable, storeSegment, loadSegment, storeMachineStatus, loadMachineStatus
    case cpuid, timeStamp, portInput, portOutput
    case systemCall, systemReturn, swapBases, halt, clearInterrupt, setInterrupt, flushCaches
    case clearTaskSwitched, forgetPage, readControl, writeControl, readDebug, writeDebug
    case readModelRegister, writeModelRegister, counter, callHypervisor
    /// Raises vector `immediate`.
    case raise
    case floatingPoint, floatingPointWait, saveState, restoreState, loadControlStatus
    case storeControlStatus, returnPopping
    /// MMX, SSE and SSE2: `VectorCode(bits: immediate)`; and what came later.
    case vector, vectorLevel2, countBits, checksum
    case storeNonTemporal, fence
    // Of compatibility mode.
    case transfer, pushAll, popAll, bounds, adjustPrivilege, overflow, setByCarry
    case decimal, ascii, asciiMultiply, asciiDivide
}
