// Grants as people write them: numbers and ranges of references, with commas between them.

extension GrantList {
    /// The references of a list as `8,12-15,9`.
    /// - Returns: nil if it is none, or of more pages than can be mapped at once.
    static func references(_ list: Text) -> [GrantReference]? {
        // Without a text for each part: a large share has thousands of them.
        let bytes = list.bytes.span
        var references: [GrantReference] = []
        var start = 0
        for end in 0...bytes.count where end == bytes.count || bytes[end] == UInt8(ascii: ",") {
            guard let (first, last) = pages(bytes.extracting(start..<end)),
                first <= last, Int(last - first) < most.count - references.count
            else { return nil }
            for reference in first...last {
                references.append(GrantReference(rawValue: reference))
            }
            start = end + 1
        }
        return references
    }

    /// One part: a reference, or the first and the last of several.
    private static func pages(_ part: Span<UInt8>) -> (first: UInt32, last: UInt32)? {
        for place in 0..<part.count where part[place] == UInt8(ascii: "-") {
            guard let first = number(part.extracting(..<place)),
                let last = number(part.extracting((place + 1)...))
            else { return nil }
            return (first, last)
        }
        return number(part).map { ($0, $0) }
    }

    private static func number(_ digits: Span<UInt8>) -> UInt32? {
        Text.number(digits).flatMap { UInt32(exactly: $0) }
    }
}
