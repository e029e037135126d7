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
    /// Since the guest ran last the launcher was to look around, or has interrupted the guest.
    private var mayHaveServed = false
    /// A call said that the guest is dead: what read() gives now is the reason.
    private var isDead = false
    /// A record is stored whatever the size says; only a reason needs the room.
    private var buffer = [UInt8](repeating: 0, count: longestReason)

    /// Longest text of a death reason that is fetched.
    private static let longestReason = 1024
    /// Where the guest's kernel maps its memory, and no program's pages: what runs there is the kernel.
    private var kernelCode: (start: UInt32, size: UInt64) = (0, 0)
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
        waker = try WakerThread(device: number, by: abi.hasBreak ? .request : .signal)
        kernelCode = (request.pageOffset, UInt64(request.pageLimit) << Page.shift)
        return count
    }

    func interrupt(_ line: InterruptLine) throws(Errno) {
        mayHaveServed = true
        do throws(Errno) {
            try write(LguestRequest.interrupt, line.rawValue)
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
            if !isDead { try lookBefore() }
            if let result = try runOn(number) { return result }
            if ports?.isDue ?? false { throw interruption(.again) }
        }
    }

    /// What became ready while the guest did not run needs no BREAK and no signal. If the launcher may have served it, the waker
    /// looks; if not, the launcher.
    private func lookBefore() throws(Errno) {
        while let waker, waker.launcherRuns(true) {
            guard mayHaveServed else {
                waker.launcherRuns(false)
                throw interruption(.interrupted)
            }
            mayHaveServed = false
            waker.resume()
        }
        mayHaveServed = false
    }

    private func interruption(_ error: Errno) -> Errno {
        mayHaveServed = true
        return error
    }

    /// - Returns: nil if the guest only wanted something of a port, and has it.
    private func runOn(_ number: Int32) throws(Errno) -> RunResult? {
        let count: Int
        do throws(Errno) {
            defer { waker?.launcherRuns(false) }
            count = try read(number)
        } catch {
            switch error {
            case .noSuchFile: isDead = true
            case .again:
                isBroken = true
                mayHaveServed = true
            case .interrupted: mayHaveServed = true
            default: break
            }
            throw error
        }
        let record = abi.devices.record
        if count == record.rawValue && !isDead {
            switch record {
            case .dma:
                return .dma(
                    DMANotification(
                        record: GuestAddress(rawValue: word(0)), key: DMAKey(rawValue: word(4))))
            case .address:
                return .dma(
                    DMANotification(
                        record: GuestAddress(rawValue: 0), key: DMAKey(rawValue: word(0))))
            case .trap: return try serveTrap()
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
        waker?.free()
        do throws(Errno) { try breakOut(false) } catch {
            // It died by the request that served the last break.
            guard error == .noSuchFile else { throw error }
            isDead = true
        }
        isBroken = false
    }

    // MARK: Ports

    /// Where the device has a register that it gives and takes. §1.5.
    private enum Register: UInt32 {
        case edx = 8
        case eax = 24
        case eip = 48
        case cs = 52
    }

    /// Does what the guest's kernel wanted of a port, and reflects every other trap.
    /// - Returns: why the guest has died, if it has.
    private func serveTrap() throws(Errno) -> RunResult? {
        let trap = TrapRecord(UInt64(word(0)) | UInt64(word(4)) << 32)
        let eip = try register(.eip)
        if let instruction = trap.instruction, try isKernels(eip) {
            try carryOut(instruction)
            try set(.eip, eip &+ instruction.length)
        } else {
            do throws(Errno) { try write(LguestRequest.trap, UInt32(trap.vector)) } catch {
                guard error == .invalid else { throw error }
                isDead = true
                return .reason("unhandled trap \(trap.vector) at \(hex: eip) (0x0)")
            }
        }
        return nil
    }

    /// Whether the guest's kernel and not one of its programs was there. Only where both could have been the device is asked: a call
    /// to ask and one for the answer.
    private func isKernels(_ eip: UInt32) throws(Errno) -> Bool {
        if UInt64(eip &- kernelCode.start) < kernelCode.size { return true }
        return try register(.cs) & 3 == 1
    }

    private func carryOut(_ instruction: TrapRecord.Instruction) throws(Errno) {
        // The guest has its own way to hold interrupts off.
        guard case .port(let number, let size, let isOutput) = instruction.kind else { return }
        let port: UInt16
        if let number {
            port = UInt16(number)
        } else {
            port = UInt16(truncatingIfNeeded: try register(.edx))
        }
        let access = PortAccess(port: port, size: size)
        let mask: UInt32 = .max >> (32 - 8 * UInt32(size))
        if isOutput {
            ports?.write(access, try register(.eax) & mask)
        } else {
            // What it does not change of the register has to be known before.
            let kept = mask == .max ? 0 : try register(.eax) & ~mask
            try set(.eax, kept | (ports?.read(access) ?? .max) & mask)
        }
    }

    private func register(_ register: Register) throws(Errno) -> UInt32 {
        try write(LguestRequest.getRegister, register.rawValue)
        guard let number = device?.number, try read(number) == 4 else { throw .invalid }
        return word(0)
    }

    private func set(_ register: Register, _ value: UInt32) throws(Errno) {
        guard let number = device?.number else { throw .badDescriptor }
        try Transfer.writeRecord(number, LguestRequest.setRegister, register.rawValue, value)
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

    private func word(_ offset: Int) -> UInt32 { LittleEndian.word(buffer, at: offset) }

    @discardableResult
    private func write(_ request: UInt32, _ argument: UInt32) throws(Errno) -> Int {
        guard let number = device?.number else { throw .badDescriptor }
        return try Transfer.writeRecord(number, request, argument)
    }
}
