import Testing

@testable import Mini

private let index = GrantIndex(offset: 0x3000, pages: PageCount(2))

/// Every event, with the name that the page gives it.
private let events: [(name: String, event: GrantMachine.Event)] = [
    ("opened", .opened), ("referenced", .referenced(index)), ("mapped", .mapped), ("busy", .busy),
    ("armed", .armed), ("finished", .finished), ("unmapped", .unmapped), ("released", .released),
    ("resumed", .resumed), ("failed", .failed),
]

private func name(_ machine: GrantMachine) -> String { "\(machine.stateName)" }

/// A machine after these events, each of which it takes.
private func machine(_ names: [String], isNotifying: Bool) -> GrantMachine {
    var machine = GrantMachine(isNotifying: isNotifying)
    for name in names {
        let event = events.first { $0.name == name }!.event
        #expect(machine.handle(event) != nil, "\(name)")
    }
    return machine
}

private struct Row {
    var path: [String]
    var isNotifying = false
    var answers: [String: GrantMachine.Action]
}

/// Every state, by every way in which it differs; what is not here is refused.
private let rows: [Row] = [
    Row(path: [], answers: ["opened": .reference, "failed": .end]),
    Row(path: ["opened"], answers: ["referenced": .map(index), "failed": .end]),
    Row(
        path: ["opened", "referenced"],
        answers: ["mapped": .use, "busy": .release(index), "failed": .release(index)]),
    Row(
        path: ["opened", "referenced"], isNotifying: true,
        answers: ["mapped": .arm(index), "busy": .release(index), "failed": .release(index)]),
    Row(
        path: ["opened", "referenced", "mapped"], answers: ["finished": .unmap, "failed": .unmap]),
    Row(
        path: ["opened", "referenced", "mapped"], isNotifying: true,
        answers: ["armed": .use, "finished": .unmap, "failed": .unmap]),
    Row(
        path: ["opened", "referenced", "mapped", "armed"], isNotifying: true,
        answers: ["finished": .unmap]),
    Row(
        path: ["opened", "referenced", "mapped", "finished"],
        answers: ["unmapped": .release(index)]),
    Row(
        path: ["opened", "referenced", "mapped", "failed"], isNotifying: true,
        answers: ["unmapped": .release(index)]),
    Row(
        path: ["opened", "referenced", "mapped", "finished", "unmapped"],
        answers: ["released": .end, "failed": .end]),
    Row(
        path: ["opened", "referenced", "mapped", "failed", "unmapped"], isNotifying: true,
        answers: ["released": .end, "failed": .end]),
    Row(
        path: ["opened", "referenced", "failed"],
        answers: ["released": .end, "failed": .end]),
    Row(
        path: ["opened", "referenced", "busy"],
        answers: ["released": .wait, "failed": .end]),
    Row(
        path: ["opened", "referenced", "busy", "released"],
        answers: ["resumed": .reference, "failed": .end]),
    Row(path: ["failed"], answers: [:]),
    Row(
        path: ["opened", "referenced", "mapped", "finished", "unmapped", "released"], answers: [:]),
]

@Suite struct GrantMachineTests {
    @Test("every event in every state gives its action, or is refused and changes nothing")
    func everyPair() {
        for row in rows {
            let machine = machine(row.path, isNotifying: row.isNotifying)
            #expect(machine.isReleased == (name(machine) == "released"))
            for (event, value) in events {
                var next = machine
                let action = next.handle(value)
                #expect(action == row.answers[event], "\(row.path), \(event)")
                if action == nil { #expect(name(next) == name(machine), "\(row.path), \(event)") }
            }
        }
    }

    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        var transitions: Set<String> = []
        for row in rows {
            let machine = machine(row.path, isNotifying: row.isNotifying)
            for (event, value) in events {
                var next = machine
                guard next.handle(value) != nil else { continue }
                transitions.insert("\(name(machine)) --> \(name(next)): \(event)")
                // The table has a row for wherever one can get.
                #expect(rows.contains { name(self.after($0)) == name(next) }, "\(name(next))")
            }
        }
        #expect(try transitionsOfPage("grant-machine.md") == transitions)
    }

    private func after(_ row: Row) -> GrantMachine {
        machine(row.path, isNotifying: row.isNotifying)
    }

    @Test("no way through the machine ends while something is held")
    func balance() {
        // Random walks: what map and reference took, unmap and release have given back at the end.
        var random = SplitMix(seed: 4)
        var ends = 0
        for _ in 0..<2000 {
            var machine = GrantMachine(isNotifying: Bool.random(using: &random))
            var indices = 0
            var mappings = 0
            var isAtEnd = false
            for _ in 0..<200 where !isAtEnd {
                let (name, event) = events.randomElement(using: &random)!
                guard let action = machine.handle(event) else { continue }
                switch name {
                case "referenced": indices += 1
                case "mapped": mappings += 1
                case "unmapped": mappings -= 1
                default: break
                }
                if case .release = action {
                    #expect(mappings == 0)
                    indices -= 1
                }
                if action == .end { isAtEnd = true }
                #expect(indices >= 0 && indices <= 1 && mappings >= 0 && mappings <= 1)
            }
            if isAtEnd {
                #expect(indices == 0 && mappings == 0)
                ends += 1
            }
        }
        #expect(ends > 1000)
    }
}
