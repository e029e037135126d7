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
    #expect(xen.now.sandbox.killed == [], "\(line)")
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
        let page = try projectText("docs/mini-grant.1").replacing("\\-", with: "-")
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
                    section.contains("\n.BI \(match.1) ") || section.contains("\n.B \(match.1)\n")
                        || section.contains("\n.BR \(match.1) ,\n"),
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

    @Test("bytes go to a terminal only if somebody asks for that", arguments: ["map", "copy"])
    func terminal(command: String) throws {
        let xen = try threePages { $0.terminals = [1] }
        let line =
            "standard output is a terminal: --hexdump or --out FILE, or --out - if the bytes are meant for it"
        #expect(
            grant("\(command) --domain 3 --ref 17", on: xen)
                == Ended(code: 2, output: "", errors: "mini-grant: \(line)\n"))
        #expect(grant("\(command) --domain 3 --ref 17 --out -", on: xen).output == pages("a"))
        #expect(grant("map --domain 3 --ref 17 --hexdump", on: xen).code == 0)
    }

    @Test("what takes more than a second is told to a terminal that watches, and to nobody else")
    func progress() throws {
        for isWatched in [true, false] {
            let xen = try FakeXen {
                $0.input = [UInt8](repeating: 7, count: 3 << 20)
                $0.inputTime = 700_000_000
                $0.terminals = isWatched ? [2] : []
                $0.happenings = [.signal(15)]
            }
            let ended = grant("share --domain 3 --pages 768 --in - --hold", on: xen)
            #expect(ended.code == 0)
            #expect(
                ended.errors
                    == (isWatched
                        ? "\r2 MB, 1 MB/s\r3 MB, 1 MB/s\r            \r" : ""))
        }
    }

    @Test("times may have a fraction")
    func fractions() throws {
        for (word, nanoseconds) in [
            ("11.6", 11_600_000_000), (".25", 250_000_000), ("3", 3_000_000_000),
            ("0x10", 16_000_000_000), ("0.000000001", 1),
        ] as [(String, UInt64)] {
            #expect(
                try GrantSettings.seconds("--deadline", Text(stringLiteral: word)).count
                    == nanoseconds)
        }
        for word in ["1.", ".", "1.2.3", "1.0000000001", "-1.5", "1.x", "0x1.5x", "99999999999.5"] {
            #expect(throws: CommandError.self) {
                try GrantSettings.seconds("--deadline", Text(stringLiteral: word))
            }
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
            ("--domain 3 --ref ,", 2, "--ref of \",\" is no list of grant references"),
            ("--domain 3 --ref= ", 2, "--ref of \"\" is no list of grant references"),
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
            (
                "--domain 3 --ref 17 --hold --notify-port 0", 2,
                "--notify-port of \"0\" is no event port"
            ),
            (
                "--domain 3 --ref 17 --hold --notify-byte 4096", 2,
                "--notify-byte of \"4096\" lies outside the pages: they have 4096 bytes"
            ),
            ("--domain 3 --ref 17 --notify-byte 4", 2, "option --hold is missing"),
            ("--domain 3 --ref 17 --notify-port 4", 2, "option --hold is missing"),
            ("--domain 3 --ref 17 --exec", 2, "option --exec needs an argument"),
            (
                "--domain 3 --ref 17 --out x --exec prog", 2, "--out does not go with --exec"
            ),
            (
                "--domain 3 --ref 17 --hold --notify-port 40", 4,
                "Xen does not bind event port 40 of domain 3: invalid argument (EINVAL)"
            ),
            (
                "--domain 3 --ref @data/ref", 3,
                "cannot open \"/dev/xen/xenbus\": no such device; mount devtmpfs on /dev"
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
        // The first call asks whether standard output is a terminal.
        let forbidden = try threePages { $0.failing = (2, .accessDenied) }
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
                    #expect(
                        [.close, .unmap, .clockTime, .ioctl].contains(number), "call \(call)")
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

