// The differential test: random instruction sequences on the software processor and natively
// (by way of the oracle), compared in registers, defined flags, memory, x87, trap and fault
// address. A fixed seed and ten thousand sequences in the debug build, a hundred thousand in an
// optimised one; MINI_SEQUENCES=1000000 runs more, MINI_SEED begins elsewhere. A difference is
// shrunk to the instructions that make it.

import Glibc
import Testing

@testable import Mini

@Suite struct DifferentialTests {
    #if DEBUG
    private static let usual = 10_000
    #else
    private static let usual = 100_000
    #endif
    /// Differences that are worth a report each; more are just counted.
    private static let reported = 12

    private static func setting(_ name: String) -> Int? {
        getenv(name).flatMap { Int(String(cString: $0)) }
    }

    @Test(
        "the software processor and the machine's own agree on random instruction sequences",
        .enabled(if: Oracle.missing == nil, "\(Oracle.missing ?? "")"))
    func agreement() throws { try compare { try SoftwareMachine(image: $0) } }

    @Test(
        "compatibility mode and the machine's own agree on random instruction sequences",
        .enabled(if: Oracle.missing == nil, "\(Oracle.missing ?? "")"))
    func compatible() throws { try compare { try CompatibleMachine(image: $0) } }

    private func compare(_ make: ([UInt8]) throws -> any DifferentialMachine) throws {
        let image = DifferentialImage.make(seed: 1)
        let oracle = try Oracle(image: image)
        let comparison = DifferentialComparison(
            oracle: oracle, machine: try make(image))
        let count = Self.setting("MINI_SEQUENCES") ?? Self.usual
        let first = UInt64(Self.setting("MINI_SEED") ?? 1) << 32
        var next: UInt64 = 0
        var pending: [(DifferentialCase, CaseEnding)] = []
        var reports = 0
        while next < UInt64(count) || !pending.isEmpty {
            // The oracle works on one batch while the next is made and run here.
            if !pending.isEmpty { oracle.start(pending.map(\.0)) }
            var prepared: [(DifferentialCase, CaseEnding)] = []
            while prepared.count < Oracle.batchMaximum && next < UInt64(count) {
                let test = CaseGenerator.makeCase(seed: first + next)
                next += 1
                if let ending = comparison.runHere(test) { prepared.append((test, ending)) }
            }
            let endings = try #require(
                oracle.finish(pending.count), "the oracle died near seed \(first + next)")
            for ((test, ours), native) in zip(pending, endings) {
                let differences = comparison.differences(test, ours, native)
                if differences.isEmpty { continue }
                reports += 1
                if reports > Self.reported { continue }
                let report = comparison.report(test)
                Issue.record("\(report)")
            }
            pending = prepared
        }
        print("differential test: \(comparison.summary), \(reports) differences")
        #expect(reports == 0)
        #expect(comparison.compared > count * 9 / 10)
        #expect(comparison.otherModel < max(count / 20, 20))
    }
}
