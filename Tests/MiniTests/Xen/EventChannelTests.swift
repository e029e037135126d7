// Event channels, on the model of a kernel that runs on Xen.

import Testing

@testable import Mini

private let domain = DomainID(3)!

@Suite struct EventChannelTests {
    @Test("a port for another domain: its events are taken one after the other")
    func events() throws {
        let xen = try FakeXen { $0.happenings = [.event(1), .event(1)] }
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.unbound(for: domain))
            #expect(channel.port == EventPort(1))
            #expect(try channel.wait(.never))
            #expect(try channel.wait(.never))
        }
        #expect(xen.now.left == [])
    }

    @Test("an event that came while another was being taken is not lost")
    func pending() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.unbound(for: domain))
            xen.change {
                $0.happen(.event(1))
                $0.happen(.event(1))
            }
            #expect(try channel.wait(.after(.milliseconds(10))))
            #expect(try channel.wait(.after(.milliseconds(10))))
            #expect(try !channel.wait(.after(.milliseconds(10))))
        }
    }

    @Test("waiting ends at the deadline, no earlier")
    func deadline() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.unbound(for: domain))
            let start = xen.now.clock
            #expect(try !channel.wait(.after(.milliseconds(250))))
            #expect(xen.now.clock - start >= 250_000_000)
            #expect(xen.now.clock - start < 260_000_000)
        }
    }

    @Test("a ring that has overflowed is reset, and the port taken as rung")
    func overflow() throws {
        let xen = try FakeXen { $0.happenings = [.overflow, .event(1)] }
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.unbound(for: domain))
            #expect(try channel.wait(.never))
            #expect(try channel.wait(.never))
        }
        #expect(xen.now.left == [])
    }

    @Test("taking an event of a port that has gone back is a defect, and does not go on for ever")
    func gone() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.unbound(for: domain))
            xen.change { $0.happen(.event(1)) }
            try channel.unbind()
            #expect(throws: GrantError.defect(state: "unbound")) { try channel.take() }
        }
    }

    @Test("two ends in one domain ring each other")
    func loopback() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let own = DomainID(0)!
            let first = try EventChannel(.unbound(for: own))
            let second = try EventChannel(.interdomain(own, first.port))
            try second.notify()
            #expect(try first.wait(.after(.milliseconds(1))))
            try first.notify()
            #expect(try second.wait(.after(.milliseconds(1))))
            #expect(try !first.wait(.after(.milliseconds(1))))
        }
        #expect(xen.now.left == [])
    }

    @Test("the other domain's bell rings")
    func notify() throws {
        let xen = try FakeXen { $0.remotePorts = [key(3, 40)] }
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.interdomain(domain, EventPort(40)!))
            try channel.notify()
        }
        #expect(xen.now.notified == [40])
    }

    @Test("what Xen does not bind is named")
    func refusals() throws {
        let cases: [(EventChannel.Binding, String)] = [
            (
                .unbound(for: DomainID(5)!),
                "Xen does not bind an event channel for domain 5: no such process or domain (ESRCH)"
            ),
            (
                .interdomain(domain, EventPort(41)!),
                "Xen does not bind event port 41 of domain 3: invalid argument (EINVAL)"
            ),
            (.virtual(99), "Xen does not bind virtual interrupt 99: invalid argument (EINVAL)"),
        ]
        for (binding, line) in cases {
            let xen = try FakeXen()
            let error = xen.play { () -> GrantError? in
                do throws(GrantError) {
                    _ = try EventChannel(binding)
                    return nil
                } catch { return error }
            }
            #expect(error?.text == Text(stringLiteral: line))
            #expect(error?.exitCode == 4)
            #expect(xen.now.left == [])
        }
    }

    @Test("a virtual interrupt has one port")
    func virtual() throws {
        let xen = try FakeXen()
        try xen.play { () throws(GrantError) in
            let channel = try EventChannel(.virtual(3))
            xen.change { $0.happen(.event(channel.port.rawValue)) }
            #expect(try channel.wait(.never))
            try channel.unbind()
            #expect(xen.now.ports.isEmpty)
            let again = try EventChannel(.virtual(3))
            #expect(throws: GrantError.self) { try EventChannel(.virtual(3)) }
            _ = again
        }
        #expect(xen.now.left == [])
    }

    @Test("whichever call fails, nothing stays behind, and an event is not lost for it")
    func everyCallFails() throws {
        var failures = 0
        for call in 1... {
            let xen = try FakeXen {
                $0.failing = (call, .inputOutput)
                $0.happenings = [.event(1)]
            }
            xen.play {
                guard let channel = try? EventChannel(.unbound(for: domain)) else { return }
                if (try? channel.wait(.after(.milliseconds(10)))) == nil {
                    failures += 1
                    #expect((try? channel.wait(.after(.milliseconds(10)))) == true, "call \(call)")
                }
                try? channel.unbind()
            }
            let end = xen.now
            guard call <= end.calls.count else {
                #expect(call > 5)
                break
            }
            if SystemCall.Number(rawValue: end.calls[call - 1]) != .close {
                #expect(end.left == [], "call \(call)")
            }
        }
        #expect(failures > 0)
    }
}
