// What a program of the table finds open besides its standard input, output and errors: files, consoles, sockets, pipes to
// other programs, vchans. Written in front of the program as a shell has it: `3</dev/x`, `>/run/log`,
// `4<>console:hvc1`. Grammar: docs/boot-table.md.

/// One number of a program's, and what is behind it.
struct ProgramDescriptor: Equatable {
    enum Direction: Equatable {
        case input, output
        /// Output that is put after what is there.
        case append
        case both

        /// What a shell takes where no number is written.
        fileprivate var usualNumber: Int32 { self == .output || self == .append ? 1 : 0 }
    }
    enum Target: Equatable {
        case file(Text)
        /// A terminal of this name below /dev, which neither echoes nor waits for whole lines.
        case console(Text)
        /// The file of a socket that a program listens on.
        case socket(Text)
        /// What another number of the program stands for, as `2>&1` has it.
        case same(Int32)
        /// A pipe of the table's own.
        case pipe(Text)
        case vchan(VchanRole, DomainID, StorePath)

        /// What is wrong with its path.
        fileprivate var flaw: TableError.Reason? {
            switch self {
            case .file(let path), .console(let path), .socket(let path):
                if path.hasParent { return .notA(.pathWithoutParents, path) }
                if case .socket = self, path.bytes.count > StreamSocket.longestName {
                    return .notA(.socketName, path)
                }
                return path.isFileName ? nil : .notA(.fileName, path)
            case .vchan, .same, .pipe: return nil
            }
        }

        /// True for what a child can open alone.
        var isSendable: Bool {
            switch self {
            case .file, .console, .socket: true
            case .pipe, .vchan, .same: false
            }
        }
    }
    var number: Int32
    var direction: Direction
    var target: Target
    var column: Int

    /// Numbers beyond are none that a person needs.
    static let most: Int32 = 63

    /// - Returns: nil for a word that is none, as a program's name.
    init?(_ word: TableWord, of statement: StatementWords) throws(TableError) {
        let bytes = word.text.bytes
        let zero = UInt8(ascii: "0")
        let digits = bytes.prefix { $0 >= zero && $0 < zero + 10 }
        let signs = bytes[digits.count...].prefix {
            $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: ">")
        }
        guard !signs.isEmpty else { return nil }
        switch Text(bytes: Array(signs)) {
        case "<": direction = .input
        case ">": direction = .output
        case ">>": direction = .append
        case "<>": direction = .both
        case let other: throw statement.error(.notA("<, >, >> or <>", other), at: word)
        }
        guard
            let number = digits.isEmpty
                ? UInt64(direction.usualNumber) : word.text.prefix(digits.count).number,
            number <= UInt64(Self.most)
        else {
            throw statement.error(
                .notA("a descriptor's number from 0 to 63", word.text.prefix(digits.count)),
                at: word)
        }
        self.number = Int32(number)
        column = word.column
        let name = word.text.dropping(digits.count + signs.count)
        guard let target = try Self.target(name, word, of: statement) else {
            throw statement.error(.notA(Self.wanted, name), at: word)
        }
        if let flaw = target.flaw { throw statement.error(flaw, at: word) }
        self.target = target
        if direction == .append || direction == .both {
            switch (target, direction) {
            case (.file, _), (.same, .both), (.console, .both), (.socket, .both), (.vchan, .both):
                break
            default: throw statement.error(.notA("< or > for such a target", word.text), at: word)
            }
        }
    }

    private static let wanted: StaticText =
        "a file, &NUMBER, console:NAME, socket:FILE, pipe:NAME, vchan:client:DOMAIN:PATH or vchan:server:DOMAIN:PATH"

    private static func target(
        _ name: Text, _ word: TableWord, of statement: StatementWords
    ) throws(TableError) -> Target? {
        if name.bytes.isEmpty { return nil }
        if let console = name.dropping(prefix: "console:") {
            let isName = !console.bytes.isEmpty && !console.bytes.contains(UInt8(ascii: "/"))
            return isName ? .console(console) : nil
        }
        if let number = name.dropping(prefix: "&") {
            return number.number.flatMap { $0 > UInt64(most) ? nil : .same(Int32($0)) }
        }
        if let file = name.dropping(prefix: "socket:") {
            return file.bytes.isEmpty ? nil : .socket(file)
        }
        if let pipe = name.dropping(prefix: "pipe:") {
            return pipe.bytes.isEmpty ? nil : .pipe(pipe)
        }
        guard let vchan = name.dropping(prefix: "vchan:") else { return .file(name) }
        let server = vchan.dropping(prefix: "server:")
        guard let rest = server ?? vchan.dropping(prefix: "client:"),
            let colon = rest.firstIndex(of: UInt8(ascii: ":")),
            let domain = rest.prefix(colon).number.flatMap({ DomainID($0) })
        else { return nil }
        let path = rest.dropping(colon + 1)
        if let flaw = TableLookup.flaw(of: path, .store) { throw statement.error(flaw, at: word) }
        guard let path = try? StorePath(written: path) else { return nil }
        return .vchan(server == nil ? .client : .server, domain, path)
    }

    /// What is opened, in a child: a file's number.
    func open() throws(InitError) -> Int32 {
        switch target {
        case .file(let name):
            let mode: Descriptor.OpenMode =
                switch direction {
                case .input: .readOnly
                case .output: .create
                case .append: .writeAppend
                case .both: .readWrite
                }
            do throws(Errno) { return try Descriptor.openNumber(name, mode) } catch {
                throw .host("open", name: name, error)
            }
        case .console(let name):
            let path: Text = "/dev/\(name)"
            let mode: Descriptor.OpenMode =
                switch direction {
                case .input: .consoleInput
                case .output, .append: .consoleOutput
                case .both: .console
                }
            do throws(Errno) {
                let number = try Descriptor.openNumber(path, mode)
                try Terminal.makeRaw(number)
                return number
            } catch { throw .host("take the console", name: path, error) }
        case .socket(let name):
            let socket = try InitSockets.connected(to: name, .after(WaitRequest.usualPatience))
            do throws(Errno) { return try socket.waitingNumber() } catch {
                throw .host("connect to", name: name, error)
            }
        // Process 1 opens these itself.
        case .same, .pipe, .vchan: throw .defect(state: "opening a file")
        }
    }
}

