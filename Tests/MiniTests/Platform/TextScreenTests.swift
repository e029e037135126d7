import Testing

@testable import Mini

/// A kernel that writes to a screen as Linux does, and who reads it.
private final class Screen {
    let memory: GuestMemory
    var screen = TextScreen()
    var start = 0
    var cursor = 0

    init() throws { memory = try GuestMemory(count: 2 << 20) }

    private func put(_ byte: UInt8, at cell: Int) {
        let place = TextScreen.base + UInt32(cell % 0x4000) * 2
        let range = memory.range(place, 2)!
        unsafe memory.writable(range).copyBytes(from: [byte, 7])
    }

    /// Moves the beginning a row on, or the whole screen to the start of the memory.
    private func scroll() {
        if start + 26 * 80 > 0x4000 {
            let rows = unsafe Array(
                memory.readable(
                    memory.range(TextScreen.base + UInt32(start + 80) * 2, 24 * 160)!))
            unsafe memory.writable(memory.range(TextScreen.base, 24 * 160)!).copyBytes(from: rows)
            start = 0
        } else {
            start += 80
        }
        for column in 0..<80 { put(0x20, at: start + 24 * 80 + column) }
    }

    func write(_ text: String) {
        for byte in text.utf8 {
            switch byte {
            case 10:
                let row = (cursor - start) / 80
                if row == 24 {
                    scroll()
                    cursor = start + 24 * 80
                } else {
                    cursor = start + (row + 1) * 80
                }
            case 8: cursor -= 1
            default:
                put(byte, at: cursor)
                cursor += 1
            }
        }
        set(12, start >> 8)
        set(13, start)
        set(14, cursor >> 8)
        set(15, cursor)
    }

    func set(_ register: UInt8, _ value: Int) {
        #expect(write(0x3D4, register))
        #expect(write(0x3D5, UInt8(truncatingIfNeeded: value)))
    }

    func write(_ port: UInt16, _ byte: UInt8) -> Bool { screen.write(port, byte) }
    func read(_ port: UInt16) -> UInt8? { screen.read(port) }

    func look() -> String {
        var output: [UInt8] = []
        screen.look(memory, into: &output)
        return String(decoding: output, as: UTF8.self)
    }
}

@Suite struct TextScreenTests {
    @Test("what is written is told once, row by row, and a row without an end as far as it goes")
    func rows() throws {
        let guest = try Screen()
        #expect(guest.look() == "")
        guest.write("Linux version\nlogin: ")
        #expect(guest.look() == "Linux version\r\nlogin: ")
        #expect(guest.look() == "")
        guest.write("ro")
        guest.write("ot\nok\n")
        #expect(guest.look() == "root\r\nok\r\n")
    }

    @Test("a line of more than a row is told as a line")
    func wrapped() throws {
        let guest = try Screen()
        let long = String(repeating: "x", count: 80) + "tail"
        guest.write(long + "\n\nbehind\n")
        #expect(guest.look() == long + "\r\n\r\nbehind\r\n")
    }

    @Test("what has left the screen between two looks is told, too", arguments: [1, 7, 100])
    func scrolled(_ batch: Int) throws {
        let guest = try Screen()
        var told = ""
        var written = ""
        for line in 0..<1000 {
            guest.write("line \(line)\n")
            written += "line \(line)\r\n"
            if line % batch == batch - 1 { told += guest.look() }
        }
        told += guest.look()
        #expect(told == written)
    }

    @Test("where all of it was overwritten, what is there now is told from its beginning on")
    func lost() throws {
        let guest = try Screen()
        guest.write("a\nb\nc\nd\n")
        _ = guest.look()
        for line in 0..<250 { guest.write("line \(line)\n") }
        let told = guest.look()
        #expect(told.hasSuffix("line 249\r\n"))
        #expect(told.contains("line 240\r\n"))
    }

    @Test("a cursor that goes back has its row told again behind a carriage return")
    func back() throws {
        let guest = try Screen()
        guest.write("count 1")
        #expect(guest.look() == "count 1")
        guest.write("\u{8}")
        guest.write("2!")
        #expect(guest.look() == "!")
        guest.write("\u{8}\u{8}\u{8}")
        #expect(guest.look() == "\rcount")
    }

    @Test("a screen that is cleared begins a new line")
    func cleared() throws {
        let guest = try Screen()
        guest.write("one\ntwo\nthree")
        _ = guest.look()
        guest.cursor = guest.start
        guest.write("new ")
        #expect(guest.look() == "\r\nnew ")
    }

    @Test(
        "what a terminal would obey, and what is no ASCII, is a question mark; nothing is a space")
    func unprintable() throws {
        let guest = try Screen()
        guest.write("a\u{1B}[2J\u{0}b\u{7F}")
        #expect(guest.look() == "a?[2J b?")
    }

    @Test("the registers read as they were written; others are there and do nothing")
    func registers() throws {
        let screen = try Screen()
        for register in 12...15 as ClosedRange<UInt8> {
            #expect(screen.write(0x3D4, register))
            #expect(screen.write(0x3D5, register * 3))
            #expect(screen.read(0x3D4) == register)
            #expect(screen.read(0x3D5) == register * 3)
        }
        #expect(screen.write(0x3D4, 10) && screen.write(0x3D5, 0x20))
        #expect(screen.read(0x3D5) == 0)
        // Who waits for a retrace ends, and who waits for its end.
        let status = (0..<4).map { _ in screen.read(0x3DA) }
        #expect(status == [9, 0, 9, 0])
        #expect(screen.read(0x3D0) == nil)
        #expect(!screen.write(0x3D8, 1))
    }

    @Test("whatever registers and memory say, it ends and tells nothing from outside")
    func hostile() throws {
        var random = LongRandom(state: 0x5EED)
        let guest = try Screen()
        let range = try #require(guest.memory.range(TextScreen.base, 0x8000))
        for round in 0..<3000 {
            if round % 16 == 0 {
                let bytes = (0..<0x8000).map { _ in random.one([0, 0x20, 0x41, 0xFF] as [UInt8]) }
                unsafe guest.memory.writable(range).copyBytes(from: bytes)
            }
            for register in 12...15 as ClosedRange<UInt8> where random.chance(2) {
                guest.set(register, random.below(256))
            }
            let told = guest.look()
            #expect(told.utf8.count <= 0x4000 + 2 * 206 + 2)
            #expect(told.utf8.allSatisfy { $0 == 0x0D || $0 == 0x0A || (0x20..<0x7F).contains($0) })
        }
    }

    @Test("guest memory that ends below the screen has none")
    func small() throws {
        let memory = try GuestMemory(count: 0x4_0000)
        var screen = TextScreen()
        _ = screen.write(0x3D4, 14)
        _ = screen.write(0x3D5, 1)
        var output: [UInt8] = []
        screen.look(memory, into: &output)
        #expect(output.isEmpty)
    }
}
