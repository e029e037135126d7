// Property: a trap gate leaves interrupts as they were, an interrupt gate closes them, and
// both come back with them as before: docs/abi/lguest.md §4.3, §4.4.

import GuestShim

func note(_ frame: UnsafeMutablePointer<trap_frame>) {
    put("  in the handler interrupts are ")
    put(shared(.irqEnabled) & 0x200 == 0 ? "closed" : "open")
    put(", the frame says ")
    line(frame.pointee.eflags & 0x200 == 0 ? "closed" : "open")
    frame.pointee.eip += 2  // past the ud2
}

func trial(_ name: StaticString, _ kind: GateKind, open: Bool) {
    setGate(6, kind)
    line(name)
    if open { enableInterrupts() } else { disableInterrupts() }
    guest_undefined()
    put("  afterwards ")
    line(shared(.irqEnabled) & 0x200 == 0 ? "closed" : "open")
}

introduce()
onTrap = { note($0) }
trial("interrupt gate, open before", .interrupt, open: true)
trial("interrupt gate, closed before", .interrupt, open: false)
trial("trap gate, open before", .trap, open: true)
powerOff()
