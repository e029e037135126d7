import Testing

@testable import Mini

private func directory(_ path: Text, _ permissions: UInt32) throws -> ArchiveMember {
    ArchiveMember(path: try ArchivePath(path), mode: FileMode.directory | permissions)
}

private func file(_ path: Text) throws -> ArchiveMember {
    ArchiveMember(
        path: try ArchivePath(path), mode: FileMode.regular | 0o644, body: .file("x", size: 1))
}

/// `path mode` of each member.
private func lines(_ contents: ArchiveContents) -> [String] {
    contents.members.map { string($0.path.text) + " " + String($0.mode, radix: 8) }
}

@Suite struct ArchiveContentsTests {
    @Test("members are in order, and every directory is there that one lies in")
    func order() throws {
        var contents = ArchiveContents()
        for path in ["b/c/d", "a", "b/a", "b-", "b/c/a"] as [Text] { try contents.add(file(path)) }
        #expect(
            lines(contents) == [
                "a 100644", "b 40755", "b- 100644", "b/a 100644", "b/c 40755", "b/c/a 100644",
                "b/c/d 100644",
            ])
    }

    @Test(
        "a directory that is named counts before one that is implied, and the first before the second"
    )
    func directories() throws {
        var contents = ArchiveContents()
        try contents.add(file("a/b"))
        try contents.add(directory("a", 0o700))
        try contents.add(directory("a", 0o711))
        try contents.add(file("a/c"))
        #expect(lines(contents) == ["a 40700", "a/b 100644", "a/c 100644"])
    }

    @Test("permissions that somebody asked for are not dropped for those of a first one")
    func permissions() throws {
        var contents = ArchiveContents()
        try contents.add(directory("a", 0o700), hasOwnMode: true)
        try contents.add(directory("a", 0o700), hasOwnMode: true)
        try contents.add(directory("a", 0o755))
        #expect(throws: ArchiveError.exists("a")) {
            try contents.add(directory("a", 0o755), hasOwnMode: true)
        }
        #expect(lines(contents) == ["a 40700"])
    }

    @Test("no place is taken twice, and nothing lies in a file")
    func conflicts() throws {
        var contents = ArchiveContents()
        try contents.add(file("a/b"))
        #expect(throws: ArchiveError.exists("a/b")) { try contents.add(file("a/b")) }
        #expect(throws: ArchiveError.exists("a/b")) { try contents.add(directory("a/b", 0o755)) }
        #expect(throws: ArchiveError.notADirectory("a")) { try contents.add(file("a")) }
        #expect(throws: ArchiveError.notADirectory("a/b")) { try contents.add(file("a/b/c")) }
        try contents.add(directory("d", 0o755))
        #expect(throws: ArchiveError.exists("d")) { try contents.add(file("d")) }
    }

    @Test("a deep chain of folders takes no time to speak of")
    func depth() throws {
        // Where each looked for all above it, this was minutes.
        var contents = ArchiveContents()
        let start = ContinuousClock.now
        var path: Text = "a"
        for _ in 0..<800 {
            try contents.add(directory(path, 0o700))
            path += "/a"
        }
        #expect(ContinuousClock.now - start < .seconds(20))
        #expect(contents.members.count == 800)
        #expect(contents.members.allSatisfy { $0.mode == FileMode.directory | 0o700 })
        // From below, too.
        var others = ArchiveContents()
        try others.add(file(path))
        #expect(others.members.count == 801)
        #expect(others.members.filter { $0.isDirectory }.count == 800)
    }

    @Test("the root is there without being told, and is a directory")
    func root() throws {
        var contents = ArchiveContents()
        try contents.add(directory("/", 0o700))
        #expect(contents.members.isEmpty)
        #expect(throws: ArchiveError.isRoot("/")) { try contents.add(file("/")) }
        #expect(throws: ArchiveError.modeOfRoot) {
            try contents.add(directory("/", 0o700), hasOwnMode: true)
        }
    }
}
