import Testing

@testable import Mini

private let patience = Nanoseconds.milliseconds(700)

private func settings(_ policy: ErrorPolicy) -> BootSettings {
    BootSettings(onError: policy, atEnd: .reboot, grace: patience)
}

/// Every event, with the name that the page gives it.
private let events: [(name: String, event: BootMachine.Event)] = [
    ("mounted", .mounted),
    ("table read", .tableRead(statements: 2, settings(.shell))),
    ("table read", .tableRead(statements: 0, settings(.shell))),
    ("table read", .tableRead(statements: 1, settings(.end(.halt)))),
    ("table refused", .tableRefused(settings(.shell))),
    ("table refused", .tableRefused(settings(.end(.halt)))),
    ("done", .done), ("started", .started), ("succeeded", .succeeded), ("failed", .failed),
    ("lost", .lost),
    ("no shell", .noShell), ("deserted", .deserted), ("time over", .timeOver),
    ("asked", .asked(.powerOff)), ("left", .left),
]

private func name(_ machine: BootMachine) -> String { "\(machine.stateName)" }

/// Every machine that can be reached, and the transitions between them. The states carry figures: each
/// combination is a machine of its own.
private func reachable() -> Walk<BootMachine> {
    Walk(from: [BootMachine()], events, name: name, key: { String(reflecting: $0) }) {
        machine, event in
        var next = machine
        return next.handle(event) == nil ? [] : [next]
    }
}

/// What each state takes; all else is refused. The actions are checked by the walks below.
private let taken: [String: Set<String>] = [
    "mounting": ["mounted", "asked"],
    "reading": ["table read", "table refused", "asked"],
    "preparing": ["done", "started", "failed", "lost", "asked"],
    "waiting": ["succeeded", "failed", "lost", "asked"],
    "reaping": ["deserted", "lost", "asked"],
    "rescue": ["succeeded", "failed", "no shell", "asked"],
    "stopping": ["deserted", "time over"],
    "killing": ["deserted", "time over"],
    "leaving": ["left"],
    "ended": ["failed"],
    "stuck": [],
]

/// The actions that a walk gives; a refusal is nil.
private func walk(_ events: [BootMachine.Event]) -> [BootMachine.Action?] {
    var machine = BootMachine()
    return events.map { machine.handle($0) }
}

private func afterTable(
    _ statements: Int, _ settings: BootSettings, _ events: [BootMachine.Event]
) -> [BootMachine.Action?] {
    Array(walk([.mounted, .tableRead(statements: statements, settings)] + events).dropFirst(1))
}

@Suite struct BootMachineTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("boot-machine.md") == reachable().transitions)
    }

    @Test("every event in every state is taken, or is refused and changes nothing")
    func everyPair() {
        let machines = reachable().machines
        #expect(Set(machines.values.map(name)) == Set(taken.keys))
        for machine in machines.values {
            for (event, value) in events {
                var next = machine
                let isTaken = next.handle(value) != nil
                #expect(
                    isTaken == taken[name(machine)]?.contains(event), "\(name(machine)), \(event)")
                if !isTaken { #expect(String(reflecting: next) == String(reflecting: machine)) }
            }
        }
    }

    @Test("what is refused is a defect, but for what nobody can keep from coming late")
    func ignored() {
        let late: [String: Set<String>] = [
            "stopping": ["asked", "succeeded", "failed"],
            "killing": ["asked", "succeeded", "failed"],
        ]
        for machine in reachable().machines.values {
            for (event, value) in events {
                let isLate = late[name(machine)]?.contains(event) ?? false
                #expect(machine.ignores(value) == isLate, "\(name(machine)), \(event)")
                #expect(!isLate || !taken[name(machine)]!.contains(event))
            }
        }
    }

    @Test("the table is carried out in order, and the end waits for the last process")
    func order() {
        #expect(walk([]) == [] && BootMachine.beginning == .mountFileSystems)
        #expect(walk([.mounted]) == [.readTable])
        #expect(
            afterTable(3, settings(.shell), [.done, .started, .succeeded, .done, .deserted, .left])
                == [
                    .carryOut(0), .carryOut(1), .wait, .carryOut(2), .waitForAll, .leave,
                    .end(.reboot),
                ])
        #expect(afterTable(0, settings(.shell), [.deserted]) == [.waitForAll, .leave])
    }

    @Test("a failure ends the table as the settings say", arguments: [Ending.halt, .powerOff])
    func failure(ending: Ending) {
        let stop = BootMachine.Action.signalAll(.terminate, patience: patience)
        for events: [BootMachine.Event] in [[.failed], [.started, .failed]] {
            #expect(
                afterTable(2, settings(.end(ending)), events + [.deserted, .left]).suffix(3)
                    == [stop, .leave, .end(ending)])
        }
        #expect(
            walk([.mounted, .tableRefused(settings(.end(ending))), .deserted, .left])
                == [.readTable, stop, .leave, .end(ending)])
    }

    @Test("a shell's end is the machine's; without a shell it halts")
    func shell() {
        for event: BootMachine.Event in [.succeeded, .failed] {
            #expect(
                afterTable(1, settings(.shell), [.failed, event, .deserted, .left]).dropFirst()
                    == [
                        .startShell, .signalAll(.terminate, patience: patience), .leave,
                        .end(.reboot),
                    ])
        }
        #expect(
            afterTable(1, settings(.shell), [.failed, .noShell, .deserted, .left]).last
                == .end(.halt))
    }

    @Test("who does not go after SIGTERM gets SIGKILL, and who cannot go is left behind")
    func killing() {
        #expect(
            afterTable(1, settings(.shell), [.asked(.powerOff), .timeOver, .timeOver, .left])
                == [
                    .carryOut(0), .signalAll(.terminate, patience: patience),
                    .signalAll(.kill, patience: BootMachine.killPatience), .leave, .end(.powerOff),
                ])
    }

    @Test("while the machine is ending nobody changes how")
    func askedTwice() {
        #expect(
            afterTable(
                1, settings(.shell),
                [.asked(.halt), .asked(.reboot), .deserted, .asked(.reboot), .left]
            ) == [
                .carryOut(0), .signalAll(.terminate, patience: patience), nil, .leave, nil,
                .end(.halt),
            ])
    }

    @Test("an end that the kernel refuses leaves process 1 asleep")
    func stuck() {
        #expect(
            afterTable(0, settings(.shell), [.deserted, .left, .failed, .failed]).suffix(2)
                == [.sleepForever, nil])
    }
}
