// Exact tests of the 64-bit processor: memory from 4 GiB on, paging, code that changes.

import Testing

@testable import Mini

@Suite struct LongMemoryTests: LongInstructions {
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
}
