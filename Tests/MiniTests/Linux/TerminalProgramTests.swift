// The real program at a terminal of the test's own, alone and in front of a pager: nothing that it writes or reads
// may keep it from its signals and from three ^C, and the terminal is as before whatever comes first.

import CShim
import Foundation
import Testing

@testable import Mini

/// A pseudo-terminal and a shell's command at it, in a session of its own.
private final class Session {
    let keyboard: Descriptor
    /// Kept open so that the settings outlast the program.
    let terminal: Descriptor
    let process: pid_t
    private(set) var screen: [UInt8] = []
    private var status: Int32?

    static let out = ProcessInfo.processInfo.environment["MINI_OUT"] ?? "out"
    static var launch: String { "\(out)/x86_64/mini-launch" }
    static var guests: String { "\(out)/guests" }
    static var isThere: Bool { access(launch, X_OK) == 0 && access("\(guests)/flood", R_OK) == 0 }

    /// - Parameter command: for bash. Everything that it starts is one job, as a pipeline is at a prompt.
    init(_ command: String) throws {
        let mode = Descriptor.OpenMode(rawValue: 0o2004402)  // O_NONBLOCK and O_NOCTTY
        keyboard = try Descriptor.open("/dev/ptmx", mode)
        let path = try unlockedTerminal(of: keyboard.number)
        terminal = try Descriptor.open(
            Text(stringLiteral: path), Descriptor.OpenMode(rawValue: 0o2000402))
        process = try Self.spawn(command, at: path)
    }

