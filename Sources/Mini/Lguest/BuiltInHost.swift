// The built-in host behind the contract.

/// A guest that runs in this process, on the software processor.
final class BuiltInHost: LguestDevice {
    let host: Host

    /// - Parameter abi: what the guest's kernel speaks, as its image was recognised.
    /// - Throws: ENOMEM.
    init(memory: GuestMemory, abi: GuestABI) throws(Errno) {
        host = try Host(memory: memory, abi: abi)
    }

    init(_ host: Host) { self.host = host }

    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        try host.initialize(
            pageLimit: request.pageLimit, pageDirectory: request.pageDirectory,
            start: request.start, pageOffset: request.pageOffset)
    }

    func run() throws(Errno) -> RunResult {
        switch try host.run() {
        case .notification(let record): .dma(buffer: record.buffer, key: record.key)
        case .reason(let text): .reason(text)
        }
    }

    func interrupt(_ line: UInt32) throws(Errno) { try host.interrupt(line) }
    func dmaBuffer(_ key: UInt32) throws(Errno) -> UInt32 { try host.dmaBuffer(key) }
    func breakOut(_ on: Bool) throws(Errno) { try host.breakOut(on) }
    func watch(_ descriptors: [Int32]) { host.watch(descriptors) }
    func awaitBuffers(_ keys: [UInt32]) -> Bool {
        host.awaitBuffers(keys)
        return true
    }
    func hasUsed(shared descriptor: Int32) -> Bool {
        host.inlets.contains { $0.page.descriptor == descriptor && $0.isOpen }
            || host.outlets.contains { $0.page.descriptor == descriptor }
    }
    var descriptors: [Int32] { host.inlets.compactMap { $0.descriptor } }
    func close() { host.close() }
}
