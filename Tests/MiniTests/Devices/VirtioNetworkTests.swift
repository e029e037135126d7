// The card on a guest that is nothing but memory; a pair of sockets is the tap and its cable.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

private final class Time { var count: UInt64 = 0 }

/// A cable that takes frames until something ends the launch.
private final class EndingCable: NetworkBackend {
    var sent = 0
    var mostSent = Int.max
    func mayGoOn() -> Bool { sent < mostSent }
    func send(_ frame: IOVector) { sent += 1 }
    func receive(into room: IOVector) throws(Errno) -> UInt32 { throw .again }
    func drop() throws(Errno) { throw .again }
    var watched: [Int32] { [] }
}

/// A cable with headers, which notes what it is told.
private final class HeaderCable: NetworkBackend {
    var frames = 0
    private(set) var told: [Int] = []
    private(set) var offloads: Tap.Offloads = []
    private(set) var up: HardwareAddress?
    var hasHeaders: Bool { true }
    func setUp(_ address: HardwareAddress?) { up = address }
    func setOffloads(_ offloads: Tap.Offloads) {
        self.offloads = offloads
        told.append(offloads.rawValue)
    }
    func send(_ frame: IOVector) {}
    func receive(into room: IOVector) throws(Errno) -> UInt32 {
        try drop()
        return 70
    }
    func drop() throws(Errno) {
        guard frames > 0 else { throw .again }
        frames -= 1
    }
    var hasFrame: Bool { frames > 0 }
    var watched: [Int32] { [] }
}

private final class NetworkGuest {
    let driver: VirtioDriver
    let card: VirtioNetwork
    let cable: Descriptor
    /// Nanoseconds, by the card's clock.
    let time = Time()
    static let address: [UInt8] = [0x52, 0x54, 0, 1, 2, 3]

    init(isStarted: Bool = true, headers: Bool = false) throws {
        var ends: [Int32] = [0, 0]
        try #require(
            socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        cable = Descriptor(owning: ends[1])
        let near = ends[0]
        let tap = try SystemCall.hooked({ $0.number == .ioctl ? 0 : nil }) {
            () throws(Errno) in
            try Tap(Descriptor(owning: near), name: "tap7", wantsHeaders: headers)
        }
        card = VirtioNetwork(tap, address: HardwareAddress(Self.address)) { [time] in
            Nanoseconds(count: time.count)
        }
        driver = VirtioDriver(card, start: isStarted)
    }

    func arrive(_ frame: [UInt8]) {
        _ = frame.withUnsafeBytes { write(cable.number, $0.baseAddress, $0.count) }
    }

    /// What went out.
    var sent: [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 70_000)
        let count = read(cable.number, &bytes, bytes.count)
        return count < 0 ? nil : Array(bytes.prefix(count))
    }

    /// Lends buffers of a header and 1514 bytes.
    func lend(_ count: Int) {
        for _ in 0..<count {
            driver.add(
                0,
                [
                    .init(address: 0x40000, count: 10, isWritable: true),
                    .init(address: 0x41000, count: 1514, isWritable: true),
                ])
        }
        driver.ring(0)
    }

    func sendFrame() {
        driver.add(1, [.init(address: 0x40000, count: 70)])
        driver.ring(1)
    }

    /// What the launcher does at each look, and before it waits.
    func settle(waits: Bool) -> Bool {
        defer { driver.pc.platform.raiseLines() }
        return card.settle(driver.function, waits: waits)
    }

    func serve() { card.handle(.readable, of: driver.function); driver.pc.platform.raiseLines() }
}

