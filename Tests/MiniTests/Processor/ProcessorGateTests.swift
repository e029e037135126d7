import Testing

@testable import Mini

@Suite struct ProcessorGateTests {
    typealias M = ProcessorMachine
    let handler: UInt32 = 0x18000

    @Test("a direct gate from ring 3 goes to ring 1 on the ring's stack, the host asleep")
    func directFromUser() throws {
        let machine = try M()
        machine.processor.setGate(
            0x80, .direct(selector: 0x61, offset: handler, privilege: 3, isTrap: true))
        machine.put([0xCC], at: handler)
        machine.enterUser()
        machine.processor.eflags = 0x202 | 0x41
        #expect(machine.run([0xCD, 0x80]) == .breakpoint)
        #expect(machine.processor.eip == handler + 1)
        #expect(machine.processor.privilege == 1)
        #expect(machine.processor.selector(.cs) == M.kernelCode)
        #expect(machine.processor.selector(.ss) == M.kernelData)
        let esp = machine.processor[.esp]
        #expect(esp == M.kernelStack - 20)
        let frame = (0..<5 as Range<UInt32>).map { machine.word(esp + $0 * 4) }
        #expect(frame[0] == M.code + 2)
        #expect(frame[1] & 0xFFFF == UInt32(M.userCode))
        #expect(frame[2] == 0x202 | 0x41)
        #expect(frame[3] == M.userStack)
        #expect(frame[4] & 0xFFFF == UInt32(M.userData))
    }

    @Test("a direct gate within ring 1 stays on its stack")
    func directFromKernel() throws {
        let machine = try M()
        machine.processor.setGate(
            5, .direct(selector: 0x61, offset: handler, privilege: 1, isTrap: true))
        machine.put([0xCC], at: handler)
        machine.processor[.esp] = 0x8000
        #expect(machine.run([0xCD, 0x05]) == .breakpoint)
        #expect(machine.processor[.esp] == 0x8000 - 12)
        #expect(machine.word(0x8000 - 12) == M.code + 2)
    }

    @Test("an exception through a direct gate brings its error code")
    func errorCode() throws {
        let machine = try M()
        machine.processor.setGate(
            11, .direct(selector: 0x61, offset: handler, privilege: 0, isTrap: true))
        machine.processor.setDescriptor(26, machine.descriptor(0x33))
        machine.put([0xCC], at: handler)
        #expect(machine.run(Assemble.mov(.eax, 0xD1) + [0x8E, 0xD8]) == .breakpoint)
        #expect(machine.word(machine.processor[.esp]) == 0xD0)
        #expect(machine.word(machine.processor[.esp] + 4) == M.code + 5)
    }

    @Test("a gate closed to the ring is a general protection fault that names it")
    func closedGate() throws {
        let machine = try M()
        machine.processor.setGate(0x1F, .exit(privilege: 1))
        machine.enterUser()
        #expect(machine.run([0xCD, 0x1F]) == .trap(13, 0xFA))
        #expect(machine.processor.eip == M.code)
        #expect(machine.run([0xCD, 0x80]) == .trap(13, 0x402))
        machine.enterKernel()
        #expect(machine.run([0xCD, 0x1F]) == .trap(0x1F, 0))
        #expect(machine.processor.eip == M.code + 2)
    }

    @Test("int3 and into obey the gate's privilege, faults do not")
    func softwareTraps() throws {
        let machine = try M()
        machine.enterUser()
        machine.processor.setGate(3, .exit(privilege: 1))
        #expect(machine.run([0xCC]) == .trap(13, 3 * 8 + 2))
        machine.processor.setGate(3, .exit(privilege: 3))
        #expect(machine.run([0xCC]) == .trap(3, 0))
        #expect(machine.processor.eip == M.code + 1)
        machine.processor.setGate(4, .exit(privilege: 3))
        machine.processor.eflags = 0xA02
        #expect(machine.run([0xCE]) == .trap(4, 0))
        machine.processor.eflags = 0x202
        #expect(machine.run([0xCE, 0xCC]) == .trap(3, 0))
        #expect(machine.run([0x0F, 0x0B]) == .trap(6, 0))
        #expect(machine.processor.eip == M.code)
    }

