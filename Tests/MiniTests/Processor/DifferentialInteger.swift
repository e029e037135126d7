// The integer instructions of the differential test. The flags that each leaves undefined are
// here and nowhere else; so are results that are undefined, which are simply not generated:
// BSWAP of 16 bits, SHLD and SHRD of 16 bits by more than 16.

extension CaseGenerator {
    /// Appends one instruction of any kind but x87, perhaps with others that prepare it.
    mutating func instruction() {
        switch random.below(100) {
        case 0..<14: arithmetic()
        case 14..<18: unary()
        case 18..<27: move()
        case 27..<30: extend()
        case 30..<33: loadAddress()
        case 33..<42: shift()
        case 42..<45: doubleShift()
        case 45..<50: multiply()
        case 50..<53: divide()
        case 53..<56: decimal()
        case 56..<61: bitTest()
        case 61..<63: bitScan()
        case 63..<67: exchange()
        case 67..<70: conditional()
        case 70..<76: string()
        case 76..<78: flags()
        case 78..<80: convert()
        default: controlInstruction()
        }
    }

    private mutating func arithmetic() {
        let names = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"]
        let kind = random.below(9)
        // TEST is the ninth.
        if kind == 8 { return test() }
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        let base = UInt8(kind << 3)
        let uses = kind == 2 || kind == 3 ? FlagBit.carry : 0
        let undefines = kind == 1 || kind == 4 || kind == 6 ? FlagBit.adjust : 0
        let defines = FlagBit.all
        let name = names[kind]
        switch random.below(5) {
        case 0:
            let operand = kind == 7 ? source() : target(size: size)
            let lock = operand.register == nil && kind != 7 && random.chance(10)
            add(
                name, size: size, lock: lock, [base | wide], operand, reg: register(),
                uses: uses, defines: defines, undefines: undefines)
        case 1:
            let operand = source()
            let reg = kind == 7 ? register() : destination()
            if kind != 7 { forget(reg, size: size) }
            add(
                name, size: size, [base | 2 | wide], operand, reg: reg, uses: uses,
                defines: defines, undefines: undefines)
        case 2:
            if kind != 7 { forget(0) }
            add(
                name, prefix(size) + [base | 4 | wide] + immediate(size), uses: uses,
                defines: defines, undefines: undefines)
        default:
            let operand = kind == 7 ? source() : target(size: size)
            let short = size != 1 && random.chance(50)
            let opcode: UInt8 = size == 1 ? (random.chance(15) ? 0x82 : 0x80) : short ? 0x83 : 0x81
            let lock = operand.register == nil && kind != 7 && random.chance(10)
            add(
                name, size: size, lock: lock, [opcode], operand, reg: kind,
                immediate(short ? 1 : size), uses: uses, defines: defines, undefines: undefines)
        }
    }

