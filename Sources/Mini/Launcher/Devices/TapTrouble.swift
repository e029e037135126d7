// Why a tap cannot be had, for a person: the kernel has one number for several causes. What
// interface it is, its driver says: /sys may be another network namespace's, or not there.
// Source: drivers/net/tun.c, TUNSETIFF and tun_get_drvinfo.

enum TapTrouble {
    /// - Returns: what is wrong with the interface, as "is no tap"; nil if only the number is known.
    static func reason(_ name: Text, _ errno: Errno) -> Text? {
        switch errno {
        case .notPermitted:
            "is not this user's: being root helps, or a tap made for this user (ip tuntap add mode tap user)"
        case .busy: "is in use by another process"
        case .tooBig: "has no free queue: all are in use"
        case .invalid: kind(name)
        default: nil
        }
    }

    private static func kind(_ name: Text) -> Text? {
        do throws(Errno) {
            guard let name = InterfaceName(name) else { return nil }
            let driver = try InterfaceControl().driver(of: name)
            if driver.name == "tun" {
                return driver.bus == "tun"
                    ? "is a tun, which has no Ethernet frames: a tap is needed (ip tuntap add mode tap)"
                    : nil
            }
        } catch {
            guard error == .unsupported else { return nil }
        }
        return "is not a tap: it is an interface of another kind"
    }
}
