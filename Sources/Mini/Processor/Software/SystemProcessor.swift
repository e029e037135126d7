// The i386 processor whole: ring 0 with its control registers, tables, paging and interrupts, for kernels that
// know no host. It keeps the contract of GuestProcessor.swift; all that is the guest's own there (IDT, GDT, page
// tables) lies in guest memory and is looked at when it is used. See SystemState.swift for the files.
//
// What is not there: real and virtual 8086 mode (attempts to enter them are protection faults), breakpoints of ports, alignment checks, the local APIC.

/// An i386 processor with ring 0. Not for several threads at once.
@safe final class SystemProcessor: Interpreter {
    /// - Throws: ENOMEM where there is no room for the tables; ENODEV for a 64-bit start.
    init(
        memory: GuestMemory, start: ProcessorStart,
        arenaCount: UInt32 = SystemProcessor.usualArenaCount
    ) throws(Errno) {
        guard case .protected32 = start.mode else { throw .noDevice }
        try super.init(
            memory: memory, profile: .system, arenaCount: arenaCount, isSystem: true)
        core.state.timeStamp = { Clock.monotonic().count }
        core.system.globalTable = ProcessorProfile.Table(
            base: UInt32(truncatingIfNeeded: start.globalTable), limit: start.globalTableLimit)
        core.installHidden(
            SegmentRegister.code, ProcessorStart.codeSelector, .flat(code: true, ring: 0))
        for segment in 0..<6 where segment != SegmentRegister.code {
            core.installHidden(
                segment, ProcessorStart.dataSelector, .flat(code: false, ring: 0))
        }
        core.system.task = SystemSegment(
            selector: ProcessorStart.taskSelector, base: 0, limit: 0x67)
        self[.eip] = UInt32(truncatingIfNeeded: start.entry)
        self[.esp] = UInt32(truncatingIfNeeded: start.stack)
        self[.esi] = UInt32(truncatingIfNeeded: start.parameters)
        self[.ebx] = UInt32(truncatingIfNeeded: start.startInfo)
        self[.eflags] = Flag.one
    }

    override var missing: MissingInstruction? { core.system.missing }
    override func tellStop() { core.tellStop() }

    /// Bytes for decoded blocks. A stock kernel's way to its init would fill 8 MiB; with half of that it takes as long, with a
    /// quarter a tenth longer.
    static let usualArenaCount: UInt32 = 4 * 1024 * 1024
}
