// Property: page faults arrive with the exact error code and address, page-table calls take
// effect at once, accessed and dirty bits come back.

import GuestShim

nonisolated(unsafe) var expectedPage: UInt32 = 0
nonisolated(unsafe) var faults: UInt32 = 0

/// Reports the fault and maps the page readable and writable.
func mend(_ frame: UnsafeMutablePointer<trap_frame>) {
    put("fault: vector ")
    put(frame.pointee.vector)
    put(", error ")
    put(frame.pointee.error)
    put(", address ")
    put(hex: shared(.faultAddress))
    put("\n")
    faults += 1
    if faults > 4 { crash("too many faults") }
    map(expectedPage, slot: (shared(.faultAddress) - windowAddress) >> 12, flags: 3)
}

func entry(_ slot: UInt32) -> UInt32 { guest_load(windowTable() + slot * 4) & 0x67 }

func putEntry(_ slot: UInt32) {
    put("entry ")
    put(hex: entry(slot))
    put("\n")
}

introduce()
onTrap = { mend($0) }
setGate(14, .interrupt)

// A page of ours that nothing else uses.
expectedPage = physical(guest_end_address() + 0x10000) & ~4095
guest_store(pageOffset + expectedPage, 0x1234_5678)

map(expectedPage, slot: 0, flags: 0)
put("absent, read: ")
put(hex: guest_load(windowAddress))
put("\n")
putEntry(0)
guest_store(windowAddress, 0x8765_4321)
putEntry(0)
map(expectedPage, slot: 1, flags: 1)
line("read-only, write:")
guest_store(windowAddress + 4096 + 4, 99)
put("written: ")
put(hex: guest_load(pageOffset + expectedPage + 4))
put("\n")
map(expectedPage, slot: 2, flags: 3)
map(expectedPage, slot: 3, flags: 0)
line("across two pages, the second absent:")
guest_store(windowAddress + 3 * 4096 - 2, 0xAABB_CCDD)
put("written: ")
put(hex: guest_load(windowAddress + 3 * 4096 - 2))
put("\n")
powerOff()
