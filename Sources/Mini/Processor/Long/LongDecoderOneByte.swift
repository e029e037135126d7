// The opcodes of one byte.

extension LongDecoder {
    mutating func oneByte(_ opcode: UInt8) {
        switch opcode {
        case 0x00...0x3F: arithmeticOpcode(opcode)
        case 0x40...0x4F: increment(opcode)
        case 0x50...0x57: push(opcode & 7)
        case 0x58...0x5F: pop(opcode & 7)
        case 0x60, 0x61, 0x62, 0x82, 0x9A, 0xC4, 0xC5, 0xCE, 0xD4...0xD6, 0xEA: compatible(opcode)
        case 0x63: isLong ? signExtend32() : compatible(opcode)
        case 0x68, 0x6A: pushImmediate(opcode)
        case 0x69, 0x6B: multiplyImmediate(opcode)
        case 0x6C...0x6D: string(.inputString, opcode)
        case 0x6E...0x6F: string(.outputString, opcode)
        case 0x70...0x7F: jumpIf(opcode & 15, immediate(0))
        case 0x80, 0x81, 0x83: arithmeticGroup(opcode)
        case 0x84, 0x85: testRegister(opcode)
        case 0x86, 0x87: exchange(opcode)
        case 0x88...0x8B: move(opcode)
        case 0x8C: segmentMove(.moveFromSegment)
        case 0x8D: lea()
        case 0x8E: segmentMove(.moveToSegment)
        case 0x8F: popMemory()
        case 0x90 where rex & 1 == 0: nothing()
        case 0x90...0x97: exchangeAccumulator(opcode & 7)
        case 0x98: extendAccumulator()
        case 0x99: extendToDx()
        case 0x9B: slow(.floatingPointWait)
        case 0x9C: slow(.pushFlags, size: stackSize)
        case 0x9D: slow(.popFlags, size: stackSize)
        case 0x9E: slow(.sahf)
        case 0x9F: slow(.lahf)
        case 0xA0...0xA3: moveAbsolute(opcode)
        case 0xA4...0xA5: string(.moves, opcode)
        case 0xA6...0xA7: string(.compare, opcode)
        case 0xA8, 0xA9: testImmediate(opcode)
        case 0xAA...0xAB: string(.store, opcode)
        case 0xAC...0xAD: string(.load, opcode)
        case 0xAE...0xAF: string(.scan, opcode)
        case 0xB0...0xB7: moveImmediate8(opcode & 7)
        case 0xB8...0xBF: moveImmediate(opcode & 7)
        case 0xC0, 0xC1, 0xD0...0xD3: shift(opcode)
        case 0xC2: returnNear(immediate16())
        case 0xC3: returnNear(0)
        case 0xC6, 0xC7: moveGroup(opcode)
        case 0xC8: enter()
        case 0xC9: emitWide(.leave64, or: .leave)
        case 0xCA, 0xCB: returnFar(opcode)
        case 0xCC: interrupt(3)
        case 0xCD: interrupt(Int32(byte()))
        case 0xCF: ending(.interruptReturn)
        case 0xD7:
            implicitAddress()
            slow(.xlat, which: operation.which)
        case 0xD8...0xDF: floatingPoint(opcode)
        case 0xE0...0xE3: loop(opcode)
        case 0xE4...0xE7: port(opcode, immediate: true)
        case 0xEC...0xEF: port(opcode, immediate: false)
        case 0xE8: branch(.callNear, displacement())
        case 0xE9: branch(.jump, displacement())
        case 0xEB: branch(.jump, immediate8())
        case 0xF1: interrupt(0x100 + 1)
        case 0xF4: ending(.halt)
        case 0xF5: slow(.carryFlag, which: 2)
        case 0xF6, 0xF7: group3(opcode)
        case 0xF8, 0xF9: slow(.carryFlag, which: opcode & 1)
        case 0xFA: slow(.clearInterrupt)
        case 0xFB: slow(.setInterrupt)
        case 0xFC, 0xFD: slow(.directionFlag, which: opcode & 1)
        case 0xFE: group4()
        case 0xFF: group5()
        default: undefined()
        }
    }

