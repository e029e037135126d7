// What the network options say: an address for a new tap, a bridge, a tap, a file.

enum NetworkArgument {
    /// `--tunnet`: `192.168.19.1`, or `bridge:br0`, or `bridge:br0,52:54:00:12:34:56`.
    static func tunnel(_ word: Text) throws(CommandError) -> NetworkRequest {
        guard let rest = word.dropping(prefix: "bridge:") else {
            guard let address = internetAddress(word) else {
                throw .badAddress(word)
            }
            return .address(address)
        }
        let comma = rest.bytes.lastIndex(of: UInt8(ascii: ","))
        let name = Text(bytes: Array(rest.bytes[..<(comma ?? rest.bytes.endIndex)]))
        let bridge = try interface(name)
        guard let comma else { return .bridge(bridge, nil) }
        let last = rest.dropping(comma + 1)
        guard let hardware = hardwareAddress(last) else { throw .badHardwareAddress(last) }
        return .bridge(bridge, hardware)
    }

    /// `--tap`: a name.
    static func tap(_ word: Text) throws(CommandError) -> NetworkRequest {
        .tap(try interface(word))
    }

    private static func interface(_ word: Text) throws(CommandError) -> InterfaceName {
        guard let name = InterfaceName(word) else { throw .badInterface(word) }
        return name
    }

    /// - Returns: nil for the address of zeros, or of a group, too.
    private static func internetAddress(_ word: Text) -> InternetAddress? {
        guard let bytes = numbers(word, separator: UInt8(ascii: "."), radix: 10), bytes.count == 4,
            (1..<224).contains(bytes[0])
        else { return nil }
        return InternetAddress(bytes: (bytes[0], bytes[1], bytes[2], bytes[3]))
    }

    /// - Returns: nil for a group address, too, which no interface can have.
    private static func hardwareAddress(_ word: Text) -> HardwareAddress? {
        guard let bytes = numbers(word, separator: UInt8(ascii: ":"), radix: 16), bytes.count == 6,
            bytes[0] & 1 == 0, bytes.contains(where: { $0 != 0 })
        else { return nil }
        return HardwareAddress(bytes)
    }

    /// Numbers of a byte each.
    private static func numbers(_ word: Text, separator: UInt8, radix: Int) -> [UInt8]? {
        var numbers: [UInt8] = []
        var number: Int?
        for byte in word.bytes + [separator] {
            if byte == separator {
                guard let finished = number else { return nil }
                numbers.append(UInt8(finished))
                number = nil
            } else {
                guard let digit = digit(byte), digit < radix else { return nil }
                number = (number ?? 0) * radix + digit
                if number! > 255 { return nil }
            }
        }
        return numbers
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}
