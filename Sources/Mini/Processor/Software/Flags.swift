// Lazy arithmetic flags. An operation leaves its sign-extended result and the vector of the
// carries out of each bit, moved up so that the operand's top bit is bit 31:
//
//     result   zero: it is 0 · sign: bit 31 · parity: of bits 0-7
//     carries  bit 31 carry · bits 31 and 30 differ: overflow · bit 3 auxiliary carry
//              bit 0 inverts sign, bit 8 inverts parity (set when flags are loaded)
//
// Every flag then takes a few instructions to compute, whatever the operation was.
// Source of the flags themselves: Intel 64 and IA-32 SDM, volume 1, section 3.4.3.

/// EFLAGS bits.
enum Flag {
    static let carry: UInt32 = 1 << 0
    static let one: UInt32 = 1 << 1
    static let parity: UInt32 = 1 << 2
    static let auxiliary: UInt32 = 1 << 4
    static let zero: UInt32 = 1 << 6
    static let sign: UInt32 = 1 << 7
    static let trap: UInt32 = 1 << 8
    static let interrupt: UInt32 = 1 << 9
    static let direction: UInt32 = 1 << 10
    static let overflow: UInt32 = 1 << 11
    static let nestedTask: UInt32 = 1 << 14
    static let resume: UInt32 = 1 << 16
    static let alignment: UInt32 = 1 << 18
    static let identification: UInt32 = 1 << 21

    static let arithmetic = carry | parity | auxiliary | zero | sign | overflow
    static let ioPrivilege: UInt32 = 3 << 12
    static let virtual8086: UInt32 = 1 << 17
    /// What is kept in `State.otherFlags`. IF and IOPL are the profile's, but for a guest with ring 0.
    static let every = other | interrupt | ioPrivilege
    static let other = trap | direction | nestedTask | resume | alignment | identification
}

extension Core {
    // MARK: Setting, by an operation

    /// Flags of `a + b (+ carry) = sum`.
    @inline(__always) func setFlags<Width: Operand>(sum: Width, _ a: Width, _ b: Width) {
        store(result: sum, carries: (a & b) | ((a | b) & ~sum))
    }

    /// Flags of `a - b (- borrow) = difference`.
    @inline(__always) func setFlags<Width: Operand>(difference: Width, _ a: Width, _ b: Width) {
        store(result: difference, carries: (~a & b) | (~(a ^ b) & difference))
    }

    /// Flags of and, or, xor, test.
    @inline(__always) func setFlags<Width: Operand>(logic: Width) {
        state.result = logic.extended
        state.carries = 0
    }

    /// As a sum or difference with 1, the carry flag kept.
    @inline(__always) func setFlagsKeepingCarry<Width: Operand>(_ result: Width, _ carries: Width) {
        let old = state.carries
        store(result: result, carries: carries)
        let change = (state.carries ^ old) & 0x8000_0000
        state.carries ^= change | change &>> 1
    }

    @inline(__always) private func store<Width: Operand>(result: Width, carries: Width) {
        let wide = UInt32(truncatingIfNeeded: carries)
        let shift = UInt32(32 &- Width.bitWidth)
        state.result = result.extended
        state.carries =
            shift == 0 ? wide & 0xC000_0008 : (wide &<< shift) & 0xC000_0000 | (wide & 8)
    }

    /// Result flags of a shift or multiplication, with carry and overflow given; auxiliary
    /// carry 0.
    @inline(__always) func setFlags<Width: Operand>(
        result: Width, carry: Bool, overflow: Bool
    ) {
        state.result = result.extended
        state.carries = (carry ? 0x8000_0000 : 0) | (carry != overflow ? 0x4000_0000 : 0)
    }

    // MARK: Asking

    @inline(__always) var carry: Bool { state.carries &>> 31 != 0 }
    @inline(__always) var carryBit: UInt32 { state.carries &>> 31 }
    @inline(__always) var zero: Bool { state.result == 0 }
    @inline(__always) var sign: Bool { (state.result &>> 31) ^ (state.carries & 1) != 0 }
    @inline(__always) var overflow: Bool {
        (state.carries ^ (state.carries &<< 1)) &>> 31 != 0
    }
    @inline(__always) var parity: Bool {
        var byte = (state.result ^ (state.carries &>> 8)) & 0xFF
        byte ^= byte &>> 4
        return (0x6996 &>> (byte & 15)) & 1 == 0
    }
    @inline(__always) var auxiliary: Bool { state.carries & 8 != 0 }
    /// Sign differs from overflow.
    @inline(__always) var less: Bool {
        (state.result ^ (state.carries &<< 31) ^ state.carries ^ (state.carries &<< 1)) &>> 31 != 0
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

    /// CF, PF, AF, ZF, SF, OF at their places in EFLAGS.
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
                (carry ? 0x8000_0000 : 0) | (carry != overflow ? 0x4000_0000 : 0)
                | (newValue & Flag.auxiliary != 0 ? 8 : 0)
                | (newValue & Flag.sign != 0 ? 1 : 0)
                | (newValue & Flag.parity != 0 ? 0 : 0x100)
        }
    }

    /// EFLAGS as a program sees it: of a guest without ring 0, IF and IOPL as the profile has them; VM 0.
    var flags: UInt32 {
        get { arithmeticFlags | state.otherFlags | state.profile.fixedFlags }
        nonmutating set {
            arithmeticFlags = newValue
            let hadTrap = state.otherFlags & Flag.trap
            state.otherFlags = newValue & (isSystem ? Flag.every : Flag.other)
            if newValue & Flag.trap != hadTrap { updateMode() }
        }
    }

    /// What a POPF or an IRET of a privilege can change of IF and IOPL.
    func flagsWithin(_ privilege: UInt32, _ value: UInt32) -> UInt32 {
        guard isSystem else { return value }
        let kept: UInt32 =
            privilege == 0
            ? 0 : Flag.ioPrivilege | (privilege <= ioPrivilege ? 0 : Flag.interrupt)
        return value & ~kept | state.otherFlags & kept
    }

    var ioPrivilege: UInt32 { state.otherFlags &>> 12 & 3 }

    /// Sets the carry flag alone.
    func setCarry(_ value: Bool) {
        let change = (value ? 0x8000_0000 : 0) ^ (state.carries & 0x8000_0000)
        state.carries ^= change | change &>> 1
    }

    /// Sets or clears one arithmetic flag.
    func setFlag(_ flag: UInt32, _ value: Bool) {
        arithmeticFlags = value ? arithmeticFlags | flag : arithmeticFlags & ~flag
    }
}
