// Exact tests of the 64-bit processor's traps: single steps, INT1, faults of stacks and of addresses that are not canonical,
// debug registers.

import Testing

@testable import Mini

@Suite struct LongEventTests {
    private func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    private func rax(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value) }
    private func rcx(_ value: UInt64) -> [UInt8] { [0x48, 0xB9] + bytes(value) }
    /// push 0x102; popfq: what follows is a step.
    private let step: [UInt8] = [0x68, 0x02, 0x01, 0, 0, 0x9D]

    private let image = [UInt8](repeating: 0, count: LongPlace.dataSize)
    private func program(_ code: [UInt8], stack: UInt64 = LongPlace.data + 0x800) -> LongCase {
        var test = LongCase(
            registers: [UInt64](repeating: LongPlace.data, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80, rip: LongPlace.code,
            flags: 0x202, code: code)
        test.registers[4] = stack
        return test
    }

    // MARK: Single steps

    @Test("a step over an access to a port is told behind it, and before an interrupt")
    func stepOverPort() throws {
        let machine = try LongMachine()
        // out 0x80, al; nop
        let exit = machine.kernel(step + [0xE6, 0x80, 0x90])
        guard case .portOutput = exit else {
            Issue.record("\(exit)")
            return
        }
        machine.processor.core.flags |= 0x200
        #expect(!machine.processor.canInject)
        _ = machine.processor.run(instructions: 10)
        #expect(machine.vector == 1)
        #expect(machine.frame(0) == LongPlace.code + UInt64(step.count) + 2)
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_4FF0)
    }

    @Test("a step over HLT does not halt")
    func stepOverHalt() throws {
        let machine = try LongMachine()
        machine.kernel(step + [0xF4, 0x90])
        #expect(machine.vector == 1)
        #expect(machine.frame(0) == LongPlace.code + UInt64(step.count) + 1)
    }

    @Test("each round of a repeated string instruction is a step")
    func stepOfString() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // rcx = 3; rdi = rsi = data
        let start =
            rcx(3) + [0x48, 0xBF] + bytes(LongPlace.data) + [0x48, 0xBE] + bytes(LongPlace.data)
        machine.kernel(start + step + [0xF3, 0xA4, 0x90])
        #expect(machine.vector == 1)
        #expect(core.rcx == 2)
        #expect(machine.frame(0) == LongPlace.code + UInt64(start.count + step.count))
    }

    @Test("a repeated comparison that faults leaves the flags of before")
    func flagsOfComparison() throws {
        let machine = try LongMachine()
        // repe cmpsb: two equal elements, and the third lies on a page that is not there.
        var test = program([0xF3, 0xA6])
        test.registers[1] = 4
        test.registers[7] = LongPlace.data + UInt64(LongPlace.dataSize) - 2
        test.flags = 0x203
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 14 && ending.registers[1] == 2)
        #expect(ending.flags & 0x8D5 == 1)
    }

    @Test("a step over a return or an indirect jump ends where it goes, though that is known")
    func stepOverJump() throws {
        // ret; jmp rbx; call rbx; jmp [rcx]; call [rcx]
        for code in [[0xC3], [0xFF, 0xE3], [0xFF, 0xD3], [0xFF, 0x21], [0xFF, 0x11]] as [[UInt8]] {
            let machine = try LongMachine()
            let core = machine.processor.core
            let target = LongPlace.code + 0x800
            machine.store(LongPlace.dataPhysical, target)
            // inc eax; hlt
            machine.write(LongPlace.codePhysical + 0x800, [0xFF, 0xC0, 0xF4])
            // push rbx; push rdx; popfq, and there.
            machine.write(LongPlace.codePhysical, [0x53, 0x52, 0x9D] + code)
            for flags in [2, 0x102] as [UInt64] {
                core.rax = 0
                core.rbx = target
                core.rcx = LongPlace.data
                core.rdx = flags
                machine.kernel()
                #expect(core.rax == (flags == 2 ? 1 : 0))
            }
            #expect(machine.vector == 1 && machine.frame(0) == target)
        }
    }

    @Test("an IRETQ that is a step is told like any other")
    func stepOverReturn() throws {
        let machine = try LongMachine()
        // push 0x10; push rax = rsp; push 2; push 8; push rax = target; iretq
        let target = LongPlace.code + 0x800
        machine.write(LongPlace.codePhysical + 0x800, [0x90, 0xF4])
        let frame: [UInt8] =
            [0x48, 0x89, 0xE0, 0x6A, 0x10, 0x50, 0x6A, 0x02, 0x6A, 0x08] + rax(target) + [0x50]
        machine.kernel(frame + step + [0x48, 0xCF])
        #expect(machine.vector == 1 && machine.frame(0) == target)
    }

    @Test("a SYSCALL that is a step of ring 3's is told behind SYSRET, and none of ring 0's there")
    func stepOverSystemCall() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        core.state.features |= LongFeature.systemCall
        core.state.star = 0x0010_0008 << 32
        core.state.longEntry = UInt64(LongPlace.handlers) + 0x808
        core.state.entryMask = 0x300
        machine.write(LongPlace.handlers + 0x808, [0x48, 0x0F, 0x07])
        // syscall; nop
        var test = program([0x0F, 0x05, 0x90])
        test.flags = 0x302
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 1 && ending.rip == LongPlace.code + 2)
        #expect(ending.flags & 0x300 == 0x300 && machine.frame(1) == 0x23)
        #expect(core.state.debug[6] == 0xFFFF_4FF0)
        // The kernel's own trap flag: mov rcx, target; mov r11, flags; sysret as the step, then nop; nop.
        let target = LongPlace.code + 0x800
        machine.write(LongPlace.codePhysical + 0x800, [0x90, 0xCC])
        for (flags, trap, place) in [(0x302, 1, target), (2, 3, target + 2)]
            as [(UInt64, UInt32, UInt64)]
        {
            machine.kernel(rcx(target) + [0x49, 0xBB] + bytes(flags) + step + [0x48, 0x0F, 0x07])
            #expect(machine.vector == trap && machine.frame(0) == place)
        }
    }

    @Test("INT1 asks for no privilege, and is told behind itself")
    func softwareStep() throws {
        let machine = try LongMachine()
        let ending = machine.run(program([0xF1]), image: image)
        #expect(ending.trap == 1 && ending.rip == LongPlace.code + 1)
        // INT 1 does ask.
        #expect(machine.run(program([0xCD, 1]), image: image).trap == 13)
    }

    @Test("the resume flag does not live on behind IRETQ")
    func resumeFlag() throws {
        let machine = try LongMachine()
        let target = LongPlace.code + 0x800
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        // push 0x10; push rsp; push 0x10002; push 8; push target; iretq
        machine.kernel(
            [0x48, 0x89, 0xE0, 0x6A, 0x10, 0x50, 0x68, 0x02, 0, 1, 0, 0x6A, 0x08] + rax(target)
                + [0x50, 0x48, 0xCF])
        #expect(machine.vector == 3 && machine.frame(0) == target + 1)
        #expect(machine.frame(2) & 0x1_0000 == 0)
    }

    // MARK: Windows

    @Test(
        "an interrupt comes behind the instruction after STI also where that goes on to known code",
        // ret; jmp rax; call rax; jmp [rcx]; call [rcx]
        arguments: [[0xC3], [0xFF, 0xE0], [0xFF, 0xD0], [0xFF, 0x21], [0xFF, 0x11]] as [[UInt8]])
    func shadowOfJump(_ bytes: [UInt8]) throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        let target = LongPlace.code + 5
        // call; inc ebx; cli; hlt, and what is called.
        machine.write(
            LongPlace.codePhysical, [0xE8, 0x0B, 0, 0, 0, 0xFF, 0xC3, 0xFA, 0xF4])
        machine.write(LongPlace.codePhysical + 0x10, [0xFB] + bytes)
        machine.store(LongPlace.dataPhysical, target)
        var before: UInt64 = 0
        for (awaits, exit) in [(false, .halt(interruptsEnabled: false)), (true, .interruptWindow)]
            as [(Bool, ProcessorExit)]
        {
            machine.processor.awaitsInterruptWindow = awaits
            core.rax = target
            core.rcx = LongPlace.data
            core.rbx = 0
            before = machine.processor.instructionCount
            #expect(machine.kernel() == exit)
        }
        #expect(core.state.rip == target && core.rbx == 0)
        #expect(machine.processor.instructionCount - before == 3)
    }

    // MARK: Addresses that are not canonical

    @Test("SYSRET to an address that is not canonical faults in ring 3, as on an AMD")
    func badReturn() throws {
        let machine = try LongMachine()
        // EFER.SCE, STAR
        func set(_ register: UInt64, _ low: UInt64, _ high: UInt64) -> [UInt8] {
            rcx(register) + rax(low) + [0x48, 0xBA] + bytes(high) + [0x0F, 0x30]
        }
        machine.kernel(
            set(0xC000_0080, 0x501, 0) + set(0xC000_0081, 0, 0x0010_0008)
                + [0x49, 0xBB] + bytes(2) + rcx(0x8000_0000_0000) + [0x48, 0x0F, 0x07])
        #expect(machine.vector == 13)
        #expect(machine.frame(0) == 0 && machine.frame(1) == 0x8000_0000_0000)
        #expect(machine.frame(2) & 3 == 3)
    }

    @Test("a jump that is not canonical finds no block of an earlier generation")
    func staleJump() throws {
        let machine = try LongMachine()
        let place = LongPlace.code + 0x800
        // The jump cache gets what is there: mov ebx, 7; hlt.
        machine.write(LongPlace.codePhysical + 0x800, [0xBB, 7, 0, 0, 0, 0xF4])
        machine.kernel(rax(place) + [0xFF, 0xE0])
        let core = machine.processor.core
        #expect(core.rbx == 7)
        core.rbx = 0
        core.nextGeneration()
        // In the upper half of the key generations are 4 apart, as modes take two bits.
        machine.kernel(rax(place | 0xFFFC << 48) + [0xFF, 0xE0])
        #expect(core.rbx == 0 && machine.vector == 13)
    }

    @Test(
        "what goes by way of the stack to an address that is not canonical is a stack fault",
        arguments: [
            [0x9C], [0x9D], [0x50], [0x58], [0x66, 0x50], [0xFF, 0x37], [0x8F, 0x07], [0xC9],
            [0x48, 0xCF], [0x48, 0xCB], [0x0F, 0xA0], [0xFF, 0x17], [0xC3], [0xC2, 8, 0],
        ] as [[UInt8]])
    func stackFault(_ instruction: [UInt8]) throws {
        let machine = try LongMachine()
        var test = program(instruction, stack: 1 << 63)
        // LEAVE takes rbp for rsp.
        test.registers[5] = 1 << 63
        #expect(machine.run(test, image: image).trap == 12)
    }

    @Test("an operand that is not canonical is a stack fault by rsp and rbp alone")
    func operandFault() throws {
        let machine = try LongMachine()
        var test = program([0xFF, 0x37])
        test.registers[7] = 1 << 63
        #expect(machine.run(test, image: image).trap == 13)
        test = program([0xFF, 0x17])
        test.registers[7] = 1 << 63
        #expect(machine.run(test, image: image).trap == 13)
        test = program([0x8B, 0x45, 0])
        test.registers[5] = 1 << 63
        #expect(machine.run(test, image: image).trap == 12)
    }

    @Test("an operand that ends behind the last canonical address faults as a whole")
    func lastAddress() throws {
        let machine = try LongMachine()
        let last: UInt64 = 0x7FFF_FFFF_FFF8
        // mov rax, [rdi]; [rdi], rax; [rbp]
        for (code, vector) in [([0x8B, 0x07], 13), ([0x89, 0x07], 13), ([0x8B, 0x45, 0], 12)]
            as [([UInt8], UInt32)]
        {
            var test = program([0x48] + code)
            (test.registers[7], test.registers[5]) = (last + 1, last + 1)
            #expect(machine.run(test, image: image).trap == vector)
            // Its page is not there.
            (test.registers[7], test.registers[5]) = (last, last)
            let ending = machine.run(test, image: image)
            #expect(ending.trap == 14 && ending.address == last)
        }
        // push [rdi]; pop [rdi]; call [rdi]: which of both it is, their other operand on the stack or this.
        for code in [[0xFF, 0x37], [0x8F, 0x07], [0xFF, 0x17]] as [[UInt8]] {
            var test = program(code)
            test.registers[7] = last + 1
            #expect(machine.run(test, image: image).trap == 13)
            test = program(code, stack: code == [0x8F, 0x07] ? last + 1 : last + 9)
            #expect(machine.run(test, image: image).trap == 12)
        }
    }

    @Test("the address of a frame that finds no page is that of the first word pushed there")
    func frameFault() throws {
        let machine = try LongMachine()
        // The stack of all gates: two words lie on the data's first page, those below nowhere.
        machine.store(LongPlace.task + 0x24, LongPlace.data + 0x10)
        #expect(machine.kernel([0x0F, 0x0B]) == .shutdown)
        #expect(machine.processor.core.state.faultAddress == LongPlace.data - 8)
    }

    @Test(
        "by fs and gs no operand is on the stack, whatever its base; other prefixes are ignored",
        arguments: [
            // mov eax, [rbp]; [rsp]; [rbp + rax]; push [rbp]; inc dword [rsp]
            [0x8B, 0x45, 0], [0x8B, 0x04, 0x24], [0x8B, 0x44, 0x05, 0], [0xFF, 0x75, 0],
            [0xFF, 0x04, 0x24],
        ] as [[UInt8]])
    func operandOfSegment(_ instruction: [UInt8]) throws {
        let machine = try LongMachine()
        for (prefix, trap) in [(0x64, 13), (0x65, 13), (0x3E, 12), (0x26, 12)]
            as [(UInt8, UInt32)]
        {
            var test = program([prefix] + instruction, stack: 1 << 63)
            test.registers[5] = 1 << 63
            // What PUSH has read would go to the stack.
            if instruction[0] == 0xFF && instruction[1] == 0x75 {
                test.registers[4] = LongPlace.data + 0x800
            }
            let ending = machine.run(test, image: image)
            #expect(ending.trap == trap && ending.error == 0)
        }
    }

    @Test("a store of the x87 that its own exception keeps from memory leaves nothing of its fault")
    func withheldStore() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        let absent = LongPlace.data + 0x2000
        // Invalid operations are unmasked.
        machine.store(LongPlace.dataPhysical, 0x037E)
        // fninit; fldcw [rcx]; mov rdx, place; fstp qword [rdx], of an empty register
        func store(_ place: UInt64) -> [UInt8] {
            rcx(LongPlace.data) + [0xDB, 0xE3, 0xD9, 0x29, 0x48, 0xBA] + bytes(place) + [
                0xDD, 0x1A,
            ]
        }
        machine.kernel(store(absent))
        #expect(machine.vector == nil && core.state.faultAddress == 0)
        // mov rbp, ...; mov eax, [rbp], which is a page fault and none of the stack.
        machine.kernel(store(1 << 63) + [0x48, 0xBD] + bytes(absent) + [0x8B, 0x45, 0])
        #expect(machine.vector == 14 && core.state.faultAddress == absent)
    }

    // MARK: Debug registers

    @Test("moves of control and debug registers name a register whatever mod says, and no address")
    func moveWithoutAddress() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // mov rax, cr0 and mov al, 55; mov rax, dr7, mov bl, 1 and mov bh, 2
        machine.kernel([0x0F, 0x20, 0x40, 0xB0, 0x55])
        #expect(machine.vector == nil && core.rax & 0xFF == 0x55)
        #expect(core.rax >> 8 == core.state.control0 >> 8)
        core.rbx = 0x6000
        machine.kernel([0x0F, 0x21, 0xB8, 0xB3, 0x01, 0xB7, 0x02])
        #expect(machine.vector == nil && core.rax == 0x400 && core.rbx == 0x0201)
    }

    @Test("CR3 has as many bits as an address of memory")
    func pageTableAddress() throws {
        let machine = try LongMachine()
        // mov cr3, rax; mov rbx, cr3
        for bit in [36, 40, 51, 63] as [UInt64] {
            machine.kernel(rax(1 << bit | UInt64(LongPlace.tables)) + [0x0F, 0x22, 0xD8])
            #expect(machine.vector == 13 && machine.frame(0) == 0)
            #expect(machine.processor.core.state.control3 == UInt64(LongPlace.tables))
        }
        machine.kernel(rax(UInt64(LongPlace.tables)) + [0x0F, 0x22, 0xD8, 0x0F, 0x20, 0xDB])
        #expect(machine.vector == nil)
        #expect(machine.processor.core.rbx == UInt64(LongPlace.tables))
    }

    @Test("DR6 and DR7 have bits that are always set, and none above 31; DR4 and DR5 are theirs")
    func debugRegisters() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // mov dr6, rax; mov rbx, dr6; mov dr7, rax; mov rdx, dr7; mov rsi, dr4
        machine.kernel(
            rax(0) + [0x0F, 0x23, 0xF0, 0x0F, 0x21, 0xF3, 0x0F, 0x23, 0xF8, 0x0F, 0x21, 0xFA]
                + [0x0F, 0x21, 0xE6])
        #expect(core.rbx == 0xFFFF_0FF0 && core.rdx == 0x400 && core.rsi == 0xFFFF_0FF0)
        machine.kernel(rax(1 << 32) + [0x0F, 0x23, 0xF0])
        #expect(machine.vector == 13)
        machine.kernel(rax(1 << 32) + [0x0F, 0x23, 0xC0, 0x0F, 0x21, 0xC3])
        #expect(core.rbx == 1 << 32)
        core.state.control4 |= 8
        machine.kernel([0x0F, 0x21, 0xE6])
        #expect(machine.vector == 6)
    }
}
