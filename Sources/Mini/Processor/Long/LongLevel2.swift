// What the level x86-64-v2 adds, which the programs of RHEL 9 and SLES 16 are compiled for: SSE3, SSSE3, SSE4.1, SSE4.2 and POPCNT.
// They are there where the real processor has them, as arithmetic runs on its unit (VectorCore.swift); elsewhere they are #UD, and
// CPUID does not name them. It names them to ring 3 alone: a kernel that knows of them is an eighth slower to boot (LongIdentity.swift). CMPXCHG16B, the last of that level, is with the integers.
//
//     decoder ── Level2.exists? ── record with a VectorCode and, in `which`, its map of opcodes ── slow path ── performLevel2
//
// Tiny results that are exact are not told to a guest that has unmasked underflow of DPPS and DPPD: nothing else misses them.
//
// Source: Intel SDM volume 2; volume 1, chapter 12; System V ABI for x86-64, "Micro-Architecture Levels".

import CShim

enum Level2 {
    /// Maps of opcodes: 0 behind 0F, 1 behind 0F 38, 2 behind 0F 3A.
    static func number(_ map: UInt8, _ opcode: UInt8) -> UInt16 {
        UInt16(map) &<< 8 | UInt16(opcode)
    }

    /// - Parameter prefix: as in `VectorCode`.
    static func exists(_ number: UInt16, prefix: UInt8, isRegister: Bool) -> Bool {
        switch number {
        case 0x012: prefix >= 2
        case 0x016: prefix == 2
        case 0x07C, 0x07D, 0x0D0: prefix == 1 || prefix == 3
        case 0x0F0: prefix == 3 && !isRegister
        case 0x100...0x10B, 0x11C...0x11E, 0x20F: prefix <= 1
        case 0x12A: prefix == 1 && !isRegister
        case 0x110, 0x114, 0x115, 0x117, 0x120...0x125, 0x128...0x12B, 0x130...0x135,
            0x137...0x141, 0x208...0x20E, 0x214...0x217, 0x220...0x222, 0x240...0x242,
            0x260...0x263:
            prefix == 1
        default: false
        }
    }

    /// Bytes of the other operand.
    static func sourceCount(_ number: UInt16, _ prefix: UInt32) -> Int {
        switch number {
        case 0x012: prefix == 3 ? 8 : 16
        // PMOVSX, PMOVZX: to elements of twice, four and eight times the size.
        case 0x120...0x125, 0x130...0x135: 0x848_248 &>> Int(number & 7 &* 4) & 15
        case 0x20A, 0x221: 4
        case 0x20B: 8
        default: 16
        }
    }

    /// Sixteen bytes of four words, and zeros behind them, from a byte on.
    static func cut(
        _ words: (UInt64, UInt64, UInt64, UInt64), at place: UInt32
    ) -> (UInt64, UInt64) {
        var (first, second, third, fourth) = words
        var place = UInt64(place)
        if place >= 16 {
            (first, second, third, fourth) = place < 32 ? (third, fourth, 0, 0) : (0, 0, 0, 0)
            place &= 15
        }
        if place >= 8 { (first, second, third) = (second, third, fourth) }
        let bits = (place & 7) &* 8
        return (
            first &>> bits | (second &<< 1) &<< (63 &- bits),
            second &>> bits | (third &<< 1) &<< (63 &- bits)
        )
    }

    /// PALIGNR: of both, from so many bytes on.
    static func align(
        _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer, _ value: UInt32
    ) {
        let both = unsafe (
            VectorUnit.lane(from, 0), VectorUnit.lane(from, 1), VectorUnit.lane(to, 0),
            VectorUnit.lane(to, 1)
        )
        let cut = cut(both, at: value)
        unsafe VectorUnit.setLane(to, 0, cut.0)
        unsafe VectorUnit.setLane(to, 1, cut.1)
    }

