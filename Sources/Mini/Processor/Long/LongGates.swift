// Exceptions, interrupts and transfers of long mode: gates of 16 bytes, interrupt stacks, IRETQ, SYSCALL and SYSRET, far
// jumps and calls. What a fault on the way becomes: as in SystemGates.swift.
//
// Sources: AMD64 Architecture Programmer's Manual volume 2, chapters 4, 6, 8; Intel SDM volume 3, 6.14.

extension SegmentDescriptor {
    /// Of code: 64-bit code, and code of 32 bits if it is not.
    var isLong: Bool { value & Self.long != 0 }
    var isDefault32: Bool { value &>> 54 & 1 != 0 }

    /// As the upper half of one of 16 bytes: its bits of a type are 0, so that no selector takes it for another one.
    var hasNoType: Bool { value &>> 40 & 0x1F == 0 }

    /// Means nothing outside long mode.
    static let long: UInt64 = 1 << 53

    /// What SYSCALL, SYSRET and entry through a gate take instead of a table's.
    static let flatLongCode = SegmentDescriptor(0x00AF_9B00_0000_FFFF)
    static let flatCode = SegmentDescriptor(0x00CF_9B00_0000_FFFF)
    static let flatData = SegmentDescriptor(0x00CF_9300_0000_FFFF)
}

extension LongCore {
    /// Long mode is active: EFER.LMA, and CR0.PG.
    var isActive: Bool { state.features & LongFeature.active != 0 }

    // MARK: Tables

    /// Where a selector's descriptor is; nil for null and outside the table.
    private func descriptorPlace(_ selector: UInt16) -> UInt64? {
        let offset = UInt64(selector & 0xFFF8)
        if selector & 4 != 0 {
            guard UInt64(state.localTable.limit) >= offset &+ 7,
                state.localTable.selector & 0xFFFC != 0
            else { return nil }
            return state.localTable.base &+ offset
        }
        guard selector & 0xFFFC != 0, UInt64(state.globalTable.limit) >= offset &+ 7 else {
            return nil
        }
        return state.globalTable.base &+ offset
    }

    @inline(never) func tableEntry(_ selector: UInt16) throws(Fault) -> SegmentDescriptor? {
        guard let place = descriptorPlace(selector) else { return nil }
        let value = try asSupervisor { () throws(Fault) in try read(place, 8) }
        return SegmentDescriptor(isActive ? value : value & ~SegmentDescriptor.long)
    }

    /// Sets the accessed bit of a segment that is about to be loaded, before anything changes. Kernels have it set, as a table
    /// that may not be written has to be.
    private func markAccessed(_ selector: UInt16, _ descriptor: SegmentDescriptor) throws(Fault) {
        guard descriptor.value & SegmentDescriptor.accessedBit == 0,
            let place = descriptorPlace(selector)
        else { return }
        let marked = (descriptor.value | SegmentDescriptor.accessedBit) &>> 40
        try asSupervisor { () throws(Fault) in try write(place &+ 5, marked, 1) }
    }

    /// A system segment's entry, its base, in long mode with an upper half, and where it is.
    func systemEntry(_ selector: UInt16) throws(Fault) -> (SegmentDescriptor, UInt64, UInt64) {
        let last: UInt64 = isActive ? 15 : 7
        guard selector & 4 == 0, let place = descriptorPlace(selector),
            UInt64(state.globalTable.limit) >= UInt64(selector & 0xFFF8) &+ last
        else { throw .protection(selector) }
        return try asSupervisor { () throws(Fault) in
            let descriptor = SegmentDescriptor(try read(place, 8))
            let upper = SegmentDescriptor(isActive ? try read(place &+ 8, 8) : 0)
            let base = UInt64(descriptor.base) | upper.value &<< 32
            guard upper.hasNoType, Self.isCanonical(base) else { throw .protection(selector) }
            return (descriptor, base, place)
        }
    }

