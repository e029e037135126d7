// The cache of decoded blocks. A block is what was decoded from one physical page, from some
// instruction on to a jump or the page's end, for one mode (code and stack size, which
// segments are open, privilege). Three ways lead to a block:
//
//     link         of the block before: where it went last time
//     jump cache   direct-mapped by eip
//     hash         by physical address and mode; then decoding
//
// Links and jump cache entries carry the key they were made under: the generation, which
// counts whatever may change what lies at a linear address, and the mode. When it is no longer
// the present key they are not taken. The count has 24 bits, and a guest can make it come round:
// then every link and entry loses its key. Blocks lie in one arena; when that is full everything
// is forgotten, between two blocks and never while one runs. GuestMemory's map of decoded lines
// tells a write that it hits code.

/// Bits of `State.mode`.
enum BlockMode {
    /// Code segment with 32-bit defaults.
    static let code32: UInt32 = 1
    /// Stack segment that uses esp.
    static let stack32: UInt32 = 2
    /// Open es, cs, ss, ds: 1 << (2 + segment).
    static let open: UInt32 = 4
    static let user: UInt32 = 0x40
    /// The trap flag is set: one instruction a block.
    static let stepping: UInt32 = 0x80
    static let openCode: UInt32 = open << 1
}

/// The number in a key. It only ever goes on by one, and says when it has come round.
struct Generation {
    /// 1...last: the key of nothing is 0.
    private(set) var number: UInt32 = 1
    static let last: UInt32 = 0xFF_FFFF

    init(number: UInt32 = 1) { self.number = min(max(number, 1), Self.last) }

    /// - Returns: true if the number was there before, so that all keys of before must go.
    mutating func advance() -> Bool {
        guard number < Self.last else {
            number = 1
            return true
        }
        number += 1
        return false
    }
}

/// Head of a decoded block; its operations follow in memory.
@safe struct Block {
    /// Guest-physical address of the first instruction; all ones when invalid.
    var physical: UInt32
    var mode: UInt32
    /// Number of instructions and of their bytes.
    var count: UInt32
    var bytes: UInt32
    /// Number of operation records.
    var operationCount: UInt32
    /// Links: where a taken and an untaken branch went, and under which key and eip.
    var takenKey: UInt64
    var untakenKey: UInt64
    var taken: UnsafeMutablePointer<Block>?
    var untaken: UnsafeMutablePointer<Block>?
    /// Arena offsets of the next block in the hash chain and on the page; 0 ends.
    var nextInHash: UInt32
    var nextOnPage: UInt32
    /// Of an instruction that ends on another page: where that is, and the next block that ends on it. All ones
    /// for none: no page is there.
    var second: UInt32 = .max
    var nextOnSecond: UInt32 = 0
    /// Not in the cache: decoded for one use.
    var isTemporary: Bool
    #if MINI_CHECKED
    /// See `Core.seal`.
    var seal: UInt32 = 0
    #endif
}

/// An entry of the jump cache.
@safe struct JumpEntry {
    var key: UInt64
    var block: UnsafeMutablePointer<Block>?
}

extension Core {
    static let jumpCount = 4096
    static let hashCount = 8192
    static let usualArenaCount: UInt32 = 1_792 * 1024
    static let maximumInstructions = 64
    /// Room that a block may need: its head, three records an instruction and the end.
    static let maximumBlock =
        MemoryLayout<Block>.stride
        + (maximumInstructions * 3 + 1) * MemoryLayout<Operation>.stride
    /// The arena starts with room for the one temporary block.
    static let arenaStart = UInt32((maximumBlock + 63) & ~63)
    /// The smallest arena that one block fits into beside the temporary one.
    static let leastArenaCount = (arenaStart + UInt32(maximumBlock) + 63) & ~63

    // MARK: Mode and generation