@Suite struct GrantHoldTests {
    @Test("--hold says when they are mapped, and keeps them until a signal")
    func hold() throws {
        let xen = try threePages { $0.happenings = [.signal(15)] }
        #expect(
            grant("map --domain 3 --ref 17,18 --hold", on: xen)
                == Ended(code: 0, output: "2 grants of domain 3 mapped\n", errors: ""))
        #expect(xen.now.happenings.isEmpty)
        #expect(xen.now.left == [])
    }

    @Test("what is held can be dumped before, and filled before that")
    func dumpAndHold() throws {
        let xen = try threePages {
            $0.happenings = [.signal(1)]
            $0.input = Array("HELLO".utf8)
        }
        #expect(
            grant("map --domain 3 --ref 17 --length 5 --in - --out - --hold", on: xen)
                == Ended(code: 0, output: "HELLO", errors: ""))
        #expect(xen.now.happenings.isEmpty)
    }

    @Test("at the end the other side finds a cleared byte and an event", arguments: [true, false])
    func notification(isPV: Bool) throws {
        let xen = try threePages {
            $0.isPV = isPV
            $0.remotePorts = [key(3, 40)]
            $0.happenings = [.signal(2)]
        }
        let line = "map --domain 3 --ref 17,18 --hold --notify-byte 4097 --notify-port 40"
        #expect(
            grant(line, on: xen)
                == Ended(code: 0, output: "2 grants of domain 3 mapped\n", errors: ""))
        #expect(xen.page(18, of: 3)[0..<3].elementsEqual([98, 0, 98]))
        #expect(xen.now.notified == [40])
        #expect(xen.now.left == [])
    }

    @Test("the device is opened before the channel, for a process that is killed")
    func order() throws {
        let xen = try threePages {
            $0.remotePorts = [key(3, 40)]
            $0.happenings = [.signal(2)]
        }
        let line = "map --domain 3 --ref 17 --hold --notify-port 40"
        #expect(grant(line, on: xen).code == 0)
        #expect(xen.now.openedInOrder.filter { $0 != .signals } == [.gntdev, .evtchn])
    }

    @Test("whichever call fails, there is one line, and nothing is left")
    func everyCallFails() throws {
        let line = "map --domain 3 --ref 17,18 --hold --notify-byte 1 --notify-port 40"
        failEveryCall(line) {
            try threePages {
                $0.remotePorts = [key(3, 40)]
                $0.happenings = [.signal(2)]
            }
        }
    }
}

/// Runs a command line that works, with each of its calls failing in turn.
/// - Parameter others: further calls whose failing does no harm when the input was read.
func failEveryCall(
    _ line: String, codes: Set<Int32> = [1, 4], others: [SystemCall.Number] = [],
    on make: () throws -> FakeXen
) {
    for errno in [Errno.noMemory, .inputOutput] {
        for call in 1...1000 {
            guard let xen = try? make() else {
                Issue.record("no model")
                return
            }
            xen.change { $0.failing = (call, errno) }
            let ended = grant(line, on: xen)
            let calls = xen.now.calls
            guard call <= calls.count else {
                #expect(ended.code == 0 && ended.errors == "", "\(line)")
                return
            }
            let number = SystemCall.Number(rawValue: calls[call - 1])
            if ended.code == 0 {
                let isHarmless = [
                    SystemCall.Number.close, .unmap, .clockTime, .signalAction, .signalMask,
                    // A last look for signals that came too late, which does not wait where that can be said.
                    .poll, .fileControl,
                    // Whether somebody watches, and what the streams are.
                    .ioctl, .fileStatus,
                    // A timer for a stream that may wait.
                    .intervalTimer,
                    // What is given up: no step depends on another.
                    .closeRange, .limit, .oldLimit, .processControl, .effectiveUser, .setGroups,
                    .setGroup, .setUser, .setCapabilities, .seccomp,
                ].contains(number)
                #expect(
                    isHarmless || others.contains(number) || xen.now.looks.contains(call),
                    "call \(call), number \(number.rawValue), of \(line)")
            } else {
                #expect(codes.contains(ended.code), "call \(call) of \(line): \(ended.errors)")
                #expect(ended.errors.hasPrefix("mini-grant: "), "call \(call) of \(line)")
                #expect(
                    ended.errors.split(separator: "\n").count == 1,
                    "call \(call) of \(line): \(ended.errors)")
            }
            if ![.close, .unmap, .signalMask].contains(number) {
                #expect(xen.now.left == [], "call \(call) of \(line)")
            }
        }
        Issue.record("more than 1000 calls")
    }
}

@Suite struct GrantExecutionTests {
    @Test("--exec hands device, index and count over to a program")
    func handOver() throws {
        let xen = try threePages { $0.programs = ["/bin/reader"] }
        let ended = grant("map --domain 3 --ref 17,18 --exec /bin/reader --fast now", on: xen)
        // In this model a program may never be run.
        #expect(
            ended
                == Ended(
                    code: 1, output: "",
                    errors: "mini-grant: cannot run \"/bin/reader\": permission denied (EACCES)\n"))
        let end = xen.now
        #expect(end.executed == [["/bin/reader", "/bin/reader", "--fast", "now"]])
        let number = try #require(end.inherited.first)
        #expect(
            end.environment.suffix(3) == [
                "GNTDEV_FD=\(number)", "GNTDEV_INDEX=0", "GNTDEV_COUNT=2",
            ])
        #expect(end.environment.contains { $0.hasPrefix("PATH=") })
        #expect(end.left == [])
    }

    @Test("a name without a slash is looked for in PATH")
    func path() throws {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        let last = try #require(folders.last)
        let xen = try threePages { $0.programs = ["\(last)/reader"] }
        #expect(grant("map --domain 3 --ref 17 --exec reader", on: xen).code == 1)
        #expect(xen.now.executed == [["\(last)/reader", "reader"]])
    }

    @Test("a grant that cannot be mapped is told before any program runs")
    func refused() throws {
        let xen = try threePages { $0.programs = ["/bin/reader"] }
        let ended = grant("map --domain 3 --ref 17,20 --exec /bin/reader", on: xen)
        #expect(ended.errors == "mini-grant: grant 20 of domain 3: no such grant\n")
        #expect(ended.code == 4)
        #expect(xen.now.executed == [])
    }

    @Test("no such program")
    func missing() throws {
        let xen = try threePages()
        #expect(
            grant("map --domain 3 --ref 17 --exec /bin/none", on: xen).errors
                == "mini-grant: cannot run \"/bin/none\": no such file (ENOENT)\n")
        #expect(xen.now.left == [])
    }
}

