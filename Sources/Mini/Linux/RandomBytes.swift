// Random numbers of the kernel's. One that is older than the call for them (3.17) has a device, which is opened before
// the sandbox and kept, as nothing can be opened in it. Sources: getrandom(2), urandom(4).

final class RandomBytes {
    private static let withoutWaiting = 1  // GRND_NONBLOCK
    private static let path: Text = "/dev/urandom"

    /// Where there is no such call, and there is a device.
    private var device: Descriptor?

    /// There are none, and never will be.
    private var isMissing = false

    /// False where the kernel had none yet: some time passes after its start until it has.
    private(set) var isReady = true

    /// What it is read from, if that is no call of its own.
    var descriptor: Int32? { device?.number }

    init() {
        var byte: UInt8 = 0
        do throws(Errno) {
            _ = try withKernel(&byte) { (address) throws(Errno) in
                try Self.call(address, 1)
            }
        } catch {
            guard error == .notImplemented else {
                isReady = error != .again
                return
            }
            device = try? Descriptor.open(Self.path, .readOnlyNow)
            isMissing = device == nil
        }
    }

    private static func call(_ address: Int, _ count: Int) throws(Errno) -> Int {
        try SystemCall.retrying(.randomBytes, address, count, withoutWaiting)
    }

    /// - Returns: so many bytes; nil where the kernel has none yet, and none at all where it has neither call nor device.
    func make(_ count: Int) -> [UInt8]? {
        if isMissing { return [] }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            var more: Int?
            unsafe bytes.withUnsafeMutableBytes { room in
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: room[done...])
                more = try? unsafe fill(rest)
            }
            guard let more, more > 0 else { return nil }
            done += more
        }
        return bytes
    }

    private func fill(_ room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        if let descriptor { return try unsafe Transfer.readRecord(descriptor, into: room) }
        return try Self.call(Int(bitPattern: room.baseAddress), room.count)
    }
}
