// Exceptions and interrupts of a guest with ring 0, through the IDT in its memory.
//
//     fault, INT n, interrupt ── IDT entry ──┬─ interrupt or trap gate ── frame on the ring's stack ── handler
//          │                                 └─ task gate ── another task, of a TSS of 32 or 16 bits
//          └── a fault on the way ──┬─ delivered in its place
//                                   ├─ double fault (8)
//                                   └─ on the way of a double fault: shutdown
//
// Sources: Intel SDM volume 3, chapters 6 (6.10 to 6.15), 7.3 (task switching), 5.8.7 (SYSENTER).

/// Where an event comes from.
enum EventSource {
    case exception, software, external

    /// What is delivered in an event's place when that has faulted on its way; nil for a shutdown.
    /// - Parameter vector: the event's.
    func replacement(of vector: UInt8, by fault: Fault) -> Fault? {
        switch self {
        case .exception: vector == ExceptionVector.doubleFault ? nil : Core.combine(vector, fault)
        case .software: fault
        case .external: Core.fromOutside(fault)
        }
    }
}

extension Core {
    /// Delivers an interrupt from outside.
    /// - Returns: false if that ended in a shutdown.
    func interrupt(from vector: UInt8) -> Bool {
        raise(.exception(vector: vector, code: 0), returnTo: state.eip, .external)
    }

    /// Delivers an event; `State.eip` is at the instruction that raised it.
    /// - Returns: false after a triple fault: `State.exit` says so.
    func raise(_ fault: Fault, returnTo eip: UInt32, _ source: EventSource) -> Bool {
        if source == .exception && fault == .undefined { noteMissing() }
        var fault = fault
        var source = source
        var eip = eip
        while true {
            guard case .exception(let vector, let code) = fault else {
                // None: the instruction is to be executed anew.
                resume()
                return true
            }
            do throws(Fault) {
                try enterThroughTable(vector, code, returnTo: eip, source)
                return true
            } catch {
                guard let next = source.replacement(of: vector, by: error) else {
                    return shutDown()
                }
                (fault, source, eip) = (next, .exception, state.eip)
            }
        }
    }

    private func noteMissing() {
        let linear = state.csBase &+ state.eip
        let faultAddress = state.faultAddress
        defer { state.faultAddress = faultAddress }
        guard let place = try? fetchable(linear) else { return }
        let missing = unsafe MissingInstruction(
            at: UInt64(linear), isKernel: state.privilege == 0, state.memory,
            UInt(place))
        if let missing { system.missing = missing }
    }

    private func shutDown() -> Bool {
        state.exit = .shutdown
        return false
    }

    private func enterThroughTable(
        _ vector: UInt8, _ code: UInt32, returnTo eip: UInt32, _ source: EventSource
    ) throws(Fault) {
        let offset = UInt32(vector) &* 8
        let inTable = Fault.exception(vector: ExceptionVector.protection, code: offset &+ 2)
        let table = system.interruptTable
        guard UInt32(table.limit) >= offset &+ 7 else { throw inTable }
        let gate = SegmentDescriptor(try descriptorValue(table.base &+ offset))
        guard !gate.isSegment, [5, 6, 7, 14, 15].contains(gate.type) else { throw inTable }
        if source == .software && gate.privilege < state.privilege { throw inTable }
        guard gate.isPresent else {
            throw .exception(vector: ExceptionVector.notPresent, code: offset &+ 2)
        }
        if vector == ExceptionVector.debug && source == .exception {
            state.debug[7] &= ~DebugRegisters.general
        }

        let errorCode = source == .exception && ExceptionVector.hasErrorCode(vector) ? code : nil
        let isFault = source == .exception && Self.isFault(vector)
        let flags = flags | (isFault ? Flag.resume : 0)
        if gate.type == 5 {
            return try switchTask(
                gate.gateSelector, .nested, returnTo: eip, flags: flags, errorCode: errorCode)
        }
        let is16 = gate.type & 8 == 0
        try enter(
            GateEntry(
                offset: is16 ? gate.gateOffset & 0xFFFF : gate.gateOffset,
                selector: gate.gateSelector, isTrap: gate.type & 1 != 0, is16: is16),
            returnTo: eip, flags: flags, errorCode: errorCode)
        state.attention &= ~Attention.shadow
    }

