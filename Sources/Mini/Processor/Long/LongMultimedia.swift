// MMX: eight registers of 64 bits that are the x87's mantissas. Arithmetic is that of SSE2 on the lower half, on the real
// unit (LongVector.swift); programs of today hardly use it, but their C library asks for it.
//
// Source: AMD64 Architecture Programmer's Manual volume 5, chapter 2; Intel SDM volume 1, chapter 9.

import CShim

extension LongDecoder {
    /// Whether an opcode of the rows of SSE is one of MMX, without a prefix or for an exchange with XMM.
    func isMultimedia(_ opcode: UInt8, _ prefix: UInt8) -> Bool {
        switch opcode {
        case 0x2A, 0x2C, 0x2D: prefix <= 1
        case 0x60...0x6B, 0x6E...0x76, 0x7E, 0x7F, 0xC4, 0xC5, 0xD1...0xD5, 0xD7...0xE5,
            0xE7...0xEF,
            0xF1...0xFE:
            prefix == 0
        case 0xD6: prefix >= 2
        default: false
        }
    }

    mutating func multimedia(_ opcode: UInt8, _ prefix: UInt8) {
        var immediate: Int32 = 0
        var exists = true
        switch opcode {
        case 0x6E, 0x7E: if isRegister { operation.b &*= 8 }
        case 0x70: immediate = Int32(byte())
        case 0x71...0x73:
            exists = isRegister && (group == 2 || group == 6 || group == 4 && opcode != 0x73)
            operation.a = group
            immediate = Int32(byte())
        case 0xC4, 0xC5:
            exists = opcode == 0xC4 || isRegister
            if opcode == 0xC5 { operation.a &*= 8 } else if isRegister { operation.b &*= 8 }
            immediate = Int32(byte())
        case 0xD6: exists = isRegister
        case 0xD7:
            exists = isRegister
            operation.a &*= 8
        case 0xE7: exists = !isRegister
        case 0xF7:
            guard isRegister else { return undefined() }
            implicitAddress()
            operation.shape.isToRegister = true
            return slow(.vectorMaskedStore, which: operation.which)
        default: break
        }
        guard exists else { return undefined() }
        operation.immediate = immediate &<< 8 | Int32(prefix)
        slow(.multimedia, size: isWide ? 3 : 2, which: opcode)
    }

    mutating func multimediaEnd() {
        guard vectorPrefix == 0 else { return undefined() }
        slow(.multimedia, which: 0x77)
    }
}

extension LongCore {
    /// #UD, #NM, #MF as they are due; then the registers are there.
    func useMultimedia() throws(Fault) {
        if state.control0 & UInt64(Control0.emulation) != 0 { throw .undefined }
        if state.control0 & UInt64(Control0.taskSwitched) != 0 { throw .noDevice }
        if state.floatingPoint.wait() == .pending { throw .floatingPoint }
    }

    private func register(_ number: UInt8) -> UInt64 { state.floatingPoint[multimedia: number] }

