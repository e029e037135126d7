// The files that pages are written to and filled from.

enum GrantFiles {
    /// Writes bytes to a file that is made or emptied for it; `-` is standard output.
    static func write(_ bytes: UnsafeRawBufferPointer, to name: Text) throws(GrantError) {
        try unsafe Sink(name).write(bytes)
    }

    /// Writes a line to standard output.
    static func say(_ text: Text) throws(GrantError) { try Sink("-").write(text) }

    // MARK: Writing

    /// A file that is made or emptied, or standard output.
    final class Sink {
        private let name: Text
        private let file: Descriptor?
        private let number: Int32

        init(_ name: Text) throws(GrantError) {
            self.name = name
            if name == "-" {
                file = nil
                number = 1
                return
            }
            let file: Descriptor
            do throws(Errno) { file = try Descriptor.open(name, .create) } catch {
                throw .host("open", name: name, error)
            }
            number = file.number
            self.file = consume file
        }

        func write(_ bytes: UnsafeRawBufferPointer) throws(GrantError) {
            do throws(Errno) { try unsafe Transfer.writeAll(number, bytes) } catch {
                if name == "-" { throw .system("write to standard output", error) }
                throw .host("write", name: name, error)
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
        /// How many bytes it has; nil for what does not tell.
        let size: Int?

        init(_ name: Text) throws(GrantError) {
            self.name = name
            if name == "-" {
                file = nil
                number = 0
                size = nil
                return
            }
            let file: Descriptor
            do throws(Errno) { file = try Descriptor.open(name, .readOnly) } catch {
                throw .host("open", name: name, error)
            }
            let status: FileStatus
            do throws(Errno) { status = try file.status() } catch {
                throw .host("examine", name: name, error)
            }
            size = status.kind == .regular ? Int(clamping: status.size) : nil
            number = file.number
            self.file = consume file
        }

        /// - Parameter count: how many bytes it must have. This is looked at first, so that nothing
        ///   is changed where it cannot work.
        convenience init(_ name: Text, filling count: Int) throws(GrantError) {
            try self.init(name)
            if let size, size < count { throw short(size, count) }
        }

        /// Reads exactly so many bytes.
        func fill(_ bytes: UnsafeMutableRawBufferPointer) throws(GrantError) {
            let count = try unsafe pour(into: bytes)
            if count < bytes.count { throw short(count, bytes.count) }
        }

        /// Reads until the file ends or the room is full.
        /// - Returns: how many bytes that were.
        @discardableResult
        func pour(into bytes: UnsafeMutableRawBufferPointer) throws(GrantError) -> Int {
            var count = 0
            while count < bytes.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[count...])
                do throws(Errno) {
                    let more = try unsafe Transfer.read(number, into: rest)
                    if more == 0 { break }
                    count += more
                } catch {
                    if name == "-" { throw .system("read standard input", error) }
                    throw .host("read", name: name, error)
                }
            }
            return count
        }

        private func short(_ size: Int, _ wanted: Int) -> GrantError {
            .use("\(quoted: name) has only \(size) of the \(wanted) bytes that are to be filled")
        }
    }

    // MARK: For people

    /// Writes bytes in lines of sixteen: offset, hexadecimal, characters. Lines that repeat the
    /// one before are one asterisk.
    static func dump(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, to name: Text
    ) throws(GrantError) {
        let file = try Sink(name)
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
