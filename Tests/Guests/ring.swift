// Property: calls in the asynchronous ring are done in order, before the synchronous call
// that follows, however many of them need the launcher in between: docs/abi/lguest.md §3.3.

import GuestShim

nonisolated(unsafe) var records: (lguest_dma, lguest_dma, lguest_dma, lguest_dma) =
    (lguest_dma(), lguest_dma(), lguest_dma(), lguest_dma())

func slotWord(_ slot: UInt32, _ word: UInt32) -> UInt32 {
    guest_address_of_data() + 84 + slot * 16 + word * 4
}

func status(_ slot: UInt32) -> UInt32 {
    (guest_load(guest_address_of_data() + 20 + (slot & ~3)) >> (8 * (slot & 3))) & 0xFF
}

/// Puts a call into a slot: the record first, the status byte last.
func enqueue(_ slot: UInt32, _ number: Hypercall, _ a1: UInt32, _ a2: UInt32, _ a3: UInt32) {
    guest_store(slotWord(slot, 0), number.rawValue)
    guest_store(slotWord(slot, 1), a1)
    guest_store(slotWord(slot, 2), a2)
    guest_store(slotWord(slot, 3), a3)
    let address = guest_address_of_data() + 20 + (slot & ~3)
    guest_store(address, guest_load(address) & ~(0xFF << (8 * (slot & 3))))
}

func enqueue(_ slot: UInt32, text: StaticString) {
    withUnsafeMutablePointer(to: &records) { pointer in
        let base = UInt32(UInt(bitPattern: pointer)) + (slot & 3) * 100
        guest_store(base, 0)
        guest_store(base + 4, UInt32(text.utf8CodeUnitCount))
        guest_store(base + 36, physical(UnsafeRawPointer(text.utf8Start)))
        enqueue(slot, .sendDMA, 0, physical(base), 0)
    }
}

introduce()
enqueue(0, text: "one ")
enqueue(1, text: "two ")
enqueue(2, text: "three ")
enqueue(3, text: "four ")
line("and the synchronous one")
put("slots: ")
for slot in 0..<5 as Range<UInt32> {
    put(status(slot))
    put(" ")
}
put("\n")
powerOff()
