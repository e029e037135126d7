// Exact tests of compatibility mode: what sequences of 32-bit code alone do not show, or only by chance.

import Testing

@testable import Mini

@Suite struct LongCompatibleTests {
    private let machine: LongMachine
    private var core: LongCore { machine.processor.core }
    /// Selectors: 32-bit code, 64-bit code, 32-bit data, and data of 16 bytes based at the second page of data.
    private let code32: UInt16 = 0x33
    private let code64: UInt16 = 0x23
    private let data: UInt16 = 0x1B
    private let small: UInt16 = 0x3B
    private let code16: UInt16 = 0x43

    init() throws {
        machine = try LongMachine()
        machine.store(LongPlace.global + 0x30, 0x00CF_FB00_0000_FFFF)
        machine.store(LongPlace.global + 0x38, 0x1040_F300_1000_000F)
        machine.store(LongPlace.global + 0x40, 0x2000_FB00_0000_FFFF)
        core.state.globalTable.limit = 0x47
    }

    /// 32-bit code in ring 3, to an exception or its INT3. Registers are eax to edi.
    @discardableResult
    private func run(
        _ code: [UInt8], _ registers: [UInt32] = [], at offset: UInt32 = 0, ds: UInt16 = 0x1B,
        ss: UInt16 = 0x1B, cs: UInt16 = 0x33
    ) -> LongEnding {
        machine.write(LongPlace.codePhysical + offset, code + [0xCC])
        for index in 0..<16 { core.set(UInt8(index * 8), 0 as UInt64) }
        core.rsp = LongPlace.data + 0x800
        for (index, value) in registers.enumerated() { core.set(UInt8(index * 8), value) }
        for (segment, selector) in [data, cs, ss, ds, 0, 0].enumerated() {
            let place = LongPlace.global + UInt32(selector & 0xFFF8)
            let value = machine.memory.readable(machine.memory.range(place, 8)!).load(
                as: UInt64.self)
            core.install(segment, selector, selector == 0 ? nil : SegmentDescriptor(value))
        }
        core.state.privilege = 3
        core.state.isLong = cs == code64
        core.state.rip = cs == code16 ? UInt64(offset) : LongPlace.code + UInt64(offset)
        core.flags = 0x202
        core.updateMode()
        return machine.finish(machine.processor.run(instructions: 10_000))
    }

    private func bytes(_ value: UInt64, _ count: UInt64 = 4) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    @Test("40 to 4F count registers, and are no prefixes")
    func counting() {
        let ending = run([0x40, 0x48, 0x40, 0x4B, 0x42])
        #expect(ending.registers[0] == 1 && ending.registers[2] == 1)
        #expect(ending.registers[3] == 0xFFFF_FFFF)
        #expect(ending.trap == 3 && ending.rip == LongPlace.code + 6)
    }

    @Test("a sum beyond 4 GiB wraps, of an operand and of a fault's address")
    func wrapping() {
        machine.write(LongPlace.dataPhysical + 12, bytes(0x1234_5678))
        // mov eax, [ecx + edx * 4]
        let load: [UInt8] = [0x8B, 0x04, 0x91]
        let base = UInt32(LongPlace.data)
        #expect(run(load, [0, base + 16, ~0]).registers[0] == 0x1234_5678)
        let ending = run(load, [0, ~0 - 0xFFFF, 0x4_0000])
        #expect(ending.trap == 14 && ending.address == 0xF_0000)
        // jmp to 16 bytes below 0.
        let jump = run([0xE9] + bytes(0 &- LongPlace.code &- 5 &- 16))
        #expect(jump.trap == 14 && jump.address == 0xFFFF_FFF0 && jump.rip == 0xFFFF_FFF0)
    }

