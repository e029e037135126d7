// Random numbers of the kernel's. Sources: getrandom(2), urandom(4).

enum RandomBytes {
    private static let withoutWaiting = 1  // GRND_NONBLOCK

    /// - Returns: so many bytes; nil where the kernel has none yet, or is older than the call (3.17) and has no
    ///   such device in reach.
    static func make(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            var more: Int?
            unsafe bytes.withUnsafeMutableBytes { room in
                do throws(Errno) {
                    more = try SystemCall.retrying(
                        .randomBytes, Int(bitPattern: room.baseAddress) + done, count - done,
                        withoutWaiting)
                } catch {
                    guard error == .notImplemented else { return }
                    let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: room[done...])
                    more = try? unsafe fromDevice(rest)
                }
            }
            guard let more, more > 0 else { return nil }
            done += more
        }
        return bytes
    }

    private static func fromDevice(_ room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        let device = try Descriptor.open("/dev/urandom", .readOnlyNow)
        return try unsafe Transfer.readRecord(device.number, into: room)
    }
}
