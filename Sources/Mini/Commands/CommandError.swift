// Everything that can be wrong with a command line, each with the one line that a person reads.

/// A wrong use of an applet, which ends it with code 2, or what went wrong with Xen.
enum CommandError: Error, Equatable {
    case unknownApplet(Text)
    /// An applet's name without the applet in this build.
    case absentApplet
    case unknownOption(Text)
    case missingArgument(option: Text)
    case unwantedArgument(option: Text)
    case badEngine(Text)
    /// What was given, and why it is no size.
    case badMemory(Text, why: Text)
    case noKernel

    // mini-grant.
    case noSubcommand
    case unknownSubcommand(Text)
    case unwantedWord(Text)
    case missingOption(Text)
    /// A subcommand, and what it needs.
    case missingWords(Text, Text)
    /// What was given, and why it will not do.
    case badArgument(option: Text, Text, why: Text)
    /// Two options of which one makes no sense beside the other.
    case conflict(Text, Text)
    case grant(GrantError)

    var exitCode: Int32 {
        if case .grant(let error) = self { error.exitCode } else { ExitCode.wrongUse }
    }

    /// One line without the applet's name in front.
    var text: Text {
        switch self {
        case .unknownApplet(let name): "there is no applet \(quoted: name); --help lists them"
        case .absentApplet: "this build of mini does not have that applet"
        case .unknownOption(let option): "unknown option \(quoted: option); --help lists them"
        case .missingArgument(let option): "option \(option) needs an argument"
        case .unwantedArgument(let option): "option \(option) takes no argument"
        case .badEngine(let name):
            "unknown engine \(quoted: name): it is auto, lguest or builtin"
        case .badMemory(let size, let why): "memory of \(quoted: size) \(why)"
        case .noKernel: "no kernel is named; --help tells how to use this"
        case .noSubcommand: "no subcommand is named; --help lists them"
        case .unknownSubcommand(let name):
            "there is no subcommand \(quoted: name); --help lists them"
        case .unwantedWord(let word): "unexpected word \(quoted: word)"
        case .missingWords(let command, let words): "\(command) needs \(words)"
        case .missingOption(let option): "option \(option) is missing"
        case .badArgument(let option, let word, let why): "\(option) of \(quoted: word) \(why)"
        case .conflict(let one, let other): "\(one) does not go with \(other)"
        case .grant(let error): error.text
        }
    }
}
