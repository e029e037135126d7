// Options of a command line as a table: names, arguments and help in one place, and one
// reader for all applets. `--name value` and `--name=value` are the same, `--` ends the
// options, and so does the first word that is none. Some options of mini-launch may stand
// behind that as well, because the original launcher took them wherever they stood.

/// One option of an applet.
struct Option<Settings> {
    /// With its dashes.
    let name: StaticString
    /// Another name for it, which help does not mention.
    var shortName: StaticString?
    /// What its argument is called in help; nil for an option without.
    let argument: StaticString?
    let help: StaticString
    /// True if it may stand behind the first word that is no option.
    var standsAnywhere = false
    /// Puts the option, with its argument, into the settings.
    let apply: (inout Settings, Text) throws(CommandError) -> Void
}

enum Options {
    /// Reads options from the front of a command line.
    /// - Parameter words: without the applet's name.
    /// - Returns: the words behind the options.
    static func read<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) -> ArraySlice<Text> {
        var rest = words
        try readFront(&rest, table, into: &settings)
        _ = takeDashes(&rest)
        return rest
    }

    /// The same with the options that may stand anywhere: they count up to a word `--`.
    static func readAll<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) -> ArraySlice<Text> {
        var rest = words
        try readFront(&rest, table, into: &settings)
        if takeDashes(&rest) { return rest }
        var left: [Text] = []
        while let word = rest.first, !(word == "--") {
            rest = rest.dropFirst()
            let (name, value) = split(word)
            if let option = find(name, in: table), option.standsAnywhere {
                let argument = try argument(
                    value, of: name, isWanted: option.argument != nil, &rest)
                try option.apply(&settings, argument)
            } else {
                left.append(word)
            }
        }
        return (left + rest)[...]
    }

    private static func readFront<Settings>(
        _ rest: inout ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) {
        while let word = next(&rest) {
            let (name, value) = split(word)
            guard let option = find(name, in: table) else { throw .unknownOption(name) }
            let argument = try argument(
                value, of: name, isWanted: option.argument != nil, &rest)
            try option.apply(&settings, argument)
        }
    }

    private static func find<Settings>(
        _ name: Text, in table: [Option<Settings>]
    ) -> Option<Settings>? {
        table.first { option in
            name == option.name || (option.shortName.map { name == $0 } ?? false)
        }
    }

    // What follows is the same for every table, and is there once: `read` is not.

    /// Takes the next word off if it is an option.
    @inline(never)
    private static func next(_ rest: inout ArraySlice<Text>) -> Text? {
        guard let word = rest.first, word.bytes.count > 1, word.bytes[0] == UInt8(ascii: "-"),
            !(word == "--")
        else { return nil }
        rest = rest.dropFirst()
        return word
    }

    /// Takes the next word off if it is the one that ends the options.
    @inline(never)
    private static func takeDashes(_ rest: inout ArraySlice<Text>) -> Bool {
        guard let word = rest.first, word == "--" else { return false }
        rest = rest.dropFirst()
        return true
    }

    /// `--name=value` in its two parts.
    @inline(never)
    private static func split(_ word: Text) -> (name: Text, value: Text?) {
        guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else { return (word, nil) }
        return (word.prefix(equals), word.dropping(equals + 1))
    }

    /// - Parameter value: what came with the option's name.
    /// - Returns: the option's argument, from the words behind it if need be; nothing if it has none.
    @inline(never)
    private static func argument(
        _ value: Text?, of name: Text, isWanted: Bool, _ rest: inout ArraySlice<Text>
    ) throws(CommandError) -> Text {
        guard isWanted else {
            if value != nil { throw .unwantedArgument(option: name) }
            return Text()
        }
        if let value { return value }
        guard let next = rest.first else { throw .missingArgument(option: name) }
        rest = rest.dropFirst()
        return next
    }

    /// The table as a part of help: names in one column, what they do in the other.
    static func help<Settings>(_ table: [Option<Settings>]) -> Text {
        var text = Text()
        for option in table {
            var name: Text = "\(option.name)"
            if let argument = option.argument { name += " \(argument)" }
            text += Help.line(name, option.help)
        }
        return text
    }
}

/// The looks of help.
enum Help {
    private static let column = 20

    /// One entry: a name, and what it means in a column of its own.
    static func line(_ name: Text, _ meaning: StaticString) -> Text {
        columns("  \(name)", "\(meaning)", column)
    }

    /// Two columns of a line.
    static func columns(_ left: Text, _ right: Text, _ column: Int) -> Text {
        var line = left
        repeat { line.append(UInt8(ascii: " ")) } while line.bytes.count < column
        line += "\(right)\n"
        return line
    }
}
