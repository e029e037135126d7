// Makes random cases from a seed. It knows what the registers hold as long as that is known, so
// that most memory operands are in memory; a few are wild. This file has operands and encoding;
// the instructions are in DifferentialInteger.swift, DifferentialControl.swift and
// DifferentialX87.swift.

/// A register or memory operand: what stands before the opcode, and modrm and what follows it,
/// with the reg field 0.
struct EncodedOperand {
    var prefixes: [UInt8] = []
    var tail: [UInt8]
    /// The register, if it is one.
    var register: Int?
}

struct CaseGenerator {
    var random: SeededRandom
    var steps: [CaseStep] = []
    /// The registers' values, where they are known.
    var known: [UInt32?]
    let fs: UInt16
    let gs: UInt16
    /// What fs and gs can be: null, flat, and the three segments of the oracle's.
    static let selectors: [UInt16] = [0, 0x2B, 0x63, 0x6B, 0x73]

    /// The case of a seed.
    static func makeCase(seed: UInt64) -> DifferentialCase {
        var retry: UInt64 = 0
        while true {
            // A sequence that reads undefined flags after all is thrown away.
            var generator = CaseGenerator(seed: seed &+ retry &* 0xD1B5_4A32_D192_ED03)
            let made = generator.make()
            if made.isDetermined && made.offsets.last! <= Oracle.codeMaximum {
                var result = made
                result.seed = seed
                return result
            }
            retry += 1
        }
    }

