// The guest machine against its page in docs/, and every verb in every state.

import Foundation
import Testing

@testable import Mini

private let reason = DeathReason.reservedTop
private let record = DMANotification(0x1000, 4)

/// Every event that the machine knows, with the name that the page gives it.
private let events: [(name: String, apply: @Sendable (inout GuestMachine) -> Void)] = [
    ("initialize", { _ = $0.initialize(acceptable: true) }),
    ("run", { _ = $0.enter() }),
    ("break on", { _ = $0.breakOut(true) }),
    ("break off", { _ = $0.breakOut(false) }),
    ("SEND_DMA", { $0.send(record) }),
    ("HALT", { $0.halt() }),
    ("interrupt", { $0.wake() }),
    ("kill", { $0.kill(reason) }),
    ("pause", { $0.pause() }),
    ("calls served", { _ = $0.afterCalls() }),
    ("close", { $0.close() }),
]

/// A machine in each phase, and everything that can be reached.
private func reachable() -> (machines: [GuestMachine], transitions: Set<String>) {
    var known = [GuestMachine()]
    var transitions: Set<String> = []
    var next = 0
    while next < known.count {
        for event in events {
            var machine = known[next]
            event.apply(&machine)
            if machine.phase != known[next].phase {
                transitions.insert(
                    "\(known[next].phase.rawValue) --> \(machine.phase.rawValue): \(event.name)")
            }
            if !known.contains(machine) { known.append(machine) }
        }
        next += 1
    }
    return (known, transitions)
}