@Suite struct GrantCopyCommandTests {
    @Test("pages are copied out without being mapped")
    func out() throws {
        let file = try TemporaryFile()
        let xen = try threePages()
        #expect(
            grant("copy --domain 3 --ref 18,17 --offset 4095 --length 3", on: xen)
                == Ended(code: 0, output: "baa", errors: ""))
        #expect(
            grant("copy --domain 3 --ref 17,18,19 --out \(file.path)", on: xen).code == 0)
        #expect(file.content == pages("abc"))
        #expect(xen.now.maps.isEmpty && xen.now.nextMap == 1)
        #expect(xen.now.left == [])
    }

    @Test("and in")
    func input() throws {
        let file = try TemporaryFile(pages("xyz"))
        let xen = try threePages { $0.input = Array("hello".utf8) }
        #expect(
            grant("copy --domain 3 --ref 17,18 --in - --offset 4093 --length 5", on: xen)
                == Ended(code: 0, output: "", errors: ""))
        #expect(xen.page(17, of: 3)[4092...].elementsEqual("ahel".utf8))
        #expect(xen.page(18, of: 3)[..<3].elementsEqual("lob".utf8))
        #expect(grant("copy --domain 3 --ref 17,18,19 --in \(file.path)", on: xen).code == 0)
        #expect(xen.page(19, of: 3).allSatisfy { $0 == UInt8(ascii: "z") })
    }

    @Test(
        "a file that is longer than what it is to fill is refused before anything is written",
        arguments: ["map", "copy"])
    func tooLong(command: String) throws {
        let file = try TemporaryFile(pages("xy") + "z")
        let xen = try threePages()
        let ended = grant("\(command) --domain 3 --ref 17,18 --in \(file.path)", on: xen)
        #expect(
            ended
                == Ended(
                    code: 2, output: "",
                    errors:
                        "mini-grant: \"\(file.path)\" has more than the 8192 bytes that are to be filled\n"
                ))
        // Whoever wants a part gets a part.
        let part = "\(command) --domain 3 --ref 17 --in \(file.path) --length 16"
        #expect(try grant(part, on: threePages()).code == 0)
        let piped = try threePages { $0.input = Array(pages("xy").utf8) + [1] }
        let other = grant("\(command) --domain 3 --ref 17,18 --in -", on: piped)
        #expect(
            other.errors
                == "mini-grant: \"-\" has more than the 8192 bytes that are to be filled\n")
        for xen in [xen, piped] {
            #expect(xen.page(17, of: 3).allSatisfy { $0 == UInt8(ascii: "a") })
            #expect(xen.now.left == [])
        }
    }

    @Test("what comes from a pipe fills the pages when all of it is there, and not before")
    func fromPipe() throws {
        for command in ["map", "copy"] {
            let xen = try threePages { $0.input = Array(pages("xy").utf8) }
            #expect(grant("\(command) --domain 3 --ref 17,18 --in -", on: xen).code == 0)
            #expect(xen.page(18, of: 3).allSatisfy { $0 == UInt8(ascii: "y") })
            let short = try threePages { $0.input = Array(pages("x").utf8) }
            #expect(grant("\(command) --domain 3 --ref 17,18 --in -", on: short).code == 2)
            #expect(short.page(17, of: 3).allSatisfy { $0 == UInt8(ascii: "a") })
        }
    }

    @Test("a large share goes in parts")
    func large() throws {
        let xen = try FakeXen()
        xen.grant(Array(100..<400), of: 3) { UInt8(truncatingIfNeeded: $0 % 251) }
        let references = (100..<400).map { "\($0)" }.joined(separator: ",")
        #expect(grant("copy --domain 3 --ref \(references) --offset 1", on: xen).code == 0)
        let output = xen.now.output
        #expect(output.count == 300 * 4096 - 1)
        #expect(
            output.indices.allSatisfy { output[$0] == UInt8(($0 + 1) / 4096 % 251) })
        #expect(xen.now.left == [])
    }

    @Test(
        "bad input gets a line and a code",
        arguments: [
            ("--domain 3 --ref 17 --in a --out b", 2, "--out does not go with --in"),
            ("--domain 3 --ref 17,20", 4, "grant 20 of domain 3: no such grant"),
            ("--domain 7 --ref 17", 4, "grant 17 of domain 7: no such domain"),
            (
                "--domain 3 --ref 17,18 --in /dev/null", 2,
                "\"/dev/null\" has only 0 of the 8192 bytes that are to be filled"
            ),
            (
                "--domain 3 --ref 17 --out /dev/full", 1,
                "cannot write \"/dev/full\": no space left on device (ENOSPC)"
            ),
        ])
    func badInput(words: String, code: Int32, line: String) throws {
        let xen = try threePages()
        #expect(
            grant("copy \(words)", on: xen)
                == Ended(code: code, output: "", errors: "mini-grant: \(line)\n"))
        #expect(xen.now.left == [])
    }

    @Test("a page for reading only is not written")
    func readOnly() throws {
        let xen = try FakeXen { $0.input = [1, 2, 3] }
        xen.grant([5], of: 3, isReadOnly: true)
        let ended = grant("copy --domain 3 --ref 5 --length 3 --in -", on: xen)
        #expect(ended.code == 4)
        #expect(
            ended.errors
                == "mini-grant: grant 5 of domain 3: not granted to this domain, or not for this\n")
    }

    @Test("a kernel that cannot copy says so")
    func tooOld() throws {
        let xen = try threePages { $0.hasCopy = false }
        #expect(
            grant("copy --domain 3 --ref 17", on: xen)
                == Ended(
                    code: 3, output: "",
                    errors:
                        "mini-grant: \"/dev/xen/gntdev\" of this kernel does not know GRANT_COPY\n"
                ))
    }

    @Test("whichever call fails, there is one line, and nothing is left")
    func everyCallFails() throws {
        let file = try TemporaryFile()
        failEveryCall("copy --domain 3 --ref 17,18,19 --out \(file.path)") { try threePages() }
    }
}

