// Process 1: performs what the boot machine says and turns what happens into its events. It never
// returns, sleeps whenever there is nothing to do, takes away every child that ends, and answers
// signals: SIGINT (which Ctrl-Alt-Del sends) and SIGTERM reboot, SIGUSR1 halts, SIGUSR2 and SIGPWR
// power off; a second one while the machine is ending changes nothing. (The signals are those of
// busybox's init.) Source of the duties: docs/boot-machine.md.

final class Init {
    let programs: InnerPrograms
    private var machine = BootMachine()
    private var table = BootTable()
    private var signals: SignalQueue?
    private var launcher: InitLauncher
    private var children: [InitChild] = []
    private var services: [InitService] = []
    /// Grants that stay mapped to the end.
    private var held: [HeldGrant] = []
    /// When the patience with those who were signalled is over.
    private var deadline = Deadline.never
    private var isEnding = false
    /// The kernel did not say which children have ended, or which signals have come.
    private var isBlind = false

    init(_ programs: InnerPrograms) {
        self.programs = programs
        launcher = InitLauncher(programs: programs)
    }

    /// Carries out the table to the machine's end.
    func run() -> Never {
        var action = begin()
        while true { action = step(action) }
    }

    func begin() -> BootMachine.Action {
        prepare()
        return BootMachine.beginning
    }

    /// Performs an action, and waits for what leads to the next.
    func step(_ action: BootMachine.Action) -> BootMachine.Action {
        var next = machine.handle(perform(action))
        while next == nil { next = machine.handle(nextEvent()) }
        return next ?? .sleepForever
    }

    var stateName: StaticString { machine.stateName }

    private func prepare() {
        try? FaultGuard.install()
        do throws(Errno) {
            signals = try SignalQueue(
                awaited: [
                    .childEnded, .interrupt, .terminate, .user1, .user2, .powerFailure,
                ],
                silenced: [
                    .hangUp, .quit, .brokenPipe, .alarm, .stop, .backgroundRead, .backgroundWrite,
                ])
            launcher.signals = signals?.descriptor
        } catch { say(.system("wait for signals", error)) }
        try? Kernel.catchKeys()
    }

    private func perform(_ action: BootMachine.Action) -> BootMachine.Event {
        switch action {
        case .mountFileSystems:
            var complaints = InitMounts.mountUsual()
            do throws(InitError) { try InitConsole.open() } catch { complaints.append(error) }
            for error in complaints { say(error) }
            return .mounted
        case .readTable: return readTable()
        case .carryOut(let index): return carryOut(table.statements[index])
        case .wait, .waitForAll, .sleepForever: return nextEvent()
        case .startShell: return startShell()
        case .signalAll(let signal, let patience):
            signalAll(signal, patience)
            return nextEvent()
        case .leave:
            for grant in held { grant.release() }
            held = []
            InitMounts.unmountAll()
            return .left
        case .end(let ending): return end(ending)
        }
    }

    // MARK: Reading the table

    private func readTable() -> BootMachine.Event {
        var reader = BootTableReader(programs)
        var isComplete = true
        let commandLine = (try? SmallFile.read("/proc/cmdline", limit: 8192)) ?? Text()
        let name = BootTableReader.file(on: commandLine)
        do throws(Errno) {
            reader.read(
                file: try SmallFile.read(
                    name ?? BootTable.usualFile, limit: BootTableReader.limit + 1),
                name: name ?? BootTable.usualFile)
        } catch {
            // The usual one need not be there.
            if name != nil || error != .noSuchFile {
                say(.host("read the table", name: name ?? BootTable.usualFile, error))
                isComplete = false
            }
        }
        reader.read(commandLine: commandLine)
        if isComplete { reader.finish() }
        for error in reader.errors { InitConsole.say(error.text) }
        table = reader.table
        return isComplete && reader.errors.isEmpty
            ? .tableRead(statements: table.statements.count, table.settings)
            : .tableRefused(table.settings)
    }

    // MARK: Carrying out

