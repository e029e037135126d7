// Exact tests of the processor with ring 0: the code segment's limit, the guest's tables, what is marked in them.

import Testing

@testable import Mini

@Suite struct SystemTableTests {
    typealias M = SystemMachine

    // MARK: The code segment's limit

    /// Far to code of 0x38, whose last byte is a page's last.
    private func limited(_ bytes: [UInt8], at address: UInt32, flags: UInt32 = 2) throws -> M {
        let machine = try M()
        machine.store64(M.globalTable + 0x38, 0x00C0_9B00_0000_0020)
        machine.put(bytes + [0xF4], at: address)
        machine.put(push(flags) + push(0x38) + push(address) + [0xCF])
        machine.processor.eip = M.code
        machine.processor[.eax] = 7 as UInt32
        return machine
    }

    @Test(
        "an instruction that goes over its segment's limit is not executed, nor its page asked for")
    func crossesLimit() throws {
        let end: UInt32 = 0x2_1000
        // One that ends there is.
        for (place, isExecuted) in [(end - 2, false), (end - 4, false), (end - 5, true)]
            as [(UInt32, Bool)]
        {
            for (flags, count) in [(2, 10_000), (2, 5), (0x102, 10_000)] as [(UInt32, Int)] {
                let machine = try limited(load(0, 0x1234_5678), at: place, flags: flags)
                let isStep = isExecuted && flags != 2
                let isLeft = isExecuted && count == 5
                let exit = machine.processor.run(instructions: count)
                #expect((exit == .stretchEnded) == (count == 5))
                let eax: UInt32 = machine.processor[.eax]
                #expect(eax == (isExecuted ? 0x1234_5678 : 7))
                if isLeft { continue }
                #expect(machine.processor.eip & ~1 == M.handlers + (isStep ? 1 : 13) * 16)
                #expect(machine.stacked(isStep ? 0 : 1) == (isExecuted ? end : place))
            }
        }
        let machine = try limited(load(0, 0x1234_5678), at: end - 2)
        machine.makeTables()
        machine.setEntry(end, 0)
        machine.put(setControl(3, M.directory) + setControl(0, 0x8001_0011) + [0xF4], at: M.data)
        machine.processor.eip = M.data
        #expect(machine.proceed() == .halt(false))
        machine.processor.eip = M.code
        #expect(machine.proceed() == .event(13))
        #expect(machine.stacked(0) == 0 && machine.stacked(1) == end - 2)
    }

    @Test(
        "a near branch to behind its segment's limit faults itself, and has done nothing",
        arguments: [
            // call, jmp, je; cmp eax, eax and je; loop; mov ecx, 0 and jecxz
            ([], [0xE8, 0x40, 0, 0, 0]), ([], [0xE9, 0x40, 0, 0, 0]), ([], [0xEB, 0x40]),
            ([], [0x74, 0x40]), ([], [0x0F, 0x84, 0x40, 0, 0, 0]), ([0x39, 0xC0], [0x74, 0x40]),
            ([], [0xE2, 0x40]), ([0xB9, 0, 0, 0, 0], [0xE3, 0x40]),
            // push 21010 and ret; the same and ret 4; call ebx; jmp ebx; call [20000]; jmp [20000]
            ([0x68, 0x10, 0x10, 2, 0], [0xC3]), ([0x68, 0x10, 0x10, 2, 0], [0xC2, 4, 0]),
            ([], [0xFF, 0xD3]), ([], [0xFF, 0xE3]), ([], [0xFF, 0x15, 0, 0, 2, 0]),
            ([], [0xFF, 0x25, 0, 0, 2, 0]),
        ] as [([UInt8], [UInt8])])
    func branchesOverLimit(_ first: [UInt8], _ branch: [UInt8]) throws {
        let place: UInt32 = 0x2_0FE0
        // ZF is set.
        let machine = try limited(first + branch, at: place, flags: 0x42)
        machine.memory.store32(M.data, 0x2_1010)
        machine.processor[.ebx] = 0x2_1010 as UInt32
        machine.processor[.ecx] = 5 as UInt32
        let top: UInt32 = machine.processor[.esp]
        #expect(machine.proceed() == .event(13))
        #expect(machine.stacked(0) == 0)
        #expect(machine.stacked(1) == place + UInt32(first.count))
        let esp: UInt32 = machine.processor[.esp]
        let ecx: UInt32 = machine.processor[.ecx]
        #expect(top - esp == (first.first == 0x68 ? 20 : 16))
        #expect(ecx == (first.first == 0xB9 ? 0 : 5))
    }

