// The calls on sockets, and local sockets that carry messages from one process to another.
// Their addresses are in the abstract namespace: they vanish with the socket, whatever way
// its process ends. Source: unix(7), socketcall(2), linux/net.h, asm-generic/socket.h.

import CShim

/// A call on sockets. On i386 all of them are one call with a number: direct ones came with 4.3.
struct SocketCall {
    /// x86_64's number.
    let direct: Int
    /// The number inside `socketcall`.
    let packed: Int

    static let socket = SocketCall(direct: 41, packed: 1)
    static let bind = SocketCall(direct: 49, packed: 2)
    static let connect = SocketCall(direct: 42, packed: 3)
    static let listen = SocketCall(direct: 50, packed: 4)
    static let accept = SocketCall(direct: 43, packed: 5)
    static let pair = SocketCall(direct: 53, packed: 8)
    static let option = SocketCall(direct: 55, packed: 15)
    static let shutdown = SocketCall(direct: 48, packed: 13)
    static let send = SocketCall(direct: 46, packed: 16)

    /// The family of local sockets, and kinds of sockets.
    static let local = 1  // AF_UNIX
    static let stream = 1  // SOCK_STREAM
    static let datagrams = 2  // SOCK_DGRAM
    static let packets = 5  // SOCK_SEQPACKET

    /// A flag of `send`: of a peer that is gone only EPIPE tells.
    static let withoutSignal = 0x4000  // MSG_NOSIGNAL
    private static let setNonBlocking = 0x5421  // FIONBIO

    /// Says whether calls on a socket wait from now on.
    static func setWaiting(_ waits: Bool, of socket: Int32) throws(Errno) {
        var isOff: Int32 = waits ? 0 : 1
        try withKernel(&isOff) { (address) throws(Errno) -> Void in
            try SystemCall.make(.ioctl, Int(socket), setNonBlocking, address)
        }
    }

    /// A rule for `setWaiting`, for a process whose calls are filtered.
    static var waitingRule: CallRule {
        CallRule("ioctl", .ioctl, .value(1, UInt32(setNonBlocking), "FIONBIO"))
    }

    /// Makes the call.
    /// - Throws: the kernel's errno, but begins again when a signal interrupted the call.
    @discardableResult
    func make(
        _ a1: Int, _ a2: Int = 0, _ a3: Int = 0, _ a4: Int = 0, _ a5: Int = 0
    ) throws(Errno) -> Int {
        while true {
            do throws(Errno) { return try once(a1, a2, a3, a4, a5) } catch {
                if error != .interrupted { throw error }
            }
        }
    }

    /// A rule for it, for a process whose calls are filtered. On i386 the arguments cannot be looked at.
    func rule(_ name: StaticString, _ arguments: ArgumentRule...) -> CallRule {
        #if arch(i386)
        CallRule(
            "socketcall", SystemCall.Number(rawValue: 102), .value(0, UInt32(packed), name))
        #else
        CallRule(name, SystemCall.Number(rawValue: direct), arguments)
        #endif
    }

    private func once(
        _ a1: Int, _ a2: Int, _ a3: Int, _ a4: Int, _ a5: Int
    ) throws(Errno) -> Int {
        #if arch(i386)
        var words = (a1, a2, a3, a4, a5)
        return try withKernel(&words) { (address) throws(Errno) in
            try SystemCall.make(SystemCall.Number(rawValue: 102), packed, address)
        }
        #else
        return try SystemCall.make(SystemCall.Number(rawValue: direct), a1, a2, a3, a4, a5)
        #endif
    }
}

/// The address of a local socket, which is no file: up to 107 bytes.
struct LocalAddress: Equatable {
    let name: Text

    /// Hands the structure and its length to a call.
    fileprivate func with<Value>(
        _ call: (Int, Int) throws(Errno) -> Value
    ) throws(Errno) -> Value {
        var address = mini_sockaddr_un()
        address.family = UInt16(SocketCall.local)
        let count = min(name.bytes.count, StreamSocket.longestName)
        unsafe withUnsafeMutableBytes(of: &address.path) { path in
            // A first byte of 0 is what makes a name abstract.
            for index in 0..<count { unsafe path[index + 1] = name.bytes[index] }
        }
        return try withKernel(&address) { (place) throws(Errno) in
            try call(place, MemoryLayout<UInt16>.size + 1 + count)
        }
    }
}

