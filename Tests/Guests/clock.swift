// Property: the time-stamp counter, the wall clock in the shared page and the clock's
// interrupts tell the same time.

import GuestShim

introduce()
onTrap = { _ in countTick() }
setGate(0x20, .interrupt)
unmask(0)
startClock(period: 1_000_000)
call(.halt)
let wall = hostTime()
let stamp = now()
for _ in 0..<50 {
    startClock(period: 10_000_000)
    call(.halt)
}
let wallElapsed = (hostTime() - wall) / 1_000_000
let stampElapsed = (now() - stamp) / 1_000_000
put("wall clock ")
put(wallElapsed)
put(" ms, time stamps ")
put(stampElapsed)
line(" ms")
put("they differ by ")
put(wallElapsed > stampElapsed ? wallElapsed - stampElapsed : stampElapsed - wallElapsed)
line(" ms")
powerOff()
