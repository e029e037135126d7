import Testing

@testable import Mini

/// Page faults, accessed and dirty bits, entries that the host refuses.
@Suite struct ProcessorTranslationTests {
    typealias Guest = ProcessorGuest
    static let page: UInt32 = 0x20_0000

    /// mov eax, [page] or mov [page], eax
    private func access(write: Bool, _ address: UInt32 = page) -> [UInt8] {
        [write ? 0xA3 : 0xA1] + Guest.immediate(address) + [0x0F, 0x0B]
    }

    @Test(
        "a page fault's error code tells present, write and user",
        arguments: [
            (1, 0x6, false, 0), (1, 0x6, true, 2), (3, 0x6, false, 4), (3, 0x6, true, 6),
            (1, 0x5, true, 3), (3, 0x5, true, 7), (3, 0x3, false, 5), (3, 0x3, true, 7),
        ] as [(Int, UInt32, Bool, UInt32)])
    func errorCodes(ring: Int, flags: UInt32, write: Bool, code: UInt32) throws {
        let guest = try Guest(ring: ring)
        guest.mapPage(Self.page, to: Self.page, flags: flags)
        #expect(
            guest.run(access(write: write))
                == .trap(vector: 14, errorCode: code, address: UInt64(Self.page)))
        #expect(guest.processor.eip == Guest.code)
        #expect(guest.entry(Self.page) & 0x60 == 0)
    }

    @Test("ring 1 is a supervisor: it reads and writes pages that ring 3 may not")
    func supervisor() throws {
        let guest = try Guest()
        guest.mapPage(Self.page, to: Self.page, flags: 3)
        #expect(guest.run(access(write: true)) == .trap(6))
    }

    @Test("the directory's bits count as well as the table's")
    func directoryBits() throws {
        let other: UInt32 = 0x40_0000
        for (bits, write, ring, code) in [
            (6, false, 1, 0), (5, true, 1, 3), (3, false, 3, 5),
        ] as [(UInt32, Bool, Int, UInt32)] {
            let guest = try Guest(ring: ring)
            guest.memory.store32(Guest.directory + 4, Guest.table | bits)
            #expect(
                guest.run(access(write: write, other))
                    == .trap(vector: 14, errorCode: code, address: UInt64(other)))
        }
    }

    @Test("reading sets accessed in both levels, writing sets dirty, also after a read")
    func accessedAndDirty() throws {
        let guest = try Guest()
        guest.memory.store32(Guest.directory, Guest.table | 7)
        guest.processor.flushTLB()
        #expect(guest.entry(Self.page) == Self.page | 7)
        guest.run(access(write: false))
        #expect(guest.entry(Self.page) == Self.page | 0x27)
        #expect(guest.word(Guest.directory) == Guest.table | 0x27)
        guest.run(access(write: true))
        #expect(guest.entry(Self.page) == Self.page | 0x67)
    }

    @Test("a flushed page is walked again, an unflushed one is not")
    func flushing() throws {
        let guest = try Guest()
        guest.memory.store32(Self.page, 1)
        guest.memory.store32(Self.page + 0x1000, 2)
        guest.run(access(write: false))
        guest.mapPage(Self.page, to: Self.page + 0x1000, flags: 7)
        guest.run(access(write: false))
        #expect(guest.processor[.eax] == 1)
        guest.processor.flushTLB(of: Self.page)
        guest.run(access(write: false))
        #expect(guest.processor[.eax] == 2)
    }

    @Test("a write across two pages of which one is not writable changes neither")
    func crossingWrite() throws {
        for bad in [0, 1] as [UInt32] {
            let guest = try Guest()
            guest.mapPage(Self.page + bad * 0x1000, to: Self.page + bad * 0x1000, flags: 5)
            guest.processor[.eax] = 0xFFFF_FFFF
            let address = Self.page + 0xFFE
            #expect(
                guest.run(access(write: true, address))
                    == .trap(
                        vector: 14, errorCode: 3,
                        address: UInt64(bad == 0 ? address : Self.page + 0x1000)))
            #expect(guest.word(address) == 0)
        }
    }

    @Test("accesses across pages that are far apart in memory read and write both")
    func crossingAccess() throws {
        let guest = try Guest()
        guest.mapPage(Self.page + 0x1000, to: 0x30_0000, flags: 7)
        guest.processor[.eax] = 0x8765_4321
        let address = Self.page + 0xFFD
        #expect(guest.run(access(write: true, address)) == .trap(6))
        #expect(guest.bytes(address, 3) == [0x21, 0x43, 0x65])
        #expect(guest.bytes(0x30_0000, 1) == [0x87])
        guest.processor[.eax] = 0
        #expect(guest.run(access(write: false, address)) == .trap(6))
        #expect(guest.processor[.eax] == 0x8765_4321)
    }

    @Test("a read-modify-write that faults leaves registers, flags and memory alone")
    func readModifyWrite() throws {
        // add [page], eax; xchg [page], eax; cmpxchg [page], ecx; xadd; inc; shl; bts; neg
        for code in [
            [0x01, 0x05], [0x87, 0x05], [0x0F, 0xB1, 0x0D], [0x0F, 0xC1, 0x05], [0xFF, 0x05],
            [0xD1, 0x25], [0x0F, 0xAB, 0x15], [0xF7, 0x1D], [0x11, 0x05], [0x0F, 0xC7, 0x0D],
        ] as [[UInt8]] {
            let guest = try Guest()
            guest.memory.store32(Self.page, 0x8000_0000)
            guest.mapPage(Self.page, to: Self.page, flags: 5)
            guest.processor[.eax] = 0x8000_0001
            guest.processor.eflags = 0x247
            #expect(
                guest.run(code + Guest.immediate(Self.page))
                    == .trap(vector: 14, errorCode: 3, address: UInt64(Self.page)))
            #expect(guest.processor[.eax] == 0x8000_0001)
            #expect(guest.processor.eflags & 0xFFFF == 0x247)
            #expect(guest.word(Self.page) == 0x8000_0000)
        }
    }

    @Test("push, call, pusha, enter that fault leave esp alone")
    func faultingPushes() throws {
        for code in [
            [0x50], [0xE8, 0, 0, 0, 0], [0x60], [0xC8, 16, 0, 3], [0x6A, 1], [0xFF, 0xD0],
            [0x9C], [0x1E], [0xFF, 0x35, 0, 0, 2, 0], [0x9A, 0, 0, 1, 0, 0x61, 0],
        ] as [[UInt8]] {
            let guest = try Guest()
            guest.processor[.esp] = Self.page + 0x1000
            guest.processor[.ebp] = Guest.stack
            guest.mapPage(Self.page, to: Self.page, flags: 6)
            let exit = guest.run(code)
            guard case .trap(14, 2, let address) = exit else {
                Issue.record("\(exit)")
                continue
            }
            #expect(address >= Self.page && address < Self.page + 0x1000)
            #expect(guest.processor[.esp] == Self.page + 0x1000)
            #expect(guest.processor[.ebp] == Guest.stack)
            #expect(guest.processor.eip == Guest.code)
        }
    }

    @Test("pops that fault leave registers alone")
    func faultingPops() throws {
        for code in [[0x58], [0xC3], [0x61], [0x9D], [0xCF], [0xCB], [0x07], [0x8F, 0x00]]
            as [[UInt8]]
        {
            let guest = try Guest()
            guest.processor[.esp] = Self.page
            guest.processor[.eax] = 77
            guest.mapPage(Self.page, to: Self.page, flags: 6)
            // A far return reads its selector first, which shows in the address.
            let first = Self.page + (code == [0xCB] ? 4 : 0)
            #expect(guest.run(code) == .trap(vector: 14, errorCode: 0, address: UInt64(first)))
            #expect(guest.processor[.esp] == Self.page)
            #expect(guest.processor[.eax] == 77)
        }
    }

    @Test("a repeated store stops at the page that is missing and goes on when it is there")
    func repeatedStore() throws {
        let guest = try Guest()
        guest.mapPage(Self.page + 0x1000, to: Self.page + 0x1000, flags: 6)
        guest.processor[.edi] = Self.page + 0xFF0
        guest.processor[.ecx] = 16
        guest.processor[.eax] = 0xABAB_ABAB
        #expect(
            guest.run([0xF3, 0xAB, 0x0F, 0x0B])
                == .trap(vector: 14, errorCode: 2, address: UInt64(Self.page + 0x1000)))
        #expect(guest.processor.eip == Guest.code)
        #expect(guest.processor[.ecx] == 12 && guest.processor[.edi] == Self.page + 0x1000)
        guest.mapPage(Self.page + 0x1000, to: Self.page + 0x1000, flags: 7)
        guest.processor.flushTLB(of: Self.page + 0x1000)
        #expect(guest.processor.run(instructions: 100) == .trap(6))
        #expect(guest.processor[.ecx] == 0)
        #expect(guest.bytes(Self.page + 0xFF0, 64) == [UInt8](repeating: 0xAB, count: 64))
    }

    @Test("a fetch from a missing page faults with the address of the instruction")
    func fetch() throws {
        let guest = try Guest(ring: 3)
        guest.mapPage(Self.page, to: Self.page, flags: 6)
        guest.processor.eip = Self.page + 5
        #expect(
            guest.processor.run(instructions: 1)
                == .trap(vector: 14, errorCode: 4, address: UInt64(Self.page + 5)))
        guest.mapPage(Self.page, to: Self.page, flags: 3)
        #expect(
            guest.processor.run(instructions: 1)
                == .trap(vector: 14, errorCode: 5, address: UInt64(Self.page + 5)))
    }

    @Test("code of the supervisor's, already decoded, is not executed by a user")
    func decodedSupervisorCode() throws {
        let guest = try Guest()
        guest.mapPage(Self.page, to: Self.page, flags: 3)
        guest.put([0x40, 0x0F, 0x0B], at: Self.page)
        guest.processor.eip = Self.page
        #expect(guest.processor.run(instructions: 10) == .trap(6))
        _ = guest.processor.setSegment(.cs, Guest.userCode)
        _ = guest.processor.setSegment(.ss, Guest.userData)
        guest.processor.eip = Self.page
        #expect(
            guest.processor.run(instructions: 10)
                == .trap(vector: 14, errorCode: 5, address: UInt64(Self.page)))
    }

    @Test(
        "directory entries with bits the host refuses or beyond memory end the run",
        arguments: [0x2087, 0x200F, 0x2107, 0x2207, 0x40_0007] as [UInt32])
    func badDirectory(_ entry: UInt32) throws {
        let guest = try Guest()
        guest.memory.store32(Guest.directory + 4, entry)
        #expect(guest.run(access(write: false, 0x40_0000)) == .refusedDirectoryEntry)
    }

    @Test("a page directory beyond memory ends the run")
    func directoryBeyond() throws {
        let guest = try Guest()
        guest.processor.pageDirectory = 0x40_0000
        #expect(guest.processor.run(instructions: 1) == .refusedDirectoryEntry)
    }

    @Test(
        "table entries with bits the host refuses or beyond memory end the run",
        arguments: [0x20_0087, 0x20_000F, 0x40_0007, 0xFFFF_F007] as [UInt32])
    func badTable(_ entry: UInt32) throws {
        let guest = try Guest()
        guest.mapPage(Self.page, to: entry & ~0xFFF, flags: entry & 0xFFF)
        #expect(guest.run(access(write: false)) == .refusedTableEntry)
    }

    @Test("software bits, cache-disable and global are accepted in a table entry")
    func acceptedBits() throws {
        let guest = try Guest()
        guest.mapPage(Self.page, to: Self.page, flags: 0xF17)
        #expect(guest.run(access(write: true)) == .trap(6))
    }

    @Test("the page limit can be lowered, not raised beyond memory")
    func pageLimit() throws {
        let guest = try Guest()
        guest.processor.pageRules.limit = 0x200
        #expect(guest.run(access(write: false)) == .refusedTableEntry)
        guest.processor.pageRules.limit = 0xFFFF_FFFF
        #expect(guest.processor.pageRules.limit == 1024)
    }

    @Test("the host reads and writes linear memory with the supervisor's rights")
    func hostAccess() throws {
        let guest = try Guest(ring: 3)
        guest.mapPage(Self.page, to: 0x30_0000, flags: 3)
        guest.mapPage(Self.page + 0x1000, to: 0x10_0000, flags: 1)
        #expect(guest.processor.write32(linear: Self.page + 8, 0x1122_3344))
        #expect(guest.word(0x30_0008) == 0x1122_3344)
        #expect(guest.read32(linear: Self.page + 8) == 0x1122_3344)
        #expect(guest.processor.translate(Self.page + 5, write: true, user: false) == 0x30_0005)
        #expect(guest.processor.translate(Self.page + 5, write: false, user: true) == nil)
        #expect(!guest.processor.write32(linear: Self.page + 0xFFE, 0xFFFF_FFFF))
        #expect(guest.bytes(0x30_0FFE, 2) == [0, 0])
        #expect(guest.read32(linear: 0x40_0000) == nil)
    }
}
