// What process 1 and its children do with grants and events, on the model of a kernel that runs on Xen.
// On a real one: Tests/xen/guest/stub*.sh.

import Foundation
import Testing

@testable import Mini

private func request(_ references: String, domain: String = "3") -> GrantRequest {
    GrantRequest(
        name: "n", domain: word(domain, DomainID.init(word:)),
        references: word(references, GrantList.references))
}

/// A word as the table has it: `@PATH`, or what it says itself.
private func word<Value>(_ word: String, _ read: (Text) -> Value?) -> ValueOrEntry<Value> {
    let text = Text(stringLiteral: word)
    return text.storePath.map { .entry($0) } ?? .value(read(text)!)
}

/// What went wrong, in words.
private func complaint(
    on xen: FakeXen, _ body: () throws(GrantError) -> Void
) -> String {
    xen.play {
        do throws(GrantError) { try body() } catch { return string(error.text) }
        return "none"
    }
}

/// What a child of process 1 does: its sandbox ends with it.
private func map(
    _ request: GrantRequest, _ deadline: Deadline = .after(.milliseconds(100)), on xen: FakeXen
) throws(GrantError) {
    try map(request, try InitGrants.terms(request, deadline), deadline, on: xen)
}
private func map(
    _ request: GrantRequest, _ terms: GrantTerms, _ deadline: Deadline, on xen: FakeXen
) throws(GrantError) {
    defer { xen.change { $0.sandbox.filter = nil } }
    try InitGrants.map(request, terms, deadline) { xen.errorLine($0) }
}

extension FakeXen {
    fileprivate func errorLine(_ text: Text) { change { $0.errors += text.bytes + [10] } }
}

@Suite struct InitGrantsTests {
    /// A store with what a table can name, one page granted, and one port to bind.
    private func xen(absences: Int = 0) throws -> FakeXen {
        let xen = try FakeXen {
            $0.store = FakeStore.with([
                "/d": "3", "/r": "8-9", "/p": "40", "/wrong": "8\n9", "/far": "40000",
            ])
            $0.remotePorts = [key(3, 40)]
        }
        xen.grant([8, 9], of: 3)
        xen.changeGrant(9, of: 3) { $0.absences = absences }
        return xen
    }

    @Test("a child asks the store and checks the pages; process 1 holds what the child has told")
    func promise() throws {
        for isBare in [true, false] {
            let xen = try xen()
            var asked = isBare ? request("8-9") : request("@/r", domain: "@/d")
            asked.isHeld = true
            asked.notifiedByte = 4097
            asked.notifiedPort = word(isBare ? "40" : "@/p", EventPort.init(word:))
            xen.page(9, of: 3)[1] = 99
            let words = complaint(on: xen) { () throws(GrantError) in
                let promise: GrantPromise
                do throws(InitError) { promise = try GrantPromise(asked) } catch {
                    throw .refused(error.text)
                }
                let terms = try InitGrants.terms(asked, .after(asked.patience))
                try promise.tell(terms)
                try map(asked, terms, .after(asked.patience), on: xen)
                #expect(xen.now.areas.isEmpty && xen.now.notified.isEmpty)
                let held = try InitGrants.hold(promise.request, try promise.terms())
                #expect(xen.page(9, of: 3)[1] == 99)
                #expect(xen.now.areas.count == 1)
                held.release()
            }
            #expect(words == "none")
            #expect(xen.page(9, of: 3)[1] == 0 && xen.now.notified == [40])
            #expect(xen.now.left == [])
        }
    }