@Suite struct VirtioNetworkTests {
    @Test("the driver is told its address, and that the cable is in")
    func configuration() throws {
        let guest = try NetworkGuest()
        #expect(
            (0..<6).map { UInt8(guest.driver.read(0x14 + $0, size: 1)) } == NetworkGuest.address)
        #expect(guest.driver.read(0x1A, size: 2) == 1)
    }

    @Test("a driver may give the card another address, byte by byte, until it begins anew")
    func newAddress() {
        let cable = HeaderCable()
        let driver = VirtioDriver(
            VirtioNetwork(cable, address: HardwareAddress(NetworkGuest.address)))
        func address() -> [UInt8] { (0..<6).map { UInt8(driver.read(0x14 + $0, size: 1)) } }
        for (index, byte) in ([2, 0, 0, 0, 0, 0x77] as [UInt8]).enumerated() {
            driver.write(0x14 + UInt16(index), UInt32(byte), size: 1)
        }
        #expect(address() == [2, 0, 0, 0, 0, 0x77] && cable.up == nil)
        driver.ring(0)
        #expect(cable.up?.bytes == [2, 0, 0, 0, 0, 0x77])
        // The last two bytes, and two of the status, which is ours.
        driver.write(0x18, 0xFFFF_6655, size: 4)
        #expect(address() == [2, 0, 0, 0, 0x55, 0x66] && driver.read(0x1A, size: 2) == 1)
        #expect(cable.up?.bytes == [2, 0, 0, 0, 0x55, 0x66])
        driver.write(0x12, 0, size: 1)
        #expect(address() == NetworkGuest.address && cable.up == nil)
    }

    @Test("a frame goes out without its header, wherever that is cut")
    func send() throws {
        let guest = try NetworkGuest()
        guest.driver.put([UInt8](repeating: 0, count: 10) + Array(1...60), at: 0x40000)
        for cuts in [[10, 60], [70], [4, 6, 60], [12, 58], [10, 1, 59]] as [[UInt32]] {
            var place: UInt64 = 0x40000
            guest.driver.add(
                1,
                cuts.map { count in
                    defer { place += UInt64(count) }
                    return .init(address: place, count: count)
                })
            guest.driver.ring(1)
            #expect(guest.sent == Array(1...60))
            #expect(guest.driver.takeUsed(1).count == 1)
        }
    }

    @Test("when something ends the launch no more frames are taken")
    func ends() {
        let cable = EndingCable()
        let driver = VirtioDriver(
            VirtioNetwork(cable, address: HardwareAddress(NetworkGuest.address)))
        for mostSent in [3, 8] {
            cable.mostSent = mostSent
            for _ in 0..<5 { driver.add(1, [.init(address: 0x40000, count: 70)]) }
            driver.ring(1)
            #expect(cable.sent == mostSent)
        }
        // What was left behind comes first by then.
        #expect(driver.takeUsed(1).count == 8)
    }

    @Test("that a frame has gone out is told when the guest waits for something")
    func toldWhenWaiting() throws {
        let guest = try NetworkGuest()
        guest.sendFrame()
        #expect(guest.sent != nil && guest.driver.takeUsed(1).count == 1)
        #expect(guest.driver.takeInterrupt() == nil)
        #expect(guest.settle(waits: true) && guest.driver.takeInterrupt() == 1)
        #expect(!guest.settle(waits: true) && guest.driver.takeInterrupt() == nil)
    }

    @Test("to a guest that is busy it is told a millisecond after the first of them")
    func toldInTime() throws {
        let guest = try NetworkGuest()
        guest.time.count = 5_000_000
        guest.sendFrame()
        guest.time.count = 5_999_999
        guest.sendFrame()
        #expect(!guest.settle(waits: false) && guest.driver.takeInterrupt() == nil)
        guest.time.count = 6_000_000
        #expect(guest.settle(waits: false) && guest.driver.takeInterrupt() == 1)
    }

    @Test("of many it is told at once, and with frames that come")
    func toldTogether() throws {
        let guest = try NetworkGuest()
        for _ in 0..<63 { guest.sendFrame() }
        #expect(guest.driver.takeInterrupt() == nil)
        guest.sendFrame()
        #expect(guest.driver.takeInterrupt() == 1 && !guest.settle(waits: true))
        guest.lend(1)
        guest.sendFrame()
        guest.arrive([1])
        guest.serve()
        #expect(guest.driver.takeInterrupt() == 1 && !guest.settle(waits: true))
    }

    @Test("a driver that begins anew is not told of what the last one sent")
    func notToldOfOld() throws {
        let guest = try NetworkGuest()
        guest.sendFrame()
        guest.driver.write(0x12, 0, size: 1)
        #expect(!guest.settle(waits: true))
    }

    @Test("what is no frame is lost, and given back")
    func noFrame() throws {
        let guest = try NetworkGuest()
        guest.driver.add(1, [.init(address: 0x40000, count: 10)])
        guest.driver.add(1, [.init(address: 0x40000, count: 70_000)])
        guest.driver.add(1, [.init(address: 0x40000, count: 10, isWritable: true)])
        guest.driver.add(1, (0..<65).map { .init(address: 0x40000 + 2 * UInt64($0), count: 1) })
        guest.driver.ring(1)
        #expect(guest.sent == nil && guest.driver.takeUsed(1).count == 4)
    }

    @Test("frames come behind a header of zeros, one for each buffer, with one interrupt for all")
    func receive() throws {
        let guest = try NetworkGuest()
        guest.driver.put([UInt8](repeating: 0xFF, count: 10), at: 0x40000)
        guest.lend(3)
        guest.arrive([9, 8, 7])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [13])
        #expect(guest.driver.bytes(0x40000, 10) == [UInt8](repeating: 0, count: 10))
        #expect(guest.driver.bytes(0x41000, 3) == [9, 8, 7])
        guest.arrive([1])
        guest.arrive([2, 2])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [11, 12])
        #expect(guest.driver.takeInterrupt() == 1 && guest.driver.takeInterrupt() == nil)
    }

    @Test(
        "where it is dear to be told of frames, those that are there are taken as soon as some have gone out"
    )
    func answers() throws {
        for looks in [false, true] {
            let guest = try NetworkGuest()
            guest.driver.function.looksForAnswers = looks
            guest.lend(2)
            guest.sendFrame()
            #expect(guest.sent != nil && guest.driver.takeUsed(0).isEmpty)
            guest.arrive([1, 2])
            guest.sendFrame()
            #expect(guest.driver.takeUsed(0).map { $0.written } == (looks ? [12] : []))
            #expect(guest.driver.takeUsed(1).count == 2 && !guest.card.watched.isEmpty)
        }
    }

    @Test(
        "whether an answer has more frames is not asked, as long as there never were some; then it is, until there are none"
    )
    func longAnswers() throws {
        let guest = try NetworkGuest()
        guest.driver.function.looksForAnswers = true
        guest.lend(12)
        let polls = Mutex(0)
        /// The lengths that came in when a frame went out, and how often it was asked for more.
        func answers(_ frames: Int) -> (lengths: [UInt32], polls: Int) {
            polls.withLock { $0 = 0 }
            for _ in 0..<frames { guest.arrive([1, 2]) }
            SystemCall.hooked({
                if $0.number == .poll { polls.withLock { $0 += 1 } }
                return nil
            }) { guest.sendFrame() }
            return (guest.driver.takeUsed(0).map { $0.written }, polls.withLock { $0 })
        }
        #expect(answers(0) == ([], 0))
        #expect(answers(1) == ([12], 0))
        #expect(answers(2) == ([12], 0))
        // The launcher is told of the second one.
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [12])
        #expect(answers(2) == ([12, 12], 1))
        #expect(answers(1) == ([12], 1))
        #expect(answers(1) == ([12], 0))
    }

    @Test("a frame for which there is no buffer waits in the tap until one is lent")
    func noBuffer() throws {
        let guest = try NetworkGuest()
        guest.arrive([1])
        guest.serve()
        #expect(guest.card.watched.isEmpty)
        guest.lend(1)
        #expect(guest.driver.takeUsed(0).map { $0.written } == [11])
        guest.lend(1)
        #expect(!guest.card.watched.isEmpty && guest.driver.takeUsed(0).isEmpty)
        guest.arrive([1, 2])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [12])
    }

    @Test("when a buffer is lent that a frame waited for, there is something to watch again")
    func watchesAgain() throws {
        let guest = try NetworkGuest()
        guest.lend(1)
        #expect(!guest.card.hasNewWatch)
        guest.arrive([1])
        guest.arrive([2, 2])
        guest.serve()
        #expect(guest.card.watched.isEmpty && !guest.card.hasNewWatch)
        guest.lend(1)
        #expect(guest.driver.takeUsed(0).map { $0.written } == [11, 12])
        #expect(!guest.card.watched.isEmpty && guest.card.hasNewWatch)
        guest.card.begin()
        guest.lend(1)
        #expect(!guest.card.hasNewWatch)
    }

    @Test("without a driver frames are dropped, also those that waited when it went")
    func down() throws {
        let guest = try NetworkGuest(isStarted: false)
        guest.arrive([1])
        guest.serve()
        guest.driver.start()
        guest.arrive([2])
        guest.serve()
        #expect(guest.card.watched.isEmpty)
        guest.driver.write(0x12, 0, size: 1)
        #expect(!guest.card.watched.isEmpty)
        guest.driver.start()
        guest.lend(1)
        #expect(guest.driver.takeUsed(0).isEmpty)
        guest.arrive([3, 3])
        guest.serve()
        #expect(
            guest.driver.takeUsed(0).map { $0.written } == [12]
                && guest.driver.bytes(0x41000, 2) == [3, 3])
    }

    @Test("frames are lost while Bus Master is off: the buffers may be another kernel's by now")
    func withoutMaster() throws {
        let guest = try NetworkGuest()
        guest.lend(3)
        guest.arrive([1])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [11])
        _ = guest.driver.takeInterrupt()
        guest.driver.pc.configure(1, 0x04, 0x0001, size: 2)
        guest.arrive([2])
        guest.serve()
        #expect(guest.driver.takeUsed(0).isEmpty && guest.driver.bytes(0x41000, 1) == [1])
        #expect(guest.driver.takeInterrupt() == nil && !guest.card.watched.isEmpty)
        guest.driver.pc.configure(1, 0x04, 0x0005, size: 2)
        guest.serve()
        #expect(guest.driver.takeUsed(0).isEmpty)
        guest.arrive([3])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [11])
        #expect(guest.driver.bytes(0x41000, 1) == [3])
    }

    @Test("a buffer without room for the header comes back empty and costs the frame")
    func small() throws {
        let guest = try NetworkGuest()
        guest.driver.add(0, [.init(address: 0x40000, count: 9, isWritable: true)])
        guest.driver.add(0, [.init(address: 0x40000, count: 20)])
        guest.driver.ring(0)
        guest.arrive([1])
        guest.arrive([2])
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [0, 0])
    }

    @Test("a tap that is gone is told once, and never read again")
    func gone() throws {
        let guest = try NetworkGuest()
        guest.lend(2)
        SystemCall.hooked({ $0.number == .readVector ? -77 : nil }) { guest.serve() }
        #expect(
            guest.card.takeFailure() != nil && guest.card.takeFailure() == nil
                && guest.card.watched.isEmpty)
    }

    @Test("a tap with headers gets and gives them as they are, and offers what they are for")
    func headers() throws {
        let guest = try NetworkGuest(headers: true)
        #expect(guest.driver.read(0, size: 4) == 0x1_19A3)
        #expect(try NetworkGuest().driver.read(0, size: 4) == 0x1_0020)
        let frame: [UInt8] = [1, 1, 14, 0, 0xA0, 5, 34, 0, 16, 0] + Array(1...60)
        guest.driver.put(frame, at: 0x40000)
        guest.driver.add(
            1, [.init(address: 0x40000, count: 10), .init(address: 0x4000A, count: 60)])
        guest.driver.ring(1)
        #expect(guest.sent == frame)
        guest.lend(1)
        guest.arrive(frame)
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [70])
        #expect(guest.driver.bytes(0x40000, 10) + guest.driver.bytes(0x41000, 60) == frame)
        // No room for more than a header: the frame is lost, and the tap is still there.
        guest.driver.add(0, [.init(address: 0x40000, count: 10, isWritable: true)])
        guest.driver.ring(0)
        guest.arrive(frame)
        guest.serve()
        #expect(guest.driver.takeUsed(0).map { $0.written } == [0] && !guest.card.watched.isEmpty)
    }

    @Test(
        "the tap is told what the driver takes when that lends buffers, and the next driver has none of it",
        arguments: [
            (UInt32.max, 7), (0x2, 1), (0x82, 3), (0x102, 5), (0x180, 0), (0, 0),
        ] as [(UInt32, Int)])
    func offloads(features: UInt32, told: Int) throws {
        let guest = try NetworkGuest(headers: true)
        let asked = Mutex<[Int]>([])
        SystemCall.hooked({ call in
            guard call.number == .ioctl, call.arguments.1 == Tap.Request.setOffloads else {
                return nil
            }
            asked.withLock { $0.append(call.arguments.2) }
            return 0
        }) {
            guest.driver.start(features: features)
            #expect(asked.withLock { $0 } == [])
            for _ in 0..<2 { guest.lend(1) }
            guest.driver.start(features: 0)
            guest.time.count += OffloadAgreement.shortest.count
            guest.lend(1)
        }
        #expect(asked.withLock { $0 } == (told == 0 ? [] : [told, 0]))
    }

    @Test("a driver that changes its mind all the time is heard ten times in a second")
    func storm() {
        let cable = HeaderCable()
        let time = Time()
        let card = VirtioNetwork(cable, address: HardwareAddress(NetworkGuest.address)) {
            Nanoseconds(count: time.count)
        }
        let driver = VirtioDriver(card)
        driver.add(0, [.init(address: 0x40000, count: 1524, isWritable: true)])
        for _ in 0..<500 {
            for features in [0x1_19A3, 0x1_0020] as [UInt32] {
                driver.write(0x04, features, size: 4)
                driver.ring(0)
            }
        }
        #expect(cable.told == [7])
        // A frame may be what the driver does not take any more: it is lost.
        time.count = OffloadAgreement.shortest.count - 1
        cable.frames = 2
        card.handle(.readable, of: driver.function)
        #expect(cable.frames == 0 && driver.takeUsed(0).isEmpty && cable.told == [7])
        // Those that wait as the cable is told are of the old kind.
        time.count += 1
        cable.frames = 3
        driver.ring(0)
        #expect(cable.frames == 0 && driver.takeUsed(0).isEmpty && cable.told == [7, 0])
        cable.frames = 1
        card.handle(.readable, of: driver.function)
        #expect(driver.takeUsed(0).count == 1)
        // Less than the driver takes is as good.
        driver.write(0x04, 0x1_19A3, size: 4)
        driver.add(0, [.init(address: 0x40000, count: 1524, isWritable: true)])
        cable.frames = 1
        card.handle(.readable, of: driver.function)
        #expect(driver.takeUsed(0).count == 1 && cable.told == [7, 0])
    }

    @Test("a kernel without headers gives a tap without them", arguments: [false, true])
    func old(isOfSeveralQueues: Bool) throws {
        let flags = Mutex<[Int16]>([])
        let tap = try SystemCall.hooked({ call in
            guard call.number == .ioctl else { return nil }
            guard call.arguments.1 == Tap.Request.setInterface else { return 0 }
            let request = UnsafePointer<mini_ifreq>(bitPattern: call.arguments.2)!
            let asked = request.pointee.of.flags
            flags.withLock { $0.append(asked) }
            return asked & 0x4000 != 0 || (asked & 0x100 != 0) != isOfSeveralQueues ? -22 : 0
        }) {
            () throws(Errno) in
            try Tap(Descriptor(owning: dup(0)), name: "tap7", wantsHeaders: true)
        }
        #expect(!tap.hasHeaders)
        let all: [Int16] = [0x5002, 0x5102, 0x1002, 0x1102]
        #expect(flags.withLock { $0 } == Array(all.prefix(isOfSeveralQueues ? 4 : 3)))
    }
}
