// The contract of Processor/GuestProcessor.swift, on the software processor.

import Testing

@testable import Mini

private typealias M = ProcessorMachine

@Suite struct ProcessorContractTests {
    /// A machine whose kernel may use ports.
    private func machine(_ rules: PortRules = PortRules(ring: 1)) throws -> M {
        let machine = try M()
        machine.processor.portRules = rules
        return machine
    }

    // MARK: Ports

    @Test("every in and out exits behind itself, with its port, its size and what it puts out")
    func ports() throws {
        let eax: UInt32 = 0x1234_5678
        let rows: [(bytes: [UInt8], seen: M.Seen)] = [
            ([0xE4, 0x64], .input(PortAccess(port: 0x64, size: 1))),
            ([0xE5, 0xFF], .input(PortAccess(port: 0xFF, size: 4))),
            ([0x66, 0xE5, 0x64], .input(PortAccess(port: 0x64, size: 2))),
            ([0xEC], .input(PortAccess(port: 0x3FD, size: 1))),
            ([0xED], .input(PortAccess(port: 0x3FD, size: 4))),
            ([0x66, 0xED], .input(PortAccess(port: 0x3FD, size: 2))),
            ([0xE6, 0x80], .output(PortAccess(port: 0x80, size: 1), 0x78)),
            ([0xE7, 0x80], .output(PortAccess(port: 0x80, size: 4), eax)),
            ([0x66, 0xE7, 0x80], .output(PortAccess(port: 0x80, size: 2), 0x5678)),
            ([0xEE], .output(PortAccess(port: 0x3FD, size: 1), 0x78)),
            ([0xEF], .output(PortAccess(port: 0x3FD, size: 4), eax)),
            ([0x66, 0xEF], .output(PortAccess(port: 0x3FD, size: 2), 0x5678)),
        ]
        for row in rows {
            let machine = try machine()
            machine.processor[.eax] = eax
            machine.processor[.edx] = 0xFFFF_03FD
            #expect(machine.run(row.bytes + [0xCC]) == row.seen, "\(row.bytes)")
            #expect(machine.processor.eip == M.code + UInt32(row.bytes.count), "\(row.bytes)")
            #expect(machine.processor[.eax] == eax)
            #expect(machine.proceed() == .breakpoint)
        }
    }

    @Test("an answer goes into as much of eax as the input wants, once")
    func answers() throws {
        for (bytes, eax) in [
            ([0xEC], 0x1234_56BB), ([0x66, 0xED], 0x1234_AABB), ([0xED], 0x99CC_AABB),
        ] as [([UInt8], UInt32)] {
            let machine = try machine()
            machine.processor[.eax] = 0x1234_5678
            machine.run(bytes + [0xCC])
            machine.processor.answer(0x99CC_AABB)
            #expect(machine.processor[.eax] == eax)
            machine.processor.answer(0)
            #expect(machine.processor[.eax] == eax)
        }
    }

    @Test("the port rules say which ring and which code may; for others it is a protection fault")
    func portRules() throws {
        for (rules, isAllowed) in [
            (PortRules(), false), (PortRules(ring: 1), true),
            (PortRules(ring: 3, codeFrom: M.code), true),
            (PortRules(ring: 3, codeFrom: M.code + 1), false),
        ] as [(PortRules, Bool)] {
            let machine = try machine(rules)
            let seen = machine.run([0xEC])
            if isAllowed {
                #expect(seen == .input(PortAccess(port: 0, size: 1)))
            } else {
                #expect(seen == .trap(13, 0))
                #expect(machine.processor.eip == M.code)
            }
        }
        let machine = try machine()
        machine.enterUser()
        #expect(machine.run([0xEE]) == .trap(13, 0))
    }

    @Test("an instruction that spans two pages is fetched before its port is known")
    func portAcrossPages() throws {
        let machine = try machine()
        machine.setFlags(M.code + 0x1000, 0)
        machine.put([0xE4], at: M.code + 0xFFF)
        machine.processor.eip = M.code + 0xFFF
        #expect(machine.proceed() == .pageFault(0, at: M.code + 0x1000))
        machine.setFlags(M.code + 0x1000, 7)
        machine.put([0x71], at: M.code + 0x1000)
        #expect(machine.proceed() == .input(PortAccess(port: 0x71, size: 1)))
    }

