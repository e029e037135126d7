// Everything that can be wrong with a boot table, each with the words that a person reads after
// the place where it stands.

struct TableError: Error, Equatable {
    indirect enum Reason: Equatable {
        case unknownStatement(Text)
        /// What the statement has not, as "the file's name".
        case missing(StaticText, usage: StaticText)
        case unexpectedWord(Text)
        case unknownOption(Text)
        /// What is wrong with a word: what was wanted there.
        case notA(StaticText, Text)
        case unclosedQuote
        /// A byte that no table has.
        case badByte(UInt8)
        /// A lookup that has no end.
        case unclosedLookup
        /// An `if` without its `end`.
        case unclosedCondition
        /// A word that belongs into an `if`, elsewhere.
        case notInCondition(Text)
        /// What holds for the whole table, in an `if`.
        case settingInCondition(Text)
        /// A list among words that each have their own meaning.
        case listNotHere(Text)
        /// What can stand only once: a descriptor's number, an option.
        case twice(Text)
        /// An end of a pipe that another statement has.
        case pipeTwice(Text, writing: Bool)
        /// A pipe that has only one end.
        case openPipe(Text, writing: Bool)
        /// A pipe that is read by a statement that waits, in front of the one that writes.
        case pipeReadBeforeWritten(Text)
        /// The file is UTF-16 or UTF-32.
        case wideText
        /// A blank or a mark that only looks like one, or like nothing.
        case invisible
        /// It would never be carried out.
        case unreachable(after: Text)
        /// Only the kernel's command line can say this.
        case notInFile(Text)
        /// Words that belong to an applet, and what that says of them.
        case applet(Text, Text)
        /// An applet that the statement needs, and this build was made without.
        case missingApplet(Text)
        /// Words that are good alone, but do not fit together: a whole sentence.
        case misfit(Text)
        case tooLong(limit: Int)
        case empty
    }
    var position: TablePosition
    var reason: Reason

    /// One line.
    var text: Text { "\(position.text): \(words)" }

    private var words: Text { reason.words }
}

extension TableError.Reason {
    /// What a person reads after the place.
    var words: Text {
        switch self {
        case .unknownStatement(let name): "there is no statement \(quoted: name)"
        case .missing(let what, let usage): "\(what.text) is missing; usage: \(usage.text)"
        case .unexpectedWord(let word): "unexpected word \(quoted: word)"
        case .unknownOption(let word): "unknown option \(quoted: word)"
        case .notA(let wanted, let word): "\(quoted: word) is not \(wanted.text)"
        case .unclosedQuote: "this quotation mark is not closed"
        case .badByte(let byte): "byte \(hex: byte, width: 2) must not be in a table"
        case .unclosedLookup: "this @{ is not closed by a }"
        case .unclosedCondition: "this if is not closed by an end"
        case .notInCondition(let word): "this \(word) has no if"
        case .settingInCondition(let name):
            "\(name) holds for the whole table: it cannot stand inside an if"
        case .listNotHere(let word): "\(quoted: word): a list can only be a program's arguments"
        case .twice(let what): "\(what) is used twice"
        case .pipeTwice(let name, let isWriting):
            "the pipe \(quoted: name) is \(isWriting ? "written" : "read") twice"
        case .openPipe(let name, let isWriting):
            "the pipe \(quoted: name) is \(isWriting ? "written, but never read" : "read, but never written")"
        case .pipeReadBeforeWritten(let name):
            "the pipe \(quoted: name) is read by a statement that waits, before anything can write it"
        case .wideText: "this is text of another encoding (UTF-16?): a table is UTF-8"
        case .invisible:
            "an invisible Unicode character is here, as a no-break space or a byte order mark"
        case .unreachable(let name): "nothing after \(name) is carried out"
        case .notInFile(let name): "\(name) belongs on the kernel's command line"
        case .applet(let name, let complaint): "\(name): \(complaint)"
        case .missingApplet(let name): "this build of mini has no \(name)"
        case .misfit(let sentence): sentence
        case .tooLong(let limit): "the table is longer than \(limit) bytes"
        case .empty: "the table has no statement"
        }
    }
}

/// A literal that can be compared.
struct StaticText: Equatable, ExpressibleByStringLiteral {
    let text: StaticString
    init(stringLiteral: StaticString) { text = stringLiteral }
    static func == (left: Self, right: Self) -> Bool {
        Text("\(left.text)") == right.text
    }
}
