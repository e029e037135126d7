// Mapping granted pages, on the model of a kernel that runs on Xen.

import Testing

@testable import Mini

func grants(_ references: [UInt32], of domain: UInt64 = 3) throws(GrantError) -> GrantList {
    try GrantList(references.map { GrantReference(rawValue: $0) }, of: DomainID(domain)!)
}

private func fault(_ reference: UInt32, _ status: Int16, of domain: UInt64 = 3) -> GrantError {
    .grant(
        GrantReference(rawValue: reference), of: DomainID(domain)!, GrantStatus(rawValue: status))
}

/// Maps grants on a model.
/// - Returns: what went wrong.
private func map(
    _ references: [UInt32], of domain: UInt64 = 3, on xen: FakeXen, isWritable: Bool = false,
    _ notification: UnmapNotification = UnmapNotification(),
    then body: (GrantMapping) throws(GrantError) -> Void = { _ in }
) -> GrantError? {
    xen.play {
        do throws(GrantError) {
            var plan = MappingPlan(deadline: .after(.milliseconds(100)))
            plan.isWritable = isWritable
            plan.notification = notification
            let mapping = try GrantMapping(grants(references, of: domain), on: GntDev(), plan)
            try body(mapping)
            return nil
        } catch { return error }
    }
}

@Suite struct GrantMappingTests {
    @Test("pages lie one behind the other, in the order of their references")
    func order() throws {
        let xen = try FakeXen()
        xen.grant([9, 17, 4], of: 3)
        let error = map([17, 4, 9], on: xen) { mapping in
            #expect(mapping.bytes.count == 3 * 4096)
            #expect([0, 4095, 4096, 8192].map { mapping.bytes[$0] } == [2, 2, 3, 1])
        }
        #expect(error == nil)
        #expect(xen.now.left == [])
    }

    @Test("what is written is there for the granter, and the other way round")
    func writing() throws {
        let xen = try FakeXen()
        xen.grant([17], of: 3)
        let error = map([17], on: xen, isWritable: true) { (mapping) throws(GrantError) in
            mapping.bytes[5] = 0xAA
            #expect(xen.page(17, of: 3)[5] == 0xAA)
            xen.page(17, of: 3)[6] = 0xBB
            #expect(mapping.bytes[6] == 0xBB)
            try mapping.unmap()
            #expect(mapping.bytes.isEmpty)
        }
        #expect(error == nil)
    }

    @Test(
        "when the kernel says only EINVAL, the first reference at fault is named",
        arguments: [true, false])
    func culprit(isPV: Bool) throws {
        let xen = try FakeXen { $0.isPV = isPV }
        xen.grant([17, 18, 19], of: 3)
        xen.changeGrant(19, of: 3) { $0.isOurs = false }
        #expect(map([17, 20, 21], on: xen) == fault(20, -3))
        #expect(map([17, 19, 18], on: xen) == fault(19, -1))
        #expect(map([17], of: 5, on: xen) == fault(17, -2, of: 5))
        #expect(xen.now.left == [])
        #expect(fault(20, -3).text == "grant 20 of domain 3: no such grant")
        #expect(fault(20, -3).exitCode == 4)
    }

    @Test("a grant for reading only that is to be written is named as that")
    func readOnly() throws {
        let xen = try FakeXen()
        xen.grant([17], of: 3)
        xen.grant([18, 19], of: 3, isReadOnly: true)
        let wanted = GrantError.readOnlyGrant(
            GrantReference(rawValue: 18), of: DomainID(3)!)
        #expect(map([17, 18, 19], on: xen, isWritable: true) == wanted)
        #expect(map([17, 18, 19], on: xen) == nil)
        #expect(wanted.text == "grant 18 of domain 3: granted for reading only")
        #expect(xen.now.left == [])
    }

    @Test("a kernel without GRANT_COPY still tells which reference it is")
    func withoutCopy() throws {
        let xen = try FakeXen { $0.hasCopy = false }
        xen.grant([17], of: 3)
        #expect(map([17, 20], on: xen) == fault(20, 1))
        #expect(xen.now.left == [])
    }

