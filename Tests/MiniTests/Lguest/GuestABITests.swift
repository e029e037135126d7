import Testing

@testable import Mini

@Suite struct GuestABITests {
    @Test("lguest_data has the length and the words of its era")
    func data() {
        #expect(GuestABI(era: .era0).data.count == 1128)
        #expect(GuestABI(era: .era0).data.guestIdentity == 1112)
        #expect(GuestABI(era: .era1).data.count == 1124)
        #expect(GuestABI(era: .era1).data.timeStampKilohertz == 1112)
        #expect(GuestABI(era: .era1).data.quietStart == 1116)
        #expect(GuestABI(era: .era1c).data.count == 1136)
        #expect(GuestABI(era: .era1c).data.kernelAddress == 1128)
        // The ring's records fill the room up to the first word behind them.
        let data = GuestABI(era: .era1).data
        #expect(
            data.ringRecords + GuestABI.ringSlots * GuestABI.ringRecordSize == data.reservedTop)
    }

    @Test("the ring turned round at 1b, the DMA record at 0b")
    func orders() {
        #expect(GuestABI(era: .era1).ringOrder == .init(first: 1, second: 2, third: 3))
        #expect(GuestABI(era: .era1b).ringOrder == .init(first: 3, second: 1, third: 2))
        #expect(GuestABI(era: .era0).dma == .addressesFirst)
        #expect(GuestABI(era: .era0b).dma == .lengthsFirst)
        #expect(GuestABI(era: .era1).dma.lengths == 4)
    }
}
