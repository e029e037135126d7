// `mini-grant store` as a whole, on the model.

import Testing

@testable import Mini

private func xen(
    _ values: [String: String] = [:], _ change: (inout FakeXen.State) -> Void = { _ in }
) throws -> FakeXen {
    try FakeXen {
        $0.store = FakeStore.with(values)
        change(&$0)
    }
}

/// Runs one line in a store, and expects that nothing is left.
private func run(_ line: String, on xen: FakeXen) -> Ended {
    xen.change { ($0.output, $0.errors) = ([], []) }
    let ended = grant(line, on: xen)
    if !xen.now.failsHopelessly { #expect(xen.now.left == []) }
    return ended
}

@Suite struct GrantStoreTests {
    @Test("get prints values, bytes that do not print in a form that set takes back")
    func get() throws {
        let values = ["/a": "one", "/b": "x\n\0\u{7f}\\"]
        #expect(try run("store get /a /b", on: xen(values)) == done("one\nx\\n\\000\\x7f\\\\\n"))
        #expect(try run("store get --raw /b", on: xen(values)) == done("x\n\0\u{7f}\\"))
        #expect(
            try run("store get --paths /b /a", on: xen(values))
                == done("/b: x\\n\\000\\x7f\\\\\n/a: one\n"))
        #expect(
            try run("store get /a /c", on: xen(values))
                == failed(4, "cannot read \"/c\": no such entry (ENOENT)"))
    }

    @Test("relative paths are this domain's")
    func relative() throws {
        #expect(try run("store get domid", on: xen(["/local/domain/0/domid": "0"])) == done("0\n"))
    }

    @Test("set writes all entries or none")
    func set() throws {
        let good = try xen()
        #expect(run(#"store set --mode n0,r3 /a 1 /b/c \x00\n"#, on: good) == done(""))
        #expect(good.now.store!.entries["/a"] == .init(value: [49], permissions: ["n0", "r3"]))
        #expect(good.now.store!.entries["/b/c"]!.value == [0, 10])
        let raw = try xen()
        #expect(run(#"store set --raw /a \n"#, on: raw) == done(""))
        #expect(raw.now.store!.value("/a") == "\\n")
        for (line, error) in [
            ("/a 1 //b 2", "\"//b\" has an empty name in it"),
            (#"/a 1 /b q\"#, #"value "q\" ends with a \ that stands for nothing: write \\"#),
            ("/a 1 /b", "store set needs a VALUE for each PATH"),
            ("/a", "store set needs PATH VALUE..."),
        ] {
            let bad = try xen()
            #expect(run("store set \(line)", on: bad) == failed(2, error))
            #expect(bad.now.store!.entries.count == 1)
        }
    }

    @Test("list prints names, or a tree as xenstore-ls does")
    func list() throws {
        let values = ["/a/one": "1", "/a/two/deep": "2\n", "/b": ""]
        #expect(try run("store list /a", on: xen(values)) == done("one\ntwo\n"))
        #expect(try run("store list", on: xen(values)) == done("a\nb\n"))
        #expect(
            try run("store list --tree /a", on: xen(values))
                == done("one = \"1\"\ntwo = \"\"\n deep = \"2\\n\"\n"))
        #expect(
            try run("store list --full", on: xen(values))
                == done(
                    "/a = \"\"\n/a/one = \"1\"\n/a/two = \"\"\n/a/two/deep = \"2\\n\"\n/b = \"\"\n"
                ))
        #expect(try run("store list /a /b /a/two", on: xen(values)) == done("one\ntwo\ndeep\n"))
        #expect(
            try run("store ls /a/two /a", on: xen(values))
                == done("deep = \"2\\n\"\none = \"1\"\ntwo = \"\"\n deep = \"2\\n\"\n"))
        #expect(
            try run("store list /a /none", on: xen(values))
                == failed(4, "cannot list \"/none\": no such entry (ENOENT)"))
    }

    @Test("watch prints paths as they change, from the watch itself on")
    func watch() throws {
        let watched = try xen(["/a": "1"]) {
            $0.happenings = [
                .act { $0.store!.set("/a/b", [1]) }, .act { $0.store!.set("/a", nil) },
            ]
        }
        #expect(run("store watch --count 3 /a", on: watched) == done("/a\n/a/b\n/a\n"))
        let late = try xen()
        #expect(
            run("store watch --deadline 2 /a", on: late)
                == Ended(
                    code: 5, output: "/a\n", errors: "mini-grant: no more changes came in time\n"))
    }

    @Test("wait takes any value, one value, or that there is none")
    func wait() throws {
        let changes: [FakeXen.Happening] = [
            .act { $0.store!.set("/a", [49]) }, .act { $0.store!.set("/a", [50, 10]) },
            .act { $0.store!.set("/a", nil) },
        ]
        func waiting(_ line: String) throws -> Ended {
            run("store wait \(line)", on: try xen { $0.happenings = changes })
        }
        #expect(try waiting("/a") == done("1\n"))
        #expect(try waiting(#"--value 2\n /a"#) == done("2\\n\n"))
        #expect(try waiting("--gone /a") == done(""))
        #expect(try waiting("--value 3 --deadline 3 /a") == failed(5, "\"/a\" was not so in time"))
    }

    @Test("wait takes what it may not read for what is not there yet, and not for what is gone")
    func hiddenWait() throws {
        let published: FakeXen.Happening = .act {
            $0.store!.secrets = []
            $0.store!.set("/a/b", [56])
        }
        func waiting(_ line: String, _ happenings: [FakeXen.Happening]) throws -> Ended {
            run(
                "store wait \(line)",
                on: try xen {
                    $0.store!.secrets = ["/a/b"]
                    $0.happenings = happenings
                })
        }
        let refusal = "cannot read \"/a/b\": permission denied (EACCES)"
        #expect(try waiting("/a/b", [published]) == done("8\n"))
        #expect(
            try waiting("--deadline 3 /a/b", [])
                == failed(5, "\"/a/b\" was not so in time; \(refusal)"))
        #expect(
            try waiting("--value 9 --deadline 3 /a/b", [published])
                == failed(5, "\"/a/b\" was not so in time"))
        #expect(try waiting("--gone --deadline 3 /a/b", []) == failed(4, refusal))
    }

    @Test("mkdir, rm and chmod change what they say")
    func others() throws {
        let store = try xen(["/a/b": "1"])
        #expect(run("store mkdir /m /n", on: store) == done(""))
        #expect(run("store rm /a", on: store) == done(""))
        #expect(store.now.store!.entries.keys.sorted() == ["", "/m", "/n"])
        #expect(run("store chmod /m r0 b5", on: store) == done(""))
        #expect(run("store chmod /m", on: store) == done("r0\nb5\n"))
        #expect(
            try run("store chmod /m x", on: xen(["/m": ""]))
                == failed(2, "mode of \"x\" is not n, r, w or b with the number of a domain"))
        for (words, mode) in [
            ("chmod /m n0 3", "3"), ("set --mode n0,r1,q /m 1", "q"), ("set --mode= /m 1", ""),
            ("set --mode n0, /m 1", ""), ("set --mode r4294967296 /m 1", "r4294967296"),
        ] {
            #expect(
                try run("store \(words)", on: xen(["/m": ""]))
                    == failed(
                        2, "mode of \"\(mode)\" is not n, r, w or b with the number of a domain"),
                "\(words)")
        }
    }

    @Test("the root can have a value and permissions, as for every store, and is not removed")
    func root() throws {
        let store = try xen(["/a/b": "1"])
        #expect(run("store set / x", on: store) == done(""))
        #expect(run("store chmod / n0 r3", on: store) == done(""))
        #expect(store.now.store!.entries[""] == .init(value: [120], permissions: ["n0", "r3"]))
        // One store refuses that, another removes everything.
        for line in ["rm /", "rm -t /", "rm /a/b /"] {
            #expect(
                run("store \(line)", on: store)
                    == failed(2, "\"/\" is the whole store: name an entry in it"))
        }
        #expect(store.now.store!.entries.keys.sorted() == ["", "/a", "/a/b"])
    }

    @Test("a verb changes all that it names, or nothing")
    func wholeVerbs() throws {
        let none = "cannot remove \"/none\": no such entry (ENOENT)"
        let permissions = "cannot set the permissions of \"/t/b\": permission denied (EACCES)"
        for (line, ended) in [
            ("rm /t/a /none", failed(4, none)),
            ("mkdir /k /k//2", failed(2, "\"/k//2\" has an empty name in it")),
            ("chmod -r /t n0 r3", failed(4, permissions)),
            ("exists /none --and set /k//2 1", failed(2, "\"/k//2\" has an empty name in it")),
        ] {
            let store = try xen(["/t/a": "1", "/t/b": "2"]) { $0.store!.secrets = ["/t/b"] }
            let before = store.now.store!.entries
            #expect(run("store \(line)", on: store) == ended)
            #expect(store.now.store!.entries == before)
        }
        let several = try xen(["/a": "1", "/b": "1"]) {
            $0.store!.intrusions = [
                (behind: "/a", path: "/a", value: "2"), (behind: "/a", path: "/b", value: "2"),
            ]
        }
        #expect(run("store get /a /b", on: several) == done("2\n2\n"))
    }

    @Test("--tidy stops at what is somebody's, what nobody sees, and the root")
    func tidy() throws {
        let shared = try xen(["/a/b/c": "1"]) {
            $0.store!.intrusions = [(behind: "/a/b", path: "/a/b/new", value: "precious")]
        }
        #expect(run("store rm -t /a/b/c", on: shared) == done(""))
        #expect(shared.now.store!.entries.keys.sorted() == ["", "/a", "/a/b", "/a/b/new"])
        let alone = try xen(["/x/y": "1"])
        #expect(run("store rm -t /x/y", on: alone) == done(""))
        #expect(alone.now.store!.entries.keys.sorted() == [""])
        let secret = try xen(["/x/s/3": "1"]) { $0.store!.secrets = ["/x/s"] }
        #expect(run("store rm -t /x/s/3", on: secret) == done(""))
        #expect(secret.now.store!.entries.keys.sorted() == ["", "/x", "/x/s"])
    }

    @Test("a quota is called by its name, whichever store it is")
    func quota() throws {
        for (word, line) in [
            ("EQUOTA", "over the quota that the store has for this domain (EQUOTA)"),
            (
                "ENOSPC",
                "over the quota that the store has for this domain, or the store is full (ENOSPC)"
            ), ("EWORD", "refused by the store (EWORD)"),
        ] {
            let full = try xen { $0.store!.refusals = [11: word] }
            #expect(run("store set /a 2", on: full) == failed(4, "cannot write \"/a\": \(line)"))
            let transactions = try xen { $0.store!.refusals = [6: word] }
            #expect(
                run("store set /a 2", on: transactions)
                    == failed(4, "cannot begin a transaction: \(line)"))
        }
    }

    @Test("exists prints nothing, and ends with 1 for what is not there, as xenstore-exists does")
    func exists() throws {
        let values = ["/a": "", "/b": "1"]
        #expect(try run("store exists /a /b", on: xen(values)) == done(""))
        #expect(
            try run("store exists /a /c", on: xen(values)) == Ended(code: 1, output: "", errors: "")
        )
        // The store says so of what is missing below another domain's folder.
        let secret = try xen(values) { $0.store!.secrets = ["/b"] }
        for line in ["/b", "/a /b", "/b --and set /a 2"] {
            #expect(
                run("store exists \(line)", on: secret) == Ended(code: 1, output: "", errors: ""))
        }
        #expect(secret.now.store!.entries["/a"]?.value == [])
        let full = try xen(values) { $0.store!.refusals[2] = "ENOSPC" }
        #expect(run("store exists /a", on: full).code == 4)
    }

    @Test("permissions are shown in lists, and set downwards and upwards")
    func permissions() throws {
        let store = try xen(["/t/a/one": "1", "/t/a/two": "2", "/t/b": ""])
        #expect(run("store chmod -r /t/a n0 r3", on: store) == done(""))
        #expect(
            run("store list --perms /t", on: store) == done("a  (n0,r3)\nb  (n0)\n"))
        #expect(
            run("store ls -p /t", on: store)
                == done(
                    "a = \"\"  (n0,r3)\n one = \"1\"  (n0,r3)\n two = \"2\"  (n0,r3)\nb = \"\"  (n0)\n"
                ))
        #expect(run("store ls /t/b -fp", on: store) == done(""))
        #expect(
            run("store ls -fp /t/a", on: store)
                == done("/t/a/one = \"1\"  (n0,r3)\n/t/a/two = \"2\"  (n0,r3)\n"))
        #expect(run("store chmod /t/a/one r5 --upto", on: store) == done(""))
        #expect(store.now.store!.entries["/t"]!.permissions == ["r5"])
        // The root is everybody's.
        #expect(store.now.store!.entries[""]!.permissions == ["n0"])
        #expect(store.now.store!.entries["/t/a/two"]!.permissions == ["n0", "r3"])
        #expect(run("store list -p /t", on: store) == done("/t/a\n/t/b\n"))
    }

    @Test("what a list may not show is a name and a colon, and the end is a refusal")
    func hidden() throws {
        let values = ["/x/a": "1", "/x/s/t": "2", "/x/z": "3"]
        func ended(_ line: String) throws -> Ended {
            run("store \(line)", on: try xen(values) { $0.store!.secrets = ["/x/s"] })
        }
        let error = "mini-grant: cannot read \"/x/s\": permission denied (EACCES)\n"
        #expect(
            try ended("ls /x")
                == Ended(code: 4, output: "a = \"1\"\ns:\nz = \"3\"\n", errors: error))
        #expect(
            try ended("list --full /x")
                == Ended(
                    code: 4, output: "/x/a = \"1\"\n/x/s:\n/x/z = \"3\"\n", errors: error))
        #expect(
            try ended("set /x/a 2 --and ls /x")
                == Ended(code: 4, output: "", errors: error))
    }

    @Test("a domain's own folder is a dot, and what list shows where the root is a secret")
    func ownFolder() throws {
        let values = ["/local/domain/0/domid": "0", "/local/domain/0/data/x": "1"]
        #expect(try run("store list .", on: xen(values)) == done("data\ndomid\n"))
        #expect(try run("store get ./data/x", on: xen(values)) == done("1\n"))
        let guest = try xen(values) { $0.store!.secrets = [""] }
        #expect(run("store list", on: guest) == done("data\ndomid\n"))
        #expect(run("store ls", on: guest) == done("data = \"\"\n x = \"1\"\ndomid = \"0\"\n"))
        #expect(
            run("store list /", on: guest)
                == failed(4, "cannot list \"/\": permission denied (EACCES)"))
    }

    @Test("the names and letters of xenstore-* do as well, behind the words too")
    func xenstoreNames() throws {
        let values = ["/a": "x\n", "/t/u/v": ""]
        #expect(try run("store read -p /a", on: xen(values)) == done("/a: x\\n\n"))
        #expect(try run("store read /a -R", on: xen(values)) == done("x\n"))
        #expect(
            try run("store ls -s /t -f", on: xen(values)) == done("/t/u = \"\"\n/t/u/v = \"\"\n"))
        #expect(try run("store read --prefix /a", on: xen(values)) == done("/a: x\\n\n"))
        #expect(try run("store list --prefix /t", on: xen(values)) == done("/t/u\n"))
        #expect(
            try run("store ls --flat /t", on: xen(values))
                == done("/t/u = \"\"\n/t/u/v = \"\"\n"))
        for words in ["--number 1", "--number=1", "-n1", "-n 1"] {
            #expect(try run("store watch \(words) /a", on: xen(values)) == done("/a\n"))
        }
        #expect(try run("store watch -nx /a", on: xen(values)).code == 2)
        #expect(try run("store read --number /a", on: xen(values)).code == 2)
        #expect(try run("store read --prefixes /a", on: xen(values)).code == 2)
        let store = try xen(values)
        #expect(run("store write /c --prefix", on: store) == done(""))
        #expect(store.now.store!.value("/c") == "--prefix")
        #expect(run("store write /a -1 /b --", on: store).code == 2)
        #expect(run("store write /a -1", on: store) == done(""))
        #expect(store.now.store!.value("/a") == "-1")
        #expect(run("store write -- /c -R", on: store) == done(""))
        #expect(store.now.store!.value("/c") == "-R")
        #expect(run("store rm -t /t/u/v", on: store) == done(""))
        #expect(store.now.store!.entries.keys.sorted() == ["", "/a", "/c"])
        #expect(
            run("store get /a --gone", on: store)
                == failed(2, "unknown option \"--gone\"; --help lists them"))
    }

    @Test("what --and joins happens as a whole or not at all")
    func together() throws {
        let store = try xen(["/a": "1", "/old": "x"]) { $0.store!.conflicts = 1 }
        #expect(
            run("store get /a --and set /a 2 /b 3 --and rm /old --and chmod /b n0 r3", on: store)
                == done("1\n"))
        #expect(store.now.store!.value("/a") == "2")
        #expect(store.now.store!.entries["/b"]!.permissions == ["n0", "r3"])
        #expect(store.now.store!.value("/old") == nil)
        for (line, ended) in [
            (
                "set /a 9 --and rm /none",
                failed(4, "cannot remove \"/none\": no such entry (ENOENT)")
            ),
            ("set /a 9 --and exists /none", Ended(code: 1, output: "", errors: "")),
            ("set /a 9 --and wait /a", failed(2, "watch and wait do not go with --and")),
            ("set /a 9 --and", failed(2, "--and needs a verb")),
            ("--and set /a 9", failed(2, "--and needs a verb")),
            ("set /a 9 --and --and rm /b", failed(2, "--and needs a verb")),
            ("set /a 9 --and rm /", failed(2, "\"/\" is the whole store: name an entry in it")),
            ("rm -t /b .//", failed(2, "\"/\" is the whole store: name an entry in it")),
        ] {
            #expect(run("store \(line)", on: store) == ended)
            #expect(store.now.store!.value("/a") == "2")
        }
    }

    @Test("the shortest of several deadlines counts for what --and joins")
    func deadlines() throws {
        for (one, other) in [("2", "60"), ("60", "2")] {
            let full = try xen(["/a": "1"]) { $0.fullStore = .max }
            let before = full.now.clock
            #expect(
                run("store get /a --deadline \(one) --and get /a --deadline \(other)", on: full)
                    == failed(5, "the store took no more connections in time"))
            #expect(full.now.clock - before < 10_000_000_000)
        }
    }

    @Test("words that no verb takes are refused")
    func words() throws {
        #expect(
            try run("store", on: xen()) == failed(2, "no subcommand is named; --help lists them"))
        #expect(
            try run("store put /a", on: xen())
                == failed(2, "there is no subcommand \"store put\"; --help lists them"))
        #expect(try run("store get", on: xen()) == failed(2, "store get needs PATH..."))
        #expect(
            try run("store get --gone /a", on: xen())
                == failed(2, "unknown option \"--gone\"; --help lists them"))
        for verb in [
            "get", "set", "list", "ls", "watch", "wait", "exists", "mkdir", "rm", "chmod",
        ] {
            let ended = try run("store \(verb) --help", on: xen())
            #expect(ended.code == 0 && ended.output.hasPrefix("Usage: mini-grant store \(verb) "))
            #expect(try run("store --help", on: xen()).output.contains("\n  \(verb) "))
        }
    }

    @Test("without a store the line says why, and the code is 3")
    func noStore() throws {
        #expect(
            try run(
                "store get /a",
                on: FakeXen {
                    $0.isXen = false; $0.files = [:]
                }
            ).code == 3)
    }

    @Test("a store at which too many wait is tried again, until the deadline")
    func fullSocket() throws {
        let busy = try xen(["/a": "1"]) { $0.fullStore = 3 }
        #expect(run("store get /a", on: busy) == done("1\n"))
        let full = try xen(["/a": "1"]) { $0.fullStore = .max }
        let before = full.now.clock
        #expect(
            run("store get --deadline 2 /a", on: full)
                == failed(5, "the store took no more connections in time"))
        #expect(full.now.clock - before >= 2_000_000_000)
    }

    @Test(
        "every call that fails gives one line and leaves nothing",
        arguments: [
            "store set --mode n0 /a 1 /b 2", "store get /x", "store list --tree /",
            "store watch --count 2 /x", "store wait --value 2 /x", "store chmod /x",
            "store set /x 2 --and rm /x", "store chmod -r /x n0", "store ls -p", "store rm -t /x",
            "store mkdir /m/n /x", "store exists /x /x",
        ])
    func everyCall(line: String) throws {
        func model(_ failing: (Int, Errno)?) throws -> FakeXen {
            try xen(["/x": "1"]) {
                $0.happenings = [.act { $0.store!.set("/x", [50]) }]
                $0.failing = failing.map { (call: $0.0, errno: $0.1) }
            }
        }
        let whole = try model(nil)
        #expect(run(line, on: whole).code == 0)
        for call in 1...whole.now.calls.count {
            for errno in [Errno.inputOutput, .noMemory, .interrupted, .again] {
                let failing = try model((call, errno))
                let ended = run(line, on: failing)
                let lines = ended.errors.split(separator: "\n").count
                #expect(ended.code == 0 ? lines == 0 : lines == 1, "\(line), \(call), \(ended)")
                #expect([0, 1, 3, 4, 5].contains(ended.code), "\(line), \(call), \(ended)")
            }
        }
    }
}
