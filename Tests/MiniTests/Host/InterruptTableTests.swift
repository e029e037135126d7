import Testing

@testable import Mini

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
