// 64-bit kernels out of chance on the processor of long mode, in this process: what FuzzSystems.swift is for 32 bits.
// Tables are changed under it by itself and by others, SSE and the x87 get any bits, code changes itself through aliases.
//
// A case is a header, the words that are put into memory over the usual tables, and code.

#if arch(x86_64)

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Where things are in such a guest: 64 pages.
private enum Layout {
    static let size: UInt32 = 64 << 12
    static let globalTable: UInt32 = 0x1000
    static let interruptTable: UInt32 = 0x2000
    static let task: UInt32 = 0x3000
    /// Four levels, a page each.
    static let levels: [UInt32] = [0x4000, 0x5000, 0x6000, 0x7000]
    static let scratch: UInt32 = 0xA000
    static let code: UInt32 = 0x1_0000
    static let codeSize: UInt32 = 0x8000
    static let stack: UInt32 = 0x1_E000
    static let ringStack: UInt32 = 0x1_F000
    static let kernelCode: UInt32 = 0x10
    static let kernelData: UInt32 = 0x18
    static let userData: UInt32 = 0x2B
    static let userCode: UInt32 = 0x33
    static let compatibleCode: UInt32 = 0x23
    static let shortCode: UInt32 = 0x53
    static let smallData: UInt32 = 0x5B
    static let taskSelector: UInt32 = 0x40
    /// Bytes of a case before its words.
    static let header = 16
}

