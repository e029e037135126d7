// The launcher: performs what the launch machine says, on a guest behind the lguest contract.
// It does not know whether the kernel or the built-in host runs the guest. A restart begins
// again from nothing: fresh memory, the image read anew. It opens nothing, though: files, disks and
// networks are kept from the first launch on, because from then on this is a sandbox.
// Source: docs/abi/lguest.md §2, §7.1.

/// What to start.
struct LaunchPlan {
    var kernel = Text()
    /// The guest's memory in MiB.
    var mebibytes = GuestLayout.defaultMebibytes
    var initrd: Text?
    /// The kernel's own arguments.
    var arguments: [Text] = []
    /// In the order of their slots; the console comes after them.
    var devices: [any DeviceSetup] = []

    /// Looks at what can be known of it before anything is opened.
    func check() throws(LauncherError) {
        _ = try loading { () throws(LoaderError) in
            try GuestLayout.memorySize(mebibytes: mebibytes)
        }
        try checkDevices()
    }

    fileprivate func checkDevices() throws(LauncherError) {
        let most = DevicePage.slots - 1
        guard devices.count <= most else {
            throw .tooManyDevices(count: devices.count, most: most)
        }
    }

    /// Opens one of its files.
    static func open(_ name: Text) throws(LauncherError) -> Descriptor {
        try loading { () throws(LoaderError) in try FileSource.open(name, .readOnly, "open") }
    }
}

/// Launches guests by one plan, one after the other.
final class Launcher {
    /// Makes the device for a guest in this memory that speaks this.
    typealias MakeDevice = (GuestMemory, GuestABI) throws(LauncherError) -> any LguestDevice
    private typealias Machine = LaunchMachine<GuestMemory, LoadedGuest, MadeGuest, RunningGuest>

    private let plan: LaunchPlan
    private let engine: Engine
    private let makeDevice: MakeDevice
    private let report: ((Text) -> Void)?
    private let remarks: Remarks
    private let notes: LaunchNotes
    private var isFirst = true
    /// From the first guest's first instruction on, through restarts.
    private var session: ConsoleSession?
    private var loop: EventLoop?
    private let sandbox: SandboxChoice
    /// What the lines of `notice` are written to.
    private let messages: Int32
    private var isConfined = false
    /// Present if somebody wants to know what happens when; and what it is written to, or -1.
    private let timeline: Timeline?
    private let timelineFile: Int32

    /// Kernel and initrd, for restarts.
    private var kernelFile: Descriptor?
    private var initrdFile: Descriptor?
    private var kernelStatus: FileStatus?
    private var initrdStatus: FileStatus?
    private var restarts = true

    /// Last through restarts, in the order in which they were asked for.
    private var devices: [any OpenDevice] = []

    /// - Parameters:
    ///   - report: takes a line of what is done, if somebody wants to know.
    ///   - notice: takes a line that a person should read in any case.
    ///   - timeline: gets what happens when, and is written to this descriptor by somebody else.
    ///   - sandbox: none by itself: it is for good, and takes the whole process.
    ///   - engine: what the guest's host needs to be prepared for it.
    ///   - makeDevice: called once for each launch.
    init(
        _ plan: LaunchPlan, report: ((Text) -> Void)?, notice: @escaping (Text) -> Void,
        sandbox: SandboxChoice = .off, messages: Int32 = 2, engine: Engine = .builtIn,
        timeline: Timeline? = nil, timelineFile: Int32 = -1,
        makeDevice: @escaping MakeDevice
    ) {
        self.sandbox = sandbox
        self.timeline = timeline
        self.timelineFile = timelineFile
        self.messages = messages
        self.plan = plan
        self.report = report
        remarks = Remarks(notice)
        notes = LaunchNotes(report: report, remarks: remarks)
        self.engine = engine
        self.makeDevice = makeDevice
    }

