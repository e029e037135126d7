// Options of a command line as a table: names, arguments and help in one place, and one
// reader for all applets. `--name value` and `--name=value` are the same. Options count wherever they
// stand, up to a word `--`; only in front of a program to be started, whose words are its own,
// they end at the first word that is none. None counts for another one that is dropped unseen: what has an
// argument is given once, but for things that there can be several of, and nothing beside what contradicts it.

/// One option of an applet.
struct Option<Settings> {
    /// With its dashes.
    let name: StaticString
    /// Another name for it.
    var shortName: StaticString?
    /// What its argument is called in help; nil for an option without.
    let argument: StaticString?
    let help: StaticString
    /// True for one with an argument that counts each time, as a device does.
    var repeats = false
    /// Another option that makes no sense beside it. It stands at one of the two and counts for both.
    var excludes: StaticString?
    /// Puts the option, with its argument, into the settings.
    let apply: (inout Settings, Text) throws(CommandError) -> Void
}

/// The options that a command line has given so far: their places in its table, each once.
struct GivenOptions {
    /// Of an option, what tells whether it goes with another one.
    fileprivate typealias Row = (name: StaticString, excludes: StaticString?)
    private var places: [Int] = []

    /// - Parameter row: the table's at a place.
    /// - Throws: an error of use if it does not go with what is there.
    @inline(never)
    fileprivate mutating func add(
        _ place: Int, isOnce: Bool, _ row: (Int) -> Row
    ) throws(CommandError) {
        let new = row(place)
        for given in places {
            if given == place {
                if isOnce { throw .twice(option: "\(new.name)") }
                return
            }
            let old = row(given)
            if Self.excludes(new, old) { throw .conflict("\(new.name)", "\(old.name)") }
            if Self.excludes(old, new) { throw .conflict("\(old.name)", "\(new.name)") }
        }
        places.append(place)
    }

    private static func excludes(_ one: Row, _ other: Row) -> Bool {
        one.excludes.map { ("\(other.name)" as Text) == $0 } ?? false
    }
}

enum Options {
    /// What --sandbox takes.
    static func sandbox(_ word: Text) throws(CommandError) -> SandboxChoice {
        switch word {
        case "on": .on
        case "require": .required
        default: throw .badSandbox(word)
        }
    }

