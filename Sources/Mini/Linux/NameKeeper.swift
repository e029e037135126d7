// Removes the name of a socket when this process has ended, by whatever end. A process in a sandbox could not: to
// remove a file is a right that somebody who has taken it over would use for others. So a process of its own does
// it, which was started before the sandbox, reads nothing but the end of a pipe, and has no other descriptor.
// Source: pipe(7), fork(2).

final class NameKeeper {
    /// The keeper finds its end when this process has closed it.
    private let line: Int32
    /// Ends when the keeper has.
    private let answer: Int32
    private static let patience = Nanoseconds.milliseconds(1000)

    /// The descriptors that must stay open.
    var descriptors: [Int32] { [line, answer] }

    /// - Parameter name: of a file that is there.
    init(_ name: Text) throws(Errno) {
        let identity = try FileStatus.of(name, followsLink: false).identity
        let toKeeper = try PassedFiles.pipe()
        let fromKeeper = try PassedFiles.pipe()
        let process: ProcessID?
        do throws(Errno) { process = try Process.fork() } catch {
            for ends in [toKeeper, fromKeeper] {
                Descriptor.closeNumber(ends.reading)
                Descriptor.closeNumber(ends.writing)
            }
            throw error
        }
        guard process != nil else {
            Self.keep(name, identity, toKeeper.reading, fromKeeper.writing)
        }
        Descriptor.closeNumber(toKeeper.reading)
        Descriptor.closeNumber(fromKeeper.writing)
        (line, answer) = (toKeeper.writing, fromKeeper.reading)
    }

    /// Has the name removed, and waits for that.
    deinit {
        Descriptor.closeNumber(line)
        _ = try? Poll.wait([Poll.Interest(answer)], timeout: Self.patience)
        Descriptor.closeNumber(answer)
    }

    /// What the other process does.
    private static func keep(
        _ name: Text, _ identity: FileIdentity, _ line: Int32, _ answer: Int32
    ) -> Never {
        var all = SignalSet()
        all.mask = .max
        _ = try? all.apply(.block)
        // Nobody who reads our output shall wait for this process.
        for number in 0...2 as ClosedRange<Int32> where number != line && number != answer {
            Descriptor.closeNumber(number)
        }
        Sandbox.closeOthers([line, answer])
        var byte: [UInt8] = [0]
        while (try? Transfer.read(line, into: &byte)) ?? 0 > 0 {}
        // Another socket may have the name by now.
        if (try? FileStatus.of(name, followsLink: false))?.identity == identity {
            try? Files.remove(name)
        }
        Process.exit(0)
    }
}
