// SSE and SSE2, executed by the real unit: Sources/CShim/sse.S has a routine for each instruction. What only moves and
// shuffles is done here. Arithmetic runs with all exceptions masked; one that the guest has unmasked is raised from the flags
// that the instruction left, and then its result is not stored.
//
// Source: AMD64 Architecture Programmer's Manual volume 4; Intel SDM volume 1, chapters 10, 11.

import CShim

/// Numbers of the first forms of rows in sse.S.
enum VectorForm {
    static let integer: UInt32 = 64
    static let compare: UInt32 = 224
    static let unpack: UInt32 = 256
    static let toDouble: UInt32 = 260
    static let fromDouble: UInt32 = 261
    static let fromGeneral: UInt32 = 262
    static let toGeneral: UInt32 = 266
    static let compareFlags: UInt32 = 274
}

extension LongCore {
    /// Bits of MXCSR that there are.
    static let controlStatusBits: UInt32 = 0xFFFF

    /// #UD where CR0.EM or not CR4.OSFXSR says so, #NM with CR0.TS.
    func useVectors() throws(Fault) {
        guard state.control0 & UInt64(Control0.emulation) == 0,
            state.control4 & UInt64(Control4.fastSave) != 0
        else { throw .undefined }
        if !state.hasVectors { throw .noDevice }
    }

    // MARK: Operands

    private static let sourceOffset = 256
    private static let resultOffset = 288

    private var source: UnsafeMutableRawPointer { unsafe state.scratch + Self.sourceOffset }
    private var result: UnsafeMutableRawPointer { unsafe state.scratch + Self.resultOffset }

    /// The register-or-memory operand: `count` bytes, of memory the rest zero. Of 16 bytes in memory #GP unless aligned.
    private func vectorOperand(_ i: LongOperation, _ count: Int) throws(Fault)
        -> UnsafeMutableRawPointer
    {
        guard i.shape.isMemory else { return unsafe vector(i.b) }
        let place = linear(i)
        if count == 16 && place & 15 != 0 { throw .protection(0) }
        let to = unsafe source
        if let host = unsafe readable(place, UInt64(count)) {
            if count < 16 { unsafe to.initializeMemory(as: UInt8.self, repeating: 0, count: 16) }
            unsafe to.copyMemory(from: host, byteCount: count)
            return unsafe to
        }
        unsafe to.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        try unsafe copy(place, to, count, write: false)
        return unsafe to
    }

    private func lane(_ vector: UnsafeMutableRawPointer, _ index: Int) -> UInt64 {
        unsafe vector.load(fromByteOffset: index * 8, as: UInt64.self)
    }

    private func setLane(_ vector: UnsafeMutableRawPointer, _ index: Int, _ value: UInt64) {
        unsafe vector.storeBytes(of: value, toByteOffset: index * 8, as: UInt64.self)
    }

    // MARK: Arithmetic

    /// Runs an instruction that heeds and changes MXCSR; the result's place is left alone if it raises.
    private func arithmetic(
        _ form: UInt32, _ destination: UnsafeMutableRawPointer, _ from: UnsafeMutableRawPointer,
        _ general: UInt64 = 0
    ) throws(Fault) -> UInt64 {
        let old = state.vectorControl
        var control = old & ~0x3F | 0x1F80
        unsafe result.copyMemory(from: destination, byteCount: 16)
        let value = unsafe mini_sse(form, result, from, general, &control)
        var raised = control & 0x3F
        let unmasked = ~(old &>> 7)
        // What is wrong with an operand is seen before anything is computed.
        if raised & unmasked & 7 != 0 { raised &= 7 }
        state.vectorControl = old | raised
        if raised & unmasked != 0 {
            let isExpected = state.control4 & 1 << 10 != 0
            throw isExpected ? .exception(vector: 19, code: 0) : .undefined
        }
        unsafe destination.copyMemory(from: result, byteCount: 16)
        return value
    }

    /// Bytes of the source of one instruction of the rows 50 to 5F, E6, by prefix.
    private static func sourceCount(_ opcode: UInt8, _ prefix: UInt32) -> Int {
        switch prefix {
        case 0: opcode == 0x5A ? 8 : 16
        case 2: opcode == 0xE6 ? 8 : opcode == 0x5B ? 16 : 4
        case 3: opcode == 0xE6 ? 16 : 8
        default: 16
        }
    }

