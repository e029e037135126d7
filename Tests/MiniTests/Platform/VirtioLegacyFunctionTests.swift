import Foundation
import Testing

@testable import Mini

private func random() -> VirtioRandom { VirtioRandom { [UInt8](repeating: 7, count: $0) } }

@Suite struct VirtioLegacyFunctionTests {
    @Test(
        "each kind is known by its numbers on the bus",
        arguments: [
            (.network, 0x1000, 1), (.block, 0x1001, 2), (.console, 0x1003, 3), (.random, 0x1005, 4),
        ]
            as [(VirtioKind, UInt16, UInt16)])
    func identity(kind: VirtioKind, device: UInt16, subsystem: UInt16) {
        #expect(kind.identity.vendor == 0x1AF4 && kind.identity.device == device)
        #expect(kind.identity.subsystem == subsystem && kind.identity.revision == 0)
        #expect(kind.identity.classCode == kind.row.classCode && kind.row.classCode > 0xFFFF)
    }

    @Test("a driver finds queues by choosing them; one that is not there has no size")
    func queues() {
        let driver = VirtioDriver(random(), start: false)
        #expect(driver.size(0) == 8 && driver.size(1) == 0 && driver.size(0xFFFF) == 0)
        driver.write(0x08, 0x10, size: 4)
        #expect(driver.read(0x08, size: 4) == 0)
        #expect(driver.read(0x0E, size: 2) == 0xFFFF)
    }

    @Test("features are taken from those that are offered")
    func features() throws {
        let driver = VirtioDriver(random())
        #expect(driver.read(0x00, size: 4) == 0)
        driver.write(0x04, .max, size: 4)
        #expect(driver.read(0x04, size: 4) == 0)
    }

    @Test("reading the interrupts' register clears it and drops the line")
    func interrupt() {
        let driver = VirtioDriver(random())
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.pc.platform.isInterruptRequested)
        #expect(driver.read(0x13, size: 1) == 1 && driver.read(0x13, size: 1) == 0)
        #expect(!driver.pc.platform.isInterruptRequested)
    }

    @Test("without Bus Master it leaves memory alone, until that or a driver's status has it on")
    func master() {
        let driver = VirtioDriver(random())
        driver.pc.configure(1, 0x04, 0x0001, size: 2)
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).isEmpty && driver.bytes(0x40000, 1) == [0])
        driver.function.interrupt(0)
        #expect(driver.read(0x13, size: 1) == 0)
        driver.pc.configure(1, 0x04, 0x0005, size: 2)
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.written } == [8])
        // An old driver, behind one that has taken it off.
        driver.pc.configure(1, 0x04, 0x0001, size: 2)
        for (status, command) in [(0, 0x0001), (1, 0x0001), (3, 0x0005)] as [(UInt32, UInt32)] {
            driver.write(0x12, status, size: 1)
            #expect(driver.pc.configuration(1, 0x04, size: 2) == command)
        }
        driver.start()
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.written } == [8])
    }

    @Test("status 0 forgets queues, features and interrupts")
    func reset() {
        let driver = VirtioDriver(random())
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        driver.write(0x12, 0, size: 1)
        #expect(driver.read(0x12, size: 1) == 0 && driver.read(0x08, size: 4) == 0)
        #expect(!driver.pc.platform.isInterruptRequested)
        driver.start()
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.written } == [8])
    }

    @Test(
        "a driver is heard before it says that it is ready, but neither after a reset nor when it has given up"
    )
    func heard() {
        let driver = VirtioDriver(random())
        for status in [1, 3, 7] as [UInt32] {
            driver.write(0x12, status, size: 1)
            driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
            driver.ring(0)
            #expect(driver.takeUsed(0).count == 1)
        }
        driver.write(0x12, 0x87, size: 1)
        driver.write(0x12, 7, size: 1)
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).isEmpty && driver.read(0x12, size: 1) == 0x87)
        driver.start()
        driver.write(0x12, 0, size: 1)
        driver.ring(0)
        driver.ring(1)
        driver.ring(0xFFFF)
        #expect(driver.takeInterrupt() == nil)
    }

    @Test("accesses of other sizes do nothing")
    func sizes() {
        let driver = VirtioDriver(random())
        for size in [1, 2, 4] as [UInt8] {
            for offset in 0..<(64 - UInt16(size)) where offset != 0x12 || size != 1 {
                if size == 2 && offset == 0x0E || size == 4 && offset == 8 { continue }
                driver.write(offset, 0x4040_4040, size: size)
                _ = driver.read(offset, size: size)
            }
        }
        driver.add(0, [.init(address: 0x40000, count: 8, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).count == 1)
    }

    @Test("random numbers fill what was lent, up to a page at a time")
    func numbers() {
        let driver = VirtioDriver(random())
        driver.add(
            0,
            [
                .init(address: 0x40000, count: 3, isWritable: true),
                .init(address: 0x40010, count: 2, isWritable: true),
            ])
        driver.add(0, [.init(address: 0x40020, count: 0x20000, isWritable: true)])
        driver.add(0, [.init(address: 0x40020, count: 4)])
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.written } == [5, 4096, 0])
        #expect(driver.bytes(0x40000, 4) == [7, 7, 7, 0] && driver.bytes(0x40010, 3) == [7, 7, 0])
    }

    @Test("without random numbers buffers wait, and none comes back empty")
    func none() {
        var isThere = false
        let device = VirtioRandom { isThere ? [UInt8](repeating: 7, count: $0) : nil }
        let driver = VirtioDriver(device)
        for _ in 0..<2 { driver.add(0, [.init(address: 0x40000, count: 3, isWritable: true)]) }
        driver.ring(0)
        #expect(driver.takeUsed(0).isEmpty && device.hasRequest)
        #expect(!driver.pc.platform.isInterruptRequested)
        isThere = true
        device.serve(0, of: driver.function)
        #expect(driver.takeUsed(0).map { $0.written } == [3, 3])
        #expect(!device.hasRequest)
    }

    @Test("a driver that begins anew waits for no random numbers any more")
    func noneAnyMore() {
        let device = VirtioRandom { _ in nil }
        let driver = VirtioDriver(device)
        driver.add(0, [.init(address: 0x40000, count: 3, isWritable: true)])
        driver.ring(0)
        driver.start()
        device.serve(0, of: driver.function)
        #expect(driver.takeUsed(0).isEmpty && !device.hasRequest)
    }
}