/// Local sockets of the kind that keeps messages apart and in order (SOCK_SEQPACKET). None of
/// these calls waits; EAGAIN says that one would have to.
enum LocalSocket {
    private static let dontWait = 0x40  // MSG_DONTWAIT
    private static let everySocket = 1  // SOL_SOCKET
    private static let peerCredentials = 17  // SO_PEERCRED
    private static let peerProcess = 77  // SO_PEERPIDFD
    /// How many connections may wait to be accepted. The last one waits for all others, those that were closed meanwhile as well:
    /// with thousands each member of the network could be held up for a second.
    private static let backlog = 128

    private static func make() throws(Errno) -> Descriptor {
        let socket = Descriptor(
            owning: Int32(try SocketCall.socket.make(SocketCall.local, SocketCall.packets)))
        try SocketCall.setWaiting(false, of: socket.number)
        return socket
    }

    /// What all of this takes, for a process whose calls are filtered.
    /// - Parameter listens: whether it still begins to listen.
    static func rules(listens: Bool) -> [CallRule] {
        func option(_ number: Int, _ name: StaticString) -> CallRule {
            SocketCall.option.rule(
                "getsockopt", .value(1, UInt32(everySocket), "SOL_SOCKET"),
                .value(2, UInt32(number), name))
        }
        return [
            CallRule("readv", .readVector), SocketCall.send.rule("sendmsg"),
            SocketCall.accept.rule("accept"), option(peerCredentials, "SO_PEERCRED"),
            option(peerProcess, "SO_PEERPIDFD"),
            SocketCall.connect.rule("connect"),
            SocketCall.socket.rule(
                "socket", .value(0, UInt32(SocketCall.local), "AF_UNIX"),
                .value(1, UInt32(SocketCall.packets), "SOCK_SEQPACKET")),
            SocketCall.bind.rule("bind"),
            SocketCall.waitingRule,
        ] + (listens ? [SocketCall.listen.rule("listen")] : [])
    }

    /// A socket with an address, which cannot be reached before `listen`.
    /// - Throws: EADDRINUSE if another socket has that address.
    static func bound(to address: LocalAddress) throws(Errno) -> Descriptor {
        let socket = try make()
        try address.with { (place, count) throws(Errno) -> Void in
            try SocketCall.bind.make(Int(socket.number), place, count)
        }
        return socket
    }

    static func listen(_ socket: Int32) throws(Errno) {
        try SocketCall.listen.make(Int(socket), backlog)
    }

    /// The next peer that wants to send to us.
    /// - Returns: its socket, and the address that it has; an empty one if none of this kind.
    /// - Throws: EAGAIN if there is none.
    static func accept(
        _ socket: Int32
    ) throws(Errno) -> (socket: Int32, address: LocalAddress) {
        var address = mini_sockaddr_un()
        var count = Int32(MemoryLayout<mini_sockaddr_un>.size)
        let number = try withKernel(&address) { (place) throws(Errno) in
            try withKernel(&count) { (length) throws(Errno) in
                try SocketCall.accept.make(Int(socket), place, length)
            }
        }
        do throws(Errno) { try SocketCall.setWaiting(false, of: Int32(number)) } catch {
            Descriptor.closeNumber(Int32(number))
            throw error
        }
        var name: [UInt8] = []
        // The family, a byte 0 and the name.
        let end = min(Int(count) - MemoryLayout<UInt16>.size, 108)
        unsafe withUnsafeBytes(of: &address.path) { path in
            if end > 1, unsafe path[0] == 0 { name = unsafe Array(path[1..<end]) }
        }
        return (Int32(number), LocalAddress(name: Text(bytes: name)))
    }

