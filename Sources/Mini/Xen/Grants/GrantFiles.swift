// The files that pages are written to and filled from.

enum GrantFiles {
    /// Writes bytes, and tells how far it is.
    static func write(
        _ bytes: UnsafeRawBufferPointer, to sink: Sink, _ progress: Progress
    ) throws(GrantError) {
        var done = 0
        while done < bytes.count {
            let end = min(done + Progress.step, bytes.count)
            try unsafe sink.write(UnsafeRawBufferPointer(rebasing: bytes[done..<end]))
            done = end
            progress.update(UInt64(done))
        }
    }

    /// Refuses to write the bytes of pages to a terminal, unless that was asked for.
    static func checkOutput(_ name: Text?) throws(GrantError) {
        guard name == nil, Terminal.isTerminal(1) else { return }
        throw .use(
            "standard output is a terminal: --hexdump or --out FILE, or --out - if the bytes are meant for it"
        )
    }

    /// Writes a line to standard output.
    static func say(_ text: Text, _ deadline: Deadline = .never) throws(GrantError) {
        try Sink("-", deadline).write(text)
    }

    /// Waits for a file that another process reads or writes, if a signal must end that.
    private static func wait(
        for interest: Poll.Interest, _ deadline: Deadline
    ) throws(Errno) {
        guard deadline != .never else { return }
        if try !deadline.wait(for: interest) { throw .interrupted }
    }

    /// Between two looks at a pipe that is not open at its other end, or a stream that took nothing.
    private static let pause = Nanoseconds.milliseconds(5)

    // MARK: Writing

    /// A file that is made or emptied, or standard output. Where signals are held back, nothing is waited for
    /// without them: a pipe that is full, one without a reader yet, a terminal that was stopped.
    final class Sink {
        private let name: Text
        private let file: Descriptor?
        /// What it writes to.
        let number: Int32
        private let deadline: Deadline
        /// Standard output then.
        let stream: StandardStream?

        init(_ name: Text, _ deadline: Deadline = .never) throws(GrantError) {
            self.name = name
            self.deadline = deadline
            if name == "-" {
                file = nil
                number = 1
                stream = deadline == .never ? nil : StandardStream(1, .writeOnlyNow)
                return
            }
            stream = nil
            let file: Descriptor
            do throws(Errno) { file = try Self.open(name, deadline) } catch {
                throw .host("open", name: name, error)
            }
            number = file.number
            self.file = consume file
        }

        private static func open(_ name: Text, _ deadline: Deadline) throws(Errno) -> Descriptor {
            if deadline == .never { return try Descriptor.open(name, .create) }
            while true {
                do throws(Errno) {
                    return try Descriptor.open(name, .create.withoutWaiting)
                } catch {
                    // ENXIO of a pipe: it has no reader yet.
                    guard error == .noSuchDevice,
                        try FileStatus.of(name, followsLink: true).kind == .pipe
                    else { throw error }
                }
                if deadline.isOver { throw .interrupted }
                deadline.sleep(atMost: pause)
            }
        }

        /// What it writes to, for a process that gives up all else.
        func keep(_ have: inout GrantDescriptors, _ features: inout [GrantFeature]) {
            if let stream { have.output = stream.descriptor }
            guard file != nil else { return }
            have.file = number
            features.append(.file)
        }

        func write(_ bytes: UnsafeRawBufferPointer) throws(GrantError) {
            do throws(Errno) { try unsafe writeAll(bytes) } catch {
                if name == "-" { throw .system("write to standard output", error) }
                throw .host("write", name: name, error)
            }
        }

        private func writeAll(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
            if deadline == .never { return try unsafe Transfer.writeAll(number, bytes) }
            var done = 0
            while done < bytes.count {
                try wait(for: Poll.Interest(number, .writable), deadline)
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
                do throws(Errno) {
                    let count =
                        if let stream { try unsafe stream.write(rest) } else {
                            try unsafe Transfer.write(number, some: rest)
                        }
                    done += count
                } catch {
                    guard error == .again else { throw error }
                    deadline.sleep(atMost: pause)
                }
            }
        }