    func vectorOperation(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let opcode = i.which
        let prefix = UInt32(bitPattern: i.immediate)
        let count = Self.sourceCount(opcode, prefix)
        let from = unsafe try vectorOperand(i, count)
        let to = unsafe vector(i.a)
        switch opcode {
        case 0x14, 0x15:
            let form = VectorForm.unpack + UInt32(opcode & 1) * 2 + prefix
            _ = unsafe mini_sse(form, to, from, 0, nil)
        case 0x54...0x57:
            _ = unsafe mini_sse(prefix * 16 + UInt32(opcode & 15), to, from, 0, nil)
        case 0x50...0x5F:
            _ = unsafe try arithmetic(prefix * 16 + UInt32(opcode & 15), to, from)
        case 0xE6 where prefix >= 2:
            _ = unsafe try arithmetic(
                prefix == 2 ? VectorForm.toDouble : VectorForm.fromDouble, to, from)
        case 0xE6:
            _ = unsafe try arithmetic(VectorForm.integer + UInt32(opcode - 0x60), to, from)
        default:
            _ = unsafe mini_sse(VectorForm.integer + UInt32(opcode - 0x60), to, from, 0, nil)
        }
    }

    /// An instruction of one source, without a destination.
    func arithmetic(_ form: UInt32, _ from: InlineArray<2, UInt64>) throws(Fault) -> (
        UInt64, UInt64
    ) {
        let place = unsafe source
        unsafe setLane(place, 0, from[0])
        unsafe setLane(place, 1, from[1])
        _ = unsafe try arithmetic(form, place, place)
        return unsafe (lane(place, 0), lane(place, 1))
    }

    /// Four words as an immediate picks them.
    static func words(_ of: UInt64, _ picked: UInt64) -> UInt64 {
        var result: UInt64 = 0
        for index in 0..<4 as Range<UInt64> {
            let number = picked &>> (index * 2) & 3
            result |= (of &>> (number * 16) & 0xFFFF) &<< (index * 16)
        }
        return result
    }

    func vectorImmediate(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let prefix = UInt32(bitPattern: i.immediate) & 0xFF
        let value = UInt32(bitPattern: i.immediate) &>> 8 & 0xFF
        let to = unsafe vector(i.a)
        if i.which == 0xC2 {
            let from = unsafe try vectorOperand(i, prefix == 2 ? 4 : prefix == 3 ? 8 : 16)
            _ = unsafe try arithmetic(VectorForm.compare + prefix * 8 + (value & 7), to, from)
            return
        }
        let from = unsafe try vectorOperand(i, 16)
        let a = unsafe (lane(to, 0), lane(to, 1))
        let b = unsafe (lane(from, 0), lane(from, 1))
        func double(_ of: (UInt64, UInt64), _ number: UInt32) -> UInt64 {
            (number & 2 == 0 ? of.0 : of.1) &>> (UInt64(number & 1) * 32) & 0xFFFF_FFFF
        }
        let new: (UInt64, UInt64) =
            switch (i.which, prefix) {
            case (0x70, 1):
                (
                    double(b, value & 3) | double(b, value &>> 2 & 3) &<< 32,
                    double(b, value &>> 4 & 3) | double(b, value &>> 6 & 3) &<< 32
                )
            case (0x70, 2): (b.0, Self.words(b.1, UInt64(value)))
            case (0x70, _): (Self.words(b.0, UInt64(value)), b.1)
            case (_, 0):
                (
                    double(a, value & 3) | double(a, value &>> 2 & 3) &<< 32,
                    double(b, value &>> 4 & 3) | double(b, value &>> 6 & 3) &<< 32
                )
            default: (value & 1 == 0 ? a.0 : a.1, value & 2 == 0 ? b.0 : b.1)
            }
        unsafe setLane(to, 0, new.0)
        unsafe setLane(to, 1, new.1)
    }

