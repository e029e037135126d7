// What a guest's network leads to, made ready before the guest starts: a tap that we set up
// with an address or on a bridge, or one that was set up before.
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
    /// - Parameters:
    ///   - others: what was opened before.
    ///   - wantsHeaders: see `Tap`.
    func open(
        beside others: [DeviceClaim], wantsHeaders: Bool = false
    ) throws(LauncherError) -> NetworkLink {
        if case .shared(let name) = self {
            return .shared(try NetworkFile(name, beside: others))
        }
        let tap = try openTap(beside: others, wantsHeaders)
        tap.trustChecksums()
        // What is being done, to what, in case it fails.
        var step: (action: StaticString, name: Text) = ("configure tap", tap.name.text)
        do throws(Errno) {
            let control = try InterfaceControl()
            switch self {
            case .address(let address):
                step.action = "give an address to tap"
                try control.setAddress(address, of: tap.name)
            case .bridge(let bridge, let address):
                step.action = "give a hardware address to tap"
                if let address { try control.setHardwareAddress(address, of: tap.name) }
                step = ("put a tap on bridge", bridge.text)
                try control.add(tap.name, toBridge: bridge)
                step.name = tap.name.text
            case .tap, .shared:
                return .tap(tap, try control.hardwareAddress(of: tap.name))
            }
            step.action = "bring up tap"
            try control.bringUp(tap.name)
            return .tap(tap, try control.hardwareAddress(of: tap.name))
        } catch { throw .host("\(step.action)", name: step.name, error) }
    }

    private func openTap(
        beside others: [DeviceClaim], _ wantsHeaders: Bool
    ) throws(LauncherError) -> Tap {
        let device: Descriptor
        do throws(Errno) { device = try Tap.open() } catch {
            throw .host("open", name: Tap.path, error)
        }
        let (action, name): (Text, Text) =
            if case .tap(let name) = self { ("use tap", name.text) } else {
                ("make a tap of", Tap.anyName)
            }
        do throws(Errno) { return try Tap(device, name: name, wantsHeaders: wantsHeaders) } catch {
            // One that was made for several queues is there more than once.
            let isOurs = others.contains { $0.tap?.text == name }
            if case .tap = self, error == .busy, isOurs { throw .tapTwice(name: name) }
            if case .tap = self, let reason = TapTrouble.reason(name, error) {
                throw .tap(name: name, reason, error)
            }
            throw .host(action, name: name, error)
        }
    }
}

extension NetworkLink {
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
