// Writes an archive. A file appears under its name only when it is whole: until then it has
// another name, which goes with every failure, and with a signal that would end us. A pipe or a
// device is written as it comes.

/// Writes one archive to its destination; removes the unfinished file if that fails.
struct Packer: ~Copyable {
    /// The archive's name, for messages.
    private let name: Text
    private var output: BufferedOutput
    /// Held back while there is something to clean up.
    private let signals: SignalQueue?

    /// Writes an archive.
    /// - Parameters:
    ///   - time: what all members get, in seconds since 1970.
    ///   - name: its file's as it was given, for messages.
    static func write(
        _ contents: ArchiveContents, time: UInt32, to destination: ArchiveDestination, _ name: Text
    ) throws(ArchiveError) {
        // A file that may not grow is told as every other failure.
        Signal.fileSize.quiet()
        switch destination {
        case .file(let path, let old): try replace(path, old, name, contents, time: time)
        case .existing:
            let file = try open(name, .writeOnly.ofDevice, "open", for: name)
            try write(contents, time: time, into: file.number, name)
        case .descriptor(let number): try write(contents, time: time, into: number, name)
        }
    }

    @inline(never)
    private static func write(
        _ contents: ArchiveContents, time: UInt32, into descriptor: Int32, _ name: Text
    ) throws(ArchiveError) {
        var packer = try Packer(name: name, descriptor, signals: nil)
        try packer.write(contents, time: time)
    }

    /// - Parameters:
    ///   - path: the file's own name, and what it had of a file until now.
    private static func replace(
        _ path: Text, _ old: FileStatus?, _ name: Text, _ contents: ArchiveContents, time: UInt32
    ) throws(ArchiveError) {
        let signals = try holdSignals(name)
        let awaited = Poll.Interest(signals.descriptor)
        // Not the archive's name with something after it: that may be too long.
        var temporary: Text = "\(Files.folder(of: path)).mini-pack.\(Process.id)"
        let file = try create(&temporary, old == nil ? .createNew : .createOwn, for: name)
        do throws(ArchiveError) {
            var packer = try Packer(name: name, file.number, signals: signals)
            try packer.write(contents, time: time)
            if let old { file.take(ownerAndPermissionsOf: old, at: path) }
            try packer.synchronize(file.number, awaited)
            do throws(Errno) { try Files.rename(temporary, to: path) } catch {
                throw .host("write", name: name, error)
            }
        } catch {
            try? Files.remove(temporary)
            throw error
        }
    }

    /// Makes a file that is not there. A process of our number may have left one, or have one now where processes are
    /// counted anew: then the name gets a number after it.
    private static func create(
        _ path: inout Text, _ mode: Descriptor.OpenMode, for name: Text
    ) throws(ArchiveError) -> Descriptor {
        let first = path
        var others = 0
        while true {
            do throws(Errno) { return try Descriptor.open(path, mode) } catch {
                guard error == .exists, others < mostLeft else {
                    throw .host("create", name: name, error)
                }
            }
            others += 1
            path = "\(first).\(others)"
        }
    }
    private static let mostLeft = 1000

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

    /// Those that would end us; that a file may not grow is told by the call that wants it to.
    private static func holdSignals(_ name: Text) throws(ArchiveError) -> SignalQueue {
        var signals = SignalSet.ending
        signals.remove(.fileSize)
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
        let links = HardLinks(contents.members)
        for index in contents.members.indices {
            let member = contents.members[index]
            let place = links.places[index]
            switch member.body {
            case .file where !place.isLast:
                try put(Cpio.header(member, place, time: time, size: 0))
            case .file(let source, _): try put(file: source, member, place, time: time)
            case .target(let target):
                try put(Cpio.header(member, place, time: time))
                try put(target)
            case .none: try put(Cpio.header(member, place, time: time))
            }
            try put(Cpio.zeros(to: Cpio.alignment, from: output.position))
        }
        try put(Cpio.end)
        try put(Cpio.zeros(to: Cpio.block, from: output.position))
        try flush()
    }

    // MARK: Files

    private mutating func put(
        file source: Text, _ member: ArchiveMember, _ place: HardLinks.Place, time: UInt32
    ) throws(ArchiveError) {
        // Never waiting: it may have become a pipe, and /proc/kmsg waits for what is to come.
        let file = try Self.open(source, .readOnlyNow, "open", for: source)
        let status = try Self.status(file, source)
        guard status.kind == .regular else { throw .changed(name: source) }
        guard let size = UInt32(exactly: status.size) else {
            throw .tooLarge(name: source, size: status.size)
        }
        try put(Cpio.header(member, place, time: time, size: size))
        guard try copy(file, source, limit: UInt64(size)) == size, try isAtEnd(file, source) else {
            // What the kernel makes up has a size that says nothing; other files have changed.
            let isMadeUp = try Self.status(file, source).size == status.size
            throw isMadeUp ? .withoutSize(name: source) : .changed(name: source)
        }
    }

    private static func status(
        _ file: borrowing Descriptor, _ source: Text
    ) throws(ArchiveError) -> FileStatus {
        do throws(Errno) { return try file.status() } catch {
            throw .host("examine", name: source, error)
        }
    }

    /// Puts in a file's bytes, up to a limit.
    /// - Returns: how many there were.
    private mutating func copy(
        _ file: borrowing Descriptor, _ source: Text, limit: UInt64
    ) throws(ArchiveError) -> UInt64 {
        var done: UInt64 = 0
        while done < limit {
            if output.isFull { try flush() }
            let count: Int
            do throws(Errno) {
                count = try output.take(from: file.number, limit: limit - done)
            } catch { throw .host("read", name: source, error) }
            if count == 0 { break }
            done += UInt64(count)
        }
        return done
    }

    /// True if a file has no more bytes than were read: they would not be in the archive.
    private func isAtEnd(
        _ file: borrowing Descriptor, _ source: Text
    ) throws(ArchiveError) -> Bool {
        var byte: [UInt8] = [0]
        do throws(Errno) { return try Transfer.read(file.number, into: &byte) == 0 } catch {
            throw .host("read", name: source, error)
        }
    }

    @inline(never)
    private mutating func put(_ text: Text) throws(ArchiveError) {
        do throws(Errno) { try output.write(text) } catch {
            throw .host("write", name: name, error)
        }
    }

    /// Waits until the disk has all of it, or for a signal: a child writes it there, as no signal ends such a call.
    @inline(never)
    private mutating func synchronize(
        _ file: Int32, _ awaited: Poll.Interest
    ) throws(ArchiveError) {
        var answer: UInt8?
        var signal: Signal?
        do throws(Errno) {
            guard let assistant = try? Assistant(synchronizing: [file]) else {
                // No process can be started: a signal waits.
                try Descriptor.synchronizeNumber(file)
                return
            }
            var isAsked = assistant.begin()
            while isAsked && signal == nil {
                let ready = try Poll.wait([assistant.answered, awaited], timeout: nil)
                if ready[0] {
                    answer = assistant.take()
                    isAsked = false
                } else {
                    signal = try signals?.next()
                }
            }
            assistant.goesOn = isAsked
        } catch { throw .host("write", name: name, error) }
        if let signal { throw .interrupted(signal) }
        let errno = answer.map { Errno(rawValue: Int32($0)) } ?? .inputOutput
        if errno.rawValue != 0 { throw .host("write", name: name, errno) }
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
