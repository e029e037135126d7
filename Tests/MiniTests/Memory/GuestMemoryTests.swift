import Synchronization
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

@Suite struct MemoryAtZeroTests {
    @Test("memory at address 0 holds all but its first byte, and is given back")
    func lowest() throws {
        guard (try? Mapping.lowest(count: 0x2_0000)) != nil else { return }
        do {
            let memory = try GuestMemory(count: 0x4_0000, at: .zero)
            #expect(memory.address == 0)
            #expect(memory.range(0, 1) == nil && memory.range(0, 0) == nil)
            #expect(memory.range(1, 0x3_FFFF) != nil && memory.range(1, 0x4_0000) == nil)
            #expect(memory.store32(1, 0x1122_3344) && memory.load32(1) == 0x1122_3344)
            let range = try #require(memory.range(0x1000, 4))
            memory.writable(range).copyBytes(from: [1, 2, 3, 4])
            #expect(Array(memory.readable(range)) == [1, 2, 3, 4])
            #expect(memory.load32(0x1000) == 0x0403_0201)
            // A view tells nothing from a null pointer.
            let view = ByteView(memory.readable(try #require(memory.range(0x1000, 16))))
            #expect(view.word(0) == 0x0403_0201 && view.find("\u{1}\u{2}\u{3}\u{4}") == 0)
            let file = try Descriptor.open("/proc/self/exe", .readOnly)
            try memory.map(memory.range(0x2000, 0x1000)!, file: file.number, fileOffset: 0)
            #expect(memory.load32(0x2000) == 0x464C_457F)
        }
        _ = try GuestMemory(count: 0x4_0000, at: .zero)
    }

    @Test("what is in the way of it stays, and is told")
    func inTheWay() throws {
        let calls = Mutex<[Int]>([])
        SystemCall.hooked({ call in
            calls.withLock { $0.append(call.number.rawValue) }
            // The kernel had to choose another address.
            return call.number == .map && call.arguments.0 == 0x1_0000 ? 0x7000_0000 : 0
        }) {
            #expect(throws: Errno.exists) { try GuestMemory(count: 0x4_0000, at: .zero) }
        }
        #expect(calls.withLock { $0 } == [SystemCall.Number.map, .unmap].map(\.rawValue))
    }

    @Test("a machine that keeps address 0 to itself says so, with nothing left")
    func forbidden() throws {
        let calls = Mutex<[Int]>([])
        SystemCall.hooked({ call in
            calls.withLock { $0.append(call.number.rawValue) }
            guard call.number == .map else { return 0 }
            return call.arguments.0 == 0 ? -1 : call.arguments.0
        }) {
            #expect(throws: LauncherError.engine(.addressZero(.notPermitted))) {
                try Engine.makeMemoryAtZero(mebibytes: 4)
            }
            #expect(throws: LauncherError.engine(.tooMuchMemory(mebibytes: 1792, most: 1791))) {
                try Engine.makeMemoryAtZero(mebibytes: 1792)
            }
        }
        #expect(calls.withLock { $0 } == [SystemCall.Number.map, .map, .unmap].map(\.rawValue))
    }
}
