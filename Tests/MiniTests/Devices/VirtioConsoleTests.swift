import Testing

@testable import Mini

@Suite struct VirtioConsoleTests {
    private let console = VirtioConsole()
    private let driver: VirtioDriver

    init() { driver = VirtioDriver(console) }

    private func taken() -> String {
        var bytes: [UInt8] = []
        console.takeOutput(into: &bytes, of: driver.function)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("text comes out in order, over the parts of a chain")
    func text() {
        driver.put(Array("Hello, world\n".utf8), at: 0x40000)
        driver.add(1, [.init(address: 0x40000, count: 5), .init(address: 0x40005, count: 8)])
        driver.ring(1)
        #expect(taken() == "Hello, world\n" && taken() == "")
        #expect(driver.takeUsed(1).count == 1 && driver.takeInterrupt() == 1)
    }

    @Test("what has no room waits in the queue, and comes when the text before it was taken")
    func full() {
        driver.put([UInt8](repeating: 65, count: 10_000), at: 0x40000)
        driver.add(1, [.init(address: 0x40000, count: 10_000)])
        driver.add(1, [.init(address: 0x40000, count: 1)])
        driver.ring(1)
        #expect(driver.takeUsed(1).isEmpty)
        #expect(taken().utf8.count == 4096)
        #expect(taken().utf8.count == 4096)
        #expect(driver.takeUsed(1).count == 2)
        #expect(taken().utf8.count == 10_001 - 8192)
        #expect(taken() == "")
    }

    @Test("keys go to the buffers that were lent, and wait without one")
    func keys() {
        #expect(!console.hasRoom(driver.function))
        #expect(console.feed([1, 2], to: driver.function) == 0)
        driver.add(0, [.init(address: 0x40000, count: 3, isWritable: true)])
        driver.add(0, [.init(address: 0x40100, count: 3, isWritable: true)])
        driver.ring(0)
        #expect(console.hasRoom(driver.function))
        #expect(console.feed([1, 2, 3, 4], to: driver.function) == 4)
        #expect(driver.takeUsed(0).map { $0.written } == [3, 1])
        #expect(driver.bytes(0x40000, 3) + driver.bytes(0x40100, 1) == [1, 2, 3, 4])
        #expect(!console.hasRoom(driver.function))
    }

    @Test("keys and text stay where they are while Bus Master is off")
    func withoutMaster() {
        driver.put([UInt8](repeating: 65, count: 5000), at: 0x40000)
        driver.add(0, [.init(address: 0x48000, count: 3, isWritable: true)])
        driver.add(1, [.init(address: 0x40000, count: 5000)])
        driver.ring(1)
        driver.pc.configure(1, 0x04, 0x0001, size: 2)
        #expect(taken().utf8.count == 4096 && taken() == "" && driver.takeUsed(1).isEmpty)
        #expect(!console.hasRoom(driver.function) && console.feed([1], to: driver.function) == 0)
    }

    @Test("a reset forgets the text that waits")
    func reset() {
        driver.put([UInt8](repeating: 65, count: 5000), at: 0x40000)
        driver.add(1, [.init(address: 0x40000, count: 5000)])
        driver.ring(1)
        driver.start()
        #expect(taken().utf8.count == 4096 && taken() == "")
        #expect(driver.takeUsed(1).isEmpty)
    }

    @Test(
        "a used ring over the available ring, and chains without a byte, end with the ring's entries"
    )
    func overlaid() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let (table, offer) = (UInt64(0x10000), UInt64(0x11000))
        for distance in -540...140 {
            for queue in 0..<2 {
                let console = VirtioConsole()
                let transport = VirtioTransport(console, memory: memory)
                // Each number is a buffer of its own, without a byte in it.
                for number in 0..<64 as Range<UInt32> {
                    let place = UInt32(table) + 16 * number
                    for word in 0..<4 as Range<UInt32> { memory.store32(place + 4 * word, 0) }
                    memory.store32(place, 0x40000)
                    memory.store32(place + 12, queue == 0 ? 2 : 0)
                }
                for word in 0..<40 as Range<UInt32> {
                    memory.store32(UInt32(offer) + 4 * word, 0x0101_0101 &* (word & 63))
                }
                memory.store32(UInt32(offer), 64 << 16)
                transport.queues[queue].place(
                    descriptors: table, available: offer,
                    used: UInt64(Int64(offer) + Int64(distance)), in: memory)
                #expect(transport.isReady(queue))
                if queue == 0 {
                    #expect(console.feed([1], to: transport) == 0)
                } else {
                    transport.device.serve(queue, of: transport)
                }
                #expect(console.output.isEmpty)
            }
        }
    }

    @Test("more than the ring has waits for the next time, what is left of a chain counted")
    func turns() {
        driver.put([UInt8](repeating: 65, count: 5000), at: 0x40000)
        driver.add(1, [.init(address: 0x40000, count: 5000)])
        for _ in 0..<63 { driver.add(1, [.init(address: 0x40000, count: 1)]) }
        driver.ring(1)
        #expect(driver.takeUsed(1).isEmpty)
        #expect(taken().utf8.count == 4096)
        #expect(driver.takeUsed(1).count == 64)
        #expect(taken().utf8.count == 5000 - 4096 + 63)
    }
}
