// 64-bit division and shifts of the release for 32 bits, compared with the processor's own.

import CShim
import Testing

@Suite("64-bit arithmetic for 32-bit processors")
struct DivisionTests {
    /// Values around which a digit, a sign or a half begins.
    static let edges: [UInt64] =
        (0..<64).flatMap { bit -> [UInt64] in
            let power = UInt64(1) << bit
            return [power &- 1, power, power + 1, ~power, 0 &- power]
        } + [
            0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_8000_0000, 0xFFFF_FFFF_0000_0000,
            0x0000_0001_FFFF_FFFF,
        ]

    /// Pairs of every length of bits, the same at each run.
    static var random: [(UInt64, UInt64)] {
        var generator = SplitMix(seed: 1)
        return (0..<500_000).map { _ in
            (
                generator.next() >> (generator.next() & 63),
                generator.next() >> (generator.next() & 63)
            )
        }
    }

    private func wrongDivisions(_ dividend: UInt64, _ divisor: UInt64) -> Bool {
        if divisor == 0 { return false }
        let signed = Int64(bitPattern: dividend)
        let by = Int64(bitPattern: divisor)
        // The one quotient that does not fit wraps; C leaves it open, Swift has trapped before.
        let quotient = signed.dividedReportingOverflow(by: by).partialValue
        let remainder = signed.remainderReportingOverflow(dividingBy: by).partialValue
        return mini_udivdi3(dividend, divisor) != dividend / divisor
            || mini_umoddi3(dividend, divisor) != dividend % divisor
            || mini_divdi3(signed, by) != quotient || mini_moddi3(signed, by) != remainder
    }

    @Test("quotients and remainders of edges are the processor's")
    func edgeDivisions() {
        var wrong: [(UInt64, UInt64)] = []
        for dividend in Self.edges {
            for divisor in Self.edges where wrongDivisions(dividend, divisor) {
                wrong.append((dividend, divisor))
            }
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))")
    }

    @Test("quotients and remainders of half a million pairs are the processor's")
    func randomDivisions() {
        let wrong = Self.random.filter { wrongDivisions($0.0, $0.1) }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))")
    }

    @Test("shifts by 0 to 63 are the processor's")
    func shifts() {
        var wrong: [(UInt64, Int32)] = []
        for value in Self.edges {
            for count in Int32(0)...63 {
                let signed = Int64(bitPattern: value)
                if mini_ashldi3(value, count) != value << count
                    || mini_lshrdi3(value, count) != value >> count
                    || mini_ashrdi3(signed, count) != signed >> count
                {
                    wrong.append((value, count))
                }
            }
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))")
    }
}
