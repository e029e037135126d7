import Testing

@testable import Mini

/// A kernel that is looked at, milliseconds after its start.
private struct Watched {
    var halt: KernelHalt?
    private var lines: EndingLines

    init(_ version: String = "3.9.11") {
        let version = LinuxVersion(Text(stringLiteral: version))
        halt = KernelHalt(of: version)
        lines = EndingLines(of: version)
    }

    mutating func says(_ text: String) {
        lines.look(at: Array(text.utf8))
        halt?.hear(isHalt: lines.endWithHalt)
    }

    mutating func waits(_ time: UInt64, spent: UInt64 = 0) -> KernelHalt.Action {
        halt?.waits(at: .milliseconds(time), .milliseconds(spent)) ?? .goOn
    }
}

@Suite struct KernelHaltTests {
    private let again = KernelHalt.Action.lookAgain(after: .milliseconds(3000))

    @Test("a kernel has stopped that says so and then does next to nothing for three seconds")
    func stops() {
        var watched = Watched()
        watched.says("Power down.\n[   12.5] System halted.\r\n")
        var seen = [watched.waits(5000, spent: 900), watched.waits(5010, spent: 901)]
        seen += [watched.waits(7999, spent: 910)]
        #expect(seen == [again, again, again])
        #expect(watched.halt?.isOff == false)
        seen = [watched.waits(8000, spent: 910)]
        #expect(seen == [.powerOff] && watched.halt?.isOff == true)
        // For good.
        watched.says("Linux\n")
        seen = [watched.waits(8001, spent: 9000)]
        #expect(seen == [.powerOff] && watched.halt?.isOff == true)
    }

    @Test("one before 2.6.13 that could not power off has stopped, too")
    func powersDown() {
        let actions: [(String, KernelHalt.Action)] = [
            ("2.6.12-9-386", again), ("2.6.13", .goOn),
        ]
        for (version, action) in actions {
            var watched = Watched(version)
            watched.says("<0>Power down.\n")
            var seen = [watched.waits(5000), watched.waits(7999)]
            #expect(seen == [action, action])
            seen = [watched.waits(8000)]
            #expect(seen == [action == .goOn ? .goOn : .powerOff])
        }
    }

    @Test("one that computes has not stopped, and is looked at every three seconds")
    func computes() {
        var watched = Watched()
        watched.says("System halted.\n")
        var seen = [watched.waits(1000, spent: 100), watched.waits(4000, spent: 475)]
        seen += [watched.waits(7000, spent: 850)]
        #expect(seen == [again, again, again])
        seen = [watched.waits(10_000, spent: 1000)]
        #expect(seen == [.powerOff])
    }

    @Test(
        "without that line, or with another one behind it, it may wait for ever",
        arguments: [
            [], ["login: "], ["the System halted.\n"], ["System halted."],
            ["System halted.\n", "Restarting system.\n"], ["System halted.\n", "#"],
            ["System halted.\nlogin: "],
        ])
    func waits(_ pieces: [String]) {
        var watched = Watched()
        for piece in pieces { watched.says(piece) }
        for second in 0..<100 as Range<UInt64> {
            let seen = watched.waits(second * 1000)
            #expect(seen == .goOn)
        }
        #expect(watched.halt?.isOff == false)
    }

    @Test("who says something in that time lives; the next such line begins it anew")
    func lives() {
        var watched = Watched()
        watched.says("System halted.\n")
        var seen = [watched.waits(1000), watched.waits(3999)]
        #expect(seen == [again, again])
        watched.says("# ")
        seen = [watched.waits(4000), watched.waits(9000)]
        #expect(seen == [.goOn, .goOn])
        watched.says("\nSystem halted.\n")
        seen = [watched.waits(9000), watched.waits(11_999)]
        #expect(seen == [again, again])
        // The same line again is something that is said as well.
        watched.says("System halted.\n")
        seen = [watched.waits(12_000), watched.waits(14_999), watched.waits(15_000)]
        #expect(seen == [again, again, .powerOff])
    }

    @Test("later kernels are seen to halt, and one without a version is none of these")
    func versions() {
        for version in ["2.6.32-5-amd64", "3.2.0", "3.9.11"] {
            #expect(Watched(version).halt != nil, "\(version)")
        }
        for version in ["3.10.0", "4.4.1", "6.12.1", "no version"] {
            #expect(Watched(version).halt == nil, "\(version)")
        }
    }

    @Test("its page shows the transitions that it takes")
    func page() throws {
        let walk = Walk(
            from: [try #require(Watched().halt)],
            [("its last line", 0), ("other words", 1), ("it waits for long", 2)],
            name: { "\($0.stateName)" },
            step: { (halt: KernelHalt, event: Int) in
                var next = halt
                switch event {
                case 0: next.hear(isHalt: true)
                case 1: next.hear(isHalt: false)
                default:
                    _ = next.waits(at: .milliseconds(5000), .milliseconds(10))
                    _ = next.waits(at: .milliseconds(8000), .milliseconds(10))
                }
                return next.stateName.description == halt.stateName.description ? [] : [next]
            })
        #expect(try transitionsOfPage("kernel-halt-machine.md") == walk.transitions)
    }
}
