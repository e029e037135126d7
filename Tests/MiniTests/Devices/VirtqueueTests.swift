import Testing

@testable import Mini

/// Gives every chain back, and remembers it.
private final class PlayedDevice: VirtioDevice {
    let kind = VirtioKind.random
    let features: UInt32 = 0
    let queueSizes: [UInt16]
    var chains: [VirtqueueChain] = []
    init(size: UInt16 = 8) { queueSizes = [size] }
    let configurationCount: UInt16 = 0
    func configuration(_ offset: UInt16) -> UInt8 { 0 }
    func serve(_ queue: Int, of function: VirtioTransport) {
        var chain = VirtqueueChain()
        while function.next(queue, &chain) {
            chains.append(chain)
            function.give(queue, chain, written: chain.writableCount)
        }
        function.interrupt(queue)
    }
}

private let place: UInt64 = 0x40000

@Suite struct VirtqueueTests {
    private let device: PlayedDevice
    private let driver: VirtioDriver

    init() {
        device = PlayedDevice()
        driver = VirtioDriver(device)
    }

    /// What becomes of the queue when the driver rings now.
    private func violation() -> Virtqueue.Violation? {
        driver.ring(0)
        return driver.function.violation
    }

    @Test("chains are taken in order and given back, many times around the ring")
    func chains() {
        for round in 0..<100 as Range<UInt32> {
            let head = driver.add(
                0,
                [
                    .init(address: place, count: 16),
                    .init(address: place + 0x100, count: round, isWritable: true),
                    .init(address: place + 0x200, count: 3, isWritable: true),
                ])
            driver.ring(0)
            let used = driver.takeUsed(0)
            #expect(used.count == 1 && used[0] == (head, round + 3))
            #expect(driver.takeInterrupt() == 1 && driver.takeInterrupt() == nil)
        }
        #expect(device.chains.count == 100)
        #expect(device.chains.allSatisfy { $0.readable.count == 1 && $0.writable.count == 2 })
        #expect(driver.function.violation == nil)
    }

