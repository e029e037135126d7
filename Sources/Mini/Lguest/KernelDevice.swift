// The kernel's own /dev/lguest behind the contract, for the DMA eras: requests are words that
// are written, events are records that are read. Only a 32-bit x86 kernel of 2007 has it.
// All calls must come from the thread that made the guest: the kernel refuses the others. The
// one exception is BREAK, with which the waker (Linux/WakerThread.swift) ends a read() under
// way. Source: docs/abi/lguest.md §1.

/// A guest that the kernel runs.
final class KernelDevice: LguestDevice {
    static let path: Text = "/dev/lguest"

    // In this order: the waker uses the device.
    private var waker: WakerThread?
    private var device: Descriptor?
    private let memory: GuestMemory
    private let abi: GuestABI
    private var watched: [Int32] = []
    /// The last run was ended by BREAK, and the waker waits for it to be taken back.
    private var isBroken = false
    /// A call said that the guest is dead: what read() gives now is the reason.
    private var isDead = false
    /// A record is stored whatever the size says; only a reason needs the room.
    private var buffer = [UInt8](repeating: 0, count: longestReason)

    /// Longest text of a death reason that is fetched.
    private static let longestReason = 1024
    /// Bytes of a DMA record: address and key.
    private static let recordSize = 8

    /// - Throws: ENOENT or ENODEV without such a device, EACCES or EPERM without permission.
    init(memory: GuestMemory, abi: GuestABI) throws(Errno) {
        self.memory = memory
        self.abi = abi
        device = try Descriptor.open(Self.path, .readWrite)
    }

    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        guard let number = device?.number else { throw .badDescriptor }
        let base = UInt32(truncatingIfNeeded: memory.address)
        let count = try Transfer.writeRecord(number, request.words(abi, base: base))
        waker = try WakerThread(device: number)
        return count
    }

    func interrupt(_ line: UInt32) throws(Errno) {
        do throws(Errno) {
            try write(LguestRequest.interrupt, line)
        } catch {
            if error == .noSuchFile { isDead = true }
            throw error
        }
    }

    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        let address = try write(LguestRequest.dmaBuffer, key.rawValue)
        return GuestAddress(rawValue: UInt32(truncatingIfNeeded: address))
    }

    /// Turning it on does not return before somebody else turns it off: for the waker alone.
    func breakOut(_ on: Bool) throws(Errno) { try write(LguestRequest.breakOut, on ? 1 : 0) }

    func watch(_ descriptors: [Int32]) { watched = descriptors }

    var descriptors: [Int32] { [device?.number ?? -1] + (waker?.descriptors ?? []) }

    func close() {
        waker = nil
        device = nil
    }

    func run() throws(Errno) -> RunResult {
        guard let number = device?.number else { throw .badDescriptor }
        if !isDead { try awaitAttention() }
        let count: Int
        do throws(Errno) { count = try read(number) } catch {
            switch error {
            case .noSuchFile: isDead = true
            case .again: isBroken = true
            default: break
            }
            throw error
        }
        if count == Self.recordSize && !isDead {
            return .dma(
                DMANotification(
                    record: GuestAddress(rawValue: word(0)), key: DMAKey(rawValue: word(4))))
        }
        isDead = true
        return .reason(
            Text(bytes: Array(buffer[..<min(max(count, 0), buffer.count)].prefix { $0 != 0 })))
    }

    /// Tells the waker what to look at, and lets it look again.
    private func awaitAttention() throws(Errno) {
        if let failure = waker?.failure { throw failure }
        // The new descriptors first: it goes on with them at once.
        try waker?.watch(watched)
        guard isBroken else { return }
        do throws(Errno) { try breakOut(false) } catch {
            // It died by the request that served the last break.
            guard error == .noSuchFile else { throw error }
            isDead = true
        }
        isBroken = false
    }

    private func read(_ number: Int32) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe buffer.withUnsafeMutableBytes { buffer in
            do throws(Errno) {
                result = .success(try unsafe Transfer.readRecord(number, into: buffer))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }

    private func word(_ offset: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in 0..<4 { value |= UInt32(buffer[offset + index]) << (8 * UInt32(index)) }
        return value
    }

    @discardableResult
    private func write(_ request: UInt32, _ argument: UInt32) throws(Errno) -> Int {
        guard let number = device?.number else { throw .badDescriptor }
        return try Transfer.writeRecord(number, request, argument)
    }
}
