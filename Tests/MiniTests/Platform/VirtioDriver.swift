// A driver as a kernel's, on a guest that is nothing but memory: it finds its device on the bus, puts queues
// into memory, adds chains of buffers and rings. It can lie as well: every word of a queue can be written.

import Testing

@testable import Mini

final class VirtioDriver {
    let pc: PlayedPC
    let function: VirtioLegacyFunction
    var memory: GuestMemory { pc.memory }
    private let ports: UInt16 = 0x1000

    /// Pages of the queues, and where buffers begin.
    static let pages: [UInt32] = [0x10, 0x20]
    static let buffers: UInt32 = 0x40000
    private var free: [UInt16] = [0, 0]
    private var added: [UInt16] = [0, 0]
    private var seen: [UInt16] = [0, 0]

    struct Buffer {
        let address: UInt64
        let count: UInt32
        var isWritable = false
    }

    convenience init(_ device: any VirtioDevice, start isStarted: Bool = true) {
        let memory = try! GuestMemory(count: 1 << 20)
        self.init(VirtioLegacyFunction(device, memory: memory), in: memory, start: isStarted)
    }

    init(_ function: VirtioLegacyFunction, in memory: GuestMemory, start isStarted: Bool = true) {
        self.function = function
        pc = PlayedPC([function], memory: memory)
        pc.setUpInterrupts()
        if isStarted { start() }
    }

    func read(_ register: UInt16, size: UInt8) -> UInt32 { pc.read(ports + register, size: size) }
    func write(_ register: UInt16, _ value: UInt32, size: UInt8) {
        pc.out(ports + register, value, size: size)
    }

    /// As Linux does: reset, found, features, queues, ready.
    func start(features: UInt32 = .max) {
        write(0x12, 0, size: 1)
        write(0x12, 1, size: 1)
        write(0x12, 3, size: 1)
        write(0x04, read(0x00, size: 4) & features, size: 4)
        for queue in 0..<2 { place(queue) }
        write(0x12, 7, size: 1)
    }

    func size(_ queue: Int) -> UInt16 {
        write(0x0E, UInt32(queue), size: 2)
        return UInt16(read(0x0C, size: 2))
    }

    func place(_ queue: Int) {
        guard size(queue) > 0 else { return }
        let start = Self.pages[queue] << 12
        for place in stride(from: start, to: start + 0x3000, by: 4) { memory.store32(place, 0) }
        write(0x08, Self.pages[queue], size: 4)
        (free[queue], added[queue], seen[queue]) = (0, 0, 0)
    }

    // MARK: The rings' places

    func descriptor(_ queue: Int, _ number: UInt16) -> UInt32 {
        Self.pages[queue] << 12 + 16 * UInt32(number)
    }
    func available(_ queue: Int) -> UInt32 { Self.pages[queue] << 12 + 16 * UInt32(size(queue)) }
    func used(_ queue: Int) -> UInt32 {
        (available(queue) + 4 + 2 * UInt32(size(queue)) + 2 + 4095) & ~4095
    }

    func store16(_ address: UInt32, _ value: UInt16) {
        let word = memory.load32(address & ~3)!
        let shift = 8 * (address & 3)
        memory.store32(address & ~3, word & ~(0xFFFF << shift) | UInt32(value) << shift)
    }
    func load16(_ address: UInt32) -> UInt16 {
        UInt16(truncatingIfNeeded: memory.load32(address)!)
    }

    func setDescriptor(
        _ queue: Int, _ number: UInt16, address: UInt64, count: UInt32, flags: UInt16,
        next: UInt16 = 0
    ) {
        let place = descriptor(queue, number)
        memory.store32(place, UInt32(truncatingIfNeeded: address))
        memory.store32(place + 4, UInt32(address >> 32))
        memory.store32(place + 8, count)
        memory.store32(place + 12, UInt32(flags) | UInt32(next) << 16)
    }

    /// Makes a head available.
    func makeAvailable(_ queue: Int, _ head: UInt16) {
        let ring = available(queue)
        store16(ring + 4 + 2 * UInt32(added[queue] % size(queue)), head)
        added[queue] &+= 1
        store16(ring + 2, added[queue])
    }

    // MARK: Requests

    /// Adds a chain.
    /// - Returns: its head.
    @discardableResult
    func add(_ queue: Int, _ buffers: [Buffer]) -> UInt16 {
        let size = size(queue)
        let head = free[queue]
        for (index, buffer) in buffers.enumerated() {
            let number = (head + UInt16(index)) % size
            let isLast = index == buffers.count - 1
            setDescriptor(
                queue, number, address: buffer.address, count: buffer.count,
                flags: (isLast ? 0 : 1) | (buffer.isWritable ? 2 : 0),
                next: isLast ? 0 : (number + 1) % size)
        }
        free[queue] = (head + UInt16(buffers.count)) % size
        makeAvailable(queue, head)
        return head
    }

    func ring(_ queue: Int) { write(0x10, UInt32(queue), size: 2) }

    /// What has come back since the last time.
    func takeUsed(_ queue: Int) -> [(head: UInt16, written: UInt32)] {
        let place = used(queue)
        var taken: [(UInt16, UInt32)] = []
        while load16(place + 2) != seen[queue] {
            let entry = place + 4 + 8 * UInt32(seen[queue] % size(queue))
            taken.append((UInt16(memory.load32(entry)!), memory.load32(entry + 4)!))
            seen[queue] &+= 1
        }
        return taken
    }

    /// Handles an interrupt as a kernel does.
    /// - Returns: what the device says; nil if there was none.
    func takeInterrupt() -> UInt32? {
        guard pc.platform.isInterruptRequested else { return nil }
        let vector = pc.platform.acknowledgeInterrupt()
        let cause = read(0x13, size: 1)
        pc.out(0xA0, UInt32(0x60 + (vector & 7)))
        pc.out(0x20, 0x62)
        return cause
    }

    // MARK: Bytes

    func put(_ bytes: [UInt8], at address: UInt32) {
        memory.writable(memory.range(address, UInt32(bytes.count))!).copyBytes(from: bytes)
    }
    func bytes(_ address: UInt32, _ count: UInt32) -> [UInt8] {
        Array(memory.readable(memory.range(address, count)!))
    }
}
