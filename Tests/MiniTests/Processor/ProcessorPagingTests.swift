import Testing

@testable import Mini

@Suite struct ProcessorPagingTests {
    typealias M = ProcessorMachine

    struct Access: CustomTestStringConvertible {
        let name: String
        let user: Bool
        let write: Bool
        let flags: UInt32
        let error: UInt32?
        var testDescription: String { name }
    }

    static let accesses: [Access] = [
        .init(name: "kernel reads an absent page", user: false, write: false, flags: 6, error: 0),
        .init(name: "kernel writes an absent page", user: false, write: true, flags: 6, error: 2),
        .init(name: "user reads an absent page", user: true, write: false, flags: 6, error: 4),
        .init(name: "user writes an absent page", user: true, write: true, flags: 6, error: 6),
        .init(name: "kernel writes a read-only page", user: false, write: true, flags: 5, error: 3),
        .init(
            name: "kernel writes a kernel read-only page", user: false, write: true, flags: 1,
            error: 3),
        .init(name: "user reads a kernel page", user: true, write: false, flags: 3, error: 5),
        .init(name: "user writes a kernel page", user: true, write: true, flags: 3, error: 7),
        .init(name: "user writes a read-only page", user: true, write: true, flags: 5, error: 7),
        .init(
            name: "kernel reads a read-only page", user: false, write: false, flags: 1, error: nil),
        .init(name: "kernel writes a kernel page", user: false, write: true, flags: 3, error: nil),
        .init(name: "user reads a read-only page", user: true, write: false, flags: 5, error: nil),
        .init(name: "user writes its page", user: true, write: true, flags: 7, error: nil),
    ]

    @Test("each access to each kind of page has its error code", arguments: accesses)
    func errorCodes(_ access: Access) throws {
        let machine = try M()
        if access.user { machine.enterUser() }
        machine.put([0x11, 0x22, 0x33, 0x44], at: M.data + 8)
        machine.setFlags(M.data, access.flags)
        machine.processor[.eax] = 0x5566_7788
        let code = access.write ? Assemble.store(M.data + 8) : Assemble.load(M.data + 8)
        let seen = machine.run(code + [0xCC])
        if let error = access.error {
            #expect(seen == .pageFault(error, at: M.data + 8))
            #expect(machine.processor.eip == M.code, "the fault is at the instruction")
            #expect(machine.processor[.eax] == 0x5566_7788)
            #expect(machine.word(M.data + 8) == 0x4433_2211)
        } else {
            #expect(seen == .breakpoint)
            #expect(machine.processor[.eax] == (access.write ? 0x5566_7788 : 0x4433_2211))
            #expect(machine.word(M.data + 8) == (access.write ? 0x5566_7788 : 0x4433_2211))
        }
    }

    @Test("the directory entry's rights count as well", arguments: [false, true])
    func directoryRights(write: Bool) throws {
        let machine = try M()
        // A second directory entry for the same table at 0x400000, read-only and the kernel's.
        machine.memory.store32(0x1004, 0x2000 | 1)
        let code = write ? Assemble.store(0x420000) : Assemble.load(0x420000)
        #expect(machine.run(code + [0xCC]) == (write ? .pageFault(3, at: 0x420000) : .breakpoint))
        machine.enterUser()
        #expect(machine.run(code) == .pageFault(write ? 7 : 5, at: 0x420000))
        #expect(machine.run(Assemble.load(0x820000)) == .pageFault(4, at: 0x820000))
    }

    @Test("a read sets accessed, the first write sets dirty, in the guest's own tables")
    func accessedAndDirty() throws {
        let machine = try M()
        #expect(machine.run(Assemble.load(M.data) + [0xCC]) == .breakpoint)
        #expect(machine.entry(M.data) == M.data | 0x27)
        #expect(machine.word(0x1000) == 0x2000 | 0x27)
        #expect(machine.run(Assemble.store(M.data) + [0xCC]) == .breakpoint)
        #expect(machine.entry(M.data) == M.data | 0x67)
        #expect(machine.word(0x1000) & 0x40 == 0, "directory entries have no dirty bit")
        #expect(machine.entry(M.data + 0x1000) == (M.data + 0x1000) | 7, "and the neighbour none")
    }

    @Test("a refused write does not set dirty")
    func refusedWrite() throws {
        let machine = try M()
        machine.setFlags(M.data, 5)
        machine.run(Assemble.store(M.data))
        #expect(machine.entry(M.data) & 0x40 == 0)
    }

