// The one-byte opcodes. A line a row of the map; source: Intel SDM volume 2, appendix A.

extension Decoder {
    mutating func oneByte(_ opcode: UInt8) {
        switch opcode {
        case 0x0F: twoByte(next8())
        case 0x06, 0x0E, 0x16, 0x1E: pushSegment(opcode &>> 3)
        case 0x07, 0x17, 0x1F: popSegment(opcode &>> 3)
        case 0x27: laySlowPath(.daa, size: 0)
        case 0x2F: laySlowPath(.das, size: 0)
        case 0x37: laySlowPath(.aaa, size: 0)
        case 0x3F: laySlowPath(.aas, size: 0)
        case 0x00...0x3F: arithmetic(opcode)
        case 0x40...0x4F: step(opcode)
        case 0x50...0x57: push(register: opcode & 7)
        case 0x58...0x5F: pop(register: opcode & 7)
        case 0x60: laySlowPath(.pushAll, size: wordSize)
        case 0x61: laySlowPath(.popAll, size: wordSize)
        case 0x62: boundOrPointer(.bound, segment: 0)
        case 0x63: withModrm(.arpl, size: 1)
        case 0x68: push(immediate: immediate(wordSize))
        case 0x69: multiply(immediateSize: wordSize)
        case 0x6A: push(immediate: nextSigned8())
        case 0x6B: multiply(immediateSize: 0)
        case 0x6C...0x6F: portString(opcode)
        case 0x70...0x7F: jump(if: opcode & 15, distance: nextSigned8())
        case 0x80...0x83: arithmeticImmediate(opcode)
        case 0x84, 0x85: test(size(opcode))
        case 0x86, 0x87: exchange(size(opcode))
        case 0x88...0x8B: move(opcode)
        case 0x8C: moveFromSegment()
        case 0x8D: lea()
        case 0x8E: moveToSegment()
        case 0x8F: popOperand()
        // Nothing is done for a nop, and no record says so. Under a repeat prefix it is a pause.
        case 0x90: break
        case 0x91...0x97: exchange(withAccumulator: opcode & 7)
        case 0x98: laySlowPath(.extendAccumulator, size: wordSize)
        case 0x99: extendToDx()
        case 0x9A: farImmediate(.callFar)
        case 0x9B: laySlowPath(.floatingPointWait, size: 0)
        case 0x9C: laySlowPath(.pushFlags, size: wordSize)
        case 0x9D: lastSlowPath(.popFlags)
        case 0x9E: laySlowPath(.sahf, size: 0)
        case 0x9F: laySlowPath(.lahf, size: 0)
        case 0xA0...0xA3: moveOffset(opcode)
        case 0xA4, 0xA5: string(.moves, opcode, .moveString8, .moveString32, segment(3))
        case 0xA6, 0xA7: laySlowPath(.compare, size: size(opcode), segment: segment(3))
        case 0xA8, 0xA9: testAccumulator(size(opcode))
        case 0xAA, 0xAB: string(.store, opcode, .storeString8, .storeString32, 0)
        case 0xAC, 0xAD: string(.load, opcode, .loadString8, .loadString32, segment(3))
        case 0xAE, 0xAF: string(.scan, opcode, .scanString8, nil, 0)
        case 0xB0...0xB7: moveImmediate(Decoder.register(opcode & 7, 0), 0)
        case 0xB8...0xBF: moveImmediate(Decoder.register(opcode & 7, 2), wordSize)
        case 0xC0, 0xC1: shift(size(opcode), .immediate)
        case 0xC2: returnNear(releasing: UInt32(next16()))
        case 0xC3: returnNear(releasing: 0)
        case 0xC4: boundOrPointer(.loadFarPointer, segment: 0)
        case 0xC5: boundOrPointer(.loadFarPointer, segment: 3)
        case 0xC6, 0xC7: moveImmediateToOperand(size(opcode))
        case 0xC8: enter()
        case 0xC9: leave()
        case 0xCA: lastSlowPath(.returnFar, UInt32(next16()))
        case 0xCB: lastSlowPath(.returnFar)
        case 0xCC: lastSlowPath(.breakpoint)
        case 0xCD: lastSlowPath(.interrupt, UInt32(next8()))
        case 0xCE: lastSlowPath(.overflowTrap)
        case 0xCF: lastSlowPath(.interruptReturn)
        case 0xD0, 0xD1: shift(size(opcode), .one)
        case 0xD2, 0xD3: shift(size(opcode), .cl)
        case 0xD4: laySlowPath(.aam, size: 0, immediate: UInt32(next8()))
        case 0xD5: laySlowPath(.aad, size: 0, immediate: UInt32(next8()))
        case 0xD6: laySlowPath(.salc, size: 0)
        case 0xD7: laySlowPath(.xlat, size: 0, segment: segment(3))
        case 0xD8...0xDF: floatingPoint(opcode)
        case 0xE0: lastSlowPath(.loopIfNotZero, nextSigned8())
        case 0xE1: lastSlowPath(.loopIfZero, nextSigned8())
        case 0xE2: countedJump(.loop, .loop, nextSigned8())
        case 0xE3: countedJump(.jecxz, .jumpIfCountZero, nextSigned8())
        case 0xE8: callNear(immediate(wordSize))
        case 0xE9: jumpNear(immediate(wordSize))
        case 0xEA: farImmediate(.jumpFar)
        case 0xEB: jumpNear(nextSigned8())
        case 0xF1: lastSlowPath(.interrupt, 0x100 + 1)
        case 0xF5: laySlowPath(.complementCarry, size: 0)
        case 0xF6, 0xF7: group3(size(opcode))
        case 0xF8: laySlowPath(.clearCarry, size: 0)
        case 0xF9: laySlowPath(.setCarry, size: 0)
        case 0xFC: laySlowPath(.clearDirection, size: 0)
        case 0xFD: laySlowPath(.setDirection, size: 0)
        case 0xFE: group4()
        case 0xFF: group5()
        case 0xE4...0xE7, 0xEC...0xEF: port(opcode)
        case 0xFA: laySystem(.clearInterrupt, isLast: false)
        case 0xFB: laySystem(.setInterrupt)
        // hlt
        default: laySystem(.halt)
        }
    }

