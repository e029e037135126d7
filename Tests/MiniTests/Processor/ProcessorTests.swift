import Testing

@testable import Mini

/// What user mode cannot show: slices, self-modifying code, single step, rings' instructions.
@Suite struct ProcessorTests {
    typealias Guest = ProcessorGuest

    @Test("a slice ends exactly at its number of instructions")
    func slices() throws {
        let guest = try Guest()
        // 40 inc eax, then a jump back.
        let code = [UInt8](repeating: 0x40, count: 40) + [0xEB, 0xD6]
        for count in [1, 7, 39, 40, 41, 42, 100] {
            guest.processor[.eax] = 0
            #expect(guest.run(code, instructions: count) == .stretchEnded)
            let rounds = count / 41
            let rest = count % 41
            #expect(guest.processor[.eax] == UInt32(rounds * 40 + min(rest, 40)))
            #expect(guest.processor.eip == Guest.code + UInt32(rest))
        }
    }

    @Test("slices shorter than a stretch of straight code, and longer than a block, end in time")
    func straightSlices() throws {
        let guest = try Guest()
        let code = [UInt8](repeating: 0x40, count: 1000) + [0x0F, 0x0B]
        #expect(guest.run(code, instructions: 100_000) == .trap(6))
        for count in [63, 64, 65, 100, 127, 128, 129, 999] {
            guest.processor[.eax] = 0
            #expect(guest.run(code, instructions: 100_000) == .trap(6))
            guest.processor.eip = Guest.code
            guest.processor[.eax] = 0
            #expect(guest.processor.run(instructions: count) == .stretchEnded)
            #expect(guest.processor[.eax] == UInt32(count))
        }
    }

    @Test("slices of one instruction do what one long slice does")
    func singleSlices() throws {
        // xor eax, eax; mov ecx, 5; add eax, ecx; cmp ecx, 3; jne +1; inc ebx; dec ecx; jnz; ud2
        let code: [UInt8] = [
            0x31, 0xC0, 0xB9, 5, 0, 0, 0, 0x01, 0xC8, 0x83, 0xF9, 3, 0x75, 1, 0x43, 0x49, 0x75,
            0xF5, 0x0F, 0x0B,
        ]
        let long = try Guest()
        #expect(long.run(code) == .trap(6))
        let short = try Guest()
        var exit = short.run(code, instructions: 1)
        var steps = 1
        while exit == .stretchEnded {
            exit = short.processor.run(instructions: 1)
            steps += 1
        }
        #expect(exit == .trap(6))
        #expect(steps == 2 + 5 * 5 + 1 + 1)
        #expect(short.processor[.eax] == 15 && long.processor[.eax] == 15)
        #expect(short.processor[.ebx] == 1 && long.processor[.ebx] == 1)
        #expect(short.processor.eflags == long.processor.eflags)
    }

    @Test("a loop that never leaves its block ends with its slice")
    func spinning() throws {
        let guest = try Guest()
        #expect(guest.run([0xEB, 0xFE], instructions: 1000) == .stretchEnded)
        #expect(guest.processor.eip == Guest.code)
        #expect(guest.processor.instructionCount == 1000)
    }