    // MARK: Injecting

    @Test("an injected vector enters the guest's gate with the frame that the hardware makes")
    func inject() throws {
        let machine = try M()
        machine.processor.setGate(
            0x30,
            .direct(selector: M.kernelCode, offset: M.code + 0x100, privilege: 0, isTrap: false))
        machine.processor.setGate(
            13, .direct(selector: M.kernelCode, offset: M.code + 0x100, privilege: 0, isTrap: true))
        machine.put([0xCC], at: M.code + 0x100)
        for (vector, code, words) in [(0x30, 0, 3), (13, 0x1234, 4)] as [(UInt8, UInt32, UInt32)] {
            machine.enterKernel()
            machine.processor.eip = M.code
            machine.processor.inject(vector, errorCode: code)
            #expect(machine.proceed() == .breakpoint)
            #expect(machine.processor.eip == M.code + 0x101)
            let top = M.kernelStack - words * 4
            #expect(machine.processor[.esp] == top)
            if words == 4 { #expect(machine.word(top) == code) }
            #expect(machine.word(M.kernelStack - 12) == M.code)
            #expect(machine.word(M.kernelStack - 8) == UInt32(M.kernelCode))
        }
    }

    @Test("an injected vector whose gate is the user's is an exit, before any instruction")
    func injectToUser() throws {
        let machine = try M()
        machine.put([0x40, 0xCC])
        machine.processor.inject(0x31, errorCode: 0)
        #expect(machine.proceed() == .trap(0x31, 0))
        #expect(machine.processor.eip == M.code && machine.processor[.eax] == 0)
        #expect(machine.proceed() == .breakpoint)
        #expect(machine.processor[.eax] == 1)
    }

    @Test("a window is open as long as interrupts are on, and is asked for")
    func window() throws {
        let machine = try M()
        machine.put([0x40, 0xCC])
        machine.processor.awaitsInterruptWindow = true
        #expect(machine.processor.run(until: nil, atMost: nil) == .interruptWindow)
        #expect(machine.processor[.eax] == 0)
        machine.processor.awaitsInterruptWindow = false
        #expect(machine.processor.run(until: nil, atMost: nil) == .trap(3))
    }

    // MARK: Time

    /// A machine that increments eax for ever, with a clock that goes on by so much with each look.
    private func counter(step: UInt64, looks: @escaping () -> Void = {}) throws -> M {
        let machine = try M()
        machine.put([0x40, 0xEB, 0xFD])
        var time: UInt64 = 1_000_000
        machine.processor.clock = {
            defer { time += step }
            looks()
            return Nanoseconds(count: time)
        }
        return machine
    }

    @Test("a deadline that has passed runs nothing")
    func passed() throws {
        let machine = try counter(step: 0)
        let now = Nanoseconds(count: 1_000_000)
        #expect(machine.processor.run(until: now, atMost: nil) == .deadline)
        #expect(machine.processor[.eax] == 0)
        #expect(machine.processor.run(until: Nanoseconds(count: 1), atMost: nil) == .deadline)
        #expect(machine.processor[.eax] == 0)
    }

    @Test("a guest that never exits runs until the deadline, whatever the clock's pace")
    func deadline() throws {
        for step in [1_000, 100_000, 10_000_000] as [UInt64] {
            var looks = 0
            let machine = try counter(step: step) { looks += 1 }
            let end = Nanoseconds(count: 3_000_000)
            #expect(machine.processor.run(until: end, atMost: nil) == .deadline)
            #expect(machine.processor[.eax] >= 250)
            // The first look begins, the last one ends; between them one each step.
            #expect(looks == Int((2_000_000 + step - 1) / step) + 1)
        }
    }

    @Test(
        "the clock is looked at no more than once in 500 instructions, and once in 16384 at least")
    func looks() throws {
        for step in [10, 1_000, 1_000_000] as [UInt64] {
            var looks: UInt64 = 0
            let machine = try counter(step: step) { looks += 1 }
            _ = machine.processor.run(
                until: Nanoseconds(count: 1_000_000 + 2_000 * step), atMost: nil)
            let count = machine.processor.instructionCount
            #expect(count >= (looks - 1) * 500 && count <= looks * 16_384, "\(count) \(looks)")
        }
    }

    @Test("a guest that only exits comes to its deadline, too")
    func onlyExits() throws {
        let machine = try machine()
        machine.put([0xEE, 0xEB, 0xFD])
        var time: UInt64 = 0
        machine.processor.clock = {
            defer { time += 100_000 }
            return Nanoseconds(count: time)
        }
        machine.processor.eip = M.code
        var exits = 0
        while case .portOutput = machine.processor.run(
            until: .milliseconds(1), atMost: nil)
        {
            exits += 1
            try #require(exits < 10_000)
        }
        #expect(exits > 10)
    }

    @Test("a nearer deadline is kept although the slice was chosen for a farther one")
    func nearer() throws {
        let machine = try counter(step: 50_000)
        _ = machine.processor.run(until: Nanoseconds(count: 1 << 40), atMost: .milliseconds(0))
        let before = machine.processor.instructionCount
        #expect(
            machine.processor.run(until: Nanoseconds(count: 1_040_000), atMost: nil) == .deadline)
        #expect(machine.processor.instructionCount == before)
    }

