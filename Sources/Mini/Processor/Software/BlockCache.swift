// The tables of a cache of decoded blocks, for records of either width: arena, hash, jump cache, the lists of a page's blocks,
// the map of decoded lines, and the count of generations. What a block is and which ways lead to it: Blocks.swift and
// LongBlocks.swift, whose cores decode into it and say what a key is made of.

/// The number in a key. It only ever goes on by one, and says when it has come round.
struct Generation {
    /// 1...last: the key of nothing is 0.
    private(set) var number: UInt32 = 1
    static let last: UInt32 = 0xFF_FFFF

    init(number: UInt32 = 1) { self.number = min(max(number, 1), Self.last) }

    /// - Returns: true if the number was there before, so that all keys of before must go.
    mutating func advance(within last: UInt32 = Self.last) -> Bool {
        guard number < last else {
            number = 1
            return true
        }
        number += 1
        return false
    }
}

/// Head of a decoded block; its records follow in memory.
@safe struct Block {
    /// Guest-physical address of the first instruction.
    var physical: UInt
    var mode: UInt32
    /// Number of instructions, of their bytes and of records.
    var count: UInt32
    var bytes: UInt32
    var operationCount: UInt32
    /// Arena offsets of the next block in the hash chain and on the page; 0 ends.
    var nextInHash: UInt32 = 0
    var nextOnPage: UInt32 = 0
    /// Of an instruction that ends on another page: where that is, and the next block that ends on it. All ones
    /// for none: no page is there.
    var second: UInt = .max
    var nextOnSecond: UInt32 = 0
    /// Not in the cache: decoded for one use.
    var isTemporary: Bool
    /// Links: where a taken and an untaken branch went, and under which key.
    var takenKey: UInt64 = 0
    var untakenKey: UInt64 = 0
    var taken: UnsafeMutablePointer<Block>?
    var untaken: UnsafeMutablePointer<Block>?
    #if MINI_CHECKED
    /// See `BlockCache.seal`.
    var seal: UInt32 = 0
    #endif
}

/// An entry of the jump cache.
@safe struct JumpEntry {
    var key: UInt64
    var block: UnsafeMutablePointer<Block>?
}

/// What of a cache depends on its records.
struct BlockShape {
    static let maximumInstructions = 64
    /// More than so many instructions have. What does nothing may not count as one, and can be many.
    static let mostBytes = 1024
    /// The bytes of a record, of either width.
    static let recordSize = 20

    /// How many records a block may have.
    let recordMaximum: Int
    /// A power of two.
    let hashCount: Int
    /// The last number of a generation.
    let lastGeneration: UInt32

    /// Room that a block may need.
    var blockMaximum: UInt32 {
        UInt32(MemoryLayout<Block>.stride + recordMaximum * Self.recordSize)
    }
    /// The arena starts with room for the one temporary block.
    var arenaStart: UInt32 { (blockMaximum + 63) & ~63 }
    /// The smallest arena that one block fits into beside the temporary one.
    var leastArenaCount: UInt32 { (arenaStart + blockMaximum + 63) & ~63 }
}

@safe struct BlockCache {
    static let jumpCount = 4096

    private let shape: BlockShape
    private let arena: UnsafeMutableRawPointer
    private let arenaCount: UInt32
    private let arenaStart: UInt32
    private var used: UInt32
    /// A chain of the hash is as long as it may get.
    private var isCrowded = false
    /// A guest can choose addresses that all have one place in the hash, and each block that is looked for costs the way
    /// through its chain. Without that, chains are hardly longer than ten.
    static let longestChain = 24
    /// Arena offsets of first blocks: by physical address and mode, of each physical page, and of those that end on it but
    /// begin on another.
    private let hash: UnsafeMutablePointer<UInt32>
    private let hashShift: UInt32
    private let pageBlocks: UnsafeMutablePointer<UInt32>
    private let crossingBlocks: UnsafeMutablePointer<UInt32>
    private let watchedLines: UnsafeMutablePointer<UInt64>
    /// Direct-mapped by instruction pointer.
    let jumps: UnsafeMutablePointer<JumpEntry>
    var generation = Generation()
    /// The generation's number when keys of user code, and of the others, were last made invalid.
    private(set) var userGeneration: UInt32 = 1
    private(set) var supervisorGeneration: UInt32 = 1