    @Test("a branch that is not taken at the segment's end is done, and the fault behind it")
    func notTakenAtLimit() throws {
        let end: UInt32 = 0x2_1000
        // jne; loop
        for branch in [[0x75, 0x10], [0xE2, 0x10]] as [[UInt8]] {
            let machine = try limited(branch, at: end - 2, flags: 0x42)
            machine.processor[.ecx] = 1 as UInt32
            #expect(machine.proceed() == .event(13))
            #expect(machine.stacked(1) == end)
            let ecx: UInt32 = machine.processor[.ecx]
            #expect(ecx == (branch[0] == 0xE2 ? 0 : 1))
        }
    }

    // MARK: Tables

    @Test("SGDT, SIDT, STR and SLDT tell of the guest's own tables")
    func storeTables() throws {
        let machine = try M()
        machine.run(
            [0x0F, 0x01, 0x05] + immediate(0x5000) + [0x0F, 0x01, 0x0D] + immediate(0x5010)
                + [0x0F, 0x00, 0xC8, 0x0F, 0x00, 0xC3])
        #expect(machine.word(0x5000) == M.globalTable << 16 | 0x7F)
        #expect(machine.word(0x5010) == M.interruptTable << 16 | 0x7FF)
        #expect(machine.processor[.eax] == UInt32(M.taskSelector))
        #expect(machine.processor[.ebx] == 0 as UInt32)
    }

    @Test("LTR takes a free task, and makes it busy")
    func loadTask() throws {
        let machine = try M()
        #expect(machine.word(M.globalTable + 0x24) & 0xF00 == 0xB00)
        #expect(machine.run([0x66, 0xB8, 0x20, 0, 0x0F, 0x00, 0xD8]) == .event(13))
        #expect(machine.stacked(0) == 0x20)
        #expect(machine.run([0x66, 0xB8, 0x00, 0, 0x0F, 0x00, 0xD8]) == .event(13))
        machine.store64(M.globalTable + 0x38, 0x0000_0900_0000_0067)
        #expect(machine.run([0x66, 0xB8, 0x38, 0, 0x0F, 0x00, 0xD8]) == .event(11))
        #expect(machine.stacked(0) == 0x38)
    }

