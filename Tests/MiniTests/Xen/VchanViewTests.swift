// The rings and the shared page, between two ends in one memory, and against a hostile one.

import Foundation
import Synchronization
import Testing

@testable import Mini

/// Memory of a server: a shared page and, behind it, the rings' pages.
private final class Memory {
    let bytes: UnsafeMutableRawBufferPointer
    let page: SharedMemory
    let rings: SharedMemory
    init(_ layout: VchanLayout) {
        let count = 4096 * (1 + layout.left.pages + layout.right.pages)
        bytes = .allocate(byteCount: count, alignment: 4096)
        bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
        page = SharedMemory(UnsafeMutableRawBufferPointer(rebasing: bytes[..<4096]))
        rings = SharedMemory(UnsafeMutableRawBufferPointer(rebasing: bytes[4096...]))
    }
    deinit { bytes.deallocate() }

    func server(_ layout: VchanLayout) -> VchanView {
        let pages = layout.left.pages + layout.right.pages
        return VchanView(
            serverOn: page, rings: rings, layout,
            references: (0..<pages).map { GrantReference(rawValue: UInt32(100 + $0)) }[...])
    }

    func client() -> VchanView? {
        guard let layout = VchanView.layout(of: page) else { return nil }
        let left = layout.left.pages * 4096
        return VchanView(
            clientOn: page, left: rings[0..<left], right: rings[left..<rings.count], layout)
    }
}

extension SharedRun {
    func store8(_ index: Int, _ byte: UInt8) {
        index < first.count
            ? first.store8(index, byte) : second.store8(index - first.count, byte)
    }
    func load8(_ index: Int) -> UInt8 {
        index < first.count ? first.load8(index) : second.load8(index - first.count)
    }
    fileprivate func put(_ new: ArraySlice<UInt8>) {
        for (index, byte) in new.enumerated() { store8(index, byte) }
    }
    fileprivate var content: [UInt8] { (0..<count).map { load8($0) } }
}

extension SharedMemory {
    fileprivate var content: [UInt8] { (0..<count).map { load8($0) } }
}

extension VchanView {
    /// Sends what there is room for.
    fileprivate mutating func push(_ bytes: [UInt8]) -> (count: Int, event: Bool) {
        let room = room(space!)
        let count = min(room.count, bytes.count)
        room.put(bytes.prefix(count))
        return (count, send(count))
    }
    /// Receives what is in one piece.
    fileprivate mutating func pull(most: Int = .max) -> (bytes: [UInt8], event: Bool) {
        let piece = arrived(ready!)
        let bytes = Array(piece.content.prefix(most))
        return (bytes, consume(bytes.count))
    }
}

@Suite struct VchanLayoutTests {
    @Test("orders are 10, 11 or 12 to 20, and small ones differ")
    func orders() {
        for left in UInt16(0)...40 {
            for right in UInt16(0)...40 {
                let exists = (10...20).contains(left) && (10...20).contains(right)
                let collide = left == right && left < 12
                // 256 references and those before them reach into the small ring.
                let overlaps = (left, right) == (10, 20) || (left, right) == (20, 10)
                let layout = VchanLayout(left: left, right: right)
                #expect((layout != nil) == (exists && !collide && !overlaps), "\(left), \(right)")
            }
        }
        #expect(VchanLayout(left: 0x8000, right: 11) == nil)
    }

    @Test(
        "a server chooses as libxenvchan does",
        arguments: [
            (0, 0, 10, 11), (1024, 2048, 10, 11), (1025, 1024, 11, 10), (2048, 1024, 11, 10),
            (2048, 1025, 11, 12), (1, 2049, 11, 12), (2048, 4096, 11, 12), (2049, 2048, 12, 11),
            (4097, 1, 13, 11), (3000, 3000, 12, 12), (65536, 65536, 16, 16),
            (1 << 20, 1 << 20, 20, 20),
        ])
    func choice(left: Int, right: Int, leftOrder: UInt16, rightOrder: UInt16) {
        #expect(
            VchanLayout(leastLeft: left, leastRight: right)
                == VchanLayout(left: leftOrder, right: rightOrder))
    }

    @Test("more than 1 MiB is refused")
    func tooLarge() {
        #expect(VchanLayout(leastLeft: 1 << 20 + 1, leastRight: 0) == nil)
        #expect(VchanLayout(leastLeft: 0, leastRight: .max) == nil)
    }

    @Test("rings in the shared page are where the interface has them")
    func places() {
        let layout = VchanLayout(left: 10, right: 11)!
        #expect(layout.left.place == 1024..<2048 && layout.right.place == 2048..<4096)
        #expect(layout.left.pages == 0 && VchanLayout(left: 12, right: 14)!.right.pages == 4)
    }
}