    @Test("a stretch ends by itself, long before the deadline and without a look at the clock")
    func stretch() throws {
        var looks = 0
        let machine = try counter(step: 0) { looks += 1 }
        let far = Nanoseconds(count: 1 << 40)
        for _ in 0..<5 {
            let before = machine.processor.instructionCount
            #expect(
                machine.processor.run(until: far, atMost: Nanoseconds(count: 50_000))
                    == .stretchEnded)
            #expect((500...1_100).contains(machine.processor.instructionCount - before))
        }
        #expect(looks == 1)
    }

    // MARK: Profile

    @Test("what the profile says is what SGDT, SIDT, SLDT, STR, SMSW and PUSHF tell")
    func profile() throws {
        var profile = ProcessorProfile.lguest
        profile.globalTable = .init(base: 0x1122_3344, limit: 0x5566)
        profile.interruptTable = .init(base: 0x99AA_BBCC, limit: 0x7788)
        profile.localTable = 0x28
        profile.task = 0x30
        profile.machineStatus = 0x8000_0011
        profile.fixedFlags = 0x3002
        let machine = try M(profile: profile)
        let place = Assemble.little(M.data)
        machine.run(
            [0x0F, 0x01, 0x05] + place + [0x0F, 0x01, 0x0D] + Assemble.little(M.data + 8)
                + [0x0F, 0x00, 0xC0, 0x0F, 0x00, 0xC9, 0x0F, 0x01, 0xE2, 0x9C, 0x5E, 0xCC])
        #expect(machine.bytes(M.data, 6) == [0x66, 0x55, 0x44, 0x33, 0x22, 0x11])
        #expect(machine.bytes(M.data + 8, 6) == [0x88, 0x77, 0xCC, 0xBB, 0xAA, 0x99])
        #expect(machine.processor[.eax] == 0x28 && machine.processor[.ecx] == 0x30)
        #expect(machine.processor[.edx] == 0x8000_0011)
        #expect(machine.processor[.esi] & 0x3202 == 0x3002)
    }

    @Test("only the profile's descriptors are there")
    func descriptorCount() throws {
        var profile = ProcessorProfile.lguest
        profile.descriptorCount = 20
        let machine = try M(profile: profile)
        machine.processor.setDescriptor(19, machine.descriptor(0xF3))
        // mov $selector, %eax; mov %eax, %es
        #expect(machine.run(Assemble.mov(.eax, 19 * 8 + 3) + [0x8E, 0xC0, 0xCC]) == .breakpoint)
        #expect(
            machine.run(Assemble.mov(.eax, 20 * 8 + 3) + [0x8E, 0xC0, 0xCC]) == .trap(13, 20 * 8))
    }

    @Test("registers have 64 bits in the contract, and a 32-bit processor uses half of them")
    func registers() throws {
        let machine = try M()
        let processor: any GuestProcessor = machine.processor
        processor.setRegister(.edi, 0xFFFF_FFFF_1234_5678)
        #expect(processor.register(.edi) == 0x1234_5678 && processor[.edi] == 0x1234_5678)
        processor.setRegister(.eip, 0x1_0000_0004)
        #expect(processor.eip == 4 && processor.privilege == 1)
        processor[.eflags] = 0x40
        #expect(processor.register(.eflags) == 0x242)
    }
}