    @Test("a changed entry counts after its translation is flushed")
    func flushing() throws {
        let machine = try M()
        #expect(machine.run(Assemble.load(M.data) + Assemble.store(M.data) + [0xCC]) == .breakpoint)
        machine.setFlags(M.data, 0)
        #expect(machine.run(Assemble.load(M.data)) == .pageFault(0, at: M.data))
        machine.memory.store32(0x2000 + (M.data >> 12) * 4, (M.data + 0x1000) | 7)
        machine.put([1, 2, 3, 4], at: M.data + 0x1000)
        machine.processor.flushTLB()
        #expect(machine.run(Assemble.load(M.data) + [0xCC]) == .breakpoint)
        #expect(machine.processor[.eax] == 0x0403_0201)
    }

    @Test("another page directory is another address space")
    func switching() throws {
        let machine = try M()
        for page in 0..<1024 as Range<UInt32> {
            machine.memory.store32(0x4000 + page * 4, page << 12 | 7)
        }
        machine.memory.store32(0x3000, 0x4000 | 7)
        machine.memory.store32(0x4000 + (M.data >> 12) * 4, 0x30000 | 7)
        machine.put([9, 9, 9, 9], at: 0x30000)
        machine.run(Assemble.load(M.data) + [0xCC])
        #expect(machine.processor[.eax] == 0)
        machine.processor.pageDirectory = 0x3000
        machine.run(Assemble.load(M.data) + [0xCC])
        #expect(machine.processor[.eax] == 0x0909_0909)
    }

    @Test("code follows its page to another address space")
    func switchingCode() throws {
        let machine = try M()
        for page in 0..<1024 as Range<UInt32> {
            machine.memory.store32(0x4000 + page * 4, page << 12 | 7)
        }
        machine.memory.store32(0x3000, 0x4000 | 7)
        machine.memory.store32(0x4000 + (M.code >> 12) * 4, 0x30000 | 7)
        machine.put(Assemble.mov(.ebx, 2) + [0xCC], at: 0x30000)
        machine.run(Assemble.mov(.ebx, 1) + [0xCC])
        #expect(machine.processor[.ebx] == 1)
        machine.processor.pageDirectory = 0x3000
        machine.processor.eip = M.code
        machine.proceed()
        #expect(machine.processor[.ebx] == 2)
    }

