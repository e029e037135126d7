// The targets in ordinary Swift, in this process: fewer cases, but of a build that also traps where the
// release does not, and under AddressSanitizer (`./build.sh fuzz`). A case that ends the process is told
// by what the process says; `out/ARCH/fuzz TARGET --seed 1` has the same cases.

import Foundation
import Testing

@testable import Mini

/// `MINI_FUZZ_CASES` is how many cases each target takes here.
private var cases: UInt64 {
    ProcessInfo.processInfo.environment["MINI_FUZZ_CASES"].flatMap { UInt64($0) } ?? 500
}

private func withInput(_ body: (FuzzInput) throws -> Void) rethrows {
    let room = UnsafeMutableRawPointer.allocate(byteCount: FuzzInput.room + 16, alignment: 16)
    room.initializeMemory(as: UInt8.self, repeating: 0, count: FuzzInput.room + 16)
    defer { room.deallocate() }
    try body(FuzzInput(room))
}

@Suite(.serialized) struct FuzzTests {
    @Test("cases made of chance are taken", arguments: FuzzTarget.all.map { "\($0.name)" })
    func chance(_ name: String) throws {
        let target = try #require(FuzzTarget.all.first { "\($0.name)" == name })
        withInput { input in
            for number in 0..<cases {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                target.make(&random, input)
                target.take(input)
            }
        }
    }

    @Test("kept cases are taken", arguments: FuzzTarget.all.map { "\($0.name)" })
    func kept(_ name: String) throws {
        let target = try #require(FuzzTarget.all.first { "\($0.name)" == name })
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "kept")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        for file in files where file.hasPrefix("\(name)-") {
            let bytes = try Data(contentsOf: folder.appending(path: file))
            withInput { input in
                input.append([UInt8](bytes))
                target.take(input)
            }
        }
    }

    @Test("the same seed and number give the same case, others another one")
    func repeats() {
        func bytes(_ seed: UInt64, _ number: UInt64) -> [UInt8] {
            var bytes: [UInt8] = []
            withInput { input in
                var random = FuzzRandom(seed: seed, number: number)
                FuzzWords.makeTable(&random, input)
                bytes = Array(input.bytes)
            }
            return bytes
        }
        #expect(bytes(3, 5) == bytes(3, 5))
        #expect(bytes(3, 5) != bytes(3, 6) && bytes(3, 5) != bytes(4, 5))
    }
}
