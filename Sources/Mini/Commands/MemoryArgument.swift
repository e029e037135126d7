// A size of memory as people write it: `64` and `64M` are MiB, `1G` is GiB, `65536K` is KiB; `0x40` are
// MiB, too.

struct MemoryArgument: Equatable {
    let mebibytes: UInt32

    /// True for a word that is meant as a size: digits, perhaps with letters after them.
    static func isMeant(_ word: Text) -> Bool {
        if word.dropping(prefix: "0x") != nil { return word.number != nil }
        let rest = word.bytes.drop { isDigit($0) }
        return rest.count < word.bytes.count && rest.allSatisfy { isLetter($0) }
    }

    /// - Throws: an error of use if it is no size, or one that no launcher could mean.
    init(_ word: Text) throws(CommandError) {
        if word.dropping(prefix: "0x") != nil, let number = word.number {
            mebibytes = try Self.checked(number, word)
            return
        }
        let digits = word.bytes.prefix { Self.isDigit($0) }
        var count: UInt64 = 0
        for digit in digits where count <= UInt64(UInt32.max) {
            count = count * 10 + UInt64(digit - UInt8(ascii: "0"))
        }
        let suffix = Text(bytes: Array(word.bytes[digits.endIndex...]))
        if digits.isEmpty {
            throw .badMemory(word, why: Self.isNoSize)
        } else if suffix == "G" || suffix == "g" {
            count *= 1024
        } else if suffix == "K" || suffix == "k" {
            if count % 1024 != 0 { throw .badMemory(word, why: "is not a whole number of MiB") }
            count /= 1024
        } else if suffix != "M" && suffix != "m" && !suffix.bytes.isEmpty {
            throw .badMemory(word, why: Self.isNoSize)
        }
        mebibytes = try Self.checked(count, word)
    }

    private static func checked(_ count: UInt64, _ word: Text) throws(CommandError) -> UInt32 {
        guard let mebibytes = UInt32(exactly: count) else {
            throw .badMemory(word, why: "is more than any guest can have")
        }
        return mebibytes
    }

    private static var isNoSize: Text { "is not a size: digits, then nothing, K, M or G" }
    private static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }
    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- UInt8(ascii: "a") < 26 }
}
