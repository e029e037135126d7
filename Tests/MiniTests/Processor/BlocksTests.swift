// The cache of decoded blocks under a guest that wants it to mix up its blocks: keys that come
// round, an arena that is full all the time, blocks that are forgotten while they run.

import Synchronization
import Testing

@testable import Mini

@Suite struct BlocksTests {
    typealias Guest = ProcessorGuest

    /// mov eax, value; ud2
    private func marker(_ value: UInt32) -> [UInt8] {
        [0xB8] + Guest.immediate(value) + [0x0F, 0x0B]
    }

    /// Runs the code at an address to its ud2.
    /// - Returns: eax.
    private func run(_ guest: Guest, at address: UInt32) -> UInt32 {
        guest.processor.eip = address
        #expect(guest.processor.run(instructions: 100_000) == .trap(6))
        return guest.processor[.eax]
    }

    @Test("a generation comes round behind the last one, and says so")
    func generation() {
        var generation = Generation(number: Generation.last - 1)
        #expect(!generation.advance() && generation.number == Generation.last)
        #expect(generation.advance() && generation.number == 1)
        #expect(Generation(number: 0).number == 1)
        #expect(Generation(number: .max).number == Generation.last)
    }

    @Test("a cache is full before the way to a block gets long, wherever a guest puts blocks")
    func chains() throws {
        let memory = try GuestMemory(count: 4 << 20)
        var layout = TableLayout()
        let places = BlockCache.Places(&layout, Core.blockShape, memory)
        let tables = try Mapping.guarded(count: layout.count)
        let arena = try Mapping.guarded(count: 1 << 20)
        var cache = unsafe BlockCache(
            Core.blockShape, places, at: tables.start, memory, arena: arena.start,
            arenaCount: 1 << 20)
        func enter(_ physical: UInt) {
            unsafe cache.next.initialize(
                to: Block(
                    physical: physical, mode: 0, count: 1, bytes: 1, operationCount: 1,
                    isTemporary: false))
            cache.enter()
        }
        for number in 0..<1000 as Range<UInt> { enter(number * 4096 % 4_000_000 + number) }
        #expect(!cache.isFull)
        // As blocks of one address are that go on to other pages each time.
        var count = 0
        while !cache.isFull && count < 1000 {
            enter(0x1234)
            count += 1
        }
        // Others may have the same place in the hash.
        #expect((BlockCache.longestChain - 4...BlockCache.longestChain).contains(count))
        cache.forgetAll()
        #expect(!cache.isFull)
        enter(0x1234)
        #expect(!cache.isFull)
    }

    /// Code whose blocks fill the smallest arena a few times over: stretches of 64 instructions,
    /// then ud2.
    private func fill(_ guest: Guest) {
        let stretch = [UInt8](repeating: 0x40, count: 64 * 8)
        for page in 0..<UInt32(4) {
            guest.put(stretch + [0x0F, 0x0B], at: 0x10_0000 + page * 0x1000)
        }
    }

    @Test("a processor that rests gives back what it decoded, if that is much, and goes on")
    func rest() throws {
        let guest = try Guest()
        // 4,094 times inc eax, and ud2.
        let stretch = [UInt8](repeating: 0x40, count: 4094) + [0x0F, 0x0B]
        for page in 0..<UInt32(5) { guest.put(stretch, at: 0x10_0000 + page * 0x1000) }
        let calls = Mutex<[Int]>([])
        func rest() throws {
            try SystemCall.hooked({ call in
                calls.withLock { $0.append(call.number.rawValue) }
                return nil
            }) { () throws(Errno) in try guest.processor.rest() }
        }
        guest.processor[.eax] = 0
        #expect(run(guest, at: 0x10_0000) == 4094)
        try rest()
        #expect(calls.withLock { $0 } == [])
        for page in 1..<UInt32(5) { _ = run(guest, at: 0x10_0000 + page * 0x1000) }
        try rest()
        #expect(calls.withLock { $0 } == [SystemCall.Number.map.rawValue])
        try rest()
        #expect(calls.withLock { $0.count } == 1)
        guest.processor[.eax] = 0
        for page in 0..<UInt32(5) {
            #expect(run(guest, at: 0x10_0000 + page * 0x1000) == 4094 * (page + 1))
        }
        // What is there no more is not forgotten by a write.
        guest.put([0x0F, 0x0B], at: 0x10_0010)
        guest.processor[.eax] = 0
        #expect(run(guest, at: 0x10_0000) == 16)
    }

