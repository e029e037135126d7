import Testing

@testable import Mini

/// An x87 with its scratch and the flags and AX that some instructions touch.
private struct Bench {
    var unit = FloatingPointUnit()
    var scratch = [UInt8](repeating: 0xEE, count: 128)
    var flags: UInt32 = 2
    var ax: UInt16 = 0xAAAA
    var eip: UInt32 = 0x1000

    /// Executes opcode, modrm with the operand's bytes put in the scratch before.
    @discardableResult
    mutating func run(
        _ opcode: UInt8, _ modrm: UInt8, _ operand: [UInt8] = [], short: Bool = false
    ) -> FloatingPointUnit.Outcome {
        scratch = operand + [UInt8](repeating: 0xEE, count: 128 - operand.count)
        let site = FloatingPointUnit.Site(
            instruction: eip, codeSelector: 0x61, operand: 0x2000, dataSelector: 0x69)
        eip += 2
        return scratch.withUnsafeMutableBytes {
            unit.execute(
                opcode: opcode, modrm: modrm, scratch: $0.baseAddress!, flags: &flags, ax: &ax,
                site: site, short: short)
        }
    }

    mutating func load(_ value: Double) { run(0xDD, 0x00, bytes(value.bitPattern)) }
    mutating func load(words value: UInt64, exponent: UInt16) {
        run(0xDB, 0x28, bytes(value) + bytes(exponent))
    }
    mutating func control(_ word: UInt16) { run(0xD9, 0x28, bytes(word)) }

    /// ST(0) as a double, popped.
    mutating func pop() -> Double {
        run(0xDD, 0x18)
        return Double(bitPattern: word(0, UInt64.self))
    }
    mutating func status() -> UInt16 {
        run(0xDF, 0xE0)
        return ax
    }
    mutating func control() -> UInt16 {
        run(0xD9, 0x38)
        return word(0, UInt16.self)
    }
    func word<Word: FixedWidthInteger>(_ offset: Int, _: Word.Type) -> Word {
        scratch.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Word.self) }
    }
}

private func bytes<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
    withUnsafeBytes(of: word.littleEndian) { Array($0) }
}

// Instructions by the names they have in the manual.
private let fld1: (UInt8, UInt8) = (0xD9, 0xE8)
private let fldz: (UInt8, UInt8) = (0xD9, 0xEE)

@Suite struct FloatingPointTests {
    @Test("the state at the start is that after FNINIT")
    func initial() {
        var bench = Bench()
        #expect(bench.control() == 0x037F)
        #expect(bench.status() == 0)
        bench.run(0xD9, 0x30)
        #expect(bench.word(8, UInt16.self) == 0xFFFF)
    }

    @Test("operands of each memory type are loaded and stored exactly")
    func memoryTypes() {
        var bench = Bench()
        bench.run(0xD9, 0x00, bytes(Float(1.5).bitPattern))
        #expect(bench.pop() == 1.5)
        bench.run(0xDB, 0x00, bytes(Int32(-7)))
        #expect(bench.pop() == -7)
        bench.run(0xDF, 0x00, bytes(Int16(-300)))
        #expect(bench.pop() == -300)
        bench.run(0xDF, 0x28, bytes(Int64(1) << 40))
        #expect(bench.pop() == 1_099_511_627_776)
        bench.run(0xDF, 0x20, [0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x80])
        #expect(bench.pop() == -1234)

        bench.load(-2.5)
        bench.run(0xD9, 0x10)
        #expect(bench.word(0, UInt32.self) == Float(-2.5).bitPattern)
        #expect(bench.scratch[4] == 0xEE)
        bench.run(0xDB, 0x10)
        #expect(bench.word(0, Int32.self) == -2)
        #expect(bench.scratch[4] == 0xEE)
        bench.run(0xDF, 0x10)
        #expect(bench.word(0, Int16.self) == -2)
        #expect(bench.scratch[2] == 0xEE)
        bench.run(0xD9, 0xC0)
        bench.run(0xDF, 0x38)
        #expect(bench.word(0, Int64.self) == -2)
        bench.run(0xD9, 0xC0)
        bench.run(0xDB, 0x38)
        #expect(bench.word(0, UInt64.self) == 0xA000_0000_0000_0000)
        #expect(bench.word(8, UInt16.self) == 0xC000)
        #expect(bench.scratch[10] == 0xEE)
        bench.run(0xDF, 0x30)
        #expect(Array(bench.scratch[0..<11]) == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xEE])
        #expect(bench.status() & 0x3800 == 0)
    }

