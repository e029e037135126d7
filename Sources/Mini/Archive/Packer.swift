// Writes an archive. A file appears under its name only when it is whole: until then it has
// another name, which goes with every failure, and with a signal that would end us. A pipe or a
// device is written as it comes.

struct Packer: ~Copyable {
    /// The archive's name, for messages.
    private let name: Text
    private var output: BufferedOutput
    /// Held back while there is something to clean up.
    private let signals: SignalQueue?

    /// Where an archive goes.
    enum Destination { case standardOutput, existingDevice, file }

    /// Writes an archive.
    /// - Parameters:
    ///   - time: what all members get, in seconds since 1970.
    ///   - name: its file's, for messages where there is none.
    static func write(
        _ contents: ArchiveContents, time: UInt32, to destination: Destination, _ name: Text
    ) throws(ArchiveError) {
        switch destination {
        case .file: try replace(name, contents, time: time)
        case .existingDevice:
            let file = try open(name, .writeOnly, "open", for: name)
            try write(contents, time: time, into: file.number, name)
        case .standardOutput: try write(contents, time: time, into: 1, name)
        }
    }

    @inline(never)
    private static func write(
        _ contents: ArchiveContents, time: UInt32, into descriptor: Int32, _ name: Text
    ) throws(ArchiveError) {
        var packer = try Packer(name: name, descriptor, signals: nil)
        try packer.write(contents, time: time)
    }

    private static func replace(
        _ name: Text, _ contents: ArchiveContents, time: UInt32
    ) throws(ArchiveError) {
        let signals = try holdSignals(name)
        let temporary: Text = "\(name).\(Process.identifier)"
        let file = try open(temporary, .createNew, "create", for: name)
        do throws(ArchiveError) {
            var packer = try Packer(name: name, file.number, signals: signals)
            try packer.write(contents, time: time)
            do throws(Errno) {
                try file.synchronize()
                try Files.rename(temporary, to: name)
            } catch { throw .host("write", name: name, error) }
        } catch {
            try? Files.remove(temporary)
            throw error
        }
    }

    @inline(never)
    private init(
        name: Text, _ descriptor: Int32, signals: consuming SignalQueue?
    ) throws(ArchiveError) {
        self.name = name
        self.signals = signals
        do throws(Errno) { output = try BufferedOutput(descriptor) } catch {
            throw .host("get memory to write", name: name, error)
        }
    }

    /// Those that end a program, as far as they would end this one.
    private static func holdSignals(_ name: Text) throws(ArchiveError) -> SignalQueue {
        var signals = SignalSet()
        for signal in [Signal.hangUp, .interrupt, .quit, .terminate] where !signal.isIgnored {
            signals.insert(signal)
        }
        do throws(Errno) { return try SignalQueue(awaited: signals, silenced: []) } catch {
            throw .host("hold signals to write", name: name, error)
        }
    }

    @inline(never)
    private static func open(
        _ path: Text, _ mode: Descriptor.OpenMode, _ verb: StaticString, for name: Text
    ) throws(ArchiveError) -> Descriptor {
        do throws(Errno) { return try Descriptor.open(path, mode) } catch {
            throw .host(verb, name: name, error)
        }
    }

    // MARK: The archive

    @inline(never)
    private mutating func write(_ contents: ArchiveContents, time: UInt32) throws(ArchiveError) {
        var inode: UInt32 = 0
        for member in contents.members {
            inode += 1
            try put(Cpio.header(member, inode: inode, time: time))
            switch member.body {
            case .none: continue
            case .target(let target): try put(target)
            case .file(let source, let size): try copy(source, size)
            }
            try put(Cpio.zeros(to: Cpio.alignment, from: output.position))
        }
        try put(Cpio.end)
        try put(Cpio.zeros(to: Cpio.block, from: output.position))
        try flush()
    }

    /// Puts in a file's bytes, which must be as many as the header before them says.
    private mutating func copy(_ source: Text, _ size: UInt32) throws(ArchiveError) {
        let file = try Self.open(source, .readOnly, "open", for: source)
        var left = UInt64(size)
        while left > 0 {
            if output.isFull { try flush() }
            let count: Int
            do throws(Errno) { count = try output.take(from: file.number, limit: left) } catch {
                throw .host("read", name: source, error)
            }
            guard count > 0 else { throw .changed(name: source) }
            left -= UInt64(count)
        }
        // More than the header says would not be in the archive.
        guard let now = try? file.status().size, now == UInt64(size) else {
            throw .changed(name: source)
        }
    }

    @inline(never)
    private mutating func put(_ text: Text) throws(ArchiveError) {
        do throws(Errno) { try output.write(text) } catch {
            throw .host("write", name: name, error)
        }
    }

    /// Writes what was gathered, and looks for a signal.
    @inline(never)
    private mutating func flush() throws(ArchiveError) {
        var signal: Signal?
        do throws(Errno) {
            try output.flush()
            signal = try signals?.next()
        } catch { throw .host("write", name: name, error) }
        if let signal { throw .interrupted(signal) }
    }
}
