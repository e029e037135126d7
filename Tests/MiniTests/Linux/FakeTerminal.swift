// A kernel that plays a user at a terminal: standard input and output, signals and terminal
// settings are its own; files and memory stay the real kernel's, and are counted.

import CShim
import Synchronization

@testable import Mini

/// Stands in the system calls of a task; see `SystemCall.hook`.
final class FakeTerminal: Sendable {
    struct State {
        var isTerminal = true
        var isForeground = true
        /// The other end was closed: nothing can be asked or read any more.
        var isHungUp = false
        /// What each read of standard input gives, one after the other; then the end.
        var input: [[UInt8]] = []
        /// Signals that arrive one after the other, whenever somebody looks for them.
        var signals: [Int32] = []
        /// Who sends them: the kernel (SI_KERNEL); 0 is another process (SI_USER).
        var signalCode: Int32 = 0x80
        /// What is left of an alarm from before, in seconds and microseconds.
        var alarmLeft = (0, 0)
        /// What a write to standard output fails with, if it does.
        var outputErrno: Errno?
        /// Standard output is a pipe, at a terminal.
        var isPiped = false
        /// Standard output is a socket, and nobody is at its other end any more.
        var isSocket = false
        var isPeerGone = false
        /// Whether standard output says that it takes something.
        var isOutputReady = true
        /// It takes something when all of the input was read.
        var outputFollowsInput = false
        /// So many writes take nothing, although it is said to be ready.
        var refusals = 0
        /// Nothing can be opened once more.
        var isClosedProc = false
        /// Whether standard input is silent until it is asked for.
        var isInputQuiet = false
        /// The most that one write takes.
        var outputRoom = Int.max

        var output: [UInt8] = []
        var errors: [UInt8] = []
        var writes: [Int] = []
        var terminal = FakeTerminal.cooked
        var alarms = 0
        var held: UInt64 = 0

        /// False for a kernel without filters of system calls.
        var hasSeccomp = true
        var isFiltered = false

        /// Every call, and the descriptors and mappings that are still open.
        var calls: [Int] = []
        var descriptors: Set<Int> = []
        var mappings: Set<Int> = []
        /// The n-th call, from 1, fails with this.
        var failing: (call: Int, errno: Errno)?
    }
    private let state = Mutex(State())
    /// Another part of the kernel, which is asked first; nil from it for what is not its own.
    private let device: @Sendable (SystemCall) -> Int?

    static let cooked: UInt32 = 0x8A3B
    static let raw: UInt32 = 0x8A3B & ~0xB
    static let signalDescriptor = 1_001_000
    /// What standard input, output and error are when they are opened once more.
    private static let ownDescriptors = 1_001_100...1_001_102
    private static func standard(_ number: Int) -> Int {
        ownDescriptors.contains(number) ? number - ownDescriptors.lowerBound : number
    }

    convenience init(_ change: (inout State) -> Void = { _ in }) {
        self.init(device: { _ in nil }, change)
    }

    init(
        device: @escaping @Sendable (SystemCall) -> Int?,
        _ change: (inout State) -> Void = { _ in }
    ) {
        self.device = device
        state.withLock { change(&$0) }
    }

    var now: State { state.withLock { $0 } }

    func add(signal: Int32) { state.withLock { $0.signals.append(signal) } }
    func leaveSocket() { state.withLock { $0.isPeerGone = true } }
    func hangUp() {
        state.withLock {
            $0.isHungUp = true
            $0.input = []
            // SIGCONT, which the leader of the session gets.
            $0.signals += [18]
        }
    }
    func bringToForeground() { state.withLock { $0.isForeground = true } }

    /// Runs `body` with this terminal.
    func play<Value, Failure: Error>(
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try SystemCall.hooked({ self.answer($0) }, body)
    }

    private func answer(_ call: SystemCall) -> Int? {
        state.withLock { state in
            state.calls.append(call.number.rawValue)
            // The kernel never leaves a descriptor open, whatever close() returns.
            if let failing = state.failing, failing.call == state.calls.count, call.number != .close
            {
                return -Int(failing.errno.rawValue)
            }
            return device(call) ?? Self.answer(call, &state)
        }
    }

