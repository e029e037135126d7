// The launcher on a device that follows a script, at a pretended terminal.

import Synchronization
import Testing

@testable import Mini

/// A device that does one step of a script at each run.
final class ScriptedDevice: LguestDevice {
    enum Step {
        /// Sends text from guest memory under a key.
        case send(String, key: UInt32 = 0)
        /// Sends a record with these sections.
        case sections([(start: UInt32, count: UInt16)])
        /// Sends a record at an address.
        case record(UInt32)
        /// Sends what is at an address, under any key.
        case notify(UInt32, key: UInt32)
        case fail(Errno)
        case reason(Text)
        case defect(Text)
        /// The guest binds its input buffer, or has read what is in it.
        case listen
        case look((ScriptedDevice) -> Void)
    }
    private var steps: [Step]
    let memory: GuestMemory
    let abi: GuestABI

    var request: InitializeRequest?
    var interrupts: [UInt32] = []
    var watched: [Int32] = []
    var isListening = false
    var isClosed = false
    var received = ""
    var bufferRequests = 0
    var answer = 20

    private let output: UInt32 = 0x8000
    private let input: UInt32 = 0x8100

    init(_ memory: GuestMemory, _ abi: GuestABI, _ steps: [Step]) {
        self.memory = memory
        self.abi = abi
        self.steps = steps
    }

    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        self.request = request
        return answer
    }

    func run() throws(Errno) -> RunResult {
        while !steps.isEmpty {
            switch steps.removeFirst() {
            case .send(let text, let key):
                let bytes = Array(text.utf8)
                memory.writable(memory.range(0x9000, UInt32(bytes.count))!).copyBytes(from: bytes)
                put([(0x9000, UInt16(bytes.count)), (0, 0)], at: output, abi.dma!, to: memory)
                memory.store32(output, 0)
                return .dma(DMANotification(output, key))
            case .sections(let sections):
                put(sections + [(0, 0)], at: output, abi.dma!, to: memory)
                memory.store32(output, 0)
                return .dma(DMANotification(output, 0))
            case .record(let address): return .dma(DMANotification(address, 0))
            case .notify(let address, let key): return .dma(DMANotification(address, key))
            case .fail(let errno): throw errno
            case .reason(let text): return .reason(text)
            case .defect(let state): return .defect(state: state)
            case .listen:
                isListening = true
                let count = memory.load32(input)!
                received += string(Array(memory.readable(memory.range(0xA000, count)!)))
                memory.store32(input, 0)
                put([(0xA000, 16), (0, 0)], at: input, abi.dma!, to: memory)
            case .look(let body): body(self)
            }
        }
        return .reason("CRASH: Power down")
    }

    func interrupt(_ line: InterruptLine) throws(Errno) { interrupts.append(line.rawValue) }

    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        bufferRequests += 1
        guard isListening, key == 0 else { throw .noSuchFile }
        memory.store32(input, 1)
        return GuestAddress(rawValue: input)
    }

    func breakOut(_ on: Bool) throws(Errno) {}
    func watch(_ descriptors: [Int32]) { watched = descriptors }
    func close() { isClosed = true }
}

/// What a launch by script came to.
struct PlayedLaunch {
    var outcome: LaunchOutcome
    var devices: [ScriptedDevice]
    var terminal: FakeTerminal.State
    var reports: [String]
    var notices: [String]
    var device: ScriptedDevice { devices[0] }
}

/// Launches a kernel by these scripts, one for each start.
func playLaunch(
    _ scripts: [[ScriptedDevice.Step]], on terminal: FakeTerminal = FakeTerminal(),
    restarts: Bool = true, keeps: Bool = true, with setups: [any DeviceSetup] = [],
    change: @escaping (ScriptedDevice) -> Void = { _ in }
) throws -> PlayedLaunch {
    let file = try memoryFile(ElfSpec.kernel())
    var plan = LaunchPlan()
    plan.kernel = "/proc/self/fd/\(file.number)"
    plan.mebibytes = 4
    plan.arguments = ["quiet"]
    plan.devices = setups
    var devices: [ScriptedDevice] = []
    var reports: [String] = []
    var notices: [String] = []
    let launcher = LguestLauncher(
        plan,
        LaunchSurroundings(
            report: { reports.append(string($0)) }, notice: { notices.append(string($0)) })
    ) {
        (memory, abi) throws(LauncherError) -> any LguestDevice in
        let device = ScriptedDevice(memory, abi, scripts[min(devices.count, scripts.count - 1)])
        change(device)
        if keeps { devices.append(device) }
        return device
    }
    let outcome = terminal.play { launcher.run(restarts: restarts) }
    _ = file.number
    return PlayedLaunch(
        outcome: outcome, devices: devices, terminal: terminal.now, reports: reports,
        notices: notices)
}

