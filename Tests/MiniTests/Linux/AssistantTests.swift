// Assistants, and the kernel's side of one that is never made: a test's process has threads, and none of them is there
// behind a fork.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

/// Plays the calls by which assistants are made and asked.
final class PlayedAssistant: Sendable {
    struct State {
        var asked = 0
        /// Nil for one that has ended.
        var answer: UInt8? = 0
        /// Whether it is ready for a wait that has time.
        var isReady = true
        var pipes = 0
        var forks = 0
        /// The last question.
        var question: UInt8 = 0
        /// No process can be started.
        var isFull = false
        var open: Set<Int> = []
    }
    private let state = Mutex(State())
    static let numbers = 1_000_900...1_000_920

    var now: State { state.withLock { $0 } }
    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    func play<Value>(_ body: () throws -> Value) rethrows -> Value {
        try SystemCall.hooked({ self.answer($0) }, body)
    }

    /// - Returns: nil for what is somebody else's.
    func answer(_ call: SystemCall) -> Int? { state.withLock { answer(call, &$0) } }

    private func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, _, _, _) = call.arguments
        switch call.number {
        case .fork:
            state.forks += state.isFull ? 0 : 1
            return state.isFull ? -11 : 4242
        // Children of the test's own are for others.
        case .waitForChild: return -10
        case .pipeWithFlags:
            let ends = UnsafeMutablePointer<Int32>(bitPattern: first)!
            let first = Self.numbers.lowerBound + 2 * state.pipes
            (ends[0], ends[1]) = (Int32(first), Int32(first + 1))
            state.open.formUnion([first, first + 1])
            state.pipes += 1
            return 0
        case .poll:
            let records = UnsafeMutablePointer<mini_pollfd>(bitPattern: first)!
            guard second > 0, Self.numbers.contains(Int(records[0].descriptor)) else { return nil }
            let limit = UnsafePointer<(Int, Int)>(bitPattern: third)?.pointee
            let hasTime = limit.map { $0 != (0, 0) } ?? true
            let isReady = hasTime ? state.isReady : state.answer == nil
            for index in 0..<second {
                records[index].returned = (index == 0) == isReady ? records[index].events : 0
            }
            return 1
        case .write where Self.numbers.contains(first):
            state.asked += 1
            state.question = UnsafePointer<UInt8>(bitPattern: second)!.pointee
            return 1
        case .read where Self.numbers.contains(first):
            guard let answer = state.answer else { return 0 }
            UnsafeMutablePointer<UInt8>(bitPattern: second)!.pointee = answer
            return 1
        case .close where Self.numbers.contains(first):
            state.open.remove(first)
            return 0
        default: return nil
        }
    }
}

@Suite struct AssistantTests {
    @Test("an assistant answers each question, and none when it has ended")
    func answers() throws {
        let played = PlayedAssistant()
        try played.play {
            let assistant = try Assistant(keeping: [], answer: { _ in 0 })
            #expect(played.now.open == Set(assistant.descriptors.map { Int($0) }))
            played.change { $0.answer = 7 }
            #expect(assistant.ask() == 7 && assistant.begin() && assistant.take() == 7)
            // Too late: what comes then belongs to the question before.
            played.change { $0.isReady = false }
            #expect(assistant.ask() == nil && played.now.asked == 3)
            played.change { $0.isReady = true }
            #expect(assistant.ask() == 7 && played.now.asked == 4)
            played.change { $0.answer = nil }
            #expect(assistant.ask() == nil && !assistant.begin() && played.now.asked == 4)
        }
        #expect(played.now.open == [])
    }
}