    /// Where its tables are in a mapping.
    struct Places {
        let jumps: Int
        let hash: Int
        let pageBlocks: Int
        let crossingBlocks: Int

        init(_ layout: inout TableLayout, _ shape: BlockShape, _ memory: GuestMemory) {
            let pages = Self.pages(of: memory)
            jumps = layout.take(BlockCache.jumpCount, JumpEntry.self)
            hash = layout.take(shape.hashCount, UInt32.self)
            pageBlocks = layout.take(pages, UInt32.self)
            crossingBlocks = layout.take(pages, UInt32.self)
        }

        fileprivate static func pages(of memory: GuestMemory) -> Int {
            Int(memory.extent.end >> UInt64(Page.shift))
        }
    }

    init(
        _ shape: BlockShape, _ places: Places, at start: UnsafeMutableRawPointer,
        _ memory: GuestMemory, arena: UnsafeMutableRawPointer, arenaCount: UInt32
    ) {
        let pages = Places.pages(of: memory)
        self.shape = shape
        unsafe self.arena = unsafe arena
        self.arenaCount = arenaCount
        arenaStart = shape.arenaStart
        hashShift = UInt32(UInt32(shape.hashCount).leadingZeroBitCount + 1)
        used = arenaStart
        unsafe hash = unsafe (start + places.hash).bindMemory(
            to: UInt32.self, capacity: shape.hashCount)
        unsafe pageBlocks = unsafe (start + places.pageBlocks).bindMemory(
            to: UInt32.self, capacity: pages)
        unsafe crossingBlocks = unsafe (start + places.crossingBlocks).bindMemory(
            to: UInt32.self, capacity: pages)
        unsafe jumps = unsafe (start + places.jumps).bindMemory(
            to: JumpEntry.self, capacity: Self.jumpCount)
        unsafe watchedLines = unsafe memory.watchedLines
    }

    // MARK: Generations

    mutating func nextGeneration() {
        if generation.advance(within: shape.lastGeneration) { forgetKeys() }
        everyKeyIsNew()
    }

    mutating func nextUserGeneration() {
        if generation.advance(within: shape.lastGeneration) {
            forgetKeys()
            everyKeyIsNew()
        }
        userGeneration = generation.number
    }

    mutating func everyKeyIsNew() {
        userGeneration = generation.number
        supervisorGeneration = generation.number
    }

    /// Takes the key from everything that carries one: the jump cache, and the links of all blocks
    /// in the arena, those that were forgotten and the one that is running included.
    private func forgetKeys() {
        forgetJumps()
        var offset = arenaStart
        while offset < used {
            let block = unsafe block(at: offset)
            unsafe block.pointee.takenKey = 0
            unsafe block.pointee.untakenKey = 0
            offset += unsafe room(of: block)
        }
    }

    private func forgetJumps() {
        for slot in 0..<Self.jumpCount { unsafe jumps[slot].key = 0 }
    }

    // MARK: Finding

    private func bucket(_ physical: UInt, _ mode: UInt32) -> Int {
        let mixed = (UInt32(truncatingIfNeeded: physical) ^ mode &<< 14) &* 0x9E37_79B1
        return Int(mixed &>> hashShift)
    }

    private func block(at offset: UInt32) -> UnsafeMutablePointer<Block> {
        checkPlace(offset)
        return unsafe (arena + Int(offset)).assumingMemoryBound(to: Block.self)
    }

    /// Where blocks are decoded that are used once.
    var temporary: UnsafeMutablePointer<Block> { unsafe block(at: 0) }

    /// Where the next block goes that is to stay.
    var next: UnsafeMutablePointer<Block> { unsafe block(at: used) }

    /// Everything must be forgotten before a block is decoded.
    var isFull: Bool { isCrowded || used + shape.blockMaximum > arenaCount }

