// Address translation of long mode: four levels, pages of 4 KiB and 2 MiB, NX, global pages, canonical addresses; and the
// TLB in front of the walk, as in Paging.swift. Protected mode without paging goes through the TLB as well. Checks come in the
// manual's order: canonical, present, reserved bits, rights. Accessed and dirty bits are set only when the access is allowed.
//
// Physical addresses have 36 bits. What lies outside guest memory is read as all ones and written nowhere; no entry of the
// TLB leads there. What is forgotten when: as in SystemPaging.swift.
//
// Source: AMD64 Architecture Programmer's Manual volume 2, chapter 5; Intel SDM volume 3, 4.5, 4.6, 4.10.

/// An entry of the TLB. A tag that belongs to another slot never matches.
struct LongTLBEntry {
    var readTag: UInt64
    var writeTag: UInt64
    /// Our address of the page, less its linear address, wrapping.
    var addend: UInt
    /// `SlotFact`s.
    var facts: UInt64
}

/// Bits of an entry of any level.
private enum LongEntry {
    static let present: UInt64 = 1
    static let writable: UInt64 = 2
    static let user: UInt64 = 4
    static let accessed: UInt64 = 0x20
    static let dirty: UInt64 = 0x40
    static let large: UInt64 = 0x80
    static let global: UInt64 = 0x100
    static let noExecute: UInt64 = 1 << 63
    static let address: UInt64 = 0xF_FFFF_F000
    /// Bits 36 to 51.
    static let beyond: UInt64 = 0x000F_FFF0_0000_0000
    static let rights = writable | user
}

/// An access as the walk looks at it.
private struct LongAccess {
    let linear: UInt64
    let write: Bool
    let user: Bool
    let fetch: Bool
}

/// What a walk came to.
private struct LongPageWalkResult {
    var address: UInt64
    /// A write may follow without a walk.
    var canWrite: Bool
    var facts: UInt64
}

extension LongCore {
    static let tlbCount = 1024
    static let slotMask: UInt64 = 1023
    static let pageSize: UInt64 = 4096
    static let pageOffset: UInt64 = 4095

    static func isCanonical(_ linear: UInt64) -> Bool {
        let sign = linear &+ 0x0000_8000_0000_0000
        return sign &>> 48 == 0
    }

    @inline(__always) func tlbEntry(_ linear: UInt64) -> UnsafeMutablePointer<LongTLBEntry> {
        unsafe state.tlb + Int(truncatingIfNeeded: linear &>> 12 & Self.slotMask)
    }

    // MARK: The fast way

    /// Our address of an operand that may be read, if the table knows its page.
    @inline(__always) func readable(_ linear: UInt64, _ size: UInt64) -> UnsafeMutableRawPointer? {
        let entry = unsafe tlbEntry(linear)
        guard unsafe linear &- entry.pointee.readTag <= Self.pageSize &- size else { return nil }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(size))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    /// Our address of an operand that may be written.
    @inline(__always) func writable(_ linear: UInt64, _ size: UInt64) -> UnsafeMutableRawPointer? {
        let entry = unsafe tlbEntry(linear)
        guard unsafe linear &- entry.pointee.writeTag <= Self.pageSize &- size else { return nil }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(size))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    /// The operand, or nil with the fault in the state.
    @inline(__always) func load<Width: LongOperand>(_ linear: UInt64, _: Width.Type) -> Width? {
        if let host = unsafe readable(linear, UInt64(Width.bitWidth / 8)) {
            return unsafe host.loadUnaligned(as: Width.self)
        }
        guard let value = slowLoad(linear, UInt64(Width.bitWidth / 8)) else { return nil }
        return Width(truncatingIfNeeded: value)
    }

    @inline(__always) func store<Width: LongOperand>(_ linear: UInt64, _ value: Width) -> Flow {
        if let host = unsafe writable(linear, UInt64(Width.bitWidth / 8)) {
            unsafe host.storeBytes(of: value, as: Width.self)
            return .next
        }
        return slowStore(linear, UInt64(truncatingIfNeeded: value), UInt64(Width.bitWidth / 8))
    }

