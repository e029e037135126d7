// The contract of a processor that a guest runs on: registers in and out, run until something happens or a
// moment has come, answer what the guest waits for, inject what the guest is to be interrupted by. Who uses one
// (a host of deprivileged guests; a PC) has guest memory (Memory/) and what lies behind ports and time; it decodes no instruction
// and counts none. It crosses the contract once an exit, so that nothing inside a processor pays for it.
//
//     run ──┬─ trap                        an exception or INT n whose gate is the user's
//           ├─ portInput, portOutput       the guest waits for `answer`; memoryRead, memoryWrite likewise
//           ├─ halt, shutdown              the guest waits for an interrupt; it triple-faulted
//           ├─ interruptWindow             asked for by `awaitsInterruptWindow`: an interrupt can be injected now
//           ├─ deadline, stretchEnded      the moment has come; the stretch was run
//           └─ signal, refused…, failed
//
// The software i386 (Software/) keeps it with these rules: `run` looks at the clock some times a millisecond, by
// its own count of instructions, so that `deadline` is late by no more. Memory outside guest memory never exits: of
// the deprivileged one page rules refuse it; of the one with ring 0 (SystemProcessor) it is read as all ones, and what
// is written there is gone. The latter never exits with `trap`, nor with what is refused; the former has neither halt
// nor shutdown nor a closed window. Repeated strings of ports exit once an element.
//
// A vCPU of /dev/kvm fits as follows. Registers: KVM_GET_REGS once after an exit that asks for one, KVM_SET_REGS
// before KVM_RUN if one was set. `run`: a timer of the thread's for the deadline, whose signal sets
// immediate_exit; EINTR is `deadline` if that has passed, else `signal`. Exits: IO, MMIO, HLT (with if_flag),
// SHUTDOWN and IRQ_WINDOW_OPEN are cases here; INTERNAL_ERROR and FAIL_ENTRY are `failed`. `answer` puts its value
// where kvm_run says; the next KVM_RUN takes it, so the register must not be read before. `inject` is KVM_INTERRUPT,
// `awaitsInterruptWindow` is request_interrupt_window. It has no trap of the user's: a guest that needs those needs a
// `DeprivilegedProcessor`.
//
// The 64-bit software processor (Long/) fits by width: values and addresses have 64 bits here; its registers are those
// of `ProcessorRegister`, by their 64-bit names; r8 to r15 are not asked for from outside. What a guest starts with (control
// registers, segments with their hidden parts, tables) is set when the concrete processor is made.

enum ProcessorRegister: UInt8 {
    // In the order of their numbers in instructions.
    case eax, ecx, edx, ebx, esp, ebp, esi, edi
    case eip, eflags
}

/// Segment registers, by their numbers in instructions.
enum ProcessorSegment: UInt8 { case es, cs, ss, ds, fs, gs }

/// An IN or OUT.
struct PortAccess: Equatable {
    let port: UInt16
    /// Bytes: 1, 2 or 4.
    let size: UInt8
}

/// An access outside guest memory.
struct MemoryAccess: Equatable {
    /// Guest-physical.
    let address: UInt64
    /// Bytes: 1 to 8.
    let size: UInt8
}

/// Vectors of exceptions. Source: Intel SDM volume 3, chapter 6.15.
enum ExceptionVector {
    static let divideError: UInt8 = 0
    static let debug: UInt8 = 1
    static let overflow: UInt8 = 4
    static let bounds: UInt8 = 5
    static let invalidOpcode: UInt8 = 6
    static let noDevice: UInt8 = 7
    static let doubleFault: UInt8 = 8
    static let coprocessorOverrun: UInt8 = 9
    static let invalidTask: UInt8 = 10
    static let notPresent: UInt8 = 11
    static let stack: UInt8 = 12
    static let protection: UInt8 = 13
    static let pageFault: UInt8 = 14
    static let floatingPoint: UInt8 = 16
    static let alignment: UInt8 = 17
    static let vectors: UInt8 = 19

    /// Whether one pushes an error code.
    static func hasErrorCode(_ vector: UInt8) -> Bool {
        vector == doubleFault || (vector >= invalidTask && vector <= pageFault)
            || vector == alignment
    }
}

/// Why `run` returned. The instruction pointer is at an instruction boundary.
enum ProcessorExit: Equatable {
    /// A vector whose gate is the user's. After a fault the instruction pointer is at the instruction, after
    /// INT n, INT3, INTO and the single-step trap after it. The error code is 0 where the vector has none; the
    /// address is that of the access for vector 14, else 0.
    case trap(vector: UInt8, errorCode: UInt32, address: UInt64)
    /// The instruction pointer is after the instruction, in these four. Of an input the register is
    /// as it was until `answer`.
    case portInput(PortAccess)
    case portOutput(PortAccess, value: UInt32)
    case memoryRead(MemoryAccess)
    case memoryWrite(MemoryAccess, value: UInt64)
    /// HLT; with interrupts off nothing but the user ends it.
    case halt(interruptsEnabled: Bool)
    /// A triple fault.
    case shutdown
    /// `awaitsInterruptWindow` is set, and an interrupt may be injected.
    case interruptWindow
    /// The deadline has passed.
    case deadline
    /// The guest ran for the stretch, or about that.
    case stretchEnded
    /// A signal to this thread ended the run.
    case signal
    /// The walk met a present entry that the user's page rules refuse.
    case refusedDirectoryEntry, refusedMiddleEntry, refusedTableEntry
    /// The processor itself cannot go on, with a code of its own.
    case failed(UInt32)
}

