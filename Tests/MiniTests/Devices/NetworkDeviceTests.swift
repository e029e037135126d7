// The network on a guest that is nothing but memory; a pair of sockets is the tap and its cable.

import CShim
import Foundation
import Testing

@testable import Mini

/// Gives out bound buffers as a host does: the first free one, or, as a kernel does, the last
/// one with its length overwritten.
private final class RingDevice: LguestDevice {
    let memory: GuestMemory
    var records: [UInt32] = []
    var isKernel = false
    var requests = 0
    var interrupts: [UInt32] = []
    static let line: UInt32 = 9

    init(_ memory: GuestMemory) { self.memory = memory }
    func initialize(_ request: InitializeRequest) throws(Errno) -> Int { 20 }
    func run() throws(Errno) -> RunResult { throw .again }
    func interrupt(_ line: InterruptLine) throws(Errno) { interrupts.append(line.rawValue) }
    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        requests += 1
        let free = records.first { memory.load32($0) == 0 }
        guard key.rawValue == NetworkGuest.page + 4,
            let record = free ?? (isKernel ? records.last : nil)
        else { throw .noSuchFile }
        memory.store32(record, Self.line)
        return GuestAddress(rawValue: record)
    }
    func breakOut(_ on: Bool) throws(Errno) {}
    func watch(_ descriptors: [Int32]) {}
    func close() {}
}

/// A driver's side: records from 0x100 on, 0x80 bytes apart, each with a buffer of 1514 bytes in
/// a page of its own from 0x4000 on; what is sent has its record at 0x80.
private final class NetworkGuest {
    static let page: UInt32 = 0x1_1000
    static let address: [UInt8] = [0x52, 0x54, 0, 1, 2, 3]
    let memory: GuestMemory
    let device: RingDevice
    let network: NetworkDevice
    /// The other end of the cable.
    let cable: Descriptor

    init(buffers: Int = 4, layout: GuestABI.DMALayout = .lengthsFirst) throws {
        memory = try GuestMemory(count: 0x1_3000)
        device = RingDevice(memory)
        var ends: [Int32] = [0, 0]
        try #require(
            socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        cable = Descriptor(owning: ends[1])
        let near = ends[0]
        let tap = try SystemCall.hooked({ $0.number == .ioctl ? 0 : nil }) {
            () throws(Errno) in try Tap(Descriptor(owning: near), name: "tap7")
        }
        var page = DevicePage(at: 0x1_0000)
        network = try #require(
            NetworkDevice(
                tap, address: HardwareAddress(Self.address), on: &page, in: memory,
                layout: layout))
        for index in 0..<UInt32(buffers) {
            let record = 0x100 + 0x80 * index
            put([(0x4000 + 0x1000 * index, 1514), (0, 0)], at: record, layout, to: memory)
            device.records.append(record)
        }
        put([(0x3000, 0), (0, 0)], at: 0x80, layout, to: memory)
        up()
    }

    func up() { memory.store32(Self.page + 6, 0x0000_0002) }
    func down() { memory.store32(Self.page + 6, 0) }

    /// A frame arrives at the tap.
    func arrive(_ frame: [UInt8]) throws { try Transfer.writeAll(cable.number, frame.span) }

    /// What went out through the tap, or nil.
    func left() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = read(cable.number, &bytes, bytes.count)
        return count < 0 ? nil : Array(bytes.prefix(count))
    }

    func used(_ index: UInt32) -> UInt32? { memory.load32(0x100 + 0x80 * index) }
    func bytes(_ start: UInt32, _ count: UInt32) -> [UInt8] {
        Array(memory.readable(memory.range(start, count)!))
    }
    func fill(_ start: UInt32, _ bytes: [UInt8]) {
        memory.writable(memory.range(start, UInt32(bytes.count))!).copyBytes(from: bytes)
    }
}

extension Transfer {
    fileprivate static func writeAll(_ descriptor: Int32, _ bytes: Span<UInt8>) throws {
        try bytes.withUnsafeBytes { try writeAll(descriptor, $0) }
    }
}

private func frame(_ number: UInt8, _ count: Int = 60) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0) &+ number }
}

@Suite struct NetworkDeviceTests {
    @Test("the page shows the tap, which wants everything; the guest is in slot 1")
    func page() throws {
        let guest = try NetworkGuest()
        #expect(guest.bytes(NetworkGuest.page, 6) == [0x53, 0x54, 0, 1, 2, 3])
        #expect(guest.memory.load32(0x1_0000) == 0x8001_0002)
        #expect(guest.memory.load32(0x1_0004) == 0x0001_0000)
        #expect(guest.memory.load32(0x1_0008) == 0x11)
        #expect(guest.network.key.rawValue == NetworkGuest.page)
        #expect(guest.network.inputKey.rawValue == NetworkGuest.page + 4)
    }