    /// A data segment register; of fs and gs the base as well.
    func loadSegment(_ segment: Int, _ selector: UInt16) throws(Fault) {
        var hidden: SegmentDescriptor?
        if selector & 0xFFFC == 0 {
            let isAllowed =
                segment != 2
                || state.isLong && state.privilege != 3 && UInt32(selector & 3) == state.privilege
            guard isAllowed else { throw .protection(0) }
        } else {
            guard let descriptor = try tableEntry(selector) else { throw .protection(selector) }
            let requested = UInt32(selector & 3)
            if segment == 2 {
                guard descriptor.isWritableData, requested == state.privilege,
                    descriptor.privilege == state.privilege
                else { throw .protection(selector) }
                guard descriptor.isPresent else { throw .stack(selector) }
            } else {
                let isFree = descriptor.isCode && descriptor.isConforming
                guard descriptor.isReadable,
                    isFree || max(requested, state.privilege) <= descriptor.privilege
                else { throw .protection(selector) }
                guard descriptor.isPresent else { throw .notPresent(selector) }
            }
            try markAccessed(selector, descriptor)
            hidden = descriptor
        }
        install(segment, selector, hidden)
        if !state.isLong { updateMode() }
    }

    /// Fills a segment register; without a descriptor it is null.
    func install(_ segment: Int, _ selector: UInt16, _ descriptor: SegmentDescriptor?) {
        state.segments[segment] = SegmentRegister(
            selector: selector, rights: descriptor.map { $0.rights | 1 } ?? 0,
            limit: descriptor?.limit ?? 0)
        state.bases[segment] = UInt64(descriptor?.base ?? 0)
    }

    private func setCode(_ selector: UInt16, _ descriptor: SegmentDescriptor, privilege: UInt32) {
        install(1, selector & 0xFFFC | UInt16(truncatingIfNeeded: privilege), descriptor)
        state.isLong = descriptor.isLong
        state.privilege = privilege
        state.outerRings |= privilege
        if !state.isLong {
            for register in 0..<8 { state.registers[register] &= 0xFFFF_FFFF }
        }
        updateMode()
    }

    // MARK: Events

    /// An exception at `LongState.rip`.
    /// - Returns: false after a triple fault: `LongState.exit` says so.
    func deliver(_ fault: Fault) -> Bool { raise(fault, returnTo: state.rip, .exception) }

    func interrupt(from vector: UInt8) -> Bool {
        raise(.exception(vector: vector, code: 0), returnTo: state.rip, .external)
    }

    private func raise(_ fault: Fault, returnTo rip: UInt64, _ source: EventSource) -> Bool {
        if source == .exception && fault == .undefined { noteMissing() }
        var fault = fault
        var source = source
        var rip = rip
        while true {
            guard case .exception(let vector, let code) = fault else {
                // None: the instruction is to be executed anew.
                resume()
                return true
            }
            do throws(Fault) {
                try enterThroughTable(vector, code, returnTo: rip, source)
                return true
            } catch {
                state.isOutside = false
                guard let next = source.replacement(of: vector, by: error) else {
                    return shutDown()
                }
                (fault, source, rip) = (next, .exception, state.rip)
            }
        }
    }

    private func noteMissing() {
        let linear = state.rip &+ state.codeBase
        let faultAddress = state.faultAddress
        defer { state.faultAddress = faultAddress }
        guard let place = try? fetchable(linear) else { return }
        let missing = unsafe MissingInstruction(
            at: linear, isKernel: state.privilege == 0, state.memory, place)
        if let missing { state.missing = missing }
    }

    private func shutDown() -> Bool {
        state.exit = .shutdown
        return false
    }

    /// INT n; INT3; INT1, which asks for no privilege and has bit 8.
    func software(_ i: LongOperation) throws(Fault) -> Flow {
        state.rip = state.blockStart &+ i.first
        let vector = UInt8(truncatingIfNeeded: i.immediate)
        let source = i.immediate & 0x100 == 0 ? EventSource.software : .external
        guard raise(.exception(vector: vector, code: 0), returnTo: following(i), source) else {
            return .exit
        }
        // The trap flag is cleared.
        state.suppressesStep = true
        state.charge = 0
        return .jump
    }

