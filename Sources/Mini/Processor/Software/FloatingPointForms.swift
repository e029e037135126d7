// Which x87 encodings exist, and which of them need more than the real unit's help.
// Aliases that processors accept without any manual naming them (D9 D8, DC D0, DF C0, ...)
// are executed; so is FISTTP, which only a processor with SSE3 has.
//
// Source: Intel SDM volume 2, appendix A.4 (opcode maps of escape instructions).

/// A form with mod = 3.
enum RegisterForm {
    case undefined
    /// A relic of the 8087 and 80287 that does nothing: FNENI, FNDISI, FNSETPM.
    case nothing
    /// FNSTSW AX
    case storeStatus
    /// FNCLEX
    case clear
    /// FNINIT
    case initialize
    /// Touches the x87 alone.
    case plain
    /// Reads or writes EFLAGS: FCMOVcc, FCOMI and its kin.
    case flags

    @inline(__always)
    init(opcode: UInt8, modrm: UInt8) {
        self =
            switch (opcode, modrm) {
            case (0xD8, _): .plain
            case (0xD9, 0xD1...0xD7): .undefined
            case (0xD9, 0xE2...0xE3), (0xD9, 0xE6...0xE7), (0xD9, 0xEF): .undefined
            case (0xD9, _): .plain
            case (0xDA, 0xC0...0xDF): .flags
            case (0xDA, 0xE9): .plain
            case (0xDA, _): .undefined
            case (0xDB, 0xC0...0xDF), (0xDB, 0xE8...0xF7): .flags
            case (0xDB, 0xE0...0xE1), (0xDB, 0xE4): .nothing
            case (0xDB, 0xE2): .clear
            case (0xDB, 0xE3): .initialize
            case (0xDB, _): .undefined
            case (0xDC, _): .plain
            case (0xDD, 0xC0...0xEF): .plain
            case (0xDD, _): .undefined
            case (0xDE, 0xD8), (0xDE, 0xDA...0xDF): .undefined
            case (0xDE, _): .plain
            case (0xDF, 0xC0...0xDF): .plain
            case (0xDF, 0xE0): .storeStatus
            case (0xDF, 0xE8...0xF7): .flags
            default: .undefined
            }
    }
}

/// A form with a memory operand.
enum MemoryForm {
    case undefined
    /// Reads this many bytes, computes.
    case load(Int)
    /// Stores this many bytes of a result.
    case store(Int)
    case loadControl, storeControl, storeStatus
    case loadEnvironment, storeEnvironment
    case restore, save

    @inline(__always)
    init(opcode: UInt8, modrm: UInt8) {
        self =
            switch (opcode, modrm &>> 3 & 7) {
            case (0xD8, _): .load(4)
            case (0xD9, 0): .load(4)
            case (0xD9, 2...3): .store(4)
            case (0xD9, 4): .loadEnvironment
            case (0xD9, 5): .loadControl
            case (0xD9, 6): .storeEnvironment
            case (0xD9, 7): .storeControl
            case (0xDA, _): .load(4)
            case (0xDB, 0): .load(4)
            case (0xDB, 1...3): .store(4)
            case (0xDB, 5): .load(10)
            case (0xDB, 7): .store(10)
            case (0xDC, _): .load(8)
            case (0xDD, 0): .load(8)
            case (0xDD, 1...3): .store(8)
            case (0xDD, 4): .restore
            case (0xDD, 6): .save
            case (0xDD, 7): .storeStatus
            case (0xDE, _): .load(2)
            case (0xDF, 0): .load(2)
            case (0xDF, 1...3): .store(2)
            case (0xDF, 4): .load(10)
            case (0xDF, 5): .load(8)
            case (0xDF, 6): .store(10)
            case (0xDF, 7): .store(8)
            default: .undefined
            }
    }

    /// FISTTP.
    static func isTruncating(opcode: UInt8, modrm: UInt8) -> Bool {
        opcode >= 0xDB && opcode & 1 != 0 && modrm & 0xF8 & ~0xC0 == 8
    }
}
