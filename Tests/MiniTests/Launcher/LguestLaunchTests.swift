// mini-launch as a whole on a kernel with /dev/lguest, which the test plays: what it finds out
// about the device, what it does with it, and what it says when that cannot be used.

import Foundation
import Testing

@testable import Mini

private let eras: [DeviceEra] = [
    .era0, .era1, .era1c, .virtio, .hostTables, .eventDescriptors, .pci,
]

/// The guest that a device of an era runs.
private func guestEra(_ era: DeviceEra) -> GuestABI.Era {
    switch era {
    case .era0: .era0
    case .era1c: .era1c
    default: .era1
    }
}

/// What a run of mini-launch came to.
private struct Launched {
    var code: Int32
    var device: PlayedLguest.State
    var terminal: FakeTerminal.State
    var output: String { string(terminal.output) }
    var errors: [String] {
        string(terminal.errors).split(separator: "\n").map(String.init)
    }
}

/// Launches a kernel of this era with 4 MiB on a played device.
private func launch(
    _ words: [Text], kernel era: GuestABI.Era = .era1, image: [UInt8]? = nil,
    on device: PlayedLguest, _ change: (inout FakeTerminal.State) -> Void = { _ in }
) throws -> Launched {
    let file = try memoryFile(image ?? ElfSpec.kernel(KernelSpec(era: era)))
    let terminal = FakeTerminal(device: device.answer, change)
    let kernel: Text = "/proc/self/fd/\(file.number)"
    let code = terminal.play { LaunchCommand.run((words + ["4", kernel, "quiet"])[...]) }
    _ = file.number
    return Launched(code: code, device: device.now, terminal: terminal.now)
}

private func played(
    _ era: DeviceEra, _ steps: [PlayedLguest.Step] = [],
    _ change: (inout PlayedLguest.State) -> Void = { _ in }
) -> PlayedLguest {
    PlayedLguest(era, steps) {
        $0.memorySize = 5 << 20
        change(&$0)
    }
}

/// True if this process may map address 0, which era 0 needs.
private let mapsZero = (try? Mapping.lowest(count: 0x2_0000)) != nil

@Suite struct DeviceEraTests {
    @Test("a device's era is found out, and nothing stays open", arguments: eras)
    func probe(_ era: DeviceEra) throws {
        let device = played(era)
        let terminal = FakeTerminal(device: device.answer)
        let found = terminal.play { () -> Result<DeviceEra, DeviceError> in
            do throws(DeviceError) { return .success(try DeviceEra.probe()) } catch {
                return .failure(error)
            }
        }
        #expect(found == .success(era))
        #expect(device.now.guests.isEmpty && device.now.starts == 0)
        #expect(terminal.now.mappings.isEmpty)
    }

    @Test("a file or another device is not written to, or not believed")
    func somethingElse() throws {
        let file = try memoryFile([1, 2, 3])
        let null = try Descriptor.open("/dev/null", .readWrite)
        for number in [file.number, null.number] {
            let result: DeviceError? = SystemCall.hooked({ call in
                guard call.number == .open else { return nil }
                // dup
                return try? SystemCall.make(.init(rawValue: 32), Int(number))
            }) {
                do throws(DeviceError) {
                    _ = try DeviceEra.probe()
                    return nil
                } catch { return error }
            }
            #expect(result == .notTheDevice)
        }
        #expect(try FileStatus.of(file.number).size == 3)
        _ = null.number
    }

    @Test("each device runs the guests of its own age and no others")
    func fitting() {
        let fitting: [(DeviceEra, [GuestABI.Era])] = [
            (.era0, [.era0, .era0b]), (.era1, [.era1a, .era1, .era1b]), (.era1c, [.era1c]),
            (.virtio, [.era2, .era3a]), (.hostTables, [.era3b, .era3c]),
            (.eventDescriptors, [.era4a, .era4b, .era4c, .era4d]), (.pci, [.era5]),
        ]
        for (device, guests) in fitting {
            for guest in GuestABI.Era.allCases {
                #expect(device.runs(guest) == guests.contains(guest))
                // A host whose release is known runs its own; what has nothing to do with the device says nothing.
                for host in GuestABI.Era.allCases {
                    let isKnown = guests.contains(host)
                    #expect(
                        device.runs(guest, on: host)
                            == (isKnown ? guest == host : guests.contains(guest)))
                }
            }
        }
    }
}