    /// ins and outs.
    private mutating func portString(_ opcode: UInt8) {
        guard isSystem else { return privileged() }
        laySlowPath(
            opcode & 2 == 0 ? .portInputString : .portOutputString, size: size(opcode),
            segment: opcode & 2 == 0 ? 0 : segment(SegmentRegister.data))
        endBlock()
    }

    /// A string instruction: one that is not repeated has a code of its own if its segments are open.
    private mutating func string(
        _ slowPath: SlowPath, _ opcode: UInt8, _ byte: Code, _ word: Code?, _ segment: Int
    ) {
        let size = size(opcode)
        let code: Code? = size == 0 ? byte : size == 2 ? word : nil
        let open =
            BlockMode.open &<< UInt32(SegmentRegister.extra)
            | BlockMode.open &<< UInt32(SegmentRegister.data)
        guard let code, repeating == 0, isAddress32, mode & open == open,
            segment == SegmentRegister.data
                || segment == SegmentRegister.extra && slowPath != .load
                    && slowPath != .moves
        else { return laySlowPath(slowPath, size: size, segment: segment) }
        lay(Operation(code: code))
    }

    /// in and out, with the port in the instruction or in dx.
    private mutating func port(_ opcode: UInt8) {
        let isImmediate = opcode & 8 == 0
        laySlowPath(
            opcode & 2 == 0 ? .portInput : .portOutput, size: size(opcode),
            immediate: isImmediate ? UInt32(next8()) : 0, countInRegister: !isImmediate)
        endBlock()
    }

    /// An operation of the slow path that ends the block.
    mutating func lastSlowPath(_ slowPath: SlowPath, _ immediate: UInt32 = 0) {
        laySlowPath(slowPath, size: wordSize, immediate: immediate)
        endBlock()
    }

    /// An operation of the slow path with a register `a` and a register-or-memory operand `b`.
    mutating func withModrm(
        _ slowPath: SlowPath, size: UInt8, toRegister: Bool = false, lockable: Bool = false
    ) {
        readModrm()
        if lockable { allowLock() }
        laySlowPath(
            slowPath, size: size, a: reg(size), b: rm(size), toRegister: toRegister,
            hasOperand: true)
    }

    // MARK: Arithmetic

