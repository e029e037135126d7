// Property: a guest that asks for it is started again, from the same files and with the same
// input. Says "again" and waits for a byte: `o` powers off, any other resets.

import GuestShim

introduce()
onTrap = { _ in }
setGate(0x21, .interrupt)
bindInput(interrupt: 1)
unmask(1)
line("again")
while true {
    call(.halt)
    disableInterrupts()
    let count = inputCount()
    if count == 0 { continue }
    if inputByte(0) == UInt8(ascii: "o") { powerOff() }
    guest_reset()
}