@Suite struct LauncherTests {
    @Test("the guest finds its console in the device page, and INITIALIZE says where all is")
    func initialize() throws {
        let played = try playLaunch([[]])
        #expect(played.outcome == .poweredOff)
        let request = try #require(played.device.request)
        #expect(request.pageLimit == 1025)
        #expect(request.pageOffset == 0xC000_0000)
        #expect(request.pageDirectory == 0x40_0000 - 0x1000)
        #expect(request.start == 0xC010_0000 + UInt32(KernelSpec().entryOffset))
        #expect(played.device.memory.load32(0x40_0000) == 1)
        #expect(played.device.memory.load32(0x228) == 0x1000)
        #expect(played.device.isClosed)
    }

    @Test("what a host says of a defect of its own ends the launch with code 1")
    func defect() throws {
        let played = try playLaunch([[.send("Linux\n"), .defect("stopped")]])
        #expect(played.outcome == .failed(.defect(state: "stopped")))
        #expect(LauncherError.defect(state: "stopped").exitCode == 1)
        #expect(string(played.terminal.output) == "Linux\n" && played.device.isClosed)
    }

    @Test("each DMA record is one write, at once, and its length is given back")
    func output() throws {
        var lengths: [UInt32?] = []
        let played = try playLaunch([
            [
                .send("Linux version\n"), .look { lengths.append($0.memory.load32(0x8000)) },
                .send("#"), .look { lengths.append($0.memory.load32(0x8000)) },
            ]
        ])
        #expect(string(played.terminal.output) == "Linux version\n#")
        #expect(played.terminal.writes == [14, 1])
        #expect(lengths == [14, 1])
    }

    @Test("output that takes several writes arrives whole")
    func partialWrites() throws {
        let text = String(repeating: "0123456789", count: 100)
        let played = try playLaunch([[.send(text)]], on: FakeTerminal { $0.outputRoom = 7 })
        #expect(string(played.terminal.output) == text)
    }

    @Test("a record that points outside guest memory is refused, does no harm, and is told once")
    func hostileOutput() throws {
        let played = try playLaunch([
            [
                .sections([(0xFFFF_0000, 16)]), .record(0xFFFF_FFF0), .sections([(0x50_0000, 1)]),
                .send("x", key: 0x1234), .send("still here"),
            ]
        ])
        #expect(played.outcome == .poweredOff)
        #expect(string(played.terminal.output) == "still here")
        #expect(
            played.reports.filter { $0.hasPrefix("the guest sent") } == [
                "the guest sent a DMA record that points outside its memory"
            ])
    }

    @Test("a death is told with its reason, a power-off by its text")
    func reasons() throws {
        let died = try playLaunch([[.fail(.noSuchFile), .reason("bad stack segment 24")]])
        #expect(died.outcome == .died("bad stack segment 24"))
        #expect(try playLaunch([[.reason("CRASH: Power down")]]).outcome == .poweredOff)
        #expect(
            try playLaunch([[.reason("CRASH: Power downer")]]).outcome
                == .died("CRASH: Power downer"))
    }

    @Test("a restart begins again with fresh memory and the image")
    func restart() throws {
        let first: [ScriptedDevice.Step] = [
            .send("one"), .look { $0.memory.store32(0x20_0000, 0xDEAD) }, .fail(.restart),
        ]
        let played = try playLaunch([first, [.send("two")]])
        #expect(played.outcome == .poweredOff)
        #expect(played.devices.count == 2)
        #expect(played.devices[0].isClosed)
        #expect(played.devices[1].memory !== played.devices[0].memory)
        #expect(played.devices[1].memory.load32(0x20_0000) == 0)
        #expect(string(played.terminal.output) == "onetwo")
        #expect(played.terminal.terminal == FakeTerminal.cooked)
    }

    @Test("without restarts a reboot is the end")
    func noRestart() throws {
        #expect(try playLaunch([[.fail(.restart)]], restarts: false).outcome == .restart)
    }

    @Test("a device that answers for another era is not used")
    func otherDevice() throws {
        let played = try playLaunch([[]]) { $0.answer = 16 }
        #expect(played.outcome == .failed(.otherDevice(era: .era1)))
    }

    @Test("an errno of the device's that belongs to nothing ends the launch")
    func deviceFailure() throws {
        let played = try playLaunch([[.fail(.badAddress)]])
        #expect(played.outcome == .failed(.device("run the guest", .badAddress)))
    }
}