    private func enterThroughTable(
        _ vector: UInt8, _ code: UInt32, returnTo rip: UInt64, _ source: EventSource
    ) throws(Fault) {
        let offset = UInt64(vector) &* 16
        let inTable = Fault.exception(
            vector: ExceptionVector.protection, code: UInt32(vector) &* 8 &+ 2)
        // Gates of 8 bytes are not there: outside long mode that is the end, as with an empty table.
        guard isActive, UInt64(state.interruptTable.limit) >= offset &+ 15 else { throw inTable }
        let place = state.interruptTable.base &+ offset
        let (low, high) = try asSupervisor { () throws(Fault) in
            (try read(place, 8), try read(place &+ 8, 8))
        }
        let gate = SegmentDescriptor(low)
        guard !gate.isSegment, gate.type == 14 || gate.type == 15 else { throw inTable }
        if source == .software && gate.privilege < state.privilege { throw inTable }
        guard gate.isPresent else {
            throw .exception(
                vector: ExceptionVector.notPresent, code: UInt32(vector) &* 8 &+ 2)
        }
        let selector = UInt16(truncatingIfNeeded: low &>> 16)
        let target = low & 0xFFFF | low &>> 32 & 0xFFFF_0000 | high &<< 32
        guard let code64 = try tableEntry(selector) else { throw .protection(selector) }
        guard code64.isCode, code64.isLong, !code64.isDefault32,
            code64.privilege <= state.privilege
        else { throw .protection(selector) }
        guard code64.isPresent else { throw .notPresent(selector) }
        guard Self.isCanonical(target) else { throw .protection(0) }

        let old = state.privilege
        let new = code64.isConforming ? old : code64.privilege
        let errorCode = source == .exception && ExceptionVector.hasErrorCode(vector)
        var flags = flags
        if source == .exception && Core.isFault(vector) { flags |= UInt64(Flag.resume) }
        var stack = rsp
        let list = low &>> 32 & 7
        if list != 0 {
            stack = try taskStack(0x1C &+ list &* 8)
        } else if new != old {
            stack = try taskStack(4 &+ UInt64(new) &* 8)
        }
        guard Self.isCanonical(stack) else { throw .stack(0) }
        try markAccessed(selector, code64)
        stack &= ~15
        let frame: InlineArray<6, UInt64> = [
            UInt64(code), state.isLong ? rip : rip & 0xFFFF_FFFF,
            UInt64(state.segments[1].selector), flags, rsp, UInt64(state.segments[2].selector),
        ]
        let first = errorCode ? 0 : 1
        try push(frame, from: first, on: stack, ring: new)
        let cleared = Flag.trap | Flag.nestedTask | Flag.resume | Flag.virtual8086
        state.otherFlags &= ~UInt64(cleared | (gate.type == 14 ? Flag.interrupt : 0))
        state.rip = target
        state.attention &= ~Attention.shadow
        if vector == ExceptionVector.debug && source == .exception {
            state.debug[7] &= ~DebugRegisters.general
        }
        setCode(selector, code64, privilege: new)
    }

    /// Pushes what a frame has from a word on, with the rights of a ring, which becomes the present one: all of it or nothing.
    private func push(
        _ frame: InlineArray<6, UInt64>, from first: Int, on stack: UInt64, ring new: UInt32
    ) throws(Fault) {
        let bottom = stack &- UInt64(6 - first) &* 8
        let old = state.privilege
        let tlb = unsafe state.tlb
        let mask = state.linearMask
        state.privilege = new
        state.linearMask = ~0
        unsafe state.tlb = new == 3 ? state.userTLB : state.supervisorTLB
        do throws(Fault) {
            // From above, as they are pushed: a fault's address is that of the first that finds no page.
            var place = stack
            while place != bottom {
                place &-= 8
                try checkWrite(place, 8)
            }
            for index in first..<6 {
                try write(bottom &+ UInt64(index - first) &* 8, frame[index], 8)
            }
        } catch {
            state.privilege = old
            state.linearMask = mask
            // It knows addresses that are none of narrow code's now.
            if mask != ~0 && new == old { clearCurrentTLB() }
            unsafe state.tlb = unsafe tlb
            throw error
        }
        rsp = bottom
        if new != old { install(2, UInt16(truncatingIfNeeded: new), nil) }
    }

