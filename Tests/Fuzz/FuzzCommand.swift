// The command line of the fuzzers.

#if !hasFeature(Embedded)
@testable import Mini
#endif

private struct Choices {
    var plan = FuzzPlan()
    var replays = false
    var isUsual = false
}

private func number(_ option: Text, _ word: Text) throws(CommandError) -> UInt64 {
    guard let number = word.number else {
        throw .badArgument(option: option, word, why: "is no number")
    }
    return number
}

private var options: [Option<Choices>] {
    [
        Option(name: "--seed", argument: "N", help: "where chance begins") {
            (choices, word) throws(CommandError) in choices.plan.seed = try number("--seed", word)
        },
        Option(name: "--first", argument: "N", help: "number of the first case") {
            (choices, word) throws(CommandError) in choices.plan.first = try number("--first", word)
        },
        Option(name: "--count", argument: "N", help: "how many cases") {
            (choices, word) throws(CommandError) in choices.plan.count = try number("--count", word)
        },
        Option(name: "--seconds", argument: "N", help: "for how long") {
            (choices, word) throws(CommandError) in
            choices.plan.seconds = try number("--seconds", word)
        },
        Option(name: "--crashes", argument: "DIR", help: "where cases are kept") {
            (choices, word) throws(CommandError) in choices.plan.crashes = word
        },
        Option(name: "--usual", argument: nil, help: "as many as in every test run") {
            (choices, _) throws(CommandError) in choices.isUsual = true
        },
        Option(name: "--replay", argument: nil, help: "take the cases in these files") {
            (choices, _) throws(CommandError) in choices.replays = true
        },
    ]
}

enum FuzzCommand {
    static func run(_ words: ArraySlice<Text>) -> Int32 {
        do throws(Errno) { return try begin(words) } catch {
            try? Transfer.write(2, "fuzz: \(error)\n")
            return 1
        }
    }
}

private func begin(_ words: ArraySlice<Text>) throws(Errno) -> Int32 {
    guard let name = words.first, !(name == "--help") else {
        var text: Text = "usage: fuzz TARGET [OPTIONS] [FILE...]\n"
        for target in FuzzTarget.all { text += Help.line("  \(target.name)", target.meaning) }
        text += Options.help(options)
        try Transfer.write(1, text)
        return words.isEmpty ? 2 : 0
    }
    if name == "--list" {
        for target in FuzzTarget.all { try Transfer.write(1, "\(target.name)\n") }
        return 0
    }
    guard let target = (FuzzTarget.all + [.trap]).first(where: { name == $0.name }) else {
        try Transfer.write(2, "fuzz: no target \(quoted: name)\n")
        return 2
    }
    var choices = Choices()
    let files: ArraySlice<Text>
    do throws(CommandError) {
        files = try Options.read(words.dropFirst(), options, into: &choices)
    } catch {
        try Transfer.write(2, "fuzz: \(error.text)\n")
        return 2
    }
    if choices.isUsual { choices.plan.count = UInt64(target.usual) }
    var runner = try FuzzRunner(target, choices.plan)
    if choices.replays {
        for file in files { try runner.replay(file) }
        return 0
    }
    return try runner.run()
}
