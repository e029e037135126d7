// The cache of decoded blocks of long mode. As in Blocks.swift: blocks belong to physical pages, lie in one arena, are found
// by links, by a jump cache, or by a hash; a write to a decoded line forgets the page's.
//
// A link's key is the target's linear address with the generation and the mode added to its upper 16 bits, which of a
// canonical address are copies of the 17th: one comparison is enough. The generation has 14 bits and comes round often
// enough to be tested by every boot; then everything that carries a key loses it.

/// Bits of `LongState.mode`.
enum LongMode {
    static let user: UInt32 = 1
    static let compatible: UInt32 = 2
    /// The trap flag is set: one instruction a block.
    static let stepping: UInt32 = 4
    /// Code of 16 bits.
    static let short: UInt32 = 8
    /// From here on a bit for each segment: of an access through it there is something to check or to add.
    static let checkedShift: UInt32 = 8
}

@safe struct LongBlock {
    /// Guest-physical address of the first instruction.
    var physical: UInt32
    var mode: UInt32
    /// Number of instructions, of their bytes and of records.
    var count: UInt32
    var bytes: UInt32
    var operationCount: UInt32
    /// Arena offsets of the next block in the hash chain and on the page; 0 ends.
    var nextInHash: UInt32
    var nextOnPage: UInt32
    /// Of an instruction that ends on another page: where that is, and the next block that ends on it.
    var second: UInt32 = .max
    var nextOnSecond: UInt32 = 0
    /// Not in the cache: decoded for one use.
    var isTemporary: Bool
    /// Links: where a taken and an untaken branch went, and under which key.
    var takenKey: UInt64 = 0
    var untakenKey: UInt64 = 0
    var taken: UnsafeMutablePointer<LongBlock>?
    var untaken: UnsafeMutablePointer<LongBlock>?
}

@safe struct LongJumpEntry {
    var key: UInt64
    var block: UnsafeMutablePointer<LongBlock>?
}

extension LongCore {
    static let jumpCount = 4096
    static let hashCount = 16384
    static let maximumInstructions = 64
    /// Room that a block may need: its head, two records an instruction and the end.
    static let maximumBlock =
        MemoryLayout<LongBlock>.stride
        + (maximumInstructions * 2 + 2) * MemoryLayout<LongOperation>.stride
    /// The arena starts with room for the one temporary block.
    static let arenaStart = UInt32((maximumBlock + 63) & ~63)
    static let leastArenaCount = (arenaStart + UInt32(maximumBlock) + 63) & ~63
    static let lastGeneration: UInt32 = 0x3FFF

    // MARK: Mode and generation

    func updateMode() {
        var mode: UInt32 = 0
        if state.privilege == 3 { mode |= LongMode.user }
        if state.otherFlags & UInt64(Flag.trap) != 0 { mode |= LongMode.stepping }
        unsafe state.tlb = state.privilege == 3 ? state.userTLB : state.supervisorTLB
        if state.isLong {
            widen()
            state.narrowTLBs &= ~currentTLB
        } else {
            mode |= compatibleMode()
        }
        state.mode = mode
        updateKey()
    }

    private func updateKey() {
        let number =
            state.mode & LongMode.user != 0 ? state.userGeneration : state.supervisorGeneration
        state.key = UInt64(number &<< 2 | state.mode & 3) &<< 48
    }

    private func advance() -> Bool {
        guard state.generation < Self.lastGeneration else {
            state.generation = 1
            forgetKeys()
            return true
        }
        state.generation += 1
        return false
    }

    /// Makes every link and jump cache entry invalid.
    func nextGeneration() {
        _ = advance()
        everyKeyIsNew()
        updateKey()
    }

    /// Makes those of user code invalid.
    func nextUserGeneration() {
        if advance() { everyKeyIsNew() }
        state.userGeneration = state.generation
        updateKey()
    }

    private func everyKeyIsNew() {
        state.userGeneration = state.generation
        state.supervisorGeneration = state.generation
    }

    private func forgetKeys() {
        for slot in 0..<Self.jumpCount { unsafe state.jumps[slot].key = 0 }
        var offset = Self.arenaStart
        while offset < state.arenaUsed {
            let block = unsafe block(at: offset)
            unsafe block.pointee.takenKey = 0
            unsafe block.pointee.untakenKey = 0
            offset += unsafe room(of: block)
        }
    }

    // MARK: Finding

    @inline(__always) func jumpEntry(_ rip: UInt64) -> UnsafeMutablePointer<LongJumpEntry> {
        unsafe state.jumps
            + Int(truncatingIfNeeded: (rip ^ rip &>> 12) & UInt64(Self.jumpCount - 1))
    }

    private func bucket(_ physical: UInt32, _ mode: UInt32) -> Int {
        let mixed = (physical ^ mode &<< 14) &* 0x9E37_79B1
        return Int(mixed &>> 18)
    }

    private func block(at offset: UInt32) -> UnsafeMutablePointer<LongBlock> {
        unsafe (state.arena + Int(offset)).assumingMemoryBound(to: LongBlock.self)
    }