    @Test("a page that is not there yet is asked for again, each time under a new index")
    func busy() throws {
        let xen = try FakeXen()
        xen.grant([17, 18], of: 3)
        xen.changeGrant(18, of: 3) { $0.absences = 5 }
        let error = map([17, 18], on: xen) { #expect($0.bytes[4096] == 2) }
        #expect(error == nil)
        #expect(xen.now.left == [])
    }

    @Test("a page that is never there is asked for until the deadline")
    func deadline() throws {
        let xen = try FakeXen()
        xen.grant([17], of: 3)
        xen.changeGrant(17, of: 3) { $0.absences = .max }
        let start = xen.now.clock
        let error = map([17], on: xen)
        #expect(error?.text == "the pages of grant 17 of domain 3 were not there in time")
        #expect(error?.exitCode == 5)
        #expect(xen.now.clock - start < 120_000_000)
        #expect(xen.now.left == [])
    }

    @Test("a notification that cannot be armed undoes the mapping")
    func unarmed() throws {
        let xen = try FakeXen()
        xen.grant([17], of: 3)
        let error = map([17], on: xen, .init(port: EventPort(77)))
        #expect(error?.text == "event port 77 is not bound by a process of this domain")
        #expect(xen.now.left == [])
        let onReadOnly = map([17], on: xen, .init(clearedByte: 3))
        #expect(
            onReadOnly
                == .system("have a notification for grant 17 of domain 3", .invalid))
        #expect(xen.now.left == [])
    }

    @Test(
        "the other side sees the byte and the event when the mapping goes",
        arguments: [true, false]
    )
    func notification(isPV: Bool) throws {
        let xen = try FakeXen {
            $0.isPV = isPV
            $0.remotePorts = [key(3, 40)]
        }
        xen.grant([17, 18], of: 3)
        xen.change {
            let file = $0.descriptors[$0.open(.evtchn)]!
            $0.ports[9] = .init(file: file, end: .bound(domain: 3, port: 40))
        }
        let error = map(
            [17, 18], on: xen, isWritable: true, .init(clearedByte: 4100, port: EventPort(9))
        ) { mapping in
            #expect(xen.page(18, of: 3)[4] == 2)
            #expect(xen.now.notified == [])
        }
        #expect(error == nil)
        #expect(xen.page(18, of: 3)[4] == 0)
        #expect(xen.now.notified == [40])
    }

    @Test("what failed first is told, not what failed while it was undone")
    func firstFailure() throws {
        let whole = try FakeXen()
        whole.grant([17], of: 3)
        #expect(map([17, 20], on: whole) == fault(20, -3))
        // The last request takes the index back.
        let release = try #require(
            whole.now.calls.lastIndex(of: SystemCall.Number.ioctl.rawValue))
        let xen = try FakeXen { $0.failing = (release + 1, .inputOutput) }
        xen.grant([17], of: 3)
        #expect(map([17, 20], on: xen) == fault(20, -3))
        #expect(xen.now.left == [])
    }

    @Test("the module's limit is named when it is hit")
    func limit() throws {
        let xen = try FakeXen {
            $0.mostGrants = 4
            $0.files["/sys/module/xen_gntdev/parameters/limit"] = "4\n"
        }
        xen.grant(Array(10..<15), of: 3)
        #expect(
            map(Array(10..<15), on: xen)?.text
                == "5 grants of domain 3 are too many: gntdev of this kernel maps at most 4 at once"
        )
        #expect(xen.now.left == [])
    }

    @Test("a list is refused when it is empty, too long, or has a reference twice")
    func lists() throws {
        #expect(throws: GrantError.use("no grant reference is named")) { try grants([]) }
        #expect(throws: GrantError.use("grant reference 5 is named twice")) {
            try grants([5, 6, 7, 5])
        }
        #expect(try grants(Array(0..<65536)).pages.count == 65536)
        do {
            _ = try grants(Array(0..<65537))
            Issue.record("too many were accepted")
        } catch {
            #expect(
                error.text == "65537 grants are too many: gntdev maps at most 65536 at once")
            #expect(error.exitCode == 1)
        }
        // As many as collide in a table.
        #expect(try grants((0..<4096).map { $0 << 20 }).pages.count == 4096)
    }

    @Test("a domain is a number below 0x7FF0")
    func domains() {
        #expect(DomainID(0x7FEF)?.rawValue == 0x7FEF)
        for number: UInt64 in [0x7FF0, 0x7FFF, 0x10000, 0x1_0003, .max] {
            #expect(DomainID(number) == nil)
        }
    }

    @Test("whichever call fails, nothing stays behind")
    func everyCallFails() throws {
        for errno in [Errno.noMemory, .invalid, .again, .noSuchFile] {
            for call in 1... {
                let xen = try FakeXen { $0.failing = (call, errno) }
                xen.grant([17, 18], of: 3)
                let error = map([17, 18], on: xen, isWritable: true, .init(clearedByte: 0)) {
                    (mapping) throws(GrantError) in try mapping.unmap()
                }
                let end = xen.now
                guard call <= end.calls.count else { break }
                let number = SystemCall.Number(rawValue: end.calls[call - 1])
                guard number != .close, number != .unmap else { continue }
                #expect(end.left == [], "call \(call), \(errno)")
                let mayPass = number == .clockTime || errno == .again || number == .poll
                if !mayPass { #expect(error != nil, "call \(call), \(errno)") }
            }
        }
    }
}
