// The guest's physical memory: one private anonymous mapping of ours, guest-physical 0 at its
// start, between guard pages; so is what lies between its two parts, if there are two. Every address and length that comes from outside
// becomes a `GuestRange` here, once, and is then used without further doubt. A processor that keeps
// decoded code watches the bytes that it was made of: every write by others (loaders, devices, the host)
// goes through `writable`, which tells the observer before.

/// A range of bytes that lies wholly inside guest memory. Only `GuestMemory` makes one.
struct GuestRange: Equatable {
    /// Guest-physical address of the first byte.
    let place: UInt
    /// The same, of a range below 4 GiB: all are that of guests that speak lguest.
    var start: UInt32 { UInt32(truncatingIfNeeded: place) }
    /// Length in bytes; 0 is allowed anywhere up to the end of memory.
    let count: UInt32
    fileprivate init(place: UInt, count: UInt32) {
        self.place = place
        self.count = count
    }

    /// The first bytes of it, at most so many.
    func prefix(_ count: UInt32) -> GuestRange {
        GuestRange(place: place, count: min(count, self.count))
    }

    /// All but the first bytes of it.
    func dropping(_ count: UInt32) -> GuestRange {
        let gone = min(count, self.count)
        return GuestRange(place: place + UInt(gone), count: self.count - gone)
    }
}

/// A page of guest memory that is also a page of a file, which other guests have, too.
struct SharedPage: Equatable {
    /// Each has a slot there: an aligned word to send to, and a byte of the file that is locked.
    static let slots = 682

    /// Guest-physical address.
    let start: UInt32
    let file: FileIdentity
    /// Open for reading and writing as long as the guest lives.
    let descriptor: Int32
    /// The slot whose byte this process has locked.
    let slot: UInt32
}

/// Guest-physical memory, zero when made, taken from the machine when touched.
@safe final class GuestMemory {
    private let mapping: Mapping
    /// Which 64-byte lines of each page the observer watches: a word a page.
    private let lines: Mapping
    /// The observer: called with an address and a count before bytes of a page change of which some line is
    /// watched; they do not go past the page's end. It knows of its own writes.
    var watchedWillChange: ((UInt, UInt32) -> Void)?
    let extent: MemoryExtent
    /// Bytes from address 0 on, a multiple of 4096.
    var count: UInt32 { extent.low }
    /// The first byte that a range can have: 1 for memory at our address 0, of which no pointer
    /// can be told from nil. (A guest's first byte is of boot parameters that are not used.)
    private let first: UInt32

    /// Where guest-physical 0 is in our address space.
    enum Place { case anywhere, zero }

    /// - Parameter count: bytes, a multiple of 4096; at address 0 more than 64 KiB.
    /// - Throws: ENOMEM where the machine has no room for it; see `Mapping.lowest`.
    convenience init(count: UInt32, at place: Place = .anywhere) throws(Errno) {
        try self.init(MemoryExtent(low: count), at: place)
    }

    /// The same for memory that may have a second part; not at address 0.
    init(_ extent: MemoryExtent, at place: Place = .anywhere) throws(Errno) {
        let count = extent.low
        precondition(count & Page.offset == 0 && count > 0)
        precondition(extent.high & UInt64(Page.offset) == 0)
        switch place {
        case .anywhere where extent.high > 0:
            guard let end = Int(exactly: extent.end) else { throw .noMemory }
            mapping = try Mapping.guarded(
                count: end, hole: Int(count)..<Int(MemoryExtent.highStart))
        case .anywhere: mapping = try Mapping.guarded(count: Int(count))
        case .zero: mapping = try Mapping.lowest(count: Int(count))
        }
        first = place == .zero ? 1 : 0
        lines = try Mapping.guarded(count: Int(extent.end >> UInt64(Page.shift)) * 8)
        self.extent = extent
    }

    /// Where guest-physical 0 is in our address space; not for memory at address 0.
    var base: UnsafeMutableRawPointer { unsafe mapping.start }

    /// The same as a number, which may be 0.
    var address: UInt { UInt(bitPattern: unsafe mapping.start) }

    /// Adds numbers and not pointers: compilers assume that nothing lies beyond a null pointer.
    private func pointer(_ offset: UInt) -> UnsafeMutableRawPointer? {
        unsafe UnsafeMutableRawPointer(bitPattern: address &+ offset)
    }

    /// The map of watched lines, which the observer keeps: bit n of a page's word is its n-th line.
    var watchedLines: UnsafeMutablePointer<UInt64> {
        unsafe lines.start.assumingMemoryBound(to: UInt64.self)
    }

