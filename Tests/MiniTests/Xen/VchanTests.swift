// Both ends of a vchan in one domain, on the model of a kernel on Xen; and two ends that run at the
// same time in one memory.

import CShim
import Dispatch
import Foundation
import Synchronization
import Testing

@testable import Mini

private let zero = DomainID(0)!
private let three = DomainID(3)!

/// A file that holds bytes, to send from and to receive to.
private func file(_ bytes: [UInt8] = []) throws -> Descriptor {
    let name: StaticString = "bytes"
    let number = mini_syscall(319, Int(bitPattern: name.utf8Start), 0, 0, 0, 0, 0)
    bytes.withUnsafeBytes {
        _ = mini_syscall(1, number, Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
    }
    _ = mini_syscall(8, number, 0, 0, 0, 0, 0)
    return Descriptor(owning: Int32(number))
}

private func content(_ file: borrowing Descriptor, _ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    _ = mini_syscall(8, Int(file.number), 0, 0, 0, 0, 0)
    let read = bytes.withUnsafeMutableBytes {
        mini_syscall(0, Int(file.number), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
    }
    return Array(bytes.prefix(max(0, read)))
}

/// The whole way: offered, published, found, connected, used, closed.
private func useBoth(
    _ layout: VchanLayout, clientFirst: Bool
) throws(GrantError) {
    let store = try XenStore(deadline: .after(.milliseconds(5000)))
    let path = try StorePath(named: "/v")
    let (server, address) = try Vchan.offered(to: zero, layout, on: VchanDevices(.server))
    let isNew = try store.publish(address, at: path, for: zero)
    guard let found = try store.find(path) else { throw .refused("not found") }
    let client = try Vchan.connected(
        to: zero, found, on: VchanDevices(.client), .after(.milliseconds(5000)))
    try server.takeEvent()
    try server.finish()
    try client.takeEvent()
    try store.withdraw(address, at: path, isNew: isNew)
    clientFirst ? client.close() : server.close()
    #expect((clientFirst ? server : client).presence == .gone)
}

@Suite struct VchanTests {
    private static let layouts = [
        VchanLayout(left: 10, right: 11)!, VchanLayout(left: 13, right: 12)!,
        VchanLayout(left: 11, right: 14)!, VchanLayout(left: 16, right: 16)!,
    ]

    @Test("bytes go both ways, and nothing stays behind", arguments: 0..<4, [false, true])
    func bothWays(layout: Int, isPV: Bool) throws {
        let xen = try FakeXen {
            $0.store = FakeStore(); $0.isPV = isPV
        }
        let layout = Self.layouts[layout]
        let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 * 7 / 3) }
        try xen.play {
            let (server, address) = try Vchan.offered(to: zero, layout, on: VchanDevices(.server))
            let client = try Vchan.connected(
                to: zero, address, on: VchanDevices(.client), .never)
            #expect(server.role == .server && client.role == .client)
            #expect(server.presence == .here && client.presence == .here)
            for (from, to) in [(server, client), (client, server)] {
                let input = try file(bytes)
                let output = try file()
                var done = 0
                while done < bytes.count {
                    if let space = from.space, space > 0 {
                        _ = try from.send(from: input.number, name: "in", space: space)
                    }
                    let ready = to.ready!
                    #expect(ready > 0 && from.untaken == ready)
                    #expect(
                        try to.receive(to: output.number, name: "out", ready: ready, most: 999)
                            == .moved)
                    done = content(output, 6000).count
                    _ = mini_syscall(8, Int(output.number), done, 0, 0, 0, 0)
                }
                #expect(content(output, 6000) == bytes)
                #expect(try from.send(from: input.number, name: "in", space: 10) == 0)
            }
            client.close()
            #expect(server.presence == .gone)
            server.close()
        }
        #expect(xen.now.left == [])
    }

    @Test("a client that comes to its end before it is there has not sent all that it had to")
    func endsEarly() throws {
        let xen = try FakeXen { $0.store = FakeStore() }
        try xen.play {
            let (server, address) = try Vchan.offered(
                to: zero, Self.layouts[2], on: VchanDevices(.server))
            #expect(server.presence == .notYet && !server.willOtherFinish)
            // The page can be mapped, the rings cannot.
            for number in xen.now.grants.keys where number != key(0, address.page.rawValue) {
                xen.changeGrant(UInt32(truncatingIfNeeded: number), of: 0) { $0.isOurs = false }
            }
            let client = try? Vchan.connected(
                to: zero, address, on: VchanDevices(.client), .never)
            #expect(client == nil)
            #expect(server.presence == .gone)
            #expect(server.willOtherFinish && !server.isOtherFinished)
            server.close()
        }
    }

    @Test("the address is published for one domain, and taken back with the folder made for it")
    func published() throws {
        for (before, after) in [([:], nil), (["/v/other": "1"], "")]
            as [([String: String], String?)]
        {
            let xen = try FakeXen { $0.store = FakeStore.with(before) }
            let address = VchanAddress(page: GrantReference(rawValue: 8), port: EventPort(5)!)
            try xen.play {
                let store = try XenStore(deadline: .never)
                let path = try StorePath(named: "/v")
                let isNew = try store.publish(address, at: path, for: three)
                let entry = FakeStore.Entry(value: [UInt8(ascii: "8")], permissions: ["n0", "r3"])
                #expect(xen.now.store!.entries["/v/ring-ref"] == entry)
                #expect(xen.now.store!.value("/v/event-channel") == "5")
                #expect(try store.find(path) == address)
                try store.withdraw(address, at: path, isNew: isNew)
                #expect(xen.now.store!.value("/v/ring-ref") == nil)
                #expect(xen.now.store!.value("/v") == after)
                // What somebody else has put there since stays.
                _ = try store.publish(address, at: path, for: three)
                let other = VchanAddress(page: GrantReference(rawValue: 9), port: EventPort(5)!)
                try store.withdraw(other, at: path, isNew: true)
                #expect(xen.now.store!.value("/v/ring-ref") == "8")
            }
        }
    }

    @Test(
        "what is no address is none",
        arguments: [
            ["ring-ref": "0", "event-channel": "5"], ["ring-ref": "8", "event-channel": "0"],
            ["ring-ref": "8"], ["event-channel": "5"], ["ring-ref": "-8", "event-channel": "5"],
            ["ring-ref": "8", "event-channel": "99999999999"],
        ])
    func noAddress(entries: [String: String]) throws {
        var store = FakeStore()
        for (name, value) in entries { store.set("/v/\(name)", Array(value.utf8)) }
        let xen = try FakeXen { [store] in $0.store = store }
        try xen.play {
            let store = try XenStore(deadline: .never)
            #expect(try store.find(StorePath(named: "/v")) == nil)
        }
    }

    @Test(
        "a page that is no vchan's, or that was left, is refused and nothing stays mapped",
        arguments: [
            (16, 9, "what domain 3 offers is no vchan"),
            (18, 10, "what domain 3 offers is no vchan"),
            (21, 0, "domain 3 has left the vchan that it offers"),
            (4, 1, ""), (0, 1, "domain 3 has left the vchan that it offers"),
        ])
    func refused(offset: Int, value: UInt8, line: String) throws {
        let xen = try FakeXen { $0.remotePorts = [key(3, 7)] }
        xen.grant([100], of: 3)
        let page = SharedMemory(xen.page(100, of: 3))
        _ = VchanView(
            serverOn: page, rings: page, VchanLayout(left: 10, right: 11)!, references: [])
        page.store8(offset, value)
        xen.play {
            do throws(GrantError) {
                let address = VchanAddress(page: GrantReference(rawValue: 100), port: EventPort(7)!)
                _ = try Vchan.connected(
                    to: three, address, on: VchanDevices(.client), .never)
                #expect(line == "")
            } catch {
                #expect(string(error.text) == line)
                #expect(error.exitCode == 4)
            }
        }
        #expect(xen.now.left == [])
    }

    @Test("an end that its process did not close is seen as gone", arguments: [false, true])
    func killed(isPV: Bool) throws {
        let xen = try FakeXen {
            $0.remotePorts = [key(3, 7)]; $0.isPV = isPV
        }
        xen.grant([100], of: 3)
        let page = SharedMemory(xen.page(100, of: 3))
        let server = VchanView(
            serverOn: page, rings: page, VchanLayout(left: 10, right: 11)!, references: [])
        try xen.play {
            let address = VchanAddress(page: GrantReference(rawValue: 100), port: EventPort(7)!)
            let client = try Vchan.connected(
                to: three, address, on: VchanDevices(.client), .never)
            #expect(server.presence == .here)
            // All that the kernel does for a process that is killed, in some order.
            let (areas, descriptors) = (xen.now.areas.keys, xen.now.descriptors.keys)
            for area in areas { try SystemCall.make(.unmap, area, 4096) }
            for descriptor in descriptors { try SystemCall.make(.close, descriptor) }
            #expect(server.presence == .gone)
            #expect(xen.now.notified.contains(7))
            _ = client.role
            _ = Unmanaged.passRetained(client)
        }
    }

    @Test("every call that fails leaves nothing behind", arguments: [false, true])
    func everyCall(clientFirst: Bool) throws {
        for layout in [VchanLayout(left: 10, right: 11)!, VchanLayout(left: 12, right: 13)!] {
            let whole = try FakeXen { $0.store = FakeStore() }
            try whole.play { () throws(GrantError) in try useBoth(layout, clientFirst: clientFirst)
            }
            #expect(whole.now.left == [] && whole.now.store!.entries.count == 1)
            for call in 1...whole.now.calls.count {
                let xen = try FakeXen {
                    $0.store = FakeStore(); $0.failing = (call, .inputOutput)
                }
                do {
                    try xen.play { () throws(GrantError) in
                        try useBoth(layout, clientFirst: clientFirst)
                    }
                } catch { #expect(!string(error.text).isEmpty) }
                if !xen.now.failsHopelessly { #expect(xen.now.left == [], "\(call)") }
            }
        }
    }
}

/// Shared between two threads: an end, and the bell that wakes it.
private final class Side: @unchecked Sendable {
    var view: VchanView
    let bell = DispatchSemaphore(value: 0)
    init(_ view: VchanView) { self.view = view }
}

@Suite struct VchanConcurrencyTests {
    /// Both ends as fast as they can, each asleep unless the other one rang: an event too few, and
    /// one of them sleeps for ever.
    @Test(
        "no event is lost and no byte, with both ends running",
        arguments: [
            (VchanLayout(left: 10, right: 11)!, 4 << 20),
            (VchanLayout(left: 12, right: 14)!, 16 << 20),
        ])
    func race(layout: VchanLayout, total: Int) {
        let pages = 1 + layout.left.pages + layout.right.pages
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 4096 * pages, alignment: 4096)
        defer { memory.deallocate() }
        let page = SharedMemory(UnsafeMutableRawBufferPointer(rebasing: memory[..<4096]))
        let rings = SharedMemory(UnsafeMutableRawBufferPointer(rebasing: memory[4096...]))
        let server = Side(
            VchanView(
                serverOn: page, rings: rings, layout,
                references: Array(repeating: GrantReference(rawValue: 1), count: pages - 1)[...]))
        let left = layout.left.pages * 4096
        let client = Side(
            VchanView(
                clientOn: page, left: rings[0..<left], right: rings[left..<rings.count], layout)!)
        let results = Mutex<[String]>([])
        let group = DispatchGroup()
        for (side, other) in [(server, client), (client, server)] {
            group.enter()
            Thread.detachNewThread {
                let result = run(side, other, total)
                results.withLock { $0.append(result) }
                group.leave()
            }
        }
        #expect(group.wait(timeout: .now() + 600) == .success)
        #expect(results.withLock { $0 } == ["", ""])
    }
}

