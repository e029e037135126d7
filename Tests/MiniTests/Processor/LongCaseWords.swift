// Words of vectors and of memory that instructions of the 64-bit differential test have something to do with.

@testable import Mini

enum LongWord: CaseIterable {
    /// Characters of 8 or of 16 bits, of few kinds, with ends of strings.
    case characters
    /// Lanes of 8, 16, 32 or 64 bits about the ends of what they can hold.
    case edges
    /// Numbers of single or double precision that rounding is not easy for.
    case halves

    func make(_ random: inout LongRandom) -> UInt64 {
        switch self {
        case .characters: Self.characters(&random)
        case .edges: Self.edges(&random)
        case .halves: random.chance(2) ? Self.double(&random) : Self.singles(&random)
        }
    }

    /// Words of these kinds and of none, 64 bytes of each.
    static func image(_ count: Int, _ random: inout LongRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let kind: LongWord? = random.chance(4) ? nil : random.one(allCases)
            for _ in 0..<8 {
                let word = kind?.make(&random) ?? random.next()
                for byte in 0..<8 {
                    bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * byte)))
                }
            }
        }
        return Array(bytes[..<count])
    }

    private static func fill(_ bits: Int, _ lane: () -> UInt64) -> UInt64 {
        var word: UInt64 = 0
        for place in stride(from: 0, to: 64, by: bits) {
            word |= (lane() & UInt64.max >> UInt64(64 - bits)) << UInt64(place)
        }
        return word
    }

    private static func characters(_ random: inout LongRandom) -> UInt64 {
        let bits = random.chance(2) ? 8 : 16
        let end = random.one([2, 8, 16, 64])
        // Small ones, so that strings have some in common; and what a sign makes something else of.
        let all: [UInt64] =
            bits == 8
            ? [0x61, 0x62, 0x63, 0x7A, 1, 0x7F, 0x80, 0xFF]
            : [
                0x61, 0x62, 0x63, 0x7A, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x6100,
            ]
        let used = random.chance(2) ? Array(all[..<3]) : all
        return fill(bits) { random.chance(end) ? 0 : random.one(used) }
    }

    private static func edges(_ random: inout LongRandom) -> UInt64 {
        let bits = 8 << random.below(4)
        let top: UInt64 = 1 << UInt64(bits - 1)
        return fill(bits) {
            random.chance(6)
                ? random.next() : random.one([0, 1, 2, top - 1, top, top + 1, 0 &- 1, 0 &- 2])
        }
    }

    private static func double(_ random: inout LongRandom) -> UInt64 {
        let sign = UInt64(random.below(2)) << 63
        let value: Double =
            switch random.below(8) {
            case 0: Double(random.below(8)) + 0.5
            case 1: (Double(random.below(8)) + 0.5).nextDown
            case 2: (Double(random.below(8)) + 0.5).nextUp
            case 3: Double(random.below(1 << 20)) / 4
            case 4: 4_503_599_627_370_496 - Double(random.below(9)) / 2
            case 5: 2_147_483_648 + Double(random.below(9) - 4) / 2
            case 6: [.infinity, .nan, .leastNonzeroMagnitude, 0][random.below(4)]
            default: 9_223_372_036_854_775_808 * Double(random.below(3))
            }
        return value.bitPattern | sign
    }

    private static func singles(_ random: inout LongRandom) -> UInt64 {
        fill(32) {
            let value: Float =
                switch random.below(7) {
                case 0: Float(random.below(8)) + 0.5
                case 1: (Float(random.below(8)) + 0.5).nextDown
                case 2: (Float(random.below(8)) + 0.5).nextUp
                case 3: Float(random.below(1 << 10)) / 4
                case 4: 8_388_608 - Float(random.below(9)) / 2
                case 5: [.infinity, .nan, .leastNonzeroMagnitude, 0][random.below(4)]
                default: Float(sign: .plus, exponent: random.below(250) - 125, significand: 1.5)
                }
            return UInt64(value.bitPattern | UInt32(random.below(2)) << 31)
        }
    }
}
