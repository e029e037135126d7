// Exact tests of the processor with ring 0: gates and their stacks, faults on the way, steps, SYSENTER.

import Testing

@testable import Mini

@Suite struct SystemGateTests {
    typealias M = SystemMachine

    // MARK: Gates and stacks

    @Test("INT n asks for the gate's privilege; a fault does not")
    func gatePrivilege() throws {
        let machine = try M()
        #expect(machine.runUser([0xCD, 0x80]) == .event(13))
        #expect(machine.stacked(0) == 0x80 * 8 + 2)
        machine.setGate(0x80, M.handlers + 0x800, access: 0xEE00)
        #expect(machine.runUser([0xCD, 0x80]) == .event(0x80))
        #expect(machine.stacked(0) == M.data + 2)
        #expect(machine.runUser([0x0F, 0x0B]) == .event(6))
    }

    @Test("that a program ran is remembered until somebody asks, and told in ring 0 as well")
    func ranProgram() throws {
        let machine = try M()
        #expect(machine.processor.ranProgram() == false)
        machine.runUser([0x0F, 0x0B])
        #expect(machine.processor.privilege == 0)
        #expect(machine.processor.ranProgram() == true)
        #expect(machine.processor.ranProgram() == false)
    }

    @Test("a gate to ring 0 takes the stack out of the task, and pushes the old one")
    func stackSwitch() throws {
        let machine = try M()
        machine.runUser([0x0F, 0x0B])
        #expect(machine.processor.privilege == 0)
        #expect(machine.processor[.esp] == M.ringStack - 20)
        #expect(machine.stacked(0) == M.data)
        #expect(machine.stacked(1) == UInt32(M.userCode))
        #expect(machine.stacked(3) == M.userStack)
        #expect(machine.stacked(4) == UInt32(M.userData))
    }

    @Test("a task too short to hold the stack is #TS with the task's selector")
    func shortTask() throws {
        let machine = try M()
        // #TS has a gate to ring 3, which needs no stack.
        machine.setGate(10, M.data + 0x100, access: 0xEE00, selector: M.userCode)
        machine.put([0xEB, 0xFE], at: M.data + 0x100)
        machine.store64(M.globalTable + 0x38, 0x0000_8900_0000_0009 | UInt64(M.task) << 16)
        machine.run([0x66, 0xB8, 0x38, 0, 0x0F, 0x00, 0xD8])
        #expect(machine.runUser([0x0F, 0x0B]) == .exit(.stretchEnded))
        #expect(machine.processor.privilege == 3)
        #expect(machine.stacked(0) == 0x38 | 1)
    }

    @Test("a stack segment that is not the ring's is #TS with its selector")
    func wrongRingStack() throws {
        let machine = try M()
        machine.memory.store32(M.task + 8, UInt32(M.userData))
        machine.setGate(10, M.data + 0x100, access: 0xEE00, selector: M.userCode)
        machine.put([0xEB, 0xFE], at: M.data + 0x100)
        #expect(machine.runUser([0x0F, 0x0B]) == .exit(.stretchEnded))
        #expect(machine.stacked(0) == UInt32(M.userData & ~3) | 1)
    }

    @Test("a vector behind the IDT's limit is a protection fault that names it")
    func shortTable() throws {
        let machine = try M()
        #expect(machine.run(lidt(M.interruptTable, 0xFF) + [0xCD, 0x20]) == .event(13))
        #expect(machine.stacked(0) == 0x102)
        // Half an entry is none.
        #expect(machine.run(lidt(M.interruptTable, 0x103) + [0xCD, 0x20]) == .event(13))
    }

    @Test("a fault on the way of a fault is a double fault, one on the way of that a shutdown")
    func doubleFault() throws {
        let machine = try M()
        machine.setGate(13, M.handlers, access: 0x0E00)
        #expect(machine.run([0xCD, 0x00, 0x0F, 0x22, 0xE0]) == .event(0))
        let unknown = setControl(4, 0x8000_0000)
        #expect(machine.run(unknown) == .event(8))
        #expect(machine.stacked(0) == 0)
        #expect(machine.stacked(1) == M.code + 5)
        machine.setGate(8, M.handlers, access: 0x0E00)
        #expect(machine.run(unknown) == .shutdown)
        // And it stays down.
        #expect(machine.proceed() == .shutdown)
    }

