// The waker's thread for real, with the end of a pipe in place of the lguest device: BREAK
// arrives there, and a full pipe blocks the thread as BREAK does on the device.

import Foundation
import Synchronization
import Testing

@testable import Mini

/// The end of a pipe that the waker takes for its device.
private final class PipeDevice {
    private var pipe: PipeEnds
    private var end: Descriptor?
    var writing: Int32 { end?.number ?? -1 }

    init() throws {
        pipe = try PipeEnds()
        end = pipe.takeWriting()
    }

    /// The next BREAK, or nil if none comes within the time.
    func nextBreak(within time: Nanoseconds = .milliseconds(60_000)) throws -> [UInt32]? {
        guard try Poll.wait([Poll.Interest(pipe.reading)], timeout: time)[0] else { return nil }
        var words = [UInt32](repeating: 0, count: 2)
        let count = try words.withUnsafeMutableBytes {
            try Transfer.readRecord(pipe.reading, into: $0)
        }
        return count == 8 ? words : []
    }

    /// Leaves no room for a BREAK.
    func fill() throws {
        // fcntl, F_SETPIPE_SZ
        try SystemCall.make(.init(rawValue: 72), Int(writing), 1031, 4096)
        _ = try Transfer.writeRecord(writing, [UInt32](repeating: 7, count: 1024))
    }
}

/// Something to watch.
private final class Bell {
    private var pipe: PipeEnds
    private var writing: Descriptor?

    init() throws {
        pipe = try PipeEnds()
        writing = pipe.takeWriting()
    }

    var descriptor: Int32 { pipe.reading }
    func ring() throws { try Transfer.write(writing?.number ?? -1, "!") }
    func hangUp() { writing = nil }
}

private func threads() throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task"))
}

/// A line of what the kernel says of a thread; nil if the thread has gone.
private func status(of thread: String, _ name: String) -> String? {
    let text = try? String(contentsOfFile: "/proc/self/task/\(thread)/status", encoding: .utf8)
    return text?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
}

/// The threads that hold back every signal but SIGKILL, SIGSTOP and SIGURG.
private func wakers() throws -> [String] {
    try threads().filter { status(of: $0, "SigBlk") == "ffffffffffbbfeff" }.sorted()
}

/// Clock ticks that a thread has run for.
private func processorTime(of thread: String) throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/task/\(thread)/stat", encoding: .utf8)
    let fields = text.split(separator: ")").last!.split(separator: " ")
    return Int(fields[11])! + Int(fields[12])!
}

