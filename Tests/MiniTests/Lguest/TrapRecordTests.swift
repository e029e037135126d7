import Testing

@testable import Mini

/// What is done of an instruction, in words.
private func text(_ instruction: TrapRecord.Instruction?) -> String? { instruction.map { "\($0)" } }

@Suite struct TrapRecordTests {
    /// A record's first bytes.
    private func record(_ vector: UInt8, _ code: [UInt8]) -> TrapRecord {
        var bytes = UInt64(vector)
        for (index, byte) in code.prefix(7).enumerated() {
            bytes |= UInt64(byte) << UInt64(8 * (index + 1))
        }
        return TrapRecord(bytes)
    }

    @Test("access to a port is known in all its forms")
    func ports() {
        for isShort in [false, true] {
            for opcode in [0xE4, 0xE5, 0xE6, 0xE7, 0xEC, 0xED, 0xEE, 0xEF] as [UInt8] {
                let hasNumber = opcode < 0xEC
                let code = (isShort ? [0x66] : []) + [opcode, 0x42]
                let expected = TrapRecord.Instruction(
                    kind: .port(
                        number: hasNumber ? 0x42 : nil,
                        size: opcode & 1 == 0 ? 1 : isShort ? 2 : 4, isOutput: opcode & 2 == 2),
                    length: (isShort ? 1 : 0) + (hasNumber ? 2 : 1))
                #expect(text(record(13, code).instruction) == text(expected))
                for vector in [0, 6, 12, 14, 255] as [UInt8] {
                    #expect(text(record(vector, code).instruction) == nil)
                    #expect(record(vector, code).vector == vector)
                }
            }
        }
    }

    @Test("of all other bytes CLI alone is known")
    func others() {
        let ports: Set<UInt8> = [0xE4, 0xE5, 0xE6, 0xE7, 0xEC, 0xED, 0xEE, 0xEF]
        for opcode in UInt8.min...UInt8.max where !ports.contains(opcode) {
            for code in [[opcode], [0x66, opcode], [0x66, opcode, 0xEC]] {
                // The prefix alone is followed by what the last one has.
                if opcode == 0x66 && code.count == 3 { continue }
                let instruction = record(13, code).instruction
                #expect((instruction != nil) == (opcode == 0xFA))
                if opcode == 0xFA {
                    #expect(text(instruction)?.contains("disableInterrupts") == true)
                    #expect(instruction?.length == (code[0] == 0x66 ? 2 : 1))
                }
            }
        }
    }
}
