// The console of process 1: where it says what it does and what is wrong. The kernel hands it one if
// the initramfs has /dev/console; with this binary as the only file there is none, and it is
// opened as soon as devtmpfs is there. Writing never holds process 1 up for long: a user may have
// stopped the output with ^S and gone home. Source: console(4), the kernel's
// console_on_rootfs (init/main.c).

enum InitConsole {
    static let path: Text = "/dev/console"
    private static let output: Int32 = 2
    private static let patience = Nanoseconds.milliseconds(1000)

    /// Writes one line, with the applet's name in front.
    static func say(_ text: Text) {
        if isReady { try? Transfer.write(output, "mini-init: \(text)\n") }
    }

    /// Writes what a program has written, whole lines or not, for as long as the console takes it.
    static func show(_ text: Text) {
        var rest = text
        if let last = rest.bytes.last, last != 10 { rest.append(10) }
        while !rest.bytes.isEmpty, isReady {
            let part = rest.prefix(min(rest.bytes.count, 256))
            try? Transfer.write(output, part)
            rest = rest.dropping(part.bytes.count)
        }
    }

    private static var isReady: Bool {
        let ready = try? Poll.wait([Poll.Interest(output, .writable)], timeout: patience)
        return ready?.first ?? true
    }

    /// Gives the numbers 0 to 2 a console where they have none, and one with a name where theirs is
    /// hidden: the kernel opens /dev/console before devtmpfs lies over it, and `tty` and all that ask as
    /// it does would find no name for it.
    /// Without a console they get /dev/null: a file that a program opens must not be what it takes for
    /// its output.
    static func open() throws(InitError) {
        if isOpen(output) {
            if isHidden { try? take(path) }
            return
        }
        do throws(Errno) { try take(path) } catch {
            try? take("/dev/null", keepsOthers: true)
            throw .host("open", name: path, error)
        }
    }

    private static func take(_ path: Text, keepsOthers: Bool = false) throws(Errno) {
        // The number may be 0, 1 or 2 itself, and then must stay open.
        let number = try Descriptor.openNumber(path, .console)
        for standard in 0...2 as ClosedRange<Int32> where standard != number {
            if keepsOthers && isOpen(standard) { continue }
            try Process.duplicate(number, as: standard)
        }
        if number > 2 { _ = Descriptor(owning: number) }
    }

    /// False if nothing can be said there: the number was closed, or filled with /dev/null or the root when
    /// the program began.
    private static func isOpen(_ number: Int32) -> Bool {
        guard let status = try? FileStatus.of(number) else { return false }
        return status.number != .null && status.kind != .directory
    }
    /// True if there is another /dev/console by now than the one that is open.
    private static var isHidden: Bool {
        guard let open = try? FileStatus.of(output), open.number == .console,
            let named = try? FileStatus.of(path, followsLink: true), named.number == .console
        else { return false }
        return named.identity != open.identity
    }

    /// Waits, but not for ever, until everything is on its way.
    static func drain() { Terminal.drain(output, patience: patience) }
}