    @Test("a ring stack that is not there faults before anything has changed")
    func absentRingStack() throws {
        let machine = try M()
        machine.processor.setGate(
            0x80, .direct(selector: 0x61, offset: handler, privilege: 3, isTrap: true))
        machine.setFlags(M.kernelStack - 4, 0)
        machine.enterUser()
        #expect(machine.run([0xCD, 0x80]) == .pageFault(2, at: M.kernelStack - 4))
        #expect(machine.processor.eip == M.code)
        #expect(machine.processor.privilege == 3)
        #expect(machine.processor[.esp] == M.userStack)
    }

    func pushFrame(_ machine: M, _ words: [UInt32]) {
        for word in words.reversed() {
            machine.processor[.esp] &-= 4
            machine.memory.store32(machine.processor[.esp], word)
        }
    }

    @Test("iret goes out to ring 3 and takes the kernel's segments away")
    func returnOutward() throws {
        let machine = try M()
        machine.put([0x90, 0xCC], at: 0x30000)
        #expect(machine.processor.setSegment(.fs, M.userData))
        pushFrame(machine, [0x30000, UInt32(M.userCode), 0x246, M.userStack, UInt32(M.userData)])
        #expect(machine.run([0xCF]) == .breakpoint)
        #expect(machine.processor.eip == 0x30002)
        #expect(machine.processor.privilege == 3)
        #expect(machine.processor[.esp] == M.userStack)
        #expect(machine.processor.eflags & 0xFFF == 0x246)
        #expect(machine.processor.selector(.ds) == 0, "ring 1's data is not for ring 3")
        #expect(machine.processor.selector(.es) == 0)
        #expect(machine.processor.selector(.fs) == M.userData)
    }

    @Test("iret within the ring pops three words")
    func returnInside() throws {
        let machine = try M()
        machine.put([0xCC], at: 0x30000)
        pushFrame(machine, [0x30000, UInt32(M.kernelCode), 0x202])
        #expect(machine.run([0xCF]) == .breakpoint)
        #expect(machine.processor[.esp] == M.kernelStack)
        #expect(machine.processor.privilege == 1)
    }

    @Test("iret to an inner ring, a data segment or an absent segment is refused")
    func badReturns() throws {
        let machine = try M()
        machine.enterUser()
        pushFrame(machine, [0x30000, 0x60, 0x202, M.userStack, UInt32(M.userData)])
        #expect(machine.run([0xCF]) == .trap(13, 0x60))
        machine.enterUser()
        pushFrame(machine, [0x30000, UInt32(M.userData), 0x202])
        #expect(machine.run([0xCF]) == .trap(13, 0x78))
        machine.processor.setDescriptor(26, machine.descriptor(0x7B))
        machine.enterUser()
        pushFrame(machine, [0x30000, 0xD3, 0x202])
        #expect(machine.run([0xCF]) == .trap(11, 0xD0))
        #expect(machine.processor[.esp] == M.userStack - 12)
    }

