// A virtio device in the service of a PC's guest: what the bus sees of it, and what the launcher asks. The
// devices that people ask for are in their own files; the random numbers that every PC has are here.
// Source: docs/abi/pc.md §4.

class VirtioPlug: PCDevice {
    let transport: VirtioFunction
    let notes: LaunchNotes
    private let name: Text
    private let index: Int
    private var isLieTold = false

    /// - Parameter index: its place among the devices that were asked for.
    init(
        _ device: any VirtioDevice, _ name: Text, _ index: Int, into memory: GuestMemory,
        _ notes: LaunchNotes
    ) {
        transport = VirtioFunction(device, memory: memory)
        self.name = name
        self.index = index
        self.notes = notes
    }

    var function: any PCIFunction { transport }
    var isUsed: Bool { false }
    var uses: [Timeline.Use] { isUsed ? [.device(index)] : [] }

    func watch(_ descriptors: inout [Int32]) {}

    func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds? {
        if let lie = transport.lie, !isLieTold {
            isLieTold = true
            notes.warn("the guest's driver of \(name) is wrong and is not heard: \(lie.text)")
        }
        return nil
    }
}

/// Random numbers of the host's kernel's.
final class RandomPlug: VirtioPlug {
    init(into memory: GuestMemory, _ notes: LaunchNotes) {
        super.init(
            VirtioRandom(source: RandomBytes.make), "random numbers", 0, into: memory, notes)
    }
}

/// The console beside the serial port; standard input and output are RunningPC's.
final class ConsolePlug: VirtioPlug {
    private let console: VirtioConsole

    init(into memory: GuestMemory, _ notes: LaunchNotes) {
        console = VirtioConsole()
        super.init(console, "the console", 0, into: memory, notes)
    }

    var hasOutput: Bool { !console.output.isEmpty }
    func takeOutput(into bytes: inout [UInt8]) {
        console.takeOutput(into: &bytes, of: transport)
    }
    var hasRoom: Bool { console.hasRoom(transport) }
    func feed(_ keys: ArraySlice<UInt8>) -> Int { console.feed(keys, to: transport) }
}

extension Virtqueue.Lie {
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
