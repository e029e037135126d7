// What a launch may still do once its guest runs: for each thing that it has, the system calls that
// this takes. The same as a page, with the reasons: docs/sandbox.md.

/// What a launch has, as far as it takes calls of its own.
enum LaunchFeature: CaseIterable {
    case always, terminal, outputTerminal, disk, writableDisk, tap, sharedNetwork, networkCard,
        restart, timeline, randomNumbers, offloads, kvm, kvmRestart

    /// As the page calls it.
    var name: StaticString {
        switch self {
        case .always: "every launch"
        case .terminal: "a terminal"
        case .outputTerminal: "a terminal for output or messages"
        case .disk: "a disk"
        case .writableDisk: "a disk that can be written"
        case .tap: "a tap"
        case .sharedNetwork: "a shared network"
        case .networkCard: "a card on a shared network"
        case .restart: "restarts"
        case .timeline: "a timeline"
        case .randomNumbers: "random numbers"
        case .offloads: "a tap of a PC's"
        case .kvm: "a processor of /dev/kvm"
        case .kvmRestart: "restarts on /dev/kvm"
        }
    }
}

/// The descriptors that a launch keeps.
struct LaunchDescriptors {
    var signals: Int32 = -1
    /// What standard input, output and error are read and written through, where these were opened once more.
    var input: Int32 = 0
    var output: Int32 = 1
    var errors: Int32 = 2
    /// Kernel and initrd, for a restart.
    var files: [Int32] = []
    var disks: [Int32] = []
    /// Those of the disks that can be written.
    var writableDisks: [Int32] = []
    /// Pipes to and from the process that waits for these.
    var assistants: [Int32] = []
    var taps: [Int32] = []
    var networks: [Int32] = []
    /// The sockets of our own cards, which others of these networks connect to.
    var listeners: [Int32] = []
    var timeline: Int32 = -1
    /// What random numbers are read from where the kernel has no call for them, or -1.
    var numbers: Int32 = -1
    /// Of the guest's host.
    var host: [Int32] = []
    var processor: KvmDescriptors?

    /// What these are for, in any order.
    var features: [LaunchFeature] = []
    /// How many there may be beside these, at the most.
    var more = 0

    /// All of them, beside 0 to 2.
    var all: [Int32] {
        [signals, input, output, errors, timeline, numbers] + files + disks + assistants + taps
            + networks
            + listeners + host + (processor?.all ?? [])
    }
}

extension LaunchFeature {
    /// The calls, the most frequent first.
    func rules(_ have: LaunchDescriptors, process: UInt32) -> [CallRule] {
        switch self {
        case .always: Self.always(have, process)
        case .terminal: Self.terminal(process)
        case .outputTerminal:
            [
                CallRule(
                    "ioctl", .ioctl, .descriptor("output", [1, 2]),
                    .value(1, UInt32(Terminal.getForegroundGroup), "TIOCGPGRP")),
                CallRule(
                    "ioctl", .ioctl, .descriptor("output", [1]),
                    .value(1, UInt32(Terminal.flowControl), "TCXONC")),
            ]
        case .disk:
            [
                CallRule("lseek", .seek, .descriptor("disk", have.disks)),
                CallRule("readv", .readVector, .descriptor("disk", have.disks)),
            ]
        case .writableDisk:
            [CallRule("writev", .writeVector, .descriptor("disk", have.writableDisks))]
                + (have.assistants.isEmpty
                    ? [
                        CallRule(
                            "fdatasync", .synchronizeData,
                            .descriptor("disk", have.writableDisks))
                    ]
                    : [
                        CallRule.on("write", .write, "assistant", have.assistants),
                        CallRule.on("read", .read, "assistant", have.assistants),
                    ])
        case .tap:
            [
                CallRule("readv", .readVector, .descriptor("tap", have.taps)),
                CallRule("writev", .writeVector, .descriptor("tap", have.taps)),
                CallRule("read", .read, .descriptor("tap", have.taps)),
            ]
        case .sharedNetwork: Self.sharedNetwork(have, listens: true)
        case .networkCard: Self.sharedNetwork(have, listens: false)
        case .restart:
            [
                CallRule("lseek", .seek, .descriptor("file", have.files)),
                CallRule(
                    "mmap", .map, .neverExecuted,
                    .descriptor("file", have.files + have.networks, at: 4)),
            ]
        case .timeline: [CallRule("write", .write, .descriptor("timeline", [have.timeline]))]
        case .randomNumbers:
            [
                have.numbers < 0
                    ? CallRule("getrandom", .randomBytes)
                    : CallRule("read", .read, .descriptor("random numbers", [have.numbers]))
            ]
        case .offloads:
            [
                CallRule(
                    "ioctl", .ioctl, .descriptor("tap", have.taps),
                    .value(1, UInt32(Tap.Request.setOffloads), "TUNSETOFFLOAD"))
            ]
        case .kvm: have.processor.map { Self.kvm($0, restarts: false) } ?? []
        case .kvmRestart: have.processor.map { Self.kvm($0, restarts: true) } ?? []
        }
    }

