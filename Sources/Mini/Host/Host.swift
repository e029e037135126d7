// The built-in host keeps the contract of /dev/lguest (Lguest/Contract.swift) in user space, as the kernel's lguest driver
// kept it. It owns the processor that runs the guest's code and the machine that knows which verb is allowed when; this
// file is the verbs and the run loop, HostCalls.swift serves hypercalls, HostTraps.swift reflects traps and interrupts
// into the guest.
// Source: docs/abi/lguest.md §1, §4.4.

/// A guest that runs in this process, on the software processor, and its host.
final class Host: LguestDevice {
    let memory: GuestMemory
    let abi: GuestABI
    let processor: any DeprivilegedProcessor

    var machine = GuestMachine()
    /// `lguest_data`, once the guest told where it is.
    var data: GuestDataArea?
    var quietCode: (start: UInt32, end: UInt32) = (0, 0)
    var gates: InterruptTable
    var lines = InterruptLines()
    var bindings = DmaBindings()
    var clock: HostClock
    /// Stack of ring 1 for traps from ring 3.
    var ringStack: (selector: UInt16, pointer: UInt32) = (0, 0)

    /// Guest pages that INITIALIZE granted.
    var pageLimit: UInt32 = 0
    var pageOffset: UInt32 = 0
    /// A hypercall trapped and waits, arguments in the registers.
    var callPending = false
    /// Segment registers must be loaded anew before guest code runs.
    var segmentsStale = true
    /// Error code of the last exit, as a failing entry reports it.
    var lastErrorCode: UInt32 = 0
    private(set) var watched: [Poll.Interest] = []
    private var awaited: [DMAKey] = []
    /// What answers the guest's ports, if anything does.
    private(set) var ports: (any GuestPorts)?
    /// The ways from and to guests that share a page with ours.
    var inlets: [PeerInlet] = []
    /// The state of such a way in which something came that cannot come there: a defect of mini.
    var wayDefect: StaticString?

    /// A host on the software processor.
    /// - Throws: ENOMEM.
    convenience init(memory: GuestMemory, abi: GuestABI) throws(Errno) {
        self.init(
            memory: memory, abi: abi,
            on: try SoftwareProcessor(memory: memory, profile: .lguest))
    }

    /// - Parameter processor: made on this memory, with lguest's profile.
    init(memory: GuestMemory, abi: GuestABI, on processor: any DeprivilegedProcessor) {
        self.memory = memory
        self.abi = abi
        self.processor = processor
        gates = InterruptTable(abi)
        clock = HostClock()
    }

    // MARK: - Verbs

