// The x87 instructions of the differential test. Both sides execute them on the same real unit,
// so whatever it leaves undefined is the same on both; compared is all that lies around it:
// operands, stack, status, control, what is unmasked, faults. The instruction and operand
// pointers are not compared: processors of today keep them only after exceptions.

@testable import Mini

extension CaseGenerator {
    /// Where `DifferentialImage` has its FNSAVE images: in the page that can only be read.
    static let statesAt = CaseMemory.data + 0x3000
    static let stateCount = 36

    /// Begins a sequence with a known state.
    mutating func loadX87() {
        add("fninit", [0xDB, 0xE3])
        let state = Self.statesAt + UInt32(108 * random.below(Self.stateCount))
        add("frstor", [0xDD, 0x25] + bytes(state))
    }

    mutating func x87Instruction() {
        switch random.below(100) {
        case 0..<45: x87Register()
        case 45..<85: x87Memory()
        case 85..<97: x87Control()
        default: add("fwait", [0x9B])
        }
    }

    private mutating func x87Register() {
        while true {
            let opcode = UInt8(0xD8 + random.below(8))
            let modrm = UInt8(0xC0 + random.below(64))
            switch RegisterForm(opcode: opcode, modrm: modrm) {
            case .undefined:
                if random.chance(95) { continue }
            case .storeStatus: forget(0)
            default: break
            }
            // Later processors than ours put other things in these rooms.
            if RegisterForm(opcode: opcode, modrm: modrm) == .nothing { continue }
            let comparing = (opcode == 0xDB || opcode == 0xDF) && modrm >= 0xE8 && modrm < 0xF8
            let moving = (opcode == 0xDA || opcode == 0xDB) && modrm < 0xE0
            add(
                "x87", [opcode, modrm],
                uses: moving ? FlagBit.carry | FlagBit.zero | FlagBit.parity : 0,
                // An unmasked exception leaves them as they were.
                defines: 0, undefines: comparing ? 0 : 0)
            return
        }
    }

    private mutating func x87Memory() {
        while true {
            let opcode = UInt8(0xD8 + random.below(8))
            let reg = random.below(8)
            // Not offered below a 32-bit kernel.
            if MemoryForm.isTruncating(opcode: opcode, modrm: UInt8(reg << 3)) { continue }
            switch MemoryForm(opcode: opcode, modrm: UInt8(reg << 3)) {
            case .load: add("x87 load", [opcode], memory(), reg: reg)
            case .store: add("x87 store", [opcode], memory(writing: true), reg: reg)
            default: continue
            }
            return
        }
    }

    private mutating func x87Control() {
        let short = random.chance(25)
        let size = short ? 2 : 4
        switch random.below(10) {
        case 0: add("fnstcw", [0xD9], memory(writing: true), reg: 7)
        case 1: add("fnstsw", [0xDD], memory(writing: true), reg: 7)
        case 2...3:
            // A control word, with something unmasked now and then.
            let address = CaseMemory.data + 0x80 + UInt32(random.below(64))
            let word =
                random.chance(70) ? 0x37F & ~(UInt32(1) << UInt32(random.below(6))) : random.word()
            add("mov", [0x66, 0xC7, 0x05] + bytes(address) + bytes(word, 2))
            add("fldcw", [0xD9, 0x2D] + bytes(address))
        case 4:
            add(
                "fldenv", size: size, [0xD9],
                EncodedOperand(tail: [0x05] + bytes(dataOrState())), reg: 4)
        case 5:
            add(
                "frstor", size: size, [0xDD],
                EncodedOperand(tail: [0x05] + bytes(dataOrState())), reg: 4)
        case 6: add("fnclex", [0xDB, 0xE2])
        case 7: random.chance(50) ? add("fninit", [0xDB, 0xE3]) : add("fnop", [0xD9, 0xD0])
        default:
            let saves = random.chance(50)
            let address = dataAddress()
            var code = prefix(size) + [saves ? 0xDD : 0xD9, 0x35] + bytes(address)
            // The pointers are not to be compared: one step, that they are not left by shrinking.
            for word in 3..<7 {
                let field = address &+ UInt32(word * size)
                code += prefix(size) + [0xC7, 0x05] + bytes(field) + bytes(0, size)
            }
            add(saves ? "fnsave" : "fnstenv", code)
        }
    }

