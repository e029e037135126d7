// Four loops for a 64-bit processor, whose instructions are counted by hand (Tests/bench/wide.c has the numbers): what
// Tests/Guests/Common/loops.S is for one of 32 bits, and a copy as C libraries make it, by 16 bytes at a time. Each takes the number of rounds.

    .text
    .globl loop_integer
loop_integer:
    movl $1, %eax
    movabsq $0x9e3779b97f4a7c15, %r8
    xorl %edx, %edx
    .balign 16
1:  addq %r8, %rax
    xorq %rax, %rdx
    leaq 3(%rdx,%rax,2), %rsi
    shrq $3, %rsi
    addq %rsi, %rax
    andl $0x7fffffff, %edx
    subq %rdx, %rax
    orq $1, %rax
    decq %rdi
    jnz 1b
    ret

    .globl loop_memory
loop_memory:
    leaq table(%rip), %rsi
    xorl %eax, %eax
    xorl %edx, %edx
    .balign 16
1:  movq (%rsi,%rdx,8), %r8
    addq %r8, %rax
    movq %rax, 8(%rsi,%rdx,8)
    addq 64(%rsi), %rax
    addq $7, 128(%rsi)
    movzbl 5(%rsi,%rdx), %r8d
    addl %r8d, %edx
    andl $1023, %edx
    decq %rdi
    jnz 1b
    ret

    .globl loop_calls
loop_calls:
    pushq %rbx
    movq %rdi, %rbx
    xorl %eax, %eax
    .balign 16
1:  movq %rbx, %rdi
    call callee
    decq %rbx
    jnz 1b
    popq %rbx
    ret
callee:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    movq %rdi, %rbx
    addq %rbx, %rax
    call leaf
    popq %rbx
    popq %rbp
    ret
leaf:
    xorq $5, %rax
    ret

    .globl loop_copy
loop_copy:
    leaq table(%rip), %rsi
    leaq copied(%rip), %rdx
    xorl %eax, %eax
    .balign 16
1:  movdqu 8(%rsi,%rax), %xmm0
    movdqu 24(%rsi,%rax), %xmm1
    movdqa %xmm0, (%rdx,%rax)
    movdqa %xmm1, 16(%rdx,%rax)
    addl $32, %eax
    andl $4095, %eax
    decq %rdi
    jnz 1b
    ret

    .bss
    .balign 4096
table:
    .fill 12288
copied:
    .fill 4096
