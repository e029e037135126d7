// Raw mode on a terminal of the test's own, and signals of the test's own thread.

import CShim
import Testing

@testable import Mini

extension Signal {
    /// SIGPROF: one that nobody here waits for.
    fileprivate static let profiling = Signal(rawValue: 27)
}

/// Unlocks a pseudo-terminal.
/// - Parameter controller: /dev/ptmx, open.
/// - Returns: the terminal's file.
func unlockedTerminal(of controller: Int32) throws -> String {
    var unlock = Int32(0)
    var number = UInt32(0)
    let descriptor = Int(controller)
    try withKernel(&unlock) { (address) throws(Errno) -> Void in
        try SystemCall.make(.ioctl, descriptor, 0x4004_5431, address)  // TIOCSPTLCK
    }
    try withKernel(&number) { (address) throws(Errno) -> Void in
        try SystemCall.make(.ioctl, descriptor, 0x8004_5430, address)  // TIOCGPTN
    }
    return "/dev/pts/\(number)"
}

/// A pseudo-terminal: its two ends.
private struct PseudoTerminal: ~Copyable {
    let keyboard: Descriptor
    let terminal: Descriptor

    init() throws {
        let mode = Descriptor.OpenMode(rawValue: 0o2000402)  // also O_NOCTTY
        let keyboard = try Descriptor.open("/dev/ptmx", mode)
        let path = try unlockedTerminal(of: keyboard.number)
        let terminal = try Descriptor.open(Text(stringLiteral: path), mode)
        self.keyboard = keyboard
        self.terminal = terminal
    }
}

@Suite struct TerminalTests {
    @Test("raw mode turns off echo, lines and the keys that send signals, and nothing else")
    func raw() throws {
        let pair = try PseudoTerminal()
        let before = try Terminal.attributes(of: pair.terminal.number)
        #expect(before.local & 0xB == 0xB)
        do {
            var raw = try RawMode(pair.terminal.number)
            let during = try Terminal.attributes(of: pair.terminal.number)
            #expect(during.local == before.local & ~0xB)
            #expect(during.input == before.input)
            #expect(during.output == before.output)
            #expect(during.control == before.control)
            raw.leave()
            #expect(try Terminal.attributes(of: pair.terminal.number).local == before.local)
            try raw.enter()
            #expect(try Terminal.attributes(of: pair.terminal.number).local == during.local)
        }
        #expect(try Terminal.attributes(of: pair.terminal.number).local == before.local)
    }

    @Test("Enter stays a carriage return where that is wanted, and is a newline again afterwards")
    func returns() throws {
        let pair = try PseudoTerminal()
        let before = try Terminal.attributes(of: pair.terminal.number)
        #expect(before.input & 0x1C0 == 0x100)
        do {
            var raw = try RawMode(pair.terminal.number, passesReturns: true)
            let during = try Terminal.attributes(of: pair.terminal.number)
            #expect(during.input == before.input & ~0x1C0)
            var holder = raw.holder
            #expect(holder == .us)
            try Transfer.write(pair.keyboard.number, "\r\n")
            var keys: [UInt8] = [0, 0]
            #expect(try Transfer.read(pair.terminal.number, into: &keys) == 2)
            #expect(keys == [13, 10])
            raw.leave()
            #expect(try Terminal.attributes(of: pair.terminal.number).input == before.input)
            holder = raw.holder
            #expect(holder == .nobody)
            try raw.enter()
            #expect(try Terminal.attributes(of: pair.terminal.number).input == during.input)
        }
        #expect(try Terminal.attributes(of: pair.terminal.number).input == before.input)
    }

    @Test("what is no terminal is told from one")
    func isTerminal() throws {
        let pair = try PseudoTerminal()
        let file = try Descriptor.open("/dev/null", .readOnly)
        #expect(Terminal.isTerminal(pair.terminal.number))
        #expect(!Terminal.isTerminal(file.number))
        #expect(throws: Errno.notATerminal) { try Terminal.attributes(of: file.number) }
    }

