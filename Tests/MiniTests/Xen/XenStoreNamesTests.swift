import Testing

@testable import Mini

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
        ("ENOMEM", "the store has no memory left, or none for this domain"),
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
