// The DMA buffer machine against its page, and the rules of bindings.

import Testing

@testable import Mini

@Suite struct DmaBufferTests {
    private let events: [(name: String, apply: (inout DmaBuffer) -> Void)] = [
        ("lend", { _ = $0.lend(line: 3) }),
        ("fill", { _ = $0.fill(count: 10) }),
        ("raise", { _ = $0.raise() }),
        ("consumed", { $0.consumed() }),
    ]

    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        var known = [DmaBuffer(usedLength: 0), DmaBuffer(usedLength: 1), DmaBuffer(lentWith: 3)]
        var taken: Set<String> = []
        var next = 0
        while next < known.count {
            for event in events {
                var buffer = known[next]
                event.apply(&buffer)
                if buffer.phase != known[next].phase {
                    taken.insert(
                        "\(known[next].phase.rawValue) --> \(buffer.phase.rawValue): \(event.name)")
                }
                if !known.contains(buffer) { known.append(buffer) }
            }
            next += 1
        }
        #expect(try transitionsOfPage("dma-machine.md") == taken)
    }

    @Test("a round through the launcher writes the line, then the length, then interrupts")
    func round() {
        var buffer = DmaBuffer(usedLength: 0)
        #expect(buffer.lend(line: 3) == .setUsedLength(3))
        #expect(buffer.lend(line: 3) == .none)
        #expect(buffer.raise() == .none)
        #expect(buffer.fill(count: 7) == .setUsedLength(7))
        #expect(buffer.fill(count: 8) == .none)
        #expect(buffer.raise() == .interrupt(line: 3))
        #expect(buffer.raise() == .none)
        #expect(buffer.lend(line: 3) == .none)
        buffer.consumed()
        #expect(buffer.lend(line: 3) == .setUsedLength(3))
    }

    @Test("a buffer found in use is not lent")
    func inUse() {
        var buffer = DmaBuffer(usedLength: 1)
        #expect(buffer.lend(line: 3) == .none)
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
