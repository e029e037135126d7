import Testing

@testable import Mini

/// A function that keeps what is written to it.
final class PlayedFunction: PCIFunction {
    let identity = PCIIdentity(
        vendor: 0x1AF4, device: 0x1001, classCode: 0x01_8000, subsystemVendor: 0x1AF4, subsystem: 2)
    let portCount: UInt16
    var interruptLevel = false
    var isMaster = true
    var written: [(offset: UInt16, size: UInt8, value: UInt32)] = []
    var accesses = 0

    init(ports: UInt16 = 64) { portCount = ports }

    func readPort(_ offset: UInt16, _ size: UInt8) -> UInt32 {
        precondition(offset + UInt16(size) <= portCount)
        accesses += 1
        return 0x1234_5600 | UInt32(offset)
    }
    func writePort(_ offset: UInt16, _ size: UInt8, _ value: UInt32) {
        precondition(offset + UInt16(size) <= portCount)
        accesses += 1
        written.append((offset, size, value))
    }
}

extension PlayedPC {
    func select(_ device: UInt32, _ register: UInt32) {
        out(0xCF8, 0x8000_0000 | device << 11 | register & 0xFC, size: 4)
    }
    func configuration(_ device: UInt32, _ register: UInt32, size: UInt8 = 4) -> UInt32 {
        select(device, register)
        return read(0xCFC + UInt16(register & 3), size: size)
    }
    func configure(_ device: UInt32, _ register: UInt32, _ value: UInt32, size: UInt8 = 4) {
        select(device, register)
        out(0xCFC + UInt16(register & 3), value, size: size)
    }
}

@Suite struct PCIBusTests {
    @Test("the probe of mechanism 1 finds it, and a host bridge")
    func probe() {
        let pc = PlayedPC()
        pc.out(0xCFB, 0x01)
        #expect(pc.read(0xCF8, size: 4) == 0)
        pc.out(0xCF8, 0x8000_0000, size: 4)
        #expect(pc.read(0xCF8, size: 4) == 0x8000_0000)
        #expect(pc.configuration(0, 0) == 0x1237_8086)
        #expect(pc.configuration(0, 0x0A, size: 2) == 0x0600)
        #expect(pc.configuration(0, 0x0E, size: 1) == 0)
        #expect(pc.configuration(0, 0x10) == 0)
    }

    @Test("where nobody is all ones are read: another bus, function, device; bit 31 off")
    func absent() {
        let pc = PlayedPC([PlayedFunction()])
        for address in [0x8001_0800, 0x8000_0900, 0x8000_1000, 0x8000_F800, 0x0000_0800] as [UInt32]
        {
            pc.out(0xCF8, address, size: 4)
            #expect(pc.read(0xCFC, size: 4) == .max)
            pc.out(0xCFC, 0, size: 4)
        }
        #expect(pc.configuration(1, 0) == 0x1001_1AF4)
    }