@Suite struct LguestLaunchTests {
    private static let session: [PlayedLguest.Step] = [
        .send("Linux\n"), .listen, .attention, .listen, .send("bye\n"),
    ]

    @Test(
        "a guest prints, is given keys and powers off", arguments: [.era1, .era1c] as [DeviceEra])
    func session(_ era: DeviceEra) throws { try expectSession(era) }

    @Test(
        "so does a guest of era 0, whose memory begins at address 0",
        .enabled(if: mapsZero, "no memory can be had at address 0 here"))
    func sessionAtZero() throws { try expectSession(.era0) }

    private func expectSession(_ era: DeviceEra) throws {
        let launched = try launch(
            ["--engine=lguest"], kernel: guestEra(era), on: played(era, Self.session)
        ) { $0.input = [Array("ls\n".utf8)] }
        #expect(launched.code == 0 && launched.errors.isEmpty, "\(launched.errors)")
        #expect(launched.output == "Linux\nbye\n")
        #expect(launched.device.received == "ls\n")
        // After the break: the buffer, its interrupt, and the break taken back, in this order.
        let tail = launched.device.requests.suffix(3).map { Array($0.prefix(2)) }
        #expect(tail == [[1, 0], [2, 1], [3, 0]])
        // (In era 0 the probe's guest is dead when it is asked.)
        #expect(launched.device.refusals.filter { $0.request == 3 }.count == (era == .era0 ? 1 : 0))
        #expect(launched.device.starts == 1 && launched.device.waker == 0)
        #expect(launched.device.guests.isEmpty && launched.device.memory == nil)
        #expect(launched.terminal.terminal == FakeTerminal.cooked)
    }

    @Test(
        "from 2.6.24 on a guest speaks before it has a console, and what is watched ends a run",
        arguments: [
            (.virtio, .era2), (.hostTables, .era3c), (.eventDescriptors, .era4b),
        ] as [(DeviceEra, GuestABI.Era)])
    func later(_ device: DeviceEra, _ guest: GuestABI.Era) throws {
        let launched = try launch(
            ["--engine=lguest"], kernel: guest,
            on: played(device, [.send("Linux\n"), .attention, .send("bye\n")]))
        #expect(launched.code == 0 && launched.errors.isEmpty, "\(launched.errors)")
        #expect(launched.output == "Linux\nbye\n")
        // The break is taken back; where there is none, the waker is told to go on. What to watch it knows.
        let hasBreak = device != .eventDescriptors
        let breaks = launched.device.requests.filter { $0[0] == 3 && $0[1] == 0 }
        // (One was asked for where it tells devices apart.)
        #expect(breaks.count == (device == .hostTables ? 2 : hasBreak ? 1 : 0))
        #expect(launched.device.wakes == (hasBreak ? 0 : 1))
        #expect(launched.device.watches.count == 1 && launched.device.watches[0].isEmpty == false)
        #expect(launched.device.starts == 1 && launched.device.waker == 0)
        #expect(launched.device.guests.isEmpty && launched.device.memory == nil)
    }

