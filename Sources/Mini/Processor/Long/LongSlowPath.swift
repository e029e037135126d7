// What the loop of long mode leaves to others: instructions that are rare, or of 8 and 16 bits. Operands are 64-bit numbers
// here, whatever their size, so that each instruction is written once.

import CShim

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
    private func second(_ i: LongOperation) -> UInt64 {
        i.shape.isImmediate
            ? UInt64(bitPattern: Int64(i.immediate)) & Self.mask(i.shape.size)
            : part(i.a, i.shape.size)
    }

    /// The address of an operand that no modrm names.
    func implicit(_ i: LongOperation, _ register: UInt64) -> UInt64 {
        let place = register & Self.mask(i.scale) &+ get(i.base)
        return state.isLong ? place : tagged(place, i.which)
    }

    /// Behind the instruction.
    func following(_ i: LongOperation) -> UInt64 { state.blockStart &+ i.next }

    // MARK: Flags

    private func setFlags(_ result: UInt64, _ carries: UInt64, _ size: UInt8) {
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
            state.rip = try pop(size)
            moveStack(to: rsp &+ UInt64(truncatingIfNeeded: i.immediate))
            return .jump
        case .returnFar: return try returnFar(i)
        case .jumpFar: return try jumpFar(i, call: false)
        case .callFar: return try jumpFar(i, call: true)
        case .loop: return loop(i)
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
        case .vectorMove: try vectorMove(i)
        case .vector: try vectorOperation(i)
        case .vectorImmediate: try vectorImmediate(i)
        case .vectorShift: try vectorShift(i)
        case .vectorToGeneral: try vectorToGeneral(i)
        case .vectorFromGeneral: try vectorFromGeneral(i)
        case .vectorCompareFlags: try vectorCompareFlags(i)
        case .vectorMask: try vectorMask(i)
        case .insertWord: try insertWord(i)
        case .extractWord: try extractWord(i)
        case .vectorMaskedStore: try maskedStore(i)
        case .storeNonTemporal: try write(linear(i), part(i.a, size), Self.bytes(size))
        case .fence: break
        case .multimedia: try multimedia(i)
        case .transfer: return try transfer(i)
        case .overflow: return overflow ? try software(i) : .next
        case .pushAll, .popAll, .bounds, .adjustPrivilege, .setByCarry, .decimal, .ascii,
            .asciiMultiply, .asciiDivide:
            try compatibleInstruction(i)
        default: return try systemInstruction(i)
        }
        return .next
    }

    // MARK: Arithmetic

    private func arithmetic(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        if i.shape.isToRegister {
            let b = try operand(i)
            let result = compute(i.which, part(i.a, size), b, size)
            if i.which != Arithmetic.cmp.rawValue { setPart(i.a, size, result) }
            return
        }
        if i.which == Arithmetic.cmp.rawValue {
            _ = compute(i.which, try operand(i), second(i), size)
            return
        }
        let a = try modifiable(i)
        try setOperand(i, compute(i.which, a, second(i), size))
    }

    private func step(_ i: LongOperation, by one: UInt64) throws(Fault) {
        let size = i.shape.size
        let a = try modifiable(i)
        let result = (a &+ one) & Self.mask(size)
        let wasCarry = carry
        setFlags(result, one == 1 ? a & ~result : ~a & result, size)
        setCarry(wasCarry)
        try setOperand(i, result)
    }

    /// The others stay.
    func setCarry(_ carry: Bool) {
        let change = (carry ? Self.top : 0) ^ (state.carries & Self.top)
        state.carries ^= change | change &>> 1
    }

    private func shift(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bits = 8 &<< UInt64(size)
        let given =
            i.shape.isImmediate ? UInt64(truncatingIfNeeded: i.immediate) : part(8, 0)
        let count = given & (size == 3 ? 63 : 31)
        let a = try modifiable(i)
        // With 32 bits the upper half of a register is cleared in any case.
        guard count != 0 else {
            if !i.shape.isMemory { setPart(i.b, size, a) }
            return
        }
        try setOperand(i, shifted(i.which, a, count, bits, size))
    }

    private func shifted(
        _ which: UInt8, _ a: UInt64, _ count: UInt64, _ bits: UInt64, _ size: UInt8
    ) -> UInt64 {
        let mask = Self.mask(size)
        var result: UInt64
        let carry: Bool
        switch which {
        case 0, 1:
            let by = (which == 0 ? count : 0 &- count) & (bits &- 1)
            result = by == 0 ? a : (a &<< by | a &>> (bits &- by)) & mask
            let sign = result &>> (bits &- 1) & 1
            if which == 0 {
                setRotateFlags(carry: result & 1, sign: sign)
            } else {
                setRotateFlags(carry: sign, sign: result &>> (bits &- 2) & 1)
            }
            return result
        case 2, 3:
            result = a
            var bit = carryBit
            for _ in 0..<count % (bits &+ 1) {
                if which == 2 {
                    let out = result &>> (bits &- 1) & 1
                    result = (result &<< 1 | bit) & mask
                    bit = out
                } else {
                    let out = result & 1
                    result = result &>> 1 | bit &<< (bits &- 1)
                    bit = out
                }
            }
            let sign = result &>> (bits &- 1) & 1
            setRotateFlags(
                carry: bit, sign: which == 2 ? sign : sign ^ bit ^ (result &>> (bits &- 2) & 1))
            return result
        case 5:
            result = a &>> count
            carry = a &>> (count &- 1) & 1 != 0
            setFlags(
                extended: Self.extend(result, size), carry: carry,
                overflow: a &>> (bits &- 1) & 1 != 0)
        case 7:
            let signed = Int64(bitPattern: Self.extend(a, size))
            result = UInt64(bitPattern: signed &>> Int64(bitPattern: count)) & mask
            carry = signed &>> Int64(bitPattern: count &- 1) & 1 != 0
            setFlags(extended: Self.extend(result, size), carry: carry, overflow: false)
        default:
            result = (a &<< count) & mask
            carry = count <= bits && a &>> (bits &- count) & 1 != 0
            setFlags(
                extended: Self.extend(result, size), carry: carry,
                overflow: carry != (result &>> (bits &- 1) & 1 != 0))
        }
        return result
    }

    private func doubleShift(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bits = 8 &<< UInt64(size)
        let given =
            i.shape.isImmediate ? UInt64(truncatingIfNeeded: i.immediate) : part(8, 0)
        let count = given & (size == 3 ? 63 : 31)
        let a = try modifiable(i)
        let b = part(i.a, size)
        guard count != 0 else {
            if !i.shape.isMemory { setPart(i.b, size, a) }
            return
        }
        // Of 16 bits by more than 16 the manual leaves the result open: the bits come round.
        let isLeft = i.which == 0
        var result: UInt64
        let carry: Bool
        if size == 1 {
            let all = a &<< 32 | b &<< 16 | a
            result = isLeft ? (all &<< count) &>> 32 & 0xFFFF : (all &>> count) & 0xFFFF
            carry =
                isLeft
                ? (all &<< (count &- 1)) &>> 47 & 1 != 0 : all &>> (count &- 1) & 1 != 0
        } else if isLeft {
            result = (a &<< count | b &>> (bits &- count)) & Self.mask(size)
            carry = a &>> (bits &- count) & 1 != 0
        } else {
            result = (a &>> count | b &<< (bits &- count)) & Self.mask(size)
            carry = a &>> (count &- 1) & 1 != 0
        }
        let top = bits &- 1
        setFlags(
            extended: Self.extend(result, size), carry: carry,
            overflow: (result ^ a) &>> top & 1 != 0)
        try setOperand(i, result)
    }

    private func multiply(_ i: LongOperation, signed: Bool) throws(Fault) {
        let size = i.shape.size
        let b = try operand(i)
        let a = part(0, size)
        if size == 3 {
            let low: UInt64
            let high: UInt64
            if signed {
                let product = Int64(bitPattern: a).multipliedFullWidth(by: Int64(bitPattern: b))
                low = product.low
                high = UInt64(bitPattern: product.high)
            } else {
                let product = a.multipliedFullWidth(by: b)
                low = product.low
                high = product.high
            }
            let isWide =
                signed ? high != UInt64(bitPattern: Int64(bitPattern: low) &>> 63) : high != 0
            setFlags(extended: low, carry: isWide, overflow: isWide)
            rax = low
            rdx = high
            return
        }
        let product = signed ? Self.extend(a, size) &* Self.extend(b, size) : a &* b
        let bits = 8 &<< UInt64(size)
        let isWide =
            signed ? Self.extend(product, size) != product : product &>> bits != 0
        setFlags(extended: Self.extend(product, size), carry: isWide, overflow: isWide)
        if size == 0 { return setPart(0, 1, product) }
        setPart(0, size, product)
        setPart(16, size, product &>> bits)
    }

    private func multiplyRegister(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let a = Self.extend(try operand(i), size)
        let b = Self.extend(second(i), size)
        let product = Int64(bitPattern: a).multipliedReportingOverflow(by: Int64(bitPattern: b))
        let value = UInt64(bitPattern: product.partialValue)
        let isWide = product.overflow || Self.extend(value, size) != value
        setFlags(extended: Self.extend(value, size), carry: isWide, overflow: isWide)
        setPart(i.a, size, value)
    }

    private func divide(_ i: LongOperation, signed: Bool) throws(Fault) {
        let size = i.shape.size
        let divisor = try operand(i)
        guard divisor != 0 else { throw .divideError }
        if size == 3 { return try divide128(divisor, signed: signed) }
        let bits = 8 &<< UInt64(size)
        let dividend =
            size == 0 ? part(0, 1) : part(16, size) &<< bits | part(0, size)
        let quotient: UInt64
        let remainder: UInt64
        if signed {
            let wide = Int64(bitPattern: Self.extend(dividend, size &+ 1))
            let by = Int64(bitPattern: Self.extend(divisor, size))
            let result = wide.dividedReportingOverflow(by: by)
            quotient = UInt64(bitPattern: result.partialValue)
            remainder = UInt64(bitPattern: wide &- result.partialValue &* by)
            guard !result.overflow, Self.extend(quotient, size) == quotient else {
                throw .divideError
            }
        } else {
            quotient = dividend / divisor
            remainder = dividend % divisor
            guard quotient &>> bits == 0 else { throw .divideError }
        }
        if size == 0 {
            set(0, UInt8(truncatingIfNeeded: quotient))
            set(1, UInt8(truncatingIfNeeded: remainder))
        } else {
            setPart(0, size, quotient)
            setPart(16, size, remainder)
        }
    }

    private func divide128(_ divisor: UInt64, signed: Bool) throws(Fault) {
        var high = rdx
        var low = rax
        var by = divisor
        let isNegative = signed && high &>> 63 != 0
        let changes = isNegative != (signed && by &>> 63 != 0)
        if isNegative {
            low = 0 &- low
            high = ~high &+ (low == 0 ? 1 : 0)
        }
        if signed && by &>> 63 != 0 { by = 0 &- by }
        guard high < by else { throw .divideError }
        var remainder: UInt64 = 0
        let quotient = unsafe mini_divide(high, low, by, &remainder)
        if signed {
            let most: UInt64 = changes ? Self.top : Self.top &- 1
            guard quotient <= most else { throw .divideError }
        }
        rax = changes ? 0 &- quotient : quotient
        rdx = isNegative ? 0 &- remainder : remainder
    }

    // MARK: Bits

    private func bitTest(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bits = 8 &<< UInt64(size)
        let number = i.shape.isImmediate ? UInt64(truncatingIfNeeded: i.immediate) : part(i.a, size)
        let bit = number & (bits &- 1)
        var place = linear(i)
        if i.shape.isMemory && !i.shape.isImmediate {
            let signed = Int64(bitPattern: Self.extend(number, size))
            let unit = signed &>> Int64(3 &+ size)
            let distance = UInt64(bitPattern: unit) &* Self.bytes(size)
            if i.immediate == 0 {
                place = moved(place, by: distance)
            } else {
                // LongDecoder.bitTestInRegister
                let more = UInt32(bitPattern: i.immediate)
                place = (place &+ distance) & Self.mask(UInt8(truncatingIfNeeded: more & 3))
                place &+= get(UInt8(truncatingIfNeeded: more &>> 8))
                if !state.isLong { place = tagged(place, UInt8(truncatingIfNeeded: more &>> 16)) }
            }
        }
        let old: UInt64
        if i.shape.isMemory {
            if i.which != 0 { try checkWrite(place, Self.bytes(size)) }
            old = try read(place, Self.bytes(size))
        } else {
            old = part(i.b, size)
        }
        let one: UInt64 = 1 &<< bit
        let new: UInt64 =
            switch i.which {
            case 1: old | one
            case 2: old & ~one
            case 3: old ^ one
            default: old
            }
        if i.which != 0 {
            if i.shape.isMemory {
                try write(place, new, Self.bytes(size))
            } else {
                setPart(i.b, size, new)
            }
        }
        setCarry(old & one != 0)
    }

    private func bitScan(_ i: LongOperation) throws(Fault) {
        let value = try operand(i)
        let size = i.shape.size
        // The destination keeps what it has; the flags but ZF are open.
        setFlags(extended: value == 0 ? 0 : 1, carry: false, overflow: false)
        guard value != 0 else { return }
        setPart(
            i.a, size,
            UInt64(i.which == 0 ? value.trailingZeroBitCount : 63 &- value.leadingZeroBitCount))
    }

    private func compareExchange(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let old = try modifiable(i)
        let accumulator = part(0, size)
        let isEqual = old == accumulator
        if i.shape.isMemory {
            try setOperand(i, isEqual ? part(i.a, size) : old)
            _ = compute(Arithmetic.cmp.rawValue, accumulator, old, size)
            if !isEqual { setPart(0, size, old) }
            return
        }
        _ = compute(Arithmetic.cmp.rawValue, accumulator, old, size)
        if isEqual { setPart(i.b, size, part(i.a, size)) } else { setPart(0, size, old) }
    }

    private func compareExchangePair(_ i: LongOperation) throws(Fault) {
        let place = linear(i)
        try checkWrite(place, 8)
        let old = try read(place, 8)
        let isEqual = old == part(16, 2) &<< 32 | part(0, 2)
        let flags = arithmeticFlags & ~Flag.zero | (isEqual ? Flag.zero : 0)
        try write(place, isEqual ? part(8, 2) &<< 32 | part(24, 2) : old, 8)
        arithmeticFlags = flags
        if !isEqual {
            setPart(0, 2, old)
            setPart(16, 2, old &>> 32)
        }
    }

    // MARK: Moves and the stack

    private func moveOperand(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        if i.shape.isImmediate {
            let value = UInt64(bitPattern: Int64(i.immediate))
            if i.shape.isMemory { return try write(linear(i), value, Self.bytes(size)) }
            return setPart(i.a, size, value)
        }
        setPart(i.a, size, try operand(i))
    }

    func push(_ value: UInt64, _ size: UInt8) throws(Fault) {
        let place = rsp &- Self.bytes(size)
        try write(stackPlace(place), value, Self.bytes(size))
        moveStack(to: place)
    }

    func pop(_ size: UInt8) throws(Fault) -> UInt64 {
        let value = try read(stackPlace(rsp), Self.bytes(size))
        moveStack(to: rsp &+ Self.bytes(size))
        return value
    }

    private func popOperand(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let before = rsp
        let value = try pop(size)
        do throws(Fault) {
            try setOperand(i, value)
        } catch {
            rsp = before
            throw error
        }
    }

    private func popFlags(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let value = try pop(size)
        let old = flags
        let merged = size == 1 ? old & ~0xFFFF | value & 0xFFFF : value
        flags = flagsWithin(state.privilege, merged) & ~UInt64(Flag.resume | Flag.virtual8086)
        return .stop
    }

    private func enterFrame(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        var place = rsp &- bytes
        try write(stackPlace(place), part(40, size), bytes)
        let frame = place & state.stackMask | rsp & ~state.stackMask
        let level = UInt64(i.which)
        if level > 0 {
            for index in 1..<max(level, 1) {
                let value = try read(stackPlace(rbp &- index &* bytes), bytes)
                place &-= bytes
                try write(stackPlace(place), value, bytes)
            }
            place &-= bytes
            try write(stackPlace(place), frame, bytes)
        }
        let bottom = place &- UInt64(truncatingIfNeeded: i.immediate)
        try checkWrite(stackPlace(bottom), state.isLong ? 1 : bytes)
        setPart(40, size, frame)
        moveStack(to: bottom)
    }

    // MARK: Branches

    private func loop(_ i: LongOperation) -> Flow {
        let size = i.scale
        var count = part(8, size)
        let isTaken: Bool
        if i.which == 3 {
            isTaken = count == 0
        } else {
            count = (count &- 1) & Self.mask(size)
            setPart(8, size, count)
            isTaken = count != 0 && (i.which == 2 || zero == (i.which == 1))
        }
        state.rip = following(i) &+ (isTaken ? UInt64(bitPattern: Int64(i.displacement)) : 0)
        if isTaken { state.rip &= Self.mask(i.shape.size) }
        state.isTaken = isTaken
        return .branch
    }

    /// Interrupts come after the next instruction.
    func holdInterrupts() {
        state.attention |= Attention.shadow
        state.suppressesStep = true
    }

    // MARK: x87

    private func floatingPoint(_ i: LongOperation) throws(Fault) {
        if state.control0 & UInt64(Control0.taskSwitched | Control0.emulation) != 0 {
            throw .noDevice
        }
        let opcode = i.which
        let place = linear(i)
        let site = FloatingPointUnit.Site(
            instruction: UInt32(truncatingIfNeeded: state.blockStart &+ i.first),
            codeSelector: 0, operand: UInt32(truncatingIfNeeded: place), dataSelector: 0)
        let isShort = i.shape.size == 1
        var flags = arithmeticFlags
        var ax = get(0, as: UInt16.self)
        guard i.shape.isMemory else {
            let outcome = unsafe state.floatingPoint.execute(
                opcode: opcode, modrm: i.b, scratch: state.scratch, flags: &flags, ax: &ax,
                site: site, short: isShort)
            try settle(outcome)
            if flags != arithmeticFlags { arithmeticFlags = flags }
            set(0, ax)
            return
        }
        try settle(state.floatingPoint.check(opcode: opcode, modrm: i.b))
        let size = FloatingPointUnit.operandSize(opcode: opcode, modrm: i.b, short: isShort)
        if size.read > 0 { try unsafe copy(place, state.scratch, size.read, write: false) }
        if size.written > 0 {
            do throws(Fault) { try check(place, UInt64(size.written), write: true) } catch {
                if unsafe state.floatingPoint.withholds(
                    opcode: opcode, modrm: i.b, scratch: state.scratch, site: site)
                {
                    return
                }
                throw error
            }
        }
        let outcome = unsafe state.floatingPoint.execute(
            opcode: opcode, modrm: i.b, scratch: state.scratch, flags: &flags, ax: &ax,
            site: site, short: isShort)
        try settle(outcome)
        if size.written > 0 && outcome == .done {
            try unsafe copy(place, state.scratch, size.written, write: true)
        }
    }

    private func settle(_ outcome: FloatingPointUnit.Outcome) throws(Fault) {
        switch outcome {
        case .done, .withheld: break
        case .undefined: throw .undefined
        case .pending: throw .floatingPoint
        }
    }
}
