// The terminal: raw mode, and the promise that it never outlives us. `RawMode` puts the old
// settings back when it goes; a handler does for the faults that let nothing go in order
// (a trap of our own, a mapped file that shrinks under us). Which process may touch the
// terminal is job control's business: ask `isForeground` first.
// Sources: termios(3), tty_ioctl(4), asm-generic/{ioctls,termbits}.h, sigaltstack(2).

import CShim

enum Terminal {
    private static let getAttributes = 0x5401  // TCGETS
    private static let setAttributes = 0x5402  // TCSETS
    private static let getForegroundGroup = 0x540F  // TIOCGPGRP

    /// The settings.
    /// - Throws: ENOTTY if the descriptor is no terminal, EIO if it was hung up.
    static func attributes(of descriptor: Int32) throws(Errno) -> mini_termios {
        var attributes = mini_termios()
        try withKernel(&attributes) { (address) throws(Errno) -> Void in
            try SystemCall.retrying(.control, Int(descriptor), getAttributes, address)
        }
        return attributes
    }

    /// Changes the settings at once.
    static func setAttributes(
        of descriptor: Int32, _ attributes: mini_termios
    ) throws(Errno) {
        var attributes = attributes
        try withKernel(&attributes) { (address) throws(Errno) -> Void in
            try SystemCall.retrying(.control, Int(descriptor), setAttributes, address)
        }
    }

    static func isTerminal(_ descriptor: Int32) -> Bool {
        (try? attributes(of: descriptor)) != nil
    }

    /// Lets output that was stopped go on, and waits until it is out or the time is over.
    static func drain(_ descriptor: Int32, patience: Nanoseconds) {
        _ = try? SystemCall.make(.control, Int(descriptor), 0x540A, 1)  // TCXONC, TCOON
        let deadline = Deadline.after(patience)
        var waiting = Int32(0)
        while !deadline.isOver {
            let asked: Int? = try? withKernel(&waiting) { (address) throws(Errno) in
                try SystemCall.make(.control, Int(descriptor), 0x5411, address)  // TIOCOUTQ
            }
            if asked == nil || waiting == 0 { return }
            Clock.sleep(.milliseconds(5))
        }
    }

    /// False if job control has given the terminal to others. True for a terminal that does
    /// not control this process: nobody shares it by such rules.
    static func isForeground(_ descriptor: Int32) -> Bool {
        var group = Int32(0)
        let asked: Int? = try? withKernel(&group) { (address) throws(Errno) in
            try SystemCall.make(.control, Int(descriptor), getForegroundGroup, address)
        }
        guard asked != nil, let own = try? SystemCall.make(.processGroup) else { return true }
        return Int(group) == own
    }
}

/// A terminal whose keys arrive one by one, without echo, ^C among them; as it was before
/// when this goes.
struct RawMode: ~Copyable {
    private let descriptor: Int32
    private let saved: mini_termios
    private let rescue: Rescue

    private static let signalKeys: UInt32 = 0x1  // ISIG
    private static let lines: UInt32 = 0x2  // ICANON
    private static let echo: UInt32 = 0x8  // ECHO

    /// - Throws: ENOTTY if the descriptor is no terminal.
    init(_ descriptor: Int32) throws(Errno) {
        let saved = try Terminal.attributes(of: descriptor)
        let rescue = try Rescue.make(descriptor, saved)
        try Self.makeRaw(descriptor, from: saved)
        self.descriptor = descriptor
        self.saved = saved
        self.rescue = rescue
    }

    /// Sets raw mode again, after somebody else had the terminal.
    func enter() throws(Errno) { try Self.makeRaw(descriptor, from: saved) }

    private static func makeRaw(
        _ descriptor: Int32, from saved: mini_termios
    ) throws(Errno) {
        var raw = saved
        raw.local &= ~(signalKeys | lines | echo)
        raw.characters.6 = 1  // VMIN: one byte is enough to return from read()
        raw.characters.5 = 0  // VTIME
        try Terminal.setAttributes(of: descriptor, raw)
    }

    /// Puts the old settings back, for the time that others have the terminal.
    func leave() {
        // A terminal that was given to others is theirs: they have set it as they like.
        if Terminal.isForeground(descriptor) {
            _ = try? Terminal.setAttributes(of: descriptor, saved)
        }
    }

    deinit { leave() }
}

/// What restores the terminal when the program itself faults. There is one at a time.
private struct Rescue: ~Copyable {
    /// A stack of the handler's own, because the fault may be that ours is used up.
    private let stack: Mapping

    /// What the handler reads; -1 for nothing to restore.
    nonisolated(unsafe) private static var descriptor: Int32 = -1
    nonisolated(unsafe) private static var saved = mini_termios()

    private static let faults: [Signal] = [
        .illegalInstruction, .busError, .arithmetic, .segmentationFault,
    ]
    private static let onStack: UInt = 0x0800_0000
    /// The second time is the last.
    private static let onlyOnce: UInt = 0x8000_0000
    private static let stackSize = 65536
    private static let disabled = 2  // SS_DISABLE

    private init(stack: consuming Mapping) { self.stack = stack }

    static func make(_ descriptor: Int32, _ saved: mini_termios) throws(Errno) -> Rescue {
        let rescue = Rescue(stack: try Mapping.anonymous(count: stackSize))
        unsafe Self.saved = saved
        unsafe Self.descriptor = descriptor
        try useStack(Int(bitPattern: unsafe rescue.stack.start), flags: 0)
        var action = mini_sigaction()
        action.handler = { Rescue.restore(Signal(rawValue: $0)) }
        action.flags = onStack | Signal.returnsByItself | onlyOnce
        action.restorer = mini_signal_return
        try setAction(action)
        return rescue
    }

    deinit {
        unsafe Self.descriptor = -1
        try? Self.setAction(mini_sigaction())
        try? Self.useStack(0, flags: Self.disabled)
    }

    private static func useStack(_ start: Int, flags: Int) throws(Errno) {
        // stack_t: start, flags, size.
        var stack = (start, flags, stackSize)
        try withKernel(&stack) { (address) throws(Errno) -> Void in
            try SystemCall.make(.signalStack, address, 0)
        }
    }

    private static func setAction(_ action: mini_sigaction) throws(Errno) {
        for fault in faults { try fault.set(action) }
    }

    private static func restore(_ signal: Signal) {
        if unsafe descriptor >= 0 {
            try? unsafe Terminal.setAttributes(of: descriptor, saved)
        }
        // It is held back until the handler is done, and is then what it was without one.
        try? signal.raise()
    }
}