    @Test("a frame of several sections leaves as one, and is acknowledged")
    func send() throws {
        let guest = try NetworkGuest()
        guest.fill(0x3000, frame(1, 40))
        guest.fill(0x3800, frame(41, 20))
        put([(0x3000, 40), (0x3800, 20), (0, 0)], at: 0x80, .lengthsFirst, to: guest.memory)
        #expect(guest.network.send(0x80))
        #expect(guest.left() == frame(1, 60))
        #expect(guest.memory.load32(0x80) == 60)
    }

    @Test("a frame that the host does not take is lost, and the guest hears of it")
    func refused() throws {
        let guest = try NetworkGuest()
        put([(0x3000, 60), (0, 0)], at: 0x80, .lengthsFirst, to: guest.memory)
        guest.memory.store32(0x80, 5)
        let sent = SystemCall.hooked({ $0.number == .writeVector ? -5 : nil }) {
            guest.network.send(0x80)
        }
        #expect(sent)
        #expect(guest.memory.load32(0x80) == 0)
        #expect(guest.left() == nil)
    }

    @Test(
        "a record or section outside memory sends nothing",
        arguments: [(0x3000, 0xFFFF), (0x1_2FFF, 2), (0xFFFF_FFF0, 60), (0x1_3000, 1)]
            as [(UInt32, UInt16)])
    func outside(start: UInt32, count: UInt16) throws {
        let guest = try NetworkGuest()
        let isInside = start == 0x3000
        put([(start, count), (0, 0)], at: 0x80, .lengthsFirst, to: guest.memory)
        #expect(guest.network.send(0x80) == isInside)
        #expect(!guest.network.send(0xFFFF_FFF0))
        #expect(!guest.network.send(GuestAddress(rawValue: guest.memory.count - 99)))
        #expect((guest.left() == nil) == !isInside)
    }

