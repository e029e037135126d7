// The guest's x87 instructions, executed by the real x87: a table with one tiny routine for
// every register form (D8...DF, modrm C0...FF) and one for every memory form (D8...DF, /0.../7,
// operand at the address in the c register). The caller picks the routine; forms that raise
// #UD are in the tables as well and must not be asked for.

    .text

// Four bytes each, so that a routine's address is its index times four: the instruction, ret.
    .p2align 4
register_forms:
    .set opcode, 0xD8
    .rept 8
    .set modrm, 0xC0
    .rept 64
    .byte opcode, modrm, 0xC3, 0xCC
    .set modrm, modrm + 1
    .endr
    .set opcode, opcode + 1
    .endr

memory_forms:
    .set opcode, 0xD8
    .rept 8
    .set modrm, 0x01
    .rept 8
    .byte opcode, modrm, 0xC3, 0xCC
    .set modrm, modrm + 8
    .endr
    .set opcode, opcode + 1
    .endr

    .globl mini_x87_register
    .type mini_x87_register, @function
    .globl mini_x87_register_flags
    .type mini_x87_register_flags, @function
    .globl mini_x87_memory
    .type mini_x87_memory, @function

#if defined(__x86_64__)

mini_x87_register:
    leaq register_forms(%rip), %rax
    movl %edi, %edi
    leaq (%rax,%rdi,4), %rax
    jmpq *%rax

mini_x87_register_flags:
    leaq register_forms(%rip), %rax
    movl %edi, %edi
    leaq (%rax,%rdi,4), %rax
    pushq %rsi
    popfq
    callq *%rax
    pushfq
    popq %rax
    ret

mini_x87_memory:
    leaq memory_forms(%rip), %rax
    movl %edi, %edi
    leaq (%rax,%rdi,4), %rax
    movq %rsi, %rcx
    jmpq *%rax

#elif defined(__i386__)

mini_x87_register:
    movl 4(%esp), %eax
    leal register_forms(,%eax,4), %eax
    jmpl *%eax

mini_x87_register_flags:
    movl 4(%esp), %eax
    leal register_forms(,%eax,4), %eax
    pushl 8(%esp)
    popfl
    calll *%eax
    pushfl
    popl %eax
    ret

mini_x87_memory:
    movl 4(%esp), %eax
    movl 8(%esp), %ecx
    leal memory_forms(,%eax,4), %eax
    jmpl *%eax

#endif

    .size mini_x87_register, . - mini_x87_register
    .size mini_x87_register_flags, . - mini_x87_register_flags
    .size mini_x87_memory, . - mini_x87_memory

    .section .note.GNU-stack, "", @progbits
