// A connection to XenStore: finds it, sends one request after the other and waits for its reply, until a
// deadline. The driver beside StoreRequestMachine; what can be asked is in XenStoreOperations.swift. Source: docs/abi/xen-grants.md §7.

/// A connection to the store. What it watches and what it has begun ends with it.
final class XenStore {
    private enum Connection: ~Copyable {
        case device(Descriptor)
        case socket(StreamSocket)

        var number: Int32 {
            switch self {
            case .device(let device): device.number
            case .socket(let socket): socket.number
            }
        }
    }
    private let connection: Connection
    private var machine = StoreRequestMachine()
    private var assembler = StoreAssembler()
    /// Paths of watch events that came between a request and its reply.
    private var events: [Text] = []
    /// An event of this path is kept however many of others wait.
    var lastingEvent: Text?
    /// So many waited that some were dropped.
    private(set) var hasDroppedEvents = false

    /// How long the store may take for what is asked from now on.
    var deadline: Deadline

    // MARK: Finding it

    /// Names the store where none of the usual ways is right, as for libxenstore.
    private static let variable: StaticString = "XENSTORED_PATH"
    /// The kernel's device; the same in xenfs; the daemon's socket, which is there in its own domain.
    private static var usual: [Text] {
        [
            XenDevice.xenbus.path, "/proc/xen/xenbus", "/run/xenstored/socket",
            "/var/run/xenstored/socket",
        ]
    }

    /// Connects to the store of this machine.
    init(deadline: Deadline) throws(GrantError) {
        self.deadline = deadline
        let named = Process.environment(Self.variable)
        for path in named.map({ [$0] }) ?? Self.usual {
            do throws(Errno) {
                connection = try Self.connect(path, deadline)
                return
            } catch {
                switch error {
                case .noSuchFile, .noSuchDevice, .noDevice, .refused:
                    if named == nil { continue }
                    if error == .noDevice {
                        throw .noDevice(path, why: "\(Self.variable) names another file")
                    }
                case .timedOut: throw .deadline("the store took no more connections in time")
                default: break
                }
                throw .host(
                    named == nil ? "open" : "open \(Self.variable)", name: path, error)
            }
        }
        // Says why there is none. Should it have come up meanwhile, so much the better.
        connection = .device(try XenDevice.xenbus.open())
    }

    /// - Throws: ETIMEDOUT if too many wait at a socket until the deadline.
    private static func connect(_ path: Text, _ deadline: Deadline) throws(Errno) -> Connection {
        do throws(Errno) { return .device(try XenDevice.open(path)) } catch {
            // This is what opening a socket as a file gives.
            guard error == .noSuchDevice else { throw error }
        }
        while true {
            do throws(Errno) { return .socket(try StreamSocket.connected(to: path)) } catch {
                guard error == .again else { throw error }
            }
            if deadline.isOver { throw .timedOut }
            deadline.sleep(atMost: pause)
        }
    }

    /// How often a socket is tried at which too many wait.
    private static let pause = Nanoseconds.milliseconds(50)

    // MARK: Requests

    /// Asks, and waits for the reply.
    /// - Parameter transaction: 0 for none.
    /// - Returns: the reply's payload is of the form that belongs to the request.
    /// - Throws: `.store` if the store says no.
    @inline(never)
    func ask(_ request: StoreRequest, in transaction: UInt32 = 0) throws(GrantError) -> StoreMessage
    {
        try begin(request, in: transaction)
        return try reply(to: request)
    }

    /// Asks, for `reply` to wait.
    func begin(_ request: StoreRequest, in transaction: UInt32 = 0) throws(GrantError) {
        let size = request.payload.count
        guard size <= StoreMessage.largestRequest else {
            throw .use(
                "cannot \(request.verb) \(quoted: request.path): path and value are \(size) bytes, at most \(StoreMessage.largestRequest) fit"
            )
        }
        if machine.isOverdue { try awaitOverdue() }
        guard case .send(let message)? = machine.handle(.asked(request, transaction: transaction))
        else { throw Self.broken }
        do throws(GrantError) { try send(message) } catch {
            guard case .host(_, _, let errno) = error else {
                _ = machine.handle(.ended)
                throw error
            }
            // The kernel's device answers so to a watch that the store refuses, before 3.3 also to kinds of messages that it does
            // not know. No reply comes.
            let reply = StoreMessage(
                type: StoreMessageType.error.rawValue, request: message.request)
            _ = machine.handle(.received(reply))
            // Of a watch it is checked already what can be invalid: this is a word that the kernel does not know, E2BIG before 5.19
            // or EQUOTA, or E2BIG itself. All of them mean too many watches.
            let isQuota = request.type == .watch && (errno == .invalid || errno == .tooBig)
            throw request.refused(isQuota ? .quota : StoreRefusal(name: "\(errno.words.name)"))
        }
    }

