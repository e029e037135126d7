// Words: the command lines of all four applets, run to their end against a kernel that has nothing; boot
// tables; and what a store or a person may write in the place of numbers, paths and lists.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzWords {
    /// What command lines and tables are made of, so that more of them get somewhere.
    private static var pieces: [StaticString] {
        [
            "--memory", "64", "1K", "4095M", "2G", "0x10", "-1", "99999999999999999999", "--initrd",
            "k",
            "--block", "d,ro", "--tunnet", "192.168.19.1", "bridge:br0",
            "bridge:br0:02:00:00:00:00:01",
            "--tap", "tap0", "--sharenet", "net", "--engine", "builtin", "lguest", "auto",
            "software",
            "--no-reboot",
            "--check", "--verbose", "-v", "--help", "--version", "--", "=", "--memory=7",
            "grant:3:8,9-12:100",
            "grant:@a:@b", "@data/kernel", "map", "copy", "share", "pipe", "probe", "store",
            "--domain", "3",
            "@data/d", "--ref", "8,12-15", "1-4294967295", "4294967295", "0-0", ",", "8,,9",
            "@data/ref",
            "--in", "--out", "-", "--offset", "--length", "4096", "4095", "2147483647", "--hexdump",
            "--write",
            "--hold", "--notify-byte", "--notify-port", "--exec", "true", "--pages", "--publish",
            "data/x",
            "--deadline", "1", "0", "--path", "/x/v", "--server", "--client", "--socket", "s",
            "--listen",
            "--connect", "--reconnect", "--linger", "--ring", "1048576", "get", "set", "list",
            "watch", "wait",
            "mkdir", "rm", "chmod", "--raw", "--paths", "--tree", "--full", "--value", "--gone",
            "--mode",
            "n0,r3", "b65536", "--count", "2", "--dir", "etc,755", "--link", "a=b", "--node",
            "dev/console=c:5:1", "x=b:4095:1048575,600", "=p", "tree=/", "init,755", "a//b", "../x",
            "poweroff",
            "reboot", "halt",
        ]
    }

    private static var applets: [StaticString] {
        ["mini-launch", "mini-grant", "mini-pack", "mini-init", "mini"]
    }

    private static var statements: [StaticString] {
        [
            "load /m.ko a=1", "set /proc/x 1", "mount proc /proc proc ro,nosuid,size=4m", "try ",
            "run /bin/x",
            "start ", "respawn ", "shell", "exec /sbin/init", "switch-root /new /init",
            "grant control 0 @data/control write hold notify-byte=0 notify-port=7",
            "grant k 3 8,9 out=/f offset=1 length=2 deadline=5s", "notify 0 @p",
            "wait file /x deadline=30s",
            "wait store data/kernel=1 deadline=250ms", "wait event 0 7",
            "launch --memory 64 @data/k quiet",
            "on-error shell", "at-end reboot", "ctrl-alt-del ignore", "grace 5s", "verbose",
            "table /t", "# c",
            "'a b'", "\"c d\"", "'", "\"", "\\", "=", " ", "\t", "\n", "99999999999s",
            "18446744073709551615",
            "0x", "1h", "ms", "deadline=", "mini.", "mini.launch=\"--memory 8 /demo\"",
            "mini.on-error=poweroff",
            "console=ttyS0", "mini.table=/t",
        ]
    }

    static func makeOptions(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let pieces = pieces
        // Which errno the kernel has for everything, and the applet.
        input.append(random.byte())
        input.append(random.byte())
        for _ in 0..<random.below(9) {
            if random.once(in: 12) {
                for _ in 0..<random.below(9) { input.append(max(1, random.byte())) }
            } else {
                input.append(pieces[random.below(pieces.count)])
            }
            if !random.once(in: 24) { input.append(0 as UInt8) }
        }
        if random.once(in: 4) {
            let first = input[0]
            input.mutate(&random, span: input.count)
            input[0] = first
        }
    }

    /// Runs a command line. Whatever file or device it wants, the kernel has none of it.
    static func takeOptions(_ input: FuzzInput) {
        let errnos = [1, 2, 5, 12, 13, 19, 22, 28, 38]
        unsafe errno = -errnos[Int(input[0]) % errnos.count]
        unsafe calls = 0
        var words: [Text] = ["\(applets[Int(input[1]) % applets.count])"]
        var word: [UInt8] = []
        for index in 2..<max(2, input.count) {
            if input[index] == 0 {
                words.append(Text(bytes: word))
                word = []
            } else {
                word.append(input[index])
            }
        }
        if !word.isEmpty { words.append(Text(bytes: word)) }
        let all = words
        Fuzz.playing({ (call) in answer(call) }) {
            let code = Applet.run(all)
            Fuzz.require(code >= 0 && code <= 255, "an exit code that is none")
        }
    }

    nonisolated(unsafe) private static var errno = -2
    nonisolated(unsafe) private static var calls = 0

    private static func answer(_ call: SystemCall) -> Int? {
        unsafe calls += 1
        Fuzz.require(unsafe calls < 100_000, "a command does not end")
        switch call.number {
        case .map: return call.arguments.4 == -1 ? nil : unsafe errno
        case .unmap: return nil
        // Time passes with each look.
        case .clockTime:
            let words = unsafe UnsafeMutablePointer<Int>(bitPattern: call.arguments.1)
            unsafe words?[0] = unsafe calls / 10
            unsafe words?[1] = 0
            return 0
        case .write: return call.arguments.2
        case .poll: return 0
        case .processID: return 1000
        case .close: return 0
        default: return unsafe errno
        }
    }

    // MARK: Boot tables

    static func makeTable(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let statements = statements
        input.append(random.byte())
        for _ in 0..<1 + random.below(8) {
            switch random.below(12) {
            case 0: for _ in 0..<random.below(12) { input.append(random.byte()) }
            case 1: input.append(pieces[random.below(pieces.count)])
            default: input.append(statements[random.below(statements.count)])
            }
            input.append(UInt8(ascii: random.once(in: 3) ? " " : "\n"))
        }
        if random.once(in: 3) {
            let first = input[0]
            input.mutate(&random, span: input.count)
            input[0] = first
        }
    }

    /// Reads it as a file and as the kernel's command line.
    static func takeTable(_ input: FuzzInput) {
        let text = Text(bytes: unsafe Array(input.bytes.dropFirst()))
        var reader = BootTableReader(InitCommand.programs)
        if input[0] & 1 == 0 { reader.read(file: text, name: "t") }
        if input[0] & 2 == 0 { reader.read(commandLine: text) }
        reader.finish()
        Fuzz.require(reader.errors.count <= 16, "more errors than anybody reads")
        for error in reader.errors {
            let line = error.text
            Fuzz.require(!line.bytes.contains(10), "an error of two lines")
            Fuzz.require(error.position.column >= 1 && error.position.line >= 1, "an error nowhere")
        }
        for statement in reader.table.statements {
            Fuzz.require(!statement.words.isEmpty, "a statement without a word")
        }
        _ = BootTableReader.file(on: text)
    }
}