    private mutating func arithmetic(_ opcode: UInt8) {
        let operation = opcode &>> 3 & 7
        let size = size(opcode)
        if opcode & 7 >= 4 {
            return layArithmetic(operation, size, .ri, a: 0, immediate: immediate(size))
        }
        readModrm()
        let toRegister = opcode & 2 != 0
        if !toRegister && operation != Arithmetic.cmp.rawValue { allowLock() }
        if isRegisterForm {
            let (a, b) = toRegister ? (reg(size), rm(size)) : (rm(size), reg(size))
            layArithmetic(operation, size, .rr, a: a, b: b)
        } else if toRegister {
            layArithmetic(operation, size, .rm, a: reg(size))
        } else {
            layArithmetic(operation, size, .mr, a: 0, b: reg(size))
        }
    }

    private mutating func arithmeticImmediate(_ opcode: UInt8) {
        let size = size(opcode)
        readModrm()
        if regField != Arithmetic.cmp.rawValue { allowLock() }
        let value = opcode == 0x83 ? nextSigned8() : immediate(size)
        layArithmetic(
            regField, size, isRegisterForm ? .ri : .mi, a: rm(size), immediate: value)
    }

    private mutating func layArithmetic(
        _ operation: UInt8, _ size: UInt8, _ form: Form, a: UInt8, b: UInt8 = 0,
        immediate: UInt32 = 0
    ) {
        if size == 1 {
            let first = form == .ri || form == .mi ? SlowPath.addImmediate : SlowPath.addRegister
            let slowPath = SlowPath(rawValue: first.rawValue + operation)!
            // `a` is the register operand and `b` the register-or-memory one.
            let isReversed = form == .rr || form == .ri
            return laySlowPath(
                slowPath, size: 1, a: isReversed ? b : (form == .rm ? a : b), b: isReversed ? a : 0,
                immediate: immediate, toRegister: form == .rm,
                hasOperand: form == .rm || form == .mr || form == .mi)
        }
        let first: UInt8 = size == 2 ? 0 : 40
        let record = Operation(
            code: Code(rawValue: first + operation * 5 + form.rawValue)!, a: a, b: b,
            immediate: immediate)
        switch form {
        case .rr, .ri: lay(record)
        case .rm: layMemory(record, size == 2 ? 4 : 1)
        case .mr, .mi:
            layMemory(
                record, size == 2 ? 4 : 1, write: operation != Arithmetic.cmp.rawValue)
        }
    }

    private mutating func step(_ opcode: UInt8) {
        let isDec = opcode & 8 != 0
        let register = Decoder.register(opcode & 7, 2)
        if isOperand32 {
            return lay(Operation(code: isDec ? .dec32r : .inc32r, a: register))
        }
        modrm = 0xC0
        laySlowPath(isDec ? .dec : .inc, size: 1, b: register)
    }

    private mutating func test(_ size: UInt8) {
        readModrm()
        if size == 1 {
            return laySlowPath(.testRegister, size: 1, a: reg(1), b: rm(1), hasOperand: true)
        }
        let is32 = size == 2
        if isRegisterForm {
            lay(Operation(code: is32 ? .test32rr : .test8rr, a: rm(size), b: reg(size)))
        } else {
            layMemory(Operation(code: is32 ? .test32mr : .test8mr, b: reg(size)), is32 ? 4 : 1)
        }
    }

    private mutating func testAccumulator(_ size: UInt8) {
        let value = immediate(size)
        if size == 1 { return laySlowPath(.testImmediate, size: 1, immediate: value) }
        lay(Operation(code: size == 2 ? .test32ri : .test8ri, a: 0, immediate: value))
    }

    private mutating func group3(_ size: UInt8) {
        readModrm()
        if regField <= 1 { return testImmediate(size) }
        if regField <= 3 { allowLock() }
        if size == 2 && isRegisterForm && regField <= 3 {
            return lay(Operation(code: regField == 2 ? .not32r : .neg32r, a: rm(2)))
        }
        let slowPath = SlowPath(rawValue: SlowPath.testImmediate.rawValue + regField)!
        laySlowPath(slowPath, size: size, b: rm(size), hasOperand: true)
    }

    private mutating func testImmediate(_ size: UInt8) {
        let value = immediate(size)
        if size == 1 {
            return laySlowPath(
                .testImmediate, size: 1, b: rm(1), immediate: value, hasOperand: true)
        }
        let is32 = size == 2
        if isRegisterForm {
            lay(Operation(code: is32 ? .test32ri : .test8ri, a: rm(size), immediate: value))
        } else {
            layMemory(
                Operation(code: is32 ? .test32mi : .test8mi, immediate: value), is32 ? 4 : 1)
        }
    }

