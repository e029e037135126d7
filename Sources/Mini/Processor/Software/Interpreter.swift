// What every i386 processor in software is, whatever its guest may do: the owner of the state and of the tables, and the
// registers. SoftwareProcessor.swift and SystemProcessor.swift are the two of them.

/// An i386 processor that executes decoded records. Not for several threads at once.
@safe class Interpreter: RecordProcessor, GuestProcessor {
    final let core: Core
    final let memory: GuestMemory
    /// Own the state and all tables, and the arena; taken from the kernel as they are touched.
    private let mapping: Mapping
    private let arena: Mapping
    private let state: UnsafeMutablePointer<State>

    /// - Parameter arenaCount: bytes for decoded blocks; a small arena is full sooner.
    /// - Throws: ENOMEM where there is no room for the tables.
    /// - Parameter isSystem: whether the guest has ring 0 and all tables.
    init(
        memory: GuestMemory, profile: ProcessorProfile, arenaCount: UInt32, isSystem: Bool
    ) throws(Errno) {
        self.memory = memory
        let arenaCount = max(arenaCount, Core.leastArenaCount) & ~63
        var layout = TableLayout()
        let stateOffset = layout.take(1, State.self)
        let users = layout.take(Core.tlbCount, TLBEntry.self)
        let supervisors = layout.take(Core.tlbCount, TLBEntry.self)
        let blocks = BlockCache.Places(&layout, Core.blockShape, memory)
        let segments = layout.take(6, SegmentRegister.self)
        let descriptors = layout.take(Int(profile.descriptorCount), UInt64.self)
        let gates = layout.take(256, GateEntry.self)
        let scratch = layout.take(Core.scratchCount, UInt8.self)
        let system = layout.take(isSystem ? 1 : 0, SystemState.self)
        let slots = layout.take(isSystem ? 2 * Core.tlbCount : 0, UInt8.self)
        let fetched = layout.take(isSystem ? Core.tlbCount : 0, UInt32.self)
        let filled = layout.take(isSystem ? SystemState.filledCapacity : 0, UInt16.self)
        let large = layout.take(isSystem ? SystemState.largeRegions / 8 : 0, UInt8.self)
        mapping = try Mapping.guarded(count: layout.count)
        arena = try Mapping.guarded(count: Int(arenaCount))
        let start = unsafe mapping.start
        unsafe state = unsafe (start + stateOffset).bindMemory(to: State.self, capacity: 1)
        unsafe state.initialize(
            to: State(
                privilege: profile.kernelRing,
                tlb: (start + supervisors).bindMemory(
                    to: TLBEntry.self, capacity: Core.tlbCount),
                userTLB: (start + users).bindMemory(
                    to: TLBEntry.self, capacity: Core.tlbCount),
                supervisorTLB: (start + supervisors).bindMemory(
                    to: TLBEntry.self, capacity: Core.tlbCount),
                blocks: BlockCache(
                    Core.blockShape, blocks, at: start, memory, arena: arena.start,
                    arenaCount: arenaCount),
                memory: memory.base, memoryCount: memory.count,
                segments: (start + segments).bindMemory(to: SegmentRegister.self, capacity: 6),
                descriptors: (start + descriptors).bindMemory(
                    to: UInt64.self, capacity: Int(profile.descriptorCount)),
                gates: (start + gates).bindMemory(to: GateEntry.self, capacity: 256),
                scratch: start + scratch, profile: profile))
        precondition(unsafe State.isOutOfReach(state))
        core = unsafe Core(state)
        core.state.pageRules.limit = memory.count / Page.size
        if isSystem {
            let place = unsafe (start + system).bindMemory(to: SystemState.self, capacity: 1)
            unsafe place.initialize(
                to: SystemState(
                    slots: (start + slots).bindMemory(to: UInt8.self, capacity: 2 * Core.tlbCount),
                    fetched: (start + fetched).bindMemory(to: UInt32.self, capacity: Core.tlbCount),
                    filled: (start + filled).bindMemory(
                        to: UInt16.self, capacity: SystemState.filledCapacity),
                    large: (start + large).bindMemory(
                        to: UInt8.self, capacity: SystemState.largeRegions / 8)))
            unsafe core.state.system = unsafe place
        }
        core.flushTLB()
        core.updateMode()
        let core = core
        memory.watchedWillChange = { address, count in
            core.noteWrite(UInt32(truncatingIfNeeded: address), count)
        }
    }