    /// - Parameter own: an address for this end, if it is to have one.
    /// - Throws: ECONNREFUSED if no socket listens there, EAGAIN if its queue is full, EADDRINUSE if `own` is taken.
    static func connected(
        to address: LocalAddress, from own: LocalAddress? = nil
    ) throws(Errno) -> Descriptor {
        let socket = try end(own)
        try address.with { (place, count) throws(Errno) -> Void in
            try SocketCall.connect.make(Int(socket.number), place, count)
        }
        return socket
    }

    private static func end(_ own: LocalAddress?) throws(Errno) -> Descriptor {
        guard let own else { return try make() }
        return try bound(to: own)
    }

    /// The process at the other end, as the kernel knows it: who connected, or who listened. It may have ended
    /// since, and its number be another's: see `isPeerAlive`.
    /// - Returns: 0 for one of another process namespace.
    static func peer(of socket: Int32) throws(Errno) -> Int32 {
        var credentials = mini_ucred()
        try option(peerCredentials, of: socket, &credentials)
        return credentials.process
    }

    /// Whether the very process at the other end has not ended: whatever its number was found to have
    /// before, it had itself. Kernels before 6.5 do not tell; there it is taken to be.
    static func isPeerAlive(_ socket: Int32) throws(Errno) -> Bool {
        var number: Int32 = -1
        do throws(Errno) { try option(peerProcess, of: socket, &number) } catch {
            return error == .noProtocolOption
        }
        let process = Descriptor(owning: number)
        // Readable once it has ended.
        return try !Poll.wait([Poll.Interest(process.number)], timeout: Nanoseconds(count: 0))[0]
    }

    private static func option<Value>(
        _ option: Int, of socket: Int32, _ value: inout Value
    ) throws(Errno) {
        var count = Int32(MemoryLayout<Value>.size)
        try withKernel(&value) { (place) throws(Errno) -> Void in
            _ = try withKernel(&count) { (length) throws(Errno) in
                try SocketCall.option.make(Int(socket), everySocket, option, place, length)
            }
        }
    }

    /// Sends one message, straight from where its parts lie.
    /// - Throws: EAGAIN if the other end has too much unread, EPIPE if it is gone.
    static func send(_ socket: Int32, _ message: IOVector) throws(Errno) {
        try transfer(.send, socket, message, dontWait | SocketCall.withoutSignal)
    }

    /// Receives one message, straight to where its parts belong; what has no room is lost.
    /// - Returns: its length, at most `room.count`, but not 0; 0 if the other end is gone.
    static func receive(_ socket: Int32, into room: IOVector) throws(Errno) -> UInt32 {
        // By a call that disks and taps take as well: so the sandbox has one less. Without any room it
        // would leave the message where it is.
        if room.count > 0 { return UInt32(truncatingIfNeeded: try room.transfer(.read, socket)) }
        var result: Result<Int, Errno> = .failure(.invalid)
        var byte: UInt8 = 0
        unsafe withUnsafeMutableBytes(of: &byte) { bytes in
            var discarded = IOVector(pieces: 1)
            unsafe discarded.append(UnsafeRawBufferPointer(bytes))
            do throws(Errno) { result = .success(try discarded.transfer(.read, socket)) } catch {
                result = .failure(error)
            }
        }
        return UInt32(truncatingIfNeeded: try result.get())
    }

    @discardableResult
    private static func transfer(
        _ call: SocketCall, _ socket: Int32, _ vector: IOVector, _ flags: Int
    ) throws(Errno) -> Int {
        do throws(Errno) {
            return try transferOnce(call, socket, vector, flags)
        } catch {
            guard error == .badAddress, vector.touch() else { throw error }
            return try transferOnce(call, socket, vector, flags)
        }
    }

    private static func transferOnce(
        _ call: SocketCall, _ socket: Int32, _ vector: IOVector, _ flags: Int
    ) throws(Errno) -> Int {
        try vector.withKernel { (address, count) throws(Errno) in
            var header = mini_msghdr()
            header.vector = UInt(bitPattern: address)
            header.vector_count = UInt(count)
            return try withKernel(&header) { (place) throws(Errno) in
                try call.make(Int(socket), place, flags)
            }
        }
    }
}
