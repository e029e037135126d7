// The rules of bindings.

import Testing

@testable import Mini

@Suite struct DmaBindingsTests {
    @Test("there is room for 32 bindings; taking one away makes room")
    func limit() {
        var bindings = DmaBindings()
        for index in 0..<32 as Range<UInt32> {
            #expect(
                bindings.bind(key: DMAKey(rawValue: index * 4), buffers: 0x1000, code: 1 << 8 | 1)
                    == true)
        }
        #expect(bindings.bind(key: 0, buffers: 0x1000, code: 1 << 8 | 1) == false)
        #expect(bindings.bind(key: 8, buffers: 0x1000, code: 0) == true)
        #expect(bindings.bind(key: 0, buffers: 0x1000, code: 1 << 8 | 1) == true)
    }

    @Test("the newest binding of a key answers")
    func newest() {
        var bindings = DmaBindings()
        _ = bindings.bind(key: 4, buffers: 0x1000, code: 1 << 8 | 1)
        _ = bindings.bind(key: 4, buffers: 0x2000, code: 2 << 8 | 2)
        #expect(bindings[4] == .init(key: 4, buffers: 0x2000, count: 2, line: 2))
        #expect(bindings.bind(key: 4, buffers: 0x2000, code: 0) == true)
        #expect(bindings[4]?.buffers == 0x1000)
        #expect(bindings[8] == nil)
    }

    @Test("unbinding needs key and array, and says whether it found them")
    func unbind() {
        var bindings = DmaBindings()
        _ = bindings.bind(key: 4, buffers: 0x1000, code: 1 << 8 | 1)
        #expect(bindings.bind(key: 4, buffers: 0x2000, code: 0) == false)
        #expect(bindings.bind(key: 8, buffers: 0x1000, code: 0) == false)
        #expect(bindings.bind(key: 4, buffers: 0x1000, code: 0) == true)
        #expect(bindings.bind(key: 4, buffers: 0x1000, code: 0) == false)
    }

    @Test("the count is 16 bits wide, and lines end at 31")
    func code() {
        var bindings = DmaBindings()
        _ = bindings.bind(key: 4, buffers: 0, code: 0xFFFF_FF1F)
        #expect(bindings[4]?.count == 0xFFFF)
        #expect(bindings[4]?.line == 31)
        #expect(DmaBindings.hasLine(0xFF1F))
        #expect(!DmaBindings.hasLine(0x20))
    }
}
