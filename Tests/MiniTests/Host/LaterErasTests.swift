// What the host does for guests of eras 2 to 5 that it does not do for those before, or does otherwise: the facts
// of their rows, each by a guest that tries it.

import Testing

@testable import Mini

private let later = GuestABI.Era.allCases.filter { $0 >= .era2 }
private let wide = GuestABI.Era.allCases.filter { $0 >= .era4a }

@Suite struct LaterErasTests {
    @Test("INIT fills the words where the era has them", arguments: GuestABI.Era.allCases)
    func initialize(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.checkpoint(7)
        }
        #expect(guest.run() == .checkpoint(7))
        #expect(guest.field(guest.fields.timeStampKilohertz) == HostClock.timeStampKilohertz)
        #expect(guest.field(guest.fields.reservedTop) == 4 << 20)
        if let place = guest.fields.pageDirectory {
            #expect(guest.field(place) == TinyGuest.directory)
        }
    }

    @Test("the ring is read in the era's order and record size", arguments: GuestABI.Era.allCases)
    func ring(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.checkpoint(1)
            $0.call(0)
            $0.checkpoint(2)
        }
        #expect(guest.run() == .checkpoint(1))
        // Two LOAD_IDT_ENTRY, the second of which shows that the first was not read too long.
        let order = guest.host.abi.ringOrder
        for slot in 0..<2 as Range<UInt32> {
            var words: [UInt32] = [6, 0, 0, 0]
            words[Int(order.first)] = 3 + slot
            words[Int(order.second)] = 0x61_1234
            words[Int(order.third)] = 0xC000_8F00
            guest.file(slot, words)
        }
        #expect(guest.run() == .checkpoint(2))
        for slot in 0..<2 as Range<UInt32> {
            #expect(guest.host.gates[3 + slot]?.handler == 0xC000_1234)
            #expect(guest.status(slot) == 0xFF)
        }
    }

    @Test("a call that the era does not have kills", arguments: GuestABI.Era.allCases)
    func otherCalls(_ era: GuestABI.Era) throws {
        let eras: [(number: UInt32, first: GuestABI.Era, last: GuestABI.Era)] = [
            (3, .era0, .era3b), (12, .era0, .era1c), (13, .era0, .era1c), (17, .era2, .era4d),
            (18, .era3c, .era5), (19, .era4a, .era5),
        ]
        for (number, first, last) in eras where !(era >= first && era <= last) {
            let words = try lastWords(era) {
                $0.initialize()
                $0.call(number, 4)
            }
            #expect(words == "Bad hypercall \(number)\n", "\(number)")
        }
    }

    @Test("NOTIFY hands its address to the launcher, and 0 to nobody", arguments: later.dropLast())
    func notify(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.call(17, 0)
            $0.call(17, 0x4000_1000)
        }
        #expect(guest.run() == .checkpoint(0x4000_1000))
    }

    @Test("from 3a on a guest that ends can ask for a new beginning", arguments: later)
    func shutdown(_ era: GuestABI.Era) throws {
        for reason in [1, 2] as [UInt32] {
            let guest = try TinyGuest(
                era,
                prepare: { memory in
                    memory.writable(memory.range(0x9000, 8)!).copyBytes(from: Array("the end".utf8))
                },
                code: {
                    $0.initialize()
                    // To begin anew it needs no text.
                    $0.call(2, reason == 2 && era >= .era3a ? 0x4000_0000 : 0x9000, reason)
                })
            if reason == 2 && era >= .era3a {
                #expect(guest.run() == .failed(.restart))
            } else {
                #expect(guest.lastWords() == "CRASH: the end")
            }
        }
    }

    @Test("from 3c on the GDT is loaded entry by entry")
    func descriptors() throws {
        let guest = try TinyGuest(.era3c) {
            $0.initialize()
            $0.call(18, 27, 0x0000_FFFF, 0x00CF_9200)
            $0.call(18, 16, 1, 1)
            $0.checkpoint(1)
            $0.call(18, 32, 0, 0)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.cpu.descriptor(27) == 0x00CF_B300_0000_FFFF)
        #expect(guest.cpu.descriptor(16) == 0)
        #expect(guest.lastWords() == "too many gdt entries 32")
    }

    @Test("VMCALL is a call in 3c to 4b only, and of the kernel only")
    func vmcall() throws {
        for era in [GuestABI.Era.era3b, .era4c] {
            let guest = try TinyGuest(era) {
                $0.initialize()
                $0.emit(0x0F, 0x01, 0xC1)
            }
            #expect(guest.lastWords().hasPrefix("unhandled trap 6 at "))
        }
        // Era 4b calls by interrupt, and may call so as well.
        for era in [GuestABI.Era.era3c, .era4a, .era4b] {
            let guest = try TinyGuest(era) {
                $0.emit(0xB8, 1, 0, 0, 0, 0xBB)
                $0.word(TinyGuest.data)
                $0.emit(0x0F, 0x01, 0xC1, 0xB8, 17, 0, 0, 0, 0xBB, 5, 0, 0, 0, 0xCD, 0x1F)
            }
            #expect(guest.run() == .checkpoint(5))
        }
    }

    @Test("CLI does nothing from 4b on, and is a fault before", arguments: later)
    func cli(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(era) {
            $0.initialize()
            $0.emit(0xFA)
            $0.checkpoint(3)
        }
        if era >= .era4b {
            #expect(guest.run() == .checkpoint(3))
        } else {
            #expect(guest.lastWords().hasPrefix("unhandled trap 13 at "))
        }
    }

    @Test("an interrupt that waits is shown from 4a on, until it is taken")
    func pending() throws {
        let guest = try TinyGuest(
            .era4d,
            handler: {
                $0.checkpoint(2)
                $0.spin()
            },
            code: {
                $0.initialize()
                $0.gate(0x25, $0.origin - TinyGuest.code + TinyGuest.handler)
                $0.checkpoint(1)
                $0.call(19)
                $0.emit(0xC7, 0x05)
                $0.word(TinyGuest.data)
                $0.word(0x200)
                $0.call(19)
            })
        let word = try #require(guest.fields.interruptPending)
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.field(word) == 0)
        try guest.host.interrupt(5)
        #expect(guest.run() == .checkpoint(2))
        // It was shown while interrupts were off; now nothing waits any more.
        #expect(guest.field(word) == 0)
        guest.setField(0, 0)
        try guest.host.interrupt(6)
        _ = guest.host.deliverInterrupt()
        #expect(guest.field(word) == 0x200)
    }

    @Test("pages without a write-back cache are an error up to 2.6.24")
    func writeThrough() throws {
        for era in [GuestABI.Era.era2, .era3a] {
            let guest = try TinyGuest(era) {
                $0.initialize()
                $0.checkpoint(1)
                $0.call(5, 1)
                $0.load(0x5_0000)
                $0.checkpoint(2)
            }
            #expect(guest.run() == .checkpoint(1))
            guest.memory.store32(TinyGuest.table + 0x50 * 4, 0x5_0000 | 0xF)
            if era == .era2 {
                #expect(guest.lastWords() == "bad page table entry")
            } else {
                #expect(guest.run() == .checkpoint(2))
            }
        }
    }

    // MARK: Tables of PAE

    @Test("a guest whose tables are PAE's runs on them, and is told of faults", arguments: wide)
    func wideTables(_ era: GuestABI.Era) throws {
        let guest = try TinyGuest(
            era, isWide: true,
            handler: {
                $0.load(TinyGuest.data + 8)
                $0.store(0x9000)
                $0.checkpoint(2)
            },
            code: {
                $0.initialize()
                $0.gate(14, $0.origin - TinyGuest.code + TinyGuest.handler)
                // A page above the first 2 MiB, by a directory entry of its own.
                $0.store(TinyGuest.userTable + 8, TinyGuest.table | 7)
                $0.call(13, TinyGuest.userTable, 1)
                $0.load(0x20_0000 + 0x9004)
                $0.store(0x9008)
                $0.checkpoint(1)
                $0.store(TinyGuest.table + 0x50 * 8, 0)
                $0.call(14, TinyGuest.directory, 0x5_0000, 0)
                $0.load(0x5_0123)
            })
        guest.memory.store32(0x9004, 0x1234)
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.word(0x9008) == 0x1234)
        #expect(guest.word(TinyGuest.userTable) == TinyGuest.table | 0x27)
        #expect(guest.run() == .checkpoint(2))
        #expect(guest.word(0x9000) == 0x5_0123)
    }

    @Test("what no table of PAE's may have ends the guest")
    func refusedWide() throws {
        let places: [(UInt32, UInt32, String)] = [
            (TinyGuest.directory, TinyGuest.userTable | 3, "bad page directory entry"),
            (TinyGuest.directory, TinyGuest.pages << 12 | 1, "bad page directory entry"),
            (TinyGuest.directory + 4, 1, "bad page directory entry"),
            (TinyGuest.userTable, 0x87, "bad page middle directory entry"),
            (TinyGuest.userTable + 4, 0x8000_0000, "bad page middle directory entry"),
            (TinyGuest.table + 0x50 * 8, 0x5_0087, "bad page table entry"),
            (TinyGuest.table + 0x50 * 8 + 4, 1, "bad page table entry"),
            (TinyGuest.table + 0x50 * 8 + 4, 0x8000_0000, "bad page table entry"),
            (TinyGuest.table + 0x50 * 8, TinyGuest.pages << 12 | 7, "bad page table entry"),
        ]
        for (place, value, reason) in places {
            let guest = try TinyGuest(.era4d, isWide: true) {
                $0.initialize()
                $0.checkpoint(1)
                $0.call(4, TinyGuest.directory)
                $0.load(0x5_0000)
            }
            #expect(guest.run() == .checkpoint(1))
            guest.memory.store32(place, value)
            #expect(guest.lastWords() == reason)
        }
    }

    @Test("a stack for traps must not lie on a directory entry that is refused")
    func refusedStack() throws {
        let guest = try TinyGuest(.era4d, isWide: true) {
            $0.initialize()
            $0.call(7, 0x69, 0x20_1000, 1)
        }
        guest.memory.store32(TinyGuest.userTable + 8, 0x87)
        #expect(guest.lastWords() == "bad page middle directory entry")
    }

    @Test("a page directory outside memory ends the guest; the text names an entry's bytes")
    func directoryOutside() throws {
        for (era, isWide, count) in [(.era2, false, 4), (.era5, false, 4), (.era5, true, 8)]
            as [(GuestABI.Era, Bool, Int)]
        {
            let guest = try TinyGuest(era, isWide: isWide) {
                $0.initialize()
                $0.call(4, 0x20_0000)
            }
            #expect(guest.lastWords() == "bad read address 0x200000 len \(count)")
        }
    }

    @Test("from 4d on the top is the Switcher's: changing it kills, touching it is a fault")
    func switcherPages() throws {
        for era in [GuestABI.Era.era4c, .era4d, .era5] {
            let isNamed = era != .era4c
            #expect(
                try lastWords(era) {
                    $0.initialize()
                    $0.call(14, TinyGuest.directory, 0xFFC0_0000, 0)
                }
                    == (isNamed
                        ? "attempt to set pte into Switcher pages"
                        : "attempt to access switcher pages"))
            #expect(
                try lastWords(era) {
                    $0.initialize()
                    $0.call(7, 0x69, 0xFFFF_F000, 1)
                }
                    == (isNamed
                        ? "bad stack page 0xffffefff" : "attempt to access switcher pages"))
            let guest = try TinyGuest(era) { $0.load(0xFFC0_1000) }
            guest.memory.store32(TinyGuest.directory + 1023 * 4, TinyGuest.table | 7)
            #expect(
                guest.lastWords()
                    == (isNamed
                        ? "unhandled trap 14 at 0x10005 (0xffc01000)"
                        : "attempt to access switcher pages"))
        }
    }

    @Test("from 4d on an index behind a directory's end kills, but for the first")
    func directoryIndex() throws {
        for (era, isWide, last, index) in [
            (.era4c, false, 5000, 5000), (.era4c, true, 5, 5), (.era4d, false, 1024, 5000),
            (.era5, false, 1023, 1025), (.era4d, true, 4, 5),
        ] as [(GuestABI.Era, Bool, UInt32, UInt32)] {
            let guest = try TinyGuest(era, isWide: isWide) {
                $0.initialize()
                $0.call(15, TinyGuest.directory, last)
                $0.checkpoint(1)
                $0.call(15, TinyGuest.directory, index)
                $0.checkpoint(2)
            }
            #expect(guest.run() == .checkpoint(1))
            if era == .era4c {
                #expect(guest.run() == .checkpoint(2))
            } else {
                #expect(
                    guest.lastWords() == "Attempt to set pgd \(index)/\(isWide ? 4 : 1024)")
            }
        }
    }

    @Test("the high half of an entry comes in a fourth register, or in the ring's fifth word")
    func fourthArgument() throws {
        for (high, isFiled) in [(0, false), (1, false), (0, true), (1, true)] as [(UInt32, Bool)] {
            let guest = try TinyGuest(.era4d, isWide: true) {
                $0.initialize()
                $0.checkpoint(1)
                $0.move(.esi, high)
                if isFiled { $0.call(0) } else { $0.call(14, TinyGuest.directory, 0, 0x67) }
                $0.checkpoint(2)
            }
            #expect(guest.run() == .checkpoint(1))
            if isFiled { guest.file(0, [14, TinyGuest.directory, 0, 0x67, high]) }
            if high == 0 {
                #expect(guest.run() == .checkpoint(2))
            } else {
                #expect(guest.lastWords() == "bad page table entry")
            }
        }
    }

    @Test(
        "a system call by an interrupt gate is entered through the host in era 5, and lost before")
    func systemCalls() throws {
        for era in [GuestABI.Era.era4d, .era5] {
            let guest = try TinyGuest(
                era, handler: { $0.checkpoint(2) },
                code: {
                    $0.initialize()
                    $0.gate(0x80, $0.origin - TinyGuest.code + TinyGuest.handler, level: 3)
                    $0.interrupt(0x80)
                    $0.checkpoint(1)
                })
            #expect(guest.run() == .checkpoint(era == .era5 ? 2 : 1))
        }
    }

    @Test("ports lead to what is connected, in the register's width")
    func ports() throws {
        let guest = try TinyGuest(.era5) {
            $0.initialize()
            $0.move(.eax, 0x1234_5678)
            $0.emit(0xE4, 0x70)
            $0.store(0x9000)
            $0.emit(0xE5, 0x71)
            $0.store(0x9004)
            $0.checkpoint(1)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.word(0x9000) == 0x1234_5601)
        #expect(guest.word(0x9004) == 0x0071_0004)
    }

    @Test("in era 5 one instruction is left alone, the return from interrupts")
    func quiet() throws {
        let guest = try TinyGuest(
            .era5,
            prepare: { memory in
                memory.store32(
                    TinyGuest.data + GuestABI(era: .era5).data.quietStart, 0xC000_1234)
            },
            code: {
                $0.initialize()
                $0.checkpoint(1)
            })
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.host.quietCode == (0xC000_1234, 0xC000_1235))
    }
}