/// The descriptors of a program that is about to be started, as far as process 1 has to open them.
struct PreparedDescriptors {
    private struct Entry {
        var descriptor: ProgramDescriptor
        /// Opened already; nil for what the child opens.
        var number: Int32?
        var pipe: InitPipe?
    }
    /// A vchan of this program: the words of its carrier, and the end of a connection that the carrier has.
    struct Carrier {
        var words: [Text]
        var end: Int32
    }
    private var entries: [Entry] = []
    private(set) var carriers: [Carrier] = []
    private var own: [Int32] = []

    init(_ descriptors: [ProgramDescriptor], _ pipes: inout InitPipes) throws(InitError) {
        do throws(InitError) {
            for descriptor in descriptors {
                var entry = Entry(descriptor: descriptor)
                switch descriptor.target {
                case .pipe(let name):
                    let pipe = try pipes.named(name)
                    entry.number = try pipe.end(descriptor.direction)
                    entry.pipe = pipe
                case .vchan(let role, let domain, let path):
                    let ends: (Int32, Int32)
                    do throws(Errno) { ends = try PassedFiles.socketPair() } catch {
                        throw .system("make a connection", error)
                    }
                    entry.number = ends.0
                    own += [ends.0, ends.1]
                    carriers.append(
                        Carrier(
                            words: [
                                InnerPrograms.grant, "pipe",
                                role == .server ? "--server" : "--client", "--domain",
                                "\(domain.rawValue)", "--path", path.text,
                            ], end: ends.1))
                case .file, .console, .socket, .same: break
                }
                entries.append(entry)
            }
        } catch {
            release()
            throw error
        }
    }

    /// In the child: puts everything where the program expects it.
    /// - Parameter pipes: all that process 1 has; none of them stays open under its number there.
    func apply(_ pipes: inout InitPipes) throws(InitError) {
        var numbers: [Int32] = []
        for entry in entries {
            do throws(InitError) {
                if case .same(let other) = entry.descriptor.target {
                    let index = entries[..<numbers.count].firstIndex {
                        $0.descriptor.number == other
                    }
                    do throws(Errno) {
                        numbers.append(
                            try PassedFiles.lift(
                                index.map { numbers[$0] } ?? other,
                                above: ProgramDescriptor.most + 1))
                    } catch { throw .system("give a program its files", error) }
                    continue
                }
                let number: Int32
                if let opened = entry.number {
                    number = opened
                } else {
                    number = try entry.descriptor.open()
                }
                do throws(Errno) {
                    numbers.append(
                        try PassedFiles.lift(number, above: ProgramDescriptor.most + 1))
                } catch { throw .system("give a program its files", error) }
                if entry.number == nil { _ = Descriptor(owning: number) }
            } catch { throw .word(column: entry.descriptor.column, error.text) }
        }
        // Before the program's numbers are given out: some of ours may be the same.
        release()
        pipes.forget()
        for (entry, number) in zip(entries, numbers) {
            do throws(Errno) { try Process.duplicate(number, as: entry.descriptor.number) } catch {
                throw .system("give a program its files", error)
            }
            _ = Descriptor(owning: number)
        }
    }

    /// In process 1, after the start.
    /// - Parameter keepsPipes: for a program that is started again.
    func handOver(keepsPipes: Bool) {
        for entry in entries {
            if !keepsPipes {
                entry.pipe?.handOver(entry.descriptor.direction)
            } else if entry.descriptor.direction == .input {
                entry.pipe?.isShared = true
            }
        }
        release()
    }

    private func release() { for number in own { _ = Descriptor(owning: number) } }
}
