// The launcher, as far as it is the same for guests of every kind: files, devices, console and sandbox, and one guest after
// the other. What a guest is made of and how it is served is its subclass's: LguestLauncher.swift, PCLauncher.swift. A restart
// begins again from nothing: fresh memory, the image read anew. It opens nothing, though: files, disks and
// networks are kept from the first launch on, because from then on this is a sandbox.

/// What to start.
struct LaunchPlan {
    var kernel = Text()
    /// The guest's memory in MiB.
    var mebibytes = GuestLayout.defaultMebibytes
    /// False for the default.
    var isMemoryGiven = false
    var initrd: Text?
    /// The kernel's own arguments.
    var arguments: [Text] = []
    var console = PCConsole.serial
    /// The guest has random numbers even if it has to wait for them.
    var wantsNumbers = false
    /// In the order of their slots; the console comes after them.
    var devices: [any DeviceSetup] = []

    /// Looks at what can be known of it before anything is opened.
    func check() throws(LauncherError) {
        // What it is for, the kernel tells.
        let most = max(GuestLayout.mostMebibytes, PCLayout.mostMebibytes(isWide: true))
        if mebibytes < GuestLayout.leastMebibytes || mebibytes > most {
            throw .loader(
                mebibytes > most
                    ? .memoryTooLarge(mebibytes: mebibytes, most: most)
                    : .memoryTooSmall(
                        mebibytes: mebibytes, least: GuestLayout.leastMebibytes))
        }
        try checkDevices()
    }

    fileprivate func checkDevices() throws(LauncherError) {
        let most = DevicePage.slots - 1
        guard devices.count <= most else {
            throw .tooManyDevices(count: devices.count, most: most)
        }
    }
}

/// Kernel and initrd: opened once, for all launches, also where another engine follows one that takes no such kernel.
final class LaunchFiles {
    var kernel: Descriptor?
    var initrd: Descriptor?
    let inside = UnpackedImage()

    /// - Returns: its descriptor, which stays open until all are closed.
    func openKernel(_ name: Text) throws(LoaderError) -> Int32 { try Self.open(name, &kernel) }
    func openInitrd(_ name: Text) throws(LoaderError) -> Int32 { try Self.open(name, &initrd) }

    private static func open(_ name: Text, _ file: inout Descriptor?) throws(LoaderError) -> Int32 {
        if let number = file?.number { return number }
        let opened = try FileSource.open(name, .readOnly, "open")
        let number = opened.number
        file = .some(opened)
        return number
    }

    /// Nothing starts from them any more.
    func close() {
        kernel = nil
        initrd = nil
    }
}

/// Where a launch reports to, and what it may do: the same for guests of every kind.
struct LaunchSurroundings {
    /// Takes a line about what is done; nil without --verbose.
    let report: ((Text) -> Void)?
    /// Takes a line that a person should read in any case.
    let notice: (Text) -> Void
    /// None by itself: it is for good, and takes the whole process.
    var sandbox = SandboxChoice.off
    /// What the lines of `notice` are written to.
    var messages: Int32 = 2
    /// Gets the moments of events; nil without --timeline.
    var timeline: Timeline?
    /// The timeline's file, which its owner writes; -1 without one.
    var timelineFile: Int32 = -1
    var files = LaunchFiles()
}

/// What only the first launch does, in front of the sandbox: calls that this does not let through, and lines that are told once.
struct LaunchPreparation {
    /// As that of the surroundings.
    let report: ((Text) -> Void)?

    func tell(_ lines: [Text]) {
        if let report { for line in lines { report(line) } }
    }

    /// Disks have an assistant, which is forked.
    func excludeFromFork(_ memory: GuestMemory) { try? memory.excludeFromFork() }

