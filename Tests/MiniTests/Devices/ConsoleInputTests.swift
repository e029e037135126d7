import Testing

@testable import Mini

private func eventName(_ event: ConsoleInput.Event) -> String {
    switch event {
    case .readable: "readable"
    case .buffer: "buffer"
    case .noBuffer: "no buffer"
    case .received: "received"
    case .endOfInput: "end of input"
    case .leftover: "leftover"
    case .guestRan: "guest ran"
    case .alarm: "alarm"
    case .lost: "lost"
    case .gained: "gained"
    }
}

/// A machine in each state that can be reached, and how.
private func reachable() -> Walk<ConsoleInput> {
    let events = ConsoleInput.Event.allCases.map { (name: eventName($0), event: $0) }
    return Walk(from: [ConsoleInput()], events, name: { "\($0.stateName)" }) { machine, event in
        var next = machine
        _ = next.handle(event)
        return "\(next.stateName)" == "\(machine.stateName)" ? [] : [next]
    }
}

@Suite struct ConsoleInputTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("console-input-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or nothing")
    func everyPair() {
        let second = ConsoleInput.Action.setAlarm(.milliseconds(500))
        let table: [String: [ConsoleInput.Event: ConsoleInput.Action]] = [
            "watching": [.readable: .seekBuffer, .lost: second],
            "seeking": [.buffer: .read, .noBuffer: .setAlarm(.milliseconds(1))],
            "reading": [.leftover: .seekBuffer, .lost: second],
            "waiting": [
                .alarm: .seekBuffer, .guestRan: .seekBuffer, .readable: .readAhead,
                .lost: second,
            ],
            "away": [.alarm: second, .lost: second],
            "ended": [:],
        ]
        let machines = reachable().machines
        #expect(Set(machines.keys) == Set(table.keys))
        for (state, machine) in machines {
            for event in ConsoleInput.Event.allCases {
                var next = machine
                // The waits grow; here a machine is as it was first reached.
                if state == "seeking" { next = ConsoleInput(); _ = next.handle(.readable) }
                #expect(
                    next.handle(event) == table[state]?[event] ?? .none,
                    "\(state), \(eventName(event))")
            }
        }
    }

    @Test("an answer that nobody awaits is a defect, and so is what else comes in its place")
    func defects() {
        let answers: [String: Set<ConsoleInput.Event>] = [
            "seeking": [.buffer, .noBuffer], "reading": [.received, .endOfInput, .leftover],
        ]
        let others: Set<ConsoleInput.Event> = [.readable, .guestRan]
        let atAnyTime: Set<ConsoleInput.Event> = [.alarm, .lost, .gained]
        for (state, machine) in reachable().machines {
            for event in ConsoleInput.Event.allCases {
                var next = machine
                let action = next.handle(event)
                let belongs = (answers[state] ?? others).union(atAnyTime).contains(event)
                let defect = next.defect.map { "\($0)" }
                #expect(defect == (belongs ? nil : state), "\(state), \(eventName(event))")
                if belongs { continue }
                #expect(action == .none && "\(next.stateName)" == state)
            }
        }
    }

    @Test("it looks for a buffer ever more seldom, at most eight times a second in the end")
    func waits() {
        var machine = ConsoleInput()
        _ = machine.handle(.readable)
        var waits: [UInt64] = []
        for _ in 0..<10 {
            if case .setAlarm(let time) = machine.handle(.noBuffer) {
                waits.append(time.count / 1_000_000)
            }
            #expect(machine.handle(.alarm) == .seekBuffer)
        }
        #expect(waits == [1, 2, 4, 8, 16, 32, 64, 128, 128, 128])
    }

    @Test("after a key was delivered it looks soon again")
    func reset() {
        var machine = ConsoleInput()
        for event: ConsoleInput.Event in [.readable, .noBuffer, .alarm, .noBuffer, .alarm] {
            _ = machine.handle(event)
        }
        for event: ConsoleInput.Event in [.buffer, .leftover] { _ = machine.handle(event) }
        #expect(machine.handle(.noBuffer) == .setAlarm(.milliseconds(1)))
    }
}
