// What the host makes of segment descriptors that a guest loads: only the host has
// ring 0, and four entries belong to the host. Source: docs/abi/lguest.md §4.1, §4.2.

enum SegmentRules {
    static let entries: UInt32 = 32
    static let firstTLS: UInt32 = 6
    static let lastTLS: UInt32 = 8
    /// Selectors of the guest kernel at ring 1, in GDT entries 12 and 13.
    static let kernelCode: UInt16 = 0x61
    static let kernelData: UInt16 = 0x69

    /// The host's own code and data segment, task state and double-fault task state.
    static func isHosts(_ index: UInt32) -> Bool {
        index == 10 || index == 11 || index == 16 || index == 31
    }

    /// The GDT that a guest starts with: flat segments for itself and for the host.
    static func initial(_ index: UInt32) -> UInt64 {
        switch index {
        case 10: 0x00CF_9B00_0000_FFFF
        case 11: 0x00CF_9300_0000_FFFF
        case 12: 0x00CF_BB00_0000_FFFF
        case 13: 0x00CF_B300_0000_FFFF
        default: 0
        }
    }

    /// Level 0 becomes 1; marked accessed, so that the processor need not write to it.
    static func corrected(_ descriptor: UInt64) -> UInt64 {
        let levelMask: UInt64 = 3 << 45
        let raised = descriptor & levelMask == 0 ? descriptor | 1 << 45 : descriptor
        return raised | 1 << 40
    }
}