    /// What the stack takes: 64 bits, or 16; in compatibility mode 32 or 16.
    var stackSize: UInt8 { operand16 && !isWide ? 1 : isLong ? 3 : 2 }

    /// Of a near branch: 32 bits, or 16 in compatibility mode.
    mutating func displacement() -> Int32 { immediate(isLong ? 2 : size) }

    func operandSize(_ opcode: UInt8) -> UInt8 { opcode & 1 == 0 ? 0 : size }

    private mutating func ending(_ path: LongSlow) {
        slow(path, size: size)
        ends = true
    }

    private mutating func emitWide(_ code: LongCode, or path: LongSlow) {
        if stackSize == 3 { emit(code) } else { slow(path, size: stackSize) }
    }

    // MARK: Arithmetic

    private mutating func arithmeticOpcode(_ opcode: UInt8) {
        let number = opcode &>> 3
        let size = operandSize(opcode)
        switch opcode & 7 {
        case 0, 1:
            operands(size)
            arithmetic(number, size, isRegister ? .rr : .mr)
        case 2, 3:
            operands(size)
            arithmetic(number, size, isRegister ? .rr : .rm, toRegister: true)
        case 4, 5:
            operation.b = 0
            operation.immediate = immediate(size)
            arithmetic(number, size, .ri)
        default: isLong ? undefined() : compatible(opcode)
        }
    }

    mutating func arithmeticGroup(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        operation.immediate = opcode == 0x81 ? immediate(size) : immediate8()
        arithmetic(group, size, isRegister ? .ri : .mi)
    }

    /// A record's `a` is the destination, `b` the source; modrm had the register in `a`.
    private mutating func arithmetic(
        _ number: UInt8, _ size: UInt8, _ form: Form, toRegister: Bool = false
    ) {
        let isCompare8 = size == 0 && number == Arithmetic.cmp.rawValue
        let isRare =
            number &>> 1 == 1 && form != .rr && form != .ri
            || number == Arithmetic.xor.rawValue && (form == .mr || form == .mi)
        guard size >= 2 && !isRare || isCompare8 else {
            operation.shape.isImmediate = form == .ri || form == .mi
            operation.shape.isToRegister = toRegister
            return slow(.arithmetic, size: size, which: number)
        }
        switch form {
        case .rr: if !toRegister { swap(&operation.a, &operation.b) }
        case .mr: operation.b = operation.a
        case .ri: operation.a = operation.b
        case .rm, .mi: break
        }
        let first: UInt8 =
            isCompare8
            ? LongCode.cmp8rr.rawValue : (size == 3 ? 0 : LongCode.add32rr.rawValue) &+ number &* 5
        unsafe emit(LongCode(rawValue: first &+ form.rawValue).unsafelyUnwrapped)
    }

    private mutating func testRegister(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        guard size != 1 && isRegister else { return slow(.test, size: size) }
        emit(sized(size, .test8rr, .test32rr, .test64rr))
    }

    private mutating func testImmediate(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operation.immediate = immediate(size)
        testWithImmediate(size)
    }

    private mutating func testWithImmediate(_ size: UInt8) {
        operation.shape.isImmediate = true
        guard size != 1 else { return slow(.test, size: size) }
        operation.a = operation.b
        if operation.shape.isMemory {
            emit(sized(size, .test8mi, .test32mi, .test64mi))
        } else {
            emit(sized(size, .test8ri, .test32ri, .test64ri))
        }
    }

    private func sized(
        _ size: UInt8, _ byte: LongCode, _ double: LongCode, _ quad: LongCode
    ) -> LongCode {
        size == 0 ? byte : size == 2 ? double : quad
    }

