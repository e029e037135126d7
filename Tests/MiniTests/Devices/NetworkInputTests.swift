import Testing

@testable import Mini

private func eventName(_ event: NetworkInput.Event) -> String {
    switch event {
    case .readable: "readable"
    case .buffer: "buffer"
    case .noBuffer: "no buffer"
    case .down: "down"
    case .received: "received"
    case .enough: "enough"
    case .empty: "empty"
    case .failed: "failed"
    case .guestRan: "guest ran"
    case .lent: "lent"
    case .alarm: "alarm"
    }
}

/// A machine in each state that can be reached, as it was first reached.
private func reachable() -> Walk<NetworkInput> {
    let events = NetworkInput.Event.allCases.map { (name: eventName($0), event: $0) }
    return Walk(from: [NetworkInput()], events, name: { "\($0.stateName)" }) { machine, event in
        var next = machine
        _ = next.handle(event)
        return "\(next.stateName)" == "\(machine.stateName)" ? [] : [next]
    }
}

@Suite struct NetworkInputTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("network-input-machine.md") == reachable().transitions)
    }

    @Test("every event in every state gives its action, or nothing")
    func everyPair() {
        let table: [String: [NetworkInput.Event: NetworkInput.Action]] = [
            "watching": [.readable: .seekBuffer],
            "seeking": [.buffer: .read, .down: .drop, .noBuffer: .setAlarm(.milliseconds(1))],
            "reading": [.received: .seekBuffer],
            "dropping": [.received: .seekBuffer],
            "waiting": [.alarm: .seekBuffer, .guestRan: .seekBuffer],
            "lending": [:],
            "ended": [:],
        ]
        let machines = reachable().machines
        #expect(Set(machines.keys) == Set(table.keys))
        for (state, machine) in machines {
            for event in NetworkInput.Event.allCases {
                var next = state == "seeking" ? NetworkInput() : machine
                if state == "seeking" { _ = next.handle(.readable) }
                #expect(
                    next.handle(event) == table[state]?[event] ?? .none,
                    "\(state), \(eventName(event))")
            }
        }
    }

    @Test("an answer that nobody awaits is a defect, and so is what else comes in its place")
    func defects() {
        let frames: Set<NetworkInput.Event> = [.received, .enough, .empty, .failed]
        let answers: [String: Set<NetworkInput.Event>] = [
            "seeking": [.buffer, .noBuffer, .down], "reading": frames, "dropping": frames,
        ]
        // What the guest and the tap do at any other time.
        let others: Set<NetworkInput.Event> = [.readable, .guestRan, .lent, .alarm]
        for (state, machine) in reachable().machines {
            for event in NetworkInput.Event.allCases {
                var next = machine
                let action = next.handle(event)
                let belongs = (answers[state] ?? others).contains(event)
                let defect = next.defect.map { "\($0)" }
                #expect(defect == (belongs ? nil : state), "\(state), \(eventName(event))")
                if belongs { continue }
                #expect(action == .none && "\(next.stateName)" == state)
            }
        }
    }

    @Test("where buffers are lent early a frame comes at the look after the next")
    func lentEarly() {
        var machine = NetworkInput()
        for event: NetworkInput.Event in [.readable, .noBuffer, .lent] {
            _ = machine.handle(event)
        }
        #expect(machine.isWatching && !machine.isWaiting)
        let first = machine.handle(.readable)
        #expect(first == .none && machine.isWatching)
        let second = machine.handle(.readable)
        #expect(second == .seekBuffer)
    }

    @Test(
        "a frame waits ever longer, at most an eighth of a second; runs of the guest do not count")
    func waits() {
        var machine = NetworkInput()
        _ = machine.handle(.readable)
        var waits: [UInt64] = []
        for _ in 0..<9 {
            if case .setAlarm(let time) = machine.handle(.noBuffer) {
                waits.append(time.count / 1_000_000)
            }
            for _ in 0..<3 {
                #expect(machine.handle(.guestRan) == .seekBuffer)
                // The alarm of before is still to come.
                #expect(machine.handle(.noBuffer) == .none)
            }
            #expect(machine.handle(.alarm) == .seekBuffer)
        }
        #expect(waits == [1, 2, 4, 8, 16, 32, 64, 128, 128])
        for event: NetworkInput.Event in [.buffer, .received] { _ = machine.handle(event) }
        #expect(machine.handle(.noBuffer) == .setAlarm(.milliseconds(1)))
    }

    @Test("a turn ends with its 64th frame, or with the first if there is known to be no other")
    func turn() {
        func next(_ number: Int, hasMore: Bool, _ event: NetworkInput.Event) -> NetworkInput.Action
        {
            var machine = NetworkInput()
            for event: NetworkInput.Event in [.readable, .buffer] { _ = machine.handle(event) }
            return machine.handle(event, frame: number, hasMore: hasMore)
        }
        #expect(next(1, hasMore: true, .received) == .seekBuffer)
        #expect(next(1, hasMore: false, .received) == .none)
        #expect(next(2, hasMore: false, .received) == .seekBuffer, "that was not asked any more")
        #expect(next(63, hasMore: true, .received) == .seekBuffer)
        #expect(next(64, hasMore: true, .received) == .none)
        #expect(next(2, hasMore: true, .empty) == .none)
    }

    @Test("a frame that no memory takes is lost; other errors than that there is none end it")
    func errors() {
        #expect(NetworkInput.event(of: .again) == .empty)
        #expect(NetworkInput.event(of: .badAddress) == .received)
        #expect(NetworkInput.event(of: .inputOutput) == .failed)
    }
}
