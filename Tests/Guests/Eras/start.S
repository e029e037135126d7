// How a guest of eras 2 to 5 begins: its first instructions, by which its era is recognised (docs/abi/lguest.md §6.4), its
// hypercall, what it shares with the host (§3.4), and its era's row of eras.table for the code in Swift. Assembled once for
// each line of that table, whose words are symbols here.

#define PAGE_OFFSET 0xC0000000
#define PHYSICAL(address) ((address) - PAGE_OFFSET)
// As much memory as these guests have at least.
#define MAPPED 0x800000
#ifdef TABLES_THREE
#define ENTRY_SIZE 8
#else
#define ENTRY_SIZE 4
#endif

    .macro enter_host
#ifdef CALL_VMCALL
    vmcall
#else
    int $0x1f
#endif
    .endm

// --- the first instructions, at physical addresses ------------------------------------------

    .section .guest.head, "ax", @progbits
    .globl guest_entry
guest_entry:
    cld
    movl $PHYSICAL(guest_bss_start), %edi
    movl $PHYSICAL(guest_end), %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
#ifdef START_LINEAR
    // Without tables addresses are physical, so they can be made now.
    movl $PHYSICAL(boot_tables), %edi
    movl $7, %eax
1:  movl %eax, (%edi)
    addl $ENTRY_SIZE, %edi
    addl $0x1000, %eax
    cmpl $(MAPPED + 7), %eax
    jb 1b
    movl $PHYSICAL(boot_tables + 7), %eax
#ifdef TABLES_THREE
    movl $PHYSICAL(boot_middle), %edi
#else
    movl $PHYSICAL(boot_directory), %edi
#endif
1:  movl %eax, (%edi)
#ifndef TABLES_THREE
    movl %eax, PAGE_OFFSET >> 20(%edi)
#endif
    addl $ENTRY_SIZE, %edi
    addl $0x1000, %eax
    cmpl $PHYSICAL(boot_tables_end), %eax
    jb 1b
#endif
    movl $1, %eax
#ifdef CALL_EDX
    movl $PHYSICAL(lguest_data), %edx
#else
    movl $PHYSICAL(lguest_data), %ebx
#endif
    enter_host
#ifdef START_COPIES
    // The launcher has mapped memory at its own addresses: the same again where the kernel's begin.
    movl PHYSICAL(data_directory), %esi
    leal PAGE_OFFSET >> 20(%esi), %edi
    movl $32, %ecx
    rep movsl
#endif
#ifdef START_LINEAR
    movl $4, %eax
    movl $PHYSICAL(boot_directory), %ebx
    enter_host
#endif
    movl $guest_stack_top, %esp
    xorl %ebp, %ebp
    movl $1f, %eax
    jmp *%eax
1:  call main
1:  jmp 1b

// --- calls -----------------------------------------------------------------------------------

    .text
    .globl era_hypercall
era_hypercall:
    pushl %ebx
    pushl %esi
    movl 12(%esp), %eax
#ifdef CALL_EDX
    movl 16(%esp), %edx
    movl 20(%esp), %ebx
    movl 24(%esp), %ecx
#else
    movl 16(%esp), %ebx
    movl 20(%esp), %ecx
    movl 24(%esp), %edx
    movl 28(%esp), %esi
#endif
    enter_host
    popl %esi
    popl %ebx
    ret

    .globl era_count_quietly
era_count_quietly:
    movl 4(%esp), %ecx
#ifdef DATA_RETURN
    // In this era one instruction is left alone, which returns from interrupts. The handlers of these guests return by
    // another one: should an interrupt come there, it lies one frame deeper.
    pushl $0x202
    pushl %cs
    pushl $1f
    movl $0x200, lguest_data
noirq_iret:
    loop noirq_iret
    iret
1:  ret
#else
    jmp guest_count_quietly
#endif

// --- the row -----------------------------------------------------------------------------------

    .section .rodata
    .ascii "Linux version " RELEASE " (a guest of mini's tests)\n\0"
    .balign 4
    .globl era_row
era_row:
    .long data_status - lguest_data
    .long data_records - lguest_data
    .long data_reserved - lguest_data
#ifdef RING_TURNED
    .long 3, 1, 2
#else
    .long 1, 2, 3
#endif
#if defined(DATA_TABLES)
    .long 16
#else
    .long 20
#endif
#if defined(DATA_TABLES)
    .long 0
#else
    .long data_pending - lguest_data
#endif
#ifdef DATA_RETURN
    .long noirq_iret, noirq_iret + 1
#else
    .long noirq_start, noirq_end
#endif
#ifdef START_LINEAR
    .long PHYSICAL(boot_directory)
#else
    .long 0
#endif
#ifdef END_SHUTDOWN
    .long 1
#else
    .long 0
#endif
#ifdef GDT_ENTRY
    .long 1
#else
    .long 0
#endif
#if defined(DEVICES_FIELDS)
    .long 0
#elif defined(DEVICES_COUNTED)
    .long 1
#else
    .long 2
#endif
    .long ENTRY_SIZE

// --- what host and guest share -----------------------------------------------------------------

    .data
    .balign 64
    .globl lguest_data
lguest_data:
    .long 0                     // irq_enabled
    .long 1                     // blocked_interrupts: the timer
    .long 0, 0, 0               // cr2, time
#ifndef DATA_TABLES
data_pending:
    .long 0                     // irq_pending
#endif
data_status:
    .fill 64, 1, 0xff           // hcall_status: every slot free
data_records:
#ifdef DATA_TABLES
    .fill 64 * 16, 1, 0
#else
    .fill 64 * 20, 1, 0
#endif
data_reserved:
    .long 0                     // reserve_mem
    .long 0                     // tsc_khz
#if defined(DATA_TABLES) || defined(DATA_PENDING)
data_directory:
    .long 0                     // pgdir
#endif
#ifdef DATA_RETURN
    .long noirq_iret
#else
    .long noirq_start, noirq_end
#endif
    .long PAGE_OFFSET           // kernel_address
    .long 0x80                  // syscall_vec

// --- the first page tables -----------------------------------------------------------------------

#ifdef TABLES_THREE
    // The image has them from the start, which tells that the guest has PAE.
    .balign 4096
boot_directory:
    .long PHYSICAL(boot_middle + 1), 0, 0, 0, 0, 0, PHYSICAL(boot_middle + 1), 0
    .fill 4096 - 32, 1, 0
#endif
    .bss
    .balign 4096
#ifdef TABLES_THREE
boot_middle:
    .fill 4096
#else
boot_directory:
    .fill 4096
#endif
boot_tables:
    .fill MAPPED / 4096 * ENTRY_SIZE
boot_tables_end:
    .fill 16384
    .globl guest_stack_top
guest_stack_top:
    // One spare page: older hosts look at the byte above the stack.
    .fill 4096
