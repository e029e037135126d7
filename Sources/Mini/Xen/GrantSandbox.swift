// What a mini-grant that keeps pages for long may still do once another domain can reach it: for each thing
// that it has, the system calls that this takes. The same as a page, with the reasons: docs/sandbox.md.

/// What a command has, as far as it takes calls of its own.
enum GrantFeature: CaseIterable {
    case always, messageTerminal, timed, mapping, file, sharing, port
    case assisted, statement
    case pipe, standard, oneSocket, socket, server, nextClients, client, listening, connecting

    /// As the page calls it.
    var name: StaticString {
        switch self {
        case .always: "every one of them"
        case .messageTerminal: "a terminal"
        case .timed: "a stream that cannot be opened once more"
        case .mapping: "`map --hold`"
        case .file: "`--out FILE`, `to=FILE`"
        case .sharing: "`share --hold`"
        case .port: "`--notify-port`"
        case .assisted: "an assistant"
        case .statement: "`grant` of a boot table"
        case .pipe: "`pipe`"
        case .standard: "`pipe`, standard input and output"
        case .oneSocket: "`pipe`, where these are one socket"
        case .socket: "`pipe --socket`"
        case .server: "`pipe --server`"
        case .nextClients: "`pipe --server --reconnect`"
        case .client: "`pipe --client`"
        case .listening: "`pipe --listen`, more than one peer"
        case .connecting: "`pipe --connect`, more than one peer"
        }
    }
}

/// The descriptors that a command keeps; -1 for what it has not.
struct GrantDescriptors {
    var signals: Int32 = -1
    /// What standard input, output and error are used through, where these were opened once more.
    var input: Int32 = 0
    var output: Int32 = 1
    var errors: [Int32] = []
    /// Of --out.
    var file: Int32 = -1
    var stores: [Int32] = []
    var gntdev: Int32 = -1
    var gntalloc: Int32 = -1
    var evtchn: Int32 = -1
    var listener: Int32 = -1
    /// The socket of the pipe; or the numbers that it can get.
    var sockets: [Int32] = []
    /// Pipes to and from the process that removes the socket's name at the end.
    var keeper: [Int32] = []
    /// Pipes to and from processes that answer what this one may not find out.
    var assistants: [Int32] = []
    /// /dev/null, for standard output when that has ended.
    var nothing: Int32 = -1

    /// All of them, beside 0 to 2.
    var all: [Int32] {
        (errors + stores + sockets + keeper + assistants + [
            signals, input, output, file, gntdev, gntalloc, evtchn, listener, nothing,
        ]).filter { $0 > 2 }
    }

    /// The lowest numbers that are free when nothing else is open: what is opened next has one of them.
    func free(_ count: Int) -> [Int32] {
        let all = all
        var free: [Int32] = []
        var number: Int32 = 3
        while free.count < count {
            if !all.contains(number) { free.append(number) }
            number += 1
        }
        return free
    }
}

extension GrantFeature {
    /// What messages take, and what is written to a stream.
    static func of(_ messages: MessageOutput, _ stream: StandardStream? = nil) -> [GrantFeature] {
        var features: [GrantFeature] = []
        if messages.isTerminal || stream?.isTerminal ?? false { features.append(.messageTerminal) }
        if messages.isTimed || stream?.way == .timed { features.append(.timed) }
        return features
    }