    @Test("selectors of the LDT name its descriptors; without one there are none")
    func localTable() throws {
        let machine = try M()
        #expect(machine.run([0xB8] + immediate(0x0C) + [0x8E, 0xC0]) == .event(13))
        #expect(machine.stacked(0) == 0x0C)
        machine.store64(M.globalTable + 0x38, 0x0000_8200_0000_000F | 0x5000 << 16)
        machine.store64(0x5008, 0x0040_9300_0000_0FFF | 0x4000 << 16)
        machine.memory.store32(0x4010, 0xCAFE)
        #expect(
            machine.run(
                [0x66, 0xB8, 0x38, 0, 0x0F, 0x00, 0xD0, 0xB8] + immediate(0x0C)
                    + [0x8E, 0xC0, 0x26, 0xA1] + immediate(0x10)) == .halt(false))
        #expect(machine.processor[.eax] == 0xCAFE as UInt32)
        #expect(machine.run([0xB8] + immediate(0x14) + [0x8E, 0xC0]) == .event(13))
        #expect(machine.run([0x66, 0xB8, 0x18, 0, 0x0F, 0x00, 0xD0]) == .event(13))
    }

    @Test("a load of a segment marks its descriptor, in the guest's table")
    func accessed() throws {
        let machine = try M()
        machine.store64(M.globalTable + 0x38, 0x00CF_9200_0000_FFFF)
        machine.run([0xB8] + immediate(0x38) + [0x8E, 0xC0])
        #expect(machine.word(M.globalTable + 0x3C) & 0x100 != 0)
        // The limit is the table's.
        #expect(
            machine.run(lgdt(M.globalTable, 0x3E) + [0xB8] + immediate(0x38) + [0x8E, 0xC0])
                == .event(13))
    }

    /// Whether a descriptor is marked.
    private func isAccessed(_ machine: M, _ selector: UInt32) -> Bool {
        machine.word(M.globalTable + selector + 4) & 0x100 != 0
    }

    @Test("jumps, calls, returns, gates and task switches mark the code that they go to")
    func accessedCode() throws {
        let other: UInt32 = 0xC00
        let jump = [0xEA] + immediate(M.data) + [0x48, 0]
        let call = [0x9A] + immediate(M.data) + [0x48, 0]
        let farReturn = push(0x48) + push(M.data) + [0xCB]
        let interruptReturn = push(2) + push(0x48) + push(M.data) + [0xCF]
        // By a call gate, one in the IDT, a task.
        let others: [[UInt8]] = [
            [0x9A, 0, 0, 0, 0, 0x50, 0], [0xCD, 0x80], [0xEA, 0, 0, 0, 0, 0x40, 0],
        ]
        for bytes in [jump, call, farReturn, interruptReturn] + others {
            let machine = try M()
            machine.put([0xF4], at: M.data)
            machine.store64(M.globalTable + 0x48, 0x00CF_9A00_0000_FFFF)
            machine.store64(M.globalTable + 0x50, 0x0002_8C00_0048_0000)
            machine.setGate(0x80, M.data, selector: 0x48)
            machine.makeTask(at: other, selector: 0x40, eip: M.data)
            machine.memory.store32(other + 0x4C, 0x48)
            #expect(machine.run(bytes) == .halt(false))
            #expect(machine.processor.eip == M.data + 1)
            #expect(isAccessed(machine, 0x48))
        }
    }

    @Test("a return to ring 3 marks its code and its stack, the way back the stack of ring 0")
    func accessedOutward() throws {
        for flags in [push(2), []] {
            let machine = try M()
            machine.store64(M.globalTable + 0x28, 0x00CF_FA00_0000_FFFF)
            machine.store64(M.globalTable + 0x30, 0x00CF_F200_0000_FFFF)
            machine.store64(M.globalTable + 0x18, 0x00CF_9200_0000_FFFF)
            machine.put([0x0F, 0x0B], at: M.data)
            let frame = push(UInt32(M.userData)) + push(M.userStack) + flags
            let place = push(UInt32(M.userCode)) + push(M.data)
            #expect(machine.run(frame + place + [flags.isEmpty ? 0xCB : 0xCF]) == .event(6))
            #expect(isAccessed(machine, 0x28) && isAccessed(machine, 0x30))
            #expect(isAccessed(machine, 0x18))
        }
    }

    @Test(
        "LGDT, LIDT, LLDT, LTR, LMSW, CLTS, INVLPG, HLT and the moves to control registers are ring 0's"
    )
    func privileged() throws {
        let machine = try M()
        let memory = immediate(0x5000)
        for bytes in [
            [0x0F, 0x01, 0x15] + memory, [0x0F, 0x01, 0x1D] + memory, [0x0F, 0x00, 0xD0],
            [0x0F, 0x00, 0xD8], [0x0F, 0x01, 0xF0], [0x0F, 0x06], [0x0F, 0x01, 0x3D] + memory,
            [0xF4], [0x0F, 0x22, 0xC0], [0x0F, 0x20, 0xC0], [0x0F, 0x21, 0xC0], [0x0F, 0x23, 0xC0],
            [0x0F, 0x32], [0x0F, 0x30], [0x0F, 0x08], [0x0F, 0x09],
        ] as [[UInt8]] {
            #expect(machine.runUser(bytes) == .event(13))
            #expect(machine.stacked(1) == M.data)
        }
    }
}
