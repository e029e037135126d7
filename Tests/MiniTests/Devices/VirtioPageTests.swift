// lguest's page of virtio devices, as a guest of 2.6.24 and one of later finds it, and what a device does when the
// guest notifies it. The guest is memory, and lies where it wants to.

import Testing

@testable import Mini

/// Gives every chain back, and remembers what it was told.
private final class PlayedDevice: VirtioDevice {
    let kind: VirtioKind
    let features: UInt32 = 0x2A5
    let queueSizes: [UInt16] = [8, 256]
    let configurationCount: UInt16 = 20
    var served: [Int] = []
    var taken: [UInt32] = []
    var resets = 0
    init(_ kind: VirtioKind = .network) { self.kind = kind }
    func configuration(_ offset: UInt16) -> UInt8 { UInt8(0xC0 + offset) }
    func take(_ features: UInt32) { taken.append(features) }
    func reset(_ transport: VirtioTransport) { resets += 1 }
    func serve(_ queue: Int, of transport: VirtioTransport) {
        var chain = VirtqueueChain()
        while transport.next(queue, &chain) {
            served.append(queue)
            transport.give(queue, chain, written: 0)
        }
        transport.interrupt(queue)
    }
}

/// A cable with one frame.
private final class PlayedCable: NetworkBackend {
    var frames = 1
    func send(_ frame: IOVector) {}
    func receive(into room: IOVector) throws(Errno) -> UInt32 {
        try drop()
        return 6
    }
    func drop() throws(Errno) {
        guard frames > 0 else { throw .again }
        frames -= 1
    }
    var watched: [Int32] { [7] }
}

private let ram: UInt32 = 1 << 20

private func makeMemory() throws -> GuestMemory { try GuestMemory(count: 2 * ram) }

/// Offers a buffer of 16 bytes in the first descriptor of a ring.
private func offer(_ ring: UInt32, size: UInt32, buffer: UInt32 = 0x1000, in memory: GuestMemory) {
    memory.store32(ring, buffer)
    memory.store32(ring + 8, 16)
    let available = ring + 16 * size
    let index = (memory.load32(available) ?? 0) >> 16
    memory.store32(available, (index + 1) << 16)
}

