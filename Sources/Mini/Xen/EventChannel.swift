// The client of /dev/xen/evtchn: one end of an event channel, in a device file of its own. The driver
// beside EventMachine, which makes its calls. Source: docs/abi/xen-grants.md §2 and §6.

import CShim

/// An open evtchn, kept for one channel after the other: in a sandbox nothing can be opened.
final class EventDevice {
    fileprivate let device: Descriptor
    fileprivate let dead: DeadPorts?
    var number: Int32 { device.number }
    /// Of an assistant, where there is one.
    var assistants: [Int32] { dead?.descriptors ?? [] }

    init() throws(GrantError) {
        device = try XenDevice.evtchn.open()
        dead = DeadPorts(device.number)
    }
}

/// A bell between this domain and another one; unbound when the last owner goes.
final class EventChannel {
    /// What the port is bound to.
    enum Binding: Equatable {
        /// A new port that the domain may bind itself to.
        case unbound(for: DomainID)
        /// A port that the domain has made for us.
        case interdomain(DomainID, EventPort)
        /// A bell of Xen's own, as 3 for the console.
        case virtual(UInt32)
    }

    /// This domain's end.
    let port: EventPort
    private let device: EventDevice
    /// Another channel may follow on the same device.
    private let isKept: Bool
    private var machine = EventMachine()

    enum Request {
        static var bindVirtual: IoctlRequest { .init(group: e, number: 0, UInt32.self) }
        static var bindInterdomain: IoctlRequest {
            .init(group: e, number: 1, mini_evtchn_interdomain.self)
        }
        static var bindUnbound: IoctlRequest { .init(group: e, number: 2, UInt32.self) }
        static var unbind: IoctlRequest { .init(group: e, number: 3, UInt32.self) }
        static var notify: IoctlRequest { .init(group: e, number: 4, UInt32.self) }
        static var reset: IoctlRequest { .init(group: e, number: 5) }
        private static let e = UInt8(ascii: "E")
    }

    /// - Parameter kept: a device on which nothing is bound; nil for one of its own.
    /// - Throws: `.refused` if Xen does not bind it.
    init(_ binding: Binding, on kept: EventDevice? = nil) throws(GrantError) {
        let device: EventDevice
        if let kept { device = kept } else { device = try EventDevice() }
        let number: Int
        do throws(Errno) { number = try Self.bind(binding, device.number) } catch {
            throw Self.refusal(of: binding, error)
        }
        guard let port = EventPort(UInt64(number)) else {
            throw Self.refusal(of: binding, .invalid)
        }
        self.port = port
        self.device = device
        isKept = kept != nil
    }

    deinit { try? unbind() }

    private static func bind(_ binding: Binding, _ device: Int32) throws(Errno) -> Int {
        switch binding {
        case .unbound(let domain):
            var number = UInt32(domain.rawValue)
            return try Ioctl.call(device, Request.bindUnbound, &number)
        case .interdomain(let domain, let port):
            var request = mini_evtchn_interdomain(
                domain: UInt32(domain.rawValue), port: port.rawValue)
            return try Ioctl.call(device, Request.bindInterdomain, &request)
        case .virtual(var number): return try Ioctl.call(device, Request.bindVirtual, &number)
        }
    }

    private static func refusal(of binding: Binding, _ errno: Errno) -> GrantError {
        let what: Text =
            switch binding {
            case .unbound(let domain): "an event channel for domain \(domain.rawValue)"
            case .interdomain(let domain, let port):
                "event port \(port.rawValue) of domain \(domain.rawValue)"
            case .virtual(let number): "virtual interrupt \(number)"
            }
        if errno == .noMemory { return .system("bind \(what)", errno) }
        if errno == .notATerminal {
            return .notOffered(
                XenDevice.evtchn.unknown("event channels"), device: XenDevice.evtchn.path)
        }
        return .refused("Xen does not bind \(what): \(errno)")
    }

    // MARK: Events

    /// Of an assistant, where there is one.
    var assistants: [Int32] { device.assistants }

    /// Readable when an event has come.
    var descriptor: Int32 { device.number }

    /// Rings the bell at the other end.
    func notify() throws(GrantError) {
        var number = port.rawValue
        do throws(Errno) { try Ioctl.call(device.number, Request.notify, &number) } catch {
            throw .system("send an event", error)
        }
    }

    /// Waits for an event, and takes it. Several that came before it was called are one.
    /// - Returns: false when the deadline has passed.
    func wait(_ deadline: Deadline) throws(GrantError) -> Bool {
        do throws(Errno) {
            if machine.unfinished == nil, try !deadline.wait(for: Poll.Interest(descriptor)) {
                return false
            }
        } catch { throw .system("wait for an event", error) }
        try take()
        return true
    }

    /// Takes the event that has come; sleeps for one if none has.
    func take() throws(GrantError) {
        var action = machine.unfinished
        while true {
            let event: EventMachine.Event
            do throws(Errno) {
                switch action {
                case nil: event = try read()
                case .acknowledge:
                    _ = try Transfer.writeRecord(descriptor, [port.rawValue])
                    event = .acknowledged
                case .reset:
                    var nothing: UInt32 = 0
                    try Ioctl.call(descriptor, Request.reset, &nothing)
                    event = .reset
                case .use, .end: return
                }
            } catch { throw .system("take an event", error) }
            action = machine.handle(event)
            if action == nil { throw .defect(state: "\(machine.stateName)") }
        }
    }

    private func read() throws(Errno) -> EventMachine.Event {
        do throws(Errno) {
            // The file has one port, so that is the one.
            _ = try Transfer.readWord(descriptor)
            return .arrived
        } catch {
            if error == .fileTooLarge { return .overflowed }
            throw error
        }
    }

    /// Gives the port back now.
    func unbind() throws(GrantError) {
        // It may have gone back before.
        guard machine.handle(.finished) != nil else { return }
        if device.dead?.areDead ?? false { return }
        var number = port.rawValue
        do throws(Errno) {
            try Ioctl.call(device.number, Request.unbind, &number)
            // An event that was not taken must not be taken for the next channel's.
            if isKept { try Ioctl.call(device.number, Request.reset, &number) }
        } catch { throw .system("unbind an event port", error) }
    }
}
