// What a guest's network leads to, made ready before the guest starts: a tap that we set up
// with an address or on a bridge, or one that somebody else has set up.
// Source: docs/abi/lguest.md §5.2 (net), netdevice(7).

/// `--tunnet`, `--tap` and `--sharenet`.
enum NetworkRequest: Equatable {
    /// A new tap; the host's end has this address.
    case address(InternetAddress)
    /// A new tap, plugged into a bridge, perhaps with a hardware address of our choice.
    case bridge(InterfaceName, HardwareAddress?)
    /// This tap, made if it is not there; nothing of it is configured.
    case tap(InterfaceName)
    /// An Ethernet of all guests that name this file.
    case shared(Text)
}

/// An open network.
enum NetworkLink {
    case tap(Tap, HardwareAddress)
    case shared(NetworkFile)
}

extension NetworkRequest {
    /// - Parameter links: those that were opened before.
    func open(beside links: [NetworkLink]) throws(LauncherError) -> NetworkLink {
        if case .shared(let name) = self {
            return .shared(try NetworkFile(name, beside: links.compactMap { $0.file }))
        }
        let tap = try openTap()
        let name = tap.name
        tap.trustChecksums()
        let control: InterfaceControl
        do throws(Errno) { control = try InterfaceControl() } catch {
            throw .host("configure tap", name: name.text, error)
        }
        switch self {
        case .address(let address):
            do throws(Errno) { try control.setAddress(address, of: name) } catch {
                throw .host("give an address to tap", name: name.text, error)
            }
            try Self.bringUp(name, control)
        case .bridge(let bridge, let address):
            if let address {
                do throws(Errno) { try control.setHardwareAddress(address, of: name) } catch {
                    throw .host("give a hardware address to tap", name: name.text, error)
                }
            }
            do throws(Errno) { try control.add(name, toBridge: bridge) } catch {
                throw .host("put a tap on bridge", name: bridge.text, error)
            }
            try Self.bringUp(name, control)
        case .tap, .shared: break
        }
        do throws(Errno) { return .tap(tap, try control.hardwareAddress(of: name)) } catch {
            throw .host("ask for the hardware address of tap", name: name.text, error)
        }
    }

    private func openTap() throws(LauncherError) -> Tap {
        let device: Descriptor
        do throws(Errno) { device = try Tap.open() } catch {
            throw .host("open", name: Tap.path, error)
        }
        let (action, name): (Text, Text) =
            if case .tap(let name) = self { ("use tap", name.text) } else {
                ("make a tap of", Tap.anyName)
            }
        do throws(Errno) { return try Tap(device, name: name) } catch {
            throw .host(action, name: name, error)
        }
    }

    private static func bringUp(
        _ name: InterfaceName, _ control: borrowing InterfaceControl
    ) throws(LauncherError) {
        do throws(Errno) { try control.bringUp(name) } catch {
            throw .host("bring up tap", name: name.text, error)
        }
    }
}

extension NetworkLink {
    fileprivate var file: NetworkFile? { if case .shared(let file) = self { file } else { nil } }

    /// For `--verbose`.
    var description: Text {
        switch self {
        case .tap(let tap, let address): "network: tap \(quoted: tap.name.text), \(address)"
        case .shared(let file): "network: file \(quoted: file.name), slot \(file.slot)"
        }
    }
}

extension Text {
    /// As `52:54:00:12:34:56`.
    mutating func appendInterpolation(_ address: HardwareAddress) {
        for (index, byte) in address.bytes.enumerated() {
            if index > 0 { append(UInt8(ascii: ":")) }
            appendInterpolation(bareHex: byte, width: 2)
        }
    }
}
