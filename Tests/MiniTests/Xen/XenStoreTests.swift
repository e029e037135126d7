// The connection to the store, on the model's device.

import Testing

@testable import Mini

private let patience = Nanoseconds.milliseconds(5_000)

/// Runs `body` with a connection to a store.
@discardableResult
private func with<Value>(
    _ store: FakeStore, _ body: (XenStore, FakeXen) throws(GrantError) -> Value
) throws -> Value {
    let xen = try FakeXen { $0.store = store }
    let value = try xen.play { () throws(GrantError) in
        try body(try XenStore(deadline: .after(patience)), xen)
    }
    #expect(xen.now.left == [])
    return value
}

private func path(_ text: Text) throws(GrantError) -> StorePath { try StorePath(named: text) }

@Suite struct XenStoreTests {
    @Test("entries are written, read, listed and removed", arguments: [1, 7, 4096])
    func entries(most: Int) throws {
        var store = FakeStore.with(["/a/one": "1"])
        store.most = most
        store.interruptions = ["/a", "/b", "/a/one"]
        try with(store) { (store, xen) throws(GrantError) in
            try store.write(try path("/a/two"), [0, 1, 255])
            #expect(try store.read(try path("/a/two")) == [0, 1, 255])
            try store.makeDirectory(try path("/a/three"))
            #expect(try store.list(try path("/a")) == ["one", "three", "two"])
            #expect(try store.list(try path("/a/three")) == [])
            try store.remove(try path("/a/one"))
            #expect(try store.valueIfAny(try path("/a/one")) == nil)
            #expect(xen.now.store!.value("/a/one") == nil)
            // What came in between is not lost.
            for event in ["/a", "/b", "/a/one"] {
                #expect(try store.nextEvent(until: .never) == Text(stringLiteral: event))
            }
        }
    }

