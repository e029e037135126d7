// `mini-grant map` as a whole: what it prints and fills, what it holds, what it hands over to a program.

import Foundation
import Testing

@testable import Mini

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

    @Test("a deadline may have a fraction of a second")
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

    @Test("what is mapped goes to a file, which is emptied before")
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

    @Test("a program that is not there is told, and nothing stays mapped")
    func missing() throws {
        let xen = try threePages()
        #expect(
            grant("map --domain 3 --ref 17 --exec /bin/none", on: xen).errors
                == "mini-grant: cannot run \"/bin/none\": no such file (ENOENT)\n")
        #expect(xen.now.left == [])
    }
}
