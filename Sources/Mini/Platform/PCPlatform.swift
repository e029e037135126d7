// The PC that a stock kernel finds: everything behind IN and OUT, and who asks for an interrupt. The parts are
// machines of their own; here is the map of ports, and the wires between the parts.
//
//     20 21 A0 A1 4D0 4D1   InterruptController <-- 0 -- IntervalTimer    40-43 61
//                                   |           <-- 4 -- SerialPort       3F8-3FF
//                             INTR, INTA        <-- 8 -- RealTimeClock    70 71
//                                               <- 5 9 10 11 -- PCIBus    CF8 CFC-CFF, BARs from 1000 on
//     64, 92, CF9   the end: a reset          501   the end: the guest's own code
//     3D4 3D5 3DA   TextScreen    60 64 -- 1 --> InterruptController   Keyboard: both, if there is a screen
//
// Its user calls `advance` when `nextEvent` has come, and looks at INTR before the guest goes on. It makes no call of its
// own and knows no clock: moments come from outside.
// Source: docs/abi/pc.md §3.

final class PCPlatform {
    /// What the guest has done to end itself.
    enum End: Equatable {
        case reset
        /// A program in it has ended with this code and wants it to be the launcher's.
        case exit(UInt8)
    }

    private let memory: GuestMemory
    private var interrupts = InterruptController()
    private var timer = IntervalTimer()
    private var lazyTick = LazyTick()
    /// It was used for something else than a tick.
    private var isUsed = true
    private var clock = RealTimeClock()
    private var bus: PCIBus
    private let wallClock: () -> Nanoseconds
    /// Screen and keyboard, with `--console screen`.
    private struct ScreenAndKeyboard {
        var screen = TextScreen()
        var keyboard = Keyboard()
    }
    private var screenAndKeyboard: ScreenAndKeyboard?
    /// Set once; the first end counts.
    private(set) var end: End?

    var serial = SerialPort() {
        didSet { interrupts.setLine(Line.serial, serial.isInterruptRequested) }
    }

    private enum Line {
        static let timer: UInt8 = 0
        static let keyboard: UInt8 = 1
        static let serial: UInt8 = 4
        static let clock: UInt8 = 8
    }

    /// - Parameters:
    ///   - functions: behind the host bridge, in this order; at most `PCIBus.mostFunctions`.
    ///   - screen: true for a PC that has one.
    ///   - tellsAllTicks: false for a guest that finds out by itself how many it has missed.
    ///   - wallClock: the time since the start of 1970.
    init(
        memory: GuestMemory, functions: [any PCIFunction], screen: Bool = false,
        tellsAllTicks: Bool = false, wallClock: @escaping () -> Nanoseconds
    ) {
        self.memory = memory
        screenAndKeyboard = screen ? ScreenAndKeyboard() : nil
        bus = PCIBus(functions)
        self.wallClock = wallClock
        timer.tellsAll = tellsAllTicks
    }

    // MARK: Time and interrupts

    /// When `advance` has something to do at the latest; nil for never.
    var nextEvent: Nanoseconds? {
        guard let alarm = clock.nextEvent else { return timer.nextEvent }
        return timer.nextEvent.map { min($0, alarm) } ?? alarm
    }

    /// The guest waits: when it is to be woken, if nothing else does it; nil for never. A kernel whose timer goes on by itself
    /// counts the interrupts: none of them is late.
    /// - Parameter ranProgram: whether a program ran since it waited before.
    func wakeTime(at now: Nanoseconds, ranProgram: Bool) -> Nanoseconds? {
        if ranProgram { isUsed = true }
        guard timer.isSingle, clock.nextEvent == nil, let event = timer.nextEvent else {
            isUsed = true
            return nextEvent
        }
        defer { isUsed = false }
        return lazyTick.waits(for: event, at: now, isQuiet: !isUsed)
    }

    /// Timers that are due raise their line.
    func advance(to now: Nanoseconds) {
        if timer.advance(to: now) { interrupts.pulse(Line.timer) }
        if clock.advance(to: now, wallClock) { raiseClock() }
    }

    private func raiseClock() { interrupts.setLine(Line.clock, clock.isInterruptRequested) }

    /// INTR.
    var isInterruptRequested: Bool { interrupts.isRequested }
    /// The guest has set up its interrupts.
    var hasInterrupts: Bool { interrupts.isSetUp }
    /// It has, and then masked everything that could ask for it.
    var isDeaf: Bool { interrupts.isDeaf }

    /// INTA: the vector.
    func acknowledgeInterrupt() -> UInt8 { interrupts.acknowledge() }

    /// To be called when a function has worked outside of `input` and `output`.
    func raiseLines() {
        bus.forEachLine { line, isHigh in interrupts.setLine(line, isHigh) }
    }

    /// Appends what is new on the screen.
    func look(into output: inout [UInt8]) { screenAndKeyboard?.screen.look(memory, into: &output) }

    /// Whether keys are taken now; nil without a keyboard.
    var hasKeyRoom: Bool? { screenAndKeyboard?.keyboard.hasRoom }

    func type(_ byte: UInt8) {
        screenAndKeyboard?.keyboard.type(byte)
        raiseKeyboard()
    }