@Suite struct ConsoleSessionTests {
    /// A run that was ended because somebody wants attention.
    private let attention = ScriptedDevice.Step.fail(.again)

    @Test("keys reach the guest's buffer, and its interrupt is raised")
    func input() throws {
        let played = try playLaunch(
            [[.listen, attention, .listen]], on: FakeTerminal { $0.input = [Array("ls\n".utf8)] })
        #expect(played.device.received == "ls\n")
        #expect(played.device.interrupts == [1])
    }

    @Test("more than the buffer takes is delivered in turns, in order, none lost")
    func longInput() throws {
        let text = String(repeating: "0123456789", count: 10)
        var steps: [ScriptedDevice.Step] = [.listen, attention]
        for _ in 0..<20 { steps += [.listen, attention] }
        for isTerminal in [true, false] {
            let played = try playLaunch(
                [steps],
                on: FakeTerminal {
                    $0.isTerminal = isTerminal
                    $0.input = [Array(text.utf8)]
                })
            #expect(played.device.received == text)
        }
    }

    @Test("what was read ahead at a terminal is delivered in turns as the guest runs")
    func readAhead() throws {
        let text = String(repeating: "0123456789", count: 10)
        var steps: [ScriptedDevice.Step] = [attention, attention]
        for _ in 0..<20 { steps += [.listen, .send(".")] }
        let played = try playLaunch([steps], on: FakeTerminal { $0.input = [Array(text.utf8)] })
        #expect(played.device.received == text)
    }

    @Test("from a pipe nothing is read before the guest has a buffer")
    func patience() throws {
        let terminal = FakeTerminal {
            $0.isTerminal = false
            $0.input = [Array("early".utf8)]
        }
        var left = -1
        let played = try playLaunch(
            [[attention, attention, .look { _ in left = terminal.now.input.count }]], on: terminal)
        #expect(left == 1)
        #expect(played.device.bufferRequests == 1)
        #expect(!played.device.watched.contains(0))
        #expect(played.terminal.alarms >= 1)
    }

    @Test("input that waits for the guest is delivered when the alarm goes off, or the guest ran")
    func later() throws {
        for wake: [ScriptedDevice.Step] in [[attention], [.send("x")]] {
            let terminal = FakeTerminal {
                $0.isTerminal = false
                $0.input = [Array("early".utf8)]
            }
            let first = ScriptedDevice.Step.look { _ in terminal.add(signal: 14) }
            let played = try playLaunch(
                [[attention, .listen, first] + wake + [.listen]], on: terminal)
            #expect(played.device.received == "early")
        }
    }

    @Test("at the end of input it is watched no more, and the guest goes on")
    func endOfInput() throws {
        let played = try playLaunch(
            [[.listen, attention, .send("on"), attention]],
            on: FakeTerminal { $0.isTerminal = false })
        #expect(played.outcome == .poweredOff)
        #expect(string(played.terminal.output) == "on")
        #expect(played.device.watched.count == 1)
        #expect(played.device.interrupts.isEmpty)
        #expect(played.device.memory.load32(0x8100) == 0)
    }

    @Test("what cannot come is told as a defect of ours, not as the guest's death")
    func defect() throws {
        let played = try playLaunch([[.fail(.noSuchFile), .send("from the grave")]])
        #expect(played.outcome == .failed(.defect(state: "dying")))
        guard case .failed(let error) = played.outcome else { return }
        #expect(error.exitCode == 1)
        #expect(string(error.text).hasPrefix("a defect of mini"))
    }

