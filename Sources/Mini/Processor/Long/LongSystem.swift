// The instructions of long mode that ask for ring 0, and ports. Source: AMD64 Architecture Programmer's Manual volume 3.

/// Bits of CR4 that this processor has: no SMEP, SMAP, PCID, FSGSBASE, LA57 or XSAVE.
private enum LongControl4 {
    static let extended: UInt64 = 1 << 5
    /// Machine checks among them, of which none ever comes.
    static let known: UInt64 = 0x7FC
}

extension LongCore {
    private func needRing0() throws(Fault) {
        guard state.privilege == 0 else { throw .protection(0) }
    }

    /// Ports and IF need this much.
    private var ioPrivilege: UInt32 { UInt32(truncatingIfNeeded: state.otherFlags &>> 12 & 3) }

    func systemInstruction(_ i: LongOperation) throws(Fault) -> Flow {
        switch unsafe LongSlow(rawValue: i.aux).unsafelyUnwrapped {
        case .cpuid:
            let (a, b, c, d) = identify(get(0, as: UInt32.self))
            set(0, a)
            set(24, b)
            set(8, c)
            set(16, d)
            return .next
        case .timeStamp:
            let isBarred = state.control4 & UInt64(Control4.timeStampDisable) != 0
            guard state.privilege == 0 || !isBarred else { throw .protection(0) }
            let now = timeStampNow
            setPart(0, 2, now)
            setPart(16, 2, now &>> 32)
            return .next
        case .callHypervisor:
            setPart(0, i.shape.size, HypervisorCall.answer(state.privilege))
            return .next
        case .portInput, .portOutput: return try port(i)
        case .systemCall: return try systemCall(i)
        case .systemReturn: return try systemReturn(i)
        case .clearInterrupt:
            guard state.privilege <= ioPrivilege else { throw .protection(0) }
            state.otherFlags &= ~UInt64(Flag.interrupt)
            return .next
        case .setInterrupt:
            guard state.privilege <= ioPrivilege else { throw .protection(0) }
            if state.otherFlags & UInt64(Flag.interrupt) == 0 {
                state.otherFlags |= UInt64(Flag.interrupt)
                state.attention |= Attention.shadow
            }
            return .stop
        case .storeTable:
            let table = i.which == 0 ? state.globalTable : state.interruptTable
            let bytes = Self.bytes(i.shape.size)
            try checkWrite(linear(i), 2 &+ bytes)
            try write(linear(i), UInt64(table.limit), 2)
            try write(linear(i) &+ 2, table.base, bytes)
            return .next
        case .storeSegment:
            let selector = i.which == 0 ? state.localTable.selector : state.task.selector
            try setOperand(i, UInt64(selector))
            return .next
        case .storeMachineStatus:
            try setOperand(i, state.control0)
            return .next
        default: break
        }
        try needRing0()
        switch unsafe LongSlow(rawValue: i.aux).unsafelyUnwrapped {
        case .loadTable:
            let limit = UInt16(truncatingIfNeeded: try read(linear(i), 2))
            let base = try read(linear(i) &+ 2, Self.bytes(i.shape.size))
            guard Self.isCanonical(base) else { throw .protection(0) }
            let table = LongTable(base: i.which & 2 == 0 ? base : base & 0xFF_FFFF, limit: limit)
            if i.which & 1 == 0 { state.globalTable = table } else { state.interruptTable = table }
        case .loadSegment: try loadSystemSegment(i)
        case .loadMachineStatus:
            let value = try operand(i, 1)
            // PE stays set.
            try setControl0(state.control0 & ~0xE | value & 0xE)
        case .swapBases:
            let base = state.bases[5]
            state.bases[5] = state.kernelBase
            state.kernelBase = base
        case .halt:
            state.rip = following(i)
            // The step's trap ends it.
            if state.otherFlags & UInt64(Flag.trap) != 0 { return .jump }
            state.exit = .halt(interruptsEnabled: state.otherFlags & UInt64(Flag.interrupt) != 0)
            return .exit
        case .flushCaches: break
        case .clearTaskSwitched: state.control0 &= ~UInt64(Control0.taskSwitched)
        case .forgetPage: forgetPage(of: linear(i))
        case .readControl: setPart(i.b, i.shape.size, readControl(i.which))
        case .writeControl: try writeControl(i.which, get(i.b))
        case .readDebug: setPart(i.b, i.shape.size, state.debug[try debugNumber(i.which)])
        case .writeDebug:
            let number = try debugNumber(i.which)
            let value = part(i.b, i.shape.size)
            if number >= 6 && value &>> 32 != 0 { throw .protection(0) }
            if state.debug.set(number, value) { flushTLB() }
        case .readModelRegister:
            let value = try modelRegister(get(8))
            setPart(0, 2, value)
            setPart(16, 2, value &>> 32)
        case .writeModelRegister:
            try setModelRegister(get(8), part(16, 2) &<< 32 | part(0, 2))
        case .counter: throw .protection(0)
        default: throw .undefined
        }
        return .stop
    }

    private func debugNumber(_ number: UInt8) throws(Fault) -> Int {
        try state.debug.place(of: number, UInt32(truncatingIfNeeded: state.control4))
    }

