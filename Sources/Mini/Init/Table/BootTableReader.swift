// Reads a boot table: the file first, then the words of the kernel's command line, which so have
// the last word in settings. An error does not end the reading, so that all are told, and so that what
// to do about them is known however it stands. Grammar: docs/boot-table.md.

/// Makes a `BootTable` of bytes; keeps the errors, each with its place.
struct BootTableReader {
    private let programs: InnerPrograms
    private(set) var table = BootTable()
    /// In the order of the sources; only the first ones.
    private(set) var errors: [TableError] = []
    /// What was read last.
    private var last = TablePosition.Source.commandLine

    /// More errors than a console shows are not kept.
    private static let mostErrors = 16
    /// A file longer than this is none that a person wrote.
    static let limit = 65536
    private static let prefix: StaticString = "mini."
    /// The conditions that are not closed yet, the outermost first, and which part of each this is.
    private var open: [BootGuard] = []

    init(_ programs: InnerPrograms) { self.programs = programs }

    /// The table's file, as `mini.table=FILE` says.
    static func file(on commandLine: Text) -> Text? {
        var name: Text?
        for parameter in TableWords.parameters(of: commandLine.bytes) {
            let text = Text(bytes: parameter.map { $0.byte })
            if let file = text.dropping(prefix: "mini.table="), !file.bytes.isEmpty { name = file }
        }
        return name
    }

    // MARK: The two sources

    mutating func read(file text: Text, name: Text) {
        let source = TablePosition.Source.file(name)
        last = source
        if isTooLong(text) { return }
        var number = 0
        // Some editors put a byte order mark in front.
        var rest = (text.dropping(prefix: "\u{FEFF}") ?? text).bytes[...]
        if let first = rest.first, first >= 0xFE {
            note(
                TableError(
                    position: TablePosition(source: source, line: 1, column: 1), reason: .wideText))
            return
        }
        while !rest.isEmpty {
            number += 1
            let line = rest.prefix { $0 != 10 }
            rest = rest.dropFirst(line.count + 1)
            let place = TablePosition(source: source, line: number, column: 1)
            do throws(TableWords.Failure) {
                take(try TableWords.cut(line: line), at: place)
            } catch { note(error, place) }
        }
        closeConditions()
    }

    /// Whether there is more of what was read last than is looked at: nothing of that is carried out then.
    private mutating func isTooLong(_ text: Text) -> Bool {
        guard text.bytes.count > Self.limit else { return false }
        note(
            TableError(
                position: TablePosition(source: last, line: 1, column: 1),
                reason: .tooLong(limit: Self.limit)))
        return true
    }

    mutating func read(commandLine: Text) {
        last = .commandLine
        if isTooLong(commandLine) { return }
        let place = TablePosition(source: last, line: 1, column: 1)
        for parameter in TableWords.parameters(of: commandLine.bytes) {
            let text = Text(bytes: parameter.map { $0.byte })
            guard text.dropping(prefix: Self.prefix) != nil else { continue }
            let start = Self.prefix.utf8CodeUnitCount
            let equals = parameter.firstIndex { $0.byte == UInt8(ascii: "=") } ?? parameter.count
            var words = [
                TableWord(
                    text: Text(bytes: parameter[start..<max(start, equals)].map { $0.byte }),
                    column: parameter[0].column)
            ]
            do throws(TableWords.Failure) {
                words += try TableWords.cut(
                    Array(parameter[min(equals + 1, parameter.count)...]), hasComments: false)
                take(words, at: place)
            } catch { note(error, place) }
        }
        closeConditions()
    }

    /// A source is over: so is every condition in it.
    private mutating func closeConditions() {
        for condition in open {
            note(
                TableError(
                    position: table.statements[condition.statement].position,
                    reason: .unclosedCondition))
        }
        open = []
    }

    /// Looks at the table as a whole, when both sources are read.
    mutating func finish() {
        checkPipes()
        if errors.isEmpty && table.statements.isEmpty {
            note(
                TableError(
                    position: TablePosition(source: last, line: 1, column: 1), reason: .empty))
        }
        let last = table.statements.firstIndex {
            guard $0.guards.isEmpty, let form = StatementForm.named($0.words[0].text),
                form.traits.contains(.ends)
            else { return false }
            // What it looks up may not be there.
            let succeeds = form.traits.contains(.succeeds) && $0.request != .lookup
            return !$0.isTried || succeeds
        }
        if let last, last + 1 < table.statements.count {
            note(
                TableError(
                    position: table.statements[last + 1].position,
                    reason: .unreachable(
                        after: table.statements[last].words.first?.text ?? Text())))
        }
    }

