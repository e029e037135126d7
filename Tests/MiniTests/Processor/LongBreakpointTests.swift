// Exact tests of the 64-bit processor's breakpoints: of data, of instructions, and of the debug registers themselves.

import Testing

@testable import Mini

@Suite struct LongBreakpointTests {
    private func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    private func rax(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value) }
    /// mov rbx, the page of data
    private var data: [UInt8] { [0x48, 0xBB] + bytes(LongPlace.data) }
    /// mov dr0, address; mov dr7, control
    private func watch(_ address: UInt64, _ control: UInt64) -> [UInt8] {
        rax(address) + [0x0F, 0x23, 0xC0] + rax(control) + [0x0F, 0x23, 0xF8]
    }
    /// DR7 for DR0: writes of 4 bytes, reads and writes of 4 bytes.
    private let writes: UInt64 = 0xD_0001
    private let reads: UInt64 = 0xF_0001

    @Test("a write of watched data is told behind its instruction")
    func watchedWrite() throws {
        // What comes before, and the instruction.
        let cases: [([UInt8], [UInt8])] = [
            // mov byte [rbx + 7], 1; mov [rbx + 1], eax; lock inc dword [rbx + 4]; movups [rbx], xmm0
            ([], [0xC6, 0x43, 0x07, 0x01]), ([], [0x89, 0x43, 0x01]),
            ([], [0xF0, 0xFF, 0x43, 0x04]), ([], [0x0F, 0x11, 0x03]),
            // lea rsp, [rbx + 12], and push rax; call behind it
            ([0x48, 0x8D, 0x63, 0x0C], [0x50]), ([0x48, 0x8D, 0x63, 0x0C], [0xE8, 0, 0, 0, 0]),
        ]
        for (before, instruction) in cases {
            // L0, and G0.
            for control in [writes, writes + 1] {
                let machine = try LongMachine()
                let core = machine.processor.core
                core.rcx = 0
                let code = data + watch(LongPlace.data + 4, control) + before + instruction
                // inc ecx
                machine.kernel(code + [0xFF, 0xC1])
                #expect(machine.vector == 1 && core.rcx == 0)
                #expect(machine.frame(0) == LongPlace.code + UInt64(code.count))
                #expect(machine.frame(2) & 0x1_0100 == 0)
                #expect(core.state.debug[6] == 0xFFFF_0FF1)
            }
        }
    }

    @Test(
        "of what is beside watched data, what is only read, and what is not enabled nothing is told"
    )
    func unwatched() throws {
        // mov [rbx], eax; mov [rbx + 8], eax; mov eax, [rbx + 4]
        for instruction in [[0x89, 0x03], [0x89, 0x43, 0x08], [0x8B, 0x43, 0x04]] as [[UInt8]] {
            let machine = try LongMachine()
            machine.kernel(data + watch(LongPlace.data + 4, writes) + instruction)
            #expect(machine.vector == nil)
        }
        for control in [0xD_0000, 0xD_0004, 0xE_0001] as [UInt64] {
            let machine = try LongMachine()
            // mov [rbx + 4], eax
            machine.kernel(data + watch(LongPlace.data + 4, control) + [0x89, 0x43, 0x04])
            #expect(machine.vector == nil)
            #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF0)
        }
    }

    @Test("a read of watched data is told behind its instruction, and HLT halts meanwhile")
    func watchedRead() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        core.rcx = 0
        // mov eax, [rbx]; mov eax, [rbx + 6]; inc ecx
        let code = data + watch(LongPlace.data + 4, reads) + [0x8B, 0x03, 0x8B, 0x43, 0x06]
        machine.kernel(code + [0xFF, 0xC1])
        #expect(machine.vector == 1 && core.rcx == 0)
        #expect(machine.frame(0) == LongPlace.code + UInt64(code.count))
        #expect(core.state.debug[6] == 0xFFFF_0FF1)
        let exit = machine.kernel([0xFF, 0xC1])
        #expect(exit == .halt(interruptsEnabled: false) && core.rcx == 1)
        #expect(machine.vector == nil)
    }

    @Test("a breakpoint on eight bytes, and one that is hit by code that ran before it was set")
    func knownCode() throws {
        let machine = try LongMachine()
        // mov [rbx + 7], cl; ret
        machine.write(LongPlace.codePhysical + 0x800, [0x88, 0x4B, 0x07, 0xC3])
        func call(behind code: [UInt8]) -> [UInt8] {
            let distance = UInt32(0x800 - code.count - 5)
            return code + [0xE8] + immediate(distance)
        }
        let first = call(behind: data)
        machine.kernel(call(behind: first + watch(LongPlace.data, 0x9_0001)))
        #expect(machine.vector == 1)
        #expect(machine.frame(0) == LongPlace.code + 0x803)
    }

    @Test("a repeated string instruction is told of behind the round that hits, to be resumed")
    func watchedString() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // mov rdi, rbx; mov ecx, 8; rep stosb
        let code =
            data + watch(LongPlace.data + 2, 0x1_0001) + [0x48, 0x89, 0xDF, 0xB9, 8, 0, 0, 0]
        machine.kernel(code + [0xF3, 0xAA])
        #expect(machine.vector == 1 && core.rcx == 5)
        #expect(machine.frame(0) == LongPlace.code + UInt64(code.count))
        #expect(machine.frame(2) & 0x1_0000 != 0)
    }

    @Test("an instruction's breakpoint is a fault in front of it, but once with the resume flag")
    func instruction() throws {
        let target = LongPlace.code + 0x800
        for (flags, rounds) in [(0, 0), (1, 1)] as [(UInt8, UInt64)] {
            let machine = try LongMachine()
            let core = machine.processor.core
            core.rcx = 0
            // inc ecx; jmp back
            machine.write(LongPlace.codePhysical + 0x800, [0xFF, 0xC1, 0xEB, 0xFC])
            // mov rax, rsp; push 0x10; push rax; push flags; push 8; push target; iretq
            machine.kernel(
                watch(target, 1)
                    + [0x48, 0x89, 0xE0, 0x6A, 0x10, 0x50, 0x68, 0x02, 0, flags, 0, 0x6A, 0x08]
                    + rax(target) + [0x50, 0x48, 0xCF])
            #expect(machine.vector == 1 && core.rcx == rounds)
            #expect(machine.frame(0) == target && machine.frame(2) & 0x1_0100 == 0)
            #expect(core.state.debug[6] == 0xFFFF_0FF1)
        }
    }

    @Test(
        "of an instruction that goes on only its watched read is told, and not its own breakpoint again"
    )
    func resumedRead() throws {
        let machine = try LongMachine()
        let target = LongPlace.code + 0x800
        // mov eax, [rbx]; jmp to itself
        machine.write(LongPlace.codePhysical + 0x800, [0x8B, 0x03, 0xEB, 0xFE])
        // mov dr1, rax; the resume flag
        let second = rax(LongPlace.data) + [0x0F, 0x23, 0xC8]
        let frame: [UInt8] =
            [0x48, 0x89, 0xE0, 0x6A, 0x10, 0x50, 0x68, 0x02, 0, 1, 0, 0x6A, 0x08] + rax(target)
        machine.kernel(data + second + watch(target, 0xF0_0005) + frame + [0x50, 0x48, 0xCF])
        #expect(machine.vector == 1 && machine.frame(0) == target + 2)
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF2)
    }

    @Test("a breakpoint in the middle of a block, and of an instruction, which has none")
    func middle() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        let start = UInt64(watch(0, 1).count)
        // inc ecx; inc ecx; inc ecx
        let code: [UInt8] = [0xFF, 0xC1, 0xFF, 0xC1, 0xFF, 0xC1]
        for (offset, count) in [(2, 1), (3, 3)] as [(UInt64, UInt64)] {
            core.rcx = 0
            machine.kernel(watch(LongPlace.code + start + offset, 1) + code)
            #expect(core.rcx == count)
            #expect(machine.vector == (offset == 2 ? 1 : nil))
        }
        // Behind more instructions that do nothing than the look for breakpoints goes.
        let target = LongPlace.code + 1200
        machine.kernel(watch(target, 1) + [UInt8](repeating: 0x90, count: 1300))
        #expect(machine.vector == 1 && machine.frame(0) == target)
    }

    @Test("data's breakpoint is told with that of the next instruction, and with a step")
    func together() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // mov dr1, rax in front of mov [rbx + 4], eax
        let before = data + rax(LongPlace.code + 52) + [0x0F, 0x23, 0xC8]
        let code = before + watch(LongPlace.data + 4, 0xD_0005) + [0x89, 0x43, 0x04]
        #expect(code.count == 52)
        machine.kernel(code + [0x90])
        #expect(machine.vector == 1 && machine.frame(0) == LongPlace.code + 52)
        #expect(core.state.debug[6] == 0xFFFF_0FF3)
        // mov dr6, 0, and push 0x102; popfq; mov [rbx + 4], eax
        machine.kernel(
            rax(0) + [0x0F, 0x23, 0xF0] + data + watch(LongPlace.data + 4, writes)
                + [0x68, 0x02, 0x01, 0, 0, 0x9D, 0x89, 0x43, 0x04, 0x90])
        #expect(machine.vector == 1 && core.state.debug[6] == 0xFFFF_4FF1)
    }

    @Test("DR7.GD makes a move of a debug register a fault, once")
    func general() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // mov dr7, rax; mov rbx, dr0
        let code = rax(0x2000) + [0x0F, 0x23, 0xF8]
        machine.kernel(code + [0x0F, 0x21, 0xC3])
        #expect(machine.vector == 1)
        #expect(machine.frame(0) == LongPlace.code + UInt64(code.count))
        #expect(core.state.debug[6] == 0xFFFF_2FF0 && core.state.debug[7] == 0x400)
        machine.kernel([0x0F, 0x21, 0xC3])
        #expect(machine.vector == nil)
    }
}
