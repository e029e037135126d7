// The eras that were recognised and are not spoken yet, a row each, the oldest first: what tells them apart in an
// image. They have no mark; their first hypercall is a fixed sequence of instructions, and the release in the
// kernel's banner is the better witness. An era leaves this table when it gets a row in `GuestABI`.
// Source: docs/abi/lguest.md §0, §6.2, §6.4.

struct LaterEra {
    /// As people write it: `3a`.
    let name: StaticString
    let devices: StaticString
    /// The first release that speaks it.
    let since: (major: Int, minor: Int, patch: Int)
    let call: FirstCall
    /// Whether the guest loads its stack pointer right behind the call; nil: that tells nothing.
    let setsStack: Bool?

    /// `mov $1,%eax`, `lguest_data` in a register, and how the host is entered.
    enum FirstCall: Equatable, CaseIterable {
        case dataByInterrupt, baseByVmcall, baseByInterrupt

        /// nil stands for any byte.
        var code: [UInt8?] {
            switch self {
            case .dataByInterrupt: [0xB8, 1, 0, 0, 0, 0xBA, nil, nil, nil, nil, 0xCD, 0x1F]
            case .baseByVmcall: [0xB8, 1, 0, 0, 0, 0xBB, nil, nil, nil, nil, 0x0F, 0x01, 0xC1]
            case .baseByInterrupt: [0xB8, 1, 0, 0, 0, 0xBB, nil, nil, nil, nil, 0xCD, 0x1F]
            }
        }
        /// Where in the code the address of `lguest_data` is.
        static let dataOffset = 6
    }

    private init(
        _ name: StaticString, _ major: Int, _ minor: Int, _ patch: Int, _ call: FirstCall,
        setsStack: Bool?, devices: StaticString = "virtio"
    ) {
        self.name = name
        self.devices = devices
        since = (major, minor, patch)
        self.call = call
        self.setsStack = setsStack
    }

    static var all: [LaterEra] {
        [
            .init("2", 2, 6, 24, .dataByInterrupt, setsStack: false),
            .init("3a", 2, 6, 25, .dataByInterrupt, setsStack: false),
            .init("3b", 2, 6, 29, .dataByInterrupt, setsStack: true),
            .init("3c", 2, 6, 30, .baseByVmcall, setsStack: nil),
            .init("4a", 2, 6, 31, .baseByVmcall, setsStack: nil),
            .init("4b", 2, 6, 34, .baseByInterrupt, setsStack: true),
            .init("4c", 3, 1, 0, .baseByInterrupt, setsStack: false),
            .init("4d", 3, 10, 0, .baseByInterrupt, setsStack: false),
            .init("5", 4, 0, 0, .baseByInterrupt, setsStack: false, devices: "PCI virtio"),
        ]
    }

    /// What a kernel is by its release: the newest era that is not newer.
    static func of(_ isAtLeast: (Int, Int, Int) -> Bool) -> Text {
        let row = all.last { isAtLeast($0.since.major, $0.since.minor, $0.since.patch) } ?? all[0]
        return "\(row.name): \(row.devices)"
    }

    /// What it can be by its first call alone: an era, two, or a range of them.
    static func of(_ call: FirstCall, setsStack: Bool) -> Text {
        let rows = all.filter { $0.call == call && ($0.setsStack ?? setsStack) == setsStack }
        guard let first = rows.first, let last = rows.last else { return "unknown" }
        return switch rows.count {
        case 1: "\(first.name): \(first.devices)"
        case 2: "\(first.name) or \(last.name): \(first.devices)"
        default: "\(first.name) to \(last.name): \(first.devices)"
        }
    }
}
