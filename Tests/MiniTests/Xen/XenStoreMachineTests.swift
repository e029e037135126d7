import Testing

@testable import Mini

private let path = try! StorePath("data")
private let request = StoreRequest.read(path)

/// Every event, with the name that the page gives it. The first request has the number 1.
private let events: [(name: String, event: StoreRequestMachine.Event)] = [
    ("asked", .asked(request, transaction: 9)),
    ("reply", .received(StoreMessage(type: 2, request: 1, transaction: 9, payload: [0x76]))),
    ("refusal", .received(StoreMessage(type: 16, request: 1, payload: Array("EACCES\0".utf8)))),
    ("stray", .received(StoreMessage(type: 3, request: 1))),
    ("watch event", .received(StoreMessage(type: 15, payload: Array("a\0t\0".utf8)))),
    ("broken event", .received(StoreMessage(type: 15, payload: Array("a\0".utf8)))),
    ("late", .late), ("ended", .ended),
]

private let noted = StoreRequestMachine.Action.note(path: "a")

/// What each state answers to each event; every pair that is not here is refused.
private let table: [String: [String: StoreRequestMachine.Action]] = [
    "idle": [
        "asked": .send(
            StoreMessage(type: 2, request: 1, transaction: 9, payload: Array("data\0".utf8))),
        "reply": .giveUp, "refusal": .giveUp, "stray": .giveUp, "watch event": noted,
        "broken event": .giveUp, "ended": .giveUp,
    ],
    "awaiting": [
        "reply": .deliver(StoreMessage(type: 2, request: 1, transaction: 9, payload: [0x76])),
        "refusal": .refuse(.accessDenied), "stray": .giveUp, "watch event": noted,
        "broken event": .giveUp, "late": .remember, "ended": .giveUp,
    ],
    "overdue": [
        "reply": .forget, "refusal": .forget, "stray": .giveUp, "watch event": noted,
        "broken event": .giveUp, "ended": .giveUp,
    ],
    "lost": [:],
]

extension StoreRequestMachine: RefusingMachine {}

/// What changes the state; of what does not, the page shows nothing.
private func reachable() -> Walk<StoreRequestMachine> {
    Walk(from: [StoreRequestMachine()], events, name: { $0.name }) { machine, event in
        machine.after(event).filter { $0.name != machine.name }
    }
}

@Suite struct XenStoreRequestMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("xenstore-request-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        reachable().expectEveryPair(events, table)
    }

    @Test("a reply with another number is a stray; but 0 for a watch, as old kernels answer")
    func numbers() {
        for (request, answered) in [(request, false), (.watch(path, token: "t"), true)] {
            var machine = StoreRequestMachine()
            _ = machine.handle(.asked(request, transaction: 0))
            let reply = StoreMessage(type: request.type.rawValue, request: 0)
            #expect(machine.handle(.received(reply)) == (answered ? .deliver(reply) : .giveUp))
            machine = StoreRequestMachine()
            _ = machine.handle(.asked(request, transaction: 0))
            let other = StoreMessage(type: request.type.rawValue, request: 2)
            #expect(machine.handle(.received(other)) == .giveUp)
        }
    }

    @Test("numbers go up and are never 0")
    func counting() {
        var machine = StoreRequestMachine()
        for number in 1...3 as ClosedRange<UInt32> {
            guard case .send(let message) = machine.handle(.asked(request, transaction: 0)) else {
                Issue.record("nothing was sent")
                return
            }
            #expect(message.request == number)
            _ = machine.handle(.received(StoreMessage(type: 2, request: number)))
        }
    }

    @Test("no order of random messages confuses it", arguments: 0..<300 as Range<UInt64>)
    func fuzz(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var machine = StoreRequestMachine()
        var asked: UInt32?
        for _ in 0..<50 {
            if asked == nil,
                case .send(let message) = machine.handle(.asked(request, transaction: 0))
            {
                asked = message.request
            }
            let message = StoreMessage(
                type: [2, 15, 16, 3, .random(in: 0 ... .max, using: &random)]
                    .randomElement(using: &random)!,
                request: [asked ?? 0, 0, .random(in: 0 ... .max, using: &random)]
                    .randomElement(using: &random)!,
                payload: (0..<Int.random(in: 0...20, using: &random)).map { _ in
                    [0, 0x61].randomElement(using: &random)!
                })
            switch machine.handle(.received(message)) {
            case .deliver(let reply):
                #expect(reply.request == asked && reply.type == 2)
                asked = nil
            case .refuse:
                #expect(message.request == asked && message.type == 16)
                asked = nil
            case .note: #expect(message.type == 15)
            case .giveUp:
                #expect(machine.name == "lost")
                return
            default: Issue.record("no answer to a message")
            }
        }
    }
}

private let transactionEvents: [(name: String, event: StoreTransactionMachine.Event)] = [
    ("started", .started(5)), ("performed", .performed), ("failed", .failed),
    ("committed", .committed), ("conflict", .conflict(isLate: false)),
    ("late conflict", .conflict(isLate: true)),
]

private let transactionTable: [String: [String: StoreTransactionMachine.Action]] = [
    "starting": ["started": .perform(5), "failed": .finish],
    "open": ["performed": .commit(5), "failed": .abandon(5)],
    "committing": [
        "committed": .finish, "conflict": .start, "late conflict": .finish, "failed": .finish,
    ],
    "ended": [:],
]

extension StoreTransactionMachine: RefusingMachine {}

@Suite struct XenStoreTransactionMachineTests {
    private func reachable() -> Walk<StoreTransactionMachine> {
        Walk(from: StoreTransactionMachine(), events: transactionEvents)
    }

    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(
            try transitionsOfPage("xenstore-transaction-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        reachable().expectEveryPair(transactionEvents, transactionTable)
    }
}
