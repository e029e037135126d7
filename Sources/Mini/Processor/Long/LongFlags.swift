// The lazy flags of Flags.swift with 64 bits: of each operation the sign-extended result and the carries out of each bit,
// moved up so that the operand's top bit is bit 63.
//
//     result   zero: it is 0 · sign: bit 63 · parity: of bits 0-7
//     carries  bit 63 carry · bits 63 and 62 differ: overflow · bit 3 auxiliary carry
//              bit 0 inverts sign, bit 8 inverts parity (set when flags are loaded)

extension LongCore {
    static let top: UInt64 = 1 << 63
    static let next: UInt64 = 1 << 62

    @inline(__always) func setFlags<Width: LongOperand>(sum: Width, _ a: Width, _ b: Width) {
        store(result: sum, carries: (a & b) | ((a | b) & ~sum))
    }

    @inline(__always) func setFlags<Width: LongOperand>(difference: Width, _ a: Width, _ b: Width) {
        store(result: difference, carries: (~a & b) | (~(a ^ b) & difference))
    }

    @inline(__always) func setFlags<Width: LongOperand>(logic: Width) {
        state.result = logic.extended64
        state.carries = 0
    }

    /// As a sum or difference with 1, the carry flag kept.
    @inline(__always) func setFlagsKeepingCarry<Width: LongOperand>(
        _ result: Width, _ carries: Width
    ) {
        let old = state.carries
        store(result: result, carries: carries)
        let change = (state.carries ^ old) & Self.top
        state.carries ^= change | change &>> 1
    }

    @inline(__always) private func store<Width: LongOperand>(result: Width, carries: Width) {
        let wide = UInt64(truncatingIfNeeded: carries)
        let shift = UInt64(64 &- Width.bitWidth)
        state.result = result.extended64
        state.carries =
            shift == 0
            ? wide & (Self.top | Self.next | 8)
            : (wide &<< shift) & (Self.top | Self.next) | (wide & 8)
    }

    /// Result flags of a shift or multiplication; auxiliary carry 0.
    @inline(__always) func setFlags(extended result: UInt64, carry: Bool, overflow: Bool) {
        state.result = result
        state.carries = (carry ? Self.top : 0) | (carry != overflow ? Self.next : 0)
    }

    // MARK: Asking

    @inline(__always) var carry: Bool { state.carries &>> 63 != 0 }
    @inline(__always) var carryBit: UInt64 { state.carries &>> 63 }
    @inline(__always) var zero: Bool { state.result == 0 }
    @inline(__always) var sign: Bool { (state.result &>> 63) ^ (state.carries & 1) != 0 }
    @inline(__always) var overflow: Bool { (state.carries ^ (state.carries &<< 1)) &>> 63 != 0 }
    @inline(__always) var parity: Bool {
        var byte = (state.result ^ (state.carries &>> 8)) & 0xFF
        byte ^= byte &>> 4
        return (0x6996 &>> (byte & 15)) & 1 == 0
    }
    @inline(__always) var auxiliary: Bool { state.carries & 8 != 0 }
    @inline(__always) var less: Bool {
        (state.result ^ (state.carries &<< 63) ^ state.carries ^ (state.carries &<< 1)) &>> 63 != 0
    }

    /// Condition 0...15 of jcc, setcc, cmovcc.
    @inline(__always) func condition(_ number: UInt8) -> Bool {
        let holds =
            switch number &>> 1 {
            case 0: overflow
            case 1: carry
            case 2: zero
            case 3: carry || zero
            case 4: sign
            case 5: parity
            case 6: less
            default: less || zero
            }
        return holds != (number & 1 != 0)
    }

    // MARK: All at once

    /// CF, PF, AF, ZF, SF, OF at their places in RFLAGS.
    var arithmeticFlags: UInt32 {
        get {
            (carry ? Flag.carry : 0) | (parity ? Flag.parity : 0)
                | (auxiliary ? Flag.auxiliary : 0) | (zero ? Flag.zero : 0)
                | (sign ? Flag.sign : 0) | (overflow ? Flag.overflow : 0)
        }
        nonmutating set {
            let carry = newValue & Flag.carry != 0
            let overflow = newValue & Flag.overflow != 0
            state.result = newValue & Flag.zero != 0 ? 0 : 0x100
            state.carries =
                (carry ? Self.top : 0) | (carry != overflow ? Self.next : 0)
                | (newValue & Flag.auxiliary != 0 ? 8 : 0)
                | (newValue & Flag.sign != 0 ? 1 : 0)
                | (newValue & Flag.parity != 0 ? 0 : 0x100)
        }
    }

    var flags: UInt64 {
        get { UInt64(arithmeticFlags | Flag.one) | state.otherFlags }
        nonmutating set {
            arithmeticFlags = UInt32(truncatingIfNeeded: newValue)
            let hadTrap = state.otherFlags & UInt64(Flag.trap)
            state.otherFlags = newValue & UInt64(Flag.every)
            if newValue & UInt64(Flag.trap) != hadTrap { updateMode() }
        }
    }

    /// What a POPF or an IRET of a privilege can change of IF and IOPL.
    func flagsWithin(_ privilege: UInt32, _ value: UInt64) -> UInt64 {
        let ioPrivilege = UInt32(truncatingIfNeeded: state.otherFlags &>> 12 & 3)
        let kept =
            (privilege == 0 ? 0 : Flag.ioPrivilege)
            | (privilege <= ioPrivilege ? 0 : Flag.interrupt)
        return value & ~UInt64(kept) | state.otherFlags & UInt64(kept)
    }
}
