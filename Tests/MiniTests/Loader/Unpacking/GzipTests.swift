import Foundation
import Testing

@testable import Mini

private func unpack(_ member: [UInt8], at start: Int = 0, room: Int) -> (Gzip.Outcome, [UInt8]) {
    var output = [UInt8](repeating: 0, count: room)
    let outcome = ByteView.of(member) { view in
        output.withUnsafeMutableBytes { Gzip.unpack(view, at: start, to: $0) }
    }
    return (outcome, Array(output[..<outcome.produced]))
}

@Suite struct GzipTests {
    static let data = KernelSpec().bytes()

    @Test("a member is unpacked, wherever it is in a file, and what follows is left alone")
    func member() {
        let packed = Packer.gzip(Self.data)
        let (outcome, bytes) = unpack([1, 2, 3] + packed + [4, 5], at: 3, room: Self.data.count)
        #expect(outcome == Gzip.Outcome(position: packed.count + 3, produced: bytes.count))
        #expect(bytes == Self.data)
    }

    @Test("extra field, name, comment and header checksum are passed over")
    func optionalFields() {
        let extras: [UInt8] = [3, 0, 7, 7, 7] + Array("name\0comment\0".utf8) + [1, 2]
        let packed = Packer.gzip(Self.data, flags: 2 | 4 | 8 | 16, extras: extras)
        #expect(unpack(packed, room: Self.data.count).1 == Self.data)
    }

    @Test(
        "a header that does not end is data that end early",
        arguments: [
            [4], [4, 0, 200, 0], [8, 65, 66], [16, 65], [2, 0],
        ] as [[UInt8]])
    func headerEndsEarly(_ fields: [UInt8]) {
        let member: [UInt8] = [0x1F, 0x8B, 8, fields[0], 0, 0, 0, 0, 2, 3] + fields.dropFirst()
        let (outcome, _) = unpack(member, room: 10)
        #expect(outcome == Gzip.Outcome(position: member.count, produced: 0, failure: .endsEarly))
    }

    @Test("checksum and length are held against the data, each with its place")
    func trailer() {
        let packed = Packer.gzip(Self.data)
        let end = packed.count - 8
        var wrong = packed
        wrong[end + 2] ^= 0x10
        #expect(unpack(wrong, room: 99_999).0.failure == .wrongChecksum)
        #expect(unpack(wrong, room: 99_999).0.position == end)
        wrong = packed
        wrong[end + 7] ^= 0x10
        #expect(unpack(wrong, room: 99_999).0.failure == .wrongLength)
        #expect(unpack(wrong, room: 99_999).0.position == end + 4)
    }

    @Test("the search passes over what cannot be a member of a kernel")
    func candidates() {
        let good: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3]
        var reserved = good
        reserved[3] = 0x20
        var otherSystem = good
        otherSystem[9] = 255
        var otherMethod = good
        otherMethod[2] = 7
        let file = [0x1F, 0x1F] + reserved + otherSystem + otherMethod + good + good.dropLast()
        ByteView.of(file) { view in
            #expect(Gzip.candidate(view, from: 0) == 32)
            #expect(Gzip.candidate(view, from: 33) == nil)
            // Whoever else packed it comes when nobody on Unix did.
            #expect(Gzip.candidate(view, from: 0, onUnix: false) == 12)
        }
    }

    @Test("the checksum is that of its definition, for every length")
    func checksum() {
        for count in 0..<70 {
            let part = Array(Self.data[..<count])
            #expect(part.withUnsafeBytes { CRC32.of($0) } == Packer.slowChecksum(part))
        }
        // The published check value.
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC32.of($0) } == 0xCBF4_3926)
    }

    static let gzipTool = FileManager.default.isExecutableFile(atPath: "/bin/gzip")

    @Test(
        "what the system's gzip packs is unpacked", .enabled(if: gzipTool, "there is no /bin/gzip"),
        arguments: 1...9)
    func systemGzip(_ level: Int) throws {
        // Code-like data, noise, repetition and zeros, so that every kind of block occurs.
        var random = SeededGenerator(seed: UInt64(level))
        var data = try Array(
            Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe")).prefix(600_000))
        data += (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        data += [UInt8](repeating: 0, count: 70_000)
        let process = Foundation.Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = ["-\(level)", "-c"]
        let source = FileManager.default.temporaryDirectory.appendingPathComponent(
            "mini-gzip-\(getpid())-\(level)")
        try Data(data).write(to: source)
        defer { try? FileManager.default.removeItem(at: source) }
        process.standardInput = try FileHandle(forReadingFrom: source)
        let pipe = Foundation.Pipe()
        process.standardOutput = pipe
        try process.run()
        let packed = Array(pipe.fileHandleForReading.readDataToEndOfFile())
        process.waitUntilExit()
        let (outcome, bytes) = unpack(packed, room: data.count)
        #expect(outcome == Gzip.Outcome(position: packed.count, produced: data.count))
        #expect(bytes == data)
    }
}
