// What the words of the boot table look up: how that is written, and what comes of a store and of files that
// others have written.

import Foundation
import Testing

@testable import Mini

private var programs: InnerPrograms {
    InnerPrograms(run: { _ in nil }, complaint: { InitCommand.programs.complaint($0) })
}

private func errors(_ file: String, _ commandLine: String = "") -> [String] {
    var reader = BootTableReader(programs)
    reader.read(file: Text(stringLiteral: file), name: "t")
    reader.read(commandLine: Text(stringLiteral: commandLine))
    reader.finish()
    return reader.errors.map { string($0.text) }
}

private let storePath =
    "a path in the store: names of letters, digits, -, _ and @ with a / between them"

private func words(_ line: String) throws -> [TableWord] {
    try TableWords.cut(line: Array(line.utf8)[...])
}

/// What the words of a line stand for, or what is wrong, behind the column.
private func expanded(
    _ line: String, _ entries: [String: String], secrets: Set<String> = []
) throws -> [String] {
    let xen = try FakeXen {
        $0.store = FakeStore.with(entries)
        $0.store!.secrets = secrets
    }
    let words = try words(line)
    let result = xen.play { () -> [String] in
        var lookups = TableLookups()
        do throws(TableLookups.Complaint) {
            return try lookups.expand(words).map { string($0.text) }
        } catch { return ["\(error.column): \(string(error.words))"] }
    }
    #expect(xen.now.left == [])
    return result
}

