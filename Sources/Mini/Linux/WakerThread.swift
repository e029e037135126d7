// A thread that ends the wait of another: it watches descriptors, and when one is readable while the launcher runs its guest it
// writes BREAK to an lguest device, or sends a signal, which makes the launcher's run() return. What the thread
// itself does is in CShim/waker.c. It shares all that the process has and lives in the same
// thread group, so it ends with the process, whatever ends that; it needs a pipe, and memory
// for its stack. Between the two threads are the pipe, the device, and two words: the launcher runs, the waker waits.
// Sources: clone(2), set_tid_address(2), futex(2), pipe(7) (writes up to 4096 bytes are whole).

import CShim

/// A running waker; stopped and gone when this goes.
final class WakerThread {
    /// As many descriptors can be watched.
    static let mostWatched = Int(MINI_WAKER_LIMIT)

    private let pipe: PipeEnds
    private var writing: Descriptor?
    /// The thread's record at its end, and its stack from there down: some pages do for both.
    private let room: Mapping
    /// What the signal that ends it meant before.
    private let action: mini_sigaction
    private var watched: [Int32] = []

    /// A signal's frame has to fit as well.
    private static let roomSize = 65536
    /// Ends the thread's waits when it has to go. By default nobody notices this signal, so
    /// that a handler which does nothing changes nothing for anybody else.
    private static let ender = Signal.urgent

    /// All of memory, files, signals and the thread group are shared; the thread's number is
    /// kept where it starts and cleared when it has gone.
    private static let flags =
        0x100 | 0x200 | 0x400 | 0x800  // CLONE_VM, _FS, _FILES, _SIGHAND
        | 0x1_0000 | 0x4_0000  // CLONE_THREAD, _SYSVSEM
        | 0x10_0000 | 0x20_0000  // CLONE_PARENT_SETTID, _CHILD_CLEARTID

    /// What ends the wait of the thread that this is made by.
    enum Way {
        /// BREAK, written to the device.
        case request
        /// A signal, where the device knows no BREAK.
        case signal
    }

    /// Starts the thread; it watches nothing yet.
    /// - Parameter device: an open lguest device, initialized; stays open longer than this.
    init(device: Int32, by way: Way) throws(Errno) {
        let signals = way == .signal
        var pipe = try PipeEnds()
        let room = try Mapping.anonymous(count: Self.roomSize)
        var quiet = mini_sigaction()
        quiet.handler = mini_ignore_signal
        quiet.flags = Signal.returnsByItself
        quiet.restorer = mini_signal_return
        let action = try Self.ender.set(quiet)
        func number(_ call: SystemCall.Number) -> Int32 {
            Int32(truncatingIfNeeded: (try? SystemCall.make(call)) ?? 0)
        }
        do throws(Errno) {
            let record = unsafe Self.record(in: room)
            unsafe record.initialize(
                to: mini_waker(
                    identity: 0, device: device, signal: signals ? Self.ender.rawValue : 0,
                    process: signals ? number(.processID) : 0,
                    owner: signals ? number(.threadID) : 0, control: pipe.reading,
                    failure: 0, runs: 0, waits: 0, poll: SystemCall.Number.poll.rawValue,
                    read: SystemCall.Number.read.rawValue,
                    write: SystemCall.Number.write.rawValue,
                    kill: SystemCall.Number.killThread.rawValue,
                    futex: SystemCall.Number.futex.rawValue,
                    exit: SystemCall.Number.exitThread.rawValue))
            // The thread takes over the mask. Signals to the process are for the launcher.
            var others = SignalSet()
            others.mask = ~0
            others.remove(Self.ender)
            var before = try others.apply(.replace)
            if signals { before.remove(Self.ender) }
            defer { _ = try? before.apply(.replace) }
            try unsafe SystemCall.startWaker(
                record, stack: UnsafeMutableRawPointer(record), flags: Self.flags)
        } catch {
            _ = try? Self.ender.set(action)
            throw error
        }
        writing = pipe.takeWriting()
        self.pipe = pipe
        self.room = room
        self.action = action
    }