    /// Recomputes mode and key, and the active TLB, from the segments.
    func updateMode() {
        var mode = (state.openSegments & 0xF) &<< 2
        if unsafe state.segments[SegmentRegister.code].is32 { mode |= BlockMode.code32 }
        if unsafe state.segments[SegmentRegister.stack].is32 { mode |= BlockMode.stack32 }
        if state.privilege == 3 { mode |= BlockMode.user }
        if state.otherFlags & Flag.trap != 0 { mode |= BlockMode.stepping }
        state.mode = mode
        unsafe state.tlb =
            state.privilege == 3 ? state.userTLB : state.supervisorTLB
        updateKey()
    }

    private func updateKey() {
        let number =
            state.mode & BlockMode.user != 0 ? state.userGeneration : state.supervisorGeneration
        state.key = UInt64(number &<< 8 | state.mode) &<< 32
    }

    /// Makes every link and jump cache entry invalid.
    func nextGeneration() {
        if state.generation.advance() { forgetKeys() }
        everyKeyIsNew()
        updateKey()
    }

    /// Makes those of user code invalid.
    func nextUserGeneration() {
        if state.generation.advance() {
            forgetKeys()
            everyKeyIsNew()
        }
        state.userGeneration = state.generation.number
        updateKey()
    }

    func everyKeyIsNew() {
        state.userGeneration = state.generation.number
        state.supervisorGeneration = state.generation.number
    }

    /// Takes the key from everything that carries one: the jump cache, and the links of all blocks
    /// in the arena, those that were forgotten and the one that is running included.
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

    @inline(__always) func jumpEntry(_ eip: UInt32) -> UnsafeMutablePointer<JumpEntry> {
        unsafe state.jumps + Int((eip ^ eip &>> 12) & UInt32(Self.jumpCount - 1))
    }

    private func bucket(_ physical: UInt32, _ mode: UInt32) -> Int {
        let mixed = (physical ^ mode &<< 14) &* 0x9E37_79B1
        return Int(mixed &>> 19)  // 8192 buckets
    }

    private func block(at offset: UInt32) -> UnsafeMutablePointer<Block> {
        checkPlace(offset)
        return unsafe (state.arena + Int(offset)).assumingMemoryBound(to: Block.self)
    }

    /// Where blocks are decoded that are used once.
    var temporaryBlock: UnsafeMutablePointer<Block> { unsafe block(at: 0) }

