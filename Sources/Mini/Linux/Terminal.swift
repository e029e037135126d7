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

    private static let signalKeys: UInt32 = 0x1  // ISIG
    private static let lines: UInt32 = 0x2  // ICANON
    private static let echo: UInt32 = 0x8  // ECHO

    /// - Throws: ENOTTY if the descriptor is no terminal.
    init(_ descriptor: Int32) throws(Errno) {
        let saved = try Terminal.attributes(of: descriptor)
        try Rescue.prepare(descriptor, saved)
        do throws(Errno) { try Self.makeRaw(descriptor, from: saved) } catch {
            Rescue.forget()
            throw error
        }
        self.descriptor = descriptor
        self.saved = saved
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

    deinit {
        leave()
        Rescue.forget()
    }
}

/// What restores the terminal when the program itself faults.
private enum Rescue {
    /// Written only while one terminal is in raw mode, read by the handler.
    nonisolated(unsafe) private static var descriptor: Int32 = -1
    nonisolated(unsafe) private static var saved = mini_termios()
    nonisolated(unsafe) private static var isInstalled = false

    private static let onStack = 0x0800_0000
    private static let hasRestorer = 0x0400_0000
    /// The second time is the last: the fault repeats, and ends us with the right signal.
    private static let onlyOnce = 0x8000_0000 as UInt
    private static let stackSize = 65536

    static func prepare(_ descriptor: Int32, _ saved: mini_termios) throws(Errno) {
        unsafe Self.saved = saved
        unsafe Self.descriptor = descriptor
        guard unsafe !isInstalled else { return }
        // A handler stack of its own, because the fault may be that ours is used up. Kept for
        // as long as the process lives.
        let start = try SystemCall.make(.map, 0, stackSize, 3, 0x22, -1, 0)
        // stack_t: start, flags, size.
        var stack = (start, 0, stackSize)
        try withKernel(&stack) { (address) throws(Errno) -> Void in
            try SystemCall.make(.signalStack, address, 0)
        }
        for signal in [
            Signal.illegalInstruction, .busError, .arithmetic, .segmentationFault,
        ] {
            var action = mini_sigaction()
            action.handler = { _ in Rescue.restore() }
            action.flags = UInt(onStack | hasRestorer) | onlyOnce
            action.restorer = mini_signal_return
            try withKernel(&action) { (address) throws(Errno) -> Void in
                try SystemCall.make(
                    .signalAction, Int(signal.rawValue), address, 0, SignalSet.size)
            }
        }
        unsafe isInstalled = true
    }

    static func forget() { unsafe descriptor = -1 }

    private static func restore() {
        guard unsafe descriptor >= 0 else { return }
        _ = try? unsafe Terminal.setAttributes(of: descriptor, saved)
    }
}
