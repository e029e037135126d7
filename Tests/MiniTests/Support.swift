// What several tests use.

import Foundation

@testable import Mini

/// A file or folder of the project, as "docs/TOUR.md".
func project(_ path: String) -> URL {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: path)
}

/// Its text.
func projectText(_ path: String) throws -> String {
    try String(contentsOf: project(path), encoding: .utf8)
}

extension Text {
    /// What is no literal.
    init(stringLiteral text: String) { self = "\(text)" }
}

/// A small, fast, seeded random number generator (splitmix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