    /// The calls, the most frequent first.
    func rules(_ have: GrantDescriptors) -> [CallRule] {
        switch self {
        case .always:
            [
                CallRule("ppoll", .poll), CallRule.on("read", .read, "signals", [have.signals]),
                CallRule(
                    "mmap", .map, .neverExecuted, .descriptor("no file", [-1], at: 4)),
                CallRule("munmap", .unmap),
                CallRule("write", .write, .descriptor("errors", [2] + have.errors)),
                CallRule("close", .close), CallRule("rt_sigprocmask", .signalMask),
                CallRule("exit_group", .exitGroup),
            ]
        case .messageTerminal:
            [
                Self.clock,
                CallRule(
                    "ioctl", .ioctl, .descriptor("output", [1, 2]),
                    .value(1, UInt32(Terminal.getForegroundGroup), "TIOCGPGRP")),
            ]
        case .timed:
            [
                CallRule("setitimer", .intervalTimer, .value(0, 0, "ITIMER_REAL")),
                CallRule("rt_sigreturn", .signalReturn),
            ]
        case .mapping:
            [
                Self.written(have),
                Self.control("gntdev", have.gntdev, GntDev.Request.unmap, "UNMAP_GRANT_REF"),
            ]
        case .file: [CallRule.on("write", .write, "file", [have.file])]
        case .sharing: Self.storing(have) + [Self.written(have), Self.released(have)]
        case .port:
            [Self.control("evtchn", have.evtchn, EventChannel.Request.unbind, "UNBIND")]
        case .assisted:
            [
                CallRule.on("read", .read, "assistant", have.assistants),
                CallRule.on("write", .write, "assistant", have.assistants),
            ]
        case .statement: Self.statement(have)
        case .pipe: Self.pipe(have)
        case .standard: Self.standard(have)
        case .oneSocket: [StreamSocket.endingRule([have.output])]
        case .socket: Self.socket(have)
        case .server: [Self.released(have)]
        case .nextClients: Self.nextClients(have)
        case .client: Self.client(have)
        case .listening: StreamSocket.acceptingRules(have.listener)
        case .connecting: StreamSocket.connectingRules
        }
    }

    private static var clock: CallRule { CallRule("clock_gettime", .clockTime) }

    private static func control(
        _ role: StaticString, _ device: Int32, _ request: IoctlRequest, _ name: StaticString
    ) -> CallRule {
        CallRule(
            "ioctl", .ioctl, .descriptor(role, device < 0 ? [] : [device]),
            .value(1, UInt32(truncatingIfNeeded: request.rawValue), name))
    }

    /// Pages of a device: mapped, and kept out of processes that are forked.
    private static func pages(_ role: StaticString, _ device: Int32) -> [CallRule] {
        [
            CallRule(
                "mmap", .map, .neverExecuted,
                .descriptor(role, device < 0 ? [] : [device], at: 4)),
            CallRule(
                "madvise", .memoryAdvice, .value(2, UInt32(Mapping.notForked), "MADV_DONTFORK")),
        ]
    }

    private static func written(_ have: GrantDescriptors) -> CallRule {
        CallRule.on("write", .write, "output", [1, have.output])
    }

    private static func released(_ have: GrantDescriptors) -> CallRule {
        control("gntalloc", have.gntalloc, GntAlloc.Request.free, "DEALLOC_GREF")
    }

    private static func storing(_ have: GrantDescriptors) -> [CallRule] {
        [
            clock, CallRule.on("read", .read, "store", have.stores),
            CallRule.on("write", .write, "store", have.stores),
        ]
    }

    /// All of it: a child of process 1 has no signals to read.
    private static func statement(_ have: GrantDescriptors) -> [CallRule] {
        [
            CallRule("ppoll", .poll), clock,
            CallRule("mmap", .map, .neverExecuted, .descriptor("no file", [-1], at: 4)),
            CallRule("munmap", .unmap),
            CallRule("write", .write, .descriptor("errors", [2])),
            CallRule("close", .close), CallRule("exit_group", .exitGroup),
            control("gntdev", have.gntdev, GntDev.Request.unmap, "UNMAP_GRANT_REF"),
        ]
    }

    private static func pipe(_ have: GrantDescriptors) -> [CallRule] {
        [
            CallRule.on("read", .read, "evtchn", [have.evtchn]),
            CallRule.on("write", .write, "evtchn", [have.evtchn]),
            control("evtchn", have.evtchn, EventChannel.Request.notify, "NOTIFY"),
            control("evtchn", have.evtchn, EventChannel.Request.unbind, "UNBIND"),
            control("evtchn", have.evtchn, EventChannel.Request.reset, "RESET"),
        ] + storing(have)
    }

