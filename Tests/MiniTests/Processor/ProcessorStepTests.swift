import Testing

@testable import Mini

@Suite struct ProcessorStepTests {
    typealias M = ProcessorMachine

    @Test("with TF up each instruction ends in trap 1 at the next")
    func singleStep() throws {
        let machine = try M()
        machine.put([0x40, 0x40, 0x40])
        machine.processor.eflags = 0x302
        #expect(machine.proceed() == .trap(1, 0))
        #expect(machine.processor.eip == M.code + 1 && machine.processor[.eax] == 1)
        #expect(machine.proceed() == .trap(1, 0))
        #expect(machine.processor.eip == M.code + 2 && machine.processor[.eax] == 2)
        machine.processor.eflags = 0x202
        machine.put([0xCC], at: M.code + 3)
        #expect(machine.proceed() == .breakpoint)
    }

    @Test("popf that raises TF lets one more instruction pass")
    func popf() throws {
        let machine = try M()
        // push $0x302 ; popf ; inc %eax ; inc %eax
        #expect(machine.run([0x68, 0x02, 0x03, 0, 0, 0x9D, 0x40, 0x40]) == .trap(1, 0))
        #expect(machine.processor.eip == M.code + 7)
        #expect(machine.processor[.eax] == 1)
    }

    @Test("a taken branch is stepped at its target")
    func branch() throws {
        let machine = try M()
        machine.put([0xEB, 0x10])
        machine.processor.eflags = 0x302
        #expect(machine.proceed() == .trap(1, 0))
        #expect(machine.processor.eip == M.code + 0x12)
    }

    @Test("each round of a repeated instruction is a step")
    func repeated() throws {
        let machine = try M()
        machine.put([0xF3, 0xAA])
        machine.processor[.ecx] = 3
        machine.processor[.edi] = M.data
        machine.processor.eflags = 0x302
        #expect(machine.proceed() == .trap(1, 0))
        #expect(machine.processor.eip == M.code && machine.processor[.ecx] == 2)
    }

    @Test("a slice ends at an instruction, near its budget, with everything in place")
    func slices() throws {
        let machine = try M()
        // 1: inc %eax ; jmp 1b
        machine.put([0x40, 0xEB, 0xFD])
        for _ in 0..<10 {
            let before = machine.processor.instructionCount
            #expect(machine.proceed(limit: 1000) == .slice)
            let count = machine.processor.instructionCount - before
            #expect(count >= 900 && count <= 1100, "\(count)")
            #expect(
                machine.processor.eip == M.code || machine.processor.eip == M.code + 1)
        }
        #expect(machine.processor[.eax] * 2 + 2 >= UInt32(machine.processor.instructionCount))
    }

    @Test("a long repeated instruction is cut by the slice and goes on")
    func longRepeat() throws {
        let machine = try M()
        machine.put([0xF3, 0xAB, 0xCC])
        machine.processor[.ecx] = 0x80000
        machine.processor[.edi] = 0x100000
        machine.processor[.eax] = 0x5A5A_5A5A
        var slices = 0
        while machine.proceed(limit: 1000) == .slice {
            slices += 1
            #expect(machine.processor[.edi] == 0x100000 + (0x80000 - machine.processor[.ecx]) * 4)
            if slices > 100_000 { break }
        }
        #expect(slices > 1, "half a million stores are more than a slice")
        #expect(machine.processor[.ecx] == 0)
        #expect(machine.word(0x2FFFFC) == 0x5A5A_5A5A && machine.word(0x300000) == 0)
    }

    @Test("a repeated instruction that faults can go on where it was")
    func restart() throws {
        let machine = try M()
        machine.setFlags(M.data + 0x1000, 0)
        machine.put([UInt8](repeating: 0x77, count: 64), at: 0x30000)
        machine.processor[.ecx] = 32
        machine.processor[.esi] = 0x30000
        machine.processor[.edi] = M.data + 0xFF0
        #expect(machine.run([0xF3, 0xA4, 0xCC]) == .pageFault(2, at: M.data + 0x1000))
        #expect(machine.processor.eip == M.code)
        #expect(machine.processor[.ecx] == 16)
        #expect(machine.processor[.esi] == 0x30010)
        #expect(machine.processor[.edi] == M.data + 0x1000)
        machine.setFlags(M.data + 0x1000, 7)
        #expect(machine.proceed() == .breakpoint)
        #expect(
            machine.bytes(M.data + 0xFEF, 34) == [0] + [UInt8](repeating: 0x77, count: 32) + [0])
    }

    @Test("rdtsc and cpuid give what the host says")
    func identity() throws {
        var profile = ProcessorProfile.lguest
        profile.identification = { ($0 &+ 1, 2, 3, 4) }
        let machine = try M(profile: profile)
        machine.processor.timeStamp = { 0x1122_3344_5566_7788 }
        #expect(machine.run([0x0F, 0x31, 0xCC]) == .breakpoint)
        #expect(machine.processor[.eax] == 0x5566_7788 && machine.processor[.edx] == 0x1122_3344)
        #expect(machine.run(Assemble.mov(.eax, 9) + [0x0F, 0xA2, 0xCC]) == .breakpoint)
        #expect(machine.processor[.eax] == 10 && machine.processor[.ebx] == 2)
        #expect(machine.processor[.ecx] == 3 && machine.processor[.edx] == 4)
    }
}
