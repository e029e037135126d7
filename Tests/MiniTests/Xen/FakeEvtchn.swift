// The model's evtchn: docs/abi/xen-grants.md §6.

import CShim

@testable import Mini

extension FakeXen {
    struct Port {
        enum End: Equatable {
            case unbound(domain: UInt32)
            case bound(domain: UInt32, port: UInt32)
            case virtual(UInt32)
        }
        var file: Int
        var end: End
        /// False after an event, until its number is written back.
        var isEnabled = true
        var isPending = false
    }

    struct Ring {
        var ports: [UInt32] = []
        var isOverflowed = false
    }
}

extension FakeXen.State {
    mutating func evtchn(_ file: Int, _ request: Int, _ address: Int) -> Int {
        if request == 0x4505 {
            rings[file] = FakeXen.Ring()
            return 0
        }
        guard let argument = UnsafeRawPointer(bitPattern: address) else { return -14 }
        let first = argument.load(as: UInt32.self)
        switch request {
        case 0x44500:
            if first >= 24 { return -22 }
            if ports.values.contains(where: { $0.end == .virtual(first) }) { return -17 }
            return bind(file, .virtual(first))
        case 0x84501:
            return bindRemote(file, first, argument.load(fromByteOffset: 4, as: UInt32.self))
        case 0x44502:
            return domains.contains(first) ? bind(file, .unbound(domain: first)) : -3
        case 0x44503:
            guard ports[first]?.file == file else { return -107 }
            unbind(first)
            return 0
        case 0x44504:
            guard ports[first]?.file == file else { return -107 }
            send(first)
            return 0
        default: return -38
        }
    }

    private mutating func bind(_ file: Int, _ end: FakeXen.Port.End) -> Int {
        ports[nextPort] = FakeXen.Port(file: file, end: end)
        if rings[file] == nil { rings[file] = FakeXen.Ring() }
        nextPort += 1
        return Int(nextPort - 1)
    }

    private mutating func bindRemote(_ file: Int, _ domain: UInt32, _ port: UInt32) -> Int {
        guard domains.contains(domain) else { return -3 }
        if domain == ownDomain, ports[port]?.end == .unbound(domain: ownDomain) {
            let number = bind(file, .bound(domain: domain, port: port))
            ports[port]!.end = .bound(domain: ownDomain, port: UInt32(number))
            return number
        }
        guard remotePorts.contains(key(domain, port)) else { return -22 }
        let number = bind(file, .bound(domain: domain, port: port))
        if ringsWhenBound { deliver(UInt32(number)) }
        return number
    }

    mutating func unbind(_ port: UInt32) {
        guard let end = ports.removeValue(forKey: port)?.end else { return }
        if case .bound(ownDomain, let other) = end, ports[other] != nil {
            ports[other]!.end = .unbound(domain: ownDomain)
        }
    }

    /// Rings the bell at the other end of one of our ports.
    mutating func send(_ port: UInt32) {
        guard case .bound(let domain, let other)? = ports[port]?.end else { return }
        if domain == ownDomain { deliver(other) } else { notified.append(other) }
    }

    /// An event for one of our ports.
    mutating func deliver(_ port: UInt32) {
        guard let end = ports[port] else { return }
        guard end.isEnabled else {
            ports[port]!.isPending = true
            return
        }
        ports[port]!.isEnabled = false
        rings[end.file]!.ports.append(port)
    }

    mutating func readEvents(_ file: Int, _ address: Int, _ count: Int) -> Int {
        guard let ring = rings[file], !ring.isOverflowed else { return -27 }
        if count < 4 { return 0 }
        guard !ring.ports.isEmpty else { return -35 }  // would sleep for ever
        let taken = min(count / 4, ring.ports.count)
        for index in 0..<taken {
            UnsafeMutableRawPointer(bitPattern: address)!.storeBytes(
                of: ring.ports[index], toByteOffset: 4 * index, as: UInt32.self)
        }
        rings[file]!.ports.removeFirst(taken)
        return 4 * taken
    }

    mutating func acknowledge(_ file: Int, _ address: Int, _ count: Int) -> Int {
        for index in 0..<count / 4 {
            let port = UnsafeRawPointer(bitPattern: address)!.load(
                fromByteOffset: 4 * index, as: UInt32.self)
            guard let end = ports[port], end.file == file, !end.isEnabled else { continue }
            ports[port]!.isEnabled = true
            if end.isPending {
                ports[port]!.isPending = false
                deliver(port)
            }
        }
        return count / 4 * 4
    }
}
