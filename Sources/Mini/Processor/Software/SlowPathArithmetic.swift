// The slow path's arithmetic: all sizes, shifts and rotates, multiplication and division, single bits,
// decimal adjustment. Flags that the manual leaves undefined are what they fall out as.
// Source: Intel SDM volume 2.

extension Core {
    func arithmetic<Width: Operand>(_ i: Instruction, _ operation: Arithmetic, _: Width.Type)
        throws(Fault) -> Flow
    {
        let register: Width = get(i.operation.a)
        if i.operation.shape.isToRegister {
            let value = try operand(i, Width.self)
            let result = compute(operation, register, value)
            if operation != .cmp { set(i.operation.a, result) }
            return .next
        }
        return try arithmetic(i, operation, by: register)
    }

    func arithmeticImmediate<Width: Operand>(
        _ i: Instruction, _ operation: Arithmetic, _: Width.Type
    ) throws(Fault) -> Flow {
        try arithmetic(i, operation, by: Width(truncatingIfNeeded: i.operation.immediate))
    }

    private func arithmetic<Width: Operand>(
        _ i: Instruction, _ operation: Arithmetic, by b: Width
    ) throws(Fault) -> Flow {
        if operation == .cmp {
            _ = compute(.cmp, try operand(i, Width.self), b)
            return .next
        }
        return try change(i) { (a: Width) in compute(operation, a, b) }
    }