@Suite struct VchanFlowTests {
    @Test("what is available is right for every index of the other end", arguments: [true, false])
    func available(isWriting: Bool) {
        var random = SplitMix(seed: 7)
        for _ in 0..<20_000 {
            let index: UInt32 = .random(in: 0 ... .max, using: &random)
            let flow = VchanFlow(.small, isWriting: isWriting, from: index)
            let other: UInt32 =
                Bool.random(using: &random)
                ? .random(in: 0 ... .max, using: &random)
                : index &+ .random(in: 0...1030, using: &random) &- 515
            let distance = isWriting ? index &- other : other &- index
            let expected: UInt32? =
                distance > 1024 ? nil : isWriting ? 1024 - distance : distance
            #expect(flow.available(other) == expected)
            if let expected {
                let (first, second) = flow.spans(expected)
                #expect(first.lowerBound == Int(index % 1024) && first.upperBound <= 1024)
                #expect(first.count + second.count == Int(expected) && second.lowerBound == 0)
                #expect(second.isEmpty || first.upperBound == 1024)
                #expect(second.count <= first.lowerBound)
            }
        }
    }

    @Test("indices run over 2^32 without a seam")
    func wraps() {
        var writer = VchanFlow(.small, isWriting: true, from: .max - 10)
        #expect(writer.available(.max - 10) == 1024)
        writer.advance(100)
        #expect(writer.index == 89)
        #expect(writer.available(.max - 10) == 924)
        let reader = VchanFlow(.small, isWriting: false, from: .max - 10)
        #expect(reader.available(89) == 100)
    }
}

@Suite struct VchanViewTests {
    private static let layouts = [
        VchanLayout(left: 10, right: 11)!, VchanLayout(left: 11, right: 10)!,
        VchanLayout(left: 12, right: 13)!, VchanLayout(left: 11, right: 12)!,
        VchanLayout(left: 12, right: 10)!,
    ]

    @Test("a server's page has the fields of docs/abi/xen-grants.md §8")
    func format() {
        let memory = Memory(VchanLayout(left: 12, right: 13)!)
        _ = memory.server(VchanLayout(left: 12, right: 13)!)
        let page = memory.page.content
        #expect(page[..<16].allSatisfy { $0 == 0 })
        #expect(Array(page[16..<24]) == [12, 0, 13, 0, 2, 1, 0x41, 0])
        #expect(Array(page[24..<36]) == [100, 0, 0, 0, 101, 0, 0, 0, 102, 0, 0, 0])
        #expect(page[36...].allSatisfy { $0 == 0 })
        let layout = VchanView.layout(of: memory.page)!
        let references = VchanView.references(of: memory.page, layout)
        #expect(references.left.map(\.rawValue) == [100])
        #expect(references.right.map(\.rawValue) == [101, 102])
    }

    @Test("a client says that it is there, and asks to be told of writes")
    func client() {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        let server = memory.server(layout)
        #expect(server.presence == .notYet)
        let client = memory.client()
        #expect(Array(memory.page.content[20..<24]) == [1, 1, 0x41, 0x41])
        #expect(server.presence == .here && client?.presence == .here)
        client?.leave()
        #expect(server.presence == .gone && memory.page.load8(20) == 0)
        server.leave()
        #expect(client?.presence == .gone && memory.page.load8(21) == 0)
    }

    @Test("a client finds no server in a page that one has left, or with impossible indices")
    func refused() {
        let layout = VchanLayout(left: 10, right: 11)!
        for (offset, value) in [(21, 0), (0, 1), (8, 1), (5, 9)] {
            let memory = Memory(layout)
            _ = memory.server(layout)
            memory.page.store8(offset, UInt8(value))
            #expect(memory.client() == nil, "\(offset)")
        }
    }