    private func taskStack(_ offset: UInt64) throws(Fault) -> UInt64 {
        guard UInt64(state.task.limit) >= offset &+ 7 else {
            throw .invalidTask(state.task.selector)
        }
        return try asSupervisor { () throws(Fault) in try read(state.task.base &+ offset, 8) }
    }

    // MARK: Far transfers

    /// The code segment of a far return.
    private func returnCode(_ selector: UInt16) throws(Fault) -> SegmentDescriptor {
        guard let code = try tableEntry(selector) else {
            throw .protection(selector & 0xFFFC == 0 ? 0 : selector)
        }
        let requested = UInt32(selector & 3)
        guard code.isCode, requested >= state.privilege,
            code.isConforming ? code.privilege <= requested : code.privilege == requested,
            !(code.isLong && code.isDefault32)
        else { throw .protection(selector) }
        guard code.isPresent else { throw .notPresent(selector) }
        return code
    }

    /// Where a far transfer goes on: within the segment that it goes to, or it has not begun.
    private func target(_ offset: UInt64, in code: SegmentDescriptor) throws(Fault) -> UInt64 {
        let target = code.isLong ? offset : offset & 0xFFFF_FFFF
        let isInside = code.isLong ? Self.isCanonical(target) : target <= UInt64(code.limit)
        guard isInside else { throw .protection(0) }
        return target
    }

