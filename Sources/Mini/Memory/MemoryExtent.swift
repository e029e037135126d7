// Where a guest has memory: from address 0 on, and, if it has more than fits below the addresses that a PC keeps for its devices,
// from 4 GiB on. An address that comes from outside is checked here: whether memory is there.
// Source: docs/abi/pc.md §2.2.

struct MemoryExtent: Equatable {
    /// Bytes from address 0 on, a multiple of 4096.
    let low: UInt32
    /// Bytes from `highStart` on, a multiple of 4096; 0 in builds whose addresses have 32 bits.
    let high: UInt64

    static let highStart: UInt64 = 1 << 32

    init(low: UInt32, high: UInt64 = 0) {
        self.low = low
        self.high = high
    }

    /// The first address after all of it.
    var end: UInt64 { high == 0 ? UInt64(low) : Self.highStart + high }
    /// In all; what is less than a MiB is not counted.
    var mebibytes: UInt32 { UInt32(truncatingIfNeeded: (UInt64(low) + high) >> 20) }

    /// Whether a byte is there, and with it all of its page.
    @inline(__always) func contains(_ address: UInt64) -> Bool {
        address < UInt64(low) || address &- Self.highStart < high
    }

    /// Whether all of these bytes are there, side by side; of none, that the first one could be.
    func contains(_ address: UInt64, _ count: UInt64) -> Bool {
        if address <= UInt64(low) { return count <= UInt64(low) - address }
        guard address >= Self.highStart, high > 0, address - Self.highStart <= high else {
            return false
        }
        return count <= high - (address - Self.highStart)
    }
}
