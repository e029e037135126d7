// Standard error while signals are held back: a message is not worth more than a moment's wait, and is cut
// off if it is not read. Without signals held back, `Transfer.write` may wait as long as it likes.

/// Takes messages for people.
final class MessageOutput {
    private static let number: Int32 = 2
    private let stream = StandardStream(number, .writeOnlyNow)
    /// What is written to.
    var descriptor: Int32 { stream.descriptor }
    var isTerminal: Bool { stream.isTerminal }
    /// Whether writing takes a timer.
    var isTimed: Bool { stream.way == .timed }
    /// Nobody read the last one in time: the next does not wait at all.
    private var isStuck = false
    private static let pause = Nanoseconds.milliseconds(5)

    /// Writes a message as far as it is taken in time.
    func write(_ text: Text, patience: Nanoseconds = .milliseconds(50)) {
        let deadline = isStuck ? Deadline.after(Nanoseconds(count: 0)) : .after(patience)
        var rest = text.bytes[...]
        while !rest.isEmpty {
            var taken = 0
            do throws(Errno) {
                let ready = try Poll.wait(
                    [Poll.Interest(Self.number, .writable)], timeout: deadline.remaining)
                if ready[0] { taken = try write(rest.prefix(Transfer.pipeRoom)) }
            } catch { if error != .again { return } }
            rest = rest.dropFirst(taken)
            if taken == 0 {
                isStuck = deadline.isOver
                if isStuck { return }
                Clock.sleep(Self.pause)
            }
        }
        isStuck = false
    }

    private func write(_ bytes: ArraySlice<UInt8>) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeBytes { buffer in
            do throws(Errno) { result = .success(try unsafe stream.write(buffer)) } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }
}
