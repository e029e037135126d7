import Testing

@testable import Mini

private let reason: Text = "unhandled trap 6"
private let failure = LauncherError.system("wait", .noMemory)

/// Every event, with the name that the page gives it.
private let events: [(name: String, event: LaunchMachine.Event)] = [
    ("memory mapped", .memoryMapped), ("image loaded", .imageLoaded),
    ("device initialized", .deviceInitialized), ("session opened", .sessionOpened),
    ("notified", .notified(DMANotification(0x1000, 4))), ("output served", .outputServed),
    ("broken out", .brokenOut), ("input served", .inputServed), ("died", .died),
    ("reason", .reason(reason)), ("restart", .restart), ("left", .left(.escaped)),
    ("failed", .failed(failure)),
]

/// What each state answers to each event; every pair that is not here is refused.
private let table: [String: [String: LaunchMachine.Action]] = [
    "empty": ["memory mapped": .loadImage],
    "memory": ["image loaded": .initializeDevice],
    "loaded": ["device initialized": .openSession],
    "initialized": ["session opened": .run],
    "running": [
        "notified": .serveOutput(DMANotification(0x1000, 4)), "broken out": .serveInput,
        "died": .run, "reason": .finish(.died(reason)), "restart": .finish(.restart),
    ],
    "servingOutput": ["output served": .run, "left": .finish(.escaped)],
    "servingInput": ["input served": .run, "left": .finish(.escaped)],
    "dying": ["reason": .finish(.died(reason))],
    "ended": [:],
]

extension LaunchMachine: RefusingMachine {}

private func reachable() -> Walk<LaunchMachine> { Walk(from: LaunchMachine(), events: events) }

@Suite struct LaunchMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("launch-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        reachable().expectEveryPair(events, table) { state, event in
            event == "failed" && state != "ended" ? .finish(.failed(failure)) : nil
        }
    }

    @Test("a power-off is told by its text, in a run or after the death")
    func powerOff() {
        for prefix: [LaunchMachine.Event] in [[], [.died]] {
            var machine = LaunchMachine()
            let start: [LaunchMachine.Event] = [
                .memoryMapped, .imageLoaded, .deviceInitialized, .sessionOpened,
            ]
            for event in start + prefix { _ = machine.handle(event) }
            #expect(machine.handle(.reason("CRASH: Power down")) == .finish(.poweredOff))
        }
    }

    @Test("a machine begins with the memory")
    func beginning() { #expect(LaunchMachine.beginning == .mapMemory) }
}
