// Finds the lines in which a kernel tells its end: the panic with its reason, and the line with which it halts (KernelHalt.swift).
// Programs can print such lines as well, for example when they show the log of another boot. So a line counts only where the kernel
// prints it, at the start of a line or after the kernel's marks (level, time), and only for a while; the line of a halt only as long as
// nothing follows. What a program prints on a virtio console or on the screen cannot be told from the kernel's output: but a program
// that then asks for a restart makes the kernel print a line about that, which no kernel prints after a panic.
//
// A kernel that halts with interrupts on returns to its caller. If that was process 1, it exits then, and the kernel panics.
//
//   listening -- a halt --> halting -- it goes on --> resting -- a halt --> halting
//   listening, resting -- a panic, process 1 is missed --> panicked
//   halting -- a panic --> panicked; process 1 is missed --> stopped -- a program ran --> panicked
//   halting, resting -- another line --> listening
//   panicked, stopped -- a restart, it goes on, much output --> what the last line makes of it without the panic
//
// Source: docs/abi/pc.md §6; the lines are kernel/panic.c's, kernel/exit.c's and kernel/sys.c's. The same as a page:
// docs/ending-lines-machine.md.

struct EndingLines {
    private static let sign: StaticString = "Kernel panic - not syncing: "
    /// Early kernels of 2.6, and those before, say it so.
    private static let oldSign: StaticString = "Kernel panic: "
    private static let initDied: StaticString = "Attempted to kill init!"
    private static let halt: StaticString = "System halted."
    /// Of one that is to power off, and does not know how; from 2.6.13 on it halts then.
    private static let powerDown: StaticString = "Power down."
    /// Of the code that unpacks a kernel, which has said before it what is wrong.
    private static let unpackerHalt: StaticString = "-- System halted"
    private static let restart: StaticString = "Restarting system"
    /// The most bytes of a line that are kept.
    private static let most = 512
    /// A panic is forgotten after so many bytes. A kernel that ends prints some sixty lines more, or, if it was told to, its whole log.
    private static let mostBehind: UInt64 = 262_144

    private enum State {
        /// The last line tells no end.
        case listening
        /// It is that of a halt.
        case halting
        /// The same, but the kernel has waited for something since: the halt is not what a process 1 exits from.
        case resting
        case panicked(Panic)
        /// Process 1 has exited right after the line of a halt: the panic is only that.
        case stopped(Panic)
    }
    private struct Panic {
        let reason: Text
        /// How many bytes there were up to the end of its line.
        let end: UInt64
        /// The last line is that of a halt, whoever printed it.
        var isHaltLast: Bool
        /// What is left without the panic.
        var rest: State { isHaltLast ? .halting : .listening }
    }
    private var state = State.listening
    private var line: [UInt8] = []
    /// The last one that is whole.
    private var before: [UInt8] = []
    private var isFromKernel = true
    /// All bytes so far.
    private var taken: UInt64 = 0
    /// It may have the lines of kernels before 2.6.13.
    private let isOld: Bool

    /// - Parameter version: the kernel's, if it tells.
    init(of version: LinuxVersion? = nil) {
        isOld = version.map { !$0.isAtLeast(2, 6, 13) } ?? false
    }

    /// Why the kernel panicked, if it did.
    var reason: Text? { panic?.reason }
    /// `reason` is only that process 1 has exited, right after the line of a halt.
    var isStopped: Bool {
        if case .stopped = state { return true }
        return false
    }
    /// The last line was that of a halt.
    var isHaltLast: Bool {
        switch state {
        case .listening: false
        case .halting, .resting: true
        case .panicked(let panic), .stopped(let panic): panic.isHaltLast
        }
    }
    /// The output ends with the line of a halt.
    var endWithHalt: Bool { isHaltLast && line.isEmpty }

    /// What the kernel's own unpacker has found, if its words are the last.
    var unpackerError: Text? { ends(with: Self.unpackerHalt) ? Text(bytes: before) : nil }

    private var panic: Panic? {
        switch state {
        case .listening, .halting, .resting: nil
        case .panicked(let panic), .stopped(let panic): panic
        }
    }

    /// - Parameter isFromKernel: false if some of it may be a program's.
    mutating func look(at bytes: [UInt8], isFromKernel: Bool = true) {
        self.isFromKernel = isFromKernel && (self.isFromKernel || line.isEmpty)
        for byte in bytes {
            taken &+= 1
            guard byte == 0x0A || byte == 0x0D else {
                if line.count < Self.most { line.append(byte) }
                continue
            }
            if line.isEmpty { continue }
            endLine()
            swap(&line, &before)
            line.removeAll(keepingCapacity: true)
            self.isFromKernel = isFromKernel
        }
        if let panic, taken &- panic.end > Self.mostBehind { state = panic.rest }
    }

    /// The line is whole.
    private mutating func endLine() {
        let isHalt = ends(with: Self.halt) || isOld && ends(with: Self.powerDown)
        guard var panic else {
            guard let start = start(of: Self.sign) ?? (isOld ? start(of: Self.oldSign) : nil)
            else {
                state = isHalt ? .halting : .listening
                return
            }
            let new = Panic(
                reason: Text(bytes: Array(line[start...])), end: taken, isHaltLast: isHalt)
            if case .halting = state, ends(with: Self.initDied, isAnywhere: true) {
                state = .stopped(new)
            } else {
                state = .panicked(new)
            }
            return
        }
        panic.isHaltLast = isHalt
        if start(of: Self.restart, isAnywhere: true) != nil {
            state = panic.rest
        } else {
            state = isStopped ? .stopped(panic) : .panicked(panic)
        }
    }

    /// The kernel goes on, if only to wait.
    mutating func forgetPanic() {
        if isHaltLast { state = .resting } else { state = .listening }
    }

    /// It is a panic like any other.
    mutating func forgetStop() {
        if case .stopped(let panic) = state { state = .panicked(panic) }
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .listening: "listening"
        case .halting: "halting"
        case .resting: "resting"
        case .panicked: "panicked"
        case .stopped: "stopped"
        }
    }

    /// True if the line ends with these words.
    private func ends(with sign: StaticString, isAnywhere: Bool = false) -> Bool {
        start(of: sign, isAnywhere: isAnywhere).map { $0 + sign.utf8CodeUnitCount == line.count }
            ?? false
    }

    /// - Parameter isAnywhere: anywhere in a line, and in those of programs as well.
    private func start(of sign: StaticString, isAnywhere: Bool = false) -> Int? {
        let count = sign.utf8CodeUnitCount
        guard isFromKernel || isAnywhere, line.count >= count else { return nil }
        for start in 0...line.count - count {
            let isHere = (0..<count).allSatisfy {
                unsafe line[start + $0] == sign.utf8Start[$0]
            }
            if isHere && (isAnywhere || isMarked(start)) { return start }
        }
        return nil
    }

    /// Nothing is in front of it, or "[   12.345678] ", or "<0>".
    private func isMarked(_ start: Int) -> Bool {
        let mark = line[..<start].last { $0 != UInt8(ascii: " ") }
        return mark == nil || mark == UInt8(ascii: "]") || mark == UInt8(ascii: ">")
    }
}
