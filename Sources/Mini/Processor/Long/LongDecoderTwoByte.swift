// The opcodes after 0F.

extension LongDecoder {
    mutating func twoByte(_ opcode: UInt8) {
        switch opcode {
        case 0x00: group6()
        case 0x01: group7()
        case 0x02, 0x03:
            operands(size, 1)
            slow(.descriptor, size: size, which: opcode & 1)
        case 0x05, 0x07:
            slow(opcode == 5 ? .systemCall : .systemReturn, size: size)
            ends = true
        case 0x06: slow(.clearTaskSwitched)
        case 0x08, 0x09: slow(.flushCaches)
        case 0x0D, 0x18...0x1F: hint()
        case 0x20...0x23: controlMove(opcode)
        case 0x10...0x17, 0x28...0x2F, 0x50...0x7F, 0xC2, 0xC4...0xC6, 0xD0...0xFE: vector(opcode)
        case 0x38: second()
        case 0x3A: level2(2, byte())
        case 0x30: slow(.writeModelRegister)
        case 0x31: slow(.timeStamp)
        case 0x32: slow(.readModelRegister)
        case 0x33: slow(.counter)
        case 0x40...0x4F: moveIf(opcode & 15)
        case 0x80...0x8F: jumpIf(opcode & 15, displacement())
        case 0x90...0x9F: setIf(opcode & 15)
        case 0xA0, 0xA8: segmentStack(.pushSegment, opcode == 0xA0 ? 4 : 5)
        case 0xA1, 0xA9: segmentStack(.popSegment, opcode == 0xA1 ? 4 : 5)
        case 0xA2: slow(.cpuid)
        case 0xA3, 0xAB, 0xB3, 0xBB:
            operands(size)
            bitTestInRegister()
            slow(.bitTest, size: size, which: opcode &>> 3 & 3)
        case 0xBA: bitGroup()
        case 0xA4, 0xA5, 0xAC, 0xAD: doubleShift(opcode)
        case 0xAE: group15()
        case 0xAF: multiply()
        case 0xB0, 0xB1, 0xC0, 0xC1:
            let size = opcode & 1 == 0 ? 0 : self.size
            operands(size)
            slow(opcode < 0xC0 ? .compareExchange : .exchangeAdd, size: size)
        case 0xB2, 0xB4, 0xB5:
            operands(size)
            guard !isRegister else { return undefined() }
            slow(.loadFarPointer, size: size, which: opcode == 0xB2 ? 2 : opcode & 7)
        case 0xB6, 0xB7, 0xBE, 0xBF: extend(opcode)
        case 0xB8:
            operands(size)
            guard vectorPrefix == 2 else { return undefined() }
            slow(.countBits, size: size)
        case 0xBC, 0xBD:
            operands(size)
            slow(.bitScan, size: size, which: opcode & 1)
        case 0xC3:
            let size: UInt8 = isWide ? 3 : 2
            operands(size)
            guard !isRegister && vectorPrefix == 0 else { return undefined() }
            slow(.storeNonTemporal, size: size)
        case 0xC7: group9()
        case 0xC8...0xCF:
            operation.a = (opcode & 7 | (rex & 1) &<< 3) &* 8
            emit(size == 3 ? .swap64 : .swap32)
        // UD2, UD1 and all that is not offered.
        default: undefined()
        }
    }

    // MARK: System

    private mutating func group6() {
        operands(1, isWide ? 3 : 1)
        switch group {
        case 0, 1: slow(.storeSegment, size: isRegister ? size : 1, which: group)
        case 2, 3: slow(.loadSegment, size: 1, which: group & 1)
        case 4, 5: slow(.verify, size: 1, which: group & 1)
        default: undefined()
        }
    }

