// The operations that the execution loop leaves to functions out of line: every instruction
// at 8 and 16 bits that has no code of its own, and the uncommon ones. The switch below is
// the table; the functions are in SlowPathArithmetic, SlowPathMoves, SlowPathControl and Strings.
// Operands are 32-bit numbers here, and an operand's size is known at run time: code for each size would be three times as much.

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
    /// Of the first sixteen of `SlowPath`.
    var arithmetic: Arithmetic { unsafe unsafeBitCast(operation.aux & 7, to: Arithmetic.self) }
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
            // Of a task that was entered, the fault is at its first instruction.
            state.blockStart = state.eip &- UInt32(operation.offset)
            return .fault
        }
    }

    private func slowPath(_ i: Instruction) throws(Fault) -> Flow {
        switch i.slowPath {
        case .addRegister, .orRegister, .adcRegister, .sbbRegister, .andRegister, .subRegister,
            .xorRegister, .cmpRegister:
            try arithmetic(i)
        case .addImmediate, .orImmediate, .adcImmediate, .sbbImmediate, .andImmediate,
            .subImmediate, .xorImmediate, .cmpImmediate:
            try arithmetic(i, by: i.operation.immediate & Self.mask(i.size))
        case .rol, .ror, .rcl, .rcr, .shl, .shr, .sal, .sar: try shift(i)
        case .testImmediate, .testImmediate2:
            _ = compute(.and, try operand(i), i.operation.immediate & Self.mask(i.size), i.size)
        case .testRegister:
            _ = compute(.and, try operand(i), part(i.operation.a, i.size), i.size)
        case .not: try setOperand(i, ~(try modifiable(i)))
        case .neg: try setOperand(i, compute(.sub, 0, try modifiable(i), i.size))
        case .inc: try step(i, .add)
        case .dec: try step(i, .sub)
        case .multiply: try multiply(i)
        case .multiplySigned: try multiplySigned(i)
        case .divide: try divide(i, signed: false)
        case .divideSigned: try divide(i, signed: true)
        case .multiplyRegister: try multiply(i, by: part(i.operation.a, i.size))
        case .multiplyImmediate: try multiply(i, by: i.operation.immediate)
        case .shld: try doubleShift(i, isLeft: true)
        case .shrd: try doubleShift(i, isLeft: false)
        case .bt, .bts, .btr, .btc: try bitTest(i)
        case .bsf: try bitScan(i, isForward: true)
        case .bsr: try bitScan(i, isForward: false)
        case .moveImmediate: try setOperand(i, i.operation.immediate)
        case .exchange: try exchange(i)
        case .compareExchange: try compareExchange(i)
        case .exchangeAdd: try exchangeAdd(i)
        case .moveIf: try moveIf(i)
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
        case .pushMemory: try push(try operand(i), size: i.size)
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
        case .callIndirect: return try callNear(i, i.target(try operand(i)))
        case .returnNear: return try returnNear(i)
        case .jumpNear: return try jumpNear(i.relativeTarget)
        case .jumpIndirect: return try jumpNear(i.target(try operand(i)))
        case .jumpIf:
            return try condition(i.operation.a) ? jumpNear(i.relativeTarget) : go(i.next)
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

    /// The same of the instruction's size.
    func operand(_ i: Instruction) throws(Fault) -> UInt32 {
        guard i.operation.shape.isMemory else { return part(i.operation.b, i.size) }
        return try read(try linear(i, i.bytes, write: false), i.size)
    }

    /// The same of an instruction that will store it, too: faults as that would.
    func modifiable(_ i: Instruction) throws(Fault) -> UInt32 {
        guard i.operation.shape.isMemory else { return part(i.operation.b, i.size) }
        let linear = try linear(i, i.bytes, write: true)
        try checkWrite(linear, i.bytes)
        return try read(linear, i.size)
    }

    /// Stores into it what fits of a value.
    func setOperand(_ i: Instruction, _ value: UInt32) throws(Fault) {
        guard i.operation.shape.isMemory else { return setPart(i.operation.b, i.size, value) }
        try write(try linear(i, i.bytes, write: true), value, i.size)
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

    /// Ends the block and goes on at an address.
    func go(_ eip: UInt32) -> Flow {
        state.eip = eip
        return .jump
    }

    // MARK: Sizes known at run time: 0 to 2 for 8, 16 and 32 bits; nothing stands above the value

    static func mask(_ size: UInt8) -> UInt32 { .max &>> unused(size) }

    /// Bits of 32 that an operand does not have.
    static func unused(_ size: UInt8) -> UInt32 { 32 &- 8 &<< UInt32(size) }

    static func extend(_ value: UInt32, _ size: UInt8) -> Int32 {
        let unused = Int32(bitPattern: unused(size))
        return (Int32(bitPattern: value) &<< unused) &>> unused
    }

    /// What an operand's size takes of a register.
    func part(_ register: UInt8, _ size: UInt8) -> UInt32 {
        switch size {
        case 0: UInt32(get(register, as: UInt8.self))
        case 1: UInt32(get(register, as: UInt16.self))
        default: get(register)
        }
    }

    func setPart(_ register: UInt8, _ size: UInt8, _ value: UInt32) {
        switch size {
        case 0: set(register, UInt8(truncatingIfNeeded: value))
        case 1: set(register, UInt16(truncatingIfNeeded: value))
        default: set(register, value)
        }
    }

    func read(_ linear: UInt32, _ size: UInt8) throws(Fault) -> UInt32 {
        switch size {
        case 0: UInt32(try read(linear, as: UInt8.self))
        case 1: UInt32(try read(linear, as: UInt16.self))
        default: try read(linear)
        }
    }

    func write(_ linear: UInt32, _ value: UInt32, _ size: UInt8) throws(Fault) {
        switch size {
        case 0: try write(linear, UInt8(truncatingIfNeeded: value))
        case 1: try write(linear, UInt16(truncatingIfNeeded: value))
        default: try write(linear, value)
        }
    }

    /// The result, with its flags.
    func compute(_ operation: Arithmetic, _ a: UInt32, _ b: UInt32, _ size: UInt8) -> UInt32 {
        let result: UInt32
        var carries: UInt32 = 0
        switch operation {
        case .add, .adc:
            result = a &+ b &+ (operation == .adc ? carryBit : 0)
            carries = (a & b) | ((a | b) & ~result)
        case .sub, .cmp, .sbb:
            result = a &- b &- (operation == .sbb ? carryBit : 0)
            carries = (~a & b) | (~(a ^ b) & result)
        case .and: result = a & b
        case .or: result = a | b
        case .xor: result = a ^ b
        }
        state.result = UInt32(bitPattern: Self.extend(result, size))
        state.carries = carries &<< Self.unused(size) & 0xC000_0000 | carries & 8
        return result & Self.mask(size)
    }

    /// Flags of a result, but the auxiliary carry.
    func setFlags(_ result: UInt32, _ size: UInt8, carry: Bool, overflow: Bool) {
        setFlags(
            result: UInt32(bitPattern: Self.extend(result, size)), carry: carry,
            overflow: overflow)
    }
}