enum FuzzLongs {
    nonisolated(unsafe) private static var memory: GuestMemory?

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        var code = FuzzLongCode(input: input, random: random)
        code.make()
        random = code.random
    }

    static func take(_ input: FuzzInput) {
        var reader = FuzzReader(input)
        let arena = LongCore.leastArenaCount + UInt32(reader.byte() & 7) * 0x2000
        let kind = reader.byte()
        let budget = kind == 0 ? 40_000 : kind < 8 ? 4_000 : 40 + Int(kind)
        let stretch = 1 + Int(reader.byte())
        let words = Int(reader.byte())
        var outside = FuzzRandom(seed: UInt64(reader.word()), number: 0)
        for _ in 8..<Layout.header { _ = reader.byte() }
        guard let memory = usualMemory() else { return }
        lay(memory)
        for _ in 0..<words {
            let address = reader.word()
            memory.store32(address % (Layout.size - 3), reader.word())
        }
        let rest = unsafe UnsafeRawBufferPointer(
            rebasing: input.bytes[min(reader.position, input.count)...])
        let count = min(UInt32(rest.count), Layout.codeSize)
        guard let range = memory.range(Layout.code, count) else { return }
        unsafe memory.writable(range).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: rest.prefix(Int(count))))
        guard
            let processor = try? LongProcessor(
                memory: memory,
                start: ProcessorStart(
                    mode: .long64(pageTable: UInt64(Layout.levels[0])),
                    entry: UInt64(Layout.code), stack: UInt64(Layout.stack),
                    parameters: UInt64(Layout.scratch), globalTable: UInt64(Layout.globalTable),
                    globalTableLimit: 0xFF), arenaCount: arena)
        else { return Fuzz.require(false, "no processor") }
        var time: UInt64 = 0
        processor.timeStamp = {
            time &+= 77
            return time
        }
        var left = budget
        while left > 0 {
            // A guest that only exits must end, too.
            left -= 4
            if outside.once(in: 6) {
                if processor.canInject {
                    processor.inject(outside.byte(), errorCode: 0)
                } else {
                    processor.awaitsInterruptWindow = true
                }
            }
            // A device writes where it was told to.
            if outside.once(in: 6) {
                memory.store32(
                    outside.once(in: 2)
                        ? 0x1000 + UInt32(outside.below(0x8000))
                        : Layout.code + UInt32(outside.below(0x400)), outside.hurtful())
            }
            let before = processor.instructionCount
            let exit =
                outside.once(in: 8)
                ? processor.run(until: nil, atMost: Nanoseconds(count: 1000))
                : processor.run(instructions: min(stretch, left) + 1)
            left -= Int(truncatingIfNeeded: processor.instructionCount &- before)
            switch exit {
            case .portInput: processor.answer(outside.next())
            case .portOutput, .stretchEnded, .deadline: break
            case .interruptWindow:
                processor.awaitsInterruptWindow = false
                Fuzz.require(processor.canInject, "a window is a window")
                processor.inject(outside.byte(), errorCode: 0)
            case .halt(let isEnabled):
                guard isEnabled else { return }
                processor.inject(outside.byte(), errorCode: 0)
            case .shutdown: return
            default: Fuzz.require(false, "an exit that this processor does not have")
            }
        }
    }

    private static func usualMemory() -> GuestMemory? {
        if let known = unsafe memory { return known }
        let made = try? GuestMemory(count: Layout.size)
        unsafe memory = made
        return made
    }

    private static func lay(_ memory: GuestMemory) {
        unsafe memory.base.initializeMemory(as: UInt8.self, repeating: 0, count: Int(Layout.size))
        for page in 0..<Int(Layout.size >> 12) { unsafe memory.watchedLines[page] = 0 }
        func descriptor(_ selector: UInt32, _ low: UInt32, _ high: UInt32) {
            memory.store32(Layout.globalTable + (selector & ~7), low)
            memory.store32(Layout.globalTable + (selector & ~7) + 4, high)
        }
        descriptor(Layout.kernelCode, 0xFFFF, 0x00AF_9A00)
        descriptor(Layout.kernelData, 0xFFFF, 0x00CF_9200)
        // 32-bit user code, as SYSRET wants it; data, and 64-bit code.
        descriptor(0x20, 0xFFFF, 0x00CF_FA00)
        descriptor(Layout.userData, 0xFFFF, 0x00CF_F200)
        descriptor(Layout.userCode, 0xFFFF, 0x00AF_FA00)
        // 16-bit code from where the code is, and a small segment of data.
        descriptor(Layout.shortCode, 0xFFFF, 0x0001_FA00)
        descriptor(Layout.smallData, 0xA000_0FFF, 0x0040_F200)
        descriptor(Layout.taskSelector, Layout.task << 16 | 0x67, 0x8900)
        for vector in 0..<256 as Range<UInt32> {
            let handler = Layout.code + 0x100 + vector * 5 % 0x300
            let kind: UInt32 = 0x8E00 | (vector & 1) << 8 | (vector & 2) << 13 | (vector & 2) << 12
            let gate = Layout.interruptTable + vector * 16
            memory.store32(gate, Layout.kernelCode << 16 | handler & 0xFFFF)
            memory.store32(gate + 4, handler & 0xFFFF_0000 | kind | (vector % 7 == 3 ? 1 : 0))
        }
        memory.store32(Layout.task + 4, Layout.ringStack)
        memory.store32(Layout.task + 0x24, Layout.ringStack - 0x800)
        memory.store32(Layout.task + 0x66, 0x68)
        for (level, table) in Layout.levels.enumerated() where level < 3 {
            memory.store32(table, Layout.levels[level + 1] | 7)
            memory.store32(table + 0xFF8, Layout.levels[level + 1] | 7)
        }
        // The same again as a large page, and once more without the right to write or to run.
        memory.store32(Layout.levels[2] + 8, 0x87)
        memory.store32(Layout.levels[2] + 16, 0x85)
        memory.store32(Layout.levels[2] + 20, 1 << 31)
        for page in 0..<512 as Range<UInt32> {
            memory.store32(
                Layout.levels[3] + page * 8, (page & 63) << 12 | (page & 64 == 0 ? 7 : 0x107))
            if page & 128 != 0 { memory.store32(Layout.levels[3] + page * 8 + 4, 1 << 31) }
        }
    }
}

/// Writes one case.
private struct FuzzLongCode {
    let input: FuzzInput
    var random: FuzzRandom
    private var start = 0

    init(input: FuzzInput, random: FuzzRandom) {
        self.input = input
        self.random = random
    }

