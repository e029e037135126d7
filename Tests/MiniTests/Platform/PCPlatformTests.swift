import Testing

@testable import Mini

@Suite struct PCPlatformTests {
    @Test(
        "ports where nothing is read as ones, of every size",
        arguments: [0x2F9, 0x3E9, 0x60, 0x2E, 0x4F, 0x87, 0xA79, 0x92 + 1, 0xFFFF] as [UInt16])
    func absent(port: UInt16) {
        let pc = PlayedPC()
        #expect(pc.read(port) == 0xFF)
        if port < 0xFFF0 && port != 0x60 && port != 0x2E {
            #expect(pc.read(port, size: 2) == 0xFFFF)
        }
        pc.out(port, 0xFF)
        #expect(pc.platform.end == nil)
    }

    @Test("the timer's tick comes through the controller as vector 30, once a period")
    func tick() {
        let pc = PlayedPC()
        pc.setUpInterrupts()
        pc.out(0x43, 0x34)
        pc.out(0x40, 0xA5)
        pc.out(0x40, 0x12)
        var ticks = 0
        for _ in 0..<250 {
            pc.wait(.milliseconds(4))
            while let number = pc.takeInterrupt() {
                #expect(number == 0)
                ticks += 1
            }
        }
        #expect((249...250).contains(ticks))
    }

    @Test(
        "an interrupt that is due before the guest writes to the timer is not lost by that",
        arguments: [0x30, 0x34, 0x38] as [UInt32])
    func tickBeforeWrite(mode: UInt32) {
        // A latch, the same count once more, and a control word: all come after the rise, and before anybody looks.
        let words: [[(UInt16, UInt32)]] = [
            [(0x43, 0x00)], [(0x40, 0xA5), (0x40, 0x12)], [(0x43, mode)],
        ]
        for written in words {
            let pc = PlayedPC()
            pc.setUpInterrupts()
            pc.out(0x43, mode)
            for value in [0xA5, 0x12] as [UInt32] { pc.out(0x40, value) }
            pc.now = pc.now + .milliseconds(5)
            for (port, value) in written { pc.out(port, value) }
            #expect(pc.takeInterrupt() == 0, "mode \(mode), \(written)")
            #expect(pc.takeInterrupt() == nil)
        }
    }

    /// A guest that waits for its timer, once in 4 ms, for 1200 ms.
    /// - Parameters:
    ///   - mode: how the timer is set each time; nil if it goes on by itself.
    ///   - work: what else it does.
    /// - Returns: by how much it was woken too late at the end, and how many ticks it got.
    private func ticking(
        _ mode: UInt32?, ranProgram: Bool = false, work: (PlayedPC) -> Void = { _ in }
    ) -> (late: Nanoseconds, ticks: Int) {
        let pc = PlayedPC()
        pc.setUpInterrupts()
        pc.out(0x43, mode ?? 0x34)
        for value in [0xA5, 0x12] as [UInt32] { pc.out(0x40, value) }
        let end = pc.now + .milliseconds(1200)
        var late = Nanoseconds(count: 0)
        var ticks = 0
        while pc.now < end, let event = pc.platform.nextEvent,
            let moment = pc.platform.wakeTime(at: pc.now, ranProgram: ranProgram)
        {
            late = moment - event
            pc.now = moment
            pc.platform.advance(to: moment)
            while pc.takeInterrupt() != nil { ticks += 1 }
            work(pc)
            pc.out(0x80, 0)
            if mode != nil { for value in [0xA5, 0x12] as [UInt32] { pc.out(0x40, value) } }
        }
        return (late, ticks)
    }

    @Test(
        "a guest that only ticks is woken late, if it sets each tick",
        arguments: [0x30, 0x38] as [UInt32])
    func lateTick(mode: UInt32) {
        let (late, ticks) = ticking(mode)
        #expect(late >= .milliseconds(20) && late <= .milliseconds(21))
        #expect((251...270).contains(ticks))
    }

    @Test("no tick is late of a timer that goes on by itself: its guest counts them")
    func countedTick() {
        let (late, ticks) = ticking(nil)
        #expect(late == Nanoseconds(count: 0))
        #expect((299...300).contains(ticks))
    }