/// Sends `total` bytes and receives as many.
/// - Returns: what went wrong.
private func run(_ side: Side, _ other: Side, _ total: Int) -> String {
    var (sent, received) = (0, 0)
    while sent < total || received < total {
        guard let space = side.view.space, let ready = side.view.ready else { return "broken" }
        let sends = sent < total && space > 0
        let receives = ready > 0
        if sends {
            let room = side.view.room(space)
            let count = min(room.count, total - sent)
            for index in 0..<count {
                room.store8(index, UInt8(truncatingIfNeeded: (sent + index) ^ (sent + index) >> 8))
            }
            sent += count
            if side.view.send(count) { other.bell.signal() }
        }
        if receives {
            let piece = side.view.arrived(ready)
            for index in 0..<piece.count {
                let place = received + index
                guard piece.load8(index) == UInt8(truncatingIfNeeded: place ^ place >> 8) else {
                    return "wrong byte \(place)"
                }
            }
            received += piece.count
            if side.view.consume(piece.count) { other.bell.signal() }
        }
        if sends || receives { continue }
        if received < total { side.view.ask(for: .written) }
        if sent < total { side.view.ask(for: .read) }
        if side.view.space != space || side.view.ready != ready { continue }
        if side.bell.wait(timeout: .now() + 300) == .timedOut {
            return "no event: sent \(sent), received \(received)"
        }
    }
    return ""
}
