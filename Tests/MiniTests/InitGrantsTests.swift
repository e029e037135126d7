// What process 1 and its children do with grants and events, on the model of a kernel that runs on Xen.
// On a real one: Tests/xen/guest/stub*.sh.

import Testing

@testable import Mini

private func request(_ references: Text, domain: Text = "3") -> GrantRequest {
    GrantRequest(name: "n", domain: domain, references: references)
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

@Suite struct InitGrantsTests {
    @Test("a grant's bytes are moved by the words of mini-grant map")
    func words() {
        var request = request("8-9")
        #expect(InitGrants.words(request) == nil)
        request.output = "/o"
        request.isWritable = true
        request.offset = 16
        request.length = 4
        request.patience = .milliseconds(2001)
        #expect(
            InitGrants.words(request) == [
                "mini-grant", "map", "--domain", "3", "--ref", "8-9", "--deadline", "3", "--write",
                "--out", "/o", "--offset", "16", "--length", "4",
            ])
    }

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
            asked.notifiedPort = isBare ? "40" : "@/p"
            xen.page(9, of: 3)[1] = 99
            let words = complaint(on: xen) { () throws(GrantError) in
                let promise: GrantPromise
                do throws(Errno) { promise = try GrantPromise(asked) } catch {
                    throw .system("promise", error)
                }
                let request = try InitGrants.resolve(asked)
                try InitGrants.check(request)
                #expect(xen.now.areas.isEmpty && xen.now.notified.isEmpty)
                try promise.tell(request)
                let held = try InitGrants.hold(try promise.resolved())
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
            ), ("@/none", "3", #"cannot read "/none": no such entry (ENOENT)"#),
            ("@/r", "@/far", #""40000" is no domain"#), ("8", "@/r", #""8-9" is no domain"#),
        ])
    func wrongEntries(references: String, domain: String, wanted: String) throws {
        let xen = try xen()
        let words = complaint(on: xen) { () throws(GrantError) in
            try InitGrants.check(
                try InitGrants.resolve(
                    request(
                        Text(stringLiteral: references), domain: Text(stringLiteral: domain))))
        }
        #expect(words == wanted)
        #expect(xen.now.left == [])
    }

    @Test("a store that does not answer is waited for until the grant's deadline")
    func mute() throws {
        let xen = try xen()
        xen.change { $0.store!.isMute = true }
        var asked = request("@/r")
        asked.patience = .milliseconds(1500)
        let start = xen.now.clock
        #expect(
            complaint(on: xen) { () throws(GrantError) in _ = try InitGrants.resolve(asked) }
                == "the store did not answer in time")
        #expect((1500...1600).contains((xen.now.clock - start) / 1_000_000))
    }

    @Test("a granter that is late: the child waits, process 1 hardly")
    func late() throws {
        let patient = try xen(absences: 200)
        #expect(
            complaint(on: patient) { () throws(GrantError) in
                try InitGrants.check(request("8-9"))
            } == "none")
        let xen = try xen(absences: 200)
        let start = xen.now.clock
        #expect(
            complaint(on: xen) { () throws(GrantError) in
                _ = try InitGrants.hold(request("8-9"))
            } == "the pages of 2 grants of domain 3 were not there in time")
        #expect((xen.now.clock - start) / 1_000_000 <= 110)
        #expect(xen.now.left == [])
    }

    @Test(
        "the bell that rings because it was bound is no event; the other side hears that we listen")
    func event() throws {
        let request = WaitRequest(
            kind: .event, subject: "3", detail: "@/p", patience: .milliseconds(2000))
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
        func steps() throws(GrantError) {
            var asked = request("@/r", domain: "@/d")
            asked.isHeld = true
            asked.notifiedPort = "@/p"
            let promise: GrantPromise
            do throws(Errno) { promise = try GrantPromise(asked) } catch {
                throw .system("promise", error)
            }
            let request = try InitGrants.resolve(asked)
            try InitGrants.check(request)
            try promise.tell(request)
            try InitGrants.hold(try promise.resolved()).release()
            try InitGrants.notify(domain: "@/d", port: "@/p")
        }
        let whole = try xen()
        #expect(complaint(on: whole, steps) == "none")
        #expect(whole.now.left == [])
        for call in 1...whole.now.calls.count {
            let xen = try xen()
            xen.change { $0.failing = (call, .noMemory) }
            _ = complaint(on: xen, steps)
            if !xen.now.failsHopelessly { #expect(xen.now.left == [], "call \(call)") }
        }
    }
}