    @Test("an instruction that changes the next one is followed by the new bytes")
    func selfModifying() throws {
        let guest = try Guest()
        // mov byte [code + 7], 0x43 (inc ebx); inc eax -> inc ebx; ud2
        let code: [UInt8] =
            [0xC6, 0x05] + Guest.immediate(Guest.code + 7) + [0x43, 0x40, 0x0F, 0x0B]
        guest.run(code, instructions: 0)
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.eax] == 0)
        #expect(guest.processor[.ebx] == 1)
    }

    @Test("a string store that changes its own successor is followed by the new bytes")
    func selfModifyingString() throws {
        let guest = try Guest()
        // mov edi, code + 12; mov al, 0x43; mov ecx, ... rep stosb over two inc eax; ud2
        let code: [UInt8] =
            [0xBF] + Guest.immediate(Guest.code + 14) + [0xB0, 0x43, 0xB9, 2, 0, 0, 0]
            + [0xF3, 0xAA, 0x40, 0x40, 0x0F, 0x0B]
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.ebx] == 2)
        #expect(guest.processor.eip == Guest.code + 16)
    }

    @Test("code that was executed and is then written by the host is decoded anew")
    func hostWritesCode() throws {
        let guest = try Guest()
        #expect(guest.run([0x40, 0x0F, 0x0B]) == .trap(6))
        #expect(guest.run([0x43, 0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor[.eax] == 1 && guest.processor[.ebx] == 1)
        #expect(guest.processor.write32(linear: Guest.code, 0x0B0F_4141))
        guest.processor.eip = Guest.code
        #expect(guest.processor.run(instructions: 10) == .trap(6))
        #expect(guest.processor[.ecx] == 2)
    }

    @Test("code is seen at its new page after the page tables changed and were flushed")
    func remappedCode() throws {
        let guest = try Guest()
        let linear: UInt32 = 0x5_0000
        guest.put([0x40, 0x0F, 0x0B], at: linear)
        guest.put([0x43, 0x0F, 0x0B], at: 0x5_1000)
        for _ in 0..<2 {
            guest.processor.eip = linear
            #expect(guest.processor.run(instructions: 10) == .trap(6))
        }
        guest.mapPage(linear, to: 0x5_1000, flags: 7)
        guest.processor.flushTLB(of: linear)
        guest.processor.eip = linear
        #expect(guest.processor.run(instructions: 10) == .trap(6))
        #expect(guest.processor[.eax] == 2 && guest.processor[.ebx] == 1)
    }

    @Test("an instruction across two pages is executed, and faults on the second page")
    func crossingInstruction() throws {
        let guest = try Guest()
        let start: UInt32 = 0x5_1000 - 2
        guest.put([0xB8, 0x78, 0x56, 0x34, 0x12, 0x0F, 0x0B], at: start)
        guest.processor.eip = start
        #expect(guest.processor.run(instructions: 10) == .trap(6))
        #expect(guest.processor[.eax] == 0x1234_5678)
        guest.mapPage(0x5_1000, to: 0x5_1000, flags: 6)
        guest.processor.flushTLB()
        guest.processor.eip = start
        #expect(
            guest.processor.run(instructions: 10)
                == .trap(vector: 14, errorCode: 0, address: 0x5_1000))
        #expect(guest.processor.eip == start)
    }

    @Test("a write into the second page of an instruction across two is seen")
    func crossingInstructionModified() throws {
        let guest = try Guest()
        let start: UInt32 = 0x5_1000 - 2
        guest.put([0xB8, 1, 0, 0, 0, 0x0F, 0x0B], at: start)
        for value in [1, 2] as [UInt32] {
            guest.processor.eip = start
            #expect(guest.processor.run(instructions: 10) == .trap(6))
            #expect(guest.processor[.eax] == value << 8 | 1 || value == 1)
            guest.put([UInt8(value + 1)], at: 0x5_1000)
        }
    }

    @Test("the trap flag raises vector 1 behind each instruction, from the one after popf on")
    func singleStep() throws {
        let guest = try Guest()
        // push 0x100; popf; inc eax; inc eax; nop
        #expect(guest.run([0x68, 0, 1, 0, 0, 0x9D, 0x40, 0x40, 0x90]) == .trap(1))
        #expect(guest.processor.eip == Guest.code + 7)
        #expect(guest.processor[.eax] == 1)
        #expect(guest.processor.run(instructions: 100) == .trap(1))
        #expect(guest.processor.eip == Guest.code + 8)
        guest.processor.eflags = 2
        #expect(guest.processor.run(instructions: 1) == .stretchEnded)
    }

    @Test("a repeated string instruction is stepped element by element")
    func singleStepRepeated() throws {
        let guest = try Guest()
        guest.processor[.edi] = Guest.data
        guest.processor[.ecx] = 3
        guest.processor.eflags = Flag.trap
        guest.put([0xF3, 0xAA, 0x90], at: Guest.code)
        for left in [2, 1, 0] as [UInt32] {
            #expect(guest.processor.run(instructions: 10) == .trap(1))
            #expect(guest.processor[.ecx] == left)
        }
        #expect(guest.processor.run(instructions: 10) == .trap(1))
        #expect(guest.processor.eip >= Guest.code + 2)
    }

    @Test("no single-step trap comes between a load of ss and the next instruction")
    func singleStepStackSegment() throws {
        let guest = try Guest()
        guest.processor[.eax] = UInt32(Guest.kernelData)
        guest.processor.eflags = Flag.trap
        guest.put([0x8E, 0xD0, 0x43, 0x43], at: Guest.code)
        #expect(guest.processor.run(instructions: 10) == .trap(1))
        #expect(guest.processor.eip == Guest.code + 3)
    }

    @Test("a direct handler of the single-step trap runs with the trap flag clear")
    func singleStepHandler() throws {
        let guest = try Guest()
        guest.processor.setGate(
            1, .direct(selector: 0x60, offset: Guest.handlers, privilege: 0, isTrap: true))
        guest.put([0x43, 0xCF], at: Guest.handlers)
        guest.processor.eflags = Flag.trap
        // Three instructions, each stepped, then ud2.
        #expect(guest.run([0x40, 0x40, 0x40, 0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor[.eax] == 3 && guest.processor[.ebx] == 3)
    }

    @Test(
        "instructions of ring 0 raise #GP(0)",
        arguments: [
            [0xF4], [0xFA], [0xFB], [0xE4, 0x60], [0xE6, 0x60], [0xEC], [0xED], [0xEE], [0xEF],
            [0x6C], [0xF3, 0x6F], [0x0F, 0x01, 0x15, 0, 0, 0, 0], [0x0F, 0x01, 0x1D, 0, 0, 0, 0],
            [0x0F, 0x01, 0x38], [0x0F, 0x00, 0xD0], [0x0F, 0x00, 0xD8], [0x0F, 0x01, 0xF0],
            [0x0F, 0x06], [0x0F, 0x08], [0x0F, 0x09], [0x0F, 0x20, 0xC0], [0x0F, 0x22, 0xD8],
            [0x0F, 0x21, 0xF8], [0x0F, 0x23, 0xF8], [0x0F, 0x30], [0x0F, 0x32], [0x0F, 0x33],
            [0x0F, 0x34], [0x0F, 0x35],
        ] as [[UInt8]])
    func privileged(_ code: [UInt8]) throws {
        for ring in [1, 3] {
            let guest = try Guest(ring: ring)
            #expect(guest.run(code) == .trap(13))
            #expect(guest.processor.eip == Guest.code)
        }
    }

    @Test(
        "what is not an instruction raises #UD",
        arguments: [
            [0x0F, 0x0B], [0x0F, 0xFF, 0xC0], [0xF0, 0x40], [0xF0, 0x01, 0xC0], [0x8C, 0xF0],
            [0x8E, 0xC8], [0x8D, 0xC0], [0xC4, 0xC0], [0xFF, 0xF8], [0xFE, 0xD0],
            [0x0F, 0xC7, 0xC8],
            [0x0F, 0x01, 0xC1], [0x0F, 0x6F, 0xC0], [0x0F, 0x28, 0xC0], [0x0F, 0xBA, 0xC0, 1],
            [0xF0, 0x39, 0x00], [0x0F, 0x05], [0x0F, 0x77],
        ] as [[UInt8]])
    func undefined(_ code: [UInt8]) throws {
        let guest = try Guest()
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor.eip == Guest.code)
    }

    @Test("an instruction of more than 15 bytes raises #GP(0), one of 15 does not")
    func tooLong() throws {
        let guest = try Guest()
        #expect(guest.run([UInt8](repeating: 0x3E, count: 15) + [0x90]) == .trap(13))
        let longest = [UInt8](repeating: 0x3E, count: 14) + [0x40, 0x0F, 0x0B]
        #expect(guest.run(longest) == .trap(6))
        #expect(guest.processor[.eax] == 1)
    }

    @Test("popf changes neither IF nor IOPL, and pushf shows IF set")
    func popFlags() throws {
        let guest = try Guest()
        // push 0; popf; pushf; pop eax; push -1; popf; pushf; pop ebx; ud2
        let code: [UInt8] = [
            0x6A, 0, 0x9D, 0x9C, 0x58, 0x68, 0xFF, 0xFE, 0xFF, 0xFF, 0x9D, 0x9C, 0x5B, 0x0F, 0x0B,
        ]
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.eax] == 0x202)
        // All arithmetic flags, DF, NT, AC, ID; no IOPL, VM, RF.
        #expect(guest.processor[.ebx] == 0x0024_4ED7)
    }

    @Test("flags loaded one by one come back one by one")
    func flagsRoundTrip() throws {
        let guest = try Guest()
        for bits in 0..<UInt32(64) {
            var flags: UInt32 = 0x202
            for (index, place) in [0, 2, 4, 6, 7, 11].enumerated() where bits >> index & 1 != 0 {
                flags |= 1 << place
            }
            guest.processor.eflags = flags
            #expect(guest.processor.eflags == flags)
        }
    }

    @Test("x87 raises #NM while CR0.TS is set, and works when it is clear")
    func taskSwitched() throws {
        let guest = try Guest()
        guest.processor.taskSwitched = true
        #expect(guest.run([0xD9, 0xE8]) == .trap(7))
        #expect(guest.processor.eip == Guest.code)
        guest.processor.taskSwitched = false
        // fld1; fistp dword [data]
        #expect(
            guest.run([0xD9, 0xE8, 0xDB, 0x1D] + Guest.immediate(Guest.data) + [0x0F, 0x0B])
                == .trap(6))
        #expect(guest.word(Guest.data) == 1)
    }

    @Test("cpuid and rdtsc ask the processor's user")
    func hostValues() throws {
        var profile = ProcessorProfile.lguest
        profile.identification = { ($0 + 1, 2, 3, 4) }
        let guest = try Guest(profile: profile)
        guest.processor.timeStamp = { 0x1_2345_6789 }
        guest.processor[.eax] = 7
        #expect(guest.run([0x0F, 0xA2, 0x89, 0xC6, 0x0F, 0x31, 0x0F, 0x0B]) == .trap(6))
        #expect(guest.processor[.esi] == 8 && guest.processor[.ebx] == 2)
        #expect(guest.processor[.eax] == 0x2345_6789 && guest.processor[.edx] == 1)
    }

    @Test("a repeated move of megabytes ends its slices in time and finishes")
    func longMove() throws {
        let guest = try Guest()
        guest.processor[.esi] = Guest.data
        guest.processor[.edi] = Guest.data + 0x10_0000
        guest.processor[.ecx] = 0x4_0000
        for index in 0..<UInt32(0x1000) {
            guest.memory.store32(Guest.data + index * 256, index &* 0x9E37_79B9)
        }
        var exit = guest.run([0xF3, 0xA5, 0x0F, 0x0B], instructions: 10)
        var slices = 1
        while exit == .stretchEnded {
            exit = guest.processor.run(instructions: 10)
            slices += 1
        }
        #expect(exit == .trap(6))
        #expect(slices > 100)
        #expect(guest.processor[.ecx] == 0 && guest.processor[.esi] == Guest.data + 0x10_0000)
        #expect(
            guest.bytes(Guest.data, 0x10_0000) == guest.bytes(Guest.data + 0x10_0000, 0x10_0000))
    }

    @Test("everything is decoded anew when the arena is full")
    func fullArena() throws {
        let guest = try Guest()
        // A long run of distinct code: 768 KiB of `add eax, imm8`, twice.
        let start: UInt32 = 0x10_0000
        let count: UInt32 = 0x4_0000
        for index in 0..<count { guest.put([0x83, 0xC0, 1], at: start + index * 3) }
        guest.put([0x0F, 0x0B], at: start + count * 3)
        for round in 1...2 as ClosedRange<UInt32> {
            guest.processor.eip = start
            #expect(guest.processor.run(instructions: 1_000_000) == .trap(6))
            #expect(guest.processor[.eax] == count * round)
        }
    }
}
