import Testing

@testable import Mini

@Suite struct GuestMemoryTests {
    @Test("a range exists exactly when it lies inside memory")
    func ranges() throws {
        let memory = try GuestMemory(count: 0x2000)
        #expect(memory.range(0, 0x2000) != nil)
        #expect(memory.range(0x2000, 0) != nil)
        #expect(memory.range(0x1FFF, 1) != nil)
        #expect(memory.range(0x1FFF, 2) == nil)
        #expect(memory.range(0x2000, 1) == nil)
        #expect(memory.range(0x2001, 0) == nil)
        #expect(memory.range(0xFFFF_FFFF, 2) == nil)
        #expect(memory.range(1, 0xFFFF_FFFF) == nil)
    }

    @Test("words are little-endian, unaligned and never cross the end")
    func words() throws {
        let memory = try GuestMemory(count: 0x1000)
        #expect(memory.store32(0xFFC, 0x1122_3344))
        #expect(memory.load32(0xFFC) == 0x1122_3344)
        #expect(memory.readable(memory.range(0xFFC, 1)!)[0] == 0x44)
        #expect(memory.store32(1, 5) && memory.load32(1) == 5)
        #expect(!memory.store32(0xFFD, 1) && memory.load32(0xFFD) == nil)
        #expect(memory.load32(0xFFFF_FFFE) == nil)
    }

    @Test("memory that the machine does not have is an error")
    func noMemory() {
        SystemCall.hooked({ $0.number == .map ? -12 : nil }) {
            #expect(throws: Errno.noMemory) { try GuestMemory(count: 4096) }
        }
    }

    @Test("a file's pages laid over guest memory are private")
    func overlay() throws {
        let memory = try GuestMemory(count: 0x4000)
        let file = try Descriptor.open("/proc/self/exe", .readOnly)
        try memory.map(memory.range(0x1000, 0x1000)!, file: file.number, fileOffset: 0)
        #expect(memory.load32(0x1000) == 0x464C_457F)
        #expect(memory.store32(0x1000, 0))
        #expect(memory.load32(0) == 0 && memory.load32(0x2000) == 0)
        let again = try GuestMemory(count: 0x1000)
        try again.map(again.range(0, 0x1000)!, file: file.number, fileOffset: 0)
        #expect(again.load32(0) == 0x464C_457F)
    }
}
