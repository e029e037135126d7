// Exceptions, interrupts and transfers of long mode: gates of 16 bytes, interrupt stacks, IRETQ, SYSCALL and SYSRET, far
// jumps. What a fault on the way becomes: as in SystemGates.swift.
//
// Sources: AMD64 Architecture Programmer's Manual volume 2, chapters 4, 6, 8; Intel SDM volume 3, 6.14.

/// A descriptor of eight bytes, as far as long mode looks at it.
struct LongDescriptor {
    let value: UInt64
    var isPresent: Bool { value &>> 47 & 1 != 0 }
    var privilege: UInt32 { UInt32(truncatingIfNeeded: value &>> 45 & 3) }
    var isSegment: Bool { value &>> 44 & 1 != 0 }
    var type: UInt8 { UInt8(truncatingIfNeeded: value &>> 40 & 15) }
    var isCode: Bool { isSegment && type & 8 != 0 }
    var isConforming: Bool { type & 4 != 0 }
    var isWritableData: Bool { isSegment && type & 10 == 2 }
    var isReadable: Bool { isSegment && (type & 8 == 0 || type & 2 != 0) }
    var isLong: Bool { value &>> 53 & 1 != 0 }
    var isDefault32: Bool { value &>> 54 & 1 != 0 }
    var base: UInt64 { value &>> 16 & 0xFF_FFFF | value &>> 32 & 0xFF00_0000 }
    var limit: UInt32 {
        let raw = UInt32(truncatingIfNeeded: value & 0xFFFF | value &>> 32 & 0xF_0000)
        return value &>> 55 & 1 != 0 ? raw &<< 12 | 0xFFF : raw
    }
}

extension LongCore {
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

    @inline(never) func tableEntry(_ selector: UInt16) throws(Fault) -> LongDescriptor? {
        guard let place = descriptorPlace(selector) else { return nil }
        return LongDescriptor(
            value: try asSupervisor { () throws(Fault) in try read(place, 8) })
    }

    /// The same of a system segment, with the upper half of its base.
    func systemEntry(_ selector: UInt16) throws(Fault) -> (LongDescriptor, UInt64, UInt64) {
        guard selector & 4 == 0, let place = descriptorPlace(selector),
            UInt64(state.globalTable.limit) >= UInt64(selector & 0xFFF8) &+ 15
        else { throw .protection(selector) }
        return try asSupervisor { () throws(Fault) in
            let descriptor = LongDescriptor(value: try read(place, 8))
            let upper = try read(place &+ 8, 8)
            return (descriptor, descriptor.base | upper &<< 32, place)
        }
    }

    /// A data segment register; of fs and gs the base as well.
    func loadSegment(_ segment: Int, _ selector: UInt16) throws(Fault) {
        var base: UInt64 = 0
        if selector & 0xFFFC == 0 {
            if segment == 2 && (state.privilege == 3 || UInt32(selector & 3) != state.privilege) {
                throw .protection(0)
            }
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
            base = descriptor.base
        }
        state.selectors[segment] = selector
        if segment == 4 { state.fsBase = base }
        if segment == 5 { state.gsBase = base }
    }

    private func setCode(_ selector: UInt16, long: Bool, privilege: UInt32) {
        state.selectors[1] = selector & 0xFFFC | UInt16(truncatingIfNeeded: privilege)
        state.isLong = long
        state.privilege = privilege
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
        var fault = fault
        var source = source
        var rip = rip
        while true {
            guard case .exception(let vector, let code) = fault else { return shutDown() }
            do throws(Fault) {
                try enterThroughTable(vector, code, returnTo: rip, source)
                return true
            } catch {
                if source == .exception && vector == 8 { return shutDown() }
                switch source {
                case .exception: fault = Core.combine(vector, error)
                case .software: fault = error
                case .external: fault = Core.combine(nil, error)
                }
                source = .exception
                rip = state.rip
            }
        }
    }

    private func shutDown() -> Bool {
        state.exit = .shutdown
        return false
    }

    /// INT n; INT3; INT1.
    func software(_ i: LongOperation) throws(Fault) -> Flow {
        state.rip = state.blockStart &+ i.first
        let vector = UInt8(truncatingIfNeeded: i.immediate)
        guard raise(.exception(vector: vector, code: 0), returnTo: following(i), .software) else {
            return .exit
        }
        state.charge = 0
        return .jump
    }

