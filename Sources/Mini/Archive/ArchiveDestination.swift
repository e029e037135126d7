// Where an archive goes: a file that it replaces when it is whole, a pipe or a device that takes it
// as it comes, or something that this program was given open. A symbolic link stays, and what it
// leads to is replaced: a boot loader reads that, whatever name the archive was given.

/// The place that an archive is written to.
enum ArchiveDestination {
    /// Standard output, or what `/dev/fd` names.
    case descriptor(Int32)
    /// What is there and is no regular file.
    case existing
    /// A file's own name, and what it replaces.
    case file(Text, FileStatus?)

    /// Source: path_resolution(7).
    private static let mostLinks = 40

    /// - Parameter name: the archive's, as a person gave it; `-` is standard output.
    init(_ name: Text) throws(ArchiveError) {
        if name == "-" {
            self = .descriptor(1)
            return
        }
        var path = name
        for _ in 0..<Self.mostLinks {
            if let number = Self.openDescriptor(path) {
                self = .descriptor(number)
                return
            }
            // What cannot be examined cannot be made either, and that tells why.
            guard let status = try? FileStatus.of(path, followsLink: false) else {
                self = .file(path, nil)
                return
            }
            guard status.mode & FileMode.type == FileMode.link else {
                self = try Self.known(path, status, name: name)
                return
            }
            path = try Self.follow(path)
        }
        throw .host("open", name: name, .tooManyLinks)
    }

    private static func known(
        _ path: Text, _ status: FileStatus, name: Text
    ) throws(ArchiveError) -> ArchiveDestination {
        guard status.kind == .regular else { return .existing }
        if status.links > 1 { throw .severalNames(name, count: status.links) }
        return .file(path, status)
    }

    /// Where a symbolic link leads to.
    private static func follow(_ path: Text) throws(ArchiveError) -> Text {
        do throws(Errno) {
            let target = try Files.target(ofLink: path)
            let isAbsolute = target.bytes.first == UInt8(ascii: "/")
            return isAbsolute ? target : "\(Files.folder(of: path))\(target)"
        } catch { throw .host("read link", name: path, error) }
    }

    /// The number in `/proc/self/fd/N`, and in what leads there.
    private static func openDescriptor(_ path: Text) -> Int32? {
        let rest = path.dropping(prefix: "/proc/self/fd/") ?? path.dropping(prefix: "/dev/fd/")
        return rest?.number.flatMap { Int32(exactly: $0) }
    }

    /// The file that must not be packed into itself.
    var identity: FileIdentity? {
        switch self {
        case .descriptor(let number): (try? FileStatus.of(number))?.identity
        case .existing: nil
        case .file(_, let status): status?.identity
        }
    }
}
