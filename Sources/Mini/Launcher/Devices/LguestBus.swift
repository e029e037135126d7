// The PCI bus of an lguest guest of era 5, which finds its devices by ports as a PC's does: those of virtio 1.0, each with a line of
// its own.
// Source: docs/abi/lguest.md §5.6.

/// Where its devices are plugged in: the first one has the first line.
final class LguestSlots: VirtioSocket {
    private let memory: GuestMemory
    private(set) var functions: [VirtioModernFunction] = []
    init(memory: GuestMemory) { self.memory = memory }

    func connect(_ device: any VirtioDevice) throws(LauncherError) -> VirtioTransport {
        guard functions.count < PCIBus.mostFunctions else { throw .noRoomForDevices }
        let function = VirtioModernFunction(
            device, line: UInt8(functions.count + 1), memory: memory)
        functions.append(function)
        return function
    }
}

/// The ports that a guest of era 5 finds: its bus, and hardly anything else.
final class LguestBus: GuestPorts {
    private var bus: PCIBus
    let functions: [VirtioModernFunction]
    /// Whether the launcher has something to do.
    var wantsLauncher: () -> Bool = { false }

    init(_ functions: [VirtioModernFunction]) {
        self.functions = functions
        bus = PCIBus(functions.map { $0 as any PCIFunction }, lines: functions.map { $0.line })
    }

    var isDue: Bool { wantsLauncher() }

    func read(_ access: PortAccess) -> UInt32 {
        // A keyboard controller that is none, to a driver that would wait long for one that is busy.
        if access == PortAccess(port: 0x64, size: 1) { return 1 }
        // A timer that is none, to a kernel that would ask it 100,000 times as long as it answers with ones.
        if access == PortAccess(port: 0x42, size: 1) { return 0 }
        return bus.read(access) ?? .max
    }

    func write(_ access: PortAccess, _ value: UInt32) { _ = bus.write(access, value) }
}
