// Kernels out of chance (FuzzKernels.swift) on the processor with ring 0: every instruction there is, two-level paging and PAE,
// tasks, gates, segments.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Where its own tables are.
private enum Layout {
    static let localTable: UInt32 = 0x1800
    static let tasks: UInt32 = 0x3000
    static let directory: UInt32 = 0x4000
    static let table: UInt32 = 0x5000
    static let pointers: UInt32 = 0x6000
    static let wideDirectory: UInt32 = 0x7000
    static let wideTable: UInt32 = 0x8000
}

enum FuzzSystems {
    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        FuzzSystemCode.make(&random, input)
    }

    static func take(_ input: FuzzInput) { FuzzKernels.take(input, lay: lay, make: processor) }

    private static func processor(
        _ memory: GuestMemory, _ more: UInt32, _ time: @escaping () -> UInt64
    ) -> FuzzKernel? {
        let processor = try? SystemProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .protected32, entry: UInt64(KernelPlace.code),
                stack: UInt64(KernelPlace.stack),
                parameters: UInt64(KernelPlace.scratch),
                globalTable: UInt64(KernelPlace.globalTable),
                globalTableLimit: 0xFF), arenaCount: Core.leastArenaCount + more)
        guard let processor else { return nil }
        processor.timeStamp = time
        return FuzzKernel(
            processor: processor, inject: { processor.inject($0, errorCode: 0) },
            approach: { processor.generation = Generation.last - $0 })
    }

    private static func lay(_ memory: GuestMemory) {
        func descriptor(_ index: UInt32, _ low: UInt32, _ high: UInt32) {
            memory.store32(KernelPlace.globalTable + index * 8, low)
            memory.store32(KernelPlace.globalTable + index * 8 + 4, high)
        }
        // Flat code and data of rings 0, 3 and 1; two tasks, a small one, an LDT, a call gate.
        descriptor(2, 0xFFFF, 0x00CF_9A00)
        descriptor(3, 0xFFFF, 0x00CF_9200)
        descriptor(4, Layout.tasks << 16 | 0x67, 0x8900)
        descriptor(5, 0xFFFF, 0x00CF_FA00)
        descriptor(6, 0xFFFF, 0x00CF_F200)
        descriptor(7, (Layout.tasks + 0x100) << 16 | 0x77, 0x8900)
        descriptor(8, (Layout.tasks + 0x200) << 16 | 0x2B, 0x8100)
        descriptor(9, Layout.localTable << 16 | 0x3F, 0x8200)
        descriptor(
            10, 0x10 << 16 | KernelPlace.code & 0xFFFF, KernelPlace.code & 0xFFFF_0000 | 0xEC02)
        descriptor(11, 0xFFFF, 0x00CF_BA00)
        descriptor(12, 0xFFFF, 0x00CF_B200)
        descriptor(13, 0x0FFF, 0x0040_9600)
        descriptor(14, 0xFFFF, 0x0000_9A00)
        for index in 0..<8 as Range<UInt32> {
            memory.store32(Layout.localTable + index * 8, 0xFFFF)
            memory.store32(
                Layout.localTable + index * 8 + 4, index & 1 == 0 ? 0x00CF_F200 : 0x40_9200)
        }
        for vector in 0..<256 as Range<UInt32> {
            let handler = KernelPlace.code + 0x100 + vector * 5 % 0x300
            let kind: UInt32 =
                vector % 13 == 8
                ? 0x8500 : 0x8E00 | (vector & 1) << 8 | (vector & 2) << 13 | (vector & 2) << 12
            memory.store32(
                KernelPlace.interruptTable + vector * 8,
                (vector % 13 == 8 ? 0x38 : 0x10) << 16 | handler & 0xFFFF)
            memory.store32(
                KernelPlace.interruptTable + vector * 8 + 4, handler & 0xFFFF_0000 | kind)
        }
        for task in [Layout.tasks, Layout.tasks + 0x100] {
            for (offset, value) in [
                (4, KernelPlace.ringStack), (8, 0x18), (12, KernelPlace.ringStack - 0x800),
                (16, 0x61),
                (0x1C, Layout.directory), (0x20, KernelPlace.code + 0x200), (0x24, 2),
                (0x38, KernelPlace.stack - 0x400), (0x48, 0x18), (0x4C, 0x10), (0x50, 0x18),
                (0x54, 0x18), (0x64, 0x68 << 16),
            ] as [(UInt32, UInt32)] {
                memory.store32(task + offset, value)
            }
        }
        memory.store32(Layout.directory, Layout.table | 7)
        memory.store32(Layout.directory + 4, 0x87)
        memory.store32(Layout.directory + 8, Layout.table | 0x63)
        for page in 0..<1024 as Range<UInt32> {
            memory.store32(
                Layout.table + page * 4, (page & 127) << 12 | (page & 64 == 0 ? 7 : 0x107))
        }
        for index in 0..<4 as Range<UInt32> {
            memory.store32(Layout.pointers + index * 8, Layout.wideDirectory | 1)
        }
        for index in 0..<4 as Range<UInt32> {
            memory.store32(
                Layout.wideDirectory + index * 8, index & 1 == 0 ? Layout.wideTable | 7 : 0x87)
            memory.store32(Layout.wideDirectory + index * 8 + 4, index == 2 ? 1 << 31 : 0)
        }
        for page in 0..<512 as Range<UInt32> {
            memory.store32(Layout.wideTable + page * 8, (page & 127) << 12 | 7)
        }
    }
}

