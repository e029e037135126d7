// The rings of a vchan: where they lie, and the arithmetic of their indices. Nothing that the
// other domain says is used before one of the types here has been made of it.
// Source: docs/abi/xen-grants.md §8.

/// How large a ring is: from 1 KiB to 1 MiB, a power of two.
struct VchanOrder: Equatable {
    /// log2 of the bytes.
    let rawValue: UInt16

    static let small = VchanOrder(checked: 10)
    static let large = VchanOrder(checked: 11)
    private static let most: UInt16 = 20

    /// - Returns: nil for an order that no ring has.
    init?(_ order: UInt16) {
        guard order >= Self.small.rawValue, order <= Self.most else { return nil }
        rawValue = order
    }

    private init(checked order: UInt16) { rawValue = order }

    /// The least ring in pages of its own that holds so many bytes.
    init?(bytes: Int) {
        var order: UInt16 = 12
        while order < Self.most && 1 << order < bytes { order += 1 }
        guard bytes <= 1 << order else { return nil }
        rawValue = order
    }

    var bytes: Int { 1 << rawValue }

    /// Pages of its own; none for a ring that lies in the shared page.
    var pages: Int { rawValue < 12 ? 0 : 1 << (rawValue - 12) }

    /// Where it lies in the shared page.
    var place: Range<Int>? {
        switch self {
        case .small: 1024..<2048
        case .large: 2048..<4096
        default: nil
        }
    }
}

/// The two rings: what the client writes goes through the left one, what the server writes
/// through the right one.
struct VchanLayout: Equatable {
    let left: VchanOrder
    let right: VchanOrder

    /// References of the rings' pages begin here, those of the left ring first.
    static let references = 24

    /// - Returns: nil for orders that do not exist, or of rings that would lie on each other
    ///   or on the references.
    init?(left: UInt16, right: UInt16) {
        guard let left = VchanOrder(left), let right = VchanOrder(right) else { return nil }
        if left == right && left.place != nil { return nil }
        let end = Self.references + 4 * (left.pages + right.pages)
        for ring in [left, right] {
            if let place = ring.place, place.lowerBound < end { return nil }
        }
        guard end <= PageCount.pageSize else { return nil }
        self.left = left
        self.right = right
    }

    /// What a server chooses: rings in the shared page where they are large enough.
    /// - Returns: nil if one of them is to have more than 1 MiB.
    init?(leastLeft: Int, leastRight: Int) {
        guard var left = VchanOrder(bytes: leastLeft), var right = VchanOrder(bytes: leastRight)
        else { return nil }
        if leastLeft <= VchanOrder.small.bytes && leastRight <= VchanOrder.large.bytes {
            (left, right) = (.small, .large)
        } else if leastLeft <= VchanOrder.large.bytes && leastRight <= VchanOrder.small.bytes {
            (left, right) = (.large, .small)
        } else if leastLeft <= VchanOrder.large.bytes {
            left = .large
        } else if leastRight <= VchanOrder.large.bytes {
            right = .large
        }
        self.init(left: left.rawValue, right: right.rawValue)
    }
}

/// One direction of a vchan, seen from one end. Our own index is ours: the copy in the shared page
/// is for the other end and never read again.
struct VchanFlow {
    /// A power of two.
    let size: UInt32
    let isWriting: Bool
    /// Runs on for ever, modulo 2^32.
    private(set) var index: UInt32

    init(_ order: VchanOrder, isWriting: Bool, from index: UInt32 = 0) {
        size = UInt32(order.bytes)
        self.isWriting = isWriting
        self.index = index
    }

    /// How many bytes we can write or read now.
    /// - Parameter other: the other end's index.
    /// - Returns: nil for an index that the other end cannot have.
    func available(_ other: UInt32) -> UInt32? {
        let used = isWriting ? index &- other : other &- index
        guard used <= size else { return nil }
        return isWriting ? size - used : used
    }

    /// Where in the ring the next bytes are: up to its end, and from its start on.
    func spans(_ available: UInt32) -> (first: Range<Int>, second: Range<Int>) {
        let start = index & (size - 1)
        let first = min(available, size - start)
        return (Int(start)..<Int(start + first), 0..<Int(available - first))
    }

    /// We wrote or read so many bytes, of those that were available.
    mutating func advance(_ count: UInt32) { index &+= count }
}
