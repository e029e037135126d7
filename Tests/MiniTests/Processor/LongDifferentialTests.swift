// The differential test of the 64-bit processor: random instruction sequences here and natively (LongOracle.swift), compared in
// registers, defined flags, XMM, MXCSR, memory, trap and fault address. A fixed seed; MINI_SEQUENCES says how many more.

import Glibc
import Testing

@testable import Mini

@Suite struct LongDifferentialTests {
    #if DEBUG
    private static let usual: UInt64 = 5_000
    #else
    private static let usual: UInt64 = 100_000
    #endif

    @Test(
        "the 64-bit processor and the machine's own agree on random instruction sequences",
        .enabled(if: LongOracle.missing == nil, "\(LongOracle.missing ?? "")"))
    func agreement() throws {
        var random = LongRandom(state: 77)
        let image = (0..<LongPlace.dataSize).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let oracle = try LongOracle(path: LongOracle.path, image: image)
        let machine = try LongMachine()
        let count = getenv("MINI_SEQUENCES").flatMap { UInt64(String(cString: $0)) } ?? Self.usual
        let first = (getenv("MINI_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1) << 32
        var next: UInt64 = 0
        var reports = 0
        var heldUp: UInt64 = 0
        while next < count {
            let cases = (next..<min(next + 256, count)).map { LongGenerator.make(seed: first + $0) }
            next += UInt64(cases.count)
            let endings = try #require(
                oracle.run(cases), "the oracle died near seed \(first + next)")
            for (test, native) in zip(cases, endings) {
                if longWasHeldUp(test, native) {
                    heldUp += 1
                    continue
                }
                let lines = longDifferences(test, machine.run(test, image: image), native)
                if lines.isEmpty { continue }
                reports += 1
                if reports > 8 { continue }
                Issue.record("\(longDescription(test))\n-> \(lines.joined(separator: "\n-> "))")
            }
        }
        #expect(reports == 0)
        #expect(heldUp < max(count / 100, 10))
    }
}
