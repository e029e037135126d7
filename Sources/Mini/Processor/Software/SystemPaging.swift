// Address translation for a guest with ring 0: paging off, 32-bit paging with 4 KiB and 4 MiB pages, PAE paging
// with 4 KiB and 2 MiB pages and the no-execute bit. The walks check in the order of the manual: present, reserved bits,
// then rights; accessed and dirty bits are set only when the access is allowed.
//
// Physical addresses have 36 bits. What lies outside guest memory is read as all ones and written nowhere; no entry of
// the TLB leads there.
//
// What is forgotten: a load of CR3 forgets what is not global, INVLPG the page of an address, a change of how pages
// are walked everything. Decoded blocks are kept through all of that: they belong to physical pages. Links between
// blocks carry generations, one of user code and one of the rest, so that a change of address spaces does not cost
// the kernel its links.
//
// Source: Intel SDM volume 3, chapter 4 (4.3, 4.4, 4.6, 4.7, 4.10).

/// What a walk came to.
private struct PageWalkResult {
    var address: UInt64
    /// A write may follow without a walk.
    var canWrite: Bool
    var facts: UInt8 = 0
    var isLarge = false
}

/// Bits of entries with 64 bits, beside those of `PageEntry`.
private enum WideEntry {
    static let noExecute: UInt64 = 1 << 63
    static let address: UInt64 = 0xF_FFFF_F000
    /// Bits 36 to 62.
    static let beyond: UInt64 = 0x7FFF_FFF0_0000_0000
    /// Of an entry of the first level.
    static let reservedInPointer: UInt64 = beyond | WideEntry.noExecute | 0x1E6
}

extension PageEntry {
    static let global: UInt32 = 1 << 8
}

/// An access as the walks look at it.
private struct Access {
    let linear: UInt32
    let write: Bool
    let user: Bool
    let fetch: Bool
}

extension Core {
    /// Where bytes outside guest memory are, for whoever asks for an address of 32 bits: the last page, which
    /// guest memory never has.
    private static let outside = Page.number

    // MARK: Through the TLB

    /// Address of code: faults if it may not be executed; #UD where there is no memory (all ones are no instruction).
    func fetchable(_ linear: UInt32) throws(Fault) -> UInt32 {
        guard isSystem else { return try physical(linear, write: false) }
        let slot = Int(linear &>> Page.shift & Self.slotMask)
        let entry = unsafe state.tlb + slot
        var address: UInt32
        var facts = unsafe system.slots[slotPlace(slot)]
        if unsafe linear &- entry.pointee.readTag < Page.size, facts & SlotFact.noExecute == 0 {
            address = unsafe UInt32(
                truncatingIfNeeded: entry.pointee.addend &+ UInt(linear)
                    &- UInt(bitPattern: state.memory))
        } else {
            address = try systemPhysical(linear, write: false, fetch: true)
            facts = unsafe system.slots[slotPlace(slot)]
        }
        guard address < state.memoryCount else { throw .undefined }
        unsafe system.fetched[slot] = state.blocks.generation.number
        if facts & SlotFact.global == 0 && state.privilege != 3 { system.hasFetchedLocally = true }
        return address
    }

    /// The number of a slot of the present table, with the user's in front.
    private func slotPlace(_ slot: Int) -> Int {
        unsafe state.tlb == state.userTLB ? slot : slot + Self.tlbCount
    }

    /// Walks and fills the TLB.
    @inline(never) func systemPhysical(_ linear: UInt32, write: Bool, fetch: Bool) throws(Fault)
        -> UInt32
    {
        let found = try systemWalk(
            Access(linear: linear, write: write, user: state.privilege == 3, fetch: fetch))
        guard found.address < UInt64(state.memoryCount) else {
            return Self.outside | linear & Page.offset
        }
        let address = UInt32(truncatingIfNeeded: found.address)
        checkPhysical(address, 1)
        let slot = Int(linear &>> Page.shift & Self.slotMask)
        let page = linear & Page.number
        let place = UInt64(page)
        let isWritable =
            found.canWrite && !state.blocks.isWatched(UInt(address))
            && !state.debug.watches(place, UInt64(Page.size), DebugRegisters.writes)
        let isReadable = !state.debug.watches(place, UInt64(Page.size), DebugRegisters.reads)
        unsafe state.tlb[slot] = TLBEntry(
            readTag: isReadable ? page : page ^ Page.size,
            writeTag: isWritable ? page : page ^ Page.size,
            addend: UInt(bitPattern: state.memory) &+ UInt(address & Page.number) &- UInt(page))
        note(found, slotPlace(slot), linear)
        return address
    }

    private func note(_ found: PageWalkResult, _ place: Int, _ linear: UInt32) {
        unsafe system.slots[place] = found.facts
        if found.facts & SlotFact.global == 0 && system.filledCount <= SystemState.filledCapacity {
            if system.filledCount < SystemState.filledCapacity {
                unsafe system.filled[system.filledCount] = UInt16(truncatingIfNeeded: place)
            }
            system.filledCount += 1
        }
        if found.isLarge {
            let region = Int(linear &>> 21)
            unsafe system.large[region &>> 3] |= 1 &<< UInt8(truncatingIfNeeded: region & 7)
        }
    }

