// `mini-grant share` as a whole: pages that are granted, told, held and taken back.

import Foundation
import Testing

@testable import Mini

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
                "cannot share 1025 pages for domain 3: gntalloc lends at most 1024 pages at a time in all; a larger number in /sys/module/xen_gntalloc/parameters/limit changes that, if this domain's grant table has room"
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

    @Test("a share sees the end of its domain where it may watch nothing, and on old kernels")
    func looksWithoutWatch() throws {
        let vm = "/local/domain/3/vm"
        for (isAncient, word) in [(false, "E2BIG"), (true, "E2BIG"), (true, "")] {
            let xen = try FakeXen {
                $0.store = FakeStore.with([vm: "/vm/u"])
                $0.store!.isAncient = isAncient
                if !word.isEmpty { $0.store!.refusals = [4: word] }
                $0.happenings = [.act { $0.store!.set(vm, nil) }]
            }
            #expect(
                grant("share --domain 3 --hold", on: xen)
                    == Ended(code: 0, output: "8\n", errors: ""))
            #expect(xen.now.left == [])
        }
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
        for (version, state) in [(0x09, DomainState.up), (0x18, .up), (0x19, nil), (8, nil)]
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