    /// Starts bash with a command, as the leader of a session with this terminal, with no signal blocked or ignored.
    private static func spawn(_ command: String, at terminal: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        // The first terminal that the leader of a session opens is its own.
        for target in 0...2 as ClosedRange<Int32> {
            posix_spawn_file_actions_addopen(&actions, target, terminal, O_RDWR, 0)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        let newSession: Int32 = 0x80  // POSIX_SPAWN_SETSID
        posix_spawnattr_setflags(
            &attributes, Int16(newSession | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        let words = ["bash", "-c", command]
        var pointers = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let variables = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "TERM=xterm", "LESS="]
        var environment = variables.map { strdup($0) } + [nil]
        defer { for pointer in environment { free(pointer) } }
        var process = pid_t()
        let failure = posix_spawn(
            &process, "/bin/bash", &actions, &attributes, &pointers, &environment)
        guard failure == 0 else { throw Errno(rawValue: failure) }
        return process
    }

    deinit {
        kill(-process, SIGKILL)
        kill(process, SIGKILL)
        if status == nil { waitpid(process, nil, 0) }
    }

    /// ECHO, ICANON and ISIG.
    var keys: UInt32 {
        get throws { try Terminal.attributes(of: terminal.number).local & 0xB }
    }

    /// Less takes even what erases an echo.
    var hasPager: Bool {
        get throws { try Terminal.attributes(of: terminal.number).local & 0x32 == 0 }
    }

    func type(_ keys: String) throws {
        try Transfer.write(keyboard.number, Text(stringLiteral: keys))
    }

    /// Takes what the screen shows by now: all, or so many pieces. Whoever writes as fast as we read has no end.
    func look(pieces: Int = .max) {
        var part = [UInt8](repeating: 0, count: 65536)
        var rest = pieces
        while rest > 0, let count = try? Transfer.read(keyboard.number, into: &part), count > 0 {
            screen += part[..<count]
            rest -= 1
        }
    }

    /// Waits for something that is going to be; a minute is a failure.
    /// - Parameter isReading: somebody looks at the screen meanwhile.
    func until(
        _ what: Comment, isReading: Bool = true, _ isSo: (Session) throws -> Bool
    ) throws {
        let end = ContinuousClock.now + .seconds(60)
        while try !isSo(self) {
            if isReading { look(pieces: 8) }
            guard ContinuousClock.now < end else {
                look()
                Issue.record(
                    "\(what): not within a minute; it is \(state); the screen: \(string(screen.suffix(2000)))"
                )
                throw Errno.timedOut
            }
            Clock.sleep(.milliseconds(5))
        }
    }

    /// What the program is doing: its state, the call that it waits in, whether the terminal takes anything.
    private var state: String {
        let words = ["stat", "wchan", "syscall"].map { name in
            (try? String(contentsOfFile: "/proc/\(process)/\(name)", encoding: .utf8))?
                .prefix(80).split(separator: "\n").first ?? "?"
        }
        return words.joined(separator: " | ") + (isFull ? " | full" : " | not full")
    }

    var isOver: Bool {
        if status != nil { return true }
        var value = Int32(0)
        if waitpid(process, &value, WNOHANG) == process { status = value }
        return status != nil
    }

    /// Its code, or 128 and the signal; nil while it runs.
    var code: Int32? {
        guard isOver, let status else { return nil }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + (status & 0x7F)
    }

    func shows(_ text: String) -> Bool { string(screen).contains(text) }

    /// True when nothing can be written to the terminal any more.
    var isFull: Bool {
        guard
            let ready = try? Poll.wait(
                [Poll.Interest(terminal.number, .writable)], timeout: Nanoseconds(count: 0))
        else { return false }
        return !ready[0]
    }

    /// The same of a terminal that nobody reads. It can become ready once more without a word to those who
    /// wait for that, because the kernel passes on what was written: what it then takes comes from here.
    var isFilled: Bool {
        guard let own = Descriptor.neverWaiting(terminal.number, .writeOnlyNow) else {
            return false
        }
        let blanks = [UInt8](repeating: 0x20, count: 256)
        while write(own.number, blanks, blanks.count) > 0 {}
        return isFull
    }
}

@Suite(
    .enabled(if: Session.isThere, "the release and its guests are not built"), .serialized)
struct TerminalProgramTests {
    private let start = "exec '\(Session.launch)' --engine builtin --no-reboot --memory 4"
    private var flood: String { "'\(Session.guests)/flood'" }
    private var echo: String { "'\(Session.guests)/echo'" }
    private let cooked: UInt32 = 0xB

    @Test("three ^C leave a guest that writes to a terminal which nobody reads")
    func escapeFromFullTerminal() throws {
        let session = try Session("\(start) \(flood)")
        try session.until("the terminal is taken, and full", isReading: false) {
            try $0.keys == 0 && $0.isFilled
        }
        try session.type("\u{3}\u{3}\u{3}")
        try session.until("it ends", isReading: false) { $0.isOver }
        #expect(session.code == 6)
        #expect(try session.keys == cooked)
    }

    @Test(
        "a signal ends a guest that writes to a terminal which nobody reads",
        arguments: [SIGTERM, SIGHUP, SIGINT])
    func signalAtFullTerminal(signal: Int32) throws {
        let session = try Session("\(start) \(flood)")
        try session.until("the terminal is taken, and full", isReading: false) {
            try $0.keys == 0 && $0.isFilled
        }
        kill(session.process, signal)
        try session.until("it ends", isReading: false) { $0.isOver }
        #expect(session.code == 128 + signal)
        #expect(try session.keys == cooked)
    }

    @Test("three ^C leave a guest whose output ^S has stopped")
    func stopped() throws {
        let session = try Session("\(start) \(flood)")
        try session.until("it writes") { $0.shows("ABCDE") }
        try session.type("\u{13}")
        try session.until("the output stops") { $0.isFull }
        try session.type("\u{3}\u{3}\u{3}")
        try session.until("it ends") { $0.isOver }
        session.look()
        #expect(session.code == 6)
        #expect(session.shows("left by three ^C"))
        #expect(try session.keys == cooked)
    }

    @Test("^Q lets a guest that ^S has stopped go on, and nothing is lost")
    func proceeds() throws {
        let session = try Session("\(start) \(flood)")
        try session.until("it writes") { $0.shows("ABCDE") }
        try session.type("\u{13}")
        try session.until("the output stops") { $0.isFull }
        try session.type("\u{11}")
        try session.until("it ends") { $0.isOver }
        session.look()
        #expect(session.code == 0)
        #expect(session.shows("   19999 abcdefghijklmnopqrstuvwxyz"))
        #expect(try session.keys == cooked)
    }

    @Test("three ^C leave a guest whose output is a pipe that nobody reads")
    func escapeFromFullPipe() throws {
        let session = try Session("\(start) \(flood) > >(exec sleep 600)")
        try session.until("the terminal is taken") { try $0.keys == 0 }
        try session.type("\u{3}\u{3}\u{3}")
        try session.until("it ends") { $0.isOver }
        #expect(session.code == 6)
        #expect(try session.keys == cooked)
    }

    /// The shell's command for a guest in front of others.
    private func pipeline(_ words: String, _ guest: String) -> String {
        let launch = "'\(Session.launch)' --engine builtin --memory 4 '\(Session.guests)/\(guest)'"
        // A shell that meets a ^C before it waits for its programs would end before them.
        return "trap : INT; " + words.replacingOccurrences(of: "GUEST", with: launch)
    }

    /// Quits the pager when it has the terminal.
    private func quit(_ session: Session) throws {
        try session.until("the pager has the terminal") { try $0.hasPager }
        try session.until("it ends") {
            // A ^C before can have thrown a key away.
            try $0.type("q")
            return $0.isOver
        }
        #expect(try session.keys == cooked)
    }

    @Test(
        "in front of a pager the terminal is as before, whoever comes first, and whoever goes",
        arguments: ["GUEST | less", "GUEST | (sleep 0.6; exec less)", "(sleep 0.6; GUEST) | less"],
        ["flood", "hello"])
    func pager(words: String, guest: String) throws {
        try quit(try Session(pipeline(words, guest)))
    }

    @Test("a guest that writes no more ends with its pager")
    func quietGuest() throws {
        let session = try Session(pipeline("GUEST | less", "echo"))
        try session.until("the pager has the terminal") { try $0.hasPager }
        // It waits for a screenful.
        try session.type("\u{3}")
        try quit(session)
    }

    @Test("with other programs in front of the pager the terminal is as before")
    func longPipeline() throws {
        try quit(try Session(pipeline("GUEST | tee /dev/null | (sleep 0.6; exec less)", "flood")))
    }

    @Test("a pager's ^C is the pager's: the guest's end does not leave the terminal behind")
    func interruptedPager() throws {
        let session = try Session(pipeline("GUEST | (sleep 0.6; exec less)", "hello"))
        try session.until("the pager has the terminal") { try $0.hasPager }
        try session.type("\u{3}")
        try quit(session)
    }

    @Test("keys reach a guest whose output is a pipe")
    func pipedKeys() throws {
        let session = try Session(pipeline("GUEST | cat", "echo"))
        try session.until("the terminal is taken") { try $0.keys == 0 }
        try session.type("some words\roff\r")
        try session.until("it ends") { $0.isOver }
        session.look()
        #expect(session.shows("some words"))
        #expect(try session.keys == cooked)
    }

    @Test("two guests on one terminal leave it as it was, in whatever order they end")
    func two() throws {
        for first in [0, 1] {
            let session = try Session(
                "for n in 0 1; do (\(start) \(echo) </dev/tty & echo pid-$n-$!.; wait) & done; wait"
            )
            try session.until("both run") {
                $0.shows("pid-0-") && $0.shows("pid-1-") && $0.shows("echo")
            }
            try session.until("the terminal is taken") { try $0.keys == 0 }
            for number in [first, 1 - first] {
                let rest = string(session.screen).components(separatedBy: "pid-\(number)-")[1]
                let process = pid_t(rest.prefix { $0 != "." })!
                kill(process, SIGTERM)
                try session.until("guest \(number) is gone") { _ in kill(process, 0) != 0 }
            }
            try session.until("it ends") { $0.isOver }
            #expect(try session.keys == cooked)
        }
    }
}