    // MARK: Tasks

    /// How another task is entered: by a gate or CALL, by JMP, or by IRET.
    enum TaskSwitch { case nested, jumping, returning }

    /// IRET with NT set.
    func returnFromTask(leaving next: UInt32) throws(Fault) {
        let task = system.task
        let link = try supervisorRead(task.base, as: UInt16.self)
        guard link & 4 == 0, let descriptor = try tableEntry(link), !descriptor.isSegment,
            descriptor.type | 8 == 0xB
        else { throw .invalidTask(link) }
        try switchTask(link, .returning, returnTo: next, flags: flags & ~Flag.nestedTask)
    }

    /// Switches to the task of a TSS.
    func switchTask(
        _ selector: UInt16, _ way: TaskSwitch, returnTo eip: UInt32, flags: UInt32,
        errorCode: UInt32? = nil
    ) throws(Fault) {
        guard selector & 0xFFFC != 0, selector & 4 == 0 else { throw .protection(selector) }
        let descriptor = try descriptor(selector)
        guard !descriptor.isSegment, descriptor.type | 8 == (way == .returning ? 0xB : 9) else {
            throw .protection(selector)
        }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        let old = system.task
        let new = SystemSegment(
            selector: selector, base: descriptor.base, limit: descriptor.limit,
            is32: descriptor.type & 8 != 0)
        guard new.isWholeTask else { throw .invalidTask(selector) }
        guard old.isWholeTask else { throw .invalidTask(old.selector) }

        // The new one's, before anything changes. One of 16 bits has no CR3, fs and gs.
        var words = InlineArray<16, UInt32>(repeating: 0)
        let count = new.is32 ? 16 : 14
        for index in 0..<count { words[index] = try taskWord(new, index) }
        let localTable = UInt16(truncatingIfNeeded: try taskWord(new, count))
        let directory = new.is32 ? try taskWord(new, -1) : state.pageDirectory
        let trap = new.is32 ? try supervisorRead(new.base &+ 0x64, as: UInt16.self) & 1 : 0
        try saveTask(old, eip, flags)
        if way == .nested { try supervisorWrite(new.base, old.selector) }
        if way != .returning { try setBusy(selector, true) }
        if way != .nested { try setBusy(old.selector, false) }
        system.task = new
        setTaskSwitched(true)
        try loadTaskState(words, nested: way == .nested, localTable, directory)
        if let errorCode { try push(errorCode, size: new.is32 ? 2 : 1) }
        if trap != 0 { state.debug.pending |= DebugRegisters.task }
    }

    /// Where a task's words are from eip on: eflags, the general registers, the segments, the LDT. -1 is CR3.
    private func taskPlace(_ task: SystemSegment, _ index: Int) -> UInt32 {
        let index = UInt32(truncatingIfNeeded: index)
        return task.base &+ (task.is32 ? 0x20 &+ index &* 4 : 0xE &+ index &* 2)
    }

    private func taskWord(_ task: SystemSegment, _ index: Int) throws(Fault) -> UInt32 {
        let place = taskPlace(task, index)
        if task.is32 { return try supervisorRead(place) }
        return UInt32(try supervisorRead(place, as: UInt16.self))
    }

    private func saveTask(_ task: SystemSegment, _ eip: UInt32, _ flags: UInt32) throws(Fault) {
        for index in 0..<10 {
            let value: UInt32 =
                switch index {
                case 0: eip
                case 1: flags
                default: get(UInt8(truncatingIfNeeded: (index - 2) * 4))
                }
            let place = taskPlace(task, index)
            if task.is32 {
                try supervisorWrite(place, value)
            } else {
                try supervisorWrite(place, UInt16(truncatingIfNeeded: value))
            }
        }
        for segment in 0..<(task.is32 ? 6 : 4) {
            try supervisorWrite(
                taskPlace(task, 10 + segment), unsafe state.segments[segment].selector)
        }
    }