    private func carryOut(_ statement: BootStatement) -> BootMachine.Event {
        if table.settings.isVerbose {
            var line = statement.position.text
            line += ":"
            for word in statement.words { line += " \(visible: word.text)" }
            InitConsole.say(line)
        }
        do throws(InitError) {
            switch statement.request {
            case .load(let file, let parameters):
                try InitStatements.load(file, parameters)
            case .set(let file, let value): try InitStatements.set(file, value)
            case .mount(let request): try InitMounts.mount(request)
            case .grant(let request): return try grant(request, statement)
            case .notify(let domain, let port):
                return try beside(statement) { () throws(GrantError) in
                    try InitGrants.notify(domain: domain, port: port)
                }
            case .wait(let request):
                return try beside(statement) { () throws(GrantError) in
                    try InitStatements.wait(for: request)
                }
            case .program(let words, let mode): return try start(words, mode, statement)
            case .replace(let words, let root): try replace(words, root)
            }
            return .done
        } catch {
            say(error, at: statement.position)
            return statement.isTried ? .done : .failed
        }
    }

    /// Lets a child do what may take its time.
    private func beside(
        _ statement: BootStatement, promise: GrantPromise? = nil,
        _ body: () throws(GrantError) -> Void
    ) throws(InitError) -> BootMachine.Event {
        let id = try launcher.start {
            do throws(GrantError) { try body() } catch {
                say(.grant(error), at: statement.position)
                return 1
            }
            return 0
        }
        children.append(
            InitChild(
                id: id, name: statement.words[0].text, position: statement.position,
                role: .awaited(isTried: statement.isTried), isOwn: true, promise: promise))
        return .started
    }

    private func grant(
        _ request: GrantRequest, _ statement: BootStatement
    ) throws(InitError) -> BootMachine.Event {
        let promise: GrantPromise?
        do throws(Errno) { promise = request.isHeld ? try GrantPromise(request) : nil } catch {
            throw .system("make a file in memory", error)
        }
        return try beside(statement, promise: promise) { () throws(GrantError) in
            let request = try InitGrants.resolve(request)
            if let words = InitGrants.words(request) {
                let code = programs.run(words) ?? 127
                if code != 0 {
                    say(.program(request.name, .exited(code: code)), at: statement.position)
                    Process.exit(code)
                }
            } else {
                try InitGrants.check(request)
            }
            try promise?.tell(request)
        }
    }

    /// Holds what a child was able to map.
    /// - Returns: false if that is not possible.
    private func keep(_ promise: GrantPromise, _ position: TablePosition?) -> Bool {
        do throws(GrantError) {
            held.append(try InitGrants.hold(try promise.resolved()))
            return true
        } catch {
            say(.grant(error), at: position)
            return false
        }
    }

    private func start(
        _ words: [Text], _ mode: ProgramMode, _ statement: BootStatement
    ) throws(InitError) -> BootMachine.Event {
        switch mode {
        case .run:
            return watch(try launcher.start(words), words[0], statement)
        case .start:
            children.append(
                InitChild(
                    id: try launcher.start(words), name: words[0], position: statement.position,
                    role: .started))
        case .interactive:
            return watch(
                try launcher.start(words, isInteractive: true), words.first ?? "the shell",
                statement,
                isTried: true)
        case .respawn:
            services.append(InitService(words: words, position: statement.position))
            startServices()
        }
        return .done
    }

    @inline(never)
    private func watch(
        _ id: ProcessID, _ name: Text, _ statement: BootStatement, isTried: Bool? = nil
    ) -> BootMachine.Event {
        children.append(
            InitChild(
                id: id, name: name, position: statement.position,
                role: .awaited(isTried: isTried ?? statement.isTried)))
        return .started
    }

    private func startShell() -> BootMachine.Event {
        guard let words = InitLauncher.shell() else {
            InitConsole.say("there is no shell")
            return .noShell
        }
        InitConsole.say("a shell; its end is the machine's")
        do throws(InitError) {
            children.append(
                InitChild(
                    id: try launcher.start(words, isInteractive: true), name: words[0],
                    position: nil, role: .awaited(isTried: true)))
        } catch {
            say(error)
            return .noShell
        }
        return nextEvent()
    }

    private func replace(_ words: [Text], _ root: Text?) throws(InitError) {
        if let root { try SwitchRoot.change(to: root) }
        // Lets the signals through before anything else is released.
        signals = nil
        launcher.signals = nil
        launcher.release()
        let error = launcher.execute(words)
        prepare()
        throw .host("run", name: words[0], error)
    }

    // MARK: What happens

    /// Sleeps until something has happened that the machine wants to know.
    private func nextEvent() -> BootMachine.Event {
        while true {
            isBlind = false
            if let event = reap() ?? takeSignals() { return event }
            if deadline.isOver {
                deadline = .never
                return .timeOver
            }
            if !isEnding { startServices() }
            sleep()
        }
    }