    @Test("a processor whose memory does not come back says so")
    func restless() throws {
        let guest = try Guest()
        let stretch = [UInt8](repeating: 0x40, count: 4094) + [0x0F, 0x0B]
        for page in 0..<UInt32(5) {
            guest.put(stretch, at: 0x10_0000 + page * 0x1000)
            _ = run(guest, at: 0x10_0000 + page * 0x1000)
        }
        #expect(throws: Errno.noMemory) {
            try SystemCall.hooked({ $0.number == .map ? -12 : nil }) { () throws(Errno) in
                try guest.processor.rest()
            }
        }
    }

    private func runFiller(_ guest: Guest) {
        for page in 0..<UInt32(4) { _ = run(guest, at: 0x10_0000 + page * 0x1000) }
    }

    @Test("an entry of the jump cache does not come true again when the generations come round")
    func oldEntries() throws {
        let guest = try Guest(arenaCount: 0)
        fill(guest)
        let code = Guest.code + 0x123
        guest.put(marker(1), at: code)
        #expect(run(guest, at: code) == 1)
        guest.processor.generation = Generation.last - 8
        guest.put(marker(2), at: code)
        // Every filling of the arena is a generation or more.
        for _ in 0..<40 {
            runFiller(guest)
            #expect(run(guest, at: code) == 2)
        }
        #expect(guest.processor.generation < Generation.last - 8)
    }

    @Test("a link does not come true again when the generations come round")
    func oldLinks() throws {
        let guest = try Guest()
        // 0: jmp target, and the target is at a place that is mapped anew.
        let target = Guest.code + 0x1000
        let jump: [UInt8] = [0xE9] + Guest.immediate(target - Guest.code - 5)
        guest.put(jump, at: Guest.code)
        guest.put(marker(1), at: 0x2_0000)
        guest.put(marker(2), at: 0x2_1000)
        guest.mapPage(target, to: 0x2_0000, flags: 7)
        guest.processor.flushTLB()
        let first = guest.processor.generation
        for _ in 0..<3 { #expect(run(guest, at: Guest.code) == 1) }
        guest.processor.generation = Generation.last
        guest.mapPage(target, to: 0x2_1000, flags: 7)
        for _ in 0..<first + 3 {
            guest.processor.flushTLB(of: target)
            #expect(run(guest, at: Guest.code) == 2)
        }
        #expect(guest.processor.generation > first)
    }

    @Test("a block that is forgotten while it runs is not linked into what is decoded in its place")
    func forgottenWhileRunning() throws {
        for distance in 0..<UInt32(4) {
            let guest = try Guest()
            // A helper whose page the stack is on, so that a call forgets decoded code.
            let helper: UInt32 = 0x5_0000
            guest.put([0x0F, 0x0B], at: helper)
            _ = run(guest, at: helper)
            // 60 times inc ebx, then ud2: records all over the place where the caller is.
            let long = Guest.code + 0x800
            guest.put([UInt8](repeating: 0x43, count: 60) + [0x0F, 0x0B], at: long)
            let call: [UInt8] = [0xE8] + Guest.immediate(long - Guest.code - 5)
            guest.put(call, at: Guest.code)
            guest.processor.generation = Generation.last - distance
            for _ in 0..<3 {
                guest.put([0x0F, 0x0B], at: helper)
                _ = run(guest, at: helper)
                guest.processor[.ebx] = 0
                guest.processor[.esp] = helper + 4
                _ = run(guest, at: Guest.code)
                #expect(guest.processor[.ebx] == 60)
            }
        }
    }

    @Test("with room for one block only, code runs as ever")
    func leastArena() throws {
        let guest = try Guest(arenaCount: 0)
        // mov ecx, 50; loop: call f; dec ecx; jnz loop; ud2; f: add eax, ecx; ret
        let code: [UInt8] =
            [0xB9, 50, 0, 0, 0] + [0xE8, 5, 0, 0, 0] + [0x49, 0x75, 0xF8] + [0x0F, 0x0B]
            + [0x01, 0xC8, 0xC3]
        guest.processor[.eax] = 0
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.eax] == 50 * 51 / 2)
    }

    @Test("a write into the code that runs, at every generation around the last")
    func selfModifying() throws {
        for distance in 0..<UInt32(12) {
            let guest = try Guest(arenaCount: 0)
            fill(guest)
            guest.processor.generation = Generation.last - distance
            // inc dword [code + 20] (the immediate of the mov behind it); mov eax, 0; ud2
            for round in 1...UInt32(6) {
                let code: [UInt8] =
                    [0xFF, 0x05] + Guest.immediate(Guest.code + 7) + [0xB8]
                    + Guest.immediate(round) + [0x0F, 0x0B]
                guest.put(code, at: Guest.code)
                #expect(run(guest, at: Guest.code) == round + 1)
                runFiller(guest)
            }
        }
    }

    @Test("no offset of a record reaches a pointer, a key or a count of ours")
    func layout() throws {
        let ours: [PartialKeyPath<State>] = [
            \.key, \.mode, \.linkSource, \.isTaken, \.codeChanged, \.privilege,
            \.openSegments, \.budget, \.tlb, \.userTLB,
            \.supervisorTLB, \.blocks, \.memory, \.memoryCount,
            \.pageDirectory, \.pageRules, \.segments, \.descriptors, \.gates,
            \.scratch,
            \.floatingPoint,
        ]
        for field in ours {
            let offset = try #require(MemoryLayout<State>.offset(of: field))
            #expect(offset >= State.reach && State.reach == 255 + 4, "\(field)")
        }
        // And what a record may name does lie there.
        #expect(MemoryLayout<State>.offset(of: \.gsBase) == Int(Slot.segmentBases) + 20)
    }
}
