// Who is at the other end of `mini-grant pipe`: domain 3 with its vchan, and a process at a local socket.

import Foundation
import Testing

@testable import Mini

extension VchanView {
    /// Clears in the page what libxenvchan does not know.
    func forgetFinishing(_ page: SharedMemory) {
        for offset in [22, 23] { _ = page.clear8(offset, 0xC0) }
    }
}

/// Domain 3 and its end of a vchan. What it does, it does while `pipe` waits.
final class Peer: @unchecked Sendable {
    let xen: FakeXen
    var view: VchanView?
    var received: [UInt8] = []
    /// What was published each time that it came by `comes`.
    private(set) var places: [String] = []

    init(_ change: (inout FakeXen.State) -> Void = { _ in }) throws {
        xen = try FakeXen {
            $0.store = FakeStore()
            $0.remotePorts = [key(3, 7)]
            change(&$0)
        }
    }

    /// Offers a vchan at /v, for `pipe --client`.
    func offer(_ layout: VchanLayout = VchanLayout(left: 10, right: 11)!) {
        let references = (0..<UInt32(1 + layout.left.pages + layout.right.pages)).map { 100 + $0 }
        xen.grant(references, of: 3)
        let first = xen.page(100, of: 3)
        let rings = UnsafeMutableRawBufferPointer(
            start: first.baseAddress! + 4096, count: 4096 * (references.count - 1))
        view = VchanView(
            serverOn: SharedMemory(first), rings: SharedMemory(rings), layout,
            references: references.dropFirst().map { GrantReference(rawValue: $0) }[...])
        xen.change { self.publish(&$0) }
    }

    /// Makes the page of `offer` anew.
    func offerAgain() {
        let page = SharedMemory(xen.memory[0])
        view = VchanView(
            serverOn: page, rings: page, VchanLayout(left: 10, right: 11)!, references: [])
    }

    func publish(_ state: inout FakeXen.State) {
        state.store!.set("/v/ring-ref", Array("100".utf8))
        state.store!.set("/v/event-channel", Array("7".utf8))
    }

    /// Comes to what `pipe --server` has published.
    func come(_ state: inout FakeXen.State) {
        comeSilently(&state)
        ring(&state)
    }

    /// As a client on libxenvchan before 4.14, which sends no event until it has written.
    func comeSilently(_ state: inout FakeXen.State) {
        let reference = UInt32(state.store!.value("/v/ring-ref")!)!
        func memory(_ reference: UInt32) -> UnsafeMutableRawBufferPointer {
            xen.memory[state.grants[key(0, reference)]!.page]
        }
        let page = SharedMemory(memory(reference))
        let layout = VchanView.layout(of: page)!
        let references = VchanView.references(of: page, layout)
        func pages(_ references: [GrantReference]) -> SharedMemory {
            guard let first = references.first?.rawValue else { return page }
            return SharedMemory(
                UnsafeMutableRawBufferPointer(
                    start: memory(first).baseAddress!, count: 4096 * references.count))
        }
        view = VchanView(
            clientOn: page, left: pages(references.left), right: pages(references.right), layout)
    }

    /// That it comes, noted in `places`.
    var comes: FakeXen.Happening {
        .act { state in
            self.places.append(state.store!.value("/v/ring-ref")!)
            self.come(&state)
        }
    }

    /// The shared page of what `pipe --server` has published.
    func page(_ state: inout FakeXen.State) -> UnsafeMutableRawBufferPointer {
        xen.memory[state.grants[key(0, UInt32(state.store!.value("/v/ring-ref")!)!)]!.page]
    }

    /// An event for `pipe`: it has one port.
    func ring(_ state: inout FakeXen.State) {
        for port in state.ports.keys { state.deliver(port) }
    }

    func send(_ text: String) { send(Array(text.utf8)[...]) }

    func send(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes {
            view!.room(view!.space!).store8(0, byte)
            _ = view!.send(1)
        }
    }

    func take(most: Int = .max) {
        var count = 0
        while let ready = view!.ready, ready > 0, count < most {
            received.append(view!.arrived(ready).load8(0))
            _ = view!.consume(1)
            count += 1
        }
    }

    /// Something that the peer does, and an event.
    func does(_ body: @escaping @Sendable (Peer) -> Void) -> FakeXen.Happening {
        .act { state in
            body(self)
            self.ring(&state)
        }
    }

    /// Ends in order.
    func part() {
        view!.finish()
        view!.leave()
    }

    /// That it sends this and ends in order, and an event.
    func parts(saying text: String) -> FakeXen.Happening {
        does {
            $0.send(text)
            $0.part()
        }
    }

    func run(_ words: String, _ happenings: [FakeXen.Happening]) -> Ended {
        xen.change { $0.happenings = happenings }
        let ended = grant("pipe --domain 3 --path /v \(words)", on: xen)
        // What did not happen any more holds this peer, which holds them.
        xen.change { $0.happenings = [] }
        if !xen.now.failsHopelessly { #expect(xen.now.left == [], "\(words)") }
        return ended
    }
}

/// Whoever is at the other end of a local socket. Its calls are not those of the model.
final class Local: @unchecked Sendable {
    let path: String
    private var listener: Int32 = -1
    private var socket: Int32 = -1
    var received: [UInt8] = []
    var isEnded = false

    init(listens: Bool) throws {
        path = "/tmp/\(UUID().uuidString)"
        guard listens else { return }
        listener = Self.make()
        #expect(named { bind(listener, $0, $1) } == 0)
        #expect(listen(listener, 5) == 0)
    }

    deinit {
        close()
        if listener >= 0 {
            Foundation.close(listener)
            unlink(path)
        }
    }

    private static func make() -> Int32 {
        // Not waiting: a pipe that does not connect shall fail a test, not stop it.
        Foundation.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    }

    private func named(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    func connect() {
        socket = Self.make()
        #expect(named { Foundation.connect(socket, $0, $1) } == 0)
    }
    func accept() { socket = Foundation.accept(listener, nil, nil) }
    func send(_ text: String) { _ = write(socket, text, text.utf8.count) }
    func endWriting() { shutdown(socket, Int32(SHUT_WR)) }
    func close() {
        if socket >= 0 { Foundation.close(socket) }
        socket = -1
    }

    /// Takes what is there.
    func receive() {
        var room = [UInt8](repeating: 0, count: 1000)
        while true {
            let count = recv(socket, &room, room.count, Int32(MSG_DONTWAIT))
            isEnded = count == 0
            if count <= 0 { return }
            received += room.prefix(count)
        }
    }
}
