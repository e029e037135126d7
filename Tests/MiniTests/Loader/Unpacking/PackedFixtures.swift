// Packed data made to order, so that each part can be damaged by itself: xz streams and zstd frames of stored
// blocks, lz4 frames of literals; and what all tests of unpackers do with them.

import Foundation
import Testing

@testable import Mini

/// Unpacks into room of so many bytes, which lie between canaries.
func unpack(
    _ packed: [UInt8], as compression: Compression? = nil, at start: Int = 0, end: Int? = nil,
    room: Int
) -> (outcome: Unpacked, bytes: [UInt8]) {
    let margin = 64
    var arena = [UInt8](repeating: 0xC5, count: room + 2 * margin)
    let outcome = ByteView.of(packed) { view in
        arena.withUnsafeMutableBytes { arena in
            (compression ?? Compression(view, at: start) ?? .bzip2).unpack(
                view, at: start, end: end ?? packed.count,
                to: .init(rebasing: arena[margin..<margin + room]))
        }
    }
    let isIntact =
        arena[..<margin].allSatisfy { $0 == 0xC5 }
        && arena[(margin + room)...].allSatisfy { $0 == 0xC5 }
    precondition(isIntact, "written beside the output")
    precondition(outcome.produced >= 0 && outcome.produced <= room, "more than there is room")
    precondition(
        outcome.position >= 0 && outcome.position <= packed.count, "read behind the end")
    return (outcome, Array(arena[margin..<margin + outcome.produced]))
}

extension Array where Element == UInt8 {
    /// So many bytes of a number, the lowest first.
    static func little(_ number: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
    }

    func changed(_ at: Int, _ change: (UInt8) -> UInt8) -> [UInt8] {
        var bytes = self
        bytes[at] = change(bytes[at])
        return bytes
    }
}

/// An xz stream of stored LZMA2 chunks.
struct XzSpec {
    struct Block {
        var data: [UInt8]
        /// Kind and properties of each filter.
        var filters: [(UInt8, [UInt8])] = [(0x21, [0])]
        var flags: UInt8?
        var packedSize: UInt8?
        var unpackedSize: UInt8?
        var headerPadding: [UInt8] = []
        /// The LZMA2 data; nil for one stored chunk and an end.
        var chunks: [UInt8]?
        var paddingByte: UInt8 = 0
    }
    var check: UInt8 = 1
    var blocks: [Block]
    var recordCount: UInt8?
    var recordChange: UInt8 = 0
    var backwardChange: UInt32 = 0
    var footerFlags: UInt8?

    init(_ data: [UInt8]...) { blocks = data.map { Block(data: $0) } }

    static func stored(_ data: [UInt8], control: UInt8 = 1) -> [UInt8] {
        [control, UInt8((data.count - 1) >> 8), UInt8((data.count - 1) & 255)] + data
    }

    private static func withChecksum(_ bytes: [UInt8]) -> [UInt8] {
        bytes + .little(UInt64(Packer.slowChecksum(bytes)), 4)
    }

    private static func number(_ value: Int) -> [UInt8] {
        value < 128 ? [UInt8(value)] : [UInt8(value & 127 | 128)] + number(value >> 7)
    }

    private static func padded(_ bytes: [UInt8], with byte: UInt8 = 0) -> [UInt8] {
        bytes + [UInt8](repeating: byte, count: (4 - bytes.count & 3) & 3)
    }

    /// Where the first block begins.
    static let body = 12

