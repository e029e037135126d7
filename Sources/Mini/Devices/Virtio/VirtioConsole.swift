// A console beside the serial port: one port, a queue for keys and one for text. Text waits in `output` until it is taken,
// as the serial port's does; what has no room there stays in the queue. Source: docs/abi/pc.md §4.5; Virtual I/O Device
// specification 1.2, chapter 5.3.

/// The virtio device of a console.
final class VirtioConsole: VirtioDevice {
    private static let input = 0
    private static let text = 1
    private static let queueSize: UInt16 = 64

    /// What the guest sent and the launcher has not taken yet.
    private(set) var output: [UInt8] = []
    static let outputRoom = 4096
    /// The guest has lent room for keys since the last look.
    var hasNewRoom = false
    /// At most so much of a text is copied at a time.
    private var chain = VirtqueueChain()
    /// A chain that was taken only in part, with what is left of it.
    private var rest = VirtqueueChain()
    private var hasRest = false

    init() { output.reserveCapacity(Self.outputRoom) }

    var kind: VirtioKind { .console }
    var features: UInt32 { 0 }
    var queueSizes: [UInt16] { [Self.queueSize, Self.queueSize] }
    var configurationCount: UInt16 { 0 }
    func configuration(_ offset: UInt16) -> UInt8 { 0 }

    /// Where a driver that has no queues yet writes a character.
    static let emergency: UInt16 = 8
    func setConfiguration(_ offset: UInt16, _ value: UInt32) {
        guard offset == Self.emergency, output.count < Self.outputRoom else { return }
        output.append(UInt8(truncatingIfNeeded: value))
    }

    func reset(_ transport: VirtioTransport) { hasRest = false }

    func serve(_ queue: Int, of transport: VirtioTransport) {
        if queue == Self.text { collect(transport) } else { hasNewRoom = true }
    }

    /// Takes text as far as there is room for it. What is left of a chain is one of those that the ring has.
    private func collect(_ transport: VirtioTransport) {
        var isServed = false
        for _ in 0..<Self.queueSize {
            guard transport.isDriven, output.count < Self.outputRoom else { break }
            if !hasRest { hasRest = transport.next(Self.text, &rest) }
            guard hasRest else { break }
            append(transport.memory)
            guard rest.readableCount == 0 else { break }
            hasRest = false
            transport.give(Self.text, rest, written: 0)
            isServed = true
        }
        if isServed { transport.interrupt(Self.text) }
    }

    private func append(_ memory: GuestMemory) {
        let room = Self.outputRoom - output.count
        let start = output.count
        let count = Int(min(rest.readableCount, UInt32(room)))
        for _ in 0..<count { output.append(0) }
        unsafe output.withUnsafeMutableBytes {
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: $0[start...])
            _ = unsafe rest.take(part, from: memory)
        }
    }

    /// The text since the last time; the array that is given up gets used for the next one.
    func takeOutput(into bytes: inout [UInt8], of transport: VirtioTransport) {
        bytes.removeAll(keepingCapacity: true)
        swap(&bytes, &output)
        if bytes.count >= Self.outputRoom { collect(transport) }
    }

    /// True if the guest has lent room for keys.
    func hasRoom(_ transport: VirtioTransport) -> Bool { transport.hasMore(Self.input) }

    /// Gives keys to the guest.
    /// - Returns: how many there was room for.
    func feed(_ keys: ArraySlice<UInt8>, to transport: VirtioTransport) -> Int {
        var left = keys
        var isServed = false
        for _ in 0..<Self.queueSize {
            guard !left.isEmpty, transport.next(Self.input, &chain) else { break }
            let count = unsafe left.withUnsafeBytes { unsafe chain.put($0, into: transport.memory) }
            transport.give(Self.input, chain, written: UInt32(count))
            left = left.dropFirst(count)
            isServed = true
        }
        if isServed { transport.interrupt(Self.input) }
        return keys.count - left.count
    }
}
