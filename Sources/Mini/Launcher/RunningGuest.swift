// A guest as the launcher has it: made, not yet running; and with all that serves it.

/// What a guest's devices became.
struct PluggedDevices {
    enum ConsoleKind {
        case dma(GuestABI.DMALayout)
        /// On a bus it has no descriptor.
        case virtio(ConsolePlug, VirtioDescriptor?)
    }

    let devices: [any GuestDevice]
    let console: ConsoleKind
    /// The first address above their pages.
    let end: UInt32
    var descriptors: [VirtioDescriptor] = []
    var bus: LguestBus?
    var drawsNumbers = false

    /// See `VirtioTransport`.
    func lookForAnswers() {
        for descriptor in descriptors { descriptor.looksForAnswers = true }
        for function in bus?.functions ?? [] { function.looksForAnswers = true }
    }
}

/// A guest that its host has made. When this goes, so does the guest.
final class MadeGuest {
    let device: any LguestDevice
    let loaded: LoadedGuest
    let plugged: PluggedDevices
    var devices: [any GuestDevice] { plugged.devices }
    var memory: GuestMemory { loaded.memory }

    init(_ device: any LguestDevice, _ loaded: LoadedGuest, _ plugged: PluggedDevices) {
        self.device = device
        self.loaded = loaded
        self.plugged = plugged
        for descriptor in plugged.descriptors {
            descriptor.interruptLine = { line in try? device.interrupt(line) }
        }
        guard let bus = plugged.bus else { return }
        for function in bus.functions {
            let line = InterruptLine(rawValue: UInt32(function.line))
            function.raiseLine = { try? device.interrupt(line) }
        }
        device.connect(bus)
    }

    deinit {
        device.close()
        NetworkPage.clear(in: memory)
    }
}

/// A guest with its console and what it may ask of us.
final class RunningGuest {
    private let made: MadeGuest
    let loop: EventLoop
    /// The user of the terminal.
    let holder: any TerminalHolder
    private let session: ConsoleSession
    private let virtioConsole: VirtioConsoleDevice?
    private let notes: LaunchNotes
    private let signs: GuestSigns
    /// The console first.
    let devices: [any GuestDevice]
    /// Those of them that ever watch something, and those that look up at every notification.
    private let watchers: [any GuestDevice]
    private let hearers: [any GuestDevice]
    /// The one that was notified last.
    private var notified = 0
    private let wantsBuffers: Bool
    /// The host says itself when the guest has a buffer.
    private var isTold = false
    private var watched: [Int32] = []

    var device: any LguestDevice { made.device }
    var memory: GuestMemory { made.memory }
    var layout: GuestLayout { made.loaded.layout }

    init(
        _ made: MadeGuest, console: ConsoleSession, loop: EventLoop, notes: LaunchNotes,
        _ signs: GuestSigns
    ) {
        self.made = made
        self.loop = loop
        holder = console
        self.notes = notes
        self.signs = signs
        session = console
        console.signs = signs
        switch made.plugged.console {
        case .dma(let layout):
            let device = ConsoleDevice(
                Console(memory: made.memory, layout: layout), of: made.device, console)
            virtioConsole = nil
            devices = [device] + made.devices
        case .virtio(let plug, let descriptor):
            let device = VirtioConsoleDevice(plug, descriptor, console)
            virtioConsole = device
            devices = [device] + made.devices
        }
        watchers = devices.filter { $0.watches }
        hearers = devices.filter { $0.hearsAll }
        wantsBuffers = made.devices.contains { $0.wantsBuffers }
        loop.forget()
    }

    /// Lets a run of the guest end when one of its devices has something to do.
    func watch() {
        watched.removeAll(keepingCapacity: true)
        for device in watchers { device.watch(&watched) }
        if let all = loop.watch(watched) { device.watch(all) }
    }

    /// The guest notified a device, and had none if this is false.
    func notify(_ notification: DMANotification) throws(LauncherError) -> Bool {
        for index in devices.indices where try devices[index].notified(notification, by: self) {
            if index > 0 { signs.notifies() }
            notified = index
            return true
        }
        return false
    }

    /// Writes what a guest that has ended said last.
    func flush() throws(LauncherError) { try virtioConsole?.flush(loop) }

    /// A guest that has no console yet has text printed by its address.
    /// - Returns: false if it has no such way, or there is no text.
    func saysText(_ notification: DMANotification) throws(LauncherError) -> Bool {
        guard made.loaded.kernel.abi.notifies else { return false }
        let start = notification.key.rawValue
        guard start < memory.count,
            let room = memory.range(start, min(memory.count - start, Page.size))
        else { return false }
        let count = unsafe memory.readable(room).prefix { $0 != 0 }.count
        try session.write([room.prefix(UInt32(count))], of: memory)
        return true
    }

    /// Looks after all devices, or after those that a notification is for.
    /// - Parameter ready: says what of the watched is ready; nil if the guest only notified a device. A
    ///   kernel's host is asked for a buffer by a call each time, so there nothing else is looked at.
    func serve(_ ready: PollSet?) throws(LauncherError) {
        let occasion = Occasion(ready: ready, isTold: isTold)
        var next: Nanoseconds?
        for device in ready == nil ? hearers : devices {
            try serve(device, occasion, &next)
            if loop.outcome != nil { return }
        }
        if ready == nil, !devices[notified].hearsAll {
            try serve(devices[notified], occasion, &next)
            if loop.outcome != nil { return }
        }
        if signs.isDue(loop) {
            let isUsed = made.devices.contains { !$0.uses(of: self).isEmpty }
            try signs.look(loop, usesDevices: isUsed)
        }
        if wantsBuffers { isTold = device.awaitBuffers(devices.compactMap { $0.awaitedBuffer }) }
        // A host that says when the guest has a buffer needs no alarm.
        if !isTold, let next { try loop.setAlarm(next) }
    }

    private func serve(
        _ device: any GuestDevice, _ occasion: Occasion, _ next: inout Nanoseconds?
    ) throws(LauncherError) {
        next.shorten(to: try device.serve(occasion, for: self))
    }

    /// True once it waits for a restart that its host does not carry out.
    var isRestarting: Bool { signs.isRestarting }

    /// Tells a person.
    func remark(_ line: Text) { notes.remark(line) }
    /// With --verbose: tells it, once.
    func warn(_ line: Text) { notes.warn(line) }
    /// Warns of a record of the guest's that is invalid.
    func warnOfRecord() { warn("the guest sent a DMA record that points outside its memory") }
}