    deinit {
        // A closed pipe tells the thread to go; the signal ends what it waits in. It can come
        // just before the wait begins, so it comes again until the thread has gone.
        writing = nil
        while identity != 0 {
            resume()
            _ = try? SystemCall.make(
                .killThread, (try? SystemCall.make(.processID)) ?? 0, Int(identity),
                Int(Self.ender.rawValue))
            awaitEnd(.milliseconds(10))
        }
        _ = try? Self.ender.set(action)
    }

    /// What the thread failed with, if it did. It then watches nothing until the next `watch`.
    var failure: Errno? {
        let number = unsafe record.pointee.failure
        return number == 0 ? nil : Errno(rawValue: number)
    }

    /// Watches these descriptors, in place of the earlier ones.
    /// - Throws: EINVAL if they are too many.
    func watch(_ descriptors: [Int32]) throws(Errno) {
        guard descriptors != watched, let number = writing?.number else { return }
        guard descriptors.count <= Self.mostWatched else { throw .invalid }
        // struct mini_watch
        var words = [UInt32](repeating: 0, count: 1 + Self.mostWatched)
        words[0] = UInt32(descriptors.count)
        for (index, descriptor) in descriptors.enumerated() {
            words[1 + index] = UInt32(bitPattern: descriptor)
        }
        // The pipe has room for 256 of these; the thread reads them at the latest when the
        // launcher takes the break back, which is when the next one is written.
        _ = try Transfer.writeRecord(number, words)
        watched = descriptors
    }

    // MARK: What the two tell each other

    /// The launcher runs its guest from now on, or does not: only one that does is woken.
    /// - Returns: true if something was ready, and the thread waits until the launcher has looked.
    @discardableResult
    func launcherRuns(_ runs: Bool) -> Bool { unsafe mini_waker_run(record, runs ? 1 : 0) != 0 }

    /// The launcher has looked, and takes its BREAK back, which wakes the thread.
    func free() { _ = unsafe mini_waker_free(record) }

    /// The launcher has looked: the thread looks again whether something is ready, if it waited for that.
    func resume() {
        guard launcherRuns(false) else { return }
        // FUTEX_WAKE
        _ = try? SystemCall.make(.futex, unsafe mini_waker_free(record), 1, 1)
    }

    /// Both ends of the pipe.
    var descriptors: [Int32] { [pipe.reading, writing?.number ?? -1] }

    private var record: UnsafeMutablePointer<mini_waker> { unsafe Self.record(in: room) }

    private static func record(in room: borrowing Mapping) -> UnsafeMutablePointer<mini_waker> {
        // A stack begins at a multiple of 16 bytes.
        let size = (MemoryLayout<mini_waker>.stride + 15) & ~15
        return unsafe (room.start + (roomSize - size)).assumingMemoryBound(to: mini_waker.self)
    }

    /// The thread's number; 0 when it has gone.
    private var identity: Int32 { unsafe record.pointee.identity }

    private func awaitEnd(_ time: Nanoseconds) {
        let seen = identity
        var limit = mini_timespec(time)
        // FUTEX_WAIT on the number, which comes first in the record.
        _ = try? withKernel(&limit) { (limit) throws(Errno) in
            try SystemCall.make(
                .futex, Int(bitPattern: unsafe record), 0, Int(seen), limit)
        }
    }
}

/// Two ends of a pipe.
struct PipeEnds: ~Copyable {
    private let input: Descriptor
    private var output: Descriptor?

    init() throws(Errno) {
        var ends: (Int32, Int32) = (-1, -1)
        _ = try withKernel(&ends) { (address) throws(Errno) in
            try SystemCall.make(.pipe, address)
        }
        input = Descriptor(owning: ends.0)
        output = Descriptor(owning: ends.1)
    }

    /// Reading finds what was written; the end, when nobody can write any more.
    var reading: Int32 { input.number }

    /// The other end, which is then the caller's to close.
    mutating func takeWriting() -> Descriptor? {
        let taken = output.take()
        return taken
    }
}