    @Test("none is of a guest that does anything else: a program, a port, an alarm of the clock's")
    func tickOfMore() {
        let works: [(PlayedPC) -> Void] = [
            { _ = $0.read(0x3FD) }, { $0.out(0x60, 0) }, { _ = $0.read(0xCFC, size: 4) },
            { $0.out(0xCF8, 0x8000_0800, size: 4) },
            // Bit 4 of register B: an interrupt with each second.
            { if $0.platform.nextEvent == nil { $0.out(0x70, 0x0B); $0.out(0x71, 0x12) } },
        ]
        for (index, work) in works.enumerated() {
            #expect(ticking(0x38, work: work).late == Nanoseconds(count: 0), "\(index)")
        }
        #expect(ticking(0x38, ranProgram: true).late == Nanoseconds(count: 0))
    }

    @Test("a byte for the serial port comes as interrupt 4, which ends when it is read")
    func serial() {
        let pc = PlayedPC()
        pc.setUpInterrupts()
        pc.out(0x3FC, 0x0B)
        pc.out(0x3F9, 0x01)
        #expect(pc.feed(65))
        #expect(pc.takeInterrupt() == 4)
        #expect(pc.read(0x3F8) == 65)
        #expect(pc.takeInterrupt() == nil)
        // Between the two the handler is in service: a byte that comes meanwhile is a new edge.
        #expect(pc.feed(66) && pc.takeInterrupt() == 4)
        pc.out(0x3F8, 0x78)
        var bytes: [UInt8] = []
        pc.platform.serial.takeOutput(into: &bytes)
        #expect(bytes == [0x78])
    }

    @Test(
        "the reset registers end it, by one byte with the right bits",
        arguments: [(0x64, 0xFE), (0xCF9, 0x06), (0xCF9, 0x0E), (0x92, 0x03)] as [(UInt16, UInt32)])
    func reset(port: UInt16, value: UInt32) {
        let pc = PlayedPC()
        pc.out(port, value)
        #expect(pc.platform.end == .reset)
        pc.out(0x501, 3)
        #expect(pc.platform.end == .reset)
    }

    @Test(
        "other words there do not, nor do wider writes that cover them",
        arguments: [
            (0x64, 0x20, 1), (0xCF9, 0x02, 1), (0x92, 0x02, 1), (0xCF8, 0x8000_FFFF, 4),
            (0xCF9, 0x0606, 2), (0x64, 0xFEFE, 2), (0x500, 0x0707, 2), (0x60, 0xFE, 1),
        ] as [(UInt16, UInt32, UInt8)])
    func noReset(port: UInt16, value: UInt32, size: UInt8) {
        let pc = PlayedPC()
        pc.out(port, value, size: size)
        #expect(pc.platform.end == nil)
    }

    @Test(
        "a program's code ends it with that code, and the first end counts",
        arguments: [0, 1, 255] as [UInt8])
    func exit(code: UInt8) {
        let pc = PlayedPC()
        pc.out(0x501, UInt32(code))
        #expect(pc.platform.end == .exit(code))
        pc.out(0x64, 0xFE)
        #expect(pc.platform.end == .exit(code))
    }

    @Test("the keyboard controller is none, at once, and is ready for the word that resets")
    func keyboard() {
        let pc = PlayedPC()
        // A driver reads bytes for as long as there are any, gives up after some, and says that there is no controller.
        for _ in 0..<100 {
            #expect(pc.read(0x64) & 1 == 1)
            _ = pc.read(0x60)
        }
        #expect(pc.read(0x64) & 2 == 0)
    }

    @Test("the clock tells the time that it is given")
    func clock() {
        let pc = PlayedPC(time: 951_782_400)
        pc.out(0x70, 0x87)
        #expect(pc.read(0x71) == 0x29)
    }

    @Test(
        "the clock's alarm comes as interrupt 8 at its second, which ends when register C is read")
    func alarm() {
        let pc = PlayedPC(time: 951_782_395)
        func set(_ register: UInt32, _ value: UInt32) {
            pc.out(0x70, register)
            pc.out(0x71, value)
        }
        pc.setUpInterrupts()
        #expect(pc.platform.nextEvent == nil)
        // 00:00:00, in five seconds.
        for register in [1, 3, 5] as [UInt32] { set(register, 0) }
        #expect(pc.platform.nextEvent == nil)
        set(0x0B, 0x22)
        pc.wait(.milliseconds(4999))
        #expect(pc.takeInterrupt() == nil)
        pc.wait(.milliseconds(1))
        #expect(pc.takeInterrupt() == 8)
        #expect(pc.takeInterrupt() == nil && pc.platform.nextEvent == nil)
        pc.out(0x70, 0x0C)
        #expect(pc.read(0x71) == 0xF0 && pc.read(0x71) == 0)
        // The next is a day away; it is looked for once a minute.
        #expect(pc.platform.nextEvent == pc.now + .milliseconds(60_000))
        pc.wait(.milliseconds(86_400_000 - 1))
        #expect(pc.takeInterrupt() == nil)
        pc.wait(.milliseconds(1))
        #expect(pc.takeInterrupt() == 8)
        // Off it is off.
        set(0x0B, 0x02)
        pc.out(0x70, 0x0C)
        #expect(pc.read(0x71) == 0x70)
        #expect(pc.platform.nextEvent == nil)
    }