    private var temporaryBlock: UnsafeMutablePointer<LongBlock> { unsafe block(at: 0) }

    /// The block for `LongState.rip`, decoded if need be, of at most `limit` instructions.
    @inline(never) func findBlock(limit: Int) throws(Fault) -> UnsafeMutablePointer<LongBlock> {
        if !state.isLong { try wrapInstructionPointer() }
        let rip = state.rip
        let linear = rip &+ state.codeBase
        let isStepping = state.mode & LongMode.stepping != 0
        if isStepping || limit < Self.maximumInstructions {
            return unsafe try decodeTemporary(linear, limit: isStepping ? 1 : limit)
        }
        let physical = try fetchable(linear)
        let bucket = bucket(physical, state.mode)
        var offset = unsafe state.blockHash[bucket]
        while offset != 0 {
            let candidate = unsafe block(at: offset)
            if unsafe candidate.pointee.physical == physical
                && candidate.pointee.mode == state.mode,
                unsafe try endsWhereItDid(candidate, linear)
            {
                unsafe jumpEntry(rip).pointee = LongJumpEntry(
                    key: state.key &+ rip, block: candidate)
                return unsafe candidate
            }
            offset = unsafe candidate.pointee.nextInHash
        }
        if state.arenaUsed + UInt32(Self.maximumBlock) > state.arenaCount { forgetBlocks() }
        let made = unsafe block(at: state.arenaUsed)
        if unsafe !decode(into: made, physical, limit: Self.maximumInstructions) {
            let second = try fetchable((linear | Self.pageOffset) &+ 1)
            unsafe decodeCrossing(into: made, physical, second)
            unsafe made.pointee.second = second
        }
        unsafe enter(made, bucket)
        unsafe jumpEntry(rip).pointee = LongJumpEntry(key: state.key &+ rip, block: made)
        return unsafe made
    }

    /// Whether a block that goes on to a second page would be decoded from the same one now.
    private func endsWhereItDid(_ block: UnsafeMutablePointer<LongBlock>, _ linear: UInt64)
        throws(Fault) -> Bool
    {
        let second = unsafe block.pointee.second
        if second == .max { return true }
        return try fetchable((linear | Self.pageOffset) &+ 1) == second
    }

    private func decodeTemporary(_ linear: UInt64, limit: Int) throws(Fault)
        -> UnsafeMutablePointer<LongBlock>
    {
        let made = unsafe temporaryBlock
        let physical = try fetchable(linear)
        if unsafe !decode(into: made, physical, limit: limit) {
            unsafe decodeCrossing(
                into: made, physical, try fetchable((linear | Self.pageOffset) &+ 1))
        }
        unsafe markCode(physical, min(made.pointee.bytes, Page.rest(physical)))
        return unsafe made
    }

    private func enter(_ block: UnsafeMutablePointer<LongBlock>, _ bucket: Int) {
        let offset = state.arenaUsed
        let physical = unsafe block.pointee.physical
        state.arenaUsed += unsafe room(of: block)
        unsafe block.pointee.nextInHash = state.blockHash[bucket]
        unsafe state.blockHash[bucket] = offset
        let page = Int(physical &>> Page.shift)
        unsafe block.pointee.nextOnPage = state.pageBlocks[page]
        unsafe state.pageBlocks[page] = offset
        let second = unsafe block.pointee.second
        if second != .max {
            let page = Int(second &>> Page.shift)
            unsafe block.pointee.nextOnSecond = state.crossingBlocks[page]
            unsafe state.crossingBlocks[page] = offset
        }
        markCode(physical, unsafe block.pointee.bytes)
    }

    private func room(of block: UnsafeMutablePointer<LongBlock>) -> UInt32 {
        let size =
            unsafe MemoryLayout<LongBlock>.stride
            + Int(block.pointee.operationCount) * MemoryLayout<LongOperation>.stride
        return UInt32((size + 7) & ~7)
    }

    /// Marks lines of one page as decoded.
    private func markCode(_ physical: UInt32, _ count: UInt32) {
        let page = Int(physical &>> Page.shift)
        if unsafe state.watchedLines[page] == 0 { forbidFastWrites(physical &>> Page.shift) }
        unsafe state.watchedLines[page] |= Self.lines(physical, count)
    }

    private static func lines(_ physical: UInt32, _ count: UInt32) -> UInt64 {
        let first = (physical & Page.offset) &>> 6
        let last = min((physical & Page.offset + max(count, 1) - 1) &>> 6, 63)
        return (~0 &<< UInt64(first)) & (~0 &>> UInt64(63 - last))
    }

    // MARK: Forgetting

    /// To be called before `count` bytes of one physical page are written.
    @inline(__always) func noteWrite(_ physical: UInt32, _ count: UInt32) {
        if unsafe state.watchedLines[Int(physical &>> Page.shift)] != 0 {
            codeWrite(physical, count)
        }
    }

