// A virtio device in the service of a guest: what the guest sees of it (a function of a PC's bus, a descriptor of
// lguest's), and what the launcher asks. The devices that people ask for are in their own files; the console and the
// random numbers are here.
// Source: docs/abi/pc.md §4, docs/abi/lguest.md §5.3.

/// Where virtio devices are plugged in.
protocol VirtioSocket: AnyObject {
    /// Connects a device with its driver.
    func connect(_ device: any VirtioDevice) throws(LauncherError) -> VirtioTransport
    /// The release of the guest's kernel, if it is known and drivers of it want to be treated with care.
    var kernel: LinuxVersion? { get }
}

extension VirtioSocket {
    var kernel: LinuxVersion? { nil }
}

/// A PC's bus.
final class PCSlots: VirtioSocket {
    private let memory: GuestMemory
    let kernel: LinuxVersion?
    private(set) var functions: [VirtioLegacyFunction] = []

    init(memory: GuestMemory, kernel: LinuxVersion? = nil) {
        self.memory = memory
        self.kernel = kernel
    }

    func connect(_ device: any VirtioDevice) -> VirtioTransport {
        let function = VirtioLegacyFunction(device, memory: memory)
        functions.append(function)
        return function
    }
}

extension VirtioPage: VirtioSocket {
    func connect(_ device: any VirtioDevice) throws(LauncherError) -> VirtioTransport {
        guard let descriptor = add(device) else { throw .noRoomForDevices }
        return descriptor
    }
}

class VirtioPlug: PCDevice {
    let transport: VirtioTransport
    let notes: LaunchNotes
    private let name: Text
    private let index: Int
    private var isViolationTold = false

    /// - Parameter index: its place among the devices that were asked for.
    init(
        _ device: any VirtioDevice, _ name: Text, _ index: Int, into socket: any VirtioSocket,
        _ notes: LaunchNotes
    ) throws(LauncherError) {
        transport = try socket.connect(device)
        self.name = name
        self.index = index
        self.notes = notes
    }

    var isUsed: Bool { false }
    var uses: [Timeline.Use] { isUsed ? [.device(index)] : [] }
    /// True while the launcher has something to do because of what the guest did in a port, which does not end its run.
    var isDue: Bool { false }

    var watches: Bool { false }
    func watch(_ descriptors: inout [Int32]) {}

    func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds? {
        lookForLie()
        return nil
    }

    func settle() -> Bool { false }

    func lookForLie() {
        if let violation = transport.violation, !isViolationTold {
            isViolationTold = true
            notes.warn("the guest's driver of \(name) is wrong and is not heard: \(violation.text)")
        }
    }
}

/// Random numbers of the host's kernel's.
final class RandomPlug: VirtioPlug {
    private let random: VirtioRandom
    /// While a request waits.
    private static let pause = Nanoseconds.milliseconds(100)

    init(
        _ numbers: RandomBytes, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) {
        random = VirtioRandom(source: numbers.make)
        try super.init(random, "random numbers", 0, into: socket, notes)
    }

    override var isDue: Bool { random.hasRequest }

    override func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds? {
        random.serve(0, of: transport)
        lookForLie()
        return random.takeRequest() ? Self.pause : nil
    }
}

/// The console; standard input and output are its user's.
final class ConsolePlug: VirtioPlug {
    private let console: VirtioConsole

    init(into socket: any VirtioSocket, _ notes: LaunchNotes) throws(LauncherError) {
        console = VirtioConsole()
        try super.init(console, "the console", 0, into: socket, notes)
    }

    var hasOutput: Bool { !console.output.isEmpty }
    /// There is room for keys; or enough for a write, or a line, or all that a driver had.
    override var isDue: Bool {
        console.hasNewRoom
            || hasOutput
                && (transport.isDriven || console.output.count >= 256
                    || console.output.last == 0x0A)
    }
    /// It is served now.
    func begin() { console.hasNewRoom = false }
    func takeOutput(into bytes: inout [UInt8]) {
        console.takeOutput(into: &bytes, of: transport)
    }
    var hasRoom: Bool { console.hasRoom(transport) }
    func feed(_ keys: ArraySlice<UInt8>) -> Int { console.feed(keys, to: transport) }
}

extension Virtqueue.Violation {
    var text: StaticString {
        switch self {
        case .place: "its queue is not in guest memory"
        case .index: "more is available than its queue has"
        case .number: "it names a descriptor that its queue has not"
        case .loop: "a chain of its buffers has no end"
        case .buffer: "a buffer is not in guest memory"
        case .order: "a buffer to read is behind one to fill"
        case .indirect: "it uses indirect descriptors, which were not offered"
        }
    }
}
