// The processor of an lguest guest, as far as it is not what the manuals say: a kernel at ring 1 below a
// host that keeps GDT and IDT, the top of every address space, and privileged instructions.
// Source: docs/abi/lguest.md §4.1, §4.2, §4.5…§4.7.

extension ProcessorProfile {
    /// SGDT, SIDT, STR and SMSW tell of the original's tables, which lie in its switcher's pages.
    static var lguest: ProcessorProfile {
        ProcessorProfile(
            kernelRing: 1, descriptorCount: SegmentRules.entries, fixedFlags: 0x202,
            globalTable: Table(base: Host.reservedTop + 0x1000, limit: 255),
            interruptTable: Table(base: Host.reservedTop, limit: 0x7FF), localTable: 0, task: 0x80,
            machineStatus: 0x8005_0033, identification: VirtualCPU.identification)
    }
}

extension PageRules {
    /// What the original refuses in page tables. §4.7.
    /// - Parameter limit: pages that INITIALIZE granted.
    static func lguest(_ abi: GuestABI, limit: UInt32) -> PageRules {
        let known =
            PageEntry.present | PageEntry.writable | PageEntry.user | PageEntry.accessed
            | PageEntry.dirty
        return PageRules(
            limit: limit, refusedInDirectory: PageEntry.flags & ~known,
            refusedInTable: PageEntry.large
                | (abi.refusesWriteThrough ? PageEntry.writeThrough : 0),
            reservedTop: Host.reservedTop, isWide: abi.hasWideTables)
    }
}

extension PortRules {
    /// Whose `in` and `out` the original carries out: it tells a kernel by its address where it knows that, else by
    /// its ring. §4.5.
    static func lguest(_ abi: GuestABI, pageOffset: UInt32) -> PortRules {
        abi.namesPageOffset ? PortRules(ring: 3, codeFrom: pageOffset) : PortRules(ring: 1)
    }
}
