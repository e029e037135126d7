// The page tables that a guest of eras 0 to 1c starts on: two levels, all of its memory at
// PAGE_OFFSET. Era 1c starts at physical addresses and finds its memory there as well; the
// same table pages serve both mappings. The guest soon makes its own and reuses the room.
// Source: docs/abi/lguest.md §2.5.

enum BootPageTables {
    /// Present, writable, for user and kernel.
    private static let flags: UInt32 = 7

    /// Writes page directory and tables where the layout has room for them.
    /// - Precondition: these pages are still zero.
    static func write(_ layout: GuestLayout, _ kernel: LoadedKernel, to memory: GuestMemory) {
        let pages = layout.memory / GuestLayout.pageSize
        guard let room = memory.range(layout.pageTables, 4 * pages) else { return }
        let tables = unsafe memory.writable(room)
        for page in 0..<pages {
            unsafe tables.storeBytes(
                of: page << 12 | flags, toByteOffset: 4 * Int(page), as: UInt32.self)
        }
        let high = kernel.pageOffset >> 22
        for table in 0..<layout.pageTableCount {
            let entry = (layout.pageTables + table << 12) | flags
            if high + table < 1024 {
                memory.store32(layout.pageDirectory + 4 * (high + table), entry)
            }
            if kernel.abi.startsLow && table < high {
                memory.store32(layout.pageDirectory + 4 * table, entry)
            }
        }
    }
}
