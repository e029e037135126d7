// Property: the time-stamp counter, the wall clock in the shared page and the clock's
// interrupts tell the same time.

import GuestShim

introduce()
onTrap = { _ in countTick() }
setGate(0x20, .interrupt)
unmask(0)

/// How far the wall clock is ahead of the stamps, in nanoseconds: the most that ten looks show, as whoever
/// is kept waiting between the two sees less.
func lead() -> UInt64 {
    var most: UInt64 = 0
    for look in 0..<10 {
        startClock(period: 1_000_000)
        call(.halt)
        let seen = hostTime() &- now()
        if look == 0 || Int64(bitPattern: seen &- most) > 0 { most = seen }
    }
    return most
}

let before = lead()
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
let drift = Int64(bitPattern: lead() &- before)
put("they differ by ")
put(drift.magnitude / 1_000_000)
line(" ms")
powerOff()
