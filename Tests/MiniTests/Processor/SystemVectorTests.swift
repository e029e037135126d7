// MMX, SSE and SSE2 of the 32-bit processor: beside the machine's own, and what only ring 0 can show. The bytes of the
// instructions are the same in 64-bit code, so that this very process can run them.

import Glibc
import Testing

@testable import Mini

@Suite struct SystemVectorTests {
    private typealias M = SystemMachine
    /// CR4.OSFXSR, OSXMMEXCPT, and both; with the #NM of CR0.TS off.
    private func usable(_ bits: UInt32 = 0x600) -> [UInt8] { setControl(4, bits) + [0x0F, 0x06] }

    /// A page of code, 256 bytes for operands at a multiple of 256.
    private final class Native {
        let code: UnsafeMutableRawPointer
        var data: UnsafeMutableRawPointer { code + 2048 }
        init() throws {
            let page = mmap(
                nil, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            code = try #require(page == MAP_FAILED ? nil : page)
        }
        deinit { munmap(code, 4096) }

        func run(_ body: [UInt8]) {
            func word(_ address: UnsafeMutableRawPointer) -> [UInt8] {
                let value = UInt64(UInt(bitPattern: address))
                return (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            }
            var bytes: [UInt8] = []
            for (register, offset) in [(0xB8, 0), (0xB9, 64), (0xBF, 128)] as [(UInt8, Int)] {
                bytes.append(contentsOf: [0x48, register])
                bytes.append(contentsOf: word(data + offset))
            }
            bytes.append(contentsOf: body)
            bytes.append(0xC3)
            bytes.withUnsafeBytes { code.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
            unsafeBitCast(code, to: (@convention(c) () -> Void).self)()
        }
    }

    /// One instruction between loads of its operands and stores of all that it can have changed.
    private func sequence(
        _ opcode: UInt8, _ prefix: UInt8, _ modrm: UInt8, _ value: UInt8?, _ edx: UInt32
    ) -> [UInt8] {
        let prefixes: [[UInt8]] = [[], [0x66], [0xF3], [0xF2]]
        var code = Code()
        // test al, 1; ldmxcsr [c + 32]; movups xmm0, [a]; xmm1, [a + 16]; movq mm0, [a]; mm1, [a + 24]
        code.add([0xA8, 0x01, 0x0F, 0xAE, 0x51, 0x20, 0x0F, 0x10, 0x00, 0x0F, 0x10, 0x48, 0x10])
        code.add([0x0F, 0x6F, 0x00, 0x0F, 0x6F, 0x48, 0x18, 0xBA], edx)
        code.add(prefixes[Int(prefix)])
        code.add([0x0F, opcode])
        if opcode != 0x77 { code.add([modrm]) }
        if let value { code.add([value]) }
        // setb, setz, setp; mov [a + 116], edx; stmxcsr [a + 120]
        code.add([0x0F, 0x92, 0x40, 0x70, 0x0F, 0x94, 0x40, 0x71, 0x0F, 0x9A, 0x40, 0x72])
        code.add([0x89, 0x50, 0x74, 0x0F, 0xAE, 0x58, 0x78])
        // The vectors, and emms.
        code.add([0x0F, 0x11, 0x80], 0x90)
        code.add([0x0F, 0x11, 0x88], 0xA0)
        code.add([0x0F, 0x7F, 0x80], 0xB0)
        code.add([0x0F, 0x7F, 0x88], 0xB8)
        code.add([0x0F, 0x77])
        return code.bytes
    }

    /// Instructions one behind the other.
    private struct Code {
        var bytes: [UInt8] = []
        mutating func add(_ more: [UInt8]) { bytes.append(contentsOf: more) }
        mutating func add(_ more: [UInt8], _ word: UInt32) {
            bytes.append(contentsOf: more)
            bytes.append(contentsOf: immediate(word))
        }
    }
    private func code(_ parts: ([UInt8], UInt32)...) -> [UInt8] {
        var code = Code()
        for (bytes, word) in parts { code.add(bytes, word) }
        return code.bytes
    }

    @Test("MMX registers are the x87's by their own numbers, wherever the top of its stack is")
    func multimediaBelowTop() throws {
        let machine = try M()
        machine.run(usable())
        machine.store64(M.data, 0x0102_0304_0506_0708)
        // fninit; movq mm5, [eax]; emms; fld1; fldpi; movq [eax], mm6; [eax + 8], mm7; [eax + 16], mm5
        let code: [UInt8] = [
            0xDB, 0xE3, 0x0F, 0x6F, 0x28, 0x0F, 0x77, 0xD9, 0xE8, 0xD9, 0xEB, 0x0F, 0x7F, 0x30,
            0x0F, 0x7F, 0x78, 8, 0x0F, 0x7F, 0x68, 16,
        ]
        #expect(machine.run(load(0, M.data) + code) == .halt(false))
        #expect(machine.word(M.data) == 0x2168_C235 && machine.word(M.data + 4) == 0xC90F_DAA2)
        #expect(machine.word(M.data + 8) == 0 && machine.word(M.data + 12) == 0x8000_0000)
        #expect(machine.word(M.data + 16) == 0x0506_0708)
        #expect(machine.word(M.data + 20) == 0x0102_0304)
    }

    @Test("LDMXCSR, STMXCSR and the fences have no form with 66, F2 or F3")
    func withoutPrefix() throws {
        let machine = try M()
        machine.run(usable())
        machine.memory.store32(M.data, 0x1F80)
        // ldmxcsr [eax]; stmxcsr [eax]; lfence; mfence; sfence
        for modrm in [0x10, 0x18, 0xE8, 0xF0, 0xF8] as [UInt8] {
            #expect(machine.run(load(0, M.data) + [0x0F, 0xAE, modrm]) == .halt(false))
            for prefix in [0x66, 0xF2, 0xF3] as [UInt8] {
                #expect(machine.run(load(0, M.data) + [prefix, 0x0F, 0xAE, modrm]) == .event(6))
            }
        }
    }

    @Test("SSE with a register of MMX is an invalid opcode without CR4.OSFXSR, also with CR0.TS")
    func mixedBarred() throws {
        let machine = try M()
        // cvtpi2ps xmm0, mm1; movdq2q mm0, xmm1
        for code in [[0x0F, 0x2A, 0xC1], [0xF2, 0x0F, 0xD6, 0xC1]] as [[UInt8]] {
            let barred = setControl(0, 0x39) + code
            #expect(machine.run(setControl(4, 0) + barred) == .event(6))
            #expect(machine.run(setControl(4, 0x600) + barred) == .event(7))
        }
    }

    @Test("every instruction that there is does what it does on the machine's own processor")
    func differential() throws {
        let machine = try M()
        let native = try Native()
        var random = SystemRandom(state: 0x5353_4532)
        machine.run(usable())
        var count = 0
        for opcode in 0x10...0xFE as ClosedRange<UInt8> {
            for prefix in 0..<4 as Range<UInt8> {
                for form in 0..<10 as Range<UInt8> {
                    // [ecx], and registers 1 of eight groups.
                    let isRegister = form >= 2
                    let modrm: UInt8 = isRegister ? 0xC1 | (form - 2) << 3 : 0x01 | form << 3
                    let group = modrm >> 3 & 7
                    guard
                        let row = Self.row(opcode, prefix, isRegister, group),
                        row.isGroup || group < 2
                    else { continue }
                    // General registers: edx.
                    var place = modrm
                    if row.isGeneral { place = place & 0xC7 | 2 << 3 }
                    if row.isOtherGeneral { place = place & 0xF8 | 2 }
                    for _ in 0..<3 {
                        let value = row.hasValue ? UInt8(truncatingIfNeeded: random.next()) : nil
                        let body = sequence(
                            opcode, prefix, place, value, UInt32(truncatingIfNeeded: random.next()))
                        var data = (0..<256).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                        if random.next() & 1 == 0 { Self.makeNumbers(&data, &random) }
                        data.replaceSubrange(96..<100, with: immediate(0x1F80))
                        data.withUnsafeBytes {
                            native.data.copyMemory(from: $0.baseAddress!, byteCount: 256)
                        }
                        native.run(body)
                        machine.put(data, at: M.data)
                        let registers = code(
                            ([0xB8], M.data), ([0xB9], M.data + 64), ([0xBF], M.data + 128))
                        let seen = machine.run(registers + body)
                        let wanted = (0..<256).map {
                            native.data.load(fromByteOffset: $0, as: UInt8.self)
                        }
                        let name = "0F \(opcode) prefix \(prefix) modrm \(place)"
                        #expect(seen == .halt(false), "\(name)")
                        #expect(machine.bytes(M.data, 256) == wanted, "\(name)")
                        count += 1
                    }
                }
            }
        }
        #expect(count > 1000)
    }

    private static func row(
        _ opcode: UInt8, _ prefix: UInt8, _ isRegister: Bool, _ group: UInt8
    ) -> VectorRow? {
        switch opcode {
        case 0x10...0x17, 0x28...0x2F, 0x50...0x7F, 0xC2, 0xC4...0xC6, 0xD0...0xFE:
            VectorRow(opcode, prefix: prefix, isRegister: isRegister, group: group)
        default: nil
        }
    }

    /// Some doubles and floats of moderate size.
    private static func makeNumbers(_ data: inout [UInt8], _ random: inout SystemRandom) {
        for at in stride(from: 0, to: 80, by: 8) {
            let number = Double(Int32(truncatingIfNeeded: random.next())) / 1024
            let bits =
                random.next() & 1 == 0
                ? number.bitPattern
                : UInt64(Float(number).bitPattern) << 32 | UInt64(Float(-number * 3).bitPattern)
            for byte in 0..<8 { data[at + byte] = UInt8(truncatingIfNeeded: bits >> (8 * byte)) }
        }
    }

    @Test("it is said by CPUID, and nothing of it runs before the kernel has asked for it")
    func offered() throws {
        let machine = try M()
        machine.run(load(0, 1) + [0x0F, 0xA2])
        #expect((machine.processor[.edx] as UInt32) >> 23 & 0xF == 0xF)
        let add: [UInt8] = [0x0F, 0x58, 0xC1]
        #expect(machine.run(add) == .event(6))
        #expect(machine.run(usable() + add) == .halt(false))
        #expect(machine.run(setControl(0, 0x19) + add) == .event(7))
        #expect(machine.run(setControl(0, 0x19) + [0x0F, 0x77]) == .event(7))
        #expect(machine.run(setControl(0, 0x15) + add) == .event(6))
        #expect(machine.run(setControl(0, 0x15) + [0x0F, 0x77]) == .event(6))
        // SSE3 and later are not there.
        #expect(machine.run([0x0F, 0x06, 0xF2, 0x0F, 0x7C, 0xC1]) == .event(6))
        #expect(machine.run([0x66, 0x0F, 0x38, 0x00, 0xC1]) == .event(6))
    }

    @Test("a kernel of lguest has none of it")
    func lguest() throws {
        let machine = try SoftwareMachine(
            image: [UInt8](repeating: 0, count: CaseMemory.imageSize))
        for instruction in [[0x0F, 0x58, 0xC1], [0x0F, 0x77], [0x0F, 0xC3, 0x01]] as [[UInt8]] {
            let test = DifferentialCase(
                registers: [UInt32](repeating: CaseMemory.data, count: 8), eip: CaseMemory.code,
                eflags: 0x202, fs: 0, gs: 0,
                steps: [CaseStep(name: "vector", bytes: instruction)])
            #expect(machine.run(test).trap == 6)
        }
    }

    @Test("an operand of 16 bytes is aligned, unless the instruction says otherwise")
    func alignment() throws {
        let machine = try M()
        let place = immediate(M.data + 8)
        machine.run(usable())
        // movaps, movdqa, addps; movups, movdqu.
        #expect(machine.run([0x0F, 0x28, 0x05] + place) == .event(13))
        #expect(machine.run([0x66, 0x0F, 0x7F, 0x05] + place) == .event(13))
        #expect(machine.run([0x0F, 0x58, 0x05] + place) == .event(13))
        #expect(machine.run([0x0F, 0x10, 0x05] + place) == .halt(false))
        #expect(machine.run([0xF3, 0x0F, 0x7F, 0x05] + place) == .halt(false))
        // At the end of a page whose next one is not there, nothing is stored.
        machine.makeTables()
        machine.setEntry(0x6000, 0)
        machine.enablePaging(0x600)
        machine.memory.store32(0x5FF8, 0x1234_5678)
        #expect(machine.run([0x0F, 0x11, 0x05] + immediate(0x5FF8)) == .event(14))
        #expect(machine.processor.core.state.faultAddress == 0x6000)
        #expect(machine.word(0x5FF8) == 0x1234_5678)
    }

    @Test("an exception that MXCSR unmasks is vector 19, or #UD, and its result is not stored")
    func unmasked() throws {
        let machine = try M()
        machine.memory.store32(M.data, 0x1D80)
        machine.memory.store32(M.data + 16, 0x3F80_0000)
        // ldmxcsr; movss xmm0, [1.0]; xorps xmm1, xmm1; divss xmm0, xmm1
        let divide: [UInt8] =
            code(([0x0F, 0xAE, 0x15], M.data), ([0xF3, 0x0F, 0x10, 0x05], M.data + 16))
            + [0x0F, 0x57, 0xC9, 0xF3, 0x0F, 0x5E, 0xC1]
        #expect(machine.run(usable(0x200) + divide) == .event(6))
        #expect(machine.run(usable() + divide) == .event(19))
        // stmxcsr, movss: the flag is there, the quotient is not.
        machine.run(
            code(([0x0F, 0xAE, 0x1D], M.data + 4), ([0xF3, 0x0F, 0x11, 0x05], M.data + 8)))
        #expect(machine.word(M.data + 4) == 0x1D84)
        #expect(machine.word(M.data + 8) == 0x3F80_0000)
        machine.memory.store32(M.data, 0x1_0000)
        #expect(machine.run([0x0F, 0xAE, 0x15] + immediate(M.data)) == .event(13))
    }

    @Test("unmasked overflow and underflow are told of the result that was rounded without bounds")
    func unbounded() throws {
        let machine = try M()
        let tiny = 0x10 << 48 as UInt64
        let half: UInt64 = 0x3FE << 52
        let large: UInt64 = 0x7FE << 52
        let two: UInt64 = 0x400 << 52
        let single: UInt64 = 0x3F80_0000
        let twice: UInt64 = 0x7F00_0000
        // Instruction, its operands, and what it raises with all masked, with underflow and with overflow unmasked.
        let cases: [([UInt8], UInt64, UInt64, UInt32, UInt32, UInt32)] = [
            // mulsd: exact, exact but for the bounds, inexact, as a sum.
            ([0xF2, 0x0F, 0x59], tiny, half, 0, 0x10, 0),
            ([0xF2, 0x0F, 0x59], tiny | 1, half, 0x30, 0x10, 0x30),
            ([0xF2, 0x0F, 0x59], tiny | 1, half | 1, 0x30, 0x30, 0x30),
            ([0xF2, 0x0F, 0x59], large, two, 0x28, 0x28, 8),
            ([0xF2, 0x0F, 0x59], large | 1, two | 1, 0x28, 0x28, 0x28),
            ([0xF2, 0x0F, 0x5C], tiny | 1 << 51, tiny, 0, 0x10, 0),
            ([0xF2, 0x0F, 0x58], large, large, 0x28, 0x28, 8),
            ([0xF2, 0x0F, 0x5E], large, half, 0x28, 0x28, 8),
            ([0xF2, 0x0F, 0x5E], tiny, two | 1, 0x30, 0x30, 0x30),
            // Neither of the two; and what is wrong with an operand.
            ([0xF2, 0x0F, 0x5E], two, two | 1, 0x20, 0x20, 0x20),
            ([0xF2, 0x0F, 0x5E], two, 0, 4, 4, 4),
            ([0xF2, 0x0F, 0x59], 1, two, 2, 0x12, 2),
            // cvtsd2ss, cvtpd2ps
            ([0xF2, 0x0F, 0x5A], 0, (1023 - 130) << 52, 0, 0x10, 0),
            ([0xF2, 0x0F, 0x5A], 0, (1023 + 128) << 52, 0x28, 0x28, 8),
            ([0xF2, 0x0F, 0x5A], 0, (1023 - 126) << 52 - 1, 0x20, 0x20, 0x20),
            ([0x66, 0x0F, 0x5A], 0, (1023 - 130) << 52 | 1, 0x30, 0x30, 0x30),
            // addps: one element too large, another inexact, or not.
            ([0x0F, 0x58], twice | single << 32, twice | 0x3080_0000 << 32, 0x28, 0x28, 0x28),
            ([0x0F, 0x58], twice | single << 32, twice | single << 32, 0x28, 0x28, 8),
            ([0xF3, 0x0F, 0x59], 0x80_0000, 0x3F00_0000, 0, 0x10, 0),
        ]
        machine.run(usable() + [0xDB, 0xE3, 0xD9, 0xEB])
        for (instruction, a, b, masked, underflow, overflow) in cases {
            for (control, raised) in [
                (0x1F80, masked), (0x1780, underflow), (0x9780, underflow), (0x1B80, overflow),
            ] as [(UInt32, UInt32)] {
                machine.memory.store32(M.data, control)
                for (place, value) in [(16, a), (32, b)] as [(UInt32, UInt64)] {
                    machine.memory.store32(M.data + place, UInt32(truncatingIfNeeded: value))
                    machine.memory.store32(M.data + place + 4, UInt32(value >> 32))
                }
                let event = machine.run(
                    code(
                        ([0x0F, 0xAE, 0x15], M.data), ([0xF2, 0x0F, 0x10, 0x05], M.data + 16),
                        ([0xF2, 0x0F, 0x10, 0x0D], M.data + 32)) + instruction + [0xC1])
                machine.run([0x0F, 0xAE, 0x1D] + immediate(M.data + 4))
                #expect(
                    machine.word(M.data + 4) == control | raised,
                    "\(instruction) \(a) \(b) \(control)")
                #expect(event == (raised & ~(control >> 7) != 0 ? .event(19) : .halt(false)))
            }
        }
        // Denormals are zeros: no underflow.
        machine.memory.store32(M.data, 0x17C0)
        machine.memory.store32(M.data + 16, 1)
        machine.memory.store32(M.data + 20, 0)
        #expect(
            machine.run(
                code(
                    ([0x0F, 0xAE, 0x15], M.data), ([0xF2, 0x0F, 0x10, 0x05], M.data + 16),
                    ([0xF2, 0x0F, 0x59, 0x05], M.data + 32))) == .halt(false))
        // The x87 is as it was: pi.
        machine.run([0xDD, 0x1D] + immediate(M.data))
        #expect(machine.word(M.data + 4) == 0x4009_21FB)
    }

