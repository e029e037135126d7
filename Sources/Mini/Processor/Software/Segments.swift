// Segmentation: the GDT that the processor's user keeps for the guest (where the guest has its own tables, see
// SystemTables.swift), the hidden parts of the segment registers, and the checks of loads and accesses. An access through
// an "open" segment (limit 4 GiB - 1, readable and writable) needs no check and gets none.
//
// Sources: Intel SDM volume 3, chapters 3.4, 3.5 (descriptors), 5.2-5.7 (limits, types,
// privileges), volume 2 (MOV, POP, LDS for the order of the checks).

/// The visible and hidden parts of a segment register, without its base, which lies with the
/// general registers.
struct SegmentRegister {
    static let extra = 0
    static let code = 1
    static let stack = 2
    static let data = 3

    var selector: UInt16 = 0
    /// Bits 8...23 of the descriptor's upper word, limit bits out; 0 for a null selector.
    var rights: UInt16 = 0
    /// Last offset (expand-up) or last offset below the segment (expand-down).
    var limit: UInt32 = 0

    var is32: Bool { rights & 0x4000 != 0 }
    var isNull: Bool { rights == 0 }
    var isCode: Bool { rights & 8 != 0 }
    var isExpandDown: Bool { rights & 0xC == 4 }
    /// Data that may be written.
    var isWritable: Bool { rights & 0xA == 2 }
    /// Data, or code that may be read.
    var isReadable: Bool { !isNull && rights & 0xA != 8 }
    /// The descriptor's privilege level (DPL).
    var privilege: UInt32 { UInt32(rights &>> 5 & 3) }
    /// Data or code that is not conforming: its privilege counts.
    var isGuarded: Bool { rights & 0xC != 0xC }
}

/// A GDT entry.
struct SegmentDescriptor {
    var value: UInt64

    init(_ value: UInt64) { self.value = value }

    static let accessedBit: UInt64 = 1 << 40

    var base: UInt32 {
        UInt32(truncatingIfNeeded: value &>> 16) & 0xFF_FFFF
            | UInt32(truncatingIfNeeded: value &>> 32) & 0xFF00_0000
    }
    var limit: UInt32 {
        let raw =
            UInt32(truncatingIfNeeded: value) & 0xFFFF
            | UInt32(truncatingIfNeeded: value &>> 32) & 0xF_0000
        return value &>> 55 & 1 == 0 ? raw : raw &<< 12 | 0xFFF
    }
    var rights: UInt16 { UInt16(truncatingIfNeeded: value &>> 40) & 0xF0FF }
    var isPresent: Bool { value &>> 47 & 1 != 0 }
    /// Code or data rather than a gate, TSS or LDT.
    var isSegment: Bool { value &>> 44 & 1 != 0 }
    var isCode: Bool { isSegment && value &>> 43 & 1 != 0 }
    var isConforming: Bool { isCode && value &>> 42 & 1 != 0 }
    var isWritableData: Bool { isSegment && value &>> 41 & 5 == 1 }
    /// Data, or code that may be read.
    var isReadable: Bool { isSegment && value &>> 41 & 5 != 4 }
    var privilege: UInt32 { UInt32(truncatingIfNeeded: value &>> 45 & 3) }
    var type: UInt8 { UInt8(truncatingIfNeeded: value &>> 40 & 0xF) }
    /// Offset, selector and parameter count of a gate.
    var gateOffset: UInt32 {
        UInt32(truncatingIfNeeded: value) & 0xFFFF
            | UInt32(truncatingIfNeeded: value &>> 32) & 0xFFFF_0000
    }
    var gateSelector: UInt16 { UInt16(truncatingIfNeeded: value &>> 16) }
    var gateParameters: Int { Int(value &>> 32 & 31) }
}

extension Core {
    // MARK: Access

    /// Linear address of `count` bytes at an offset in a segment, after all checks.
    @inline(__always) func linear(
        _ segment: Int, _ offset: UInt32, _ count: UInt32, write: Bool
    ) throws(Fault) -> UInt32 {
        let isOpen = state.openSegments &>> UInt32(segment) & 1 != 0
        if !isOpen || (write && segment == SegmentRegister.code) {
            try checkAccess(segment, offset, count, write: write)
        }
        return base(segment) &+ offset
    }

    /// Null, type and limit: #GP(0), or #SS(0) for the stack segment.
    func checkAccess(_ segment: Int, _ offset: UInt32, _ count: UInt32, write: Bool)
        throws(Fault)
    {
        try Self.checkAccess(
            unsafe state.segments[segment], offset, count, write: write,
            segment == SegmentRegister.stack ? .stack(0) : .protection(0))
    }

    /// The same for the contents of a segment register, with the fault to raise.
    static func checkAccess(
        _ register: SegmentRegister, _ offset: UInt32, _ count: UInt32, write: Bool,
        _ fault: Fault
    ) throws(Fault) {
        guard write ? register.isWritable : register.isReadable else { throw fault }
        let last = offset &+ (count &- 1)
        if register.isExpandDown {
            let top: UInt32 = register.is32 ? 0xFFFF_FFFF : 0xFFFF
            guard offset > register.limit, last >= offset, last <= top else { throw fault }
        } else if register.limit != 0xFFFF_FFFF {
            // Where the limit is all there is, an operand goes round the end of memory.
            guard last >= offset, last <= register.limit else { throw fault }
        }
    }

