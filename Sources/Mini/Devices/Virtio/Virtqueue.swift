// A queue between a driver of the guest's and a device of ours: the split ring of legacy virtio. The driver
// puts chains of buffers into it, the device takes them, one after the other, and gives them back used.
//
//     page·4096   descriptors        16 bytes each: address, length, flags, next
//                 available ring     flags, index, heads of chains   (the driver writes)
//     up to 4096  used ring          flags, index, heads and lengths (the device writes)
//
// Everything here is written by the driver, which may be hostile. A chain is read once, descriptor by descriptor, into
// ranges of guest memory that are checked as they are made, before a byte of its buffers is moved: what buffers
// lie over, even over the ring itself, changes nothing any more. A ring that cannot be what a driver means breaks
// the queue: nothing more is taken from it until the driver places it anew.
//
//               place               violation
//     off ----------------> ready ----------> broken
//      ^                      |                  |
//      +---- place nowhere, reset, (both) -------+
//
// Source: docs/abi/pc.md §4.1; Virtual I/O Device specification 1.2, chapters 2.7 and 4.1.5.1.3.
// The same as a page: docs/virtqueue-machine.md.

/// A request of a driver's: its buffers, those that it has filled and those that the device is to fill. Made once
/// for a device and used for one chain after the other.
struct VirtqueueChain {
    /// The number by which the driver knows it.
    fileprivate(set) var head: UInt16 = 0
    fileprivate(set) var readable: [GuestRange] = []
    fileprivate(set) var writable: [GuestRange] = []
    /// Sums of the lengths, in bytes.
    fileprivate(set) var readableCount: UInt32 = 0
    fileprivate(set) var writableCount: UInt32 = 0

    fileprivate mutating func clear(_ head: UInt16) {
        self.head = head
        readable.removeAll(keepingCapacity: true)
        writable.removeAll(keepingCapacity: true)
        readableCount = 0
        writableCount = 0
    }

    /// Adds a buffer.
    /// - Returns: false if the sum of the lengths is beyond 32 bits.
    fileprivate mutating func append(_ range: GuestRange, isWritable: Bool) -> Bool {
        let (sum, isFar) = (isWritable ? writableCount : readableCount)
            .addingReportingOverflow(range.count)
        guard !isFar else { return false }
        if isWritable {
            writable.append(range)
            writableCount = sum
        } else {
            readable.append(range)
            readableCount = sum
        }
        return true
    }

    /// Takes the first readable bytes out of it.
    /// - Returns: how many there were.
    mutating func take(_ bytes: UnsafeMutableRawBufferPointer, from memory: GuestMemory) -> Int {
        var done = 0
        while done < bytes.count, let first = readable.first {
            let part = first.prefix(UInt32(bytes.count - done))
            let source = unsafe memory.readable(part)
            let end = done + Int(part.count)
            unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done..<end])
                .copyMemory(from: source)
            done = end
            readableCount -= part.count
            if part.count == first.count {
                readable.removeFirst()
            } else {
                readable[0] = first.dropping(part.count)
            }
        }
        return done
    }

    /// Takes the last writable byte out of it.
    mutating func takeLastByte() -> GuestRange? {
        while let last = writable.popLast() {
            guard last.count > 0 else { continue }
            if last.count > 1 { writable.append(last.prefix(last.count - 1)) }
            writableCount -= 1
            return last.dropping(last.count - 1)
        }
        return nil
    }

    /// Fills the first writable bytes and takes them out of it.
    /// - Returns: how many there was room for.
    mutating func put(_ bytes: UnsafeRawBufferPointer, into memory: GuestMemory) -> Int {
        var done = 0
        while done < bytes.count, let first = writable.first {
            let part = first.prefix(UInt32(bytes.count - done))
            let target = unsafe memory.writable(part)
            let end = done + Int(part.count)
            unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<end]))
            done = end
            writableCount -= part.count
            if part.count == first.count {
                writable.removeFirst()
            } else {
                writable[0] = first.dropping(part.count)
            }
        }
        return done
    }
}

/// One queue, as far as the driver has set it up.
struct Virtqueue {
    /// A rule that the driver has broken.
    enum Violation: Error, Equatable {
        /// The ring is not in guest memory.
        case place
        /// More is available than the ring has entries.
        case index
        /// A head or a next one that is no descriptor's number.
        case number
        /// A chain longer than the ring: it is a loop.
        case loop
        /// A buffer that is not in guest memory, or lengths that are too large together.
        case buffer
        /// A buffer to read after one to fill.
        case order
        /// A table of descriptors in a buffer, which was not offered.
        case indirect
    }

    private enum State {
        case off
        case ready(Ring)
        case broken(Violation)
    }
    private var state = State.off

    /// The three parts, all of them in guest memory.
    private struct Ring {
        let descriptors, available, used: GuestRange
        /// Indices up to which chains were taken and given back; they go on beyond the size.
        var taken: UInt16 = 0
        var given: UInt16 = 0
    }

    /// How many descriptors it has: a power of two, at most 32768.
    let size: UInt16
    /// Where the driver has put it, as a page's number; 0 for nowhere.
    private(set) var page: UInt32 = 0

    private enum Flags {
        static let next: UInt16 = 1
        static let writable: UInt16 = 2
        static let indirect: UInt16 = 4
        /// Of the available ring: no interrupts, please.
        static let quiet: UInt16 = 1
    }