    func vectorShift(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let to = unsafe vector(i.b)
        let count = UInt64(truncatingIfNeeded: i.immediate & 0xFF)
        let isBytes = i.which == 0x73 && i.a & 1 != 0
        if isBytes {
            let value = unsafe (lane(to, 0), lane(to, 1))
            // By whole bytes, over both halves.
            let bits = min(count, 16) * 8
            let isLeft = i.a == 7
            func across(_ near: UInt64, _ far: UInt64) -> (UInt64, UInt64) {
                // `near` is shifted out into `far`.
                if bits == 0 { return (near, far) }
                if bits >= 128 { return (0, 0) }
                if bits >= 64 {
                    return (0, isLeft ? near << (bits - 64) : near >> (bits - 64))
                }
                return isLeft
                    ? (near << bits, far << bits | near >> (64 - bits))
                    : (near >> bits, far >> bits | near << (64 - bits))
            }
            if isLeft {
                let moved = across(value.0, value.1)
                unsafe setLane(to, 0, moved.0)
                unsafe setLane(to, 1, moved.1)
            } else {
                let moved = across(value.1, value.0)
                unsafe setLane(to, 1, moved.0)
                unsafe setLane(to, 0, moved.1)
            }
            return
        }
        // The same with the count in a register: D1...D3, E1, E2, F1...F3.
        let row: UInt32 = i.a == 2 ? 0xD0 : i.a == 4 ? 0xE0 : 0xF0
        let from = unsafe source
        unsafe setLane(from, 0, count)
        unsafe setLane(from, 1, 0)
        _ = unsafe mini_sse(
            VectorForm.integer + row + UInt32(i.which & 3) - 0x60, to, from, 0, nil)
    }

    func vectorFromGeneral(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let value = try operand(i)
        let form =
            VectorForm.fromGeneral + UInt32(bitPattern: i.immediate) - 2
            + (i.shape.size == 3 ? 2 : 0)
        let to = unsafe vector(i.a)
        _ = unsafe try arithmetic(form, to, to, value)
    }

    func vectorToGeneral(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let prefix = UInt32(bitPattern: i.immediate)
        let from = unsafe try vectorOperand(i, prefix == 2 ? 4 : 8)
        let form =
            VectorForm.toGeneral + prefix - 2 + UInt32(i.which & 1) * 2
            + (i.shape.size == 3 ? 4 : 0)
        let value = unsafe try arithmetic(form, source, from)
        setPart(i.a, i.shape.size, value)
    }

    func vectorCompareFlags(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let prefix = UInt32(bitPattern: i.immediate)
        let from = unsafe try vectorOperand(i, prefix == 0 ? 4 : 8)
        let form = VectorForm.compareFlags + UInt32(i.which & 1) * 2 + prefix
        let to = unsafe vector(i.a)
        let value = unsafe try arithmetic(form, to, from)
        arithmeticFlags = UInt32(truncatingIfNeeded: value)
    }

    func vectorMask(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let form =
            i.which == 0x50
            ? UInt32(bitPattern: i.immediate) * 16 : VectorForm.integer + 0xD7 - 0x60
        let value = unsafe mini_sse(form, result, vector(i.b), 0, nil)
        setPart(i.a, 2, value)
    }

    func insertWord(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let value = i.shape.isMemory ? try read(linear(i), 2) : part(i.b, 1)
        let place = Int(i.immediate & 7) * 2
        unsafe vector(i.a).storeBytes(
            of: UInt16(truncatingIfNeeded: value), toByteOffset: place, as: UInt16.self)
    }

    func extractWord(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let place = Int(i.immediate & 7) * 2
        setPart(i.a, 2, unsafe UInt64(vector(i.b).load(fromByteOffset: place, as: UInt16.self)))
    }

    func maskedStore(_ i: LongOperation) throws(Fault) {
        let isMultimedia = i.shape.isToRegister
        try isMultimedia ? useMultimedia() : useVectors()
        let start = implicit(i, rdi)
        var value = unsafe (lane(vector(i.a), 0), lane(vector(i.a), 1))
        var mask = unsafe (lane(vector(i.b), 0), lane(vector(i.b), 1))
        if isMultimedia {
            _ = state.floatingPoint.enterMultimedia()
            value = (state.floatingPoint[multimedia: i.a], 0)
            mask = (state.floatingPoint[multimedia: i.b], 0)
        }
        for pass in 0..<2 {
            for index in 0..<16 as Range<UInt64> {
                let shift = (index & 7) &* 8
                guard (index < 8 ? mask.0 : mask.1) &>> shift & 0x80 != 0 else { continue }
                let byte = (index < 8 ? value.0 : value.1) &>> shift & 0xFF
                let place = moved(start, by: index)
                if pass == 0 { try checkWrite(place, 1) } else { try write(place, byte, 1) }
            }
        }
    }

    // MARK: Moves

    private func storePart(_ i: LongOperation, _ from: UnsafeMutableRawPointer, _ count: Int)
        throws(Fault)
    {
        let place = linear(i)
        if let host = unsafe writable(place, UInt64(count)) {
            unsafe host.copyMemory(from: from, byteCount: count)
        } else {
            try unsafe copy(place, from, count, write: true)
        }
    }