    mutating func make() {
        for _ in 0..<3 { input.append(random.byte()) }
        let words = random.once(in: 3) ? random.below(24) : 0
        input.append(UInt8(words))
        input.append(random.word())
        while input.count < Layout.header { input.append(0 as UInt8) }
        for _ in 0..<words {
            input.append(tablePlace())
            input.append(tableWord())
        }
        start = input.count
        beginning()
        for _ in 0..<8 + random.below(56) { instruction() }
        // Again, from somewhere.
        byte(0xE9)
        input.append(Layout.code &+ UInt32(random.below(input.count - start)) &- here &- 4)
        // Handlers lie anywhere in the code: there must be something.
        while input.count - start < 0x400 { instruction() }
    }

    private var here: UInt32 { Layout.code &+ UInt32(input.count - start) }
    private mutating func byte(_ bytes: UInt8...) { for byte in bytes { input.append(byte) } }
    private mutating func some(_ count: Int) { for _ in 0..<count { input.append(random.byte()) } }
    private mutating func register() -> UInt8 { UInt8(random.below(8)) }
    private mutating func set(_ register: UInt8, _ value: UInt32) {
        byte(0xB8 + register)
        input.append(value)
    }
    private mutating func push(_ value: UInt32) {
        byte(0x68)
        input.append(value)
    }

    // MARK: Values

    private mutating func tablePlace() -> UInt32 {
        switch random.below(8) {
        case 0: Layout.globalTable + UInt32(random.below(64)) * 4
        case 1: Layout.interruptTable + UInt32(random.below(1024)) * 4
        case 2: Layout.task + UInt32(random.below(30)) * 4
        case 3: Layout.levels[3] + UInt32(random.below(256)) * 4
        default: Layout.levels[random.below(4)] + UInt32(random.below(32)) * 4
        }
    }

    private mutating func tableWord() -> UInt32 {
        switch random.below(8) {
        case 0: random.hurtful()
        case 1: 0
        case 2: UInt32(random.below(66)) << 12 | UInt32(random.below(0x200))
        case 3: UInt32(random.below(64)) << 12 | 0x87
        case 4: UInt32(random.below(0x100)) << 8 | UInt32(random.below(0x100)) << 16
        case 5: interesting()
        default: UInt32(random.below(64)) << 12 | 7
        }
    }

    private mutating func interesting() -> UInt32 {
        switch random.below(14) {
        case 0, 1: Layout.code &+ UInt32(random.below(0x800))
        case 2, 3: here &+ UInt32(random.below(64)) &- 24
        case 4: UInt32(random.below(66)) << 12 &- 5 &+ UInt32(random.below(9))
        case 5, 6: tablePlace()
        case 7: Layout.stack &- UInt32(random.below(64))
        case 8, 9: Layout.scratch &+ UInt32(random.below(0x4000))
        case 10: Layout.size &- 8 &+ UInt32(random.below(16))
        case 11: UInt32(random.below(4)) << 21 &+ UInt32(random.below(Int(Layout.size)))
        case 12: UInt32(random.below(256))
        default: random.hurtful()
        }
    }

    private mutating func selector() -> UInt32 {
        random.once(in: 6)
            ? UInt32(random.below(0x10000)) : UInt32(random.below(16) * 8 + random.below(8))
    }

    private mutating func flags() -> UInt32 {
        UInt32(random.below(0x8000)) & (random.once(in: 4) ? .max : ~0x4100)
            | (random.once(in: 20) ? 0x20000 : 0)
    }

    private mutating func operand(_ reg: UInt8, memory: Bool = false) {
        let reg = reg &<< 3 & 0x38
        switch random.below(memory ? 6 : 8) {
        case 0, 1:
            // Without a base: 32 bits, with their sign.
            byte(4 | reg, 0x25)
            input.append(interesting())
        case 2:
            byte(5 | reg)
            input.append(interesting() &- here)
        case 3:
            byte(0x40 | reg | [0, 1, 2, 3, 6, 7][random.below(6)])
            some(1)
        case 4:
            byte(0x84 | reg, random.byte())
            input.append(random.once(in: 2) ? interesting() : UInt32(random.below(8192)))
        case 5:
            byte(0x80 | reg | UInt8(random.below(4)))
            input.append(random.once(in: 2) ? interesting() : UInt32(random.below(8192)))
        default: byte(0xC0 | reg | register())
        }
    }

