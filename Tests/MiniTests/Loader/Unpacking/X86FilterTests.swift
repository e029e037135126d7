import Testing

@testable import Mini

/// The filter's other half, by its definition: looks at each opcode, asks which of the three bytes before were left, and
/// turns distances into addresses.
private func filtered(_ code: [UInt8], origin: UInt32) -> [UInt8] {
    var bytes = code
    var left: [Int] = []
    var at = 0
    func isNear(_ byte: UInt8) -> Bool { byte == 0 || byte == 0xFF }
    while at + 5 <= bytes.count {
        guard bytes[at] & 0xFE == 0xE8 else {
            at += 1
            continue
        }
        let close = left.filter { at - $0 <= 3 }
        var takes = isNear(bytes[at + 4])
        var byte: Int?
        if close.count > 1 {
            takes = false
        } else if let other = close.first {
            byte = 4 - (at - other)
            if isNear(bytes[at + byte!]) { takes = false }
        }
        guard takes else {
            left.append(at)
            at += 1
            continue
        }
        var word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + 1 + $1]) << (8 * UInt32($1)) }
        let end = origin &+ UInt32(at) &+ 5
        word &+= end
        if let byte, isNear(UInt8(truncatingIfNeeded: word >> (8 * UInt32(byte - 1)))) {
            word = (word ^ (1 << (8 * UInt32(byte)) - 1)) &+ end
        }
        word = word & 0x1FF_FFFF | (word & 0x100_0000 == 0 ? 0 : 0xFE00_0000)
        bytes.put(word, at: at + 1)
        left = []
        at += 5
    }
    return bytes
}

@Suite struct X86FilterTests {
    @Test(
        "what the filter made of code is code again",
        arguments: [0, 0x1000, 0xFFFF_FF00] as [UInt32])
    func roundTrip(_ origin: UInt32) {
        var random = SeededGenerator(seed: UInt64(origin))
        for round in 0..<300 {
            // Mostly opcodes and bytes that are near, so that each rule comes up.
            let code = (0..<(round % 80)).map { _ in
                ([0xE8, 0xE9, 0, 0xFF, 0, 0xFF, UInt8.random(in: 0...255, using: &random)]
                    as [UInt8])
                    .randomElement(using: &random)!
            }
            var bytes = filtered(code, origin: origin)
            bytes.withUnsafeMutableBytes { X86Filter.undo($0, origin: origin) }
            #expect(bytes == code)
        }
    }

    @Test("a call gets its distance back; the last four bytes are left")
    func call() {
        var bytes: [UInt8] = [0x90, 0xE8, 0x06, 0x10, 0, 0, 0xE9, 1, 2, 3]
        bytes.withUnsafeMutableBytes { X86Filter.undo($0, origin: 0) }
        #expect(bytes == [0x90, 0xE8, 0x00, 0x10, 0, 0, 0xE9, 1, 2, 3])
    }
}
