import Testing

@testable import Mini

@Suite struct XzTests {
    static let text: [UInt8] = Array("some text".utf8)

    private func failure(_ spec: XzSpec, room: Int = 1000) -> UnpackFailure? {
        unpack(spec.bytes(), room: room).outcome.failure
    }

    @Test("a stream is unpacked, wherever it is in a file, and what follows is left alone")
    func whole() {
        for packed in [PackedVectors.xzCode, PackedVectors.xzCode64] {
            let (outcome, bytes) = unpack([7] + packed + [0, 1], at: 1, room: 1500)
            #expect(outcome == Unpacked(position: packed.count + 1, produced: 1500))
            #expect(bytes == PackedVectors.code)
        }
    }

    @Test(
        "blocks of stored chunks are unpacked whatever their check",
        arguments: [0, 1, 4] as [UInt8])
    func stored(_ check: UInt8) {
        var spec = XzSpec(Self.text, Array("and more".utf8))
        spec.check = check
        let packed = spec.bytes()
        #expect(unpack(packed, room: 17).bytes == Array("some textand more".utf8))
        #expect(unpack(packed, room: 17).outcome == Unpacked(position: packed.count, produced: 17))
        #expect(unpack(packed, room: 16).outcome.failure == .full)
        // A byte of the data changed: found where there is a check.
        let at = packed.firstRange(of: Self.text)!.lowerBound
        let wrong = unpack(packed.changed(at) { $0 ^ 1 }, room: 17).outcome
        #expect(wrong.failure == (check == 0 ? nil : .wrongChecksum))
    }

    @Test("sizes in a block's header are held against the block")
    func sizes() {
        var spec = XzSpec(Self.text)
        spec.blocks[0].packedSize = 13
        spec.blocks[0].unpackedSize = 9
        #expect(failure(spec) == nil)
        spec.blocks[0].packedSize = 14
        #expect(failure(spec) == .wrongLength)
        spec.blocks[0].packedSize = 13
        spec.blocks[0].unpackedSize = 8
        #expect(failure(spec) == .wrongLength)
    }