    private static func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (number, second, third, fourth, _, _) = call.arguments
        let isDescriptor = [.read, .write, .close, .ioctl].contains(call.number)
        let first = isDescriptor ? standard(number) : number
        switch call.number {
        case .open:
            let name = String(cString: UnsafePointer<CChar>(bitPattern: number)!)
            for standard in 0...2 where name == "/proc/self/fd/\(standard)" {
                return state.isClosedProc ? -2 : ownDescriptors.lowerBound + standard
            }
            return real(call, fourth, &state)
        case .fileStatus where first <= 2:
            // A terminal, a file, a pipe, or a socket.
            let isPipe = first == 1 && state.isPiped
            let isSocket = first == 1 && state.isSocket
            UnsafeMutableRawPointer(bitPattern: second)!.assumingMemoryBound(to: mini_stat.self)
                .pointee.mode =
                isSocket ? 0o140600 : isPipe ? 0o010600 : state.isTerminal ? 0o020600 : 0o100600
            return 0
        case .fileControl where first <= 2 && second == 3: return 1
        case .write where first == 1 || first == 2:
            return write(first, second, third, &state)
        case .read where first == 0:
            guard !state.input.isEmpty else { return 0 }
            let count = min(third, state.input[0].count)
            UnsafeMutableRawPointer(bitPattern: second)!.copyMemory(
                from: state.input[0], byteCount: count)
            state.input[0].removeFirst(count)
            if state.input[0].isEmpty { state.input.removeFirst() }
            return count
        case .read where first == signalDescriptor:
            guard !state.signals.isEmpty else { return -11 }
            let number = UInt32(state.signals.removeFirst())
            let record = UnsafeMutableRawPointer(bitPattern: second)!
            record.storeBytes(of: number, as: UInt32.self)
            record.storeBytes(of: state.signalCode, toByteOffset: 8, as: Int32.self)
            return third
        case .poll: return poll(second, UnsafeMutableRawPointer(bitPattern: first)!, &state)
        case .signalDescriptor: return signalDescriptor
        // The standard descriptors are the test process's own.
        case .close where first == signalDescriptor || first <= 2: return 0
        // So is what the sandbox finds beside ours.
        case .close where !state.descriptors.contains(first): return 0
        case .signalMask:
            let old = state.held
            if second != 0 {
                let mask = UnsafeRawPointer(bitPattern: second)!.load(as: UInt64.self)
                switch first {
                case 0: state.held |= mask
                case 1: state.held &= ~mask
                default: state.held = mask
                }
            }
            if third != 0 {
                UnsafeMutableRawPointer(bitPattern: third)!.storeBytes(of: old, as: UInt64.self)
            }
            return 0
        case .signalAction, .signalStack, .kill: return 0
        // The sandbox would be the test process's own.
        case .processControl, .seccomp, .closeRange, .limit, .oldLimit, .setGroups, .setUser,
            .setGroup, .setCapabilities:
            return sandbox(call, &state)
        // Returns twice: not from here.
        case .clone: return nil
        case .timeLeft:
            let times = UnsafeMutablePointer<Int>(bitPattern: second)!
            (times[2], times[3]) = state.alarmLeft
            return 0
        case .intervalTimer:
            state.alarms += 1
            return 0
        case .ioctl: return control(second, third, &state)
        default: return real(call, fourth, &state)
        }
    }

    private static func sandbox(_ call: SystemCall, _ state: inout State) -> Int {
        switch call.number {
        case .processControl where call.arguments.0 == 24 && call.arguments.1 > 40: return -22
        case .seccomp where !state.hasSeccomp: return -38
        case .processControl where call.arguments.0 == 22 && !state.hasSeccomp: return -22
        case .seccomp,
            .processControl where call.arguments.0 == 22:
            state.isFiltered = true
            return 0
        default: return 0
        }
    }

    private static func write(
        _ descriptor: Int, _ address: Int, _ count: Int, _ state: inout State
    ) -> Int {
        let bytes = UnsafeRawBufferPointer(
            start: UnsafeRawPointer(bitPattern: address), count: count)
        if descriptor == 2 {
            state.errors += bytes
            return count
        }
        if let errno = state.outputErrno { return -Int(errno.rawValue) }
        if state.refusals > 0 {
            state.refusals -= 1
            return -11
        }
        let taken = min(count, state.outputRoom)
        state.output += bytes.prefix(taken)
        state.writes.append(taken)
        return taken
    }

    private static func poll(
        _ count: Int, _ records: UnsafeMutableRawPointer, _ state: inout State
    ) -> Int {
        let records = UnsafeMutableBufferPointer(
            start: records.assumingMemoryBound(to: mini_pollfd.self), count: count)
        var ready = 0
        for index in records.indices {
            let isReady =
                switch Int(records[index].descriptor) {
                case 0: !state.isInputQuiet
                case 1:
                    state.isPeerGone
                        || (state.isOutputReady || state.outputFollowsInput && state.input.isEmpty)
                            && records[index].events != 0
                case 2: true
                case signalDescriptor: !state.signals.isEmpty
                default: false
                }
            // POLLHUP where nothing else was asked for.
            let events = records[index].events == 0 ? 0x10 : records[index].events
            records[index].returned = isReady ? events : 0
            ready += isReady ? 1 : 0
        }
        return ready
    }

    private static func control(_ request: Int, _ address: Int, _ state: inout State) -> Int {
        guard state.isTerminal else { return -25 }
        if state.isHungUp { return -5 }
        // TCXONC takes a number, not an address.
        if request == 0x540A { return 0 }
        let structure = UnsafeMutableRawPointer(bitPattern: address)!
        switch request {
        case 0x5401:
            structure.assumingMemoryBound(to: mini_termios.self).pointee.local = state.terminal
        case 0x5402:
            state.terminal = structure.assumingMemoryBound(to: mini_termios.self).pointee.local
        case 0x8004_5430: return -25
        default:
            let own = mini_syscall(SystemCall.Number.processGroup.rawValue, 0, 0, 0, 0, 0, 0)
            structure.storeBytes(of: Int32(own) + (state.isForeground ? 0 : 1), as: Int32.self)
        }
        return 0
    }

    /// The real kernel answers, and what it gives is noted.
    private static func real(_ call: SystemCall, _ flags: Int, _ state: inout State) -> Int {
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        let result = mini_syscall(
            call.number.rawValue, first, second, third, fourth, fifth, sixth)
        guard result >= 0 || result < -4095 else { return result }
        switch call.number {
        case .open: state.descriptors.insert(result)
        case _ where call.number.rawValue == SocketCall.socket.direct:
            state.descriptors.insert(result)
        case .pipe:
            let ends = UnsafeRawPointer(bitPattern: first)!
            for offset in [0, 4] {
                state.descriptors.insert(
                    Int(ends.load(fromByteOffset: offset, as: Int32.self)))
            }
        case .close: state.descriptors.remove(first)
        case .map where flags & 0x10 == 0: state.mappings.insert(result)
        case .unmap: state.mappings.remove(first)
        default: break
        }
        return result
    }
}

/// Bytes as a string, for messages.
func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
func string(_ text: Text) -> String { string(text.bytes) }
