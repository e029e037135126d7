// What the loop of long mode leaves to others: instructions that are rare, or of 8 and 16 bits. Operands are 64-bit numbers
// here, whatever their size, so that each instruction is written once.

extension LongCore {
    @inline(never) func slowPath(_ record: LongRecord) -> Flow {
        do throws(Fault) {
            let flow = try slow(unsafe record.pointee)
            return flow == .next && state.codeChanged ? .stop : flow
        } catch {
            state.fault = error
            return .fault
        }
    }

    // MARK: Operands

    func linear(_ i: LongOperation) -> UInt64 {
        get(i.base) &+ get(i.index, as: UInt64.self) &<< UInt64(i.scale)
            &+ UInt64(bitPattern: Int64(i.displacement))
    }

    static func bytes(_ size: UInt8) -> UInt64 { 1 &<< UInt64(size) }

    /// The register-or-memory operand.
    func operand(_ i: LongOperation) throws(Fault) -> UInt64 { try operand(i, i.shape.size) }

    func operand(_ i: LongOperation, _ size: UInt8) throws(Fault) -> UInt64 {
        i.shape.isMemory ? try read(linear(i), Self.bytes(size)) : part(i.b, size)
    }

    /// The same, if it may be written as well.
    func modifiable(_ i: LongOperation) throws(Fault) -> UInt64 {
        if i.shape.isMemory { try checkWrite(linear(i), Self.bytes(i.shape.size)) }
        return try operand(i)
    }

    func setOperand(_ i: LongOperation, _ value: UInt64) throws(Fault) {
        try setOperand(i, value, i.shape.size)
    }

    func setOperand(_ i: LongOperation, _ value: UInt64, _ size: UInt8) throws(Fault) {
        if i.shape.isMemory {
            try write(linear(i), value, Self.bytes(size))
        } else {
            setPart(i.b, size, value)
        }
    }

    /// An immediate, or the register of modrm.
    func second(_ i: LongOperation) -> UInt64 {
        i.shape.isImmediate
            ? UInt64(bitPattern: Int64(i.immediate)) & Self.mask(i.shape.size)
            : part(i.a, i.shape.size)
    }

    /// The address of an operand that no modrm names.
    func implicit(_ i: LongOperation, _ register: UInt64) -> UInt64 {
        let place = register & Self.mask(i.scale) &+ get(i.base)
        return state.isLong ? place : tagged(place, i.which)
    }

    /// After the instruction.
    func following(_ i: LongOperation) -> UInt64 { state.blockStart &+ i.next }

    // MARK: Flags

    func setFlags(_ result: UInt64, _ carries: UInt64, _ size: UInt8) {
        let shift = 64 &- 8 &<< UInt64(size)
        state.result = Self.extend(result, size)
        state.carries = (carries &<< shift) & (Self.top | Self.next) | carries & 8
    }

    /// One of the eight operations, with its flags.
    func compute(_ operation: UInt8, _ a: UInt64, _ b: UInt64, _ size: UInt8) -> UInt64 {
        let result: UInt64
        switch unsafe Arithmetic(rawValue: operation).unsafelyUnwrapped {
        case .add, .adc:
            result = a &+ b &+ (operation == Arithmetic.adc.rawValue ? carryBit : 0)
            setFlags(result, (a & b) | ((a | b) & ~result), size)
        case .sub, .cmp, .sbb:
            result = a &- b &- (operation == Arithmetic.sbb.rawValue ? carryBit : 0)
            setFlags(result, (~a & b) | (~(a ^ b) & result), size)
        case .and:
            result = a & b
            setFlags(result, 0, size)
        case .or:
            result = a | b
            setFlags(result, 0, size)
        case .xor:
            result = a ^ b
            setFlags(result, 0, size)
        }
        return result & Self.mask(size)
    }

    // MARK: The table

