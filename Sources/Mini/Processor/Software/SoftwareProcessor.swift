// The i386 processor in software: protected mode at rings 1 to 3, paging always on, as
// much of a Pentium Pro without MMX as a Linux kernel and its programs use. It keeps the contract of
// GuestProcessor.swift, by the rules of a profile.
//
// This file is what its user sees. To read on, in this order:
//
//     State, Flags            registers and lazy flags
//     Segments, Paging        from a segment and an offset to a linear address to memory
//     Operation, Decoder…     from bytes to records
//     Blocks                  the cache of decoded blocks
//     Execute, …Helpers       the loop over records
//     TimeSlice               when the clock is read
//     SlowPath…, Stack, Strings   what the loop leaves to others
//     Gates                   exceptions, INT n, far transfers
//     FloatingPoint…          x87
//
// Source: Intel SDM volumes 1-3.

/// An i386 processor. Not for several threads at once.
@safe final class SoftwareProcessor: DeprivilegedProcessor {
    private let core: Core
    private let memory: GuestMemory
    /// Own the state and all tables, and the arena; taken from the kernel as they are touched.
    private let mapping: Mapping
    private let arena: Mapping
    private let state: UnsafeMutablePointer<State>

    /// A processor on a memory, with nothing in its registers; the translation of linear
    /// addresses begins at `pageDirectory`.
    /// - Parameter arenaCount: bytes for decoded blocks; a small arena is full sooner.
    /// - Throws: ENOMEM where there is no room for the tables (under 2.5 MiB).
    init(
        memory: GuestMemory, profile: ProcessorProfile, arenaCount: UInt32 = Core.usualArenaCount
    ) throws(Errno) {
        self.memory = memory
        let arenaCount = max(arenaCount, Core.leastArenaCount) & ~63
        var layout = Layout()
        let pages = Int(memory.count / Page.size)
        let stateOffset = layout.take(1, State.self)
        let users = layout.take(Core.tlbCount, TLBEntry.self)
        let supervisors = layout.take(Core.tlbCount, TLBEntry.self)
        let jumps = layout.take(Core.jumpCount, JumpEntry.self)
        let segments = layout.take(6, SegmentRegister.self)
        let descriptors = layout.take(Int(profile.descriptorCount), UInt64.self)
        let gates = layout.take(256, GateEntry.self)
        let hash = layout.take(Core.hashCount, UInt32.self)
        let pageBlocks = layout.take(pages, UInt32.self)
        let scratch = layout.take(512, UInt8.self)
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
                jumps: (start + jumps).bindMemory(
                    to: JumpEntry.self, capacity: Core.jumpCount),
                memory: memory.base, memoryCount: memory.count, watchedLines: memory.watchedLines,
                segments: (start + segments).bindMemory(to: SegmentRegister.self, capacity: 6),
                descriptors: (start + descriptors).bindMemory(
                    to: UInt64.self, capacity: Int(profile.descriptorCount)),
                gates: (start + gates).bindMemory(to: GateEntry.self, capacity: 256),
                arena: arena.start, arenaCount: arenaCount,
                blockHash: (start + hash).bindMemory(
                    to: UInt32.self, capacity: Core.hashCount),
                pageBlocks: (start + pageBlocks).bindMemory(to: UInt32.self, capacity: pages),
                scratch: start + scratch, profile: profile))
        precondition(unsafe State.isOutOfReach(state))
        core = unsafe Core(state)
        core.state.arenaUsed = Core.arenaStart
        core.state.pageRules.limit = memory.count / Page.size
        core.flushTLB()
        core.updateMode()
        let core = core
        memory.watchedWillChange = { address, count in core.noteWrite(address, count) }
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

    /// Instructions executed, those that faulted included.
    private(set) var instructionCount: UInt64 = 0

    // MARK: Segments

    func selector(_ segment: Segment) -> UInt16 {
        unsafe core.state.segments[Int(segment.rawValue)].selector
    }

    func setSegment(_ segment: Segment, _ selector: UInt16) -> Bool {
        let number = Int(segment.rawValue)
        let ring = UInt32(selector & 3)
        do throws(Fault) {
            switch segment {
            case .cs:
                core.installCode(
                    selector, try core.codeDescriptor(selector, privilege: ring),
                    privilege: ring)
            case .ss:
                core.install(
                    number, selector, try core.stackDescriptor(selector, privilege: ring))
            default:
                if selector & 0xFFFC == 0 {
                    core.installNull(number, selector)
                } else {
                    core.install(
                        number, selector, try core.dataDescriptor(selector, privilege: 0))
                }
            }
            return true
        } catch {
            return false
        }
    }

    func reloadSegments() -> Bool {
        for segment in [.gs, .fs, .ds, .es, .cs, .ss] as [Segment] {
            guard setSegment(segment, selector(segment)) else { return false }
        }
        core.nullGuardedSegments()
        return true
    }

    func descriptor(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < core.state.profile.descriptorCount)
        return unsafe core.state.descriptors[index]
    }

    func setDescriptor(_ index: Int, _ value: UInt64) {
        precondition(index >= 0 && index < core.state.profile.descriptorCount)
        unsafe core.state.descriptors[index] = value
    }

    // MARK: Gates

    func setGate(_ vector: UInt8, _ gate: ProcessorGate) {
        let entry =
            switch gate {
            case .exit(let privilege): GateEntry(privilege: privilege)
            case .direct(let selector, let offset, let privilege, let isTrap):
                GateEntry(
                    offset: offset, selector: selector, privilege: privilege, isDirect: true,
                    isTrap: isTrap)
            }
        unsafe core.state.gates[Int(vector)] = entry
    }

    func setRingStack(selector: UInt16, pointer: UInt32) {
        core.state.ringStackSelector = selector
        core.state.ringStackPointer = pointer
    }

    // MARK: Paging

    /// What the walk refuses. At first, and in any case, pages behind the memory's end.
    var pageRules: PageRules {
        get { core.state.pageRules }
        set {
            core.state.pageRules = newValue
            core.state.pageRules.limit = min(newValue.limit, memory.count / Page.size)
            core.flushTLB()
        }
    }

    var portRules: PortRules {
        get { core.state.portRules }
        set { core.state.portRules = newValue }
    }

    var pageDirectory: UInt32 {
        get { core.state.pageDirectory }
        set {
            core.state.pageDirectory = newValue
            core.flushTLB()
        }
    }

    func flushTLB() { core.flushTLB() }

    func flushTLB(of linear: UInt32) { core.flushTLB(of: linear) }

    func translate(_ linear: UInt32, write: Bool, user: Bool) -> UInt32? {
        do throws(Fault) {
            return try core.walk(linear, write: write, user: user).0
        } catch {
            return nil
        }
    }

    func write32(linear: UInt32, _ value: UInt32) -> Bool {
        guard let first = translate(linear, write: true, user: false),
            let last = translate(linear &+ 3, write: true, user: false)
        else { return false }
        let inFirst = min(4, Page.rest(first))
        for index in 0..<UInt32(4) {
            // The last byte may be one of the memory's first three.
            let address = index < inFirst ? first + index : last - (3 - index)
            core.noteWrite(address, 1)
            unsafe memory.base.storeBytes(
                of: UInt8(truncatingIfNeeded: value >> (8 * index)), toByteOffset: Int(address),
                as: UInt8.self)
        }
        return true
    }

    // MARK: The rest

    /// Where the count of generations stands; it comes round behind `Generation.last`. Set by tests
    /// that want to see that happen, and forwards only: keys of before must not come true.
    var generation: UInt32 {
        get { core.state.generation.number }
        set {
            core.state.generation = Generation(number: max(newValue, generation))
            core.updateMode()
        }
    }

    var taskSwitched: Bool {
        get { core.state.taskSwitched }
        set { core.state.taskSwitched = newValue }
    }

    var timeStamp: () -> UInt64 {
        get { core.state.timeStamp }
        set { core.state.timeStamp = newValue }
    }

    // MARK: Running

    /// What `run(until:)` reads; tests have a clock of their own.
    var clock: () -> Nanoseconds = Clock.monotonic
    private var slice = TimeSlice()
    /// What `inject` came to, if that was an exit.
    private var undelivered: ProcessorExit?
    /// Bytes that the last exit's input wants.
    private var inputSize: UInt8 = 0
    var awaitsInterruptWindow = false

    func resume(at now: Nanoseconds) { slice.resume(at: now) }

    func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit {
        if awaitsInterruptWindow && core.flags & Flag.interrupt != 0 { return .interruptWindow }
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

    /// Executes at most so many instructions (a repeated string instruction may count as
    /// several), without a look at the clock.
    func run(instructions: Int) -> ProcessorExit {
        if let exit = undelivered {
            undelivered = nil
            return exit
        }
        core.state.otherFlags &= ~Flag.resume
        core.state.budget = instructions
        let flow = core.execute()
        core.state.floatingPoint.suspend()
        instructionCount &+= UInt64(max(0, instructions - core.state.budget))
        if flow == .next { return .stretchEnded }
        guard let exit = core.state.exit else { return faultExit }
        core.state.exit = nil
        if case .portInput(let access) = exit { inputSize = access.size }
        return exit
    }

    /// The exit for a fault that the guest does not take itself.
    private var faultExit: ProcessorExit {
        switch core.state.fault {
        case .refusedDirectoryEntry: .refusedDirectoryEntry
        case .refusedTableEntry: .refusedTableEntry
        case .exception(let vector, let code):
            .trap(
                vector: vector, errorCode: code,
                address: vector == 14 ? UInt64(core.state.faultAddress) : 0)
        case .none: .stretchEnded
        }
    }

    func answer(_ value: UInt64) {
        let accumulator = Register.eax.rawValue * 4
        switch inputSize {
        case 1: core.set(accumulator, UInt8(truncatingIfNeeded: value))
        case 2: core.set(accumulator, UInt16(truncatingIfNeeded: value))
        case 4: core.set(accumulator, UInt32(truncatingIfNeeded: value))
        default: break
        }
        inputSize = 0
    }

    var canInject: Bool { core.flags & Flag.interrupt != 0 }

    func inject(_ vector: UInt8, errorCode: UInt32) {
        guard !core.deliver(.exception(vector: vector, code: errorCode)) else { return }
        undelivered = faultExit
    }
}