    private mutating func group7() {
        operands(3)
        if isRegister {
            switch modrm {
            // VMCALL, VMMCALL.
            case 0xC1, 0xD9: return slow(.callHypervisor, size: isLong ? 3 : 2)
            case 0xF8 where isLong: return slow(.swapBases)
            case 0xE0...0xE7: return slow(.storeMachineStatus, size: size)
            case 0xF0...0xF7: return slow(.loadMachineStatus, size: 1)
            default: return undefined()
            }
        }
        switch group {
        case 0, 1: slow(.storeTable, size: isLong ? 3 : 2, which: group)
        case 2, 3:
            // Of 16 bits the base has 24.
            slow(
                .loadTable, size: isLong ? 3 : 2,
                which: group & 1 | (operand16 && !isLong ? 2 : 0))
        case 4: slow(.storeMachineStatus, size: 1)
        case 6: slow(.loadMachineStatus, size: 1)
        case 7: slow(.forgetPage)
        default: undefined()
        }
    }

    private mutating func controlMove(_ opcode: UInt8) {
        // Its operand is a register whatever modrm says.
        modrm = byte() | 0xC0
        operation.b = otherNumber &* 8
        let isDebug = opcode & 1 != 0
        let isWrite = opcode & 2 != 0
        let number = registerNumber
        guard isDebug ? number < 8 : [0, 2, 3, 4, 8].contains(number) else { return undefined() }
        slow(
            isDebug
                ? isWrite ? .writeDebug : .readDebug : isWrite ? .writeControl : .readControl,
            size: isLong ? 3 : 2, which: number)
        if isWrite { ends = true }
    }

    private mutating func group9() {
        takeModrm()
        guard group == 1 && !isRegister else { return undefined() }
        slow(.compareExchangePair, size: size)
    }

    private mutating func group15() {
        takeModrm()
        if isRegister {
            // LFENCE, MFENCE, SFENCE.
            guard group >= 5 && vectorPrefix == 0 else { return undefined() }
            return slow(.fence)
        }
        // Only FXSAVE, FXRSTOR and CLFLUSH do not mind 66.
        guard repeating == 0, vectorPrefix == 0 || ![2, 3].contains(group) else {
            return undefined()
        }
        switch group {
        case 0: slow(.saveState, size: size)
        case 1: slow(.restoreState, size: size)
        case 2: slow(.loadControlStatus)
        case 3: slow(.storeControlStatus)
        // CLFLUSH.
        case 7: nothing()
        default: undefined()
        }
    }

    private mutating func hint() {
        takeModrm()
        nothing()
    }

    mutating func segmentStack(_ path: LongSlow, _ segment: UInt8) {
        operation.a = segment
        slow(path, size: stackSize)
    }

    // MARK: Integers

    private mutating func moveIf(_ condition: UInt8) {
        operands(size)
        guard isRegister && size >= 2 else { return slow(.moveIf, size: size, which: condition) }
        operation.aux = condition
        emit(size == 3 ? .move64rrIf : .move32rrIf)
    }

    private mutating func setIf(_ condition: UInt8) {
        operands(0)
        if isRegister {
            operation.a = operation.b
            operation.aux = condition
            return emit(.set8r)
        }
        slow(.setIf, size: 0, which: condition)
    }

    /// With an address shorter than usual, the bit's distance goes round its end: the base is added after that.
    private mutating func bitTestInRegister() {
        guard !isRegister && addressSize < (isLong ? 3 : 2) else { return }
        let (base, tag) = isLong ? (baseSlot, 0) : compatibleBase
        operation.immediate = Int32(addressSize) | Int32(base) &<< 8 | Int32(tag) &<< 16
        segment = Self.none
    }

    private mutating func bitGroup() {
        operands(size)
        guard group >= 4 else { return undefined() }
        operation.immediate = Int32(byte())
        operation.shape.isImmediate = true
        slow(.bitTest, size: size, which: group & 3)
    }

    private mutating func doubleShift(_ opcode: UInt8) {
        operands(size)
        if opcode & 1 == 0 {
            operation.immediate = Int32(byte())
            operation.shape.isImmediate = true
        }
        slow(.doubleShift, size: size, which: opcode &>> 3 & 1)
    }

    private mutating func multiply() {
        operands(size)
        if isRegister && size >= 2 { return emit(size == 3 ? .multiply64r : .multiply32r) }
        slow(.multiplyRegister, size: size)
    }

