// mini-grant as a whole: command lines in, standard output, errors and codes out, on the model of a
// kernel that runs on Xen.

import Foundation
import Testing

@testable import Mini

struct Ended: Equatable {
    var code: Int32
    var output: String
    var errors: String
}

/// Runs `mini-grant LINE`.
func grant(_ line: String, on xen: FakeXen) -> Ended {
    let words = line.split(separator: " ").map { Text(stringLiteral: String($0)) }
    let code = xen.play { GrantCommand.run(words[...]) }
    return Ended(code: code, output: string(xen.now.output), errors: string(xen.now.errors))
}

/// A model with pages 17, 18, 19 of domain 3, all of them 'a', 'b' and 'c'.
func threePages(_ change: (inout FakeXen.State) -> Void = { _ in }) throws -> FakeXen {
    let xen = try FakeXen(change)
    xen.grant([17, 18, 19], of: 3) { UInt8(ascii: "a") + UInt8($0) }
    return xen
}

/// The path of a file for one test.
struct TemporaryFile: ~Copyable {
    let path: String
    init(_ content: String? = nil) throws {
        path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        if let content { try content.write(toFile: path, atomically: false, encoding: .utf8) }
    }
    var content: String? { try? String(contentsOfFile: path, encoding: .utf8) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

func pages(_ letters: String) -> String {
    letters.map { String(repeating: $0, count: 4096) }.joined()
}

@Suite struct GrantCommandTests {
    @Test("what is no subcommand is refused, and --help lists those that are")
    func subcommands() throws {
        let xen = { try FakeXen() }
        let help = "--help lists them\n"
        #expect(
            try grant("", on: xen())
                == Ended(
                    code: 2, output: "", errors: "mini-grant: no subcommand is named; \(help)"))
        #expect(
            try grant("mapp", on: xen())
                == Ended(
                    code: 2, output: "",
                    errors: "mini-grant: there is no subcommand \"mapp\"; \(help)"))
        #expect(
            try grant("--mapp", on: xen())
                == Ended(
                    code: 2, output: "", errors: "mini-grant: unknown option \"--mapp\"; \(help)"))
        #expect(try grant("--version", on: xen()).output == "mini-grant 0.1\n")
        let output = try grant("--help", on: xen()).output
        for command in GrantCommand.table { #expect(output.contains("\n  \(command.name) ")) }
        for command in GrantCommand.table {
            let ended = try grant("\(command.name) --help", on: xen())
            #expect(ended.code == 0)
            #expect(ended.output.hasPrefix("Usage: mini-grant \(command.name)"))
        }
    }

    @Test("the manual page has every subcommand, its options and the exit codes of help")
    func manualPage() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/mini-grant.1")
        let page = try String(contentsOf: root, encoding: .utf8).replacing("\\-", with: "-")
        for command in GrantCommand.table { #expect(page.contains("\n.SS \(command.name)\n")) }
        for (code, meaning) in GrantCommand.exitCodes {
            #expect(page.contains("\n.TP\n.B \(code)\n\(meaning)\n"), "\(code)")
        }
        for command in GrantCommand.table {
            let section = try #require(
                page.components(separatedBy: "\n.SS \(command.name)\n").last?
                    .components(separatedBy: "\n.S").first)
            let help = try grant("\(command.name) --help", on: FakeXen()).output
            for match in help.matches(of: #/\n  (--[a-z-]+)/#) where match.1 != "--help" {
                #expect(
                    section.contains("\n.BI \(match.1) ") || section.contains("\n.B \(match.1)\n"),
                    "\(command.name) \(match.1)")
            }
        }
    }
}

@Suite struct GrantMapTests {
    @Test("pages go to standard output, in the order of their references")
    func standardOutput() throws {
        for line in ["map --domain 3 --ref 18,17", "map --domain=0x3 --ref=0x12,17 --out -"] {
            let xen = try threePages()
            #expect(grant(line, on: xen) == Ended(code: 0, output: pages("ba"), errors: ""))
            #expect(xen.now.left == [])
        }
    }

