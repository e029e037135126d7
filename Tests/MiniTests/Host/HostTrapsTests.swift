// Reflection of traps and delivery of interrupts, frame by frame, on the real processor.

import Testing

@testable import Mini

private let high = TinyGuest.high

@Suite struct HostTrapsTests {
    /// The words that lie on the stack when the handler begins, lowest address first.
    private func frame(_ guest: TinyGuest, words: Int) -> [UInt32] {
        let start = guest.cpu[.esp] &- guest.base
        return (0..<UInt32(words)).map { guest.word(start + $0 * 4) }
    }

    /// Runs to the guest's checkpoint and on to the one that its handler begins with.
    private func stopInHandler(_ guest: TinyGuest) {
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.run() == .checkpoint(2))
    }

    @Test("an interrupt gate gets eflags, cs and eip, and turns interrupts off")
    func interruptGate() throws {
        var at: UInt32 = 0
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(6, high + TinyGuest.handler)
            $0.checkpoint(1)
            at = $0.here
            $0.undefined()
        }
        guest.setField(0, 0x200)
        stopInHandler(guest)
        let words = frame(guest, words: 3)
        #expect(words[0] == at)
        #expect(words[1] == 0x61)
        #expect(words[2] & 0x202 == 0x202)
        #expect(guest.cpu[.esp] == high + TinyGuest.stackTop - 12)
        #expect(guest.field(0) == 0)
        #expect(guest.cpu.eflags & 0x200 != 0)
        #expect(guest.cpu.selector(.cs) == 0x61)
    }

    @Test("the pushed eflags say what irq_enabled said, by its bit 9 alone")
    func pushedFlag() throws {
        for (word, expected) in [(0, 0), (0x200, 0x200), (0x46, 0), (0x246, 0x200)]
            as [(UInt32, UInt32)]
        {
            let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
                $0.initialize()
                $0.gate(6, high + TinyGuest.handler)
                $0.checkpoint(1)
                $0.undefined()
            }
            guest.setField(0, word)
            stopInHandler(guest)
            #expect(frame(guest, words: 3)[2] & 0x200 == expected, "\(word)")
        }
    }

    @Test("a trap gate that the host enters leaves irq_enabled alone; trap 13 has an error code")
    func trapGate() throws {
        var at: UInt32 = 0
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(13, high + TinyGuest.handler, type: 0xF)
            $0.checkpoint(1)
            at = $0.here
            $0.interrupt(0x21)
        }
        guest.setField(0, 0x200)
        stopInHandler(guest)
        let words = frame(guest, words: 4)
        #expect(words[0] == 0x21 * 8 + 2)
        #expect(words[1] == at)
        #expect(words[2] == 0x61)
        #expect(guest.field(0) == 0x200)
    }

    @Test("a page fault leaves its address in cr2 and pushes its error code")
    func pageFault() throws {
        var at: UInt32 = 0
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(14, high + TinyGuest.handler)
            $0.checkpoint(1)
            at = $0.here
            $0.store(0x1234_5678, 0)
        }
        stopInHandler(guest)
        let words = frame(guest, words: 4)
        #expect(words[0] == 2)
        #expect(words[1] == at)
        #expect(guest.field(8) == 0x1234_5678)
    }

    /// Code that enters ring 3 at `userCode`.
    private func enterUser(_ code: inout Assembler) {
        code.initialize()
        code.call(3, TinyGuest.gdt, 32)
        code.call(7, 0x69, high + TinyGuest.ringStackTop, 1)
        for vector in [1, 13, 14] as [UInt32] { code.gate(vector, high + TinyGuest.handler) }
        code.gate(0x20, high + TinyGuest.handler)
        code.gate(0x80, high + TinyGuest.handler, type: 0xF, level: 3)
        code.checkpoint(1)
        code.push(0x7B)
        code.push(high + TinyGuest.userStackTop)
        code.push(0x246)
        code.push(0x73)
        code.push(high + TinyGuest.userCode)
        code.returnFromInterrupt()
    }

    @Test("from ring 3 the stack of SET_STACK is used and old ss and esp are pushed first")
    func fromUser() throws {
        // The hypercall's vector is not for ring 3: #GP with its number.
        let guest = try TinyGuest(
            handler: { $0.checkpoint(2) }, user: { $0.interrupt(0x1F) }, code: enterUser)
        guest.setField(0, 0x200)
        stopInHandler(guest)
        let words = frame(guest, words: 6)
        #expect(words[0] == 0xFA)
        #expect(words[1] == high + TinyGuest.userCode)
        #expect(words[2] == 0x73)
        #expect(words[3] & 0x200 != 0)
        #expect(words[4] == high + TinyGuest.userStackTop)
        #expect(words[5] == 0x7B)
        #expect(guest.cpu[.esp] == high + TinyGuest.ringStackTop - 24)
        #expect(guest.cpu.selector(.ss) == 0x69)
        #expect(guest.cpu.privilege == 1)
    }

    @Test("a program's trap and nested flags are in the frame, and not its kernel's")
    func steppedProgram() throws {
        let guest = try TinyGuest(
            handler: {
                $0.checkpoint(2)
                $0.returnFromInterrupt()
            },
            user: {
                // popf; it steps from the next instruction on.
                $0.push(0x4302)
                $0.emit(0x9D, 0x90, 0x90)
            }, code: enterUser)
        guest.setField(0, 0x200)
        stopInHandler(guest)
        // Back by the kernel's own iret, for one instruction more.
        for steps in [1, 2] as [UInt32] {
            let words = frame(guest, words: 3)
            #expect(words[0] == high + TinyGuest.userCode + 6 + steps)
            #expect(words[2] & 0x4100 == 0x4100)
            #expect(guest.cpu[.esp] == high + TinyGuest.ringStackTop - 20)
            #expect(guest.cpu.eflags & 0x1_4100 == 0)
            if steps == 1 { #expect(guest.run() == .checkpoint(2)) }
        }
    }

    @Test("a system call goes straight to its trap gate, without the host")
    func systemCall() throws {
        let guest = try TinyGuest(
            handler: { $0.checkpoint(2) }, user: { $0.interrupt(0x80) }, code: enterUser)
        guest.setField(0, 0x200)
        stopInHandler(guest)
        let words = frame(guest, words: 5)
        #expect(words[0] == high + TinyGuest.userCode + 2)
        #expect(words[1] == 0x73)
        #expect(words[3] == high + TinyGuest.userStackTop)
        #expect(words[4] == 0x7B)
        #expect(guest.field(0) == 0x200)
    }

    @Test("the same page fault from ring 3 is marked as a user's")
    func userFault() throws {
        let guest = try TinyGuest(
            handler: { $0.checkpoint(2) },
            user: {
                // ds := the user's data segment; the kernel's was taken away by the iret.
                $0.emit(0x66, 0xB8, 0x7B, 0x00, 0x8E, 0xD8)
                $0.load(0x5000)
            }, code: enterUser)
        stopInHandler(guest)
        #expect(frame(guest, words: 1) == [4])
        #expect(guest.field(8) == 0x5000)
    }

    @Test("without a handler a trap ends the guest: number, place, and cr2 or error code")
    func unhandled() throws {
        #expect(
            try lastWords { $0.load(0x1234) } == "unhandled trap 14 at 0xc0010005 (0x1234)")
        #expect(
            try lastWords { $0.interrupt(0x55) } == "unhandled trap 13 at 0xc0010005 (0x2aa)")
    }

    @Test("a stack that is not mapped ends the guest with the address that the kernel tried")
    func badStack() throws {
        func code(_ esp: UInt32) -> (inout Assembler) -> Void {
            {
                $0.initialize()
                $0.gate(6, $0.origin - TinyGuest.code + TinyGuest.handler)
                $0.move(.esp, esp)
                $0.undefined()
            }
        }
        #expect(try lastWords(.era1, code(0xC020_0000)) == "bad write address 0x1ffffc")
        #expect(try lastWords(.era1, code(0x1000)) == "bad write address 0x40000ffc")
        // Where the host does not know the guest's map: the place where it begins, if that is not there.
        for era in [GuestABI.Era.era1c, .era2, .era5] {
            #expect(try lastWords(era, code(0x20_0000)) == "Bad address 0x200000")
            let guest = try TinyGuest(era, code: code(0x5_1000))
            guest.memory.store32(TinyGuest.table + 0x50 * 4, 0)
            #expect(guest.lastWords() == "Bad address 0x50ffc")
        }
    }

    @Test("every pushed word goes through the page tables")
    func scatteredStack() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(6, high + TinyGuest.handler)
            $0.move(.esp, high + 0x51004)
            $0.checkpoint(1)
            $0.undefined()
        }
        guest.memory.store32(TinyGuest.table + 0x50 * 4, 0x60000 | 7)
        guest.memory.store32(TinyGuest.table + 0x51 * 4, 0x70000 | 7)
        stopInHandler(guest)
        #expect(guest.word(0x70000) & 2 == 2)
        #expect(guest.word(0x60FFC) == 0x61)
        #expect(guest.cpu[.esp] == high + 0x50FF8)
        #expect(guest.word(TinyGuest.table + 0x50 * 4) & 0x60 == 0x60)
    }

    @Test("a word that is pushed may end in the first bytes of physical memory")
    func frameInFirstBytes() throws {
        for last in 0..<UInt32(3) {
            let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
                $0.initialize()
                $0.gate(6, high + TinyGuest.handler)
                $0.move(.esp, high + 0x51001 + last)
                $0.checkpoint(1)
                $0.undefined()
            }
            guest.memory.store32(TinyGuest.table + 0x50 * 4, 0x60000 | 7)
            guest.memory.store32(TinyGuest.table + 0x51 * 4, 0 | 7)
            stopInHandler(guest)
            #expect(guest.cpu[.esp] == high + 0x50FF5 + last)
            // The saved eflags, of which bit 1 is always set.
            #expect(guest.word(0x60FFC) >> (8 * (1 + last)) & 2 == 2)
        }
    }

    @Test("an access to the top four megabytes ends the guest if a table is there, else faults")
    func reservedTop() throws {
        let present = try TinyGuest { $0.load(0xFFC0_1000) }
        present.memory.store32(TinyGuest.directory + 1023 * 4, TinyGuest.table | 7)
        #expect(present.lastWords() == "attempt to access switcher pages")
        #expect(
            try lastWords { $0.load(0xFFC0_1000) } == "unhandled trap 14 at 0xc0010005 (0xffc01000)"
        )
    }

    // MARK: - FPU and port instructions

    @Test("the FPU traps while TS is set and not after")
    func taskSwitched() throws {
        let guest = try TinyGuest(
            handler: {
                $0.call(8, 0)
                $0.checkpoint(2)
                $0.returnFromInterrupt()
            },
            code: {
                $0.initialize()
                $0.gate(7, high + TinyGuest.handler)
                $0.emit(0xD9, 0xE8)
                $0.checkpoint(1)
                $0.call(8, 8)
                $0.emit(0xD9, 0xE8)
                $0.checkpoint(3)
            })
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.run() == .checkpoint(3))
    }

    @Test("the guest kernel's in reads ones and its out goes nowhere")
    func ports() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.move(.eax, 0x1234_5678)
            $0.emit(0xE4, 0x64)
            $0.store(high + 0x60000)
            $0.emit(0xE6, 0x80)
            $0.emit(0x66, 0xEF)
            $0.emit(0xED)
            $0.store(high + 0x60004)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.word(0x60000) == 0x1234_FFFF)
        #expect(guest.word(0x60004) == 0xFFFF_FFFF)
    }

    @Test(
        "every form of in and out is skipped with its length, in reads ones the way it always did")
    func portForms() throws {
        let rows: [(bytes: [UInt8], eax: UInt32)] = [
            ([0xE4, 0x64], 0x1234_FFFF), ([0xE5, 0x64], 0xFFFF_FFFF), ([0xEC], 0x1234_FFFF),
            ([0xED], 0xFFFF_FFFF), ([0xE6, 0x80], 0x1234_5678), ([0xE7, 0x80], 0x1234_5678),
            ([0xEE], 0x1234_5678), ([0xEF], 0x1234_5678), ([0x66, 0xE5, 0x64], 0xFFFF_FFFF),
            ([0x66, 0xED], 0xFFFF_FFFF), ([0x66, 0xEF], 0x1234_5678),
        ]
        for row in rows {
            let guest = try TinyGuest {
                $0.initialize()
                $0.move(.eax, 0x1234_5678)
                for byte in row.bytes { $0.emit(byte) }
                $0.store(high + 0x60000)
                $0.checkpoint(1)
            }
            #expect(guest.run() == .checkpoint(1), "\(row)")
            #expect(guest.word(0x60000) == row.eax, "\(row)")
        }
    }

    @Test("no string form, cli, sti or hlt is carried out for a guest's kernel")
    func notForms() throws {
        for bytes in [
            [0x6C], [0x6D], [0x6E], [0x6F], [0xFA], [0xFB], [0xF4], [0xF3, 0x6E], [0x66, 0x6D],
        ] as [[UInt8]] {
            let words = try lastWords { for byte in bytes { $0.emit(byte) } }
            #expect(words == "unhandled trap 13 at 0xc0010005 (0x0)", "\(bytes)")
        }
    }

    @Test("port instructions below page_offset, and all others, are faults of the guest")
    func portFaults() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(13, high + TinyGuest.handler)
            $0.checkpoint(1)
            $0.emit(0xE9)
            $0.word(0x12000 &- ($0.here + 4))
        }
        guest.memory.store32(TinyGuest.directory, TinyGuest.table | 7)
        guest.store8(0x12000, 0xEC)
        stopInHandler(guest)
        #expect(frame(guest, words: 2) == [0, 0x12000])
        #expect(try lastWords { $0.emit(0x6C) } == "unhandled trap 13 at 0xc0010005 (0x0)")
        #expect(try lastWords { $0.emit(0xF4) } == "unhandled trap 13 at 0xc0010005 (0x0)")
    }

    @Test("the keyboard controller's reset command, however it is sent, is a restart")
    func reset() throws {
        for output in [[0xE6, 0x64], [0xEE]] as [[UInt8]] {
            let guest = try TinyGuest {
                $0.move(.edx, 0x64)
                $0.move(.eax, 0xFE)
                for byte in output { $0.emit(byte) }
            }
            #expect(guest.run() == .failed(.restart))
            #expect(guest.run() == .failed(.restart))
        }
        // Another command, another port, another width.
        #expect(
            try lastWords {
                $0.move(.edx, 0x60)
                $0.move(.eax, 0xFE)
                $0.emit(0xEE, 0xEF, 0xE6, 0x60)
                $0.move(.eax, 0xFD)
                $0.emit(0xE6, 0x64)
                $0.undefined()
            }.hasPrefix("unhandled trap 6"))
    }

    // MARK: - Interrupts

    @Test("an interrupt reaches a guest that spins with interrupts on, in ring 3 as well")
    func delivered() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }, code: enterUser)
        guest.setField(0, 0)
        #expect(guest.run() == .checkpoint(1))
        guest.setField(0, 0x246)
        try guest.host.interrupt(0)
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.field(0) == 0)
        #expect(!guest.host.lines.isPending(0))
    }

    @Test("it waits while the guest has interrupts off and comes soon after it turned them on")
    func enabling() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(0x21, high + TinyGuest.handler)
            $0.checkpoint(1)
            // A hundred thousand turns, then irq_enabled := 0x200, then for ever.
            $0.move(.ecx, 100_000)
            $0.emit(0x49, 0x75, 0xFD)
            $0.store(high + TinyGuest.data, 0x200)
            $0.emit(0x41, 0xEB, 0xFD)
        }
        #expect(guest.run() == .checkpoint(1))
        try guest.host.interrupt(1)
        #expect(guest.run() == .checkpoint(2))
    }

    @Test("in the middle of an iret nothing is delivered")
    func quiet() throws {
        var loop: UInt32 = 0
        let quiet = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(0x21, high + TinyGuest.handler)
            $0.checkpoint(1)
            loop = $0.here
            $0.move(.ecx, 50_000)
            $0.emit(0x49, 0x75, 0xFD)
            $0.emit(0x41, 0xEB, 0xFD)
        }
        quiet.setField(quiet.fields.quietStart, loop)
        quiet.setField(try #require(quiet.fields.quietEnd), loop + 8)
        quiet.setField(0, 0x200)
        #expect(quiet.run() == .checkpoint(1))
        try quiet.host.interrupt(1)
        #expect(quiet.run() == .checkpoint(2))
        // The handler was entered from behind the range.
        let eip = frame(quiet, words: 1)[0]
        #expect(eip >= loop + 8 && eip < loop + 11)
    }

    @Test("a halted guest wakes with interrupts on; without a gate the interrupt stays pending")
    func halted() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(10)
            $0.checkpoint(1)
        }
        try guest.host.interrupt(3)
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.field(0) == 0x200)
        #expect(guest.host.lines.isPending(3))
    }

    @Test("masked lines do not wake it")
    func masked() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(10)
        }
        guest.setField(4, 1 << 3)
        try guest.host.interrupt(3)
        SystemCall.hooked({ $0.number == .poll ? -12 : nil }) {
            #expect(guest.run() == .failed(.noMemory))
        }
        guest.setField(4, 0)
        #expect(guest.host.lines.isPending(3))
    }

    @Test("time is written when an interrupt is delivered")
    func time() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(0x21, high + TinyGuest.handler)
            $0.checkpoint(1)
            $0.call(10)
        }
        #expect(guest.run() == .checkpoint(1))
        guest.setField(guest.fields.seconds, 0)
        try guest.host.interrupt(1)
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.field(guest.fields.seconds) != 0)
    }

    @Test("rdtsc counts nanoseconds, cpuid tells of a Pentium with nothing special")
    func processorFacts() throws {
        let start = Clock.monotonic()
        let guest = try TinyGuest {
            $0.initialize()
            $0.emit(0x0F, 0x31)
            $0.store(high + 0x60000)
            $0.move(.eax, 1)
            $0.emit(0x0F, 0xA2, 0x89, 0xD0)
            $0.store(high + 0x60004)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        let elapsed = Clock.monotonic() - start
        #expect(guest.word(0x60000) > 0 && UInt64(guest.word(0x60000)) <= elapsed.count)
        #expect(guest.word(0x60004) == 0x8111)
    }
}
