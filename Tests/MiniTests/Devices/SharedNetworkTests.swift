// Cards of PCs on the Ethernet of a file. Who holds a slot's lock is played: all members are this process here, which is in
// nobody's way. Two launchers: Tests/linux/devices.sh.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

/// A network's file, and who says which process holds a lock: this one.
private final class SharedFile {
    let file: Descriptor
    let identity: FileIdentity

    init() throws {
        file = try FileSystem.memoryFile("net")
        try Transfer.write(file.number, Text(bytes: [UInt8](repeating: 0, count: 4096)))
        identity = try FileStatus.of(file.number).identity
    }

    func member(_ slot: UInt32) throws -> SharedNetwork {
        try SharedNetwork(file.number, slot: slot, identity: identity)
    }

    func entry(_ slot: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 6)
        let count = pread(file.number, &bytes, 6, off_t(6 * slot))
        return count == 6 ? bytes : []
    }

    func write(_ entry: [UInt8], _ slot: Int) {
        _ = entry.withUnsafeBytes { pwrite(file.number, $0.baseAddress, 6, off_t(6 * slot)) }
    }

    func play<Value>(_ body: () throws -> Value) rethrows -> Value {
        try SystemCall.hooked(
            { call in
                guard call.number == .fileControl, call.arguments.1 == FileLock.ask else {
                    return nil
                }
                let lock = UnsafeMutablePointer<flock>(bitPattern: call.arguments.2)!
                lock.pointee.l_type = Int16(F_WRLCK)
                lock.pointee.l_pid = getpid()
                return 0
            }, body)
    }
}

private func send(_ frame: [UInt8], from network: SharedNetwork) {
    unsafe frame.withUnsafeBytes {
        var pieces = IOVector()
        // In two pieces, and the address in both.
        pieces.append(UnsafeRawBufferPointer(rebasing: $0.prefix(4)))
        let rest = Array($0.dropFirst(4))
        rest.withUnsafeBytes {
            pieces.append($0)
            network.send(pieces)
        }
    }
}

private func receive(_ network: SharedNetwork) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 2000)
    let count = bytes.withUnsafeMutableBytes { buffer -> UInt32? in
        var room = IOVector()
        room.append(UnsafeRawBufferPointer(buffer))
        return try? network.receive(into: room)
    }
    return count.map { Array(bytes.prefix(Int($0))) }
}

