import Testing

@testable import Mini

/// Every event, with the name that the page gives it.
private let events: [(name: String, event: EventMachine.Event)] = [
    ("arrived", .arrived), ("acknowledged", .acknowledged), ("overflowed", .overflowed),
    ("reset", .reset),
    ("finished", .finished),
]

/// What each state answers to each event; every pair that is not here is refused.
private let table: [String: [String: EventMachine.Action]] = [
    "bound": ["arrived": .acknowledge, "overflowed": .reset, "finished": .end],
    "pending": ["acknowledged": .use, "finished": .end],
    "overflowed": ["reset": .acknowledge, "finished": .end],
    "unbound": [:],
]

extension EventMachine: RefusingMachine {}

private func reachable() -> Walk<EventMachine> { Walk(from: EventMachine(), events: events) }

@Suite struct EventMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("event-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        reachable().expectEveryPair(events, table)
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
