// The clock with its battery and 128 bytes of memory (MC146818), at ports 70 and 71, and interrupt line 8. It tells the
// host's time, in UTC; a guest that sets it changes nothing. The time is taken anew for each byte. Register A's bit 7 is 1
// at the end of each second, as a clock of this kind has it while it is being updated: kernels up to 2.6.16 wait for it
// to rise and fall. (A guest that sees a second pass while it reads looks again, as it must with any such clock.)
//
// Nothing ticks here: which flags of register C have risen is computed at each look, from the moment of the look
// before. Only a flag that asks for an interrupt, as B says, has to be there in time.
//
//   quiet -- B asks --> waiting -- it rises --> asking -- C is read --> waiting
//   quiet -- B asks for what has risen --> asking
//   waiting, asking -- B asks no more --> quiet
//
// While it asks nothing more is waited for: a guest that does not read C is not woken by the next one.
// Source: docs/abi/pc.md §3.4; the data sheet of Motorola's MC146818A. The same as a page: docs/clock-interrupt-machine.md.

struct RealTimeClock {
    private var index: UInt8 = 0
    private var memory = [UInt8](repeating: 0, count: 128)

    private enum State {
        case quiet
        /// A flag that asks for an interrupt rises then, or it is time to look for that.
        case waiting(until: Nanoseconds)
        case asking
    }
    private var state = State.quiet
    /// Register C, but for what has come since the last look.
    private var flags: UInt8 = 0
    /// When that was, since the start of 1970.
    private var looked: UInt64?

    private enum Register {
        static let a = 0x0A
        static let b = 0x0B
        static let c = 0x0C
        static let d = 0x0D
        static let century = 0x32
        /// Of the alarm.
        static let second = 0x01
        static let minute = 0x03
        static let hour = 0x05
    }
    /// Bits of registers B and C.
    private enum Flag {
        static let periodic: UInt8 = 0x40
        static let alarm: UInt8 = 0x20
        static let update: UInt8 = 0x10
        static let all: UInt8 = 0x70
        /// Of C: one of them asks for the interrupt.
        static let interrupt: UInt8 = 0x80
    }
    /// Bits of register B: it is being set, hours to 24, numbers in binary.
    private static let set: UInt8 = 0x80
    private static let hours24: UInt8 = 0x02
    private static let binary: UInt8 = 0x04
    /// Of register A, in the last 2.2 ms of a second.
    private static let update: UInt8 = 0x80
    private static let second: UInt64 = Nanoseconds.perSecond
    private static let updateTime: UInt64 = 2_200_000
    /// The host's clock can be set, and goes on while the host sleeps: an alarm is not waited for longer without a look.
    private static let longest: UInt64 = 60 * second

    init() {
        memory[Register.a] = 0x26
        memory[Register.b] = Self.hours24
    }

    mutating func select(_ value: UInt8) { index = value & 0x7F }

    /// - Parameters:
    ///   - time: since the start of 1970.
    ///   - now: on the clock that `nextEvent` is of.
    mutating func read(_ time: Nanoseconds, _ now: Nanoseconds) -> UInt8 {
        let (seconds, part) = time.count.quotientAndRemainder(dividingBy: Self.second)
        let register = Int(index)
        switch register {
        case 0x00, 0x02, 0x04, 0x06...0x09, Register.century: break
        case Register.a:
            let isUpdating = part >= Self.second - Self.updateTime
            return memory[register] & ~Self.update | (isUpdating ? Self.update : 0)
        case Register.c:
            look(time.count)
            let value = flags | (flags & memory[Register.b] != 0 ? Flag.interrupt : 0)
            flags = 0
            plan(time.count, now)
            return value
        case Register.d: return 0x80
        default: return memory[register]
        }
        let date = Date(seconds)
        if register == 0x04 { return hour(date.hour) }
        let number: UInt8 =
            switch register {
            case 0x00: date.second
            case 0x02: date.minute
            case 0x06: date.weekday
            case 0x07: date.day
            case 0x08: date.month
            case 0x09: date.yearOfCentury
            default: date.century
            }
        return coded(number)
    }

    /// - Parameters:
    ///   - time: since the start of 1970, if it is wanted.
    ///   - now: on the clock that `nextEvent` is of.
    mutating func write(_ value: UInt8, _ time: () -> Nanoseconds, _ now: Nanoseconds) {
        let register = Int(index)
        switch register {
        case Register.a, Register.b, Register.second, Register.minute, Register.hour:
            // What was until now was by the old words.
            let time = time().count
            look(time)
            memory[register] = value
            // A clock that is being set tells no update.
            if register == Register.b && value & Self.set != 0 {
                memory[register] &= ~Flag.update
            }
            plan(time, now)
        default: memory[register] = value
        }
    }

    // MARK: The interrupt

