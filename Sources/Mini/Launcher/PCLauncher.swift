// Launches kernels that are started as a PC's: performs what the launch machine says, on a PC (Platform/) that runs on
// /dev/kvm or on the software processor.
// Source: docs/abi/pc.md.

/// Launches kernels on a PC.
final class PCLauncher: Launcher {
    private typealias Machine = LaunchMachine<PCMemory, LoadedPC, MadePC, RunningPC>

    /// Memory, and what is to be laid into it.
    private final class PCMemory {
        let memory: GuestMemory
        let kernel: StockImage
        let demand: PCLoader.Demand
        let initrd: NamedFile?

        init(
            memory: GuestMemory, kernel: StockImage, demand: PCLoader.Demand, initrd: NamedFile?
        ) {
            self.memory = memory
            self.kernel = kernel
            self.demand = demand
            self.initrd = initrd
        }
    }

    private let engine: PCEngine
    private let defaults: Bool
    /// What the kernel is told beside `defaultWords`.
    private var arguments: [Text] = []
    /// Lasts through restarts: opened before the sandbox.
    private var kvm: KvmVirtualMachine?
    /// Kept once /dev/kvm could not be used: inside the sandbox it cannot be opened again.
    private var isInSoftware: Bool
    /// With --verbose: says what guests asked for and did not get.
    private let missingNotes: Remarks?

    /// - Parameter defaults: whether words of ours go in front of the user's on the kernel's command line.
    init(
        _ plan: LaunchPlan, _ surroundings: LaunchSurroundings, on engine: PCEngine, defaults: Bool
    ) {
        self.engine = engine
        isInSoftware = engine == .software
        missingNotes = surroundings.report.map { Remarks($0) }
        self.defaults = defaults
        super.init(plan, surroundings)
    }

    override func launch() -> LaunchOutcome {
        Machine.drive { (action) throws(LauncherError) in try perform(action) }
    }

    private func perform(_ action: Machine.Action) throws(LauncherError) -> Machine.Event {
        switch action {
        case .mapMemory:
            let memory = try mapMemory()
            note(.memory)
            return .memoryMapped(memory)
        case .loadImage(let memory):
            let loaded = try load(memory)
            note(.unpacking)
            return .imageLoaded(loaded)
        case .initializeDevice(let loaded):
            let made = try make(loaded)
            note(.guest)
            return .deviceInitialized(made)
        case .openSession(let made):
            let (loop, session) = try openSession(passesReturns: true)
            let signs = signs(of: made.loaded)
            try confine(
                HostNeeds(processor: kvm?.descriptors, isPC: true), loop, session)
            note(.sandbox)
            return .sessionOpened(RunningPC(made, session, loop, signs))
        case .run(let guest):
            try lookAtFiles(guest.made.loaded.memory, initrd: guest.made.loaded.layout.initrd)
            noteBeginning()
            return try run(guest)
        case .serveInput(let guest):
            try guest.serve()
            if let outcome = guest.loop.outcome { return .left(outcome) }
            note(guest.uses)
            return .inputServed
        case .finish(let outcome): return .left(outcome)
        }
    }

    // MARK: Preparing the guest

    private func mapMemory() throws(LauncherError) -> PCMemory {
        for setup in plan.devices { setup.prepareForPC() }
        try openDevices()
        note(.devices)
        let file = try openKernel()
        let image = try loading { () throws(LoaderError) in
            try StockImage(
                file, name: plan.kernel, status: kernelStatus, inside: files.inside)
        }
        if FileFaults.take() != nil { throw .fileCut(name: plan.kernel) }
        note(.image)
        let initrd = try openInitrd()
        if let initrd, image.kernel.unified?.initrd != nil {
            remarks.note(
                "\(quoted: initrd.name) is the initrd, not the one in \(quoted: plan.kernel)")
        }
        return try loading { () throws(LoaderError) in
            let demand = try PCLoader.demand(image.kernel, initrd: initrd)
            let mebibytes = plan.isMemoryGiven ? plan.mebibytes : demand.usualMebibytes
            let extent = try PCLayout.extent(
                mebibytes: mebibytes, isWide: image.kernel.mode != .protected32)
            do throws(Errno) {
                return PCMemory(
                    memory: try GuestMemory(extent), kernel: image,
                    demand: demand, initrd: initrd)
            } catch { throw .guestMemory(mebibytes: mebibytes, error) }
        }
    }

