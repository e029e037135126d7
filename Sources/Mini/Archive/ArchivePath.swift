// Where a member lies in an archive: a relative path in its one spelling, without empty
// components and without dots. So a path that exists is not spelled in two ways, and none leads out.

/// The path of a member, as it stands in the archive.
struct ArchivePath: Equatable {
    /// Without a slash at either end; empty for the root.
    let text: Text

    private static let slash = UInt8(ascii: "/")
    /// What the kernel reads, which counts the NUL at the end.
    static let longest = Files.longestPath - 1
    /// Of what stands between slashes. Source: linux/limits.h, NAME_MAX.
    private static let longestName = 255

    var isRoot: Bool { text.bytes.isEmpty }

    private init(normal: Text) { text = normal }

    /// - Parameter word: as a person writes it, from the root with or without a slash in front.
    init(_ word: Text) throws(ArchiveError) {
        if word.bytes.isEmpty { throw .noPlace }
        var normal = Text()
        var name = Text()
        for byte in word.bytes + [Self.slash] {
            if byte != Self.slash {
                name.append(byte)
                continue
            }
            if name == ".." { throw .outside(word) }
            if !name.bytes.isEmpty && !(name == ".") {
                if !normal.bytes.isEmpty { normal.append(Self.slash) }
                normal += name
            }
            name = Text()
        }
        try self.init(checked: normal)
    }

    /// - Parameter name: of something in the directory that this is.
    func appending(_ name: Text) throws(ArchiveError) -> ArchivePath {
        try ArchivePath(checked: isRoot ? name : "\(text)/\(name)")
    }

    private init(checked path: Text) throws(ArchiveError) {
        guard path.bytes.count <= Self.longest else {
            throw .tooLong("path", path, length: path.bytes.count, limit: Self.longest)
        }
        for name in path.bytes[...].split(separator: Self.slash) where name.count > Self.longestName
        {
            throw .tooLong("name", path, length: name.count, limit: Self.longestName)
        }
        guard !(path == Cpio.trailer) else { throw .reservedName(path) }
        text = path
    }

    /// The directory that a slash in it ends; nil if no slash stands there.
    func parent(endingAt index: Int) -> ArchivePath? {
        text.bytes[index] == Self.slash ? ArchivePath(normal: text.prefix(index)) : nil
    }

    /// The order of members: by bytes, so that a directory comes before what is in it.
    static func < (left: ArchivePath, right: ArchivePath) -> Bool {
        isBefore(left.text, right.text)
    }

    static func isBefore(_ left: Text, _ right: Text) -> Bool {
        let (left, right) = (left.bytes, right.bytes)
        for index in 0..<min(left.count, right.count) where left[index] != right[index] {
            return left[index] < right[index]
        }
        return left.count < right.count
    }
}
