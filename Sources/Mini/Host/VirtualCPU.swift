// What CPUID says. A Pentium of no known maker: kernels of these years then ask no model
// registers, work around no errata, and use `int 0x80` for system calls. Only what the
// processor has is claimed. Source: docs/abi/lguest.md §4.6, §7.2.

enum VirtualCPU {
    private static let fpu: UInt32 = 1 << 0
    private static let timeStampCounter: UInt32 = 1 << 4
    private static let compareExchange8: UInt32 = 1 << 8
    private static let conditionalMove: UInt32 = 1 << 15

    /// Family 5, model 4, stepping 0.
    private static let signature: UInt32 = 0x540

    /// - Parameter leaf: eax of the instruction.
    /// - Returns: eax, ebx, ecx, edx.
    static func identification(_ leaf: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        switch leaf {
        case 0:
            let vendor = words("mini lguest ")
            return (1, vendor.0, vendor.2, vendor.1)
        case 1:
            return (
                signature, 0, 0, fpu | timeStampCounter | compareExchange8 | conditionalMove
            )
        case 0x8000_0000: return (0x8000_0004, 0, 0, 0)
        case 0x8000_0002: return words("mini software pr")
        case 0x8000_0003: return words("ocessor (i386)\0\0")
        default: return (0, 0, 0, 0)
        }
    }

    /// Up to sixteen ASCII characters as four little-endian words.
    private static func words(_ text: StaticString) -> (UInt32, UInt32, UInt32, UInt32) {
        func word(_ index: Int) -> UInt32 {
            var value: UInt32 = 0
            for byte in 0..<4 where index * 4 + byte < text.utf8CodeUnitCount {
                value |= UInt32(unsafe text.utf8Start[index * 4 + byte]) << (8 * UInt32(byte))
            }
            return value
        }
        return (word(0), word(1), word(2), word(3))
    }
}
