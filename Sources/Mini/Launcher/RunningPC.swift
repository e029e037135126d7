// A PC as the launcher has it: made, not yet running; and at work, with the console and the devices that serve it.

/// A PC that is made.
final class MadePC {
    let loaded: LoadedPC
    let pc: PC
    let devices: [any PCDevice]
    /// The one of them that is a console, if there is one beside the serial port.
    let console: ConsolePlug?

    init(_ loaded: LoadedPC, _ pc: PC, devices: [any PCDevice], console: ConsolePlug? = nil) {
        self.loaded = loaded
        self.pc = pc
        self.devices = devices
        self.console = console
    }
}

/// A device of a PC: the three questions of the event loop.
protocol PCDevice: AnyObject {
    /// What do you watch? Adds the descriptors whose readability must end a run of the guest.
    func watch(_ descriptors: inout [Int32])
    /// You may be ready.
    /// - Returns: when to look again at the latest, if it waits for a buffer of the guest's.
    func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds?
    /// The guest waits for something: is there anything that you have put off?
    /// - Returns: true if it may have been that.
    func settle() -> Bool
    /// Its first use, once it was used.
    var uses: [Timeline.Use] { get }
}

extension PCDevice {
    func watch(_ descriptors: inout [Int32]) {}
    func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds? { nil }
    func settle() -> Bool { false }
    var uses: [Timeline.Use] { [] }
}

/// A PC at work.
final class RunningPC: ConsoleGuest {
    let made: MadePC
    let loop: EventLoop
    private let session: ConsoleSession
    private var pc: PC { made.pc }
    private var watched: [Int32] = []
    private var output: [UInt8] = []
    private var lines: EndingLines
    private var use = ConsoleUse()
    var hasSent: Bool { use.hasSent }
    private var keyDelivery = KeyDelivery()
    /// The guest does nothing, until this moment or for ever; `serve` waits for it.
    private var isIdle = false
    private var idleUntil: Nanoseconds?

    private var pace: LookPace
    private var slumber = Slumber()
    private var halt: KernelHalt?
    private let signs: GuestSigns

    init(_ made: MadePC, _ session: ConsoleSession, _ loop: EventLoop, _ signs: GuestSigns) {
        self.made = made
        pace = LookPace(longest: made.pc.longestStretch)
        halt = KernelHalt(of: made.loaded.version)
        lines = EndingLines(of: made.loaded.version)
        self.signs = signs
        session.signs = signs
        self.session = session
        self.loop = loop
        loop.forget()
        watch()
    }

    private func watch() {
        watched.removeAll(keepingCapacity: true)
        session.watch(&watched)
        for device in made.devices { device.watch(&watched) }
        _ = loop.watch(watched)
    }

    /// The reason of the guest's panic, if it said one.
    var panic: Text? { lines.reason }
    /// That says only that process 1 is gone, which has stopped it.
    var isStopped: Bool { lines.reason != nil && lines.isStopped }

    /// Why it did not become a kernel, if it unpacks itself and has halted.
    var unpackerError: Text? {
        if let error = lines.unpackerError { return error }
        // One that was up has set up its interrupts.
        let isKernel = !made.loaded.isPacked || hasSent || pc.platform.hasInterrupts
        return isKernel ? nil : "its own unpacker has halted"
    }

    var uses: [Timeline.Use] { use.uses + made.devices.flatMap { $0.uses } }

    /// Runs the guest.
    /// - Returns: how it ended; nil if something is to be served.
    func run() throws(LauncherError) -> PC.End? {
        if halt?.isOff ?? false { return .poweredOff }
        isIdle = false
        let look = Clock.monotonic() + pace.pause
        while true {
            let stop = pc.run(until: look)
            guard try takeConsoleOutput(until: look), try takeScreenOutput() else { return nil }
            // No kernel that has said why it ends runs a program.
            if lines.reason != nil && pc.ranProgram() ?? false { lines.forgetPanic() }
            switch stop {
            case .output:
                pc.platform.serial.takeOutput(into: &output)
                try writeOutput(isFromKernel: pc.platform.serial.isTakenFromKernel)
                if loop.outcome != nil { return nil }
            case .idle(let until):
                // Nor does one that panics wait for anything: it counts the time until it restarts, if at all.
                lines.forgetPanic()
                var isSettled = false
                for device in made.devices where device.settle() { isSettled = true }
                if isSettled {
                    pc.platform.raiseLines()
                    continue
                }
                // Its text, or a key, was taken meanwhile: it is served, and goes on.
                if pc.platform.isInterruptRequested || made.console?.hasOutput ?? false {
                    return nil
                }
                isIdle = true
                idleUntil = until
                return nil
            case .look, .signal: return nil
            case .ended(let end): return end
            }
        }
    }

