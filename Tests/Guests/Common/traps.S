// How traps and interrupts reach a guest's handler in Swift, and how it goes to ring 3 and back: for the guests of every era.

    .text
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
    .globl noirq_start, noirq_end
noirq_start:
    movl %eax, %ss:lguest_data
    popl %eax
    iret

    // Counts ecx down in there, with interrupts open.
    .globl guest_count_quietly
guest_count_quietly:
    movl $0x200, lguest_data
1:  decl %ecx
    jnz 1b
    ret
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

    .bss
    .balign 4
kernel_stack:
    .long 0
