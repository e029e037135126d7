// The x86-64 processor in software: long mode, as a 64-bit kernel is entered in it and never leaves it. It keeps the contract
// of GuestProcessor.swift. To read on, in this order:
//
//     LongState, LongFlags       registers, and where decoded operations find them
//     LongPaging                 from a linear address to memory
//     LongOperation, LongDecoder…   from bytes to records
//     LongBlocks                 the cache of decoded blocks
//     LongExecute, …Helpers      the loop over records
//     LongSlowPath, LongStrings  what the loop leaves to others
//     LongGates, LongSystem      exceptions, transfers, ring 0
//     LongIdentity               CPUID, model-specific registers, clock
//     LongVector                 SSE
//     LongCompatible             32-bit programs below a 64-bit kernel
//
// A second core beside the i386's: what is common to both (TimeSlice, the x87, faults and exits) is shared, but registers,
// segments, modes and tables differ in every line of a decoder and of a loop. What is not there: real mode and protected mode
// without long mode, the debug registers' break-points, alignment checks, what LongIdentity does not name.

/// An x86-64 processor with ring 0. Not for several threads at once.
@safe final class LongProcessor: GuestProcessor {
    let core: LongCore
    private let memory: GuestMemory
    private let mapping: Mapping
    private let arena: Mapping
    private let state: UnsafeMutablePointer<LongState>

    /// Bytes for decoded blocks.
    static let usualArenaCount: UInt32 = 6 * 1024 * 1024

    /// - Throws: ENOMEM where there is no room for the tables; ENODEV for a start that is not in long mode.
    init(
        memory: GuestMemory, start: ProcessorStart,
        arenaCount: UInt32 = LongProcessor.usualArenaCount
    ) throws(Errno) {
        guard case .long64(let pageTable) = start.mode else { throw .noDevice }
        self.memory = memory
        let arenaCount = max(arenaCount, LongCore.leastArenaCount) & ~63
        var layout = Layout()
        let pages = Int(memory.count / Page.size)
        let stateOffset = layout.take(1, LongState.self)
        let users = layout.take(LongCore.tlbCount, LongTLBEntry.self)
        let supervisors = layout.take(LongCore.tlbCount, LongTLBEntry.self)
        let jumps = layout.take(LongCore.jumpCount, LongJumpEntry.self)
        let hash = layout.take(LongCore.hashCount, UInt32.self)
        let pageBlocks = layout.take(pages, UInt32.self)
        let crossings = layout.take(pages, UInt32.self)
        let scratch = layout.take(1024, UInt8.self)
        let filled = layout.take(LongCore.filledCapacity, UInt16.self)
        mapping = try Mapping.guarded(count: layout.count)
        arena = try Mapping.guarded(count: Int(arenaCount))
        let place = unsafe mapping.start
        unsafe state = unsafe (place + stateOffset).bindMemory(to: LongState.self, capacity: 1)
        core = unsafe LongCore(state)
        unsafe state.initialize(
            to: LongState(
                tlb: (place + supervisors).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                userTLB: (place + users).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                supervisorTLB: (place + supervisors).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                jumps: (place + jumps).bindMemory(
                    to: LongJumpEntry.self, capacity: LongCore.jumpCount),
                filled: (place + filled).bindMemory(
                    to: UInt16.self, capacity: LongCore.filledCapacity),
                memory: memory.base, memoryCount: memory.count,
                watchedLines: memory.watchedLines, arena: arena.start, arenaCount: arenaCount,
                blockHash: (place + hash).bindMemory(
                    to: UInt32.self, capacity: LongCore.hashCount),
                pageBlocks: (place + pageBlocks).bindMemory(to: UInt32.self, capacity: pages),
                crossingBlocks: (place + crossings).bindMemory(to: UInt32.self, capacity: pages),
                scratch: place + scratch, owner: self))
        core.state.arenaUsed = LongCore.arenaStart
        core.flushTLB()
        enter(start, pageTable)
        core.updateMode()
        let core = core
        memory.watchedWillChange = { address, count in core.noteWrite(address, count) }
    }