    /// The first block that was decoded there for this mode, or the first behind another.
    func found(
        _ physical: UInt, _ mode: UInt32, behind other: UnsafeMutablePointer<Block>? = nil
    ) -> UnsafeMutablePointer<Block>? {
        var offset =
            unsafe other.map { unsafe $0.pointee.nextInHash } ?? hash[bucket(physical, mode)]
        while offset != 0 {
            let candidate = unsafe block(at: offset)
            if unsafe candidate.pointee.physical == physical && candidate.pointee.mode == mode {
                return unsafe candidate
            }
            offset = unsafe candidate.pointee.nextInHash
        }
        return nil
    }

    @inline(__always) private static func page(_ physical: UInt) -> Int {
        Int(physical &>> UInt(Page.shift))
    }

    /// Puts the decoded `next` into hash and page lists. Its lines are to be marked.
    mutating func enter() {
        let block = unsafe next
        let offset = used
        used += unsafe room(of: block)
        let bucket = unsafe bucket(block.pointee.physical, block.pointee.mode)
        unsafe block.pointee.nextInHash = hash[bucket]
        unsafe hash[bucket] = offset
        isCrowded = unsafe length(ofChainFrom: block) >= Self.longestChain
        let page = unsafe Self.page(block.pointee.physical)
        unsafe block.pointee.nextOnPage = pageBlocks[page]
        unsafe pageBlocks[page] = offset
        let second = unsafe block.pointee.second
        if second != .max {
            let page = Self.page(second)
            unsafe block.pointee.nextOnSecond = crossingBlocks[page]
            unsafe crossingBlocks[page] = offset
        }
    }

    private func length(ofChainFrom block: UnsafeMutablePointer<Block>) -> Int {
        var length = 1
        var offset = unsafe block.pointee.nextInHash
        while offset != 0 {
            length += 1
            offset = unsafe self.block(at: offset).pointee.nextInHash
        }
        return length
    }

    /// Bytes of the arena that a block takes.
    private func room(of block: UnsafeMutablePointer<Block>) -> UInt32 {
        let size =
            unsafe MemoryLayout<Block>.stride
            + Int(block.pointee.operationCount) * BlockShape.recordSize
        return UInt32((size + 7) & ~7)
    }

    // MARK: Decoded lines

    /// Marks lines of one page as decoded.
    /// - Returns: whether the page had none: it must not be written through a TLB any longer.
    func mark(_ physical: UInt, _ count: UInt32) -> Bool {
        let page = Self.page(physical)
        let isFirst = unsafe watchedLines[page] == 0
        unsafe watchedLines[page] |= Self.lines(physical, count)
        return isFirst
    }

    /// Whether something was decoded of the page that a byte is on.
    @inline(__always) func isWatched(_ physical: UInt) -> Bool {
        unsafe watchedLines[Self.page(physical)] != 0
    }

    /// Whether something of these bytes of one page was decoded.
    func isDecoded(_ physical: UInt, _ count: UInt32) -> Bool {
        unsafe watchedLines[Self.page(physical)] & Self.lines(physical, count) != 0
    }

    private static func lines(_ physical: UInt, _ count: UInt32) -> UInt64 {
        let offset = UInt32(truncatingIfNeeded: physical) & Page.offset
        let first = offset &>> 6
        let last = min((offset + max(count, 1) - 1) &>> 6, 63)
        return (~0 &<< UInt64(first)) & (~0 &>> UInt64(63 - last))
    }

    // MARK: Forgetting

    /// There is more than what a guest decodes that does nothing but wake up for its clock.
    var isLarge: Bool { used - arenaStart > Self.small }
    /// Bytes.
    static let small: UInt32 = 384 << 10

    /// Forgets what was decoded from the physical page that a byte is on, but for the keys.
    func forget(pageOf physical: UInt) {
        let page = Self.page(physical)
        var offset = unsafe pageBlocks[page]
        while offset != 0 {
            let block = unsafe block(at: offset)
            unsafe removeFromHash(block, offset)
            offset = unsafe block.pointee.nextOnPage
        }
        offset = unsafe crossingBlocks[page]
        while offset != 0 {
            // It may have gone already, with its first page.
            let block = unsafe block(at: offset)
            unsafe removeFromHash(block, offset)
            offset = unsafe block.pointee.nextOnSecond
        }
        unsafe pageBlocks[page] = 0
        unsafe crossingBlocks[page] = 0
        unsafe watchedLines[page] = 0
    }