    /// Takes elements of a size in bits from another vector where a third has their top bits set: PBLENDVB, BLENDVPS, BLENDVPD.
    static func blend(
        _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer,
        _ chosen: UnsafeMutableRawPointer, bits: UInt64
    ) {
        let element: UInt64 = ~0 &>> (64 &- bits)
        let ones = ~0 / element
        for half in 0..<2 {
            let mask =
                (unsafe VectorUnit.lane(chosen, half) &>> (bits &- 1) & ones) &* element
            let old = unsafe VectorUnit.lane(to, half)
            let new = unsafe VectorUnit.lane(from, half)
            unsafe VectorUnit.setLane(to, half, old & ~mask | new & mask)
        }
    }

    /// Takes words from another vector whose bit is set: a bit is for one, two or four of them.
    static func blendWords(
        _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer, _ bits: UInt32,
        shift: UInt32
    ) {
        for word in 0..<8 where bits &>> (UInt32(word) &>> shift) & 1 != 0 {
            unsafe (to + word * 2).copyMemory(from: from + word * 2, byteCount: 2)
        }
    }
}

/// A comparison of two texts of 16 bytes: PCMPESTRI and its like.
@safe private struct TextComparison {
    let control: UInt32
    let first: UnsafeMutableRawPointer
    let second: UnsafeMutableRawPointer
    /// Elements that are valid.
    var firstCount = 0
    var secondCount = 0

    private var isWide: Bool { control & 1 != 0 }
    /// Elements of a text.
    var count: Int { isWide ? 8 : 16 }
    private var all: UInt32 { 1 &<< UInt32(count) &- 1 }

    init(_ control: UInt32, _ first: UnsafeMutableRawPointer, _ second: UnsafeMutableRawPointer) {
        self.control = control
        unsafe self.first = unsafe first
        unsafe self.second = unsafe second
    }

    private func element(_ text: UnsafeMutableRawPointer, _ index: Int) -> Int32 {
        let bits =
            isWide
            ? unsafe UInt32((text + index * 2).load(as: UInt16.self))
            : unsafe UInt32((text + index).load(as: UInt8.self))
        guard control & 2 != 0 else { return Int32(bits) }
        let shift: UInt32 = isWide ? 16 : 24
        return Int32(bitPattern: bits &<< shift) &>> Int32(shift)
    }

    /// Elements in front of the first that is 0.
    func length(_ text: UnsafeMutableRawPointer) -> Int {
        var length = 0
        while length < count, unsafe element(text, length) != 0 { length += 1 }
        return length
    }

    private func isEqual(_ index: Int, _ other: Int) -> Bool {
        unsafe element(first, index) == element(second, other)
    }

    /// What the first text says of an element of the second.
    private func matches(_ index: Int) -> Bool {
        switch control &>> 2 & 3 {
        // One of a set.
        case 0:
            guard index < secondCount else { return false }
            for other in 0..<firstCount where isEqual(other, index) { return true }
            return false
        // In one of its ranges.
        case 1:
            guard index < secondCount else { return false }
            let value = unsafe element(second, index)
            for other in stride(from: 0, to: firstCount &- 1, by: 2)
            where unsafe element(first, other) <= value && value <= element(first, other &+ 1) {
                return true
            }
            return false
        // The same.
        case 2:
            guard index < firstCount && index < secondCount else {
                return index >= firstCount && index >= secondCount
            }
            return isEqual(index, index)
        // The text begins there, as far as can be seen.
        default:
            for other in 0..<min(firstCount, count &- index)
            where index &+ other >= secondCount || !isEqual(other, index &+ other) { return false }
            return true
        }
    }

    /// A bit for each element of the second text.
    var result: UInt32 {
        var found: UInt32 = 0
        for index in 0..<count where matches(index) { found |= 1 &<< UInt32(index) }
        switch control &>> 4 & 3 {
        case 1: return found ^ all
        case 3: return found ^ (1 &<< UInt32(secondCount) &- 1)
        default: return found
        }
    }