    @Test(
        "bytes arrive as they were sent, in all layouts", arguments: 0..<5, 0..<20 as Range<UInt64>)
    func stream(layout: Int, seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let layout = Self.layouts[layout]
        let memory = Memory(layout)
        var server = memory.server(layout)
        var client = try #require(memory.client())
        var sent: [[UInt8]] = [[], []]
        var received: [[UInt8]] = [[], []]
        for _ in 0..<400 {
            let bytes = (0..<Int.random(in: 0...3000, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: sent[0] += bytes.prefix(server.push(bytes).count)
            case 1: sent[1] += bytes.prefix(client.push(bytes).count)
            case 2: received[0] += client.pull(most: bytes.count).bytes
            default: received[1] += server.pull(most: bytes.count).bytes
            }
            #expect(client.untaken == UInt32(sent[1].count - received[1].count))
        }
        for _ in 0..<3 {
            received[0] += client.pull().bytes
            received[1] += server.pull().bytes
        }
        #expect(received == sent)
        #expect(server.untaken == 0 && client.untaken == 0)
    }

    @Test("an event is due once for each time that it was asked for")
    func events() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        var client = try #require(memory.client())
        // Both begin with asking to be told of writes.
        #expect(server.push([1]).event && client.push([1]).event)
        #expect(!server.push([2]).event && !client.push([2]).event)
        #expect(!client.pull().event)
        server.ask(for: .read)
        _ = server.push([3])
        #expect(client.pull().event)
        client.ask(for: .written)
        #expect(server.push([4]).event)
        #expect(!server.push([5]).event)
        // The bits of one end are not the other's.
        client.ask(for: .read)
        #expect(!server.push([6]).event)
        #expect(server.pull().event)
    }

