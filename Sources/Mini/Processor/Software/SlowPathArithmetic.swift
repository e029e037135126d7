// The slow path's arithmetic: all sizes, shifts and rotates, multiplication and division, single bits,
// decimal adjustment. Flags that the manual leaves undefined are what they fall out as.
// Source: Intel SDM volume 2.

extension Core {
    /// With a register, on either side.
    func arithmetic(_ i: Instruction) throws(Fault) {
        let register = part(i.operation.a, i.size)
        guard i.operation.shape.isToRegister else { return try arithmetic(i, by: register) }
        let result = compute(i.arithmetic, register, try operand(i), i.size)
        if i.arithmetic != .cmp { setPart(i.operation.a, i.size, result) }
    }

    func arithmetic(_ i: Instruction, by b: UInt32) throws(Fault) {
        if i.arithmetic == .cmp {
            _ = compute(.cmp, try operand(i), b, i.size)
        } else {
            try setOperand(i, compute(i.arithmetic, try modifiable(i), b, i.size))
        }
    }

    /// One more or less; the carry stays.
    func step(_ i: Instruction, _ operation: Arithmetic) throws(Fault) {
        let a = try modifiable(i)
        let old = carry
        let result = compute(operation, a, 1, i.size)
        setCarry(old)
        try setOperand(i, result)
    }

    // MARK: Shifts

    /// By the instruction's count modulo 32; by 0 nothing changes.
    func shift(_ i: Instruction) throws(Fault) {
        let a = try modifiable(i)
        let count = shiftCount(i)
        if count == 0 { return try setOperand(i, a) }
        let which = i.slowPath.rawValue &- SlowPath.rol.rawValue
        let shifted = Shifted(
            which, a, by: count, bits: 8 &<< UInt32(i.size), carryBit: carryBit)
        if which < 4 {
            setRotateFlags(
                carry: shifted.carry ? 1 : 0, sign: shifted.carry != shifted.overflow ? 1 : 0)
            try setOperand(i, shifted.result)
        } else {
            try setResult(i, shifted)
        }
    }

    private func setResult(_ i: Instruction, _ shifted: Shifted<UInt32>) throws(Fault) {
        setFlags(shifted.result, i.size, carry: shifted.carry, overflow: shifted.overflow)
        try setOperand(i, shifted.result)
    }

    private func shiftCount(_ i: Instruction) -> UInt32 {
        (i.operation.shape.isCountInRegister ? state.ecx : i.operation.immediate) & 31
    }

    func doubleShift(_ i: Instruction, isLeft: Bool) throws(Fault) {
        let a = try modifiable(i)
        let count = shiftCount(i)
        if count == 0 { return try setOperand(i, a) }
        try setResult(
            i,
            Shifted(
                doubly: isLeft, a, part(i.operation.a, i.size), by: count,
                bits: 8 &<< UInt32(i.size)))
    }

    // MARK: Multiplication and division

    func multiply(_ i: Instruction) throws(Fault) {
        let product = UInt64(part(0, i.size)) &* UInt64(try operand(i))
        setProduct(i, product, isWide: product &>> (8 &<< UInt64(i.size)) != 0)
    }

    func multiplySigned(_ i: Instruction) throws(Fault) {
        let product =
            Int64(Self.extend(part(0, i.size), i.size))
            &* Int64(Self.extend(try operand(i), i.size))
        setProduct(i, UInt64(bitPattern: product), isWide: isWide(product, i.size))
    }

    /// Whether a signed product does not fit its lower half.
    private func isWide(_ product: Int64, _ size: UInt8) -> Bool {
        Int64(Self.extend(UInt32(truncatingIfNeeded: product), size)) != product
    }

    private func setProduct(_ i: Instruction, _ product: UInt64, isWide: Bool) {
        let low = UInt32(truncatingIfNeeded: product)
        setFlags(low, i.size, carry: isWide, overflow: isWide)
        setPart(0, i.size, low)
        setUpper(i, UInt32(truncatingIfNeeded: product &>> (8 &<< UInt64(i.size))))
    }

    /// The upper half of a product, the remainder of a division: of 8 bits it is ah.
    private func setUpper(_ i: Instruction, _ value: UInt32) {
        setPart(i.size == 0 ? 1 : 8, i.size, value)
    }

    func multiply(_ i: Instruction, by b: UInt32) throws(Fault) {
        let product =
            Int64(Self.extend(try operand(i), i.size)) &* Int64(Self.extend(b, i.size))
        let low = UInt32(truncatingIfNeeded: product)
        let isWide = isWide(product, i.size)
        setFlags(low, i.size, carry: isWide, overflow: isWide)
        setPart(i.operation.a, i.size, low)
    }

    func divide(_ i: Instruction, signed: Bool) throws(Fault) {
        let divisor = UInt64(try operand(i))
        let (quotient, remainder) = try Division.divide(
            dividend(i), by: divisor, size: i.size, signed: signed)
        setPart(0, i.size, UInt32(truncatingIfNeeded: quotient))
        setUpper(i, UInt32(truncatingIfNeeded: remainder))
    }

    /// ax, dx:ax or edx:eax.
    private func dividend(_ i: Instruction) -> UInt64 {
        if i.size == 0 { return UInt64(part(0, 1)) }
        return UInt64(part(0, i.size)) | UInt64(part(8, i.size)) &<< (8 &<< UInt64(i.size))
    }

    // MARK: Bits

    func bitTest(_ i: Instruction) throws(Fault) {
        let isInRegister = i.operation.shape.isCountInRegister
        let offset =
            isInRegister
            ? UInt32(bitPattern: Self.extend(part(i.operation.a, i.size), i.size))
            : i.operation.immediate
        let bit: UInt32 = 1 &<< (offset & (i.size == 1 ? 15 : 31))
        // The bit may lie anywhere around the operand's address.
        let moved =
            isInRegister && i.operation.shape.isMemory ? displaced(i, by: offset) : i
        if i.slowPath == .bt { return setCarry(try operand(moved) & bit != 0) }
        let a = try modifiable(moved)
        setCarry(a & bit != 0)
        switch i.slowPath {
        case .bts: try setOperand(moved, a | bit)
        case .btr: try setOperand(moved, a & ~bit)
        default: try setOperand(moved, a ^ bit)
        }
    }

    private func displaced(_ i: Instruction, by bits: UInt32) -> Instruction {
        let words = Int32(bitPattern: bits) &>> (i.size == 1 ? 4 : 5)
        var operation = i.operation
        operation.displacement &+= UInt32(bitPattern: words) &* i.bytes
        if operation.shape.isAddress16 {
            operation.displacement = (state.temporary &+ operation.displacement) & 0xFFFF
            operation.base = Slot.zero
        }
        return Instruction(operation: operation, start: i.start, next: i.next)
    }

    /// Leaves the destination alone, as processors do, if there is no bit.
    func bitScan(_ i: Instruction, isForward: Bool) throws(Fault) {
        let value = try operand(i)
        if value != 0 {
            let index = isForward ? value.trailingZeroBitCount : 31 &- value.leadingZeroBitCount
            setPart(i.operation.a, i.size, UInt32(truncatingIfNeeded: index))
        }
        _ = compute(.or, value, 0, i.size)
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
