import Testing

@testable import Mini

private let events: [(name: String, event: VchanMachine.Event)] = [
    ("peer came", .peerCame), ("input ended", .inputEnded), ("peer finished", .peerFinished),
    ("peer left", .peerLeft(untaken: 7)), ("drained", .drained), ("taken", .taken),
    ("patience over", .patienceOver), ("output closed", .outputClosed),
    ("stopped", .stopped(.terminate)), ("broken", .broken),
]

/// What each state answers to each event beside the three that end all; the rest is refused.
private let table: [String: [String: VchanMachine.Action]] = [
    "offered": ["peer came": .relay, "peer left": .relay],
    "relaying": [
        "input ended": .finishSending, "peer finished": .endOutput, "peer left": .relay,
    ],
    "receiving": ["peer finished": .endOutput, "patience over": .relay, "peer left": .relay],
    "sending": ["input ended": .finishSending, "peer left": .relay],
    "finishing": ["taken": .end(.done), "peer left": .relay],
    "draining": ["drained": .end(.left(untaken: 7))],
    "ended": [:],
]

private func name(_ machine: VchanMachine) -> String { "\(machine.stateName)" }

private func reachable() -> (machines: [String: VchanMachine], transitions: Set<String>) {
    var machines = [
        "offered": VchanMachine(.server), "relaying": VchanMachine(.client),
    ]
    var transitions: Set<String> = []
    var waiting = Array(machines.values)
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

@Suite struct VchanMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("vchan-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        let machines = reachable().machines
        #expect(Set(machines.keys) == Set(table.keys))
        for (state, machine) in machines {
            for (event, value) in events {
                var next = machine
                let action = next.handle(value)
                var wanted = table[state]?[event]
                if state != "ended" {
                    if event == "output closed" { wanted = .end(.outputClosed) }
                    if event == "stopped" { wanted = .end(.stopped(.terminate)) }
                    if event == "broken" { wanted = .end(.broken) }
                }
                #expect(action == wanted, "\(state), \(event)")
                if action == nil { #expect(name(next) == state, "\(state), \(event)") }
            }
        }
    }

    @Test("input is read and output written in the states of the page's table")
    func directions() {
        for (state, machine) in reachable().machines {
            #expect(machine.readsInput == ["relaying", "sending"].contains(state))
            #expect(machine.writesOutput == ["relaying", "receiving", "draining"].contains(state))
        }
    }
}