    @Test("operand sizes agree with what the instruction really touches")
    func operandSizes() {
        for opcode in UInt8(0xD8)...0xDF {
            for reg in UInt8(0)..<8 {
                let modrm = reg << 3
                for short in [false, true] {
                    let size = FloatingPointUnit.operandSize(
                        opcode: opcode, modrm: modrm, short: short)
                    var bench = Bench()
                    if (opcode, reg) != (0xD9, 4) && (opcode, reg) != (0xDD, 4) {
                        bench.run(fld1.0, fld1.1)
                    }
                    let operand = [UInt8](repeating: 0, count: size.read)
                    let outcome = bench.run(opcode, modrm, operand, short: short)
                    #expect((outcome == .undefined) == (size == (0, 0)))
                    // A byte of ours that is left is one that was not written.
                    let written = bench.scratch.lastIndex { $0 != 0xEE }.map { $0 + 1 } ?? 0
                    #expect(
                        written == max(size.written, size.read), "\(opcode) /\(reg) \(short)")
                }
            }
        }
    }

    @Test("arithmetic goes between registers in either direction")
    func arithmetic() {
        var bench = Bench()
        bench.load(10)
        bench.load(4)
        bench.run(0xD8, 0xE1)  // FSUB ST, ST(1)
        #expect(bench.pop() == -6)
        bench.load(4)
        bench.run(0xDC, 0xF9)  // FDIV ST(1), ST
        #expect(bench.pop() == 4)
        #expect(bench.pop() == 2.5)
        bench.load(10)
        bench.load(4)
        bench.run(0xDE, 0xE9)  // FSUBP
        #expect(bench.pop() == 6)
        bench.load(9)
        bench.run(0xD9, 0xFA)  // FSQRT
        bench.run(0xD8, 0x08, bytes(Float(2).bitPattern))  // FMUL m32
        bench.run(0xDE, 0x00, bytes(Int16(1)))  // FIADD m16
        #expect(bench.pop() == 7)
        #expect(bench.status() & 0x3800 == 0)
    }

    @Test("rounding follows the guest's control word")
    func rounding() {
        var bench = Bench()
        for (control, expected) in [
            (UInt16(0x037F), Int32(2)), (0x077F, 2), (0x0B7F, 3), (0x0F7F, 2),
        ] {
            bench.control(control)
            bench.load(2.25)
            bench.run(0xDB, 0x18)
            #expect(bench.word(0, Int32.self) == expected)
        }
        bench.control(0x007F)  // single precision
        bench.run(fld1.0, fld1.1)
        bench.run(0xD8, 0x30, bytes(Float(3).bitPattern))  // FDIV m32
        #expect(bench.pop() == Double(Float(1) / 3))
    }

    @Test("FDIV is free of the bug of 1994, as Linux asks")
    func divisionBug() {
        var bench = Bench()
        bench.load(4_195_835)
        bench.run(0xDC, 0x30, bytes(Double(3_145_727).bitPattern))
        bench.run(0xDC, 0x08, bytes(Double(3_145_727).bitPattern))
        bench.load(4_195_835)
        bench.run(0xDE, 0xE1)  // FSUBRP
        bench.run(0xDB, 0x18)
        #expect(bench.word(0, Int32.self) == 0)
    }

    @Test("comparisons set the condition codes, FCOMI the flags")
    func comparisons() {
        var bench = Bench()
        bench.load(2)
        bench.load(1)
        bench.run(0xD8, 0xD1)  // FCOM ST(1): less
        #expect(bench.status() & 0x4500 == 0x0100)
        bench.flags = 0x0000_02C6
        bench.run(0xDB, 0xF1)  // FCOMI
        #expect(bench.flags & 0x45 == 0x01)
        #expect(bench.flags & 0x0000_0202 == 0x202)
        bench.run(0xDB, 0xF0)
        #expect(bench.flags & 0x45 == 0x40)
        bench.load(words: 0xC000_0000_0000_0000, exponent: 0x7FFF)
        bench.run(0xDF, 0xE9)  // FUCOMIP with a quiet NaN
        #expect(bench.flags & 0x45 == 0x45)
        #expect(bench.status() & 0x3F == 0)
        #expect(bench.pop() == 1)
    }

    @Test("FCMOV moves by the guest's flags")
    func conditionalMoves() {
        var bench = Bench()
        bench.load(2)
        bench.load(1)
        bench.flags = 0x40
        bench.run(0xDB, 0xC9)  // FCMOVNE: not taken
        #expect(bench.flags == 0x40)
        bench.run(0xDA, 0xC1)  // FCMOVB: not taken
        bench.run(0xD9, 0xC0)
        #expect(bench.pop() == 1)
        bench.run(0xDA, 0xC9)  // FCMOVE: taken
        #expect(bench.pop() == 2)
    }

    @Test("encodings that no processor has raise #UD, aliases of real ones work")
    func encodings() {
        var bench = Bench()
        for (opcode, modrm) in [
            (UInt8(0xD9), UInt8(0xD1)), (0xD9, 0xE2), (0xD9, 0xEF), (0xDA, 0xE0), (0xDA, 0xEA),
            (0xDB, 0xE5), (0xDB, 0xF8), (0xDD, 0xF0), (0xDE, 0xD8), (0xDE, 0xDA), (0xDF, 0xE1),
            (0xDF, 0xF8), (0xD9, 0x08), (0xDB, 0x20), (0xDB, 0x30), (0xDD, 0x28),
        ] {
            #expect(bench.run(opcode, modrm) == .undefined, "\(opcode) \(modrm)")
        }
        for modrm in [UInt8(0xE0), 0xE1, 0xE4] { #expect(bench.run(0xDB, modrm) == .done) }
        bench.load(2)
        bench.load(1)
        bench.run(0xDD, 0xC9)  // FXCH again
        #expect(bench.pop() == 2)
        bench.load(3)
        bench.run(0xDF, 0xC0)  // FFREEP
        #expect(bench.pop() == 1)
    }

    @Test("the environment has the guest's addresses, in both formats")
    func environment() {
        var bench = Bench()
        bench.eip = 0x0012_3456
        bench.run(0xDD, 0x05, bytes(Double(1).bitPattern))  // FLD m64
        bench.run(0xD9, 0xE0)  // FCHS, at ...458
        bench.run(0xD9, 0x35)  // FNSTENV
        #expect(bench.word(0, UInt32.self) == 0xFFFF_037F)
        #expect(bench.word(4, UInt32.self) == 0xFFFF_3800)
        #expect(bench.word(8, UInt32.self) == 0xFFFF_3FFF)
        #expect(bench.word(12, UInt32.self) == 0x0012_3458)
        #expect(bench.word(16, UInt32.self) == 0x01E0_0061)
        #expect(bench.word(20, UInt32.self) == 0x2000)
        #expect(bench.word(24, UInt32.self) == 0xFFFF_0069)
        bench.run(0xD9, 0x35, short: true)
        #expect(
            (0..<7).map { bench.word(2 * $0, UInt16.self) } == [
                0x037F, 0x3800, 0x3FFF, 0x3458, 0x61, 0x2000, 0x69,
            ])
        #expect(bench.scratch[14] == 0xEE)
    }

    @Test("FNSAVE stores everything and initializes, FRSTOR brings everything back")
    func saveAndRestore() {
        for short in [false, true] {
            var bench = Bench()
            bench.control(0x0C7F)
            bench.load(1.25)
            bench.load(-3)
            bench.run(0xDD, 0x35, short: short)
            let length = short ? 94 : 108
            let image = Array(bench.scratch[0..<length])
            #expect(bench.scratch[length] == 0xEE)
            #expect(bench.control() == 0x037F)
            #expect(bench.status() == 0)
            bench.run(0xD9, 0x35)
            #expect(bench.word(12, UInt32.self) == 0)
            bench.run(0xDD, 0x25, image, short: short)
            bench.run(0xDD, 0x35, short: short)
            #expect(Array(bench.scratch[0..<length]) == image || short)
            bench.run(0xDD, 0x25, image, short: short)
            #expect(bench.control() == 0x0C7F)
            #expect(bench.pop() == -3)
            #expect(bench.pop() == 1.25)
        }
    }

    @Test("the state survives suspension, and units do not see one another")
    func interleaving() {
        var left = Bench()
        var right = Bench()
        left.load(1)
        left.unit.suspend()
        right.control(0x0F7F)
        right.load(2)
        right.load(3)
        right.unit.suspend()
        #if arch(x86_64)
        // Neither does our own long double.
        #expect(Float80(1) / Float80(3) * Float80(3) == 1)
        #endif
        left.load(10)
        #expect(left.pop() == 10)
        left.unit.suspend()
        left.unit.suspend()
        #expect(right.pop() == 3)
        #expect(right.control() == 0x0F7F)
        right.unit.suspend()
        #expect(left.pop() == 1)
        #expect(left.control() == 0x037F)
        left.unit.suspend()
        #expect(right.pop() == 2)
        right.unit.suspend()
    }
}

