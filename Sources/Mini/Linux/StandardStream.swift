// Standard input, output and error, read and written without waiting for the other end.
//
// The descriptors are shared with the shell and its other jobs. O_NONBLOCK belongs to what they share, so
// it is not ours to set: it would stay behind if we were killed. A terminal or pipe is opened once more
// instead, through /proc, and what is opened there is our own. Where that is refused (no /proc, a
// terminal of another user's, a socket), a timer's signal ends a call that waits.
// Sources: open(2), proc(5), pipe(7), signal(7) (calls that are interrupted), termios(3) (TOSTOP).

/// One of the three, for as long as it is used.
final class StandardStream {
    enum Way: Equatable {
        /// A file or a device of memory: there is no other end to wait for.
        case direct
        /// Through an open description of our own.
        case own
        /// As it is, with a timer.
        case timed
    }
    let way: Way
    let isTerminal: Bool
    /// A pipe that we can do nothing else with than write to it.
    let isPipe: Bool
    let isSocket: Bool
    private let number: Int32
    /// What is read or written: the number itself, or what was opened.
    private let used: Int32
    var descriptor: Int32 { used }

    /// - Parameters:
    ///   - number: 0, 1 or 2.
    ///   - mode: `.readOnlyNow` or `.writeOnlyNow`.
    init(_ number: Int32, _ mode: Descriptor.OpenMode) {
        self.number = number
        let status = try? FileStatus.of(number)
        let kind = status?.kind ?? .regular
        isTerminal = kind == .other && Terminal.isTerminal(number)
        isSocket = kind == .socket
        isPipe = kind == .pipe && Descriptor.isWriteOnly(number)
        // Opening a terminal's other end once more would make another terminal.
        let canOpen = kind == .pipe || isTerminal && !Terminal.isController(number)
        let opened = canOpen ? Descriptor.neverWaitingNumber(number, mode) : nil
        used = opened ?? number
        way =
            switch kind {
            case .regular, .block, .directory: .direct
            // /dev/null and its like.
            case .other where status?.number.major == DeviceNumber.memoryMajor: .direct
            default: opened == nil ? .timed : .own
            }
        if way == .timed { Alarm.prepare() }
    }

    deinit { if used != number { Descriptor.closeNumber(used) } }

    /// Reads what there is; 0 is the end.
    /// - Throws: EAGAIN if there is nothing.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        try unsafe transfer(.read, UnsafeRawBufferPointer(buffer))
    }

    /// Writes what is taken now.
    /// - Returns: how many bytes that were, at least one.
    /// - Throws: EAGAIN if nothing is taken.
    func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        guard isTerminal, !Terminal.isForeground(number) else {
            return try unsafe transfer(.write, bytes)
        }
        // In the background, `stty tostop` asks that a process which writes is stopped.
        let stopping: SignalSet = [.backgroundWrite]
        let before = try stopping.apply(.unblock)
        let count: Int?
        do throws(Errno) { count = try unsafe transfer(.write, bytes) } catch {
            _ = try? before.apply(.replace)
            // EIO: our process group is orphaned, and no shell could let us go on if we were stopped. It is written all the same.
            guard error == .inputOutput else { throw error }
            return try unsafe transfer(.write, bytes)
        }
        _ = try before.apply(.replace)
        return count ?? 0
    }

    private func transfer(
        _ call: SystemCall.Number, _ bytes: UnsafeRawBufferPointer
    ) throws(Errno) -> Int {
        let address = Int(bitPattern: bytes.baseAddress)
        let count = bytes.count
        if way == .timed {
            return try Alarm.limiting { () throws(Errno) in
                try SystemCall.make(call, Int(used), address, count)
            }
        }
        do throws(Errno) {
            return try SystemCall.make(call, Int(used), address, count)
        } catch {
            if error == .interrupted { throw .again }
            guard error == .badAddress, FileFaults.touch(UInt(bitPattern: address), count) else {
                throw error
            }
            throw .again
        }
    }
}