    private mutating func extend(_ opcode: UInt8) {
        let isByte = opcode & 1 == 0
        let isSigned = opcode & 8 != 0
        operands(size, isByte ? 0 : 1)
        guard size >= 2 else {
            return slow(.extend, size: size, which: (isByte ? 0 : 1) | (isSigned ? 2 : 0))
        }
        let code: LongCode =
            switch (isByte, isSigned) {
            case (true, false): isRegister ? .zero8r : .zero8m
            case (false, false): isRegister ? .zero16r : .zero16m
            case (true, true):
                isWide
                    ? isRegister ? .sign8r64 : .sign8m64 : isRegister ? .sign8r32 : .sign8m32
            case (false, true):
                isWide
                    ? isRegister ? .sign16r64 : .sign16m64 : isRegister ? .sign16r32 : .sign16m32
            }
        emit(code)
    }

    // MARK: MMX, SSE and SSE2

    /// 0 none, 1 66, 2 F3, 3 F2: the last two win.
    private var vectorPrefix: UInt8 {
        // 16-bit code has operands of 16 bits without one.
        let is66 = operand16 != (mode & LongMode.short != 0)
        return repeating == 2 ? 2 : repeating == 1 ? 3 : is66 ? 1 : 0
    }

    private mutating func vector(_ opcode: UInt8) {
        let prefix = vectorPrefix
        // EMMS has no operands.
        if opcode != 0x77 { takeModrm() }
        guard
            let row = VectorRow(opcode, prefix: prefix, isRegister: isRegister, group: group)
        else { return level2(0, opcode) }
        operation.a = row.isGroup ? group : registerNumber &* (row.isGeneral ? 8 : 1)
        if isRegister { operation.b = otherNumber &* (row.isOtherGeneral ? 8 : 1) }
        if row.kind == .move && plainMove(opcode, prefix) { return }
        if row.kind == .maskedStore { implicitAddress() }
        let value = row.hasValue ? byte() : 0
        operation.immediate = Int32(
            bitPattern: VectorCode(row, opcode, prefix: prefix, value: value).bits)
        slow(.vector, size: isWide ? 3 : 2, which: operation.which)
    }

    /// 0F 38.
    private mutating func second() {
        let opcode = byte()
        guard opcode & 0xFE == 0xF0 && repeating == 1 else { return level2(1, opcode) }
        let size = opcode & 1 == 0 ? 0 : self.size
        operands(2, size)
        slow(.checksum, size: size)
    }

    /// What came after SSE2 (LongLevel2.swift). Of the first map modrm has been taken.
    private mutating func level2(_ map: UInt8, _ opcode: UInt8) {
        let prefix = vectorPrefix
        if map > 0 { takeModrm() }
        let number = Level2.number(map, opcode)
        guard Level2.exists(number, prefix: prefix, isRegister: isRegister) else {
            return undefined()
        }
        // A general register is the other operand of what takes one element, or gives one.
        let isGeneral = number & 0x2F0 == 0x210 || number == 0x220 || number == 0x222
        operation.a = registerNumber
        if isRegister { operation.b = otherNumber &* (isGeneral ? 8 : 1) }
        let value = map == 2 ? byte() : 0
        operation.immediate = Int32(
            bitPattern: VectorCode(opcode, prefix: prefix, value: value).bits)
        slow(
            .vectorLevel2, size: isWide ? 3 : 2, which: map,
            as: isRegister && prefix == 1 && number == 0x20F ? .alignVector : .slowPath)
    }

    /// Moves of 16 bytes are the loop's; `aux` has the bits that an aligned one's address may not have.
    private mutating func plainMove(_ opcode: UInt8, _ prefix: UInt8) -> Bool {
        let isMemory = !isRegister
        switch (opcode, prefix) {
        case (0x10, 0...1), (0x28, _), (0x6F, _):
            if opcode == 0x28 || (opcode, prefix) == (0x6F, 1) { operation.aux = 15 }
            emit(isMemory ? .loadVector : .moveVector)
        case (0x11, 0...1), (0x29, _), (0x7F, _), (0x2B, _), (0xE7, _):
            if opcode != 0x11 && (opcode, prefix) != (0x7F, 2) { operation.aux = 15 }
            swap(&operation.a, &operation.b)
            emit(isMemory ? .storeVector : .moveVector)
        default: return false
        }
        return true
    }
}