    private mutating func test() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        switch random.below(3) {
        case 0:
            add(
                "test", size: size, [0x84 | wide], source(), reg: register(),
                defines: FlagBit.all, undefines: FlagBit.adjust)
        case 1:
            add(
                "test", prefix(size) + [0xA8 | wide] + immediate(size), defines: FlagBit.all,
                undefines: FlagBit.adjust)
        default:
            // /1 is an alias of /0.
            add(
                "test", size: size, [0xF6 | wide], source(), reg: random.below(2),
                immediate(size), defines: FlagBit.all, undefines: FlagBit.adjust)
        }
    }

    private mutating func unary() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        let allButCarry = FlagBit.all & ~FlagBit.carry
        switch random.below(4) {
        case 0:
            let register = destination()
            let size = wideSize()
            forget(register)
            add(
                "inc/dec", prefix(size) + [(random.chance(50) ? 0x40 : 0x48) | UInt8(register)],
                defines: allButCarry)
        case 1:
            let operand = target(size: size)
            add(
                "inc/dec", size: size, lock: operand.register == nil && random.chance(10),
                [0xFE | wide], operand, reg: random.below(2), defines: allButCarry)
        case 2:
            let operand = target(size: size)
            add(
                "not", size: size, lock: operand.register == nil && random.chance(10),
                [0xF6 | wide], operand, reg: 2)
        default:
            let operand = target(size: size)
            add(
                "neg", size: size, lock: operand.register == nil && random.chance(10),
                [0xF6 | wide], operand, reg: 3, defines: FlagBit.all)
        }
    }

    private mutating func move() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        switch random.below(6) {
        case 0: add("mov", size: size, [0x88 | wide], target(size: size), reg: register())
        case 1:
            let operand = source(memory: 70)
            let reg = destination()
            forget(reg, size: size)
            add("mov", size: size, [0x8A | wide], operand, reg: reg)
        case 2:
            add(
                "mov", size: size, [0xC6 | wide], target(size: size), reg: 0, immediate(size))
        case 3:
            let register = destination()
            if size == 4 {
                let value = random.chance(40) ? dataAddress() : random.value()
                add("mov", [0xB8 | UInt8(register)] + bytes(value))
                known[register] = value
            } else {
                forget(register, size: size)
                add(
                    "mov",
                    prefix(size) + [(size == 1 ? 0xB0 : 0xB8) | UInt8(register)]
                        + immediate(size))
            }
        case 4:
            forget(0)
            add("mov", prefix(size) + [0xA0 | wide] + bytes(dataAddress()))
        default: add("mov", prefix(size) + [0xA2 | wide] + bytes(dataAddress()))
        }
    }

    private mutating func extend() {
        let operand = source()
        let reg = destination()
        forget(reg)
        let opcode = random.pick([0xB6, 0xB7, 0xBE, 0xBF] as [UInt8])
        add(
            "movzx/movsx", size: wideSize(), [0x0F, opcode], operand, reg: reg)
    }

    private mutating func loadAddress() {
        let reg = destination()
        let size = wideSize()
        if random.chance(25) {
            let tail = shortAddressing()
            forget(reg)
            return add("lea", size: size, [0x67, 0x8D], EncodedOperand(tail: tail), reg: reg)
        }
        let operand = addressing(wild: random.chance(70), address: dataAddress())
        forget(reg)
        add("lea", size: size, [0x8D], operand, reg: reg)
    }

    // MARK: shifts

    private mutating func shift() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        let kind = random.below(8)
        let names = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"]
        let throughCarry = kind == 2 || kind == 3
        switch random.below(3) {
        case 0:
            // By one: everything but AF is defined.
            let operand = target(size: size)
            add(
                names[kind], size: size, [0xD0 | wide], operand, reg: kind,
                uses: throughCarry ? FlagBit.carry : 0,
                defines: kind < 4 ? FlagBit.carry | FlagBit.overflow : FlagBit.all,
                undefines: kind < 4 ? 0 : FlagBit.adjust)
        case 1:
            let operand = target(size: size)
            let count = random.pick(
                [0, 1, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 255] as [UInt8])
            let effect = shiftEffect(kind, size, count: Int(count & 31))
            add(
                names[kind], size: size, [0xC0 | wide], operand, reg: kind, [count],
                uses: throughCarry ? FlagBit.carry : 0, defines: effect.defines,
                undefines: effect.undefines)
        default:
            if random.chance(60) {
                let count = random.pick([0, 1, 1, 2, 5, 8, 9, 16, 17, 24, 31, 32, 33])
                known[1] = nil
                add("mov", [0xB1, UInt8(count)])
            }
            let operand = target(size: size)
            // Any count, or none: what may be undefined is the sum of it all.
            add(
                names[kind], size: size, [0xD2 | wide], operand, reg: kind,
                uses: throughCarry ? FlagBit.carry : 0,
                undefines: kind < 4
                    ? FlagBit.overflow
                    : FlagBit.overflow | FlagBit.adjust
                        | (kind == 7 || size == 4 ? 0 : FlagBit.carry))
        }
    }

    /// By a count that is known, already taken modulo 32.
    private func shiftEffect(
        _ kind: Int, _ size: Int, count: Int
    ) -> (defines: UInt32, undefines: UInt32) {
        if count == 0 { return (0, 0) }
        let overflow = count == 1 ? 0 : FlagBit.overflow
        if kind < 4 {
            // A rotation through carry by a multiple of its length is none.
            let none = (kind == 2 || kind == 3) && count % (8 * size + 1) == 0
            return none ? (0, overflow) : (FlagBit.carry | FlagBit.overflow, overflow)
        }
        let carry = kind != 7 && count >= 8 * size ? FlagBit.carry : 0
        return (FlagBit.all, FlagBit.adjust | overflow | carry)
    }

    private mutating func doubleShift() {
        let size = wideSize()
        let left = random.chance(50)
        if random.chance(50) {
            let operand = target(size: size)
            let count =
                size == 2
                ? random.pick([0, 1, 2, 8, 15, 16, 32, 33] as [UInt8])
                : random.pick([0, 1, 2, 8, 16, 31, 32, 33, 255] as [UInt8])
            let masked = count & 31
            add(
                "shld/shrd", size: size, [0x0F, left ? 0xA4 : 0xAC], operand, reg: register(),
                [count], defines: masked == 0 ? 0 : FlagBit.all,
                undefines: masked == 0 ? 0 : FlagBit.adjust | (masked == 1 ? 0 : FlagBit.overflow))
        } else {
            known[1] = nil
            add("mov", [0xB1, UInt8(random.below(size == 2 ? 17 : 40))])
            let operand = target(size: size)
            // The operand's registers may be cl's; the count is what cl was before.
            add(
                "shld/shrd", size: size, [0x0F, left ? 0xA5 : 0xAD], operand, reg: register(),
                undefines: FlagBit.adjust | FlagBit.overflow)
        }
    }

    // MARK: multiplication and division

    private mutating func multiply() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        let undefines = FlagBit.sign | FlagBit.zero | FlagBit.adjust | FlagBit.parity
        switch random.below(4) {
        case 0...1:
            let operand = source()
            forget(0)
            if size != 1 { forget(2) }
            add(
                "mul/imul", size: size, [0xF6 | wide], operand, reg: 4 + random.below(2),
                defines: FlagBit.all, undefines: undefines)
        case 2:
            let operand = source()
            let reg = destination()
            forget(reg)
            add(
                "imul", size: wideSize(), [0x0F, 0xAF], operand, reg: reg, defines: FlagBit.all,
                undefines: undefines)
        default:
            let size = wideSize()
            let operand = source()
            let reg = destination()
            forget(reg)
            let short = random.chance(50)
            add(
                "imul", size: size, [short ? 0x6B : 0x69], operand, reg: reg,
                immediate(short ? 1 : size), defines: FlagBit.all, undefines: undefines)
        }
    }

    private mutating func divide() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        // Without preparation almost every quotient is too large.
        switch random.below(10) {
        case 0...3:
            known[2] = nil
            add("cdq", prefix(size) + [0x99])
        case 4...7:
            known[2] = nil
            add("mov", [0xBA] + bytes(UInt32(random.below(3))))
        default: break
        }
        if size == 1 && random.chance(70) {
            forget(0)
            add("mov", [0xB4, UInt8(random.below(4))])
        }
        let operand = source()
        forget(0)
        if size != 1 { forget(2) }
        add(
            "div/idiv", size: size, [0xF6 | wide], operand, reg: 6 + random.below(2),
            undefines: FlagBit.all)
    }

    private mutating func decimal() {
        forget(0)
        switch random.below(6) {
        case 0...1:
            add(
                "daa/das", [random.pick([0x27, 0x2F])], uses: FlagBit.carry | FlagBit.adjust,
                defines: FlagBit.all, undefines: FlagBit.overflow)
        case 2...3:
            add(
                "aaa/aas", [random.pick([0x37, 0x3F])], uses: FlagBit.adjust, defines: FlagBit.all,
                undefines: FlagBit.overflow | FlagBit.sign | FlagBit.zero | FlagBit.parity)
        case 4:
            let base = random.chance(50) ? 10 : UInt8(truncatingIfNeeded: random.value())
            add(
                "aam", [0xD4, base], defines: FlagBit.all,
                undefines: FlagBit.overflow | FlagBit.adjust | FlagBit.carry)
        default:
            let base = random.chance(50) ? 10 : UInt8(truncatingIfNeeded: random.value())
            add(
                "aad", [0xD5, base], defines: FlagBit.all,
                undefines: FlagBit.overflow | FlagBit.adjust | FlagBit.carry)
        }
    }

    // MARK: bits

    private mutating func bitTest() {
        let size = wideSize()
        let kind = random.below(4)
        let names = ["bt", "bts", "btr", "btc"]
        let undefines = FlagBit.overflow | FlagBit.sign | FlagBit.adjust | FlagBit.parity
        if random.chance(40) {
            let operand = kind == 0 ? source() : target(size: size)
            add(
                names[kind], size: size, lock: lockable(operand, kind != 0), [0x0F, 0xBA], operand,
                reg: 4 + kind, [UInt8(random.below(256))], defines: FlagBit.carry,
                undefines: undefines)
            return
        }
        // An offset in a register reaches beyond the operand: keep it near, mostly.
        let reg = destination()
        if random.chance(85) {
            let offset = UInt32(bitPattern: Int32(random.below(1000) - 500))
            known[reg] = offset
            add("mov", [0xB8 | UInt8(reg)] + bytes(offset))
        }
        let operand = kind == 0 ? source(memory: 70) : target(size: size, memory: 70)
        add(
            names[kind], size: size, lock: lockable(operand, kind != 0),
            [0x0F, 0xA3 | UInt8(kind << 3)], operand, reg: reg, defines: FlagBit.carry,
            undefines: undefines)
    }

    private mutating func lockable(_ operand: EncodedOperand, _ writes: Bool) -> Bool {
        writes && operand.register == nil && random.chance(10)
    }

    private mutating func bitScan() {
        let operand = source()
        let reg = destination()
        forget(reg)
        add(
            "bsf/bsr", size: wideSize(), [0x0F, random.pick([0xBC, 0xBD])], operand, reg: reg,
            defines: FlagBit.zero, undefines: FlagBit.all & ~FlagBit.zero)
    }

    // MARK: exchanges

    private mutating func exchange() {
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        switch random.below(7) {
        case 0:
            let operand = random.chance(50) ? aligned() : target(size: size, memory: 0)
            let reg = destination()
            forget(reg, size: size)
            add(
                "xchg", size: size, lock: operand.register == nil && random.chance(10),
                [0x86 | wide], operand, reg: reg)
        case 1:
            let register = destination()
            forget(register)
            forget(0)
            add("xchg", prefix(wideSize()) + [0x90 | UInt8(register)])
        case 2...3:
            let operand = target(size: size)
            forget(0)
            add(
                "cmpxchg", size: size, lock: operand.register == nil && random.chance(20),
                [0x0F, 0xB0 | wide], operand, reg: register(), defines: FlagBit.all)
        case 4:
            let operand = target(size: size)
            let reg = destination()
            forget(reg, size: size)
            add(
                "xadd", size: size, lock: operand.register == nil && random.chance(20),
                [0x0F, 0xC0 | wide], operand, reg: reg, defines: FlagBit.all)
        case 5:
            if random.chance(50) {
                // A chance of equality: edx:eax from the same place.
                let address = dataAddress()
                known[0] = nil
                known[2] = nil
                add("mov", [0xA1] + bytes(address))
                add("mov", [0x8B, 0x15] + bytes(address &+ 4))
                add(
                    "cmpxchg8b", lock: random.chance(20), [0x0F, 0xC7],
                    EncodedOperand(tail: [0x05] + bytes(address)), reg: 1, defines: FlagBit.zero)
            } else {
                let operand = memory(writing: true)
                add(
                    "cmpxchg8b", lock: random.chance(20), [0x0F, 0xC7], operand, reg: 1,
                    defines: FlagBit.zero)
            }
            forget(0)
            forget(2)
        default:
            let register = destination()
            forget(register)
            add("bswap", [0x0F, 0xC8 | UInt8(register)])
        }
    }

    // MARK: by condition

    private mutating func conditional() {
        let condition = random.below(16)
        let uses = FlagBit.read(by: condition)
        if random.chance(50) {
            add(
                "setcc", [0x0F, 0x90 | UInt8(condition)], target(size: 1), reg: random.below(8),
                uses: uses)
        } else {
            let operand = source()
            let reg = destination()
            forget(reg)
            add(
                "cmovcc", size: wideSize(), [0x0F, 0x40 | UInt8(condition)], operand, reg: reg,
                uses: uses)
        }
    }

    private mutating func flags() {
        switch random.below(10) {
        case 0: add("clc", [0xF8], defines: FlagBit.carry)
        case 1: add("stc", [0xF9], defines: FlagBit.carry)
        case 2: add("cmc", [0xF5], uses: FlagBit.carry, defines: FlagBit.carry)
        case 3...4: add("cld", [0xFC])
        case 5: add("std", [0xFD])
        case 6:
            forget(0)
            add("lahf", [0x9F], uses: FlagBit.all & ~FlagBit.overflow)
        case 7: add("sahf", [0x9E], defines: FlagBit.all & ~FlagBit.overflow)
        default:
            forget(0)
            add("salc", [0xD6], uses: FlagBit.carry)
        }
    }

    private mutating func convert() {
        switch random.below(4) {
        case 0:
            forget(0)
            add("cbw/cwde", prefix(wideSize()) + [0x98])
        case 1:
            forget(2)
            add("cwd/cdq", prefix(wideSize()) + [0x99])
        case 2:
            if random.chance(90) {
                known[3] = dataAddress()
                add("mov", [0xBB] + bytes(known[3]!))
            }
            forget(0)
            add("xlat", (random.chance(10) ? [0x36] : []) + [0xD7])
        default:
            // NOP, its long form, PAUSE.
            random.chance(50)
                ? add("nop", prefix(wideSize()) + [0x90])
                : random.chance(50)
                    ? add("nop", size: wideSize(), [0x0F, 0x1F], source(), reg: 0)
                    : add("pause", [0xF3, 0x90])
        }
    }

    // MARK: strings

    private mutating func string() {
        let kind = random.below(5)
        let names = ["movs", "cmps", "stos", "lods", "scas"]
        let size = size()
        let wide: UInt8 = size == 1 ? 0 : 1
        if random.chance(30) { add("cld/std", [random.chance(60) ? 0xFC : 0xFD]) }
        if kind != 2 && kind != 3 || random.chance(50) { loadPointer(7) }
        if kind == 2 { loadPointer(7) }
        if kind == 0 || kind == 1 || kind == 3 { loadPointer(6) }
        // Overlapping, close together.
        if kind == 0, random.chance(20), let start = known[6] {
            known[7] = start &+ UInt32(random.below(9)) &- 4
            add("mov", [0xBF] + bytes(known[7]!))
        }
        if (kind == 1 || kind == 4) && random.chance(40) { alike(kind, size) }
        var bytes: [UInt8] = []
        let compares = kind == 1 || kind == 4
        let repeats = random.chance(60)
        if repeats {
            if random.chance(90) {
                let count = random.chance(3) ? random.value() : UInt32(random.below(20))
                known[1] = nil
                add("mov", [0xB9] + self.bytes(count))
            }
            bytes.append(random.chance(50) ? 0xF2 : 0xF3)
            known[1] = nil
        }
        if kind != 2 && kind != 4 && random.chance(10) {
            bytes.append(random.pick([0x26, 0x36, 0x2E, 0x64, 0x65]))
        }
        // 16-bit si, di and cx reach nothing, but nothing need be reached when cx is 0.
        if random.chance(3) { bytes.append(0x67) }
        bytes += prefix(size)
        bytes.append([0xA4, 0xA6, 0xAA, 0xAC, 0xAE][kind] | wide)
        if kind == 3 { forget(0) }
        if kind != 3 && kind != 2 { forget(7) }
        if kind == 2 || kind == 4 { forget(7) }
        if kind == 0 || kind == 1 || kind == 3 { forget(6) }
        // With a count of 0 a repeated comparison changes no flag.
        add(
            (repeats ? "rep " : "") + names[kind], bytes,
            defines: compares && !repeats ? FlagBit.all : 0)
    }

    /// Points esi or edi into the data, mostly.
    private mutating func loadPointer(_ register: Int) {
        if random.chance(8) { return }
        let address = dataAddress()
        known[register] = address
        add("mov", [0xB8 | UInt8(register)] + bytes(address))
    }

    /// Makes what a comparison is about to see alike, so that it goes on for a while.
    private mutating func alike(_ kind: Int, _ size: Int) {
        if kind == 1 {
            known[7] = known[6]
            add("mov", [0x89, 0xF7])
        } else {
            known[0] = 0x7777_7777
            add("mov", [0xB8] + bytes(0x7777_7777))
            known[7] = CaseMemory.data + 0x2F00
            add("mov", [0xBF] + bytes(CaseMemory.data + 0x2F00))
        }
    }
}
