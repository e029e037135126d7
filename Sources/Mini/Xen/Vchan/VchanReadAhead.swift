// What was read of a pipe's input before the ring had room for it. Through a small ring bytes go in small
// pieces; to read them from the input in such pieces would cost a system call for each.

/// Bytes on their way from the input to the ring.
final class VchanReadAhead {
    private let room: Mapping
    private var waiting = 0..<0

    /// What a pipe holds: no read of one gives more. A ring as large needs no reading ahead.
    static let size = 65536

    init() throws(GrantError) {
        do throws(Errno) { room = try Mapping.anonymous(count: Self.size) } catch {
            throw .system("get memory for a pipe", error)
        }
    }

    var count: Int { waiting.count }

    /// Reads once, when nothing waits any more.
    /// - Returns: how many bytes; 0 at the end of the file, nil if there is nothing now.
    func fill(from descriptor: Int32, name: Text) throws(GrantError) -> Int? {
        let bytes = unsafe room.bytes
        let count = try Vchan.transfer("read", name) { () throws(Errno) in
            try unsafe Transfer.read(descriptor, into: bytes)
        }
        waiting = 0..<(count ?? 0)
        return count
    }

    /// Moves on what the ring takes.
    func send(to vchan: Vchan, space: UInt32) throws(GrantError) {
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: room.bytes[waiting])
        let count = try unsafe vchan.send(bytes, space: space)
        waiting = waiting.lowerBound + count..<waiting.upperBound
    }
}
