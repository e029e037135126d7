// Random numbers for the guest: it lends buffers, and gets them back filled. Source: docs/abi/pc.md §4.4; Virtual I/O
// Device specification 1.2, chapter 5.4.

/// The virtio device of random numbers.
final class VirtioRandom: VirtioDevice {
    /// The most that one request gets; a driver that wants more asks again.
    private static let mostBytes = 4096
    private static let queueSize: UInt16 = 8

    /// Gives so many random bytes; nil if there are none now.
    private let source: (Int) -> [UInt8]?
    private var chain = VirtqueueChain()
    /// A request waits until there are some: a driver that gets an empty buffer back may never ask again. The launcher
    /// looks again later.
    private(set) var hasRequest = false

    init(source: @escaping (Int) -> [UInt8]?) { self.source = source }

    var kind: VirtioKind { .random }
    var features: UInt32 { 0 }
    var queueSizes: [UInt16] { [Self.queueSize] }
    var configurationCount: UInt16 { 0 }
    func configuration(_ offset: UInt16) -> UInt8 { 0 }

    /// - Returns: whether a request waits; the caller has to look again later.
    func takeRequest() -> Bool {
        defer { hasRequest = false }
        return hasRequest
    }

    func serve(_ queue: Int, of transport: VirtioTransport) {
        var isServed = false
        hasRequest = false
        for _ in 0..<Self.queueSize {
            guard transport.next(queue, &chain) else { break }
            let count = Int(min(chain.writableCount, UInt32(Self.mostBytes)))
            guard let bytes = source(count) else {
                transport.untake(queue)
                hasRequest = true
                break
            }
            let written = unsafe bytes.withUnsafeBytes {
                unsafe chain.put($0, into: transport.memory)
            }
            transport.give(queue, chain, written: UInt32(written))
            isServed = true
        }
        if isServed { transport.interrupt(queue) }
    }
}
