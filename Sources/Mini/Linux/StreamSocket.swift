// Local sockets that carry a stream of bytes and have the name of a file. Source: unix(7).

import CShim

/// A local socket of the kind SOCK_STREAM, but for `connectedToAny`. Reading, writing and accepting never wait; EAGAIN
/// says that they would have to. Closed when the last owner goes.
final class StreamSocket {
    private let descriptor: Descriptor
    var number: Int32 { descriptor.number }

    /// Longest name: sun_path, with its NUL.
    static let longestName = 107
    /// How many peers may wait to be accepted.
    private static let backlog = 5

    private init(owning number: Int) { descriptor = Descriptor(owning: Int32(number)) }

    private static func make(_ kind: Int = SocketCall.stream) throws(Errno) -> StreamSocket {
        StreamSocket(owning: try SocketCall.socket.make(SocketCall.local, kind))
    }

    /// - Throws: ENOENT or ECONNREFUSED if no socket listens there, EAGAIN if its queue is full.
    static func connected(to name: Text) throws(Errno) -> StreamSocket {
        try connected(to: name, SocketCall.stream)
    }

    /// A connection to a socket of any kind, as udev's takes packets and syslog's datagrams.
    static func connectedToAny(_ name: Text) throws(Errno) -> StreamSocket {
        for kind in [SocketCall.stream, SocketCall.packets] {
            do throws(Errno) { return try connected(to: name, kind) } catch {
                if error != .wrongSocket { throw error }
            }
        }
        return try connected(to: name, SocketCall.datagrams)
    }

    private static func connected(to name: Text, _ kind: Int) throws(Errno) -> StreamSocket {
        let socket = try make(kind)
        // First: connecting, too, would wait, and no signal would end that.
        try socket.setWaiting(false)
        try socket.call(.connect, name)
        return socket
    }

    /// Another number of it, which the caller looks after: calls through it wait.
    func waitingNumber() throws(Errno) -> Int32 {
        try setWaiting(true)
        return try PassedFiles.lift(number, above: 3)
    }

    /// Makes the file and listens there. A file that is left from a process that ended is replaced.
    /// - Throws: EADDRINUSE if a socket listens there, or the file is no socket.
    static func listening(at name: Text) throws(Errno) -> StreamSocket {
        let socket = try make()
        do throws(Errno) { try socket.call(.bind, name) } catch {
            guard error == .addressInUse, isAbandoned(name) else { throw error }
            try Files.remove(name)
            try socket.call(.bind, name)
        }
        try socket.setWaiting(false)
        try SocketCall.listen.make(Int(socket.number), backlog)
        return socket
    }

    private static func isAbandoned(_ name: Text) -> Bool {
        // A file of another kind refuses as well, and is not ours to remove.
        guard (try? FileStatus.of(name, followsLink: false))?.kind == .socket else { return false }
        do throws(Errno) {
            _ = try connected(to: name)
            return false
        } catch { return error == .refused }
    }

    /// The next peer; nil if there is none yet.
    func accept() throws(Errno) -> StreamSocket? {
        do throws(Errno) {
            let peer = StreamSocket(owning: try SocketCall.accept.make(Int(number), 0, 0))
            try peer.setWaiting(false)
            return peer
        } catch {
            if error == .again { return nil }
            throw error
        }
    }

    // What accepting, connecting and ending take, for a process whose calls are filtered.

    static func acceptingRules(_ listener: Int32) -> [CallRule] {
        [
            SocketCall.accept.rule("accept", .descriptor("listener", [listener])),
            SocketCall.waitingRule,
        ]
    }

    static var connectingRules: [CallRule] {
        [
            SocketCall.socket.rule(
                "socket", .value(0, UInt32(SocketCall.local), "AF_UNIX"),
                .value(1, UInt32(SocketCall.stream), "SOCK_STREAM")),
            SocketCall.connect.rule("connect"), SocketCall.waitingRule,
        ]
    }

    static func endingRule(_ sockets: [Int32]) -> CallRule {
        SocketCall.shutdown.rule("shutdown", .descriptor("socket", sockets))
    }

    /// Tells the other end that no more bytes will come from this one.
    func endWriting() throws(Errno) { try Self.endWriting(number) }

    /// The same through a number of any socket.
    static func endWriting(_ number: Int32) throws(Errno) {
        try SocketCall.shutdown.make(Int(number), 1)
    }

    private func setWaiting(_ waits: Bool) throws(Errno) {
        try SocketCall.setWaiting(waits, of: number)
    }

    private func call(_ call: SocketCall, _ name: Text) throws(Errno) {
        guard name.bytes.count <= Self.longestName, !name.bytes.contains(0) else {
            throw .nameTooLong
        }
        var address = mini_sockaddr_un()
        address.family = UInt16(SocketCall.local)
        unsafe withUnsafeMutableBytes(of: &address.path) { path in
            for (index, byte) in name.bytes.enumerated() { unsafe path[index] = byte }
        }
        let size = MemoryLayout<UInt16>.size + name.bytes.count + 1
        try withKernel(&address) { (place) throws(Errno) -> Void in
            try call.make(Int(number), place, size)
        }
    }
}
