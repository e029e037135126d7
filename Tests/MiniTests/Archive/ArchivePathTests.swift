import Testing

@testable import Mini

@Suite struct ArchivePathTests {
    @Test(
        "a path has one spelling, from the root and without dots",
        arguments: [
            ("a/b", "a/b"), ("/a/b", "a/b"), ("./a//b/", "a/b"), ("a/./b/.", "a/b"), ("/", ""),
            (".", ""), ("...", "..."), ("a/..b", "a/..b"), ("a b/\u{e9}", "a b/\u{e9}"),
        ])
    func spelling(word: String, path: String) throws {
        #expect(string(try ArchivePath(Text(stringLiteral: word)).text) == path)
    }

    @Test("an empty path is no place, so that a variable without a value does not mean the root")
    func empty() {
        #expect(throws: ArchiveError.noPlace) { try ArchivePath("") }
    }

    @Test("a slash or a dot at the end can only be meant for a directory")
    func folders() {
        for word in ["a/", "/", "a/.", ".", "a//"] as [Text] {
            #expect(ArchivePath.isFolder(word))
        }
        for word in ["a", "a.", "/a", "..."] as [Text] { #expect(!ArchivePath.isFolder(word)) }
    }

    @Test("a path that leads out is refused", arguments: ["..", "a/..", "/../a", "a/../b"])
    func outside(word: String) {
        let word = Text(stringLiteral: word)
        #expect(throws: ArchiveError.outside(word)) { try ArchivePath(word) }
    }

    @Test("the longest path is the kernel's")
    func length() throws {
        let long = Text(bytes: [UInt8](repeating: 0x78, count: 4095))
        #expect(try ArchivePath(long).text == long)
        #expect(throws: ArchiveError.pathTooLong(length: 4096, limit: 4095)) {
            try ArchivePath("\(long)x")
        }
        #expect(throws: ArchiveError.pathTooLong(length: 4097, limit: 4095)) {
            try ArchivePath(long).appending("y")
        }
    }

    @Test("the name that ends an archive is no path, but may stand in one")
    func trailer() throws {
        #expect(throws: ArchiveError.reservedName("TRAILER!!!")) { try ArchivePath("/TRAILER!!!") }
        #expect(throws: ArchiveError.reservedName("TRAILER!!!")) {
            try ArchivePath("/").appending("TRAILER!!!")
        }
        #expect(try ArchivePath("a/TRAILER!!!").text == "a/TRAILER!!!")
    }

    @Test("a directory comes before what is in it, whatever else begins like it")
    func order() throws {
        let words: [Text] = ["a", "a-b", "a/b", "a/b/c", "a0", "\u{e9}"]
        let paths = try words.map { try ArchivePath($0) }
        for (index, path) in paths.enumerated() {
            for (other, another) in paths.enumerated() {
                #expect((path < another) == (index < other))
            }
        }
    }
}
