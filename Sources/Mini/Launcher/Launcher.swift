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
    var devices: [DeviceRequest] = []

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

/// A device that the guest is to have beside its console.
enum DeviceRequest: Equatable {
    case block(DiskRequest)
    case network(NetworkRequest)
}

/// Launches guests by one plan, one after the other.
final class Launcher {
    /// Makes the device for a guest in this memory that speaks this.
    typealias MakeDevice = (GuestMemory, GuestABI) throws(LauncherError) -> any LguestDevice

    private let plan: LaunchPlan
    private let engine: Engine
    private let makeDevice: MakeDevice
    private let report: ((Text) -> Void)?
    private let remarks: Remarks
    private var isFirst = true
    private var session: ConsoleSession?
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

    // The guest, as far as it is there.
    private var memory: GuestMemory?
    private var loaded: LoadedGuest?
    /// Disks, and what the networks lead to, last through restarts.
    private var disks: [Disk] = []
    private var links: [NetworkLink] = []
    private var guest: DeviceBus?
    /// What ends a run of the guest, and which of it has come; made anew when it changes.
    private var attention = PollSet()
    private var isInputWatched: Bool?
    private var watchedNetworks: UInt32 = 0
    private var isWarned = false
    /// What was said of which disk: asked before a line is made, however often a guest has a trouble.
    private var told: [(disk: Int, trouble: BlockDevice.Trouble)] = []

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
        links = []
        disks = []
        kernelFile = nil
        initrdFile = nil
        return outcome
    }

    private func note(_ phase: Timeline.Phase) { timeline?.note(phase, at: Clock.monotonic()) }

    /// The guest uses a device, perhaps for the first time.
    private func note(_ use: Timeline.Use) {
        if let timeline, timeline.isNew(use) { timeline.note(use, at: Clock.monotonic()) }
    }

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
        var machine = LaunchMachine()
        var action = LaunchMachine.beginning
        while true {
            if case .finish(let outcome) = action { return outcome }
            let event: LaunchMachine.Event
            do throws(LauncherError) { event = try perform(action) } catch {
                event = .failed(error)
            }
            guard let next = machine.handle(event) else {
                return .failed(.defect(state: "\(machine.stateName)"))
            }
            action = next
        }
    }

    /// Gives back what a launch took.
    /// - Returns: its outcome, or that the guest's data could not be kept.
    private func release(_ outcome: LaunchOutcome) -> LaunchOutcome {
        guest?.device.close()
        guest = nil
        isInputWatched = nil
        loaded = nil
        if let memory { NetworkPage.clear(in: memory) }
        memory = nil
        // Told to end, it ends: no signal interrupts the wait for a disk. Nothing is lost with this process; what
        // was written is the kernel's, and goes to the disk without us.
        if case .signal = outcome { return outcome }
        var result = outcome
        for disk in disks {
            do throws(Errno) { try disk.synchronize() } catch {
                result = .failed(.host("write to disk", name: disk.name, error))
            }
        }
        return result
    }

    private func perform(
        _ action: LaunchMachine.Action
    ) throws(LauncherError) -> LaunchMachine.Event {
        switch action {
        case .mapMemory:
            memory = try engine.makeMemory(mebibytes: plan.mebibytes)
            note(.memory)
            return .memoryMapped
        case .loadImage:
            try load()
            return .imageLoaded
        case .initializeDevice:
            try initialize()
            note(.guest)
            return .deviceInitialized
        case .openSession:
            if session == nil { session = try ConsoleSession() }
            try confine()
            note(.sandbox)
            return .sessionOpened
        case .run: return try runGuest()
        case .serveOutput(let notification): return try serveOutput(notification)
        case .serveInput: return try serveInput()
        case .finish(let outcome): return .left(outcome)
        }
    }

    // MARK: Preparing the guest

    private func load() throws(LauncherError) {
        guard let memory else { throw .defect(state: "memory") }
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
        try checkDisks()
        try engine.admit(loaded.kernel)
        self.loaded = loaded
        note(.unpacking)
        if let report, isFirst { for line in loaded.description { report(line) } }
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
        guard disks.isEmpty && links.isEmpty else { return try renewDisks() }
        for request in plan.devices {
            switch request {
            case .block(let request):
                disks.append(try request.open(beside: disks, notice: remarks.note))
            case .network(let request): links.append(try request.open(beside: links))
            }
        }
        if let report { for link in links { report(link.description) } }
        nameDevices()
    }

    /// A guest must not write over what it is made of: a restart would find something else there.
    private func checkDisks() throws(LauncherError) {
        for disk in disks where !disk.isReadOnly {
            for (status, use) in [(kernelStatus, "the kernel"), (initrdStatus, "the initrd")]
                as [(FileStatus?, Text)]
            {
                guard let status, disk.identity == DiskIdentity(status) else { continue }
                throw .disk(name: disk.name, .inUse(as: use))
            }
            for link in links {
                guard let file = link.file, disk.identity == DiskIdentity(file.identity) else {
                    continue
                }
                throw .disk(name: disk.name, .inUse(as: "a network"))
            }
        }
    }

    private func nameDevices() {
        guard let timeline else { return }
        for (index, disk) in disks.enumerated() { timeline.name(.disk(index), "disk \(disk.name)") }
        for (index, link) in links.enumerated() { timeline.name(.network(index), link.shortName) }
    }

    private func renewDisks() throws(LauncherError) {
        for disk in disks {
            let unfit: UInt64?
            do throws(Errno) { unfit = try disk.renew() } catch {
                throw .host("examine disk", name: disk.name, error)
            }
            guard let unfit else { continue }
            throw .disk(
                name: disk.name,
                unfit < Disk.sectorSize ? .tooSmall(size: unfit) : .tooLarge(size: unfit))
        }
    }

    private func initialize() throws(LauncherError) {
        guard let memory, let loaded else { throw .defect(state: "loaded") }
        let (kernel, layout) = (loaded.kernel, loaded.layout)
        var page = DevicePage(at: layout.descriptorPage)
        let (blocks, networks) = try addDevices(to: &page, in: memory, kernel.abi.dma)
        _ = page.add(.console, in: memory)
        let device = try makeDevice(memory, kernel.abi)
        let request = InitializeRequest(
            pageLimit: page.end / GuestLayout.pageSize,
            pageDirectory: layout.pageDirectory, start: kernel.entry,
            pageOffset: kernel.pageOffset)
        let count: Int
        do throws(Errno) { count = try device.initialize(request) } catch {
            throw .device("make a guest", error)
        }
        guard count == kernel.abi.initializeCount else { throw .otherDevice(era: kernel.era) }
        guest = DeviceBus(
            device, memory: memory, console: Console(memory: memory, layout: kernel.abi.dma),
            blocks: blocks, networks: networks)
    }

    /// Puts the devices on the page in the order in which they were asked for.
    private func addDevices(
        to page: inout DevicePage, in memory: GuestMemory, _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> ([BlockDevice], [NetworkDevice]) {
        var blocks: [BlockDevice] = []
        var networks: [NetworkDevice] = []
        var (disk, link) = (0, 0)
        for request in plan.devices {
            if case .block = request {
                let block = BlockDevice(disks[disk], on: &page, in: memory, layout: layout)
                if let block { blocks.append(block) }
                disk += 1
                continue
            }
            switch links[link] {
            case .tap(let tap, let address):
                let network = NetworkDevice(
                    tap, address: address, on: &page, in: memory, layout: layout)
                if let network { networks.append(network) }
            case .shared(let file):
                do throws(Errno) {
                    try NetworkPage.share(
                        file.descriptor, slot: file.slot, identity: file.identity, on: &page,
                        in: memory)
                } catch { throw .host("map network file", name: file.name, error) }
            }
            link += 1
        }
        return (blocks, networks)
    }

    // MARK: The sandbox

    /// Everything is open, and no instruction of the guest's has run yet.
    private func confine() throws(LauncherError) {
        guard sandbox != .off && !isConfined else { return }
        isConfined = true
        if !restarts {
            kernelFile = nil
            initrdFile = nil
        }
        let plan = sandboxPlan()
        Sandbox.closeOthers(plan.descriptors)
        for link in links { try link.file?.keepSlot() }
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

    private func sandboxPlan() -> SandboxPlan {
        var have = LaunchDescriptors()
        have.signals = session?.signalDescriptor ?? -1
        have.input = session?.inputDescriptor ?? 0
        have.output = session?.outputDescriptor ?? 1
        have.errors = messages
        if let number = kernelFile?.number { have.files.append(number) }
        if let number = initrdFile?.number { have.files.append(number) }
        have.disks = disks.map { $0.descriptor }
        have.writableDisks = disks.filter { !$0.isReadOnly }.map { $0.descriptor }
        for link in links {
            if link.file == nil {
                have.taps.append(link.descriptor)
            } else {
                have.networks.append(link.descriptor)
            }
        }
        have.host = guest?.device.descriptors ?? []
        have.timeline = timelineFile
        var features: [LaunchFeature] = [.always]
        if session?.hasTerminal ?? false { features.append(.terminal) }
        if session?.hasOutputTerminal ?? false || Terminal.isTerminal(2) {
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
        return disks.reduce(least) { $1.isFile && !$1.isReadOnly ? max($0, $1.size) : $0 }
    }

    // MARK: Serving the guest

    /// What every state from `running` on has.
    private func running() throws(LauncherError) -> (DeviceBus, ConsoleSession) {
        guard let guest, let session else { throw .defect(state: "running") }
        return (guest, session)
    }

    private func runGuest() throws(LauncherError) -> LaunchMachine.Event {
        let (guest, session) = try running()
        try lookAtFiles(guest.memory)
        watch(session, guest)
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
    private func lookAtFiles(_ memory: GuestMemory) throws(LauncherError) {
        guard let (first, last) = FileFaults.take() else { return }
        for address in [first, last] {
            let place = UInt32(truncatingIfNeeded: address &- memory.address)
            if let page = memory.sharedPage(of: place) {
                for case .shared(let file) in links where file.descriptor == page.descriptor {
                    remarks.note(
                        "the guest's network is gone: file \(quoted: file.name) has become shorter")
                }
            } else if let initrd = plan.initrd, place >= loaded?.layout.initrd ?? .max {
                throw .fileCut(name: initrd)
            } else {
                throw .fileCut(name: plan.kernel)
            }
        }
    }

    private func watch(_ session: ConsoleSession, _ guest: DeviceBus) {
        let (isInput, networks) = (session.isReadingInput, guest.watchedNetworks)
        guard isInput != isInputWatched || networks != watchedNetworks else { return }
        (isInputWatched, watchedNetworks) = (isInput, networks)
        let descriptors = session.watched + guest.watched
        attention = PollSet(descriptors.map { Poll.Interest($0) })
        guest.device.watch(descriptors)
    }

    private func serveOutput(
        _ notification: DMANotification
    ) throws(LauncherError) -> LaunchMachine.Event {
        let (guest, session) = try running()
        let address = notification.record
        switch guest.target(notification.key) {
        case .console:
            guard let record = guest.console.output(at: address) else {
                warn("the guest sent a DMA record that points outside its memory")
                break
            }
            if let outcome = try session.write(record.sections, of: guest.memory) {
                return .left(outcome)
            }
            guest.console.wrote(record.count, of: record)
            if record.count > 0 { note(.output) }
        case .block(let index):
            note(.disk(index))
            if let trouble = guest.blocks[index].serve(address, on: guest.device) {
                tell(trouble, of: index)
            }
        case .network(let index):
            if !guest.networks[index].send(address) {
                warn("the guest sent a DMA record that points outside its memory")
            }
        case nil:
            warn("the guest sent to DMA key \(hex: notification.key.rawValue), where no device is")
        }
        if let outcome = try session.guestRan(guest) { return .left(outcome) }
        try serveNetworks(nil)
        noteUses(guest)
        return .outputServed
    }

    private func serveInput() throws(LauncherError) -> LaunchMachine.Event {
        let (guest, session) = try running()
        do throws(Errno) { try attention.look() } catch {
            throw .system("look at the guest's input", error)
        }
        if let outcome = try session.serve(guest, attention) { return .left(outcome) }
        try serveNetworks(attention)
        noteUses(guest)
        return .inputServed
    }

    /// What a guest uses without a request to us.
    private func noteUses(_ guest: DeviceBus) {
        guard timeline != nil else { return }
        if guest.hasTakenInput { note(.input) }
        var tap = 0
        for (index, link) in links.enumerated() {
            switch link {
            case .tap:
                if guest.networks[tap].isUsed { note(.network(index)) }
                tap += 1
            case .shared(let file):
                if guest.device.hasUsed(shared: file.descriptor) { note(.network(index)) }
            }
        }
    }

    /// - Parameter ready: says which taps have a frame; nil after the guest sent something.
    private func serveNetworks(_ ready: PollSet?) throws(LauncherError) {
        let (guest, session) = try running()
        guard !guest.networks.isEmpty else { return }
        let next = guest.serveNetworks(alarm: session.takeAlarm(), ready)
        for network in guest.networks {
            guard let errno = network.takeFailure() else { continue }
            remarks.note(
                "the guest's network is gone: tap \(quoted: network.tap.name.text): \(errno)")
        }
        if let next { try session.setAlarm(next) }
    }

    private func tell(_ trouble: BlockDevice.Trouble, of disk: Int) {
        guard !told.contains(where: { $0.disk == disk && $0.trouble == trouble }) else { return }
        told.append((disk, trouble))
        remarks.note(
            "the guest cannot \(trouble.action) disk \(quoted: disks[disk].name): \(trouble.failure.text)"
        )
    }

    /// Once: a guest must not be able to fill somebody's log.
    private func warn(_ text: Text) {
        if !isWarned { report?(text) }
        isWarned = true
    }
}

extension DeviceBus: ConsoleGuest {}