    private mutating func shift(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        let byCount = opcode == 0xD2 || opcode == 0xD3
        if opcode < 0xD0 {
            operation.immediate = Int32(byte() & (size == 3 ? 63 : 31))
        } else if !byCount {
            operation.immediate = 1
        }
        operation.shape.isImmediate = !byCount
        guard isRegister && size >= 2 && (group >= 4 || group < 2) && !byCount else {
            return slow(.shift, size: size, which: group)
        }
        operation.a = operation.b
        let first: LongCode =
            switch group {
            case 0: .rol64i
            case 1: .ror64i
            case 5: .shr64i
            case 7: .sar64i
            default: .shl64i
            }
        let distance = LongCode.shl32i.rawValue &- LongCode.shl64i.rawValue
        unsafe emit(
            LongCode(rawValue: first.rawValue &+ (size == 2 ? distance : 0)).unsafelyUnwrapped)
    }

    private mutating func group3(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        switch group {
        case 0, 1:
            operation.immediate = immediate(size)
            testWithImmediate(size)
        case 2, 3:
            let isNot = group == 2
            guard isRegister && size >= 2 else { return slow(isNot ? .not : .neg, size: size) }
            operation.a = operation.b
            emit(
                isNot
                    ? size == 3 ? .not64r : .not32r : size == 3 ? .neg64r : .neg32r)
        case 4: slow(.multiply, size: size)
        case 5: slow(.multiplySigned, size: size)
        case 6: slow(.divide, size: size)
        default: slow(.divideSigned, size: size)
        }
    }

    private mutating func multiplyImmediate(_ opcode: UInt8) {
        operands(size)
        operation.immediate = opcode == 0x69 ? immediate(size) : immediate8()
        if isRegister && size >= 2 { return emit(size == 3 ? .multiply64ri : .multiply32ri) }
        operation.shape.isImmediate = true
        slow(.multiplyRegister, size: size)
    }

    private mutating func group4() {
        operands(0)
        guard group < 2 else { return undefined() }
        slow(group == 0 ? .inc : .dec, size: 0)
    }

    private mutating func group5() {
        takeModrm()
        if isRegister { operation.b = offset(otherNumber, size) }
        switch group {
        case 0, 1:
            guard isRegister && size >= 2 else {
                return slow(group == 0 ? .inc : .dec, size: size)
            }
            operation.a = operation.b
            emit(
                group == 0
                    ? size == 3 ? .inc64r : .inc32r : size == 3 ? .dec64r : .dec32r)
        case 2 where !isLong, 4 where !isLong:
            nearTransfer((group == 2 ? LongTransfer.callOperand : .jumpOperand).rawValue)
        case 2:
            emit(isRegister ? .callRegister : .callMemory)
            ends = true
        case 3, 5:
            guard !isRegister else { return undefined() }
            farTransfer(group == 3 ? .callFar : .jumpFar)
        case 4:
            emit(isRegister ? .jumpRegister : .jumpMemory)
            ends = true
        case 6:
            if stackSize == 3 && isRegister { emit(.push64r) } else { slow(.push, size: stackSize) }
        default: undefined()
        }
    }

    // MARK: Moves

    private mutating func move(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        let isLoad = opcode & 2 != 0
        if isRegister {
            if !isLoad { swap(&operation.a, &operation.b) }
            if size == 1 { return slow(.move, size: size) }
            return emit(sized(size, .move8rr, .move32rr, .move64rr))
        }
        if isLoad {
            return emit(size == 1 ? .load16 : sized(size, .load8, .load32, .load64))
        }
        operation.b = operation.a
        emit(size == 1 ? .store16 : sized(size, .store8, .store32, .store64))
    }

    private mutating func moveGroup(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        guard group == 0 else { return undefined() }
        operation.immediate = immediate(size)
        operation.a = operation.b
        operation.shape.isImmediate = true
        if size == 1 { return slow(.move, size: size) }
        if isRegister { return emit(sized(size, .move8ri, .move32ri, .move64ri)) }
        emit(sized(size, .store8i, .store32i, .store64i))
    }

