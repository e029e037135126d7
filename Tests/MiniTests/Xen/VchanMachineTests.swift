import Testing

@testable import Mini

private let departure = VchanDeparture(word: .sentAll, untaken: 7, leavesInput: false)
private let events: [(name: String, event: VchanMachine.Event)] = [
    ("peer came", .peerCame), ("input ended", .inputEnded), ("peer finished", .peerFinished),
    ("peer left", .peerLeft(departure)), ("peer replaced", .peerReplaced), ("drained", .drained),
    ("taken", .taken),
    ("patience over", .patienceOver), ("output closed", .outputClosed),
    ("stopped", .stopped(.terminate)), ("broken", .broken),
]

/// What each state answers to each event beside the three that end all; the rest is refused.
private let table: [String: [String: VchanMachine.Action]] = [
    "offered": ["peer came": .relay, "peer left": .relay],
    "relaying": [
        "input ended": .finishSending, "peer finished": .endOutput, "peer left": .relay,
        "peer replaced": .end(.replaced),
    ],
    "receiving": [
        "peer finished": .endOutput, "patience over": .relay, "peer left": .relay,
        "peer replaced": .end(.replaced),
    ],
    "sending": [
        "input ended": .finishSending, "peer left": .relay, "peer replaced": .end(.replaced),
    ],
    "finishing": [
        "taken": .end(.done), "peer left": .relay, "peer replaced": .end(.replaced),
    ],
    "draining": ["drained": .end(.left(departure))],
    "ended": [:],
]

extension VchanMachine: RefusingMachine {}

private func reachable() -> Walk<VchanMachine> {
    Walk(from: VchanMachine(.server), VchanMachine(.client), events: events)
}

@Suite struct VchanMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("vchan-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        reachable().expectEveryPair(events, table) { state, event in
            guard state != "ended" else { return nil }
            return switch event {
            case "output closed": .end(.outputClosed)
            case "stopped": .end(.stopped(.terminate))
            case "broken": .end(.broken)
            default: nil
            }
        }
    }

    @Test("input is read and output written in the states of the page's table")
    func directions() {
        for (state, machine) in reachable().machines {
            #expect(machine.readsInput == ["relaying", "sending"].contains(state))
            #expect(machine.awaitsInput == ["offered", "relaying", "sending"].contains(state))
            #expect(machine.writesOutput == ["relaying", "receiving", "draining"].contains(state))
        }
    }
}