        func write(_ text: Text) throws(GrantError) {
            var failure: GrantError?
            unsafe text.bytes.withUnsafeBytes { bytes in
                do throws(GrantError) { try unsafe write(bytes) } catch { failure = error }
            }
            if let failure { throw failure }
        }
    }

    // MARK: Filling

    /// A file to read, or standard input.
    final class Source {
        private let name: Text
        private let file: Descriptor?
        private let number: Int32
        /// How many bytes it has; nil for what does not tell: a pipe, a file of /proc.
        let size: Int?
        /// A device, which gives as much as is asked for.
        private let isEndless: Bool
        /// What was read before it was wanted.
        private var held: Mapping?
        private var given = 0
        /// Told of what is read.
        var progress: Progress?

        /// - Parameter deadline: with the signals that are held back, if they are: then nothing is waited for
        ///   without them.
        init(_ name: Text, _ deadline: Deadline = .never) throws(GrantError) {
            self.name = name
            if name == "-" {
                file = nil
                number = 0
                size = nil
                isEndless = false
                return
            }
            let file: Descriptor
            do throws(Errno) {
                file = try Descriptor.open(
                    name, deadline == .never ? .readOnly : .readOnly.withoutWaiting)
            } catch { throw .host("open", name: name, error) }
            let status: FileStatus
            do throws(Errno) { status = try file.status() } catch {
                throw .host("examine", name: name, error)
            }
            size =
                status.kind == .regular && status.size > 0 ? Int(clamping: status.size) : nil
            number = file.number
            isEndless = status.kind == .other && !Terminal.isTerminal(number)
            self.file = consume file
        }

        /// - Parameters:
        ///   - count: how many bytes it must have. This is looked at first, so that nothing is changed
        ///     where it cannot work: what does not tell is read for it.
        ///   - isPart: whether it may have more, because just so many were asked for.
        convenience init(
            _ name: Text, filling count: Int, isPart: Bool, _ deadline: Deadline = .never
        ) throws(GrantError) {
            try self.init(name, deadline)
            if let size {
                if size < count { throw short(size, count) }
                if size > count && !isPart { throw long(count) }
            } else if !isEndless {
                let room = try Self.room(count)
                let there = try unsafe pour(into: room.bytes, deadline)
                if there < count { throw short(there, count) }
                if !isPart {
                    guard try isAtEnd(deadline) else { throw long(count) }
                }
                held = consume room
            }
        }

        private static func room(_ count: Int) throws(GrantError) -> Mapping {
            do throws(Errno) { return try Mapping.anonymous(count: count) } catch {
                throw .system("get memory for what is read", error)
            }
        }

        /// Reads exactly so many bytes.
        func fill(
            _ bytes: UnsafeMutableRawBufferPointer, _ deadline: Deadline = .never
        ) throws(GrantError) {
            if held != nil { return unsafe fillFromHeld(bytes) }
            let count = try unsafe pour(into: bytes, deadline)
            if count < bytes.count { throw short(count, bytes.count) }
        }