@Suite(.serialized) struct WakerThreadTests {
    @Test("what becomes readable makes the waker write BREAK, again after each time")
    func wakes() throws {
        let device = try PipeDevice()
        let quiet = try Bell()
        let bell = try Bell()
        let waker = try WakerThread(device: device.writing, by: .request)
        waker.launcherRuns(true)
        try waker.watch([quiet.descriptor, bell.descriptor])
        #expect(try device.nextBreak(within: .milliseconds(50)) == nil)
        try bell.ring()
        for _ in 0..<3 { #expect(try device.nextBreak() == [3, 1]) }
        #expect(waker.failure == nil)
    }

    @Test("while the launcher does not run its guest no BREAK is written, and one when it does")
    func wakesRunner() throws {
        let device = try PipeDevice()
        let bell = try Bell()
        let waker = try WakerThread(device: device.writing, by: .request)
        try waker.watch([bell.descriptor])
        try bell.ring()
        #expect(try eventually { waker.launcherRuns(false) })
        #expect(try device.nextBreak(within: .milliseconds(50)) == nil)
        runGuest(waker)
        #expect(try device.nextBreak() == [3, 1])
        #expect(waker.failure == nil)
    }

    @Test("of what is watched by its complement only the other side's end makes it write BREAK")
    func wakesAtEnd() throws {
        let device = try PipeDevice()
        let bell = try Bell()
        let waker = try WakerThread(device: device.writing, by: .request)
        waker.launcherRuns(true)
        try waker.watch([~bell.descriptor])
        try bell.ring()
        #expect(try device.nextBreak(within: .milliseconds(50)) == nil)
        bell.hangUp()
        #expect(try device.nextBreak() == [3, 1])
        #expect(waker.failure == nil)
    }

    @Test(
        "for a device without BREAK a signal ends the launcher's wait, again and again until it does not run its guest"
    )
    func signals() throws {
        let empty = try Bell()
        let bell = try Bell()
        let waker = try WakerThread(device: -1, by: .signal)
        func wait() throws(Errno) {
            var byte = [UInt8](repeating: 0, count: 1)
            var failure: Errno?
            byte.withUnsafeMutableBytes { byte in
                do throws(Errno) {
                    _ = try Transfer.readRecord(empty.descriptor, into: byte)
                } catch { failure = error }
            }
            if let failure { throw failure }
        }
        waker.launcherRuns(true)
        try waker.watch([bell.descriptor])
        try bell.ring()
        // The bell stays rung, so each wait is ended, also one that begins after a signal.
        for _ in 0..<20 {
            #expect(throws: Errno.interrupted) { try wait() }
        }
        #expect(waker.launcherRuns(false))
        // A signal may still be under way; then none comes any more.
        try empty.ring()
        while (try? wait()) == nil {}
        try pause()
        try empty.ring()
        #expect(throws: Never.self) { try wait() }
        // It waits until it is told that the launcher has looked, and finds the bell rung as before.
        #expect(waker.launcherRuns(false))
        runGuest(waker)
        #expect(throws: Errno.interrupted) { try wait() }
        waker.resume()
        #expect(try eventually { waker.launcherRuns(false) })
        #expect(waker.failure == nil)
    }

    @Test("where a signal wakes, the waker takes next to no processor while something is ready")
    func sleeps() throws {
        let bell = try Bell()
        let waker = try WakerThread(device: -1, by: .signal)
        try waker.watch([bell.descriptor])
        try bell.ring()
        // While the launcher runs its guest and no signal ends that, and while it does not.
        for runs in [true, false] {
            waker.launcherRuns(runs)
            let identity = try onlyWaker()
            let before = try processorTime(of: identity)
            // Half a second; a signal each millisecond.
            for _ in 0..<10 { try pause() }
            #expect(try processorTime(of: identity) - before < 20)
        }
        #expect(waker.failure == nil)
    }

    @Test("a waker that waits for the launcher goes at once, too")
    func stopsWaiting() throws {
        for runs in [true, false] {
            let bell = try Bell()
            var waker: WakerThread? = try WakerThread(device: -1, by: .signal)
            waker?.launcherRuns(runs)
            try waker?.watch([bell.descriptor])
            try bell.ring()
            #expect(try eventually { waker?.launcherRuns(runs) ?? false })
            let identity = try onlyWaker()
            waker = nil
            #expect(try eventually { !(try threads().contains(identity)) })
        }
    }

    @Test("a hang-up wakes as well")
    func hangUp() throws {
        let device = try PipeDevice()
        let bell = try Bell()
        let waker = try WakerThread(device: device.writing, by: .request)
        waker.launcherRuns(true)
        try waker.watch([bell.descriptor])
        bell.hangUp()
        #expect(try device.nextBreak() == [3, 1])
        _ = waker.failure
    }

    @Test("what is watched no more wakes nobody, what is watched instead does")
    func otherWatch() throws {
        let device = try PipeDevice()
        let first = try Bell()
        let second = try Bell()
        let waker = try WakerThread(device: device.writing, by: .request)
        waker.launcherRuns(true)
        try waker.watch([first.descriptor])
        try waker.watch([])
        try first.ring()
        #expect(try device.nextBreak(within: .milliseconds(100)) == nil)
        try waker.watch([second.descriptor])
        try second.ring()
        #expect(try device.nextBreak() == [3, 1])
        _ = waker.failure
    }

    @Test("it goes at once, from a wait for input and from a BREAK that nobody takes back")
    func stops() throws {
        for isBlocked in [false, true] {
            let device = try PipeDevice()
            if isBlocked { try device.fill() }
            let bell = try Bell()
            var waker: WakerThread? = try WakerThread(device: device.writing, by: .request)
            waker?.launcherRuns(true)
            try waker?.watch([bell.descriptor])
            if isBlocked { try bell.ring() }
            try pause()
            let identity = try onlyWaker()
            waker = nil
            // The kernel tells of the end a moment before the thread leaves the list.
            #expect(try eventually { !(try threads().contains(identity)) })
        }
    }

    @Test("a device that refuses BREAK is left alone until there is something else to watch")
    func refused() throws {
        let bell = try Bell()
        let full = try Descriptor.open("/dev/full", .readWrite)
        let waker = try WakerThread(device: full.number, by: .request)
        waker.launcherRuns(true)
        try bell.ring()
        try waker.watch([bell.descriptor])
        _ = try onlyWaker()
        try pause()
        let before = try wakers().map { try processorTime(of: $0) }
        for _ in 0..<4 { try pause() }
        let after = try wakers().map { try processorTime(of: $0) }
        #expect(before.count == 1 && before == after)
        #expect(waker.failure == nil)
        _ = full.number
    }

    @Test("more descriptors than it has room for are refused, a closed one wakes at once")
    func limits() throws {
        let device = try PipeDevice()
        let waker = try WakerThread(device: device.writing, by: .request)
        waker.launcherRuns(true)
        #expect(throws: Errno.invalid) {
            try waker.watch([Int32](repeating: 0, count: WakerThread.mostWatched + 1))
        }
        try waker.watch([Int32](repeating: 987_654, count: WakerThread.mostWatched))
        #expect(try device.nextBreak() == [3, 1])
    }

