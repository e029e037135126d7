// Virtio devices in the service of an lguest guest: what it notifies reaches them, what is ready of theirs too. What
// they do is VirtioPlug's and its subclasses'. Source: docs/abi/lguest.md §5.3.

final class PluggedVirtio: GuestDevice {
    private let plug: VirtioPlug
    /// nil on a bus, whose devices are notified by ports.
    private let descriptor: VirtioDescriptor?

    init(_ plug: VirtioPlug, _ descriptor: VirtioDescriptor?) {
        self.plug = plug
        self.descriptor = descriptor
    }

    var watches: Bool { plug.watches }
    func watch(_ descriptors: inout [Int32]) { plug.watch(&descriptors) }
    /// What it waits for is told by its driver.
    var hearsAll: Bool { false }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool {
        descriptor?.notified(notification.key.rawValue) ?? false
    }

    func serve(
        _ occasion: Occasion, for guest: RunningGuest
    ) throws(LauncherError) -> Nanoseconds? {
        try plug.serve(occasion.ready ?? PollSet())
    }

    func uses(of guest: RunningGuest) -> [Timeline.Use] { plug.uses }
}

/// The console, between the guest and standard input and output.
final class VirtioConsoleDevice: GuestDevice, ConsoleGuest {
    private let plug: ConsolePlug
    private let descriptor: VirtioDescriptor?
    private let session: ConsoleSession
    private var output: [UInt8] = []
    private var use = ConsoleUse()
    /// What is read at once: the rest waits until the guest has room.
    private static let mostInput = 256

    init(_ plug: ConsolePlug, _ descriptor: VirtioDescriptor?, _ session: ConsoleSession) {
        self.plug = plug
        self.descriptor = descriptor
        self.session = session
    }

    func watch(_ descriptors: inout [Int32]) { session.watch(&descriptors) }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool {
        guard descriptor?.notified(notification.key.rawValue) ?? false else { return false }
        plug.lookForLie()
        try flush(guest.loop)
        return true
    }

    /// Writes what the guest has sent.
    func flush(_ loop: EventLoop) throws(LauncherError) {
        while plug.hasOutput, loop.outcome == nil {
            use.hasSent = true
            plug.takeOutput(into: &output)
            try session.write(output)
        }
    }

    func serve(
        _ occasion: Occasion, for guest: RunningGuest
    ) throws(LauncherError) -> Nanoseconds? {
        plug.begin()
        try flush(guest.loop)
        if guest.loop.outcome != nil { return nil }
        if let ready = occasion.ready { try session.serve(self, ready) }
        // On a bus a guest lends buffers for keys without a notification that ends its run.
        if occasion.ready == nil || descriptor == nil, guest.loop.outcome == nil {
            try session.guestRan(self)
        }
        return nil
    }

    func uses(of guest: RunningGuest) -> [Timeline.Use] { use.uses }

    func room() -> Int? { plug.hasRoom ? Self.mostInput : nil }

    func fill(with bytes: ArraySlice<UInt8>) -> Int {
        let count = plug.feed(bytes)
        if count > 0 { use.hasTaken = true }
        return count
    }
}
