// The page tables that a guest starts on, as far as its launcher makes them: all of its memory at
// PAGE_OFFSET. From era 1c on it starts at physical addresses and finds its memory there as well; the
// same table pages serve both mappings. The guest soon makes its own and reuses the room.
//
//     two levels:   directory ── tables, one for 4 MiB
//     PAE:          pointers ── directories, one for 1 GiB, after the tables ── tables, one for 2 MiB
//
// Source: docs/abi/lguest.md §2.5.

enum BootPageTables {
    /// Present, writable, for user and kernel.
    private static let flags: UInt32 = 7

    /// How many pages these need, beside the first.
    static func count(memory: UInt32, isWide: Bool) -> UInt32 {
        isWide ? tables(memory) + directories(memory) : pages(memory, of: 22)
    }

    private static func pages(_ memory: UInt32, of shift: UInt32) -> UInt32 {
        (memory + (1 << shift - 1)) >> shift
    }
    private static func tables(_ memory: UInt32) -> UInt32 { pages(memory, of: 21) }
    private static func directories(_ memory: UInt32) -> UInt32 { pages(memory, of: 30) }

    /// Writes page directory and tables where the layout has room for them.
    /// - Precondition: these pages are still zero.
    static func write(_ layout: GuestLayout, _ kernel: LoadedKernel, to memory: GuestMemory) {
        let (first, tables) = (layout.pageDirectory, layout.pageTables)
        let pages = layout.memory / Page.size
        guard kernel.abi.hasWideTables else {
            fill(memory, tables, pages, pointing: 0, size: 4)
            let high = kernel.pageOffset >> 22
            let count = layout.pageTableCount
            fill(memory, first + 4 * high, min(count, 1024 - high), pointing: tables, size: 4)
            if kernel.abi.startsLow {
                fill(memory, first, min(count, high), pointing: tables, size: 4)
            }
            return
        }
        fill(memory, tables, pages, pointing: 0, size: 8)
        let count = Self.tables(layout.memory)
        let directory = tables + count << Page.shift
        fill(memory, directory, count, pointing: tables, size: 8)
        let high = kernel.pageOffset >> 30
        let directories = Self.directories(layout.memory)
        for (start, room) in [(high, 4 - high), (0, high)] {
            fill(
                memory, first + 8 * start, min(directories, room), pointing: directory, size: 8,
                flags: PageEntry.present)
        }
    }

    /// Writes entries that name pages one after the other.
    private static func fill(
        _ memory: GuestMemory, _ place: UInt32, _ count: UInt32, pointing address: UInt32,
        size: UInt32, flags: UInt32 = flags
    ) {
        guard let room = memory.range(place, size * count) else { return }
        let entries = unsafe memory.writable(room)
        for index in 0..<count {
            unsafe entries.storeBytes(
                of: (address + index << Page.shift) | flags, toByteOffset: Int(size * index),
                as: UInt32.self)
        }
    }
}
