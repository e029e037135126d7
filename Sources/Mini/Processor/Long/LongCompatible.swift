// Compatibility mode: 32-bit and 16-bit programs below a 64-bit kernel. Blocks, records and the loop are those of 64-bit
// code; what differs is decoded differently (LongDecoderCompatible.swift), and lies off its hot paths:
//
// * The upper halves of rax to rdi are 0 there, for they are cleared on the way in and no instruction writes them. So the sum
//   of a record's three loads is the address but for the bits above 32, and these are removed where an access is not found
//   in the TLB (`linearMask`). The TLB knows no such address: one that held 64-bit code's is emptied on the way in.
// * A segment that is open (4 GiB from 0; of fs and gs from anywhere) costs nothing. An operand in any other has its address
//   computed in front, and that carries the segment's number plus one above bit 40, a tag: found in no TLB either, it comes
//   the slow way, where null, type and limit are looked at.
// * rip is an offset in cs. It wraps, and meets cs's base and limit, where a block is looked for.
//
// Sources: AMD64 Architecture Programmer's Manual volume 1, 2.1, 3.1; volume 2, 4.5, 4.8, 8.9; volume 3 for the opcodes.

extension LongCore {
    private static let tagShift: UInt64 = 40

    // MARK: The mode

    /// Of `LongState.narrowTLBs`.
    var currentTLB: UInt8 { state.privilege == 3 ? 2 : 1 }

    func widen() {
        state.linearMask = ~0
        state.stackMask = ~0
        state.stackBase = 0
        state.codeBase = 0
    }

    /// Bits of `LongState.mode`, and what else the segments say.
    @inline(never) func compatibleMode() -> UInt32 {
        var mode = LongMode.compatible
        let code = state.segments[1]
        if !code.is32 { mode |= LongMode.short }
        if code.limit != .max { mode |= LongMode.limited }
        for number in 0..<6 where !isOpen(number) {
            mode |= 1 &<< (LongMode.checkedShift &+ UInt32(number))
        }
        state.linearMask = 0xFFFF_FFFF
        state.stackMask = state.segments[2].is32 ? 0xFFFF_FFFF : 0xFFFF
        state.stackBase = isOpen(2) ? 0 : tagged(state.bases[2], 3)
        state.codeBase = state.bases[1]
        if state.narrowTLBs & currentTLB == 0 {
            clearCurrentTLB()
            state.narrowTLBs |= currentTLB
        }
        // Links and the jump cache do not tell these apart.
        let place = state.codeBase &<< 32 | UInt64(code.limit)
        if mode != state.compatibleMode || place != state.compatibleCode {
            state.compatibleMode = mode
            state.compatibleCode = place
            nextGeneration()
        }
        return mode
    }

    /// Nothing to check, and nothing to add that a record could not.
    private func isOpen(_ number: Int) -> Bool {
        let segment = state.segments[number]
        return segment.limit == .max && segment.isWritable && !segment.isExpandDown
            && state.bases[number] &>> (number < 4 ? 0 : 32) == 0
    }

    func wrapInstructionPointer() throws(Fault) {
        state.rip &= 0xFFFF_FFFF
        state.blockStart = state.rip
        guard state.rip <= UInt64(state.segments[1].limit) else { throw .protection(0) }
    }

    // MARK: Addresses

    func tagged(_ address: UInt64, _ tag: UInt8) -> UInt64 {
        address & 0xFFFF_FFFF | UInt64(tag) &<< Self.tagShift
    }

    func extra(_ place: UInt64) -> UInt64 {
        isOpen(0) ? place : tagged(place &+ state.bases[0], 1)
    }

    /// Another address in the same segment.
    func moved(_ place: UInt64, by distance: UInt64) -> UInt64 {
        let mask = state.linearMask
        return (place &+ distance) & mask | place & ~mask
    }

    @inline(__always) func checkTag(_ linear: UInt64, _ count: UInt64, write: Bool) throws(Fault) {
        if linear &>> Self.tagShift != 0 { try checkFar(linear, count, write: write) }
    }

    @inline(never) private func checkFar(_ linear: UInt64, _ count: UInt64, write: Bool)
        throws(Fault)
    {
        guard state.linearMask != ~0 else {
            // Before any page: the last byte of an operand has to be canonical as well.
            if Self.isCanonical(linear &+ (count &- 1)) { return }
            state.isOutside = true
            throw .protection(0)
        }
        // Of a sum below 0, seven.
        let tag = Int(truncatingIfNeeded: linear &>> Self.tagShift & 7)
        guard tag != 0 && tag != 7 else { return }
        let offset = UInt32(truncatingIfNeeded: linear &- state.bases[tag - 1])
        try Core.checkAccess(
            state.segments[tag - 1], offset, UInt32(truncatingIfNeeded: count), write: write,
            tag == 3 ? .stack(0) : .protection(0))
    }