    init(size: UInt16) {
        precondition(size > 0 && size <= 32768 && size & (size - 1) == 0)
        self.size = size
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .off: "off"
        case .ready: "ready"
        case .broken: "broken"
        }
    }

    var isReady: Bool { if case .ready = state { true } else { false } }
    var violation: Violation? { if case .broken(let violation) = state { violation } else { nil } }

    /// Bytes of whole pages that a queue of this size takes.
    static func bytes(size: UInt16) -> UInt32 {
        func padded(_ count: UInt32) -> UInt32 { (count + Page.offset) & Page.number }
        let size = UInt32(size)
        return padded(16 * size + 6 + 2 * size) + padded(6 + 8 * size)
    }

    /// The driver says where it is; page 0 for nowhere. All begins anew.
    mutating func place(_ page: UInt32, in memory: GuestMemory) {
        self.page = page
        guard page != 0 else {
            state = .off
            return
        }
        let count = UInt64(size)
        let start = UInt64(page) << 12
        let available = start + 16 * count
        // Behind each ring are two bytes that are used only if that was agreed on.
        let used = Page.rounded(available + 4 + 2 * count + 2)
        guard let descriptors = memory.range(far: start, UInt32(16 * count)),
            let availableRing = memory.range(far: available, UInt32(4 + 2 * count)),
            let usedRing = memory.range(far: used, UInt32(4 + 8 * count))
        else {
            state = .broken(.place)
            return
        }
        state = .ready(Ring(descriptors: descriptors, available: availableRing, used: usedRing))
    }

    /// The same for parts that the driver puts wherever it likes.
    mutating func place(
        descriptors: UInt64, available: UInt64, used: UInt64, in memory: GuestMemory
    ) {
        page = 0
        let count = UInt32(size)
        guard let table = memory.range(far: descriptors, 16 * count),
            let offer = memory.range(far: available, 4 + 2 * count),
            let answer = memory.range(far: used, 4 + 8 * count)
        else {
            state = .broken(.place)
            return
        }
        state = .ready(Ring(descriptors: table, available: offer, used: answer))
    }

    private static func load16(_ range: GuestRange, _ offset: Int, _ memory: GuestMemory) -> UInt16
    {
        unsafe memory.readable(range).loadUnaligned(fromByteOffset: offset, as: UInt16.self)
    }

    /// True if a chain waits.
    func hasMore(in memory: GuestMemory) -> Bool {
        guard case .ready(let ring) = state else { return false }
        return Self.load16(ring.available, 2, memory) != ring.taken
    }

    /// Takes the next chain. What the driver says of it is checked here, once.
    /// - Returns: false if there is none, or the queue is broken by now.
    mutating func next(_ chain: inout VirtqueueChain, in memory: GuestMemory) -> Bool {
        guard case .ready(var ring) = state else { return false }
        do throws(Violation) {
            guard try Self.take(&ring, &chain, size, memory) else { return false }
            state = .ready(ring)
            return true
        } catch {
            state = .broken(error)
            return false
        }
    }

    private static func take(
        _ ring: inout Ring, _ chain: inout VirtqueueChain, _ size: UInt16, _ memory: GuestMemory
    ) throws(Violation) -> Bool {
        let waiting = load16(ring.available, 2, memory) &- ring.taken
        guard waiting > 0 else { return false }
        guard waiting <= size else { throw .index }
        let slot = Int(ring.taken & (size - 1))
        var number = load16(ring.available, 4 + 2 * slot, memory)
        chain.clear(number)
        let table = unsafe memory.readable(ring.descriptors)
        for _ in 0..<size {
            guard number < size else { throw .number }
            let place = 16 * Int(number)
            let address = unsafe table.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            let count = unsafe table.loadUnaligned(fromByteOffset: place + 8, as: UInt32.self)
            let flags = unsafe table.loadUnaligned(fromByteOffset: place + 12, as: UInt16.self)
            let next = unsafe table.loadUnaligned(fromByteOffset: place + 14, as: UInt16.self)
            guard flags & Flags.indirect == 0 else { throw .indirect }
            let isWritable = flags & Flags.writable != 0
            guard isWritable || chain.writable.isEmpty else { throw .order }
            guard let range = memory.range(far: address, count),
                chain.append(range, isWritable: isWritable)
            else { throw .buffer }
            guard flags & Flags.next != 0 else {
                ring.taken &+= 1
                return true
            }
            number = next
        }
        throw .loop
    }

    /// Gives a chain back.
    /// - Parameter written: how many bytes of its writable buffers were filled.
    mutating func give(_ chain: VirtqueueChain, written: UInt32, in memory: GuestMemory) {
        guard case .ready(var ring) = state else { return }
        let slot = UInt32(ring.given & (size - 1))
        let entry = unsafe memory.writable(ring.used.dropping(4 + 8 * slot).prefix(8))
        unsafe entry.storeBytes(of: UInt32(chain.head), toByteOffset: 0, as: UInt32.self)
        unsafe entry.storeBytes(of: written, toByteOffset: 4, as: UInt32.self)
        ring.given &+= 1
        let index = unsafe memory.writable(ring.used.dropping(2).prefix(2))
        unsafe index.storeBytes(of: ring.given, as: UInt16.self)
        state = .ready(ring)
    }

    /// Puts the chain that was taken last back, to be taken again.
    mutating func untake() {
        guard case .ready(var ring) = state else { return }
        ring.taken &-= 1
        state = .ready(ring)
    }

    /// True unless the driver wants to hear nothing of chains that are given back.
    func wantsInterrupt(in memory: GuestMemory) -> Bool {
        guard case .ready(let ring) = state else { return false }
        return Self.load16(ring.available, 0, memory) & Flags.quiet == 0
    }
}
