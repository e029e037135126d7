// Random numbers for the guest: it lends buffers, and gets them back filled. Source: docs/abi/pc.md §4.4; Virtual I/O
// Device specification 1.2, chapter 5.4.

final class VirtioRandom: VirtioDevice {
    /// As much as one request gets; who wants more asks again.
    private static let mostBytes = 4096
    private static let queueSize: UInt16 = 8

    /// Gives so many random bytes; nil if there are none now.
    private let source: (Int) -> [UInt8]?
    private var chain = VirtqueueChain()

    init(source: @escaping (Int) -> [UInt8]?) { self.source = source }

    var kind: VirtioKind { .random }
    var features: UInt32 { 0 }
    var queueSizes: [UInt16] { [Self.queueSize] }
    var configurationCount: UInt16 { 0 }
    func configuration(_ offset: UInt16) -> UInt8 { 0 }
    func serve(_ queue: Int, of function: VirtioTransport) {
        var isServed = false
        for _ in 0..<Self.queueSize {
            guard function.next(queue, &chain) else { break }
            let count = Int(min(chain.writableCount, UInt32(Self.mostBytes)))
            var written = 0
            if let bytes = source(count) {
                written = unsafe bytes.withUnsafeBytes {
                    unsafe chain.put($0, into: function.memory)
                }
            }
            function.give(queue, chain, written: UInt32(written))
            isServed = true
        }
        if isServed { function.interrupt(queue) }
    }
}
