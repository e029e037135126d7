import Testing

@testable import Mini

@Suite struct DevicePageTests {
    @Test("descriptors fill the slots in turn, and slot n has interrupt n + 1")
    func slots() throws {
        let memory = try GuestMemory(count: 0x2000)
        var page = DevicePage(at: 0x1000)
        for slot in 0..<16 {
            #expect(
                page.add(.console, in: memory)
                    == DeviceSlot(line: InterruptLine(rawValue: UInt32(slot + 1)), page: 0))
            #expect(memory.load32(0x1000 + 12 * UInt32(slot)) == 1)
            #expect(memory.load32(0x1004 + 12 * UInt32(slot)) == 0)
        }
        #expect(page.add(.console, in: memory) == nil)
        #expect(memory.load32(0x1000 + 12 * 16) == 0)
        #expect(page.end == 0x2000)
    }

    @Test("devices have pages of their own, one behind the other, and say which")
    func pages() throws {
        let memory = try GuestMemory(count: 0x5000)
        var page = DevicePage(at: 0x1000)
        #expect(
            page.add(.block, features: .randomness, pages: 1, in: memory)
                == DeviceSlot(line: 1, page: 0x2000))
        #expect(
            page.add(.network, features: [.withoutChecksums], pages: 2, in: memory)
                == DeviceSlot(line: 2, page: 0x3000))
        let words = (0..<6).map { memory.load32(0x1000 + 4 * $0) }
        #expect(words == [0x8000_0003, 0x0001_0000, 2, 0x4000_0002, 0x0002_0000, 3])
        #expect(page.end == 0x5000)
        #expect(page.add(.block, pages: 1, in: memory) == nil)
        #expect(page.end == 0x5000)
        #expect(page.add(.console, in: memory) == DeviceSlot(line: 3, page: 0))
    }

    @Test("a page that is not guest memory takes no device")
    func outside() throws {
        let memory = try GuestMemory(count: 0x1000)
        var page = DevicePage(at: 0x1000)
        #expect(page.add(.console, in: memory) == nil)
    }
}