    func multimedia(_ i: LongOperation) throws(Fault) {
        try useMultimedia()
        let opcode = i.which
        let prefix = i.immediate & 0xFF
        let value = UInt64(truncatingIfNeeded: i.immediate &>> 8)
        // Memory first: if it faults, nothing has happened.
        var source: UInt64 = 0
        let isConversion = opcode == 0x2A || opcode == 0x2C || opcode == 0x2D
        if i.shape.isMemory && !isConversion {
            switch opcode {
            case 0x7E: try checkWrite(linear(i), Self.bytes(i.shape.size))
            case 0x7F, 0xE7: try checkWrite(linear(i), 8)
            case 0x60...0x62: source = try read(linear(i), 4)
            case 0x6E: source = try operand(i)
            case 0xC4: source = try read(linear(i), 2)
            default: source = try read(linear(i), 8)
            }
        }
        if isConversion { return try convert(i, prefix) }
        _ = state.floatingPoint.enterMultimedia()
        if !i.shape.isMemory {
            source = opcode == 0x6E || opcode == 0xC4 ? part(i.b, i.shape.size) : register(i.b)
        }
        switch opcode {
        case 0x77: return state.floatingPoint.leaveMultimedia()
        case 0x7E: return try setOperand(i, register(i.a) & Self.mask(i.shape.size))
        case 0xE7: return try write(linear(i), register(i.a), 8)
        case 0x7F:
            if i.shape.isMemory { return try write(linear(i), register(i.a), 8) }
            state.floatingPoint[multimedia: i.b] = register(i.a)
        case 0x6E, 0x6F: state.floatingPoint[multimedia: i.a] = source
        case 0x70: state.floatingPoint[multimedia: i.a] = Self.words(source, value)
        case 0x71...0x73:
            let row: UInt8 = i.a == 2 ? 0xD0 : i.a == 4 ? 0xE0 : 0xF0
            state.floatingPoint[multimedia: i.b] =
                compute(
                    row | opcode & 3, register(i.b), value
                ).0
        case 0xC4:
            let shift = (value & 3) &* 16
            let old = register(i.a)
            state.floatingPoint[multimedia: i.a] =
                old & ~(0xFFFF &<< shift) | (source & 0xFFFF) &<< shift
        case 0xC5: setPart(i.a, 2, source &>> ((value & 3) &* 16) & 0xFFFF)
        case 0xD6:
            try useVectors()
            if prefix == 2 {
                unsafe vector(i.a).storeBytes(of: register(i.b), as: UInt64.self)
                unsafe vector(i.a).storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
            } else {
                state.floatingPoint[multimedia: i.a] = unsafe vector(i.b).load(as: UInt64.self)
            }
        case 0xD7: setPart(i.a, 2, compute(opcode, 0, source).2 & 0xFF)
        // Packed of both: they are the halves of one.
        case 0x63, 0x67, 0x6B:
            state.floatingPoint[multimedia: i.a] =
                compute(opcode, register(i.a), source, high: source).0
        // What the upper halves give is the upper half of what all would.
        case 0x68...0x6A:
            state.floatingPoint[multimedia: i.a] =
                compute(opcode &- 8, register(i.a), source).1
        default:
            state.floatingPoint[multimedia: i.a] = compute(opcode, register(i.a), source).0
        }
    }

    /// An instruction of SSE2 on two words, with its general register's result.
    private func compute(_ opcode: UInt8, _ a: UInt64, _ b: UInt64, high: UInt64 = 0) -> (
        UInt64, UInt64, UInt64
    ) {
        var to: InlineArray<2, UInt64> = [a, high]
        var from: InlineArray<2, UInt64> = [b, 0]
        let value = unsafe withUnsafeMutableBytes(of: &to) { to in
            unsafe withUnsafeMutableBytes(of: &from) { from in
                unsafe mini_sse(
                    VectorForm.integer + UInt32(opcode) - 0x60, to.baseAddress, from.baseAddress, 0,
                    nil)
            }
        }
        return (to[0], to[1], value)
    }

    /// CVTPI2PS, CVTPI2PD, and back.
    private func convert(_ i: LongOperation, _ prefix: Int32) throws(Fault) {
        try useVectors()
        let isFromMultimedia = i.which == 0x2A
        let isWide = !isFromMultimedia && prefix == 1
        var from: InlineArray<2, UInt64> = [0, 0]
        if i.shape.isMemory {
            let place = linear(i)
            if isWide && place & 15 != 0 { throw .protection(0) }
            from[0] = try read(place, 8)
            if isWide { from[1] = try read(place &+ 8, 8) }
        } else if isFromMultimedia {
            _ = state.floatingPoint.enterMultimedia()
            from[0] = register(i.b)
        } else {
            from[0] = unsafe vector(i.b).load(as: UInt64.self)
            if isWide { from[1] = unsafe vector(i.b).load(fromByteOffset: 8, as: UInt64.self) }
        }
        let form: UInt32 =
            switch (i.which, prefix) {
            case (0x2A, 0): 0x0B
            case (0x2A, _): VectorForm.toDouble
            case (0x2C, 0): 0x2B
            case (0x2D, 0): 0x1B
            case (0x2C, _): VectorForm.integer + 0xE6 - 0x60
            default: VectorForm.fromDouble
            }
        let result = try arithmetic(form, from)
        if isFromMultimedia {
            unsafe vector(i.a).storeBytes(of: result.0, as: UInt64.self)
            if prefix == 1 {
                unsafe vector(i.a).storeBytes(of: result.1, toByteOffset: 8, as: UInt64.self)
            }
        } else {
            _ = state.floatingPoint.enterMultimedia()
            state.floatingPoint[multimedia: i.a] = result.0
        }
    }
}
