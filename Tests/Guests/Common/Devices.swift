// The device page, the clock's interrupt and the console's input: §5.2, §4.4, §5.1.

import GuestShim

// --- mapping a page -------------------------------------------------------------------

/// A page table of our own for 4 MiB of addresses that Linux never uses here.
let windowAddress: UInt32 = 0xF000_0000
nonisolated(unsafe) private var windowTables: (Page, Page) = (Page(), Page())

struct Page {
    var words: (Line, Line, Line, Line, Line, Line, Line, Line) = (
        Line(), Line(), Line(), Line(), Line(), Line(), Line(), Line()
    )
    struct Line {
        var words: (Row, Row, Row, Row, Row, Row, Row, Row) = (
            Row(), Row(), Row(), Row(), Row(), Row(), Row(), Row()
        )
    }
    struct Row {
        var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
            (0, 0, 0, 0, 0, 0, 0, 0)
    }
}

/// Guest-physical address of the page directory that the launcher built: §2.1.
func bootPageDirectory() -> UInt32 {
    let initrd = (guest_load(pageOffset + 0x21c) + 4095) & ~4095
    return memorySize() - initrd - 4096
}

/// The page table of the window, 4096-aligned inside two pages of ours.
func windowTable() -> UInt32 {
    withUnsafeMutablePointer(to: &windowTables) { pointer in
        (UInt32(UInt(bitPattern: pointer)) + 4095) & ~4095
    }
}

/// Maps the guest-physical page at the start of the window + `slot` pages.
/// - Returns: its address. `flags`: 1 present, 2 writable, 4 user.
@discardableResult
func map(_ page: UInt32, slot: UInt32, flags: UInt32 = 7) -> UInt32 {
    let directory = bootPageDirectory()
    let address = windowAddress + slot * 4096
    guest_store(pageOffset + directory + (windowAddress >> 22) * 4, physical(windowTable()) | 7)
    call(.setPMD, directory, windowAddress >> 22)
    guest_store(windowTable() + slot * 4, (page & ~4095) | flags)
    call(.setPTE, directory, address, (page & ~4095) | flags)
    return address
}

// --- clock ----------------------------------------------------------------------------

nonisolated(unsafe) var ticks: UInt32 = 0
nonisolated(unsafe) var tickPeriod: UInt32 = 0

/// Counts interrupts of the clock and, with a period, asks for the next.
func countTick() {
    ticks &+= 1
    if tickPeriod != 0 { call(.setClockEvent, tickPeriod) }
}

/// The clock's vector is 0x20. The interrupt gate closes interrupts until the stub's iret.
func startClock(period nanoseconds: UInt32) {
    tickPeriod = nanoseconds
    call(.setClockEvent, nanoseconds)
}

func stopClock() {
    tickPeriod = 0
    call(.setClockEvent, 0)
}

// --- console input ---------------------------------------------------------------------

nonisolated(unsafe) private var inputRecord = lguest_dma()
nonisolated(unsafe) private var inputBytes: Page.Line = Page.Line()

/// Binds a buffer of 256 bytes to the console's key with its interrupt.
func bindInput(interrupt: UInt32) {
    withUnsafeMutablePointer(to: &inputRecord) { record in
        withUnsafeMutablePointer(to: &inputBytes) { bytes in
            record.pointee.used_len = 0
            record.pointee.len.0 = 256
            record.pointee.addr.0 = physical(bytes)
            call(.bindDMA, 0, physical(record), (1 << 8) | interrupt)
        }
    }
}

private func inputField(_ offset: UInt32) -> UInt32 {
    withUnsafeMutablePointer(to: &inputRecord) { UInt32(UInt(bitPattern: $0)) + offset }
}

/// How many bytes have come: 0 if none yet.
func inputCount() -> UInt32 { guest_load(inputField(0)) }

func inputByte(_ index: UInt32) -> UInt8 {
    withUnsafeMutablePointer(to: &inputBytes) { bytes in
        UInt8(truncatingIfNeeded: guest_load(UInt32(UInt(bitPattern: bytes)) + index))
    }
}

/// Gives the buffer back to be filled again.
func releaseInput() { guest_store(inputField(0), 0) }

/// The console's bytes as they are, to send them back.
func sendInput() {
    withUnsafeMutablePointer(to: &inputBytes) { bytes in send(bytes, inputCount()) }
}
