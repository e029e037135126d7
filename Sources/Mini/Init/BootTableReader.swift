// Reads a boot table: the file first, then the words of the kernel's command line, which so have
// the last word in settings. An error does not end the reading, so that all are told, and so that what
// to do about them is known however it stands. Grammar: docs/boot-table.md.

struct BootTableReader {
    private let programs: InnerPrograms
    private(set) var table = BootTable()
    /// In the order of the sources; only the first ones.
    private(set) var errors: [TableError] = []

    /// More errors than a console shows are not kept.
    private static let mostErrors = 16
    /// A file longer than this is none that a person wrote.
    static let limit = 65536
    private static let prefix: StaticString = "mini."

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
        if text.bytes.count > Self.limit {
            note(
                TableError(
                    position: TablePosition(source: source, line: 1, column: 1),
                    reason: .tooLong(limit: Self.limit)))
            return
        }
        var number = 0
        for line in text.bytes.split(separator: 10, omittingEmptySubsequences: false) {
            number += 1
            let place = TablePosition(source: source, line: number, column: 1)
            do throws(TableWords.Failure) {
                take(try TableWords.cut(line: line), at: place)
            } catch { note(error, place) }
        }
    }

    mutating func read(commandLine: Text) {
        let place = TablePosition(source: .commandLine, line: 1, column: 1)
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
    }

    /// Looks at the table as a whole, when both sources are read.
    mutating func finish() {
        if errors.isEmpty && table.statements.isEmpty {
            note(
                TableError(
                    position: TablePosition(source: .commandLine, line: 1, column: 1),
                    reason: .empty))
        }
        let last = table.statements.firstIndex {
            if case .replace = $0.request { !$0.isTried } else { false }
        }
        if let last, last + 1 < table.statements.count {
            note(
                TableError(
                    position: table.statements[last + 1].position,
                    reason: .unreachable(
                        after: table.statements[last].words.first?.text ?? Text())))
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
            if first.text == "try" {
                var statement = StatementWords(words, at: place, usage: "try STATEMENT")
                let name = statement.rest.first
                _ = try statement.next("a statement")
                place.column = name?.column ?? place.column
                try statement_(Array(words.dropFirst()), at: place, isTried: true)
            } else {
                try statement_(words, at: place, isTried: false)
            }
        } catch { note(error) }
    }

    private mutating func statement_(
        _ words: [TableWord], at place: TablePosition, isTried: Bool
    ) throws(TableError) {
        guard let name = words.first?.text,
            let form = StatementForm.all.first(where: { name == $0.name })
        else {
            throw TableError(
                position: place, reason: .unknownStatement(words.first?.text ?? Text()))
        }
        var statement = StatementWords(words, at: place, usage: form.usage)
        let request = try form.read(&statement)
        if case .program(let words, _) = request, let complaint = programs.complaint(words) {
            throw statement.error(.applet(words[0], complaint))
        }
        table.statements.append(
            BootStatement(position: place, words: words, isTried: isTried, request: request))
    }

    /// - Returns: false if it is no setting.
    private mutating func setting(
        _ words: [TableWord], at place: TablePosition
    ) throws(TableError) -> Bool {
        switch words[0].text {
        case "on-error":
            var statement = StatementWords(
                words, at: place, usage: "on-error shell | poweroff | reboot | halt")
            let word = statement.rest.first
            let action = try statement.next("what to do")
            if action == "shell" {
                table.settings.onError = .shell
            } else if let ending = Ending(action) {
                table.settings.onError = .end(ending)
            } else {
                throw statement.error(.notA("shell, poweroff, reboot or halt", action), at: word)
            }
            try statement.end()
        case "at-end":
            var statement = StatementWords(
                words, at: place, usage: "at-end poweroff | reboot | halt")
            let word = statement.rest.first
            let action = try statement.next("what to do")
            guard let ending = Ending(action) else {
                throw statement.error(.notA("poweroff, reboot or halt", action), at: word)
            }
            table.settings.atEnd = ending
            try statement.end()
        case "grace":
            var statement = StatementWords(words, at: place, usage: "grace TIME")
            let word = statement.rest.first
            let action = try statement.next("a time")
            guard let time = TableTime.read(action) else {
                throw statement.error(.notA(TableTime.wanted, action), at: word)
            }
            table.settings.grace = time
            try statement.end()
        case "verbose":
            try StatementWords(words, at: place, usage: "verbose").end()
            table.settings.isVerbose = true
        case "table":
            guard case .commandLine = place.source else {
                throw TableError(position: place, reason: .notInFile("table"))
            }
            var statement = StatementWords(words, at: place, usage: "table FILE")
            _ = try statement.next("the file's name")
            try statement.end()
        default: return false
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
