// The state in which a kernel is entered that is started as a PC's: the registers and tables of the boot protocols.
// Source: docs/abi/pc.md §2.

/// How a kernel is entered.
struct ProcessorStart: Equatable {
    enum Mode: Equatable {
        /// Flat 32-bit segments, paging off.
        case protected32
        /// The same, of a kernel that goes on to long mode by itself.
        case protectedToLong
        /// 64-bit mode, paging by the tables at this guest-physical address.
        case long64(pageTable: UInt64)

        var isLong: Bool { if case .long64 = self { true } else { false } }
    }

    var mode: Mode
    /// Guest-physical, like all addresses here.
    var entry: UInt64
    var stack: UInt64
    /// In esi or rsi: where the boot parameters are.
    var parameters: UInt64
    /// In ebx: what a PVH entry finds there.
    var startInfo: UInt64 = 0
    /// A GDT in guest memory; its selectors are those below.
    var globalTable: UInt64
    /// Its last byte.
    var globalTableLimit: UInt16

    static let codeSelector: UInt16 = 0x10
    static let dataSelector: UInt16 = 0x18
    static let taskSelector: UInt16 = 0x20
}
