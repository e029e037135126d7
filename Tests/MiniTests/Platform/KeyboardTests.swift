import Testing

@testable import Mini

/// A keyboard that several hold.
private final class Board {
    private var keyboard = Keyboard()
    var status: UInt8 { keyboard.status }
    var hasRoom: Bool { keyboard.hasRoom }
    var isInterruptRequested: Bool { keyboard.isInterruptRequested }
    func type(_ byte: UInt8) { keyboard.type(byte) }
    func read() -> UInt8 { keyboard.read() }
    func write(_ byte: UInt8) { keyboard.write(byte) }
    func writeCommand(_ byte: UInt8) { keyboard.writeCommand(byte) }

    /// All that waits.
    func readAll() -> [UInt8] {
        var bytes: [UInt8] = []
        while status & 1 != 0 { bytes.append(read()) }
        return bytes
    }

    /// One that a driver uses.
    static func used() -> Board {
        let board = Board()
        board.write(0xF4)
        #expect(board.readAll() == [0xFA])
        return board
    }
}

@Suite struct KeyboardTests {

    @Test(
        "a byte is a key pressed and released, with shift or control around it where it wants them",
        arguments: [
            ("a", [0x1E, 0x9E]), ("A", [0x2A, 0x1E, 0x9E, 0xAA]), ("1", [0x02, 0x82]),
            ("!", [0x2A, 0x02, 0x82, 0xAA]), ("?", [0x2A, 0x35, 0xB5, 0xAA]), ("/", [0x35, 0xB5]),
            ("\r", [0x1C, 0x9C]), ("\n", [0x1D, 0x24, 0xA4, 0x9D]), (" ", [0x39, 0xB9]),
            ("\t", [0x0F, 0x8F]), ("\u{7F}", [0x0E, 0x8E]), ("\u{1B}", [0x01, 0x81]),
            ("\u{3}", [0x1D, 0x2E, 0xAE, 0x9D]), ("\u{1C}", [0x1D, 0x2B, 0xAB, 0x9D]),
            ("~", [0x2A, 0x29, 0xA9, 0xAA]), ("\\", [0x2B, 0xAB]), ("z", [0x2C, 0xAC]),
            ("\"", [0x2A, 0x28, 0xA8, 0xAA]), ("\u{0}", []), ("\u{1F}", []),
        ] as [(String, [UInt8])])
    func types(_ text: String, _ codes: [UInt8]) {
        let keyboard = Board.used()
        keyboard.type(text.utf8.first!)
        #expect(keyboard.readAll() == codes)
        keyboard.type(0xC3)
        #expect(keyboard.readAll().isEmpty)
    }

    @Test("every byte that can be seen is a key of its own")
    func printable() {
        var all: [[UInt8]] = []
        for byte in 0x20..<0x7F as Range<UInt8> {
            let keyboard = Board.used()
            keyboard.type(byte)
            let codes = keyboard.readAll()
            #expect(codes.count == 2 || codes.count == 4)
            #expect(!all.contains(codes))
            all.append(codes)
        }
    }

    @Test("keys wait until a driver uses it, and until it has room")
    func room() {
        var keyboard = Board()
        #expect(!keyboard.hasRoom)
        keyboard.type(0x61)
        #expect(keyboard.readAll().isEmpty)
        keyboard = Board.used()
        var count = 0
        while keyboard.hasRoom {
            keyboard.type(0x41)
            count += 1
        }
        #expect(count == 8)
        keyboard.type(0x61)
        #expect(keyboard.readAll().count == 32)
        #expect(keyboard.hasRoom)
    }

    @Test("a driver finds a keyboard that knows itself, and no mouse")
    func probe() {
        let keyboard = Board()
        #expect(keyboard.status == 0x14)
        keyboard.writeCommand(0xAA)
        #expect(keyboard.readAll() == [0x55])
        keyboard.writeCommand(0x20)
        #expect(keyboard.readAll() == [0x65])
        keyboard.writeCommand(0xAB)
        #expect(keyboard.readAll() == [0])
        // The mouse's port would give back what it gets, or pass its test.
        keyboard.writeCommand(0xD3)
        keyboard.write(0x5A)
        #expect(keyboard.readAll() == [0xA5])
        keyboard.writeCommand(0xA9)
        #expect(keyboard.readAll() == [1])
        keyboard.write(0xF2)
        #expect(keyboard.readAll() == [0xFA, 0xAB, 0x41])
        keyboard.write(0xFF)
        #expect(keyboard.readAll() == [0xFA, 0xAA])
        for byte in [0xED, 2, 0xF3, 0, 0xF4] as [UInt8] {
            keyboard.write(byte)
            #expect(keyboard.readAll() == [0xFA])
        }
    }

    @Test("it interrupts where the command byte wants that, and its controller can be off")
    func interrupts() {
        let keyboard = Board.used()
        keyboard.type(0x61)
        #expect(keyboard.isInterruptRequested)
        keyboard.writeCommand(0x60)
        keyboard.write(0x64)
        #expect(!keyboard.isInterruptRequested && keyboard.status & 1 == 1)
        keyboard.writeCommand(0xAD)
        #expect(keyboard.status & 1 == 0 && keyboard.read() == 0)
        // What is asked comes before what waits.
        keyboard.writeCommand(0x20)
        #expect(keyboard.read() == 0x74)
        keyboard.writeCommand(0xAE)
        #expect(keyboard.readAll() == [0x1E, 0x9E])
    }

    @Test("a platform with a screen has both, and each byte of a key is an interrupt")
    func platform() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let platform = PCPlatform(memory: memory, functions: [], screen: true) {
            Nanoseconds(count: 0)
        }
        func write(_ port: UInt16, _ byte: UInt8) {
            platform.output(
                PortAccess(port: port, size: 1), UInt32(byte), at: Nanoseconds(count: 0))
        }
        func read(_ port: UInt16) -> UInt32 {
            platform.input(PortAccess(port: port, size: 1), at: Nanoseconds(count: 0))
        }
        // ICW1 to ICW4 from vector 20 on, with an end by itself; line 1 open.
        for (port, byte) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 3), (0x21, 0xFD)]
            as [(UInt16, UInt8)]
        {
            write(port, byte)
        }
        #expect(platform.hasKeyRoom == false)
        write(0x60, 0xF4)
        #expect(platform.isInterruptRequested)
        #expect(platform.acknowledgeInterrupt() == 0x21)
        #expect(read(0x60) == 0xFA)
        #expect(!platform.isInterruptRequested)
        #expect(platform.hasKeyRoom == true)
        platform.type(0x41)
        for code in [0x2A, 0x1E, 0x9E, 0xAA] as [UInt32] {
            #expect(platform.acknowledgeInterrupt() == 0x21)
            #expect(read(0x64) == 0x15)
            #expect(read(0x60) == code)
        }
        #expect(!platform.isInterruptRequested)
        #expect(platform.end == nil)
        write(0x64, 0xFE)
        #expect(platform.end == .reset)
    }

    @Test("a platform without a screen has neither")
    func none() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let platform = PCPlatform(memory: memory, functions: []) { Nanoseconds(count: 0) }
        for (port, value) in [(0x60, 0xFF), (0x64, 0xFD), (0x3D4, 0xFF), (0x3DA, 0xFF)]
            as [(UInt16, UInt32)]
        {
            let access = PortAccess(port: port, size: 1)
            platform.output(access, 0x20, at: Nanoseconds(count: 0))
            #expect(platform.input(access, at: Nanoseconds(count: 0)) == value)
        }
        #expect(platform.hasKeyRoom == nil)
    }
}