@Suite struct FloatingPointExceptionTests {
    @Test("masked exceptions give the default result and sticky flags")
    func masked() {
        var bench = Bench()
        bench.run(fld1.0, fld1.1)
        bench.run(0xD8, 0x30, bytes(Float(0).bitPattern))  // FDIV m32
        #expect(bench.pop() == .infinity)
        #expect(bench.status() == 0x0004)
        #expect(bench.unit.wait() == .done)
        bench.run(0xDB, 0xE2)
        #expect(bench.status() == 0)
    }

    @Test("a division by zero that the guest has unmasked leaves its operands and is pending")
    func zeroDivide() {
        var bench = Bench()
        bench.control(0x037B)
        bench.load(3)
        #expect(bench.run(0xD8, 0x30, bytes(Float(0).bitPattern)) == .done)
        #expect(bench.status() & 0x80FF == 0x8084)
        #expect(bench.unit.wait() == .pending)
        #expect(bench.unit.check(opcode: 0xDD, modrm: 0x00) == .pending)
        #expect(bench.unit.check(opcode: 0xDD, modrm: 0x30) == .done)
        #expect(bench.unit.check(opcode: 0xDD, modrm: 0x28) == .undefined)
        #expect(bench.run(fld1.0, fld1.1) == .pending)
        #expect(bench.run(0xD9, 0x28, bytes(UInt16(0x037F))) == .pending)
        #expect(bench.control() == 0x037B)
        // The instructions that do not wait do not fault, and one of them clears it.
        #expect(bench.run(0xDB, 0xE2) == .done)
        #expect(bench.status() & 0x80FF == 0)
        #expect(bench.unit.wait() == .done)
        #expect(bench.pop() == 3)
    }

