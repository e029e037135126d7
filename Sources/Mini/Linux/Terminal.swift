// The terminal: raw mode, and the promise that it never outlives us. `RawMode` puts the old
// settings back when it goes; a handler does for the faults that let nothing go in order (a trap
// of our own). Which process may touch the terminal is job control's business: ask `isForeground` first.
// Sources: termios(3), tty_ioctl(4), asm-generic/{ioctls,termbits}.h, sigaltstack(2).

import CShim

enum Terminal {
    static let getAttributes = 0x5401  // TCGETS
    static let setAttributes = 0x5402  // TCSETS
    static let getForegroundGroup = 0x540F  // TIOCGPGRP

    /// The settings.
    /// - Throws: ENOTTY if the descriptor is no terminal, EIO if it was hung up.
    static func attributes(of descriptor: Int32) throws(Errno) -> mini_termios {
        var attributes = mini_termios()
        try withKernel(&attributes) { (address) throws(Errno) -> Void in
            try SystemCall.retrying(.ioctl, Int(descriptor), getAttributes, address)
        }
        return attributes
    }

    /// Changes the settings at once.
    static func setAttributes(
        of descriptor: Int32, _ attributes: mini_termios
    ) throws(Errno) {
        var attributes = attributes
        try withKernel(&attributes) { (address) throws(Errno) -> Void in
            try SystemCall.retrying(.ioctl, Int(descriptor), setAttributes, address)
        }
    }

    /// True for a terminal; false for anything else, and for a descriptor that is not open.
    static func isTerminal(_ descriptor: Int32) -> Bool {
        (try? attributes(of: descriptor)) != nil
    }

    /// True for the end of a terminal that plays the keyboard and the screen.
    static func isController(_ descriptor: Int32) -> Bool {
        var number = Int32(0)
        let asked: Int? = try? withKernel(&number) { (address) throws(Errno) in
            try SystemCall.make(.ioctl, Int(descriptor), getNumber, address)
        }
        return asked != nil
    }
    private static let getNumber = Int(bitPattern: UInt(0x8004_5430))  // TIOCGPTN

    /// Lets every byte through as it is, without echo, from now on.
    /// - Throws: ENOTTY if it is none.
    static func makeRaw(_ descriptor: Int32) throws(Errno) {
        var raw = try attributes(of: descriptor)
        // IGNBRK to IXON, without IUTF8 and its like; OPOST; ISIG, ICANON, ECHO, ECHONL, IEXTEN; CS8, no parity.
        raw.input &= ~0x5EB
        raw.output &= ~0x1
        raw.local &= ~0x804B
        raw.control = raw.control & ~0x130 | 0x30
        raw.characters.6 = 1
        raw.characters.5 = 0
        try setAttributes(of: descriptor, raw)
    }

    /// Lets output that was stopped go on, as ^Q does. What a ^S has stopped goes on only when it was
    /// stopped by this call, too.
    static func proceed(_ descriptor: Int32) {
        for action in 0...1 {  // TCOOFF, TCOON
            _ = try? SystemCall.make(.ioctl, Int(descriptor), flowControl, action)
        }
    }
    static let flowControl = 0x540A  // TCXONC

    /// Lets output that was stopped go on, and waits until it is out or the time is over.
    static func drain(_ descriptor: Int32, patience: Nanoseconds) {
        proceed(descriptor)
        let deadline = Deadline.after(patience)
        var waiting = Int32(0)
        while !deadline.isOver {
            let asked: Int? = try? withKernel(&waiting) { (address) throws(Errno) in
                try SystemCall.make(.ioctl, Int(descriptor), 0x5411, address)  // TIOCOUTQ
            }
            if asked == nil || waiting == 0 { return }
            Clock.sleep(.milliseconds(5))
        }
    }

    /// Puts back the settings from before raw mode: for a handler of a fault, after which nothing follows.
    static func rescue() { Rescue.putBack() }

    /// False if job control has given the terminal to others. True for a terminal that does
    /// not control this process: job control does not apply to it.
    static func isForeground(_ descriptor: Int32) -> Bool {
        var group = Int32(0)
        let asked: Int? = try? withKernel(&group) { (address) throws(Errno) in
            try SystemCall.make(.ioctl, Int(descriptor), getForegroundGroup, address)
        }
        guard asked != nil, let own = Process.group else { return true }
        return Int(group) == own
    }
}

/// A terminal whose keys arrive one by one, without echo, ^C among them; as it was before
/// when this goes. What others set meanwhile stays: a pager at the other end of our output, say, has the
/// terminal for itself as long as it likes.
struct RawMode: ~Copyable {
    private let descriptor: Int32
    /// Others that we were started with may use the terminal, too.
    private let isShared: Bool
    /// Enter stays a carriage return, as on a serial line; else it is a newline.
    private let passesReturns: Bool
    private var saved: mini_termios
    /// As the terminal has them since we set them.
    private var ours: mini_termios

    private static let signalKeys: UInt32 = 0x1  // ISIG
    private static let lines: UInt32 = 0x2  // ICANON
    private static let echo: UInt32 = 0x8  // ECHO
    private static let changed = signalKeys | lines | echo
    private static let newlines: UInt32 = 0x1C0  // INLCR, IGNCR, ICRNL

