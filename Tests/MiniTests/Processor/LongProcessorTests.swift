// Exact tests of the 64-bit processor: what programs in ring 3 cannot show, or only by chance.

import Testing

@testable import Mini

@Suite struct LongProcessorTests {
    /// mov rax, value
    private func rax(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value) }
    private func rcx(_ value: UInt64) -> [UInt8] { [0x48, 0xB9] + bytes(value) }
    private func rdx(_ value: UInt64) -> [UInt8] { [0x48, 0xBA] + bytes(value) }
    private func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    /// WRMSR
    private func set(_ register: UInt64, _ value: UInt64) -> [UInt8] {
        rcx(register) + rax(value & 0xFFFF_FFFF) + rdx(value >> 32) + [0x0F, 0x30]
    }
    private let userCode = LongPlace.code + 0x800

    // MARK: Memory from 4 GiB on

    private static let high = MemoryExtent.highStart
    /// Linear; the page behind it is at the next place.
    private static let first = LongPlace.data + 0x2000

    /// A machine with data pages 2 and 3 at these places.
    private func machine(_ places: [UInt64]) throws -> LongMachine {
        let machine = try LongMachine(high: 0x20_0000)
        for (index, place) in places.enumerated() {
            machine.store(0x4010 + 8 * UInt32(index), place | 7)
        }
        return machine
    }

    private func far(_ machine: LongMachine, _ place: UInt64, _ bytes: [UInt8]) {
        machine.memory.writable(machine.memory.range(far: place, UInt32(bytes.count))!)
            .copyBytes(from: bytes)
    }

    @Test("memory from 4 GiB on is read and written, across pages as well; behind its end is none")
    func highMemory() throws {
        let end = Self.high + 0x20_0000
        let machine = try machine([Self.high, end - 0x1000, end])
        let value: UInt64 = 0x1122_3344_5566_7788
        let core = machine.processor.core
        // mov [rcx], rax; mov rbx, [rcx]
        let there: [UInt8] = [0x48, 0x89, 0x01, 0x48, 0x8B, 0x19]
        machine.kernel(rax(value) + rcx(Self.first) + there + rcx(Self.first + 0xFFC) + there)
        #expect(core.rbx == value)
        let memory = machine.memory
        #expect(memory.readable(memory.range(far: Self.high, 8)!).load(as: UInt64.self) == value)
        #expect(
            memory.readable(memory.range(far: end - 0x1000, 4)!).load(as: UInt32.self)
                == UInt32(value >> 32))
        machine.kernel(rax(value) + rcx(Self.first + 0x1FFC) + there)
        #expect(core.rbx == 0xFFFF_FFFF_5566_7788)
        #expect(machine.bytes(0, 0x10) == [UInt8](repeating: 0, count: 0x10))
    }

    @Test("code runs there, is not taken for that 4 GiB below, and may change, whoever writes it")
    func highCode() throws {
        let place: UInt64 = 0x12_0000
        let machine = try machine([place, Self.high + place])
        let core = machine.processor.core
        // mov eax, number; ret
        func code(_ number: UInt8) -> [UInt8] { [0xB8, number, 0, 0, 0, 0xC3] }
        far(machine, place, code(1))
        far(machine, Self.high + place, code(2))
        /// Calls both.
        func both() -> [UInt64] {
            [Self.first, Self.first + 0x1000].map { linear in
                machine.kernel(rax(linear) + [0xFF, 0xD0])
                return core.rax
            }
        }
        #expect(both() == [1, 2])
        far(machine, Self.high + place, code(3))
        #expect(both() == [1, 3])
        far(machine, place, code(4))
        #expect(both() == [4, 3])
        // mov byte [rcx], 5
        machine.kernel(rcx(Self.first + 0x1001) + [0xC6, 0x01, 5])
        #expect(both() == [4, 5])
        // An instruction that begins on one page and ends on another.
        machine.store(0x4018, Self.high | 7)
        machine.store(0x4020, (Self.high + 0x1000) | 7)
        core.flushTLB()
        far(machine, Self.high + 0xFFE, code(6))
        let across = rax(Self.first + 0x1FFE) + [0xFF, 0xD0]
        machine.kernel(across)
        #expect(core.rax == 6)
        far(machine, Self.high + 0x1000, [7])
        machine.kernel(across)
        #expect(core.rax == 0x706)
    }

    @Test("KVM's clock is written there, too, and nowhere if it does not fit")
    func highClock() throws {
        let machine = try machine([])
        let end = Self.high + 0x20_0000
        machine.kernel(set(0x4B56_4D01, Self.high | 1))
        let memory = machine.memory
        #expect(
            memory.readable(memory.range(far: Self.high, 32)!).load(
                fromByteOffset: 28, as: UInt32.self) == 0x101)
        machine.processor.tellStop()
        #expect(
            memory.readable(memory.range(far: Self.high, 32)!).load(
                fromByteOffset: 28, as: UInt32.self) == 0x301)
        machine.kernel(set(0x4B56_4D01, (end - 16) | 1))
        machine.processor.tellStop()
        #expect(memory.readable(memory.range(far: end - 16, 16)!).allSatisfy { $0 == 0 })
    }

    @Test("kernels before 2.6.35 find KVM's clocks by the names of then")
    func oldClock() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        machine.kernel(rax(0x4000_0001) + [0x0F, 0xA2])
        #expect(core.rax & 1 == 1)
        let place = UInt64(LongPlace.dataPhysical)
        machine.kernel(set(0x12, place | 1) + set(0x11, place + 0x40))
        #expect(machine.memory.load32(LongPlace.dataPhysical + 28) == 0x101)
        #expect(machine.memory.load32(LongPlace.dataPhysical + 0x44) != 0)
        machine.kernel(rcx(0x12) + [0x0F, 0x32])
        #expect(machine.vector == nil && core.rax == place | 1)
    }

    // MARK: Entry and identity

    @Test("a 32-bit start is refused")
    func protectedStart() throws {
        let memory = try GuestMemory(count: 1 << 20)
        #expect(throws: Errno.noDevice) {
            _ = try LongProcessor(
                memory: memory,
                start: ProcessorStart(
                    mode: .protected32, entry: 0, stack: 0, parameters: 0, globalTable: 0,
                    globalTableLimit: 0x27))
        }
    }

    @Test("a kernel starts in ring 0 in 64-bit mode, with its parameters in rsi and interrupts off")
    func start() throws {
        let memory = try GuestMemory(count: 1 << 20)
        let processor = try LongProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .long64(pageTable: 0x9000), entry: 0x1_0000, stack: 0x8FF0,
                parameters: 0x7000,
                globalTable: 0x500, globalTableLimit: 0x27))
        #expect(processor.register(.eip) == 0x1_0000)
        #expect(processor.register(.esi) == 0x7000)
        #expect(processor.register(.eflags) == 2)
        #expect(processor.privilege == 0)
        #expect(!processor.canInject)
    }

    @Test("it says that it is an AMD of family 15 with MMX, SSE2, NX, SYSCALL, and offers no more")
    func identity() throws {
        let machine = try LongMachine()
        machine.kernel(rax(1) + [0x0F, 0xA2])
        let core = machine.processor.core
        #expect(core.get(1, as: UInt8.self) == 0x0F)
        // FPU, MSR, PAE, CX8, PGE, CMOV, MMX, FXSR, SSE, SSE2; no APIC.
        #expect(core.rdx & 0x0780_A161 == 0x0780_A161)
        #expect(core.rdx & (1 << 9) == 0)
        #expect(core.rcx == 1 << 31)
        machine.kernel(rax(0x8000_0001) + [0x0F, 0xA2])
        #expect(core.rdx & (1 << 11 | 1 << 20 | 1 << 29) == 1 << 11 | 1 << 20 | 1 << 29)
    }

    @Test(
        "what is not offered is an invalid opcode",
        arguments: [
            [0x0F, 0x38, 0x00, 0xC0], [0xC5, 0xF8, 0x77], [0xF3, 0x0F, 0xB8, 0xC0],
            [0x0F, 0x01, 0xD0], [0x48, 0x0F, 0xC7, 0x0E], [0x0F, 0x34], [0x06], [0xF0, 0x90],
            [0x0F, 0x0B], [0xF3, 0x0F, 0xAE, 0xC0],
        ] as [[UInt8]])
    func undefined(code: [UInt8]) throws {
        let machine = try LongMachine()
        machine.kernel(code)
        #expect(machine.vector == 6)
        #expect(machine.frame(0) == LongPlace.code)
    }

    // MARK: Transfers

    @Test("SYSCALL and SYSRET go to ring 0 and back, with selectors from STAR and flags masked")
    func systemCall() throws {
        let machine = try LongMachine()
        let kernel = LongPlace.code + 0x400
        // Ring 3: syscall; int3. Ring 0: sysretq.
        machine.write(LongPlace.codePhysical + 0x800, [0x0F, 0x05, 0xCC])
        machine.write(LongPlace.codePhysical + 0x400, [0x48, 0x0F, 0x07])
        let core = machine.processor.core
        machine.kernel(
            set(0xC000_0080, 0x501) + set(0xC000_0081, 0x0010_0008 << 32) + set(0xC000_0082, kernel)
                + set(0xC000_0084, 0x200))
        core.state.segments[1].selector = 0x23
        core.state.privilege = 3
        core.state.rip = userCode
        core.flags = 0x202
        core.updateMode()
        // One instruction: in ring 0, interrupts off.
        _ = machine.processor.run(instructions: 1)
        #expect(core.state.rip == kernel)
        #expect(core.state.privilege == 0)
        #expect(core.state.segments[1].selector == 8 && core.state.segments[2].selector == 0x10)
        #expect(core.rcx == userCode + 2)
        #expect(core.get(88, as: UInt64.self) == 0x202)
        #expect(core.flags == 2)
        _ = machine.processor.run(instructions: 1)
        #expect(core.state.rip == userCode + 2)
        #expect(core.state.privilege == 3)
        #expect(core.state.segments[1].selector == 0x23 && core.state.segments[2].selector == 0x1B)
        #expect(core.flags == 0x202)
    }

    @Test("SYSCALL without EFER.SCE is an invalid opcode")
    func noSystemCall() throws {
        let machine = try LongMachine()
        machine.kernel([0x0F, 0x05])
        #expect(machine.vector == 6)
    }

    @Test("SWAPGS exchanges the base of gs with the kernel's, in ring 0 alone")
    func swapBases() throws {
        let machine = try LongMachine()
        machine.kernel(set(0xC000_0101, 0x1111) + set(0xC000_0102, 0x2222) + [0x0F, 0x01, 0xF8])
        #expect(machine.processor.core.state.bases[5] == 0x2222)
        #expect(machine.processor.core.state.kernelBase == 0x1111)
        let ending = machine.run(program([0x0F, 0x01, 0xF8]), image: image)
        #expect(ending.trap == 13)
    }

    @Test("KVM's hypercalls are there and do nothing: there is no such call, and none for programs")
    func hypercalls() throws {
        let machine = try LongMachine()
        for code in [[0x0F, 0x01, 0xC1], [0x0F, 0x01, 0xD9]] as [[UInt8]] {
            machine.kernel(rax(9) + code)
            #expect(machine.vector == nil)
            #expect(machine.processor.core.rax == 0xFFFF_FFFF_FFFF_FC18)
            // The INT3 behind it.
            let ending = machine.run(program(code), image: image)
            #expect(ending.trap == 3)
            #expect(ending.registers[0] == .max)
        }
        machine.kernel([0x0F, 0x01, 0xC2])
        #expect(machine.vector == 6)
    }

    private let image = [UInt8](repeating: 0, count: LongPlace.dataSize)
    private func program(_ code: [UInt8]) -> LongCase {
        LongCase(
            registers: [UInt64](repeating: LongPlace.data, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80, rip: LongPlace.code,
            flags: 0x202, code: code)
    }

    @Test(
        "an exception pushes five words on the interrupt's stack, aligned to 16 bytes, and its error code"
    )
    func frame() throws {
        let machine = try LongMachine()
        var test = program([0x48, 0x8B, 0x04, 0x25, 0, 0, 0, 0])
        test.registers[4] = LongPlace.data + 0x123
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 14)
        #expect(ending.error == 5)
        #expect(ending.address == 0)
        #expect(machine.processor.core.rsp == UInt64(LongPlace.stack) - 48)
        #expect(machine.frame(2) == 0x23)
        #expect(machine.frame(4) == LongPlace.data + 0x123)
        #expect(machine.frame(5) == 0x1B)
        // The handler runs in ring 0 with a null ss and interrupts off.
        #expect(machine.processor.core.state.segments[2].selector == 0)
        #expect(machine.processor.core.flags & 0x200 == 0)
    }

    @Test(
        "IRETQ returns to ring 3 with its stack and flags, and to a non-canonical address not at all"
    )
    func interruptReturn() throws {
        let machine = try LongMachine()
        func push(_ value: UInt64) -> [UInt8] { rax(value) + [0x50] }
        let frame = push(0x1B) + push(LongPlace.data + 0x800) + push(0x246) + push(0x23)
        machine.write(LongPlace.codePhysical + 0x800, [0xCC])
        machine.kernel(frame + push(userCode) + [0x48, 0xCF])
        #expect(machine.vector == 3)
        #expect(machine.frame(0) == userCode + 1)
        #expect(machine.frame(1) == 0x23)
        #expect(machine.frame(2) & 0xFFF == 0x246)
        #expect(machine.frame(3) == LongPlace.data + 0x800)
        machine.kernel(frame + push(0x0000_8000_0000_0000) + [0x48, 0xCF])
        #expect(machine.vector == 13)
    }

    @Test("an exception without a way to deliver it is a shutdown")
    func tripleFault() throws {
        let machine = try LongMachine()
        machine.processor.core.state.interruptTable = LongTable(base: 0, limit: 0)
        #expect(machine.kernel([0x0F, 0x0B]) == .shutdown)
        #expect(machine.processor.run(instructions: 10) == .shutdown)
    }

    // MARK: Paging

    @Test("ring 3 reads no page of ring 0, ring 0 writes no page that may only be read with CR0.WP")
    func rights() throws {
        let machine = try LongMachine()
        let ending = machine.run(program([0x48, 0x8B, 0x04, 0x25, 0, 0x10, 0, 0]), image: image)
        #expect(ending.trap == 14 && ending.error == 5 && ending.address == 0x1000)
        machine.store(0x4000, UInt64(LongPlace.dataPhysical) | 5)
        // CR0.WP; mov [data], rax
        let store = rdx(LongPlace.data) + [0x48, 0x89, 0x02]
        machine.kernel(rax(0x8001_0033) + [0x0F, 0x22, 0xC0] + store)
        #expect(machine.vector == 14 && machine.frame(0) == 3)
        machine.kernel(rax(0x8000_0033) + [0x0F, 0x22, 0xC0] + store)
        #expect(machine.vector == nil)
    }

    @Test(
        "NX keeps code from being fetched, and only if EFER.NXE is set; else it is a reserved bit")
    func noExecute() throws {
        let machine = try LongMachine()
        machine.store(0x4000, UInt64(LongPlace.dataPhysical) | 7 | 1 << 63)
        let jump = rax(LongPlace.data) + [0xFF, 0xE0]
        machine.kernel(set(0xC000_0080, 0xD00) + jump)
        #expect(machine.vector == 14 && machine.frame(0) == 0x11)
        machine.kernel(set(0xC000_0080, 0x500) + jump)
        #expect(machine.vector == 14 && machine.frame(0) == 9)
    }

    @Test(
        "bits 7 and 8 of the first level are reserved, of the second bit 7 alone, of the third none"
    )
    func reservedBits() throws {
        // The data's place once more, from 512 GiB on: 0x1008 and 0xD000 are of that way alone.
        let far: UInt64 = 1 << 39
        for (entry, bit, isReserved) in [
            (0x1008, 7, true), (0x1008, 8, true), (0xD000, 7, true), (0xD000, 8, false),
            (0x3400, 8, false),
        ] as [(UInt32, UInt64, Bool)] {
            let machine = try LongMachine()
            machine.store(0x1008, 0xD007)
            machine.store(0xD000, 0x3007)
            let old = machine.memory.readable(machine.memory.range(entry, 8)!).load(as: UInt64.self)
            machine.store(entry, old | 1 << bit)
            machine.kernel(rdx(far | LongPlace.data) + [0x48, 0x8B, 0x02])
            #expect(machine.vector == (isReserved ? 14 : nil))
            if isReserved { #expect(machine.frame(0) == 9) }
        }
    }

    @Test("accessed and dirty bits are set by what is done")
    func usedBits() throws {
        let machine = try LongMachine()
        func entry() -> UInt64 {
            machine.memory.readable(machine.memory.range(0x4000, 8)!).load(as: UInt64.self)
        }
        machine.kernel(rdx(LongPlace.data) + [0x48, 0x8B, 0x02])
        #expect(entry() & 0x60 == 0x20)
        machine.kernel(rdx(LongPlace.data) + [0x48, 0x89, 0x02])
        #expect(entry() & 0x60 == 0x60)
    }

    @Test("INVLPG makes a changed entry seen, of a page of 2 MiB as well")
    func forgetPage() throws {
        let machine = try LongMachine()
        // A load, then the entry is changed through the page of ring 0, INVLPG, a load.
        let load = rdx(LongPlace.data) + [0x8B, 0x1A]
        machine.write(LongPlace.dataPhysical, [1, 0, 0, 0])
        machine.write(LongPlace.dataPhysical + 0x1000, [2, 0, 0, 0])
        let change =
            rax(UInt64(LongPlace.dataPhysical) + 0x1000 | 7) + [
                0x48, 0x89, 0x04, 0x25, 0, 0x40, 0, 0,
            ]
        machine.kernel(load + change + [0x0F, 0x01, 0x3A] + load)
        #expect(machine.processor.core.rbx == 2)
    }

    // MARK: Code that changes

    @Test("code is seen to change through another address of its page")
    func alias() throws {
        let machine = try LongMachine()
        // The second page of data is the page of code.
        machine.store(0x4008, UInt64(LongPlace.codePhysical) | 7)
        let function: UInt64 = 0x400
        machine.write(LongPlace.codePhysical + 0x400, [0xB8, 1, 0, 0, 0, 0xC3])
        func call() -> [UInt8] { rcx(LongPlace.code + function) + [0xFF, 0xD1] }
        // mov byte [data + 0x1401], 7
        let patch = rdx(LongPlace.data + 0x1401) + [0xC6, 0x02, 7]
        machine.kernel(call() + [0x89, 0xC3] + patch + call())
        #expect(machine.processor.core.rbx == 1)
        #expect(machine.processor.core.rax == 7)
    }

    @Test("an instruction that changes the one behind it is followed by the new one")
    func selfModifying() throws {
        let machine = try LongMachine()
        // mov byte [rip + 1], 9: the immediate of the move behind it.
        machine.kernel([0xC6, 0x05, 1, 0, 0, 0, 9, 0xB8, 1, 0, 0, 0])
        #expect(machine.processor.core.rax == 9)
    }

    @Test("an instruction may lie on two pages, and faults for the second one")
    func crossing() throws {
        let machine = try LongMachine()
        machine.write(LongPlace.codePhysical + 0xFFE, [0xB8, 5])
        machine.kernel(rax(LongPlace.code + 0xFFE) + [0xFF, 0xE0])
        #expect(machine.vector == 14)
        #expect(machine.processor.core.state.faultAddress == LongPlace.code + 0x1000)
        machine.store(0x5008, UInt64(LongPlace.dataPhysical) | 7)
        machine.write(LongPlace.dataPhysical, [0, 0, 0, 0xF4])
        machine.kernel(rax(LongPlace.code + 0xFFE) + [0xFF, 0xE0])
        #expect(machine.processor.core.rax == 5)
    }

    @Test("a small arena, full again and again, changes nothing")
    func smallArena() throws {
        let machine = try LongMachine(arenaCount: 0)
        // Ten functions, called in a loop of a hundred turns.
        for index in 0..<10 as Range<UInt32> {
            machine.write(LongPlace.codePhysical + 0x400 + index * 64, [0x48, 0xFF, 0xC0, 0xC3])
        }
        var code: [UInt8] = rax(0) + rcx(100)
        let top = code.count
        for index in 0..<10 {
            let distance = Int32(0x400 + index * 64 - code.count - 5)
            code.append(0xE8)
            code += withUnsafeBytes(of: distance) { Array($0) }
        }
        code += [0x48, 0xFF, 0xC9, 0x75, UInt8(truncatingIfNeeded: top - code.count - 5)]
        machine.kernel(code, atMost: 100_000_000)
        #expect(machine.processor.core.rax == 1000)
    }

    // MARK: Strings, ports, interrupts

    @Test("REP MOVS stops at the page that faults, with the registers at that element")
    func stringFault() throws {
        let machine = try LongMachine()
        var test = program([0xF3, 0xA4])
        test.registers[1] = 0x100
        test.registers[6] = LongPlace.data
        test.registers[7] = LongPlace.data + 0x1FF0
        let ending = machine.run(test, image: (0..<LongPlace.dataSize).map { UInt8($0 & 0xFF) })
        #expect(ending.trap == 14 && ending.address == LongPlace.data + 0x2000)
        #expect(ending.registers[1] == 0xF0)
        #expect(ending.registers[6] == LongPlace.data + 0x10)
        #expect(ending.registers[7] == LongPlace.data + 0x2000)
        #expect(Array(ending.data[0x1FF0...]) == (0..<16).map { UInt8($0) })
    }

    @Test("REP STOS and MOVS of many pages do all of it, overlapping upwards one element at a time")
    func longStrings() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        machine.kernel(
            rdx(LongPlace.data) + [0x48, 0x89, 0xD7] + rcx(0x400) + rax(0x0102_0304_0506_0708)
                + [0xF3, 0x48, 0xAB])
        #expect(core.rcx == 0 && core.rdi == LongPlace.data + 0x2000)
        #expect(machine.bytes(LongPlace.dataPhysical + 0x1FF8, 8) == [8, 7, 6, 5, 4, 3, 2, 1])
        // A byte moved onto the next one, and so on: it fills.
        machine.write(LongPlace.dataPhysical, [0x5A])
        machine.kernel(
            rdx(LongPlace.data) + [0x48, 0x89, 0xD6, 0x48, 0x8D, 0x7A, 1] + rcx(0x1FFF) + [
                0xF3, 0xA4,
            ])
        #expect(
            machine.bytes(LongPlace.dataPhysical, 0x2000) == [UInt8](repeating: 0x5A, count: 0x2000)
        )
    }

    @Test("ports exit, behind the instruction, and the answer goes where it belongs")
    func ports() throws {
        let machine = try LongMachine()
        #expect(
            machine.kernel(rax(0x41) + [0xE6, 0x80])
                == .portOutput(PortAccess(port: 0x80, size: 1), value: 0x41))
        #expect(
            machine.kernel(rax(~0) + rdx(0x3F8) + [0xED])
                == .portInput(PortAccess(port: 0x3F8, size: 4)))
        machine.processor.answer(0x1234)
        #expect(machine.processor.core.rax == 0x1234)
        let ending = machine.run(program([0xE6, 0x80]), image: image)
        #expect(ending.trap == 13)
        // rep outsb or insb with nothing to do, and ud2: the port is looked at all the same.
        for string in [0x6E, 0x6C] as [UInt8] {
            let none = rcx(0) + rdx(0x80) + [0xF3, string, 0x0F, 0x0B]
            machine.kernel(none)
            #expect(machine.vector == 6)
            #expect(machine.run(program(none), image: image).trap == 13)
        }
    }

    @Test("an interrupt waits for STI and the instruction behind it, and ends HLT")
    func interrupts() throws {
        let machine = try LongMachine()
        machine.processor.awaitsInterruptWindow = true
        // sti; nop; hlt
        #expect(machine.kernel([0xFB, 0x90]) == .interruptWindow)
        #expect(machine.processor.core.state.rip == LongPlace.code + 2)
        #expect(machine.processor.canInject)
        machine.processor.inject(0x30, errorCode: 0)
        machine.processor.awaitsInterruptWindow = false
        _ = machine.processor.run(instructions: 10)
        #expect(machine.vector == 0x30)
        #expect(machine.frame(0) == LongPlace.code + 2)
    }

    @Test("an interrupt whose gate cannot be used is a fault from outside, INT is not")
    func outsideFault() throws {
        let machine = try LongMachine()
        // Not present.
        machine.store(LongPlace.interrupts + 0x30 * 16, 0x0E00 << 32)
        machine.processor.awaitsInterruptWindow = true
        #expect(machine.kernel([0xFB, 0x90]) == .interruptWindow)
        machine.processor.inject(0x30, errorCode: 0)
        machine.processor.awaitsInterruptWindow = false
        _ = machine.processor.run(instructions: 10)
        #expect(machine.vector == 11 && machine.frame(0) == 0x30 * 8 + 3)
        machine.kernel([0xCD, 0x30])
        #expect(machine.vector == 11 && machine.frame(0) == 0x30 * 8 + 2)
    }

    @Test("what does nothing has no record of its own, and is one step nevertheless")
    func nothing() throws {
        // nop; nop [rax]; inc rax; pause; nop; hlt
        let code: [UInt8] = [0x90, 0x0F, 0x1F, 0x00, 0x48, 0xFF, 0xC0, 0xF3, 0x90, 0x90, 0xF4]
        let room = UnsafeMutablePointer<LongOperation>.allocate(capacity: 16)
        defer { room.deallocate() }
        var decoder = LongDecoder(
            bytes: code, available: code.count, operations: room, mode: 0)
        let isWhole = decoder.block(limit: 64)
        #expect(isWhole)
        #expect(decoder.recordCount == 2)
        #expect(decoder.instructionCount == 2)
        #expect(decoder.position == code.count)
        #expect(room[0].first == 4)
        let machine = try LongMachine()
        machine.kernel(code, atMost: 0)
        var places: [UInt64] = []
        for _ in 0..<5 {
            #expect(machine.processor.run(instructions: 1) == .stretchEnded)
            places.append(machine.processor.core.state.rip - LongPlace.code)
        }
        #expect(places == [1, 4, 7, 9, 10])
    }

    @Test(
        "a comparison and the branch behind it are one record, two instructions and two steps",
        arguments: [
            // cmp rcx, rax; cmp rax, 5; cmp ecx, eax; cmp eax, 5; cmp al, 5; test rax, rax; test eax, eax; test al, al
            [0x48, 0x39, 0xC1], [0x48, 0x83, 0xF8, 5], [0x39, 0xC1], [0x83, 0xF8, 5], [0x3C, 5],
            [0x48, 0x85, 0xC0], [0x85, 0xC0], [0x84, 0xC0],
        ] as [[UInt8]], [0x74, 0x75] as [UInt8])
    func fused(comparison: [UInt8], branch: UInt8) throws {
        // The branch goes to the second HLT.
        let code: [UInt8] = comparison + [branch, 1, 0xF4, 0xF4]
        let room = UnsafeMutablePointer<LongOperation>.allocate(capacity: 16)
        defer { room.deallocate() }
        var decoder = LongDecoder(
            bytes: code, available: code.count, operations: room, mode: 0)
        let isWhole = decoder.block(limit: 64)
        #expect(isWhole && decoder.recordCount == 1 && decoder.instructionCount == 2)
        let machine = try LongMachine()
        let core = machine.processor.core
        let end = LongPlace.code + UInt64(comparison.count) + 2
        for value in [0, 5, 6] as [UInt64] {
            let isTest = comparison.contains(0x85) || comparison.contains(0x84)
            // What a comparison with rcx finds equal.
            let isEqual = comparison.contains(0x39) ? value == 6 : value == (isTest ? 0 : 5)
            var ends: [UInt64] = []
            for stretch in [2, 1] {
                machine.kernel(code, atMost: 0)
                core.rax = value
                core.rcx = 6
                for _ in stride(from: 0, to: 2, by: stretch) {
                    #expect(machine.processor.run(instructions: stretch) == .stretchEnded)
                }
                #expect(core.zero == isEqual)
                ends.append(core.state.rip)
            }
            let isTaken = isEqual == (branch == 0x74)
            #expect(ends == [end + (isTaken ? 1 : 0), end + (isTaken ? 1 : 0)])
        }
    }

    @Test("a branch of more than 15 bytes, or with LOCK, leaves the comparison before it alone")
    func notFused() throws {
        let machine = try LongMachine()
        for prefixes in [[UInt8](repeating: 0x66, count: 10), [0xF0]] {
            machine.kernel([0x48, 0x85, 0xC0] + prefixes + [0x0F, 0x84, 0, 0, 0, 0])
            #expect(machine.vector == (prefixes.count > 1 ? 13 : 6))
            #expect(machine.frame(prefixes.count > 1 ? 1 : 0) == LongPlace.code + 3)
        }
    }

    @Test("a page of what does nothing ends, and the one behind it goes on")
    func nothingElse() throws {
        let machine = try LongMachine()
        machine.store(0x5008, UInt64(LongPlace.dataPhysical) | 7)
        machine.write(LongPlace.codePhysical, [UInt8](repeating: 0x90, count: LongPlace.codeSize))
        machine.write(LongPlace.dataPhysical, [0xF4])
        machine.kernel([0x90], atMost: 0)
        machine.write(LongPlace.codePhysical, [UInt8](repeating: 0x90, count: LongPlace.codeSize))
        #expect(machine.processor.run(instructions: 4) == .halt(interruptsEnabled: false))
        #expect(machine.processor.core.state.rip == LongPlace.code + 0x1001)
    }

    @Test("the trap flag stops after each instruction")
    func singleStep() throws {
        let machine = try LongMachine()
        var test = program([0x90, 0x90])
        test.flags = 0x302
        let ending = machine.run(test, image: image)
        #expect(ending.trap == 1)
        #expect(ending.rip == LongPlace.code + 1)
    }

    // MARK: Registers

    @Test("FXSAVE and FXRSTOR keep the x87, XMM and MXCSR")
    func saveState() throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        for index in 0..<32 { core.state.vectors[index] = UInt64(index) * 0x0101 }
        core.state.vectorControl = 0x5F80
        // fld1; fxsave64 [data]; fninit; fxrstor64 [data]; fstp qword [data + 0x200]
        machine.kernel(
            [0xD9, 0xE8] + rdx(LongPlace.data) + [0x48, 0x0F, 0xAE, 0x02, 0xDB, 0xE3]
                + [0x48, 0x0F, 0xAE, 0x0A, 0xDD, 0x9A, 0, 2, 0, 0])
        #expect(machine.vector == nil)
        #expect(machine.bytes(LongPlace.dataPhysical + 0x200, 8) == bytes(0x3FF0_0000_0000_0000))
        #expect(machine.bytes(LongPlace.dataPhysical + 24, 2) == [0x80, 0x5F])
        #expect(machine.bytes(LongPlace.dataPhysical + 160 + 16, 8) == bytes(0x0202))
        #expect(core.state.vectors[31] == 31 * 0x0101)
    }

    @Test("MMX registers are the x87's, whose stack begins with the first and is full until EMMS")
    func multimedia() throws {
        let machine = try LongMachine()
        // fninit; fld1; movq mm1, rax; fnstenv [rdx]; fxsave [rdx + 64]; emms; fnstenv [rdx + 32]
        machine.kernel(
            [0xDB, 0xE3, 0xD9, 0xE8] + rax(0x1122_3344_5566_7788) + rdx(LongPlace.data) + [
                0x48, 0x0F, 0x6E, 0xC8, 0xD9, 0x32, 0x0F, 0xAE, 0x42, 0x40, 0x0F, 0x77, 0xD9, 0x72,
                0x20,
            ])
        #expect(machine.vector == nil)
        // The stack's top is 0 and every tag full; 1.0 is in register 7, and thus in ST(7).
        #expect(machine.bytes(LongPlace.dataPhysical + 4, 2) == [0, 0])
        let image = LongPlace.dataPhysical + 64
        #expect(machine.bytes(image + 4, 1) == [0xFF])
        #expect(machine.bytes(image + 32 + 16, 10) == bytes(0x1122_3344_5566_7788) + [0xFF, 0xFF])
        #expect(machine.bytes(image + 32 + 7 * 16, 10) == bytes(1 << 63) + [0xFF, 0x3F])
        #expect(machine.bytes(LongPlace.dataPhysical + 32 + 8, 2) == [0xFF, 0xFF])
        // By CR0.TS there is none.
        machine.kernel(rax(0x8000_003B) + [0x0F, 0x22, 0xC0, 0x0F, 0x77])
        #expect(machine.vector == 7)
    }

    /// movaps, movdqa, movntdq and movups between xmm0 or xmm1 and [rcx].
    @Test(
        "16 bytes are moved where they lie; an aligned move of others is a protection fault",
        arguments: [
            ([0x0F, 0x28, 0x01], true), ([0x66, 0x0F, 0x6F, 0x01], true),
            ([0x0F, 0x29, 0x01], true), ([0x66, 0x0F, 0x7F, 0x01], true),
            ([0x66, 0x0F, 0xE7, 0x01], true), ([0x0F, 0x2B, 0x01], true),
            ([0x0F, 0x10, 0x01], false), ([0xF3, 0x0F, 0x6F, 0x01], false),
            ([0x0F, 0x11, 0x01], false), ([0xF3, 0x0F, 0x7F, 0x01], false),
        ] as [([UInt8], Bool)])
    func alignedMoves(code: [UInt8], isAligned: Bool) throws {
        let machine = try LongMachine()
        let core = machine.processor.core
        // The second time the page's translation is known.
        for _ in 0..<2 {
            core.state.vectors[0] = 0x1111
            core.state.vectors[1] = 0x2222
            machine.store(LongPlace.dataPhysical + 0x108, 0x3333)
            machine.store(LongPlace.dataPhysical + 0x110, 0x4444)
            machine.kernel(rcx(LongPlace.data + 0x108) + code)
            #expect(machine.vector == (isAligned ? 13 : nil))
            if isAligned { #expect(machine.frame(0) == 0) }
            machine.store(LongPlace.dataPhysical + 0x118, 0x5555)
            machine.kernel(rcx(LongPlace.data + 0x110) + code)
            #expect(machine.vector == nil)
            let data = machine.memory.readable(
                machine.memory.range(LongPlace.dataPhysical + 0x110, 16)!)
            #expect(data.load(as: UInt64.self) == core.state.vectors[0])
            #expect(data.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == core.state.vectors[1])
        }
    }

    @Test("SSE without CR4.OSFXSR is an invalid opcode, with CR0.TS no device")
    func vectorsBarred() throws {
        let machine = try LongMachine()
        machine.kernel(rax(0x20) + [0x0F, 0x22, 0xE0, 0x0F, 0x58, 0xC1])
        #expect(machine.vector == 6)
        machine.kernel(
            rax(0x220) + [0x0F, 0x22, 0xE0] + rax(0x8000_003B) + [
                0x0F, 0x22, 0xC0, 0x0F, 0x28, 0xC1,
            ])
        #expect(machine.vector == 7)
        machine.kernel([0x0F, 0x10, 0xC1])
        #expect(machine.vector == 7)
    }

    @Test(
        "an unknown model-specific register is a protection fault",
        arguments: [0x1A0, 0xC001_0011, 0x8C] as [UInt64])
    func modelRegister(number: UInt64) throws {
        let machine = try LongMachine()
        machine.kernel(rcx(number) + [0x0F, 0x32])
        #expect(machine.vector == 13)
    }

    @Test("a base that is not canonical is refused")
    func canonicalBase() throws {
        let machine = try LongMachine()
        machine.kernel(set(0xC000_0101, 0x0000_8000_0000_0000))
        #expect(machine.vector == 13)
    }

    @Test("bits of control registers that are not there are protection faults")
    func controlRegisters() throws {
        let machine = try LongMachine()
        // SMEP; then long mode without paging.
        machine.kernel(rax(1 << 20 | 0x20) + [0x0F, 0x22, 0xE0])
        #expect(machine.vector == 13)
        // MCE: kernels set it unasked.
        machine.kernel(rax(0x660) + [0x0F, 0x22, 0xE0])
        #expect(machine.vector == nil)
        machine.kernel(rax(0x33) + [0x0F, 0x22, 0xC0])
        #expect(machine.vector == 13)
    }
}
