// Exact tests of the 64-bit processor's descriptors: what a load of one leaves in its table.

import Testing

@testable import Mini

@Suite struct LongDescriptorTests {
    private func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    private func rax(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value) }
    private let target = LongPlace.code + 0x800

    // MARK: Accessed bits

    /// Ring 0's code and data, ring 3's data and code, none of them accessed yet; the target has an INT3.
    private func machine() throws -> LongMachine {
        let machine = try LongMachine()
        for (selector, value) in [
            (8, 0x00AF_9A00_0000_FFFF), (0x10, 0x00CF_9200_0000_FFFF),
            (0x18, 0x00CF_F200_0000_FFFF), (0x20, 0x00AF_FA00_0000_FFFF),
        ] as [(UInt32, UInt64)] {
            machine.store(LongPlace.global + selector, value)
        }
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        return machine
    }

    /// The selectors of those that are accessed.
    private func accessed(_ machine: LongMachine) -> [UInt32] {
        [8, 0x10, 0x18, 0x20].filter { (selector: UInt32) in
            machine.bytes(LongPlace.global + selector + 5, 1)[0] & 1 != 0
        }
    }

    @Test("a load of a segment marks its descriptor, and a gate that of its code")
    func loads() throws {
        // mov ds, eax; mov ss, eax; mov fs, eax
        for code in [[0x8E, 0xD8], [0x8E, 0xD0], [0x8E, 0xE0]] as [[UInt8]] {
            let machine = try self.machine()
            machine.kernel(rax(0x10) + code)
            #expect(machine.vector == nil && accessed(machine) == [0x10])
        }
        let machine = try self.machine()
        machine.kernel([0xCD, 0x30])
        #expect(machine.vector == 0x30 && accessed(machine) == [8])
    }

    @Test("far jumps, calls and returns mark where they go, and what refuses to marks nothing")
    func transfers() throws {
        // jmp far [rax] and call far [rax], of 32 bits.
        for code in [[0xFF, 0x28], [0xFF, 0x18]] as [[UInt8]] {
            for selector in [8, 0x10] as [UInt64] {
                let machine = try self.machine()
                machine.write(LongPlace.codePhysical + 0x800, [0xF4])
                machine.store(LongPlace.dataPhysical, selector << 32 | target)
                machine.kernel(rax(LongPlace.data) + code)
                #expect(machine.vector == (selector == 8 ? nil : 13))
                // The fault's gate has marked the code as well.
                #expect(accessed(machine) == [8])
            }
        }
        // push 8; push rax; retfq
        let machine = try self.machine()
        machine.write(LongPlace.codePhysical + 0x800, [0xF4])
        machine.kernel([0x6A, 8] + rax(target) + [0x50, 0x48, 0xCB])
        #expect(machine.vector == nil && accessed(machine) == [8])
    }

    @Test("IRETQ and a far return to ring 3 mark its code and its stack")
    func outward() throws {
        // push 1B; push rsp; push 2; push 23; push rax; iretq, and the same without flags and with retfq.
        let flags: [UInt8] = [0x6A, 2]
        for (middle, last) in [(flags, 0xCF), ([], 0xCB)] as [([UInt8], UInt8)] {
            let machine = try self.machine()
            let frame: [UInt8] = [0x6A, 0x1B, 0x54] + middle + [0x6A, 0x23]
            machine.kernel(frame + rax(target) + [0x50, 0x48, last])
            #expect(machine.vector == 3 && machine.frame(1) == 0x23)
            // And INT3's gate the kernel's code.
            #expect(accessed(machine) == [8, 0x18, 0x20])
        }
    }

    @Test("the mark is a write of ring 0's, a fault where there is none, and no write if it is set")
    func readOnly() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // The table on a page of data that may not be written; the data of ring 3 is not accessed.
        for index in 0..<6 as Range<UInt32> {
            let place = machine.memory.range(LongPlace.global + index * 8, 8)!
            machine.store(
                LongPlace.dataPhysical + index * 8,
                machine.memory.readable(place).load(as: UInt64.self))
        }
        machine.store(LongPlace.dataPhysical + 0x18, 0x00CF_F200_0000_FFFF)
        machine.store(0x4000, UInt64(LongPlace.dataPhysical) | 5)
        core.state.globalTable.base = LongPlace.data
        core.state.control0 |= UInt64(Control0.writeProtect)
        // mov ds, eax
        var test = LongCase(
            registers: [UInt64](repeating: 0x1B, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80, rip: LongPlace.code,
            flags: 0x202, code: [0x8E, 0xD8])
        let selector = core.state.segments[3].selector
        let ending = machine.run(test, image: [])
        #expect(ending.trap == 14 && ending.error == 3)
        #expect(ending.address == LongPlace.data + 0x1D)
        #expect(core.state.segments[3].selector == selector)
        machine.store(LongPlace.dataPhysical + 0x18, 0x00CF_F300_0000_FFFF)
        test.code = [0x8E, 0xD8, 0xCC]
        #expect(machine.run(test, image: []).trap == 3)
        #expect(core.state.segments[3].selector == 0x1B)
    }

    // MARK: Call gates

    /// A gate at 0x30 to the target in ring 0's code, and a far pointer to it at the begin of the data.
    private func gated(access: UInt64 = 0xEC, code: UInt64 = 8, upper: UInt64 = 0) throws
        -> LongMachine
    {
        let machine = try LongMachine()
        machine.processor.core.state.globalTable.limit = 0x3F
        let offset = target & 0xFFFF | (target >> 16) << 48
        machine.store(LongPlace.global + 0x30, offset | code << 16 | access << 40)
        machine.store(LongPlace.global + 0x38, upper)
        machine.store(LongPlace.dataPhysical, 0x30 << 32 | 0x1234)
        machine.store(LongPlace.task + 4, UInt64(LongPlace.kernelStack))
        return machine
    }

    /// The instruction in ring 3 with rax at that pointer.
    private func runUser(_ code: [UInt8], on machine: LongMachine) -> LongEnding {
        var test = LongCase(
            registers: [UInt64](repeating: LongPlace.data, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80, rip: LongPlace.code,
            flags: 0x202, code: code)
        test.registers[4] = LongPlace.data + 0x800
        return machine.run(test, image: [0x34, 0x12, 0, 0, 0x33, 0])
    }

    private func word(_ machine: LongMachine, _ address: UInt32) -> UInt64 {
        machine.memory.readable(machine.memory.range(address, 8)!).load(as: UInt64.self)
    }

    private let callFar: [UInt8] = [0xFF, 0x18]
    private let jumpFar: [UInt8] = [0xFF, 0x28]

    @Test(
        "a call gate within a ring pushes cs and rip of 8 bytes, and RETFQ comes back; JMP pushes none"
    )
    func gateOfSameRing() throws {
        let machine = try gated()
        let core = machine.processor.core
        let stack = UInt64(LongPlace.kernelStack)
        for code in [callFar, jumpFar] {
            machine.write(LongPlace.codePhysical + 0x800, [0xF4])
            #expect(
                machine.kernel(rax(LongPlace.data) + code) == .halt(interruptsEnabled: false))
            #expect(machine.vector == nil && core.state.rip == target + 1)
            #expect(core.state.segments[1].selector == 8)
            #expect(core.rsp == (code == callFar ? stack - 16 : stack))
            if code == callFar {
                #expect(machine.frame(0) == LongPlace.code + 12 && machine.frame(1) == 8)
            }
        }
        machine.write(LongPlace.codePhysical + 0x800, [0x48, 0xCB])
        machine.kernel(rax(LongPlace.data) + callFar)
        #expect(machine.vector == nil && core.state.rip == LongPlace.code + 13)
        #expect(core.rsp == stack)
    }

    @Test("a call gate to ring 0 takes rsp out of the task, a null ss, and pushes the old ones")
    func gateToInnerRing() throws {
        let machine = try gated()
        // The rest of the code's page is INT3.
        let ending = runUser(callFar, on: machine)
        let bottom = LongPlace.kernelStack - 32
        #expect(ending.trap == 3 && ending.rip == target + 1)
        #expect(ending.registers[4] == UInt64(bottom))
        #expect(machine.frame(1) == 8 && machine.frame(4) == 0)
        #expect(word(machine, bottom) == LongPlace.code + 2)
        #expect(word(machine, bottom + 8) == 0x23)
        #expect(word(machine, bottom + 16) == LongPlace.data + 0x800)
        #expect(word(machine, bottom + 24) == 0x1B)
        // JMP does not go there.
        let refused = runUser(jumpFar, on: machine)
        #expect(refused.trap == 13 && refused.error == 8)
    }

    @Test("a call gate that is none in all of its 16 bytes, or leads nowhere, is refused")
    func refusedGates() throws {
        for (access, code, upper, vector, error) in [
            (0xEC, 8, 1 << 40, 13, 0x30), (0x6C, 8, 0, 11, 0x30), (0xE4, 8, 0, 13, 0x30),
            (0xEC, 0x10, 0, 13, 0x10), (0xEC, 0, 0, 13, 0), (0xEC, 8, 0x8000, 13, 0),
        ] as [(UInt64, UInt64, UInt64, UInt32, UInt64)] {
            for instruction in [callFar, jumpFar] {
                let machine = try gated(access: access, code: code, upper: upper)
                machine.kernel(rax(LongPlace.data) + instruction)
                #expect(machine.vector == vector && machine.frame(0) == error)
            }
        }
        // Half of it is in the table.
        let machine = try gated()
        machine.processor.core.state.globalTable.limit = 0x37
        machine.kernel(rax(LongPlace.data) + callFar)
        #expect(machine.vector == 13 && machine.frame(0) == 0x30)
        // For ring 0 alone.
        let ending = try runUser(callFar, on: gated(access: 0x8C))
        #expect(ending.trap == 13 && ending.error == 0x30)
    }

    // MARK: System segments

    /// 32-bit code of ring 0, with the first 2 MiB and thus the table once more behind 4 GiB, where the lower 32 bits name
    /// nothing.
    private func far(_ code: [UInt8]) throws -> (LongMachine, ProcessorExit) {
        let machine = try LongMachine()
        let core = machine.processor.core
        machine.store(0x2020, 0xD007)
        machine.store(0xD008, 0x83)
        machine.store(LongPlace.global + 0x28, 0x0000_8900_9800_0067)
        core.state.globalTable.base = 1 << 32 | 0x20_0000 | UInt64(LongPlace.global)
        core.install(1, 8, SegmentDescriptor(0x00CF_9B00_0000_FFFF))
        machine.write(LongPlace.codePhysical, code + [0xF4])
        core.state.privilege = 0
        core.state.isLong = false
        core.state.rip = LongPlace.code
        core.rsp = UInt64(LongPlace.kernelStack)
        core.flags = 2
        core.updateMode()
        return (machine, machine.processor.run(instructions: 10_000))
    }

    @Test("LTR marks a task as busy where it lies, from 32-bit code and beyond 4 GiB as well")
    func farTask() throws {
        // mov eax, 28; ltr ax
        let (machine, exit) = try far([0xB8, 0x28, 0, 0, 0, 0x0F, 0x00, 0xD8])
        #expect(exit == .halt(interruptsEnabled: false) && machine.vector == nil)
        #expect(machine.bytes(LongPlace.global + 0x2D, 1) == [0x8B])
        #expect(machine.processor.core.state.task.base == UInt64(LongPlace.task))
    }

    @Test("LTR and LLDT refuse an upper half with bits of a type, and a base that is not canonical")
    func upperHalf() throws {
        // ltr ax; lldt ax
        for (code, type) in [([0x0F, 0x00, 0xD8], 0x89), ([0x0F, 0x00, 0xD0], 0x82)]
            as [([UInt8], UInt64)]
        {
            for (upper, isRefused) in [
                (0, false), (0x1_0000, true), (1 << 40, true), (1 << 44, true),
                (0x8000, true), (0xFFFF_8000, false),
            ] as [(UInt64, Bool)] {
                let machine = try LongMachine()
                machine.processor.core.state.globalTable.limit = 0x3F
                machine.store(LongPlace.global + 0x30, 0x0000_0000_9800_0067 | type << 40)
                machine.store(LongPlace.global + 0x38, upper)
                machine.kernel(rax(0x30) + code)
                #expect(machine.vector == (isRefused ? 13 : nil))
                if isRefused { #expect(machine.frame(0) == 0x30) }
            }
        }
    }

    @Test("32-bit code does not find by a sum beyond 4 GiB what the processor has read there")
    func farTable() throws {
        // mov eax, 10; mov ds, eax; mov ecx, half of the table's place; mov eax, [ecx + ecx]
        let half: [UInt8] = [0x00, 0x30, 0x10, 0x80]
        let (machine, _) = try far(
            [0xB8, 0x10, 0, 0, 0, 0x8E, 0xD8, 0xB9] + half + [0x8B, 0x04, 0x09])
        #expect(machine.vector == 14)
        #expect(machine.processor.core.state.faultAddress == 0x20_6000)
    }
}