    /// Registers of a task. A fault in here is the new task's.
    private func loadTaskState(
        _ words: InlineArray<16, UInt32>, nested: Bool, _ localTable: UInt16, _ directory: UInt32
    ) throws(Fault) {
        if system.isPaging && (system.isExtended || directory != state.pageDirectory) {
            try loadPageDirectory(directory)
        }
        state.eip = words[0]
        flags = words[1] & ~Flag.virtual8086 | (nested ? Flag.nestedTask : 0)
        for register in 0..<8 {
            set(UInt8(truncatingIfNeeded: register &* 4), words[2 + register])
        }
        for segment in 0..<6 {
            installNull(segment, UInt16(truncatingIfNeeded: words[10 + segment]))
        }
        // An LDT that is not present is #TS as well.
        try taskFault(ExceptionVector.notPresent) { () throws(Fault) in
            try loadLocalTable(localTable)
        }

        let codeSelector = UInt16(truncatingIfNeeded: words[11])
        let ring = UInt32(codeSelector & 3)
        let code = try taskFault { () throws(Fault) in
            try codeDescriptor(codeSelector, privilege: ring)
        }
        try markAccessed(codeSelector, code)
        installCode(codeSelector, code, privilege: ring)
        for segment in [2, 0, 3, 4, 5] {
            let selector = UInt16(truncatingIfNeeded: words[10 + segment])
            try taskFault { () throws(Fault) in try loadSegment(segment, selector) }
        }
        guard state.eip <= code.limit else { throw .protection(0) }
    }

    /// What is wrong with a selector in a TSS is #TS, and so may another vector be.
    private func taskFault<Value>(
        _ other: UInt8 = ExceptionVector.protection, _ body: () throws(Fault) -> Value
    )
        throws(Fault) -> Value
    {
        do throws(Fault) {
            return try body()
        } catch {
            guard case .exception(let vector, let code) = error,
                vector == ExceptionVector.protection || vector == other
            else { throw error }
            throw .exception(vector: ExceptionVector.invalidTask, code: code)
        }
    }

    // MARK: SYSENTER, SYSEXIT

    func enterSystem() throws(Fault) -> Flow {
        let selector = UInt16(truncatingIfNeeded: system.entryCodeSelector)
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        state.otherFlags &= ~(Flag.interrupt | Flag.resume)
        installFlat(selector & 0xFFFC, ring: 0)
        state.esp = system.entryStack
        return go(system.entryPoint)
    }

    func exitSystem() throws(Fault) -> Flow {
        let selector = UInt16(truncatingIfNeeded: system.entryCodeSelector)
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        installFlat((selector & 0xFFFC) &+ 16, ring: 3)
        state.esp = state.ecx
        return go(state.edx)
    }

    /// Flat code and stack segments, which no table is asked for.
    private func installFlat(_ selector: UInt16, ring: UInt32) {
        let code = SegmentDescriptor.flat(code: true, ring: ring)
        let stack = SegmentDescriptor.flat(code: false, ring: ring)
        let rpl = UInt16(truncatingIfNeeded: ring)
        state.privilege = ring
        state.outerRings |= ring
        installHidden(SegmentRegister.code, selector | rpl, code)
        installHidden(SegmentRegister.stack, (selector &+ 8) | rpl, stack)
    }
}

extension SegmentDescriptor {
    /// Base 0, limit 4 GiB - 1, 32 bits, accessed.
    static func flat(code: Bool, ring: UInt32) -> SegmentDescriptor {
        SegmentDescriptor(
            (code ? 0x00CF_9B00_0000_FFFF : 0x00CF_9300_0000_FFFF) | UInt64(ring) &<< 45)
    }
}
