// What a child of process 1 leaves as its result: a file in memory (memfd), which both have open.
// The child is this program, too, but it has read what others have written: lengths are bounded.

/// The file, from the fork to the child's end.
final class ChildResult {
    private let file: Descriptor
    private static let limit = 2 * TableLookups.mostBytes

    init() throws(InitError) {
        do throws(Errno) { file = try FileSystem.memoryFile("mini-init") } catch {
            throw .system("make a file in memory", error)
        }
    }

    /// In the child.
    func write(_ text: Text) throws(Errno) { try Transfer.write(file.number, text) }

    /// In process 1, after the child's end.
    /// - Parameter limit: bytes after so many may stay unread.
    func read(atMost limit: Int = ChildResult.limit) throws(Errno) -> [UInt8] {
        try file.seek(to: 0)
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while bytes.count < limit {
            let count = try Transfer.read(file.number, into: &part)
            if count == 0 { break }
            bytes += part[..<count]
        }
        return bytes
    }

    // MARK: Words

    /// In the child: each word's column, doubled, with 1 for a quoted one; and its bytes; a zero byte after each.
    func write(_ words: [TableWord]) throws(InitError) {
        var text = Text()
        for word in words {
            text += "\(word.column << 1 | (word.isQuoted ? 1 : 0))"
            text.append(0)
            text += word.text
            text.append(0)
        }
        do throws(Errno) { try write(text) } catch { throw .system("hand the words over", error) }
    }

    /// In process 1.
    func words() throws(InitError) -> [TableWord] {
        let bytes: [UInt8]
        do throws(Errno) { bytes = try read() } catch {
            throw .system("take the words over", error)
        }
        var words: [TableWord] = []
        var place: Int?
        var rest = bytes[...]
        while let end = rest.firstIndex(of: 0) {
            let text = Text(bytes: Array(rest[..<end]))
            rest = rest[(end + 1)...]
            if let known = place {
                words.append(TableWord(text: text, column: known >> 1, isQuoted: known & 1 == 1))
                place = nil
            } else {
                place = text.number.flatMap { Int(exactly: $0) }
                if place == nil { break }
            }
        }
        guard rest.isEmpty, place == nil, !words.isEmpty else {
            throw .system("take the words over", .inputOutput)
        }
        return words
    }
}
