// The DMA buffer machine against its page, and the rules of bindings.

import Testing

@testable import Mini

@Suite struct DmaBufferTests {
    private let events: [(name: String, apply: (inout DmaBuffer) -> Void)] = [
        ("lend", { _ = $0.lend(line: 3) }),
        ("fill", { _ = $0.fill(count: 10) }),
    ]

    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        var taken: Set<String> = []
        for known in [DmaBuffer(usedLength: 0), .lent, DmaBuffer(usedLength: 1)] {
            for event in events {
                var buffer = known
                event.apply(&buffer)
                if buffer != known {
                    taken.insert("\(known.stateName) --> \(buffer.stateName): \(event.name)")
                }
            }
        }
        #expect(try transitionsOfPage("dma-machine.md") == taken)
    }

    @Test("a way through the launcher writes the line, then the length")
    func way() {
        var buffer = DmaBuffer(usedLength: 0)
        #expect(buffer.isFree && buffer.fill(count: 1) == nil)
        #expect(buffer.lend(line: 3) == 3)
        #expect(!buffer.isFree && buffer.lend(line: 3) == nil)
        #expect(buffer.fill(count: 7) == 7)
        #expect(buffer.fill(count: 8) == nil)
        #expect(!buffer.isFree && buffer.lend(line: 3) == nil)
        var other = DmaBuffer.lent
        #expect(other.lend(line: 3) == nil && other.fill(count: 0) == 0)
    }

    @Test("a buffer found in use is not lent")
    func inUse() {
        var buffer = DmaBuffer(usedLength: 1)
        #expect(buffer.lend(line: 3) == nil && !buffer.isFree)
    }
}

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