    private func load(_ made: PCMemory) throws(LauncherError) -> LoadedPC {
        let kernel = made.kernel.kernel
        let usual = defaults ? Self.defaultWords(for: kernel.version, on: plan.console) : []
        // Arguments replace those in a unified kernel image as a whole, as systemd's stub has it.
        let own = kernel.unified?.commandLine ?? []
        arguments = plan.arguments.isEmpty ? own : plan.arguments
        let room = PCLoader.commandLineLimit(kernel)
        let words = Self.fitting(usual, before: arguments, room: room)
        let loaded = try loading { () throws(LoaderError) in
            try PCLoader.load(
                kernel, name: plan.kernel, made.kernel.view, into: made.memory,
                demand: made.demand, initrd: made.initrd, screen: plan.console == .screen,
                commandLine: CommandLine.joined(words + arguments))
        }
        if FileFaults.take() != nil { throw .fileCut(name: plan.kernel) }
        try checkDevices()
        preparation?.tell(loaded.description)
        if words.count < usual.count {
            let left = CommandLine.joined(Array(usual[words.count...]))
            remarks.note(
                "\(quoted: plan.kernel) takes a command line of \(room) bytes, and does not get \(left)"
            )
        }
        return loaded
    }

    /// What goes in front of the user's words: the console, no tables of a firmware's, the restart that is seen at once, an end
    /// for a panic; and what spares a kernel work that no guest wants: self-tests of ciphers, a search for ISA cards.
    static func defaultWords(for kernel: LinuxVersion?, on console: PCConsole) -> [Text] {
        // Before 3.1 a panic waits for ever unless there is a time to wait. Kernels take quotes round a word away; scripts of
        // initial file systems that look for it, and reboot instead of opening a shell, do not.
        // Of a word without a value that a kernel does not know init gets an argument: a shell would look for such a file.
        let isOld = kernel.map { !$0.isAtLeast(3, 1) } ?? false
        return console.words + [
            "acpi=off", "reboot=t", isOld ? "panic=1" : "\"panic=-1\"", "cryptomgr.notests=1",
            "noisapnp=1", "tsc=reliable",
        ]
    }

    /// Those of our words for which the kernel has room beside the user's. The console goes last.
    static func fitting(_ words: [Text], before arguments: [Text], room: Int) -> [Text] {
        var words = words
        while !words.isEmpty, CommandLine.joined(words + arguments).bytes.count > room {
            words.removeLast()
        }
        return words
    }

    private func make(_ loaded: LoadedPC) throws(LauncherError) -> MadePC {
        let slots = PCSlots(memory: loaded.memory, kernel: loaded.version)
        var plugged: [any PCDevice] = []
        for (index, device) in devices.enumerated() {
            plugged.append(try device.plug(index, into: slots, notes))
        }
        var console: ConsolePlug?
        if plan.console == .virtio {
            let plug = try ConsolePlug(into: slots, notes)
            console = plug
            plugged.append(plug)
        }
        // Last, so that it changes no other device's place.
        plugged.append(try RandomPlug(numbers, into: slots, notes))
        let platform = PCPlatform(
            memory: loaded.memory, functions: slots.functions.map { $0 as any PCIFunction },
            screen: plan.console == .screen,
            // Kernels before that add ticks that they have missed, by the time stamp.
            tellsAllTicks: loaded.version?.isAtLeast(2, 6, 21) ?? false,
            wallClock: Clock.realTime)
        let processor = try makeProcessor(loaded)
        return MadePC(loaded, PC(processor, platform), devices: plugged, console: console)
    }

    private func makeProcessor(_ loaded: LoadedPC) throws(LauncherError) -> any GuestProcessor {
        if !isInSoftware {
            do throws(KvmError) { return try makeKvmProcessor(loaded) } catch {
                if engine == .kvm { throw .kvm(error) }
                guard PCEngine.softwareRuns(loaded.start.mode) else {
                    throw .needsKvm(name: plan.kernel, error)
                }
                isInSoftware = true
                report?("engine: the software processor (/dev/kvm: \(error.text))")
            }
        } else {
            guard PCEngine.softwareRuns(loaded.start.mode) else {
                throw .needsKvm(name: plan.kernel, nil)
            }
            preparation?.tell(["engine: the software processor"])
        }
        do throws(Errno) {
            #if arch(x86_64) && !MINI_WITHOUT_LONG
            if loaded.start.mode != .protected32 {
                return try LongProcessor(memory: loaded.memory, start: loaded.start)
            }
            #endif
            return try SystemProcessor(memory: loaded.memory, start: loaded.start)
        } catch { throw .system("make the processor", error) }
    }