    /// The block for `State.eip`, decoded if need be, of at most `limit` instructions.
    @inline(never) func findBlock(limit: Int) throws(Fault) -> UnsafeMutablePointer<Block> {
        let eip = state.eip
        let linear = state.csBase &+ eip
        let isOpen = state.mode & BlockMode.openCode != 0
        if !isOpen { try checkCode(eip, 1) }
        let isStepping = state.mode & BlockMode.stepping != 0
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
                if !isOpen { return unsafe try withinLimit(candidate, linear) }
                unsafe jumpEntry(eip).pointee = JumpEntry(
                    key: state.key | UInt64(eip), block: candidate)
                return unsafe candidate
            }
            offset = unsafe candidate.pointee.nextInHash
        }
        if state.arenaUsed + UInt32(Self.maximumBlock) > state.arenaCount { forgetBlocks() }
        let made = unsafe block(at: state.arenaUsed)
        // Never by this call's limit: whoever finds the block later may have less left, and is
        // then given one of fewer than `maximumInstructions`.
        if unsafe try !decode(into: made, linear, physical, limit: Self.maximumInstructions) {
            guard isOpen else { return unsafe try decodeTemporary(linear, limit: 1) }
            let second = try fetchable((linear | Page.offset) &+ 1)
            unsafe decodeCrossing(into: made, physical, second)
            unsafe made.pointee.second = second
        }
        unsafe enter(made, bucket)
        if !isOpen { return unsafe try withinLimit(made, linear) }
        unsafe jumpEntry(eip).pointee = JumpEntry(key: state.key | UInt64(eip), block: made)
        return unsafe made
    }

    /// Whether a block that goes on to a second page would be decoded from the same one now.
    private func endsWhereItDid(_ block: UnsafeMutablePointer<Block>, _ linear: UInt32)
        throws(Fault) -> Bool
    {
        let second = unsafe block.pointee.second
        if second == .max { return true }
        return try fetchable((linear | Page.offset) &+ 1) == second
    }

    /// A block of a code segment with a limit: one instruction at a time near its end.
    private func withinLimit(_ block: UnsafeMutablePointer<Block>, _ linear: UInt32)
        throws(Fault) -> UnsafeMutablePointer<Block>
    {
        let limit = unsafe state.segments[SegmentRegister.code].limit
        if unsafe limit - state.eip >= block.pointee.bytes - 1 { return unsafe block }
        let single = unsafe try decodeTemporary(linear, limit: 1)
        try checkCode(state.eip, unsafe single.pointee.bytes)
        return unsafe single
    }

    /// Instruction bytes outside the code segment's limit: #GP(0).
    private func checkCode(_ eip: UInt32, _ count: UInt32) throws(Fault) {
        let limit = unsafe state.segments[SegmentRegister.code].limit
        guard eip <= limit, limit - eip >= count - 1 else { throw .protection(0) }
    }

    /// Decodes for one use: a block cut short, or an instruction that spans two pages.
    private func decodeTemporary(_ linear: UInt32, limit: Int) throws(Fault)
        -> UnsafeMutablePointer<Block>
    {
        let made = unsafe temporaryBlock
        let physical = try fetchable(linear)
        if unsafe try !decode(into: made, linear, physical, limit: limit) {
            unsafe decodeCrossing(
                into: made, physical, try fetchable((linear | Page.offset) &+ 1))
        }
        unsafe markCode(physical, min(made.pointee.bytes, Page.rest(physical)))
        return unsafe made
    }

    /// Puts a decoded block into hash, page list and line map.
    private func enter(_ block: UnsafeMutablePointer<Block>, _ bucket: Int) {
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

    /// Bytes of the arena that a block takes.
    func room(of block: UnsafeMutablePointer<Block>) -> UInt32 {
        let size =
            unsafe MemoryLayout<Block>.stride
            + Int(block.pointee.operationCount) * MemoryLayout<Operation>.stride
        return UInt32((size + 7) & ~7)
    }

    /// Marks lines of one page as decoded.
    func markCode(_ physical: UInt32, _ count: UInt32) {
        checkPhysical(physical, 1)
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
        checkPhysical(physical, count)
        if unsafe state.watchedLines[Int(physical &>> Page.shift)] != 0 {
            codeWrite(physical, count)
        }
    }

    @inline(never) private func codeWrite(_ physical: UInt32, _ count: UInt32) {
        let decoded = unsafe state.watchedLines[Int(physical &>> Page.shift)]
        if decoded & Self.lines(physical, count) != 0 { forgetPage(physical &>> Page.shift) }
    }

    /// Forgets what was decoded from a physical page.
    func forgetPage(_ page: UInt32) {
        var offset = unsafe state.pageBlocks[Int(page)]
        while offset != 0 {
            let block = unsafe block(at: offset)
            unsafe removeFromHash(block, offset)
            offset = unsafe block.pointee.nextOnPage
        }
        offset = unsafe state.crossingBlocks[Int(page)]
        while offset != 0 {
            // It may have gone already, with its first page.
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

    private func removeFromHash(_ removed: UnsafeMutablePointer<Block>, _ offset: UInt32) {
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

    /// Forgets everything that was decoded. Not while a block runs: what is decoded next takes
    /// its place.
    private func forgetBlocks() {
        for bucket in 0..<Self.hashCount { unsafe state.blockHash[bucket] = 0 }
        // Those that were forgotten already are in the arena as well.
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
        state.arenaUsed = Self.arenaStart
        unsafe state.linkSource = nil
        state.codeChanged = true
        nextGeneration()
    }
}