    private func removeFromHash(_ removed: UnsafeMutablePointer<Block>, _ offset: UInt32) {
        let bucket = unsafe bucket(removed.pointee.physical, removed.pointee.mode)
        if unsafe hash[bucket] == offset {
            unsafe hash[bucket] = removed.pointee.nextInHash
            return
        }
        var other = unsafe hash[bucket]
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
    mutating func forgetAll() {
        for bucket in 0..<shape.hashCount { unsafe hash[bucket] = 0 }
        forgetJumps()
        // Only where there is something: the tables are as long as the guest's memory, and most of them was never touched.
        // Blocks that were forgotten already are in the arena as well.
        var offset = arenaStart
        while offset < used {
            let block = unsafe block(at: offset)
            let page = unsafe Self.page(block.pointee.physical)
            unsafe pageBlocks[page] = 0
            unsafe watchedLines[page] = 0
            let second = unsafe block.pointee.second
            if second != .max {
                unsafe crossingBlocks[Self.page(second)] = 0
                unsafe watchedLines[Self.page(second)] = 0
            }
            offset += unsafe room(of: block)
        }
        used = arenaStart
        isCrowded = false
        nextGeneration()
    }

    // MARK: In the checked build

    /// Where a block's head is or will be.
    @inline(__always) private func checkPlace(_ offset: UInt32) {
        #if MINI_CHECKED
        let most = arenaCount - UInt32(MemoryLayout<Block>.stride)
        Checks.require(
            offset & 7 == 0 && (offset == 0 || offset >= arenaStart) && offset <= used
                && offset <= most,
            "a block lies in the used arena")
        #endif
    }

    /// A block that is about to run.
    @inline(__always) func check(_ block: UnsafeMutablePointer<Block>, mode: UInt32) {
        #if MINI_CHECKED
        let address = UInt(bitPattern: block) &- UInt(bitPattern: unsafe arena)
        Checks.require(address < UInt(arenaCount), "a block's pointer is into the arena")
        let offset = UInt32(address)
        checkPlace(offset)
        let head = unsafe block.pointee
        Checks.require(
            head.count >= 1 && head.count <= UInt32(BlockShape.maximumInstructions)
                && head.operationCount >= 1 && head.operationCount <= UInt32(shape.recordMaximum),
            "a block has some instructions and not too many")
        let end = offset + (unsafe room(of: block))
        Checks.require(
            offset == 0 ? end <= arenaStart : end <= used, "a block ends in the used arena")
        Checks.require(head.isTemporary == (offset == 0), "a temporary block has its own place")
        Checks.require(head.mode == mode, "a block was decoded for the present mode")
        Checks.require(unsafe seal(of: block) == head.seal, "a block's records are as decoded")
        #endif
    }

    /// A record that is about to be executed.
    @inline(__always) func check(
        record: UnsafeRawPointer, in block: UnsafeMutablePointer<Block>
    ) {
        #if MINI_CHECKED
        let distance = unsafe UInt(bitPattern: record) &- UInt(bitPattern: block + 1)
        let size = UInt(BlockShape.recordSize)
        Checks.require(
            unsafe distance % size == 0 && distance / size < UInt(block.pointee.operationCount),
            "a record is one of its block's")
        #endif
    }

    /// To be called of a block that was decoded.
    @inline(__always) func close(_ block: UnsafeMutablePointer<Block>) {
        #if MINI_CHECKED
        unsafe block.pointee.seal = unsafe seal(of: block)
        #endif
    }

    #if MINI_CHECKED
    /// A sum of all that must not change in a block, once decoded.
    private func seal(of block: UnsafeMutablePointer<Block>) -> UInt32 {
        let head = unsafe block.pointee
        var sum =
            UInt32(truncatingIfNeeded: head.physical) ^ head.mode &* 31 ^ head.count &* 17 ^ head
            .bytes &* 13
        let words = unsafe UnsafeRawPointer(block + 1)
        let count = min(Int(head.operationCount), shape.recordMaximum)
        for index in 0..<count * BlockShape.recordSize / 4 {
            let word = unsafe words.load(fromByteOffset: index * 4, as: UInt32.self)
            sum = (sum ^ word) &* 0x0100_0193
        }
        return sum
    }
    #endif
}