    /// Launches the guest and stays with it to its end.
    /// - Parameter restarts: true to begin again when the guest asks for it.
    func run(restarts: Bool) -> LaunchOutcome {
        self.restarts = restarts
        var pace = RestartPace()
        var outcome = LaunchOutcome.restart
        while true {
            let start = Clock.monotonic()
            outcome = release(launch())
            noteEnd(outcome)
            guard outcome == .restart && restarts else { break }
            let wait = pace.restart(after: Clock.monotonic() - start)
            if let report, pace.isTold {
                report(
                    pace.count < 8
                        ? "the guest restarts"
                        : "the guest restarts for the \(pace.count)th time; not each is told")
            }
            isFirst = false
            let left = pause(wait)
            if wait.count > 0 { note(.pause) }
            if let left {
                outcome = left
                break
            }
        }
        session?.close(after: outcome)
        session = nil
        loop = nil
        devices = []
        kernelFile = nil
        initrdFile = nil
        return outcome
    }

    private func note(_ phase: Timeline.Phase) { timeline?.note(phase, at: Clock.monotonic()) }

    private func noteEnd(_ outcome: LaunchOutcome) {
        // Another engine may follow.
        if case .failed(.engine) = outcome { return }
        timeline?.end(outcome.text, at: Clock.monotonic())
    }

    /// Lets a guest that restarts all the time wait.
    /// - Returns: how it ends because of what happened meanwhile.
    private func pause(_ time: Nanoseconds) -> LaunchOutcome? {
        guard time.count > 0 else { return nil }
        do throws(LauncherError) { return try session?.pause(time) } catch {
            return .failed(error)
        }
    }

    private func launch() -> LaunchOutcome {
        var machine = Machine()
        var action = Machine.beginning
        while true {
            if case .finish(let outcome) = action { return outcome }
            let event: Machine.Event
            do throws(LauncherError) { event = try perform(action) } catch {
                event = .failed(error)
            }
            guard let next = machine.handle(event) else {
                return .failed(.defect(state: "\(machine.stateName)"))
            }
            action = next
        }
    }

    /// What is left to do when a guest is gone.
    /// - Returns: its outcome, or that the guest's data could not be kept.
    private func release(_ outcome: LaunchOutcome) -> LaunchOutcome {
        // Told to end, it ends: no signal interrupts the wait for a disk. Nothing is lost with this process; what
        // was written is the kernel's, and goes to the disk without us.
        if case .signal = outcome { return outcome }
        var result = outcome
        for device in devices {
            do throws(LauncherError) { try device.finish() } catch { result = .failed(error) }
        }
        return result
    }

    private func perform(_ action: Machine.Action) throws(LauncherError) -> Machine.Event {
        switch action {
        case .mapMemory:
            let memory = try engine.makeMemory(mebibytes: plan.mebibytes)
            note(.memory)
            return .memoryMapped(memory)
        case .loadImage(let memory): return .imageLoaded(try load(into: memory))
        case .initializeDevice(let image):
            let made = try initialize(image)
            note(.guest)
            return .deviceInitialized(made)
        case .openSession(let made):
            let (loop, session) = try openSession()
            try confine(made, loop, session)
            note(.sandbox)
            return .sessionOpened(
                RunningGuest(made, console: session, loop: loop, notes: notes))
        case .run(let guest): return try run(guest)
        case .serveOutput(let guest, let notification):
            return try serveOutput(notification, of: guest)
        case .serveInput(let guest): return try serveInput(guest)
        case .finish(let outcome): return .left(outcome)
        }
    }

    private func openSession() throws(LauncherError) -> (EventLoop, ConsoleSession) {
        if let loop, let session { return (loop, session) }
        let loop = try EventLoop()
        let session = try ConsoleSession(loop)
        self.loop = loop
        self.session = session
        return (loop, session)
    }

    // MARK: Preparing the guest

    private func load(into memory: GuestMemory) throws(LauncherError) -> LoadedGuest {
        let commandLine = try loading { () throws(LoaderError) in
            try CommandLine(plan.arguments)
        }
        try openDevices()
        note(.devices)
        if kernelFile == nil { kernelFile = try LaunchPlan.open(plan.kernel) }
        kernelStatus = try status(kernelFile?.number ?? -1, plan.kernel, kernelStatus)
        let kernel = try loading { () throws(LoaderError) in
            try KernelImage.examine(
                kernelFile?.number ?? -1, name: plan.kernel, status: kernelStatus)
        }
        note(.image)
        var initrd: NamedFile?
        if let name = plan.initrd {
            if initrdFile == nil { initrdFile = try LaunchPlan.open(name) }
            initrdStatus = try status(initrdFile?.number ?? -1, name, initrdStatus)
            initrd = NamedFile(
                name: name, descriptor: initrdFile?.number ?? -1, status: initrdStatus)
        }
        let loaded = try loading { () throws(LoaderError) in
            try GuestLoader.load(
                kernel, into: memory, mebibytes: plan.mebibytes, initrd: initrd,
                commandLine: commandLine)
        }
        if FileFaults.take() != nil { throw .fileCut(name: plan.kernel) }
        try checkDevices()
        try engine.admit(loaded.kernel)
        note(.unpacking)
        if let report, isFirst { for line in loaded.description { report(line) } }
        return loaded
    }

