// The filter that xz puts in front of its packer for x86 code: calls and jumps (E8 and E9) had the distance to their
// target made into the target's address, so that calls of one function look alike. Here they get their distance back.
// Source: docs/abi/pc.md §1.3; the XZ file format; the filter was made for the xz and 7-Zip tools.

enum X86Filter {
    /// The top byte of a distance that is not too far: so near code is that anything else is no call.
    @inline(__always)
    private static func isNear(_ byte: UInt8) -> Bool { byte == 0 || byte == 0xFF }

    /// - Parameters:
    ///   - code: all of what a block unpacked to.
    ///   - origin: the address of its first byte.
    @_optimize(speed)
    static func undo(_ code: UnsafeMutableRawBufferPointer, origin: UInt32) {
        guard code.count >= 5, let start = code.baseAddress else { return }
        let last = code.count - 5
        var at = 0
        // Which of the three bytes before `at` were an opcode that was left as it is: bit 0 the last one.
        // Such a one was part of something else, or this one is.
        var recent: UInt32 = 0
        var seen = -4
        while at <= last {
            let opcode = unsafe start.load(fromByteOffset: at, as: UInt8.self)
            guard opcode & 0xFE == 0xE8 else {
                at &+= 1
                continue
            }
            let since = at &- seen
            recent = since > 3 ? 0 : recent &<< UInt32(since &- 1) & 7
            seen = at
            let word = unsafe UInt32(
                littleEndian: start.loadUnaligned(fromByteOffset: at &+ 1, as: UInt32.self))
            if isNear(UInt8(word >> 24)), isAlone(recent, word) {
                let distance = distance(word, from: origin &+ UInt32(at) &+ 5, recent)
                unsafe (start + (at &+ 1)).storeBytes(
                    of: distance.littleEndian, as: UInt32.self)
                at &+= 5
            } else {
                recent = recent << 1 | 1
                at &+= 1
            }
        }
    }

    /// True if no opcode is near in front, or a single one for which this word's byte, its top one, is too far.
    @inline(__always)
    private static func isAlone(_ recent: UInt32, _ word: UInt32) -> Bool {
        switch recent {
        case 0: true
        case 1: !isNear(UInt8(truncatingIfNeeded: word >> 16))
        case 2: !isNear(UInt8(truncatingIfNeeded: word >> 8))
        case 4: !isNear(UInt8(truncatingIfNeeded: word))
        default: false
        }
    }

    /// The distance that the packer had. Where its own rules would not have taken the address for one, it had turned
    /// the bits below once more.
    @inline(__always)
    private static func distance(_ word: UInt32, from end: UInt32, _ recent: UInt32) -> UInt32 {
        var result = word &- end
        if recent != 0 {
            let shift: UInt32 = recent == 1 ? 16 : recent == 2 ? 8 : 0
            if isNear(UInt8(truncatingIfNeeded: result >> shift)) {
                result = (result ^ (1 &<< (shift &+ 8) &- 1)) &- end
            }
        }
        // 25 bits with a sign.
        return result & 0x100_0000 == 0 ? result & 0x1FF_FFFF : result | 0xFE00_0000
    }
}
