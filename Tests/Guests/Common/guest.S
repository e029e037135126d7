// A guest kernel's first instruction and hypercall, and what it shares with the host. The host finds the
// start right after the magic string; the first instruction loads the stack, as Linux of these
// eras does, which is how a launcher tells them from later ones (docs/abi/lguest.md §6.4).

    .section .guest.head, "ax", @progbits
    .ascii "GenuineLguest"
    .globl guest_entry
guest_entry:
    movl $guest_stack_top, %esp
    xorl %ebp, %ebp
    // bss is ours to clear; eax holds nothing yet, es and ds are flat.
    movl $guest_bss_start, %edi
    movl $guest_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    cld
    rep stosb
    call main
1:  movl $10, %eax              // HALT, should main ever return
    int $0x1f
    jmp 1b

    .text
    .globl guest_hypercall
guest_hypercall:
    pushl %ebx
    movl 8(%esp), %eax
    movl 12(%esp), %edx
    movl 16(%esp), %ebx
    movl 20(%esp), %ecx
    int $0x1f
    popl %ebx
    ret

    .globl guest_code_selector
guest_code_selector:
    xorl %eax, %eax
    movw %cs, %ax
    ret

    .globl guest_data_selector
guest_data_selector:
    xorl %eax, %eax
    movw %ds, %ax
    ret

    .globl guest_time_stamp
guest_time_stamp:
    rdtsc
    ret

    .globl guest_end_address
guest_end_address:
    movl $guest_end, %eax
    ret

    .data
    .balign 64
    .globl lguest_data
lguest_data:
    .long 0                     // irq_enabled
    .long 1                     // blocked_interrupts: the timer
    .long 0, 0, 0               // cr2, time
    .fill 64, 1, 0xff           // hcall_status: every slot free
    .fill 64 * 16, 1, 0
    .long 0                     // reserve_mem
    .long 0                     // tsc_khz
    .long noirq_start, noirq_end

    .bss
    .balign 4096
    .fill 16384
    .globl guest_stack_top
guest_stack_top:
    // One spare page: older hosts look at the byte above the stack.
    .fill 4096
