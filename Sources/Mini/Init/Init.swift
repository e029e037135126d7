// Process 1: performs what the boot machine says and turns what happens into its events. It never
// returns, sleeps whenever there is nothing to do, reaps every child that exits, and answers
// signals: SIGTERM reboots, SIGINT, which Ctrl-Alt-Del sends, does what the table says (reboots), SIGUSR1
// halts, SIGUSR2 and SIGPWR power off; a second one while the machine is ending changes nothing. (The
// signals are those of busybox's init.) Statements: InitCarrying.swift. Source of the duties:
// docs/boot-machine.md.

/// The driver of the boot machine: process 1 itself.
final class Init {
    static let name: StaticString = "mini-init"
    let programs: InnerPrograms
    private var machine = BootMachine()
    var table = BootTable()
    /// How each statement that is a condition came out; the others are false.
    var outcomes: [Bool] = []
    var signals: SignalQueue?
    var launcher: InitLauncher
    var children: [InitChild] = []
    var services: [InitService] = []
    var pipes = InitPipes()
    /// The first statement whose ends of pipes are not taken yet.
    var untaken = 0
    /// Processes that were told of as forked away.
    private var orphans: [ProcessID] = []
    /// How many programs were started.
    var programCount: UInt64 = 0
    /// How the last program ended that was awaited, as a shell has it.
    var lastCode: UInt8 = 0
    /// The code of `exit`: the launcher that runs this machine as a guest ends with it.
    var exitCode: UInt8?
    /// When the shell of a table that has failed was started.
    var rescueStart = Nanoseconds(count: 0)
    /// Grants that stay mapped to the end.
    var held: [HeldGrant] = []
    /// When the patience with those who were signalled is over.
    private var deadline = Deadline.never
    private var isEnding = false
    /// The table is done.
    private var isReaping = false
    /// The kernel did not say which children have ended, or which signals have come.
    private var isBlind = false
    /// Not all of what has ended is reaped yet.
    private var hasMore = false

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
        // The kernel hands over HOME and TERM, and what its command line sets.
        if Process.environment("PATH") == nil {
            Process.give(["PATH=/sbin:/bin:/usr/sbin:/usr/bin"])
        }
        return BootMachine.beginning
    }

    /// Performs an action, and waits for what leads to the next.
    func step(_ action: BootMachine.Action) -> BootMachine.Action {
        var event = perform(action)
        while true {
            if let next = machine.handle(event) { return next }
            if !machine.ignores(event), let next = machine.handle(defect()) { return next }
            event = nextEvent()
        }
    }

    /// Tells of an event that cannot come in this state. There is no way to go on from it.
    /// - Returns: what ends the machine, as the table has it for errors.
    private func defect() -> BootMachine.Event {
        say(.defect(state: "\(machine.stateName)"))
        if case .end(let ending) = table.settings.onError { return .asked(ending) }
        return .asked(.halt)
    }

    /// Tells a service's machine what has happened.
    private func tell(_ index: Int, _ event: ServiceMachine.Event) {
        if services[index].machine.handle(event, at: Clock.monotonic()) == nil && !isEnding {
            say(
                .defect(state: "\(services[index].machine.stateName)"),
                at: services[index].position)
        }
    }

    var stateName: StaticString { machine.stateName }

    /// Writes disks and unmounts; false if they stand still. Tests have a machine of their own.
    var leave: () -> Bool = { InitMounts.leave() }

    func prepare() {
        // For those who ask whether process 1 knows their request.
        Process.setName(Self.name)
        try? FaultGuard.install()
        // Where whoever starts the process 1 of a container ignores it, the kernel tells of no child's end.
        Signal.childEnded.reset()
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
        case .carryOut(let index): return carryOut(index)
        case .waitForAll:
            isReaping = true
            untaken = table.statements.count
            closePipes()
            return nextEvent()
        case .wait: return nextEvent()
        case .sleepForever:
            while true {
                // Only process 1 reaps them. Which events come does not matter any more.
                _ = reap()
                Clock.sleep(Self.second)
            }
        case .startShell: return startShell()
        case .signalAll(let signal, let patience):
            signalAll(signal, patience)
            return nextEvent()
        case .leave:
            pipes.showRests(isOver: true)
            pipes.forget()
            for grant in held { grant.release() }
            held = []
            if !leave() { InitConsole.say("the disks stand still: they are not waited for") }
            return .left
        case .end(let ending): return end(ending)
        }
    }

    // MARK: Reading the table

    private func readTable() -> BootMachine.Event {
        var reader = BootTableReader(programs)
        var isComplete = true
        let commandLine =
            (try? SmallFile.read("/proc/cmdline", limit: BootTableReader.limit + 1)) ?? Text()
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
        outcomes = [Bool](repeating: false, count: table.statements.count)
        return isComplete && reader.errors.isEmpty
            ? .tableRead(statements: table.statements.count, table.settings)
            : .tableRefused(table.settings)
    }

    // MARK: What happens

    /// Sleeps until something has happened that the machine wants to know.
    func nextEvent() -> BootMachine.Event {
        while true {
            isBlind = false
            hasMore = false
            // Signals first: SIGCHLD of a child that ends after the look at children must still wake.
            if let event = takeSignals() ?? reap() { return event }
            if deadline.isOver {
                deadline = .never
                return .timeOver
            }
            if !isEnding { startServices() }
            if hasMore { continue }
            if isReaping && !isEnding && isAlone { return .asked(table.settings.atEnd) }
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

    /// Reaps the children that have ended; of very many not all at once, for they may end without an end.
    private func reap() -> BootMachine.Event? {
        for _ in 0..<Self.turn {
            do throws(Errno) {
                guard let (id, end) = try Process.endedChild() else { return nil }
                if let event = ended(id, end) { return event }
            } catch {
                if error == .noChild { return deserted() }
                isBlind = true
                return nil
            }
        }
        hasMore = true
        return nil
    }
    private static let turn = 64

    /// True if all that is left looks after something for others, and the others have gone. (Where there never were any,
    /// it is what the machine is for.)
    private var isAlone: Bool {
        programCount > 0 && services.isEmpty && children.allSatisfy({ $0.role == .keeper })
            && InitOrphans.areAlone(children.map { $0.id })
    }

    /// There is no child at all.
    private func deserted() -> BootMachine.Event? {
        let isAwaiting = children.contains { child in
            switch child.role {
            case .awaited, .condition, .rescue: true
            case .started, .service, .vital, .keeper: false
            }
        }
        children = []
        if isAwaiting { return .failed }
        return isEnding || services.isEmpty ? .deserted : nil
    }

    private func ended(_ id: ProcessID, _ end: ProcessEnd) -> BootMachine.Event? {
        guard let index = children.firstIndex(where: { $0.id == id }) else {
            // Another process may get its number.
            orphans.removeAll { $0 == id }
            return nil
        }
        let child = children.remove(at: index)
        if !isEnding && !child.hasSaid(end) { say(.program(child.name, end), at: child.position) }
        switch child.role {
        case .awaited(let isTried):
            // Of those that are awaited only what `run` has started has one.
            if case .program(mark: _?) = child.kind { lastCode = end.shellCode }
            guard end.isSuccess else { return isTried ? .succeeded : .failed }
            guard !isEnding, let promise = child.promise else { return .succeeded }
            return keep(promise, isTried: isTried, child.position)
        case .condition(let statement):
            outcomes[statement] = end.isSuccess
            return .succeeded
        case .rescue:
            // It ended at once, with a code of 126 or more: it could not be run, for want of its libraries, say. Messages on the screen
            // are to stay there.
            return Clock.monotonic() - rescueStart < Self.second && end.shellCode >= 126
                ? .noShell : .succeeded
        case .keeper: return nil
        case .started:
            _ = notices(child, end)
            return nil
        case .service(let index):
            let isLost = notices(child, end)
            // Otherwise there would be one more each time.
            tell(index, isLost ? .stop : .ended)
            return nil
        case .vital:
            let hasForkedAway = notices(child, end)
            // With a rescue shell on the console the machine ends when that does.
            if isEnding || children.contains(where: { $0.role == .rescue }) { return nil }
            if !hasForkedAway && end.isSuccess { return .asked(table.settings.atEnd) }
            // The statement that is carried out now is not awaited any more.
            for index in children.indices {
                switch children[index].role {
                case .awaited, .condition: children[index].role = .started
                case .started, .service, .vital, .keeper, .rescue: break
                }
            }
            return .lost
        }
    }

    /// Looks whether a program that has ended goes on under another number, and says so. One that has failed does not: what
    /// is left of it was only to help it.
    private func notices(_ child: InitChild, _ end: ProcessEnd) -> Bool {
        guard !isEnding, end.isSuccess, case .program(let mark) = child.kind,
            let orphan = InitOrphans.find(
                of: child.id, marked: mark, besides: children.map { $0.id } + orphans)
        else { return false }
        orphans.append(orphan.id)
        say(
            .refused(
                "\(quoted: child.name) has forked away: process \(orphan.id.rawValue) (\(visible: orphan.name)) goes on without it; an option of its own keeps it in the foreground"
            ), at: child.position)
        return true
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
            case .interrupt:
                guard let ending = table.settings.keys else { continue }
                return .asked(ending)
            case .terminate: return .asked(.reboot)
            case .user1: return .asked(.halt)
            case .user2, .powerFailure: return .asked(.powerOff)
            default: continue
            }
        }
    }

    @inline(never)
    func startServices() {
        let now = Clock.monotonic()
        for index in services.indices {
            guard services[index].machine.handle(.due, at: now) == .start else { continue }
            let service = services[index]
            do throws(InitError) {
                try launch(
                    service.words, service.front, at: service.position,
                    as: .service(index))
                tell(index, .started)
            } catch {
                say(error, at: service.position)
                tell(index, .notStarted)
            }
        }
    }

    // MARK: The end

    private func signalAll(_ signal: Signal, _ patience: Nanoseconds) {
        if !isEnding {
            let now = Clock.monotonic()
            // Some have stopped before.
            for index in services.indices { _ = services[index].machine.handle(.stop, at: now) }
            pipes.endWriting()
        }
        let isFirst = !isEnding
        isEnding = true
        deadline = .after(patience)
        Process.signalAll(signal)
        // A stopped process does not get SIGTERM before it continues.
        if signal == .terminate { Process.signalAll(.proceed) }
        // After the signals: a slow console must not delay them.
        if isFirst { pipes.showRests(isOver: false) }
    }

    private func end(_ ending: Ending) -> BootMachine.Event {
        InitConsole.say(ending.announcement)
        InitConsole.drain()
        // Outside a guest of ours nothing takes it, and the machine ends as usual.
        if let exitCode { GuestExit.tell(exitCode) }
        do throws(Errno) { try Kernel.end(ending) } catch {
            say(.system(ending.verb, error))
        }
        return .failed
    }

    // MARK: Saying

    @inline(never)
    func say(_ error: InitError, at position: TablePosition? = nil) {
        guard var position else { return InitConsole.say(error.text) }
        if case .word(let column, _) = error { position.column = column }
        InitConsole.say("\(position.text): \(error.text)")
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
