// Notices that a guest has printed nothing for long, and says what may be the reason, with --verbose.

/// Waits for the first output of a guest, and for more after each whole line. After half a line the guest may wait for
/// input: that is how a prompt looks.
struct Silence {
    private let mebibytes: UInt32
    /// The initrd leaves too little of the memory.
    private let isTight: Bool
    private let isQuiet: Bool
    private let console: StaticString
    private var last: UInt8?
    private var isHeard = false
    private var since: Nanoseconds?

    static let limit = Nanoseconds.milliseconds(10_000)
    static let pause = Nanoseconds.milliseconds(5_000)
    /// An initrd unpacks to several times its size.
    private static let growth: UInt64 = 4

    /// - Parameters:
    ///   - mebibytes: the guest's memory.
    ///   - kernelEnd, initrd: in bytes, where its kernel ends in that, and how long the initrd is.
    ///   - words: the kernel's.
    ///   - console: what keeps the kernel from saying anything, if it was not told so.
    @inline(never)
    init(
        mebibytes: UInt32, kernelEnd: UInt64, initrd: UInt32, words: [Text], console: StaticString
    ) {
        self.mebibytes = mebibytes
        isTight = UInt64(mebibytes) << 20 < kernelEnd + Self.growth * UInt64(initrd)
        isQuiet = words.contains("quiet")
        self.console = console
    }

    mutating func hear(_ bytes: UnsafeRawBufferPointer) {
        guard let byte = unsafe bytes.last else { return }
        last = byte
        isHeard = true
    }

    /// - Returns: what to say, once it was silent for long.
    mutating func look(_ now: Nanoseconds) -> Text? {
        guard let since, !isHeard else {
            since = now
            isHeard = false
            return nil
        }
        guard since + Self.limit < now, last == nil || isTight && (last == 0x0A || last == 0x0D)
        else { return nil }
        var text: Text = "nothing has been heard from the guest for 10 s: "
        if isTight {
            text +=
                "its initrd may not fit into \(mebibytes) MiB of memory once it is unpacked"
        } else {
            text.appendInterpolation(isQuiet ? "its kernel was told to be quiet" : console)
        }
        return text
    }
}
