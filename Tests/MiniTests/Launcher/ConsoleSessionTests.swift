// Keys, output, ^C and signals of a launch whose device follows a script.

import Testing

@testable import Mini

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

    @Test(
        "an input that cannot be read ends, and a line says why, but of one that was closed",
        arguments: [
            (Errno.isDirectory, false, ["cannot read standard input: is a directory (EISDIR)"]),
            (.inputOutput, false, ["cannot read standard input: input/output error (EIO)"]),
            (.badDescriptor, false, []), (.inputOutput, true, []),
        ] as [(Errno, Bool, [String])])
    func unreadableInput(errno: Errno, isTerminal: Bool, lines: [String]) throws {
        let number = -Int(errno.rawValue)
        let terminal = FakeTerminal(device: { call in
            let isInput = call.arguments.0 == 0 || isTerminal && call.arguments.0 == 1_001_100
            return call.number == .read && isInput ? number : nil
        }) { $0.isTerminal = isTerminal }
        let played = try playLaunch([[.listen, attention, .send("on"), attention]], on: terminal)
        #expect(played.outcome == .poweredOff)
        #expect(string(played.terminal.output) == "on")
        #expect(played.notices == lines)
    }

    @Test("what cannot come is told as a defect of ours, not as the guest's death")
    func defect() throws {
        let played = try playLaunch([[.fail(.noSuchFile), attention]])
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
        let played = try playLaunch(
            [[attention]],
            on: FakeTerminal {
                $0.signals = [number]
                // Somebody's, not the kernel's.
                $0.signalCode = 0
            })
        #expect(played.outcome == .signal(Signal(rawValue: number)))
        #expect(played.terminal.terminal == FakeTerminal.cooked)
    }

    @Test(
        "an alarm, or a write beyond a limit, that somebody else has sent ends the guest, but not ours",
        arguments: [.alarm, .fileSize] as [Signal])
    func ownSignals(signal: Signal) throws {
        // SI_KERNEL, SI_USER, SI_TKILL.
        for (code, isOurs) in [(0x80, true), (0, false), (-6, false)] as [(Int32, Bool)] {
            let played = try playLaunch(
                [[attention]],
                on: FakeTerminal {
                    $0.signals = [signal.rawValue]
                    $0.signalCode = code
                })
            #expect(played.outcome == (isOurs ? .poweredOff : .signal(signal)))
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

    @Test("a guest whose terminal was hung up goes on, without input, when told to go on")
    func hangUp() throws {
        let terminal = FakeTerminal { $0.input = [[65]] }
        var watched: [Int32] = [0]
        let played = try playLaunch(
            [
                [
                    .listen, attention, .look { _ in terminal.hangUp() }, attention, .listen,
                    attention, .listen, .look { watched = $0.watched }, .send("x"),
                ]
            ], on: terminal)
        #expect(played.outcome == .poweredOff)
        #expect(played.device.received == "A" && string(played.terminal.output) == "x")
        #expect(!watched.contains(0))
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
