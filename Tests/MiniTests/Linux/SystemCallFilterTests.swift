// The filter's program, run by an interpreter of the test's own, against the rules; and the rules
// of a launch against their page.

import Foundation
import Testing

@testable import Mini

extension ArgumentRule {
    /// True for a value that it lets through.
    fileprivate func admits(_ value: UInt32) -> Bool {
        switch condition {
        case .oneOf(let values): values.contains(value)
        case .without(let bits): value & bits == 0
        }
    }
}

private func have() -> LaunchDescriptors {
    LaunchDescriptors(
        signals: 3, files: [4, 5], disks: [6, 7], writableDisks: [7], assistants: [18, 19],
        taps: [8, 9], networks: [10, 11], timeline: 13, host: [12],
        processor: KvmDescriptors(system: 14, virtualMachine: 15, processor: 16, timer: 17))
}

/// All that a launch can have.
private let everything = SandboxPlan(LaunchFeature.allCases, have())

@Suite struct SystemCallFilterTests {
    @Test("the program lets through what a rule allows, and ends the process for all else")
    func program() throws {
        let rules = everything.rules!
        let filter = SystemCallFilter(rules)
        var random = SplitMix(seed: 12)
        // Values that some rule names, their neighbours, and others.
        var values: [UInt32] = [0, 1, 2, 3, 4, 7, 0x8000_0000, .max]
        for rule in rules {
            for case .oneOf(let some) in rule.arguments.map(\.condition) {
                for value in some {
                    values += [value, value &+ 1, value &- 1, value ^ 0x8000_0000]
                }
            }
        }
        var (allowed, killed) = (0, 0)
        for _ in 0..<200_000 {
            let number =
                Bool.random(using: &random)
                ? UInt32(rules.randomElement(using: &random)!.number.rawValue)
                : UInt32.random(in: 0..<500, using: &random)
            let arguments = (0..<6).map { _ in
                UInt64(values.randomElement(using: &random)!)
                    | UInt64(UInt32.random(in: 0...1, using: &random)) << 32
            }
            let isAllowed = rules.contains { rule in
                rule.number.rawValue == Int(number)
                    && rule.arguments.allSatisfy {
                        $0.admits(UInt32(truncatingIfNeeded: arguments[$0.index]))
                    }
            }
            let answer = runFilter(
                filter.words, number: number, architecture: SystemCallFilter.architecture, arguments
            )
            if answer != (isAllowed ? SystemCallFilter.allow : SystemCallFilter.kill) {
                Issue.record("call \(number) with \(arguments)")
                return
            }
            if isAllowed { allowed += 1 } else { killed += 1 }
        }
        #expect(allowed > 1000 && killed > 1000)
    }

    @Test("calls of another architecture or of x32 end the process, whatever their number")
    func otherArchitectures() throws {
        let words = SystemCallFilter(everything.rules!).words
        for number in 0..<500 as Range<UInt32> {
            for (number, architecture) in [
                (number, 0x4000_0003), (number, 0xC000_00B7),
                (number | 0x4000_0000, SystemCallFilter.architecture),
            ] as [(UInt32, UInt32)] {
                let answer = runFilter(
                    words, number: number, architecture: architecture, [0, 0, 0, 0, 0, 0])
                #expect(answer == SystemCallFilter.kill)
            }
        }
    }

    @Test("a rule about descriptors that are not there allows nothing")
    func noDescriptor() throws {
        let filter = SystemCallFilter([CallRule("read", .read, .descriptor("tap", []))])
        #expect(filter.count == 0)
        let answer = runFilter(
            filter.words, number: 0, architecture: SystemCallFilter.architecture,
            [0, 0, 0, 0, 0, 0])
        #expect(answer == SystemCallFilter.kill)
    }

    @Test("the kernel takes the program as long as it is, and its jumps stay inside")
    func shape() {
        let filter = SystemCallFilter(everything.rules!)
        #expect(filter.words.count < 4096)
        for (index, word) in filter.words.enumerated() where word & 7 == 5 {
            #expect(index + 1 + Int(max(word >> 16 & 0xFF, word >> 24 & 0xFF)) < filter.words.count)
        }
    }
}

@Suite struct LaunchSandboxTests {
    @Test("with everything switched on that a guest can have 25 calls are left, or fewer")
    func count() {
        // A guest that speaks lguest is not on /dev/kvm, and a PC's has a card for a shared network.
        for others in [
            [.randomNumbers, .offloads, .networkCard, .kvm, .kvmRestart], [.sharedNetwork],
        ] as [[LaunchFeature]] {
            let features = LaunchFeature.allCases.filter { !others.contains($0) }
            #expect(SystemCallFilter(SandboxPlan(features, have()).rules!).count <= 25)
        }
    }

    @Test("no feature lets a call through that makes memory executable, opens, starts or traces")
    func never() throws {
        let words = SystemCallFilter(everything.rules!).words
        // open, openat, execve, execveat, fork, vfork, clone, clone3, ptrace, mprotect, pkey_mprotect
        for number in [2, 257, 59, 322, 57, 58, 56, 435, 101, 10, 329] as [UInt32] {
            for value in [0, 3, 4, .max] as [UInt64] {
                let answer = runFilter(
                    words, number: number, architecture: SystemCallFilter.architecture,
                    [UInt64](repeating: value, count: 6))
                #expect(answer == SystemCallFilter.kill, "call \(number)")
            }
        }
        let executable = runFilter(
            words, number: 9, architecture: SystemCallFilter.architecture,
            [0, 4096, 5, 0x22, .max, 0])
        #expect(executable == SystemCallFilter.kill)
    }

    @Test("the page has the same calls for each feature as the code, in the same order")
    func page() throws {
        let text = try projectText("docs/sandbox.md")
        let table = try #require(text.split(separator: "<!-- launch -->").last)
            .split(separator: "<!-- end -->")[0]
        var rows: [String: [String]] = [:]
        for line in table.split(separator: "\n").dropFirst(2) {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            rows[cells[0]] = cells[1].matches(of: #/`([^`]*)`/#).map { String($0.1) }
        }
        #expect(rows.count == LaunchFeature.allCases.count)
        for feature in LaunchFeature.allCases {
            let calls = feature.rules(have(), process: 1).map { string($0.text) }
            #expect(rows["\(feature.name)"] == calls, "\(feature.name)")
        }
    }
}
