// Exact tests of the address translation of a guest with ring 0: rights and error codes, large pages, PAE and
// no-execute, what is forgotten when, and memory that is not there.

import Testing

@testable import Mini

@Suite struct SystemPagingTests {
    typealias M = SystemMachine

    private func paged(_ control4: UInt32 = 0) throws -> M {
        let machine = try M()
        machine.makeTables()
        machine.enablePaging(control4)
        return machine
    }

    /// CR2, read by the guest.
    private func faultAddress(_ machine: M) -> UInt32 {
        machine.run([0x0F, 0x20, 0xD0])
        return machine.processor[.eax]
    }

    // MARK: Rights

    @Test("error codes: present, write, user")
    func errorCodes() throws {
        let machine = try paged()
        let page = M.data + 0x5000
        for (flags, isUser, isWrite, code) in [
            (0, false, false, 0), (0, false, true, 2), (0, true, false, 4), (0, true, true, 6),
            (3, true, false, 5), (3, true, true, 7), (5, true, true, 7),
        ] as [(UInt32, Bool, Bool, UInt32)] {
            machine.setEntry(page, page | flags)
            machine.run(forget(page))
            let access = isWrite ? storeAccumulator(page + 8) : loadAccumulator(page + 8)
            #expect((isUser ? machine.runUser(access) : machine.run(access)) == .event(14))
            #expect(machine.stacked(0) == code)
            #expect(machine.stacked(1) == (isUser ? M.data : M.code))
            #expect(faultAddress(machine) == page + 8)
        }
    }

    @Test("a directory entry's rights count as much as a table entry's")
    func directoryRights() throws {
        let machine = try paged()
        machine.memory.store32(M.directory + 4, M.table | 3)
        #expect(machine.runUser(loadAccumulator(0x40_0000)) == .event(14))
        #expect(machine.stacked(0) == 5)
        machine.memory.store32(M.directory + 4, M.table | 5)
        machine.run(forget(0x40_0000))
        #expect(machine.run(storeAccumulator(0x40_0000)) == .event(14))
        #expect(machine.stacked(0) == 3)
        #expect(machine.run(loadAccumulator(0x40_0000)) == .halt(false))
    }

    @Test("ring 0 writes read-only pages unless CR0.WP is set, ring 3 never")
    func writeProtect() throws {
        let machine = try paged()
        let page = M.data + 0x5000
        machine.setEntry(page, page | 5)
        #expect(machine.run(forget(page) + storeAccumulator(page)) == .event(14))
        #expect(machine.stacked(0) == 3)
        #expect(machine.run(setControl(0, 0x8000_0011) + storeAccumulator(page)) == .halt(false))
        #expect(machine.word(page) == 0x8000_0011)
        #expect(machine.entry(page) & 0x60 == 0x60)
        #expect(machine.runUser(storeAccumulator(page)) == .event(14))
        #expect(machine.stacked(0) == 7)
        // And back again: what was written freely is protected from now on.
        #expect(machine.run(setControl(0, 0x8001_0011) + storeAccumulator(page)) == .event(14))
    }

    @Test("reads set the accessed bits, writes the dirty bit of the last entry, faults none")
    func accessedAndDirty() throws {
        let machine = try paged()
        let page = M.data + 0x5000
        #expect(machine.entry(page) & 0x60 == 0)
        machine.run(loadAccumulator(page))
        #expect(machine.entry(page) & 0x60 == 0x20)
        #expect(machine.word(M.directory) & 0x60 == 0x20)
        machine.run(storeAccumulator(page))
        #expect(machine.entry(page) & 0x60 == 0x60)
        #expect(machine.word(M.directory) & 0x40 == 0)
        machine.setEntry(page, page | 1)
        machine.run(forget(page))
        #expect(machine.runUser(storeAccumulator(page)) == .event(14))
        #expect(machine.entry(page) & 0x60 == 0)
    }

    @Test("the tables that the processor reads by itself are read with ring 0's rights")
    func implicitAccesses() throws {
        let machine = try paged()
        machine.setEntry(M.globalTable, 3)
        machine.setEntry(M.interruptTable, M.interruptTable | 3)
        machine.run(forget(0) + forget(M.interruptTable))
        machine.setGate(0x80, M.handlers + 0x800, access: 0xEE00)
        #expect(machine.runUser([0xCD, 0x80]) == .event(0x80))
        // An IDT that is not there: a page fault of ring 0 within a page fault within …
        machine.setEntry(M.interruptTable, 0)
        #expect(machine.run(forget(M.interruptTable) + [0xCD, 0x80]) == .shutdown)
    }