    @Test("FXSAVE and FXRSTOR carry the registers and MXCSR")
    func fastSave() throws {
        let machine = try M()
        let place: UInt32 = 0x5000
        for index in 0..<4 as Range<UInt32> {
            machine.memory.store32(M.data + index * 4, 0x1111_1111 * (index + 1))
        }
        machine.memory.store32(M.data + 16, 0x1F00)
        // movdqu xmm7; ldmxcsr; fxsave
        let save = code(
            ([0xF3, 0x0F, 0x6F, 0x3D], M.data), ([0x0F, 0xAE, 0x15], M.data + 16),
            ([0x0F, 0xAE, 0x05], place))
        machine.run(usable() + save)
        #expect(machine.word(place + 24) == 0x1F00)
        #expect(machine.word(place + 28) == 0xFFFF)
        #expect(machine.bytes(place + 272, 16) == machine.bytes(M.data, 16))
        machine.memory.store32(place + 24, 0x1F80)
        machine.memory.store32(place + 272, 0xAAAA_AAAA)
        machine.run(
            code(
                ([0x0F, 0xAE, 0x0D], place), ([0xF3, 0x0F, 0x7F, 0x3D], M.data),
                ([0x0F, 0xAE, 0x1D], M.data + 16)))
        #expect(machine.word(M.data) == 0xAAAA_AAAA)
        #expect(machine.word(M.data + 4) == 0x2222_2222)
        #expect(machine.word(M.data + 16) == 0x1F80)
        machine.memory.store32(place + 24, 0x1_1F80)
        #expect(machine.run([0x0F, 0xAE, 0x0D] + immediate(place)) == .event(13))
    }

