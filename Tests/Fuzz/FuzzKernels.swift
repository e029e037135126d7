// Kernels out of chance on a processor with ring 0, in this process, whatever its width: what FuzzSystems.swift (32 bits) and
// FuzzLongs.swift (64) have in common. Tables are changed under the processor, by itself and by others (as devices do), ports
// answer anything, and interrupts come whenever one may. It may halt or shut itself down; what it must never do is end the
// process, or hold it.
//
// A case is a header, the words that are put into memory over the usual tables, and code.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Where things are in such a guest: 64 pages. Tables of a width's own lie between.
enum KernelPlace {
    static let size: UInt32 = 64 << 12
    static let globalTable: UInt32 = 0x1000
    static let interruptTable: UInt32 = 0x2000
    static let scratch: UInt32 = 0xA000
    static let code: UInt32 = 0x1_0000
    static let codeSize: UInt32 = 0x8000
    static let stack: UInt32 = 0x1_E000
    static let ringStack: UInt32 = 0x1_F000
    /// Bytes of a case before its words.
    static let header = 16
}

/// A processor at its start, and what is done to it that each width does in its own way.
struct FuzzKernel {
    let processor: RecordProcessor
    let inject: (_ vector: UInt8) -> Void
    /// Lets the count of generations go on at so many before its last number.
    let approach: (_ distance: UInt32) -> Void
}

enum FuzzKernels {
    nonisolated(unsafe) private static var memory: GuestMemory?
    nonisolated(unsafe) private static var farMemory: GuestMemory?

    /// - Parameters:
    ///   - high: bytes of memory from 4 GiB on.
    ///   - lay: puts the usual tables into empty memory.
    ///   - make: a processor, with an arena of so many bytes more than the smallest.
    static func take(
        _ input: FuzzInput, high: UInt64 = 0, lay: (GuestMemory) -> Void,
        make: (GuestMemory, _ more: UInt32, _ time: @escaping () -> UInt64) -> FuzzKernel?
    ) {
        var reader = FuzzReader(input)
        let more = UInt32(reader.byte() & 7) * 0x2000
        let distance = UInt32(reader.byte())
        let kind = reader.byte()
        let budget = kind == 0 ? 40_000 : kind < 8 ? 4_000 : 40 + Int(kind)
        let stretch = 1 + Int(reader.byte())
        let words = Int(reader.byte())
        var outside = FuzzRandom(seed: UInt64(reader.word()), number: 0)
        for _ in 9..<KernelPlace.header { _ = reader.byte() }
        guard let memory = usualMemory(high) else { return }
        clear(memory, 0, KernelPlace.size)
        clear(memory, MemoryExtent.highStart, UInt32(high))
        lay(memory)
        for _ in 0..<words {
            let address = reader.word()
            memory.store32(address % (KernelPlace.size - 3), reader.word())
        }
        let rest = unsafe UnsafeRawBufferPointer(
            rebasing: input.bytes[min(reader.position, input.count)...])
        let count = min(UInt32(rest.count), KernelPlace.codeSize)
        guard let range = memory.range(KernelPlace.code, count) else { return }
        unsafe memory.writable(range).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: rest.prefix(Int(count))))
        var time: UInt64 = 0
        let kernel = make(memory, more) {
            time &+= 77
            return time
        }
        guard let kernel else { return Fuzz.require(false, "no processor") }
        let isNearEnd = distance != 255
        if isNearEnd { kernel.approach(distance) }
        var left = budget
        while left > 0 {
            // A guest that only exits must end, too.
            left -= 4
            if isNearEnd && outside.once(in: 8) { kernel.approach(UInt32(outside.below(8))) }
            disturb(kernel, memory, &outside)
            guard step(kernel, &outside, stretch, &left) else { return }
        }
    }

    /// What comes from outside, now and then.
    private static func disturb(
        _ kernel: FuzzKernel, _ memory: GuestMemory, _ outside: inout FuzzRandom
    ) {
        if outside.once(in: 6) {
            if kernel.processor.canInject {
                kernel.inject(outside.byte())
            } else {
                kernel.processor.awaitsInterruptWindow = true
            }
        }
        // A device writes where it was told to.
        if outside.once(in: 6) {
            memory.store32(
                outside.once(in: 2)
                    ? 0x1000 + UInt32(outside.below(0x8000))
                    : KernelPlace.code + UInt32(outside.below(0x400)), outside.hurtful())
            if let range = memory.range(
                far: MemoryExtent.highStart + UInt64(outside.below(0x4000)), 4)
            {
                unsafe memory.writable(range).storeBytes(of: outside.hurtful(), as: UInt32.self)
            }
        }
    }

    /// - Returns: false where the guest has ended.
    private static func step(
        _ kernel: FuzzKernel, _ outside: inout FuzzRandom, _ stretch: Int, _ left: inout Int
    ) -> Bool {
        let processor = kernel.processor
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
            kernel.inject(outside.byte())
        case .halt(let isEnabled):
            guard isEnabled else { return false }
            kernel.inject(outside.byte())
        case .shutdown: return false
        default: Fuzz.require(false, "an exit that this processor does not have")
        }
        return true
    }

    private static func usualMemory(_ high: UInt64) -> GuestMemory? {
        if let known = unsafe high > 0 ? farMemory : memory { return known }
        let made = try? GuestMemory(MemoryExtent(low: KernelPlace.size, high: high))
        if high > 0 { unsafe farMemory = made } else { unsafe memory = made }
        return made
    }

    private static func clear(_ memory: GuestMemory, _ start: UInt64, _ count: UInt32) {
        guard count > 0, let range = memory.range(far: start, count) else { return }
        let first = Int(start >> 12)
        for page in first..<first + Int(count >> 12) { unsafe memory.watchedLines[page] = 0 }
        unsafe memory.writable(range).initializeMemory(as: UInt8.self, repeating: 0)
    }
}