@Suite struct GrantShareTests {
    @Test("pages are filled, granted, told, kept until a signal and taken back")
    func share() throws {
        let file = try TemporaryFile(pages("pq") + "r")
        let xen = try FakeXen { $0.happenings = [.signal(15)] }
        xen.change { $0.nextReference = 50 }
        #expect(
            grant("share --domain 3 --in \(file.path) --hold", on: xen)
                == Ended(code: 0, output: "50,51,52\n", errors: ""))
        #expect(xen.now.lentCount == [:] || xen.now.left == [])
        #expect(xen.now.left == [])
    }

    @Test("a domain that they are granted to can map them, and write if it may")
    func loopback() throws {
        for isWritable in [true, false] {
            let xen = try FakeXen { $0.nextReference = 50 }
            try xen.play { () throws(GrantError) in
                var plan = SharingPlan(domain: DomainID(0)!, pages: PageCount(2))
                plan.isWritable = isWritable
                let shared = try SharedPages(plan)
                #expect(shared.bytes.count == 8192 && shared.bytes.allSatisfy { $0 == 0 })
                shared.bytes[4096] = 7
                let list = try GrantList(shared.references, of: DomainID(0)!)
                var mapping = MappingPlan(deadline: .never)
                let reading = try GrantMapping(list, on: GntDev(), mapping)
                #expect(reading.bytes[4096] == 7)
                try reading.unmap()
                mapping.isWritable = true
                do throws(GrantError) {
                    let pages = try GrantMapping(list, on: GntDev(), mapping)
                    pages.bytes[5] = 9
                    #expect(isWritable && shared.bytes[5] == 9)
                    try pages.unmap()
                } catch {
                    #expect(!isWritable)
                    #expect(error == .readOnlyGrant(shared.references[0], of: DomainID(0)!))
                }
                try shared.unmap()
            }
            #expect(xen.now.left == [])
        }
    }

    @Test("pages live on while the other domain has them mapped")
    func outlive() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let plan = SharingPlan(domain: DomainID(0)!, pages: PageCount(1))
            let shared = try SharedPages(plan)
            shared.bytes[0] = 3
            let list = try GrantList(shared.references, of: DomainID(0)!)
            let mapping = try GrantMapping(list, on: GntDev(), MappingPlan(deadline: .never))
            try shared.unmap()
            #expect(shared.bytes.isEmpty)
            #expect(mapping.bytes[0] == 3)
            #expect(xen.now.lent.count == 1)
            try mapping.unmap()
        }
        #expect(xen.now.left == [])
    }

    @Test("at the end the other side finds a cleared byte and an event")
    func notification() throws {
        let xen = try FakeXen {
            $0.remotePorts = [key(3, 40)]
            $0.happenings = [.signal(15)]
            $0.input = [1, 2, 3, 4]
        }
        let line = "share --domain 3 --pages 2 --in - --hold --notify-byte 2 --notify-port 40"
        #expect(grant(line, on: xen) == Ended(code: 0, output: "8,9\n", errors: ""))
        #expect(xen.memory[0][0..<4].elementsEqual([1, 2, 0, 4]))
        #expect(xen.now.notified == [40])
        #expect(xen.now.left == [])
    }

    @Test(
        "bad input gets a line and a code",
        arguments: [
            ("--domain 3", 2, "option --hold is missing"),
            ("--hold", 2, "option --domain is missing"),
            ("--domain 0x7ff0 --hold", 2, "--domain of \"0x7ff0\" is no domain: 0 to 32751"),
            ("--domain 3 --hold --pages 0", 2, "--pages of \"0\" is not from 1 to 65536"),
            (
                "--domain 3 --hold --pages 1025", 1,
                "cannot share 1025 pages for domain 3: gntalloc lends at most 1024 pages at a time in all; a larger number in /sys/module/xen_gntalloc/parameters/limit changes that"
            ),
            ("--domain 3 --hold --publish /", 2, "\"/\" is the whole store: name an entry in it"),
            ("--domain 3 --hold --publish /a/", 2, "\"/a/\" has an empty name in it"),
            (
                "--domain 3 --hold --in /nowhere/file", 1,
                "cannot open \"/nowhere/file\": no such file (ENOENT)"
            ),
        ])
    func badInput(words: String, code: Int32, line: String) throws {
        let xen = try FakeXen {
            $0.files["/sys/module/xen_gntalloc/parameters/limit"] = "1024\n"
        }
        #expect(
            grant("share \(words)", on: xen)
                == Ended(code: code, output: "", errors: "mini-grant: \(line)\n"))
        #expect(xen.now.left == [])
    }

    @Test("a share of what does not tell its size is all of it, or nothing is published")
    func unknownSize() throws {
        let text = Array(repeating: UInt8(ascii: "x"), count: 8193)
        let all = try FakeXen {
            $0.input = text; $0.happenings = [.signal(15)]
        }
        #expect(
            grant("share --domain 3 --in - --hold", on: all)
                == Ended(code: 0, output: "8,9,10\n", errors: ""))
        let cut = try FakeXen {
            $0.input = text
            $0.store = FakeStore()
        }
        #expect(
            grant("share --domain 3 --in - --pages 2 --publish /a --hold", on: cut)
                == Ended(
                    code: 2, output: "",
                    errors:
                        "mini-grant: \"-\" has more than the 8192 bytes that are to be filled\n"))
        #expect(cut.now.store!.entries.count == 1 && cut.now.left == [])
        #expect(try grant("share --domain 3 --in - --hold", on: FakeXen()).code == 2)
        // A file of /proc says that it has no bytes.
        let proc = try FakeXen { $0.happenings = [.signal(15)] }
        #expect(
            grant("share --domain 3 --in /proc/self/status --hold", on: proc)
                == Ended(code: 0, output: "8\n", errors: ""))
    }

    @Test("references are published as ranges, and what one entry does not hold in parts")
    func published() throws {
        let few = try FakeXen {
            $0.store = FakeStore()
            $0.happenings = [
                .act { #expect($0.store!.value("/a") == "8-57") }, .signal(15),
            ]
        }
        #expect(grant("share --domain 3 --pages 50 --publish /a --hold", on: few).code == 0)
        #expect(few.now.store!.entries.count == 1)

        // As a kernel gives them whose table has holes everywhere.
        let many = try FakeXen {
            $0.store = FakeStore.with(["/a": "parts 9", "/a/8": "left by a share that was killed"])
            $0.referenceStep = 2
            $0.nextReference = 10001
            $0.happenings = [
                .act { state in
                    let store = state.store!
                    #expect(store.value("/a") == "parts 4")
                    #expect(store.entries["/a/3"]!.permissions == ["n0", "r3"])
                    #expect(store.value("/a/8") == nil)
                    #expect(
                        store.entries.allSatisfy { $0.value.value.count <= 1900 })
                },
                .signal(15),
            ]
        }
        let ended = grant("share --domain 3 --pages 1000 --publish /a --hold", on: many)
        #expect(ended.code == 0 && ended.errors == "")
        #expect(many.now.store!.entries.count == 1)
        #expect(many.now.left == [])
    }

    @Test("whoever reads @PATH gets a list in parts as a whole")
    func readsParts() throws {
        let xen = try FakeXen {
            $0.store = FakeStore.with(["/a": "parts 2", "/a/0": "19,17", "/a/1": "18"])
        }
        xen.grant([17, 18, 19], of: 3) { UInt8(ascii: "a") + UInt8($0) }
        #expect(grant("map --domain 3 --ref @/a", on: xen).output == pages("cab"))
        // Another list that comes in between is read as a whole, too.
        xen.change {
            $0.output = []
            $0.store!.intrusions = [
                (behind: "/a/0", path: "/a/0", value: "18"),
                (behind: "/a/0", path: "/a/1", value: "17,19"),
            ]
        }
        #expect(grant("map --domain 3 --ref @/a", on: xen).output == pages("bac"))
        xen.change { $0.store!.set("/a/1", nil) }
        #expect(
            grant("map --domain 3 --ref @/a", on: xen).errors
                == "mini-grant: cannot read \"/a/1\": no such entry (ENOENT)\n")
        for value in ["parts 0", "parts x", "parts 99999999999"] {
            xen.change { $0.store!.set("/a", Array(value.utf8)) }
            #expect(grant("map --domain 3 --ref @/a", on: xen).code == 4)
        }
    }

    @Test("a share removes what it has put into the store, and nothing else")
    func withdrawn() throws {
        func share(
            _ before: [String: String], _ change: @escaping @Sendable (inout FakeStore) -> Void
        ) throws -> [String: String] {
            let xen = try FakeXen {
                $0.store = FakeStore.with(before)
                $0.happenings = [.act { change(&$0.store!) }, .signal(15)]
            }
            #expect(grant("share --domain 3 --publish /a/b --hold", on: xen).code == 0)
            return xen.now.store!.entries.mapValues { string($0.value) }
        }
        #expect(try share([:]) { _ in } == ["": "", "/a": ""])
        #expect(
            try share([:]) { $0.set("/a/b", Array("9".utf8)) } == ["": "", "/a": "", "/a/b": "9"])
        #expect(
            try share([:]) { $0.set("/a/b/c", Array("1".utf8)) }
                == ["": "", "/a": "", "/a/b": "", "/a/b/c": "1"])
        #expect(try share(["/a/b": ""]) { _ in } == ["": "", "/a": "", "/a/b": ""])
        #expect(try share(["/a/b": "7"]) { _ in } == ["": "", "/a": ""])
        #expect(try share([:]) { $0.set("/a/b", nil) } == ["": "", "/a": ""])
    }

    @Test("a list in parts is taken back as a whole, and another one in its place stays")
    func withdrawnParts() throws {
        func share(
            _ change: @escaping @Sendable (inout FakeStore) -> Void
        ) throws -> [String: String] {
            let xen = try FakeXen {
                $0.store = FakeStore()
                $0.referenceStep = 2
                $0.nextReference = 10001
                $0.happenings = [
                    .act {
                        #expect($0.store!.value("/a") == "parts 4")
                        change(&$0.store!)
                    }, .signal(15),
                ]
            }
            let ended = grant("share --domain 3 --pages 1000 --publish /a --hold", on: xen)
            #expect(ended.code == 0)
            return xen.now.store!.entries.mapValues { string($0.value) }
        }
        let another = try share { store in
            for part in 1..<4 { store.set("/a/\(part)", Array("9".utf8)) }
        }
        #expect(another.count == 6 && another["/a"] == "parts 4" && another["/a/3"] == "9")
        let longer = try share { $0.set("/a", Array("parts 5".utf8)) }
        #expect(longer.count == 6 && longer["/a"] == "parts 5")
        #expect(try share { $0.set("/a/2", nil) } == ["": ""])
        #expect(try share { $0.set("/a", Array("9".utf8)) } == ["": "", "/a": "9"])
    }

    @Test("a share ends by itself: with 0 when its domain has ended, with 4 when it is another one")
    func domainEnds() throws {
        func share(
            _ values: [String: String], ended: Bool = true,
            _ change: @escaping @Sendable (inout FakeStore) -> Void
        ) throws -> Ended {
            let xen = try FakeXen {
                $0.store = FakeStore.with(values)
                $0.happenings = [
                    .act {
                        change(&$0.store!)
                        if ended { $0.store!.ended = ["3"] }
                    }
                ]
            }
            let end = grant("share --domain 3 --publish /a --hold", on: xen)
            #expect(xen.now.store!.value("/a") == nil && xen.now.left == [])
            return end
        }
        func refused(_ line: String) -> Ended {
            Ended(code: 4, output: "8\n", errors: "mini-grant: \(line)\n")
        }
        let vm = "/local/domain/3/vm"
        #expect(try share([:]) { _ in } == Ended(code: 0, output: "8\n", errors: ""))
        #expect(
            try share([vm: "/vm/u"]) {
                $0.set(vm, nil)
                $0.set("/local/domain/4/vm", Array("/vm/u".utf8))
            } == refused("domain 3 is domain 4 now"))
        #expect(
            try share([vm: "/vm/u"], ended: false) { $0.set(vm, Array("/vm/w".utf8)) }
                == refused("domain 3 is not the same domain any more"))
        #expect(
            try share([:]) { $0.set("/local/domain/3/control/shutdown", Array("suspend".utf8)) }
                == refused(
                    "domain 3 was suspended: should it be restored, it is another domain"))
        #expect(
            try share([:]) { $0.set("/local/domain/3/control/shutdown", Array("poweroff".utf8)) }
                == Ended(code: 0, output: "8\n", errors: ""))
        #expect(
            try share(["/local/domain/0/domid": "0"], ended: false) {
                $0.set("/local/domain/0/domid", Array("6".utf8))
            }
                == refused("this domain was restored as domain 6: nobody has its pages any more"))
    }

    @Test("a suspension is told from an end although the store does not say it for long")
    func suspensions() throws {
        let shutdown = "/local/domain/3/control/shutdown"
        typealias Change = (FakeXen) -> Void
        /// What is seen in the end, when there was a look after each change.
        func breach(_ changes: Change..., asks: Bool = true) throws -> PeerDomain.Breach? {
            let xen = try FakeXen {
                $0.store = FakeStore.with([shutdown: ""])
                $0.domainFlags = [3: 0x20]
            }
            return xen.play {
                let hypervisor = Hypervisor()
                let peer = PeerDomain(
                    DomainID(3)!, awaitsSuspension: true,
                    state: { asks ? hypervisor?.state(of: DomainID(3)!) : nil })
                var breach: PeerDomain.Breach?
                for change in changes {
                    change(xen)
                    breach = peer.look()
                }
                return breach
            }
        }
        /// What the toolstack writes, and the domain takes away before anybody can read it.
        let told: Change = {
            $0.change {
                $0.store!.set(shutdown, Array("suspend".utf8))
                $0.store!.set(shutdown, [])
            }
        }
        func flags(_ flags: UInt32?) -> Change {
            {
                $0.change {
                    $0.domainFlags![3] = flags
                    $0.store!.tell("@releaseDomain")
                }
            }
        }
        func down(_ reason: UInt32) -> Change { flags(reason << 16 | 4) }
        let up = flags(0x20)
        let gone: Change = {
            $0.change {
                $0.domainFlags = [:]
                $0.store!.ended = ["3"]
                $0.store!.set("/local/domain/3", nil)
            }
        }
        let domain = DomainID(3)!
        // Where the hypervisor does not answer, nobody knows.
        #expect(try breach(told, gone, asks: false) == .endedAsTold(domain))
        #expect(try breach(gone, asks: false) == .ended(domain))
        // Nor does a domain hide it that writes a lot of its own.
        let flood: Change = {
            $0.change { state in
                for name in 0..<3000 { state.store!.set("\(shutdown)/\(name)", []) }
            }
        }
        let floodAndTold: Change = {
            flood($0)
            told($0)
        }
        #expect(try breach(floodAndTold, gone, asks: false) == .endedAsTold(domain))
        #expect(try breach(told, down(2)) == nil)
        #expect(try breach(told, down(2), gone) == .suspended(domain))
        #expect(try breach(down(2), gone) == .suspended(domain))
        // Shut down, rebooted, crashed.
        for reason: UInt32 in [0, 1, 3] {
            #expect(try breach(told, down(reason), gone) == .ended(domain))
        }
        // A copy was written, and the domain went on.
        #expect(try breach(told, down(2), up, gone) == .ended(domain))
        #expect(try breach(told, down(2), up, down(0), gone) == .ended(domain))
        #expect(try breach(told, down(2), up, told, down(2), gone) == .suspended(domain))
    }

    @Test(
        "a domain that is restored while it looks is told so before its entries are called changed, as is another peer"
    )
    func restoredMeanwhile() throws {
        let own = "/local/domain/0/domid"
        let machine = "/local/domain/3/vm"
        let entry = "/local/domain/0/data/ref"
        let path = try StorePath(named: Text(stringLiteral: entry))
        let domain = DomainID(3)!
        /// What a look finds behind whose first answers others write.
        func breach(_ others: [(path: String, value: String)]) throws -> PeerDomain.Breach? {
            let intrusions = others.map { (behind: machine, path: $0.path, value: $0.value) }
            let xen = try FakeXen {
                $0.store = FakeStore.with([own: "0", machine: "/vm/a", entry: "8"])
            }
            return xen.play {
                let peer = PeerDomain(domain)
                peer.entries = [(path, "8")]
                #expect(peer.look() == nil)
                xen.change { $0.store!.intrusions = intrusions }
                return peer.look()
            }
        }
        #expect(try breach([]) == nil)
        #expect(try breach([(entry, "9")]) == .overwritten(path))
        #expect(try breach([(entry, "9"), (own, "6")]) == .restored(as: "6"))
        #expect(try breach([(own, "6"), (entry, "9"), (machine, "/vm/b")]) == .restored(as: "6"))
        #expect(try breach([(machine, "/vm/b"), (entry, "9")]) == .replaced(domain))
        // Nothing was changed that leads here: the next look finds it.
        #expect(try breach([(own, "6")]) == nil)
    }

    @Test("what the hypervisor says of a domain fits in a byte, and another byte says nothing")
    func stateCodes() {
        for state in [DomainState.up, .gone, .down(.suspend), .down(.init(rawValue: 0))] {
            #expect(DomainState(code: state.code) == state)
        }
        #expect(DomainState(code: 0) == nil && DomainState(code: 3) == nil)
    }

    @Test(
        "a hypervisor of another version is asked in its own words, and an unknown one is not believed"
    )
    func hypervisors() throws {
        for (version, state) in [(0x10, DomainState.up), (0x18, .up), (0x19, nil), (1, nil)]
            as [(UInt32, DomainState?)]
        {
            let xen = try FakeXen {
                $0.domainFlags = [3: 0x20]
                $0.domainControlVersion = version
            }
            xen.play {
                let hypervisor = Hypervisor()
                #expect(hypervisor?.state(of: DomainID(3)!) == state)
                #expect(hypervisor?.state(of: DomainID(4)!) == state.map { _ in .gone })
            }
        }
        let none = try FakeXen()
        none.play { #expect(Hypervisor() == nil) }
    }

    @Test("a share for a domain that has not come yet waits for it")
    func notYet() throws {
        let xen = try FakeXen {
            $0.store = FakeStore()
            $0.store!.ended = ["3"]
            $0.happenings = [
                .act { $0.store!.set("/x", []) }, .act { $0.store!.set("/x", []) }, .signal(15),
            ]
        }
        #expect(grant("share --domain 3 --hold", on: xen).code == 0)
    }

    @Test("a file that the pages have no room for, or an empty one, is refused")
    func size() throws {
        let file = try TemporaryFile(pages("a") + "b")
        let empty = try TemporaryFile("")
        let xen = try FakeXen()
        #expect(
            grant("share --domain 3 --hold --pages 1 --in \(file.path)", on: xen).errors
                == "mini-grant: \"\(file.path)\" has 4097 bytes, the pages 4096\n")
        #expect(grant("share --domain 3 --hold --in \(empty.path)", on: xen).code == 2)
        #expect(xen.now.left == [])
    }

    @Test("whichever call fails, there is one line, and nothing is left")
    func everyCallFails() throws {
        let file = try TemporaryFile("content")
        failEveryCall(
            "share --domain 3 --in \(file.path) --hold --notify-byte 2 --notify-port 40",
            // Looking for the store, which tells of the domain's end.
            others: [.open, .read]
        ) {
            try FakeXen {
                $0.remotePorts = [key(3, 40)]
                $0.happenings = [.signal(15)]
            }
        }
    }
}

