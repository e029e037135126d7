// `mini-launch [options] [MEMORY] KERNEL [kernel arguments…]`: reads the words, starts the
// launcher on the engine that was chosen, turns the outcome into one line and a code.

/// What a command line of mini-launch asks for.
struct LaunchSettings {
    enum Engine { case automatic, lguest, builtIn, kvm, software }

    var plan = LaunchPlan()
    var engine = Engine.automatic
    var sandbox = SandboxChoice.on
    var isVerbose = false
    /// The file that gets what happened when.
    var timeline: Text?
    var restarts = true
    var isCheck = false
    /// Words of ours go in front of the user's, for a PC's kernel.
    var hasDefaults = true
    /// The guest's program says with which code we end.
    var isGuestExit = false
    var wantsHelp = false
    var wantsVersion = false
    /// Words with a dash that are none of ours, and so the kernel's.
    private(set) var handedOver: [Text] = []
    private var hasMemory = false

    static var table: [Option<LaunchSettings>] {
        [
            Option(
                name: "--memory", argument: "SIZE",
                help: "guest memory, in MiB or with K, M or G behind it (64)",
                apply: { (settings, word) throws(CommandError) in try settings.setMemory(word) }),
            Option(
                name: "--initrd", argument: "FILE", help: "what the kernel unpacks or mounts first",
                apply: { (settings, word) throws(CommandError) in settings.plan.initrd = word }),
            Option(
                name: "--block", argument: "FILE",
                help: "a disk, ,ro behind it for read-only; up to 15 devices", repeats: true,
                apply: { (settings, word) throws(CommandError) in
                    settings.plan.devices.append(DiskSetup(DiskRequest(word)))
                }),
            Option(
                name: "--tunnet", argument: "LINK",
                help: "a network to the host: IP address of its end, or bridge:NAME",
                repeats: true,
                apply: { (settings, word) throws(CommandError) in
                    try settings.addTunnel(word)
                }),
            Option(
                name: "--tap", argument: "NAME",
                help: "a network through this tap, which others have set up", repeats: true,
                apply: { (settings, word) throws(CommandError) in
                    settings.plan.devices.append(
                        NetworkSetup(try NetworkArgument.tap(word)))
                }),
            Option(
                name: "--sharenet", argument: "FILE",
                help: "a network of all guests that name this file", repeats: true,
                apply: { (settings, word) throws(CommandError) in
                    settings.plan.devices.append(NetworkSetup(.shared(word)))
                }),
            Option(
                name: "--rng", argument: nil,
                help: "random numbers for the guest, also if it waits for them",
                apply: { (settings, _) throws(CommandError) in settings.plan.wantsNumbers = true }
            ),
            Option(
                name: "--engine", argument: "NAME",
                help: "auto, kvm, lguest, builtin or software (auto)",
                apply: { (settings, word) throws(CommandError) in try settings.setEngine(word) }),
            Option(
                name: "--console", argument: "NAME",
                help: "of a kernel of today: serial, virtio or screen (serial)",
                apply: { (settings, word) throws(CommandError) in try settings.setConsole(word) }),
            Option(
                name: "--no-defaults", argument: nil,
                help: "of the kernel's command line, only what is given here",
                apply: { (settings, _) throws(CommandError) in settings.hasDefaults = false }),
            Option(
                name: "--guest-exit", argument: nil,
                help: "end with the code of a guest's program, or 125",
                apply: { (settings, _) throws(CommandError) in settings.isGuestExit = true }),
            Option(
                name: "--no-reboot", argument: nil, help: "end when the guest reboots",
                apply: { (settings, _) throws(CommandError) in settings.restarts = false }),
            Option(
                name: "--sandbox", argument: "WORD",
                help: "on, or require: refuse where the kernel has no seccomp (on)",
                excludes: "--no-sandbox",
                apply: { (settings, word) throws(CommandError) in
                    settings.sandbox = try Options.sandbox(word)
                }),
            Option(
                name: "--no-sandbox", argument: nil,
                help: "keep all rights and system calls while the guest runs",
                apply: { (settings, _) throws(CommandError) in settings.sandbox = .off }),
            Option(
                name: "--check", argument: nil, help: "say what KERNEL is, do not start it",
                apply: { (settings, _) throws(CommandError) in settings.isCheck = true }),
            Option(
                name: "--verbose", shortName: "-v", argument: nil,
                help: "say what is done, on standard error",
                apply: { (settings, _) throws(CommandError) in settings.isVerbose = true }),
            Option(
                name: "--timeline", argument: "FILE",
                help: "what happened when, for Perfetto or chrome://tracing",
                apply: { (settings, word) throws(CommandError) in settings.timeline = word }),
            Option(
                name: "--help", shortName: "-h", argument: nil, help: "print this",
                apply: { (settings, _) throws(CommandError) in settings.wantsHelp = true }),
            Option(
                name: "--version", shortName: "-V", argument: nil, help: "print the version",
                apply: { (settings, _) throws(CommandError) in settings.wantsVersion = true }),
        ]
    }

