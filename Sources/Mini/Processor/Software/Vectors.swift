// What the shared vector unit (Processor/Vector) asks of the 32-bit processor. Vectors are offered to guests with ring 0, where our
// own processor has SSE2: eight registers, MXCSR, and MMX.
//
// Source: Intel SDM volume 1, chapters 9 to 11; volume 3, chapter 13.

import CShim

extension Decoder {
    /// 66 stands in front.
    private var hasOperandSize: Bool { isOperand32 != (mode & BlockMode.code32 != 0) }

    mutating func vector(_ opcode: UInt8) {
        let prefix: UInt8 = repeating == 2 ? 2 : repeating == 1 ? 3 : hasOperandSize ? 1 : 0
        // EMMS has no operands.
        if opcode == 0x77 { modrm = 0xC0 } else { readModrm() }
        guard
            let row = VectorRow(
                opcode, prefix: prefix, isRegister: isRegisterForm, group: regField)
        else { return undefined() }
        let value = row.hasValue ? next8() : 0
        laySlowPath(
            .vector, size: 2, a: row.isGeneral ? reg(2) : regField,
            b: row.isOtherGeneral ? rm(2) : modrm & 7,
            immediate: VectorCode(row, opcode, prefix: prefix, value: value).bits,
            segment: segment(SegmentRegister.data), hasOperand: true)
    }

    /// FXSAVE, FXRSTOR, LDMXCSR, STMXCSR; the fences, which have nothing to wait for.
    mutating func group15() {
        readModrm()
        // Only FXSAVE and FXRSTOR do not mind 66.
        let hasVectors = hasVectors && !hasOperandSize
        guard repeating == 0 else { return undefined() }
        switch (regField, isRegisterForm) {
        case (0...1, false):
            laySystem(
                regField == 0 ? .saveFloatingPoint : .restoreFloatingPoint, hasOperand: true,
                isLast: false)
        case (2...3, false) where hasVectors:
            laySystem(
                regField == 2 ? .loadControlStatus : .storeControlStatus, hasOperand: true,
                isLast: false)
        case (5...7, true) where hasVectors: break
        default: undefined()
        }
    }

    /// MOVNTI.
    mutating func storeNonTemporal() {
        readModrm()
        guard hasVectors && !hasOperandSize && !isRegisterForm && repeating == 0 else {
            return undefined()
        }
        layMemory(Operation(code: .store32, b: reg(2)), 4, write: true)
    }
}

extension Instruction: VectorOperands {
    var vectorCode: VectorCode { VectorCode(bits: operation.immediate) }
    var a: UInt8 { operation.a }
    var b: UInt8 { operation.b }
    var isMemory: Bool { operation.shape.isMemory }
    var generalSize: UInt8 { 2 }
}

extension Core: VectorCore {
    /// Whether guests with ring 0 find vectors here.
    static var offersVectors: Bool { mini_has_vectors() != 0 }

    /// Where in the scratch the registers and operands on their way are.
    private static let registersOffset = 1024
    private static let operandsOffset = registersOffset + 128
    static let scratchCount = operandsOffset + 64

    func useVectors() throws(Fault) {
        guard system.control0 & Control0.emulation == 0,
            system.control4 & Control4.fastSave != 0
        else { throw .undefined }
        if state.taskSwitched { throw .noDevice }
    }

    func useMultimedia() throws(Fault) {
        if system.control0 & Control0.emulation != 0 { throw .undefined }
        if state.taskSwitched { throw .noDevice }
        if state.floatingPoint.wait() == .pending { throw .floatingPoint }
    }

    func vector(_ number: UInt8) -> UnsafeMutableRawPointer {
        unsafe state.scratch + Self.registersOffset + Int(number & 7) * 16
    }

    var vectorControl: UInt32 {
        get { system.vectorControl }
        nonmutating set { system.vectorControl = newValue }
    }
    var reportsVectorFaults: Bool { system.control4 & Control4.vectorFaults != 0 }
    var vectorScratch: UnsafeMutableRawPointer { unsafe state.scratch + Self.operandsOffset }
    var floatingPoint: FloatingPointUnit {
        _read { yield state.floatingPoint }
        nonmutating _modify { yield &state.floatingPoint }
    }

    func general(_ place: UInt8, _ size: UInt8) -> UInt64 {
        size == 1 ? UInt64(get(place, as: UInt16.self)) : UInt64(get(place, as: UInt32.self))
    }
    func setGeneral(_ place: UInt8, _ size: UInt8, _ value: UInt64) {
        set(place, UInt32(truncatingIfNeeded: value))
    }

    func load(
        _ i: Instruction, to place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault) {
        let size = UInt32(count)
        let from = try linear(i, size, write: false)
        if isAligned && from & 15 != 0 { throw .protection(0) }
        if let host = unsafe readable(from, size) {
            unsafe place.copyMemory(from: host, byteCount: count)
            return
        }
        try checkRead(from, size)
        for offset in 0..<count / 2 {
            let value = try read(from &+ UInt32(offset * 2), as: UInt16.self)
            unsafe place.storeBytes(of: value, toByteOffset: offset * 2, as: UInt16.self)
        }
    }

    func store(
        _ i: Instruction, from place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault) {
        let size = UInt32(count)
        let to = try linear(i, size, write: true)
        if isAligned && to & 15 != 0 { throw .protection(0) }
        if let host = unsafe writable(to, size) {
            unsafe host.copyMemory(from: place, byteCount: count)
            return
        }
        try checkWrite(to, size)
        for offset in 0..<count / 2 {
            let value = unsafe place.load(fromByteOffset: offset * 2, as: UInt16.self)
            try write(to &+ UInt32(offset * 2), value)
        }
    }

    func storeMasked(
        _ i: Instruction, _ value: (UInt64, UInt64), _ mask: (UInt64, UInt64)
    ) throws(Fault) {
        let limit: UInt32 = i.operation.shape.isAddress16 ? 0xFFFF : 0xFFFF_FFFF
        for pass in 0..<2 {
            for index in 0..<16 as Range<UInt64> {
                let shift = (index & 7) &* 8
                guard (index < 8 ? mask.0 : mask.1) &>> shift & 0x80 != 0 else { continue }
                let byte = UInt8(truncatingIfNeeded: (index < 8 ? value.0 : value.1) &>> shift)
                let offset = (state.edi &+ UInt32(index)) & limit
                let place = try linear(i.operation.segmentNumber, offset, 1, write: true)
                if pass == 0 { try checkWrite(place, 1) } else { try write(place, byte) }
            }
        }
    }

    // MARK: MXCSR

    func loadControlStatus(_ i: Instruction) throws(Fault) {
        try useVectors()
        let value = try operand(i, UInt32.self)
        guard value & ~Self.controlStatusBits == 0 else { throw .protection(0) }
        system.vectorControl = value
    }

    func storeControlStatus(_ i: Instruction) throws(Fault) -> Flow {
        try useVectors()
        return try storeOperand(i, system.vectorControl)
    }
}
