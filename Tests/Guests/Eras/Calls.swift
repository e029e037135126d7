// Hypercalls, traps and interrupts of a guest of eras 2 to 5: docs/abi/lguest.md §3, §4. What differs between the eras is in
// `era_row` (start.S).

import EraShim
import GuestShim

/// Hypercall numbers: §3.2.
enum Hypercall: UInt32 {
    case flushAsync = 0
    case crash = 2
    case loadGDT = 3
    case flushTLB = 5
    case loadIDTEntry = 6
    case setClockEvent = 9
    case halt = 10
    /// With PAE a page of the middle level; the directory then has the next number but one.
    case setMiddle = 13
    case setDirectory = 15
    case notify = 17
    case loadGDTEntry = 18
    case sendInterrupts = 19
}

@discardableResult
func call(
    _ number: Hypercall, _ a1: UInt32 = 0, _ a2: UInt32 = 0, _ a3: UInt32 = 0, _ a4: UInt32 = 0
) -> UInt32 {
    era_hypercall(number.rawValue, a1, a2, a3, a4)
}

var hasPAE: Bool { era_row.entry_size == 8 }
var isLinear: Bool { era_row.directory != 0 }
/// From 2.6.31 on the host says when an interrupt waits, and has a call that lets it come.
var hasPending: Bool { era_row.pending != 0 }

// --- the shared page ------------------------------------------------------------------------

func shared(_ offset: UInt32) -> UInt32 { guest_load(guest_address_of_data() + offset) }
func setShared(_ offset: UInt32, _ value: UInt32) {
    guest_store(guest_address_of_data() + offset, value)
}

func openInterrupts() { setShared(0, 0x200) }
func closeInterrupts() { setShared(0, 0) }
func unmask(_ line: UInt32) { setShared(4, shared(4) & ~(1 << line)) }

// --- traps ----------------------------------------------------------------------------------

/// The last trap, and how many there were.
nonisolated(unsafe) var trap: UInt32 = 0
nonisolated(unsafe) var traps: UInt32 = 0
/// Bytes of the instruction that is expected to trap.
nonisolated(unsafe) var skip: UInt32 = 0
/// A bit for each line that has interrupted us.
nonisolated(unsafe) var arrived: UInt32 = 0
/// Interrupts that came where none may.
nonisolated(unsafe) var disturbances: UInt32 = 0

@c(guest_trap)
public func guestTrap(_ frame: UnsafeMutablePointer<trap_frame>) {
    let vector = frame.pointee.vector
    if vector >= 0x20 && vector < 0x40 {
        arrived |= 1 << (vector - 0x20)
        let eip = frame.pointee.eip
        if eip >= era_row.quiet_start && eip < era_row.quiet_end { disturbances += 1 }
        return
    }
    trap = vector
    traps += 1
    // A trap of an instruction's own making comes behind it.
    if vector != 3 && vector != 4 && vector != 0x80 { frame.pointee.eip += skip }
    if traps > 100 { end("too many traps", reason: 1) }
}

enum Gate: UInt32 {
    /// Closes interrupts; programs may raise it.
    case interrupt = 0xEE00
    case trap = 0xEF00

    /// The two words of a gate to our stub of a vector.
    func words(_ vector: UInt32) -> (low: UInt32, high: UInt32) {
        let address = guest_trap_stub(vector)
        return (0x60 << 16 | address & 0xFFFF, address & 0xFFFF_0000 | rawValue)
    }
}

func setGate(_ vector: UInt32, _ gate: Gate) {
    let words = gate.words(vector)
    call(.loadIDTEntry, vector, words.low, words.high)
}

// --- the ring -------------------------------------------------------------------------------

/// Files a call in a slot of the ring: the record first, its status last.
func file(_ slot: UInt32, _ number: Hypercall, _ a1: UInt32, _ a2: UInt32, _ a3: UInt32) {
    let record = guest_address_of_data() + era_row.records + slot * era_row.record_size
    guest_store(record, number.rawValue)
    guest_store(record + 4 * era_row.first, a1)
    guest_store(record + 4 * era_row.second, a2)
    guest_store(record + 4 * era_row.third, a3)
    let status = guest_address_of_data() + era_row.status + (slot & ~3)
    guest_store(status, guest_load(status) & ~(0xFF << (8 * (slot & 3))))
}

// --- waiting --------------------------------------------------------------------------------

/// Looks again and again, for some seconds.
func comes(_ condition: () -> Bool) -> Bool {
    for _ in 0..<(1 << 27) {
        if condition() { return true }
        guest_relax()
    }
    return false
}

/// Sleeps until one of these lines has interrupted us.
/// - Parameter keeping: those that are still noted afterwards.
func sleep(until lines: UInt32, keeping: UInt32 = 0) {
    while arrived & lines == 0 {
        call(.halt)
        closeInterrupts()
    }
    arrived &= ~lines | keeping
}

// --- the end --------------------------------------------------------------------------------

func end(_ reason: StaticString, reason number: UInt32) -> Never {
    call(.crash, physical(UnsafeRawPointer(reason.utf8Start)), number)
    while true { call(.halt) }
}

func crash(_ reason: StaticString) -> Never { end(reason, reason: 1) }