/// Writes one case.
private struct FuzzSystemCode: FuzzKernelCode {
    let input: FuzzInput
    var random: FuzzRandom
    var start = 0
    static let large = (shift: 22 as UInt32, count: 3)

    init(input: FuzzInput, random: FuzzRandom) {
        self.input = input
        self.random = random
    }

    // MARK: Values

    mutating func tablePlace() -> UInt32 {
        switch random.below(10) {
        case 0, 1: KernelPlace.globalTable + UInt32(random.below(64)) * 4
        case 2: KernelPlace.interruptTable + UInt32(random.below(512)) * 4
        case 3: Layout.tasks + UInt32(random.below(200)) * 4
        case 4: Layout.directory + UInt32(random.below(8)) * 4
        case 5: Layout.table + UInt32(random.below(128)) * 4
        case 6: Layout.pointers + UInt32(random.below(8)) * 4
        case 7: Layout.wideDirectory + UInt32(random.below(16)) * 4
        case 8: Layout.wideTable + UInt32(random.below(256)) * 4
        default: Layout.localTable + UInt32(random.below(16)) * 4
        }
    }

    mutating func operand(_ reg: UInt8, memory: Bool = false) {
        let reg = reg &<< 3 & 0x38
        switch random.below(memory ? 5 : 7) {
        case 0, 1, 2:
            byte(5 | reg)
            input.append(interesting())
        case 3:
            byte(0x40 | reg | [0, 1, 2, 3, 6, 7][random.below(6)])
            some(1)
        case 4:
            byte(0x80 | reg | UInt8(random.below(4)))
            input.append(random.once(in: 2) ? interesting() : UInt32(random.below(8192)))
        default: byte(0xC0 | reg | register())
        }
    }

    mutating func prefixes() {
        guard random.once(in: 5) else { return }
        let all: [UInt8] = [0x66, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x26, 0x64, 0x65]
        byte(all[random.below(all.count)])
    }

    // MARK: Code

    /// The tables, and paging of some kind.
    mutating func beginning() {
        table(0x1C, KernelPlace.interruptTable, 0x7FF)
        set(0, 0x20)
        byte(0x0F, 0x00, 0xD8)
        if random.once(in: 2) { modelRegister(0xC000_0080, 0x800) }
        modelRegister(0x174, 0x10)
        modelRegister(0x175, KernelPlace.ringStack - 0x400)
        modelRegister(0x176, KernelPlace.code + 0x180)
        switch random.below(4) {
        case 0: break
        case 1: paging(UInt32(random.below(2)) << 5 | 0x20, Layout.pointers)
        default:
            paging(UInt32(random.below(2)) << 4 | UInt32(random.below(2)) << 7, Layout.directory)
        }
        if random.once(in: 3) { outwards() }
    }

    private mutating func table(_ modrm: UInt8, _ base: UInt32, _ limit: UInt32) {
        push(base >> 16)
        push(base << 16 | limit)
        byte(0x0F, 0x01, modrm, 0x24)
        byte(0x83, 0xC4, 8)
    }

    private mutating func paging(_ control4: UInt32, _ directory: UInt32) {
        // With SSE for some.
        control(4, control4 | (random.once(in: 2) ? 0x600 : 0))
        control(3, directory)
        control(0, random.once(in: 3) ? 0x8000_0011 : 0x8001_0011)
    }

    /// To ring 3 or somewhere else, behind this.
    private mutating func outwards() {
        push(random.once(in: 6) ? selector() : 0x33)
        push(KernelPlace.stack &- 0x600)
        push(flags())
        push(random.once(in: 6) ? selector() : 0x2B)
        push(random.once(in: 6) ? interesting() : here &+ 6)
        byte(0xCF)
    }