    // MARK: The walks

    private func systemWalk(_ access: Access) throws(Fault) -> PageWalkResult {
        guard system.isPaging else {
            return PageWalkResult(
                address: UInt64(access.linear), canWrite: true, facts: SlotFact.global)
        }
        return system.isExtended ? try wideWalk(access) : try narrowWalk(access)
    }

    private func fault(_ access: Access, _ why: UInt32) -> Fault {
        state.faultAddress = access.linear
        let isFetch = access.fetch && system.noExecuteEnabled && system.isExtended
        let code =
            why | (access.write ? PageError.write : 0) | (access.user ? PageError.user : 0)
            | (isFetch ? PageError.fetch : 0)
        return .exception(vector: ExceptionVector.pageFault, code: code)
    }

    /// Whether the rights of all levels together allow an access.
    private func allows(_ access: Access, _ rights: UInt32) -> Bool {
        if access.user {
            guard rights & PageEntry.user != 0 else { return false }
            return !access.write || rights & PageEntry.writable != 0
        }
        return !access.write || mayWrite(rights, user: false)
    }

    private func mayWrite(_ rights: UInt32, user: Bool) -> Bool {
        rights & PageEntry.writable != 0
            || !user && system.control0 & Control0.writeProtect == 0
    }

    private func globalFact(_ entry: UInt32) -> UInt8 {
        entry & PageEntry.global != 0 && system.control4 & Control4.globalPages != 0
            ? SlotFact.global : 0
    }

    /// 32-bit paging.
    private func narrowWalk(_ access: Access) throws(Fault) -> PageWalkResult {
        let directoryPlace = PageWalk.firstPlace(
            access.linear, from: state.pageDirectory, PageRules(limit: 0))
        let directoryEntry = entry(directoryPlace)
        guard directoryEntry & PageEntry.present != 0 else { throw fault(access, 0) }
        let wanted = PageEntry.accessed | (access.write ? PageEntry.dirty : 0)
        if directoryEntry & PageEntry.large != 0 && system.control4 & Control4.largePages != 0 {
            // No addresses of more than 32 bits.
            guard directoryEntry & 0x3F_E000 == 0 else {
                throw fault(access, PageError.present | PageError.reserved)
            }
            guard allows(access, directoryEntry) else { throw fault(access, PageError.present) }
            change(directoryPlace, directoryEntry, directoryEntry | wanted)
            return PageWalkResult(
                address: UInt64(directoryEntry & 0xFFC0_0000 | access.linear & 0x3F_FFFF),
                canWrite: mayWrite(directoryEntry, user: access.user)
                    && (directoryEntry | wanted) & PageEntry.dirty != 0,
                facts: globalFact(directoryEntry), isLarge: true)
        }
        let tablePlace = directoryEntry & PageEntry.address | (access.linear &>> 10 & 0xFFC)
        let tableEntry = entry(tablePlace)
        guard tableEntry & PageEntry.present != 0 else { throw fault(access, 0) }
        let rights = directoryEntry & tableEntry
        guard allows(access, rights) else { throw fault(access, PageError.present) }
        change(directoryPlace, directoryEntry, directoryEntry | PageEntry.accessed)
        change(tablePlace, tableEntry, tableEntry | wanted)
        return PageWalkResult(
            address: UInt64(tableEntry & PageEntry.address | access.linear & Page.offset),
            canWrite: mayWrite(rights, user: access.user)
                && (tableEntry | wanted) & PageEntry.dirty != 0,
            facts: globalFact(tableEntry))
    }

