import Foundation
import Testing

@testable import Mini

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
        _ line: String, at terminal: FakeTerminal = FakeTerminal()
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
        #expect(fields[0] == lines.count + 1 && fields[2] == 0 && fields[3] == 0)
        lines.append("\(path) \(String(fields[1], radix: 8)) \(fields[6])")
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

    @Test("a comma with anything but three or four octal digits belongs to the name")
    func commas() throws {
        for name in ["a,b", "a,64", "a,648", "a,64444"] {
            let result = try Folder().pack("- @/tree/file=\(name)")
            #expect(try members(result.output) == ["\(name) 100644 5"])
        }
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
        let terminal = FakeTerminal { $0.signals = [15] }
        let result = folder.pack("@/a @/tree=/", at: terminal)
        #expect(result.code == 143 && result.output.isEmpty && result.errors.isEmpty)
        #expect(try folder.names == ["tree"])
    }

    @Test("standard output that closes is told")
    func closedOutput() throws {
        let terminal = FakeTerminal { $0.outputErrno = .brokenPipe }
        let result = try Folder().pack("- @/tree", at: terminal)
        #expect(result.code == 1)
        #expect(result.errors == "mini-pack: cannot write \"-\": broken pipe (EPIPE)\n")
    }

    @Test("whichever call fails, one line tells and nothing stays", arguments: ["@/a", "-"])
    func everyCall(archive: String) throws {
        let folder = try Folder()
        let line = "\(archive) @/tree=/"
        let whole = FakeTerminal()
        #expect(folder.pack(line, at: whole).code == 0)
        let expected = archive == "-" ? whole.now.output : try folder.contents("a")
        let calls = whole.now.calls.count
        #expect(calls > 30)
        var failures = 0
        for call in 1...calls {
            try? FileManager.default.removeItem(atPath: folder.path + "/a")
            let terminal = FakeTerminal { $0.failing = (call, .inputOutput) }
            let result = folder.pack(line, at: terminal)
            let now = terminal.now
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

    @Test("nothing stays open or mapped")
    func releases() throws {
        let folder = try Folder()
        let terminal = FakeTerminal()
        #expect(folder.pack("@/a @/tree=/", at: terminal).code == 0)
        #expect(terminal.now.descriptors.isEmpty && terminal.now.mappings.isEmpty)
    }

    @Test("the manual page has the options and exit codes of help, word for word")
    func manualPage() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/mini-pack.1"), encoding: .utf8)
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
