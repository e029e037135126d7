// Keeping what is mapped or shared until somebody sends a signal.

/// The signals that end a hold. Made before there is anything to hold, so that none comes too early.
final class Hold {
    private let signals: SignalQueue

    init() throws(GrantError) {
        var awaited: SignalSet = []
        for signal: Signal in [.hangUp, .interrupt, .quit, .terminate] where !signal.isIgnored {
            awaited.insert(signal)
        }
        do throws(Errno) { signals = try SignalQueue(awaited: awaited, silenced: []) } catch {
            throw .system("wait for signals", error)
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

    /// Sleeps until one has come.
    func wait() throws(GrantError) {
        do throws(Errno) { _ = try signals.wait() } catch {
            throw .system("wait for signals", error)
        }
    }
}
