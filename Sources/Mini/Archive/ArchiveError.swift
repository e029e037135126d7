// Everything that can keep an archive from being made, each with the one line that a person reads.
// Boxed, as it passes through many functions: one word in each of them.

indirect enum ArchiveError: Error, Equatable {
    /// What was tried (as "read"), on which file.
    case host(StaticString, name: Text, Errno)
    /// A place that does not lie in the archive.
    case outside(Text)
    /// A word that names no file.
    case noFile(Text)
    /// A place without a name.
    case noPlace
    /// A name that only a directory can have.
    case slashBehind(Text)
    /// Something else than a directory for the root.
    case isRoot(Text)
    /// Permissions that are none, after this word.
    case badMode(Text)
    /// Permissions for the root, which an archive does not have.
    case modeOfRoot
    /// A path, or a name in one: bytes, at most so many.
    case tooLong(StaticString, Text, length: Int, limit: Int)
    /// The name that ends an archive.
    case reservedName(Text)
    /// Two members for one place.
    case exists(Text)
    /// Something lies in what is no directory.
    case notADirectory(Text)
    /// Bytes of a file that the format cannot hold.
    case tooLarge(name: Text, size: UInt64)
    case changed(name: Text)
    /// Reading gives other than the size says, and that did not change.
    case withoutSize(name: Text)
    /// A pipe or a device that some descriptor has open, named by that.
    case isOpen(Text)
    /// The archive was to be put into itself.
    case isArchive(Text)
    /// The file that the archive would replace has so many names.
    case severalNames(Text, count: UInt64)
    case interrupted(Signal)

    static func == (left: Self, right: Self) -> Bool { left.text == right.text }

    /// The exit code of mini-pack that goes with it.
    var exitCode: Int32 {
        switch self {
        case .host: 1
        case .outside, .noFile, .noPlace, .slashBehind, .severalNames, .isRoot, .modeOfRoot,
            .badMode, .tooLong,
            .reservedName, .exists, .notADirectory:
            2
        case .tooLarge, .changed, .withoutSize, .isOpen, .isArchive: 3
        case .interrupted(let signal): 128 + signal.rawValue
        }
    }

    /// One line without the program's name in front; empty where the code tells it all.
    var text: Text {
        switch self {
        case .host(let verb, let name, let errno): "cannot \(verb) \(quoted: name): \(errno)"
        case .outside(let path): "cannot pack to \(quoted: path): it leads out of the archive"
        case .noFile(let word): "FILE of \(quoted: word) names no file"
        case .noPlace: "an empty path is no place in the archive: / is the root"
        case .slashBehind(let path):
            "cannot pack to \(quoted: path): only a directory's path ends in a slash"
        case .isRoot(let name): "cannot pack \(quoted: name) as the root: it is no directory"
        case .badMode(let word): "MODE of \(quoted: word) is not three or four octal digits"
        case .modeOfRoot: "the root gets no permissions: / is no member of the archive"
        case .tooLong(let what, let path, let length, let limit):
            "cannot pack to \(quoted: Self.short(path)): a \(what) of \(length) bytes is too long: at most \(limit) fit"
        case .reservedName(let path): "cannot pack to \(quoted: path): that name ends an archive"
        case .exists(let path): "the archive has two members \(quoted: path)"
        case .notADirectory(let path):
            "the archive has members in \(quoted: path), which is no directory"
        case .tooLarge(let name, let size):
            "cannot pack \(quoted: name): its \(size) bytes are too many, the format ends at 4 GiB"
        case .changed(let name): "cannot pack \(quoted: name): its size changed meanwhile"
        case .withoutSize(let name):
            "cannot pack \(quoted: name): it does not have the bytes that its size says, as files of /proc and /sys; copy it first"
        case .isOpen(let name):
            "cannot pack \(quoted: name): it is an open pipe or device, not a file; copy it first"
        case .severalNames(let name, let count):
            "cannot replace \(quoted: name): it is one of \(count) names of a file, the others would keep the old archive; remove it first"
        case .isArchive(let name): "cannot pack \(quoted: name): it is the archive"
        case .interrupted: ""
        }
    }

    /// A path's beginning and end: more than a line is not read.
    private static func short(_ path: Text) -> Text {
        let count = path.bytes.count
        return count <= 80 ? path : "\(path.prefix(40))...\(path.dropping(count - 37))"
    }
}