    /// IRQ, as the level of its line.
    var isInterruptRequested: Bool {
        if case .asking = state { return true }
        return false
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .quiet: "quiet"
        case .waiting: "waiting"
        case .asking: "asking"
        }
    }

    /// When `advance` has something to do; nil for never.
    var nextEvent: Nanoseconds? {
        if case .waiting(let moment) = state { return moment }
        return nil
    }

    /// - Returns: true if the line may have risen.
    mutating func advance(to now: Nanoseconds, _ time: () -> Nanoseconds) -> Bool {
        guard case .waiting(let moment) = state, moment <= now else { return false }
        let time = time().count
        look(time)
        plan(time, now)
        return isInterruptRequested
    }

    /// Raises the flags of what has come since the last look.
    private mutating func look(_ time: UInt64) {
        let before = looked ?? time
        looked = time
        // The host's clock can be set back.
        guard before < time else { return }
        if let shift = periodShift, Self.ticks(before) >> shift != Self.ticks(time) >> shift {
            flags |= Flag.periodic
        }
        let (from, to) = (before / Self.second, time / Self.second)
        guard from < to, memory[Register.b] & Self.set == 0 else { return }
        flags |= Flag.update
        if let alarm = alarm(after: from), alarm <= to { flags |= Flag.alarm }
    }

    /// After a look: the state that the flags, and those that B asks for, lead to.
    private mutating func plan(_ time: UInt64, _ now: Nanoseconds) {
        let wanted = memory[Register.b] & Flag.all
        if flags & wanted != 0 {
            state = .asking
            return
        }
        var left: UInt64?
        func wait(_ time: UInt64) { left = min(left ?? Self.longest, time) }
        let (seconds, part) = time.quotientAndRemainder(dividingBy: Self.second)
        if wanted & Flag.periodic != 0, let shift = periodShift {
            let next = (Self.ticks(time) >> shift + 1) << shift
            // In the second that has begun: the length of a period is a part of it.
            let ticks = next - seconds << 15
            wait((ticks * Self.second + 0x7FFF) >> 15 - part)
        }
        if memory[Register.b] & Self.set == 0 {
            if wanted & Flag.update != 0 { wait(Self.second - part) }
            if wanted & Flag.alarm != 0, let alarm = alarm(after: seconds) {
                wait((alarm - seconds) * Self.second - part)
            }
        }
        state = left.map { .waiting(until: now + Nanoseconds(count: $0)) } ?? .quiet
    }

    /// Ticks of 1/32768 s.
    private static func ticks(_ time: UInt64) -> UInt64 {
        let (seconds, part) = time.quotientAndRemainder(dividingBy: second)
        return seconds << 15 + part << 15 / second
    }

    /// How often the periodic flag rises, as a power of two of such ticks: every 122 µs at most; nil for never.
    private var periodShift: UInt64? {
        switch memory[Register.a] & 15 {
        case 0: nil
        case 1, 2: UInt64(memory[Register.a] & 15) + 6
        case let rate: UInt64(rate) - 1
        }
    }

    /// The first second after this one at which the alarm goes; nil for never.
    private func alarm(after seconds: UInt64) -> UInt64? {
        var time = seconds + 1
        // At most 24 hours, 60 minutes and 60 seconds are passed over, minutes and seconds twice.
        for _ in 0..<300 {
            if !isAlarm(Register.hour, hour(UInt8(time / 3600 % 24))) {
                time = (time / 3600 + 1) * 3600
            } else if !isAlarm(Register.minute, coded(UInt8(time / 60 % 60))) {
                time = (time / 60 + 1) * 60
            } else if !isAlarm(Register.second, coded(UInt8(time % 60))) {
                time += 1
            } else {
                return time
            }
        }
        return nil
    }

    /// Bits 7 and 6 set stand for any.
    private func isAlarm(_ register: Int, _ value: UInt8) -> Bool {
        memory[register] >= 0xC0 || memory[register] == value
    }

    // MARK: The date

    private func coded(_ number: UInt8) -> UInt8 {
        memory[Register.b] & Self.binary != 0 ? number : (number / 10) << 4 | number % 10
    }

    private func hour(_ hour: UInt8) -> UInt8 {
        guard memory[Register.b] & Self.hours24 == 0 else { return coded(hour) }
        return coded(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0)
    }

    /// A moment as a calendar has it.
    private struct Date {
        let second, minute, hour, weekday, day, month, yearOfCentury, century: UInt8

        init(_ seconds: UInt64) {
            second = UInt8(seconds % 60)
            minute = UInt8(seconds / 60 % 60)
            hour = UInt8(seconds / 3600 % 24)
            var days = UInt32(seconds / 86_400)
            // The first of 1970 was a Thursday; Sunday is 1.
            weekday = UInt8((days + 4) % 7 + 1)
            var year: UInt32 = 1970
            while days >= Self.days(of: year) {
                days -= Self.days(of: year)
                year += 1
            }
            var month: UInt32 = 1
            while days >= Self.days(of: month, year) {
                days -= Self.days(of: month, year)
                month += 1
            }
            self.month = UInt8(month)
            day = UInt8(days + 1)
            yearOfCentury = UInt8(year % 100)
            century = UInt8(year / 100)
        }

        private static func isLeap(_ year: UInt32) -> Bool {
            year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        }
        private static func days(of year: UInt32) -> UInt32 { isLeap(year) ? 366 : 365 }
        private static func days(of month: UInt32, _ year: UInt32) -> UInt32 {
            switch month {
            case 4, 6, 9, 11: 30
            case 2: isLeap(year) ? 29 : 28
            default: 31
            }
        }
    }
}
