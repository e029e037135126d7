// The instructions of a case of the 64-bit differential test (LongCase.swift) that x86-64-v2 has beside SSE2: SSE3, SSSE3,
// SSE4.1, SSE4.2, POPCNT and CMPXCHG16B. What the machine's own processor lacks is left out.
//
// Sources: Intel SDM volume 2; AMD64 Architecture Programmer's Manual volumes 3 and 4.

@testable import Mini

/// What a processor has, as Linux calls it.
enum HostFeature: String, CaseIterable {
    case sse3 = "pni"
    case ssse3
    case compareExchange16 = "cx16"
    case sse41 = "sse4_1"
    case sse42 = "sse4_2"
    case popcnt

    /// Of ecx of leaf 1 of CPUID.
    var bit: UInt64 {
        switch self {
        case .sse3: 1 << 0
        case .ssse3: 1 << 9
        case .compareExchange16: 1 << 13
        case .sse41: 1 << 19
        case .sse42: 1 << 20
        case .popcnt: 1 << 23
        }
    }
}

extension LongGenerator {
    mutating func levelInstruction() {
        switch random.below(28) {
        case 0, 1: horizontal()
        case 2: duplicate()
        case 3: truncate()
        case 4, 5: bytes()
        case 6: bytesOfMultimedia()
        case 7...9: integers()
        case 10: extendLanes()
        case 11, 12: blend()
        case 13...15: round()
        case 16: product()
        case 17: insertLane()
        case 18: extractLane()
        case 19: testVector()
        case 20...23: strings()
        case 24: checksum()
        case 25: population()
        default: exchangePair()
        }
    }

    private mutating func has(_ feature: HostFeature) -> Bool {
        if HostProcessor.has(feature) { return true }
        skip()
        return false
    }

    /// Appends one, now and then with a prefix more, which makes something else of it, or nothing.
    private mutating func level(
        _ name: String, _ prefix: UInt8?, _ opcode: [UInt8], _ operand: Operand,
        _ immediate: [UInt8] = [], register: Int? = nil, size: Int = 2, wide: Bool = false,
        byteRegisters: Bool = false
    ) {
        var prefixes = prefix.map { [$0] } ?? []
        if random.chance(48) {
            // Of F2 and F3 together nothing is said.
            let more: [UInt8] =
                prefix == 0xF2 || prefix == 0xF3
                ? [0x66, 0xF0, 0x2E] : [0x66, 0xF2, 0xF3, 0xF0, 0x2E]
            prefixes.insert(random.one(more), at: random.below(prefixes.count + 1))
        }
        encode(
            "\(name) \(String(opcode.last!, radix: 16))", prefix: prefixes, size: size,
            opcode: [0x0F] + opcode, register: register ?? random.below(16), operand,
            immediate: immediate, wide: wide, byteRegisters: byteRegisters)
    }

    private mutating func any() -> [UInt8] { [UInt8(random.below(256))] }
    /// REX.W where it says nothing.
    private mutating func idle() -> Bool { random.chance(6) }

    // MARK: SSE3

    private mutating func horizontal() {
        guard has(.sse3) else { return }
        level(
            "horizontal", random.one([0x66, 0xF2]), [random.one([0x7C, 0x7D, 0xD0])], vector(),
            wide: idle())
    }

    private mutating func duplicate() {
        guard has(.sse3) else { return }
        switch random.below(4) {
        case 0: level("movddup", 0xF2, [0x12], vector(align: random.chance(2)))
        case 1: level("movsldup", 0xF3, [0x12], vector())
        case 2: level("movshdup", 0xF3, [0x16], vector())
        default: level("lddqu", 0xF2, [0xF0], memory())
        }
    }

