// Property: a halted guest sleeps until its clock's interrupt and costs nothing meanwhile.
// With the word `forever` it sleeps without a clock.

introduce()
onTrap = { _ in countTick() }
setGate(0x20, .interrupt)
unmask(0)
if commandLine(has: "forever") {
    line("asleep")
    while true { call(.halt) }
}
let start = now()
for _ in 0..<4 {
    startClock(period: 250_000_000)
    call(.halt)
}
put("slept 4 times 250 ms in ")
put((now() - start) / 1_000_000)
line(" ms")
powerOff()
