import Testing

@testable import Mini

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