    @Test("several chains wait for one ring of the bell, and one interrupt tells of all")
    func several() {
        for _ in 0..<8 { driver.add(0, [.init(address: place, count: 1)]) }
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.head } == Array(0..<8))
        #expect(driver.takeInterrupt() == 1 && driver.takeInterrupt() == nil)
        driver.ring(0)
        #expect(driver.takeUsed(0).isEmpty)
    }

    @Test("a driver that wants no interrupt gets none")
    func quiet() {
        driver.store16(driver.available(0), 1)
        driver.add(0, [.init(address: place, count: 1)])
        driver.ring(0)
        #expect(driver.takeUsed(0).count == 1 && driver.takeInterrupt() == nil)
    }

    @Test("a chain may have as many buffers as the ring, empty ones too")
    func longest() {
        driver.add(
            0, (0..<8).map { .init(address: place, count: UInt32($0 % 2), isWritable: $0 > 3) })
        #expect(violation() == nil && driver.takeUsed(0).map { $0.written } == [2])
    }

    @Test("a chain that is a loop breaks the queue", arguments: [0, 1, 7] as [UInt16])
    func loop(end: UInt16) {
        for number in 0..<8 as Range<UInt16> {
            driver.setDescriptor(
                0, number, address: place, count: 1, flags: 1, next: number == 7 ? end : number + 1)
        }
        driver.makeAvailable(0, 0)
        #expect(violation() == .loop)
        #expect(driver.takeUsed(0).isEmpty && device.chains.isEmpty)
    }

    @Test(
        "a number that is no descriptor's breaks the queue",
        arguments: [8, 9, 0x7FFF, 0xFFFF] as [UInt16])
    func number(number: UInt16) {
        driver.makeAvailable(0, number)
        #expect(violation() == .number)
        driver.start()
        driver.setDescriptor(0, 0, address: place, count: 1, flags: 1, next: number)
        driver.makeAvailable(0, 0)
        #expect(violation() == .number)
    }

    @Test(
        "an index that is ahead by more than the ring breaks the queue",
        arguments: [9, 0x8000, 0xFFFF] as [UInt16])
    func index(index: UInt16) {
        driver.store16(driver.available(0) + 2, index)
        #expect(violation() == .index)
    }

    @Test(
        "a buffer outside memory breaks the queue",
        arguments: [
            (0x10_0000, 1), (0xF_FFFF, 2), (0, 0x10_0001), (0xFFFF_FFFF, 1), (0x1_0000_0000, 0),
            (UInt64.max, 0xFFFF_FFFF), (0xFFFF_F000, 0xFFFF_FFFF), (0x10_0001, 0),
        ] as [(UInt64, UInt32)])
    func outside(address: UInt64, count: UInt32) {
        driver.add(0, [.init(address: address, count: count)])
        #expect(violation() == .buffer)
    }

    @Test("a buffer to read behind one to fill, and a table of buffers, break the queue")
    func shape() {
        driver.add(
            0, [.init(address: place, count: 1, isWritable: true), .init(address: place, count: 1)])
        #expect(violation() == .order)
        driver.start()
        driver.setDescriptor(0, 0, address: place, count: 16, flags: 4)
        driver.makeAvailable(0, 0)
        #expect(violation() == .indirect)
    }

    @Test(
        "a ring that is not in memory breaks the queue",
        arguments: [0xFF, 0x100, 0xFFFFF, 0x10_0000, 0x1000_0010, UInt32.max])
    func rings(page: UInt32) {
        driver.write(0x0E, 0, size: 2)
        driver.write(0x08, page, size: 4)
        #expect(violation() == .place)
        #expect(driver.read(0x08, size: 4) == page)
    }

    @Test("a broken queue stays so until it is placed anew, and then works")
    func again() {
        driver.makeAvailable(0, 99)
        #expect(violation() == .number)
        driver.place(0)
        driver.add(0, [.init(address: place, count: 1)])
        #expect(violation() == nil && driver.takeUsed(0).count == 1)
    }

    @Test("buffers over the ring change nothing of the chain that was taken")
    func overlap() {
        // The device is lent the whole ring to fill, and the chain's head comes back all the same.
        let head = driver.add(0, [.init(address: 0x10000, count: 0x1000, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.head } == [head])
    }

    @Test("no lengths are too large together")
    func sums() throws {
        let memory = try GuestMemory(count: 1 << 30)
        var queue = Virtqueue(size: 8)
        queue.place(1, in: memory)
        for number in 0..<8 as Range<UInt32> {
            let place = 0x1000 + 16 * number
            memory.store32(place + 8, 1 << 30)
            memory.store32(place + 12, number < 7 ? 1 | (number + 1) << 16 : 0)
        }
        memory.store32(0x1080, 1 << 16)
        var chain = VirtqueueChain()
        #expect(!queue.next(&chain, in: memory))
        #expect(queue.violation == .buffer)
        queue.place(1, in: memory)
        memory.store32(0x1000 + 16 * 2 + 12, 0)
        let isTaken = queue.next(&chain, in: memory)
        #expect(isTaken && chain.readableCount == 3 << 30)
    }

    @Test("rings and buffers may lie from 4 GiB on, in all or in none of their bytes")
    func high() throws {
        let memory = try GuestMemory(MemoryExtent(low: 0x4000, high: 0x4000))
        let start = MemoryExtent.highStart
        func store(_ place: UInt64, _ word: UInt32) {
            memory.writable(memory.range(far: place, 4)!).storeBytes(of: word, as: UInt32.self)
        }
        func taken(_ address: UInt64, _ count: UInt32) -> VirtqueueChain? {
            var queue = Virtqueue(size: 8)
            queue.place(UInt32(start >> 12), in: memory)
            store(start, UInt32(truncatingIfNeeded: address))
            store(start + 4, UInt32(address >> 32))
            store(start + 8, count)
            store(start + 12, 2)
            store(start + 0x80, 1 << 16)
            var chain = VirtqueueChain()
            guard queue.next(&chain, in: memory) else {
                #expect(queue.violation == .buffer)
                return nil
            }
            queue.give(chain, written: 4, in: memory)
            #expect(
                memory.readable(memory.range(far: start + 0x1000, 12)!).load(
                    fromByteOffset: 8, as: UInt32.self) == 4)
            return chain
        }
        var chain = try #require(taken(start + 0x3FFC, 4))
        let bytes: [UInt8] = [1, 2, 3, 4]
        let count = bytes.withUnsafeBytes { chain.put($0, into: memory) }
        #expect(count == 4)
        #expect(Array(memory.readable(memory.range(far: start + 0x3FFC, 4)!)) == bytes)
        #expect(taken(0x3000, 4) != nil)
        for (address, count) in [(start + 0x3FFC, 5), (start - 4, 8), (0x3FFC, 5), (1 << 63, 1)]
            as [(UInt64, UInt32)]
        {
            #expect(taken(address, count) == nil)
        }
        var queue = Virtqueue(size: 8)
        for page in [3, start >> 12 + 3, start >> 12 - 1] as [UInt64] {
            queue.place(UInt32(page), in: memory)
            #expect(queue.violation == .place)
        }
        queue.place(descriptors: start, available: 0x1000, used: start + 0x3FBC, in: memory)
        #expect(queue.isReady)
        queue.place(descriptors: start, available: 0x1000, used: start + 0x3FC0, in: memory)
        #expect(queue.violation == .place)
    }

    @Test("bytes are taken from and put into the parts of a chain, wherever they are cut")
    func parts() {
        for cut in 1...15 as ClosedRange<UInt32> {
            driver.put(Array(1...40), at: 0x40000)
            driver.put([UInt8](repeating: 0, count: 64), at: 0x50000)
            driver.add(
                0,
                [
                    .init(address: 0x40000, count: cut),
                    .init(address: 0x40000 + UInt64(cut), count: 20 - cut),
                    .init(address: 0x50000, count: cut, isWritable: true),
                    .init(address: 0x50020, count: 20, isWritable: true),
                ])
            driver.ring(0)
            var chain = device.chains.removeLast()
            var bytes = [UInt8](repeating: 0, count: 16)
            #expect(bytes.withUnsafeMutableBytes { chain.take($0, from: driver.memory) } == 16)
            #expect(bytes == Array(1...16) && chain.readableCount == 4)
            #expect(bytes.withUnsafeBytes { chain.put($0, into: driver.memory) } == 16)
            #expect(driver.bytes(0x50000, cut) + driver.bytes(0x50020, 16 - cut) == bytes)
            let last = chain.takeLastByte()
            #expect(
                last?.start == 0x50033 && last?.count == 1 && chain.writableCount == cut + 20 - 17)
        }
    }

    @Test("the page shows when a queue is ready")
    func page() throws {
        let memory = try GuestMemory(count: 0x10000)
        memory.store32(0x1080, 99 << 16)
        var chain = VirtqueueChain()
        let walk = Walk(
            from: [Virtqueue(size: 8)],
            [("placed", 1), ("placed nowhere", 0), ("placed outside", 99), ("violation", -1)],
            name: { "\($0.stateName)" },
            step: { (queue: Virtqueue, page: Int) in
                var next = queue
                if page >= 0 {
                    next.place(UInt32(page), in: memory)
                } else {
                    _ = next.next(&chain, in: memory)
                }
                return next.stateName.description == queue.stateName.description ? [] : [next]
            })
        #expect(try transitionsOfPage("virtqueue-machine.md") == walk.transitions)
    }
}
