// Property: a guest that spins without a hypercall still gets its clock's interrupts.

import GuestShim

introduce()
onTrap = { _ in countTick() }
setGate(0x20, .interrupt)
unmask(0)
startClock(period: 5_000_000)
enableInterrupts()
let start = now()
while guest_load(tickAddress()) < 20 {}
let elapsed = (now() - start) / 1_000_000
put("20 interrupts of 5 ms while spinning in ")
put(elapsed)
line(" ms")
powerOff()

func tickAddress() -> UInt32 {
    withUnsafeMutablePointer(to: &ticks) { UInt32(UInt(bitPattern: $0)) }
}
