// Three loops whose instructions are counted by hand, to measure a processor with. The same
// object is linked into a guest for mini and into a bare image for other machines.
//   integer: 10 instructions a round    memory: 10 a round    calls: 16 a round

    .text
    .globl guest_loop_integer
guest_loop_integer:
    pushl %ebx
    pushl %esi
    movl 12(%esp), %ecx
    movl $1, %eax
    movl $0x9e3779b9, %ebx
    xorl %edx, %edx
    .balign 16
1:  addl %ebx, %eax
    xorl %eax, %edx
    leal 3(%edx,%eax,2), %esi
    shrl $3, %esi
    addl %esi, %eax
    andl $0x7fffffff, %edx
    subl %edx, %eax
    orl $1, %eax
    decl %ecx
    jnz 1b
    popl %esi
    popl %ebx
    ret

    .globl guest_loop_memory
guest_loop_memory:
    pushl %ebx
    pushl %esi
    movl 12(%esp), %ecx
    movl $loop_table, %esi
    xorl %eax, %eax
    xorl %edx, %edx
    .balign 16
1:  movl (%esi,%edx,4), %ebx
    addl %ebx, %eax
    movl %eax, 4(%esi,%edx,4)
    addl 64(%esi), %eax
    addl $7, 128(%esi)
    movzbl 5(%esi,%edx), %ebx
    addl %ebx, %edx
    andl $1023, %edx
    decl %ecx
    jnz 1b
    popl %esi
    popl %ebx
    ret

    .globl guest_loop_calls
guest_loop_calls:
    pushl %ebx
    movl 8(%esp), %ebx
    xorl %eax, %eax
    .balign 16
1:  pushl %ebx
    call callee
    addl $4, %esp
    decl %ebx
    jnz 1b
    popl %ebx
    ret

callee:
    pushl %ebp
    movl %esp, %ebp
    pushl %esi
    movl 8(%ebp), %esi
    addl %esi, %eax
    call leaf
    popl %esi
    popl %ebp
    ret
leaf:
    xorl $5, %eax
    ret

    .bss
    .balign 4096
loop_table:
    .fill 8192
