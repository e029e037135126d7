// The life of process 1, from the first mount to the end of the machine. The driver (Init.swift) does
// what the machine says and tells it how that went; the machine makes no system call and reads no
// clock.
//
//   mounting -- mounted --> reading -- table read --> preparing(0)
//
//   preparing(n) -- done --> preparing(n + 1), after the last: reaping
//   preparing(n) -- started --> waiting(n) -- child succeeded --> preparing(n + 1) or reaping
//   reaping -- deserted --> leaving
//
//   reading, preparing, waiting -- failed --> rescue or stopping, as the table says
//   preparing, waiting, reaping -- lost --> the same
//   rescue -- succeeded, failed --> stopping; no shell --> stopping(halt)
//   every state before stopping -- asked --> stopping
//
//   stopping -- deserted --> leaving         all processes were told to end
//   stopping -- time is over --> killing     no process can refuse this
//   killing -- deserted or time is over --> leaving
//   leaving -- left --> ended                disks are written, file systems unmounted
//   ended -- failed --> stuck                the kernel refused
//
// The names of PID 1's duties as in tini, s6-linux-init and sysvinit; kill(2) (the signal to all),
// reboot(2). The same as a page: docs/boot-machine.md.

/// Says what process 1 has to do next.
struct BootMachine {
    private enum State {
        case mounting, reading
        /// A statement's number, from 0.
        case preparing(Int)
        /// The statement whose program is awaited.
        case waiting(Int)
        case reaping, rescue
        case stopping(Ending)
        case killing(Ending)
        case leaving(Ending)
        case ended(Ending)
        case stuck
    }
    private var state = State.mounting
    /// Known from the table, or what holds without one.
    private var settings = BootSettings()
    private var count = 0

    enum Event {
        case mounted
        /// The table holds so many statements.
        case tableRead(statements: Int, BootSettings)
        /// It is wrong, but these of its settings could be read.
        case tableRefused(BootSettings)
        /// A statement is carried out.
        case done
        /// A statement has started a program that it waits for.
        case started
        /// The awaited program ended, well or not.
        case succeeded, failed
        /// A program on which the machine depends did not end well.
        case lost
        /// There is no shell to start.
        case noShell
        /// No process is left.
        case deserted
        case timeOver
        /// Somebody wants the machine to end.
        case asked(Ending)
        /// Disks are written, file systems unmounted.
        case left
    }

    enum Action: Equatable {
        case mountFileSystems, readTable
        case carryOut(Int)
        /// Sleep until something happens.
        case wait
        /// Sleep until no process is left.
        case waitForAll
        case startShell
        /// Signal every process; time is over after this long.
        case signalAll(Signal, patience: Nanoseconds)
        /// Leave the file systems.
        case leave
        case end(Ending)
        /// Nothing can be done any more.
        case sleepForever
    }

    /// What comes first.
    static let beginning = Action.mountFileSystems
    /// How long processes that were killed have to be gone.
    static let killPatience = Nanoseconds.milliseconds(2000)

    /// Takes what has happened.
    /// - Returns: the next action; nil, and no change, if the event changes nothing here. It is a defect then,
    ///   unless `ignores` knows it.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.mounting, .mounted): return enter(.reading, .readTable)
        case (.reading, .tableRead(let statements, let settings)):
            self.settings = settings
            count = statements
            return carryOut(0)
        case (.reading, .tableRefused(let settings)):
            self.settings = settings
            return giveUp()
        case (.preparing(let index), .done): return carryOut(index + 1)
        case (.preparing(let index), .started): return enter(.waiting(index), .wait)
        case (.waiting(let index), .succeeded): return carryOut(index + 1)
        case (.preparing, .failed), (.waiting, .failed): return giveUp()
        case (.preparing, .lost), (.waiting, .lost), (.reaping, .lost): return giveUp()
        case (.rescue, .succeeded), (.rescue, .failed): return stop(settings.atEnd)
        case (.rescue, .noShell): return stop(.halt)
        case (.reaping, .deserted): return enter(.leaving(settings.atEnd), .leave)
        case (.stopping(let ending), .deserted), (.killing(let ending), .deserted),
            (.killing(let ending), .timeOver):
            return enter(.leaving(ending), .leave)
        case (.stopping(let ending), .timeOver):
            return enter(.killing(ending), .signalAll(.kill, patience: Self.killPatience))
        case (.leaving(let ending), .left): return enter(.ended(ending), .end(ending))
        case (.ended, .failed): return enter(.stuck, .sleepForever)
        case (.stopping, _), (.killing, _), (.leaving, _), (.ended, _), (.stuck, _): return nil
        case (_, .asked(let ending)): return stop(ending)
        default: return nil
        }
    }

    /// What may come here all the same: more wishes for the end while it comes, and the ends of those that were awaited
    /// before.
    func ignores(_ event: Event) -> Bool {
        switch (state, event) {
        case (.stopping, .asked), (.stopping, .succeeded), (.stopping, .failed), (.killing, .asked),
            (.killing, .succeeded), (.killing, .failed):
            true
        default: false
        }
    }

    private mutating func carryOut(_ index: Int) -> Action {
        index < count
            ? enter(.preparing(index), .carryOut(index)) : enter(.reaping, .waitForAll)
    }

    private mutating func giveUp() -> Action {
        switch settings.onError {
        case .shell: enter(.rescue, .startShell)
        case .end(let ending): stop(ending)
        }
    }

    private mutating func stop(_ ending: Ending) -> Action {
        enter(.stopping(ending), .signalAll(.terminate, patience: settings.grace))
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .mounting: "mounting"
        case .reading: "reading"
        case .preparing: "preparing"
        case .waiting: "waiting"
        case .reaping: "reaping"
        case .rescue: "rescue"
        case .stopping: "stopping"
        case .killing: "killing"
        case .leaving: "leaving"
        case .ended: "ended"
        case .stuck: "stuck"
        }
    }
}
