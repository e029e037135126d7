// Numbers as bytes, the lowest first: as this machine, and all files and messages here, have them.

enum LittleEndian {
    /// - Parameters:
    ///   - offset: from which of the bytes on.
    ///   - count: of how many, which are there.
    @inline(never)
    static func number(_ bytes: ArraySlice<UInt8>, at offset: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in (0..<count).reversed() {
            value = value << 8 | UInt64(bytes[bytes.startIndex + offset + index])
        }
        return value
    }

    /// A word of 32 bits; all of its bytes are there.
    static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: number(bytes[...], at: offset, 4))
    }

    /// The lowest bytes of a number.
    @inline(never)
    static func bytes(_ value: UInt32, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
    }
}
