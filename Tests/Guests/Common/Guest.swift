// What every guest of ours stands on: hypercalls by name, console output, traps, the
// clock, input. A kernel in miniature for lguest era 1 (docs/abi/lguest.md §3, §4, §5.1).
// Nothing here allocates: text is `StaticString`, numbers are printed digit by digit.

import GuestShim

/// Hypercall numbers: §3.2.
enum Hypercall: UInt32 {
    case flushAsync = 0
    case initialize = 1
    case crash = 2
    case loadGDT = 3
    case newPageTable = 4
    case flushTLB = 5
    case loadIDTEntry = 6
    case setStack = 7
    case taskSwitched = 8
    case setClockEvent = 9
    case halt = 10
    case bindDMA = 12
    case sendDMA = 13
    case setPTE = 14
    case setPMD = 15
    case loadTLS = 16
}

@discardableResult
func call(_ number: Hypercall, _ a1: UInt32 = 0, _ a2: UInt32 = 0, _ a3: UInt32 = 0) -> UInt32 {
    guest_hypercall(number.rawValue, a1, a2, a3)
}

// --- output ---------------------------------------------------------------------------

nonisolated(unsafe) private var outputRecord = lguest_dma()

/// Sends bytes to the console; comes back when they are out.
func send(_ start: UnsafeRawPointer, _ count: UInt32) {
    outputRecord.used_len = 0
    outputRecord.len.0 = UInt16(count)
    outputRecord.len.1 = 0
    outputRecord.addr.0 = physical(start)
    withUnsafePointer(to: &outputRecord) { record in
        _ = call(.sendDMA, 0, physical(record))
    }
}

// --- life and death -------------------------------------------------------------------

/// Tells the host where the shared page is. No other call is allowed before.
func introduce() {
    call(.initialize, physical(guest_address_of_data()))
}

func crash(_ reason: StaticString) -> Never {
    call(.crash, physical(UnsafeRawPointer(reason.utf8Start)))
    while true { call(.halt) }
}

func powerOff() -> Never { crash("Power down") }

// --- traps, interrupts, time ----------------------------------------------------------

/// Called for every trap and interrupt; a guest sets it to what it wants to see.
nonisolated(unsafe) var onTrap: @convention(thin) (UnsafeMutablePointer<trap_frame>) -> Void = {
    unexpected($0)
}

func unexpected(_ frame: UnsafeMutablePointer<trap_frame>) {
    put("unexpected trap ")
    put(frame.pointee.vector)
    put(" at ")
    put(hex: frame.pointee.eip)
    put("\n")
    crash("unexpected trap")
}

@c(guest_trap)
public func guestTrap(_ frame: UnsafeMutablePointer<trap_frame>) { onTrap(frame) }

enum GateKind: UInt32 {
    case interrupt = 0x8E00
    case trap = 0x8F00
    case userTrap = 0xEF00
}

/// Installs our stub for a vector: §4.3.
func setGate(_ vector: UInt32, _ kind: GateKind) {
    let address = guest_trap_stub(vector)
    call(
        .loadIDTEntry, vector, (0x60 << 16) | (address & 0xFFFF),
        (address & 0xFFFF_0000) | kind.rawValue)
}

/// A word of the page that guest and host share, by its offset: §3.4.
enum Shared: UInt32 {
    case irqEnabled = 0
    case blockedInterrupts = 4
    case faultAddress = 8
    case seconds = 12
    case nanoseconds = 16
    case reserveMemory = 1108
    case tscKHz = 1112
}

func shared(_ word: Shared) -> UInt32 { guest_load(guest_address_of_data() + word.rawValue) }
func setShared(_ word: Shared, _ value: UInt32) {
    guest_store(guest_address_of_data() + word.rawValue, value)
}

func enableInterrupts() { setShared(.irqEnabled, 0x200) }
func disableInterrupts() { setShared(.irqEnabled, 0) }
func unmask(_ interrupt: UInt32) {
    setShared(.blockedInterrupts, shared(.blockedInterrupts) & ~(1 << interrupt))
}

/// The host's wall clock, as it stood at the last interrupt, in nanoseconds since 1970.
func hostTime() -> UInt64 {
    while true {
        let seconds = shared(.seconds)
        let nanoseconds = shared(.nanoseconds)
        if seconds == shared(.seconds) {
            return UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds)
        }
    }
}

/// The time-stamp counter in nanoseconds; the host tells its rate. A host that does not trust
/// its counter tells 0: then the time of its last interrupt has to do.
func now() -> UInt64 {
    let khz = UInt64(shared(.tscKHz))
    if khz == 0 { return hostTime() }
    return khz == 1_000_000 ? guest_time_stamp() : guest_time_stamp() / khz * 1_000_000
}
