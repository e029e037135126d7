// A list of granted pages that is known to be one: from one domain, neither empty nor too long,
// no page twice. Only this type makes one, so it is not checked again below.

/// Pages that one domain has granted, in the order in which they are to lie.
struct GrantList {
    let domain: DomainID
    let references: [GrantReference]

    /// What gntdev maps with one request. Source: docs/abi/xen-grants.md §4.1.
    static let most = PageCount(65536)

    /// - Throws: an error of use.
    init(_ references: [GrantReference], of domain: DomainID) throws(GrantError) {
        try Self.check(references)
        self.domain = domain
        self.references = references
    }

    /// - Throws: an error of use for what is no list.
    static func check(_ references: [GrantReference]) throws(GrantError) {
        if references.isEmpty { throw .use("no grant reference is named") }
        if references.count > most.count {
            throw .limit(
                "\(references.count) grants are too many: gntdev maps at most \(most.count) at once"
            )
        }
        if let twice = repetition(references) {
            throw .use("grant reference \(twice.rawValue) is named twice")
        }
    }

    var pages: PageCount { PageCount(references.count) }

    /// What the pages hold, as a person says it.
    var name: Text {
        references.count == 1
            ? "grant \(references[0].rawValue) of domain \(domain.rawValue)"
            : "\(references.count) grants of domain \(domain.rawValue)"
    }

    /// The first reference that came before. A table in which each has a place of its own.
    private static func repetition(_ references: [GrantReference]) -> GrantReference? {
        var size = 16
        while size < 2 * references.count { size *= 2 }
        // 0 is free; a reference is kept with one added.
        var table = [UInt64](repeating: 0, count: size)
        for reference in references {
            let entry = UInt64(reference.rawValue) + 1
            var place = Int(truncatingIfNeeded: reference.rawValue &* 0x9E37_79B1) & (size - 1)
            while table[place] != 0 {
                if table[place] == entry { return reference }
                place = (place + 1) & (size - 1)
            }
            table[place] = entry
        }
        return nil
    }
}
