// A PC's guest that says "again" and waits for a key at its serial port: for "x" it resets the machine, for any other it powers off.
// Source: docs/abi/pc.md §2, §3.

    .code32

    .section .text
    .globl start
start:
    mov $text, %esi
    mov $(end - text), %ecx
    mov $0x3F8, %edx
    rep outsb
    mov $0x3FD, %edx
1:  in %dx, %al
    test $1, %al                    # has a key come?
    jz 1b
    mov $0x3F8, %edx
    in %dx, %al
    cmp $'x', %al
    jne 2f
    mov $0xFE, %al                  # the keyboard controller's reset
    out %al, $0x64
2:  cli
    hlt
    jmp 2b

text:
    .ascii "again\n"
end:

    .section .note.Xen, "a", @note
    .long 4, 4, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start
