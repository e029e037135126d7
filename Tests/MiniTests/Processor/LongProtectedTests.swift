// The 64-bit processor outside long mode: protected mode without paging, in which old 64-bit kernels are entered, and through
// which unpackers of kernels from 4.17 on go once more.

import Testing

@testable import Mini

@Suite struct LongProtectedTests {
    private static let code: UInt32 = 0x1_0000
    private static let table: UInt32 = 0x500
    private static let pages: UInt32 = 0x9000
    private static let long: UInt8 = 0x28

    /// A guest of 4 MiB whose page tables name its second half at its first half's addresses as well.
    private struct Guest {
        let memory: GuestMemory
        let processor: LongProcessor

        init(_ mode: ProcessorStart.Mode = .protectedToLong) throws {
            let memory = try GuestMemory(count: 4 << 20)
            self.memory = memory
            func store(_ address: UInt32, _ value: UInt64) {
                memory.writable(memory.range(address, 8)!).storeBytes(of: value, as: UInt64.self)
            }
            let descriptors: [UInt64] = [
                0, 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x0080_8B00_0000_0067,
                0x00AF_9B00_0000_FFFF,
            ]
            for (index, value) in descriptors.enumerated() {
                store(table + UInt32(index) * 8, value)
            }
            store(pages, UInt64(pages) + 0x1003)
            store(pages + 0x1000, UInt64(pages) + 0x2003)
            store(pages + 0x2000, 0x83)
            // Linear 2 MiB is physical 0.
            store(pages + 0x2008, 0x83)
            processor = try LongProcessor(
                memory: memory,
                start: ProcessorStart(
                    mode: mode, entry: UInt64(code), stack: 0x8FF0, parameters: 0x7000,
                    globalTable: UInt64(table), globalTableLimit: UInt16(descriptors.count * 8 - 1)
                ))
        }

        func run(_ bytes: [UInt8]) -> ProcessorExit {
            memory.writable(memory.range(code, UInt32(bytes.count))!).copyBytes(from: bytes)
            return processor.run(instructions: 1000)
        }

        func word(_ address: UInt32) -> UInt32 { memory.load32(address) ?? 0 }
    }

    /// CR4.PAE, CR3, EFER.LME, CR0.PG.
    private static func turnOn(pae: Bool = true, lme: Bool = true) -> [UInt8] {
        var bytes: [UInt8] = [0xB8, pae ? 0x20 : 0, 0, 0, 0, 0x0F, 0x22, 0xE0]
        bytes += [0xB8, 0x00, 0x90, 0, 0, 0x0F, 0x22, 0xD8]
        if lme {
            bytes += [0xB9, 0x80, 0, 0, 0xC0, 0x0F, 0x32, 0x0F, 0xBA, 0xE8, 8, 0x0F, 0x30]
        }
        return bytes + paging(on: true)
    }

    private static func paging(on: Bool) -> [UInt8] {
        [0x0F, 0x20, 0xC0, 0x0F, 0xBA, on ? 0xE8 : 0xF0, 31, 0x0F, 0x22, 0xC0]
    }

    /// JMP to what follows, in another code segment.
    private static func jump(to selector: UInt8, behind bytes: [UInt8]) -> [UInt8] {
        let target = code + UInt32(bytes.count) + 7
        return bytes
            + [0xEA, UInt8(target & 0xFF), UInt8(target >> 8 & 0xFF), UInt8(target >> 16), 0]
            + [selector, 0]
    }

    /// mov eax, [address]; mov byte [address], value.
    private static func store(_ value: UInt8, at place: UInt32) -> [UInt8] {
        [0xC6, 0x05] + (0..<4).map { UInt8(truncatingIfNeeded: place >> (8 * $0)) } + [value]
    }

    @Test("an old kernel is entered with paging off and 32-bit code, its parameters in esi")
    func entry() throws {
        let guest = try Guest()
        #expect(guest.processor.register(.esi) == 0x7000)
        // Without paging an address is itself. dec eax, which 64-bit code has as a prefix.
        let exit = guest.run(Self.store(0x5A, at: 0x20_0000) + [0x31, 0xC0, 0x48, 0xF4])
        #expect(exit == .halt(interruptsEnabled: false))
        #expect(guest.word(0x20_0000) == 0x5A)
        #expect(guest.processor.register(.eax) == 0xFFFF_FFFF)
    }

    @Test("it turns long mode on, and 64-bit code follows a far jump")
    func turnsOn() throws {
        let guest = try Guest()
        // Still 32-bit code, but with paging; then mov rax, …; mov byte [linear 2 MiB + 0x40], 0x77.
        let compatible = Self.turnOn() + Self.store(0x66, at: 0x20_0030)
        let wide: [UInt8] = [0x48, 0xB8, 8, 7, 6, 5, 4, 3, 2, 1]
        let exit = guest.run(
            Self.jump(to: Self.long, behind: compatible) + wide
                + [0xC6, 0x04, 0x25, 0x40, 0, 0x20, 0, 0x77, 0xF4])
        #expect(exit == .halt(interruptsEnabled: false))
        #expect(guest.processor.register(.eax) == 0x0102_0304_0506_0708)
        #expect(guest.word(0x30) == 0x66)
        #expect(guest.word(0x40) == 0x77)
        #expect(guest.processor.core.state.features == 0x500)
    }

