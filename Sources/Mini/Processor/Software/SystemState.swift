// What a guest with ring 0 has beside the registers of every guest: control and debug registers, tables in its own
// memory, model-specific registers; and what its translations need beside the TLB. The files behind this one:
//
//     SystemPaging         the walks (paging off, 4 KiB and 4 MiB pages, PAE), and what is forgotten when
//     SystemTables         GDT, LDT, TSS
//     SystemGates          the IDT, double and triple faults, task gates, interrupts, sysenter
//     SystemInstructions   the instructions that ask for ring 0, ports
//     FloatingPointImage   FXSAVE, FXRSTOR
//     Vectors              MMX, SSE, SSE2
//     SystemIdentity       CPUID, model-specific registers, the clock of a KVM guest
//
// Sources: Intel SDM volume 3, chapters 2, 4 to 7; docs/abi/pc.md for what kernels ask for.

/// Between two blocks, things to see to: bits of `State.attention`.
enum Attention {
    /// The loop is to be left as soon as an interrupt may be injected.
    static let window: UInt8 = 1
    /// The instruction before was STI, or loaded ss: interrupts come after the next one.
    static let shadow: UInt8 = 2
}

/// Bits of CR0.
enum Control0 {
    static let protection: UInt32 = 1 << 0
    static let monitor: UInt32 = 1 << 1
    static let emulation: UInt32 = 1 << 2
    static let taskSwitched: UInt32 = 1 << 3
    static let extensionType: UInt32 = 1 << 4
    static let numericError: UInt32 = 1 << 5
    static let writeProtect: UInt32 = 1 << 16
    static let alignmentMask: UInt32 = 1 << 18
    static let notWriteThrough: UInt32 = 1 << 29
    static let cacheDisable: UInt32 = 1 << 30
    static let paging: UInt32 = 1 << 31
    static let known =
        protection | monitor | emulation | taskSwitched | extensionType | numericError
        | writeProtect | alignmentMask | notWriteThrough | cacheDisable | paging
}

/// Bits of CR4 that this processor has.
enum Control4 {
    static let timeStampDisable: UInt32 = 1 << 2
    static let debugging: UInt32 = 1 << 3
    static let largePages: UInt32 = 1 << 4
    static let physicalExtension: UInt32 = 1 << 5
    /// No machine check ever comes, but kernels before 2.6.22 switch them on without a look at CPUID.
    static let machineChecks: UInt32 = 1 << 6
    static let globalPages: UInt32 = 1 << 7
    static let counters: UInt32 = 1 << 8
    static let fastSave: UInt32 = 1 << 9
    /// Exceptions of SSE are vector 19.
    static let vectorFaults: UInt32 = 1 << 10
    static let known =
        timeStampDisable | debugging | largePages | physicalExtension | machineChecks | globalPages
        | counters | fastSave
}

/// What is known of a filled slot of the TLB beside its entry.
enum SlotFact {
    static let noExecute: UInt8 = 1
    static let global: UInt8 = 2
}

/// The registers, and what was noted of the TLB's slots.
@safe struct SystemState {
    typealias Table = ProcessorProfile.Table

    // MARK: Registers

    /// CR2 is `State.faultAddress`, CR3 `State.pageDirectory`.
    var control0 = Control0.protection | Control0.extensionType
    var control4: UInt32 = 0
    /// The four entries that PAE paging begins with, as they were when CR3 was loaded, or how pages are walked changed.
    var directoryPointers = InlineArray<4, UInt64>(repeating: 0)
    /// EFER.NXE.
    var noExecuteEnabled = false
    var globalTable = Table(base: 0, limit: 0)
    var interruptTable = Table(base: 0, limit: 0)
    var localTable = SystemSegment()
    var task = SystemSegment()
    var entryCodeSelector: UInt32 = 0
    var entryStack: UInt32 = 0
    var entryPoint: UInt32 = 0
    var attributeTable: UInt64 = 0x0007_0406_0007_0406
    /// Added to the time stamp: what the guest wrote there.
    var timeStampOffset: UInt64 = 0
    /// Where the clock's page is, with bit 0 if it is on; and what it was told of the wall clock.
    var clockPage: UInt64 = 0
    var wallClock: UInt64 = 0
    var clockVersion: UInt32 = 0

    /// A port string's element that waits for its input: its linear address, all ones for none.
    var inputAddress: UInt32 = 0
    var hasInputAddress = false

    /// The last instruction that was wanted and is not there.
    var missing: MissingInstruction?

    /// MMX, SSE and SSE2 are offered; MXCSR.
    let hasVectors = Core.offersVectors
    var vectorControl: UInt32 = 0x1F80

    // MARK: Notes on translations

    /// `SlotFact`s: the user's slots, then the others'.
    let slots: UnsafeMutablePointer<UInt8>
    /// The generation in which code was last fetched through a slot.
    let fetched: UnsafeMutablePointer<UInt32>
    /// Slots filled with what a load of CR3 forgets; too many to note are all.
    let filled: UnsafeMutablePointer<UInt16>
    var filledCount = 0
    static let filledCapacity = 512
    /// Bit n: of the n-th 2 MiB, something was translated by a large page.
    let large: UnsafeMutablePointer<UInt8>
    static let largeRegions = 2048
    /// Code of the inner rings was fetched through a page that is not global.
    var hasFetchedLocally = false

    init(
        slots: UnsafeMutablePointer<UInt8>, fetched: UnsafeMutablePointer<UInt32>,
        filled: UnsafeMutablePointer<UInt16>, large: UnsafeMutablePointer<UInt8>
    ) {
        unsafe self.slots = unsafe slots
        unsafe self.fetched = unsafe fetched
        unsafe self.filled = unsafe filled
        unsafe self.large = unsafe large
    }

    var isPaging: Bool { control0 & Control0.paging != 0 }
    var isExtended: Bool { control4 & Control4.physicalExtension != 0 }
    /// FWAIT raises #NM.
    var waitIsTrapped: Bool {
        let both = Control0.monitor | Control0.taskSwitched
        return control0 & both == both
    }
}

/// The LDT's or the task's register: selector and hidden parts.
struct SystemSegment {
    var selector: UInt16 = 0
    var base: UInt32 = 0
    var limit: UInt32 = 0
    /// The task's is a 32-bit one.
    var is32 = true

    /// It holds all of a task's registers.
    var isWholeTask: Bool { limit >= (is32 ? 0x67 : 0x2B) }
}

extension Core {
    var isSystem: Bool { @inline(__always) get { unsafe state.system != nil } }

    var hasVectors: Bool { isSystem && system.hasVectors }

    /// Only where `isSystem`.
    var system: SystemState {
        @inline(__always) _read { yield unsafe state.system.unsafelyUnwrapped.pointee }
        @inline(__always) nonmutating _modify {
            yield unsafe &state.system.unsafelyUnwrapped.pointee
        }
    }

    /// To be called at an instruction boundary where `State.attention` is not 0.
    /// - Returns: how many instructions may be run until the next look, whatever they jump to; the rest of the budget is held
    ///   back in the state. nil where the loop is to be left.
    @inline(never) func attend(_ budget: Int) -> Int? {
        let attention = state.attention
        if attention & Attention.shadow != 0 {
            state.attention = attention & ~Attention.shadow
            guard attention & Attention.window != 0 else { return budget }
            state.budget &+= budget &- 1
            return 1
        }
        guard state.otherFlags & Flag.interrupt != 0 else { return budget }
        state.exit = .interruptWindow
        return nil
    }
}
