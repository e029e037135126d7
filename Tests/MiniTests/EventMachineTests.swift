import Testing

@testable import Mini

/// Every event, with the name that the page gives it.
private let events: [(name: String, event: EventMachine.Event)] = [
    ("opened", .opened), ("bound", .bound), ("arrived", .arrived),
    ("acknowledged", .acknowledged), ("overflowed", .overflowed), ("reset", .reset),
    ("finished", .finished),
]

/// What each state answers to each event; every pair that is not here is refused.
private let table: [String: [String: EventMachine.Action]] = [
    "closed": ["opened": .bind],
    "open": ["bound": .use],
    "bound": ["arrived": .acknowledge, "overflowed": .reset, "finished": .end],
    "pending": ["acknowledged": .use, "finished": .end],
    "overflowed": ["reset": .acknowledge, "finished": .end],
    "unbound": [:],
]

private func name(_ machine: EventMachine) -> String { "\(machine.stateName)" }

/// A machine in each state that can be reached.
private func reachable() -> (machines: [String: EventMachine], transitions: Set<String>) {
    var machines = ["closed": EventMachine()]
    var transitions: Set<String> = []
    var waiting = [EventMachine()]
    while let machine = waiting.popLast() {
        for (event, value) in events {
            var next = machine
            guard next.handle(value) != nil else { continue }
            transitions.insert("\(name(machine)) --> \(name(next)): \(event)")
            if machines.updateValue(next, forKey: name(next)) == nil { waiting.append(next) }
        }
    }
    return (machines, transitions)
}

@Suite struct EventMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("event-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        let machines = reachable().machines
        #expect(Set(machines.keys) == Set(table.keys))
        for (state, machine) in machines {
            for (event, value) in events {
                var next = machine
                let action = next.handle(value)
                #expect(action == table[state]?[event], "\(state), \(event)")
                if action == nil { #expect(name(next) == state, "\(state), \(event)") }
            }
        }
    }

    @Test("what was left undone by a failure is what comes first the next time")
    func unfinished() {
        for (state, machine) in reachable().machines {
            let wanted: [String: EventMachine.Action] = [
                "pending": .acknowledge, "overflowed": .reset,
            ]
            #expect(machine.unfinished == wanted[state])
        }
    }
}
