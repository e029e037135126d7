// Model-specific registers that kernels read without looking whether they are there, because each processor of the make has them, or
// every machine that they were tried on. Here they read as 0, and what is written has no effect.
//
// Sources: Linux, arch/x86/kernel/cpu/amd.c, process.c, step.c, mtrr/, nmi.c, drivers/acpi/acpi_extlog.c, from 2.6.18 on; AMD's BIOS and Kernel
// Developer's Guide for family 0F; docs/abi/pc.md §8.

enum QuietRegister {
    static func contains(_ number: UInt32) -> Bool {
        switch number {
        // The microcode's revision.
        case 0x8B: true
        // MCG_CAP, MCG_STATUS, MCG_CTL: no banks of machine checks; but the first one's are read and written for all that (by mcheck/k7.c
        // of 2.6, mcheck/mce_amd.c).
        case 0x179...0x17B, 0x400...0x403: true
        // MTRRcap with no ranges, the ranges and their default: amd64 kernels of 2005 look without asking.
        case 0xFE, 0x200...0x20F, 0x250, 0x258, 0x259, 0x268...0x26F, 0x2FF: true
        // The counters of a K7 and what they count.
        case 0xC001_0000...0xC001_0007: true
        // DEBUGCTL and the last branches.
        case 0x1D9, 0x1DB...0x1DE: true
        // SYSCFG, HWCR, NB_CFG, the interrupt message, the base of configuration space.
        case 0xC001_0010, 0xC001_0015, 0xC001_001F, 0xC001_0055, 0xC001_0058: true
        // LS_CFG, IC_CFG, DC_CFG, BU_CFG.
        case 0xC001_1020...0xC001_1023: true
        default: false
        }
    }
}
