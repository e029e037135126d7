import Testing

@testable import Mini

@Suite struct XenStoreWireTests {
    @Test("a request is a header of four little-endian words and its payload")
    func request() throws {
        let path = try StorePath("/local/domain/1")
        let message = StoreMessage(
            type: StoreRequest.write(path, value: [1, 0, 2]).type.rawValue, request: 0x0102_0304,
            transaction: 7, payload: StoreRequest.write(path, value: [1, 0, 2]).payload)
        #expect(
            message.bytes == [11, 0, 0, 0, 4, 3, 2, 1, 7, 0, 0, 0, 19, 0, 0, 0]
                + Array("/local/domain/1".utf8) + [0, 1, 0, 2])
    }

    @Test("every request has the kind and the payload of docs/abi/xen-grants.md §7")
    func requests() throws {
        let path = try StorePath("a/b")
        let table: [(StoreRequest, UInt32, String)] = [
            (.list(path), 1, "a/b\0"), (.read(path), 2, "a/b\0"),
            (.getPermissions(path), 3, "a/b\0"), (.watch(path, token: "t"), 4, "a/b\0t\0"),
            (.unwatch(path, token: "t"), 5, "a/b\0t\0"), (.startTransaction, 6, "\0"),
            (.endTransaction(commit: true), 7, "T\0"), (.endTransaction(commit: false), 7, "F\0"),
            (.write(path, value: Array("v".utf8)), 11, "a/b\0v"),
            (.makeDirectory(path), 12, "a/b\0"), (.remove(path), 13, "a/b\0"),
            (.isIntroduced(DomainID(3)!), 17, "3\0"),
            (.setPermissions(path, StorePermissions(["n0", "r3"])!), 14, "a/b\0n0\0r3\0"),
            (.listPart(path, offset: 4000), 22, "a/b\04000\0"),
        ]
        for (request, type, payload) in table {
            #expect(request.type.rawValue == type)
            #expect(string(request.payload) == payload)
        }
    }

    @Test("messages are the same however the pieces are cut", arguments: 0..<200 as Range<UInt64>)
    func pieces(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let messages = (0..<5).map { _ in
            StoreMessage(
                type: .random(in: 0...30, using: &random),
                request: .random(in: 0 ... .max, using: &random),
                transaction: .random(in: 0 ... .max, using: &random),
                payload: (0..<[0, 1, 17, 4096].randomElement(using: &random)!).map { _ in
                    .random(in: 0...255, using: &random)
                })
        }
        let bytes = messages.flatMap(\.bytes)
        var assembler = StoreAssembler()
        var received: [StoreMessage] = []
        var position = 0
        while position < bytes.count {
            let end = min(bytes.count, position + .random(in: 1...5000, using: &random))
            assembler.append(bytes[position..<end])
            position = end
            while let message = try assembler.next() { received.append(message) }
        }
        #expect(received == messages)
    }

    @Test("a length above 4096 is refused as soon as the header is there")
    func tooLong() throws {
        var assembler = StoreAssembler()
        var bytes = StoreMessage(type: 2).bytes
        bytes[12...13] = [0x01, 0x10]
        assembler.append(bytes[..<15])
        #expect(try assembler.next() == nil)
        assembler.append(bytes[15...])
        #expect(throws: StoreAssembler.Violation.tooLong(4097)) { try assembler.next() }
    }

    @Test("strings end with NUL, the last one perhaps without")
    func strings() {
        func strings(_ payload: String) -> [Text] {
            StoreMessage(type: 1, payload: Array(payload.utf8)).strings
        }
        #expect(strings("") == [])
        #expect(strings("a\0b\0") == ["a", "b"])
        #expect(strings("a\0b") == ["a", "b"])
        #expect(strings("\0") == [""])
        #expect(strings("a\0\0") == ["a", ""])
    }
}

@Suite struct XenStoreNamesTests {
    @Test(
        "a path is what can stand in a message",
        arguments: [
            ("", StorePath.Flaw.empty), ("/a//b", .emptyName), ("//", .emptyName),
            ("a/", .emptyName),
            ("a\0b", .zeroByte),
        ])
    func flaws(word: String, flaw: StorePath.Flaw) {
        #expect(throws: flaw) { try StorePath(Text(bytes: Array(word.utf8))) }
    }

    @Test("a path has at most 3072 bytes, a relative one 2048")
    func lengths() throws {
        let name = [UInt8](repeating: 0x61, count: 2048)
        #expect(try StorePath(Text(bytes: name)).text.bytes.count == 2048)
        #expect(throws: StorePath.Flaw.tooLong) { try StorePath(Text(bytes: name + [0x61])) }
        let long = [0x2F] + [UInt8](repeating: 0x61, count: 3071)
        #expect(try StorePath(Text(bytes: long)).text.bytes.count == 3072)
        #expect(throws: StorePath.Flaw.tooLong) { try StorePath(Text(bytes: long + [0x61])) }
    }

