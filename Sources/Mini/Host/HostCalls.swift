// Hypercalls. The asynchronous ring goes first, on every exit; then the call
// that trapped. Both stop while a notification waits for the launcher. Which calls there are is in the era's row.
// Source: docs/abi/lguest.md §3.2…§3.4, §4.7.

/// Hypercall numbers.
private enum Call {
    static let flushAsync: UInt32 = 0
    static let initialize: UInt32 = 1
    static let crash: UInt32 = 2
    static let loadGDT: UInt32 = 3
    static let newPageTable: UInt32 = 4
    static let flushTLB: UInt32 = 5
    static let loadIDTEntry: UInt32 = 6
    static let setStack: UInt32 = 7
    static let taskSwitched: UInt32 = 8
    static let setClockEvent: UInt32 = 9
    static let halt: UInt32 = 10
    static let bindDMA: UInt32 = 12
    static let sendDMA: UInt32 = 13
    /// With wide tables, in place of it: a directory's entry. The number that this call had before is then the
    /// pointer's to a directory.
    static let setWidePMD: UInt32 = 13
    static let setPTE: UInt32 = 14
    static let setPMD: UInt32 = 15
    static let loadTLS: UInt32 = 16
    static let notify: UInt32 = 17
    static let loadGDTEntry: UInt32 = 18
    static let sendInterrupts: UInt32 = 19

    /// The second argument of a shutdown that is to be a new beginning.
    static let restart: UInt32 = 2
}

extension Host {
    /// Everything that the guest asked for since the last turn.
    func serveCalls() {
        guard data != nil else {
            if callPending {
                callPending = false
                serveFirstCall(trappedCall)
            }
            return
        }
        var slots = GuestABI.ringSlots
        while canServe && slots > 0, let next = data?.nextCall() {
            serve(next.call)
            data?.finishCall(next.slot)
            slots -= 1
        }
        if callPending && canServe {
            callPending = false
            if let value = serve(trappedCall) { processor[.eax] = value }
        }
    }

    /// False while a record waits for the launcher, and when the guest is dead.
    private var canServe: Bool {
        let phase = machine.phase
        return phase != .notifying && phase != .dead
    }

    private var trappedCall: Hypercall {
        let registers = abi.callRegisters
        return Hypercall(
            number: processor[registers.number], first: processor[registers.first],
            second: processor[registers.second], third: processor[registers.third],
            fourth: processor[.esi])
    }

    /// - Returns: what eax becomes, for the one call that has a result.
    @discardableResult
    private func serve(_ call: Hypercall) -> UInt32? {
        switch call.number {
        case Call.flushAsync: break
        case Call.initialize: kill(.secondInitialization)
        case Call.crash:
            crash(
                call.first, restarts: abi.hasShutdown && call.second == Call.restart)
        case Call.loadGDT where !abi.loadsGDTByEntry:
            loadDescriptors(call.first, count: call.second)
        case Call.loadGDTEntry where abi.loadsGDTByEntry:
            loadDescriptor(call.first, low: call.second, high: call.third)
        case Call.newPageTable: processor.pageDirectory = call.first
        case Call.flushTLB: processor.flushTLB()
        case Call.loadIDTEntry: loadGate(call.first, low: call.second, high: call.third)
        case Call.setStack: setStack(call.first, pointer: call.second, pages: call.third)
        case Call.taskSwitched: processor.taskSwitched = call.first != 0
        case Call.setClockEvent: setClockEvent(call.first)
        case Call.halt: machine.halt()
        case Call.bindDMA where abi.dma != nil:
            return bind(DMAKey(rawValue: call.first), call.second, call.third)
        case Call.sendDMA where abi.dma != nil:
            send(
                DMANotification(
                    record: GuestAddress(rawValue: call.second), key: DMAKey(rawValue: call.first)))
        case Call.setWidePMD where abi.hasWideTables: processor.flushTLB()
        case Call.setPTE: setPTE(call)
        case Call.setPMD: setDirectoryEntry(call.second)
        case Call.loadTLS: loadTLS(call.first)
        case Call.notify where abi.notifies: notify(call.first)
        // Interrupts are looked at after every call.
        case Call.sendInterrupts where abi.sendsInterrupts: break
        default: kill(.badCall(number: call.number))
        }
        return nil
    }

    // MARK: - Beginning and end

