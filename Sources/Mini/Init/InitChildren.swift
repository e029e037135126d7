// The processes that process 1 has started, and those that others have left to it. Every child that exits
// is reaped at once; who it was decides what follows.

/// A program of the table that runs now.
struct InitChild {
    enum Role: Equatable {
        /// It looks after a device for as long as others need that.
        case keeper
        /// Its end is the machine's.
        case vital
        /// The table waits for it. What is only tried may end as it likes.
        case awaited(isTried: Bool)
        case started
        /// The shell of a table that has failed: its end is the machine's.
        case rescue
        /// It decides a condition, which is the statement with this number.
        case condition(Int)
        /// An index into the services.
        case service(Int)
    }
    enum Kind {
        /// It carries out a statement of process 1's own, and says itself what is wrong with that.
        case own
        /// With the variable that only it and what comes from it have. A shell has none, nor what carries a vchan's bytes
        /// for a program.
        case program(mark: Text?)
    }
    let id: ProcessID
    let name: Text
    let position: TablePosition?
    var role: Role
    let kind: Kind
    /// What process 1 does when it has ended well.
    var promise: InitPromise?

    /// True if there is nothing to say about an end.
    func hasSaid(_ end: ProcessEnd) -> Bool {
        if case .exited = end, case .own = kind { true } else { end.isSuccess }
    }
}

/// What only process 1 can do, after a child that found it possible.
enum InitPromise {
    case hold(GrantPromise)
    case replace([Text], root: Text, variables: [Text])
    /// A statement whose words the child has looked up.
    case carryOut(BootStatement, words: ChildResult)
}

/// A program that is to run for as long as the machine.
struct InitService {
    let words: [Text]
    let front: ProgramFront
    let position: TablePosition
    var machine = ServiceMachine()
}
