// A guest kernel's first instruction, trap stubs and hypercall. The host finds the
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

// --- traps ---------------------------------------------------------------------------

    .altmacro
    .macro stub vector
stub_\vector:
    .if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17)
    .else
    pushl $0
    .endif
    pushl $\vector
    jmp trap_common
    .endm

    .set vector, 0
    .rept 64
    stub %vector
    .set vector, vector + 1
    .endr

system_call_stub:
    pushl $0
    pushl $0x80
trap_common:
    pushal
    cld
    pushl %esp
    call guest_trap
    addl $4, %esp
    popal
    addl $8, %esp
    // Interrupts as they were before the trap: the host must not deliver one between the
    // store and the iret, or the stack would grow by a frame each time.
    pushl %eax
    movl 12(%esp), %eax
noirq_start:
    movl %eax, %ss:lguest_data
    popl %eax
    iret
noirq_end:

    .macro stub_address vector
    .long stub_\vector
    .endm

    .section .rodata
stub_table:
    .set vector, 0
    .rept 64
    stub_address %vector
    .set vector, vector + 1
    .endr

    .text
    .globl guest_trap_stub
guest_trap_stub:
    movl 4(%esp), %eax
    cmpl $64, %eax
    jae 1f
    movl stub_table(, %eax, 4), %eax
    ret
1:  movl $system_call_stub, %eax
    ret

// --- ring 3 --------------------------------------------------------------------------

    .globl guest_enter_user
guest_enter_user:
    movl 4(%esp), %eax
    movl 8(%esp), %edx
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, kernel_stack
    movl $0x7b, %ecx            // user data, RPL 3
    movw %cx, %ds
    movw %cx, %es
    pushl $0x7b
    pushl %edx
    pushl $0x202
    pushl $0x73                 // user code, RPL 3
    pushl %eax
    iret

    .globl guest_leave_user
guest_leave_user:
    movl 4(%esp), %edx
    movl $0x69, %ecx
    movw %cx, %ds
    movw %cx, %es
    movl 16(%edx), %eax         // the user's ebx
    movl kernel_stack, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    // What ring3.swift runs in ring 3: each step is a property of its own.
    .globl guest_user_program
guest_user_program:
    movl $1, %eax
    int $0x80                   // a system call, which comes back
    cli                         // not for ring 3
    int $0x1f                   // hypercalls are not, either
    movl 0xF0001000, %eax       // a page of the kernel alone
    movl %eax, 0xF0002000       // a page that nobody may write
    pushl $7
    popl %ebx
    xorl %eax, %eax
    int $0x80                   // the system call that leaves
    ud2

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
    .balign 16
kernel_stack:
    .long 0
    .balign 4096
    .fill 16384
    .globl guest_stack_top
guest_stack_top:
    // One spare page: older hosts look at the byte above the stack.
    .fill 4096
