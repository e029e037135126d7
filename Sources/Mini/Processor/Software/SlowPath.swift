// The operations that the execution loop leaves to functions out of line: every instruction
// at 8 and 16 bits that has no code of its own, and the uncommon ones. The switch below is
// the table; the functions are in SlowPathArithmetic, SlowPathMoves, SlowPathControl and Strings.

/// An operation of the slow path under execution: the record and where its instruction lies.
struct Instruction {
    let operation: Operation
    /// eip of the instruction and of the one behind it.
    let start: UInt32
    let next: UInt32

    /// The decoder stores nothing but raw values there.
    var slowPath: SlowPath {
        @inline(__always) get { unsafe unsafeBitCast(operation.aux, to: SlowPath.self) }
    }
    var size: UInt8 { operation.shape.size }
    /// Operand size in bytes.
    var bytes: UInt32 { 1 &<< UInt32(operation.shape.size) }
    /// A target of a near branch, cut to 16 bits if the operand size is.
    func target(_ eip: UInt32) -> UInt32 { size == 1 ? eip & 0xFFFF : eip }
    var relativeTarget: UInt32 { target(next &+ operation.immediate) }
}

extension Core {
    @inline(never) func slowPath(_ record: Record) -> Flow {
        let operation = unsafe record.pointee
        let instruction = Instruction(
            operation: operation, start: state.blockStart &+ UInt32(operation.offset),
            next: state.blockStart &+ operation.end)
        state.eip = instruction.start
        do throws(Fault) {
            let flow = try slowPath(instruction)
            if flow == .next && state.codeChanged { return .stop }
            return flow
        } catch {
            state.fault = error
            return .fault
        }
    }

    private func slowPath(_ i: Instruction) throws(Fault) -> Flow {
        switch i.size {
        case 0: try sized(i, UInt8.self)
        case 1: try sized(i, UInt16.self)
        default: try sized(i, UInt32.self)
        }
    }

