// Programs that fork away: what a program of the table leaves behind when it ends, as a daemon does that goes into the
// background. The kernel gives such processes to process 1, which never knew of them. Source: proc(5), credentials(7).

/// A process that goes on without the program that it came from.
struct InitOrphan: Equatable {
    var id: ProcessID
    var name: Text
}

enum InitOrphans {
    /// Looks for one of a program that has ended just now.
    /// - Parameter others: what process 1 has started and still knows.
    static func find(of program: ProcessID, besides others: [ProcessID]) -> InitOrphan? {
        guard let names = try? Files.names(in: "/proc") else { return nil }
        for name in names where name.number != nil {
            guard let stat = try? SmallFile.read("/proc/\(name)/stat"),
                let orphan = orphan(stat, of: program, besides: others)
            else { continue }
            return orphan
        }
        return nil
    }

    /// Judges by one process's line in /proc: a child of process 1 that has a session of the program's, or a
    /// younger one. (A daemon begins a session of its own, and numbers grow.)
    static func orphan(
        _ stat: Text, of program: ProcessID, besides others: [ProcessID]
    ) -> InitOrphan? {
        // The name stands in brackets and can have anything in it.
        guard let start = stat.firstIndex(of: UInt8(ascii: "(")),
            let end = stat.lastIndex(of: UInt8(ascii: ")")), start < end,
            end + 2 <= stat.bytes.count,
            start > 0, let id = stat.prefix(start - 1).signed
        else { return nil }
        let fields = stat.bytes[(end + 2)...].split(separator: UInt8(ascii: " ")).prefix(4)
            .map { Text(bytes: Array($0)) }
        // State, parent, group, session.
        guard fields.count == 4, !(fields[0] == "Z"), fields[1] == "1",
            let session = fields[3].signed, session >= program.rawValue, id != program.rawValue,
            !others.contains(where: { $0.rawValue == id || $0.rawValue == session })
        else { return nil }
        return InitOrphan(id: ProcessID(rawValue: id), name: stat.part(start + 1..<end))
    }
}

extension Text {
    fileprivate var signed: Int32? { number.flatMap { Int32(exactly: $0) } }
}
