import Foundation
import Testing

@testable import Mini

/// The applets as the real thing has them, but nothing runs.
private var programs: InnerPrograms {
    InnerPrograms(run: { _ in nil }, complaint: { InitCommand.programs.complaint($0) })
}

private func read(_ file: String, _ commandLine: String = "") -> BootTableReader {
    var reader = BootTableReader(programs)
    reader.read(file: Text(bytes: Array(file.utf8)), name: "t")
    reader.read(commandLine: Text(bytes: Array(commandLine.utf8)))
    reader.finish()
    return reader
}

private func requests(_ file: String, _ commandLine: String = "") -> [BootRequest] {
    let reader = read(file, commandLine)
    #expect(reader.errors == [])
    return reader.table.statements.map { $0.request }
}

private func errors(_ file: String, _ commandLine: String = "") -> [String] {
    read(file, commandLine).errors.map { string($0.text) }
}

/// The only error's words behind `t:1:COLUMN: `.
private func error(_ line: String) -> String {
    let all = errors(line)
    return all.count == 1 ? all[0] : "\(all.count) errors: \(all)"
}

private func page(_ name: String) throws -> String {
    try projectText("docs/\(name)")
}

private let fileName =
    "a file's name that the kernel takes: some bytes, 255 between slashes and 4095 in all at most"
private let storePath =
    "a path in the store: names of letters, digits, -, _ and @ with a / between them"
private let noParents = "a path without .. in it"
private let tag = """
    a name that is looked for: UUID= with hexadecimal digits, LABEL= or PARTLABEL= with a label, \
    PARTUUID= with 8-4-4-4-12 or 8-2 hexadecimal digits
    """
private let long36 = "12345678-9abc-DEF0-1234-56789abcdef0"
private let station = "the Ethernet address of one station"
private let long = "/" + String(repeating: "a", count: 256)
private let deep = String(repeating: "/a", count: 2048)
private let deepSocket = "/" + String(repeating: "s", count: 106)
private let socketName = "a socket's name: at most 107 bytes"
private let before = "0, 1, 2 or a descriptor that stands before it"
private let disks = String(repeating: "--block d ", count: 16)

private let runUsage = "run [NAME=VALUE...] [DESCRIPTOR...] PROGRAM [ARGUMENT...]"
private let grantUsage =
    "grant NAME DOMAIN REFERENCES [write] [hold] [to=FILE] [from=FILE] [offset=N] [length=N] [notify-byte=N] [notify-port=PORT] [deadline=TIME]"