    /// PAE paging.
    private func wideWalk(_ access: Access) throws(Fault) -> PageWalkResult {
        let pointer = system.directoryPointers[Int(access.linear &>> 30)]
        guard pointer & 1 != 0 else { throw fault(access, 0) }
        let reserved =
            WideEntry.beyond | (system.noExecuteEnabled ? 0 : WideEntry.noExecute)
        let directoryPlace =
            pointer & WideEntry.address | UInt64(access.linear &>> 21 & 0x1FF) &* 8
        let directoryEntry = wideEntry(directoryPlace)
        let wanted = PageEntry.accessed | (access.write ? PageEntry.dirty : 0)
        guard directoryEntry & 1 != 0 else { throw fault(access, 0) }
        let isLarge = directoryEntry & UInt64(PageEntry.large) != 0
        guard directoryEntry & (isLarge ? reserved | 0x1F_E000 : reserved) == 0 else {
            throw fault(access, PageError.present | PageError.reserved)
        }
        if isLarge {
            let low = UInt32(truncatingIfNeeded: directoryEntry)
            let isBarred = directoryEntry & WideEntry.noExecute != 0
            guard allows(access, low), !(access.fetch && isBarred) else {
                throw fault(access, PageError.present)
            }
            change(directoryPlace, low, low | wanted)
            return PageWalkResult(
                address: directoryEntry & 0xF_FFE0_0000 | UInt64(access.linear & 0x1F_FFFF),
                canWrite: mayWrite(low, user: access.user)
                    && (low | wanted) & PageEntry.dirty != 0,
                facts: globalFact(low) | (isBarred ? SlotFact.noExecute : 0), isLarge: true)
        }
        let tablePlace =
            directoryEntry & WideEntry.address | UInt64(access.linear &>> 12 & 0x1FF) &* 8
        let tableEntry = wideEntry(tablePlace)
        guard tableEntry & 1 != 0 else { throw fault(access, 0) }
        guard tableEntry & reserved == 0 else {
            throw fault(access, PageError.present | PageError.reserved)
        }
        let low = UInt32(truncatingIfNeeded: tableEntry)
        let above = UInt32(truncatingIfNeeded: directoryEntry)
        let isBarred = (directoryEntry | tableEntry) & WideEntry.noExecute != 0
        guard allows(access, above & low), !(access.fetch && isBarred) else {
            throw fault(access, PageError.present)
        }
        change(directoryPlace, above, above | PageEntry.accessed)
        change(tablePlace, low, low | wanted)
        return PageWalkResult(
            address: tableEntry & WideEntry.address | UInt64(access.linear & Page.offset),
            canWrite: mayWrite(above & low, user: access.user)
                && (low | wanted) & PageEntry.dirty != 0,
            facts: globalFact(low) | (isBarred ? SlotFact.noExecute : 0))
    }

    private func entry(_ place: UInt32) -> UInt32 {
        place < state.memoryCount ? word(place) : .max
    }

    private func wideEntry(_ place: UInt64) -> UInt64 {
        guard place < UInt64(state.memoryCount) else { return .max }
        let address = UInt32(truncatingIfNeeded: place)
        checkPhysical(address, 8)
        return unsafe state.memory.load(fromByteOffset: Int(address), as: UInt64.self)
    }

    /// Stores the low half of an entry.
    private func change(_ place: UInt32, _ old: UInt32, _ new: UInt32) {
        if place < state.memoryCount { set(place, old, new) }
    }

    private func change(_ place: UInt64, _ old: UInt32, _ new: UInt32) {
        if place < UInt64(state.memoryCount) { set(UInt32(truncatingIfNeeded: place), old, new) }
    }

    // MARK: Forgetting

    /// To be called with all slots empty.
    func nothingIsFilled() {
        system.filledCount = 0
        system.hasFetchedLocally = false
        // It takes as long as some instructions, and a guest may do nothing else.
        state.charge = 100
        for index in 0..<SystemState.largeRegions / 8 { unsafe system.large[index] = 0 }
    }

    /// Forgets all but global pages.
    func forgetAddressSpace() {
        if system.filledCount > SystemState.filledCapacity {
            for place in 0..<2 * Self.tlbCount { forgetUnlessGlobal(place) }
        } else {
            for index in 0..<system.filledCount {
                forgetUnlessGlobal(Int(unsafe system.filled[index]))
            }
        }
        system.filledCount = 0
        guard system.hasFetchedLocally else { return nextUserGeneration() }
        system.hasFetchedLocally = false
        nextGeneration()
    }

    private func forgetUnlessGlobal(_ place: Int) {
        guard unsafe system.slots[place] & SlotFact.global == 0 else { return }
        let slot = place & Int(Self.slotMask)
        let none = Self.empty(slot)
        if place < Self.tlbCount {
            unsafe state.userTLB[slot] = none
        } else {
            unsafe state.supervisorTLB[slot] = none
        }
    }

    /// INVLPG: forgets what is known of a page, of 4 KiB or larger.
    func forgetPage(of linear: UInt32) {
        let region = Int(linear &>> 21)
        // A large page has 4 MiB or 2.
        let pair = 3 &<< UInt8(truncatingIfNeeded: region & 6)
        guard unsafe system.large[region &>> 3] & UInt8(truncatingIfNeeded: pair) != 0 else {
            let slot = Int(linear &>> Page.shift & Self.slotMask)
            clear(slot)
            if unsafe system.fetched[slot] >= state.blocks.supervisorGeneration { nextGeneration() }
            return
        }
        for slot in 0..<Self.tlbCount {
            let tags = unsafe (state.userTLB[slot].readTag, state.supervisorTLB[slot].readTag)
            if (tags.0 ^ linear) &>> 22 == 0 || (tags.1 ^ linear) &>> 22 == 0 { clear(slot) }
        }
        nextGeneration()
    }

    /// Loads the first level of PAE paging.
    func loadDirectoryPointers(from directory: UInt32) throws(Fault) {
        var entries = InlineArray<4, UInt64>(repeating: 0)
        for index in 0..<4 {
            let entry = wideEntry(UInt64(directory & ~31) + UInt64(index) * 8)
            guard entry & 1 == 0 || entry & WideEntry.reservedInPointer == 0 else {
                throw .protection(0)
            }
            entries[index] = entry
        }
        system.directoryPointers = entries
    }
}
