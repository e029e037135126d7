import Testing

@testable import Mini

@Suite struct PageTablesTests {
    private static let directory: UInt32 = 0x1000
    private static let table: UInt32 = 0x2000
    private let memory: GuestMemory

    /// Four pages: a directory, a table for the first 4 MiB, two of nothing.
    init() throws {
        memory = try GuestMemory(count: 0x4000)
        memory.store32(Self.directory, Self.table | 7)
        memory.store32(Self.table + 4 * 3, 0x3000 | 7)
    }

    private func walk(
        _ linear: UInt32, from directory: UInt32 = directory, _ rules: PageRules = .init(limit: 4)
    ) -> PageWalk {
        PageWalk(linear, from: directory, rules) { memory.load32($0) }
    }

    @Test("a walk tells where both entries are and what they hold, and changes neither")
    func found() {
        let walk = walk(0x3ABC)
        #expect(walk.end == .page)
        #expect(walk.directoryPlace == 0x1000 && walk.directoryEntry == 0x2007)
        #expect(walk.tablePlace == 0x200C && walk.tableEntry == 0x3007)
        #expect(memory.load32(Self.directory) == 0x2007 && memory.load32(0x200C) == 0x3007)
    }

    @Test("low bits of the directory's address do not count")
    func lowBits() { #expect(walk(0x3000, from: Self.directory | 0xFFF).end == .page) }

    @Test("an access is permitted by both entries together")
    func permissions() {
        for (top, leaf, write, user) in [
            (7, 7, true, true), (5, 7, false, true), (7, 5, false, true), (3, 7, true, false),
            (7, 3, true, false), (1, 1, false, false),
        ] as [(UInt32, UInt32, Bool, Bool)] {
            memory.store32(Self.directory, Self.table | top)
            memory.store32(0x200C, 0x3000 | leaf)
            let walk = walk(0x3000)
            #expect(walk.permits(write: false, user: false))
            #expect(walk.permits(write: true, user: false) == write)
            #expect(walk.permits(write: false, user: true) == user)
            #expect(walk.permits(write: true, user: true) == (write && user))
            #expect(walk.isWritable == write)
        }
    }

    @Test("an entry that is not present ends the walk, whatever else it holds")
    func absent() {
        #expect(walk(0x2000).end == .absent)
        memory.store32(Self.directory, 0xFFFF_FFFE)
        #expect(walk(0x3000).end == .absent)
        #expect(walk(0x3000).tablePlace == 0)
    }

    @Test("directory entries with refused flags, or of pages beyond the limit, are refused")
    func refused() {
        let rules = PageRules(limit: 3, refusedInDirectory: 0x80, refusedInTable: 0x10)
        #expect(walk(0x3000, rules).end == .page)
        #expect(rules.refusesInTable(0x2017) && rules.refusesInTable(0x3007))
        #expect(!rules.refusesInTable(0x2087))
        memory.store32(Self.directory, Self.table | 0x87)
        #expect(walk(0x3000, rules).end == .refusedDirectory)
        memory.store32(Self.directory, 0x3007)
        #expect(walk(0x3000, rules).end == .refusedDirectory)
    }

    @Test("from the reserved top on nothing is there, whatever the tables say")
    func reservedTop() {
        let rules = PageRules(limit: 4, reservedTop: 0x3000)
        #expect(walk(0x3000, rules).end == .absent)
        memory.store32(0x2008, 0x2007)
        #expect(walk(0x2FFF, rules).end == .page)
    }

    @Test("with PAE a walk begins at one of four pointers, and its entries have eight bytes")
    func wide() {
        let rules = PageRules(
            limit: 4, refusedInDirectory: 0x80, refusedInTable: 0x80, isWide: true)
        let directory: UInt32 = 0x1020
        memory.store32(Self.directory, 0)
        memory.store32(directory + 24, Self.table | 1)
        memory.store32(Self.table + 8 * 0x1FF, 0x3027)
        memory.store32(0x3000 + 8 * 5, 0x2067)
        let linear: UInt32 = 0xFFE0_5123
        let found = walk(linear, from: directory, rules)
        #expect(found.end == .page && found.directoryPlace == Self.table + 8 * 0x1FF)
        #expect(found.tablePlace == 0x3028 && found.tableEntry == 0x2067)
        #expect(found.hasTable && !found.isRefused(by: rules))
        // Each level may be without an entry.
        #expect(walk(0x3FFF_FFFF, from: directory, rules).end == .absent)
        #expect(walk(linear &- 0x20_0000, from: directory, rules).end == .absent)
        #expect(!walk(linear &- 0x20_0000, from: directory, rules).hasTable)
        #expect(walk(linear &+ 0x1000, from: directory, rules).end == .absent)
        #expect(walk(linear, from: 0x4000, rules).end == .outside)
        memory.store32(0x302C, 1)
        #expect(walk(linear, from: directory, rules).isRefused(by: rules))
        memory.store32(Self.table + 8 * 0x1FF + 4, 1)
        #expect(walk(linear, from: directory, rules).end == .refusedMiddle)
        memory.store32(directory + 24, Self.table | 3)
        #expect(walk(linear, from: directory, rules).end == .refusedDirectory)
        memory.store32(directory + 24, Self.table | 1)
        memory.store32(directory + 28, 1)
        let refused = walk(linear, from: directory, rules)
        #expect(refused.end == .refusedDirectory && !refused.hasTable)
    }

    @Test("a directory or a table outside memory is told from an entry that is not there")
    func outside() {
        #expect(walk(0x3000, from: 0x4000).end == .outside)
        #expect(walk(0xFFFF_F000, from: 0xFFFF_F000).end == .outside)
        memory.store32(Self.directory, 0xFFFF_F007)
        let walk = walk(0x3000, .init(limit: .max))
        #expect(walk.end == .outside && walk.tablePlace == 0xFFFF_F00C)
    }
}
