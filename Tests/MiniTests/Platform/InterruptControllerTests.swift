import Testing

@testable import Mini

/// Both chips.
private final class Controllers {
    private var chips = InterruptController()
    var isRequested: Bool { chips.isRequested }
    func setLine(_ number: UInt8, _ isHigh: Bool) { chips.setLine(number, isHigh) }
    func pulse(_ number: UInt8) { chips.pulse(number) }
    func acknowledge() -> UInt8 { chips.acknowledge() }
    func read(_ port: UInt16) -> UInt8? { chips.read(port) }
    func write(_ port: UInt16, _ value: UInt8) { chips.write(port, value) }
}

/// The controllers as Linux sets them up.
private func controller(nested: UInt8 = 0x01) -> Controllers {
    let controller = Controllers()
    for (port, value) in [
        (0x20, 0x11), (0x21, 0x30), (0x21, 0x04), (0x21, nested), (0xA0, 0x11), (0xA1, 0x38),
        (0xA1, 0x02), (0xA1, 0x01), (0x21, 0), (0xA1, 0),
    ] as [(UInt16, UInt8)] { controller.write(port, value) }
    return controller
}

@Suite struct InterruptControllerTests {
    @Test("the mask reads back as written, by which a kernel knows that there is a controller")
    func probe() {
        let controller = Controllers()
        controller.write(0xA1, 0xFF)
        controller.write(0x21, 0xFB)
        #expect(controller.read(0x21) == 0xFB && controller.read(0xA1) == 0xFF)
        #expect(controller.read(0x22) == nil)
    }

    @Test("each input has the vector behind its chip's base", arguments: 0..<16)
    func vectors(number: UInt8) {
        let controller = controller()
        guard number != 2 else { return }
        controller.setLine(number, true)
        #expect(controller.isRequested)
        #expect(controller.acknowledge() == 0x30 + number)
        #expect(!controller.isRequested)
    }

    @Test("an edge is told once, whatever the line does until its end")
    func edge() {
        let controller = controller()
        controller.setLine(1, true)
        #expect(controller.acknowledge() == 0x31)
        controller.write(0x20, 0x61)
        controller.setLine(1, true)
        #expect(!controller.isRequested)
        controller.pulse(1)
        #expect(controller.isRequested)
    }

    @Test(
        "a level asks again after its end for as long as the line is high",
        arguments: [5, 9, 10, 11] as [UInt8])
    func level(number: UInt8) {
        let controller = controller()
        controller.setLine(number, true)
        for _ in 0..<3 {
            #expect(controller.acknowledge() == 0x30 + number)
            #expect(!controller.isRequested)
            if number > 7 { controller.write(0xA0, 0x60 + (number & 7)) }
            controller.write(0x20, number > 7 ? 0x62 : 0x60 + number)
            #expect(controller.isRequested)
        }
        controller.setLine(number, false)
        #expect(!controller.isRequested)
    }

    @Test(
        "a line that falls takes its request back; who acknowledges it gets the last input, out of service"
    )
    func spurious() {
        let controller = controller()
        controller.setLine(4, true)
        controller.setLine(4, false)
        #expect(!controller.isRequested)
        #expect(controller.acknowledge() == 0x37)
        controller.write(0x20, 0x0B)
        #expect(controller.read(0x20) == 0)
        // The second chip's: the first one has its line in service.
        controller.setLine(11, true)
        #expect(controller.isRequested)
        controller.write(0xA1, 0xFF)
        #expect(!controller.isRequested)
    }

    @Test("a masked input waits, and comes when it is opened")
    func mask() {
        let controller = controller()
        controller.write(0x21, 0x10)
        controller.setLine(4, true)
        #expect(!controller.isRequested)
        controller.write(0x21, 0x00)
        #expect(controller.acknowledge() == 0x34)
    }

    @Test("the input of higher priority comes first, and interrupts one that is lower")
    func priority() {
        let controller = controller()
        controller.setLine(6, true)
        controller.setLine(4, true)
        #expect(controller.acknowledge() == 0x34)
        #expect(!controller.isRequested)
        controller.setLine(12, true)
        #expect(controller.acknowledge() == 0x3C)
        controller.pulse(0)
        #expect(controller.acknowledge() == 0x30)
        controller.write(0x20, 0x0B)
        #expect(controller.read(0x20) == 0x15)
        // An end that names nobody ends the highest.
        controller.write(0x20, 0x20)
        #expect(controller.read(0x20) == 0x14)
    }

