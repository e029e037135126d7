// Memory as these guests use it: 8 MiB, with the kernel from 1 MiB on; and the pages of devices behind it, which a window
// of our own maps.

import EraShim
import GuestShim

enum Place {
    /// The window's page table, and the pages of queues and buffers.
    static let table: UInt32 = 0x40_0000
    static let queues: UInt32 = 0x41_0000
    static let buffers: UInt32 = 0x50_0000
    static let window: UInt32 = 0xF000_0000
}

let pageSize: UInt32 = 4096

/// Guest-physical address of the top page directory: ours, or the one that stands at the end of memory.
var directory: UInt32 {
    era_row.directory != 0 ? era_row.directory : memorySize() - pageSize
}

func setEntry(_ table: UInt32, _ index: UInt32, _ entry: UInt32) {
    let place = pageOffset + table + index * era_row.entry_size
    if hasPAE { guest_store(place + 4, 0) }
    guest_store(place, entry)
}

/// Maps a page at the start of the window + `slot` pages. `flags`: 1 present, 2 writable, 8 written through.
/// - Returns: its address.
@discardableResult
func map(_ page: UInt32, slot: UInt32, flags: UInt32 = 7) -> UInt32 {
    setEntry(Place.table, slot, page & ~0xFFF | flags)
    call(.flushTLB, 1)
    return Place.window + slot * pageSize
}

/// Opens the window: 2 MiB of addresses that nobody else has.
func openWindow() {
    if hasPAE {
        let middle = guest_load(pageOffset + directory + 8 * (Place.window >> 30)) & ~0xFFF
        let index = Place.window >> 21 & 0x1FF
        setEntry(middle, index, Place.table | 7)
        call(.setMiddle, middle, index)
    } else {
        setEntry(directory, Place.window >> 22, Place.table | 7)
        call(.setDirectory, directory, Place.window >> 22)
    }
}

/// The address at which the pages behind memory are mapped from now on.
func mapDevices() -> UInt32 {
    for slot in 0..<256 as Range<UInt32> {
        setEntry(Place.table, slot, memorySize() + slot * pageSize | 7)
    }
    call(.flushTLB, 1)
    return Place.window
}

// --- bytes ----------------------------------------------------------------------------------

func byte(_ address: UInt32) -> UInt8 {
    UnsafePointer<UInt8>(bitPattern: UInt(address))!.pointee
}
func putByte(_ address: UInt32, _ value: UInt8) {
    UnsafeMutablePointer<UInt8>(bitPattern: UInt(address))!.pointee = value
}
func half(_ address: UInt32) -> UInt32 {
    guest_load(address & ~3) >> (8 * (address & 2)) & 0xFFFF
}
func putHalf(_ address: UInt32, _ value: UInt32) {
    UnsafeMutablePointer<UInt16>(bitPattern: UInt(address))!.pointee =
        UInt16(truncatingIfNeeded: value)
}
func clear(_ address: UInt32, _ count: UInt32) {
    for offset in 0..<count { putByte(address + offset, 0) }
}
