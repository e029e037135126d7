// The contract that a launcher is written against: the verbs of /dev/lguest with its results
// and errnos. The kernel of an old 32-bit host keeps it (KernelDevice.swift), and so does
// the built-in host (Host/Host.swift); a launcher cannot tell which one it has.
// Source: docs/abi/lguest.md §1.

/// What a guest sends and binds buffers under: a guest-physical address that stands for a device. §5.1.
struct DMAKey: Equatable, Sendable {
    let rawValue: UInt32
}

/// One of a guest's interrupt lines, as a request or the guest says it.
struct InterruptLine: Equatable, Sendable {
    static let count: UInt32 = 32
    /// The guest's clock.
    static let clock = InterruptLine(rawValue: 0)

    let rawValue: UInt32

    /// A guest has lines 0 to 31.
    var exists: Bool { rawValue < Self.count }
}

/// What SEND_DMA hands to the launcher; and NOTIFY, which has no record: its address is the key.
struct DMANotification: Equatable, Sendable {
    /// Where the `lguest_dma` record is, unchecked; 0 for none.
    var record: GuestAddress
    var key: DMAKey
}

/// Request numbers, the first word of every write(). §1.1.
enum LguestRequest {
    static let initialize: UInt32 = 0
    static let dmaBuffer: UInt32 = 1
    static let interrupt: UInt32 = 2
    static let breakOut: UInt32 = 3
    static let getRegister: UInt32 = 5
    static let setRegister: UInt32 = 6
    static let trap: UInt32 = 7
}

/// What INITIALIZE says of a guest.
struct InitializeRequest: Equatable {
    /// Number of guest pages that the guest may reach, devices' pages included.
    var pageLimit: UInt32
    /// Guest-physical address of the first page directory; from era 3b on a device makes its own.
    var pageDirectory: UInt32
    /// Initial instruction pointer, virtual.
    var start: UInt32
    /// The guest kernel's PAGE_OFFSET; eras before 1c.
    var pageOffset: UInt32

    /// The words of the write() to a device. §0.
    /// - Parameter base: where guest-physical 0 is in the launcher's address space.
    func words(_ abi: GuestABI, base: UInt32) -> [UInt32] {
        var words = [LguestRequest.initialize]
        if abi.hasBase { words.append(base) }
        words.append(pageLimit)
        if abi.namesPageDirectory { words.append(pageDirectory) }
        words.append(start)
        if abi.namesPageOffset { words.append(pageOffset) }
        if abi.namesDeviceLimit { words.append(pageLimit) }
        return words
    }
}

/// How run() ended when it did not fail.
enum RunResult: Equatable {
    /// SEND_DMA or NOTIFY.
    case dma(DMANotification)
    /// The guest was dead before the call: why.
    case reason(Text)
    /// In this state of its host's came what cannot come there: a defect of mini.
    case defect(state: Text)
}

/// One guest behind a /dev/lguest. Errnos of every verb: EINVAL before `initialize`, ENOENT
/// when the guest is dead, EBADF after `close`.
protocol LguestDevice: AnyObject {
    /// Makes the guest; runs none of its code.
    /// - Returns: bytes of the arguments, which tells the device's era. §1.1.
    /// - Throws: EBUSY (a second call), EINVAL (page offset), ENOMEM, ENOSPC.
    func initialize(_ request: InitializeRequest) throws(Errno) -> Int

    /// Runs the guest until it needs the launcher.
    /// - Throws: ENOENT: it died now, call again for the reason. EAGAIN: a break, or a watched
    ///   descriptor is readable. EINTR: a signal.
    func run() throws(Errno) -> RunResult

    /// Makes an interrupt pending.
    /// - Parameter line: 0…31; 0 is the timer's. With DMA devices slot n has n + 1; a virtio device says itself which
    ///   lines it has.
    func interrupt(_ line: InterruptLine) throws(Errno)

    /// Finds a buffer that the guest bound to `key`.
    /// - Returns: guest-physical address of its `lguest_dma`; its used_len holds the line to
    ///   interrupt once the data are in and used_len is their length.
    /// - Throws: ENOENT if there is none.
    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress

    /// While on, run() ends with EAGAIN before any guest code.
    func breakOut(_ on: Bool) throws(Errno)

    /// Descriptors whose readability ends run() with EAGAIN; replaces the earlier ones.
    func watch(_ descriptors: [Int32])

    /// Keys with which run() ends with EAGAIN once the guest has a free buffer bound to one
    /// of them; replaces the earlier ones.
    /// - Returns: false if this device cannot tell: its caller must look from time to time.
    func awaitBuffers(_ keys: [DMAKey]) -> Bool

    /// True if the guest has bound or sent anything on a network that it shares with others' guests
    /// through this file; false, too, where the kernel's device keeps that to itself.
    func hasUsed(shared descriptor: Int32) -> Bool

    /// From now on the guest finds these ports; run() ends with EAGAIN when they want that.
    func connect(_ ports: any GuestPorts)

    /// The descriptors that it needs as long as the guest lives.
    var descriptors: [Int32] { get }

    /// Ends the guest.
    func close()
}

extension LguestDevice {
    var descriptors: [Int32] { [] }
    func awaitBuffers(_ keys: [DMAKey]) -> Bool { false }
    func hasUsed(shared descriptor: Int32) -> Bool { false }
    func connect(_ ports: any GuestPorts) {}
}

/// What answers a guest's ports.
protocol GuestPorts: AnyObject {
    /// - Returns: what the guest reads, in as many low bytes as it asks for; ones where nothing is.
    func read(_ access: PortAccess) -> UInt32
    func write(_ access: PortAccess, _ value: UInt32)
    /// True while the launcher has something to do because of it.
    var isDue: Bool { get }
}
