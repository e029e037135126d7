// mini-grant as a whole: command lines in, standard output, errors and codes out, on the model of a
// kernel that runs on Xen.

import Foundation
import Testing

@testable import Mini

struct Ended: Equatable {
    var code: Int32
    var output: String
    var errors: String
}

func done(_ output: String = "") -> Ended { Ended(code: 0, output: output, errors: "") }
func failed(_ code: Int32, _ line: String, output: String = "") -> Ended {
    Ended(code: code, output: output, errors: "mini-grant: \(line)\n")
}

/// Runs `mini-grant LINE`.
func grant(_ line: String, on xen: FakeXen) -> Ended {
    let words = line.split(separator: " ").map { Text(stringLiteral: String($0)) }
    let code = xen.play { GrantCommand.run(words[...]) }
    #expect(xen.now.sandbox.killed == [], "\(line)")
    return Ended(code: code, output: string(xen.now.output), errors: string(xen.now.errors))
}

/// A model with pages 17, 18, 19 of domain 3, all of them 'a', 'b' and 'c'.
func threePages(_ change: (inout FakeXen.State) -> Void = { _ in }) throws -> FakeXen {
    let xen = try FakeXen(change)
    xen.grant([17, 18, 19], of: 3) { UInt8(ascii: "a") + UInt8($0) }
    return xen
}

/// The path of a file for one test.
struct TemporaryFile: ~Copyable {
    let path: String
    init(_ content: String? = nil) throws {
        path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        if let content { try content.write(toFile: path, atomically: false, encoding: .utf8) }
    }
    var content: String? { try? String(contentsOfFile: path, encoding: .utf8) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

func pages(_ letters: String) -> String {
    letters.map { String(repeating: $0, count: 4096) }.joined()
}

@Suite struct GrantCommandTests {
    @Test("what is no subcommand is refused, and --help lists those that are")
    func subcommands() throws {
        let xen = { try FakeXen() }
        let help = "--help lists them\n"
        #expect(
            try grant("", on: xen())
                == Ended(
                    code: 2, output: "", errors: "mini-grant: no subcommand is named; \(help)"))
        #expect(
            try grant("mapp", on: xen())
                == Ended(
                    code: 2, output: "",
                    errors: "mini-grant: there is no subcommand \"mapp\"; \(help)"))
        #expect(
            try grant("--mapp", on: xen())
                == Ended(
                    code: 2, output: "", errors: "mini-grant: unknown option \"--mapp\"; \(help)"))
        #expect(try grant("--version", on: xen()).output == "mini-grant \(Applet.version)\n")
        let output = try grant("--help", on: xen()).output
        for command in GrantCommand.table { #expect(output.contains("\n  \(command.name) ")) }
        for command in GrantCommand.table {
            let ended = try grant("\(command.name) --help", on: xen())
            #expect(ended.code == 0)
            #expect(ended.output.hasPrefix("Usage: mini-grant \(command.name)"))
        }
    }

