// The guest's interrupt descriptor table as the host keeps it: only a handler's address,
// privilege and type survive; the selector is always the guest kernel's code segment. Trap
// gates for most CPU exceptions and for system calls are then taken by the processor without
// the host. Source: docs/abi/lguest.md §4.3.

/// Gates that the guest installed.
struct InterruptTable {
    /// One handler of the guest's.
    struct Gate: Equatable {
        let handler: UInt32
        /// Least privileged ring that may raise it by `int n`.
        let privilege: UInt8
        /// An interrupt gate (type 0xE) turns interrupts off on entry; a trap gate does not.
        let masksInterrupts: Bool
    }

    /// What a LOAD_IDT_ENTRY call comes to.
    enum Change: Equatable {
        case ignored
        case set(Gate?)
        case refused(DeathReason)
    }

    static let hypercallVector: UInt32 = 0x1F
    static let deviceNotAvailable = UInt32(ExceptionVector.noDevice)
    static let generalProtection = UInt32(ExceptionVector.protection)
    static let pageFault = UInt32(ExceptionVector.pageFault)
    static let systemCallVector = GuestABI.systemCallVector
    /// Selector of every handler: GDT entry 12 at ring 1.
    static let codeSelector: UInt16 = 0x61

    private var gates: [Gate?]
    private let isSparse: Bool

    init(_ abi: GuestABI) {
        isSparse = abi.hasFewGates
        gates = [Gate?](repeating: nil, count: 256)
    }

    subscript(vector: UInt32) -> Gate? { vector < 256 ? gates[Int(vector)] : nil }

    /// LOAD_IDT_ENTRY: a descriptor in its two words.
    mutating func load(_ vector: UInt32, low: UInt32, high: UInt32) -> Change {
        if vector == 2 || vector == 8 || vector == 15 || vector == Self.hypercallVector {
            return .ignored
        }
        guard vector < 256 else { return isSparse ? .ignored : .refused(.badVector(vector)) }
        if isSparse && vector >= 64 && vector != Self.systemCallVector { return .ignored }
        guard high & 0x8000 != 0 else {
            gates[Int(vector)] = nil
            return .set(nil)
        }
        let type = UInt8(high >> 8 & 0xF)
        guard type == 0xE || type == 0xF else { return .refused(.badGateType(type)) }
        let gate = Gate(
            handler: high & 0xFFFF_0000 | low & 0xFFFF, privilege: UInt8(high >> 13 & 3),
            masksInterrupts: type == 0xE)
        gates[Int(vector)] = gate
        return .set(gate)
    }

    /// True if the processor may take this gate without the host. The host must see page
    /// faults, protection faults (port I/O), the FPU trap and hypercalls; and only it can
    /// turn interrupts off.
    static func isDirect(_ vector: UInt32, _ gate: Gate) -> Bool {
        switch vector {
        case deviceNotAvailable, generalProtection, pageFault, hypercallVector: false
        case 0..<32, systemCallVector: !gate.masksInterrupts
        default: false
        }
    }

    /// True if the CPU pushes an error code for this exception.
    static func hasErrorCode(_ vector: UInt32) -> Bool {
        UInt8(exactly: vector).map { ExceptionVector.hasErrorCode($0) } ?? false
    }
}
