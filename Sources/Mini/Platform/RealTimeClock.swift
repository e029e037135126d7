// The clock with its battery and 128 bytes of memory (MC146818), at ports 70 and 71. It tells the host's time, in UTC;
// a guest that sets it changes nothing. The time is taken anew for each byte. Register A's bit 7 is 1
// at the end of each second, as a clock of this kind has it while it is being updated: kernels up to 2.6.16 wait for it
// to rise and fall. (A guest that sees a second pass while it reads looks again, as it must with any such clock.)
// Source: docs/abi/pc.md §3.4; the data sheet of Motorola's MC146818A.

struct RealTimeClock {
    private var index: UInt8 = 0
    private var memory = [UInt8](repeating: 0, count: 128)

    private enum Register {
        static let a = 0x0A
        static let b = 0x0B
        static let c = 0x0C
        static let d = 0x0D
        static let century = 0x32
    }
    /// Bits of register B: hours to 24, numbers in binary.
    private static let hours24: UInt8 = 0x02
    private static let binary: UInt8 = 0x04
    /// Of register A, in the last 2.2 ms of a second.
    private static let update: UInt8 = 0x80
    private static let second: UInt64 = 1_000_000_000
    private static let updateTime: UInt64 = 2_200_000

    init() {
        memory[Register.a] = 0x26
        memory[Register.b] = Self.hours24
    }

    mutating func select(_ value: UInt8) { index = value & 0x7F }

    /// - Parameter time: since the start of 1970.
    func read(_ time: Nanoseconds) -> UInt8 {
        let (seconds, part) = time.count.quotientAndRemainder(dividingBy: Self.second)
        let register = Int(index)
        switch register {
        case 0x00, 0x02, 0x04, 0x06...0x09, Register.century: break
        case Register.a:
            let isUpdating = part >= Self.second - Self.updateTime
            return memory[register] & ~Self.update | (isUpdating ? Self.update : 0)
        case Register.c: return 0
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

    mutating func write(_ value: UInt8) { memory[Int(index)] = value }

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
