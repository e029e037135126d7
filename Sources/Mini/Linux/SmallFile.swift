// Files that are read in one go: what the kernel tells under /proc and /sys.

enum SmallFile {
    /// The first bytes of a file, at most `limit` of them.
    static func read(_ path: Text, limit: Int = 4096) throws(Errno) -> Text {
        // A pipe without a writer reads as empty, at once.
        let file = try Descriptor.open(path, .readOnlyNow)
        var bytes: [UInt8] = []
        // What the kernel makes up has no size to go by.
        var part = [UInt8](repeating: 0, count: min(limit, 4096))
        while bytes.count < limit {
            let count: Int
            do throws(Errno) { count = try Transfer.read(file.number, into: &part) } catch {
                if error != .again { throw error }
                _ = try Poll.wait([Poll.Interest(file.number)], timeout: nil)
                continue
            }
            if count == 0 { break }
            bytes += part[..<min(count, limit - bytes.count)]
        }
        return Text(bytes: bytes)
    }

    /// The first line of a file without its end; nil if it cannot be read.
    static func line(_ path: Text) -> Text? {
        guard let text = try? read(path) else { return nil }
        return Text(bytes: Array(text.bytes.prefix { $0 != UInt8(ascii: "\n") }))
    }
}
