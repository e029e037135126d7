// Local sockets, on the real kernel.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func send(_ text: String, to socket: StreamSocket) throws(Errno) {
    try Transfer.write(socket.number, Text(stringLiteral: text))
}

private func receive(from socket: StreamSocket) throws(Errno) -> String {
    var room = [UInt8](repeating: 0, count: 100)
    let count = try Transfer.read(socket.number, into: &room)
    return String(decoding: room.prefix(count), as: UTF8.self)
}

private func errno<Value>(_ body: () throws(Errno) -> Value) -> Errno? {
    do throws(Errno) { _ = try body() } catch { return error }
    return nil
}

@Suite struct StreamSocketTests {
    private func name(_ file: borrowing TemporaryFile) -> Text { Text(stringLiteral: file.path) }

    @Test("bytes go both ways, each way ends by itself, and nothing waits")
    func bothWays() throws {
        let file = try TemporaryFile()
        let listener = try StreamSocket.listening(at: name(file))
        #expect(try listener.accept() == nil)
        let client = try StreamSocket.connected(to: name(file))
        let server = try #require(try listener.accept())
        #expect(errno { () throws(Errno) in try receive(from: server) } == .again)
        try send("question", to: client)
        try client.endWriting()
        #expect(try receive(from: server) == "question")
        #expect(try receive(from: server) == "")
        try send("answer", to: server)
        #expect(try receive(from: client) == "answer")
        #expect(errno { () throws(Errno) in try receive(from: client) } == .again)
        try server.endWriting()
        #expect(try receive(from: client) == "")
    }

    /// A socket of this kind with a name, on which nobody listens yet.
    private func bound(_ kind: Int32, _ path: String) -> Int32 {
        let number = Foundation.socket(AF_UNIX, kind, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(number >= 0 && result == 0)
        return number
    }

    @Test(
        "where a socket of any kind will do, one of packets or of datagrams is connected to as well"
    )
    func otherKinds() throws {
        // SOCK_SEQPACKET, SOCK_DGRAM
        for kind: Int32 in [5, 2] {
            let file = try TemporaryFile()
            let server = bound(kind, file.path)
            defer { Foundation.close(server) }
            #expect(
                errno { () throws(Errno) in try StreamSocket.connected(to: name(file)) }
                    == .wrongSocket)
            if kind == 5 {
                #expect(
                    errno { () throws(Errno) in try StreamSocket.connectedToAny(name(file)) }
                        == .refused)
                #expect(Foundation.listen(server, 1) == 0)
            }
            let client = try StreamSocket.connectedToAny(name(file))
            try send("message", to: client)
            let peer = kind == 5 ? Foundation.accept(server, nil, nil) : Foundation.dup(server)
            defer { Foundation.close(peer) }
            var room = [UInt8](repeating: 0, count: 100)
            #expect(Foundation.recv(peer, &room, room.count, Int32(MSG_DONTWAIT)) == 7)
        }
        let file = try TemporaryFile()
        let listener = try StreamSocket.listening(at: name(file))
        _ = try StreamSocket.connectedToAny(name(file))
        #expect(try listener.accept() != nil)
    }

    @Test("connecting does not wait where too many do")
    func crowded() throws {
        let file = try TemporaryFile()
        let listener = try StreamSocket.listening(at: name(file))
        var clients: [StreamSocket] = []
        var failure: Errno?
        for _ in 0..<20 where failure == nil {
            do throws(Errno) { clients.append(try StreamSocket.connected(to: name(file))) } catch {
                failure = error
            }
        }
        #expect(failure == .again)
        _ = listener.number
    }

    @Test("what a process left behind is replaced; a listener and other files are not")
    func names() throws {
        let file = try TemporaryFile()
        var listener: StreamSocket? = try StreamSocket.listening(at: name(file))
        #expect(
            errno { () throws(Errno) in try StreamSocket.listening(at: name(file)) }
                == .addressInUse)
        #expect(listener != nil)
        listener = nil
        #expect(
            errno { () throws(Errno) in try StreamSocket.connected(to: name(file)) } == .refused)
        listener = try StreamSocket.listening(at: name(file))
        _ = try StreamSocket.connected(to: name(file))

        let other = try TemporaryFile("precious")
        #expect(
            errno { () throws(Errno) in try StreamSocket.listening(at: name(other)) }
                == .addressInUse)
        #expect(other.content == "precious")
        let none = try TemporaryFile()
        #expect(
            errno { () throws(Errno) in try StreamSocket.connected(to: name(none)) } == .noSuchFile)
    }

    @Test("a name too long for an address, or with a NUL, is refused")
    func badNames() {
        let longest = Text(bytes: bytes("/nowhere/") + Array(repeating: 97, count: 98))
        #expect(longest.bytes.count == StreamSocket.longestName)
        for (name, expected) in [
            (longest, Errno.noSuchFile), (Text(bytes: longest.bytes + [97]), .nameTooLong),
            (Text(bytes: [97, 0, 97]), .nameTooLong),
        ] {
            #expect(errno { () throws(Errno) in try StreamSocket.connected(to: name) } == expected)
        }
    }

    @Test("every call that fails gives its errno, and what was open is closed", arguments: 1...9)
    func everyCall(call: Int) throws {
        let file = try TemporaryFile()
        let kernel = Kernel(failing: call)
        let failure = SystemCall.hooked({ kernel.answer($0) }) { () -> Errno? in
            errno { () throws(Errno) in
                let listener = try StreamSocket.listening(at: name(file))
                let client = try StreamSocket.connected(to: name(file))
                _ = try listener.accept()
                try client.endWriting()
            }
        }
        #expect(failure == .inputOutput)
        #expect(kernel.open.withLock { $0 } == [])
    }
}

/// The real kernel but for one call, and the sockets that are open.
private final class Kernel: Sendable {
    let open = Mutex<Set<Int>>([])
    private let calls = Mutex(0)
    private let failing: Int
    init(failing: Int) { self.failing = failing }

    func answer(_ call: SystemCall) -> Int {
        let count = calls.withLock {
            $0 += 1
            return $0
        }
        if count == failing { return -5 }
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        let result = mini_syscall(
            call.number.rawValue, first, second, third, fourth, fifth, sixth)
        open.withLock { open in
            switch call.number.rawValue {
            case SocketCall.socket.direct, SocketCall.accept.direct:
                if result >= 0 { open.insert(result) }
            case SystemCall.Number.close.rawValue: open.remove(first)
            default: break
            }
        }
        return result
    }
}