    @inline(never) private func slowLoad(_ linear: UInt64, _ count: UInt64) -> UInt64? {
        do throws(Fault) {
            let value = try read(linear, count)
            return isToBeAlone() ? nil : value
        } catch {
            state.fault = error
            return nil
        }
    }

    @inline(never) func slowStore(_ linear: UInt64, _ value: UInt64, _ count: UInt64) -> Flow {
        do throws(Fault) {
            try write(linear, value, count)
            return state.codeChanged ? .stop : .next
        } catch {
            state.fault = error
            return .fault
        }
    }

    /// The operand of an instruction that will write it back: faults as the write would.
    @inline(never) func slowLoadToModify(_ linear: UInt64, _ count: UInt64) -> UInt64? {
        do throws(Fault) {
            try checkWrite(linear, count)
            return try read(linear, count)
        } catch {
            state.fault = error
            return nil
        }
    }

    // MARK: Any access at the present privilege

    /// Reads 1 to 8 bytes.
    @inline(never) func read(_ linear: UInt64, _ count: UInt64) throws(Fault) -> UInt64 {
        try checkTag(linear, count, write: false)
        if state.debug.isActive { noteAccess(linear, count, DebugRegisters.reads) }
        let first = try physical(linear, write: false)
        if linear & Self.pageOffset <= Self.pageSize &- count {
            return physicalRead(first, count)
        }
        let second = try physical((linear | Self.pageOffset) &+ 1, write: false)
        let inFirst = Self.pageSize &- linear & Self.pageOffset
        return physicalRead(first, inFirst)
            | physicalRead(second, count &- inFirst) &<< (8 &* inFirst)
    }

    /// Writes 1 to 8 bytes, all or none.
    @inline(never) func write(_ linear: UInt64, _ value: UInt64, _ count: UInt64) throws(Fault) {
        try checkTag(linear, count, write: true)
        if state.debug.isActive { noteAccess(linear, count, DebugRegisters.writes) }
        let first = try physical(linear, write: true)
        if linear & Self.pageOffset <= Self.pageSize &- count {
            return physicalWrite(first, value, count)
        }
        let second = try physical((linear | Self.pageOffset) &+ 1, write: true)
        let inFirst = Self.pageSize &- linear & Self.pageOffset
        physicalWrite(first, value, inFirst)
        physicalWrite(second, value &>> (8 &* inFirst), count &- inFirst)
    }

    /// A breakpoint that an access hits is told behind its instruction, which ends the block.
    @inline(never) private func noteAccess(_ linear: UInt64, _ count: UInt64, _ kinds: UInt64) {
        let found = state.debug.found(linear & state.linearMask, count, kinds)
        guard found != 0 else { return }
        state.debug.pending |= found
        state.codeChanged = true
        nextGeneration()
    }

    /// Bytes of one page.
    private func physicalRead(_ address: UInt64, _ count: UInt64) -> UInt64 {
        guard state.extent.contains(address) else { return ~0 &>> (64 &- 8 &* count) }
        checkPhysical(address, count)
        let from = unsafe state.memory + Int(truncatingIfNeeded: address)
        switch count {
        case 8: return unsafe from.loadUnaligned(as: UInt64.self)
        case 4: return unsafe UInt64(from.loadUnaligned(as: UInt32.self))
        default:
            var value: UInt64 = 0
            for index in 0..<count {
                let byte = unsafe from.load(
                    fromByteOffset: Int(truncatingIfNeeded: index), as: UInt8.self)
                value |= UInt64(byte) &<< (8 &* index)
            }
            return value
        }
    }

    private func physicalWrite(_ address: UInt64, _ value: UInt64, _ count: UInt64) {
        guard state.extent.contains(address) else { return }
        checkPhysical(address, count)
        noteWrite(UInt(address), UInt32(truncatingIfNeeded: count))
        let to = unsafe state.memory + Int(truncatingIfNeeded: address)
        if count == 8 { return unsafe to.storeBytes(of: value, as: UInt64.self) }
        for index in 0..<count {
            unsafe to.storeBytes(
                of: UInt8(truncatingIfNeeded: value &>> (8 &* index)),
                toByteOffset: Int(truncatingIfNeeded: index), as: UInt8.self)
        }
    }