    /// - Returns: open devices, in the order in which they were asked for.
    func open(
        _ setups: [any DeviceSetup], notice: (Text) -> Void
    ) throws(LauncherError) -> [any OpenDevice] {
        var devices: [any OpenDevice] = []
        for setup in setups {
            devices.append(try setup.open(beside: devices.map { $0.claim }, notice: notice))
        }
        tell(devices.compactMap { $0.description })
        return devices
    }
}

/// Launches guests by one plan, one after the other.
class Launcher {
    let plan: LaunchPlan
    private let surroundings: LaunchSurroundings
    let remarks: Remarks
    let notes: LaunchNotes
    /// Gone from the sandbox on, so that a restart, which is inside, reaches nothing of it.
    private(set) var preparation: LaunchPreparation?
    /// From the first guest's first instruction on, through restarts.
    private var session: ConsoleSession?
    private var loop: EventLoop?
    var timeline: Timeline? { surroundings.timeline }
    var report: ((Text) -> Void)? { surroundings.report }

    var files: LaunchFiles { surroundings.files }
    var kernelStatus: FileStatus?
    var initrdStatus: FileStatus?
    /// Asked before the sandbox.
    private var kernelMedium: Medium?
    private var initrdMedium: Medium?
    private var restarts = true

    /// For the guests' devices.
    let numbers = RandomBytes()
    /// Last through restarts, in the order in which they were asked for.
    private(set) var devices: [any OpenDevice] = []
    /// One for all of them that need one.
    private var assistant: Assistant?
    /// Processes can be started at any time. Where calls are filtered, that is before the sandbox only.
    var startsProcesses: Bool { false }

    init(_ plan: LaunchPlan, _ surroundings: LaunchSurroundings) {
        self.plan = plan
        self.surroundings = surroundings
        preparation = LaunchPreparation(report: surroundings.report)
        remarks = Remarks(surroundings.notice)
        notes = LaunchNotes(report: surroundings.report, remarks: remarks)
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
        assistant = nil
        // Where a guest has run, no other engine follows.
        if preparation == nil || !outcome.isForAnotherEngine { files.close() }
        return outcome
    }

    func note(_ phase: Timeline.Phase) { timeline?.note(phase, at: Clock.monotonic()) }

