// A member of a shared network that wants to do harm, and strangers that connect: the kernel is played, and
// does what a kernel may do with what they sent. Messages are of any length, addresses of any bytes,
// processes end at any moment, and the buffers that our own guest lent point anywhere.

import CShim

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzPeers {
    private static let page: UInt32 = 0x5000
    private static let buffers: UInt32 = 0x8000
    private static let size: UInt32 = 0x10_000
    private static let firstSocket = 600

    nonisolated(unsafe) private static var reader: FuzzReader?
    nonisolated(unsafe) private static var host: Host?
    nonisolated(unsafe) private static var file: Int32 = -1
    /// A PC's card on the same network.
    nonisolated(unsafe) private static var card: SharedNetwork?
    nonisolated(unsafe) private static var calls = 0
    nonisolated(unsafe) private static var sockets: [Int] = []
    nonisolated(unsafe) private static var nextSocket = firstSocket
    nonisolated(unsafe) private static var time = 0
    /// What the member's messages may be written to: our guest's memory.
    nonisolated(unsafe) private static var low = UInt(0)

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        for _ in 0..<8 + random.below(400) {
            input.append(random.once(in: 4) ? 0 : random.byte())
        }
    }

    static func take(_ input: FuzzInput) {
        unsafe reader = FuzzReader(input)
        unsafe calls = 0
        unsafe sockets = []
        unsafe nextSocket = firstSocket
        unsafe time = 1
        guard let host = fresh() else { return }
        Fuzz.playing({ (call) in answer(call) }) {
            while let script = unsafe reader, !script.isAtEnd { step(host) }
            unsafe card = nil
            host.close()
        }
        Fuzz.require(unsafe sockets.isEmpty, "a socket stays open")
        Fuzz.require(unsafe calls < 50_000, "serving the others does not end")
    }

    private static func byte() -> UInt8 {
        guard var script = unsafe reader else { return 0 }
        defer { unsafe reader = script }
        return script.byte()
    }

    private static func word() -> UInt32 {
        UInt32(byte()) | UInt32(byte()) << 8 | UInt32(byte()) << 16 | UInt32(byte()) << 24
    }

    /// Memory with a shared page, and a host of one case.
    private static func fresh() -> Host? {
        if unsafe file < 0 {
            guard let made = try? FileSystem.memoryFile("net"),
                (try? Transfer.write(
                    made.number, Text(bytes: [UInt8](repeating: 0, count: 4096)))) != nil,
                // It is to outlive this function.
                let number = try? SystemCall.make(.duplicate, Int(made.number), 400)
            else { return nil }
            unsafe file = Int32(number)
        }
        if unsafe host == nil {
            guard let memory = try? GuestMemory(count: size), let range = memory.range(page, 4096),
                (try? memory.share(range, file: unsafe file, slot: 1)) != nil
            else { return nil }
            unsafe low = memory.address
            unsafe host = try? Host(memory: memory, abi: GuestABI(era: .era1))
        }
        guard let host = unsafe host, let shared = host.memory.sharedPages.first else { return nil }
        host.machine = GuestMachine()
        host.bindings = DmaBindings()
        host.inlets = []
        _ = host.machine.initialize(acceptable: true)
        host.pageLimit = size / 4096
        _ = host.machine.enter()
        Fuzz.playing({ (call) in answer(call) }) {
            if let inlet = try? PeerInlet(shared) { host.inlets = [inlet] }
        }
        return host
    }

    private static func step(_ host: Host) {
        guard let shared = host.memory.sharedPages.first else { return }
        switch byte() % 14 {
        case 0, 1:
            // Buffers that are what they should be, mostly.
            for index in 0..<UInt32(2) {
                let record = buffers + index * 100
                host.memory.store32(record, byte() & 3 == 0 ? word() : 0)
                host.memory.store32(record + 4, byte() & 7 == 0 ? word() : 0x0040_0100)
                host.memory.store32(record + 36, byte() & 7 == 0 ? word() : 0xA000)
                host.memory.store32(record + 40, byte() & 7 == 0 ? word() : 0xB000)
            }
        case 2:
            let place = byte() & 7 == 0 ? word() : buffers
            _ = host.bindShared(DMAKey(rawValue: page + 4), place, UInt32(2) << 8 | 5)
        case 3: _ = host.bindShared(DMAKey(rawValue: page + 4), buffers, 0)
        case 4: _ = host.bindShared(DMAKey(rawValue: word()), word(), word())
        case 5, 6:
            // A key in the page: who calls has found the page by it.
            let slot = UInt32(byte()) * (byte() & 3 == 0 ? 5 : 1)
            let key = DMAKey(rawValue: page + (4 * slot & 0xFFC))
            let record = GuestAddress(rawValue: byte() & 7 == 0 ? word() : buffers)
            host.sendShared(DMANotification(record: record, key: key), of: shared)
        case 7: host.serveWaitingPeers()
        case 10: makeCard(shared)
        case 11: sendByCard(host)
        case 12: receiveByCard(host)
        case 13:
            // What stands in the page is anybody's.
            let entry = 6 * (UInt32(byte()) * (byte() & 3 == 0 ? 2 : 1) & 0x3FF)
            for index in 0..<6 as Range<UInt32> {
                guard let place = host.memory.range(page + min(entry, 4090) + index, 1) else {
                    continue
                }
                unsafe host.memory.writable(place)[0] = byte()
            }
        default: host.servePeers()
        }
        if host.machine.phase == .dead {
            host.machine = GuestMachine()
            _ = host.machine.initialize(acceptable: true)
            _ = host.machine.enter()
        }
    }

    private static func makeCard(_ shared: SharedPage) {
        if let card = unsafe card {
            card.setUp(byte() & 3 == 0 ? nil : HardwareAddress((0..<6).map { _ in byte() }))
        } else {
            unsafe card = try? SharedNetwork(
                file, slot: UInt32(byte()), identity: shared.file)
        }
    }

    /// A place in our guest's memory, of any length.
    private static func place(_ host: Host) -> IOVector {
        var vector = IOVector()
        for _ in 0..<Int(byte() & 3) {
            let count = UInt32(byte()) * (byte() & 7 == 0 ? 16 : 1)
            guard let range = host.memory.range(word() % size, count) else { continue }
            unsafe vector.append(host.memory.readable(range))
        }
        return vector
    }

    private static func sendByCard(_ host: Host) { unsafe card?.send(place(host)) }

    private static func receiveByCard(_ host: Host) {
        guard let card = unsafe card else { return }
        for _ in 0..<4 {
            let room = place(host)
            guard let count = try? card.receive(into: room) else { break }
            Fuzz.require(count <= max(room.count, 0), "more was received than there is room for")
        }
        _ = card.watched
        _ = card.pause
        if byte() & 1 == 0 { try? card.drop() }
    }

    // MARK: The kernel

    private static func answer(_ call: SystemCall) -> Int? {
        unsafe calls += 1
        Fuzz.require(unsafe calls < 100_000, "serving the others does not end")
        let (first, second, third, _, _, _) = call.arguments
        switch call.number {
        case .clockTime:
            unsafe time += 100
            let words = unsafe UnsafeMutablePointer<Int>(bitPattern: second)
            unsafe words?[0] = unsafe time / 1_000_000
            unsafe words?[1] = unsafe time % 1_000_000 * 1000
            return 0
        case .close:
            unsafe sockets.removeAll { $0 == first }
            return 0
        case .ioctl: return 0
        case .fileControl:
            guard let lock = unsafe UnsafeMutablePointer<mini_flock>(bitPattern: third) else {
                return -14
            }
            let kind = byte()
            unsafe lock.pointee.process = kind & 3 == 0 ? Int32(kind) : 77
            if kind & 7 == 7 { unsafe lock.pointee.type = 2 }
            return kind == 0xFF ? -11 : 0
        case .poll:
            guard let records = unsafe UnsafeMutablePointer<mini_pollfd>(bitPattern: first) else {
                return 0
            }
            for index in 0..<second {
                unsafe records[index].returned = byte() & 1 == 0 ? 0 : records[index].events
            }
            return second
        default: break
        }
        #if arch(i386)
        guard call.number.rawValue == 102,
            let words = unsafe UnsafePointer<Int>(bitPattern: second)
        else { return nil }
        return unsafe socketCall(first, words[0], words[1], words[2], words[3], words[4])
        #else
        let numbers: [(direct: Int, packed: Int)] = [
            (41, 1), (49, 2), (42, 3), (50, 4), (43, 5), (55, 15), (46, 16), (47, 17),
        ]
        guard let number = numbers.first(where: { $0.direct == call.number.rawValue }) else {
            return nil
        }
        let all = call.arguments
        return socketCall(number.packed, all.0, all.1, all.2, all.3, all.4)
        #endif
    }

    private static func made() -> Int {
        let number = unsafe nextSocket
        unsafe nextSocket += 1
        unsafe sockets.append(number)
        return number
    }

    private static func socketCall(
        _ number: Int, _ socket: Int, _ a2: Int, _ a3: Int, _ a4: Int, _ a5: Int
    ) -> Int {
        switch number {
        case 1: return byte() == 0xFF ? -24 : made()
        case 2, 4: return byte() & 31 == 31 ? -98 : 0
        case 3:
            let kind = byte()
            return kind & 7 != 7 ? 0 : kind & 8 == 0 ? -111 : -11
        case 5:
            let kind = byte()
            if kind & 3 == 0 { return kind == 0x80 ? -24 : -11 }
            name(kind, a2, a3)
            return made()
        case 15: return option(a3, a4)
        case 16:
            switch byte() & 7 {
            case 0: return -11
            case 1: return -32
            default: return 60
            }
        default: return receive(a2)
        }
    }

    /// The address of who connects: right, almost right, or any.
    private static func name(_ kind: UInt8, _ address: Int, _ length: Int) {
        guard let target = unsafe UnsafeMutablePointer<UInt8>(bitPattern: address),
            let count = unsafe UnsafeMutablePointer<Int32>(bitPattern: length),
            let shared = unsafe host?.memory.sharedPages.first
        else { return }
        var name = shared.address(of: DMAKey(rawValue: page + 4)).name
        name += "<\(byte()).\(bareHex: word())"
        var bytes: [UInt8] = [1, 0, 0] + name.bytes
        if kind & 4 != 0 { bytes[Int(byte()) % bytes.count] = byte() }
        if kind & 8 != 0 { bytes = Array(bytes.prefix(Int(byte()))) }
        for index in 0..<min(bytes.count, 110) { unsafe target[index] = bytes[index] }
        unsafe count.pointee = kind & 0x30 == 0x30 ? Int32(byte()) : Int32(bytes.count)
    }

    private static func option(_ option: Int, _ value: Int) -> Int {
        guard let value = unsafe UnsafeMutablePointer<Int32>(bitPattern: value) else { return -14 }
        let kind = byte()
        if option == 77 {
            if kind & 7 == 0 { return kind & 8 == 0 ? -92 : -3 }
            unsafe value.pointee = Int32(made())
        } else {
            unsafe value.pointee = kind & 3 == 0 ? Int32(kind) : 77
        }
        return 0
    }

    /// A message of any length, as far as there is room for it; that has to be our guest's memory.
    private static func receive(_ header: Int) -> Int {
        guard let header = unsafe UnsafePointer<mini_msghdr>(bitPattern: header) else { return -14 }
        let kind = byte()
        if kind & 3 == 0 { return kind & 4 == 0 ? -11 : 0 }
        var rest = Int(byte()) * 16
        var done = 0
        let word = MemoryLayout<UInt>.size
        for index in 0..<(unsafe Int(header.pointee.vector_count)) {
            guard
                let piece = unsafe UnsafePointer<UInt>(
                    bitPattern: header.pointee.vector + UInt(2 * word * index))
            else { return -14 }
            let (start, count) = unsafe (piece[0], piece[1])
            if count == 0 { continue }
            let base = unsafe low
            let isInside =
                start >= base && start - base <= UInt(size) && count <= UInt(size) - (start - base)
            Fuzz.require(isInside, "a message is to be written outside guest memory")
            let part = min(rest, Int(count))
            if let target = unsafe UnsafeMutablePointer<UInt8>(bitPattern: start) {
                for offset in 0..<part { unsafe target[offset] = kind }
            }
            rest -= part
            done += part
        }
        return done
    }
}