    private mutating func prefixes() {
        if random.once(in: 6) {
            let all: [UInt8] = [0x66, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x26, 0x64, 0x65]
            byte(all[random.below(all.count)])
        }
        if random.once(in: 2) { byte(0x40 | UInt8(random.below(16))) }
    }

    // MARK: Code

    private mutating func beginning() {
        table(0x1C, Layout.interruptTable, 0xFFF)
        set(0, Layout.taskSelector)
        byte(0x0F, 0x00, 0xD8)
        modelRegister(0xC000_0080, random.once(in: 4) ? 0xD00 : 0xD01)
        modelRegister(0xC000_0081, 0, high: 0x0023_0010)
        modelRegister(0xC000_0082, Layout.code + 0x180)
        modelRegister(0xC000_0084, random.once(in: 2) ? 0x700 : random.word())
        modelRegister(0xC000_0102, Layout.scratch)
        if random.once(in: 2) { control(4, 0x6A0 | UInt32(random.below(2)) << 4) }
        if random.once(in: 3) { outwards() }
    }

    private mutating func table(_ modrm: UInt8, _ base: UInt32, _ limit: UInt32) {
        push(0)
        // mov [rsp], limit; mov [rsp + 2], base
        byte(0xC7, 0x04, 0x24)
        input.append(limit)
        byte(0xC7, 0x44, 0x24, 2)
        input.append(base)
        byte(0x0F, 0x01, modrm, 0x24)
        byte(0x58)
    }

    private mutating func control(_ number: UInt8, _ value: UInt32) {
        set(0, value)
        byte(0x0F, 0x22, 0xC0 | number << 3)
    }

    private mutating func modelRegister(_ number: UInt32, _ value: UInt32, high: UInt32 = 0) {
        set(1, number)
        set(0, value)
        set(2, random.once(in: 8) ? random.word() : high)
        byte(0x0F, 0x30)
    }

    /// To ring 3 or somewhere else, behind this.
    private mutating func outwards() {
        push(
            random.once(in: 6)
                ? selector() : random.once(in: 4) ? Layout.smallData : Layout.userData)
        push(Layout.stack &- 0x600)
        push(flags())
        let isShort = random.once(in: 8)
        let code =
            isShort
            ? Layout.shortCode : random.once(in: 3) ? Layout.compatibleCode : Layout.userCode
        push(random.once(in: 6) ? selector() : code)
        push(random.once(in: 6) ? interesting() : here &+ 7 &- (isShort ? Layout.code : 0))
        byte(0x48, 0xCF)
    }

