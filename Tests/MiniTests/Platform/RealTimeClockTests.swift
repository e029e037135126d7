import Testing

@testable import Mini

private final class PlayedClock {
    private var clock = RealTimeClock()
    func read(_ register: UInt8, at seconds: UInt64, _ nanoseconds: UInt64 = 0) -> UInt8 {
        clock.select(register)
        return clock.read(Nanoseconds(count: seconds * 1_000_000_000 + nanoseconds))
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
            // The last second that nanoseconds in 64 bits can count.
            (18_446_744_072, [0x32, 0x34, 0x23, 0x01, 0x21, 0x07, 0x54, 0x25]),
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

    @Test("it is being updated in the last 2.2 ms of a second, and steps after that")
    func update() {
        let clock = PlayedClock()
        for (part, isUpdating) in [
            (0, false), (997_799_999, false), (997_800_000, true), (999_999_999, true),
            (1_000_000_000, false),
        ] as [(UInt64, Bool)] {
            #expect(clock.read(0x0A, at: 7, part) == (isUpdating ? 0xA6 : 0x26))
            #expect(clock.read(0x00, at: 7, part) == (part == 1_000_000_000 ? 8 : 7))
        }
        clock.write(0x0A, 0x7F)
        #expect(clock.read(0x0A, at: 7, 999_999_999) == 0xFF)
    }

    @Test("whatever a guest writes, it is not being updated for that, and its battery is good")
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