    @Test(
        "a mark in a table of descriptors that may not be written is a page fault, and nothing is loaded"
    )
    func readOnlyTable() throws {
        let machine = try M()
        machine.makeTables()
        let table: UInt32 = 0x5000
        for offset in stride(from: 0, to: 0x80, by: 4) as StrideTo<UInt32> {
            machine.memory.store32(table + offset, machine.word(M.globalTable + offset))
        }
        machine.store64(table + 0x38, 0x00CF_9200_0000_FFFF)
        machine.store64(table + 0x40, 0x0000_8900_0C00_0067)
        machine.store64(table + 0x48, 0x00CF_9A00_0000_FFFF)
        machine.setEntry(table, table | 1)
        machine.enablePaging()
        machine.run(lgdt(table, 0x7F))
        // mov es, 38; ltr 40; jmp 48:10000
        for (bytes, place) in [
            ([0xB8, 0x38, 0, 0, 0, 0x8E, 0xC0], table + 0x3D),
            ([0xB8, 0x40, 0, 0, 0, 0x0F, 0x00, 0xD8], table + 0x45),
            ([0xEA, 0, 0, 1, 0, 0x48, 0], table + 0x4D),
        ] as [([UInt8], UInt32)] {
            #expect(machine.run(bytes) == .event(14))
            #expect(machine.stacked(0) == 3)
            #expect(faultAddress(machine) == place)
        }
        // mov eax, es; str ebx
        machine.run([0x8C, 0xC0, 0x0F, 0x00, 0xCB])
        #expect(machine.processor[.eax] == 0x18 as UInt32)
        #expect(machine.processor[.ebx] == UInt32(M.taskSelector))
    }

