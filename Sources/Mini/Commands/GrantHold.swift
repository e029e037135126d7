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

    /// Sleeps until one has come.
    func wait() throws(GrantError) {
        do throws(Errno) { _ = try signals.wait() } catch {
            throw .system("wait for signals", error)
        }
    }
}