    @Test(
        "MASKMOVDQU stores the bytes whose masks say so, all or none; MOVNTI and the fences are there"
    )
    func others() throws {
        let machine = try M()
        machine.run(usable())
        for index in 0..<16 as Range<UInt32> {
            machine.put([UInt8(index), index % 3 == 0 ? 0x80 : 0x7F], at: M.data + index * 2)
        }
        machine.put([UInt8](repeating: 0xEE, count: 16), at: M.data + 64)
        let masked: [UInt8] =
            code(([0xF3, 0x0F, 0x6F, 0x05], M.data))
            + [0x66, 0x0F, 0x6F, 0xC8, 0x0F, 0x57, 0xC0]
            + code(([0xBF], M.data + 64)) + [0x66, 0x0F, 0xF7, 0xC1]
        #expect(machine.run(masked) == .halt(false))
        let wanted: [UInt8] = machine.bytes(M.data, 16).map { $0 & 0x80 == 0 ? 0xEE : 0 }
        #expect(machine.bytes(M.data + 64, 16) == wanted)
        // movnti of each register; lfence, mfence, sfence
        var store: [UInt8] = []
        for register in 0..<8 as Range<UInt8> {
            let place = M.data + UInt32(register) * 4
            store += code(([0xB8 + register], 0x1234_5670 + UInt32(register)))
            store += code(([0x0F, 0xC3, 0x05 | register << 3], place))
        }
        store += [0x0F, 0xAE, 0xE8, 0x0F, 0xAE, 0xF0, 0x0F, 0xAE, 0xF8]
        #expect(machine.run(store) == .halt(false))
        for register in 0..<8 as Range<UInt32> {
            #expect(machine.word(M.data + register * 4) == 0x1234_5670 + register)
        }
    }

    @Test(
        "registers that kernels read without looking are there and hold nothing",
        arguments: [
            0x8B, 0x179, 0x17A, 0x17B, 0x400, 0x403, 0x1D9, 0xC001_0010, 0xC001_0015, 0xC001_001F,
            0xC001_0055,
            0xC001_1023,
        ] as [UInt32])
    func quietRegisters(_ number: UInt32) throws {
        let machine = try M()
        #expect(machine.run(writeModel(number, 0x40)) == .halt(false))
        #expect(machine.run(load(0, 9) + readModel(number)) == .halt(false))
        #expect(machine.processor[.eax] == 0 as UInt32)
        let long = try LongMachine()
        let access: [UInt8] = [0x31, 0xC0, 0x31, 0xD2, 0x0F, 0x30, 0x0F, 0x32]
        long.kernel(code(([0xB9], number)) + access)
        #expect(long.processor.core.get(0, as: UInt64.self) == 0)
        #expect(long.vector != 13)
    }
}

private struct SystemRandom {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_F491_4F6C_DD1D >> 16
    }
}
