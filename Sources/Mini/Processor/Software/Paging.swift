// Paging: the TLB in front of the walk (Memory/PageTables.swift). An entry holds the page that may be
// read, the page that may be written, and what to add to a linear address to get our own; the test of an access is one subtraction and one
// comparison that fails as well when it runs over the page's end. A page is written through
// the table only when its dirty bit is set and no code was decoded from it.
//
// Source: Intel SDM volume 3, chapter 4 (32-bit paging, CR0.WP = 1, no PSE, PGE).

/// An entry of the TLB. A tag that belongs to another slot never matches.
struct TLBEntry {
    var readTag: UInt32
    var writeTag: UInt32
    /// Our address of the page, less its linear address, wrapping.
    var addend: UInt
}

/// Why an instruction was not completed.
enum Fault: Error, Equatable {
    case none
    /// An exception; the code is 0 where the vector has none.
    case exception(vector: UInt8, code: UInt32)
    /// A present entry that the page rules refuse.
    case refusedDirectoryEntry
    case refusedMiddleEntry
    case refusedTableEntry

    static let divideError = Fault.exception(vector: ExceptionVector.divideError, code: 0)
    static let debug = Fault.exception(vector: ExceptionVector.debug, code: 0)
    static let bounds = Fault.exception(vector: ExceptionVector.bounds, code: 0)
    static let undefined = Fault.exception(vector: ExceptionVector.invalidOpcode, code: 0)
    static let noDevice = Fault.exception(vector: ExceptionVector.noDevice, code: 0)
    static let doubleFault = Fault.exception(vector: ExceptionVector.doubleFault, code: 0)
    static let floatingPoint = Fault.exception(vector: ExceptionVector.floatingPoint, code: 0)
    static func invalidTask(_ selector: UInt16) -> Fault {
        .exception(vector: ExceptionVector.invalidTask, code: UInt32(selector & 0xFFFC))
    }
    static func notPresent(_ selector: UInt16) -> Fault {
        .exception(vector: ExceptionVector.notPresent, code: UInt32(selector & 0xFFFC))
    }
    static func stack(_ selector: UInt16) -> Fault {
        .exception(vector: ExceptionVector.stack, code: UInt32(selector & 0xFFFC))
    }
    static func protection(_ selector: UInt16) -> Fault {
        .exception(vector: ExceptionVector.protection, code: UInt32(selector & 0xFFFC))
    }
}

/// What the execution loop does after an operation.
enum Flow: UInt8 {
    /// Goes on with the next record.
    case next
    /// Goes on with the next instruction, but in a block that is looked up anew.
    case stop
    /// Goes on at `State.eip`; the branch may be linked to the block there.
    case branch
    /// Goes on at `State.eip`.
    case jump
    /// `State.fault` says why the instruction was not completed.
    case fault
    /// Leaves the loop: `State.eip` and `State.fault` say where and why.
    case exit
}

extension Core {
    static let tlbCount = 1024
    static let slotMask: UInt32 = 1023

    // MARK: The fast way

    /// Our address of an operand that may be read, if the table knows its page.
    @inline(__always) func readable<Width: Operand>(_ linear: UInt32, _: Width.Type)
        -> UnsafeMutableRawPointer?
    {
        let entry = unsafe state.tlb + Int(linear &>> Page.shift & Self.slotMask)
        guard unsafe linear &- entry.pointee.readTag <= Page.size - UInt32(Width.bitWidth / 8)
        else {
            return nil
        }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(Width.bitWidth / 8))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    /// Our address of an operand that may be written.
    @inline(__always) func writable<Width: Operand>(_ linear: UInt32, _: Width.Type)
        -> UnsafeMutableRawPointer?
    {
        let entry = unsafe state.tlb + Int(linear &>> Page.shift & Self.slotMask)
        guard unsafe linear &- entry.pointee.writeTag <= Page.size - UInt32(Width.bitWidth / 8)
        else {
            return nil
        }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(Width.bitWidth / 8))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    /// The same of up to a page.
    func readable(_ linear: UInt32, _ count: UInt32) -> UnsafeMutableRawPointer? {
        let entry = unsafe state.tlb + Int(linear &>> Page.shift & Self.slotMask)
        guard unsafe linear &- entry.pointee.readTag <= Page.size - count else { return nil }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(count))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    func writable(_ linear: UInt32, _ count: UInt32) -> UnsafeMutableRawPointer? {
        let entry = unsafe state.tlb + Int(linear &>> Page.shift & Self.slotMask)
        guard unsafe linear &- entry.pointee.writeTag <= Page.size - count else { return nil }
        unsafe checkHost(entry.pointee.addend &+ UInt(linear), UInt(count))
        return unsafe UnsafeMutableRawPointer(bitPattern: entry.pointee.addend &+ UInt(linear))
    }

