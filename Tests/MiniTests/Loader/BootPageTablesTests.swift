import Testing

@testable import Mini

/// Walks two-level tables as the processor does.
private func translate(_ memory: GuestMemory, _ directory: UInt32, _ address: UInt32) -> UInt32? {
    guard let entry = memory.load32(directory + address >> 22 * 4), entry & 7 == 7,
        let page = memory.load32(entry & ~4095 + (address >> 12 & 1023) * 4), page & 7 == 7
    else { return nil }
    return page & ~4095 | address & 4095
}

@Suite struct BootPageTablesTests {
    private static func tables(
        _ mebibytes: UInt32, _ era: GuestABI.Era, pageOffset: UInt32 = 0xC000_0000
    ) throws -> (GuestMemory, GuestLayout) {
        let memory = try GuestLayout.makeMemory(mebibytes: mebibytes)
        let kernel = kernelForLayout(end: 0x20_0000, pageOffset: pageOffset, era: era)
        let layout = try GuestLayout(mebibytes: mebibytes, kernel: kernel)
        BootPageTables.write(layout, kernel, to: memory)
        return (memory, layout)
    }

    @Test(
        "eras 0 to 1b find all of memory at the page offset, and nothing else",
        arguments: [
            GuestABI.Era.era0, .era1a, .era1, .era1b,
        ])
    func high(_ era: GuestABI.Era) throws {
        let (memory, layout) = try Self.tables(7, era)
        for page in 0..<(layout.memory >> 12) {
            #expect(translate(memory, layout.pageDirectory, 0xC000_0000 + page << 12) == page << 12)
        }
        #expect(translate(memory, layout.pageDirectory, 0xC000_0000 + layout.memory) == nil)
        for entry: UInt32 in 0..<1024 where entry != 768 && entry != 769 {
            #expect(memory.load32(layout.pageDirectory + 4 * entry) == 0)
        }
    }

    @Test("era 1c finds memory at its physical addresses as well")
    func low() throws {
        let (memory, layout) = try Self.tables(7, .era1c)
        for page in 0..<(layout.memory >> 12) {
            #expect(translate(memory, layout.pageDirectory, page << 12) == page << 12)
            #expect(translate(memory, layout.pageDirectory, 0xC000_0000 + page << 12) == page << 12)
        }
        #expect(translate(memory, layout.pageDirectory, layout.memory) == nil)
    }

    @Test("nothing is written outside the pages that the layout has for it")
    func bounds() throws {
        let (memory, layout) = try Self.tables(5, .era1c, pageOffset: 0x4000_0000)
        let below = bytes(of: memory, 0, layout.pageTables)
        let above = bytes(of: memory, layout.initrd, memory.count - layout.initrd)
        #expect(below.allSatisfy { $0 == 0 } && above.allSatisfy { $0 == 0 })
    }
}