    @Test("three ^C at a terminal leave, and the terminal is as before")
    func escape() throws {
        let played = try playLaunch(
            [[.listen, attention]], on: FakeTerminal { $0.input = [[3, 3, 3]] })
        #expect(played.outcome == .escaped)
        #expect(played.terminal.terminal == FakeTerminal.cooked)
    }

    @Test("three ^C leave a guest that never listens")
    func escapeFromDeaf() throws {
        let played = try playLaunch(
            [[attention, attention, attention, attention]],
            on: FakeTerminal { $0.input = [[3], [3], [3]] })
        #expect(played.outcome == .escaped)
    }

    @Test("three ^C from a pipe are bytes like others")
    func noEscape() throws {
        let played = try playLaunch(
            [[.listen, attention, .listen]],
            on: FakeTerminal {
                $0.isTerminal = false
                $0.input = [[3, 3, 3]]
            })
        #expect(played.outcome == .poweredOff)
        #expect(played.device.received == "\u{3}\u{3}\u{3}")
    }

    @Test("the terminal is raw while the guest runs, cooked before and after")
    func rawMode() throws {
        let terminal = FakeTerminal()
        var during: UInt32 = 0
        let played = try playLaunch([[.look { _ in during = terminal.now.terminal }]], on: terminal)
        #expect(during == FakeTerminal.raw)
        #expect(played.terminal.terminal == FakeTerminal.cooked)
        #expect(played.terminal.held == 0)
    }

    @Test(
        "a signal that ends us ends the guest, with the terminal as before",
        arguments: [1, 2, 3, 5, 6, 10, 12, 13, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 64]
            as [Int32])
    func endingSignals(number: Int32) throws {
        let played = try playLaunch([[attention]], on: FakeTerminal { $0.signals = [number] })
        #expect(played.outcome == .signal(Signal(rawValue: number)))
        #expect(played.terminal.terminal == FakeTerminal.cooked)
    }

    @Test("so does an alarm that somebody else has sent, but not one of ours")
    func alarm() throws {
        // SI_KERNEL, SI_USER, SI_TKILL.
        for (code, isOurs) in [(0x80, true), (0, false), (-6, false)] as [(Int32, Bool)] {
            let played = try playLaunch(
                [[attention]],
                on: FakeTerminal {
                    $0.signals = [14]
                    $0.signalCode = code
                })
            #expect(played.outcome == (isOurs ? .poweredOff : .signal(.alarm)))
        }
    }

    @Test("an alarm that whoever started us has set ends it, when its time has come")
    func alarmFromBefore() throws {
        for seconds in [0, 1000] {
            let played = try playLaunch(
                [[attention]],
                on: FakeTerminal {
                    $0.signals = [14]
                    $0.alarmLeft = (seconds, 1)
                })
            #expect(played.outcome == (seconds == 0 ? .signal(.alarm) : .poweredOff))
        }
    }

    @Test("a signal while the output is written ends the guest too")
    func signalWhileWriting() throws {
        let played = try playLaunch([[.send("x")]], on: FakeTerminal { $0.signals = [15] })
        #expect(played.outcome == .signal(.terminate))
        #expect(played.terminal.output.isEmpty)
    }

    @Test("output that is not taken keeps nobody from three ^C, or from a signal")
    func deafOutput() throws {
        let escaped = try playLaunch(
            [[.send("x")]],
            on: FakeTerminal {
                $0.isOutputReady = false
                $0.input = [[3], [3], [3]]
            })
        #expect(escaped.outcome == .escaped)
        let ended = try playLaunch(
            [[.send("x")]],
            on: FakeTerminal {
                $0.isOutputReady = false
                $0.signals = [15]
            })
        #expect(ended.outcome == .signal(.terminate))
        for played in [escaped, ended] {
            #expect(played.terminal.output.isEmpty)
            #expect(played.terminal.terminal == FakeTerminal.cooked)
        }
    }

    @Test("a terminal that says it is ready and takes nothing is asked again, and gets all of it")
    func refusedOutput() throws {
        let played = try playLaunch([[.send("some words")]], on: FakeTerminal { $0.refusals = 3 })
        #expect(string(played.terminal.output) == "some words")
    }

    @Test("where nothing can be opened once more, the output is written and the input read as well")
    func withoutProc() throws {
        let played = try playLaunch(
            [[.send("words"), .listen, attention, .listen]],
            on: FakeTerminal {
                $0.isClosedProc = true
                $0.input = [Array("ls".utf8)]
            })
        #expect(string(played.terminal.output) == "words")
        #expect(played.device.received == "ls")
        #expect(played.terminal.held == 0)
    }