    @Test("a guest that takes all that the clock can interrupt has 8192 a second and no more")
    func fastClock() {
        let pc = PlayedPC(time: 951_782_400)
        pc.setUpInterrupts()
        for (register, value) in [(0x0A, 0x23), (0x0B, 0x72)] as [(UInt32, UInt32)] {
            pc.out(0x70, register)
            pc.out(0x71, value)
        }
        pc.out(0x70, 0x0C)
        let end = pc.now + .milliseconds(1000)
        var count = 0
        while let event = pc.platform.nextEvent, event <= end {
            pc.now = event
            pc.platform.advance(to: event)
            #expect(pc.takeInterrupt() == 8)
            #expect(pc.read(0x71) & 0xC0 == 0xC0)
            count += 1
            guard count <= 8192 else { break }
        }
        #expect(count == 8192)
        // Without that it is not woken for those that follow.
        pc.wait(.milliseconds(1))
        #expect(pc.takeInterrupt() == 8 && pc.platform.nextEvent == nil)
        pc.wait(.milliseconds(1000))
        #expect(pc.takeInterrupt() == nil)
    }

    @Test(
        "a guest that writes everything everywhere harms nobody", arguments: 0..<4 as Range<UInt64>)
    func hostile(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let functions = (0..<5).map { PlayedFunction(ports: 16 << UInt16($0 & 1)) }
        let pc = PlayedPC(functions, time: random.next() >> 30)
        let ports: [ClosedRange<UInt16>] = [
            0x20...0x21, 0xA0...0xA1, 0x40...0x43, 0x60...0x64, 0x70...0x71, 0x3F8...0x3FF,
            0x4D0...0x4D1, 0xCF8...0xCFF, 0x1000...0x14FF, 0...0xFFFF,
        ]
        var bytes: [UInt8] = []
        var vectors: Set<UInt8> = []
        for _ in 0..<100_000 {
            let word = random.next()
            let port = ports[Int(word & 0xFF) % ports.count].randomElement(using: &random)!
            let size = [1, 1, 1, 2, 4][Int(word >> 8 & 0xFF) % 5] as UInt8
            switch word >> 16 & 7 {
            case 0...2: pc.out(port, UInt32(truncatingIfNeeded: random.next()), size: size)
            case 3, 4:
                let value = pc.read(port, size: size)
                #expect(size == 4 || value >> (8 * UInt32(size)) == 0)
            case 5: pc.wait(Nanoseconds(count: random.next() >> (40 + random.next() % 20)))
            case 6:
                functions[Int(word >> 24 & 3)].interruptLevel = word & 0x800_0000 != 0
                pc.platform.raiseLines()
                _ = pc.feed(UInt8(truncatingIfNeeded: word >> 32))
            default:
                if pc.platform.isInterruptRequested {
                    vectors.insert(pc.platform.acknowledgeInterrupt())
                }
                pc.platform.serial.takeOutput(into: &bytes)
                #expect(bytes.count <= SerialPort.outputRoom)
            }
            if let event = pc.platform.nextEvent {
                // The clock's alarm is the last of them.
                #expect(event > pc.now && event - pc.now <= .milliseconds(60_000))
            }
        }
        #expect(vectors.count > 8)
        #expect(functions.contains { $0.accesses > 0 })
        // Set up again it is as good as new.
        for number in 0..<5 as Range<UInt32> {
            functions[Int(number)].interruptLevel = false; pc.configure(number + 1, 4, 0)
        }
        pc.platform.raiseLines()
        pc.out(0x3F9, 0)
        pc.out(0x43, 0x34)
        pc.setUpInterrupts()
        while pc.takeInterrupt() != nil {}
        pc.out(0x40, 0xA5)
        pc.out(0x40, 0x12)
        pc.wait(.milliseconds(5))
        #expect(pc.takeInterrupt() == 0)
    }
}
