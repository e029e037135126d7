// The interval timer (8254) of a PC, with port 61 beside it: three channels that count down at 1,193,182 Hz.
// Nothing ticks here: what a counter holds and when an output rises is reckoned from the moment at which it
// began. Channel 0's output is the interrupt line 0, channel 2's can be read in port 61.
//
//                  count                    gate falls
//   stopped ------------------> running --------------------> held
//      ^     (gate high)          |  ^                          |
//      |  count, gate low: held   |  +------- gate rises -------+
//      +------ control word ------+          (modes 0 and 4 go on, 2 and 3 begin anew)
//
// Modes 1 and 5 wait for the gate to rise, which only channel 2's can.
// Source: docs/abi/pc.md §3.2; the data sheet of Intel's 8254. The same as a page: docs/timer-channel-machine.md.

/// The timer's own time: ticks since the monotonic clock's beginning.
enum TimerTicks {
    static let frequency: UInt64 = 1_193_182
    private static let second: UInt64 = Nanoseconds.perSecond

    static func at(_ now: Nanoseconds) -> UInt64 {
        let seconds = now.count / second
        let rest = now.count &- seconds &* second
        return seconds &* frequency &+ rest &* frequency / second
    }

    /// The first moment at which so many have passed.
    static func moment(of ticks: UInt64) -> Nanoseconds {
        let seconds = ticks / frequency
        let rest = ticks &- seconds &* frequency
        return Nanoseconds(
            count: seconds &* second &+ (rest &* second &+ frequency &- 1) / frequency)
    }
}

/// One channel.
struct TimerChannel {
    private enum State {
        /// A control word was written, and no count since; or modes 1 and 5 wait for the gate.
        case stopped
        case running(since: UInt64)
        /// The gate is low, after so many ticks.
        case held(after: UInt64)
    }
    private var state = State.stopped

    /// 0 to 5.
    private var mode: UInt8 = 0
    private var isDecimal = false
    /// As written; 0 counts for all that there is.
    private var count: UInt16 = 0
    private var hasCount = false
    private var isGateHigh: Bool

    private enum Order: UInt8 { case low = 1, high, both }
    private var order = Order.both
    /// The first byte of two that was written.
    private var written: UInt8?
    private var readsHigh = false
    private var latchedCount: UInt16?
    private var latchedStatus: UInt8?

