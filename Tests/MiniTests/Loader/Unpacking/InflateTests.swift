import Testing

@testable import Mini

/// Unpacks raw deflate data.
private func inflate(
    _ packed: [UInt8], room: Int
) -> (bytes: [UInt8], position: Int, failure: Inflate.Failure?) {
    var output = [UInt8](repeating: 0, count: room)
    var failure: Inflate.Failure?
    let (position, produced) = ByteView.of(packed) { view in
        output.withUnsafeMutableBytes { buffer in
            var inflate = Inflate(view, from: 0, to: buffer)
            do throws(Inflate.Failure) { try inflate.run() } catch { failure = error }
            return (inflate.position, inflate.produced)
        }
    }
    return (Array(output[..<produced]), position, failure)
}

/// Bits as they stand in deflate data: each group is a number, lowest bit first.
private func bits(_ groups: (value: Int, count: Int)...) -> [UInt8] {
    var bytes: [UInt8] = []
    var at = 0
    for group in groups {
        for bit in 0..<group.count {
            if at % 8 == 0 { bytes.append(0) }
            bytes[at / 8] |= UInt8(group.value >> bit & 1) << (at % 8)
            at += 1
        }
    }
    return bytes
}

@Suite struct InflateTests {
    @Test("stored blocks come out as they went in")
    func stored() {
        let data = (0..<2500).map { UInt8(truncatingIfNeeded: $0 * 7) }
        let packed = Packer.stored(data)
        let result = inflate(packed + [9, 9], room: 2500)
        #expect(result.bytes == data)
        #expect(result.position == packed.count)
        #expect(result.failure == nil)
    }

    @Test("fixed codes with copies, near, far and overlapping")
    func fixed() {
        var random = SeededGenerator(seed: 1)
        for length in [0, 1, 2, 3, 300, 40_000] {
            var data: [UInt8] = []
            while data.count < length {
                data.append(UInt8.random(in: 0...255, using: &random))
                if data.count > 3 && Int.random(in: 0..<3, using: &random) == 0 {
                    let distance = Int.random(in: 1...min(data.count, 32768), using: &random)
                    for _ in 0..<Int.random(in: 3...400, using: &random) {
                        data.append(data[data.count - distance])
                    }
                }
            }
            let packed = Packer.deflate(data)
            let result = inflate(packed, room: data.count)
            #expect(result.bytes == data && result.failure == nil)
            #expect(result.position == packed.count)
        }
    }

    @Test("dynamic codes, some longer than the table's index")
    func dynamic() {
        let deflated = Array(InflateVectors.dynamic[10...])
        let result = inflate(deflated, room: InflateVectors.dynamicCount)
        #expect(result.failure == nil)
        #expect(result.position == deflated.count - 8)
        #expect(Packer.slowChecksum(result.bytes) == InflateVectors.dynamicChecksum)
    }

    @Test("data that stop anywhere end early, and what came before is right")
    func endsEarly() {
        let deflated = Array(InflateVectors.dynamic[10...].dropLast(8))
        let whole = inflate(deflated, room: InflateVectors.dynamicCount).bytes
        for count in 0..<deflated.count {
            let result = inflate(Array(deflated[..<count]), room: InflateVectors.dynamicCount)
            #expect(result.failure == .endsEarly && result.position <= count)
            #expect(whole.starts(with: result.bytes))
        }
    }

    @Test("output that does not fit is not written")
    func full() {
        for packed in [
            Packer.deflate([UInt8](repeating: 5, count: 500)), Packer.stored([1, 2, 3]),
        ] {
            let result = inflate(packed, room: 2)
            #expect(result.failure == .full && result.bytes.count <= 2)
        }
    }