    @inline(never) private func codeWrite(_ physical: UInt32, _ count: UInt32) {
        let decoded = unsafe state.watchedLines[Int(physical &>> Page.shift)]
        if decoded & Self.lines(physical, count) != 0 { forgetPage(physical &>> Page.shift) }
    }

    /// Forgets what was decoded from a physical page.
    private func forgetPage(_ page: UInt32) {
        var offset = unsafe state.pageBlocks[Int(page)]
        while offset != 0 {
            let block = unsafe block(at: offset)
            unsafe removeFromHash(block, offset)
            offset = unsafe block.pointee.nextOnPage
        }
        offset = unsafe state.crossingBlocks[Int(page)]
        while offset != 0 {
            let block = unsafe block(at: offset)
            unsafe removeFromHash(block, offset)
            offset = unsafe block.pointee.nextOnSecond
        }
        unsafe state.pageBlocks[Int(page)] = 0
        unsafe state.crossingBlocks[Int(page)] = 0
        unsafe state.watchedLines[Int(page)] = 0
        state.codeChanged = true
        nextGeneration()
    }

    private func removeFromHash(_ removed: UnsafeMutablePointer<LongBlock>, _ offset: UInt32) {
        let bucket = unsafe bucket(removed.pointee.physical, removed.pointee.mode)
        if unsafe state.blockHash[bucket] == offset {
            unsafe state.blockHash[bucket] = removed.pointee.nextInHash
            return
        }
        var other = unsafe state.blockHash[bucket]
        while other != 0 {
            let block = unsafe block(at: other)
            if unsafe block.pointee.nextInHash == offset {
                unsafe block.pointee.nextInHash = removed.pointee.nextInHash
                return
            }
            other = unsafe block.pointee.nextInHash
        }
    }

    /// Forgets everything that was decoded. Not while a block runs: what is decoded next takes its place.
    private func forgetBlocks() {
        for bucket in 0..<Self.hashCount { unsafe state.blockHash[bucket] = 0 }
        // Only where there is something: the tables are as long as the guest's memory, and most of them was never touched.
        var offset = Self.arenaStart
        while offset < state.arenaUsed {
            let block = unsafe block(at: offset)
            let page = unsafe Int(block.pointee.physical &>> Page.shift)
            unsafe state.pageBlocks[page] = 0
            unsafe state.watchedLines[page] = 0
            let second = unsafe block.pointee.second
            if second != .max {
                unsafe state.crossingBlocks[Int(second &>> Page.shift)] = 0
                unsafe state.watchedLines[Int(second &>> Page.shift)] = 0
            }
            offset += unsafe room(of: block)
        }
        for slot in 0..<Self.jumpCount { unsafe state.jumps[slot].key = 0 }
        state.arenaUsed = Self.arenaStart
        unsafe state.linkSource = nil
        state.charge = 1000
        nextGeneration()
    }

    // MARK: Decoding

    /// - Returns: false if not one instruction lies wholly on the page.
    private func decode(
        into made: UnsafeMutablePointer<LongBlock>, _ physical: UInt32, limit: Int
    ) -> Bool {
        unsafe decode(
            into: made, physical, limit: limit,
            from: (state.memory + Int(physical)).assumingMemoryBound(to: UInt8.self),
            available: Int(Page.rest(physical)))
    }

    private func decodeCrossing(
        into made: UnsafeMutablePointer<LongBlock>, _ physical: UInt32, _ second: UInt32
    ) {
        let inFirst = Int(Page.rest(physical))
        let bytes = unsafe state.scratch + Self.crossingOffset
        unsafe bytes.copyMemory(from: state.memory + Int(physical), byteCount: inFirst)
        unsafe (bytes + inFirst).copyMemory(from: state.memory + Int(second), byteCount: 16)
        _ = unsafe decode(
            into: made, physical, limit: 1, from: bytes.assumingMemoryBound(to: UInt8.self),
            available: inFirst + 16)
        markCode(second, 16)
    }

    /// Where in the scratch the bytes of an instruction on two pages are put together.
    static let crossingOffset = 192

    private func decode(
        into made: UnsafeMutablePointer<LongBlock>, _ physical: UInt32, limit: Int,
        from bytes: UnsafePointer<UInt8>, available: Int
    ) -> Bool {
        var decoder = unsafe LongDecoder(
            bytes: bytes, available: available, operations: Self.operations(of: made),
            mode: state.mode)
        guard decoder.block(limit: limit) else { return false }
        unsafe made.initialize(
            to: LongBlock(
                physical: physical, mode: state.mode, count: UInt32(decoder.instructionCount),
                bytes: UInt32(decoder.position), operationCount: UInt32(decoder.recordCount),
                nextInHash: 0, nextOnPage: 0, isTemporary: made == temporaryBlock))
        return true
    }

    /// The operations behind a block's head.
    @inline(__always) static func operations(of block: UnsafeMutablePointer<LongBlock>)
        -> UnsafeMutablePointer<LongOperation>
    {
        unsafe UnsafeMutableRawPointer(block + 1).assumingMemoryBound(to: LongOperation.self)
    }
}
