// Exact tests of the processor with ring 0: tasks that gates, jumps, calls and returns lead to.

import Testing

@testable import Mini

@Suite struct SystemTaskTests {
    typealias M = SystemMachine

    /// Far to a selector.
    private func far(_ opcode: UInt8, _ selector: UInt8) -> [UInt8] {
        [opcode, 0, 0, 0, 0, selector, 0]
    }
    private let jumpFar: UInt8 = 0xEA
    private let callFar: UInt8 = 0x9A
    private let otherTask: UInt32 = 0xC00

    /// The type in a descriptor.
    private func descriptorType(_ machine: M, _ selector: UInt32) -> UInt32 {
        machine.word(M.globalTable + selector + 4) >> 8 & 0xF
    }

    @Test("a double fault through a task gate finds a task of its own, with a link to the old one")
    func taskGate() throws {
        let machine = try M()
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
        machine.memory.store32(otherTask + 0x28, 0x1111)
        machine.setTaskGate(8, 0x40)
        machine.setGate(13, M.handlers, access: 0x0E00)
        machine.put([0xF4], at: M.data)
        #expect(machine.run(load(3, 0x3333) + setControl(4, 0x8000_0000)) == .halt(false))
        #expect(machine.processor.eip == M.data + 1)
        #expect(machine.processor[.eax] == 0x1111 as UInt32)
        // The error code, on the new task's stack.
        #expect(machine.processor[.esp] == 0xCFFC as UInt32)
        #expect(machine.stacked(0) == 0)
        #expect(machine.processor.eflags & 0x4000 != 0)
        #expect(machine.word(otherTask) & 0xFFFF == UInt32(M.taskSelector))
        #expect(machine.word(M.globalTable + 0x44) & 0xF00 == 0xB00)
        // What it left is in the old task.
        #expect(machine.word(M.task + 0x20) == M.code + 10)
        #expect(machine.word(M.task + 0x34) == 0x3333)
        // CR0.TS is set.
        #expect(machine.run([0x0F, 0x20, 0xC0]) == .halt(false))
        #expect((machine.processor[.eax] as UInt32) & 8 != 0)
    }

    @Test("IRET of a nested task goes back to the task that it was entered from")
    func taskReturn() throws {
        let machine = try M()
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
        machine.setTaskGate(0x80, 0x40)
        machine.put([0xCF], at: M.data)
        #expect(machine.run(load(3, 0x3333) + [0xCD, 0x80]) == .halt(false))
        #expect(machine.processor.eip == M.code + 8)
        #expect(machine.processor[.ebx] == 0x3333 as UInt32)
        #expect(machine.word(M.globalTable + 0x44) & 0xF00 == 0x900)
        #expect(machine.word(M.globalTable + 0x24) & 0xF00 == 0xB00)
    }

    @Test(
        "a task with an LDT that is none, or that is not present, is #TS with the LDT's selector",
        arguments: [
            0x0000_9200_0000_0067, 0x0000_0200_0000_0067, 0x0000_8900_0000_0067,
        ] as [UInt64])
    func taskWithoutLocalTable(_ descriptor: UInt64) throws {
        let machine = try M()
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
        machine.memory.store32(otherTask + 0x60, 0x48)
        machine.store64(M.globalTable + 0x48, descriptor)
        machine.setTaskGate(0x80, 0x40)
        // The new task has no segments yet: #TS is for a task of its own, as is customary.
        let third: UInt32 = 0xC80
        machine.makeTask(at: third, selector: 0x50, eip: M.handlers + 10 * 16)
        machine.memory.store32(third + 0x38, 0xE000)
        machine.setTaskGate(10, 0x50)
        #expect(machine.run([0xCD, 0x80]) == .event(10))
        #expect(machine.stacked(0) == 0x48)
    }

    @Test("JMP to a TSS, or to a task gate, goes on in that task and leaves the old one free")
    func jumpToTask() throws {
        for selector in [0x40, 0x48] as [UInt8] {
            let machine = try M()
            machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
            machine.store64(M.globalTable + 0x48, 0x0000_8500_0000_0000 | 0x40 << 16)
            // pushfd; pop eax; mov ebx, cr0, and back.
            machine.put([0x9C, 0x58, 0x0F, 0x20, 0xC3] + far(jumpFar, 0x20), at: M.data)
            let code = load(0, 7) + load(3, 0x3333) + far(jumpFar, selector)
            #expect(machine.run(code) == .halt(false))
            #expect(machine.processor.eip == M.code + 18)
            #expect(machine.processor[.eax] == 7 as UInt32)
            #expect(machine.processor[.ebx] == 0x3333 as UInt32)
            #expect(machine.processor.eflags & 0x4000 == 0)
            #expect(descriptorType(machine, 0x40) == 9 && descriptorType(machine, 0x20) == 0xB)
            // What the other one was left with: not nested, CR0.TS.
            #expect(machine.word(otherTask) == 0)
            #expect(machine.word(otherTask + 0x20) == M.data + 12)
            #expect(machine.word(otherTask + 0x28) & 0x4000 == 0)
            #expect(machine.word(otherTask + 0x34) & 8 != 0)
        }
    }

