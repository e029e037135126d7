// The quantities of Xen's interfaces, each a type of its own. A domain can name some of its pages
// by grant references; a second domain, to which they are granted, maps or copies them by
// domain and reference. An event channel is a bell between two domains; each end is a port.
// Source: docs/abi/xen-grants.md §1 and §9.

/// A domain's number, 0…0x7FEF. What is above stands for no domain, or for one's own.
struct DomainID: Equatable {
    let rawValue: UInt16

    /// The first number that is no domain's; the kernel would cut longer ones off silently.
    static let reserved: UInt64 = 0x7FF0

    /// - Returns: nil for a number that no domain can have.
    init?(_ number: UInt64) {
        guard number < Self.reserved else { return nil }
        rawValue = UInt16(number)
    }
}

/// What a granting domain calls one granted page.
struct GrantReference: Equatable {
    let rawValue: UInt32

    init(rawValue: UInt32) { self.rawValue = rawValue }

    /// - Returns: nil for a number that is too large.
    init?(_ number: UInt64) {
        guard let number = UInt32(exactly: number) else { return nil }
        rawValue = number
    }
}

/// One end of an event channel, in the domain that it belongs to; never 0.
struct EventPort: Equatable {
    let rawValue: UInt32

    /// - Returns: nil for a number that is no port's.
    init?(_ number: UInt64) {
        guard number > 0, let number = UInt32(exactly: number) else { return nil }
        rawValue = number
    }
}