    /// Faults as a write of `count` bytes (at most a page) would.
    func checkWrite(_ linear: UInt64, _ count: UInt64) throws(Fault) {
        try check(linear, count, write: true)
    }

    @inline(never) func check(_ linear: UInt64, _ count: UInt64, write: Bool) throws(Fault) {
        try checkTag(linear, count, write: write)
        _ = try physical(linear, write: write)
        if linear & Self.pageOffset > Self.pageSize &- count {
            _ = try physical((linear | Self.pageOffset) &+ 1, write: write)
        }
    }

    /// Copies between a linear address and our memory; the access was checked.
    @inline(never) func copy(
        _ linear: UInt64, _ buffer: UnsafeMutableRawPointer, _ count: Int, write: Bool
    ) throws(Fault) {
        try check(linear, UInt64(count), write: write)
        var done = 0
        while done < count {
            let part = UInt64(min(count - done, 8))
            let place = linear &+ UInt64(done)
            let at = unsafe buffer + done
            if write {
                var value: UInt64 = 0
                unsafe withUnsafeMutableBytes(of: &value) {
                    unsafe $0.baseAddress.unsafelyUnwrapped.copyMemory(
                        from: at, byteCount: Int(part))
                }
                try self.write(place, value, part)
            } else {
                var value = try read(place, part)
                unsafe withUnsafeMutableBytes(of: &value) {
                    unsafe at.copyMemory(
                        from: $0.baseAddress.unsafelyUnwrapped, byteCount: Int(part))
                }
            }
            done += Int(part)
        }
    }

    /// Runs an access of the processor's own, to its tables: with the rights of ring 0.
    func asSupervisor<Value>(_ body: () throws(Fault) -> Value) throws(Fault) -> Value {
        let privilege = state.privilege
        let mask = state.linearMask
        state.linearMask = ~0
        defer { state.linearMask = mask }
        guard privilege == 3 else {
            // The table of 32-bit code is not to know what lies beyond 4 GiB.
            defer { if mask != ~0 { clearCurrentTLB() } }
            return try body()
        }
        state.privilege = 0
        unsafe state.tlb = state.supervisorTLB
        defer {
            state.privilege = 3
            unsafe state.tlb = state.userTLB
        }
        return try body()
    }

    // MARK: Through the TLB

    /// Guest-physical address, through the table; fills it. It may lie outside memory.
    func physical(_ linear: UInt64, write: Bool) throws(Fault) -> UInt64 {
        let linear = linear & state.linearMask
        let entry = unsafe tlbEntry(linear)
        let tag = unsafe write ? entry.pointee.writeTag : entry.pointee.readTag
        if linear &- tag < Self.pageSize {
            return unsafe UInt64(
                entry.pointee.addend &+ UInt(linear) &- UInt(bitPattern: state.memory))
        }
        return try fill(linear, write: write, fetch: false)
    }

    /// Address of code: faults if it may not be executed; #UD where there is no memory.
    func fetchable(_ linear: UInt64) throws(Fault) -> UInt {
        let linear = linear & state.linearMask
        let entry = unsafe tlbEntry(linear)
        var address: UInt64
        if unsafe linear &- entry.pointee.readTag < Self.pageSize
            && entry.pointee.facts & UInt64(SlotFact.noExecute) == 0
        {
            address = unsafe UInt64(
                entry.pointee.addend &+ UInt(linear) &- UInt(bitPattern: state.memory))
        } else {
            address = try fill(linear, write: false, fetch: true)
        }
        guard state.extent.contains(address) else { throw .undefined }
        if unsafe entry.pointee.facts & UInt64(SlotFact.global) == 0 && state.privilege != 3 {
            state.hasFetchedLocally = true
        }
        return UInt(address)
    }

