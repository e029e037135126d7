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
    /// The trap flag is set, or a read is to be told: one instruction a block.
    static let stepping: UInt32 = 0x80
    static let openCode: UInt32 = open << 1
}

extension Core {
    static let blockShape = BlockShape(
        recordMaximum: BlockShape.maximumInstructions * 3 + 1, hashCount: 8192,
        lastGeneration: Generation.last)
    static let usualArenaCount: UInt32 = 1_792 * 1024
    static let leastArenaCount = blockShape.leastArenaCount

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
            state.mode & BlockMode.user != 0
            ? state.blocks.userGeneration : state.blocks.supervisorGeneration
        state.key = UInt64(number &<< 8 | state.mode) &<< 32
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
        state.debug.found(UInt64(state.csBase &+ state.eip), 1, DebugRegisters.execution)
    }

    /// What comes between two instructions: a step, and data's breakpoints, which processors tell together with the next
    /// instruction's. A trap.
    /// - Returns: false if the loop is to be left.
    @inline(never) func tellTraps(step: Bool) -> Bool {
        var traps = state.debug.pending
        state.debug.pending = 0
        updateMode()
        if traps & 15 != 0 && state.otherFlags & Flag.resume == 0 { traps |= breakpoint }
        if step && !state.suppressesStep { traps |= DebugRegisters.step }
        guard traps != 0 else { return true }
        state.debug[6] |= traps
        return deliver(.debug)
    }

    /// The next instruction goes on after an interruption: of its breakpoint nothing is told, and a trap in front of it says so.
    @inline(never) func resume() {
        if state.debug.pending != 0 || !state.suppressesStep || breakpoint != 0 {
            state.otherFlags |= Flag.resume
        }
    }

    /// To be called behind a read that a record of the loop has made: behind that, its block does not end.
    /// - Returns: whether the instruction is to be executed anew, in a block of its own, for what the read has hit.
    func isToBeAlone() -> Bool {
        guard state.debug.pending != 0, state.mode & BlockMode.stepping == 0 else { return false }
        state.mode |= BlockMode.stepping
        updateKey()
        state.fault = .none
        return true
    }

    // MARK: Finding

    @inline(__always) func jumpEntry(_ eip: UInt32) -> UnsafeMutablePointer<JumpEntry> {
        unsafe state.blocks.jumps
            + Int((eip ^ eip &>> 12) & UInt32(BlockCache.jumpCount - 1))
    }

    /// The block for `State.eip`, decoded if need be, of at most `limit` instructions.
    @inline(never) func findBlock(limit: Int) throws(Fault) -> UnsafeMutablePointer<Block> {
        let eip = state.eip
        let linear = state.csBase &+ eip
        let isOpen = state.mode & BlockMode.openCode != 0
        if !isOpen { try checkCode(eip, 1) }
        var limit = limit
        if state.debug.isActive {
            let resumes = state.otherFlags & Flag.resume != 0
            limit = try state.debug.limit(limit, at: UInt64(linear), resumes: resumes)
            state.otherFlags &= ~Flag.resume
        }
        let isStepping = state.mode & BlockMode.stepping != 0
        if isStepping || limit < BlockShape.maximumInstructions {
            return unsafe try temporary(linear, limit: isStepping ? 1 : limit)
        }
        let physical = try fetchable(linear)
        var candidate = unsafe state.blocks.found(UInt(physical), state.mode)
        while let block = unsafe candidate {
            if unsafe try endsWhereItDid(block, linear) {
                if !isOpen { return unsafe try withinLimit(block) }
                unsafe jumpEntry(eip).pointee = JumpEntry(
                    key: state.key | UInt64(eip), block: block)
                return unsafe block
            }
            unsafe candidate = unsafe state.blocks.found(
                UInt(physical), state.mode, behind: block)
        }
        if state.blocks.isFull { forgetBlocks() }
        let made = unsafe state.blocks.next
        // Not by this call's limit, as the block is kept: a later call that has fewer instructions left
        // gets a shorter one of its own.
        if unsafe try !decode(into: made, linear, physical, limit: BlockShape.maximumInstructions) {
            guard isOpen else { return unsafe try temporary(linear, limit: 1) }
            let second = try fetchable((linear | Page.offset) &+ 1)
            unsafe decodeCrossing(into: made, physical, second)
            unsafe made.pointee.second = UInt(second)
        }
        state.blocks.enter()
        unsafe markCode(physical, made.pointee.bytes)
        if !isOpen { return unsafe try withinLimit(made) }
        unsafe jumpEntry(eip).pointee = JumpEntry(key: state.key | UInt64(eip), block: made)
        return unsafe made
    }

    /// Whether a block that goes on to a second page would be decoded from the same one now.
    private func endsWhereItDid(_ block: UnsafeMutablePointer<Block>, _ linear: UInt32)
        throws(Fault) -> Bool
    {
        let second = unsafe block.pointee.second
        if second == .max { return true }
        return try UInt(fetchable((linear | Page.offset) &+ 1)) == second
    }

    /// A block that is not kept.
    private func temporary(_ linear: UInt32, limit: Int) throws(Fault)
        -> UnsafeMutablePointer<Block>
    {
        let block = unsafe try decodeTemporary(linear, limit: limit)
        return unsafe state.mode & BlockMode.openCode != 0 ? block : try withinLimit(block)
    }

    /// A block of a code segment with a limit: one instruction at a time near its end.
    private func withinLimit(_ block: UnsafeMutablePointer<Block>) throws(Fault)
        -> UnsafeMutablePointer<Block>
    {
        let eip = state.eip
        let limit = unsafe state.segments[SegmentRegister.code].limit
        if unsafe limit - eip >= block.pointee.bytes - 1 { return unsafe block }
        let single = unsafe try decodeTemporary(state.csBase &+ eip, limit: 1)
        try checkCode(eip, unsafe single.pointee.bytes)
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
        let made = unsafe state.blocks.temporary
        let physical = try fetchable(linear)
        if unsafe try !decode(into: made, linear, physical, limit: limit) {
            // It ends on the next page, and that need not be there where the segment has no more.
            if state.mode & BlockMode.openCode == 0 {
                try checkCode(state.eip, Page.rest(physical) + 1)
            }
            unsafe decodeCrossing(
                into: made, physical, try fetchable((linear | Page.offset) &+ 1))
        }
        unsafe markCode(physical, min(made.pointee.bytes, Page.rest(physical)))
        return unsafe made
    }

    /// Marks lines of one page as decoded.
    func markCode(_ physical: UInt32, _ count: UInt32) {
        checkPhysical(physical, 1)
        if state.blocks.mark(UInt(physical), count) { forbidFastWrites(physical &>> Page.shift) }
    }

    // MARK: Forgetting

    /// To be called before `count` bytes of one physical page are written.
    @inline(__always) func noteWrite(_ physical: UInt32, _ count: UInt32) {
        checkPhysical(physical, count)
        if state.blocks.isWatched(UInt(physical)) { codeWrite(physical, count) }
    }

    @inline(never) private func codeWrite(_ physical: UInt32, _ count: UInt32) {
        if state.blocks.isDecoded(UInt(physical), count) { forgetPage(physical &>> Page.shift) }
    }

    /// Forgets what was decoded from a physical page.
    func forgetPage(_ page: UInt32) {
        state.blocks.forget(pageOf: UInt(page) &<< UInt(Page.shift))
        state.codeChanged = true
        nextGeneration()
    }

    /// Forgets everything that was decoded.
    func forgetBlocks() {
        state.blocks.forgetAll()
        unsafe state.linkSource = nil
        state.codeChanged = true
        updateKey()
    }
}
