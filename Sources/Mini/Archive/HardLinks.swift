// Which members are names of one file. They get one inode number, which says so to the program that unpacks
// the archive, and only the last of them has the bytes: so GNU cpio writes it, and kernels of every
// age read it. Names that are to have different permissions stay files of their own.

struct HardLinks {
    struct Place: Equatable {
        /// From 1; of the first member that is a name of the file.
        var inode: UInt32
        /// How many members are.
        var links: UInt32 = 1
        var isLast = true
    }

    /// Of each member.
    private(set) var places: [Place]

    init(_ members: [ArchiveMember]) {
        places = members.indices.map { Place(inode: UInt32($0) + 1) }
        var linked = members.indices.filter { members[$0].identity != nil }
        HeapSort.sort(&linked) { Self.isBefore($0, $1, members) }
        var rest = linked[...]
        while let first = rest.first {
            let group = rest.prefix { Self.isSame(members[$0], members[first]) }
            for index in group {
                places[index] = Place(
                    inode: places[first].inode, links: UInt32(group.count),
                    isLast: index == group.last)
            }
            rest = rest.dropFirst(group.count)
        }
    }

    private static func isSame(_ left: ArchiveMember, _ right: ArchiveMember) -> Bool {
        left.identity == right.identity && left.mode == right.mode
    }

    /// Brings the names of a file together, in the archive's order.
    private static func isBefore(_ left: Int, _ right: Int, _ members: [ArchiveMember]) -> Bool {
        guard let one = members[left].identity, let other = members[right].identity else {
            return left < right
        }
        if one.inode != other.inode { return one.inode < other.inode }
        if one.device != other.device { return one.device < other.device }
        if members[left].mode != members[right].mode {
            return members[left].mode < members[right].mode
        }
        return left < right
    }
}