    @Test("CALL to a TSS, or to a task gate, nests that task, and its IRET comes back")
    func callOfTask() throws {
        for selector in [0x40, 0x48] as [UInt8] {
            let machine = try M()
            machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
            machine.store64(M.globalTable + 0x48, 0x0000_8500_0000_0000 | 0x40 << 16)
            // pushfd; pop eax; hlt; iretd
            machine.put([0x9C, 0x58, 0xF4, 0xCF], at: M.data)
            #expect(machine.run(load(3, 0x3333) + far(callFar, selector)) == .halt(false))
            #expect(machine.processor.eip == M.data + 3)
            #expect((machine.processor[.eax] as UInt32) & 0x4000 != 0)
            #expect(machine.word(otherTask) == UInt32(M.taskSelector))
            #expect(descriptorType(machine, 0x40) == 0xB && descriptorType(machine, 0x20) == 0xB)
            #expect(machine.proceed() == .halt(false))
            #expect(machine.processor.eip == M.code + 13)
            #expect(machine.processor[.ebx] == 0x3333 as UInt32)
            #expect(machine.processor.eflags & 0x4000 == 0)
            #expect(descriptorType(machine, 0x40) == 9 && descriptorType(machine, 0x20) == 0xB)
        }
    }

    @Test("a task that is busy, not present, too short or not for this ring is not entered")
    func refusedTask() throws {
        let machine = try M()
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
        let place = UInt64(otherTask) << 16
        for opcode in [jumpFar, callFar] {
            // The present one.
            #expect(machine.run(far(opcode, 0x20)) == .event(13))
            #expect(machine.stacked(0) == 0x20)
            for (descriptor, vector) in [
                (0x0000_0900_0000_0067, 11), (0x0000_8900_0000_0066, 10),
                (0x0000_8100_0000_002A, 10), (0x0000_8200_0000_0067, 13),
            ] as [(UInt64, Int)] {
                machine.store64(M.globalTable + 0x40, descriptor | place)
                #expect(machine.run(far(opcode, 0x40)) == .event(vector))
                #expect(machine.stacked(0) == 0x40)
            }
            machine.store64(M.globalTable + 0x40, 0x0000_8900_0000_0067 | place)
            #expect(machine.runUser(far(opcode, 0x43)) == .event(13))
            #expect(machine.stacked(0) == 0x40)
            // Gates: not present, to a busy task, to what is none.
            for (gate, vector, selector) in [
                (0x0000_0500_0040_0000, 11, 0x48), (0x0000_8500_0020_0000, 13, 0x20),
                (0x0000_8500_0018_0000, 13, 0x18),
            ] as [(UInt64, Int, UInt32)] {
                machine.store64(M.globalTable + 0x48, gate)
                #expect(machine.run(far(opcode, 0x48)) == .event(vector))
                #expect(machine.stacked(0) == selector)
            }
        }
        #expect(descriptorType(machine, 0x40) == 9 && descriptorType(machine, 0x20) == 0xB)
    }

    @Test("what is wrong with a task's segments is told at its own first instruction")
    func faultOfNewTask() throws {
        let machine = try M()
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data, ds: 0x68)
        #expect(machine.run(load(3, 0) + far(jumpFar, 0x40)) == .event(10))
        #expect(machine.stacked(0) == 0x68 && machine.stacked(1) == M.data)
        #expect(machine.processor[.esp] == 0xD000 - 16 as UInt32)
    }

    @Test("a task of a TSS of 16 bits is entered and left by JMP, CALL and a gate in the IDT")
    func smallTask() throws {
        for (enter, leave) in [
            (far(jumpFar, 0x40), far(jumpFar, 0x20)), (far(callFar, 0x40), [0xCF]),
            ([0xCD, 0x80], [0xCF]),
        ] as [([UInt8], [UInt8])] {
            let machine = try M()
            machine.setTaskGate(0x80, 0x40)
            machine.store64(M.globalTable + 0x40, 0x0000_8100_0000_002B | UInt64(otherTask) << 16)
            for offset in stride(from: 0, to: 0x2C, by: 4) as StrideTo<UInt32> {
                machine.memory.store32(otherTask + offset, 0)
            }
            // ip, flags, bx, sp; es, cs, ss, ds.
            machine.put([0x00, 0x48, 2, 0], at: otherTask + 0xE)
            machine.put([0xFF, 0xFF, 0x00, 0x80], at: otherTask + 0x18)
            machine.put([0x18, 0, 0x10, 0, 0x18, 0, 0x18, 0], at: otherTask + 0x22)
            // mov eax, ...; mov ebx, fs, and back.
            machine.put(load(0, 0x1234_5678) + [0x8C, 0xE3] + leave, at: 0x4800)
            // mov fs, eax; and behind it mov ecx, fs.
            let start = load(0, 0x18) + [0x8E, 0xE0]
            #expect(machine.run(start + enter + [0x8C, 0xE1]) == .halt(false))
            #expect(machine.processor.eip == M.code + UInt32(start.count + enter.count) + 3)
            #expect(machine.processor[.eax] == 0x18 as UInt32)
            #expect(machine.processor[.ecx] == 0x18 as UInt32)
            #expect(descriptorType(machine, 0x40) == 1 && descriptorType(machine, 0x20) == 0xB)
            let next = UInt8(7 + leave.count)
            #expect(machine.bytes(otherTask + 0xE, 2) == [next, 0x48])
            #expect(machine.bytes(otherTask + 0x12, 2) == [0x78, 0x56])
            #expect(machine.bytes(otherTask + 0x18, 4) == [0, 0, 0x00, 0x80])
        }
    }

    @Test("a switch to a task with the same CR3 reads the first level of PAE paging again")
    func taskWithPointers() throws {
        let machine = try M()
        machine.enableExtension(noExecute: false)
        machine.makeTask(at: otherTask, selector: 0x40, eip: M.data, directory: M.pointers)
        machine.memory.store32(M.data + 0x800, 0xCAFE)
        machine.put(loadAccumulator(0x4000_0800 + M.data) + [0xF4], at: M.data)
        machine.store64(M.pointers + 8, UInt64(M.wideDirectory) | 1)
        #expect(machine.run(far(jumpFar, 0x40)) == .halt(false))
        #expect(machine.processor[.eax] == 0xCAFE as UInt32)
    }
}
