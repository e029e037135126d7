// How long a guest that asks for a reboot waits for it. One that has run for a second begins again at
// once, and so do the first two that did not: a kernel can ask for a reboot early and mean it. One that
// does nothing else gets ever less of the processor.

struct RestartPace {
    private var quick: UInt64 = 0
    /// A guest that ran for so long has done something.
    private static let life = Nanoseconds.milliseconds(1000)
    private static let free: UInt64 = 2
    private static let longest: UInt64 = 1000
    /// How many restarts there were.
    private(set) var count: UInt64 = 0

    /// Takes that a guest wants to restart.
    /// - Parameter age: how long it ran.
    /// - Returns: how long it has to wait.
    mutating func restart(after age: Nanoseconds) -> Nanoseconds {
        count &+= 1
        quick = age < Self.life ? quick &+ 1 : 0
        guard quick > Self.free else { return Nanoseconds(count: 0) }
        let doublings = min(quick - Self.free - 1, 7)
        return .milliseconds(min(10 << doublings, Self.longest))
    }

    /// Whether the last one is worth a line: the first ones are, then ever fewer.
    var isTold: Bool { count <= 8 || count & (count &- 1) == 0 }
}
