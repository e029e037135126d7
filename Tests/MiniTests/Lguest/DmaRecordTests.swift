import Testing

@testable import Mini

private let layouts: [GuestABI.DMALayout] = [.addressesFirst, .lengthsFirst]

/// Writes a record's sections.
func put(
    _ sections: [(start: UInt32, count: UInt16)], at address: UInt32,
    _ layout: GuestABI.DMALayout, to memory: GuestMemory
) {
    for (index, section) in sections.enumerated() {
        memory.store32(address + layout.addresses + 4 * UInt32(index), section.start)
        let offset = address + layout.lengths + 2 * UInt32(index)
        let other = memory.load32(offset)! & 0xFFFF_0000
        memory.store32(offset, other | UInt32(section.count))
    }
}

@Suite struct DmaRecordTests {
    @Test("sections end at the first of length 0", arguments: layouts)
    func sections(layout: GuestABI.DMALayout) throws {
        let memory = try GuestMemory(count: 0x10000)
        put([(0x2000, 5), (0x3000, 7), (0, 0), (0x4000, 1)], at: 0x100, layout, to: memory)
        let record = try #require(DmaRecord(at: 0x100, in: memory, layout: layout))
        #expect(record.sections == [memory.range(0x2000, 5), memory.range(0x3000, 7)])
        #expect(record.count == 12)
    }

    @Test("there are at most 16 sections", arguments: layouts)
    func sixteen(layout: GuestABI.DMALayout) throws {
        let memory = try GuestMemory(count: 0x10000)
        put(Array(repeating: (0x2000, 1), count: 16), at: 0, layout, to: memory)
        // Whatever stands behind the record.
        memory.store32(GuestABI.dmaRecordSize, 0xFFFF_FFFF)
        let record = try #require(DmaRecord(at: 0, in: memory, layout: layout))
        #expect(record.sections.count == 16)
    }

    @Test("the last byte of memory may be lent, the one behind it not", arguments: layouts)
    func end(layout: GuestABI.DMALayout) throws {
        let memory = try GuestMemory(count: 0x10000)
        put([(0xFFFF, 1)], at: 0, layout, to: memory)
        #expect(DmaRecord(at: 0, in: memory, layout: layout) != nil)
        for section: (UInt32, UInt16) in [
            (0xFFFF, 2), (0x10000, 1), (0xFFFF_FFFF, 1), (0xFFFF_FFFF, 0xFFFF), (1, 0xFFFF),
        ] {
            put([section], at: 0, layout, to: memory)
            let isInside = section.0 == 1
            #expect((DmaRecord(at: 0, in: memory, layout: layout) != nil) == isInside)
        }
    }

    @Test("one section outside refuses the whole record", arguments: layouts)
    func oneBad(layout: GuestABI.DMALayout) throws {
        let memory = try GuestMemory(count: 0x10000)
        put([(0x2000, 5), (0xFFFF_0000, 7)], at: 0, layout, to: memory)
        #expect(DmaRecord(at: 0, in: memory, layout: layout) == nil)
    }

    @Test(
        "a record must lie wholly in memory",
        arguments: [0x10000 - 99, 0x10000, 0xFFFF_FFFF, 0xFFFF_FF9C] as [UInt32])
    func outside(address: UInt32) throws {
        let memory = try GuestMemory(count: 0x10000)
        #expect(
            DmaRecord(at: GuestAddress(rawValue: address), in: memory, layout: .lengthsFirst) == nil
        )
        #expect(DmaRecord(at: 0xFF9C, in: memory, layout: .lengthsFirst) != nil)
    }

    @Test("a buffer is lent with its line, taken, filled and freed again, by one word of it")
    func way() throws {
        let memory = try GuestMemory(count: 0x10000)
        put([(0x2000, 60)], at: 0x100, .lengthsFirst, to: memory)
        let record = try #require(DmaRecord(at: 0x100, in: memory, layout: .lengthsFirst))
        #expect(record.isFree(in: memory))
        #expect(DmaRecord.lend(0x100, 3, in: memory) && memory.load32(0x100) == 3)
        #expect(!record.isFree(in: memory) && !DmaRecord.lend(0x100, 4, in: memory))
        #expect(record.take(in: memory) == 3)
        #expect(record.isFree(in: memory), "as long as it is not filled")
        record.setUsedLength(7, in: memory)
        #expect(!record.isFree(in: memory) && !DmaRecord.lend(0x100, 3, in: memory))
        #expect(memory.load32(0x100) == 7)
        memory.store32(0x100, 0)
        #expect(DmaRecord.lend(0x100, 5, in: memory))
    }

    @Test("what lies outside memory is neither free nor lent")
    func notThere() throws {
        let memory = try GuestMemory(count: 0x10000)
        for address in [0x10000, 0xFFFF_FFFF] as [UInt32] {
            #expect(!DmaRecord.isFree(address, in: memory))
            #expect(!DmaRecord.lend(address, 3, in: memory))
        }
    }
}