    /// Reads options from the front of a command line.
    /// - Parameter words: without the applet's name.
    /// - Returns: the words behind the options.
    static func read<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) -> ArraySlice<Text> {
        var rest = words
        var given = GivenOptions()
        try readFront(&rest, table, into: &settings, &given)
        _ = takeDashes(&rest)
        return rest
    }

    /// Reads options wherever they stand, up to a word `--`, which goes.
    /// - Returns: the other words.
    static func readAll<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings
    ) throws(CommandError) -> ArraySlice<Text> {
        var rest = words
        var left: [Text] = []
        var given = GivenOptions()
        while true {
            try readFront(&rest, table, into: &settings, &given)
            if takeDashes(&rest) { break }
            guard let word = rest.popFirst() else { break }
            left.append(word)
        }
        return (left + rest)[...]
    }

    /// Reads what stands behind the options in front, where words with a dash may be somebody else's.
    /// Up to a word `--`, which stays, the options of the table count.
    /// - Parameters:
    ///   - given: those in front.
    ///   - unknown: gets the words with a dash that are no option.
    /// - Returns: the other words, and those.
    static func readBehind<Settings>(
        _ words: ArraySlice<Text>, _ table: [Option<Settings>], into settings: inout Settings,
        _ given: inout GivenOptions, unknown: inout [Text]
    ) throws(CommandError) -> ArraySlice<Text> {
        var rest = words
        var left: [Text] = []
        while let word = rest.first, !(word == "--") {
            rest = rest.dropFirst()
            let (name, value) = split(word)
            if isOption(word), let place = find(name, in: table) {
                try take(place, of: table, name, value, &rest, into: &settings, &given)
            } else {
                if isOption(word) { unknown.append(word) }
                left.append(word)
            }
        }
        return (left + rest)[...]
    }

    /// Takes the options off the front.
    static func readFront<Settings>(
        _ rest: inout ArraySlice<Text>, _ table: [Option<Settings>],
        into settings: inout Settings, _ given: inout GivenOptions
    ) throws(CommandError) {
        while let word = next(&rest) {
            let (name, value) = split(word)
            guard let place = find(name, in: table) else {
                throw .unknownOption(name, nearest: nearest(name, table.map { $0.name }))
            }
            try take(place, of: table, name, value, &rest, into: &settings, &given)
        }
    }

    /// Puts an option into the settings, with its argument.
    private static func take<Settings>(
        _ place: Int, of table: [Option<Settings>], _ name: Text, _ value: Text?,
        _ rest: inout ArraySlice<Text>, into settings: inout Settings, _ given: inout GivenOptions
    ) throws(CommandError) {
        let option = table[place]
        let isOnce = option.argument != nil && !option.repeats
        try given.add(place, isOnce: isOnce) { (table[$0].name, table[$0].excludes) }
        try option.apply(
            &settings,
            argument(value, of: name, isWanted: option.argument != nil, &rest))
    }

    /// - Returns: its place in the table, by either of its names.
    private static func find<Settings>(_ name: Text, in table: [Option<Settings>]) -> Int? {
        table.firstIndex { option in
            name == option.name || (option.shortName.map { name == $0 } ?? false)
        }
    }

    // What follows is the same for every table, and is there once: `read` is not.

    /// Takes the next word off if it is an option.
    @inline(never)
    private static func next(_ rest: inout ArraySlice<Text>) -> Text? {
        guard let word = rest.first, isOption(word) else { return nil }
        rest = rest.dropFirst()
        return word
    }

    /// True for what looks like one. A lone dash is a file's name.
    @inline(never)
    static func isOption(_ word: Text) -> Bool {
        word.bytes.count > 1 && word.bytes[0] == UInt8(ascii: "-") && !(word == "--")
    }

    /// Takes the next word off if it is the one that ends the options.
    @inline(never)
    static func takeDashes(_ rest: inout ArraySlice<Text>) -> Bool {
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

    /// What somebody may have meant: a name that begins so, or one that two slips lead to.
    @inline(never)
    static func nearest(_ word: Text, _ names: [StaticString]) -> Text? {
        var best: (name: Text, distance: Int)?
        let letters = word.bytes.drop { $0 == UInt8(ascii: "-") }.count
        for name in names.map({ Text(bytes: ("\($0)" as Text).bytes) }) {
            let isBeginning =
                word.bytes.count > 3 && name.bytes.count > word.bytes.count
                && name.prefix(word.bytes.count) == word
            let distance = isBeginning ? 0 : slips(word.bytes, name.bytes)
            // Of a short word nearly everything is near.
            guard distance <= 2, distance * 2 < letters else { continue }
            if distance < best?.distance ?? .max { best = (name, distance) }
        }
        return best?.name
    }

    /// How many letters are to be put in, taken out or changed, or swapped with the next one, to make the one
    /// of the other.
    private static func slips(_ one: [UInt8], _ other: [UInt8]) -> Int {
        var before: [Int] = []
        var row = Array(0...other.count)
        for (index, byte) in one.enumerated() {
            var next = [index + 1]
            for column in other.indices {
                let change = row[column] + (byte == other[column] ? 0 : 1)
                var least = min(change, min(row[column + 1], next[column]) + 1)
                if index > 0, column > 0, byte == other[column - 1], one[index - 1] == other[column]
                {
                    least = min(least, before[column - 1] + 1)
                }
                next.append(least)
            }
            before = row
            row = next
        }
        return row[other.count]
    }

    /// The table as a part of help: names in one column, what they do in the other.
    static func help<Settings>(_ table: [Option<Settings>]) -> Text {
        var text = Text()
        for option in table {
            var name: Text = option.shortName.map { "\($0), \(option.name)" } ?? "\(option.name)"
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