    private mutating func multiply(immediateSize: UInt8) {
        readModrm()
        let value = immediateSize == 0 ? nextSigned8() : immediate(immediateSize)
        if !isOperand32 {
            return laySlowPath(
                .multiplyImmediate, size: 1, a: reg(1), b: rm(1), immediate: value,
                hasOperand: true)
        }
        var record = Operation(code: .multiply32ri, a: reg(2), b: rm(2), immediate: value)
        if isRegisterForm { return lay(record) }
        record.code = .multiply32mi
        layMemory(record, 4)
    }

    /// Where a shift's count comes from.
    enum ShiftCount { case immediate, one, cl }

    private mutating func shift(_ size: UInt8, _ count: ShiftCount) {
        readModrm()
        let amount: UInt32 =
            switch count {
            case .immediate: UInt32(next8() & 31)
            case .one: 1
            case .cl: 0
            }
        if size == 2 && isRegisterForm && regField >= 4 {
            let isCl = count == .cl
            let code: Code =
                switch regField {
                case 5: isCl ? .shr32c : .shr32i
                case 7: isCl ? .sar32c : .sar32i
                default: isCl ? .shl32c : .shl32i
                }
            return lay(Operation(code: code, a: rm(2), immediate: amount))
        }
        if size == 2 && isRegisterForm && regField < 2 && count != .cl {
            let code: Code = regField == 0 ? .rol32i : .ror32i
            return lay(Operation(code: code, a: rm(2), immediate: amount))
        }
        let slowPath = SlowPath(rawValue: SlowPath.rol.rawValue + regField)!
        laySlowPath(
            slowPath, size: size, b: rm(size), immediate: amount, countInRegister: count == .cl,
            hasOperand: true)
    }

    // MARK: Moves

    private mutating func move(_ opcode: UInt8) {
        let size = size(opcode)
        readModrm()
        let toRegister = opcode & 2 != 0
        let (registers, loads, stores): (Code, Code, Code) =
            switch size {
            case 0: (.move8rr, .load8, .store8)
            case 1: (.move16rr, .load16, .store16)
            default: (.move32rr, .load32, .store32)
            }
        if isRegisterForm {
            let (a, b) = toRegister ? (reg(size), rm(size)) : (rm(size), reg(size))
            // A move to itself fills a gap.
            if a != b { lay(Operation(code: registers, a: a, b: b)) }
        } else if toRegister {
            layMemory(Operation(code: loads, a: reg(size)), 1 &<< size)
        } else {
            layMemory(Operation(code: stores, b: reg(size)), 1 &<< size, write: true)
        }
    }

    private mutating func moveOffset(_ opcode: UInt8) {
        let size = size(opcode)
        readOffset()
        let codes: (Code, Code) =
            switch size {
            case 0: (.load8, .store8)
            case 1: (.load16, .store16)
            default: (.load32, .store32)
            }
        if opcode & 2 == 0 {
            layMemory(Operation(code: codes.0, a: 0), 1 &<< size)
        } else {
            layMemory(Operation(code: codes.1, b: 0), 1 &<< size, write: true)
        }
    }

    private mutating func moveImmediate(_ register: UInt8, _ size: UInt8) {
        let value = immediate(size)
        if size == 1 {
            return laySlowPath(.moveImmediate, size: 1, b: register, immediate: value)
        }
        lay(
            Operation(code: size == 2 ? .move32ri : .move8ri, a: register, immediate: value))
    }

    private mutating func moveImmediateToOperand(_ size: UInt8) {
        readModrm()
        let value = immediate(size)
        guard regField == 0 else { return undefined() }
        if size == 1 {
            return laySlowPath(
                .moveImmediate, size: 1, b: rm(1), immediate: value, hasOperand: true)
        }
        let is32 = size == 2
        if isRegisterForm {
            lay(Operation(code: is32 ? .move32ri : .move8ri, a: rm(size), immediate: value))
        } else {
            layMemory(
                Operation(code: is32 ? .store32i : .store8i, immediate: value), is32 ? 4 : 1,
                write: true)
        }
    }

