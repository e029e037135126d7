// What a device of 4.0 and later says of a trap that it leaves to the launcher: its vector, and the first bytes of the
// instruction, as far as they could be read. Of these only access to ports, and CLI, are done here.
// Source: docs/abi/lguest.md §1.6, §5.6; Intel's manual, volume 2, IN and OUT.

struct TrapRecord {
    let vector: UInt8
    /// nil for a trap that is the guest's to handle, or an instruction that is none of those that are done here.
    let instruction: Instruction?

    struct Instruction {
        enum Kind {
            case disableInterrupts
            /// The number is in the instruction, or in dx; one, two or four bytes.
            case port(number: UInt8?, size: UInt8, isOutput: Bool)
        }
        let kind: Kind
        /// In bytes.
        let length: UInt32
    }

    /// - Parameter bytes: the record's first eight, the first one lowest.
    init(_ bytes: UInt64) {
        vector = UInt8(truncatingIfNeeded: bytes)
        instruction = vector == ExceptionVector.protection ? Self.decode(bytes >> 8) : nil
    }

    private static func decode(_ bytes: UInt64) -> Instruction? {
        let isShort = bytes & 0xFF == 0x66
        let code = isShort ? bytes >> 8 : bytes
        let opcode = UInt8(truncatingIfNeeded: code)
        let length: UInt32 = isShort ? 2 : 1
        switch opcode {
        case 0xFA: return Instruction(kind: .disableInterrupts, length: length)
        case 0xE4...0xE7, 0xEC...0xEF:
            let hasNumber = opcode < 0xEC
            return Instruction(
                kind: .port(
                    number: hasNumber ? UInt8(truncatingIfNeeded: code >> 8) : nil,
                    size: opcode & 1 == 0 ? 1 : isShort ? 2 : 4, isOutput: opcode & 2 != 0),
                length: length + (hasNumber ? 1 : 0))
        default: return nil
        }
    }
}