    @Test("or to a file, which is emptied before")
    func file() throws {
        let file = try TemporaryFile(pages("zzzz"))
        let xen = try threePages()
        let ended = grant(
            "map --domain 3 --ref 17,18,19 --offset 0xfff --length 4098 --out \(file.path)", on: xen
        )
        #expect(ended == Ended(code: 0, output: "", errors: ""))
        #expect(file.content == "a" + pages("b") + "c")
        #expect(xen.now.left == [])
    }

    @Test("--hexdump shows them, lines that repeat as an asterisk")
    func hexdump() throws {
        let xen = try threePages()
        let ended = grant("map --domain 3 --ref 17,18 --offset 4080 --length 70 --hexdump", on: xen)
        let line = { (byte: String, letter: String) in
            let eight = Array(repeating: byte, count: 8).joined(separator: " ")
            return "  \(eight)  \(eight)  |\(String(repeating: letter, count: 16))|\n"
        }
        let b = line("62", "b")
        let wanted =
            "00000ff0\(line("61", "a"))00001000\(b)*\n00001030  62 62 62 62 62 62"
            + String(repeating: " ", count: 31) + "  |bbbbbb|\n00001036\n"
        #expect(ended == Ended(code: 0, output: wanted, errors: ""))
    }

    @Test("--in fills them from a file or standard input")
    func input() throws {
        let xen = try threePages { $0.input = Array("hello".utf8) }
        #expect(
            grant("map --domain 3 --ref 17,18 --in - --offset 4094 --length 5", on: xen)
                == Ended(code: 0, output: "", errors: ""))
        #expect(xen.page(17, of: 3)[4093...].elementsEqual("ahe".utf8))
        #expect(xen.page(18, of: 3)[..<4].elementsEqual("llob".utf8))
        let file = try TemporaryFile(pages("yz"))
        #expect(grant("map --domain 3 --ref 18,19 --in \(file.path)", on: xen).code == 0)
        #expect(xen.page(19, of: 3).allSatisfy { $0 == UInt8(ascii: "z") })
        #expect(xen.now.left == [])
    }

    @Test("a file that is shorter than what it is to fill changes nothing")
    func shortFile() throws {
        let file = try TemporaryFile("too short")
        let xen = try threePages()
        let answer =
            "mini-grant: \"\(file.path)\" has only 9 of the 4096 bytes that are to be filled\n"
        #expect(
            grant("map --domain 3 --ref 17 --in \(file.path)", on: xen)
                == Ended(code: 2, output: "", errors: answer))
        #expect(xen.page(17, of: 3).allSatisfy { $0 == UInt8(ascii: "a") })
        #expect(xen.now.left == [])
    }

    @Test(
        "bad input gets a line and a code",
        arguments: [
            ("--ref 17", 2, "option --domain is missing"),
            ("--domain 3", 2, "option --ref is missing"),
            ("--domain 32752 --ref 17", 2, "--domain of \"32752\" is no domain: 0 to 32751"),
            ("--domain 65539 --ref 17", 2, "--domain of \"65539\" is no domain: 0 to 32751"),
            ("--domain x --ref 17", 2, "--domain of \"x\" is no domain: 0 to 32751"),
            ("--domain 3 --ref 17,", 2, "--ref of \"17,\" is no list of grant references"),
            ("--domain 3 --ref 17;18", 2, "--ref of \"17;18\" is no list of grant references"),
            ("--domain 3 --ref -1", 2, "--ref of \"-1\" is no list of grant references"),
            (
                "--domain 3 --ref 4294967296", 2,
                "--ref of \"4294967296\" is no list of grant references"
            ),
            ("--domain 3 --ref 17,18,0x11", 2, "grant reference 17 is named twice"),
            (
                "--domain 3 --ref 17 --offset 4096", 2,
                "--offset of \"4096\" lies outside the pages: they have 4096 bytes"
            ),
            (
                "--domain 3 --ref 17 --offset 1 --length 4096", 2,
                "--length of \"4096\" leads outside the pages: they have 4096 bytes"
            ),
            ("--domain 3 --ref 17 --length 0", 2, "--length of \"0\" is nothing to do"),
            (
                "--domain 3 --ref 17 --length 1M", 2,
                "--length of \"1M\" is no number from 0 to 2147483647, decimal or 0x"
            ),
            ("--domain 3 --ref 17 more", 2, "unexpected word \"more\""),
            ("--domain 3 --ref 17 --foo", 2, "unknown option \"--foo\"; --help lists them"),
            ("--domain 3 --ref 17,20", 4, "grant 20 of domain 3: no such grant"),
            ("--domain 9 --ref 17", 4, "grant 17 of domain 9: no such domain"),
            (
                "--domain 3 --ref 17 --out /nowhere/file", 1,
                "cannot open \"/nowhere/file\": no such file (ENOENT)"
            ),
            (
                "--domain 3 --ref 17 --out /dev/full", 1,
                "cannot write \"/dev/full\": no space left on device (ENOSPC)"
            ),
            (
                "--domain 3 --ref 17 --in /nowhere/file", 1,
                "cannot open \"/nowhere/file\": no such file (ENOENT)"
            ),
        ])
    func badInput(words: String, code: Int32, line: String) throws {
        let xen = try threePages()
        #expect(
            grant("map \(words)", on: xen)
                == Ended(code: code, output: "", errors: "mini-grant: \(line)\n"))
        #expect(xen.now.left == [])
    }

    @Test("no Xen, no device, no permission: a line each, and code 3 or 1")
    func noDevice() throws {
        let words = "map --domain 3 --ref 17"
        let none = try threePages {
            $0.isXen = false
            $0.files = [:]
        }
        #expect(
            grant(words, on: none)
                == Ended(
                    code: 3, output: "",
                    errors:
                        "mini-grant: cannot open \"/dev/xen/gntdev\": this machine does not run on Xen\n"
                ))
        let bare = try threePages { $0.modules = [] }
        #expect(
            grant(words, on: bare)
                == Ended(
                    code: 3, output: "",
                    errors:
                        "mini-grant: cannot open \"/dev/xen/gntdev\": no such device; the kernel module xen-gntdev brings it\n"
                ))
        let forbidden = try threePages { $0.failing = (1, .accessDenied) }
        #expect(
            grant(words, on: forbidden)
                == Ended(
                    code: 1, output: "",
                    errors:
                        "mini-grant: cannot open \"/dev/xen/gntdev\": permission denied (EACCES)\n"
                ))
    }

    @Test("whichever call fails, there is one line, the code fits, and nothing is left")
    func everyCallFails() throws {
        let source = try TemporaryFile("0123456789")
        let target = try TemporaryFile()
        let line =
            "map --domain 3 --ref 17,18 --in \(source.path) --length 10 --out \(target.path)"
        for errno in [Errno.noMemory, .inputOutput] {
            for call in 1... {
                let xen = try threePages { $0.failing = (call, errno) }
                let ended = grant(line, on: xen)
                let calls = xen.now.calls
                guard call <= calls.count else {
                    #expect(ended == Ended(code: 0, output: "", errors: ""))
                    break
                }
                let number = SystemCall.Number(rawValue: calls[call - 1])
                if ended.code == 0 {
                    #expect([.close, .unmap, .clockTime].contains(number), "call \(call)")
                } else {
                    #expect(ended.code == 1, "call \(call)")
                    #expect(ended.errors.hasPrefix("mini-grant: "), "call \(call)")
                    #expect(ended.errors.split(separator: "\n").count == 1, "call \(call)")
                }
                if number != .close && number != .unmap {
                    #expect(xen.now.left == [], "call \(call)")
                }
            }
        }
    }
}
