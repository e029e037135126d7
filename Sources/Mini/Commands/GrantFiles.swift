// The files that pages are written to and filled from.

enum GrantFiles {
    /// Writes bytes to a file that is made or emptied for it; `-` is standard output.
    static func write(_ bytes: UnsafeRawBufferPointer, to name: Text) throws(GrantError) {
        try sink(name) { (descriptor) throws(Errno) in
            try unsafe Transfer.writeAll(descriptor, bytes)
        }
    }

    /// Hands an open file to `body`, and says of it what goes wrong there.
    static func sink(
        _ name: Text, _ body: (Int32) throws(Errno) -> Void
    ) throws(GrantError) {
        if name == "-" {
            do throws(Errno) { try body(1) } catch {
                throw .system("write to standard output", error)
            }
            return
        }
        let file: Descriptor
        do throws(Errno) { file = try Descriptor.open(name, .create) } catch {
            throw .host("open", name: name, error)
        }
        do throws(Errno) { try body(file.number) } catch {
            throw .host("write", name: name, error)
        }
    }

    // MARK: Filling

    /// Reads exactly `bytes.count` bytes of a file; `-` is standard input.
    static func fill(
        _ bytes: UnsafeMutableRawBufferPointer, from name: Text
    ) throws(GrantError) {
        if name == "-" { return try unsafe fill(bytes, from: 0, "standard input") }
        let file: Descriptor
        do throws(Errno) { file = try Descriptor.open(name, .readOnly) } catch {
            throw .host("open", name: name, error)
        }
        let status: FileStatus
        do throws(Errno) { status = try file.status() } catch {
            throw .host("examine", name: name, error)
        }
        // Looked at first, so that nothing is changed when it cannot work.
        if status.kind == .regular && status.size < UInt64(bytes.count) {
            throw short(name, Int(status.size), bytes.count)
        }
        try unsafe fill(bytes, from: file.number, name)
    }

    private static func fill(
        _ bytes: UnsafeMutableRawBufferPointer, from descriptor: Int32, _ name: Text
    ) throws(GrantError) {
        var count = 0
        while count < bytes.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[count...])
            let more: Int
            do throws(Errno) { more = try unsafe Transfer.read(descriptor, into: rest) } catch {
                throw .host("read", name: name, error)
            }
            if more == 0 { throw short(name, count, bytes.count) }
            count += more
        }
    }

    private static func short(_ name: Text, _ size: Int, _ wanted: Int) -> GrantError {
        .use("\(quoted: name) has only \(size) of the \(wanted) bytes that are to be filled")
    }

    // MARK: For people

    /// Writes bytes in lines of sixteen: offset, hexadecimal, characters. Lines that repeat the
    /// one before are one asterisk.
    static func dump(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, to name: Text
    ) throws(GrantError) {
        try sink(name) { (descriptor) throws(Errno) in
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
                    try Transfer.write(descriptor, text)
                    text = Text()
                }
            }
            text += "\(bareHex: UInt(offset + bytes.count), width: 8)\n"
            try Transfer.write(descriptor, text)
        }
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