    @Test("a terminal that does not control us is ours to use")
    func foreground() throws {
        let pair = try PseudoTerminal()
        #expect(Terminal.isForeground(pair.terminal.number))
    }
}

@Suite struct SignalsTests {
    /// Sends a signal to this thread alone.
    private func signalThread(_ signal: Signal) {
        let thread = mini_syscall(186, 0, 0, 0, 0, 0, 0)  // gettid
        let process = mini_syscall(39, 0, 0, 0, 0, 0, 0)
        _ = mini_syscall(234, process, thread, Int(signal.rawValue), 0, 0, 0)  // tgkill
    }

    @Test("signals that are held back come out of the queue; afterwards they are let through")
    func queue() throws {
        let before = try SignalSet().apply(.block)
        do {
            let queue = try SignalQueue(awaited: [.user2], silenced: [.backgroundRead])
            #expect(try queue.next() == nil)
            signalThread(.user2)
            #expect(try Poll.wait([Poll.Interest(queue.descriptor)], timeout: nil) == [true])
            #expect(try queue.next() == .user2)
            #expect(try queue.next() == nil)
            let held = try SignalSet().apply(.block)
            #expect(held.contains(.user2) && held.contains(.backgroundRead))
            // Nobody takes this one: it must not end us when it is let through.
            signalThread(.user2)
        }
        #expect(try SignalSet().apply(.block) == before)
    }

    @Test("those that end us are all but faults, what ends nobody, and what is used here")
    func ending() {
        // No signal is ignored.
        let ending = SystemCall.hooked({ $0.number == .signalAction ? 0 : nil }) {
            SignalSet.ending
        }
        let others: [Int32] = [4, 7, 8, 9, 11, 17, 18, 19, 20, 21, 22, 23, 28, 32, 33, 40]
        for number in 1...64 as ClosedRange<Int32> {
            #expect(ending.contains(Signal(rawValue: number)) == !others.contains(number))
        }
        // Whoever started us wants all of them ignored.
        let none = SystemCall.hooked({ call in
            guard call.number == .signalAction else { return nil }
            UnsafeMutableRawPointer(bitPattern: call.arguments.2)!.storeBytes(of: 1, as: Int.self)
            return 0
        }) { SignalSet.ending }
        #expect(none == SignalSet())
    }

    @Test("a signal that is readable and then not there is none, and is not waited for")
    func takenBack() throws {
        let queue = try SignalQueue(awaited: [.user2], silenced: [])
        // F_GETFL, O_NONBLOCK
        let flags = try SystemCall.make(.fileControl, Int(queue.descriptor), 3)
        #expect(flags & 0o4000 != 0)
        let descriptor = Int(queue.descriptor)
        let next: Signal? = try SystemCall.hooked({ call in
            switch call.number {
            case .poll:
                UnsafeMutablePointer<mini_pollfd>(bitPattern: call.arguments.0)![0].returned = 1
                return 1
            case .read where call.arguments.0 == descriptor:
                return -Int(Errno.again.rawValue)
            default: return nil
            }
        }) { try queue.next() }
        #expect(next == nil)
    }

    @Test("what else keeps a signal from being read is told")
    func unreadable() throws {
        let queue = try SignalQueue(awaited: [.user2], silenced: [])
        let descriptor = Int(queue.descriptor)
        signalThread(.user2)
        let error: Errno? = SystemCall.hooked({ call in
            call.number == .read && call.arguments.0 == descriptor
                ? -Int(Errno.inputOutput.rawValue) : nil
        }) {
            do throws(Errno) { _ = try queue.next() } catch { return error }
            return nil
        }
        #expect(error == .inputOutput)
        #expect(try queue.next() == .user2)
    }

    @Test("a set holds what was put into it")
    func sets() {
        var set: SignalSet = [.hangUp, .profiling]
        #expect(set.mask == 1 | 1 << 26)
        set.remove(.hangUp)
        #expect(!set.contains(.hangUp) && set.contains(.profiling))
    }

    @Test("a signal is ignored only if somebody said so")
    func ignored() { #expect(!Signal.profiling.isIgnored) }
}
