// Page tables in guest memory, as an i386 has them: a directory of 1024 entries, each of which
// names a table of 1024 entries, each of which names a page of 4 KiB. With PAE entries have 64 bits, a page of
// tables has 512, and four pointers name a directory each. This is the one walk over the tables of a guest without
// ring 0: the software processor fills its TLB by it, and a host asks it what a guest's address comes to. It reads
// entries and changes none; what else an entry must not be is a rule that the tables' user hands in.
//
//     (pointer ── absent, refused ──) directory entry ── absent, refused ── table entry ── absent,
//     (denied, refused: asked afterwards) ── page
//
// Source: Intel SDM volume 3, chapters 4.3 and 4.4 (CR0.WP = 1, no PSE, no PGE, no NX).

/// Bits of page directory and page table entries.
enum PageEntry {
    static let present: UInt32 = 1 << 0
    static let writable: UInt32 = 1 << 1
    static let user: UInt32 = 1 << 2
    static let writeThrough: UInt32 = 1 << 3
    static let accessed: UInt32 = 1 << 5
    static let dirty: UInt32 = 1 << 6
    /// Of a table entry: the page attribute; of a directory entry: a page of 4 MiB.
    static let large: UInt32 = 1 << 7
    /// Everything that is not the address.
    static let flags: UInt32 = Page.offset
    static let address: UInt32 = Page.number
}

/// Bits of an error code of vector 14.
enum PageError {
    static let present: UInt32 = 1
    static let write: UInt32 = 2
    static let user: UInt32 = 4
    static let reserved: UInt32 = 8
    static let fetch: UInt32 = 16
}

/// What an entry that is present may not be, whatever the processor's manual says.
struct PageRules: Equatable {
    /// Pages from this one on are not there.
    var limit: UInt32
    /// Flags that a directory entry and a table entry may not have.
    var refusedInDirectory: UInt32 = 0
    var refusedInTable: UInt32 = 0
    /// Linear addresses from here on lead nowhere, whatever the tables say; 0 for none.
    var reservedTop: UInt32 = 0
    /// Tables are those of PAE.
    var isWide = false

    @inline(__always) func refusesInDirectory(_ entry: UInt32) -> Bool {
        entry & refusedInDirectory != 0 || entry &>> Page.shift >= limit
    }
    @inline(__always) func refusesInTable(_ entry: UInt32) -> Bool {
        entry & refusedInTable != 0 || entry &>> Page.shift >= limit
    }
}

/// A walk from a page directory to the entry of one linear address.
struct PageWalk {
    enum End: UInt8 {
        /// A table entry that is present. Whether it permits an access and is accepted is to be asked, in this order.
        case page
        /// An entry that is not present.
        case absent
        /// An entry of the first table that the rules refuse: a directory's, or, with PAE, a pointer to one.
        case refusedDirectory
        /// With PAE, a directory entry.
        case refusedMiddle
        /// A directory or a table outside memory.
        case outside
    }
    let end: End
    /// Guest-physical places of the entries, and what they hold. The table's are 0 if the walk ended before it.
    let directoryPlace: UInt32
    let directoryEntry: UInt32
    let tablePlace: UInt32
    let tableEntry: UInt32
    /// The half of a wide table entry that no page of 32 bits needs.
    let tableHigh: UInt32

    /// How many entries the first table has.
    static func firstCount(_ rules: PageRules) -> UInt32 { rules.isWide ? 4 : 1024 }

    /// Where the directory entry for a linear address is, or, with PAE, the pointer to the directory.
    @inline(__always) static func firstPlace(
        _ linear: UInt32, from directory: UInt32, _ rules: PageRules
    ) -> UInt32 {
        rules.isWide
            ? directory & ~31 | (linear &>> 27 & 0x18)
            : directory & PageEntry.address | (linear &>> 20 & 0xFFC)
    }

    /// - Parameters:
    ///   - directory: guest-physical address of the directory; its low bits do not count.
    ///   - word: the aligned word at a guest-physical address, nil outside memory.
    @inline(__always) init(
        _ linear: UInt32, from directory: UInt32, _ rules: PageRules, _ word: (UInt32) -> UInt32?
    ) {
        var directoryPlace = Self.firstPlace(linear, from: directory, rules)
        var high: UInt32 = 0
        if rules.isWide {
            guard let pointer = word(directoryPlace), let above = word(directoryPlace &+ 4) else {
                self.init(.outside, directoryPlace, 0)
                return
            }
            guard pointer & PageEntry.present != 0 else {
                self.init(.absent, directoryPlace, pointer)
                return
            }
            guard above == 0, pointer & PageEntry.flags == PageEntry.present,
                pointer &>> Page.shift < rules.limit
            else {
                self.init(.refusedDirectory, directoryPlace, 0)
                return
            }
            directoryPlace = pointer & PageEntry.address | (linear &>> 18 & 0xFF8)
            high = word(directoryPlace &+ 4) ?? 0
        }
        guard let directoryEntry = word(directoryPlace) else {
            self.init(.outside, directoryPlace, 0)
            return
        }
        guard directoryEntry & PageEntry.present != 0,
            rules.reservedTop == 0 || linear < rules.reservedTop
        else {
            self.init(.absent, directoryPlace, directoryEntry)
            return
        }
        guard high == 0, !rules.refusesInDirectory(directoryEntry) else {
            self.init(
                rules.isWide ? .refusedMiddle : .refusedDirectory, directoryPlace, directoryEntry)
            return
        }
        let tablePlace =
            directoryEntry & PageEntry.address
            | (rules.isWide ? linear &>> 9 & 0xFF8 : linear &>> 10 & 0xFFC)
        guard let tableEntry = word(tablePlace) else {
            self.init(.outside, directoryPlace, directoryEntry, tablePlace)
            return
        }
        self.init(
            tableEntry & PageEntry.present == 0 ? .absent : .page, directoryPlace, directoryEntry,
            tablePlace, tableEntry, rules.isWide ? word(tablePlace &+ 4) ?? 0 : 0)
    }

    @inline(__always) private init(
        _ end: End, _ directoryPlace: UInt32, _ directoryEntry: UInt32, _ tablePlace: UInt32 = 0,
        _ tableEntry: UInt32 = 0, _ tableHigh: UInt32 = 0
    ) {
        self.end = end
        self.directoryPlace = directoryPlace
        self.directoryEntry = directoryEntry
        self.tablePlace = tablePlace
        self.tableEntry = tableEntry
        self.tableHigh = tableHigh
    }

    /// Whether the directory has a table for the address.
    var hasTable: Bool { directoryEntry & PageEntry.present != 0 }

    /// Whether the page is none that the rules accept.
    @inline(__always) func isRefused(by rules: PageRules) -> Bool {
        tableHigh != 0 || rules.refusesInTable(tableEntry)
    }

    /// Whether both entries allow writes.
    @inline(__always) var isWritable: Bool {
        directoryEntry & tableEntry & PageEntry.writable != 0
    }

    /// Whether both entries allow an access.
    @inline(__always) func permits(write: Bool, user: Bool) -> Bool {
        let needed = (write ? PageEntry.writable : 0) | (user ? PageEntry.user : 0)
        return directoryEntry & tableEntry & needed == needed
    }
}
