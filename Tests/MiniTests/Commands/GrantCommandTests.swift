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
        #expect(try grant("--version", on: xen()).output == "mini-grant 0.1\n")
        let output = try grant("--help", on: xen()).output
        for command in GrantCommand.table { #expect(output.contains("\n  \(command.name) ")) }
        for command in GrantCommand.table {
            let ended = try grant("\(command.name) --help", on: xen())
            #expect(ended.code == 0)
            #expect(ended.output.hasPrefix("Usage: mini-grant \(command.name)"))
        }
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