    func vectorMove(_ i: LongOperation) throws(Fault) {
        try useVectors()
        let to = unsafe vector(i.a)
        let isMemory = i.shape.isMemory
        switch (i.which, i.immediate) {
        case (0x10, 2): try moveScalar(i, 4)
        case (0x10, _): try moveScalar(i, 8)
        case (0x11, 2): unsafe try isMemory ? storePart(i, to, 4) : moveBack(i, 4)
        case (0x11, _): unsafe try isMemory ? storePart(i, to, 8) : moveBack(i, 8)
        case (0x12, _):
            unsafe setLane(to, 0, isMemory ? try read(linear(i), 8) : lane(unsafe vector(i.b), 1))
        case (0x16, _):
            unsafe setLane(to, 1, isMemory ? try read(linear(i), 8) : lane(unsafe vector(i.b), 0))
        case (0x13, _): unsafe try storePart(i, to, 8)
        case (0x17, _): unsafe try storePart(i, to + 8, 8)
        case (0x6E, _):
            let value = try operand(i)
            unsafe setLane(to, 0, value)
            unsafe setLane(to, 1, 0)
        case (0x7E, 1): unsafe try setOperand(i, lane(to, 0) & Self.mask(i.shape.size))
        case (0x7E, _):
            let value = unsafe isMemory ? try read(linear(i), 8) : lane(unsafe vector(i.b), 0)
            unsafe setLane(to, 0, value)
            unsafe setLane(to, 1, 0)
        default:
            // D6.
            if isMemory { return unsafe try storePart(i, to, 8) }
            let other = unsafe vector(i.b)
            let value = unsafe lane(to, 0)
            unsafe setLane(other, 0, value)
            unsafe setLane(other, 1, 0)
        }
    }

    /// Of memory the rest of the register becomes 0, of a register it stays.
    private func moveScalar(_ i: LongOperation, _ count: Int) throws(Fault) {
        let from = unsafe try vectorOperand(i, count)
        unsafe vector(i.a).copyMemory(from: from, byteCount: i.shape.isMemory ? 16 : count)
    }

    private func moveBack(_ i: LongOperation, _ count: Int) {
        unsafe vector(i.b).copyMemory(from: vector(i.a), byteCount: count)
    }

    // MARK: FXSAVE, FXRSTOR

    private static let imageOffset = 512
    private static let vectorPlace = 160

    private func imagePlace(_ i: LongOperation) throws(Fault) -> UInt64 {
        if state.control0 & UInt64(Control0.taskSwitched | Control0.emulation) != 0 {
            throw .noDevice
        }
        let place = linear(i)
        guard place & 15 == 0 else { throw .protection(0) }
        return place
    }

    /// Of 512 bytes the first 416; the others are the program's.
    func saveState(_ i: LongOperation) throws(Fault) {
        let place = try imagePlace(i)
        let image = unsafe state.scratch + Self.imageOffset
        try checkWrite(place, 512)
        unsafe state.floatingPoint.save(state.scratch, to: image)
        if i.shape.size == 3 {
            // Pointers of 64 bits, of which 32 are kept.
            unsafe image.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
            unsafe image.storeBytes(of: 0, toByteOffset: 20, as: UInt32.self)
        }
        unsafe image.storeBytes(of: state.vectorControl, toByteOffset: 24, as: UInt32.self)
        unsafe image.storeBytes(
            of: Self.controlStatusBits, toByteOffset: 28, as: UInt32.self)
        unsafe (image + Self.vectorPlace).copyMemory(from: vector(0), byteCount: 256)
        try unsafe copy(place, image, Self.vectorPlace + 256, write: true)
    }

    func restoreState(_ i: LongOperation) throws(Fault) {
        let place = try imagePlace(i)
        let image = unsafe state.scratch + Self.imageOffset
        try unsafe copy(place, image, 512, write: false)
        let control = unsafe image.load(fromByteOffset: 24, as: UInt32.self)
        guard control & ~Self.controlStatusBits == 0 else { throw .protection(0) }
        if i.shape.size == 3 {
            unsafe image.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
            unsafe image.storeBytes(of: 0, toByteOffset: 20, as: UInt32.self)
        }
        unsafe state.floatingPoint.restore(state.scratch, from: image)
        state.vectorControl = control
        unsafe vector(0).copyMemory(from: image + Self.vectorPlace, byteCount: 256)
    }
}
