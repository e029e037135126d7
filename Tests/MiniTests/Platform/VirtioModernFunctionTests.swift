// A device on the bus of an lguest guest of era 5, as its kernel finds and drives it: by ports alone. The guest is
// memory, and lies where it wants to.

import Foundation
import Testing

@testable import Mini

/// Gives every chain back, and remembers what it was told.
private final class PlayedDevice: VirtioDevice {
    let kind = VirtioKind.block
    let features: UInt32 = 0x205
    let queueSizes: [UInt16] = [8, 16]
    let configurationCount: UInt16 = 24
    var served: [Int] = []
    var taken: [UInt32] = []
    func configuration(_ offset: UInt16) -> UInt8 { UInt8(0xC0 + offset) }
    func take(_ features: UInt32) { taken.append(features) }
    func serve(_ queue: Int, of transport: VirtioTransport) {
        var chain = VirtqueueChain()
        while transport.next(queue, &chain) {
            served.append(queue)
            transport.give(queue, chain, written: 0)
        }
        transport.interrupt(queue)
    }
}

/// The driver's side: the bus's ports.
private final class Driver {
    let memory: GuestMemory
    let slots: LguestSlots
    let bus: LguestBus
    var lines: [UInt32] = []
    /// Where the BAR is.
    var base: UInt16 = 0
    private let number: UInt32

    init(_ devices: [any VirtioDevice], number: UInt32) throws {
        memory = try GuestMemory(count: 1 << 20)
        slots = LguestSlots(memory: memory)
        for device in devices { _ = try slots.connect(device) }
        bus = LguestBus(slots.functions)
        self.number = number
        for function in bus.functions {
            let line = UInt32(function.line)
            function.raiseLine = { [unowned self] in lines.append(line) }
        }
        base = UInt16(configuration(0x10, 4) & 0xFFFC)
    }

    func port(_ port: UInt16, _ size: UInt8) -> PortAccess { PortAccess(port: port, size: size) }
    func select(_ place: UInt8) {
        bus.write(port(0xCF8, 4), 0x8000_0000 | number << 11 | UInt32(place & 0xFC))
    }
    func configuration(_ place: UInt8, _ size: UInt8) -> UInt32 {
        select(place)
        let value = bus.read(port(0xCFC + UInt16(place & 3), size))
        return size == 4 ? value : value & (1 << (8 * UInt32(size)) - 1)
    }
    func configure(_ place: UInt8, _ size: UInt8, _ value: UInt32) {
        select(place)
        bus.write(port(0xCFC + UInt16(place & 3), size), value)
    }
    func read(_ offset: UInt16, _ size: UInt8) -> UInt32 { bus.read(port(base + offset, size)) }
    func write(_ offset: UInt16, _ size: UInt8, _ value: UInt32) {
        bus.write(port(base + offset, size), value)
    }

    /// As Linux does.
    func start(version: UInt32 = 1) {
        write(20, 1, 0)
        write(20, 1, 3)
        write(8, 4, 0)
        write(12, 4, .max)
        write(8, 4, 1)
        write(12, 4, version)
        write(20, 1, 0xB)
    }

    func place(_ queue: UInt32, _ table: UInt32, _ offer: UInt32, _ answer: UInt32) {
        write(22, 2, queue)
        for (offset, part) in [(32, table), (40, offer), (48, answer)] as [(UInt16, UInt32)] {
            write(offset, 4, part)
            write(offset + 4, 4, 0)
        }
        write(28, 2, 1)
    }
}

@Suite struct VirtioModernFunctionTests {
    @Test(
        "a driver that has given up is not heard, and what it says is not kept, until it begins anew"
    )
    func givenUp() throws {
        let device = PlayedDevice()
        let driver = try Driver([device], number: 1)
        driver.start()
        driver.write(20, 1, 0x83)
        driver.write(20, 1, 0xB)
        driver.write(56, 2, 0)
        #expect(driver.read(20, 1) == 0x83 && device.taken == [0x204] && device.served == [])
        driver.write(20, 1, 0)
        #expect(driver.read(20, 1) == 0)
    }

    @Test("the kernel finds the device of virtio 1.0, its list of capabilities and its line")
    func find() throws {
        let driver = try Driver([VirtioConsole(), PlayedDevice()], number: 2)
        #expect(driver.configuration(0, 4) == 0x1042_1AF4)
        #expect(driver.configuration(8, 4) == 0x0180_0001)
        #expect(driver.configuration(6, 2) & 0x10 != 0)
        #expect(driver.configuration(0x3C, 2) == 0x0102)
        var found: [UInt8: (offset: UInt32, count: UInt32)] = [:]
        var place = UInt8(driver.configuration(0x34, 1))
        while place != 0 && found.count < 9 {
            #expect(driver.configuration(place, 1) == 9)
            #expect(driver.configuration(place + 4, 1) == 0)
            found[UInt8(driver.configuration(place + 3, 1))] = (
                driver.configuration(place + 8, 4), driver.configuration(place + 12, 4)
            )
            place = UInt8(driver.configuration(place + 1, 1))
        }
        #expect(found.keys.sorted() == [1, 2, 3, 4, 5])
        #expect(found[1]! == (0, 56) && found[2]! == (56, 2) && found[3]! == (58, 1))
        #expect(found[4]! == (60, 24))
    }

