// What a boot table's check tells before anything is started: words that the kernel, the store or an applet would refuse.

import Testing

@testable import Mini

private let fileName =
    "a file's name that the kernel takes: some bytes, 255 between slashes and 4095 in all at most"
private let storePath =
    "a path in the store: names of letters, digits, -, _ and @ with a / between them"
private let loop = "an option here: mini-init sets up no loop devices"
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

@Suite struct BootTableRefusalTests: BootTableReading {
    @Test(
        "options of a mount that the kernel would cut short are refused, not those that mean nothing to it"
    )
    func longOptions() {
        let data = String(repeating: "a", count: 4095)
        #expect(errors("mount s /m tmpfs ro,\(data),nofail") == [])
        #expect(errors("mount s /m tmpfs \(data)b,noauto") == [])
        #expect(
            errors("mount s /m tmpfs ro,\(data)b") == [
                "t:1:18: options of 4096 bytes for the file system: the kernel takes 4095"
            ])
    }

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
            (
                "mount -t tmpfs none /mnt", 7,
                "the source is missing; usage: mount SOURCE FOLDER TYPE [OPTION,...]"
            ),
            ("mount none tmpfs /mnt", 18, "\"/mnt\" is not a type of file system"),
            ("mount /dev/sda1 none swap sw 0 0", 22, "\"swap\" is not a type of file system"),
            ("mount @{s} none swap", 17, "\"swap\" is not a type of file system"),
            ("mount /x.img /m ext4 ro,loop", 22, "\"loop\" is not \(loop)"),
            ("try mount /x /m ext4 loop=/dev/loop0", 22, "\"loop=/dev/loop0\" is not \(loop)"),
            ("mount @{x} /m ext4 offset=512", 20, "\"offset=512\" is not \(loop)"),
            ("mount /x /m auto sizelimit=9,nofail", 18, "\"sizelimit=9\" is not \(loop)"),
            ("run /", 5, "\"/\" is not a program: it is a folder"),
            ("exec A=1 /bin/", 10, "\"/bin/\" is not a program: it is a folder"),
            ("switch-root /a .", 16, "\".\" is not a program: it is a folder"),
            ("shell /bin/. x", 7, "\"/bin/.\" is not a program: it is a folder"),
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
            ("link e up up", 11, "option up is used twice"),
            ("link e mac=02:00:00:00:00:01 mac=02:00:00:00:00:01", 30, "option mac is used twice"),
            ("route default via=10.0.0.2 via=10.0.0.3", 28, "option via is used twice"),
            ("wait file /x deadline=1 deadline=1", 25, "option deadline is used twice"),
            ("wait store a value=address value=b", 28, "option value is used twice"),
            ("send /s m expect=a deadline=1 expect=b", 31, "option expect is used twice"),
            ("grant n 3 8 to=/a from=/b to=/c", 27, "option to is used twice"),
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
                "mini-grant: mode of \"3\" is not n, r, w or b with the number of a domain"
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
            "mount PARTUUID=@{p} /mnt ext4", "mount /x /m ext4 loop,noauto",
            "mount none / none rshared", "mount /a /b none loops",
            "wait file UUID=12AB-cd", "wait file LABEL=a", "wait file PARTLABEL=a",
            "wait file /dev/UUID=", "mount LABEL=@{l} /mnt ext4",
            "mount none /mnt tmpfs", "route 10.0.0.0/8 via=10.0.0.1", "route 10.2.0.0/15 dev=e",
            "route fd00::/8 via=fe80::1", "route 0.0.0.0/0 dev=e",
            "link e mac=fe:ff:ff:ff:ff:ff", "wait store /a/b", "wait store a", "switch-root /a /x",
            "run /a/..b", "run /bin/a b/../c", "run <socket:/a..b c", "mount a..b /m nfs",
            "mount - /m proc", "run ./x", "run /bin/a /", "run @{d}/",
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
}