    @Test("an empty IDT and a breakpoint are a reboot: a triple fault")
    func tripleFault() throws {
        let machine = try M()
        #expect(machine.run(lidt(0, 0) + [0xCC]) == .shutdown)
    }

    @Test("a fault that does not add up is delivered in the place of the first")
    func benign() throws {
        let machine = try M()
        machine.setGate(6, M.handlers, access: 0x0E00)
        #expect(machine.run([0x0F, 0x0B]) == .event(11))
        #expect(machine.stacked(0) == 6 * 8 + 3)
    }

    @Test("the single step sets its bit in DR6")
    func singleStep() throws {
        let machine = try M()
        #expect(machine.run(push(0x102) + [0x9D, 0x90, 0x90]) == .event(1))
        #expect(machine.stacked(0) == M.code + 7)
        #expect(machine.run([0x0F, 0x21, 0xF0]) == .halt(false))
        #expect((machine.processor[.eax] as UInt32) & 0x4000 != 0)
    }

    @Test("a step over MOV to ss is told behind the next instruction, one over LSS at once")
    func stepOverStack() throws {
        let machine = try M()
        machine.memory.store32(M.data, 0x8000)
        machine.memory.store32(M.data + 4, 0x18)
        let step = load(0, 0x18) + push(0x102) + [0x9D]
        let next = M.code + UInt32(step.count)
        // mov ss, eax; inc eax; inc eax
        #expect(machine.run(step + [0x8E, 0xD0, 0x40, 0x40]) == .event(1))
        #expect(machine.stacked(0) == next + 3)
        // lss esp, [data]; inc eax
        #expect(
            machine.run(step + [0x0F, 0xB2, 0x25] + immediate(M.data) + [0x40]) == .event(1))
        #expect(machine.stacked(0) == next + 7)
        #expect(machine.processor[.esp] == 0x8000 - 12 as UInt32)
    }

    @Test("a store of the x87 that its own exception keeps from memory leaves CR2 alone")
    func withheldStore() throws {
        let machine = try M()
        machine.makeTables()
        machine.setEntry(0x5_0000, 0)
        machine.enablePaging()
        machine.memory.store32(M.data + 0x800, 0x037E)
        // fninit; fldcw [data + 800]; fstp qword [50000], of an empty register; mov eax, cr2
        let store = [0xDB, 0xE3, 0xD9, 0x2D] + immediate(M.data + 0x800)
        #expect(
            machine.run(store + [0xDD, 0x1D] + immediate(0x5_0000) + [0x0F, 0x20, 0xD0])
                == .halt(false))
        #expect(machine.processor[.eax] == 0 as UInt32)
    }

    // MARK: SYSENTER

    @Test("SYSENTER goes to ring 0 with interrupts off, SYSEXIT back to ring 3")
    func fastEntry() throws {
        let machine = try M()
        machine.run(
            writeModel(0x174, 0x10) + writeModel(0x175, 0xD000)
                + writeModel(0x176, UInt64(M.code + 0x800)))
        machine.put([0xF4], at: M.code + 0x800)
        #expect(machine.runUser([0x0F, 0x34], flags: 0x202) == .halt(false))
        #expect(machine.processor.eip == M.code + 0x801)
        #expect(machine.processor[.esp] == 0xD000 as UInt32)
        #expect(machine.processor.privilege == 0)
        #expect(machine.processor.eflags & 0x200 == 0)
        machine.put([0x0F, 0x0B], at: M.data + 0x40)
        #expect(
            machine.run(load(1, M.userStack) + load(2, M.data + 0x40) + [0x0F, 0x35]) == .event(6))
        #expect(machine.stacked(0) == M.data + 0x40)
        #expect(machine.stacked(1) == 0x23)
        #expect(machine.stacked(3) == M.userStack)
        #expect(machine.stacked(4) == 0x2B)
    }

    @Test("SYSENTER without a selector is a protection fault, SYSEXIT is ring 0's")
    func fastEntryRefused() throws {
        let machine = try M()
        #expect(machine.run([0x0F, 0x34]) == .event(13))
        #expect(machine.run([0x0F, 0x35]) == .event(13))
        machine.run(writeModel(0x174, 0x10))
        #expect(machine.runUser([0x0F, 0x35]) == .event(13))
    }
}
