import Testing

@testable import Mini

/// Traps, gates, stack switches, returns between rings, far transfers.
@Suite struct ProcessorTransferTests {
    typealias Guest = ProcessorGuest
    static let handler = Guest.handlers

    private func direct(_ guest: Guest, _ vector: UInt8, privilege: UInt8 = 0) {
        guest.processor.setGate(
            vector,
            .direct(selector: 0x61, offset: Self.handler, privilege: privilege, isTrap: true))
        guest.put([0x0F, 0x0B], at: Self.handler)
    }

    private func frame(_ guest: Guest, _ count: UInt32) -> [UInt32] {
        (0..<count).map { guest.word(guest.processor[.esp] + $0 * 4) }
    }

    @Test("int n whose gate is the host's leaves with eip behind it")
    func hostInterrupt() throws {
        let guest = try Guest()
        guest.processor.setGate(31, .exit(privilege: 1))
        #expect(guest.run([0xCD, 31]) == .trap(31))
        #expect(guest.processor.eip == Guest.code + 2)
        #expect(guest.processor.eflags & Flag.resume == 0)
    }

    @Test("int n that the ring may not use raises #GP with the vector")
    func forbiddenInterrupt() throws {
        let guest = try Guest(ring: 3)
        guest.processor.setGate(31, .exit(privilege: 1))
        #expect(guest.run([0xCD, 31]) == .trap(13, 0xFA))
        #expect(guest.processor.eip == Guest.code)
        direct(guest, 0x80, privilege: 1)
        #expect(guest.run([0xCD, 0x80]) == .trap(13, 0x402))
        #expect(guest.run([0xCC]) == .trap(13, 0x1A))
    }

    @Test("a system call from ring 3 switches to ring 1's stack and comes back with iret")
    func systemCall() throws {
        let guest = try Guest(ring: 3)
        guest.processor.setGate(
            0x80, .direct(selector: 0x61, offset: Self.handler, privilege: 3, isTrap: true))
        // Handler: mov eax, [esp + 12]; mov bx, cs; iret
        guest.put([0x8B, 0x44, 0x24, 12, 0x8C, 0xCB, 0xCF], at: Self.handler)
        #expect(guest.run([0xCD, 0x80, 0x8C, 0xC9, 0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor.eip == Guest.code + 4)
        #expect(guest.processor[.eax] == Guest.stack)
        #expect(guest.processor[.ebx] == 0x61)
        #expect(guest.processor[.ecx] == 0x73)
        #expect(guest.processor[.esp] == Guest.stack)
        #expect(guest.processor.privilege == 3)
        #expect(guest.processor.selector(.ss) == Guest.userData)
    }

