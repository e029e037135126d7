// Files that are read in one go: what the kernel tells under /proc and /sys.

enum SmallFile {
    /// The first bytes of a file, at most `limit` of them.
    static func read(_ path: Text, limit: Int = 4096) throws(Errno) -> Text {
        let file = try Descriptor.open(path, .readOnly)
        var bytes = [UInt8](repeating: 0, count: limit)
        var count = 0
        var failure: Errno?
        unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(Errno) {
                while count < limit {
                    let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                    let more = try unsafe Transfer.read(file.number, into: part)
                    if more == 0 { break }
                    count += more
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        bytes.removeLast(limit - count)
        return Text(bytes: bytes)
    }

    /// The first line of a file without its end; nil if it cannot be read.
    static func line(_ path: Text) -> Text? {
        guard let text = try? read(path) else { return nil }
        return Text(bytes: Array(text.bytes.prefix { $0 != UInt8(ascii: "\n") }))
    }
}
