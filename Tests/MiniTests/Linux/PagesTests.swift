import Testing

@testable import Mini

@Suite struct PagesTests {
    @Test("a page's rest is counted to its end, and numbers of bytes are rounded up to pages")
    func arithmetic() {
        #expect(Page.rest(0) == 4096 && Page.rest(0x1FFF) == 1 && Page.rest(0xFFFF_F800) == 0x800)
        #expect([0, 1, 4096, 4097].map { Page.rounded($0) } == [0, 4096, 4096, 8192])
        #expect(Page.rounded(0x1_2345_6789 as UInt64) == 0x1_2345_7000)
        #expect(PageCount(bytes: 4097).bytes == Page.rounded(4097))
    }
}
