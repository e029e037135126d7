// The x86-64 processor in software: long mode, and protected mode without paging, from which old kernels and unpackers go there.
// It keeps the contract of GuestProcessor.swift. To read on, in this order:
//
//     LongState, LongFlags       registers, and where decoded operations find them
//     LongPaging                 from a linear address to memory
//     LongOperation, LongDecoder…   from bytes to records
//     LongBlocks                 the cache of decoded blocks
//     LongExecute, …Helpers      the loop over records
//     LongSlowPath…, LongStrings, LongFloatingPoint   what the loop leaves to others
//     LongGates, LongSystem      exceptions, transfers, ring 0
//     LongIdentity               CPUID, model-specific registers, clock
//     LongVectors, LongLevel2    SSE
//     LongCompatible             32-bit programs below a 64-bit kernel
//
// A second core beside the i386's: what is common to both (RecordProcessor, BlockCache, the x87, faults and exits) is shared, but registers,
// segments, modes and tables differ in every line of a decoder and of a loop. What is not there: real mode, 32-bit paging
// and gates, breakpoints of ports, alignment checks, what LongIdentity does not name.

/// An x86-64 processor with ring 0. Not for several threads at once.
@safe final class LongProcessor: RecordProcessor, GuestProcessor {
    let core: LongCore
    private let memory: GuestMemory
    private let mapping: Mapping
    private let arena: Mapping
    private let state: UnsafeMutablePointer<LongState>

    /// Bytes for decoded blocks.
    static let usualArenaCount: UInt32 = 6 * 1024 * 1024

    /// - Throws: ENOMEM where there is no room for the tables; ENODEV for a start of a 32-bit kernel.
    init(
        memory: GuestMemory, start: ProcessorStart,
        arenaCount: UInt32 = LongProcessor.usualArenaCount
    ) throws(Errno) {
        if start.mode == .protected32 { throw .noDevice }
        self.memory = memory
        let arenaCount = max(arenaCount, LongCore.leastArenaCount) & ~63
        var layout = TableLayout()
        let stateOffset = layout.take(1, LongState.self)
        let users = layout.take(LongCore.tlbCount, LongTLBEntry.self)
        let supervisors = layout.take(LongCore.tlbCount, LongTLBEntry.self)
        let blocks = BlockCache.Places(&layout, LongCore.blockShape, memory)
        let scratch = layout.take(1024, UInt8.self)
        let filled = layout.take(LongCore.filledCapacity, UInt16.self)
        mapping = try Mapping.guarded(count: layout.count)
        arena = try Mapping.guarded(count: Int(arenaCount))
        let place = unsafe mapping.start
        unsafe state = unsafe (place + stateOffset).bindMemory(to: LongState.self, capacity: 1)
        core = unsafe LongCore(state)
        super.init()
        unsafe state.initialize(
            to: LongState(
                tlb: (place + supervisors).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                userTLB: (place + users).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                supervisorTLB: (place + supervisors).bindMemory(
                    to: LongTLBEntry.self, capacity: LongCore.tlbCount),
                blocks: BlockCache(
                    LongCore.blockShape, blocks, at: place, memory, arena: arena.start,
                    arenaCount: arenaCount),
                filled: (place + filled).bindMemory(
                    to: UInt16.self, capacity: LongCore.filledCapacity),
                memory: memory.base, extent: memory.extent,
                scratch: place + scratch, owner: self))
        core.flushTLB()
        enter(start)
        core.updateMode()
        let core = core
        memory.watchedWillChange = { address, count in core.noteWrite(address, count) }
    }

    private func enter(_ start: ProcessorStart) {
        if case .long64(let pageTable) = start.mode {
            core.state.control3 = pageTable
        } else {
            core.state.control0 &= ~UInt64(Control0.paging)
            core.state.control4 = 0
            core.state.features = 0
            core.state.isLong = false
        }
        core.state.globalTable = LongTable(base: start.globalTable, limit: start.globalTableLimit)
        for segment in 0..<6 { core.install(segment, ProcessorStart.dataSelector, .flatData) }
        core.install(
            1, ProcessorStart.codeSelector, core.state.isLong ? .flatLongCode : .flatCode)
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

    func ranProgram() -> Bool? {
        let rings = core.state.outerRings | core.state.privilege
        core.state.outerRings = 0
        return rings != 0
    }

    override var missing: MissingInstruction? { core.state.missing }
    override func tellStop() { core.tellStop() }

    var timeStamp: () -> UInt64 = { Clock.monotonic().count }

    // MARK: Running

    /// Decoded code is most of a processor's memory.
    func rest() throws(Errno) {
        guard core.state.blocks.isLarge else { return }
        core.forgetBlocks()
        try arena.empty()
    }

    override func watchWindow() {
        core.state.attention =
            core.state.attention & ~Attention.window
            | (awaitsInterruptWindow ? Attention.window : 0)
    }

    override var canInject: Bool {
        core.state.otherFlags & UInt64(Flag.interrupt) != 0
            && core.state.attention & Attention.shadow == 0 && undelivered == nil
            && !core.state.owesStep && core.state.debug.pending == 0
    }

    override func execute(_ instructions: Int) -> (left: Int, exit: ProcessorExit?) {
        if !core.state.debug.isActive { core.state.otherFlags &= ~UInt64(Flag.resume) }
        core.state.budget = instructions
        let flow = core.execute()
        core.state.floatingPoint.suspend()
        guard flow != .next, let exit = core.state.exit else { return (core.state.budget, nil) }
        core.state.exit = nil
        return (core.state.budget, exit)
    }

    override func take(_ value: UInt64, _ size: UInt8) {
        if core.answerString(value, size) { return }
        switch size {
        case 1: core.set(0, UInt8(truncatingIfNeeded: value))
        case 2: core.set(0, UInt16(truncatingIfNeeded: value))
        default: core.set(0, UInt32(truncatingIfNeeded: value))
        }
    }

    func inject(_ vector: UInt8, errorCode: UInt32) {
        if !core.interrupt(from: vector) { undelivered = .shutdown }
        core.state.exit = nil
    }
}
