// Exact tests of the processor with ring 0: entry, interrupt flag, gates and stacks, tables, control registers.

import Testing

@testable import Mini

@Suite struct SystemTests {
    typealias M = SystemMachine

    // MARK: Entry

    @Test(
        "a kernel starts at ring 0 with paging off, flat segments, boot_params in esi and interrupts off"
    )
    func start() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let processor = try SystemProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .protected32, entry: 0x12340, stack: 0x8FF0, parameters: 0x7000,
                globalTable: 0x500, globalTableLimit: 0x27))
        #expect(processor.eip == 0x12340)
        #expect(processor[.esp] == 0x8FF0 as UInt32)
        #expect(processor[.esi] == 0x7000 as UInt32)
        #expect(processor.eflags == 2)
        #expect(processor.privilege == 0)
        #expect(!processor.canInject)
    }

    @Test("a 64-bit start is refused")
    func longMode() throws {
        let memory = try GuestMemory(count: 1 << 20)
        #expect(throws: Errno.noDevice) {
            _ = try SystemProcessor(
                memory: memory,
                start: ProcessorStart(
                    mode: .long64(pageTable: 0x9000), entry: 0x10000, stack: 0x8FF0,
                    parameters: 0x7000, globalTable: 0x500, globalTableLimit: 0x27))
        }
    }

    @Test("it says that it is an AMD of family 6, in a machine with KVM's clock")
    func identity() throws {
        let machine = try M()
        machine.run(load(0, 0) + [0x0F, 0xA2])
        #expect(machine.processor[.ebx] == 0x6874_7541 as UInt32)
        machine.run(load(0, 1) + [0x0F, 0xA2])
        let features: UInt32 = machine.processor[.edx]
        // FPU, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV; no APIC.
        #expect(features & 0xA979 == 0xA979)
        #expect(features & (1 << 9) == 0)
        #expect(machine.processor[.ecx] == 0x8000_0000 as UInt32)
        machine.run(load(0, 0x4000_0000) + [0x0F, 0xA2])
        #expect(machine.processor[.ebx] == 0x4B4D_564B as UInt32)
        machine.run(load(0, 0x4000_0001) + [0x0F, 0xA2])
        #expect((machine.processor[.eax] as UInt32) & (1 | 1 << 3) == 1 | 1 << 3)
        machine.run(load(0, 0x8000_0001) + [0x0F, 0xA2])
        #expect((machine.processor[.edx] as UInt32) & (1 << 20) != 0)
    }

    @Test("KVM's hypercalls are there and do nothing: there is no such call, and none for programs")
    func hypercalls() throws {
        let machine = try M()
        for code in [[0x0F, 0x01, 0xC1], [0x0F, 0x01, 0xD9]] as [[UInt8]] {
            #expect(machine.run(load(0, 9) + code) == .halt(false))
            #expect(machine.processor[.eax] == 0xFFFF_FC18 as UInt32)
            // HLT ends ring 3.
            #expect(machine.runUser(load(0, 9) + code) == .event(13))
            #expect(machine.stacked(1) == M.data + 8)
            #expect(machine.processor[.eax] == 0xFFFF_FFFF as UInt32)
        }
        // VMLAUNCH and VMRUN are not.
        #expect(machine.run([0x0F, 0x01, 0xC2]) == .event(6))
        #expect(machine.run([0x0F, 0x01, 0xD8]) == .event(6))
    }

    // MARK: The interrupt flag

    @Test("CLI and STI are ring 0's, or IOPL's")
    func interruptFlag() throws {
        let machine = try M()
        #expect(machine.run([0xFB]) == .halt(true))
        #expect(machine.run([0xFB, 0xFA]) == .halt(false))
        #expect(machine.runUser([0xFA]) == .event(13))
        #expect(machine.stacked(0) == 0)
        #expect(machine.stacked(1) == M.data)
        // HLT is ring 0's alone.
        #expect(machine.runUser([0xFB, 0x90], flags: 0x3002) == .event(13))
        #expect(machine.stacked(1) == M.data + 2)
        #expect(machine.stacked(3) & 0x3200 == 0x3200)
    }

    @Test("POPF changes IF and IOPL as far as the ring may")
    func popFlags() throws {
        let machine = try M()
        machine.run(push(0x3202) + [0x9D])
        #expect(machine.processor.eflags == 0x3202)
        // At ring 3 neither.
        machine.processor.eflags = 2
        machine.runUser(push(0x3202) + [0x9D], flags: 2)
        #expect(machine.stacked(3) & 0x3200 == 0)
        // With IOPL 3 the flag, and not IOPL.
        machine.runUser(push(0x202) + [0x9D], flags: 0x3002)
        #expect(machine.stacked(3) & 0x3200 == 0x3200)
    }

    @Test("IRET of ring 3 does not change IF and IOPL")
    func interruptReturn() throws {
        let machine = try M()
        let target = M.data + 0x100
        machine.put([0xF4], at: target)
        machine.runUser(
            push(0x3202) + push(UInt32(M.userCode)) + push(target) + [0xCF], flags: 2)
        #expect(machine.stacked(1) == target)
        #expect(machine.stacked(3) & 0x3200 == 0)
    }

    @Test("IRET to virtual 8086 mode is a protection fault")
    func virtual8086() throws {
        let machine = try M()
        #expect(machine.run(push(0x20002) + push(0x10) + push(M.data) + [0xCF]) == .event(13))
        #expect(machine.stacked(0) == 0)
    }

    @Test("an interrupt gate clears IF, a trap gate leaves it")
    func gates() throws {
        let machine = try M()
        let handler = M.handlers + 0x80 * 16
        #expect(machine.run([0xFB, 0xCD, 0x80]) == .event(0x80))
        #expect(machine.processor.eflags & 0x200 == 0)
        #expect(machine.stacked(2) & 0x200 != 0)
        machine.setGate(0x80, handler, access: 0x8F00)
        #expect(machine.run([0xFB, 0xCD, 0x80]) == .event(0x80))
        #expect(machine.processor.eflags & 0x200 != 0)
    }

    @Test("a 16-bit gate pushes words")
    func smallGate() throws {
        let machine = try M()
        machine.put([0xF4], at: 0x4800)
        machine.setGate(0x80, 0x1234_4800, access: 0x8600)
        let esp: UInt32 = 0x9000
        #expect(machine.run(load(4, esp) + [0xCD, 0x80]) == .halt(false))
        #expect(machine.processor.eip == 0x4801)
        #expect(machine.processor[.esp] == esp - 6)
        #expect(machine.word(esp - 6) == UInt32(M.kernelCode) << 16 | (M.code + 7) & 0xFFFF)
    }

    // MARK: Windows

    @Test("an interrupt may come after the instruction behind STI, no sooner")
    func interruptShadow() throws {
        let machine = try M()
        machine.processor.awaitsInterruptWindow = true
        machine.put([0xFB, 0x40, 0x40, 0xF4])
        machine.processor.eip = M.code
        machine.processor[.eax] = 0 as UInt32
        #expect(machine.processor.run(until: nil, atMost: nil) == .interruptWindow)
        #expect(machine.processor.eip == M.code + 2)
        #expect(machine.processor[.eax] == 1 as UInt32)
        #expect(machine.processor.canInject)
    }

    @Test("STI right before HLT is one wait: the interrupt wakes it")
    func setAndHalt() throws {
        let machine = try M()
        machine.processor.awaitsInterruptWindow = true
        machine.put([0xFB, 0xF4])
        machine.processor.eip = M.code
        #expect(
            machine.processor.run(until: nil, atMost: nil) == .halt(interruptsEnabled: true))
        #expect(machine.processor.canInject)
        machine.processor.inject(0x30, errorCode: 0)
        #expect(machine.proceed() == .event(0x30))
        #expect(machine.stacked(0) == M.code + 2)
        #expect(machine.stacked(2) & 0x200 != 0)
    }

    @Test("a second STI shadows nothing")
    func secondSet() throws {
        let machine = try M()
        machine.processor.awaitsInterruptWindow = true
        machine.put([0xFB, 0xFB, 0x40, 0xF4])
        machine.processor.eip = M.code
        #expect(machine.processor.run(until: nil, atMost: nil) == .interruptWindow)
        #expect(machine.processor.eip == M.code + 2)
    }

    @Test("a run that ends in the shadow of STI cannot take an interrupt yet")
    func endInShadow() throws {
        let machine = try M()
        machine.put([0xFB, 0x40, 0xF4])
        machine.processor.eip = M.code
        #expect(machine.processor.run(instructions: 1) == .stretchEnded)
        #expect(machine.processor.eflags & 0x200 != 0)
        #expect(!machine.processor.canInject)
        #expect(machine.processor.run(instructions: 1) == .stretchEnded)
        #expect(machine.processor.canInject)
    }

    @Test(
        "an interrupt comes behind the instruction after STI also where that goes on to known code",
        // ret; ret 4; jmp eax; call eax; jmp [ecx]; call [ecx]
        arguments: [
            [0xC3], [0xC2, 4, 0], [0xFF, 0xE0], [0xFF, 0xD0], [0xFF, 0x21], [0xFF, 0x11],
        ]
            as [[UInt8]])
    func shadowOfJump(_ bytes: [UInt8]) throws {
        let machine = try M()
        let target = M.code + 5
        // call; inc ebx; cli; hlt, and what is called.
        machine.put([0xE8, 0x0B, 0, 0, 0, 0x43, 0xFA, 0xF4])
        machine.put([0xFB] + bytes, at: M.code + 0x10)
        machine.memory.store32(M.data, target)
        var before: UInt64 = 0
        for (awaits, seen) in [(false, .halt(false)), (true, .exit(.interruptWindow))]
            as [(Bool, M.Seen)]
        {
            machine.processor.awaitsInterruptWindow = awaits
            machine.processor.eip = M.code
            machine.processor[.eax] = target
            machine.processor[.ecx] = M.data
            machine.processor[.ebx] = 0 as UInt32
            before = machine.processor.instructionCount
            #expect(machine.proceed() == seen)
        }
        #expect(machine.processor.eip == target)
        #expect(machine.processor[.ebx] == 0 as UInt32)
        #expect(machine.processor.instructionCount - before == 3)
    }

    @Test("looks at the window cost no instructions, and end no run")
    func windowAndCount() throws {
        let machine = try M()
        machine.processor.awaitsInterruptWindow = true
        // sti; cli; jmp
        machine.put([0xFB, 0xFA, 0xEB, 0xFC])
        machine.processor.eip = M.code
        let before = machine.processor.instructionCount
        for count in [1, 2, 4, 100] {
            #expect(machine.processor.run(instructions: count) == .stretchEnded)
        }
        #expect(machine.processor.instructionCount - before == 107)
    }

    @Test("a load of ss holds interrupts off for one instruction")
    func stackShadow() throws {
        let machine = try M()
        machine.processor.eflags = 0x202
        machine.put([0x8E, 0xD0, 0xBC] + immediate(0x8000) + [0x40, 0xF4])
        machine.processor.eip = M.code
        machine.processor[.eax] = 0x18 as UInt32
        #expect(machine.processor.run(instructions: 1) == .stretchEnded)
        #expect(!machine.processor.canInject)
        machine.processor.awaitsInterruptWindow = true
        #expect(machine.processor.run(until: nil, atMost: nil) == .interruptWindow)
        #expect(machine.processor[.esp] == 0x8000 as UInt32)
        #expect(machine.processor.eip == M.code + 7)
    }

    @Test("IF set by POPF and by IRET opens the window at once")
    func windowByReturn() throws {
        for bytes in [
            push(0x202) + [0x9D], push(0x202) + push(0x10) + push(M.code + 0x10) + [0xCF],
        ] {
            let machine = try M()
            machine.put([0xF4], at: M.code + 0x10)
            machine.put(bytes + [0x40])
            machine.processor.awaitsInterruptWindow = true
            machine.processor.eip = M.code
            #expect(machine.processor.run(until: nil, atMost: nil) == .interruptWindow)
        }
    }

    @Test("an interrupt from outside has no error code, whatever its vector")
    func outside() throws {
        let machine = try M()
        machine.processor.eflags = 0x202
        machine.processor.eip = M.code
        machine.processor.inject(8, errorCode: 0)
        #expect(machine.proceed() == .event(8))
        #expect(machine.stacked(0) == M.code)
        #expect(machine.stacked(1) == UInt32(M.kernelCode))
    }

    @Test("an interrupt whose gate cannot be used is a fault from outside")
    func outsideFault() throws {
        let machine = try M()
        machine.setGate(0x30, M.handlers, access: 0x0E00)
        machine.processor.inject(0x30, errorCode: 0)
        #expect(machine.proceed() == .event(11))
        #expect(machine.stacked(0) == 0x30 * 8 + 3)
    }

    @Test("a step over an access to a port or over HLT is told behind it, and before an interrupt")
    func stepOverExit() throws {
        let machine = try M()
        // mov eax, 0; push 0x102; popfd
        let step = load(0, 0) + push(0x102) + [0x9D]
        #expect(
            machine.run(step + [0xE6, 0x80, 0x90])
                == .exit(.portOutput(PortAccess(port: 0x80, size: 1), value: 0)))
        machine.processor.eflags |= 0x200
        #expect(!machine.processor.canInject)
        #expect(machine.proceed() == .event(1))
        #expect(machine.stacked(0) == M.code + UInt32(step.count) + 2)
        #expect(machine.run(step + [0xF4, 0x90]) == .event(1))
        #expect(machine.stacked(0) == M.code + UInt32(step.count) + 1)
    }

    @Test("INT1 asks for no privilege, and is told behind itself")
    func softwareStep() throws {
        let machine = try M()
        #expect(machine.runUser([0xF1]) == .event(1))
        #expect(machine.stacked(0) == M.data + 1)
        #expect(machine.runUser([0xCD, 1]) == .event(13))
    }

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

    @Test("a double fault through a task gate finds a task of its own, with a link to the old one")
    func taskGate() throws {
        let machine = try M()
        let other: UInt32 = 0xC00
        for offset in stride(from: 0, to: 0x68, by: 4) as StrideTo<UInt32> {
            machine.memory.store32(other + offset, 0)
        }
        for (offset, value) in [
            (0x20, M.data), (0x24, 2), (0x28, 0x1111), (0x38, 0xD000), (0x48, 0x18), (0x4C, 0x10),
            (0x50, 0x18), (0x54, 0x18), (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            machine.memory.store32(other + offset, value)
        }
        machine.store64(M.globalTable + 0x40, 0x0000_8900_0000_0067 | UInt64(other) << 16)
        machine.memory.store32(M.interruptTable + 8 * 8, 0x40 << 16)
        machine.memory.store32(M.interruptTable + 8 * 8 + 4, 0x8500)
        machine.setGate(13, M.handlers, access: 0x0E00)
        machine.put([0xF4], at: M.data)
        #expect(machine.run(load(3, 0x3333) + setControl(4, 0x8000_0000)) == .halt(false))
        #expect(machine.processor.eip == M.data + 1)
        #expect(machine.processor[.eax] == 0x1111 as UInt32)
        // The error code, on the new task's stack.
        #expect(machine.processor[.esp] == 0xCFFC as UInt32)
        #expect(machine.stacked(0) == 0)
        #expect(machine.processor.eflags & 0x4000 != 0)
        #expect(machine.word(other) & 0xFFFF == UInt32(M.taskSelector))
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
        let other: UInt32 = 0xC00
        for offset in stride(from: 0, to: 0x68, by: 4) as StrideTo<UInt32> {
            machine.memory.store32(other + offset, 0)
        }
        for (offset, value) in [
            (0x20, M.data), (0x24, 2), (0x38, 0xD000), (0x48, 0x18), (0x4C, 0x10), (0x50, 0x18),
            (0x54, 0x18), (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            machine.memory.store32(other + offset, value)
        }
        machine.store64(M.globalTable + 0x40, 0x0000_8900_0000_0067 | UInt64(other) << 16)
        machine.memory.store32(M.interruptTable + 0x80 * 8, 0x40 << 16)
        machine.memory.store32(M.interruptTable + 0x80 * 8 + 4, 0x8500)
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
        let other: UInt32 = 0xC00
        for offset in stride(from: 0, to: 0x68, by: 4) as StrideTo<UInt32> {
            machine.memory.store32(other + offset, 0)
        }
        for (offset, value) in [
            (0x20, M.data), (0x24, 2), (0x38, 0xD000), (0x48, 0x18), (0x4C, 0x10), (0x50, 0x18),
            (0x54, 0x18), (0x60, 0x48), (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            machine.memory.store32(other + offset, value)
        }
        machine.store64(M.globalTable + 0x40, 0x0000_8900_0000_0067 | UInt64(other) << 16)
        machine.store64(M.globalTable + 0x48, descriptor)
        machine.memory.store32(M.interruptTable + 0x80 * 8, 0x40 << 16)
        machine.memory.store32(M.interruptTable + 0x80 * 8 + 4, 0x8500)
        // The new task has no segments yet: #TS is for a task of its own, as is customary.
        let third: UInt32 = 0xC80
        for offset in stride(from: 0, to: 0x68, by: 4) as StrideTo<UInt32> {
            machine.memory.store32(third + offset, 0)
        }
        for (offset, value) in [
            (0x20, M.handlers + 10 * 16), (0x24, 2), (0x38, 0xE000), (0x48, 0x18), (0x4C, 0x10),
            (0x50, 0x18), (0x54, 0x18), (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            machine.memory.store32(third + offset, value)
        }
        machine.store64(M.globalTable + 0x50, 0x0000_8900_0000_0067 | UInt64(third) << 16)
        machine.memory.store32(M.interruptTable + 10 * 8, 0x50 << 16)
        machine.memory.store32(M.interruptTable + 10 * 8 + 4, 0x8500)
        #expect(machine.run([0xCD, 0x80]) == .event(10))
        #expect(machine.stacked(0) == 0x48)
    }

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
        let jump = [0xEA] + immediate(M.data) + [0x48, 0]
        let call = [0x9A] + immediate(M.data) + [0x48, 0]
        let farReturn = push(0x48) + push(M.data) + [0xCB]
        let interruptReturn = push(2) + push(0x48) + push(M.data) + [0xCF]
        // By a call gate, one in the IDT, a task.
        let others: [[UInt8]] = [[0x9A, 0, 0, 0, 0, 0x50, 0], [0xCD, 0x80], far(jumpFar, 0x40)]
        for bytes in [jump, call, farReturn, interruptReturn] + others {
            let machine = try M()
            machine.put([0xF4], at: M.data)
            machine.store64(M.globalTable + 0x48, 0x00CF_9A00_0000_FFFF)
            machine.store64(M.globalTable + 0x50, 0x0002_8C00_0048_0000)
            machine.setGate(0x80, M.data, selector: 0x48)
            machine.makeTask(at: otherTask, selector: 0x40, eip: M.data)
            machine.memory.store32(otherTask + 0x4C, 0x48)
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

    // MARK: Control registers

    @Test(
        "combinations of CR0 and bits of CR4 that do not exist are protection faults, and change nothing"
    )
    func controlRegisters() throws {
        let machine = try M()
        // Without PE; NW without CD.
        for value in [0x10, 0x2000_0011] as [UInt32] {
            #expect(machine.run(setControl(0, value)) == .event(13))
            #expect(machine.stacked(0) == 0)
        }
        #expect(machine.run(setControl(4, 1)) == .event(13))
        machine.run([0x0F, 0x20, 0xE3, 0x0F, 0x20, 0xC0])
        #expect(machine.processor[.ebx] == 0 as UInt32)
        #expect(machine.processor[.eax] == 0x11 as UInt32)
        // MCE: kernels set it unasked.
        #expect(machine.run(setControl(4, 0x40)) == .halt(false))
        // CR1, CR5 and the rest are no instructions.
        #expect(machine.run([0x0F, 0x20, 0xC8]) == .event(6))
        #expect(machine.run([0x0F, 0x22, 0xE8]) == .event(6))
    }

    @Test("SMSW and LMSW see CR0, and LMSW does not leave protected mode")
    func machineStatus() throws {
        let machine = try M()
        machine.run(load(0, 0xE) + [0x0F, 0x01, 0xF0, 0x0F, 0x01, 0xE3])
        #expect(machine.processor[.ebx] == 0x1F as UInt32)
        machine.run(load(0, 0) + [0x0F, 0x01, 0xF0, 0x0F, 0x01, 0xE3])
        #expect(machine.processor[.ebx] == 0x11 as UInt32)
    }

    @Test("CR0.TS and EM make x87 instructions #NM, MP and TS a wait; CLTS ends it")
    func taskSwitched() throws {
        let machine = try M()
        #expect(machine.run(setControl(0, 0x19) + [0xD9, 0xE8]) == .event(7))
        #expect(machine.run([0x9B]) == .halt(false))
        #expect(machine.run(setControl(0, 0x1B) + [0x9B]) == .event(7))
        #expect(machine.run([0x0F, 0x06, 0x9B, 0xD9, 0xE8]) == .halt(false))
        #expect(machine.run(setControl(0, 0x15) + [0xD9, 0xE8]) == .event(7))
    }

    @Test("debug registers are stored; DR4 and DR5 are others' names until CR4.DE")
    func debugRegisters() throws {
        let machine = try M()
        machine.run(load(0, 0x1234) + [0x0F, 0x23, 0xC0, 0x0F, 0x21, 0xC3])
        #expect(machine.processor[.ebx] == 0x1234 as UInt32)
        machine.run(load(0, 0) + [0x0F, 0x23, 0xE0, 0x0F, 0x21, 0xF3])
        #expect(machine.processor[.ebx] == 0xFFFF_0FF0 as UInt32)
        #expect(machine.run(setControl(4, 8) + [0x0F, 0x21, 0xE3]) == .event(6))
    }

    @Test("CR4.TSD keeps RDTSC from ring 3")
    func timeStampDisable() throws {
        let machine = try M()
        machine.processor.timeStamp = { 0x1_0000_0002 }
        #expect(machine.runUser([0x0F, 0x31, 0x0F, 0x0B]) == .event(6))
        #expect(machine.processor[.edx] == 1 as UInt32)
        #expect(machine.processor[.eax] == 2 as UInt32)
        machine.run(setControl(4, 4))
        #expect(machine.runUser([0x0F, 0x31]) == .event(13))
        #expect(machine.run([0x0F, 0x31]) == .halt(false))
    }

    // MARK: FXSAVE

    @Test(
        "FXSAVE stores the x87 without ending it, and FXRSTOR takes it back, pending exceptions included"
    )
    func fastSave() throws {
        let machine = try M()
        let place: UInt32 = 0x5000
        let save = [0x0F, 0xAE, 0x05] + immediate(place)
        let restore = [0x0F, 0xAE, 0x0D] + immediate(place)
        machine.memory.store32(place + 288, 0x1234_5678)
        // fninit, fld1, fldpi; fxsave; and what fnstsw says after it.
        machine.run([0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xEB] + save + [0xDF, 0xE0])
        #expect(machine.word(place) == 0x3000_037F)
        #expect(machine.word(place + 4) & 0xFF == 0xC0)
        #expect(
            machine.bytes(place + 32, 10) == [
                0x35, 0xC2, 0x68, 0x21, 0xA2, 0xDA, 0x0F, 0xC9, 0, 0x40,
            ])
        #expect(machine.bytes(place + 48, 10) == [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F])
        #expect(machine.word(place + 288) == 0x1234_5678)
        #expect((machine.processor[.eax] as UInt32) & 0x3800 == 0x3000)
        // fninit; fxrstor; fistp
        machine.run([0xDB, 0xE3] + restore + [0xDB, 0x1D] + immediate(M.data))
        #expect(machine.word(M.data) == 3)
        // An exception that is pending and unmasked comes with the next waiting instruction.
        machine.memory.store32(place, 0x0001_037E)
        #expect(machine.run(setControl(0, 0x31) + restore) == .halt(false))
        #expect(machine.run([0x9B]) == .event(16))
        #expect(machine.run(save + restore) == .halt(false))
        #expect(machine.run([0xDB, 0xE3]) == .halt(false))
    }

    @Test("FXSAVE wants 16-byte places that can be written, and an x87 that is there")
    func fastSaveRefused() throws {
        let machine = try M()
        #expect(machine.run([0x0F, 0xAE, 0x05] + immediate(0x5008)) == .event(13))
        #expect(
            machine.run(setControl(0, 0x19) + [0x0F, 0xAE, 0x05] + immediate(0x5008)) == .event(7))
        machine.makeTables()
        machine.setEntry(0x6000, 0)
        machine.enablePaging()
        machine.memory.store32(0x5F00, 0)
        #expect(
            machine.run([0x0F, 0x06, 0xDB, 0xE3, 0x0F, 0xAE, 0x05] + immediate(0x5F00))
                == .event(14))
        #expect(machine.word(0x5F00) == 0)
    }

    // MARK: Model-specific registers

    @Test("unknown model-specific registers are protection faults")
    func unknownModelRegisters() throws {
        let machine = try M()
        for number in [0, 0x1A0, 0x2FE, 0xC000_0081, 0x4B56_4D02] as [UInt32] {
            #expect(machine.run(readModel(number)) == .event(13))
            #expect(machine.run(writeModel(number, 0)) == .event(13))
        }
        // SCE and LME are bits of 64-bit processors.
        #expect(machine.run(writeModel(0xC000_0080, 0x100)) == .event(13))
        #expect(machine.run(writeModel(0x277, 0x0007_0406_0007_0402)) == .event(13))
    }

    @Test("known ones read as they were written")
    func modelRegisters() throws {
        let machine = try M()
        for number in [0x174, 0x175, 0x176, 0x277] as [UInt32] {
            #expect(machine.run(writeModel(number, 0x0706)) == .halt(false))
            #expect(machine.run(readModel(number)) == .halt(false))
            #expect(machine.processor[.eax] == 0x0706 as UInt32)
        }
        machine.run(writeModel(0xC000_0080, 0x800) + readModel(0xC000_0080))
        #expect(machine.processor[.eax] == 0x800 as UInt32)
        machine.run(readModel(0x1B))
        #expect(machine.processor[.eax] == 0xFEE0_0100 as UInt32)
    }

    @Test("the time stamp goes on from what was written")
    func writtenTimeStamp() throws {
        let machine = try M()
        var now: UInt64 = 1000
        machine.processor.timeStamp = { now }
        machine.run(writeModel(0x10, 5_000_000_000))
        now += 7
        machine.run([0x0F, 0x31])
        #expect(machine.processor[.eax] == UInt32(5_000_000_007 & 0xFFFF_FFFF))
        #expect(machine.processor[.edx] == 1 as UInt32)
    }

    @Test(
        "KVM's clock says how to get from the stamp to nanoseconds: they are the same",
        arguments: [0x4B56_4D01, 0x12] as [UInt32])
    func clock(number: UInt32) throws {
        let machine = try M()
        machine.processor.timeStamp = { 0x2_0000_1234 }
        machine.run(writeModel(number, 0x5001))
        machine.run(readModel(0x4B56_4D01))
        #expect(machine.processor[.eax] == 0x5001 as UInt32)
        let page = (0..<8 as Range<UInt32>).map { machine.word(0x5000 + $0 * 4) }
        #expect(page[0] & 1 == 0 && page[0] != 0)
        #expect(page[2] == 0x1234 && page[3] == 2)
        #expect(page[4] == 0x1234 && page[5] == 2)
        // (stamp << 1) * 2^31 >> 32 is the stamp; and it is stable.
        #expect(page[6] == 0x8000_0000)
        #expect(page[7] & 0xFFFF == 0x101)
        // The guest was stopped, and the rest stays.
        machine.processor.tellStop()
        #expect(machine.word(0x501C) & 0xFFFF == 0x301)
        #expect((0..<7 as Range<UInt32>).map { machine.word(0x5000 + $0 * 4) } == Array(page[..<7]))
        // Off: nothing is written. Outside memory: likewise.
        machine.memory.store32(0x5000, 0)
        machine.memory.store32(0x501C, 0)
        #expect(machine.run(writeModel(0x4B56_4D01, 0x5000)) == .halt(false))
        machine.processor.tellStop()
        #expect(machine.word(0x5000) == 0 && machine.word(0x501C) == 0)
        #expect(machine.run(writeModel(0x4B56_4D01, 0xFFFF_FFFF_FFFF_FFF1)) == .halt(false))
        #expect(machine.run(writeModel(0x4B56_4D01, (8 << 20) - 31)) == .halt(false))
    }

    @Test("KVM's wall clock says when the guest began", arguments: [0x4B56_4D00, 0x11] as [UInt32])
    func wallClock(number: UInt32) throws {
        let machine = try M()
        machine.processor.timeStamp = { 3_000_000_000 }
        let before = Clock.realTime().count / 1_000_000_000 - 3
        machine.run(writeModel(number, 0x5000))
        let seconds = UInt64(machine.word(0x5004))
        #expect(seconds >= before && seconds <= before + 60)
        #expect(machine.word(0x5008) < 1_000_000_000)
        #expect(machine.word(0x5000) & 1 == 0)
    }

    // MARK: Ports

    @Test("IN and OUT of ring 3 need IOPL or the task's bitmap")
    func portBitmap() throws {
        let machine = try M()
        func user(_ bytes: [UInt8], flags: UInt32 = 2) -> M.Seen {
            let seen = machine.runUser(bytes, flags: flags)
            // HLT ends ring 3.
            if case .exit = seen { machine.proceed() }
            return seen
        }
        #expect(user([0xE4, 0x60]) == .event(13))
        #expect(
            user([0xE4, 0x60], flags: 0x3002)
                == .exit(.portInput(PortAccess(port: 0x60, size: 1))))
        // A task with a bitmap that lets 60 and 61 through.
        machine.store64(M.globalTable + 0x38, 0x0000_8900_0000_0077 | UInt64(M.task) << 16)
        machine.run([0x66, 0xB8, 0x38, 0, 0x0F, 0x00, 0xD8])
        for index in 0..<4 as Range<UInt32> {
            machine.memory.store32(M.task + 0x68 + index * 4, .max)
        }
        machine.memory.store32(M.task + 0x68 + 0xC, 0xFFFF_FFFF)
        machine.put([0xFC], at: M.task + 0x68 + 0xC)
        #expect(
            user([0xE4, 0x60]) == .exit(.portInput(PortAccess(port: 0x60, size: 1))))
        #expect(
            user([0x66, 0xE5, 0x60])
                == .exit(.portInput(PortAccess(port: 0x60, size: 2))))
        #expect(user([0xE5, 0x60]) == .event(13))
        #expect(user([0xE4, 0x62]) == .event(13))
        // Its last byte is beyond the task's end.
        #expect(user([0xE4, 0x7F]) == .event(13))
        // Nothing is to be done: mov ecx, 0; mov edx, port; rep outsb or insb; ud2. The port is looked at all the same.
        for string in [0x6E, 0x6C] as [UInt8] {
            func none(_ port: UInt32, flags: UInt32 = 2) -> M.Seen {
                user(load(1, 0) + load(2, port) + [0xF3, string, 0x0F, 0x0B], flags: flags)
            }
            #expect(none(0x60) == .event(6))
            #expect(none(0x62) == .event(13))
            #expect(none(0x62, flags: 0x3002) == .event(6))
        }
    }

    @Test("repeated strings of ports exit an element at a time")
    func portStrings() throws {
        let machine = try M()
        machine.put([1, 2, 3], at: M.data)
        machine.put(
            load(1, 3) + load(6, M.data) + [0xBA] + immediate(0x3F8) + [0xF3, 0x6E, 0xF4])
        machine.processor.eip = M.code
        for value in 1...3 as ClosedRange<UInt32> {
            #expect(
                machine.proceed()
                    == .exit(.portOutput(PortAccess(port: 0x3F8, size: 1), value: value)))
        }
        #expect(machine.proceed() == .halt(false))
        #expect(machine.processor[.esi] == M.data + 3)
        #expect(machine.processor[.ecx] == 0 as UInt32)

        machine.put(
            load(1, 2) + load(7, M.data) + [0xBA] + immediate(0x1F0) + [0xF3, 0x66, 0x6D, 0xF4])
        machine.processor.eip = M.code
        for value in [0xBEEF, 0xCAFE] as [UInt64] {
            #expect(machine.proceed() == .exit(.portInput(PortAccess(port: 0x1F0, size: 2))))
            machine.processor.answer(value)
        }
        #expect(machine.proceed() == .halt(false))
        #expect(machine.word(M.data) == 0xCAFE_BEEF)
        #expect(machine.processor[.edi] == M.data + 4)
        // An input that has no place faults before anything is asked.
        machine.makeTables()
        machine.setEntry(M.data, 0)
        machine.enablePaging()
        #expect(machine.run(load(7, M.data) + [0x6C]) == .event(14))
        // Nothing to do is nothing done.
        #expect(machine.run(load(1, 0) + [0xF3, 0x6E]) == .halt(false))
    }

    // MARK: Strings that are not repeated

    @Test("single string instructions go both ways, and fault as they should")
    func singleStrings() throws {
        let machine = try M()
        machine.put([1, 2, 3, 4, 5, 6, 7, 8], at: M.data)
        // lodsb, lodsd, stosb, stosd, movsb, movsd, scasb; the flags are the last one's.
        machine.run(
            load(6, M.data) + load(7, M.data + 0x100) + [0xAC, 0xAA, 0xAD, 0xAB, 0xA4]
                + load(6, M.data)
                + [0xA5] + load(0, 9) + [0xAE, 0x9C, 0x5B])
        #expect(machine.bytes(M.data + 0x100, 10) == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4])
        #expect(machine.processor[.edi] == M.data + 0x10B)
        #expect(machine.processor[.esi] == M.data + 4)
        #expect((machine.processor[.ebx] as UInt32) & 0x41 == 0)
        machine.run(
            [0xFD] + load(6, M.data + 4) + load(7, M.data + 0x200) + [0xA5, 0xAC, 0xAA, 0xFC])
        #expect(machine.processor[.edi] == M.data + 0x1FB)
        #expect(machine.processor[.esi] == M.data - 1)
        #expect(machine.word(M.data + 0x200) == 0x0807_0605)
        machine.makeTables()
        machine.setEntry(M.data + 0x5000, 0)
        machine.enablePaging()
        for bytes in [[0xAC], [0xAD], [0xAA], [0xAB], [0xA4], [0xA5], [0xAE]] as [[UInt8]] {
            let place = M.data + 0x5000
            #expect(machine.run(load(6, place) + load(7, place) + bytes) == .event(14))
            #expect(machine.processor[.esi] == place)
            #expect(machine.processor[.edi] == place)
        }
    }

    @Test(
        "instructions that do nothing are instructions: for steps, for counts, in front of a jump")
    func fillers() throws {
        let machine = try M()
        let fillers: [[UInt8]] = [
            [0x90], [0x89, 0xC0], [0x8D, 0x76, 0x00], [0x8D, 0xB6, 0, 0, 0, 0],
            [0x3E, 0x8D, 0x74, 0x26, 0x00], [0x0F, 0x1F, 0x44, 0x00, 0x00], [0xF3, 0x90],
        ]
        for bytes in fillers {
            // A step ends behind each.
            #expect(machine.run(push(0x102) + [0x9D] + bytes + [0x40]) == .event(1))
            #expect(machine.stacked(0) == M.code + 6 + UInt32(bytes.count))
            // Between a comparison and its jump.
            machine.run(load(0, 5) + load(3, 1) + [0x83, 0xF8, 0x05] + bytes + [0x75, 0x01, 0x4B])
            #expect(machine.processor[.ebx] == 0 as UInt32)
            machine.put(bytes + [0xEB, 0xFE])
            machine.processor.eip = M.code
            let before = machine.processor.instructionCount
            #expect(machine.processor.run(instructions: 1) == .stretchEnded)
            #expect(machine.processor.instructionCount == before + 1)
            #expect(machine.processor.eip == M.code + UInt32(bytes.count))
        }
        #expect(machine.run([0xF0, 0x90]) == .event(6))
    }

    // MARK: Time

    @Test("a guest with interrupts off that loops comes back at the deadline")
    func deadline() throws {
        let machine = try M()
        machine.put([0xEB, 0xFE])
        machine.processor.eip = M.code
        let start = Clock.monotonic()
        let end = start + .milliseconds(5)
        #expect(machine.processor.run(until: end, atMost: nil) == .deadline)
        #expect(Clock.monotonic() >= end)
    }
}
