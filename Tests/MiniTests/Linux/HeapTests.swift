import Testing

@testable import Mini

@Suite struct HeapTests {
    @Test("blocks are aligned to 16, keep their content and never overlap")
    func randomUse() {
        var heap = Heap()
        var random = SplitMix(seed: 7)
        var blocks: [(address: Int, size: Int, mark: UInt8)] = []
        func bytes(_ block: (address: Int, size: Int, mark: UInt8)) -> UnsafeMutableRawBufferPointer
        {
            .init(start: UnsafeMutableRawPointer(bitPattern: block.address), count: block.size)
        }
        for step in 0..<20_000 {
            if blocks.count < 50 || random.next() % 2 == 0 {
                let size = Int(random.next() % (step % 50 == 0 ? 200_000 : 700))
                let address = heap.allocate(size)
                #expect(address != 0 && address % 16 == 0)
                let block = (address, size, UInt8(truncatingIfNeeded: step))
                for index in bytes(block).indices { bytes(block)[index] = block.2 }
                blocks.append(block)
            } else {
                let block = blocks.remove(at: Int(random.next() % UInt64(blocks.count)))
                #expect(bytes(block).allSatisfy { $0 == block.mark })
                heap.release(block.address)
            }
        }
    }

    @Test("a released block is given out again")
    func reuse() {
        var heap = Heap()
        let first = heap.allocate(100)
        heap.release(first)
        #expect(heap.allocate(90) == first)
    }

    @Test("without memory the answer is 0, not a crash")
    func exhausted() {
        SystemCall.hooked({ $0.number == .map ? -12 : nil }) {
            var heap = Heap()
            #expect(heap.allocate(100) == 0)
            #expect(heap.allocate(1 << 20) == 0)
        }
    }
}