    private func loadSystemSegment(_ i: LongOperation) throws(Fault) {
        let selector = UInt16(truncatingIfNeeded: try operand(i))
        if i.which == 0 && selector & 0xFFFC == 0 {
            state.localTable = LongSystemSegment(selector: selector)
            return
        }
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        let (descriptor, base, place) = try systemEntry(selector)
        // An LDT, or an available TSS, which becomes busy.
        guard !descriptor.isSegment, descriptor.type == (i.which == 0 ? 2 : 9) else {
            throw .protection(selector)
        }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        let segment = LongSystemSegment(selector: selector, base: base, limit: descriptor.limit)
        if i.which == 0 {
            state.localTable = segment
        } else {
            let busy = (descriptor.value | 1 &<< 41) &>> 40
            try asSupervisor { () throws(Fault) in try write(place &+ 5, busy, 1) }
            state.task = segment
        }
    }

    // MARK: Control registers

    private func readControl(_ number: UInt8) -> UInt64 {
        switch number {
        case 0: state.control0
        case 2: state.faultAddress
        case 3: state.control3
        case 4: state.control4
        default: state.control8
        }
    }

    private func writeControl(_ number: UInt8, _ value: UInt64) throws(Fault) {
        switch number {
        case 0: try setControl0(value)
        case 2: state.faultAddress = value
        case 3:
            // As many bits as an address of memory has; bit 63 has a meaning only with PCID.
            guard value &>> 36 == 0 else { throw .protection(0) }
            state.control3 = value
            forgetAddressSpace()
        case 4:
            guard value & ~LongControl4.known == 0,
                value & LongControl4.extended != 0 || !isActive
            else {
                throw .protection(0)
            }
            let changed = state.control4 ^ value
            state.control4 = value
            let walking = UInt64(Control4.globalPages | Control4.largePages)
            if changed & walking != 0 { flushTLB() }
        default:
            guard value < 16 else { throw .protection(0) }
            state.control8 = value
        }
    }

    /// Protection cannot be left, and paging is that of long mode or none.
    private func setControl0(_ value: UInt64) throws(Fault) {
        guard value &>> 32 == 0, value & UInt64(Control0.protection) != 0 else {
            throw .protection(0)
        }
        let noCache = UInt64(Control0.cacheDisable)
        let through = UInt64(Control0.notWriteThrough)
        if value & through != 0 && value & noCache == 0 { throw .protection(0) }
        let changed = state.control0 ^ value
        let paging = UInt64(Control0.paging)
        if changed & paging != 0 {
            let isReady =
                value & paging == 0
                ? !state.isLong
                : state.features & LongFeature.long != 0
                    && state.control4 & LongControl4.extended != 0
            guard isReady else { throw .protection(0) }
            state.features ^= LongFeature.active
        }
        state.control0 = value & UInt64(Control0.known) | UInt64(Control0.extensionType)
        if changed & (UInt64(Control0.writeProtect) | paging) != 0 { flushTLB() }
    }

    // MARK: Selectors

    /// VERR, VERW.
    func verify(_ i: LongOperation) throws(Fault) {
        let selector = UInt16(truncatingIfNeeded: try operand(i))
        var isUsable = false
        if let descriptor = try tableEntry(selector), descriptor.isSegment {
            let isFree = descriptor.isCode && descriptor.isConforming
            let isReachable =
                isFree || max(UInt32(selector & 3), state.privilege) <= descriptor.privilege
            isUsable =
                isReachable && (i.which == 0 ? descriptor.isReadable : descriptor.isWritableData)
        }
        setZero(isUsable)
    }

    func setZero(_ zero: Bool) {
        arithmeticFlags = arithmeticFlags & ~Flag.zero | (zero ? Flag.zero : 0)
    }

    /// LAR, LSL.
    func describe(_ i: LongOperation) throws(Fault) {
        let selector = UInt16(truncatingIfNeeded: try operand(i, 1))
        guard let descriptor = try tableEntry(selector) else { return setZero(false) }
        let isLimit = i.which == 1
        let isFree = descriptor.isCode && descriptor.isConforming
        let isKnown =
            descriptor.isSegment || [2, 9, 11].contains(descriptor.type)
            || !isLimit && descriptor.type == 12
        let isReachable =
            isFree || max(UInt32(selector & 3), state.privilege) <= descriptor.privilege
        guard isKnown && isReachable else { return setZero(false) }
        setZero(true)
        setPart(
            i.a, i.shape.size,
            isLimit ? UInt64(descriptor.limit) : descriptor.value &>> 32 & 0x00FF_FF00)
    }

    // MARK: Ports

    func checkPort(_ port: UInt16, _ size: UInt8) throws(Fault) {
        if state.privilege <= ioPrivilege { return }
        // The map in the task's segment: a bit a port, and a byte more is read.
        guard state.task.limit >= 0x67 else { throw .protection(0) }
        let task = state.task
        let offset = try asSupervisor { () throws(Fault) in try read(task.base &+ 0x66, 2) }
        let place = offset &+ UInt64(port &>> 3)
        guard place &+ 1 <= UInt64(task.limit) else { throw .protection(0) }
        let bits = try asSupervisor { () throws(Fault) in try read(task.base &+ place, 2) }
        let wanted: UInt64 = (1 &<< Self.bytes(size)) &- 1
        guard bits &>> UInt64(port & 7) & wanted == 0 else { throw .protection(0) }
    }

    private func port(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let port =
            i.shape.isImmediate
            ? UInt16(truncatingIfNeeded: i.immediate) : get(16, as: UInt16.self)
        try checkPort(port, size)
        let access = PortAccess(port: port, size: UInt8(truncatingIfNeeded: Self.bytes(size)))
        state.exit =
            i.aux == LongSlow.portInput.rawValue
            ? .portInput(access)
            : .portOutput(access, value: UInt32(truncatingIfNeeded: part(0, size)))
        state.rip = following(i)
        return .exit
    }
}
