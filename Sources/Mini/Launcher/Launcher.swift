// The launcher: performs what the launch machine says, on a guest behind the lguest contract.
// It does not know whether the kernel or the built-in host runs the guest. A restart begins
// again from nothing: fresh memory, the image read anew.
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

    /// Opens one of its files.
    static func open(_ name: Text) throws(LauncherError) -> Descriptor {
        try FileSource.open(name, .readOnly, "open")
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
    private let notice: (Text) -> Void
    private var session: ConsoleSession?

    // The guest, as far as it is there.
    private var memory: GuestMemory?
    private var loaded: LoadedGuest?
    private var disks: [Disk] = []
    /// What the networks lead to; they last through restarts.
    private var links: [NetworkLink] = []
    private var guest: DeviceBus?
    /// What ends a run of the guest, and which of it has come; made anew when it changes.
    private var attention = PollSet()
    private var isInputWatched: Bool?
    private var watchedNetworks: UInt32 = 0
    private var isWarned = false
    /// What was said of which disk: each trouble once, however often a guest has it.
    private var told: [(disk: Int, trouble: BlockDevice.Trouble)] = []

    /// - Parameters:
    ///   - report: takes a line of what is done, if somebody wants to know.
    ///   - notice: takes a line that a person should read in any case.
    ///   - engine: what the guest's host needs to be prepared for it.
    ///   - makeDevice: called once for each launch.
    init(
        _ plan: LaunchPlan, report: ((Text) -> Void)?, notice: @escaping (Text) -> Void,
        engine: Engine = .builtIn, makeDevice: @escaping MakeDevice
    ) {
        self.plan = plan
        self.report = report
        self.notice = notice
        self.engine = engine
        self.makeDevice = makeDevice
    }

    /// Launches the guest and stays with it to its end.
    /// - Parameter restarts: true to begin again when the guest asks for it.
    func run(restarts: Bool) -> LaunchOutcome {
        while true {
            let launched = launch()
            let outcome = release(launched)
            if outcome == .restart && restarts {
                report?("the guest restarts")
                continue
            }
            session?.close()
            session = nil
            links = []
            return outcome
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
            action =
                machine.handle(event)
                ?? machine.handle(.failed(.system("run the guest", .inputOutput)))
                ?? .finish(.died("the launcher lost its way"))
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
        var result = outcome
        for disk in disks {
            do throws(Errno) { try disk.synchronize() } catch {
                result = .failed(.host("write to disk", name: disk.name, error))
            }
        }
        disks = []
        told = []
        return result
    }

    private func perform(
        _ action: LaunchMachine.Action
    ) throws(LauncherError) -> LaunchMachine.Event {
        switch action {
        case .mapMemory:
            memory = try engine.makeMemory(mebibytes: plan.mebibytes)
            return .memoryMapped
        case .loadImage:
            try load()
            return .imageLoaded
        case .initializeDevice:
            try initialize()
            return .deviceInitialized
        case .openSession:
            if session == nil { session = try ConsoleSession() }
            return .sessionOpened
        case .run: return try runGuest()
        case .serveOutput(let buffer, let key): return try serveOutput(buffer, key)
        case .serveInput: return try serveInput()
        case .finish(let outcome): return .left(outcome)
        }
    }

    // MARK: Preparing the guest

    private func load() throws(LauncherError) {
        guard let memory else { return }
        let commandLine = try CommandLine(plan.arguments)
        try openDevices()
        let file = try LaunchPlan.open(plan.kernel)
        let kernel = try KernelImage.examine(file.number, name: plan.kernel)
        let loaded: LoadedGuest
        if let name = plan.initrd {
            let initrd = try LaunchPlan.open(name)
            loaded = try GuestLoader.load(
                kernel, into: memory, mebibytes: plan.mebibytes,
                initrd: NamedFile(name: name, descriptor: initrd.number),
                commandLine: commandLine)
        } else {
            loaded = try GuestLoader.load(
                kernel, into: memory, mebibytes: plan.mebibytes, commandLine: commandLine)
        }
        try engine.admit(loaded.kernel)
        self.loaded = loaded
        if let report { for line in loaded.description { report(line) } }
    }

    private func openDevices() throws(LauncherError) {
        let most = DevicePage.slots - 1
        guard plan.devices.count <= most else {
            throw .tooManyDevices(count: plan.devices.count, most: most)
        }
        let isFirst = links.isEmpty
        for request in plan.devices {
            switch request {
            case .block(let request): disks.append(try request.open(beside: disks, notice: notice))
            case .network(let request): if isFirst { links.append(try request.open(beside: links)) }
            }
        }
        if let report, isFirst { for link in links { report(link.description) } }
    }

    private func initialize() throws(LauncherError) {
        guard let memory, let loaded else { return }
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
                    try NetworkPage.share(file.descriptor, slot: file.slot, on: &page, in: memory)
                } catch { throw .host("map network file", name: file.name, error) }
            }
            link += 1
        }
        return (blocks, networks)
    }

    // MARK: Serving the guest

    private func runGuest() throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session else { return .restart }
        watch(session, guest)
        do throws(Errno) {
            switch try guest.device.run() {
            case .dma(let buffer, let key): return .notified(buffer: buffer, key: key)
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

    private func watch(_ session: ConsoleSession, _ guest: DeviceBus) {
        let (isInput, networks) = (session.isReadingInput, guest.watchedNetworks)
        guard isInput != isInputWatched || networks != watchedNetworks else { return }
        (isInputWatched, watchedNetworks) = (isInput, networks)
        let descriptors = session.watched + guest.watched
        attention = PollSet(descriptors.map { Poll.Interest($0) })
        guest.device.watch(descriptors)
    }

    private func serveOutput(
        _ address: UInt32, _ key: UInt32
    ) throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session else { return .outputServed }
        switch guest.target(key) {
        case .console:
            guard let record = guest.console.output(at: address) else {
                warn("the guest sent a DMA record that points outside its memory")
                break
            }
            if let outcome = try session.write(record.sections, of: guest.memory) {
                return .left(outcome)
            }
            guest.console.wrote(record.count, of: record)
        case .block(let index):
            if let trouble = guest.blocks[index].serve(address, on: guest.device) {
                tell(trouble, of: index)
            }
        case .network(let index):
            if !guest.networks[index].send(address) {
                warn("the guest sent a DMA record that points outside its memory")
            }
        case nil: warn("the guest sent to DMA key \(hex: key), where no device is")
        }
        if let outcome = try session.guestRan(guest) { return .left(outcome) }
        try serveNetworks(nil)
        return .outputServed
    }

    private func serveInput() throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session else { return .inputServed }
        do throws(Errno) { try attention.look() } catch {
            throw .system("look at the guest's input", error)
        }
        if let outcome = try session.serve(guest, attention) { return .left(outcome) }
        try serveNetworks(attention)
        return .inputServed
    }

    /// - Parameter ready: says which taps have a frame; nil after the guest sent something.
    private func serveNetworks(_ ready: PollSet?) throws(LauncherError) {
        guard let guest, let session, !guest.networks.isEmpty else { return }
        let next = guest.serveNetworks(alarm: session.takeAlarm(), ready)
        for network in guest.networks {
            guard let errno = network.takeFailure() else { continue }
            notice("the guest's network is gone: tap \(quoted: network.tap.name.text): \(errno)")
        }
        if let next { try session.setAlarm(next) }
    }

    private func tell(_ trouble: BlockDevice.Trouble, of disk: Int) {
        guard !told.contains(where: { $0.disk == disk && $0.trouble == trouble }) else { return }
        told.append((disk, trouble))
        notice(
            "the guest cannot \(trouble.action) disk \(quoted: disks[disk].name): \(trouble.failure.text)"
        )
    }

    /// Once for each launch: a guest must not be able to fill somebody's log.
    private func warn(_ text: Text) {
        if !isWarned { report?(text) }
        isWarned = true
    }
}

extension DeviceBus: ConsoleGuest {}
