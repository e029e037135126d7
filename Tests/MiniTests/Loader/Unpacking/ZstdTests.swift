import Testing

@testable import Mini

@Suite struct ZstdTests {
    static let text: [UInt8] = Array("some text".utf8)

    private func failure(_ spec: ZstdSpec, room: Int = 4096) -> UnpackFailure? {
        unpack(spec.bytes(), room: room).outcome.failure
    }

    @Test("what zstd packed is unpacked: all kinds of literals, with and without a checksum")
    func whole() {
        for (packed, data) in [
            (PackedVectors.zstdCode, PackedVectors.code),
            (PackedVectors.zstdLetters, PackedVectors.letters),
            (PackedVectors.zstdFew, Array(PackedVectors.letters[..<200])),
        ] {
            let (outcome, bytes) = unpack(
                [7] + packed + [9], at: 1, end: packed.count + 1, room: data.count)
            #expect(outcome == Unpacked(position: packed.count + 1, produced: data.count))
            #expect(bytes == data)
        }
    }

    @Test("stored and repeated bytes, several frames, and frames to be skipped")
    func frames() {
        let spec = ZstdSpec(blocks: [.stored(Self.text), .repeated(0x2E, 5), .stored([])])
        let skipped: [UInt8] = [0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3]
        let packed = spec.bytes() + skipped + spec.bytes()
        let (outcome, bytes) = unpack(packed, as: .zstd, room: 28)
        #expect(outcome == Unpacked(position: packed.count, produced: 28))
        #expect(bytes == Array("some text.....some text.....".utf8))
        #expect(unpack(skipped + packed, as: .zstd, room: 28).bytes == bytes)
        let cut = unpack(spec.bytes() + skipped.dropLast(), as: .zstd, room: 28).outcome
        #expect(cut.failure == .endsEarly)
    }

    @Test("a frame's size stands in 1, 2, 4 or 8 bytes")
    func sizes() {
        func failure(_ header: [UInt8], _ count: Int) -> UnpackFailure? {
            self.failure(ZstdSpec(blocks: [.repeated(1, count)], header: header), room: 300)
        }
        #expect(failure([0x20, 9], 9) == nil)
        #expect(failure([0x60, 1, 0], 257) == nil)
        #expect(failure([0xA0, 9, 0, 0, 0], 9) == nil)
        #expect(failure([0xE0, 9, 0, 0, 0, 0, 0, 0, 0], 9) == nil)
        #expect(failure([0x40, 0, 1, 0], 257) == nil)
        #expect(failure([0x20, 9], 8) == .wrongLength)
        #expect(failure([0x60, 1, 1], 300) == .full)
        #expect(failure([0xE0, 9, 0, 0, 0, 0, 0, 0, 0xFF], 9) == .full)
        #expect(failure([0xC0, 0xFF] + [UInt8](repeating: 0xFF, count: 8), 9) == .full)
    }