    private static func standard(_ have: GrantDescriptors) -> [CallRule] {
        let input = [0, have.input]
        let output = [1, have.output]
        func size(_ role: StaticString, _ descriptors: [Int32]) -> [CallRule] {
            let requests: [(UInt32, StaticString)] = [
                (UInt32(Descriptor.getPipeSize), "F_GETPIPE_SZ"),
                (UInt32(Descriptor.setPipeSize), "F_SETPIPE_SZ"),
            ]
            return requests.map { request, name in
                CallRule(
                    "fcntl", .fileControl, .descriptor(role, descriptors),
                    .value(1, request, name))
            }
        }
        return [
            CallRule.on("read", .read, "input", input),
            CallRule.on("readv", .readVector, "input", input),
            written(have), CallRule.on("writev", .writeVector, "output", output),
            CallRule(
                "dup2", .duplicate,
                .descriptor("nothing", have.nothing < 0 ? [] : [have.nothing]),
                .value(1, 1, "output")),
        ] + size("input", input) + size("output", output)
    }

    private static func socket(_ have: GrantDescriptors) -> [CallRule] {
        [
            CallRule.on("read", .read, "socket", have.sockets),
            CallRule.on("readv", .readVector, "socket", have.sockets),
            CallRule.on("write", .write, "socket", have.sockets),
            CallRule.on("writev", .writeVector, "socket", have.sockets),
            StreamSocket.endingRule(have.sockets),
        ]
    }

    private static func nextClients(_ have: GrantDescriptors) -> [CallRule] {
        [
            control(
                "evtchn", have.evtchn, EventChannel.Request.bindUnbound, "BIND_UNBOUND_PORT"),
            control("gntalloc", have.gntalloc, GntAlloc.Request.allocate, "ALLOC_GREF"),
            control("gntalloc", have.gntalloc, GntAlloc.Request.notify, "SET_UNMAP_NOTIFY"),
        ] + pages("gntalloc", have.gntalloc)
    }

    private static func client(_ have: GrantDescriptors) -> [CallRule] {
        let requests: [(IoctlRequest, StaticString)] = [
            (GntDev.Request.map, "MAP_GRANT_REF"), (GntDev.Request.unmap, "UNMAP_GRANT_REF"),
            (GntDev.Request.notify, "SET_UNMAP_NOTIFY"), (GntDev.Request.copy, "GRANT_COPY"),
        ]
        return [
            control(
                "evtchn", have.evtchn, EventChannel.Request.bindInterdomain, "BIND_INTERDOMAIN")
        ] + requests.map { control("gntdev", have.gntdev, $0, $1) }
            + pages("gntdev", have.gntdev)
    }
}

extension SandboxPlan {
    /// What a command keeps that has these features.
    init(_ features: [GrantFeature], _ have: GrantDescriptors) {
        var rules: [CallRule] = []
        for feature in features { rules += feature.rules(have) }
        self.init(rules: rules)
        descriptors = have.all
        // The programs at the other end of a pipe are not as long-lived as this one, and may overlap.
        if features.contains(.listening) || features.contains(.connecting) {
            moreDescriptors = 2
            // Whose socket it is may decide who can connect.
            keepsUser = features.contains(.connecting)
        }
        let isFile = [1, 2].contains { (try? FileStatus.of($0).kind) ?? .regular == .regular }
        if !isFile && have.file < 0 { fileSize = 0 }
    }
}

enum GrantSandbox {
    /// Gives up all but what the features take.
    /// - Parameters:
    ///   - note: told, in one line, of a kernel that cannot filter calls.
    ///   - report: told what came of it.
    static func enter(
        _ choice: SandboxChoice, _ features: [GrantFeature], _ have: GrantDescriptors,
        note: (Text) -> Void, report: ((Text) -> Void)? = nil
    ) throws(GrantError) {
        guard choice != .off else { return }
        let features = have.assistants.isEmpty ? features : features + [.assisted]
        let plan = SandboxPlan(features, have)
        Sandbox.closeOthers(plan.descriptors)
        let outcome = Sandbox.enter(plan)
        guard let calls = outcome.calls else {
            let line = Sandbox.withoutFilter(outcome.failure)
            if choice == .required { throw .limit("\(line), which --sandbox=require asks for") }
            return note("\(line); nothing else filters them")
        }
        report?("sandbox: \(calls) system calls\(outcome.hasLeftRoot ? ", no longer root" : "")")
    }
}
