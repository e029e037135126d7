// The floors of docs/TOUR.md: a file under Sources/Mini may use what its own floor and the
// floors below declare, and nothing from above: no type, no function, no constant, no member that an
// extension adds to a type from further down; nor may the code inside a text's \( ).

import Foundation
import Testing

/// From the top down.
private let floors = [
    "Commands", "Init", "Launcher", "Loader", "Archive", "Xen", "Host", "Platform", "Devices",
    "Lguest", "Processor", "Memory", "Linux",
]

private struct Source {
    let name: String
    let code: String
}

/// The code of a source: without comments, with what stands in texts only where it is interpolated.
private func code(_ text: String) -> String {
    var reader = CodeReader(text)
    reader.readCode(until: nil)
    return reader.code
}

private struct CodeReader {
    private let bytes: [UInt8]
    private var at = 0
    private var result: [UInt8] = []
    var code: String { String(decoding: result, as: UTF8.self) }

    init(_ text: String) { bytes = Array(text.utf8) }

    private func has(_ text: String) -> Bool { bytes[at...].starts(with: text.utf8) }

    /// - Parameter end: the bracket that ends an interpolation; nil reads to the end of the file.
    mutating func readCode(until end: UInt8?) {
        var depth = 0
        while at < bytes.count {
            if has("//") {
                while at < bytes.count && bytes[at] != 10 { at += 1 }
            } else if has("/*") {
                while at < bytes.count && !has("*/") { at += 1 }
            } else if bytes[at] == UInt8(ascii: "\"") {
                readText()
            } else {
                if bytes[at] == UInt8(ascii: "(") { depth += 1 }
                if bytes[at] == UInt8(ascii: ")") {
                    if depth == 0 && end != nil { return }
                    depth -= 1
                }
                result.append(bytes[at])
                at += 1
            }
        }
    }

    private mutating func readText() {
        let quote = has("\"\"\"") ? "\"\"\"" : "\""
        at += quote.utf8.count
        result += "\"".utf8
        while at < bytes.count && !has(quote) {
            if has("\\(") {
                at += 2
                result += "\\(".utf8
                readCode(until: UInt8(ascii: ")"))
                result += ")".utf8
            } else if bytes[at] == UInt8(ascii: "\\") {
                at += 1
            }
            at += 1
        }
        at += quote.utf8.count
        result += "\"".utf8
    }
}

private func files(of floor: String) throws -> [Source] {
    let folder = project("Sources/Mini").appending(path: floor)
    guard let paths = FileManager.default.enumerator(atPath: folder.path) else { return [] }
    return try paths.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.sorted().map {
        let text = try String(contentsOf: folder.appending(path: $0), encoding: .utf8)
        return Source(name: floor + "/" + $0, code: code(text))
    }
}

/// What a floor offers to others: the names that stand at the left margin, those that its extensions
/// add to types of other floors, and the labels of what these let a text take.
private struct Offer {
    var types: Set<String> = []
    var members: Set<String> = []
    var labels: Set<String> = []
    /// Every name that is declared, wherever: what is called like one of these may be meant.
    var all: Set<String> = []

    init(_ files: [Source]) {
        let declaration =
            #/\b(struct|class|enum|protocol|typealias|actor|func|var|let|case)\s+`?([A-Za-z_]\w*)/#
            .wordBoundaryKind(.simple)
        let own = Set(
            files.flatMap { file in
                file.code.matches(
                    of: #/(?m)^(?:\S+ )*(?:struct|class|enum|protocol)\s+([A-Z]\w*)/#
                ).map { String($0.1) }
            })
        for file in files {
            var isExtension = false
            for line in file.code.split(separator: "\n", omittingEmptySubsequences: true) {
                for match in line.matches(of: declaration) { all.insert(String(match.2)) }
                // Parameters, and labels of arguments.
                for match in line.matches(of: #/([a-z]\w*):/#) { all.insert(String(match.1)) }
                if line.hasPrefix("private ") || line.hasPrefix("fileprivate ") {
                    isExtension = false
                } else if let match = line.firstMatch(of: #/^(?:@\w+ )*extension\s+([A-Z]\w*)/#) {
                    isExtension = !own.contains(String(match.1))
                } else if !line.hasPrefix(" "), !line.hasPrefix("}"),
                    let match = line.firstMatch(of: declaration)
                {
                    isExtension = false
                    let isType = match.2.first?.isUppercase ?? false
                    if isType {
                        types.insert(String(match.2))
                    } else {
                        members.insert(String(match.2))
                    }
                } else if isExtension, line.hasPrefix("    "), !line.hasPrefix("     "),
                    !line.contains("private ")
                {
                    if let match = line.firstMatch(of: #/func appendInterpolation\(([a-z]\w*)/#) {
                        labels.insert(String(match.1))
                    } else if let match = line.firstMatch(of: declaration) {
                        members.insert(String(match.2))
                    }
                }
            }
        }
        members.remove("appendInterpolation")
    }
}

/// What a file takes from others.
private struct Use {
    let types: Set<String>
    let names: Set<String>
    let labels: Set<String>

