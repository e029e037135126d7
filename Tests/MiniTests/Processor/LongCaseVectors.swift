// The MMX, SSE and SSE2 of a case of the 64-bit differential test (LongCase.swift).

@testable import Mini

extension LongGenerator {
    mutating func vector(align: Bool = true) -> Operand {
        random.chance(3) ? memory(align: align) : Operand(register: random.below(16))
    }

    private mutating func sse(
        _ name: String, _ prefix: UInt8, _ opcode: UInt8, _ operand: Operand,
        _ immediate: [UInt8] = [],
        register: Int? = nil, wide: Bool = false
    ) {
        encode(
            "\(name) \(String(opcode, radix: 16))", prefix: prefix == 0 ? [] : [prefix], size: 2,
            opcode: [0x0F, opcode], register: register ?? random.below(16), operand,
            immediate: immediate, wide: wide)
    }

    mutating func vectorMove() {
        let (prefix, opcode): (UInt8, UInt8) = random.one([
            (0, 0x10), (0x66, 0x10), (0xF3, 0x10), (0xF2, 0x10), (0, 0x11), (0x66, 0x11),
            (0xF3, 0x11), (0xF2, 0x11), (0, 0x12), (0x66, 0x12), (0, 0x13), (0x66, 0x13), (0, 0x16),
            (0x66, 0x16), (0, 0x17), (0x66, 0x17), (0, 0x28), (0x66, 0x28), (0, 0x29), (0x66, 0x29),
            (0, 0x2B), (0x66, 0x2B), (0x66, 0x6F), (0xF3, 0x6F), (0x66, 0x7F), (0xF3, 0x7F),
            (0xF3, 0x7E), (0x66, 0xD6), (0x66, 0xE7),
        ])
        let needsMemory =
            [0x13, 0x17, 0x2B, 0xE7].contains(opcode)
            || prefix == 0x66 && [0x12, 0x16].contains(opcode)
        sse("move", prefix, opcode, needsMemory ? memory(align: true) : vector())
    }

    mutating func vectorInteger() {
        let opcode = random.one(
            Array(0x60...0x6D) + [0x74, 0x75, 0x76] + Array(0xD1...0xD5) + Array(0xD8...0xE5)
                + Array(0xE8...0xEF) + Array(0xF1...0xF6) + Array(0xF8...0xFE) as [UInt8])
        sse("integer", 0x66, opcode, vector())
    }

    mutating func vectorArithmetic() {
        let prefix = random.one([0, 0x66, 0xF3, 0xF2] as [UInt8])
        var opcodes: [UInt8] = [0x51, 0x58, 0x59, 0x5A, 0x5C, 0x5D, 0x5E, 0x5F]
        if prefix == 0 || prefix == 0xF3 { opcodes += [0x52, 0x53, 0x5B] }
        if prefix == 0x66 { opcodes += [0x5B, 0xE6] }
        if prefix >= 0xF2 { opcodes.append(0xE6) }
        if prefix <= 0x66 { opcodes += [0x54, 0x55, 0x56, 0x57, 0x14, 0x15] }
        sse("arithmetic", prefix, random.one(opcodes), vector())
    }

