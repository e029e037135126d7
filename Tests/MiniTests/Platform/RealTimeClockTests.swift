import Testing

@testable import Mini

private final class PlayedClock {
    private var clock = RealTimeClock()
    private static let second: UInt64 = 1_000_000_000
    /// Since the start of 1970, and since that of the other clock.
    var time = Nanoseconds(count: 0)
    var now: Nanoseconds { time + Self.start }
    private static let start = Nanoseconds(count: 5_123_456_789)

    func read(_ register: UInt8, at seconds: UInt64, _ nanoseconds: UInt64 = 0) -> UInt8 {
        time = Nanoseconds(count: seconds * Self.second + nanoseconds)
        return read(register)
    }
    func read(_ register: UInt8) -> UInt8 {
        clock.select(register)
        return clock.read(time, now)
    }
    func write(_ register: UInt8, _ value: UInt8) {
        clock.select(register)
        let time = self.time
        clock.write(value, { time }, now)
    }

    // MARK: The interrupt

    var asks: Bool { clock.isInterruptRequested }
    /// Nanoseconds until it wants to be called; nil for never.
    var left: UInt64? { clock.nextEvent.map { ($0 - now).count } }

    func set(second: UInt64, _ nanoseconds: UInt64 = 0) {
        time = Nanoseconds(count: second * Self.second + nanoseconds)
    }
    /// Lets time pass at once.
    func pass(_ nanoseconds: UInt64) -> Bool {
        time = time + Nanoseconds(count: nanoseconds)
        let time = self.time
        return clock.advance(to: now, { time })
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

    // MARK: Flags and the interrupt

    @Test("flags rise although nobody is to be interrupted, and reading takes them away")
    func polled() {
        let clock = PlayedClock()
        for register in [1, 3, 5] as [UInt8] { clock.write(register, 0xFF) }
        clock.set(second: 7, 999_000_000)
        #expect(clock.read(0x0C) == 0x70 && clock.read(0x0C) == 0)
        #expect(clock.read(0x0C, at: 7, 999_999_999) == 0x40)
        #expect(clock.read(0x0C, at: 8) == 0x70 && clock.read(0x0C, at: 8) == 0)
        // Once, however often.
        #expect(clock.read(0x0C, at: 1000) == 0x70)
        #expect(clock.left == nil && !clock.asks)
        // The host's clock was set back.
        #expect(clock.read(0x0C, at: 500) == 0 && clock.read(0x0C, at: 501) == 0x70)
        #expect(clock.left == nil && !clock.pass(1_000_000_000))
    }

    @Test("an update is told when the second begins, and again only if register C was read")
    func updateInterrupt() {
        let clock = PlayedClock()
        clock.set(second: 7, 400_000_000)
        clock.write(0x0B, 0x12)
        #expect(clock.left == 600_000_000 && !clock.asks)
        // Woken too early it waits for the rest.
        #expect(!clock.pass(599_999_999) && clock.left == 1)
        #expect(clock.pass(1) && clock.asks && clock.left == nil)
        #expect(!clock.pass(5_000_000_000) && clock.asks && clock.left == nil)
        #expect(clock.read(0x0C) & 0x90 == 0x90)
        #expect(!clock.asks && clock.left == 1_000_000_000)
        clock.write(0x0B, 0x02)
        #expect(clock.left == nil)
    }

    @Test("a flag that has risen asks as soon as it may, and no more when it may not")
    func late() {
        let clock = PlayedClock()
        clock.set(second: 7)
        _ = clock.read(0x0C)
        clock.set(second: 8)
        clock.write(0x0B, 0x12)
        #expect(clock.asks && clock.left == nil)
        clock.write(0x0B, 0x02)
        #expect(!clock.asks && clock.left == nil)
        clock.write(0x0B, 0x12)
        #expect(clock.asks && clock.read(0x0C) & 0x80 != 0)
    }

    @Test(
        "an alarm goes at its time, in every form, and at any where a part of it does not matter",
        arguments: [
            // Now it is 15:47:10.
            (0x02, [0x11, 0x47, 0x15], 1), (0x02, [0x10, 0x47, 0x15], 86_400),
            (0x02, [0x00, 0x00, 0x16], 770), (0x02, [0x00, 0x00, 0x00], 29_570),
            (0x06, [11, 47, 15], 1), (0x00, [0x11, 0x47, 0x83], 1),
            (0x04, [0, 0, 0x84], 770), (0x00, [0x00, 0x00, 0x12], 29_570),
            (0x02, [0xC0, 0xFF, 0xC0], 1), (0x02, [0x09, 0xC0, 0xC0], 59),
            (0x02, [0xC0, 0x00, 0xC0], 770), (0x02, [0x59, 0x46, 0xFF], 3589),
            (0x02, [0x09, 0x47, 0x15], 86_399), (0x02, [0xC0, 0xC0, 0x14], 79_970),
        ] as [(UInt8, [UInt8], UInt64)])
    func alarm(form: UInt8, parts: [UInt8], seconds: UInt64) {
        let clock = PlayedClock()
        clock.set(second: 951_782_400 + 15 * 3600 + 47 * 60 + 10)
        clock.write(0x0B, form)
        for (index, part) in parts.enumerated() { clock.write(UInt8(2 * index + 1), part) }
        _ = clock.read(0x0C)
        clock.write(0x0B, form | 0x20)
        var passed: UInt64 = 0
        while let left = clock.left, passed <= 90_000_000_000_000 {
            #expect(left > 0 && left <= 60_000_000_000)
            passed += left
            #expect(clock.pass(left) == clock.asks)
        }
        #expect(clock.asks && passed == seconds * 1_000_000_000)
        #expect(clock.read(0x0C) & 0xA0 == 0xA0)
        #expect(!clock.asks && clock.left != nil)
    }

    @Test(
        "an alarm at no time never goes, and nobody is woken to look for it",
        arguments: [
            [0x60, 0x00, 0x00], [0x00, 0x7F, 0xC0], [0xC0, 0xC0, 0x24], [0xBF, 0xC0, 0xC0],
        ]
            as [[UInt8]])
    func neverAlarm(parts: [UInt8]) {
        let clock = PlayedClock()
        for (index, part) in parts.enumerated() { clock.write(UInt8(2 * index + 1), part) }
        clock.write(0x0B, 0x22)
        #expect(clock.left == nil)
        #expect(clock.read(0x0C, at: 1_000_000) & 0x20 == 0)
    }

    @Test("an alarm is found when the host's clock was set on, or the host slept")
    func jump() {
        let clock = PlayedClock()
        for register in [1, 3, 5] as [UInt8] { clock.write(register, 0) }
        clock.set(second: 1)
        clock.write(0x0B, 0x22)
        #expect(clock.left == 60_000_000_000)
        #expect(clock.pass(2 * 86_400_000_000_000) && clock.asks)
    }

    @Test(
        "the periodic flag rises as often as register A says",
        arguments: [
            (1, 3_906_250), (2, 7_812_500), (3, 122_071), (4, 244_141), (6, 976_563),
            (14, 250_000_000), (15, 500_000_000),
        ] as [(UInt8, UInt64)])
    func periodic(rate: UInt8, period: UInt64) {
        let clock = PlayedClock()
        clock.write(0x0A, 0x20 | rate)
        clock.write(0x0B, 0x42)
        #expect(clock.left == period)
        #expect(!clock.pass(period - 1) && clock.pass(1) && clock.asks)
        #expect(clock.read(0x0C) == 0xC0 && !clock.asks)
        // The second one is a whole number of ticks from the beginning, too.
        let left = clock.left ?? 0
        #expect(left == period || left == period - 1)
        clock.write(0x0A, 0x20)
        #expect(clock.left == nil)
    }

    @Test("a clock that is being set tells no update and no alarm")
    func isSet() {
        let clock = PlayedClock()
        for register in [1, 3, 5] as [UInt8] { clock.write(register, 0xC0) }
        clock.set(second: 7)
        _ = clock.read(0x0C)
        clock.write(0x0B, 0x32)
        clock.write(0x0B, 0xB2)
        #expect(clock.read(0x0B) == 0xA2 && clock.left == nil)
        #expect(clock.read(0x0C, at: 20) == 0x40)
        clock.write(0x0B, 0x32)
        #expect(clock.left == 1_000_000_000)
        #expect(clock.pass(1_000_000_000) && clock.read(0x0C) == 0xF0)
    }

    @Test("at the end of time it waits as ever")
    func end() {
        let clock = PlayedClock()
        for register in [1, 3, 5] as [UInt8] { clock.write(register, 0) }
        clock.time = Nanoseconds(count: .max)
        for rate in 0..<16 as Range<UInt8> {
            clock.write(0x0A, rate)
            for enabled in [0x10, 0x20, 0x40, 0x70] as [UInt8] {
                clock.write(0x0B, enabled)
                _ = clock.read(0x0C)
            }
        }
        clock.write(0x0B, 0)
        #expect(clock.left == nil)
    }

    /// A clock, and what has become of the flag that is told when a second begins.
    private struct Held {
        var clock = RealTimeClock()
        var second: UInt64 = 7
        var hasRisen = false

        var time: Nanoseconds { Nanoseconds(count: second * 1_000_000_000) }

        mutating func write(_ value: UInt8) {
            let time = self.time
            clock.select(0x0B)
            clock.write(value, { time }, time)
        }
        mutating func read() {
            clock.select(0x0C)
            _ = clock.read(time, time)
            hasRisen = false
        }
        mutating func pass() {
            second += 1
            hasRisen = true
            let time = self.time
            _ = clock.advance(to: time, { time })
        }
    }

    @Test("its page shows the transitions that it makes")
    func page() throws {
        // The first look tells nothing of what was before.
        var start = Held()
        start.read()
        let walk = Walk(
            from: [start],
            [("B asks", 0), ("B asks no more", 1), ("a second begins", 2), ("C is read", 3)],
            name: { "\($0.clock.stateName)" },
            key: { "\($0.clock.stateName) \($0.hasRisen)" },
            step: { (held: Held, event: Int) in
                var next = held
                switch event {
                case 0: next.write(0x12)
                case 1: next.write(0x02)
                case 2: next.pass()
                default: next.read()
                }
                return [next]
            })
        let moves = walk.transitions.filter { $0.wholeMatch(of: #/(\w+) --> \1: .*/#) == nil }
        #expect(try transitionsOfPage("clock-interrupt-machine.md") == moves)
    }
}
