// The guest's SSE instructions, executed by the real unit: a table with one tiny routine of eight bytes for each,
// on xmm0 and xmm1, and eax or (64-bit) rax where a general register takes part. Rows:
//
//     0     no prefix, 66, F3, F2: opcodes 0F 50...5F
//     64    66: 0F 60...FF
//     224   no prefix, 66, F3, F2: 0F C2 with the predicates 0...7
//     256   UNPCKLPS, UNPCKLPD, UNPCKHPS, UNPCKHPD, CVTDQ2PD, CVTPD2DQ
//     262   CVTSI2SS, CVTSI2SD of eax; of rax
//     266   CVTTSS2SI, CVTTSD2SI, CVTSS2SI, CVTSD2SI to eax; to rax
//     274   UCOMISS, UCOMISD, COMISS, COMISD: RFLAGS to rax
//
// and for 64 bits, where the processor has SSE3 to SSE4.2 and POPCNT:
//
//     278   66: 0F 38 00...41; of PTEST (17) RFLAGS to rax
//     344   MOVSLDUP, MOVSHDUP, MOVDDUP
//     347   ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD as MXCSR says; the same, and inexact is no matter
//     355   DPPS and DPPD of all elements, to all
//     357   MPSADBW with 0...7
//     365   POPCNT of rax
//     366   CRC32 of eax and a byte, 2, 4, 8 bytes in memory at rdx
//
// Forms that do not exist are in the table as well and must not be asked for.

    .text
    .p2align 4
forms:
    .macro plain opcode
    .p2align 3, 0xCC
    .byte 0x0F, \opcode, 0xC1, 0xC3
    .endm
    .macro prefixed prefix, opcode
    .p2align 3, 0xCC
    .byte \prefix, 0x0F, \opcode, 0xC1, 0xC3
    .endm

    .set opcode, 0x50
    .rept 16
    plain opcode
    .set opcode, opcode + 1
    .endr
    .irp prefix, 0x66, 0xF3, 0xF2
    .set opcode, 0x50
    .rept 16
    prefixed \prefix, opcode
    .set opcode, opcode + 1
    .endr
    .endr

    .set opcode, 0x60
    .rept 160
    prefixed 0x66, opcode
    .set opcode, opcode + 1
    .endr

    .set predicate, 0
    .rept 8
    .p2align 3, 0xCC
    .byte 0x0F, 0xC2, 0xC1, predicate, 0xC3
    .set predicate, predicate + 1
    .endr
    .irp prefix, 0x66, 0xF3, 0xF2
    .set predicate, 0
    .rept 8
    .p2align 3, 0xCC
    .byte \prefix, 0x0F, 0xC2, 0xC1, predicate, 0xC3
    .set predicate, predicate + 1
    .endr
    .endr

    plain 0x14
    prefixed 0x66, 0x14
    plain 0x15
    prefixed 0x66, 0x15
    prefixed 0xF3, 0xE6
    prefixed 0xF2, 0xE6

    // Without the upper halves of registers there is no second row of each.
#if defined(__x86_64__)
    .macro general prefix, wide, opcode, operands
    .p2align 3, 0xCC
    .byte \prefix, \wide, 0x0F, \opcode, \operands, 0xC3
    .endm
#else
    .macro general prefix, wide, opcode, operands
    .p2align 3, 0xCC
    .byte \prefix, 0x0F, \opcode, \operands, 0xC3
    .endm
#endif
    .irp wide, 0x40, 0x48
    .irp prefix, 0xF3, 0xF2
    general \prefix, \wide, 0x2A, 0xC0
    .endr
    .endr

    .irp wide, 0x40, 0x48
    .irp opcode, 0x2C, 0x2D
    .irp prefix, 0xF3, 0xF2
    general \prefix, \wide, \opcode, 0xC1
    .endr
    .endr
    .endr

    .irp opcode, 0x2E, 0x2F
    .p2align 3, 0xCC
    .byte 0x0F, \opcode, 0xC1, 0x9C, 0x58, 0xC3
    .p2align 3, 0xCC
    .byte 0x66, 0x0F, \opcode, 0xC1, 0x9C, 0x58, 0xC3
    .endr

#if defined(__x86_64__)
    .macro second opcode
    .p2align 3, 0xCC
    .byte 0x66, 0x0F, 0x38, \opcode, 0xC1
    .if \opcode == 0x17
    .byte 0x9C, 0x58
    .endif
    .byte 0xC3
    .endm
    .macro third opcode, value
    .p2align 3, 0xCC
    .byte 0x66, 0x0F, 0x3A, \opcode, 0xC1, \value, 0xC3
    .endm

    .set opcode, 0
    .rept 0x42
    second opcode
    .set opcode, opcode + 1
    .endr

    prefixed 0xF3, 0x12
    prefixed 0xF3, 0x16
    prefixed 0xF2, 0x12

    .irp value, 4, 12
    .irp opcode, 8, 9, 10, 11
    third \opcode, \value
    .endr
    .endr
    third 0x40, 0xFF
    third 0x41, 0x33
    .irp value, 0, 1, 2, 3, 4, 5, 6, 7
    third 0x42, \value
    .endr

    .p2align 3, 0xCC
    popcntq %rax, %rax
    ret
    .irp size, b, w, l
    .p2align 3, 0xCC
    crc32\size (%rdx), %eax
    ret
    .endr
    .p2align 3, 0xCC
    crc32q (%rdx), %rax
    ret
#endif

    .p2align 4
    .globl mini_sse
    .type mini_sse, @function
#if defined(__x86_64__)
mini_sse:
    leaq forms(%rip), %r9
    movl %edi, %edi
    leaq (%r9,%rdi,8), %r9
    movups (%rsi), %xmm0
    movups (%rdx), %xmm1
    movq %rcx, %rax
    testq %r8, %r8
    jnz 1f
    callq *%r9
    movups %xmm0, (%rsi)
    ret
1:  ldmxcsr (%r8)
    callq *%r9
    stmxcsr (%r8)
    ldmxcsr usual(%rip)
    movups %xmm0, (%rsi)
    ret
#else
mini_sse:
    pushl %ebx
    pushl %esi
    pushl %edi
    call 2f
2:  popl %ebx
    movl 16(%esp), %eax
    leal forms - 2b(%ebx,%eax,8), %ecx
    movl 20(%esp), %esi
    movl 24(%esp), %eax
    movups (%esi), %xmm0
    movups (%eax), %xmm1
    movl 28(%esp), %eax
    movl 36(%esp), %edi
    testl %edi, %edi
    jnz 1f
    calll *%ecx
    jmp 3f
1:  ldmxcsr (%edi)
    calll *%ecx
    stmxcsr (%edi)
    ldmxcsr usual - 2b(%ebx)
3:  movups %xmm0, (%esi)
    xorl %edx, %edx
    popl %edi
    popl %esi
    popl %ebx
    ret
#endif
    .size mini_sse, . - mini_sse

    .p2align 2
usual:
    .long 0x1F80

    .section .note.GNU-stack, "", @progbits
