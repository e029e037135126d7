// From bytes to records, for 64-bit code and for that of compatibility mode: prefixes, operands, and how blocks begin and
// end. The tables of opcodes are in LongDecoderOneByte.swift and LongDecoderTwoByte.swift, what 64-bit code does not have in
// LongDecoderCompatible.swift. What is not offered (see LongIdentity.swift) does not decode: #UD.
//
// Source: AMD64 Architecture Programmer's Manual volume 3, chapter 1 and appendix A.

@safe struct LongDecoder {
    let bytes: UnsafePointer<UInt8>
    let available: Int
    let operations: UnsafeMutablePointer<LongOperation>
    /// `LongMode`s.
    let mode: UInt32
    var isLong: Bool { mode & LongMode.compatible == 0 }
    var position = 0
    var recordCount = 0
    var instructionCount = 0
    /// The instruction ends the block.
    var ends = false

    // Of the instruction under way.
    var start = 0
    var isShort = false
    var rex: UInt8 = 0
    var operand16 = false
    /// The size of addresses as a shift: 1 is 16 bits, 3 is 64.
    var addressSize: UInt8 = 3
    var isLocked = false
    /// 0 none, 1 F2, 2 F3.
    var repeating: UInt8 = 0
    /// Of a prefix, 0 to 5; or the operand's usual one.
    var segment = Self.usual
    static let usual: UInt8 = 6
    /// The operand is an address, of no segment.
    static let none: UInt8 = 7
    /// The operand is by way of esp or ebp, and thus on the stack.
    var isOnStack = false
    /// Of POP: by how much rsp, the operand's base, has moved when the operand is written.
    var popped: Int32 = 0
    var modrm: UInt8 = 0
    var operation = LongOperation()
    var isRipRelative = false

    init(
        bytes: UnsafePointer<UInt8>, available: Int,
        operations: UnsafeMutablePointer<LongOperation>, mode: UInt32
    ) {
        self.mode = mode
        unsafe self.bytes = unsafe bytes
        self.available = available
        unsafe self.operations = unsafe operations
    }

    /// Decodes a block. What does nothing has no record in it and does not count, but where it is all there is, or where one
    /// instruction alone is wanted.
    /// - Returns: false if not one instruction lies wholly in the bytes.
    mutating func block(limit: Int) -> Bool {
        while instructionCount < limit && !ends && position < BlockShape.mostBytes - 16 {
            start = position
            let records = recordCount
            instruction()
            if isShort {
                position = start
                recordCount = records
                ends = false
                break
            }
            if recordCount > records || ends || limit == 1 { instructionCount += 1 }
        }
        guard position > 0 else { return false }
        instructionCount = max(instructionCount, 1)
        if !ends {
            operation = LongOperation()
            operation.code = .next
            start = position
            emit()
        }
        return true
    }

    // MARK: Bytes

    mutating func byte() -> UInt8 {
        guard position < available else {
            isShort = true
            return 0
        }
        let value = unsafe bytes[position]
        position += 1
        return value
    }

    mutating func immediate8() -> Int32 { Int32(Int8(bitPattern: byte())) }
    mutating func immediate16() -> Int32 {
        let low = UInt16(byte())
        return Int32(Int16(bitPattern: low | UInt16(byte()) &<< 8))
    }
    mutating func immediate32() -> Int32 {
        let low = UInt32(UInt16(truncatingIfNeeded: immediate16()))
        return Int32(bitPattern: low | UInt32(truncatingIfNeeded: immediate16()) &<< 16)
    }
    /// As wide as an operand, but no wider than 32 bits.
    mutating func immediate(_ size: UInt8) -> Int32 {
        switch size {
        case 0: immediate8()
        case 1: immediate16()
        default: immediate32()
        }
    }

    // MARK: Operands

    /// Operand size of most instructions.
    var size: UInt8 { rex & 8 != 0 ? 3 : operand16 ? 1 : 2 }
    var isWide: Bool { rex & 8 != 0 }
    var isRegister: Bool { modrm >= 0xC0 }
    /// The number in the middle of modrm, without REX: of a group.
    var group: UInt8 { modrm &>> 3 & 7 }
    var registerNumber: UInt8 { group | (rex & 4) &<< 1 }
    var otherNumber: UInt8 { modrm & 7 | (rex & 1) &<< 3 }

    /// The byte offset of a register.
    func offset(_ number: UInt8, _ size: UInt8) -> UInt8 {
        if size == 0 && rex == 0 && number & 0xC == 4 { return (number & 3) &* 8 &+ 1 }
        return number &* 8
    }

    /// Takes modrm and what belongs to it: the register's offset into `a`, the other's into `b` or the address.
    mutating func operands(_ size: UInt8) { operands(size, size) }

    mutating func operands(_ size: UInt8, _ otherSize: UInt8) {
        takeModrm()
        operation.a = offset(registerNumber, size)
        if isRegister { operation.b = offset(otherNumber, otherSize) }
    }

    mutating func takeModrm() {
        modrm = byte()
        if isRegister { return }
        operation.shape.isMemory = true
        if addressSize == 1 { return takeShortAddress() }
        let mod = modrm &>> 6
        var base = modrm & 7
        var hasBase = true
        if base == 4 {
            let sib = byte()
            let index = sib &>> 3 & 7 | (rex & 2) &<< 2
            if index != 4 {
                operation.index = index &* 8
                operation.scale = sib &>> 6
            }
            base = sib & 7
            if base == 5 && mod == 0 { hasBase = false }
            if hasBase { operation.base = (base | (rex & 1) &<< 3) &* 8 }
            if !hasBase { operation.displacement = immediate32() }
            isOnStack = base == 4
        } else if base == 5 && mod == 0 {
            isRipRelative = isLong
            if isLong { operation.base = LongSlot.blockStart }
            operation.displacement = immediate32()
        } else {
            operation.base = (base | (rex & 1) &<< 3) &* 8
        }
        if base == 5 && mod != 0 { isOnStack = true }
        if mod == 1 { operation.displacement = immediate8() }
        if mod == 2 { operation.displacement = immediate32() }
    }

