# A PC's guest that takes all that its network card offers and rings for frames; with DRIVES_NOT it lets the card be. It says
# "on"; then it powers off, by a halt without interrupts, or with STAYS it halts for good. Source: docs/abi/pc.md §2, §4.

    .code32
    .set ports, 0x1000              # the first card's
    .set queue, 0x200000

    .macro port number, value, register
    mov $(ports + \number), %edx
    mov $\value, %eax
    out \register, %dx
    .endm

    .section .text
    .globl start
start:
#ifndef DRIVES_NOT
    port 0x12, 0, %al               # reset
    port 0x12, 3, %al               # found, known
    mov $ports, %edx
    in %dx, %eax
    mov $(ports + 4), %edx
    out %eax, %dx                   # all features
    port 0x0E, 0, %ax               # queue 0 has its place
    port 0x08, (queue >> 12), %eax
    port 0x12, 7, %al               # ready
    port 0x10, 0, %ax               # rings
#endif
    mov $0x3F8, %edx
    mov $'o', %al
    out %al, %dx
    mov $'n', %al
    out %al, %dx
    mov $'\n', %al
    out %al, %dx
    mov $0xFF, %al                  # no interrupt wakes it
    out %al, $0x21
    out %al, $0xA1
#ifdef STAYS
    sti
#else
    cli
#endif
1:  hlt
    jmp 1b

    .section .note.Xen, "a", @note
    .long 4, 4, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start