    /// Writes what a virtio console has. What had no room in it comes when the text before it was taken, and the driver hears
    /// of it; a guest with no end of text does not keep others from being served.
    /// - Returns: false if the launch is over.
    private func takeConsoleOutput(until look: Nanoseconds) throws(LauncherError) -> Bool {
        while let console = made.console, console.hasOutput {
            console.takeOutput(into: &output)
            try writeOutput()
            if loop.outcome != nil { return false }
            pc.platform.raiseLines()
            if Clock.monotonic() >= look { break }
        }
        return true
    }

    /// Writes what is new on a screen.
    /// - Returns: false if the launch is over.
    private func takeScreenOutput() throws(LauncherError) -> Bool {
        output.removeAll(keepingCapacity: true)
        pc.platform.look(into: &output)
        if output.isEmpty { return true }
        if !keyDelivery.isDelivering { keyDelivery.wrote(.now) }
        try writeOutput()
        return loop.outcome == nil
    }

    /// - Parameter isFromKernel: false if some of it may be a program's.
    private func writeOutput(isFromKernel: Bool = true) throws(LauncherError) {
        use.hasSent = true
        let (hadReason, hadHalt) = (lines.reason != nil, lines.isHaltLast)
        lines.look(at: output, isFromKernel: isFromKernel)
        if !hadReason, lines.reason != nil || !hadHalt && lines.isHaltLast {
            // Process 1 runs no more if it has stopped the guest.
            if pc.ranProgram() ?? false, hadHalt { lines.forgetStop() }
        }
        halt?.hear(isHalt: lines.endWithHalt)
        try session.write(output)
        try session.guestRan(self)
    }

    /// Looks after everything that can have ended a run; a guest that does nothing is waited for here.
    func serve() throws(LauncherError) {
        watch()
        var timeout: Nanoseconds? = Nanoseconds(count: 0)
        if isIdle {
            let now = Clock.monotonic()
            if slumber.waits(at: now, Clock.spent()) { try rest() }
            timeout = idleUntil.map { $0 - now }
            switch halt?.waits(at: now, Clock.spent()) ?? .goOn {
            case .goOn: break
            case .lookAgain(let pause): timeout.shorten(to: pause)
            case .powerOff: return
            }
        }
        let ready = try loop.look(session, timeout: timeout)
        if loop.outcome != nil { return }
        pace.looked(found: watched.contains { ready.isReady(descriptor: $0) })
        try session.serve(self, ready)
        var next: Nanoseconds?
        for device in made.devices {
            let wait = try device.serve(ready)
            if loop.outcome != nil { return }
            next.shorten(to: wait)
        }
        if let next { try loop.setAlarm(next) }
        if signs.isDue(loop) {
            try signs.look(loop, usesDevices: made.devices.contains { !$0.uses.isEmpty })
        }
        pc.platform.raiseLines()
        if isIdle { pc.resume() }
    }

    private func rest() throws(LauncherError) {
        do throws(Errno) { try pc.rest() } catch { throw .system("give memory back", error) }
    }

    // MARK: The console's input

    /// Keys go to the virtio console once a driver takes some there.
    func room() -> Int? {
        if made.console?.hasRoom ?? false { return Self.mostInput }
        if let hasRoom = pc.platform.hasKeyRoom { return hasRoom && deliversKeys ? 1 : nil }
        return pc.platform.serial.hasRoom ? Self.mostInput : nil
    }

    private var deliversKeys: Bool {
        if !keyDelivery.isDelivering {
            if pc.isInProgram { keyDelivery.run() } else { keyDelivery.look(.now, isIdle: isIdle) }
        }
        return keyDelivery.isDelivering
    }

    /// What is read at once: the rest waits until the guest has room.
    private static let mostInput = 16

    func fill(with bytes: ArraySlice<UInt8>) -> Int {
        var count = 0
        if let console = made.console, console.hasRoom {
            count = console.feed(bytes)
            pc.platform.raiseLines()
            if count > 0 { use.hasTaken = true }
            return count
        }
        for byte in bytes {
            if let hasRoom = pc.platform.hasKeyRoom {
                guard hasRoom else { break }
                pc.platform.type(byte)
            } else if !pc.platform.serial.feed(byte) {
                break
            }
            count += 1
        }
        if count > 0 { use.hasTaken = true }
        return count
    }
}

/// How long a busy guest runs between two looks at what others have for it: each costs a system call, and what comes
/// waits for the next. Where something was found more is to be expected soon: streams come in pieces.
struct LookPace {
    static let shortest = Nanoseconds(count: 100_000)
    let longest: Nanoseconds
    private(set) var pause: Nanoseconds

    init(longest: Nanoseconds) {
        self.longest = longest
        pause = longest
    }

    /// - Parameter found: whether there was anything.
    mutating func looked(found: Bool) {
        pause = found ? Self.shortest : min(Nanoseconds(count: 2 * pause.count), longest)
    }
}