@Suite struct VirtioPageTests {
    @Test("a counted descriptor has queues, features, room for those taken, and registers")
    func counted() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        let device = PlayedDevice()
        _ = try #require(page.add(device))
        var expected: [UInt8] = [1, 2, 4, 20, 0]
        // Rings of two and of three pages, on lines of their own.
        expected += [8, 0, 1, 0, 1, 1, 0, 0]
        expected += [0, 1, 2, 0, 3, 1, 0, 0]
        expected += [0xA5, 2, 0, 0, 0, 0, 0, 0]
        expected += (0..<20).map { 0xC0 + $0 }
        #expect(bytes(of: memory, ram, UInt32(expected.count)) == expected)
        #expect(page.end == ram + 0x6000)
        // The next one is right behind.
        _ = try #require(page.add(PlayedDevice(.console)))
        #expect(bytes(of: memory, ram + UInt32(expected.count), 7) == [3, 2, 4, 20, 0, 8, 0])
        #expect(bytes(of: memory, ram + UInt32(expected.count) + 7, 2) == [3, 0])
    }

    @Test("2.6.24 finds fields: queues, an address, sectors and segments")
    func fields() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .fields, in: memory)
        let network = try #require(page.add(PlayedDevice()))
        let queues: [UInt8] = [2, 8, 8, 0, 1, 0, 1, 1, 0, 0, 2, 8, 0, 1, 2, 0, 3, 1, 0, 0]
        let address: [UInt8] = [0x41, 6, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5]
        #expect(bytes(of: memory, ram, 31) == [1, 28, 0] + queues + address)
        _ = try #require(page.add(PlayedDevice(.block)))
        let fields: [UInt8] =
            [0x41, 8] + (0..<8).map { 0xC0 + $0 } + [0x43, 4, 0xCC, 0xCD, 0xCE, 0xCF]
        #expect(bytes(of: memory, ram + 31, 2) == [2, 36])
        #expect(bytes(of: memory, ram + 31 + 3 + 20, 16) == fields)
        #expect(network.frameHeader == 8 && network.requestHeader == 24)
    }

    @Test("a ring's address is its bell, and the device interrupts on the ring's line")
    func bell() throws {
        for kind in [GuestABI.Devices.counted, .fields] {
            let memory = try makeMemory()
            let page = VirtioPage(at: ram, kind, in: memory)
            let device = PlayedDevice()
            let descriptor = try #require(page.add(device))
            var lines: [InterruptLine] = []
            descriptor.interruptLine = { lines.append($0) }
            offer(ram + 0x3000, size: 256, in: memory)
            #expect(!descriptor.notified(ram + 0x4000))
            #expect(!descriptor.notified(ram + 1))
            #expect(device.served == [])
            #expect(descriptor.notified(ram + 0x3000))
            #expect(device.served == [1] && lines == [2])
        }
    }

    @Test("features are those that were offered, told when they change")
    func features() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        let device = PlayedDevice()
        let descriptor = try #require(page.add(device))
        memory.store32(ram + 25, .max)
        memory.store32(ram + 4, 3 | (memory.load32(ram + 4) ?? 0))
        #expect(descriptor.notified(ram))
        #expect(descriptor.notified(ram))
        #expect(device.taken == [0x2A5])
    }

    @Test("with a status of 0 the guest begins anew: empty rings, no features")
    func reset() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        let device = PlayedDevice()
        let descriptor = try #require(page.add(device))
        memory.store32(ram + 25, 5)
        offer(ram + 0x1000, size: 8, in: memory)
        #expect(descriptor.notified(ram + 0x1000))
        #expect(device.served == [0])
        #expect(descriptor.notified(ram))
        #expect(device.resets == 1)
        #expect(bytes(of: memory, ram + 0x1000, 0x5000).allSatisfy { $0 == 0 })
        #expect(memory.load32(ram + 25) == 0)
        offer(ram + 0x1000, size: 8, in: memory)
        #expect(descriptor.notified(ram + 0x1000))
        #expect(device.served == [0, 0])
    }

    @Test(
        "2.6.25 notifies nothing but a reset, which zeroes its status; later drivers tell of theirs"
    )
    func untoldStatus() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        let device = PlayedDevice()
        let descriptor = try #require(page.add(device))
        func setStatus(_ status: UInt8) { memory.writable(memory.range(ram + 4, 1)!)[0] = status }
        // Both ways a driver begins: the device is registered.
        #expect(descriptor.notified(ram))
        #expect(device.resets == 1)
        setStatus(7)
        memory.store32(ram + 25, 5)
        offer(ram + 0x3000, size: 256, in: memory)
        #expect(descriptor.notified(ram + 0x3000))
        #expect(device.served == [1] && device.taken == [5])
        #expect(descriptor.notified(ram))
        #expect(device.resets == 2)
        #expect(bytes(of: memory, ram, 6) == [1, 2, 4, 20, 0, 8])
        #expect(memory.load32(ram + 25) == 0)
        #expect(bytes(of: memory, ram + 0x3000, 0x3000).allSatisfy { $0 == 0 })
        // 2.6.26 tells of each step, 3.4 of one before it is ready, and of failure.
        for steps in [[1, 3, 7, 7], [3, 0x87]] as [[UInt8]] {
            for step in steps {
                setStatus(step)
                #expect(descriptor.notified(ram))
                #expect(bytes(of: memory, ram + 4, 1) == [step])
            }
            setStatus(0)
            #expect(descriptor.notified(ram))
        }
        setStatus(0x83)
        #expect(descriptor.notified(ram))
        #expect(device.resets == 4)
    }

    @Test("a driver that has given up is not heard, nor one that breaks the rules")
    func failed() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        let device = PlayedDevice()
        let descriptor = try #require(page.add(device))
        offer(ram + 0x1000, size: 8, buffer: 0xFFFF_FFF0, in: memory)
        #expect(descriptor.notified(ram + 0x1000))
        #expect(device.served == [])
        #expect(descriptor.violation == .buffer)
        memory.writable(memory.range(ram + 4, 1)!)[0] = 0x83
        offer(ram + 0x3000, size: 256, in: memory)
        #expect(descriptor.notified(ram + 0x3000))
        #expect(device.served == [])
    }

    @Test(
        "a driver of 2.6.24 lends buffers before it takes interrupts: a frame that waited comes later"
    )
    func earlyRing() throws {
        for (kind, isEarly) in [(.fields, true), (.counted, false)]
            as [(GuestABI.Devices, Bool)]
        {
            let memory = try makeMemory()
            let page = VirtioPage(at: ram, kind, in: memory)
            let cable = PlayedCable()
            let card = VirtioNetwork(cable, address: HardwareAddress([2, 0, 0, 0, 0, 1]))
            let descriptor = try #require(page.add(card))
            var lines: [InterruptLine] = []
            descriptor.interruptLine = { lines.append($0) }
            card.handle(.readable, of: descriptor)
            #expect(card.watched.isEmpty)
            offer(ram + 0x1000, size: 256, in: memory)
            // To be filled.
            memory.store32(ram + 0x1000 + 12, 2)
            #expect(descriptor.notified(ram + 0x1000))
            if isEarly {
                #expect(card.watched == [7] && card.hasNewWatch)
                card.handle(.readable, of: descriptor)
                #expect(cable.frames == 1 && lines == [] && card.watched == [7])
                card.handle(.readable, of: descriptor)
            }
            #expect(cable.frames == 0 && lines == [1])
        }
    }

    @Test("devices that have no interrupt or no room left are none")
    func full() throws {
        let memory = try makeMemory()
        let page = VirtioPage(at: ram, .counted, in: memory)
        for _ in 0..<15 { _ = try #require(page.add(PlayedDevice())) }
        #expect(page.add(PlayedDevice()) == nil)
        let near = VirtioPage(at: 2 * ram - 0x3000, .counted, in: memory)
        #expect(near.add(PlayedDevice()) == nil)
    }
}