    @Test("what no packer writes is called by its name")
    func corrupt() {
        let cases: [(String, [UInt8])] = [
            ("a block of unknown kind", bits((1, 1), (3, 2))),
            ("a stored block of doubtful length", [1, 5, 0, 5, 0]),
            ("a code with too many symbols", bits((1, 1), (2, 2), (30, 5), (0, 5), (0, 4), (0, 9))),
            (
                "a copy from before the beginning",
                bits((1, 1), (1, 2), (0b100_0000, 7), (0, 5), (0, 9))
            ),
            // Length symbol 257 is 0000001, distance symbol 30 is 11110.
            (
                "a copy from an unknown distance",
                bits((1, 1), (1, 2), (0b100_0000, 7), (0b01111, 5))
            ),
            // Symbol 286 is 11000110.
            ("a copy of unknown length", bits((1, 1), (1, 2), (0b0110_0011, 8), (0, 9))),
            // Four lengths of 1 in the code of lengths.
            (
                "a code with too many words",
                bits(
                    (1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (1, 3), (1, 3), (1, 3), (1, 3), (0, 30))
            ),
            (
                "an incomplete code",
                bits(
                    (1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (2, 3), (2, 3), (0, 3), (0, 3), (0, 30))
            ),
            // 16 (repeat) as the first length.
            (
                "a repetition of nothing",
                bits(
                    (1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (1, 3), (1, 3), (0, 3), (0, 3), (0, 30))
            ),
            // 18 twice: 138 zeros, and then 138 more than there is room for.
            (
                "a repetition beyond the end of a code",
                bits(
                    (1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (0, 3), (1, 3), (1, 3), (0, 3),
                    (1, 1), (127, 7), (1, 1), (127, 7), (0, 30))
            ),
            // 18 for 138 and 120 zeros: no code for the end of the block.
            (
                "a block that cannot end",
                bits(
                    (1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (0, 3), (1, 3), (1, 3), (0, 3),
                    (1, 1), (127, 7), (1, 1), (109, 7), (0, 30))
            ),
        ]
        for (what, packed) in cases {
            let result = inflate(packed + [0, 0, 0, 0], room: 100)
            #expect(result.failure == .corrupt(Text(stringLiteral: what)), "\(what)")
        }
        for (what, packed) in cases {
            // The same with so much behind it that nothing can end in a word of a code.
            let result = inflate(packed + [UInt8](repeating: 0, count: 100), room: 1000)
            #expect(result.failure == .corrupt(Text(stringLiteral: what)), "\(what), far")
        }
    }

    @Test("what fits comes out right, and nothing is written behind it")
    func room() {
        let packed = Array(InflateVectors.dynamic[10...])
        let whole = inflate(packed, room: InflateVectors.dynamicCount).bytes
        for room in 0..<whole.count {
            var output = [UInt8](repeating: 0xA5, count: room + 300)
            let (failure, produced) = ByteView.of(packed) { view in
                output.withUnsafeMutableBytes { buffer -> (Inflate.Failure?, Int) in
                    var inflate = Inflate(
                        view, from: 0, to: UnsafeMutableRawBufferPointer(rebasing: buffer[..<room]))
                    do throws(Inflate.Failure) { try inflate.run() } catch {
                        return (error, inflate.produced)
                    }
                    return (nil, inflate.produced)
                }
            }
            // A copy that does not fit, of 258 bytes at most, is left out.
            #expect(failure == .full && produced <= room && room - produced < 258)
            #expect(output[..<produced] == whole[..<produced])
            #expect(output[produced...].allSatisfy { $0 == 0xA5 })
        }
    }

    @Test(
        "a copy repeats what was written just before, at every distance and length, far from both ends",
        arguments: 1...20)
    func copies(_ distance: Int) {
        for length in 3...258 {
            let start = (0..<distance).map { UInt8(truncatingIfNeeded: $0 * 37 + 5) }
            let tail = (0..<400).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3 ^ $0) }
            var data = start
            for _ in 0..<length { data.append(data[data.count - distance]) }
            data += tail
            let packed = Packer.deflate(data)
            let result = inflate(packed + [UInt8](repeating: 0, count: 64), room: data.count + 300)
            #expect(result.failure == nil && result.bytes == data)
        }
    }
}
