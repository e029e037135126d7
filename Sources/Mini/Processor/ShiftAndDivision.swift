// What shifts, rotates and divisions come to, of operands whose size is known at run time: the slow paths of both cores, each with
// words of its own width. Where operands are, and how flags are kept, is the core's. Flags that the manual leaves undefined are
// what they fall out as.
// Source: Intel SDM volume 2.

/// A shift's result, above which nothing stands, and its flags.
struct Shifted<Word: FixedWidthInteger & UnsignedInteger> {
    let result: Word
    let carry: Bool
    let overflow: Bool

    /// - Parameters:
    ///   - which: the number in modrm: ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR.
    ///   - count: not 0, and less than a word has bits.
    ///   - bits: of the operand.
    ///   - carryBit: the carry flag from before, 0 or 1.
    init(_ which: UInt8, _ a: Word, by count: Word, bits: Word, carryBit: Word) {
        let top = bits &- 1
        let mask = Self.mask(bits)
        switch which {
        case 0, 1:
            let by = (which == 0 ? count : 0 &- count) & top
            result = (a &<< by | a &>> (bits &- by)) & mask
            carry = (which == 0 ? result : result &>> top) & 1 != 0
            overflow = Self.overflow(ofRotate: which, result, carry, top)
        case 2, 3:
            var rotated = a
            var bit = carryBit
            var left = count % (bits &+ 1)
            while left > 0 {
                let old = rotated
                if which == 2 {
                    rotated = (old &<< 1 | bit) & mask
                    bit = old &>> top
                } else {
                    rotated = old &>> 1 | bit &<< top
                    bit = old & 1
                }
                left &-= 1
            }
            result = rotated
            carry = bit != 0
            overflow = Self.overflow(ofRotate: which, result, carry, top)
        case 5:
            result = a &>> count
            carry = a &>> (count &- 1) & 1 != 0
            overflow = a &>> top != 0
        case 7:
            // In front of a negative number stand ones.
            let ones: Word = a &>> top != 0 ? .max : 0
            let extended = a | ones & ~mask
            result = ((extended ^ ones) &>> count ^ ones) & mask
            carry = extended &>> (count &- 1) & 1 != 0
            overflow = false
        default:
            result = (a &<< count) & mask
            carry = count <= bits && a &>> (bits &- count) & 1 != 0
            overflow = carry != (result &>> top != 0)
        }
    }

    /// SHLD or SHRD: `b` comes in. Of 16 bits by more than 16 the manual leaves the result open: the bits come round.
    init(doubly isLeft: Bool, _ a: Word, _ b: Word, by count: Word, bits: Word) {
        let mask = Self.mask(bits)
        if bits == 16 {
            let (wide, by) = (UInt64(truncatingIfNeeded: a), UInt64(truncatingIfNeeded: count))
            let all = wide &<< 32 | UInt64(truncatingIfNeeded: b) &<< 16 | wide
            let moved = isLeft ? (all &<< by) &>> 32 : all &>> by
            result = Word(truncatingIfNeeded: moved) & mask
            carry = all &>> (isLeft ? 48 &- by : by &- 1) & 1 != 0
        } else if isLeft {
            result = (a &<< count | b &>> (bits &- count)) & mask
            carry = a &>> (bits &- count) & 1 != 0
        } else {
            result = (a &>> count | b &<< (bits &- count)) & mask
            carry = a &>> (count &- 1) & 1 != 0
        }
        overflow = (result ^ a) &>> (bits &- 1) & 1 != 0
    }

    private static func mask(_ bits: Word) -> Word {
        .max &>> (Word(truncatingIfNeeded: Word.bitWidth) &- bits)
    }

    /// To the left the sign is compared with the carry, to the right with the bit below it.
    private static func overflow(
        ofRotate which: UInt8, _ result: Word, _ carry: Bool, _ top: Word
    ) -> Bool {
        let other = which & 1 == 0 ? carry : result &>> (top &- 1) & 1 != 0
        return (result &>> top != 0) != other
    }
}

enum Division {
    /// DIV and IDIV by up to 32 bits; of the dividend twice as many count.
    /// - Throws: #DE for a divisor of 0, and a quotient that has no room.
    static func divide(
        _ dividend: UInt64, by divisor: UInt64, size: UInt8, signed: Bool
    ) throws(Fault) -> (quotient: UInt64, remainder: UInt64) {
        let bits = 8 &<< Int64(size)
        guard divisor != 0 else { throw .divideError }
        if !signed {
            let (quotient, remainder) = dividend.quotientAndRemainder(dividingBy: divisor)
            guard quotient &>> UInt64(bitPattern: bits) == 0 else { throw .divideError }
            return (quotient, remainder)
        }
        func extended(_ value: Int64, _ unused: Int64) -> Int64 { (value &<< unused) &>> unused }
        let wide = extended(Int64(bitPattern: dividend), 64 &- 2 &* bits)
        let by = extended(Int64(bitPattern: divisor), 64 &- bits)
        guard wide != .min || by != -1 else { throw .divideError }
        let (quotient, remainder) = wide.quotientAndRemainder(dividingBy: by)
        guard extended(quotient, 64 &- bits) == quotient else { throw .divideError }
        return (UInt64(bitPattern: quotient), UInt64(bitPattern: remainder))
    }
}