    @Test(
        "what the store has and is none",
        arguments: [
            (
                "@/wrong", "3",
                #""8\x0a9", which the store has at "/wrong", is no number"#
            ), ("@/none", "3", #""/none" was not so in time"#),
            ("@/r", "@/far", #""40000" is no domain"#), ("8", "@/r", #""8-9" is no domain"#),
        ])
    func wrongEntries(references: String, domain: String, wanted: String) throws {
        let xen = try xen()
        let words = complaint(on: xen) { () throws(GrantError) in
            let deadline = Deadline.after(.milliseconds(250))
            try map(request(references, domain: domain), deadline, on: xen)
        }
        #expect(words == wanted)
        #expect(xen.now.left == [])
    }

    @Test(
        "a list of all the grants that can be mapped at once, none beside another, is handed over whole"
    )
    func manyGrants() throws {
        let references = (0..<65536 as Range<UInt32>).map {
            GrantReference(rawValue: $0 * 60001)
        }
        let promise = try GrantPromise(request("@/r"))
        try promise.tell(
            GrantTerms(grants: try GrantList(references, of: DomainID(3)!), port: nil))
        let terms = try promise.terms()
        #expect(terms.grants.references == references && terms.port == nil)
        #expect(terms.grants.domain == DomainID(3))
    }

    @Test(
        "what is handed over and is no grant is refused",
        arguments: [
            [], [3, 0, 0, 0], [3, 0, 0, 0, 7, 0, 0, 0], [3, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0],
            [3, 0, 1, 0, 7, 0, 0, 0, 8, 0, 0, 0],
            [3, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0],
        ])
    func oddTerms(bytes: [UInt8]) {
        #expect(GrantTerms(bytes) == nil)
        #expect(
            GrantTerms([3, 0, 0, 0, 7, 0, 0, 0x80, 8, 0, 0, 0])?.port == EventPort(0x8000_0007))
    }

    @Test("a grant waits for its entries as `wait` does, until a deadline in milliseconds")
    func awaitedEntries() throws {
        let xen = try xen()
        xen.change {
            $0.happenings = [
                .act { $0.store!.set("/soon", Array("3".utf8)) },
                .act {
                    $0.store!.secrets = []
                    $0.store!.set("/late", Array("8-9".utf8))
                },
            ]
            // What is missing below somebody else's folder may not be read.
            $0.store!.secrets = ["/late"]
        }
        var terms: GrantTerms?
        let words = complaint(on: xen) { () throws(GrantError) in
            terms = try InitGrants.terms(
                request("@/late", domain: "@/soon"), .after(.milliseconds(250)))
        }
        #expect(words == "none")
        #expect(terms?.grants.references.map(\.rawValue) == [8, 9])
        #expect(terms?.grants.domain.rawValue == 3)
        let silent = try self.xen()
        let start = silent.now.clock
        #expect(
            complaint(on: silent) { () throws(GrantError) in
                _ = try InitGrants.terms(request("@/never"), .after(.milliseconds(250)))
            } == "\"/never\" was not so in time")
        #expect((250...260).contains((silent.now.clock - start) / 1_000_000))
        #expect(xen.now.left == [] && silent.now.left == [])
    }