    deinit {
        memory.watchedWillChange = nil
        if let system = unsafe state.pointee.system { unsafe system.deinitialize(count: 1) }
        unsafe state.deinitialize(count: 1)
    }

    // MARK: Registers

    typealias Register = ProcessorRegister
    typealias Segment = ProcessorSegment

    subscript(_ register: Register) -> UInt32 {
        get {
            switch register {
            case .eip: core.state.eip
            case .eflags: core.flags
            default: core.get(register.rawValue * 4)
            }
        }
        set {
            switch register {
            case .eip: core.state.eip = newValue
            case .eflags: core.flags = newValue
            default: core.set(register.rawValue * 4, newValue)
            }
        }
    }

    func register(_ register: Register) -> UInt64 { UInt64(self[register]) }
    func setRegister(_ register: Register, _ value: UInt64) {
        self[register] = UInt32(truncatingIfNeeded: value)
    }

    /// Current privilege level.
    var privilege: UInt8 { UInt8(truncatingIfNeeded: core.state.privilege) }

    func ranProgram() -> Bool? {
        let rings = core.state.outerRings | core.state.privilege
        core.state.outerRings = 0
        return rings != 0
    }

    // MARK: The rest

    /// Where the count of generations stands; it comes round behind `Generation.last`. Set by tests
    /// that want to see that happen, and forwards only: keys of before must not come true.
    var generation: UInt32 {
        get { core.state.blocks.generation.number }
        set {
            core.state.blocks.generation = Generation(number: max(newValue, generation))
            core.state.blocks.everyKeyIsNew()
            core.updateMode()
        }
    }

    var timeStamp: () -> UInt64 {
        get { core.state.timeStamp }
        set { core.state.timeStamp = newValue }
    }

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
            | (awaitsInterruptWindow && core.isSystem ? Attention.window : 0)
    }

    override var canInject: Bool {
        core.flags & Flag.interrupt != 0 && core.state.attention & Attention.shadow == 0
            && undelivered == nil && !core.state.owesStep
            && core.state.debug.pending == 0
    }

    override func execute(_ instructions: Int) -> (left: Int, exit: ProcessorExit?) {
        if !core.state.debug.isActive { core.state.otherFlags &= ~Flag.resume }
        core.state.budget = instructions
        let flow = core.execute()
        core.state.floatingPoint.suspend()
        guard flow != .next else { return (core.state.budget, nil) }
        guard let exit = core.state.exit else { return (core.state.budget, faultExit) }
        core.state.exit = nil
        return (core.state.budget, exit)
    }

    /// The exit for a fault that the guest does not take itself.
    private var faultExit: ProcessorExit {
        switch core.state.fault {
        case .refusedDirectoryEntry: .refusedDirectoryEntry
        case .refusedMiddleEntry: .refusedMiddleEntry
        case .refusedTableEntry: .refusedTableEntry
        case .exception(let vector, let code):
            .trap(
                vector: vector, errorCode: code,
                address: vector == ExceptionVector.pageFault ? UInt64(core.state.faultAddress) : 0)
        case .none: .stretchEnded
        }
    }

    override func take(_ value: UInt64, _ size: UInt8) {
        if core.answerString(value, size) { return }
        let accumulator = Register.eax.rawValue * 4
        switch size {
        case 1: core.set(accumulator, UInt8(truncatingIfNeeded: value))
        case 2: core.set(accumulator, UInt16(truncatingIfNeeded: value))
        default: core.set(accumulator, UInt32(truncatingIfNeeded: value))
        }
    }

    func inject(_ vector: UInt8, errorCode: UInt32) {
        if core.isSystem {
            if !core.interrupt(from: vector) { undelivered = .shutdown }
            core.state.exit = nil
            return
        }
        guard !core.deliver(.exception(vector: vector, code: errorCode)) else { return }
        undelivered = faultExit
    }
}
