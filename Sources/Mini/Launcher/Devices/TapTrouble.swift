// Why a tap cannot be had, for a person: the kernel has one number for several causes. What
// interface it is, sysfs says. Source: drivers/net/tun.c, TUNSETIFF and `tun_flags`.

enum TapTrouble {
    private static let isTun: UInt64 = 1  // IFF_TUN

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
        let folder: Text = "/sys/class/net/\(name)"
        guard (try? FileStatus.of(folder, followsLink: true)) != nil else { return nil }
        guard let flags = SmallFile.line("\(folder)/tun_flags")?.number else {
            return "is not a tap: it is an interface of another kind"
        }
        return flags & isTun != 0
            ? "is a tun, which has no Ethernet frames: a tap is needed (ip tuntap add mode tap)"
            : nil
    }
}