    @Test("what the store refuses is told with the path")
    func refusals() throws {
        try with(FakeStore.with([:])) { (store, _) throws(GrantError) in
            #expect(throws: GrantError.store("read", path: "/no", .noSuchFile)) {
                try store.read(try path("/no"))
            }
            #expect(throws: GrantError.store("remove", path: "/no", .noSuchFile)) {
                try store.remove(try path("/no"))
            }
        }
        var store = FakeStore()
        store.refusals = [11: "EACCES", 1: "EQUOTA"]
        try with(store) { (store, _) throws(GrantError) in
            #expect(throws: GrantError.store("write", path: "x", .accessDenied)) {
                try store.write(try path("x"), [])
            }
            #expect(throws: GrantError.store("list", path: "x", StoreRefusal(name: "EQUOTA"))) {
                try store.list(try path("x"))
            }
        }
        #expect(
            string(GrantError.store("read", path: "/no", .noSuchFile).text)
                == "cannot read \"/no\": no such entry (ENOENT)")
        #expect(GrantError.store("read", path: "/no", .noSuchFile).exitCode == 4)
    }

    @Test("permissions are read and set, and an entry is published for one domain")
    func permissions() throws {
        try with(FakeStore.with(["/a": "1"])) { (store, xen) throws(GrantError) in
            try store.setPermissions(of: try path("/a"), StorePermissions(["n5", "w2"])!)
            #expect(try store.permissions(of: try path("/a")).words == ["n5", "w2"])
            try store.publish("7", at: try path("/a"), for: DomainID(3)!)
            #expect(xen.now.store!.entries["/a"] == .init(value: [55], permissions: ["n5", "r3"]))
        }
    }

    @Test("a message that is too long is not sent")
    func tooLong() throws {
        try with(FakeStore()) { (store, xen) throws(GrantError) in
            try store.write(try path("/a"), [UInt8](repeating: 1, count: 4077))
            let calls = xen.now.calls.count
            #expect(
                throws: GrantError.use(
                    "cannot write \"/a\": path and value are 4081 bytes, at most 4080 fit")
            ) { try store.write(try path("/a"), [UInt8](repeating: 1, count: 4078)) }
            #expect(xen.now.calls.count == calls)
        }
    }

    @Test("a list that no message holds comes in parts", arguments: [4000, 1000, 17, 1])
    func longList(partSize: Int) throws {
        var store = FakeStore()
        let names = (0..<500).map { "entry\(1000 + $0)" }
        for name in names { store.set("/long/\(name)", []) }
        store.partSize = partSize
        store.listChanges = 3
        try with(store) { (store, _) throws(GrantError) in
            #expect(
                try store.list(try path("/long")) == names.map { Text(stringLiteral: $0) })
        }
    }

    @Test("of a store that lists nothing in parts it is told that this is what it cannot do")
    func longListOfOldStore() throws {
        var store = FakeStore()
        for index in 0..<500 { store.set("/long/entry\(1000 + index)", []) }
        store.refusals = [22: "ENOSYS"]
        try with(store) { (store, _) throws(GrantError) in
            let refusal = StoreRefusal(name: "ENOSYS")
            #expect(throws: GrantError.store("list in parts", path: "/long", refusal)) {
                try store.list(try path("/long"))
            }
        }
    }

    @Test("a list that never stands still ends with the deadline")
    func restlessList() throws {
        var store = FakeStore()
        for index in 0..<500 { store.set("/long/entry\(1000 + index)", []) }
        store.listChanges = .max
        store.partSize = 1000
        try with(store) { (store, _) throws(GrantError) in
            store.deadline = .after(.milliseconds(1))
            #expect(throws: GrantError.deadline("others kept changing the entries of \"/long\"")) {
                try store.list(try path("/long"))
            }
        }
    }

    @Test("without an answer the deadline ends it, and nothing else is asked before it has come")
    func mute() throws {
        var mute = FakeStore()
        mute.isMute = true
        try with(mute) { (store, xen) throws(GrantError) in
            #expect(throws: GrantError.deadline("the store did not answer in time")) {
                try store.read(try path("/a"))
            }
            let writes = xen.now.calls.count { $0 == SystemCall.Number.write.rawValue }
            #expect(throws: GrantError.deadline("the store did not answer in time")) {
                try store.read(try path("/a"))
            }
            #expect(xen.now.calls.count { $0 == SystemCall.Number.write.rawValue } == writes)
            #expect(store.isUsable)
        }
    }

    @Test("an answer that comes too late is forgotten, and the next one is the right one")
    func late() throws {
        var mute = FakeStore()
        mute.isMute = true
        mute.set("/b", Array("second".utf8))
        try with(mute) { (store, xen) throws(GrantError) in
            #expect(throws: GrantError.deadline("the store did not answer in time")) {
                try store.read(try path("/a"))
            }
            let answer = StoreMessage(type: 2, request: 1, payload: Array("first".utf8))
            xen.change { state in
                state.store!.isMute = false
                for file in state.store!.connections.keys {
                    state.store!.connections[file]!.output += answer.bytes
                }
            }
            store.deadline = .never
            #expect(try store.read(try path("/b")) == Array("second".utf8))
        }
    }

    @Test(
        "an answer to something else ends the connection",
        arguments: [
            StoreMessage(type: 2, request: 99), StoreMessage(type: 3, request: 1),
            StoreMessage(type: 15, payload: [0x61]),
        ])
    func forged(message: StoreMessage) throws {
        var store = FakeStore()
        store.forged = [message]
        try with(store) { (store, _) throws(GrantError) in
            #expect(throws: XenStore.broken) { try store.read(try path("/a")) }
            #expect(throws: XenStore.broken) { try store.read(try path("/a")) }
        }
    }

    @Test("a store that has closed the connection is gone, however its socket says so")
    func closed() throws {
        for errno in [Errno.connectionReset, .brokenPipe] {
            for isWriting in [true, false] {
                var fake = FakeStore.with(["/a": "1"])
                if isWriting { fake.writeErrno = errno } else { fake.readErrno = errno }
                try with(fake) { (store, _) throws(GrantError) in
                    #expect(throws: XenStore.broken) { try store.read(try path("/a")) }
                    #expect(!store.isUsable)
                }
            }
        }
    }

    @Test("an error that passes leaves the connection, and another one ends it")
    func readErrors() throws {
        for (errno, passes) in [(Errno.noMemory, true), (.inputOutput, false)] {
            var fake = FakeStore.with(["/a": "1", "/b": "2"])
            fake.readErrno = errno
            try with(fake) { (store, xen) throws(GrantError) in
                #expect(throws: GrantError.host("read from", name: "the store", errno)) {
                    try store.read(try path("/a"))
                }
                #expect(store.isUsable == passes)
                xen.change { $0.store!.readErrno = nil }
                // The answer to the first question is none to this one.
                if passes { #expect(try store.read(try path("/b")) == [50]) }
            }
        }
    }

    @Test("a watch tells of itself and of changes, on old kernels too", arguments: [false, true])
    func watch(isOld: Bool) throws {
        var store = FakeStore.with(["/a/b": "1"])
        store.isOld = isOld
        try with(store) { (store, xen) throws(GrantError) in
            try store.watch(try path("/a"), token: "t")
            #expect(try store.nextEvent(until: .never) == "/a")
            #expect(try store.nextEvent(until: .after(.milliseconds(1))) == nil)
            xen.change { $0.happenings = [.act { $0.store!.set("/a/b", [50]) }] }
            #expect(try store.nextEvent(until: .never) == "/a/b")
            try store.unwatch(try path("/a"), token: "t")
            xen.change { $0.store!.set("/a/b", [51]) }
            #expect(try store.nextEvent(until: .after(.milliseconds(1))) == nil)
        }
    }

    @Test("a watch that is refused is refused by the kernel's write, and the connection goes on")
    func refusedWatch() throws {
        for (word, told) in [
            ("E2BIG", "EQUOTA"), ("ENOSPC", "ENOSPC"), ("EQUOTA", "EQUOTA"), ("EACCES", "EACCES"),
        ] {
            var fake = FakeStore.with(["/a": "1"])
            fake.refusals = [4: word]
            try with(fake) { (store, _) throws(GrantError) in
                let refusal = StoreRefusal(name: Text(stringLiteral: told))
                #expect(throws: GrantError.store("watch", path: "/a", refusal)) {
                    try store.watch(try path("/a"), token: "t")
                }
                #expect(store.isUsable)
                #expect(try store.read(try path("/a")) == [49])
            }
        }
    }

    @Test("a kind of message that an old kernel does not pass on is refused, and nothing more")
    func unknownToKernel() throws {
        var fake = FakeStore.with(["/a": "1"])
        fake.isAncient = true
        try with(fake) { (store, _) throws(GrantError) in
            let invalid = StoreRefusal(name: "EINVAL")
            #expect(throws: GrantError.store("look for domain", path: "3", invalid)) {
                try store.ask(.isIntroduced(DomainID(3)!))
            }
            #expect(try store.read(try path("/a")) == [49])
        }
    }

    @Test(
        "a flood of events ends nothing: of so many some are dropped, but not the one that matters")
    func flood() throws {
        let store = FakeStore.with(["/a": "1"])
        try with(store) { (store, xen) throws(GrantError) in
            store.lastingEvent = "/last"
            let names = (0..<5000).map { "/f/\($0)" } + ["/last"]
            let events = names.flatMap {
                StoreMessage(type: 15, payload: Array("\($0)\0t\0".utf8)).bytes
            }
            xen.change { state in
                for file in state.store!.connections.keys {
                    state.store!.connections[file]!.output += events
                }
            }
            #expect(try store.read(try path("/a")) == [49])
            #expect(store.hasDroppedEvents && store.isUsable)
            var kept: [Text] = []
            while let event = try store.nextEvent(until: .after(.milliseconds(1))) {
                kept.append(event)
            }
            #expect(kept.count == XenStore.mostEvents + 1)
            #expect(kept.first == "/f/0" && kept.last == "/last")
        }
    }

    @Test("waiting ends when the entry is as wanted")
    func waiting() throws {
        try with(FakeStore()) { (store, xen) throws(GrantError) in
            xen.change {
                $0.happenings = [
                    .act { $0.store!.set("/a/b", [49]) }, .act { $0.store!.set("/a/c", [50]) },
                    .act { $0.store!.set("/a/b", [50]) },
                ]
            }
            #expect(try store.wait(for: try path("/a/b")) { $0 == [50] } == [50])
            #expect(xen.now.store!.connections.values.allSatisfy { $0.watches.isEmpty })
        }
        try with(FakeStore()) { (store, _) throws(GrantError) in
            #expect(throws: GrantError.deadline("\"/a\" was not so in time")) {
                try store.wait(for: try path("/a")) { $0 != nil }
            }
        }
    }

    @Test("reading one entry by its name checks the name")
    func named() throws {
        let xen = try FakeXen { $0.store = FakeStore.with(["/a": "17"]) }
        try xen.play { () throws(GrantError) in
            #expect(try XenStore.read("/a") == "17")
            #expect(throws: GrantError.use("\"a//b\" has an empty name in it")) {
                try XenStore.read("a//b")
            }
        }
        #expect(xen.now.left == [])
    }
}