    private mutating func instruction() {
        switch random.below(44) {
        case 0...3: set(register(), interesting())
        case 4...7:
            prefixes()
            let opcode = UInt8(random.below(8)) << 3 | UInt8(random.below(6))
            byte(opcode)
            if opcode & 7 < 4 { operand(register()) } else { some(opcode & 1 == 0 ? 1 : 4) }
        case 8, 9, 10:
            prefixes()
            byte(0x88 + UInt8(random.below(4)))
            operand(register())
        case 11, 12:
            byte(0xC7, 0x04, 0x25)
            input.append(tablePlace())
            input.append(tableWord())
        case 13, 14:
            byte(0xC7, 0x04, 0x25)
            input.append(random.once(in: 2) ? here &+ UInt32(random.below(48)) &- 8 : interesting())
            some(4)
        case 15, 16: byte(0x70 + UInt8(random.below(16)), UInt8(random.below(24)))
        case 17:
            byte(random.once(in: 2) ? 0xE8 : 0xE9)
            input.append(UInt32(random.below(0x400)) &- (random.once(in: 2) ? 0x200 : 0))
        case 18:
            byte(0xB9)
            input.append(UInt32(random.below(1200)))
            byte(0xF3)
            if random.once(in: 2) { byte(0x48) }
            byte(
                [0xA4, 0xA5, 0xA6, 0xAA, 0xAB, 0xAD, 0xAF, 0x6C, 0x6D, 0x6E, 0x6F][random.below(11)]
            )
        case 19, 20, 21:
            // With the prefixes that choose among the forms of SSE.
            if random.once(in: 2) { byte([0x66, 0xF2, 0xF3][random.below(3)]) }
            if random.once(in: 3) { byte(0x40 | UInt8(random.below(16))) }
            byte(0x0F, random.byte())
            operand(register())
            if random.once(in: 4) { some(1) }
        case 22:
            byte(0xD8 + UInt8(random.below(8)))
            operand(register())
        case 23: byte(0xCD, random.byte())
        case 24:
            push(flags())
            byte(0x9D)
        case 25: byte([0xE4, 0xE6, 0xEC, 0xEE, 0x6C, 0x6E, 0xED, 0xEF][random.below(8)])
        case 26: byte(0xFB, random.once(in: 6) ? 0xF4 : 0x90)
        case 27: byte([0xFA, 0x9C, 0x9D, 0xCF, 0xCB, 0x50, 0x58, 0xC9, 0xC3][random.below(9)])
        case 28: some(1 + random.below(6))
        case 29: outwards()
        case 30:
            byte(0x48, 0xBC)
            input.append(random.once(in: 2) ? Layout.stack : interesting())
            input.append(random.once(in: 8) ? random.word() : 0)
        case 31: byte(0x0F, random.once(in: 2) ? 0x05 : 0x07)
        case 32:
            if random.once(in: 2) { byte(0x48) }
            byte(0x0F, random.once(in: 2) ? 0x05 : 0x07)
        case 33:
            set(0, selector())
            byte(0x8E, 0xC0 | UInt8(random.below(6)) << 3)
        default: system()
        }
    }

    private mutating func system() {
        switch random.below(16) {
        case 0:
            control(
                0,
                random.once(in: 3)
                    ? random.hurtful() | 1 : 0x8005_0033 ^ UInt32(random.below(2)) << 16)
        case 1: control(3, random.once(in: 4) ? interesting() : Layout.levels[0])
        case 2: control(4, UInt32(random.below(0x800)))
        case 3, 4:
            byte(0x0F, 0x01, 0x3C, 0x25)
            input.append(interesting())
        case 5, 6:
            let numbers: [UInt32] = [
                0x10, 0x174, 0x277, 0xC000_0080, 0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084,
                0xC000_0100,
                0xC000_0101, 0xC000_0102, 0x4B56_4D00, 0x4B56_4D01,
            ]
            modelRegister(
                numbers[random.below(numbers.count)], random.once(in: 2) ? interesting() : 0xD01)
        case 7:
            table(
                0x14, random.once(in: 2) ? Layout.globalTable : interesting(),
                UInt32(random.below(0x200)))
        case 8:
            table(
                0x1C, random.once(in: 2) ? Layout.interruptTable : interesting(),
                UInt32(random.below(0x1100)))
        case 9:
            set(0, selector())
            byte(0x0F, 0x00, random.once(in: 2) ? 0xD0 : 0xD8)
        case 10:
            if random.once(in: 2) { byte(0x48) }
            byte(0x0F, 0xAE)
            operand(UInt8(random.below(4)), memory: true)
        case 11: byte(0x0F, 0x20 + UInt8(random.below(4)), random.byte())
        case 12: byte(0x0F, [0x06, 0x08, 0x09, 0x31, 0xA2, 0x32][random.below(6)])
        case 13: byte(0x0F, 0x01, 0xF8)
        case 14: byte(0x0F, 0x01, 0xF0 | register())
        default: outwards()
        }
    }
}

#endif
