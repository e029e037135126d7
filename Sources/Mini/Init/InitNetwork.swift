// The table's statements for network devices: `bridge`, `link` and `route`. A child carries them out, through the kernel's own
// interface and no other program. Sources: rtnetlink(7), ip-link(8) for the words.

/// What is to become of a network device.
struct LinkRequest: Equatable {
    enum State { case up, down }
    var name: InterfaceName
    var hardware: HardwareAddress?
    /// The bridge that it is plugged into.
    var bridge: InterfaceName?
    /// Takes its addresses away first.
    var isFlushed = false
    var addresses: [InternetNetwork] = []
    var state: State?
    /// A child stays and does all of it again whenever the device comes anew.
    var stays = false
    var patience = Nanoseconds.milliseconds(10_000)
}

/// Where packets go.
struct RouteRequest: Equatable {
    /// Nil for all that no other route takes.
    var destination: InternetNetwork?
    var gateway: InternetNetwork?
    var device: InterfaceName?
}

extension HardwareAddress {
    /// Reads `02:00:00:00:00:01`.
    init?(_ word: Text) {
        let parts = word.bytes[...].split(
            separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var bytes: [UInt8] = []
        for part in parts {
            guard part.count == 2, let value = Text(bytes: [48, 120] + Array(part)).number else {
                return nil
            }
            bytes.append(UInt8(value))
        }
        guard bytes.count == Self.count else { return nil }
        self.init(bytes)
    }
}

/// In a child.
enum InitNetwork {
    private static let addressRecord = 8
    // Attributes.
    private static let hardware: UInt16 = 1
    private static let name: UInt16 = 3
    private static let master: UInt16 = 10
    private static let information: UInt16 = 18
    private static let local: UInt16 = 2
    private static let up: UInt32 = 1  // IFF_UP

    // MARK: Statements

    /// Makes a bridge; one that is there already is as good.
    static func makeBridge(_ name: InterfaceName) throws(InitError) {
        let action: Text = "make the bridge"
        let isMade = try host(action, name.text) { () throws(Errno) in
            let socket = try RouteSocket()
            var message = link(.newLink, [.acknowledge, .create, .exclusive])
            message.append(Self.name, text(name))
            // IFLA_INFO_KIND
            message.append(information, RouteMessage.attribute(1, ("bridge" as Text).bytes))
            do throws(Errno) { _ = try socket.ask(message) } catch {
                if error != .exists { throw error }
                return try device(name, socket).map { isBridge($0) } ?? false
            }
            return true
        }
        if !isMade {
            throw .cause(
                action, name: name.text, "there is a device of this name that is no bridge")
        }
    }

    /// Waits for the device and makes it what it is to be.
    static func arrange(_ request: LinkRequest) throws(InitError) {
        let deadline = Deadline.after(request.patience)
        let index = try host("wait for the device", request.name.text) { () throws(Errno) in
            try appearance(of: request.name, deadline)
        }
        guard let index else {
            throw .grant(.deadline("the device \(quoted: request.name.text) has not come in time"))
        }
        try arrange(request, index)
    }

    /// The kernel's messages about devices from now on, and which device has the name now: made before a device is waited
    /// for, so that none appears unseen.
    final class Watch {
        fileprivate let messages: RouteSocket
        fileprivate var known: UInt32?

        init(_ name: InterfaceName) throws(InitError) {
            do throws(Errno) {
                messages = try RouteSocket(isNotified: true)
                known = try InitNetwork.index(of: name, RouteSocket())
            } catch { throw .host("watch the device", name: name.text, error) }
        }
    }

    /// For a device that comes and goes: does not return.
    /// - Parameter say: tells what goes wrong.
    static func keep(
        _ request: LinkRequest, _ watch: Watch, say: (InitError) -> Void
    ) throws(InitError) {
        try host("watch the device", request.name.text) { () throws(Errno) in
            while true {
                do throws(Errno) { _ = try watch.messages.receive() } catch {
                    // So much has happened that the kernel could not tell all of it: look.
                    if error != .noBufferSpace { throw error }
                }
                let now = try index(of: request.name, RouteSocket())
                if let now, now != watch.known {
                    do throws(InitError) { try arrange(request, now) } catch { say(error) }
                }
                watch.known = now
            }
        }
    }

    static func addRoute(_ request: RouteRequest) throws(InitError) {
        let shown = request.device?.text ?? "the gateway"
        try host("set the route by", shown) { () throws(Errno) in
            let socket = try RouteSocket()
            let family = request.destination?.family ?? request.gateway?.family ?? 2
            // Family, bits of the destination, of the source, type of service; main table, RTPROT_STATIC,
            // scope (universe, or link without a gateway), RTN_UNICAST; flags.
            let scope: UInt8 = request.gateway == nil && family == 2 ? 253 : 0
            var message = RouteMessage(
                .newRoute, [.acknowledge, .create, .replace],
                record: [
                    family, request.destination?.prefix ?? 0, 0, 0, 254, 4, scope, 1, 0, 0, 0, 0,
                ])
            if let destination = request.destination { message.append(1, destination.bytes) }
            if let device = request.device {
                guard let index = try index(of: device, socket) else { throw .noDevice }
                message.append(4, LittleEndian.bytes(index, 4))
            }
            if let gateway = request.gateway { message.append(5, gateway.bytes) }
            _ = try socket.ask(message)
        }
    }

    // MARK: Devices

    private static func appearance(
        of name: InterfaceName, _ deadline: Deadline
    ) throws(Errno) -> UInt32? {
        let messages = try RouteSocket(isNotified: true)
        while true {
            if let index = try index(of: name, RouteSocket()) { return index }
            if deadline.isOver { return nil }
            if try Poll.wait([Poll.Interest(messages.number)], timeout: deadline.remaining)[0] {
                _ = try? messages.receive()
            }
        }
    }

