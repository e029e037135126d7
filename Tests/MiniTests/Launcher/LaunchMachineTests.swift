import Testing

@testable import Mini

private let reason: Text = "unhandled trap 6"
private let failure = LauncherError.system("wait", .noMemory)

/// With words in the place of memory, image and guest.
private typealias Machine = LaunchMachine<String, String, String, String>

/// Every event, with the name that the page gives it.
private var events: [(name: String, event: Machine.Event)] {
    [
        ("memory mapped", .memoryMapped("memory")), ("image loaded", .imageLoaded("image")),
        ("device initialized", .deviceInitialized("made")),
        ("session opened", .sessionOpened("guest")),
        ("broken out", .brokenOut), ("input served", .inputServed), ("died", .died),
        ("reason", .reason(reason)), ("restart", .restart), ("left", .left(.escaped)),
        ("failed", .failed(failure)),
    ]
}

/// What each state answers to each event; every pair that is not here is refused.
private var table: [String: [String: Machine.Action]] {
    [
        "empty": ["memory mapped": .loadImage("memory")],
        "memory": ["image loaded": .initializeDevice("image")],
        "loaded": ["device initialized": .openSession("made")],
        "initialized": ["session opened": .run("guest")],
        "running": [
            "broken out": .serveInput("guest"), "died": .run("guest"),
            "reason": .finish(.died(reason)), "restart": .finish(.restart),
            "left": .finish(.escaped),
        ],
        "servingInput": ["input served": .run("guest"), "left": .finish(.escaped)],
        "dying": ["reason": .finish(.died(reason))],
        "ended": [:],
    ]
}

extension LaunchMachine: RefusingMachine
where Memory: Equatable, Image: Equatable, Made: Equatable, Running: Equatable {}

private func reachable() -> Walk<Machine> { Walk(from: Machine(), events: events) }

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
        for prefix: [Machine.Event] in [[], [.died]] {
            var machine = Machine()
            let start = events[..<4].map { $0.event }
            for event in start + prefix { _ = machine.handle(event) }
            #expect(machine.handle(.reason("CRASH: Power down")) == .finish(.poweredOff))
        }
    }

    @Test("a machine begins with the memory")
    func beginning() { #expect(Machine.beginning == .mapMemory) }
}