    /// Before `lguest_data` is known only INIT is a call.
    private func serveFirstCall(_ call: Hypercall) {
        guard call.number == Call.initialize else {
            return kill(.callBeforeInitialization(number: call.number))
        }
        let address = call.first
        guard let range = range(address, abi.data.count) else {
            return kill(.badDataPage(address: address))
        }
        let area = GuestDataArea(memory, range, abi)
        data = area
        area.setTimeStampRate(kilohertz: HostClock.timeStampKilohertz)
        if let vector = area.systemCallVector, vector != InterruptTable.systemCallVector {
            kill(.badSystemCallVector)
        }
        quietCode = area.quietCode
        area.setReservedTop(0 &- Self.reservedTop)
        area.setGuestIdentity(identity)
        area.setTime(Clock.realTime())
        area.setPageDirectory(processor.pageDirectory)
        if let kernel = area.kernelAddress, kernel >= Self.reservedTop {
            kill(.badKernelAddress(virtual: kernel))
        }
        processor.flushTLB()
    }

    /// A number of the guest's own: guests of era 0 make their hardware address of it.
    private var identity: UInt16 {
        memory.sharedPages.first.map { UInt16($0.slot) }
            ?? UInt16(truncatingIfNeeded: Process.identity)
    }

    /// CRASH, later SHUTDOWN: 128 bytes, the last one forced to NUL. "Power down" is such a crash.
    private func crash(_ address: UInt32, restarts: Bool) {
        // Kernels that restart often have no text, and name an address that is none.
        if restarts { return kill(.restart) }
        guard let range = readable(address, 128) else { return }
        let bytes = unsafe memory.readable(range).prefix(127).prefix { $0 != 0 }
        kill(.crash(Text(bytes: unsafe Array(bytes))))
    }

    // MARK: - Segments and gates

    /// LOAD_GDT: the first `count` entries; whatever was there is corrected again.
    private func loadDescriptors(_ address: UInt32, count: UInt32) {
        guard count <= SegmentRules.entries else { return kill(.tooManyDescriptors(count)) }
        copyDescriptors(address, 0..<count)
        for index in count..<SegmentRules.entries where !SegmentRules.isHosts(index) {
            let descriptor = processor.descriptor(Int(index))
            processor.setDescriptor(Int(index), SegmentRules.corrected(descriptor))
        }
    }

    /// LOAD_GDT_ENTRY.
    private func loadDescriptor(_ index: UInt32, low: UInt32, high: UInt32) {
        guard index < SegmentRules.entries else { return kill(.tooManyDescriptors(index)) }
        guard !SegmentRules.isHosts(index) else { return }
        processor.setDescriptor(
            Int(index), SegmentRules.corrected(UInt64(high) << 32 | UInt64(low)))
        segmentsStale = true
    }

    /// LOAD_TLS: three entries.
    private func loadTLS(_ address: UInt32) {
        copyDescriptors(address, SegmentRules.firstTLS..<SegmentRules.lastTLS + 1)
    }

    private func copyDescriptors(_ address: UInt32, _ entries: Range<UInt32>) {
        guard let range = readable(address, UInt32(entries.count) * 8) else { return }
        let table = unsafe memory.readable(range)
        for (offset, index) in entries.enumerated() where !SegmentRules.isHosts(index) {
            let descriptor = unsafe table.loadUnaligned(
                fromByteOffset: offset * 8, as: UInt64.self)
            processor.setDescriptor(Int(index), SegmentRules.corrected(descriptor))
        }
        segmentsStale = true
    }

    /// LOAD_IDT_ENTRY.
    private func loadGate(_ vector: UInt32, low: UInt32, high: UInt32) {
        switch gates.load(vector, low: low, high: high) {
        case .ignored: break
        case .refused(let reason): kill(reason)
        case .set(let gate): installGate(UInt8(vector), gate)
        }
    }

    private func installGate(_ vector: UInt8, _ gate: InterruptTable.Gate?) {
        guard let gate, InterruptTable.isDirect(UInt32(vector), gate),
            !(abi.callsByVmcall && vector == ExceptionVector.invalidOpcode)
        else {
            let privilege = abi.keepsGatePrivilege ? gate?.privilege ?? 0 : 0
            return processor.setGate(vector, .exit(privilege: privilege))
        }
        processor.setGate(
            vector,
            .direct(
                selector: InterruptTable.codeSelector, offset: gate.handler,
                privilege: gate.privilege, isTrap: true))
    }

