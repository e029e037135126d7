// What the sandbox asks of the kernel, in which order, on a played kernel.

import Glibc
import Testing

@testable import Mini

@Suite struct SandboxTests {
    /// Enters a sandbox on a kernel that lacks some calls, and notes which were made.
    private func enter(
        _ plan: SandboxPlan, lacking: [SystemCall.Number] = [], _ errno: Errno = .notImplemented
    ) -> (Sandbox.Outcome, [SystemCall]) {
        let calls = Box<[SystemCall]>([])
        let outcome = SystemCall.hooked { call in
            calls.value.append(call)
            if lacking.contains(call.number) { return -Int(errno.rawValue) }
            switch call.number {
            case .effectiveUser: return 0
            case .processControl where call.arguments.0 == 24 && call.arguments.1 > 40: return -22
            default: return 0
            }
        } _: {
            Sandbox.closeOthers(plan.descriptors)
            return Sandbox.enter(plan)
        }
        return (outcome, calls.value)
    }

    private final class Box<Value>: @unchecked Sendable {
        var value: Value
        init(_ value: Value) { self.value = value }
    }

    private let rules = [CallRule("read", .read), CallRule("exit_group", .exitGroup)]

    @Test("descriptors between and behind the kept ones are closed, in any order")
    func descriptors() {
        let (_, calls) = enter(SandboxPlan(rules: rules, descriptors: [9, 4, 5]))
        let closed = calls.filter { $0.number == .closeRange }.map {
            [$0.arguments.0, $0.arguments.1]
        }
        #expect(closed == [[3, 3], [6, 8], [10, Int(Int32.max)]])
    }

    @Test(
        "without close_range, which a filter around us may refuse as well, each is closed by itself",
        arguments: [.notImplemented, .notPermitted] as [Errno])
    func oldDescriptors(errno: Errno) {
        let (_, calls) = enter(
            SandboxPlan(rules: rules, descriptors: [4]), lacking: [.closeRange], errno)
        let closed = calls.filter { $0.number == .close }.map { $0.arguments.0 }
        #expect(closed == [3] + Array(5...1023))
    }

    @Test("root becomes nobody before its capabilities go, and the filter comes last")
    func order() throws {
        let (outcome, calls) = enter(SandboxPlan(rules: rules))
        #expect(outcome.hasLeftRoot && outcome.calls == 2 && outcome.failure == nil)
        func place(_ number: SystemCall.Number) throws -> Int {
            try #require(calls.firstIndex { $0.number == number })
        }
        let setUser = try place(.setUser)
        #expect(try place(.setGroups) < place(.setGroup))
        #expect(try place(.setGroup) < setUser)
        #expect(try setUser < place(.setCapabilities))
        #expect(calls.last?.number == .seccomp)
        #expect(calls[calls.count - 2].arguments.0 == 38)  // PR_SET_NO_NEW_PRIVS
        // The bounding set is emptied while it may be.
        #expect(calls.contains { $0.number == .processControl && $0.arguments.0 == 24 })
        #expect(
            calls.firstIndex { $0.number == .processControl && $0.arguments.0 == 24 }!
                < setUser)
    }

    @Test("what a played kernel says of this process is forgotten with it")
    func numbers() {
        _ = enter(SandboxPlan(rules: rules))
        #expect(Process.identity == Int(getpid()))
        #expect(Process.group == Int(getpgrp()))
    }

    @Test("who keeps the user still loses the capabilities")
    func keptUser() {
        var plan = SandboxPlan(rules: nil)
        plan.keepsUser = true
        let (outcome, calls) = enter(plan)
        #expect(!outcome.hasLeftRoot && outcome.calls == nil)
        #expect(!calls.contains { $0.number == .setUser || $0.number == .seccomp })
        #expect(calls.contains { $0.number == .setCapabilities })
    }

    @Test("the filter is set by the older call where there is no newer; without either it is told")
    func oldKernels() {
        let (old, calls) = enter(SandboxPlan(rules: rules), lacking: [.seccomp])
        #expect(old.calls == 2)
        #expect(calls.last?.number == .processControl && calls.last?.arguments.0 == 22)
        let (none, _) = enter(
            SandboxPlan(rules: rules), lacking: [.seccomp, .processControl])
        #expect(none.calls == nil && none.failure == .notImplemented)
    }
}
