// An address and how many of its bits are the network's: version 4 or 6 of the Internet Protocol.

struct InternetNetwork: Equatable {
    /// Four or sixteen.
    let bytes: [UInt8]
    let prefix: UInt8

    /// - Parameter word: `10.0.0.1/24`, `fd00::1/64`; without a prefix the whole address.
    init?(_ word: Text) {
        let slash = word.firstIndex(of: UInt8(ascii: "/"))
        let address = word.prefix(slash ?? word.bytes.count)
        guard let bytes = Self.four(address) ?? Self.six(address) else { return nil }
        let most = UInt64(bytes.count * 8)
        let length = slash.map { word.dropping($0 + 1).number } ?? most
        guard let length, length <= most else { return nil }
        self.bytes = bytes
        prefix = UInt8(length)
    }

    /// True if no bit is set after the prefix: the kernel has no route to an address in a network.
    var isNetwork: Bool {
        for (index, byte) in bytes.enumerated() {
            let known = max(0, min(8, Int(prefix) - index * 8))
            if known < 8 && byte & (0xFF >> UInt8(known)) != 0 { return false }
        }
        return true
    }

    /// AF_INET or AF_INET6.
    var family: UInt8 { bytes.count == 4 ? 2 : 10 }

    private static func four(_ text: Text) -> [UInt8]? {
        let parts = text.bytes[...].split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            let digits = Text(bytes: Array(part))
            guard part.count <= 3, part.allSatisfy({ $0 >= 48 && $0 <= 57 }),
                let number = digits.number.flatMap({ UInt8(exactly: $0) })
            else { return nil }
            bytes.append(number)
        }
        return bytes
    }

    private static func six(_ text: Text) -> [UInt8]? {
        var head: [UInt8] = []
        var tail: [UInt8]?
        var rest = text.bytes[...]
        if rest.starts(with: [58, 58]) {
            tail = []
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let part = rest.prefix { $0 != UInt8(ascii: ":") }
            var value: UInt64?
            if (1...4).contains(part.count) {
                value = Text(bytes: [48, 120] + Array(part)).number
            }
            guard let value else { return nil }
            let word = [UInt8(value >> 8), UInt8(value & 0xFF)]
            if tail == nil { head += word } else { tail? += word }
            rest = rest.dropFirst(part.count)
            if rest.isEmpty { break }
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: ":") {
                guard tail == nil else { return nil }
                tail = []
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        guard let tail else { return head.count == 16 ? head : nil }
        guard head.count + tail.count <= 14 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }
}