    func flags(_ result: UInt32) -> UInt32 {
        (result != 0 ? Flag.carry : 0) | (secondCount < count ? Flag.zero : 0)
            | (firstCount < count ? Flag.sign : 0) | (result & 1 != 0 ? Flag.overflow : 0)
    }
}

extension LongCore {
    private var first: UnsafeMutableRawPointer { unsafe vectorScratch + 16 }
    private var second: UnsafeMutableRawPointer { unsafe vectorScratch + 48 }

    func needLevel2() throws(Fault) {
        guard state.hasLevel2 else { throw .undefined }
    }

    func performLevel2(_ i: LongOperation) throws(Fault) {
        try needLevel2()
        let code = i.vectorCode
        let number = Level2.number(i.which, code.opcode)
        if code.prefix == 0 { return try multimediaLevel2(i, code, number) }
        try useVectors()
        let to = unsafe vector(i.a)
        switch number {
        case 0x214...0x217: return try extract(i, code)
        case 0x220, 0x222: return try insert(i, code)
        default: break
        }
        // LDDQU and comparisons of texts take them as they lie.
        let isLoose = number == 0x0F0 || number >= 0x260
        let from = unsafe try vectorOperand(
            i, Level2.sourceCount(number, code.prefix), isAligned: !isLoose)
        switch number {
        case 0x012, 0x016:
            let form = code.prefix == 3 ? 2 : UInt32(code.opcode &>> 2 & 1)
            _ = unsafe mini_sse(VectorForm.duplicate + form, to, from, 0, nil)
        case 0x07C, 0x07D: try unsafe horizontal(code, to, from)
        case 0x0D0: try unsafe addSubtract(code, to, from)
        case 0x0F0, 0x12A: unsafe to.copyMemory(from: from, byteCount: 16)
        case 0x110: unsafe Level2.blend(to, from, vector(0), bits: 8)
        case 0x114: unsafe Level2.blend(to, from, vector(0), bits: 32)
        case 0x115: unsafe Level2.blend(to, from, vector(0), bits: 64)
        case 0x117:
            let flags = unsafe mini_sse(VectorForm.second + 0x17, to, from, 0, nil)
            arithmeticFlags = UInt32(truncatingIfNeeded: flags)
        case 0x208...0x20B: try unsafe round(code, to, from)
        case 0x20C: unsafe Level2.blendWords(to, from, code.value, shift: 1)
        case 0x20D: unsafe Level2.blendWords(to, from, code.value, shift: 2)
        case 0x20E: unsafe Level2.blendWords(to, from, code.value, shift: 0)
        case 0x20F:
            unsafe Level2.align(to, from, code.value)
        case 0x221: unsafe insertSingle(i, code.value, to, from)
        case 0x240, 0x241: try unsafe product(code, to, from)
        case 0x242:
            _ = unsafe mini_sse(VectorForm.differences + code.value & 7, to, from, 0, nil)
        case 0x260...0x263: unsafe compareTexts(i, code, to, from)
        default: _ = unsafe mini_sse(VectorForm.second + UInt32(code.opcode), to, from, 0, nil)
        }
    }

    /// Those of SSSE3 on MMX's registers: what their vectors' lower halves do.
    private func multimediaLevel2(_ i: LongOperation, _ code: VectorCode, _ number: UInt16)
        throws(Fault)
    {
        try useMultimedia()
        var source = i.isMemory ? try word(i, 8) : 0
        _ = floatingPoint.enterMultimedia()
        if !i.isMemory { source = floatingPoint[multimedia: i.b] }
        let old = floatingPoint[multimedia: i.a]
        let form = VectorForm.second + UInt32(code.opcode)
        floatingPoint[multimedia: i.a] =
            switch number {
            case 0x20F: Level2.cut((source, old, 0, 0), at: code.value).0
            case 0x100: VectorUnit.run(form, old, source & 0x8787_8787_8787_8787, 0).0
            // Sums and differences of neighbours: of both, which are the halves of one.
            case 0x101...0x103, 0x105...0x107: VectorUnit.run(form, old, 0, source).0
            default: VectorUnit.run(form, old, source, 0).0
            }
    }