    private mutating func exchange(_ size: UInt8) {
        readModrm()
        allowLock()
        if size == 2 && isRegisterForm {
            return lay(Operation(code: .exchange32rr, a: rm(2), b: reg(2)))
        }
        laySlowPath(.exchange, size: size, a: reg(size), b: rm(size), hasOperand: true)
    }

    private mutating func exchange(withAccumulator number: UInt8) {
        let register = Decoder.register(number, 2)
        if isOperand32 { return lay(Operation(code: .exchange32rr, a: 0, b: register)) }
        laySlowPath(.exchange, size: 1, a: 0, b: register)
    }

    private mutating func lea() {
        readModrm()
        guard !isRegisterForm else { return undefined() }
        if isOperand32 && isAddress32 {
            var record = Operation(code: .lea, a: reg(2))
            addMemory(to: &record)
            if record.index == Slot.zero { record.code = .lea0 }
            // Compilers fill gaps with those that change nothing, and functions begin with one.
            let isNothing =
                record.code == .lea0 && record.base == record.a && record.displacement == 0
            if !isNothing { lay(record) }
            return
        }
        laySlowPath(.lea, size: wordSize, a: reg(2), hasOperand: true)
    }

    private mutating func extendToDx() {
        if isOperand32 { return lay(Operation(code: .doubleWord)) }
        laySlowPath(.extendToDx, size: 1)
    }

    private mutating func boundOrPointer(_ slowPath: SlowPath, segment: UInt8) {
        readModrm()
        guard !isRegisterForm else { return undefined() }
        laySlowPath(slowPath, size: wordSize, a: reg(2), b: segment, hasOperand: true)
        endBlock()
    }

    // MARK: Segment registers

    private mutating func moveFromSegment() {
        readModrm()
        guard regField < 6 else { return undefined() }
        // A register gets the selector at the operand's size, memory gets 16 bits.
        let size = isRegisterForm ? wordSize : 1
        laySlowPath(.moveFromSegment, size: size, a: regField, b: rm(2), hasOperand: true)
    }

    private mutating func moveToSegment() {
        readModrm()
        guard regField < 6, regField != 1 else { return undefined() }
        laySlowPath(.moveToSegment, size: 1, a: regField, b: rm(2), hasOperand: true)
        if regField < 4 { endBlock() }
    }

    mutating func pushSegment(_ segment: UInt8) {
        laySlowPath(.pushSegment, size: wordSize, a: segment & 7)
    }

    mutating func popSegment(_ segment: UInt8) {
        laySlowPath(.popSegment, size: wordSize, a: segment & 7)
        if segment & 7 < 4 { endBlock() }
    }

    // MARK: Stack

    private mutating func push(register number: UInt8) {
        let register = Decoder.register(number, 2)
        if isOperand32 && hasPlainStack {
            return lay(Operation(code: .push32r, b: register))
        }
        laySlowPath(.pushRegister, size: wordSize, b: register)
    }

    private mutating func pop(register number: UInt8) {
        let register = Decoder.register(number, 2)
        if isOperand32 && hasPlainStack { return lay(Operation(code: .pop32r, a: register)) }
        laySlowPath(.popRegister, size: wordSize, b: register)
    }

    private mutating func push(immediate value: UInt32) {
        if isOperand32 && hasPlainStack {
            return lay(Operation(code: .push32i, immediate: value))
        }
        laySlowPath(.pushImmediate, size: wordSize, immediate: value)
    }

    private mutating func popOperand() {
        readModrm()
        guard regField == 0 else { return undefined() }
        if isRegisterForm { return pop(register: modrm & 7) }
        laySlowPath(.popMemory, size: wordSize, hasOperand: true)
    }

    private mutating func enter() {
        let frame = UInt32(next16())
        laySlowPath(.enter, size: wordSize, immediate: frame | UInt32(next8()) &<< 16)
    }

    private mutating func leave() {
        if isOperand32 && hasPlainStack { return lay(Operation(code: .leave32)) }
        laySlowPath(.leave, size: wordSize)
    }

    // MARK: Control

    /// Near branches of 32 bits where no target is beyond the code segment's limit.
    private var hasPlainTarget: Bool { isOperand32 && mode & BlockMode.openCode != 0 }

