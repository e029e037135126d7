// 64-bit kernels out of chance (FuzzKernels.swift) on the processor of long mode: SSE and the x87 get any bits, code changes
// itself through aliases, programs are of 64, 32 and 16 bits.

#if arch(x86_64)

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Where its own tables are, and its selectors.
private enum Layout {
    static let task: UInt32 = 0x3000
    /// Four levels, a page each.
    static let levels: [UInt32] = [0x4000, 0x5000, 0x6000, 0x7000]
    static let kernelCode: UInt32 = 0x10
    static let kernelData: UInt32 = 0x18
    static let userData: UInt32 = 0x2B
    static let userCode: UInt32 = 0x33
    static let compatibleCode: UInt32 = 0x23
    static let shortCode: UInt32 = 0x53
    static let smallData: UInt32 = 0x5B
    static let protectedCode: UInt32 = 0x60
    static let taskSelector: UInt32 = 0x40
}

enum FuzzLongs {
    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        FuzzLongCode.make(&random, input)
    }

    static func take(_ input: FuzzInput) {
        FuzzKernels.take(input, high: 16 << 12, lay: lay, make: processor)
    }

    private static func processor(
        _ memory: GuestMemory, _ more: UInt32, _ time: @escaping () -> UInt64
    ) -> FuzzKernel? {
        let processor = try? LongProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .long64(pageTable: UInt64(Layout.levels[0])),
                entry: UInt64(KernelPlace.code), stack: UInt64(KernelPlace.stack),
                parameters: UInt64(KernelPlace.scratch),
                globalTable: UInt64(KernelPlace.globalTable),
                globalTableLimit: 0xFF), arenaCount: LongCore.leastArenaCount + more)
        guard let processor else { return nil }
        processor.timeStamp = time
        let core = processor.core
        return FuzzKernel(
            processor: processor, inject: { processor.inject($0, errorCode: 0) },
            approach: {
                // Forwards only: keys of before must not come true.
                let number = LongCore.blockShape.lastGeneration - $0
                core.state.blocks.generation = Generation(
                    number: max(number, core.state.blocks.generation.number))
                core.state.blocks.everyKeyIsNew()
                core.updateMode()
            })
    }

    private static func lay(_ memory: GuestMemory) {
        func descriptor(_ selector: UInt32, _ low: UInt32, _ high: UInt32) {
            memory.store32(KernelPlace.globalTable + (selector & ~7), low)
            memory.store32(KernelPlace.globalTable + (selector & ~7) + 4, high)
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
        descriptor(Layout.protectedCode, 0xFFFF, 0x00CF_9A00)
        descriptor(Layout.taskSelector, Layout.task << 16 | 0x67, 0x8900)
        for vector in 0..<256 as Range<UInt32> {
            let handler = KernelPlace.code + 0x100 + vector * 5 % 0x300
            let kind: UInt32 = 0x8E00 | (vector & 1) << 8 | (vector & 2) << 13 | (vector & 2) << 12
            let gate = KernelPlace.interruptTable + vector * 16
            memory.store32(gate, Layout.kernelCode << 16 | handler & 0xFFFF)
            memory.store32(gate + 4, handler & 0xFFFF_0000 | kind | (vector % 7 == 3 ? 1 : 0))
        }
        memory.store32(Layout.task + 4, KernelPlace.ringStack)
        memory.store32(Layout.task + 0x24, KernelPlace.ringStack - 0x800)
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
            // From 4 GiB on, and what lies behind the end of that.
            if page & 256 != 0 {
                memory.store32(Layout.levels[3] + page * 8 + 4, (page & 128) << 24 | page >> 3 & 1)
            }
        }
    }
}

/// Writes one case.
private struct FuzzLongCode: FuzzKernelCode {
    let input: FuzzInput
    var random: FuzzRandom
    var start = 0
    static let large = (shift: 21 as UInt32, count: 4)

    init(input: FuzzInput, random: FuzzRandom) {
        self.input = input
        self.random = random
    }

    // MARK: Values