    // MARK: Arithmetic

    /// HADDPS, HADDPD, HSUBPS, HSUBPD: the even elements of both, and the odd ones.
    private func horizontal(
        _ code: VectorCode, _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer
    ) throws(Fault) {
        let isDouble = code.prefix == 1
        unsafe first.copyMemory(from: to, byteCount: 16)
        unsafe second.copyMemory(from: to, byteCount: 16)
        let prefix: UInt8 = isDouble ? 1 : 0
        unsafe VectorUnit.shuffle(
            VectorCode(0xC6, prefix: prefix, value: isDouble ? 0 : 0x88), first, from)
        unsafe VectorUnit.shuffle(
            VectorCode(0xC6, prefix: prefix, value: isDouble ? 3 : 0xDD), second, from)
        // As ADDPS and SUBPS, or ADDPD and SUBPD.
        let form: UInt32 = (isDouble ? 16 : 0) + (code.opcode == 0x7C ? 8 : 12)
        _ = unsafe try arithmetic(form, first, second)
        unsafe to.copyMemory(from: first, byteCount: 16)
    }

    /// ADDSUBPS, ADDSUBPD: a sum with the even elements negated, but for what is no number.
    private func addSubtract(
        _ code: VectorCode, _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer
    ) throws(Fault) {
        let isDouble = code.prefix == 1
        let sign: UInt64 = isDouble ? 1 &<< 63 : 1 &<< 31
        let infinity: UInt64 = isDouble ? 0x7FF &<< 52 : 0xFF &<< 23
        for half in 0..<2 {
            let value = unsafe VectorUnit.lane(from, half)
            let isNegated = value & (sign &- 1) <= infinity && (half == 0 || !isDouble)
            unsafe VectorUnit.setLane(second, half, isNegated ? value ^ sign : value)
        }
        _ = unsafe try arithmetic(isDouble ? 16 + 8 : 8, to, second)
    }

    /// ROUNDPS and its like: with a rounding of their own, or the usual one.
    private func round(
        _ code: VectorCode, _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer
    ) throws(Fault) {
        let rounding: UInt32 = 3 &<< 13
        let usual = vectorControl & rounding
        if code.value & 4 == 0 {
            vectorControl = vectorControl & ~rounding | code.value &<< 13 & rounding
        }
        defer { vectorControl = vectorControl & ~rounding | usual }
        let form = UInt32(code.opcode & 3) + (code.value & 8 == 0 ? 0 : 4)
        _ = unsafe try arithmetic(VectorForm.round + form, to, from)
    }

    /// DPPS, DPPD: elements that are left out are zeros, before and after.
    private func product(
        _ code: VectorCode, _ to: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer
    ) throws(Fault) {
        let shift: UInt32 = code.opcode == 0x40 ? 1 : 2
        unsafe first.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        unsafe second.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        unsafe Level2.blendWords(first, to, code.value &>> 4, shift: shift)
        unsafe Level2.blendWords(second, from, code.value &>> 4, shift: shift)
        _ = unsafe try arithmetic(VectorForm.product + UInt32(code.opcode & 1), first, second)
        unsafe to.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        unsafe Level2.blendWords(to, first, code.value, shift: shift)
    }

    // MARK: Elements

    private func extract(_ i: LongOperation, _ code: VectorCode) throws(Fault) {
        let size: UInt8 =
            switch code.opcode {
            case 0x14: 0
            case 0x15: 1
            case 0x16: i.shape.size
            default: 2
            }
        let bytes = Int(Self.bytes(size))
        let place = Int(code.value) * bytes & 15
        let value =
            unsafe VectorUnit.lane(vector(i.a), place / 8) &>> UInt64(place % 8 * 8)
            & Self.mask(size)
        if i.isMemory { return try storeWord(i, value, bytes) }
        setGeneral(i.b, size == 3 ? 3 : 2, value)
    }

