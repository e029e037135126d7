// Walks over everything that a machine can come to, for the tests of the machines: each state with each
// event, and the transitions, which the machine's page in docs/ has to show.

import Foundation
import Testing

@testable import Mini

/// The machines that can be reached, each as it was first, and the transitions between their states.
struct Walk<Machine> {
    private(set) var machines: [String: Machine] = [:]
    /// As a page has them: `from --> to: event`.
    private(set) var transitions: Set<String> = []

    /// - Parameters:
    ///   - starts: where machines begin.
    ///   - name: a machine's state, as the page calls it.
    ///   - key: what two machines have in common that count as one; their state, if nothing else.
    ///   - step: what a machine can become by an event: none for an event that it does not take.
    init<Event>(
        from starts: [Machine], _ events: [(name: String, event: Event)],
        name: @escaping (Machine) -> String, key: ((Machine) -> String)? = nil,
        step: (Machine, Event) -> [Machine]
    ) {
        let key = key ?? name
        var waiting = starts
        for start in starts { machines[key(start)] = start }
        while !waiting.isEmpty {
            let machine = waiting.removeFirst()
            for (event, value) in events {
                for next in step(machine, value) {
                    transitions.insert("\(name(machine)) --> \(name(next)): \(event)")
                    guard machines[key(next)] == nil else { continue }
                    machines[key(next)] = next
                    waiting.append(next)
                }
            }
        }
    }
}

/// A machine that refuses what does not belong to its state.
protocol RefusingMachine {
    associatedtype Event
    associatedtype Action: Equatable
    mutating func handle(_ event: Event) -> Action?
    var stateName: StaticString { get }
}

extension RefusingMachine {
    var name: String { "\(stateName)" }

    /// What it becomes by an event; none if it refuses it.
    func after(_ event: Event) -> [Self] {
        var next = self
        return next.handle(event) == nil ? [] : [next]
    }
}

extension Walk where Machine: RefusingMachine {
    init(from starts: Machine..., events: [(name: String, event: Machine.Event)]) {
        self.init(from: starts, events, name: { $0.name }, step: { $0.after($1) })
    }

    /// Every state with every event: the action that it gives, or nil, and then nothing changes.
    func expectEveryPair(
        _ events: [(name: String, event: Machine.Event)],
        _ table: [String: [String: Machine.Action]],
        besides: (_ state: String, _ event: String) -> Machine.Action? = { _, _ in nil }
    ) {
        #expect(Set(machines.keys) == Set(table.keys))
        for (state, machine) in machines {
            for (event, value) in events {
                var next = machine
                let action = next.handle(value)
                let wanted = table[state]?[event] ?? besides(state, event)
                #expect(action == wanted, "\(state), \(event)")
                if action == nil { #expect(next.name == state, "\(state), \(event)") }
            }
        }
    }
}

/// The transitions in a machine's page, as Mermaid has them.
func transitionsOfPage(_ name: String) throws -> Set<String> {
    let lines = try projectText("docs/\(name)").split(separator: "\n")
        .map { $0.trimmingCharacters(in: .whitespaces) }
    return Set(lines.filter { $0.contains(" --> ") && !$0.contains("[*]") })
}

@Suite struct PagesOfMachinesTests {
    @Test("each diagram has a beginning, and an end wherever nothing leads on")
    func ends() throws {
        let pages = try FileManager.default.contentsOfDirectory(atPath: project("docs").path)
            .filter { $0.hasSuffix("-machine.md") }
        #expect(pages.count > 20)
        for page in pages {
            var beginnings = 0
            var states: Set<String> = []
            var left: Set<String> = []
            var ends: Set<String> = []
            for line in try projectText("docs/\(page)").split(separator: "\n") {
                guard let match = line.wholeMatch(of: #/\s*(\S+) --> ([^\s:]+)(?::.*)?/#) else {
                    continue
                }
                let (from, to) = (String(match.1), String(match.2))
                if from == "[*]" { beginnings += 1 } else if from != to { left.insert(from) }
                if to == "[*]" { ends.insert(from) } else { states.insert(to) }
            }
            // Process 1 that the kernel does not let end goes on for ever.
            let others: Set<String> = page == "boot-machine.md" ? ["stuck"] : []
            #expect(beginnings > 0, "\(page)")
            #expect(states.subtracting(left).subtracting(others).isEmpty, "\(page)")
            #expect(ends.isSubset(of: states), "\(page)")
        }
    }
}
