// Shifts, rotates and divisions of sizes known at run time, in words of both widths, against a bit at a time. What the real
// processor does is the oracle's to tell (DifferentialTests.swift, LongDifferentialTests.swift).

import Testing

@testable import Mini

@Suite struct ShiftAndDivisionTests {
    /// So many steps by one bit.
    private func steps(
        _ which: UInt8, _ a: UInt64, _ count: UInt64, _ bits: UInt64, _ carry: Bool
    ) -> (result: UInt64, carry: Bool) {
        let (top, mask) = (bits - 1, UInt64.max >> (64 - bits))
        var (result, carry) = (a, carry)
        for _ in 0..<count {
            let (high, low) = (result >> top, result & 1)
            let left = result << 1 & mask
            switch which {
            case 0: result = left | high
            case 1: result = result >> 1 | low << top
            case 2: result = left | (carry ? 1 : 0)
            case 3: result = result >> 1 | (carry ? 1 : 0) << top
            case 5: result >>= 1
            case 7: result = result >> 1 | high << top
            default: result = left
            }
            carry = (which & 1 == 0 ? high : low) != 0
        }
        return (result, carry)
    }

    /// The overflow of a shift by one bit.
    private func overflow(
        _ which: UInt8, _ a: UInt64, _ result: UInt64, _ top: UInt64, _ carry: Bool
    )
        -> Bool
    {
        switch which {
        case 1, 3: (result >> top ^ result >> (top - 1)) & 1 != 0
        case 5: a >> top != 0
        case 7: false
        default: (result >> top != 0) != carry
        }
    }

    @Test("a shift by any count is that of so many bits, in words of both widths")
    func shifts() {
        var random = LongRandom(state: 1)
        var wrong: [String] = []
        for bits in [8, 16, 32, 64] as [UInt64] {
            for count in 1..<(bits == 64 ? 64 : 32) as Range<UInt64> {
                for which in 0..<8 as Range<UInt8> {
                    let a = random.next() >> (64 - bits)
                    let old = random.chance(2)
                    let wanted = steps(which, a, count, bits, old)
                    let found = Shifted<UInt64>(
                        which, a, by: count, bits: bits, carryBit: old ? 1 : 0)
                    var isRight = found.result == wanted.result && found.carry == wanted.carry
                    if count == 1 {
                        let expected = overflow(which, a, wanted.result, bits - 1, wanted.carry)
                        isRight = isRight && found.overflow == expected
                    }
                    if bits < 64 {
                        let narrow = Shifted<UInt32>(
                            which, UInt32(a), by: UInt32(count), bits: UInt32(bits),
                            carryBit: old ? 1 : 0)
                        isRight =
                            isRight && UInt64(narrow.result) == found.result
                            && narrow.carry == found.carry && narrow.overflow == found.overflow
                    }
                    if !isRight { wrong.append("\(which) of \(bits) bits by \(count): \(a)") }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test("a double shift takes in the other operand's bits, in words of both widths")
    func doubleShifts() {
        let left = Shifted<UInt64>(doubly: true, 0x8000_0001, 0xC000_0000, by: 2, bits: 32)
        #expect(left.result == 7 && !left.carry && left.overflow)
        let right = Shifted<UInt32>(doubly: false, 0x8000_0001, 3, by: 1, bits: 32)
        #expect(right.result == 0xC000_0000 && right.carry && !right.overflow)
        let wide = Shifted<UInt64>(doubly: false, 2, 1, by: 1, bits: 64)
        #expect(wide.result == 1 << 63 | 1 && !wide.carry && wide.overflow)
        var random = LongRandom(state: 2)
        for count in 1..<32 as Range<UInt64> {
            for bits in [16, 32] as [UInt64] {
                let (a, b) = (random.next() >> (64 - bits), random.next() >> (64 - bits))
                for isLeft in [true, false] {
                    let wide = Shifted<UInt64>(doubly: isLeft, a, b, by: count, bits: bits)
                    let narrow = Shifted<UInt32>(
                        doubly: isLeft, UInt32(a), UInt32(b), by: UInt32(count), bits: UInt32(bits))
                    #expect(UInt64(narrow.result) == wide.result)
                    #expect(narrow.carry == wide.carry && narrow.overflow == wide.overflow)
                }
            }
        }
    }

    @Test(
        "a quotient that has no room, and a divisor of 0, are divide errors",
        arguments: [
            (0x1234, 0x56, 0, false, 54, 16), (0x5600, 0x56, 0, false, nil, 0),
            (0x1234, 0, 0, false, nil, 0), (0x1234, 0, 0, true, nil, 0),
            (0xFF80, 1, 0, true, -128, 0), (0xFF80, 0xFF, 0, true, nil, 0),
            (0xFFFF_FFF9, 2, 1, true, -3, -1), (7, 0xFFFE, 1, true, -3, 1),
            (0x7FFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF, 2, false, 0x8000_0000, 0x7FFF_FFFF),
            (0x8000_0000_0000_0000, 0xFFFF_FFFF, 2, true, nil, 0),
        ] as [(UInt64, UInt64, UInt8, Bool, Int64?, Int64)])
    func divisions(
        _ dividend: UInt64, _ divisor: UInt64, _ size: UInt8, _ signed: Bool, _ quotient: Int64?,
        _ remainder: Int64
    ) {
        let found = try? Division.divide(dividend, by: divisor, size: size, signed: signed)
        #expect(found.map { Int64(bitPattern: $0.quotient) } == quotient)
        if let found { #expect(Int64(bitPattern: found.remainder) == remainder) }
    }
}
