// A process of its own that answers one question, for a process in a sandbox that may not find out by itself: a byte
// comes, a byte goes. It was started before the sandbox, keeps the descriptors that it needs, and reads nothing else: who
// has taken over the process that asks can ask, and nothing more. Source: pipe(7), fork(2).

/// The end of the process that asks.
final class Assistant {
    /// The assistant finds its end when this process has ended, by whatever end.
    private let questions: Int32
    private let answers: Int32
    /// How many answers have not come yet.
    private var pending = 0
    /// It is known to stay when this process ends.
    var goesOn = false
    private static let patience = Nanoseconds.milliseconds(1000)

    /// The descriptors that must stay open.
    var descriptors: [Int32] { [questions, answers] }

    /// - Parameters:
    ///   - kept: the assistant's descriptors.
    ///   - answer: carried out there, for each question, with the byte that came.
    ///   - end: carried out there when this process has ended.
    init(
        keeping kept: [Int32], answer: (UInt8) -> UInt8, end: () -> Void = {}
    ) throws(Errno) {
        let toAssistant = try PassedFiles.pipe()
        let fromAssistant: (reading: Int32, writing: Int32)
        do throws(Errno) { fromAssistant = try PassedFiles.pipe() } catch {
            Self.close(toAssistant)
            throw error
        }
        let process: ProcessID?
        do throws(Errno) { process = try Process.fork() } catch {
            Self.close(toAssistant)
            Self.close(fromAssistant)
            throw error
        }
        guard process != nil else {
            // It would never see the end of questions that it could ask itself.
            Descriptor.closeNumber(toAssistant.writing)
            Descriptor.closeNumber(fromAssistant.reading)
            Self.serve(toAssistant.reading, fromAssistant.writing, kept, answer, end)
        }
        Descriptor.closeNumber(toAssistant.reading)
        Descriptor.closeNumber(fromAssistant.writing)
        (questions, answers) = (toAssistant.writing, fromAssistant.reading)
    }

    /// An assistant that only waits, to remove the name of a socket when this process has ended, by whatever end. A process
    /// in a sandbox could not: with the right to remove a file, code that has taken it over could remove others.
    /// - Parameter name: of a file that is there.
    convenience init(removing name: Text) throws(Errno) {
        let identity = try FileStatus.of(name, followsLink: false).identity
        try self.init(keeping: [], answer: { _ in 0 }) {
            // Another socket may have the name by now.
            if (try? FileStatus.of(name, followsLink: false))?.identity == identity {
                try? Files.remove(name)
            }
        }
    }

    /// An assistant that writes to the disk, once for each question, what the kernel still has of a file: until that is done no
    /// signal ends the call, and this process must end when it is told to.
    /// - Parameters:
    ///   - numbers: of the files; a question is a place among them. They are opened once more where that can be: a lock on one
    ///     ends with this process.
    ///   - call: fsync, or fdatasync.
    convenience init(
        synchronizing numbers: [Int32], by call: SystemCall.Number = .synchronize
    ) throws(Errno) {
        var own: [Int32] = []
        var kept = numbers
        defer { for number in own { Descriptor.closeNumber(number) } }
        for (index, number) in numbers.enumerated() {
            guard let again = try? Descriptor.openNumber("/proc/self/fd/\(number)", .readOnly)
            else { continue }
            own.append(again)
            kept[index] = again
        }
        try self.init(
            keeping: kept,
            answer: { question in
                let place = Int(question)
                guard place < kept.count else { return UInt8(Errno.invalid.rawValue) }
                do throws(Errno) { try SystemCall.retrying(call, Int(kept[place])) } catch {
                    return UInt8(clamping: error.rawValue)
                }
                return 0
            })
    }

    /// Waits for its end, so that no process is left when this one has ended.
    deinit {
        Descriptor.closeNumber(questions)
        if !goesOn {
            _ = try? Poll.wait([Poll.Interest(answers)], timeout: Self.patience)
        }
        Descriptor.closeNumber(answers)
    }

    private static func close(_ ends: (reading: Int32, writing: Int32)) {
        Descriptor.closeNumber(ends.reading)
        Descriptor.closeNumber(ends.writing)
    }

    /// - Returns: nil if no answer came in time, or the assistant has ended.
    func ask() -> UInt8? {
        guard begin() else { return nil }
        var answer: UInt8?
        while pending > 0 {
            guard (try? Poll.wait([answered], timeout: Self.patience))?[0] ?? false else {
                return nil
            }
            answer = take()
            if answer == nil { return nil }
        }
        return answer
    }

    /// Asks; `answered` is ready when the answer, or the assistant's end, can be taken.
    /// - Returns: false if the assistant has ended.
    func begin(_ question: UInt8 = 0) -> Bool {
        // Readable without a question: it has ended.
        if pending == 0,
            (try? Poll.wait([answered], timeout: Nanoseconds(count: 0)))?[0] ?? true
        {
            return false
        }
        guard (try? Transfer.write(questions, Text(bytes: [question]))) != nil else { return false }
        pending += 1
        return true
    }

    var answered: Poll.Interest { Poll.Interest(answers) }

    /// - Returns: nil if it has ended.
    func take() -> UInt8? {
        var byte: [UInt8] = [0]
        guard (try? Transfer.read(answers, into: &byte)) ?? 0 == 1 else { return nil }
        pending -= 1
        return byte[0]
    }

    /// What the other process does.
    private static func serve(
        _ questions: Int32, _ answers: Int32, _ kept: [Int32], _ answer: (UInt8) -> UInt8,
        _ end: () -> Void
    ) -> Never {
        var all = SignalSet()
        all.mask = .max
        _ = try? all.apply(.block)
        Process.setName("mini-assistant")
        // A reader of our output sees its end when we end, not when this process does.
        let own = kept + [questions, answers]
        for number in 0...2 as ClosedRange<Int32> where !own.contains(number) {
            Descriptor.closeNumber(number)
        }
        Sandbox.closeOthers(own)
        var byte: [UInt8] = [0]
        while (try? Transfer.read(questions, into: &byte)) ?? 0 > 0 {
            guard (try? Transfer.write(answers, Text(bytes: [answer(byte[0])]))) != nil else {
                break
            }
        }
        end()
        Process.exit(0)
    }
}