    private mutating func moveImmediate8(_ number: UInt8) {
        operation.a = offset(number | (rex & 1) &<< 3, 0)
        operation.immediate = immediate8()
        emit(.move8ri)
    }

    private mutating func moveImmediate(_ number: UInt8) {
        operation.a = (number | (rex & 1) &<< 3) &* 8
        operation.immediate = immediate(size)
        if isWide {
            operation.displacement = immediate32()
            return emit(.move64i)
        }
        operation.shape.isImmediate = true
        if size == 1 { return slow(.move, size: 1) }
        emit(.move32ri)
    }

    /// A0...A3, with an address of 64 bits.
    private mutating func moveAbsolute(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operation.displacement = addressSize == 1 ? immediate16() & 0xFFFF : immediate32()
        if isLong {
            // The address goes where no register is, in two halves: a prefix that knows nothing else.
            let high = addressSize == 2 ? 0 : immediate32()
            operation.end = UInt16(truncatingIfNeeded: position)
            operation.length = UInt8(truncatingIfNeeded: position &- start)
            addressInFront(.halves, baseSlot, high)
            segment = Self.none
            addressSize = 3
        }
        operation.shape.isMemory = true
        if opcode & 2 == 0 {
            emit(size == 1 ? .load16 : sized(size, .load8, .load32, .load64))
        } else {
            emit(size == 1 ? .store16 : sized(size, .store8, .store32, .store64))
        }
    }

    private mutating func signExtend32() {
        operands(size)
        // With 32 bits it is a move.
        if size == 2 { return emit(isRegister ? .move32rr : .load32) }
        if size == 1 {
            if !isRegister { return emit(.load16) }
            return slow(.move, size: 1)
        }
        emit(isRegister ? .sign32r64 : .sign32m64)
    }

    private mutating func lea() {
        operands(size)
        guard !isRegister else { return undefined() }
        // Without the segment's base.
        segment = Self.none
        if size == 1 { return slow(.lea, size: 1) }
        emit(isWide ? .lea64 : .lea32)
    }

    private mutating func exchange(_ opcode: UInt8) {
        let size = operandSize(opcode)
        operands(size)
        if isRegister && size == 3 { return emit(.exchange64rr) }
        slow(.exchange, size: size)
    }

    private mutating func exchangeAccumulator(_ number: UInt8) {
        operation.a = 0
        operation.b = (number | (rex & 1) &<< 3) &* 8
        if size == 3 { return emit(.exchange64rr) }
        slow(.exchange, size: size)
    }

    private mutating func extendAccumulator() {
        operation.a = 0
        operation.b = 0
        switch size {
        case 3: emit(.sign32r64)
        case 2: emit(.sign16r32)
        default: slow(.extendAccumulator)
        }
    }

    private mutating func extendToDx() {
        switch size {
        case 3: emit(.quadWord)
        case 2: emit(.doubleWord)
        default: slow(.extendToDx)
        }
    }

    private mutating func segmentMove(_ path: LongSlow) {
        let size: UInt8 = path == .moveToSegment ? 1 : isRegisterNext ? self.size : 1
        operands(size)
        operation.a = group
        guard group < 6, !(path == .moveToSegment && group == 1) else { return undefined() }
        slow(path, size: size)
    }

    private var isRegisterNext: Bool { unsafe position < available && bytes[position] >= 0xC0 }

    // MARK: Stack

    private mutating func push(_ number: UInt8) {
        operation.b = (number | (rex & 1) &<< 3) &* 8
        emitWide(.push64r, or: .push)
    }

    private mutating func pop(_ number: UInt8) {
        operation.a = (number | (rex & 1) &<< 3) &* 8
        operation.b = operation.a
        emitWide(.pop64r, or: .pop)
    }

    private mutating func pushImmediate(_ opcode: UInt8) {
        operation.immediate = opcode == 0x6A ? immediate8() : immediate(stackSize)
        operation.shape.isImmediate = true
        emitWide(.push64i, or: .push)
    }