    private func enter(_ start: ProcessorStart, _ pageTable: UInt64) {
        core.state.control3 = pageTable
        core.state.debug[6] = 0xFFFF_0FF0
        core.state.debug[7] = 0x400
        core.state.globalTable = LongTable(base: start.globalTable, limit: start.globalTableLimit)
        for segment in 0..<6 { core.install(segment, ProcessorStart.dataSelector, .flatData) }
        core.install(1, ProcessorStart.codeSelector, .flatLongCode)
        core.state.task = LongSystemSegment(
            selector: ProcessorStart.taskSelector, base: 0, limit: 0x67)
        core.state.rip = start.entry
        core.rsp = start.stack
        core.rsi = start.parameters
        core.rbx = start.startInfo
        core.flags = UInt64(Flag.one)
    }

    deinit {
        memory.watchedWillChange = nil
        unsafe state.deinitialize(count: 1)
    }

    /// Lays tables one after the other, each at a multiple of 64 bytes.
    private struct Layout {
        var count = 0
        mutating func take<Element>(_ number: Int, _: Element.Type) -> Int {
            defer { count = (count + number * MemoryLayout<Element>.stride + 63) & ~63 }
            return count
        }
    }

    // MARK: Registers

    func register(_ register: ProcessorRegister) -> UInt64 {
        switch register {
        case .eip: core.state.rip
        case .eflags: core.flags
        default: core.get(register.rawValue * 8)
        }
    }

    func setRegister(_ register: ProcessorRegister, _ value: UInt64) {
        switch register {
        case .eip: core.state.rip = value
        case .eflags: core.flags = value
        default: core.set(register.rawValue * 8, value)
        }
    }

    var privilege: UInt8 { UInt8(truncatingIfNeeded: core.state.privilege) }

    /// Instructions executed, those that faulted included.
    private(set) var instructionCount: UInt64 = 0

    var timeStamp: () -> UInt64 = { Clock.monotonic().count }

    // MARK: Running

    /// What `run(until:)` reads; tests have a clock of their own.
    var clock: () -> Nanoseconds = Clock.monotonic
    private var slice = TimeSlice()
    /// What `inject` came to, if that was an exit.
    private var undelivered: ProcessorExit?
    private var inputSize: UInt8 = 0
    var awaitsInterruptWindow = false {
        didSet {
            core.state.attention =
                core.state.attention & ~Attention.window
                | (awaitsInterruptWindow ? Attention.window : 0)
        }
    }

    var canInject: Bool {
        core.state.otherFlags & UInt64(Flag.interrupt) != 0
            && core.state.attention & Attention.shadow == 0 && undelivered == nil
    }

    func resume(at now: Nanoseconds) { slice.resume(at: now) }

    func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit {
        if awaitsInterruptWindow && canInject { return .interruptWindow }
        var left = stretch.map { slice.instructions(for: $0) } ?? .max
        while true {
            if slice.isOver(before: deadline) { slice.begin(at: clock(), until: deadline) }
            if let deadline, deadline <= slice.now { return .deadline }
            if left <= 0 { return .stretchEnded }
            let before = instructionCount
            let exit = run(instructions: min(slice.budget, left))
            let count = instructionCount &- before
            slice.spend(count)
            left -= Int(truncatingIfNeeded: count)
            if case .stretchEnded = exit { continue }
            slice.spendExit()
            return exit
        }
    }

    /// Executes at most so many instructions, without a look at the clock.
    func run(instructions: Int) -> ProcessorExit {
        if let exit = undelivered {
            undelivered = nil
            return exit
        }
        core.state.otherFlags &= ~UInt64(Flag.resume)
        core.state.budget = instructions
        let flow = core.execute()
        core.state.floatingPoint.suspend()
        instructionCount &+= UInt64(max(0, instructions - core.state.budget))
        if flow == .next { return .stretchEnded }
        guard let exit = core.state.exit else { return .stretchEnded }
        core.state.exit = nil
        if exit == .shutdown { undelivered = .shutdown }
        if case .portInput(let access) = exit { inputSize = access.size }
        return exit
    }

    func answer(_ value: UInt64) {
        defer { inputSize = 0 }
        if inputSize > 0 && core.answerString(value, inputSize) { return }
        switch inputSize {
        case 1: core.set(0, UInt8(truncatingIfNeeded: value))
        case 2: core.set(0, UInt16(truncatingIfNeeded: value))
        case 4: core.set(0, UInt32(truncatingIfNeeded: value))
        default: break
        }
    }

    func inject(_ vector: UInt8, errorCode: UInt32) {
        if !core.interrupt(from: vector) { undelivered = .shutdown }
        core.state.exit = nil
    }
}