    @Test("neither iret nor popf changes IF, IOPL or VM outside ring 0")
    func protectedFlags() throws {
        for user in [false, true] {
            let machine = try M()
            if user { machine.enterUser() }
            // push $0x23002 ; popf ; pushf ; pop %eax
            #expect(
                machine.run([0x68, 0x02, 0x30, 0x02, 0x00, 0x9D, 0x9C, 0x58, 0xCC]) == .breakpoint)
            #expect(machine.processor[.eax] == 0x202)
            machine.put([0xCC], at: 0x30000)
            pushFrame(
                machine,
                [0x30000, UInt32(user ? M.userCode : M.kernelCode), 0x2_3002])
            #expect(machine.run([0xCF]) == .breakpoint)
            #expect(machine.processor.eflags == 0x202)
        }
    }

    @Test("far jumps and returns check the code segment")
    func farTransfers() throws {
        let machine = try M()
        machine.put([0xCC], at: 0x30000)
        func jump(_ selector: UInt16) -> [UInt8] {
            [0xEA] + Assemble.little(0x30000)
                + [UInt8(truncatingIfNeeded: selector), UInt8(selector >> 8)]
        }
        #expect(machine.run(jump(0x60)) == .breakpoint)
        #expect(machine.processor.selector(.cs) == 0x61, "RPL becomes the ring")
        #expect(machine.run(jump(0x68)) == .trap(13, 0x68))
        #expect(machine.run(jump(0x73)) == .trap(13, 0x70))
        #expect(machine.run(jump(0)) == .trap(13, 0))
        machine.processor.setDescriptor(26, machine.descriptor(0xBF))
        #expect(machine.run(jump(0xD1)) == .breakpoint)
        // lret to ring 3, from a frame as the guest would build it
        machine.enterKernel()
        pushFrame(machine, [0x30000, UInt32(M.userCode), M.userStack, UInt32(M.userData)])
        #expect(machine.run([0xCB]) == .breakpoint)
        #expect(machine.processor.privilege == 3)
        #expect(machine.processor[.esp] == M.userStack)
    }

    @Test(
        "privileged instructions are refused in rings 1 and 3",
        arguments: [
            [0xFA], [0xFB], [0xF4], [0xE4, 0x60], [0xE5, 0x60], [0xEC], [0xED], [0xE6, 0x60],
            [0xEE], [0xEF], [0x6C], [0x6E], [0x0F, 0x20, 0xC0], [0x0F, 0x22, 0xC0],
            [0x0F, 0x21, 0xC0], [0x0F, 0x30], [0x0F, 0x32], [0x0F, 0x06], [0x0F, 0x08],
            [0x0F, 0x09], [0x0F, 0x01, 0x10], [0x0F, 0x01, 0x18], [0x0F, 0x01, 0xF0],
            [0x0F, 0x01, 0x38], [0x0F, 0x00, 0xD0], [0x0F, 0x00, 0xD8],
        ] as [[UInt8]])
    func privileged(_ code: [UInt8]) throws {
        let machine = try M()
        machine.processor[.eax] = M.data
        #expect(machine.run(code) == .trap(13, 0))
        #expect(machine.processor.eip == M.code)
        machine.enterUser()
        #expect(machine.run(code) == .trap(13, 0))
    }

    @Test(
        "what is no instruction is trap 6",
        arguments: [
            [0x0F, 0x0B], [0x0F, 0xFF, 0xC0], [0xF0, 0x90], [0x8D, 0xC0], [0xC5, 0xC0],
            [0x0F, 0x01, 0xC1], [0xFE, 0xF8], [0xFF, 0xF8], [0x8F, 0xC8],
        ] as [[UInt8]])
    func undefined(_ code: [UInt8]) throws {
        let machine = try M()
        #expect(machine.run(code) == .trap(6, 0))
        #expect(machine.processor.eip == M.code)
    }

    @Test("an instruction longer than fifteen bytes is refused")
    func tooLong() throws {
        let machine = try M()
        #expect(machine.run([UInt8](repeating: 0x66, count: 14) + [0x90, 0xCC]) == .breakpoint)
        #expect(machine.run([UInt8](repeating: 0x66, count: 15) + [0x90]) == .trap(13, 0))
    }

    @Test("x87 instructions trap while the task-switched flag is up")
    func taskSwitched() throws {
        let machine = try M()
        machine.processor.taskSwitched = true
        #expect(machine.run([0xDB, 0xE3]) == .trap(7, 0))
        machine.processor.taskSwitched = false
        #expect(machine.run([0xDB, 0xE3, 0xCC]) == .breakpoint)
    }
}