    @Test("an undefined encoding is #UD even with an exception pending")
    func undefinedWins() {
        var bench = Bench()
        bench.control(0x037B)
        bench.run(fld1.0, fld1.1)
        bench.run(0xD8, 0x30, bytes(Float(0).bitPattern))
        #expect(bench.run(0xD9, 0xD1) == .undefined)
        #expect(bench.run(0xD9, 0x08) == .undefined)
    }

    @Test("an unmasked stack fault neither pushes nor pops")
    func stackFault() {
        var bench = Bench()
        bench.control(0x037E)
        #expect(bench.run(0xDD, 0x18) == .withheld)  // FSTP m64 of an empty register
        #expect(bench.word(0, UInt64.self) == 0xEEEE_EEEE_EEEE_EEEE)
        #expect(bench.status() & 0xBAFF == 0x80C1)
        bench.run(0xDB, 0xE2)
        bench.control(0x037F)
        for _ in 0..<8 { bench.run(fldz.0, fldz.1) }
        bench.control(0x037E)
        #expect(bench.run(fld1.0, fld1.1) == .done)
        #expect(bench.status() & 0xBAFF == 0x82C1)
    }

    @Test("an integer store out of range is withheld when unmasked")
    func integerStore() {
        var bench = Bench()
        bench.control(0x037E)
        bench.load(1e10)
        #expect(bench.run(0xDB, 0x18) == .withheld)  // FISTP m32
        #expect(bench.word(0, UInt32.self) == 0xEEEE_EEEE)
        bench.run(0xDB, 0xE2)
        #expect(bench.pop() == 1e10)
    }

