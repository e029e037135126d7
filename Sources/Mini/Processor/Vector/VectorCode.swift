// Instructions of MMX, SSE and SSE2 as the decoders of both processors know them: which there are, and what of their operands is
// a general register.
//
// Source: AMD64 Architecture Programmer's Manual volumes 4 and 5; Intel SDM volume 2, appendix A.

/// What a record's immediate holds of such an instruction.
struct VectorCode: Equatable {
    enum Kind: UInt8 {
        /// On the x87's registers; also its exchanges with XMM registers.
        case multimedia
        case move, plain, immediate, shift, toGeneral, fromGeneral, compareFlags, mask
        case insertWord, extractWord, maskedStore
    }

    let bits: UInt32

    init(bits: UInt32) { self.bits = bits }

    init(_ row: VectorRow, _ opcode: UInt8, prefix: UInt8, value: UInt8) {
        bits =
            UInt32(prefix) | UInt32(value) << 8 | UInt32(row.kind.rawValue) << 16
            | UInt32(opcode) << 24
    }

    /// One that `VectorRow` does not know, without a kind.
    init(_ opcode: UInt8, prefix: UInt8, value: UInt8) {
        bits = UInt32(prefix) | UInt32(value) << 8 | UInt32(opcode) << 24
    }

    /// 0 none, 1 66, 2 F3, 3 F2.
    var prefix: UInt32 { bits & 0xFF }
    /// The byte after the operands.
    var value: UInt32 { bits &>> 8 & 0xFF }
    /// The decoders store nothing else there.
    var kind: Kind {
        let kind = Kind(rawValue: UInt8(truncatingIfNeeded: bits &>> 16))
        Checks.require(kind != nil, "a record's kind of vector instruction exists")
        return kind ?? .plain
    }
    var opcode: UInt8 { UInt8(truncatingIfNeeded: bits &>> 24) }
}

/// How the operands of one are meant.
struct VectorRow: Equatable {
    let kind: VectorCode.Kind
    /// The register of modrm, or its other operand if that is a register, is a general one.
    var isGeneral = false
    var isOtherGeneral = false
    /// The register of modrm is a part of the opcode.
    var isGroup = false
    var hasValue = false

    /// - Parameters: the byte behind 0F; prefix as in `VectorCode`; what the middle of modrm says.
    /// - Returns: nil for one that is not offered.
    init?(_ opcode: UInt8, prefix: UInt8, isRegister: Bool, group: UInt8) {
        let isMultimedia = Self.isMultimedia(opcode, prefix)
        let exists =
            isMultimedia
            ? Self.multimedia(opcode, isRegister, group)
            : Self.exists(opcode, prefix, isRegister, group)
        guard exists else { return nil }
        kind = Self.kind(opcode, isMultimedia)
        switch opcode {
        case 0x50, 0xC5, 0xD7: isGeneral = true
        case 0x2C, 0x2D: isGeneral = prefix >= 2
        case 0x2A: isOtherGeneral = isRegister && prefix >= 2
        case 0x6E, 0xC4: isOtherGeneral = isRegister
        case 0x7E: isOtherGeneral = isRegister && prefix <= 1
        case 0x71...0x73: isGroup = true
        default: break
        }
        switch opcode {
        case 0x70...0x73, 0xC2, 0xC4...0xC6: hasValue = true
        default: break
        }
    }

    private static func kind(_ opcode: UInt8, _ isMultimedia: Bool) -> VectorCode.Kind {
        if opcode == 0xF7 { return .maskedStore }
        if isMultimedia { return .multimedia }
        return switch opcode {
        case 0x10...0x13, 0x16, 0x17, 0x28, 0x29, 0x2B, 0x6E, 0x6F, 0x7E, 0x7F, 0xD6, 0xE7: .move
        case 0x2A: .fromGeneral
        case 0x2C, 0x2D: .toGeneral
        case 0x2E, 0x2F: .compareFlags
        case 0x50, 0xD7: .mask
        case 0x70, 0xC2, 0xC6: .immediate
        case 0x71...0x73: .shift
        case 0xC4: .insertWord
        case 0xC5: .extractWord
        default: .plain
        }
    }

    /// Whether an opcode of the rows of SSE is one of MMX, without a prefix or for an exchange with XMM.
    private static func isMultimedia(_ opcode: UInt8, _ prefix: UInt8) -> Bool {
        switch opcode {
        case 0x2A, 0x2C, 0x2D: prefix <= 1
        case 0x60...0x6B, 0x6E...0x77, 0x7E, 0x7F, 0xC4, 0xC5, 0xD1...0xD5, 0xD7...0xE5,
            0xE7...0xEF,
            0xF1...0xFE:
            prefix == 0
        case 0xD6: prefix >= 2
        default: false
        }
    }

    private static func multimedia(_ opcode: UInt8, _ isRegister: Bool, _ group: UInt8) -> Bool {
        switch opcode {
        case 0x71...0x73: isRegister && (group == 2 || group == 6 || group == 4 && opcode != 0x73)
        case 0xC5, 0xD6, 0xD7, 0xF7: isRegister
        case 0xE7: !isRegister
        default: true
        }
    }

    private static func exists(
        _ opcode: UInt8, _ prefix: UInt8, _ isRegister: Bool, _ group: UInt8
    ) -> Bool {
        switch opcode {
        case 0x10, 0x11, 0x51, 0x58, 0x59, 0x5A, 0x5C...0x5F, 0xC2: true
        case 0x12, 0x16: prefix == 0 || prefix == 1 && !isRegister
        case 0x13, 0x17, 0x2B: prefix <= 1 && !isRegister
        case 0x14, 0x15, 0x28, 0x29, 0x2E, 0x2F, 0x54...0x57, 0xC6: prefix <= 1
        case 0x2A, 0x2C, 0x2D: prefix >= 2
        case 0x50: isRegister && prefix <= 1
        case 0x52, 0x53: prefix == 0 || prefix == 2
        case 0x5B: prefix <= 2
        case 0x6F, 0x7E, 0x7F: prefix == 1 || prefix == 2
        case 0x70, 0xE6: prefix >= 1
        case 0x71, 0x72: prefix == 1 && isRegister && (group == 2 || group == 4 || group == 6)
        case 0x73:
            prefix == 1 && isRegister && (group == 2 || group == 3 || group == 6 || group == 7)
        case 0xC5, 0xD7, 0xF7: prefix == 1 && isRegister
        case 0xE7: prefix == 1 && !isRegister
        case 0x77...0x7D, 0xD0, 0xF0: false
        default: prefix == 1
        }
    }
}