    /// FISTTP, with the status word behind it.
    private mutating func truncate() {
        guard has(.sse3) else { return }
        plain("fninit", [0xDB, 0xE3])
        var target = memory()
        var stores: [UInt8] = [0xDB, 0xDD, 0xDF]
        if random.chance(2) {
            var operand = memory()
            operand.index = nil
            // Rounding, precision, and what raises.
            var control = UInt16(random.below(16)) << 8 | 0x7F
            if random.chance(3) {
                control &= ~UInt16(random.below(64))
                // Which comes first, that or a fault of what cannot be written, is not the same on all processors: two bytes
                // that can be.
                (target, stores) = (operand, [0xDF])
            }
            encode(
                "mov imm", size: 1, opcode: [0xC7], register: 0, operand,
                immediate: [UInt8(control & 0xFF), UInt8(control >> 8)])
            encode("fldcw", size: 2, opcode: [0xD9], register: 5, operand)
        }
        // fld of 32, 64 and 80 bits, fild of 16, 32 and 64 bits; now and then there is nothing to store.
        if !random.chance(12) {
            let (opcode, number): (UInt8, Int) = random.one([
                (0xD9, 0), (0xDD, 0), (0xDD, 0), (0xDB, 5), (0xDF, 0), (0xDB, 0), (0xDF, 5),
            ])
            encode("fld", size: 2, opcode: [opcode], register: number, memory())
        }
        encode(
            "fisttp", size: 2, opcode: [random.one(stores)], register: 1, target,
            wide: idle())
        plain("fnstsw", [0xDF, 0xE0])
        // C0, C2 and C3 are open.
        plain("and eax", [0x25, 0xFF, 0xBA, 0, 0])
        flags(defines: Bit.all, undefines: Bit.a)
        plain("fnclex", [0xDB, 0xE2])
    }

    // MARK: SSSE3

    private mutating func bytes() {
        guard has(.ssse3) else { return }
        if random.chance(5) { return level("palignr", 0x66, [0x3A, 0x0F], vector(), count(40)) }
        let opcode: UInt8 = random.one(Array(0x00...0x0B) + [0x00, 0x1C, 0x1D, 0x1E])
        level("bytes", 0x66, [0x38, opcode], vector(), wide: idle())
    }

    /// Mostly below a bound.
    private mutating func count(_ bound: Int) -> [UInt8] {
        random.chance(4) ? any() : [UInt8(random.below(bound))]
    }

    private mutating func bytesOfMultimedia() {
        guard has(.ssse3) else { return }
        for number in 1...2 {
            encode(
                "movq mm", size: 3, opcode: [0x0F, 0x6E], register: number,
                Operand(register: anyRegister()))
        }
        let other = random.chance(3) ? memory() : Operand(register: 2)
        if random.chance(5) {
            encode(
                "palignr mm", size: 2, opcode: [0x0F, 0x3A, 0x0F], register: 1, other,
                immediate: count(20))
        } else {
            let opcode: UInt8 = random.one(Array(0x00...0x0B) + [0x1C, 0x1D, 0x1E])
            encode("bytes mm", size: 2, opcode: [0x0F, 0x38, opcode], register: 1, other)
        }
        encode(
            "movq r, mm", size: 3, opcode: [0x0F, 0x7E], register: 1, Operand(register: target()))
        plain("emms", [0x0F, 0x77])
    }

    // MARK: SSE4.1

    private mutating func integers() {
        // PCMPGTQ is of SSE4.2.
        let opcode: UInt8 = random.one(
            [0x28, 0x29, 0x2B] + Array(0x37...0x3F) + [0x40, 0x41, 0x41])
        guard has(opcode == 0x37 ? .sse42 : .sse41) else { return }
        level("integers", 0x66, [0x38, opcode], vector(), wide: idle())
    }

    private mutating func extendLanes() {
        guard has(.sse41) else { return }
        let opcode: UInt8 = random.one(Array(0x20...0x25) + Array(0x30...0x35))
        level("extend", 0x66, [0x38, opcode], vector(align: random.chance(2)), wide: idle())
    }

    private mutating func blend() {
        guard has(.sse41) else { return }
        if random.chance(2) {
            level("blend", 0x66, [0x38, random.one([0x10, 0x14, 0x15])], vector())
        } else {
            level("blend", 0x66, [0x3A, random.one([0x0C, 0x0D, 0x0E])], vector(), any())
        }
    }

    private mutating func round() {
        guard has(.sse41) else { return }
        let opcode: UInt8 = random.one([0x08, 0x09, 0x0A, 0x0B])
        level(
            "round", 0x66, [0x3A, opcode], vector(align: opcode < 0x0A || random.chance(2)),
            count(16))
    }

    private mutating func product() {
        guard has(.sse41) else { return }
        level("product", 0x66, [0x3A, random.one([0x40, 0x41, 0x42])], vector(), any())
    }