extension ProcessorExit? {
    /// An access to a port: what it wants is done before the trap of its step.
    @inline(never) var isOfPort: Bool {
        switch self {
        case .portInput, .portOutput: true
        default: false
        }
    }
}

/// A processor. Not for several threads at once.
protocol GuestProcessor: AnyObject {
    func register(_ register: ProcessorRegister) -> UInt64
    func setRegister(_ register: ProcessorRegister, _ value: UInt64)

    /// Current privilege level, 0…3.
    var privilege: UInt8 { get }

    /// Whether code outside ring 0 ran, or is to, since this was asked before.
    /// - Returns: nil for a processor that does not know.
    func ranProgram() -> Bool?

    /// Runs the guest.
    /// - Parameters:
    ///   - deadline: a moment on the monotonic clock; nil for none. One that has passed runs nothing.
    ///   - stretch: come back after about so long at the latest; nil for no such limit. For a user whose guest
    ///     says in memory that it takes interrupts, with no exit: reckoned, not measured, so it costs nothing.
    func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit

    /// What an input or a read gave: its low bytes go where the instruction of the last exit wants them.
    func answer(_ value: UInt64)

    /// Delivers an exception or interrupt through the vector's gate, before the next instruction.
    /// - Parameter errorCode: for the vectors that have one. On a processor with ring 0 this is an interrupt from
    ///   outside, whatever the vector: it has none.
    func inject(_ vector: UInt8, errorCode: UInt32)

    /// An interrupt can be injected now: the guest takes interrupts, and no instruction (STI, MOV SS) holds them
    /// off for the one after it.
    var canInject: Bool { get }

    /// While set, `run` ends with `interruptWindow` as soon as an interrupt may be injected.
    var awaitsInterruptWindow: Bool { get set }

    /// Time passed in which the guest did not run, and this is the time now: a processor that reckons with
    /// its speed begins anew.
    func resume(at now: Nanoseconds)

    /// The guest was kept from running for longer than its kernel's watchdogs may understand: KVM's clock tells them.
    func tellStop()

    /// The guest has done next to nothing for a while: gives memory back to the kernel that can be filled anew.
    /// - Throws: ENOMEM; the processor is not to be used any more then.
    func rest() throws(Errno)

    /// How long it should run without a look at the devices: each stop costs something.
    var longestStretch: Nanoseconds { get }

    /// The last instruction that the guest wanted and this processor does not have, if that is known.
    var missing: MissingInstruction? { get }

    /// What RDTSC reads.
    var timeStamp: () -> UInt64 { get set }
}

extension GuestProcessor {
    var missing: MissingInstruction? { nil }
    func ranProgram() -> Bool? { nil }
    func tellStop() {}
    func rest() throws(Errno) {}
    var longestStretch: Nanoseconds { .milliseconds(2) }

    /// A register of a 32-bit guest.
    subscript(_ register: ProcessorRegister) -> UInt32 {
        get { UInt32(truncatingIfNeeded: self.register(register)) }
        set { setRegister(register, UInt64(newValue)) }
    }
    var eip: UInt32 {
        get { self[.eip] }
        set { self[.eip] = newValue }
    }
    var eflags: UInt32 {
        get { self[.eflags] }
        set { self[.eflags] = newValue }
    }
}

/// A vector's gate as the hardware has it. `privilege`: the least that may use INT n.
enum ProcessorGate: Equatable {
    /// The user's: `run` returns `.trap`.
    case exit(privilege: UInt8)
    /// A 32-bit gate that is taken without the user.
    case direct(selector: UInt16, offset: UInt32, privilege: UInt8, isTrap: Bool)
}

/// A processor on which even the guest's kernel has no privileges: tables, gates and the rules of
/// paging and ports are its user's, as in the hosts that ran guests without hardware for it.
protocol DeprivilegedProcessor: GuestProcessor {
    func selector(_ segment: ProcessorSegment) -> UInt16

    /// Sets a segment register from the GDT as a host's own return to the guest does: with
    /// no check against the present privilege. Of cs, the privilege becomes the selector's.
    /// - Returns: false if a processor would refuse the descriptor there.
    func setSegment(_ segment: ProcessorSegment, _ selector: UInt16) -> Bool

    /// Loads the hidden parts again, in the order gs, fs, ds, es, then cs and ss, and nulls
    /// what the ring may not use, as a host's return to the guest does.
    /// - Returns: false if one cannot be loaded.
    func reloadSegments() -> Bool

    /// An entry of the GDT, with its accessed bit.
    func descriptor(_ index: Int) -> UInt64
    /// Replaces an entry of the GDT. Segment registers keep what they loaded.
    func setDescriptor(_ index: Int, _ value: UInt64)

    /// All vectors start as `.exit(privilege: 0)`.
    func setGate(_ vector: UInt8, _ gate: ProcessorGate)
    /// Stack of the kernel's ring, for gates out of less privileged ones.
    func setRingStack(selector: UInt16, pointer: UInt32)

    var pageRules: PageRules { get set }
    var portRules: PortRules { get set }
    /// CR3. Setting it empties the TLB.
    var pageDirectory: UInt32 { get set }
    func flushTLB()
    /// Forgets the translation of the page of a linear address.
    func flushTLB(of linear: UInt32)
    /// CR0.TS: x87 instructions raise #NM.
    var taskSwitched: Bool { get set }

    /// Guest-physical address of a linear one, by a walk that sets accessed and dirty bits.
    /// - Returns: nil where an access of this kind would fault.
    func translate(_ linear: UInt32, write: Bool, user: Bool) -> UInt32?
    /// Stores a word with supervisor rights.
    /// - Returns: false, with nothing stored, if not all of it may be written.
    func write32(linear: UInt32, _ value: UInt32) -> Bool
}
