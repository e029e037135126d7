// What code of compatibility mode has and 64-bit code has not: addresses of 16 bits, segments that are looked at, and the
// opcodes that AMD took for other things or for nothing. How its addresses work: LongCompatible.swift.

extension LongDecoder {
    // MARK: Addresses

    /// modrm with an address of 16 bits, of which it is the low byte.
    mutating func takeShortAddress() {
        let mod = modrm &>> 6
        let number = modrm & 7
        // rbx, rbp, rsi, rdi by their offsets.
        switch number {
        case 0...3:
            operation.base = number & 2 == 0 ? 24 : 40
            operation.index = number & 1 == 0 ? 48 : 56
        case 4, 5: operation.base = number == 4 ? 48 : 56
        case 6 where mod == 0: operation.displacement = immediate16()
        case 6: operation.base = 40
        default: operation.base = 24
        }
        isOnStack = operation.base == 40
        if mod == 1 { operation.displacement = immediate8() }
        if mod == 2 { operation.displacement = immediate16() }
    }

    private func isChecked(_ segment: UInt8) -> Bool {
        mode &>> (LongMode.checkedShift &+ UInt32(segment)) & 1 != 0
    }

    /// The slot of the operand's base and its segment's tag.
    var compatibleBase: (UInt8, UInt8) {
        let number = segment == Self.usual ? isOnStack ? 2 : 3 : segment
        guard number < 6 else { return (LongSlot.zero, 0) }
        let isChecked = isChecked(number)
        let hasBase = isChecked || number >= 4
        return (
            hasBase ? LongSlot.bases &+ number &* 8 : LongSlot.zero, isChecked ? number &+ 1 : 0
        )
    }

    mutating func prepareCompatibleAddress() {
        let (base, tag) = compatibleBase
        if addressSize == 1 { return addressInFront(.compatible16, base, popped, tag: tag) }
        if tag != 0 || popped != 0 || base != LongSlot.zero && operation.index != LongSlot.zero {
            return addressInFront(.compatible32, base, popped, tag: tag)
        }
        if base != LongSlot.zero {
            operation.index = base
            operation.scale = 0
        }
    }

    // MARK: Opcodes

    mutating func compatible(_ opcode: UInt8) {
        guard !isLong else { return undefined() }
        switch opcode {
        case 0x06, 0x0E, 0x16, 0x1E: segmentStack(.pushSegment, opcode &>> 3)
        case 0x07, 0x17, 0x1F: segmentStack(.popSegment, opcode &>> 3)
        case 0x27, 0x2F: slow(.decimal, which: opcode &>> 3 & 1)
        case 0x37, 0x3F: slow(.ascii, which: opcode &>> 3 & 1)
        case 0x60: slow(.pushAll, size: size)
        case 0x61: slow(.popAll, size: size)
        case 0x62:
            operands(size)
            guard !isRegister else { return undefined() }
            slow(.bounds, size: size)
        case 0x63:
            operands(1)
            slow(.adjustPrivilege, size: 1)
        case 0x82: arithmeticGroup(0x80)
        case 0x9A, 0xEA:
            operation.displacement = immediate(size)
            operation.immediate = immediate16()
            operation.shape.isImmediate = true
            farTransfer(opcode == 0x9A ? .callFar : .jumpFar)
        case 0xC4, 0xC5:
            operands(size)
            guard !isRegister else { return undefined() }
            slow(.loadFarPointer, size: size, which: opcode == 0xC4 ? 0 : 3)
        case 0xCE:
            operation.immediate = 4
            slow(.overflow)
        case 0xD4, 0xD5:
            operation.immediate = Int32(byte())
            slow(opcode == 0xD4 ? .asciiMultiply : .asciiDivide)
        default: slow(.setByCarry)
        }
    }

    /// 40...4F.
    mutating func increment(_ opcode: UInt8) {
        operation.a = (opcode & 7) &* 8
        operation.b = operation.a
        let isDecrement = opcode & 8 != 0
        if size == 1 { return slow(isDecrement ? .dec : .inc, size: 1) }
        emit(isDecrement ? .dec32r : .inc32r)
    }

    mutating func farTransfer(_ path: LongSlow) {
        slow(path, size: size)
        ends = true
    }

    /// A near branch of a `LongTransfer`, or of a condition.
    mutating func nearTransfer(_ kind: UInt8) {
        slow(.transfer, size: size, which: kind)
        ends = true
    }
}