    /// The operations that are the same for every operand size.
    private func sized<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault)
        -> Flow
    {
        switch i.slowPath {
        case .addRegister: try arithmetic(i, .add, width)
        case .orRegister: try arithmetic(i, .or, width)
        case .adcRegister: try arithmetic(i, .adc, width)
        case .sbbRegister: try arithmetic(i, .sbb, width)
        case .andRegister: try arithmetic(i, .and, width)
        case .subRegister: try arithmetic(i, .sub, width)
        case .xorRegister: try arithmetic(i, .xor, width)
        case .cmpRegister: try arithmetic(i, .cmp, width)
        case .addImmediate: try arithmeticImmediate(i, .add, width)
        case .orImmediate: try arithmeticImmediate(i, .or, width)
        case .adcImmediate: try arithmeticImmediate(i, .adc, width)
        case .sbbImmediate: try arithmeticImmediate(i, .sbb, width)
        case .andImmediate: try arithmeticImmediate(i, .and, width)
        case .subImmediate: try arithmeticImmediate(i, .sub, width)
        case .xorImmediate: try arithmeticImmediate(i, .xor, width)
        case .cmpImmediate: try arithmeticImmediate(i, .cmp, width)
        case .rol: try shift(i, width, rotateLeft)
        case .ror: try shift(i, width, rotateRight)
        case .rcl: try shift(i, width, rotateLeftThroughCarry)
        case .rcr: try shift(i, width, rotateRightThroughCarry)
        case .shl, .sal: try shift(i, width, shiftLeft)
        case .shr: try shift(i, width, shiftRight)
        case .sar: try shift(i, width, shiftRightSigned)
        case .testImmediate, .testImmediate2: try testImmediate(i, width)
        case .testRegister: try testRegister(i, width)
        case .not: try change(i) { (a: Width) in ~a }
        case .neg: try change(i) { (a: Width) in negate(a) }
        case .inc: try change(i) { (a: Width) in increment(a) }
        case .dec: try change(i) { (a: Width) in decrement(a) }
        case .multiply: try multiply(i, width)
        case .multiplySigned: try multiplySigned(i, width)
        case .divide: try divide(i, width)
        case .divideSigned: try divideSigned(i, width)
        case .multiplyRegister: try multiplyTwo(i, width, by: get(i.operation.a))
        case .multiplyImmediate:
            try multiplyTwo(i, width, by: Width(truncatingIfNeeded: i.operation.immediate))
        case .shld: try doubleShift(i, width, isLeft: true)
        case .shrd: try doubleShift(i, width, isLeft: false)
        case .bt: try bitTest(i, width, nil)
        case .bts: try bitTest(i, width, .or)
        case .btr: try bitTest(i, width, .and)
        case .btc: try bitTest(i, width, .xor)
        case .bsf: try bitScan(i, width, isForward: true)
        case .bsr: try bitScan(i, width, isForward: false)
        case .moveImmediate:
            try storeOperand(i, Width(truncatingIfNeeded: i.operation.immediate))
        case .exchange: try exchange(i, width)
        case .compareExchange: try compareExchange(i, width)
        case .exchangeAdd: try exchangeAdd(i, width)
        case .moveIf: try moveIf(i, width)
        default: try other(i)
        }
    }

    /// The operations that know their sizes.
    private func other(_ i: Instruction) throws(Fault) -> Flow {
        switch i.slowPath {
        case .bswap: set(i.operation.b, UInt16(0))
        case .compareExchange8: try compareExchange8(i)
        case .setIf:
            return try storeOperand(
                i, UInt8(condition(UInt8(truncatingIfNeeded: i.operation.immediate)) ? 1 : 0))
        case .zero8: set(i.operation.a, UInt16(try operand(i, UInt8.self)))
        case .sign8:
            set(
                i.operation.a,
                UInt16(truncatingIfNeeded: try operand(i, UInt8.self).extended))
        case .zero16, .sign16: set(i.operation.a, try operand(i, UInt16.self))
        case .lea: loadAddress(i)
        case .extendAccumulator: extendAccumulator(i)
        case .extendToDx:
            set(8, UInt16(truncatingIfNeeded: Int16(truncatingIfNeeded: state.eax) &>> 15))
        case .pushRegister: try push(get(i.operation.b), size: i.size)
        case .pushImmediate: try push(i.operation.immediate, size: i.size)
        case .pushMemory: try push(try wordOperand(i), size: i.size)
        case .popRegister: try popRegister(i)
        case .popMemory: return try popMemory(i)
        case .pushSegment: try pushSegment(i)
        case .popSegment: return try popSegment(i)
        case .pushAll: try pushAll(i)
        case .popAll: try popAll(i)
        case .pushFlags: try push(flags & ~Flag.resume, size: i.size)
        case .popFlags: return try popFlags(i)
        case .enter: try enterFrame(i)
        case .leave: try leaveFrame(i)
        case .callNear: return try callNear(i, i.relativeTarget)
        case .callIndirect: return try callNear(i, i.target(try wordOperand(i)))
        case .returnNear: return try returnNear(i)
        case .jumpNear: return try jumpNear(i.relativeTarget)
        case .jumpIndirect: return try jumpNear(i.target(try wordOperand(i)))
        case .jumpIf:
            return try jumpNear(condition(i.operation.a) ? i.relativeTarget : i.next)
        case .loop, .loopIfZero, .loopIfNotZero, .jumpIfCountZero: return try loop(i)
        case .callFar, .jumpFar: return try farImmediate(i)
        case .callFarMemory, .jumpFarMemory: return try farMemory(i)
        case .returnFar:
            try farReturn(size: i.size, releasing: i.operation.immediate)
            return .jump
        case .interrupt: return try interrupt(i)
        case .breakpoint: return try interrupt(3, returnTo: i.next)
        case .overflowTrap:
            if overflow { return try interrupt(4, returnTo: i.next) }
            return go(i.next)
        case .interruptReturn:
            try interruptReturn(size: i.size, next: i.next)
            return .jump
        case .daa: decimalAdjust(isSubtraction: false)
        case .das: decimalAdjust(isSubtraction: true)
        case .aaa: asciiAdjust(isSubtraction: false)
        case .aas: asciiAdjust(isSubtraction: true)
        case .aam: try asciiAdjustMultiply(i)
        case .aad: asciiAdjustDivide(i)
        case .xlat: try translateByte(i)
        case .lahf: set(1, UInt8(truncatingIfNeeded: flags))
        case .sahf:
            let kept = arithmeticFlags & Flag.overflow
            arithmeticFlags = kept | UInt32(get(1, as: UInt8.self))
        case .salc: set(0, UInt8(carry ? 0xFF : 0))
        case .complementCarry: setCarry(!carry)
        case .clearCarry: setCarry(false)
        case .setCarry: setCarry(true)
        case .clearDirection: state.otherFlags &= ~Flag.direction
        case .setDirection: state.otherFlags |= Flag.direction
        case .moveFromSegment: return try moveFromSegment(i)
        case .moveToSegment: return try moveToSegment(i)
        case .loadFarPointer: return try loadFarPointer(i)
        case .bound:
            try checkBounds(i)
            return go(i.next)
        case .arpl: return try adjustPrivilege(i)
        case .verr: setFlag(Flag.zero, try canAccess(try operand(i, UInt16.self), write: false))
        case .verw: setFlag(Flag.zero, try canAccess(try operand(i, UInt16.self), write: true))
        case .lar: try loadAccessRights(i)
        case .lsl: try loadLimit(i)
        case .storeGdt: try storeTable(i, globalTable)
        case .storeIdt: try storeTable(i, interruptTable)
        case .storeLdt: return try storeSystemWord(i, UInt32(localTableSelector))
        case .storeTask: return try storeSystemWord(i, UInt32(taskSelector))
        case .storeMachineStatus: return try storeMachineStatus(i)
        case .cpuid: return identify(i)
        case .timeStamp: return try readTimeStamp(i)
        case .portInput: return try accessPort(i, isInput: true)
        case .portOutput: return try accessPort(i, isInput: false)
        case .raise:
            throw .exception(
                vector: UInt8(truncatingIfNeeded: i.operation.immediate), code: 0)
        case .floatingPoint: return try floatingPointInstruction(i)
        case .floatingPointWait: try floatingPointWait()
        case .vector: try perform(i)
        case .system: return try system(i)
        case .portInputString, .portOutputString: return try portString(i)
        case .moves, .compare, .store, .load, .scan: return try string(i)
        default: throw .undefined
        }
        return .next
    }

    // MARK: Operands

    /// Offset of the memory operand in its segment.
    func offset(_ i: Instruction) -> UInt32 {
        get(i.operation.base)
            &+ get(i.operation.index, as: UInt32.self) &<< UInt32(i.operation.scale)
            &+ i.operation.displacement
    }

    /// Linear address of the memory operand, checked.
    func linear(_ i: Instruction, _ bytes: UInt32, write: Bool) throws(Fault) -> UInt32 {
        try linear(i.operation.segmentNumber, offset(i), bytes, write: write)
    }

    /// The register-or-memory operand.
    func operand<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Width {
        guard i.operation.shape.isMemory else { return get(i.operation.b) }
        return try read(try linear(i, UInt32(Width.bitWidth / 8), write: false))
    }

    /// The same of the instruction's size, as 32 bits.
    func wordOperand(_ i: Instruction) throws(Fault) -> UInt32 {
        i.size == 1 ? UInt32(try operand(i, UInt16.self)) : try operand(i, UInt32.self)
    }

    /// Stores into the register-or-memory operand.
    func storeOperand<Width: Operand>(_ i: Instruction, _ value: Width) throws(Fault) -> Flow {
        if i.operation.shape.isMemory {
            try write(try linear(i, UInt32(Width.bitWidth / 8), write: true), value)
        } else {
            set(i.operation.b, value)
        }
        return .next
    }

    /// Reads, changes and writes the register-or-memory operand; `body` sets flags and is not
    /// called if the write would fault.
    func change<Width: Operand>(_ i: Instruction, _ body: (Width) throws(Fault) -> Width)
        throws(Fault) -> Flow
    {
        guard i.operation.shape.isMemory else {
            set(i.operation.b, try body(get(i.operation.b)))
            return .next
        }
        let bytes = UInt32(Width.bitWidth / 8)
        let linear = try linear(i, bytes, write: true)
        try checkWrite(linear, bytes)
        try write(linear, try body(try read(linear)))
        return .next
    }

    /// Ends the block and goes on at an address.
    func go(_ eip: UInt32) -> Flow {
        state.eip = eip
        return .jump
    }
}
