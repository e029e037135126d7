// Exact tests of what x86-64-v2 has beside SSE2 on the 64-bit processor: what is offered and what is not, when it may be
// used, what of memory it touches. What the instructions compute is for the differential test to say (LongCaseLevel.swift).
//
// Sources: Intel SDM volume 2; AMD64 Architecture Programmer's Manual volumes 3 and 4.

import Testing

@testable import Mini

@Suite struct LongLevelTests: LongInstructions {
    private let machine: LongMachine
    private var core: LongCore { machine.processor.core }

    init() throws {
        machine = try LongMachine()
        // 32-bit code.
        machine.store(LongPlace.global + 0x30, 0x00CF_FB00_0000_FFFF)
    }

    // MARK: What there is

    /// An encoding: prefix, bytes before modrm, what offers it, and which operands it has.
    struct Form {
        var prefix: UInt8?
        var opcode: [UInt8]
        var feature: HostFeature?
        var hasValue = false
        var hasRegister = true
        var hasMemory = true
        /// The middle of modrm.
        var group: UInt8 = 0

        /// With xmm1 or ecx, or what rcx points at, as the other operand.
        func code(isRegister: Bool, value: UInt8 = 0) -> [UInt8] {
            (prefix.map { [$0] } ?? []) + [0x0F] + opcode
                + [(isRegister ? 0xC1 : 0x01) | group << 3] + (hasValue ? [value] : [])
        }
        func exists(isRegister: Bool) -> Bool {
            (isRegister ? hasRegister : hasMemory) && feature.map(HostProcessor.has) ?? false
        }
    }

    /// All opcodes behind 0F 38 and 0F 3A, and those behind 0F that are new with some prefix.
    private static let forms: [Form] = {
        var forms: [Form] = []
        for prefix in [nil, 0x66, 0xF2, 0xF3] as [UInt8?] {
            for opcode in 0...0xFF as ClosedRange<UInt8> {
                var form = Form(prefix: prefix, opcode: [0x38, opcode])
                switch (prefix, opcode) {
                case (nil, 0x00...0x0B), (nil, 0x1C...0x1E), (0x66, 0x00...0x0B),
                    (0x66, 0x1C...0x1E):
                    form.feature = .ssse3
                case (0x66, 0x10), (0x66, 0x14), (0x66, 0x15), (0x66, 0x17), (0x66, 0x20...0x25),
                    (0x66, 0x28...0x2B), (0x66, 0x30...0x35), (0x66, 0x38...0x41):
                    form.feature = .sse41
                    form.hasRegister = opcode != 0x2A
                case (0x66, 0x37), (0xF2, 0xF0), (0xF2, 0xF1): form.feature = .sse42
                default: break
                }
                forms.append(form)
                form = Form(prefix: prefix, opcode: [0x3A, opcode], hasValue: true)
                switch (prefix, opcode) {
                case (nil, 0x0F), (0x66, 0x0F): form.feature = .ssse3
                case (0x66, 0x08...0x0E), (0x66, 0x14...0x17), (0x66, 0x20...0x22),
                    (0x66, 0x40...0x42):
                    form.feature = .sse41
                case (0x66, 0x60...0x63): form.feature = .sse42
                default: break
                }
                forms.append(form)
            }
        }
        for opcode in [0x7C, 0x7D, 0xD0] as [UInt8] {
            for prefix in [nil, 0x66, 0xF2, 0xF3] as [UInt8?] {
                let feature: HostFeature? = prefix == 0x66 || prefix == 0xF2 ? .sse3 : nil
                forms.append(Form(prefix: prefix, opcode: [opcode], feature: feature))
            }
        }
        forms += [
            Form(prefix: 0xF2, opcode: [0x12], feature: .sse3),
            Form(prefix: 0xF3, opcode: [0x12], feature: .sse3),
            Form(prefix: 0xF3, opcode: [0x16], feature: .sse3),
            Form(prefix: 0xF2, opcode: [0x16]),
            Form(prefix: 0xF2, opcode: [0xF0], feature: .sse3, hasRegister: false),
            Form(opcode: [0xF0]), Form(prefix: 0x66, opcode: [0xF0]),
            Form(prefix: 0xF3, opcode: [0xF0]),
            Form(prefix: 0xF3, opcode: [0xB8], feature: .popcnt),
            Form(opcode: [0xB8]), Form(prefix: 0x66, opcode: [0xB8]),
            Form(prefix: 0xF2, opcode: [0xB8]),
        ]
        return forms
    }()

