// The GDT, LDT and TSS that a guest with ring 0 has in its memory: every look at them is a read with the rights of
// ring 0, and may fault. Source: Intel SDM volume 3, chapters 3.5, 7.2.

extension Core {
    /// Reads with the rights of ring 0.
    func supervisorRead<Width: Operand>(_ linear: UInt32, as: Width.Type = Width.self) throws(Fault)
        -> Width
    {
        let present = (state.privilege, unsafe state.tlb)
        defer { unsafe (state.privilege, state.tlb) = unsafe present }
        state.privilege = 0
        unsafe state.tlb = unsafe state.supervisorTLB
        return try read(linear)
    }

    func supervisorWrite<Width: Operand>(_ linear: UInt32, _ value: Width) throws(Fault) {
        let present = (state.privilege, unsafe state.tlb)
        defer { unsafe (state.privilege, state.tlb) = unsafe present }
        state.privilege = 0
        unsafe state.tlb = unsafe state.supervisorTLB
        try write(linear, value)
    }

    // MARK: Descriptors

    /// Where a selector's descriptor is; nil behind its table's limit.
    private func place(_ selector: UInt16) -> UInt32? {
        let offset = UInt32(selector & 0xFFF8)
        if selector & 4 != 0 {
            guard system.localTable.selector & 0xFFFC != 0, system.localTable.limit >= offset &+ 7
            else { return nil }
            return system.localTable.base &+ offset
        }
        guard UInt32(system.globalTable.limit) >= offset &+ 7 else { return nil }
        return system.globalTable.base &+ offset
    }

    func systemTableEntry(_ selector: UInt16) throws(Fault) -> SegmentDescriptor? {
        guard let place = place(selector) else { return nil }
        return SegmentDescriptor(try descriptorValue(place))
    }

    func descriptorValue(_ place: UInt32) throws(Fault) -> UInt64 {
        let low = try supervisorRead(place, as: UInt32.self)
        let high = try supervisorRead(place &+ 4, as: UInt32.self)
        return UInt64(high) &<< 32 | UInt64(low)
    }

    /// Sets the accessed bit of a segment that is about to be loaded, before anything changes: a table that may not be
    /// written faults.
    func markAccessed(_ selector: UInt16, _ descriptor: SegmentDescriptor) throws(Fault) {
        guard isSystem, descriptor.value & SegmentDescriptor.accessedBit == 0 else { return }
        try setTypeBits(selector, 1)
    }

    /// Sets bits of a descriptor's type.
    private func setTypeBits(_ selector: UInt16, _ bits: UInt8, clear: UInt8 = 0) throws(Fault) {
        guard let place = place(selector) else { return }
        let type = try supervisorRead(place &+ 5, as: UInt8.self)
        try supervisorWrite(place &+ 5, type & ~clear | bits)
    }

    // MARK: Registers of tables

    var globalTable: ProcessorProfile.Table {
        isSystem ? system.globalTable : state.profile.globalTable
    }
    var interruptTable: ProcessorProfile.Table {
        isSystem ? system.interruptTable : state.profile.interruptTable
    }
    var localTableSelector: UInt16 {
        isSystem ? system.localTable.selector : state.profile.localTable
    }
    var taskSelector: UInt16 { isSystem ? system.task.selector : state.profile.task }

    /// LLDT.
    func loadLocalTable(_ selector: UInt16) throws(Fault) {
        guard selector & 0xFFFC != 0 else {
            system.localTable = SystemSegment(selector: selector)
            return
        }
        let descriptor = try globalDescriptor(selector)
        guard !descriptor.isSegment, descriptor.type == 2 else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        system.localTable = SystemSegment(
            selector: selector, base: descriptor.base, limit: descriptor.limit)
    }

    /// LTR.
    func loadTask(_ selector: UInt16) throws(Fault) {
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        let descriptor = try globalDescriptor(selector)
        // An available TSS of 16 or 32 bits.
        guard !descriptor.isSegment, descriptor.type == 1 || descriptor.type == 9 else {
            throw .protection(selector)
        }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        try setBusy(selector, true)
        system.task = SystemSegment(
            selector: selector, base: descriptor.base, limit: descriptor.limit,
            is32: descriptor.type == 9)
    }

    func setBusy(_ selector: UInt16, _ isBusy: Bool) throws(Fault) {
        try setTypeBits(selector, isBusy ? 2 : 0, clear: isBusy ? 0 : 2)
    }

    /// A descriptor that must be in the GDT.
    func globalDescriptor(_ selector: UInt16) throws(Fault) -> SegmentDescriptor {
        guard selector & 4 == 0 else { throw .protection(selector) }
        return try descriptor(selector)
    }

    // MARK: The task state segment

    /// ss and esp of an inner ring: #TS(the task) where its segment is too short.
    func taskStack(_ ring: UInt32) throws(Fault) -> (UInt16, UInt32) {
        let task = system.task
        let offset: UInt32 = task.is32 ? 4 &+ ring &* 8 : 2 &+ ring &* 4
        guard task.limit >= offset &+ (task.is32 ? 7 : 3) else {
            throw .invalidTask(task.selector)
        }
        let place = task.base &+ offset
        if task.is32 {
            let pointer = try supervisorRead(place, as: UInt32.self)
            return (try supervisorRead(place &+ 4, as: UInt16.self), pointer)
        }
        let pointer = UInt32(try supervisorRead(place, as: UInt16.self))
        return (try supervisorRead(place &+ 2, as: UInt16.self), pointer)
    }

    /// IN and OUT where the privilege is not enough: the bitmap of the task. #GP(0) if it bars one of the ports.
    func checkPort(_ port: UInt32, _ count: UInt32) throws(Fault) {
        guard state.privilege > ioPrivilege else { return }
        let task = system.task
        guard task.is32, task.limit >= 0x67 else { throw .protection(0) }
        let map = UInt32(try supervisorRead(task.base &+ 0x66, as: UInt16.self))
        // Two bytes are looked at, whatever the ports.
        let offset = map &+ port &>> 3
        guard task.limit > offset else { throw .protection(0) }
        let bits = UInt32(try supervisorRead(task.base &+ offset, as: UInt16.self))
        guard bits &>> (port & 7) & ((1 &<< count) &- 1) == 0 else { throw .protection(0) }
    }
}