    private func slow(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        switch unsafe LongSlow(rawValue: i.aux).unsafelyUnwrapped {
        case .arithmetic: try arithmetic(i)
        case .test: setFlags(try operand(i) & second(i), 0, size)
        case .shift: try shift(i)
        case .not: try setOperand(i, ~(try modifiable(i)))
        case .neg: try setOperand(i, compute(Arithmetic.sub.rawValue, 0, try modifiable(i), size))
        case .inc, .dec: try step(i, by: i.aux == LongSlow.inc.rawValue ? 1 : ~0)
        case .multiply: try multiply(i, signed: false)
        case .multiplySigned: try multiply(i, signed: true)
        case .divide: try divide(i, signed: false)
        case .divideSigned: try divide(i, signed: true)
        case .multiplyRegister: try multiplyRegister(i)
        case .doubleShift: try doubleShift(i)
        case .bitTest: try bitTest(i)
        case .bitScan: try bitScan(i)
        case .exchange:
            let old = try modifiable(i)
            try setOperand(i, part(i.a, size))
            setPart(i.a, size, old)
        case .compareExchange: try compareExchange(i)
        case .compareExchangePair: try compareExchangePair(i)
        case .exchangeAdd:
            let old = try modifiable(i)
            let other = part(i.a, size)
            let carries = (state.result, state.carries)
            let sum = compute(Arithmetic.add.rawValue, old, other, size)
            let after = (state.result, state.carries)
            (state.result, state.carries) = carries
            if i.shape.isMemory { try setOperand(i, sum) }
            (state.result, state.carries) = after
            setPart(i.a, size, old)
            if !i.shape.isMemory { setPart(i.b, size, sum) }
        case .move: try moveOperand(i)
        case .moveIf:
            let value = try operand(i)
            if condition(i.which) {
                setPart(i.a, size, value)
            } else if size == 2 {
                setPart(i.a, size, part(i.a, size))
            }
        case .setIf: try setOperand(i, condition(i.which) ? 1 : 0)
        case .extend:
            let from = i.which & 1
            let value = try operand(i, from)
            setPart(i.a, size, i.which & 2 != 0 ? Self.extend(value, from) : value)
        case .lea: setPart(i.a, size, linear(i))
        case .extendAccumulator: setPart(0, 1, Self.extend(part(0, 0), 0))
        case .extendToDx: setPart(16, 1, Self.extend(part(0, 1), 1) &>> 16)
        case .push: try push(i.shape.isImmediate ? second(i) : try operand(i), size)
        case .pop: try popOperand(i)
        case .pushFlags: try push(flags & ~UInt64(Flag.resume | Flag.virtual8086), size)
        case .popFlags: return try popFlags(i)
        case .enter: try enterFrame(i)
        case .leave:
            let value = try read(stackPlace(rbp), Self.bytes(size))
            moveStack(to: rbp &+ Self.bytes(size))
            setPart(40, size, value)
        case .returnPopping:
            let target = try read(stackPlace(rsp), Self.bytes(size))
            try checkTarget(target)
            moveStack(to: rsp &+ Self.bytes(size) &+ UInt64(truncatingIfNeeded: i.immediate))
            state.rip = target
            return .jump
        case .returnFar: return try returnFar(i)
        case .jumpFar: return try jumpFar(i, call: false)
        case .callFar: return try jumpFar(i, call: true)
        case .loop: return try loop(i)
        case .interrupt: return try software(i)
        case .interruptReturn: return try interruptReturn(i)
        case .moves, .compare, .store, .load, .scan, .inputString, .outputString:
            return try string(i)
        case .xlat:
            setPart(0, 0, try read(implicit(i, rbx &+ part(0, 0)), 1))
        case .lahf: set(1, UInt8(truncatingIfNeeded: arithmeticFlags | Flag.one))
        case .sahf:
            let old = arithmeticFlags & Flag.overflow
            arithmeticFlags = UInt32(get(1, as: UInt8.self)) | old
        case .carryFlag:
            let carry = i.which == 2 ? !carry : i.which == 1
            setCarry(carry)
        case .directionFlag:
            let direction = UInt64(Flag.direction)
            state.otherFlags = state.otherFlags & ~direction | (i.which == 1 ? direction : 0)
        case .moveFromSegment: try setOperand(i, UInt64(state.segments[Int(i.a)].selector))
        case .moveToSegment:
            try loadSegment(Int(i.a), UInt16(truncatingIfNeeded: try operand(i)))
            if i.a == 2 { holdInterrupts() }
            return .stop
        case .pushSegment: try push(UInt64(state.segments[Int(i.a)].selector), size)
        case .popSegment:
            let value = try read(stackPlace(rsp), Self.bytes(size))
            let after = rsp &+ Self.bytes(size)
            let mask = state.stackMask
            try loadSegment(Int(i.a), UInt16(truncatingIfNeeded: value))
            rsp = rsp & ~mask | after & mask
            if i.a == 2 { holdInterrupts() }
            return .stop
        case .loadFarPointer:
            let place = linear(i)
            let value = try read(place, Self.bytes(size))
            let selector = try read(place &+ Self.bytes(size), 2)
            try loadSegment(Int(i.which), UInt16(truncatingIfNeeded: selector))
            setPart(i.a, size, value)
            return .stop
        case .verify: try verify(i)
        case .descriptor: try describe(i)
        case .raise:
            throw .exception(vector: UInt8(truncatingIfNeeded: i.immediate), code: 0)
        case .floatingPoint: try floatingPoint(i)
        case .floatingPointWait:
            let both = UInt64(Control0.monitor | Control0.taskSwitched)
            if state.control0 & both == both { throw .noDevice }
            if state.floatingPoint.wait() == .pending { throw .floatingPoint }
        case .saveState: try saveState(i)
        case .restoreState: try restoreState(i)
        case .loadControlStatus:
            try useVectors()
            let value = UInt32(truncatingIfNeeded: try read(linear(i), 4))
            guard value & ~Self.controlStatusBits == 0 else { throw .protection(0) }
            state.vectorControl = value
        case .storeControlStatus:
            try useVectors()
            try write(linear(i), UInt64(state.vectorControl), 4)
        case .vector: try perform(i)
        case .vectorLevel2: try performLevel2(i)
        case .countBits: try countBits(i)
        case .checksum: try checksum(i)
        case .storeNonTemporal: try write(linear(i), part(i.a, size), Self.bytes(size))
        case .fence: break
        case .transfer: return try transfer(i)
        case .overflow: return overflow ? try software(i) : .next
        case .pushAll, .popAll, .bounds, .adjustPrivilege, .setByCarry, .decimal, .ascii,
            .asciiMultiply, .asciiDivide:
            try compatibleInstruction(i)
        default: return try systemInstruction(i)
        }
        return .next
    }
}
