import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

/// A terminal, and an assistant that has put everything on the disk at once.
private func terminal(_ change: (inout FakeTerminal.State) -> Void = { _ in }) -> FakeTerminal {
    let played = PlayedAssistant()
    return FakeTerminal(device: { played.answer($0) }, change)
}

/// A folder of its own, gone with its owner.
private final class Folder {
    let path = NSTemporaryDirectory() + "mini-pack-" + UUID().uuidString

    init() throws {
        try FileManager.default.createDirectory(
            atPath: path + "/tree/inner", withIntermediateDirectories: true)
        try Data("words".utf8).write(to: URL(filePath: path + "/tree/file"))
        try Data(repeating: 7, count: 200_000).write(to: URL(filePath: path + "/tree/inner/large"))
        try FileManager.default.createSymbolicLink(
            atPath: path + "/tree/link", withDestinationPath: "file")
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }

    /// Runs mini-pack; `@` in a word stands for this folder.
    func pack(
        _ line: String, at terminal: FakeTerminal = terminal()
    ) -> (code: Int32, output: [UInt8], errors: String) {
        let words = line.split(separator: " ").map {
            Text(stringLiteral: $0.replacingOccurrences(of: "@", with: path))
        }
        let code = terminal.play { PackCommand.run(words[...]) }
        return (
            code, terminal.now.output,
            string(terminal.now.errors).replacingOccurrences(of: path, with: "@")
        )
    }

    func contents(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(filePath: path + "/" + name)))
    }

    func permissions(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path + "/" + name)[.posixPermissions]
            as? Int
    }

    /// Makes a file "a" with an access control list.
    func writeWithList() throws {
        try Data("old".utf8).write(to: URL(filePath: path + "/a"))
        #expect(AccessList.set(AccessList.ofFile, of: path + "/a"))
        #expect(try permissions("a") == 0o660)
    }
}

/// Access control lists as the attributes of a file have them. Source: acl(5), linux/posix_acl_xattr.h.
private enum AccessList {
    static var ofFile: Text { "system.posix_acl_access" }
    static var ofNewFiles: Text { "system.posix_acl_default" }
    /// user::rw-, user:65534:rw-, group::---, mask::rw-, other::---
    static let list: [UInt8] =
        [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0xFE, 0xFF, 0, 0]
        + [4, 0, 0, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255]
        + [32, 0, 0, 0, 255, 255, 255, 255]

    /// Not every file system has them.
    static let isKnown: Bool = {
        guard let folder = try? Folder() else { return false }
        return set(ofFile, of: folder.path + "/tree/file")
    }()

    /// - Returns: false if it cannot be set.
    static func set(_ attribute: Text, of path: String) -> Bool {
        guard let file = try? Descriptor.open(Text(stringLiteral: path), .readOnly) else {
            return false
        }
        let number = Int(file.number)
        let result = list.withUnsafeBytes { list in
            let address = Int(bitPattern: list.baseAddress)
            return try? attribute.withCString { (attribute) throws(Errno) in
                try SystemCall.make(.setAttribute, number, attribute, address, list.count)
            }
        }
        return result == 0
    }

    /// - Returns: nil if it has none.
    static func get(of path: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = bytes.withUnsafeMutableBytes { bytes in
            let address = Int(bitPattern: bytes.baseAddress)
            return try? ofFile.withCString { (attribute) throws(Errno) in
                try Text(stringLiteral: path).withCString { (path) throws(Errno) in
                    try SystemCall.make(.attribute, path, attribute, address, 100)
                }
            }
        }
        return count.map { Array(bytes[..<$0]) }
    }
}

/// The members of an archive as this reads them: path, mode, size, each header checked.
private func members(_ archive: [UInt8]) throws -> [String] {
    var rest = archive[...]
    var lines: [String] = []
    while true {
        let header = String(decoding: rest.prefix(110), as: UTF8.self)
        #expect(header.hasPrefix("070701"))
        let fields = stride(from: 6, to: 110, by: 8).map {
            Int(header.dropFirst($0).prefix(8), radix: 16)!
        }
        let path = String(decoding: rest.dropFirst(110).prefix(fields[11] - 1), as: UTF8.self)
        if path == "TRAILER!!!" { break }
        let start = (110 + fields[11] + 3) & ~3
        #expect(fields[2] == 0 && fields[3] == 0)
        var line = "\(path) \(String(fields[1], radix: 8)) \(fields[6])"
        if fields[4] > 1 && fields[1] >> 12 == 8 {
            line += " \(fields[4]) links of \(fields[0])"
        } else {
            #expect(fields[0] == lines.count + 1)
        }
        lines.append(line)
        rest = rest.dropFirst(start + (fields[6] + 3) & ~3)
    }
    #expect(rest.count < 124 + 512 && archive.count % 512 == 0)
    return lines
}