    @Test("a grant's bytes go from a file to the pages, and from the pages to a file")
    func bytes() throws {
        let xen = try xen()
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "mini-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data("abcdef".utf8).write(to: folder.appending(path: "in"))
        var asked = request("8-9")
        asked.input = Text(stringLiteral: folder.appending(path: "in").path)
        asked.output = Text(stringLiteral: folder.appending(path: "out").path)
        asked.offset = 4094
        asked.length = 4
        #expect(
            complaint(on: xen) { () throws(GrantError) in
                try map(asked, on: xen)
            } == "none")
        #expect(xen.page(8, of: 3)[4094] == 97 && xen.page(9, of: 3)[1] == 100)
        #expect(xen.page(9, of: 3)[2] != 101)
        #expect(try Data(contentsOf: folder.appending(path: "out")) == Data("abcd".utf8))
        for (offset, length) in [(8192, nil), (0, 0), (8000, 193)] as [(Int, Int?)] {
            asked.offset = offset
            asked.length = length
            #expect(
                complaint(on: xen) { () throws(GrantError) in
                    try map(asked, on: xen)
                }.hasPrefix("the pages have 8192 bytes: there are not "))
        }
        #expect(xen.now.left == [])
    }

    @Test(
        "before a child reads anything of the pages it has given up all but the calls of its rows")
    func sandbox() throws {
        var seen: Set<String> = []
        let file = try TemporaryFile()
        for (output, isWatched) in [(nil, false), (file.path, false), (file.path, true)] {
            let xen = try xen()
            if isWatched { xen.change { $0.terminals = [2] } }
            var asked = request("8-9")
            asked.output = output.map { Text(stringLiteral: $0) }
            #expect(
                complaint(on: xen) { () throws(GrantError) in try map(asked, on: xen) } == "none")
            #expect(xen.now.sandbox.killed == [] && xen.now.left == [] && xen.now.errors == [])
            seen.formUnion(xen.now.sandbox.seen)
        }
        // A line about what is wrong, as process 1 and its children say it.
        let xen = try xen()
        #expect(
            complaint(on: xen) { () throws(GrantError) in
                let request = request("8-9")
                try InitGrants.map(request, try InitGrants.terms(request, .never), .never) { _ in }
                InitConsole.say("wrong")
            } == "none")
        #expect(string(Text(bytes: xen.now.errors)) == "mini-init: wrong\n")
        #expect(xen.now.sandbox.killed == [])
        seen.formUnion(xen.now.sandbox.seen)
        try expectSandbox(seen, .statement, .file)
    }

    @Test("a kernel without filters costs a line, and the bytes are moved")
    func noFilter() throws {
        let xen = try xen()
        xen.change { $0.sandbox.isMissing = true }
        let file = try TemporaryFile()
        var asked = request("8-9")
        asked.output = Text(stringLiteral: file.path)
        #expect(complaint(on: xen) { () throws(GrantError) in try map(asked, on: xen) } == "none")
        let line = string(Text(bytes: xen.now.errors))
        #expect(line.hasPrefix("this kernel does not filter system calls (seccomp): "))
        #expect(try Data(contentsOf: URL(filePath: file.path)).count == 8192)
    }

    @Test("a store that does not answer is waited for until the grant's deadline")
    func mute() throws {
        let xen = try xen()
        xen.change { $0.store!.isMute = true }
        var asked = request("@/r")
        asked.patience = .milliseconds(1500)
        let start = xen.now.clock
        #expect(
            complaint(on: xen) { () throws(GrantError) in
                _ = try InitGrants.terms(asked, .after(asked.patience))
            }
                == "the store did not answer in time")
        #expect((1500...1600).contains((xen.now.clock - start) / 1_000_000))
    }

    @Test("a granter that is late: the child waits, process 1 hardly")
    func late() throws {
        let patient = try xen(absences: 200)
        #expect(
            complaint(on: patient) { () throws(GrantError) in
                try map(request("8-9"), .after(.milliseconds(10_000)), on: patient)
            } == "none")
        let xen = try xen(absences: 200)
        let start = xen.now.clock
        #expect(
            complaint(on: xen) { () throws(GrantError) in
                let request = request("8-9")
                _ = try InitGrants.hold(request, try InitGrants.terms(request, .never))
            } == "the pages of 2 grants of domain 3 were not there in time")
        #expect((xen.now.clock - start) / 1_000_000 <= 110)
        #expect(xen.now.left == [])
    }

    @Test(
        "the bell that rings because it was bound is no event; the other side hears that we listen")
    func event() throws {
        let request = WaitRequest(
            kind: .event(.value(DomainID(3)!), .entry("/p")), subject: "",
            patience: .milliseconds(2000))
        let silent = try xen()
        silent.change { $0.happenings = [.event(1)] }
        #expect(
            complaint(on: silent) { () throws(GrantError) in try InitStatements.wait(for: request) }
                == "no event has come in time")
        #expect(silent.now.notified == [40])
        let xen = try xen()
        xen.change { $0.happenings = [.event(1), .event(1)] }
        #expect(
            complaint(on: xen) { () throws(GrantError) in try InitStatements.wait(for: request) }
                == "none")
        #expect(xen.now.left == [])
    }

    @Test("whatever call fails while grants are promised and held, nothing stays")
    func everyFailure() throws {
        func steps(_ xen: FakeXen) throws(GrantError) {
            var asked = request("@/r", domain: "@/d")
            asked.isHeld = true
            asked.notifiedPort = .entry("/p")
            let promise: GrantPromise
            do throws(InitError) { promise = try GrantPromise(asked) } catch {
                throw .refused(error.text)
            }
            let terms = try InitGrants.terms(asked, .after(asked.patience))
            try promise.tell(terms)
            try map(asked, terms, .after(asked.patience), on: xen)
            try InitGrants.hold(promise.request, try promise.terms()).release()
            try InitGrants.notify(domain: .entry("/d"), port: .entry("/p"))
        }
        let whole = try xen()
        #expect(complaint(on: whole) { () throws(GrantError) in try steps(whole) } == "none")
        #expect(whole.now.left == [])
        for call in 1...whole.now.calls.count {
            let xen = try xen()
            xen.change { $0.failing = (call, .noMemory) }
            _ = complaint(on: xen) { () throws(GrantError) in try steps(xen) }
            if !xen.now.failsHopelessly { #expect(xen.now.left == [], "call \(call)") }
        }
    }
}
