// What an archive is going to have: its members in order, each place once, and every
// directory that something lies in. Nothing is read or written here.

/// A file, directory, link or node of an archive.
final class ArchiveMember: Sendable {
    enum Body: Equatable {
        case none
        /// What a symbolic link holds.
        case target(Text)
        /// A file of this machine's, of so many bytes.
        case file(Text, size: UInt32)
    }

    let path: ArchivePath
    /// Type and permissions, as in `st_mode`.
    let mode: UInt32
    /// Of a node.
    let number: DeviceNumber
    let body: Body
    /// Of a file that has other names, which may be members as well.
    let identity: FileIdentity?
    /// A directory that was not named, but that a member lies in.
    let isImplied: Bool

    init(
        path: ArchivePath, mode: UInt32, number: DeviceNumber = DeviceNumber(), body: Body = .none,
        identity: FileIdentity? = nil, isImplied: Bool = false
    ) {
        self.path = path
        self.mode = mode
        self.number = number
        self.body = body
        self.identity = identity
        self.isImplied = isImplied
    }

    var isDirectory: Bool { mode & FileMode.type == FileMode.directory }
}

/// The members that an archive will have. Throws `ArchiveError` where two of them cannot stand beside each other.
struct ArchiveContents {
    /// In the order of their paths.
    private(set) var members: [ArchiveMember] = []

    /// Puts in a member, and the directories above it that are missing.
    /// - Parameter hasOwnMode: true if its permissions were asked for. The root, which is no member, gets none.
    /// - Throws: if its place is taken, or lies in something that is no directory. A directory
    ///   may be named twice: the first one counts, but for permissions that somebody asked for.
    mutating func add(
        _ member: ArchiveMember, hasOwnMode: Bool = false
    ) throws(ArchiveError) {
        guard !member.path.isRoot else {
            guard member.isDirectory else { throw .isRoot("/") }
            if hasOwnMode { throw .modeOfRoot }
            return
        }
        // Above what is there everything is there.
        var missing: [ArchivePath] = []
        for index in member.path.text.bytes.indices.reversed() {
            guard let parent = member.path.parent(endingAt: index) else { continue }
            if let present = present(parent, place(of: parent)) {
                guard present.isDirectory else { throw .notADirectory(parent.text) }
                break
            }
            missing.append(parent)
        }
        for path in missing.reversed() {
            try put(ArchiveMember(path: path, mode: FileMode.directory | 0o755, isImplied: true))
        }
        try put(member, hasOwnMode: hasOwnMode)
    }

    private mutating func put(
        _ member: ArchiveMember, hasOwnMode: Bool = false
    ) throws(ArchiveError) {
        let index = place(of: member.path)
        guard let present = present(member.path, index) else {
            members.insert(member, at: index)
            return
        }
        if member.isDirectory && present.isDirectory {
            if present.isImplied {
                members[index] = member
            } else if hasOwnMode && member.mode != present.mode {
                throw .exists(member.path.text)
            }
        } else if member.isImplied || present.isImplied {
            throw .notADirectory(member.path.text)
        } else {
            throw .exists(member.path.text)
        }
    }

    /// The member that has the path, whose place this is.
    private func present(_ path: ArchivePath, _ index: Int) -> ArchiveMember? {
        index < members.count && members[index].path == path ? members[index] : nil
    }

    /// The first index whose member's path is not before this one.
    private func place(of path: ArchivePath) -> Int {
        var (low, high) = (0, members.count)
        while low < high {
            let middle = (low + high) / 2
            if members[middle].path < path { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