    func bytes() -> [UInt8] {
        var stream: [UInt8] = [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]
        stream += Self.withChecksum([0, check]).map { $0 }
        var index: [UInt8] = [0, recordCount ?? UInt8(blocks.count)]
        for block in blocks {
            var header: [UInt8] = [0, 0]
            header[1] =
                block.flags ?? UInt8(block.filters.count - 1)
                | (block.packedSize == nil ? 0 : 0x40) | (block.unpackedSize == nil ? 0 : 0x80)
            if let size = block.packedSize { header.append(size) }
            if let size = block.unpackedSize { header.append(size) }
            for (kind, properties) in block.filters {
                header += [kind, UInt8(properties.count)] + properties
            }
            header = Self.padded(header + block.headerPadding)
            header[0] = UInt8(header.count / 4)
            let sum: [UInt8] =
                switch check {
                case 1: .little(UInt64(Packer.slowChecksum(block.data)), 4)
                case 4: .little(slowChecksum64(block.data), 8)
                default: []
                }
            let data = block.chunks ?? Self.stored(block.data) + [0]
            let unpadded = Self.withChecksum(header) + data
            index += Self.number(unpadded.count + sum.count + Int(recordChange))
            index += Self.number(block.data.count)
            stream += Self.padded(unpadded, with: block.paddingByte) + sum
        }
        let whole = Self.withChecksum(Self.padded(index))
        let backward = UInt32(whole.count / 4 - 1) + backwardChange
        let end: [UInt8] = .little(UInt64(backward), 4) + [0, footerFlags ?? check]
        return stream + whole + .little(UInt64(Packer.slowChecksum(end)), 4) + end
            + Array("YZ".utf8)
    }
}

/// CRC-64 straight from its definition, a bit at a time.
func slowChecksum64(_ data: [UInt8]) -> UInt64 {
    var checksum = UInt64.max
    for byte in data {
        checksum ^= UInt64(byte)
        for _ in 0..<8 {
            checksum = checksum & 1 == 1 ? checksum >> 1 ^ 0xC96C_5795_D787_0F42 : checksum >> 1
        }
    }
    return ~checksum
}

/// A zstd frame of blocks that need no packer.
struct ZstdSpec {
    enum Block {
        case stored([UInt8])
        case repeated(UInt8, Int)
        /// The inside of a packed block.
        case packed([UInt8])
        /// Kind 3, which there is not.
        case unknown
    }
    var blocks: [Block]
    /// Descriptor and what belongs to it; by default a window of 1 KiB and nothing else.
    var header: [UInt8] = [0, 0]
    var end: [UInt8] = []

    func bytes() -> [UInt8] {
        var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD] + header
        for (index, block) in blocks.enumerated() {
            let (kind, size, data): (Int, Int, [UInt8]) =
                switch block {
                case .stored(let data): (0, data.count, data)
                case .repeated(let byte, let count): (1, count, [byte])
                case .packed(let data): (2, data.count, data)
                case .unknown: (3, 0, [])
                }
            let last = index == blocks.count - 1 ? 1 : 0
            frame += .little(UInt64(size << 3 | kind << 1 | last), 3) + data
        }
        return frame + end
    }
}

/// An lz4 frame of these blocks, whatever is in them.
func lz4Frame(_ blocks: [[UInt8]]) -> [UInt8] {
    blocks.reduce([0x02, 0x21, 0x4C, 0x18]) { $0 + .little(UInt64($1.count), 4) + $1 }
}

// MARK: The system's own packers

func toolPath(_ name: String) -> String? {
    ["/usr/bin/", "/bin/", "/usr/local/bin/"].map { $0 + name }.first {
        FileManager.default.isExecutableFile(atPath: $0)
    }
}

/// What a packer or unpacker makes of these bytes.
func runTool(_ words: [String], _ data: [UInt8]) throws -> [UInt8] {
    let source = FileManager.default.temporaryDirectory.appendingPathComponent(
        "mini-packed-\(UUID().uuidString)")
    try Data(data).write(to: source)
    defer { try? FileManager.default.removeItem(at: source) }
    let process = Foundation.Process()
    process.executableURL = URL(fileURLWithPath: try #require(toolPath(words[0])))
    process.arguments = Array(words.dropFirst())
    process.standardInput = try FileHandle(forReadingFrom: source)
    let pipe = Foundation.Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = Array(pipe.fileHandleForReading.readDataToEndOfFile())
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return output
}