    @Test("keys that were read while the output kept us reach the guest")
    func keysWhileWriting() throws {
        let played = try playLaunch(
            [[.listen, .send("x"), .listen]],
            on: FakeTerminal {
                $0.isOutputReady = false
                $0.outputFollowsInput = true
                $0.input = [Array("ls".utf8)]
            })
        #expect(string(played.terminal.output) == "x")
        #expect(played.device.received == "ls")
    }

    @Test("a guest that restarts all the time says once what it has to say, and ends by a signal")
    func restartsForEver() throws {
        let terminal = FakeTerminal()
        let step: [ScriptedDevice.Step] = [.send("x", key: 0x1234), .fail(.restart)]
        var starts = 0
        let played = try playLaunch([step], on: terminal) { _ in
            starts += 1
            if starts == 5 { terminal.add(signal: 15) }
            if starts > 100 { terminal.add(signal: 9) }
        }
        #expect(played.outcome == .signal(.terminate))
        #expect(starts == 5)
        #expect(played.reports.filter { $0.hasPrefix("the guest sent") }.count == 1)
        #expect(played.reports.filter { $0.hasPrefix("the guest restarts") }.count == 5)
    }

    @Test(
        "stopping gives the terminal back, going on takes it again; who stops us may be another of our job",
        arguments: [20, 21, 22] as [Int32])
    func stop(number: Int32) throws {
        let terminal = FakeTerminal { $0.signals = [number, 18] }
        var during: UInt32 = 0
        let played = try playLaunch(
            [[attention, .look { _ in during = terminal.now.terminal }]], on: terminal)
        #expect(played.outcome == .poweredOff)
        #expect(during == FakeTerminal.raw)
        let calls = played.terminal.calls
        #expect(calls.contains(SystemCall.Number.kill.rawValue))
    }

    @Test("in the background the terminal is left alone, and taken when it is ours")
    func background() throws {
        let terminal = FakeTerminal {
            $0.isForeground = false
            $0.input = [[65]]
        }
        var settings: [UInt32] = []
        var watched: [Int32] = []
        let played = try playLaunch(
            [
                [
                    .listen,
                    .look {
                        watched = $0.watched
                        settings.append(terminal.now.terminal)
                        terminal.bringToForeground()
                        terminal.add(signal: 14)
                    }, attention, .look { _ in settings.append(terminal.now.terminal) },
                    attention, .listen,
                ]
            ], on: terminal)
        #expect(!watched.contains(0))
        #expect(settings == [FakeTerminal.cooked, FakeTerminal.raw])
        #expect(played.device.received == "A")
    }

    @Test("a closed output ends the guest as SIGPIPE would")
    func closedOutput() throws {
        let played = try playLaunch(
            [[.send("x")]], on: FakeTerminal { $0.outputErrno = .brokenPipe })
        #expect(played.outcome == .signal(.brokenPipe))
        #expect(played.terminal.terminal == FakeTerminal.cooked)
    }

    @Test("a socket whose other end is closed ends a guest that says nothing, as a pipe does")
    func closedSocket() throws {
        for isGone in [true, false] {
            let terminal = FakeTerminal { $0.isSocket = true }
            let leave = ScriptedDevice.Step.look { _ in if isGone { terminal.leaveSocket() } }
            let played = try playLaunch([[attention, leave, attention]], on: terminal)
            #expect(played.outcome == (isGone ? .signal(.brokenPipe) : .poweredOff))
            #expect(played.device.watched.contains(~1) && !played.device.watched.contains(1))
            #expect(played.terminal.terminal == FakeTerminal.cooked)
        }
    }