    private func enterThroughTable(
        _ vector: UInt8, _ code: UInt32, returnTo rip: UInt64, _ source: EventSource
    ) throws(Fault) {
        let offset = UInt64(vector) &* 16
        let inTable = Fault.exception(vector: 13, code: UInt32(vector) &* 8 &+ 2)
        guard UInt64(state.interruptTable.limit) >= offset &+ 15 else { throw inTable }
        let place = state.interruptTable.base &+ offset
        let (low, high) = try asSupervisor { () throws(Fault) in
            (try read(place, 8), try read(place &+ 8, 8))
        }
        let gate = LongDescriptor(value: low)
        guard !gate.isSegment, gate.type == 14 || gate.type == 15 else { throw inTable }
        if source == .software && gate.privilege < state.privilege { throw inTable }
        guard gate.isPresent else {
            throw .exception(vector: 11, code: UInt32(vector) &* 8 &+ 2)
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
        let errorCode = source == .exception && Core.hasErrorCode(vector)
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
        stack &= ~15
        let frame: InlineArray<6, UInt64> = [
            UInt64(code), rip, UInt64(state.selectors[1]), flags, rsp, UInt64(state.selectors[2]),
        ]
        let first = errorCode ? 0 : 1
        let bottom = stack &- UInt64(6 - first) &* 8
        // With the rights of the handler, and all of it or nothing.
        let tlb = unsafe state.tlb
        state.privilege = new
        unsafe state.tlb = new == 3 ? state.userTLB : state.supervisorTLB
        do throws(Fault) {
            try checkWrite(bottom, UInt64(6 - first) &* 8)
            for index in first..<6 {
                try write(bottom &+ UInt64(index - first) &* 8, frame[index], 8)
            }
        } catch {
            state.privilege = old
            unsafe state.tlb = unsafe tlb
            throw error
        }
        rsp = bottom
        if new != old { state.selectors[2] = UInt16(truncatingIfNeeded: new) }
        let cleared = Flag.trap | Flag.nestedTask | Flag.resume | Flag.virtual8086
        state.otherFlags &= ~UInt64(cleared | (gate.type == 14 ? Flag.interrupt : 0))
        state.rip = target
        state.attention &= ~Attention.shadow
        if vector == 1 && source == .exception { state.debug[6] |= 1 &<< 14 }
        setCode(selector, long: true, privilege: new)
    }

    private func taskStack(_ offset: UInt64) throws(Fault) -> UInt64 {
        guard UInt64(state.task.limit) >= offset &+ 7 else {
            throw .invalidTask(state.task.selector)
        }
        return try asSupervisor { () throws(Fault) in try read(state.task.base &+ offset, 8) }
    }

    // MARK: Far transfers

    /// The code segment of a far return.
    private func returnCode(_ selector: UInt16) throws(Fault) -> LongDescriptor {
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

    /// The stack segment of a return to a privilege: null is one, but not for ring 3 or 32-bit code.
    private func checkStack(_ selector: UInt16, privilege: UInt32, long: Bool) throws(Fault) {
        if selector & 0xFFFC == 0 {
            guard long && privilege != 3 && UInt32(selector & 3) == privilege else {
                throw .protection(0)
            }
            return
        }
        guard let descriptor = try tableEntry(selector), descriptor.isWritableData,
            descriptor.privilege == privilege, UInt32(selector & 3) == privilege
        else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .stack(selector) }
    }

    func interruptReturn(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        var frame = InlineArray<5, UInt64>(repeating: 0)
        guard state.otherFlags & UInt64(Flag.nestedTask) == 0 else { throw .protection(0) }
        let count = state.isLong ? 5 : 3
        for index in 0..<count { frame[index] = try read(rsp &+ UInt64(index) &* bytes, bytes) }
        let selector = UInt16(truncatingIfNeeded: frame[1])
        let code = try returnCode(selector)
        let old = state.privilege
        let new = UInt32(selector & 3)
        let isOuter = new != old
        if !state.isLong && isOuter {
            for index in 3..<5 { frame[index] = try read(rsp &+ UInt64(index) &* bytes, bytes) }
        }
        let hasStack = state.isLong || isOuter
        let stack = UInt16(truncatingIfNeeded: frame[4])
        if hasStack { try checkStack(stack, privilege: new, long: code.isLong) }
        let target = code.isLong ? frame[0] : frame[0] & 0xFFFF_FFFF
        guard Self.isCanonical(target) else { throw .protection(0) }
        var value = flagsWithin(old, frame[2])
        if size == 1 { value = value & 0xFFFF | flags & ~0xFFFF }
        value &= ~UInt64(Flag.virtual8086)
        if hasStack {
            rsp = frame[3]
            state.selectors[2] = stack
        } else {
            rsp &+= 3 &* bytes
        }
        state.rip = target
        flags = value
        setCode(selector, long: code.isLong, privilege: new)
        if isOuter { try nullInner() }
        state.suppressesStep = true
        state.charge = 0
        return .jump
    }

    /// Data segments that the outer ring may not use become null.
    private func nullInner() throws(Fault) {
        for segment in [0, 3, 4, 5] {
            let selector = state.selectors[segment]
            guard selector & 0xFFFC != 0 else { continue }
            guard let descriptor = try tableEntry(selector) else { continue }
            let isFree = descriptor.isCode && descriptor.isConforming
            if !isFree && descriptor.privilege < state.privilege { state.selectors[segment] = 0 }
        }
    }

    func returnFar(_ i: LongOperation) throws(Fault) -> Flow {
        let bytes = Self.bytes(i.shape.size)
        let popped = UInt64(truncatingIfNeeded: i.immediate)
        let offset = try read(rsp, bytes)
        let selector = UInt16(truncatingIfNeeded: try read(rsp &+ bytes, bytes))
        let code = try returnCode(selector)
        let target = code.isLong ? offset : offset & 0xFFFF_FFFF
        guard Self.isCanonical(target) else { throw .protection(0) }
        let new = UInt32(selector & 3)
        if new != state.privilege {
            let place = rsp &+ 2 &* bytes &+ popped
            let pointer = try read(place, bytes)
            let stack = UInt16(truncatingIfNeeded: try read(place &+ bytes, bytes))
            try checkStack(stack, privilege: new, long: code.isLong)
            rsp = pointer &+ popped
            state.selectors[2] = stack
            setCode(selector, long: code.isLong, privilege: new)
            try nullInner()
        } else {
            rsp &+= 2 &* bytes &+ popped
            setCode(selector, long: code.isLong, privilege: new)
        }
        state.rip = target
        state.charge = 0
        return .jump
    }

    /// JMP and CALL through memory, to code of the same privilege.
    func jumpFar(_ i: LongOperation, call: Bool) throws(Fault) -> Flow {
        let bytes = Self.bytes(i.shape.size)
        let place = linear(i)
        let offset = try read(place, bytes)
        let selector = UInt16(truncatingIfNeeded: try read(place &+ bytes, 2))
        guard let code = try tableEntry(selector) else {
            throw .protection(selector & 0xFFFC == 0 ? 0 : selector)
        }
        let isAllowed =
            code.isConforming
            ? code.privilege <= state.privilege
            : code.privilege == state.privilege && UInt32(selector & 3) <= state.privilege
        guard code.isCode, isAllowed, !(code.isLong && code.isDefault32) else {
            throw .protection(selector)
        }
        guard code.isPresent else { throw .notPresent(selector) }
        let target = code.isLong ? offset : offset & 0xFFFF_FFFF
        guard Self.isCanonical(target) else { throw .protection(0) }
        if call {
            try checkWrite(rsp &- 2 &* bytes, 2 &* bytes)
            try push(UInt64(state.selectors[1]), i.shape.size)
            try push(following(i), i.shape.size)
        }
        setCode(selector, long: code.isLong, privilege: state.privilege)
        state.rip = target
        state.charge = 0
        return .jump
    }

    // MARK: SYSCALL, SYSRET

    func systemCall(_ i: LongOperation) throws(Fault) -> Flow {
        guard state.features & LongFeature.systemCall != 0 else { throw .undefined }
        let wasLong = state.isLong
        rcx = following(i)
        let old = flags & ~UInt64(Flag.resume)
        set(88, old)
        let selector = UInt16(truncatingIfNeeded: state.star &>> 32) & 0xFFFC
        state.selectors[2] = selector &+ 8
        flags = old & ~state.entryMask
        setCode(selector, long: true, privilege: 0)
        state.rip = wasLong ? state.longEntry : state.compatibleEntry
        state.charge = 0
        return .jump
    }

    func systemReturn(_ i: LongOperation) throws(Fault) -> Flow {
        guard state.features & LongFeature.systemCall != 0 else { throw .undefined }
        guard state.privilege == 0 else { throw .protection(0) }
        let isLong = i.shape.size == 3
        let target = isLong ? rcx : rcx & 0xFFFF_FFFF
        guard Self.isCanonical(target) else { throw .protection(0) }
        let selector = UInt16(truncatingIfNeeded: state.star &>> 48)
        state.selectors[2] = (selector &+ 8) | 3
        let kept = ~UInt64(Flag.resume | Flag.virtual8086)
        flags = get(88, as: UInt64.self) & kept
        setCode(isLong ? selector &+ 16 : selector, long: isLong, privilege: 3)
        state.rip = target
        state.charge = 0
        return .jump
    }
}