    private init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        fs = random.chance(70) ? 0x63 : random.pick(Self.selectors)
        gs = random.pick(Self.selectors)
        known = []
        for _ in 0..<8 {
            switch random.below(10) {
            case 0...3: known.append(dataAddress())
            case 4...5: known.append(UInt32(random.below(40)))
            case 6...7: known.append(random.value())
            default: known.append(random.word())
            }
        }
        known[4] = stackAddress()
    }

    private mutating func make() -> DifferentialCase {
        let registers = known.map { $0! }
        var eflags = 0x202 | random.word() & FlagBit.all
        if random.chance(15) { eflags |= FlagBit.direction }
        let usesX87 = random.chance(25)
        if usesX87 { loadX87() }
        let wanted = steps.count + 1 + random.below(16)
        while steps.count < wanted {
            usesX87 && random.chance(75) ? x87Instruction() : instruction()
        }
        let length = UInt32(steps.reduce(0) { $0 + $1.bytes.count })
        // Now and then over a page's end, or out of the last page.
        var eip = CaseMemory.code + UInt32(random.below(0x700))
        if random.chance(15) {
            eip = CaseMemory.code + 0x1000 - UInt32(random.below(Int(length) + 4))
        }
        if random.chance(2) { eip = CaseMemory.code + 0x2000 - length }
        return DifferentialCase(
            registers: registers, eip: eip, eflags: eflags, fs: fs, gs: gs, steps: steps,
            usesX87: usesX87)
    }

    // MARK: operands

    /// An address in the data, near page ends more often than not.
    mutating func dataAddress() -> UInt32 {
        let near = UInt32(random.below(17)) &- 8
        return switch random.below(100) {
        case 0..<60: CaseMemory.data + UInt32(random.below(0x2FC0))
        case 60..<75: CaseMemory.data + 0x1000 &+ near
        case 75..<88: CaseMemory.data + 0x2000 &+ near
        case 88..<92: CaseMemory.data + 0x3000 &+ near
        case 92..<96: CaseMemory.data + 0x3000 + UInt32(random.below(0xFF0))
        case 96: CaseMemory.data + 0x4000 &+ near
        case 97: CaseMemory.data &+ near
        default: stackAddress()
        }
    }

    mutating func stackAddress() -> UInt32 {
        switch random.below(20) {
        case 0: CaseMemory.stack + UInt32(random.below(40))
        case 1: CaseMemory.stack + CaseMemory.stackSize - UInt32(random.below(40))
        case 2: CaseMemory.stack + 0x1000 - 20 + UInt32(random.below(40))
        case 3: CaseMemory.stack + UInt32(random.below(0x2000))
        default: CaseMemory.stack + UInt32(random.below(0x7E0)) * 4
        }
    }

    mutating func register() -> Int { random.below(8) }

    /// A register to write to: seldom the stack pointer, not often one that has an address.
    mutating func destination() -> Int {
        for _ in 0..<4 {
            let register = random.below(8)
            if register == 4 {
                if random.chance(2) { return 4 }
                continue
            }
            guard let value = known[register], value &- CaseMemory.data < 0x1_0000 else {
                return register
            }
            if random.chance(15) { return register }
        }
        return random.pick([0, 1, 2])
    }

    /// Says that a register of an operand size now holds something else.
    mutating func forget(_ register: Int, size: Int = 4) {
        known[size == 1 ? register & 3 : register] = nil
    }

    /// A register or memory operand that is written.
    mutating func target(size: Int, memory percent: Int = 45) -> EncodedOperand {
        if random.chance(percent) { return memory(writing: true) }
        var register = destination()
        if size == 1 { register = random.below(8) }
        forget(register, size: size)
        return EncodedOperand(tail: [0xC0 | UInt8(register)], register: register)
    }

    /// A register or memory operand that is read.
    mutating func source(memory percent: Int = 45) -> EncodedOperand {
        if random.chance(percent) { return memory() }
        let register = register()
        return EncodedOperand(tail: [0xC0 | UInt8(register)], register: register)
    }

    /// A memory operand, mostly in memory that is there.
    mutating func memory(writing: Bool = false) -> EncodedOperand {
        switch random.below(100) {
        case 0..<4: return segmentOperand(random.chance(50) ? 0x64 : 0x65)
        case 4..<6: return shortOperand()
        case 6..<10:
            var operand = addressing(wild: false, address: dataAddress())
            // A code segment cannot be written to.
            let prefixes: [UInt8] =
                writing && random.chance(95) ? [0x26, 0x36, 0x3E] : [0x26, 0x2E, 0x36, 0x3E]
            operand.prefixes = [random.pick(prefixes)]
            return operand
        case 10..<12: return addressing(wild: true, address: dataAddress())
        default: return addressing(wild: false, address: dataAddress())
        }
    }

    /// For LOCK, and XCHG, which locks by itself: aligned, mostly. Kernels of today slow down or
    /// end whoever locks across cache lines.
    mutating func aligned() -> EncodedOperand {
        if random.chance(1) { return memory(writing: true) }
        return addressing(wild: false, address: dataAddress() & ~7, exact: true)
    }

    /// Through fs or gs, about the segment's limit.
    private mutating func segmentOperand(_ prefix: UInt8) -> EncodedOperand {
        let selector = prefix == 0x64 ? fs : gs
        let offset: UInt32 =
            switch (selector, random.below(4)) {
            case (0x2B, _): dataAddress()
            case (_, 0): 0x7F8 + UInt32(random.below(10))
            case (0x6B, _): 0x800 + UInt32(random.below(0x1000))
            case (0x73, 1): 0xFF8 + UInt32(random.below(10))
            case (0x73, _): UInt32(random.below(0xFF0))
            default: UInt32(random.below(0x7F0))
            }
        var operand = addressing(wild: false, address: offset)
        operand.prefixes = [prefix]
        return operand
    }

    /// With 16-bit addressing, which reaches something only through a segment with a base.
    private mutating func shortOperand() -> EncodedOperand {
        let direct = random.chance(60)
        var tail: [UInt8]
        if direct {
            let offset = UInt16(random.below(0x800))
            tail = [0x06, UInt8(truncatingIfNeeded: offset), UInt8(offset >> 8)]
        } else {
            tail = shortAddressing()
        }
        return EncodedOperand(
            prefixes: random.chance(80) ? [0x64, 0x67] : [0x67, 0x65], tail: tail)
    }

    /// Any 16-bit modrm with its displacement.
    mutating func shortAddressing() -> [UInt8] {
        let mode = random.below(3)
        let base = random.below(8)
        var tail = [UInt8(mode << 6 | base)]
        let displacement = mode == 0 ? (base == 6 ? 2 : 0) : mode
        for _ in 0..<displacement { tail.append(UInt8(truncatingIfNeeded: random.next())) }
        return tail
    }

    /// modrm, SIB and displacement that give an address, if the registers are known; if `wild`,
    /// whatever comes.
    mutating func addressing(wild: Bool, address: UInt32, exact: Bool = false) -> EncodedOperand {
        let bases = (0..<8).filter { wild || known[$0] != nil }
        switch random.below(bases.isEmpty ? 2 : 10) {
        case 0: return EncodedOperand(tail: [0x05] + bytes(wild ? random.word() : address))
        case 1:
            return EncodedOperand(
                tail: [0x04, UInt8(random.below(4) << 6) | 0x25]
                    + bytes(wild ? random.word() : address))
        case 2...6:
            let base = random.pick(bases)
            return EncodedOperand(
                tail: displaced(
                    UInt8(base), base == 4 ? 0x24 : nil,
                    by: wild ? random.value() : address &- known[base]!, exact: exact,
                    near: known[base]))
        default:
            let base = random.pick(bases)
            let indices = bases.filter { $0 != 4 }
            guard let index = indices.isEmpty ? nil : random.pick(indices) else {
                return EncodedOperand(tail: [0x05] + bytes(address))
            }
            let scale = random.below(4)
            let sib = UInt8(scale << 6 | index << 3 | base)
            let sum = (known[base] ?? 0) &+ ((known[index] ?? 0) << UInt32(scale))
            // mod 0 with base ebp has a displacement and no base.
            if base == 5 && random.chance(30) {
                return EncodedOperand(
                    tail: [0x04, sib] + bytes(address &- ((known[index] ?? 0) << UInt32(scale))))
            }
            return EncodedOperand(
                tail: displaced(
                    4, sib, by: wild ? random.value() : address &- sum, exact: exact,
                    near: sum))
        }
    }

    /// The shortest of the three lengths that fits, or a longer one. Where the register alone is
    /// near enough to data, sometimes a small displacement of no particular kind.
    private mutating func displaced(
        _ rm: UInt8, _ sib: UInt8?, by displacement: UInt32, exact: Bool, near: UInt32?
    ) -> [UInt8] {
        var displacement = displacement
        if !exact, let near, near &- CaseMemory.data < CaseMemory.dataWritable, random.chance(60) {
            displacement = random.chance(30) ? 0 : UInt32(random.below(256)) &- 128
        }
        let middle = sib.map { [$0] } ?? []
        let base = sib.map { $0 & 7 } ?? rm
        if displacement == 0 && base != 5 && random.chance(80) { return [rm] + middle }
        if Int32(bitPattern: displacement) == Int32(Int8(truncatingIfNeeded: displacement)),
            random.chance(80)
        {
            return [0x40 | rm] + middle + [UInt8(truncatingIfNeeded: displacement)]
        }
        return [0x80 | rm] + middle + bytes(displacement)
    }

    func bytes(_ value: UInt32, _ count: Int = 4) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * $0)) }
    }

    /// An immediate of an operand size.
    mutating func immediate(_ size: Int) -> [UInt8] { bytes(random.value(), size) }

    // MARK: encoding

    /// EncodedOperand size 1, 2 or 4, bytes and words a quarter each.
    mutating func size() -> Int { random.pick([1, 2, 4, 4]) }
    /// EncodedOperand size 2 or 4.
    mutating func wideSize() -> Int { random.pick([2, 4, 4]) }

    /// Appends an instruction; one that reads undefined flags gets them defined first.
    mutating func add(
        _ name: String, _ bytes: [UInt8], uses: UInt32 = 0, defines: UInt32 = 0,
        undefines: UInt32 = 0, fix: CaseStep.Fix? = nil
    ) {
        if uses != 0 && uses & undefinedNow != 0 {
            let register = UInt8(register())
            steps.append(
                CaseStep(
                    name: "cmp", bytes: [0x83, 0xF8 | register, UInt8(random.below(256))],
                    defines: FlagBit.all))
        }
        steps.append(
            CaseStep(
                name: name, bytes: bytes, uses: uses, defines: defines, undefines: undefines,
                fix: fix))
    }

    private var undefinedNow: UInt32 {
        DifferentialCase(
            registers: [], eip: 0, eflags: 0, fs: 0, gs: 0,
            steps: steps
        ).undefined.last!
    }

    /// Appends an instruction with a modrm operand.
    mutating func add(
        _ name: String, size: Int = 4, lock: Bool = false, _ opcode: [UInt8],
        _ operand: EncodedOperand, reg: Int, _ immediate: [UInt8] = [], uses: UInt32 = 0,
        defines: UInt32 = 0, undefines: UInt32 = 0
    ) {
        let operand = lock && operand.register == nil ? aligned() : operand
        var bytes = operand.prefixes
        if size == 2 { bytes.insert(0x66, at: random.below(bytes.count + 1)) }
        if lock { bytes.insert(0xF0, at: random.below(bytes.count + 1)) }
        bytes += opcode
        bytes.append(operand.tail[0] | UInt8(reg << 3))
        bytes += operand.tail[1...]
        bytes += immediate
        add(name, bytes, uses: uses, defines: defines, undefines: undefines)
    }

    /// 66 in front, for operand size 2.
    func prefix(_ size: Int) -> [UInt8] { size == 2 ? [0x66] : [] }
}
