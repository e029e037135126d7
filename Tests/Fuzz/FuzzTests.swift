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

    @Test("each kept case is one of a target's")
    func keptNames() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "kept")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!files.isEmpty)
        // Guests run where memory is laid out as in the release: the program of the fuzzers takes theirs.
        let names = FuzzTarget.all.map { "\($0.name)" } + ["guests"]
        for file in files {
            #expect(names.contains { file.hasPrefix("\($0)-") }, "\(file)")
        }
    }

    @Test("cases of queues have honest chains, and every violation")
    func violations() {
        var violations: [Virtqueue.Violation: Int] = [:]
        var chains = 0
        withInput { input in
            for number in 0..<5000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzVirtio.makeQueue(&random, input)
                let outcome = FuzzVirtio.outcomeOfQueue(input)
                chains += outcome.chains
                if let violation = outcome.violation { violations[violation, default: 0] += 1 }
            }
        }
        #expect(chains > 1000, "\(chains)")
        let all: [Virtqueue.Violation] = [
            .place, .index, .number, .loop, .buffer, .order, .indirect,
        ]
        for violation in all {
            #expect(violations[violation, default: 0] > 20, "\(violation): \(violations)")
        }
    }

    @Test("cases of devices have requests that are done")
    func requests() {
        var done: [VirtioKind: Int] = [:]
        withInput { input in
            for number in 0..<2000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzVirtio.makeDevice(&random, input)
                if let (kind, hasInterrupted) = FuzzVirtio.outcomeOfDevice(input), hasInterrupted {
                    done[kind, default: 0] += 1
                }
            }
        }
        for kind in [.block, .network, .console, .random] as [VirtioKind] {
            #expect(done[kind, default: 0] > 50, "\(kind): \(done)")
        }
    }

    @Test(
        "cases of disks have labels, partitions and devices that are found, and ones that are not")
    func disks() {
        var (taken, found): ([FuzzDisks.EntryPoint: Int], [FuzzDisks.EntryPoint: Int]) = ([:], [:])
        withInput { input in
            for number in 0..<3000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzDisks.make(&random, input)
                let (entryPoint, isFound) = FuzzDisks.outcome(input)
                taken[entryPoint, default: 0] += 1
                if isFound { found[entryPoint, default: 0] += 1 }
            }
        }
        for entryPoint in FuzzDisks.EntryPoint.allCases {
            let count = found[entryPoint, default: 0]
            #expect(
                count > 50 && count < taken[entryPoint, default: 0] - 50, "\(entryPoint): \(found)")
        }
    }

    @Test("cases of modules are packed ones, too, that tell what is wrong with them")
    func packedModules() {
        var told = 0
        withInput { input in
            for number in 0..<5000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzAnswers.make(&random, input)
                if FuzzAnswers.isPackedModule(input) { told += 1 }
            }
        }
        #expect(told > 30, "\(told)")
    }

    @Test("cases of lguest's virtio come as far as its devices' answers")
    func lguestVirtio() {
        var interruptions = 0
        withInput { input in
            for number in 0..<3000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzLguestVirtio.make(&random, input)
                interruptions += FuzzLguestVirtio.interruptions(input)
            }
        }
        #expect(interruptions > 50)
    }

    @Test("cases of unified kernel images are images, and ones that lie")
    func unified() {
        var images = 0
        withInput { input in
            for number in 0..<2000 as Range<UInt64> {
                var random = FuzzRandom(seed: 1, number: number)
                input.count = 0
                FuzzImages.makeUnified(&random, input)
                images += FuzzImages.takeUnified(input) ? 1 : 0
            }
        }
        #expect(images > 500 && images < 1800, "\(images)")
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
