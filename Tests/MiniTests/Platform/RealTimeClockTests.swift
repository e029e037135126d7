import Testing

@testable import Mini

private final class PlayedClock {
    private var clock = RealTimeClock()
    func read(_ register: UInt8, at time: UInt64) -> UInt8 {
        clock.select(register)
        return clock.read(time)
    }
    func write(_ register: UInt8, _ value: UInt8) {
        clock.select(register)
        clock.write(value)
    }
}

@Suite struct RealTimeClockTests {
    @Test(
        "a moment has its date, in decimal digits",
        arguments: [
            (0, [0x00, 0x00, 0x00, 0x05, 0x01, 0x01, 0x70, 0x19]),
            (951_782_399, [0x59, 0x59, 0x23, 0x02, 0x28, 0x02, 0x00, 0x20]),
            (951_782_400, [0x00, 0x00, 0x00, 0x03, 0x29, 0x02, 0x00, 0x20]),
            (1_893_456_000, [0x00, 0x00, 0x00, 0x03, 0x01, 0x01, 0x30, 0x20]),
            (4_107_542_400, [0x00, 0x00, 0x00, 0x02, 0x01, 0x03, 0x00, 0x21]),
            (UInt64.max, [0x59, 0x59, 0x23, 0x06, 0x31, 0x12, 0x99, 0x99]),
        ] as [(UInt64, [UInt8])])
    func dates(time: UInt64, wanted: [UInt8]) {
        let clock = PlayedClock()
        #expect([0, 2, 4, 6, 7, 8, 9, 0x32].map { clock.read($0, at: time) } == wanted)
    }

    @Test("hours of two halves and binary numbers, if register B says so")
    func forms() {
        let clock = PlayedClock()
        let afternoon: UInt64 = 15 * 3600 + 47 * 60
        #expect(clock.read(4, at: afternoon) == 0x15)
        clock.write(0x0B, 0x06)
        #expect(clock.read(4, at: afternoon) == 15 && clock.read(2, at: afternoon) == 47)
        clock.write(0x0B, 0x00)
        #expect(clock.read(4, at: afternoon) == 0x83)
        #expect(clock.read(4, at: 0) == 0x12 && clock.read(4, at: 12 * 3600) == 0x92)
    }

    @Test("it is never being updated, whatever a guest writes, and its battery is good")
    func status() {
        let clock = PlayedClock()
        #expect(clock.read(0x0A, at: 0) == 0x26 && clock.read(0x0B, at: 0) == 0x02)
        clock.write(0x0A, 0xFF)
        #expect(clock.read(0x0A, at: 0) & 0x80 == 0)
        for register in 0..<128 as Range<UInt8> { clock.write(register, 0xFF) }
        #expect(clock.read(0x0C, at: 0) == 0 && clock.read(0x0D, at: 0) == 0x80)
        #expect(clock.read(0x0A, at: 0) & 0x80 == 0)
    }

    @Test("the bit for NMI is no part of the register's number; memory keeps what it was given")
    func memory() {
        let clock = PlayedClock()
        clock.write(0x40, 0x99)
        #expect(clock.read(0xC0, at: 0) == 0x99)
        #expect(clock.read(0x8D, at: 0) == 0x80)
    }
}