    private func makeKvmProcessor(_ loaded: LoadedPC) throws(KvmError) -> KvmProcessor {
        let virtualMachine: KvmVirtualMachine
        if let kvm {
            virtualMachine = kvm
        } else {
            virtualMachine = try .probed(loaded.start.mode)
        }
        let processor = try KvmProcessor(
            virtualMachine, memory: loaded.memory, start: loaded.start)
        // A driver that has written there reads the port's status before it goes on: the writes before come with that.
        if kvm == nil { virtualMachine.putOffWrites(to: PCPlatform.serialData) }
        kvm = virtualMachine
        preparation?.tell(["engine: /dev/kvm"])
        return processor
    }

    private func signs(of guest: LoadedPC) -> GuestSigns {
        GuestSigns(
            Silence(
                mebibytes: guest.layout.extent.mebibytes, kernelEnd: guest.kernelEnd,
                initrd: guest.layout.initrdSize, words: arguments,
                console: defaults
                    ? "its kernel may have no serial console; \"--console screen\" shows its screen"
                    : "its kernel may not know of a console; \"console=ttyS0\" names one"
            ), preparation?.report)
    }

    // MARK: Serving the guest

    private func run(_ guest: RunningPC) throws(LauncherError) -> Machine.Event {
        guard let end = try guest.run() else {
            if let outcome = guest.loop.outcome { return .left(outcome) }
            note(guest.uses)
            return .brokenOut
        }
        note(guest.uses)
        if let outcome = guest.loop.outcome { return .left(outcome) }
        if let missing = guest.made.pc.missing {
            if Self.isDeath(end, missing, hasSent: guest.hasSent) {
                return .reason("it wanted \(missing.text)")
            }
            missingNotes?.note("the guest wanted \(missing.text)")
        }
        let isSilent = !guest.hasSent && guest.panic == nil && !arguments.contains("quiet")
        if isSilent && plan.console == .serial && (end == .poweredOff || end == .reset) {
            remarks.note(
                "the guest said nothing on its serial port; --console screen shows what it says on a screen"
            )
        }
        switch end {
        case .poweredOff:
            if let error = guest.unpackerError { return .reason(error) }
            return .left(.poweredOff)
        case .exit(let code): return .left(.exited(code))
        case .reset where guest.isStopped: return .left(.poweredOff)
        case .reset:
            if let panic = guest.panic { return .reason(panic) }
            return .restart
        case .failed(let code):
            return .reason("the processor cannot go on\(KvmProcessor.failure(code))")
        }
    }
}

extension PCLauncher {
    /// Whether a guest has died for want of an instruction: a kernel that got no farther than that has not powered itself
    /// off. One that told its exit code has run a program.
    static func isDeath(_ end: PC.End, _ missing: MissingInstruction, hasSent: Bool) -> Bool {
        (end == .poweredOff || end == .reset) && missing.isKernel && !hasSent
    }
}

/// A kernel's file with what was found in it.
final class StockImage {
    private let mapping: Mapping
    let kernel: StockKernel
    var view: ByteView { unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes)) }

    /// - Parameter inside: what of the file is unpacked already.
    /// - Throws: what the file is, if it cannot be started as a PC's kernel.
    init(
        _ descriptor: Int32, name: Text, status: FileStatus?,
        inside: UnpackedImage = UnpackedImage()
    ) throws(LoaderError) {
        mapping = try KernelImage.map(descriptor, name, status)
        do throws(Errno) {
            var found = inside.take(size: mapping.count)
            if found == nil {
                found = try StockKernel(unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes)))
            }
            guard let kernel = found else { throw .notAProgram }
            self.kernel = kernel
        } catch {
            if error == .notAProgram {
                let file = unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes))
                do throws(ImageError) {
                    if ElfImage.isElf(file) { _ = try Vmlinux(file) }
                } catch { throw .image(name: name, error) }
                throw .image(name: name, FileKind.refusal(file))
            }
            throw .host("unpack", name: name, error)
        }
        if let damage = kernel.damage, !damage.isForTheGuest { throw .image(name: name, damage) }
    }
}