    private mutating func insertLane() {
        guard has(.sse41) else { return }
        switch random.below(3) {
        case 0: level("pinsrb", 0x66, [0x3A, 0x20], registerOrMemory(), any(), wide: idle())
        case 1: level("insertps", 0x66, [0x3A, 0x21], vector(align: random.chance(2)), any())
        default:
            level("pinsr", 0x66, [0x3A, 0x22], registerOrMemory(), any(), wide: random.chance(2))
        }
    }

    private mutating func extractLane() {
        guard has(.sse41) else { return }
        let opcode: UInt8 = random.one([0x14, 0x15, 0x16, 0x16, 0x17])
        level(
            "extract", 0x66, [0x3A, opcode], registerOrMemory(target()), any(),
            wide: random.chance(opcode == 0x16 ? 2 : 6))
    }

    private mutating func testVector() {
        guard has(.sse41) else { return }
        if random.chance(3) { return level("movntdqa", 0x66, [0x38, 0x2A], memory(align: true)) }
        level("ptest", 0x66, [0x38, 0x17], vector())
        flags(defines: Bit.all)
    }

    // MARK: SSE4.2

    private mutating func strings() {
        guard has(.sse42) else { return }
        let opcode: UInt8 = random.one([0x60, 0x61, 0x62, 0x63])
        // With REX.W the lengths have 64 bits.
        let isWide = random.chance(3)
        if opcode < 0x62 && !random.chance(4) {
            for register in [0, 2] { length(register) }
        }
        level(
            "strings", 0x66, [0x3A, opcode], vector(align: random.chance(2)), any(), wide: isWide)
        flags(defines: Bit.all)
    }

    /// One of a string into a register: mostly about 8 and 16, of either sign.
    private mutating func length(_ register: Int) {
        switch random.below(6) {
        case 0:
            // Small in its lower half alone, or large in that alone.
            let value =
                random.chance(2)
                ? 0x1_0000_0000 << UInt64(random.below(32)) | UInt64(random.below(20))
                : UInt64(truncatingIfNeeded: -1 - random.below(20)) & 0xFFFF_FFFF
            var bytes: [UInt8] = [0x48, 0xB8 | UInt8(register)]
            append(&bytes, UInt32(truncatingIfNeeded: value), 4)
            append(&bytes, UInt32(truncatingIfNeeded: value >> 32), 4)
            plain("mov imm64", bytes)
        case 1: plain("mov imm", [0x48, 0xC7, 0xC0 | UInt8(register), 0, 0, 0, 0x80])
        default:
            var bytes: [UInt8] = [0x48, 0xC7, 0xC0 | UInt8(register)]
            let value = random.one([
                random.below(40) - 20, random.below(5) + 6, random.below(4) + 14,
            ])
            append(&bytes, UInt32(truncatingIfNeeded: value), 4)
            plain("mov imm", bytes)
        }
    }

    private mutating func checksum() {
        guard has(.sse42) else { return }
        let size = random.below(4)
        level(
            "crc32", 0xF2, [0x38, size == 0 ? 0xF0 : 0xF1], registerOrMemory(), register: target(),
            size: size, wide: size == 0 ? random.chance(3) : size == 3, byteRegisters: size == 0)
    }

    // MARK: Others

    private mutating func population() {
        guard has(.popcnt) else { return }
        let size = 1 + random.below(3)
        level(
            "popcnt", 0xF3, [0xB8], registerOrMemory(), register: target(), size: size,
            wide: size == 3)
        flags(defines: Bit.all)
    }

    private mutating func exchangePair() {
        guard has(.compareExchange16) else { return }
        var operand = memory(align: true)
        operand.index = nil
        if random.chance(2) {
            // Then it is equal, unless only its half is.
            encode("mov to", size: 3, opcode: [0x8B], register: 0, operand)
            var upper = operand
            upper.displacement += random.chance(8) ? 16 : 8
            encode("mov to", size: 3, opcode: [0x8B], register: 2, upper)
        }
        encode(
            "cmpxchg16b", prefix: random.chance(3) ? [0xF0] : random.chance(8) ? [0x66] : [],
            size: 3, opcode: [0x0F, 0xC7], register: 1, operand)
        flags(defines: Bit.z)
    }
}