    @Test("a timeline has the same on the kernel's device and on our host, and then what was used")
    func timeline() throws {
        func happened(_ engine: Text, _ image: [UInt8]?, _ input: [UInt8]) throws -> [String] {
            let file = try memoryFile([])
            let path: Text = "/proc/self/fd/\(file.number)"
            let launched = try launch(
                ["--engine", engine, "--timeline", path], image: image,
                on: played(.era1, Self.session)
            ) { $0.input = [input] }
            #expect(launched.code == 0 && launched.errors.isEmpty, "\(launched.errors)")
            let trace = try #require(FileManager.default.contents(atPath: string(path)))
            _ = file.number
            return traceNames(try traceEvents(Array(trace)))
        }
        let phases = ["memory", "image", "unpacking", "devices", "guest", "sandbox"]
        #expect(
            try happened("lguest", nil, [65]) == phases + [
                "first instruction", "first output", "first input", "guest",
            ])
        #expect(
            try happened("builtin", hello(), []) == phases + [
                "first instruction", "first output", "guest",
            ])
    }

    @Test(
        "INITIALIZE has the words of the device's era", arguments: [.era1, .era1c] as [DeviceEra])
    func words(_ era: DeviceEra) throws { try expectWords(era) }

    @Test(
        "INITIALIZE has the words of era 0",
        .enabled(if: mapsZero, "no memory can be had at address 0 here"))
    func wordsAtZero() throws { try expectWords(.era0) }

    private func expectWords(_ era: DeviceEra) throws {
        let launched = try launch(["--engine=lguest"], kernel: guestEra(era), on: played(era))
        let words = try #require(launched.device.requests.last { $0[0] == 0 })
        let rest = Array(words.drop { $0 != 1025 })
        #expect(words.count == (era == .era1 ? 6 : 5))
        #expect(rest[1] == 0x3F_F000)
        if era != .era1c { #expect(rest.last == 0xC000_0000) }
    }

    @Test("a death is told with its reason, whichever way the launcher learns of it")
    func death() throws {
        for step in [PlayedLguest.Step.die("unhandled trap 6"), .dieUnseen("unhandled trap 6")] {
            let launched = try launch(["--engine=lguest"], on: played(.era1, [step]))
            #expect(launched.code == 4)
            #expect(launched.errors == ["mini-launch: the guest died: unhandled trap 6"])
        }
    }

    @Test(
        "a guest that cannot ask for its restart gets it for its last words, and ends with 5 with --no-reboot",
        arguments: [(.era1, .era1), (.era1c, .era1c), (.virtio, .era2)]
            as [(DeviceEra, GuestABI.Era)])
    func restart(_ era: DeviceEra, _ guest: GuestABI.Era) throws {
        let waits = [PlayedLguest.Step](repeating: .pass(500, busy: 490), count: 6)
        let steps: [PlayedLguest.Step] = [
            .pass(1, busy: 1), .send("Linux\n"), .send("Restarting sys"), .send("tem.\r\n"),
        ]
        let ended = try launch(
            ["--engine=lguest", "--no-reboot"], kernel: guest,
            on: played(era, steps + waits + [.send("spins for ever\n")]))
        #expect(ended.code == 5 && ended.errors == ["mini-launch: the guest asked for a reboot"])
        #expect(ended.output == "Linux\nRestarting system.\r\n")
        #expect(ended.terminal.alarms > 4)
        #expect(ended.device.guests.isEmpty && ended.device.waker == 0)

        let again = try launch(
            ["--engine=lguest"], kernel: guest,
            on: played(era, steps + waits + [.send("and again\n")]))
        #expect(again.code == 0 && again.errors.isEmpty, "\(again.errors)")
        #expect(again.output == "Linux\nRestarting system.\r\nand again\n")
        // One guest for the probe and two that ran; each has its waker.
        #expect(again.device.starts == 2)
        // Of each that ran no copy is made.
        let advice = SystemCall.Number.memoryAdvice.rawValue
        #expect(again.terminal.calls.filter { $0 == advice }.count == 2)
    }

    @Test("a guest that said so and waits, and one of an era that can ask, go on")
    func noRestart() throws {
        let words: [PlayedLguest.Step] = [.pass(1, busy: 1), .send("Restarting system.\r\n")]
        for (era, guest, busy) in [
            (.era1, .era1, 20), (.hostTables, .era3b, 490), (.hostTables, .era3c, 490),
        ] as [(DeviceEra, GuestABI.Era, UInt64)] {
            let waits = [PlayedLguest.Step](repeating: .pass(500, busy: busy), count: 12)
            let launched = try launch(
                ["--engine=lguest", "--no-reboot"], kernel: guest,
                on: played(era, words + waits + [.send("bye\n")]))
            #expect(launched.code == 0 && launched.errors.isEmpty, "\(guest) \(launched.errors)")
            #expect(launched.output == "Restarting system.\r\nbye\n")
        }
    }

    @Test("under --verbose a guest that says nothing for long is told of once")
    func silence() throws {
        func lines(_ words: [Text], _ steps: [PlayedLguest.Step]) throws -> [String] {
            let waits = [PlayedLguest.Step](repeating: .pass(5001, busy: 0), count: 9)
            let launched = try launch(
                ["--engine=lguest"] + words, on: played(.era1, steps + waits))
            #expect(launched.code == 0)
            return launched.errors.filter { $0.contains("nothing has been heard") }
        }
        let line =
            "mini-launch: nothing has been heard from the guest for 10 s: its kernel was told to be quiet"
        #expect(try lines(["--verbose"], []) == [line])
        #expect(try lines(["--verbose"], [.send("Linux\n")]) == [])
        #expect(try lines([], []) == [])
    }

    @Test("a guest that dies of what a break brought is told too")
    func deathInBreak() throws {
        let steps: [PlayedLguest.Step] = [.listen, .attention, .die("bad stack")]
        let launched = try launch(["--engine=lguest"], on: played(.era1, steps)) {
            $0.input = [[65]]
        }
        #expect(launched.errors == ["mini-launch: the guest died: bad stack"])
    }

    @Test("a break costs three calls: a look, the break taken back, the next run")
    func breakCalls() throws {
        func calls(_ breaks: Int) throws -> Int {
            let steps = [PlayedLguest.Step](repeating: .attention, count: breaks)
            let made = try launch(
                ["--engine", "lguest"], on: played(.era1, [.send("x")] + steps)
            ).terminal.calls
            // Up to the filter a launch closes what is open beside its own descriptors: a call for
            // each gap between these, and other tests leave gaps.
            let control = SystemCall.Number.processControl.rawValue
            let filter = try #require(made.lastIndex(of: control))
            return made[filter...].count
        }
        #expect(try calls(7) - calls(3) == 4 * 3)
    }

    @Test("an errno that means nothing good ends the launch with one line and code 1")
    func errnos() throws {
        for (step, words) in [
            (PlayedLguest.Step.fail(.badAddress), "bad address (EFAULT)"),
            (.forget, "operation not permitted (EPERM)"),
        ] {
            let launched = try launch(["--engine=lguest"], on: played(.era1, [step]))
            #expect(launched.code == 1)
            #expect(
                launched.errors == ["mini-launch: the lguest device cannot run the guest: \(words)"]
            )
            #expect(launched.device.guests.isEmpty && launched.device.waker == 0)
        }
    }

    @Test("a forced engine that cannot be used is told with the reason")
    func forced() throws {
        func line(_ device: PlayedLguest, _ era: GuestABI.Era = .era1) throws -> String {
            let launched = try launch(["--engine=lguest"], kernel: era, on: device)
            #expect(launched.code == 1 && launched.errors.count == 1)
            #expect(launched.terminal.terminal == FakeTerminal.cooked)
            return String(
                launched.errors[0].dropFirst(#"mini-launch: cannot use "/dev/lguest": "#.count))
        }
        func opening(_ errno: Errno) -> PlayedLguest { played(.era1) { $0.opening = errno } }
        let lost = "is the kernel's module lg loaded?"
        #expect(try line(opening(.noSuchFile)) == "no such file (ENOENT); " + lost)
        #expect(try line(opening(.noDevice)) == "no such device (ENODEV); " + lost)
        #expect(try line(opening(.accessDenied)) == "permission denied (EACCES)")
        #expect(try line(opening(.notPermitted)) == "operation not permitted (EPERM)")
        #expect(
            try line(played(.era1) { $0.refusal = .noSpace })
                == "it runs as many guests as it can (ENOSPC)")
        #expect(
            try line(played(.virtio))
                == "it is of Linux 2.6.24 to 2.6.28 (eras 2 and 3a), the guest of era 1")
        #expect(
            try line(played(.era1), .era0)
                == "it is of Linux between 2.6.23 and 2.6.24 (eras 1a to 1b), the guest of era 0")
    }

    @Test(
        "a guest with PAE runs on a device whose kernel has it, one without on one without, and else the line says which has",
        arguments: [(.eventDescriptors, .era4b), (.pci, .era5)] as [(DeviceEra, GuestABI.Era)])
    func wideTables(_ era: DeviceEra, _ guest: GuestABI.Era) throws {
        func line(_ isWide: Bool, _ report: String?) throws -> String? {
            var image = ElfSpec.kernel(KernelSpec(era: guest, banner: nil, size: 0x4000))
            if isWide {
                // Its first tables, in the file.
                image.put([UInt8](repeating: 0, count: 0x1000), at: 0x4000)
                for index in [0, 3] { image.put(UInt32(0x10_2001), at: 0x4000 + 8 * index) }
            }
            let file = try memoryFile(image)
            let path: Text = "/proc/self/fd/\(file.number)"
            let device = played(era, [.die("so")]) { $0.memoryReport = report }
            let terminal = FakeTerminal(device: device.answer)
            let code = terminal.play {
                LaunchCommand.run(["--engine=lguest", "4", path, "quiet"])
            }
            _ = file.number
            let text = string(terminal.now.errors)
            if code == 4 && text == "mini-launch: the guest died: so\n" { return nil }
            #expect(code == 1)
            return text
        }
        let start = #"mini-launch: cannot use "/dev/lguest": "#
        let (wide, narrow) = ("DirectMap2M:    512 kB\n", "MemFree: 2 kB\nDirectMap4M: 4 kB\n")
        #expect(try line(false, narrow) == nil)
        #expect(try line(true, wide) == nil)
        #expect(try line(false, nil) == nil)
        #expect(try line(false, "MemTotal: 1 kB\n") == nil)
        #expect(try line(true, narrow) == start + "the guest has PAE, its kernel has not\n")
        #expect(try line(false, wide) == start + "its kernel has PAE, the guest has not\n")
        #expect(try line(true, nil) == start + "the guest has PAE, which its kernel may not have\n")
    }

    @Test("left to itself it takes the device where that fits, else its own host, and says why")
    func automatic() throws {
        let fitting = try launch(
            ["--verbose"], on: played(.era1, [.send("on the device\n")]))
        #expect(fitting.output == "on the device\n")
        #expect(
            fitting.errors.filter { $0.contains("engine:") } == [
                "mini-launch: engine: /dev/lguest of Linux between 2.6.23 and 2.6.24 (eras 1a to 1b)"
            ])
        for (device, why) in [
            (played(.era1) { $0.opening = .accessDenied }, "permission denied (EACCES)"),
            (played(.era1) { $0.refusal = .noMemory }, "out of memory (ENOMEM)"),
            (
                played(.era1c),
                "it is of Linux shortly before 2.6.24 (era 1c), the guest of era 1"
            ),
        ] {
            let launched = try launch(["--verbose"], image: hello(), on: device)
            #expect(launched.code == 0 && launched.output == "hello\n")
            #expect(
                launched.errors.filter { $0.contains("engine:") } == [
                    "mini-launch: engine: the built-in host (/dev/lguest: \(why))"
                ])
        }
    }

    @Test("a device that does not run the guest opens none of its disks: of them all is told once")
    func openedOnce() throws {
        let disk = try memoryFile([UInt8](repeating: 0, count: 1300))
        let words: [Text] = ["--verbose", "--block", "/proc/self/fd/\(disk.number),ro"]
        let launched = try launch(words, image: hello(), on: played(.era1c))
        _ = disk.number
        #expect(launched.code == 0 && launched.output == "hello\n")
        #expect(launched.errors.filter { $0.contains("cannot see its last 276 bytes") }.count == 1)
        let ready = launched.errors.filter { $0.hasPrefix("mini-launch: ready: ") }
        #expect(ready.count == 1)
        for phase in ["engine", "memory", "image", "unpacking", "devices"] {
            #expect(ready.first?.components(separatedBy: " \(phase) ").count == 2)
        }
    }

    @Test("a disk that nobody has written to has no assistant, as one can be started later")
    func assistant() throws {
        let disk = try memoryFile([UInt8](repeating: 0, count: 1024))
        let launched = try launch(
            ["--engine=lguest", "--block", "/proc/self/fd/\(disk.number)"],
            on: played(.era1, [.send("Linux\n")]))
        _ = disk.number
        #expect(launched.code == 0 && launched.errors.isEmpty, "\(launched.errors)")
        #expect(!launched.terminal.calls.contains(SystemCall.Number.fork.rawValue))
    }

    @Test(
        "a packed kernel that dies early as a guest of lguest by auto may want a PC, which is told")
    func suggestion() throws {
        let hint =
            "mini-launch: the kernel was taken for a guest of lguest; --engine software starts it as a PC"
        let packed = BzImageSpec(KernelSpec(era: .era1).bytes()).bytes()
        func lines(
            _ steps: [PlayedLguest.Step], _ words: [Text] = [], _ image: [UInt8]? = nil
        ) throws -> [String] {
            let device = played(.era1, steps) { $0.clocks = (1000, 0) }
            return try launch(words, image: image ?? packed, on: device).errors
        }
        let trap = "unhandled trap 13 at 0xc0100000 (0x0)"
        let panic = "CRASH: Attempted to kill init!"
        let said = PlayedLguest.Step.send("Linux\n")
        let died = "mini-launch: the guest died: "
        #expect(try lines([.die(trap)]) == [hint, died + trap])
        #expect(try lines([.die(panic)]) == [hint, died + panic])
        #expect(try lines([said, .die(trap)]) == [hint, died + trap])
        #expect(try lines([said, .pass(4999, busy: 0), .die(trap)]) == [hint, died + trap])
        // Nothing was heard, however long it took.
        #expect(try lines([.pass(9000, busy: 0), .die(trap)]) == [hint, died + trap])

        #expect(try lines([said, .pass(5000, busy: 0), .die(trap)]) == [died + trap])
        #expect(try lines([said, .die(panic)]) == [died + panic])
        #expect(try lines([]) == [])
        #expect(try lines([.die(trap)], ["--engine=lguest"]) == [died + trap])
        let file = ElfSpec.kernel(KernelSpec(era: .era1))
        #expect(try lines([.die(trap)], [], file) == [died + trap])
        let other = BzImageSpec(KernelSpec(era: .era1, banner: nil).bytes()).bytes()
        #expect(try lines([.die(trap)], [], other) == [died + trap])
    }

    @Test("whichever call fails, there is one line and code, and nothing is left")
    func everyCallFails() throws {
        func launched(failing: Int?) throws -> Launched {
            try launch(["--engine=lguest"], on: played(.era1, Self.session)) {
                $0.input = [Array("ls".utf8), Array("more".utf8)]
                $0.signals = [18]
                if let failing { $0.failing = (failing, .noMemory) }
            }
        }
        // Some calls are made once in the life of a process: the first launch makes them.
        _ = try launched(failing: nil)
        let whole = try launched(failing: nil)
        #expect(whole.code == 0 && whole.terminal.calls.count > 60)
        for call in 1...whole.terminal.calls.count {
            let played = try launched(failing: call)
            // The clock is read more or less often: what failed is what this run asked for.
            guard call <= played.terminal.calls.count else { continue }
            let number = SystemCall.Number(rawValue: played.terminal.calls[call - 1])
            let what: Comment = "call \(call) of number \(number.rawValue)"
            #expect(played.device.waker == 0, what)
            #expect(played.errors.count == (played.code == 0 ? 0 : 1), what)
            #expect(played.code == 0 || played.code == 1 || number == .map, what)
            switch number {
            case .close, .unmap: continue
            case .ioctl, .signalMask: break
            default:
                #expect(played.terminal.terminal == FakeTerminal.cooked, what)
                #expect(played.terminal.held == 0, what)
            }
            #expect(played.device.guests.isEmpty && played.device.memory == nil, what)
            #expect(played.terminal.descriptors.isEmpty, what)
            #expect(played.terminal.mappings.isEmpty, what)
        }
    }
}