    @Test(
        "a near branch to behind its segment's limit faults itself, and has done nothing",
        arguments: [
            // call, jmp, je; cmp eax, eax and je; loop; mov ecx, 0 and jecxz
            ([], [0xE8, 0x40, 0, 0, 0]), ([], [0xE9, 0x40, 0, 0, 0]), ([], [0xEB, 0x40]),
            ([0x39, 0xC0], [0x74, 0x40]), ([0x39, 0xC0], [0x0F, 0x84, 0x40, 0, 0, 0]),
            ([], [0xE2, 0x40]), ([0xB9, 0, 0, 0, 0], [0xE3, 0x40]),
            // push 20001010 and ret; the same and ret 4; call ebx; jmp ebx; call [10000000]; jmp [10000000]
            ([0x68, 0x10, 0x10, 0, 0x20], [0xC3]), ([0x68, 0x10, 0x10, 0, 0x20], [0xC2, 4, 0]),
            ([], [0xFF, 0xD3]), ([], [0xFF, 0xE3]), ([], [0xFF, 0x15, 0, 0, 0, 0x10]),
            ([], [0xFF, 0x25, 0, 0, 0, 0x10]),
        ] as [([UInt8], [UInt8])])
    func branchesOverLimit(_ first: [UInt8], _ branch: [UInt8]) {
        // The code's page is the segment's last.
        machine.store(LongPlace.global + 0x30, 0x00C2_FB00_0000_0000)
        machine.write(LongPlace.dataPhysical, bytes(0x2000_1010))
        let ending = run(first + branch, [0, 5, 0, 0x2000_1010], at: 0xFE0)
        #expect(ending.trap == 13 && ending.error == 0)
        #expect(ending.rip == LongPlace.code + 0xFE0 + UInt64(first.count))
        let pushed: UInt64 = first.first == 0x68 ? 4 : 0
        #expect(ending.registers[4] == LongPlace.data + 0x800 - pushed)
        #expect(ending.registers[1] == (first.first == 0xB9 ? 0 : 5))
    }

    @Test("branches within a segment that ends before 4 GiB go where they say")
    func branchesWithinLimit() {
        machine.store(LongPlace.global + 0x30, 0x00C2_FB00_0000_0000)
        // again: inc eax; call to ret; loop again; jecxz over INT3; jmp over INT3; cmp eax, 3; je over INT3; int3; ret
        let code: [UInt8] = [
            0x40, 0xE8, 0x0F, 0, 0, 0, 0xE2, 0xF8, 0xE3, 1, 0xCC, 0xEB, 1, 0xCC, 0x83, 0xF8, 3,
            0x74, 1, 0xCC, 0xCC, 0xC3,
        ]
        let ending = run(code, [0, 3])
        #expect(ending.trap == 3 && ending.rip == LongPlace.code + 21)
        #expect(ending.registers[0] == 3 && ending.registers[1] == 0)
        #expect(ending.registers[4] == LongPlace.data + 0x800)
    }

    @Test("a call gate takes 32-bit code to 64-bit code, with a frame of 8 bytes a word")
    func callGate() {
        core.state.globalTable.limit = 0x57
        machine.store(LongPlace.global + 0x48, 0x2000_EC00_0023_0800)
        machine.store(LongPlace.global + 0x50, 0)
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        // call far 4B
        let ending = run([0x9A, 0, 0, 0, 0, 0x4B, 0])
        #expect(ending.trap == 3 && ending.rip == LongPlace.code + 0x801)
        #expect(machine.frame(1) == UInt64(code64))
        #expect(ending.registers[4] == LongPlace.data + 0x7F0)
        #expect(Array(ending.data[0x7F0..<0x7F8]) == bytes(LongPlace.code + 7, 8))
        #expect(Array(ending.data[0x7F8..<0x800]) == bytes(UInt64(code32), 8))
    }

    @Test(
        "what a frame that fails on the way to 64-bit code has left in the TLB is not found by 32-bit code"
    )
    func failingFrame() {
        core.state.globalTable.limit = 0x57
        machine.store(LongPlace.global + 0x48, 0x2000_EC00_0023_0800)
        machine.store(LongPlace.global + 0x50, 0)
        // The last page of all is the data's; the first is not there.
        machine.store(0x1FF8, 0x2007)
        machine.store(0x2FF8, 0x3007)
        machine.store(0x3FF8, 0x4007)
        machine.store(0x4FF8, UInt64(LongPlace.dataPhysical) | 7)
        // call far 4B, whose first word lies to both sides of address 0.
        let ending = run([0x9A, 0, 0, 0, 0, 0x4B, 0], [0, 0, 0, 0, 4])
        #expect(ending.trap == 14 && ending.address == 0)
        // mov eax, [ebx - 8]
        let next = run([0x8B, 0x43, 0xF8])
        #expect(next.trap == 14 && next.address == 0xFFFF_FFF8)
    }