    /// Each pipe is read by one statement and written by one, on every way through the table.
    private mutating func checkPipes() {
        var ends: [PipeEnd] = []
        for index in table.statements.indices { ends += endsOfPipes(of: index) }
        table.pipeEnds = ends
        for (index, end) in ends.enumerated() {
            guard let name = end.name else { continue }
            var place = table.statements[end.statement].position
            place.column = end.column
            let isTaken = ends[..<index].contains {
                $0.name == name && $0.isWriting == end.isWriting
                    && !excludes($0.statement, end.statement)
            }
            if isTaken {
                note(TableError(position: place, reason: .pipeTwice(name, writing: end.isWriting)))
            }
            let others = ends.filter {
                $0.isWriting != end.isWriting && ($0.name == nil || $0.name == name)
                    && !excludes($0.statement, end.statement)
            }
            if others.isEmpty {
                note(TableError(position: place, reason: .openPipe(name, writing: end.isWriting)))
            } else if end.waits, !others.contains(where: { $0.statement <= end.statement }) {
                note(TableError(position: place, reason: .pipeReadBeforeWritten(name)))
            }
        }
    }

    /// What a statement's own words say of pipes; of those that are looked up, that it may be any.
    private func endsOfPipes(of index: Int) -> [PipeEnd] {
        let statement = table.statements[index]
        let words = statement.words
        var ends: [PipeEnd] = []
        @inline(never) func add(_ name: Text, _ word: TableWord, isWriting: Bool, waits: Bool) {
            ends.append(
                PipeEnd(
                    name: word.marks.isEmpty ? name : nil, isWriting: isWriting, statement: index,
                    column: word.column, waits: waits))
        }
        if words[0].text == "wait" && words.count > 2 && words[1].text == "line" {
            add(words[2].text, words[2], isWriting: false, waits: true)
        }
        let traits = StatementForm.named(words[0].text)?.traits ?? []
        if traits.contains(.opens) {
            for word in words.dropFirst() {
                let sample = (try? TableTemplate(word))?.sample ?? word.text
                if sample.isVariable { continue }
                let descriptor: ProgramDescriptor?
                do throws(TableError) {
                    descriptor = try ProgramDescriptor(
                        TableWord(text: sample, column: word.column),
                        of: StatementWords(words, at: statement.position, usage: ""))
                } catch { continue }
                guard let descriptor else {
                    guard !word.marks.isEmpty else { break }
                    // It may bring descriptors, variables or nothing, with others after it.
                    add(Text(), word, isWriting: true, waits: false)
                    add(Text(), word, isWriting: false, waits: false)
                    break
                }
                let name: Text
                switch descriptor.target {
                case .pipe(let pipe): name = pipe
                // Nothing but a lookup, which may bring a pipe.
                case .file("1") where !word.marks.isEmpty: name = Text()
                default: continue
                }
                let isWriting = descriptor.direction == .output
                // A writer that is started before its reader goes on, as long as the pipe has room.
                add(
                    name, word, isWriting: isWriting, waits: traits.contains(.waits) && !isWriting)
            }
        }
        return ends
    }

    /// True if never both of two statements are carried out.
    private func excludes(_ one: Int, _ other: Int) -> Bool {
        table.statements[one].guards.contains { first in
            table.statements[other].guards.contains {
                $0.statement == first.statement && $0.wanted != first.wanted
            }
        }
    }

    private mutating func note(_ error: TableError) {
        if errors.count < Self.mostErrors { errors.append(error) }
    }

    private mutating func note(_ failure: TableWords.Failure, _ place: TablePosition) {
        var place = place
        place.column = failure.column
        note(TableError(position: place, reason: failure.reason))
    }

    // MARK: One statement

    private mutating func take(_ words: [TableWord], at place: TablePosition) {
        guard let first = words.first else { return }
        var place = place
        place.column = first.column
        do throws(TableError) {
            if try setting(words, at: place) { return }
            if try branch(words, at: place) { return }
            if first.text == "try" {
                var statement = StatementWords(words, at: place, usage: "try STATEMENT")
                let name = statement.rest.first
                _ = try statement.next("a statement")
                place.column = name?.column ?? place.column
                try add(Array(words.dropFirst()), at: place, isTried: true)
            } else {
                try add(words, at: place, isTried: false)
            }
        } catch { note(error) }
    }

