// What a timeline holds, as JSON and as lines, and the files that cannot have one.

import Foundation
import Testing

@testable import Mini

private func moment(_ microseconds: UInt64) -> Nanoseconds {
    Nanoseconds(count: 1_000_000_000 + microseconds * 1000)
}

/// A launch whose phases take a microsecond each, up to the guest's end at `end`.
private func launch(_ timeline: Timeline, from start: UInt64, to end: UInt64, _ outcome: Text) {
    let phases: [Timeline.Phase] = [.memory, .image, .unpacking, .devices, .guest, .sandbox]
    for (index, phase) in phases.enumerated() {
        timeline.note(phase, at: moment(start + UInt64(index) + 1))
    }
    timeline.begin(at: moment(start + 7))
    timeline.note(.output, at: moment(start + 8))
    timeline.note(.output, at: moment(start + 9))
    timeline.end(outcome, at: moment(end))
}

/// The trace's events, as a reader of JSON sees them.
func traceEvents(_ trace: [UInt8]) throws -> [[String: Any]] {
    let all = try #require(
        try JSONSerialization.jsonObject(with: Data(trace)) as? [String: Any])
    return try #require(all["traceEvents"] as? [[String: Any]])
}

/// Names of what happened, in the order of the file.
func traceNames(_ events: [[String: Any]]) -> [String] {
    events.filter { $0["ph"] as? String != "M" }.compactMap { $0["name"] as? String }
}