    @Test("what is requested and what is in service can be read")
    func registers() {
        let controller = controller()
        controller.write(0x21, 0xFF)
        controller.setLine(3, true)
        controller.write(0x20, 0x0A)
        #expect(controller.read(0x20) == 0x08)
        controller.write(0x21, 0)
        _ = controller.acknowledge()
        #expect(controller.read(0x20) == 0)
        controller.write(0x20, 0x0B)
        #expect(controller.read(0x20) == 0x08)
    }

    @Test("rotation: whoever was served last comes last")
    func rotation() {
        let controller = controller()
        controller.setLine(3, true)
        _ = controller.acknowledge()
        controller.write(0x20, 0xA0)
        controller.setLine(3, false)
        controller.setLine(3, true)
        controller.setLine(6, true)
        #expect(controller.acknowledge() == 0x36)
        controller.write(0x20, 0x66)
        controller.write(0x20, 0xC5)
        controller.setLine(7, true)
        #expect(controller.acknowledge() == 0x37)
    }

    @Test("an automatic end leaves nothing in service")
    func automatic() {
        let controller = controller(nested: 0x03)
        controller.setLine(4, true)
        #expect(controller.acknowledge() == 0x34)
        controller.setLine(6, true)
        #expect(controller.acknowledge() == 0x36)
        controller.write(0x20, 0x0B)
        #expect(controller.read(0x20) == 0)
    }

    @Test(
        "special modes: a masked input in service holds back nobody, nor does the second chip itself"
    )
    func special() {
        let controller = controller(nested: 0x11)
        controller.setLine(12, true)
        #expect(controller.acknowledge() == 0x3C)
        controller.setLine(9, true)
        #expect(controller.acknowledge() == 0x39)
        controller.setLine(6, true)
        #expect(!controller.isRequested)
        controller.write(0x20, 0x68)
        controller.write(0x21, 0x04)
        #expect(controller.acknowledge() == 0x36)
    }

    @Test("a poll acknowledges by a read")
    func poll() {
        let controller = controller()
        controller.write(0x20, 0x0C)
        #expect(controller.read(0x20) == 0)
        controller.setLine(5, true)
        controller.write(0x20, 0x0C)
        #expect(controller.read(0x20) == 0x85)
        controller.write(0x20, 0x0B)
        #expect(controller.read(0x20) == 0x20)
    }

    @Test("PCI's lines are levels from the start; what can only be an edge stays one")
    func levels() {
        let controller = Controllers()
        #expect(controller.read(0x4D0) == 0x20 && controller.read(0x4D1) == 0x0E)
        controller.write(0x4D0, 0xFF)
        controller.write(0x4D1, 0xFF)
        #expect(controller.read(0x4D0) == 0xF8 && controller.read(0x4D1) == 0xDE)
    }

    @Test("the page shows the words by which a chip is set up")
    func page() throws {
        let words: [(name: String, event: (isCommand: Bool, value: UInt8))] = [
            ("ICW1", (true, 0x11)), ("ICW1 without ICW4", (true, 0x10)),
            ("ICW1 for one chip", (true, 0x13)), ("ICW1 for one chip without ICW4", (true, 0x12)),
            ("data", (false, 0x20)),
        ]
        let walk = Walk(
            from: [InterruptChip(levels: 0)], words, name: { "\($0.stateName)" },
            key: { "\($0)" },
            step: { (chip: InterruptChip, word: (isCommand: Bool, value: UInt8)) in
                var next = chip
                if word.isCommand {
                    next.writeCommand(word.value)
                } else {
                    next.writeData(word.value)
                }
                return [next]
            })
        // How ICW1 was is in the state; the page has one arrow for all forms.
        let taken = walk.transitions.map { transition in
            let start =
                transition.hasPrefix("vectorBase") || transition.hasPrefix("cascade")
                || transition.hasPrefix("mode")
            guard transition.contains("ICW1") else {
                return start ? transition.replacing(": data", with: ": next word") : transition
            }
            return String(transition.prefix { $0 != ":" }) + ": ICW1"
        }
        #expect(
            try transitionsOfPage("interrupt-chip-machine.md")
                == Set(taken).subtracting(["ready --> ready: data"]))
    }
}