@Suite struct XenStoreTransactionTests {
    private func write(_ store: XenStore, _ values: [Text]) throws(GrantError) {
        let transaction = try StoreTransaction(store)
        repeat {
            for value in values {
                try store.write(
                    try path("/t/\(value)"), value.bytes, in: transaction.number)
            }
        } while try !transaction.commit()
    }

    @Test(
        "all of it happens, after conflicts too, and after a store that has forgotten it",
        arguments: [0, 1, 5], ["EAGAIN", "ENOENT"])
    func commits(conflicts: Int, word: String) throws {
        var store = FakeStore()
        (store.conflicts, store.conflict) = (conflicts, word)
        try with(store) { (store, xen) throws(GrantError) in
            try write(store, ["a", "b"])
            #expect(xen.now.store!.value("/t/a") == "a" && xen.now.store!.value("/t/b") == "b")
            #expect(xen.now.store!.connections.values.allSatisfy { $0.transactions.isEmpty })
        }
    }

    @Test(
        "a transaction that cannot begin as others are open begins later",
        arguments: ["ENOSPC", "EQUOTA"])
    func others(word: String) throws {
        var store = FakeStore()
        store.others = (3, word)
        try with(store) { (store, xen) throws(GrantError) in
            try write(store, ["a"])
            #expect(xen.now.store!.value("/t/a") == "a")
            xen.change { $0.store!.others.count = .max }
            let refusal = StoreRefusal(name: Text(stringLiteral: word))
            store.deadline = .after(patience)
            let start = xen.now.clock
            #expect(throws: GrantError.store("begin a transaction", path: "", refusal)) {
                try write(store, ["b"])
            }
            #expect(xen.now.clock - start >= 5_000_000_000)
            // What does not pass is not waited out.
            xen.change { $0.store!.others = (1, "EACCES") }
            #expect(
                throws: GrantError.store("begin a transaction", path: "", .accessDenied)
            ) { try write(store, ["b"]) }
        }
    }

    @Test("conflicts without end are ended by the deadline")
    func conflicts() throws {
        var store = FakeStore()
        store.conflicts = .max
        try with(store) { (store, xen) throws(GrantError) in
            store.deadline = .after(.milliseconds(1))
            #expect(
                throws: GrantError.deadline("others kept changing the same entries of the store")
            ) { try write(store, ["a"]) }
            #expect(xen.now.store!.value("/t/a") == nil)
            #expect(xen.now.store!.connections.values.allSatisfy { $0.transactions.isEmpty })
        }
    }

    @Test("a vchan's entries are taken back as a whole, and nothing of others with them")
    func vchanEntries() throws {
        func left(
            _ change: (inout FakeStore) -> Void
        ) throws -> [String: String] {
            try with(FakeStore()) { (store, xen) throws(GrantError) in
                let address = VchanAddress(
                    page: GrantReference(rawValue: 8), port: EventPort(7)!)
                let isNew = try store.publish(address, at: try path("/v"), for: DomainID(3)!)
                #expect(isNew)
                xen.change { change(&$0.store!) }
                try store.withdraw(address, at: try path("/v"), isNew: isNew)
                return xen.now.store!.entries.mapValues { string($0.value) }
            }
        }
        #expect(try left { _ in } == ["": ""])
        #expect(try left { $0.set("/v", [49]) } == ["": "", "/v": "1"])
        #expect(try left { $0.set("/v/x", [49]) } == ["": "", "/v": "", "/v/x": "1"])
        // Another server is there just now.
        let both = try left {
            $0.intrusions = [
                (behind: "/v/event-channel", path: "/v/ring-ref", value: "9"),
                (behind: "/v/event-channel", path: "/v/event-channel", value: "6"),
            ]
        }
        #expect(both == ["": "", "/v": "", "/v/ring-ref": "9", "/v/event-channel": "6"])
    }

    @Test("when a request fails, nothing of it happens and the transaction is ended")
    func abandons() throws {
        try with(FakeStore()) { (store, xen) throws(GrantError) in
            #expect(throws: GrantError.use("\"/t/\" has an empty name in it")) {
                try write(store, ["a", ""])
            }
            #expect(xen.now.store!.value("/t/a") == nil)
            #expect(xen.now.store!.connections.values.allSatisfy { $0.transactions.isEmpty })
            // The connection is as good as before.
            try write(store, ["c"])
            #expect(xen.now.store!.value("/t/c") == "c")
        }
    }
}
