// How far something has come, for a person who watches it: a line on standard error, if that is a terminal,
// once a second has passed. It is written over and over, and gone at the end.

final class Progress {
    private let total: UInt64?
    private let isWatched: Bool
    private let start: Nanoseconds
    /// When the next line is due.
    private var due: Nanoseconds
    private var width = 0
    private let messages: MessageOutput?

    private static let patience = Nanoseconds.milliseconds(1000)
    private static let pause = Nanoseconds.milliseconds(250)
    private static let megabyte: UInt64 = 1_000_000

    /// How much may happen between two looks at the clock.
    static let step = 1 << 20

    /// - Parameters:
    ///   - total: in bytes; nil if it is unknown.
    ///   - messages: given where signals are held back: then no write waits.
    init(of total: Int?, _ messages: MessageOutput? = nil) {
        self.messages = messages
        self.total = total.map { UInt64($0) }
        isWatched = messages?.isTerminal ?? Terminal.isTerminal(2)
        start = isWatched ? Clock.monotonic() : Nanoseconds(count: 0)
        due = start + Self.patience
    }

    deinit { end() }

    /// - Parameter done: how many bytes there were from the start on.
    func update(_ done: UInt64) {
        guard isWatched else { return }
        let now = Clock.monotonic()
        guard now >= due else { return }
        due = now + Self.pause
        // Bytes in a microsecond are megabytes in a second.
        let speed = done / ((now - start).count / 1000)
        var line: Text = "\(done / Self.megabyte)"
        if let total { line += " of \(total / Self.megabyte)" }
        line += " MB, \(speed) MB/s"
        write(line)
    }

    /// Takes the line away.
    func end() {
        if width > 0 { write(Text()) }
        width = 0
    }

    private func write(_ line: Text) {
        var text: Text = "\r\(line)"
        for _ in 0..<max(0, width - line.bytes.count) { text.append(0x20) }
        if line.bytes.isEmpty { text += "\r" }
        width = line.bytes.count
        if let messages { return messages.write(text, patience: .milliseconds(0)) }
        // A terminal that takes nothing more is no reason to fail.
        try? Transfer.write(2, text)
    }
}
