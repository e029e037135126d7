import Testing

@testable import Mini

/// A processor whose exits are written down before, and which notes what its user does.
private final class PlayedProcessor: GuestProcessor {
    enum Note: Equatable {
        case run(until: UInt64)
        case answer(UInt64)
        case inject(UInt8)
    }
    var exits: [ProcessorExit]
    var notes: [Note] = []
    /// What it tells of programs.
    var ran: Bool?
    /// How often it was told that it was stopped.
    var stops = 0
    var canInject = true
    var awaitsInterruptWindow = false
    var privilege: UInt8 { 0 }
    var timeStamp: () -> UInt64 = { 0 }
    /// Where the run's time goes.
    var didRun: () -> Void = {}

    init(_ exits: [ProcessorExit]) { self.exits = exits }

    func register(_ register: ProcessorRegister) -> UInt64 { 0 }
    func setRegister(_ register: ProcessorRegister, _ value: UInt64) {}
    func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit {
        notes.append(.run(until: deadline?.count ?? .max))
        didRun()
        return exits.isEmpty ? .deadline : exits.removeFirst()
    }
    func answer(_ value: UInt64) { notes.append(.answer(value)) }
    func inject(_ vector: UInt8, errorCode: UInt32) { notes.append(.inject(vector)) }
    func resume(at now: Nanoseconds) {}
    func tellStop() { stops += 1 }
    func ranProgram() -> Bool? { ran }
}

private func byte(_ port: UInt16, _ value: UInt32) -> ProcessorExit {
    .portOutput(PortAccess(port: port, size: 1), value: value)
}

/// The interrupt controller as Linux sets it up, with all lines open.
private let controller: [ProcessorExit] = [
    byte(0x20, 0x11), byte(0x21, 0x30), byte(0x21, 0x04), byte(0x21, 0x01), byte(0xA0, 0x11),
    byte(0xA1, 0x38), byte(0xA1, 0x02), byte(0xA1, 0x01), byte(0x21, 0), byte(0xA1, 0),
]
/// The timer, once, after `latch` of its ticks of 838 ns.
private func oneShot(_ latch: UInt32) -> [ProcessorExit] {
    [byte(0x43, 0x38), byte(0x40, latch & 0xFF), byte(0x40, latch >> 8)]
}

@Suite struct PCTests {
    private final class Time { var now = Nanoseconds(count: 1_000_000) }
    private let time = Time()
    private let look = Nanoseconds(count: 1_000_000_000)

    private func make(_ exits: [ProcessorExit]) throws -> (PC, PlayedProcessor) {
        let processor = PlayedProcessor(exits)
        let time = time
        let platform = PCPlatform(
            memory: try GuestMemory(count: 1 << 20), functions: [],
            wallClock: { Nanoseconds(count: 0) })
        return (PC(processor, platform, clock: { time.now }), processor)
    }

