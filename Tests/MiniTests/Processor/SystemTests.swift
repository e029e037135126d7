// Exact tests of the processor with ring 0: entry, interrupt flag, windows, ports, strings, time.

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
        // FPU, PSE, TSC, MSR, PAE, MCE, CX8, SEP, PGE, MCA, CMOV; no APIC.
        #expect(features & 0xE9F9 == 0xE9F9)
        #expect(features & (1 << 9) == 0)
        #expect(machine.processor[.ecx] == 0x8000_0000 as UInt32)
        machine.run(load(0, 0x4000_0000) + [0x0F, 0xA2])
        #expect(machine.processor[.ebx] == 0x4B4D_564B as UInt32)
        machine.run(load(0, 0x4000_0001) + [0x0F, 0xA2])
        #expect((machine.processor[.eax] as UInt32) & (1 | 1 << 3) == 1 | 1 << 3)
        machine.run(load(0, 0x8000_0001) + [0x0F, 0xA2])
        #expect((machine.processor[.edx] as UInt32) & (1 << 20 | 0x4080) == 1 << 20 | 0x4080)
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
