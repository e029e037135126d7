// The measured loops without any kernel, for other machines that run i386: a Multiboot image
// that does the loop named by the last character of its command line (1 integer, 2 memory,
// 3 calls, anything else none) and ends the machine through QEMU's isa-debug-exit port.

    .section .multiboot, "ax", @progbits
    .balign 4
    .long 0x1BADB002, 0, -0x1BADB002

    .text
    .globl bare_entry
bare_entry:
    movl $bare_stack_top, %esp
    movl 16(%ebx), %esi         // the Multiboot information's command line
    xorl %eax, %eax
1:  movb (%esi), %dl
    testb %dl, %dl
    jz 2f
    movb %dl, %al
    incl %esi
    jmp 1b
2:  pushl $20000000
    cmpb $'1', %al
    je 3f
    cmpb $'2', %al
    je 4f
    cmpb $'3', %al
    je 5f
    jmp 6f
3:  call guest_loop_integer
    jmp 6f
4:  call guest_loop_memory
    jmp 6f
5:  call guest_loop_calls
6:  movw $0xf4, %dx
    outb %al, %dx
7:  hlt
    jmp 7b

    .bss
    .balign 16
    .fill 4096
bare_stack_top:
