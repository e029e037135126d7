// The file that a timeline is written to at the end. It is opened before anything of the guest's is, so
// that what is wrong with it is told before the guest starts, and because the sandbox opens nothing.

/// `--timeline FILE`, opened.
final class TimelineFile {
    private let name: Text
    private let file: Descriptor

    var descriptor: Int32 { file.number }

    /// Makes it, or empties a timeline that is there. Every other file stays as it is: who forgets FILE
    /// has named the kernel here.
    init(_ name: Text, for plan: LaunchPlan) throws(LauncherError) {
        self.name = name
        if name == "-" { throw .timeline(name: name, .standardOutput) }
        do throws(Errno) { file = try Self.open(name) } catch {
            throw .host("write timeline", name: name, error)
        }
        let status: FileStatus
        do throws(Errno) { status = try file.status() } catch {
            throw .host("examine timeline", name: name, error)
        }
        guard status.kind == .regular else { throw .timeline(name: name, .notAFile) }
        for (number, use) in [(0, "input"), (1, "output"), (2, "messages")] as [(Int32, Text)] {
            if (try? FileStatus.of(number))?.identity == status.identity {
                throw .timeline(name: name, .inUse(as: "the launcher's \(use)"))
            }
        }
        for (other, use) in plan.files {
            guard case .file(let path)? = try? FileSource(other) else { continue }
            if Medium.of(path) == Medium(status, at: file.number) {
                throw .timeline(name: name, .inUse(as: use))
            }
        }
        // Two launches that write the same file would leave a mixture of both.
        do throws(Errno) { try file.lock(shared: false) } catch {
            // A file system without locks cannot keep others away.
            if error == .again { throw .timeline(name: name, .inUseElsewhere) }
        }
        // A file whose bytes cannot be read may be of another kind.
        if status.size > 0 && Descriptor.isWriteOnly(file.number) {
            throw .host("read timeline", name: name, .accessDenied)
        }
        let isOther: Bool
        do throws(Errno) {
            isOther = if status.size > 0 { try !file.begins(with: Timeline.start) } else { false }
            if !isOther { try file.truncate() }
        } catch { throw .host("write timeline", name: name, error) }
        if isOther { throw .timeline(name: name, .otherFile) }
        // Once the guest has ended, a file that may not grow fails to be written, and is told. Where the
        // signal is ignored, that is so anyway, and the guest goes on when it comes.
        if !Signal.fileSize.isIgnored { Signal.fileSize.quiet() }
    }

    /// Never waits, so that a pipe without a reader is refused and not waited for.
    private static func open(_ name: Text) throws(Errno) -> Descriptor {
        do throws(Errno) {
            return try Descriptor.open(name, .readAppendNow)
        } catch {
            switch error {
            // Creating what is there, others' files in /tmp can be refused.
            case .noSuchFile: return try Descriptor.open(name, .writeAppend)
            // Perhaps it may be written all the same.
            case .accessDenied: return try Descriptor.open(name, .writeOnlyNow)
            default: throw error
            }
        }
    }

    func write(_ trace: Text) throws(LauncherError) {
        do throws(Errno) { try Transfer.write(file.number, trace) } catch {
            throw .host("write timeline", name: name, error)
        }
    }
}

extension LaunchPlan {
    /// The files that it names, and what for.
    var files: [(name: Text, use: Text)] {
        var files: [(name: Text, use: Text)] = [(kernel, "the kernel")]
        if let initrd { files.append((initrd, "the initrd")) }
        for device in devices { if let file = device.file { files.append(file) } }
        return files
    }
}

/// Why a file cannot have a timeline.
enum TimelineError: Equatable {
    case standardOutput
    case notAFile
    /// It holds something else.
    case otherFile
    /// Another process has locked it.
    case inUseElsewhere
    /// As "the kernel".
    case inUse(as: Text)

    var text: Text {
        switch self {
        case .standardOutput: "is the guest's console: name a file"
        case .notAFile: "is not a regular file"
        case .otherFile: "is there and is no timeline: remove it first"
        case .inUseElsewhere: "is in use by another process: each launch needs a file of its own"
        case .inUse(let use): "is \(use) itself"
        }
    }
}