    init(isGateHigh: Bool) { self.isGateHigh = isGateHigh }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .stopped: "stopped"
        case .running: "running"
        case .held: "held"
        }
    }

    // MARK: What it counts

    private var span: UInt64 { isDecimal ? 10_000 : 65_536 }

    private static func number(fromDecimal word: UInt16) -> UInt64 {
        var number: UInt64 = 0
        for shift in [12, 8, 4, 0] as [UInt16] { number = 10 * number + UInt64(word >> shift & 15) }
        return number
    }

    private static func decimal(_ number: UInt64) -> UInt16 {
        var rest = UInt16(truncatingIfNeeded: number)
        var word: UInt16 = 0
        for shift in [0, 4, 8, 12] as [UInt16] {
            word |= (rest % 10) << shift
            rest /= 10
        }
        return word
    }

    /// Ticks of a period, at least 1.
    private var period: UInt64 {
        let number = isDecimal ? Self.number(fromDecimal: count) : UInt64(count)
        return number == 0 ? span : number
    }

    private func elapsed(_ now: UInt64) -> UInt64? {
        switch state {
        case .stopped: nil
        case .held(let elapsed): elapsed
        case .running(let start): now > start ? now &- start : 0
        }
    }

    private func value(_ now: UInt64) -> UInt16 {
        let period = period
        guard let elapsed = elapsed(now) else { return count }
        let value =
            switch mode {
            case 2: period - elapsed % period
            case 3: (period - elapsed % period &* 2 % period) & ~1
            // It goes on below 0.
            default: period + span - elapsed % span
            }
        return isDecimal
            ? Self.decimal(value % span) : UInt16(truncatingIfNeeded: value)
    }

    /// OUT.
    func isHigh(_ now: UInt64) -> Bool {
        guard let elapsed = elapsed(now) else { return mode != 0 }
        let period = period
        if mode == 2 || mode == 3, case .held = state { return true }
        return switch mode {
        case 0, 1: elapsed >= period
        case 2: elapsed % period != period - 1
        case 3: elapsed % period < (period + 1) / 2
        default: elapsed != period
        }
    }

    /// It counts once, and then waits for the next count.
    var isSingle: Bool { mode == 0 || mode == 4 }

    /// More often than every so many ticks no edge of a period is told: 0.1 ms.
    private static let shortest: UInt64 = 120

    /// The first tick after this one at which OUT rises.
    func rise(after now: UInt64) -> UInt64? {
        guard case .running(let start) = state else { return nil }
        let period = period
        switch mode {
        case 0, 4:
            let end = start &+ period &+ (mode == 4 ? 1 : 0)
            return end > now ? end : nil
        case 2, 3:
            let elapsed = now > start ? now &- start : 0
            return start &+ (elapsed / step + 1) &* step
        default: return nil
        }
    }

    /// From one rise that is told to the next, while OUT rises for ever.
    var interval: UInt64? {
        guard case .running = state, mode == 2 || mode == 3 else { return nil }
        return step
    }
    private var step: UInt64 { period * max(1, (Self.shortest + period - 1) / period) }

    // MARK: Events

    mutating func setGate(_ isHigh: Bool, _ now: UInt64) {
        guard isHigh != isGateHigh else { return }
        isGateHigh = isHigh
        switch (state, mode) {
        case (.running, 0), (.running, 4):
            state = .held(after: elapsed(now) ?? 0)
        case (.running, 2), (.running, 3): state = .held(after: 0)
        case (.held(let elapsed), _): state = .running(since: now &- elapsed)
        case (_, 1) where isHigh && hasCount, (_, 5) where isHigh && hasCount:
            state = .running(since: now)
        default: break
        }
    }

    /// A control word that is neither a latch nor a read-back.
    mutating func setMode(_ value: UInt8) {
        order = Order(rawValue: value >> 4 & 3) ?? .both
        // Modes 6 and 7 are 2 and 3.
        mode = value >> 1 & 7
        if mode > 5 { mode -= 4 }
        isDecimal = value & 1 != 0
        state = .stopped
        hasCount = false
        written = nil
        readsHigh = false
        latchedCount = nil
        latchedStatus = nil
    }

    mutating func latch(_ now: UInt64) {
        if latchedCount == nil {
            latchedCount = value(now)
            readsHigh = order == .high
        }
    }

    mutating func latchStatus(_ now: UInt64) {
        guard latchedStatus == nil else { return }
        latchedStatus =
            (isHigh(now) ? 0x80 : 0) | (hasCount ? 0 : 0x40) | order.rawValue << 4 | mode << 1
            | (isDecimal ? 1 : 0)
    }

    mutating func read(_ now: UInt64) -> UInt8 {
        if let latchedStatus {
            self.latchedStatus = nil
            return latchedStatus
        }
        let word = latchedCount ?? value(now)
        let isHighByte = order == .high || order == .both && readsHigh
        if order == .both {
            readsHigh = !readsHigh
            if isHighByte { latchedCount = nil }
        } else {
            latchedCount = nil
        }
        return UInt8(truncatingIfNeeded: isHighByte ? word >> 8 : word)
    }

    mutating func write(_ byte: UInt8, _ now: UInt64) {
        switch (order, written) {
        case (.low, _): count = UInt16(byte)
        case (.high, _): count = UInt16(byte) << 8
        case (.both, nil):
            written = byte
            // The first of two bytes stops mode 0.
            if mode == 0 { state = .stopped }
            return
        case (.both, let low?):
            written = nil
            count = UInt16(byte) << 8 | UInt16(low)
        }
        hasCount = true
        guard mode != 1 && mode != 5 else { return }
        state = isGateHigh ? .running(since: now) : .held(after: 0)
    }
}

