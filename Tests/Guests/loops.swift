// Measures the processor: three loops of known length, each about a quarter of a second or
// more. Prints million instructions a second by the guest's own clock.

import GuestShim

func measure(
    _ name: StaticString, _ perRound: UInt64, _ loop: (UInt32) -> UInt32
) {
    var rounds: UInt32 = 100_000
    while true {
        let start = now()
        _ = loop(rounds)
        let elapsed = now() - start
        if elapsed > 500_000_000 || rounds > 400_000_000 {
            put(name)
            put(" ")
            put(UInt64(rounds) * perRound * 1000 / (elapsed + 1))
            line(" million instructions a second")
            return
        }
        rounds *= 2
    }
}

introduce()
measure("integer", 10, guest_loop_integer)
measure("memory", 10, guest_loop_memory)
measure("calls", 16, guest_loop_calls)
powerOff()
