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

    /// Opens one of its files.
    static func open(_ name: Text) throws(LauncherError) -> Descriptor {
        do throws(Errno) { return try Descriptor.open(name, .readOnly) } catch {
            throw .host("open", name: name, error)
        }
    }
}

/// Launches guests by one plan, one after the other.
final class Launcher<Device: LguestDevice> {
    /// Makes the device for a guest in this memory that speaks this.
    typealias MakeDevice = (GuestMemory, GuestABI) throws(LauncherError) -> Device

    private let plan: LaunchPlan
    private let makeDevice: MakeDevice
    private let report: ((Text) -> Void)?
    private var session: ConsoleSession?

    // The guest, as far as it is there.
    private var memory: GuestMemory?
    private var loaded: LoadedGuest?
    private var guest: DeviceConsole<Device>?
    private var isWarned = false

    /// - Parameters:
    ///   - report: takes a line of what is done, if somebody wants to know.
    ///   - makeDevice: called once for each launch.
    init(_ plan: LaunchPlan, report: ((Text) -> Void)?, makeDevice: @escaping MakeDevice) {
        self.plan = plan
        self.report = report
        self.makeDevice = makeDevice
    }

    /// Launches the guest and stays with it to its end.
    /// - Parameter restarts: true to begin again when the guest asks for it.
    func run(restarts: Bool) -> LaunchOutcome {
        while true {
            let outcome = launch()
            release()
            if outcome == .restart && restarts {
                report?("the guest restarts")
                continue
            }
            session?.close()
            session = nil
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

    private func release() {
        guest?.device.close()
        guest = nil
        loaded = nil
        memory = nil
    }

    private func perform(
        _ action: LaunchMachine.Action
    ) throws(LauncherError) -> LaunchMachine.Event {
        switch action {
        case .mapMemory:
            memory = try GuestLayout.makeMemory(mebibytes: plan.mebibytes)
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
        self.loaded = loaded
        if let report { for line in loaded.description { report(line) } }
    }

    private func initialize() throws(LauncherError) {
        guard let memory, let loaded else { return }
        let (kernel, layout) = (loaded.kernel, loaded.layout)
        var page = DevicePage(at: layout.descriptorPage)
        _ = page.add(.console, in: memory)
        let device = try makeDevice(memory, kernel.abi)
        let request = InitializeRequest(
            pageLimit: (layout.memory + GuestLayout.pageSize) / GuestLayout.pageSize,
            pageDirectory: layout.pageDirectory, start: kernel.entry,
            pageOffset: kernel.pageOffset)
        let count: Int
        do throws(Errno) { count = try device.initialize(request) } catch {
            throw .device("make a guest", error)
        }
        guard count == kernel.abi.initializeCount else { throw .otherDevice(era: kernel.era) }
        guest = DeviceConsole(
            device: device, console: Console(memory: memory, layout: kernel.abi.dma))
    }

    // MARK: Serving the guest

    private func runGuest() throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session else { return .restart }
        guest.device.watch(session.watched)
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

    private func serveOutput(
        _ address: UInt32, _ key: UInt32
    ) throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session, let memory else { return .outputServed }
        guard key == Console.key, let record = guest.console.output(at: address) else {
            // Nothing hears it, and it does no harm.
            warn(
                key == Console.key
                    ? "the guest sent a DMA record that points outside its memory"
                    : "the guest sent to DMA key \(hex: key), where no device is")
            return .outputServed
        }
        if let outcome = try session.write(record.sections, of: memory) { return .left(outcome) }
        guest.console.wrote(record.count, of: record)
        if let outcome = try session.guestRan(guest) { return .left(outcome) }
        return .outputServed
    }

    private func serveInput() throws(LauncherError) -> LaunchMachine.Event {
        guard let guest, let session else { return .inputServed }
        if let outcome = try session.serve(guest) { return .left(outcome) }
        return .inputServed
    }

    /// Once for each launch: a guest must not be able to fill somebody's log.
    private func warn(_ text: Text) {
        if !isWarned { report?(text) }
        isWarned = true
    }
}

/// The console of a guest together with the device that finds its buffers.
final class DeviceConsole<Device: LguestDevice>: ConsoleGuest {
    let device: Device
    var console: Console

    init(device: Device, console: Console) {
        self.device = device
        self.console = console
    }

    func borrow() -> Console.Loan? {
        guard console.canTakeInput else { return nil }
        // No buffer, or the guest is dead: the next run tells which.
        guard let address = try? device.dmaBuffer(Console.key) else { return nil }
        return console.borrow(address)
    }

    func fill(_ loan: Console.Loan, with bytes: ArraySlice<UInt8>) -> Int {
        let (count, line) = console.fill(loan, with: bytes)
        if count > 0 { try? device.interrupt(line) }
        return count
    }
}

extension KernelDevice {
    /// True if the kernel has the device, which only a 32-bit one can, and lets us open it.
    static var isUsable: Bool {
        #if arch(i386)
        do throws(Errno) {
            _ = try Descriptor.open(path, .readWrite)
            return true
        } catch { return false }
        #else
        false
        #endif
    }
}