    /// Walks and fills the TLB.
    @inline(never) private func fill(_ linear: UInt64, write: Bool, fetch: Bool) throws(Fault)
        -> UInt64
    {
        let found = try walk(
            LongAccess(linear: linear, write: write, user: state.privilege == 3, fetch: fetch))
        guard state.extent.contains(found.address) else { return found.address }
        let page = linear & ~Self.pageOffset
        let frame = found.address & ~Self.pageOffset
        let isWritable =
            found.canWrite && !state.blocks.isWatched(UInt(frame))
            && !state.debug.watches(page, Self.pageSize, DebugRegisters.writes)
        let isReadable = !state.debug.watches(page, Self.pageSize, DebugRegisters.reads)
        unsafe tlbEntry(linear).pointee = LongTLBEntry(
            readTag: isReadable ? page : page ^ Self.pageSize,
            writeTag: isWritable ? page : page ^ Self.pageSize,
            addend: UInt(bitPattern: state.memory) &+ UInt(frame) &- UInt(page),
            facts: found.facts)
        if found.facts & UInt64(SlotFact.global) == 0 && state.filledCount <= Self.filledCapacity {
            if state.filledCount < Self.filledCapacity {
                let slot = Int(truncatingIfNeeded: linear &>> 12 & Self.slotMask)
                let isUser = unsafe state.tlb == state.userTLB
                unsafe state.filled[state.filledCount] = UInt16(
                    truncatingIfNeeded: isUser ? slot : slot + Self.tlbCount)
            }
            state.filledCount += 1
        }
        return found.address
    }

    static let filledCapacity = 512

    // MARK: The walk

    private func walk(_ access: LongAccess) throws(Fault) -> LongPageWalkResult {
        guard isActive else {
            return LongPageWalkResult(address: access.linear, canWrite: true, facts: 0)
        }
        guard Self.isCanonical(access.linear) else {
            state.isOutside = true
            throw .protection(0)
        }
        var place = state.control3 & LongEntry.address
        var rights = LongEntry.rights
        var barred: UInt64 = 0
        let hasNoExecute = state.features & LongFeature.noExecute != 0
        var reserved = LongEntry.beyond | (hasNoExecute ? 0 : LongEntry.noExecute)
        var shift: UInt64 = 39
        var places = InlineArray<4, UInt64>(repeating: 0)
        var entries = InlineArray<4, UInt64>(repeating: 0)
        var level = 0
        while true {
            let at = place | (access.linear &>> shift & 0x1FF) &* 8
            let entry = entry(at)
            places[level] = at
            entries[level] = entry
            guard entry & LongEntry.present != 0 else { throw fault(access, 0) }
            let isLarge = entry & LongEntry.large != 0 && level < 3
            // Bit 7 of the first two levels, bit 8 of the first, as on every AMD, and the lower address bits of a large page
            // are reserved.
            if isLarge { reserved |= level == 2 ? 0x1F_E000 : LongEntry.large }
            guard entry & reserved == 0, level != 0 || entry & LongEntry.global == 0 else {
                throw fault(access, PageError.present | PageError.reserved)
            }
            rights &= entry
            barred |= entry & LongEntry.noExecute
            if level == 3 || isLarge { break }
            place = entry & LongEntry.address
            level += 1
            shift &-= 9
        }
        let isAllowed =
            (!access.user || rights & LongEntry.user != 0)
            && (!access.write || mayWrite(rights, access.user)) && !(access.fetch && barred != 0)
        guard isAllowed else { throw fault(access, PageError.present) }
        for index in 0..<level { mark(places[index], entries[index], LongEntry.accessed) }
        let last = entries[level]
        let wanted = LongEntry.accessed | (access.write ? LongEntry.dirty : 0)
        mark(places[level], last, wanted)
        let offset: UInt64 = level == 3 ? Self.pageOffset : 0x1F_FFFF
        if level == 2 { state.hasLargePages = true }
        let isGlobal =
            last & LongEntry.global != 0 && state.control4 & UInt64(Control4.globalPages) != 0
        return LongPageWalkResult(
            address: last & LongEntry.address & ~offset | access.linear & offset,
            canWrite: mayWrite(rights, access.user) && (last | wanted) & LongEntry.dirty != 0,
            facts: (isGlobal ? UInt64(SlotFact.global) : 0)
                | (barred != 0 ? UInt64(SlotFact.noExecute) : 0))
    }

    private func mayWrite(_ rights: UInt64, _ user: Bool) -> Bool {
        rights & LongEntry.writable != 0
            || !user && state.control0 & UInt64(Control0.writeProtect) == 0
    }

