// A PC, and the words in which a kernel speaks to its ports.

@testable import Mini

final class PlayedPC {
    let platform: PCPlatform
    let memory: GuestMemory
    /// Both clocks go together; they have begun elsewhere.
    private final class Moment { var now = Nanoseconds.milliseconds(1000) }
    private let moment = Moment()
    var now: Nanoseconds {
        get { moment.now }
        set { moment.now = newValue }
    }

    /// - Parameter time: in seconds since the start of 1970, at first.
    init(_ functions: [any PCIFunction] = [], memory: GuestMemory? = nil, time: UInt64 = 0) {
        self.memory = try! memory ?? GuestMemory(count: 1 << 20)
        let moment = self.moment
        let start = moment.now
        platform = PCPlatform(memory: self.memory, functions: functions) {
            Nanoseconds(count: time &* 1_000_000_000) + (moment.now - start)
        }
    }

    func out(_ port: UInt16, _ value: UInt32, size: UInt8 = 1) {
        platform.output(PortAccess(port: port, size: size), value, at: now)
    }
    func read(_ port: UInt16, size: UInt8 = 1) -> UInt32 {
        platform.input(PortAccess(port: port, size: size), at: now)
    }
    func feed(_ byte: UInt8) -> Bool { platform.serial.feed(byte) }
    /// Lets time pass, with every event at its moment.
    func wait(_ time: Nanoseconds) {
        let end = now + time
        while let event = platform.nextEvent, event <= end {
            now = max(now, event)
            platform.advance(to: now)
        }
        now = end
        platform.advance(to: now)
    }

    /// The words by which Linux sets up the interrupt controllers; all inputs are open then.
    func setUpInterrupts(mask: UInt8 = 0) {
        for (port, value) in [
            (0xA1, 0xFF), (0x21, 0xFF), (0x20, 0x11), (0x21, 0x30), (0x21, 0x04), (0x21, 0x01),
            (0xA0, 0x11), (0xA1, 0x38), (0xA1, 0x02), (0xA1, 0x01), (0x21, 0), (0xA1, 0),
        ] as [(UInt16, UInt32)] { out(port, value) }
        out(0x21, UInt32(mask))
    }

    /// The interrupt that is delivered now, with the words that end it; nil if none is asked for.
    func takeInterrupt() -> UInt8? {
        guard platform.isInterruptRequested else { return nil }
        let vector = platform.acknowledgeInterrupt()
        let number = vector &- 0x30
        if number >= 8 {
            out(0xA0, UInt32(0x60 + (number & 7)))
            out(0x20, 0x62)
        } else {
            out(0x20, UInt32(0x60 + number))
        }
        return number
    }
}