    @Test("signals to the process are not the waker's")
    func mask() throws {
        let device = try PipeDevice()
        let waker = try WakerThread(device: device.writing, by: .request)
        _ = try onlyWaker()
        _ = waker.failure
    }

    @Test("whichever call fails, nothing is left behind")
    func everyCallFails() throws {
        let device = try PipeDevice()
        func start(failing: Int?) -> FakeTerminal.State {
            let kernel = FakeTerminal { if let failing { $0.failing = (failing, .noMemory) } }
            kernel.play {
                if let waker = try? WakerThread(device: device.writing, by: .request) {
                    try? waker.watch([device.writing])
                }
            }
            return kernel.now
        }
        let whole = start(failing: nil)
        // Whether the thread has gone before anybody asks is its own business.
        let waits: [SystemCall.Number] = [.processID, .killThread, .futex]
        let sure: [SystemCall.Number] = [
            .pipe, .map, .signalAction, .signalMask, .clone, .signalMask, .write, .close,
            .signalAction,
        ]
        let made = whole.calls.filter { call in !waits.contains { $0.rawValue == call } }
        #expect(Array(made.prefix(sure.count)) == sure.map(\.rawValue))
        for call in 1...whole.calls.count {
            let state = start(failing: call)
            // Which call that was, where it came to so many: others wait for the thread, as often as it takes.
            let failed = state.calls.dropFirst(call - 1).first
            let number = failed.flatMap { SystemCall.Number(rawValue: $0) }
            if number == .unmap { continue }
            #expect(state.descriptors.isEmpty && state.mappings.isEmpty, "call \(call)")
            if number != .signalMask { #expect(state.held == 0, "call \(call)") }
        }
    }

    /// What a launcher does that has looked, before it runs its guest: the waker can find something again in between.
    private func runGuest(_ waker: WakerThread) {
        while waker.launcherRuns(true) { waker.resume() }
    }

    /// The waker that there is, once those of the tests before have left the list.
    private func onlyWaker() throws -> String {
        #expect(try eventually { try wakers().count == 1 })
        return try #require(try wakers().first)
    }

    /// Looks again and again, for two minutes: longer than a busy machine takes.
    private func eventually(_ isSo: () throws -> Bool) throws -> Bool {
        for _ in 0..<2400 {
            if try isSo() { return true }
            try pause()
        }
        return false
    }

    /// Lets time pass, whatever signals come.
    private func pause() throws {
        let deadline = Deadline.after(.milliseconds(50))
        while !deadline.isOver { _ = try Poll.wait([], timeout: deadline.remaining) }
    }
}