@Suite struct TableLookupsTests {
    @Test(
        "a lookup stands in a word, in a path and in another lookup; single quotation marks keep it"
    )
    func places() throws {
        let entries = ["/a/b": "7", "/vm": "/vm/1", "/vm/1/name": "two  words", "/e": ""]
        #expect(
            try expanded(
                "run @{/a/b} x@{/a/b}y@{/a/b} '@{/a/b}' @/a/b \"@{/a/b}\" @{@{/vm}/name}", entries)
                == ["run", "7", "x7y7", "@{/a/b}", "@/a/b", "7", "two  words"])
        #expect(
            try expanded(
                "run @{/none:-d} \"@{/none:-d e}\" @{/e:-f} @{/none:-} x@{/none:-}", entries)
                == ["run", "d", "d e", "f", "x"])
        #expect(try expanded("run a\"@\"{/a/b} @{/a/@{/none:-b}}", entries) == ["run", "a7", "7"])
    }

    @Test("a default stands for what the store does not show, as it says of what is missing")
    func secrets() throws {
        let entries = ["/a": "1", "/s": "2", "/s/0": "3"]
        let line = "run @{/s:-d} @{/a} @{/s/*:-e} @{/s:-}"
        #expect(try expanded(line, entries, secrets: ["/s"]) == ["run", "d", "1", "e"])
        #expect(try expanded("run @{/s:-d}", entries, secrets: ["/s"]) == ["run", "d"])
        let denied = "permission denied (EACCES)"
        #expect(
            try expanded("run @{/s}", entries, secrets: ["/s"])
                == ["5: cannot read \"/s\": \(denied)"])
        #expect(
            try expanded("run @{/s/*}", entries, secrets: ["/s"])
                == ["5: cannot list \"/s\": \(denied)"])
    }

    @Test("a word that began with a quotation mark is known as such when it has been looked up")
    func quoted() throws {
        let xen = try FakeXen { $0.store = FakeStore.with(["/m": "<x>"]) }
        let words = try words("send /s \"@{/m}\" 'a' b@{/m}")
        let found = xen.play { () -> [TableWord] in
            var lookups = TableLookups()
            return (try? lookups.expand(words)) ?? []
        }
        #expect(found.map { string($0.text) } == ["send", "/s", "<x>", "a", "b<x>"])
        #expect(found.map { $0.isQuoted } == [false, false, true, true, false])
        let result = try ChildResult()
        try result.write(found)
        #expect(try result.words() == found)
    }

    @Test("a list of the store's entries is a word each, in the order of their numbers")
    func lists() throws {
        let arguments = [
            "/l/001": "-m", "/l/002": "64", "/l/010": "no", "/l/003": "a b", "/q": "/l",
        ]
        #expect(
            try expanded("run p @{/l/*} z", arguments.filter { $0.key != "/l/010" })
                == ["run", "p", "-m", "64", "a b", "z"])
        #expect(
            try expanded("run @{@{/q}/*}", ["/q": "/l", "/l/0": "a", "/l/1": "b"])
                == ["run", "a", "b"])
        #expect(
            try expanded("run p @{/l/*}", arguments)
                == ["7: the list below \"/l\" has a hole: there is no 4"])
        #expect(try expanded("run @{/none/*:-} @{/none/*:-d}", [:]) == ["run", "d"])
        for (entries, wanted) in [
            (["/l/0": "a", "/l/2": "b"], "the list below \"/l\" has a hole: there is no 1"),
            (["/l/7": "a"], "the list below \"/l\" has a hole: there is no 1"),
            (["/l/1": "a", "/l/01": "b"], "below \"/l\" are the same number"),
            (["/l/1": "a", "/l/x": "b"], "\"x\" below \"/l\" is no number, so it has no place"),
            (["/l/1": ""], "\"/l/1\", which would be an argument, is empty"),
            (["/l": "a"], "there is nothing below \"/l\""),
            (["/l/1": "a\0b"], "\"/l/1\" has a zero byte in it"),
            ([:], "cannot list \"/l\": no such entry (ENOENT)"),
            (["/l/99999999999999999999999": "x"], "is no number, so it has no place"),
        ] as [([String: String], String)] {
            let said = try expanded("run @{/l/*}", entries)
            #expect(said.count == 1 && said[0].hasSuffix(wanted), "\(said)")
        }
    }

    @Test("entries that do not wait for another one are asked for together, by several connections")
    func together() throws {
        let list = (0..<30).map { ("/l/\($0)", "v\($0)") }
        let entries = Dictionary(
            uniqueKeysWithValues: list + [("/q", "/l"), ("/a", "1"), ("/b", "2"), ("/c", "3")])
        for (line, wanted, connections) in [
            ("run @{/a} x@{/b}@{/none:-} @{/c}", ["run", "1", "x2", "3"], 4),
            ("run @{/a} @{/a}", ["run", "1", "1"], 1),
            ("run @{@{/q}/*}", ["run"] + list.map { $0.1 }, 8),
        ] {
            let xen = try FakeXen { $0.store = FakeStore.with(entries) }
            let words = try words(line)
            let said = xen.play { () -> [String] in
                var lookups = TableLookups()
                return (try? lookups.expand(words))?.map { string($0.text) } ?? []
            }
            #expect(said == wanted)
            #expect(xen.now.openedInOrder.count == connections, "\(line)")
            // Written to each connection before the first is read.
            let moved = xen.now.calls.filter { $0 < 2 }
            if connections == 4 { #expect(moved == [1, 1, 1, 1, 0, 0, 0, 0]) }
        }
        // One that is not there is told for the word that names it, whoever was asked before.
        #expect(
            try expanded("run @{/a} @{/none} @{/c}", entries)
                == ["11: cannot read \"/none\": no such entry (ENOENT)"])
    }

    @Test("a store that takes no further connection is asked by those that there are")
    func fewConnections() throws {
        let entries = ["/a": "1", "/b": "2", "/c": "3"]
        let words = try words("run @{/a} x@{/b} @{/c}")
        /// What comes of it, and by how many connections, when one call fails.
        func look(_ failing: Int?) throws -> (words: [String], connections: Int, calls: [Int]) {
            let xen = try FakeXen {
                $0.store = FakeStore.with(entries)
                $0.failing = failing.map { (call: $0, errno: .again) }
            }
            let said = xen.play { () -> [String] in
                var lookups = TableLookups()
                return (try? lookups.expand(words))?.map { string($0.text) } ?? []
            }
            #expect(xen.now.left == [])
            return (said, xen.now.openedInOrder.count, xen.now.calls)
        }
        let whole = try look(nil)
        let opens = whole.calls.indices.filter {
            whole.calls[$0] == SystemCall.Number.open.rawValue
        }
        #expect(whole.connections == 3 && opens.count == 3)
        for (index, open) in opens.enumerated() where index > 0 {
            let few = try look(open + 1)
            #expect(few.words == ["run", "1", "x2", "3"] && few.connections == index)
        }
    }

    @Test("a file's contents, without the ends of lines behind them")
    func files() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: file) }
        let path = file.path
        try Data("two\nlines\r\n\n".utf8).write(to: file)
        #expect(try expanded("run \"x@{file:\(path)}\"", [:]) == ["run", "xtwo\nlines"])
        #expect(try expanded("run @{file:@{/f}}", ["/f": path]) == ["run", "two\nlines"])
        #expect(try expanded("run @{file:\(path).none:-d}", [:]) == ["run", "d"])
        // Below what is no folder there is nothing, either.
        #expect(try expanded("run @{file:\(path)/x:-d}", [:]) == ["run", "d"])
        #expect(
            try expanded("run @{file:\(path)/x}", [:])
                == ["5: cannot read \"\(path)/x\": not a directory (ENOTDIR)"])
        try Data(repeating: 65, count: 4097).write(to: file)
        #expect(
            try expanded("run @{file:\(path)}", [:])
                == ["5: \"\(path)\" has more than 4096 bytes, too many for words"])
        try Data("\n".utf8).write(to: file)
        #expect(
            try expanded("run @{file:\(path)}", [:]) == ["5: \"@{file:\(path)}\" is empty"])
    }

    @Test("what others have put there is checked: empty, zero bytes, a way up, too much")
    func hostile() throws {
        for (line, wanted) in [
            ("run a @{/e}", "7: \"@{/e}\" is empty"),
            ("run @{/zero}", "5: \"/zero\" has a zero byte in it"),
            ("run @{/x/@{/up}}", "5: \"/x/../secret\" is not a path without .. in it"),
            ("run @{file:/@{/up}}", "5: \"/../secret\" is not a path without .. in it"),
            ("run @{/x@{/slashes}}", "5: \"/x//\" is not \(storePath)"),
            ("run @{/x/@{/blank}}", "5: \"/x/a b\" is not \(storePath)"),
            ("run  a@{/none}", "6: cannot read \"/none\": no such entry (ENOENT)"),
            (
                "run" + String(repeating: " @{/big}", count: 40),
                "133: the statement comes to more than 1024 words or 65536 bytes"
            ),
        ] {
            let said = try expanded(
                line,
                [
                    "/e": "", "/zero": "a\0", "/up": "../secret", "/slashes": "//", "/blank": "a b",
                    "/big": String(repeating: "x", count: 4000),
                ])
            #expect(said == [wanted])
        }
    }

    // MARK: Known before anything is started

    @Test(
        "what is wrong with a lookup is told before anything is started, where it stands",
        arguments: [
            ("run a @{x", "t:1:7: this @{ is not closed by a }"),
            ("run a  b@{x y}", "t:1:8: this @{ is not closed by a }"),
            ("run @{}", "t:1:5: \"\" is not \(storePath)"),
            ("run @{a//b}", "t:1:5: \"a//b\" is not \(storePath)"),
            ("run @{a/../b}", "t:1:5: \"a/../b\" is not a path without .. in it"),
            ("run @{file:}", "t:1:5: \"\" is not a file's name"),
            ("run @{file:/a/..}", "t:1:5: \"/a/..\" is not a path without .. in it"),
            ("run x@{a/*}", "t:1:5: \"x@{a/*}\" is not a list, which is a word of its own"),
            ("run @{a:-@{b}}", "t:1:5: \"@{a:-@{b}}\" is not a default that stands for itself"),
            (
                "run @{a@{b@{c@{d@{e}}}}}",
                "t:1:5: \"@{e}}}}}\" is not a lookup in at most three others"
            ),
            ("notify @{d/*} 3", "t:1:8: \"@{d/*}\": a list can only be a program's arguments"),
            (
                "wait store @{x} deadline=soon",
                "t:1:17: \"soon\" is not a time: seconds, or milliseconds as 250ms"
            ),
            ("lod @{x}", "t:1:1: there is no statement \"lod\""),
            ("set /a/../b 1", "t:1:5: \"/a/../b\" is not a path without .. in it"),
            ("run 3>@{a}/.. x", "t:1:5: \"3>@{a}/..\" is not a path without .. in it"),
            ("run x@{a}/../b", "t:1:5: \"x@{a}/../b\" is not a path without .. in it"),
            ("wait store \"@{a}/b c\"", "t:1:12: \"@{a}/b c\" is not \(storePath)"),
            ("wait file ../x", "t:1:11: \"../x\" is not a path without .. in it"),
            ("grant n 3 8 to=/a/..", "t:1:13: \"/a/..\" is not a path without .. in it"),
            ("switch-root .. /init", "t:1:13: \"..\" is not a path without .. in it"),
        ])
    func wrong(line: String, wanted: String) {
        #expect(errors("run ok\n" + line) == [wanted.replacing("t:1:", with: "t:2:")])
    }

    @Test("what a lookup will bring is not guessed at")
    func unknown() {
        for line in [
            "launch --memory @{m} @{k}", "run @{program}", "grant n @{d} @{r} deadline=@{t}",
            "mount @{s} /x/@{name} ext4", "load /m.ko @{p/*}", "set /x @{p/*}", "wait @{kind} x",
            "exec @{l/*}", "run mini-launch @{l/*}",
        ] { #expect(errors(line) == []) }
        #expect(errors("", "mini.run=\"x @{a} '@{'\"") == [])
    }

    @Test("random words are cut into lookups or refused, and never more than that")
    func random() throws {
        var generator = SplitMix(seed: 7)
        let pieces = ["@{", "}", ":-", "/*", "a", "/", "file:", "..", "@", "{", "'", "\""]
        for _ in 0..<3000 {
            var line = "run "
            for _ in 0..<Int.random(in: 0..<12, using: &generator) {
                line += pieces.randomElement(using: &generator)!
            }
            _ = errors(line)
            guard let words = try? words(line), errors(line).isEmpty else { continue }
            let text = words.map { string($0.text) }.joined(separator: " ")
            guard (try? TableWords.cut(line: Array(text.utf8)[...])) != nil else { continue }
            _ = try expanded(text, ["/a": "b"])
        }
    }
}
