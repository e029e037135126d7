// A driver for a network: §5.2. Frames are sent from one page and received into eight, as
// Linux does it; all of them lie in the middle of memory, where nothing else is.

import GuestShim

/// One network of the guest's.
struct Network {
    static let buffers: UInt32 = 8
    static let longest: UInt32 = 1514
    private static let recordSize: UInt32 = 100
    /// Slots that are looked at when a frame is sent; Linux looks at all 682.
    private static let reach: UInt32 = 16

    /// Guest-physical address of the page of addresses, and where it is mapped.
    let key: UInt32
    let page: UInt32
    /// The guest's own slot there.
    let me: UInt32
    let line: UInt32
    let features: UInt32
    /// Where the receive buffers begin, a page each; the page after them is for sending, the
    /// next holds the records.
    private let arena: UInt32

    /// The network in a slot of the device page; nil if there is another device or none.
    init?(slot: UInt32) {
        let descriptor = map(memorySize(), slot: 0) + slot * 12
        let head = guest_load(descriptor)
        guard head & 0xFFFF == 2 else { return nil }
        features = head >> 16
        me = features & 0xFFF
        key = guest_load(descriptor + 8) * 4096
        page = map(key, slot: 1 + slot)
        line = slot + 1
        arena = pageOffset + memorySize() / 2 + slot * 0x10000
    }

    /// The first network on the device page.
    static func first() -> Network? {
        var slot: UInt32 = 0
        while slot < 16 {
            if let network = Network(slot: slot) { return network }
            slot += 1
        }
        return nil
    }

    /// Where a frame is put together.
    var frame: UInt32 { arena + Self.buffers * 4096 }
    private var records: UInt32 { frame + 4096 }
    private var sending: UInt32 { records + Self.buffers * Self.recordSize }

    func buffer(_ index: UInt32) -> UInt32 { arena + index * 4096 }
    private func record(_ index: UInt32) -> UInt32 { records + index * Self.recordSize }

    /// Length of the frame in a buffer; 0 if there is none.
    func count(_ index: UInt32) -> UInt32 { guest_load(record(index)) }
    /// Gives a buffer back.
    func release(_ index: UInt32) { guest_store(record(index), 0) }

    /// Writes our address (02:00:00:00:00:number) into our entry and binds the buffers.
    /// - Returns: what the host said of the buffers.
    @discardableResult
    func open(number: UInt8, promiscuous: Bool = false) -> UInt32 {
        let entry = page + 6 * me
        for index in 0..<6 as Range<UInt32> { putByte(entry + index, 0) }
        putByte(entry + 5, number)
        putByte(entry, promiscuous ? 3 : 2)
        var index: UInt32 = 0
        while index < Self.buffers {
            fill(record(index), buffer(index), Self.longest)
            index += 1
        }
        return call(.bindDMA, key + 4 * me, physical(records), Self.buffers << 8 | line)
    }

    func close() {
        let entry = page + 6 * me
        for index in 0..<6 as Range<UInt32> { putByte(entry + index, 0) }
        call(.bindDMA, key + 4 * me, physical(records), 0)
    }

    /// A record with one section.
    private func fill(_ record: UInt32, _ start: UInt32, _ count: UInt32) {
        guest_store(record + 4, count)
        guest_store(record + 36, physical(start))
        guest_store(record, 0)
    }

    /// Sends a frame to whoever it is for.
    /// - Returns: the number of those that took it whole.
    @discardableResult
    func send(_ start: UInt32, _ count: UInt32) -> UInt32 {
        var taken: UInt32 = 0
        var slot: UInt32 = 0
        while slot < Self.reach {
            if slot != me && wants(slot, start) && send(start, count, to: slot) == count {
                taken += 1
            }
            slot += 1
        }
        return taken
    }

    /// Sends a frame to one slot.
    /// - Returns: how many bytes were taken.
    func send(_ start: UInt32, _ count: UInt32, to slot: UInt32) -> UInt32 {
        fill(sending, start, count)
        call(.sendDMA, key + 4 * slot, physical(sending))
        return guest_load(sending)
    }

    private func wants(_ slot: UInt32, _ frame: UInt32) -> Bool {
        let entry = page + 6 * slot
        let first = byte(entry)
        if first == 0 { return false }
        if first & 1 != 0 || byte(frame) & 1 != 0 { return true }
        for index in 0..<6 as Range<UInt32> where byte(entry + index) != byte(frame + index) {
            return false
        }
        return true
    }
}

// --- bytes of memory ----------------------------------------------------------------------

func byte(_ address: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: guest_load(address)) }
func putByte(_ address: UInt32, _ value: UInt8) {
    UnsafeMutablePointer<UInt8>(bitPattern: UInt(address))!.pointee = value
}
/// A 16-bit number in the order of networks.
func short(_ address: UInt32) -> UInt32 { UInt32(byte(address)) << 8 | UInt32(byte(address + 1)) }
func putShort(_ address: UInt32, _ value: UInt32) {
    putByte(address, UInt8(truncatingIfNeeded: value >> 8))
    putByte(address + 1, UInt8(truncatingIfNeeded: value))
}
func exchange(_ first: UInt32, _ second: UInt32, _ count: UInt32) {
    for index in 0..<count {
        let byte1 = byte(first + index)
        putByte(first + index, byte(second + index))
        putByte(second + index, byte1)
    }
}