/// The three channels and port 61.
struct IntervalTimer {
    private var clock = TimerChannel(isGateHigh: true)
    private var refresh = TimerChannel(isGateHigh: true)
    private var speaker = TimerChannel(isGateHigh: false)
    /// Port 61, bits 0 and 1: the gate of channel 2, and whether its output is heard.
    private var control: UInt8 = 0
    /// Channel 0's output rises once for each count that is written.
    var isSingle: Bool { clock.isSingle }
    /// When the next rise of channel 0's output is told.
    private(set) var nextEvent: Nanoseconds?
    /// The tick of that rise, which can have come before.
    private var rise: UInt64 = 0
    /// For a guest that counts the rises and has no other clock, each of them is told, late if need be.
    var tellsAll = false
    /// But none that is a minute late.
    private static let latest = 60 * TimerTicks.frequency

    /// Bit 4 of port 61 changes this often.
    private static let refreshTime: UInt64 = 15_085

    /// - Returns: true if channel 0's output has risen since. However often, as an interrupt line tells it once; with `tellsAll`
    ///   the others are told one by one, half a period apart, so that the guest comes to something between them.
    mutating func advance(to now: Nanoseconds) -> Bool {
        guard let nextEvent, nextEvent <= now else { return false }
        guard tellsAll, let step = clock.interval else {
            plan(now)
            return true
        }
        let tick = TimerTicks.at(now)
        rise = rise &+ step
        if rise &+ Self.latest < tick {
            rise = rise &+ (tick &- rise &- Self.latest) / step &* step
        }
        self.nextEvent = TimerTicks.moment(of: max(rise, tick &+ step / 2))
        return true
    }

    private mutating func plan(_ now: Nanoseconds) {
        let next = clock.rise(after: TimerTicks.at(now))
        rise = next ?? 0
        nextEvent = next.map(TimerTicks.moment(of:))
    }

    /// - Returns: nil for a port that is not its.
    mutating func read(_ port: UInt16, _ now: Nanoseconds) -> UInt8? {
        switch port {
        case 0x40: clock.read(TimerTicks.at(now))
        case 0x41: refresh.read(TimerTicks.at(now))
        case 0x42: speaker.read(TimerTicks.at(now))
        case 0x61:
            control | (now.count / Self.refreshTime & 1 == 0 ? 0 : 0x10)
                | (speaker.isHigh(TimerTicks.at(now)) ? 0x20 : 0)
        default: nil
        }
    }

    /// To be called when `advance` has told what was due by then: what is written plans the next rise anew.
    mutating func write(_ port: UInt16, _ value: UInt8, _ now: Nanoseconds) {
        let ticks = TimerTicks.at(now)
        switch port {
        case 0x40:
            clock.write(value, ticks)
            plan(now)
        case 0x41: refresh.write(value, ticks)
        case 0x42: speaker.write(value, ticks)
        case 0x43: command(value, ticks, now)
        case 0x61:
            control = value & 3
            speaker.setGate(value & 1 != 0, ticks)
        default: break
        }
    }

    private mutating func command(_ value: UInt8, _ ticks: UInt64, _ now: Nanoseconds) {
        if value & 0xC0 == 0xC0 {
            // Read-back: of several channels, their counts and how they stand.
            if value & 2 != 0 { Self.readBack(&clock, value, ticks) }
            if value & 4 != 0 { Self.readBack(&refresh, value, ticks) }
            if value & 8 != 0 { Self.readBack(&speaker, value, ticks) }
            return
        }
        switch value >> 6 {
        case 0:
            Self.control(&clock, value, ticks)
            // A latch changes nothing, and what is due stays due.
            if value & 0x30 != 0 { plan(now) }
        case 1: Self.control(&refresh, value, ticks)
        default: Self.control(&speaker, value, ticks)
        }
    }

    private static func readBack(_ channel: inout TimerChannel, _ value: UInt8, _ ticks: UInt64) {
        if value & 0x20 == 0 { channel.latch(ticks) }
        if value & 0x10 == 0 { channel.latchStatus(ticks) }
    }

    private static func control(_ channel: inout TimerChannel, _ value: UInt8, _ ticks: UInt64) {
        if value & 0x30 == 0 { channel.latch(ticks) } else { channel.setMode(value) }
    }
}