    @Test("a function says what it is, where its ports are, and which line its pin is on")
    func header() {
        let pc = PlayedPC((0..<6).map { _ in PlayedFunction() })
        #expect(pc.configuration(1, 0x08) == 0x0180_0000)
        #expect(pc.configuration(1, 0x2C) == 0x0002_1AF4)
        #expect(pc.configuration(1, 0x04, size: 2) == 0x0005)
        #expect(
            (1...6).map { pc.configuration($0, 0x10) } == [
                0x1001, 0x1101, 0x1201, 0x1301, 0x1401, 0x1501,
            ])
        #expect((1...6).map { pc.configuration($0, 0x3C, size: 1) } == [11, 10, 9, 5, 11, 10])
        #expect(pc.configuration(1, 0x3D, size: 1) == 1)
        #expect(pc.configuration(1, 0x34) == 0)
    }

    @Test("a BAR tells its size, moves, and is off without bit 0 of the command")
    func bar() {
        let function = PlayedFunction()
        let pc = PlayedPC([function])
        pc.configure(1, 0x10, .max)
        #expect(pc.configuration(1, 0x10) == 0xFFFF_FFC1)
        pc.configure(1, 0x14, .max)
        #expect(pc.configuration(1, 0x14) == 0)
        pc.configure(1, 0x10, 0xC000)
        #expect(pc.read(0x1000, size: 4) == .max)
        #expect(pc.read(0xC004, size: 4) == 0x1234_5604)
        #expect(pc.read(0xC004, size: 2) == 0x5604 && pc.read(0xC004) == 0x04)
        pc.configure(1, 0x04, 0, size: 2)
        #expect(pc.read(0xC004, size: 4) == .max)
        pc.out(0xC004, 1, size: 4)
        #expect(function.written.isEmpty)
        pc.configure(1, 0x04, 1, size: 1)
        pc.out(0xC004, 0xABCD, size: 2)
        #expect(function.written.count == 1 && function.written[0] == (4, 2, 0xABCD))
    }

    @Test("registers are written in bytes and words, too, and what is fixed stays")
    func parts() {
        let pc = PlayedPC([PlayedFunction()])
        pc.configure(1, 0x3C, 0x0A, size: 1)
        #expect(pc.configuration(1, 0x3C, size: 2) == 0x010A)
        pc.configure(1, 0x04, 0xFFFF, size: 2)
        #expect(pc.configuration(1, 0x04, size: 2) == 0x0547)
        pc.configure(1, 0x11, 0x20, size: 1)
        #expect(pc.configuration(1, 0x10) == 0x2001)
        for register in [0x00, 0x08, 0x2C] as [UInt32] {
            let before = pc.configuration(1, register)
            pc.configure(1, register, .max)
            #expect(pc.configuration(1, register) == before)
        }
        #expect(pc.configuration(1, 0xFC) == 0)
    }

    @Test("Bus Master is on from the start, and the function is told when it is switched")
    func master() {
        let functions = [PlayedFunction(), PlayedFunction()]
        let pc = PlayedPC(functions)
        pc.configure(2, 0x04, 0x0001, size: 2)
        #expect(functions[0].isMaster && !functions[1].isMaster)
        #expect(pc.configuration(2, 0x04, size: 2) == 0x0001)
        // The other byte of the command, and the status, are not it.
        pc.configure(2, 0x05, 0x04, size: 1)
        pc.configure(2, 0x06, 0x0004, size: 2)
        #expect(!functions[1].isMaster && functions[0].isMaster)
        pc.configure(2, 0x04, 0x05, size: 1)
        #expect(functions[1].isMaster)
        functions[1].isMaster = false
        #expect(pc.configuration(2, 0x04, size: 1) == 0x01)
        // The bridge's is nobody's.
        pc.configure(0, 0x04, 0, size: 2)
        #expect(functions[0].isMaster)
    }

    @Test("a function's level is its line's, whatever was written to the register that names it")
    func interrupt() {
        let functions = [
            PlayedFunction(), PlayedFunction(), PlayedFunction(), PlayedFunction(),
            PlayedFunction(),
        ]
        let pc = PlayedPC(functions)
        pc.setUpInterrupts()
        pc.configure(1, 0x3C, 0x0C, size: 1)
        functions[0].interruptLevel = true
        #expect(!pc.platform.isInterruptRequested)
        pc.platform.raiseLines()
        #expect(pc.takeInterrupt() == 11 && pc.takeInterrupt() == 11)
        #expect(pc.configuration(1, 0x06, size: 2) == 0x0008)
        // Two on one line: it falls when both are served.
        functions[4].interruptLevel = true
        functions[0].interruptLevel = false
        pc.platform.raiseLines()
        #expect(pc.takeInterrupt() == 11)
        functions[4].interruptLevel = false
        _ = pc.read(0x1400, size: 1)
        #expect(pc.takeInterrupt() == nil)
        functions[3].interruptLevel = true
        pc.platform.raiseLines()
        #expect(pc.takeInterrupt() == 5)
        pc.configure(4, 0x04, 0x0401, size: 2)
        #expect(pc.takeInterrupt() == nil)
    }
}
