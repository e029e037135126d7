// Random numbers of the kernel's. Source: getrandom(2).

enum RandomBytes {
    private static let withoutWaiting = 1  // GRND_NONBLOCK

    /// - Returns: so many bytes; nil where the kernel has none yet, or is older than the call (3.17).
    static func make(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            var more: Int?
            unsafe bytes.withUnsafeMutableBytes { room in
                more = try? SystemCall.retrying(
                    .randomBytes, Int(bitPattern: room.baseAddress) + done, count - done,
                    withoutWaiting)
            }
            guard let more, more > 0 else { return nil }
            done += more
        }
        return bytes
    }
}