    /// SET_STACK: up to two pages below `pointer`, which must be writable now.
    private func setStack(_ selector: UInt32, pointer: UInt32, pages: UInt32) {
        guard selector & 3 == 1 else { return kill(.badStackSegment(selector)) }
        guard pages <= 2 else { return kill(.badStackPages(pages)) }
        ringStack = (UInt16(truncatingIfNeeded: selector), pointer)
        processor.setRingStack(selector: ringStack.selector, pointer: pointer)
        for page in 0..<pages {
            let address = pointer &- 1 &- page &* Page.size
            if let reason = refusalToWrite(address) { return kill(reason) }
            _ = processor.translate(address, write: true, user: false)
        }
    }

    private func setClockEvent(_ delay: UInt32) {
        if delay == 0 { clock.cancelEvent() } else { clock.setEvent(after: delay) }
    }

    // MARK: - Page tables
    // The processor walks the guest's own tables, so these calls only tell which of its
    // translations to forget; the checks are the original's.

    /// SET_PTE. An entry is looked at if it is in use and its table exists.
    private func setPTE(_ call: Hypercall) {
        let (directory, virtual, entry) = (call.first, call.second, call.third)
        guard virtual < Self.reservedTop else { return kill(.reservedTop) }
        let inUse =
            entry & PageEntry.present != 0
            && entry & (PageEntry.accessed | PageEntry.dirty) != 0
        let rules = processor.pageRules
        if inUse, rules.refusesInTable(entry) || rules.isWide && call.fourth != 0,
            hasTable(directory, virtual)
        {
            kill(.badPageTableEntry)
        }
        processor.flushTLB(of: virtual)
    }

    /// SET_PMD, later SET_PGD. Of an index that no table has the later hosts take notice, but for the first such.
    private func setDirectoryEntry(_ index: UInt32) {
        if abi.namesSwitcherPages, index > PageWalk.firstCount(processor.pageRules) {
            return kill(.badDirectoryIndex(index))
        }
        if index < Self.reservedTop >> 22 { processor.flushTLB() }
    }

    func hasTable(_ directory: UInt32, _ virtual: UInt32) -> Bool {
        walk(virtual, from: directory).hasTable
    }

    func walk(_ virtual: UInt32, from directory: UInt32) -> PageWalk {
        PageWalk(virtual, from: directory, processor.pageRules) { memory.load32($0) }
    }

    /// Why the guest kernel could not write there; nil if it can.
    private func refusalToWrite(_ virtual: UInt32) -> DeathReason? {
        guard virtual < Self.reservedTop else {
            return abi.namesSwitcherPages ? .badStackPage(virtual: virtual) : .reservedTop
        }
        let rules = processor.pageRules
        let walk = walk(virtual, from: processor.pageDirectory)
        for place in [walk.directoryPlace, walk.tablePlace] where range(place, 4) == nil {
            return .badRead(address: place)
        }
        switch walk.end {
        case .outside: return .badRead(address: walk.tablePlace)
        case .absent: return .badStackPage(virtual: virtual)
        case .refusedDirectory: return .badPageDirectoryEntry
        case .refusedMiddle: return .badPageMiddleEntry
        case .page: break
        }
        // The original looks at the directory entry's permission nowhere.
        guard walk.tableEntry & PageEntry.writable != 0 else {
            return .badStackPage(virtual: virtual)
        }
        return walk.isRefused(by: rules) ? .badPageTableEntry : nil
    }

    // MARK: - Devices

    /// NOTIFY: what the address stands for is the launcher's business. None is at 0.
    private func notify(_ address: UInt32) {
        guard address != 0 else { return }
        machine.send(
            DMANotification(record: GuestAddress(rawValue: 0), key: DMAKey(rawValue: address)))
    }

    /// BIND_DMA: 1 for done.
    private func bind(_ key: DMAKey, _ buffers: UInt32, _ code: UInt32) -> UInt32 {
        guard DmaBindings.hasLine(code) else { return 0 }
        guard isKey(key) else {
            kill(.badBindingKey(key.rawValue))
            return 0
        }
        if let result = bindShared(key, buffers, code) { return result }
        return bindings.bind(key: key, buffers: buffers, code: code) ? 1 : 0
    }

    /// SEND_DMA: a key in memory of the guest's alone is the launcher's business.
    private func send(_ notification: DMANotification) {
        guard isKey(notification.key) else { return kill(.badSendingKey) }
        if let page = memory.sharedPage(of: notification.key.rawValue) {
            return sendShared(notification, of: page)
        }
        machine.send(notification)
    }
}