    private static func always(_ have: LaunchDescriptors, _ process: UInt32) -> [CallRule] {
        [
            CallRule("ppoll", .poll),
            CallRule("clock_gettime", .clockTime),
            CallRule("write", .write, .descriptor("output", [1, have.output])),
            CallRule("read", .read, .descriptor("input", [0, have.input])),
            CallRule("read", .read, .descriptor("signals", [have.signals])),
            CallRule("setitimer", .intervalTimer, .value(0, 0, "ITIMER_REAL")),
            CallRule(
                "mmap", .map, .neverExecuted, .descriptor("no file", [-1], at: 4)),
            CallRule("munmap", .unmap),
            CallRule("write", .write, .descriptor("errors", [2, have.errors])),
            CallRule("close", .close),
            CallRule("rt_sigprocmask", .signalMask),
            CallRule("rt_sigreturn", .signalReturn),
            CallRule(
                "kill", .kill, .value(0, process, "itself"),
                .value(1, UInt32(Signal.stop.rawValue), "SIGTSTP")),
            CallRule(
                "kill", .kill, .value(0, process, "itself"),
                .value(1, UInt32(Signal.alarm.rawValue), "SIGALRM")),
            CallRule("exit_group", .exitGroup),
        ]
    }

    private static func terminal(_ process: UInt32) -> [CallRule] {
        let requests: [(StaticString, Int)] = [
            ("TIOCGPGRP", Terminal.getForegroundGroup), ("TCGETS", Terminal.getAttributes),
            ("TCSETS", Terminal.setAttributes),
        ]
        let signals: [(StaticString, Signal)] = [
            ("SIGILL", .illegalInstruction), ("SIGFPE", .arithmetic),
            ("SIGSEGV", .segmentationFault),
        ]
        return requests.map { name, request in
            CallRule(
                "ioctl", .ioctl, .descriptor("input", [0]), .value(1, UInt32(request), name))
        }
            + signals.map { name, signal in
                CallRule(
                    "kill", .kill, .value(0, process, "itself"),
                    .value(1, UInt32(signal.rawValue), name))
            }
    }

    private static func kvm(_ have: KvmDescriptors, restarts: Bool) -> [CallRule] {
        var requests: [(StaticString, IoctlRequest)] = [
            ("KVM_RUN", KvmRequest.run), ("KVM_INTERRUPT", KvmRequest.interrupt),
            ("KVM_KVMCLOCK_CTRL", KvmRequest.tellStop),
        ]
        var rules = [
            CallRule("timer_settime", .setTimer),
            CallRule("read", .read, .descriptor("timer", [have.timer])),
        ]
        if restarts {
            requests += [
                ("KVM_SET_REGS", KvmRequest.setRegisters),
                ("KVM_GET_SREGS", KvmRequest.systemRegisters),
                ("KVM_SET_SREGS", KvmRequest.setSystemRegisters),
                ("KVM_SET_MSRS", KvmRequest.setModelRegisters),
                ("KVM_SET_FPU", KvmRequest.setFloatingPoint),
                ("KVM_SET_VCPU_EVENTS", KvmRequest.setEvents),
                ("KVM_SET_DEBUGREGS", KvmRequest.setDebugRegisters),
            ]
            rules.append(
                CallRule(
                    "ioctl", .ioctl, .descriptor("machine", [have.virtualMachine]),
                    .value(
                        1, UInt32(truncatingIfNeeded: KvmRequest.setMemory.rawValue),
                        "KVM_SET_USER_MEMORY_REGION")))
        }
        return requests.map { name, request in
            CallRule(
                "ioctl", .ioctl, .descriptor("processor", [have.processor]),
                .value(1, UInt32(truncatingIfNeeded: request.rawValue), name))
        } + rules
    }

    private static func sharedNetwork(
        _ have: LaunchDescriptors, listens: Bool
    ) -> [CallRule] {
        LocalSocket.rules(listens: listens) + [
            CallRule(
                "fcntl", .fileControl, .descriptor("network", have.networks),
                .value(1, UInt32(FileLock.ask), "F_GETLK"))
        ]
    }
}

extension SandboxPlan {
    /// What a launch keeps that has these features.
    init(_ features: [LaunchFeature], _ have: LaunchDescriptors) {
        let process = UInt32(truncatingIfNeeded: Process.identity)
        var rules: [CallRule] = []
        for feature in LaunchFeature.allCases where features.contains(feature) {
            rules += feature.rules(have, process: process)
        }
        self.init(rules: rules)
        descriptors = have.all
        moreDescriptors = have.more
    }
}
