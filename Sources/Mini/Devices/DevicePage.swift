// The page that tells the guest its devices: 16 descriptors of 12 bytes, right above its
// memory. A device in slot i raises interrupt i + 1; 0 is the clock's.
// Source: docs/abi/lguest.md §5.2.

/// What a device is to the guest's drivers.
enum DeviceType: UInt16 {
    case console = 1
}

/// The descriptors, filled from the first slot on.
struct DevicePage {
    static let slots = 16
    static let descriptorSize: UInt32 = 12

    private let address: UInt32
    private var used = 0

    /// - Parameter address: guest-physical address of the page, which is still all zero.
    init(at address: UInt32) { self.address = address }

    /// Fills the next slot with a device that has no pages of its own.
    /// - Returns: the number of the device's interrupt; nil if every slot is taken or the
    ///   page is not guest memory.
    mutating func add(_ type: DeviceType, in memory: GuestMemory) -> UInt32? {
        guard used < Self.slots else { return nil }
        let descriptor = address + UInt32(used) * Self.descriptorSize
        // Type and features, status and number of pages, first page.
        guard memory.range(descriptor, Self.descriptorSize) != nil else { return nil }
        memory.store32(descriptor, UInt32(type.rawValue))
        memory.store32(descriptor + 4, 0)
        memory.store32(descriptor + 8, 0)
        used += 1
        return UInt32(used)
    }
}