@Suite struct TimelineTests {
    @Test("each phase begins where the one before has ended, and the guest's life follows them")
    func order() throws {
        let timeline = Timeline(start: moment(0))
        launch(timeline, from: 0, to: 50, "the guest powered itself off")
        let events = try traceEvents(timeline.trace.bytes)
        #expect(
            traceNames(events) == [
                "memory", "image", "unpacking", "devices", "guest", "sandbox", "first instruction",
                "first output", "guest",
            ])
        let phases = events.filter { $0["tid"] as? Int == 1 && $0["ph"] as? String == "X" }
        #expect(phases.compactMap { $0["ts"] as? Double } == [0, 1, 2, 3, 4, 5])
        #expect(phases.allSatisfy { $0["dur"] as? Double == 1 })
        let guest = try #require(events.last)
        #expect(guest["ts"] as? Double == 7 && guest["dur"] as? Double == 43)
        let arguments = try #require(guest["args"] as? [String: Any])
        #expect(arguments["outcome"] as? String == "the guest powered itself off")
    }

    @Test("a device is told once in each launch, on a track with its name")
    func devices() throws {
        let timeline = Timeline(start: moment(0))
        timeline.name(.device(0), "disk one")
        timeline.name(.device(1), "disk two")
        timeline.name(.device(2), "tap a")
        for _ in 0..<2 {
            timeline.begin(at: moment(1))
            for use in [.device(1), .device(2), .device(1), .input] as [Timeline.Use] {
                timeline.note(use, at: moment(2))
            }
            timeline.end("the guest asked for a reboot", at: moment(3))
        }
        let events = try traceEvents(timeline.trace.bytes)
        var tracks: [Int: String] = [:]
        for event in events where event["ph"] as? String == "M" {
            let arguments = event["args"] as? [String: String]
            tracks[event["tid"] as? Int ?? -1] = arguments?["name"]
        }
        #expect(Set(tracks.values).isSuperset(of: ["disk one", "disk two", "tap a", "console"]))
        let used = events.filter { ($0["name"] as? String)?.hasPrefix("first ") ?? false }
            .compactMap { tracks[$0["tid"] as? Int ?? -1] }
        #expect(
            used == [
                "guest", "disk two", "tap a", "console", "guest", "disk two", "tap a", "console",
            ])
    }

    @Test("however often a guest begins anew, the trace has its beginning, its end, and a bound")
    func bound() throws {
        let timeline = Timeline(start: moment(0))
        for index in 0..<15 {
            let name = Text(bytes: [UInt8](repeating: 1, count: 4000))
            timeline.name(.device(index), name)
        }
        for index in 0..<100_000 as Range<UInt64> {
            let start = UInt64.max / 4000 + index * 100
            launch(
                timeline, from: start, to: start + 90,
                Text(bytes: [UInt8](repeating: 2, count: 5000)))
        }
        let trace = timeline.trace.bytes
        #expect(trace.count <= Timeline.most)
        let events = try traceEvents(trace)
        let launches = events.compactMap { ($0["args"] as? [String: Any])?["launch"] as? Int }
        #expect(launches.first == 1 && launches.last == 100_000)
        #expect(launches == launches.sorted())
        let gap = traceNames(events).filter { $0.hasSuffix(" events are left out") }
        #expect(gap == ["\(100_000 * 9 - 360) events are left out"])
    }

    @Test("what a guest says and what files are called is JSON, whatever bytes they have")
    func text() throws {
        for (bytes, seen) in [
            (Array("a\"b\\c\n\u{7F}é€𝄞".utf8), "a\"b\\c\n\u{7F}é€𝄞"),
            (Array("\u{80}\u{9B}\u{9F}\u{A0}".utf8), "\u{80}\u{9B}\u{9F}\u{A0}"),
            ([0x61, 0xFF, 0xC3], "a\u{FFFD}\u{FFFD}"),
            (
                [0xC0, 0x80, 0xED, 0xA0, 0x80, 0xF4, 0x90, 0x80, 0x80, 0xE2, 0x82],
                String(repeating: "\u{FFFD}", count: 11)
            ),
        ] as [([UInt8], String)] {
            let timeline = Timeline(start: moment(0))
            timeline.begin(at: moment(1))
            timeline.end(Text(bytes: bytes), at: moment(2))
            let trace = timeline.trace.bytes
            let last = try #require(try traceEvents(trace).last)
            #expect((last["args"] as? [String: Any])?["outcome"] as? String == seen)
            let hasControl = trace.indices.dropLast().contains {
                trace[$0] == 0xC2 && trace[$0 + 1] < 0xA0
            }
            #expect(!hasControl, "no terminal is to obey it")
        }
    }

    @Test("for a person it is five lines; none where no guest ran")
    func lines() {
        let timeline = Timeline(start: moment(0))
        #expect(timeline.lines.isEmpty)
        timeline.name(.device(0), "disk root.img")
        launch(timeline, from: 0, to: 2_000, "the guest asked for a reboot")
        timeline.note(.device(0), at: moment(2_100))
        launch(timeline, from: 3_000, to: 4_321, "the guest died: oh\u{1B}[m")
        #expect(
            timeline.lines.map(string) == [
                "timeline, in milliseconds since the start:",
                "ready: memory 0.001, image 0.001, unpacking 0.001, devices 0.001, guest 0.001, sandbox 0.001",
                "first instruction 0.007",
                "first output 0.008",
                "end after 1 restart 4.321: the guest died: oh\\x1b[m",
            ])
        let refused = Timeline(start: moment(0))
        refused.note(.memory, at: moment(1))
        refused.end("cannot start it", at: moment(2))
        #expect(refused.lines.isEmpty)
    }

    @Test("what engines did that take no such kernel is one phase, no launch and no restart")
    func otherEngine() throws {
        let timeline = Timeline(start: moment(0))
        timeline.note(.memory, at: moment(1))
        timeline.noteOtherEngine(at: moment(2))
        timeline.note(.memory, at: moment(3))
        timeline.note(.image, at: moment(4))
        timeline.noteOtherEngine(at: moment(5))
        #expect(timeline.lines.isEmpty)
        launch(timeline, from: 5, to: 2_000, "the guest powered itself off")
        #expect(
            timeline.lines.suffix(4).map(string) == [
                "ready: engine 0.005, memory 0.001, image 0.001, unpacking 0.001, devices 0.001, guest 0.001, sandbox 0.001",
                "first instruction 0.012", "first output 0.013",
                "end 2.000: the guest powered itself off",
            ])
        let events = try traceEvents(timeline.trace.bytes)
        let names = traceNames(events)
        #expect(names.prefix(2) == ["engine", "memory"] && names.count == 10)
        let launches = events.compactMap { ($0["args"] as? [String: Any])?["launch"] as? Int }
        #expect(launches == [Int](repeating: 1, count: 10))
        // What a guest did stays.
        timeline.noteOtherEngine(at: moment(3_000))
        #expect(try traceNames(traceEvents(timeline.trace.bytes)) == names + ["engine"])
    }

    // MARK: The file

    private func opened(_ name: Text, _ plan: LaunchPlan) -> LauncherError? {
        do throws(LauncherError) {
            _ = try TimelineFile(name, for: plan)
            return nil
        } catch { return error }
    }

    @Test("a file that the launch itself uses stays as it is, whatever name it is given")
    func ownFiles() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var plan = LaunchPlan()
        var names: [Text] = []
        for (name, use) in [
            ("k", "the kernel"), ("i", "the initrd"), ("d", "a disk"), ("n", "a network"),
        ] {
            let url = folder.appendingPathComponent(name)
            try Data([1, 2, 3]).write(to: url)
            try FileManager.default.createSymbolicLink(
                at: folder.appendingPathComponent(name + "link"), withDestinationURL: url)
            try FileManager.default.linkItem(
                at: url, to: folder.appendingPathComponent(name + "hard"))
            let path = Text(bytes: Array(url.path.utf8))
            names.append(path)
            switch name {
            case "k": plan.kernel = path
            case "i": plan.initrd = path
            case "d": plan.devices.append(DiskSetup(DiskRequest(path + ",ro")))
            default: plan.devices.append(NetworkSetup(.shared(path)))
            }
            for other in [path, path + "link", path + "hard"] {
                #expect(
                    opened(other, plan)
                        == .timeline(name: other, .inUse(as: Text(bytes: Array(use.utf8)))))
            }
            #expect(try Data(contentsOf: url) == Data([1, 2, 3]))
        }
        #expect(LauncherError.timeline(name: "k", .inUse(as: "the kernel")).exitCode == 2)
    }

    @Test("a timeline of before is replaced, every other file stays as it is")
    func otherFiles() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        let name = Text(bytes: Array(url.path.utf8))
        defer { try? FileManager.default.removeItem(at: url) }
        let trace = Timeline(start: moment(0)).trace
        for length in [1_000, 2] {
            try {
                let file = try TimelineFile(name, for: LaunchPlan())
                #expect(try Data(contentsOf: url).isEmpty)
                try file.write(trace)
                #expect(try Data(contentsOf: url) == Data(trace.bytes))
            }()
            try Data(trace.bytes.prefix(length)).write(to: url)
            let refusal: LauncherError? = length > 2 ? nil : .timeline(name: name, .otherFile)
            #expect(opened(name, LaunchPlan()) == refusal)
        }
        #expect(try Data(contentsOf: url) == Data(trace.bytes.prefix(2)))
        #expect(LauncherError.timeline(name: name, .otherFile).exitCode == 2)
    }

    @Test("of two launches at once that name the same file, the second is refused")
    func twoLaunches() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        let name = Text(bytes: Array(url.path.utf8))
        defer { try? FileManager.default.removeItem(at: url) }
        let trace = Timeline(start: moment(0)).trace
        try {
            let file = try TimelineFile(name, for: LaunchPlan())
            #expect(opened(name, LaunchPlan()) == .timeline(name: name, .inUseElsewhere))
            try file.write(trace)
            #expect(opened(name, LaunchPlan()) == .timeline(name: name, .inUseElsewhere))
            #expect(file.descriptor >= 0)
        }()
        #expect(try Data(contentsOf: url) == Data(trace.bytes))
        #expect(LauncherError.timeline(name: name, .inUseElsewhere).exitCode == 1)
        #expect(opened(name, LaunchPlan()) == nil)
    }

    @Test("a file that can be written and not read is taken if it is empty")
    func unreadable() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        let name = Text(bytes: Array(url.path.utf8))
        defer { try? FileManager.default.removeItem(at: url) }
        let trace = Timeline(start: moment(0)).trace
        /// From this access on (1 is writing, 2 is both) nothing can be opened.
        func refusing<Value>(
            _ access: Int, _ body: () throws(LauncherError) -> Value
        ) throws(LauncherError) -> Value {
            try SystemCall.hooked(
                { $0.number == .open && $0.arguments.1 & 3 >= access ? -13 : nil }, body)
        }
        try Data().write(to: url)
        try refusing(2) { () throws(LauncherError) in
            try TimelineFile(name, for: LaunchPlan()).write(trace)
        }
        #expect(try Data(contentsOf: url) == Data(trace.bytes))
        for (access, action) in [(2, "read timeline"), (1, "write timeline")] as [(Int, Text)] {
            let error = LauncherError.host(action, name: name, .accessDenied)
            #expect(throws: error) {
                _ = try refusing(access) { () throws(LauncherError) in
                    try TimelineFile(name, for: LaunchPlan())
                }
            }
        }
        #expect(try Data(contentsOf: url) == Data(trace.bytes))
    }

    @Test("what is no file is refused, and is not waited for")
    func noFiles() throws {
        let plan = LaunchPlan()
        #expect(opened("-", plan) == .timeline(name: "-", .standardOutput))
        for name in ["/dev/full", "/dev/null"] as [Text] {
            let error = opened(name, plan)
            #expect(error == .timeline(name: name, .notAFile))
            #expect(error?.exitCode == 1)
        }
        for (name, errno) in [
            ("/proc", .isDirectory), ("/no/such", .noSuchFile), ("", .noSuchFile),
        ]
            as [(Text, Errno)]
        {
            #expect(opened(name, plan) == .host("write timeline", name: name, errno))
        }
    }
}