    /// The range, if all of it is guest memory below 4 GiB.
    func range(_ start: UInt32, _ count: UInt32) -> GuestRange? {
        guard start >= first && start <= self.count && count <= self.count - start else {
            return nil
        }
        return GuestRange(place: UInt(start), count: count)
    }

    /// The range, if all of it is guest memory, wherever.
    func range(far start: UInt64, _ count: UInt32) -> GuestRange? {
        guard start >= UInt64(first), extent.contains(start, UInt64(count)),
            let place = UInt(exactly: start)
        else { return nil }
        return GuestRange(place: place, count: count)
    }

    /// The bytes of a range, to read.
    func readable(_ range: GuestRange) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: pointer(range.place), count: Int(range.count))
    }

    /// The bytes of a range, to write now.
    func writable(_ range: GuestRange) -> UnsafeMutableRawBufferPointer {
        willWrite(range)
        return unsafe UnsafeMutableRawBufferPointer(
            start: pointer(range.place), count: Int(range.count))
    }

    /// The 32-bit word at an address, little-endian, unaligned allowed; nil outside memory.
    func load32(_ address: UInt32) -> UInt32? {
        guard range(address, 4) != nil, let word = unsafe pointer(UInt(address)) else { return nil }
        return unsafe word.loadUnaligned(as: UInt32.self)
    }

    /// Stores a 32-bit word.
    /// - Returns: false outside memory, with nothing stored.
    @discardableResult
    func store32(_ address: UInt32, _ value: UInt32) -> Bool {
        guard let range = range(address, 4) else { return false }
        unsafe writable(range).storeBytes(of: value, as: UInt32.self)
        return true
    }

    /// Pages that lie in files, as those of an initrd.
    private var files: [GuestRange] = []

    /// Maps pages of a file over guest pages, private and writable, without copying.
    /// - Parameters: byte offsets and count, multiples of 4096.
    func map(
        _ range: GuestRange, file descriptor: Int32, fileOffset: Int
    ) throws(Errno) {
        willWrite(range)
        try mapping.overlay(
            at: Int(range.place), count: Int(range.count), file: descriptor,
            fileOffset: fileOffset)
        files.append(range)
    }

    /// Touches the pages that lie in files, after a call that found no access to some page.
    /// - Returns: true if a file was cut short; see `FileFaults`.
    func touchFiles() -> Bool {
        var isChanged = false
        for range in files where FileFaults.touch(address &+ range.place, Int(range.count)) {
            isChanged = true
        }
        return isChanged
    }

    /// A process that is forked from now on has none of it: the pages would be copied as the guest writes to them, and its
    /// page tables at once.
    func excludeFromFork() throws(Errno) { try mapping.excludeFromFork() }

    /// Pages that other guests have, too.
    private(set) var sharedPages: [SharedPage] = []

    /// Maps the first page of a file over a guest page, for all who have it.
    /// - Parameters:
    ///   - range: a page.
    ///   - descriptor: open for reading and writing as long as this memory is used.
    ///   - slot: the one that is this guest's.
    ///   - identity: the file's, where it is known already.
    func share(
        _ range: GuestRange, file descriptor: Int32, slot: UInt32, identity: FileIdentity? = nil
    ) throws(Errno) {
        let known = identity
        let identity: FileIdentity
        if let known { identity = known } else { identity = try FileStatus.of(descriptor).identity }
        willWrite(range)
        try mapping.overlay(
            at: Int(range.place), count: Int(range.count), file: descriptor, fileOffset: 0,
            shared: true)
        sharedPages.append(
            SharedPage(start: range.start, file: identity, descriptor: descriptor, slot: slot))
    }

    /// The shared page that an address is in.
    func sharedPage(of address: UInt32) -> SharedPage? {
        sharedPages.first { $0.start == address & Page.number }
    }

    /// Tells the observer that these bytes are about to change.
    func willWrite(_ range: GuestRange) {
        guard let watchedWillChange, range.count > 0 else { return }
        let shift = UInt(Page.shift)
        let last = range.place + UInt(range.count - 1)
        for page in range.place >> shift...last >> shift
        where unsafe watchedLines[Int(page)] != 0 {
            let first = max(range.place, page << shift)
            let end = min(last, page << shift | UInt(Page.offset))
            watchedWillChange(first, UInt32(truncatingIfNeeded: end - first) + 1)
        }
    }
}