    @Test("a frame that asks for what mini does not have is refused")
    func headers() {
        #expect(
            failure(ZstdSpec(blocks: [.stored([])], header: [8, 0]))
                == .corrupt("a frame of unknown kind"))
        #expect(
            failure(ZstdSpec(blocks: [.stored([])], header: [1, 0, 7]))
                == .corrupt("a frame that needs a dictionary"))
        #expect(failure(ZstdSpec(blocks: [.stored([])], header: [3, 0, 0, 0, 0, 0])) == nil)
        #expect(failure(ZstdSpec(blocks: [.unknown])) == .corrupt("a block of unknown kind"))
        // The window of 1 KiB bounds the blocks.
        #expect(failure(ZstdSpec(blocks: [.repeated(1, 1024)])) == nil)
        #expect(
            failure(ZstdSpec(blocks: [.repeated(1, 1025)]))
                == .corrupt("a block of doubtful length"))
        let other = unpack([1, 2, 3, 4], as: .zstd, room: 9).outcome
        #expect(other == Unpacked(position: 0, produced: 0, failure: .corrupt("no zstd signature")))
    }

    @Test("a checksum is held against the data, with its place")
    func checksum() {
        let packed = PackedVectors.zstdCode
        let outcome = unpack(packed.changed(packed.count - 1) { $0 ^ 1 }, room: 1500).outcome
        #expect(
            outcome
                == Unpacked(position: packed.count - 4, produced: 1500, failure: .wrongChecksum))
        let cut = unpack(Array(packed.dropLast()), room: 1500).outcome
        #expect(cut.failure == .endsEarly && cut.position == packed.count - 1)
    }

    /// A block of these literals, stored, and the sequences' part.
    private func block(_ literals: [UInt8], _ sequences: [UInt8]) -> ZstdSpec {
        ZstdSpec(blocks: [.packed([UInt8(literals.count << 3)] + literals + sequences)])
    }

    @Test("sequences of one symbol each: a literal, then a copy of three, again and again")
    func sequences() {
        // Modes: each table a single symbol. Literal length 1, distance code 2 (4 and two bits), match length 3.
        // Two sequences: distances 4 and 5, less three; the bits from the end: mark, 00, 01.
        let spec = block([65, 66, 67], [2, 0x54, 1, 2, 0, 0b1_0001])
        #expect(unpack(spec.bytes(), room: 64).bytes == Array("AAAABABAC".utf8))
        #expect(unpack(spec.bytes(), room: 9).outcome.failure == nil)
        #expect(unpack(spec.bytes(), room: 8).outcome.failure == .full)
    }

    @Test("recent distances come back by number, in another order behind no literals")
    func recent() {
        // A single sequence of distance code 0, which is the last distance: 1 at the beginning.
        #expect(
            unpack(block([65], [1, 0x54, 1, 0, 0, 1]).bytes(), room: 64).bytes == [65, 65, 65, 65])
        // Code 1 has a bit: the second last, which is 4, or the third, which is 8.
        let four = block([65, 66, 67, 68], [1, 0x54, 4, 1, 0, 0b10])
        #expect(unpack(four.bytes(), room: 64).bytes == Array("ABCDABC".utf8))
        let text = Array("ABCDEFGH".utf8)
        let eight = block(text, [1, 0x54, 8, 1, 0, 0b11])
        #expect(unpack(eight.bytes(), room: 64).bytes == text + [65, 66, 67])
        // Without a literal before it, number 3 is the last one less 1: there is no distance of 0.
        let none = block([], [1, 0x54, 0, 1, 0, 0b11])
        #expect(failure(none) == .corrupt("a copy from before the beginning"))
    }

    @Test("blocks that make no sense are refused")
    func blocks() {
        func failure(_ inside: [UInt8], room: Int = 4096) -> UnpackFailure? {
            unpack(ZstdSpec(blocks: [.packed(inside)]).bytes(), room: room).outcome.failure
        }
        #expect(failure([]) == .corrupt("an empty block"))
        #expect(failure([8, 65]) == .corrupt("a block without a number of sequences"))
        #expect(failure([8, 65, 0]) == nil)
        #expect(failure([8, 65, 0, 0]) == .corrupt("a block with something behind it"))
        #expect(failure([16, 65]) == .corrupt("literals that are longer than their block"))
        #expect(failure([0x0C, 0xFF]) == .corrupt("a block that is too short"))
        #expect(failure([0x0D, 0xFF, 0xFF, 65, 0]) == .corrupt("too many literals"))
        #expect(failure([1 | 40 << 3 & 0xF8, 65, 0]) == nil)
        // No code was given before.
        #expect(failure([0x03 | 16, 0x40, 0, 0, 0]) == .corrupt("a code that was never given"))
        #expect(
            failure([8, 65, 1, 0xFC, 0, 0]) == .corrupt("a code that was never given"))
        #expect(failure([8, 65, 1, 1]) == .corrupt("sequences of unknown kind"))
        #expect(failure([8, 65, 1, 0x54, 36]) == .corrupt("a symbol that its code does not have"))
        #expect(
            failure([8, 65, 1, 0x54, 1, 32]) == .corrupt("a symbol that its code does not have"))
        #expect(
            failure([8, 65, 1, 0x54, 1, 0, 53]) == .corrupt("a symbol that its code does not have"))
        #expect(failure([8, 65, 1, 0x54, 1, 0]) == .corrupt("a block that is too short"))
        #expect(
            failure([8, 65, 1, 0x54, 1, 0, 0, 0])
                == .corrupt("bits without a mark where they begin"))
        #expect(
            failure([8, 65, 1, 0x54, 1, 0, 0, 2])
                == .corrupt("sequences that end in the wrong place"))
        #expect(failure([8, 65, 1, 0x54, 2, 0, 0, 1]) == .corrupt("more literals than there are"))
        // A distance of 5 behind one literal.
        #expect(
            failure([8, 65, 1, 0x54, 1, 3, 0, 0b1000])
                == .corrupt("a copy from before the beginning"))
        // 65,539 bytes of one, where a block has 1 KiB.
        #expect(
            failure([8, 65, 1, 0x54, 1, 0, 52, 0, 0, 1], room: 99_999)
                == .corrupt("a block that is too long"))
        #expect(failure([8, 65, 1, 0x54, 1, 0, 52, 0, 0, 1], room: 999) == .full)
    }

    @Test("codes that make no sense are refused")
    func codes() {
        // One stream of ten literals, as many bytes as follow.
        func failure(_ code: [UInt8]) -> UnpackFailure? {
            let size = code.count
            let head = UInt64(2 | 10 << 4 | size << 14)
            return unpack(
                ZstdSpec(blocks: [.packed(.little(head, 3) + code + [0])]).bytes(), room: 99
            ).outcome.failure
        }
        // Weights of four bits each: of three symbols, 1, 1, and so 2 for the last.
        #expect(
            failure([129, 0x11, 0, 0, 0, 1]) == .corrupt("literals that end in the wrong place"))
        #expect(failure([129, 0x11, 0]) == .corrupt("literals that end in the wrong place"))
        #expect(failure([129, 0x00, 1]) == .corrupt("an incomplete code"))
        #expect(failure([129, 0x14, 1]) == .corrupt("an incomplete code"))
        #expect(failure([129, 0xC1, 1]) == .corrupt("a code with words that are too long"))
        #expect(failure([200, 0x11, 1]) == .corrupt("a code that is longer than its block"))
        #expect(failure([9, 0x11, 1]) == .corrupt("a code that is longer than its block"))
        #expect(failure([2, 0x0F, 1]) == .corrupt("a code with too many states"))
        #expect(failure([2, 0xF0, 0xFF]) != nil)
        // The letters' code with each bit of its description turned: a few say no more than there was, as zstd finds too.
        var refused = 0
        for at in 11..<40 {
            for bit in 0..<8 {
                let packed = PackedVectors.zstdLetters.changed(at) { $0 ^ 1 << bit }
                let (outcome, bytes) = unpack(packed, room: 1200)
                if outcome.failure != nil { refused += 1 }
                #expect(outcome.failure != nil || bytes == PackedVectors.letters)
            }
        }
        #expect(refused == 221)
    }

    @Test("the checksum of 64 bits gives the published values")
    func xxhash() {
        func hash(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { XXHash64.of($0) } }
        #expect(hash([]) == 0xEF46_DB37_51D8_E999)
        #expect(hash(Array("a".utf8)) == 0xD24E_C4F1_A98C_6E5B)
        #expect(hash(Array("abc".utf8)) == 0x44BC_2CF5_AD77_0999)
        let pangram = "The quick brown fox jumps over the lazy dog"
        #expect(hash(Array(pangram.utf8)) == 0x0B24_2D36_1FDA_71BC)
    }
}
