// Options of a command line as a table: names, arguments and help in one place, and one
// reader for all applets. `--name value` and `--name=value` are the same, `--` ends the
// options, and so does the first word that is none.

/// One option of an applet.
struct Option<Settings> {
    /// With its dashes.
    let name: StaticString
    /// What its argument is called in help; nil for an option without.
    let argument: StaticString?
    let help: StaticString
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
        while let word = rest.first, word.bytes.count > 1, word.bytes[0] == UInt8(ascii: "-") {
            rest = rest.dropFirst()
            if word == "--" { break }
            let (name, value) = split(word)
            guard let option = table.first(where: { name == $0.name }) else {
                throw .unknownOption(name)
            }
            if option.argument == nil {
                if value != nil { throw .unwantedArgument(option: name) }
                try option.apply(&settings, Text())
            } else if let value {
                try option.apply(&settings, value)
            } else {
                guard let next = rest.first else { throw .missingArgument(option: name) }
                rest = rest.dropFirst()
                try option.apply(&settings, next)
            }
        }
        return rest
    }

    /// `--name=value` in its two parts.
    private static func split(_ word: Text) -> (name: Text, value: Text?) {
        guard let equals = word.bytes.firstIndex(of: UInt8(ascii: "=")) else { return (word, nil) }
        return (
            Text(bytes: Array(word.bytes[..<equals])),
            Text(bytes: Array(word.bytes[(equals + 1)...]))
        )
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
