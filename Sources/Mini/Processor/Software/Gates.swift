// Exceptions and interrupts: which vectors leave the processor and which are taken by the guest's
// own handler, entering and leaving inner rings, far calls, jumps and returns, call gates.
//
//     fault or INT n ── gate of the vector ──┬─ exit: the loop is left
//                                            └─ direct: frame on the ring's stack ── handler
//                        a fault on the way is delivered in its place
//
// Sources: Intel SDM volume 3, chapter 6 (order of checks, error codes, double fault) and 5.8
// (call gates); volume 2, INT n, IRET, CALL, RET.

/// A vector's gate as the state holds it.
struct GateEntry {
    var offset: UInt32 = 0
    var selector: UInt16 = 0
    /// Least privilege that may use it with INT n.
    var privilege: UInt8 = 0
    var isDirect = false
    /// A trap gate: IF stays. (Of a guest without ring 0, it does in any case.)
    var isTrap = false
    /// A 16-bit gate.
    var is16 = false
}

extension Core {
    /// Whether the instruction is to be restarted: its frame has the resume flag.
    static func isFault(_ vector: UInt8) -> Bool {
        switch vector {
        case ExceptionVector.debug...ExceptionVector.overflow,
            ExceptionVector.doubleFault, ExceptionVector.coprocessorOverrun:
            false
        default: vector < 32
        }
    }

    /// Faults that make a double fault of a second one.
    private static func isContributory(_ vector: UInt8) -> Bool {
        vector == ExceptionVector.divideError
            || (vector >= ExceptionVector.invalidTask && vector <= ExceptionVector.protection)
    }

    // MARK: Delivery

    /// Delivers what stopped an instruction; `State.eip` is at it.
    /// - Returns: true if the guest's own handler was entered; false if it is for the processor's user.
    func deliver(_ fault: Fault) -> Bool {
        deliver(fault, returnTo: state.eip, isSoftware: false)
    }

    private func deliver(_ fault: Fault, returnTo eip: UInt32, isSoftware: Bool) -> Bool {
        if isSystem { return raise(fault, returnTo: eip, isSoftware ? .software : .exception) }
        var fault = fault
        var isSoftware = isSoftware
        var eip = eip
        while true {
            guard case .exception(let vector, let code) = fault else {
                state.fault = fault
                return false
            }
            let isFault = !isSoftware && Self.isFault(vector)
            let gate = unsafe state.gates[Int(vector)]
            if !gate.isDirect {
                state.eip = eip
                state.fault = fault
                if isFault { state.otherFlags |= Flag.resume }
                return false
            }
            do throws(Fault) {
                try enter(
                    gate, returnTo: eip, flags: flags | (isFault ? Flag.resume : 0),
                    errorCode: !isSoftware && ExceptionVector.hasErrorCode(vector) ? code : nil)
                return true
            } catch {
                fault = Self.combine(isSoftware ? nil : vector, error)
                isSoftware = false
                eip = state.eip
                if vector == ExceptionVector.doubleFault {
                    // What comes of a double fault is the user's, whatever gate it has.
                    state.fault = fault
                    return false
                }
            }
        }
    }

    /// The fault that results when delivering `first` (nil: INT n) raised `second`.
    static func combine(_ first: UInt8?, _ second: Fault) -> Fault {
        guard let first, case .exception(let vector, _) = second else { return second }
        if first == ExceptionVector.doubleFault { return .doubleFault }
        let isDouble =
            first == ExceptionVector.pageFault
            ? isContributory(vector) || vector == ExceptionVector.pageFault
            : isContributory(first) && isContributory(vector)
        return isDouble ? .doubleFault : fromOutside(second)
    }

    /// A fault of delivering what comes from outside the instruction: the EXT bit.
    static func fromOutside(_ fault: Fault) -> Fault {
        guard case .exception(let vector, let code) = fault,
            vector >= ExceptionVector.invalidTask && vector <= ExceptionVector.protection
        else { return fault }
        return .exception(vector: vector, code: code | 1)
    }