    /// MMX: what its registers hold comes from general ones, and goes back to one.
    mutating func multimedia() {
        for number in 1...2 {
            encode(
                "movq mm", size: 3, opcode: [0x0F, 0x6E], register: number,
                Operand(register: anyRegister()))
        }
        let other = random.chance(3) ? memory() : Operand(register: 2)
        switch random.below(8) {
        case 0:
            let opcode: UInt8 = random.one([0x71, 0x72, 0x73])
            encode(
                "shift mm", size: 2, opcode: [0x0F, opcode],
                register: random.one(opcode == 0x73 ? [2, 6] : [2, 4, 6]), Operand(register: 1),
                immediate: [UInt8(random.below(80))])
        case 1:
            encode(
                "pshufw", size: 2, opcode: [0x0F, 0x70], register: 1, other,
                immediate: [UInt8(random.below(256))])
        case 2:
            let isMemory = other.register == nil
            encode(
                "pinsrw mm", size: 2, opcode: [0x0F, 0xC4], register: 1,
                isMemory ? other : Operand(register: anyRegister()),
                immediate: [UInt8(random.below(256))])
            encode(
                "pextrw mm", size: 2, opcode: [0x0F, 0xC5], register: target(),
                Operand(register: 2), immediate: [UInt8(random.below(256))])
            encode(
                "pmovmskb mm", size: 2, opcode: [0x0F, 0xD7], register: target(),
                Operand(register: 2))
        case 3:
            encode(
                "cvtpi2ps/pd", size: random.below(2) + 1, opcode: [0x0F, 0x2A],
                register: random.below(16), other)
            let source =
                random.chance(3) ? memory(align: true) : Operand(register: random.below(16))
            encode(
                "cvtps2pi", size: random.below(2) + 1, opcode: [0x0F, random.one([0x2C, 0x2D])],
                register: 1, source)
        case 4:
            encode(
                "movq2dq", prefix: [0xF3], size: 2, opcode: [0x0F, 0xD6],
                register: random.below(16), Operand(register: 1))
            encode(
                "movdq2q", prefix: [0xF2], size: 2, opcode: [0x0F, 0xD6], register: 1,
                Operand(register: random.below(16)))
            encode(
                "mov to mm", size: random.below(2) + 2, opcode: [0x0F, random.one([0x6E, 0x7E])],
                register: 1, memory())
            encode(
                "movq mm, m", size: 2, opcode: [0x0F, random.one([0x6F, 0x7F, 0xE7])],
                register: 1, memory())
        default:
            let opcodes: [UInt8] =
                Array(0x60...0x6B) + Array(0x74...0x76) + Array(0xD1...0xD5) + Array(0xD8...0xE5)
                + Array(0xE8...0xEF) + Array(0xF1...0xF6) + Array(0xF8...0xFE)
            encode("mmx", size: 2, opcode: [0x0F, random.one(opcodes)], register: 1, other)
        }
        encode(
            "movq r, mm", size: 3, opcode: [0x0F, 0x7E], register: 1, Operand(register: target()))
        plain("emms", [0x0F, 0x77])
    }

    mutating func vectorOther() {
        let scalar = random.one([0xF3, 0xF2] as [UInt8])
        let packed = random.one([0, 0x66] as [UInt8])
        let wide = random.chance(2)
        switch random.below(12) {
        case 0: sse("cvtsi2s", scalar, 0x2A, registerOrMemory(), wide: wide)
        case 1:
            sse(
                "cvts2si", scalar, random.one([0x2C, 0x2D]), vector(), register: target(),
                wide: wide)
        case 2:
            sse("comis", packed, random.one([0x2E, 0x2F]), vector())
            flags(defines: Bit.all)
        case 3:
            sse("movmsk", packed, 0x50, Operand(register: random.below(16)), register: target())
        case 4: sse("pmovmskb", 0x66, 0xD7, Operand(register: random.below(16)), register: target())
        case 5: sse("pshuf", random.one([0x66, 0xF3, 0xF2]), 0x70, vector(), immediate(0))
        case 6:
            sse(
                "cmp", random.one([0, 0x66, 0xF3, 0xF2]), 0xC2, vector(), [UInt8(random.below(8))])
        case 7: sse("shuf", packed, 0xC6, vector(), immediate(0))
        case 8:
            let (opcode, group): (UInt8, Int) = random.one([
                (0x71, 2), (0x71, 4), (0x71, 6), (0x72, 2), (0x72, 4), (0x72, 6), (0x73, 2),
                (0x73, 3), (0x73, 6), (0x73, 7),
            ])
            sse(
                "shift", 0x66, opcode, Operand(register: random.below(16)),
                [UInt8(random.below(80))], register: group)
        case 9: sse("movd to", 0x66, 0x6E, registerOrMemory(), wide: wide)
        case 10: sse("movd from", 0x66, 0x7E, registerOrMemory(target()), wide: wide)
        default:
            if random.chance(2) {
                sse("pinsrw", 0x66, 0xC4, registerOrMemory(), immediate(0))
            } else {
                sse(
                    "pextrw", 0x66, 0xC5, Operand(register: random.below(16)), immediate(0),
                    register: target())
            }
        }
    }
}
