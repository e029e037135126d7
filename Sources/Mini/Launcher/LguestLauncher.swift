// Launches guests that speak lguest: performs what the launch machine says, on a guest behind the lguest
// contract, and does not know whether the kernel or the built-in host runs it.
// Source: docs/abi/lguest.md §2, §7.1.

/// Launches guests that speak lguest.
final class LguestLauncher: Launcher {
    /// Makes the device for a guest in this memory that speaks this.
    typealias MakeDevice = (GuestMemory, GuestABI) throws(LauncherError) -> any LguestDevice
    private typealias Machine = LaunchMachine<GuestMemory, LoadedGuest, MadeGuest, RunningGuest>

    private let engine: LguestEngine
    private let makeDevice: MakeDevice
    private let engineLine: Text?
    private let suggestsPC: Bool
    /// Of a guest that may be started as a PC.
    private var pcSigns: GuestSigns?

    /// - Parameters:
    ///   - engine: what the guest's host needs to be prepared for it.
    ///   - engineLine: told as soon as it takes the kernel.
    ///   - suggestsPC: whether a guest that comes nowhere is worth a line that says what else may run it.
    ///   - makeDevice: called once for each launch.
    init(
        _ plan: LaunchPlan, _ surroundings: LaunchSurroundings, engine: LguestEngine = .builtIn,
        engineLine: Text? = nil, suggestsPC: Bool = false, makeDevice: @escaping MakeDevice
    ) {
        self.engine = engine
        self.engineLine = engineLine
        self.suggestsPC = suggestsPC
        self.makeDevice = makeDevice
        super.init(plan, surroundings)
    }

    /// Calls on the kernel's device are not filtered.
    override var startsProcesses: Bool { engine != .builtIn }

    override func launch() -> LaunchOutcome {
        let outcome = Machine.drive { (action) throws(LauncherError) in try perform(action) }
        if case .died(let reason) = outcome, pcSigns?.isEarly(reason) ?? false {
            remarks.note(
                "the kernel was taken for a guest of lguest; --engine software starts it as a PC")
        }
        return outcome
    }

    private func perform(_ action: Machine.Action) throws(LauncherError) -> Machine.Event {
        switch action {
        case .mapMemory:
            let memory = try engine.makeMemory(mebibytes: GuestLayout.possible(plan.mebibytes))
            note(.memory)
            return .memoryMapped(memory)
        case .loadImage(let memory): return .imageLoaded(try load(into: memory))
        case .initializeDevice(let image):
            let made = try initialize(image)
            note(.guest)
            return .deviceInitialized(made)
        case .openSession(let made):
            let (loop, session) = try openSession()
            let signs = signs(of: made.loaded)
            try confine(
                HostNeeds(
                    descriptors: made.device.descriptors, drawsNumbers: made.plugged.drawsNumbers,
                    isFiltered: engine == .builtIn),
                loop, session)
            note(.sandbox)
            if suggestsPC && made.loaded.kernel.mayBePC { pcSigns = signs }
            return .sessionOpened(
                RunningGuest(made, console: session, loop: loop, notes: notes, signs))
        case .run(let guest): return try run(guest)
        case .serveInput(let guest): return try serveInput(guest)
        case .finish(let outcome): return .left(outcome)
        }
    }

    /// What the guest's host failed with, which is no device where it is ours.
    private func refusal(_ action: Text, _ errno: Errno) -> LauncherError {
        engine == .builtIn ? .system(action, errno) : .device(action, errno)
    }

    // MARK: Preparing the guest

