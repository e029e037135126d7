// How process 1 starts programs, each in a child: a file, or an applet of this binary. Sources: fork(2), execve(2).

struct InitLauncher {
    let programs: InnerPrograms
    /// A number that no program must have.
    var signals: Int32?

    /// Where a program's file is looked for if its name has no slash.
    private static var folders: [Text] { ["/sbin/", "/bin/", "/usr/sbin/", "/usr/bin/"] }
    static var shells: [[Text]] {
        [["/bin/sh"], ["/bin/busybox", "sh"], ["/bin/bash"], ["/usr/bin/sh"], ["/sbin/sh"]]
    }

    /// Starts a program in a child.
    /// - Parameter isInteractive: true to give it the console as its terminal, with ^C and job
    ///   control. When such a program ends, the kernel drops what the console has not shown yet.
    func start(
        _ words: [Text], isInteractive: Bool = false, variables: [Text] = []
    ) throws(InitError) -> ProcessID {
        try start(isInteractive: isInteractive) {
            Process.give(variables)
            return become(words)
        }
    }

    /// Starts a program with what it is to find open.
    /// - Parameters:
    ///   - arrange: opens that, in the child.
    ///   - say: tells what is wrong with it.
    func start(
        _ words: [Text], arrange: () throws(InitError) -> Void, say: (InitError) -> Void
    ) throws(InitError) -> ProcessID {
        try start {
            do throws(InitError) { try arrange() } catch {
                say(error)
                return 126
            }
            return become(words)
        }
    }

    /// Starts a child that does something and ends with a code.
    func start(
        isInteractive: Bool = false, _ body: () -> Int32
    ) throws(InitError) -> ProcessID {
        let id: ProcessID?
        do throws(Errno) { id = try Process.fork() } catch {
            throw .system("start a process", error)
        }
        if let id { return id }
        release()
        Process.beginSession(terminal: isInteractive ? 0 : nil)
        Process.exit(body())
    }

    /// Makes the process what its program expects: no signal held back, none handled, none of
    /// process 1's descriptors.
    func release() {
        FaultGuard.remove()
        let none: SignalSet = []
        _ = try? none.apply(.replace)
        if let signals { _ = Descriptor(owning: signals) }
    }

    /// Runs an applet, or replaces this process.
    /// - Returns: an exit code as a shell would give it.
    private func become(_ words: [Text]) -> Int32 {
        guard let words = words.isEmpty ? Self.shell() : words else {
            InitConsole.say("there is no shell")
            return 127
        }
        if let code = programs.run(words) { return code }
        let error = execute(words)
        InitConsole.say(Self.failure(of: words[0], error).text)
        return error == .noSuchFile ? 127 : 126
    }

    /// Replaces this process by a program's file.
    /// - Parameter variables: what its environment has besides this process's own.
    /// - Returns: why that cannot be.
    func execute(_ words: [Text], variables: [Text] = []) -> Errno {
        var reason = Errno.noSuchFile
        for path in Self.paths(of: words[0]) {
            do throws(Errno) {
                try Process.execute(
                    path, words, environment: Process.environment(adding: variables))
            } catch { if error != .noSuchFile { reason = error } }
        }
        return reason
    }

    /// What is wrong with a program that could not be run.
    static func failure(of name: Text, _ errno: Errno) -> InitError {
        for path in paths(of: name) {
            if let why = ProgramTrouble.reason(path, errno) {
                return .cause("run", name: path, why)
            }
        }
        return .host("run", name: name, errno)
    }

    /// Where a program's file may be.
    private static func paths(of name: Text) -> [Text] {
        name.bytes.contains(UInt8(ascii: "/"))
            ? [name] : folders.map { "\($0)\(name)" as Text }
    }

    /// What keeps a program from being run; nil if nothing is seen to.
    static func trouble(with name: Text) -> InitError? {
        var reason: InitError = .host("run", name: name, .noSuchFile)
        for path in paths(of: name) {
            do throws(Errno) { _ = try Descriptor.open(path, .path) } catch {
                if error != .noSuchFile { reason = .host("run", name: path, error) }
                continue
            }
            guard let why = ProgramTrouble.reason(path) else { return nil }
            reason = .cause("run", name: path, why)
        }
        return reason
    }

    /// The words that start the first shell that can be run. What is wrong with one that is there is said.
    static func shell() -> [Text]? {
        shells.first {
            guard let why = trouble(with: $0[0]) else { return true }
            if case .host(_, _, .noSuchFile) = why { return false }
            InitConsole.say(why.text)
            return false
        }
    }
}
