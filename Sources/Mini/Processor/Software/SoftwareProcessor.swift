// The i386 processor in software: protected mode at rings 1 to 3, paging always on, as
// much of a Pentium Pro without MMX as a Linux kernel and its programs use. It keeps the contract of
// GuestProcessor.swift, by the rules of a profile.
//
// This file is what its user sees. To read on, in this order:
//
//     State, Flags            registers and lazy flags
//     Segments, Paging        from a segment and an offset to a linear address to memory
//     Operation, Decoder…     from bytes to records
//     Blocks, BlockCache      the cache of decoded blocks
//     Execute, …Helpers       the loop over records
//     RecordProcessor, TimeSlice   when the clock is read
//     SlowPath…, Stack, Strings   what the loop leaves to others
//     Gates                   exceptions, INT n, far transfers
//     FloatingPoint…          x87
//
// Source: Intel SDM volumes 1-3.

/// An i386 processor on which even the guest's kernel has no privileges. Not for several threads at once.
@safe final class SoftwareProcessor: Interpreter, DeprivilegedProcessor {
    /// A processor on a memory, with nothing in its registers; the translation of linear
    /// addresses begins at `pageDirectory`.
    /// - Parameter arenaCount: bytes for decoded blocks; a small arena is full sooner.
    /// - Throws: ENOMEM where there is no room for the tables (under 2.5 MiB).
    init(
        memory: GuestMemory, profile: ProcessorProfile, arenaCount: UInt32 = Core.usualArenaCount
    ) throws(Errno) {
        try super.init(memory: memory, profile: profile, arenaCount: arenaCount, isSystem: false)
    }

    // MARK: Segments

    func selector(_ segment: Segment) -> UInt16 {
        unsafe core.state.segments[Int(segment.rawValue)].selector
    }

    func setSegment(_ segment: Segment, _ selector: UInt16) -> Bool {
        let number = Int(segment.rawValue)
        let ring = UInt32(selector & 3)
        do throws(Fault) {
            switch segment {
            case .cs:
                core.installCode(
                    selector, try core.codeDescriptor(selector, privilege: ring),
                    privilege: ring)
            case .ss:
                core.install(
                    number, selector, try core.stackDescriptor(selector, privilege: ring))
            default:
                if selector & 0xFFFC == 0 {
                    core.installNull(number, selector)
                } else {
                    core.install(
                        number, selector, try core.dataDescriptor(selector, privilege: 0))
                }
            }
            return true
        } catch {
            return false
        }
    }

    func reloadSegments() -> Bool {
        for segment in [.gs, .fs, .ds, .es, .cs, .ss] as [Segment] {
            guard setSegment(segment, selector(segment)) else { return false }
        }
        core.nullGuardedSegments()
        return true
    }

    func descriptor(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < core.state.profile.descriptorCount)
        return unsafe core.state.descriptors[index]
    }

    func setDescriptor(_ index: Int, _ value: UInt64) {
        precondition(index >= 0 && index < core.state.profile.descriptorCount)
        unsafe core.state.descriptors[index] = value
    }

    // MARK: Gates

    func setGate(_ vector: UInt8, _ gate: ProcessorGate) {
        let entry =
            switch gate {
            case .exit(let privilege): GateEntry(privilege: privilege)
            case .direct(let selector, let offset, let privilege, let isTrap):
                GateEntry(
                    offset: offset, selector: selector, privilege: privilege, isDirect: true,
                    isTrap: isTrap)
            }
        unsafe core.state.gates[Int(vector)] = entry
    }

    func setRingStack(selector: UInt16, pointer: UInt32) {
        core.state.ringStackSelector = selector
        core.state.ringStackPointer = pointer
    }

    // MARK: Paging

    /// What the walk refuses. At first, and in any case, pages beyond the memory's end.
    var pageRules: PageRules {
        get { core.state.pageRules }
        set {
            core.state.pageRules = newValue
            core.state.pageRules.limit = min(newValue.limit, memory.count / Page.size)
            core.flushTLB()
        }
    }

    var portRules: PortRules {
        get { core.state.portRules }
        set { core.state.portRules = newValue }
    }

    var pageDirectory: UInt32 {
        get { core.state.pageDirectory }
        set {
            core.state.pageDirectory = newValue
            core.flushTLB()
        }
    }

    func flushTLB() { core.flushTLB() }

    func flushTLB(of linear: UInt32) { core.flushTLB(of: linear) }

    func translate(_ linear: UInt32, write: Bool, user: Bool) -> UInt32? {
        do throws(Fault) {
            return try core.walk(linear, write: write, user: user).0
        } catch {
            return nil
        }
    }

    func write32(linear: UInt32, _ value: UInt32) -> Bool {
        guard let first = translate(linear, write: true, user: false),
            let last = translate(linear &+ 3, write: true, user: false)
        else { return false }
        let inFirst = min(4, Page.rest(first))
        for index in 0..<UInt32(4) {
            // The last byte may be one of the memory's first three.
            let address = index < inFirst ? first + index : last - (3 - index)
            core.noteWrite(address, 1)
            unsafe memory.base.storeBytes(
                of: UInt8(truncatingIfNeeded: value >> (8 * index)), toByteOffset: Int(address),
                as: UInt8.self)
        }
        return true
    }

    var taskSwitched: Bool {
        get { core.state.taskSwitched }
        set { core.state.taskSwitched = newValue }
    }
}
