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
            #expect(word.namesFolder)
        }
        for word in ["a", "a.", "/a", "..."] as [Text] { #expect(!word.namesFolder) }
    }

    @Test("a path that leads out is refused", arguments: ["..", "a/..", "/../a", "a/../b"])
    func outside(word: String) {
        let word = Text(stringLiteral: word)
        #expect(throws: ArchiveError.outside(word)) { try ArchivePath(word) }
    }

    @Test("the longest path is the kernel's")
    func length() throws {
        var bytes = [UInt8](repeating: 0x78, count: 4095)
        for place in stride(from: 255, to: bytes.count, by: 256) { bytes[place] = 0x2F }
        bytes[bytes.count - 1] = 0x7A
        let long = Text(bytes: bytes)
        #expect(try ArchivePath(long).text == long)
        #expect(throws: ArchiveError.tooLong("path", "\(long)x", length: 4096, limit: 4095)) {
            try ArchivePath("\(long)x")
        }
        #expect(throws: ArchiveError.tooLong("path", "\(long)/y", length: 4097, limit: 4095)) {
            try ArchivePath(long).appending("y")
        }
    }

    @Test("a name that no file system would take is refused, and told by its path's two ends")
    func longName() throws {
        let name = Text(bytes: [UInt8](repeating: 0x78, count: 255))
        #expect(try ArchivePath("a/\(name)/b").text == "a/\(name)/b")
        let refused = ArchiveError.tooLong("name", "a/\(name)y/b", length: 256, limit: 255)
        #expect(throws: refused) { try ArchivePath("/a/\(name)y/b") }
        #expect(refused.exitCode == 2)
        let (front, back) = (
            String(repeating: "x", count: 38), String(repeating: "x", count: 34)
        )
        #expect(
            string(refused.text)
                == "cannot pack to \"a/\(front)...\(back)y/b\": a name of 256 bytes is too long: at most 255 fit"
        )
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
