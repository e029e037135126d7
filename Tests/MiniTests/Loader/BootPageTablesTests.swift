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

    @Test(
        "a guest of PAE's finds memory at both places, by tables of PAE's",
        arguments: [(7, 0xC000_0000), (1100, 0x8000_0000), (64, 0x4000_0000)] as [(UInt32, UInt32)])
    func wide(_ mebibytes: UInt32, _ pageOffset: UInt32) throws {
        let memory = try GuestLayout.makeMemory(mebibytes: mebibytes)
        let kernel = kernelForLayout(
            end: 0x20_0000, pageOffset: pageOffset, era: .era4a, isWide: true)
        let layout = try GuestLayout(mebibytes: mebibytes, kernel: kernel)
        BootPageTables.write(layout, kernel, to: memory)
        let rules = PageRules(limit: layout.memory >> 12, refusedInDirectory: 0x98, isWide: true)
        func page(_ linear: UInt32) -> UInt32? {
            let walk = PageWalk(linear, from: layout.pageDirectory, rules) { memory.load32($0) }
            return walk.end == .page && walk.permits(write: true, user: true)
                ? walk.tableEntry & ~7 : nil
        }
        for start in [0, pageOffset] {
            // Of many pages not each, but some of each table.
            for place in stride(from: 0, to: layout.memory, by: mebibytes < 64 ? 0x1000 : 0x7_F000)
            {
                guard page(start + place) == place else {
                    Issue.record("at \(start + place)")
                    break
                }
            }
        }
        #expect(page(pageOffset + layout.memory) == nil)
        let below = bytes(of: memory, layout.pageTables - 0x10_0000, 0x10_0000)
        #expect(below.allSatisfy { $0 == 0 })
    }

    @Test("nothing is written outside the pages that the layout has for it")
    func bounds() throws {
        let (memory, layout) = try Self.tables(5, .era1c, pageOffset: 0x4000_0000)
        let below = bytes(of: memory, 0, layout.pageTables)
        let above = bytes(of: memory, layout.initrd, memory.count - layout.initrd)
        #expect(below.allSatisfy { $0 == 0 } && above.allSatisfy { $0 == 0 })
    }
}