    @Test("what 64-bit code left in the TLB above 4 GiB is not found by 32-bit code")
    func narrowTLB() {
        // The data's page once more, at 4 GiB.
        machine.store(0x2020, 0x3007)
        machine.write(LongPlace.dataPhysical, bytes(7))
        let far = (1 << 32) + LongPlace.data
        run([0x48, 0xB9] + bytes(far, 8) + [0x8B, 0x01], cs: code64)
        #expect(core.rax == 7)
        machine.store(0x4000, 0)
        core.flushTLB()
        run([0x48, 0xB9] + bytes(far + 0x1000, 8) + [0x8B, 0x01], cs: code64)
        // mov eax, [ecx + ecx], of 1_1000_1000 and so of 1000_1000, which is not there any more.
        machine.store(0x4008, 0)
        let ending = run([0x8B, 0x04, 0x09], [0, UInt32((far + 0x1000) / 2)])
        #expect(ending.trap == 14 && ending.address == LongPlace.data + 0x1000)
    }

    @Test(
        "far returns go to 32-bit code and back; the upper halves of registers are cleared on the way in"
    )
    func farReturns() {
        let there = LongPlace.code + 0x100
        let back = LongPlace.code + 0x200
        // 32-bit: push 23; push back; retf. 64-bit: mov rdx, rcx; int3.
        machine.write(
            LongPlace.codePhysical + 0x100, [0x6A, 0x23, 0x68] + bytes(back) + [0x91, 0x40, 0xCB])
        machine.write(LongPlace.codePhysical + 0x200, [0x48, 0x89, 0xCA, 0xCC])
        // mov rax, ...; push 33; push there; retfq
        let ending = run(
            [0x48, 0xB8] + bytes(0x1_2345_6789, 8) + [0x6A, 0x33, 0x68] + bytes(there) + [
                0x48, 0xCB,
            ], cs: code64)
        #expect(ending.trap == 3 && ending.rip == back + 4)
        #expect(ending.registers[2] == 0x2345_6789 && ending.registers[0] == 1)
        #expect(machine.frame(1) == 0x23)
    }

    @Test(
        "INT 80 enters a 64-bit gate with eip alone in its frame, and IRETQ returns to 32-bit code")
    func systemCallByInterrupt() {
        let handler = LongPlace.handlers + 0x800
        machine.store(
            LongPlace.interrupts + 0x800,
            UInt64(handler) & 0xFFFF | 8 << 16 | 1 << 32 | 0xEE << 40)
        // mov rdx, [rsp]; mov ecx, [rsp + 8]; iretq
        machine.write(handler, [0x48, 0x8B, 0x14, 0x24, 0x8B, 0x4C, 0x24, 8, 0x48, 0xCF])
        let ending = run([0xCD, 0x80, 0x40])
        #expect(ending.trap == 3 && ending.rip == LongPlace.code + 4)
        #expect(ending.registers[0] == 1 && ending.registers[1] == UInt64(code32))
        #expect(ending.registers[2] == LongPlace.code + 2)
        #expect(core.state.segments[1].selector == 8 && machine.frame(1) == 0x33)
    }

    @Test(
        "SYSCALL of 32-bit code goes to CSTAR, and SYSRET returns to it; SYSENTER is an invalid opcode"
    )
    func systemCall() {
        core.state.features |= 1
        // SYSRET's: 0x33 and 0x3B; SYSCALL's: 8 and 0x10.
        core.state.star = 0x0033_0008 << 32
        core.state.compatibleEntry = UInt64(LongPlace.handlers) + 0x808
        core.state.entryMask = 0x200
        machine.write(LongPlace.handlers + 0x808, [0x48, 0xFF, 0xC2, 0x0F, 0x07])
        let ending = run([0x0F, 0x05, 0x40])
        #expect(ending.trap == 3 && ending.rip == LongPlace.code + 4 && ending.registers[2] == 1)
        #expect(ending.registers[0] == 1 && ending.registers[1] == LongPlace.code + 2)
        #expect(machine.frame(1) == 0x33 && machine.frame(4) == 0x3B)
        #expect(run([0x0F, 0x34]).trap == 6)
    }