    // MARK: Loading

    /// The descriptor that a selector names: #GP(selector) if there is none.
    func descriptor(_ selector: UInt16) throws(Fault) -> SegmentDescriptor {
        guard let descriptor = try tableEntry(selector) else { throw .protection(selector) }
        return descriptor
    }

    /// The same, or nil.
    func tableEntry(_ selector: UInt16) throws(Fault) -> SegmentDescriptor? {
        if isSystem { return try systemTableEntry(selector) }
        guard selector & 4 == 0, UInt32(selector &>> 3) < state.profile.descriptorCount else {
            return nil
        }
        return unsafe SegmentDescriptor(state.descriptors[Int(selector &>> 3)])
    }

    /// Loads es, ss, ds, fs or gs as an instruction of the present privilege does.
    func loadSegment(_ segment: Int, _ selector: UInt16) throws(Fault) {
        if segment == SegmentRegister.stack {
            let stack = try stackDescriptor(selector, privilege: state.privilege)
            try markAccessed(selector, stack)
            return install(segment, selector, stack)
        }
        if selector & 0xFFFC == 0 { return installNull(segment, selector) }
        let data = try dataDescriptor(selector, privilege: state.privilege)
        try markAccessed(selector, data)
        install(segment, selector, data)
    }

    /// A descriptor that may be loaded into es, ds, fs, gs.
    func dataDescriptor(_ selector: UInt16, privilege: UInt32) throws(Fault) -> SegmentDescriptor {
        let descriptor = try descriptor(selector)
        guard descriptor.isReadable,
            descriptor.isConforming
                || max(UInt32(selector & 3), privilege) <= descriptor.privilege
        else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        return descriptor
    }

    /// A descriptor that may be loaded into ss at a privilege.
    func stackDescriptor(_ selector: UInt16, privilege: UInt32) throws(Fault) -> SegmentDescriptor {
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        let descriptor = try descriptor(selector)
        guard UInt32(selector & 3) == privilege, descriptor.isWritableData,
            descriptor.privilege == privilege
        else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .stack(selector) }
        return descriptor
    }

    /// A descriptor that may be loaded into cs to run at a privilege, by a return or (with
    /// `privilege` the present one and the selector's RPL ignored) a jump.
    func codeDescriptor(_ selector: UInt16, privilege: UInt32) throws(Fault) -> SegmentDescriptor {
        guard selector & 0xFFFC != 0 else { throw .protection(0) }
        let descriptor = try descriptor(selector)
        guard descriptor.isCode,
            descriptor.isConforming
                ? descriptor.privilege <= privilege : descriptor.privilege == privilege
        else { throw .protection(selector) }
        guard descriptor.isPresent else { throw .notPresent(selector) }
        return descriptor
    }

    /// Fills a segment register from a checked descriptor. Where the table is ours it is marked as accessed; where it is
    /// the guest's, that was `markAccessed`.
    func install(_ segment: Int, _ selector: UInt16, _ descriptor: SegmentDescriptor) {
        if !isSystem {
            unsafe state.descriptors[Int(selector &>> 3)] |= SegmentDescriptor.accessedBit
        }
        installHidden(segment, selector, descriptor)
    }

    /// The same for a descriptor that is in no table.
    func installHidden(_ segment: Int, _ selector: UInt16, _ descriptor: SegmentDescriptor) {
        unsafe state.segments[segment] = SegmentRegister(
            selector: selector, rights: descriptor.rights | 1, limit: descriptor.limit)
        setBase(segment, descriptor.base)
        let isOpen =
            descriptor.limit == 0xFFFF_FFFF
            && (segment == SegmentRegister.code
                ? descriptor.isReadable : descriptor.isWritableData)
            && !(unsafe state.segments[segment].isExpandDown)
        let bit: UInt32 = 1 &<< UInt32(segment)
        state.openSegments = isOpen ? state.openSegments | bit : state.openSegments & ~bit
        if segment < 4 { updateMode() }
    }

    func installNull(_ segment: Int, _ selector: UInt16) {
        unsafe state.segments[segment] = SegmentRegister(selector: selector)
        setBase(segment, 0)
        state.openSegments &= ~(1 &<< UInt32(segment))
        if segment < 4 { updateMode() }
    }

    /// Loads cs; the privilege becomes the selector's.
    func installCode(_ selector: UInt16, _ descriptor: SegmentDescriptor, privilege: UInt32) {
        state.privilege = privilege
        state.outerRings |= privilege
        install(
            SegmentRegister.code, selector & 0xFFFC | UInt16(truncatingIfNeeded: privilege),
            descriptor)
    }

    private func setBase(_ segment: Int, _ base: UInt32) {
        // Links and the jump cache know blocks by eip.
        if segment == SegmentRegister.code && state.csBase != base { nextGeneration() }
        set(Slot.segmentBases + UInt8(truncatingIfNeeded: segment * 4), base)
    }

    /// After a return to a less privileged ring: data segments that it may not use are nulled.
    func nullGuardedSegments() {
        for segment in 0..<6
        where segment != SegmentRegister.code && segment != SegmentRegister.stack {
            let register = unsafe state.segments[segment]
            if !register.isNull && register.isGuarded && register.privilege < state.privilege {
                installNull(segment, 0)
            }
        }
    }
}