    /// - Parameter words: without the applet's name.
    init(_ words: ArraySlice<Text>) throws(CommandError) {
        var rest = words
        var given = GivenOptions()
        try Options.readFront(&rest, Self.table, into: &self, &given)
        let memoryIsKnown = hasMemory
        let isEnded = Options.takeDashes(&rest)
        if !isEnded {
            var unknown: [Text] = []
            rest = try Options.readBehind(rest, Self.table, into: &self, &given, unknown: &unknown)
            handedOver = unknown
        }
        if wantsHelp || wantsVersion { return }
        // The first word is the memory if it looks like that, a kernel follows it, and no
        // --memory stands before it. So a kernel may be called 64.
        if let first = rest.first, rest.count > 1, !memoryIsKnown, MemoryArgument.isMeant(first) {
            if hasMemory { throw .conflict("MEMORY of \(quoted: first)", "--memory") }
            try setMemory(first)
            rest = rest.dropFirst()
            // In front of the kernel two dashes end the options, not the kernel's arguments.
            if !isEnded { _ = Options.takeDashes(&rest) }
        }
        guard let kernel = rest.first, !kernel.bytes.isEmpty else { throw .noKernel }
        plan.kernel = kernel
        plan.arguments = Array(rest.dropFirst())
    }

    /// Of two networks with one address the host would use the first alone.
    private mutating func addTunnel(_ word: Text) throws(CommandError) {
        let new = NetworkSetup(try NetworkArgument.tunnel(word))
        if let address = new.hostAddress,
            plan.devices.contains(where: { $0.hostAddress == address })
        {
            throw .badArgument(option: "--tunnet", word, why: "is given twice")
        }
        plan.devices.append(new)
    }

    private mutating func setMemory(_ word: Text) throws(CommandError) {
        plan.mebibytes = try MemoryArgument(word).mebibytes
        hasMemory = true
        plan.isMemoryGiven = true
    }

    private mutating func setConsole(_ word: Text) throws(CommandError) {
        plan.console =
            switch word {
            case "serial": .serial
            case "virtio": .virtio
            case "screen": .screen
            default: throw .badConsole(word)
            }
    }

    private mutating func setEngine(_ word: Text) throws(CommandError) {
        engine =
            switch word {
            case "auto": .automatic
            case "lguest": .lguest
            case "builtin": .builtIn
            case "kvm": .kvm
            case "software": .software
            default: throw .badEngine(word)
            }
    }
}

enum LaunchCommand {
    static let name: StaticString = "mini-launch"

