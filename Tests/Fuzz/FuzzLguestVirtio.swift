// The virtio devices of an lguest guest that does what it likes: it writes over the page of descriptors and the rings that
// the page names, notifies any address, and writes anywhere on its PCI bus. Nothing outside its memory is touched, and no
// device does more than its back end allows.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzLguestVirtio {
    nonisolated(unsafe) private static var room: GuestMemory?
    private static let size: UInt32 = 1 << 17
    private static let page: UInt32 = 0x8000

    private static var memory: GuestMemory? {
        if unsafe room == nil { unsafe room = try? GuestMemory(count: size) }
        return unsafe room
    }

    /// What a step does: 0 to 2 a port's output of that width, 3 an input, 4 a word of memory, 5 a notification.
    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let kind = UInt8(random.below(3))
        input.append(kind)
        if kind == 2 { setUp(&random, input) }
        for _ in 0..<4 + random.below(40) {
            let ring = page + 0x1000 * UInt32(1 + random.below(12))
            switch random.below(6) {
            case 0:
                let value = random.once(in: 2) ? random.hurtful() : UInt32(random.below(16))
                FuzzVirtio.append(input, UInt8(random.below(3)), random.byte(), value)
            case 1: FuzzVirtio.append(input, 3, random.byte(), random.word())
            case 2:
                let place = random.once(in: 4) ? random.hurtful() : page + UInt32(random.below(300))
                FuzzVirtio.append(input, 4, 0, place, random.hurtful())
            case 3:
                // A descriptor of a ring, and one more that is available.
                let place = ring + 16 * UInt32(random.below(4))
                FuzzVirtio.append(input, 4, 0, place, UInt32(random.below(Int(size))))
                FuzzVirtio.append(
                    input, 4, 0, place + 8,
                    random.once(in: 8) ? random.hurtful() : UInt32(random.below(600)))
                FuzzVirtio.append(
                    input, 4, 0, place + 12, UInt32(random.below(4)) | UInt32(random.below(4)) << 16
                )
            case 4:
                for entries in [8, 64, 128, 256] as [UInt32] {
                    FuzzVirtio.append(
                        input, 4, 0, ring + 16 * entries, UInt32(random.below(5)) << 16)
                }
                FuzzVirtio.append(input, 5, 0, ring)
            default:
                FuzzVirtio.append(input, 5, 0, random.once(in: 4) ? random.hurtful() : page)
            }
        }
    }

    /// A device of the bus with its queues, as a driver begins.
    private static func setUp(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let device = UInt8(random.below(2)) << 7
        for (place, width, value) in [
            (20, 0, 3), (8, 2, 1), (12, 2, 1), (20, 0, 11),
        ] as [(UInt8, UInt8, UInt32)] { FuzzVirtio.append(input, width, device | place, value) }
        for queue in 0..<2 as Range<UInt32> {
            let ring = page + 0x1000 + 0x3000 * queue
            FuzzVirtio.append(input, 1, device | 22, queue)
            for (place, value) in [
                (32, ring), (40, ring + 0x800), (48, ring + 0x1000),
            ] as [(UInt8, UInt32)] { FuzzVirtio.append(input, 2, device | place, value) }
            FuzzVirtio.append(input, 1, device | 28, 1)
        }
        FuzzVirtio.append(input, 1, device | 56, UInt32(random.below(2)))
    }

    static func take(_ input: FuzzInput) { _ = interruptions(input) }

    /// How often the guest was interrupted.
    static func interruptions(_ input: FuzzInput) -> Int {
        guard let memory, let disk = FuzzVirtio.openDisk(), let tap = FuzzVirtio.openTap(),
            let all = memory.range(0, size)
        else { return 0 }
        let words = unsafe memory.writable(all).bindMemory(to: UInt64.self)
        for index in words.indices { unsafe words[index] = 0 }
        var script = FuzzReader(input)
        let console = VirtioConsole()
        let card = VirtioNetwork(tap, address: HardwareAddress([2, 0, 0, 0, 0, 1]))
        let devices: [any VirtioDevice] = [
            VirtioBlock(disk) { _ in }, console, card,
            VirtioRandom { [UInt8](repeating: 1, count: $0) },
        ]
        var count = 0
        let raise: (InterruptLine) -> Void = { line in
            Fuzz.require(line != .clock && line.exists, "a line that is no device's")
            count += 1
        }
        let kind = script.byte() % 3
        var descriptors: [VirtioDescriptor] = []
        var functions: [VirtioModernFunction] = []
        // The console's.
        var transport: VirtioTransport?
        if kind == 2 {
            for (index, device) in devices.enumerated() {
                functions.append(
                    VirtioModernFunction(device, line: UInt8(index + 1), memory: memory))
            }
            for function in functions {
                let line = InterruptLine(rawValue: UInt32(function.line))
                function.raiseLine = { raise(line) }
            }
            transport = functions[1]
        } else {
            let page = VirtioPage(at: page, kind == 0 ? .counted : .fields, in: memory)
            for device in devices { _ = page.add(device) }
            descriptors = page.devices
            for descriptor in descriptors { descriptor.interruptLine = raise }
            transport = descriptors[1]
        }
        let bus = LguestBus(functions)
        var text: [UInt8] = []
        while !script.isAtEnd {
            let (what, place, value) = (script.byte(), script.byte(), script.word())
            // The devices' ports, or those of the configuration space.
            let port: UInt16 =
                place & 0x7F < 0x78
                ? 0x1000 + 0x100 * UInt16(place >> 7) + UInt16(place & 0x7F)
                : 0xCF8 + UInt16(place & 7)
            switch what {
            case 0...2: bus.write(PortAccess(port: port, size: 1 << what), value)
            case 3: _ = bus.read(PortAccess(port: port, size: 1 << (place & 1)))
            case 4: memory.store32(value, script.word())
            default:
                for descriptor in descriptors where descriptor.notified(value) { break }
                guard let transport else { continue }
                console.takeOutput(into: &text, of: transport)
                Fuzz.require(text.count <= VirtioConsole.outputRoom, "more text than room")
                _ = console.feed([1, 2, 3], to: transport)
            }
        }
        Fuzz.require((try? Descriptor.seekEnd(disk.descriptor)) == disk.size, "a disk that grew")
        FuzzVirtio.drain()
        return count
    }
}