    /// Each byte that waits is an edge of its own.
    private func raiseKeyboard() {
        interrupts.setLine(Line.keyboard, false)
        interrupts.setLine(Line.keyboard, screenAndKeyboard?.keyboard.isInterruptRequested ?? false)
    }

    // MARK: Ports

    /// - Returns: what the guest reads, in as many low bytes as it asks for; ones where nothing is.
    func input(_ access: PortAccess, at now: Nanoseconds) -> UInt32 {
        use(access.port)
        if access.size == 1, let byte = readByte(access.port, now) { return UInt32(byte) }
        if let value = bus.read(access) {
            // Reading can acknowledge an interrupt.
            if access.port & 0xFFF8 != PCIBus.addressPort { raiseLines() }
            return access.size == 4 ? value : value & (1 &<< (8 * UInt32(access.size)) - 1)
        }
        guard access.size > 1 else { return 0xFF }
        // Ports of a byte, side by side.
        var value: UInt32 = 0
        for index in 0..<UInt16(min(access.size, 4)) {
            let byte = input(PortAccess(port: access.port &+ index, size: 1), at: now)
            value |= byte << (8 * UInt32(index))
        }
        return value
    }

    func output(_ access: PortAccess, _ value: UInt32, at now: Nanoseconds) {
        use(access.port)
        if access.size == 1 {
            let byte = UInt8(truncatingIfNeeded: value)
            if writeByte(access.port, byte, now) || endByWriting(access.port, byte) { return }
        }
        if bus.write(access, value) {
            // A driver's doorbell, or its switch for interrupts.
            raiseLines()
            return
        }
        guard access.size > 1 else { return }
        for index in 0..<UInt16(min(access.size, 4)) {
            let port = access.port &+ index
            let byte = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index)))
            // Wider writes that cover a reset register mean something else.
            if writeByte(port, byte, now) { continue }
            if bus.write(PortAccess(port: port, size: 1), UInt32(byte)) { raiseLines() }
        }
    }

    /// All that a tick uses are the interrupt controllers, the timer, and the port by which kernels let time pass.
    private func use(_ port: UInt16) {
        if port & 0xFF7E != 0x20 && port & 0xFFFC != 0x40 && port != 0x80 { isUsed = true }
    }

    /// The serial port's register for what is sent.
    static let serialData: UInt16 = 0x3F8

    private func readByte(_ port: UInt16, _ now: Nanoseconds) -> UInt8? {
        switch port {
        case Self.serialData...0x3FF: serial.read(UInt8(port & 7))
        case 0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1: interrupts.read(port)
        case 0x40...0x42, 0x61: timer.read(port, now)
        // A keyboard controller that is none, to a driver that empties it first, and yet is ready for the word that resets.
        case 0x64: screenAndKeyboard?.keyboard.status ?? 0xFD
        case 0x60: readKey()
        case 0x71: readClock(now)
        // A20 is on.
        case 0x92: 0x02
        case 0x3D4, 0x3D5, 0x3DA: screenAndKeyboard?.screen.read(port)
        default: nil
        }
    }

    private func readClock(_ now: Nanoseconds) -> UInt8 {
        let byte = clock.read(wallClock(), now)
        raiseClock()
        return byte
    }

    private func readKey() -> UInt8? {
        guard let byte = screenAndKeyboard?.keyboard.read() else { return nil }
        raiseKeyboard()
        return byte
    }

    /// - Returns: false for a port without a keyboard.
    private func writeKey(_ port: UInt16, _ byte: UInt8) -> Bool {
        guard screenAndKeyboard != nil else { return false }
        if port == 0x64 {
            screenAndKeyboard?.keyboard.writeCommand(byte)
        } else {
            screenAndKeyboard?.keyboard.write(byte)
        }
        raiseKeyboard()
        return port == 0x60
    }

    /// - Returns: false for a port that is of no part.
    private func writeByte(_ port: UInt16, _ byte: UInt8, _ now: Nanoseconds) -> Bool {
        switch port {
        case Self.serialData...0x3FF: serial.write(UInt8(port & 7), byte)
        case 0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1: interrupts.write(port, byte)
        case 0x40...0x43, 0x61:
            // A rise since the guest went on counts still: what is written can take it back.
            advance(to: now)
            timer.write(port, byte, now)
        case 0x60, 0x64: return writeKey(port, byte)
        case 0x70: clock.select(byte)
        case 0x71:
            clock.write(byte, wallClock, now)
            raiseClock()
        // Kernels write there to let time pass.
        case 0x80: break
        case 0x3D4, 0x3D5: return screenAndKeyboard?.screen.write(port, byte) ?? false
        default: return false
        }
        return true
    }

    private func endByWriting(_ port: UInt16, _ byte: UInt8) -> Bool {
        switch port {
        case 0x64: if byte == 0xFE { finish(.reset) }
        case 0x92: if byte & 1 != 0 { finish(.reset) }
        case 0xCF9: if byte & 4 != 0 { finish(.reset) }
        case GuestExit.port: finish(.exit(byte))
        default: return false
        }
        return true
    }

    private func finish(_ end: End) {
        if self.end == nil { self.end = end }
    }
}