    /// The operand, or nil with the fault in the state.
    @inline(__always) func load<Width: Operand>(_ linear: UInt32, _ width: Width.Type) -> Width? {
        if let host = unsafe readable(linear, width) {
            return unsafe host.loadUnaligned(as: Width.self)
        }
        return slowLoad(linear, width)
    }

    @inline(__always) func store<Width: Operand>(_ linear: UInt32, _ value: Width) -> Flow {
        if let host = unsafe writable(linear, Width.self) {
            unsafe host.storeBytes(of: value, as: Width.self)
            return .next
        }
        return slowStore(linear, value)
    }

    @inline(never) private func slowLoad<Width: Operand>(_ linear: UInt32, _: Width.Type)
        -> Width?
    {
        do throws(Fault) {
            let value: Width = try read(linear)
            return isToBeAlone() ? nil : value
        } catch {
            state.fault = error
            return nil
        }
    }

    @inline(never) func slowStore<Width: Operand>(_ linear: UInt32, _ value: Width) -> Flow {
        do throws(Fault) {
            try write(linear, value)
            return state.codeChanged ? .stop : .next
        } catch {
            state.fault = error
            return .fault
        }
    }

    /// The operand of an instruction that will write it back: faults as the write would.
    @inline(never) func slowLoadToModify<Width: Operand>(_ linear: UInt32, _: Width.Type)
        -> Width?
    {
        do throws(Fault) {
            try checkWrite(linear, UInt32(Width.bitWidth / 8))
            return try read(linear)
        } catch {
            state.fault = error
            return nil
        }
    }

    // MARK: Any access at the present privilege, by linear address

    func read<Width: Operand>(_ linear: UInt32, as: Width.Type = Width.self) throws(Fault)
        -> Width
    {
        if let host = unsafe readable(linear, Width.self) {
            return unsafe host.loadUnaligned(as: Width.self)
        }
        let size = UInt32(Width.bitWidth / 8)
        if state.debug.isActive { noteAccess(linear, size, DebugRegisters.reads) }
        let first = try physical(linear, write: false)
        if linear & Page.offset <= Page.size - size {
            guard first < state.memoryCount else { return .max }
            checkPhysical(first, size)
            return unsafe state.memory.loadUnaligned(fromByteOffset: Int(first), as: Width.self)
        }
        let second = try physical((linear | Page.offset) &+ 1, write: false)
        let inFirst = Page.rest(linear)
        var value: UInt32 = 0
        for index in 0..<size {
            let address = index < inFirst ? first &+ index : second &+ index &- inFirst
            var byte = UInt8.max
            if address < state.memoryCount {
                checkPhysical(address, 1)
                byte = unsafe state.memory.load(fromByteOffset: Int(address), as: UInt8.self)
            }
            value |= UInt32(byte) &<< (8 * index)
        }
        return Width(truncatingIfNeeded: value)
    }

    func write<Width: Operand>(_ linear: UInt32, _ value: Width) throws(Fault) {
        if let host = unsafe writable(linear, Width.self) {
            unsafe host.storeBytes(of: value, as: Width.self)
            return
        }
        let size = UInt32(Width.bitWidth / 8)
        if state.debug.isActive { noteAccess(linear, size, DebugRegisters.writes) }
        let first = try physical(linear, write: true)
        if linear & Page.offset <= Page.size - size {
            guard first < state.memoryCount else { return }
            noteWrite(first, size)
            unsafe state.memory.storeBytes(of: value, toByteOffset: Int(first), as: Width.self)
            return
        }
        let second = try physical((linear | Page.offset) &+ 1, write: true)
        let inFirst = Page.rest(linear)
        if first < state.memoryCount { noteWrite(first, inFirst) }
        if second < state.memoryCount { noteWrite(second, size - inFirst) }
        for index in 0..<size {
            let address = index < inFirst ? first &+ index : second &+ index &- inFirst
            guard address < state.memoryCount else { continue }
            checkPhysical(address, 1)
            unsafe state.memory.storeBytes(
                of: UInt8(truncatingIfNeeded: UInt32(truncatingIfNeeded: value) &>> (8 * index)),
                toByteOffset: Int(address), as: UInt8.self)
        }
    }

    /// A breakpoint that an access hits is told behind its instruction, which ends the block.
    @inline(never) private func noteAccess(_ linear: UInt32, _ count: UInt32, _ kinds: UInt64) {
        let found = state.debug.found(UInt64(linear), UInt64(count), kinds)
        guard found != 0 else { return }
        state.debug.pending |= found
        state.codeChanged = true
        nextGeneration()
    }

    /// Faults as a write of `count` bytes (at most a page) would.
    func checkWrite(_ linear: UInt32, _ count: UInt32) throws(Fault) {
        _ = try physical(linear, write: true)
        if linear & Page.offset > Page.size - count {
            _ = try physical((linear | Page.offset) &+ 1, write: true)
        }
    }

