import Testing

@testable import Mini

@Suite struct Lz4Tests {
    @Test("what lz4 packed is unpacked, wherever it is in a file")
    func whole() {
        let packed = PackedVectors.lz4Code
        let (outcome, bytes) = unpack(
            [9, 9] + packed + [1, 2, 3], at: 2, end: packed.count + 2,
            room: PackedVectors.code.count)
        #expect(outcome == Unpacked(position: packed.count + 2, produced: bytes.count))
        #expect(bytes == PackedVectors.code)
    }

    @Test("blocks follow each other, frames too")
    func several() {
        let (one, two): ([UInt8], [UInt8]) = ([0x20, 65, 66], [0x10, 67])
        let packed = lz4Frame([one, two]) + lz4Frame([two])
        #expect(unpack(packed, room: 4).bytes == Array("ABCC".utf8))
        #expect(unpack(packed, room: 4).outcome.failure == nil)
    }

    @Test(
        "a copy repeats what it has just written, at every distance and length",
        arguments: 1...20)
    func overlaps(_ distance: Int) {
        for length in 4...60 {
            let text = (0..<distance).map { UInt8(0x41 + $0) }
            var block = [UInt8(min(distance, 15) << 4 | min(length - 4, 15))]
            if distance >= 15 { block.append(UInt8(distance - 15)) }
            block += text + [UInt8(distance), 0]
            if length >= 19 { block.append(UInt8(length - 19)) }
            block += [0x50] + Array("12345".utf8)
            let wanted =
                text + (0..<length).map { text[$0 % distance] } + Array("12345".utf8)
            // With room to spare and without.
            for room in [wanted.count, wanted.count + 100] {
                #expect(unpack(lz4Frame([block]), room: room).bytes == wanted)
            }
        }
    }

    @Test("damage in lz4 data is told with the byte where it is")
    func damage() {
        func failure(_ blocks: [[UInt8]], room: Int = 100) -> Unpacked {
            unpack(lz4Frame(blocks), room: room).outcome
        }
        #expect(
            failure([[0x10, 65, 2, 0, 0]])
                == Unpacked(
                    position: 10, produced: 1,
                    failure: .corrupt("a copy from before the beginning of its block")))
        #expect(
            failure([[0x10, 65, 0, 0, 0]]).failure
                == .corrupt("a copy from before the beginning of its block"))
        // A block knows nothing of the one before.
        #expect(
            failure([[0x30, 65, 66, 67], [0x10, 65, 2, 0, 0]]).failure
                == .corrupt("a copy from before the beginning of its block"))
        #expect(
            failure([[0x10, 65, 1, 0]]).failure
                == .corrupt("a block that ends in the middle of a copy"))
        #expect(
            failure([[0x40, 65]]).failure == .corrupt("a block that ends in the middle of a copy"))
        #expect(
            failure([[0xF0, 255, 255]], room: 9999).failure
                == .corrupt("a block that ends in the middle of a copy"))
        #expect(failure([[0x40, 65, 66, 67, 68]], room: 3).failure == .full)
        #expect(failure([[0x1F, 65, 1, 0, 200, 0x10, 66]], room: 20).failure == .full)
        #expect(failure([[]]).failure == .corrupt("a block of doubtful length"))
        #expect(
            unpack([0x02, 0x21, 0x4C, 0x18] + .little(9 << 20, 4) + [0], room: 9).outcome.failure
                == .corrupt("a block of doubtful length"))
        #expect(unpack([0x02, 0x21, 0x4C, 0x18, 5, 0], room: 9).outcome.failure == .endsEarly)
        let cut = lz4Frame([[0x40, 65, 66, 67, 68]]).dropLast(2)
        #expect(
            unpack(Array(cut), room: 9).outcome
                == Unpacked(position: cut.count, produced: 0, failure: .endsEarly))
    }

    @Test("a block that gives more than 8 MiB is refused, one that gives them all is not")
    func largestBlock() {
        // A literal and a copy of so many bytes behind it, and then a literal.
        func block(_ size: Int) -> [UInt8] {
            let more = size - 2 - 19
            return [0x1F, 65, 1, 0] + [UInt8](repeating: 255, count: more / 255)
                + [UInt8(more % 255), 0x10, 66]
        }
        let most = 8 << 20
        let room = most + 1000
        #expect(unpack(lz4Frame([block(most)]), room: room).outcome.produced == most)
        #expect(
            unpack(lz4Frame([block(most + 1)]), room: room).outcome.failure
                == .corrupt("a block of more than 8 MiB"))
    }
}