@Suite struct GrantProbeTests {
    private static let whole: [String: String] = [
        "/sys/hypervisor/type": "xen\n", "/sys/hypervisor/version/major": "4\n",
        "/sys/hypervisor/version/minor": "17\n", "/sys/hypervisor/version/extra": ".5\n",
        "/sys/hypervisor/guest_type": "PV\n",
        "/sys/module/xen_gntdev/parameters/limit": "65536\n",
        "/sys/module/xen_gntalloc/parameters/limit": "1024\n",
    ]

    @Test("a line for Xen, for each device with its limit, for each kind of call")
    func lines() throws {
        let xen = try FakeXen {
            $0.files = Self.whole
            $0.modules.remove("xenbus")
        }
        #expect(
            grant("probe", on: xen)
                == Ended(
                    code: 3,
                    output: """
                        xen       4.17.5
                        guest     PV
                        gntdev    /dev/xen/gntdev, at most 65536 grants in one mapping
                        copy      yes
                        dmabuf    no: CONFIG_XEN_GNTDEV_DMABUF is off
                        gntalloc  /dev/xen/gntalloc, at most 1024 pages lent at a time by the whole domain
                        evtchn    /dev/xen/evtchn
                        xenbus    cannot open "/dev/xen/xenbus": no such device; mount devtmpfs on /dev

                        """, errors: ""))
        #expect(xen.now.left == [])
    }

    @Test("or one JSON object")
    func json() throws {
        for isXen in [true, false] {
            let xen = try FakeXen {
                $0.files = isXen ? Self.whole : [:]
                $0.isXen = isXen
                $0.modules.remove("gntalloc")
            }
            let ended = grant("probe --json", on: xen)
            #expect(ended.code == 3)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any])
            #expect(object["xen"] as? Bool == isXen)
            let gntdev = try #require(object["gntdev"] as? [String: Any])
            #expect(gntdev["usable"] as? Bool == isXen)
            #expect(gntdev["limit"] as? Int == (isXen ? 65536 : nil))
            #expect(object["copy"] as? Bool == (isXen ? true : nil))
            #expect(object["version"] as? String == (isXen ? "4.17.5" : nil))
            let gntalloc = try #require(object["gntalloc"] as? [String: Any])
            #expect(gntalloc["module"] as? String == "xen-gntalloc")
        }
    }

    @Test("an output that takes nothing is told")
    func outputFull() throws {
        let xen = try FakeXen {
            $0.files = Self.whole
            $0.outputErrno = .noSpace
        }
        let line = "mini-grant: cannot write to standard output: no space left on device (ENOSPC)\n"
        #expect(grant("probe", on: xen) == Ended(code: 1, output: "", errors: line))
    }

    @Test("whichever call fails, what can be told is told")
    func everyCallFails() throws {
        for call in 1...100 {
            let xen = try FakeXen {
                $0.files = Self.whole
                $0.failing = (call, .inputOutput)
            }
            let ended = grant("probe", on: xen)
            guard call <= xen.now.calls.count else { return }
            if SystemCall.Number(rawValue: xen.now.calls[call - 1]) != .write {
                #expect(ended.output.contains("evtchn"), "call \(call)")
            }
            if SystemCall.Number(rawValue: xen.now.calls[call - 1]) != .close {
                #expect(xen.now.left == [], "call \(call)")
            }
        }
    }
}