    @Test("what the guest reads from a port is answered before it goes on")
    func input() throws {
        let (pc, processor) = try make([
            .portInput(PortAccess(port: 0x1234, size: 2)), .halt(interruptsEnabled: false),
        ])
        #expect(pc.run(until: look) == .ended(.poweredOff))
        #expect(
            processor.notes == [
                .run(until: look.count), .answer(0xFFFF), .run(until: look.count),
            ])
    }

    @Test("memory that is not there reads as ones, and takes writes")
    func noMemory() throws {
        let access = MemoryAccess(address: 0xFEE0_0000, size: 4)
        let (pc, processor) = try make([
            .memoryRead(access), .memoryWrite(access, value: 7), .shutdown,
        ])
        #expect(pc.run(until: look) == .ended(.reset))
        #expect(processor.notes.contains(.answer(.max)))
    }

    @Test("a line of output comes out at once, what is no line before the guest sleeps")
    func output() throws {
        let (pc, _) = try make(
            "hi\n".utf8.map { byte(0x3F8, UInt32($0)) } + [
                byte(0x3F8, 0x24), .halt(interruptsEnabled: true),
            ])
        var bytes: [UInt8] = []
        #expect(pc.run(until: look) == .output)
        pc.platform.serial.takeOutput(into: &bytes)
        #expect(bytes == Array("hi\n".utf8))
        #expect(pc.run(until: look) == .output)
        pc.platform.serial.takeOutput(into: &bytes)
        #expect(bytes == [0x24])
        #expect(pc.run(until: look) == .idle(until: nil))
    }

    @Test("what was said before the end comes out before the end")
    func lastWords() throws {
        let (pc, _) = try make([byte(0x3F8, 0x21), .shutdown])
        #expect(pc.run(until: look) == .output)
        var bytes: [UInt8] = []
        pc.platform.serial.takeOutput(into: &bytes)
        #expect(pc.run(until: look) == .ended(.reset))
        #expect(pc.run(until: look) == .ended(.reset))
    }

    @Test("a guest that has masked all inputs and halts has ended, whatever its timer does")
    func deaf() throws {
        let mask = [byte(0x21, 0xFF), byte(0xA1, 0xFF)]
        let (pc, _) = try make(
            controller + oneShot(1000) + mask + [byte(0x3F8, 0x21), .halt(interruptsEnabled: true)])
        #expect(pc.run(until: look) == .output)
        var bytes: [UInt8] = []
        pc.platform.serial.takeOutput(into: &bytes)
        #expect(pc.run(until: look) == .ended(.poweredOff))
        #expect(pc.run(until: look) == .ended(.poweredOff))
    }

    @Test(
        "one whose second chip can be heard is waited for, and one that has set up none",
        arguments: [
            controller + [byte(0x21, 0xFB), byte(0xA1, 0xFF)], [byte(0x21, 0xFF)], [],
        ] as [[ProcessorExit]])
    func notDeaf(exits: [ProcessorExit]) throws {
        let (pc, _) = try make(exits + [.halt(interruptsEnabled: true)])
        #expect(pc.run(until: look) == .idle(until: nil))
    }

    @Test("a halted guest sleeps until its timer, whose interrupt wakes it")
    func timer() throws {
        let (pc, processor) = try make(
            controller + oneShot(1000) + [.halt(interruptsEnabled: true)])
        guard case .idle(let until?) = pc.run(until: look) else {
            Issue.record("it does not sleep")
            return
        }
        #expect(until > time.now)
        #expect(until < time.now + Nanoseconds(count: 1_000_000))
        #expect(pc.run(until: look) == .idle(until: until))
        time.now = until
        processor.exits = [.signal]
        #expect(pc.run(until: look) == .signal)
        #expect(processor.notes.contains(.inject(0x30)))
    }

    @Test("a guest that latches the count at its end still gets the interrupt")
    func latchAtTheEnd() throws {
        // The run that ends with the latch takes longer than the count.
        let (pc, processor) = try make(controller + oneShot(100) + [byte(0x43, 0), .signal])
        let start = controller.count + oneShot(100).count
        let time = time
        processor.didRun = { [unowned processor] in
            if processor.notes.count == start + 1 { time.now = time.now + .milliseconds(1) }
        }
        #expect(pc.run(until: look) == .signal)
        #expect(processor.notes.contains(.inject(0x30)))
    }

    @Test("an interrupt waits for its window")
    func window() throws {
        let (pc, processor) = try make(controller + oneShot(100) + [.signal])
        processor.canInject = false
        #expect(pc.run(until: look) == .signal)
        time.now = time.now + Nanoseconds(count: 1_000_000)
        processor.exits = [.signal]
        #expect(pc.run(until: look) == .signal)
        #expect(processor.awaitsInterruptWindow)
        #expect(!processor.notes.contains(.inject(0x30)))
        processor.canInject = true
        processor.exits = [.signal]
        #expect(pc.run(until: look) == .signal)
        #expect(processor.notes.contains(.inject(0x30)))
        #expect(!processor.awaitsInterruptWindow)
    }

    @Test("the guest's code runs no longer than to the timer's moment or the look")
    func deadlines() throws {
        let (pc, processor) = try make(controller + oneShot(1000) + [.signal, .signal])
        #expect(pc.run(until: look) == .signal)
        guard case .run(let until)? = processor.notes.last else {
            Issue.record("it did not run")
            return
        }
        #expect(until < look.count)
        let soon = time.now + Nanoseconds(count: 10)
        #expect(pc.run(until: soon) == .signal)
        #expect(processor.notes.last == .run(until: soon.count))
        time.now = soon
        #expect(pc.run(until: soon) == .look)
    }

    @Test(
        "ports end the guest",
        arguments: [(0x64, 0xFE, PC.End.reset), (0xCF9, 6, .reset), (0x501, 7, .exit(7))]
            as [(UInt16, UInt32, PC.End)])
    func ends(port: UInt16, value: UInt32, end: PC.End) throws {
        let (pc, _) = try make([byte(port, value)])
        #expect(pc.run(until: look) == .ended(end))
    }

    @Test("a guest that others kept from running for more than a second is told, before it runs")
    func stopped() throws {
        let (pc, processor) = try make([.signal, .signal, .signal])
        let long = Nanoseconds(count: 1_000_000_001)
        time.now = Nanoseconds(count: 5_000_000_000)
        func run() -> PC.Stop { pc.run(until: time.now + look) }
        #expect(run() == .signal && processor.stops == 0)
        time.now = time.now + .milliseconds(1000)
        #expect(run() == .signal && processor.stops == 0)
        time.now = time.now + long
        processor.didRun = { [unowned processor] in #expect(processor.stops == 1) }
        #expect(run() == .signal && processor.stops == 1)
    }

    @Test(
        "a guest that sleeps is not stopped by that, but by waking up too late",
        arguments: [(1000, 0), (1001, 1)] as [(UInt64, Int)])
    func sleeps(late: UInt64, stops: Int) throws {
        let (pc, processor) = try make(
            controller + oneShot(10_000) + [.halt(interruptsEnabled: true)])
        guard case .idle(let until?) = pc.run(until: look) else {
            Issue.record("it does not sleep")
            return
        }
        time.now = until + .milliseconds(late)
        processor.exits = [.signal]
        #expect(pc.run(until: time.now + look) == .signal)
        #expect(processor.stops == stops)
    }

    @Test(
        "a guest is woken for several ticks at once if it is known that no program runs",
        arguments: [(nil, false), (true, false), (false, true)] as [(Bool?, Bool)])
    func lateTicks(ran: Bool?, isLate: Bool) throws {
        let (pc, processor) = try make(controller + [byte(0x43, 0x38)])
        processor.ran = ran
        var late = Nanoseconds(count: 0)
        for _ in 0..<300 {
            processor.exits += [byte(0x20, 0x60), byte(0x40, 0xA5), byte(0x40, 0x12)]
            processor.exits.append(.halt(interruptsEnabled: true))
            guard case .idle(let until?) = pc.run(until: time.now + look),
                let event = pc.platform.nextEvent
            else {
                Issue.record("it does not sleep")
                return
            }
            late = until - event
            time.now = until
        }
        #expect((late >= .milliseconds(20)) == isLate)
        #expect(late <= .milliseconds(21))
        #expect(processor.stops == 0)
    }

    @Test("who asks whether a program ran hears of one that ran before the guest waited")
    func programs() throws {
        let (pc, processor) = try make([.halt(interruptsEnabled: true)])
        processor.ran = true
        #expect(pc.run(until: look) == .idle(until: nil))
        processor.ran = false
        #expect(pc.run(until: look) == .idle(until: nil))
        #expect(pc.ranProgram() == true)
        #expect(pc.ranProgram() == false)
        processor.ran = nil
        #expect(pc.ranProgram() == nil)
    }

    @Test("a guest that sleeps for no time is never stopped")
    func sleepsForEver() throws {
        let (pc, processor) = try make([.halt(interruptsEnabled: true)])
        #expect(pc.run(until: look) == .idle(until: nil))
        time.now = time.now + .milliseconds(100_000)
        #expect(pc.run(until: time.now + look) == .idle(until: nil))
        #expect(processor.stops == 0)
    }

    @Test("a processor that cannot go on says with what")
    func failure() throws {
        let (pc, _) = try make([.failed(17)])
        #expect(pc.run(until: look) == .ended(.failed(17)))
    }
}