    @Test("the frame of a system call is ss, esp, eflags, cs, eip")
    func interruptFrame() throws {
        let guest = try Guest(ring: 3)
        direct(guest, 0x80, privilege: 3)
        guest.processor.eflags = 0x2 | Flag.carry | Flag.nestedTask
        #expect(guest.run([0xCD, 0x80]) == .trap(6))
        #expect(guest.processor[.esp] == Guest.ringStack - 20)
        #expect(
            frame(guest, 5)
                == [Guest.code + 2, 0x73, 0x203 | Flag.nestedTask, Guest.stack, 0x7B])
        #expect(guest.processor.privilege == 1)
        #expect(guest.processor.selector(.cs) == 0x61)
        #expect(guest.processor.selector(.ss) == Guest.kernelData)
        #expect(guest.processor.eflags & (Flag.nestedTask | Flag.trap) == 0)
    }

    @Test("a fault in ring 1 pushes eflags, cs, eip and its code on the same stack")
    func faultFrame() throws {
        let guest = try Guest()
        direct(guest, 11)
        guest.processor.setDescriptor(20, 0x00CF_3200_0000_FFFF)
        guest.processor[.eax] = 0xA1
        #expect(guest.run([0x8E, 0xD8]) == .trap(6))
        #expect(guest.processor[.esp] == Guest.stack - 16)
        #expect(frame(guest, 4) == [0xA0, Guest.code, 0x61, 0x202 | Flag.resume])
    }

    @Test("a divide error goes through its gate with eip at the instruction")
    func divideError() throws {
        let guest = try Guest()
        direct(guest, 0)
        #expect(guest.run([0xF7, 0xF1]) == .trap(6))
        #expect(frame(guest, 3) == [Guest.code, 0x61, 0x202 | Flag.resume])
        #expect(guest.run([0xD4, 0]) == .trap(6))
    }

    @Test("overflow, bound, breakpoint have their vectors")
    func smallVectors() throws {
        let guest = try Guest()
        guest.processor.setGate(3, .exit(privilege: 3))
        guest.processor.setGate(4, .exit(privilege: 3))
        #expect(guest.run([0xCC]) == .trap(3))
        #expect(guest.processor.eip == Guest.code + 1)
        guest.processor.eflags = Flag.overflow
        #expect(guest.run([0xCE]) == .trap(4))
        #expect(guest.processor.eip == Guest.code + 1)
        guest.processor.eflags = 0
        #expect(guest.run([0xCE, 0x0F, 0x0B]) == .trap(6))
        guest.memory.store32(Guest.data, 1)
        guest.memory.store32(Guest.data + 4, 5)
        let bound: [UInt8] = [0x62, 0x05] + Guest.immediate(Guest.data) + [0x0F, 0x0B]
        for (value, exit) in [(1, .trap(6)), (5, .trap(6)), (0, .trap(5)), (6, .trap(5))]
            as [(UInt32, ProcessorExit)]
        {
            guest.processor[.eax] = value
            #expect(guest.run(bound) == exit)
        }
    }

    @Test("a page fault on the ring's stack is delivered in place of the interrupt")
    func faultWhilePushing() throws {
        let guest = try Guest(ring: 3)
        direct(guest, 0x80, privilege: 3)
        guest.mapPage(Guest.ringStack - 0x1000, to: Guest.ringStack - 0x1000, flags: 6)
        guest.processor[.eax] = 9
        #expect(
            guest.run([0xCD, 0x80])
                == .trap(vector: 14, errorCode: 2, address: UInt64(Guest.ringStack - 4)))
        #expect(guest.processor.eip == Guest.code)
        #expect(guest.processor.privilege == 3)
        #expect(guest.processor[.esp] == Guest.stack)
    }

    @Test("a ring stack that cannot be loaded raises #TS or #SS with its selector")
    func badRingStack() throws {
        for (selector, exit) in [
            (0, .trap(10, 0)), (0x7B, .trap(10, 0x78)), (0x61, .trap(10, 0x60)),
            (0x101, .trap(10, 0x100)), (0xA1, .trap(12, 0xA0)),
        ] as [(UInt16, ProcessorExit)] {
            let guest = try Guest(ring: 3)
            guest.processor.setDescriptor(20, 0x00CF_3200_0000_FFFF)
            direct(guest, 0x80, privilege: 3)
            guest.processor.setRingStack(selector: selector, pointer: Guest.ringStack)
            #expect(guest.run([0xCD, 0x80]) == exit)
            #expect(guest.processor.eip == Guest.code)
        }
    }

    @Test("a fault while a fault is delivered has the EXT bit, two faults of a kind are double")
    func nestedFaults() throws {
        let guest = try Guest(ring: 3)
        direct(guest, 6)
        guest.processor.setRingStack(selector: 0x61, pointer: Guest.ringStack)
        #expect(guest.run([0x0F, 0x0B]) == .trap(10, 0x61))
        direct(guest, 13)
        #expect(guest.run([0xF4]) == .trap(8))
    }

    @Test("iret to ring 3 nulls data segments that ring 3 may not use, and keeps the others")
    func outwardReturn() throws {
        let guest = try Guest()
        guest.processor[.eax] = UInt32(Guest.userData)
        _ = guest.processor.setSegment(.fs, Guest.kernelData)
        // mov gs, ax; push frame; iret
        var code: [UInt8] = [0x8E, 0xE8]
        for value in [
            UInt32(Guest.userData), 0x7_0000, 0x0202, UInt32(Guest.userCode), Guest.handlers,
        ] {
            code += [0x68] + Guest.immediate(value)
        }
        guest.put([0x0F, 0x0B], at: Guest.handlers)
        #expect(guest.run(code + [0xCF]) == .trap(6))
        #expect(guest.processor.eip == Guest.handlers)
        #expect(guest.processor.privilege == 3)
        #expect(guest.processor[.esp] == 0x7_0000)
        #expect(guest.processor.selector(.ds) == 0)
        #expect(guest.processor.selector(.es) == 0)
        #expect(guest.processor.selector(.fs) == 0)
        #expect(guest.processor.selector(.gs) == Guest.userData)
    }

    @Test("iret to a more privileged ring, a null or a missing segment is refused")
    func refusedReturns() throws {
        for (ring, selector, exit) in [
            (3, 0x61, .trap(13, 0x60)), (1, 0, .trap(13, 0)), (1, 0x69, .trap(13, 0x68)),
            (1, 0xA1, .trap(11, 0xA0)), (1, 0x63, .trap(13, 0x60)),
        ] as [(Int, UInt32, ProcessorExit)] {
            let guest = try Guest(ring: ring)
            guest.processor.setDescriptor(20, 0x00CF_3A00_0000_FFFF)
            let code: [UInt8] =
                [0x6A, 2, 0x68] + Guest.immediate(selector) + [0x68]
                + Guest.immediate(Guest.handlers)
            #expect(guest.run(code + [0xCF]) == exit)
            #expect(guest.processor.eip == Guest.code + 12)
            #expect(guest.processor[.esp] == Guest.stack - 12)
        }
    }

    @Test("iret with the nested-task flag goes to the host's task, which is none: #TS")
    func nestedTask() throws {
        let guest = try Guest()
        guest.processor.eflags = Flag.nestedTask
        #expect(guest.run([0xCF]) == .trap(10))
    }

    @Test("iret loads every flag a ring may set, and with 16 bits only the lower ones")
    func returnedFlags() throws {
        let guest = try Guest()
        guest.put([0x0F, 0x0B], at: Guest.handlers)
        let code: [UInt8] =
            [0x68] + Guest.immediate(0xFFFF_BEFF) + [0x68] + Guest.immediate(0x61) + [0x68]
            + Guest.immediate(Guest.handlers) + [0xCF]
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor.eflags == 0x0024_0ED7 | Flag.resume)
    }

    @Test("far jump and call within the ring, and a far return")
    func farTransfers() throws {
        let guest = try Guest()
        guest.put([0x8C, 0xC8, 0xCB], at: Guest.handlers)
        let target = Guest.immediate(Guest.handlers) + [0x60, 0]
        #expect(guest.run([0x9A] + target + [0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor[.eax] & 0xFFFF == 0x61)
        #expect(guest.processor[.esp] == Guest.stack)
        guest.put([0x0F, 0x0B], at: Guest.handlers)
        #expect(guest.run([0xEA] + target) == .trap(6))
        #expect(guest.processor.eip == Guest.handlers)
    }

    @Test("a far jump to another ring's code, to data or to nothing is refused")
    func refusedJumps() throws {
        for (selector, exit) in [
            (0x73, .trap(13, 0x70)), (0x69, .trap(13, 0x68)), (0, .trap(13, 0)),
            (0x63, .trap(13, 0x60)), (0xA1, .trap(11, 0xA0)), (0xB1, .trap(13, 0xB0)),
        ] as [(UInt8, ProcessorExit)] {
            let guest = try Guest()
            guest.processor.setDescriptor(20, 0x00CF_3A00_0000_FFFF)
            #expect(guest.run([0xEA] + Guest.immediate(Guest.handlers) + [selector, 0]) == exit)
        }
    }

    @Test("conforming code runs at the caller's ring")
    func conforming() throws {
        let guest = try Guest(ring: 3)
        guest.processor.setDescriptor(20, 0x00CF_BE00_0000_FFFF)
        guest.put([0x8C, 0xC8, 0x0F, 0x0B], at: Guest.handlers)
        #expect(guest.run([0xEA] + Guest.immediate(Guest.handlers) + [0xA0, 0]) == .trap(6))
        #expect(guest.processor[.eax] & 0xFFFF == 0xA3)
        #expect(guest.processor.privilege == 3)
    }

    @Test("a call gate to ring 1 switches stacks, copies parameters and returns")
    func callGate() throws {
        let guest = try Guest(ring: 3)
        let offset = UInt64(Guest.handlers)
        guest.processor.setDescriptor(
            20, offset & 0xFFFF | 0x61 << 16 | 2 << 32 | 0xEC << 40 | (offset >> 16) << 48)
        // Handler: mov eax, [esp + 8]; mov ebx, [esp + 12]; mov ecx, [esp + 16]; retf 8
        guest.put(
            [0x8B, 0x44, 0x24, 8, 0x8B, 0x5C, 0x24, 12, 0x8B, 0x4C, 0x24, 16, 0xCA, 8, 0],
            at: Guest.handlers)
        // push 0x11; push 0x22; call far 0xA3:0; ud2
        #expect(
            guest.run([0x6A, 0x11, 0x6A, 0x22, 0x9A, 0, 0, 0, 0, 0xA3, 0, 0x0F, 0x0B])
                == .trap(6))
        #expect(guest.processor[.eax] == 0x22 && guest.processor[.ebx] == 0x11)
        #expect(guest.processor[.ecx] == Guest.stack - 8)
        #expect(guest.processor[.esp] == Guest.stack)
        #expect(guest.processor.privilege == 3)
    }

    @Test("a host trap from ring 3 leaves ring 3's stack and segments as they are")
    func hostTrapState() throws {
        let guest = try Guest(ring: 3)
        #expect(guest.run([0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor.privilege == 3)
        #expect(guest.processor.selector(.ss) == Guest.userData)
        #expect(guest.processor[.esp] == Guest.stack)
        #expect(guest.processor.eflags == 0x202 | Flag.resume)
    }
}
