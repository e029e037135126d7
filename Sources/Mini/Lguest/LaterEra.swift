// The eras without a mark in the image, a row each, the oldest first: what tells them apart. Their first hypercall
// is a fixed sequence of instructions, and names `lguest_data`; among the eras that share both, the release in the
// kernel's banner decides. What an era's facts are is in its row in `GuestABI`.
// Source: docs/abi/lguest.md §0, §6.2, §6.4.

/// What an image of such an era is recognised by.
struct LaterEra {
    let era: GuestABI.Era
    /// The first release that speaks it.
    let since: (major: Int, minor: Int, patch: Int)
    let call: FirstCall
    /// Whether the guest loads its stack pointer right after the call; nil: that tells nothing.
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
        _ era: GuestABI.Era, _ major: Int, _ minor: Int, _ patch: Int, _ call: FirstCall,
        setsStack: Bool?
    ) {
        self.era = era
        since = (major, minor, patch)
        self.call = call
        self.setsStack = setsStack
    }

    static var all: [LaterEra] {
        [
            .init(.era2, 2, 6, 24, .dataByInterrupt, setsStack: false),
            .init(.era3a, 2, 6, 25, .dataByInterrupt, setsStack: false),
            .init(.era3b, 2, 6, 29, .dataByInterrupt, setsStack: true),
            .init(.era3c, 2, 6, 30, .baseByVmcall, setsStack: nil),
            .init(.era4a, 2, 6, 31, .baseByVmcall, setsStack: nil),
            .init(.era4b, 2, 6, 34, .baseByInterrupt, setsStack: true),
            .init(.era4c, 3, 1, 0, .baseByInterrupt, setsStack: false),
            .init(.era4d, 3, 10, 0, .baseByInterrupt, setsStack: false),
            .init(.era5, 4, 0, 0, .baseByInterrupt, setsStack: false),
        ]
    }

    /// Those that begin so.
    static func of(_ call: FirstCall, setsStack: Bool) -> [LaterEra] {
        all.filter { $0.call == call && ($0.setsStack ?? setsStack) == setsStack }
    }

    /// The one of a release, of some: the newest that is not newer.
    static func of(_ isAtLeast: (Int, Int, Int) -> Bool, among rows: [LaterEra]) -> LaterEra? {
        rows.last { isAtLeast($0.since.major, $0.since.minor, $0.since.patch) } ?? rows.first
    }
}
