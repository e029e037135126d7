// What a guest kernel of ours cannot say in Swift: the hypercall instruction, the entry
// stubs of traps, and the page that it shares with the host. i386 only.
#ifndef GUEST_SHIM_H
#define GUEST_SHIM_H

typedef unsigned int u32;

// struct lguest_dma of era 1: §5.1.
struct lguest_dma {
    volatile u32 used_len;
    unsigned short len[16];
    u32 addr[16];
};

// What a trap or interrupt left on the stack.
struct trap_frame {
    u32 edi, esi, ebp, unused_esp, ebx, edx, ecx, eax;
    u32 vector, error;
    u32 eip, cs, eflags;
    u32 esp, ss;  // only when it came from ring 3
};

// int $0x1f: number in eax, arguments in edx, ebx, ecx. Gives eax back.
u32 guest_hypercall(u32 number, u32 a1, u32 a2, u32 a3);

// The addresses of the 64 trap stubs, and of the system call's.
u32 guest_trap_stub(u32 vector);

u32 guest_code_selector(void);
u32 guest_data_selector(void);
unsigned long long guest_time_stamp(void);
// Starts ring 3 at `eip` with the stack `esp`; comes back when user code calls int $0x80
// with eax = 0, and gives its ebx.
u32 guest_enter_user(u32 eip, u32 esp);
void guest_leave_user(struct trap_frame *frame);
extern unsigned char guest_user_program[];
extern unsigned char guest_stack_top[];
static inline u32 guest_user_program_address(void) { return (u32)guest_user_program; }
static inline u32 guest_stack_top_address(void) { return (u32)guest_stack_top; }
u32 guest_end_address(void);

// Volatile accesses to any address.
static inline u32 guest_load(u32 address) { return *(volatile u32 *)address; }
static inline void guest_store(u32 address, u32 value) { *(volatile u32 *)address = value; }
extern unsigned char lguest_data[];
static inline u32 guest_address_of_data(void) { return (u32)lguest_data; }
static inline u32 guest_cpuid(u32 leaf, u32 which) {
    u32 r[4];
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
    return r[which & 3];
}
static inline u32 guest_stack_pointer(void) {
    u32 r;
    __asm__ volatile("movl %%esp, %0" : "=r"(r));
    return r;
}
static inline void guest_undefined(void) { __asm__ volatile("ud2"); }
static inline void guest_breakpoint(void) { __asm__ volatile("int3"); }
// Pulls the reset line: the keyboard controller's command 0xfe.
static inline void guest_reset(void) { __asm__ volatile("outb %%al, $0x64" : : "a"(0xfe)); }
static inline void guest_relax(void) { __asm__ volatile("" : : : "memory"); }

// The measured loops (loops.S): each runs `rounds` rounds and gives a checksum.
u32 guest_loop_integer(u32 rounds);
u32 guest_loop_memory(u32 rounds);
u32 guest_loop_calls(u32 rounds);

#endif
