import Testing

@testable import Mini

/// Presses keys at moments in milliseconds; says what each did.
private func press(_ keys: [(UInt8, UInt64)]) -> [ConsoleEscape.Action] {
    var escape = ConsoleEscape()
    return keys.map { escape.press($0.0, at: .milliseconds($0.1)) }
}

@Suite struct ConsoleEscapeTests {
    @Test("three ^C within a second leave")
    func three() {
        #expect(press([(3, 0), (3, 500), (3, 1000)]) == [.goOn, .goOn, .leave])
    }

    @Test("three ^C in one second and a millisecond do not leave")
    func tooSlow() {
        #expect(press([(3, 0), (3, 500), (3, 1001)]) == [.goOn, .goOn, .goOn])
    }

    @Test("the window slides: a slow first ^C is dropped and the later ones count")
    func sliding() {
        #expect(
            press([(3, 0), (3, 900), (3, 1100), (3, 1900)]) == [.goOn, .goOn, .goOn, .leave])
        #expect(press([(3, 0), (3, 5000), (3, 5100), (3, 5200)]).last == .leave)
        #expect(press([(3, 0), (3, 100), (3, 5000), (3, 5100)]).last == .goOn)
    }

    @Test("another key in between starts the count again")
    func otherKey() {
        #expect(!press([(3, 0), (3, 1), (65, 2), (3, 3), (3, 4)]).contains(.leave))
        #expect(press([(3, 0), (65, 1), (3, 2), (3, 3), (3, 4)]).last == .leave)
    }

    @Test("no key brings a guest back that was left")
    func final() {
        #expect(press([(3, 0), (3, 0), (3, 0), (65, 1)]).last == .leave)
    }

    @Test("the page shows the transitions between states that the machine takes")
    func page() throws {
        /// Keys that lead to a state, the first at 0 and the second at 600.
        let ways: [String: [(UInt8, UInt64)]] = [
            "none": [], "one": [(3, 0)], "two": [(3, 0), (3, 600)],
        ]
        /// Another key, and ^C at moments that are in time for both, one or none of them.
        let keys: [(String, UInt8, UInt64)] = [
            ("other key", 65, 700), ("^C", 3, 700), ("^C late for one", 3, 1200),
            ("^C late", 3, 5000),
        ]
        var taken: Set<String> = []
        for (state, way) in ways {
            for (name, key, time) in keys {
                var escape = ConsoleEscape()
                for (key, time) in way { _ = escape.press(key, at: .milliseconds(time)) }
                #expect("\(escape.stateName)" == state)
                _ = escape.press(key, at: .milliseconds(time))
                if "\(escape.stateName)" == state { continue }
                let event =
                    switch ("\(escape.stateName)", name) {
                    case ("one", _) where state == "none": "^C"
                    case ("two", _): "^C within a second"
                    case ("leave", _): "^C within a second of the first"
                    default: name
                    }
                taken.insert("\(state) --> \(escape.stateName): \(event)")
            }
        }
        #expect(try transitionsOfPage("console-escape-machine.md") == taken)
    }
}
