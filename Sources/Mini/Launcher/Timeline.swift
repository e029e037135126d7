// What happened when, from the launcher's start to the guest's end, through restarts: the phases of each
// launch, its first instruction, and the first use of each device. However long a guest runs and however
// often it begins anew, this stays small: the beginning is kept, and the end, and what is left out between
// them is counted. It reads no clock; who notes something says when that was.
//
//   launcher   |memory|image|unpacking|devices|guest|sandbox|
//   guest                                                    |first instruction ......... end|
//   console                                                        ^ first output
//   a device                                                             ^ first use
//
// Source: Trace Event Format, its JSON object (what chrome://tracing and Perfetto open).

/// Records a launch and its restarts.
final class Timeline {
    /// What the launcher has done: each step begins where the one before has ended.
    enum Phase {
        case engine, memory, devices, image, unpacking, guest, sandbox, pause

        var name: StaticString {
            switch self {
            case .engine: "engine"
            case .memory: "memory"
            case .devices: "devices"
            case .image: "image"
            case .unpacking: "unpacking"
            case .guest: "guest"
            case .sandbox: "sandbox"
            case .pause: "pause before the restart"
            }
        }
    }

    /// What a guest uses of what it has.
    enum Use: Equatable {
        case output, input
        case device(Int)

        /// One of 32: a guest has 15 devices at most.
        fileprivate var index: Int {
            switch self {
            case .output: 0
            case .input: 1
            case .device(let number): 2 + number % 30
            }
        }

        fileprivate var name: StaticString {
            switch self {
            case .output: "first output"
            case .input: "first input"
            case .device: "first use"
            }
        }
    }

    private enum Track {
        static let launcher = 1
        static let guest = 2
        static let console = 3
        /// Of the device with index 2, which is the first after the console.
        static let devices = 4
    }

    private struct Event {
        var name: StaticString
        var track: Int
        var time: Nanoseconds
        /// Nil for a moment.
        var length: Nanoseconds?
        var launch: UInt64
        var outcome: Text?
    }

    /// Nothing of it is longer than this, in bytes.
    static let most = 100_000
    private static let mostAtFront = 240
    private static let mostAtEnd = 120
    /// Of an outcome or a name, before a byte of it becomes up to six.
    private static let mostOfText = 120
    private static let mostOfName = 48

    private let start: Nanoseconds
    /// Where the phase at hand began.
    private var began: Nanoseconds
    private var launch: UInt64 = 1
    /// When the guest at hand ran its first instruction.
    private var ran: Nanoseconds?
    private var used: UInt32 = 0
    private var devices: [(index: Int, name: Text)] = []

    private var front: [Event] = []
    /// The last ones, of which `next` is the oldest as soon as there are so many.
    private var end: [Event] = []
    private var next = 0
    private var leftOut: UInt64 = 0

    // For the lines.
    private var phases = Text()
    private var firstRun: Nanoseconds?
    /// Launches that ended.
    private var ended: UInt64 = 0
    private var firstUses: [(name: Text, time: Nanoseconds)] = []
    private var last: (outcome: Text, time: Nanoseconds)?

    /// - Parameter start: of the program.
    init(start: Nanoseconds) {
        self.start = start
        began = start
    }

    // MARK: What happens

    /// A phase has ended.
    func note(_ phase: Phase, at time: Nanoseconds) {
        add(
            Event(
                name: phase.name, track: Track.launcher, time: began, length: time - began,
                launch: launch))
        if firstRun == nil {
            phases +=
                "\(phases.bytes.isEmpty ? "" : ", ")\(phase.name) \(milliseconds: time - began)"
        }
        began = time
    }

    /// An engine was tried that takes no such kernel: all of it was a part of the choice of another one.
    func noteOtherEngine(at time: Nanoseconds) {
        if firstRun == nil { (front, phases, began) = ([], "", start) }
        note(.engine, at: time)
    }

    /// What a device is called.
    func name(_ use: Use, _ name: Text) {
        guard !devices.contains(where: { $0.index == use.index }) else { return }
        devices.append((use.index, name))
    }

    /// True while the guest at hand has run nothing.
    var isBeforeGuest: Bool { ran == nil }

    /// The guest is about to run its first instruction.
    func begin(at time: Nanoseconds) {
        ran = time
        if firstRun == nil { firstRun = time }
        add(Event(name: "first instruction", track: Track.guest, time: time, launch: launch))
    }

    /// True if the guest at hand has not used this before.
    func isNew(_ use: Use) -> Bool { used & 1 << UInt32(use.index) == 0 }

    /// The guest uses this for the first time.
    func note(_ use: Use, at time: Nanoseconds) {
        guard isNew(use) else { return }
        used |= 1 << UInt32(use.index)
        let track = use.index < 2 ? Track.console : Track.devices + use.index - 2
        add(Event(name: use.name, track: track, time: time, launch: launch))
        guard ended == 0 else { return }
        firstUses.append((use.index < 2 ? "\(use.name)" : name(of: use.index), time))
    }

    /// The guest has ended, or will never begin.
    func end(_ outcome: Text, at time: Nanoseconds) {
        let outcome = outcome.prefix(min(outcome.bytes.count, Self.mostOfText))
        let begin = ran ?? time
        add(
            Event(
                name: ran == nil ? "no start" : "guest", track: Track.guest, time: begin,
                length: time - begin, launch: launch, outcome: outcome))
        last = (outcome, time)
        ended &+= 1
        (began, ran, used) = (time, nil, 0)
        launch &+= 1
    }

