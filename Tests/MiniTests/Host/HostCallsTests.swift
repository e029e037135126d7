// Every hypercall of eras 0…1c, made by tiny guests on the real processor.

import Testing

@testable import Mini

private let high = TinyGuest.high
private let everyEra: [GuestABI.Era] = [.era0, .era0b, .era1a, .era1, .era1b, .era1c]

@Suite struct HostCallsTests {
    // MARK: - INIT

    @Test("INIT fills the words that the era has and leaves the rest alone", arguments: everyEra)
    func initialize(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.checkpoint(1)
        }
        let fields = guest.fields
        guest.setField(fields.count, 0x1122_3344)
        guest.memory.store32(TinyGuest.data - 4, 0x5566_7788)
        let before = Clock.realTime().count / 1_000_000_000
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.field(fields.reservedTop) == 0x40_0000)
        #expect(guest.field(fields.timeStampKilohertz) == 1_000_000)
        let seconds = UInt64(guest.field(fields.seconds))
        #expect(seconds >= before && seconds <= Clock.realTime().count / 1_000_000_000)
        #expect(guest.field(fields.nanoseconds) < 1_000_000_000)
        if let field = fields.pageDirectory { #expect(guest.field(field) == TinyGuest.directory) }
        #expect(guest.field(fields.count) == 0x1122_3344)
        #expect(guest.word(TinyGuest.data - 4) == 0x5566_7788)
        for slot in 0..<64 as Range<UInt32> { #expect(guest.status(slot) == 0xFF) }
    }

    @Test("before INIT every other call ends the guest, and so does a second INIT")
    func order() throws {
        #expect(try lastWords { $0.call(10) } == "hypercall 10 before LGUEST_INIT")
        #expect(try lastWords(.era1c) { $0.call(0) } == "hypercall 0 before INIT")
        #expect(
            try lastWords {
                $0.initialize()
                $0.initialize()
            } == "already have lguest_data")
    }

    @Test("lguest_data must end below the last page boundary")
    func place() throws {
        let size = GuestABI(era: .era1).data.count
        let last = TinyGuest.count - size
        #expect(try lastWords { $0.call(1, last) } == "bad guest page 00000000")
        #expect(try lastWords(.era0) { $0.call(1, last) } == "bad guest page \("000ffb9c")")
        #expect(try lastWords { $0.call(1, 0xFFFF_FFF0) } == "bad guest page 00000000")
        let guest = try TinyGuest {
            $0.call(1, last - 1)
            $0.checkpoint(1)
        }
        for slot in 0..<64 as Range<UInt32> { guest.store8(last - 1 + 20 + slot, 0xFF) }
        #expect(guest.run() == .checkpoint(1))
    }

    @Test("era 1c checks the system call vector and the kernel's address")
    func late() throws {
        let vector = try TinyGuest(.era1c) { $0.initialize() }
        vector.setField(vector.fields.systemCallVector!, 0x81)
        #expect(vector.lastWords() == "bad syscall vector")
        let kernel = try TinyGuest(.era1c) { $0.initialize() }
        kernel.setField(kernel.fields.kernelAddress!, 0xFFC0_0000)
        #expect(kernel.lastWords() == "bad kernel address 0xffc00000")
    }

    // MARK: - CRASH and calls that do not exist

    @Test("CRASH takes up to 127 characters of text")
    func crash() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(2, 0x50000)
        }
        for index in 0..<200 as Range<UInt32> { guest.store8(0x50000 + index, 0x41) }
        #expect(guest.lastWords() == "CRASH: " + String(repeating: "A", count: 127))
        let short = try TinyGuest {
            $0.initialize()
            $0.call(2, 0x50000)
        }
        for (index, byte) in "Power down".utf8.enumerated() {
            short.store8(0x50000 + UInt32(index), byte)
        }
        #expect(short.lastWords() == "CRASH: Power down")
    }

    @Test("a text outside memory is the reason itself")
    func crashOutside() throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(2, TinyGuest.count - 128)
            } == "bad read address 0xfff80 len 128")
    }

    @Test("unknown numbers end the guest", arguments: [11, 17, 18, 19, 0xFFFF_FFFF] as [UInt32])
    func unknown(_ number: UInt32) throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(number)
            } == "Bad hypercall \(Int32(bitPattern: number))\n")
    }

    @Test("calls without a result leave eax as it was; BIND_DMA answers there")
    func results() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(0)
            $0.store(high + 0x60000)
            $0.call(5, 1)
            $0.store(high + 0x60004)
            $0.call(12, 4, 0x70000, 1 << 8 | 3)
            $0.store(high + 0x60008)
            $0.call(12, 4, 0x70000, 1 << 8 | 32)
            $0.store(high + 0x6000C)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect([0, 4, 8, 12].map { guest.word(0x60000 + $0) } == [0, 5, 1, 0])
    }

    // MARK: - Segments

    @Test("LOAD_GDT corrects levels and leaves the host's entries alone")
    func descriptors() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(3, TinyGuest.gdt, 32)
            $0.checkpoint(1)
        }
        for index in [9, 10, 11, 16, 30, 31] as [UInt32] {
            guest.memory.store32(TinyGuest.gdt + index * 8 + 4, 0x00CF_9200)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.cpu.descriptor(12) == 0x00CF_BB00_0000_FFFF)
        #expect(guest.cpu.descriptor(15) == 0x00CF_F300_0000_FFFF)
        #expect(guest.cpu.descriptor(9) == 0x00CF_B300_0000_0000)
        #expect(guest.cpu.descriptor(30) == 0x00CF_B300_0000_0000)
        for index in [10, 11, 16, 31] {
            #expect(guest.cpu.descriptor(index) == SegmentRules.initial(UInt32(index)), "\(index)")
        }
    }

    @Test("LOAD_TLS replaces entries 6, 7 and 8 and no others")
    func tls() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(16, 0x50000)
            $0.checkpoint(1)
        }
        for index in 0..<4 as Range<UInt32> {
            guest.memory.store32(0x50000 + index * 8, 0xFFFF)
            guest.memory.store32(0x50004 + index * 8, 0x00CF_F200 + index << 24)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.cpu.descriptor(5) == 0)
        for index in 0..<3 {
            #expect(
                guest.cpu.descriptor(6 + index)
                    == 0x00CF_F300_0000_FFFF + UInt64(index) << 56)
        }
        #expect(guest.cpu.descriptor(9) == 0)
    }

    @Test("a descriptor table that is too long or outside memory ends the guest")
    func badTables() throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(3, TinyGuest.gdt, 33)
            } == "too many gdt entries 33")
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(3, 0xFFFF_FF00, 32)
            } == "bad read address 0xffffff00 len 256")
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(16, TinyGuest.count)
            } == "bad read address 0x100000 len 24")
    }

    @Test("a segment register that no longer loads ends the guest at its next entry")
    func staleSegment() throws {
        let text = try lastWords {
            $0.initialize()
            $0.call(16, 0x50000)
            // fs := TLS entry 6, as loaded; then the entry goes.
            $0.emit(0x66, 0xB8, 0x33, 0x00, 0x8E, 0xE0)
            $0.call(16, 0x50100)
        }
        // Entries of all zeros come out as not present: even the first load faults.
        #expect(text.hasPrefix("unhandled trap 1"))
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(16, 0x50000)
            $0.emit(0x66, 0xB8, 0x33, 0x00, 0x8E, 0xE0)
            $0.checkpoint(1)
            $0.call(16, 0x50100)
        }
        guest.memory.store32(0x50000, 0xFFFF)
        guest.memory.store32(0x50004, 0x00CF_F200)
        #expect(guest.run() == .checkpoint(1))
        let words = guest.lastWords()
        #expect(words.hasPrefix("unhandled trap 256 at 0xc00100"), "\(words)")
        #expect(words.hasSuffix("(0x0)"))
    }

    // MARK: - Gates and stacks

    @Test("a gate of a wrong type ends the guest; ignored vectors do not")
    func gates() throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.gate(2, 0, type: 5)
                $0.gate(3, 0, type: 5)
            } == "bad IDT type 5")
        #expect(
            try lastWords(.era1c) {
                $0.initialize()
                $0.gate(256, 0)
            } == "Setting idt entry 256")
    }

    @Test("a stack for traps needs ring 1, at most two pages, and pages that can be written")
    func stacks() throws {
        func words(_ selector: UInt32, _ pointer: UInt32, _ pages: UInt32) throws -> String {
            try lastWords {
                $0.initialize()
                $0.call(7, selector, pointer, pages)
                $0.undefined()
            }
        }
        #expect(try words(0x68, high + 0x8000, 1) == "bad stack segment 104")
        #expect(try words(0x6B, high + 0x8000, 1) == "bad stack segment 107")
        #expect(try words(0x69, high + 0x8000, 3) == "bad stack pages 3")
        #expect(try words(0x69, 0x8000, 1) == "bad stack page 0x7fff")
        #expect(try words(0x69, high + 0x1000, 2) == "bad stack page 0xbfffffff")
        #expect(try words(0x69, 0xFFFF_F000, 1) == "attempt to access switcher pages")
        #expect(try words(0x69, 0, 0).hasPrefix("unhandled trap 6"))
        #expect(try words(0x69, high + 0x20000, 2).hasPrefix("unhandled trap 6"))
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(7, 0x69, high + 0x20000, 1)
        }
        guest.memory.store32(TinyGuest.table + 0x1F * 4, 0x1F000 | 5)
        #expect(guest.lastWords() == "bad stack page 0xc001ffff")
    }

    // MARK: - Page tables

    @Test("after a change of an entry the new page is seen, once the guest has said so")
    func invalidation() throws {
        for call in [
            (14, TinyGuest.directory, high + 0x50000, 0x60067), (5, 1, 0, 0), (5, 0, 0, 0),
            (15, TinyGuest.directory, 768, 0), (4, TinyGuest.directory, 0, 0),
        ] as [(UInt32, UInt32, UInt32, UInt32)] {
            let guest = try TinyGuest {
                $0.initialize()
                $0.load(high + 0x50000)
                $0.store(high + TinyGuest.table + 0x50 * 4, 0x60067)
                $0.call(call.0, call.1, call.2, call.3)
                $0.load(high + 0x50000)
                $0.store(high + 0x70000)
                $0.checkpoint(1)
            }
            guest.memory.store32(0x50000, 1)
            guest.memory.store32(0x60000, 2)
            #expect(guest.run() == .checkpoint(1))
            #expect(guest.word(0x70000) == 2, "\(call)")
        }
    }

    @Test("SET_PTE refuses entries in use with wrong bits or beyond memory, and the top")
    func badEntries() throws {
        func words(_ virtual: UInt32, _ entry: UInt32) throws -> String {
            try lastWords {
                $0.initialize()
                $0.call(14, TinyGuest.directory, virtual, entry)
                $0.undefined()
            }
        }
        #expect(try words(high, 0x1000 | 0x2B) == "bad page table entry")
        #expect(try words(high, 0x1000 | 0xE3) == "bad page table entry")
        #expect(try words(high, TinyGuest.count | 0x63) == "bad page table entry")
        #expect(try words(0xFFC0_0000, 0) == "attempt to access switcher pages")
        // Neither accessed nor dirty, not present, or no table: not looked at.
        #expect(try words(high, 0x1000 | 0x8B & ~0x60).hasPrefix("unhandled trap 6"))
        #expect(try words(high, 0xFFFF_F0E0).hasPrefix("unhandled trap 6"))
        #expect(try words(0x1000, 0xFFFF_F063).hasPrefix("unhandled trap 6"))
        #expect(try words(high, 0x1000 | 0xE67).hasPrefix("unhandled trap 6"))
    }

    @Test("SET_PMD of the top entry is ignored; a wrong entry ends the guest when it is used")
    func topEntries() throws {
        let ignored = try TinyGuest {
            $0.initialize()
            $0.call(15, TinyGuest.directory, 1023)
            $0.call(15, TinyGuest.directory, 0xFFFF_FFFF)
            $0.checkpoint(1)
        }
        #expect(ignored.run() == .checkpoint(1))
        for (entry, expected) in [
            (TinyGuest.table | 0x8F, "bad page directory entry"),
            (TinyGuest.count | 7, "bad page directory entry"),
        ] {
            let guest = try TinyGuest {
                $0.initialize()
                $0.load(0x1000)
            }
            guest.memory.store32(TinyGuest.directory, entry)
            #expect(guest.lastWords() == expected)
        }
        for entry in [0x1000 | 0x0F, 0x1000 | 0x87, TinyGuest.count | 7] as [UInt32] {
            let guest = try TinyGuest {
                $0.initialize()
                $0.load(0x1000)
            }
            guest.memory.store32(TinyGuest.directory, TinyGuest.userTable | 7)
            guest.memory.store32(TinyGuest.userTable + 4, entry)
            #expect(guest.lastWords() == "bad page table entry")
        }
    }

    @Test("NEW_PGTABLE outside memory ends the guest when it runs on")
    func badDirectory() throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(4, 0x20_0000)
            } == "bad read address 0x200c00: pfn_limit=256 membase=00000000")
        #expect(
            try lastWords(.era0) {
                $0.initialize()
                $0.call(4, 0x20_0000)
            } == "bad read address 0x200c00")
    }

    // MARK: - The ring

    /// CRASH's number and a text: shows which call of two was served first.
    @Test("the ring's records are read in the era's order", arguments: everyEra)
    func ringOrder(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.call(0)
            $0.checkpoint(9)
        }
        // SEND_DMA: number, key 0x40, buffer 0x1234.
        let late = era == .era1b || era == .era1c
        guest.file(0, late ? [13, 0x1234, 0, 0x40] : [13, 0x40, 0x1234, 0])
        #expect(guest.run() == .dma(buffer: 0x1234, key: 0x40))
        #expect(guest.status(0) == 0xFF)
        #expect(guest.run() == .checkpoint(9))
    }

    @Test("the ring goes before the call that traps, and stops while a record is out")
    func ringFirst() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(4)
            $0.checkpoint(5)
        }
        for slot in 0..<3 as Range<UInt32> { guest.file(slot, [13, 0, 1 + slot, 0]) }
        #expect(guest.run() == .checkpoint(1))
        #expect([0, 1, 2].map { guest.status($0) } == [0xFF, 0, 0])
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.run() == .checkpoint(3))
        #expect(guest.run() == .checkpoint(4))
        #expect(guest.run() == .checkpoint(5))
    }

    @Test("the ring is drained on every exit, at most once round, and goes on where it stopped")
    func ringRound() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
            $0.emit(0xE5, 0x64)  // an exit without a call
            $0.checkpoint(2)
        }
        #expect(guest.run() == .checkpoint(1))
        for slot in 0..<64 as Range<UInt32> { guest.file(slot, [0, 0, 0, 0]) }
        guest.file(3, [8, 1, 0, 0])
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.cpu.taskSwitched)
        for slot in 0..<64 as Range<UInt32> { #expect(guest.status(slot) == 0xFF) }
    }

    @Test("a hole in the ring ends its draining")
    func ringHole() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
        }
        guest.file(0, [8, 1, 0, 0])
        guest.file(2, [8, 0, 0, 0])
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.cpu.taskSwitched)
        #expect(guest.status(2) == 0)
    }

    // MARK: - DMA

    @Test("GETDMA lends free buffers, leaves the line in used_len, and has none at last")
    func buffers() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(12, 0x44, 0x70000, 3 << 8 | 5)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        guest.memory.store32(0x70000, 9)
        #expect(try guest.host.dmaBuffer(0x44) == 0x70064)
        #expect(guest.word(0x70064) == 5)
        #expect(try guest.host.dmaBuffer(0x44) == 0x700C8)
        #expect(throws: Errno.noSuchFile) { try guest.host.dmaBuffer(0x44) }
        guest.memory.store32(0x70000, 0)
        #expect(try guest.host.dmaBuffer(0x44) == 0x70000)
        #expect(throws: Errno.noSuchFile) { try guest.host.dmaBuffer(0x48) }
    }

    @Test("keys must be aligned words of memory; else the guest dies, told at once after GETDMA")
    func keys() throws {
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(12, 2, 0x70000, 1 << 8 | 1)
            } == "bad dma key 0x2")
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(12, TinyGuest.count, 0x70000, 0)
            } == "bad dma key 0x100000")
        #expect(
            try lastWords {
                $0.initialize()
                $0.call(13, 0x41, 0x70000)
            } == "bad sending DMA key")
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(throws: Errno.noSuchFile) { try guest.host.dmaBuffer(1) }
        #expect(guest.run() == .reason("bad registered DMA buffer"))
    }

    @Test("a bound array outside memory ends the guest when a buffer is wanted")
    func arrayOutside() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(12, 0x44, TinyGuest.count - 100, 1 << 8 | 5)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(throws: Errno.noSuchFile) { try guest.host.dmaBuffer(0x44) }
        #expect(guest.run() == .reason("bad read address 0xfff9c len 100"))
    }

    // MARK: - Malice

    /// Random calls, most of them such that the guest survives: else nothing but first calls
    /// would ever be reached.
    private struct Malice {
        var random = SplitMix(seed: 2026)

        mutating func below(_ limit: UInt32) -> UInt32 {
            UInt32(truncatingIfNeeded: random.next() % UInt64(limit))
        }

        mutating func value() -> UInt32 {
            let word = UInt32(truncatingIfNeeded: random.next())
            return switch below(8) {
            case 0: word
            case 1: word & 0xFF
            case 2: word & 0xF_FFFF
            case 3: TinyGuest.count &- word % 300
            case 4: high &+ word & 0xF_FFFC
            case 5: 0xFFFF_FFFF &- word % 16
            case 6: word & 0xF_F000 | 0x67
            default: TinyGuest.data &+ word % 1200
            }
        }

        /// Number and three arguments.
        mutating func call() -> [UInt32] {
            if below(60) == 0 { return [below(20), value(), value(), value()] }
            let word = value()
            return switch below(13) {
            case 0: [0, word, word, word]
            case 1: [3, below(0x80000), below(33), word]
            case 2: [4, TinyGuest.directory, word, word]
            case 3: [5, below(2), word, word]
            case 4: [6, below(256), word, word & 0xFFFF_60FF | 0x8E00 | below(2) << 8]
            case 5: [7, word & 0xFFFC | 1, high + 0x2000 + below(0x80000), below(3)]
            case 6: [8, below(2), word, word]
            case 7: [9, below(3) == 0 ? word : below(100_000), word, word]
            case 8: [10, word, word, word]
            case 9: [12, below(0x40000) * 4 & 0xF_FFFC, below(0x80000), word]
            case 10: [13, below(0x40000) * 4 & 0xF_FFFC, word, word]
            case 11: [14, TinyGuest.directory, word & 0xBFFF_FFFF, word & 0xD_FF77]
            default: [16, below(0x80000), word, word]
            }
        }
    }

    @Test("a hundred thousand random calls never stop the host or reach beyond the granted pages")
    func hostile() throws {
        var malice = Malice()
        let granted: UInt32 = 0xE0
        var served = 0
        while served < 100_000 {
            let era = everyEra[Int(malice.below(6))]
            let guest = try TinyGuest(era, pageLimit: granted) {
                $0.initialize()
                $0.checkpoint(1)
                $0.interrupt(0x1F)
            }
            #expect(guest.run() == .checkpoint(1))
            guest.host.watch([0])
            for _ in 0..<64 {
                for slot in 0..<64 as Range<UInt32> {
                    var words = malice.call()
                    if guest.host.abi.ringOrder.first == 3 {
                        words = [words[0], words[2], words[3], words[1]]
                    }
                    guest.file(slot, words)
                }
                guest.setField(0, malice.value())
                guest.setField(4, malice.value())
                let isDead = self.isDead(guest)
                served += (0..<64).count { guest.status($0) == 0xFF }
                if isDead { break }
                let key = malice.below(20) == 0 ? malice.value() : malice.below(0x4000) * 4
                _ = try? guest.host.dmaBuffer(DMAKey(rawValue: key))
                _ = try? guest.host.interrupt(InterruptLine(rawValue: malice.below(40)))
            }
            let beyond = guest.memory.readable(
                guest.memory.range(granted << 12, TinyGuest.count - (granted << 12))!)
            #expect(beyond.allSatisfy { $0 == 0 })
            guest.host.close()
        }
    }

    /// Runs until the guest is dead, sleeps or has been served often; sleep ends at once.
    private func isDead(_ guest: TinyGuest) -> Bool {
        SystemCall.hooked({ call in
            guard call.number == .poll else { return nil }
            UnsafeMutablePointer<Int32>(bitPattern: call.arguments.0)![1] = 1 << 16 | 1
            return 1
        }) {
            for _ in 0..<200 {
                switch guest.run() {
                case .failed(let errno): return errno == .noSuchFile
                case .reason: return true
                default: break
                }
            }
            return false
        }
    }
}