    /// INT n, INT3, INTO at `State.eip`, going on after the instruction.
    func interrupt(_ vector: UInt8, returnTo next: UInt32) throws(Fault) -> Flow {
        let gate = unsafe state.gates[Int(vector)]
        guard isSystem || state.privilege <= UInt32(gate.privilege) else {
            throw .exception(vector: ExceptionVector.protection, code: UInt32(vector) &* 8 &+ 2)
        }
        return software(vector, returnTo: next)
    }

    /// The same without the privilege check.
    func software(_ vector: UInt8, returnTo next: UInt32) -> Flow {
        state.suppressesStep = true
        let isDirect = deliver(
            .exception(vector: vector, code: 0), returnTo: next, isSoftware: true)
        return isDirect ? .jump : .exit
    }

    /// Enters a handler through a direct gate.
    func enter(
        _ gate: GateEntry, returnTo eip: UInt32, flags: UInt32, errorCode: UInt32?
    ) throws(Fault) {
        guard gate.selector & 0xFFFC != 0 else { throw .protection(0) }
        let code = try descriptor(gate.selector)
        guard code.isCode, code.privilege <= state.privilege else {
            throw .protection(gate.selector)
        }
        guard code.isPresent else { throw .notPresent(gate.selector) }
        let ring = code.isConforming ? state.privilege : code.privilege

        var frame = Frame(size: gate.is16 ? 1 : 2)
        if ring < state.privilege {
            append(UInt32(stackRegister.selector), to: &frame)
            append(state.esp, to: &frame)
        }
        append(flags, to: &frame)
        append(UInt32(codeSelector), to: &frame)
        append(eip, to: &frame)
        if let errorCode { append(errorCode, to: &frame) }
        guard gate.offset <= code.limit else { throw .protection(0) }
        try markAccessed(gate.selector, code)
        try switchStack(to: ring, pushing: frame)
        installCode(gate.selector, code, privilege: ring)
        state.eip = gate.offset
        let hadTrap = state.otherFlags & Flag.trap != 0
        state.otherFlags &= ~(Flag.trap | Flag.nestedTask | Flag.resume)
        if !gate.isTrap { state.otherFlags &= ~Flag.interrupt }
        state.suppressesStep = true
        if hadTrap { updateMode() }
    }

    var codeSelector: UInt16 { unsafe state.segments[SegmentRegister.code].selector }

    /// Pushes a frame on the stack of a ring: the present one, or the inner ring's from the
    /// task state segment, whose ss and esp are then loaded. The caller loads cs.
    private func switchStack(to ring: UInt32, pushing frame: Frame) throws(Fault) {
        guard ring < state.privilege else { return try push(frame) }
        let (selector, pointer) = try stack(of: ring)
        guard selector & 0xFFFC != 0 else { throw .invalidTask(0) }
        guard let descriptor = try tableEntry(selector) else { throw .invalidTask(selector) }
        guard UInt32(selector & 3) == ring, descriptor.privilege == ring,
            descriptor.isWritableData
        else { throw .invalidTask(selector) }
        guard descriptor.isPresent else { throw .stack(selector) }

        try markAccessed(selector, descriptor)
        let register = SegmentRegister(
            selector: selector, rights: descriptor.rights, limit: descriptor.limit)
        let esp = try asRing(ring) { () throws(Fault) in
            try write(
                frame, below: pointer, on: register, base: descriptor.base,
                fault: .stack(selector))
        }
        state.privilege = ring
        install(SegmentRegister.stack, selector, descriptor)
        state.esp = esp
    }

    /// ss and esp in the task state segment.
    private func stack(of ring: UInt32) throws(Fault) -> (UInt16, UInt32) {
        if isSystem { return try taskStack(ring) }
        // No other ring has a stack of the guest's.
        return (
            ring == state.profile.kernelRing ? state.ringStackSelector : 0, state.ringStackPointer
        )
    }