@Suite struct SharedNetworkTests {
    @Test("a frame goes to whom it is for: one, all, and those who want every frame")
    func frames() throws {
        let file = try SharedFile()
        try file.play {
            let members = try (0..<4).map { try file.member($0) }
            for member in members { member.setUp(member.address) }
            // Slot 3 wants all.
            file.write([members[3].address.bytes[0] | 1] + members[3].address.bytes.dropFirst(), 3)
            let tail = [UInt8](1...60)
            let one = members[1].address.bytes + tail
            send(one, from: members[0])
            #expect(members.map { receive($0) } == [nil, one, nil, one])
            let all = [UInt8](repeating: 0xFF, count: 6) + tail
            send(all, from: members[0])
            #expect(members.map { receive($0) } == [nil, all, all, all])
            // To nobody, and shorter than an address.
            send([0x52, 0x54, 0, 9, 9, 9] + tail, from: members[0])
            send([0xFF, 0xFF, 0xFF, 0xFF, 0xFF], from: members[0])
            #expect(
                members.map { receive($0) } == [nil, nil, nil, [0x52, 0x54, 0, 9, 9, 9] + tail])
            // In turn of their senders.
            for sender in [0, 2] as [Int] {
                for number in 0..<2 as Range<UInt8> {
                    send(members[1].address.bytes + [UInt8(sender), number], from: members[sender])
                }
            }
            let heard = (0..<4).compactMap { _ in receive(members[1]).map { Array($0.suffix(2)) } }
            #expect(heard == [[0, 0], [2, 0], [0, 1], [2, 1]] && receive(members[1]) == nil)
        }
    }

    @Test("the entry stands in the page while a driver takes frames, and no longer")
    func entries() throws {
        let file = try SharedFile()
        file.write([2, 2, 2, 2, 2, 2], 5)
        try file.play {
            var member: SharedNetwork? = try file.member(5)
            #expect(try file.entry(5) == [0, 0, 0, 0, 0, 0])
            member?.setUp(member?.address)
            #expect(try file.entry(5) == member?.address.bytes && member?.address.bytes[5] == 5)
            member?.setUp(nil)
            #expect(try file.entry(5) == [0, 0, 0, 0, 0, 0])
            member?.setUp(member?.address)
            member = nil
            #expect(try file.entry(5) == [0, 0, 0, 0, 0, 0])
            // The slot is free again, and its socket.
            _ = try file.member(5)
        }
    }

    @Test("an address that the driver chose stands there as well, but none of a group")
    func newAddress() throws {
        let file = try SharedFile()
        try file.play {
            let (left, right) = (try file.member(0), try file.member(1))
            left.setUp(left.address)
            left.setUp(HardwareAddress([3, 0, 0, 0, 0, 0x77]))
            let entry = try file.entry(0)
            #expect(entry == [2, 0, 0, 0, 0, 0x77])
            let frame = entry + right.address.bytes + [8, 0]
            send(frame, from: right)
            #expect(receive(left) == frame)
        }
    }

    @Test("who sends under another address than its own gets every frame, until it begins anew")
    func bridge() throws {
        let file = try SharedFile()
        try file.play {
            let (left, right) = (try file.member(0), try file.member(1))
            left.setUp(left.address)
            let own = left.address.bytes
            let other: [UInt8] = [2, 0, 0, 0, 0, 9]
            let all = [UInt8](repeating: 0xFF, count: 6)
            send(all + own + [8, 0], from: left)
            // Too short to say whose it is.
            send(all + own.dropLast(), from: left)
            #expect(try file.entry(0) == own)
            send(all + other + [8, 0], from: left)
            #expect(try file.entry(0) == [own[0] | 1] + own.dropFirst())
            let frame = other + right.address.bytes + [8, 0]
            send(frame, from: right)
            #expect(receive(left) == frame)
            left.setUp(nil)
            left.setUp(left.address)
            #expect(try file.entry(0) == own)
        }
    }

    @Test("two cards of one guest never have one address, however alike their files are")
    func places() throws {
        let (first, second) = (try SharedFile(), try SharedFile())
        var addresses: [[UInt8]] = []
        var members: [SharedNetwork] = []
        for index in 0..<15 {
            let file = index == 0 ? first : second
            var inode = first.identity.inode
            inode &+= UInt64(index) << 8
            members.append(
                try SharedNetwork(
                    file.file.number, slot: 681,
                    identity: FileIdentity(device: first.identity.device, inode: inode),
                    index: index))
            addresses.append(members[index].address.bytes)
        }
        #expect(Set(addresses).count == 15)
    }

    @Test(
        "entries of nobody, of members that are gone and of nonsense lose frames, and nothing else")
    func nonsense() throws {
        let file = try SharedFile()
        try file.play {
            let (left, right) = (try file.member(0), try file.member(681))
            right.setUp(right.address)
            for slot in 1..<681 { file.write([UInt8(slot & 0xFF), 1, 2, 3, 4, 5], slot) }
            let frame = [UInt8](repeating: 0xFF, count: 6) + [7]
            send(frame, from: left)
            #expect(receive(right) == frame)
        }
    }

    /// Counts the connections that are tried, at a moment of the clock's in milliseconds.
    private func connections(
        at moment: Int, answer: Int32 = 0, lock type: Int32 = F_WRLCK, _ body: () throws -> Void
    ) rethrows -> Int {
        let count = Mutex(0)
        try SystemCall.hooked(
            { call in
                if call.number == .clockTime {
                    UnsafeMutablePointer<mini_timespec>(bitPattern: call.arguments.1)!.pointee =
                        mini_timespec(
                            seconds: moment / 1000, nanoseconds: moment % 1000 * 1_000_000)
                    return 0
                }
                if call.number == .fileControl, call.arguments.1 == FileLock.ask {
                    let lock = UnsafeMutablePointer<flock>(bitPattern: call.arguments.2)!
                    lock.pointee.l_type = Int16(type)
                    lock.pointee.l_pid = getpid()
                    return 0
                }
                guard call.number.rawValue == SocketCall.connect.direct else { return nil }
                count.withLock { $0 += 1 }
                return answer == 0 ? nil : -Int(answer)
            }, body)
        return count.withLock { $0 }
    }

    @Test("where a frame found nobody the next ones cost nothing for a while")
    func rest() throws {
        let file = try SharedFile()
        let left = try file.member(0)
        for slot in 1...300 { file.write([1, 1, 2, 3, 4, 5], slot) }
        let frame = [UInt8](repeating: 0xFF, count: 60)
        let counts = [1000, 1049, 1050].map { moment in
            connections(at: moment) { send(frame, from: left) }
        }
        #expect(counts == [300, 0, 300])
    }

    @Test("a full queue of connections costs a frame; where it is no member's, a rest as well")
    func crowd() throws {
        let file = try SharedFile()
        let left = try file.member(0)
        file.write([1, 1, 2, 3, 4, 5], 1)
        let frame = [UInt8](repeating: 0xFF, count: 60)
        for (type, count) in [(F_WRLCK, 2), (F_UNLCK, 1)] as [(Int32, Int)] {
            let made = connections(at: 1000, answer: EAGAIN, lock: type) {
                for _ in 0..<2 { send(frame, from: left) }
            }
            #expect(made == count)
        }
    }

    @Test("whoever comes to us is looked for at once")
    func wake() throws {
        let file = try SharedFile()
        let left = try file.member(0)
        left.setUp(left.address)
        let frame = [UInt8](repeating: 0xFF, count: 60)
        file.write([2, 1, 2, 3, 4, 5], 1)
        #expect(connections(at: 1000) { send(frame, from: left) } == 1)
        let right = try file.member(1)
        right.setUp(right.address)
        #expect(connections(at: 1010) { send(frame, from: left) } == 0)
        #expect(receive(right) == nil)
        let heard = file.play {
            send(frame, from: right)
            return receive(left)
        }
        #expect(heard == frame)
        #expect(connections(at: 1020) { send(frame, from: left) } == 1)
        let heardBack = file.play { receive(right) }
        #expect(heardBack == frame)
    }

    @Test("whoever sends us something on the connection that he has is looked for at once, too")
    func wakeBySending() throws {
        let file = try SharedFile()
        let (left, right) = try (file.member(0), file.member(1))
        left.setUp(left.address)
        right.setUp(right.address)
        let frame = [UInt8](repeating: 0xFF, count: 60)
        #expect(receive(right) == nil)
        for isRefused in [true, false] {
            let heard = file.play {
                send(frame, from: right)
                return receive(left)
            }
            #expect(heard == frame)
            let answer = isRefused ? ECONNREFUSED : 0
            #expect(connections(at: 1000, answer: answer) { send(frame, from: left) } == 1)
        }
        let heardBack = file.play { receive(right) }
        #expect(heardBack == frame)
    }

    @Test("after so many tries signals are heard")
    func heard() throws {
        let file = try SharedFile()
        let left = try file.member(0)
        for slot in 1...200 { file.write([1, 1, 2, 3, 4, 5], slot) }
        let frame = [UInt8](repeating: 0xFF, count: 60)
        var asked = 0
        left.wait = { _ in
            asked += 1
            return false
        }
        #expect(SharedNetwork.mostTries == 256)
        _ = connections(at: 1000) { send(frame, from: left) }
        #expect(left.mayGoOn() && asked == 0)
        _ = connections(at: 2000) { send(frame, from: left) }
        #expect(!left.mayGoOn() && asked == 1)
        // From the beginning again.
        #expect(left.mayGoOn() && asked == 1)
    }

    @Test("a receiver that does not read is waited for once, and a signal ends that")
    func full() throws {
        let file = try SharedFile()
        let (left, right) = (try file.member(0), try file.member(1))
        right.setUp(right.address)
        let ends = try PassedFiles.pipe()
        let signal = Descriptor(owning: ends.reading)
        let sender = Descriptor(owning: ends.writing)
        try Transfer.write(sender.number, "x")
        left.signals = Poll.Interest(signal.number)
        let waits = UnsafeMutablePointer<[Bool]>.allocate(capacity: 1)
        waits.initialize(to: [])
        defer {
            waits.deinitialize(count: 1)
            waits.deallocate()
        }
        nonisolated(unsafe) let seen = waits
        let number = signal.number
        file.play {
            // Whoever is there is let in, and then hears nothing more.
            send([UInt8](repeating: 0xFF, count: 60), from: left)
            #expect(receive(right) != nil)
            SystemCall.hooked({ call in
                guard call.number == .poll else { return nil }
                let polled = UnsafePointer<pollfd>(bitPattern: call.arguments.0)!
                seen.pointee.append((0..<call.arguments.1).contains { polled[$0].fd == number })
                return nil
            }) {
                for _ in 0..<2000 { send([UInt8](repeating: 0xFF, count: 1500), from: left) }
            }
        }
        #expect(seen.pointee == [true])
    }

    @Test("a member that ends is left out, also while no driver has room for frames")
    func ended() throws {
        let file = try SharedFile()
        try file.play {
            let left = try file.member(0)
            var right: SharedNetwork? = try file.member(1)
            left.setUp(left.address)
            if let right { send([UInt8](repeating: 0xFF, count: 60), from: right) }
            try left.drop()
            #expect(left.watched.count == 2, "the listening socket, and the one connection")
            right = nil
            #expect(throws: Errno.again) { try left.drop() }
            #expect(left.watched.count == 1)
        }
    }

    @Test("who has no lock is not heard, and hears nothing")
    func strangers() throws {
        let file = try SharedFile()
        let (left, right) = (try file.member(0), try file.member(1))
        right.setUp(right.address)
        send([UInt8](repeating: 0xFF, count: 60), from: left)
        #expect(receive(right) == nil)
    }
}