    private mutating func add(
        _ words: [TableWord], at place: TablePosition, isTried: Bool
    ) throws(TableError) {
        let isCondition = words.first?.text == "if"
        var failure: TableError?
        var request = BootRequest.lookup
        do throws(TableError) {
            if isTried && isCondition {
                throw TableError(position: place, reason: .unknownStatement("try if"))
            }
            request = try StatementForm.request(words, at: place, programs)
        } catch { failure = error }
        // A wrong `if` opens as well: its `end` is not wrong.
        if failure == nil || isCondition {
            table.statements.append(
                BootStatement(
                    position: place, words: words, isTried: isTried, request: request,
                    guards: open))
        }
        if isCondition {
            open.append(BootGuard(statement: table.statements.count - 1, wanted: true))
        }
        if let failure { throw failure }
    }

    /// Takes `else` and `end`.
    /// - Returns: false if it is neither.
    private mutating func branch(
        _ words: [TableWord], at place: TablePosition
    ) throws(TableError) -> Bool {
        let name = words[0].text
        guard name == "else" || name == "end" else { return false }
        guard var condition = open.popLast() else {
            throw TableError(position: place, reason: .notInCondition(name))
        }
        if name == "else" {
            if !condition.wanted {
                open.append(condition)
                throw TableError(position: place, reason: .notInCondition(name))
            }
            condition.wanted = false
            open.append(condition)
        }
        // Behind that, so that a word too many is the only error.
        try StatementWords(words, at: place, usage: "else, end").end()
        return true
    }

    /// - Returns: false if it is no setting.
    private mutating func setting(
        _ words: [TableWord], at place: TablePosition
    ) throws(TableError) -> Bool {
        let name = words[0].text
        guard let form = Self.settings.first(where: { name == $0.name }) else { return false }
        if !open.isEmpty {
            throw TableError(position: place, reason: .settingInCondition(name))
        }
        var statement = StatementWords(words, at: place, usage: form.usage)
        let word = statement.rest.first
        if form.wanted != nil { _ = try statement.next("a word") }
        try statement.end()
        let value = word?.text ?? Text()
        if name == "table" && place.source != .commandLine {
            throw statement.error(.notInFile(name))
        }
        if !table.settings.take(name, value) {
            throw statement.error(.notA(form.wanted ?? "", value), at: word)
        }
        return true
    }

    /// A setting's name, how it is written, and what its word has to be.
    static var settings: [(name: StaticString, usage: StaticText, wanted: StaticText?)] {
        [
            (
                "on-error", "on-error shell | poweroff | reboot | halt",
                "shell, poweroff, reboot or halt"
            ), ("at-end", "at-end poweroff | reboot | halt", "poweroff, reboot or halt"),
            (
                "ctrl-alt-del", "ctrl-alt-del poweroff | reboot | halt | ignore",
                "poweroff, reboot, halt or ignore"
            ), ("grace", "grace TIME", TableTime.wanted), ("verbose", "verbose", nil),
            ("table", "table FILE", "a file's name without .. in it"),
        ]
    }
}

extension BootSettings {
    /// Puts a setting into its place.
    /// - Returns: false if the word is none for it.
    fileprivate mutating func take(_ name: Text, _ value: Text) -> Bool {
        let ending = Ending(value)
        switch name {
        case "on-error":
            guard ending != nil || value == "shell" else { return false }
            onError = ending.map { .end($0) } ?? .shell
        case "at-end":
            guard let ending else { return false }
            atEnd = ending
        case "ctrl-alt-del":
            guard ending != nil || value == "ignore" else { return false }
            keys = ending
        case "grace":
            guard let time = TableTime.read(value) else { return false }
            grace = time
        case "verbose": isVerbose = true
        // It has been looked for before the table is read.
        case "table": return !value.hasParent && value.isFileName
        default: break
        }
        return true
    }
}

extension Ending {
    init?(_ word: Text) {
        switch word {
        case "poweroff": self = .powerOff
        case "reboot": self = .reboot
        case "halt": self = .halt
        default: return nil
        }
    }
}
