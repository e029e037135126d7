// A guest with a screen and a keyboard that writes to their ports and cells as it likes, while somebody reads and types.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzScreens {
    nonisolated(unsafe) private static var room: GuestMemory?

    private static var memory: GuestMemory? {
        if unsafe room == nil { unsafe room = try? GuestMemory(count: 0xC_0000) }
        return unsafe room
    }

    private enum What {
        static let port: UInt8 = 0
        static let look: UInt8 = 1
        static let type: UInt8 = 2
        static let row: UInt8 = 3
        static let cursor: UInt8 = 4
        static let read: UInt8 = 5
        static let count = 6
    }

    private static let ports: [UInt16] = [0x60, 0x64, 0x3D4, 0x3D5, 0x3DA, 0x20, 0x21]

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        for _ in 0..<4 + random.below(60) {
            input.append(UInt8(random.below(What.count)))
            input.append(random.byte())
            // Places near each other, mostly: a log that grows.
            input.append(random.once(in: 3) ? random.hurtful() : UInt32(random.below(0x4200)))
        }
    }

    static func take(_ input: FuzzInput) {
        guard let memory else { return }
        var script = FuzzReader(input)
        let platform = PCPlatform(memory: memory, functions: [], screen: true) {
            Nanoseconds(count: 0)
        }
        let now = Nanoseconds(count: 1)
        func write(_ port: UInt16, _ value: UInt32, size: UInt8 = 1) {
            platform.output(PortAccess(port: port, size: size), value, at: now)
        }
        var text: [UInt8] = []
        while !script.isAtEnd {
            let (what, place, value) = (script.byte(), script.byte(), script.word())
            let port = ports[Int(place) % ports.count]
            switch what {
            case What.port: write(port, value, size: 1 &<< (place >> 6 & 1))
            case What.look:
                text.removeAll(keepingCapacity: true)
                platform.look(into: &text)
                Fuzz.require(
                    text.count <= 0x8000 + 2 * 412 + 2, "more than twice the screen's memory")
                for byte in text {
                    Fuzz.require(
                        byte >= 0x20 && byte < 0x7F || byte == 13 || byte == 10,
                        "a byte that a terminal obeys")
                }
            case What.type:
                platform.type(place)
                if platform.isInterruptRequested { _ = platform.acknowledgeInterrupt() }
            case What.row:
                for cell in 0..<80 as Range<UInt32> {
                    let at = TextScreen.base + (value &+ cell) % 0x4000 * 2
                    memory.store32(at & ~3, UInt32(place) << 16 | UInt32(place) &+ cell)
                }
            case What.cursor:
                // The beginning is a screen in front of it.
                let start = value > 24 * 80 ? value - 24 * 80 - value % 80 : 0
                for (index, word) in [start >> 8, start, value >> 8, value].enumerated() {
                    write(0x3D4, UInt32(12 + index))
                    write(0x3D5, word)
                }
            default: _ = platform.input(PortAccess(port: port, size: 1), at: now)
            }
        }
        // All that waits can be read, and then nothing does.
        write(0x64, 0xAE)
        for _ in 0..<40 { _ = platform.input(PortAccess(port: 0x60, size: 1), at: now) }
        Fuzz.require(
            platform.input(PortAccess(port: 0x64, size: 1), at: now) & 1 == 0, "keys without end")
    }
}