    /// What the kernel says of a file; for a restart only its size is asked again.
    private func status(
        _ number: Int32, _ name: Text, _ known: FileStatus?
    ) throws(LauncherError) -> FileStatus? {
        do throws(Errno) {
            if let known { return try known.renewed(number) }
            return try FileStatus.of(number)
        } catch { throw .host("read", name: name, error) }
    }

    private func openDevices() throws(LauncherError) {
        try plan.checkDevices()
        guard devices.isEmpty else {
            for device in devices { try device.renew() }
            return
        }
        for setup in plan.devices {
            devices.append(
                try setup.open(beside: devices.map { $0.claim }, notice: remarks.note))
        }
        for (index, device) in devices.enumerated() {
            if let report, let line = device.description { report(line) }
            timeline?.name(.device(index), device.name)
        }
    }

    private func checkDevices() throws(LauncherError) {
        var files: [DeviceClaim] = []
        if let kernelStatus {
            files.append(
                DeviceClaim(
                    use: "the kernel", name: plan.kernel, file: DiskIdentity(kernelStatus)))
        }
        if let initrdStatus, let initrd = plan.initrd {
            files.append(
                DeviceClaim(use: "the initrd", name: initrd, file: DiskIdentity(initrdStatus)))
        }
        for (index, device) in devices.enumerated() {
            let others = devices.indices.filter { $0 != index }.map { devices[$0].claim }
            try device.check(beside: files + others)
        }
    }

