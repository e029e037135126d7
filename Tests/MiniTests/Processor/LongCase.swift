// Cases of the 64-bit differential test, made of chance: a sequence of instructions with the registers that it starts from.
// What an instruction leaves undefined nobody reads, and nobody compares.
//
// Sources: AMD64 Architecture Programmer's Manual volume 3; Intel SDM volume 1, appendix A for the flags.

@testable import Mini

struct LongCase {
    var registers: [UInt64]
    var vectors: [UInt64]
    var control: UInt32
    var rip: UInt64
    var flags: UInt64
    var code: [UInt8] = []
    /// Of the end, and of any place before it.
    var undefined: UInt32 = 0
    var everUndefined: UInt32 = 0
    var names: [String] = []
    var starts: [Int] = []
    var seed: UInt64 = 0
    /// Instructions left out because the machine's own processor does not have them.
    var skipped = 0
}

struct LongRandom {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
    mutating func below(_ count: Int) -> Int { Int(next() % UInt64(count)) }
    mutating func one<Element>(_ of: [Element]) -> Element { of[below(of.count)] }
    mutating func chance(_ of: Int) -> Bool { below(of) == 0 }
}

struct LongGenerator {
    enum Bit {
        static let c: UInt32 = 1
        static let p: UInt32 = 4
        static let a: UInt32 = 0x10
        static let z: UInt32 = 0x40
        static let s: UInt32 = 0x80
        static let o: UInt32 = 0x800
        static let all: UInt32 = 0x8D5
    }

    var random: LongRandom
    private var test: LongCase
    /// Of what kind most words of the vectors are; nil for all kinds.
    private var kind: LongWord?
    private var hasAlignedPointers = false

    /// - Parameter isLevel: most instructions are those that `HostFeature` names.
    static func make(seed: UInt64, atMost: Int = 12, isLevel: Bool = false) -> LongCase {
        var generator = LongGenerator(seed)
        let count = 1 + generator.random.below(atMost)
        while generator.test.names.count + generator.test.skipped < count
            && generator.test.code.count < 190
        {
            if isLevel && !generator.random.chance(4) {
                generator.levelInstruction()
            } else {
                generator.instruction()
            }
        }
        generator.test.code.append(0xCC)
        return generator.test
    }

    private init(_ seed: UInt64) {
        random = LongRandom(state: seed)
        test = LongCase(registers: [], vectors: [], control: 0x1F80, rip: 0, flags: 0x202)
        test.seed = seed
        hasAlignedPointers = random.chance(2)
        if random.chance(2) { kind = random.one(LongWord.allCases) }
        for register in 0..<16 {
            test.registers.append(
                [3, 4, 5, 6, 7, 12, 13].contains(register) ? pointer(register == 4) : value())
        }
        for _ in 0..<32 { test.vectors.append(vectorWord()) }
        // Rounding, flush to zero, denormals are zero; now and then something unmasked.
        test.control |= UInt32(random.below(4)) << 13
        if random.chance(8) { test.control |= 0x8000 }
        if random.chance(8) { test.control |= 0x40 }
        if random.chance(8) { test.control &= ~(UInt32(random.below(64)) << 7) }
        if random.chance(4) { test.control |= UInt32(random.below(64)) }
        test.flags |= UInt64(UInt32(random.next() & 0xFFF) & Bit.all)
        if random.chance(8) { test.flags |= 0x400 }
        // Now and then over the end of its page.
        test.rip = LongPlace.code + UInt64(random.below(0x800))
    }

    // MARK: Values

    private mutating func pointer(_ isStack: Bool) -> UInt64 {
        if isStack { return LongPlace.data + 0x1000 + UInt64(random.below(0x40) * 8) }
        var offset = UInt64(random.below(0x1E00) + 0x80)
        if hasAlignedPointers || random.chance(2) { offset &= ~15 }
        if random.chance(16) { offset = 0x1000 - UInt64(random.below(16)) }
        if random.chance(64) { offset = 0x2000 - UInt64(random.below(24)) }
        return LongPlace.data + offset
    }

