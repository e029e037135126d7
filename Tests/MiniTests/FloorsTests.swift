// The floors of docs/TOUR.md: a file under Sources/Mini may use what its own floor and the
// floors below declare, and nothing from above.

import Foundation
import Testing

private let floors = [
    "Commands", "Init", "Archive", "Launcher", "Grants", "Host", "Devices", "Lguest", "Processor",
    "Linux",
]

private let sources = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Sources/Mini")

/// The source without comments and string contents.
private func code(_ text: String) -> String {
    text.replacing(#/"""[\s\S]*?"""/#, with: "\"\"")
        .replacing(#/"(\\.|[^"\\\n])*"/#, with: "\"\"")
        .replacing(#/\/\/[^\n]*/#, with: "")
}

private func files(of floor: String) throws -> [(name: String, code: String)] {
    let folder = sources.appending(path: floor)
    guard let paths = FileManager.default.enumerator(atPath: folder.path) else { return [] }
    return try paths.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.map {
        (
            floor + "/" + $0,
            code(try String(contentsOf: folder.appending(path: $0), encoding: .utf8))
        )
    }
}

/// Names of types declared at the left margin: what a floor offers to others.
private func declaredTypes(_ code: String) -> [String] {
    code.split(separator: "\n").compactMap { line in
        guard !line.hasPrefix(" "), !line.hasPrefix("private"), !line.hasPrefix("fileprivate"),
            let match = line.firstMatch(
                of: #/\b(?:struct|class|enum|protocol|typealias|actor)\s+([A-Z]\w*)/#)
        else { return nil }
        return String(match.1)
    }
}

private func words(_ code: String) -> Set<String> {
    Set(code.matches(of: #/\b[A-Z]\w*\b/#).map { String($0.0) })
}

@Suite struct FloorsTests {
    @Test("every file uses its own floor and those below, never one above")
    func references() throws {
        var above: [String: String] = [:]
        var complaints: [String] = []
        for floor in floors {
            let files = try files(of: floor)
            for file in files {
                for word in words(file.code) {
                    if let owner = above[word] {
                        complaints.append("\(file.name) uses \(word) of \(owner)")
                    }
                }
            }
            for name in files.flatMap({ declaredTypes($0.code) }) { above[name] = floor }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
        #expect(above.count > 20, "the walk found too little to mean anything")
    }

    @Test("the folders are the floors and nothing else")
    func folders() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: sources.path)
        for name in names where name != "main.swift" { #expect(floors.contains(name), "\(name)") }
    }

    @Test("nothing but CShim and the standard library is imported")
    func imports() throws {
        for floor in floors {
            for file in try files(of: floor) {
                for match in file.code.matches(of: #/\bimport[ \t]+(\w+)/#) {
                    #expect(match.1 == "CShim", "\(file.name) imports \(match.1)")
                }
            }
        }
    }

    @Test("only the Linux floor and its one file make system calls")
    func systemCalls() throws {
        for floor in floors {
            for file in try files(of: floor) where file.code.contains("mini_syscall(") {
                #expect(file.name == "Linux/SystemCalls.swift")
            }
            guard floor != "Linux" else { continue }
            for file in try files(of: floor) where file.code.contains("SystemCall.") {
                Issue.record("\(file.name) makes a system call itself")
            }
        }
    }
}
