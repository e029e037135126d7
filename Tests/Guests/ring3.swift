// Property: ring 3 is a cage. System calls go straight to ring 1 on the kernel's stack;
// privileged instructions, hypercalls and the kernel's pages trap with exact error codes.

import GuestShim

nonisolated(unsafe) var table: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
    (0, 0, 0, 0, 0, 0, 0, 0)
nonisolated(unsafe) var table2: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
    (
        0, 0, 0, 0,
        0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF,  // 12, 13: kernel code and data
        0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF  // 14, 15: user code and data
    )
nonisolated(unsafe) var both: (Half, Half) = (Half(), Half())

struct Half {
    var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
        (0, 0, 0, 0, 0, 0, 0, 0)
}

func observe(_ frame: UnsafeMutablePointer<trap_frame>) {
    put("vector ")
    put(frame.pointee.vector)
    put(", error ")
    put(frame.pointee.error)
    put(", from ring ")
    put(frame.pointee.cs & 3)
    put(" to ring ")
    put(guest_code_selector() & 3)
    put("\n")
    switch frame.pointee.vector {
    case 0x80:
        if frame.pointee.eax == 0 { guest_leave_user(frame) }
    case 13:
        // cli is one byte long, int $0x1f two.
        frame.pointee.eip += frame.pointee.error == 0 ? 1 : 2
    case 14:
        put("  address ")
        put(hex: shared(.faultAddress))
        put("\n")
        // mov moffs32 with eax, either way: five bytes.
        frame.pointee.eip += 5
    default:
        unexpected(frame)
    }
}

introduce()
onTrap = { observe($0) }
withUnsafeMutablePointer(to: &both) { pointer in
    pointer.pointee.0.words = table
    pointer.pointee.1.words = table2
    call(.loadGDT, physical(pointer), 16)
}
// Ring 1's stack for traps from ring 3; a page of its own below the boot stack's start.
call(.setStack, 0x69, guest_stack_top_address() - 8192, 1)
setGate(13, .interrupt)
setGate(14, .interrupt)
setGate(0x80, .userTrap)
let page = physical(guest_end_address() + 0x10000) & ~4095
map(page, slot: 1, flags: 3)
map(page, slot: 2, flags: 5)
let given = guest_enter_user(guest_user_program_address(), guest_end_address() + 0x20000)
put("left ring 3 with ")
put(given)
put(", back in ring ")
put(guest_code_selector() & 3)
put("\n")
powerOff()