    private func hex(_ code: [UInt8]) -> String {
        code.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }

    @Test(
        "CPUID offers what the machine's own processor has of x86-64-v2, CMPXCHG16B always, and no more"
    )
    func identity() throws {
        let wanted = HostFeature.allCases.filter {
            $0 == .compareExchange16 || HostProcessor.has($0)
        }
        // To programs; a kernel is told of CMPXCHG16B.
        machine.kernel(rax(1) + [0x0F, 0xA2])
        #expect(core.rcx == HostFeature.compareExchange16.bit | 1 << 31)
        core.state.privilege = 3
        #expect(UInt64(core.identify(1).2) == wanted.reduce(1 << 31) { $0 | $1.bit })
        // LAHF and SAHF, which the level asks for as well.
        machine.kernel(rax(0x8000_0001) + [0x0F, 0xA2])
        #expect(core.rcx == 1)
    }

    @Test("of the opcodes behind 0F 38 and 0F 3A those that are offered are there, and no others")
    func opcodes() throws {
        var wrong: [String] = []
        for form in Self.forms {
            for isRegister in [true, false] {
                let code = form.code(isRegister: isRegister, value: 0)
                machine.kernel(rcx(LongPlace.data) + code)
                let isThere = machine.vector != 6
                if isThere != form.exists(isRegister: isRegister) {
                    wrong.append("\(hex(code)): \(isThere ? "there" : "not there")")
                } else if isThere ? machine.vector != nil : machine.frame(0) != LongPlace.code + 10
                {
                    wrong.append("\(hex(code)): vector \(machine.vector ?? 999)")
                }
            }
        }
        #expect(wrong == [])
    }

    @Test("F2 and F3 count more than 66, and none of them takes LOCK")
    func prefixes() throws {
        var wrong: [String] = []
        for form in Self.forms where form.exists(isRegister: false) {
            let code = form.code(isRegister: false)
            machine.kernel(rcx(LongPlace.data) + [0xF0] + code)
            if machine.vector != 6 { wrong.append("f0 " + hex(code)) }
            guard form.opcode.count > 1 else { continue }
            for prefix in [0xF2, 0xF3] as [UInt8] where form.prefix != 0xF2 {
                machine.kernel(rcx(LongPlace.data) + [prefix] + code)
                if machine.vector != 6 { wrong.append(hex([prefix] + code)) }
            }
        }
        #expect(wrong == [])
        guard HostProcessor.has(.sse42) else { return }
        // crc32 eax, cx: in either order.
        for code in [[0x66, 0xF2], [0xF2, 0x66]] as [[UInt8]] {
            machine.kernel(rax(0xFFFF_FFFF) + rcx(0x1234_0000) + code + [0x0F, 0x38, 0xF1, 0xC1])
            #expect(machine.vector == nil)
            let word = core.rax
            machine.kernel(rax(0xFFFF_FFFF) + rcx(0) + code + [0x0F, 0x38, 0xF1, 0xC1])
            #expect(core.rax == word)
        }
    }

    /// FISTTP of 32, 64 and 16 bits, to where rcx points.
    private static let truncations: [[UInt8]] = [[0xDB, 0x09], [0xDD, 0x09], [0xDF, 0x09]]

