// SSE and SSE2 of both software processors, executed by the real unit: Sources/CShim/sse.S has a routine for each
// instruction. What only moves and shuffles is done here. Arithmetic runs with all exceptions masked; one that the guest has
// unmasked is raised from the flags that the instruction left, and then its result is not stored (UnboundedRounding.swift has
// the two of which more is to be known).
//
//     decoder ── VectorRow: is it offered? ── record with a VectorCode ── slow path ── VectorCore.perform
//
// Operands, general registers and faults are the processor's own: what it has to offer is the protocol.
//
// Source: AMD64 Architecture Programmer's Manual volume 4; Intel SDM volume 1, chapters 10, 11.

import CShim

/// Numbers of the first forms of rows in sse.S.
enum VectorForm {
    static let integer: UInt32 = 64
    static let compare: UInt32 = 224
    static let unpack: UInt32 = 256
    static let toDouble: UInt32 = 260
    static let fromDouble: UInt32 = 261
    static let fromGeneral: UInt32 = 262
    static let toGeneral: UInt32 = 266
    static let compareFlags: UInt32 = 274
    static let second: UInt32 = 278
    static let duplicate: UInt32 = 344
    static let round: UInt32 = 347
    static let product: UInt32 = 355
    static let differences: UInt32 = 357
    static let countBits: UInt32 = 365
    static let checksum: UInt32 = 366
}

/// An instruction's record, as far as these look at it.
protocol VectorOperands {
    var vectorCode: VectorCode { get }
    /// The register of modrm and its other one: a vector's number, or the place of a general register.
    var a: UInt8 { get }
    var b: UInt8 { get }
    /// The other operand is in memory.
    var isMemory: Bool { get }
    /// Of a general register, as a shift: 2 for 32 bits, 3 for 64.
    var generalSize: UInt8 { get }
}

/// A processor whose guests may have vectors.
protocol VectorCore {
    associatedtype Operands: VectorOperands

    /// #UD or #NM where vectors may not be used now.
    func useVectors() throws(Fault)
    /// #UD, #NM, #MF as they are due; then MMX's registers may be used.
    func useMultimedia() throws(Fault)
    /// 16 bytes.
    func vector(_ number: UInt8) -> UnsafeMutableRawPointer
    /// MXCSR.
    var vectorControl: UInt32 { get nonmutating set }
    /// An exception of arithmetic is one of its own, not #UD: CR4.OSXMMEXCPT.
    var reportsVectorFaults: Bool { get }
    /// 64 bytes for operands on their way, at a multiple of 16.
    var vectorScratch: UnsafeMutableRawPointer { get }
    var floatingPoint: FloatingPointUnit { get nonmutating set }
    var arithmeticFlags: UInt32 { get nonmutating set }
    func general(_ place: UInt8, _ size: UInt8) -> UInt64
    func setGeneral(_ place: UInt8, _ size: UInt8, _ value: UInt64)

    /// The operand in memory, which faults before anything has happened.
    /// - Parameter isAligned: it must lie at a multiple of 16.
    func load(
        _ i: Operands, to place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault)
    func store(
        _ i: Operands, from place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault)
    /// MASKMOVDQU and MASKMOVQ: stores those bytes at the place in the d-i register whose masks have their top bit.
    func storeMasked(_ i: Operands, _ value: (UInt64, UInt64), _ mask: (UInt64, UInt64))
        throws(Fault)
}

extension VectorCore {
    /// Bits of MXCSR that there are.
    static var controlStatusBits: UInt32 { 0xFFFF }

    func perform(_ i: Operands) throws(Fault) {
        let code = i.vectorCode
        switch code.kind {
        case .multimedia: return try multimedia(i, code)
        case .maskedStore: return try maskedStore(i, code)
        default: try useVectors()
        }
        switch code.kind {
        case .move: try move(i, code)
        case .immediate: try withValue(i, code)
        case .shift: shift(i, code)
        case .toGeneral: try toGeneral(i, code)
        case .fromGeneral: try fromGeneral(i, code)
        case .compareFlags: try compareFlags(i, code)
        case .mask: mask(i, code)
        case .insertWord: try insertWord(i, code)
        case .extractWord: extractWord(i, code)
        default: try compute(i, code)
        }
    }

    // MARK: Operands

    private var source: UnsafeMutableRawPointer { unsafe vectorScratch }
    private var result: UnsafeMutableRawPointer { unsafe vectorScratch + 32 }

    /// The register-or-memory operand: `count` bytes, of memory the rest zero. Of 16 bytes in memory #GP unless aligned.
    func vectorOperand(_ i: Operands, _ count: Int, isAligned: Bool = true) throws(Fault)
        -> UnsafeMutableRawPointer
    {
        guard i.isMemory else { return unsafe vector(i.b) }
        let to = unsafe source
        if count < 16 { unsafe to.initializeMemory(as: UInt8.self, repeating: 0, count: 16) }
        unsafe try load(i, to: to, count, isAligned: isAligned && count == 16)
        return unsafe to
    }