    @Test("a kernel that is not for lguest is told as that, however much memory it is to have")
    func muchMemory() throws {
        for (banner, error) in [
            ("2.6.23", LoaderError.memoryTooLarge(mebibytes: 3000, most: 2046)),
            ("6.1.0", nil),
        ] as [(String, LoaderError?)] {
            var spec = KernelSpec()
            spec.banner = "Linux version \(banner) (a@b)"
            let file = try memoryFile(ElfSpec.kernel(spec))
            var plan = LaunchPlan()
            plan.kernel = "/proc/self/fd/\(file.number)"
            plan.mebibytes = 3000
            plan.isMemoryGiven = true
            let launcher = LguestLauncher(
                plan, LaunchSurroundings(report: nil, notice: { _ in })
            ) { (memory, abi) throws(LauncherError) -> any LguestDevice in
                ScriptedDevice(memory, abi, [])
            }
            let outcome = FakeTerminal().play { launcher.run(restarts: false) }
            _ = file.number
            let expected =
                error
                ?? .image(name: plan.kernel, .withoutLguest(version: Text(stringLiteral: banner)))
            #expect(outcome == .failed(.loader(expected)))
        }
    }

    @Test("an output that fails ends the launch with its errno")
    func failedOutput() throws {
        let played = try playLaunch([[.send("x")]], on: FakeTerminal { $0.outputErrno = .noSpace })
        #expect(played.outcome == .failed(.system("write the guest's output", .noSpace)))
    }

    @Test("whichever call fails, there is one outcome, the terminal is as before, nothing leaks")
    func everyCallFails() throws {
        let script: [ScriptedDevice.Step] = [
            .send("hello"), .listen, attention, .listen, attention, .send("bye"),
        ]
        func terminal(failing: Int?) -> FakeTerminal {
            FakeTerminal {
                $0.input = [Array("ls".utf8), Array("more".utf8)]
                $0.signals = [18]
                if let failing { $0.failing = (failing, .noMemory) }
            }
        }
        let whole = try playLaunch([script], on: terminal(failing: nil), keeps: false).terminal
        #expect(whole.descriptors.isEmpty && whole.mappings.isEmpty)
        #expect(whole.calls.count > 30)
        let harmless: [SystemCall.Number] = [.close, .unmap, .ioctl, .signalMask]
        for call in 1...whole.calls.count {
            let played = try playLaunch(
                [script], on: terminal(failing: call), keeps: false
            ).terminal
            let number = SystemCall.Number(rawValue: played.calls[call - 1])
            if !harmless.contains(number) {
                #expect(played.terminal == FakeTerminal.cooked, "call \(call)")
                #expect(played.held == 0, "call \(call)")
            }
            if number != .close && number != .unmap {
                #expect(played.descriptors.isEmpty, "call \(call)")
                #expect(played.mappings.isEmpty, "call \(call)")
            }
        }
    }
}

@Suite struct SlumberTests {
    @Test("a guest that ran next to never for some seconds slumbers, no other one")
    func slumber() {
        func milliseconds(_ count: UInt64) -> Nanoseconds { .milliseconds(count) }
        var slumber = Slumber()
        var asked = 0
        func waits(_ now: UInt64, spent: UInt64) -> Bool {
            slumber.waits(
                at: .milliseconds(now),
                {
                    asked += 1
                    return milliseconds(spent)
                }())
        }
        // Nobody knows what was before.
        var seen = [waits(10_000, spent: 9000)]
        for moment in stride(from: 10_010, through: 12_999, by: 10) as StrideThrough<UInt64> {
            seen.append(waits(moment, spent: 9000))
        }
        #expect(!seen.contains(true))
        #expect(asked == 1)
        seen = [waits(13_000, spent: 9374), waits(13_001, spent: 9374)]
        #expect(seen == [true, false])
        // An eighth of the time.
        seen = [waits(16_000, spent: 9749), waits(19_000, spent: 9749)]
        #expect(seen == [false, true])
        // It ran all the time, and then waited once.
        seen = [waits(40_000, spent: 30_000), waits(42_999, spent: 30_000)]
        #expect(seen == [false, false])
    }
}

@Suite struct LookPaceTests {
    @Test("others are looked at often while they have something, and ever more seldom when not")
    func pace() {
        var pace = LookPace(longest: .milliseconds(2))
        #expect(pace.pause == .milliseconds(2))
        pace.looked(found: true)
        #expect(pace.pause == LookPace.shortest)
        var pauses: [UInt64] = []
        for _ in 0..<6 {
            pace.looked(found: false)
            pauses.append(UInt64(pace.pause.count) / 1000)
        }
        #expect(pauses == [200, 400, 800, 1600, 2000, 2000])
        pace.looked(found: true)
        #expect(pace.pause == LookPace.shortest)
    }
}
