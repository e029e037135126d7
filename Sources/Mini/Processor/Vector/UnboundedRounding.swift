// What overflow and underflow are to a guest that has unmasked them: its exponent's bounds are looked at after the result was
// rounded as if it had none. So a tiny result is underflow even if it is exact, and neither makes a result inexact that is
// exact but for its exponent. The masked instruction cannot tell either; the x87 can, whose exponents reach far beyond
// those of both formats, and which rounds to their precisions.
//
// Source: Intel SDM volume 1, 4.9.1.5, 4.9.1.6, 11.5.2.5, 11.5.2.6.

import CShim

/// The flags of overflow, underflow and precision (8, 10 and 20, as in MXCSR) of one instruction.
struct UnboundedRounding {
    /// MXCSR before the instruction.
    private let control: UInt32
    private let operation: Operation
    private let isDouble: Bool
    /// Rows of sse.S: packed single and double, then one single and one double.
    private let isScalar: Bool

    /// By the low bits of their opcodes.
    private enum Operation: UInt32 {
        case add = 8
        case multiply = 9
        /// Double to single precision.
        case round = 10
        case subtract = 12
        case divide = 14
    }

    /// - Returns: nil if neither is unmasked, or the instruction of this form in sse.S can do neither.
    init?(_ form: UInt32, control: UInt32) {
        guard control & 0xC00 != 0xC00, form < 64 else { return nil }
        guard let operation = Operation(rawValue: form & 15) else { return nil }
        self.control = control
        self.operation = operation
        isDouble = form & 16 != 0
        isScalar = form & 32 != 0
        if operation == .round && !isDouble { return nil }
    }

    /// - Parameters: the operands, of 16 bytes each.
    func flags(_ a: UnsafeMutableRawPointer, _ b: UnsafeMutableRawPointer) -> UInt32 {
        let step = isDouble ? 8 : 4
        var flags: UInt32 = 0
        for place in stride(from: 0, to: isScalar ? step : 16, by: step) {
            flags |= unsafe lane(a + place, b + place)
        }
        return flags
    }

    private func lane(_ a: UnsafeMutableRawPointer, _ b: UnsafeMutableRawPointer) -> UInt32 {
        var (first, second) = unsafe (number(a), number(b))
        let result = extended(operation == .round ? second : first, second)
        // How far beyond the format's own bias.
        let exponent = Int(result.exponent & 0x7FFF) - 0x3FFF
        let isFinite = result.exponent & 0x7FFF != 0x7FFF && result.mantissa != 0
        let bound = isDouble && operation != .round ? 1024 : 128
        let inexact: UInt32 = result.isInexact ? 0x20 : 0
        if isFinite && exponent >= bound && control & 0x400 == 0 { return 8 | inexact }
        if isFinite && exponent < 2 - bound && control & 0x800 == 0 { return 0x10 | inexact }
        var masked = control & ~0x3F | 0x1F80
        let form = (isDouble ? 48 : 32) + operation.rawValue
        unsafe withUnsafeMutableBytes(of: &first) { first in
            unsafe withUnsafeMutableBytes(of: &second) { second in
                _ = unsafe mini_sse(form, first.baseAddress, second.baseAddress, 0, &masked)
            }
        }
        return masked & 0x38
    }

    /// One operand, and zeros.
    private func number(_ place: UnsafeMutableRawPointer) -> InlineArray<2, UInt64> {
        var bits: UInt64
        let fraction: UInt64
        if isDouble {
            bits = unsafe place.loadUnaligned(as: UInt64.self)
            fraction = 1 &<< 52 &- 1
        } else {
            bits = UInt64(unsafe place.loadUnaligned(as: UInt32.self))
            fraction = 1 &<< 23 &- 1
        }
        // Denormals are zeros.
        let exponent = bits & (isDouble ? 0x7FF &<< 52 : 0xFF &<< 23)
        if control & 0x40 != 0 && exponent == 0 { bits &= ~fraction }
        return [bits, 0]
    }

    private func extended(_ a: InlineArray<2, UInt64>, _ b: InlineArray<2, UInt64>) -> (
        mantissa: UInt64, exponent: UInt16, isInexact: Bool
    ) {
        var unit = FloatingPointUnit()
        let site = FloatingPointUnit.Site(
            instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0)
        var scratch: InlineArray<16, UInt64> = .init(repeating: 0)
        var flags: UInt32 = 0
        var status: UInt16 = 0
        /// An instruction, and what its operand in memory is.
        func run(_ opcode: UInt8, _ modrm: UInt8, _ operand: UInt64 = 0) {
            scratch[0] = operand
            unsafe withUnsafeMutableBytes(of: &scratch) { bytes in
                _ = unsafe unit.execute(
                    opcode: opcode, modrm: modrm, scratch: bytes.baseAddress.unsafelyUnwrapped,
                    flags: &flags, ax: &status, site: site)
            }
        }
        let withOther: UInt8 = isDouble ? 0xDC : 0xD8
        // FLDCW: all masked, precision, rounding. FLD, the operation with the other operand, FNSTSW, FSTP of ten bytes.
        let precision: UInt64 = isDouble && operation != .round ? 0x200 : 0
        run(0xD9, 5 &<< 3, 0x3F | precision | UInt64(control &>> 13 & 3) &<< 10)
        run(isDouble ? 0xDD : 0xD9, 0, a[0])
        switch operation {
        case .add: run(withOther, 0, b[0])
        case .multiply: run(withOther, 1 &<< 3, b[0])
        case .subtract: run(withOther, 4 &<< 3, b[0])
        case .divide: run(withOther, 6 &<< 3, b[0])
        // By 1.
        case .round: run(0xD8, 1 &<< 3, 0x3F80_0000)
        }
        run(0xDF, 0xE0)
        run(0xDB, 7 &<< 3)
        unit.suspend()
        return (scratch[0], UInt16(truncatingIfNeeded: scratch[1]), status & 0x20 != 0)
    }
}