    mutating func value() -> UInt64 {
        switch random.below(8) {
        case 0: UInt64(random.below(256))
        case 1: UInt64(bitPattern: -Int64(random.below(256)))
        case 2: 1 << UInt64(random.below(64))
        case 3: (1 << UInt64(random.below(64))) &- 1
        case 4: UInt64(UInt32(truncatingIfNeeded: random.next()))
        case 5: UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: random.next())))
        default: random.next()
        }
    }

    private mutating func vectorWord() -> UInt64 {
        func single(_ random: inout LongRandom) -> UInt32 {
            switch random.below(8) {
            case 0: 0
            case 1: 0x8000_0000
            case 2: 0x7F80_0000 | UInt32(random.below(2)) << 31
            case 3: 0x7FC0_0000 | UInt32(random.below(1 << 20))
            case 4: 0x7F80_0001 | UInt32(random.below(1 << 20))
            case 5: UInt32(random.below(1 << 22))
            case 6: Float(random.below(2000) - 1000).bitPattern
            default: UInt32(truncatingIfNeeded: random.next())
            }
        }
        if let kind, !random.chance(4) { return kind.make(&random) }
        switch random.below(5) {
        case 0: return random.next()
        case 1: return random.one(LongWord.allCases).make(&random)
        case 2: return UInt64(single(&random)) | UInt64(single(&random)) << 32
        default:
            switch random.below(8) {
            case 0: return UInt64(random.below(2)) << 63
            case 1: return 0x7FF0_0000_0000_0000 | UInt64(random.below(2)) << 63
            case 2: return 0x7FF8_0000_0000_0000 | UInt64(random.below(1 << 30))
            case 3: return 0x7FF0_0000_0000_0001 | UInt64(random.below(1 << 30))
            case 4: return UInt64(random.below(1 << 40))
            default: return Double(random.below(200_000) - 100_000).bitPattern &+ random.next() % 3
            }
        }
    }

    // MARK: Encoding

    /// A register or memory operand, to be encoded with a register number.
    struct Operand {
        var register: Int?
        var base = 0
        var index: Int?
        var scale = 0
        var displacement: Int32 = 0
        var isRelative = false
    }

    mutating func anyRegister() -> Int {
        let register = random.below(16)
        return register == 4 ? 0 : register
    }

    /// Not one that the others point with.
    mutating func target() -> Int { random.one([0, 1, 2, 8, 9, 10, 11, 14, 15, 0, 2]) }

    mutating func memory(align: Bool = false) -> Operand {
        var operand = Operand()
        if random.chance(6) {
            operand.isRelative = true
            operand.displacement = Int32(random.below(0x1F00) & (align ? ~15 : ~0))
            return operand
        }
        operand.base = random.one([3, 4, 5, 6, 7, 12, 13])
        switch random.below(3) {
        case 0: operand.displacement = 0
        case 1: operand.displacement = Int32(random.below(256) - 128)
        default: operand.displacement = Int32(random.below(1024) - 512)
        }
        if align && !random.chance(10) { operand.displacement &= ~15 }
        if random.chance(12) {
            operand.index = random.one([0, 1, 2, 8, 9])
            operand.scale = random.below(4)
        }
        return operand
    }

    mutating func registerOrMemory(_ register: Int? = nil) -> Operand {
        if random.chance(3) { return memory() }
        return Operand(register: register ?? anyRegister())
    }

    /// Appends an instruction: size 0 for 8 bits to 3 for 64.
    mutating func encode(
        _ name: String, prefix: [UInt8] = [], size: Int, opcode: [UInt8], register: Int,
        _ operand: Operand, immediate: [UInt8] = [], wide: Bool? = nil, byteRegisters: Bool = false
    ) {
        begin(name)
        var bytes = prefix
        if size == 1 { bytes.append(0x66) }
        var rex: UInt8 = 0
        if wide ?? (size == 3) { rex |= 0x48 }
        if register >= 8 { rex |= 0x44 }
        if let other = operand.register {
            if other >= 8 { rex |= 0x41 }
        } else if !operand.isRelative {
            if operand.base >= 8 { rex |= 0x41 }
            if let index = operand.index, index >= 8 { rex |= 0x42 }
        }
        if byteRegisters && rex == 0 && random.chance(2) { rex = 0x40 }
        if rex != 0 { bytes.append(rex) }
        bytes += opcode
        let middle = UInt8(register & 7) << 3
        if let other = operand.register {
            bytes.append(0xC0 | middle | UInt8(other & 7))
        } else if operand.isRelative {
            bytes.append(middle | 5)
            let end = test.rip + UInt64(test.code.count + bytes.count + 4 + immediate.count)
            let distance = LongPlace.data &+ UInt64(operand.displacement) &- end
            append(&bytes, UInt32(truncatingIfNeeded: distance), 4)
        } else {
            let needsIndex = operand.index != nil || operand.base & 7 == 4
            let isShort =
                operand.displacement == Int32(Int8(truncatingIfNeeded: operand.displacement))
            let mod: UInt8 =
                operand.displacement == 0 && operand.base & 7 != 5 ? 0 : isShort ? 0x40 : 0x80
            bytes.append(mod | middle | (needsIndex ? 4 : UInt8(operand.base & 7)))
            if needsIndex {
                let index = UInt8((operand.index ?? 4) & 7)
                bytes.append(UInt8(operand.scale) << 6 | index << 3 | UInt8(operand.base & 7))
            }
            if mod != 0 {
                append(
                    &bytes, UInt32(bitPattern: operand.displacement), mod == 0x40 ? 1 : 4)
            }
        }
        test.code += bytes + immediate
    }

    private mutating func begin(_ name: String) {
        test.names.append(name)
        test.starts.append(test.code.count)
    }

    mutating func plain(_ name: String, _ bytes: [UInt8]) {
        begin(name)
        test.code += bytes
    }

    mutating func skip() { test.skipped += 1 }

    func append(_ bytes: inout [UInt8], _ value: UInt32, _ count: Int) {
        for byte in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * byte))) }
    }

    mutating func immediate(_ size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        let value = UInt32(truncatingIfNeeded: value())
        append(&bytes, value, size == 0 ? 1 : size == 1 ? 2 : 4)
        return bytes
    }

    // MARK: Flags

    mutating func flags(defines: UInt32 = 0, undefines: UInt32 = 0) {
        test.undefined = test.undefined & ~defines | undefines
        test.everUndefined |= undefines
    }

    private func mayRead(_ flags: UInt32) -> Bool { test.undefined & flags == 0 }

    private static func read(by condition: Int) -> UInt32 {
        switch condition >> 1 {
        case 0: Bit.o
        case 1: Bit.c
        case 2: Bit.z
        case 3: Bit.c | Bit.z
        case 4: Bit.s
        case 5: Bit.p
        case 6: Bit.s | Bit.o
        default: Bit.s | Bit.o | Bit.z
        }
    }

    // MARK: Instructions

    private mutating func instruction() {
        switch random.below(39) {
        case 0...4: arithmetic()
        case 5: testBits()
        case 6, 7: shift()
        case 8: unary()
        case 9: multiply()
        case 10: bits()
        case 11, 12: move()
        case 13: extend()
        case 14: conditional()
        case 15: stack()
        case 16: exchange()
        case 17: string()
        case 18: jump()
        case 19: simple()
        case 20...22: vectorMove()
        case 23, 24: vectorInteger()
        case 25, 26: vectorArithmetic()
        case 27: multimedia()
        case 28: vectorOther()
        default: levelInstruction()
        }
    }

    private mutating func arithmetic() {
        let number = random.below(8)
        let name = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"][number]
        if (number == 2 || number == 3) && !mayRead(Bit.c) { return }
        let size = random.below(4)
        let base = UInt8(number * 8)
        let byte: UInt8 = size == 0 ? 0 : 1
        switch random.below(4) {
        case 0:
            encode(
                name, size: size, opcode: [base | byte], register: anyRegister(),
                registerOrMemory(target()), byteRegisters: size == 0)
        case 1:
            encode(
                name, size: size, opcode: [base | 2 | byte], register: target(),
                registerOrMemory(), byteRegisters: size == 0)
        case 2:
            encode(
                name, size: size, opcode: [0x80 | byte], register: number,
                registerOrMemory(target()), immediate: immediate(size), byteRegisters: size == 0)
        default:
            if size == 0 { return }
            encode(
                name, prefix: [], size: size, opcode: [0x83], register: number,
                registerOrMemory(target()), immediate: immediate(0))
        }
        let isLogic = [1, 4, 6].contains(number)
        flags(defines: Bit.all, undefines: isLogic ? Bit.a : 0)
    }

    private mutating func testBits() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        if random.chance(2) {
            encode(
                "test", size: size, opcode: [0x84 | byte], register: anyRegister(),
                registerOrMemory(), byteRegisters: size == 0)
        } else {
            encode(
                "test", size: size, opcode: [0xF6 | byte], register: 0, registerOrMemory(),
                immediate: immediate(size), byteRegisters: size == 0)
        }
        flags(defines: Bit.all, undefines: Bit.a)
    }

    private mutating func shift() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        if random.chance(5) && size >= 2 {
            let byCount = random.chance(2)
            encode(
                "shld/shrd", size: size,
                opcode: [0x0F, random.one([0xA4, 0xAC]) | (byCount ? 1 : 0)],
                register: anyRegister(), registerOrMemory(target()),
                immediate: byCount ? [] : immediate(0))
            return flags(undefines: Bit.a | Bit.o)
        }
        let number = random.below(8)
        if (number == 2 || number == 3) && !mayRead(Bit.c) { return }
        let name = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"][number]
        switch random.below(3) {
        case 0:
            encode(
                name, size: size, opcode: [0xD0 | byte], register: number,
                registerOrMemory(target()), byteRegisters: size == 0)
            return flags(
                defines: number < 4 ? Bit.c | Bit.o : Bit.all, undefines: number < 4 ? 0 : Bit.a)
        case 1:
            encode(
                name, size: size, opcode: [0xD2 | byte], register: number,
                registerOrMemory(target()), byteRegisters: size == 0)
        default:
            encode(
                name, size: size, opcode: [0xC0 | byte], register: number,
                registerOrMemory(target()), immediate: immediate(0), byteRegisters: size == 0)
        }
        let open = number < 4 ? Bit.o : Bit.a | Bit.o | (size < 2 ? Bit.c : 0)
        flags(undefines: open)
    }

    private mutating func unary() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        switch random.below(4) {
        case 0:
            encode(
                "not", size: size, opcode: [0xF6 | byte], register: 2, registerOrMemory(target()),
                byteRegisters: size == 0)
        case 1:
            encode(
                "neg", size: size, opcode: [0xF6 | byte], register: 3, registerOrMemory(target()),
                byteRegisters: size == 0)
            flags(defines: Bit.all)
        default:
            encode(
                "inc/dec", size: size, opcode: [0xFE | byte], register: random.below(2),
                registerOrMemory(target()), byteRegisters: size == 0)
            flags(defines: Bit.all & ~Bit.c)
        }
    }

    private mutating func multiply() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        let others = Bit.all & ~(Bit.c | Bit.o)
        switch random.below(4) {
        case 0 where size > 0:
            encode(
                "imul", size: size, opcode: [0x0F, 0xAF], register: target(), registerOrMemory())
        case 1 where size > 0:
            let isByte = random.chance(2)
            encode(
                "imul", size: size, opcode: [isByte ? 0x6B : 0x69], register: target(),
                registerOrMemory(), immediate: immediate(isByte ? 0 : size))
        case 2:
            if random.chance(2) {
                // Small numbers divide more often.
                plain("xor edx, edx", [0x31, 0xD2])
                flags(defines: Bit.all, undefines: Bit.a)
            }
            encode(
                "div", size: size, opcode: [0xF6 | byte], register: 6 + random.below(2),
                registerOrMemory(), byteRegisters: size == 0)
            return flags(undefines: Bit.all)
        default:
            encode(
                "mul", size: size, opcode: [0xF6 | byte], register: 4 + random.below(2),
                registerOrMemory(), byteRegisters: size == 0)
        }
        flags(defines: Bit.c | Bit.o, undefines: others)
    }

    private mutating func bits() {
        let size = 1 + random.below(3)
        switch random.below(3) {
        case 0:
            let number = random.below(4)
            encode(
                "bt", size: size, opcode: [0x0F, 0xBA], register: 4 + number,
                registerOrMemory(target()), immediate: immediate(0))
        case 1:
            let operand = random.chance(8) ? memory() : Operand(register: target())
            encode(
                "bt", size: size, opcode: [0x0F, 0xA3 | UInt8(random.below(4) << 3)],
                register: random.one([0, 1, 2]), operand)
        default:
            encode(
                "bsf/bsr", size: size, opcode: [0x0F, random.one([0xBC, 0xBD])], register: target(),
                registerOrMemory())
            return flags(defines: Bit.z, undefines: Bit.all & ~Bit.z)
        }
        flags(defines: Bit.c, undefines: Bit.o | Bit.s | Bit.a | Bit.p)
    }

    private mutating func move() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        switch random.below(6) {
        case 0, 1:
            encode(
                "mov to", size: size, opcode: [0x8A | byte], register: target(), registerOrMemory(),
                byteRegisters: size == 0)
        case 2, 3:
            encode(
                "mov from", size: size, opcode: [0x88 | byte], register: anyRegister(),
                registerOrMemory(target()), byteRegisters: size == 0)
        case 4:
            encode(
                "mov imm", size: size, opcode: [0xC6 | byte], register: 0,
                registerOrMemory(target()), immediate: immediate(size), byteRegisters: size == 0)
        default:
            if random.chance(3) {
                var bytes: [UInt8] = [0x48, 0xB8]
                let register = random.below(3)
                bytes[1] |= UInt8(register)
                let value = value()
                append(&bytes, UInt32(truncatingIfNeeded: value), 4)
                append(&bytes, UInt32(truncatingIfNeeded: value >> 32), 4)
                return plain("mov imm64", bytes)
            }
            if size == 0 { return }
            encode("lea", size: size, opcode: [0x8D], register: target(), memory())
        }
    }

    private mutating func extend() {
        let size = 1 + random.below(3)
        if random.chance(4) {
            return encode(
                "movsxd", size: 3, opcode: [0x63], register: target(), registerOrMemory())
        }
        encode(
            "movzx/movsx", size: size, opcode: [0x0F, random.one([0xB6, 0xB7, 0xBE, 0xBF])],
            register: target(), registerOrMemory(), byteRegisters: true)
    }

    private mutating func conditional() {
        let condition = random.below(16)
        guard mayRead(Self.read(by: condition)) else { return }
        if random.chance(2) {
            encode(
                "setcc", size: 0, opcode: [0x0F, 0x90 | UInt8(condition)], register: 0,
                registerOrMemory(target()), byteRegisters: true)
        } else {
            encode(
                "cmov", size: 1 + random.below(3), opcode: [0x0F, 0x40 | UInt8(condition)],
                register: target(), registerOrMemory())
        }
    }

    private mutating func stack() {
        switch random.below(6) {
        case 0: plain("push", [0x50 | UInt8(random.below(8))])
        case 1: plain("pop", [0x41, 0x58 | UInt8(random.below(4))])
        case 2: encode("push m", size: 2, opcode: [0xFF], register: 6, memory())
        case 3: encode("pop m", size: 2, opcode: [0x8F], register: 0, memory())
        case 4:
            let bytes = immediate(2)
            plain("push imm", [0x68] + bytes)
        default:
            if random.chance(2) { return plain("push16", [0x66, 0x50 | UInt8(random.below(8))]) }
            plain("enter", [0xC8, UInt8(random.below(64)), 0, UInt8(random.below(3))])
        }
    }

    private mutating func exchange() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        switch random.below(5) {
        case 0:
            encode(
                "xchg", size: size, opcode: [0x86 | byte], register: target(),
                registerOrMemory(target()), byteRegisters: size == 0)
        case 1:
            encode(
                "xadd", size: size, opcode: [0x0F, 0xC0 | byte], register: target(),
                registerOrMemory(target()), byteRegisters: size == 0)
            flags(defines: Bit.all)
        case 2:
            encode(
                "cmpxchg", size: size, opcode: [0x0F, 0xB0 | byte], register: target(),
                registerOrMemory(target()), byteRegisters: size == 0)
            flags(defines: Bit.all)
        case 3:
            encode(
                "movnti", size: size < 3 ? 2 : 3, opcode: [0x0F, 0xC3], register: target(),
                memory())
        default:
            encode("cmpxchg8b", size: 2, opcode: [0x0F, 0xC7], register: 1, memory())
            flags(defines: Bit.z)
        }
    }

    private mutating func string() {
        let size = random.below(4)
        let byte: UInt8 = size == 0 ? 0 : 1
        let base = random.one([0xA4, 0xA6, 0xAA, 0xAC, 0xAE] as [UInt8])
        var bytes: [UInt8] = []
        if random.chance(2) {
            plain("mov ecx", [0xB9, UInt8(random.below(24)), 0, 0, 0])
            bytes.append(random.chance(3) ? 0xF2 : 0xF3)
        }
        if size == 1 { bytes.append(0x66) }
        if size == 3 { bytes.append(0x48) }
        bytes.append(base | byte)
        plain(base == 0xA6 ? "cmps" : base == 0xAE ? "scas" : "string", bytes)
        if base == 0xA6 || base == 0xAE {
            // Repeated no times they leave the flags alone.
            if bytes[0] >= 0xF2 { flags() } else { flags(defines: Bit.all) }
        }
    }

    private mutating func jump() {
        let condition = random.below(16)
        guard mayRead(Self.read(by: condition)) else { return }
        // Over one instruction.
        begin("jcc")
        test.code += [0x70 | UInt8(condition), 0]
        let place = test.code.count
        let before = test.undefined
        let names = test.names.count
        while test.names.count == names { arithmetic() }
        test.undefined |= before
        test.code[place - 1] = UInt8(test.code.count - place)
    }

    private mutating func simple() {
        switch random.below(10) {
        case 0: plain("cbw", random.one([[0x98], [0x66, 0x98], [0x48, 0x98]]))
        case 1: plain("cwd", random.one([[0x99], [0x66, 0x99], [0x48, 0x99]]))
        case 2:
            if mayRead(Bit.all & ~Bit.o) { plain("lahf", [0x9F]) }
        case 3:
            plain("sahf", [0x9E])
            flags(defines: Bit.all & ~Bit.o)
        case 4:
            plain("clc/stc", [random.one([0xF8, 0xF9])])
            flags(defines: Bit.c)
        case 5:
            if mayRead(Bit.c) { plain("cmc", [0xF5]) }
        case 6:
            plain(
                "bswap", [0x48 | UInt8(random.below(2) * 1), 0x0F, 0xC8 | UInt8(random.below(3))])
        case 7: plain("cld/std", [random.one([0xFC, 0xFC, 0xFD])])
        case 8: plain("call", [0xE8, 0, 0, 0, 0])
        default:
            if mayRead(Bit.all) { plain("pushf", [0x9C]) }
        }
    }
}
