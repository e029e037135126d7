import Foundation
import Testing

@testable import Mini

private func page(_ name: String) throws -> String {
    try projectText("docs/\(name)")
}

private let runUsage = "run [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]"
private let grantUsage =
    "grant NAME DOMAIN REFERENCES [write] [hold] [to=FILE] [from=FILE] [offset=N] [length=N] [notify-byte=N] [notify-port=PORT] [deadline=TIME]"

@Suite struct BootTableReaderTests: BootTableReading {
    // MARK: Words

    @Test("blanks part words, quotation marks keep them, # begins a comment only at a word")
    func words() {
        #expect(
            requests("run a  b\t'c  d' \"e # f\" g#h i'j k'l \"it's\" '' # run x\r\n")
                == [.program(["a", "b", "c  d", "e # f", "g#h", "ij kl", "it's", ""], .run)])
        #expect(requests("# all\n   # of\n\nrun x#\n") == [.program(["x#"], .run)])
    }

    @Test("a byte order mark in front is passed over; what only looks like a blank is told")
    func foreignCharacters() {
        #expect(requests("\u{FEFF}run x\r\n") == [.program(["x"], .run)])
        #expect(requests("run 'a\u{A0}b'") == [.program(["a\u{A0}b"], .run)])
        let words =
            "an invisible Unicode character is here, as a no-break space or a byte order mark"
        #expect(
            errors("run\u{A0}x") == ["t:1:4: \(words)"])
        #expect(errors("run x\n\u{200B}run y") == ["t:2:1: \(words)"])
        #expect(errors("run x\n\u{FEFF}run y") == ["t:2:1: \(words)"])
        // Ranges, their first and last, and what is beside them.
        for range: ClosedRange<UInt32> in [
            0x80...0xA0, 0xAD...0xAD, 0x34F...0x34F, 0x61C...0x61C, 0x115F...0x1160,
            0x1680...0x1680, 0x17B4...0x17B5, 0x180B...0x180F, 0x2000...0x200F, 0x2028...0x202F,
            0x205F...0x206F, 0x2800...0x2800, 0x3000...0x3000, 0x3164...0x3164, 0xFE00...0xFE0F,
            0xFEFF...0xFEFF, 0xFFA0...0xFFA0, 0xFFF0...0xFFFB, 0x1BCA0...0x1BCA3,
            0x1D173...0x1D17A, 0xE0000...0xE0FFF,
        ] {
            for (code, isSeen) in [
                (range.lowerBound, false), (range.upperBound, false),
                (range.lowerBound - 1, true), (range.upperBound + 1, true),
            ] where code > 0x7F {
                let word = "/x" + String(Unicode.Scalar(code).map { Character($0) } ?? "?")
                #expect(
                    errors("run \(word)\nrun '\(word)'  # \(word)")
                        == (isSeen ? [] : ["t:1:7: \(words)"]), "\(String(code, radix: 16))")
            }
        }
        // Another encoding is another thing.
        var latin = BootTableReader(programs)
        latin.read(file: Text(bytes: Array("run ".utf8) + [0xC2, 0x20, 0xE2, 0x80]), name: "t")
        #expect(latin.errors == [])
        var reader = BootTableReader(programs)
        reader.read(file: Text(bytes: [0xFF, 0xFE] + Array("r\0u\0n\0".utf8)), name: "t")
        #expect(
            reader.errors.map { string($0.text) }
                == ["t:1:1: this is text of another encoding (UTF-16?): a table is UTF-8"])
    }

    @Test("a line of fstab is a mount, its last two columns are passed over")
    func fstab() {
        var request = MountRequest(source: "UUID=1-2", target: "/b", type: "ext4")
        request.flags = [.noAccessTimes]
        #expect(requests("mount UUID=1-2 /b ext4 defaults,noatime 0 2") == [.mount(request)])
        #expect(errors("mount a /b ext4 ro 0 2 3").count == 1)
        // Bytes that cannot stand there as they are.
        let escaped = MountRequest(source: "LABEL=a b\t", target: "/m\\040\n\\03", type: "ext4")
        #expect(
            requests(#"mount LABEL=a\040b\011 /m\134040\012\03 ext4"#) == [.mount(escaped)])
    }

    @Test("the kernel's command line is cut as the kernel cuts it")
    func commandLine() {
        let line =
            #"quiet mini.run="a 'b  c' d" "mini.start=e f" mini.set=/x="y z" root=/dev/a mini.wait"#
            + "\n"
        #expect(
            read("", line).table.statements.map { $0.request } == [
                .program(["a", "b  c", "d"], .run), .program(["e", "f"], .start),
                // What is behind the first equals sign are the words.
                .set(file: "/x=y", value: "z"),
            ])
        #expect(
            errors("", line) == [
                "/proc/cmdline:1:76: what to wait for is missing; usage: wait file FILE | socket FILE | store PATH [value=V] | event DOMAIN PORT | line PIPE TEXT [deadline=TIME]"
            ])
        #expect(requests("", "mini.run=\"a b") == [.program(["a", "b"], .run)])
        #expect(requests("run x", "xmini.run=a minix.run=b mini=c -- mini.run=d").count == 2)
    }

    @Test(
        "backslashes that a boot loader has put before quotation marks are taken off, others stay")
    func escapes() {
        // As GRUB hands on mini.run="a 'b  c' \d" and mini.start='e "f  g"'.
        let line =
            #"BOOT_IMAGE=/k "mini.run=a \'b  c\' \\d" "mini.start=e \"f  g\"" mini.table=/\\x"#
        #expect(
            requests("", line + "\n") == [
                .program(["a", "b  c", #"\d"#], .run), .program(["e", "f  g"], .start),
            ])
        #expect(
            BootTableReader.file(on: Text(bytes: Array(line.utf8))).map { string($0) } == #"/\x"#)
        #expect(
            errors("", #"a="\'" "mini.run=\'x"#)
                == ["/proc/cmdline:1:19: this quotation mark is not closed"])
        // Not each quotation mark has one, a backslash is before something else, or shows nothing.
        for (other, word) in [
            (#"mini.run="a '\\x\'" b"#, #"\\x\"#), (#"mini.run=a\"\n\""#, #"\\n\"#),
            (#"mini.run="a b\\c""#, #"b\\c"#), (#"mini.run="a b\"#, #"b\"#),
        ] {
            guard case .program(let found, _, _)? = requests("", other).first else {
                Issue.record("\(other) starts nothing")
                continue
            }
            #expect(found.contains { string($0).hasSuffix(word) }, "\(other)")
        }
    }

    @Test("positions are lines and columns of bytes, in both sources")
    func positions() {
        let reader = read("\n  try  run x # y\nrun ü z\n", "a mini.run=x")
        let places = reader.table.statements.map { string($0.position.text) }
        #expect(places == ["t:2:8", "t:3:1", "/proc/cmdline:1:3"])
        #expect(reader.table.statements[1].words.map { $0.column } == [1, 5, 8])
        #expect(
            errors("run a\n\twait  fill x") == [
                "t:2:8: \"fill\" is not file, socket, store, event or line"
            ])
    }

    @Test("the file's statements come first; the command line's settings count")
    func sources() {
        let reader = read(
            "on-error halt\nrun file\nat-end reboot\ngrace 250ms",
            "mini.on-error=poweroff mini.run=line mini.verbose")
        #expect(reader.table.statements.map { $0.words[1].text } == ["file", "line"])
        #expect(
            reader.table.settings
                == BootSettings(
                    onError: .end(.powerOff), atEnd: .reboot, grace: .milliseconds(250),
                    isVerbose: true))
        #expect(BootTableReader.file(on: "a mini.table=/x \"mini.table=/y z\" b") == "/y z")
        #expect(BootTableReader.file(on: "mini.tables=/x mini.table=") == nil)
        #expect(requests("run a", "mini.table=/x").count == 1)
        #expect(
            errors("run a", "mini.table=/x/../y") == [
                "/proc/cmdline:1:12: \"/x/../y\" is not a file's name without .. in it"
            ])
    }

    // MARK: Statements

    @Test("each statement with all that it can have")
    func statements() {
        #expect(
            requests("notify 3 @p") == [
                .notify(domain: .value(DomainID(3)!), port: .entry("p"))
            ])
        #expect(
            requests("load /m.ko a=1 'b=2 3'\nset /x y  z\ntry load /m") == [
                .load(file: "/m.ko", parameters: "a=1 b=2 3"), .set(file: "/x", value: "y z"),
                .load(file: "/m", parameters: ""),
            ])
        #expect(read("try run x").table.statements[0].isTried)
        #expect(
            requests("mount s /t ext4 ro,nosuid,nodev,noexec,noatime,sync,data=journal,x")
                == [
                    .mount(
                        MountRequest(
                            source: "s", target: "/t", type: "ext4",
                            flags: [
                                .readOnly, .noSetUserID, .noDevices, .noExecution, .noAccessTimes,
                                .synchronous,
                            ], data: "data=journal,x"))
                ])
        #expect(
            requests("mount s /t none bind,rw,defaults\nmount s /t none move,remount").map {
                if case .mount(let request) = $0 { request.flags.rawValue } else { 0 }
            } == [4096, 8192 + 32])
        #expect(
            requests("mount s /t x nosymfollow,iversion\nmount s /t x iversion,noiversion").map {
                if case .mount(let request) = $0, request.data.bytes.isEmpty {
                    request.flags.rawValue
                } else {
                    0
                }
            } == [1 << 23 | 256, 0])
        #expect(
            requests("run a b\nstart a\nrespawn a\nshell\nshell a b\nlaunch 8 /k x y") == [
                .program(["a", "b"], .run), .program(["a"], .start), .program(["a"], .respawn),
                .program([], .interactive), .program(["a", "b"], .interactive),
                .program(["mini-launch", "8", "/k", "x", "y"], .run),
            ])
        #expect(requests("exit") == [.exit(nil)])
        #expect(requests("exit 255") == [.exit(255)])
        #expect(requests("exec a b") == [.replace(["a", "b"], root: nil)])
        #expect(requests("switch-root /r a b") == [.replace(["a", "b"], root: "/r")])
    }

    @Test("grants and waiting with all that they can have")
    func domains() {
        #expect(
            requests("grant n 3 8,12-15") == [
                .grant(
                    GrantRequest(
                        name: "n", domain: .value(DomainID(3)!),
                        references: .value(
                            [8, 12, 13, 14, 15].map { GrantReference(rawValue: $0) })))
            ])
        #expect(
            requests(
                "grant n @a/b @c write hold to=/o from=/i offset=0x10 length=32 notify-byte=0 notify-port=7 deadline=3"
            ) == [
                .grant(
                    GrantRequest(
                        name: "n", domain: .entry("a/b"), references: .entry("c"),
                        isWritable: true, isHeld: true,
                        output: "/o", input: "/i", offset: 16, length: 32, notifiedByte: 0,
                        notifiedPort: .value(EventPort(7)!), patience: .milliseconds(3000)))
            ])
        #expect(
            requests(
                "wait file /x\nwait store a/b deadline=250ms\nwait store a value=v\nwait event 3 @p deadline=4s"
            ) == [
                .wait(WaitRequest(kind: .file, subject: "/x")),
                .wait(
                    WaitRequest(kind: .store, subject: "a/b", patience: .milliseconds(250))),
                .wait(WaitRequest(kind: .store, subject: "a", detail: "v")),
                .wait(
                    WaitRequest(
                        kind: .event(.value(DomainID(3)!), .entry("p")), subject: "",
                        patience: .milliseconds(4000))),
            ])
        #expect(
            requests(
                "start >pipe:p a\nwait line p 'x y' deadline=2s\nwait socket /s\nwait socket /s deadline=3s"
            ).dropFirst() == [
                .waitLine(LineRequest(pipe: "p", text: "x y", patience: .milliseconds(2000))),
                .waitSocket("/s", patience: .milliseconds(10_000)),
                .waitSocket("/s", patience: .milliseconds(3000)),
            ])
    }

    // MARK: Errors

    @Test(
        "each error is told where it stands",
        arguments: [
            ("lod /x", "t:1:1: there is no statement \"lod\""),
            (" RUN x", "t:1:2: there is no statement \"RUN\""),
            ("try", "t:1:1: a statement is missing; usage: try STATEMENT"),
            ("try  verbose", "t:1:6: there is no statement \"verbose\""),
            ("load", "t:1:1: the module's file is missing; usage: load FILE [PARAMETER...]"),
            ("set /x", "t:1:1: the value is missing; usage: set FILE VALUE"),
            ("mount a /b c d e", "t:1:16: unexpected word \"e\""),
            (
                "run",
                "t:1:1: the program is missing; usage: \(runUsage)"
            ),
            ("run 'a b", "t:1:5: this quotation mark is not closed"),
            ("run a\u{1}b", "t:1:6: byte 0x01 must not be in a table"),
            ("run 'a\u{0}b'", "t:1:7: byte 0x00 must not be in a table"),
            ("on-error wat", "t:1:10: \"wat\" is not shell, poweroff, reboot or halt"),
            (
                "on-error",
                "t:1:1: a word is missing; usage: on-error shell | poweroff | reboot | halt"
            ),
            (
                "ctrl-alt-del shell",
                "t:1:14: \"shell\" is not poweroff, reboot, halt or ignore"
            ), ("at-end shell", "t:1:8: \"shell\" is not poweroff, reboot or halt"),
            ("at-end halt now", "t:1:13: unexpected word \"now\""),
            ("grace 5m", "t:1:7: \"5m\" is not a time: seconds, or milliseconds as 250ms"),
            (
                "grace 99999999999999999999",
                "t:1:7: \"99999999999999999999\" is not a time: seconds, or milliseconds as 250ms"
            ),
            ("verbose 1", "t:1:9: unexpected word \"1\""),
            ("table /x", "t:1:1: table belongs on the kernel's command line"),
            ("grant n 32752 8", "t:1:9: \"32752\" is not a domain: 0 to 32751, or @PATH"),
            ("grant n 3 8-", "t:1:11: \"8-\" is not a list of grants as 8,12-15, or @PATH"),
            ("grant n 3 9-8", "t:1:11: \"9-8\" is not a list of grants as 8,12-15, or @PATH"),
            ("grant n 3 8 wrte", "t:1:13: unknown option \"wrte\""),
            ("grant n 3 8 write=1", "t:1:13: unexpected word \"write=1\""),
            ("grant n 3 8 to=", "t:1:13: \"\" is not an option with a value"),
            (
                "grant n 3 8 length=x",
                "t:1:13: \"x\" is not a number from 0 to 2147483647, decimal or 0x"
            ),
            ("grant n 3 8 notify-port=0", "t:1:13: \"0\" is not an event port, or @PATH"),
            ("grant n 3 8 notify-byte=0", "t:1:1: hold is missing; usage: \(grantUsage)"),
            ("notify 3 0", "t:1:10: \"0\" is not an event port, or @PATH"),
            ("notify 3 1 2", "t:1:12: unexpected word \"2\""),
            ("wait file /x value=1", "t:1:14: unknown option \"value\""),
            ("wait socket /x value=1", "t:1:16: unknown option \"value\""),
            (
                "wait store /x deadline=soon",
                "t:1:15: \"soon\" is not a time: seconds, or milliseconds as 250ms"
            ),
            (
                "launch --memory 0x /k",
                "t:1:1: mini-launch: memory of \"0x\" is not a size: digits, then nothing, K, M or G"
            ),
            (
                "run mini-launch",
                "t:1:1: mini-launch: no kernel is named; --help tells how to use this"
            ),
            (
                "switch-root /r",
                "t:1:1: the program is missing; usage: switch-root FOLDER [NAME=VALUE...] PROGRAM [ARGUMENT...]"
            ),
            ("", "/proc/cmdline:1:1: the table has no statement"),
            ("verbose", "/proc/cmdline:1:1: the table has no statement"),
        ])
    func error(line: String, wanted: String) {
        #expect(errors(line + "\n") == [wanted])
    }

    @Test("all errors are told, and settings are found however the rest is")
    func several() {
        let reader = read("a\nrun x\nb\non-error reboot", "mini.c mini.at-end=halt")
        #expect(reader.errors.map { $0.position.line } == [1, 3, 1])
        #expect(reader.table.settings.onError == .end(.reboot))
        #expect(reader.table.settings.atEnd == .halt)
        #expect(errors(String(repeating: "x\n", count: 100)).count == 16)
    }

    @Test("what cannot be reached is an error, unless what is before it is only tried")
    func unreachable() {
        #expect(errors("exec a\nrun b") == ["t:2:1: nothing after exec is carried out"])
        #expect(
            errors("switch-root /r a", "mini.run=b")
                == ["/proc/cmdline:1:1: nothing after switch-root is carried out"])
        #expect(errors("exit 3\nrun b") == ["t:2:1: nothing after exit is carried out"])
        #expect(errors("if file /x\nexit\nend\nrun b") == [])
        #expect(errors("exit 256") == ["t:1:6: \"256\" is not a code from 0 to 255"])
        #expect(errors("exit 1 2") != [])
        #expect(errors("try exec a\nrun b") == [])
        // However much of it is looked up.
        let ending = StatementForm.all.filter { $0.traits.contains(.ends) }
        #expect(ending.count == 3)
        for form in ending {
            let name = "\(form.name)"
            let words = form.usage.text.description.contains("FOLDER") ? "/r @{a}" : "@{a}"
            let complaint = ["t:2:1: nothing after \(name) is carried out"]
            #expect(errors("\(name) \(words)\nrun b") == complaint)
            #expect(errors("try \(name) \(words)\nrun b") == [])
            let isLast = form.traits.contains(.succeeds)
            let known = words.replacing("@{a}", with: "3")
            #expect(errors("try \(name) \(known)\nrun b") == (isLast ? complaint : []))
        }
    }

    @Test("a table that is too long is not read")
    func tooLong() {
        let line = String(repeating: "x", count: BootTableReader.limit + 1)
        #expect(errors(line) == ["t:1:1: the table is longer than 65536 bytes"])
        #expect(
            errors("run a", "mini.run=b " + line)
                == ["/proc/cmdline:1:1: the table is longer than 65536 bytes"])
        // Beyond what a bootconfig of the kernel can add to it.
        let spaces = String(repeating: " ", count: 40000)
        #expect(requests("", "mini.run=b\(spaces)mini.run=c").count == 2)
    }

    @Test("random bytes are read or refused, in order, and never more than that")
    func random() {
        var generator = SplitMix(seed: 5)
        let pieces = [
            "run ", "grant ", "wait ", "mini.", "=", "'", "\"", " ", "\n", "#", "@", "8-", "try ",
            "store ", "deadline=", "\u{0}", "launch ", "ü",
        ]
        for _ in 0..<3000 {
            var text = ""
            for _ in 0..<Int.random(in: 0..<20, using: &generator) {
                text += pieces.randomElement(using: &generator)!
            }
            let reader = read(text, text)
            #expect(reader.errors.count <= 16)
            for statement in reader.table.statements { #expect(!statement.words.isEmpty) }
        }
    }

    // MARK: The page

    @Test("every example of the page is a table without an error")
    func examples() throws {
        let pages = try page("boot-table.md") + page("stub-domain.md")
        let blocks = pages.matches(of: #/```table\n([\s\S]*?)```/#)
        #expect(blocks.count >= 4)
        for block in blocks {
            #expect(errors(String(block.1)) == [], "\(block.1)")
        }
    }

    @Test("the page has every statement and setting, and the manual has them too")
    func complete() throws {
        let page = try page("boot-table.md")
        let manual = try self.manual()
        for form in StatementForm.all {
            let name = "\(form.name)"
            let usage = "\(form.usage.text)"
            #expect(page.contains("`\(name) ") || page.contains("`\(name)["), "\(name)")
            #expect(manual.contains("\n.BI \(name) \""), "\(name)")
            for match in usage.matches(of: #/\[([a-z-]+)=?/#) {
                // Where an option stands: the word alone stands in any text.
                let option = match.1
                let onPage = ["[\(option)", "`\(option)=", "`\(option)`"]
                let inManual = ["\\fP\(option)", "\n.B \(option)\n", "\n.BI \(option)= "]
                #expect(onPage.contains { page.contains($0) }, "\(option)")
                #expect(inManual.contains { manual.contains($0) }, "\(option)")
            }
        }
        for setting in BootTableReader.settings {
            let name = "\(setting.name)"
            #expect(page.contains("| `\(name)"), "\(name)")
            let isThere =
                manual.contains("\n.BI \(name) \"") || manual.contains("\n.B \(name)\n")
            #expect(isThere, "\(name)")
        }
    }

    private func manual() throws -> String {
        try page("mini-init.8").replacing("\\-", with: "-")
    }
}
