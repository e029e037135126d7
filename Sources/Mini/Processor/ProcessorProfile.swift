// What a processor's user decides of it: facts that a real one would have in tables and registers out of the
// guest's reach. A software processor is made with a profile; rules that the guest's start settles come later.

/// Facts of a processor on which the guest's kernel has no privileges.
struct ProcessorProfile {
    /// Base and limit as SGDT and SIDT store them.
    struct Table: Equatable {
        var base: UInt32
        var limit: UInt16
    }

    /// The ring of the guest's kernel, 1 or 2: where a new processor is, and the only inner ring that a gate
    /// finds a stack for.
    var kernelRing: UInt32
    /// Number of entries in the GDT. There is no LDT.
    var descriptorCount: UInt32
    /// Bits of EFLAGS that always read as set; of those that a guest can set, none.
    var fixedFlags: UInt32
    var globalTable: Table
    var interruptTable: Table
    /// Selectors as SLDT and STR store them.
    var localTable: UInt16
    var task: UInt16
    /// CR0 as SMSW stores it, TS aside.
    var machineStatus: UInt32
    /// CPUID: leaf to eax, ebx, ecx, edx.
    var identification: (UInt32) -> (UInt32, UInt32, UInt32, UInt32)
}

/// Which code may use IN and OUT, which then exit; for all other code they are protection faults.
struct PortRules: Equatable {
    /// This ring and those further in.
    var ring: UInt32 = 0
    /// Code from this linear address on.
    var codeFrom: UInt32 = 0
}