    mutating func tablePlace() -> UInt32 {
        switch random.below(8) {
        case 0: KernelPlace.globalTable + UInt32(random.below(64)) * 4
        case 1: KernelPlace.interruptTable + UInt32(random.below(1024)) * 4
        case 2: Layout.task + UInt32(random.below(30)) * 4
        case 3: Layout.levels[3] + UInt32(random.below(256)) * 4
        default: Layout.levels[random.below(4)] + UInt32(random.below(32)) * 4
        }
    }

    mutating func operand(_ reg: UInt8, memory: Bool = false) {
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

    mutating func prefixes() {
        if random.once(in: 6) {
            let all: [UInt8] = [0x66, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x26, 0x64, 0x65]
            byte(all[random.below(all.count)])
        }
        if random.once(in: 2) { byte(0x40 | UInt8(random.below(16))) }
    }

    // MARK: Code

    mutating func beginning() {
        table(0x1C, KernelPlace.interruptTable, 0xFFF)
        set(0, Layout.taskSelector)
        byte(0x0F, 0x00, 0xD8)
        modelRegister(0xC000_0080, random.once(in: 4) ? 0xD00 : 0xD01)
        modelRegister(0xC000_0081, 0, high: 0x0023_0010)
        modelRegister(0xC000_0082, KernelPlace.code + 0x180)
        modelRegister(0xC000_0084, random.once(in: 2) ? 0x700 : random.word())
        modelRegister(0xC000_0102, KernelPlace.scratch)
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

    /// To ring 3 or somewhere else, behind this.
    private mutating func outwards() {
        push(
            random.once(in: 6)
                ? selector() : random.once(in: 4) ? Layout.smallData : Layout.userData)
        push(KernelPlace.stack &- 0x600)
        push(flags())
        let isShort = random.once(in: 8)
        let code =
            isShort
            ? Layout.shortCode : random.once(in: 3) ? Layout.compatibleCode : Layout.userCode
        push(random.once(in: 6) ? selector() : code)
        push(random.once(in: 6) ? interesting() : here &+ 7 &- (isShort ? KernelPlace.code : 0))
        byte(0x48, 0xCF)
    }

    mutating func instruction() {
        switch random.below(44) {
        case 0...3: set(register(), interesting())
        case 4...7: arithmetic()
        case 8, 9, 10: move()
        case 11, 12:
            byte(0xC7, 0x04, 0x25)
            input.append(tablePlace())
            input.append(tableWord())
        case 13, 14:
            byte(0xC7, 0x04, 0x25)
            input.append(random.once(in: 2) ? here &+ UInt32(random.below(48)) &- 8 : interesting())
            some(4)
        case 15, 16: byte(0x70 + UInt8(random.below(16)), UInt8(random.below(24)))
        case 17: callOrJump()
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
            switch random.below(4) {
            case 0: byte(0x0F, 0x38, random.once(in: 8) ? 0xF0 | register() : random.byte() & 0x7F)
            case 1: byte(0x0F, 0x3A, random.byte() & 0x7F)
            default: byte(0x0F, random.byte())
            }
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
            input.append(random.once(in: 2) ? KernelPlace.stack : interesting())
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
        switch random.below(17) {
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
                0x14, random.once(in: 2) ? KernelPlace.globalTable : interesting(),
                UInt32(random.below(0x200)))
        case 8:
            table(
                0x1C, random.once(in: 2) ? KernelPlace.interruptTable : interesting(),
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
        case 15: outwards()
        default: throughProtected()
        }
    }

    /// To 32-bit code, out of paging there, and back, with something on the way.
    private mutating func throughProtected() {
        push(Layout.protectedCode)
        push(here &+ 7)
        byte(0x48, 0xCB)
        paging(on: false)
        for _ in 0..<random.below(3) { instruction() }
        paging(on: true)
        byte(0xEA)
        input.append(here &+ 6)
        byte(UInt8(Layout.kernelCode), 0)
    }

    private mutating func paging(on: Bool) {
        byte(0x0F, 0x20, 0xC0)
        byte(0x0F, 0xBA, on ? 0xE8 : 0xF0, random.once(in: 16) ? random.byte() : 31)
        byte(0x0F, 0x22, 0xC0)
    }
}

#endif
