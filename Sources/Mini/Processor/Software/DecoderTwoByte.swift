// The opcodes behind 0F, as far as a Pentium Pro has them, and the long nops; MMX and SSE are in Vectors.swift.
// Source: Intel SDM volume 2, appendix A.

extension Decoder {
    mutating func twoByte(_ opcode: UInt8) {
        switch opcode {
        case 0x00: group6()
        case 0x01: group7()
        case 0x02: withModrm(.lar, size: wordSize)
        case 0x03: withModrm(.lsl, size: wordSize)
        case 0x06: laySystem(.clearTaskSwitched)
        case 0x08, 0x09: laySystem(.flushCaches, isLast: false)
        case 0x30: laySystem(.writeModelRegister)
        case 0x32: laySystem(.readModelRegister)
        case 0x33: privileged()
        case 0x34: laySystem(.enterSystem)
        case 0x35: laySystem(.exitSystem)
        case 0x0D, 0x18...0x1F: longNop()
        case 0x20...0x23: moveControl(opcode)
        case 0x31: lastSlowPath(.timeStamp)
        case 0x40...0x4F: moveIf(opcode & 15)
        case 0x80...0x8F: jump(if: opcode & 15, distance: immediate(wordSize))
        case 0x90...0x9F: setIf(opcode & 15)
        case 0xA0: pushSegment(4)
        case 0xA1: popSegment(4)
        case 0xA2: lastSlowPath(.cpuid)
        case 0xA3: bitTest(.bt)
        case 0xA4, 0xA5: doubleShift(.shld, inRegister: opcode & 1 != 0)
        case 0xA8: pushSegment(5)
        case 0xA9: popSegment(5)
        case 0xAB: bitTest(.bts)
        case 0xAC, 0xAD: doubleShift(.shrd, inRegister: opcode & 1 != 0)
        case 0xAE where isSystem: group15()
        case 0xC3: storeNonTemporal()
        case 0xAF: multiply()
        case 0xB0, 0xB1: withModrm(.compareExchange, size: size(opcode), lockable: true)
        case 0xB2: loadFarPointer(2)
        case 0xB3: bitTest(.btr)
        case 0xB4: loadFarPointer(4)
        case 0xB5: loadFarPointer(5)
        case 0xB6: extend(.zero8r, .zero8m, .zero8, 0)
        case 0xB7: extend(.zero16r, .zero16m, .zero16, 1)
        case 0xBA: group8()
        case 0xBB: bitTest(.btc)
        case 0xBC: withModrm(.bsf, size: wordSize)
        case 0xBD: withModrm(.bsr, size: wordSize)
        case 0xBE: extend(.sign8r, .sign8m, .sign8, 0)
        case 0xBF: extend(.sign16r, .sign16m, .sign16, 1)
        case 0xC0, 0xC1: withModrm(.exchangeAdd, size: size(opcode), lockable: true)
        case 0xC7: group9()
        case 0xC8...0xCF: swap(opcode & 7)
        case 0x10...0x17, 0x28...0x2F, 0x50...0x7F, 0xC2, 0xC4...0xC6, 0xD0...0xFE:
            if hasVectors { vector(opcode) } else { undefined() }
        default: undefined()
        }
    }

    private mutating func group6() {
        readModrm()
        switch regField {
        case 0: storeWord(.storeLdt)
        case 1: storeWord(.storeTask)
        case 2: laySystem(.loadLocalTable, hasOperand: true)
        case 3: laySystem(.loadTask, hasOperand: true)
        case 4: laySlowPath(.verr, size: 1, b: rm(1), hasOperand: true)
        case 5: laySlowPath(.verw, size: 1, b: rm(1), hasOperand: true)
        default: undefined()
        }
    }

    private mutating func group7() {
        readModrm()
        switch regField {
        case 4: storeWord(.storeMachineStatus)
        case 6: laySystem(.loadMachineStatus, hasOperand: true)
        // VMCALL, VMMCALL. A guest without ring 0 has calls of its own, and they are its host's to answer.
        case _ where isSystem && (modrm == 0xC1 || modrm == 0xD9): laySystem(.callHypervisor)
        case _ where isRegisterForm: undefined()
        case 0: laySlowPath(.storeGdt, size: wordSize, hasOperand: true)
        case 1: laySlowPath(.storeIdt, size: wordSize, hasOperand: true)
        case 2: laySystem(.loadGlobalTable, size: wordSize, hasOperand: true)
        case 3: laySystem(.loadInterruptTable, size: wordSize, hasOperand: true)
        case 7: laySystem(.forgetPage, hasOperand: true)
        default: undefined()
        }
    }