    /// Runs `body` with the memory rights of a ring.
    func asRing(_ ring: UInt32, _ body: () throws(Fault) -> UInt32) throws(Fault)
        -> UInt32
    {
        // Only what an access looks at: privilege and table.
        let present = (state.privilege, unsafe state.tlb)
        defer { unsafe (state.privilege, state.tlb) = unsafe present }
        state.privilege = ring
        unsafe state.tlb = unsafe state.supervisorTLB
        return try body()
    }

    // MARK: Far calls and jumps

    /// Far jump or call.
    /// - Parameters: size of the operand; eip after the instruction.
    func farTransfer(
        _ selector: UInt16, _ offset: UInt32, isCall: Bool, size: UInt8, returnTo next: UInt32
    ) throws(Fault) {
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        let descriptor = try descriptor(selector)
        guard descriptor.isSegment else {
            return try gateTransfer(selector, descriptor, isCall: isCall, returnTo: next)
        }
        let isAllowed =
            descriptor.isConforming
            ? descriptor.privilege <= state.privilege
            : UInt32(selector & 3) <= state.privilege && descriptor.privilege == state.privilege
        guard descriptor.isCode, isAllowed else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        guard offset <= descriptor.limit else { throw .protection(0) }
        try markAccessed(selector, descriptor)
        if isCall { try pushReturn(next, size: size) }
        installCode(selector, descriptor, privilege: state.privilege)
        state.eip = offset
    }

    private func pushReturn(_ next: UInt32, size: UInt8) throws(Fault) {
        var frame = Frame(size: size)
        append(UInt32(codeSelector), to: &frame)
        append(next, to: &frame)
        try push(frame)
    }

    /// Through a call gate or to another task; what else a system descriptor may be there is refused.
    private func gateTransfer(
        _ selector: UInt16, _ gate: SegmentDescriptor, isCall: Bool, returnTo next: UInt32
    ) throws(Fault) {
        guard gate.privilege >= max(state.privilege, UInt32(selector & 3)) else {
            throw .protection(selector)
        }
        // A TSS of 16 or 32 bits, free or busy, looks for itself whether it is present.
        let isTask = isSystem && gate.type & 5 == 1
        let isTaskGate = isSystem && gate.type == 5
        guard gate.type == 0xC || gate.type == 4 || isTask || isTaskGate else {
            throw .protection(selector)
        }
        guard gate.isPresent || isTask else { throw .notPresent(selector) }
        if isTask || isTaskGate {
            return try switchTask(
                isTask ? selector : gate.gateSelector, isCall ? .nested : .jumping,
                returnTo: next, flags: flags)
        }
        let size: UInt8 = gate.type == 0xC ? 2 : 1
        let target = gate.gateSelector
        guard target & 0xFFFC != 0 else { throw .protection(0) }
        let code = try descriptor(target)
        let isSame = code.isConforming || code.privilege == state.privilege
        guard code.isCode, code.privilege <= state.privilege, isSame || isCall else {
            throw .protection(target)
        }
        guard code.isPresent else { throw .notPresent(target) }
        let offset = size == 2 ? gate.gateOffset : gate.gateOffset & 0xFFFF
        guard offset <= code.limit else { throw .protection(0) }
        try markAccessed(target, code)
        if isSame {
            if isCall { try pushReturn(next, size: size) }
            installCode(target, code, privilege: state.privilege)
        } else {
            var frame = Frame(size: size)
            append(UInt32(stackRegister.selector), to: &frame)
            append(state.esp, to: &frame)
            for index in stride(from: gate.gateParameters, to: 0, by: -1) {
                append(try peek(UInt32(index - 1), size: size), to: &frame)
            }
            append(UInt32(codeSelector), to: &frame)
            append(next, to: &frame)
            try switchStack(to: code.privilege, pushing: frame)
            installCode(target, code, privilege: code.privilege)
        }
        state.eip = offset
    }