    func testImmediate<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        setFlags(
            logic: try operand(i, Width.self) & Width(truncatingIfNeeded: i.operation.immediate))
        return .next
    }

    func testRegister<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        setFlags(logic: try operand(i, Width.self) & get(i.operation.a))
        return .next
    }

    // MARK: Shifts

    /// Applies a shift by the instruction's count modulo 32; by 0 nothing changes.
    func shift<Width: Operand>(
        _ i: Instruction, _: Width.Type, _ body: (Width, UInt32) -> Width
    ) throws(Fault) -> Flow {
        let count = shiftCount(i)
        return try change(i) { (a: Width) in count == 0 ? a : body(a, count) }
    }

    private func shiftCount(_ i: Instruction) -> UInt32 {
        (i.operation.shape.isCountInRegister ? state.ecx : i.operation.immediate) & 31
    }

    /// Carry and overflow of a rotate; the other flags stay.
    private func setRotateFlags(carry: Bool, overflow: Bool) {
        let kept = arithmeticFlags & ~(Flag.carry | Flag.overflow)
        arithmeticFlags =
            kept | (carry ? Flag.carry : 0) | (overflow ? Flag.overflow : 0)
    }

    private func top<Width: Operand>(_ a: Width) -> Bool {
        a &>> Width(Width.bitWidth - 1) != 0
    }

    func rotateLeft<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        let bits = UInt32(Width.bitWidth)
        let by = Width(count & (bits - 1))
        let result = by == 0 ? a : a << by | a >> (Width(bits) - by)
        let carry = result & 1 != 0
        setRotateFlags(carry: carry, overflow: top(result) != carry)
        return result
    }

    func rotateRight<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        let bits = UInt32(Width.bitWidth)
        let by = Width(count & (bits - 1))
        let result = by == 0 ? a : a >> by | a << (Width(bits) - by)
        setRotateFlags(carry: top(result), overflow: top(result) != top(result &<< 1))
        return result
    }

    func rotateLeftThroughCarry<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        var (result, carry) = (a, carry)
        for _ in 0..<count % UInt32(Width.bitWidth + 1) {
            let out = top(result)
            result = result &<< 1 | (carry ? 1 : 0)
            carry = out
        }
        setRotateFlags(carry: carry, overflow: top(result) != carry)
        return result
    }

    func rotateRightThroughCarry<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        var (result, carry) = (a, carry)
        for _ in 0..<count % UInt32(Width.bitWidth + 1) {
            let out = result & 1 != 0
            result = result &>> 1 | (carry ? 1 &<< Width(Width.bitWidth - 1) : 0)
            carry = out
        }
        setRotateFlags(carry: carry, overflow: top(result) != top(result &<< 1))
        return result
    }

    func shiftLeft<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        let wide = UInt64(a) &<< UInt64(count)
        let result = Width(truncatingIfNeeded: wide)
        let carry = wide &>> UInt64(Width.bitWidth) & 1 != 0
        setFlags(result: result, carry: carry, overflow: top(result) != carry)
        return result
    }

    func shiftRight<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        let result = Width(truncatingIfNeeded: UInt64(a) &>> UInt64(count))
        let carry = UInt64(a) &>> UInt64(count - 1) & 1 != 0
        setFlags(result: result, carry: carry, overflow: top(a))
        return result
    }

    func shiftRightSigned<Width: Operand>(_ a: Width, _ count: UInt32) -> Width {
        let signed = Int64(Int32(bitPattern: a.extended))
        let result = Width(truncatingIfNeeded: signed &>> Int64(count))
        let carry = signed &>> Int64(count - 1) & 1 != 0
        setFlags(result: result, carry: carry, overflow: false)
        return result
    }

    func doubleShift<Width: Operand>(_ i: Instruction, _: Width.Type, isLeft: Bool)
        throws(Fault) -> Flow
    {
        let count = UInt64(shiftCount(i))
        let bits = UInt64(Width.bitWidth)
        let other = UInt64(get(i.operation.a, as: Width.self))
        return try change(i) { (a: Width) in
            if count == 0 { return a }
            // For 16 bits and counts beyond, the register comes round again.
            let carry: Bool
            let result: Width
            if isLeft {
                let wide =
                    bits == 32
                    ? UInt64(a) &<< 32 | other
                    : UInt64(a) &<< 32 | other &<< 16 | UInt64(a)
                let top = bits == 32 ? UInt64(64) : 48
                carry = wide &>> (top - count) & 1 != 0
                result = Width(truncatingIfNeeded: wide &>> (top - bits - count))
            } else {
                let wide =
                    bits == 32
                    ? other &<< 32 | UInt64(a) : UInt64(a) &<< 32 | other &<< 16 | UInt64(a)
                carry = wide &>> (count - 1) & 1 != 0
                result = Width(truncatingIfNeeded: wide &>> count)
            }
            setFlags(result: result, carry: carry, overflow: top(result) != top(a))
            return result
        }
    }

    // MARK: Multiplication and division

    func multiply<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        let product = UInt64(get(0, as: Width.self)) &* UInt64(try operand(i, Width.self))
        let low = Width(truncatingIfNeeded: product)
        let high = Width(truncatingIfNeeded: product &>> UInt64(Width.bitWidth))
        setProduct(low, high, isWide: high != 0)
        return .next
    }

    func multiplySigned<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        let a = Int64(Int32(bitPattern: get(0, as: Width.self).extended))
        let b = Int64(Int32(bitPattern: try operand(i, Width.self).extended))
        let product = a &* b
        let low = Width(truncatingIfNeeded: product)
        let high = Width(truncatingIfNeeded: product &>> Int64(Width.bitWidth))
        setProduct(low, high, isWide: Int64(Int32(bitPattern: low.extended)) != product)
        return .next
    }

    private func setProduct<Width: Operand>(_ low: Width, _ high: Width, isWide: Bool) {
        setFlags(result: low, carry: isWide, overflow: isWide)
        set(0, low)
        // The upper half of an 8-bit product is ah.
        set(Width.bitWidth == 8 ? 1 : 8, high)
    }

    func multiplyTwo<Width: Operand>(_ i: Instruction, _: Width.Type, by b: Width)
        throws(Fault) -> Flow
    {
        let a = Int64(Int32(bitPattern: try operand(i, Width.self).extended))
        let product = a &* Int64(Int32(bitPattern: b.extended))
        let low = Width(truncatingIfNeeded: product)
        let isWide = Int64(Int32(bitPattern: low.extended)) != product
        setFlags(result: low, carry: isWide, overflow: isWide)
        set(i.operation.a, low)
        return .next
    }

    func divide<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        let divisor = UInt64(try operand(i, Width.self))
        guard divisor != 0 else { throw .divideError }
        let dividend = dividend(Width.self)
        let (quotient, remainder) = dividend.quotientAndRemainder(dividingBy: divisor)
        guard quotient <= UInt64(Width.max) else { throw .divideError }
        setQuotient(
            Width(truncatingIfNeeded: quotient), Width(truncatingIfNeeded: remainder))
        return .next
    }

    func divideSigned<Width: Operand>(_ i: Instruction, _: Width.Type) throws(Fault) -> Flow {
        let divisor = Int64(Int32(bitPattern: try operand(i, Width.self).extended))
        guard divisor != 0 else { throw .divideError }
        let unused = Int64(64 - 2 * Width.bitWidth)
        let dividend = (Int64(bitPattern: dividend(Width.self)) &<< unused) &>> unused
        guard dividend != Int64.min || divisor != -1 else { throw .divideError }
        let (quotient, remainder) = dividend.quotientAndRemainder(dividingBy: divisor)
        let low = Width(truncatingIfNeeded: quotient)
        guard Int64(Int32(bitPattern: low.extended)) == quotient else { throw .divideError }
        setQuotient(low, Width(truncatingIfNeeded: remainder))
        return .next
    }

    /// ax, dx:ax or edx:eax.
    private func dividend<Width: Operand>(_: Width.Type) -> UInt64 {
        if Width.bitWidth == 8 { return UInt64(get(0, as: UInt16.self)) }
        return UInt64(get(0, as: Width.self))
            | UInt64(get(8, as: Width.self)) &<< UInt64(Width.bitWidth)
    }

    private func setQuotient<Width: Operand>(_ quotient: Width, _ remainder: Width) {
        set(0, quotient)
        set(Width.bitWidth == 8 ? 1 : 8, remainder)
    }

    // MARK: Bits

    /// bt, and bts, btr, btc as an or, and, exclusive or with the bit's mask.
    func bitTest<Width: Operand>(_ i: Instruction, _: Width.Type, _ operation: Arithmetic?)
        throws(Fault) -> Flow
    {
        let isInRegister = i.operation.shape.isCountInRegister
        let offset =
            isInRegister ? get(i.operation.a, as: Width.self).extended : i.operation.immediate
        let mask: Width = 1 &<< Width(truncatingIfNeeded: offset)
        var moved = i
        if isInRegister && i.operation.shape.isMemory {
            // The bit may lie anywhere around the operand's address.
            moved = displaced(i, by: offset, Width.self)
        }
        if operation == nil {
            setCarry(try operand(moved, Width.self) & mask != 0)
            return .next
        }
        return try change(moved) { (a: Width) in
            setCarry(a & mask != 0)
            return switch operation {
            case .or: a | mask
            case .and: a & ~mask
            default: a ^ mask
            }
        }
    }

    private func displaced<Width: Operand>(_ i: Instruction, by bits: UInt32, _: Width.Type)
        -> Instruction
    {
        let words = Int32(bitPattern: bits) &>> (Width.bitWidth == 16 ? 4 : 5)
        var operation = i.operation
        operation.displacement &+= UInt32(bitPattern: words &* Int32(Width.bitWidth / 8))
        if operation.shape.isAddress16 {
            operation.displacement = (state.temporary &+ operation.displacement) & 0xFFFF
            operation.base = Slot.zero
        }
        return Instruction(operation: operation, start: i.start, next: i.next)
    }

    /// Leaves the destination alone, as processors do, if there is no bit.
    func bitScan<Width: Operand>(_ i: Instruction, _: Width.Type, isForward: Bool)
        throws(Fault) -> Flow
    {
        let value = try operand(i, Width.self)
        if value != 0 {
            let index =
                isForward
                ? value.trailingZeroBitCount : Width.bitWidth - 1 - value.leadingZeroBitCount
            set(i.operation.a, Width(truncatingIfNeeded: index))
        }
        setFlags(logic: value)
        return .next
    }

    // MARK: Decimal

    func decimalAdjust(isSubtraction: Bool) {
        let old: UInt8 = get(0)
        let oldCarry = carry
        var al = old
        var newCarry = false
        let low = old & 15 > 9 || auxiliary
        if low {
            al = isSubtraction ? al &- 6 : al &+ 6
            newCarry = oldCarry || (isSubtraction ? old < 6 : old > 0xF9)
        }
        if old > 0x99 || oldCarry {
            al = isSubtraction ? al &- 0x60 : al &+ 0x60
            newCarry = true
        }
        set(0, al)
        setFlags(logic: al)
        state.carries = (newCarry ? 0xC000_0000 : 0) | (low ? 8 : 0)
    }

    func asciiAdjust(isSubtraction: Bool) {
        let ax: UInt16 = get(0)
        let adjusts = ax & 15 > 9 || auxiliary
        let result = adjusts ? (isSubtraction ? ax &- 0x106 : ax &+ 0x106) : ax
        set(0, result & 0xFF0F)
        setFlags(logic: UInt8(truncatingIfNeeded: result & 15))
        state.carries = adjusts ? 0xC000_0008 : 0
    }

    func asciiAdjustMultiply(_ i: Instruction) throws(Fault) {
        let base = UInt8(truncatingIfNeeded: i.operation.immediate)
        guard base != 0 else { throw .divideError }
        let al: UInt8 = get(0)
        set(1, al / base)
        set(0, al % base)
        setFlags(logic: al % base)
    }

    func asciiAdjustDivide(_ i: Instruction) {
        let al: UInt8 = get(0)
        let ah: UInt8 = get(1)
        let result = al &+ ah &* UInt8(truncatingIfNeeded: i.operation.immediate)
        set(0, UInt16(result))
        setFlags(logic: result)
    }
}
