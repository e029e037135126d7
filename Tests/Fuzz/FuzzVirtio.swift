// Drivers that break the rules. A queue whose every word is the driver's, taken chain by chain; and whole devices on the bus
// behind a guest that writes to ports and memory as it likes.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzVirtio {
    /// 64 KiB, and as much again from 4 GiB on where addresses reach that; made once, as most cases are over in a microsecond.
    nonisolated(unsafe) private static var room: GuestMemory?
    private static let size: UInt32 = 1 << 16

    #if arch(i386)
    private static let high: UInt64 = 0
    #else
    private static let high = UInt64(size)
    #endif
    /// Of a descriptor's flags, none of virtio's: its buffer lies in the second part.
    private static let isHigh: UInt32 = 0x40

    private static var memory: GuestMemory? {
        if unsafe room == nil {
            unsafe room = try? GuestMemory(MemoryExtent(low: size, high: high))
        }
        return unsafe room
    }

    // MARK: A queue

    /// The page, the index, heads, and descriptors as a driver would have them, with some words that it would not.
    static func makeQueue(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let shift = random.below(5)
        let count = 1 << shift
        input.append(UInt8(shift))
        input.append(random.once(in: 16) ? random.byte() : UInt8(1 + random.below(12)))
        input.append(random.once(in: 8) ? random.word() : UInt32(random.below(count + 1)))
        for _ in 0..<count {
            input.append(random.once(in: 16) ? random.byte() : UInt8(random.below(count)))
        }
        for index in 0..<count {
            let isLying = random.once(in: 2 * count)
            input.append(isLying ? random.hurtful() : UInt32(random.below(Int(size))))
            input.append(
                random.once(in: 2 * count) ? random.hurtful() : UInt32(random.below(0x800)))
            // Flags, and which one is next.
            let isLast = random.once(in: 3)
            input.append(
                random.once(in: 16)
                    ? random.byte()
                    : (isLast ? 0 : 1) | (random.once(in: 3) ? 2 : 0)
                        | (random.once(in: 4) ? UInt8(isHigh) : 0))
            input.append(
                random.once(in: 16)
                    ? random.byte() : UInt8(truncatingIfNeeded: (index + 1) % count))
        }
    }

    static func takeQueue(_ input: FuzzInput) { _ = outcomeOfQueue(input) }

    /// How many chains were taken, and what then broke the queue.
    static func outcomeOfQueue(_ input: FuzzInput) -> (chains: Int, violation: Virtqueue.Violation?)
    {
        guard let memory else { return (0, nil) }
        var script = FuzzReader(input)
        let count = UInt16(1) << UInt16(script.byte() & 7)
        let page = UInt32(script.byte())
        // What an honest driver would have written, were it where it says.
        let start = page << 12
        let available = start &+ 16 * UInt32(count)
        memory.store32(available, script.word() << 16)
        for slot in stride(from: 0 as UInt32, to: UInt32(count), by: 2) {
            let pair = UInt32(script.byte()) | UInt32(script.byte()) << 16
            memory.store32(available &+ 4 &+ 2 * slot, pair)
        }
        for number in 0..<UInt32(count) {
            let place = start &+ 16 * number
            memory.store32(place, script.word())
            memory.store32(place &+ 8, script.word())
            let flags = UInt32(script.byte())
            let above: UInt32 = high > 0 && flags & isHigh != 0 ? 1 : 0
            memory.store32(place &+ 4, flags & 0x80 == 0 ? above : flags)
            memory.store32(place &+ 12, flags | UInt32(script.byte()) << 16)
        }
        var queue = Virtqueue(size: count)
        queue.place(page, in: memory)
        var chain = VirtqueueChain()
        var taken = 0
        while queue.next(&chain, in: memory) {
            taken += 1
            Fuzz.require(taken <= Int(count), "more chains than the ring has")
            look(chain, count, memory)
            queue.give(chain, written: chain.writableCount, in: memory)
        }
        Fuzz.require(taken == 0 || page < size >> 12, "chains of a ring outside memory")
        Fuzz.require(queue.violation == nil || !queue.isReady, "a broken queue that is ready")
        Fuzz.require(
            queue.violation == nil || !queue.next(&chain, in: memory), "a broken queue gave more")
        return (taken, queue.violation)
    }

    /// All that a device relies on.
    private static func look(_ chain: VirtqueueChain, _ size: UInt16, _ memory: GuestMemory) {
        var sums: (UInt64, UInt64) = (0, 0)
        for range in chain.readable {
            check(range, memory)
            sums.0 += UInt64(range.count)
        }
        for range in chain.writable {
            check(range, memory)
            sums.1 += UInt64(range.count)
        }
        Fuzz.require(
            sums.0 == UInt64(chain.readableCount) && sums.1 == UInt64(chain.writableCount),
            "sums that are not those of the buffers")
        let buffers = chain.readable.count + chain.writable.count
        Fuzz.require(
            chain.head < size && buffers > 0 && buffers <= Int(size), "a chain of another length")
    }

    private static func check(_ range: GuestRange, _ memory: GuestMemory) {
        Fuzz.require(
            memory.range(far: UInt64(range.place), range.count) == range, "a range outside memory")
        let end = UInt64(range.place) + UInt64(range.count)
        Fuzz.require(
            end <= UInt64(size) || UInt64(range.place) >= 1 << 32 && end <= 1 << 32 + high,
            "a range in no part of memory")
    }

    // MARK: Devices

    /// Seldom a case of nothing but chance: mostly a driver that sets its device up, and then writes here and there.
    static func makeDevice(_ random: inout FuzzRandom, _ input: FuzzInput) {
        input.append(UInt8(random.below(4)))
        if !random.once(in: 8) {
            for queue in 0..<2 as Range<UInt32> {
                append(input, 1, 0x0E, queue)
                append(input, 2, 0x08, 2 + 3 * queue)
            }
            append(input, 0, 0x12, 7)
            request(&random, input, UInt32(random.below(2)))
        }
        for _ in 0..<4 + random.below(40) {
            let queue = UInt32(random.below(2))
            let start: UInt32 = (2 + 3 * queue) << 12
            switch random.below(8) {
            case 0: append(input, UInt8(random.below(3)), random.byte() & 63, random.hurtful())
            case 1, 2: append(input, 1, 0x10, random.once(in: 8) ? random.hurtful() : queue)
            case 3: append(input, 3, random.byte(), random.word())
            case 4:
                // A descriptor: address, length, flags and next.
                let place = start + 16 * UInt32(random.below(6))
                append(
                    input, 4, 0, place,
                    random.once(in: 8) ? random.hurtful() : UInt32(random.below(0xF000)))
                append(
                    input, 4, 0, place + 8,
                    random.once(in: 8) ? random.hurtful() : UInt32(random.below(1200)))
                append(
                    input, 4, 0, place + 12, UInt32(random.below(4)) | UInt32(random.below(6)) << 16
                )
            case 5:
                // More is available: the index is behind descriptors of 8, 64, 128 or 256 entries.
                for size in [8, 64, 128, 256] as [UInt32] {
                    append(input, 4, 0, start + 16 * size, UInt32(random.below(12)) << 16)
                    append(
                        input, 4, 0, start + 16 * size + 4,
                        UInt32(random.below(6)) | UInt32(random.below(6)) << 16)
                }
            case 6:
                // A request's header.
                append(
                    input, 4, 0, UInt32(random.below(0xF000)) & ~3, [0, 1, 4, 8][random.below(4)])
            default: append(input, 5 + UInt8(random.below(3)), random.byte(), random.word())
            }
        }
    }

    /// One that a driver could mean: a header, data of a sector, room for an answer.
    private static func request(_ random: inout FuzzRandom, _ input: FuzzInput, _ queue: UInt32) {
        let start: UInt32 = (2 + 3 * queue) << 12
        store(input, 0xE000, [0, 1, 4, 8][random.below(4)], 0, UInt32(random.below(70)), 0)
        store(input, start, 0xE000, 0, 16, 1 | 1 << 16)
        store(input, start + 16, 0xC000, 0, 512, (random.once(in: 2) ? 1 : 3) | 2 << 16)
        store(input, start + 32, 0xE100, 0, 1, 2)
        for size in [8, 64, 128, 256] as [UInt32] { store(input, start + 16 * size, 1 << 16, 0) }
        append(input, 1, 0x10, queue)
    }

    private static func store(_ input: FuzzInput, _ place: UInt32, _ words: UInt32...) {
        for (index, word) in words.enumerated() {
            append(input, 4, 0, place + 4 * UInt32(index), word)
        }
    }

    static func append(
        _ input: FuzzInput, _ what: UInt8, _ place: UInt8, _ first: UInt32, _ second: UInt32 = 0
    ) {
        input.append(what)
        input.append(place)
        input.append(first)
        if what == 4 { input.append(second) }
    }

    private static let sectors: UInt32 = 64
    nonisolated(unsafe) private static var disk: Disk?
    nonisolated(unsafe) private static var tap: Tap?
    nonisolated(unsafe) private static var cable: Int32 = -1

    static func takeDevice(_ input: FuzzInput) { _ = outcomeOfDevice(input) }

    /// The device, and whether it interrupted.
    static func outcomeOfDevice(_ input: FuzzInput) -> (kind: VirtioKind, hasInterrupted: Bool)? {
        guard let memory, let disk = openDisk(), let tap = openTap() else { return nil }
        var hasInterrupted = false
        var script = FuzzReader(input)
        let console = VirtioConsole()
        let card = VirtioNetwork(tap, address: HardwareAddress([2, 0, 0, 0, 0, 1]))
        let device: any VirtioDevice =
            switch script.byte() & 3 {
            case 0: VirtioBlock(disk) { _ in }
            case 1: card
            case 2: console
            default: VirtioRandom { [UInt8](repeating: 1, count: $0) }
            }
        let function = VirtioLegacyFunction(device, memory: memory)
        let platform = PCPlatform(memory: memory, functions: [function]) { Nanoseconds(count: 0) }
        var text: [UInt8] = []
        let now = Nanoseconds(count: 1)
        while !script.isAtEnd {
            let (what, place, value) = (script.byte(), script.byte(), script.word())
            let port = 0x1000 + UInt16(place)
            switch what {
            case 0...2:
                platform.output(PortAccess(port: port, size: 1 << what), value, at: now)
            case 3: _ = platform.input(PortAccess(port: port, size: 1 << (place & 1)), at: now)
            case 4: memory.store32(value, script.word())
            case 5:
                if device === console {
                    console.takeOutput(into: &text, of: function)
                    Fuzz.require(text.count <= VirtioConsole.outputRoom, "more text than room")
                    _ = console.feed([1, 2, 3], to: function)
                }
            case 6:
                if device === card {
                    frame(Int(place))
                    card.handle(.readable, of: function)
                    drain()
                }
            default: platform.raiseLines()
            }
            if function.interruptLevel { hasInterrupted = true }
        }
        Fuzz.require((try? Descriptor.seekEnd(disk.descriptor)) == disk.size, "a disk that grew")
        Fuzz.require(card.defect == nil, "an event that its state cannot have")
        drain()
        return (device.kind, hasInterrupted)
    }

    static func openDisk() -> Disk? {
        if unsafe disk == nil, let file = try? FileSystem.memoryFile("disk") {
            let bytes = [UInt8](repeating: 0, count: Int(sectors) * 512)
            guard (try? Transfer.write(file.number, Text(bytes: bytes))) != nil else { return nil }
            unsafe disk = Disk(
                file, name: "fuzz.img", sectorCount: sectors, isReadOnly: false, isFile: true)
        }
        return unsafe disk
    }

    /// A pair of sockets; as a tap it is good enough once it is asked nothing about interfaces.
    static func openTap() -> Tap? {
        if let tap = unsafe tap { return tap }
        var ends: (Int32, Int32) = (-1, -1)
        // AF_UNIX; SOCK_DGRAM and SOCK_NONBLOCK.
        guard
            (try? withKernel(
                &ends,
                { (address) throws(Errno) in
                    try SocketCall.pair.make(1, 2 | 0x800, 0, address)
                })) != nil
        else { return nil }
        let near = ends.0
        var made: Tap?
        Fuzz.playing({ $0.number == .ioctl ? 0 : nil }) {
            made = try? Tap(Descriptor(owning: near), name: "tap7")
        }
        unsafe cable = ends.1
        unsafe tap = made
        return made
    }

    private static func frame(_ count: Int) {
        let bytes = Text(bytes: [UInt8](repeating: 5, count: max(1, count)))
        _ = try? Transfer.write(unsafe cable, bytes)
    }

    /// What came out at the cable's other end, and frames that wait in the tap, are nobody's.
    static func drain() {
        var bytes = [UInt8](repeating: 0, count: 2048)
        unsafe bytes.withUnsafeMutableBytes { room in
            for number in unsafe [cable, tap?.descriptor ?? -1] {
                while (try? unsafe Transfer.read(number, into: room)) ?? 0 > 0 {}
            }
        }
    }
}