    private func noteEnd(_ outcome: LaunchOutcome) {
        // Another engine may follow.
        if outcome.isForAnotherEngine { return }
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

    /// Makes one guest and stays with it.
    func launch() -> LaunchOutcome { .failed(.defect(state: "no kind of guest")) }

    /// What is left to do when a guest is gone.
    /// - Returns: its outcome, or that the guest's data could not be kept.
    private func release(_ outcome: LaunchOutcome) -> LaunchOutcome {
        for device in devices { device.leave() }
        // Told to end, it ends, and waits for no disk. Nothing is lost with this process; what was written is the
        // kernel's, and goes to the disk without us.
        switch outcome {
        case .signal, .escaped: return outcome
        default: break
        }
        var result = outcome
        for device in devices {
            do throws(LauncherError) { try device.finish() } catch { result = .failed(error) }
            if let outcome = loop?.outcome { return outcome }
        }
        return result
    }

    /// - Parameter passesReturns: what Enter is for the guest; one that speaks lguest gets a newline, as of old.
    func openSession(
        passesReturns: Bool = false
    ) throws(LauncherError) -> (EventLoop, ConsoleSession) {
        if let loop, let session { return (loop, session) }
        let loop = try EventLoop()
        let session = try ConsoleSession(loop, passesReturns: passesReturns)
        session.remark = remarks.note
        self.loop = loop
        self.session = session
        for device in devices { device.attend(loop.descriptor) { session.wait(for: $0) } }
        return (loop, session)
    }

    // MARK: Preparing the guest

    /// Opens the kernel, or looks at it again.
    /// - Returns: its descriptor, which stays open.
    func openKernel() throws(LauncherError) -> Int32 {
        let number = try loading { () throws(LoaderError) in try files.openKernel(plan.kernel) }
        let status = try status(number, plan.kernel, kernelStatus)
        if kernelMedium == nil { kernelMedium = Medium(status, at: number) }
        kernelStatus = status
        return number
    }

    /// The same for the initrd, if there is to be one.
    func openInitrd() throws(LauncherError) -> NamedFile? {
        guard let name = plan.initrd else { return nil }
        let number = try loading { () throws(LoaderError) in try files.openInitrd(name) }
        let status = try status(number, name, initrdStatus)
        if initrdMedium == nil { initrdMedium = Medium(status, at: number) }
        initrdStatus = status
        return NamedFile(name: name, descriptor: number, status: status)
    }

    /// What the kernel says of a file; for a restart only its size is asked again.
    func status(
        _ number: Int32, _ name: Text, _ known: FileStatus?
    ) throws(LauncherError) -> FileStatus {
        do throws(Errno) {
            if let known { return try known.renewed(number) }
            return try FileStatus.of(number)
        } catch { throw .host("read", name: name, error) }
    }

    func openDevices() throws(LauncherError) {
        try plan.checkDevices()
        guard let preparation else {
            for device in devices { try device.renew() }
            return
        }
        devices = try preparation.open(plan.devices, notice: remarks.note)
        startAssistant()
        for (index, device) in devices.enumerated() {
            timeline?.name(.device(index), device.name)
        }
    }

    private func startAssistant() {
        let written = devices.compactMap { $0.written }
        if !written.isEmpty && !startsProcesses {
            do throws(Errno) {
                assistant = try Assistant(synchronizing: written, by: .synchronizeData)
            } catch {
                // We can do without, as a container may have to.
                report?("cannot start a process: \(error): signals wait for the disk")
                return
            }
        }
        var question: UInt8 = 0
        for device in devices where device.written != nil {
            device.use(assistant, question)
            question &+= 1
        }
    }

    func checkDevices() throws(LauncherError) {
        var files: [DeviceClaim] = []
        if let kernelMedium {
            files.append(DeviceClaim(use: "the kernel", name: plan.kernel, file: kernelMedium))
        }
        if let initrdMedium, let initrd = plan.initrd {
            files.append(DeviceClaim(use: "the initrd", name: initrd, file: initrdMedium))
        }
        for (index, device) in devices.enumerated() {
            let others = devices.indices.filter { $0 != index }.map { devices[$0].claim }
            try device.check(beside: files + others)
        }
    }

    // MARK: The sandbox

    /// Everything is open, and no instruction of the guest's has run yet. That is so once: a restart is inside already.
    /// - Parameter host: what the guest's host keeps, and whether it can do with filtered calls.
    func confine(
        _ host: HostNeeds, _ loop: EventLoop, _ session: ConsoleSession
    ) throws(LauncherError) {
        guard preparation != nil else { return }
        preparation = nil
        if surroundings.sandbox == .off { return }
        if !restarts { files.close() }
        let plan = sandboxPlan(host, loop, session)
        Sandbox.closeOthers(plan.descriptors)
        for device in devices { try device.keep() }
        let outcome = Sandbox.enter(plan)
        guard let calls = outcome.calls else {
            if surroundings.sandbox == .required { throw .noFilter(outcome.failure) }
            let line: Text =
                "\(LauncherError.noFilterText(outcome.failure)); the guest runs without a filter"
            // With the kernel's device that is so by itself.
            if outcome.failure == nil { report?(line) } else { remarks.note(line) }
            return
        }
        report?("sandbox: \(calls) system calls\(outcome.hasLeftRoot ? ", no longer root" : "")")
    }

    private func sandboxPlan(
        _ host: HostNeeds, _ loop: EventLoop, _ session: ConsoleSession
    ) -> SandboxPlan {
        var have = LaunchDescriptors()
        have.signals = loop.descriptor
        have.input = session.inputDescriptor
        have.output = session.outputDescriptor
        have.errors = surroundings.messages
        if let number = files.kernel?.number { have.files.append(number) }
        if let number = files.initrd?.number { have.files.append(number) }
        for device in devices { device.describe(to: &have) }
        have.assistants = assistant?.descriptors ?? []
        have.host = host.descriptors
        have.processor = host.processor
        have.timeline = surroundings.timelineFile
        have.numbers = numbers.descriptor ?? -1
        have.features.append(.always)
        if session.hasTerminal { have.features.append(.terminal) }
        if session.hasOutputTerminal || Terminal.isTerminal(2) {
            have.features.append(.outputTerminal)
        }
        if restarts { have.features.append(.restart) }
        if surroundings.timelineFile >= 0 { have.features.append(.timeline) }
        if host.drawsNumbers || host.isPC { have.features.append(.randomNumbers) }
        if have.processor != nil { have.features.append(restarts ? .kvmRestart : .kvm) }
        var plan = SandboxPlan(have.features, have)
        if !host.isFiltered {
            // A restart opens the device anew, its waker's thread makes calls of its own, and there is no table of them.
            // It opens three descriptors, an assistant's start five.
            plan.rules = nil
            plan.keepsUser = true
            plan.moreDescriptors = 5
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
        let least = surroundings.timelineFile < 0 ? 0 : UInt64(Timeline.most)
        return devices.reduce(least) { max($0, $1.mostWritten) }
    }

    // MARK: Serving the guest

    /// Looks whether a file that lies in guest memory was cut short under the guest. Without its kernel or
    /// initrd it cannot go on; without a network it can.
    /// - Parameter initrd: where that begins.
    func lookAtFiles(_ memory: GuestMemory, initrd start: UInt32) throws(LauncherError) {
        guard let (first, last) = FileFaults.take() else { return }
        for address in [first, last] {
            let place = UInt32(truncatingIfNeeded: address &- memory.address)
            let page = memory.sharedPage(of: place)
            var isDevices = page != nil
            for device in devices {
                guard let loss = device.loss(of: page?.descriptor, at: address) else { continue }
                remarks.note(loss)
                isDevices = true
            }
            if isDevices { continue }
            if let initrd = plan.initrd, place >= start {
                throw .fileCut(name: initrd)
            } else {
                throw .fileCut(name: plan.kernel)
            }
        }
    }

    /// What a guest uses, perhaps for the first time.
    func note(_ uses: [Timeline.Use]) {
        guard let timeline else { return }
        for use in uses where timeline.isNew(use) { timeline.note(use, at: Clock.monotonic()) }
    }

    /// The guest's first instruction is next.
    func noteBeginning() {
        if let timeline, timeline.isBeforeGuest { timeline.begin(at: Clock.monotonic()) }
    }
}

/// What a guest's host needs inside the sandbox.
struct HostNeeds {
    var descriptors: [Int32] = []
    /// A processor of /dev/kvm.
    var processor: KvmDescriptors?
    /// A PC's devices have calls of their own.
    var isPC = false
    /// One of the guest's devices has random numbers.
    var drawsNumbers = false
    /// False for a host whose calls cannot be told before.
    var isFiltered = true
}

extension LaunchOutcome {
    /// True where an engine takes no such kernel, which it finds out before it opens a device.
    var isForAnotherEngine: Bool {
        switch self {
        case .failed(.engine): true
        case .failed(.loader(.image(_, let why))): why.mayBePC
        default: false
        }
    }
}

extension LaunchMachine {
    /// Goes from action to action until the launch has ended.
    static func drive(
        _ perform: (Action) throws(LauncherError) -> Event
    ) -> LaunchOutcome {
        var machine = Self()
        var action = Self.beginning
        while true {
            if case .finish(let outcome) = action { return outcome }
            let event: Event
            do throws(LauncherError) { event = try perform(action) } catch {
                event = .failed(error)
            }
            guard let next = machine.handle(event) else {
                return .failed(.defect(state: "\(machine.stateName)"))
            }
            action = next
        }
    }
}
