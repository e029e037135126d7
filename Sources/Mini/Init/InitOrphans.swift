// Programs that fork away: what a program of the table leaves behind when it ends, as a daemon does that goes into the
// background. The kernel gives such processes to process 1, which never knew of them. Source: proc(5), credentials(7).

/// A process that goes on without the program that it came from.
struct InitOrphan: Equatable {
    var id: ProcessID
    var name: Text
}

enum InitOrphans {
    /// Names the variable that tells whose a process is.
    private static let variable: StaticString = "MINI_INIT_PROGRAM"
    /// More than most environments have: what is after that is not looked at.
    private static let longestEnvironment = 1 << 17

    /// - Parameter number: no two programs have the same.
    static func mark(_ number: UInt64) -> Text { "\(variable)=\(number)" }

    /// Looks for one of a program that has ended just now.
    /// - Parameters:
    ///   - mark: what the program was given.
    ///   - others: what process 1 has started and still knows.
    static func find(
        of program: ProcessID, marked mark: Text?, besides others: [ProcessID]
    ) -> InitOrphan? {
        guard let names = try? Files.names(in: "/proc") else { return nil }
        for name in names where name.number != nil {
            guard let stat = try? SmallFile.read("/proc/\(name)/stat"),
                let orphan = orphan(
                    stat, of: program, besides: others,
                    isMarked: { mark.map { has($0, name) } ?? false })
            else { continue }
            return orphan
        }
        return nil
    }

    private static func has(_ mark: Text, _ process: Text) -> Bool {
        let environment = try? SmallFile.read(
            "/proc/\(process)/environ", limit: longestEnvironment)
        return environment?.bytes[...].split(separator: 0).contains { $0.elementsEqual(mark.bytes) }
            ?? false
    }

    /// Judges by one process's line in /proc: a child of process 1 that is in the program's session, or has begun one of
    /// its own, as a daemon does, and has the program's mark. (Anything less can be a process of another program.)
    static func orphan(
        _ stat: Text, of program: ProcessID, besides others: [ProcessID], isMarked: () -> Bool
    ) -> InitOrphan? {
        guard let (child, session, isDead) = child(stat), !isDead, child.id != program,
            !others.contains(child.id), !others.contains(session), session == program || isMarked()
        else { return nil }
        return child
    }

    /// True if process 1 has no children but these, of whom there is one, and those that wait for its own end. One that
    /// is dead and not waited for counts: what it has left behind may not be in the list yet.
    static func areAlone(_ keepers: [ProcessID]) -> Bool {
        guard let names = try? Files.names(in: "/proc") else { return false }
        var isAny = !keepers.isEmpty
        for name in names where name.number != nil {
            let stat: Text
            do throws(Errno) { stat = try SmallFile.read("/proc/\(name)/stat") } catch {
                // It has gone.
                if error == .noSuchFile || error == .noProcess { continue }
                return false
            }
            guard let (child, _, _) = child(stat), !keepers.contains(child.id) else { continue }
            guard child.name == DeadPorts.name else { return false }
            isAny = true
        }
        return isAny
    }

    /// A child of process 1, its session, and whether it has ended.
    @inline(never)
    private static func child(_ stat: Text) -> (InitOrphan, session: ProcessID, isDead: Bool)? {
        // The name stands in brackets and can have anything in it.
        guard let start = stat.firstIndex(of: UInt8(ascii: "(")),
            let end = stat.lastIndex(of: UInt8(ascii: ")")), start < end,
            end + 2 <= stat.bytes.count,
            start > 0, let id = stat.prefix(start - 1).process
        else { return nil }
        let fields = stat.bytes[(end + 2)...].split(separator: UInt8(ascii: " ")).prefix(4)
            .map { Text(bytes: Array($0)) }
        // State, parent, group, session.
        guard fields.count == 4, fields[1] == "1", let session = fields[3].process
        else { return nil }
        let child = InitOrphan(id: id, name: stat.part(start + 1..<end))
        return (child, session, isDead: fields[0] == "Z")
    }
}

extension Text {
    fileprivate var process: ProcessID? {
        number.flatMap { Int32(exactly: $0) }.map { ProcessID(rawValue: $0) }
    }
}
