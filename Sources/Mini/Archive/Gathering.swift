// Finds out what the files are that are to be packed: what a person named, and all that lies in
// a directory that was named. A link that was named is followed, one in a directory is kept.

struct Gathering {
    private(set) var contents = ArchiveContents()
    /// The file that the archive will replace, which cannot be packed into it.
    private let archive: FileStatus?

    init(archive: FileStatus?) { self.archive = archive }

    /// Adds what is no file of this machine's.
    mutating func add(_ member: ArchiveMember) throws(ArchiveError) { try contents.add(member) }

    /// Adds a file, with all that is in it if it is a directory.
    /// - Parameter permissions: instead of its own.
    @inline(never)
    mutating func add(
        _ name: Text, at path: ArchivePath, permissions: UInt32?
    ) throws(ArchiveError) {
        let status = try Self.status(name, followsLink: true)
        if path.isRoot && status.kind != .directory { throw .isRoot(name) }
        try add(name, status, at: path, permissions: permissions)
        guard status.kind == .directory else { return }
        var directories = [(name, path)]
        while let (name, path) = directories.popLast() {
            try addEntries(of: name, at: path, &directories)
        }
    }

    private mutating func addEntries(
        of directory: Text, at path: ArchivePath, _ directories: inout [(Text, ArchivePath)]
    ) throws(ArchiveError) {
        let entries: [Text]
        do throws(Errno) { entries = try Files.names(in: directory) } catch {
            throw .host("read directory", name: directory, error)
        }
        for entry in entries {
            let separator: Text = directory.bytes.last == UInt8(ascii: "/") ? "" : "/"
            let name: Text = "\(directory)\(separator)\(entry)"
            let place = try path.appending(entry)
            let status = try Self.status(name, followsLink: false)
            try add(name, status, at: place, permissions: nil)
            if status.kind == .directory { directories.append((name, place)) }
        }
    }

    @inline(never)
    private mutating func add(
        _ name: Text, _ status: FileStatus, at path: ArchivePath, permissions: UInt32?
    ) throws(ArchiveError) {
        let type = status.mode & FileMode.type
        var body = ArchiveMember.Body.none
        if type == FileMode.regular {
            if let archive, archive.identity == status.identity {
                throw .isArchive(name)
            }
            guard let size = UInt32(exactly: status.size) else {
                throw .tooLarge(name: name, size: status.size)
            }
            body = .file(name, size: size)
        } else if type == FileMode.link {
            do throws(Errno) { body = .target(try Files.target(ofLink: name)) } catch {
                throw .host("read link", name: name, error)
            }
        }
        try contents.add(
            ArchiveMember(
                path: path, mode: type | (permissions ?? status.mode & FileMode.permissions),
                number: status.number, body: body))
    }

    @inline(never)
    private static func status(
        _ name: Text, followsLink: Bool
    ) throws(ArchiveError) -> FileStatus {
        do throws(Errno) { return try FileStatus.of(name, followsLink: followsLink) } catch {
            throw .host("examine", name: name, error)
        }
    }
}