    @Test("a finished direction is a bit that asking for events and sending leave alone")
    func finished() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        // The server may finish before its client comes.
        server.finish()
        var client = try #require(memory.client())
        #expect(client.isOtherFinished && !server.isOtherFinished)
        #expect(server.presence == .here)
        client.ask(for: .read)
        _ = client.push([1])
        _ = server.pull()
        #expect(client.isOtherFinished)
        client.finish()
        server.ask(for: .written)
        #expect(server.isOtherFinished && client.isOtherFinished)
        // What the server said to this client is not said to the next one.
        client.leave()
        let next = try #require(memory.client())
        #expect(!next.isOtherFinished && next.willOtherFinish && !server.isOtherFinished)
    }

    @Test("a server's rings serve the next client as a first one, if the last one has taken all")
    func renewed() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        var client = try #require(memory.client())
        _ = client.push([1, 2])
        _ = server.push([3])
        server.finish()
        client.finish()
        // It is killed, so that its own byte is all that is cleared.
        memory.page.store8(20, 0)
        #expect(!server.renew())
        _ = client.pull()
        #expect(server.renew())
        #expect(server.presence == .gone && server.ready == 2)
        #expect(!server.isOtherFinished && !server.willOtherFinish)
        let next = try #require(memory.client())
        #expect(server.presence == .here && server.willOtherFinish && server.ready == 2)
        #expect(!next.isOtherFinished && next.willOtherFinish && next.ready == 0)
        // Who is there already is not made to have said nothing.
        next.finish()
        #expect(server.renew())
        #expect(server.isOtherFinished && server.willOtherFinish)
    }

    @Test("a client that comes while its server renews the rings is not made to have said nothing")
    func renewedMeanwhile() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        let server = memory.server(layout)
        let address = Int(bitPattern: memory.bytes.baseAddress!)
        // Odd while a client is to come.
        let turn = Atomic(0)
        let rounds = 20_000
        /// Both are to be awake, if they have a processor each.
        @Sendable func wait(for wanted: Int) {
            var looks = 0
            while turn.load(ordering: .acquiring) != wanted {
                looks += 1
                if looks > 2000 { sched_yield() }
            }
        }
        Thread.detachNewThread {
            let page = SharedMemory(
                UnsafeMutableRawBufferPointer(
                    start: UnsafeMutableRawPointer(bitPattern: address), count: 4096))
            for round in 0..<rounds {
                wait(for: 2 * round + 1)
                _ = VchanView(
                    clientOn: page, left: page[0..<0], right: page[0..<0],
                    VchanLayout(left: 10, right: 11)!)
                turn.store(2 * round + 2, ordering: .releasing)
            }
        }
        var wrong = 0
        for round in 0..<rounds {
            // The last one had finished.
            memory.page.store8(23, 0xC1)
            memory.page.store8(20, 0)
            turn.store(2 * round + 1, ordering: .releasing)
            // Each time the client is a little further.
            for _ in 0..<round % 256 { _ = memory.page.load8(20) }
            let isRenewed = server.renew()
            wait(for: 2 * round + 2)
            if !isRenewed || !server.willOtherFinish || server.isOtherFinished { wrong += 1 }
        }
        #expect(wrong == 0)
        withExtendedLifetime(memory) {}
    }

    @Test("a word of shared memory is replaced only while it is the old one")
    func replaced() throws {
        let memory = Memory(VchanLayout(left: 10, right: 11)!)
        memory.page.store32(20, 0x8765_4321)
        #expect(!memory.page.replace32(20, 0x8765_4320, by: 5))
        #expect(memory.page.load32(20) == 0x8765_4321)
        #expect(memory.page.replace32(20, 0x8765_4321, by: 5))
        #expect(memory.page.load32(20) == 5 && memory.page.load32(24) == 0xEEEE_EEEE)
    }

    @Test(
        "whether the other end can say that it has finished is a bit, which libxenvchan does not set"
    )
    func knowsFinished() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        let server = memory.server(layout)
        #expect(!server.willOtherFinish)
        let client = try #require(memory.client())
        #expect(server.willOtherFinish && client.willOtherFinish)
        memory.page.store8(22, 1)
        memory.page.store8(23, 1)
        #expect(!server.willOtherFinish && !client.willOtherFinish)
    }

    @Test("bytes on both sides of a ring's end go in one call, from a file and to one")
    func seam() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        var client = try #require(memory.client())
        _ = server.push(Array(repeating: 0, count: 1900))
        _ = client.pull()
        let bytes = (0..<2048).map { UInt8(truncatingIfNeeded: $0 * 5 / 3) }
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(bytes.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) } == 2048)
        let calls = Mutex(0)
        try SystemCall.hooked({ _ in
            calls.withLock { $0 += 1 }
            return nil
        }) { () throws(Errno) in
            let room = server.room(server.space!)
            #expect(room.first.count == 148 && room.second.count == 1900)
            #expect(try room.fill(from: ends[0]) == 2048)
            _ = server.send(2048)
            #expect(client.arrived(client.ready!).content == bytes)
            #expect(try client.arrived(client.ready!).write(to: ends[1]) == 2048)
        }
        #expect(calls.withLock { $0 } == 2)
        var back = [UInt8](repeating: 0, count: 4096)
        #expect(read(ends[0], &back, 4096) == 2048 && Array(back.prefix(2048)) == bytes)
        let part = client.arrived(client.ready!).prefix(200)
        #expect(part.first.count == 148 && part.second.count == 52)
    }

    @Test(
        "a peer that writes anything anywhere cannot lead us outside",
        arguments: 0..<400 as Range<UInt64>)
    func hostile(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let layout = Self.layouts.randomElement(using: &random)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        let page = memory.page
        for _ in 0..<200 {
            // Indices near the right ones now and then, else none would pass.
            let offset = Int.random(in: 0..<6, using: &random) * 4
            let near = page.load32([0, 4, 8, 12].randomElement(using: &random)!)
            page.store32(
                offset,
                Bool.random(using: &random)
                    ? .random(in: 0 ... .max, using: &random)
                    : near &+ .random(in: 0...4096, using: &random) &- 2048)
            if let space = server.space {
                #expect(space <= layout.right.bytes)
                let room = server.room(space)
                #expect(room.count <= Int(space))
                room.put(ArraySlice(repeating: 1, count: room.count))
                _ = server.send(room.count)
            }
            if let ready = server.ready {
                #expect(ready <= layout.left.bytes)
                let piece = server.arrived(ready)
                #expect(piece.count <= Int(ready))
                _ = server.consume(piece.count)
            }
            #expect(server.untaken <= layout.right.bytes)
            _ = server.presence
            // Whoever made up such a page has at most a client that refuses it.
            if let other = VchanView.layout(of: page), other == layout { _ = memory.client() }
        }
    }

    @Test("a ring that is changed after it was looked at keeps its place")
    func orderChangedLater() throws {
        let layout = VchanLayout(left: 10, right: 11)!
        let memory = Memory(layout)
        var server = memory.server(layout)
        var client = try #require(memory.client())
        memory.page.store16(16, 20)
        memory.page.store16(18, 20)
        #expect(client.space == 1024 && client.room(1024).count == 1024)
        #expect(client.push([9]).count == 1)
        #expect(server.pull().bytes == [9])
    }
}