    @Test("a write over a page border commits nothing when the second page refuses")
    func crossingWrite() throws {
        let machine = try M()
        machine.setFlags(M.data + 0x1000, 0)
        machine.processor[.eax] = 0xFFFF_FFFF
        #expect(
            machine.run(Assemble.store(M.data + 0xFFE)) == .pageFault(2, at: M.data + 0x1000))
        #expect(machine.word(M.data + 0xFFC) == 0)
    }

    @Test("accesses over a page border take their halves from two distant pages")
    func crossing() throws {
        let machine = try M()
        machine.setEntry(M.data + 0x1000, 0x40000 | 7)
        machine.processor[.eax] = 0x4433_2211
        #expect(
            machine.run(
                Assemble.store(M.data + 0xFFE) + Assemble.mov(.eax, 0)
                    + Assemble.load(M.data + 0xFFE) + [0xCC])
                == .breakpoint)
        #expect(machine.processor[.eax] == 0x4433_2211)
        #expect(machine.bytes(M.data + 0xFFE, 2) == [0x11, 0x22])
        #expect(machine.bytes(0x40000, 2) == [0x33, 0x44])
    }

    @Test("a read-modify-write that faults leaves flags and memory as they were")
    func faultingUpdate() throws {
        let machine = try M()
        machine.put([5, 0, 0, 0], at: M.data)
        machine.setFlags(M.data, 5)
        machine.processor.eflags = 0x202 | 0x8D5
        // addl $-1, data
        #expect(
            machine.run([0x83, 0x05] + Assemble.little(M.data) + [0xFF])
                == .pageFault(3, at: M.data))
        // A fault leaves the resume flag set for whoever pushes the frame.
        #expect(machine.processor.eflags & ~Flag.resume == 0x202 | 0x8D5)
        #expect(machine.word(M.data) == 5)
    }

    @Test("a push, a call and a pusha onto an absent page leave the stack pointer")
    func faultingPush() throws {
        for code in [[0x50], [0x60], [0xE8, 0, 0, 0, 0], [0x9C], [0xC8, 16, 0, 0]] as [[UInt8]] {
            let machine = try M()
            machine.setFlags(M.kernelStack - 0x1000, 0)
            #expect(machine.run(code) == .pageFault(2, at: M.kernelStack - 4), "\(code)")
            #expect(machine.processor[.esp] == M.kernelStack)
            #expect(machine.processor.eip == M.code)
        }
    }

    @Test("code on an absent page faults with its own address")
    func fetch() throws {
        let machine = try M()
        machine.setFlags(0x50000, 0)
        machine.processor.eip = 0x50010
        #expect(machine.proceed() == .pageFault(0, at: 0x50010))
        #expect(machine.processor.eip == 0x50010)
        machine.enterUser()
        #expect(machine.proceed() == .pageFault(4, at: 0x50010))
        machine.setFlags(0x50000, 3)
        #expect(machine.proceed() == .pageFault(5, at: 0x50010))
    }

    @Test("an instruction that reaches into an absent page faults at the page's start")
    func fetchAcross() throws {
        let machine = try M()
        machine.put([0xB8, 1, 2], at: 0x50FFD)
        machine.setFlags(0x51000, 0)
        machine.processor.eip = 0x50FFD
        #expect(machine.proceed() == .pageFault(0, at: 0x51000))
        #expect(machine.processor.eip == 0x50FFD)
        machine.setEntry(0x51000, 0x60000 | 7)
        machine.put([3, 4, 0xCC], at: 0x60000)
        #expect(machine.proceed() == .breakpoint)
        #expect(machine.processor[.eax] == 0x0403_0201)
        // And once more with another second page behind the same address.
        machine.setEntry(0x51000, 0x61000 | 7)
        machine.put([5, 6, 0xCC], at: 0x61000)
        machine.processor.eip = 0x50FFD
        #expect(machine.proceed() == .breakpoint)
        #expect(machine.processor[.eax] == 0x0605_0201)
    }

    @Test("entries with bits that lguest forbids are told apart from faults")
    func forbiddenBits() throws {
        for bad in [0x80, 0x08] as [UInt32] {
            let machine = try M()
            machine.setEntry(M.data, M.data | 7 | bad)
            #expect(machine.run(Assemble.load(M.data)) == .badTableEntry)
            #expect(machine.processor.eip == M.code)
        }
        for bad in [0x80, 0x08, 0x100] as [UInt32] {
            let machine = try M()
            machine.memory.store32(0x1004, 0x2000 | 7 | bad)
            #expect(machine.run(Assemble.load(0x420000)) == .badDirectoryEntry)
        }
    }

    @Test("frames at or beyond the limit are refused")
    func frameLimit() throws {
        let machine = try M()
        machine.setEntry(M.data, 4 << 20 | 7)
        #expect(machine.run(Assemble.load(M.data)) == .badTableEntry)
        machine.setEntry(M.data, (4 << 20) - 4096 | 7)
        #expect(machine.run(Assemble.load(M.data) + [0xCC]) == .breakpoint)
        machine.memory.store32(0x1004, 4 << 20 | 7)
        #expect(machine.run(Assemble.load(0x420000)) == .badDirectoryEntry)
        machine.processor.pageRules.limit = 0x100
        machine.processor.flushTLB()
        #expect(machine.run(Assemble.load(M.data)) == .badTableEntry)
    }

    @Test("an absent entry may carry any other bits")
    func absentBits() throws {
        let machine = try M()
        machine.setEntry(M.data, 0xFFFF_FFFE)
        #expect(machine.run(Assemble.load(M.data)) == .pageFault(0, at: M.data))
    }

    @Test("a supervisor translation does not serve the user")
    func translationsArePerRing() throws {
        let machine = try M()
        machine.setFlags(M.data, 3)
        #expect(machine.run(Assemble.load(M.data) + Assemble.store(M.data) + [0xCC]) == .breakpoint)
        machine.enterUser()
        #expect(machine.run(Assemble.load(M.data)) == .pageFault(5, at: M.data))
    }

    @Test("the host's own view: words by linear address")
    func hostAccess() throws {
        let machine = try M()
        machine.setEntry(M.data, 0x30000 | 3)
        #expect(machine.processor.write32(linear: M.data + 4, 77))
        #expect(machine.word(0x30004) == 77)
        #expect(machine.read32(linear: M.data + 4) == 77)
        #expect(machine.processor.translate(M.data + 4, write: true, user: false) == 0x30004)
        #expect(machine.processor.translate(M.data + 4, write: false, user: true) == nil)
        machine.setFlags(M.data, 0)
        #expect(machine.read32(linear: M.data) == nil)
        #expect(!machine.processor.write32(linear: M.data, 1))
    }

    @Test("the host's word across two pages, wherever in physical memory the second one is")
    func hostWordAcrossPages() throws {
        for second in [0, 0x31000] as [UInt32] {
            for inFirst in 1...UInt32(3) {
                let machine = try M()
                machine.setEntry(M.data, 0x30000 | 3)
                machine.setEntry(M.data + 4096, second | 3)
                let linear = M.data + 4096 - inFirst
                #expect(machine.processor.write32(linear: linear, 0x4433_2211))
                #expect(machine.read32(linear: linear) == 0x4433_2211)
                #expect(machine.word(second) & 0xFF == 0x11 * (inFirst + 1))
                #expect(machine.word(0x31000 - 4) >> 24 == 0x11 * inFirst)
            }
        }
    }
}
