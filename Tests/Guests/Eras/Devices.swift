// Virtio devices behind the three transports of the eras: fields (2.6.24), descriptors with numbers of queues (to 3.19), a
// PCI bus (from 4.0 on). docs/abi/lguest.md §5.3 to §5.6.

import EraShim
import GuestShim

enum Kind: UInt32 {
    case network = 1
    case block = 2
    case console = 3
    case random = 4
}

/// A queue: the split ring of legacy virtio.
struct Queue {
    var size: UInt32 = 0
    /// Addresses of its descriptors, its available and its used ring.
    var descriptors: UInt32 = 0
    var available: UInt32 = 0
    var used: UInt32 = 0
    /// The line that it interrupts us by.
    var line: UInt32 = 0
    /// What is notified, or the port that is written: its number goes there.
    var bell: UInt32 = 0
    var number: UInt32 = 0
    private var sent: UInt32 = 0
    private var parts: UInt32 = 0

    /// Of so many descriptors, one behind the other as they lie in memory.
    init(at address: UInt32, size: UInt32) {
        self.size = size
        descriptors = address
        available = address + 16 * size
        used = (available + 4 + 2 * size + 2 + 4095) & ~4095
    }

    init() {}

    /// Adds a buffer to the chain that is next. Only one chain is under way at a time.
    mutating func add(_ address: UInt32, _ count: UInt32, toFill: Bool = false) {
        let descriptor = descriptors + 16 * parts
        guest_store(descriptor, physical(address))
        guest_store(descriptor + 4, 0)
        guest_store(descriptor + 8, count)
        guest_store(descriptor + 12, toFill ? 2 : 0)
        if parts > 0 {
            guest_store(descriptor - 4, guest_load(descriptor - 4) & 0xFFFF | 1 | parts << 16)
        }
        parts += 1
    }

    /// Makes the chain available, and rings.
    mutating func send() {
        putHalf(available + 4 + 2 * (sent & (size - 1)), 0)
        sent = (sent + 1) & 0xFFFF
        putHalf(available + 2, sent)
        parts = 0
        if era_row.devices == 2 { era_out(bell, 2, number) } else { call(.notify, bell) }
    }

    var isDone: Bool { half(used + 2) == sent }

    /// Waits for the chain to come back.
    /// - Returns: how much of it was filled; nil if it does not come.
    func wait() -> UInt32? {
        guard comes({ isDone }) else { return nil }
        return filled
    }

    /// How much of the last chain was filled.
    var filled: UInt32 { guest_load(used + 4 + 8 * ((sent - 1) & (size - 1)) + 4) }
}

struct Device {
    let kind: Kind
    var first = Queue()
    var second = Queue()
    var queues: UInt32 = 0
    /// What it offers, as far as we ask.
    private(set) var offered: UInt8 = 0
    /// Where its own registers are: an address, or a port.
    private var registers: UInt32 = 0
    /// The port that tells of interrupts.
    private var interrupts: UInt32 = 0

    private init(_ kind: Kind) { self.kind = kind }

    /// What stands in front of a frame, and of a disk's request.
    static var frameHeader: UInt32 { era_row.devices == 0 ? 8 : era_row.devices == 1 ? 10 : 12 }
    static var requestHeader: UInt32 { era_row.devices == 0 ? 24 : 16 }

    /// A byte of its own registers.
    func register(_ offset: UInt32) -> UInt8 {
        era_row.devices == 2
            ? UInt8(truncatingIfNeeded: era_in(registers + offset, 1)) : byte(registers + offset)
    }

    /// Sleeps until a queue of it has interrupted us.
    func sleep(_ queue: Queue) {
        Guest.sleep(until: 1 << queue.line)
        if era_row.devices == 2 { _ = era_in(interrupts, 1) }
    }

    /// Whether a queue interrupts us when something of it has come back.
    func interrupts(_ queue: Queue) -> Bool {
        openInterrupts()
        let did = comes { arrived & 1 << queue.line != 0 }
        closeInterrupts()
        arrived &= ~(1 << queue.line)
        if era_row.devices == 2 { _ = era_in(interrupts, 1) }
        return did
    }

    private mutating func add(_ queue: Queue) {
        if queues == 0 { first = queue } else { second = queue }
        queues += 1
        setGate(0x20 + queue.line, .interrupt)
        unmask(queue.line)
    }

    /// The device of a kind, ready for use; nil if there is none.
    /// - Parameter page: where the first page of devices is mapped.
    static func find(_ kind: Kind, _ page: UInt32) -> Device? {
        switch era_row.devices {
        case 0: findFields(kind, page)
        case 1: findCounted(kind, page)
        default: findOnBus(kind)
        }
    }

    // --- descriptors of fields ----------------------------------------------------------------

    private static func findFields(_ kind: Kind, _ page: UInt32) -> Device? {
        var at = page
        while byte(at) != 0 {
            let end = at + 3 + UInt32(byte(at + 1))
            guard UInt32(byte(at)) == kind.rawValue else {
                at = end
                continue
            }
            var device = Device(kind)
            putByte(at + 2, 3)
            var field = at + 3
            while field < end {
                switch byte(field) {
                case 2: device.add(queue(field + 2, page))
                case 0x41: device.registers = field + 2
                default: break
                }
                // It is ours now.
                putByte(field, byte(field) | 0x80)
                field += 2 + UInt32(byte(field + 1))
            }
            putByte(at + 2, 7)
            return device
        }
        return nil
    }

