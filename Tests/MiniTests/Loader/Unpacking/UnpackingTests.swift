// What holds for every unpacker: mutants, cut data, little room, and the comparison with the programs
// that packed the data.

import Foundation
import Testing

@testable import Mini

#if DEBUG
private let step = 3
#else
private let step = 1
#endif

/// Packed data with the bytes that they stand for.
private struct Vector: CustomTestStringConvertible {
    let name: String
    let packed: [UInt8]
    let data: [UInt8]
    /// A checksum covers all of it.
    let isChecked: Bool

    var testDescription: String { name }

    static let all = [
        Vector(name: "gzip", packed: Packer.gzip(PackedVectors.code), data: PackedVectors.code),
        Vector(name: "xz", packed: PackedVectors.xzCode, data: PackedVectors.code),
        Vector(name: "xz, 64", packed: PackedVectors.xzCode64, data: PackedVectors.code),
        Vector(name: "zstd", packed: PackedVectors.zstdCode, data: PackedVectors.code),
        Vector(name: "zstd, codes", packed: PackedVectors.zstdLetters, data: PackedVectors.letters),
        Vector(
            name: "zstd, unchecked", packed: PackedVectors.zstdFew,
            data: Array(PackedVectors.letters[..<200]), isChecked: false),
        Vector(
            name: "lz4", packed: PackedVectors.lz4Code, data: PackedVectors.code, isChecked: false),
    ]

    init(name: String, packed: [UInt8], data: [UInt8], isChecked: Bool = true) {
        (self.name, self.packed, self.data, self.isChecked) = (name, packed, data, isChecked)
    }
}

@Suite struct UnpackingTests {
    @Test(
        "data whose every bit is turned once give an error or what they gave before",
        arguments: Vector.all)
    fileprivate func turnedBits(_ vector: Vector) {
        var same = 0
        var refused = 0
        for at in stride(from: 0, to: vector.packed.count, by: step) {
            for bit in 0..<8 {
                let mutant = vector.packed.changed(at) { $0 ^ 1 << bit }
                // The canaries around the room are looked at each time.
                let (outcome, bytes) = unpack(mutant, room: vector.data.count + 200)
                if outcome.failure != nil {
                    refused += 1
                    continue
                }
                if vector.isChecked { #expect(bytes == vector.data, "byte \(at), bit \(bit)") }
                same += 1
            }
        }
        // Some bits have no meaning, as a time in a header; most have.
        #expect(vector.isChecked ? same < refused / 40 : refused > 0)
    }

    @Test("data that are cut off anywhere end early, at their end", arguments: Vector.all)
    fileprivate func cutOff(_ vector: Vector) {
        for count in 0..<vector.packed.count {
            let compression = ByteView.of(vector.packed) { Compression($0, at: 0) }
            let (outcome, bytes) = unpack(
                Array(vector.packed[..<count]), as: compression, room: vector.data.count)
            // A frame of lz4 may end behind any block.
            if outcome.failure == nil {
                #expect(compression == .lz4 && count == 4)
                continue
            }
            #expect(outcome.position <= count)
            if outcome.failure == .endsEarly { #expect(outcome.position == count) }
            #expect(bytes == Array(vector.data[..<outcome.produced]) || vector.name == "xz")
        }
    }

    @Test(
        "every room that is too small is full, and nothing is written behind it",
        arguments: Vector.all)
    fileprivate func littleRoom(_ vector: Vector) {
        for room in stride(from: 0, to: vector.data.count, by: step * 7) {
            #expect(unpack(vector.packed, room: room).outcome.failure == .full)
        }
        #expect(unpack(vector.packed, room: vector.data.count).bytes == vector.data)
    }

    @Test("mutants of several places at once stay between their canaries", arguments: Vector.all)
    fileprivate func mutants(_ vector: Vector) {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<(3000 / step) {
            var bytes = vector.packed
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 4..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[at] = [0, 0xFF, 0x80, 0x7F].randomElement(using: &random)!
                default: bytes[at] = bytes[Int.random(in: 0..<bytes.count, using: &random)]
                }
            }
            _ = unpack(bytes, room: Int.random(in: 0...2 * vector.data.count, using: &random))
        }
    }

    @Test("a compression is told by its first bytes")
    func signatures() {
        func compression(_ bytes: [UInt8]) -> Compression? {
            ByteView.of([0] + bytes) { Compression($0, at: 1) }
        }
        for vector in Vector.all {
            let name = vector.name.prefix { $0 != "," }
            #expect(compression(vector.packed).map { "\($0)" } == String(name))
        }
        #expect(compression([0x5D, 0, 0, 0, 1, 9]) == .lzma)
        #expect(compression([0x89, 0x4C, 0x5A, 0x4F, 0, 0x0D]) == .lzo)
        #expect(compression(Array("BZh91AY".utf8)) == .bzip2)
        #expect(compression([1, 2, 3, 4, 5, 6]) == nil)
        #expect(compression([]) == nil)
        for other in [Compression.lzma, .lzo, .bzip2] {
            #expect(!other.isUnpacked)
            #expect(unpack([1, 2], as: other, room: 9).outcome.failure != nil)
        }
    }
}

// MARK: The real tools

/// A packer of the system with words for it.
private struct Tool: CustomTestStringConvertible {
    let words: [String]
    var testDescription: String { words.joined(separator: " ") }

    init(_ line: String) { words = line.split(separator: " ").map(String.init) }

    /// Code, texts, letters, noise and zeros, so that every kind of block occurs, and some with codes of the one before.
    static let data: [UInt8] = {
        var random = SeededGenerator(seed: 9)
        let program =
            (try? Array(Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe")).prefix(200_000)))
            ?? []
        var data = program + PackedVectors.code
        data += (0..<30_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        data += [UInt8](repeating: 0, count: 140_000)
        for _ in 0..<20 { data += PackedVectors.letters.shuffled(using: &random) }
        return data + program.prefix(90_000).reversed()
    }()
}

@Suite struct PackerTests {
    private func compare(_ tool: Tool) throws {
        let packed = try runTool(tool.words, Tool.data)
        let (outcome, bytes) = unpack(packed, room: Tool.data.count)
        #expect(outcome == Unpacked(position: packed.count, produced: Tool.data.count))
        #expect(bytes == Tool.data)
    }

    @Test(
        "what the system's xz packs is unpacked",
        .enabled(if: toolPath("xz") != nil, "there is no xz"),
        arguments: [
            Tool("xz -c -0"), Tool("xz -c --check=crc32 --x86 --lzma2=preset=6"),
            Tool("xz -c --check=none --block-size=70000"), Tool("xz -c --lzma2=lc=0,lp=3,pb=0"),
            Tool("xz -c --x86=start=4096 --lzma2=preset=9e,dict=4KiB"),
        ])
    fileprivate func xz(_ tool: Tool) throws { try compare(tool) }

    @Test(
        "what the system's zstd packs is unpacked",
        .enabled(if: toolPath("zstd") != nil, "there is no zstd"),
        arguments: [
            Tool("zstd -c --fast=5"), Tool("zstd -c -1"), Tool("zstd -c -3 --no-check"),
            Tool("zstd -c -12 --check"), Tool("zstd -c --ultra -22 --check"),
        ])
    fileprivate func zstd(_ tool: Tool) throws { try compare(tool) }

    @Test(
        "what the system's lz4 packs is unpacked",
        .enabled(if: toolPath("lz4") != nil, "there is no lz4"),
        arguments: [Tool("lz4 -c -l -1"), Tool("lz4 -c -l -9")])
    fileprivate func lz4(_ tool: Tool) throws { try compare(tool) }
}
