// Everything that can keep process 1 from a statement's end, each with the words that a person
// reads after the statement's place.

enum InitError: Error, Equatable {
    /// What was tried (as "load the module"), on which file.
    case host(Text, name: Text, Errno)
    /// The same with the cause, as a part of a sentence.
    case cause(Text, name: Text, Text)
    /// What was tried (as "start a process").
    case system(Text, Errno)
    /// An awaited program did not end well.
    case program(Text, ProcessEnd)
    case grant(GrantError)
    /// What the statement cannot do here: a whole sentence.
    case refused(Text)
    /// What is wrong with the word of the statement that begins in this column.
    case word(column: Int, Text)
    /// Something that cannot come in this state, or in a child that carries out this statement.
    case defect(state: Text)

    /// One line without a name in front.
    var text: Text {
        switch self {
        case .host(let action, let name, let errno): "cannot \(action) \(quoted: name): \(errno)"
        case .cause(let action, let name, let why): "cannot \(action) \(quoted: name): \(why)"
        case .system(let action, let errno): "cannot \(action): \(errno)"
        case .program(let name, let end): "\(quoted: name) \(end.text)"
        case .grant(let error): error.text
        case .refused(let sentence): sentence
        case .word(_, let sentence): sentence
        case .defect(let state): .defect(state: state)
        }
    }
}

extension ProcessEnd {
    /// As "ended with code 3".
    var text: Text {
        switch self {
        case .exited(let code): "ended with code \(code)"
        case .killed(let signal): "was ended by signal \(signal.rawValue)"
        }
    }
}