@Suite struct PackCommandTests {
    @Test("a tree is packed with all that is in it, under the name that it was given")
    func tree() throws {
        let folder = try Folder()
        let result = folder.pack("@/a @/tree=x/y,0700")
        #expect(result.code == 0 && result.output.isEmpty && result.errors.isEmpty)
        let found = try members(folder.contents("a"))
        #expect(
            found == [
                "x 40755 0", "x/y 40700 0", "x/y/file 100644 5", "x/y/inner 40755 0",
                "x/y/inner/large 100644 200000", "x/y/link 120777 4",
            ])
        #expect(try folder.names == ["a", "tree"])
    }

    @Test("a link that was named is followed")
    func namedLink() throws {
        let folder = try Folder()
        let result = folder.pack("- @/tree/link=file,600")
        #expect(result.code == 0)
        #expect(try members(result.output) == ["file 100600 5"])
    }

    @Test("a file goes into a path with a slash behind it, a directory becomes that path")
    func slashBehind() throws {
        let folder = try Folder()
        let result = folder.pack(
            "- @/tree/file=usr/bin/ @/tree/file=/ @/tree/inner=x/ @/tree/file=y/.")
        #expect(result.code == 0)
        #expect(
            try members(result.output) == [
                "file 100644 5", "usr 40755 0", "usr/bin 40755 0", "usr/bin/file 100644 5",
                "x 40755 0", "x/large 100644 200000", "y 40755 0", "y/file 100644 5",
            ])
        let refused = folder.pack("--link bin/=x -")
        #expect(refused.code == 2)
        #expect(
            refused.errors
                == "mini-pack: cannot pack to \"bin/\": only a directory's path ends in a slash\n")
        #expect(folder.pack("- @/tree=").code == 2)
    }

    @Test("permissions for the root are refused: the archive would not have them")
    func modeOfRoot() throws {
        let folder = try Folder()
        for words in ["@/a @/tree=/,700", "--dir /,700 @/a", "@/a @/tree --dir ./,0755"] {
            let result = folder.pack(words)
            #expect(result.code == 2)
            #expect(
                result.errors
                    == "mini-pack: the root gets no permissions: / is no member of the archive\n")
        }
        #expect(try folder.names == ["tree"])
        // They are a file's that is put there.
        #expect(try members(folder.pack("- --dir / @/tree/file=/,600").output) == ["file 100600 5"])
    }

    @Test("options count behind the archive and the files, up to two dashes")
    func optionsBehind() throws {
        let folder = try Folder()
        let result = folder.pack("- --dir a @/tree/file=b --dir=c")
        #expect(
            try members(result.output) == ["a 40755 0", "b 100644 5", "c 40755 0"])
        #expect(
            folder.pack("- -- --dir").errors
                == "mini-pack: cannot examine \"--dir\": no such file (ENOENT)\n")
        #expect(
            folder.pack("@/a @/tree --dri x").errors
                == "mini-pack: unknown option \"--dri\"; --dir may be meant, --help lists them\n")
        #expect(try folder.names == ["tree"])
    }

    @Test("each directory, link and node is one of its own")
    func several() throws {
        let settings = try PackSettings([
            "--dir", "a", "--link", "b=x", "out", "--dir", "c", "--link=d=x", "--node", "e=p",
            "--node", "f=p",
        ])
        #expect(settings.contents.members.count == 6)
    }

    @Test("names of one file are one file in the archive, and only the last one has its bytes")
    func hardLinks() throws {
        let folder = try Folder()
        let tree = folder.path + "/tree"
        for (name, other) in [("file", "b"), ("file", "inner/c"), ("inner/large", "d")] {
            try FileManager.default.linkItem(atPath: "\(tree)/\(name)", toPath: "\(tree)/\(other)")
        }
        #expect(
            try members(folder.pack("- @/tree=/").output) == [
                "b 100644 0 3 links of 1", "d 100644 0 2 links of 2", "file 100644 0 3 links of 1",
                "inner 40755 0", "inner/c 100644 5 3 links of 1",
                "inner/large 100644 200000 2 links of 2", "link 120777 4",
            ])
        // With permissions of its own a name is a file of its own; one name alone is a plain file.
        #expect(
            try members(
                folder.pack("- @/tree/b=b @/tree/file=f @/tree/inner/c=c,600 @/tree/d=d").output)
                == [
                    "b 100644 0 2 links of 1", "c 100600 5", "d 100644 200000",
                    "f 100644 5 2 links of 1",
                ])
    }

    @Test("a file that has other bytes than its size says is refused, as those of /proc")
    func withoutSize() throws {
        let folder = try Folder()
        let result = folder.pack("@/a @/tree /proc/version=v")
        #expect(result.code == 3)
        #expect(
            result.errors
                == "mini-pack: cannot pack \"/proc/version\": it does not have the bytes that its size says, as files of /proc and /sys; copy it first\n"
        )
        #expect(try folder.names == ["tree"])
    }

    @Test(
        "an open pipe is refused, as its bytes would be lost; one with a name is packed as a pipe")
    func openPipe() throws {
        let folder = try Folder()
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        let link = folder.path + "/link"
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: "/proc/self/fd/\(ends[0])")
        for name in ["/proc/self/fd/\(ends[0])", "/proc/\(getpid())/fd/\(ends[0])", "@/link"] {
            let result = folder.pack("@/a \(name)=etc/mini.table")
            #expect(result.code == 3)
            #expect(
                result.errors
                    == "mini-pack: cannot pack \"\(name)\": it is an open pipe or device, not a file; copy it first\n"
            )
        }
        try FileManager.default.removeItem(atPath: link)
        #expect(try folder.names == ["tree"])
        try #require(mkfifo(folder.path + "/tree/pipe", 0o600) == 0)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "tree/pipe")
        #expect(
            try members(folder.pack("- @/link=p @/tree/pipe=q").output) == [
                "p 10600 0", "q 10600 0",
            ])
    }

    @Test("the archive in a directory that is packed is left out: a second run gives the same")
    func inItself() throws {
        let folder = try Folder()
        #expect(folder.pack("@/tree/a @/tree=/").code == 0)
        let first = try folder.contents("tree/a")
        let second = folder.pack("@/tree/a @/tree=/")
        #expect(second.code == 0)
        #expect(second.errors == "mini-pack: left out \"@/tree/a\": it is the archive\n")
        #expect(try folder.contents("tree/a") == first)
        let named = folder.pack("@/tree/a @/tree/a=x")
        #expect(named.code == 3)
        #expect(named.errors == "mini-pack: cannot pack \"@/tree/a\": it is the archive\n")
        #expect(try folder.contents("tree/a") == first)
    }

    @Test("a symbolic link as the archive stays, and what it leads to is replaced or made")
    func linkAsArchive() throws {
        let folder = try Folder()
        for target in ["inner/old", "new"] {
            if target == "inner/old" {
                try Data("old".utf8).write(to: URL(filePath: folder.path + "/tree/inner/old"))
            }
            let link = folder.path + "/tree/a"
            try? FileManager.default.removeItem(atPath: link)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
            #expect(folder.pack("@/tree/a @/tree/file=f").code == 0)
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == target)
            #expect(try members(folder.contents("tree/\(target)")) == ["f 100644 5"])
        }
    }

    @Test("what is replaced keeps its permissions; a file with several names is not replaced")
    func replaced() throws {
        let folder = try Folder()
        let path = folder.path + "/a"
        try Data("old".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        #expect(folder.pack("@/a @/tree/file=f").code == 0)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o640)
        let before = try folder.contents("a")
        try FileManager.default.linkItem(atPath: path, toPath: folder.path + "/b")
        let result = folder.pack("@/a @/tree=/")
        #expect(result.code == 2)
        #expect(result.errors.hasPrefix("mini-pack: cannot replace \"@/a\": it is one of 2 names"))
        #expect(try folder.contents("b") == before && folder.contents("a") == before)
    }

    @Test(
        "what is replaced keeps its access control list",
        .enabled(if: AccessList.isKnown, "the file system has no access control lists"))
    func accessList() throws {
        let folder = try Folder()
        try folder.writeWithList()
        #expect(folder.pack("@/a @/tree/file=f").code == 0)
        #expect(try folder.permissions("a") == 0o660)
        #expect(AccessList.get(of: folder.path + "/a") == AccessList.list)
    }

    @Test(
        "where the access control list of what is replaced cannot be kept, its group gets nothing",
        .enabled(if: AccessList.isKnown, "the file system has no access control lists"))
    func lostAccessList() throws {
        let folder = try Folder()
        try folder.writeWithList()
        let played = PlayedAssistant()
        let poor = FakeTerminal(device: { call in
            call.number == .setAttribute ? -95 : played.answer(call)
        })
        #expect(folder.pack("@/a @/tree/file=f", at: poor).code == 0)
        #expect(try folder.permissions("a") == 0o600)
    }

    @Test(
        "what replaces a file without an access control list does not get that for new files",
        .enabled(if: AccessList.isKnown, "the file system has no access control lists"))
    func usualAccessList() throws {
        let folder = try Folder()
        let path = folder.path + "/a"
        try Data("old".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        #expect(AccessList.set(AccessList.ofNewFiles, of: folder.path))
        #expect(folder.pack("@/a @/tree/file=f").code == 0)
        #expect(try folder.permissions("a") == 0o640)
        #expect(AccessList.get(of: path) == nil)
    }

    @Test("where the owner cannot be kept, nothing lends the rights of another one")
    func otherOwner() throws {
        let folder = try Folder()
        let path = folder.path + "/a"
        try Data("old".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o4755], ofItemAtPath: path)
        let own = try FileStatus.of(Text(stringLiteral: path), followsLink: true)
        #expect(own.mode & 0o7777 == 0o4755)
        let played = PlayedAssistant()
        let user = FakeTerminal(device: { call in
            if call.number == .changeOwner { return -1 }
            // The new one is another user's.
            guard call.number == .fileStatus, call.arguments.0 > 2 else {
                return played.answer(call)
            }
            let status = UnsafeMutablePointer<mini_stat>(bitPattern: call.arguments.1)!
            status.pointee.mode = 0o100600
            status.pointee.size = 5
            status.pointee.user = own.user + 1
            return 0
        })
        #expect(folder.pack("@/a --dir x", at: user).code == 0)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o755)
    }

    @Test("an archive at the end of the longest name is written", arguments: [255])
    func longName(length: Int) throws {
        let folder = try Folder()
        let name = String(repeating: "n", count: length)
        #expect(folder.pack("@/\(name) @/tree/file=f").code == 0)
        #expect(try members(folder.contents(name)) == ["f 100644 5"])
    }

    @Test("directories, links and nodes are made without files")
    func made() throws {
        let result = try Folder().pack(
            "--dir /tmp,1777 --dir=proc --link bin/sh=a=b --node dev/console,620=c:5:1 "
                + "--node disk=b:4095:1048575 --node pipe=p -")
        #expect(result.code == 0)
        #expect(
            try members(result.output) == [
                "bin 40755 0", "bin/sh 120777 3", "dev 40755 0", "dev/console 20620 0",
                "disk 60600 0", "pipe 10600 0", "proc 40755 0", "tmp 41777 0",
            ])
    }

    @Test(
        "a node with numbers that the kernel has not is refused",
        arguments: ["x=c:4096:0", "x=c:0:1048576", "x=c:1", "x=c:1:2:3", "x=c::1", "x=u:1:1", "x"])
    func badNode(word: String) throws {
        let result = try Folder().pack("--node \(word) -")
        #expect(result.code == 2)
        #expect(
            result.errors
                == "mini-pack: --node of \"\(word)\" is not PATH=c:MAJOR:MINOR, b:… or p\n")
    }

    @Test(
        "a comma with anything but digits behind it belongs to the name; digits have to be permissions"
    )
    func commas() throws {
        let folder = try Folder()
        for name in ["a,b", "a,", "a,+x", "a,64/b", "a,64x"] {
            let result = folder.pack("- @/tree/file=\(name)")
            #expect(try members(result.output).last == "\(name) 100644 5")
        }
        #expect(try members(folder.pack("- @/tree/file=a,64,600").output) == ["a,64 100600 5"])
        for mode in ["64", "648", "00755", "8", "77777777777777777777777"] {
            for words in ["@/tree/file=a,M", "@/none,M", "--dir a,M", "--node a,M=p"] {
                let words = words.replacingOccurrences(of: "M", with: mode)
                let result = folder.pack("@/archive \(words)")
                #expect(result.code == 2)
                #expect(result.errors.hasPrefix("mini-pack: MODE of \""))
                #expect(result.errors.hasSuffix(",\(mode)\" is not three or four octal digits\n"))
            }
        }
        #expect(try folder.names == ["tree"])
    }

    @Test("the time is a number of seconds of 32 bits")
    func time() throws {
        #expect(try PackCommand.time(nil) == 0)
        #expect(try PackCommand.time("4294967295") == 4_294_967_295)
        for word in ["", "x", "-1", "4294967296"] as [Text] {
            #expect(throws: CommandError.badTime(word)) { try PackCommand.time(word) }
        }
    }

    @Test("a signal in the midst leaves nothing, and ends it with the signal's code")
    func signal() throws {
        let folder = try Folder()
        let user = terminal { $0.signals = [15] }
        let result = folder.pack("@/a @/tree=/", at: user)
        #expect(result.code == 143 && result.output.isEmpty && result.errors.isEmpty)
        #expect(try folder.names == ["tree"])
    }

    @Test(
        "what another process of the same number has left or is writing is kept, and in nobody's way"
    )
    func leftBehind() throws {
        let folder = try Folder()
        let left = [".mini-pack.\(getpid())", ".mini-pack.\(getpid()).1"]
        for name in left {
            try Data("left".utf8).write(to: URL(filePath: folder.path + "/" + name))
        }
        let result = folder.pack("@/a @/tree/file=f")
        #expect(result.code == 0 && result.errors.isEmpty)
        #expect(try members(folder.contents("a")) == ["f 100644 5"])
        #expect(try folder.names == left + ["a", "tree"])
        for name in left { #expect(try folder.contents(name) == Array("left".utf8)) }
    }

    @Test("a signal while the disk is waited for leaves what was there, and nothing else")
    func slowDisk() throws {
        let folder = try Folder()
        try Data("old".utf8).write(to: URL(filePath: folder.path + "/a"))
        let played = PlayedAssistant()
        played.change { $0.isReady = false }
        let hasCome = Mutex(false)
        let user = FakeTerminal(device: { call in
            let (first, second, third, _, _, _) = call.arguments
            let isDue = played.now.asked == 1 && !hasCome.withLock { $0 }
            if isDue, call.number == .poll {
                let records = UnsafeMutablePointer<mini_pollfd>(bitPattern: first)!
                if Int(records[0].descriptor) == FakeTerminal.signalDescriptor {
                    records[0].returned = records[0].events
                    return 1
                }
            }
            guard isDue, call.number == .read, first == FakeTerminal.signalDescriptor else {
                return played.answer(call)
            }
            hasCome.withLock { $0 = true }
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(of: 15, as: UInt32.self)
            return third
        })
        let result = folder.pack("@/a @/tree=/", at: user)
        #expect(result.code == 143 && result.errors.isEmpty)
        #expect(try folder.names == ["a", "tree"] && folder.contents("a") == Array("old".utf8))
        #expect(played.now.asked == 1 && played.now.open == [])
    }

    @Test("standard output that closes is told")
    func closedOutput() throws {
        let user = terminal { $0.outputErrno = .brokenPipe }
        let result = try Folder().pack("- @/tree", at: user)
        #expect(result.code == 1)
        #expect(result.errors == "mini-pack: cannot write \"-\": broken pipe (EPIPE)\n")
    }

    @Test("whichever call fails, one line tells and nothing stays", arguments: ["@/a", "-"])
    func everyCall(archive: String) throws {
        let folder = try Folder()
        let line = "\(archive) @/tree=/"
        let whole = terminal()
        #expect(folder.pack(line, at: whole).code == 0)
        let expected = archive == "-" ? whole.now.output : try folder.contents("a")
        let calls = whole.now.calls.count
        #expect(calls > 30)
        var failures = 0
        for call in 1...calls {
            try? FileManager.default.removeItem(atPath: folder.path + "/a")
            let user = terminal { $0.failing = (call, .inputOutput) }
            let result = folder.pack(line, at: user)
            let now = user.now
            let isMask = now.calls[call - 1] == SystemCall.Number.signalMask.rawValue
            #expect(now.held == 0 || isMask, "call \(call)")
            if result.code == 0 {
                #expect(result.errors == "")
                let written = archive == "-" ? now.output : try folder.contents("a")
                let isWhole = written == expected
                #expect(isWhole, "call \(call)")
            } else {
                failures += 1
                #expect(result.code == 1 || result.code == 3, "call \(call)")
                #expect(result.errors.hasPrefix("mini-pack: cannot "), "call \(call)")
                #expect(result.errors.hasSuffix("\n"))
                #expect(result.errors.dropLast().contains("\n") == false)
                #expect(try folder.names == ["tree"], "call \(call)")
            }
        }
        #expect(failures > 15)
    }

    @Test("a packing leaves nothing open or mapped")
    func releases() throws {
        let folder = try Folder()
        let user = terminal()
        #expect(folder.pack("@/a @/tree=/", at: user).code == 0)
        #expect(user.now.descriptors.isEmpty && user.now.mappings.isEmpty)
    }

    @Test("the manual page has the options and exit codes of help, word for word")
    func manualPage() throws {
        let page = try projectText("docs/mini-pack.1")
            .replacing("\\-", with: "-")
        for option in PackSettings.table {
            #expect(
                page.contains("\n.B \(option.name)\n") || page.contains("\n.BI \(option.name) "))
        }
        for (code, meaning) in PackCommand.exitCodes {
            #expect(page.contains("\n.TP\n.B \(code)\n\(meaning)\n"), "\(code)")
        }
    }
}
