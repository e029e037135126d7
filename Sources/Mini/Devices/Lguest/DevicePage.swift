// The page that tells the guest its devices: 16 descriptors of 12 bytes, right above its
// memory. A device in slot i raises interrupt i + 1; 0 is the clock's. The pages that the
// devices share with their drivers follow, in the order of the slots.
// Source: docs/abi/lguest.md §5.2.

/// What a device is to the guest's drivers.
enum DeviceType: UInt16 {
    case console = 1
    case network = 2
    case block = 3
}

/// What a descriptor says of a device besides its type; a network's own slot is added to it.
struct DeviceFeatures: OptionSet {
    let rawValue: UInt16
    /// Its interrupts feed the guest's random numbers.
    static let randomness = DeviceFeatures(rawValue: 0x8000)
    /// Frames need no checksums.
    static let withoutChecksums = DeviceFeatures(rawValue: 0x4000)
    /// The guest's own slot on a network, below 4096.
    static func ownSlot(_ slot: UInt32) -> DeviceFeatures {
        DeviceFeatures(rawValue: UInt16(slot & 0xFFF))
    }
}

/// Where a device is, for those who serve it.
struct DeviceSlot: Equatable {
    /// Number of its interrupt, 1…16.
    let line: InterruptLine
    /// Guest-physical address of its first page, which is also its DMA key; 0 without one.
    let page: UInt32
}

/// The descriptors, filled from the first slot on.
struct DevicePage {
    static let slots = 16
    static let descriptorSize: UInt32 = 12

    private let address: UInt32
    private var used = 0
    /// The first address above the devices' pages.
    private(set) var end: UInt32

    /// - Parameter address: guest-physical address of the page, which is still all zero.
    init(at address: UInt32) {
        self.address = address
        end = address + Page.size
    }

    /// Fills the next slot with a device.
    /// - Parameter pages: how many pages the device shares with its driver.
    /// - Returns: nil if every slot is taken or a page is not guest memory.
    mutating func add(
        _ type: DeviceType, features: DeviceFeatures = [], pages: UInt16 = 0,
        in memory: GuestMemory
    ) -> DeviceSlot? {
        let descriptor = address + UInt32(used) * Self.descriptorSize
        let size = UInt32(pages) * Page.size
        guard used < Self.slots, memory.range(descriptor, Self.descriptorSize) != nil,
            memory.range(end, size) != nil
        else { return nil }
        let page = pages == 0 ? 0 : end
        memory.store32(descriptor, UInt32(type.rawValue) | UInt32(features.rawValue) << 16)
        memory.store32(descriptor + 4, UInt32(pages) << 16)
        memory.store32(descriptor + 8, page / Page.size)
        used += 1
        end += size
        return DeviceSlot(line: InterruptLine(rawValue: UInt32(used)), page: page)
    }
}