    // MARK: Returns

    /// RETF and RETF n.
    func farReturn(size: UInt8, releasing count: UInt32) throws(Fault) {
        let bytes: UInt32 = size == 1 ? 2 : 4
        // The selector first, which shows if neither can be read.
        let selector = UInt16(truncatingIfNeeded: try peek(1, size: size))
        let eip = try peek(0, size: size)
        let code = try returnCode(selector, eip)
        let ring = UInt32(selector & 3)
        if ring == state.privilege {
            try markAccessed(selector, code)
            installCode(selector, code, privilege: ring)
            discard(2 &* bytes &+ count)
        } else {
            let above = state.esp
            setStackPointer(above &+ count)
            let values: (UInt32, UInt16)
            do throws(Fault) {
                values = (
                    try peek(2, size: size),
                    UInt16(truncatingIfNeeded: try peek(3, size: size))
                )
            } catch {
                state.esp = above
                throw error
            }
            state.esp = above
            try returnOutward(selector, code, stack: values.1, esp: values.0)
            setStackPointer(state.esp &+ count)
        }
        state.eip = eip
    }

    /// IRET and IRETD.
    /// - Parameter next: eip after the instruction.
    func interruptReturn(size: UInt8, next: UInt32) throws(Fault) {
        // A nested task's return goes through the link of the one task state segment, which is 0.
        guard state.otherFlags & Flag.nestedTask == 0 else {
            if isSystem { return try returnFromTask(leaving: next) }
            throw .invalidTask(0)
        }
        let privilege = state.privilege
        let bytes: UInt32 = size == 1 ? 2 : 4
        let eip = try peek(0, size: size)
        let selector = UInt16(truncatingIfNeeded: try peek(1, size: size))
        let newFlags = try peek(2, size: size)
        // Virtual 8086 mode is not offered.
        if isSystem && privilege == 0 && size == 2 && newFlags & Flag.virtual8086 != 0 {
            throw .protection(0)
        }
        let code = try returnCode(selector, eip)
        let ring = UInt32(selector & 3)
        if ring == state.privilege {
            try markAccessed(selector, code)
            installCode(selector, code, privilege: ring)
            discard(3 &* bytes)
        } else {
            let esp = try peek(3, size: size)
            let stack = UInt16(truncatingIfNeeded: try peek(4, size: size))
            try returnOutward(selector, code, stack: stack, esp: esp)
        }
        state.eip = eip
        let wanted =
            size == 1 ? flags & 0xFFFF_0000 | newFlags & 0xFFFF : newFlags & ~Flag.resume
        flags = flagsWithin(privilege, wanted)
        if size != 1 && newFlags & Flag.resume != 0 { resume() }
    }

    /// The code segment to return to.
    private func returnCode(_ selector: UInt16, _ eip: UInt32) throws(Fault) -> SegmentDescriptor {
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        guard UInt32(selector & 3) >= state.privilege else {
            _ = try descriptor(selector)
            throw .protection(selector)
        }
        let code = try codeDescriptor(selector, privilege: UInt32(selector & 3))
        guard eip <= code.limit else { throw .protection(0) }
        return code
    }

    /// The part of a return that goes to a less privileged ring.
    private func returnOutward(
        _ selector: UInt16, _ code: SegmentDescriptor, stack: UInt16, esp: UInt32
    ) throws(Fault) {
        let ring = UInt32(selector & 3)
        let descriptor = try stackDescriptor(stack, privilege: ring)
        try markAccessed(selector, code)
        try markAccessed(stack, descriptor)
        installCode(selector, code, privilege: ring)
        install(SegmentRegister.stack, stack, descriptor)
        setStackPointer(esp)
        nullGuardedSegments()
    }
}