    init(_ code: String) {
        // Unicode takes "Type.member" for one word.
        types = Set(
            code.matches(of: #/\b[A-Z]\w*\b/#.wordBoundaryKind(.simple)).map { String($0.0) })
        names = Set(
            code.matches(of: #/\b[a-z]\w*\b/#.wordBoundaryKind(.simple)).map { String($0.0) })
        labels = Set(code.matches(of: #/\\\(([a-z]\w*):/#).map { String($0.1) })
    }
}

/// - Returns: what files use that only a floor above them declares.
private func complaints(_ tree: [(floor: String, files: [Source])]) -> [String] {
    // From the bottom up: what is known on each floor.
    var known: [Offer] = []
    var all: Set<String> = []
    for (_, files) in tree.reversed() {
        var offer = Offer(files)
        all.formUnion(offer.all)
        offer.all = all
        known.insert(offer, at: 0)
    }
    var complaints: [String] = []
    var above: [(floor: String, offer: Offer)] = []
    for (index, (floor, files)) in tree.enumerated() {
        let below = known[index...].reduce(into: Set<String>()) { $0.formUnion($1.labels) }
        for file in files {
            let use = Use(file.code)
            for (owner, offer) in above {
                for name in offer.types.intersection(use.types) {
                    complaints.append("\(file.name) uses \(name) of \(owner)")
                }
                for name in offer.members.intersection(use.names).subtracting(known[index].all) {
                    complaints.append("\(file.name) uses \(name) of \(owner)")
                }
                for label in offer.labels.intersection(use.labels).subtracting(below) {
                    complaints.append("\(file.name) prints with \(label): of \(owner)")
                }
            }
        }
        above.append((floor, known[index]))
    }
    return complaints.sorted()
}

@Suite struct FloorsTests {
    @Test("every file uses its own floor and those below, never one above")
    func references() throws {
        let tree = try floors.map { ($0, try files(of: $0)) }
        for (floor, files) in tree { #expect(!files.isEmpty, "\(floor)") }
        let complaints = complaints(tree)
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    @Test(
        "a reference upwards is found wherever it stands",
        arguments: [
            ("let error = Upper()", "Upper"), ("func f(_ x: Lower) -> Int { x.added() }", "added"),
            (#"let text = "no \(Upper.self) here""#, "Upper"), ("func f() { upper() }", "upper"),
            (#"let text = "as \(grand: 1)""#, "grand"), ("let x = limit", "limit"),
            ("extension Upper {\n}", "Upper"),
        ])
    func upwards(line: String, name: String) {
        let upper = """
            struct Upper {}
            extension Lower {
                func added() -> Int { 1 }
            }
            extension Text {
                mutating func appendInterpolation(grand number: Int) {}
            }
            func upper() {}
            let limit = 3
            """
        let tree = { (lower: String) in
            [
                ("Above", [Source(name: "Above/Upper.swift", code: code(upper))]),
                (
                    "Below",
                    [Source(name: "Below/Lower.swift", code: code("struct Lower {}\n" + lower))]
                ),
            ]
        }
        let found = complaints(tree(line))
        #expect(found.count == 1 && found[0].contains(name), "\(found)")
        #expect(complaints(tree("// \(line.split(separator: "\n")[0])")).isEmpty)
        #expect(complaints(tree(#"let text = "Upper upper added limit""#)).isEmpty)
    }

    @Test("the folders are the floors and nothing else, in the sources and in the tests")
    func folders() throws {
        for tree in ["Sources/Mini", "Tests/MiniTests"] {
            for name in try FileManager.default.contentsOfDirectory(atPath: project(tree).path)
            where !name.hasSuffix(".swift") { #expect(floors.contains(name), "\(tree)/\(name)") }
        }
        for name in try FileManager.default.contentsOfDirectory(
            atPath: project("Sources/Mini").path)
        where name.hasSuffix(".swift") { #expect(name == "main.swift") }
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

    @Test("a source file that a page names is there")
    func pages() throws {
        var all: Set<String> = []
        for tree in ["Sources/Mini", "Tests/MiniTests", "Tests/Fuzz"] {
            let paths = FileManager.default.enumerator(atPath: project(tree).path)
            for path in paths?.compactMap({ $0 as? String }) ?? [] {
                all.insert(path)
                all.insert((path as NSString).lastPathComponent)
            }
        }
        for page in try pagesOfProject() {
            let text = try projectText(page)
            for match in text.matches(of: #/`(?:Sources/Mini/)?([A-Z][\w/]*\.swift)`/#) {
                let isThere =
                    all.contains(String(match.1))
                    || FileManager.default.fileExists(atPath: project(String(match.1)).path)
                #expect(isThere, "\(page): \(match.1)")
            }
        }
    }

    @Test("a page that another one leads to is there, and the tour leads to every machine's")
    func links() throws {
        for page in try pagesOfProject() {
            let folder = project(page).deletingLastPathComponent()
            for match in try projectText(page).matches(of: #/\]\(([^)#:]+)[)#]/#) {
                let file = folder.appending(path: String(match.1)).path
                #expect(FileManager.default.fileExists(atPath: file), "\(page): \(match.1)")
            }
        }
        let tour = try projectText("docs/TOUR.md")
        for page in try pages(in: "docs") where page.hasSuffix("-machine.md") {
            #expect(tour.contains("](\(page.dropFirst("docs/".count)))"), "\(page)")
        }
    }

    private func pages(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: project(folder).path)
            .filter { $0.hasSuffix(".md") }.map { "\(folder)/\($0)" }
    }

    private func pagesOfProject() throws -> [String] {
        try ["README.md", "contrib/README.md", "Tests/Fuzz/README.md"] + pages(in: "docs")
            + pages(in: "docs/abi")
    }
}
