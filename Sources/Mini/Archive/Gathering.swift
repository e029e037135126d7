// Finds out what the files are that are to be packed: what a person named, and all that lies in
// a directory that was named. A link that was named is followed, one in a directory is kept. The
// archive itself is left out of a directory: a second run gives what the first one gave.

/// Collects the members of an archive from the file system.
struct Gathering {
    private(set) var contents: ArchiveContents
    /// The archive's names in directories that are packed, which are left out.
    private(set) var leftOut: [Text] = []
    /// The file that the archive will replace, which cannot be packed into it.
    private let archive: FileIdentity?

    /// - Parameter contents: what is no file of this machine's.
    init(_ contents: ArchiveContents, archive: FileIdentity?) {
        self.contents = contents
        self.archive = archive
    }

    /// Adds a file, with all that is in it if it is a directory.
    /// - Parameters:
    ///   - isFolder: true if what is no directory is meant to be put into one of this path.
    ///   - permissions: instead of its own.
    ///   - isNamed: true for what a person named.
    mutating func add(
        _ name: Text, at path: ArchivePath, isFolder: Bool = false, permissions: UInt32? = nil,
        isNamed: Bool
    ) throws(ArchiveError) {
        let status: FileStatus
        do throws(Errno) { status = try FileStatus.of(name, followsLink: isNamed) } catch {
            throw .host("examine", name: name, error)
        }
        if isFolder && status.kind != .directory {
            return try add(
                name, at: try path.appending(Files.lastName(of: name)), permissions: permissions,
                isNamed: isNamed)
        }
        if path.isRoot && status.kind != .directory { throw .isRoot(name) }
        if status.identity == archive && status.kind == .regular && !isNamed {
            leftOut.append(name)
            return
        }
        if isNamed && status.kind != .directory && status.kind != .regular {
            try Self.refuseOpen(name)
        }
        try addAlone(name, status, at: path, permissions: permissions)
        guard status.kind == .directory else { return }
        let entries: [Text]
        do throws(Errno) { entries = try Files.names(in: name) } catch {
            throw .host("read directory", name: name, error)
        }
        let folder: Text = name.bytes.last == UInt8(ascii: "/") ? name : "\(name)/"
        // The folder has them in no order. In the archive's, nearly each one comes behind all that are there.
        var order = Array(entries.indices)
        HeapSort.sort(&order) { ArchivePath.isBefore(entries[$0], entries[$1]) }
        for index in order {
            let entry = entries[index]
            try add("\(folder)\(entry)", at: try path.appending(entry), isNamed: false)
        }
    }

    /// What a descriptor has open, as `<(...)` of a shell, is meant for its bytes, and would be a node without them.
    /// A link leads to it, or to what has no name.
    @inline(never)
    private static func refuseOpen(_ name: Text) throws(ArchiveError) {
        guard let status = try? FileStatus.of(name, followsLink: false),
            status.mode & FileMode.type == FileMode.link
        else { return }
        switch try ArchiveDestination(name) {
        case .descriptor, .file(_, nil): throw .isOpen(name)
        default: return
        }
    }

    @inline(never)
    private mutating func addAlone(
        _ name: Text, _ status: FileStatus, at path: ArchivePath, permissions: UInt32?
    ) throws(ArchiveError) {
        let type = status.mode & FileMode.type
        var body = ArchiveMember.Body.none
        if type == FileMode.regular {
            if status.identity == archive {
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
                number: status.number, body: body,
                identity: type == FileMode.regular && status.links > 1 ? status.identity : nil),
            hasOwnMode: permissions != nil)
    }
}
