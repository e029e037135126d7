// Exact tests of the 64-bit processor: what programs in ring 3 cannot show, or only by chance.

import Testing

@testable import Mini

@Suite struct LongProcessorTests: LongInstructions {
    // MARK: Entry and identity

    @Test("the 64-bit processor refuses a 32-bit start")
    func protectedStart() throws {
        let memory = try GuestMemory(count: 1 << 20)
        #expect(throws: Errno.noDevice) {
            _ = try LongProcessor(
                memory: memory,
                start: ProcessorStart(
                    mode: .protected32, entry: 0, stack: 0, parameters: 0, globalTable: 0,
                    globalTableLimit: 0x27))
        }
    }

    @Test("a kernel starts in ring 0 in 64-bit mode, with its parameters in rsi and interrupts off")
    func start() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let processor = try LongProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .long64(pageTable: 0x9000), entry: 0x1_0000, stack: 0x8FF0,
                parameters: 0x7000,
                globalTable: 0x500, globalTableLimit: 0x27))
        #expect(processor.register(.eip) == 0x1_0000)
        #expect(processor.register(.esi) == 0x7000)
        #expect(processor.register(.eflags) == 2)
        #expect(processor.privilege == 0)
        #expect(!processor.canInject)
    }

    @Test("it says that it is an AMD of family 15 with MMX, SSE2, NX, SYSCALL")
    func identity() throws {
        let machine = try LongMachine()
        machine.kernel(rax(1) + [0x0F, 0xA2])
        let core = machine.processor.core
        #expect(core.get(1, as: UInt8.self) == 0x0F)
        // FPU, MSR, PAE, MCE, CX8, PGE, MCA, CMOV, MMX, FXSR, SSE, SSE2; no APIC.
        #expect(core.rdx & 0x0780_E1E1 == 0x0780_E1E1)
        #expect(core.rdx & (1 << 9) == 0)
        // Of the others: LongLevelTests.swift.
        #expect(core.rcx & (1 << 31) != 0)
        machine.kernel(rax(0x8000_0001) + [0x0F, 0xA2])
        #expect(core.rdx & (1 << 11 | 1 << 20 | 1 << 29) == 1 << 11 | 1 << 20 | 1 << 29)
        #expect(core.rdx & 0x4080 == 0x4080)
    }

    @Test(
        "what is not offered is an invalid opcode",
        arguments: [
            // movbe, vzeroupper, aesenc, pclmulqdq, xgetbv, rdrand
            [0x0F, 0x38, 0xF0, 0x00], [0xC5, 0xF8, 0x77], [0x66, 0x0F, 0x38, 0xDC, 0xC1],
            [0x66, 0x0F, 0x3A, 0x44, 0xC1, 0], [0x0F, 0x01, 0xD0], [0x0F, 0xC7, 0xF0],
            [0x0F, 0x34], [0x06], [0xF0, 0x90], [0x0F, 0x0B], [0xF3, 0x0F, 0xAE, 0xC0],
        ] as [[UInt8]])
    func undefined(code: [UInt8]) throws {
        let machine = try LongMachine()
        machine.kernel(code)
        #expect(machine.vector == 6)
        #expect(machine.frame(0) == LongPlace.code)
    }

    // MARK: Transfers

    @Test("SYSCALL and SYSRET go to ring 0 and back, with selectors from STAR and flags masked")
    func systemCall() throws {
        let machine = try LongMachine()
        let kernel = LongPlace.code + 0x400
        // Ring 3: syscall; int3. Ring 0: sysretq.
        machine.write(LongPlace.codePhysical + 0x800, [0x0F, 0x05, 0xCC])
        machine.write(LongPlace.codePhysical + 0x400, [0x48, 0x0F, 0x07])
        let core = machine.processor.core
        machine.kernel(
            set(0xC000_0080, 0x501) + set(0xC000_0081, 0x0010_0008 << 32) + set(0xC000_0082, kernel)
                + set(0xC000_0084, 0x200))
        core.state.segments[1].selector = 0x23
        core.state.privilege = 3
        core.state.rip = userCode
        core.flags = 0x202
        core.updateMode()
        // One instruction: in ring 0, interrupts off.
        _ = machine.processor.run(instructions: 1)
        #expect(core.state.rip == kernel)
        #expect(core.state.privilege == 0)
        #expect(core.state.segments[1].selector == 8 && core.state.segments[2].selector == 0x10)
        #expect(core.rcx == userCode + 2)
        #expect(core.get(88, as: UInt64.self) == 0x202)
        #expect(core.flags == 2)
        #expect(machine.processor.ranProgram() == false)
        _ = machine.processor.run(instructions: 1)
        #expect(machine.processor.ranProgram() == true)
        #expect(core.state.rip == userCode + 2)
        #expect(core.state.privilege == 3)
        #expect(core.state.segments[1].selector == 0x23 && core.state.segments[2].selector == 0x1B)
        #expect(core.flags == 0x202)
    }

    @Test("SYSCALL without EFER.SCE is an invalid opcode")
    func noSystemCall() throws {
        let machine = try LongMachine()
        machine.kernel([0x0F, 0x05])
        #expect(machine.vector == 6)
    }

    @Test("SWAPGS exchanges the base of gs with the kernel's, in ring 0 alone")
    func swapBases() throws {
        let machine = try LongMachine()
        machine.kernel(set(0xC000_0101, 0x1111) + set(0xC000_0102, 0x2222) + [0x0F, 0x01, 0xF8])
        #expect(machine.processor.core.state.bases[5] == 0x2222)
        #expect(machine.processor.core.state.kernelBase == 0x1111)
        let ending = machine.run(program([0x0F, 0x01, 0xF8]), image: image)
        #expect(ending.trap == 13)
    }

    @Test("KVM's hypercalls are there and do nothing: there is no such call, and none for programs")
    func hypercalls() throws {
        let machine = try LongMachine()
        for code in [[0x0F, 0x01, 0xC1], [0x0F, 0x01, 0xD9]] as [[UInt8]] {
            machine.kernel(rax(9) + code)
            #expect(machine.vector == nil)
            #expect(machine.processor.core.rax == 0xFFFF_FFFF_FFFF_FC18)
            // The INT3 behind it.
            let ending = machine.run(program(code), image: image)
            #expect(ending.trap == 3)
            #expect(ending.registers[0] == .max)
        }
        machine.kernel([0x0F, 0x01, 0xC2])
        #expect(machine.vector == 6)
    }

    @Test(
        "an exception pushes five words on the interrupt's stack, aligned to 16 bytes, and its error code"
    )
    func frame() throws {
        let machine = try LongMachine()
        var test = program([0x48, 0x8B, 0x04, 0x25, 0, 0, 0, 0])
        test.registers[4] = LongPlace.data + 0x123
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 14)
        #expect(ending.error == 5)
        #expect(ending.address == 0)
        #expect(machine.processor.core.rsp == UInt64(LongPlace.stack) - 48)
        #expect(machine.frame(2) == 0x23)
        #expect(machine.frame(4) == LongPlace.data + 0x123)
        #expect(machine.frame(5) == 0x1B)
        // The handler runs in ring 0 with a null ss and interrupts off.
        #expect(machine.processor.core.state.segments[2].selector == 0)
        #expect(machine.processor.core.flags & 0x200 == 0)
    }

    @Test(
        "IRETQ returns to ring 3 with its stack and flags, and to a non-canonical address not at all"
    )
    func interruptReturn() throws {
        let machine = try LongMachine()
        func push(_ value: UInt64) -> [UInt8] { rax(value) + [0x50] }
        let frame = push(0x1B) + push(LongPlace.data + 0x800) + push(0x246) + push(0x23)
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        machine.kernel(frame + push(userCode) + [0x48, 0xCF])
        #expect(machine.vector == 3)
        #expect(machine.frame(0) == userCode + 1)
        #expect(machine.frame(1) == 0x23)
        #expect(machine.frame(2) & 0xFFF == 0x246)
        #expect(machine.frame(3) == LongPlace.data + 0x800)
        machine.kernel(frame + push(0x0000_8000_0000_0000) + [0x48, 0xCF])
        #expect(machine.vector == 13)
    }

    @Test("an exception without a way to deliver it is a shutdown")
    func tripleFault() throws {
        let machine = try LongMachine()
        machine.processor.core.state.interruptTable = LongTable(base: 0, limit: 0)
        #expect(machine.kernel([0x0F, 0x0B]) == .shutdown)
        #expect(machine.processor.run(instructions: 10) == .shutdown)
    }

    // MARK: Strings, ports, interrupts

    @Test("REP MOVS stops at the page that faults, with the registers at that element")
    func stringFault() throws {
        let machine = try LongMachine()
        var test = program([0xF3, 0xA4])
        test.registers[1] = 0x100
        test.registers[6] = LongPlace.data
        test.registers[7] = LongPlace.data + 0x1FF0
        let ending = machine.run(test, image: (0..<LongPlace.dataSize).map { UInt8($0 & 0xFF) })
        #expect(ending.trap == 14 && ending.address == LongPlace.data + 0x2000)
        #expect(ending.registers[1] == 0xF0)
        #expect(ending.registers[6] == LongPlace.data + 0x10)
        #expect(ending.registers[7] == LongPlace.data + 0x2000)
        #expect(Array(ending.data[0x1FF0...]) == (0..<16).map { UInt8($0) })
    }

    @Test("REP STOS and MOVS of many pages do all of it, overlapping upwards one element at a time")
    func longStrings() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        machine.kernel(
            rdx(LongPlace.data) + [0x48, 0x89, 0xD7] + rcx(0x400) + rax(0x0102_0304_0506_0708)
                + [0xF3, 0x48, 0xAB])
        #expect(core.rcx == 0 && core.rdi == LongPlace.data + 0x2000)
        #expect(machine.bytes(LongPlace.dataPhysical + 0x1FF8, 8) == [8, 7, 6, 5, 4, 3, 2, 1])
        // A byte moved onto the next one, and so on: it fills.
        machine.write(LongPlace.dataPhysical, [0x5A])
        machine.kernel(
            rdx(LongPlace.data) + [0x48, 0x89, 0xD6, 0x48, 0x8D, 0x7A, 1] + rcx(0x1FFF) + [
                0xF3, 0xA4,
            ])
        #expect(
            machine.bytes(LongPlace.dataPhysical, 0x2000) == [UInt8](repeating: 0x5A, count: 0x2000)
        )
    }

    @Test("ports exit, behind the instruction, and the answer goes where it belongs")
    func ports() throws {
        let machine = try LongMachine()
        #expect(
            machine.kernel(rax(0x41) + [0xE6, 0x80])
                == .portOutput(PortAccess(port: 0x80, size: 1), value: 0x41))
        #expect(
            machine.kernel(rax(~0) + rdx(0x3F8) + [0xED])
                == .portInput(PortAccess(port: 0x3F8, size: 4)))
        machine.processor.answer(0x1234)
        #expect(machine.processor.core.rax == 0x1234)
        let ending = machine.run(program([0xE6, 0x80]), image: image)
        #expect(ending.trap == 13)
        // rep outsb or insb with nothing to do, and ud2: the port is looked at all the same.
        for string in [0x6E, 0x6C] as [UInt8] {
            let none = rcx(0) + rdx(0x80) + [0xF3, string, 0x0F, 0x0B]
            machine.kernel(none)
            #expect(machine.vector == 6)
            #expect(machine.run(program(none), image: image).trap == 13)
        }
    }

    @Test("an interrupt waits for STI and the instruction behind it, and ends HLT")
    func interrupts() throws {
        let machine = try LongMachine()
        machine.processor.awaitsInterruptWindow = true
        // sti; nop; hlt
        #expect(machine.kernel([0xFB, 0x90]) == .interruptWindow)
        #expect(machine.processor.core.state.rip == LongPlace.code + 2)
        #expect(machine.processor.canInject)
        machine.processor.inject(0x30, errorCode: 0)
        machine.processor.awaitsInterruptWindow = false
        _ = machine.processor.run(instructions: 10)
        #expect(machine.vector == 0x30)
        #expect(machine.frame(0) == LongPlace.code + 2)
    }

    @Test("an interrupt whose gate cannot be used is a fault from outside, INT is not")
    func outsideFault() throws {
        let machine = try LongMachine()
        // Not present.
        machine.store(LongPlace.interrupts + 0x30 * 16, 0x0E00 << 32)
        machine.processor.awaitsInterruptWindow = true
        #expect(machine.kernel([0xFB, 0x90]) == .interruptWindow)
        machine.processor.inject(0x30, errorCode: 0)
        machine.processor.awaitsInterruptWindow = false
        _ = machine.processor.run(instructions: 10)
        #expect(machine.vector == 11 && machine.frame(0) == 0x30 * 8 + 3)
        machine.kernel([0xCD, 0x30])
        #expect(machine.vector == 11 && machine.frame(0) == 0x30 * 8 + 2)
    }

    @Test("what does nothing has no record of its own, and is one step nevertheless")
    func nothing() throws {
        // nop; nop [rax]; inc rax; pause; nop; hlt
        let code: [UInt8] = [0x90, 0x0F, 0x1F, 0x00, 0x48, 0xFF, 0xC0, 0xF3, 0x90, 0x90, 0xF4]
        let room = UnsafeMutablePointer<LongOperation>.allocate(capacity: 16)
        defer { room.deallocate() }
        var decoder = LongDecoder(
            bytes: code, available: code.count, operations: room, mode: 0)
        let isWhole = decoder.block(limit: 64)
        #expect(isWhole)
        #expect(decoder.recordCount == 2)
        #expect(decoder.instructionCount == 2)
        #expect(decoder.position == code.count)
        #expect(room[0].first == 4)
        let machine = try LongMachine()
        machine.kernel(code, atMost: 0)
        var places: [UInt64] = []
        for _ in 0..<5 {
            #expect(machine.processor.run(instructions: 1) == .stretchEnded)
            places.append(machine.processor.core.state.rip - LongPlace.code)
        }
        #expect(places == [1, 4, 7, 9, 10])
    }

    @Test(
        "a comparison and the branch behind it are one record, two instructions and two steps",
        arguments: [
            // cmp rcx, rax; cmp rax, 5; cmp ecx, eax; cmp eax, 5; cmp al, 5; test rax, rax; test eax, eax; test al, al
            [0x48, 0x39, 0xC1], [0x48, 0x83, 0xF8, 5], [0x39, 0xC1], [0x83, 0xF8, 5], [0x3C, 5],
            [0x48, 0x85, 0xC0], [0x85, 0xC0], [0x84, 0xC0],
        ] as [[UInt8]], [0x74, 0x75] as [UInt8])
    func fused(comparison: [UInt8], branch: UInt8) throws {
        // The branch goes to the second HLT.
        let code: [UInt8] = comparison + [branch, 1, 0xF4, 0xF4]
        let room = UnsafeMutablePointer<LongOperation>.allocate(capacity: 16)
        defer { room.deallocate() }
        var decoder = LongDecoder(
            bytes: code, available: code.count, operations: room, mode: 0)
        let isWhole = decoder.block(limit: 64)
        #expect(isWhole && decoder.recordCount == 1 && decoder.instructionCount == 2)
        let machine = try LongMachine()
        let core = machine.processor.core
        let end = LongPlace.code + UInt64(comparison.count) + 2
        for value in [0, 5, 6] as [UInt64] {
            let isTest = comparison.contains(0x85) || comparison.contains(0x84)
            // What a comparison with rcx finds equal.
            let isEqual = comparison.contains(0x39) ? value == 6 : value == (isTest ? 0 : 5)
            var ends: [UInt64] = []
            for stretch in [2, 1] {
                machine.kernel(code, atMost: 0)
                core.rax = value
                core.rcx = 6
                for _ in stride(from: 0, to: 2, by: stretch) {
                    #expect(machine.processor.run(instructions: stretch) == .stretchEnded)
                }
                #expect(core.zero == isEqual)
                ends.append(core.state.rip)
            }
            let isTaken = isEqual == (branch == 0x74)
            #expect(ends == [end + (isTaken ? 1 : 0), end + (isTaken ? 1 : 0)])
        }
    }

    @Test("a branch of more than 15 bytes, or with LOCK, leaves the comparison before it alone")
    func notFused() throws {
        let machine = try LongMachine()
        for prefixes in [[UInt8](repeating: 0x66, count: 10), [0xF0]] {
            machine.kernel([0x48, 0x85, 0xC0] + prefixes + [0x0F, 0x84, 0, 0, 0, 0])
            #expect(machine.vector == (prefixes.count > 1 ? 13 : 6))
            #expect(machine.frame(prefixes.count > 1 ? 1 : 0) == LongPlace.code + 3)
        }
    }

    @Test("a page of what does nothing ends, and the one behind it goes on")
    func nothingElse() throws {
        let machine = try LongMachine()
        machine.store(0x5008, UInt64(LongPlace.dataPhysical) | 7)
        machine.write(LongPlace.codePhysical, [UInt8](repeating: 0x90, count: LongPlace.codeSize))
        machine.write(LongPlace.dataPhysical, [0xF4])
        machine.kernel([0x90], atMost: 0)
        machine.write(LongPlace.codePhysical, [UInt8](repeating: 0x90, count: LongPlace.codeSize))
        // A block is no longer than 1 KiB.
        #expect(machine.processor.run(instructions: 8) == .halt(interruptsEnabled: false))
        #expect(machine.processor.core.state.rip == LongPlace.code + 0x1001)
    }

    @Test("the trap flag stops after each instruction")
    func singleStep() throws {
        let machine = try LongMachine()
        var test = program([0x90, 0x90])
        test.flags = 0x302
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 1)
        #expect(ending.rip == LongPlace.code + 1)
    }

    // MARK: Registers

    @Test("FXSAVE and FXRSTOR keep the x87, XMM and MXCSR")
    func saveState() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        for index in 0..<32 { core.state.vectors[index] = UInt64(index) * 0x0101 }
        core.state.vectorControl = 0x5F80
        // fld1; fxsave64 [data]; fninit; fxrstor64 [data]; fstp qword [data + 0x200]
        machine.kernel(
            [0xD9, 0xE8] + rdx(LongPlace.data) + [0x48, 0x0F, 0xAE, 0x02, 0xDB, 0xE3]
                + [0x48, 0x0F, 0xAE, 0x0A, 0xDD, 0x9A, 0, 2, 0, 0])
        #expect(machine.vector == nil)
        #expect(machine.bytes(LongPlace.dataPhysical + 0x200, 8) == bytes(0x3FF0_0000_0000_0000))
        #expect(machine.bytes(LongPlace.dataPhysical + 24, 2) == [0x80, 0x5F])
        #expect(machine.bytes(LongPlace.dataPhysical + 160 + 16, 8) == bytes(0x0202))
        #expect(core.state.vectors[31] == 31 * 0x0101)
    }

    @Test("MMX registers are the x87's, whose stack begins with the first and is full until EMMS")
    func multimedia() throws {
        let machine = try LongMachine()
        // fninit; fld1; movq mm1, rax; fnstenv [rdx]; fxsave [rdx + 64]; emms; fnstenv [rdx + 32]
        machine.kernel(
            [0xDB, 0xE3, 0xD9, 0xE8] + rax(0x1122_3344_5566_7788) + rdx(LongPlace.data) + [
                0x48, 0x0F, 0x6E, 0xC8, 0xD9, 0x32, 0x0F, 0xAE, 0x42, 0x40, 0x0F, 0x77, 0xD9, 0x72,
                0x20,
            ])
        #expect(machine.vector == nil)
        // The stack's top is 0 and every tag full; 1.0 is in register 7, and thus in ST(7).
        #expect(machine.bytes(LongPlace.dataPhysical + 4, 2) == [0, 0])
        let image = LongPlace.dataPhysical + 64
        #expect(machine.bytes(image + 4, 1) == [0xFF])
        #expect(machine.bytes(image + 32 + 16, 10) == bytes(0x1122_3344_5566_7788) + [0xFF, 0xFF])
        #expect(machine.bytes(image + 32 + 7 * 16, 10) == bytes(1 << 63) + [0xFF, 0x3F])
        #expect(machine.bytes(LongPlace.dataPhysical + 32 + 8, 2) == [0xFF, 0xFF])
        // By CR0.TS there is none.
        machine.kernel(rax(0x8000_003B) + [0x0F, 0x22, 0xC0, 0x0F, 0x77])
        #expect(machine.vector == 7)
    }

    /// movaps, movdqa, movntdq and movups between xmm0 or xmm1 and [rcx].
    @Test(
        "16 bytes are moved where they lie; an aligned move of others is a protection fault",
        arguments: [
            ([0x0F, 0x28, 0x01], true), ([0x66, 0x0F, 0x6F, 0x01], true),
            ([0x0F, 0x29, 0x01], true), ([0x66, 0x0F, 0x7F, 0x01], true),
            ([0x66, 0x0F, 0xE7, 0x01], true), ([0x0F, 0x2B, 0x01], true),
            ([0x0F, 0x10, 0x01], false), ([0xF3, 0x0F, 0x6F, 0x01], false),
            ([0x0F, 0x11, 0x01], false), ([0xF3, 0x0F, 0x7F, 0x01], false),
        ] as [([UInt8], Bool)])
    func alignedMoves(code: [UInt8], isAligned: Bool) throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // The second time the page's translation is known.
        for _ in 0..<2 {
            core.state.vectors[0] = 0x1111
            core.state.vectors[1] = 0x2222
            machine.store(LongPlace.dataPhysical + 0x108, 0x3333)
            machine.store(LongPlace.dataPhysical + 0x110, 0x4444)
            machine.kernel(rcx(LongPlace.data + 0x108) + code)
            #expect(machine.vector == (isAligned ? 13 : nil))
            if isAligned { #expect(machine.frame(0) == 0) }
            machine.store(LongPlace.dataPhysical + 0x118, 0x5555)
            machine.kernel(rcx(LongPlace.data + 0x110) + code)
            #expect(machine.vector == nil)
            let data = machine.memory.readable(
                machine.memory.range(LongPlace.dataPhysical + 0x110, 16)!)
            #expect(data.load(as: UInt64.self) == core.state.vectors[0])
            #expect(data.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == core.state.vectors[1])
        }
    }

    @Test("SSE without CR4.OSFXSR is an invalid opcode, with CR0.TS no device")
    func vectorsBarred() throws {
        let machine = try LongMachine()
        machine.kernel(rax(0x20) + [0x0F, 0x22, 0xE0, 0x0F, 0x58, 0xC1])
        #expect(machine.vector == 6)
        machine.kernel(
            rax(0x220) + [0x0F, 0x22, 0xE0] + rax(0x8000_003B) + [
                0x0F, 0x22, 0xC0, 0x0F, 0x28, 0xC1,
            ])
        #expect(machine.vector == 7)
        machine.kernel([0x0F, 0x10, 0xC1])
        #expect(machine.vector == 7)
    }

    @Test(
        "SSE with a register of MMX is an invalid opcode without CR4.OSFXSR, also with CR0.TS",
        // cvtpi2ps xmm0, mm1; cvttpd2pi mm0, xmm1; movdq2q mm0, xmm1
        arguments: [[0x0F, 0x2A, 0xC1], [0x66, 0x0F, 0x2C, 0xC1], [0xF2, 0x0F, 0xD6, 0xC1]]
            as [[UInt8]])
    func mixedBarred(_ instruction: [UInt8]) throws {
        let machine = try LongMachine()
        machine.kernel(
            rax(0x20) + [0x0F, 0x22, 0xE0] + rax(0x8000_003B) + [0x0F, 0x22, 0xC0] + instruction)
        #expect(machine.vector == 6)
        machine.kernel(rax(0x220) + [0x0F, 0x22, 0xE0] + instruction)
        #expect(machine.vector == 7)
    }

    @Test("MMX registers are the x87's by their own numbers, wherever the top of its stack is")
    func multimediaBelowTop() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // fninit; movq mm5, rax; emms; fld1; fldpi; movq rbx, mm5; rcx, mm6; rdx, mm7
        machine.kernel(
            [0xDB, 0xE3] + rax(0x0102_0304_0506_0708) + [
                0x48, 0x0F, 0x6E, 0xE8, 0x0F, 0x77, 0xD9, 0xE8, 0xD9, 0xEB, 0x48, 0x0F, 0x7E, 0xEB,
                0x48, 0x0F, 0x7E, 0xF1, 0x48, 0x0F, 0x7E, 0xFA,
            ])
        #expect(core.rbx == 0x0102_0304_0506_0708)
        #expect(core.rcx == 0xC90F_DAA2_2168_C235 && core.rdx == 0x8000_0000_0000_0000)
    }

    @Test(
        "MOVNTI, LDMXCSR, STMXCSR and the fences have no form with 66, F2 or F3",
        // movnti [rax], ecx and rcx; ldmxcsr [rax]; stmxcsr [rax]; lfence; mfence; sfence
        arguments: [
            [0x0F, 0xC3, 0x08], [0x48, 0x0F, 0xC3, 0x08], [0x0F, 0xAE, 0x10], [0x0F, 0xAE, 0x18],
            [0x0F, 0xAE, 0xE8], [0x0F, 0xAE, 0xF0], [0x0F, 0xAE, 0xF8],
        ] as [[UInt8]])
    func withoutPrefix(_ instruction: [UInt8]) throws {
        let machine = try LongMachine()
        machine.store(LongPlace.dataPhysical, 0x1F80)
        machine.kernel(rax(LongPlace.data) + instruction)
        #expect(machine.vector == nil)
        for prefix in [0x66, 0xF2, 0xF3] as [UInt8] {
            machine.store(LongPlace.dataPhysical, 0x1F80)
            machine.kernel(rax(LongPlace.data) + [prefix] + instruction)
            #expect(machine.vector == 6)
        }
    }

    @Test(
        "an unknown model-specific register is a protection fault",
        arguments: [0x1A0, 0xC001_0011, 0x8C] as [UInt64])
    func modelRegister(number: UInt64) throws {
        let machine = try LongMachine()
        machine.kernel(rcx(number) + [0x0F, 0x32])
        #expect(machine.vector == 13)
    }

    @Test("a base that is not canonical is refused")
    func canonicalBase() throws {
        let machine = try LongMachine()
        machine.kernel(set(0xC000_0101, 0x0000_8000_0000_0000))
        #expect(machine.vector == 13)
    }

    @Test("bits of control registers that are not there are protection faults")
    func controlRegisters() throws {
        let machine = try LongMachine()
        // SMEP; then long mode without paging.
        machine.kernel(rax(1 << 20 | 0x20) + [0x0F, 0x22, 0xE0])
        #expect(machine.vector == 13)
        // MCE: kernels set it unasked.
        machine.kernel(rax(0x660) + [0x0F, 0x22, 0xE0])
        #expect(machine.vector == nil)
        machine.kernel(rax(0x33) + [0x0F, 0x22, 0xC0])
        #expect(machine.vector == 13)
    }
}
