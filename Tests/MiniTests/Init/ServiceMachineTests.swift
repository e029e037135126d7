import Testing

@testable import Mini

private let events: [(name: String, event: ServiceMachine.Event)] = [
    ("due", .due), ("started", .started), ("not started", .notStarted), ("ended", .ended),
    ("stop", .stop),
]

private func name(_ machine: ServiceMachine) -> String { "\(machine.stateName)" }
private func milliseconds(_ count: UInt64) -> Nanoseconds { .milliseconds(count) }

/// A machine in each state, at second 100, and the transitions between them.
private func reachable() -> Walk<ServiceMachine> {
    Walk(from: [ServiceMachine()], events, name: name) { machine, event in
        // Too early, and in time.
        [milliseconds(1), machine.moment ?? milliseconds(100_000)].compactMap {
            var next = machine
            return next.handle(event, at: $0) == nil ? nil : next
        }
    }
}

private let taken: [String: Set<String>] = [
    "new": ["due", "stop"], "starting": ["started", "not started", "stop"],
    "running": ["ended", "stop"], "resting": ["due", "stop"], "stopped": [],
]

@Suite struct ServiceMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("service-machine.md") == reachable().transitions)
    }

    @Test("every event in every state is taken, or is refused and changes nothing")
    func everyPair() {
        let machines = reachable().machines
        #expect(Set(machines.keys) == Set(taken.keys))
        for (state, machine) in machines {
            for (event, value) in events {
                var next = machine
                let isTaken = next.handle(value, at: milliseconds(200_000)) != nil
                #expect(isTaken == taken[state]?.contains(event), "\(state), \(event)")
                if !isTaken { #expect(name(next) == state) }
            }
        }
    }

    @Test("each pause is twice the one before, up to a minute, and no start comes earlier")
    func pauses() {
        var machine = ServiceMachine()
        var now = milliseconds(1000)
        var pauses: [UInt64] = []
        for _ in 0..<12 {
            #expect(machine.handle(.due, at: now) == .start)
            #expect(machine.handle(.started, at: now) == .watch)
            guard case .rest(let moment)? = machine.handle(.ended, at: now) else {
                Issue.record("no pause")
                return
            }
            pauses.append((moment - now).count / 1_000_000)
            let early = Nanoseconds(count: moment.count - 1)
            #expect(machine.handle(.due, at: early) == .rest(until: moment))
            now = moment
        }
        #expect(
            pauses == [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000,
            ])
    }

    @Test("a program that has run for ten seconds begins with the short pause again")
    func recovery() {
        var machine = ServiceMachine()
        func run(from start: UInt64, for time: UInt64) -> ServiceMachine.Action? {
            _ = machine.handle(.due, at: milliseconds(start))
            _ = machine.handle(.started, at: milliseconds(start))
            return machine.handle(.ended, at: milliseconds(start + time))
        }
        #expect(run(from: 0, for: 9_999) == .rest(until: milliseconds(10_099)))
        #expect(run(from: 20_000, for: 9_999) == .rest(until: milliseconds(30_199)))
        #expect(run(from: 40_000, for: 10_000) == .rest(until: milliseconds(50_100)))
    }

    @Test("one that cannot be started waits like one that ended at once")
    func notStarted() {
        var machine = ServiceMachine()
        _ = machine.handle(.due, at: milliseconds(0))
        #expect(
            machine.handle(.notStarted, at: milliseconds(0)) == .rest(until: milliseconds(100)))
        #expect(machine.moment == milliseconds(100))
        #expect(machine.handle(.stop, at: milliseconds(0)) == .forget)
        #expect(machine.moment == nil)
    }
}
