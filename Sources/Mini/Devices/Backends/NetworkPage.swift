// The page that all members of a network share, with an entry for each slot: that of a tap, with one guest, or that of a file, with
// the guests of several launchers. Each slot has a DMA key, under which frames are sent to it.
// Source: docs/abi/lguest.md §5.1, §5.2 (net, shared net).

enum NetworkPage {
    /// Bytes of a slot's entry: a hardware address, or zeros in a free slot.
    static let entrySize: UInt32 = 6
    /// In an entry's first byte: wants every frame.
    static let promiscuous: UInt8 = 1
    /// In an address's first byte: is for many.
    private static let group: UInt8 = 1

    /// Distance of a slot's DMA key from that of the slot before.
    private static let keyDistance: UInt32 = 4

    /// The key under which a slot is sent to.
    /// - Parameter page: the page's guest-physical address.
    static func key(_ slot: UInt32, of page: UInt32) -> DMAKey {
        DMAKey(rawValue: page + keyDistance * slot)
    }

    /// The slot of a key, which may be one that does not exist.
    static func slot(_ key: DMAKey, of page: UInt32) -> UInt32 {
        (key.rawValue &- page) / keyDistance
    }

    /// Whether a frame is for the slot with this entry.
    /// - Parameters:
    ///   - entry: six bytes, the first one lowest.
    ///   - destination: the frame's first six, likewise.
    static func wants(_ entry: UInt64, _ destination: UInt64) -> Bool {
        guard entry != 0 else { return false }
        let flag = UInt64(promiscuous)
        return entry & flag != 0 || destination & UInt64(group) != 0 || entry == destination
    }
}