    /// INITIALIZE: page tables, entry and limits of a new guest. Nothing but page_offset is looked at:
    /// what else is wrong kills the guest when it runs. Accesses reach up to, not including, the last
    /// byte of the last page.
    /// - Throws: ENOENT dead, EBUSY initialised, EINVAL page_offset, EBADF closed. §1.3.
    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        let acceptable = !abi.namesPageOffset || request.pageOffset < Self.reservedTop
        if let errno = machine.initialize(acceptable: acceptable) { throw errno }
        for page in memory.sharedPages { inlets.append(try PeerInlet(page)) }
        pageLimit = request.pageLimit
        pageOffset = request.pageOffset
        let cpu = processor
        cpu.pageDirectory = request.pageDirectory
        cpu.pageRules = .lguest(abi, limit: pageLimit)
        cpu.portRules = .lguest(abi, pageOffset: pageOffset)
        for index in 0..<SegmentRules.entries {
            cpu.setDescriptor(Int(index), SegmentRules.initial(index))
        }
        cpu.setGate(UInt8(InterruptTable.hypercallVector), .exit(privilege: 1))
        cpu.timeStamp = clock.timeStamp
        _ = cpu.setSegment(.cs, SegmentRules.kernelCode)
        for segment in [ProcessorSegment.ss, .ds, .es] {
            _ = cpu.setSegment(segment, SegmentRules.kernelData)
        }
        for segment in [ProcessorSegment.fs, .gs] { _ = cpu.setSegment(segment, 0) }
        cpu.eflags = 0x202
        cpu.eip = request.start
        return abi.initializeCount
    }

    /// GETDMA: a free buffer of the newest binding of `key`; the interrupt line to raise
    /// afterwards stands in its used_len.
    /// - Returns: guest-physical address of the record, inside memory.
    /// - Throws: ENOENT if there is none, or the key or the array kills the guest. The
    ///   original would hand out a busy buffer rather than none. §1.4.
    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        if let errno = machine.request() { throw errno }
        guard isKey(key) else {
            kill(.badRegisteredBuffer)
            throw .noSuchFile
        }
        guard let binding = bindings[key] else { throw .noSuchFile }
        for index in 0..<UInt32(binding.count) {
            let address = binding.buffers &+ index &* GuestABI.dmaRecordSize
            guard let record = readable(address, GuestABI.dmaRecordSize) else {
                throw .noSuchFile
            }
            if DmaRecord.lend(record.start, binding.line, in: memory) {
                return GuestAddress(rawValue: record.start)
            }
        }
        throw .noSuchFile
    }

    /// IRQ.
    /// - Throws: EINVAL from line 32 on. §1.5.
    func interrupt(_ line: InterruptLine) throws(Errno) {
        if let errno = machine.request() { throw errno }
        guard line.exists else { throw .invalid }
        lines.raise(line)
    }

    /// BREAK: a level; run() ends with EAGAIN as long as it is on. The device keeps the
    /// caller until the level is off; with one thread that would be for ever.
    func breakOut(_ on: Bool) throws(Errno) {
        if let errno = machine.breakOut(on) { throw errno }
    }

    /// Descriptors whose readability ends run() with EAGAIN: with those of the launcher's
    /// here, no other process has to send BREAK. Replaces the earlier ones.
    func watch(_ descriptors: [Int32]) {
        watched = descriptors.map { Poll.Interest(watching: $0) }
    }

    /// Keys for which a free buffer ends run() with EAGAIN. Replaces the earlier ones.
    func awaitBuffers(_ keys: [DMAKey]) -> Bool {
        awaited = keys
        return true
    }

    func connect(_ ports: any GuestPorts) { self.ports = ports }

    func hasUsed(shared descriptor: Int32) -> Bool {
        inlets.contains {
            $0.page.descriptor == descriptor && ($0.isOpen || !$0.outlets.isEmpty)
        }
    }

    /// Those of the ways from other guests.
    var descriptors: [Int32] { inlets.compactMap { $0.descriptor } }

    /// True if one of them has a buffer; of a long array only the first ones are looked at.
    private var hasAwaitedBuffer: Bool {
        awaited.contains { key in
            bindings[key].map { hasFreeBuffer($0) } ?? false
        }
    }

    func close() {
        machine.close()
        clock.cancelEvent()
        bindings = DmaBindings()
        inlets = []
        ports = nil
    }

    // MARK: - Run loop

    /// Runs the guest (the device's read()).
    /// - Throws: ENOENT when the guest dies now (its reason is for the next call), EAGAIN
    ///   for a break or a watched descriptor, EINVAL not initialised, EBADF closed.
    func run() throws(Errno) -> RunResult {
        switch machine.enter() {
        case .proceed: resume()
        case .fail(let errno): throw errno
        case .tell(let reason): return .reason(reason.text(abi, pageLimit: pageLimit))
        }
        while true {
            serveCalls()
            switch machine.afterCalls() {
            case .deliver(let record): return .dma(record)
            case .fail(let errno): throw errno
            default: break
            }
            if let wayDefect { return .defect(state: "\(wayDefect)") }
            if ports?.isDue ?? false || !awaited.isEmpty && hasAwaitedBuffer {
                machine.pause()
                throw .again
            }
            serveWaitingPeers()
            if clock.isTimeToLook(), try anyWatchedReady(timeout: Nanoseconds(count: 0)) {
                machine.pause()
                throw .again
            }
            if clock.takeEvent() { lines.raise(.clock) }
            let stretch = deliverInterrupt()
            switch machine.beforeEntry() {
            case .execute: execute(atMost: stretch)
            case .sleep: try sleep()
            case .fail(let errno): throw errno
            case .tellDefect(let phase): return .defect(state: "\(phase.name)")
            case .proceed, .deliver: break
            }
        }
    }

    /// Lets the guest's code run until it needs the host, or has run for about so long.
    private func execute(atMost stretch: Nanoseconds?) {
        guard isReadyToEnter() else { return }
        handle(processor.run(until: clock.deadline, atMost: stretch))
    }

    /// What comes before guest code; the guest may die of it.
    func isReadyToEnter() -> Bool {
        if segmentsStale {
            guard processor.reloadSegments() else {
                failEntry()
                return false
            }
            segmentsStale = false
        }
        // The tables themselves must be readable; their entries the processor checks.
        let directory = processor.pageDirectory & Page.number
        guard directory >> Page.shift < min(pageLimit, memory.count >> Page.shift) else {
            let place = PageWalk.firstPlace(processor.eip, from: directory, processor.pageRules)
            kill(.badRead(address: place))
            return false
        }
        return true
    }

    /// The processor stopped for the host.
    func handle(_ exit: ProcessorExit) {
        switch exit {
        case .trap(let vector, let errorCode, let address):
            handleTrap(UInt32(vector), errorCode, UInt32(truncatingIfNeeded: address))
        case .portInput(let access): readPort(access)
        case .portOutput(let access, let value): writePort(access, value)
        case .deadline: clock.refresh()
        case .stretchEnded, .signal, .interruptWindow: break
        case .refusedDirectoryEntry: kill(.badPageDirectoryEntry)
        case .refusedMiddleEntry: kill(.badPageMiddleEntry)
        case .refusedTableEntry: kill(.badPageTableEntry)
        // Without privileges, and with page rules that end at the end of memory, a guest cannot come to these.
        case .memoryRead, .memoryWrite, .halt, .shutdown, .failed: failEntry()
        }
    }

    /// Guest code did not run for a while.
    private func resume() {
        clock.refresh()
        processor.resume(at: clock.now)
    }

    /// A halted guest costs nothing: sleeps until its clock event or a watched descriptor.
    private func sleep() throws(Errno) {
        clock.refresh()
        if clock.isEventDue { return }
        let isReady: Bool
        do throws(Errno) {
            isReady = try anyWatchedReady(timeout: clock.untilEvent)
        } catch {
            machine.pause()
            throw error
        }
        resume()
        if isReady {
            machine.pause()
            throw .again
        }
    }

    /// Waits for the launcher's descriptors, and for those of other guests, which are served.
    /// - Returns: true if one of the launcher's is ready.
    private func anyWatchedReady(timeout: Nanoseconds?) throws(Errno) -> Bool {
        var interests = watched
        var timeout = timeout
        for inlet in inlets {
            interests += inlet.watched.map { Poll.Interest($0) }
            timeout.shorten(to: inlet.restLeft)
        }
        if interests.isEmpty && timeout == Nanoseconds(count: 0) { return false }
        let ready = try Poll.wait(interests, timeout: timeout)
        if ready[watched.count...].contains(true) { servePeers() }
        return ready[..<watched.count].contains(true)
    }

    // MARK: - Common to all parts

    @inline(never) func kill(_ reason: DeathReason) { machine.kill(reason) }

    /// A segment register holds what the processor cannot load.
    func failEntry() {
        kill(.unhandledTrap(256, instruction: processor.eip, detail: lastErrorCode))
    }

    /// The top of every address space is off limits: the original's switcher is there.
    static let reservedTop: UInt32 = 0xFFC0_0000

    /// A block of guest memory as the original admits it: it ends below the last page
    /// boundary of the granted pages. Docs: "Read this first" 7.
    func range(_ address: UInt32, _ count: UInt32) -> GuestRange? {
        let (end, overflow) = address.addingReportingOverflow(count)
        guard !overflow && end >> Page.shift < pageLimit else { return nil }
        return memory.range(address, count)
    }

    /// As `range`; the guest dies if that block is not its own.
    func readable(_ address: UInt32, _ count: UInt32) -> GuestRange? {
        if let range = range(address, count) { return range }
        kill(.badBlockRead(address: address, count: count))
        return nil
    }

    /// A key is an aligned word of guest memory.
    func isKey(_ key: DMAKey) -> Bool {
        key.rawValue & 3 == 0 && memory.range(key.rawValue, 4) != nil
    }
}