    @Test("features are taken with version 1, and not without it")
    func features() throws {
        let device = PlayedDevice()
        let driver = try Driver([device], number: 1)
        #expect(driver.read(4, 4) == 0x204, "but for barriers, which nobody has there")
        driver.write(0, 4, 1)
        #expect(driver.read(4, 4) == 1)
        driver.write(0, 4, 2)
        #expect(driver.read(4, 4) == 0)
        driver.start(version: 0)
        #expect(driver.read(20, 1) == 3 && device.taken == [])
        driver.start()
        #expect(driver.read(20, 1) == 0xB && device.taken == [0x204])
    }

    @Test("queues lie where the driver wants them, are rung by number and interrupt on the line")
    func queues() throws {
        let device = PlayedDevice()
        let driver = try Driver([device], number: 1)
        driver.start()
        driver.write(22, 2, 1)
        #expect(driver.read(18, 2) == 2 && driver.read(24, 2) == 16 && driver.read(28, 2) == 0)
        driver.write(24, 2, 4)
        #expect(driver.read(24, 2) == 4)
        driver.place(1, 0x5000, 0x9100, 0x3200)
        #expect(driver.read(28, 2) == 1)
        driver.memory.store32(0x5000, 0x1000)
        driver.memory.store32(0x5008, 16)
        driver.memory.store32(0x9100, 1 << 16)
        driver.write(56, 2, 1)
        #expect(device.served == [1] && driver.lines == [1])
        #expect(driver.memory.load32(0x3200) == 1 << 16)
        // Reading takes the interrupt back.
        #expect(driver.read(58, 1) == 1 && driver.read(58, 1) == 0)
        // Without Bus Master nothing is taken.
        driver.configure(4, 2, 1)
        driver.memory.store32(0x9100, 2 << 16)
        driver.write(56, 2, 1)
        #expect(device.served == [1])
        driver.configure(4, 2, 5)
        driver.write(20, 1, 0)
        driver.memory.store32(0x9100, 2 << 16)
        driver.write(56, 2, 1)
        #expect(device.served == [1] && driver.read(24, 2) == 8)
    }

    @Test("a queue outside memory is none, numbers that do not exist lead nowhere")
    func violations() throws {
        let device = PlayedDevice()
        let driver = try Driver([device], number: 1)
        driver.start()
        driver.place(0, 0xFFFF_F000, 0x9000, 0x3000)
        #expect(driver.slots.functions[0].violation == .place)
        driver.write(22, 2, 7)
        #expect(driver.read(24, 2) == 0)
        driver.place(7, 0x1000, 0x2000, 0x3000)
        for size in [0, 3, 32] as [UInt32] {
            driver.write(22, 2, 1)
            driver.write(24, 2, size)
            #expect(driver.read(24, 2) == 16)
        }
        driver.write(56, 2, 0)
        driver.write(56, 2, 9)
        #expect(device.served == [])
        for offset in 0..<128 as Range<UInt16> {
            for size in [1, 2, 4] as [UInt8] {
                driver.write(offset, size, .max)
                _ = driver.read(offset, size)
            }
        }
        #expect(device.served == [])
    }

    @Test("a console that has no driver yet takes characters through the window")
    func emergency() throws {
        let console = VirtioConsole()
        let driver = try Driver([console], number: 1)
        #expect(driver.configuration(0, 4) == 0x1043_1AF4)
        for byte in "hi".utf8 {
            driver.configure(0x84 + 4, 1, 0)
            driver.configure(0x84 + 12, 4, 4)
            driver.configure(0x84 + 8, 4, 60 + 8)
            driver.configure(0x84 + 16, 4, UInt32(byte))
        }
        #expect(console.output == Array("hi".utf8))
        // A window that leads elsewhere.
        for offset in [64, 200, 0xFFFF, 0xFFFF_FFFF] as [UInt32] {
            driver.configure(0x84 + 8, 4, offset)
            driver.configure(0x84 + 16, 4, 0x41)
            _ = driver.configuration(0x84 + 16, 4)
        }
        #expect(console.output == Array("hi".utf8))
    }

    @Test("no keyboard controller, and ones where nothing is")
    func others() throws {
        let driver = try Driver([PlayedDevice()], number: 1)
        #expect(driver.bus.read(PortAccess(port: 0x64, size: 1)) == 1)
        #expect(driver.bus.read(PortAccess(port: 0x3F8, size: 1)) == .max)
        #expect(!driver.bus.isDue)
    }
}