    @Test("children are behind one slash")
    func children() throws {
        #expect(try StorePath("/").child("a").text == "/a")
        #expect(try StorePath("/a").child("b").text == "/a/b")
        #expect(try StorePath("data").child("b").text == "data/b")
    }

    @Test("above an entry is another one, but not the root")
    func parents() throws {
        #expect(try StorePath("/a/b/c").parent?.text == "/a/b")
        #expect(try StorePath("data/b").parent?.text == "data")
        for top: Text in ["/a", "/", "data"] { #expect(try StorePath(top).parent == nil) }
    }

    @Test("permissions are words of a letter and a number")
    func permissions() {
        #expect(StorePermissions(["n0", "r3", "w4", "b32752"])?.words.count == 4)
        #expect(StorePermissions([]) == nil)
        for word: Text in ["", "r", "x3", "r-1", "r99999999999", "3r", "rr3"] {
            #expect(StorePermissions(["n0", word]) == nil)
        }
    }

    @Test("an entry that is published keeps its owner, and is for one domain")
    func publicPermissions() {
        let permissions = StorePermissions(["b7", "w9"])?.forReading(by: DomainID(3)!)
        #expect(permissions?.words == ["n7", "r3"])
    }

    /// Every word that C xenstored and oxenstored send, and some that they do not.
    static let told = [
        ("EINVAL", "not a path, value or mode that the store takes"),
        ("EACCES", "permission denied"), ("EEXIST", "there already"),
        ("EISDIR", "an entry with others below it"), ("ENOENT", "no such entry"),
        ("ENOMEM", "the store is out of memory"),
        ("ENOSPC", "over the quota that the store has for this domain, or the store is full"),
        ("EIO", "the store has failed"), ("ENOTEMPTY", "not empty"),
        ("ENOSYS", "not implemented by this store"), ("EROFS", "nobody may change this"),
        ("EBUSY", "a transaction is open already"),
        ("EAGAIN", "others were there in between"), ("EISCONN", "connected already"),
        ("E2BIG", "too long for the store"), ("EPERM", "operation not permitted"),
        ("EQUOTA", "over the quota that the store has for this domain"),
        ("ESRCH", "no such process or domain"),
        ("EWHATEVER", "refused by the store"), ("errno", "refused by the store"),
    ]

    @Test("what the store refuses is told in its own word and what that means", arguments: told)
    func refusals(name: String, words: String) {
        let refusal = StoreRefusal(name: Text(bytes: Array(name.utf8)))
        let text: Text = "\(refusal)"
        #expect(string(text.bytes) == "\(words) (\(name))" || name == "errno")
        #expect(!string(text.bytes).hasPrefix("input/output"))
    }

    @Test("a word that a hostile store makes up does no harm to a terminal, and has an end")
    func hostileRefusal() {
        let refusal = StoreRefusal(
            name: Text(bytes: Array("\u{1b}[2J".utf8) + [UInt8](repeating: 65, count: 4000)))
        let text: Text = "\(refusal)"
        #expect(text.bytes.count < 80 && !text.bytes.contains(0x1B))
    }

    @Test("any bytes survive being printed and read again")
    func values() {
        let all = (0...255).map { UInt8($0) }
        #expect(StoreValue.bytes(StoreValue.printable(all)) == all)
        #expect(
            StoreValue.printable([0x41, 0, 10, 9, 13, 0x5C, 0x80]) == #"A\000\n\t\r\\\x80"#)
        #expect(StoreValue.printable([7, 8, 0x31, 1, 0x37]) == #"\007\x081\0017"#)
        #expect(StoreValue.printable(all).bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        #expect(StoreValue.bytes(#"\x4A\x4b"#) == [0x4A, 0x4B])
        #expect(StoreValue.bytes(#"a\"#) == nil)
        // As xenstore-write reads them.
        for (word, value): (Text, String) in [
            (#"\001"#, "\u{1}"), (#"a\101b"#, "aAb"), (#"\1"#, "\u{1}"), (#"\18"#, "\u{1}8"),
            (#"\1011"#, "A1"), (#"\x1"#, "\u{1}"), (#"\x4g"#, "\u{4}g"), (#"\x411"#, "A1"),
            (#"a\qb"#, "aqb"), (#"\x"#, "x"), (#"\xg0"#, "xg0"), (#"\8"#, "8"), (#"\501"#, "A"),
        ] { #expect(StoreValue.bytes(word) == Array(value.utf8), "\(word)") }
    }
}