@Suite struct BootTableReaderTests {
    @Test(
        "what the kernel, the store or an applet would refuse in any case is told before anything is started",
        arguments: [
            ("run \"\"", 5, "\"\" is not \(fileName)"),
            ("exec ''", 6, "\"\" is not \(fileName)"),
            ("shell \"\" x", 7, "\"\" is not \(fileName)"),
            ("load ''", 6, "\"\" is not \(fileName)"),
            ("wait file \(long)", 11, "\"\(long)\" is not \(fileName)"),
            ("set \(deep) 1", 5, "\"\(deep)\" is not \(fileName)"),
            ("grant a 0 8 to=\(long)", 13, "\"\(long)\" is not \(fileName)"),
            ("mount '' /mnt ext4", 7, "\"\" is not a word with something in it"),
            ("mount none /mnt ''", 17, "\"\" is not a word with something in it"),
            ("mount UUID= /mnt ext4", 7, "\"UUID=\" is not \(tag)"),
            ("mount UUID=12-zz /mnt ext4", 7, "\"UUID=12-zz\" is not \(tag)"),
            ("mount LABEL= /mnt ext4", 7, "\"LABEL=\" is not \(tag)"),
            ("mount PARTUUID=1-2 /mnt ext4", 7, "\"PARTUUID=1-2\" is not \(tag)"),
            ("mount PARTUUID= /mnt ext4", 7, "\"PARTUUID=\" is not \(tag)"),
            ("mount PARTUUID=\(long36)0 /m ext4", 7, "\"PARTUUID=\(long36)0\" is not \(tag)"),
            (
                "try mount PARTUUID=12345678-0g /m vfat", 11,
                "\"PARTUUID=12345678-0g\" is not \(tag)"
            ),
            (
                "mount PARTUUID=12345678a9abc-def0-1234-56789abcdef0 /m ext4", 7,
                "\"PARTUUID=12345678a9abc-def0-1234-56789abcdef0\" is not \(tag)"
            ),
            ("mount UUID=x /mnt ext4 noauto", 7, "\"UUID=x\" is not \(tag)"),
            ("mount PARTUUID=1 /mnt ext4 noauto 0 0", 7, "\"PARTUUID=1\" is not \(tag)"),
            ("mount ID=a /mnt ext4 ro,nofail", 7, "\"ID=a\" is not \(tag)"),
            ("wait file PARTUUID=1-2", 11, "\"PARTUUID=1-2\" is not \(tag)"),
            ("wait file UUID=", 11, "\"UUID=\" is not \(tag)"),
            ("wait file UUID=x", 11, "\"UUID=x\" is not \(tag)"),
            ("wait file PARTLABEL=", 11, "\"PARTLABEL=\" is not \(tag)"),
            ("wait socket \(deepSocket)x", 13, "\"\(deepSocket)x\" is not \(socketName)"),
            ("send \(deepSocket)x hello", 6, "\"\(deepSocket)x\" is not \(socketName)"),
            ("send /s <socket:\(deepSocket)x m", 9, "\"\(deepSocket)x\" is not \(socketName)"),
            ("run 3<>socket:\(deepSocket)x p", 5, "\"\(deepSocket)x\" is not \(socketName)"),
            ("run 4<&3 p", 5, "\"3\" is not \(before)"),
            ("run 4<&3 3</f p", 5, "\"3\" is not \(before)"),
            ("run 3</f >&4 p", 10, "\"4\" is not \(before)"),
            ("run 3<&3 p", 5, "\"3\" is not \(before)"),
            ("wait store /a//b", 12, "\"/a//b\" is not \(storePath)"),
            ("if exists a/\nend", 11, "\"a/\" is not \(storePath)"),
            ("if store '' = x\nend", 10, "\"\" is not \(storePath)"),
            ("link e mac=01:00:5e:00:00:01", 8, "\"01:00:5e:00:00:01\" is not \(station)"),
            ("link e mac=00:00:00:00:00:00", 8, "\"00:00:00:00:00:00\" is not \(station)"),
            (
                "link e up down", 11,
                "\"down\" is not what goes with up or down that stands before it"
            ),
            (
                "route 10.0.0.1/24 dev=e", 7,
                "\"10.0.0.1/24\" is not a network: bits behind its prefix are not zero"
            ),
            (
                "route 10.0.0.0/8 via=fd00::1", 18,
                "\"fd00::1\" is not an address of the network's kind"
            ),
            ("grant n 3 8,9,8", 1, "grant reference 8 is named twice"),
            ("grant n 3 8 length=0", 13, "\"0\" is not a length: at least one byte"),
            ("grant n 3 @r length=0", 14, "\"0\" is not a length: at least one byte"),
            (
                "grant n 3 8 offset=4096", 1,
                "the pages have 4096 bytes: there are not 1 at offset 4096"
            ),
            (
                "grant n 3 8,9 offset=8000 length=193", 1,
                "the pages have 8192 bytes: there are not 193 at offset 8000"
            ),
            (
                "grant n 3 8 hold notify-byte=4096", 1,
                "the pages have 4096 bytes: there is no notify-byte 4096"
            ),
            ("switch-root / /x", 13, "\"/\" is not a new root: it is the one that there is"),
            (
                "launch --memory 1 /k", 1,
                "mini-launch: memory of 1 MiB is too small: a guest needs at least 2 MiB"
            ),
            (
                "launch 99999 /k", 1,
                "mini-launch: memory of 99999 MiB is too large: a guest can have at most 64512 MiB"
            ),
            (
                "run mini-launch \(disks) /k", 1,
                "mini-launch: 16 devices are too many: a guest can have 15 beside its console"
            ),
            (
                "run mini-grant share3", 1,
                "mini-grant: there is no subcommand \"share3\"; --help lists them"
            ),
            (
                "run mini-grant --verison", 1,
                "mini-grant: unknown option \"--verison\"; --help lists them"
            ),
            ("run mini-grant map --ref 8", 1, "mini-grant: option --domain is missing"),
            ("try run mini-grant map --domain 3", 5, "mini-grant: option --ref is missing"),
            (
                "run mini-grant map --domian 3 --ref 8", 1,
                "mini-grant: unknown option \"--domian\"; --domain may be meant, --help lists them"
            ),
            (
                "start mini-grant map --domain 3 --ref 8 --offset 4096", 1,
                "mini-grant: --offset of \"4096\" lies outside the pages: they have 4096 bytes"
            ),
            (
                "run mini-grant map --domain 3 --ref 8,8", 1,
                "mini-grant: grant reference 8 is named twice"
            ),
            (
                "run mini-grant map --domain 3 --ref 8 --exec", 1,
                "mini-grant: option --exec needs an argument"
            ),
            (
                "run mini-grant map --domain x --ref @data/r", 1,
                "mini-grant: --domain of \"x\" is no domain: 0 to 32751"
            ),
            (
                "run mini-grant copy --domain 3 --ref 8 --in a --out b", 1,
                "mini-grant: --out does not go with --in"
            ),
            ("vital mini-grant share --domain 3", 1, "mini-grant: option --hold is missing"),
            (
                "start mini-grant share --domain 3 --hold --publish /", 1,
                "mini-grant: \"/\" is the whole store: name an entry in it"
            ),
            ("run mini-grant probe x", 1, "mini-grant: unexpected word \"x\""),
            (
                "start mini-grant pipe --domain 3 --path a", 1,
                "mini-grant: option --server or --client is missing"
            ),
            (
                "respawn mini-grant pipe --server --domain 3", 1,
                "mini-grant: option --path is missing"
            ),
            (
                "start mini-grant pipe --client --domain @d --path a --listen", 1,
                "mini-grant: option --socket is missing"
            ),
            ("run mini-grant event notify --domain 3", 1, "mini-grant: option --port is missing"),
            (
                "run mini-grant event wait --domain 3 --port x", 1,
                "mini-grant: --port of \"x\" is no event port"
            ),
            (
                "run mini-grant store write /a 1 /b", 1,
                "mini-grant: store set needs a VALUE for each PATH"
            ),
            (
                "run mini-grant store rm /a --and wait /b", 1,
                "mini-grant: watch and wait do not go with --and"
            ),
            (
                #"run mini-grant store set /a 1 /b q\"#, 1,
                #"mini-grant: value "q\" ends with a \ that stands for nothing: write \\"#
            ),
            (
                #"run mini-grant store wait --value q\ /a"#, 1,
                #"mini-grant: value "q\" ends with a \ that stands for nothing: write \\"#
            ),
            ("run mini-grant store wait /a /b", 1, "mini-grant: unexpected word \"/b\""),
            ("run mini-grant store wait /a//b", 1, "mini-grant: \"/a//b\" has an empty name in it"),
            ("run mini-grant store watch a/", 1, "mini-grant: \"a/\" has an empty name in it"),
            (
                "run mini-grant store chmod /a n0 3", 1,
                "mini-grant: the modes are not n, r, w or b with the number of a domain"
            ),
            (
                "run mini-pack /a", 1,
                "mini-pack: nothing to pack is named; --help tells how to use this"
            ),
        ] as [(String, Int, String)])
    func refusedLater(_ line: String, _ column: Int, _ words: String) {
        #expect(errors(line) == ["t:1:\(column): \(words)"])
    }

