// What an instruction of MMX, SSE or SSE2 does to values, whichever processor they are of.

import CShim

enum VectorUnit {
    static func lane(_ vector: UnsafeMutableRawPointer, _ index: Int) -> UInt64 {
        unsafe vector.load(fromByteOffset: index * 8, as: UInt64.self)
    }

    static func setLane(_ vector: UnsafeMutableRawPointer, _ index: Int, _ value: UInt64) {
        unsafe vector.storeBytes(of: value, toByteOffset: index * 8, as: UInt64.self)
    }

    /// Bytes of the source of one instruction of the rows 50 to 5F, E6, by prefix.
    static func sourceCount(_ opcode: UInt8, _ prefix: UInt32) -> Int {
        switch prefix {
        case 0: opcode == 0x5A ? 8 : 16
        case 2: opcode == 0xE6 ? 8 : opcode == 0x5B ? 16 : 4
        case 3: opcode == 0xE6 ? 16 : 8
        default: 16
        }
    }

    /// PSHUFD, PSHUFLW, PSHUFHW, SHUFPS, SHUFPD: what the immediate picks.
    static func shuffle(
        _ code: VectorCode, _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer
    ) {
        let value = code.value
        let a = unsafe (lane(to, 0), lane(to, 1))
        let b = unsafe (lane(from, 0), lane(from, 1))
        let new: (UInt64, UInt64) =
            switch (code.opcode, code.prefix) {
            case (0x70, 1): (doubles(b, value), doubles(b, value &>> 4))
            case (0x70, 2): (b.0, words(b.1, value))
            case (0x70, _): (words(b.0, value), b.1)
            case (_, 0): (doubles(a, value), doubles(b, value &>> 4))
            default: (value & 1 == 0 ? a.0 : a.1, value & 2 == 0 ? b.0 : b.1)
            }
        unsafe setLane(to, 0, new.0)
        unsafe setLane(to, 1, new.1)
    }

    /// Two double words as four bits pick them.
    private static func doubles(_ of: (UInt64, UInt64), _ picked: UInt32) -> UInt64 {
        func double(_ number: UInt32) -> UInt64 {
            (number & 2 == 0 ? of.0 : of.1) &>> (UInt64(number & 1) * 32) & 0xFFFF_FFFF
        }
        return double(picked) | double(picked &>> 2) &<< 32
    }

    /// Four words as an immediate picks them.
    static func words(_ of: UInt64, _ picked: UInt32) -> UInt64 {
        var result: UInt64 = 0
        for index in 0..<4 as Range<UInt64> {
            let number = UInt64(picked) &>> (index * 2) & 3
            result |= (of &>> (number * 16) & 0xFFFF) &<< (index * 16)
        }
        return result
    }

    /// Shifts by an immediate.
    /// - Parameters: the group of modrm; 16 bytes for the count on its way.
    static func shift(
        _ code: VectorCode, _ group: UInt8, _ to: UnsafeMutableRawPointer,
        _ scratch: UnsafeMutableRawPointer
    ) {
        let count = UInt64(code.value)
        if code.opcode == 0x73 && group & 1 != 0 {
            return unsafe shiftBytes(to, min(count, 16) * 8, isLeft: group == 7)
        }
        // The same with the count in a register: D1...D3, E1, E2, F1...F3.
        unsafe setLane(scratch, 0, count)
        unsafe setLane(scratch, 1, 0)
        let opcode = shiftOpcode(code, group)
        _ = unsafe mini_sse(VectorForm.integer + UInt32(opcode) - 0x60, to, scratch, 0, nil)
    }

    static func shiftOpcode(_ code: VectorCode, _ group: UInt8) -> UInt8 {
        (group == 2 ? 0xD0 : group == 4 ? 0xE0 : 0xF0) | code.opcode & 3
    }

    /// By whole bytes, over both halves.
    private static func shiftBytes(
        _ to: UnsafeMutableRawPointer, _ bits: UInt64, isLeft: Bool
    ) {
        // What is shifted out of the near half comes into the far one.
        let near = unsafe lane(to, isLeft ? 0 : 1)
        let far = unsafe lane(to, isLeft ? 1 : 0)
        // Smart shifts: by 64 and more they give 0, and they may be negative.
        func moved(_ value: UInt64, _ by: Int64) -> UInt64 {
            isLeft ? value << by : value >> by
        }
        let by = Int64(bits)
        unsafe setLane(to, isLeft ? 0 : 1, moved(near, by))
        unsafe setLane(to, isLeft ? 1 : 0, moved(far, by) | moved(near, by - 64))
    }

    /// An instruction of SSE2 on two words, with its general register's result.
    static func compute(_ opcode: UInt8, _ a: UInt64, _ b: UInt64, high: UInt64 = 0) -> (
        UInt64, UInt64, UInt64
    ) {
        run(VectorForm.integer + UInt32(opcode) - 0x60, a, b, high)
    }

    /// An instruction by its number in sse.S.
    static func run(_ form: UInt32, _ a: UInt64, _ b: UInt64, _ high: UInt64) -> (
        UInt64, UInt64, UInt64
    ) {
        var to: InlineArray<2, UInt64> = [a, high]
        var from: InlineArray<2, UInt64> = [b, 0]
        let value = unsafe withUnsafeMutableBytes(of: &to) { to in
            unsafe withUnsafeMutableBytes(of: &from) { from in
                unsafe mini_sse(form, to.baseAddress, from.baseAddress, 0, nil)
            }
        }
        return (to[0], to[1], value)
    }

    /// An instruction of MMX that has a register's value and an operand's: what becomes of the register.
    static func multimedia(_ code: VectorCode, _ old: UInt64, _ source: UInt64) -> UInt64 {
        switch code.opcode {
        case 0x6E, 0x6F: return source
        case 0x70: return words(source, code.value)
        case 0xC4:
            let shift = UInt64(code.value & 3) &* 16
            return old & ~(0xFFFF &<< shift) | (source & 0xFFFF) &<< shift
        // Packed of both: they are the halves of one.
        case 0x63, 0x67, 0x6B: return compute(code.opcode, old, source, high: source).0
        // What the upper halves give is the upper half of what all would.
        case 0x68...0x6A: return compute(code.opcode &- 8, old, source).1
        default: return compute(code.opcode, old, source).0
        }
    }
}
