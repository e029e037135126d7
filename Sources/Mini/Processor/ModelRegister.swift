// Model-specific registers by their numbers, for both software processors and for that of /dev/kvm, which is put back to its
// start. Sources: AMD64 Architecture Programmer's Manual volume 2, appendix A; asm/kvm_para.h; docs/abi/pc.md §7, §8.

enum ModelRegister {
    static let timeStamp: UInt32 = 0x10
    static let interruptController: UInt32 = 0x1B
    static let entryCodeSelector: UInt32 = 0x174
    static let entryStack: UInt32 = 0x175
    static let entryPoint: UInt32 = 0x176
    static let miscellaneous: UInt32 = 0x1A0
    static let debugControl: UInt32 = 0x1D9
    static let attributeTable: UInt32 = 0x277
    static let defaultMemoryType: UInt32 = 0x2FF
    static let extendedFeatures: UInt32 = 0xC000_0080
    static let star: UInt32 = 0xC000_0081
    static let longEntry: UInt32 = 0xC000_0082
    static let compatibleEntry: UInt32 = 0xC000_0083
    static let entryMask: UInt32 = 0xC000_0084
    static let fsBase: UInt32 = 0xC000_0100
    static let gsBase: UInt32 = 0xC000_0101
    static let kernelBase: UInt32 = 0xC000_0102
    static let wallClock: UInt32 = 0x4B56_4D00
    static let clock: UInt32 = 0x4B56_4D01
    static let asynchronousFaults: UInt32 = 0x4B56_4D02
    static let stealTime: UInt32 = 0x4B56_4D03
    /// What kernels before 2.6.35 know the clocks by.
    static let oldWallClock: UInt32 = 0x11
    static let oldClock: UInt32 = 0x12
}
