// Two guests on a shared page, each with its host. Both are in this process, so a hook stands for the
// locks of two: it says that every slot but the asking one's is held by this process.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

private let page: UInt32 = 0x50000
private let record: UInt32 = 0x60000
private let buffers: UInt32 = 0x61000
private let text: UInt32 = 0x70000
private let room: UInt32 = 0x80000

/// The kernel's locks, as this process sees them while it plays two.
private final class Locks: Sendable {
    /// What is told of who holds a byte; nil for the truth, which is nobody.
    let holder = Mutex<Int32?>(getpid())
    func play<Value>(_ body: () throws -> Value) rethrows -> Value {
        try SystemCall.hooked(
            { call in
                guard call.number == .fileControl, let holder = self.holder.withLock({ $0 }) else {
                    return nil
                }
                let lock = UnsafeMutablePointer<mini_flock>(bitPattern: call.arguments.2)!
                lock.pointee.process = holder
                return 0
            }, body)
    }
}

/// A file of one page, and guests that share it.
private struct Segment: ~Copyable {
    let file: Descriptor

    init() throws { file = try memoryFile([UInt8](repeating: 0, count: 4096)) }
}

private func guest(
    _ segment: borrowing Segment, slot: UInt32, _ era: GuestABI.Era = .era1, tries: Bool = true,
    code: (inout Assembler) -> Void
) throws -> TinyGuest {
    let number = segment.file.number
    let end = ContinuousClock.now + .seconds(60)
    while true {
        do {
            return try TinyGuest(
                era, prepare: { try $0.share($0.range(page, 4096)!, file: number, slot: slot) },
                handler: { $0.checkpoint(0xFF) },
                code: {
                    $0.initialize()
                    $0.gate(0x25, TinyGuest.high + TinyGuest.handler)
                    code(&$0)
                })
        } catch let errno as Errno where tries && errno.rawValue == 98 && ContinuousClock.now < end
        {
            // EADDRINUSE: a program that another test has just started has our sockets.
            Clock.sleep(.milliseconds(5))
        }
    }
}

/// Binds `count` buffers of 1514 bytes to a slot's key, with line 5, and says what came of it.
private func bind(_ code: inout Assembler, slot: UInt32, count: UInt32 = 2, line: UInt32 = 5) {
    code.call(12, page + 4 * slot, buffers, count << 8 | line)
    code.store(TinyGuest.high + record + 0x100)
    code.checkpoint(1)
}

private func send(_ code: inout Assembler, to slot: UInt32) {
    code.call(13, page + 4 * slot, record)
    code.checkpoint(2)
}

extension TinyGuest {
    fileprivate func putBuffers(_ count: Int = 2, layout: GuestABI.DMALayout = .lengthsFirst) {
        for index in 0..<UInt32(count) {
            put(
                [(room + index * 4096, 1514), (0, 0)], at: buffers + index * 100, layout,
                to: memory)
        }
    }
    fileprivate func putFrame(_ bytes: [UInt8], layout: GuestABI.DMALayout = .lengthsFirst) {
        memory.writable(memory.range(text, UInt32(bytes.count))!).copyBytes(from: bytes)
        let half = UInt16(bytes.count / 2)
        put(
            [(text, half), (text + UInt32(half), UInt16(bytes.count) - half), (0, 0)], at: record,
            layout, to: memory)
        memory.store32(record, 0)
    }
    fileprivate var isBound: UInt32 { word(record + 0x100) }
    fileprivate func used(_ index: UInt32) -> UInt32 { word(buffers + index * 100) }
    fileprivate func received(_ index: UInt32) -> [UInt8] {
        bytes(of: memory, room + index * 4096, used(index))
    }
}

private func frame(_ number: UInt8, _ count: Int = 60) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0) &+ number }
}