    @Test("a page fault that cannot push its frame is a double fault")
    func kernelStackGone() throws {
        let machine = try paged()
        machine.memory.store32(M.interruptTable + 8 * 8, 0x40 << 16)
        machine.memory.store32(M.interruptTable + 8 * 8 + 4, 0x8500)
        let other: UInt32 = 0xC00
        for (offset, value) in [
            (0x1C, M.directory), (0x20, M.data), (0x24, 2), (0x38, 0xD000), (0x48, 0x18),
            (0x4C, 0x10), (0x50, 0x18), (0x54, 0x18), (0x58, 0), (0x5C, 0), (0x60, 0),
            (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            machine.memory.store32(other + offset, value)
        }
        machine.store64(M.globalTable + 0x40, 0x0000_8900_0000_0067 | UInt64(other) << 16)
        machine.put([0xF4], at: M.data)
        #expect(machine.run(load(4, 0x5000_0000) + [0x50]) == .halt(false))
        #expect(machine.processor.eip == M.data + 1)
        #expect(machine.stacked(0) == 0)
        #expect(machine.word(M.task + 0x38) == 0x5000_0000)
    }

    // MARK: Large pages

    @Test("CR4.PSE makes pages of 4 MiB, and their reserved bits faults")
    func largePages() throws {
        let machine = try paged()
        machine.memory.store32(0x40_1234, 0xCAFE)
        machine.memory.store32(M.directory + 4 * 4, 0x40_0083)
        // Without the bit it is a table, and what lies there no entry.
        #expect(machine.run(loadAccumulator(0x100_1234)) == .event(14))
        #expect(machine.stacked(0) == 0)
        machine.run(setControl(4, 0x10))
        #expect(machine.run(loadAccumulator(0x100_1234)) == .halt(false))
        #expect(machine.processor[.eax] == 0xCAFE as UInt32)
        #expect(machine.word(M.directory + 16) & 0x60 == 0x20)
        machine.run(storeAccumulator(0x100_1238))
        #expect(machine.word(M.directory + 16) & 0x60 == 0x60)
        for bit in 13...21 as ClosedRange<UInt32> {
            machine.memory.store32(M.directory + 16, 0x40_0083 ^ 1 << bit)
            #expect(machine.run(forget(0x100_0000) + loadAccumulator(0x100_1234)) == .event(14))
            #expect(machine.stacked(0) == 9)
        }
    }

    @Test("INVLPG of any address forgets all of a large page, and nothing else")
    func forgetLargePage() throws {
        let machine = try paged(0x10)
        machine.memory.store32(M.directory + 16, 0x40_0083)
        machine.run(storeAccumulator(0x100_0000) + storeAccumulator(0x13F_F000))
        machine.memory.store32(M.directory + 16, 0)
        let page = M.data + 0x5000
        machine.run(loadAccumulator(page))
        machine.setEntry(page, 0)
        #expect(machine.run(forget(0x120_0000) + loadAccumulator(page)) == .halt(false))
        #expect(machine.run(loadAccumulator(0x100_0000)) == .event(14))
        #expect(machine.run(loadAccumulator(0x13F_F000)) == .event(14))
    }

    // MARK: Forgetting

    @Test(
        "INVLPG forgets a page, a load of CR3 all but global ones, a change of CR4.PGE those as well"
    )
    func forgetting() throws {
        let machine = try paged(0x80)
        let page = M.data + 0x5000
        let global = M.data + 0x6000
        machine.setEntry(global, global | 0x107)
        machine.run(loadAccumulator(page) + loadAccumulator(global))
        machine.setEntry(page, 0)
        machine.setEntry(global, 0)
        #expect(machine.run(loadAccumulator(page)) == .halt(false))
        machine.run(setControl(3, M.directory))
        #expect(machine.run(loadAccumulator(page)) == .event(14))
        #expect(machine.run(loadAccumulator(global)) == .halt(false))
        #expect(machine.run(setControl(4, 0) + loadAccumulator(global)) == .event(14))
        // Without CR4.PGE the bit means nothing.
        machine.setEntry(global, global | 0x107)
        machine.run(loadAccumulator(global))
        machine.setEntry(global, 0)
        #expect(machine.run(setControl(3, M.directory) + loadAccumulator(global)) == .event(14))
        machine.setEntry(page, page | 7)
        machine.run(loadAccumulator(page))
        machine.setEntry(page, 0)
        #expect(machine.run(forget(page) + loadAccumulator(page)) == .event(14))
    }

    @Test("a load of CR3 forgets however many pages were used")
    func forgettingMany() throws {
        let machine = try paged()
        for page in 0x100..<0x400 as Range<UInt32> { machine.run(loadAccumulator(page << 12)) }
        for page in 0x100..<0x400 as Range<UInt32> { machine.setEntry(page << 12, 0) }
        machine.run(setControl(3, M.directory))
        for page in stride(from: 0x100, to: 0x400, by: 51) as StrideTo<UInt32> {
            #expect(machine.run(loadAccumulator(page << 12)) == .event(14))
        }
    }

    @Test("after a load of CR3 the code is the new address space's, of ring 0 and of ring 3")
    func codeOfAddressSpaces() throws {
        let machine = try paged()
        let other: UInt32 = 0x5000
        let otherTable: UInt32 = 0x6000
        machine.memory.store32(other, otherTable | 7)
        for page in 0..<1024 as Range<UInt32> {
            machine.memory.store32(otherTable + page * 4, page << 12 | 7)
        }
        let place: UInt32 = 0x5_0000
        machine.memory.store32(otherTable + place >> 10, 0x6_0000 | 7)
        machine.put(load(3, 1) + [0xC3], at: place)
        machine.put(load(3, 2) + [0xC3], at: 0x6_0000)
        machine.put(load(3, 1) + [0x0F, 0x0B], at: place + 0x100)
        machine.put(load(3, 2) + [0x0F, 0x0B], at: 0x6_0100)
        let call = load(2, place) + [0xFF, 0xD2]
        for _ in 0..<3 {
            for (directory, value) in [(M.directory, 1), (other, 2)] as [(UInt32, UInt32)] {
                #expect(machine.run(setControl(3, directory) + call) == .halt(false))
                #expect(machine.processor[.ebx] == value)
                machine.processor[.ebx] = 0 as UInt32
                #expect(machine.runUser(load(2, place + 0x100) + [0xFF, 0xE2]) == .event(6))
                #expect(machine.processor[.ebx] == value)
            }
        }
    }

    @Test("INVLPG of a page with code makes what is there now run")
    func forgetCode() throws {
        let machine = try paged()
        let place: UInt32 = 0x5_0000
        machine.put(load(3, 1) + [0xC3], at: place)
        machine.put(load(3, 2) + [0xC3], at: 0x6_0000)
        let call = load(2, place) + [0xFF, 0xD2]
        machine.run(call)
        #expect(machine.processor[.ebx] == 1 as UInt32)
        machine.setEntry(place, 0x6_0007)
        machine.run(forget(place) + call)
        #expect(machine.processor[.ebx] == 2 as UInt32)
    }

    // MARK: Code

    @Test(
        "code that changes through another address runs changed: aliases, large pages, paging off")
    func aliases() throws {
        let machine = try paged(0x10)
        let place: UInt32 = 0x5_0000
        machine.setEntry(0x30_0000, place | 7)
        machine.memory.store32(M.directory + 16, 0x83)
        machine.put(load(3, 1) + [0xC3], at: place)
        let call = load(2, place) + [0xFF, 0xD2]
        machine.run(call)
        for (value, alias) in [
            (2, 0x30_0001), (3, place + 1), (4, 0x105_0001),
        ] as [(UInt32, UInt32)] {
            machine.run(load(0, value) + storeAccumulator(alias) + call)
            #expect(machine.processor[.ebx] == value)
        }
        machine.run(setControl(0, 0x11) + load(0, 5) + storeAccumulator(place + 1) + call)
        #expect(machine.processor[.ebx] == 5 as UInt32)
        machine.run(setControl(0, 0x8001_0011) + call)
        #expect(machine.processor[.ebx] == 5 as UInt32)
    }

    @Test("an instruction on two pages runs as both are now: written, mapped elsewhere, gone")
    func twoPages() throws {
        let machine = try paged()
        let place: UInt32 = 0x5_0FFE
        machine.put(load(3, 0x0101_0101) + [0xC3], at: place)
        let call = load(2, place) + [0xFF, 0xD2]
        for _ in 0..<3 {
            machine.run(call)
            #expect(machine.processor[.ebx] == 0x0101_0101 as UInt32)
        }
        // Its second page changes: by the guest, through an alias, by a device.
        machine.run(load(0, 0x0202_0202) + storeAccumulator(0x5_1000) + call)
        #expect(machine.processor[.ebx] == 0x0202_0201 as UInt32)
        machine.put([3, 3, 3, 0xC3], at: 0x5_1000)
        machine.setEntry(0x30_0000, 0x5_1007)
        machine.run(call)
        #expect(machine.processor[.ebx] == 0x0303_0301 as UInt32)
        machine.run(load(0, 0xC304_0404) + storeAccumulator(0x30_0000) + call)
        #expect(machine.processor[.ebx] == 0x0404_0401 as UInt32)
        // Its first page changes.
        machine.run(load(0, 0x05BB_0000) + storeAccumulator(0x5_0FFC) + call)
        #expect(machine.processor[.ebx] == 0x0404_0405 as UInt32)
        // Another page is behind the first, and then the old one again.
        machine.put([6, 6, 6, 0xC3], at: 0x6_0000)
        machine.setEntry(0x5_1000, 0x6_0007)
        machine.run(forget(0x5_1000) + call)
        #expect(machine.processor[.ebx] == 0x0606_0605 as UInt32)
        machine.setEntry(0x5_1000, 0x5_1007)
        machine.run(forget(0x5_1000) + call)
        #expect(machine.processor[.ebx] == 0x0404_0405 as UInt32)
        machine.setEntry(0x5_1000, 0)
        #expect(machine.run(forget(0x5_1000) + call) == .event(14))
        #expect(machine.stacked(1) == place)
        #expect(faultAddress(machine) == 0x5_1000)
    }

    // MARK: PAE

    @Test("PAE walks three levels, with pages of 2 MiB")
    func extendedWalk() throws {
        let machine = try M()
        machine.enableExtension(noExecute: true)
        machine.memory.store32(0x20_1234, 0xCAFE)
        machine.store64(M.wideDirectory + 8 * 8, 0x20_0083)
        #expect(machine.run(loadAccumulator(0x100_1234)) == .halt(false))
        #expect(machine.processor[.eax] == 0xCAFE as UInt32)
        #expect(machine.word(M.wideDirectory + 64) & 0x60 == 0x20)
        // Nothing at the second pointer.
        #expect(machine.run(loadAccumulator(0x4000_0000)) == .event(14))
        #expect(machine.stacked(0) == 0)
        for bit in (13...20).map({ $0 as UInt64 }) + [36, 51, 62] {
            machine.store64(M.wideDirectory + 8 * 8, 0x20_0083 ^ 1 << bit)
            #expect(machine.run(forget(0x100_0000) + loadAccumulator(0x100_1234)) == .event(14))
            #expect(machine.stacked(0) == 9)
        }
    }

    @Test("code of a no-execute page is a fetch fault, at both levels; data may be read")
    func noExecute() throws {
        let machine = try M()
        machine.enableExtension(noExecute: true)
        let page: UInt32 = 0x5_0000
        machine.put([0xC3], at: page)
        let call = load(2, page) + [0xFF, 0xD2]
        machine.store64(machine.wideEntry(page), UInt64(page) | 7 | 1 << 63)
        // Read first: the translation is known, and still not good for code.
        #expect(machine.run(forget(page) + loadAccumulator(page) + call) == .event(14))
        #expect(machine.stacked(0) == 0x11)
        #expect(machine.stacked(1) == page)
        #expect(machine.runUser(call) == .event(14))
        #expect(machine.stacked(0) == 0x15)
        machine.store64(machine.wideEntry(page), UInt64(page) | 7)
        #expect(machine.run(forget(page) + call) == .halt(false))
        machine.store64(M.wideDirectory, UInt64(M.wideTable) | 7 | 1 << 63)
        #expect(machine.run(forget(page) + call) == .event(14))
    }

    @Test("a fetch from a page that is not there has the fetch bit only where no-execute is on")
    func fetchBit() throws {
        for (isOn, code) in [(true, 0x10), (false, 0)] as [(Bool, UInt32)] {
            let machine = try M()
            machine.enableExtension(noExecute: isOn)
            #expect(machine.run(load(2, 0x5000_0000) + [0xFF, 0xE2]) == .event(14))
            #expect(machine.stacked(0) == code)
        }
    }

    @Test("without EFER.NXE bit 63 is reserved")
    func noExecuteReserved() throws {
        let machine = try M()
        machine.enableExtension(noExecute: false)
        machine.store64(machine.wideEntry(M.data), UInt64(M.data) | 7 | 1 << 63)
        #expect(machine.run(loadAccumulator(M.data)) == .event(14))
        #expect(machine.stacked(0) == 9)
        #expect(
            machine.run(writeModel(0xC000_0080, 0x800) + loadAccumulator(M.data)) == .halt(false))
    }