    private func add(_ event: Event) {
        if front.count < Self.mostAtFront {
            front.append(event)
        } else if end.count < Self.mostAtEnd {
            end.append(event)
        } else {
            end[next] = event
            next = (next + 1) % Self.mostAtEnd
            leftOut &+= 1
        }
    }

    private func name(of index: Int) -> Text {
        devices.first { $0.index == index }?.name ?? "device"
    }

    // MARK: The trace

    /// What each begins with, of every version.
    static let start: StaticString = "{\"displayTimeUnit\":"

    /// All of it in JSON, at most `most` bytes.
    var trace: Text {
        var text: Text = "\(Self.start)\"ms\",\"traceEvents\":[\n"
        text += Self.label("process_name", 0, "mini-launch")
        text += Self.label("thread_name", Track.launcher, "launcher")
        text += Self.label("thread_name", Track.guest, "guest")
        text += Self.label("thread_name", Track.console, "console")
        for device in devices {
            text += Self.label("thread_name", Track.devices + device.index - 2, device.name)
        }
        for event in front { text += line(event) }
        let rest = end.indices.map { end[(next + $0) % end.count] }
        if leftOut > 0, let first = rest.first {
            text += """
                {"name":"\(leftOut) events are left out","ph":"i","s":"g","pid":1,"tid":1,\
                "ts":\(microseconds: first.time - start)},

                """
        }
        for event in rest { text += line(event) }
        // After the last one there is no comma.
        return text.prefix(text.bytes.count - 2) + "\n]}\n"
    }

    private static func label(_ what: StaticString, _ track: Int, _ name: Text) -> Text {
        let name = name.prefix(min(name.bytes.count, mostOfName))
        return """
            {"name":"\(what)","ph":"M","pid":1,"tid":\(track),"args":{"name":"\(json: name)"}},

            """
    }

    private func line(_ event: Event) -> Text {
        var text: Text = "{\"name\":\"\(event.name)\",\"ph\":\""
        text += event.length == nil ? "i\",\"s\":\"t" : "X"
        text += "\",\"pid\":1,\"tid\":\(event.track),\"ts\":\(microseconds: event.time - start)"
        if let length = event.length { text += ",\"dur\":\(microseconds: length)" }
        text += ",\"args\":{\"launch\":\(event.launch)"
        if let outcome = event.outcome { text += ",\"outcome\":\"\(json: outcome)\"" }
        text += "}},\n"
        return text
    }

    // MARK: The lines

    /// The same for a person, in five lines; none if no guest has run.
    var lines: [Text] {
        guard let firstRun, let last else { return [] }
        var uses = Text()
        for use in firstUses {
            uses +=
                "\(uses.bytes.isEmpty ? "" : ", ")\(visible: use.name) \(milliseconds: use.time - start)"
        }
        if uses.bytes.isEmpty { uses = "no device was used" }
        let again: Text =
            ended < 2 ? "" : ended == 2 ? " after 1 restart" : " after \(ended - 1) restarts"
        return [
            "timeline, in milliseconds since the start:",
            "ready: \(phases)",
            "first instruction \(milliseconds: firstRun - start)",
            uses,
            "end\(again) \(milliseconds: last.time - start): \(visible: last.outcome)",
        ]
    }
}

extension LaunchOutcome {
    /// What became of the guest.
    var text: Text {
        switch self {
        case .poweredOff: "the guest powered itself off"
        case .exited(let code): "the guest ended with code \(code)"
        case .died(let reason): "the guest died: \(reason)"
        case .restart: "the guest asked for a reboot"
        case .escaped: "left by three ^C"
        case .signal(let signal): "ended by signal \(signal.rawValue)"
        case .failed(let error): error.text
        }
    }
}

extension Text {
    static func + (left: Text, right: Text) -> Text {
        var text = left
        text += right
        return text
    }

    /// With three digits after the point.
    fileprivate mutating func appendInterpolation(microseconds time: Nanoseconds) {
        appendInterpolation(time.count / 1000)
        appendThousandths(time.count % 1000)
    }

    fileprivate mutating func appendInterpolation(milliseconds time: Nanoseconds) {
        appendInterpolation(microseconds: Nanoseconds(count: time.count / 1000))
    }

    private mutating func appendThousandths(_ count: UInt64) {
        append(UInt8(ascii: "."))
        for digit in [count / 100, count / 10 % 10, count % 10] {
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit))
        }
    }

    /// What stands between quotation marks in JSON; what is not UTF-8 becomes U+FFFD. Source: RFC 8259.
    fileprivate mutating func appendInterpolation(json text: Text) {
        var rest = text.bytes[...]
        while let byte = rest.first {
            var count = 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(UInt8(ascii: "\\"))
                append(byte)
            case 0x20..<0x7F: append(byte)
            case ..<0x80:
                appendLiteral("\\u00")
                appendInterpolation(bareHex: byte, width: 2)
            default:
                count = Self.lengthOfCharacter(rest)
                if count == 0 {
                    appendLiteral("\\ufffd")
                    count = 1
                } else if count == 2, byte == 0xC2, let next = rest.dropFirst().first, next < 0xA0 {
                    // A control character as well.
                    appendLiteral("\\u00")
                    appendInterpolation(bareHex: next, width: 2)
                } else {
                    for byte in rest.prefix(count) { append(byte) }
                }
            }
            rest = rest.dropFirst(count)
        }
    }
}