    /// A place on the stack, by rsp or rbp.
    @inline(__always) func stackPlace(_ pointer: UInt64) -> UInt64 {
        pointer & state.stackMask &+ state.stackBase
    }

    @inline(__always) func moveStack(to pointer: UInt64) {
        rsp = rsp & ~state.stackMask | pointer & state.stackMask
    }

    // MARK: Instructions

    func transfer(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let kind = LongTransfer(rawValue: i.which)
        if kind == nil && !condition(i.which) {
            state.rip = following(i)
            return .jump
        }
        var target = following(i) &+ UInt64(bitPattern: Int64(i.displacement))
        if kind == .jumpOperand || kind == .callOperand { target = try operand(i) }
        target &= Self.mask(size)
        try checkTarget(target)
        if kind == .call || kind == .callOperand { try push(following(i), size) }
        state.rip = target
        return .jump
    }

    /// A near target must lie in the code segment; 64-bit code has no end.
    func checkTarget(_ target: UInt64) throws(Fault) {
        guard state.isLong || target <= UInt64(state.segments[1].limit) else {
            throw .protection(0)
        }
    }

    func compatibleInstruction(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        switch unsafe LongSlow(rawValue: i.aux).unsafelyUnwrapped {
        case .pushAll:
            for index in 1...8 as ClosedRange<UInt64> {
                let value = part(UInt8(truncatingIfNeeded: index &- 1) &* 8, size)
                try write(stackPlace(rsp &- index &* bytes), value, bytes)
            }
            moveStack(to: rsp &- 8 &* bytes)
        case .popAll:
            let place = rsp
            var values = InlineArray<8, UInt64>(repeating: 0)
            for index in 0..<8 {
                values[index] = try read(
                    stackPlace(place &+ UInt64(truncatingIfNeeded: index) &* bytes), bytes)
            }
            // rsp's is skipped.
            for index in 0..<8 where index != 3 {
                setPart(UInt8(truncatingIfNeeded: 7 &- index) &* 8, size, values[index])
            }
            moveStack(to: place &+ 8 &* bytes)
        case .bounds:
            // The upper bound is not looked at when the lower one is missed.
            let index = Int64(bitPattern: Self.extend(part(i.a, size), size))
            let place = linear(i)
            for number in 0..<2 as Range<UInt64> {
                let value = try read(moved(place, by: number &* bytes), bytes)
                let bound = Int64(bitPattern: Self.extend(value, size))
                guard number == 0 ? index >= bound : index <= bound else { throw .bounds }
            }
        case .adjustPrivilege:
            let wanted = part(i.a, 1) & 3
            let selector = try operand(i)
            let isLower = selector & 3 < wanted
            if isLower { try setOperand(i, selector & ~3 | wanted) }
            setZero(isLower)
        case .setByCarry: set(0, carry ? 0xFF : 0 as UInt8)
        case .decimal: adjustDecimal(subtracts: i.which == 1)
        case .ascii: adjustAscii(subtracts: i.which == 1)
        case .asciiMultiply:
            let base = UInt64(truncatingIfNeeded: i.immediate)
            guard base != 0 else { throw .divideError }
            let al = part(0, 0)
            setPart(0, 1, (al / base) &<< 8 | al % base)
            setFlags(extended: Self.extend(al % base, 0), carry: false, overflow: false)
        default:
            let al = part(0, 0) &+ part(1, 0) &* UInt64(truncatingIfNeeded: i.immediate)
            setPart(0, 1, al & 0xFF)
            setFlags(extended: Self.extend(al, 0), carry: false, overflow: false)
        }
    }

    /// DAA, DAS.
    private func adjustDecimal(subtracts: Bool) {
        let old = part(0, 0)
        let hadCarry = carry
        let isLow = old & 15 > 9 || auxiliary
        let isHigh = old > 0x99 || hadCarry
        let change: UInt64 = (isLow ? 6 : 0) &+ (isHigh ? 0x60 : 0)
        let al = (subtracts ? old &- change : old &+ change) & 0xFF
        // DAS borrows by its lower digit as well.
        let carry = isHigh || isLow && subtracts && old < 6
        setPart(0, 0, al)
        setFlags(extended: Self.extend(al, 0), carry: carry, overflow: false)
        if isLow { state.carries |= 8 }
    }

    /// AAA, AAS.
    private func adjustAscii(subtracts: Bool) {
        let adjusts = part(0, 0) & 15 > 9 || auxiliary
        var ax = part(0, 1)
        if adjusts { ax = subtracts ? ax &- 0x106 : ax &+ 0x106 }
        setPart(0, 1, ax & 0xFF0F)
        setFlags(extended: 1, carry: adjusts, overflow: false)
        if adjusts { state.carries |= 8 }
    }
}