    /// Up to 8 bytes of the operand in memory.
    func word(_ i: Operands, _ count: Int) throws(Fault) -> UInt64 {
        unsafe VectorUnit.lane(try vectorOperand(i, count), 0)
    }

    /// The general register or what is in memory in its place.
    func generalOperand(_ i: Operands) throws(Fault) -> UInt64 {
        i.isMemory ? try word(i, 1 &<< Int(i.generalSize)) : general(i.b, i.generalSize)
    }

    func storeWord(_ i: Operands, _ value: UInt64, _ count: Int) throws(Fault) {
        unsafe VectorUnit.setLane(source, 0, value)
        unsafe try store(i, from: source, count, isAligned: false)
    }

    // MARK: Arithmetic

    /// Runs an instruction that heeds and changes MXCSR; the result's place is left alone if it raises.
    func arithmetic(
        _ form: UInt32, _ destination: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer,
        _ general: UInt64 = 0
    ) throws(Fault) -> UInt64 {
        let old = vectorControl
        var control = old & ~0x3F | 0x1F80
        unsafe result.copyMemory(from: destination, byteCount: 16)
        let value = unsafe mini_sse(form, result, from, general, &control)
        var raised = control & 0x3F
        let unmasked = ~(old &>> 7)
        if raised & unmasked & 7 != 0 {
            // What is wrong with an operand is seen before anything is computed.
            raised &= 7
        } else if let unbounded = UnboundedRounding(form, control: old) {
            floatingPoint.suspend()
            raised &= 7
            raised |= unsafe unbounded.flags(destination, from)
        }
        vectorControl = old | raised
        if raised & unmasked != 0 {
            throw reportsVectorFaults
                ? .exception(vector: ExceptionVector.vectors, code: 0) : .undefined
        }
        unsafe destination.copyMemory(from: result, byteCount: 16)
        return value
    }

    private func compute(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let opcode = code.opcode
        let prefix = code.prefix
        let from = unsafe try vectorOperand(i, VectorUnit.sourceCount(opcode, prefix))
        let to = unsafe vector(i.a)
        switch opcode {
        case 0x14, 0x15:
            let form = VectorForm.unpack + UInt32(opcode & 1) * 2 + prefix
            _ = unsafe mini_sse(form, to, from, 0, nil)
        case 0x54...0x57:
            _ = unsafe mini_sse(prefix * 16 + UInt32(opcode & 15), to, from, 0, nil)
        case 0x50...0x5F:
            _ = unsafe try arithmetic(prefix * 16 + UInt32(opcode & 15), to, from)
        case 0xE6 where prefix >= 2:
            _ = unsafe try arithmetic(
                prefix == 2 ? VectorForm.toDouble : VectorForm.fromDouble, to, from)
        case 0xE6:
            _ = unsafe try arithmetic(VectorForm.integer + UInt32(opcode - 0x60), to, from)
        default:
            _ = unsafe mini_sse(VectorForm.integer + UInt32(opcode - 0x60), to, from, 0, nil)
        }
    }

    /// An instruction of one source, without a destination.
    func arithmetic(_ form: UInt32, _ from: InlineArray<2, UInt64>) throws(Fault) -> (
        UInt64, UInt64
    ) {
        let place = unsafe source
        unsafe VectorUnit.setLane(place, 0, from[0])
        unsafe VectorUnit.setLane(place, 1, from[1])
        _ = unsafe try arithmetic(form, place, place)
        return unsafe (VectorUnit.lane(place, 0), VectorUnit.lane(place, 1))
    }

    private func withValue(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let prefix = code.prefix
        let value = code.value
        let to = unsafe vector(i.a)
        if code.opcode == 0xC2 {
            let from = unsafe try vectorOperand(i, prefix == 2 ? 4 : prefix == 3 ? 8 : 16)
            _ = unsafe try arithmetic(VectorForm.compare + prefix * 8 + (value & 7), to, from)
            return
        }
        unsafe VectorUnit.shuffle(code, to, try vectorOperand(i, 16))
    }

    private func shift(_ i: Operands, _ code: VectorCode) {
        unsafe VectorUnit.shift(code, i.a, vector(i.b), source)
    }

    private func fromGeneral(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let value = try generalOperand(i)
        let form = VectorForm.fromGeneral + code.prefix - 2 + (i.generalSize == 3 ? 2 : 0)
        let to = unsafe vector(i.a)
        _ = unsafe try arithmetic(form, to, to, value)
    }

    private func toGeneral(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let from = unsafe try vectorOperand(i, code.prefix == 2 ? 4 : 8)
        let form =
            VectorForm.toGeneral + code.prefix - 2 + UInt32(code.opcode & 1) * 2
            + (i.generalSize == 3 ? 4 : 0)
        let value = unsafe try arithmetic(form, source, from)
        setGeneral(i.a, i.generalSize, value)
    }