    @Test("a store to nowhere is tried first: it may never come to storing")
    func withheldStore() {
        var bench = Bench()
        bench.control(0x037E)
        bench.load(1e10)
        let withheld = bench.scratch.withUnsafeMutableBytes {
            bench.unit.withholds(
                opcode: 0xDB, modrm: 0x18, scratch: $0.baseAddress!,
                site: .init(instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0))
        }
        #expect(withheld)
        #expect(bench.unit.wait() == .pending)
        bench.run(0xDB, 0xE2)
        bench.load(5)
        let stored = bench.scratch.withUnsafeMutableBytes {
            bench.unit.withholds(
                opcode: 0xDB, modrm: 0x18, scratch: $0.baseAddress!,
                site: .init(instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0))
        }
        #expect(!stored)
        #expect(bench.unit.wait() == .done)
        #expect(bench.pop() == 5)
        #expect(bench.pop() == 1e10)
    }

    @Test("an inexact result is stored and popped before its exception is pending")
    func inexact() {
        var bench = Bench()
        bench.control(0x035F)
        bench.load(0.1)
        #expect(bench.run(0xD9, 0x18) == .done)  // FSTP m32
        #expect(bench.word(0, UInt32.self) == Float(0.1).bitPattern)
        #expect(bench.status() & 0xB8FF == 0x80A0)
    }

    @Test("an unmasked overflow gives the result with its exponent wrapped")
    func overflow() {
        var bench = Bench()
        bench.load(words: 0x8000_0000_0000_0000, exponent: 0x7FFE)
        bench.control(0x0377)
        bench.run(0xD8, 0xC8)  // FMUL ST, ST
        #expect(bench.status() & 0x80FF == 0x8088)
        bench.run(0xDB, 0xE2)
        bench.run(0xDB, 0x38)
        #expect(bench.word(0, UInt64.self) == 0x8000_0000_0000_0000)
        #expect(bench.word(8, UInt16.self) == 0x3FFF + 2 * 0x3FFF - 0x6000)
    }

    @Test("FLDCW and FLDENV that unmask a raised flag make it pending, FNSTENV masks again")
    func unmasking() {
        var bench = Bench()
        bench.run(fld1.0, fld1.1)
        bench.run(0xD8, 0x30, bytes(Float(0).bitPattern))
        #expect(bench.status() & 0x8080 == 0)
        bench.control(0x037B)
        #expect(bench.status() & 0x8080 == 0x8080)
        #expect(bench.run(0xD9, 0x30) == .done)
        #expect(bench.word(0, UInt16.self) == 0x037B)
        #expect(bench.word(4, UInt16.self) & 0x80FF == 0x8084)
        let image = Array(bench.scratch[0..<28])
        #expect(bench.control() == 0x037F)
        #expect(bench.unit.wait() == .done)
        #expect(bench.run(0xD9, 0x20, image) == .done)
        #expect(bench.unit.wait() == .pending)
        #expect(bench.run(0xDB, 0xE3) == .done)  // FNINIT
        #expect(bench.unit.wait() == .done)
        #expect(bench.control() == 0x037F)
    }

    @Test("a pending exception survives FNSAVE, FRSTOR and suspension")
    func pendingSurvives() {
        var bench = Bench()
        bench.control(0x037B)
        bench.run(fld1.0, fld1.1)
        bench.run(0xD8, 0x30, bytes(Float(0).bitPattern))
        bench.unit.suspend()
        #expect(bench.unit.wait() == .pending)
        bench.run(0xDD, 0x30)
        let image = Array(bench.scratch[0..<108])
        #expect(bench.unit.wait() == .done)
        bench.run(0xDD, 0x20, image)
        bench.unit.suspend()
        #expect(bench.run(0xD9, 0xD0) == .pending)  // FNOP waits
        #expect(bench.status() & 0x8084 == 0x8084)
        bench.unit.suspend()
    }
}