    private mutating func popMemory() {
        operands(stackSize)
        guard group == 0 else { return undefined() }
        if !isRegister && operation.base == 32 { popped = 1 &<< Int32(stackSize) }
        slow(.pop, size: stackSize)
    }

    private mutating func enter() {
        operation.immediate = immediate16() & 0xFFFF
        operation.which = byte() & 31
        slow(.enter, size: stackSize, which: operation.which)
    }

    // MARK: Branches

    mutating func branch(_ code: LongCode, _ displacement: Int32) {
        operation.displacement = displacement
        if !isLong && (operand16 || code == .callNear || mode & LongMode.limited != 0) {
            switch code {
            case .callNear: nearTransfer(LongTransfer.call.rawValue)
            case .jump: nearTransfer(LongTransfer.jump.rawValue)
            default: nearTransfer(operation.aux)
            }
            return
        }
        emit(code)
        ends = true
    }

    mutating func jumpIf(_ condition: UInt8, _ displacement: Int32) {
        operation.aux = condition
        if isLong && condition &>> 1 == 2 && fuse(condition, displacement) { return }
        unsafe branch(
            LongCode(rawValue: LongCode.jo.rawValue &+ condition).unsafelyUnwrapped, displacement)
    }

    /// Puts a branch into the record of the comparison before it.
    private mutating func fuse(_ condition: UInt8, _ displacement: Int32) -> Bool {
        guard instructionCount > 0 && !isShort && !isLocked && position - start <= 15,
            let code = unsafe operations[recordCount - 1].code.fused
        else { return false }
        operation = unsafe operations[recordCount - 1]
        unsafe operation.code =
            LongCode(rawValue: code.rawValue &+ (condition & 1)).unsafelyUnwrapped
        operation.displacement = displacement
        operation.end = UInt16(truncatingIfNeeded: position)
        operation.length = UInt8(truncatingIfNeeded: position &- start)
        unsafe operations[recordCount - 1] = operation
        ends = true
        return true
    }

    private mutating func returnNear(_ count: Int32) {
        operation.immediate = count & 0xFFFF
        if count == 0 && isLong {
            emit(.returnNear)
        } else {
            slow(.returnPopping, size: isLong ? 3 : size)
        }
        ends = true
    }

    private mutating func returnFar(_ opcode: UInt8) {
        if opcode == 0xCA { operation.immediate = immediate16() & 0xFFFF }
        ending(.returnFar)
    }

    private mutating func interrupt(_ vector: Int32) {
        operation.immediate = vector
        slow(.interrupt)
        ends = true
    }

    private mutating func loop(_ opcode: UInt8) {
        operation.displacement = immediate8()
        operation.scale = addressSize
        slow(.loop, size: isLong ? 3 : size, which: opcode & 3)
        ends = true
    }

    // MARK: Strings, ports, x87

    private mutating func string(_ path: LongSlow, _ opcode: UInt8) {
        var size = operandSize(opcode)
        if (path == .inputString || path == .outputString) && size == 3 { size = 2 }
        operation.shape.repeating = repeating
        implicitAddress()
        slow(path, size: size, which: operation.which)
    }

    /// Of an operand that no modrm names: its address' size, its segment's base and tag.
    mutating func implicitAddress() {
        operation.scale = addressSize
        if isLong {
            operation.base = baseSlot
        } else {
            (operation.base, operation.which) = compatibleBase
        }
    }

    private mutating func port(_ opcode: UInt8, immediate: Bool) {
        if immediate { operation.immediate = Int32(byte()) }
        operation.shape.isImmediate = immediate
        let isOutput = opcode & 2 != 0
        slow(
            isOutput ? .portOutput : .portInput,
            size: opcode & 1 == 0 ? 0 : operand16 ? 1 : 2)
    }

    private mutating func floatingPoint(_ opcode: UInt8) {
        takeModrm()
        operation.b = modrm
        slow(.floatingPoint, size: operand16 ? 1 : 2, which: opcode)
    }
}
