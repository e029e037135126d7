// Grants as people write them: numbers and ranges of references, with commas between them.

extension GrantList {
    /// The references of a list as `8,12-15,9`.
    /// - Returns: nil if it is none, or of more pages than can be mapped at once.
    static func references(_ list: Text) -> [GrantReference]? {
        var references: [GrantReference] = []
        for part in list.bytes.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        {
            let ends = part.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            guard ends.count <= 2, let first = number(ends.first), let last = number(ends.last),
                first <= last, Int(last - first) < most.count - references.count
            else { return nil }
            for reference in first...last {
                references.append(GrantReference(rawValue: reference))
            }
        }
        return references
    }

    private static func number(_ digits: ArraySlice<UInt8>?) -> UInt32? {
        digits.flatMap { Text(bytes: Array($0)).number }.flatMap { UInt32(exactly: $0) }
    }
}
