import Testing

@testable import Mini

/// Nanoseconds of so many ticks.
private func ticks(_ count: UInt64) -> Nanoseconds { TimerTicks.moment(of: count) }

/// A timer at a moment, in ticks.
private final class Bench {
    var timer = IntervalTimer()
    /// Far from the clock's beginning, as on a machine that has been up for long.
    static let start: UInt64 = 1_193_182 * 1_000_000
    var tick: UInt64 = start

    var now: Nanoseconds { ticks(tick) }
    func out(_ port: UInt16, _ values: UInt8...) {
        for value in values { timer.write(port, value, now) }
    }
    func read(_ port: UInt16) -> UInt8 { timer.read(port, now) ?? 0xAA }
    func count(_ channel: UInt16) -> Int {
        let low = read(0x40 + channel)
        return Int(low) | Int(read(0x40 + channel)) << 8
    }
    func advance() -> Bool { timer.advance(to: now) }
    /// Ticks from now until the next event.
    var next: UInt64? { timer.nextEvent.map { TimerTicks.at($0) - tick } }
    var output: Bool { read(0x61) & 0x20 != 0 }
}

@Suite struct IntervalTimerTests {
    @Test("ticks and moments agree at both ends of the clock")
    func units() {
        for tick in [0, 1, 2, 1_193_181, 1_193_182, Bench.start, Bench.start + 12_345] as [UInt64] {
            #expect(TimerTicks.at(ticks(tick)) == tick)
            if tick > 0 { #expect(TimerTicks.at(ticks(tick) - Nanoseconds(count: 1)) == tick - 1) }
        }
        _ = TimerTicks.at(Nanoseconds(count: .max))
        #expect(ticks(1_193_182) == .milliseconds(1000))
    }

    @Test("mode 2 rises once a period, as a kernel wants its 250 a second")
    func periodic() {
        let bench = Bench()
        #expect(bench.next == nil)
        bench.out(0x43, 0x34)
        bench.out(0x40, 0xA5)
        #expect(bench.next == nil)
        bench.out(0x40, 0x12)
        #expect(bench.next == 4773)
        bench.tick += 4772
        #expect(!bench.advance())
        bench.tick += 1
        #expect(bench.advance())
        #expect(!bench.advance())
        #expect(bench.next == 4773)
        // Late by a period and a half: told once, and then in step again.
        bench.tick += 4773 + 2386
        #expect(bench.advance())
        #expect(bench.next == 2387)
    }

    @Test(
        "of a guest that counts them no rise gets lost, for a minute; they come half a period apart"
    )
    func owed() {
        let bench = Bench()
        bench.timer.tellsAll = true
        bench.out(0x43, 0x34)
        bench.out(0x40, 0xA5, 0x12)
        let begin = bench.tick
        // Ten periods and a third: ten rises.
        bench.tick += 47_730 + 1591
        var told = 0
        while bench.tick < begin + 4773 * 100 {
            if bench.advance() {
                told += 1
                #expect(!bench.advance())
                #expect(bench.next.map { $0 >= 2386 && $0 <= 4773 } ?? false)
            }
            bench.tick += bench.next ?? 0
        }
        // It is in step again.
        #expect((bench.tick - begin) % 4773 == 0 && told == Int((bench.tick - begin) / 4773) - 1)
        #expect(bench.advance() && bench.next == 4773)
        // Of an hour the last minute comes.
        bench.tick += 3600 * TimerTicks.frequency
        told = 0
        while bench.advance(), bench.next != 4773, told < 100_000 {
            told += 1
            bench.tick += bench.next ?? 0
        }
        #expect((29_000...31_000).contains(told))
        // A count forgives.
        bench.tick += 4773 * 10
        #expect(bench.advance())
        bench.out(0x40, 0xA5, 0x12)
        #expect(bench.next == 4773)
    }

    @Test("mode 4 rises once, a tick after its count, and again for every count that is written")
    func oneShot() {
        let bench = Bench()
        bench.out(0x43, 0x38)
        for count in [0x0F, 0x7FFF] as [UInt64] {
            bench.out(0x40, UInt8(truncatingIfNeeded: count), UInt8(count >> 8))
            #expect(bench.next == count + 1)
            bench.tick += count + 1
            #expect(bench.advance())
            #expect(bench.next == nil)
            bench.tick += 70_000
            #expect(!bench.advance())
        }
    }

    @Test("a control word stops the channel until there is a count")
    func stop() {
        let bench = Bench()
        bench.out(0x43, 0x34)
        bench.out(0x40, 0xA5, 0x12)
        bench.out(0x43, 0x30)
        #expect(bench.next == nil)
        bench.out(0x40, 0, 0)
        #expect(bench.next == 65_536)
    }

    @Test("a count is latched as it is, and read in two bytes")
    func latch() {
        let bench = Bench()
        bench.out(0x43, 0x34)
        bench.out(0x40, 0xA5, 0x12)
        bench.tick += 0x205
        bench.out(0x43, 0x00)
        bench.tick += 100
        #expect(bench.count(0) == 0x12A5 - 0x205)
        #expect(bench.count(0) == 0x12A5 - 0x205 - 100)
        bench.tick += 4773 * 1000
        #expect(bench.count(0) == 0x12A5 - 0x205 - 100)
    }

    @Test(
        "a latch takes back no rise that is due, nor does a read-back",
        arguments: [(0x30, 0x00), (0x34, 0x00), (0x38, 0x00), (0x30, 0xC2)] as [(UInt8, UInt8)])
    func latchOfWhatIsDue(mode: UInt8, word: UInt8) {
        let bench = Bench()
        bench.out(0x43, mode)
        bench.out(0x40, 0xA5, 0x12)
        bench.tick += 4775
        bench.out(0x43, word)
        #expect(bench.advance())
        #expect(!bench.advance())
    }

    @Test("channel 2 counts while its gate is high, and port 61 shows when it is through")
    func calibration() {
        let bench = Bench()
        bench.out(0x61, 0x01)
        bench.out(0x43, 0xB0)
        bench.out(0x42, 0xFF, 0xFF)
        var last = 0xFFFF + 1
        for _ in 0..<100 {
            let count = bench.count(2)
            #expect(count < last)
            last = count
            bench.tick += 7
        }
        bench.out(0x61, 0x00)
        let held = bench.count(2)
        bench.tick += 1000
        #expect(bench.count(2) == held)
        #expect(!bench.output)
        bench.out(0x61, 0x01)
        bench.tick += UInt64(held)
        #expect(bench.output)
        // A count of 10 ms, as the slow calibration has it.
        bench.out(0x43, 0xB0)
        bench.out(0x42, 0x9C, 0x2E)
        bench.tick += 0x2E9B
        #expect(!bench.output)
        bench.tick += 1
        #expect(bench.output)
    }

    @Test("port 61 keeps two bits and its refresh bit changes")
    func control() {
        let bench = Bench()
        bench.out(0x61, 0xFF)
        #expect(bench.read(0x61) & 0x0F == 3)
        var seen: Set<UInt8> = []
        for _ in 0..<100 {
            seen.insert(bench.read(0x61) & 0x10)
            bench.tick += 10
        }
        #expect(seen == [0, 0x10])
    }

    @Test("mode 3 is high for the first half of each period")
    func square() {
        let bench = Bench()
        bench.out(0x61, 0x01)
        bench.out(0x43, 0xB6)
        bench.out(0x42, 101, 0)
        var high = 0
        for _ in 0..<1010 {
            if bench.output { high += 1 }
            bench.tick += 1
        }
        #expect(high == 510)
        bench.out(0x43, 0x36)
        bench.out(0x40, 0, 0)
        #expect(bench.next == 65_536)
    }

    @Test("modes 1 and 5 begin when the gate rises")
    func triggered() {
        let bench = Bench()
        for (word, end) in [(0xB2, 1000), (0xBA, 1001)] as [(UInt8, UInt64)] {
            bench.out(0x61, 0)
            bench.out(0x43, word)
            bench.out(0x42, 0xE8, 0x03)
            #expect(bench.output)
            bench.tick += 5000
            bench.out(0x61, 1)
            bench.tick += end - 1
            #expect(!bench.output)
            bench.tick += 1
            #expect(bench.output)
        }
        // Channel 0's gate is always high and never rises.
        bench.out(0x43, 0x32)
        bench.out(0x40, 10, 0)
        #expect(bench.next == nil)
    }

    @Test("a read-back latches how channels stand, and their counts")
    func readBack() {
        let bench = Bench()
        bench.out(0x43, 0x34, 0xE2)
        #expect(bench.read(0x40) == 0xF4)
        bench.out(0x40, 0xA5, 0x12)
        bench.tick += 5
        bench.out(0x43, 0xC2)
        bench.tick += 5
        #expect(bench.read(0x40) == 0xB4)
        #expect(bench.count(0) == 0x12A0)
        #expect(bench.count(0) == 0x129B)
    }

    @Test("one byte at a time, and decimal counts")
    func orders() {
        let bench = Bench()
        bench.out(0x43, 0x14)
        bench.out(0x40, 200)
        #expect(bench.next == 200 && bench.read(0x40) == 200)
        bench.out(0x43, 0x24)
        bench.out(0x40, 2)
        #expect(bench.next == 512 && bench.read(0x40) == 2)
        bench.out(0x43, 0x35)
        bench.out(0x40, 0x34, 0x12)
        #expect(bench.next == 1234)
        bench.tick += 34
        #expect(bench.count(0) == 0x1200)
        bench.out(0x43, 0x35)
        bench.out(0x40, 0, 0)
        #expect(bench.next == 10_000)
    }

    @Test("a guest that wants a million interrupts a second gets some ten thousand")
    func fastest() {
        let bench = Bench()
        bench.out(0x43, 0x34)
        for count in [1, 2, 119] as [UInt64] {
            bench.out(0x40, UInt8(count), 0)
            #expect(bench.next! >= 120 && bench.next! % count == 0)
        }
        bench.out(0x40, 120, 0)
        #expect(bench.next == 120)
    }

    @Test("the page shows when a channel counts")
    func page() throws {
        let events: [(name: String, event: (inout TimerChannel) -> Void)] = [
            ("control word", { $0.setMode(0x34) }),
            (
                "count",
                {
                    $0.write(5, 100); $0.write(0, 100)
                }
            ),
            ("gate rises", { $0.setGate(true, 200) }), ("gate falls", { $0.setGate(false, 200) }),
        ]
        var start = TimerChannel(isGateHigh: true)
        start.setMode(0x34)
        let walk = Walk(
            from: [start], events, name: { "\($0.stateName)" }, key: { "\($0)" },
            step: { (channel: TimerChannel, event: (inout TimerChannel) -> Void) in
                var next = channel
                event(&next)
                return "\(next)" == "\(channel)" ? [] : [next]
            })
        let taken = walk.transitions.filter { !$0.contains("gate") || !$0.contains("stopped") }
            .filter {
                $0 != "running --> running: count" && $0 != "held --> held: count"
                    && !$0.hasPrefix("stopped --> stopped")
            }
        #expect(try transitionsOfPage("timer-channel-machine.md") == taken)
    }
}
