// Where the bytes of a file are, whatever it is called. Source: linux/loop.h, LOOP_GET_STATUS64.

/// Two are the same if what is written to the one can be seen in the other: device files of one device, a loop device
/// and its file, and loop devices of one file that have some bytes of it in common.
struct Medium: Equatable {
    enum Node: Equatable {
        case file(FileIdentity)
        case device(DeviceNumber)
    }
    /// Bytes of a file or device, one after the other.
    struct Extent {
        let start: UInt64
        /// Behind the last one; the greatest number for all that there are.
        let end: UInt64

        func overlaps(_ other: Self) -> Bool { start < other.end && other.start < end }
    }
    /// What a loop device shows.
    struct Shown {
        let node: Node
        let bytes: Extent
    }
    let node: Node
    /// Nil for what is no loop device.
    let shown: Shown?

    init(_ node: Node, shown: Shown? = nil) {
        self.node = node
        self.shown = shown
    }

    /// - Parameter descriptor: open; the kernel has said this of it.
    init(_ status: FileStatus, at descriptor: Int32) {
        self.init(status.node, shown: Self.shown(status, at: descriptor))
    }

    /// - Returns: nil if there is no such file. What is no loop device is not opened.
    static func of(_ path: Text) -> Medium? {
        guard let status = try? FileStatus.of(path, followsLink: true) else { return nil }
        guard status.isLoop, let number = try? Descriptor.openNumber(path, .readOnlyNow) else {
            return Medium(status.node)
        }
        defer { Descriptor.closeNumber(number) }
        return Medium(status, at: number)
    }

    private static let askLoop = IoctlRequest(number: 0x4C05)  // LOOP_GET_STATUS64

    private static func shown(_ status: FileStatus, at descriptor: Int32) -> Shown? {
        guard status.isLoop else { return nil }
        // struct loop_info64 of 232 bytes: device and inode of the file, which device that is, the offset, the size, which
        // is 0 up to the end of the file; at 40 its number.
        var words = [UInt32](repeating: 0, count: 58)
        guard (try? Ioctl.call(descriptor, askLoop, words: &words)) != nil else { return nil }
        // One of its partitions gets the answer for the whole.
        guard words[10] == status.number.minor else { return nil }
        let fields = (0..<5).map { UInt64(words[2 * $0 + 1]) << 32 | UInt64(words[2 * $0]) }
        let node: Node =
            fields[2] == 0
            ? .file(FileIdentity(device: fields[0], inode: fields[1]))
            : .device(DeviceNumber(packed: fields[2]))
        let (start, size) = (fields[3], fields[4])
        let end = size == 0 ? .max : start + min(size, .max - start)
        return Shown(node: node, bytes: Extent(start: start, end: end))
    }

    static func == (left: Self, right: Self) -> Bool {
        if left.node == right.node { return true }
        switch (left.shown, right.shown) {
        case (nil, nil): return false
        case (let shown?, nil): return shown.node == right.node
        case (nil, let shown?): return shown.node == left.node
        case (let one?, let other?):
            let isShared = one.node == other.node && one.bytes.overlaps(other.bytes)
            return isShared || one.node == right.node || other.node == left.node
        }
    }
}

extension FileStatus {
    /// Of a block device's file the device counts.
    fileprivate var node: Medium.Node { kind == .block ? .device(number) : .file(identity) }
    fileprivate var isLoop: Bool { kind == .block && number.major == DeviceNumber.loopMajor }
}