    private func load(into memory: GuestMemory) throws(LauncherError) -> LoadedGuest {
        let commandLine = try loading { () throws(LoaderError) in
            try CommandLine(plan.arguments)
        }
        let file = try openKernel()
        let kernel = try loading { () throws(LoaderError) in
            try KernelImage.examine(
                file, name: plan.kernel, status: kernelStatus, inside: files.inside)
        }
        note(.image)
        let initrd = try openInitrd()
        let loaded = try loading { () throws(LoaderError) in
            try GuestLoader.load(
                kernel, into: memory, mebibytes: plan.mebibytes, initrd: initrd,
                commandLine: commandLine)
        }
        if FileFaults.take() != nil { throw .fileCut(name: plan.kernel) }
        try engine.admit(loaded.kernel)
        files.inside.kernel = nil
        note(.unpacking)
        if let engineLine { preparation?.tell([engineLine]) }
        if startsProcesses {
            // At any time: then the guest's pages and ours would become two.
            do throws(Errno) { try memory.excludeFromFork() } catch {
                throw .system("keep guest memory out of forks", error)
            }
        } else {
            preparation?.excludeFromFork(memory)
        }
        // Not before: of a kernel for another engine that opens them, and no tap comes and goes twice.
        try openDevices()
        try checkDevices()
        note(.devices)
        preparation?.tell(loaded.description)
        if let remark = loaded.remark { remarks.note(remark) }
        if plan.console != .serial {
            remarks.note(
                "--console is for a kernel of today: \(quoted: plan.kernel) speaks lguest, which has one of its own"
            )
        }
        return loaded
    }

    private func initialize(_ image: LoadedGuest) throws(LauncherError) -> MadeGuest {
        let (kernel, layout, memory) = (image.kernel, image.layout, image.memory)
        do throws(LauncherError) {
            let plugged: PluggedDevices
            switch kernel.abi.devices {
            case .dma(let dma): plugged = try plug(into: memory, at: layout.descriptorPage, dma)
            case .fields, .counted:
                plugged = try plugVirtio(into: memory, at: layout.descriptorPage, kernel.abi)
            case .bus: plugged = try plugBus(into: memory, at: layout.descriptorPage)
            }
            // What becomes ready while the kernel's device runs the guest takes the waker's help.
            if engine != .builtIn { plugged.lookForAnswers() }
            let device = try makeDevice(memory, kernel.abi)
            let request = InitializeRequest(
                pageLimit: plugged.end / Page.size,
                pageDirectory: layout.pageDirectory, start: kernel.entry,
                pageOffset: kernel.pageOffset)
            let made = MadeGuest(device, image, plugged)
            let count: Int
            do throws(Errno) { count = try device.initialize(request) } catch {
                throw refusal(
                    engine == .builtIn && !memory.sharedPages.isEmpty
                        ? "take part in a shared network" : "make a guest", error)
            }
            guard count == kernel.abi.initializeCount else {
                throw LauncherError.otherDevice(era: kernel.era)
            }
            return made
        } catch {
            // It is on the shared pages already.
            NetworkPage.clear(in: memory)
            throw error
        }
    }

