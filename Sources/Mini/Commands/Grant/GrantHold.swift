// Keeping what is mapped or shared until a signal comes.

/// The signals that end a hold. Made before there is anything to hold, so that none comes too early.
final class Hold {
    private let signals: SignalQueue
    /// What is said while it lasts. Writing it never waits: a signal could not end that.
    let messages = MessageOutput()

    init() throws(GrantError) {
        var awaited: SignalSet = []
        for signal: Signal in [.hangUp, .interrupt, .quit, .terminate] where !signal.isIgnored {
            awaited.insert(signal)
        }
        // A closed output is an error like others: what is held is given back then.
        do throws(Errno) {
            signals = try SignalQueue(awaited: awaited, silenced: [.brokenPipe])
        } catch {
            throw .system("wait for signals", error)
        }
    }

    /// Gives up all but what the features take, before anything of the other domain's is looked at.
    func enterSandbox(
        _ choice: SandboxChoice, _ features: [GrantFeature], _ have: GrantDescriptors,
        _ sink: GrantFiles.Sink
    ) throws(GrantError) {
        guard choice != .off else { return }
        var features = features
        var have = have
        sink.keep(&have, &features)
        have.signals = signals.descriptor
        have.errors.append(messages.descriptor)
        features += GrantFeature.of(messages, sink.stream)
        try GrantSandbox.enter(choice, [.always] + features, have) {
            messages.write("\(GrantCommand.name): \($0)\n")
        }
    }

    enum Wakening: Equatable { case signal(Signal), ready, nothing }

    /// Sleeps until a signal has come, or there is something else to look at, or the time is over.
    func wait(
        for descriptor: Int32?, atMost time: Nanoseconds
    ) throws(GrantError) -> Wakening {
        do throws(Errno) {
            let isReady = try Poll.wait(
                [Poll.Interest(signals.descriptor), Poll.Interest(descriptor ?? -1)], timeout: time)
            if isReady[0], let signal = try signals.next() { return .signal(signal) }
            return isReady[1] ? .ready : .nothing
        } catch { throw .system("wait for signals", error) }
    }

    /// For what comes before, and may take its time: over when a signal has come.
    var deadline: Deadline { Deadline.never.orSignal(at: signals.descriptor) }

    /// Sleeps until one has come.
    func wait() throws(GrantError) {
        do throws(Errno) { _ = try signals.wait() } catch {
            throw .system("wait for signals", error)
        }
    }

    /// Does what gives a code.
    /// - Returns: that, or the code of a signal which ended it.
    func answering(_ body: () throws(GrantError) -> Int32) throws(GrantError) -> Int32 {
        var code = ExitCode.success
        let end = try Self.during(self) { () throws(GrantError) in code = try body() }
        return end == ExitCode.success ? code : end
    }

    /// Does what comes before.
    /// - Returns: the exit code: that of a signal which ended it.
    static func during(
        _ hold: Hold?, _ body: () throws(GrantError) -> Void
    ) throws(GrantError) -> Int32 {
        do throws(GrantError) { try body() } catch {
            guard let hold, error.mayBeSignal else { throw error }
            var signal: Signal?
            do throws(Errno) { signal = try hold.signals.next() } catch {
                throw .system("take a signal", error)
            }
            guard let signal else { throw error }
            return ExitCode.signal(signal)
        }
        return ExitCode.success
    }
}