    private func insert(_ i: LongOperation, _ code: VectorCode) throws(Fault) {
        let size = code.opcode == 0x20 ? 0 : i.shape.size
        let bytes = Int(Self.bytes(size))
        let value = i.isMemory ? try word(i, bytes) : general(i.b, size)
        unsafe withUnsafeBytes(of: value) {
            unsafe (vector(i.a) + Int(code.value) * bytes & 15).copyMemory(
                from: $0.baseAddress.unsafelyUnwrapped, byteCount: bytes)
        }
    }

    /// INSERTPS.
    private func insertSingle(
        _ i: LongOperation, _ value: UInt32, _ to: UnsafeMutableRawPointer,
        _ from: UnsafeMutableRawPointer
    ) {
        let source = i.isMemory ? 0 : Int(value &>> 6)
        unsafe (to + Int(value &>> 4 & 3) * 4).copyMemory(from: from + source * 4, byteCount: 4)
        for element in 0..<4 where value &>> UInt32(element) & 1 != 0 {
            unsafe (to + element * 4).storeBytes(of: 0, as: UInt32.self)
        }
    }

    /// PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI.
    private func compareTexts(
        _ i: LongOperation, _ code: VectorCode, _ to: UnsafeMutableRawPointer,
        _ from: UnsafeMutableRawPointer
    ) {
        var texts = unsafe TextComparison(code.value, to, from)
        if code.opcode & 2 != 0 {
            texts.firstCount = unsafe texts.length(to)
            texts.secondCount = unsafe texts.length(from)
        } else {
            texts.firstCount = explicitLength(rax, i.shape.size, texts.count)
            texts.secondCount = explicitLength(rdx, i.shape.size, texts.count)
        }
        let result = texts.result
        arithmeticFlags = texts.flags(result)
        if code.opcode & 1 != 0 {
            let index =
                result == 0
                ? UInt64(texts.count)
                : UInt64(
                    code.value & 0x40 == 0
                        ? result.trailingZeroBitCount : 31 - result.leadingZeroBitCount)
            return setPart(8, 2, index)
        }
        let mask = unsafe vector(0)
        unsafe mask.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        guard code.value & 0x40 != 0 else {
            return unsafe mask.storeBytes(of: result, as: UInt32.self)
        }
        let bytes = 16 / texts.count
        for byte in 0..<16 where result &>> UInt32(byte / bytes) & 1 != 0 {
            unsafe (mask + byte).storeBytes(of: 0xFF, as: UInt8.self)
        }
    }

    private func explicitLength(_ register: UInt64, _ size: UInt8, _ most: Int) -> Int {
        Int(min(Int64(bitPattern: Self.extend(register, size)).magnitude, UInt64(most)))
    }

    // MARK: Integers

    func countBits(_ i: LongOperation) throws(Fault) {
        try needLevel2()
        let value = try operand(i)
        let scratch = unsafe vectorScratch
        let count = unsafe mini_sse(VectorForm.countBits, scratch, scratch, value, nil)
        setPart(i.a, i.shape.size, count)
        arithmeticFlags = value == 0 ? Flag.zero : 0
    }

    func checksum(_ i: LongOperation) throws(Fault) {
        try needLevel2()
        let value = try operand(i)
        let scratch = unsafe vectorScratch
        unsafe VectorUnit.setLane(scratch, 0, value)
        let sum = unsafe mini_sse(
            VectorForm.checksum + UInt32(i.shape.size), scratch, scratch, part(i.a, 2), nil)
        setPart(i.a, 3, sum & 0xFFFF_FFFF)
    }
}
