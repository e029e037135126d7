// Text as bytes. A message is built once and written by one system call. `String`'s
// comparison, hashing and splitting would bring 60 KB of Unicode tables along; a file name or
// a kernel's banner is bytes anyway. The steps that every message is made of are kept from being
// inlined: a hundred messages of them are 20 KB. A literal is given to them by its address alone.

/// A line or paragraph under construction: UTF-8 or any other bytes.
///
///     let line: Text = "cannot open \(quoted: name): \(errno)"
struct Text: ExpressibleByStringInterpolation, StringInterpolationProtocol, Equatable {
    private(set) var bytes: [UInt8] = []

    init() {}
    /// With room for most lines, whatever is asked for: two numbers at each message are 4 KB.
    @inline(never)
    init(literalCapacity: Int, interpolationCount: Int) { bytes.reserveCapacity(96) }
    @inline(__always)
    init(stringLiteral: StaticString) { unsafe self.init(cString: Self.address(stringLiteral)) }
    init(stringInterpolation: Text) { self = stringInterpolation }
    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The bytes up to a NUL.
    @inline(never)
    init(cString start: UnsafeRawPointer) {
        var count = 0
        while unsafe start.load(fromByteOffset: count, as: UInt8.self) != 0 { count += 1 }
        bytes = unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    @inline(__always)
    mutating func appendLiteral(_ literal: StaticString) {
        // Also what stands between two interpolations is one, mostly without a byte.
        if literal.utf8CodeUnitCount > 0 { unsafe append(cString: Self.address(literal)) }
    }
    /// Where a literal is, which has a NUL behind it and none inside.
    @inline(__always)
    private static func address(_ literal: StaticString) -> UnsafePointer<UInt8> {
        let start = unsafe literal.utf8Start
        unsafe assert(
            !UnsafeBufferPointer(start: start, count: literal.utf8CodeUnitCount).contains(0))
        return unsafe start
    }
    @inline(never)
    private mutating func append(cString start: UnsafePointer<UInt8>) {
        unsafe bytes.append(contentsOf: Text(cString: start).bytes)
    }

    @inline(never)
    mutating func appendInterpolation(_ text: Text) { bytes.append(contentsOf: text.bytes) }
    /// Literals are contiguous; whatever else there may be would bring the ways of Unicode along.
    @inline(never)
    mutating func appendInterpolation(_ text: String) {
        _ = unsafe text.utf8.withContiguousStorageIfAvailable {
            unsafe bytes.append(contentsOf: $0)
        }
    }

    @inline(never)
    mutating func appendInterpolation(_ text: StaticString) {
        unsafe bytes.append(
            contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func appendInterpolation(_ byte: UInt8, character: Void) { bytes.append(byte) }

    /// In decimal.
    mutating func appendInterpolation<Number: FixedWidthInteger>(_ number: Number) {
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        appendDigits(UInt64(number.magnitude), radix: 10, width: 1)
    }

    /// In hexadecimal with `0x` in front, padded with zeros to `width` digits.
    mutating func appendInterpolation<Number: FixedWidthInteger & UnsignedInteger>(
        hex number: Number, width: Int = 1
    ) {
        appendLiteral("0x")
        appendDigits(UInt64(number), radix: 16, width: width)
    }

    /// In hexadecimal without a prefix.
    mutating func appendInterpolation<Number: FixedWidthInteger & UnsignedInteger>(
        bareHex number: Number, width: Int = 1
    ) {
        appendDigits(UInt64(number), radix: 16, width: width)
    }

    /// Between quotation marks, bytes that a terminal would obey made visible as `\xNN`.
    @inline(never)
    mutating func appendInterpolation(quoted text: Text) {
        bytes.append(UInt8(ascii: "\""))
        appendInterpolation(visible: text)
        bytes.append(UInt8(ascii: "\""))
    }

    /// With control characters made visible as `\xNN`, also those of U+0080 to U+009F, and bytes that are no UTF-8,
    /// which a terminal may take for such.
    @inline(never)
    mutating func appendInterpolation(visible text: Text) {
        var rest = text.bytes[...]
        while let byte = rest.first {
            var count = byte < 0x20 || byte == 0x7F ? 0 : 1
            if byte >= 0x80 { count = Self.lengthOfCharacter(rest) }
            if byte == 0xC2, count == 2, rest[rest.startIndex + 1] < 0xA0 { count = 0 }
            if count == 0 {
                appendLiteral("\\x")
                appendDigits(UInt64(byte), radix: 16, width: 2)
                count = 1
            } else {
                bytes.append(contentsOf: rest.prefix(count))
            }
            rest = rest.dropFirst(count)
        }
    }

    /// How many bytes of UTF-8 the first character has, of one that has several; 0 if it is none. Source: RFC 3629.
    @inline(never)
    static func lengthOfCharacter(_ bytes: ArraySlice<UInt8>) -> Int {
        let bytes = Array(bytes.prefix(4))
        let count =
            switch bytes[0] {
            case 0xC2...0xDF: 2
            case 0xE0...0xEF: 3
            case 0xF0...0xF4: 4
            default: 0
            }
        guard count > 0, bytes.count >= count else { return 0 }
        for byte in bytes[1..<count] where byte & 0xC0 != 0x80 { return 0 }
        // Too long for what it says, half of a pair, or behind the last one.
        switch (bytes[0], bytes[1]) {
        case (0xE0, ..<0xA0), (0xED, 0xA0...), (0xF0, ..<0x90), (0xF4, 0x90...): return 0
        default: return count
        }
    }

    /// The kernel's words and name: `no such file (ENOENT)`.
    @inline(never)
    mutating func appendInterpolation(_ errno: Errno) {
        let words = errno.words
        appendInterpolation(words.text)
        appendLiteral(" (")
        appendInterpolation(words.name)
        if words.name.utf8CodeUnitCount == 5 && words.text.utf8CodeUnitCount == 5 {
            appendLiteral(" ")
            appendInterpolation(errno.rawValue)
        }
        appendLiteral(")")
    }

    @inline(never)
    static func += (left: inout Text, right: Text) { left.bytes.append(contentsOf: right.bytes) }
    @inline(never)
    mutating func append(_ byte: UInt8) { bytes.append(byte) }

    @inline(never)
    private mutating func appendDigits(_ number: UInt64, radix: UInt64, width: Int) {
        var digits: [UInt8] = []
        var rest = number
        repeat {
            let digit = UInt8(rest % radix)
            digits.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            rest /= radix
        } while rest > 0
        for _ in 0..<Swift.max(0, width - digits.count) { bytes.append(UInt8(ascii: "0")) }
        while let digit = digits.popLast() { bytes.append(digit) }
    }
}

extension Text {
    /// The bytes in a range of it.
    @inline(never)
    func part(_ range: Range<Int>) -> Text { Text(bytes: Array(bytes[range])) }

    /// Its first bytes.
    func prefix(_ count: Int) -> Text { part(0..<count) }

    /// Without its first bytes.
    func dropping(_ count: Int) -> Text { part(count..<bytes.count) }

    /// Where a byte stands in it, the first time; nil if it does not.
    @inline(never)
    func firstIndex(of byte: UInt8) -> Int? { bytes.firstIndex(of: byte) }

    /// Where a byte stands in it, the last time; nil if it does not.
    @inline(never)
    func lastIndex(of byte: UInt8) -> Int? { bytes.lastIndex(of: byte) }

    /// True if a path can only be meant for a directory: `bin/`, `bin/.`, `/` or `.`.
    var namesFolder: Bool {
        bytes.last == UInt8(ascii: "/") || self == "." || dropping(suffix: "/.") != nil
    }

    /// Without this ending; nil if it does not end so.
    @inline(never)
    func dropping(suffix: StaticString) -> Text? {
        let rest = bytes.count - suffix.utf8CodeUnitCount
        guard rest >= 0, dropping(rest) == suffix else { return nil }
        return prefix(rest)
    }

    /// Without this beginning; nil if it does not begin so.
    @inline(never)
    func dropping(prefix: StaticString) -> Text? {
        let count = prefix.utf8CodeUnitCount
        guard bytes.count >= count, self.prefix(count) == prefix else { return nil }
        return dropping(count)
    }

    /// True if these are exactly the bytes of the literal.
    @inline(__always)
    static func == (left: Text, right: StaticString) -> Bool {
        unsafe left.equals(cString: address(right))
    }
    @inline(never)
    private func equals(cString start: UnsafePointer<UInt8>) -> Bool {
        for index in bytes.indices where unsafe start[index] != bytes[index] || bytes[index] == 0 {
            return false
        }
        return unsafe start[bytes.count] == 0
    }

    static func ~= (pattern: StaticString, text: Text) -> Bool { text == pattern }

    /// What every part says of an event that its state cannot have.
    @inline(never)
    static func defect(state: Text) -> Text {
        "a defect of mini, please report it: in the state \"\(state)\" came what cannot come there"
    }

    /// The number that the whole text is, in decimal or in hexadecimal after `0x`; nil if it
    /// is none, or more than 64 bits.
    var number: UInt64? { Self.number(bytes.span) }

    /// The same of a part of a text.
    static func number(_ bytes: Span<UInt8>) -> UInt64? {
        let isHex =
            bytes.count > 2 && bytes[0] == UInt8(ascii: "0") && bytes[1] | 0x20 == UInt8(ascii: "x")
        guard !bytes.isEmpty else { return nil }
        var value: UInt64 = 0
        for index in (isHex ? 2 : 0)..<bytes.count {
            var digit = bytes[index] &- UInt8(ascii: "0")
            if digit > 9 {
                let letter = (bytes[index] | 0x20) &- UInt8(ascii: "a")
                guard isHex, letter < 6 else { return nil }
                digit = letter + 10
            }
            let (scaled, isLong) = value.multipliedReportingOverflow(by: isHex ? 16 : 10)
            let (sum, isLonger) = scaled.addingReportingOverflow(UInt64(digit))
            guard !isLong, !isLonger else { return nil }
            value = sum
        }
        return value
    }
}