    private func initialize(_ image: LoadedGuest) throws(LauncherError) -> MadeGuest {
        let (kernel, layout, memory) = (image.kernel, image.layout, image.memory)
        var page = DevicePage(at: layout.descriptorPage)
        do throws(LauncherError) {
            var plugged: [any GuestDevice] = []
            for (index, device) in devices.enumerated() {
                let one = try device.plug(index, into: &page, of: memory, kernel.abi.dma)
                if let one { plugged.append(one) }
            }
            _ = page.add(.console, in: memory)
            let device = try makeDevice(memory, kernel.abi)
            let request = InitializeRequest(
                pageLimit: page.end / GuestLayout.pageSize,
                pageDirectory: layout.pageDirectory, start: kernel.entry,
                pageOffset: kernel.pageOffset)
            let made = MadeGuest(device, image, devices: plugged)
            let count: Int
            do throws(Errno) { count = try device.initialize(request) } catch {
                throw LauncherError.device("make a guest", error)
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

    // MARK: The sandbox

    /// Everything is open, and no instruction of the guest's has run yet.
    private func confine(
        _ guest: MadeGuest, _ loop: EventLoop, _ session: ConsoleSession
    ) throws(LauncherError) {
        guard sandbox != .off && !isConfined else { return }
        isConfined = true
        if !restarts {
            kernelFile = nil
            initrdFile = nil
        }
        let plan = sandboxPlan(guest, loop, session)
        Sandbox.closeOthers(plan.descriptors)
        for device in devices { try device.keep() }
        let outcome = Sandbox.enter(plan)
        guard let calls = outcome.calls else {
            if sandbox == .required { throw .noFilter(outcome.failure) }
            let line: Text =
                "\(LauncherError.noFilterText(outcome.failure)); the guest runs without a filter"
            // With the kernel's device that is so by itself.
            if outcome.failure == nil { report?(line) } else { remarks.note(line) }
            return
        }
        report?("sandbox: \(calls) system calls\(outcome.hasLeftRoot ? ", no longer root" : "")")
    }

    private func sandboxPlan(
        _ guest: MadeGuest, _ loop: EventLoop, _ session: ConsoleSession
    ) -> SandboxPlan {
        var have = LaunchDescriptors()
        have.signals = loop.descriptor
        have.input = session.inputDescriptor
        have.output = session.outputDescriptor
        have.errors = messages
        if let number = kernelFile?.number { have.files.append(number) }
        if let number = initrdFile?.number { have.files.append(number) }
        for device in devices { device.describe(to: &have) }
        have.host = guest.device.descriptors
        have.timeline = timelineFile
        var features: [LaunchFeature] = [.always]
        if session.hasTerminal { features.append(.terminal) }
        if session.hasOutputTerminal || Terminal.isTerminal(2) {
            features.append(.outputTerminal)
        }
        if !have.disks.isEmpty { features.append(.disk) }
        if !have.writableDisks.isEmpty { features.append(.writableDisk) }
        if !have.taps.isEmpty { features.append(.tap) }
        if !have.networks.isEmpty { features.append(.sharedNetwork) }
        if restarts { features.append(.restart) }
        if timelineFile >= 0 { features.append(.timeline) }
        var plan = SandboxPlan(features, have)
        if engine != .builtIn {
            // The kernels that have it are older than filters; a restart opens it anew.
            plan.rules = nil
            plan.keepsUser = true
            plan.moreDescriptors = 3
        }
        plan.fileSize = largestFile()
        return plan
    }

    /// How long a file may become by what we write: a disk does not grow. Nil where the guest's
    /// output or a message goes to a file.
    private func largestFile() -> UInt64? {
        for number in [1, 2] as [Int32] {
            guard let kind = try? FileStatus.of(number).kind, kind != .regular else { return nil }
        }
        let least = timelineFile < 0 ? 0 : UInt64(Timeline.most)
        return devices.reduce(least) { max($0, $1.mostWritten) }
    }

    // MARK: Serving the guest

    private func run(_ guest: RunningGuest) throws(LauncherError) -> Machine.Event {
        try lookAtFiles(guest)
        guest.watch()
        if let timeline, timeline.isBeforeGuest { timeline.begin(at: Clock.monotonic()) }
        do throws(Errno) {
            switch try guest.device.run() {
            case .dma(let notification): return .notified(notification)
            case .reason(let text): return .reason(text)
            }
        } catch {
            switch error {
            case .noSuchFile: return .died
            case .again, .interrupted: return .brokenOut
            case .restart: return .restart
            default: throw .device("run the guest", error)
            }
        }
    }

    /// Looks whether a file that lies in guest memory was cut short under the guest. Without its kernel or
    /// initrd it cannot go on; without a network it can.
    private func lookAtFiles(_ guest: RunningGuest) throws(LauncherError) {
        guard let (first, last) = FileFaults.take() else { return }
        for address in [first, last] {
            let place = UInt32(truncatingIfNeeded: address &- guest.memory.address)
            if let page = guest.memory.sharedPage(of: place) {
                for device in devices {
                    if let loss = device.loss(of: page.descriptor) { remarks.note(loss) }
                }
            } else if let initrd = plan.initrd, place >= guest.layout.initrd {
                throw .fileCut(name: initrd)
            } else {
                throw .fileCut(name: plan.kernel)
            }
        }
    }

    private func serveOutput(
        _ notification: DMANotification, of guest: RunningGuest
    ) throws(LauncherError) -> Machine.Event {
        if try !guest.notify(notification) {
            notes.warn(
                "the guest sent to DMA key \(hex: notification.key.rawValue), where no device is")
        }
        if let outcome = guest.loop.outcome { return .left(outcome) }
        try guest.serve(nil)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        noteUses(guest)
        return .outputServed
    }

    private func serveInput(_ guest: RunningGuest) throws(LauncherError) -> Machine.Event {
        let ready = try guest.loop.look(guest.holder)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        try guest.serve(ready)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        noteUses(guest)
        return .inputServed
    }

    /// What a guest uses, perhaps for the first time.
    private func noteUses(_ guest: RunningGuest) {
        guard let timeline else { return }
        for device in guest.devices {
            for use in device.uses(of: guest) where timeline.isNew(use) {
                timeline.note(use, at: Clock.monotonic())
            }
        }
    }
}