    mutating func instruction() {
        switch random.below(40) {
        case 0...3: set(register(), interesting())
        case 4...7: arithmetic()
        case 8, 9, 10: move()
        case 11, 12:
            byte(0xC7, 0x05)
            input.append(tablePlace())
            input.append(tableWord())
        case 13, 14:
            byte(0xC7, 0x05)
            input.append(random.once(in: 2) ? here &+ UInt32(random.below(48)) &- 8 : interesting())
            some(4)
        case 15, 16: byte(0x70 + UInt8(random.below(16)), UInt8(random.below(24)))
        case 17: callOrJump()
        case 18:
            byte(0xB9)
            input.append(UInt32(random.below(1200)))
            byte(
                0xF3,
                [0xA4, 0xA5, 0xA6, 0xAA, 0xAB, 0xAD, 0xAF, 0x6C, 0x6D, 0x6E, 0x6F][random.below(11)]
            )
        case 19:
            prefixes()
            byte(0x0F, random.byte())
            operand(register())
        case 20:
            byte(0xD8 + UInt8(random.below(8)))
            operand(register())
        case 21: byte(0xCD, random.byte())
        case 22:
            push(flags())
            byte(0x9D)
        case 23: byte([0xE4, 0xE6, 0xEC, 0xEE, 0x6C, 0x6E, 0xED, 0xEF][random.below(8)])
        case 24: byte(0xFB, random.once(in: 6) ? 0xF4 : 0x90)
        case 25: byte([0xFA, 0x9C, 0x9D, 0xCF, 0xCB, 0x60, 0x61, 0xC9][random.below(8)])
        case 26: some(1 + random.below(5))
        case 27: outwards()
        case 28: set(4, random.once(in: 2) ? KernelPlace.stack : interesting())
        case 29, 30: segments()
        default: system()
        }
    }

    private mutating func segments() {
        set(0, selector())
        switch random.below(5) {
        case 0, 1: byte(0x8E, 0xC0 | UInt8(random.below(6)) << 3)
        case 2:
            byte(random.once(in: 2) ? 0x9A : 0xEA)
            input.append(interesting())
            byte(UInt8(random.below(16)) << 3 | UInt8(random.below(4)), 0)
        case 3: byte(0x0F, random.once(in: 2) ? 0x02 : 0x03, 0xC8)
        default: byte(0x0F, 0x00, 0xE0 | UInt8(random.below(2)) << 3)
        }
    }

    private mutating func system() {
        switch random.below(16) {
        case 0:
            control(
                0,
                random.once(in: 3)
                    ? random.hurtful() | 1 : 0x8001_0011 ^ UInt32(random.below(2)) << 16)
        case 1:
            control(
                3,
                random.once(in: 4)
                    ? interesting() : random.once(in: 2) ? Layout.directory : Layout.pointers)
        case 2: control(4, UInt32(random.below(16)) << 4 & 0xB0)
        case 3, 4:
            byte(0x0F, 0x01, 0x3D)
            input.append(interesting())
        case 5:
            modelRegister(
                [0x10, 0x174, 0x175, 0x176, 0x277, 0xC000_0080, 0x4B56_4D00, 0x4B56_4D01][
                    random.below(8)],
                random.once(in: 2) ? interesting() : 0x800)
        case 6:
            table(
                0x14, random.once(in: 2) ? KernelPlace.globalTable : interesting(),
                UInt32(random.below(0x200)))
        case 7:
            table(
                0x1C, random.once(in: 2) ? KernelPlace.interruptTable : interesting(),
                UInt32(random.below(0x900)))
        case 8:
            set(0, selector())
            byte(0x0F, 0x00, random.once(in: 2) ? 0xD0 : 0xD8)
        case 9: byte(0x0F, random.once(in: 2) ? 0x34 : 0x35)
        case 10:
            byte(0x0F, 0xAE)
            operand(UInt8(random.below(4)), memory: true)
        case 11: byte(0x0F, 0x20 + UInt8(random.below(4)), random.byte())
        case 12: byte(0x0F, [0x06, 0x08, 0x09, 0x31, 0xA2, 0x32][random.below(6)])
        case 13:
            set(1, [0x10, 0x1B, 0x174, 0xC000_0080, 0x4B56_4D01, 0x8B][random.below(6)])
            byte(0x0F, 0x32)
        case 14:
            byte(0x0F, 0x01, 0xF0 | register())
        default: outwards()
        }
    }
}