    @Test("32-bit code of a 64-bit kernel turns paging off and on again, and addresses follow")
    func through() throws {
        let guest = try Guest()
        var bytes = Self.jump(to: Self.long, behind: Self.turnOn())
        // push 0x10; push what follows; retfq.
        let target = Self.code + UInt32(bytes.count) + 9
        bytes += [0x6A, 0x10, 0x68]
        bytes += (0..<4).map { UInt8(truncatingIfNeeded: target >> (8 * $0)) }
        bytes += [0x48, 0xCB]
        bytes += Self.store(1, at: 0x20_0050)
        bytes += Self.paging(on: false)
        bytes += Self.store(2, at: 0x20_0050)
        bytes += Self.paging(on: true)
        bytes += Self.store(3, at: 0x20_0054)
        #expect(guest.run(bytes + [0xF4]) == .halt(interruptsEnabled: false))
        #expect(guest.word(0x50) == 1)
        #expect(guest.word(0x54) == 3)
        #expect(guest.word(0x20_0050) == 2)
        #expect(guest.word(0x20_0054) == 0)
    }

    @Test("outside long mode a code segment's L bit means nothing, and D says how wide it is")
    func longBit() throws {
        let guest = try Guest()
        // 16-bit code: mov ax, 0x1234, and the HLT in it.
        let exit = guest.run(Self.jump(to: Self.long, behind: []) + [0xB8, 0x34, 0xF4, 0xF4])
        #expect(exit == .halt(interruptsEnabled: false))
        #expect(guest.processor.register(.eax) == 0xF434)
    }

    @Test("LGDT and LIDT with an operand of 16 bits take 24 bits of the base")
    func shortTables() throws {
        let guest = try Guest()
        guest.memory.store32(0x3_0000, UInt32(0x500) << 16 | 47)
        guest.memory.store32(0x3_0004, 0x1100)
        let core = guest.processor.core
        // lgdt and lidt of the same, without and with the prefix.
        let place: [UInt8] = [0, 0, 3, 0]
        let tables = [0x0F, 0x01, 0x15] + place + [0x66, 0x0F, 0x01, 0x1D] + place
        #expect(guest.run(tables + [0xF4]) == .halt(interruptsEnabled: false))
        #expect(core.state.globalTable.base == 0x1100_0500)
        #expect(core.state.interruptTable.base == 0x500 && core.state.interruptTable.limit == 47)
    }

    @Test("outside long mode the descriptors of LDT and task have 8 bytes, and a base of 32 bits")
    func systemSegments() throws {
        let guest = try Guest()
        func store(_ value: UInt64) {
            let last = guest.memory.range(Self.table + UInt32(Self.long), 8)!
            guest.memory.writable(last).storeBytes(of: value, as: UInt64.self)
        }
        let core = guest.processor.core
        // What lies behind the table.
        guest.memory.store32(Self.table + 0x30, ~0)
        // mov eax, 28; ltr ax, then lldt ax
        let selector: [UInt8] = [0xB8, Self.long, 0, 0, 0]
        store(0x0000_8900_1234_0067)
        #expect(guest.run(selector + [0x0F, 0x00, 0xD8, 0xF4]) == .halt(interruptsEnabled: false))
        #expect(core.state.task.base == 0x1234 && core.state.task.limit == 0x67)
        #expect(guest.word(Self.table + 0x2C) == 0x8B00)
        store(0x0000_8200_5678_000F)
        core.state.rip = UInt64(Self.code)
        #expect(guest.run(selector + [0x0F, 0x00, 0xD0, 0xF4]) == .halt(interruptsEnabled: false))
        #expect(core.state.localTable.base == 0x5678 && core.state.localTable.limit == 15)
    }

    @Test(
        "paging without long mode, long mode without PAE, and leaving protection end it",
        arguments: [
            turnOn(lme: false), turnOn(pae: false),
            [0x0F, 0x20, 0xC0, 0x0F, 0xBA, 0xF0, 0, 0x0F, 0x22, 0xC0],
        ])
    func refused(_ bytes: [UInt8]) throws {
        #expect(try Guest().run(bytes + [0xF4]) == .shutdown)
    }

    @Test("64-bit code cannot turn paging off, PAE or EFER.LME")
    func stays() throws {
        // mov cr4, 0 and wrmsr EFER = 0 behind mov ecx, EFER.
        let clears: [[UInt8]] = [
            Self.paging(on: false), [0x31, 0xC0, 0x0F, 0x22, 0xE0], [0x31, 0xC0, 0x0F, 0x30],
        ]
        for clear in clears {
            let bytes = Self.jump(to: Self.long, behind: Self.turnOn()) + clear
            #expect(try Guest().run(bytes + [0xF4]) == .shutdown)
        }
    }

    @Test("an exception outside long mode ends it, whatever the table says; SYSCALL is none there")
    func exceptions() throws {
        // lidt from a word of the largest limit and a base of 0; ud2.
        let table: [UInt8] = [0x0F, 0x01, 0x1D, 0, 0, 3, 0]
        for code in [[0x0F, 0x0B], [0xCD, 0x20], [0x0F, 0x05], [0xF1]] as [[UInt8]] {
            let guest = try Guest()
            guest.memory.store32(0x3_0000, 0xFFFF)
            #expect(guest.run(table + code + [0xF4]) == .shutdown)
        }
    }
}
