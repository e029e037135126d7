// The kernel's own /dev/lguest behind the contract: requests are words that
// are written, events are records that are read. Only 32-bit x86 kernels from 2.6.23 to 4.13 have it.
// All calls must come from the thread that made the guest: the kernel refuses the others. The
// one exception is BREAK, with which the waker (Linux/WakerThread.swift) ends a read() under
// way; from 2.6.31 on there is none, and a signal does. From 4.0 on the device leaves ports to the launcher: it shows
// the instruction, and gives and takes registers. Source: docs/abi/lguest.md §1, §5.6.

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
    /// Bytes of a record: address and key, an address, or a trap with its instruction.
    private var recordSize: Int { abi.dma != nil ? 8 : abi.devices == .bus ? 12 : 4 }
    /// What is behind the guest's ports.
    private var ports: (any GuestPorts)?

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
        waker = try WakerThread(device: number, signals: !abi.hasBreak)
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
    func connect(_ ports: any GuestPorts) { self.ports = ports }

    var descriptors: [Int32] { [device?.number ?? -1] + (waker?.descriptors ?? []) }

    func close() {
        waker = nil
        device = nil
    }

    func run() throws(Errno) -> RunResult {
        guard let number = device?.number else { throw .badDescriptor }
        if !isDead { try awaitAttention() }
        while true {
            if let result = try runOn(number) { return result }
            if ports?.isDue ?? false { throw .again }
        }
    }

    /// - Returns: nil if the guest only wanted something of a port, and has it.
    private func runOn(_ number: Int32) throws(Errno) -> RunResult? {
        let count: Int
        do throws(Errno) { count = try read(number) } catch {
            switch error {
            case .noSuchFile: isDead = true
            case .again: isBroken = true
            // Whoever sent the signal may send it again until he is told.
            case .interrupted: if !abi.hasBreak { try waker?.rest() }
            default: break
            }
            throw error
        }
        if count == recordSize && !isDead {
            switch abi.devices {
            case .dma:
                return .dma(
                    DMANotification(
                        record: GuestAddress(rawValue: word(0)), key: DMAKey(rawValue: word(4))))
            case .fields, .counted:
                return .dma(
                    DMANotification(
                        record: GuestAddress(rawValue: 0), key: DMAKey(rawValue: word(0))))
            case .bus: return try serveTrap()
            }
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

    // MARK: Ports

    /// Offsets in the registers that the device gives and takes. §1.5.
    private enum Place {
        static let edx: UInt32 = 8
        static let eax: UInt32 = 24
        static let eip: UInt32 = 48
        static let cs: UInt32 = 52
    }

    /// Does what the guest's kernel wanted of a port, and reflects every other trap.
    /// - Returns: why the guest has died, if it has.
    private func serveTrap() throws(Errno) -> RunResult? {
        let vector = UInt32(buffer[0])
        let instruction = Array(buffer[1..<8])
        let eip = try register(Place.eip)
        if vector == 13, try register(Place.cs) & 3 == 1,
            let length = try carryOut(instruction[...])
        {
            try set(Place.eip, eip &+ length)
        } else {
            do throws(Errno) { try write(LguestRequest.trap, vector) } catch {
                guard error == .invalid else { throw error }
                isDead = true
                return .reason("unhandled trap \(vector) at \(hex: eip) (0x0)")
            }
        }
        return nil
    }

    /// - Returns: the instruction's length; nil if it is none of those that are done here.
    private func carryOut(_ bytes: ArraySlice<UInt8>) throws(Errno) -> UInt32? {
        let isShort = bytes[bytes.startIndex] == 0x66
        let code = isShort ? bytes.dropFirst() : bytes
        let (opcode, next) = (code[code.startIndex], code[code.startIndex + 1])
        let hasNumber = opcode & 0xFC == 0xE4
        let length: UInt32 = (isShort ? 2 : 1) + (hasNumber ? 1 : 0)
        // CLI: the guest has its own way to hold interrupts off.
        if opcode == 0xFA { return length }
        guard hasNumber || opcode & 0xFC == 0xEC else { return nil }
        let access = PortAccess(
            port: hasNumber
                ? UInt16(next) : UInt16(truncatingIfNeeded: try register(Place.edx)),
            size: opcode & 1 == 0 ? 1 : isShort ? 2 : 4)
        let eax = try register(Place.eax)
        let mask: UInt32 = .max >> (32 - 8 * UInt32(access.size))
        if opcode & 2 != 0 {
            ports?.write(access, eax & mask)
        } else {
            try set(Place.eax, eax & ~mask | (ports?.read(access) ?? .max) & mask)
        }
        return length
    }

    private func register(_ place: UInt32) throws(Errno) -> UInt32 {
        try write(LguestRequest.getRegister, place)
        guard let number = device?.number, try read(number) == 4 else { throw .invalid }
        return word(0)
    }

    private func set(_ place: UInt32, _ value: UInt32) throws(Errno) {
        guard let number = device?.number else { throw .badDescriptor }
        _ = try Transfer.writeRecord(number, [LguestRequest.setRegister, place, value])
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