        private func fillFromHeld(_ bytes: UnsafeMutableRawBufferPointer) {
            guard let all = unsafe held?.bytes else { return }
            unsafe bytes.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: all[given..<given + bytes.count]))
            given += bytes.count
        }

        /// Reads until the file ends or the room is full.
        /// - Returns: how many bytes that were.
        @discardableResult
        func pour(
            into bytes: UnsafeMutableRawBufferPointer, _ deadline: Deadline = .never
        ) throws(GrantError) -> Int {
            var count = 0
            while count < bytes.count {
                let end = min(count + Progress.step, bytes.count)
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[count..<end])
                let more = try unsafe read(into: rest, deadline)
                if more == 0 { break }
                count += more
                progress?.update(UInt64(count))
            }
            return count
        }

        private func read(
            into bytes: UnsafeMutableRawBufferPointer, _ deadline: Deadline = .never
        ) throws(GrantError) -> Int {
            do throws(Errno) {
                while true {
                    try wait(for: Poll.Interest(number), deadline)
                    do throws(Errno) { return try unsafe Transfer.read(number, into: bytes) } catch
                    {
                        guard error == .again && deadline != .never else { throw error }
                        deadline.sleep(atMost: pause)
                    }
                }
            } catch {
                if name == "-" { throw .system("read standard input", error) }
                throw .host("read", name: name, error)
            }
        }

        /// Whether there is nothing more. Takes a byte if there is.
        private func isAtEnd(_ deadline: Deadline = .never) throws(GrantError) -> Bool {
            if isEndless { return true }
            let room = try Self.room(1)
            return try unsafe read(into: room.bytes, deadline) == 0
        }

        // MARK: Filling a share

        /// Reads what does not tell its size, to know how many pages it fills.
        /// - Parameter most: how many bytes there may be at the most.
        /// - Returns: its size.
        func measure(most: Int) throws(GrantError) -> Int {
            if let size { return size }
            if isEndless { throw .use("\(quoted: name) has no end: --pages says how much of it") }
            var room = try Self.room(1 << 20)
            var count = try unsafe pour(into: room.bytes)
            while count == room.count, count < most {
                let larger = try Self.room(min(2 * count, most))
                unsafe larger.bytes.copyMemory(from: UnsafeRawBufferPointer(room.bytes))
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: larger.bytes[count...])
                count += try unsafe pour(into: rest)
                room = consume larger
            }
            if count == most, try !isAtEnd() { throw long(most) }
            held = consume room
            return count
        }

        /// Fills the start of the pages with all of it.
        /// - Parameter measured: its size, where that is known.
        func fillStart(
            of bytes: UnsafeMutableRawBufferPointer, measured: Int?, _ deadline: Deadline = .never
        ) throws(GrantError) {
            if let measured, held != nil {
                return unsafe fillFromHeld(
                    UnsafeMutableRawBufferPointer(rebasing: bytes[..<measured]))
            }
            let count = try unsafe pour(into: bytes, deadline)
            if let measured, count != measured {
                throw .use(
                    "\(quoted: name) had \(measured) bytes, and has changed while it was read")
            }
            // A file that ends with the pages has nothing behind them; others are asked.
            if count == bytes.count, try !isAtEnd(deadline) { throw long(bytes.count) }
        }

        private func short(_ size: Int, _ wanted: Int) -> GrantError {
            .use("\(quoted: name) has only \(size) of the \(wanted) bytes that are to be filled")
        }

        private func long(_ room: Int) -> GrantError {
            .use("\(quoted: name) has more than the \(room) bytes that are to be filled")
        }
    }

    // MARK: For people

    /// Writes bytes in lines of sixteen: offset, hexadecimal, characters. Lines that repeat the
    /// one before are one asterisk.
    static func dump(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, to file: Sink
    ) throws(GrantError) {
        var text = Text()
        var before: [UInt8] = []
        var isRepeating = false
        var place = 0
        while place < bytes.count {
            let line = unsafe Array(bytes[place..<min(place + 16, bytes.count)])
            if line != before || line.count < 16 {
                text += dumpLine(line, at: offset + place)
                isRepeating = false
            } else if !isRepeating {
                text += "*\n"
                isRepeating = true
            }
            before = line
            place += 16
            if text.bytes.count > 16384 {
                try file.write(text)
                text = Text()
            }
        }
        text += "\(bareHex: UInt(offset + bytes.count), width: 8)\n"
        try file.write(text)
    }

    private static func dumpLine(_ line: [UInt8], at offset: Int) -> Text {
        var text: Text = "\(bareHex: UInt(offset), width: 8) "
        for place in 0..<16 {
            if place == 8 { text += " " }
            text += place < line.count ? " \(bareHex: line[place], width: 2)" : "   "
        }
        text += "  |"
        for byte in line { text.append(byte >= 0x20 && byte < 0x7F ? byte : UInt8(ascii: ".")) }
        text += "|\n"
        return text
    }
}