    @Test("a segment's base is added, its limit and a null one are protection faults")
    func segments() {
        machine.write(LongPlace.dataPhysical + 0x100C, bytes(0xCAFE))
        // mov eax, [ecx]
        #expect(run([0x8B, 0x01], [0, 12], ds: small).registers[0] == 0xCAFE)
        let beyond = run([0x8B, 0x01], [0, 13], ds: small)
        #expect(beyond.trap == 13 && beyond.error == 0)
        #expect(run([0x8B, 0x01], [0, UInt32(LongPlace.data)], ds: 0).trap == 13)
        // By fs, which is null; by ss, which is not.
        #expect(run([0x64, 0x8B, 0x01], [0, UInt32(LongPlace.data)]).trap == 13)
        #expect(run([0x36, 0x8B, 0x01], [0, UInt32(LongPlace.data)], ds: 0).trap == 3)
        // push eax on a stack of 16 bytes, and one too many.
        let push = run([0x50], [7, 0, 0, 0, 12], ss: small)
        #expect(push.trap == 3 && machine.bytes(LongPlace.dataPhysical + 0x1008, 1) == [7])
        let over = run([0x50], [7, 0, 0, 0, 32], ss: small)
        #expect(over.trap == 12 && over.error == 0)
        // rep movsb by es, which is open, from ds, whose end comes after four.
        let move = run([0xF3, 0xA4], [0, 9, 0, 0, 0, 0, 12, UInt32(LongPlace.data)], ds: small)
        #expect(move.trap == 13 && move.registers[1] == 5 && move.registers[6] == 16)
    }

    @Test("a 16-bit code segment has operands, addresses and branches of 16 bits, from its base")
    func shortCode() {
        machine.write(LongPlace.dataPhysical + 0x34, bytes(0xBEEF))
        // mov ax, 1234; jmp +2; ud2; inc ax
        let ending = run([0xB8, 0x34, 0x12, 0xEB, 2, 0x0F, 0x0B, 0x40], cs: code16)
        #expect(ending.trap == 3 && ending.rip == 9 && ending.registers[0] == 0x1235)
        #expect(machine.frame(1) == UInt64(code16))
        // jmp backwards below 0: at the end of 64 KiB.
        let wrapped = run([0xE9, 0, 0x80], cs: code16)
        #expect(wrapped.trap == 14 && wrapped.rip == 0x8003)
        #expect(wrapped.address == LongPlace.code + 0x8003)
    }

    @Test("SSE of 16-bit code is of packed singles without 66, and of doubles with it")
    func shortVectors() {
        core.state.control4 |= 0x600
        let single: UInt64 = 0x4000_0000_3F80_0000
        for index in 0..<4 { core.state.vectors[index] = single }
        // addps xmm0, xmm1: 1 and 1, 2 and 2
        run([0x0F, 0x58, 0xC1], cs: code16)
        #expect(machine.vector == 3 && core.state.vectors[0] == 0x4080_0000_4000_0000)
        // pxor xmm0, xmm0
        run([0x66, 0x0F, 0xEF, 0xC0], cs: code16)
        #expect(machine.vector == 3 && core.state.vectors[0] == 0)
    }

    @Test("POP counts rsp in its operand's address as it is afterwards")
    func popToStack() {
        // push 5; pop dword [esp + ecx * 4 + 8]
        run([0x6A, 5, 0x8F, 0x44, 0x8C, 8], [0, 1])
        #expect(machine.bytes(LongPlace.dataPhysical + 0x80C, 1) == [5])
        // The same of 64-bit code, with an address of 32 bits.
        run([0x6A, 6, 0x67, 0x8F, 0x44, 0x8C, 8], [0, 1], cs: code64)
        #expect(machine.bytes(LongPlace.dataPhysical + 0x80C, 1) == [6])
    }

    @Test("POPA that faults has changed no register")
    func popAll() {
        let top = UInt32(LongPlace.data) + UInt32(LongPlace.dataSize) - 8
        let ending = run([0x61], [1, 2, 3, 4, top, 6, 7, 8])
        #expect(ending.trap == 14 && ending.address == UInt64(top) + 8)
        #expect(Array(ending.registers[0..<8]) == [1, 2, 3, 4, UInt64(top), 6, 7, 8])
    }

