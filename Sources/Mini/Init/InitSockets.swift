// What children of process 1 do with the sockets and pipes of other programs: waiting until a program listens, sending a message
// and files with it, and waiting for a line. Sources: unix(7), pipe(7).

enum InitSockets {
    private static let pause = Nanoseconds.milliseconds(20)

    /// Waits until a program listens. The connection that shows it ends at once.
    static func wait(for name: Text, _ deadline: Deadline) throws(InitError) {
        while true {
            do throws(Errno) {
                _ = try StreamSocket.connectedToAny(name)
                return
            } catch {
                switch error {
                case .noSuchFile, .refused, .noDevice, .noSuchDevice: break
                // Its queue of connections is full.
                case .again: return
                default: throw .host("connect to", name: name, error)
                }
            }
            if deadline.isOver {
                throw .grant(.deadline("nobody has listened on \(quoted: name) in time"))
            }
            Clock.sleep(min(pause, deadline.remaining ?? pause))
        }
    }

    /// Sends the message and what goes with it, and waits for the answer that is expected.
    static func send(_ request: SendRequest) throws(InitError) {
        let deadline = Deadline.after(request.patience)
        var files: [Int32] = []
        for file in request.files {
            do throws(InitError) { files.append(try file.open()) } catch {
                throw .word(column: file.column, error.text)
            }
        }
        let socket = try connected(to: request.socket, deadline)
        do throws(Errno) {
            try send("\(request.message)\n", files, to: socket.number, deadline)
        } catch {
            throw .host("send to", name: request.socket, error)
        }
        if let expected = request.expected {
            try wait(for: expected, from: socket.number, request.socket, deadline)
        }
    }

    /// Connects, and tries again where too many wait already.
    static func connected(
        to name: Text, _ deadline: Deadline
    ) throws(InitError) -> StreamSocket {
        while true {
            do throws(Errno) { return try StreamSocket.connectedToAny(name) } catch {
                if error != .again || deadline.isOver {
                    throw .host("connect to", name: name, error)
                }
            }
            deadline.sleep(atMost: pause)
        }
    }

    private static func send(
        _ text: Text, _ files: [Int32], to socket: Int32, _ deadline: Deadline
    ) throws(Errno) {
        var rest = text
        var files = files
        while !rest.bytes.isEmpty {
            do throws(Errno) {
                rest = rest.dropping(try PassedFiles.send(socket, rest, with: files))
                files = []
            } catch {
                guard error == .again else { throw error }
                if deadline.isOver { throw .timedOut }
                _ = try Poll.wait([Poll.Interest(socket, .writable)], timeout: deadline.remaining)
            }
        }
    }

    /// The most of an answer that is looked at in one piece.
    private static let window = 65536

    private static func wait(
        for expected: Text, from socket: Int32, _ name: Text, _ deadline: Deadline
    ) throws(InitError) {
        var answer = Text()
        var part = [UInt8](repeating: 0, count: 4096)
        while !answer.contains(expected) {
            let count: Int
            do throws(Errno) {
                guard try Poll.wait([Poll.Interest(socket)], timeout: deadline.remaining)[0] else {
                    if !deadline.isOver { continue }
                    throw .timedOut
                }
                count = try Transfer.read(socket, into: &part)
            } catch {
                if error == .again { continue }
                if error == .timedOut {
                    throw .grant(
                        .deadline(
                            "\(quoted: name) has not answered with \(quoted: expected) in time, but with \(quoted: answer.end(200))"
                        ))
                }
                throw .host("read from", name: name, error)
            }
            if count == 0 {
                throw .refused(
                    "\(quoted: name) has ended the connection without \(quoted: expected), behind \(quoted: answer.end(200))"
                )
            }
            answer += Text(bytes: Array(part[..<count]))
            if answer.bytes.count > window { answer = answer.end(window / 2) }
        }
    }
}

extension Text {
    /// Its last bytes, so many at most.
    func end(_ count: Int) -> Text { dropping(max(0, bytes.count - count)) }

    /// True if these bytes stand in it somewhere.
    func contains(_ part: Text) -> Bool {
        guard let first = part.bytes.first else { return true }
        guard bytes.count >= part.bytes.count else { return false }
        for index in 0...(bytes.count - part.bytes.count)
        where bytes[index] == first
            && bytes[index..<index + part.bytes.count].elementsEqual(part.bytes)
        {
            return true
        }
        return false
    }
}

/// A pipe of the table that goes to the console, with an eye on its lines.
enum PipeCopy {
    /// Longer lines are looked at in pieces of this length at most, each of which begins with what the text could lack.
    private static let longestLine = 4096

    /// Copies to the end; tells when a line has the text in it, once. SIGTERM is ignored: when the machine ends, a program may
    /// still write to it, and this ends after that.
    static func run(_ input: Int32, until text: Text, telling writer: Int32) {
        let blocked: SignalSet = [.terminate]
        _ = try? blocked.apply(.block)
        var line = Text()
        var hasTold = false
        var part = [UInt8](repeating: 0, count: 4096)
        while let count = try? Transfer.read(input, into: &part), count > 0 {
            let bytes = part[..<count]
            try? Transfer.write(1, Text(bytes: Array(bytes)))
            if hasTold { continue }
            for byte in bytes {
                if byte == 10 {
                    line = Text()
                    continue
                }
                if line.bytes.count >= longestLine { line = line.end(text.bytes.count - 1) }
                line.append(byte)
                guard byte == text.bytes.last, line.contains(text) else { continue }
                try? Transfer.write(writer, ".")
                hasTold = true
                break
            }
        }
    }

    /// In the child that waits: until the copier tells.
    static func expect(_ reader: Int32, _ request: LineRequest) throws(InitError) {
        let deadline = Deadline.after(request.patience)
        do throws(Errno) {
            while try !Poll.wait([Poll.Interest(reader)], timeout: deadline.remaining)[0] {
                if deadline.isOver {
                    throw .timedOut
                }
            }
            var byte = [UInt8](repeating: 0, count: 1)
            if try Transfer.read(reader, into: &byte) == 1 { return }
        } catch {
            if error == .timedOut {
                throw .grant(
                    .deadline(
                        "no line of the pipe \(quoted: request.pipe) has had \(quoted: request.text) in it in time"
                    ))
            }
            throw .system("wait for a line", error)
        }
        throw .refused(
            "the pipe \(quoted: request.pipe) has ended before a line had \(quoted: request.text) in it"
        )
    }
}