    /// Waits for the reply to what `begin` has asked.
    func reply(to request: StoreRequest) throws(GrantError) -> StoreMessage {
        while let action = try receive(until: deadline) {
            switch action {
            case .deliver(let reply): return reply
            case .refuse(let refusal): throw request.refused(refusal)
            case .note(let path): note(path)
            case .giveUp, .send, .remember, .forget: throw Self.broken
            }
            // There may be an event in front of every reply, or no reply after the events.
            if deadline.isOver { break }
        }
        _ = machine.handle(.late)
        throw Self.late
    }

    /// Waits for a reply that came too late for its request, and drops it.
    private func awaitOverdue() throws(GrantError) {
        while machine.isOverdue, let action = try receive(until: deadline) {
            switch action {
            case .forget: return
            case .note(let path): note(path)
            case .giveUp, .send, .remember, .deliver, .refuse: throw Self.broken
            }
            if deadline.isOver { break }
        }
        if machine.isOverdue { throw Self.late }
    }

    private static var late: GrantError { .deadline("the store did not answer in time") }

    /// False once it cannot be told any more to which request a message belongs.
    var isUsable: Bool { !machine.isLost }

    /// Keeps the path of an event until it is asked for. None is kept twice, and of a flood not all: the caller looks at the
    /// store itself after any event.
    private func note(_ path: Text) {
        if events.count >= Self.fewEvents && events.contains(path) { return }
        if events.count >= Self.mostEvents && path != lastingEvent {
            hasDroppedEvents = true
        } else {
            events.append(path)
        }
    }
    private static let fewEvents = 64
    static let mostEvents = 1024

    /// The path that a watch tells of, in the order in which it came.
    /// - Returns: nil if nothing came until the moment.
    @inline(never)
    func nextEvent(until moment: Deadline) throws(GrantError) -> Text? {
        if !events.isEmpty { return events.removeFirst() }
        while let action = try receive(until: moment) {
            if case .note(let path) = action { return path }
            guard case .forget = action else { throw Self.broken }
            if moment.isOver { break }
        }
        return nil
    }

    /// Readable when `nextEvent` may have something that it has not read yet.
    var descriptor: Int32 { connection.number }

    // MARK: Bytes

    static let broken = GrantError.refused("the store broke its protocol, or ended the connection")

    private func send(_ message: StoreMessage) throws(GrantError) {
        let bytes = message.bytes
        var done = 0
        while done < bytes.count {
            // In one piece if it can be: the device takes what one write brings as one message.
            do throws(Errno) {
                do throws(Errno) { done += try write(bytes[done...]) } catch {
                    guard error == .again else { throw error }
                    let room = Poll.Interest(connection.number, .writable)
                    if try !deadline.wait(for: room) { break }
                }
            } catch {
                // A part of a message that is without its end makes the next one part of it.
                if done > 0 || Self.isEnd(error) { throw Self.broken }
                throw .host("write to", name: "the store", error)
            }
        }
        if done < bytes.count { throw .deadline("the store did not take a request in time") }
    }

    /// Whether it says that a socket's other end is gone, perhaps with what we have sent unread.
    private static func isEnd(_ errno: Errno) -> Bool {
        errno == .connectionReset || errno == .brokenPipe
    }

    /// - Returns: how many bytes the store takes now.
    private func write(_ bytes: ArraySlice<UInt8>) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeBytes { bytes in
            do throws(Errno) {
                result = .success(try unsafe Transfer.write(connection.number, some: bytes))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }

    /// The machine's answer to the next message; nil if none came until the moment.
    private func receive(
        until moment: Deadline
    ) throws(GrantError) -> StoreRequestMachine.Action? {
        var piece = [UInt8](repeating: 0, count: 4096)
        var hasRead = false
        while true {
            do throws(StoreAssembler.Violation) {
                if let message = try assembler.next() { return machine.handle(.received(message)) }
            } catch { return machine.handle(.ended) }
            // What came was not a whole message: a store may send it byte by byte.
            if hasRead && moment.isOver { return nil }
            var count: Int? = 0
            do throws(Errno) { count = try read(into: &piece, until: moment) } catch {
                guard Self.isEnd(error) else {
                    // What may come still is not waited for now.
                    let isPassing = error == .interrupted || error == .noMemory
                    _ = machine.handle(isPassing ? .late : .ended)
                    throw .host("read from", name: "the store", error)
                }
            }
            guard let count else { return nil }
            if count == 0 { return machine.handle(.ended) }
            assembler.append(piece[..<count])
            hasRead = true
        }
    }

    /// - Returns: nil if nothing came until the moment; 0 at the end of the connection.
    private func read(into piece: inout [UInt8], until moment: Deadline) throws(Errno) -> Int? {
        while try moment.wait(for: Poll.Interest(connection.number)) {
            do throws(Errno) { return try Transfer.read(connection.number, into: &piece) } catch {
                if error != .again { throw error }
            }
            if moment.isOver { break }
        }
        return nil
    }
}
