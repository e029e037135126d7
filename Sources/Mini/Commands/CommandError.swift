// Everything that can be wrong with a command line, each with the one line that a person reads.

/// A wrong use of an applet, which ends it with code 2, or what went wrong with Xen.
enum CommandError: Error, Equatable {
    case unknownApplet(Text)
    /// And what may have been meant.
    case unknownOption(Text, nearest: Text? = nil)
    case missingArgument(option: Text)
    case unwantedArgument(option: Text)
    case twice(option: Text)
    case badEngine(Text)
    case badConsole(Text)
    case badSandbox(Text)
    /// What was given, and why it is no size.
    case badMemory(Text, why: Text)
    case noKernel
    case badAddress(Text)
    case badHardwareAddress(Text)
    case badInterface(Text)

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
    #if !MINI_WITHOUT_GRANT
    case grant(GrantError)
    #endif

    // mini-pack.
    case noArchive
    case nothingToPack
    case badTime(Text)
    #if !MINI_WITHOUT_PACK
    case archive(ArchiveError)
    #endif

    var exitCode: Int32 {
        switch self {
        #if !MINI_WITHOUT_GRANT
        case .grant(let error): error.exitCode
        #endif
        #if !MINI_WITHOUT_PACK
        case .archive(let error): error.exitCode
        #endif
        default: ExitCode.wrongUse
        }
    }

    /// One line without the applet's name in front.
    var text: Text {
        switch self {
        case .unknownApplet(let name): "there is no applet \(quoted: name); --help lists them"
        case .unknownOption(let option, let nearest?):
            "unknown option \(quoted: option); \(nearest) may be meant, --help lists them"
        case .unknownOption(let option, nil): "unknown option \(quoted: option); --help lists them"
        case .missingArgument(let option): "option \(option) needs an argument"
        case .unwantedArgument(let option): "option \(option) takes no argument"
        case .twice(let option): "option \(option) is given twice"
        case .badEngine(let name):
            "unknown engine \(quoted: name): it is auto, kvm, lguest, builtin or software"
        case .badConsole(let name):
            "unknown console \(quoted: name): it is serial, virtio or screen"
        case .badSandbox(let word): "unknown sandbox \(quoted: word): it is on or require"
        case .badMemory(let size, let why): "memory of \(quoted: size) \(why)"
        case .badAddress(let word):
            "\(quoted: word) is not the address of a host: four numbers with dots between"
        case .badHardwareAddress(let word):
            "\(quoted: word) is not the hardware address of an interface: six bytes, as 52:54:0:1:2:3"
        case .badInterface(let word):
            "\(quoted: word) is not the name of an interface: 1 to 15 bytes"
        case .noKernel: "no kernel is named; --help tells how to use this"
        case .noSubcommand: "no subcommand is named; --help lists them"
        case .unknownSubcommand(let name):
            "there is no subcommand \(quoted: name); --help lists them"
        case .unwantedWord(let word): "unexpected word \(quoted: word)"
        case .missingWords(let command, let words): "\(command) needs \(words)"
        case .missingOption(let option): "option \(option) is missing"
        case .badArgument(let option, let word, let why): "\(option) of \(quoted: word) \(why)"
        case .conflict(let one, let other): "\(one) does not go with \(other)"
        #if !MINI_WITHOUT_GRANT
        case .grant(let error): error.text
        #endif
        case .noArchive: "no archive is named; --help tells how to use this"
        case .nothingToPack: "nothing to pack is named; --help tells how to use this"
        case .badTime(let time):
            "SOURCE_DATE_EPOCH of \(quoted: time) is not a number of seconds that the format can hold"
        #if !MINI_WITHOUT_PACK
        case .archive(let error): error.text
        #endif
        }
    }
}
