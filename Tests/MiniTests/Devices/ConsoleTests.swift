import Testing

@testable import Mini

@Suite struct ConsoleTests {
    private let memory: GuestMemory
    private var console: Console
    private let record: UInt32 = 0x100

    init() throws {
        memory = try GuestMemory(count: 0x10000)
        console = Console(memory: memory, layout: .lengthsFirst)
    }

    /// As GETDMA leaves a buffer: the interrupt where the length belongs.
    private func lend(_ sections: [(start: UInt32, count: UInt16)]) {
        put(sections, at: record, .lengthsFirst, to: memory)
        memory.store32(record, 7)
    }

    private func bytes(_ start: UInt32, _ count: UInt32) -> String {
        string(Array(memory.readable(memory.range(start, count)!)))
    }

    @Test("keys go into the buffer from its start, their number into its record")
    mutating func fill() throws {
        lend([(0x2000, 256)])
        let loan = try #require(console.borrow(GuestAddress(rawValue: record)))
        let (count, line) = console.fill(loan, with: Array("ls\n".utf8)[...])
        #expect(count == 3)
        #expect(line == 7)
        #expect(memory.load32(record) == 3)
        #expect(bytes(0x2000, 3) == "ls\n")
    }

    @Test("keys run over from one section into the next, and stop at the last")
    mutating func sections() throws {
        lend([(0x2000, 2), (0x3000, 3)])
        let loan = try #require(console.borrow(GuestAddress(rawValue: record)))
        #expect(loan.count == 5)
        #expect(console.fill(loan, with: Array("abcdefg".utf8)[...]).count == 5)
        #expect(bytes(0x2000, 3) == "ab\0")
        #expect(bytes(0x3000, 4) == "cde\0")
        #expect(memory.load32(record) == 5)
    }

    @Test("until it is filled, a lent buffer is a free one: its interrupt is no length")
    func unfilled() throws {
        lend([(0x2000, 256)])
        _ = try #require(console.borrow(GuestAddress(rawValue: record)))
        #expect(memory.load32(record) == 0)
    }

    @Test("no further input before the guest has read the last")
    mutating func busy() throws {
        #expect(console.canTakeInput)
        lend([(0x2000, 256)])
        let loan = try #require(console.borrow(GuestAddress(rawValue: record)))
        _ = console.fill(loan, with: [65])
        #expect(!console.canTakeInput)
        memory.store32(record, 0)
        #expect(console.canTakeInput)
    }

    @Test("a buffer outside memory or without room is not taken")
    func hostile() {
        lend([(0xFFFF_F000, 256)])
        #expect(console.borrow(GuestAddress(rawValue: record)) == nil)
        lend([(0x2000, 0)])
        #expect(console.borrow(GuestAddress(rawValue: record)) == nil)
        #expect(console.borrow(0xFFFF_FFF0) == nil)
    }
}