    /// Devices of DMA's.
    private func plug(
        into memory: GuestMemory, at address: UInt32, _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> PluggedDevices {
        var page = DevicePage(at: address)
        var plugged: [any GuestDevice] = []
        for (index, device) in devices.enumerated() {
            let one = try device.plug(index, into: &page, of: memory, layout)
            if let one { plugged.append(one) }
        }
        _ = page.add(.console, in: memory)
        return PluggedDevices(devices: plugged, console: .dma(layout), end: page.end)
    }

    /// A driver asks as soon as it finds its device, and the guest's start waits for the answer: where the host has just been
    /// started itself, that is until it has random numbers.
    private var givesNumbers: Bool { numbers.isReady || plan.wantsNumbers }

    /// Devices of virtio's; the console is the last one here, too.
    private func plugVirtio(
        into memory: GuestMemory, at address: UInt32, _ abi: GuestABI
    ) throws(LauncherError) -> PluggedDevices {
        let page = VirtioPage(at: address, abi.devices, in: memory)
        var plugged: [VirtioPlug] = []
        for (index, device) in devices.enumerated() {
            plugged.append(try device.plug(index, into: page, notes))
        }
        let console = try ConsolePlug(into: page, notes)
        let drawsNumbers = abi.hasRandomNumbers && givesNumbers
        if drawsNumbers { plugged.append(try RandomPlug(numbers, into: page, notes)) }
        var guests: [any GuestDevice] = []
        let others = page.devices.filter { $0 !== console.transport }
        for (plug, descriptor) in zip(plugged, others) {
            guests.append(PluggedVirtio(plug, descriptor))
        }
        let own = page.devices.first { $0 === console.transport }
        return PluggedDevices(
            devices: guests, console: .virtio(console, own), end: page.end,
            descriptors: page.devices, drawsNumbers: drawsNumbers)
    }

    /// Devices of virtio's on a bus; the console is the first one, where the guest looks for it.
    private func plugBus(
        into memory: GuestMemory, at end: UInt32
    ) throws(LauncherError) -> PluggedDevices {
        let slots = LguestSlots(memory: memory)
        let console = try ConsolePlug(into: slots, notes)
        var plugs: [VirtioPlug] = []
        for (index, device) in devices.enumerated() {
            plugs.append(try device.plug(index, into: slots, notes))
        }
        if givesNumbers { plugs.append(try RandomPlug(numbers, into: slots, notes)) }
        let guests: [any GuestDevice] = plugs.map { PluggedVirtio($0, nil) }
        let bus = LguestBus(slots.functions)
        bus.wantsLauncher = { console.isDue || plugs.contains { $0.isDue } }
        // No page is the devices', but what ends with memory ends below the limit.
        return PluggedDevices(
            devices: guests, console: .virtio(console, nil), end: end + Page.size, bus: bus,
            drawsNumbers: givesNumbers)
    }

    private func signs(of guest: LoadedGuest) -> GuestSigns {
        let abi = guest.kernel.abi
        return GuestSigns(
            asksForRestart: engine == .builtIn || abi.hasShutdown,
            Silence(
                mebibytes: guest.layout.memory >> 20, kernelEnd: UInt64(guest.kernel.end),
                initrd: guest.layout.initrdSize, words: plan.arguments,
                console: abi.dma == nil
                    ? "its kernel may have no driver of the console hvc0 (CONFIG_VIRTIO_CONSOLE)"
                    : "its kernel may have no driver of the console hvc0 (CONFIG_HVC_DRIVER)"
            ), preparation?.report)
    }

    // MARK: Serving the guest

    /// Runs the guest, and serves what it notifies, until there is something else to do.
    private func run(_ guest: RunningGuest) throws(LauncherError) -> Machine.Event {
        while true {
            if let event = try runOnce(guest) { return event }
        }
    }

    /// - Returns: nil if what it notified was served.
    private func runOnce(_ guest: RunningGuest) throws(LauncherError) -> Machine.Event? {
        try lookAtFiles(guest.memory, initrd: guest.layout.initrd)
        guest.watch()
        noteBeginning()
        let result: RunResult
        do throws(Errno) { result = try guest.device.run() } catch {
            switch error {
            case .noSuchFile:
                try guest.flush()
                return .died
            case .again, .interrupted: return .brokenOut
            case .restart:
                try guest.flush()
                return .restart
            default: throw refusal("run the guest", error)
            }
        }
        switch result {
        case .dma(let notification): return try serveOutput(notification, of: guest)
        case .reason(let text): return .reason(text)
        case .defect(let state): throw .defect(state: state)
        }
    }

    private func serveOutput(
        _ notification: DMANotification, of guest: RunningGuest
    ) throws(LauncherError) -> Machine.Event? {
        if try !guest.notify(notification), try !guest.saysText(notification) {
            notes.warn(
                "the guest sent to DMA key \(hex: notification.key.rawValue), where no device is")
        }
        if let outcome = guest.loop.outcome { return .left(outcome) }
        try guest.serve(nil)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        noteUses(guest)
        return nil
    }

    private func serveInput(_ guest: RunningGuest) throws(LauncherError) -> Machine.Event {
        let ready = try guest.loop.look(guest.holder)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        try guest.serve(ready)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        if guest.isRestarting { return .left(.restart) }
        noteUses(guest)
        return .inputServed
    }

    private func noteUses(_ guest: RunningGuest) {
        guard timeline != nil else { return }
        for device in guest.devices { note(device.uses(of: guest)) }
    }
}