    private func sleep() {
        var limit = deadline.remaining
        let now = Clock.monotonic()
        for service in services {
            guard !isEnding, let moment = service.machine.moment else { continue }
            limit = min(limit ?? (moment - now), moment - now)
        }
        guard let descriptor = signals?.descriptor, !isBlind else {
            // Without a way to be woken, or to see what has happened: look around once a second.
            Clock.sleep(min(limit ?? Self.second, Self.second))
            return
        }
        do throws(Errno) {
            _ = try Poll.wait([Poll.Interest(descriptor)], timeout: limit)
        } catch { Clock.sleep(Self.second) }
    }
    private static let second = Nanoseconds.milliseconds(1000)

    /// Takes away every child that has ended.
    private func reap() -> BootMachine.Event? {
        while true {
            do throws(Errno) {
                guard let (id, end) = try Process.endedChild() else { return nil }
                if let event = ended(id, end) { return event }
            } catch {
                if error == .noChild { return deserted() }
                isBlind = true
                return nil
            }
        }
    }

    /// There is no child at all.
    private func deserted() -> BootMachine.Event? {
        let isAwaiting = children.contains { child in
            if case .awaited = child.role { true } else { false }
        }
        children = []
        if isAwaiting { return .failed }
        return isEnding || services.isEmpty ? .deserted : nil
    }

    private func ended(_ id: ProcessID, _ end: ProcessEnd) -> BootMachine.Event? {
        guard let index = children.firstIndex(where: { $0.id == id }) else { return nil }
        let child = children.remove(at: index)
        if !isEnding && !child.hasSaid(end) { say(.program(child.name, end), at: child.position) }
        switch child.role {
        case .awaited(let isTried):
            var isGood = end.isSuccess
            if isGood, !isEnding, let promise = child.promise {
                isGood = keep(promise, child.position)
            }
            return isGood || isTried ? .succeeded : .failed
        case .started: return nil
        case .service(let index):
            _ = services[index].machine.handle(.ended, at: Clock.monotonic())
            return nil
        }
    }

    private func takeSignals() -> BootMachine.Event? {
        while true {
            let signal: Signal?
            do throws(Errno) { signal = try signals?.next() } catch {
                isBlind = true
                return nil
            }
            switch signal {
            case nil: return nil
            case .interrupt, .terminate: return .asked(.reboot)
            case .user1: return .asked(.halt)
            case .user2, .powerFailure: return .asked(.powerOff)
            default: continue
            }
        }
    }

    @inline(never)
    private func startServices() {
        let now = Clock.monotonic()
        for index in services.indices {
            guard services[index].machine.handle(.due, at: now) == .start else { continue }
            let service = services[index]
            do throws(InitError) {
                children.append(
                    InitChild(
                        id: try launcher.start(service.words), name: service.words[0],
                        position: service.position, role: .service(index)))
                _ = services[index].machine.handle(.started, at: now)
            } catch {
                say(error, at: service.position)
                _ = services[index].machine.handle(.notStarted, at: now)
            }
        }
    }

    // MARK: The end

    private func signalAll(_ signal: Signal, _ patience: Nanoseconds) {
        if !isEnding {
            let now = Clock.monotonic()
            for index in services.indices { _ = services[index].machine.handle(.stop, at: now) }
        }
        isEnding = true
        deadline = .after(patience)
        Process.signalAll(signal)
        // Whoever is stopped cannot take it.
        if signal == .terminate { Process.signalAll(.proceed) }
    }

    private func end(_ ending: Ending) -> BootMachine.Event {
        InitConsole.say(ending.announcement)
        InitConsole.drain()
        do throws(Errno) { try Kernel.end(ending) } catch {
            say(.system(ending.verb, error))
        }
        return .failed
    }

    // MARK: Saying

    @inline(never)
    private func say(_ error: InitError, at position: TablePosition? = nil) {
        if let position {
            InitConsole.say("\(position.text): \(error.text)")
        } else {
            InitConsole.say(error.text)
        }
    }
}

extension Ending {
    fileprivate var announcement: Text {
        switch self {
        case .powerOff: "powering off"
        case .reboot: "rebooting"
        case .halt: "halting"
        }
    }
    fileprivate var verb: Text {
        switch self {
        case .powerOff: "power off"
        case .reboot: "reboot"
        case .halt: "halt"
        }
    }
}