    mutating func jump(if condition: UInt8, distance: UInt32) {
        defer { endBlock() }
        guard hasPlainTarget else {
            return laySlowPath(.jumpIf, size: wordSize, a: condition, immediate: distance)
        }
        let target = target(distance)
        if fuse(condition: condition, target: target) { return }
        lay(
            Operation(
                code: Code(rawValue: Code.jo.rawValue + condition)!, displacement: target))
    }

    private mutating func countedJump(_ code: Code, _ slowPath: SlowPath, _ distance: UInt32) {
        guard hasPlainTarget && isAddress32 else { return lastSlowPath(slowPath, distance) }
        lay(Operation(code: code, displacement: target(distance)))
        endBlock()
    }

    private mutating func jumpNear(_ distance: UInt32) {
        defer { endBlock() }
        guard hasPlainTarget else {
            return laySlowPath(.jumpNear, size: wordSize, immediate: distance)
        }
        lay(Operation(code: .jump, displacement: target(distance)))
    }

    private mutating func callNear(_ distance: UInt32) {
        defer { endBlock() }
        guard hasPlainTarget && hasPlainStack else {
            return laySlowPath(.callNear, size: wordSize, immediate: distance)
        }
        lay(Operation(code: .callNear, displacement: target(distance)))
    }

    private mutating func returnNear(releasing count: UInt32) {
        defer { endBlock() }
        guard hasPlainTarget && hasPlainStack else {
            return laySlowPath(.returnNear, size: wordSize, immediate: count)
        }
        lay(Operation(code: count == 0 ? .returnNear : .returnPopping, immediate: count))
    }

    private mutating func farImmediate(_ slowPath: SlowPath) {
        let offset = immediate(wordSize)
        var record = Operation(code: .slowPath, aux: slowPath.rawValue, immediate: offset)
        record.displacement = UInt32(next16())
        record.shape.size = wordSize
        lay(record)
        endBlock()
    }

    private mutating func group4() {
        readModrm()
        guard regField < 2 else { return undefined() }
        allowLock()
        laySlowPath(regField == 0 ? .inc : .dec, size: 0, b: rm(0), hasOperand: true)
    }

    private mutating func group5() {
        readModrm()
        switch regField {
        case 0, 1: stepOperand(isDec: regField == 1)
        case 2: indirect(plain: hasPlainStack, .callRegister, .callMemory, .callIndirect)
        case 3: farMemory(.callFarMemory)
        case 4: indirect(plain: true, .jumpRegister, .jumpMemory, .jumpIndirect)
        case 5: farMemory(.jumpFarMemory)
        case 6: pushOperand()
        default: undefined()
        }
    }

    private mutating func stepOperand(isDec: Bool) {
        allowLock()
        if !isOperand32 {
            laySlowPath(isDec ? .dec : .inc, size: 1, b: rm(1), hasOperand: true)
        } else if isRegisterForm {
            lay(Operation(code: isDec ? .dec32r : .inc32r, a: rm(2)))
        } else {
            layMemory(Operation(code: isDec ? .dec32m : .inc32m), 4, write: true)
        }
    }

    private mutating func indirect(
        plain: Bool, _ register: Code, _ memory: Code, _ slowPath: SlowPath
    ) {
        defer { endBlock() }
        guard hasPlainTarget && plain else {
            return laySlowPath(slowPath, size: wordSize, b: rm(2), hasOperand: true)
        }
        if isRegisterForm { return lay(Operation(code: register, b: rm(2))) }
        layMemory(Operation(code: memory), 4)
    }

    private mutating func farMemory(_ slowPath: SlowPath) {
        guard !isRegisterForm else { return undefined() }
        laySlowPath(slowPath, size: wordSize, hasOperand: true)
        endBlock()
    }

    private mutating func pushOperand() {
        if isRegisterForm { return push(register: modrm & 7) }
        if isOperand32 && hasPlainStack { return layMemory(Operation(code: .push32m), 4) }
        laySlowPath(.pushMemory, size: wordSize, hasOperand: true)
    }

    private mutating func floatingPoint(_ opcode: UInt8) {
        readModrm()
        if !isRegisterForm && MemoryForm.isTruncating(opcode: opcode, modrm: modrm) {
            return undefined()
        }
        laySlowPath(
            .floatingPoint, size: wordSize,
            immediate: UInt32(opcode) | UInt32(modrm) &<< 8, hasOperand: true)
    }
}