    @Test(
        "FISTTP stores what is left of the point, whichever way the x87 rounds, and pops",
        .enabled(if: HostProcessor.has(.sse3)), arguments: zip(truncations, [4, 8, 2]))
    func truncate(code: [UInt8], count: Int) throws {
        // fninit; fldcw [rcx] of each rounding; fld1; fld qword [rcx + 16]; fisttp [rcx]; fstp qword [rcx + 24]
        for rounding in 0..<4 as Range<UInt64> {
            machine.store(LongPlace.dataPhysical, 0x37F | rounding << 10)
            machine.store(LongPlace.dataPhysical + 8, 0)
            machine.store(LongPlace.dataPhysical + 16, (-2.75).bitPattern)
            machine.kernel(
                rcx(LongPlace.data) + [0xDB, 0xE3, 0xD9, 0x29, 0xD9, 0xE8, 0xDD, 0x41, 16] + code
                    + [0xDD, 0x59, 24])
            #expect(machine.vector == nil)
            #expect(
                machine.bytes(LongPlace.dataPhysical, count)
                    == [0xFE] + [UInt8](repeating: 0xFF, count: count - 1))
            #expect(machine.bytes(LongPlace.dataPhysical + UInt32(count), 1) != [0xFF])
            #expect(machine.bytes(LongPlace.dataPhysical + 24, 8) == bytes(1.0.bitPattern))
        }
    }

    @Test("the 32-bit processor offers none of it, and has none of it")
    func narrowProcessor() throws {
        let machine = try SystemMachine()
        machine.run([0xB8, 1, 0, 0, 0, 0x0F, 0xA2])
        #expect(machine.processor[.ecx] == 1 << 31)
        // mov esp, stack; mov ecx, data
        let place =
            [0xBC] + bytes(UInt64(SystemMachine.stack))[..<4]
            + [0xB9] + bytes(UInt64(SystemMachine.data))[..<4]
        machine.run(setControl(4, 0x600) + [0x0F, 0x06])
        var wrong: [String] = []
        for form in Self.forms {
            for isRegister in [true, false] {
                let code = form.code(isRegister: isRegister)
                if machine.run(place + code) != .event(6) { wrong.append(hex(code)) }
            }
        }
        for code in Self.truncations where machine.run(place + code) != .event(6) {
            wrong.append(hex(code))
        }
        #expect(wrong == [])
    }

    // MARK: When it may be used

    /// With CR0 (bits beside those of long mode) and CR4.
    private func barred(_ code: [UInt8], _ control0: UInt64, _ control4: UInt64) -> UInt32? {
        machine.kernel(
            rax(control4) + [0x0F, 0x22, 0xE0] + rax(0x8000_0033 | control0) + [0x0F, 0x22, 0xC0]
                + rcx(LongPlace.data) + code)
        return machine.vector
    }
    private let usual: UInt64 = 0x620
    private let withoutFastSave: UInt64 = 0x420
    private let emulation: UInt64 = 4
    private let switched: UInt64 = 8

    @Test(
        "XMM registers without CR4.OSFXSR or with CR0.EM are an invalid opcode, with CR0.TS no device"
    )
    func vectorsBarred() throws {
        var wrong: [String] = []
        for form in Self.forms where form.opcode != [0xB8] && form.prefix != nil {
            if form.opcode[0] == 0x38 && form.opcode[1] >= 0xF0 { continue }
            for isRegister in [true, false] where form.exists(isRegister: isRegister) {
                let code = form.code(isRegister: isRegister)
                let vectors = [
                    barred(code, 0, withoutFastSave), barred(code, switched, withoutFastSave),
                    barred(code, emulation, usual), barred(code, emulation | switched, usual),
                    barred(code, switched, usual), barred(code, 0, usual),
                ]
                if vectors != [6, 6, 6, 6, 7, nil] { wrong.append("\(hex(code)): \(vectors)") }
            }
        }
        #expect(wrong == [])
    }

    @Test(
        "MMX registers do not ask for CR4.OSFXSR; with CR0.EM an invalid opcode, with CR0.TS no device"
    )
    func multimediaBarred() throws {
        var wrong: [String] = []
        for form in Self.forms where form.prefix == nil {
            for isRegister in [true, false] where form.exists(isRegister: isRegister) {
                let code = form.code(isRegister: isRegister)
                let vectors = [
                    barred(code, emulation, usual), barred(code, emulation | switched, usual),
                    barred(code, switched, usual), barred(code, 0, withoutFastSave),
                ]
                if vectors != [6, 6, 7, nil] { wrong.append("\(hex(code)): \(vectors)") }
                // fninit; fldcw [rcx]; fldz; fldz; fdivp: invalid, pending.
                machine.store(LongPlace.dataPhysical, 0x37E)
                let pending: [UInt8] = [
                    0xDB, 0xE3, 0xD9, 0x29, 0xD9, 0xEE, 0xD9, 0xEE, 0xDE, 0xF9,
                ]
                if barred(pending + code, 0, usual) != 16 { wrong.append("\(hex(code)): pending") }
                machine.kernel([0xDB, 0xE3])
            }
        }
        #expect(wrong == [])
    }

    /// popcnt eax, ecx; popcnt rax, [rcx]; crc32 eax, cl; crc32 rax, qword [rcx]; cmpxchg16b [rcx]
    private static let general: [([UInt8], HostFeature?)] = [
        ([0xF3, 0x0F, 0xB8, 0xC1], .popcnt), ([0xF3, 0x48, 0x0F, 0xB8, 0x01], .popcnt),
        ([0xF2, 0x0F, 0x38, 0xF0, 0xC1], .sse42), ([0xF2, 0x48, 0x0F, 0x38, 0xF1, 0x01], .sse42),
        ([0x48, 0x0F, 0xC7, 0x09], nil),
    ]

    @Test(
        "POPCNT, CRC32 and CMPXCHG16B do not mind CR0.EM, CR0.TS or CR4.OSFXSR; FISTTP is the x87's"
    )
    func generalNotBarred() throws {
        for (code, feature) in Self.general where feature.map(HostProcessor.has) ?? true {
            #expect(barred(code, emulation | switched, withoutFastSave) == nil, "\(hex(code))")
        }
        guard HostProcessor.has(.sse3) else { return }
        for code in Self.truncations {
            #expect(barred(code, emulation, usual) == 7)
            #expect(barred(code, switched, usual) == 7)
            #expect(barred(code, 0, withoutFastSave) == nil)
        }
    }

    @Test("that they may not be used is told before anything of their operand", arguments: [0, 1])
    func barredBeforeMemory(_ odd: UInt64) throws {
        // pshufb, roundsd, lddqu, pextrd, pcmpistri; of rcx, which points at nothing.
        let codes: [([UInt8], HostFeature)] = [
            ([0x66, 0x0F, 0x38, 0x00, 0x01], .ssse3), ([0x66, 0x0F, 0x3A, 0x0B, 0x01, 0], .sse41),
            ([0xF2, 0x0F, 0xF0, 0x01], .sse3), ([0x66, 0x0F, 0x3A, 0x16, 0x01, 0], .sse41),
            ([0x66, 0x0F, 0x3A, 0x63, 0x01, 0], .sse42), ([0x0F, 0x38, 0x00, 0x01], .ssse3),
        ]
        for (code, feature) in codes where HostProcessor.has(feature) {
            let nowhere = rcx(0x3000_0000 + odd) + code
            #expect(barred(nowhere, switched, usual) == 7)
            #expect(barred(nowhere, emulation, usual) == 6)
        }
    }

    @Test(
        "an exception of ROUND that MXCSR unmasks is vector 19, or #UD, and its result is not stored",
        .enabled(if: HostProcessor.has(.sse41)))
    func unmaskedRounding() throws {
        // ldmxcsr [rcx]; roundps xmm0, xmm1, imm
        func round(_ value: UInt8, _ control4: UInt64) -> UInt32? {
            core.state.vectors[0] = 0x1111
            core.state.vectors[2] = UInt64((1.5 as Float).bitPattern)
            core.state.vectors[3] = 0
            machine.store(LongPlace.dataPhysical, 0x0F80)
            return barred([0x0F, 0xAE, 0x11, 0x66, 0x0F, 0x3A, 0x08, 0xC1, value], 0, control4)
        }
        #expect(round(0, usual) == 19)
        #expect(core.state.vectors[0] == 0x1111 && core.state.vectorControl == 0x0FA0)
        #expect(round(0, 0x220) == 6)
        #expect(core.state.vectors[0] == 0x1111)
        // With bit 3 it is not inexact.
        #expect(round(8, usual) == nil)
        #expect(core.state.vectors[0] == UInt64((2.0 as Float).bitPattern))
        #expect(core.state.vectorControl == 0x0F80)
        #expect(round(0xF9, usual) == nil)
        #expect(core.state.vectors[0] == UInt64((1.0 as Float).bitPattern))
    }

    // MARK: Memory

    /// How many bytes of memory one has, and whether they are aligned.
    private func operand(_ form: Form) -> (count: UInt64, isAligned: Bool) {
        let all: (UInt64, Bool) = (16, true)
        switch form.opcode {
        case [0x12]: return form.prefix == 0xF2 ? (8, false) : all
        case [0xF0]: return (16, false)
        case [0xB8]: return (4, false)
        default: break
        }
        guard form.opcode.count == 2 else { return all }
        if form.prefix == nil { return (8, false) }
        switch (form.opcode[0], form.opcode[1]) {
        case (0x38, 0x20), (0x38, 0x23), (0x38, 0x25), (0x38, 0x30), (0x38, 0x33), (0x38, 0x35):
            return (8, false)
        case (0x38, 0x21), (0x38, 0x24), (0x38, 0x31), (0x38, 0x34): return (4, false)
        case (0x38, 0x22), (0x38, 0x32): return (2, false)
        case (0x38, 0xF0): return (1, false)
        case (0x38, 0xF1): return (4, false)
        case (0x3A, 0x0A), (0x3A, 0x16), (0x3A, 0x17), (0x3A, 0x21), (0x3A, 0x22):
            return (4, false)
        case (0x3A, 0x0B): return (8, false)
        case (0x3A, 0x14), (0x3A, 0x20): return (1, false)
        case (0x3A, 0x15): return (2, false)
        case (0x3A, 0x60...0x63): return (16, false)
        default: return all
        }
    }

    @Test("they touch as much of memory as they have, which is aligned where it has to be")
    func operands() throws {
        let end = LongPlace.data + UInt64(LongPlace.dataSize)
        // And with REX.W: pextrq, pinsrq, crc32, popcnt.
        var all = Self.forms.filter { $0.exists(isRegister: false) }.map {
            ($0.code(isRegister: false), operand($0))
        }
        let wide: [([UInt8], HostFeature)] = [
            ([0x66, 0x48, 0x0F, 0x3A, 0x16, 0x01, 0], .sse41),
            ([0x66, 0x48, 0x0F, 0x3A, 0x22, 0x01, 0], .sse41),
            ([0xF2, 0x48, 0x0F, 0x38, 0xF1, 0x01], .sse42),
            ([0xF3, 0x48, 0x0F, 0xB8, 0x01], .popcnt),
        ]
        for (code, feature) in wide where HostProcessor.has(feature) {
            all.append((code, (8, false)))
        }
        var wrong: [String] = []
        for (code, (count, isAligned)) in all {
            func vector(at place: UInt64) -> UInt32? {
                machine.kernel(rcx(place) + code)
                return machine.vector
            }
            if vector(at: end - count) != nil { wrong.append("\(hex(code)): at its page's end") }
            for distance in [1, 8] as [UInt64] {
                if vector(at: LongPlace.data + 0x100 + distance) != (isAligned ? 13 : nil) {
                    wrong.append("\(hex(code)): not aligned")
                } else if isAligned && machine.frame(0) != 0 {
                    wrong.append("\(hex(code)): error code")
                }
            }
            if isAligned {
                if vector(at: end) != 14 { wrong.append("\(hex(code)): behind its page's end") }
                continue
            }
            if vector(at: end - count + 1) != 14 {
                wrong.append("\(hex(code)): over its page's end")
            }
            if core.state.faultAddress != end {
                wrong.append("\(hex(code)): fault's address")
            }
        }
        #expect(wrong == [])
    }

    @Test(
        "a lane goes to memory wholly or not at all, and not to what is read-only",
        .enabled(if: HostProcessor.has(.sse41)))
    func storedLanes() throws {
        // pextrb, pextrw, pextrd, pextrq, extractps: the first lane, to where rcx points.
        let codes: [([UInt8], Int)] = [
            ([0x66, 0x0F, 0x3A, 0x14, 0x01, 0], 1), ([0x66, 0x0F, 0x3A, 0x15, 0x01, 0], 2),
            ([0x66, 0x0F, 0x3A, 0x16, 0x01, 0], 4), ([0x66, 0x48, 0x0F, 0x3A, 0x16, 0x01, 0], 8),
            ([0x66, 0x0F, 0x3A, 0x17, 0x01, 0], 4),
        ]
        let last = LongPlace.dataPhysical + UInt32(LongPlace.dataSize) - 16
        for (code, count) in codes {
            machine.store(last, 0)
            machine.store(last + 8, 0)
            core.state.vectors[0] = 0x8877_6655_4433_2211
            let end = LongPlace.data + UInt64(LongPlace.dataSize)
            machine.kernel(rcx(end - UInt64(count) - 1) + code)
            #expect(machine.vector == nil)
            let wanted =
                [UInt8](repeating: 0, count: 15 - count)
                + bytes(0x8877_6655_4433_2211)[..<count] + [0]
            #expect(machine.bytes(last, 16) == wanted)
            if count > 1 {
                core.state.vectors[0] = 0xEEEE_EEEE_EEEE_EEEE
                machine.kernel(rcx(end - UInt64(count) + 1) + code)
                #expect(machine.vector == 14)
                #expect(machine.bytes(last, 16) == wanted)
            }
        }
        machine.store(0x4000, UInt64(LongPlace.dataPhysical) | 5)
        core.clearCurrentTLB()
        for (code, _) in codes {
            let ending = machine.run(program([0x48, 0x89, 0xC1] + code), image: image)
            #expect(ending.trap == 14 && ending.error == 7 && ending.address == LongPlace.data)
        }
    }

    // MARK: CMPXCHG16B

    /// In ring 3, at rdi. Flags are those that a comparison does not have.
    private func exchange(
        _ memory: (UInt64, UInt64), _ code: [UInt8] = [0x48, 0x0F, 0xC7, 0x0F],
        at offset: UInt64 = 0x100, flags: UInt64 = 0x202
    ) -> LongEnding {
        var test = program(code)
        test.registers[0] = 0x1111_2222_3333_4444
        test.registers[2] = 0x5555_6666_7777_8888
        test.registers[3] = 0xAAAA_BBBB_CCCC_DDDD
        test.registers[1] = 0x0123_4567_89AB_CDEF
        test.registers[7] = LongPlace.data + offset
        test.flags = flags
        var data = image
        data.replaceSubrange(0x100..<0x110, with: bytes(memory.0) + bytes(memory.1))
        return machine.run(test, image: data)
    }
    private let equal: (UInt64, UInt64) = (0x1111_2222_3333_4444, 0x5555_6666_7777_8888)

    @Test(
        "CMPXCHG16B stores rcx:rbx where rdx:rax is, and else loads that; of the flags it has ZF alone",
        arguments: [[0x48, 0x0F, 0xC7, 0x0F], [0xF0, 0x48, 0x0F, 0xC7, 0x0F]] as [[UInt8]])
    func exchangePair(code: [UInt8]) throws {
        for flags in [0x202, 0xAD7] as [UInt64] {
            let ending = exchange(equal, code, flags: flags)
            #expect(ending.trap == 3)
            #expect(ending.flags & 0xFFF == flags | 0x40)
            #expect(ending.registers[0] == equal.0 && ending.registers[2] == equal.1)
            #expect(
                Array(ending.data[0x100..<0x110])
                    == bytes(0xAAAA_BBBB_CCCC_DDDD) + bytes(0x0123_4567_89AB_CDEF))
            // Either half, and either half of them.
            for (low, high) in [(1, 0), (1 << 63, 0), (0, 1), (0, 1 << 63)] as [(UInt64, UInt64)] {
                let other = (equal.0 ^ low, equal.1 ^ high)
                let ending = exchange(other, code, flags: flags)
                #expect(ending.trap == 3)
                #expect(ending.flags & 0xFFF == flags & ~0x40)
                #expect(ending.registers[0] == other.0 && ending.registers[2] == other.1)
                #expect(ending.registers[1] == 0x0123_4567_89AB_CDEF)
                #expect(ending.registers[3] == 0xAAAA_BBBB_CCCC_DDDD)
                #expect(Array(ending.data[0x100..<0x110]) == bytes(other.0) + bytes(other.1))
            }
        }
    }

    @Test(
        "CMPXCHG16B of what is not aligned is a protection fault, equal or not",
        arguments: [1, 4, 8])
    func misalignedPair(_ distance: UInt64) throws {
        for memory in [equal, (0, 0)] {
            let ending = exchange(memory, at: 0x100 + distance)
            #expect(ending.trap == 13 && ending.error == 0)
            #expect(ending.registers[0] == equal.0 && ending.flags & 0x8D5 == 0)
            #expect(Array(ending.data[0x100..<0x110]) == bytes(memory.0) + bytes(memory.1))
        }
        // Before whether there is memory.
        for offset in [0x1FF0, 0x2000] as [UInt64] {
            #expect(exchange(equal, at: offset + distance).trap == 13)
        }
    }

    @Test(
        "CMPXCHG16B writes to memory also where that is something else: it needs to be allowed to")
    func pairIsWritten() throws {
        func entry() -> UInt64 {
            machine.memory.readable(machine.memory.range(0x4000, 8)!).load(as: UInt64.self)
        }
        #expect(entry() & 0x40 == 0)
        #expect(exchange((0, 0)).trap == 3)
        // Dirty.
        #expect(entry() & 0x40 != 0)
        for memory in [equal, (0, 0)] {
            machine.store(0x4000, UInt64(LongPlace.dataPhysical) | 5)
            core.clearCurrentTLB()
            let ending = exchange(memory, flags: 0x242)
            #expect(ending.trap == 14 && ending.error == 7)
            #expect(ending.address == LongPlace.data + 0x100)
            #expect(ending.registers[0] == equal.0 && ending.registers[2] == equal.1)
            #expect(ending.flags & 0x8D5 == 0x40)
            #expect(Array(ending.data[0x100..<0x110]) == bytes(memory.0) + bytes(memory.1))
        }
        // Nothing there.
        let ending = exchange(equal, at: 0x2000)
        #expect(ending.trap == 14 && ending.error == 6)
        #expect(ending.address == LongPlace.data + 0x2000)
    }

    @Test("CMPXCHG16B has no register, and 32-bit code has no CMPXCHG16B")
    func pairForms() throws {
        #expect(exchange(equal, [0x48, 0x0F, 0xC7, 0xCF]).trap == 6)
        #expect(exchange(equal, [0xF0, 0x48, 0x0F, 0xC7, 0xCF]).trap == 6)
        // 66, F2 and F3 say nothing of it.
        for prefix in [0x66, 0xF2, 0xF3] as [UInt8] {
            let ending = exchange(equal, [prefix, 0x48, 0x0F, 0xC7, 0x0F])
            #expect(ending.trap == 3 && ending.flags & 0x40 != 0)
            #expect(Array(ending.data[0x108..<0x110]) == bytes(0x0123_4567_89AB_CDEF))
        }
        // CMPXCHG8B still is what it is without REX.W: 8 bytes, which need not be aligned.
        let narrow = exchange((0x7777_8888_3333_4444, 5), [0x0F, 0xC7, 0x0F])
        #expect(narrow.trap == 3 && narrow.flags & 0x40 != 0)
        #expect(Array(narrow.data[0x100..<0x110]) == bytes(0x89AB_CDEF_CCCC_DDDD) + bytes(5))
        #expect(exchange((0, 0), [0x0F, 0xC7, 0x0F], at: 0x104).trap == 3)
        // dec eax; cmpxchg8b [edi]
        var test = program([0x48, 0x0F, 0xC7, 0x0F])
        test.registers[0] = 1
        test.registers[2] = 0
        let ending = runNarrow(test, image)
        #expect(ending.trap == 3 && ending.flags & 0x40 != 0 && ending.rip == test.rip + 5)
    }

    // MARK: 32-bit code

    private func runNarrow(_ test: LongCase, _ image: [UInt8]) -> LongEnding {
        machine.enter(test, image: image)
        core.install(1, 0x33, SegmentDescriptor(0x00CF_FB00_0000_FFFF))
        for segment in [0, 2, 3] {
            core.install(segment, 0x1B, SegmentDescriptor(0x00CF_F300_0000_FFFF))
        }
        core.state.isLong = false
        core.updateMode()
        return machine.finish(machine.processor.run(instructions: 100))
    }

    @Test("32-bit code has the same without REX, and gets the same results")
    func narrow() throws {
        var random = LongRandom(state: 5)
        let data = LongWord.image(LongPlace.dataSize, &random)
        var wrong: [String] = []
        for form in Self.forms {
            for isRegister in [true, false] where form.exists(isRegister: isRegister) {
                for kind in LongWord.allCases {
                    let value = form.opcode.first == 0x3A ? UInt8(random.below(256)) : 0
                    var test = program(form.code(isRegister: isRegister, value: value))
                    // Lengths of strings; what is read.
                    test.registers[0] = UInt64(random.below(20))
                    test.registers[2] = UInt64(UInt32(bitPattern: Int32(random.below(20) - 10)))
                    test.registers[1] += UInt64(random.below(0x1F0) * 16)
                    test.vectors = (0..<32).map { _ in kind.make(&random) }
                    let wide = machine.run(test, image: data)
                    let narrow = runNarrow(test, data)
                    if narrow != wide {
                        let lines = longDifferences(test, narrow, wide)
                        wrong.append("\(hex(test.code)): \(lines)")
                    }
                }
            }
        }
        #expect(wrong == [])
    }

    // MARK: Answers that are known

    @Test("the sum of CRC-32C is the one that is known", .enabled(if: HostProcessor.has(.sse42)))
    func checksum() throws {
        machine.write(LongPlace.dataPhysical, Array("123456789".utf8))
        // crc32 eax, byte [rcx + 8] and up to that crc32 rax, qword [rcx]; not eax
        machine.kernel(
            rax(0xFFFF_FFFF) + rcx(LongPlace.data) + [
                0xF2, 0x48, 0x0F, 0x38, 0xF1, 0x01, 0xF2, 0x0F, 0x38, 0xF0, 0x41, 8, 0xF7, 0xD0,
            ])
        #expect(core.rax == 0xE306_9283)
    }

    @Test(
        "POPCNT clears all flags but ZF, which is that of its operand",
        .enabled(if: HostProcessor.has(.popcnt)))
    func population() throws {
        for (value, count) in [(0, 0), (0x8000_0000_0000_0001, 2), (.max, 64)] as [(UInt64, UInt64)]
        {
            var test = program([0xF3, 0x48, 0x0F, 0xB8, 0xC1])
            test.registers[1] = value
            for flags in [0x202, 0xAD7] as [UInt64] {
                test.flags = flags
                let ending = machine.run(test, image: image)
                #expect(ending.registers[0] == count)
                #expect(ending.flags & 0x8D5 == (count == 0 ? 0x40 : 0))
            }
        }
    }

    @Test(
        "PCMPESTRI has lengths of 32 bits, or of 64 with REX.W, whose signs do not count",
        .enabled(if: HostProcessor.has(.sse42)))
    func lengths() throws {
        // Any of "ab" in "xxbxxxxx": the first.
        core.state.vectors[0] = 0x6261
        core.state.vectors[1] = 0
        core.state.vectors[2] = 0x7878_7878_7862_7878
        core.state.vectors[3] = 0
        func find(_ first: UInt64, _ second: UInt64, isWide: Bool) -> UInt64 {
            machine.kernel(
                rax(first) + rdx(second) + [0x66] + (isWide ? [0x48] : []) + [
                    0x0F, 0x3A, 0x61, 0xC1, 0,
                ])
            #expect(machine.vector == nil)
            return core.rcx
        }
        for isWide in [false, true] {
            #expect(find(2, 8, isWide: isWide) == 2)
            #expect(find(1, 8, isWide: isWide) == 16)
            #expect(find(2, 2, isWide: isWide) == 16)
            #expect(find(~1, ~7, isWide: isWide) == 2)
            #expect(find(~0, 8, isWide: isWide) == 16)
        }
        #expect(find(0x1_0000_0001, 8, isWide: false) == 16)
        #expect(find(0x1_0000_0001, 8, isWide: true) == 2)
        #expect(find(2, 0xFFFF_FFFE, isWide: false) == 16)
        #expect(find(2, 0xFFFF_FFFE, isWide: true) == 2)
    }
}