    @Test(
        "what has an argument is given once, by whichever of its names",
        arguments: [
            ("map --domain 3 --ref 17 --domain 3", "--domain"),
            ("copy --domain 3 --ref 17 --ref=18", "--ref"),
            ("share --domain 3 --hold --pages 1 --pages 2", "--pages"),
            ("pipe --server --domain 3 --path /v --path /w", "--path"),
            ("pipe --server --domain 3 --path /v --deadline 1 --deadline 2", "--deadline"),
            ("event wait --domain 3 --port 7 --port 8", "--port"),
            ("store get --deadline 1 /a --deadline=2", "--deadline"),
            ("store watch -n 1 /a --count 2", "--count"),
            ("store watch -n1 --number=2 /a", "--count"),
            ("store set --mode n0 /a 1 --mode r0", "--mode"),
        ])
    func twice(line: String, name: String) throws {
        #expect(
            try grant(line, on: FakeXen()) == failed(2, "option \(name) is given twice"), "\(line)")
    }

    @Test(
        "of two options that contradict each other the line names both, whichever is first",
        arguments: [
            ("map --domain 3 --ref 17 --hold", "--sandbox=on", "--no-sandbox"),
            ("copy --domain 3 --ref 17", "--out=a", "--in=b"),
            ("share --domain 3 --hold", "--sandbox=require", "--no-sandbox"),
            ("pipe --domain 3 --path /v", "--server", "--client"),
            ("pipe --domain 3 --path /v --server --socket s", "--listen", "--connect"),
            ("pipe --domain 3 --path /v --server", "--expect=5", "--reconnect"),
            ("pipe --domain 3 --path /v", "--ring=5", "--client"),
            ("store wait /a", "--value=1", "--gone"),
        ])
    func contradictions(line: String, one: String, other: String) throws {
        let names = [one, other].map { $0.prefix { $0 != "=" } }
        for words in ["\(one) \(other)", "\(other) \(one)"] {
            #expect(
                try grant("\(line) \(words)", on: FakeXen())
                    == failed(2, "\(names[0]) does not go with \(names[1])"), "\(line) \(words)")
        }
    }

    @Test(
        "what says how pages are mapped here says nothing of a program that maps them",
        arguments: [
            "--out=a", "--in=a", "--offset=0", "--length=1", "--hexdump", "--hold",
            "--notify-byte=1", "--notify-port=1",
        ])
    func mappedElsewhere(word: String) throws {
        let name = word.prefix { $0 != "=" }
        #expect(
            try grant("map --domain 3 --ref 17 \(word) --exec prog", on: threePages())
                == failed(2, "\(name) does not go with --exec"))
    }

    @Test("what has no argument may be said again")
    func again() throws {
        let xen = try threePages()
        let line = "map --domain 3 --ref 17 --hexdump --hexdump --write --write"
        #expect(grant(line, on: xen).code == 0)
    }

    @Test("the manual page has every subcommand, its options and the exit codes of help")
    func manualPage() throws {
        let page = try projectText("docs/mini-grant.1").replacing("\\-", with: "-")
        for command in GrantCommand.table { #expect(page.contains("\n.SS \(command.name)\n")) }
        for (code, meaning) in GrantCommand.exitCodes {
            #expect(page.contains("\n.TP\n.B \(code)\n\(meaning)\n"), "\(code)")
        }
        for command in GrantCommand.table {
            let section = try #require(
                page.components(separatedBy: "\n.SS \(command.name)\n").last?
                    .components(separatedBy: "\n.S").first)
            let help = try grant("\(command.name) --help", on: FakeXen()).output
            for match in help.matches(of: #/\n  (--[a-z-]+)/#) where match.1 != "--help" {
                #expect(
                    section.contains("\n.BI \(match.1) ") || section.contains("\n.B \(match.1)\n")
                        || section.contains("\n.BR \(match.1) ,\n"),
                    "\(command.name) \(match.1)")
            }
        }
    }
}

/// Runs a command line that works, with each of its calls failing in turn.
/// - Parameter others: further calls whose failing does no harm when the input was read.
func failEveryCall(
    _ line: String, codes: Set<Int32> = [1, 4], others: [SystemCall.Number] = [],
    on make: () throws -> FakeXen
) {
    for errno in [Errno.noMemory, .inputOutput] {
        for call in 1...1000 {
            guard let xen = try? make() else {
                Issue.record("no model")
                return
            }
            xen.change { $0.failing = (call, errno) }
            let ended = grant(line, on: xen)
            let calls = xen.now.calls
            guard call <= calls.count else {
                #expect(ended.code == 0 && ended.errors == "", "\(line)")
                return
            }
            let number = SystemCall.Number(rawValue: calls[call - 1])
            if ended.code == 0 {
                let isHarmless = [
                    SystemCall.Number.close, .unmap, .clockTime, .signalAction, .signalMask,
                    // A last look for signals that came too late, which does not wait where that can be said.
                    .poll, .fileControl,
                    // Whether somebody watches, and what the streams are.
                    .ioctl, .fileStatus,
                    // A timer for a stream that may wait.
                    .intervalTimer,
                    // What is given up: no step depends on another.
                    .closeRange, .limit, .oldLimit, .processControl, .effectiveUser, .setGroups,
                    .setGroup, .setUser, .setCapabilities, .seccomp,
                ].contains(number)
                #expect(
                    isHarmless || others.contains(number) || xen.now.looks.contains(call),
                    "call \(call), number \(number.rawValue), of \(line)")
            } else {
                #expect(codes.contains(ended.code), "call \(call) of \(line): \(ended.errors)")
                #expect(ended.errors.hasPrefix("mini-grant: "), "call \(call) of \(line)")
                #expect(
                    ended.errors.split(separator: "\n").count == 1,
                    "call \(call) of \(line): \(ended.errors)")
            }
            if ![.close, .unmap, .signalMask].contains(number) {
                #expect(xen.now.left == [], "call \(call) of \(line)")
            }
        }
        Issue.record("more than 1000 calls")
    }
}