    private mutating func dataOrState() -> UInt32 {
        random.chance(80)
            ? Self.statesAt + UInt32(108 * random.below(Self.stateCount)) : dataAddress()
    }
}

/// What memory holds before each case: edge values, numbers in all formats, x87 states.
enum DifferentialImage {
    static func make(seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var image = [UInt8](repeating: 0xCC, count: CaseMemory.imageSize)
        func store(_ offset: Int, _ bytes: [UInt8]) {
            image.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        func little(_ value: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        }
        for offset in stride(from: 0, to: Int(CaseMemory.dataSize + CaseMemory.stackSize), by: 4) {
            store(offset, little(UInt64(random.value()), 4))
        }
        // Floating-point numbers of every width in the middle of the data.
        for offset in stride(from: 0x800, to: 0x1800, by: 16) {
            switch random.below(4) {
            case 0: store(offset, little(UInt64(single(&random)), 4))
            case 1: store(offset, little(double(&random), 8))
            case 2: store(offset, extended(&random))
            default:
                // Packed decimal.
                for digit in 0..<9 {
                    store(offset + digit, [UInt8(random.below(10) << 4 | random.below(10))])
                }
                store(offset + 9, [random.chance(50) ? 0x80 : 0])
            }
        }
        for offset in 0x2F00..<0x2F80 { image[offset] = 0x77 }
        for index in 0..<CaseGenerator.stateCount {
            store(0x3000 + 108 * index, state(&random))
        }
        return image
    }

    private static func single(_ random: inout SeededRandom) -> UInt32 {
        let exponent = UInt32(random.pick([0, 0, 1, 127, 126, 128, 150, 254, 255, 255]))
        let fraction = random.pick([0, 0, 1, 0x40_0000, 0x7F_FFFF, random.word() & 0x7F_FFFF])
        return random.word() & 0x8000_0000 | exponent << 23 | fraction
    }

    private static func double(_ random: inout SeededRandom) -> UInt64 {
        let exponent = UInt64(
            random.pick([0, 0, 1, 1022, 1023, 1024, 1086, 1100, 2046, 2047, 2047]))
        let fractions: [UInt64] = [0, 0, 1, 1 << 51, (1 << 52) - 1, random.next() >> 12]
        return random.next() & 1 << 63 | exponent << 52 | random.pick(fractions)
    }

    private static func extended(_ random: inout SeededRandom) -> [UInt8] {
        let exponent = UInt64(
            random.pick([
                0, 0, 1, 0x3FFD, 0x3FFE, 0x3FFF, 0x3FFF, 0x4000, 0x401E, 0x403E, 0x43FF, 0x3C00,
                0x7FFE, 0x7FFF, 0x7FFF,
            ]))
        let fractions: [UInt64] = [
            0, 1, 1 << 62, 1 << 62 | 1, ~0 >> 1, random.next() >> 1, random.next() >> 1,
            random.next() & 0x7FFF_FFFF_FFFF_F800,
        ]
        // The leading bit is explicit: now and then it is not as it should be.
        let normal = (exponent != 0) != random.chance(5)
        let fraction = random.pick(fractions) | (normal ? 1 << 63 : 0)
        let top = exponent | (random.next() & 1) << 15
        var bytes: [UInt8] = []
        for byte in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: fraction >> UInt64(8 * byte))) }
        return bytes + [UInt8(truncatingIfNeeded: top), UInt8(truncatingIfNeeded: top >> 8)]
    }

    private static func state(_ random: inout SeededRandom) -> [UInt8] {
        var control = UInt32(0x037F)
        if random.chance(30) { control = control & ~0xF00 | UInt32(random.below(16)) << 8 }
        if random.chance(20) { control &= ~(1 << UInt32(random.below(6))) }
        if random.chance(5) { control &= ~0x3F }
        var status = UInt32(random.below(8)) << 11
        if random.chance(20) { status |= UInt32(random.below(8)) << 8 }
        if random.chance(10) { status |= UInt32(random.below(64)) }
        var tags: UInt32 = 0
        for register in 0..<8 where random.chance(40) { tags |= 3 << UInt32(2 * register) }
        var image: [UInt8] = []
        for word in [control, status, tags, 0, 0, 0, 0] {
            image += (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) }
        }
        for _ in 0..<8 { image += extended(&random) }
        return image
    }
}
