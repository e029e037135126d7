// A disk as the guest sees it: one page with one request at a time, and two DMA records. The guest
// sends one of them: the data of a write, or nothing for a read. The other one is bound to the device's
// key: it takes the data of a read, and tells which interrupt to raise. A bad request is an I/O error
// of the guest's, and has no other effect.
// Source: docs/abi/lguest.md §5.2 (block).

/// The device's side of the page that it shares with the driver.
struct BlockDevice {
    /// Offsets of the page's words.
    private enum Field {
        static let type: UInt32 = 0
        static let sector: UInt32 = 4
        static let count: UInt32 = 8
        static let result: UInt32 = 12
        static let sectorCount: UInt32 = 16
    }
    private enum Request {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
    }
    private enum Result {
        static let none: UInt32 = 0
        static let done: UInt32 = 1
        static let failed: UInt32 = 2
    }

    let disk: Disk
    private let memory: GuestMemory
    private let layout: GuestABI.DMALayout
    private let page: UInt32

    /// The DMA key of its requests.
    var key: DMAKey { DMAKey(rawValue: page) }

    /// Takes its slot on the device page.
    /// - Returns: nil if there is none left.
    init?(
        _ disk: Disk, on devices: inout DevicePage, in memory: GuestMemory,
        layout: GuestABI.DMALayout
    ) {
        guard let slot = devices.add(.block, features: .randomness, pages: 1, in: memory) else {
            return nil
        }
        self.disk = disk
        self.memory = memory
        self.layout = layout
        page = slot.page
        memory.store32(page + Field.sectorCount, disk.sectorCount)
    }

    /// Serves the request in the page.
    /// - Parameter address: the DMA record that the guest sent.
    /// - Returns: what is wrong with the disk, not with the guest.
    func serve(_ address: GuestAddress, on device: any LguestDevice) -> Disk.Trouble? {
        // Without a bound record, or with one whose last answer the guest has not taken, the guest cannot
        // be told; the next run says if the guest died. The result of the request before is not its.
        guard let bound = try? device.dmaBuffer(key), let line = memory.load32(bound.rawValue)
        else {
            memory.store32(page + Field.result, Result.none)
            return nil
        }
        let type = word(Field.type)
        let count = word(Field.count)
        var moved: UInt32 = 0
        var trouble: Disk.Trouble?
        var isDone = false
        let record = DmaRecord(
            at: type == Request.read ? bound : address, in: memory, layout: layout)
        if let record, record.count == count {
            do throws(Disk.Failure) {
                switch type {
                case Request.read:
                    try disk.read(word(Field.sector), into: record.sections, of: memory)
                    moved = count
                    isDone = true
                case Request.write:
                    try disk.write(word(Field.sector), from: record.sections, of: memory)
                    isDone = true
                default: break
                }
            } catch {
                trouble = Disk.Trouble(
                    action: type == Request.read ? .read : .write, failure: error)
            }
        }
        memory.store32(page + Field.result, isDone ? Result.done : Result.failed)
        memory.store32(address.rawValue, 0)
        memory.store32(bound.rawValue, moved)
        try? device.interrupt(InterruptLine(rawValue: line))
        return trouble
    }

    private func word(_ offset: UInt32) -> UInt32 { memory.load32(page + offset) ?? 0 }
}