    @Test(
        "no path of the table leads upwards, whichever word it is in",
        arguments: [
            ("run /bin/../x", 5, "/bin/../x"), ("start ../x", 7, "../x"),
            ("respawn /..", 9, "/.."), ("vital ..", 7, ".."), ("shell /a/../sh", 7, "/a/../sh"),
            ("exec /a/../b c", 6, "/a/../b"), ("switch-root /r /../init", 16, "/../init"),
            ("load /m/../x.ko", 6, "/m/../x.ko"), ("mount /dev/../x /m ext4", 7, "/dev/../x"),
            ("mount none /m/.. tmpfs", 12, "/m/.."), ("run </a/../b c", 5, "/a/../b"),
            ("run 3>>../b c", 5, "../b"), ("run 3<socket:../b c", 5, "../b"),
            ("run >console:.. c", 5, ".."), ("send ../s hello", 6, "../s"),
            ("send /s <../f hello", 9, "../f"), ("wait socket /a/../s", 13, "/a/../s"),
            ("run <vchan:server:0:../v c", 5, "../v"), ("wait store data/../x", 12, "data/../x"),
            ("if store ../x = 1\nend", 10, "../x"), ("notify @../d 3", 8, "../d"),
            ("notify 3 @p/..", 10, "p/.."), ("grant n @/a/../b 8", 9, "/a/../b"),
            ("grant n 3 @../r", 11, "../r"),
            ("grant n 3 8 hold notify-port=@../p", 18, "../p"),
            ("wait event @../d 3", 12, "../d"), ("grant n 3 8 from=../f", 13, "../f"),
        ] as [(String, Int, String)])
    func upwards(_ line: String, _ column: Int, _ path: String) {
        #expect(errors(line) == ["t:1:\(column): \"\(path)\" is not \(noParents)"])
    }