    @Test(
        "a return to a 16-bit stack loads 16 bits of its pointer",
        arguments: [0xCF, 0xCB] as [UInt8])
    func shortStack(_ instruction: UInt8) {
        machine.store(LongPlace.global + 0x38, 0x0000_F300_0000_FFFF)
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        // push ss, rsp, flags, cs, rip; iretq, or without flags a far return
        func push(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value, 8) + [0x50] }
        let flags = instruction == 0xCF ? push(2) : []
        machine.kernel(
            push(UInt64(small)) + push(0x1234_5678) + flags + push(UInt64(code32))
                + push(LongPlace.code + 0x800) + [0x48, instruction])
        #expect(machine.vector == 3)
        #expect(machine.frame(1) == UInt64(code32) && machine.frame(4) == UInt64(small))
        // Above are the kernel's: its stack lies in the first 64 KiB.
        #expect(machine.frame(3) == 0x5678)
    }

    @Test("INT3 with the trap flag set clears it, and no step is reported of the handler")
    func steppedInterrupt() {
        // push 302; popf; int3, the step of which comes before it
        run([0x68, 2, 3, 0, 0, 0x9D])
        #expect(machine.vector == 3)
    }

    @Test(
        "code ends where its segment does, in the middle of a block and of an instruction as well")
    func codeLimit() {
        // Of bytes, based at the code: up to 0x7FF.
        machine.store(LongPlace.global + 0x40, 0x2040_FB00_0000_07FF)
        // inc eax; inc eax; then one of two bytes that ends at the limit, or behind it.
        let inside = run([0x40, 0x40, 0x89, 0xC1], at: 0x7FC, cs: code16)
        #expect(inside.trap == 13 && inside.rip == 0x800 && inside.registers[1] == 2)
        let across = run([0x40, 0x40, 0x89, 0xC1], at: 0x7FD, cs: code16)
        #expect(across.trap == 13 && across.rip == 0x7FF && across.registers[0] == 2)
        #expect(across.error == 0)
    }

    @Test("a far transfer behind the end of the segment that it goes to faults where it is")
    func farLimit() {
        // 43:10000
        let place = bytes(0x1_0000)
        let jump: [UInt8] = [0xEA] + place + [0x43, 0]
        let call: [UInt8] = [0x9A] + place + [0x43, 0]
        // push 43; push 10000; retf, and with flags in front iret.
        let far: [UInt8] = [0x6A, 0x43, 0x68] + place + [0xCB]
        let interrupt: [UInt8] = [0x68] + bytes(0x202) + [0x6A, 0x43, 0x68] + place + [0xCF]
        for (code, start) in [(jump, 0), (call, 0), (far, 7), (interrupt, 12)]
            as [([UInt8], UInt64)]
        {
            let ending = run(code)
            #expect(ending.trap == 13 && ending.error == 0)
            #expect(ending.rip == LongPlace.code + start && machine.frame(2) == 0x33)
        }
    }

    @Test("FXSAVE and FXRSTOR of 32-bit code leave the upper eight vectors alone")
    func upperVectors() {
        core.state.control4 |= 0x600
        for index in 0..<32 { core.state.vectors[index] = UInt64(index) + 1 }
        machine.write(LongPlace.dataPhysical, [UInt8](repeating: 0xEE, count: 512))
        // fxsave [eax]
        #expect(run([0x0F, 0xAE, 0x00], [UInt32(LongPlace.data)]).trap == 3)
        #expect(
            machine.bytes(LongPlace.dataPhysical + 160 + 120, 16) == bytes(16, 8)
                + [UInt8](repeating: 0xEE, count: 8))
        machine.write(LongPlace.dataPhysical + 288, [UInt8](repeating: 0x11, count: 128))
        core.state.vectors[0] = 0
        // fxrstor [eax]
        #expect(run([0x0F, 0xAE, 0x08], [UInt32(LongPlace.data)]).trap == 3)
        #expect(core.state.vectors[0] == 1 && core.state.vectors[16] == 17)
    }
}