@Suite struct GuestMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        let shown = try transitionsOfPage("guest-machine.md")
        let taken = reachable().transitions
        #expect(shown.subtracting(taken).isEmpty, "shown but never taken")
        #expect(taken.subtracting(shown).isEmpty, "taken but not shown")
    }

    /// What a verb answers: nil for success.
    private struct Row {
        let phase: GuestMachine.Phase
        let initialize, badOffset, request, breakOut: Errno?
        let run: GuestMachine.Entry
    }

    @Test("each verb gives the device's errno in each state")
    func verbs() {
        let told = GuestMachine.Entry.tell(reason)
        let rows = [
            Row(
                phase: .new, initialize: nil, badOffset: .invalid, request: .invalid,
                breakOut: .invalid, run: .fail(.invalid)),
            Row(
                phase: .stopped, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .proceed),
            Row(
                phase: .brokenOut, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .proceed),
            Row(
                phase: .draining, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .fail(.busy)),
            Row(
                phase: .running, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .fail(.busy)),
            Row(
                phase: .halted, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .fail(.busy)),
            Row(
                phase: .notifying, initialize: .busy, badOffset: .busy, request: nil,
                breakOut: nil, run: .proceed),
            Row(
                phase: .dead, initialize: .noSuchFile, badOffset: .noSuchFile,
                request: .noSuchFile, breakOut: .noSuchFile, run: told),
            Row(
                phase: .closed, initialize: .badDescriptor, badOffset: .badDescriptor,
                request: .badDescriptor, breakOut: .badDescriptor, run: .fail(.badDescriptor)),
        ]
        let machines = reachable().machines
        for row in rows {
            let inPhase = machines.filter { $0.phase == row.phase }
            #expect(!inPhase.isEmpty, "\(row.phase)")
            for machine in inPhase {
                func after<Answer>(_ verb: (inout GuestMachine) -> Answer) -> Answer {
                    var copy = machine
                    return verb(&copy)
                }
                #expect(after { $0.initialize(acceptable: true) } == row.initialize, "\(machine)")
                #expect(after { $0.initialize(acceptable: false) } == row.badOffset, "\(machine)")
                #expect(machine.request() == row.request, "\(machine)")
                #expect(after { $0.breakOut(true) } == row.breakOut, "\(machine)")
                #expect(after { $0.breakOut(false) } == row.breakOut, "\(machine)")
                #expect(after { $0.enter() } == row.run, "\(machine)")
            }
        }
    }

    @Test("what cannot come in a state, whatever the guest does, is told in place of the next step")
    func defects() {
        let alive: Set<GuestMachine.Phase> = [
            .stopped, .brokenOut, .draining, .running, .halted, .notifying,
        ]
        let places: [String: Set<GuestMachine.Phase>] = [
            "SEND_DMA": [.running, .halted, .draining], "HALT": [.running, .halted, .draining],
            "interrupt": [.halted], "pause": [.running, .halted, .dead],
            "kill": alive.union([.dead]),
        ]
        for machine in reachable().machines where machine.defect == nil {
            for (name, apply) in events {
                var next = machine
                apply(&next)
                let belongs = places[name]?.contains(machine.phase) ?? true
                #expect(next.defect == (belongs ? nil : machine.phase), "\(name), \(machine)")
                if belongs { continue }
                #expect(next.phase == machine.phase)
                #expect(next.beforeEntry() == .tellDefect(machine.phase))
            }
        }
        // Nor does guest code run outside run().
        #expect(GuestMachine().beforeEntry() == .tellDefect(.new))
    }

    @Test("a guest may halt twice at once, and die before a pause")
    func noDefects() {
        var machine = running()
        for _ in 0..<2 { machine.halt() }
        #expect(machine.beforeEntry() == .sleep)
        machine.kill(reason)
        machine.pause()
        #expect(machine.defect == nil && machine.beforeEntry() == .fail(.noSuchFile))
    }

    private func running() -> GuestMachine {
        var machine = GuestMachine()
        _ = machine.initialize(acceptable: true)
        _ = machine.enter()
        return machine
    }

    @Test("a record is handed out once, and the next run goes on behind it")
    func notification() {
        var machine = running()
        machine.send(record)
        #expect(machine.afterCalls() == .deliver(record))
        #expect(machine.enter() == .proceed)
        #expect(machine.afterCalls() == .proceed)
        #expect(machine.beforeEntry() == .execute)
    }

    @Test("a guest that sleeps still sleeps after a record, a break and a pause")
    func sleeper() {
        var machine = running()
        machine.halt()
        machine.send(record)
        _ = machine.enter()
        #expect(machine.beforeEntry() == .sleep)
        machine.pause()
        _ = machine.enter()
        #expect(machine.beforeEntry() == .sleep)
        machine.pause()
        _ = machine.breakOut(true)
        _ = machine.enter()
        #expect(machine.afterCalls() == .fail(.again))
        _ = machine.breakOut(false)
        _ = machine.enter()
        #expect(machine.afterCalls() == .proceed)
        #expect(machine.beforeEntry() == .sleep)
        machine.wake()
        #expect(machine.beforeEntry() == .execute)
    }

    @Test("the break level lasts until it is taken back, and records pass under it")
    func level() {
        var machine = running()
        machine.pause()
        _ = machine.breakOut(true)
        for _ in 0..<3 {
            _ = machine.enter()
            #expect(machine.afterCalls() == .fail(.again))
        }
        _ = machine.enter()
        machine.send(record)
        #expect(machine.afterCalls() == .deliver(record))
        _ = machine.enter()
        #expect(machine.afterCalls() == .fail(.again))
    }

    @Test("death is told as ENOENT first and with its reason ever after; the first one stays")
    func death() {
        var machine = running()
        machine.kill(reason)
        machine.kill(.badSendingKey)
        #expect(machine.afterCalls() == .proceed)
        #expect(machine.beforeEntry() == .fail(.noSuchFile))
        #expect(machine.enter() == .tell(reason))
        #expect(machine.enter() == .tell(reason))
    }

    @Test("a guest that dies of a call under a break is told EAGAIN, then its reason")
    func deathUnderBreak() {
        var machine = running()
        machine.pause()
        _ = machine.breakOut(true)
        _ = machine.enter()
        machine.kill(reason)
        #expect(machine.afterCalls() == .fail(.again))
        #expect(machine.enter() == .tell(reason))
    }

    @Test("a guest that a verb killed gives its reason at once")
    func deathByVerb() {
        var machine = running()
        machine.send(record)
        machine.kill(reason)
        #expect(machine.enter() == .tell(reason))
    }

    @Test("a guest that asks for a restart answers ERESTART at once and ever after")
    func restart() {
        var machine = running()
        machine.kill(.restart)
        #expect(machine.afterCalls() == .proceed)
        #expect(machine.beforeEntry() == .fail(.restart))
        #expect(machine.enter() == .fail(.restart))
        #expect(machine.request() == .noSuchFile)
    }
}
