// The debug registers of either width in software: breakpoints of instructions and of data, and what DR6 says.
//
// Without an enabled breakpoint they cost nothing. With one, a page that holds watched data is kept out of the TLB, so that
// accesses to it come the slow way, where they are looked at; and where an instruction's breakpoint is near, a block has one
// instruction. What was hit is told behind its instruction, which ends the block; where that cannot be, as behind most reads, the
// instruction is executed anew in a block of its own.
//
// Not there: breakpoints of ports (CR4.DE), and bits of DR6 for what is not enabled.
//
// Source: Intel SDM volume 3, 18.2 and 18.3.

struct DebugRegisters {
    private var registers: InlineArray<8, UInt64> = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400]
    /// Bits of DR6 that are to be told in front of the next instruction.
    var pending: UInt64 = 0

    /// Bits of DR6: a move that DR7.GD caught, a step, and a task's T.
    static let caught: UInt64 = 1 << 13
    static let step: UInt64 = 1 << 14
    static let task: UInt64 = 1 << 15
    /// DR7.GD.
    static let general: UInt64 = 1 << 13

    /// Of the kinds that DR7 knows, a bit each: for an instruction, for a write, for a read.
    static let execution: UInt64 = 1 << 0
    static let writes: UInt64 = 1 << 1 | 1 << 3
    static let reads: UInt64 = 1 << 3

    subscript(number: Int) -> UInt64 {
        get { registers[number] }
        set { registers[number] = newValue }
    }

    /// DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE is set.
    mutating func place(of number: UInt8, _ control4: UInt32) throws(Fault) -> Int {
        let isOther = number == 4 || number == 5
        guard !isOther || control4 & Control4.debugging == 0 else { throw .undefined }
        if self[7] & Self.general != 0 {
            self[6] |= Self.caught
            throw .debug
        }
        return Int(number) + (isOther ? 2 : 0)
    }

    /// DR6 and DR7 have bits that are always the same.
    /// - Returns: whether TLB and links are to be forgotten: they may know no enabled breakpoint.
    mutating func set(_ number: Int, _ value: UInt64) -> Bool {
        let wasActive = isActive
        switch number {
        case 6: self[6] = value & 0xE00F | 0xFFFF_0FF0
        case 7: self[7] = value & 0xFFFF_2BFF | 0x400
        default: self[number] = value
        }
        return number != 6 && (wasActive || isActive)
    }

    /// A breakpoint is enabled.
    @inline(__always) var isActive: Bool { self[7] & 0xFF != 0 }

    /// One of these kinds is enabled for one of these bytes.
    @inline(__always) func watches(_ linear: UInt64, _ count: UInt64, _ kinds: UInt64) -> Bool {
        isActive && found(linear, count, kinds) != 0
    }

    /// Those of them, as in DR6.
    @inline(never) func found(_ linear: UInt64, _ count: UInt64, _ kinds: UInt64) -> UInt64 {
        var found: UInt64 = 0
        for number in 0..<4 as Range<UInt64> {
            let kind = self[7] &>> (16 &+ 4 &* number) & 15
            guard self[7] &>> (2 &* number) & 3 != 0, kinds &>> (kind & 3) & 1 != 0 else {
                continue
            }
            // 1, 2, 8 or 4 bytes, less one.
            let last: UInt64 = 0x3710 &>> (kind & 12) & 7
            let first = self[Int(number)] & ~last
            if linear &- first <= last || first &- linear < count { found |= 1 &<< number }
        }
        return found
    }

    /// How many of so many instructions from an address on may be one block.
    mutating func limit(_ limit: Int, at linear: UInt64, resumes: Bool) throws(Fault) -> Int {
        guard found(linear, UInt64(BlockShape.mostBytes), Self.execution) != 0 else { return limit }
        let hit = found(linear, 1, Self.execution)
        guard hit == 0 || resumes else {
            self[6] |= hit
            throw .debug
        }
        return 1
    }
}