    @Test(
        "frames fill the guest's buffers in turn, with one interrupt for all of them",
        arguments: [.lengthsFirst, .addressesFirst] as [GuestABI.DMALayout])
    func receive(layout: GuestABI.DMALayout) throws {
        let guest = try NetworkGuest(layout: layout)
        for number in 1...3 as ClosedRange<UInt8> {
            try guest.arrive(frame(number, 60 + Int(number)))
        }
        #expect(guest.network.watched == guest.network.tap.descriptor)
        #expect(guest.network.handle(.readable, on: guest.device) == nil)
        #expect((0..<4).map { guest.used($0) } == [61, 62, 63, 0])
        for number in 1...3 as ClosedRange<UInt32> {
            #expect(
                guest.bytes(0x3000 + 0x1000 * number, 60 + number)
                    == frame(UInt8(number), 60 + Int(number)))
        }
        #expect(guest.device.interrupts == [RingDevice.line])
        #expect(guest.network.watched != nil)
    }

    @Test("without a buffer frames wait in the tap, none is lost, and nothing spins")
    func waiting() throws {
        let guest = try NetworkGuest(buffers: 2)
        for number in 1...3 as ClosedRange<UInt8> { try guest.arrive(frame(number)) }
        #expect(guest.network.handle(.readable, on: guest.device) == .milliseconds(1))
        #expect(guest.network.isWaiting && guest.network.watched == nil)
        #expect(guest.network.handle(.guestRan, on: guest.device) == nil)
        #expect(guest.network.handle(.alarm, on: guest.device) == .milliseconds(2))
        guest.memory.store32(0x100, 0)
        #expect(guest.network.handle(.guestRan, on: guest.device) == nil)
        #expect(guest.bytes(0x4000, 60) == frame(3))
        #expect(guest.device.interrupts.count == 2)
        // That was the last: nobody was asked for another buffer.
        #expect(!guest.network.isWaiting && guest.network.watched != nil)
    }

    @Test("a kernel that hands out a busy buffer does not spoil the frame in it")
    func kernel() throws {
        let guest = try NetworkGuest(buffers: 2)
        guest.device.isKernel = true
        for number in 1...3 as ClosedRange<UInt8> {
            try guest.arrive(frame(number, 60 + Int(number)))
        }
        _ = guest.network.handle(.readable, on: guest.device)
        #expect(guest.network.isWaiting)
        #expect([guest.used(0), guest.used(1)] == [61, 62])
        #expect(guest.bytes(0x5000, 62) == frame(2, 62))
        guest.memory.store32(0x180, 0)
        _ = guest.network.handle(.guestRan, on: guest.device)
        #expect([guest.used(0), guest.used(1)] == [61, 63])
    }

    @Test("while the guest's interface is down frames are dropped")
    func down() throws {
        let guest = try NetworkGuest()
        guest.down()
        for number in 1...3 as ClosedRange<UInt8> { try guest.arrive(frame(number)) }
        #expect(guest.network.handle(.readable, on: guest.device) == nil)
        #expect(guest.network.watched != nil)
        #expect(guest.device.interrupts.isEmpty)
        guest.up()
        try guest.arrive(frame(4))
        _ = guest.network.handle(.readable, on: guest.device)
        #expect(guest.bytes(0x4000, 60) == frame(4))
    }

    @Test("a tap that is gone is left alone; the guest goes on")
    func gone() throws {
        let guest = try NetworkGuest()
        SystemCall.hooked({ $0.number == .readVector ? -77 : nil }) {
            _ = guest.network.handle(.readable, on: guest.device)
        }
        #expect(guest.network.watched == nil && !guest.network.isWaiting)
        #expect(guest.network.takeFailure() == Errno(rawValue: 77))
        #expect(guest.network.takeFailure() == nil)
        #expect(guest.used(0) == 0)
        #expect(guest.network.handle(.readable, on: guest.device) == nil)
    }

    @Test("one turn takes no more than 64 frames, so that others have theirs")
    func turns() throws {
        let guest = try NetworkGuest(buffers: 1)
        var reads = 0
        // A guest that reads at once.
        let memory = guest.memory
        let calls = Counter()
        for number in 1...2 as ClosedRange<UInt8> { try guest.arrive(frame(number)) }
        SystemCall.hooked({ call in
            guard call.number == .readVector else { return nil }
            calls.count += 1
            return 0
        }) { _ = guest.network.handle(.readable, on: guest.device) }
        reads = calls.count
        #expect(reads == 64)
        #expect(memory.load32(0x100) == 0)
        #expect(guest.network.watched != nil)
    }

    @Test("a frame that comes alone is read by one call and asks for one buffer")
    func alone() throws {
        let guest = try NetworkGuest()
        let (reads, others) = (Counter(), Counter())
        try guest.arrive(frame(1))
        SystemCall.hooked({ call in
            (call.number == .readVector ? reads : others).count += 1
            return nil
        }) { _ = guest.network.handle(.readable, on: guest.device) }
        #expect(guest.used(0) == 60)
        #expect(reads.count == 1 && others.count == 1, "a read, and a look for more")
        #expect(guest.device.requests == 1)
    }

    private final class Counter: @unchecked Sendable { var count = 0 }

    @Test("a hundred thousand malicious records and buffers touch nothing outside the guest")
    func malicious() throws {
        let guest = try NetworkGuest()
        var random = SplitMix(seed: 47)
        let end = guest.memory.count
        let addresses: [UInt32] = [0, 0x80, 0x100, 0x4000, 0x1_0000, 0x1_1000, end - 1, end, ~0]
        func address() -> UInt32 {
            Bool.random(using: &random)
                ? addresses.randomElement(using: &random)! &+ .random(in: 0...8, using: &random)
                : .random(in: 0...(.max), using: &random)
        }
        let tap = Int(guest.network.tap.descriptor)
        let base = UInt(bitPattern: guest.memory.base)
        let span = base..<base + UInt(end)
        let strays = Counter()
        SystemCall.hooked({ call in
            // Every piece that is handed to the kernel must lie in guest memory.
            guard call.number == .readVector || call.number == .writeVector else { return nil }
            if call.arguments.0 != tap { strays.count += 1 }
            let pieces = UnsafeRawPointer(bitPattern: call.arguments.1)!
            var total = 0
            for index in 0..<call.arguments.2 {
                let start = pieces.load(fromByteOffset: 16 * index, as: UInt.self)
                let count = pieces.load(fromByteOffset: 16 * index + 8, as: UInt.self)
                if !span.contains(start) || start + count > span.upperBound { strays.count += 1 }
                total += Int(count)
            }
            return min(total, 1514)
        }) {
            for _ in 0..<100_000 {
                // The words of a record, the length's halves among them.
                let record = guest.device.records.randomElement(using: &random)!
                for _ in 0..<3 {
                    guest.memory.store32(
                        record &+ 4 * .random(in: 0..<25, using: &random), address())
                }
                if Int.random(in: 0..<4, using: &random) == 0 { guest.memory.store32(record, 0) }
                if Int.random(in: 0..<50, using: &random) == 0 {
                    guest.device.records = [address() & ~3, 0x100, 0x180, address()]
                }
                if Int.random(in: 0..<50, using: &random) == 0 { guest.down() } else { guest.up() }
                _ = guest.network.send(GuestAddress(rawValue: address()))
                _ = guest.network.handle(.readable, on: guest.device)
                _ = guest.network.handle(.alarm, on: guest.device)
            }
        }
        #expect(strays.count == 0)
    }
}
