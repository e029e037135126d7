// A mapped file can become shorter while we use it: others may be able to write to it. An access to a page
// beyond its new end raises SIGBUS, which would end us. Here that page is replaced by one of zeros, of our
// own, and the program goes on: it asks in its own time whether that happened, and tells it in a line. System calls on such a page fail with EFAULT instead.
// Sources: mmap(2) (SIGBUS), sigaction(2) (si_code BUS_ADRERR, si_addr).

import CShim

enum FileFaults {
    /// How many pages were replaced; it may come round.
    nonisolated(unsafe) private(set) static var count: UInt = 0
    /// The first address since the last `take`, and the last one.
    nonisolated(unsafe) private static var first: UInt = 0
    nonisolated(unsafe) private static var last: UInt = 0
    nonisolated(unsafe) private static var isInstalled = false
    /// Whether SIGALRM is held back and looked for: it then ends a run of the guest.
    nonisolated(unsafe) static var isAlarmAwaited = false

    private static let behindEnd: Int32 = 2  // BUS_ADRERR
    private static let pageSize = UInt(Page.size)

    /// From now on, to the end of the process.
    static func install() {
        var action = mini_sigaction()
        let handler: @convention(c) (Int32, UnsafePointer<Int32>) -> Void = {
            unsafe FileFaults.handle($0, $1)
        }
        action.handler = unsafe unsafeBitCast(handler, to: (@convention(c) (Int32) -> Void).self)
        action.flags = Signal.onOwnStack | Signal.returnsByItself
        action.restorer = mini_signal_return
        unsafe isInstalled = (try? Signal.busError.set(action)) != nil
    }

    /// The addresses of the first and the last page that were replaced since the last time; nil if none was.
    static func take() -> (UInt, UInt)? {
        guard unsafe first != 0 else { return nil }
        defer { unsafe first = 0 }
        return unsafe (first, last)
    }

    /// Touches memory that a system call found no access to.
    /// - Returns: true if a page was replaced, and the call may be made again.
    static func touch(_ address: UInt, _ length: Int) -> Bool {
        guard unsafe isInstalled, length > 0 else { return false }
        let before = unsafe count
        var page = address & ~(pageSize - 1)
        let end = address &+ UInt(length)
        while page < end {
            if let pointer = unsafe UnsafeMutableRawPointer(bitPattern: max(page, address)) {
                _ = unsafe mini_load8(pointer)
            }
            page &+= pageSize
        }
        return unsafe count != before
    }

    /// - Parameter information: siginfo_t; its third word is the code, after which the address stands.
    private static func handle(_ signal: Int32, _ information: UnsafePointer<Int32>) {
        let place = MemoryLayout<Int>.size == 8 ? 16 : 12
        let address = unsafe UnsafeRawPointer(information).load(
            fromByteOffset: place, as: UInt.self)
        guard unsafe information[2] == behindEnd, replace(address & ~(pageSize - 1)) else {
            Terminal.rescue()
            // The exit code that a shell gives for the signal; in a sandbox there is no call to take the handler
            // away.
            Process.exit(128 + Signal.busError.rawValue)
        }
        unsafe count &+= 1
        unsafe last = address
        if unsafe first == 0 { unsafe first = address }
        if unsafe isAlarmAwaited { try? Signal.alarm.raise() }
    }

    private static func replace(_ page: UInt) -> Bool {
        // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
        let made = try? SystemCall.make(
            .map, Int(bitPattern: page), Int(pageSize), 3, 0x32, -1, 0)
        return made != nil
    }
}
