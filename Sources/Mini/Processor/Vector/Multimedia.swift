// MMX: eight registers of 64 bits that are the x87's mantissas. Arithmetic is that of SSE2 on the lower half, on the real
// unit (VectorCore.swift); programs of today hardly use it, but their C library asks for it.
//
// Source: AMD64 Architecture Programmer's Manual volume 5, chapter 2; Intel SDM volume 1, chapter 9.

import CShim

extension VectorCore {
    private func register(_ number: UInt8) -> UInt64 { floatingPoint[multimedia: number] }

    func multimedia(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let opcode = code.opcode
        let value = code.value
        // Those with a vector as the other operand are instructions of SSE, and as such #UD before anything else.
        if opcode & 0xF8 == 0x28 || opcode == 0xD6 { try useVectors() }
        try useMultimedia()
        // Memory first: if it faults, nothing has happened.
        var source: UInt64 = 0
        if opcode == 0x2A || opcode == 0x2C || opcode == 0x2D { return try convert(i, code) }
        if opcode == 0x77 {
            _ = floatingPoint.enterMultimedia()
            return floatingPoint.leaveMultimedia()
        }
        if i.isMemory {
            switch opcode {
            case 0x7E, 0x7F, 0xE7: return try storeRegister(i, opcode)
            case 0x60...0x62: source = try word(i, 4)
            case 0x6E: source = try generalOperand(i)
            case 0xC4: source = try word(i, 2)
            default: source = try word(i, 8)
            }
        }
        _ = floatingPoint.enterMultimedia()
        if !i.isMemory {
            source = opcode == 0x6E || opcode == 0xC4 ? general(i.b, i.generalSize) : register(i.b)
        }
        switch opcode {
        case 0x7E: setGeneral(i.b, i.generalSize, register(i.a))
        case 0x7F: floatingPoint[multimedia: i.b] = register(i.a)
        case 0x71...0x73:
            floatingPoint[multimedia: i.b] =
                VectorUnit.compute(
                    VectorUnit.shiftOpcode(code, i.a), register(i.b), UInt64(value)
                ).0
        case 0xC5: setGeneral(i.a, 2, source &>> (UInt64(value & 3) &* 16) & 0xFFFF)
        case 0xD6:
            if code.prefix == 2 {
                unsafe VectorUnit.setLane(vector(i.a), 0, register(i.b))
                unsafe VectorUnit.setLane(vector(i.a), 1, 0)
            } else {
                floatingPoint[multimedia: i.a] = unsafe VectorUnit.lane(vector(i.b), 0)
            }
        case 0xD7: setGeneral(i.a, 2, VectorUnit.compute(opcode, 0, source).2 & 0xFF)
        default:
            floatingPoint[multimedia: i.a] = VectorUnit.multimedia(code, register(i.a), source)
        }
    }

    /// MOVD, MOVQ, MOVNTQ to memory. The register is looked at first, which is undone if memory faults.
    private func storeRegister(_ i: Operands, _ opcode: UInt8) throws(Fault) {
        let old = floatingPoint
        _ = floatingPoint.enterMultimedia()
        do throws(Fault) {
            try storeWord(i, register(i.a), opcode == 0x7E ? 1 &<< Int(i.generalSize) : 8)
        } catch {
            floatingPoint = old
            throw error
        }
    }

    /// CVTPI2PS, CVTPI2PD, and back.
    private func convert(_ i: Operands, _ code: VectorCode) throws(Fault) {
        let isFromMultimedia = code.opcode == 0x2A
        let isWide = !isFromMultimedia && code.prefix == 1
        var from: InlineArray<2, UInt64> = [0, 0]
        if i.isMemory {
            unsafe try load(i, to: vectorScratch, isWide ? 16 : 8, isAligned: isWide)
            from[0] = unsafe VectorUnit.lane(vectorScratch, 0)
            if isWide { from[1] = unsafe VectorUnit.lane(vectorScratch, 1) }
        } else if isFromMultimedia {
            _ = floatingPoint.enterMultimedia()
            from[0] = register(i.b)
        } else {
            from[0] = unsafe VectorUnit.lane(vector(i.b), 0)
            if isWide { from[1] = unsafe VectorUnit.lane(vector(i.b), 1) }
        }
        let form: UInt32 =
            switch (code.opcode, code.prefix) {
            case (0x2A, 0): 0x0B
            case (0x2A, _): VectorForm.toDouble
            case (0x2C, 0): 0x2B
            case (0x2D, 0): 0x1B
            case (0x2C, _): VectorForm.integer + 0xE6 - 0x60
            default: VectorForm.fromDouble
            }
        let result = try arithmetic(form, from)
        if isFromMultimedia {
            unsafe VectorUnit.setLane(vector(i.a), 0, result.0)
            if code.prefix == 1 { unsafe VectorUnit.setLane(vector(i.a), 1, result.1) }
        } else {
            _ = floatingPoint.enterMultimedia()
            floatingPoint[multimedia: i.a] = result.0
        }
    }
}
