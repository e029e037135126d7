// The checksums of xz and zstd that gzip does not have. Sources: ECMA-182 for CRC-64; the description of
// XXH64 by its author.

/// The checksum that the xz tool takes by default; four bytes a step.
enum CRC64 {
    private static let polynomial: UInt64 = 0xC96C_5795_D787_0F42

    @_optimize(speed) static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let tables = ChecksumTables.make(polynomial)
        return unsafe tables.withUnsafeBufferPointer { tables in
            guard let table = tables.baseAddress, let start = bytes.baseAddress else {
                return 0
            }
            var checksum = UInt64.max
            var at = 0
            while bytes.count &- at >= 4 {
                let word = unsafe UInt32(
                    littleEndian: start.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                let low = UInt32(truncatingIfNeeded: checksum) ^ word
                let near = unsafe table[768 &+ Int(low & 0xFF)] ^ table[512 &+ Int(low >> 8 & 0xFF)]
                let far = unsafe table[256 &+ Int(low >> 16 & 0xFF)] ^ table[Int(low >> 24)]
                checksum = checksum >> 32 ^ near ^ far
                at &+= 4
            }
            while at < bytes.count {
                let byte = unsafe start.load(fromByteOffset: at, as: UInt8.self)
                let index = Int(UInt8(truncatingIfNeeded: checksum) ^ byte)
                checksum = unsafe checksum >> 8 ^ table[index]
                at &+= 1
            }
            return ~checksum
        }
    }

}

/// Tables of a cyclic redundancy check whose bits come lowest first, for four bytes a step.
enum ChecksumTables {
    /// Four tables of 256: what a byte adds to the checksum when 0 to 3 bytes follow it.
    static func make<Word: FixedWidthInteger & UnsignedInteger>(_ polynomial: Word) -> [Word] {
        var tables = [Word](repeating: 0, count: 1024)
        for byte in 0..<256 {
            var value = Word(byte)
            for _ in 0..<8 { value = value >> 1 ^ (value & 1 == 1 ? polynomial : 0) }
            tables[byte] = value
        }
        for index in 256..<1024 {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }
}

/// The checksum of zstd, with a seed of 0.
enum XXHash64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    @inline(__always)
    private static func turn(_ word: UInt64, _ count: UInt64) -> UInt64 {
        word &<< count | word &>> (64 &- count)
    }

    @inline(__always)
    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        turn(lane &+ word &* prime2, 31) &* prime1
    }

    @_optimize(speed) static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let start =
            unsafe bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped
        func word(_ at: Int) -> UInt64 {
            unsafe UInt64(littleEndian: start.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        }
        var at = 0
        var sum = prime5
        if bytes.count >= 32 {
            var lanes = (prime1 &+ prime2, prime2, UInt64(0), 0 &- prime1)
            while bytes.count &- at >= 32 {
                lanes.0 = round(lanes.0, word(at))
                lanes.1 = round(lanes.1, word(at &+ 8))
                lanes.2 = round(lanes.2, word(at &+ 16))
                lanes.3 = round(lanes.3, word(at &+ 24))
                at &+= 32
            }
            sum = turn(lanes.0, 1) &+ turn(lanes.1, 7) &+ turn(lanes.2, 12) &+ turn(lanes.3, 18)
            sum = (sum ^ round(0, lanes.0)) &* prime1 &+ prime4
            sum = (sum ^ round(0, lanes.1)) &* prime1 &+ prime4
            sum = (sum ^ round(0, lanes.2)) &* prime1 &+ prime4
            sum = (sum ^ round(0, lanes.3)) &* prime1 &+ prime4
        }
        sum &+= UInt64(bytes.count)
        while bytes.count &- at >= 8 {
            sum = turn(sum ^ round(0, word(at)), 27) &* prime1 &+ prime4
            at &+= 8
        }
        if bytes.count &- at >= 4 {
            let half = unsafe UInt32(
                littleEndian: start.loadUnaligned(fromByteOffset: at, as: UInt32.self))
            sum = turn(sum ^ UInt64(half) &* prime1, 23) &* prime2 &+ prime3
            at &+= 4
        }
        while at < bytes.count {
            let byte = unsafe start.load(fromByteOffset: at, as: UInt8.self)
            sum = turn(sum ^ UInt64(byte) &* prime5, 11) &* prime1
            at &+= 1
        }
        sum = (sum ^ sum >> 33) &* prime2
        sum = (sum ^ sum >> 29) &* prime3
        return sum ^ sum >> 32
    }
}
