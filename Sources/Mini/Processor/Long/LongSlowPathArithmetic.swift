// Arithmetic and bits of the slow path, of every size: operands are 64-bit numbers here.

import CShim

extension LongCore {
    // MARK: Arithmetic

    func arithmetic(_ i: LongOperation) throws(Fault) {
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

    func step(_ i: LongOperation, by one: UInt64) throws(Fault) {
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

    func shift(_ i: LongOperation) throws(Fault) {
        guard let (a, count) = try shiftOperand(i) else { return }
        let shifted = Shifted(
            i.which, a, by: count, bits: 8 &<< UInt64(i.shape.size), carryBit: carryBit)
        if i.which < 4 {
            setRotateFlags(
                carry: shifted.carry ? 1 : 0, sign: shifted.carry != shifted.overflow ? 1 : 0)
            try setOperand(i, shifted.result)
        } else {
            try setResult(i, shifted)
        }
    }

    private func setResult(_ i: LongOperation, _ shifted: Shifted<UInt64>) throws(Fault) {
        setFlags(
            extended: Self.extend(shifted.result, i.shape.size), carry: shifted.carry,
            overflow: shifted.overflow)
        try setOperand(i, shifted.result)
    }

    /// What is shifted, and by how much; nil for nothing, which changes no flag. With 32 bits the upper half of a register is
    /// cleared in any case.
    private func shiftOperand(_ i: LongOperation) throws(Fault) -> (value: UInt64, count: UInt64)? {
        let size = i.shape.size
        let given =
            i.shape.isImmediate ? UInt64(truncatingIfNeeded: i.immediate) : part(8, 0)
        let count = given & (size == 3 ? 63 : 31)
        let value = try modifiable(i)
        if count != 0 { return (value, count) }
        if !i.shape.isMemory { setPart(i.b, size, value) }
        return nil
    }

    func doubleShift(_ i: LongOperation) throws(Fault) {
        guard let (a, count) = try shiftOperand(i) else { return }
        let size = i.shape.size
        try setResult(
            i,
            Shifted(
                doubly: i.which == 0, a, part(i.a, size), by: count, bits: 8 &<< UInt64(size)))
    }

    func multiply(_ i: LongOperation, signed: Bool) throws(Fault) {
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

    func multiplyRegister(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let a = Self.extend(try operand(i), size)
        let b = Self.extend(second(i), size)
        let product = Int64(bitPattern: a).multipliedReportingOverflow(by: Int64(bitPattern: b))
        let value = UInt64(bitPattern: product.partialValue)
        let isWide = product.overflow || Self.extend(value, size) != value
        setFlags(extended: Self.extend(value, size), carry: isWide, overflow: isWide)
        setPart(i.a, size, value)
    }

    func divide(_ i: LongOperation, signed: Bool) throws(Fault) {
        let size = i.shape.size
        let divisor = try operand(i)
        if size == 3 { return try divide128(divisor, signed: signed) }
        let bits = 8 &<< UInt64(size)
        let (quotient, remainder) = try Division.divide(
            size == 0 ? part(0, 1) : part(16, size) &<< bits | part(0, size), by: divisor,
            size: size, signed: signed)
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

    func bitTest(_ i: LongOperation) throws(Fault) {
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

    func bitScan(_ i: LongOperation) throws(Fault) {
        let value = try operand(i)
        let size = i.shape.size
        // The destination keeps what it has; the flags but ZF are open.
        setFlags(extended: value == 0 ? 0 : 1, carry: false, overflow: false)
        guard value != 0 else { return }
        setPart(
            i.a, size,
            UInt64(i.which == 0 ? value.trailingZeroBitCount : 63 &- value.leadingZeroBitCount))
    }

    func compareExchange(_ i: LongOperation) throws(Fault) {
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

    func compareExchangePair(_ i: LongOperation) throws(Fault) {
        let place = linear(i)
        if i.shape.size == 3 { return try compareExchange16(i, place) }
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
    private func compareExchange16(_ i: LongOperation, _ place: UInt64) throws(Fault) {
        guard place & 15 == 0 else { throw .protection(0) }
        try checkWrite(place, 16)
        let (low, high) = (try read(place, 8), try read(place &+ 8, 8))
        let isEqual = low == rax && high == rdx
        let flags = arithmeticFlags & ~Flag.zero | (isEqual ? Flag.zero : 0)
        try write(place, isEqual ? rbx : low, 8)
        try write(place &+ 8, isEqual ? part(8, 3) : high, 8)
        arithmeticFlags = flags
        (rax, rdx) = (low, high)
    }
}