    private func fault(_ access: LongAccess, _ why: UInt32) -> Fault {
        state.faultAddress = access.linear
        let isFetch = access.fetch && state.features & LongFeature.noExecute != 0
        return .exception(
            vector: ExceptionVector.pageFault,
            code: why | (access.write ? PageError.write : 0) | (access.user ? PageError.user : 0)
                | (isFetch ? PageError.fetch : 0))
    }

    private func entry(_ place: UInt64) -> UInt64 {
        guard state.extent.contains(place) else { return ~0 }
        return unsafe state.memory.load(
            fromByteOffset: Int(truncatingIfNeeded: place), as: UInt64.self)
    }

    private func mark(_ place: UInt64, _ old: UInt64, _ bits: UInt64) {
        guard old & bits != bits && state.extent.contains(place) else { return }
        physicalWrite(place, old | bits, 8)
    }

    // MARK: Forgetting

    /// Empties the TLB.
    func flushTLB() {
        for slot in 0..<Self.tlbCount { clear(slot) }
        state.filledCount = 0
        state.hasFetchedLocally = false
        state.hasLargePages = false
        state.charge = 100
        nextGeneration()
    }

    /// The tag of another slot's pages, which no access in this one has.
    @inline(__always) private static func noTag(_ slot: Int) -> UInt64 {
        UInt64(slot ^ 1) &<< UInt64(Page.shift)
    }

    /// An entry that knows no page.
    private static func empty(_ slot: Int) -> LongTLBEntry {
        LongTLBEntry(readTag: noTag(slot), writeTag: noTag(slot), addend: 0, facts: 0)
    }

    private func clear(_ slot: Int) {
        unsafe state.userTLB[slot] = Self.empty(slot)
        unsafe state.supervisorTLB[slot] = Self.empty(slot)
    }

    /// A load of CR3: forgets all but global pages.
    func forgetAddressSpace() {
        if state.filledCount > Self.filledCapacity {
            for place in 0..<2 * Self.tlbCount { forgetUnlessGlobal(place) }
        } else {
            for index in 0..<state.filledCount {
                forgetUnlessGlobal(Int(unsafe state.filled[index]))
            }
        }
        state.filledCount = 0
        guard state.hasFetchedLocally else { return nextUserGeneration() }
        state.hasFetchedLocally = false
        nextGeneration()
    }

    private func forgetUnlessGlobal(_ place: Int) {
        let slot = place & (Self.tlbCount - 1)
        let entry = unsafe (place < Self.tlbCount ? state.userTLB : state.supervisorTLB) + slot
        if unsafe entry.pointee.facts & UInt64(SlotFact.global) == 0 {
            unsafe entry.pointee = Self.empty(slot)
        }
    }

    /// Empties the present one of the two.
    func clearCurrentTLB() {
        for slot in 0..<Self.tlbCount { unsafe state.tlb[slot] = Self.empty(slot) }
    }

    /// INVLPG: forgets what is known of a page, of 4 KiB or 2 MiB.
    func forgetPage(of linear: UInt64) {
        let linear = linear & state.linearMask
        if state.hasLargePages {
            for slot in 0..<Self.tlbCount {
                let tags = unsafe (state.userTLB[slot].readTag, state.supervisorTLB[slot].readTag)
                if (tags.0 ^ linear) &>> 21 == 0 || (tags.1 ^ linear) &>> 21 == 0 { clear(slot) }
            }
        } else {
            clear(Int(truncatingIfNeeded: linear &>> 12 & Self.slotMask))
        }
        state.charge = 100
        nextGeneration()
    }

    /// Makes writes to the physical page that a byte is on come the slow way: code is about to be decoded there.
    func forbidFastWrites(_ physical: UInt) {
        let host = UInt(bitPattern: unsafe state.memory) &+ physical & ~UInt(Self.pageOffset)
        for slot in 0..<Self.tlbCount {
            let none = Self.noTag(slot)
            let user = unsafe state.userTLB + slot
            if unsafe user.pointee.addend &+ UInt(user.pointee.readTag) == host {
                unsafe user.pointee.writeTag = none
            }
            let supervisor = unsafe state.supervisorTLB + slot
            if unsafe supervisor.pointee.addend &+ UInt(supervisor.pointee.readTag) == host {
                unsafe supervisor.pointee.writeTag = none
            }
        }
    }
}
