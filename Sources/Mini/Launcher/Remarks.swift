// What a guest makes the launcher say. A guest can do what is worth a line a thousand times a second, and
// start anew as often: each thing is said once in the life of the launcher, and not without end.

/// Says lines that a guest has caused.
final class Remarks {
    private let say: (Text) -> Void
    private var said: [Text] = []
    static let most = 32

    init(_ say: @escaping (Text) -> Void) { self.say = say }

    func note(_ line: Text) {
        guard said.count <= Self.most, !said.contains(line) else { return }
        said.append(line)
        say(said.count <= Self.most ? line : "more of the kind is not told")
    }
}

/// Where a launch says what a person should read.
final class LaunchNotes {
    private let report: ((Text) -> Void)?
    private let remarks: Remarks
    private var isWarned = false

    init(report: ((Text) -> Void)?, remarks: Remarks) {
        self.report = report
        self.remarks = remarks
    }

    func remark(_ line: Text) { remarks.note(line) }

    /// Once: a guest must not be able to fill a log.
    func warn(_ line: Text) {
        if !isWarned { report?(line) }
        isWarned = true
    }
}
