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
    func agreement() throws { try compare(isLevel: false) }

    @Test(
        "they agree on the instructions that x86-64-v2 has beside SSE2",
        .enabled(if: LongOracle.missing == nil, "\(LongOracle.missing ?? "")"))
    func level() throws {
        let missing = HostFeature.allCases.filter { !HostProcessor.has($0) }
        if !missing.isEmpty { print("not compared, for the machine's own has none: \(missing)") }
        try compare(isLevel: true)
    }

    private func compare(isLevel: Bool) throws {
        var random = LongRandom(state: 77)
        let image = LongWord.image(LongPlace.dataSize, &random)
        let oracle = try LongOracle(path: LongOracle.path, image: image)
        let machine = try LongMachine()
        let count = getenv("MINI_SEQUENCES").flatMap { UInt64(String(cString: $0)) } ?? Self.usual
        let first = (getenv("MINI_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1) << 32
        var next: UInt64 = 0
        var reports = 0
        var heldUp: UInt64 = 0
        var open: UInt64 = 0
        var skipped = 0
        while next < count {
            let cases = (next..<min(next + 256, count)).map {
                LongGenerator.make(seed: first + $0, isLevel: isLevel)
            }
            next += UInt64(cases.count)
            skipped += cases.reduce(0) { $0 + $1.skipped }
            let endings = try #require(
                oracle.run(cases), "the oracle died near seed \(first + next)")
            for (test, native) in zip(cases, endings) {
                // As the oracle has the x87.
                machine.processor.core.state.floatingPoint = FloatingPointUnit()
                let ours = machine.run(test, image: image)
                if longWasHeldUp(test, native) {
                    heldUp += 1
                    continue
                }
                if longIsOpen(test, ours, native) {
                    open += 1
                    continue
                }
                let lines = longDifferences(test, ours, native)
                if lines.isEmpty { continue }
                reports += 1
                if reports > 8 { continue }
                Issue.record("\(longDescription(test))\n-> \(lines.joined(separator: "\n-> "))")
            }
        }
        if skipped > 0 { print("64-bit differential test: \(skipped) instructions skipped") }
        #expect(reports == 0)
        #expect(heldUp < max(count / 100, 10))
        #expect(open < max(count / 100, 10))
    }
}
