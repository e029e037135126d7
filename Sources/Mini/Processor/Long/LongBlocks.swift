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
    /// The trap flag is set, or a read is to be told: one instruction a block.
    static let stepping: UInt32 = 4
    /// Code of 16 bits.
    static let short: UInt32 = 8
    /// Code whose segment ends before 4 GiB: its near branches look where they go.
    static let limited: UInt32 = 0x10
    /// From here on a bit for each segment: of an access through it there is something to check or to add.
    static let checkedShift: UInt32 = 8
}

extension LongCore {
    static let blockShape = BlockShape(
        recordMaximum: BlockShape.maximumInstructions * 2 + 2, hashCount: 16384,
        lastGeneration: 0x3FFE)
    /// In the key of single steps, which nothing carries: a step over a return or a jump ends there, whatever is known of it.
    private static let steppingNumber: UInt32 = 0x3FFF
    static let leastArenaCount = blockShape.leastArenaCount

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
            state.mode & LongMode.stepping != 0
            ? Self.steppingNumber
            : state.mode & LongMode.user != 0
                ? state.blocks.userGeneration : state.blocks.supervisorGeneration
        state.key = UInt64(number &<< 2 | state.mode & 3) &<< 48
    }

    /// Makes every link and jump cache entry invalid.
    func nextGeneration() {
        state.blocks.nextGeneration()
        updateKey()
    }

    /// Makes those of user code invalid.
    func nextUserGeneration() {
        state.blocks.nextUserGeneration()
        updateKey()
    }

    // MARK: Breakpoints

    /// Whether the next instruction has a breakpoint, as in DR6.
    private var breakpoint: UInt64 {
        let linear = (state.rip &+ state.codeBase) & state.linearMask
        return state.debug.found(linear, 1, DebugRegisters.execution)
    }

    /// What comes between two instructions: a step, and data's breakpoints, which processors tell together with the next
    /// instruction's. A trap.
    /// - Returns: false if the loop is to be left.
    @inline(never) func tellTraps(step: Bool) -> Bool {
        var traps = state.debug.pending
        state.debug.pending = 0
        updateMode()
        if traps & 15 != 0 && state.otherFlags & UInt64(Flag.resume) == 0 { traps |= breakpoint }
        if step && !state.suppressesStep { traps |= DebugRegisters.step }
        guard traps != 0 else { return true }
        state.debug[6] |= traps
        return deliver(.debug)
    }

    /// The next instruction goes on after an interruption: of its breakpoint nothing is told, and a trap in front of it says so.
    @inline(never) func resume() {
        if state.debug.pending != 0 || !state.suppressesStep || breakpoint != 0 {
            state.otherFlags |= UInt64(Flag.resume)
        }
    }

    /// To be called behind a read that a record of the loop has made: behind that, its block does not end.
    /// - Returns: whether the instruction is to be executed anew, in a block of its own, for what the read has hit.
    func isToBeAlone() -> Bool {
        guard state.debug.pending != 0, state.mode & LongMode.stepping == 0 else { return false }
        state.mode |= LongMode.stepping
        updateKey()
        state.fault = .none
        return true
    }

    // MARK: Finding

    @inline(__always) func jumpEntry(_ rip: UInt64) -> UnsafeMutablePointer<JumpEntry> {
        unsafe state.blocks.jumps
            + Int(truncatingIfNeeded: (rip ^ rip &>> 12) & UInt64(BlockCache.jumpCount - 1))
    }

    /// The block for `LongState.rip`, decoded if need be, of at most `limit` instructions.
    @inline(never) func findBlock(limit: Int) throws(Fault) -> UnsafeMutablePointer<Block> {
        if !state.isLong { try wrapInstructionPointer() }
        let rip = state.rip
        let linear = rip &+ state.codeBase
        var limit = limit
        if state.debug.isActive {
            let resumes = state.otherFlags & UInt64(Flag.resume) != 0
            limit = try state.debug.limit(limit, at: linear & state.linearMask, resumes: resumes)
            state.otherFlags &= ~UInt64(Flag.resume)
        }
        let isStepping = state.mode & LongMode.stepping != 0
        if isStepping || limit < BlockShape.maximumInstructions {
            return unsafe try temporary(linear, limit: isStepping ? 1 : limit)
        }
        let physical = try fetchable(linear)
        var candidate = unsafe state.blocks.found(physical, state.mode)
        while let block = unsafe candidate {
            if unsafe try endsWhereItDid(block, linear) {
                if unsafe !isWithinLimit(block) { return unsafe try temporary(linear, limit: 1) }
                unsafe jumpEntry(rip).pointee = JumpEntry(key: state.key &+ rip, block: block)
                return unsafe block
            }
            unsafe candidate = unsafe state.blocks.found(physical, state.mode, behind: block)
        }
        if state.blocks.isFull { forgetBlocks() }
        let made = unsafe state.blocks.next
        if unsafe !decode(into: made, physical, limit: BlockShape.maximumInstructions) {
            let second = try fetchable((linear | Self.pageOffset) &+ 1)
            unsafe decodeCrossing(into: made, physical, second)
            unsafe made.pointee.second = second
        }
        state.blocks.enter()
        unsafe markCode(physical, made.pointee.bytes)
        if unsafe !isWithinLimit(made) { return unsafe try temporary(linear, limit: 1) }
        unsafe jumpEntry(rip).pointee = JumpEntry(key: state.key &+ rip, block: made)
        return unsafe made
    }

    /// A block that is not kept. Of code that goes on beyond its segment's end it is one instruction, up to the one that does.
    private func temporary(_ linear: UInt64, limit: Int) throws(Fault)
        -> UnsafeMutablePointer<Block>
    {
        let block = unsafe try decodeTemporary(linear, limit: limit)
        if unsafe isWithinLimit(block) { return unsafe block }
        let one = unsafe try decodeTemporary(linear, limit: 1)
        guard unsafe isWithinLimit(one) else { throw .protection(0) }
        return unsafe one
    }

    /// 64-bit code has no end.
    private func isWithinLimit(_ block: UnsafeMutablePointer<Block>) -> Bool {
        unsafe state.isLong
            || UInt64(state.segments[1].limit) &- state.rip
                >= UInt64(block.pointee.bytes) &- 1
    }

    /// Whether a block that goes on to a second page would be decoded from the same one now.
    private func endsWhereItDid(_ block: UnsafeMutablePointer<Block>, _ linear: UInt64)
        throws(Fault) -> Bool
    {
        let second = unsafe block.pointee.second
        if second == .max { return true }
        return try fetchable((linear | Self.pageOffset) &+ 1) == second
    }

    private func decodeTemporary(_ linear: UInt64, limit: Int) throws(Fault)
        -> UnsafeMutablePointer<Block>
    {
        let made = unsafe state.blocks.temporary
        let physical = try fetchable(linear)
        if unsafe !decode(into: made, physical, limit: limit) {
            unsafe decodeCrossing(
                into: made, physical, try fetchable((linear | Self.pageOffset) &+ 1))
        }
        unsafe markCode(physical, min(made.pointee.bytes, Self.rest(physical)))
        return unsafe made
    }

    /// Bytes from an address to the end of its page.
    private static func rest(_ physical: UInt) -> UInt32 {
        Page.rest(UInt32(truncatingIfNeeded: physical))
    }

    /// Marks lines of one page as decoded.
    private func markCode(_ physical: UInt, _ count: UInt32) {
        if state.blocks.mark(physical, count) { forbidFastWrites(physical) }
    }

    // MARK: Forgetting

    /// To be called before `count` bytes of one physical page are written.
    @inline(__always) func noteWrite(_ physical: UInt, _ count: UInt32) {
        if state.blocks.isWatched(physical) { codeWrite(physical, count) }
    }

    @inline(never) private func codeWrite(_ physical: UInt, _ count: UInt32) {
        guard state.blocks.isDecoded(physical, count) else { return }
        state.blocks.forget(pageOf: physical)
        state.codeChanged = true
        nextGeneration()
    }

    /// Forgets everything that was decoded.
    func forgetBlocks() {
        state.blocks.forgetAll()
        unsafe state.linkSource = nil
        state.charge = 1000
        updateKey()
    }

    // MARK: Decoding

    /// - Returns: false if not one instruction lies wholly on the page.
    private func decode(
        into made: UnsafeMutablePointer<Block>, _ physical: UInt, limit: Int
    ) -> Bool {
        unsafe decode(
            into: made, physical, limit: limit,
            from: (state.memory + Int(physical)).assumingMemoryBound(to: UInt8.self),
            available: Int(Self.rest(physical)))
    }

    private func decodeCrossing(
        into made: UnsafeMutablePointer<Block>, _ physical: UInt, _ second: UInt
    ) {
        let inFirst = Int(Self.rest(physical))
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
        into made: UnsafeMutablePointer<Block>, _ physical: UInt, limit: Int,
        from bytes: UnsafePointer<UInt8>, available: Int
    ) -> Bool {
        var decoder = unsafe LongDecoder(
            bytes: bytes, available: available, operations: Self.operations(of: made),
            mode: state.mode)
        guard decoder.block(limit: limit) else { return false }
        unsafe made.initialize(
            to: Block(
                physical: physical, mode: state.mode, count: UInt32(decoder.instructionCount),
                bytes: UInt32(decoder.position), operationCount: UInt32(decoder.recordCount),
                isTemporary: made == state.blocks.temporary))
        unsafe state.blocks.close(made)
        return true
    }

    /// The operations after a block's head.
    @inline(__always) static func operations(of block: UnsafeMutablePointer<Block>)
        -> UnsafeMutablePointer<LongOperation>
    {
        unsafe UnsafeMutableRawPointer(block + 1).assumingMemoryBound(to: LongOperation.self)
    }
}
