// The kernel's own /dev/lguest behind the contract, for the DMA eras: requests are words that
// are written, events are records that are read. Only a 32-bit x86 kernel of 2007 has it.
// All calls must come from the thread that opened it. Source: docs/abi/lguest.md §1.

/// A guest that the kernel runs.
final class KernelDevice: LguestDevice {
    static let path: Text = "/dev/lguest"

    private var device: Descriptor?
    private let memory: GuestMemory
    private let abi: GuestABI
    /// A call said that the guest is dead: what read() gives now is the reason.
    private var isDead = false
    private var watched: [Poll.Interest] = []

    /// - Throws: ENOENT or ENODEV without such a device, EACCES or EPERM without permission.
    init(memory: GuestMemory, abi: GuestABI) throws(Errno) {
        self.memory = memory
        self.abi = abi
        device = try Descriptor.open(Self.path, .readWrite)
    }

    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        let base = UInt32(truncatingIfNeeded: UInt(bitPattern: unsafe memory.base))
        return try write(request.words(abi, base: base))
    }

    func interrupt(_ line: UInt32) throws(Errno) {
        do throws(Errno) {
            try write([LguestRequest.interrupt, line])
        } catch {
            if error == .noSuchFile { isDead = true }
            throw error
        }
    }

    func dmaBuffer(_ key: UInt32) throws(Errno) -> UInt32 {
        UInt32(truncatingIfNeeded: try write([LguestRequest.dmaBuffer, key]))
    }

    func breakOut(_ on: Bool) throws(Errno) { try write([LguestRequest.breakOut, on ? 1 : 0]) }

    /// The descriptors are looked at before the guest runs on, that is, whenever it did
    /// output; to end a read() under way takes a break from a second process.
    func watch(_ descriptors: [Int32]) { watched = descriptors.map { Poll.Interest($0) } }

    func close() { device = nil }

    /// Longest text of a death reason that is fetched.
    private static let longestReason = 1024

    func run() throws(Errno) -> RunResult {
        guard let number = device?.number else { throw .badDescriptor }
        if !watched.isEmpty && !isDead,
            try Poll.wait(watched, timeout: Nanoseconds(count: 0)).contains(true)
        {
            throw .again
        }
        // A record is stored whatever the size says; only a reason needs the room.
        var bytes = [UInt8](repeating: 0, count: Self.longestReason)
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(Errno) {
                result = .success(try unsafe Transfer.readRecord(number, into: buffer))
            } catch { result = .failure(error) }
        }
        let count: Int
        do throws(Errno) { count = try result.get() } catch {
            if error == .noSuchFile { isDead = true }
            throw error
        }
        if count == 8 && !isDead {
            return .dma(buffer: Self.word(bytes, 0), key: Self.word(bytes, 4))
        }
        isDead = true
        return .reason(
            Text(bytes: Array(bytes[..<min(max(count, 0), bytes.count)].prefix { $0 != 0 })))
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in 0..<4 { value |= UInt32(bytes[offset + index]) << (8 * UInt32(index)) }
        return value
    }

    @discardableResult
    private func write(_ words: [UInt32]) throws(Errno) -> Int {
        guard let number = device?.number else { throw .badDescriptor }
        return try Transfer.writeRecord(number, words)
    }
}