@Suite(.serialized) struct HostPeersTests {
    @Test(
        "a frame goes from one guest's memory to the other's, with an interrupt",
        arguments: [(GuestABI.Era.era0, .addressesFirst), (.era1, .lengthsFirst)]
            as [(GuestABI.Era, GuestABI.DMALayout)])
    func deliver(era: GuestABI.Era, layout: GuestABI.DMALayout) throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0, era) { send(&$0, to: 1) }
            let two = try guest(segment, slot: 1, era) {
                bind(&$0, slot: 1)
                $0.call(10)
            }
            two.putBuffers(layout: layout)
            one.putFrame(frame(3, 600), layout: layout)
            #expect(two.run() == .checkpoint(1))
            #expect(two.isBound == 1)
            #expect(one.run() == .checkpoint(2))
            #expect(one.word(record) == 600)
            // It halts, is woken by the frame and takes the interrupt.
            #expect(two.run() == .checkpoint(0xFF))
            #expect(two.used(0) == 600)
            #expect(two.received(0) == frame(3, 600))
            #expect(two.used(1) == 0)
        }
    }

    @Test("frames that find no free buffer wait, and keep their order")
    func wait() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { code in for _ in 0..<3 { send(&code, to: 1) } }
            let two = try guest(segment, slot: 1) { code in
                bind(&code, slot: 1)
                code.call(10)
                for _ in 0..<4 { code.checkpoint(3) }
            }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            for number in 1...3 as ClosedRange<UInt8> {
                one.putFrame(frame(number))
                #expect(one.run() == .checkpoint(2))
                #expect(one.word(record) == 60)
            }
            #expect(two.run() == .checkpoint(0xFF))
            #expect(two.received(0) == frame(1) && two.received(1) == frame(2))
            two.memory.store32(buffers, 0)
            two.host.servePeers()
            #expect(two.received(0) == frame(3) && two.received(1) == frame(2))
        }
    }

    @Test("a guest hears at its own slot alone, and not itself")
    func own() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) {
                bind(&$0, slot: 1)
                bind(&$0, slot: 0)
                send(&$0, to: 0)
                bind(&$0, slot: 0, line: 0)
                bind(&$0, slot: 0, line: 0)
            }
            one.putBuffers()
            one.putFrame(frame(1))
            #expect(one.run() == .checkpoint(1))
            #expect(one.isBound == 0)
            #expect(one.run() == .checkpoint(1))
            #expect(one.isBound == 1)
            #expect(one.run() == .checkpoint(2))
            #expect(one.word(record) == 0 && one.used(0) == 0)
            #expect(one.run() == .checkpoint(1))
            #expect(one.isBound == 1, "taken away")
            #expect(one.run() == .checkpoint(1))
            #expect(one.isBound == 0, "was not there")
        }
    }

    @Test("where nobody listens, or nobody listens any more, nothing is taken and nothing happens")
    func nobody() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { code in for _ in 0..<4 { send(&code, to: 1) } }
            let two = try guest(segment, slot: 1) {
                bind(&$0, slot: 1)
                bind(&$0, slot: 1, line: 0)
                bind(&$0, slot: 1)
            }
            two.putBuffers()
            for (step, length) in [(false, 0), (true, 60), (true, 0), (true, 60)]
                as [(Bool, UInt32)]
            {
                if step { #expect(two.run() == .checkpoint(1)) }
                // Whoever was not there is not looked for at once.
                if length > 0 { Clock.sleep(PeerLink.pause + .milliseconds(10)) }
                one.putFrame(frame(1))
                #expect(one.run() == .checkpoint(2))
                #expect(one.word(record) == length)
            }
            two.host.servePeers()
            #expect(two.received(0) == frame(1))
        }
    }

    @Test("who holds no slot of the file is neither sent to nor heard")
    func strangers() throws {
        let locks = Locks()
        try locks.play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { code in for _ in 0..<2 { send(&code, to: 1) } }
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            locks.holder.withLock { $0 = nil }
            one.putFrame(frame(1))
            #expect(one.run() == .checkpoint(2))
            #expect(one.word(record) == 0, "the listener has not locked slot 1")
            // A sender that does not ask is not heard.
            locks.holder.withLock { $0 = 1 }
            let shared = try #require(two.memory.sharedPages.first)
            let socket = try LocalSocket.connected(
                to: shared.address(of: DMAKey(rawValue: page + 4)))
            try Transfer.write(socket.number, "a frame without a slot")
            two.host.servePeers()
            #expect(two.used(0) == 0)
            #expect(throws: Errno.self) { try Transfer.write(socket.number, "again") }
        }
    }

    /// Connects as the host of a slot would.
    private static func connect(
        _ guest: TinyGuest, slot: UInt32, at key: DMAKey = DMAKey(rawValue: page + 4)
    ) throws -> Descriptor {
        var shared = try #require(guest.memory.sharedPages.first)
        shared = SharedPage(
            start: shared.start, file: shared.file, descriptor: shared.descriptor, slot: slot)
        return try LocalSocket.connected(
            to: shared.address(of: key), from: shared.ownAddress(to: key))
    }

    @Test("whoever connects, and whatever slot that claims, costs one look at the locks, or none")
    func costOfAConnection() throws {
        let asked = Mutex(0)
        try SystemCall.hooked({ call in
            guard call.number == .fileControl else { return nil }
            asked.withLock { $0 += 1 }
            // Slot 0 is another process's.
            let lock = UnsafeMutablePointer<mini_flock>(bitPattern: call.arguments.2)!
            lock.pointee.process = 1
            return 0
        }) {
            let segment = try Segment()
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            let shared = try #require(two.memory.sharedPages.first)
            let address = shared.address(of: DMAKey(rawValue: page + 4))
            for claim in [
                "", "<", "<0", "<0.", "<682.7", "<1.7", "<4294967296.7", "<-1.0", "<.", ">0.1",
            ] {
                let before = asked.withLock { $0 }
                let isSound = claim == "<0."
                let own = claim.isEmpty ? nil : LocalAddress(name: "\(address.name)\(claim)")
                let socket = try LocalSocket.connected(to: address, from: own)
                try Transfer.write(socket.number, "a frame of nobody")
                two.host.servePeers()
                #expect(two.used(0) == 0)
                #expect(asked.withLock { $0 } - before == (isSound ? 1 : 0), "\(claim)")
                #expect(two.host.inlets[0].watched.count == 1)
            }
        }
    }

    @Test(
        "a member's number that a process had which has ended is nobody's: where the kernel tells")
    func endedProcess() throws {
        // What SO_PEERPIDFD gives: a descriptor that can be read, one that cannot, or what older kernels say.
        for (answer, isHeard) in [
            ("ended", false), ("alive", true), ("unknown", true), ("gone", false),
        ] {
            let locks = Locks()
            try locks.play {
                let segment = try Segment()
                let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
                two.putBuffers()
                #expect(two.run() == .checkpoint(1))
                let socket = try Self.connect(two, slot: 0)
                try Transfer.write(socket.number, "a frame")
                SystemCall.hooked({ call in
                    if call.number == .fileControl {
                        let lock = UnsafeMutablePointer<mini_flock>(bitPattern: call.arguments.2)!
                        lock.pointee.process = getpid()
                        return 0
                    }
                    guard call.number.rawValue == SocketCall.option.direct, call.arguments.2 == 77
                    else {
                        return nil
                    }
                    if answer == "unknown" { return -92 }
                    if answer == "gone" { return -3 }
                    var ends: (Int32, Int32) = (0, 0)
                    _ = withUnsafeMutablePointer(to: &ends) {
                        mini_syscall(
                            SystemCall.Number.pipe.rawValue, Int(bitPattern: $0), 0, 0, 0, 0, 0)
                    }
                    if answer == "ended" { _ = write(ends.1, "x", 1) } else { _ = dup(ends.1) }
                    close(ends.1)
                    UnsafeMutablePointer<Int32>(bitPattern: call.arguments.3)!.pointee = ends.0
                    return 0
                }) { two.host.servePeers() }
                #expect((two.used(0) == 7) == isHeard, "\(answer)")
            }
        }
    }

    @Test(
        "connections are accepted or closed sixteen at a time, and those accepted before are served meanwhile"
    )
    func crowd() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { code in for _ in 0..<3 { send(&code, to: 1) } }
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            one.putFrame(frame(1))
            #expect(one.run() == .checkpoint(2))
            two.host.servePeers()
            #expect(two.received(0) == frame(1))
            let inlet = two.host.inlets[0]
            let address = try #require(two.memory.sharedPages.first).address(
                of: DMAKey(rawValue: page + 4))
            var strangers: [Int32] = []
            // The kernel makes the connection before anybody accepts it.
            while let socket = try? LocalSocket.connected(to: address) {
                strangers.append(dup(socket.number))
                if strangers.count == 64 { break }
            }
            defer { for number in strangers { close(number) } }
            #expect(strangers.count == 64)
            one.putFrame(frame(2))
            #expect(one.run() == .checkpoint(2))
            let accepted = Mutex(0)
            // The clock stands still, a second after it began.
            SystemCall.hooked({ call in
                if call.number.rawValue == SocketCall.accept.direct {
                    accepted.withLock { $0 += 1 }
                }
                if call.number == .clockTime {
                    UnsafeMutablePointer<mini_timespec>(bitPattern: call.arguments.1)!.pointee =
                        mini_timespec(seconds: 1, nanoseconds: 0)
                    return 0
                }
                return Self.locks(call)
            }) {
                two.host.servePeers()
                #expect(accepted.withLock { $0 } == 16)
                #expect(two.received(1) == frame(2), "served in the same turn")
                #expect(inlet.watched.count == 1, "both buffers are full")
                two.host.servePeers()
                #expect(accepted.withLock { $0 } == 32)
                #expect(inlet.watched == [], "and none is accepted for a while")
                #expect(inlet.restLeft == .milliseconds(10))
            }
            // By the machine's clock that is over.
            #expect(inlet.watched.count == 1, "the listening socket")
        }
    }

    @Test("a sender that closes, or is killed, takes nothing along")
    func closed() throws {
        try Locks().play {
            let segment = try Segment()
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            for number in 1...2 as ClosedRange<UInt8> {
                let one = try guest(segment, slot: 0) { send(&$0, to: 1) }
                one.putFrame(frame(number))
                #expect(one.run() == .checkpoint(2))
                one.host.close()
            }
            two.host.servePeers()
            two.host.servePeers()
            #expect(two.received(0) == frame(1) || two.received(0) == frame(2))
            #expect(two.host.inlets[0].watched.count == 1, "the listening socket alone")
        }
    }

    @Test("a sender that ends is left out, also by a guest whose buffers have no room")
    func closedWithoutRoom() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { send(&$0, to: 1) }
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            for index in 0..<2 as Range<UInt32> {
                put([(room, 0), (0, 0)], at: buffers + index * 100, .lengthsFirst, to: two.memory)
            }
            #expect(two.run() == .checkpoint(1))
            one.putFrame(frame(1))
            #expect(one.run() == .checkpoint(2))
            two.host.servePeers()
            #expect(two.host.inlets[0].watched.count == 2 && two.used(0) == 0)
            one.host.close()
            two.host.servePeers()
            #expect(two.host.inlets[0].watched.count == 1, "the listening socket alone")
        }
    }

    @Test("two guests cannot have one slot's key, and the second is told at once")
    func addressInUse() throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { $0.checkpoint(1) }
            #expect(throws: Errno.addressInUse) {
                try guest(segment, slot: 0, tries: false) { $0.checkpoint(1) }
            }
            #expect(one.run() == .checkpoint(1))
        }
    }

    @Test(
        "a section outside memory, larger than a page or across two ends the sender",
        arguments: [
            (text, 4097, "bad DMA entry: 4097@0x70000"),
            (text + 4090, 7, "bad DMA entry: 7@0x70ffa"),
            (0xFFFF_FF00, 16, "bad DMA entry: 16@0xffffff00"),
            (TinyGuest.count - 16, 16, "bad DMA entry: 16@0xffff0"),
        ] as [(UInt32, UInt16, String)])
    func badSection(start: UInt32, count: UInt16, reason: String) throws {
        try Locks().play {
            let segment = try Segment()
            let one = try guest(segment, slot: 0) { send(&$0, to: 1) }
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            put([(text, 60), (start, count), (0, 0)], at: record, .lengthsFirst, to: one.memory)
            #expect(two.run() == .checkpoint(1))
            #expect(one.lastWords() == reason)
            two.host.servePeers()
            #expect(two.used(0) == 0)
        }
    }

    @Test("bad buffers end the receiver, and the sender goes on")
    func badBuffers() throws {
        for (address, reason) in [
            (buffers, "bad DMA entry: 1514@0xfff00"),
            (0xFFFF_FFF0, "bad address in registered DMA struct"),
        ] as [(UInt32, String)] {
            try Locks().play {
                let segment = try Segment()
                let one = try guest(segment, slot: 0) { send(&$0, to: 1) }
                let two = try guest(segment, slot: 1) {
                    $0.call(12, page + 4, address, 1 << 8 | 5)
                    $0.checkpoint(1)
                    $0.call(10)
                }
                put([(0xF_FF00, 1514), (0, 0)], at: buffers, .lengthsFirst, to: two.memory)
                #expect(two.run() == .checkpoint(1))
                one.putFrame(frame(1))
                #expect(one.run() == .checkpoint(2))
                #expect(two.lastWords() == reason)
            }
        }
    }

    @Test("whichever call on sockets and locks fails, both guests live on, and nothing stays open")
    func everyCallFails() throws {
        var delivered = 0
        for failing in 1...40 {
            let state = Mutex((calls: 0, open: Set<Int>()))
            try SystemCall.hooked({ call in
                state.withLock { state in
                    if call.number == .close { state.open.remove(call.arguments.0) }
                    let sockets = [41, 42, 43, 46, 47, 49, 50, 55]
                    let isLock = call.number == .fileControl
                    guard isLock || sockets.contains(call.number.rawValue) else { return nil }
                    state.calls += 1
                    if state.calls == failing { return -24 }
                    if isLock { return Self.locks(call) }
                    guard call.number.rawValue == 41 || call.number.rawValue == 43 else {
                        return nil
                    }
                    let (first, second, third, _, _, _) = call.arguments
                    let result = mini_syscall(call.number.rawValue, first, second, third, 0, 0, 0)
                    if result >= 0 { state.open.insert(result) }
                    return result
                }
            }) {
                let segment = try Segment()
                let code = { (code: inout Assembler) in for _ in 0..<3 { send(&code, to: 1) } }
                let one = try? guest(segment, slot: 0, code: code)
                let two = try? guest(segment, slot: 1) { bind(&$0, slot: 1) }
                two?.putBuffers()
                _ = two?.run()
                for _ in 0..<3 {
                    one?.putFrame(frame(1))
                    _ = one?.run()
                    two?.host.servePeers()
                }
                if two?.used(1) == 60 { delivered += 1 }
                for guest in [one, two] {
                    guard let guest else { continue }
                    #expect(guest.host.machine.phase != .dead)
                    guest.host.close()
                }
            }
            #expect(state.withLock { $0.open.isEmpty }, "call \(failing)")
        }
        #expect(delivered > 20 && delivered < 40)
    }

    @Test("a hundred thousand malicious records and keys: nothing outside the guest is touched")
    func malicious() throws {
        let segment = try Segment()
        let strays = Strays()
        var random = SplitMix(seed: 53)
        try Locks().play {
            let two = try guest(segment, slot: 1) { bind(&$0, slot: 1) }
            two.putBuffers()
            #expect(two.run() == .checkpoint(1))
            var one = try guest(segment, slot: 0) { $0.spin() }
            var deaths = 0
            for _ in 0..<100_000 {
                if one.host.machine.phase == .dead {
                    deaths += 1
                    one.host.close()
                    one = try guest(segment, slot: 0) { $0.spin() }
                }
                strays.look(at: one.memory, two.memory)
                _ = one.host.machine.enter()
                for offset in stride(from: 0, to: 100, by: 4) as StrideTo<UInt32> {
                    let small = UInt32.random(in: 0..<64, using: &random)
                    let word = UInt32.random(in: 0...(.max), using: &random)
                    let isLength = offset >= 4 && offset < 36
                    one.memory.store32(
                        record + offset,
                        isLength
                            ? small | small << 16
                            : Int.random(in: 0..<400, using: &random) == 0 ? word : word % 0xE_F000)
                }
                let key = page + 4 * UInt32.random(in: 0..<1024, using: &random)
                SystemCall.hooked({ strays.judge($0) ?? Self.locks($0) }) {
                    if let shared = one.memory.sharedPage(of: key) {
                        let target = Int.random(in: 0..<2, using: &random) == 0 ? page + 4 : key
                        one.host.sendShared(DMANotification(record, target), of: shared)
                    }
                    _ = one.host.bindShared(
                        DMAKey(rawValue: key), .random(in: 0...(.max), using: &random), 5)
                    two.host.servePeers()
                }
                one.host.machine.pause()
                for index in 0..<2 as Range<UInt32> { two.memory.store32(buffers + 100 * index, 0) }
            }
            #expect(deaths > 100)
            #expect(two.host.machine.phase != .dead)
        }
        #expect(strays.count == 0)
        #expect(strays.seen > 1000)
    }

    private static func locks(_ call: SystemCall) -> Int? {
        guard call.number == .fileControl else { return nil }
        UnsafeMutablePointer<mini_flock>(bitPattern: call.arguments.2)!.pointee.process = getpid()
        return 0
    }
}

/// Looks at every piece of memory that sendmsg and readv get.
private final class Strays: @unchecked Sendable {
    var count = 0
    var seen = 0
    private var spans: [Range<UInt>] = []

    func look(at memories: GuestMemory...) {
        spans = memories.map {
            let base = UInt(bitPattern: $0.base)
            return base..<base + UInt($0.count)
        }
    }

    func judge(_ call: SystemCall) -> Int? {
        let (vector, pieces): (UInt, Int)
        if call.number.rawValue == SocketCall.send.direct {
            let header = UnsafePointer<mini_msghdr>(bitPattern: call.arguments.1)!.pointee
            (vector, pieces) = (header.vector, Int(header.vector_count))
        } else if call.number == .readVector {
            (vector, pieces) = (UInt(bitPattern: call.arguments.1), call.arguments.2)
        } else {
            return nil
        }
        seen += 1
        for index in 0..<pieces {
            let piece = UnsafeRawPointer(bitPattern: vector)! + 16 * index
            let start = piece.load(as: UInt.self)
            let end = start + piece.load(fromByteOffset: 8, as: UInt.self)
            if !spans.contains(where: { $0.contains(start) && end <= $0.upperBound }) { count += 1 }
        }
        return nil
    }
}