    /// Whose settings the terminal has.
    enum Holder: Equatable {
        case us
        /// No program's: it takes lines, as for a shell.
        case nobody
        case others
    }

    /// - Parameters: see above.
    /// - Throws: ENOTTY if the descriptor is no terminal.
    init(
        _ descriptor: Int32, isShared: Bool = false, passesReturns: Bool = false
    ) throws(Errno) {
        let saved = try Terminal.attributes(of: descriptor)
        try Rescue.install()
        unsafe Rescue.saved = saved
        unsafe Rescue.descriptor = descriptor
        do throws(Errno) {
            ours = try Self.makeRaw(descriptor, from: saved, passesReturns)
        } catch {
            unsafe Rescue.descriptor = -1
            throw error
        }
        self.descriptor = descriptor
        self.isShared = isShared
        self.passesReturns = passesReturns
        self.saved = saved
    }

    /// Makes everything ready for a terminal that may be taken later.
    static func prepare() throws(Errno) { try Rescue.install() }

    /// True if the terminal takes lines, as for a shell, so that no program has taken it.
    static func isFree(_ descriptor: Int32) -> Bool {
        ((try? Terminal.attributes(of: descriptor))?.local ?? lines) & lines != 0
    }

    /// Nil if it cannot be told: the terminal was hung up.
    var holder: Holder? {
        guard let now = try? Terminal.attributes(of: descriptor) else { return nil }
        if areOurs(now) { return .us }
        return now.local & Self.lines != 0 ? .nobody : .others
    }

    /// Sets raw mode again, after another program had the terminal. At our end it gets the settings that that one left.
    mutating func enter() throws(Errno) {
        let now = try Terminal.attributes(of: descriptor)
        if now.local & Self.lines != 0 {
            saved = now
            unsafe Rescue.saved = now
        }
        ours = try Self.makeRaw(descriptor, from: saved, passesReturns)
    }

    /// - Returns: the settings as the terminal took them.
    private static func makeRaw(
        _ descriptor: Int32, from saved: mini_termios, _ passesReturns: Bool
    ) throws(Errno) -> mini_termios {
        var raw = saved
        raw.local &= ~changed
        if passesReturns { raw.input &= ~newlines }
        raw.characters.6 = 1  // VMIN: one byte is enough to return from read()
        raw.characters.5 = 0  // VTIME
        try Terminal.setAttributes(of: descriptor, raw)
        return try Terminal.attributes(of: descriptor)
    }

    /// True if these are our settings, as far as a program changes any that wants the keys.
    private func areOurs(_ now: mini_termios) -> Bool {
        now.local == ours.local && now.characters.6 == ours.characters.6
            && now.characters.5 == ours.characters.5
            && (now.input ^ ours.input) & Self.newlines == 0
            && (now.output ^ ours.output) & Self.processing == 0
    }
    private static let processing: UInt32 = 0x1  // OPOST

    /// Puts the old settings back, for the time that others have the terminal.
    func leave() {
        // A terminal that was given to others is theirs: they have set it as they like.
        guard Terminal.isForeground(descriptor),
            var now = try? Terminal.attributes(of: descriptor)
        else { return }
        guard !isShared || areOurs(now) else { return }
        // Other settings that were changed meanwhile stay.
        now.local |= saved.local & Self.changed
        if passesReturns { now.input |= saved.input & Self.newlines }
        now.characters.6 = saved.characters.6
        now.characters.5 = saved.characters.5
        _ = try? Terminal.setAttributes(of: descriptor, now)
    }

    deinit {
        leave()
        unsafe Rescue.descriptor = -1
    }
}

/// What restores the terminal when the program itself faults. It is put in place once, and stays: then
/// neither taking the terminal nor giving it back needs a call for it.
private enum Rescue {
    /// What the handler reads; -1 for nothing to restore.
    nonisolated(unsafe) static var descriptor: Int32 = -1
    nonisolated(unsafe) static var saved = mini_termios()
    nonisolated(unsafe) private static var isInstalled = false

    /// SIGBUS has a handler of its own: FileFaults.swift.
    private static let faults: [Signal] = [.illegalInstruction, .arithmetic, .segmentationFault]
    /// The second time is the last, and comes at once: SA_RESETHAND, SA_NODEFER.
    private static let onlyOnce: UInt = 0x8000_0000 | 0x4000_0000

    static func install() throws(Errno) {
        if unsafe isInstalled { return }
        // stack_t: start, flags, size. A stack of the handler's own, because the fault may be that
        // ours is used up.
        var stack = (
            Int(bitPattern: unsafe mini_rescue_stack()), 0, Int(MINI_RESCUE_STACK_SIZE)
        )
        try withKernel(&stack) { (address) throws(Errno) -> Void in
            try SystemCall.make(.signalStack, address, 0)
        }
        var action = mini_sigaction()
        action.handler = { Rescue.restore(Signal(rawValue: $0)) }
        action.flags = Signal.onOwnStack | Signal.returnsByItself | onlyOnce
        action.restorer = mini_signal_return
        for fault in faults { try fault.set(action) }
        unsafe isInstalled = true
    }

    static func putBack() {
        if unsafe descriptor >= 0 {
            try? unsafe Terminal.setAttributes(of: descriptor, saved)
        }
    }

    private static func restore(_ signal: Signal) {
        putBack()
        // It is now what it was without a handler, and ends us here.
        try? signal.raise()
    }
}
