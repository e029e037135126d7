// The system call instruction, the signal return stub, the first steps of a thread, and (in
// the freestanding release) the program's first instruction. System V calling conventions.

    .text

#if defined(__x86_64__)

    .globl mini_syscall
    .type mini_syscall, @function
mini_syscall:
    // The release calls this by the convention that preserves most registers: tools/tune.awk.
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %r8
    pushq %r9
    pushq %r10
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 64(%rsp), %r9
    syscall
    popq %r10
    popq %r9
    popq %r8
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    ret
    .size mini_syscall, . - mini_syscall

    .globl mini_signal_return
    .type mini_signal_return, @function
mini_signal_return:
    movl $15, %eax              // rt_sigreturn
    syscall
    .size mini_signal_return, . - mini_signal_return

// clone(flags, stack, identity, identity, 0); the new thread calls function(argument), which
// must not return. (number, flags, stack, identity, function, argument)
    .globl mini_start_thread
    .type mini_start_thread, @function
mini_start_thread:
    subq $16, %rdx
    movq %r8, (%rdx)
    movq %r9, 8(%rdx)
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %rcx, %r10
    xorl %r8d, %r8d
    syscall
    testq %rax, %rax
    jz 1f
    ret
1:  xorl %ebp, %ebp
    popq %rax
    popq %rdi
    call *%rax
    hlt
    .size mini_start_thread, . - mini_start_thread

#ifdef MINI_FREESTANDING
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    movq %rsp, mini_initial_stack(%rip)
    movq %rsp, %rbx
    andq $-16, %rsp
    call mini_relocate
    movq (%rbx), %rdi
    leaq 8(%rbx), %rsi
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

// As above; on i386 the fourth argument of clone is the thread-local storage, the fifth the
// second identity. The argument of the function stands at a multiple of 16.
    .globl mini_start_thread
    .type mini_start_thread, @function
mini_start_thread:
    pushl %ebp
    pushl %edi
    pushl %esi
    pushl %ebx
    movl 28(%esp), %ecx
    subl $20, %ecx
    movl 36(%esp), %eax
    movl %eax, (%ecx)
    movl 40(%esp), %eax
    movl %eax, 4(%ecx)
    movl 20(%esp), %eax
    movl 24(%esp), %ebx
    movl 32(%esp), %edx
    xorl %esi, %esi
    movl %edx, %edi
    int $0x80
    testl %eax, %eax
    jz 1f
    popl %ebx
    popl %esi
    popl %edi
    popl %ebp
    ret
1:  xorl %ebp, %ebp
    popl %eax
    call *%eax
    hlt
    .size mini_start_thread, . - mini_start_thread

#ifdef MINI_FREESTANDING
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    movl %esp, mini_initial_stack
    movl %esp, %ebx
    andl $-16, %esp
    call mini_relocate
    leal 4(%ebx), %ecx
    subl $8, %esp
    pushl %ecx
    pushl (%ebx)
    call main
    movl %eax, %ebx
    movl $252, %eax             // exit_group
    int $0x80
    hlt
    .size _start, . - _start
#endif

#endif

    .section .note.GNU-stack, "", @progbits
