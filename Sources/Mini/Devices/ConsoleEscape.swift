// The way out of a guest's console: ^C three times within a second. Every ^C goes to the
// guest as well; any other key in between starts the count again.
//
//               other key                    ^C later
//     +------------------------+            +-------+
//     v                        |            v       |
//   none ----- ^C -----> one --+-- ^C soon --> two --+-- ^C soon --> leave
//                       ^ | ^                   |
//                       +-+ +------ ^C late ----+
//                     ^C late
//
// "soon" is within the window of the first ^C that counts; "later" means that only the
// second still counts, which makes it the first; "late" that none does.
// Source: the original launcher's console, docs/abi/lguest.md §5.2.
// The same as a page: docs/console-escape-machine.md.

/// Counts the ^C that leave the console.
struct ConsoleEscape {
    /// Three must fall within this time.
    static let window = Nanoseconds.milliseconds(1000)
    static let key: UInt8 = 3

    private enum State {
        case none
        case one(Nanoseconds)
        case two(Nanoseconds, Nanoseconds)
        case leave
    }
    private var state = State.none

    enum Action: Equatable { case goOn, leave }

    /// A key was pressed.
    mutating func press(_ byte: UInt8, at now: Nanoseconds) -> Action {
        state =
            switch state {
            case .leave: .leave
            case _ where byte != Self.key: .none
            case .none: .one(now)
            case .one(let first): Self.isSoon(now, after: first) ? .two(first, now) : .one(now)
            case .two(let first, let second):
                if Self.isSoon(now, after: first) {
                    .leave
                } else if Self.isSoon(now, after: second) {
                    .two(second, now)
                } else {
                    .one(now)
                }
            }
        if case .leave = state { return .leave }
        return .goOn
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .none: "none"
        case .one: "one"
        case .two: "two"
        case .leave: "leave"
        }
    }

    private static func isSoon(_ now: Nanoseconds, after then: Nanoseconds) -> Bool {
        now - then <= window
    }
}