    /// The queue of a descriptor's eight bytes: size, line, page.
    private static func queue(_ at: UInt32, _ page: UInt32) -> Queue {
        var words: (UInt32, UInt32) = (0, 0)
        for index in (0..<4 as Range<UInt32>).reversed() {
            words.0 = words.0 << 8 | UInt32(byte(at + index))
            words.1 = words.1 << 8 | UInt32(byte(at + 4 + index))
        }
        let ring = words.1 << 12
        var queue = Queue(at: page + ring - memorySize(), size: words.0 & 0xFFFF)
        queue.line = words.0 >> 16
        queue.bell = ring
        return queue
    }

    // --- descriptors with numbers -------------------------------------------------------------

    private static func findCounted(_ kind: Kind, _ page: UInt32) -> Device? {
        var at = page
        while byte(at) != 0 {
            let count = UInt32(byte(at + 1))
            let features = UInt32(byte(at + 2))
            let own = at + 5 + 8 * count + 2 * features
            guard UInt32(byte(at)) == kind.rawValue else {
                at = own + UInt32(byte(at + 3))
                continue
            }
            let descriptor = at - page + memorySize()
            var device = Device(kind)
            device.registers = own
            if features > 0 { device.offered = byte(own - 2 * features) }
            // The launcher does what a reset is.
            putByte(at + 4, 0)
            call(.notify, descriptor)
            putByte(at + 4, 3)
            // No feature is wanted but the hardware address, which is there in any case.
            for index in 0..<features { putByte(own - features + index, 0) }
            call(.notify, descriptor)
            for index in 0..<count { device.add(queue(at + 5 + 8 * index, page)) }
            putByte(at + 4, 7)
            // From 3.1 on only the features are told.
            if !isLinear { call(.notify, descriptor) }
            return device
        }
        return nil
    }

    // --- a bus --------------------------------------------------------------------------------

    private static func configuration(_ slot: UInt32, _ place: UInt32, _ size: UInt32) -> UInt32 {
        era_out(0xCF8, 4, 0x8000_0000 | slot << 11 | place & 0xFC)
        return era_in(0xCFC + (place & 3), size)
    }

    private static func findOnBus(_ kind: Kind) -> Device? {
        for slot in 1..<32 as Range<UInt32>
        where configuration(slot, 0, 4) == (0x1040 + kind.rawValue) << 16 | 0x1AF4 {
            return onBus(kind, slot)
        }
        return nil
    }

    private static func onBus(_ kind: Kind, _ slot: UInt32) -> Device? {
        let base = configuration(slot, 0x10, 4) & ~3
        var common: UInt32 = 0
        var bell: UInt32 = 0
        var device = Device(kind)
        var capability = configuration(slot, 0x34, 1)
        while capability != 0 {
            let place = base + configuration(slot, capability + 8, 4)
            switch configuration(slot, capability + 3, 1) {
            case 1: common = place
            case 2: bell = place
            case 3: device.interrupts = place
            case 4: device.registers = place
            default: break
            }
            capability = configuration(slot, capability + 1, 1)
        }
        era_out(common + 20, 1, 0)
        era_out(common + 20, 1, 3)
        era_out(common, 4, 1)
        guard era_in(common + 4, 4) == 1 else { return nil }
        // Of the features the second word's first alone: virtio 1.0.
        for word in 0..<2 as Range<UInt32> {
            era_out(common + 8, 4, word)
            era_out(common + 12, 4, word)
        }
        era_out(common + 20, 1, 11)
        guard era_in(common + 20, 1) == 11 else { return nil }
        for number in 0..<era_in(common + 18, 2) {
            era_out(common + 22, 2, number)
            let place = Place.queues + 0x8000 * kind.rawValue + 0x4000 * number
            var queue = Queue(at: pageOffset + place, size: era_in(common + 24, 2))
            queue.line = configuration(slot, 0x3C, 1)
            queue.bell = bell
            queue.number = number
            // As a kernel does: what it has only read, a host may give it from elsewhere than its launcher writes.
            clear(queue.descriptors, queue.used + 6 + 8 * queue.size - queue.descriptors)
            let parts = (queue.descriptors, queue.available, queue.used)
            era_out(common + 32, 4, physical(parts.0))
            era_out(common + 40, 4, physical(parts.1))
            era_out(common + 48, 4, physical(parts.2))
            era_out(common + 28, 2, 1)
            device.add(queue)
        }
        era_out(common + 20, 1, 15)
        return device
    }

    /// Writes a character to the console through the window that its configuration has, before there is a driver.
    static func emergency(_ character: UInt8) {
        func set(_ place: UInt32, _ value: UInt32) {
            era_out(0xCF8, 4, 0x8000_0800 | place)
            era_out(0xCFC, 4, value)
        }
        set(0x84 + 12, 4)
        set(0x84 + 8, 68)
        set(0x84 + 16, UInt32(character))
    }
}
