// The process itself: its arguments, its end.

import CShim

/// This process and its children.
enum Process {
    /// This process's number, without a call once `remember` has been called.
    static var identity: Int {
        unsafe remembered?.process ?? (try? SystemCall.make(.processID)) ?? 0
    }

    /// Its process group; nil if the kernel does not tell.
    static var group: Int? {
        unsafe remembered?.group ?? (try? SystemCall.make(.processGroup))
    }

    nonisolated(unsafe) private static var remembered: (process: Int, group: Int)?

    /// Keeps both, so that no call is needed later, as in a sandbox: for a process that will not fork
    /// any more, before it does anything. Job control does not change the group of a program that runs
    /// already (setpgid(2), EACCES).
    static func remember() {
        guard let process = try? SystemCall.make(.processID),
            let group = try? SystemCall.make(.processGroup)
        else { return }
        unsafe remembered = (process, group)
    }

    /// The words of the command line, the program's name first.
    static func arguments() -> [Text] {
        (0..<mini_argument_count()).map { word($0) ?? Text() }
    }

    /// The value of a variable of the environment; nil without one.
    static func environment(_ name: StaticString) -> Text? {
        if let variable = unsafe given.last(where: { nameOfVariable($0) == name }) {
            return variable.dropping(name.utf8CodeUnitCount + 1)
        }
        // The variables lie after the arguments and the NULL that ends them.
        var index = mini_argument_count() + 1
        while let variable = word(index) {
            index += 1
            if let equals = variable.firstIndex(of: UInt8(ascii: "=")),
                variable.prefix(equals) == name
            {
                return variable.dropping(equals + 1)
            }
        }
        return nil
    }

    /// Variables that this process has got after its start.
    nonisolated(unsafe) private(set) static var given: [Text] = []

    /// Adds words `NAME=VALUE` to the environment.
    static func give(_ variables: [Text]) { unsafe given += variables }

    /// What stands in front of a variable's equals sign.
    static func nameOfVariable(_ variable: Text) -> Text {
        variable.prefix(variable.firstIndex(of: UInt8(ascii: "=")) ?? variable.bytes.count)
    }

    private static func word(_ index: Int) -> Text? {
        guard let start = unsafe mini_argument(index) else { return nil }
        return unsafe Text(cString: UnsafeRawPointer(start))
    }

    /// Fills the numbers 0 to 2 where one was closed at our start: a file that is opened
    /// later must not be taken for the console. Reading there finds the end, writing fails.
    /// Before there is a /dev/null, as for process 1 of an initramfs, the root takes the
    /// number, opened for neither (O_PATH).
    static func fillStandardDescriptors() {
        for number in 0...2 as ClosedRange<Int32> {
            do throws(Errno) { _ = try FileStatus.of(number) } catch {
                // The lowest free number is the one that is missing; it stays open.
                let (nothing, root): (StaticString, StaticString) = ("/dev/null", "/")
                let opened =
                    unsafe (try? SystemCall.make(.open, Int(bitPattern: nothing.utf8Start), 0))
                    ?? (try? SystemCall.make(
                        .open, Int(bitPattern: root.utf8Start), 0o10000000))
                // Another one: none was missing, just the asking failed.
                if let opened, opened > 2 { _ = try? SystemCall.make(.close, opened) }
            }
        }
    }

    /// Closes standard output, so that its reader finds its end. Its number stands for nothing
    /// then, and is not given to another file.
    /// - Parameter nothing: /dev/null, opened before; -1 where there is none.
    static func endStandardOutput(_ nothing: Int32) {
        if nothing < 0 || (try? duplicate(nothing, as: 1)) == nil {
            _ = try? SystemCall.make(.close, 1)
        }
    }

    /// Ends every thread with this code (0…255).
    static func exit(_ code: Int32) -> Never {
        while true { _ = try? SystemCall.make(.exitGroup, Int(code)) }
    }
}