    private func compareFlags(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let from = unsafe try vectorOperand(i, code.prefix == 0 ? 4 : 8)
        let form = VectorForm.compareFlags + UInt32(code.opcode & 1) * 2 + code.prefix
        let to = unsafe vector(i.a)
        let value = unsafe try arithmetic(form, to, from)
        arithmeticFlags = UInt32(truncatingIfNeeded: value)
    }

    private func mask(_ i: Operands, _ code: VectorCode) {
        let form =
            code.opcode == 0x50 ? code.prefix * 16 : VectorForm.integer + 0xD7 - 0x60
        let value = unsafe mini_sse(form, result, vector(i.b), 0, nil)
        setGeneral(i.a, 2, value)
    }

    private func insertWord(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let value = i.isMemory ? try word(i, 2) : general(i.b, 1)
        let place = Int(code.value & 7) * 2
        unsafe vector(i.a).storeBytes(
            of: UInt16(truncatingIfNeeded: value), toByteOffset: place, as: UInt16.self)
    }

    private func extractWord(_ i: Operands, _ code: VectorCode) {
        let place = Int(code.value & 7) * 2
        setGeneral(i.a, 2, unsafe UInt64(vector(i.b).load(fromByteOffset: place, as: UInt16.self)))
    }

    private func maskedStore(_ i: Operands, _ code: VectorCode) throws(Fault) {
        if code.prefix == 0 {
            try useMultimedia()
            _ = floatingPoint.enterMultimedia()
            return try storeMasked(
                i, (floatingPoint[multimedia: i.a], 0), (floatingPoint[multimedia: i.b], 0))
        }
        try useVectors()
        try storeMasked(
            i, unsafe (VectorUnit.lane(vector(i.a), 0), VectorUnit.lane(vector(i.a), 1)),
            unsafe (VectorUnit.lane(vector(i.b), 0), VectorUnit.lane(vector(i.b), 1)))
    }

    // MARK: Moves

    private func move(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let to = unsafe vector(i.a)
        let isMemory = i.isMemory
        switch (code.opcode, code.prefix) {
        case (0x10, 2): try moveScalar(i, 4)
        case (0x10, 3): try moveScalar(i, 8)
        case (0x11, 2):
            unsafe try isMemory ? store(i, from: to, 4, isAligned: false) : moveBack(i, 4)
        case (0x11, 3):
            unsafe try isMemory ? store(i, from: to, 8, isAligned: false) : moveBack(i, 8)
        case (0x10, _), (0x6F, 2):
            unsafe to.copyMemory(from: try vectorOperand(i, 16, isAligned: false), byteCount: 16)
        case (0x28, _), (0x6F, _):
            unsafe to.copyMemory(from: try vectorOperand(i, 16), byteCount: 16)
        case (0x11, _), (0x29, _), (0x7F, _), (0x2B, _), (0xE7, _):
            if !isMemory { return moveBack(i, 16) }
            let isLoose = code.opcode == 0x11 || code.opcode == 0x7F && code.prefix == 2
            unsafe try store(i, from: to, 16, isAligned: !isLoose)
        case (0x12, _):
            unsafe VectorUnit.setLane(
                to, 0, isMemory ? try word(i, 8) : VectorUnit.lane(unsafe vector(i.b), 1))
        case (0x16, _):
            unsafe VectorUnit.setLane(
                to, 1, isMemory ? try word(i, 8) : VectorUnit.lane(unsafe vector(i.b), 0))
        case (0x13, _): unsafe try store(i, from: to, 8, isAligned: false)
        case (0x17, _): unsafe try store(i, from: to + 8, 8, isAligned: false)
        case (0x6E, _):
            let value = try generalOperand(i)
            unsafe VectorUnit.setLane(to, 0, value)
            unsafe VectorUnit.setLane(to, 1, 0)
        case (0x7E, 1):
            let value = unsafe VectorUnit.lane(to, 0)
            if isMemory { return try storeWord(i, value, 1 &<< Int(i.generalSize)) }
            setGeneral(i.b, i.generalSize, value)
        case (0x7E, _):
            let value = isMemory ? try word(i, 8) : unsafe VectorUnit.lane(vector(i.b), 0)
            unsafe VectorUnit.setLane(to, 0, value)
            unsafe VectorUnit.setLane(to, 1, 0)
        default:
            // D6.
            if isMemory { return unsafe try store(i, from: to, 8, isAligned: false) }
            let other = unsafe vector(i.b)
            let value = unsafe VectorUnit.lane(to, 0)
            unsafe VectorUnit.setLane(other, 0, value)
            unsafe VectorUnit.setLane(other, 1, 0)
        }
    }

    /// Of memory the rest of the register becomes 0, of a register it stays.
    private func moveScalar(_ i: Operands, _ count: Int) throws(Fault) {
        let from = unsafe try vectorOperand(i, count)
        unsafe vector(i.a).copyMemory(from: from, byteCount: i.isMemory ? 16 : count)
    }

    private func moveBack(_ i: Operands, _ count: Int) {
        unsafe vector(i.b).copyMemory(from: vector(i.a), byteCount: count)
    }
}