    /// A system word: a register gets it at the operand's size, memory gets 16 bits.
    private mutating func storeWord(_ slowPath: SlowPath) {
        laySlowPath(slowPath, size: isRegisterForm ? wordSize : 1, b: rm(2), hasOperand: true)
    }

    private mutating func longNop() {
        readModrm()
    }

    private mutating func moveControl(_ opcode: UInt8) {
        // The operand is a register, whatever the byte says.
        modrm = next8() | 0xC0
        // Control registers 0, 2, 3, 4 exist, and all debug registers.
        let exists = opcode & 1 != 0 || (regField != 1 && regField < 5)
        guard exists else { return undefined() }
        let operation: SystemOperation =
            switch opcode {
            case 0x20: .readControl
            case 0x21: .readDebug
            case 0x22: .writeControl
            default: .writeDebug
            }
        laySystem(operation, a: regField, isLast: opcode & 2 != 0)
    }

    private mutating func moveIf(_ condition: UInt8) {
        readModrm()
        if !isOperand32 {
            return laySlowPath(
                .moveIf, size: 1, a: reg(1), b: rm(1), immediate: UInt32(condition),
                hasOperand: true)
        }
        var record = Operation(code: .move32rrIf, a: reg(2), b: rm(2), aux: condition)
        if isRegisterForm { return lay(record) }
        record.code = .load32If
        layMemory(record, 4)
    }

    private mutating func setIf(_ condition: UInt8) {
        readModrm()
        if isRegisterForm {
            return lay(Operation(code: .set8r, a: rm(0), aux: condition))
        }
        laySlowPath(.setIf, size: 0, immediate: UInt32(condition), hasOperand: true)
    }

    private mutating func bitTest(_ slowPath: SlowPath) {
        readModrm()
        if slowPath != .bt { allowLock() }
        laySlowPath(
            slowPath, size: wordSize, a: reg(2), b: rm(2), countInRegister: true, hasOperand: true)
    }

    private mutating func group8() {
        readModrm()
        let offset = UInt32(next8())
        guard regField >= 4 else { return undefined() }
        if regField > 4 { allowLock() }
        laySlowPath(
            SlowPath(rawValue: SlowPath.bt.rawValue + regField - 4)!, size: wordSize, b: rm(2),
            immediate: offset, hasOperand: true)
    }

    private mutating func group9() {
        readModrm()
        guard regField == 1, !isRegisterForm else { return undefined() }
        allowLock()
        laySlowPath(.compareExchange8, size: 2, hasOperand: true)
    }

    private mutating func doubleShift(_ slowPath: SlowPath, inRegister: Bool) {
        readModrm()
        let count = inRegister ? 0 : UInt32(next8() & 31)
        laySlowPath(
            slowPath, size: wordSize, a: reg(2), b: rm(2), immediate: count,
            countInRegister: inRegister, hasOperand: true)
    }

    private mutating func multiply() {
        readModrm()
        if !isOperand32 {
            return laySlowPath(.multiplyRegister, size: 1, a: reg(1), b: rm(1), hasOperand: true)
        }
        if isRegisterForm {
            return lay(Operation(code: .multiply32r, a: reg(2), b: rm(2)))
        }
        layMemory(Operation(code: .multiply32m, a: reg(2)), 4)
    }

    private mutating func loadFarPointer(_ segment: UInt8) {
        readModrm()
        guard !isRegisterForm else { return undefined() }
        laySlowPath(.loadFarPointer, size: wordSize, a: reg(2), b: segment, hasOperand: true)
        endBlock()
    }

    /// movzx, movsx from a source of 8 or 16 bits.
    private mutating func extend(
        _ register: Code, _ memory: Code, _ slowPath: SlowPath, _ sourceSize: UInt8
    ) {
        readModrm()
        if !isOperand32 {
            return laySlowPath(slowPath, size: 1, a: reg(1), b: rm(sourceSize), hasOperand: true)
        }
        if isRegisterForm {
            return lay(Operation(code: register, a: reg(2), b: rm(sourceSize)))
        }
        layMemory(Operation(code: memory, a: reg(2)), sourceSize + 1)
    }

    private mutating func swap(_ number: UInt8) {
        let register = Decoder.register(number, 2)
        if isOperand32 { return lay(Operation(code: .swap, a: register)) }
        laySlowPath(.bswap, size: 1, b: register)
    }
}
