// What every processor in software is, whatever its width and whatever its guest may do: `run` with its look at the clock,
// answers, and the count of instructions. Interpreter.swift and Long/LongProcessor.swift own a core each.

/// A processor that executes decoded records. Not for several threads at once.
@safe class RecordProcessor {
    /// Instructions executed, those that faulted included.
    final private(set) var instructionCount: UInt64 = 0
    /// What `run(until:)` reads; tests have a clock of their own.
    final var clock: () -> Nanoseconds = Clock.monotonic
    private final var slice = TimeSlice()
    /// What `inject` came to, if that was an exit.
    final var undelivered: ProcessorExit?
    /// Bytes that the last exit's input wants.
    private final var inputSize: UInt8 = 0
    final var awaitsInterruptWindow = false { didSet { watchWindow() } }

    // MARK: What a core has to say

    /// Interrupts are on, and no instruction holds them off for the one behind it.
    var canInject: Bool { false }

    /// `awaitsInterruptWindow` has changed.
    func watchWindow() {}

    /// The last instruction that was wanted and is not there.
    var missing: MissingInstruction? { nil }

    /// It was kept from running.
    func tellStop() {}

    /// Executes at most so many instructions.
    /// - Returns: how many are left, and why it ended before.
    func execute(_ instructions: Int) -> (left: Int, exit: ProcessorExit?) { (0, nil) }

    /// Completes the IN or the read that the processor has exited for, with a value of so many bytes.
    func take(_ value: UInt64, _ size: UInt8) {}

    // MARK: Running

    final func resume(at now: Nanoseconds) { slice.resume(at: now) }

    final func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit {
        if awaitsInterruptWindow && canInject { return .interruptWindow }
        var left = stretch.map { slice.instructions(for: $0) } ?? .max
        while true {
            if slice.isOver(before: deadline) { slice.begin(at: clock(), until: deadline) }
            if let deadline, deadline <= slice.now { return .deadline }
            if left <= 0 { return .stretchEnded }
            let before = instructionCount
            let exit = run(instructions: min(slice.budget, left))
            let count = instructionCount &- before
            slice.spend(count)
            left -= Int(truncatingIfNeeded: count)
            if case .stretchEnded = exit { continue }
            slice.spendExit()
            return exit
        }
    }

    /// Executes at most so many instructions (a repeated string instruction may count as
    /// several), without a look at the clock.
    final func run(instructions: Int) -> ProcessorExit {
        if let exit = undelivered {
            undelivered = nil
            return exit
        }
        let (left, exit) = execute(instructions)
        instructionCount &+= UInt64(max(0, instructions - left))
        guard let exit else { return .stretchEnded }
        if exit == .shutdown { undelivered = .shutdown }
        if case .portInput(let access) = exit { inputSize = access.size }
        return exit
    }

    final func answer(_ value: UInt64) {
        if inputSize > 0 { take(value, inputSize) }
        inputSize = 0
    }
}

/// Lays tables one after the other, each at a multiple of 64 bytes.
struct TableLayout {
    private(set) var count = 0

    mutating func take<Element>(_ number: Int, _: Element.Type) -> Int {
        defer { count = (count + number * MemoryLayout<Element>.stride + 63) & ~63 }
        return count
    }
}
