// What start.S tells the code in Swift: its era's row, and its calls. i386 only.
#ifndef ERA_SHIM_H
#define ERA_SHIM_H

#include "../../Common/include/GuestShim.h"

struct era_row {
    // Offsets in lguest_data.
    u32 status, records, reserved;
    // The words of a ring's record that hold the arguments, and its bytes.
    u32 first, second, third;
    u32 record_size;
    // Offset of irq_pending; 0 without.
    u32 pending;
    // Where no interrupt may come.
    u32 quiet_start, quiet_end;
    // Guest-physical address of the first page directory; 0 for the host's.
    u32 directory;
    // Whether there is SHUTDOWN in the place of CRASH, a call for each entry of the GDT.
    u32 has_shutdown, loads_entries;
    // 0 fields, 1 counted, 2 a bus.
    u32 devices;
    // Bytes of an entry of page tables.
    u32 entry_size;
};
extern const struct era_row era_row;

u32 era_hypercall(u32 number, u32 a1, u32 a2, u32 a3, u32 a4);
// Opens interrupts and counts down where none may come.
void era_count_quietly(u32 rounds);

static inline void era_cli(void) { __asm__ volatile("cli"); }
static inline void era_vmcall(void) { __asm__ volatile("vmcall" : : "a"(0) : "memory"); }
static inline void era_system_call(void) { __asm__ volatile("int $0x80" : : "a"(0) : "memory"); }
static inline void era_trap_3(void) { __asm__ volatile("int $3" : : : "memory"); }
static inline void era_trap_4(void) { __asm__ volatile("int $4" : : : "memory"); }
static inline void era_load_fs(u32 selector) { __asm__ volatile("movw %w0, %%fs" : : "r"(selector)); }

static inline u32 era_in(u32 port, u32 size) {
    u32 value = 0;
    if (size == 1) __asm__ volatile("inb %w1, %b0" : "+a"(value) : "d"(port));
    else if (size == 2) __asm__ volatile("inw %w1, %w0" : "+a"(value) : "d"(port));
    else __asm__ volatile("inl %w1, %0" : "+a"(value) : "d"(port));
    return value;
}
static inline void era_out(u32 port, u32 size, u32 value) {
    if (size == 1) __asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
    else if (size == 2) __asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(port));
    else __asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port));
}

#endif