    @Test(
        "reserved bits of the first level are protection faults of the load of CR3, which changes nothing"
    )
    func pointers() throws {
        let machine = try M()
        machine.enableExtension(noExecute: true)
        let other: UInt32 = 0x7000
        for bit in [1, 2, 5, 6, 7, 8, 36, 63] as [UInt64] {
            machine.store64(other, UInt64(M.wideDirectory) | 1 | 1 << bit)
            #expect(machine.run(setControl(3, other)) == .event(13))
            // Those of an entry that is not present do not count.
            machine.store64(other, 1 << bit)
            machine.store64(other + 8, 0)
        }
        machine.run([0x0F, 0x20, 0xDB])
        #expect(machine.processor[.ebx] == M.pointers)
    }

    @Test("the first level is read when CR3 is loaded, and not when it is used")
    func cachedPointers() throws {
        let machine = try M()
        machine.enableExtension(noExecute: true)
        machine.store64(M.pointers + 8, UInt64(M.wideDirectory) | 1)
        #expect(machine.run(loadAccumulator(0x4002_0000)) == .event(14))
        #expect(
            machine.run(setControl(3, M.pointers) + loadAccumulator(0x4002_0000)) == .halt(false))
        machine.store64(M.pointers + 8, 0)
        #expect(machine.run(loadAccumulator(0x4003_0000)) == .halt(false))
    }

    @Test("a change of CR4.PGE or PSE, or of CR0.CD, reads the first level again, or is refused")
    func pointersAgain() throws {
        for (number, usual, other) in [
            (4, 0x20, 0xA0), (4, 0x20, 0x30), (0, 0x8001_0011, 0xC001_0011),
        ] as [(UInt8, UInt32, UInt32)] {
            let machine = try M()
            machine.enableExtension(noExecute: true)
            // A second directory, whose first large page is not where the first one's table leads.
            let directory: UInt64 = 0x7000
            machine.store64(0x7000, 0x20_0083)
            machine.memory.store32(M.data, 1)
            machine.memory.store32(0x20_0000 + M.data, 2)
            let look = loadAccumulator(0x4000_0000 + M.data)
            machine.store64(M.pointers + 8, UInt64(M.wideDirectory) | 1)
            machine.run(setControl(3, M.pointers) + look)
            #expect(machine.processor[.eax] == 1 as UInt32)
            machine.store64(M.pointers + 8, directory | 1)
            machine.run(setControl(number, other) + look)
            #expect(machine.processor[.eax] == 2 as UInt32)
            machine.store64(M.pointers + 8, UInt64(M.wideDirectory) | 1)
            machine.run(setControl(number, usual) + look)
            #expect(machine.processor[.eax] == 1 as UInt32)
            // A reserved bit.
            machine.store64(M.pointers + 8, directory | 3)
            #expect(machine.run(setControl(number, other)) == .event(13))
            #expect(machine.stacked(0) == 0)
            machine.run([0x0F, 0x20, 0xC3 | number << 3])
            #expect(machine.processor[.ebx] == usual)
        }
    }

    @Test("PAE is turned on under paging as well, and its first level is looked at then")
    func extendLate() throws {
        let machine = try paged()
        // The directory's first entry, as one of the first level, has reserved bits.
        #expect(machine.run(setControl(4, 0x20)) == .event(13))
    }

    // MARK: Memory that is not there

    @Test("outside memory all ones are read, and what is written is gone")
    func outside() throws {
        let machine = try M()
        let end: UInt32 = 8 << 20
        for address in [end, 0x8000_0000, 0xFFFF_FFFC] as [UInt32] {
            #expect(
                machine.run(load(0, 0) + storeAccumulator(address) + loadAccumulator(address))
                    == .halt(false))
            #expect(machine.processor[.eax] == UInt32.max)
        }
        // Half in, half out; and round the end of the address space.
        machine.memory.store32(end - 4, 0x1122_3344)
        machine.run(loadAccumulator(end - 2))
        #expect(machine.processor[.eax] == 0xFFFF_1122 as UInt32)
        machine.run(load(0, 0xAABB_CCDD) + storeAccumulator(end - 2))
        #expect(machine.word(end - 4) == 0xCCDD_3344)
        machine.memory.store32(0, 0x5566_7788)
        machine.run(loadAccumulator(0xFFFF_FFFE))
        #expect(machine.processor[.eax] == 0x7788_FFFF as UInt32)
    }

    @Test("strings run through memory that is not there")
    func outsideStrings() throws {
        let machine = try M()
        let end: UInt32 = 8 << 20
        machine.run(load(0, 0x77) + load(1, 0x40) + load(7, end - 0x20) + [0xF3, 0xAA])
        #expect(machine.word(end - 4) == 0x7777_7777)
        machine.run(load(1, 0x40) + load(6, end) + load(7, M.data) + [0xF3, 0xA4])
        #expect(machine.word(M.data + 0x3C) == .max)
    }

    @Test("code where there is no memory is all ones, which is no instruction")
    func outsideCode() throws {
        let machine = try M()
        #expect(machine.run(load(2, 0x9000_0000) + [0xFF, 0xE2]) == .event(6))
        #expect(machine.stacked(0) == 0x9000_0000)
    }

    @Test(
        "tables that are not there are all ones: reserved bits of large pages, else pages that are not there"
    )
    func outsideTables() throws {
        let machine = try paged()
        machine.memory.store32(M.directory + 4, 0x9000_0007)
        #expect(machine.run(loadAccumulator(0x40_0000)) == .halt(false))
        #expect(machine.processor[.eax] == UInt32.max)
        let wide = try M()
        wide.enableExtension(noExecute: true)
        wide.store64(M.wideDirectory + 8, 0xF_0000_0007)
        #expect(wide.run(loadAccumulator(0x20_0000)) == .event(14))
        #expect(wide.stacked(0) == 9)
    }

    @Test("the stack, the IDT and the GDT may lie where there is no memory")
    func outsideEverything() throws {
        let machine = try M()
        #expect(machine.run(load(4, 0x9000_0000) + [0x50, 0x5B]) == .halt(false))
        #expect(machine.processor[.ebx] == UInt32.max)
        #expect(machine.run(lidt(0x9000_0000, 0x7FF) + [0xCC]) == .shutdown)
        let other = try M()
        #expect(
            other.run(lgdt(0x9000_0000, 0x7F) + load(0, 0x18) + [0x8E, 0xC0]) == .halt(false))
    }
}