    // MARK: Records

    mutating func emit(_ code: LongCode) {
        operation.code = code
        emit()
    }

    mutating func emit() {
        operation.end = UInt16(truncatingIfNeeded: position)
        operation.length = UInt8(truncatingIfNeeded: position &- start)
        if operation.shape.isMemory { prepareAddress() }
        put(operation)
    }

    mutating func put(_ record: LongOperation) {
        unsafe operations[recordCount] = record
        recordCount += 1
    }

    /// What a record cannot say of an address by itself goes in front of it.
    private mutating func prepareAddress() {
        guard isLong else { return prepareCompatibleAddress() }
        let address32 = addressSize == 2
        var needsPrefix = address32 || popped != 0
        var more = popped
        if isRipRelative {
            let sum = operation.displacement.addingReportingOverflow(Int32(operation.end))
            if sum.overflow || address32 {
                needsPrefix = true
                more = Int32(operation.end)
            } else {
                operation.displacement = sum.partialValue
            }
        }
        let base = baseSlot
        if base != LongSlot.zero && !needsPrefix {
            if operation.index == LongSlot.zero {
                operation.index = base
                operation.scale = 0
            } else {
                needsPrefix = true
            }
        }
        if needsPrefix { addressInFront(address32 ? .double : .quad, base, more) }
    }

    /// Where the base of the operand's segment is, if that counts in 64-bit code.
    var baseSlot: UInt8 {
        segment &>> 1 == 2 ? LongSlot.bases &+ segment &* 8 : LongSlot.zero
    }

    /// The operand's address is computed by a record of its own.
    mutating func addressInFront(_ kind: LongAddress, _ base: UInt8, _ more: Int32, tag: UInt8 = 0)
    {
        var prefix = operation
        prefix.code = .address
        prefix.immediate = more
        prefix.aux = kind.rawValue
        prefix.b = base
        prefix.which = tag
        put(prefix)
        operation.base = LongSlot.temporary
        operation.index = LongSlot.zero
        operation.displacement = 0
    }

    mutating func slow(_ path: LongSlow, which: UInt8 = 0, as code: LongCode = .slowPath) {
        operation.aux = path.rawValue
        operation.which = which
        emit(code)
    }

    mutating func slow(
        _ path: LongSlow, size: UInt8, which: UInt8 = 0, as code: LongCode = .slowPath
    ) {
        operation.shape.size = size
        slow(path, which: which, as: code)
    }

    /// A NOP or what is one here; not with an operand in memory, which nothing touches.
    mutating func nothing() {
        // LOCK is not for it, which is looked at after it.
        operation = LongOperation()
    }

    mutating func undefined() { raise(6) }

    mutating func raise(_ vector: Int32) {
        operation = LongOperation()
        operation.immediate = vector
        slow(.raise)
        ends = true
    }

    // MARK: An instruction

    private mutating func instruction() {
        rex = 0
        let isShortCode = mode & LongMode.short != 0
        operand16 = isShortCode
        addressSize = isLong ? 3 : isShortCode ? 1 : 2
        isLocked = false
        repeating = 0
        segment = Self.usual
        isOnStack = false
        popped = 0
        operation = LongOperation()
        isRipRelative = false
        while true {
            let opcode = byte()
            if isShort { return }
            guard position - start <= 15 else { return raise(13) }
            switch opcode {
            case 0x66: operand16 = !isShortCode
            case 0x67: addressSize = isLong || isShortCode ? 2 : 1
            case 0xF2: repeating = 1
            case 0xF3: repeating = 2
            case 0xF0: isLocked = true
            case 0x26, 0x2E, 0x36, 0x3E: if !isLong { segment = opcode &>> 3 & 3 }
            case 0x64, 0x65: segment = opcode & 7
            case 0x40...0x4F where isLong:
                rex = opcode
                continue
            default:
                let records = recordCount
                let modrmPlace = opcode == 0x0F ? position + 1 : position
                if opcode == 0x0F {
                    twoByte(byte())
                } else {
                    oneByte(opcode)
                }
                if isShort { return }
                if position - start > 15 {
                    recordCount = records
                    return raise(13)
                }
                if isLocked && !lockable(opcode, modrmPlace) {
                    recordCount = records
                    return undefined()
                }
                return
            }
            // Only one directly in front of the opcode counts.
            rex = 0
        }
    }

    /// Whether LOCK may stand in front: of what reads and writes memory.
    private func lockable(_ opcode: UInt8, _ modrmPlace: Int) -> Bool {
        guard modrmPlace < available else { return false }
        let modrm = unsafe bytes[modrmPlace]
        guard modrm < 0xC0 else { return false }
        let group = modrm &>> 3 & 7
        switch opcode {
        case 0x0F: break
        case 0x00...0x37: return opcode & 7 <= 1
        case 0x80...0x83: return group != 7
        case 0x86, 0x87: return true
        case 0xF6, 0xF7: return group == 2 || group == 3
        case 0xFE, 0xFF: return group <= 1
        default: return false
        }
        switch unsafe bytes[modrmPlace - 1] {
        case 0xAB, 0xB3, 0xBB, 0xB0, 0xB1, 0xC0, 0xC1: return true
        case 0xBA: return group >= 5
        case 0xC7: return group == 1
        default: return false
        }
    }
}
