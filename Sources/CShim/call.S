// The system call instruction, the signal return stub, and (in the freestanding
// release) the program's first instruction. System V calling conventions.

    .text

#if defined(__x86_64__)

    .globl mini_syscall
    .type mini_syscall, @function
mini_syscall:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    ret
    .size mini_syscall, . - mini_syscall

    .globl mini_signal_return
    .type mini_signal_return, @function
mini_signal_return:
    movl $15, %eax              // rt_sigreturn
    syscall
    .size mini_signal_return, . - mini_signal_return

#ifdef MINI_FREESTANDING
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    movq %rsp, mini_initial_stack(%rip)
    movq (%rsp), %rdi
    leaq 8(%rsp), %rsi
    andq $-16, %rsp
    call main
    movl %eax, %edi
    movl $231, %eax             // exit_group
    syscall
    hlt
    .size _start, . - _start
#endif

#elif defined(__i386__)

    .globl mini_syscall
    .type mini_syscall, @function
mini_syscall:
    pushl %ebp
    pushl %edi
    pushl %esi
    pushl %ebx
    movl 20(%esp), %eax
    movl 24(%esp), %ebx
    movl 28(%esp), %ecx
    movl 32(%esp), %edx
    movl 36(%esp), %esi
    movl 40(%esp), %edi
    movl 44(%esp), %ebp
    int $0x80
    popl %ebx
    popl %esi
    popl %edi
    popl %ebp
    ret
    .size mini_syscall, . - mini_syscall

    .globl mini_signal_return
    .type mini_signal_return, @function
mini_signal_return:
    movl $173, %eax             // rt_sigreturn
    int $0x80
    .size mini_signal_return, . - mini_signal_return

#ifdef MINI_FREESTANDING
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    movl %esp, mini_initial_stack
    movl (%esp), %eax
    leal 4(%esp), %ecx
    andl $-16, %esp
    subl $8, %esp
    pushl %ecx
    pushl %eax
    call main
    movl %eax, %ebx
    movl $252, %eax             // exit_group
    int $0x80
    hlt
    .size _start, . - _start
#endif

#endif

    .section .note.GNU-stack, "", @progbits