    /// The stack segment of a return to a privilege: null is one, but not for ring 3 or 32-bit code.
    private func stackDescriptor(_ selector: UInt16, privilege: UInt32, long: Bool) throws(Fault)
        -> SegmentDescriptor?
    {
        if selector & 0xFFFC == 0 {
            guard long && privilege != 3 && UInt32(selector & 3) == privilege else {
                throw .protection(0)
            }
            return nil
        }
        guard let descriptor = try tableEntry(selector), descriptor.isWritableData,
            descriptor.privilege == privilege, UInt32(selector & 3) == privilege
        else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .stack(selector) }
        return descriptor
    }

    /// rsp of a return with a stack. Of a 16-bit one only 16 bits are loaded, and the kernel's others stay for all to see: what
    /// kernels have a stack of their own for (espfix).
    private func setStack(_ pointer: UInt64, _ stack: SegmentDescriptor?, long: Bool) {
        let mask: UInt64 = long || (stack?.isDefault32 ?? true) ? ~0 : 0xFFFF
        rsp = rsp & ~mask | pointer & mask
    }

    func interruptReturn(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        var frame = InlineArray<5, UInt64>(repeating: 0)
        guard state.otherFlags & UInt64(Flag.nestedTask) == 0 else { throw .protection(0) }
        let count = state.isLong ? 5 : 3
        for index in 0..<count {
            frame[index] = try read(stackPlace(rsp &+ UInt64(index) &* bytes), bytes)
        }
        let selector = UInt16(truncatingIfNeeded: frame[1])
        let code = try returnCode(selector)
        let old = state.privilege
        let new = UInt32(selector & 3)
        let isOuter = new != old
        if !state.isLong && isOuter {
            for index in 3..<5 {
                frame[index] = try read(stackPlace(rsp &+ UInt64(index) &* bytes), bytes)
            }
        }
        let hasStack = state.isLong || isOuter
        let stack = UInt16(truncatingIfNeeded: frame[4])
        let outer = hasStack ? try stackDescriptor(stack, privilege: new, long: code.isLong) : nil
        let target = try target(frame[0], in: code)
        try markAccessed(selector, code)
        if let outer { try markAccessed(stack, outer) }
        var value = flagsWithin(old, frame[2])
        if size == 1 { value = value & 0xFFFF | flags & ~0xFFFF }
        value &= ~UInt64(Flag.virtual8086 | Flag.resume)
        if hasStack {
            setStack(frame[3], outer, long: code.isLong)
            install(2, stack, outer)
        } else {
            moveStack(to: rsp &+ 3 &* bytes)
        }
        state.rip = target
        flags = value
        setCode(selector, code, privilege: new)
        if isOuter { nullInner() }
        if size != 1 && frame[2] & UInt64(Flag.resume) != 0 { resume() }
        state.charge = 0
        return .jump
    }

    /// Data segments that the outer ring may not use become null.
    private func nullInner() {
        for segment in [0, 3, 4, 5] {
            let register = state.segments[segment]
            if !register.isNull && register.isGuarded && register.privilege < state.privilege {
                state.segments[segment] = SegmentRegister()
            }
        }
        if !state.isLong { updateMode() }
    }

    func returnFar(_ i: LongOperation) throws(Fault) -> Flow {
        let bytes = Self.bytes(i.shape.size)
        let popped = UInt64(truncatingIfNeeded: i.immediate)
        let offset = try read(stackPlace(rsp), bytes)
        let selector = UInt16(truncatingIfNeeded: try read(stackPlace(rsp &+ bytes), bytes))
        let code = try returnCode(selector)
        let target = try target(offset, in: code)
        let new = UInt32(selector & 3)
        if new != state.privilege {
            let place = rsp &+ 2 &* bytes &+ popped
            let pointer = try read(stackPlace(place), bytes)
            let stack = UInt16(truncatingIfNeeded: try read(stackPlace(place &+ bytes), bytes))
            let outer = try stackDescriptor(stack, privilege: new, long: code.isLong)
            try markAccessed(selector, code)
            if let outer { try markAccessed(stack, outer) }
            setStack(pointer &+ popped, outer, long: code.isLong)
            install(2, stack, outer)
            setCode(selector, code, privilege: new)
            nullInner()
        } else {
            try markAccessed(selector, code)
            moveStack(to: rsp &+ 2 &* bytes &+ popped)
            setCode(selector, code, privilege: new)
        }
        state.rip = target
        state.charge = 0
        return .jump
    }

    /// JMP and CALL, through memory or, in compatibility mode, of an immediate, to code of the same privilege or through a gate.
    func jumpFar(_ i: LongOperation, call: Bool) throws(Fault) -> Flow {
        let bytes = Self.bytes(i.shape.size)
        var offset = UInt64(UInt32(bitPattern: i.displacement)) & Self.mask(i.shape.size)
        var selector = UInt16(truncatingIfNeeded: i.immediate)
        if !i.shape.isImmediate {
            let place = linear(i)
            offset = try read(place, bytes)
            selector = UInt16(truncatingIfNeeded: try read(moved(place, by: bytes), 2))
        }
        guard let code = try tableEntry(selector) else {
            throw .protection(selector & 0xFFFC == 0 ? 0 : selector)
        }
        if isActive && !code.isSegment && code.type == 12 {
            try gateTransfer(selector, code, call: call, returnTo: following(i))
            return .jump
        }
        let isAllowed =
            code.isConforming
            ? code.privilege <= state.privilege
            : code.privilege == state.privilege && UInt32(selector & 3) <= state.privilege
        guard code.isCode, isAllowed, !(code.isLong && code.isDefault32) else {
            throw .protection(selector)
        }
        guard code.isPresent else { throw .notPresent(selector) }
        let target = try target(offset, in: code)
        if call {
            try checkWrite(stackPlace(rsp &- bytes), bytes)
            try checkWrite(stackPlace(rsp &- 2 &* bytes), bytes)
        }
        try markAccessed(selector, code)
        if call {
            try push(UInt64(state.segments[1].selector), i.shape.size)
            try push(following(i), i.shape.size)
        }
        setCode(selector, code, privilege: state.privilege)
        state.rip = target
        state.charge = 0
        return .jump
    }

    /// Through a call gate to 64-bit code; CALL may go to an inner ring.
    private func gateTransfer(
        _ selector: UInt16, _ gate: SegmentDescriptor, call: Bool, returnTo next: UInt64
    ) throws(Fault) {
        let old = state.privilege
        guard gate.privilege >= max(old, UInt32(selector & 3)),
            let upper = try tableEntry(selector &+ 8), upper.hasNoType
        else { throw .protection(selector) }
        guard gate.isPresent else { throw .notPresent(selector) }
        let target = UInt64(gate.gateOffset) | upper.value &<< 32
        let codeSelector = gate.gateSelector
        guard let code = try tableEntry(codeSelector), code.isCode, code.isLong,
            !code.isDefault32, code.privilege <= old,
            call || code.isConforming || code.privilege == old
        else { throw .protection(codeSelector) }
        guard code.isPresent else { throw .notPresent(codeSelector) }
        guard Self.isCanonical(target) else { throw .protection(0) }
        let new = code.isConforming ? old : code.privilege
        let stack = new == old ? rsp : try taskStack(4 &+ UInt64(new) &* 8)
        if call && !Self.isCanonical(stack) { throw .stack(0) }
        try markAccessed(codeSelector, code)
        if call {
            let from = UInt64(state.segments[1].selector)
            if new == old {
                try push([0, 0, 0, 0, next, from], from: 4, on: stack, ring: new)
            } else {
                let frame: InlineArray<6, UInt64> = [
                    0, 0, next, from, rsp, UInt64(state.segments[2].selector),
                ]
                try push(frame, from: 2, on: stack, ring: new)
            }
        }
        setCode(codeSelector, code, privilege: new)
        state.rip = target
        state.charge = 0
    }

    // MARK: SYSCALL, SYSRET

    func systemCall(_ i: LongOperation) throws(Fault) -> Flow {
        guard isActive, state.features & LongFeature.systemCall != 0 else { throw .undefined }
        let wasLong = state.isLong
        rcx = following(i)
        let old = flags & ~UInt64(Flag.resume)
        set(88, old)
        let selector = UInt16(truncatingIfNeeded: state.star &>> 32) & 0xFFFC
        install(2, selector &+ 8, .flatData)
        flags = old & ~state.entryMask
        setCode(selector, .flatLongCode, privilege: 0)
        state.suppressesStep = state.otherFlags & UInt64(Flag.trap) == 0
        state.rip = wasLong ? state.longEntry : state.compatibleEntry
        state.charge = 0
        return .jump
    }

    func systemReturn(_ i: LongOperation) throws(Fault) -> Flow {
        guard isActive, state.features & LongFeature.systemCall != 0 else { throw .undefined }
        guard state.privilege == 0 else { throw .protection(0) }
        let isLong = i.shape.size == 3
        // One that is not canonical faults in ring 3, where an Intel's would here.
        let target = isLong ? rcx : rcx & 0xFFFF_FFFF
        let selector = UInt16(truncatingIfNeeded: state.star &>> 48)
        install(2, (selector &+ 8) | 3, .flatData)
        let kept = ~UInt64(Flag.resume | Flag.virtual8086)
        flags = get(88, as: UInt64.self) & kept
        setCode(
            isLong ? selector &+ 16 : selector, isLong ? .flatLongCode : .flatCode, privilege: 3)
        state.rip = target
        // A step is told by the trap flag as it is now: the SYSCALL of a program that is stepped ends here.
        if state.otherFlags & UInt64(Flag.trap) != 0 {
            state.debug.pending |= DebugRegisters.step
        }
        state.suppressesStep = true
        state.charge = 0
        return .jump
    }
}
