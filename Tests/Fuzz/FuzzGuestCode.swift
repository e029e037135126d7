// The code of guests out of chance: templates of instructions with operands at which things go wrong
// (ends of pages, tables, the code itself), hypercalls, changes of page tables, and bytes that are
// nothing in particular.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Writes one case.
struct FuzzGuestCode {
    private typealias Layout = FuzzGuestLayout

    private let input: FuzzInput
    private var random: FuzzRandom
    private let base: UInt32
    /// Where the code began in the input.
    private var start = 0
    /// A call's arguments begin in ebx.
    private var callsByBase = false
    private var isWide = false
    /// A call to do with page tables behind every instruction.
    private var tablesBetween = false

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let era = UInt8(random.below(8))
        var code = FuzzGuestCode(input: input, random: random, base: era >= 5 ? 0 : Layout.high)
        code.callsByBase = era >= 6
        code.isWide = era == 7
        code.header(era)
        code.beginning()
        code.body()
        random = code.random
    }

    private init(input: FuzzInput, random: FuzzRandom, base: UInt32) {
        self.input = input
        self.random = random
        self.base = base
    }

    // MARK: Header and words

    private mutating func header(_ era: UInt8) {
        input.append(era)
        input.append(random.once(in: 2) ? UInt8(random.below(4)) : random.byte())
        input.append(random.once(in: 2) ? UInt8(random.below(24)) : 255)
        // Most are short; some live long.
        let life = random.below(512)
        input.append(life == 0 ? 0 : life < 8 ? UInt8(life) : 8 + UInt8(random.below(248)))
        input.append(random.once(in: 4) ? UInt8(random.below(8)) : random.byte())
        input.append(random.byte())
        let words = random.once(in: 3) ? random.below(24) : 0
        input.append(UInt8(words))
        input.append(0 as UInt8)
        for _ in 0..<3 { input.append(random.byte()) }
        while input.count < Layout.header { input.append(0 as UInt8) }
        for _ in 0..<words {
            input.append(wordPlace())
            input.append(tableEntry())
        }
        start = input.count
    }

    /// A place in one of the tables, or a record.
    private mutating func wordPlace() -> UInt32 {
        switch random.below(8) {
        case 0: Layout.directory + UInt32(random.below(1024)) * 4
        case 1, 2: Layout.table + UInt32(random.below(64)) * 4
        case 3: Layout.otherTable + UInt32(990 + random.below(34)) * 4
        case 4: Layout.descriptors + UInt32(random.below(64)) * 4
        case 5: Layout.data + UInt32(random.below(284)) * 4
        default: Layout.records + UInt32(random.below(100)) * 4
        }
    }

    private mutating func tableEntry() -> UInt32 {
        switch random.below(12) {
        case 0: random.hurtful()
        case 1: UInt32(random.below(40)) << 12 | UInt32(random.below(0x1000))
        case 2: 0
        case 3: UInt32(random.below(32)) << 12 | 5
        case 4: UInt32(random.below(32)) << 12 | 3
        case 5: interesting()
        default: UInt32(random.below(32)) << 12 | 0x67
        }
    }

    // MARK: Operands

    /// Virtual address of the next byte.
    private var here: UInt32 { base &+ Layout.code &+ UInt32(input.count - start) }

    /// A number that an operand may be.
    private mutating func interesting() -> UInt32 {
        switch random.below(16) {
        case 0, 1: base &+ Layout.code &+ UInt32(random.below(Int(Layout.codeSize)))
        case 2, 3: here &+ UInt32(random.below(64)) &- 24
        case 4: base &+ UInt32(random.below(32)) << 12 &- 5 &+ UInt32(random.below(9))
        case 5: base &+ Layout.table &+ UInt32(random.below(64)) * 4
        case 6: base &+ Layout.stack &- UInt32(random.below(64))
        case 7, 8: base &+ Layout.scratch &+ UInt32(random.below(0x4000))
        case 9: base &+ Layout.records &+ UInt32(random.below(25)) * 4
        case 10: base &+ Layout.data &+ UInt32(random.below(1140))
        case 11: base &+ UInt32(random.below(64)) << 12 &+ UInt32(random.below(4096))
        case 12: Layout.high &- UInt32(random.below(0x2000)) &+ 8
        case 13: 0xC040_0000 &+ UInt32(random.below(Int(Layout.size)))
        case 14: UInt32(random.below(256))
        default: random.hurtful()
        }
    }

    /// A guest-physical address, as hypercalls take them.
    private mutating func physical() -> UInt32 {
        switch random.below(6) {
        case 0: interesting()
        case 1: random.hurtful()
        case 2: Layout.records + UInt32(random.below(8)) * 100
        case 3: Layout.devices + 0x1000
        default: UInt32(random.below(Int(Layout.size))) & ~3
        }
    }

    private mutating func byte(_ one: UInt8) { input.append(one) }
    private mutating func byte(_ one: UInt8, _ two: UInt8) {
        input.append(one)
        input.append(two)
    }
    private mutating func byte(_ one: UInt8, _ two: UInt8, _ three: UInt8) {
        byte(one, two)
        byte(three)
    }
    private mutating func some(_ count: Int) { for _ in 0..<count { input.append(random.byte()) } }
    private mutating func register() -> UInt8 { UInt8(random.below(8)) }

    private mutating func set(_ register: UInt8, _ value: UInt32) {
        byte(0xB8 + register)
        input.append(value)
    }

    /// modrm and what belongs to it, for 32-bit addresses.
    private mutating func operand(_ reg: UInt8, memory: Bool = false) {
        let reg = reg &<< 3 & 0x38
        switch random.below(memory ? 6 : 8) {
        case 0, 1, 2:
            byte(5 | reg)
            input.append(interesting())
        case 3:
            byte(0x40 | reg | [0, 1, 2, 3, 6, 7][random.below(6)])
            some(1)
        case 4:
            byte(4 | reg, random.byte() & ~7 | UInt8(random.below(5)))
        case 5:
            byte(0x80 | reg | UInt8(random.below(4)))
            input.append(random.once(in: 2) ? interesting() : UInt32(random.below(8192)))
        default: byte(0xC0 | reg | register())
        }
    }

    private mutating func prefixes() {
        guard random.once(in: 5) else { return }
        let all: [UInt8] = [
            0x66, 0x66, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65,
        ]
        for _ in 0..<1 + random.below(2) { byte(all[random.below(all.count)]) }
    }

    // MARK: Hypercalls

    private mutating func call(
        _ number: UInt32, _ first: UInt32 = 0, _ second: UInt32 = 0, _ third: UInt32 = 0
    ) {
        set(callsByBase ? 3 : 2, first)
        set(callsByBase ? 1 : 3, second)
        set(callsByBase ? 2 : 1, third)
        if callsByBase { set(6, random.once(in: 8) ? 1 : 0) }
        set(0, number)
        byte(0xCD, 0x1F)
    }

    private mutating func tableCall() {
        switch random.below(isWide ? 6 : 5) {
        case 0: call(5)
        case 1: call(15, UInt32(random.below(1024)))
        case 5: call(13, Layout.lastTable, UInt32(random.below(512)))
        case 2: call(4, Layout.directory)
        default: call(14, Layout.directory, interesting(), random.once(in: 2) ? 0 : tableEntry())
        }
    }

    private mutating func hypercall() {
        switch random.below(16) {
        case 0...4: tableCall()
        case 5: call(6, UInt32(random.below(33)), handlerLow(), handlerHigh())
        case 6 where callsByBase: call(18, UInt32(random.below(33)), 0xFFFF, tableEntry())
        case 10...12 where callsByBase: call(random.once(in: 2) ? 17 : 19, physical())
        case 6: call(3, Layout.descriptors, UInt32(random.below(33)))
        case 7: call(16, Layout.descriptors + UInt32(random.below(20)) * 8)
        case 8:
            call(
                7, random.once(in: 4) ? random.hurtful() : 0x69, interesting(),
                UInt32(random.below(3)))
        case 9: call(8, UInt32(random.below(2)))
        case 10:
            call(
                12, physical(), physical(), UInt32(random.below(4)) << 8 | UInt32(random.below(33)))
        case 11: call(13, physical() & ~3, physical())
        case 12:
            call(
                13, random.once(in: 2) ? 0 : Layout.devices + 0x1000,
                Layout.records + UInt32(random.below(8)) * 100)
        case 13: random.once(in: 4) ? call(10) : call(9, UInt32(random.below(100_000)))
        case 14: random.once(in: 8) ? call(2, physical()) : call(0)
        default: call(UInt32(random.below(20)), interesting(), interesting(), interesting())
        }
    }

    private mutating func handlerLow() -> UInt32 { interesting() & 0xFFFF | 0x61_0000 }
    private mutating func handlerHigh() -> UInt32 {
        (base &+ Layout.code) & 0xFFFF_0000 | 0x8E00 | UInt32(random.below(2)) << 8
            | UInt32(random.below(4)) << 13
    }

    // MARK: Code

    private mutating func beginning() {
        set(4, random.once(in: 6) ? interesting() : base &+ Layout.stack)
        if !random.once(in: 16) { call(1, Layout.data) }
        for _ in 0..<random.below(3) {
            call(
                6, [0, 3, 4, 5, 6, 11, 12, 13, 14, 32, 33, 35, 0x80][random.below(13)],
                handlerLow(), handlerHigh())
        }
        if random.once(in: 3), !callsByBase { call(3, Layout.descriptors, 32) }
        if random.once(in: 3) { call(7, 0x69, base &+ Layout.stack &- 0x800, 1) }
        if random.once(in: 4) {
            // Into ring 3.
            for value in [0x7B, base &+ Layout.stack &- 0x400, 0x202, 0x73] {
                byte(0x68)
                input.append(value)
            }
            byte(0x68)
            input.append(here &+ 5)
            byte(0xCF)
        }
    }

    private mutating func body() {
        tablesBetween = random.once(in: 5)
        let count = 4 + random.below(tablesBetween ? 16 : 56)
        for _ in 0..<count {
            instruction()
            if tablesBetween { tableCall() }
        }
        // Again, from somewhere.
        byte(0xE9)
        input.append(base &+ Layout.code &+ UInt32(random.below(input.count - start)) &- here &- 4)
    }

    private mutating func instruction() {
        switch random.below(40) {
        case 0...5: set(register(), interesting())
        case 6...9:
            prefixes()
            let opcode = UInt8(random.below(8)) << 3 | UInt8(random.below(6))
            byte(opcode)
            if opcode & 7 < 4 { operand(register()) } else { some(opcode & 1 == 0 ? 1 : 4) }
        case 10, 11:
            prefixes()
            let opcode = 0x80 + UInt8(random.below(4))
            byte(opcode)
            operand(register())
            some(opcode == 0x81 ? 4 : 1)
        case 12, 13, 14:
            prefixes()
            byte(0x88 + UInt8(random.below(4)))
            operand(register())
        case 15, 16:
            // The processor's most changed words: tables, and code.
            byte(0xC7, 0x05)
            input.append(base &+ wordPlace())
            input.append(tableEntry())
        case 17, 18, 19:
            byte(random.once(in: 2) ? 0xC6 : 0xC7, 0x05)
            input.append(random.once(in: 2) ? here &+ UInt32(random.below(48)) &- 8 : interesting())
            some(input[input.count - 6] == 0xC6 ? 1 : 4)
        case 20, 21:
            byte(
                0x70 + UInt8(random.below(16)),
                UInt8(random.below(24)) &- (random.once(in: 4) ? 20 : 0))
        case 22:
            // Now and then with the stack in the code.
            if random.once(in: 4) { set(4, here &+ UInt32(random.below(48)) &- 8) }
            byte(random.once(in: 2) ? 0xE8 : 0xE9)
            input.append(UInt32(random.below(0x800)) &- (random.once(in: 2) ? 0x400 : 0))
        case 23:
            // Along the code, a step further each time.
            byte(0x83, 0xC6, UInt8(1 + random.below(13)))
            byte(0x81, 0xE6)
            input.append(UInt32(0x3FF))
            byte(0x81, 0xCE)
            input.append(base &+ Layout.code)
            byte(0xFF, random.once(in: 2) ? 0xE6 : 0xD6)
        case 24:
            byte(0xB9)
            input.append(UInt32(random.below(1200)))
            prefixes()
            byte(
                random.once(in: 2) ? 0xF3 : 0xF2,
                [0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF][random.below(10)])
        case 25: stack()
        case 26:
            prefixes()
            byte([0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3][random.below(6)])
            let hasCount = input[input.count - 1] < 0xD0
            operand(register())
            if hasCount { some(1) }
        case 27:
            prefixes()
            byte(0xF6 + UInt8(random.below(2)))
            operand(UInt8(2 + random.below(6)))
        case 28:
            prefixes()
            byte(0xFE + UInt8(random.below(2)))
            operand(register())
        case 29, 30:
            prefixes()
            byte(0x0F, random.byte())
            operand(register())
            if random.once(in: 3) { some(1) }
        case 31:
            byte(0xD8 + UInt8(random.below(8)))
            operand(register())
        case 32: segments()
        case 33: byte(0xCD, random.once(in: 2) ? 0x80 : random.byte())
        case 34:
            // Flags, with the trap flag now and then.
            byte(0x68)
            input.append(UInt32(random.below(0x1000)) & (random.once(in: 3) ? .max : ~0x100))
            byte(0x9D)
        case 35:
            byte(
                [0xE4, 0xE6, 0xEC, 0xEE, 0xF4, 0xFA, 0xFB, 0xD7, 0x27, 0x37, 0x98, 0x99, 0xF5][
                    random.below(13)])
        case 36: some(1 + random.below(6))
        default: hypercall()
        }
    }

    private mutating func stack() {
        prefixes()
        switch random.below(10) {
        case 0, 1: byte(0x50 + register())
        case 2, 3: byte(0x58 + register())
        case 4: byte(random.once(in: 2) ? 0x60 : 0x61)
        case 5: byte(random.once(in: 2) ? 0x9C : 0xC9)
        case 6:
            byte(0xC8, random.byte())
            byte(0, UInt8(random.below(32)))
        case 7:
            byte(0x8F)
            operand(0, memory: true)
        case 8: set(4, interesting())
        default: byte(random.once(in: 2) ? 0xC3 : 0xCB)
        }
    }

    private mutating func segments() {
        prefixes()
        switch random.below(7) {
        case 0:
            byte(0xB8)
            input.append(UInt32(random.below(32) * 8 + random.below(4)))
            byte(0x8E, 0xC0 | UInt8(random.below(6)) << 3)
        case 1: byte([0x06, 0x07, 0x0E, 0x16, 0x17, 0x1E, 0x1F][random.below(7)])
        case 2:
            byte(random.once(in: 2) ? 0xC4 : 0xC5)
            operand(register(), memory: true)
        case 3:
            byte(random.once(in: 2) ? 0x9A : 0xEA)
            input.append(interesting())
            byte(UInt8(random.below(32)) << 3 | UInt8(random.below(4)), 0)
        case 4: byte(0xCF)
        case 5:
            byte(0x62)
            operand(register())
        default:
            byte(0x63)
            operand(register())
        }
    }
}
