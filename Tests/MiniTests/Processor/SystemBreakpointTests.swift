// Exact tests of the breakpoints of the processor with ring 0: of data, of instructions, of the debug registers themselves, and
// of a task.

import Testing

@testable import Mini

@Suite struct SystemBreakpointTests {
    typealias M = SystemMachine

    /// mov dr0, address; mov dr7, control
    private func watch(_ address: UInt32, _ control: UInt32) -> [UInt8] {
        load(0, address) + [0x0F, 0x23, 0xC0] + load(0, control) + [0x0F, 0x23, 0xF8]
    }
    /// DR7 for DR0: writes of 4 bytes, reads and writes of 4 bytes.
    private let writes: UInt32 = 0xD_0001
    private let reads: UInt32 = 0xF_0001

    @Test("a write of watched data is told behind its instruction")
    func watchedWrite() throws {
        // mov byte [ebx + 7], 1; mov [ebx + 1], eax; mov [ebx + 6], ax; inc dword [ebx + 4]; lock xadd [ebx + 4], eax
        for instruction in [
            [0xC6, 0x43, 0x07, 0x01], [0x89, 0x43, 0x01], [0x66, 0x89, 0x43, 0x06],
            [0xFF, 0x43, 0x04], [0xF0, 0x0F, 0xC1, 0x43, 0x04],
        ] as [[UInt8]] {
            for control in [writes, writes + 1] {
                let machine = try M()
                let code = load(3, M.data) + load(1, 0) + watch(M.data + 4, control) + instruction
                // inc ecx
                #expect(machine.run(code + [0x41]) == .event(1))
                #expect(machine.processor[.ecx] == 0 as UInt32)
                #expect(machine.stacked(0) == M.code + UInt32(code.count))
                #expect(machine.stacked(2) & 0x1_0100 == 0)
                #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF1)
            }
        }
    }

    @Test("a push and a call to watched data are told where they go")
    func watchedStack() throws {
        // push eax; call behind it
        for instruction in [[0x50], [0xE8, 0, 0, 0, 0]] as [[UInt8]] {
            let machine = try M()
            let code = load(4, M.data + 8) + watch(M.data + 4, writes) + instruction
            #expect(machine.run(code + [0x41]) == .event(1))
            #expect(machine.stacked(0) == M.code + UInt32(code.count))
        }
    }

    @Test(
        "of what is beside watched data, what is only read, and what is not enabled nothing is told"
    )
    func unwatched() throws {
        // mov [ebx], eax; mov [ebx + 8], eax; mov eax, [ebx + 4]
        for instruction in [[0x89, 0x03], [0x89, 0x43, 0x08], [0x8B, 0x43, 0x04]] as [[UInt8]] {
            let machine = try M()
            #expect(
                machine.run(load(3, M.data) + watch(M.data + 4, writes) + instruction)
                    == .halt(false))
        }
        for control in [0xD_0000, 0xD_0004, 0xE_0001] as [UInt32] {
            let machine = try M()
            #expect(
                machine.run(watch(M.data + 4, control) + storeAccumulator(M.data + 4))
                    == .halt(false))
            #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF0)
        }
    }

    @Test("a read of watched data is told behind its instruction, and HLT halts meanwhile")
    func watchedRead() throws {
        let machine = try M()
        let code =
            load(1, 0) + watch(M.data + 4, reads) + loadAccumulator(M.data)
            + loadAccumulator(M.data + 6)
        #expect(machine.run(code + [0x41]) == .event(1))
        #expect(machine.processor[.ecx] == 0 as UInt32)
        #expect(machine.stacked(0) == M.code + UInt32(code.count))
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF1)
        #expect(machine.run([0x41]) == .halt(false))
        #expect(machine.processor[.ecx] == 1 as UInt32)
    }

    @Test("a repeated string instruction is told of behind the round that hits, to be resumed")
    func watchedString() throws {
        let machine = try M()
        // rep stosb
        let code = load(7, M.data) + load(1, 8) + watch(M.data + 2, 0x1_0001)
        #expect(machine.run(code + [0xF3, 0xAA]) == .event(1))
        #expect(machine.processor[.ecx] == 5 as UInt32)
        #expect(machine.stacked(0) == M.code + UInt32(code.count))
        #expect(machine.stacked(2) & 0x1_0000 != 0)
    }

    @Test("an instruction's breakpoint is a fault in front of it, but once with the resume flag")
    func instruction() throws {
        for (flags, rounds) in [(2, 0), (0x1_0002, 1)] as [(UInt32, UInt32)] {
            let machine = try M()
            // inc ecx; jmp back
            machine.put([0x41, 0xEB, 0xFD], at: M.data)
            #expect(
                machine.run(
                    load(1, 0) + watch(M.data, 1) + push(flags) + push(UInt32(M.kernelCode))
                        + push(M.data) + [0xCF]) == .event(1))
            #expect(machine.processor[.ecx] == rounds)
            #expect(machine.stacked(0) == M.data && machine.stacked(2) & 0x1_0100 == 0)
            #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF1)
        }
    }

    @Test(
        "of an instruction that goes on only its watched read is told, and not its own breakpoint again"
    )
    func resumedRead() throws {
        let machine = try M()
        // mov eax, [ebx]; jmp to itself
        machine.put([0x8B, 0x03, 0xEB, 0xFE], at: M.data)
        // mov dr1, eax
        let second = load(3, M.data + 0x100) + load(0, M.data + 0x100) + [0x0F, 0x23, 0xC8]
        let frame = push(0x1_0002) + push(UInt32(M.kernelCode)) + push(M.data) + [0xCF]
        #expect(machine.run(second + watch(M.data, 0xF0_0005) + frame) == .event(1))
        #expect(machine.stacked(0) == M.data + 2)
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_0FF2)
    }

    @Test("a breakpoint in the middle of a block, and of an instruction, which has none")
    func middle() throws {
        let machine = try M()
        // Behind 21 bytes inc ecx, three times, the second with a prefix.
        for (offset, count) in [(1, 1), (2, 3)] as [(UInt32, UInt32)] {
            let code = load(1, 0) + watch(M.code + 21 + offset, 1) + [0x41, 0x3E, 0x41, 0x41]
            #expect(machine.run(code) == (count == 1 ? .event(1) : .halt(false)))
            #expect(machine.processor[.ecx] == count)
        }
    }

    @Test("DR7.GD makes a move of a debug register a fault, once")
    func general() throws {
        let machine = try M()
        // mov dr7, eax; mov ebx, dr0
        let code = load(0, 0x2000) + [0x0F, 0x23, 0xF8]
        #expect(machine.run(code + [0x0F, 0x21, 0xC3]) == .event(1))
        #expect(machine.stacked(0) == M.code + UInt32(code.count))
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_2FF0)
        #expect(machine.run([0x0F, 0x21, 0xC3]) == .halt(false))
    }

    @Test("a task with T is told of in front of its first instruction")
    func task() throws {
        let machine = try M()
        machine.makeTask(at: 0xC00, selector: 0x40, eip: M.data)
        machine.memory.store32(0xC00 + 0x64, 0x68 << 16 | 1)
        machine.put([0x41, 0xF4], at: M.data)
        #expect(machine.run([0xEA, 0, 0, 0, 0, 0x40, 0]) == .event(1))
        #expect(machine.stacked(0) == M.data)
        #expect(machine.processor.core.state.debug[6] == 0xFFFF_8FF0)
    }
}