    func checkRead(_ linear: UInt32, _ count: UInt32) throws(Fault) {
        _ = try physical(linear, write: false)
        if linear & Page.offset > Page.size - count {
            _ = try physical((linear | Page.offset) &+ 1, write: false)
        }
    }

    /// Guest-physical address, through the table; fills it. Of a guest with ring 0 it may lie outside memory.
    func physical(_ linear: UInt32, write: Bool) throws(Fault) -> UInt32 {
        let entry = unsafe state.tlb + Int(linear &>> Page.shift & Self.slotMask)
        let tag = unsafe write ? entry.pointee.writeTag : entry.pointee.readTag
        if linear &- tag < Page.size {
            return unsafe UInt32(
                truncatingIfNeeded: entry.pointee.addend &+ UInt(linear)
                    &- UInt(bitPattern: state.memory))
        }
        let isUser = state.privilege == 3
        if isSystem { return try systemPhysical(linear, write: write, fetch: false) }
        let (address, canWrite) = try walk(linear, write: write, user: isUser)
        checkPhysical(address, 1)
        let page = linear & Page.number
        unsafe entry.pointee = TLBEntry(
            readTag: page,
            writeTag: canWrite && !state.blocks.isWatched(UInt(address))
                ? page : page ^ Page.size,
            addend: UInt(bitPattern: state.memory) &+ UInt(address & Page.number) &- UInt(page))
        return address
    }

    // MARK: The walk

    /// Walks the tables, sets accessed and dirty bits when the access is allowed.
    /// - Returns: the guest-physical address, and whether a write may follow without a walk.
    func walk(_ linear: UInt32, write: Bool, user: Bool) throws(Fault) -> (UInt32, Bool) {
        let walk = PageWalk(linear, from: state.pageDirectory, state.pageRules) { place in
            place < state.memoryCount ? word(place) : nil
        }
        switch walk.end {
        case .page: break
        case .absent: throw pageFault(linear, 0, write, user)
        case .refusedDirectory, .outside: throw .refusedDirectoryEntry
        case .refusedMiddle: throw .refusedMiddleEntry
        }
        guard walk.permits(write: write, user: user) else {
            throw pageFault(linear, PageError.present, write, user)
        }
        let entry = walk.tableEntry
        guard !walk.isRefused(by: state.pageRules) else { throw .refusedTableEntry }

        set(
            walk.directoryPlace, walk.directoryEntry,
            walk.directoryEntry | PageEntry.accessed)
        let used = entry | PageEntry.accessed | (write ? PageEntry.dirty : 0)
        set(walk.tablePlace, entry, used)
        return (
            entry & PageEntry.address | linear & Page.offset,
            walk.isWritable && used & PageEntry.dirty != 0
        )
    }

    func pageFault(_ linear: UInt32, _ protection: UInt32, _ write: Bool, _ user: Bool)
        -> Fault
    {
        state.faultAddress = linear
        return .exception(
            vector: ExceptionVector.pageFault,
            code: protection | (write ? PageError.write : 0) | (user ? PageError.user : 0))
    }

    func word(_ address: UInt32) -> UInt32 {
        checkPhysical(address, 4)
        return unsafe state.memory.load(fromByteOffset: Int(address), as: UInt32.self)
    }

    func set(_ address: UInt32, _ old: UInt32, _ new: UInt32) {
        guard old != new else { return }
        noteWrite(address, 4)
        unsafe state.memory.storeBytes(of: new, toByteOffset: Int(address), as: UInt32.self)
    }

    // MARK: Forgetting

    /// Empties the TLB.
    func flushTLB() {
        for slot in 0..<Self.tlbCount { clear(slot) }
        if isSystem { nothingIsFilled() }
        nextGeneration()
    }

    /// Forgets one linear page.
    func flushTLB(of linear: UInt32) {
        clear(Int(linear &>> Page.shift & Self.slotMask))
        nextGeneration()
    }

    /// The tag of another slot's pages, which no access in this one has.
    @inline(__always) private static func noTag(_ slot: Int) -> UInt32 {
        UInt32(slot ^ 1) &<< Page.shift
    }

    /// An entry that knows no page.
    @inline(__always) static func empty(_ slot: Int) -> TLBEntry {
        TLBEntry(readTag: noTag(slot), writeTag: noTag(slot), addend: 0)
    }

    /// Empties a slot of both tables.
    @inline(__always) func clear(_ slot: Int) {
        let none = Self.empty(slot)
        unsafe state.userTLB[slot] = none
        unsafe state.supervisorTLB[slot] = none
    }

    /// Makes writes to a physical page come the slow way: code is about to be decoded there.
    func forbidFastWrites(_ page: UInt32) {
        let host = UInt(bitPattern: unsafe state.memory) &+ UInt(page) &<< 12
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
