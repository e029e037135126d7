// The back end of a guest's disk: an open file or block device of the host, whose size was fixed when
// the guest was made. A transfer is all or nothing to the guest; the reason of a failure is kept, so
// that the launcher can print it.

/// A disk of whole sectors.
final class Disk {
    static let sectorSize: UInt64 = 512

    let name: Text
    /// As the guest sees it.
    private(set) var sectorCount: UInt32
    let isReadOnly: Bool
    /// nil for one that no other disk can be the same as.
    let medium: Medium?
    private let file: Descriptor
    /// A file can shrink under the guest; a block device cannot.
    let isFile: Bool
    /// Where the file's position is.
    private var position: UInt64?
    private var isChanged = false
    /// Makes the call that puts what was written on the disk, asked with this, while this process waits for signals.
    var assistant: Assistant?
    var question: UInt8 = 0
    /// One is started each time, and has no memory in between.
    var startsAssistants = false
    /// Waits for what an assistant says, or for the disk itself, which is always ready.
    var wait: Poll.Patience?
    /// The transfer's at hand.
    private var pieces = IOVector()
    /// Bytes that were moved since the last look at signals, and how many may be.
    private var moved: UInt64 = 0
    var mostMoved: UInt64 = 64 << 20

    /// - Parameters:
    ///   - file: open for reading and, unless `isReadOnly`, writing.
    ///   - sectorCount: how many sectors it has now.
    init(
        _ file: consuming Descriptor, name: Text, sectorCount: UInt32, isReadOnly: Bool,
        isFile: Bool, medium: Medium? = nil
    ) {
        self.file = file
        self.name = name
        self.sectorCount = sectorCount
        self.isReadOnly = isReadOnly
        self.isFile = isFile
        self.medium = medium
    }

    var descriptor: Int32 { file.number }

    /// Bytes.
    var size: UInt64 { UInt64(sectorCount) * Self.sectorSize }

    /// Another guest gets it, as large as the file is by now.
    /// - Returns: nil, or the size in bytes that no disk can have.
    func renew() throws(Errno) -> UInt64? {
        guard isFile else { return nil }
        let size = try fileSize()
        guard let sectors = UInt32(exactly: size / Self.sectorSize), sectors > 0 else {
            return size
        }
        sectorCount = sectors
        return nil
    }

    /// Why a transfer did not happen, or not wholly.
    enum Failure: Error, Equatable {
        /// It reaches beyond the last sector.
        case beyondEnd
        /// It is longer than the driver was told that one can be.
        case tooLong
        case readOnly
        /// The file is shorter than it was.
        case shrunk
        case host(Errno)
    }

    /// Bytes from a sector on; nil where that leaves the disk.
    private func offset(_ sector: UInt32, _ count: UInt32) -> UInt64? {
        let start = UInt64(sector) * Self.sectorSize
        return start + UInt64(count) <= UInt64(sectorCount) * Self.sectorSize ? start : nil
    }

    /// Reads from a sector on into guest memory.
    func read(
        _ sector: UInt32, into sections: [GuestRange], of memory: GuestMemory
    ) throws(Failure) {
        pieces.clear()
        for section in sections {
            unsafe pieces.append(UnsafeRawBufferPointer(memory.writable(section)))
        }
        try transfer(.read, sector)
    }

    /// Writes guest memory from a sector on.
    func write(
        _ sector: UInt32, from sections: [GuestRange], of memory: GuestMemory
    ) throws(Failure) {
        guard !isReadOnly else { throw .readOnly }
        pieces.clear()
        for section in sections { unsafe pieces.append(memory.readable(section)) }
        if isFile { try checkSize(sector, pieces.count) }
        isChanged = true
        try transfer(.write, sector)
    }

    /// Puts what was written on the disk for good. No signal ends the call that does it, so an assistant makes it; when
    /// something ends the launch meanwhile, it goes on by itself, and an error is not reported.
    func synchronize() throws(Errno) {
        guard isChanged else { return }
        if let assistant = startsAssistants ? startAssistant() : assistant {
            guard assistant.begin(question) else { throw .inputOutput }
            if let wait, !wait(assistant.answered) {
                assistant.goesOn = true
                return
            }
            let errno = assistant.take().map { Errno(rawValue: Int32($0)) } ?? .inputOutput
            if errno.rawValue != 0 { throw errno }
        } else {
            try file.synchronizeData()
        }
        isChanged = false
    }

    /// - Returns: nil where there can be no more processes.
    private func startAssistant() -> Assistant? {
        // The ones before have ended.
        while (try? Process.endedChild()) != nil {}
        return try? Assistant(synchronizing: [file.number], by: .synchronizeData)
    }

    /// To be asked between transfers, which can be many and large.
    /// - Returns: false when something ends the launch.
    func mayGoOn() -> Bool {
        guard moved >= mostMoved, let wait else { return true }
        moved = 0
        return wait(Poll.Interest(file.number))
    }

    /// A write beyond the end of a file would make it grow, with a hole.
    private func checkSize(_ sector: UInt32, _ count: UInt32) throws(Failure) {
        guard let end = offset(sector, count).map({ $0 + UInt64(count) }) else {
            throw .beyondEnd
        }
        let size: UInt64
        do throws(Errno) { size = try fileSize() } catch { throw .host(error) }
        guard end <= size else { throw .shrunk }
    }

    /// The file's size in bytes, by a call that moves its position.
    private func fileSize() throws(Errno) -> UInt64 {
        position = nil
        return try Descriptor.seekEnd(file.number)
    }

    /// Moves all pieces.
    private func transfer(
        _ direction: IOVector.Direction, _ sector: UInt32
    ) throws(Failure) {
        let count = pieces.count
        guard let start = offset(sector, count) else { throw .beyondEnd }
        do throws(Errno) {
            if position != start { try file.seek(to: start) }
            position = nil
            while pieces.count > 0 {
                let count = try pieces.transfer(direction, file.number)
                if count == 0 { break }
                pieces.drop(UInt32(count))
                moved &+= UInt64(count)
            }
        } catch { throw .host(error) }
        guard pieces.count == 0 else { throw direction == .read ? .shrunk : .host(.noSpace) }
        position = start + UInt64(count)
    }
}

extension Disk {
    /// What a guest wanted and did not get.
    struct Trouble: Equatable {
        enum Action: Equatable { case read, write, flush }
        let action: Action
        let failure: Failure

        /// Printed after "the guest cannot ".
        var verb: StaticString {
            switch action {
            case .read: "read"
            case .write: "write"
            case .flush: "flush"
            }
        }
    }
}

extension Disk.Failure {
    /// Printed after `the guest cannot read disk "root.img": `.
    var text: Text {
        switch self {
        case .beyondEnd: "it asked for sectors beyond the end"
        case .tooLong: "it asked for more than 32 MiB at once"
        case .readOnly: "the disk is read-only"
        case .shrunk: "the file has become shorter"
        case .host(let errno): "\(errno)"
        }
    }
}