    @Test("what a header says and mini does not know is refused")
    func headers() {
        var spec = XzSpec(Self.text)
        // SHA-256.
        spec.check = 10
        #expect(failure(spec) == .corrupt("a check that mini does not know"))
        func withFilters(_ filters: [(UInt8, [UInt8])]) -> UnpackFailure? {
            var spec = XzSpec(Self.text)
            spec.blocks[0].filters = filters
            return failure(spec)
        }
        let lzma: (UInt8, [UInt8]) = (0x21, [0])
        #expect(withFilters([(4, []), lzma]) == nil)
        #expect(withFilters([(4, [1, 2, 3, 4]), lzma]) == nil)
        #expect(
            withFilters([(3, [0]), lzma])
                == .corrupt("a filter that mini does not know, number 3"))
        #expect(withFilters([(4, [])]) == .corrupt("a filter that mini does not know, number 4"))
        #expect(
            withFilters([(4, []), (4, []), lzma])
                == .corrupt("a filter that mini does not know, number 4"))
        #expect(
            withFilters([lzma, lzma]) == .corrupt("a filter that mini does not know, number 33"))
        #expect(withFilters([(0x21, [41])]) == .corrupt("a dictionary that is too large"))
        #expect(withFilters([(0x21, [40])]) == nil)
        spec = XzSpec(Self.text)
        spec.blocks[0].flags = 4
        #expect(failure(spec) == .corrupt("a block of unknown kind"))
        spec.blocks[0].flags = nil
        spec.blocks[0].headerPadding = [0, 0, 1]
        #expect(failure(spec) == .corrupt("a block header with something behind it"))
        spec.blocks[0].headerPadding = []
        spec.blocks[0].flags = 1
        #expect(failure(spec) == .corrupt("a filter that mini does not know, number 33"))
    }

    @Test("index, footer and padding are held against the blocks")
    func ends() {
        var spec = XzSpec(Self.text)
        spec.recordCount = 2
        #expect(failure(spec) == .corrupt("an index of other blocks than there are"))
        spec.recordCount = nil
        spec.recordChange = 1
        #expect(failure(spec) == .corrupt("an index of other blocks than there are"))
        spec.recordChange = 0
        spec.backwardChange = 1
        #expect(failure(spec) == .corrupt("an end that does not fit the beginning"))
        spec.backwardChange = 0
        spec.footerFlags = 4
        #expect(failure(spec) == .corrupt("an end that does not fit the beginning"))
        spec.footerFlags = nil
        spec.blocks[0].paddingByte = 1
        #expect(failure(spec) == .corrupt("a padding of something else than zeros"))
    }

    @Test("each checksum is looked at, and its place told")
    func checksums() {
        let packed = XzSpec(Self.text).bytes()
        let index = packed.count - 12 - 8
        // Of the header, the block's header, the index, the footer.
        for place in [8, XzSpec.body + 8, index + 4, packed.count - 12] {
            let outcome = unpack(packed.changed(place) { $0 ^ 0x80 }, room: 9).outcome
            #expect(outcome.failure == .wrongChecksum && outcome.position == place)
        }
        let noEnd = unpack(packed.changed(packed.count - 1) { $0 ^ 1 }, room: 9).outcome
        #expect(noEnd.failure == .corrupt("no end of an xz stream"))
    }

    @Test("chunks that make no sense are refused")
    func chunks() {
        func failure(_ chunks: [UInt8], room: Int = 1000) -> UnpackFailure? {
            var spec = XzSpec(Self.text)
            spec.blocks[0].chunks = chunks
            return unpack(spec.bytes(), room: room).outcome.failure
        }
        let two = XzSpec.stored([65, 66]) + XzSpec.stored(Array(Self.text), control: 2) + [0]
        #expect(failure(two) == .wrongChecksum)
        #expect(
            failure(XzSpec.stored(Self.text, control: 2))
                == .corrupt("a first chunk that is not the first"))
        #expect(failure([3]) == .corrupt("a first chunk that is not the first"))
        #expect(failure(XzSpec.stored([65]) + [3]) == .corrupt("a chunk of unknown kind"))
        #expect(
            failure(XzSpec.stored([65]) + [0x80, 0, 0, 0, 9])
                == .corrupt("a chunk before its properties are known"))
        #expect(
            failure([0xE0, 0, 0, 0, 9, 225]) == .corrupt("properties that LZMA2 does not have"))
        // lc 4 and lp 1.
        #expect(
            failure([0xE0, 0, 0, 0, 9, 13]) == .corrupt("properties that LZMA2 does not have"))
        #expect(failure([0xE0, 0, 0, 0, 3, 93, 0]) == .corrupt("a chunk of doubtful length"))
        #expect(
            failure([0xE0, 0, 0, 0, 5, 93, 1, 0, 0, 0, 0, 0])
                == .corrupt("a chunk that begins with something else than 0"))
        #expect(failure([0xFF, 0xFF, 0xFF, 0, 9, 93] + [UInt8](repeating: 0, count: 10)) == .full)
        // All bits 0: literals of 0, and then nothing is left to be read.
        let zeros = [0xE0, 0, 9, 0, 13, 93] + [UInt8](repeating: 0, count: 14)
        var spec = XzSpec([UInt8](repeating: 0, count: 10))
        spec.blocks[0].chunks = zeros + [0]
        #expect(self.failure(spec) == nil)
        // The odds of all that is read become certain in the end: there is more to give than bits.
        #expect(
            failure([0xE0, 0x27, 0x0F, 0, 4, 93, 0, 0, 0, 0, 0], room: 20_000)
                == .corrupt("a chunk that goes on behind its end"))
    }

    @Test("the checksum of 64 bits is that of its definition, for every length")
    func checksum64() {
        for count in 0..<70 {
            let part = Array(PackedVectors.code[..<count])
            #expect(part.withUnsafeBytes { CRC64.of($0) } == slowChecksum64(part))
        }
        // The published check value.
        #expect(
            Array("123456789".utf8).withUnsafeBytes { CRC64.of($0) } == 0x995D_C9BB_DF19_39FA)
    }
}
