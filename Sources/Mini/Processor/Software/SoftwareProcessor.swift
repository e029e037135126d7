// The i386 processor in software: protected mode at rings 1 to 3, paging always on, as
// much of a Pentium Pro without MMX as a Linux kernel and its programs use.
//
// This file is what the host sees. To read on, in this order:
//
//     State, Flags            registers and lazy flags
//     Segments, Paging        from a segment and an offset to a linear address to memory
//     Operation, Decoder…     from bytes to records
//     Blocks                  the cache of decoded blocks
//     Execute, …Helpers       the loop over records
//     SlowPath…, Stack, Strings   what the loop leaves to others
//     Gates                   exceptions, INT n, far transfers
//     FloatingPoint…          x87
//
// Sources: Intel SDM volumes 1-3; docs/abi/lguest.md §4 for what the host wants.

/// An i386 processor. Not for several threads at once.
@safe final class SoftwareProcessor {
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
    init(memory: GuestMemory, arenaCount: UInt32 = Core.usualArenaCount) throws(Errno) {
        self.memory = memory
        let arenaCount = max(arenaCount, Core.leastArenaCount) & ~63
        var layout = Layout()
        let pages = Int(memory.count / Page.size)
        let stateOffset = layout.take(1, State.self)
        let users = layout.take(Core.tlbCount, TLBEntry.self)
        let supervisors = layout.take(Core.tlbCount, TLBEntry.self)
        let jumps = layout.take(Core.jumpCount, JumpEntry.self)
        let segments = layout.take(6, SegmentRegister.self)
        let descriptors = layout.take(32, UInt64.self)
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
                descriptors: (start + descriptors).bindMemory(to: UInt64.self, capacity: 32),
                gates: (start + gates).bindMemory(to: GateEntry.self, capacity: 256),
                arena: arena.start, arenaCount: arenaCount,
                blockHash: (start + hash).bindMemory(
                    to: UInt32.self, capacity: Core.hashCount),
                pageBlocks: (start + pageBlocks).bindMemory(to: UInt32.self, capacity: pages),
                scratch: start + scratch))
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

    enum Register: UInt8 { case eax, ecx, edx, ebx, esp, ebp, esi, edi }
    enum Segment: UInt8 { case es, cs, ss, ds, fs, gs }

    subscript(_ register: Register) -> UInt32 {
        get { core.get(register.rawValue * 4) }
        set { core.set(register.rawValue * 4, newValue) }
    }

    var eip: UInt32 {
        get { core.state.eip }
        set { core.state.eip = newValue }
    }

    /// As a program sees them: IF is 1, IOPL 0. RF is set after a fault went to the host.
    var eflags: UInt32 {
        get { core.flags }
        set { core.flags = newValue }
    }

    /// Current privilege level.
    var privilege: UInt8 { UInt8(truncatingIfNeeded: core.state.privilege) }

    /// Instructions executed, those that faulted included.
    private(set) var instructionCount: UInt64 = 0

    // MARK: Segments

    func selector(_ segment: Segment) -> UInt16 {
        unsafe core.state.segments[Int(segment.rawValue)].selector
    }

    /// Sets a segment register from the GDT as the host's own return to the guest does: with
    /// no check against the present privilege. Of cs, the privilege becomes the selector's.
    /// - Returns: false if a processor would refuse the descriptor there.
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

    /// Loads the hidden parts again, in the order gs, fs, ds, es, then cs and ss, and nulls
    /// what the ring may not use, as a host's return to the guest does.
    /// - Returns: false if one cannot be loaded.
    func reloadSegments() -> Bool {
        for segment in [.gs, .fs, .ds, .es, .cs, .ss] as [Segment] {
            guard setSegment(segment, selector(segment)) else { return false }
        }
        core.nullGuardedSegments()
        return true
    }

    /// Entry 0...31 of the GDT, with its accessed bit.
    func descriptor(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < 32)
        return unsafe core.state.descriptors[index]
    }

    /// Replaces an entry of the GDT. Segment registers keep what they loaded.
    func setDescriptor(_ index: Int, _ value: UInt64) {
        precondition(index >= 0 && index < 32)
        unsafe core.state.descriptors[index] = value
    }

    // MARK: Gates

    /// A vector's gate as the hardware has it. `privilege`: the least that may use INT n.
    enum Gate: Equatable {
        /// Enters the host: `run` returns `.trap`.
        case host(privilege: UInt8)
        /// A 32-bit gate that is taken without the host.
        case direct(selector: UInt16, offset: UInt32, privilege: UInt8, isTrap: Bool)
    }

    /// All vectors start as `.host(privilege: 0)`.
    func setGate(_ vector: UInt8, _ gate: Gate) {
        let entry =
            switch gate {
            case .host(let privilege): GateEntry(privilege: privilege)
            case .direct(let selector, let offset, let privilege, let isTrap):
                GateEntry(
                    offset: offset, selector: selector, privilege: privilege, isDirect: true,
                    isTrap: isTrap)
            }
        unsafe core.state.gates[Int(vector)] = entry
    }

    /// ss1 and esp1 of the task state segment.
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

    /// CR3. Setting it empties the TLB.
    var pageDirectory: UInt32 {
        get { core.state.pageDirectory }
        set {
            core.state.pageDirectory = newValue
            core.flushTLB()
        }
    }

    func flushTLB() { core.flushTLB() }

    /// Forgets the translation of one linear page.
    func flushTLB(of page: UInt32) { core.flushTLB(of: page) }

    /// Guest-physical address of a linear one, by a walk that sets accessed and dirty bits.
    /// - Returns: nil where an access of this kind would fault.
    func translate(_ linear: UInt32, write: Bool, user: Bool) -> UInt32? {
        do throws(Fault) {
            return try core.walk(linear, write: write, user: user).0
        } catch {
            return nil
        }
    }

    func read8(linear: UInt32) -> UInt8? {
        guard let address = translate(linear, write: false, user: false) else { return nil }
        return unsafe memory.base.load(fromByteOffset: Int(address), as: UInt8.self)
    }

    /// Stores a word with supervisor rights.
    /// - Returns: false, with nothing stored, if not all of it may be written.
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

    /// CR0.TS: x87 instructions raise #NM.
    var taskSwitched: Bool {
        get { core.state.taskSwitched }
        set { core.state.taskSwitched = newValue }
    }

    /// What RDTSC reads.
    var timeStamp: () -> UInt64 {
        get { core.state.timeStamp }
        set { core.state.timeStamp = newValue }
    }

    /// CPUID: leaf to eax, ebx, ecx, edx.
    var identification: (UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        get { core.state.identification }
        set { core.state.identification = newValue }
    }

    // MARK: Running

    /// Why `run` returned.
    enum Exit: Equatable {
        /// The instructions are used up. At an instruction boundary.
        case sliceEnded
        /// A vector whose gate is the host's. After a fault `eip` is at the instruction, after
        /// INT n, INT3, INTO and the single-step trap behind it. The error code is 0 where
        /// the vector has none; the address is that of the access for vector 14, else 0.
        case trap(vector: UInt8, errorCode: UInt32, address: UInt32)
        /// The walk met a present entry that the page rules refuse.
        case refusedDirectoryEntry, refusedTableEntry
    }

    /// Executes at most so many instructions (a repeated string instruction may count as
    /// several).
    func run(instructions: Int) -> Exit {
        core.state.otherFlags &= ~Flag.resume
        core.state.budget = instructions
        let flow = core.execute()
        core.state.floatingPoint.suspend()
        instructionCount &+= UInt64(max(0, instructions - core.state.budget))
        if flow == .next { return .sliceEnded }
        switch core.state.fault {
        case .refusedDirectoryEntry: return .refusedDirectoryEntry
        case .refusedTableEntry: return .refusedTableEntry
        case .exception(let vector, let code):
            return .trap(
                vector: vector, errorCode: code,
                address: vector == 14 ? core.state.faultAddress : 0)
        case .none: return .sliceEnded
        }
    }
}