    /// Runs the applet.
    /// - Parameter words: the command line without the applet's name.
    /// - Returns: the exit code.
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        let start = Clock.monotonic()
        let settings: LaunchSettings
        do throws(CommandError) { settings = try LaunchSettings(words) } catch {
            Message.error(name, error.text)
            // What was read before the mistake does not tell: the option may stand after it.
            let options = words.prefix { !($0 == "--") }
            return failure(ExitCode.wrongUse, options.contains { $0 == "--guest-exit" })
        }
        if settings.wantsHelp { return Message.print(name, help) }
        if settings.wantsVersion { return Message.print(name, "\(name) \(Applet.version)\n") }
        FileFaults.install()
        let messages = MessageOutput()
        for word in settings.handedOver {
            messages.write(
                "\(name): \(quoted: word) is no option of mini-launch: the kernel gets it\n")
        }
        if settings.isCheck { return check(settings.plan) }
        var launch = Launch(settings: settings, messages: messages)
        guard settings.isVerbose || settings.timeline != nil else {
            return finish(launch.run(), settings, messages)
        }
        let timeline = Timeline(start: start)
        launch.timeline = timeline
        do throws(LauncherError) {
            if let name = settings.timeline {
                launch.timelineFile = try TimelineFile(name, for: settings.plan)
            }
        } catch {
            Message.error(name, error.text)
            return failure(error.exitCode, settings.isGuestExit)
        }
        let outcome = launch.run()
        if outcome.isForAnotherEngine { timeline.end(outcome.text, at: Clock.monotonic()) }
        var code = finish(outcome, settings, messages)
        do throws(LauncherError) { try launch.timelineFile?.write(timeline.trace) } catch {
            Message.error(name, error.text)
            if code == ExitCode.success { code = failure(error.exitCode, settings.isGuestExit) }
        }
        guard settings.isVerbose else { return code }
        for line in timeline.lines { messages.write("\(name): \(line)\n") }
        return code
    }

    /// A failure's code, which must not be taken for a guest's.
    private static func failure(_ code: Int32, _ isGuestExit: Bool) -> Int32 {
        isGuestExit ? ExitCode.noGuestExit : code
    }

    // MARK: Launching

    /// A guest's launch on an engine, with all that it takes.
    private struct Launch {
        let settings: LaunchSettings
        let messages: MessageOutput
        var timeline: Timeline?
        var timelineFile: TimelineFile?
        let files = LaunchFiles()

        func run() -> LaunchOutcome {
            if settings.sandbox == .off { notice("no sandbox: the guest runs with all our rights") }
            if settings.engine == .kvm { return onPC(.kvm) }
            if settings.engine == .software { return onPC(.software) }
            if settings.engine != .lguest && isCertainlyPC {
                return onPC(settings.engine == .builtIn ? .software : .automatic)
            }
            let outcome = onLguest()
            // They are closed where a guest has run.
            guard settings.engine != .lguest, outcome.isForAnotherEngine, files.kernel != nil
            else { return outcome }
            timeline?.noteOtherEngine(at: Clock.monotonic())
            return onPC(settings.engine == .builtIn ? .software : .automatic)
        }

        /// True for a kernel file that shows from outside that it does not speak lguest; for others the loader tells.
        private var isCertainlyPC: Bool {
            do throws(LoaderError) {
                guard case .file(let name)? = try? FileSource(settings.plan.kernel) else {
                    return false
                }
                _ = try KernelImage.examine(files.openKernel(name), name: name)
                return false
            } catch {
                guard case .image(_, let why) = error else { return false }
                return why.mayBePC
            }
        }

        /// A kernel that does not speak lguest fails before a device was opened or anything was taken
        /// from the terminal.
        private func onLguest() -> LaunchOutcome {
            if settings.engine == .builtIn { return onBuiltInHost() }
            let outcome = onDevice()
            guard settings.engine == .automatic, case .failed(.engine(let error)) = outcome else {
                return outcome
            }
            timeline?.noteOtherEngine(at: Clock.monotonic())
            return onBuiltInHost(
                "engine: the built-in host (\(KernelDevice.path): \(error.reason))")
        }

        private func notice(_ line: Text) { messages.write("\(name): \(line)\n") }

        private var surroundings: LaunchSurroundings {
            LaunchSurroundings(
                report: settings.isVerbose ? notice : nil, notice: notice,
                sandbox: settings.sandbox, messages: messages.descriptor, timeline: timeline,
                timelineFile: timelineFile?.descriptor ?? -1, files: files)
        }

        private func onPC(_ engine: PCEngine) -> LaunchOutcome {
            PCLauncher(
                settings.plan, surroundings, on: engine, defaults: settings.hasDefaults
            ).run(restarts: settings.restarts && !settings.isGuestExit)
        }

        private func onBuiltInHost(_ line: Text? = nil) -> LaunchOutcome {
            launch(on: .builtIn, line) { (memory, abi) throws(LauncherError) -> any LguestDevice in
                do throws(Errno) { return try Host(memory: memory, abi: abi) } catch {
                    throw .system("make a guest", error)
                }
            }
        }

        /// Fails with `.engine` before anything was taken from the terminal if the device cannot
        /// be used, or not for this guest.
        private func onDevice() -> LaunchOutcome {
            let era: DeviceEra
            do throws(DeviceError) { era = try DeviceEra.probe() } catch {
                return .failed(.engine(error))
            }
            return launch(on: .device(era), "engine: \(KernelDevice.path) of \(era.kernels)") {
                (memory, abi) throws(LauncherError) -> any LguestDevice in
                do throws(Errno) { return try KernelDevice(memory: memory, abi: abi) } catch {
                    throw .engine(.unavailable(error))
                }
            }
        }

        private func launch(
            on engine: LguestEngine, _ line: Text?,
            _ makeDevice: @escaping LguestLauncher.MakeDevice
        ) -> LaunchOutcome {
            LguestLauncher(
                settings.plan, surroundings, engine: engine, engineLine: line,
                suggestsPC: settings.engine == .automatic, makeDevice: makeDevice
            ).run(restarts: settings.restarts)
        }
    }

    #if !MINI_WITHOUT_INIT
    /// What is wrong with words that a boot table will run, as far as that can be known before.
    static func complaint(_ words: ArraySlice<Text>) -> Text? {
        let settings: LaunchSettings
        do throws(CommandError) { settings = try LaunchSettings(words) } catch { return error.text }
        if settings.wantsHelp || settings.wantsVersion { return nil }
        do throws(LauncherError) { try settings.plan.check() } catch { return error.text }
        for file in settings.plan.files.map({ $0.name }) + [settings.timeline].compactMap({ $0 }) {
            if file.hasParent {
                return "\(quoted: file) is not \(StaticText.pathWithoutParents.text)"
            }
            do throws(GrantError) {
                if case .file(let name) = try FileSource(file), !name.isFileName {
                    return "\(quoted: name) is not \(StaticText.fileName.text)"
                }
            } catch { return error.text }
        }
        return nil
    }
    #endif

    /// The outcome's line, if it needs one, and its code.
    private static func finish(
        _ outcome: LaunchOutcome, _ settings: LaunchSettings, _ messages: MessageOutput
    ) -> Int32 {
        let code = finish(outcome, messages)
        guard settings.isGuestExit else { return code }
        switch outcome {
        case .exited(let code): return Int32(code)
        case .poweredOff:
            Message.error(name, "the guest powered itself off and told no exit code")
            return ExitCode.noGuestExit
        case .signal: return code
        default: return ExitCode.noGuestExit
        }
    }

    private static func finish(_ outcome: LaunchOutcome, _ messages: MessageOutput) -> Int32 {
        switch outcome {
        case .poweredOff, .exited: return ExitCode.success
        case .died(let reason):
            // Some of the host's reasons end like lines of a log.
            var line = reason.bytes
            while line.last == 10 { line.removeLast() }
            Message.error(name, "the guest died: \(visible: Text(bytes: line))")
            return ExitCode.guestDied
        case .restart:
            Message.error(name, "the guest asked for a reboot")
            return ExitCode.reboot
        case .escaped:
            // A terminal that takes nothing must not keep a user who leaves.
            messages.write("\(name): left by three ^C\n", patience: .milliseconds(300))
            return ExitCode.escaped
        case .signal(let signal): return ExitCode.signal(signal)
        case .failed(let error):
            Message.error(name, error.text)
            return error.exitCode
        }
    }

    // MARK: Describing

    /// Prints what a kernel is that does not speak lguest, and what would run it here.
    /// - Returns: the exit code; nil if it is no such kernel.
    private static func checkStock(_ path: Text) throws(LoaderError) -> Int32? {
        let file = try FileSource.open(path, .readOnly, "open")
        guard let kernel = try KernelImage.stock(file.number, name: path) else { return nil }
        if FileFaults.take() != nil { throw .fileCut(name: path) }
        var text = Text()
        for line in kernel.description { text += "\(line)\n" }
        if let damage = kernel.damage, !damage.isForTheGuest {
            _ = Message.print(name, text)
            throw .image(name: path, damage)
        }
        let (engine, failure) = PCEngine.choice(for: kernel, name: path)
        text += "engine       \(engine)\n"
        let code = Message.print(name, text)
        guard let failure else { return code }
        Message.error(name, failure.text)
        return failure.exitCode
    }

    private static func check(_ plan: LaunchPlan) -> Int32 {
        do throws(LoaderError) {
            return Message.print(name, try describe(plan))
        } catch {
            var error = error
            if case .image(_, let why) = error, why.mayBePC {
                do throws(LoaderError) {
                    if let code = try checkStock(plan.kernel) { return code }
                } catch let other { error = other }
            }
            Message.error(name, error.text)
            return error.exitCode
        }
    }

    private static func describe(_ plan: LaunchPlan) throws(LoaderError) -> Text {
        // Nothing is started: it need not be the guest's.
        let mebibytes = GuestLayout.possible(plan.mebibytes)
        let memory = try GuestLayout.makeMemory(mebibytes: mebibytes)
        let file = try FileSource.open(plan.kernel, .readOnly, "open")
        let kernel = try KernelImage.examine(file.number, name: plan.kernel)
            .load(into: memory, mebibytes: mebibytes)
        if FileFaults.take() != nil { throw .fileCut(name: plan.kernel) }
        var text = Text()
        for line in kernel.description { text += "\(line)\n" }
        return text
    }

    static var help: Text {
        var text: Text = """
            Usage: \(name) [OPTIONS] [MEMORY] KERNEL [KERNEL ARGUMENTS...]
            Starts a Linux kernel: a vmlinux, bzImage or unified kernel image of today, or
            one of 2.6.23 to 4.13 that speaks lguest. MEMORY is a size as for --memory.
            What follows KERNEL is the kernel's own, but for the options below: they count
            wherever they stand, up to a word --, which the kernel gets with what follows.

            Options, each once, but as many devices as are wanted:

            """
        text += Options.help(LaunchSettings.table)
        text += "\nExit codes:\n"
        for (code, meaning) in ExitCode.table { text += Help.line("\(code)", meaning) }
        return text
    }
}
