// A disk as a virtio driver sees it: requests of 512-byte sectors in one queue, done one after the other and
// at once. A bad request is an I/O error of the guest's, and has no other effect.
//
//     readable   type (4), priority (4), sector (8), the data of a write
//     writable   the data of a read or the disk's name; the last byte: 0 done, 1 failed, 2 not known
//
// Source: docs/abi/pc.md §4.3; Virtual I/O Device specification 1.2, chapter 5.2.

/// The virtio device of a disk.
final class VirtioBlock: VirtioDevice {
    private enum Request {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
        static let flush: UInt32 = 4
        static let name: UInt32 = 8
        /// Beside one of these, for drivers that know no flush: what was written before, and this, is to be on the disk.
        static let barrier: UInt32 = 1 << 31
    }
    private enum Answer {
        static let done: UInt8 = 0
        static let failed: UInt8 = 1
        static let unknown: UInt8 = 2
    }
    private enum Feature {
        static let barriers = VirtioKind.barriers
        static let segmentSize: UInt32 = 1 << 1
        static let segments: UInt32 = 1 << 2
        static let readOnly: UInt32 = 1 << 5
        static let sectorSize: UInt32 = 1 << 6
        static let flush: UInt32 = 1 << 9
    }

    private static let queueSize: UInt16 = 128
    /// Longer transfers would keep everybody waiting: 32 MiB, which is more than as many of the longest buffers as a request can
    /// have, 256 KiB each.
    private static let mostBytes: UInt32 = 32 << 20
    /// Bytes of the name that a driver may ask for.
    static let nameSize = 20

    let disk: Disk
    /// What stands after the last slash of its file's, as far as there is room.
    private let name: [UInt8]
    /// Takes what is wrong with the disk, not with the guest.
    private let tell: (Disk.Trouble) -> Void
    private var chain = VirtqueueChain()
    /// A request has come.
    private(set) var isUsed = false

    init(_ disk: Disk, tell: @escaping (Disk.Trouble) -> Void) {
        self.disk = disk
        self.tell = tell
        name = Array(Files.lastName(of: disk.name).bytes.prefix(Self.nameSize))
    }

    var kind: VirtioKind { .block }
    var features: UInt32 {
        Feature.barriers | Feature.segmentSize | Feature.segments | Feature.sectorSize
            | Feature.flush | (disk.isReadOnly ? Feature.readOnly : 0)
    }
    var queueSizes: [UInt16] { [Self.queueSize] }

    var configurationCount: UInt16 { 24 }
    func configuration(_ offset: UInt16) -> UInt8 {
        switch offset {
        case 0..<4: UInt8(truncatingIfNeeded: disk.sectorCount >> (8 * UInt32(offset)))
        // The longest buffer: 0x40000.
        case 10: 4
        // The most buffers of a request, beside the header and the answer.
        case 12: UInt8(Self.queueSize - 2)
        case 21: UInt8(Disk.sectorSize >> 8)
        default: 0
        }
    }

    func serve(_ queue: Int, of transport: VirtioTransport) {
        var isServed = false
        for _ in 0..<Self.queueSize {
            guard disk.mayGoOn(), transport.next(queue, &chain) else { break }
            transport.give(queue, chain, written: answer(transport))
            isServed = true
        }
        if isServed {
            isUsed = true
            transport.interrupt(queue)
        }
    }

    /// Does the chain's request.
    /// - Returns: how many bytes were written into it.
    private func answer(_ transport: VirtioTransport) -> UInt32 {
        let memory = transport.memory
        // The last word is the first drivers' own number of the request.
        var header: (UInt32, UInt32, UInt64, UInt64) = (0, 0, 0, 0)
        let count = unsafe withUnsafeMutableBytes(of: &header) {
            unsafe chain.take(
                UnsafeMutableRawBufferPointer(rebasing: $0[..<transport.requestHeader]),
                from: memory)
        }
        // Without room for a status byte the driver cannot be told.
        guard let status = chain.takeLastByte() else { return 0 }
        var written: UInt32 = 0
        let answer =
            count == transport.requestHeader
            ? perform(header.0, header.2, memory, &written) : Answer.failed
        unsafe memory.writable(status)[0] = answer
        return written + 1
    }

    private func perform(
        _ type: UInt32, _ sector: UInt64, _ memory: GuestMemory, _ written: inout UInt32
    ) -> UInt8 {
        let isBarrier = type & Request.barrier != 0
        let type = type & ~Request.barrier
        do throws(Disk.Failure) {
            if isBarrier { try flush() }
            switch type {
            case Request.read:
                try disk.read(
                    try place(sector, chain.writableCount), into: chain.writable, of: memory)
                written = chain.writableCount
            case Request.write:
                try disk.write(
                    try place(sector, chain.readableCount), from: chain.readable, of: memory)
            case Request.flush:
                try flush()
            case Request.name:
                var padded = name
                while padded.count < Self.nameSize { padded.append(0) }
                written = UInt32(
                    unsafe padded.withUnsafeBytes { unsafe chain.put($0, into: memory) })
            default: return Answer.unknown
            }
            if isBarrier { try flush() }
            return Answer.done
        } catch {
            switch type {
            case Request.read: tell(Disk.Trouble(action: .read, failure: error))
            case Request.write: tell(Disk.Trouble(action: .write, failure: error))
            default: tell(Disk.Trouble(action: .flush, failure: error))
            }
            return Answer.failed
        }
    }

    private func flush() throws(Disk.Failure) {
        do throws(Errno) { try disk.synchronize() } catch { throw .host(error) }
    }

    /// A transfer's first sector, if it can be one.
    private func place(_ sector: UInt64, _ count: UInt32) throws(Disk.Failure) -> UInt32 {
        guard count <= Self.mostBytes else { throw .tooLong }
        guard let sector = UInt32(exactly: sector),
            count & UInt32(Disk.sectorSize - 1) == 0
        else { throw .beyondEnd }
        return sector
    }
}
