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

@Suite struct InterruptTableTests {
    private let era1 = GuestABI(era: .era1)
    private let late = GuestABI(era: .era1c)

    @Test("a gate keeps address, privilege and type, and loses its selector")
    func gate() {
        var table = InterruptTable(era1)
        let expected = InterruptTable.Gate(
            handler: 0xC010_1234, privilege: 3, masksInterrupts: false)
        #expect(table.load(3, low: 0xFFFF_1234, high: 0xC010_EF00) == .set(expected))
        #expect(table[3] == expected)
        #expect(
            table.load(4, low: 0, high: 0x8E00)
                == .set(.init(handler: 0, privilege: 0, masksInterrupts: true)))
    }

    @Test("a gate that is not present takes the old one away")
    func notPresent() {
        var table = InterruptTable(era1)
        _ = table.load(3, low: 0, high: 0x8F00)
        #expect(table.load(3, low: 0, high: 0x0F00) == .set(nil))
        #expect(table[3] == nil)
    }

    @Test("vectors 2, 8, 15 and 31 are ignored, whatever is loaded", arguments: [2, 8, 15, 31])
    func ignored(_ vector: UInt32) {
        var table = InterruptTable(era1)
        #expect(table.load(vector, low: 0, high: 0x8F00) == .ignored)
        #expect(table.load(vector, low: 0, high: 0x8500) == .ignored)
        #expect(table[vector] == nil)
    }

    @Test("any other type than interrupt or trap gate ends the guest")
    func types() {
        for type in 0..<16 as Range<UInt32> where type != 0xE && type != 0xF {
            var table = InterruptTable(era1)
            #expect(
                table.load(3, low: 0, high: 0x8000 | type << 8)
                    == .refused(.badGateType(UInt8(type))))
        }
    }

    @Test("the early hosts keep vectors below 64 and the system call's; later ones all")
    func vectors() {
        var early = InterruptTable(era1)
        var later = InterruptTable(late)
        for vector in [63, 64, 0x7F, 0x80, 0x81, 255] as [UInt32] {
            let kept = early.load(vector, low: 0, high: 0x8E00) != .ignored
            #expect(kept == (vector == 63 || vector == 0x80), "\(vector)")
            #expect(later.load(vector, low: 0, high: 0x8E00) != .ignored)
        }
        #expect(early.load(256, low: 0, high: 0x8E00) == .ignored)
        #expect(later.load(256, low: 0, high: 0x8E00) == .refused(.badVector(256)))
        #expect(early[1000] == nil)
    }

    @Test("trap gates go direct, but for 7, 13, 14 and 31, and for vectors from 32 but 0x80")
    func direct() {
        let trap = InterruptTable.Gate(handler: 0, privilege: 0, masksInterrupts: false)
        let masking = InterruptTable.Gate(handler: 0, privilege: 0, masksInterrupts: true)
        for vector in 0..<256 as Range<UInt32> {
            let expected =
                vector < 32 && ![7, 13, 14, 31].contains(vector) || vector == 0x80
            #expect(InterruptTable.isDirect(vector, trap) == expected, "\(vector)")
            #expect(!InterruptTable.isDirect(vector, masking))
        }
    }

    @Test("exactly the CPU's exceptions with an error code have one")
    func errorCodes() {
        let with = (0..<256 as Range<UInt32>).filter { InterruptTable.hasErrorCode($0) }
        #expect(with == [8, 10, 11, 12, 13, 14, 17])
    }
}

@Suite struct SegmentRulesTests {
    @Test("level 0 becomes 1, other levels stay, and every entry is marked accessed")
    func levels() {
        #expect(SegmentRules.corrected(0x00CF_9A00_0000_FFFF) == 0x00CF_BB00_0000_FFFF)
        #expect(SegmentRules.corrected(0x00CF_B200_0000_FFFF) == 0x00CF_B300_0000_FFFF)
        #expect(SegmentRules.corrected(0x00CF_D200_0000_FFFF) == 0x00CF_D300_0000_FFFF)
        #expect(SegmentRules.corrected(0x00CF_FA00_0000_FFFF) == 0x00CF_FB00_0000_FFFF)
        #expect(SegmentRules.corrected(0) == 0x0000_2100_0000_0000)
    }

    @Test("a guest starts with flat code and data at ring 1; the host's entries are at ring 0")
    func initial() {
        for index in 0..<32 as Range<UInt32> {
            let level = SegmentRules.initial(index) >> 45 & 3
            switch index {
            case 12, 13: #expect(level == 1)
            case 10, 11:
                #expect(level == 0)
                #expect(SegmentRules.isHosts(index))
            default: #expect(SegmentRules.initial(index) == 0)
            }
        }
        #expect(SegmentRules.isHosts(16) && SegmentRules.isHosts(31))
    }
}