/// Writes one case: what is the same for each width.
protocol FuzzKernelCode {
    init(input: FuzzInput, random: FuzzRandom)
    var input: FuzzInput { get }
    var random: FuzzRandom { get set }
    /// Where in the case its code begins.
    var start: Int { get set }
    /// Of what a large page has, as a shift, and how many of them count.
    static var large: (shift: UInt32, count: Int) { get }
    /// Somewhere in the tables.
    mutating func tablePlace() -> UInt32
    /// modrm and what belongs to it.
    mutating func operand(_ reg: UInt8, memory: Bool)
    mutating func prefixes()
    /// The tables are loaded.
    mutating func beginning()
    mutating func instruction()
}

extension FuzzKernelCode {
    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        var code = Self(input: input, random: random)
        code.make()
        random = code.random
    }

    private mutating func make() {
        for _ in 0..<4 { input.append(random.byte()) }
        let words = random.once(in: 3) ? random.below(24) : 0
        input.append(UInt8(words))
        input.append(random.word())
        while input.count < KernelPlace.header { input.append(0 as UInt8) }
        for _ in 0..<words {
            input.append(tablePlace())
            input.append(tableWord())
        }
        start = input.count
        beginning()
        for _ in 0..<8 + random.below(56) { instruction() }
        // Again, from somewhere.
        byte(0xE9)
        input.append(KernelPlace.code &+ UInt32(random.below(input.count - start)) &- here &- 4)
        // Handlers lie anywhere in the code: there must be something.
        while input.count - start < 0x400 { instruction() }
    }

    var here: UInt32 { KernelPlace.code &+ UInt32(input.count - start) }
    mutating func byte(_ bytes: UInt8...) { for byte in bytes { input.append(byte) } }
    mutating func some(_ count: Int) { for _ in 0..<count { input.append(random.byte()) } }
    mutating func register() -> UInt8 { UInt8(random.below(8)) }
    mutating func set(_ register: UInt8, _ value: UInt32) {
        byte(0xB8 + register)
        input.append(value)
    }
    mutating func push(_ value: UInt32) {
        byte(0x68)
        input.append(value)
    }

    // MARK: Instructions of every width

    mutating func arithmetic() {
        prefixes()
        let opcode = UInt8(random.below(8)) << 3 | UInt8(random.below(6))
        byte(opcode)
        if opcode & 7 < 4 {
            operand(register(), memory: false)
        } else {
            some(opcode & 1 == 0 ? 1 : 4)
        }
    }
    mutating func move() {
        prefixes()
        byte(0x88 + UInt8(random.below(4)))
        operand(register(), memory: false)
    }
    mutating func callOrJump() {
        byte(random.once(in: 2) ? 0xE8 : 0xE9)
        input.append(UInt32(random.below(0x400)) &- (random.once(in: 2) ? 0x200 : 0))
    }

    // MARK: Values

    mutating func tableWord() -> UInt32 {
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

    mutating func interesting() -> UInt32 {
        switch random.below(14) {
        case 0, 1: KernelPlace.code &+ UInt32(random.below(0x800))
        case 2, 3: here &+ UInt32(random.below(64)) &- 24
        case 4: UInt32(random.below(66)) << 12 &- 5 &+ UInt32(random.below(9))
        case 5, 6: tablePlace()
        case 7: KernelPlace.stack &- UInt32(random.below(64))
        case 8, 9: KernelPlace.scratch &+ UInt32(random.below(0x4000))
        case 10: KernelPlace.size &- 8 &+ UInt32(random.below(16))
        case 11:
            UInt32(random.below(Self.large.count)) << Self.large.shift
                &+ UInt32(random.below(Int(KernelPlace.size)))
        case 12: UInt32(random.below(256))
        default: random.hurtful()
        }
    }

    mutating func selector() -> UInt32 {
        random.once(in: 6)
            ? UInt32(random.below(0x10000)) : UInt32(random.below(16) * 8 + random.below(8))
    }

    mutating func flags() -> UInt32 {
        UInt32(random.below(0x8000)) & (random.once(in: 4) ? .max : ~0x4100)
            | (random.once(in: 20) ? 0x20000 : 0)
    }

    // MARK: Code

    mutating func control(_ number: UInt8, _ value: UInt32) {
        set(0, value)
        byte(0x0F, 0x22, 0xC0 | number << 3)
    }

    mutating func modelRegister(_ number: UInt32, _ value: UInt32, high: UInt32 = 0) {
        set(1, number)
        set(0, value)
        set(2, random.once(in: 8) ? random.word() : high)
        byte(0x0F, 0x30)
    }
}
