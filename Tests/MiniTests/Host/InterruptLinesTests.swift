import Testing

@testable import Mini

@Suite struct InterruptLinesTests {
    private struct Row {
        let pending: [InterruptLine]
        let blocked: UInt32
        let enabled, asleep: Bool
        let instruction: UInt32
        let decision: InterruptLines.Decision
    }

    @Test("an interrupt is delivered, held back or left pending as the table says")
    func table() {
        let rows = [
            Row(
                pending: [], blocked: 0, enabled: true, asleep: true, instruction: 0,
                decision: .none),
            Row(
                pending: [0], blocked: 0, enabled: true, asleep: false, instruction: 0,
                decision: .deliver(line: 0)),
            // The lowest line that is not masked.
            Row(
                pending: [0, 5, 3], blocked: 1, enabled: true, asleep: false, instruction: 0,
                decision: .deliver(line: 3)),
            Row(
                pending: [31], blocked: 0, enabled: true, asleep: false, instruction: 0,
                decision: .deliver(line: 31)),
            Row(
                pending: [0, 31], blocked: 0x8000_0001, enabled: true, asleep: true,
                instruction: 0, decision: .blocked),
            // Interrupts off.
            Row(
                pending: [1], blocked: 0, enabled: false, asleep: false, instruction: 0,
                decision: .notNow),
            // HALT means: enabled.
            Row(
                pending: [1], blocked: 0, enabled: false, asleep: true, instruction: 0,
                decision: .deliver(line: 1)),
            // In the iret: from its first address up to, not including, its end.
            Row(
                pending: [1], blocked: 0, enabled: true, asleep: false, instruction: 0x100,
                decision: .notNow),
            Row(
                pending: [1], blocked: 0, enabled: true, asleep: true, instruction: 0x10F,
                decision: .notNow),
            Row(
                pending: [1], blocked: 0, enabled: true, asleep: false, instruction: 0x110,
                decision: .deliver(line: 1)),
            Row(
                pending: [1], blocked: 0, enabled: true, asleep: false, instruction: 0xFF,
                decision: .deliver(line: 1)),
        ]
        for row in rows {
            var lines = InterruptLines()
            for line in row.pending { lines.raise(line) }
            let decision = lines.decide(
                .init(
                    blocked: row.blocked, enabled: row.enabled, asleep: row.asleep,
                    instruction: row.instruction, quietCode: (0x100, 0x110)))
            #expect(decision == row.decision, "\(row)")
        }
    }

    @Test("an acknowledged line is pending no more, however often it was raised")
    func acknowledge() {
        var lines = InterruptLines()
        lines.raise(4)
        lines.raise(4)
        #expect(lines.isPending(4))
        lines.acknowledge(4)
        #expect(lines.isQuiet)
    }
}
