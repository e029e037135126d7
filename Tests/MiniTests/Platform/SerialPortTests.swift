import Testing

@testable import Mini

private final class Port {
    private var port = SerialPort()
    var isInterruptRequested: Bool { port.isInterruptRequested }
    var output: [UInt8] { port.output }
    var hasRoom: Bool { port.hasRoom }
    func read(_ register: UInt8) -> UInt8 { port.read(register) }
    func write(_ register: UInt8, _ value: UInt8) { port.write(register, value) }
    func feed(_ byte: UInt8) -> Bool { port.feed(byte) }
    var isTakenFromKernel: Bool { port.isTakenFromKernel }
    func takeOutput(into bytes: inout [UInt8]) { port.takeOutput(into: &bytes) }
    /// What was sent.
    func taken() -> String {
        var bytes: [UInt8] = []
        port.takeOutput(into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A port as Linux has it while a terminal is open: FIFO of trigger level 8, interrupts, OUT2.
private func open(_ enable: UInt8 = 0x05) -> Port {
    let port = Port()
    port.write(2, 0x81)
    port.write(4, 0x0B)
    port.write(1, enable)
    return port
}

@Suite struct SerialPortTests {
    @Test(
        "what a kernel's console sends, with interrupts off, is told from what a terminal's driver does"
    )
    func fromKernel() {
        let port = open()
        port.write(0, UInt8(ascii: "a"))
        #expect(port.taken() == "a" && !port.isTakenFromKernel)
        // The kernel's console.
        port.write(1, 0)
        port.write(0, UInt8(ascii: "b"))
        port.write(1, 5)
        #expect(port.taken() == "b" && port.isTakenFromKernel)
        // One behind the other, and taken at once.
        port.write(1, 0)
        port.write(0, UInt8(ascii: "c"))
        port.write(1, 7)
        port.write(0, UInt8(ascii: "d"))
        #expect(port.taken() == "cd" && !port.isTakenFromKernel)
        #expect(port.taken() == "" && port.isTakenFromKernel)
    }

    @Test("the probe of Linux finds a 16550A and nothing newer")
    func probe() {
        let port = Port()
        port.write(1, 0)
        #expect(port.read(1) == 0)
        port.write(1, 0x0F)
        #expect(port.read(1) & 0x0F == 0x0F)
        port.write(1, 0)
        port.write(4, 0x1A)
        #expect(port.read(6) & 0xF0 == 0x90)
        port.write(4, 0)
        #expect(port.read(6) & 0xF0 == 0xB0)
        port.write(2, 1)
        #expect(port.read(2) & 0xC0 == 0xC0)
        // A 16650 would have another register here, and that would be 0.
        port.write(3, 0xBF)
        #expect(port.read(2) != 0)
        // A 16750 would show its deeper FIFO.
        port.write(3, 0x80)
        port.write(2, 0x21)
        #expect(port.read(2) & 0x20 == 0)
        #expect(port.read(5) == 0x60)
        port.write(7, 0x5A)
        #expect(port.read(7) == 0x5A)
    }

    @Test("the divisor is behind bit 7 of the line control, and sends nothing")
    func divisor() {
        let port = Port()
        port.write(3, 0x83)
        port.write(0, 0x01)
        port.write(1, 0x02)
        #expect(port.read(0) == 1 && port.read(1) == 2)
        port.write(3, 0x03)
        #expect(port.read(3) == 0x03 && port.read(1) == 0)
        #expect(port.output.isEmpty)
    }

    @Test("bytes that the guest sends can be taken, in order")
    func output() {
        let port = Port()
        for byte in "Linux version 6\n".utf8 { port.write(0, byte) }
        #expect(port.taken() == "Linux version 6\n")
        #expect(port.taken() == "")
    }

    @Test("that the transmitter is empty is told when it is asked for, each time")
    func transmitter() {
        let port = open(0)
        #expect(!port.isInterruptRequested && port.read(2) == 0xC1)
        for _ in 0..<2 {
            port.write(1, 0x02)
            #expect(port.isInterruptRequested)
            #expect(port.read(2) == 0xC2)
            #expect(!port.isInterruptRequested && port.read(2) == 0xC1)
            port.write(1, 0)
        }
        port.write(1, 0x02)
        _ = port.read(2)
        port.write(0, 65)
        #expect(port.isInterruptRequested && port.read(2) == 0xC2)
    }

    @Test("a full output stops the transmitter until it is taken")
    func full() {
        let port = open(0x02)
        for _ in 0..<SerialPort.outputRoom { port.write(0, 65) }
        #expect(port.read(5) & 0x60 == 0)
        #expect(!port.isInterruptRequested)
        port.write(0, 66)
        #expect(port.output.count == SerialPort.outputRoom)
        #expect(!port.taken().contains("B"))
        #expect(port.read(5) & 0x60 == 0x60)
        #expect(port.isInterruptRequested && port.read(2) == 0xC2)
    }

    @Test("input interrupts at once, by its trigger level or by time, until it is read")
    func input() {
        let port = open()
        #expect(!port.isInterruptRequested)
        #expect(port.feed(65))
        #expect(port.isInterruptRequested && port.read(2) == 0xCC)
        for _ in 0..<7 { #expect(port.feed(66)) }
        #expect(port.read(2) == 0xC4)
        #expect(port.read(5) == 0x61)
        #expect(port.read(0) == 65)
        for _ in 0..<7 { #expect(port.isInterruptRequested && port.read(0) == 66) }
        #expect(!port.isInterruptRequested && port.read(5) == 0x60)
    }

    @Test("the receiver has room for 16 bytes with its FIFO and for one without")
    func room() {
        let port = open()
        for number in 0..<16 as Range<UInt8> { #expect(port.feed(number)) }
        #expect(!port.hasRoom && !port.feed(99))
        #expect(port.read(0) == 0 && port.hasRoom)
        port.write(2, 0x83)
        #expect(port.read(5) & 1 == 0)
        port.write(2, 0)
        #expect(port.feed(1) && !port.feed(2))
        #expect(port.read(2) == 0x04)
        #expect(port.read(5) & 2 == 0)
    }

    @Test("RTS that is lowered holds input back, of a guest that has raised it")
    func requestToSend() {
        let port = open()
        #expect(port.hasRoom)
        port.write(4, 0x09)
        #expect(!port.hasRoom && !port.feed(65))
        // Reading does not change that.
        _ = port.read(5)
        #expect(!port.hasRoom)
        port.write(4, 0x0B)
        #expect(port.feed(65) && port.read(0) == 65)
        // Closed it forgets.
        port.write(4, 0x09)
        port.write(4, 0)
        #expect(port.hasRoom)
        port.write(4, 0x09)
        #expect(port.hasRoom)
        // A probe in a loop back has raised nothing.
        port.write(4, 0x1A)
        #expect(!port.hasRoom)
        port.write(4, 0x09)
        #expect(port.hasRoom)
    }

    @Test("nothing comes in while a driver starts, before it wants to be told of bytes")
    func deaf() {
        let port = Port()
        #expect(!port.hasRoom && !port.feed(65))
        for value in [7, 0, 1] as [UInt8] { port.write(2, value) }
        for register in [5, 0, 2, 6, 5, 0, 2, 6] as [UInt8] { _ = port.read(register) }
        #expect(!port.hasRoom && !port.feed(65))
        port.write(1, 0x05)
        #expect(port.feed(65) && port.read(0) == 65)
        port.write(1, 0x02)
        #expect(!port.hasRoom)
    }

    @Test("a guest that looks for bytes three times, and does nothing else, gets them")
    func polled() {
        let port = Port()
        port.write(2, 0x81)
        func poll() {
            for _ in 0..<3 {
                #expect(!port.hasRoom)
                _ = port.read(5)
            }
            #expect(port.hasRoom)
        }
        poll()
        #expect(port.feed(65) && port.feed(66))
        #expect(port.read(5) & 1 == 1 && port.read(0) == 65)
        #expect(port.hasRoom && port.read(0) == 66 && port.hasRoom)
        for register in [1, 2, 3, 4, 6, 7] as [UInt8] {
            _ = port.read(register)
            poll()
        }
        for register in [0, 1, 7] as [UInt8] {
            port.write(register, 0)
            poll()
        }
    }

    @Test("a loop back gives the guest what it sends, and asks nobody for an interrupt")
    func loop() {
        let port = open(0x0F)
        port.write(4, 0x1A)
        port.write(0, 77)
        #expect(!port.isInterruptRequested && !port.hasRoom)
        #expect(port.read(5) & 1 == 1 && port.read(0) == 77)
        for _ in 0..<17 { port.write(0, 78) }
        #expect(port.read(2) == 0xC6)
        #expect(port.read(5) & 2 == 2 && port.read(5) & 2 == 0)
        port.write(2, 0x83)
        port.write(4, 0x0B)
        _ = port.read(2)
        #expect(port.isInterruptRequested && port.read(2) == 0xC0)
        #expect(port.read(6) & 0x0F != 0 && port.read(6) & 0x0F == 0)
        #expect(port.output.isEmpty)
    }

    @Test("no interrupt leaves it without OUT2")
    func gate() {
        let port = open()
        _ = port.feed(65)
        port.write(4, 0x03)
        #expect(!port.isInterruptRequested)
        port.write(4, 0x0B)
        #expect(port.isInterruptRequested)
    }

    @Test("output is handed over without an allocation for each time")
    func handover() {
        let port = Port()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(SerialPort.outputRoom)
        var places: Set<UInt> = []
        for _ in 0..<100 {
            for _ in 0..<100 { port.write(0, 65) }
            port.takeOutput(into: &bytes)
            bytes.withUnsafeBytes { _ = places.insert(UInt(bitPattern: $0.baseAddress)) }
        }
        #expect(places.count == 2)
    }
}