    @Test(
        "a path that no store takes is told, whichever word it is in",
        arguments: [
            ("wait store 'a b'", 12, "a b"), ("wait store data/x.y", 12, "data/x.y"),
            ("if exists 'data/ x'\nend", 11, "data/ x"), ("if store a,b = 1\nend", 10, "a,b"),
            ("run 'x@{data/a b}'", 5, "data/a b"), ("run '<vchan:client:0:a b' c", 5, "a b"),
            ("run \"x@{data/a b}\"", 5, "data/a b"), ("run @{a+b/*}", 5, "a+b"),
            ("run \"@{a/@{b c}}\"", 5, "b c"), ("notify '@a b' 3", 8, "a b"),
            ("notify 3 @a:b", 10, "a:b"), ("grant n '@a b' 8", 9, "a b"),
            ("grant n 3 '@a b'", 11, "a b"), ("grant n 3 @", 11, ""),
            ("grant n 3 8 hold 'notify-port=@a b'", 18, "a b"),
            ("wait event @ü 3", 12, "ü"), ("run <vchan:client:0:a//b c", 5, "a//b"),
        ] as [(String, Int, String)])
    func noStoreTakes(_ line: String, _ column: Int, _ path: String) {
        // A lookup in single quotation marks is none.
        if line == "run 'x@{data/a b}'" { return #expect(errors(line) == []) }
        #expect(errors(line) == ["t:1:\(column): \"\(path)\" is not \(storePath)"])
    }

    @Test("files of a guest that a table starts are looked at as well")
    func guestFiles() {
        for path in ["../k", "--initrd /a/../i k", "--block /d/../d,ro k", "--sharenet ../n k"] {
            for start in ["launch ", "run mini-launch "] {
                let said = errors(start + path)
                #expect(said.count == 1, "\(path)")
                #expect(said.allSatisfy { $0.hasSuffix("is not \(noParents)") }, "\(said)")
            }
        }
        for words in ["''", long, "--initrd '' k", "--block \(long),ro k", "--timeline \(long) k"] {
            let said = errors("launch " + words)
            #expect(said.count == 1, "\(words)")
            #expect(said.allSatisfy { $0.hasPrefix("t:1:1: mini-launch: ") }, "\(said)")
            if words != "''" { #expect(said.allSatisfy { $0.hasSuffix("is not \(fileName)") }) }
        }
        let character =
            "has a character in it that no store takes: names are letters, digits, -, _ and @"
        for word in ["'@a b'", "grant:0:'@a b'", "grant:'@a b':8"] {
            #expect(
                errors("launch \(word)")
                    == ["t:1:1: mini-launch: \"a b\" \(character)"])
        }
        #expect(errors("launch @data/kernel") == [])
        #expect(errors("launch --initrd grant:@d/d:@data/i..x k").count == 1)
    }

    @Test("what only looks like it is taken")
    func takenAll() {
        for line in [
            "run /\(String(repeating: "a", count: 255))", "mount UUID=0000-0000 /mnt ext4",
            "mount PARTLABEL=a /mnt ext4", "mount ID=a /mnt ext4 noauto 0 0",
            "mount PARTUUID=\(long36) /mnt ext4", "wait file PARTUUID=12aB34cd-0F",
            "mount PARTUUID=@{p} /mnt ext4",
            "wait file UUID=12AB-cd", "wait file LABEL=a", "wait file PARTLABEL=a",
            "wait file /dev/UUID=", "mount LABEL=@{l} /mnt ext4",
            "mount none /mnt tmpfs", "route 10.0.0.0/8 via=10.0.0.1", "route 10.2.0.0/15 dev=e",
            "route fd00::/8 via=fe80::1", "route 0.0.0.0/0 dev=e", "link e up up",
            "link e mac=fe:ff:ff:ff:ff:ff", "wait store /a/b", "wait store a", "switch-root /a /x",
            "run /a/..b", "run /bin/a b/../c", "run <socket:/a..b c", "mount a..b /m nfs",
            "wait store @releaseDomain", "wait store a-b/c_d@e/0", "grant n @a @b/c",
            "wait socket \(deepSocket)", "send \(deepSocket) m",
            "run 3<>socket:\(deepSocket) 4<&3 5>&0 p",
            "grant n 3 8,9 offset=8000 length=192 hold notify-byte=8191",
            "grant n 3 @r offset=4096", "grant n 3 8 offset=4095 length=@{l}",
            "grant n 3 8 offset=@{o} length=4096",
            "run mini-grant store get .",
            "launch 2 /k", "run mini-grant store wait a", "run mini-grant -V",
            "run mini-grant map --version", "run mini-grant map --ref 8 --help",
            "run mini-grant store get --version", "run mini-grant event -h",
            "start mini-grant map --domain 3 --ref 8 --exec /bin/x --domian",
            "run mini-grant map --domain @d --ref 8,8", "run mini-grant map --domain @{d} --ref 8",
            "run mini-grant map --domian @{d} --ref 8", "run mini-grant copy --domain 3 --ref @r",
            "vital mini-grant share --domain 3 --hold --pages 2 --publish data/s",
            "run mini-grant probe --json", "run mini-grant event wait --domain 3 --port @data/p",
            "run mini-grant event bind --domain @d --publish data/p",
            "start mini-grant pipe --server --domain 0 --path data/qmp --socket /tmp/qmp",
            "run mini-grant store set data/state taken", "run mini-grant store rm /a --and rm /b",
            #"run mini-grant store set --raw /a q\"#, #"run mini-grant store set /a @{v}\"#,
            #"run mini-grant store wait --raw --value q\ /a"#, "run mini-grant store chmod /a",
            "run mini-grant store chmod /a n0 r3", "run mini-grant store chmod /a @{m}",
            "run mini-grant store watch @releaseDomain .", "run mini-grant store wait ./a",
            "run mini-pack /a /b", "run /bin/mini-grant map --ref 8",
        ] {
            #expect(errors(line) == [], "\(line)")
        }
    }

    @Test("a table without a statement is told where its last source begins")
    func nothing() {
        var reader = BootTableReader(programs)
        reader.read(file: "# none\n", name: "/t")
        reader.finish()
        #expect(reader.errors.map { string($0.text) } == ["/t:1:1: the table has no statement"])
    }

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
            for option in usage.matches(of: #/\[([a-z-]+)=?/#) {
                #expect(page.contains(String(option.1)), "\(option.1)")
                #expect(manual.contains(String(option.1)), "\(option.1)")
            }
        }
        for setting in BootTableReader.settings {
            let name = "\(setting.name)"
            #expect(page.contains("| `\(name)"), "\(name)")
            #expect(manual.contains(name), "\(name)")
        }
    }

    private func manual() throws -> String {
        try page("mini-init.8").replacing("\\-", with: "-")
    }
}
