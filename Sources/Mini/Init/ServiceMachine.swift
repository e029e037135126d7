// A program that is to run for as long as the machine does: it is started again when it ends,
// after a pause that doubles each time, so that one which cannot run does not take the machine
// with it. One that has run for a while begins with the short pause again. The machine reads no
// clock: every event brings its time.
//
//   new -- due --> starting -- started --> running -- ended --> resting -- due --> starting
//   starting -- not started --> resting
//   every state -- stop --> stopped
//
// The rule of a pause that grows is that of supervisors in general; the same as a page:
// docs/service-machine.md.

/// Says when a service is to be started.
struct ServiceMachine {
    private enum State {
        case new, starting
        case running(since: Nanoseconds)
        case resting(until: Nanoseconds)
        case stopped
    }
    private var state = State.new
    private var pause = Self.shortestPause

    static let shortestPause = Nanoseconds.milliseconds(100)
    static let longestPause = Nanoseconds.milliseconds(60_000)
    /// A program that has run for this long works.
    static let enough = Nanoseconds.milliseconds(10_000)

    enum Event {
        /// Time has passed.
        case due, started, notStarted, ended, stop
    }

    enum Action: Equatable {
        case start
        /// Nothing before this moment.
        case rest(until: Nanoseconds)
        /// Nothing before the program's end.
        case watch
        /// Nothing ever.
        case forget
    }

    /// Takes what has happened at a moment.
    /// - Returns: the next action; nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event, at now: Nanoseconds) -> Action? {
        switch (state, event) {
        case (.stopped, _): return nil
        case (_, .stop): return enter(.stopped, .forget)
        case (.new, .due): return enter(.starting, .start)
        case (.resting(let moment), .due):
            return now < moment ? .rest(until: moment) : enter(.starting, .start)
        case (.starting, .started): return enter(.running(since: now), .watch)
        case (.starting, .notStarted): return rest(now)
        case (.running(let start), .ended):
            if !(now - start < Self.enough) { pause = Self.shortestPause }
            return rest(now)
        default: return nil
        }
    }

    /// When it is due again; nil if it is not resting.
    var moment: Nanoseconds? { if case .resting(let moment) = state { moment } else { nil } }

    private mutating func rest(_ now: Nanoseconds) -> Action {
        let moment = now + pause
        pause = min(pause + pause, Self.longestPause)
        return enter(.resting(until: moment), .rest(until: moment))
    }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .new: "new"
        case .starting: "starting"
        case .running: "running"
        case .resting: "resting"
        case .stopped: "stopped"
        }
    }
}