    /// A device's number; nil if there is none of this name.
    private static func index(
        of name: InterfaceName, _ socket: borrowing RouteSocket
    ) throws(Errno) -> UInt32? {
        try device(name, socket)?.number(at: 4, 4)
    }

    /// True if what the kernel says of a device is that it is a bridge.
    static func isBridge(_ device: RouteReply) -> Bool {
        // struct ifinfomsg; IFLA_INFO_KIND.
        guard let information = device.attribute(information, behind: 16),
            let kind = RouteReply(kind: 0, record: information).attribute(1, behind: 0)
        else { return false }
        return Text(bytes: Array(kind.prefix { $0 != 0 })) == "bridge"
    }

    /// What the kernel says of a device; nil if there is none of this name.
    private static func device(
        _ name: InterfaceName, _ socket: borrowing RouteSocket
    ) throws(Errno) -> RouteReply? {
        var message = link(.getLink, [.acknowledge])
        message.append(Self.name, text(name))
        do throws(Errno) {
            for reply in try socket.ask(message)
            where reply.kind == RouteMessage.Kind.newLink.rawValue {
                return reply
            }
            return nil
        } catch {
            if error == .noDevice { return nil }
            throw error
        }
    }

    private static func arrange(_ request: LinkRequest, _ index: UInt32) throws(InitError) {
        var step: Step = (action: "set up the device", object: request.name.text)
        do throws(Errno) { try arrange(request, index, &step) } catch {
            throw failure(step.action, step.object, error)
        }
    }

    /// What is done now, as a part of a sentence, and to what.
    private typealias Step = (action: Text, object: Text)

    private static func arrange(
        _ request: LinkRequest, _ index: UInt32, _ step: inout Step
    ) throws(Errno) {
        let socket = try RouteSocket()
        if request.isFlushed { try flush(index, socket) }
        if let hardware = request.hardware {
            // Many devices take another address only while they are down.
            _ = try socket.ask(link(.newLink, [.acknowledge], index, flags: 0, change: up))
            step.action = "set the mac of"
            var message = link(.newLink, [.acknowledge], index)
            message.append(Self.hardware, hardware.bytes)
            _ = try socket.ask(message)
        }
        if let bridge = request.bridge {
            step = (action: "plug \(quoted: step.object) into the bridge", object: bridge.text)
            guard let master = try Self.index(of: bridge, socket) else { throw .noDevice }
            var message = link(.newLink, [.acknowledge], index)
            message.append(Self.master, LittleEndian.bytes(master, 4))
            _ = try socket.ask(message)
            step.object = request.name.text
        }
        for address in request.addresses {
            step.action = "set the address of"
            _ = try socket.ask(setting(address, index))
        }
        step.action = "set up the device"
        switch request.state {
        case .up: _ = try socket.ask(link(.newLink, [.acknowledge], index, flags: up, change: up))
        case .down: _ = try socket.ask(link(.newLink, [.acknowledge], index, flags: 0, change: up))
        case nil: break
        }
    }

    /// Gives a device an address. One of version 6 can be used at once (IFA_F_NODAD): a person has chosen it, and the
    /// next statement's program may bind it.
    static func setting(_ address: InternetNetwork, _ index: UInt32) -> RouteMessage {
        // Family, prefix, flags, scope; the device.
        var message = RouteMessage(
            .newAddress, [.acknowledge, .create, .replace],
            record: [address.family, address.prefix, address.family == 10 ? 2 : 0, 0]
                + LittleEndian.bytes(index, 4))
        message.append(local, address.bytes)
        message.append(1, address.bytes)
        return message
    }

    /// Takes a device's addresses away.
    private static func flush(_ index: UInt32, _ socket: borrowing RouteSocket) throws(Errno) {
        let all = RouteMessage(
            .getAddress, [.dump], record: [UInt8](repeating: 0, count: addressRecord))
        for reply in try socket.ask(all) where reply.number(at: 4, 4) == index {
            guard reply.record.count >= addressRecord else { continue }
            var message = RouteMessage(
                .deleteAddress, [.acknowledge], record: Array(reply.record[..<addressRecord]))
            for attribute in [local, 1] {
                if let value = reply.attribute(attribute, behind: addressRecord) {
                    message.append(attribute, value)
                }
            }
            do throws(Errno) { _ = try socket.ask(message) } catch {
                // One that went with another.
                if error != .addressNotAvailable { throw error }
            }
        }
    }

    // MARK: Words

    /// Family, padding, type; number; flags and which of them change.
    private static func link(
        _ kind: RouteMessage.Kind, _ flags: RouteMessage.Flags, _ index: UInt32 = 0,
        flags value: UInt32 = 0, change: UInt32 = 0
    ) -> RouteMessage {
        RouteMessage(
            kind, flags,
            record: [0, 0, 0, 0] + LittleEndian.bytes(index, 4) + LittleEndian.bytes(value, 4)
                + LittleEndian.bytes(change, 4))
    }

    private static func text(_ name: InterfaceName) -> [UInt8] { name.text.bytes + [0] }

    private static func host<Value>(
        _ action: Text, _ name: Text, _ body: () throws(Errno) -> Value
    ) throws(InitError) -> Value {
        do throws(Errno) { return try body() } catch { throw failure(action, name, error) }
    }

    /// What the kernel's number means here.
    static func failure(_ action: Text, _ name: Text, _ errno: Errno) -> InitError {
        switch errno {
        case .tooManyLinks: .cause(action, name: name, "a bridge does not go into another")
        // Rights are EPERM.
        case .accessDenied:
            .cause(action, name: name, "IPv6 is switched off there (disable_ipv6)")
        default: .host(action, name: name, errno)
        }
    }
}
